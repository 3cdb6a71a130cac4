/*
 * zero_test.c - frames zeroed beforehand: what goes in, what comes out, what is left.
 */
#include "zero_world.h"

#define BASE   UINT64_C(8192)
#define LOW    UINT64_C(2048)    /* below 16 MiB */
#define MIDDLE UINT64_C(65536)   /* below 4 GiB */
#define HIGH   UINT64_C(1310720) /* above */
#define MANY   (2 * BLOCK)

static const enum loam_zone zones[] = { LOAM_ZONE_ANY, LOAM_ZONE_4G, LOAM_ZONE_16M };

/* ---- what comes out is zero ---------------------------------------------- */

static void take_F29_of_an_empty_pool_is_zeroed_at_once(void **state)
{
    (void)state;
    ZERO_WORLD(1, 8, 0, { BASE, BASE + MANY });
    assert_int_not_equal(take_zeroed(LOAM_ZONE_ANY), NONE);
    assert_int_equal(pool_stats().miss_count, 1);
    assert_int_equal(stats().free_count, MANY - 1);
}

static void take_F29_gives_what_was_zeroed_before(void **state)
{
    (void)state;
    ZERO_WORLD(1, 8, 0, { BASE, BASE + MANY });
    assert_int_equal(refill(5), 5);
    assert_int_equal(stats().free_count, MANY - 5);
    for (unsigned i = 0; i < 5; i++)
        assert_int_not_equal(take_zeroed(LOAM_ZONE_ANY), NONE);
    assert_int_equal(pool_stats().hit_count, 5);
    assert_int_equal(pool_stats().added_count, 5);
    assert_int_equal(loam_zero_level(&pool), 0);
    assert_int_equal(stats().free_count, MANY - 5);
}

/* Each frame many times: by way of the pool, of the allocator, of lanes. */
static void frames_F29_used_before_are_zero_again(void **state)
{
    uint64_t page[48];

    (void)state;
    ZERO_WORLD(2, 20, 0, { BASE, BASE + 64 });
    for (unsigned round = 0; round < 40; round++) {
        machine_set_cpu(round % 2);
        (void)refill(test_random_below(30));
        const size_t count = test_random_below(COUNT(page));
        for (size_t i = 0; i < count; i++)
            page[i] = take_zeroed(LOAM_ZONE_ANY);
        for (size_t i = 0; i < count; i++)
            give_dirty(page[i]);
    }
    assert_true(pool_stats().hit_count > 100 && pool_stats().miss_count > 100);
    loam_zero_drain(&pool);
    expect_all_free();
}

/* Of each order, and nothing beside it. */
static void block_F29_out_of_a_larger_one_is_zero_and_nothing_else(void **state)
{
    (void)state;
    for (unsigned order = 0; order <= 10; order++) {
        ZERO_WORLD(1, 8, 0, { BASE, BASE + 2 * MANY });
        const uint64_t count = UINT64_C(1) << order;
        const loam_phys block = loam_zero_alloc(&pool, order, LOAM_ZONE_ANY);
        const uint64_t page = block.addr / LOAM_PAGE_SIZE;
        assert_true(page % count == 0 && is_ram(page, count));
        assert_true(are_all(page, count, 0));
        assert_true(page == BASE || are_all(BASE, page - BASE, RUBBISH));
        const uint64_t end = page + count;
        assert_true(end == BASE + 2 * MANY || are_all(end, BASE + 2 * MANY - end, RUBBISH));
        loam_frame_free(&frame, block, order);
        expect_all_free();
    }
}

/* ---- filling ------------------------------------------------------------- */

static void refill_fills_every_slot_and_no_more(void **state)
{
    static const unsigned capacity[] = { 1, 2, 3, 63, 64, 65, 127, 128, 129, 200, 511 };

    (void)state;
    for (size_t i = 0; i < COUNT(capacity); i++)
        for (unsigned cpus = 1; cpus < 6; cpus++) {
            ZERO_WORLD(cpus, capacity[i], 0, { BASE, BASE + MANY });
            machine_set_cpu(cpus - 1);
            assert_int_equal(refill(SIZE_MAX), capacity[i]);
            assert_int_equal(refill(1), 0);
            assert_int_not_equal(take_zeroed(LOAM_ZONE_ANY), NONE);
            machine_set_cpu(0);
            assert_int_equal(refill(2), 1);
            assert_int_equal(stats().free_count, MANY - capacity[i] - 1);
        }
}

