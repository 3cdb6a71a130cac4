/*
 * vmap_oom_test.c - each step of vmap fails in turn; memory and addresses run out.
 */
#include "vmap_world.h"

/* ---- each failure -------------------------------------------------------- */

/* Small pages, and large ones with some small. */
static void alloc_survives_each_failure(void **state)
{
    const uint64_t sizes[] = { PAGES(40), PAGES(40), MIB(4) + KIB(8) };
    unsigned refused = 0;

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        INJECT_EACH_POINT
        {
            struct loam_vmap_request request = memory_of(sizes[i]);
            loam_virt at = loam_virt_at(42);
            request.is_zeroed = i == 1;
            vmap_machine(1);
            const uint64_t digest = loam_digest(&mm);
            INJECT_ARM();
            const enum loam_status status = loam_vmap_alloc(&mm, &request, &at);
            INJECT_DISARM();
            check_sound();
            if (status == LOAM_OK) {
                expect_mapped_alone(at.addr, sizes[i]);
                assert_true(loam_stock_level(&mm.tables) <= LOAM_SPARE_TABLES);
                continue;
            }
            assert_int_equal(status, LOAM_NO_MEMORY);
            assert_true(inject_fired());
            assert_int_equal(at.addr, 42);
            assert_int_equal(loam_digest(&mm), digest);
            assert_int_equal(mm.vmap.ranges.record_count, 0);
            refused++;
            expect_mapped_alone(alloc(&request).addr, sizes[i]);
        }
    }
    assert_true(refused >= 16);
}

/* With what waits, and a spare record. */
static void alloc_survives_each_failure_while_ranges_wait(void **state)
{
    unsigned refused = 0;

    (void)state;
    INJECT_EACH_POINT
    {
        const struct loam_vmap_request request = memory_of(PAGES(3));
        loam_virt at = loam_virt_at(42);
        vmap_machine(1);
        const loam_virt kept = alloc_bytes(PAGES(2));
        loam_vmap_free(&mm, alloc_bytes(PAGES(5)));
        const uint64_t kernel = total(LOAM_OWNER_KERNEL);
        INJECT_ARM();
        const enum loam_status status = loam_vmap_alloc(&mm, &request, &at);
        INJECT_DISARM();
        check_sound();
        (void)loam_vmap_purge(&mm);
        assert_int_equal(total(LOAM_OWNER_KERNEL),
                         kernel - PAGES(5) + (status == LOAM_OK ? PAGES(3) : 0));
        refused += status != LOAM_OK;
        expect_mapped_alone(kept.addr, PAGES(2));
    }
    assert_true(refused > 0); /* from some point on, for ever */
}

static void device_and_stack_survive_each_failure(void **state)
{
    const struct loam_phys_range range = { { GIB(4) - PAGES(3) }, MIB(4) };
    unsigned refused = 0;

    (void)state;
    for (int is_stack = 0; is_stack < 2; is_stack++) {
        INJECT_EACH_POINT
        {
            struct loam_virt_range stack = { { 42 }, 43 };
            loam_virt at = loam_virt_at(42);
            vmap_machine(1);
            const uint64_t digest = loam_digest(&mm);
            INJECT_ARM();
            const enum loam_status status =
                is_stack ? loam_vmap_stack(&mm, PAGES(4), "stack", &stack)
                         : loam_vmap_device(&mm, range, LOAM_CACHE_UC, "device", &at);
            INJECT_DISARM();
            check_sound();
            if (status == LOAM_OK)
                continue;
            assert_int_equal(status, LOAM_NO_MEMORY);
            assert_int_equal(loam_digest(&mm), digest);
            assert_int_equal(at.addr, 42);
            assert_int_equal(stack.size, 43);
            refused++;
        }
    }
    assert_true(refused >= 8);
}

