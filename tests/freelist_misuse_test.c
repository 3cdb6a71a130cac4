/*
 * freelist_misuse_test.c - every misuse of a block with header panics with its rule
 * before anything changes; every damage is found, by use and by audit.
 */
#include "freelist_world.h"

#define NOT_A_BLOCK "freelist: not a block of this heap"
#define DOUBLE_FREE "freelist: block is already free"
#define DAMAGED     "freelist: header is damaged"
#define OVERFLOWED  "freelist: block overflowed"
#define FREE_DAMAGE "freelist: free block is damaged"
#define WRONG_SIZE  "freelist: wrong size"

/* The functions that take a block, or pass free ones. */
enum call { FREE, FREE_SIZED, REALLOC, USABLE, ALLOC, STATS };

static void make_call(enum call call, void *block)
{
    struct loam_freelist_stats ignored;

    switch (call) {
    case FREE:
        loam_freelist_free(&heap, block);
        break;
    case FREE_SIZED:
        loam_freelist_free_sized(&heap, block, 100);
        break;
    case REALLOC:
        assert_null(loam_freelist_realloc(&heap, block, 100, 16));
        break;
    case USABLE:
        assert_int_equal(loam_freelist_usable(&heap, block), 0);
        break;
    case ALLOC:
        assert_null(loam_freelist_alloc(&heap, 0, 16));
        break;
    case STATS:
        loam_freelist_measure(&heap, &ignored);
        break;
    }
}

/* The call panics, and that has changed nothing. */
static void expect_panic(enum call call, void *block, const char *rule, const void *subject)
{
    heap_remember();
    EXPECT_PANIC(rule, make_call(call, block));
    assert_int_equal(panic_trap.seen.subject, (uintptr_t)subject);
    heap_expect_unchanged();
}

/* Each function that takes a block refuses this one. */
static void expect_refused(void *block, const char *rule, const void *subject)
{
    expect_panic(FREE, block, rule, subject);
    expect_panic(FREE_SIZED, block, rule, subject);
    expect_panic(REALLOC, block, rule, subject);
    expect_panic(USABLE, block, rule, subject);
}

static void expect_no_block(void *block)
{
    expect_refused(block, NOT_A_BLOCK, block);
    assert_null(loam_freelist_audit(&heap));
}

static void expect_already_free(void *block)
{
    expect_refused(block, DOUBLE_FREE, block);
    assert_null(loam_freelist_audit(&heap));
}

/* ---- the wrong pointer --------------------------------------------------- */

static void freelist_H09_free_of_null_is_nothing(void **state)
{
    (void)state;
    heap_of(SPAN);
    heap_remember();
    loam_freelist_free(&heap, NULL);
    loam_freelist_free_sized(&heap, NULL, 5);
    loam_freelist_give(&heap, NULL, 5);
    heap_expect_unchanged();
}

/* Every address inside a live block but its own. */
static void freelist_H07_H11_H35_interior_pointer_panics(void **state)
{
    (void)state;
    heap_of(4096);
    alloc(40);
    unsigned char *block = alloc(200);
    alloc(40);
    for (unsigned filled = 0; filled < 3; filled++) {
        memset(block, filled == 1 ? 0x00 : 0xff, filled == 0 ? 0 : 200);
        for (size_t offset = 1; offset < 224; offset++)
            expect_no_block(block + offset);
        expect_no_block(block - 8);
    }
}

/* A header is bound to its place: a copy of it, in the block, is none. */
static void freelist_H11_H21_copied_header_is_no_block(void **state)
{
    (void)state;
    heap_of(4096);
    unsigned char *block = alloc(500);
    memcpy(block + 64 - 8, block - 8, 8);
    expect_no_block(block + 64);
}

static int global;

/* Stack, globals, code, null and a little, non-canonical: never dereferenced. */
static void freelist_H12_wild_pointer_panics(void **state)
{
    static const uintptr_t wild[] = {
        1,
        8,
        16,
        4096,
        (uintptr_t)1 << 47,
        ((uintptr_t)1 << 63) - 16,
        (uintptr_t)1 << 63,
        UINTPTR_MAX - 4095,
        UINTPTR_MAX - 15,
        UINTPTR_MAX,
    };
    _Alignas(16) unsigned char stack[64] = { 0 };

    (void)state;
    heap_of(4096);
    alloc(100);
    for (size_t i = 0; i < sizeof(wild) / sizeof(wild[0]); i++)
        expect_no_block((void *)wild[i]);
    expect_no_block(stack + 32);
    expect_no_block(&global);
    expect_no_block((void *)(uintptr_t)&freelist_H12_wild_pointer_panics);
    /* Just outside either end, and in the table. */
    expect_no_block((void *)(uintptr_t)heap.base);
    expect_no_block((void *)(uintptr_t)(heap.base - 8));
    expect_no_block((void *)(uintptr_t)heap.end);
    expect_no_block((void *)(uintptr_t)(heap.end + 8));
    expect_no_block(span);
}

