/*
 * threads.h - what tests with a CPU for each thread share. They include <pthread.h> themselves:
 * by that the ThreadSanitizer suites are found.
 */
#ifndef LOAM_TESTS_THREADS_H
#define LOAM_TESTS_THREADS_H

#include <pthread.h>
#include <stdatomic.h>

#include "harness.h"

#define THREADS_MAX 8u

/* cmocka's checks are for the main thread: what others have found wrong is counted. */
static _Atomic(unsigned) thread_failures;

static inline void expect(bool ok)
{
    if (!ok)
        atomic_fetch_add(&thread_failures, 1);
}

/* A source of random numbers for each thread. @param seed not 0 */
static inline uint64_t thread_roll(uint64_t *seed, uint64_t bound)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed % bound;
}

static inline void thread_start(pthread_t *thread, void *(*body)(void *argument), void *argument)
{
    assert_int_equal(pthread_create(thread, NULL, body, argument), 0);
}

static inline void thread_join(pthread_t thread)
{
    assert_int_equal(pthread_join(thread, NULL), 0);
}

/* Bodies 0 .. count - 1, each given its number, at the same time. None may find anything
 * wrong. */
static inline void threads_run(unsigned count, void *(*body)(void *index))
{
    pthread_t thread[THREADS_MAX];

    atomic_store(&thread_failures, 0);
    for (unsigned i = 0; i < count; i++)
        thread_start(&thread[i], body, (void *)(uintptr_t)i);
    for (unsigned i = 0; i < count; i++)
        thread_join(thread[i]);
    assert_int_equal(atomic_load(&thread_failures), 0);
}

#endif
