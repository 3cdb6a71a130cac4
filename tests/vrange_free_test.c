/*
 * vrange_free_test.c - virtual ranges freed and purged, looked at, and the records
 * that they need.
 */
#include "vrange_world.h"

/* ---- free and purge ------------------------------------------------------ */

/* A freed range is nobody's until its batch has ended. */
static void free_keeps_the_addresses_until_they_are_purged(void **state)
{
    struct loam_vrange_batch batch;

    (void)state;
    one_window(1, 4);
    assert_int_equal(alloc_plain(2), 0);
    assert_int_equal(alloc_plain(2), 2);
    EXPECT_REFUSED(try_alloc(plain(2)), LOAM_NO_SPACE);
    free_pages(0, 2);
    check_sound();
    EXPECT_REFUSED(try_alloc(plain(2)), LOAM_STATE);
    EXPECT_REFUSED(try_alloc(plain(5)), LOAM_NO_SPACE); /* no purge helps */
    assert_true(loam_vrange_purge_begin(&vrange, &batch));
    check_sound();
    EXPECT_REFUSED(try_alloc(plain(2)), LOAM_STATE);
    assert_false(loam_vrange_purge_begin(&vrange, &batch)); /* nothing more waits for one */
    loam_vrange_purge_end(&batch);
    check_sound();
    EXPECT_REFUSED(try_alloc(plain(3)), LOAM_NO_SPACE);
    assert_int_equal(alloc_plain(2), 0);
}

/* What is freed while a batch is under way is in the next one. */
static void purge_takes_what_was_freed_before_it_began(void **state)
{
    struct loam_vrange_batch first;
    struct loam_vrange_batch second;

    (void)state;
    one_window(1, 4);
    assert_int_equal(alloc_plain(2), 0);
    assert_int_equal(alloc_plain(2), 2);
    free_pages(0, 2);
    assert_true(loam_vrange_purge_begin(&vrange, &first));
    free_pages(2, 2);
    assert_true(loam_vrange_purge_begin(&vrange, &second));
    assert_int_equal(second.range_count, 1);
    loam_vrange_purge_end(&second);
    check_sound();
    assert_int_equal(alloc_plain(2), 2);
    EXPECT_REFUSED(try_alloc(plain(2)), LOAM_STATE);
    loam_vrange_purge_end(&first);
    assert_int_equal(alloc_plain(2), 0);
    check_sound();
}

/*
 *     [g| 1 2 |g)[ 4 )[g| 6 7 8 )       1 2 and 6 7 8 are freed
 */
static void purge_names_what_to_flush(void **state)
{
    struct loam_vrange_request guarded = { .page_count = 2, .guard_before = 1, .guard_after = 1 };
    struct loam_vrange_batch batch;
    struct loam_vrange_info got;

    (void)state;
    one_window(1, 16);
    assert_int_equal(alloc(&guarded), 1);
    assert_int_equal(alloc_plain(1), 4);
    guarded.page_count = 3;
    guarded.guard_after = 0;
    assert_int_equal(alloc(&guarded), 6);
    free_pages(6, 3);
    free_pages(1, 2);
    assert_true(loam_vrange_purge_begin(&vrange, &batch));
    assert_int_equal(batch.range_count, 2);
    assert_int_equal(batch.page_count, 5);
    assert_int_equal(batch.span.start.addr, HIGH + PAGES(1));
    assert_int_equal(batch.span.size, PAGES(8));
    for (int round = 0; round < 2; round++) { /* it begins anew */
        uint64_t pages = 0;
        uint64_t first_pages = 0;
        while (loam_vrange_purge_next(&batch, &got)) {
            pages += got.range.size / LOAM_PAGE_SIZE;
            first_pages += (got.range.start.addr - HIGH) / LOAM_PAGE_SIZE;
            assert_int_equal(got.state, LOAM_VRANGE_WAITING);
        }
        assert_int_equal(pages, 5);
        assert_int_equal(first_pages, 7);
    }
    loam_vrange_purge_end(&batch);
    check_sound();
    free_pages(4, 1); /* the span begins anew, too */
    assert_true(loam_vrange_purge_begin(&vrange, &batch));
    assert_int_equal(batch.span.start.addr, HIGH + PAGES(4));
    assert_int_equal(batch.span.size, PAGES(1));
    loam_vrange_purge_end(&batch);
}

