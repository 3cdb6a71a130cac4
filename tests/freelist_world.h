/*
 * freelist_world.h - a first-fit heap over host memory. Shared by the tests of
 * freelist.c.
 */
#ifndef LOAM_TESTS_FREELIST_WORLD_H
#define LOAM_TESTS_FREELIST_WORLD_H

#include "harness.h"

#include <stdlib.h>
#include <string.h>

#include <loam/freelist.h>

#define SPAN   65536u
#define HEADER 16u /* bytes that a block costs */

static struct loam_freelist heap;
static unsigned char *span; /* its end is the end of a malloc block: ASan guards it */
#define SPAN_ALIGN 65536u   /* so that results do not depend on where it lies */

/* A heap over a fresh span. */
static void heap_of(size_t size_bytes)
{
    free(span);
    void *memory = NULL;
    assert_int_equal(posix_memalign(&memory, SPAN_ALIGN, size_bytes), 0);
    span = memory;
    memset(span, 0xa5, size_bytes);
    assert_int_equal(loam_freelist_init(&heap, span, size_bytes), LOAM_OK);
    assert_null(loam_freelist_audit(&heap));
}

static struct loam_freelist_stats stats(void)
{
    struct loam_freelist_stats now;
    loam_freelist_measure(&heap, &now);
    return now;
}

static unsigned char *take(size_t size_bytes)
{
    unsigned char *block = loam_freelist_alloc(&heap, size_bytes, 1);
    assert_non_null(block);
    assert_int_equal((uintptr_t)block % LOAM_FREELIST_ALIGN, 0);
    assert_null(loam_freelist_audit(&heap));
    return block;
}

static void give(void *block)
{
    loam_freelist_free(&heap, block);
    assert_null(loam_freelist_audit(&heap));
}

/* Nothing is in use, and all of the span is one block again. */
static void expect_empty(void)
{
    const struct loam_freelist_stats now = stats();

    assert_null(loam_freelist_audit(&heap));
    assert_int_equal(now.used_count, 0);
    assert_int_equal(now.used_bytes, 0);
    assert_int_equal(now.free_count, 1);
    assert_int_equal(now.largest_free_bytes, now.span_bytes - HEADER);
}

#endif
