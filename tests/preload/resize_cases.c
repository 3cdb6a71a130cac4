/*
 * resize_cases.c - realloc and reallocarray.
 *
 * The texts leave realloc(block, 0) open: it frees the block and gives NULL, or gives
 * a block that is to be freed. Both pass here; losing the block does not.
 */
#include "cases.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

static void realloc_of_null_is_malloc(void)
{
    for (size_t size = 0; size < MIB(3); size += size + 1) {
        unsigned char *block = realloc((void *)opaque(0), size);
        CHECK(block != NULL);
        fill(block, size, size);
        CHECK(is_filled(block, size, size));
        free(block);
    }
    CHECK_REFUSED(realloc((void *)opaque(0), opaque(SIZE_MAX)), ENOMEM);
}

static void realloc_grows_with_its_contents(void)
{
    unsigned char *block = malloc(1);
    size_t size = 1;

    CHECK(block != NULL);
    fill(block, size, 1);
    while (size < MIB(64)) {
        const size_t larger = size + size / 3 + 1;
        block = realloc(block, larger);
        CHECK(block != NULL);
        CHECK(is_filled(block, size, 1));
        fill(block, larger, 1);
        size = larger;
    }
    free(block);
}

/* Byte by byte, as a careless program does. */
static void realloc_grows_in_small_steps(void)
{
    unsigned char *block = NULL;

    for (size_t size = 1; size <= KIB(300); size += size < KIB(10) ? 1 : 97) {
        block = realloc(block, size);
        CHECK(block != NULL);
        block[size - 1] = (unsigned char)(size * 7);
    }
    for (size_t size = 1; size <= KIB(10); size++)
        CHECK_EQUAL(block[size - 1], (unsigned char)(size * 7));
    free(block);
}

static void realloc_shrinks_with_its_contents(void)
{
    size_t size = MIB(32);
    unsigned char *block = malloc(size);

    CHECK(block != NULL);
    fill(block, size, 5);
    while (size > 1) {
        size -= size / 3 + 1;
        if (size == 0)
            break;
        block = realloc(block, size);
        CHECK(block != NULL);
        CHECK(is_filled(block, size, 5));
    }
    free(block);
}

static void realloc_to_the_same_size_keeps_the_contents(void)
{
    for (size_t size = 1; size < MIB(4); size += size / 3 + 1) {
        unsigned char *block = malloc(size);
        CHECK(block != NULL);
        fill(block, size, size);
        for (unsigned i = 0; i < 3; i++) {
            block = realloc(block, size);
            CHECK(block != NULL && is_filled(block, size, size));
        }
        free(block);
    }
}

/* A shrunk block's tail is used for others: 64 MiB that became 64 KiB. */
static void realloc_gives_back_what_it_cuts_off(void)
{
    static void *blocks[64];

    const uint64_t before = resident_bytes();
    for (size_t i = 0; i < COUNT(blocks); i++) {
        blocks[i] = malloc(MIB(8));
        CHECK(blocks[i] != NULL);
        memset(blocks[i], 1, MIB(8));
        blocks[i] = realloc(blocks[i], KIB(1));
        CHECK(blocks[i] != NULL);
    }
    CHECK_AT_MOST(resident_bytes() - before, MIB(128));
    for (size_t i = 0; i < COUNT(blocks); i++)
        free(blocks[i]);
}

static void realloc_between_all_pairs_of_sizes_keeps_the_contents(void)
{
    static const size_t sizes[] = { 1,       8,        16,     24,         100,
                                    512,     1000,     KIB(4), KIB(9),     KIB(32) + 1,
                                    KIB(64), KIB(200), MIB(1), MIB(2) + 1, MIB(7) };

    for (size_t i = 0; i < COUNT(sizes); i++) {
        for (size_t j = 0; j < COUNT(sizes); j++) {
            const size_t kept = sizes[i] < sizes[j] ? sizes[i] : sizes[j];
            unsigned char *block = malloc(sizes[i]);
            CHECK(block != NULL);
            fill(block, sizes[i], i + j);
            block = realloc(block, sizes[j]);
            CHECK(block != NULL && is_filled(block, kept, i + j));
            fill(block, sizes[j], i);
            CHECK(is_filled(block, sizes[j], i));
            free(block);
        }
    }
}

static void realloc_to_nothing_loses_no_memory(void)
{
    const uint64_t before = resident_bytes();

    for (unsigned i = 0; i < 300000; i++) {
        void *block = malloc(1000);
        CHECK(block != NULL);
        *(volatile char *)block = 1;
        free(realloc(block, opaque(0))); /* free(NULL), if that is what it gave */
    }
    CHECK_PROMISED(resident_bytes() <= before + MIB(64));
}

static void reallocarray_to_nothing_loses_no_memory(void)
{
    const uint64_t before = resident_bytes();

    for (unsigned i = 0; i < 300000; i++) {
        void *block = malloc(1000);
        CHECK(block != NULL);
        *(volatile char *)block = 1;
        free(i % 2 == 0 ? reallocarray(block, opaque(0), 8) : reallocarray(block, 8, opaque(0)));
    }
    CHECK_PROMISED(resident_bytes() <= before + MIB(64));
}

