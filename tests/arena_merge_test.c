/*
 * arena_merge_test.c - freed blocks come together again: at once, or after they have
 * waited to be given out as they are.
 */
#include "arena_world.h"

#define LARGE_SPAN ((size_t)4 << 20)

static const size_t small_sizes[] = { 0,    20,   21,   44,   100,  252,  508,  1000,  1020,
                                      1021, 1024, 1500, 2044, 4092, 5000, 8192, 12000, 16000 };
#define SIZE_COUNT (sizeof(small_sizes) / sizeof(small_sizes[0]))

/* ---- merging ------------------------------------------------------------- */

/* The nth order of four things: 0..23. */
static void order_of(size_t nth, size_t order[4])
{
    size_t left[4] = { 0, 1, 2, 3 };

    for (size_t i = 0; i < 4; i++) {
        const size_t pick = nth % (4 - i);
        nth /= 4 - i;
        order[i] = left[pick];
        memmove(left + pick, left + pick + 1, (3 - pick) * sizeof(left[0]));
    }
}

/*
 *   | a | b | c | d | free              |      freed in any order:
 *   | free                              |
 */
static void arena_free_neighbours_become_one(void **state)
{
    static const size_t sizes[6][4] = {
        { 100, 200, 300, 400 },     { 5000, 2000, 1021, 3000 }, { 40000, 50000, 33000, 90000 },
        { 40000, 10, 33000, 5000 }, { 1019, 1021, 1019, 1021 }, { 20, 20, 20, 20 },
    };

    (void)state;
    for (size_t i = 0; i < 6 * 24; i++) {
        heap_of(LARGE_SPAN);
        const size_t largest = stats().largest_free_bytes;
        unsigned char *block[4];
        size_t order[4];
        size_t cost = 0;
        for (size_t j = 0; j < 4; j++) {
            block[j] = take(sizes[i / 24][j]);
            cost += cost_of(sizes[i / 24][j]);
        }
        assert_int_equal(stats().used_bytes, cost);
        order_of(i % 24, order);
        for (size_t j = 0; j < 4; j++)
            give(block[order[j]]);
        expect_empty();
        assert_int_equal(stats().largest_free_bytes, largest);
        assert_int_equal(stats().peak_bytes, cost);
    }
}

/* The largest blocks are merged at once, others when they must be. */
static void arena_large_blocks_are_merged_at_once(void **state)
{
    (void)state;
    heap_of(2 * SPAN);
    unsigned char *block[3] = { take(17000), take(18000), take(20000) };
    give(block[0]);
    give(block[2]);
    assert_int_equal(heap->deferred_count, 0);
    give(block[1]);
    assert_int_equal(heap->deferred_count, 0);
    assert_int_equal(walk_all().free_count, 1);
}

/* ---- waiting blocks ------------------------------------------------------ */

/* No block waits if none may. */
static void arena_merges_at_once_if_none_may_wait(void **state)
{
    (void)state;
    heap_of(SPAN);
    heap->deferred_max = 0;
    unsigned char *block[3] = { take(20), take(300), take(5000) };
    for (size_t i = 0; i < 3; i++) {
        give(block[(i * 2) % 3]);
        assert_int_equal(heap->deferred_count, 0);
    }
    assert_int_equal(walk_all().free_count, 1);
}

/* The block freed last is given out first, as it is. */
static void arena_waiting_blocks_are_given_out_again(void **state)
{
    (void)state;
    heap_of(SPAN);
    unsigned char *a = take(100);
    unsigned char *b = take(100);
    take(1);
    give(a);
    give(b);
    assert_int_equal(heap->deferred_count, 2);
    assert_ptr_equal(take(97), b); /* the same block, another size */
    assert_int_equal(loam_arena_usable(heap, b), 97);
    assert_ptr_equal(take(100), a);
    assert_int_equal(heap->deferred_count, 0);
    give(b);
    loam_arena_merge(heap);
    assert_int_equal(heap->deferred_count, 0);
    assert_int_equal(stats().free_count, 2);
}

/* The jth of count, first up, down, or first the even ones. */
static size_t scattered(unsigned how, size_t j, size_t count)
{
    const size_t half = (count + 1) / 2;

    if (how == 2)
        return j < half ? j * 2 : (j - half) * 2 + 1;
    return how == 1 ? count - 1 - j : j;
}

/* Fill a span with blocks of one size, free them all, and take all as one: none
 * is out of reach, and never do more wait than allowed. */
