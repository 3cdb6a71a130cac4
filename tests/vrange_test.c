/*
 * vrange_test.c - windows, and how virtual ranges are found in them.
 */
#include "vrange_world.h"

/* ---- init and windows ---------------------------------------------------- */

static void init_needs_a_stock_and_4_or_5_levels(void **state)
{
    (void)state;
    no_window(1);
    EXPECT_PANIC("vrange: no stock of nodes", loam_vrange_init(&vrange, NULL, 4, 0));
    EXPECT_PANIC("vrange: neither 4 nor 5 paging levels", loam_vrange_init(&vrange, &stock, 3, 0));
    EXPECT_PANIC("vrange: neither 4 nor 5 paging levels", loam_vrange_init(&vrange, &stock, 6, 0));
}

/* Without a window there is no place, and nothing to see. */
static void without_a_window_there_is_no_place(void **state)
{
    struct loam_vrange_info info;

    (void)state;
    no_window(1);
    EXPECT_REFUSED(try_alloc(plain(1)), LOAM_NO_SPACE);
    EXPECT_REFUSED(reserve_plain(0, 1), LOAM_NOT_FOUND);
    assert_false(loam_vrange_next(&vrange, loam_virt_at(0), &info));
    assert_int_equal(loam_vrange_lookup(&vrange, loam_virt_at(HIGH), &info), LOAM_VRANGE_NOWHERE);
    assert_int_equal(purge(), 0);
}

static enum loam_status add(uint64_t start, uint64_t size)
{
    return loam_vrange_add_window(&vrange, loam_virt_range_of(loam_virt_at(start), size));
}

static void add_window_V01_refuses_what_is_none(void **state)
{
    static const struct {
        uint64_t start, size;
    } bad[] = {
        { HIGH, 0 },
        { HIGH + 1, PAGES(1) },
        { HIGH, PAGES(1) + 1 },
        { UINT64_MAX - 4095, PAGES(2) },                      /* wraps */
        { HIGH, UINT64_MAX - 4095 },                          /* wraps */
        { 0, UINT64_MAX - 4095 },                             /* both halves */
        { UINT64_C(0x00007ffffffff000), PAGES(2) },           /* into the hole */
        { UINT64_C(0x0000800000000000), PAGES(1) },           /* in the hole */
        { UINT64_C(0xffff7ffffffff000), PAGES(2) },           /* out of the hole */
        { UINT64_C(0x00007ffffffff000), 0xffff800000002000 }, /* across the hole */
    };

    (void)state;
    no_window(1);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        EXPECT_REFUSED(add(bad[i].start, bad[i].size), LOAM_INVALID);
    assert_int_equal(vrange.window_count, 0);
}

/* With 5 levels the hole is smaller. */
static void add_window_V01_knows_the_hole_of_5_levels(void **state)
{
    (void)state;
    no_window(1);
    loam_vrange_init(&vrange, &stock, 5, 0);
    assert_int_equal(add(UINT64_C(0x0000800000000000), PAGES(1)), LOAM_OK);
    assert_int_equal(add(UINT64_C(0x0100000000000000) - PAGES(1), PAGES(1)), LOAM_OK);
    EXPECT_REFUSED(add(UINT64_C(0x0100000000000000), PAGES(1)), LOAM_INVALID);
    check_sound();
}

/*
 *     window        [10     20)
 *     refused    [9  11)  [19  21)  [10 20)  [12 13)  [9 21)
 *     fine    [5 10)            [20 21)
 */
static void add_window_V01_refuses_overlap_and_one_too_many(void **state)
{
    (void)state;
    no_window(1);
    assert_int_equal(loam_vrange_add_window(&vrange, virt_pages(HIGH, 10, 10)), LOAM_OK);
    EXPECT_REFUSED(loam_vrange_add_window(&vrange, virt_pages(HIGH, 9, 2)), LOAM_OVERLAP);
    EXPECT_REFUSED(loam_vrange_add_window(&vrange, virt_pages(HIGH, 19, 2)), LOAM_OVERLAP);
    EXPECT_REFUSED(loam_vrange_add_window(&vrange, virt_pages(HIGH, 10, 10)), LOAM_OVERLAP);
    EXPECT_REFUSED(loam_vrange_add_window(&vrange, virt_pages(HIGH, 12, 1)), LOAM_OVERLAP);
    EXPECT_REFUSED(loam_vrange_add_window(&vrange, virt_pages(HIGH, 9, 12)), LOAM_OVERLAP);
    assert_int_equal(loam_vrange_add_window(&vrange, virt_pages(HIGH, 5, 5)), LOAM_OK);
    assert_int_equal(loam_vrange_add_window(&vrange, virt_pages(HIGH, 20, 1)), LOAM_OK);
    for (unsigned i = 3; i < LOAM_VRANGE_WINDOWS_MAX; i++)
        assert_int_equal(loam_vrange_add_window(&vrange, virt_pages(HIGH, 100 + i, 1)), LOAM_OK);
    EXPECT_REFUSED(loam_vrange_add_window(&vrange, virt_pages(HIGH, 200, 1)), LOAM_NO_SPACE);
    check_sound();
}

