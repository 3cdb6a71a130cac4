/*
 * frame_test.c - blocks of 2^order frames against pictures. See also
 * frame_setup_test.c, frame_range_test.c and frame_model_test.c.
 */
#include "frame_all.h"

/* ---- orders -------------------------------------------------------------- */

/*
 *      12 KiB  640 KiB   1 MiB               5 GiB + 24 KiB
 *   0  [       )         [ .............................. )
 */
static void frame_every_order_is_aligned_and_inside_ram(void **state)
{
    (void)state;
    WORLD(2, { 3, 160 }, { 256, GIB(5) + 6 });
    const uint64_t digest = loam_frame_digest(&frame);
    uint64_t block[LOAM_ORDER_MAX + 1];

    for (unsigned order = 0; order <= LOAM_ORDER_MAX; order++) {
        block[order] = take(order); /* where: take_any() looks */
        assert_int_not_equal(block[order], NONE);
        assert_int_equal(stats().free_count, ram_pages - (UINT64_C(1) << order));
        give(block[order], order);
        assert_int_equal(loam_frame_digest(&frame), digest);
    }
    for (unsigned order = 0; order <= LOAM_ORDER_MAX; order++) { /* one of each at once */
        block[order] = take(order);
        assert_int_not_equal(block[order], NONE);
    }
    assert_int_equal(stats().free_count, ram_pages - (UINT64_C(2) << LOAM_ORDER_MAX) + 1);
    for (unsigned order = 0; order <= LOAM_ORDER_MAX; order++)
        give(block[order], order);
    assert_int_equal(loam_frame_digest(&frame), digest);
    expect_all_free();
}

/* All of memory in blocks of one order: as many as there are places for. */
static void frame_every_order_fills_memory(void **state)
{
    (void)state;
    for (unsigned order = 0; order <= 11; order++) {
        WORLD(1, { MIB(16), MIB(16) + 8 * BLOCK });
        const size_t places = (size_t)(8 * BLOCK >> order);
        for (size_t i = 0; i < places; i++) {
            all[i] = take_any(order, LOAM_ZONE_ANY);
            assert_int_not_equal(all[i], NONE);
        }
        expect_distinct(places);
        assert_int_equal(take(order), NONE);
        assert_int_equal(take(0), NONE);
        assert_int_equal(stats().free_count, 0);
        for (size_t i = 0; i < places; i++)
            give_any(all[i], order);
        expect_all_free();
        assert_int_equal(stats().block_count, 8);
    }
}

static void alloc_F02_refuses_orders_above_the_largest(void **state)
{
    static const unsigned wrong[] = { 19, 20, 31, 32, 63, 64, 255, 1u << 31, UINT32_MAX };
    loam_phys out = loam_phys_at(77);

    (void)state;
    WORLD(1, { 256, GIB(2) });
    for (size_t i = 0; i < COUNT(wrong); i++)
        assert_int_equal(take(wrong[i]), NONE);
    assert_int_equal(loam_frame_alloc_bulk(&frame, LOAM_ZONE_ANY, &out, 0), 0);
    assert_int_equal(out.addr, 77);
    loam_frame_free_bulk(&frame, &out, 0);
    expect_all_free();
}

/* ---- empty and full ------------------------------------------------------ */

static void alloc_F01_of_nothing_left_fails_until_one_is_freed(void **state)
{
    (void)state;
    WORLD(4, { 256, MIB(16) });
    const size_t count = take_all(LOAM_ZONE_ANY);
    assert_int_equal(count, ram_pages);
    for (unsigned round = 0; round < 50; round++) {
        machine_set_cpu(round % 4);
        for (unsigned order = 0; order <= LOAM_ORDER_MAX; order++)
            assert_int_equal(take(order), NONE);
        const uint64_t page = all[test_random_below(count)];
        machine_set_cpu(round / 4 % 4);
        give(page, 0);
        machine_set_cpu(round / 16 % 4);
        assert_int_equal(take(1), NONE);
        assert_int_equal(take(0), page);
        assert_int_equal(take(0), NONE);
    }
}