/* A block of a heap that lives beside this one, and of one inside a block. */
static void freelist_H13_block_of_another_heap_panics(void **state)
{
    struct loam_freelist other;
    static unsigned char beside[4096];

    (void)state;
    heap_of(SPAN);
    assert_int_equal(loam_freelist_init(&other, beside, sizeof(beside)), LOAM_OK);
    expect_no_block(loam_freelist_alloc(&other, 100, 16));

    unsigned char *inner = alloc(4096);
    assert_int_equal(loam_freelist_init(&other, inner, 4096), LOAM_OK);
    void *block = loam_freelist_alloc(&other, 100, 16);
    assert_non_null(block);
    expect_no_block(block);
    loam_freelist_free(&other, block);
    expect_no_block(block);
    release(inner);
    expect_already_free(block); /* it lies in free memory of this heap now */
}

/* A block without header, freed as one with. */
static void freelist_H13_free_of_a_bare_block_panics(void **state)
{
    (void)state;
    heap_of(SPAN_QUICK);
    alloc(100);
    unsigned char *block = take(128);
    unsigned char *waits = take(48);
    alloc(100);
    expect_no_block(block);
    expect_no_block(block + 8);
    expect_no_block(block + 64);
    give(waits, 48);
    assert_int_equal(stats().waiting_count, 1);
    for (unsigned char *at = waits; at < waits + 48; at += 8) {
        if ((uintptr_t)at % 16 == 0 && at != waits)
            expect_already_free(at);
    }
}

/* ---- twice --------------------------------------------------------------- */

/*
 *   free [d)[c)[b)[a)      b is freed: alone, merged to the left, to the right,
 *                          to both sides; then again
 */
static void freelist_H10_double_free_panics(void **state)
{
    (void)state;
    for (unsigned merged = 0; merged < 4; merged++) {
        for (unsigned b_first = 0; b_first < 2; b_first++) {
            heap_of(4096);
            unsigned char *block[4] = { alloc(100), alloc(100), alloc(100), alloc(100) };
            memset(block[1], 0xff, 100);
            if (b_first != 0)
                release(block[1]);
            if ((merged & 1) != 0)
                release(block[0]);
            if ((merged & 2) != 0)
                release(block[2]);
            if (b_first == 0)
                release(block[1]);
            expect_already_free(block[1]);
            if ((merged & 1) != 0)
                expect_already_free(block[0]);
            if ((merged & 2) != 0)
                expect_already_free(block[2]);
        }
    }
}

/* After 1 and 8 other frees, and after all has become one block. */
static void freelist_H10_double_free_after_others_panics(void **state)
{
    unsigned char *block[20];

    (void)state;
    heap_of(8192);
    for (size_t i = 0; i < 20; i++)
        block[i] = alloc(16 * i);
    for (size_t i = 0; i < 20; i++) {
        release(block[i * 7 % 20]);
        for (size_t j = 0; j <= i; j++)
            expect_already_free(block[j * 7 % 20]);
    }
    expect_empty();
}

/* The memory was given out again, in another cut: the old header is inside a block
 * that nobody has written to. */
static void freelist_H10_double_free_into_a_new_block_panics(void **state)
{
    (void)state;
    for (unsigned a_first = 0; a_first < 2; a_first++) {
        for (unsigned bare = 0; bare < 2; bare++) {
            heap_of(8192);
            unsigned char *a = alloc(100);
            unsigned char *b = alloc(100);
            release(a_first != 0 ? a : b);
            release(a_first != 0 ? b : a);
            unsigned char *both = bare != 0 ? take(500) : alloc(500);
            expect_already_free(a);
            memset(both, 0, 500);
            expect_no_block(a);
            expect_no_block(b);
        }
    }
}

static void freelist_H07_realloc_of_an_old_place_panics(void **state)
{
    (void)state;
    heap_of(8192);
    alloc(1);
    unsigned char *block = alloc(100);
    unsigned char *moved = loam_freelist_realloc(&heap, block, 500, 16);
    assert_non_null(moved);
    assert_ptr_not_equal(moved, block);
    expect_already_free(block);
    release(moved);
}

