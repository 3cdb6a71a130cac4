/*
 * threads.h - what tests with a CPU for each thread share. They include <pthread.h> themselves:
 * by that the ThreadSanitizer suites are found.
 */
#ifndef LOAM_TESTS_THREADS_H
#define LOAM_TESTS_THREADS_H

#include <pthread.h>

#include "harness.h"

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

#endif
