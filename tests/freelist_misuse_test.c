/*
 * freelist_misuse_test.c - every misuse of the first-fit heap panics with its
 * rule before anything changes; every damage is found, by use and by audit.
 */
#include "freelist_world.h"

#define NOT_A_BLOCK "freelist: not a block of this heap"
#define DOUBLE_FREE "freelist: block is already free"
#define DAMAGED     "freelist: header is damaged"
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
        assert_null(loam_freelist_realloc(&heap, block, 100));
        break;
    case USABLE:
        assert_int_equal(loam_freelist_usable(&heap, block), 0);
        break;
    case ALLOC:
        assert_null(loam_freelist_alloc(&heap, 100, 16));
        break;
    case STATS:
        loam_freelist_measure(&heap, &ignored);
        break;
    }
}

/* The call panics, and that has changed nothing. */
static void expect_panic(enum call call, void *block, const char *rule, const void *subject)
{
    const uint64_t digest = loam_freelist_digest(&heap);

    EXPECT_PANIC(rule, make_call(call, block));
    assert_int_equal(panic_trap.seen.subject, (uintptr_t)subject);
    assert_int_equal(loam_freelist_digest(&heap), digest);
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
    const uint64_t digest = loam_freelist_digest(&heap);
    loam_freelist_free(&heap, NULL);
    loam_freelist_free_sized(&heap, NULL, 5);
    assert_int_equal(loam_freelist_digest(&heap), digest);
}

/* Every address inside a live block but its own. */
static void freelist_H07_H11_H35_interior_pointer_panics(void **state)
{
    (void)state;
    heap_of(SPAN);
    take(40);
    unsigned char *block = take(200);
    take(40);
    for (size_t i = 0; i < 4; i++)
        memset(block, i % 2 == 0 ? 0x00 : 0xff, 200);
    for (size_t offset = 1; offset <= 208; offset++)
        expect_no_block(block + offset); /* 208: the next header's own address */
    expect_no_block(block - 8);
    expect_no_block(block - 16);
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
    heap_of(SPAN);
    take(100);
    for (size_t i = 0; i < sizeof(wild) / sizeof(wild[0]); i++)
        expect_no_block((void *)wild[i]);
    expect_no_block(stack + 32);
    expect_no_block(&global);
    expect_no_block((void *)(uintptr_t)&freelist_H12_wild_pointer_panics);
    /* Just outside either end, and where a first block's header would lie. */
    expect_no_block((void *)(uintptr_t)heap.base);
    expect_no_block((void *)(uintptr_t)(heap.base - 16));
    expect_no_block((void *)(uintptr_t)heap.end);
    expect_no_block((void *)(uintptr_t)(heap.end + 16));
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

    unsigned char *inner = take(4096);
    assert_int_equal(loam_freelist_init(&other, inner, 4096), LOAM_OK);
    void *block = loam_freelist_alloc(&other, 100, 16);
    assert_non_null(block);
    expect_no_block(block);
    loam_freelist_free(&other, block);
    expect_no_block(block);
    give(inner);
    expect_already_free(block); /* it lies in free memory of this heap now */
}

/* ---- twice --------------------------------------------------------------- */

/*
 *   [a)[b)[c)[d) free      b is freed: alone, merged to the left, to the right,
 *                          to both sides; then again
 */
