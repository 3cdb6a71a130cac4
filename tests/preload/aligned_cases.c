/*
 * aligned_cases.c - aligned_alloc, posix_memalign, memalign, valloc, pvalloc.
 */
#include "cases.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DISTURBED 12345 /* no error has this number */
#define UNTOUCHED ((void *)(uintptr_t)0x1234567)

/* No pointer of a process has these as a divisor: user addresses end at 2^47. */
#define SHIFT_NEVER 47

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* ---- all powers of two --------------------------------------------------- */

/* A block of this alignment: right, its own, writable at both ends, freeable. */
static void check_aligned(void *block, size_t alignment, size_t size)
{
    unsigned char *byte = block;

    CHECK(block != NULL);
    CHECK_EQUAL((size_t)block & (alignment - 1), 0);
    byte[0] = 1;
    byte[size - 1] = 2;
    CHECK_EQUAL(byte[size - 1], 2);
    free(block);
}

static void aligned_alloc_aligns_to_all_powers_of_two_up_to_1_gib(void)
{
    for (size_t alignment = 1; alignment <= GIB(1); alignment *= 2) {
        check_aligned(aligned_alloc(opaque(alignment), 1), alignment, 1);
        check_aligned(aligned_alloc(opaque(alignment), alignment), alignment, alignment);
        check_aligned(aligned_alloc(opaque(alignment), 3 * alignment), alignment, 3 * alignment);
    }
}

static void posix_memalign_aligns_to_all_powers_of_two_up_to_1_gib(void)
{
    for (size_t alignment = sizeof(void *); alignment <= GIB(1); alignment *= 2) {
        for (size_t size = 1; size <= MIB(16); size *= 16) {
            void *block = NULL;
            CHECK_EQUAL(posix_memalign(&block, opaque(alignment), size), 0);
            check_aligned(block, alignment, size);
        }
    }
}

static void memalign_aligns_to_all_powers_of_two_up_to_1_gib(void)
{
    for (size_t alignment = 1; alignment <= GIB(1); alignment *= 2) {
        for (size_t size = 7; size <= MIB(8); size *= 31)
            check_aligned(memalign(opaque(alignment), size), alignment, size);
    }
}

/* C17: any size goes with any alignment that is supported. */
static void aligned_alloc_takes_sizes_that_are_no_multiple(void)
{
    for (size_t alignment = 16; alignment <= MIB(1); alignment *= 2) {
        check_aligned(aligned_alloc(alignment, opaque(1)), alignment, 1);
        check_aligned(aligned_alloc(alignment, opaque(alignment - 1)), alignment, alignment - 1);
        check_aligned(aligned_alloc(alignment, opaque(alignment + 1)), alignment, alignment + 1);
        check_aligned(aligned_alloc(alignment, opaque(1000)), alignment, 1000);
    }
}

/* Many at once, of mixed alignment, among plain ones: none overlaps another. */
static void aligned_blocks_keep_their_contents_among_others(void)
{
    static struct {
        void *at;
        size_t size;
    } blocks[3000];
    uint64_t seed = 11;

    for (size_t round = 0; round < 4; round++) {
        for (size_t i = 0; i < COUNT(blocks); i++) {
            const size_t alignment = (size_t)8 << (next_random(&seed) % 11);
            if (blocks[i].at != NULL) {
                CHECK(is_filled(blocks[i].at, blocks[i].size, i));
                if (next_random(&seed) % 3 == 0)
                    continue;
                free(blocks[i].at);
            }
            blocks[i].size = (size_t)(next_random(&seed) % 3000) + 1;
            if (next_random(&seed) % 2 == 0) {
                CHECK_EQUAL(posix_memalign(&blocks[i].at, alignment, blocks[i].size), 0);
                CHECK(is_aligned(blocks[i].at, alignment));
            } else {
                blocks[i].at = malloc(blocks[i].size);
                CHECK(blocks[i].at != NULL);
            }
            fill(blocks[i].at, blocks[i].size, i);
        }
    }
    for (size_t i = 0; i < COUNT(blocks); i++) {
        CHECK(is_filled(blocks[i].at, blocks[i].size, i));
        free(blocks[i].at);
    }
}

