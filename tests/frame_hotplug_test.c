/*
 * frame_hotplug_test.c - memory that comes and goes while the allocator is at work; which
 * ranges there are; free memory by order.
 */
#include "frame_world.h"

#include <pthread.h>
#include <stdatomic.h>

#define ADDED_MAX 16u

static void *added[ADDED_MAX]; /* memory that the allocator was given; freed in the end */
static size_t added_count;

static enum loam_status add_to(uint64_t first, uint64_t end, uint32_t node)
{
    struct loam_frame_addition addition = { .range = range_of(first, end), .node = node };
    void *memory = NULL;
    addition.memory_bytes = loam_frame_add_bytes_needed(&frame, addition.range);
    if (addition.memory_bytes != 0) {
        assert_int_equal(posix_memalign(&memory, 64, addition.memory_bytes), 0);
        memset(memory, 0xa5, addition.memory_bytes);
        assert_true(added_count < ADDED_MAX);
        added[added_count++] = memory;
    }
    addition.memory = memory;
    return loam_frame_add(&frame, &addition);
}

static enum loam_status add(uint64_t first, uint64_t end)
{
    const enum loam_status status = add_to(first, end, LOAM_NODE_NONE);
    expect_sound();
    return status;
}

static enum loam_status remove_pages(uint64_t first, uint64_t end)
{
    const uint64_t digest = loam_frame_digest(&frame);
    const enum loam_status status = loam_frame_remove(&frame, range_of(first, end));
    expect_sound();
    assert_int_equal(loam_frame_digest(&frame) != digest, status == LOAM_OK);
    return status;
}

static int forget_added(void **state)
{
    (void)state;
    while (added_count > 0)
        free(added[--added_count]);
    return 0;
}

static void expect_ranges(const struct pages *want, size_t count)
{
    struct loam_phys_range got;
    loam_phys at = loam_phys_at(0);
    size_t i = 0;
    for (; loam_frame_next_range(&frame, at, &got); i++) {
        assert_true(i < count);
        assert_int_equal(got.start.addr, BYTES(want[i].first));
        assert_int_equal(got.size, BYTES(want[i].end - want[i].first));
        at = loam_phys_at(got.start.addr + got.size);
    }
    assert_int_equal(i, count);
}
#define EXPECT_RANGES(...)                            \
    do {                                              \
        const struct pages want_[] = { __VA_ARGS__ }; \
        expect_ranges(want_, COUNT(want_));           \
    } while (0)

/* ---- more memory --------------------------------------------------------- */

static void added_memory_is_used_like_any_other(void **state)
{
    (void)state;
    WORLD(2, { MIB(64), MIB(64) + 2 * BLOCK });
    uint64_t page[3 * BLOCK];
    uint64_t count = 0;
    while (count < 2 * BLOCK)
        page[count++] = take_any(0, LOAM_ZONE_ANY);
    assert_int_equal(take_any(0, LOAM_ZONE_ANY), NONE);
    EXPECT_REFUSED(NOT_A_FRAME, GIB(5), 1, give_any(GIB(5), 0));
    assert_int_equal(add(GIB(5), GIB(5) + BLOCK), LOAM_OK);
    assert_int_equal(zone_stats(LOAM_ZONE_ANY).free_count, BLOCK);
    while (count < 3 * BLOCK) {
        const loam_phys block = loam_frame_alloc(&frame, 0, LOAM_ZONE_ANY);
        page[count] = block.addr / LOAM_PAGE_SIZE;
        assert_true(page[count++] - GIB(5) < BLOCK);
    }
    assert_true(loam_phys_is_none(loam_frame_alloc(&frame, 0, LOAM_ZONE_ANY)));
    while (count-- > 0)
        give_any(page[count], 0);
    expect_sound();
    assert_int_equal(stats().free_count, 3 * BLOCK);
}

