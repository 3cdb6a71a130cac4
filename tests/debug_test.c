/*
 * debug_test.c - watching a heap: what a block looks like, the ring, leaks, and
 * that the heap behind it is used as before.
 */
#include "debug_world.h"

/* ---- examples ------------------------------------------------------------ */

/*
 *   | header | red zone | a5 a5 a5 ... | red zone |        after free:
 *   | header | red zone | df df df ... | red zone |
 */
static void alloc_and_free_poison(void **state)
{
    (void)state;
    EACH_HEAP
    {
        watch(world.heap);
        unsigned char *block = take(100);
        assert_true(all_bytes_are(block, 100, LOAM_DEBUG_POISON_NEW));
        memset(block, 0, 100);
        assert_null(loam_debug_audit(&debug));
        give(block);
        assert_true(all_bytes_are(block, 100, LOAM_DEBUG_POISON_FREE));
        assert_null(loam_debug_audit(&debug));
    }
}

/* Zones are at least 16 bytes on either side, not characters, and differ. */
static void red_zones_surround_every_block(void **state)
{
    (void)state;
    watch(WORLD_ARENA);
    for (size_t size_bytes = 0; size_bytes < 40; size_bytes++) {
        const unsigned char *block = take(size_bytes);
        const unsigned char *end = block + size_bytes;
        unsigned same = 0;
        for (int i = 0; i < 16; i++) {
            assert_in_range(block[-1 - i], 0x80, 0x9f);
            assert_in_range(end[i], 0x80, 0x9f);
            same += end[i] == end[0];
        }
        assert_true(same < 8);
    }
}

static void alloc_H05_aligns(void **state)
{
    (void)state;
    EACH_HEAP
    {
        watch(world.heap);
        for (size_t align = 1; align <= 16384; align *= 2) {
            for (size_t size_bytes = 0; size_bytes < 50; size_bytes += 7) {
                unsigned char *block = loam_debug_alloc(&debug, size_bytes, align, SITE(1));
                assert_non_null(block);
                assert_int_equal((uintptr_t)block % align, 0);
                assert_int_equal(loam_debug_usable(&debug, block), size_bytes);
                memset(block, 0, size_bytes);
                assert_null(loam_debug_audit(&debug));
                loam_debug_free_sized(&debug, block, size_bytes, SITE(2));
            }
            loam_debug_flush(&debug);
            assert_int_equal(world_stats().used_count, 0);
        }
    }
}

static void alloc_H01_size_0_is_a_distinct_block(void **state)
{
    (void)state;
    watch(WORLD_BUMP);
    unsigned char *a = take(0);
    unsigned char *b = take(0);
    assert_ptr_not_equal(a, b);
    assert_int_equal(debug_stats().used_count, 2);
    assert_int_equal(debug_stats().used_bytes, 0);
    loam_debug_free_sized(&debug, a, 0, SITE(2));
    give(b);
    assert_int_equal(debug_stats().used_count, 0);
}

static void alloc_H02_H04_H05_refuses_what_it_cannot(void **state)
{
    static const size_t bad[] = { 0, 3, 24, SIZE_MAX, ((size_t)1 << 63) + 1 };

    (void)state;
    EACH_HEAP
    {
        watch(world.heap);
        unsigned char *block = take(10);
        const uint64_t before = loam_debug_digest(&debug);
        for (size_t k = 0; k <= 512; k++) {
            const struct loam_resize resize = { 10, SIZE_MAX - k, 8 };
            assert_null(loam_debug_alloc(&debug, SIZE_MAX - k, 1, SITE(1)));
            assert_null(loam_debug_alloc(&debug, SIZE_MAX / 2 - 256 + k, 1, SITE(1)));
            assert_null(loam_debug_alloc(&debug, ((size_t)1 << 63) - k, (size_t)1 << 63, SITE(1)));
            assert_null(loam_debug_realloc(&debug, block, &resize, SITE(1)));
        }
        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
            const struct loam_resize resize = { 10, 5, bad[i] };
            assert_null(loam_debug_alloc(&debug, 1, bad[i], SITE(1)));
            assert_null(loam_debug_realloc(&debug, block, &resize, SITE(1)));
        }
        assert_null(loam_debug_alloc(&debug, 1, (size_t)1 << 63, SITE(1)));
        assert_null(loam_debug_alloc(&debug, WORLD_BYTES, 1, SITE(1)));
        assert_int_equal(loam_debug_digest(&debug), before);
        assert_null(loam_debug_audit(&debug));
    }
}

