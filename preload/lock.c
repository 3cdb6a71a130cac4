/*
 * lock.c - the library's locks for threads, in place of src/lock.c: who waits long sleeps.
 *
 * 0: free; else the number of the thread that holds it, with LOCK_WAITED if another may
 * sleep. After U. Drepper, Futexes Are Tricky, 2011, third mutex.
 */
#include "lock.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <stdatomic.h>

#include "visit.h"

#define LOCK_SPINS  100u
#define LOCK_WAITED 0x80000000u

static uint32_t lock_self(void)
{
    if (preload_tid == 0)
        preload_tid = (uint32_t)syscall(SYS_gettid);
    return preload_tid;
}

static __attribute__((noinline)) void lock_wait(struct loam_spinlock *lock)
{
    const uint32_t self = lock_self();
    uint32_t held = 0;

    for (unsigned i = 0; i < LOCK_SPINS; i++) {
        held = 0;
        if (atomic_load(&lock->held) == 0 &&
            atomic_compare_exchange_strong(&lock->held, &held, self))
            return;
        __builtin_ia32_pause();
    }
    held = atomic_load(&lock->held);
    while (true) { /* until it is free; others that sleep will be thought of at the release */
        if (held == 0) {
            if (atomic_compare_exchange_strong(&lock->held, &held, self | LOCK_WAITED))
                return;
        } else if ((held & LOCK_WAITED) != 0 ||
                   atomic_compare_exchange_strong(&lock->held, &held, held | LOCK_WAITED)) {
            syscall(SYS_futex, &lock->held, FUTEX_WAIT_PRIVATE, held | LOCK_WAITED, NULL, NULL, 0);
            held = atomic_load(&lock->held);
        }
    }
}

void loam_spinlock_acquire(struct loam_spinlock *lock) LOAM_UNCHECKED
{
    if (!loam_spinlock_try(lock))
        lock_wait(lock);
}

bool loam_spinlock_try(struct loam_spinlock *lock) LOAM_UNCHECKED
{
    uint32_t expected = 0;

    return atomic_compare_exchange_strong(&lock->held, &expected, lock_self());
}

void loam_spinlock_release(struct loam_spinlock *lock) LOAM_UNCHECKED
{
    if ((atomic_exchange(&lock->held, 0) & LOCK_WAITED) != 0)
        syscall(SYS_futex, &lock->held, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

loam_irq_state loam_spinlock_acquire_irq(struct loam_spinlock *lock) LOAM_UNCHECKED
{
    loam_spinlock_acquire(lock);
    return 0;
}

void loam_spinlock_release_irq(struct loam_spinlock *lock, loam_irq_state state) LOAM_UNCHECKED
{
    (void)state;
    loam_spinlock_release(lock);
}

bool preload_lock_is_own(struct loam_spinlock *lock)
{
    return (atomic_load(&lock->held) & ~LOCK_WAITED) == lock_self();
}

void preload_lock_keep(struct loam_spinlock *lock)
{
    atomic_store(&lock->held, lock_self());
}