static void purge_is_due_after_so_many_pages(void **state)
{
    struct loam_vrange_request guarded = { .page_count = 2, .guard_before = 5 };
    struct loam_vrange_batch batch;

    (void)state;
    no_window(1);
    loam_vrange_init(&vrange, &stock, 4, 3);
    assert_int_equal(loam_vrange_add_window(&vrange, virt_pages(HIGH, 0, 16)), LOAM_OK);
    assert_int_equal(alloc(&guarded), 5);
    assert_int_equal(alloc_plain(1), 7);
    free_pages(5, 2);
    assert_false(loam_vrange_is_purge_due(&vrange)); /* guards need no flush */
    free_pages(7, 1);
    assert_true(loam_vrange_is_purge_due(&vrange));
    assert_true(loam_vrange_purge_begin(&vrange, &batch));
    assert_false(loam_vrange_is_purge_due(&vrange));
    loam_vrange_purge_end(&batch);
    assert_false(loam_vrange_is_purge_due(&vrange));
    loam_vrange_init(&vrange, &stock, 4, 0);
    assert_int_equal(vrange.purge_pages, LOAM_VRANGE_PURGE_PAGES);
}

static void purge_ends_once(void **state)
{
    struct loam_vrange_batch batch;

    (void)state;
    one_window(1, 4);
    assert_int_equal(alloc_plain(1), 0);
    free_pages(0, 1);
    assert_true(loam_vrange_purge_begin(&vrange, &batch));
    loam_vrange_purge_end(&batch);
    EXPECT_PANIC("vrange: purge was not begun, or has ended", loam_vrange_purge_end(&batch));
}

/* Used, queued, several frames of records, two windows: nothing is left of them. */
static void release_gives_all_frames_back(void **state)
{
    (void)state;
    one_window(4, 200);
    assert_int_equal(loam_vrange_add_window(&vrange, virt_pages(HIGH, 300, 9)), LOAM_OK);
    for (uint64_t i = 0; i < 150; i++)
        assert_int_equal(alloc_plain(1), i);
    assert_int_equal(reserve_plain(304, 4), LOAM_OK);
    free_pages(10, 1);
    free_pages(304, 4);
    check_sound();
    loam_vrange_release(&vrange);
    check_sound();
    assert_int_equal(stock.out_count, 0);
    assert_int_equal(vrange.window_count, 0);
    assert_int_equal(purge(), 0);
    assert_int_equal(loam_vrange_add_window(&vrange, virt_pages(HIGH, 0, 8)), LOAM_OK);
    assert_int_equal(alloc_plain(8), 0);
    EXPECT_REFUSED(try_alloc(plain(1)), LOAM_NO_SPACE);
    free_pages(0, 8);
    struct loam_vrange_batch batch;
    assert_true(loam_vrange_purge_begin(&vrange, &batch));
    assert_int_equal(batch.page_count, 8);
    EXPECT_PANIC("vrange: released during a purge", loam_vrange_release(&vrange));
}

/* Each wrong free has its own text. */
static void free_V05_panics_unless_it_is_exact(void **state)
{
    struct loam_vrange_request guarded = { .page_count = 2, .guard_before = 1, .guard_after = 1 };

    (void)state;
    one_window(1, 16);
    assert_int_equal(alloc(&guarded), 1);
    assert_int_equal(reserve_plain(12, 1), LOAM_OK);
    static const struct {
        uint64_t page, count;
        const char *rule;
    } wrong[] = {
        { 8, 1, "vrange: no range here" },            /* free, below a range */
        { 14, 1, "vrange: no range here" },           /* free, above all */
        { 16, 1, "vrange: no range here" },           /* above the window */
        { 0, 2, "vrange: not the start of a range" }, /* the guard */
        { 2, 1, "vrange: not the start of a range" }, /* inside */
        { 3, 1, "vrange: not the start of a range" }, /* the other guard */
        { 1, 1, "vrange: wrong size" },
        { 1, 3, "vrange: wrong size" },
        { 1, 0, "vrange: wrong size" },
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        EXPECT_PANIC(wrong[i].rule, free_pages(wrong[i].page, wrong[i].count));
        assert_int_equal(panic_trap.seen.subject, HIGH + PAGES(wrong[i].page));
        vrange.lock = (struct loam_ticketlock){ 0 }; /* whoever panics never releases it */
    }
    EXPECT_PANIC("vrange: address is not page-aligned",
                 loam_vrange_free(&vrange, loam_virt_range_of(loam_virt_at(HIGH + 4097), 8192)));
    check_sound();
    free_pages(1, 2);
    EXPECT_PANIC("vrange: freed twice", free_pages(1, 2));
    vrange.lock = (struct loam_ticketlock){ 0 };
    assert_int_equal(purge(), 1);
    EXPECT_PANIC("vrange: no range here", free_pages(1, 2));
}