/* Forward, in reverse, at random: all is one again, as at boot. */
static void free_F03_in_any_order_brings_the_largest_back(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 3; way++) {
        WORLD(3, { 256, 16384 }); /* 1 MiB to 64 MiB */
        const uint64_t digest = loam_frame_digest(&frame);
        const struct loam_frame_stats boot = stats();
        const size_t count = take_all(LOAM_ZONE_ANY);
        assert_int_equal(count, ram_pages);
        expect_distinct(count);
        if (way == 2)
            shuffle(count);
        for (size_t i = 0; i < count; i++) {
            machine_set_cpu((unsigned)(i % 3));
            give_any(all[way == 1 ? count - 1 - i : i], 0);
        }
        assert_int_equal(loam_frame_digest(&frame), digest);
        assert_int_not_equal(take_any(13, LOAM_ZONE_ANY), NONE); /* 32 MiB, without a drain */
        assert_int_equal(stats().block_count, boot.block_count - 16);
        give_any(8192, 13);
        expect_all_free();
        assert_int_equal(stats().block_count, boot.block_count);
        assert_int_equal(stats().largest_free, boot.largest_free);
    }
}

static void frame_machine_of_three_pages_works(void **state)
{
    static const struct pages machine[] = { { 1, 4 },
                                            { 511, 514 },
                                            { MIB(16) - 2, MIB(16) + 1 },
                                            { GIB(4) - 1, GIB(4) + 2 },
                                            { TIB(64), TIB(64) + 3 } };
    (void)state;
    for (size_t i = 0; i < COUNT(machine); i++) {
        world_of(&machine[i], 1, 64);
        assert_int_equal(stats().block_count, 0);
        assert_int_equal(stats().largest_free, 0);
        for (unsigned cpu = 0; cpu < 64; cpu++) {
            machine_set_cpu(cpu);
            assert_int_equal(take_all(LOAM_ZONE_ANY), 3);
            expect_distinct(3);
            machine_set_cpu((cpu + 5) % 64);
            for (size_t page = 0; page < 3; page++)
                give(all[page], 0);
            const uint64_t pair = take(1);
            assert_int_not_equal(pair, NONE);
            assert_int_equal(take(1), NONE);
            assert_int_equal(take(2), NONE);
            give(pair, 1);
        }
        expect_all_free();
    }
}

static void frame_machine_of_one_page_works(void **state)
{
    (void)state;
    WORLD(2, { 0, 1 });
    assert_int_equal(take(1), NONE);
    assert_int_equal(take(0), 0);
    machine_set_cpu(1);
    assert_int_equal(take(0), NONE);
    give(0, 0);
    assert_int_equal(take(0), 0);
}

/*
 *          block 0            block 1           block 2       block 3
 *   [ a )  hole  [ b )[ c ............................ ) [d)
 */
static void frame_ranges_may_share_a_block(void **state)
{
    (void)state;
    WORLD(1, { 0x100, 0x180 }, { 0x1c0, 0x200 }, { 0x200, 0x5f0 }, { 0x5f8, 0x600 },
          { 0x603, 0x604 });
    assert_int_equal(stats().block_count, 1);
    assert_int_equal(stats().largest_free, BLOCK);
    assert_int_equal(take(9), 0x200);
    assert_int_equal(take(9), NONE);
    assert_int_equal(take(8), 0x400);
    assert_int_equal(take(8), NONE);
    give(0x200, 9);
    give(0x400, 8);
    const size_t count = take_all(LOAM_ZONE_ANY); /* each is RAM: take_any() looks */
    assert_int_equal(count, ram_pages);
    expect_distinct(count);
    for (size_t i = 0; i < count; i++)
        give_any(all[i], 0);
    expect_all_free();
}

/* Ends that are no multiple of 2, 64 or 512 pages. */
static void frame_ragged_ends_are_used_to_the_last_frame(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 60; round++) {
        const uint64_t first = 1000 + test_random_below(1100);
        const uint64_t end = first + 1 + test_random_below(2200);
        WORLD(1, { first, end });
        const size_t count = take_all(LOAM_ZONE_ANY);
        assert_int_equal(count, end - first);
        expect_distinct(count);
        shuffle(count);
        for (size_t i = 0; i < count; i++)
            give_any(all[i], 0);
        expect_all_free();
        for (unsigned order = 9; order-- > 0;) { /* then greedily: the same frames */
            while (take_any(order, LOAM_ZONE_ANY) != NONE)
                assert_int_not_equal(order, 9);
        }
        assert_int_equal(stats().free_count, 0);
        expect_sound();
    }
}

/* ---- parts --------------------------------------------------------------- */