static void free_H09_of_null_is_nothing(void **state)
{
    (void)state;
    watch(WORLD_FREELIST);
    const uint64_t before = loam_debug_digest(&debug);
    loam_debug_free(&debug, NULL, SITE(2));
    loam_debug_free_sized(&debug, NULL, 7, SITE(2));
    assert_int_equal(loam_debug_digest(&debug), before);
    assert_int_equal(debug_stats().waiting_count, 0);
}

/* ---- realloc ------------------------------------------------------------- */

static void realloc_H06_H08_moves_and_keeps_contents(void **state)
{
    (void)state;
    EACH_HEAP
    {
        watch(world.heap);
        const struct loam_resize first = { LOAM_SIZE_UNKNOWN, 100, 8 };
        const struct loam_resize grow = { 100, 300, 64 };
        const struct loam_resize cut = { LOAM_SIZE_UNKNOWN, 40, 8 };
        unsigned char *block = loam_debug_realloc(&debug, NULL, &first, SITE(1));
        pattern_write(block, 100, 1);
        unsigned char *moved = loam_debug_realloc(&debug, block, &grow, SITE(3));
        assert_non_null(moved);
        assert_ptr_not_equal(moved, block);
        assert_int_equal((uintptr_t)moved % 64, 0);
        assert_true(pattern_is(moved, 100, 1));
        assert_true(all_bytes_are(moved + 100, 200, LOAM_DEBUG_POISON_NEW));
        assert_true(all_bytes_are(block, 100, LOAM_DEBUG_POISON_FREE));
        block = loam_debug_realloc(&debug, moved, &cut, SITE(4));
        assert_ptr_not_equal(block, moved);
        assert_true(pattern_is(block, 40, 1));
        assert_int_equal(loam_debug_usable(&debug, block), 40);
        struct loam_debug_block shown = { .size_bytes = 0 };
        assert_true(loam_debug_next(&debug, &shown));
        assert_int_equal(shown.site.addr, SITE(4).addr);
        assert_int_equal(debug_stats().used_count, 1);
        assert_int_equal(debug_stats().used_bytes, 40);
        assert_int_equal(debug_stats().peak_bytes, 400); /* both, for a moment */
        assert_null(loam_debug_audit(&debug));
    }
}

/* Where there is no room for a second block: shrinking works, growing does not. */
static void realloc_H06_without_room_shrinks_in_place(void **state)
{
    (void)state;
    EACH_HEAP
    {
        watch(world.heap);
        unsigned char *block = loam_debug_alloc(&debug, 700000, 64, SITE(1));
        assert_non_null(block);
        pattern_write(block, 600000, 2);
        const struct loam_resize grow = { 700000, 700001, 8 };
        const struct loam_resize cut = { 700000, 600000, 64 };
        const struct loam_resize same = { 600000, 600000, 8 };
        const struct loam_resize turn = { 600000, 590000, 131072 };
        const uint64_t before = loam_debug_digest(&debug);
        assert_null(loam_debug_realloc(&debug, block, &grow, SITE(3)));
        assert_int_equal(loam_debug_digest(&debug), before);
        assert_ptr_equal(loam_debug_realloc(&debug, block, &cut, SITE(4)), block);
        assert_true(pattern_is(block, 600000, 2));
        assert_int_equal(debug_stats().used_bytes, 600000);
        assert_int_equal(debug_stats().peak_bytes, 700000);
        assert_null(loam_debug_audit(&debug));
        assert_ptr_equal(loam_debug_realloc(&debug, block, &same, SITE(5)), block);
        if ((uintptr_t)block % 131072 != 0)
            assert_null(loam_debug_realloc(&debug, block, &turn, SITE(5)));
        struct loam_debug_block shown = { .size_bytes = 0 };
        assert_true(loam_debug_next(&debug, &shown));
        assert_int_equal(shown.site.addr, SITE(5).addr);
        block[650000] = 1; /* was the block's, is red zone now */
        EXPECT_PANIC("debug: block was written past its end", give(block));
    }
}

