/* freelist_waiting_test.c - blocks without header that wait to be merged. */
#include "freelist_world.h"

/* ---- waiting ------------------------------------------------------------- */

/* What was given is what is taken next, by size; nothing is merged meanwhile. */
static void bare_blocks_wait_for_their_size(void **state)
{
    (void)state;
    heap_of(SPAN_QUICK);
    unsigned char *block[4] = { take(40), take(40), take(48), take(1016) };
    const uint64_t digest = loam_freelist_digest(&heap);
    give(block[0], 40);
    give(block[1], 40);
    give(block[2], 48);
    give(block[3], 1016);
    assert_int_equal(stats().waiting_count, 4);
    assert_int_equal(stats().free_count, 1);
    assert_int_equal(stats().used_bytes, 0);
    assert_ptr_equal(take(1016), block[3]);
    assert_ptr_equal(take(33), block[1]);
    assert_ptr_equal(take(40), block[0]);
    assert_ptr_equal(take(41), block[2]);
    assert_int_equal(stats().waiting_count, 0);
    assert_int_equal(loam_freelist_digest(&heap), digest);

    unsigned char *large = take(1024); /* too large to wait */
    give(large, 1024);
    assert_int_equal(stats().waiting_count, 0);
    for (size_t i = 0; i < 4; i++)
        give(block[i], i < 2 ? 40 : i == 2 ? 48 : 1016);
    expect_empty();
}

/* One that waits is given out for an alignment that it happens to have. */
static void bare_waiting_blocks_keep_alignment(void **state)
{
    (void)state;
    heap_of(SPAN_QUICK);
    unsigned char *aligned = loam_freelist_take(&heap, 64, 64);
    give(aligned, 64);
    assert_ptr_equal(loam_freelist_take(&heap, 64, 64), aligned);
    unsigned char *odd = take(64);
    while ((uintptr_t)odd % 64 == 0)
        odd = take(56);
    give(odd, 56);
    unsigned char *other = loam_freelist_take(&heap, 56, 64);
    assert_ptr_not_equal(other, odd);
    assert_int_equal((uintptr_t)other % 64, 0);
    assert_int_equal(stats().waiting_count, 1);
}

/* No more than so many wait, of whatever sizes: for each one more, one is merged. */
static void bare_few_blocks_wait(void **state)
{
    enum { COUNT = 600 };
    static unsigned char *block[COUNT];
    static size_t size_bytes[COUNT];

    (void)state;
    heap_of(SPAN_QUICK);
    for (size_t i = 0; i < COUNT; i++) {
        size_bytes[i] = 16 + test_random_below(300);
        block[i] = loam_freelist_take(&heap, size_bytes[i], 8);
        assert_non_null(block[i]);
    }
    for (size_t i = 0; i < COUNT; i++) {
        loam_freelist_give(&heap, block[i], size_bytes[i]);
        const size_t waiting =
            i + 1 < LOAM_FREELIST_WAITING_MAX ? i + 1 : LOAM_FREELIST_WAITING_MAX;
        assert_int_equal(stats().waiting_count, waiting);
        if (i % 50 == 0)
            assert_null(loam_freelist_audit(&heap));
    }
    assert_null(loam_freelist_audit(&heap));
    expect_empty();
}

/* A request that finds no room has all merged that wait, for both kinds, and for what
 * is to grow in place. */
static void bare_waiting_blocks_are_never_out_of_reach(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 4; kind++) {
        heap_of(SPAN_QUICK);
        unsigned char *piece[200];
        for (size_t i = 0; i < 200; i++)
            piece[i] = take(512);
        unsigned char *grows = kind == 3 ? alloc(512) : take(512);
        take(stats().largest_take_bytes);
        assert_null(loam_freelist_take(&heap, 16, 1));
        for (size_t i = 0; i < 200; i++)
            give(piece[i], 512);
        assert_int_equal(stats().waiting_count, 200);
        const size_t size_bytes = 200 * 512 - (kind == 1 ? OVERHEAD : 0);
        const size_t more = size_bytes + 512;
        if (kind == 0)
            assert_ptr_equal(take(size_bytes), piece[199]);
        else if (kind == 1)
            assert_ptr_equal(alloc(size_bytes), piece[199] + HEADER);
        else if (kind == 2)
            assert_ptr_equal(resize(grows, 512, more), grows);
        else
            assert_ptr_equal(loam_freelist_realloc(&heap, grows, more, 16), grows);
        assert_int_equal(stats().waiting_count, 0);
        assert_null(loam_freelist_audit(&heap));
    }
}

/* Merging what waits is nothing that a caller could observe. */
static void bare_refusal_after_merging_changes_nothing(void **state)
{
    (void)state;
    heap_of(SPAN_QUICK);
    take(16);
    unsigned char *a = take(512);
    unsigned char *b = take(512);
    give(a, 512);
    give(b, 512);
    const uint64_t digest = loam_freelist_digest(&heap);
    assert_null(loam_freelist_take(&heap, stats().span_bytes, 1));
    assert_int_equal(stats().waiting_count, 0);
    assert_int_equal(loam_freelist_digest(&heap), digest);
    assert_null(loam_freelist_audit(&heap));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bare_blocks_wait_for_their_size),
        cmocka_unit_test(bare_waiting_blocks_keep_alignment),
        cmocka_unit_test(bare_few_blocks_wait),
        cmocka_unit_test(bare_waiting_blocks_are_never_out_of_reach),
        cmocka_unit_test(bare_refusal_after_merging_changes_nothing),
    };
    return RUN_TESTS(tests);
}