static void refill_of_nothing_does_nothing(void **state)
{
    (void)state;
    ZERO_WORLD(1, 8, 0, { BASE, BASE + MANY });
    const uint64_t digest = loam_frame_digest(&frame);
    assert_int_equal(refill(0), 0);
    assert_int_equal(loam_frame_digest(&frame), digest);
}

static void refill_leaves_the_reserve(void **state)
{
    static const uint64_t reserve_counts[] = { 0, 1, 2, 100, MANY - 1, MANY, UINT64_MAX };

    (void)state;
    for (size_t i = 0; i < COUNT(reserve_counts); i++) {
        const uint64_t count = reserve_counts[i];
        const uint64_t kept = count < MANY ? count : MANY;
        ZERO_WORLD(2, 2 * MANY, count, { BASE, BASE + MANY });
        assert_int_equal(loam_zero_refill(&pool, SIZE_MAX), MANY - kept);
        assert_int_equal(stats().free_count, kept);
        assert_int_equal(loam_zero_refill(&pool, SIZE_MAX), 0);
        if (kept == MANY)
            continue;
        give_dirty(take_zeroed_any(LOAM_ZONE_ANY)); /* one more than the reserve */
        assert_int_equal(loam_zero_refill(&pool, SIZE_MAX), 1);
        assert_int_equal(stats().free_count, kept);
    }
}

/* All zones count. */
static void refill_counts_the_memory_of_each_zone(void **state)
{
    (void)state;
    ZERO_WORLD(1, 100, 64 + 64 + 61, { LOW, LOW + 64 }, { MIDDLE, MIDDLE + 64 },
               { HIGH, HIGH + 64 });
    assert_int_equal(refill(SIZE_MAX), 3);
}

/* A count is believed for a 1024th of memory, here four frames. */
static void refill_counts_again_soon(void **state)
{
    (void)state;
    ZERO_WORLD(1, 100, 1000, { BASE, BASE + 8 * BLOCK });
    assert_int_equal(refill(1), 1);
    const uint64_t rest = stats().free_count - 1000;
    for (uint64_t i = 0; i < rest; i++)
        assert_int_not_equal(take_any(0, LOAM_ZONE_ANY), NONE);
    assert_int_equal(refill(SIZE_MAX), 4);
    assert_int_equal(stats().free_count, 996);

    ZERO_WORLD(1, 100, 1000, { BASE, BASE + 8 * BLOCK });
    assert_int_equal(refill(1), 1);
    for (uint64_t i = 0; i < rest; i++)
        assert_int_not_equal(take_any(0, LOAM_ZONE_ANY), NONE);
    assert_int_equal(loam_zero_drain(&pool), 1); /* at once, after a drain */
    assert_int_equal(refill(SIZE_MAX), 1);
}

static void put_is_for_frames_known_to_be_zero(void **state)
{
    (void)state;
    ZERO_WORLD(1, 2, 0, { BASE, BASE + MANY });
    const uint64_t a = take_zeroed(LOAM_ZONE_ANY);
    const uint64_t b = take_zeroed(LOAM_ZONE_ANY);
    const uint64_t c = take_zeroed(LOAM_ZONE_ANY);
    put(a);
    put(b);
    assert_int_equal(loam_zero_level(&pool), 2);
    assert_int_equal(stats().free_count, MANY - 3);
    put(c); /* is full: freed */
    assert_int_equal(loam_zero_level(&pool), 2);
    assert_int_equal(stats().free_count, MANY - 2);
    const uint64_t first = take_zeroed(LOAM_ZONE_ANY);
    const uint64_t second = take_zeroed(LOAM_ZONE_ANY);
    assert_true((first == a && second == b) || (first == b && second == a));
}

/* ---- nothing is out of reach --------------------------------------------- */

