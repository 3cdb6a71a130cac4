/*
 * frame_all.h - tests that take every single frame there is.
 */
#ifndef LOAM_TESTS_FRAME_ALL_H
#define LOAM_TESTS_FRAME_ALL_H

#include "frame_world.h"

#define ALL_MAX 16384u /* frames that a test takes one by one */

static uint64_t all[ALL_MAX];

/* Take single frames until none is left. Returns how many. */
static inline size_t take_all(enum loam_zone zone)
{
    size_t count = 0;
    for (uint64_t page = take_any(0, zone); page != NONE; page = take_any(0, zone)) {
        assert_true(count < ALL_MAX);
        all[count++] = page;
    }
    return count;
}

static inline int compare_pages(const void *a, const void *b)
{
    const uint64_t left = *(const uint64_t *)a;
    const uint64_t right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

/* What was taken is all different. Sorts it. */
static inline void expect_distinct(size_t count)
{
    qsort(all, count, sizeof(all[0]), compare_pages);
    for (size_t i = 1; i < count; i++)
        assert_int_not_equal(all[i], all[i - 1]);
}

static inline void shuffle(size_t count)
{
    for (size_t i = count; i > 1; i--) {
        const size_t other = test_random_below(i);
        const uint64_t page = all[i - 1];
        all[i - 1] = all[other];
        all[other] = page;
    }
}

#endif
