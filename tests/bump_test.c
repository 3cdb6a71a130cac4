/*
 * bump_test.c - the bump heap: pictures, refusals, marks.
 */
#include "bump_world.h"

#define OLD_MARK "bump: mark is not of now"

static void expect_no_alloc(size_t size_bytes, size_t align)
{
    const uint64_t digest = loam_bump_digest(&heap);
    assert_null(loam_bump_alloc(&heap, size_bytes, align));
    assert_int_equal(loam_bump_digest(&heap), digest);
}

/* ---- examples ------------------------------------------------------------ */

/*
 *   | 1 | pad | 8 ...... | 10 .... | pad | 16 at 64 |      nothing lost but alignment
 */
static void alloc_aligns_the_pointer_and_adds(void **state)
{
    (void)state;
    heap_of(SPAN);
    assert_ptr_equal(take(1, 1), span);
    assert_ptr_equal(take(8, 8), span + 8);
    assert_ptr_equal(take(10, 2), span + 16);
    assert_ptr_equal(take(16, 64), span + 64);
    assert_ptr_equal(take(1, 1), span + 80);
    assert_ptr_equal(take(1, 4), span + 84);
    expect_stats(85, 85, 6);
}

static void alloc_serves_the_last_byte(void **state)
{
    (void)state;
    heap_of(SPAN);
    assert_ptr_equal(take(SPAN - 1, 1), span);
    expect_no_alloc(2, 1);
    expect_no_alloc(1, 2 * SPAN);
    assert_ptr_equal(take(1, 1), span + SPAN - 1);
    expect_no_alloc(1, 1);
    expect_no_alloc(0, 1);
    expect_stats(SPAN, SPAN, 2);
}

static void alloc_H01_size_0_is_a_distinct_block(void **state)
{
    (void)state;
    heap_of(SPAN);
    unsigned char *a = take(0, 1);
    unsigned char *b = take(0, 1);
    assert_ptr_equal(b, a + 1);
    loam_bump_free_sized(&heap, b, 0);
    loam_bump_free_sized(&heap, a, 1); /* the same */
    expect_stats(0, 2, 0);
}

/* Sizes and alignments around every edge where an addition could wrap. */
static void alloc_H02_H04_refuses_sizes_that_overflow(void **state)
{
    (void)state;
    heap_of(SPAN);
    take(3, 1);
    for (size_t k = 0; k <= SPAN + 8; k++) {
        for (size_t align = 1; align <= 4096; align *= 8) {
            expect_no_alloc(SIZE_MAX - k, align);
            expect_no_alloc(((size_t)1 << 63) - 4096 + k, align);
            expect_no_alloc(SIZE_MAX - (uintptr_t)span - k, align); /* around 2^64 */
        }
    }
    unsigned char *last = take(5, 1);
    const uint64_t digest = loam_bump_digest(&heap);
    for (size_t k = 0; k <= SPAN + 8; k++) {
        assert_null(resize(last, 5, SIZE_MAX - k, 1));
        assert_null(resize(span, 3, SIZE_MAX - k, 1));
    }
    assert_int_equal(loam_bump_digest(&heap), digest);
}

static void alloc_H05_refuses_bad_alignment(void **state)
{
    (void)state;
    heap_of(SPAN);
    take(1, 1);
    for (size_t align = 0; align < 300; align++) {
        if (!loam_is_power_of_two(align)) {
            expect_no_alloc(1, align);
            expect_no_alloc(0, align);
            assert_null(resize(span, 1, 1, align));
        }
    }
    for (unsigned shift = 13; shift < 64; shift++) {
        if (((uintptr_t)span + SPAN) >> shift == (uintptr_t)span >> shift)
            expect_no_alloc(1, (size_t)1 << shift);
        expect_no_alloc(1, ((size_t)1 << shift) + 1);
        expect_no_alloc(1, ((size_t)1 << shift) - 1);
    }
    expect_no_alloc(1, SIZE_MAX);
    expect_stats(1, 1, 1);
}

/* ---- init ---------------------------------------------------------------- */

