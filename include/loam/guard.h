/*
 * guard.h - how a CPU's own lists are kept from what may interrupt it.
 *
 * The lists that malloc takes from have no lock: they belong to a CPU. Two things could
 * meet another one inside them: a handler that interrupted it there, and a thread that
 * was moved to this CPU, or away from it, in the middle. LOAM_GUARD says what your kernel
 * does about that:
 *
 *     LOAM_GUARD_IRQ   interrupts are off inside: right everywhere, about 20 cycles
 *     LOAM_GUARD_PORT  your LOAM_CONFIG_HEADER defines, inline,
 *                          uint64_t loam_port_guard_enter(void)
 *                          void loam_port_guard_leave(uint64_t entered)
 *                      that keep the running thread on its CPU and other threads off it:
 *                      an addition to a pre-emption count, say. Handlers may come
 *     LOAM_GUARD_NONE  nothing: where threads are never pre-empted inside the kernel.
 *                      Handlers may come
 *
 * In all of them a flag of the CPU is set inside. Who finds it set - a handler, with the
 * last two, an NMI, with any - goes around the lists, to what lies behind them.
 */
#ifndef LOAM_GUARD_H
#define LOAM_GUARD_H

#include "port.h"
#include "x86.h"

#ifndef __cplusplus
#include <stdatomic.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* A CPU's flags. */
struct loam_guard {
    uint8_t is_inside; /* somebody is in the lists; for this CPU and its handlers only */
    LOAM_ATOMIC(uint8_t) is_wanted; /* there is something to do first; written by any */
};

#ifndef __cplusplus
/** Stay on this CPU. @return for loam_guard_unpin() */
static inline uint64_t loam_guard_pin(void)
{
#if LOAM_GUARD == LOAM_GUARD_IRQ
    return loam_x86_irq_save();
#elif LOAM_GUARD == LOAM_GUARD_PORT
    return loam_port_guard_enter();
#else
    return 0;
#endif
}

static inline void loam_guard_unpin(uint64_t pinned)
{
#if LOAM_GUARD == LOAM_GUARD_IRQ
    loam_x86_irq_restore(pinned);
#elif LOAM_GUARD == LOAM_GUARD_PORT
    loam_port_guard_leave(pinned);
#else
    (void)pinned;
#endif
}

/* Between its test and its set a handler may come and go: it leaves the flag as it was. */
static inline bool loam_guard_enter(struct loam_guard *guard)
{
    if (__builtin_expect(guard->is_inside != 0, 0))
        return false;
    guard->is_inside = 1;
    atomic_signal_fence(memory_order_seq_cst);
    return true;
}

static inline void loam_guard_leave(struct loam_guard *guard)
{
    atomic_signal_fence(memory_order_seq_cst);
    guard->is_inside = 0;
}

static inline bool loam_guard_is_wanted(const struct loam_guard *guard)
{
    return __builtin_expect(atomic_load_explicit(&guard->is_wanted, memory_order_relaxed) != 0, 0);
}
#endif

#ifdef __cplusplus
}
#endif
#endif
