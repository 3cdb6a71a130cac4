/*
 * debug_world.h - a watched heap of each kind. Shared by the tests of debug.c.
 */
#ifndef LOAM_TESTS_DEBUG_WORLD_H
#define LOAM_TESTS_DEBUG_WORLD_H

#include "allocator_world.h"

#include <loam/debug.h>

static struct loam_debug debug;

#define SITE(number) loam_virt_at(UINT64_C(0xffffffff80000000) + (number))

static inline void watch(enum world_heap heap)
{
    world_of(heap);
    loam_debug_init(&debug, &world.allocator);
    assert_null(loam_debug_audit(&debug));
}

static inline struct loam_debug_stats debug_stats(void)
{
    struct loam_debug_stats stats;
    loam_debug_measure(&debug, &stats);
    return stats;
}

/* A block asked for by SITE(site). */
static inline unsigned char *take_at(size_t size_bytes, unsigned site)
{
    unsigned char *block = loam_debug_alloc(&debug, size_bytes, 8, SITE(site));
    assert_non_null(block);
    return block;
}

static inline unsigned char *take(size_t size_bytes)
{
    return take_at(size_bytes, 1);
}

static inline void give(void *block)
{
    loam_debug_free(&debug, block, SITE(2));
}

static inline bool all_bytes_are(const unsigned char *block, size_t size_bytes, unsigned value)
{
    for (size_t i = 0; i < size_bytes; i++) {
        if (block[i] != value)
            return false;
    }
    return true;
}

#endif
