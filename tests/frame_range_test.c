/*
 * frame_range_test.c - contiguous ranges, exact frames and their release, against
 * pictures: '.' is free, '#' in use, '@' what a request got, ' ' no RAM.
 */
#include "frame_world.h"

#define BASE UINT64_C(0x4000) /* page of a picture's first character: 64 MiB */

static uint64_t unit; /* pages of one character */

/* A world that looks like this; each character is @p pages. */
static void paint(const char *picture, uint64_t pages)
{
    struct pages part[64] = { { 0, 0 } };
    size_t count = 0;
    const size_t length = strlen(picture);

    unit = pages;
    for (size_t i = 0; i < length; i++) {
        if (picture[i] == ' ')
            continue;
        if (i == 0 || picture[i - 1] == ' ')
            part[count++].first = BASE + i * unit;
        part[count - 1].end = BASE + (i + 1) * unit;
    }
    world_of(part, count, 2);
    for (size_t i = 0; i < length; i++) {
        if (picture[i] == '#')
            assert_int_equal(reserve(BASE + i * unit, BASE + (i + 1) * unit), LOAM_OK);
    }
    expect_sound();
}

/* Exactly the '.' of the picture are free: each can be taken, and no other. */
static void expect_looks(const char *picture)
{
    for (size_t i = 0; picture[i] != '\0'; i++) {
        const uint64_t page = BASE + i * unit;
        const enum loam_status status = reserve(page, page + unit);
        assert_int_equal(status, picture[i] == '.'   ? LOAM_OK
                                 : picture[i] == ' ' ? LOAM_NOT_FOUND
                                                     : LOAM_OVERLAP);
        if (status == LOAM_OK)
            release(page, page + unit);
    }
}

/* A request in characters of the picture; bounds count from its left end. */
struct ask {
    uint64_t count, align, from, limit, boundary;
};

static struct loam_frame_request request_of(struct ask ask)
{
    const struct loam_frame_request request = {
        .page_count = ask.count * unit,
        .align_bytes = BYTES(ask.align * unit),
        .from = ask.from != 0 ? BYTES(BASE + ask.from * unit) : 0,
        .limit = ask.limit != 0 ? BYTES(BASE + ask.limit * unit) : 0,
        .boundary_bytes = BYTES(ask.boundary * unit),
    };
    return request;
}

/* It fails with this status, and that changes nothing. */
static void expect_status(struct loam_frame_request request, enum loam_status status)
{
    const uint64_t digest = loam_frame_digest(&frame);
    const uint64_t free_count = stats().free_count;
    loam_phys out = loam_phys_at(77);

    assert_int_equal(loam_frame_alloc_range(&frame, &request, &out), status);
    assert_int_equal(out.addr, 77);
    assert_int_equal(loam_frame_digest(&frame), digest);
    assert_int_equal(stats().free_count, free_count);
    expect_sound();
}

static void expect_fails(const char *picture, struct ask ask, enum loam_status status)
{
    static const uint64_t units[] = { 1, 64, 200, BLOCK };
    for (size_t i = 0; i < COUNT(units); i++) {
        const bool is_power = (units[i] & (units[i] - 1)) == 0;
        if (!is_power && (ask.align | ask.boundary) != 0)
            continue;
        paint(picture, units[i]);
        expect_status(request_of(ask), status);
    }
}

/* It succeeds, where the @ are; then it is given back. */
static void expect_placed(const char *before, struct ask ask, const char *after)
{
    static const uint64_t units[] = { 1, 64, 200, BLOCK };
    for (size_t i = 0; i < COUNT(units); i++) {
        const bool is_power = (units[i] & (units[i] - 1)) == 0;
        if (!is_power && (ask.align | ask.boundary) != 0)
            continue;
        paint(before, units[i]);
        const uint64_t digest = loam_frame_digest(&frame);
        const struct loam_frame_request request = request_of(ask);
        loam_phys out = loam_phys_none();
        assert_int_equal(loam_frame_alloc_range(&frame, &request, &out), LOAM_OK);
        expect_sound();
        assert_int_equal(out.addr, BYTES(BASE + (size_t)(strchr(after, '@') - after) * unit));
        expect_looks(after);
        loam_frame_release(&frame, loam_phys_range_of(out, BYTES(request.page_count)));
        assert_int_equal(loam_frame_digest(&frame), digest);
        expect_sound();
    }
}

