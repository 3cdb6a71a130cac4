/*
 * slab_world.h - a heap with a cache. Shared by the tests of slab*.c.
 */
#ifndef LOAM_TESTS_SLAB_WORLD_H
#define LOAM_TESTS_SLAB_WORLD_H

#include "heap_world.h"

#include "../src/internal/slab_head.h"

#define OBJECTS 2000u

static struct loam_slab_cache *cache;
static void *object[OBJECTS];

static inline struct loam_slab_setup setup_of(size_t size_bytes, size_t align)
{
    const struct loam_slab_setup setup = { .name = "test",
                                           .size_bytes = size_bytes,
                                           .align = align };
    return setup;
}

static inline struct loam_slab_cache *create(const struct loam_slab_setup *setup)
{
    struct loam_slab_cache *made = NULL;
    assert_int_equal(loam_slab_create(&heap, setup, &made), LOAM_OK);
    assert_non_null(made);
    return made;
}

/* A heap for so many CPUs, and a cache. */
static inline void cache_on(unsigned cpus, size_t size_bytes)
{
    const struct loam_slab_setup setup = setup_of(size_bytes, 0);
    heap_on(cpus);
    cache = create(&setup);
}

static inline struct loam_slab_stats stats_of(struct loam_slab_cache *of)
{
    struct loam_slab_stats stats;
    memset(&stats, RUBBISH, sizeof(stats));
    loam_slab_measure(of, &stats);
    assert_int_equal(stats.slot_count, stats.live_count + stats.magazine_count + stats.free_count);
    return stats;
}

static inline void *alloc(void)
{
    void *const got = loam_slab_alloc(cache);
    assert_non_null(got);
    return got;
}

static inline void alloc_some(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        object[i] = alloc();
}

static inline void free_some(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        loam_slab_free(cache, object[i]);
}

/* The cache goes; only pages of records are left. */
static inline void destroy(struct loam_slab_cache *of)
{
    uint64_t live = 99;
    expect_sound();
    assert_int_equal(loam_slab_destroy(of, &live), LOAM_OK);
    assert_int_equal(live, 0);
    expect_sound();
}

static inline void destroy_all(void)
{
    destroy(cache);
    expect_all_given_back();
    assert_int_equal(heap.caches_count, 0);
}

#endif