/* Blocks that were freed by plain programs are not handed out as aligned ones. */
static void aligned_blocks_are_aligned_in_used_memory(void)
{
    for (size_t size = 8; size <= KIB(16); size *= 2) {
        void *blocks[64];
        for (size_t i = 0; i < COUNT(blocks); i++)
            blocks[i] = malloc(size + 8 * (i % 5));
        for (size_t i = 0; i < COUNT(blocks); i++)
            free(blocks[i]);
        for (size_t alignment = 16; alignment <= KIB(64); alignment *= 2) {
            for (size_t i = 0; i < COUNT(blocks); i++) {
                blocks[i] = aligned_alloc(alignment, size);
                CHECK(blocks[i] != NULL && is_aligned(blocks[i], alignment));
                fill(blocks[i], size, i);
            }
            for (size_t i = 0; i < COUNT(blocks); i++) {
                CHECK(is_filled(blocks[i], size, i));
                free(blocks[i]);
            }
        }
    }
}

static void free_aligned_sized_takes_aligned_blocks(void)
{
    for (size_t alignment = 1; alignment <= MIB(2); alignment *= 2) {
        for (size_t size = 1; size < MIB(1); size = size * 5 + 3) {
            void *block = aligned_alloc(alignment, size);
            CHECK(block != NULL);
            fill(block, size, 1);
            sized_aligned_free(block, alignment, size);
        }
    }
    work(4, 1000);
}

/* ---- what is no alignment ------------------------------------------------ */

static void posix_memalign_refuses_what_is_no_alignment(void)
{
    static const size_t alignments[] = { 0,
                                         1,
                                         2,
                                         4,
                                         3,
                                         5,
                                         6,
                                         7,
                                         9,
                                         10,
                                         12,
                                         24,
                                         40,
                                         48,
                                         100,
                                         1000,
                                         4095,
                                         4097,
                                         12288,
                                         SIZE_MAX,
                                         SIZE_MAX / 2,
                                         ((size_t)1 << 63) + 8,
                                         ((size_t)3 << 62) };

    for (size_t i = 0; i < COUNT(alignments); i++) {
        void *block = UNTOUCHED;
        CHECK_EQUAL(posix_memalign(&block, opaque(alignments[i]), 64), EINVAL);
        CHECK_EQUAL(block, UNTOUCHED);
        CHECK_EQUAL(posix_memalign(&block, opaque(alignments[i]), 0), EINVAL);
        CHECK_EQUAL(block, UNTOUCHED);
    }
}

static void aligned_alloc_refuses_what_is_no_alignment(void)
{
    static const size_t alignments[] = {
        0, 3, 5, 6, 7, 12, 24, 100, 1000, 4095, 4097, 12288, SIZE_MAX, ((size_t)3 << 62)
    };

    for (size_t i = 0; i < COUNT(alignments); i++)
        CHECK_REFUSED(aligned_alloc(opaque(alignments[i]), 24), EINVAL);
}

/* The manual leaves open whether it looks; what it gives must be an ordinary block. */
static void memalign_of_no_alignment_refuses_or_aligns_to_more(void)
{
    static const size_t alignments[] = { 0, 3, 5, 12, 24, 100, 1000, 4095, 4097, 12288 };

    for (size_t i = 0; i < COUNT(alignments); i++) {
        errno = 0;
        unsigned char *block = memalign(opaque(alignments[i]), 200);
        if (block == NULL) {
            CHECK_EQUAL(errno, EINVAL);
            continue;
        }
        size_t power = 1;
        while (power < alignments[i])
            power *= 2;
        CHECK(is_aligned(block, power));
        fill(block, 200, i);
        CHECK(is_filled(block, 200, i));
        free(block);
    }
}

/* The manual: "The value of errno is not set." */
static void posix_memalign_tells_errors_without_errno(void)
{
    void *block = UNTOUCHED;

    errno = DISTURBED;
    CHECK_EQUAL(posix_memalign(&block, opaque(3), 64), EINVAL);
    CHECK_EQUAL(errno, DISTURBED);
    CHECK_EQUAL(posix_memalign(&block, 64, opaque(SIZE_MAX)), ENOMEM);
    CHECK_EQUAL(errno, DISTURBED);
}

/* ---- nothing ------------------------------------------------------------- */

