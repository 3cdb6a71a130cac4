/*
 * provoke.c - see provoke.h.
 */
#include "provoke.h"

#include "instructions.h"
#include "log.h"
#include "malloc.h"
#include "memory.h"
#include "panic.h"
#include "smp.h"

#define PANIC_SUBJECT 0x1234u
#define PANIC_DETAIL  0x5678u
#define BLOCK_BYTES   28u
#define FRAME_BYTES   512u
#define WILD_ADDRESS  UINT64_C(0x7777000)

static _Atomic(unsigned) busy_count, busy_wanted;

/* Once all the others are busy. */
static void panic_now(void *unused)
{
    (void)unused;
    while (atomic_load(&busy_count) < atomic_load(&busy_wanted))
        loam_x86_pause();
    PANIC("kernel: it was asked to panic", PANIC_SUBJECT, PANIC_DETAIL);
}

/* Write and write: a CPU that a panic does not stop is heard after it. */
static void chatter(void *unused)
{
    (void)unused;
    log_info("CPU %u is busy", cpu_self()->index);
    atomic_fetch_add(&busy_count, 1);
    for (;;)
        log_info("CPU %u is busy", cpu_self()->index);
}

_Noreturn void provoke_panic(uint64_t cpu)
{
    if (cpu >= cpu_count() || atomic_load(&cpu_table[cpu].state) != CPU_READY)
        cpu = cpu_self()->index;
    for (unsigned i = 0; i < cpu_count(); i++)
        atomic_fetch_add(&busy_wanted, i != cpu && atomic_load(&cpu_table[i].state) == CPU_READY);
    for (unsigned i = 0; i < cpu_count(); i++) {
        if (&cpu_table[i] != cpu_self())
            smp_hand_over(i, i == cpu ? panic_now : chatter, NULL);
    }
    if (cpu != cpu_self()->index)
        chatter(NULL);
    panic_now(NULL);
    __builtin_unreachable();
}

static void be_deaf(void *is_deaf)
{
    x86_interrupts_off();
    atomic_store((_Atomic(bool) *)is_deaf, true);
    for (;;)
        loam_x86_pause();
}

void provoke_deafness(void)
{
    static _Atomic(bool) is_deaf;
    struct loam_tlb_batch batch;
    if (cpu_count() < 2)
        return;
    smp_hand_over(1, be_deaf, &is_deaf);
    while (!atomic_load(&is_deaf))
        loam_x86_pause();
    loam_tlb_batch_begin(&batch, &memory.space.tlb);
    loam_tlb_batch_full(&batch);
    loam_tlb_batch_flush(&batch);
    log_error("a flush did not wait for a CPU that is deaf");
}

void provoke_double_free(void)
{
    char *block = malloc(BLOCK_BYTES);
    free(block);
    free(block);
    log_error("a double free went unnoticed");
}

void provoke_heap_overflow(void)
{
    volatile uint8_t *block = malloc(BLOCK_BYTES);
    block[BLOCK_BYTES] = 0x55;
    free((void *)(uintptr_t)block);
    log_error("an overflow of a block went unnoticed");
}

void provoke_heap_wrong_size(void)
{
    free_sized(malloc(BLOCK_BYTES), 4 * BLOCK_BYTES);
    log_error("a free with a wrong size went unnoticed");
}

/* One frame per call, until there is no stack left. Not recursive in the source's
 * sense: it is meant to fail, and bounded by the guard page. */
__attribute__((noinline)) static unsigned use_stack(unsigned depth)
{
    volatile uint8_t frame[FRAME_BYTES];
    frame[0] = (uint8_t)depth;
    return depth == 0 ? 0 : use_stack(depth - 1) + frame[0];
}

void provoke_overflow(void)
{
    log_error("a stack overflow went unnoticed: %u", use_stack(UINT32_MAX));
}

/* The report must not trust the stack: it reads it, and that faults as well. */
void provoke_wild_frame(void)
{
    __asm__ volatile("pushq %%rbp\n\t"
                     "movq %0, %%rbp\n\t"
                     "movb (%%rbp), %%al\n\t"
                     "popq %%rbp"
                     :
                     : "r"(WILD_ADDRESS)
                     : "rax");
    log_error("a wild pointer was followed");
}

void provoke_fault(enum options_access access, uint64_t address)
{
    volatile uint8_t *byte = (volatile uint8_t *)(uintptr_t)address;
    void (*code)(void) = (void (*)(void))(uintptr_t)address;
    if (access == ACCESS_READ)
        log_info("no fault: 0x%lx holds 0x%02x", address, *byte);
    else if (access == ACCESS_WRITE)
        *byte = 0;
    else
        code();
    if (access != ACCESS_READ)
        log_info("no fault at 0x%lx", address);
}