static void take_F27_reaches_what_other_cpus_have(void **state)
{
    (void)state;
    for (unsigned cpu = 0; cpu < 5; cpu++) {
        ZERO_WORLD(5, 300, 0, { BASE, BASE + MANY });
        machine_set_cpu(cpu);
        assert_int_equal(refill(SIZE_MAX), 300);
        machine_set_cpu((cpu + 2) % 5);
        for (unsigned i = 0; i < 300; i++)
            assert_int_not_equal(take_zeroed_any(LOAM_ZONE_ANY), NONE);
        assert_int_equal(pool_stats().hit_count, 300);
        expect_pool_sound();
    }
}

/* Four groups of 64, two for each CPU. */
static void take_prefers_what_its_cpu_has_zeroed(void **state)
{
    (void)state;
    ZERO_WORLD(2, 256, 0, { BASE, BASE + MANY });
    assert_int_equal(reserve(BASE, BASE + BLOCK), LOAM_OK);
    assert_int_equal(refill(128), 128);
    machine_set_cpu(1);
    release(BASE, BASE + BLOCK);
    loam_frame_drain(&frame);          /* CPU 0 leaves its block */
    while (stats().free_count > BLOCK) /* of the block that CPU 0 used */
        assert_true(take_any(0, LOAM_ZONE_ANY) >= BASE + BLOCK);
    assert_int_equal(refill(128), 128);
    for (unsigned i = 0; i < 128; i++)
        assert_true(take_zeroed_any(LOAM_ZONE_ANY) < BASE + BLOCK);
    for (unsigned i = 0; i < 128; i++)
        assert_true(take_zeroed_any(LOAM_ZONE_ANY) >= BASE + BLOCK);
    assert_int_equal(pool_stats().hit_count, 256);
}

/* More groups than a word has bits, one frame in any of them. */
static void take_finds_one_frame_among_many_groups(void **state)
{
    uint64_t page[70];

    (void)state;
    ZERO_WORLD(64, 64 * 130, 0, { BASE, BASE + 17 * BLOCK });
    assert_int_equal(loam_zero_refill(&pool, SIZE_MAX), 64 * 130);
    loam_zero_drain(&pool);
    for (unsigned i = 0; i < COUNT(page); i++) {
        machine_set_cpu(i % 64);
        put(take_zeroed_any(LOAM_ZONE_ANY));
        machine_set_cpu((unsigned)test_random_below(64));
        const uint64_t misses = pool_stats().miss_count;
        page[i] = take_zeroed_any(LOAM_ZONE_ANY);
        assert_int_equal(pool_stats().miss_count, misses);
        expect_pool_sound();
    }
}

static void take_F01_of_the_last_frame_fails_the_next(void **state)
{
    (void)state;
    ZERO_WORLD(3, 30, 0, { BASE, BASE + 64 });
    machine_set_cpu(2);
    assert_int_equal(refill(10), 10);
    machine_set_cpu(0);
    for (unsigned i = 0; i < 64; i++)
        assert_int_not_equal(take_zeroed(LOAM_ZONE_ANY), NONE);
    assert_int_equal(take_zeroed(LOAM_ZONE_ANY), NONE);
    assert_int_equal(refill(1), 0);
    give_dirty(BASE + 7);
    assert_int_equal(take_zeroed(LOAM_ZONE_ANY), BASE + 7);
    assert_int_equal(take_zeroed(LOAM_ZONE_ANY), NONE);
}

/* The frames of a pool are the only ones that there are. */
static void take_F27_comes_before_failing_whatever_fails(void **state)
{
    (void)state;
    ZERO_WORLD(2, 64, 0, { BASE, BASE + 64 });
    assert_int_equal(refill(SIZE_MAX), 64);
    inject_fail_at(1, true); /* also the look into the pool */
    const uint64_t page = take_zeroed(LOAM_ZONE_ANY);
    inject_fail_at(0, false);
    assert_int_not_equal(page, NONE);
    assert_int_equal(loam_zero_level(&pool), 63);
}

