/*
 * frame_lane_test.c - what waits in lanes is hidden from nobody, and blocks stay
 * whole as long as they can.
 */
#include "frame_all.h"

/* ---- lanes --------------------------------------------------------------- */

/*
 * All memory is in use but the frames of one row; one CPU takes one of them, and the
 * others wait in its lane. Another CPU gets them all.
 */
static void lane_F27_of_another_cpu_is_no_hiding_place(void **state)
{
    (void)state;
    for (unsigned order = 0; order <= 5; order++) {
        WORLD(2, { 4096, 4096 + 2 * BLOCK });
        assert_int_equal(reserve(4096, 4096 + 2 * BLOCK), LOAM_OK);
        release(4096 + 128, 4096 + 192);
        assert_int_not_equal(take(0), NONE);
        machine_set_cpu(1);
        uint64_t count = 1;
        while (take(order) != NONE)
            count += UINT64_C(1) << order;
        assert_int_equal(count, 64 - (UINT64_C(1) << order) + 1);
        while (take(0) != NONE)
            count++;
        assert_int_equal(count, 64);
    }
}

/* The same for a block, a range, exact frames and many at once. */
static void lane_F27_hides_nothing_from_large_requests(void **state)
{
    static loam_phys out[2 * BLOCK];
    (void)state;
    for (unsigned way = 0; way < 5; way++) {
        WORLD(3, { 4096, 4096 + 2 * BLOCK });
        for (unsigned cpu = 0; cpu < 2; cpu++) {
            machine_set_cpu(cpu);
            give(take(0), 0);
            give(take(2), 2);
        }
        machine_set_cpu(2);
        const struct loam_frame_request request = { .page_count = 2 * BLOCK };
        loam_phys at = loam_phys_none();
        if (way == 0)
            assert_int_equal(take(10), 4096);
        if (way == 1)
            assert_int_equal(loam_frame_alloc_range(&frame, &request, &at), LOAM_OK);
        if (way == 2)
            assert_int_equal(reserve(4096, 4096 + 2 * BLOCK), LOAM_OK);
        if (way == 3)
            assert_int_equal(loam_frame_alloc_bulk(&frame, LOAM_ZONE_4G, out, COUNT(out)),
                             2 * BLOCK);
        if (way == 4) {
            assert_int_not_equal(take(9), NONE);
            assert_int_not_equal(take(9), NONE);
        }
        assert_int_equal(stats().free_count, 0);
        assert_int_equal(stats().lane_count, 0);
        expect_sound();
    }
}

/* A drain empties every lane, and gives blocks back whole. */
static void drain_empties_lanes(void **state)
{
    (void)state;
    WORLD(4, { 4096, 4096 + 64 * BLOCK });
    uint64_t page[4];
    for (unsigned cpu = 0; cpu < 4; cpu++) {
        machine_set_cpu(cpu);
        page[cpu] = take(0);
        give(take(0), 0);
    }
    assert_int_not_equal(stats().lane_count, 0);
    assert_int_equal(stats().free_count, ram_pages - 4);
    loam_frame_drain(&frame);
    expect_sound();
    assert_int_equal(stats().lane_count, 0);
    assert_int_equal(stats().free_count, ram_pages - 4);
    for (unsigned cpu = 0; cpu < 4; cpu++)
        give(page[cpu], 0);
    loam_frame_drain(&frame);
    loam_frame_drain(&frame);
    assert_int_equal(stats().block_count, 64);
    assert_int_equal(stats().largest_free, 64 * BLOCK);
}

/*
 *   64 frames   [ 0 . 20 )   [ 30 . 64 )      two ranges, one row number
 *
 * What waits is counted once, and a drain changes nothing that can be seen.
 */
static void lane_of_one_range_is_not_another_ones(void **state)
{
    (void)state;
    for (unsigned order = 0; order < 2; order++) {
        WORLD(1, { 4096, 4116 }, { 4126, 4160 + 64 });
        for (unsigned i = 0; i < ram_pages; i++) {
            const uint64_t free_count = stats().free_count;
            if (take(order) == NONE)
                break;
            assert_int_equal(stats().free_count, free_count - (UINT64_C(1) << order));
            const uint64_t digest = loam_frame_digest(&frame);
            if (i % 5 == 4)
                loam_frame_drain(&frame);
            assert_int_equal(loam_frame_digest(&frame), digest);
        }
        assert_int_equal(stats().free_count, 0);
    }
}