/* Of a full memory exactly one part is freed: that, and no more, is there again. */
static void free_F09_F11_of_a_part_is_exact(void **state)
{
    (void)state;
    for (unsigned whole = 1; whole <= 11; whole++) {
        for (unsigned part = 0; part < whole; part++) {
            WORLD(2, { 4096, 4096 + 4 * BLOCK });
            uint64_t block = 0;
            for (uint64_t i = 0; i < 4 * BLOCK >> whole; i++) {
                block = take_any(whole, LOAM_ZONE_ANY);
                assert_int_not_equal(block, NONE);
            }
            const uint64_t count = UINT64_C(1) << part;
            const uint64_t at = block + count * test_random_below(UINT64_C(1) << (whole - part));
            give(at, part);
            assert_int_equal(stats().free_count, count);
            assert_int_equal(take(part + 1), NONE);
            assert_int_equal(take(part), at);
            give(at, part);
            assert_int_equal(take_all(LOAM_ZONE_ANY), count);
            expect_distinct(count);
            assert_int_equal(all[0], at);
            assert_int_equal(all[count - 1], at + count - 1);
        }
    }
}

/* In another cut than they were allocated in: also larger, over two of them. */
static void free_F09_takes_any_cut_of_what_is_in_use(void **state)
{
    (void)state;
    WORLD(1, { 4096, 4096 + 2 * BLOCK });
    while (take_any(3, LOAM_ZONE_ANY) != NONE)
        ;
    give(4096, 8);
    for (uint64_t page = 4096 + 256; page < 4096 + 512; page++)
        give_any(page, 0);
    give(4096 + 512, 9);
    expect_all_free();
    assert_int_equal(take(10), 4096);
    give(4096, 9);
    give(4096 + 512, 6);
    give(4096 + 576, 6);
    give(4096 + 640, 7);
    give(4096 + 768, 8);
    expect_all_free();
}

/* ---- zones --------------------------------------------------------------- */

static const uint64_t zone_limit[LOAM_ZONES] = { UINT64_MAX, GIB(4), MIB(16) }; /* pages */

/*
 *   1 MiB     14 MiB..18 MiB     4 GiB - 4 MiB .. + 4 MiB
 *   [ )       [      )           [                      )
 */
static void zones_world(unsigned cpus)
{
    WORLD(cpus, { 256, 300 }, { MIB(14), MIB(18) }, { GIB(4) - 1024, GIB(4) + 1024 });
}

static void zone_F06_of_an_address(void **state)
{
    (void)state;
    assert_int_equal(loam_zone_of(loam_phys_at(0)), LOAM_ZONE_16M);
    assert_int_equal(loam_zone_of(loam_phys_at(0xffffff)), LOAM_ZONE_16M);
    assert_int_equal(loam_zone_of(loam_phys_at(0x1000000)), LOAM_ZONE_4G);
    assert_int_equal(loam_zone_of(loam_phys_at(0xffffffff)), LOAM_ZONE_4G);
    assert_int_equal(loam_zone_of(loam_phys_at(0x100000000)), LOAM_ZONE_ANY);
    assert_int_equal(loam_zone_of(loam_phys_at(UINT64_MAX)), LOAM_ZONE_ANY);
}

static void zone_F06_is_never_left(void **state)
{
    (void)state;
    for (unsigned zone = 0; zone < LOAM_ZONES; zone++) {
        for (unsigned order = 0; order <= 10; order++) {
            zones_world(2);
            uint64_t last = UINT64_MAX;
            uint64_t count = 0;
            for (;; count++) {
                machine_set_cpu((unsigned)count % 2);
                const uint64_t page = take_any(order, (enum loam_zone)zone);
                if (page == NONE)
                    break;
                assert_true(page + (UINT64_C(1) << order) <= zone_limit[zone]);
                last = page;
            }
            expect_sound();
            if (order <= 9) /* high memory first, so it ended at the bottom */
                assert_true(last < MIB(16));
            assert_int_equal(take_zone(order, LOAM_ZONE_16M), NONE);
            if (zone == LOAM_ZONE_4G)
                assert_int_equal(zone_stats(LOAM_ZONE_ANY).free_count, 1024);
            if (zone == LOAM_ZONE_16M)
                assert_int_equal(zone_stats(LOAM_ZONE_4G).free_count, 1024 + 512);
            if (order == 0)
                assert_int_equal(zone_stats((enum loam_zone)zone).free_count, 0);
        }
    }
}