static void alloc_drains_the_pool_before_it_fails(void **state)
{
    (void)state;
    ZERO_WORLD(2, 600, 0, { BASE, BASE + BLOCK });
    machine_set_cpu(1);
    assert_int_equal(loam_zero_refill(&pool, SIZE_MAX), BLOCK);
    machine_set_cpu(0);
    const loam_phys block = loam_zero_alloc(&pool, LOAM_ORDER_2M, LOAM_ZONE_ANY);
    assert_int_equal(block.addr, BYTES(BASE));
    assert_true(are_all(BASE, BLOCK, 0));
    assert_int_equal(loam_zero_level(&pool), 0);
    assert_int_equal(pool_stats().drained_count, BLOCK);
    assert_true(loam_phys_is_none(loam_zero_alloc(&pool, 1, LOAM_ZONE_ANY)));
    assert_true(loam_phys_is_none(loam_zero_alloc(&pool, 0, LOAM_ZONE_ANY)));
}

static void drain_frees_all(void **state)
{
    (void)state;
    ZERO_WORLD(3, 300, 0, { BASE, BASE + MANY });
    assert_int_equal(loam_zero_drain(&pool), 0);
    for (unsigned cpu = 0; cpu < 3; cpu++) {
        machine_set_cpu(cpu);
        assert_int_equal(refill(90), 90);
    }
    assert_int_equal(loam_zero_drain(&pool), 270);
    expect_pool_sound();
    assert_int_equal(pool_stats().hit_count, 0);
    assert_int_equal(loam_zero_level(&pool), 0);
    expect_all_free();
}

/* ---- zones --------------------------------------------------------------- */

static void take_of_a_zone_looks_whether_a_frame_suits(void **state)
{
    static const uint64_t base[] = { HIGH, MIDDLE, LOW };

    (void)state;
    for (unsigned in_pool = 0; in_pool < 3; in_pool++)
        for (unsigned wanted = 0; wanted < 3; wanted++) {
            ZERO_WORLD(1, 8, 0, { LOW, LOW + 64 }, { MIDDLE, MIDDLE + 64 }, { HIGH, HIGH + 64 });
            const uint64_t page = base[in_pool] + (in_pool == wanted ? 63 : 0); /* at the end */
            assert_int_equal(reserve(page, page + 1), LOAM_OK);
            memset(machine_ram(BYTES(page)), 0, BYTES(1));
            put(page);
            const uint64_t got = take_zeroed(zones[wanted]);
            assert_int_equal(got == page, in_pool >= wanted);
            if (got != page)
                assert_true(got - base[wanted] < 64);
        }
}

/* 64 are looked at. */
static void take_of_a_zone_looks_at_some(void **state)
{
    (void)state;
    for (unsigned others = 62; others < 66; others++) {
        ZERO_WORLD(1, 200, 0, { LOW, LOW + 64 }, { HIGH, HIGH + 200 });
        assert_int_equal(refill(others), others);
        assert_int_equal(reserve(LOW + 5, LOW + 6), LOAM_OK);
        memset(machine_ram(BYTES(LOW + 5)), 0, BYTES(1));
        put(LOW + 5);
        assert_int_equal(take_zeroed(LOAM_ZONE_16M) == LOW + 5, others < 64);
    }
}

/* One that suits, behind so many others that not all are looked at. */
static void take_F06_of_a_zone_looks_at_all_before_it_fails(void **state)
{
    (void)state;
    ZERO_WORLD(1, 200, 0, { LOW, LOW + 64 }, { HIGH, HIGH + 200 });
    assert_int_equal(refill(150), 150);
    assert_int_equal(reserve(LOW + 5, LOW + 6), LOAM_OK);
    memset(machine_ram(BYTES(LOW + 5)), 0, BYTES(1));
    put(LOW + 5);
    for (unsigned i = 0; i < 63; i++)
        assert_true(take_zeroed(LOAM_ZONE_16M) != LOW + 5);
    assert_int_equal(pool_stats().miss_count, 63);
    assert_int_equal(take_zeroed(LOAM_ZONE_16M), LOW + 5);
    assert_int_equal(take_zeroed(LOAM_ZONE_16M), NONE);
    assert_int_equal(take_zeroed(LOAM_ZONE_4G), NONE);
    assert_int_equal(loam_zero_level(&pool), 150);
}

/* ---- refusals ------------------------------------------------------------ */

