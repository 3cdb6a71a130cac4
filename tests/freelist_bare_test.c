/*
 * freelist_bare_test.c - blocks without header: pictures, blocks that wait, and every
 * misuse that the heap sees.
 */
#include "freelist_world.h"

#define NOT_A_BLOCK "freelist: not a block of this heap"
#define DOUBLE_FREE "freelist: block is already free"
#define HAS_HEADER  "freelist: block has a header"
#define FREE_DAMAGE "freelist: free block is damaged"
#define WRONG_SIZE  "freelist: wrong size"

/* ---- examples ------------------------------------------------------------ */

/*
 *   [free             )[c  )[b )[a    )    n bytes cost n rounded up to 8, 16 at least
 */
static void bare_blocks_cost_nothing(void **state)
{
    (void)state;
    heap_of(SPAN);
    unsigned char *a = take(24);
    unsigned char *b = take(1);
    unsigned char *c = take(33);
    assert_ptr_equal(a, (unsigned char *)(uintptr_t)heap.end - 24);
    assert_ptr_equal(b, a - 16);
    assert_ptr_equal(c, b - 40);
    assert_int_equal(stats().used_bytes, 80);
    assert_int_equal(stats().largest_take_bytes, stats().span_bytes - 80);
    give(b, 1);
    give(a, 24);
    assert_int_equal(stats().free_count, 2);
    give(c, 40); /* the same after rounding */
    expect_empty();
    assert_int_equal(stats().peak_bytes, 80);
}

/* Both kinds beside each other merge, and can be told apart. */
static void bare_blocks_live_beside_others(void **state)
{
    (void)state;
    heap_of(SPAN);
    for (unsigned order = 0; order < 4; order++) {
        unsigned char *a = alloc(100);
        unsigned char *b = take(100);
        unsigned char *c = alloc(100);
        assert_int_equal(heap.headerless_count, 1);
        if (order % 2 != 0)
            give(b, 100);
        if (order / 2 != 0)
            release(a);
        release(c);
        if (order / 2 == 0)
            release(a);
        if (order % 2 == 0)
            give(b, 100);
        expect_empty();
        assert_int_equal(heap.headerless_count, 0);
    }
}

/* A hole of 5 granules serves 5, or 3 and less: 4 would leave one that nothing could
 * use. Unless nothing else is left. */
static void bare_fit_leaves_no_crumbs(void **state)
{
    (void)state;
    heap_of(4096);
    take(16);
    unsigned char *hole = take(40);
    take(16);
    give(hole, 40);
    unsigned char *other = take(32);
    assert_true(other < hole || other >= hole + 40);
    assert_ptr_equal(take(40), hole);
    give(hole, 40);
    assert_ptr_equal(take(24), hole + 16);
    assert_ptr_equal(take(16), hole);
    give(hole, 16);
    give(hole + 16, 24);
    take(stats().largest_take_bytes);
    assert_ptr_equal(take(32), hole + 8); /* the last room there is */
    give(hole + 8, 32);
    assert_int_equal(stats().largest_take_bytes, 40);
    assert_ptr_equal(take(24), hole + 16);
    assert_int_equal(stats().largest_take_bytes, 16);
}

/* A single granule that was left comes back with its neighbours. */
static void bare_crumbs_are_merged(void **state)
{
    (void)state;
    for (unsigned below = 0; below < 2; below++) {
        heap_of(1024);
        unsigned char *a = take(32);
        unsigned char *b = take(40);
        take(stats().largest_take_bytes);
        give(b, 40);
        b = take(32);
        assert_int_equal(stats().free_count, 1);
        assert_int_equal(stats().largest_take_bytes, 0);
        assert_null(loam_freelist_take(&heap, 0, 1));
        if (below != 0)
            give(a, 32);
        give(b, 32);
        if (below == 0)
            give(a, 32);
        assert_int_equal(stats().largest_take_bytes, 72);
    }
}

/* ---- resize -------------------------------------------------------------- */

static void bare_H06_resize_in_place(void **state)
{
    (void)state;
    for (unsigned quick = 0; quick < 2; quick++) {
        heap_of(quick != 0 ? SPAN_QUICK : SPAN);
        unsigned char *next = take(2000);
        unsigned char *block = resize(NULL, 7, 100); /* as take */
        assert_non_null(block);
        pattern_write(block, 100, 1);
        assert_ptr_equal(resize(block, 100, 104), block); /* its own rounding */
        assert_ptr_equal(resize(block, 104, 50), block);
        assert_int_equal(stats().used_bytes, 2000 + 56);
        assert_int_equal(stats().waiting_count, quick);
        assert_ptr_equal(resize(block, 56, 49), block);
        give(next, 2000);
        loam_freelist_settle(&heap);
        assert_ptr_equal(resize(block, 49, 1000), block);
        assert_int_equal(stats().used_bytes, 1000);
        assert_ptr_equal(resize(block, 1000, 2056), block); /* all that is behind */
        pattern_check(block, 49, 1);
        assert_ptr_equal(resize(block, 2056, 0), block);
        give(block, 0);
        expect_empty();
    }
}