static void aligned_blocks_of_nothing_are_aligned_and_distinct(void)
{
    for (size_t alignment = 8; alignment <= KIB(64); alignment *= 2) {
        void *blocks[8] = { NULL };
        for (size_t i = 0; i < COUNT(blocks); i++) {
            if (i % 2 == 0)
                CHECK_EQUAL(posix_memalign(&blocks[i], alignment, opaque(0)), 0);
            else
                blocks[i] = aligned_alloc(alignment, opaque(0));
            CHECK(is_aligned(blocks[i], alignment)); /* as NULL is */
            for (size_t j = 0; j < i; j++)
                CHECK(blocks[i] == NULL || opaque((size_t)blocks[i]) != (size_t)blocks[j]);
        }
        for (size_t i = 0; i < COUNT(blocks); i++)
            free(blocks[i]);
    }
}

/* ---- too much ------------------------------------------------------------ */

static void aligned_alloc_refuses_sizes_that_overflow_with_the_alignment(void)
{
    for (unsigned shift = 3; shift < 63; shift++) {
        const size_t alignment = opaque((size_t)1 << shift);
        CHECK_REFUSED(aligned_alloc(alignment, opaque(SIZE_MAX)), ENOMEM);
        CHECK_REFUSED(aligned_alloc(alignment, opaque(0 - alignment)), ENOMEM);
        CHECK_REFUSED(aligned_alloc(alignment, opaque(0 - 2 * alignment)), ENOMEM);
        CHECK_REFUSED(aligned_alloc(alignment, opaque(1 - alignment)), ENOMEM);
        CHECK_REFUSED(aligned_alloc(alignment, opaque((size_t)PTRDIFF_MAX + 1)), ENOMEM);
    }
}

static void posix_memalign_refuses_sizes_that_overflow_with_the_alignment(void)
{
    void *block = UNTOUCHED;

    for (unsigned shift = 3; shift < 63; shift++) {
        const size_t alignment = opaque((size_t)1 << shift);
        CHECK_EQUAL(posix_memalign(&block, alignment, opaque(SIZE_MAX)), ENOMEM);
        CHECK_EQUAL(posix_memalign(&block, alignment, opaque(0 - alignment)), ENOMEM);
        CHECK_EQUAL(posix_memalign(&block, alignment, opaque(1 - alignment)), ENOMEM);
        CHECK_EQUAL(posix_memalign(&block, alignment, opaque((size_t)PTRDIFF_MAX + 1)), ENOMEM);
        CHECK_EQUAL(block, UNTOUCHED);
    }
}

static void memalign_refuses_sizes_that_overflow_with_the_alignment(void)
{
    for (unsigned shift = 3; shift < 63; shift++) {
        const size_t alignment = opaque((size_t)1 << shift);
        for (size_t k = 0; k < 5000; k = k * 3 + 1)
            CHECK_REFUSED(memalign(alignment, opaque(SIZE_MAX - k)), ENOMEM);
        CHECK_REFUSED(memalign(alignment, opaque(0 - alignment)), ENOMEM);
        CHECK_REFUSED(memalign(alignment, opaque((size_t)PTRDIFF_MAX + 1)), ENOMEM);
    }
}

static void alignments_beyond_the_address_space_are_refused(void)
{
    for (unsigned shift = SHIFT_NEVER; shift < 63; shift++) {
        void *block = UNTOUCHED;
        CHECK_REFUSED(aligned_alloc(opaque((size_t)1 << shift), 1), ENOMEM);
        CHECK_REFUSED(memalign(opaque((size_t)1 << shift), 1), ENOMEM);
        CHECK_EQUAL(posix_memalign(&block, opaque((size_t)1 << shift), 1), ENOMEM);
        CHECK_EQUAL(block, UNTOUCHED);
    }
}

/* 2^63 is a power of two that no sum holds twice. */
static void the_largest_power_of_two_is_refused(void)
{
    void *block = UNTOUCHED;

    errno = 0;
    CHECK(aligned_alloc(opaque((size_t)1 << 63), 1) == NULL);
    CHECK(errno == ENOMEM || errno == EINVAL);
    errno = 0;
    CHECK(memalign(opaque((size_t)1 << 63), 1) == NULL);
    CHECK(errno == ENOMEM || errno == EINVAL);
    const int status = posix_memalign(&block, opaque((size_t)1 << 63), 1);
    CHECK(status == ENOMEM || status == EINVAL);
    CHECK_EQUAL(block, UNTOUCHED);
}

