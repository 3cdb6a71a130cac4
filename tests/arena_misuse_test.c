/*
 * arena_misuse_test.c - the wrong pointer, twice, or with the wrong size: a panic
 * with its rule before anything changes. Damage is arena_damage_test.c's.
 */
#include "arena_world.h"

static const size_t sizes[] = { 0, 8, 24, 100, 1000, 5000, 40000, 1000000 };
#define SIZE_COUNT (sizeof(sizes) / sizeof(sizes[0]))

/* A block of each size, at each kind of place, with room and traffic around it. */
#define EACH_BLOCK(size_bytes, align)                                             \
    for (size_t nth_ = 0, size_bytes, align;                                      \
         nth_ < 3 * SIZE_COUNT &&                                                 \
         (size_bytes = sizes[nth_ / 3], align = (size_t)1 << nth_ % 3 * 4, true); \
         nth_++)

/* An arena that has room for two blocks of a size. */
static void heap_for(size_t size_bytes)
{
    heap_of(16 * KIB + 3 * size_bytes);
}

static void arena_H09_free_of_null_is_nothing(void **state)
{
    (void)state;
    heap_of(SPAN);
    const uint64_t digest = loam_arena_digest(heap);
    loam_arena_free(heap, NULL);
    loam_arena_free_sized(heap, NULL, 5);
    assert_int_equal(loam_arena_digest(heap), digest);
    heap_without_spans();
    loam_arena_free(heap, NULL);
    assert_null(loam_arena_audit(heap));
}

/* ---- the wrong pointer --------------------------------------------------- */

/* Every address inside a live block but its own, or for large ones those near the
 * ends, whatever is written there. */
static void arena_H07_H11_H35_interior_pointer_panics(void **state)
{
    (void)state;
    EACH_BLOCK(size_bytes, align)
    {
        heap_for(size_bytes);
        take(40);
        unsigned char *block = take_aligned(size_bytes, align);
        take(40);
        const size_t step = size_bytes < 2000 ? 1 : size_bytes / 16 - 1;
        memset(block, nth_ % 2 == 0 ? 0x00 : 0xff, size_bytes);
        for (size_t offset = 1; offset < size_bytes; offset += step)
            expect_no_block(block + offset);
        for (size_t offset = 1; offset <= 32 && offset < size_bytes; offset++)
            expect_no_block(block + offset);
        for (size_t offset = 1; offset <= 32 && offset < size_bytes; offset++)
            expect_no_block(block + size_bytes - offset);
        expect_no_block(block - 1);
        expect_no_block(block - 4);
    }
}

/* A tag copied from elsewhere does not make a block of what is inside one. */
static void arena_H11_copied_tag_panics(void **state)
{
    (void)state;
    heap_of(4 * SPAN);
    unsigned char *other = take(100);
    unsigned char *large = take(40000);
    unsigned char *block = take(2000);
    unsigned char *inside = take(50000);
    for (size_t offset = 32; offset < 1900; offset += 8) {
        memcpy(block + offset - 4, other - 4, 4);
        expect_no_block(block + offset);
        memcpy(inside + offset - 20, large - 20, 20);
        expect_no_block(inside + offset);
    }
    give(block);
    give(inside);
}

static int global;

/* Stack, globals, code, null and a little, non-canonical: never dereferenced. */
static void arena_H12_wild_pointer_panics(void **state)
{
    static const uintptr_t wild[] = {
        1,
        4,
        8,
        16,
        24,
        4096,
        (uintptr_t)1 << 47,
        ((uintptr_t)1 << 63) - 16,
        (uintptr_t)1 << 63,
        UINTPTR_MAX - 4095,
        UINTPTR_MAX - 15,
        UINTPTR_MAX - 7,
        UINTPTR_MAX,
    };
    _Alignas(16) unsigned char stack[64] = { 0 };

    (void)state;
    for (size_t spans = 0; spans < 3; spans++) {
        heap_without_spans();
        for (size_t i = 0; i < spans; i++)
            assert_int_equal(loam_arena_claim(heap, lend(2 * i * SPAN, SPAN), SPAN), LOAM_OK);
        if (spans > 0)
            take(100);
        for (size_t i = 0; i < sizeof(wild) / sizeof(wild[0]); i++)
            expect_no_block((void *)wild[i]);
        expect_no_block(stack + 32);
        expect_no_block(&global);
        expect_no_block(heap);
        expect_no_block((void *)(uintptr_t)&arena_H12_wild_pointer_panics);
    }
}

