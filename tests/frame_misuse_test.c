/*
 * frame_misuse_test.c - every wrong free panics with its rule, at once, whoever makes
 * it, and changes nothing.
 */
#include "frame_world.h"

/* The free of a block panics; apart from its callers' loops because of setjmp(). */
static void expect_free_refused(const char *rule, loam_phys block, unsigned order)
{
    const uint64_t count = order <= LOAM_ORDER_MAX ? UINT64_C(1) << order : 1;
    EXPECT_REFUSED(rule, block.addr / LOAM_PAGE_SIZE, count, loam_frame_free(&frame, block, order));
}

static void expect_release_refused(const char *rule, uint64_t first, uint64_t end)
{
    EXPECT_REFUSED(rule, first, end - first, loam_frame_release(&frame, range_of(first, end)));
}

static void expect_bulk_refused(const char *rule, loam_phys block)
{
    EXPECT_REFUSED(rule, block.addr / LOAM_PAGE_SIZE, 1, loam_frame_free_bulk(&frame, &block, 1));
}

/* No function that frees takes this block. */
static void expect_refused(const char *rule, uint64_t page, unsigned order)
{
    const loam_phys block = loam_phys_at(BYTES(page));

    expect_free_refused(rule, block, order);
    expect_release_refused(rule, page, page + (UINT64_C(1) << order));
    if (order == 0)
        expect_bulk_refused(rule, block);
}

/* ---- twice --------------------------------------------------------------- */

static void free_F08_twice_panics(void **state)
{
    (void)state;
    for (unsigned order = 0; order <= 11; order++) {
        WORLD(1, { 4096, 4096 + 8 * BLOCK });
        const uint64_t keeps = take(order);
        const uint64_t page = take(order);
        give(page, order);
        for (unsigned part = 0; part <= order; part++)
            expect_refused(ALREADY, page, part);
        give(keeps, order);
        expect_refused(ALREADY, page, order);
        expect_refused(ALREADY, keeps, order);
    }
}

/* After many other calls that do not happen to give it out again. */
static void free_F08_twice_after_traffic_panics(void **state)
{
    static uint64_t taken[1000];
    (void)state;
    for (unsigned cpu = 0; cpu < 4; cpu++) {
        WORLD(4, { 4096, 4096 + 16 * BLOCK });
        for (size_t i = 0; i < COUNT(taken); i++) {
            machine_set_cpu((unsigned)i % 4);
            taken[i] = take_any(i % 3 == 0 ? 0 : 1, LOAM_ZONE_ANY);
            assert_int_not_equal(taken[i], NONE);
        }
        for (size_t i = 0; i < COUNT(taken); i += 10)
            give_any(taken[i], i % 3 == 0 ? 0 : 1);
        for (size_t i = 1; i < COUNT(taken); i += 10) {
            machine_set_cpu((unsigned)i / 10 % 4);
            give_any(taken[i], i % 3 == 0 ? 0 : 1);
        }
        machine_set_cpu(cpu);
        for (size_t i = 0; i < COUNT(taken); i += i % 10 == 0 ? 1 : 9)
            expect_refused(ALREADY, taken[i], i % 3 == 0 ? 0 : 1);
    }
}

static void free_F08_twice_by_another_cpu_panics(void **state)
{
    (void)state;
    for (unsigned order = 0; order <= 10; order++) {
        WORLD(3, { 4096, 4096 + 8 * BLOCK });
        const uint64_t page = take(order);
        machine_set_cpu(1);
        give(page, order);
        machine_set_cpu(2);
        expect_refused(ALREADY, page, order);
        machine_set_cpu(0);
        expect_refused(ALREADY, page, order);
        machine_set_cpu(1);
        expect_refused(ALREADY, page, order);
    }
}