static void freelist_H10_double_free_panics(void **state)
{
    (void)state;
    for (unsigned merged = 0; merged < 4; merged++) {
        for (unsigned b_first = 0; b_first < 2; b_first++) {
            heap_of(SPAN);
            unsigned char *block[4] = { take(100), take(100), take(100), take(100) };
            memset(block[1], 0xff, 100);
            if (b_first != 0)
                give(block[1]);
            if ((merged & 1) != 0)
                give(block[0]);
            if ((merged & 2) != 0)
                give(block[2]);
            if (b_first == 0)
                give(block[1]);
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
    heap_of(SPAN);
    for (size_t i = 0; i < 20; i++)
        block[i] = take(16 * i);
    for (size_t i = 0; i < 20; i++) {
        give(block[i * 7 % 20]);
        for (size_t j = 0; j <= i; j++)
            expect_already_free(block[j * 7 % 20]);
    }
    expect_empty();
}

/* The memory was given out again, in another cut: the old header is inside a
 * block that nobody has written to. */
static void freelist_H10_double_free_into_a_new_block_panics(void **state)
{
    (void)state;
    for (unsigned b_first = 0; b_first < 2; b_first++) {
        heap_of(SPAN);
        unsigned char *a = take(100);
        unsigned char *b = take(100);
        give(b_first != 0 ? b : a);
        give(b_first != 0 ? a : b);
        unsigned char *both = take(300);
        assert_ptr_equal(both, a);
        expect_already_free(b);
        memset(both, 0, 300);
        expect_no_block(b);
    }
}

static void freelist_H07_realloc_of_an_old_place_panics(void **state)
{
    (void)state;
    heap_of(SPAN);
    unsigned char *block = take(100);
    take(1);
    unsigned char *moved = loam_freelist_realloc(&heap, block, 500);
    assert_non_null(moved);
    assert_ptr_not_equal(moved, block);
    expect_already_free(block);
    give(moved);
}

/* A neighbour that was swallowed by a growing block. */
static void freelist_H07_free_of_a_swallowed_block_panics(void **state)
{
    (void)state;
    heap_of(SPAN);
    unsigned char *block = take(100);
    unsigned char *next = take(100);
    take(1);
    give(next);
    assert_ptr_equal(loam_freelist_realloc(&heap, block, 220), block);
    expect_already_free(next);
    memset(block, 0, 220);
    expect_no_block(next);
}

/* ---- the wrong size ------------------------------------------------------ */

static void expect_wrong_size(void *block, size_t size_bytes, size_t asked)
{
    const uint64_t digest = loam_freelist_digest(&heap);

    EXPECT_PANIC(WRONG_SIZE, loam_freelist_free_sized(&heap, block, size_bytes));
    assert_int_equal(panic_trap.seen.subject, (uintptr_t)block);
    assert_int_equal(panic_trap.seen.detail, asked);
    assert_int_equal(loam_freelist_digest(&heap), digest);
    assert_null(loam_freelist_audit(&heap));
}

/* Any size but the one asked for, also those that the block could serve. */
static void freelist_H14_wrong_size_panics(void **state)
{
    (void)state;
    heap_of(SPAN);
    for (size_t asked = 0; asked < 40; asked++) {
        void *block = take(asked);
        for (size_t size_bytes = 0; size_bytes < 60; size_bytes++) {
            if (size_bytes != asked)
                expect_wrong_size(block, size_bytes, asked);
        }
        expect_wrong_size(block, SIZE_MAX, asked);
        expect_wrong_size(block, asked + ((size_t)1 << 56), asked);
        loam_freelist_free_sized(&heap, block, asked);
    }
    expect_empty();
}

/* What counts is the last size asked for, in place or moved. */
static void freelist_H14_size_follows_realloc(void **state)
{
    (void)state;
    heap_of(SPAN);
    void *block = take(100);
    take(1);
    assert_ptr_equal(loam_freelist_realloc(&heap, block, 90), block);
    expect_wrong_size(block, 100, 90);
    block = loam_freelist_realloc(&heap, block, 5000);
    assert_non_null(block);
    expect_wrong_size(block, 90, 5000);
    loam_freelist_free_sized(&heap, block, 5000);
}

/* ---- damage -------------------------------------------------------------- */

static void expect_damaged_next(void *block, const unsigned char *next)
{
    expect_panic(FREE, block, DAMAGED, next);
    assert_int_equal(panic_trap.seen.detail, (uintptr_t)block);
    expect_panic(REALLOC, block, DAMAGED, next);
    assert_int_equal(panic_trap.seen.detail, (uintptr_t)block);
    assert_string_equal(loam_freelist_audit(&heap),
                        next == (unsigned char *)(uintptr_t)heap.end + HEADER
                            ? "freelist: mark at the end is damaged"
                            : DAMAGED);
}

/*
 *   [h block ........X)[h next      any bit of the 16 bytes behind a block, whether
 *                    ^^^            a used block, a free one, or the end is there
 */
static void freelist_H16_overflow_panics_at_the_free(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 3; kind++) {
        for (size_t bit = 0; bit < 16 * 8; bit++) {
            heap_of(1024);
            unsigned char *block = take(112);
            if (kind == 0)
                take(1);
            if (kind == 2) {
                block = take(stats().largest_free_bytes);
                assert_int_equal(stats().free_count, 0);
            }
            unsigned char *next = block + loam_freelist_usable(&heap, block);
            next[bit / 8] ^= (unsigned char)(1u << bit % 8);
            expect_damaged_next(block, next + HEADER);
        }
    }
}

/* 1, 8 and 32 bytes past a size without rounding; a whole page. */
static void freelist_H16_overflow_of_any_length_panics(void **state)
{
    static const size_t lengths[] = { 1, 8, 16, 32, 4096 };

    (void)state;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        heap_of(SPAN);
        unsigned char *block = take(256);
        unsigned char *next = take(1);
        memset(block + 256, 0x41, lengths[i]);
        expect_damaged_next(block, next);
    }
}