/*
 *   ......| span header | block | ... | mark |......      around the span's ends
 */
static void arena_H12_pointer_around_the_span_panics(void **state)
{
    (void)state;
    for (size_t end = 4096; end < 4112; end++) {
        heap_without_spans();
        assert_int_equal(loam_arena_claim(heap, lend(1024, end), end), LOAM_OK);
        unsigned char *first = take(100);
        take_the_rest();
        for (unsigned char *at = memory + 1024 - 64; at < first; at++)
            expect_no_block(at);
        for (unsigned char *at = memory + 1024 + end - 64; at < memory + 1024 + end + 64; at++)
            expect_no_block(at);
    }
}

/* A block of an arena that lives beside this one, and of one inside a block. */
static void arena_H13_block_of_another_arena_panics(void **state)
{
    static struct loam_arena other;

    (void)state;
    EACH_BLOCK(size_bytes, align)
    {
        heap_of(32 * KIB + 3 * size_bytes);
        const size_t room = 16 * KIB + size_bytes;
        loam_arena_init(&other);
        unsigned char *beside = lend(MEMORY_BYTES / 2, room);
        assert_int_equal(loam_arena_claim(&other, beside, room), LOAM_OK);
        expect_no_block(loam_arena_alloc(&other, size_bytes, align));

        unsigned char *inner = take(room);
        loam_arena_init(&other);
        assert_int_equal(loam_arena_claim(&other, inner, room), LOAM_OK);
        void *block = loam_arena_alloc(&other, size_bytes, align);
        assert_non_null(block);
        expect_no_block(block);
        loam_arena_free(&other, block);
        expect_no_block(block);
        give(inner);
        loam_arena_merge(heap);
        expect_already_free(block); /* it lies in free memory of this arena now */
    }
}

/* What was a block before the arena was made anew is none. */
static void arena_H13_block_of_an_earlier_life_panics(void **state)
{
    (void)state;
    EACH_BLOCK(size_bytes, align)
    {
        heap_for(size_bytes);
        take(300);
        unsigned char *block = take_aligned(size_bytes, align);
        loam_arena_init(heap);
        expect_no_block(block);
    }
}

/* ---- twice --------------------------------------------------------------- */

static void arena_H10_H07_H35_block_freed_just_now_panics(void **state)
{
    (void)state;
    EACH_BLOCK(size_bytes, align)
    {
        heap_for(size_bytes);
        take(100);
        unsigned char *block = take_aligned(size_bytes, align);
        memset(block, 0xff, size_bytes);
        give(block);
        expect_already_free(block);
        loam_arena_merge(heap);
        expect_already_free(block);
    }
}

/*
 *   [a)[b)[c)[d) free      b is freed: alone, merged to the left, to the right,
 *                          to both sides; then again
 */
static void arena_H10_merged_block_panics(void **state)
{
    (void)state;
    EACH_BLOCK(size_bytes, align)
    {
        for (unsigned way = 0; way < 16; way++) {
            heap_of(16 * KIB + 5 * size_bytes);
            unsigned char *block[4];
            for (size_t i = 0; i < 4; i++)
                block[i] = take_aligned(size_bytes, align);
            memset(block[1], 0xff, size_bytes);
            if ((way & 4) != 0)
                give(block[1]);
            if ((way & 1) != 0)
                give(block[0]);
            if ((way & 2) != 0)
                give(block[2]);
            if ((way & 4) == 0)
                give(block[1]);
            if ((way & 8) != 0)
                loam_arena_merge(heap);
            expect_already_free(block[1]);
            if ((way & 1) != 0)
                expect_already_free(block[0]);
            if ((way & 2) != 0)
                expect_already_free(block[2]);
        }
    }
}

