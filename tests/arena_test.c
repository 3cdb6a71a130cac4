/*
 * arena_test.c - the binned heap over one span: what blocks cost, where they go
 * and that they come back.
 */
#include "arena_world.h"

/* Sizes around which something changes: the smallest block, the exact bins, the
 * long tags, powers of two. */
static const size_t edges[] = {
    0,     8,     12,    16,    20,    24,     32,     64,     100,    128,     252,   256,   508,
    512,   1000,  1008,  1016,  1020,  1024,   1028,   1536,   2044,   2048,    4092,  4096,  5000,
    8192,  8188,  16380, 16384, 32744, 32752,  32756,  32760,  32764,  32768,   32776, 32780, 40000,
    65524, 65528, 65532, 65536, 98304, 131060, 131072, 262132, 262144, 1000000,
};
#define EDGE_COUNT (sizeof(edges) / sizeof(edges[0]))
#define LARGE_SPAN ((size_t)4 << 20)

/* ---- what blocks cost ---------------------------------------------------- */

/*
 *   n + 4 rounded up to 8, at least 24      | tag 4 | n .............. | padding |
 *   from about 16 KiB on: n + 20            | tag 20 | n ............. | padding |
 */
static void arena_blocks_cost_their_tag_and_rounding(void **state)
{
    (void)state;
    for (size_t i = 0; i < EDGE_COUNT; i++) {
        const size_t from = edges[i] < 9 ? 0 : edges[i] - 9;
        for (size_t size_bytes = from; size_bytes <= edges[i] + 9; size_bytes++) {
            heap_of(LARGE_SPAN);
            unsigned char *block = take(size_bytes);
            assert_int_equal(stats().used_bytes, cost_of(size_bytes));
            assert_int_equal(loam_arena_usable(heap, block), size_bytes);
            memset(block, 0xff, size_bytes);
            loam_arena_free_sized(heap, block, size_bytes);
            assert_null(loam_arena_audit(heap));
        }
    }
}

/* A rest too small for a block stays with the one before it; what may be used is
 * still what was asked for. Holes of 24 to 400 bytes, each asked for less. */
static void arena_H35_usable_is_exact_whatever_is_left_over(void **state)
{
    (void)state;
    for (size_t hole = 20; hole < 400; hole += 8) {
        for (size_t size_bytes = hole < 60 ? 0 : hole - 40; size_bytes <= hole; size_bytes++) {
            heap_of(4096);
            unsigned char *place = take(hole);
            take(1);
            give(place);
            take_the_rest(); /* merged, and nothing else is free but the hole */
            give(place);
            loam_arena_merge(heap);
            unsigned char *block = take(size_bytes);
            assert_ptr_equal(block, place);
            assert_int_equal(loam_arena_usable(heap, block), size_bytes);
            memset(block, 0x5a, size_bytes);
            loam_arena_free_sized(heap, block, size_bytes);
            assert_null(loam_arena_audit(heap));
            loam_arena_merge(heap);
            assert_int_equal(stats().largest_free_bytes, hole);
        }
    }
}

static void arena_H01_size_0_is_a_distinct_block(void **state)
{
    (void)state;
    heap_of(SPAN);
    unsigned char *a = take(0);
    unsigned char *b = take(0);
    assert_ptr_not_equal(a, b);
    assert_int_equal(loam_arena_usable(heap, a), 0);
    assert_int_equal(stats().used_count, 2);
    loam_arena_free_sized(heap, a, 0);
    give(b);
    expect_empty();
}

static void arena_H02_H04_huge_sizes_are_refused(void **state)
{
    (void)state;
    heap_of(SPAN);
    unsigned char *block = take(10);
    loam_arena_merge(heap);
    const uint64_t digest = loam_arena_digest(heap);
    for (size_t k = 0; k <= 4096; k++) {
        assert_null(loam_arena_alloc(heap, SIZE_MAX - k, 1));
        assert_null(loam_arena_alloc(heap, SIZE_MAX - k, 4096));
        assert_null(loam_arena_alloc(heap, ((size_t)1 << 63) - 2048 + k, 16));
        assert_null(loam_arena_realloc(heap, block, SIZE_MAX - k, 1));
        assert_null(loam_arena_realloc(heap, block, ((size_t)1 << 63) - 2048 + k, 64));
        assert_int_equal(loam_arena_digest(heap), digest);
    }
    for (unsigned shift = 16; shift < 64; shift++) { /* every bin, and beyond */
        expect_no_alloc((size_t)1 << shift, 1);
        expect_no_alloc(((size_t)1 << shift) + ((size_t)1 << shift) / 2, 8);
        expect_no_alloc(16, (size_t)1 << shift << (shift < 20 ? 9 : 0));
    }
    expect_no_alloc(SPAN, 1);
    assert_int_equal(loam_arena_digest(heap), digest);
}

