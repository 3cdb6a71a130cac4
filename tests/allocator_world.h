/*
 * allocator_world.h - one heap of each kind over host memory, behind the common
 * interface. Shared by the tests of allocator.c, debug.c and locked.c.
 */
#ifndef LOAM_TESTS_ALLOCATOR_WORLD_H
#define LOAM_TESTS_ALLOCATOR_WORLD_H

#include "harness.h"

#include <stdlib.h>
#include <string.h>

#include <loam/allocator.h>

#define WORLD_BYTES (1u << 20)
#define WORLD_ALIGN (1u << 20) /* so that results do not depend on where it lies */

/* Every kind there is; blocks over each fallback. */
enum world_heap {
    WORLD_BUMP,
    WORLD_FREELIST,
    WORLD_FREELIST_SIZED,
    WORLD_BLOCK_FREELIST,
    WORLD_BLOCK_ARENA,
    WORLD_ARENA,
    WORLD_HEAPS
};
struct world {
    struct loam_allocator allocator;
    struct loam_bump bump;
    struct loam_freelist freelist;
    struct loam_arena arena;
    struct loam_block block;
    enum world_heap heap;
    unsigned char *span; /* its end is the end of a malloc block: ASan guards it */
};
static struct world world;

#define EACH_HEAP                                           \
    for (world.heap = WORLD_BUMP; world.heap < WORLD_HEAPS; \
         world.heap = (enum world_heap)(world.heap + 1))

static inline void world_freelist(void)
{
    assert_int_equal(loam_freelist_init(&world.freelist, world.span, WORLD_BYTES), LOAM_OK);
}

static inline void world_arena(void)
{
    loam_arena_init(&world.arena);
    assert_int_equal(loam_arena_claim(&world.arena, world.span, WORLD_BYTES), LOAM_OK);
}

static inline void world_block(void)
{
    const bool over_arena = world.heap == WORLD_BLOCK_ARENA;
    const struct loam_block_fallback fallback = {
        .freelist = over_arena ? NULL : &world.freelist,
        .arena = over_arena ? &world.arena : NULL,
    };
    if (over_arena)
        world_arena();
    else
        world_freelist();
    assert_int_equal(loam_block_init(&world.block, &fallback), LOAM_OK);
}

/* A fresh heap of that kind. */
static inline void world_of(enum world_heap heap)
{
    void *memory = NULL;

    free(world.span);
    memset(&world, 0, sizeof(world));
    assert_int_equal(posix_memalign(&memory, WORLD_ALIGN, WORLD_BYTES), 0);
    world.span = memory;
    memset(world.span, 0x5a, WORLD_BYTES);
    world.heap = heap;
    switch (heap) {
    case WORLD_BUMP:
        assert_int_equal(loam_bump_init(&world.bump, world.span, WORLD_BYTES), LOAM_OK);
        world.allocator.kind = LOAM_ALLOCATOR_BUMP;
        world.allocator.heap.bump = &world.bump;
        break;
    case WORLD_FREELIST:
    case WORLD_FREELIST_SIZED:
        world_freelist();
        world.allocator.kind =
            heap == WORLD_FREELIST ? LOAM_ALLOCATOR_FREELIST : LOAM_ALLOCATOR_FREELIST_SIZED;
        world.allocator.heap.freelist = &world.freelist;
        break;
    case WORLD_BLOCK_FREELIST:
    case WORLD_BLOCK_ARENA:
        world_block();
        world.allocator.kind = LOAM_ALLOCATOR_BLOCK;
        world.allocator.heap.block = &world.block;
        break;
    case WORLD_ARENA:
        world_arena();
        world.allocator.kind = LOAM_ALLOCATOR_ARENA;
        world.allocator.heap.arena = &world.arena;
        break;
    case WORLD_HEAPS:
        fail();
    }
    assert_null(loam_allocator_audit(&world.allocator));
}

/* May a block be freed without its size? */
static inline bool world_knows_sizes(void)
{
    return world.heap != WORLD_FREELIST_SIZED;
}

static inline struct loam_allocator_stats world_stats(void)
{
    struct loam_allocator_stats stats;
    loam_allocator_measure(&world.allocator, &stats);
    return stats;
}

/* ---- contents ------------------------------------------------------------ */

static inline void pattern_write(unsigned char *block, size_t size_bytes, unsigned seed)
{
    for (size_t i = 0; i < size_bytes; i++)
        block[i] = (unsigned char)(seed + i * 7);
}

static inline bool pattern_is(const unsigned char *block, size_t size_bytes, unsigned seed)
{
    for (size_t i = 0; i < size_bytes; i++) {
        if (block[i] != (unsigned char)(seed + i * 7))
            return false;
    }
    return true;
}

#endif