/* ---- where --------------------------------------------------------------- */

static void range_is_the_highest_that_suits(void **state)
{
    (void)state;
    expect_placed(".", (struct ask){ .count = 1 }, "@");
    expect_placed("........", (struct ask){ .count = 3 }, ".....@@@");
    expect_placed("........", (struct ask){ .count = 8 }, "@@@@@@@@");
    expect_placed(".....#..", (struct ask){ .count = 3 }, "..@@@#..");
    expect_placed(".....#..", (struct ask){ .count = 2 }, ".....#@@");
    expect_placed("#......#", (struct ask){ .count = 6 }, "#@@@@@@#");
    expect_placed("...#.#.#", (struct ask){ .count = 2 }, ".@@#.#.#");
    expect_placed("... ... ", (struct ask){ .count = 2 }, "... .@@ ");
    expect_placed("... .. .", (struct ask){ .count = 3 }, "@@@ .. .");
}

static void range_is_aligned(void **state)
{
    (void)state;
    expect_placed(".......", (struct ask){ .count = 3, .align = 1 }, "....@@@");
    expect_placed(".......", (struct ask){ .count = 2, .align = 2 }, "....@@.");
    expect_placed(".......", (struct ask){ .count = 3, .align = 4 }, "....@@@");
    expect_placed(".......", (struct ask){ .count = 4, .align = 4 }, "@@@@...");
    expect_placed("....#...", (struct ask){ .count = 1, .align = 8 }, "@...#...");
    expect_fails("#...#...", (struct ask){ .count = 1, .align = 4 }, LOAM_NO_SPACE);
    expect_fails(".......", (struct ask){ .count = 1, .align = 1u << 20 }, LOAM_NO_SPACE);
}

static void range_keeps_from_and_limit(void **state)
{
    (void)state;
    expect_placed("........", (struct ask){ .count = 2, .limit = 7 }, ".....@@.");
    expect_placed("........", (struct ask){ .count = 2, .limit = 2 }, "@@......");
    expect_placed("........", (struct ask){ .count = 2, .from = 6 }, "......@@");
    expect_placed("........", (struct ask){ .count = 2, .from = 3, .limit = 5 }, "...@@...");
    expect_placed("........", (struct ask){ .count = 1, .from = 3, .limit = 4 }, "...@....");
    expect_placed("........", (struct ask){ .count = 2, .align = 2, .from = 1, .limit = 5 },
                  "..@@....");
    expect_fails("........", (struct ask){ .count = 2, .limit = 1 }, LOAM_NO_MEMORY);
    expect_fails("........", (struct ask){ .count = 2, .from = 7 }, LOAM_NO_MEMORY);
    expect_fails("........", (struct ask){ .count = 2, .from = 4, .limit = 5 }, LOAM_NO_MEMORY);
    expect_fails("........", (struct ask){ .count = 1, .from = 8 }, LOAM_NO_MEMORY);
    expect_fails("...#....", (struct ask){ .count = 4, .from = 1, .limit = 6 }, LOAM_NO_SPACE);
}

