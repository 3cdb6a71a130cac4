/*
 * size_cases.c - malloc, calloc and free: sizes, alignment, contents, errno.
 */
#include "cases.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#define DISTURBED 12345 /* no error has this number */

/* ---- where the functions come from --------------------------------------- */

static void the_family_comes_from_the_library(void)
{
    static const char *const names[] = {
        "malloc",         "calloc",   "realloc", "free",          "reallocarray",       "valloc",
        "posix_memalign", "memalign", "pvalloc", "aligned_alloc", "malloc_usable_size",
    };

    for (size_t i = 0; i < COUNT(names); i++) {
        if (!conformance_provides(names[i]))
            fprintf(stderr, "%s does not\n", names[i]);
        CHECK(conformance_provides(names[i]));
    }
}

static void the_sized_frees_of_c23_come_from_the_library(void)
{
    CHECK(conformance_provides("free_sized"));
    CHECK(conformance_provides("free_aligned_sized"));
}

/* Of the C library's own they would tell about a heap that nobody uses. */
static void the_reports_come_from_the_library(void)
{
    CHECK(conformance_provides("mallinfo2"));
    CHECK(conformance_provides("malloc_trim"));
    CHECK(conformance_provides("malloc_stats"));
    CHECK(conformance_provides("malloc_info"));
}

/* ---- nothing at all ------------------------------------------------------ */

/* Each block of `count` is another, and can be freed. */
static void check_distinct(void **blocks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        CHECK(blocks[i] != NULL);
        for (size_t j = 0; j < i; j++)
            CHECK(opaque((size_t)blocks[i]) != opaque((size_t)blocks[j]));
    }
    for (size_t i = 0; i < count; i++)
        free(blocks[i]);
}

static void malloc_of_nothing_gives_distinct_blocks(void)
{
    void *blocks[100];

    for (size_t i = 0; i < COUNT(blocks); i++)
        blocks[i] = malloc(opaque(0));
    check_distinct(blocks, COUNT(blocks));
}

static void calloc_of_nothing_gives_distinct_blocks(void)
{
    void *blocks[99];

    for (size_t i = 0; i < COUNT(blocks); i += 3) {
        blocks[i] = calloc(opaque(0), 0);
        blocks[i + 1] = calloc(opaque(0), opaque(SIZE_MAX));
        blocks[i + 2] = calloc(opaque(SIZE_MAX), 0);
    }
    check_distinct(blocks, COUNT(blocks));
}

static void free_of_null_does_nothing(void)
{
    errno = DISTURBED;
    free((void *)opaque(0));
    sized_free((void *)opaque(0), 17);
    sized_aligned_free((void *)opaque(0), 64, 17);
    CHECK_EQUAL(errno, DISTURBED);
}

/* ---- every size ---------------------------------------------------------- */

/* All live at once: none overlaps another, and each is wholly its own. */
static void malloc_of_every_small_size_gives_its_own_bytes(void)
{
    static unsigned char *blocks[4097];

    for (size_t size = 0; size < COUNT(blocks); size++) {
        blocks[size] = malloc(size);
        CHECK(blocks[size] != NULL);
        fill(blocks[size], size, size);
    }
    for (size_t size = 0; size < COUNT(blocks); size++)
        CHECK(is_filled(blocks[size], size, size));
    for (size_t size = 0; size < COUNT(blocks); size++)
        free(blocks[size]);
}

/* 2^k - 1, 2^k, 2^k + 1, to 1 GiB: first and last byte of each page of the ends. */
static void malloc_around_every_power_of_two_reaches_to_the_last_byte(void)
{
    for (unsigned shift = 4; shift <= 30; shift++) {
        for (size_t size = ((size_t)1 << shift) - 1; size <= ((size_t)1 << shift) + 1; size++) {
            unsigned char *block = malloc(size);
            const size_t end = size < KIB(64) ? size : KIB(64);
            CHECK(block != NULL);
            fill(block, end, shift);
            fill(block + size - end / 2, end / 2, shift + 1);
            CHECK(is_filled(block, end / 2, shift));
            CHECK(is_filled(block + size - end / 2, end / 2, shift + 1));
            free(block);
        }
    }
}

