/*
 * books_pressure_test.c - what happens when memory becomes scarce, and when there is none;
 * frames zeroed beforehand. Rows F24, F25, F26, F27 and F29 of the bad-input list.
 */
#include "loam_world.h"

#define FRAMES_MAX 20000u
#define LOW_PAGES  400u

static loam_phys frames[FRAMES_MAX]; /* taken by the test */
static size_t frame_count;

static unsigned lows, reliefs;
static size_t relief;        /* frames that relieve() gives back */
static bool again;           /* what it answers */
static loam_phys inner;      /* what a hook gets that takes a frame itself */
static uint64_t free_at_low; /* pages */

static bool take_one(void)
{
    const loam_phys frame = loam_take_frames(&mm, 0, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL);
    if (!loam_phys_is_none(frame))
        frames[frame_count++] = frame;
    return !loam_phys_is_none(frame);
}

static void give_one(void)
{
    loam_give_frames(&mm, frames[--frame_count], 0, LOAM_OWNER_KERNEL);
}

static void on_low(void *context, const struct loam_pressure_report *report)
{
    assert_ptr_equal(context, &frame_count);
    free_at_low = report->free_pages;
    lows++;
    assert_true(take_one());
}

static bool on_relieve(void *context, const struct loam_pressure_report *report)
{
    assert_ptr_equal(context, &frame_count);
    assert_true(report->wanted_pages != 0);
    reliefs++;
    inner = loam_take_frames(&mm, 0, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL); /* of what is left */
    if (!loam_phys_is_none(inner))
        frames[frame_count++] = inner;
    for (size_t i = 0; i < relief && frame_count != 0; i++)
        give_one();
    return again;
}

static void start(unsigned cpus, uint64_t low_pages)
{
    const struct loam_pressure_hooks hooks = { &frame_count, low_pages, on_low, on_relieve };
    small_machine(cpus);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    frame_count = 0;
    lows = reliefs = 0;
    relief = 0;
    again = true;
    assert_int_equal(loam_set_pressure(&mm, &hooks), LOAM_OK);
}

static void finish(void)
{
    while (frame_count > 0)
        give_one();
    assert_int_equal(total(LOAM_OWNER_KERNEL), 0);
    assert_null(loam_audit(&mm));
}

static uint64_t free_pages(void)
{
    return total(LOAM_OWNER_USABLE) / KIB(4);
}

/* ---- low memory ---------------------------------------------------------- */

static void take_F24_tells_once_that_memory_is_low(void **state)
{
    (void)state;
    for (unsigned cpus = 1; cpus <= 4; cpus++) {
        start(cpus, LOW_PAGES);
        while (free_pages() >= LOW_PAGES) {
            assert_int_equal(lows, 0);
            machine_set_cpu((unsigned)frame_count % cpus);
            assert_true(take_one());
        }
        while (free_pages() > LOW_PAGES - LOW_PAGES / 8)
            assert_true(take_one());
        assert_int_equal(lows, 1);
        assert_in_range(free_at_low, LOW_PAGES - LOW_PAGES / 8, LOW_PAGES - 1);
        while (take_one())
            assert_int_equal(lows, 1);
        while (free_pages() < 2 * LOW_PAGES)
            give_one();
        while (lows == 1) /* looks, and forgets that it told; then tells again */
            assert_true(take_one());
        assert_in_range(free_pages(), LOW_PAGES - LOW_PAGES / 8 - 1, LOW_PAGES);
        machine_set_cpu(0);
        finish();
    }
}

/* Each way to take memory looks. */
static void every_kind_of_request_tells(void **state)
{
    const struct loam_frame_request request = { .page_count = 128 };
    struct loam_phys_range range = { { 0 }, 0 };
    (void)state;
    for (unsigned way = 0; way < 4; way++) {
        start(1, LOW_PAGES);
        while (free_pages() > LOW_PAGES + 90)
            assert_true(take_one());
        assert_int_equal(lows, 0);
        if (way == 0)
            assert_int_equal(loam_take(&mm, &request, LOAM_OWNER_KERNEL, &range), LOAM_OK);
        loam_phys block = loam_phys_none();
        if (way == 1)
            block = loam_take_frames(&mm, 7, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL);
        if (way == 2)
            block = loam_take_zeroed(&mm, 7, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL);
        if (way == 3) {
            loam_phys bulk[128];
            assert_int_equal(loam_take_bulk(&mm, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL, bulk, 128), 128);
            loam_give_bulk(&mm, LOAM_OWNER_KERNEL, bulk, 128);
        }
        if (way == 1 || way == 2) {
            assert_false(loam_phys_is_none(block));
            loam_give_frames(&mm, block, 7, LOAM_OWNER_KERNEL);
        }
        assert_int_equal(lows, 1);
        if (way == 0)
            assert_int_equal(loam_give(&mm, range, LOAM_OWNER_KERNEL), LOAM_OK);
        finish();
    }
}