/* The largest size that the statistics promise is served, one more is not. */
static void arena_serves_exactly_the_largest(void **state)
{
    (void)state;
    for (size_t size_bytes = 512; size_bytes < 600; size_bytes++) {
        heap_of(size_bytes);
        const size_t largest = stats().largest_free_bytes;
        assert_true(largest > size_bytes / 2);
        expect_no_alloc(largest + 1, 1);
        expect_no_alloc(largest, 512);
        unsigned char *block = take(largest);
        assert_int_equal(stats().largest_free_bytes, 0);
        assert_int_equal(stats().free_count, 0);
        expect_no_alloc(0, 1);
        memset(block, 0, largest);
        give(block);
        assert_int_equal(stats().largest_free_bytes, largest);
    }
    for (size_t i = 0; i < EDGE_COUNT; i++) {
        heap_of(LARGE_SPAN);
        const size_t largest = stats().largest_free_bytes;
        give(take_aligned(largest - edges[i], 1));
        take(edges[i]);
        const size_t rest = stats().largest_free_bytes;
        assert_true(rest < largest && largest - rest <= cost_of(edges[i]) + BIG_TAG);
        expect_no_alloc(rest + 1, 1);
        take(rest);
    }
}

/*
 *   | a 2000 | x | b 2040 | x | c 2080 |     free, in one bin: whichever was freed
 *                                            last, a request finds the one it fits
 */
static void arena_finds_the_one_block_of_a_bin_that_fits(void **state)
{
    static const unsigned orders[6][3] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 },
                                           { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };

    (void)state;
    for (size_t i = 0; i < 6; i++) {
        for (size_t wanted = 1900; wanted < 2084; wanted++) {
            heap_of(SPAN);
            unsigned char *block[3];
            for (size_t j = 0; j < 3; j++) {
                block[j] = take(2004 + 40 * j);
                take(1);
            }
            take_the_rest();
            for (size_t j = 0; j < 3; j++)
                give(block[orders[i][j]]);
            assert_int_equal(stats().largest_free_bytes, 2084);
            give(take(wanted));
            give(take(2084));
        }
    }
}

/*
 * One block fits, freed before or after others of about the size that do not. If they
 * are 60, it is found though it fits exactly; if they are 300, it is found if it is
 * larger by an eighth.
 */
static void arena_finds_the_one_block_of_hundreds_that_fits(void **state)
{
    static unsigned char *block[300];

    (void)state;
    for (size_t nth = 0; nth < 12 * 4; nth++) {
        const size_t size_bytes = 1932 + nth / 4 * 1703;
        const size_t count = nth % 2 == 0 ? 60 : 300;
        const size_t place = nth / 2 % 2 == 0 ? 0 : count - 1;
        const size_t fitting = size_bytes + (count == 60 ? 0 : size_bytes / 8 + 16);
        heap_of(8 * LARGE_SPAN);
        for (size_t i = 0; i < count; i++) {
            block[i] = take(i == place ? fitting : size_bytes - 8);
            take(1);
        }
        take_the_rest();
        for (size_t i = 0; i < count; i++)
            give(block[i]);
        assert_true(stats().largest_free_bytes >= fitting);
        const unsigned char *found = take(size_bytes);
        assert_ptr_equal(found - tag_of(size_bytes), block[place] - tag_of(fitting));
        assert_null(loam_arena_alloc(heap, size_bytes, 8));
    }
}

/* ---- alignment ----------------------------------------------------------- */

static void arena_H05_bad_alignment_is_refused(void **state)
{
    static const size_t bad[] = {
        0,  3,        24,           (size_t)1 << 63, ((size_t)1 << 63) + 1,
        17, 1u << 30, SIZE_MAX - 1, SIZE_MAX,        ((size_t)1 << 63) - 1
    };

    (void)state;
    heap_of(SPAN);
    unsigned char *block = take(100);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        expect_no_alloc(1, bad[i]);
        const uint64_t digest = loam_arena_digest(heap);
        assert_null(loam_arena_realloc(heap, block, 100, bad[i]));
        assert_null(loam_arena_realloc(heap, block, 50, bad[i]));
        assert_null(loam_arena_realloc(heap, NULL, 50, bad[i]));
        assert_int_equal(loam_arena_digest(heap), digest);
    }
    give(block);
    expect_empty();
}