/* Below, between, above; over the ends of zones; next to what there is. */
static void memory_may_be_added_anywhere(void **state)
{
    (void)state;
    WORLD(1, { MIB(32), MIB(48) }, { GIB(1), GIB(2) });
    assert_int_equal(add(MIB(8) + 5, MIB(17) + 3), LOAM_OK);
    assert_int_equal(add(MIB(48), MIB(48) + 7), LOAM_OK);
    assert_int_equal(add(GIB(3), GIB(6)), LOAM_OK);
    assert_int_equal(add(MIB(17) + 3, MIB(17) + 4), LOAM_OK);
    EXPECT_RANGES({ MIB(8) + 5, MIB(17) + 3 }, { MIB(17) + 3, MIB(17) + 4 }, { MIB(32), MIB(48) },
                  { MIB(48), MIB(48) + 7 }, { GIB(1), GIB(2) }, { GIB(3), GIB(6) });
    assert_int_equal(zone_stats(LOAM_ZONE_16M).frame_count, MIB(8) - 5);
    assert_int_equal(zone_stats(LOAM_ZONE_4G).frame_count,
                     MIB(1) + 3 + 1 + MIB(16) + 7 + GIB(1) + GIB(1));
    assert_int_equal(zone_stats(LOAM_ZONE_ANY).frame_count, GIB(2));
    assert_int_equal(stats().free_count, stats().frame_count);
}

static void add_F31_refuses_what_is_managed(void **state)
{
    static const struct pages wrong[] = { { MIB(64), MIB(64) + 1 }, { MIB(63), MIB(64) + 1 },
                                          { MIB(72) - 1, MIB(73) }, { MIB(60), MIB(90) },
                                          { MIB(64), MIB(72) },     { MIB(65), MIB(66) } };
    (void)state;
    WORLD(1, { MIB(64), MIB(72) });
    for (size_t i = 0; i < COUNT(wrong); i++)
        assert_int_equal(add(wrong[i].first, wrong[i].end), LOAM_OVERLAP);
    expect_all_free();
}

static void add_F32_refuses_what_wraps(void **state)
{
    static const struct loam_phys_range wrong[] = {
        { { UINT64_MAX - 4095 }, 0x2000 },
        { { 0x2000 }, UINT64_MAX - 4095 },
        { { 0x1000 }, 0 },
        { { 0x1001 }, 0x1000 },
        { { 0x1000 }, 0x1001 },
    };
    static _Alignas(64) unsigned char memory[8192];
    (void)state;
    WORLD(1, { MIB(64), MIB(72) });
    for (size_t i = 0; i < COUNT(wrong); i++) {
        const struct loam_frame_addition addition = { wrong[i], 0, memory, sizeof(memory), false };
        assert_int_equal(loam_frame_add_bytes_needed(&frame, wrong[i]), 0);
        assert_int_equal(loam_frame_add(&frame, &addition), LOAM_INVALID);
    }
    struct loam_frame_addition addition = { range_of(GIB(1), GIB(1) + 3), 0, memory, 0, false };
    addition.memory_bytes = loam_frame_add_bytes_needed(&frame, addition.range) - 1;
    assert_true(addition.memory_bytes < sizeof(memory));
    assert_int_equal(loam_frame_add(&frame, &addition), LOAM_NO_SPACE);
    addition.memory_bytes++;
    addition.memory = memory + 8;
    assert_int_equal(loam_frame_add(&frame, &addition), LOAM_INVALID);
    addition.memory = NULL;
    assert_int_equal(loam_frame_add(&frame, &addition), LOAM_INVALID);
    expect_all_free();
}

static void added_memory_is_of_its_node(void **state)
{
    struct loam_frame_stats stats_of;
    (void)state;
    WORLD(2, { MIB(64), MIB(72) });
    assert_int_equal(add_to(GIB(5), GIB(6), 3), LOAM_OK);
    assert_int_equal(add_to(GIB(4), GIB(5), 2), LOAM_OK);
    loam_frame_measure_node(&frame, 3, &stats_of);
    assert_int_equal(stats_of.free_count, GIB(1));
    loam_frame_set_cpu(&frame, 0, 2);
    loam_frame_set_cpu(&frame, 1, 3);
    const loam_phys low = loam_frame_alloc(&frame, LOAM_ORDER_2M, LOAM_ZONE_ANY);
    machine_set_cpu(1);
    const loam_phys high = loam_frame_alloc(&frame, LOAM_ORDER_2M, LOAM_ZONE_ANY);
    assert_true(low.addr < BYTES(GIB(5)) && high.addr >= BYTES(GIB(5)));
    expect_sound();
}