/* ---- no memory ----------------------------------------------------------- */

static void use_all(void)
{
    again = false;
    while (take_one())
        ;
    reliefs = 0;
    again = true;
}

static void take_F25_asks_a_bounded_number_of_times(void **state)
{
    (void)state;
    start(1, 0);
    use_all();
    assert_false(take_one());
    assert_int_equal(reliefs, LOAM_PRESSURE_TRIES);
    assert_true(loam_phys_is_none(inner)); /* the hook was not entered for its own request */
    again = false;
    assert_false(take_one());
    assert_int_equal(reliefs, LOAM_PRESSURE_TRIES + 1);
    finish();
}

static bool idle_instead(void *context, const struct loam_pressure_report *report)
{
    (void)context;
    (void)report;
    reliefs++;
    return loam_idle(&mm, 4) == 4; /* gives back nothing: zeroes what was drained, again */
}

/* There is memory, but no such block; and there are idle CPUs. */
static void take_F25_ends_while_others_are_idle(void **state)
{
    const struct loam_pressure_hooks hooks = { .relieve = idle_instead };
    (void)state;
    start(1, 0);
    assert_int_equal(loam_set_pressure(&mm, &hooks), LOAM_OK);
    assert_int_equal(loam_idle(&mm, 4), 4);
    assert_true(loam_phys_is_none(loam_take_frames(&mm, 16, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL)));
    assert_int_equal(reliefs, LOAM_PRESSURE_TRIES);
    finish();
}

static void take_F26_lives_on_what_the_hook_gives(void **state)
{
    static const size_t reliefs_of[] = { 1, 2, 700, FRAMES_MAX };
    (void)state;
    for (size_t i = 0; i < sizeof reliefs_of / sizeof reliefs_of[0]; i++) {
        start(1, 0);
        use_all();
        relief = reliefs_of[i];
        assert_true(take_one());
        assert_int_equal(reliefs, 1);
        relief = 0;
        finish();
    }
}

/* Each kind of request is tried again; what there is not enough of, a few times. */
static void every_kind_of_request_asks(void **state)
{
    const struct loam_frame_request request = { .page_count = 3 };
    struct loam_phys_range range = { { 0 }, 0 };
    (void)state;
    start(1, 0);
    use_all();
    relief = 1;
    const loam_phys zeroed = loam_take_zeroed(&mm, 0, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL);
    assert_false(loam_phys_is_none(zeroed));
    assert_int_equal(reliefs, 1);
    loam_phys out[5];
    assert_int_equal(loam_take_bulk(&mm, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL, out, 5), 5);
    assert_int_equal(reliefs, 6);
    loam_give_bulk(&mm, LOAM_OWNER_KERNEL, out, 5);
    loam_give_frames(&mm, zeroed, 0, LOAM_OWNER_KERNEL);
    relief = 0;
    use_all();
    relief = 600;
    assert_int_equal(loam_take(&mm, &request, LOAM_OWNER_KERNEL, &range), LOAM_OK);
    assert_true(reliefs != 0);
    assert_int_equal(loam_give(&mm, range, LOAM_OWNER_KERNEL), LOAM_OK);
    relief = 0;
    use_all();
    relief = 600;
    const struct loam_attr attr = { LOAM_PROT_READ | LOAM_PROT_WRITE, LOAM_CACHE_WB };
    const struct loam_virt_range far = { loam_virt_at(UINT64_C(0xffffc00000000000)), KIB(4) << 18 };
    assert_int_equal(loam_map(&mm, far, loam_phys_at(GIB(2) + KIB(4)), attr), LOAM_OK);
    assert_true(reliefs != 0); /* more tables than were spare */
    assert_int_equal(loam_unmap(&mm, far), LOAM_OK);
    relief = 0;
    finish();
}

static bool zone_noted(void *context, const struct loam_pressure_report *report)
{
    *(enum loam_zone *)context = report->zone;
    return false;
}

/* The lowest zone below whose end all is that a limit allows. */
static void report_F26_names_the_zone_of_a_limit(void **state)
{
    static const struct {
        uint64_t limit;
        enum loam_zone zone;
    } row[] = {
        { 0, LOAM_ZONE_ANY },     { UINT64_MAX, LOAM_ZONE_ANY }, { GIB(4) + 1, LOAM_ZONE_ANY },
        { GIB(4), LOAM_ZONE_4G }, { MIB(16) + 1, LOAM_ZONE_4G }, { MIB(16), LOAM_ZONE_16M },
        { 1, LOAM_ZONE_16M },
    };
    enum loam_zone seen = LOAM_ZONE_ANY;
    const struct loam_pressure_hooks hooks = { .context = &seen, .relieve = zone_noted };
    (void)state;
    start(1, 0);
    assert_int_equal(loam_set_pressure(&mm, &hooks), LOAM_OK);
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        const struct loam_frame_request request = { .page_count = UINT64_C(1) << 40,
                                                    .limit = row[i].limit };
        struct loam_phys_range range;
        seen = row[i].zone == LOAM_ZONE_ANY ? LOAM_ZONE_16M : LOAM_ZONE_ANY;
        assert_int_equal(loam_take(&mm, &request, LOAM_OWNER_KERNEL, &range), LOAM_NO_MEMORY);
        assert_int_equal(seen, row[i].zone);
    }
    finish();
}