/* Any bit of a block's own header: an underflow, or the block before's overflow. */
static void freelist_H16_H22_damaged_header_panics(void **state)
{
    (void)state;
    for (size_t bit = 0; bit < 16 * 8; bit++) {
        heap_of(1024);
        take(10);
        unsigned char *block = take(112);
        unsigned char *after = take(10);
        block[-16 + (int)(bit / 8)] ^= (unsigned char)(1u << bit % 8);
        expect_refused(block, DAMAGED, block);
        assert_string_equal(loam_freelist_audit(&heap), DAMAGED);
        /* Asked about what lies behind it, the damage is named, not guessed. */
        expect_refused(after + 16, DAMAGED, block);
    }
}

/* Any bit of a free block's header and link: written after free. It panics before
 * the link is followed, whoever passes. */
static void freelist_H18_H21_write_to_a_free_header_panics(void **state)
{
    (void)state;
    for (size_t bit = 0; bit < 24 * 8; bit++) {
        heap_of(1024);
        void *before = take(32);
        unsigned char *freed = take(48);
        void *behind = take(32);
        give(freed);
        freed[-16 + (int)(bit / 8)] ^= (unsigned char)(1u << bit % 8);
        expect_panic(ALLOC, NULL, DAMAGED, freed);
        expect_panic(FREE, behind, DAMAGED, freed);
        expect_panic(REALLOC, behind, DAMAGED, freed);
        expect_panic(STATS, NULL, DAMAGED, freed);
        expect_panic(FREE, before, DAMAGED, freed);
        assert_string_equal(loam_freelist_audit(&heap), DAMAGED);
    }
}

/* A link that leads back, copied from an honest block, does not pass either. */
static void freelist_H21_copied_header_panics(void **state)
{
    (void)state;
    heap_of(SPAN);
    unsigned char *a = take(100);
    take(1);
    unsigned char *b = take(100);
    void *c = take(1);
    give(a);
    give(b);
    memcpy(b - 16, a - 16, 24);
    expect_panic(FREE, c, DAMAGED, b);
}

/* ---- the audit ----------------------------------------------------------- */

static unsigned char *three_blocks(void)
{
    heap_of(1024);
    take(100);
    unsigned char *free_one = take(200);
    take(100);
    give(free_one);
    return free_one;
}

static void expect_broken(const char *rule)
{
    const char *found = loam_freelist_audit(&heap);
    assert_non_null(found);
    assert_string_equal(found, rule);
}

