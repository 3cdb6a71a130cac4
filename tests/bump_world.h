/*
 * bump_world.h - a bump heap over host memory. Shared by the tests of bump.c.
 */
#ifndef LOAM_TESTS_BUMP_WORLD_H
#define LOAM_TESTS_BUMP_WORLD_H

#include "harness.h"

#include <stdlib.h>
#include <string.h>

#include <loam/bump.h>

#define SPAN 4096u

static struct loam_bump heap;
static unsigned char *span; /* its end is the end of a malloc block: ASan guards it */

static inline void heap_of(size_t size_bytes)
{
    free(span);
    void *memory = NULL;
    assert_int_equal(posix_memalign(&memory, SPAN, size_bytes), 0);
    span = memory;
    memset(span, 0xa5, size_bytes);
    assert_int_equal(loam_bump_init(&heap, span, size_bytes), LOAM_OK);
    assert_null(loam_bump_audit(&heap));
}

static inline struct loam_bump_stats stats(void)
{
    struct loam_bump_stats now;
    loam_bump_measure(&heap, &now);
    return now;
}

static inline unsigned char *take(size_t size_bytes, size_t align)
{
    unsigned char *block = loam_bump_alloc(&heap, size_bytes, align);
    assert_non_null(block);
    assert_null(loam_bump_audit(&heap));
    return block;
}

static inline void give(void *block)
{
    loam_bump_free(&heap, block);
    assert_null(loam_bump_audit(&heap));
}

static inline void *resize(void *block, size_t old_bytes, size_t size_bytes, size_t align)
{
    const struct loam_resize request = { old_bytes, size_bytes, align };
    void *result = loam_bump_realloc(&heap, block, &request);
    assert_null(loam_bump_audit(&heap));
    return result;
}

static inline void expect_stats(size_t used_bytes, size_t peak_bytes, size_t used_count)
{
    assert_int_equal(stats().span_bytes, SPAN);
    assert_int_equal(stats().used_bytes, used_bytes);
    assert_int_equal(stats().peak_bytes, peak_bytes);
    assert_int_equal(stats().used_count, used_count);
}

static inline void pattern_write(unsigned char *block, size_t size_bytes, unsigned seed)
{
    for (size_t i = 0; i < size_bytes; i++)
        block[i] = (unsigned char)(seed + i * 7);
}

static inline void pattern_check(const unsigned char *block, size_t size_bytes, unsigned seed)
{
    for (size_t i = 0; i < size_bytes; i++)
        assert_int_equal(block[i], (unsigned char)(seed + i * 7));
}

/* The last panic was this one, and changed nothing. */
static inline void expect_panic_of(const char *rule, const void *subject, uint64_t detail,
                                   uint64_t digest)
{
    assert_string_equal(panic_trap.seen.rule, rule);
    assert_int_equal(panic_trap.seen.subject, (uintptr_t)subject);
    assert_int_equal(panic_trap.seen.detail, detail);
    assert_int_equal(loam_bump_digest(&heap), digest);
}

#endif