static void malloc_of_large_blocks_gives_their_own_bytes(void)
{
    static const size_t sizes[] = { KIB(33), KIB(64), KIB(65) + 1, KIB(127), KIB(300), MIB(1) - 8,
                                    MIB(1),  MIB(2),  MIB(2) + 1,  MIB(3),   MIB(5),   MIB(33) };
    unsigned char *blocks[COUNT(sizes)];

    for (unsigned round = 0; round < 3; round++) {
        for (size_t i = 0; i < COUNT(sizes); i++) {
            blocks[i] = malloc(sizes[i]);
            CHECK(blocks[i] != NULL);
            fill(blocks[i], sizes[i], i);
        }
        for (size_t i = 0; i < COUNT(sizes); i++) {
            CHECK(is_filled(blocks[i], sizes[i], i));
            free(blocks[i]);
        }
    }
}

/* 16 bytes from 16 on; below that, what the largest object that fits may need. */
static void malloc_aligns_for_every_type_that_fits(void)
{
    static void *blocks[2048];

    for (size_t size = 1; size < COUNT(blocks); size++) {
        blocks[size] = malloc(size);
        CHECK(is_aligned(blocks[size], size >= 16 ? 16 : 8));
    }
    for (size_t size = 1; size < COUNT(blocks); size++)
        free(blocks[size]);
    for (size_t size = KIB(2); size < MIB(64); size += size / 7) {
        void *block = malloc(size);
        CHECK(block != NULL && is_aligned(block, 16));
        free(block);
    }
}

static void calloc_and_realloc_align_for_every_type_that_fits(void)
{
    for (size_t size = 1; size < MIB(8); size += size / 9 + 1) {
        void *block = calloc(1, size);
        CHECK(block != NULL && is_aligned(block, size >= 16 ? 16 : 8));
        block = realloc(block, 2 * size);
        CHECK(block != NULL && is_aligned(block, 2 * size >= 16 ? 16 : 8));
        block = realloc(block, size);
        CHECK(block != NULL && is_aligned(block, size >= 16 ? 16 : 8));
        free(block);
    }
}

/* Like a program: a million steps, every block with contents of its own. */
static void blocks_of_a_long_run_keep_their_contents(void)
{
    work(1, 12000);
    work_quickly(2, 1000000);
}

/* ---- too much ------------------------------------------------------------ */

static void malloc_refuses_what_no_object_can_have(void)
{
    for (size_t k = 0; k <= 4096; k++)
        CHECK_REFUSED(malloc(opaque(SIZE_MAX - k)), ENOMEM);
    CHECK_REFUSED(malloc(opaque((size_t)PTRDIFF_MAX + 1)), ENOMEM);
    CHECK_REFUSED(malloc(opaque((size_t)PTRDIFF_MAX + 4096)), ENOMEM);
    for (unsigned shift = 47; shift < 64; shift++) { /* what no address space of a process has */
        CHECK_REFUSED(malloc(opaque((size_t)1 << shift)), ENOMEM);
        CHECK_REFUSED(malloc(opaque(((size_t)1 << shift) + 1)), ENOMEM);
        CHECK_REFUSED(malloc(opaque(((size_t)2 << shift) - 1)), ENOMEM);
    }
    free(malloc(100));
}

static void calloc_refuses_products_that_overflow(void)
{
    static const struct {
        size_t count, size;
    } products[] = {
        { SIZE_MAX, 2 },
        { 2, SIZE_MAX },
        { SIZE_MAX, SIZE_MAX },
        { (size_t)1 << 32, (size_t)1 << 32 },             /* wraps to 0 */
        { (size_t)1 << 63, 2 },                           /* to 0 */
        { ((size_t)1 << 32) + 1, ((size_t)1 << 32) + 1 }, /* to 2^33 + 1 */
        { SIZE_MAX / 16 + 2, 16 },                        /* to 16 */
        { SIZE_MAX / 3 + 1, 3 },                          /* to 2 */
        { 3, SIZE_MAX / 3 + 1 },
        { 0x5555555555555556, 3 },
    };

    for (size_t i = 0; i < COUNT(products); i++)
        CHECK_REFUSED(calloc(opaque(products[i].count), opaque(products[i].size)), ENOMEM);
}