/* After 1, 8 and 300 other frees of all small sizes, some merged by then. */
static void arena_H10_block_freed_long_ago_panics(void **state)
{
    static unsigned char *other[300];

    (void)state;
    EACH_BLOCK(size_bytes, align)
    {
        heap_of(400 * KIB + 2 * size_bytes);
        for (size_t i = 0; i < 150; i++)
            other[i] = take(i * 8);
        unsigned char *block = take_aligned(size_bytes, align);
        for (size_t i = 150; i < 300; i++)
            other[i] = take(i * 8);
        give(block);
        for (size_t i = 0; i < 300; i++) {
            loam_arena_free(heap, other[i * 7 % 300]);
            if (i == 0 || i == 7 || i == 149 || i == 299)
                expect_already_free(block);
        }
        for (size_t i = 0; i < 300; i += 17)
            expect_already_free(other[i]);
        expect_empty();
        expect_already_free(block);
    }
}

/* The memory was given out again, in another cut: a panic still. */
static void arena_H10_block_freed_into_a_new_one_panics(void **state)
{
    (void)state;
    EACH_BLOCK(size_bytes, align)
    {
        heap_of(16 * KIB + 4 * size_bytes);
        unsigned char *a = take_aligned(size_bytes, align);
        unsigned char *b = take_aligned(size_bytes, align);
        give(a);
        give(b);
        expect_empty();
        const size_t to_b = (size_t)(b - memory);
        unsigned char *both = take(to_b + size_bytes);
        assert_true(both <= a);
        expect_no_block(b);
        if (a != both)
            expect_no_block(a);
        memset(both, 0xff, to_b + size_bytes);
        expect_no_block(b);
        give(both);
        loam_arena_merge(heap);
        expect_already_free(b);
    }
}

/* A block that moved leaves nothing behind that could be freed. */
static void arena_H07_old_place_of_a_moved_block_panics(void **state)
{
    (void)state;
    EACH_BLOCK(size_bytes, align)
    {
        heap_of(64 * KIB + 4 * size_bytes);
        unsigned char *block = take_aligned(size_bytes, align);
        take(12000);
        unsigned char *moved = loam_arena_realloc(heap, block, size_bytes + 20000, align);
        assert_non_null(moved);
        assert_ptr_not_equal(moved, block);
        expect_already_free(block);
        give(moved);
        expect_already_free(moved);
    }
}

/*
 *   | free 20000 | block |      the block moves down, over its own old place
 *   | block            | free |
 */
static void arena_H07_old_place_of_a_block_that_moved_down_panics(void **state)
{
    (void)state;
    EACH_BLOCK(size_bytes, align)
    {
        if (align > 16)
            continue;
        heap_of(64 * KIB + 4 * size_bytes);
        unsigned char *before = take_aligned(20000, align);
        unsigned char *block = take_aligned(size_bytes, align);
        take_the_rest();
        give(before);
        unsigned char *moved = loam_arena_realloc(heap, block, size_bytes + 16000, align);
        assert_non_null(moved);
        assert_true(moved < block);
        assert_null(loam_arena_audit(heap));
        if (moved + size_bytes + 16000 < block)
            expect_already_free(block);
        else
            expect_no_block(block);
        give(moved);
        expect_already_free(block);
    }
}

/* A neighbour that was swallowed by a growing block. */
static void arena_H07_swallowed_block_panics(void **state)
{
    (void)state;
    EACH_BLOCK(size_bytes, align)
    {
        if (2000 + 15 * size_bytes < BIG_FROM && 2500 + 17 * size_bytes > BIG_FROM)
            continue; /* no block grows into one with a longer tag */
        heap_of(64 * KIB + 17 * size_bytes);
        unsigned char *block = take(2000 + 15 * size_bytes);
        unsigned char *next = take_aligned(size_bytes, align);
        take(12000);
        memset(next, 0xff, size_bytes);
        give(next);
        loam_arena_merge(heap);
        const size_t grown = (size_t)(next - block) + size_bytes;
        assert_ptr_equal(loam_arena_realloc(heap, block, grown, 1), block);
        expect_no_block(next);
        assert_ptr_equal(loam_arena_realloc(heap, block, 100, 1), block);
        loam_arena_merge(heap);
        expect_already_free(next);
    }
}