/* Between 2 GiB and 64 TiB the machine decides; either way no harm is done. */
static void huge_alignments_are_met_or_refused(void)
{
    for (unsigned shift = 31; shift < SHIFT_NEVER; shift++) {
        void *block = NULL;
        const int status = posix_memalign(&block, opaque((size_t)1 << shift), 100);
        if (status == 0)
            check_aligned(block, (size_t)1 << shift, 100);
        else
            CHECK_EQUAL(status, ENOMEM);
    }
}

/* ---- pages --------------------------------------------------------------- */

static void valloc_aligns_to_pages(void)
{
    for (size_t size = 1; size < MIB(16); size = size * 3 + 1)
        check_aligned(valloc(size), page_size(), size);
    free(valloc(opaque(0)));
}

/* The size is rounded up to whole pages, all of which are the caller's. */
static void pvalloc_gives_whole_pages(void)
{
    for (size_t size = 1; size < MIB(16); size = size * 3 + 1) {
        const size_t whole = (size + page_size() - 1) / page_size() * page_size();
        unsigned char *block = pvalloc(size);
        unsigned char *next = pvalloc(size);
        CHECK(block != NULL && next != NULL);
        CHECK(is_aligned(block, page_size()));
        CHECK(malloc_usable_size(block) >= whole);
        fill(block, whole, 1);
        fill(next, whole, 2);
        CHECK(is_filled(block, whole, 1));
        free(block);
        free(next);
    }
}

static void pvalloc_of_nothing_can_be_freed(void)
{
    void *first = pvalloc(opaque(0));
    void *second = pvalloc(opaque(0));

    CHECK(is_aligned(first, page_size()));
    CHECK(first == NULL || opaque((size_t)first) != opaque((size_t)second));
    free(first);
    free(second);
}

static void valloc_refuses_what_no_object_can_have(void)
{
    for (size_t k = 0; k <= 2 * page_size(); k++)
        CHECK_REFUSED(valloc(opaque(SIZE_MAX - k)), ENOMEM);
    CHECK_REFUSED(valloc(opaque((size_t)PTRDIFF_MAX + 1)), ENOMEM);
    CHECK_REFUSED(valloc(opaque((size_t)1 << 50)), ENOMEM);
}

/* Rounding these up to a page gives 0. */
static void pvalloc_refuses_what_wraps_when_rounded_up(void)
{
    for (size_t k = 0; k <= 2 * page_size(); k++)
        CHECK_REFUSED(pvalloc(opaque(SIZE_MAX - k)), ENOMEM);
    CHECK_REFUSED(pvalloc(opaque((size_t)PTRDIFF_MAX + 1)), ENOMEM);
    CHECK_REFUSED(pvalloc(opaque((size_t)1 << 50)), ENOMEM);
}

const struct conformance_case aligned_cases[] = {
    CASE(aligned_alloc_aligns_to_all_powers_of_two_up_to_1_gib),
    CASE(posix_memalign_aligns_to_all_powers_of_two_up_to_1_gib),
    CASE(memalign_aligns_to_all_powers_of_two_up_to_1_gib),
    CASE(aligned_alloc_takes_sizes_that_are_no_multiple),
    CASE(aligned_blocks_keep_their_contents_among_others),
    CASE(aligned_blocks_are_aligned_in_used_memory),
    CASE(free_aligned_sized_takes_aligned_blocks),
    CASE(posix_memalign_refuses_what_is_no_alignment),
    CASE(aligned_alloc_refuses_what_is_no_alignment),
    CASE(memalign_of_no_alignment_refuses_or_aligns_to_more),
    CASE(posix_memalign_tells_errors_without_errno),
    CASE(aligned_blocks_of_nothing_are_aligned_and_distinct),
    CASE(aligned_alloc_refuses_sizes_that_overflow_with_the_alignment),
    CASE(posix_memalign_refuses_sizes_that_overflow_with_the_alignment),
    CASE(memalign_refuses_sizes_that_overflow_with_the_alignment),
    CASE(alignments_beyond_the_address_space_are_refused),
    CASE(the_largest_power_of_two_is_refused),
    CASE(huge_alignments_are_met_or_refused),
    CASE(valloc_aligns_to_pages),
    CASE(pvalloc_gives_whole_pages),
    CASE(pvalloc_of_nothing_can_be_freed),
    CASE(valloc_refuses_what_no_object_can_have),
    CASE(pvalloc_refuses_what_wraps_when_rounded_up),
    CASES_END,
};