static void calloc_refuses_products_beyond_any_object(void)
{
    for (size_t k = 0; k <= 256; k++)
        CHECK_REFUSED(calloc(1, opaque(SIZE_MAX - k)), ENOMEM);
    CHECK_REFUSED(calloc(opaque((size_t)1 << 32), opaque((size_t)1 << 31)), ENOMEM);
    CHECK_REFUSED(calloc(opaque((size_t)PTRDIFF_MAX), 2), ENOMEM);
    CHECK_REFUSED(calloc(opaque((size_t)1 << 24), opaque((size_t)1 << 24)), ENOMEM);
}

/* A terabyte may be lent, as nobody has touched it; it may not do harm. */
static void a_terabyte_is_lent_or_refused(void)
{
    for (unsigned shift = 37; shift < 47; shift++) {
        errno = 0;
        unsigned char *block = malloc(opaque((size_t)1 << shift));
        if (block == NULL) {
            CHECK_EQUAL(errno, ENOMEM);
            continue;
        }
        block[0] = 1;
        block[((size_t)1 << shift) - 1] = 2;
        CHECK_EQUAL(block[0] + block[((size_t)1 << shift) - 1], 3);
        free(block);
    }
}

/* ---- zeros --------------------------------------------------------------- */

static void calloc_is_zero_in_dirty_memory(void)
{
    for (size_t size = 1; size <= KIB(80); size += size / 13 + 1) {
        unsigned char *dirty[16];
        for (size_t i = 0; i < COUNT(dirty); i++) {
            dirty[i] = malloc(size);
            CHECK(dirty[i] != NULL);
            memset(dirty[i], 0xa5, size);
        }
        for (size_t i = 0; i < COUNT(dirty); i++)
            free(dirty[i]);
        for (size_t i = 0; i < COUNT(dirty); i++) {
            dirty[i] = calloc(i % 2 == 0 ? 1 : size, i % 2 == 0 ? size : 1);
            CHECK(dirty[i] != NULL && is_zero(dirty[i], size));
        }
        for (size_t i = 0; i < COUNT(dirty); i++)
            free(dirty[i]);
    }
}

static void calloc_of_large_blocks_is_zero_in_dirty_memory(void)
{
    for (size_t size = KIB(100); size <= MIB(40); size += size / 2 + 4096) {
        for (unsigned round = 0; round < 3; round++) {
            unsigned char *block = malloc(size);
            CHECK(block != NULL);
            memset(block, 0xa5, size);
            free(block);
            block = calloc(3, size / 3 - round);
            CHECK(block != NULL && is_zero(block, 3 * (size / 3 - round)));
            memset(block, 0x5a, 3 * (size / 3 - round));
            free(block);
        }
    }
}

/* Dirty pieces that become one block again. */
static void calloc_is_zero_where_pieces_were_joined(void)
{
    static unsigned char *pieces[512];

    for (unsigned round = 0; round < 4; round++) {
        for (size_t i = 0; i < COUNT(pieces); i++) {
            pieces[i] = malloc(KIB(12) + round * 100);
            CHECK(pieces[i] != NULL);
            memset(pieces[i], 0xff, KIB(12));
        }
        for (size_t i = 0; i < COUNT(pieces); i++)
            free(pieces[i]);
        for (size_t size = KIB(40); size <= MIB(4); size *= 3) {
            unsigned char *block = calloc(size, 1);
            CHECK(block != NULL && is_zero(block, size));
            memset(block, 0xff, size);
            free(block);
        }
    }
}

/* ---- errno --------------------------------------------------------------- */

static const size_t typical_sizes[] = { 1, 16, 100, 1000, KIB(5), KIB(70), MIB(1), MIB(40) };

static void success_leaves_errno_alone(void)
{
    for (size_t i = 0; i < COUNT(typical_sizes); i++) {
        void *aligned = NULL;
        errno = DISTURBED;
        void *a = malloc(typical_sizes[i]);
        void *b = calloc(2, typical_sizes[i]);
        a = realloc(a, 3 * typical_sizes[i]);
        a = reallocarray(a, 5, typical_sizes[i]);
        void *c = aligned_alloc(256, typical_sizes[i]);
        const int status = posix_memalign(&aligned, 4096, typical_sizes[i]);
        CHECK_EQUAL(errno, DISTURBED);
        CHECK_EQUAL(status, 0);
        CHECK(a != NULL && b != NULL && c != NULL && aligned != NULL);
        free(a);
        free(b);
        free(c);
        free(aligned);
    }
}