static void window_survives_each_failure(void **state)
{
    const struct loam_vmap_request request = memory_of(PAGES(100));
    unsigned refused = 0;

    (void)state;
    INJECT_EACH_POINT
    {
        struct loam_vmap_window window;
        vmap_machine(1);
        assert_int_equal(loam_vmap_window_open(&mm, &window, &request), LOAM_OK);
        assert_int_equal(loam_vmap_window_resize(&mm, &window, PAGES(3)), LOAM_OK);
        const uint64_t digest = loam_digest(&mm);
        INJECT_ARM();
        const enum loam_status status = loam_vmap_window_resize(&mm, &window, PAGES(60));
        INJECT_DISARM();
        check_sound();
        assert_int_equal(window.front_bytes, status == LOAM_OK ? PAGES(60) : PAGES(3));
        if (status == LOAM_OK)
            continue;
        assert_int_equal(loam_digest(&mm), digest);
        refused++;
    }
    assert_true(refused > 0);
    INJECT_EACH_POINT
    {
        struct loam_vmap_window window = { .front_bytes = 42 };
        vmap_machine(1);
        const uint64_t digest = loam_digest(&mm);
        INJECT_ARM();
        const enum loam_status status = loam_vmap_window_open(&mm, &window, &request);
        INJECT_DISARM();
        check_sound();
        if (status == LOAM_OK)
            continue;
        assert_int_equal(loam_digest(&mm), digest);
        assert_int_equal(window.front_bytes, 42);
    }
}

/* Nothing that frees can fail, whatever fails meanwhile. */
static void free_never_fails(void **state)
{
    (void)state;
    INJECT_EACH_POINT
    {
        struct loam_vmap_request request = memory_of(PAGES(100));
        struct loam_vmap_window window;
        struct loam_virt_range stack;
        vmap_machine(1);
        const uint64_t kernel = total(LOAM_OWNER_KERNEL);
        assert_int_equal(loam_vmap_window_open(&mm, &window, &request), LOAM_OK);
        assert_int_equal(loam_vmap_window_resize(&mm, &window, PAGES(60)), LOAM_OK);
        assert_int_equal(loam_vmap_stack(&mm, PAGES(4), "stack", &stack), LOAM_OK);
        const loam_virt at = alloc_bytes(PAGES(9));
        INJECT_ARM();
        assert_int_equal(loam_vmap_window_resize(&mm, &window, PAGES(7)), LOAM_OK);
        loam_vmap_window_close(&mm, &window);
        loam_vmap_stack_free(&mm, stack.start);
        loam_vmap_free(&mm, at);
        assert_true(loam_vmap_purge(&mm));
        INJECT_DISARM();
        assert_int_equal(total(LOAM_OWNER_KERNEL), kernel);
        check_sound();
    }
}

/* ---- shortage ------------------------------------------------------------ */

/* Take all memory but so many frames, 64 at most. */
static void leave_frames(size_t rest)
{
    loam_phys first[64]; /* are given back */
    loam_phys more[64];

    assert_int_equal(loam_take_bulk(&mm, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL, first, 64), 64);
    while (loam_take_bulk(&mm, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL, more, 64) != 0)
        continue;
    loam_give_bulk(&mm, LOAM_OWNER_KERNEL, first, rest);
}

/* Two frames are left, or three, ...: it works, or it has changed nothing. */
static void alloc_takes_what_is_there_or_nothing(void **state)
{
    unsigned worked = 0;
    unsigned refused = 0;

    (void)state;
    for (size_t rest = 0; rest < 24; rest++) {
        const struct loam_vmap_request request = memory_of(PAGES(5));
        loam_virt at = loam_virt_at(42);
        vmap_machine(1);
        while (!loam_phys_is_none(loam_stock_remove(&mm.tables))) /* nor any spare table: */
            continue;                                             /* lost for this test */
        leave_frames(rest);
        const uint64_t digest = loam_digest(&mm);
        const uint64_t usable = total(LOAM_OWNER_USABLE);
        const enum loam_status status = loam_vmap_alloc(&mm, &request, &at);
        if (status == LOAM_OK) {
            expect_mapped_alone(at.addr, PAGES(5));
            worked++;
            continue;
        }
        assert_int_equal(status, LOAM_NO_MEMORY);
        assert_int_equal(at.addr, 42);
        assert_null(loam_vmap_audit(&mm));
        assert_null(loam_space_audit(&mm.space));
        refused++;
        if (rest < 5) { /* not even the memory itself */
            assert_int_equal(loam_digest(&mm), digest);
            assert_int_equal(total(LOAM_OWNER_USABLE), usable);
        }
    }
    assert_true(worked >= 8 && refused >= 5);
}