static void init_refuses_what_is_no_span(void **state)
{
    struct loam_bump bump;
    struct loam_bump before;
    static unsigned char memory[8];

    (void)state;
    memset(&bump, 0x5a, sizeof(bump));
    before = bump;
    assert_int_equal(loam_bump_init(&bump, NULL, 8), LOAM_INVALID);
    assert_int_equal(loam_bump_init(&bump, memory, 0), LOAM_INVALID);
    assert_int_equal(loam_bump_init(&bump, memory, SIZE_MAX), LOAM_INVALID);
    assert_int_equal(loam_bump_init(&bump, (void *)UINTPTR_MAX, 2), LOAM_INVALID);
    assert_memory_equal(&bump, &before, sizeof(bump));
}

/* No address is touched by alloc, so a span that is not there serves. Its last
 * byte is left out, so that what a pointer can reach is never 0. */
static void init_takes_a_span_that_ends_at_2_to_the_64(void **state)
{
    struct loam_bump top;

    (void)state;
    assert_int_equal(loam_bump_init(&top, (void *)(UINTPTR_MAX - 15), 16), LOAM_OK);
    assert_null(loam_bump_audit(&top));
    assert_null(loam_bump_alloc(&top, 16, 1));
    assert_null(loam_bump_alloc(&top, 17, 1));
    assert_null(loam_bump_alloc(&top, 1, 32));
    void *const block = loam_bump_alloc(&top, 8, 8);
    assert_ptr_equal(block, (void *)(UINTPTR_MAX - 15));
    assert_null(loam_bump_alloc(&top, 8, 8));
    assert_null(loam_bump_alloc(&top, 1, 16));
    assert_ptr_equal(loam_bump_alloc(&top, 7, 8), (void *)(UINTPTR_MAX - 7));
    assert_null(loam_bump_alloc(&top, 0, 1));
    assert_null(loam_bump_audit(&top));
}

/* ---- free ---------------------------------------------------------------- */

/*
 *   | a | b | c |    free c, then b: c's place is reused, b's is not known any more
 */
static void free_of_the_last_block_gives_it_back(void **state)
{
    (void)state;
    heap_of(SPAN);
    take(10, 1);
    unsigned char *b = take(20, 1);
    unsigned char *c = take(30, 1);
    give(c);
    expect_stats(30, 60, 2);
    give(b); /* only counted: it is not known to be the last */
    expect_stats(30, 60, 1);
    assert_ptr_equal(take(5, 1), c);
    expect_stats(35, 60, 2);
}

static void free_of_the_last_live_block_frees_everything(void **state)
{
    (void)state;
    heap_of(SPAN);
    unsigned char *a = take(10, 1);
    unsigned char *b = take(20, 1);
    unsigned char *c = take(30, 1);
    give(b);
    give(a);
    expect_stats(60, 60, 1);
    give(c);
    expect_stats(0, 60, 0);
    assert_ptr_equal(take(40, 1), a);
    expect_stats(40, 60, 1);
    take(40, 1);
    give(a);
    expect_stats(80, 80, 1);
    loam_bump_free_sized(&heap, a + 40, 40);
    expect_stats(0, 80, 0);
}

/* ---- realloc ------------------------------------------------------------- */

static void realloc_H06_of_the_last_block_is_in_place(void **state)
{
    (void)state;
    heap_of(SPAN);
    take(3, 1);
    unsigned char *block = resize(NULL, LOAM_SIZE_UNKNOWN, 10, 1); /* as alloc */
    assert_ptr_equal(block, span + 3);
    pattern_write(block, 10, 1);
    assert_ptr_equal(resize(block, 10, 100, 1), block);
    pattern_check(block, 10, 1);
    expect_stats(103, 103, 2);
    assert_ptr_equal(resize(block, LOAM_SIZE_UNKNOWN, 4, 1), block);
    expect_stats(7, 103, 2);
    assert_ptr_equal(resize(block, 4, 0, 1), block);
    expect_stats(4, 103, 2);
    assert_ptr_equal(resize(block, 0, SPAN - 3, 1), block); /* all there is */
    assert_null(resize(block, SPAN - 3, SPAN - 2, 1));
    pattern_check(block, 1, 1);
    loam_bump_free_sized(&heap, block, SPAN - 3);
    expect_stats(3, SPAN, 1);
}