static void bare_H06_H08_resize_moves_the_contents(void **state)
{
    (void)state;
    heap_of(SPAN);
    take(16);
    unsigned char *block = take(100);
    pattern_write(block, 100, 3);
    unsigned char *moved = resize(block, 100, 1000);
    assert_non_null(moved);
    assert_ptr_not_equal(moved, block);
    pattern_check(moved, 100, 3);
    assert_int_equal(stats().used_count, 2);
    assert_int_equal(heap.headerless_count, 2);
    assert_ptr_equal(take(100), block); /* the old place is free */

    /* A greater alignment moves it, too, even to make it smaller. */
    const struct loam_resize request = { 1000, 50, 8192 };
    unsigned char *aligned = loam_freelist_resize(&heap, moved, &request);
    assert_non_null(aligned);
    assert_int_equal((uintptr_t)aligned % 8192, 0);
    pattern_check(aligned, 50, 3);
    assert_null(loam_freelist_audit(&heap));
}

static void bare_H06_failed_resize_keeps_the_block(void **state)
{
    const struct loam_resize aligned = { 800, 10, 1u << 20 };

    (void)state;
    heap_of(2048);
    take(16);
    unsigned char *block = take(800);
    take(500);
    pattern_write(block, 800, 5);
    const uint64_t digest = loam_freelist_digest(&heap);
    assert_null(resize(block, 800, 900));
    assert_null(resize(block, 800, 2048));
    assert_null(resize(block, 800, SIZE_MAX));
    assert_null(loam_freelist_resize(&heap, block, &aligned));
    assert_int_equal(loam_freelist_digest(&heap), digest);
    pattern_check(block, 800, 5);
    give(block, 800);
}

/* ---- misuse -------------------------------------------------------------- */

/* give and resize panic, and that has changed nothing. */
static void expect_refused(void *block, size_t size_bytes, const char *rule)
{
    const struct loam_resize larger = { size_bytes, 4000, 8 };
    const struct loam_resize smaller = { size_bytes, 0, 8 };

    heap_remember();
    EXPECT_PANIC(rule, loam_freelist_give(&heap, block, size_bytes));
    assert_int_equal(panic_trap.seen.subject, (uintptr_t)block);
    heap_expect_unchanged();
    EXPECT_PANIC(rule, assert_null(loam_freelist_resize(&heap, block, &larger)));
    assert_int_equal(panic_trap.seen.subject, (uintptr_t)block);
    heap_expect_unchanged();
    if (size_bytes <= 16 || strcmp(rule, WRONG_SIZE) == 0)
        return; /* there is nothing to shrink, or it shows only in what stays */
    EXPECT_PANIC(rule, assert_null(loam_freelist_resize(&heap, block, &smaller)));
    heap_expect_unchanged();
}

/* The same of others, on their own so that no loop is jumped out of. */
static void expect_no_take(size_t size_bytes, const char *rule)
{
    heap_remember();
    EXPECT_PANIC(rule, assert_null(loam_freelist_take(&heap, size_bytes, 1)));
    heap_expect_unchanged();
}

static void expect_no_give(void *block, size_t size_bytes, const char *rule)
{
    heap_remember();
    EXPECT_PANIC(rule, loam_freelist_give(&heap, block, size_bytes));
    heap_expect_unchanged();
}

static void expect_no_free(void *block)
{
    EXPECT_PANIC(DOUBLE_FREE, loam_freelist_free(&heap, block));
    assert_int_equal(panic_trap.seen.subject, (uintptr_t)block);
}

static void expect_no_realloc(void *block)
{
    EXPECT_PANIC(DOUBLE_FREE, assert_null(loam_freelist_realloc(&heap, block, 1, 16)));
    assert_int_equal(panic_trap.seen.subject, (uintptr_t)block);
}

static void expect_no_settling(const char *rule)
{
    EXPECT_PANIC(rule, loam_freelist_settle(&heap));
}

static int global;

static void bare_H12_wild_pointer_panics(void **state)
{
    _Alignas(16) unsigned char stack[64] = { 0 };

    (void)state;
    heap_of(4096);
    unsigned char *block = take(100);
    const uintptr_t base = (uintptr_t)heap.base;
    const uintptr_t end = (uintptr_t)heap.end;
    void *const wild[] = { (void *)8,   (void *)4096,      (void *)(UINTPTR_MAX - 7),
                           stack,       &global,           (void *)(base - 8),
                           (void *)end, (void *)(end + 8), span,
                           block + 1,   block + 4,         (void *)((uintptr_t)1 << 63) };
    for (size_t i = 0; i < sizeof(wild) / sizeof(wild[0]); i++)
        expect_refused(wild[i], 100, NOT_A_BLOCK);
}