/* ---- look ---------------------------------------------------------------- */

static struct loam_vrange_info info_at(uint64_t page)
{
    struct loam_vrange_info info;
    assert_int_not_equal(loam_vrange_lookup(&vrange, loam_virt_at(HIGH + PAGES(page)), &info),
                         LOAM_VRANGE_NOWHERE);
    return info;
}

/*
 *     [g| 1 2 |g g)   [ 8 )waiting   )16
 */
static void lookup_tells_range_guard_and_gap(void **state)
{
    static const struct {
        uint64_t page;
        enum loam_vrange_place place;
    } expected[] = {
        { 0, LOAM_VRANGE_IN_GUARD_BEFORE }, { 1, LOAM_VRANGE_IN_RANGE },
        { 2, LOAM_VRANGE_IN_RANGE },        { 3, LOAM_VRANGE_IN_GUARD_AFTER },
        { 4, LOAM_VRANGE_IN_GUARD_AFTER },  { 5, LOAM_VRANGE_IN_GAP },
        { 7, LOAM_VRANGE_IN_GAP },          { 8, LOAM_VRANGE_IN_RANGE },
        { 9, LOAM_VRANGE_IN_GAP },          { 15, LOAM_VRANGE_IN_GAP },
        { 16, LOAM_VRANGE_NOWHERE },        { UINT64_MAX, LOAM_VRANGE_NOWHERE },
    };
    struct loam_vrange_request guarded = {
        .page_count = 2, .guard_before = 1, .guard_after = 2, .name = "stack of CPU 0"
    };
    struct loam_vrange_info info;

    (void)state;
    one_window(1, 16);
    assert_int_equal(alloc(&guarded), 1);
    assert_int_equal(reserve_plain(8, 1), LOAM_OK);
    free_pages(8, 1);
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        const uint64_t start = HIGH + PAGES(expected[i].page);
        assert_int_equal(loam_vrange_lookup(&vrange, loam_virt_at(start), &info),
                         expected[i].place);
        assert_int_equal(loam_vrange_lookup(&vrange, loam_virt_at(start + 4095), &info),
                         expected[i].place);
    }
    info = info_at(0);
    assert_string_equal(info.name, "stack of CPU 0");
    assert_int_equal(info.range.start.addr, HIGH + PAGES(1));
    assert_int_equal(info.range.size, PAGES(2));
    assert_int_equal(info.guard_before, 1);
    assert_int_equal(info.guard_after, 2);
    assert_int_equal(info.state, LOAM_VRANGE_USED);
    info = info_at(8);
    assert_int_equal(info.state, LOAM_VRANGE_WAITING);
    assert_string_equal(info.name, "plain");
    info = info_at(6);
    assert_int_equal(info.state, LOAM_VRANGE_FREE);
    assert_int_equal(info.range.start.addr, HIGH + PAGES(5));
    assert_int_equal(info.range.size, PAGES(3));
    assert_string_equal(info.name, "free");
}

static void range_without_a_name_is_unnamed(void **state)
{
    const struct loam_vrange_request request = { .page_count = 1 };
    struct loam_vrange_info info;

    (void)state;
    one_window(1, 16);
    assert_int_equal(alloc(&request), 0);
    info = info_at(0);
    assert_string_equal(info.name, "unnamed");
}

static char text[2048];
static size_t text_size;

static void write_text(void *context, const char *from, size_t size_bytes)
{
    assert_ptr_equal(context, text);
    assert_true(size_bytes < sizeof(text) - text_size);
    memcpy(text + text_size, from, size_bytes);
    text_size += size_bytes;
    text[text_size] = '\0';
}

/* Two windows, the higher one named first: one list, ascending, without holes. */
static void print_lists_windows_by_address(void **state)
{
    const struct loam_writer writer = { write_text, text };
    struct loam_vrange_request guarded = {
        .page_count = 4, .guard_before = 1, .guard_after = 1, .name = "stack of CPU 0"
    };

    (void)state;
    no_window(1);
    assert_int_equal(loam_vrange_add_window(&vrange, virt_pages(HIGH, 256, 8)), LOAM_OK);
    assert_int_equal(loam_vrange_add_window(&vrange, virt_pages(HIGH, 0, 256)), LOAM_OK);
    assert_int_equal(alloc(&guarded), 257);
    assert_int_equal(reserve_plain(1, 255), LOAM_OK);
    free_pages(1, 255);
    text_size = 0;
    loam_vrange_print(&vrange, &writer);
    assert_string_equal(
        text, "0xffffc00000000000-0xffffc00000000fff        4 KiB       free     \n"
              "0xffffc00000001000-0xffffc000000fffff     1020 KiB  0+0  waiting  plain\n"
              "0xffffc00000100000-0xffffc00000105fff       24 KiB  1+1  used     stack of CPU 0\n"
              "0xffffc00000106000-0xffffc00000107fff        8 KiB       free     \n");
}