/* The frame is one of those that some CPU will hand out next. */
static void free_F08_of_a_frame_that_waits_in_a_lane_panics(void **state)
{
    (void)state;
    for (unsigned cpu = 0; cpu < 2; cpu++) {
        WORLD(2, { 4096, 4096 + 8 * BLOCK });
        const uint64_t mine = take(0);
        const uint64_t next = take(0);
        const uint64_t third = take(0);
        give(next, 0); /* seldom where a lane takes from, but in its row */
        assert_int_not_equal(stats().lane_count, 0);
        machine_set_cpu(cpu);
        const uint64_t row = mine & ~UINT64_C(63);
        for (uint64_t page = row; page < row + 64; page++) {
            if (page == mine || page == third)
                continue;
            expect_refused(ALREADY, page, 0);
            expect_refused(ALREADY, page & ~UINT64_C(1), 1);
        }
        expect_refused(ALREADY, row, 6);
        expect_refused(ALREADY, row & ~(BLOCK - 1), 9);
    }
}

/* Frame by frame through all of a lane: each can be freed once it was given out, and
 * not before. */
static void free_F08_F10_follows_a_lane_exactly(void **state)
{
    static uint64_t taken[200];
    (void)state;
    WORLD(1, { 4096, 4096 + BLOCK });
    for (size_t i = 0; i < COUNT(taken); i++) {
        taken[i] = take(0);
        for (uint64_t page = taken[i] & ~UINT64_C(63); page < (taken[i] | 63) + 1; page += 7) {
            bool is_used = false;
            for (size_t k = 0; k <= i; k++)
                is_used |= taken[k] == page;
            if (!is_used)
                expect_refused(ALREADY, page, 0);
        }
    }
    for (size_t i = 0; i < COUNT(taken); i++) {
        give(taken[i], 0);
        expect_refused(ALREADY, taken[i], 0);
    }
}

/* The array of a bulk free has one frame twice. */
static void expect_bulk_panics_at(size_t second)
{
    loam_phys out[100];

    WORLD(1, { 4096, 4096 + BLOCK });
    assert_int_equal(loam_frame_alloc_bulk(&frame, LOAM_ZONE_ANY, out, COUNT(out)), COUNT(out));
    out[second] = out[0];
    EXPECT_PANIC(ALREADY, loam_frame_free_bulk(&frame, out, COUNT(out)));
    assert_int_equal(panic_trap.seen.subject, out[0].addr);
    expect_sound();
}

static void free_bulk_F08_of_one_twice_panics(void **state)
{
    (void)state;
    for (size_t second = 1; second < 100; second += 14)
        expect_bulk_panics_at(second);
}

/* ---- never allocated, partly free ---------------------------------------- */

static void free_F10_of_a_frame_never_allocated_panics(void **state)
{
    (void)state;
    WORLD(2, { 256, 300 }, { 4096, 4096 + 8 * BLOCK });
    for (unsigned traffic = 0; traffic < 2; traffic++) {
        for (unsigned order = 0; order <= 11; order++)
            expect_refused(ALREADY, 4096 + (order <= 10 ? 4 * BLOCK : 0), order);
        expect_refused(ALREADY, 280, 0);
        expect_refused(ALREADY, 299, 0);
        expect_refused(ALREADY, 4095 + 8 * BLOCK, 0);
        assert_int_equal(reserve(256, 280), traffic == 0 ? LOAM_OK : LOAM_OVERLAP);
        machine_set_cpu(1);
        assert_int_equal(reserve(4096, 4097), traffic == 0 ? LOAM_OK : LOAM_OVERLAP);
    }
}

/* All of the block is in use but one frame, one row, or one block of it. */
static void free_F09_F11_of_a_partly_free_block_panics(void **state)
{
    (void)state;
    for (unsigned order = 1; order <= 11; order++) {
        const uint64_t count = UINT64_C(1) << order;
        WORLD(2, { 4096, 4096 + 4 * BLOCK });
        assert_int_equal(reserve(4096, 4096 + 4 * BLOCK), LOAM_OK);
        for (unsigned hole = 0; hole < order; hole++) {
            for (unsigned where = 0; where < 3; where++) {
                const uint64_t size = UINT64_C(1) << hole;
                const uint64_t at = where == 0   ? 0
                                    : where == 1 ? count - size
                                                 : test_random_below(count / size) * size;
                give(4096 + at, hole);
                expect_free_refused(ALREADY, loam_phys_at(BYTES(4096)), order);
                assert_int_equal(reserve(4096 + at, 4096 + at + size), LOAM_OK);
            }
        }
        give(4096, order);
    }
}

