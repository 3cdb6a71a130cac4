/*
 * lock.c - see lock.h.
 *
 * Acquire/release pairs: spinlock exchange(acquire) or compare-exchange(acquire)
 * with store(release) of held; ticketlock load(acquire) of owner with
 * store(release) of owner. The holder word is only a diagnosis: relaxed.
 */
#include <loam/lock.h>

#include <stdatomic.h>

#include <loam/x86.h>

#include "internal/check.h"

#define LOCK_CHECK(cond, rule, lock) \
    LOAM_CHECK_IF(LOAM_CHECK >= 1, cond, rule, loam_virt_of(lock).addr, 0)

void loam_spinlock_acquire(struct loam_spinlock *lock) LOAM_UNCHECKED
{
    while (atomic_exchange_explicit(&lock->held, 1, memory_order_acquire) != 0) {
        /* Read only until it looks free: the line stays shared meanwhile. */
        while (atomic_load_explicit(&lock->held, memory_order_relaxed) != 0)
            loam_x86_pause();
    }
}

bool loam_spinlock_try(struct loam_spinlock *lock) LOAM_UNCHECKED
{
    return atomic_exchange_explicit(&lock->held, 1, memory_order_acquire) == 0;
}

void loam_spinlock_release(struct loam_spinlock *lock) LOAM_UNCHECKED
{
    LOCK_CHECK(atomic_load_explicit(&lock->held, memory_order_relaxed) != 0,
               "lock: release of a lock that is not held", lock);
    atomic_store_explicit(&lock->held, 0, memory_order_release);
}

loam_irq_state loam_spinlock_acquire_irq(struct loam_spinlock *lock) LOAM_UNCHECKED
{
    for (;;) {
        const loam_irq_state state = loam_x86_irq_save();
        const uint32_t self = loam_port_cpu() + 2; /* again each time: the caller may migrate */
        uint32_t held = 0;
        if (atomic_compare_exchange_strong_explicit(&lock->held, &held, self, memory_order_acquire,
                                                    memory_order_relaxed))
            return state;
        LOCK_CHECK(held != self, "lock: acquired twice by one CPU", lock);
        loam_x86_irq_restore(state);
        while (atomic_load_explicit(&lock->held, memory_order_relaxed) != 0)
            loam_x86_pause();
    }
}

void loam_spinlock_release_irq(struct loam_spinlock *lock, loam_irq_state state) LOAM_UNCHECKED
{
    loam_spinlock_release(lock);
    loam_x86_irq_restore(state);
}

void loam_ticketlock_acquire(struct loam_ticketlock *lock) LOAM_UNCHECKED
{
    const uint32_t mine = atomic_fetch_add_explicit(&lock->next, 1, memory_order_relaxed);
    while (atomic_load_explicit(&lock->owner, memory_order_acquire) != mine)
        loam_x86_pause();
}

bool loam_ticketlock_try(struct loam_ticketlock *lock) LOAM_UNCHECKED
{
    uint32_t turn = atomic_load_explicit(&lock->owner, memory_order_acquire);
    /* Free means: the ticket now served is the next to be drawn. */
    return atomic_compare_exchange_strong_explicit(&lock->next, &turn, turn + 1,
                                                   memory_order_relaxed, memory_order_relaxed);
}

void loam_ticketlock_release(struct loam_ticketlock *lock) LOAM_UNCHECKED
{
    const uint32_t turn = atomic_load_explicit(&lock->owner, memory_order_relaxed);
    LOCK_CHECK(atomic_load_explicit(&lock->next, memory_order_relaxed) != turn,
               "lock: release of a lock that is not held", lock);
    atomic_store_explicit(&lock->owner, turn + 1, memory_order_release);
}

loam_irq_state loam_ticketlock_acquire_irq(struct loam_ticketlock *lock) LOAM_UNCHECKED
{
    const loam_irq_state state = loam_x86_irq_save();
    const uint32_t self = loam_port_cpu() + 1;
    LOCK_CHECK(atomic_load_explicit(&lock->holder, memory_order_relaxed) != self,
               "lock: acquired twice by one CPU", lock);
    loam_ticketlock_acquire(lock);
    atomic_store_explicit(&lock->holder, self, memory_order_relaxed);
    return state;
}

void loam_ticketlock_release_irq(struct loam_ticketlock *lock, loam_irq_state state) LOAM_UNCHECKED
{
    atomic_store_explicit(&lock->holder, 0, memory_order_relaxed);
    loam_ticketlock_release(lock);
    loam_x86_irq_restore(state);
}