static void take_and_alloc_F02_of_what_is_unknown_fail(void **state)
{
    static const unsigned bad_orders[] = { LOAM_ORDER_MAX + 1, 63, 64, UINT32_MAX };
    static const unsigned bad_zones[] = { LOAM_ZONES, 63, UINT32_MAX };

    (void)state;
    ZERO_WORLD(1, 8, 0, { BASE, BASE + MANY });
    assert_int_equal(refill(3), 3);
    for (size_t i = 0; i < COUNT(bad_orders); i++)
        assert_true(loam_phys_is_none(loam_zero_alloc(&pool, bad_orders[i], LOAM_ZONE_ANY)));
    for (size_t i = 0; i < COUNT(bad_zones); i++) {
        assert_int_equal(take_zeroed((enum loam_zone)bad_zones[i]), NONE);
        assert_true(loam_phys_is_none(loam_zero_alloc(&pool, 3, (enum loam_zone)bad_zones[i])));
    }
    assert_int_equal(loam_zero_level(&pool), 3);
    assert_int_equal(stats().free_count, MANY - 3);
}

static void expect_no_pool(enum loam_status status, struct loam_zero_setup bad)
{
    struct loam_zero_pool other;
    assert_int_equal(loam_zero_init(&other, &bad), status);
}

static void init_refuses_what_is_malformed(void **state)
{
    static const unsigned cpus[] = { 0, LOAM_CPUS_MAX + 1, UINT32_MAX };
    static const uint64_t capacity[] = { 0, LOAM_ZERO_CAPACITY_MAX + 1, UINT64_MAX };
    struct loam_zero_setup bad;

    (void)state;
    ZERO_WORLD(1, 8, 0, { BASE, BASE + MANY });
    for (unsigned i = 0; i < 3; i++) {
        bad = pool_setup;
        bad.cpu_count = cpus[i];
        expect_no_pool(LOAM_INVALID, bad);
        assert_int_equal(loam_zero_bytes_needed(&bad), 0);
        bad = pool_setup;
        bad.capacity = capacity[i];
        expect_no_pool(LOAM_INVALID, bad);
        assert_int_equal(loam_zero_bytes_needed(&bad), 0);
    }
    bad = pool_setup;
    bad.frame = NULL;
    expect_no_pool(LOAM_INVALID, bad);
    bad = pool_setup;
    bad.memory = NULL;
    expect_no_pool(LOAM_INVALID, bad);
    bad.memory = (char *)pool_setup.memory + 32;
    expect_no_pool(LOAM_INVALID, bad);
    bad = pool_setup;
    bad.memory_bytes--;
    expect_no_pool(LOAM_NO_SPACE, bad);
}

static void init_of_the_largest_and_the_smallest_pool(void **state)
{
    (void)state;
    for (unsigned cpus = 1; cpus <= LOAM_CPUS_MAX; cpus += LOAM_CPUS_MAX - 1) {
        ZERO_WORLD(cpus, LOAM_ZERO_CAPACITY_MAX, 0, { BASE, BASE + 64 });
        machine_set_cpu(cpus - 1);
        assert_int_equal(loam_zero_refill(&pool, SIZE_MAX), 64);
        assert_int_equal(pool_setup.memory_bytes, 1024 * (64 + 512));
        ZERO_WORLD(cpus, 1, 0, { BASE, BASE + 64 });
        machine_set_cpu(cpus - 1);
        assert_int_equal(refill(SIZE_MAX), 1);
        assert_int_not_equal(take_zeroed(LOAM_ZONE_ANY), NONE);
        assert_int_equal(pool_stats().hit_count, 1);
        assert_true(pool_setup.memory_bytes <= cpus * 128);
    }
}

static void pool_D12_serves_cpus_beyond_its_count(void **state)
{
    (void)state;
    ZERO_WORLD(8, 1, 0, { BASE, BASE + MANY });
    pool_of(100, 3, 0);
    for (unsigned cpu = 0; cpu < 8; cpu++) {
        machine_set_cpu(cpu);
        assert_int_equal(refill(10), 10);
        assert_int_not_equal(take_zeroed(LOAM_ZONE_ANY), NONE);
    }
    assert_int_equal(pool_stats().hit_count, 8);
}

/* ---- failures ------------------------------------------------------------ */

static void take_survives_each_failure(void **state)
{
    (void)state;
    for (unsigned level = 0; level < 2; level++)
        INJECT_EACH_POINT
        {
            ZERO_WORLD(1, 8, 0, { BASE, BASE + 64 });
            assert_int_equal(refill(level), level);
            INJECT_ARM();
            const uint64_t page = take_zeroed(LOAM_ZONE_ANY);
            INJECT_DISARM();
            assert_true(page != NONE || level == 0);
        }
}