/* ---- less memory --------------------------------------------------------- */

static void removed_memory_is_foreign(void **state)
{
    (void)state;
    WORLD(1, { MIB(64) + 3, MIB(80) + 5 });
    assert_int_equal(remove_pages(MIB(66), MIB(70)), LOAM_OK);
    EXPECT_RANGES({ MIB(64) + 3, MIB(66) }, { MIB(70), MIB(80) + 5 });
    assert_int_equal(stats().frame_count, ram_pages - MIB(4));
    assert_int_equal(stats().free_count, ram_pages - MIB(4));
    EXPECT_REFUSED(ALREADY, MIB(66), MIB(4), give_any(MIB(67), 0));
    EXPECT_REFUSED(ALREADY, MIB(66), MIB(4), give_any(MIB(66), LOAM_ORDER_2M));
    EXPECT_REFUSED(ALREADY, MIB(66), MIB(4), release(MIB(67), MIB(68)));
    assert_int_equal(remove_pages(MIB(66), MIB(68)), LOAM_NOT_FOUND);
    assert_int_equal(remove_pages(MIB(64) + 3, MIB(70)), LOAM_NOT_FOUND);
    assert_int_equal(reserve(MIB(65), MIB(67)), LOAM_NOT_FOUND);
    uint64_t count = 0;
    for (uint64_t page; (page = take_any(0, LOAM_ZONE_ANY)) != NONE; count++)
        assert_true(page < MIB(66) || page >= MIB(70));
    assert_int_equal(count, ram_pages - MIB(4));
    expect_sound();
}

/* The ends of a region are no whole blocks. */
static void all_of_a_region_may_be_removed_and_added_again(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 3; round++) {
        WORLD(1, { MIB(8), MIB(12) }, { MIB(64) + 3, MIB(80) + 5 });
        assert_int_equal(remove_pages(MIB(64) + 3, MIB(80) + 5), LOAM_OK);
        EXPECT_RANGES({ MIB(8), MIB(12) });
        assert_int_equal(stats().frame_count, MIB(4));
        assert_int_equal(add(MIB(64) + 4, MIB(80) + 5), LOAM_OVERLAP);
        assert_int_equal(add(MIB(64) + 3, MIB(66)), LOAM_OK);
        EXPECT_RANGES({ MIB(8), MIB(12) }, { MIB(64) + 3, MIB(66) });
        assert_int_equal(add(MIB(64) + 3, MIB(68)), LOAM_OVERLAP); /* some of it is there */
        assert_int_equal(add(MIB(66), MIB(80) + 5), LOAM_OK);
        EXPECT_RANGES({ MIB(8), MIB(12) }, { MIB(64) + 3, MIB(80) + 5 });
        expect_all_free();
        assert_int_equal(reserve(MIB(64) + 3, MIB(80) + 5), LOAM_OK);
        release(MIB(64) + 3, MIB(80) + 5);
        expect_all_free();
    }
}

static void remove_refuses_what_is_in_use(void **state)
{
    (void)state;
    WORLD(2, { MIB(64), MIB(96) });
    for (uint64_t page = MIB(70); page < MIB(72); page += 37) {
        assert_int_equal(reserve(page, page + 1), LOAM_OK);
        assert_int_equal(remove_pages(MIB(64), MIB(96)), LOAM_OVERLAP);
        assert_int_equal(remove_pages(MIB(70), MIB(72)), LOAM_OVERLAP);
        assert_int_equal(remove_pages(MIB(72), MIB(74)), LOAM_OK);
        assert_int_equal(add(MIB(72), MIB(74)), LOAM_OK);
        release(page, page + 1);
    }
    const uint64_t page = take_any(0, LOAM_ZONE_ANY); /* 63 more wait */
    give_any(page, 0);
    assert_int_equal(remove_pages(MIB(64), MIB(96)), LOAM_OK);
    assert_int_equal(take_any(0, LOAM_ZONE_ANY), NONE);
    assert_int_equal(add(MIB(64), MIB(96)), LOAM_OK);
    expect_all_free();
}