/* ---- zeroed frames ------------------------------------------------------- */

static void expect_zero(loam_phys frame, size_t size)
{
    const unsigned char *const byte = machine_ram(frame.addr);
    for (size_t i = 0; i < size; i++)
        assert_int_equal(byte[i], 0);
}

/* Dirty all free memory, so that nothing is zero by chance. */
static void dirty_memory(void)
{
    use_all();
    for (size_t i = 0; i < frame_count; i++)
        memset(machine_ram(frames[i].addr), 0xa5, KIB(4));
    finish();
}

static void take_F29_of_zeroed_memory_is_zero(void **state)
{
    (void)state;
    start(2, 0);
    dirty_memory();
    for (unsigned round = 0; round < 3; round++) {
        assert_true(loam_idle(&mm, 5) == 5);
        assert_null(loam_audit(&mm));
        const uint64_t usable = total(LOAM_OWNER_USABLE);
        for (unsigned i = 0; i < 12; i++) { /* more than are ready */
            const loam_phys frame = loam_take_zeroed(&mm, 0, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL);
            expect_zero(frame, KIB(4));
            memset(machine_ram(frame.addr), 0x77, KIB(4));
            frames[frame_count++] = frame;
        }
        assert_int_equal(total(LOAM_OWNER_USABLE), usable - 12 * KIB(4));
        for (unsigned order = 1; order < 11; order++) {
            const loam_phys block = loam_take_zeroed(&mm, order, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL);
            expect_zero(block, loam_order_bytes(order));
            memset(machine_ram(block.addr), 0x77, loam_order_bytes(order));
            loam_give_frames(&mm, block, order, LOAM_OWNER_KERNEL);
        }
        finish();
    }
    assert_true(loam_phys_is_none(
        loam_take_zeroed(&mm, LOAM_ORDER_MAX + 1, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL)));
    assert_true(loam_phys_is_none(loam_take_zeroed(&mm, 0, LOAM_ZONE_ANY, LOAM_OWNER_USABLE)));
}

/* Zeroed frames are free: for every kind of request, before the kernel is asked. */
static void idle_F27_hides_nothing(void **state)
{
    const struct loam_frame_request request = { .page_count = 1 };
    struct loam_phys_range range = { { 0 }, 0 };
    (void)state;
    start(1, 0);
    for (unsigned way = 0; way < 4; way++) {
        const uint64_t usable = total(LOAM_OWNER_USABLE);
        uint64_t idle = 0;
        for (size_t more; (more = loam_idle(&mm, 7)) != 0;)
            idle += more;
        assert_true(idle >= 16);
        assert_int_equal(loam_idle(&mm, 1), 0);
        assert_int_equal(total(LOAM_OWNER_USABLE), usable);
        while (mm.zeroed.frame != NULL && loam_zero_level(&mm.zeroed) == idle && take_one())
            ;
        if (loam_zero_level(&mm.zeroed) != idle) /* the last one came from there */
            assert_int_equal(loam_zero_level(&mm.zeroed), 0);
        assert_int_equal(reliefs, 0);
        give_one();
        if (way == 1)
            assert_int_equal(loam_take(&mm, &request, LOAM_OWNER_KERNEL, &range), LOAM_OK);
        if (way == 1)
            assert_int_equal(loam_give(&mm, range, LOAM_OWNER_KERNEL), LOAM_OK);
        use_all();
        assert_int_equal(free_pages(), 0);
        finish();
    }
}

static void nothing_is_there_before_init(void **state)
{
    (void)state;
    small_machine(1);
    assert_int_equal(loam_set_pressure(&mm, NULL), LOAM_STATE);
    assert_int_equal(loam_idle(&mm, 1), 0);
    assert_true(loam_phys_is_none(loam_take_zeroed(&mm, 0, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(take_F24_tells_once_that_memory_is_low),
        cmocka_unit_test(every_kind_of_request_tells),
        cmocka_unit_test(take_F25_asks_a_bounded_number_of_times),
        cmocka_unit_test(take_F25_ends_while_others_are_idle),
        cmocka_unit_test(take_F26_lives_on_what_the_hook_gives),
        cmocka_unit_test(every_kind_of_request_asks),
        cmocka_unit_test(report_F26_names_the_zone_of_a_limit),
        cmocka_unit_test(take_F29_of_zeroed_memory_is_zero),
        cmocka_unit_test(idle_F27_hides_nothing),
        cmocka_unit_test(nothing_is_there_before_init),
    };
    return RUN_TESTS(tests);
}