static void totals_count_ranges_and_pages(void **state)
{
    struct loam_vrange_totals totals;
    struct loam_vrange_request guarded = { .page_count = 4, .guard_before = 1, .guard_after = 1 };

    (void)state;
    one_window(1, 100);
    assert_int_equal(loam_vrange_add_window(&vrange, virt_pages(HIGH, 200, 50)), LOAM_OK);
    assert_int_equal(alloc(&guarded), 1);
    assert_int_equal(alloc_plain(4), 6);
    assert_int_equal(alloc_plain(80), 10);
    free_pages(1, 4);
    loam_vrange_measure(&vrange, &totals);
    assert_int_equal(totals.window_pages, 150);
    assert_int_equal(totals.range_count, 3);
    assert_int_equal(totals.used_pages, 84);
    assert_int_equal(totals.waiting_count, 1);
    assert_int_equal(totals.waiting_pages, 6);
    assert_int_equal(totals.largest_gap, 50);
    assert_int_equal(purge(), 1);
    loam_vrange_measure(&vrange, &totals);
    assert_int_equal(totals.range_count, 2);
    assert_int_equal(totals.waiting_count, 0);
    assert_int_equal(totals.waiting_pages, 0);
}

/* ---- interrupts ---------------------------------------------------------- */

/* With the lock interrupts are off; without it they are what they were. */
static void vrange_V11_leaves_interrupts_as_they_were(void **state)
{
    struct loam_vrange_totals totals;

    (void)state;
    one_window(1, 16);
    for (int on = 0; on < 2; on++) {
        machine_set_interrupts(on != 0);
        assert_int_equal(alloc_plain(2), 0);
        assert_int_equal(machine_interrupts(), on);
        assert_int_equal(reserve_plain(1, 2), LOAM_OVERLAP);
        assert_int_equal(machine_interrupts(), on);
        free_pages(0, 2);
        assert_int_equal(machine_interrupts(), on);
        assert_false(loam_vrange_is_purge_due(&vrange));
        assert_int_equal(machine_interrupts(), on);
        assert_int_equal(purge(), 1);
        assert_int_equal(machine_interrupts(), on);
        assert_int_equal(info_at(3).state, LOAM_VRANGE_FREE);
        loam_vrange_measure(&vrange, &totals);
        assert_int_equal(machine_interrupts(), on);
    }
}

/* ---- records ------------------------------------------------------------- */

/* 50 ranges to a frame; the stock is empty at the 101st. Freeing needs none, and
 * all frames go back in the end. */
static void free_V07_needs_no_record(void **state)
{
    (void)state;
    one_window(2, 200);
    for (uint64_t i = 0; i < 100; i++)
        assert_int_equal(alloc_plain(1), i);
    assert_int_equal(vrange.node_frame_count, 2);
    EXPECT_REFUSED(try_alloc(plain(1)), LOAM_NO_MEMORY);
    EXPECT_REFUSED(reserve_plain(150, 1), LOAM_NO_MEMORY);
    for (uint64_t i = 0; i < 100; i += 2)
        free_pages(i, 1);
    check_sound();
    assert_int_equal(purge(), 50);
    check_sound();
    assert_int_equal(alloc_plain(2), 100);
    free_pages(100, 2);
    for (uint64_t i = 1; i < 100; i += 2)
        free_pages(i, 1);
    assert_int_equal(purge(), 51);
    assert_int_equal(vrange.node_frame_count, 0);
    assert_int_equal(stock.out_count, 0);
    check_sound();
    assert_int_equal(alloc_plain(200), 0);
}

/* Each step of an allocation fails in turn; with a frame that has room, and not. */
static void alloc_V07_survives_each_failure(void **state)
{
    unsigned refused = 0;

    (void)state;
    INJECT_EACH_POINT
    {
        loam_virt at = loam_virt_at(42);
        const struct loam_vrange_request request = plain(3);
        one_window(2, 8);
        const uint64_t digest = loam_vrange_digest(&vrange);
        const uint64_t stock_digest = loam_stock_digest(&stock);
        INJECT_ARM();
        const enum loam_status status = loam_vrange_alloc(&vrange, &request, &at);
        INJECT_DISARM();
        check_sound();
        assert_int_equal(status, inject_fired() ? LOAM_NO_MEMORY : LOAM_OK);
        if (status != LOAM_OK) {
            assert_int_equal(at.addr, 42);
            assert_int_equal(loam_vrange_digest(&vrange), digest);
            assert_int_equal(loam_stock_digest(&stock), stock_digest);
            refused++;
        }
    }
    assert_int_equal(refused, 4); /* two points, once and from there on */
}