/* Freed on another CPU than the one whose block it is: free for both at once. */
static void free_on_another_cpu_serves_everybody(void **state)
{
    (void)state;
    for (unsigned who = 0; who < 3; who++) {
        WORLD(3, { 4096, 4096 + 8 * BLOCK });
        assert_int_equal(take_all(LOAM_ZONE_ANY), 4096);
        machine_set_cpu(1);
        for (size_t i = 0; i < 4096; i++)
            give_any(all[i], 0);
        machine_set_cpu(who);
        assert_int_equal(take_all(LOAM_ZONE_ANY), 4096);
        expect_distinct(4096);
    }
}

/* Low memory is given to who asks for it, and to nobody else while there is other memory. */
static void lane_keeps_no_low_memory(void **state)
{
    (void)state;
    for (unsigned order = 0; order <= 8; order++) {
        WORLD(2, { 256, MIB(64) }, { GIB(4), GIB(4) + 64 * BLOCK });
        for (unsigned i = 0; i < 3; i++) {
            assert_true(take_zone(order, LOAM_ZONE_16M) < MIB(16));
            assert_true(take_zone(order, LOAM_ZONE_4G) < MIB(64));
            assert_true(take(order) >= GIB(4));
        }
    }
    WORLD(1, { MIB(16), MIB(64) }); /* none is higher: a lane may keep it */
    const uint64_t page = take_zone(0, LOAM_ZONE_4G);
    assert_int_equal(take(0), page + 1);
}

/* ---- whole blocks -------------------------------------------------------- */

/* How many blocks are no longer whole. */
static uint64_t broken_blocks(uint64_t at_boot)
{
    loam_frame_drain(&frame);
    return at_boot - stats().block_count;
}

/* One CPU: no more blocks than the frames fill, single ones and others apart. */
static void small_requests_break_as_few_blocks_as_they_fill(void **state)
{
    (void)state;
    for (unsigned order = 0; order < 9; order++) {
        for (uint64_t singles = 0; singles <= 1025; singles += 205) {
            WORLD(1, { 4096, 4096 + 32 * BLOCK });
            const uint64_t runs = 3 * (BLOCK >> order) - 1;
            for (uint64_t i = 0; i < singles || i < runs; i++) {
                if (i < singles)
                    assert_int_not_equal(take_any(0, LOAM_ZONE_ANY), NONE);
                if (i < runs)
                    assert_int_not_equal(take_any(order, LOAM_ZONE_ANY), NONE);
            }
            const uint64_t fill = order == 0 ? (singles + runs + BLOCK - 1) / BLOCK
                                             : (singles + BLOCK - 1) / BLOCK + 3;
            assert_true(broken_blocks(32) <= fill);
            expect_sound();
        }
    }
}

/* Frames come from blocks in use as long as these have any. */
static void small_requests_fill_used_blocks_first(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 8; round++) {
        WORLD(2, { 4096, 4096 + 32 * BLOCK });
        for (size_t i = 0; i < 8 * BLOCK; i++)
            all[i] = take_any(0, LOAM_ZONE_ANY);
        expect_distinct(8 * BLOCK);
        assert_int_equal(broken_blocks(32), 8);
        shuffle(8 * BLOCK);
        for (size_t i = 0; i < 4 * BLOCK; i++)
            give_any(all[i], 0);
        assert_int_equal(broken_blocks(32), 8); /* not by chance: 2^-512 */
        for (size_t i = 0; i < 4 * BLOCK; i++)
            assert_int_not_equal(take_any(0, LOAM_ZONE_ANY), NONE);
        assert_int_equal(broken_blocks(32), 8);
    }
}

/* Each CPU breaks a block for its single frames and one for the rest, no more. */
static void cpus_break_two_blocks_each(void **state)
{
    (void)state;
    WORLD(8, { 4096, 4096 + 32 * BLOCK });
    for (unsigned i = 0; i < 64; i++) {
        machine_set_cpu(i % 8);
        assert_int_not_equal(take(0), NONE);
        assert_int_not_equal(take(3), NONE);
    }
    assert_true(broken_blocks(32) <= 16);
    for (unsigned i = 0; i < 16; i++)
        assert_int_not_equal(take(9), NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lane_F27_of_another_cpu_is_no_hiding_place),
        cmocka_unit_test(lane_F27_hides_nothing_from_large_requests),
        cmocka_unit_test(drain_empties_lanes),
        cmocka_unit_test(lane_of_one_range_is_not_another_ones),
        cmocka_unit_test(free_on_another_cpu_serves_everybody),
        cmocka_unit_test(lane_keeps_no_low_memory),
        cmocka_unit_test(small_requests_break_as_few_blocks_as_they_fill),
        cmocka_unit_test(small_requests_fill_used_blocks_first),
        cmocka_unit_test(cpus_break_two_blocks_each),
    };
    return RUN_TESTS(tests);
}