static void remove_refuses_parts_of_blocks(void **state)
{
    (void)state;
    WORLD(1, { MIB(64) + 3, MIB(80) + 5 }, { MIB(80) + 5, MIB(90) });
    assert_int_equal(remove_pages(MIB(64) + 4, MIB(66)), LOAM_INVALID);
    assert_int_equal(remove_pages(MIB(64) + 3, MIB(66) + 1), LOAM_INVALID);
    assert_int_equal(remove_pages(MIB(66) + 1, MIB(70)), LOAM_INVALID);
    assert_int_equal(remove_pages(MIB(64) + 2, MIB(66)), LOAM_NOT_FOUND);
    assert_int_equal(remove_pages(MIB(88), MIB(92)), LOAM_NOT_FOUND);
    assert_int_equal(loam_frame_remove(&frame, range_of(MIB(66), MIB(66))), LOAM_INVALID);
    assert_int_equal(remove_pages(MIB(78), MIB(82)), LOAM_OK); /* of two regions */
    EXPECT_RANGES({ MIB(64) + 3, MIB(78) }, { MIB(82), MIB(90) });
    assert_int_equal(add(MIB(78), MIB(82)), LOAM_OK);
    expect_all_free();
}

/* ---- at work ------------------------------------------------------------- */

#define WORKERS 2u
#define ROUNDS  400u

static _Atomic unsigned working;
static _Atomic unsigned char owner_of[GIB(1) >> 3];

static void *work(void *argument)
{
    const unsigned me = (unsigned)(uintptr_t)argument;
    uint64_t page[64];
    machine_set_cpu(me);
    while (atomic_load(&working) != 0) {
        for (unsigned i = 0; i < COUNT(page); i++) {
            const loam_phys block = loam_frame_alloc(&frame, 0, LOAM_ZONE_ANY);
            page[i] = loam_phys_is_none(block) ? NONE : block.addr / LOAM_PAGE_SIZE;
            if (page[i] != NONE &&
                atomic_exchange(&owner_of[page[i] - MIB(64)], (unsigned char)(me + 1)) != 0)
                abort(); /* a frame of two */
        }
        for (unsigned i = 0; i < COUNT(page); i++) {
            if (page[i] == NONE)
                continue;
            atomic_store(&owner_of[page[i] - MIB(64)], 0);
            loam_frame_free(&frame, loam_phys_at(BYTES(page[i])), 0);
        }
    }
    return NULL;
}

/* While others allocate and free, memory comes and goes; nothing is lost. */
static void memory_comes_and_goes_while_cpus_work(void **state)
{
    pthread_t worker[WORKERS];
    unsigned removed = 0;
    (void)state;
    WORLD(WORKERS + 1, { MIB(64), MIB(64) + 2 * BLOCK });
    atomic_store(&working, 1);
    for (unsigned i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&worker[i], NULL, work, (void *)(uintptr_t)i), 0);
    machine_set_cpu(WORKERS);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(add_to(MIB(80) + i * 4 * BLOCK, MIB(80) + (i * 4 + 3) * BLOCK, i),
                         LOAM_OK);
    for (unsigned round = 0; round < ROUNDS; round++) {
        const uint64_t first = MIB(80) + round % 8 * 4 * BLOCK;
        if (loam_frame_remove(&frame, range_of(first, first + 3 * BLOCK)) != LOAM_OK)
            continue;
        removed++;
        struct loam_frame_addition again = { .range = range_of(first, first + 3 * BLOCK) };
        assert_int_equal(loam_frame_add(&frame, &again), LOAM_OK);
    }
    atomic_store(&working, 0);
    for (unsigned i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_join(worker[i], NULL), 0);
    loam_frame_drain(&frame);
    expect_sound();
    assert_true(removed > 0);
    assert_int_equal(stats().free_count, 26 * BLOCK);
    assert_int_equal(stats().block_count, 26);
}

/* ---- what is free -------------------------------------------------------- */

