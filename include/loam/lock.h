/*
 * lock.h - two spinning locks, and a lock that is safe against interrupts.
 *
 * spinlock: one word; test-and-test-and-set. Unfair, cheapest when idle.
 * ticketlock: first come, first served; what the library itself uses.
 *
 * An _irq pair turns interrupts off on this CPU while the lock is held, so that
 * a handler that takes the same lock cannot meet its own CPU inside. Plain pairs
 * leave interrupts alone: for locks no handler takes.
 *
 * Acquire pairs with release: what was written before a release is seen after
 * the next acquire. At LOAM_CHECK 1 and above releasing a lock that is not held,
 * and _irq-acquiring a lock this CPU already holds, panic.
 */
#ifndef LOAM_LOCK_H
#define LOAM_LOCK_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Annotations for clang's -Wthread-safety; nothing elsewhere. */
#if defined(__clang__) && !defined(__cplusplus)
#define LOAM_CAPABILITY(name) __attribute__((capability(name)))
#define LOAM_ACQUIRES(lock)   __attribute__((acquire_capability(lock)))
#define LOAM_RELEASES(lock)   __attribute__((release_capability(lock)))
#define LOAM_NEEDS(lock)      __attribute__((requires_capability(lock)))
#define LOAM_TRIES(lock)      __attribute__((try_acquire_capability(true, lock)))
#define LOAM_UNCHECKED        __attribute__((no_thread_safety_analysis))
#else
#define LOAM_CAPABILITY(name)
#define LOAM_ACQUIRES(lock)
#define LOAM_RELEASES(lock)
#define LOAM_NEEDS(lock)
#define LOAM_TRIES(lock)
#define LOAM_UNCHECKED
#endif

/* All locks start as zeroes: unlocked. */
struct LOAM_CAPABILITY("mutex") loam_spinlock {
    LOAM_ATOMIC(uint32_t) held; /* 0; 1; or CPU + 2 while held by an _irq pair */
};

struct LOAM_CAPABILITY("mutex") loam_ticketlock {
    LOAM_ATOMIC(uint32_t) next;   /* ticket for the next to come */
    LOAM_ATOMIC(uint32_t) owner;  /* ticket now being served */
    LOAM_ATOMIC(uint32_t) holder; /* CPU + 1 while held by an _irq pair, else 0 */
};

/* What _irq acquire hands to _irq release: RFLAGS of the caller. */
typedef uint64_t loam_irq_state;

/** Take the lock, spinning as long as another holds it. Any context but NMI. */
void loam_spinlock_acquire(struct loam_spinlock *lock) LOAM_ACQUIRES(*lock);
/** Take the lock if it is free now. @return true: taken */
LOAM_NODISCARD bool loam_spinlock_try(struct loam_spinlock *lock) LOAM_TRIES(*lock);
/** Give the lock back; the caller holds it. */
void loam_spinlock_release(struct loam_spinlock *lock) LOAM_RELEASES(*lock);

/**
 * Take the lock with interrupts off on this CPU. While another CPU holds it,
 * interrupts are as the caller had them: a long wait delays no handler.
 *
 * @return state for loam_spinlock_release_irq()
 *
 * Context: any but NMI, any interrupt state. Calls loam_port_cpu().
 */
LOAM_NODISCARD loam_irq_state loam_spinlock_acquire_irq(struct loam_spinlock *lock)
    LOAM_ACQUIRES(*lock);
/** Give the lock back, then restore the caller's interrupt state. */
void loam_spinlock_release_irq(struct loam_spinlock *lock, loam_irq_state state)
    LOAM_RELEASES(*lock);

/** Take the lock in order of arrival. Any context but NMI. */
void loam_ticketlock_acquire(struct loam_ticketlock *lock) LOAM_ACQUIRES(*lock);
/** Take the lock if it is free now. @return true: taken */
LOAM_NODISCARD bool loam_ticketlock_try(struct loam_ticketlock *lock) LOAM_TRIES(*lock);
/** Give the lock back; the caller holds it. */
void loam_ticketlock_release(struct loam_ticketlock *lock) LOAM_RELEASES(*lock);

/**
 * Take the lock with interrupts off on this CPU, while waiting for it too: a
 * ticket, once drawn, must be there when it is called.
 *
 * @return state for loam_ticketlock_release_irq()
 *
 * Context: any but NMI, any interrupt state. Calls loam_port_cpu().
 */
LOAM_NODISCARD loam_irq_state loam_ticketlock_acquire_irq(struct loam_ticketlock *lock)
    LOAM_ACQUIRES(*lock);
/** Give the lock back, then restore the caller's interrupt state. */
void loam_ticketlock_release_irq(struct loam_ticketlock *lock, loam_irq_state state)
    LOAM_RELEASES(*lock);

#ifdef __cplusplus
}
#endif
#endif
