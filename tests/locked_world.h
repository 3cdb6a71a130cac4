/*
 * locked_world.h - a locked heap of each kind, with each kind of lock, watched or
 * not. Shared by the tests of locked.c.
 */
#ifndef LOAM_TESTS_LOCKED_WORLD_H
#define LOAM_TESTS_LOCKED_WORLD_H

#include "allocator_world.h"

#include <pthread.h>

#include <loam/locked.h>

#include "machine.h"

static struct loam_locked locked;

/* A lock of the caller's: a mutex, counting. The common part is not its first member. */
struct counting_lock {
    pthread_mutex_t mutex;
    uint64_t acquired, released;
    struct loam_caller_lock common;
};

#define COUNTING_STATE UINT64_C(0x1234)

static inline struct counting_lock *counting_lock_of(struct loam_caller_lock *common)
{
    return (struct counting_lock *)(void *)((char *)common -
                                            offsetof(struct counting_lock, common));
}

static inline loam_irq_state counting_acquire(struct loam_caller_lock *self)
{
    struct counting_lock *lock = counting_lock_of(self);
    assert_int_equal(pthread_mutex_lock(&lock->mutex), 0);
    assert_int_equal(lock->acquired, lock->released);
    lock->acquired++;
    return COUNTING_STATE + lock->acquired;
}

static inline void counting_release(struct loam_caller_lock *self, loam_irq_state state)
{
    struct counting_lock *lock = counting_lock_of(self);
    assert_int_equal(state, COUNTING_STATE + lock->acquired);
    lock->released++;
    assert_int_equal(pthread_mutex_unlock(&lock->mutex), 0);
}

static struct counting_lock counting = {
    .mutex = PTHREAD_MUTEX_INITIALIZER,
    .common = { counting_acquire, counting_release },
};

/* Every kind of lock, and whether it leaves interrupts alone. */
struct way {
    enum loam_locked_kind lock;
    bool leave_interrupts;
    bool debug;
};
static const struct way ways[] = {
    { LOAM_LOCKED_TICKET, false, false },    { LOAM_LOCKED_TICKET, true, false },
    { LOAM_LOCKED_SPIN, false, false },      { LOAM_LOCKED_SPIN, true, false },
    { LOAM_LOCKED_BY_CALLER, false, false }, { LOAM_LOCKED_NOT, false, false },
    { LOAM_LOCKED_NOT, true, false },        { LOAM_LOCKED_TICKET, false, true },
    { LOAM_LOCKED_SPIN, false, true },       { LOAM_LOCKED_BY_CALLER, false, true },
    { LOAM_LOCKED_NOT, true, true },
};
#define WAYS (sizeof(ways) / sizeof(ways[0]))
static size_t way; /* index of the one at work */
#define EACH_WAY for (way = 0; way < WAYS; way++)

/* A fresh heap of the kind at work, behind a lock of the way at work. */
static inline void locked_world_of(enum world_heap heap)
{
    world_of(heap);
    machine_reset(4);
    counting.acquired = 0;
    counting.released = 0;
    const struct loam_locked_options options = {
        .allocator = world.allocator,
        .caller_lock = ways[way].lock == LOAM_LOCKED_BY_CALLER ? &counting.common : NULL,
        .lock = ways[way].lock,
        .leave_interrupts = ways[way].leave_interrupts,
        .debug = ways[way].debug,
    };
    assert_int_equal(loam_locked_init(&locked, &options), LOAM_OK);
}

static inline struct loam_locked_stats locked_stats(void)
{
    struct loam_locked_stats stats;
    loam_locked_measure(&locked, &stats);
    return stats;
}

/* Nobody holds the lock, and interrupts are on. */
static inline void expect_unlocked(void)
{
    assert_true(machine_interrupts());
    assert_int_equal(counting.acquired, counting.released);
    assert_true(loam_spinlock_try(&locked.spin));
    loam_spinlock_release(&locked.spin);
    assert_true(loam_ticketlock_try(&locked.ticket));
    loam_ticketlock_release(&locked.ticket);
}

#endif