/* A window that ends at 2^64: its last page can be had, freed and seen. */
static void window_V10_may_end_at_the_end_of_the_address_space(void **state)
{
    const uint64_t base = UINT64_MAX - 4 * LOAM_PAGE_SIZE + 1;
    struct loam_vrange_info info;
    struct loam_vrange_request request = { .page_count = 2, .guard_before = 1, .guard_after = 1 };
    loam_virt at;

    (void)state;
    no_window(1);
    assert_int_equal(add(base, PAGES(4)), LOAM_OK);
    assert_int_equal(loam_vrange_alloc(&vrange, &request, &at), LOAM_OK);
    assert_int_equal(at.addr, base + PAGES(1));
    EXPECT_REFUSED(try_alloc(plain(1)), LOAM_NO_SPACE);
    assert_int_equal(loam_vrange_lookup(&vrange, loam_virt_at(UINT64_MAX), &info),
                     LOAM_VRANGE_IN_GUARD_AFTER);
    assert_false(loam_vrange_info_end(&info, &at));
    loam_vrange_free(&vrange, loam_virt_range_of(loam_virt_at(base + PAGES(1)), PAGES(2)));
    assert_int_equal(purge(), 1);
    check_sound();
    request.guard_after = 0;
    request.page_count = 3;
    assert_int_equal(loam_vrange_reserve(&vrange, &request, loam_virt_at(base + PAGES(1))),
                     LOAM_OK);
    EXPECT_REFUSED(loam_vrange_reserve(&vrange, &request, loam_virt_at(base + PAGES(2))),
                   LOAM_NOT_FOUND);
    assert_true(loam_vrange_next(&vrange, loam_virt_at(UINT64_MAX), &info));
    assert_int_equal(info.range.size, PAGES(3));
    assert_false(loam_vrange_info_end(&info, &at));
}

/* A window from address 0 on is one like any other. */
static void window_may_begin_at_address_0(void **state)
{
    struct loam_vrange_request request = plain(1);
    loam_virt at;

    (void)state;
    no_window(1);
    assert_int_equal(add(0, PAGES(2)), LOAM_OK);
    assert_int_equal(loam_vrange_alloc(&vrange, &request, &at), LOAM_OK);
    assert_int_equal(at.addr, 0);
    request.guard_before = 2;
    EXPECT_REFUSED(loam_vrange_reserve(&vrange, &request, loam_virt_at(PAGES(1))), LOAM_NOT_FOUND);
    loam_vrange_free(&vrange, loam_virt_range_of(at, PAGES(1)));
    assert_int_equal(purge(), 1);
    check_sound();
}

/* Windows are tried in the order in which they were named, not by address. */
static void alloc_takes_the_window_named_first(void **state)
{
    (void)state;
    no_window(1);
    assert_int_equal(loam_vrange_add_window(&vrange, virt_pages(HIGH, 100, 4)), LOAM_OK);
    assert_int_equal(loam_vrange_add_window(&vrange, virt_pages(HIGH, 0, 8)), LOAM_OK);
    assert_int_equal(alloc_plain(3), 100);
    assert_int_equal(alloc_plain(3), 0);
    assert_int_equal(alloc_plain(1), 103);
    assert_int_equal(alloc_plain(1), 3);
    check_sound();
}

/* ---- allocate ------------------------------------------------------------ */