/* Nothing without header lives here. */
static void bare_H13_give_where_none_lives_panics(void **state)
{
    (void)state;
    heap_of(4096);
    unsigned char *block = alloc(500);
    expect_refused(block + 64, 100, NOT_A_BLOCK);
    unsigned char *bare = take(100);
    give(bare, 100);
    expect_refused(block + 64, 100, NOT_A_BLOCK);
}

/* A block with header, given as one without. */
static void bare_H13_give_of_a_block_with_header_panics(void **state)
{
    (void)state;
    heap_of(4096);
    take(16);
    unsigned char *block = alloc(100);
    take(16);
    expect_refused(block, 100, HAS_HEADER);
    assert_int_equal(panic_trap.seen.detail, 100);
    expect_refused(block, 32, HAS_HEADER);
}

/* Waiting or merged, and the very next thing or after others; its start or inside. */
static void bare_H10_double_give_panics(void **state)
{
    (void)state;
    for (unsigned quick = 0; quick < 2; quick++) {
        unsigned char *block[20];
        heap_of(quick != 0 ? SPAN_QUICK : SPAN);
        take(16);
        for (size_t i = 0; i < 20; i++)
            block[i] = take(16 * i + 16);
        for (size_t i = 0; i < 20; i++) {
            const size_t next = i * 7 % 20;
            give(block[next], 16 * next + 16);
            for (size_t j = 0; j <= i; j++) {
                expect_refused(block[j * 7 % 20], 16 * (j * 7 % 20) + 16, DOUBLE_FREE);
                expect_refused(block[j * 7 % 20], 16, DOUBLE_FREE);
            }
        }
        loam_freelist_settle(&heap);
        for (size_t j = 0; j < 20; j++) {
            expect_refused(block[j], 16 * j + 16, DOUBLE_FREE);
            expect_refused(block[j] + 8, 16, DOUBLE_FREE);
        }
    }
}

/* Its memory was used by another block, and is free again. */
static void bare_H10_give_of_an_old_place_panics(void **state)
{
    (void)state;
    for (unsigned quick = 0; quick < 2; quick++) {
        heap_of(quick != 0 ? SPAN_QUICK : SPAN);
        take(16);
        unsigned char *a = take(2000);
        give(a, 2000);
        unsigned char *other = take(4000);
        memset(other, 0xa5, 4000);
        give(other, 4000);
        expect_refused(a, 2000, DOUBLE_FREE);
        expect_refused(a, 100, DOUBLE_FREE);
        expect_refused(other + 1000, 100, DOUBLE_FREE);
    }
}

/* Into the free memory behind, across it, or beyond the span. */
static void bare_H14_wrong_size_panics(void **state)
{
    (void)state;
    for (unsigned quick = 0; quick < 2; quick++) {
        heap_of(quick != 0 ? SPAN_QUICK : SPAN);
        unsigned char *last = take(64);
        unsigned char *hole = take(2048);
        unsigned char *block = take(100);
        give(hole, 2048);
        expect_refused(block, 112, WRONG_SIZE);
        assert_int_equal(panic_trap.seen.detail, (uintptr_t)hole);
        expect_refused(block, 1000, WRONG_SIZE);
        expect_refused(block, 2100, WRONG_SIZE);
        expect_refused(block, 2048 + 104 + 64, WRONG_SIZE);
        expect_refused(block, 2048 + 104 + 65, WRONG_SIZE);
        expect_refused(last, 72, WRONG_SIZE);
        for (size_t k = 0; k < 64; k++)
            expect_refused(block, LOAM_SIZE_UNKNOWN - k, WRONG_SIZE);
        expect_refused(last, (size_t)1 << 63, WRONG_SIZE);
        expect_refused(last + 56, 8, WRONG_SIZE); /* a block has 16 */
        give(block, 97);
    }
}

/* A size that reaches into a block that waits is found when one of them is merged,
 * before a granule is free twice. */
static void bare_H14_wrong_size_into_what_waits_panics_later(void **state)
{
    (void)state;
    for (unsigned small_first = 0; small_first < 2; small_first++) {
        const size_t size_bytes = small_first != 0 ? 64 : 512; /* small ones are merged first */
        heap_of(SPAN_QUICK);
        take(16);
        unsigned char *behind = take(size_bytes);
        unsigned char *block = take(128);
        take(16);
        loam_freelist_give(&heap, behind, size_bytes);
        loam_freelist_give(&heap, block, 136);
        assert_string_equal(loam_freelist_audit(&heap),
                            "freelist: waiting block overlaps free memory");
        expect_no_settling(small_first != 0 ? WRONG_SIZE : DOUBLE_FREE);
        assert_int_equal(panic_trap.seen.subject, (uintptr_t)(small_first != 0 ? block : behind));
    }
}