/* A neighbour that was swallowed by a growing block. */
static void freelist_H07_free_of_a_swallowed_block_panics(void **state)
{
    (void)state;
    heap_of(8192);
    unsigned char *next = alloc(100);
    unsigned char *block = alloc(100);
    alloc(1);
    release(next);
    assert_ptr_equal(loam_freelist_realloc(&heap, block, 220, 16), block);
    memset(block, 0, 220);
    expect_no_block(next);
}

/* ---- the wrong size ------------------------------------------------------ */

static void expect_wrong_size(void *block, size_t size_bytes, size_t asked)
{
    heap_remember();
    EXPECT_PANIC(WRONG_SIZE, loam_freelist_free_sized(&heap, block, size_bytes));
    assert_int_equal(panic_trap.seen.subject, (uintptr_t)block);
    assert_int_equal(panic_trap.seen.detail, asked);
    heap_expect_unchanged();
}

/* Any size but the one asked for, also those that the block could serve. */
static void freelist_H14_wrong_size_panics(void **state)
{
    (void)state;
    heap_of(1024);
    for (size_t asked = 0; asked < 40; asked++) {
        void *block = alloc(asked);
        for (size_t size_bytes = 0; size_bytes < 60; size_bytes++) {
            if (size_bytes != asked)
                expect_wrong_size(block, size_bytes, asked);
        }
        expect_wrong_size(block, SIZE_MAX, asked);
        expect_wrong_size(block, asked + ((size_t)1 << 40), asked);
        loam_freelist_free_sized(&heap, block, asked);
    }
    expect_empty();
}

/* What counts is the last size asked for, in place or moved. */
static void freelist_H14_size_follows_realloc(void **state)
{
    (void)state;
    heap_of(SPAN);
    alloc(1);
    void *block = alloc(100);
    assert_ptr_equal(loam_freelist_realloc(&heap, block, 90, 16), block);
    expect_wrong_size(block, 100, 90);
    block = loam_freelist_realloc(&heap, block, 5000, 16);
    assert_non_null(block);
    expect_wrong_size(block, 90, 5000);
    loam_freelist_free_sized(&heap, block, 5000);
}

/* ---- damage -------------------------------------------------------------- */

/* Any bit of the 8 bytes behind what was asked for, on any address, whether a used
 * block, a free one, or the end is behind. */
static void freelist_H16_overflow_panics_at_the_free(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 3; kind++) {
        for (size_t bit = 0; bit < 8 * 8; bit++) {
            heap_of(1024);
            const size_t size_bytes = 100 + bit % 16;
            unsigned char *behind = kind == 0 ? NULL : alloc(1);
            unsigned char *block = alloc(size_bytes);
            alloc(1);
            if (kind == 2)
                release(behind);
            block[size_bytes + bit / 8] ^= (unsigned char)(1u << bit % 8);
            expect_refused(block, OVERFLOWED, block);
            assert_int_equal(panic_trap.seen.detail, size_bytes);
            assert_string_equal(loam_freelist_audit(&heap), OVERFLOWED);
        }
    }
}

/* 1, 8 and 32 bytes past the size asked for; a whole page: the block itself notices,
 * and so do those behind it. */
static void freelist_H16_overflow_of_any_length_panics(void **state)
{
    static const size_t lengths[] = { 1, 8, 16, 32, 4096 };

    (void)state;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        heap_of(SPAN);
        unsigned char *last = alloc(8192);
        unsigned char *next = alloc(1);
        unsigned char *block = alloc(256);
        memset(block + 256, 0x41, lengths[i]);
        expect_refused(block, OVERFLOWED, block);
        if (lengths[i] > 16)
            expect_panic(FREE, next, DAMAGED, next);
        if (lengths[i] > 64)
            expect_panic(FREE, last, DAMAGED, next); /* the first one that is */
        else
            loam_freelist_free(&heap, last);
    }
}

/* Any bit of a block's own header: an underflow, or the block before's overflow. */
static void freelist_H16_H22_damaged_header_panics(void **state)
{
    (void)state;
    for (size_t bit = 0; bit < 8 * 8; bit++) {
        heap_of(1024);
        unsigned char *after = alloc(30);
        unsigned char *block = alloc(112);
        alloc(10);
        block[-8 + (int)(bit / 8)] ^= (unsigned char)(1u << bit % 8);
        expect_refused(block, DAMAGED, block);
        assert_string_equal(loam_freelist_audit(&heap), DAMAGED);
        /* Asked about what lies behind it, the damage is named, not guessed. */
        expect_refused(after + 16, DAMAGED, block);
    }
}