static void alloc_takes_the_lowest_place(void **state)
{
    (void)state;
    one_window(1, 16);
    assert_int_equal(alloc_plain(4), 0);
    assert_int_equal(alloc_plain(2), 4);
    assert_int_equal(alloc_plain(4), 6);
    free_pages(0, 4);
    free_pages(4, 2);
    assert_int_equal(purge(), 2);
    assert_int_equal(alloc_plain(5), 0); /* the two have merged */
    assert_int_equal(alloc_plain(2), 10);
    assert_int_equal(alloc_plain(1), 5);
    check_sound();
}

static void alloc_V02_of_nothing_of_all_and_of_more(void **state)
{
    (void)state;
    one_window(1, 16);
    EXPECT_REFUSED(try_alloc(plain(0)), LOAM_INVALID);
    EXPECT_REFUSED(try_alloc(plain(17)), LOAM_NO_SPACE);
    EXPECT_REFUSED(try_alloc(plain(UINT64_C(1) << 52)), LOAM_NO_SPACE);
    EXPECT_REFUSED(try_alloc(plain((UINT64_C(1) << 52) + 1)), LOAM_INVALID);
    EXPECT_REFUSED(try_alloc(plain(UINT64_MAX)), LOAM_INVALID);
    assert_int_equal(alloc_plain(16), 0);
    EXPECT_REFUSED(try_alloc(plain(1)), LOAM_NO_SPACE);
    check_sound();
}

static struct loam_vrange_request aligned(uint64_t count, uint64_t align_bytes)
{
    struct loam_vrange_request request = plain(count);
    request.align_bytes = align_bytes;
    return request;
}

/* The window begins at page 3 above what everything is aligned to. */
static void alloc_V03_alignment(void **state)
{
    struct loam_vrange_request request = aligned(2, PAGES(8));

    (void)state;
    no_window(1);
    assert_int_equal(loam_vrange_add_window(&vrange, virt_pages(HIGH, 3, 38)), LOAM_OK);
    EXPECT_REFUSED(try_alloc(aligned(1, 3)), LOAM_INVALID);
    EXPECT_REFUSED(try_alloc(aligned(1, PAGES(3))), LOAM_INVALID);
    EXPECT_REFUSED(try_alloc(aligned(1, UINT64_MAX)), LOAM_INVALID);
    EXPECT_REFUSED(try_alloc(aligned(1, UINT64_C(1) << 63)), LOAM_NO_SPACE);
    EXPECT_REFUSED(try_alloc(aligned(1, PAGES(64))), LOAM_NO_SPACE);
    assert_int_equal(alloc(&request), 8);
    request.guard_before = 6; /* [10, 16) is free: the guard fits exactly */
    assert_int_equal(alloc(&request), 16);
    assert_int_equal(alloc(&request), 24);
    request.guard_before = 7; /* [26, 32) has no room for 7, nor [40, 41) for 2 */
    EXPECT_REFUSED(try_alloc(request), LOAM_NO_SPACE);
    assert_int_equal(alloc_plain(1), 3);
    request = aligned(1, 1); /* as good as none */
    assert_int_equal(alloc(&request), 4);
    check_sound();
}

/* An alignment as large as the window's own. */
static void alloc_V03_of_the_whole_aligned_window(void **state)
{
    const struct loam_vrange_request request = aligned(64, PAGES(64));

    (void)state;
    one_window(1, 64);
    assert_int_equal(alloc(&request), 0);
}

static void alloc_keeps_to_its_bounds(void **state)
{
    struct loam_vrange_request request = plain(2);

    (void)state;
    one_window(1, 16);
    request.from = HIGH + PAGES(4) + 1;     /* rounded up to page 5 */
    request.limit = HIGH + PAGES(8) + 4095; /* rounded down to page 8 */
    assert_int_equal(alloc(&request), 5);
    EXPECT_REFUSED(try_alloc(request), LOAM_NO_SPACE);
    request.page_count = 1;
    assert_int_equal(alloc(&request), 7);
    EXPECT_REFUSED(try_alloc(request), LOAM_NO_SPACE);
    request.limit = 0;
    assert_int_equal(alloc(&request), 8);
    request.guard_after = 1; /* bounds are those of the whole */
    request.limit = HIGH + PAGES(10);
    EXPECT_REFUSED(try_alloc(request), LOAM_NO_SPACE);
    request.limit = HIGH + PAGES(11);
    assert_int_equal(alloc(&request), 9);
    request.from = UINT64_MAX;
    request.limit = 0;
    EXPECT_REFUSED(try_alloc(request), LOAM_NO_SPACE);
    request.from = HIGH + PAGES(14);
    request.limit = HIGH + PAGES(12); /* the wrong way round */
    EXPECT_REFUSED(try_alloc(request), LOAM_NO_SPACE);
    check_sound();
}