/* A block in use that a wrong size took away is missed by its owner, if nobody else
 * has it yet. */
static void bare_H14_what_a_wrong_size_freed_is_missed(void **state)
{
    (void)state;
    for (unsigned with_header = 0; with_header < 2; with_header++) {
        heap_of(SPAN);
        take(16);
        unsigned char *robbed = with_header != 0 ? alloc(496) : take(512);
        unsigned char *block = take(128);
        take(16);
        loam_freelist_give(&heap, block, 640);
        if (with_header == 0) {
            expect_refused(robbed, 512, DOUBLE_FREE);
            continue;
        }
        heap_remember();
        expect_no_free(robbed);
        expect_no_realloc(robbed);
        heap_expect_unchanged();
    }
}

/* What looks like a mark, but is only data, is no reason to panic: the marks of a
 * block that waits and of a free one, kept and written back. */
static void bare_data_like_a_mark_is_no_mark(void **state)
{
    (void)state;
    for (unsigned quick = 0; quick < 2; quick++) {
        uint64_t word;
        heap_of(quick != 0 ? SPAN_QUICK : SPAN);
        take(16);
        unsigned char *block = take(64);
        take(16);
        give(block, 64);
        memcpy(&word, block, 8);
        assert_ptr_equal(take(64), block);
        memcpy(block, &word, 8);
        give(block, 64);
        assert_int_equal(stats().used_count, 2);
    }
}

/* ---- damage -------------------------------------------------------------- */

/* Any bit of the first word of a block that waits: written after it was given. */
static void bare_H18_write_to_a_waiting_block_panics(void **state)
{
    (void)state;
    for (size_t bit = 0; bit < 64; bit++) {
        heap_of(SPAN_QUICK);
        take(16);
        unsigned char *a = take(64);
        unsigned char *b = take(64);
        give(a, 64);
        give(b, 64);
        b[bit / 8] ^= (unsigned char)(1u << bit % 8);
        assert_string_equal(loam_freelist_audit(&heap), "freelist: waiting block is damaged");
        expect_no_take(64, FREE_DAMAGE);
        assert_int_equal(panic_trap.seen.subject, (uintptr_t)b);
        expect_no_settling(FREE_DAMAGE);
        assert_int_equal(panic_trap.seen.subject, (uintptr_t)b);
        heap_expect_unchanged();
    }
}

/* Any bit of the first 16 bytes of a free block, when its neighbour is given. */
static void bare_H16_H18_write_to_a_free_block_panics(void **state)
{
    (void)state;
    for (size_t bit = 0; bit < 128; bit++) {
        heap_of(SPAN);
        take(16);
        unsigned char *freed = take(64);
        unsigned char *block = take(128);
        give(freed, 64);
        freed[bit / 8] ^= (unsigned char)(1u << bit % 8); /* or: block overflowed */
        assert_string_equal(loam_freelist_audit(&heap), FREE_DAMAGE);
        expect_no_give(block, 128, FREE_DAMAGE);
        assert_int_equal(panic_trap.seen.subject, (uintptr_t)freed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bare_blocks_cost_nothing),
        cmocka_unit_test(bare_blocks_live_beside_others),
        cmocka_unit_test(bare_fit_leaves_no_crumbs),
        cmocka_unit_test(bare_crumbs_are_merged),
        cmocka_unit_test(bare_H06_resize_in_place),
        cmocka_unit_test(bare_H06_H08_resize_moves_the_contents),
        cmocka_unit_test(bare_H06_failed_resize_keeps_the_block),
        cmocka_unit_test(bare_H12_wild_pointer_panics),
        cmocka_unit_test(bare_H13_give_where_none_lives_panics),
        cmocka_unit_test(bare_H13_give_of_a_block_with_header_panics),
        cmocka_unit_test(bare_H10_double_give_panics),
        cmocka_unit_test(bare_H10_give_of_an_old_place_panics),
        cmocka_unit_test(bare_H14_wrong_size_panics),
        cmocka_unit_test(bare_H14_wrong_size_into_what_waits_panics_later),
        cmocka_unit_test(bare_H14_what_a_wrong_size_freed_is_missed),
        cmocka_unit_test(bare_data_like_a_mark_is_no_mark),
        cmocka_unit_test(bare_H18_write_to_a_waiting_block_panics),
        cmocka_unit_test(bare_H16_H18_write_to_a_free_block_panics),
    };
    return RUN_TESTS(tests);
}