/* Any bit of a free block's first word: written after free. It panics before
 * anything there is believed, whoever passes. */
static void freelist_H18_H21_write_to_a_free_block_panics(void **state)
{
    (void)state;
    for (size_t bit = 0; bit < 8 * 8; bit++) {
        heap_of(1024);
        void *behind = alloc(32);
        unsigned char *freed = alloc(40);
        void *before = alloc(32);
        release(freed);
        freed[-8 + (int)(bit / 8)] ^= (unsigned char)(1u << bit % 8);
        expect_panic(ALLOC, NULL, FREE_DAMAGE, freed - 8);
        expect_panic(FREE, behind, FREE_DAMAGE, freed - 8);
        expect_panic(REALLOC, behind, FREE_DAMAGE, freed - 8);
        expect_panic(STATS, NULL, FREE_DAMAGE, freed - 8);
        expect_panic(FREE, before, FREE_DAMAGE, freed - 8);
        assert_string_equal(loam_freelist_audit(&heap), FREE_DAMAGE);
    }
}

/* Any bit of the links in the second one, where a caller's first bytes were, when
 * they are next used: the block is given out, or merged. */
static void freelist_H18_H21_write_to_free_links_panics(void **state)
{
    (void)state;
    for (size_t bit = 0; bit < 8 * 8; bit++) {
        heap_of(2048);
        unsigned char *freed[3];
        void *behind[3];
        for (size_t i = 0; i < 3; i++) {
            behind[i] = alloc(32);
            freed[i] = alloc(16);
            alloc(32);
        }
        for (size_t i = 0; i < 3; i++)
            release(freed[i]);
        for (size_t i = 0; i < 3; i++) { /* last, middle and first of a bin */
            freed[i][bit / 8] ^= (unsigned char)(1u << bit % 8);
            assert_string_equal(loam_freelist_audit(&heap), FREE_DAMAGE);
            expect_panic(FREE, behind[i], FREE_DAMAGE, freed[i] - 8);
            if (i == 2)
                expect_panic(ALLOC, NULL, FREE_DAMAGE, freed[i] - 8);
            freed[i][bit / 8] ^= (unsigned char)(1u << bit % 8);
        }
        assert_null(loam_freelist_audit(&heap));
    }
}

/* Words copied from an honest block do not pass either. */
static void freelist_H21_copied_words_panic(void **state)
{
    (void)state;
    heap_of(4096);
    void *c = alloc(1);
    unsigned char *b = alloc(100);
    alloc(1);
    unsigned char *a = alloc(100);
    alloc(1);
    release(a);
    release(b);
    memcpy(b - 8, a - 8, 16);
    expect_panic(FREE, c, FREE_DAMAGE, b - 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(freelist_H09_free_of_null_is_nothing),
        cmocka_unit_test(freelist_H07_H11_H35_interior_pointer_panics),
        cmocka_unit_test(freelist_H11_H21_copied_header_is_no_block),
        cmocka_unit_test(freelist_H12_wild_pointer_panics),
        cmocka_unit_test(freelist_H13_block_of_another_heap_panics),
        cmocka_unit_test(freelist_H13_free_of_a_bare_block_panics),
        cmocka_unit_test(freelist_H10_double_free_panics),
        cmocka_unit_test(freelist_H10_double_free_after_others_panics),
        cmocka_unit_test(freelist_H10_double_free_into_a_new_block_panics),
        cmocka_unit_test(freelist_H07_realloc_of_an_old_place_panics),
        cmocka_unit_test(freelist_H07_free_of_a_swallowed_block_panics),
        cmocka_unit_test(freelist_H14_wrong_size_panics),
        cmocka_unit_test(freelist_H14_size_follows_realloc),
        cmocka_unit_test(freelist_H16_overflow_panics_at_the_free),
        cmocka_unit_test(freelist_H16_overflow_of_any_length_panics),
        cmocka_unit_test(freelist_H16_H22_damaged_header_panics),
        cmocka_unit_test(freelist_H18_H21_write_to_a_free_block_panics),
        cmocka_unit_test(freelist_H18_H21_write_to_free_links_panics),
        cmocka_unit_test(freelist_H21_copied_words_panic),
    };
    return RUN_TESTS(tests);
}
