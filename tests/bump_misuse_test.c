/*
 * bump_misuse_test.c - what can be known of misuse of the bump heap panics with
 * its rule before anything changes; the audit finds every corruption.
 */
#include "bump_world.h"

#define NOT_A_BLOCK "bump: not a block of this heap"
#define TOO_OFTEN   "bump: more frees than blocks"
#define WRONG_SIZE  "bump: wrong size"
#define OLD_MARK    "bump: mark is not of now"

/* Every function that takes a block refuses this one. */
static void expect_refused(void *block, const char *rule)
{
    const uint64_t digest = loam_bump_digest(&heap);

    EXPECT_PANIC(rule, loam_bump_free(&heap, block));
    expect_panic_of(rule, block, 0, digest);
    EXPECT_PANIC(rule, loam_bump_free_sized(&heap, block, 1));
    expect_panic_of(rule, block, 0, digest);
    EXPECT_PANIC(rule, assert_null(resize(block, LOAM_SIZE_UNKNOWN, 1, 1)));
    expect_panic_of(rule, block, 0, digest);
}

/* ---- the wrong pointer --------------------------------------------------- */

static void free_H09_of_null_is_nothing(void **state)
{
    (void)state;
    heap_of(SPAN);
    const uint64_t digest = loam_bump_digest(&heap);
    loam_bump_free(&heap, NULL);
    loam_bump_free_sized(&heap, NULL, 5);
    assert_int_equal(loam_bump_digest(&heap), digest);
}

static void free_H11_inside_the_last_block_panics(void **state)
{
    (void)state;
    heap_of(SPAN);
    take(10, 1);
    unsigned char *last = take(100, 8);
    for (size_t offset = 1; offset < 101; offset++)
        expect_refused(last + offset, NOT_A_BLOCK);
    give(last);
    expect_refused(last, NOT_A_BLOCK); /* H10: twice */
}

static int global;

static void free_H12_of_a_wild_pointer_panics(void **state)
{
    unsigned char on_stack[8] = { 0 };

    (void)state;
    for (unsigned live = 0; live < 2; live++) {
        heap_of(SPAN);
        if (live != 0)
            take(100, 1);
        expect_refused(span - 1, NOT_A_BLOCK);
        expect_refused(span + SPAN, NOT_A_BLOCK);
        expect_refused(on_stack, NOT_A_BLOCK);
        expect_refused(&global, NOT_A_BLOCK);
        expect_refused((void *)(uintptr_t)&free_H12_of_a_wild_pointer_panics, NOT_A_BLOCK);
        expect_refused((void *)(uintptr_t)1, NOT_A_BLOCK);
        expect_refused((void *)((uintptr_t)1 << 63), NOT_A_BLOCK);
        expect_refused((void *)UINTPTR_MAX, NOT_A_BLOCK);
    }
    expect_refused(span + 100, NOT_A_BLOCK);
    expect_refused(span + SPAN - 1, NOT_A_BLOCK);
}

static void free_H10_where_nothing_lives_panics(void **state)
{
    (void)state;
    heap_of(SPAN);
    unsigned char *a = take(10, 1);
    give(a);
    expect_refused(a, TOO_OFTEN);
    expect_refused(a + 1, TOO_OFTEN);
    expect_refused(a + SPAN - 1, TOO_OFTEN);
}

/* ---- the wrong size ------------------------------------------------------ */

static void expect_wrong_size(unsigned char *block, size_t size_bytes, size_t most)
{
    const uint64_t digest = loam_bump_digest(&heap);

    EXPECT_PANIC(WRONG_SIZE, loam_bump_free_sized(&heap, block, size_bytes));
    expect_panic_of(WRONG_SIZE, block, most, digest);
    if (size_bytes != LOAM_SIZE_UNKNOWN) {
        EXPECT_PANIC(WRONG_SIZE, assert_null(resize(block, size_bytes, 1, 1)));
        expect_panic_of(WRONG_SIZE, block, most, digest);
    }
}

/*
 *   | a 10 | b 20 | c 30 |    c's size is known, a's and b's cannot reach into c
 */
static void free_H14_with_a_wrong_size_panics_as_far_as_known(void **state)
{
    (void)state;
    heap_of(SPAN);
    unsigned char *a = take(10, 1);
    unsigned char *b = take(20, 1);
    unsigned char *c = take(30, 1);
    for (size_t size_bytes = 0; size_bytes < 100; size_bytes++) {
        if (size_bytes != 30)
            expect_wrong_size(c, size_bytes, 30);
        if (size_bytes > 30)
            expect_wrong_size(a, size_bytes, 30);
        if (size_bytes > 20)
            expect_wrong_size(b, size_bytes, 20);
    }
    expect_wrong_size(a, SIZE_MAX, 30);
    expect_wrong_size(c, SIZE_MAX, 30);
    loam_bump_free_sized(&heap, c, 30);
    expect_wrong_size(a, 31, 30); /* now up to the pointer */
    loam_bump_free_sized(&heap, b, 20);
    loam_bump_free_sized(&heap, a, 30);
    expect_stats(0, 60, 0);
}