/*
 *   align 1024   | free gap ...... | block | free      |
 *
 * The gap before an aligned block is a free block, usable at once. No alignment
 * costs anything but tag and rounding.
 */
static void arena_H05_alignment_wastes_nothing(void **state)
{
    static const size_t sizes[] = { 0, 1, 17, 20, 24, 100, 1019, 1021, 5000, 32760, 40000, 70000 };

    (void)state;
    for (size_t align = 1; align <= 64 * KIB; align *= 2) {
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            heap_of(1024 * KIB);
            take(i);
            loam_arena_merge(heap);
            const struct loam_arena_stats before = stats();
            unsigned char *block = take_aligned(sizes[i], align);
            const size_t cost = stats().used_bytes - before.used_bytes;
            const size_t least = cost_of_aligned(sizes[i], align);
            assert_true(cost >= least && cost < least + 24);
            assert_int_equal(stats().free_bytes, before.free_bytes - cost);
            assert_int_equal(loam_arena_usable(heap, block), sizes[i]);
            if (align >= 1024)
                assert_true(take(16) < block);
            give(block);
            loam_arena_merge(heap);
            block = take_aligned(sizes[i], align);
            loam_arena_free_sized(heap, block, sizes[i]);
            loam_arena_merge(heap);
            assert_true(before.largest_free_bytes - stats().largest_free_bytes <= 24);
        }
    }
}

/*
 *   | used | free 24 | aligned block | used |      no byte to spare: the gap is just a
 *                                                 block, or the place just aligned
 */
static void arena_H05_aligned_request_finds_the_exact_place(void **state)
{
    (void)state;
    for (size_t gap = 0; gap < 64; gap += 8) {
        for (size_t size_bytes = 100; size_bytes < 5000; size_bytes = size_bytes * 2 + 4) {
            const size_t align = gap == 0 ? 4096 : 64;
            heap_of(SPAN);
            unsigned char *low = take(300);
            unsigned char *place = take_aligned(size_bytes + 400, align);
            give(place);
            give(low);
            loam_arena_merge(heap);
            take((size_t)(place - low) - gap - 4);
            unsigned char *hole = take(gap + cost_of_aligned(size_bytes, align) - 4);
            take_the_rest();
            assert_ptr_equal(hole, place - gap);
            give(hole);
            loam_arena_merge(heap);
            unsigned char *block = loam_arena_alloc(heap, size_bytes, align);
            if (gap == 0 || gap >= 24)
                assert_ptr_equal(block, place);
            else
                assert_null(block);
            assert_null(loam_arena_audit(heap));
        }
    }
}

/* A hole that is aligned by itself serves, though one that is not would have to be
 * larger by the alignment. */
static void arena_H05_aligned_hole_of_another_bin_is_found(void **state)
{
    (void)state;
    for (size_t more = 0; more < 3000; more += 200) {
        heap_of(4 * SPAN);
        unsigned char *hole = take_aligned(2000 + more, 4096);
        take_the_rest();
        give(hole);
        loam_arena_merge(heap);
        assert_ptr_equal(take_aligned(2000, 4096), hole);
    }
}

/*
 *   tag | block .............. | tag | block .............. |
 *       ^ aligned                    ^ aligned
 *
 * Blocks whose size and tag fill their alignment lie back to back.
 */
static void arena_aligned_blocks_are_dense(void **state)
{
    (void)state;
    for (size_t align = 32; align <= 16384; align *= 2) {
        const size_t tag = align - 4 <= BIG_FROM ? 4 : BIG_TAG;
        heap_of(1024 * KIB);
        size_t count = 0;
        unsigned char *last = NULL;
        unsigned char *block;
        while ((block = loam_arena_alloc(heap, align - tag, align)) != NULL) {
            assert_int_equal((uintptr_t)block % align, 0);
            if (last != NULL)
                assert_ptr_equal(block, last + align);
            last = block;
            count++;
        }
        assert_true(count >= 1024 * KIB / align - 1 - 64 / align);
        assert_null(loam_arena_audit(heap));
    }
}

/* ---- walk and statistics ------------------------------------------------- */

