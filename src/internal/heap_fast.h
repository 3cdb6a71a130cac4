/*
 * heap_fast.h - what malloc and free do nearly always, to be inlined where the running
 * CPU's lists are known: heap.c, preload/.
 */
#ifndef LOAM_INTERNAL_HEAP_FAST_H
#define LOAM_INTERNAL_HEAP_FAST_H

#include "heap_class.h"
#include "heap_hard.h"

#define HEAP_LIKELY(cond)   __builtin_expect(!!(cond), 1)
#define HEAP_UNLIKELY(cond) __builtin_expect(!!(cond), 0)

/* The rest of the two below, where the lists do not have it at hand. */
LOAM_NODISCARD void *loam_heap_alloc_slow(struct loam_heap *heap, struct loam_heap_cpu *cpu,
                                          unsigned class);
void loam_heap_free_slow(struct loam_heap *heap, struct loam_heap_cpu *cpu, void *block);

/* May the running context use the CPU's lists now, and is nothing else to be done first? */
static inline bool heap_fast_enter(struct loam_heap_cpu *cpu)
{
    if (HEAP_UNLIKELY(atomic_load_explicit(&cpu->guard.is_wanted, memory_order_relaxed) != 0))
        return false;
    return loam_guard_enter(&cpu->guard);
}

/* A block of a class. @param cpu of the running CPU, which is pinned */
static inline void *heap_fast_alloc(struct loam_heap *heap, struct loam_heap_cpu *cpu,
                                    unsigned class)
{
    if (HEAP_LIKELY(heap_fast_enter(cpu))) {
        void *const block = heap_hard_pop(cpu, &cpu->magazine[class]);
        loam_guard_leave(&cpu->guard);
        if (HEAP_LIKELY(block != NULL))
            return block;
    }
    return loam_heap_alloc_slow(heap, cpu, class);
}

/* A slot becomes a block of so many bytes. */
static inline void *heap_fast_begin(struct loam_heap *heap, void *slot, unsigned class,
                                    size_t size_bytes)
{
    return HEAP_IS_HARDENED ? loam_hard_begin(heap, slot, class, size_bytes) : slot;
}

/* A block of so many bytes, hardened. @param cpu as above */
static inline void *heap_fast_alloc_hard(struct loam_heap *heap, struct loam_heap_cpu *cpu,
                                         size_t size_bytes)
{
    if (HEAP_LIKELY(heap_fast_enter(cpu))) {
        const unsigned class = heap_class_of(size_bytes);
        void *const slot = heap_hard_pop(cpu, &cpu->magazine[class]);
        loam_guard_leave(&cpu->guard);
        if (HEAP_LIKELY(slot != NULL))
            return loam_hard_begin(heap, slot, class, size_bytes);
    }
    return loam_hard_alloc_slow(heap, cpu, size_bytes);
}

/*
 * What an address is the start of, as 16 times its class, if it is a block of a class.
 * @return is it?
 */
static inline bool heap_fast_find(const struct loam_heap *heap, const void *block, size_t *class_16)
{
    const uint64_t at = (uint64_t)(uintptr_t)block;
    const uint64_t entry = loam_pagemap_look(&heap->map, at);
    const size_t kind_16 = loam_pagemap_kind_16(entry);
    const uint64_t inverse =
        ((const struct heap_kind *)(const void *)((const char *)heap_kinds + kind_16))->inverse;

    *class_16 = kind_16;
    return HEAP_LIKELY(loam_pagemap_rest(entry, at) * inverse < inverse);
}

/* Which class, if a block of one begins here? 0: none does */
static inline unsigned heap_fast_class(const struct loam_heap *heap, const void *block)
{
    size_t class_16;

    return heap_fast_find(heap, block, &class_16) ? (unsigned)(class_16 / 16) : 0;
}

static inline struct loam_magazine *heap_fast_magazine(struct loam_heap_cpu *cpu, size_t class_16)
{
    return (struct loam_magazine *)(void *)((char *)cpu->magazine + class_16);
}

/* A slot, inside the guard. @return false: *slot, maybe another one now, is still to be freed */
static inline bool heap_fast_push(struct loam_heap_cpu *cpu, size_t class_16, void **slot)
{
    if (HEAP_IS_HARDENED) {
        *slot = heap_hard_hold(cpu, (unsigned)(class_16 / 16), *slot);
        if (*slot == NULL)
            return true;
    }
    return loam_magazine_push(heap_fast_magazine(cpu, class_16), *slot);
}

/* Is it a block of a class? A hardened heap then ends it: a slot is what is left. */
static inline bool heap_fast_end(struct loam_heap *heap, void *block, size_t *class_16)
{
    if (!HEAP_IS_HARDENED)
        return heap_fast_find(heap, block, class_16);
    if (!heap_fast_find(heap, block, class_16))
        return false;
    loam_hard_end(heap, block, (unsigned)(*class_16 / 16));
    return true;
}

static inline void heap_fast_free(struct loam_heap *heap, struct loam_heap_cpu *cpu, void *block)
{
    size_t class_16;

    if (HEAP_LIKELY(heap_fast_end(heap, block, &class_16) && heap_fast_enter(cpu))) {
        const bool is_done = heap_fast_push(cpu, class_16, &block);
        loam_guard_leave(&cpu->guard);
        if (HEAP_LIKELY(is_done))
            return;
    }
    loam_heap_free_slow(heap, cpu, block);
}

LOAM_STATIC_ASSERT(sizeof(struct heap_kind) == 16 && sizeof(struct loam_magazine) == 16,
                   "loam_pagemap_kind_16() is an offset into both");

#endif