static void release_F09_of_a_range_with_a_free_frame_panics(void **state)
{
    (void)state;
    WORLD(1, { 4096, 4096 + 4 * BLOCK });
    assert_int_equal(reserve(4096, 4096 + 4 * BLOCK), LOAM_OK);
    for (unsigned round = 0; round < 300; round++) {
        const uint64_t first = 4096 + test_random_below(4 * BLOCK);
        const uint64_t count = 1 + test_random_below(4096 + 4 * BLOCK - first);
        const uint64_t hole = first + test_random_below(count);
        give(hole, 0);
        expect_release_refused(ALREADY, first, first + count);
        assert_int_equal(reserve(hole, hole + 1), LOAM_OK);
    }
}

/* ---- no frames ----------------------------------------------------------- */

/*
 *   3 . 160   256 . 300     1 GiB + 3 . 1 GiB + 2000      4 GiB - 1 . 4 GiB + 1
 *   [     )   [       )     [                      )      [                   )
 */
static void free_F12_F13_outside_memory_panics(void **state)
{
    static const uint64_t outside[] = {
        0,
        1,
        2,
        160,
        161,
        255,
        300,
        301,
        511,
        512,
        4096,
        GIB(1) - 1,
        GIB(1),
        GIB(1) + 2,
        GIB(1) + 2000,
        GIB(1) + 2001,
        GIB(1) + 2047,
        GIB(1) + 2048,
        GIB(4) - 2,
        GIB(4) + 1,
        GIB(4) + 512,
        TIB(64),
        TIB(4096) - 1,
        TIB(4096),
        UINT64_MAX >> LOAM_PAGE_SHIFT,
    };
    (void)state;
    WORLD(2, { 3, 160 }, { 256, 300 }, { GIB(1) + 3, GIB(1) + 2000 }, { GIB(4) - 1, GIB(4) + 1 });
    for (unsigned full = 0; full < 2; full++) {
        for (size_t i = 0; i < COUNT(outside); i++)
            expect_refused(NOT_A_FRAME, outside[i], 0);
        while (take_any(0, LOAM_ZONE_ANY) != NONE)
            ;
    }
    give(3, 0);
    give(GIB(4), 0);
}

/* Some frames of the block are, some are not. */
static void free_F12_over_an_end_of_memory_panics(void **state)
{
    (void)state;
    WORLD(1, { 3, 160 }, { 256, 300 }, { 4096 + 7, 4096 + 2000 });
    assert_int_equal(reserve(3, 160), LOAM_OK);
    assert_int_equal(reserve(256, 300), LOAM_OK);
    assert_int_equal(reserve(4096 + 7, 4096 + 2000), LOAM_OK);
    expect_refused(NOT_A_FRAME, 2, 1);
    expect_refused(NOT_A_FRAME, 0, 8);
    expect_refused(NOT_A_FRAME, 128, 6);
    expect_refused(NOT_A_FRAME, 288, 4);
    expect_refused(NOT_A_FRAME, 256, 6);
    expect_refused(NOT_A_FRAME, 4096, 3);
    expect_refused(NOT_A_FRAME, 4096, 9);
    expect_refused(NOT_A_FRAME, 4096, 11);
    expect_refused(NOT_A_FRAME, 4096 + 1536, 9);
    expect_refused(NOT_A_FRAME, 0, 18);
    give(4096 + 8, 3);
    give(4096 + 1984, 4);
    give(144, 4);
}

static void free_F12_of_an_unaligned_address_panics(void **state)
{
    (void)state;
    WORLD(1, { 4096, 4096 + 4 * BLOCK });
    assert_int_equal(reserve(4096, 4096 + 4 * BLOCK), LOAM_OK);
    for (uint64_t offset = 1; offset < LOAM_PAGE_SIZE; offset = offset * 2 + offset % 2) {
        const loam_phys block = loam_phys_at(BYTES(4100) + offset);
        expect_free_refused(NOT_A_FRAME, block, 0);
        expect_bulk_refused(NOT_A_FRAME, block);
    }
    for (unsigned order = 1; order <= 11; order++) {
        for (unsigned shift = 0; shift < order; shift++) {
            const uint64_t page = 4096 + (UINT64_C(1) << shift);
            expect_free_refused(NOT_A_FRAME, loam_phys_at(BYTES(page)), order);
        }
    }
}

