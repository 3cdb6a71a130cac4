/*
 * freelist_world.h - a linked-list heap over host memory. Shared by the tests of
 * freelist.c.
 */
#ifndef LOAM_TESTS_FREELIST_WORLD_H
#define LOAM_TESTS_FREELIST_WORLD_H

#include "harness.h"

#include <stdlib.h>
#include <string.h>

#include <loam/freelist.h>

#define SPAN       65536u /* bytes: none wait in it */
#define SPAN_QUICK 262144u
#define SPAN_ALIGN 65536u /* so that results do not depend on where it lies */
#define HEADER     8u     /* bytes before a block with header */
#define OVERHEAD   16u    /* bytes that such a block costs, before rounding */

static struct loam_freelist heap;
static unsigned char *span; /* its end is the end of a malloc block: ASan guards it */
static size_t span_bytes;

/* What is there before a heap is: copies of it tell whether anything changed. */
static struct loam_freelist heap_before;
static unsigned char *span_before;

/* A heap over a fresh span. */
static void heap_of(size_t size_bytes)
{
    free(span);
    free(span_before);
    void *memory = NULL;
    assert_int_equal(posix_memalign(&memory, SPAN_ALIGN, size_bytes), 0);
    span = memory;
    span_bytes = size_bytes;
    span_before = malloc(size_bytes);
    assert_non_null(span_before);
    memset(span, 0xa5, size_bytes);
    assert_int_equal(loam_freelist_init(&heap, span, size_bytes), LOAM_OK);
    assert_null(loam_freelist_audit(&heap));
}

/* Everything, to compare with later. */
static inline void heap_remember(void)
{
    heap_before = heap;
    memcpy(span_before, span, span_bytes);
}

static inline void heap_expect_unchanged(void)
{
    assert_memory_equal(&heap, &heap_before, sizeof(heap));
    assert_memory_equal(span, span_before, span_bytes);
}

static struct loam_freelist_stats stats(void)
{
    struct loam_freelist_stats now;
    loam_freelist_measure(&heap, &now);
    return now;
}

/* With header. */
static inline unsigned char *alloc(size_t size_bytes)
{
    unsigned char *block = loam_freelist_alloc(&heap, size_bytes, 1);
    assert_non_null(block);
    assert_int_equal((uintptr_t)block % LOAM_FREELIST_ALIGN, 0);
    assert_null(loam_freelist_audit(&heap));
    return block;
}

static inline void release(void *block)
{
    loam_freelist_free(&heap, block);
    assert_null(loam_freelist_audit(&heap));
}

/* Without. */
static inline unsigned char *take(size_t size_bytes)
{
    unsigned char *block = loam_freelist_take(&heap, size_bytes, 1);
    assert_non_null(block);
    assert_int_equal((uintptr_t)block % LOAM_FREELIST_GRANULE, 0);
    assert_null(loam_freelist_audit(&heap));
    return block;
}

static inline void give(void *block, size_t size_bytes)
{
    loam_freelist_give(&heap, block, size_bytes);
    assert_null(loam_freelist_audit(&heap));
}

static inline void *resize(void *block, size_t old_bytes, size_t size_bytes)
{
    const struct loam_resize request = { old_bytes, size_bytes, 1 };
    void *moved = loam_freelist_resize(&heap, block, &request);
    assert_null(loam_freelist_audit(&heap));
    return moved;
}

/* Nothing is in use, and all of the span is one block again. */
static inline void expect_empty(void)
{
    const uint64_t digest = loam_freelist_digest(&heap);
    loam_freelist_settle(&heap);
    const struct loam_freelist_stats now = stats();

    assert_null(loam_freelist_audit(&heap));
    assert_int_equal(loam_freelist_digest(&heap), digest);
    assert_int_equal(now.used_count, 0);
    assert_int_equal(now.used_bytes, 0);
    assert_int_equal(now.waiting_count, 0);
    assert_int_equal(now.free_count, 1);
    assert_int_equal(now.largest_free_bytes, now.span_bytes - OVERHEAD);
    assert_int_equal(now.largest_take_bytes, now.span_bytes);
}

/* Contents that tell blocks apart. */
static inline void pattern_write(unsigned char *block, size_t size_bytes, unsigned seed)
{
    for (size_t i = 0; i < size_bytes; i++)
        block[i] = (unsigned char)(seed + i * 7);
}

static inline void pattern_check(const unsigned char *block, size_t size_bytes, unsigned seed)
{
    for (size_t i = 0; i < size_bytes; i++)
        if (block[i] != (unsigned char)(seed + i * 7))
            fail_msg("byte %zu of %zu is not what was written", i, size_bytes);
    assert_non_null(block);
}

#endif