/* 1024 frames above 4 GiB, then 1536 below it, then 556 below 16 MiB. */
static void zone_F06_high_memory_is_used_first(void **state)
{
    (void)state;
    zones_world(3);
    assert_int_equal(zone_stats(LOAM_ZONE_ANY).frame_count, 1024);
    assert_int_equal(zone_stats(LOAM_ZONE_4G).frame_count, 1536);
    assert_int_equal(zone_stats(LOAM_ZONE_16M).frame_count, 556);
    const size_t count = take_all(LOAM_ZONE_ANY);
    assert_int_equal(count, 1024 + 1536 + 556);
    for (size_t i = 0; i < count; i++) {
        const bool is_high = all[i] >= GIB(4);
        const bool is_low = all[i] < MIB(16);
        assert_int_equal(is_high, i < 1024);
        assert_int_equal(is_low, i >= 1024 + 1536);
    }
}

/* What waits for a CPU in high memory is not what a request for low memory gets. */
static void zone_F06_requests_alternate(void **state)
{
    (void)state;
    zones_world(1);
    for (unsigned i = 0; i < 150; i++) {
        const uint64_t any = take(0);
        const uint64_t low = take_zone(0, LOAM_ZONE_4G);
        const uint64_t isa = take_zone(i % 2, LOAM_ZONE_16M);
        assert_true(any >= GIB(4));
        assert_true(low < GIB(4));
        assert_true(low >= MIB(16));
        assert_true(isa < MIB(16));
    }
}

static void bulk_F06_stays_in_its_zone(void **state)
{
    static loam_phys out[4000];
    (void)state;
    zones_world(1);
    assert_int_equal(loam_frame_alloc_bulk(&frame, LOAM_ZONE_16M, out, COUNT(out)), 556);
    for (size_t i = 0; i < 556; i++)
        assert_true(out[i].addr < BYTES(MIB(16)));
    assert_int_equal(loam_frame_alloc_bulk(&frame, LOAM_ZONE_16M, out, 1), 0);
    assert_int_equal(loam_frame_alloc_bulk(&frame, LOAM_ZONE_4G, out, COUNT(out)), 1536);
    for (size_t i = 0; i < 1536; i++)
        assert_true(out[i].addr < BYTES(GIB(4)));
    assert_int_equal(zone_stats(LOAM_ZONE_ANY).free_count, 1024);
    expect_sound();
}

/* ---- bulk ---------------------------------------------------------------- */

static void bulk_gives_what_there_is_and_leaves_the_rest(void **state)
{
    static loam_phys out[5000];
    (void)state;
    WORLD(2, { 4096, 4096 + 4 * BLOCK + 77 });
    for (size_t count = 1; count < COUNT(out); count += count / 2 + 1) {
        memset(out, 0xee, sizeof(out));
        const size_t want = count < ram_pages ? count : (size_t)ram_pages;
        machine_set_cpu((unsigned)(count % 2));
        assert_int_equal(loam_frame_alloc_bulk(&frame, LOAM_ZONE_ANY, out, count), want);
        expect_sound();
        assert_int_equal(stats().free_count, ram_pages - want);
        for (size_t i = 0; i < want; i++)
            all[i] = out[i].addr / LOAM_PAGE_SIZE;
        for (size_t i = want; i < COUNT(out); i++)
            assert_int_equal(out[i].addr, UINT64_C(0xeeeeeeeeeeeeeeee));
        expect_distinct(want);
        assert_true(is_ram(all[0], all[want - 1] - all[0] + 1));
        shuffle(want);
        for (size_t i = 0; i < want; i++)
            out[i] = loam_phys_at(BYTES(all[i]));
        machine_set_cpu((unsigned)(count / 2 % 2));
        loam_frame_free_bulk(&frame, out, want);
        expect_all_free();
        assert_int_equal(stats().block_count, 4);
    }
}

/* ---- the rest ------------------------------------------------------------ */

/* All counts, of known traffic. */
static void stats_F28_are_exact_when_quiet(void **state)
{
    (void)state;
    WORLD(1, { 4096, 4096 + 16 * BLOCK });
    uint64_t in_use = 0;
    for (unsigned order = 0; order <= 11; order++) {
        assert_int_not_equal(take(order), NONE);
        in_use += UINT64_C(1) << order;
        assert_int_equal(stats().frame_count, 16 * BLOCK);
        assert_int_equal(stats().free_count, 16 * BLOCK - in_use);
        assert_true(stats().lane_count <= 64);
        assert_true(stats().largest_free % BLOCK == 0);
    }
    loam_frame_drain(&frame);
    assert_int_equal(stats().free_count, 16 * BLOCK - in_use);
    assert_int_equal(stats().lane_count, 0);
    assert_true(stats().block_count * BLOCK <= stats().free_count);
}