/* Addresses between pages: the range starts above, ends below. */
static void range_keeps_bounds_inside_a_page(void **state)
{
    loam_phys out = loam_phys_none();
    (void)state;
    paint("........", 1);
    struct loam_frame_request request = { .page_count = 2, .limit = BYTES(BASE + 6) - 1 };
    assert_int_equal(loam_frame_alloc_range(&frame, &request, &out), LOAM_OK);
    assert_int_equal(out.addr, BYTES(BASE + 3));
    paint("........", 1);
    request.limit = BYTES(BASE + 6) + 1;
    assert_int_equal(loam_frame_alloc_range(&frame, &request, &out), LOAM_OK);
    assert_int_equal(out.addr, BYTES(BASE + 4));
    paint("........", 1);
    request.from = BYTES(BASE + 4) + 1;
    expect_status(request, LOAM_NO_MEMORY);
    request.from = BYTES(BASE + 4) - 1;
    assert_int_equal(loam_frame_alloc_range(&frame, &request, &out), LOAM_OK);
    assert_int_equal(out.addr, BYTES(BASE + 4));
}

static void range_does_not_cross_a_boundary(void **state)
{
    (void)state;
    expect_placed(".......", (struct ask){ .count = 2, .boundary = 4 }, ".....@@");
    expect_placed(".....#.", (struct ask){ .count = 2, .boundary = 4 }, "..@@.#.");
    expect_placed("......#.", (struct ask){ .count = 3, .boundary = 4 }, ".@@@..#.");
    expect_placed("......#.", (struct ask){ .count = 4, .boundary = 4 }, "@@@@..#.");
    expect_placed(".......", (struct ask){ .count = 4, .boundary = 8 }, "...@@@@");
    expect_placed("......#.", (struct ask){ .count = 2, .align = 2, .boundary = 2 }, "....@@#.");
    expect_placed("#.#.#.#.", (struct ask){ .count = 1, .boundary = 1 }, "#.#.#.#@");
    expect_fails("#......#", (struct ask){ .count = 4, .boundary = 4 }, LOAM_NO_SPACE);
    expect_fails(".#..#.##", (struct ask){ .count = 2, .align = 1, .boundary = 2, .limit = 3 },
                 LOAM_NO_SPACE);
}

/* ---- why not ------------------------------------------------------------- */

static void range_F04_fragmented_is_not_empty(void **state)
{
    (void)state;
    expect_fails("#.#.#.#.", (struct ask){ .count = 2 }, LOAM_NO_SPACE);
    expect_fails("#.#.#.#.", (struct ask){ .count = 4 }, LOAM_NO_SPACE);
    expect_fails("#.#.#.#.", (struct ask){ .count = 5 }, LOAM_NO_MEMORY);
    expect_fails("########", (struct ask){ .count = 1 }, LOAM_NO_MEMORY);
    expect_fails("........", (struct ask){ .count = 9 }, LOAM_NO_MEMORY);
    expect_fails(".... ...", (struct ask){ .count = 5 }, LOAM_NO_SPACE);
    expect_fails(".... ...", (struct ask){ .count = 8 }, LOAM_NO_MEMORY);
    expect_fails("#.#.#.#.", (struct ask){ .count = 2, .from = 3, .limit = 6 }, LOAM_NO_SPACE);
    expect_fails("#.#.#.#.", (struct ask){ .count = 2, .from = 3, .limit = 5 }, LOAM_NO_MEMORY);
}

static void range_F05_malformed_requests_are_invalid(void **state)
{
    static const uint64_t no_power[] = { 3, 24, 4097, 12288, UINT64_MAX, (UINT64_C(1) << 63) + 1 };
    (void)state;
    paint("........", 1);
    expect_status((struct loam_frame_request){ .page_count = 0 }, LOAM_INVALID);
    expect_status((struct loam_frame_request){ .page_count = 0, .align_bytes = 4096 },
                  LOAM_INVALID);
    for (size_t i = 0; i < COUNT(no_power); i++) {
        expect_status((struct loam_frame_request){ .page_count = 1, .align_bytes = no_power[i] },
                      LOAM_INVALID);
        expect_status((struct loam_frame_request){ .page_count = 1, .boundary_bytes = no_power[i] },
                      LOAM_INVALID);
    }
}