static void realloc_of_null_to_nothing_can_be_freed(void)
{
    void *first = realloc((void *)opaque(0), opaque(0));
    void *second = realloc((void *)opaque(0), opaque(0));

    CHECK(first == NULL || opaque((size_t)first) != opaque((size_t)second));
    free(first);
    free(second);
    CHECK(conformance_provides("realloc"));
}

static void realloc_refused_keeps_the_block(void)
{
    static const size_t sizes[] = { 1, 40, KIB(3), KIB(100), MIB(3) };

    for (size_t i = 0; i < COUNT(sizes); i++) {
        unsigned char *block = malloc(sizes[i]);
        CHECK(block != NULL);
        fill(block, sizes[i], i);
        for (size_t k = 0; k < 4096; k += 31)
            CHECK_REFUSED(realloc((void *)opaque((size_t)block), opaque(SIZE_MAX - k)), ENOMEM);
        CHECK_REFUSED(realloc((void *)opaque((size_t)block), opaque((size_t)PTRDIFF_MAX + 1)),
                      ENOMEM);
        CHECK_REFUSED(realloc((void *)opaque((size_t)block), opaque((size_t)1 << 50)), ENOMEM);
        CHECK(is_filled(block, sizes[i], i));
        fill(block, sizes[i], i + 1);
        block = realloc(block, 2 * sizes[i]);
        CHECK(block != NULL && is_filled(block, sizes[i], i + 1));
        free(block);
    }
}

static void reallocarray_refuses_products_that_overflow(void)
{
    static const struct {
        size_t count, size;
    } products[] = {
        { SIZE_MAX, 2 },           { 2, SIZE_MAX },
        { SIZE_MAX, SIZE_MAX },    { (size_t)1 << 32, (size_t)1 << 32 },
        { SIZE_MAX / 16 + 2, 16 }, { SIZE_MAX / 3 + 1, 3 },
        { (size_t)1 << 63, 2 },    { (size_t)1 << 62, 2 },
    };
    unsigned char *block = malloc(64);

    CHECK(block != NULL);
    fill(block, 64, 9);
    for (size_t i = 0; i < COUNT(products); i++) {
        const size_t count = opaque(products[i].count);
        const size_t size = opaque(products[i].size);
        CHECK_REFUSED(reallocarray((void *)opaque((size_t)block), count, size), ENOMEM);
        CHECK_REFUSED(reallocarray((void *)opaque(0), count, size), ENOMEM);
        CHECK(is_filled(block, 64, 9));
    }
    free(block);
}

static void reallocarray_resizes_with_the_contents(void)
{
    unsigned char *block = reallocarray((void *)opaque(0), 10, 8);

    CHECK(block != NULL);
    fill(block, 80, 3);
    block = reallocarray(block, 1000, 24);
    CHECK(block != NULL && is_filled(block, 80, 3));
    block = reallocarray(block, 5, 8);
    CHECK(block != NULL && is_filled(block, 40, 3));
    free(block);
}

static void realloc_of_aligned_blocks_keeps_the_contents(void)
{
    for (size_t alignment = 8; alignment <= MIB(4); alignment *= 4) {
        for (size_t size = 8; size < MIB(2); size *= 6) {
            void *block = NULL;
            CHECK_EQUAL(posix_memalign(&block, alignment, size), 0);
            fill(block, size, alignment);
            block = realloc(block, size * 3);
            CHECK(block != NULL && is_filled(block, size, alignment));
            block = realloc(block, size / 2);
            CHECK(block != NULL && is_filled(block, size / 2, alignment));
            free(block);
        }
    }
}

/* calloc's zeros are promised for what was asked; growing must not bring back what lay
 * there before in the part that was. */
static void realloc_of_zeros_keeps_the_zeros(void)
{
    for (size_t size = 8; size < MIB(2); size *= 3) {
        unsigned char *block = calloc(1, size);
        CHECK(block != NULL);
        block = realloc(block, 2 * size);
        CHECK(block != NULL && is_zero(block, size));
        free(block);
    }
}

const struct conformance_case resize_cases[] = {
    CASE(realloc_of_null_is_malloc),
    CASE(realloc_grows_with_its_contents),
    CASE(realloc_grows_in_small_steps),
    CASE(realloc_shrinks_with_its_contents),
    CASE(realloc_to_the_same_size_keeps_the_contents),
    LOAM_CASE(realloc_gives_back_what_it_cuts_off),
    CASE(realloc_between_all_pairs_of_sizes_keeps_the_contents),
    CASE(realloc_to_nothing_loses_no_memory),
    CASE(reallocarray_to_nothing_loses_no_memory),
    CASE(realloc_of_null_to_nothing_can_be_freed),
    CASE(realloc_refused_keeps_the_block),
    CASE(reallocarray_refuses_products_that_overflow),
    CASE(reallocarray_resizes_with_the_contents),
    CASE(realloc_of_aligned_blocks_keeps_the_contents),
    CASE(realloc_of_zeros_keeps_the_zeros),
    CASES_END,
};