/*
 *     [ guard 0 | 1 2 | guard 3 )[ guard 4 | 5 )
 */
static void alloc_counts_guards_as_its_own(void **state)
{
    struct loam_vrange_request request = { .page_count = 2, .guard_before = 1, .guard_after = 1 };

    (void)state;
    one_window(1, 6);
    assert_int_equal(alloc(&request), 1);
    EXPECT_REFUSED(try_alloc(request), LOAM_NO_SPACE);
    request.page_count = 1;
    request.guard_after = 0;
    assert_int_equal(alloc(&request), 5);
    check_sound();
    free_pages(1, 2);
    assert_int_equal(purge(), 1);
    assert_int_equal(alloc_plain(4), 0);
}

static void alloc_V06_refuses_guards_that_overflow(void **state)
{
    struct loam_vrange_request request = plain(1);

    (void)state;
    one_window(1, UINT64_C(1) << 30);
    request.guard_before = LOAM_VRANGE_GUARD_MAX + 1;
    EXPECT_REFUSED(try_alloc(request), LOAM_INVALID);
    request.guard_before = UINT64_MAX;
    EXPECT_REFUSED(try_alloc(request), LOAM_INVALID);
    request.guard_before = 0;
    request.guard_after = LOAM_VRANGE_GUARD_MAX + 1;
    EXPECT_REFUSED(try_alloc(request), LOAM_INVALID);
    request.guard_before = LOAM_VRANGE_GUARD_MAX;
    request.guard_after = LOAM_VRANGE_GUARD_MAX;
    request.page_count = UINT64_C(1) << 52;
    EXPECT_REFUSED(try_alloc(request), LOAM_NO_SPACE);
    request.page_count = 1;
    assert_int_equal(alloc(&request), LOAM_VRANGE_GUARD_MAX);
    request.page_count = 0; /* nothing but guards */
    EXPECT_REFUSED(try_alloc(request), LOAM_INVALID);
    free_pages(LOAM_VRANGE_GUARD_MAX, 1);
    assert_int_equal(purge(), 1);
    check_sound();
}

/* The same number gives the same place among the same ranges; all places come up;
 * where no place is above, it is the lowest. */
static void alloc_V09_by_dice_is_repeatable_and_even(void **state)
{
    struct loam_vrange_request request = plain(2);
    unsigned seen[16] = { 0 };

    (void)state;
    request.guard_before = 1;
    for (unsigned i = 1; i <= 1400; i++) {
        one_window(1, 16);
        request.dice = test_random();
        const uint64_t page = alloc(&request);
        assert_true(page >= 1 && page <= 14);
        seen[page]++;
        free_pages(page, 2);
        assert_int_equal(purge(), 1);
        assert_int_equal(alloc(&request), page);
    }
    for (unsigned page = 1; page <= 14; page++)
        assert_in_range(seen[page], 50, 150);
    one_window(1, 16);
    request.dice = 13; /* 13 of 14 places: the last but none */
    assert_int_equal(alloc(&request), 14);
    assert_int_equal(alloc(&request), 1);
    request.from = HIGH + PAGES(8); /* 13 modulo 4 + 1 */
    request.limit = HIGH + PAGES(13);
    assert_int_equal(alloc(&request), 10);
    check_sound();
}

/* ---- reserve ------------------------------------------------------------- */

/*
 *     window  [0          8)
 *     used        [3  5)
 */
static void reserve_V04_takes_exactly_what_is_free(void **state)
{
    (void)state;
    one_window(1, 8);
    assert_int_equal(reserve_plain(3, 2), LOAM_OK);
    EXPECT_REFUSED(reserve_plain(3, 2), LOAM_OVERLAP);
    EXPECT_REFUSED(reserve_plain(4, 1), LOAM_OVERLAP);
    EXPECT_REFUSED(reserve_plain(2, 2), LOAM_OVERLAP);
    EXPECT_REFUSED(reserve_plain(4, 4), LOAM_OVERLAP);
    EXPECT_REFUSED(reserve_plain(0, 8), LOAM_OVERLAP);
    EXPECT_REFUSED(reserve_plain(0, 0), LOAM_INVALID);
    EXPECT_REFUSED(reserve_plain(7, 2), LOAM_NOT_FOUND);
    EXPECT_REFUSED(reserve_plain(8, 1), LOAM_NOT_FOUND);
    EXPECT_REFUSED(reserve_plain(UINT64_MAX / LOAM_PAGE_SIZE, 1), LOAM_NOT_FOUND);
    const struct loam_vrange_request request = plain(1);
    EXPECT_REFUSED(loam_vrange_reserve(&vrange, &request, loam_virt_at(HIGH + 1)), LOAM_INVALID);
    assert_int_equal(reserve_plain(5, 3), LOAM_OK);
    assert_int_equal(reserve_plain(0, 3), LOAM_OK);
    check_sound();
}

