/*
 * lock.c - the library's locks for threads, in place of src/lock.c: who waits long sleeps.
 *
 * 0: free; 1: held; 2: held, and somebody may sleep. After U. Drepper, Futexes Are Tricky,
 * 2011, third mutex. A signal handler that interrupts the holder never comes here: the
 * heap's functions block nothing, but do not take a lock inside a handler; see thread.h.
 */
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <loam/lock.h>
#include <stdatomic.h>

#define LOCK_SPINS 100u

static void lock_wait(struct loam_spinlock *lock)
{
    for (unsigned i = 0; i < LOCK_SPINS; i++) {
        uint32_t expected = 0;
        if (atomic_load_explicit(&lock->held, memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong(&lock->held, &expected, 1))
            return;
        __builtin_ia32_pause();
    }
    while (atomic_exchange(&lock->held, 2) != 0)
        syscall(SYS_futex, (void *)&lock->held, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
}

void loam_spinlock_acquire(struct loam_spinlock *lock) LOAM_UNCHECKED
{
    uint32_t expected = 0;

    if (!atomic_compare_exchange_strong_explicit(&lock->held, &expected, 1, memory_order_acquire,
                                                 memory_order_relaxed))
        lock_wait(lock);
}

bool loam_spinlock_try(struct loam_spinlock *lock) LOAM_UNCHECKED
{
    uint32_t expected = 0;

    return atomic_compare_exchange_strong(&lock->held, &expected, 1);
}

void loam_spinlock_release(struct loam_spinlock *lock) LOAM_UNCHECKED
{
    if (atomic_exchange_explicit(&lock->held, 0, memory_order_release) == 2)
        syscall(SYS_futex, (void *)&lock->held, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
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