static void refill_survives_each_failure(void **state)
{
    (void)state;
    INJECT_EACH_POINT
    {
        ZERO_WORLD(1, 8, 0, { BASE, BASE + 64 });
        INJECT_ARM();
        const size_t done = refill(5);
        INJECT_DISARM();
        assert_int_equal(done == 5, !inject_fired());
        assert_int_equal(stats().free_count, 64 - done);
        assert_int_equal(refill(8), 8 - done); /* no slot is lost */
    }
}

static void alloc_survives_each_failure(void **state)
{
    (void)state;
    INJECT_EACH_POINT
    {
        ZERO_WORLD(1, 8, 0, { BASE, BASE + 64 });
        assert_int_equal(refill(5), 5);
        INJECT_ARM();
        const loam_phys block = loam_zero_alloc(&pool, 2, LOAM_ZONE_ANY);
        INJECT_DISARM();
        expect_pool_sound();
        assert_int_equal(stats().free_count + loam_zero_level(&pool),
                         loam_phys_is_none(block) ? 64 : 60);
    }
}

/* ---- two of them --------------------------------------------------------- */

static void pools_are_independent(void **state)
{
    (void)state;
    ZERO_WORLD(1, 8, 0, { BASE, BASE + MANY });
    void *const memory = pool_setup.memory;
    const struct loam_zero_pool first = pool;
    pool_setup.memory = NULL;
    pool_of(8, 1, 0);
    assert_int_equal(refill(4), 4);
    struct loam_zero_pool other = first;
    assert_int_equal(loam_zero_level(&other), 0);
    assert_int_equal(loam_zero_refill(&other, 3), 3);
    assert_null(loam_zero_audit(&other));
    assert_int_equal(loam_zero_level(&pool), 4);
    assert_int_equal(loam_zero_drain(&other), 3);
    assert_int_equal(loam_zero_drain(&pool), 4);
    expect_all_free();
    free(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(take_F29_of_an_empty_pool_is_zeroed_at_once),
        cmocka_unit_test(take_F29_gives_what_was_zeroed_before),
        cmocka_unit_test(frames_F29_used_before_are_zero_again),
        cmocka_unit_test(block_F29_out_of_a_larger_one_is_zero_and_nothing_else),
        cmocka_unit_test(refill_fills_every_slot_and_no_more),
        cmocka_unit_test(refill_of_nothing_does_nothing),
        cmocka_unit_test(refill_leaves_the_reserve),
        cmocka_unit_test(refill_counts_the_memory_of_each_zone),
        cmocka_unit_test(refill_counts_again_soon),
        cmocka_unit_test(put_is_for_frames_known_to_be_zero),
        cmocka_unit_test(take_F27_reaches_what_other_cpus_have),
        cmocka_unit_test(take_prefers_what_its_cpu_has_zeroed),
        cmocka_unit_test(take_finds_one_frame_among_many_groups),
        cmocka_unit_test(take_F01_of_the_last_frame_fails_the_next),
        cmocka_unit_test(take_F27_comes_before_failing_whatever_fails),
        cmocka_unit_test(alloc_drains_the_pool_before_it_fails),
        cmocka_unit_test(drain_frees_all),
        cmocka_unit_test(take_of_a_zone_looks_whether_a_frame_suits),
        cmocka_unit_test(take_of_a_zone_looks_at_some),
        cmocka_unit_test(take_F06_of_a_zone_looks_at_all_before_it_fails),
        cmocka_unit_test(take_and_alloc_F02_of_what_is_unknown_fail),
        cmocka_unit_test(init_refuses_what_is_malformed),
        cmocka_unit_test(init_of_the_largest_and_the_smallest_pool),
        cmocka_unit_test(pool_D12_serves_cpus_beyond_its_count),
        cmocka_unit_test(take_survives_each_failure),
        cmocka_unit_test(refill_survives_each_failure),
        cmocka_unit_test(alloc_survives_each_failure),
        cmocka_unit_test(pools_are_independent),
    };
    return RUN_TESTS(tests);
}