/* Sizes that wrap in bytes, alignments beyond memory: no, whatever the reason. */
static void range_F02_F05_huge_requests_fail(void **state)
{
    (void)state;
    paint("........", 1);
    const uint64_t digest = loam_frame_digest(&frame);
    for (unsigned shift = 4; shift < 64; shift++) {
        for (int less = -1; less <= 1; less++) {
            const struct loam_frame_request request = { .page_count = (UINT64_C(1) << shift) +
                                                                      (uint64_t)less };
            loam_phys out = loam_phys_at(77);
            assert_int_not_equal(loam_frame_alloc_range(&frame, &request, &out), LOAM_OK);
            assert_int_equal(out.addr, 77);
        }
    }
    for (unsigned shift = 27; shift < 64; shift++) /* 64 MiB is a multiple of less */
        expect_status((struct loam_frame_request){ 1, UINT64_C(1) << shift, 0, 0, 0 },
                      LOAM_NO_SPACE);
    expect_status((struct loam_frame_request){ .page_count = UINT64_MAX }, LOAM_INVALID);
    expect_status((struct loam_frame_request){ .page_count = UINT64_MAX >> LOAM_PAGE_SHIFT },
                  LOAM_NO_MEMORY);
    expect_status((struct loam_frame_request){ 1, 0, UINT64_MAX, 0, 0 }, LOAM_NO_MEMORY);
    expect_status((struct loam_frame_request){ 1, 0, 0, 1, 0 }, LOAM_NO_MEMORY);
    assert_int_equal(loam_frame_digest(&frame), digest);
}

/* ---- exact frames -------------------------------------------------------- */

static void reserve_F07_says_why_not(void **state)
{
    (void)state;
    paint("..#.. ...", 1);
    assert_int_equal(reserve(BASE, BASE + 2), LOAM_OK);
    assert_int_equal(reserve(BASE, BASE + 1), LOAM_OVERLAP);
    assert_int_equal(reserve(BASE + 2, BASE + 3), LOAM_OVERLAP);
    assert_int_equal(reserve(BASE + 2, BASE + 4), LOAM_OVERLAP);
    assert_int_equal(reserve(BASE + 3, BASE + 6), LOAM_NOT_FOUND);
    assert_int_equal(reserve(BASE + 3, BASE + 7), LOAM_NOT_FOUND);
    assert_int_equal(reserve(BASE + 5, BASE + 6), LOAM_NOT_FOUND);
    assert_int_equal(reserve(BASE + 5, BASE + 7), LOAM_NOT_FOUND);
    assert_int_equal(reserve(BASE + 8, BASE + 10), LOAM_NOT_FOUND);
    assert_int_equal(reserve(BASE + 9, BASE + 10), LOAM_NOT_FOUND);
    assert_int_equal(reserve(BASE - 1, BASE + 1), LOAM_NOT_FOUND);
    assert_int_equal(reserve(0, 1), LOAM_NOT_FOUND);
    assert_int_equal(reserve(TIB(4096) - 1, TIB(4096)), LOAM_NOT_FOUND);
    assert_int_equal(reserve(0, UINT64_MAX >> LOAM_PAGE_SHIFT), LOAM_NOT_FOUND);
    expect_looks("###.. ...");
}

static void reserve_F07_malformed_is_invalid(void **state)
{
    static const struct loam_phys_range wrong[] = {
        { { BYTES(BASE) }, 0 },
        { { BYTES(BASE) + 1 }, 4096 },
        { { BYTES(BASE) }, 4095 },
        { { BYTES(BASE) }, 1 },
        { { BYTES(BASE) + 2048 }, 2048 },
        { { UINT64_MAX - 4095 }, 8192 },
        { { BYTES(BASE) }, UINT64_MAX - 4095 },
    };
    (void)state;
    paint("........", 1);
    const uint64_t digest = loam_frame_digest(&frame);
    for (size_t i = 0; i < COUNT(wrong); i++)
        assert_int_equal(loam_frame_reserve(&frame, wrong[i]), LOAM_INVALID);
    assert_int_equal(loam_frame_digest(&frame), digest);
}