static void freelist_audit_finds_each_corruption(void **state)
{
    (void)state;
    unsigned char *free_one = three_blocks();
    free_one[-16]++;
    expect_broken(DAMAGED);
    three_blocks();
    ((unsigned char *)(uintptr_t)heap.end)[3]++;
    expect_broken("freelist: mark at the end is damaged");
    three_blocks();
    heap.cookie++;
    expect_broken(DAMAGED);
    three_blocks();
    heap.end -= 16;
    expect_broken("freelist: blocks do not tile the span");
    free_one = three_blocks();
    memcpy(&heap.first, free_one, 8); /* past the first free block */
    expect_broken("freelist: free block is not in the list");
    three_blocks();
    heap.first = heap.base;
    expect_broken("freelist: list holds a block in use");
    heap_of(1024);
    take(stats().largest_free_bytes);
    heap.first = heap.base + 64;
    expect_broken("freelist: list holds what is no block");
    three_blocks();
    heap.used_bytes += 16;
    expect_broken("freelist: blocks in use are miscounted");
    three_blocks();
    heap.used_count--;
    expect_broken("freelist: blocks in use are miscounted");
    three_blocks();
    heap.peak_bytes = heap.used_bytes - 1;
    expect_broken("freelist: peak is below use");
}

/*
 *   now     [a free)[b used)[c used)     a's header of now and b's of later: both
 *   later   [a used)[b free)[c used)     honest, but two free blocks touch
 */
static void freelist_audit_finds_free_neighbours(void **state)
{
    unsigned char header[24];

    (void)state;
    heap_of(1024);
    unsigned char *a = take(100);
    unsigned char *b = take(100);
    take(100);
    give(b);
    memcpy(header, b - 16, sizeof(header));
    assert_ptr_equal(take(100), b);
    give(a);
    memcpy(b - 16, header, sizeof(header));
    expect_broken("freelist: free blocks touch");
}

/* The digest sees place, size asked for, state and counters, but no contents. */
static void freelist_digest_sees_layout_only(void **state)
{
    (void)state;
    heap_of(1024);
    unsigned char *block = take(100);
    const uint64_t digest = loam_freelist_digest(&heap);
    memset(block, 1, 100);
    assert_int_equal(loam_freelist_digest(&heap), digest);
    assert_ptr_equal(loam_freelist_realloc(&heap, block, 99), block);
    assert_int_not_equal(loam_freelist_digest(&heap), digest);
    assert_ptr_equal(loam_freelist_realloc(&heap, block, 100), block);
    assert_int_equal(loam_freelist_digest(&heap), digest);
    give(block);
    assert_int_not_equal(loam_freelist_digest(&heap), digest);
    take(100);
    assert_int_equal(loam_freelist_digest(&heap), digest);
    heap_of(1024); /* the same sizes and counters, but another one is free */
    unsigned char *a = take(16);
    take(16);
    unsigned char *b = take(16);
    take(16);
    give(a);
    const uint64_t a_is_free = loam_freelist_digest(&heap);
    assert_ptr_equal(take(16), a);
    give(b);
    assert_int_not_equal(loam_freelist_digest(&heap), a_is_free);

    const uint64_t before = loam_freelist_digest(&heap);
    heap.used_count++;
    assert_int_not_equal(loam_freelist_digest(&heap), before);
    heap.used_count--;
    heap.used_bytes++;
    assert_int_not_equal(loam_freelist_digest(&heap), before);
    heap.used_bytes--;
    heap.peak_bytes++;
    assert_int_not_equal(loam_freelist_digest(&heap), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(freelist_H09_free_of_null_is_nothing),
        cmocka_unit_test(freelist_H07_H11_H35_interior_pointer_panics),
        cmocka_unit_test(freelist_H12_wild_pointer_panics),
        cmocka_unit_test(freelist_H13_block_of_another_heap_panics),
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
        cmocka_unit_test(freelist_H18_H21_write_to_a_free_header_panics),
        cmocka_unit_test(freelist_H21_copied_header_panics),
        cmocka_unit_test(freelist_audit_finds_each_corruption),
        cmocka_unit_test(freelist_audit_finds_free_neighbours),
        cmocka_unit_test(freelist_digest_sees_layout_only),
    };
    return RUN_TESTS(tests);
}