/*
 *   |3| block 100 ........... |            align 64: within its own memory, upwards
 *   |3|    pad  | block 100 ........... |
 */
static void realloc_of_the_last_block_moves_up_to_its_alignment(void **state)
{
    (void)state;
    heap_of(SPAN);
    take(3, 1);
    unsigned char *block = take(100, 1);
    pattern_write(block, 100, 2);
    assert_ptr_equal(resize(block, 100, 120, 64), span + 64);
    pattern_check(span + 64, 100, 2);
    expect_stats(184, 184, 2);
    assert_ptr_equal(resize(span + 64, 120, 50, 128), span + 128);
    pattern_check(span + 128, 50, 2);
    expect_stats(178, 184, 2);
    const uint64_t digest = loam_bump_digest(&heap);
    assert_null(resize(span + 128, 50, SPAN - 255, 256));
    assert_null(resize(span + 128, 50, 1, SPAN));
    assert_null(resize(span + 128, 50, 1, 3));
    assert_null(resize(span + 128, 50, 1, 0));
    assert_int_equal(loam_bump_digest(&heap), digest);
    assert_ptr_equal(resize(span + 128, 50, SPAN - 256, 256), span + 256);
    pattern_check(span + 256, 50, 2);
    loam_bump_free_sized(&heap, span + 256, SPAN - 256);
    expect_stats(256, SPAN, 1); /* what was left behind stays padding */
}

static void realloc_H06_H08_of_another_block_moves_to_grow(void **state)
{
    (void)state;
    heap_of(SPAN);
    unsigned char *a = take(10, 1);
    unsigned char *b = take(6, 1);
    pattern_write(a, 10, 3);
    pattern_write(b, 6, 4);
    assert_ptr_equal(resize(a, 10, 10, 1), a);
    assert_ptr_equal(resize(a, 10, 5, 1), a);
    expect_stats(16, 16, 2);
    assert_ptr_equal(resize(a, 10, 11, 1), span + 16);
    pattern_check(span + 16, 10, 3);
    expect_stats(27, 27, 2);
    /* b is not aligned to 8, so it moves although it shrinks. */
    assert_ptr_equal(resize(b, 6, 4, 8), span + 32);
    pattern_check(span + 32, 4, 4);
    expect_stats(36, 36, 2);
    /* Nobody says how large this one is: up to what is known to be others'. */
    assert_ptr_equal(resize(span + 16, LOAM_SIZE_UNKNOWN, 1000, 1), span + 36);
    pattern_check(span + 36, 10, 3);
    assert_memory_equal(span + 36, span + 16, 16);
    assert_int_equal(span[36 + 16], 0xa5);
    assert_ptr_equal(resize(span + 32, LOAM_SIZE_UNKNOWN, 2, 1), span + 1036);
    pattern_check(span + 1036, 2, 4);
    assert_int_equal(span[1038], 0xa5);
    give(span + 36);
    give(span + 1036);
    expect_stats(0, 1038, 0);
}

/* A block of 0 bytes has one, which nobody wrote to. */
static void realloc_of_size_0_is_in_place_up_to_1(void **state)
{
    (void)state;
    heap_of(SPAN);
    unsigned char *a = take(0, 1);
    take(1, 1);
    assert_ptr_equal(resize(a, 0, 1, 1), a);
    assert_ptr_equal(resize(a, 1, 0, 1), a);
    assert_ptr_equal(resize(a, 0, 2, 1), span + 2);
    expect_stats(4, 4, 2);
}

static void each_failure_changes_nothing(void **state)
{
    unsigned refused = 0;

    (void)state;
    INJECT_EACH_POINT
    {
        heap_of(SPAN);
        unsigned char *a = take(10, 1);
        unsigned char *b = take(10, 1);
        pattern_write(a, 10, 5);
        pattern_write(b, 10, 6);
        const uint64_t digest = loam_bump_digest(&heap);
        INJECT_ARM();
        void *moved = resize(a, 10, 20, 1);
        INJECT_DISARM();
        if (moved == NULL) {
            refused++;
            assert_int_equal(loam_bump_digest(&heap), digest);
            INJECT_ARM();
            void *grown = resize(b, 10, 20, 64);
            INJECT_DISARM();
            assert_null(grown);
            assert_int_equal(loam_bump_digest(&heap), digest);
            pattern_check(b, 10, 6);
        }
        pattern_check(a, 10, 5);
    }
    assert_int_equal(refused, 2);
}