/* Every start and end over three blocks and a bit, one page in use: all or nothing. */
static void reserve_F07_over_blocks_is_all_or_nothing(void **state)
{
    static const uint64_t edge[] = { 3,   4,    63,   64,   65,   127,  511,  512,  513,
                                     600, 1023, 1024, 1025, 1087, 1535, 1536, 1537, 1599 };
    (void)state;
    const struct pages world = { BASE + 3, BASE + 1600 };
    world_of(&world, 1, 1);
    for (size_t i = 0; i < COUNT(edge); i++) {
        for (size_t j = i + 1; j < COUNT(edge); j++) {
            const uint64_t first = BASE + edge[i];
            const uint64_t end = BASE + edge[j];
            for (size_t k = 0; k < COUNT(edge); k++) {
                const uint64_t used = BASE + edge[k];
                assert_int_equal(reserve(used, used + 1), LOAM_OK);
                const bool is_inside = used >= first && used < end;
                assert_int_equal(reserve(first, end), is_inside ? LOAM_OVERLAP : LOAM_OK);
                release(used, used + 1);
                if (!is_inside)
                    release(first, end);
            }
            assert_int_equal(reserve(first, end), LOAM_OK);
            assert_int_equal(stats().free_count, ram_pages - (end - first));
            release(first, end);
        }
    }
    expect_all_free();
}

/* Ranges that touch are one to whoever takes frames by address; so is RAM that is cut
 * between zones. */
static void reserve_crosses_ranges_that_touch(void **state)
{
    (void)state;
    WORLD(1, { 4096 - 600, 4096 - 9 }, { 4096 - 9, 4096 + 600 }, { GIB(4) - 600, GIB(4) + 600 });
    assert_int_equal(reserve(4096 - 600, 4096 + 600), LOAM_OK);
    assert_int_equal(reserve(GIB(4) - 600, GIB(4) + 600), LOAM_OK);
    assert_int_equal(stats().free_count, 0);
    release(4096 - 13, 4096 + 600);
    assert_int_equal(reserve(4096 - 14, 4096 + 600), LOAM_OVERLAP);
    assert_int_equal(reserve(4096 - 13, 4096 + 600), LOAM_OK);
    release(GIB(4) - 1, GIB(4) + 1);
    assert_int_equal(stats().free_count, 2);
    assert_int_equal(zone_stats(LOAM_ZONE_ANY).free_count, 1);
}

/* What waits in a lane is free. */
static void reserve_takes_frames_that_wait_in_lanes(void **state)
{
    (void)state;
    for (unsigned cpu = 0; cpu < 2; cpu++) {
        paint("........", 64);
        const uint64_t pair = take(1);
        const uint64_t page = take(0);
        give(take(0), 0);
        assert_int_not_equal(stats().lane_count, 0);
        machine_set_cpu(cpu);
        for (uint64_t other = BASE; other < BASE + 8 * 64; other++) {
            const bool is_used = other == page || other - pair < 2;
            assert_int_equal(reserve(other, other + 1), is_used ? LOAM_OVERLAP : LOAM_OK);
        }
        assert_int_equal(take(0), NONE);
    }
}

/* ---- release ------------------------------------------------------------- */