/* What the walk shows agrees with the statistics and leaves no gap. */
static void expect_walk(size_t used_count)
{
    const struct loam_arena_stats waiting = walk_all();
    const struct loam_arena_stats now = stats();
    const struct loam_arena_stats merged = walk_all();

    assert_int_equal(waiting.used_count, used_count);
    assert_int_equal(now.used_count, used_count);
    assert_int_equal(waiting.used_bytes, now.used_bytes);
    assert_int_equal(waiting.free_bytes, now.free_bytes);
    assert_int_equal(waiting.deferred_count, now.deferred_count);
    assert_int_equal(merged.free_count, now.free_count);
    assert_int_equal(merged.free_bytes, now.free_bytes);
    assert_int_equal(merged.deferred_count, 0);
    assert_int_equal(merged.used_bytes, now.used_bytes);
    assert_true(now.used_bytes + now.free_bytes <= now.span_bytes);
    assert_true(now.span_bytes - now.used_bytes - now.free_bytes <= 128 * now.span_count);
}

/* Leaks: what is in use when nothing should be. */
static void arena_walk_lists_leaks(void **state)
{
    struct loam_arena_block leak = { { 0 }, 0, 0, LOAM_ARENA_USED };
    size_t found = 0;

    (void)state;
    heap_of(LARGE_SPAN);
    unsigned char *block[10];
    for (size_t i = 0; i < 10; i++)
        block[i] = take(i * i * i * 70); /* 0 to 51030 */
    expect_walk(10);
    for (size_t i = 0; i < 10; i++) {
        if (i % 3 != 0)
            give(block[i]);
    }
    expect_walk(4);
    while (loam_arena_next(heap, &leak)) {
        if (leak.state != LOAM_ARENA_USED)
            continue;
        assert_int_equal(leak.start.addr, (uintptr_t)block[found * 3]);
        assert_int_equal(leak.size_bytes, found * found * found * 27 * 70);
        found++;
    }
    assert_int_equal(found, 4);
    const struct loam_arena_block last = leak;
    assert_false(loam_arena_next(heap, &leak)); /* still the last */
    assert_memory_equal(&leak, &last, sizeof(leak));
}

static void arena_peak_is_the_most_ever_used(void **state)
{
    (void)state;
    heap_of(SPAN);
    unsigned char *a = take(1000);
    unsigned char *b = take(5000);
    const size_t both = cost_of(1000) + cost_of(5000);
    assert_int_equal(stats().peak_bytes, both);
    give(b);
    assert_int_equal(stats().used_bytes, cost_of(1000));
    assert_int_equal(stats().peak_bytes, both);
    take(4000);
    assert_int_equal(stats().peak_bytes, both);
    assert_non_null(loam_arena_realloc(heap, a, 3000, 1));
    assert_int_equal(stats().used_count, 2);
    assert_true(stats().peak_bytes >= cost_of(3000) + cost_of(4000));
    assert_true(stats().peak_bytes <= cost_of(3000) + cost_of(4000) + cost_of(1000));
    expect_walk(2);
}

/* Free blocks show what they could hold: a request for that much is served there. */
static void arena_free_blocks_hold_what_the_walk_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < EDGE_COUNT; i++) {
        for (size_t extra = 0; extra < 8; extra++) {
            heap_of(LARGE_SPAN);
            unsigned char *hole = take(edges[i] + extra);
            take(1);
            take_the_rest();
            give(hole);
            loam_arena_merge(heap);
            struct loam_arena_block block = { { 0 }, 0, 0, LOAM_ARENA_USED };
            while (loam_arena_next(heap, &block) && block.state == LOAM_ARENA_USED)
                assert_int_not_equal(block.size_bytes, SIZE_MAX);
            assert_int_equal(block.state, LOAM_ARENA_FREE);
            const size_t cost = cost_of(edges[i] + extra);
            if (cost <= BIG_FROM) /* a larger one is named by its first bytes */
                assert_int_equal(block.start.addr, (uintptr_t)hole);
            assert_int_equal(block.footprint_bytes, cost);
            assert_int_equal(block.size_bytes, stats().largest_free_bytes);
            expect_no_alloc(block.size_bytes + 1, 1);
            assert_int_equal(take(block.size_bytes) - hole, 0);
        }
    }
}

/* ---- exhaustion ---------------------------------------------------------- */

/* A 4 MiB span, filled until nothing fits, freed in scattered order. */
static void arena_4_MiB_are_used_up_and_come_back(void **state)
{
    static unsigned char *block[LARGE_SPAN / 256];
    size_t count = 0;

    (void)state;
    heap_of(LARGE_SPAN);
    while ((block[count] = loam_arena_alloc(heap, 252, 8)) != NULL)
        count++;
    assert_true(count >= LARGE_SPAN / 256 - 1);
    assert_null(loam_arena_audit(heap));
    assert_true(stats().largest_free_bytes < 252);
    for (size_t i = 0; i < count; i++) { /* 7 and count have no common factor */
        assert_int_not_equal(count % 7, 0);
        loam_arena_free_sized(heap, block[i * 7 % count], 252);
    }
    expect_empty();
    assert_int_equal(stats().peak_bytes, count * 256);
}