/* The guards must be free, too; alignment and bounds are not read. */
static void reserve_V04_wants_its_guards(void **state)
{
    struct loam_vrange_request request = { .page_count = 2,
                                           .guard_before = 1,
                                           .guard_after = 2,
                                           .align_bytes = 77,
                                           .from = UINT64_MAX,
                                           .limit = 1 };

    (void)state;
    one_window(1, 12);
    assert_int_equal(reserve_plain(0, 2), LOAM_OK);
    assert_int_equal(reserve_plain(7, 1), LOAM_OK);
    EXPECT_REFUSED(loam_vrange_reserve(&vrange, &request, loam_virt_at(HIGH + PAGES(2))),
                   LOAM_OVERLAP);
    EXPECT_REFUSED(loam_vrange_reserve(&vrange, &request, loam_virt_at(HIGH + PAGES(4))),
                   LOAM_OVERLAP);
    assert_int_equal(loam_vrange_reserve(&vrange, &request, loam_virt_at(HIGH + PAGES(3))),
                     LOAM_OK);
    EXPECT_REFUSED(loam_vrange_reserve(&vrange, &request, loam_virt_at(HIGH + PAGES(9))),
                   LOAM_NOT_FOUND);
    check_sound();
}

/* Used ranges count for more than those that wait. */
static void reserve_tells_waiting_from_used(void **state)
{
    (void)state;
    one_window(1, 8);
    assert_int_equal(reserve_plain(0, 2), LOAM_OK);
    assert_int_equal(reserve_plain(2, 2), LOAM_OK);
    assert_int_equal(reserve_plain(5, 1), LOAM_OK);
    free_pages(0, 2);
    EXPECT_REFUSED(reserve_plain(0, 2), LOAM_STATE);
    EXPECT_REFUSED(reserve_plain(0, 3), LOAM_OVERLAP);
    free_pages(2, 2);
    EXPECT_REFUSED(reserve_plain(0, 5), LOAM_STATE);
    EXPECT_REFUSED(reserve_plain(0, 6), LOAM_OVERLAP);
    assert_int_equal(purge(), 2);
    assert_int_equal(reserve_plain(0, 5), LOAM_OK);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(init_needs_a_stock_and_4_or_5_levels),
        cmocka_unit_test(without_a_window_there_is_no_place),
        cmocka_unit_test(add_window_V01_refuses_what_is_none),
        cmocka_unit_test(add_window_V01_knows_the_hole_of_5_levels),
        cmocka_unit_test(add_window_V01_refuses_overlap_and_one_too_many),
        cmocka_unit_test(window_V10_may_end_at_the_end_of_the_address_space),
        cmocka_unit_test(window_may_begin_at_address_0),
        cmocka_unit_test(alloc_takes_the_window_named_first),
        cmocka_unit_test(alloc_takes_the_lowest_place),
        cmocka_unit_test(alloc_V02_of_nothing_of_all_and_of_more),
        cmocka_unit_test(alloc_V03_alignment),
        cmocka_unit_test(alloc_V03_of_the_whole_aligned_window),
        cmocka_unit_test(alloc_keeps_to_its_bounds),
        cmocka_unit_test(alloc_counts_guards_as_its_own),
        cmocka_unit_test(alloc_V06_refuses_guards_that_overflow),
        cmocka_unit_test(alloc_V09_by_dice_is_repeatable_and_even),
        cmocka_unit_test(reserve_V04_takes_exactly_what_is_free),
        cmocka_unit_test(reserve_V04_wants_its_guards),
        cmocka_unit_test(reserve_tells_waiting_from_used),
    };
    return RUN_TESTS(tests);
}
