/*
 * block_world.h - a heap of size classes over an arena or a freelist over host
 * memory. Shared by the tests of block.c.
 */
#ifndef LOAM_TESTS_BLOCK_WORLD_H
#define LOAM_TESTS_BLOCK_WORLD_H

#include "harness.h"

#include <stdlib.h>
#include <string.h>

#include <loam/block.h>

#define CHUNK      ((size_t)LOAM_BLOCK_CHUNK_BYTES)
#define SPAN       (64 * CHUNK)
#define SPAN_ALIGN (4 * CHUNK) /* so that results do not depend on where it lies */

enum fallback_kind { OVER_ARENA, OVER_FREELIST, FALLBACKS };

static struct loam_arena arena;
static struct loam_freelist freelist;
static struct loam_block heap;
static unsigned char *span; /* its end is the end of a malloc block: ASan guards it */

/* A heap over a fresh span. */
static inline void heap_of(enum fallback_kind kind, size_t size_bytes)
{
    const struct loam_block_fallback fallback = {
        .freelist = kind == OVER_FREELIST ? &freelist : NULL,
        .arena = kind == OVER_ARENA ? &arena : NULL,
    };
    void *memory = NULL;

    free(span);
    assert_int_equal(posix_memalign(&memory, SPAN_ALIGN, size_bytes), 0);
    span = memory;
    memset(span, 0xa5, size_bytes);
    loam_arena_init(&arena);
    if (kind == OVER_ARENA)
        assert_int_equal(loam_arena_claim(&arena, span, size_bytes), LOAM_OK);
    else
        assert_int_equal(loam_freelist_init(&freelist, span, size_bytes), LOAM_OK);
    assert_int_equal(loam_block_init(&heap, &fallback), LOAM_OK);
    assert_null(loam_block_audit(&heap));
}

static inline struct loam_block_stats stats(void)
{
    struct loam_block_stats now;
    loam_block_measure(&heap, &now);
    return now;
}

/* Blocks that the fallback has given out. */
static inline size_t borrowed_count(void)
{
    struct loam_arena_stats of_arena;
    struct loam_freelist_stats of_freelist;

    if (heap.fallback.arena != NULL) {
        loam_arena_measure(&arena, &of_arena);
        return of_arena.used_count;
    }
    loam_freelist_measure(&freelist, &of_freelist);
    return of_freelist.used_count;
}

/* The heap and its fallback are sound, and agree on what is borrowed. */
static inline void expect_sound(void)
{
    const struct loam_block_stats now = stats();

    assert_null(loam_block_audit(&heap));
    assert_null(heap.fallback.arena != NULL ? loam_arena_audit(&arena)
                                            : loam_freelist_audit(&freelist));
    assert_int_equal(borrowed_count(), now.chunk_count + now.large_count);
}

static inline unsigned char *take(size_t size_bytes)
{
    unsigned char *block = loam_block_alloc(&heap, size_bytes, 1);
    assert_non_null(block);
    assert_int_equal((uintptr_t)block % LOAM_BLOCK_ALIGN_MIN, 0);
    return block;
}

static inline void give(void *block)
{
    loam_block_free(&heap, block);
}

static inline void *resize(void *block, size_t old_bytes, size_t size_bytes, size_t align)
{
    const struct loam_resize request = { old_bytes, size_bytes, align };
    return loam_block_realloc(&heap, block, &request);
}

static inline unsigned char *chunk_of(const void *block)
{
    const uintptr_t at = (uintptr_t)block;
    return (unsigned char *)(at - at % CHUNK);
}

/* Nothing lives; after a trim the fallback has everything back. */
static inline void expect_empty(void)
{
    expect_sound();
    assert_int_equal(stats().used_count, 0);
    assert_int_equal(stats().used_bytes, 0);
    assert_true(stats().chunk_count <= LOAM_BLOCK_SPARE_CHUNKS);
    assert_int_equal(stats().empty_count, stats().chunk_count);
    const size_t held_bytes = stats().held_bytes;
    assert_int_equal(loam_block_trim(&heap), held_bytes);
    assert_int_equal(loam_block_trim(&heap), 0);
    assert_int_equal(stats().held_bytes, 0);
    assert_int_equal(borrowed_count(), 0);
    expect_sound();
}

/* The free panics, whichever subject it names. */
static inline void expect_no_free(void *block, const char *rule)
{
    const uint64_t digest = loam_block_digest(&heap);

    EXPECT_PANIC(rule, give(block));
    assert_int_equal(loam_block_digest(&heap), digest);
}

static inline void pattern_write(unsigned char *block, size_t size_bytes, unsigned seed)
{
    for (size_t i = 0; i < size_bytes; i++)
        block[i] = (unsigned char)(seed + i * 7);
}

static inline void pattern_check(const unsigned char *block, size_t size_bytes, unsigned seed)
{
    for (size_t i = 0; i < size_bytes; i++) {
        if (block[i] != (unsigned char)(seed + i * 7)) /* comparing is slow */
            assert_int_equal(block[i], (unsigned char)(seed + i * 7));
    }
}

#define FOR_EACH_FALLBACK(kind)                                  \
    for (enum fallback_kind kind = OVER_ARENA; kind < FALLBACKS; \
         kind = (enum fallback_kind)(kind + 1))

#endif
