/* heap.h - the heap of the death programs of heap and slab, with a cache. */
#ifndef LOAM_TESTS_DEATH_HEAP_H
#define LOAM_TESTS_DEATH_HEAP_H

#include "heap_world.h"

/* For two CPUs; all is there that a first allocation makes. */
static inline void heap_begin(void)
{
    heap_on(2);
    loam_heap_free(&heap, loam_heap_alloc(&heap, 64));
}

static inline struct loam_slab_cache *a_cache(void)
{
    const struct loam_slab_setup setup = { .name = "doomed", .size_bytes = 48 };
    struct loam_slab_cache *cache;
    if (loam_slab_create(&heap, &setup, &cache) != LOAM_OK)
        exit(1);
    return cache;
}

#endif