static void arena_waiting_blocks_are_never_out_of_reach(void **state)
{
    static unsigned char *block[2 * SPAN / 24];

    (void)state;
    for (size_t i = 0; i < SIZE_COUNT; i++) {
        for (unsigned how = 0; how < 3; how++) {
            heap_of(2 * SPAN);
            if (how == 1)
                heap->deferred_max = 20;
            const size_t largest = stats().largest_free_bytes;
            size_t count = 0;
            while ((block[count] = loam_arena_alloc(heap, small_sizes[i], 1)) != NULL)
                count++;
            assert_int_equal(stats().used_count, count);
            assert_true(heap->span_bytes - heap->used_bytes < cost_of(small_sizes[i]) + 128);
            for (size_t j = 0; j < count; j++) {
                loam_arena_free(heap, block[scattered(how, j, count)]);
                assert_true(heap->deferred_count <= heap->deferred_max);
            }
            assert_null(loam_arena_audit(heap));
            take(largest);
        }
    }
}

/* Blocks of every small size wait; together they are less than half of the span,
 * and a request for the larger half neither misses them nor takes for ever. */
static void arena_waiting_blocks_of_all_sizes_are_merged_for_a_request(void **state)
{
    (void)state;
    heap_of(SPAN);
    const size_t largest = stats().largest_free_bytes;
    unsigned char *block[100];
    for (size_t i = 0; i < 100; i++)
        block[i] = take(i * 10);
    for (size_t i = 0; i < 100; i++)
        give(block[i * 37 % 100]);
    assert_true(heap->deferred_count > 0);
    give(take(largest));
    assert_int_equal(heap->deferred_count, 0);
    expect_empty();
}

/* Blocks below 1 KiB wait while less than half of the memory is in use; from then on
 * they are merged at once, and so are larger ones always. */
static void arena_blocks_wait_while_there_is_plenty(void **state)
{
    (void)state;
    for (size_t used_bytes = 10 * KIB; used_bytes < 56 * KIB; used_bytes += KIB) {
        heap_of(SPAN);
        take(used_bytes);
        unsigned char *small = take(500);
        take(1);
        unsigned char *large = take(1030);
        give(large);
        assert_int_equal(heap->deferred_count, 0);
        give(small);
        if (used_bytes < 30 * KIB)
            assert_int_equal(heap->deferred_count, 1);
        if (used_bytes > 32 * KIB)
            assert_int_equal(heap->deferred_count, 0);
        assert_int_equal(take(500) - small, 0); /* either way it is the place that fits best */
    }
}

/* Blocks that nobody asks for again: a request that none of them serves merges two of
 * them, so that as many are left as are in use, not more. */
static void arena_blocks_of_no_use_do_not_wait(void **state)
{
    (void)state;
    heap_of(16 * SPAN);
    unsigned char *block[300];
    for (size_t i = 0; i < 300; i++)
        block[i] = take(48);
    for (size_t i = 0; i < 300; i++)
        loam_arena_free(heap, block[i]);
    assert_int_equal(heap->deferred_count, 300);
    for (size_t i = 0; i < 300; i++)
        take(100 + i % 2 * 2000);
    assert_int_equal(heap->used_count, 300);
    assert_true(heap->deferred_count <= 300 && heap->deferred_count > 100);
    take_aligned(40, 1024);
    assert_null(loam_arena_audit(heap));
}

/* While it becomes scarce, memory is merged step by step: none waits in the end. */
static void arena_scarce_memory_does_not_wait(void **state)
{
    (void)state;
    heap_of(SPAN);
    unsigned char *block[200];
    for (size_t i = 0; i < 200; i++)
        block[i] = take(28 + i % 40);
    for (size_t i = 0; i < 200; i++)
        loam_arena_free(heap, block[i]);
    assert_int_equal(heap->deferred_count, 200);
    take(SPAN / 2 + 100);
    const unsigned waiting = heap->deferred_count;
    for (size_t i = 0; i < 60; i++)
        take(120);
    assert_true(heap->deferred_count < waiting / 2);
    for (size_t i = 0; i < 60; i++)
        take(120);
    assert_int_equal(heap->deferred_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_free_neighbours_become_one),
        cmocka_unit_test(arena_large_blocks_are_merged_at_once),
        cmocka_unit_test(arena_merges_at_once_if_none_may_wait),
        cmocka_unit_test(arena_waiting_blocks_are_given_out_again),
        cmocka_unit_test(arena_waiting_blocks_are_never_out_of_reach),
        cmocka_unit_test(arena_waiting_blocks_of_all_sizes_are_merged_for_a_request),
        cmocka_unit_test(arena_blocks_wait_while_there_is_plenty),
        cmocka_unit_test(arena_blocks_of_no_use_do_not_wait),
        cmocka_unit_test(arena_scarce_memory_does_not_wait),
    };
    return RUN_TESTS(tests);
}