static void free_in_counts_each_frame_once(void **state)
{
    (void)state;
    WORLD(2, { 4096 + 5, 4096 + 700 }, { 4096 + 700, 4096 + 2000 });
    assert_int_equal(loam_frame_free_in(&frame, range_of(0, TIB(1))), 1995);
    const uint64_t one = take_any(0, LOAM_ZONE_ANY); /* others wait beside it */
    assert_int_equal(loam_frame_free_in(&frame, range_of(one, one + 1)), 0);
    uint64_t sum = 0;
    for (uint64_t page = 4000; page < 6200; page += 11) {
        const uint64_t count = loam_frame_free_in(&frame, range_of(page, page + 11));
        uint64_t each = 0;
        for (unsigned i = 0; i < 11; i++)
            each += loam_frame_free_in(&frame, range_of(page + i, page + i + 1));
        assert_int_equal(each, count);
        sum += count;
    }
    assert_int_equal(sum, 1994);
    assert_int_equal(loam_frame_measure_cpu(&frame, 0), stats().lane_count);
    assert_int_equal(loam_frame_measure_cpu(&frame, 1), 0);
    assert_int_equal(loam_frame_free_in(&frame, range_of(GIB(1), GIB(2))), 0);
}

/* The same blocks as a search finds that takes the largest from the right, again and again. */
static void orders_are_the_fewest_aligned_blocks(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 20; round++) {
        WORLD(1, { 4096 + test_random_below(300), 4096 + 3000 }, { GIB(1), GIB(3) });
        for (unsigned i = 0; i < 50; i++) {
            const uint64_t page = 4400 + test_random_below(2400);
            (void)!loam_frame_reserve(&frame, range_of(page, page + 1 + test_random_below(9)));
        }
        uint64_t got[LOAM_ORDER_MAX + 1];
        uint64_t frames = 0;
        loam_frame_measure_orders(&frame, LOAM_ZONE_4G, got);
        assert_int_equal(got[LOAM_ORDER_MAX], 2);
        for (unsigned order = 0; order <= LOAM_ORDER_MAX; order++)
            frames += got[order] << order;
        assert_int_equal(frames, stats().free_count);
        for (unsigned order = LOAM_ORDER_MAX + 1; order-- > 0;) {
            uint64_t count = 0;
            for (uint64_t page = 0; page < GIB(3); page += UINT64_C(1) << order)
                if (is_ram(page, UINT64_C(1) << order) &&
                    loam_frame_reserve(&frame, range_of(page, page + (UINT64_C(1) << order))) ==
                        LOAM_OK)
                    count++;
                else if (page >= 8192 && page < GIB(1) - (UINT64_C(1) << order))
                    page = GIB(1) - (UINT64_C(1) << order);
                else if (page >= GIB(1) && order < LOAM_ORDER_MAX)
                    break; /* all taken */
            assert_int_equal(got[order], count);
        }
        loam_frame_measure_orders(&frame, LOAM_ZONE_4G, got);
        for (unsigned order = 0; order <= LOAM_ORDER_MAX; order++)
            assert_int_equal(got[order], 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(added_memory_is_used_like_any_other, forget_added),
        cmocka_unit_test_teardown(memory_may_be_added_anywhere, forget_added),
        cmocka_unit_test_teardown(add_F31_refuses_what_is_managed, forget_added),
        cmocka_unit_test_teardown(add_F32_refuses_what_wraps, forget_added),
        cmocka_unit_test_teardown(added_memory_is_of_its_node, forget_added),
        cmocka_unit_test_teardown(removed_memory_is_foreign, forget_added),
        cmocka_unit_test_teardown(all_of_a_region_may_be_removed_and_added_again, forget_added),
        cmocka_unit_test_teardown(remove_refuses_what_is_in_use, forget_added),
        cmocka_unit_test_teardown(remove_refuses_parts_of_blocks, forget_added),
        cmocka_unit_test_teardown(memory_comes_and_goes_while_cpus_work, forget_added),
        cmocka_unit_test_teardown(free_in_counts_each_frame_once, forget_added),
        cmocka_unit_test_teardown(orders_are_the_fewest_aligned_blocks, forget_added),
    };
    return RUN_TESTS(tests);
}