/* 48 GiB, of which hardly a page is touched: sizes beyond the last bin. */
static void arena_spans_beyond_the_last_bin_work(void **state)
{
    const size_t gib = (size_t)1 << 30;

    (void)state;
    heap_without_spans();
    unsigned char *const huge = map_at(0x300000000000, 48 * gib);
    assert_int_equal(loam_arena_claim(heap, huge, 48 * gib), LOAM_OK);
    const size_t largest = stats().largest_free_bytes;
    expect_no_alloc(largest + 1, 1);
    give(take(largest));
    for (size_t size_bytes = 16; size_bytes < 48 * gib; size_bytes = size_bytes * 3 / 2) {
        unsigned char *low = take(size_bytes);
        assert_int_equal(loam_arena_usable(heap, low), size_bytes);
        expect_no_alloc(largest - size_bytes + 16, 1);
        unsigned char *high = take(largest - size_bytes - 32);
        loam_arena_free_sized(heap, low, size_bytes);
        expect_walk(1);
        loam_arena_free_sized(heap, high, largest - size_bytes - 32);
        expect_empty();
        assert_int_equal(stats().largest_free_bytes, largest);
    }
    unsigned char *block = take_aligned(gib, 32 * gib);
    assert_ptr_equal(loam_arena_realloc(heap, block, 2 * gib, 1), block);
    loam_arena_free_sized(heap, block, 2 * gib);
    expect_empty();
    assert_int_equal(loam_arena_release(heap, huge), LOAM_OK);
    assert_int_equal(munmap(huge, 48 * gib), 0);
}

static void arena_each_failure_changes_nothing(void **state)
{
    unsigned refused = 0;

    (void)state;
    INJECT_EACH_POINT
    {
        heap_of(SPAN);
        unsigned char *block = take(100);
        take(1);
        pattern_write(block, 100, 9);
        const uint64_t digest = loam_arena_digest(heap);
        INJECT_ARM();
        void *moved = loam_arena_realloc(heap, block, 1000, 8);
        void *other = loam_arena_alloc(heap, 10, 64);
        const enum loam_status claimed = loam_arena_claim(heap, lend(SPAN, 4096), 4096);
        INJECT_DISARM();
        assert_null(loam_arena_audit(heap));
        if (moved == NULL) {
            assert_true(inject_fired());
            pattern_check(block, 100, 9);
            refused++;
        }
        if (moved == NULL && other == NULL && claimed != LOAM_OK)
            assert_int_equal(loam_arena_digest(heap), digest);
        assert_int_equal(stats().used_count, other == NULL ? 2 : 3);
        assert_int_equal(stats().span_count, claimed == LOAM_OK ? 2 : 1);
    }
    assert_true(refused >= 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_blocks_cost_their_tag_and_rounding),
        cmocka_unit_test(arena_H35_usable_is_exact_whatever_is_left_over),
        cmocka_unit_test(arena_H01_size_0_is_a_distinct_block),
        cmocka_unit_test(arena_H02_H04_huge_sizes_are_refused),
        cmocka_unit_test(arena_serves_exactly_the_largest),
        cmocka_unit_test(arena_finds_the_one_block_of_a_bin_that_fits),
        cmocka_unit_test(arena_finds_the_one_block_of_hundreds_that_fits),
        cmocka_unit_test(arena_H05_bad_alignment_is_refused),
        cmocka_unit_test(arena_H05_alignment_wastes_nothing),
        cmocka_unit_test(arena_H05_aligned_request_finds_the_exact_place),
        cmocka_unit_test(arena_H05_aligned_hole_of_another_bin_is_found),
        cmocka_unit_test(arena_aligned_blocks_are_dense),
        cmocka_unit_test(arena_walk_lists_leaks),
        cmocka_unit_test(arena_peak_is_the_most_ever_used),
        cmocka_unit_test(arena_free_blocks_hold_what_the_walk_says),
        cmocka_unit_test(arena_4_MiB_are_used_up_and_come_back),
        cmocka_unit_test(arena_spans_beyond_the_last_bin_work),
        cmocka_unit_test(arena_each_failure_changes_nothing),
    };
    return RUN_TESTS(tests);
}