/* ---- the wrong size ------------------------------------------------------ */

static void expect_wrong_size(void *block, size_t size_bytes, size_t asked)
{
    if (size_bytes == asked)
        return;
    expect_panic(FREE_SIZED, block, size_bytes, WRONG_SIZE, block);
    assert_int_equal(panic_trap.seen.detail, asked);
    expect_panic(REALLOC_SIZED, block, size_bytes, WRONG_SIZE, block);
    assert_int_equal(panic_trap.seen.detail, asked);
    assert_null(loam_arena_audit(heap));
}

/* Any size but the one asked for, also those that the block could serve. */
static void arena_H14_wrong_size_panics(void **state)
{
    (void)state;
    EACH_BLOCK(size_bytes, align)
    {
        heap_for(size_bytes);
        take(100);
        void *block = take_aligned(size_bytes, align);
        for (size_t off = 1; off <= 24; off++) {
            expect_wrong_size(block, size_bytes + off, size_bytes);
            if (off <= size_bytes)
                expect_wrong_size(block, size_bytes - off, size_bytes);
        }
        for (unsigned shift = 8; shift < 64; shift += 8)
            expect_wrong_size(block, size_bytes + ((size_t)1 << shift), size_bytes);
        expect_wrong_size(block, size_bytes * 2, size_bytes);
        expect_wrong_size(block, 0, size_bytes);
        expect_wrong_size(block, SIZE_MAX - 1, size_bytes);
        loam_arena_free_sized(heap, block, size_bytes);
        assert_null(loam_arena_audit(heap));
    }
}

/* What counts is the last size asked for, in place or moved. */
static void arena_H14_size_follows_realloc(void **state)
{
    (void)state;
    EACH_BLOCK(size_bytes, align)
    {
        heap_of(64 * KIB + 4 * size_bytes);
        void *block = take_aligned(size_bytes + 7, align);
        take(1);
        for (size_t smaller = size_bytes + 7; smaller > size_bytes; smaller--) {
            assert_ptr_equal(loam_arena_realloc(heap, block, smaller - 1, align), block);
            expect_wrong_size(block, smaller, smaller - 1);
            assert_int_equal(loam_arena_usable(heap, block), smaller - 1);
        }
        block = loam_arena_realloc(heap, block, size_bytes + 3000, align);
        assert_non_null(block);
        expect_wrong_size(block, size_bytes, size_bytes + 3000);
        loam_arena_free_sized(heap, block, size_bytes + 3000);
        expect_already_free(block);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_H09_free_of_null_is_nothing),
        cmocka_unit_test(arena_H07_H11_H35_interior_pointer_panics),
        cmocka_unit_test(arena_H11_copied_tag_panics),
        cmocka_unit_test(arena_H12_wild_pointer_panics),
        cmocka_unit_test(arena_H12_pointer_around_the_span_panics),
        cmocka_unit_test(arena_H13_block_of_another_arena_panics),
        cmocka_unit_test(arena_H13_block_of_an_earlier_life_panics),
        cmocka_unit_test(arena_H10_H07_H35_block_freed_just_now_panics),
        cmocka_unit_test(arena_H10_merged_block_panics),
        cmocka_unit_test(arena_H10_block_freed_long_ago_panics),
        cmocka_unit_test(arena_H10_block_freed_into_a_new_one_panics),
        cmocka_unit_test(arena_H07_old_place_of_a_moved_block_panics),
        cmocka_unit_test(arena_H07_old_place_of_a_block_that_moved_down_panics),
        cmocka_unit_test(arena_H07_swallowed_block_panics),
        cmocka_unit_test(arena_H14_wrong_size_panics),
        cmocka_unit_test(arena_H14_size_follows_realloc),
    };
    return RUN_TESTS(tests);
}