static void reserve_V07_survives_each_failure(void **state)
{
    unsigned refused = 0;

    (void)state;
    INJECT_EACH_POINT
    {
        one_window(2, 8);
        assert_int_equal(alloc_plain(1), 0);
        const uint64_t digest = loam_vrange_digest(&vrange);
        INJECT_ARM();
        const enum loam_status status = reserve_plain(4, 2);
        INJECT_DISARM();
        check_sound();
        assert_int_equal(status, inject_fired() ? LOAM_NO_MEMORY : LOAM_OK);
        if (status != LOAM_OK) {
            assert_int_equal(loam_vrange_digest(&vrange), digest);
            refused++;
        }
    }
    assert_int_equal(refused, 2);
}

/* Every other page of 20,000 is in use: no place for two, found at once. */
static void alloc_V08_refuses_quickly_when_every_other_page_is_used(void **state)
{
    (void)state;
    one_window(201, 20000);
    for (uint64_t i = 0; i < 10000; i++)
        assert_int_equal(reserve_plain(2 * i + 1, 1), LOAM_OK);
    check_sound();
    for (int i = 0; i < 10000; i++)
        assert_int_equal(try_alloc(plain(2)), LOAM_NO_SPACE);
    assert_int_equal(alloc_plain(1), 0);
    free_pages(19997, 1);
    assert_int_equal(purge(), 1);
    assert_int_equal(alloc_plain(3), 19996);
    check_sound();
}

/* ---- digest -------------------------------------------------------------- */

static void digest_tells_states_apart(void **state)
{
    uint64_t seen[7];

    (void)state;
    one_window(1, 16);
    seen[0] = loam_vrange_digest(&vrange);
    assert_int_equal(reserve_plain(1, 2), LOAM_OK);
    seen[1] = loam_vrange_digest(&vrange);
    free_pages(1, 2);
    seen[2] = loam_vrange_digest(&vrange);
    assert_int_equal(purge(), 1);
    assert_int_equal(loam_vrange_digest(&vrange), seen[0]);
    assert_int_equal(reserve_plain(1, 3), LOAM_OK);
    seen[3] = loam_vrange_digest(&vrange);
    one_window(1, 16);
    struct loam_vrange_request request = { .page_count = 1, .guard_before = 1, .name = "plain" };
    assert_int_equal(alloc(&request), 1);
    seen[4] = loam_vrange_digest(&vrange);
    one_window(1, 16);
    request.guard_before = 0;
    request.guard_after = 1;
    assert_int_equal(alloc(&request), 0);
    seen[5] = loam_vrange_digest(&vrange);
    one_window(1, 16);
    request.name = "other";
    assert_int_equal(alloc(&request), 0);
    seen[6] = loam_vrange_digest(&vrange);
    for (unsigned i = 0; i < 7; i++) {
        for (unsigned j = 0; j < i; j++)
            assert_int_not_equal(seen[i], seen[j]);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(free_keeps_the_addresses_until_they_are_purged),
        cmocka_unit_test(purge_takes_what_was_freed_before_it_began),
        cmocka_unit_test(purge_names_what_to_flush),
        cmocka_unit_test(purge_is_due_after_so_many_pages),
        cmocka_unit_test(purge_ends_once),
        cmocka_unit_test(release_gives_all_frames_back),
        cmocka_unit_test(free_V05_panics_unless_it_is_exact),
        cmocka_unit_test(lookup_tells_range_guard_and_gap),
        cmocka_unit_test(range_without_a_name_is_unnamed),
        cmocka_unit_test(print_lists_windows_by_address),
        cmocka_unit_test(totals_count_ranges_and_pages),
        cmocka_unit_test(vrange_V11_leaves_interrupts_as_they_were),
        cmocka_unit_test(free_V07_needs_no_record),
        cmocka_unit_test(alloc_V07_survives_each_failure),
        cmocka_unit_test(reserve_V07_survives_each_failure),
        cmocka_unit_test(alloc_V08_refuses_quickly_when_every_other_page_is_used),
        cmocka_unit_test(digest_tells_states_apart),
    };
    return RUN_TESTS(tests);
}