/*
 *   | a | b (mark) | c | d |   release:  | a | b |
 */
static void release_frees_what_came_since_the_mark(void **state)
{
    (void)state;
    heap_of(SPAN);
    take(10, 1);
    unsigned char *b = take(20, 1);
    const struct loam_bump_mark mark = loam_bump_now(&heap);
    const uint64_t digest = loam_bump_digest(&heap);
    take(30, 1);
    give(take(1, 1));
    loam_bump_release(&heap, mark);
    assert_null(loam_bump_audit(&heap));
    expect_stats(30, 61, 2);
    assert_int_not_equal(loam_bump_digest(&heap), digest); /* the peak */
    assert_ptr_equal(resize(b, 20, 40, 1), b);             /* the last again */
    loam_bump_release(&heap, loam_bump_now(&heap));
    expect_stats(50, 61, 2);
}

static void marks_nest(void **state)
{
    (void)state;
    heap_of(SPAN);
    const struct loam_bump_mark empty = loam_bump_now(&heap);
    take(10, 1);
    const struct loam_bump_mark outer = loam_bump_now(&heap);
    take(20, 1);
    const struct loam_bump_mark inner = loam_bump_now(&heap);
    take(30, 1);
    loam_bump_release(&heap, inner);
    expect_stats(30, 60, 2);
    loam_bump_release(&heap, inner); /* nothing since: nothing to do */
    expect_stats(30, 60, 2);
    loam_bump_release(&heap, outer);
    expect_stats(10, 60, 1);
    const uint64_t digest = loam_bump_digest(&heap);
    EXPECT_PANIC(OLD_MARK, loam_bump_release(&heap, inner)); /* it went with the outer one */
    expect_panic_of(OLD_MARK, span + 30, (uintptr_t)span + 10, digest);
    loam_bump_release(&heap, empty);
    assert_null(loam_bump_audit(&heap));
    expect_stats(0, 60, 0);
    loam_bump_release(&heap, empty);
    expect_stats(0, 60, 0);
}

/* Blocks of before the mark that were freed meanwhile: they count again, but
 * never more blocks than lived. */
static void release_counts_no_more_than_lived(void **state)
{
    (void)state;
    heap_of(SPAN);
    unsigned char *a = take(10, 1);
    unsigned char *b = take(10, 1);
    take(10, 1);
    const struct loam_bump_mark mark = loam_bump_now(&heap);
    unsigned char *c = take(10, 1);
    give(a);
    loam_bump_release(&heap, mark);
    expect_stats(30, 40, 3);
    assert_ptr_equal(take(10, 1), c);
    give(c);
    give(b);
    loam_bump_release(&heap, mark);
    expect_stats(30, 40, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alloc_aligns_the_pointer_and_adds),
        cmocka_unit_test(alloc_serves_the_last_byte),
        cmocka_unit_test(alloc_H01_size_0_is_a_distinct_block),
        cmocka_unit_test(alloc_H02_H04_refuses_sizes_that_overflow),
        cmocka_unit_test(alloc_H05_refuses_bad_alignment),
        cmocka_unit_test(init_refuses_what_is_no_span),
        cmocka_unit_test(init_takes_a_span_that_ends_at_2_to_the_64),
        cmocka_unit_test(free_of_the_last_block_gives_it_back),
        cmocka_unit_test(free_of_the_last_live_block_frees_everything),
        cmocka_unit_test(realloc_H06_of_the_last_block_is_in_place),
        cmocka_unit_test(realloc_of_the_last_block_moves_up_to_its_alignment),
        cmocka_unit_test(realloc_H06_H08_of_another_block_moves_to_grow),
        cmocka_unit_test(realloc_of_size_0_is_in_place_up_to_1),
        cmocka_unit_test(each_failure_changes_nothing),
        cmocka_unit_test(release_frees_what_came_since_the_mark),
        cmocka_unit_test(marks_nest),
        cmocka_unit_test(release_counts_no_more_than_lived),
    };
    return RUN_TESTS(tests);
}