static void release_in_parts_is_exact(void **state)
{
    static const uint64_t edge[] = { 0, 1, 63, 64, 65, 128, 400, 512, 700, 1023, 1024, 1536 };
    (void)state;
    for (size_t i = 0; i < COUNT(edge); i++) {
        for (size_t j = i + 1; j < COUNT(edge); j++) {
            paint("........................", 64);
            assert_int_equal(reserve(BASE, BASE + 1536), LOAM_OK);
            release(BASE + edge[i], BASE + edge[j]);
            assert_int_equal(stats().free_count, edge[j] - edge[i]);
            assert_int_equal(reserve(BASE + edge[i], BASE + edge[j]), LOAM_OK);
            if (i > 0)
                release(BASE, BASE + edge[i]);
            release(BASE + edge[i], BASE + edge[j]);
            if (edge[j] < 1536)
                release(BASE + edge[j], BASE + 1536);
            expect_all_free();
            assert_int_equal(take(10), BASE);
        }
    }
}

/* A part of a range, a block of 2^order frames and what was reserved, at once. */
static void release_joins_different_allocations(void **state)
{
    (void)state;
    WORLD(1, { BASE, BASE + 3 * BLOCK });
    assert_int_not_equal(take(9), NONE);
    assert_int_not_equal(take(9), NONE);
    assert_int_not_equal(take(8), NONE);
    assert_int_not_equal(take(7), NONE);
    assert_int_not_equal(take(7), NONE);
    assert_int_equal(take(0), NONE);
    release(BASE + 100, BASE + 1400);
    assert_int_equal(stats().free_count, 1300);
    release(BASE, BASE + 100);
    release(BASE + 1400, BASE + 1536);
    expect_all_free();
    assert_int_equal(stats().largest_free, 3 * BLOCK);
}

/* ---- failing large requests ---------------------------------------------- */

/*
 *   [ . . . # . . . . )   one frame of one block of the run is in use: each block in
 *                         turn, and nothing else
 */
static void alloc_of_a_large_order_fails_and_changes_nothing(void **state)
{
    (void)state;
    for (unsigned order = 9; order <= LOAM_ORDER_MAX; order++) {
        const struct pages world = { GIB(8), GIB(8) + (UINT64_C(1) << order) };
        const uint64_t blocks = UINT64_C(1) << (order - 9);
        world_of(&world, 1, 1);
        for (uint64_t i = 0; i < blocks; i += blocks < 32 ? 1 : blocks / 17) {
            const uint64_t used = world.first + i * BLOCK + test_random_below(BLOCK);
            assert_int_equal(reserve(used, used + 1), LOAM_OK);
            assert_int_equal(take(order), NONE);
            const struct loam_frame_stats now = stats();
            assert_int_equal(now.free_count, ram_pages - 1);
            assert_int_equal(now.block_count, blocks - 1);
            const uint64_t above = blocks - 1 - i;
            assert_int_equal(now.largest_free, BLOCK * (i > above ? i : above));
            release(used, used + 1);
        }
        assert_int_equal(take(order), world.first);
        assert_int_equal(take(0), NONE);
        give(world.first, order);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(range_is_the_highest_that_suits),
        cmocka_unit_test(range_is_aligned),
        cmocka_unit_test(range_keeps_from_and_limit),
        cmocka_unit_test(range_keeps_bounds_inside_a_page),
        cmocka_unit_test(range_does_not_cross_a_boundary),
        cmocka_unit_test(range_F04_fragmented_is_not_empty),
        cmocka_unit_test(range_F05_malformed_requests_are_invalid),
        cmocka_unit_test(range_F02_F05_huge_requests_fail),
        cmocka_unit_test(reserve_F07_says_why_not),
        cmocka_unit_test(reserve_F07_malformed_is_invalid),
        cmocka_unit_test(reserve_F07_over_blocks_is_all_or_nothing),
        cmocka_unit_test(reserve_crosses_ranges_that_touch),
        cmocka_unit_test(reserve_takes_frames_that_wait_in_lanes),
        cmocka_unit_test(release_in_parts_is_exact),
        cmocka_unit_test(release_joins_different_allocations),
        cmocka_unit_test(alloc_of_a_large_order_fails_and_changes_nothing),
    };
    return RUN_TESTS(tests);
}
