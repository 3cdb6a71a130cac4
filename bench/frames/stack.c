/*
 * stack.c - the limit: a bare stack of frame numbers for each CPU.
 *
 * No order but 0, no check, nothing shared but the frames that nobody had yet: an
 * empty stack takes STACK_BATCH of those. What a CPU freed only that CPU gets.
 */
#include <stdatomic.h>
#include <stddef.h>

#include "peer.h"

#define STACK_BATCH    512u
#define STACK_CPUS_MAX 256u
#define STACK_SHIFT    12u

struct stack {
    _Alignas(64) uint32_t *entry;
    size_t count;
};

static struct {
    struct stack stack[STACK_CPUS_MAX];
    uint64_t frame_count;
    _Alignas(64) _Atomic(uint64_t) next; /* the first that nobody had */
} stacks;

static size_t stack_metadata_bytes(uint64_t frame_count, unsigned cpu_count)
{
    return (size_t)frame_count * cpu_count * sizeof(uint32_t);
}

static bool stack_init(const struct frames_setup *setup)
{
    if (setup->cpu_count > STACK_CPUS_MAX || setup->frame_count > UINT32_MAX)
        return false;
    uint32_t *entries = setup->memory;
    for (unsigned cpu = 0; cpu < setup->cpu_count; cpu++)
        stacks.stack[cpu] = (struct stack){ .entry = entries + cpu * setup->frame_count };
    stacks.frame_count = setup->frame_count;
    atomic_store_explicit(&stacks.next, 0, memory_order_relaxed);
    return true;
}

/* The lowest of the batch on top. */
static void stack_refill(struct stack *stack)
{
    if (atomic_load_explicit(&stacks.next, memory_order_relaxed) >= stacks.frame_count)
        return;
    const uint64_t first =
        atomic_fetch_add_explicit(&stacks.next, STACK_BATCH, memory_order_relaxed);
    uint64_t end = first + STACK_BATCH;
    if (end > stacks.frame_count)
        end = stacks.frame_count;
    while (end > first)
        stack->entry[stack->count++] = (uint32_t)--end;
}

static uint64_t stack_alloc(unsigned order)
{
    struct stack *stack = &stacks.stack[frames_cpu];
    (void)order;
    if (__builtin_expect(stack->count == 0, 0)) {
        stack_refill(stack);
        if (stack->count == 0)
            return FRAMES_NONE;
    }
    return FRAMES_BASE + ((uint64_t)stack->entry[--stack->count] << STACK_SHIFT);
}

static void stack_free(uint64_t address, unsigned order)
{
    struct stack *stack = &stacks.stack[frames_cpu];
    (void)order;
    stack->entry[stack->count++] = (uint32_t)((address - FRAMES_BASE) >> STACK_SHIFT);
}

const struct frames_peer frames_stack[] = {
    { .name = "stack",
      .order_max = 0,
      .is_shared = true,
      .is_limit = true,
      .metadata_bytes = stack_metadata_bytes,
      .init = stack_init,
      .alloc = stack_alloc,
      .free = stack_free },
    { .name = NULL },
};