/* ---- the ring ------------------------------------------------------------ */

/* Freed blocks are used again only after LOAM_DEBUG_QUARANTINE others were freed. */
static void ring_holds_freed_blocks_back(void **state)
{
    (void)state;
    EACH_HEAP
    {
        unsigned char *freed[LOAM_DEBUG_QUARANTINE];
        watch(world.heap);
        for (unsigned i = 0; i < LOAM_DEBUG_QUARANTINE; i++)
            freed[i] = take(i);
        for (unsigned i = 0; i < LOAM_DEBUG_QUARANTINE; i++) {
            give(freed[i]);
            assert_int_equal(debug_stats().waiting_count, i + 1);
            assert_int_equal(world_stats().used_count, LOAM_DEBUG_QUARANTINE);
        }
        assert_int_equal(debug_stats().waiting_bytes,
                         LOAM_DEBUG_QUARANTINE * (LOAM_DEBUG_QUARANTINE - 1) / 2);
        for (unsigned i = 0; i < LOAM_DEBUG_QUARANTINE; i++) {
            unsigned char *block = take(i);
            for (unsigned j = i; j < LOAM_DEBUG_QUARANTINE; j++)
                assert_ptr_not_equal(block, freed[j]);
            give(block); /* the oldest leaves */
            assert_int_equal(debug_stats().waiting_count, LOAM_DEBUG_QUARANTINE);
            assert_int_equal(world_stats().used_count, LOAM_DEBUG_QUARANTINE);
            assert_null(loam_debug_audit(&debug));
        }
        loam_debug_flush(&debug);
        assert_int_equal(debug_stats().waiting_count, 0);
        assert_int_equal(debug_stats().waiting_bytes, 0);
        assert_int_equal(world_stats().used_count, 0);
        assert_null(loam_debug_audit(&debug));
        loam_debug_flush(&debug);
    }
}

/* What waits is given back before a request fails. */
static void ring_is_emptied_before_a_request_fails(void **state)
{
    (void)state;
    EACH_HEAP
    {
        watch(world.heap);
        give(take(400000));
        give(take(400000));
        assert_int_equal(debug_stats().waiting_count, 2);
        unsigned char *block = take(900000);
        assert_int_equal(debug_stats().waiting_count, 0);
        assert_null(loam_debug_alloc(&debug, 900000, 8, SITE(1)));
        give(block); /* one that waits is enough to be asked for */
        block = take(900000);
        assert_int_equal(debug_stats().waiting_count, 0);
        give(block);
        assert_null(loam_debug_audit(&debug));
    }
}

static void each_failure_keeps_the_live_blocks(void **state)
{
    (void)state;
    EACH_HEAP
    {
        unsigned refused = 0;
        INJECT_EACH_POINT
        {
            watch(world.heap);
            unsigned char *block = take(100);
            give(take(50));
            pattern_write(block, 100, 3);
            const struct loam_resize resize = { 100, 9000, 8 };
            const uint64_t before = loam_debug_digest(&debug);
            INJECT_ARM();
            unsigned char *moved = loam_debug_realloc(&debug, block, &resize, SITE(3));
            INJECT_DISARM();
            assert_null(loam_debug_audit(&debug));
            if (moved == NULL) {
                assert_int_equal(loam_debug_digest(&debug), before);
                assert_true(pattern_is(block, 100, 3));
                refused++;
            }
        }
        assert_true(refused >= 2);
    }
}

/* ---- leaks --------------------------------------------------------------- */

static void next_lists_leaks_oldest_first(void **state)
{
    (void)state;
    EACH_HEAP
    {
        watch(world.heap);
        unsigned char *a = take_at(10, 5);
        unsigned char *b = take_at(20, 6);
        unsigned char *c = take_at(30, 7);
        give(b);
        struct loam_debug_block block = { .size_bytes = 1 };
        assert_true(loam_debug_next(&debug, &block));
        assert_int_equal(block.start.addr, (uintptr_t)a);
        assert_int_equal(block.size_bytes, 10);
        assert_int_equal(block.site.addr, SITE(5).addr);
        assert_int_equal(block.sequence, 1);
        assert_true(loam_debug_next(&debug, &block));
        assert_int_equal(block.start.addr, (uintptr_t)c);
        assert_int_equal(block.size_bytes, 30);
        assert_int_equal(block.site.addr, SITE(7).addr);
        assert_int_equal(block.sequence, 3);
        const struct loam_debug_block last = block;
        assert_false(loam_debug_next(&debug, &block));
        assert_memory_equal(&block, &last, sizeof(block));
        give(a);
        give(c);
        memset(&block, 0, sizeof(block));
        assert_false(loam_debug_next(&debug, &block));
    }
}