/* ---- marks --------------------------------------------------------------- */

static void release_of_a_mark_that_is_not_of_now_panics(void **state)
{
    struct loam_bump other;
    static unsigned char beside[64];

    (void)state;
    heap_of(SPAN);
    unsigned char *a = take(10, 1);
    take(10, 1);
    const struct loam_bump_mark good = loam_bump_now(&heap);
    take(10, 1);
    const uint64_t digest = loam_bump_digest(&heap);

    assert_int_equal(loam_bump_init(&other, beside, sizeof(beside)), LOAM_OK);
    assert_non_null(loam_bump_alloc(&other, 10, 1));
    const struct loam_bump_mark bad[] = {
        loam_bump_now(&other),
        { 0, 0, 0, 0 },
        { good.next + 11, good.last, good.count, good.reset_count }, /* ahead */
        { good.next, good.next + 1, good.count, good.reset_count },
        { good.next, heap.start - 1, good.count, good.reset_count },
        { heap.start - 1, heap.start - 1, good.count, good.reset_count },
        { good.next, good.last, 0, good.reset_count },
        { heap.start, heap.start, 1, good.reset_count },
        { good.next, good.last, good.count, good.reset_count + 1 },
        { good.next, good.last, good.count, good.reset_count - 1 },
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        EXPECT_PANIC(OLD_MARK, loam_bump_release(&heap, bad[i]));
        expect_panic_of(OLD_MARK, (void *)bad[i].next, heap.next, digest);
    }
    loam_bump_release(&heap, good);
    expect_stats(20, 30, 2);

    loam_bump_reset(&heap);
    assert_null(loam_bump_audit(&heap));
    expect_stats(0, 30, 0);
    assert_ptr_equal(take(100, 1), a);
    EXPECT_PANIC(OLD_MARK, loam_bump_release(&heap, good)); /* of before the reset */
    loam_bump_reset(&heap);
    expect_stats(0, 100, 0);
}

/* ---- audit and digest ---------------------------------------------------- */

static void expect_broken(const char *rule)
{
    const char *found = loam_bump_audit(&heap);
    assert_non_null(found);
    assert_string_equal(found, rule);
}

static void two_blocks(void)
{
    heap_of(SPAN);
    take(10, 1);
    take(20, 1);
}

static void audit_finds_each_corruption(void **state)
{
    (void)state;
    two_blocks();
    heap.next = heap.start - 1;
    expect_broken("bump: pointer is outside the span");
    two_blocks();
    heap.next = heap.end + 1;
    expect_broken("bump: pointer is outside the span");
    two_blocks();
    heap.last = heap.next + 1;
    expect_broken("bump: last block is not before the pointer");
    two_blocks();
    heap.last = heap.start - 1;
    expect_broken("bump: last block is not before the pointer");
    two_blocks();
    heap.count = 31;
    expect_broken("bump: blocks are miscounted");
    heap.count = 0;
    expect_broken("bump: blocks are miscounted");
    heap_of(SPAN);
    heap.count = 1;
    expect_broken("bump: blocks are miscounted");
    two_blocks();
    heap.count = 30;
    heap.peak_bytes = SPAN;
    assert_null(loam_bump_audit(&heap));
    heap.peak_bytes = SPAN + 1;
    expect_broken("bump: peak is above the span");
}

static void digest_sees_every_field(void **state)
{
    struct loam_bump before;

    (void)state;
    two_blocks();
    before = heap;
    const uint64_t digest = loam_bump_digest(&heap);
    memset(span, 1, 30); /* no contents */
    assert_int_equal(loam_bump_digest(&heap), digest);
    uint64_t *const fields[] = { &heap.start, &heap.end, &heap.next, &heap.last };
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        (*fields[i])++;
        assert_int_not_equal(loam_bump_digest(&heap), digest);
        heap = before;
    }
    heap.count++;
    assert_int_not_equal(loam_bump_digest(&heap), digest);
    heap = before;
    heap.reset_count++;
    assert_int_not_equal(loam_bump_digest(&heap), digest);
    heap = before;
    heap.peak_bytes = 31;
    assert_int_not_equal(loam_bump_digest(&heap), digest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(free_H09_of_null_is_nothing),
        cmocka_unit_test(free_H11_inside_the_last_block_panics),
        cmocka_unit_test(free_H12_of_a_wild_pointer_panics),
        cmocka_unit_test(free_H10_where_nothing_lives_panics),
        cmocka_unit_test(free_H14_with_a_wrong_size_panics_as_far_as_known),
        cmocka_unit_test(release_of_a_mark_that_is_not_of_now_panics),
        cmocka_unit_test(audit_finds_each_corruption),
        cmocka_unit_test(digest_sees_every_field),
    };
    return RUN_TESTS(tests);
}