/* Whatever step fails: no, and nothing has changed. */
static void alloc_that_fails_changes_nothing(void **state)
{
    static const struct loam_frame_request request = { .page_count = 600 };
    (void)state;
    for (unsigned call = 0; call < 12; call++) {
        INJECT_EACH_POINT
        {
            WORLD(1, { 4096, 4096 + 4 * BLOCK });
            loam_phys out[3] = { { 77 }, { 77 }, { 77 } };
            bool has_failed = false;
            const uint64_t digest = loam_frame_digest(&frame);
            INJECT_ARM();
            if (call < 10)
                has_failed = loam_phys_is_none(loam_frame_alloc(&frame, call, LOAM_ZONE_ANY));
            if (call == 10)
                has_failed = loam_frame_alloc_bulk(&frame, LOAM_ZONE_ANY, out, 3) == 0;
            if (call == 11)
                has_failed = loam_frame_alloc_range(&frame, &request, out) != LOAM_OK;
            INJECT_DISARM();
            expect_sound();
            assert_int_equal(has_failed, inject_fired());
            assert_int_equal(loam_frame_digest(&frame) == digest, has_failed);
            assert_int_equal(out[0].addr == 77, has_failed || call < 10);
        }
    }
}

/* Two in one process know nothing of each other. */
static void frame_two_allocators_are_apart(void **state)
{
    static _Alignas(64) unsigned char memory[8192];
    struct loam_phys_range other_range = range_of(64, 128);
    struct loam_frame other;
    const struct loam_frame_setup other_setup = {
        .range = &other_range,
        .range_count = 1,
        .cpu_count = 1,
        .memory = memory,
        .memory_bytes = sizeof(memory),
    };
    (void)state;
    WORLD(1, { 64, 128 });
    assert_int_equal(loam_frame_init(&other, &other_setup), LOAM_OK);
    other_range = range_of(0, 1); /* not retained */
    assert_int_equal(loam_frame_digest(&other), loam_frame_digest(&frame));
    assert_int_equal(take_all(LOAM_ZONE_ANY), 64);
    for (unsigned i = 0; i < 64; i++)
        assert_false(loam_phys_is_none(loam_frame_alloc(&other, 0, LOAM_ZONE_16M)));
    assert_true(loam_phys_is_none(loam_frame_alloc(&other, 0, LOAM_ZONE_16M)));
    assert_int_equal(loam_frame_digest(&other), loam_frame_digest(&frame));
    assert_null(loam_frame_audit(&other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frame_every_order_is_aligned_and_inside_ram),
        cmocka_unit_test(frame_every_order_fills_memory),
        cmocka_unit_test(alloc_F02_refuses_orders_above_the_largest),
        cmocka_unit_test(alloc_F01_of_nothing_left_fails_until_one_is_freed),
        cmocka_unit_test(free_F03_in_any_order_brings_the_largest_back),
        cmocka_unit_test(frame_machine_of_three_pages_works),
        cmocka_unit_test(frame_machine_of_one_page_works),
        cmocka_unit_test(frame_ranges_may_share_a_block),
        cmocka_unit_test(frame_ragged_ends_are_used_to_the_last_frame),
        cmocka_unit_test(free_F09_F11_of_a_part_is_exact),
        cmocka_unit_test(free_F09_takes_any_cut_of_what_is_in_use),
        cmocka_unit_test(zone_F06_of_an_address),
        cmocka_unit_test(zone_F06_is_never_left),
        cmocka_unit_test(zone_F06_high_memory_is_used_first),
        cmocka_unit_test(zone_F06_requests_alternate),
        cmocka_unit_test(bulk_F06_stays_in_its_zone),
        cmocka_unit_test(bulk_gives_what_there_is_and_leaves_the_rest),
        cmocka_unit_test(stats_F28_are_exact_when_quiet),
        cmocka_unit_test(alloc_that_fails_changes_nothing),
        cmocka_unit_test(frame_two_allocators_are_apart),
    };
    return RUN_TESTS(tests);
}