/* All memory is used up, and freed: what waits is purged for the next one. */
static void alloc_purges_what_waits_when_memory_is_short(void **state)
{
    loam_virt at[64];
    unsigned count = 0;
    struct loam_vmap_request request = memory_of(MIB(1));

    (void)state;
    vmap_machine(2);
    mm.vmap.ranges.purge_pages = UINT64_MAX; /* not by itself */
    while (count < 64 && loam_vmap_alloc(&mm, &request, &at[count]) == LOAM_OK)
        count++;
    assert_in_range(count, 50, 62);
    check_sound();
    for (unsigned i = 0; i < count; i += 2)
        loam_vmap_free(&mm, at[i]);
    const unsigned flushes = machine_flush_count();
    assert_int_equal(loam_vmap_alloc(&mm, &request, &at[0]), LOAM_OK);
    assert_true(machine_flush_count() > flushes);
    assert_int_equal(mm.vmap.ranges.waiting_count, 0);
    check_sound();
    request.size_bytes = MIB(24); /* asked for as one: more than what waits, and it knows */
    loam_vmap_free(&mm, at[0]);
    assert_int_equal(loam_vmap_alloc(&mm, &request, &at[0]), LOAM_OK);
    (void)loam_vmap_purge(&mm);
    request.size_bytes = MIB(32);
    EXPECT_REFUSED(loam_vmap_alloc(&mm, &request, &at[2]), LOAM_NO_MEMORY);
}

/* The same of addresses, in a window of 64 pages. */
static void alloc_purges_what_waits_when_addresses_are_short(void **state)
{
    loam_virt at[16];
    const struct loam_vmap_request request = memory_of(PAGES(6)); /* 8 with guards */

    (void)state;
    vmap_machine(2);
    const struct loam_virt_range window = { mm.vmap.window.start, PAGES(64) };
    assert_int_equal(loam_vmap_init(&mm, window, 1000), LOAM_OK);
    for (unsigned i = 0; i < 8; i++)
        at[i] = alloc(&request);
    EXPECT_REFUSED(loam_vmap_alloc(&mm, &request, &at[8]), LOAM_NO_SPACE);
    loam_vmap_free(&mm, at[3]);
    assert_int_equal(alloc(&request).addr, at[3].addr);
    check_sound();
    EXPECT_REFUSED(loam_vmap_alloc(&mm, &request, &at[8]), LOAM_NO_SPACE);
    /* Another CPU is purging, and does not come to an end: it is not waited for. */
    loam_vmap_free(&mm, at[3]);
    struct loam_vrange_batch batch;
    assert_true(loam_vrange_purge_begin(&mm.vmap.ranges, &batch));
    EXPECT_REFUSED(loam_vmap_alloc(&mm, &request, &at[8]), LOAM_NO_SPACE);
}

/* Records are used up, with no memory for more: refused, or what waits is purged. */
static void alloc_needs_memory_for_records(void **state)
{
    const struct loam_vmap_request request = memory_of(PAGES(1));
    struct loam_vmap_window window;
    loam_virt at[64];
    unsigned count = 0;

    (void)state;
    vmap_machine(1);
    mm.vmap.ranges.purge_pages = UINT64_MAX;
    const struct loam_vmap_request large = memory_of(PAGES(1000));
    for (; count < 50; count++) /* a frame of records is full */
        assert_int_equal(loam_vmap_alloc(&mm, &request, &at[count]), LOAM_OK);
    while (!loam_phys_is_none(loam_stock_remove(&mm.vmap.nodes)))
        fail_msg("spare record");
    leave_frames(0);
    const uint64_t digest = loam_digest(&mm);
    assert_int_equal(loam_vmap_window_open(&mm, &window, &large), LOAM_NO_MEMORY);
    assert_int_equal(loam_digest(&mm), digest);
    loam_vmap_free(&mm, at[7]);
    assert_int_equal(loam_vmap_window_open(&mm, &window, &large), LOAM_OK);
    check_sound();
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(alloc_survives_each_failure),
        cmocka_unit_test(alloc_survives_each_failure_while_ranges_wait),
        cmocka_unit_test(device_and_stack_survive_each_failure),
        cmocka_unit_test(window_survives_each_failure),
        cmocka_unit_test(free_never_fails),
        cmocka_unit_test(alloc_takes_what_is_there_or_nothing),
        cmocka_unit_test(alloc_purges_what_waits_when_memory_is_short),
        cmocka_unit_test(alloc_purges_what_waits_when_addresses_are_short),
        cmocka_unit_test(alloc_needs_memory_for_records),
    };
    return RUN_TESTS(tests);
}