static void free_leaves_errno_alone(void)
{
    for (size_t i = 0; i < COUNT(typical_sizes); i++) {
        void *blocks[4];
        for (size_t j = 0; j < COUNT(blocks); j++)
            blocks[j] = malloc(typical_sizes[i]);
        errno = DISTURBED;
        free(blocks[1]);
        free(blocks[0]);
        sized_free(blocks[2], typical_sizes[i]);
        free(realloc(blocks[3], 1));
        CHECK_EQUAL(errno, DISTURBED);
    }
}

/* ---- sized frees --------------------------------------------------------- */

static void free_sized_takes_blocks_of_all_plain_functions(void)
{
    for (size_t size = 1; size < MIB(9); size += size / 5 + 1) {
        sized_free(malloc(size), size);
        sized_free(calloc(3, size), 3 * size);
        sized_free(realloc(malloc(size), 2 * size + 1), 2 * size + 1);
        sized_free(realloc(malloc(2 * size), size), size);
        sized_free(reallocarray(NULL, 7, size), 7 * size);
    }
    sized_free(malloc(opaque(0)), 0);
    CHECK(conformance_provides("malloc"));
    work(3, 1000);
}

/* ---- the C library's own blocks ------------------------------------------ */

static void blocks_of_the_c_library_are_freed_by_free(void)
{
    char *text = NULL;
    size_t length = 0;
    char *line = malloc(1);
    size_t line_size = 1;

    CHECK(asprintf(&text, "%0200d", 7) == 200);
    FILE *file = fopen("/proc/self/status", "r");
    CHECK(file != NULL);
    CHECK(getline(&line, &line_size, file) > 0 && line_size > 1);
    fclose(file);
    free(line);
    file = open_memstream(&line, &length);
    CHECK(file != NULL);
    for (unsigned i = 0; i < 5000; i++)
        fprintf(file, "%u ", i);
    fclose(file);
    CHECK_EQUAL(length, 23890);
    free(line);
    char *copy = strdup(text);
    CHECK(copy != NULL && strcmp(copy, text) == 0);
    free(copy);
    free(text);
    wchar_t *wide = wcsdup(L"wide");
    CHECK(wide != NULL && wcslen(wide) == 4);
    free(wide);
    char *real = realpath("/proc/self/../self/exe", NULL);
    char *folder = getcwd(NULL, 0);
    CHECK(real != NULL && folder != NULL);
    free(real);
    free(folder);
}

const struct conformance_case size_cases[] = {
    LOAM_CASE(the_family_comes_from_the_library),
    LOAM_CASE(the_sized_frees_of_c23_come_from_the_library),
    LOAM_CASE(the_reports_come_from_the_library),
    CASE(malloc_of_nothing_gives_distinct_blocks),
    CASE(calloc_of_nothing_gives_distinct_blocks),
    CASE(free_of_null_does_nothing),
    CASE(malloc_of_every_small_size_gives_its_own_bytes),
    CASE(malloc_around_every_power_of_two_reaches_to_the_last_byte),
    CASE(malloc_of_large_blocks_gives_their_own_bytes),
    CASE(malloc_aligns_for_every_type_that_fits),
    CASE(calloc_and_realloc_align_for_every_type_that_fits),
    CASE(blocks_of_a_long_run_keep_their_contents),
    CASE(malloc_refuses_what_no_object_can_have),
    CASE(calloc_refuses_products_that_overflow),
    CASE(calloc_refuses_products_beyond_any_object),
    CASE(a_terabyte_is_lent_or_refused),
    CASE(calloc_is_zero_in_dirty_memory),
    CASE(calloc_of_large_blocks_is_zero_in_dirty_memory),
    CASE(calloc_is_zero_where_pieces_were_joined),
    CASE(success_leaves_errno_alone),
    CASE(free_leaves_errno_alone),
    CASE(free_sized_takes_blocks_of_all_plain_functions),
    CASE(blocks_of_the_c_library_are_freed_by_free),
    CASES_END,
};