static void list_survives_frees_in_any_order(void **state)
{
    static const unsigned orders[6][3] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 },
                                           { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };

    (void)state;
    for (size_t i = 0; i < 6; i++) {
        watch(WORLD_ARENA);
        unsigned char *block[3] = { take(1), take(2), take(3) };
        for (size_t j = 0; j < 3; j++) {
            give(block[orders[i][j]]);
            assert_null(loam_debug_audit(&debug));
        }
        assert_int_equal(debug.oldest, 0);
        assert_int_equal(debug.newest, 0);
    }
}

/* ---- statistics ---------------------------------------------------------- */

static void measure_counts_what_was_asked_for(void **state)
{
    (void)state;
    watch(WORLD_BLOCK_ARENA);
    unsigned char *a = take(1000);
    unsigned char *b = take(500);
    give(a);
    take(200);
    const struct loam_debug_stats stats = debug_stats();
    assert_int_equal(stats.used_bytes, 700);
    assert_int_equal(stats.peak_bytes, 1500);
    assert_int_equal(stats.used_count, 2);
    assert_int_equal(stats.waiting_bytes, 1000);
    assert_int_equal(stats.waiting_count, 1);
    assert_int_equal(world_stats().used_count, 3);
    give(b);
    assert_int_equal(debug_stats().waiting_bytes, 1500);
    memset(a - 96, 0x11, 72); /* how large it was is lost */
    assert_int_equal(debug_stats().waiting_bytes, 500);
    assert_int_equal(debug_stats().waiting_count, 2);
}

static void digest_sees_live_blocks_only(void **state)
{
    (void)state;
    watch(WORLD_ARENA);
    unsigned char *block = take(100);
    const uint64_t before = loam_debug_digest(&debug);
    memset(block, 1, 100);
    assert_int_equal(loam_debug_digest(&debug), before);
    give(take(10));
    const uint64_t after = loam_debug_digest(&debug);
    assert_int_not_equal(after, before); /* a block was allocated meanwhile */
    loam_debug_flush(&debug);
    assert_int_equal(loam_debug_digest(&debug), after);
    give(block);
    assert_int_not_equal(loam_debug_digest(&debug), after);
}

/* The heap's own overhead and ours: what the header says. */
static void overhead_is_as_stated(void **state)
{
    (void)state;
    watch(WORLD_BUMP);
    for (size_t size_bytes = 0; size_bytes < 100; size_bytes++) {
        const size_t before = world_stats().used_bytes;
        take(size_bytes);
        assert_in_range(world_stats().used_bytes - before, size_bytes + 112, size_bytes + 127);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alloc_and_free_poison),
        cmocka_unit_test(red_zones_surround_every_block),
        cmocka_unit_test(alloc_H05_aligns),
        cmocka_unit_test(alloc_H01_size_0_is_a_distinct_block),
        cmocka_unit_test(alloc_H02_H04_H05_refuses_what_it_cannot),
        cmocka_unit_test(free_H09_of_null_is_nothing),
        cmocka_unit_test(realloc_H06_H08_moves_and_keeps_contents),
        cmocka_unit_test(realloc_H06_without_room_shrinks_in_place),
        cmocka_unit_test(ring_holds_freed_blocks_back),
        cmocka_unit_test(ring_is_emptied_before_a_request_fails),
        cmocka_unit_test(each_failure_keeps_the_live_blocks),
        cmocka_unit_test(next_lists_leaks_oldest_first),
        cmocka_unit_test(list_survives_frees_in_any_order),
        cmocka_unit_test(measure_counts_what_was_asked_for),
        cmocka_unit_test(digest_sees_live_blocks_only),
        cmocka_unit_test(overhead_is_as_stated),
    };
    return RUN_TESTS(tests);
}