/* What is no frame at all: no address, or the ends of the address space. */
static void free_F12_of_no_address_panics(void **state)
{
    static const uint64_t wild[] = {
        UINT64_MAX, UINT64_MAX - 4095, UINT64_C(1) << 63, UINT64_C(0xffff800000000000), 0,
        1,          UINT64_C(1) << 52
    };
    (void)state;
    WORLD(1, { 4096, 4096 + BLOCK });
    assert_int_equal(reserve(4096, 4096 + BLOCK), LOAM_OK);
    for (size_t i = 0; i < COUNT(wild); i++) {
        for (unsigned order = 0; order <= LOAM_ORDER_MAX; order++)
            expect_free_refused(NOT_A_FRAME, loam_phys_at(wild[i]), order);
    }
    expect_sound();
    assert_int_equal(stats().free_count, 0);
}

static void free_F09_of_an_order_too_large_panics(void **state)
{
    static const unsigned wrong[] = { 19, 20, 31, 32, 52, 63, 64, 255, 1u << 31, UINT32_MAX };
    (void)state;
    WORLD(1, { 4096, 4096 + BLOCK });
    assert_int_equal(reserve(4096, 4096 + BLOCK), LOAM_OK);
    for (size_t i = 0; i < COUNT(wrong); i++)
        expect_free_refused(TOO_LARGE, loam_phys_at(BYTES(4096)), wrong[i]);
}

/* ---- what a panic says --------------------------------------------------- */

static void panic_names_the_frame_and_the_pages(void **state)
{
    (void)state;
    WORLD(1, { 4096, 4096 + 2 * BLOCK });
    assert_int_equal(reserve(4096, 4096 + 2 * BLOCK), LOAM_OK);
    give(4096 + 7, 0);
    EXPECT_PANIC(ALREADY, give_any(4096 + 7, 0));
    assert_int_equal(panic_trap.seen.subject, BYTES(4096 + 7));
    assert_int_equal(panic_trap.seen.detail, 1);
    EXPECT_PANIC(NOT_A_FRAME, give_any(7, 0));
    assert_int_equal(panic_trap.seen.subject, BYTES(7));
    assert_int_equal(panic_trap.seen.detail, 1);
    EXPECT_PANIC(NOT_A_FRAME, loam_frame_free(&frame, loam_phys_at(0), 3));
    assert_int_equal(panic_trap.seen.detail, 8);
    EXPECT_PANIC(ALREADY, loam_frame_free(&frame, loam_phys_at(BYTES(4096)), 3));
    assert_int_equal(panic_trap.seen.detail, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(free_F08_twice_panics),
        cmocka_unit_test(free_F08_twice_after_traffic_panics),
        cmocka_unit_test(free_F08_twice_by_another_cpu_panics),
        cmocka_unit_test(free_F08_of_a_frame_that_waits_in_a_lane_panics),
        cmocka_unit_test(free_F08_F10_follows_a_lane_exactly),
        cmocka_unit_test(free_bulk_F08_of_one_twice_panics),
        cmocka_unit_test(free_F10_of_a_frame_never_allocated_panics),
        cmocka_unit_test(free_F09_F11_of_a_partly_free_block_panics),
        cmocka_unit_test(release_F09_of_a_range_with_a_free_frame_panics),
        cmocka_unit_test(free_F12_F13_outside_memory_panics),
        cmocka_unit_test(free_F12_over_an_end_of_memory_panics),
        cmocka_unit_test(free_F12_of_an_unaligned_address_panics),
        cmocka_unit_test(free_F12_of_no_address_panics),
        cmocka_unit_test(free_F09_of_an_order_too_large_panics),
        cmocka_unit_test(panic_names_the_frame_and_the_pages),
    };
    return RUN_TESTS(tests);
}
