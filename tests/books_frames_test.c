/*
 * books_frames_test.c - single frames and blocks that are counted, not recorded; who has
 * what in all. Rows F01, F03, F06, F10, F12, F13 and F27 of the bad-input list.
 */
#include "loam_world.h"

#define FRAMES_MAX 20000u

static loam_phys frames[FRAMES_MAX];

static void start(unsigned cpus)
{
    small_machine(cpus);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
}

static loam_phys take_frame(enum loam_zone zone)
{
    return loam_take_frames(&mm, 0, zone, LOAM_OWNER_KERNEL);
}

static void frames_are_counted_and_the_map_is_left_alone(void **state)
{
    (void)state;
    start(1);
    const uint64_t map = loam_usage_digest(&mm.usage);
    const uint64_t before = loam_digest(&mm);
    const uint64_t usable = total(LOAM_OWNER_USABLE);
    loam_phys block[LOAM_ORDER_2M + 2];
    uint64_t bytes = 0;
    for (unsigned order = 0; order < LOAM_ORDER_2M + 2; order++) {
        block[order] = loam_take_frames(&mm, order, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL);
        bytes += loam_order_bytes(order);
        assert_false(loam_phys_is_none(block[order]));
        assert_int_equal(block[order].addr % loam_order_bytes(order), 0);
        memset(machine_ram(block[order].addr), 0x5a, loam_order_bytes(order));
        assert_int_equal(total(LOAM_OWNER_KERNEL), bytes);
        assert_int_equal(total(LOAM_OWNER_USABLE), usable - bytes);
        assert_null(loam_audit(&mm));
    }
    assert_int_not_equal(loam_digest(&mm), before);
    assert_int_equal(loam_usage_digest(&mm.usage), map);
    /* one in parts */
    loam_give_frames(&mm, loam_phys_at(block[9].addr + MIB(1)), 8, LOAM_OWNER_KERNEL);
    loam_give_frames(&mm, block[9], 8, LOAM_OWNER_KERNEL);
    for (unsigned order = 0; order < LOAM_ORDER_2M + 2; order++)
        if (order != 9)
            loam_give_frames(&mm, block[order], order, LOAM_OWNER_KERNEL);
    assert_int_equal(loam_digest(&mm), before);
    assert_null(loam_audit(&mm));
}

static void bulk_is_as_many_single_frames(void **state)
{
    (void)state;
    start(2);
    const uint64_t before = loam_digest(&mm);
    assert_int_equal(loam_take_bulk(&mm, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL, frames, 0), 0);
    assert_int_equal(loam_take_bulk(&mm, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL, frames, 1000), 1000);
    assert_int_equal(total(LOAM_OWNER_KERNEL), 1000 * KIB(4));
    assert_null(loam_audit(&mm));
    machine_set_cpu(1);
    loam_give_frames(&mm, frames[999], 0, LOAM_OWNER_KERNEL);
    loam_give_bulk(&mm, LOAM_OWNER_KERNEL, frames, 999);
    loam_give_bulk(&mm, LOAM_OWNER_KERNEL, frames, 0);
    machine_set_cpu(0);
    assert_int_equal(loam_digest(&mm), before);
    assert_null(loam_audit(&mm));
}

static void frames_are_for_owners_that_the_kernel_names(void **state)
{
    (void)state;
    start(1);
    const uint64_t before = loam_digest(&mm);
    for (unsigned i = 0; i <= LOAM_OWNERS; i++) {
        const enum loam_owner owner = (enum loam_owner)i;
        const bool is_served = i < LOAM_OWNERS && i != LOAM_OWNER_USABLE && i != LOAM_OWNER_HEAP &&
                               i != LOAM_OWNER_PAGE_TABLES && i != LOAM_OWNER_METADATA;
        const loam_phys frame = loam_take_frames(&mm, 0, LOAM_ZONE_ANY, owner);
        assert_int_equal(loam_phys_is_none(frame), !is_served);
        assert_int_equal(loam_take_bulk(&mm, LOAM_ZONE_ANY, owner, frames, 2), is_served ? 2 : 0);
        if (is_served) {
            loam_give_frames(&mm, frame, 0, owner);
            loam_give_bulk(&mm, owner, frames, 2);
        } else {
            EXPECT_PANIC("loam: frames given back for an owner that is none",
                         loam_give_frames(&mm, loam_phys_at(MIB(2)), 0, owner));
            EXPECT_PANIC("loam: frames given back for an owner that is none",
                         loam_give_bulk(&mm, owner, frames, 1));
        }
    }
    const enum loam_zone no_zone = (enum loam_zone)LOAM_ZONES;
    assert_true(loam_phys_is_none(take_frame(no_zone)));
    assert_true(loam_phys_is_none(
        loam_take_frames(&mm, LOAM_ORDER_MAX + 1, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL)));
    assert_int_equal(loam_owner_bytes(&mm, (enum loam_owner)LOAM_OWNERS), 0);
    assert_int_equal(loam_digest(&mm), before);
    assert_null(loam_audit(&mm));
}

/* ---- the last frame -------------------------------------------------------- */

/* Take until nothing is left; how many. */
static size_t take_all(void)
{
    size_t count = 0;
    while (count < FRAMES_MAX) {
        frames[count] = take_frame(LOAM_ZONE_ANY);
        if (loam_phys_is_none(frames[count]))
            break;
        count++;
    }
    return count;
}

/* Every call that takes, when nothing is left. */
static void expect_empty(void)
{
    const struct loam_frame_request page = { .page_count = 1 };
    struct loam_phys_range range;
    loam_phys frame;
    const uint64_t before = loam_digest(&mm);
    assert_true(loam_phys_is_none(take_frame(LOAM_ZONE_ANY)));
    assert_int_equal(loam_take_bulk(&mm, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL, &frame, 1), 0);
    assert_int_equal(loam_take(&mm, &page, LOAM_OWNER_KERNEL, &range), LOAM_NO_MEMORY);
    assert_int_equal(total(LOAM_OWNER_USABLE), 0);
    assert_int_equal(loam_digest(&mm), before);
    assert_null(loam_audit(&mm));
}

static void take_F01_one_frame_given_back_is_one_frame_to_be_had(void **state)
{
    const struct loam_frame_request page = { .page_count = 1 };
    struct loam_phys_range range;
    (void)state;
    start(2);
    const uint64_t before = loam_digest(&mm);
    const uint64_t usable = total(LOAM_OWNER_USABLE);
    const size_t count = take_all();
    assert_int_equal(count * KIB(4), usable);
    expect_empty();

    loam_give_frames(&mm, frames[77], 0, LOAM_OWNER_KERNEL);
    assert_int_equal(take_frame(LOAM_ZONE_ANY).addr, frames[77].addr);
    expect_empty();
    loam_give_frames(&mm, frames[count - 1], 0, LOAM_OWNER_KERNEL);
    machine_set_cpu(1);
    loam_phys again[2];
    assert_int_equal(loam_take_bulk(&mm, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL, again, 2), 1);
    assert_int_equal(again[0].addr, frames[count - 1].addr);
    expect_empty();
    loam_give_frames(&mm, frames[0], 0, LOAM_OWNER_KERNEL);
    assert_int_equal(loam_take(&mm, &page, LOAM_OWNER_KERNEL, &range), LOAM_OK);
    assert_int_equal(range.start.addr, frames[0].addr);
    expect_empty();
    assert_int_equal(loam_give(&mm, range, LOAM_OWNER_KERNEL), LOAM_OK);
    loam_give_bulk(&mm, LOAM_OWNER_KERNEL, frames + 1, count - 1);
    assert_int_equal(loam_digest(&mm), before);
    assert_null(loam_audit(&mm));
}

/* In any order given back, it is one piece again. */
static void give_F03_in_any_order_restores_the_large_blocks(void **state)
{
    const struct loam_frame_request large = { .page_count = MIB(32) / KIB(4) };
    struct loam_phys_range range;
    (void)state;
    start(1);
    for (unsigned round = 0; round < 3; round++) {
        const uint64_t before = loam_digest(&mm);
        const size_t count = take_all();
        for (size_t i = 0; i < count; i++) {
            if (round == 2) {
                const size_t other = i + (size_t)test_random_below(count - i);
                const loam_phys moved = frames[other];
                frames[other] = frames[i];
                frames[i] = moved;
            }
            loam_give_frames(&mm, frames[round == 0 ? count - 1 - i : i], 0, LOAM_OWNER_KERNEL);
        }
        assert_int_equal(loam_digest(&mm), before);
        assert_int_equal(loam_take(&mm, &large, LOAM_OWNER_KERNEL, &range), LOAM_OK);
        assert_int_equal(loam_give(&mm, range, LOAM_OWNER_KERNEL), LOAM_OK);
    }
}

/* What waits in the lanes of other CPUs is free for everybody. */
static void take_F27_reaches_what_waits_for_other_cpus(void **state)
{
    (void)state;
    start(4);
    const uint64_t usable = total(LOAM_OWNER_USABLE);
    for (unsigned cpu = 0; cpu < 4; cpu++) {
        machine_set_cpu(cpu);
        loam_give_frames(&mm, take_frame(LOAM_ZONE_ANY), 0, LOAM_OWNER_KERNEL);
        const loam_phys group = loam_take_frames(&mm, 3, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL);
        loam_give_frames(&mm, group, 3, LOAM_OWNER_KERNEL);
    }
    machine_set_cpu(2);
    assert_int_equal(take_all() * KIB(4), usable);
    expect_empty();
}

static void take_F06_a_zone_that_is_empty_is_empty(void **state)
{
    (void)state;
    small_machine(1);
    add(GIB(6), MIB(16), LOAM_MEM_USABLE);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    assert_true(take_frame(LOAM_ZONE_ANY).addr >= GIB(6)); /* what is low is kept */
    static const uint64_t end[] = { UINT64_MAX, GIB(4), MIB(16) };
    for (unsigned zone = LOAM_ZONES; --zone > 0;) {
        loam_phys frame;
        while (!loam_phys_is_none(frame = take_frame((enum loam_zone)zone)))
            if (frame.addr >= end[zone])
                fail_msg("0x%llx is no answer", (unsigned long long)frame.addr);
        assert_int_equal(loam_take_bulk(&mm, (enum loam_zone)zone, LOAM_OWNER_KERNEL, frames, 9),
                         0);
        assert_null(loam_audit(&mm));
    }
    assert_true(take_frame(LOAM_ZONE_ANY).addr >= GIB(6));
}

/* ---- misuse ---------------------------------------------------------------- */

static void expect_give_panics(const char *rule, uint64_t addr, unsigned order)
{
    EXPECT_PANIC(rule, loam_give_frames(&mm, loam_phys_at(addr), order, LOAM_OWNER_KERNEL));
    assert_int_equal(panic_trap.seen.subject, addr);
}

static void give_F10_F12_F13_of_what_was_never_taken_panics(void **state)
{
    (void)state;
    start(1);
    assert_int_equal(loam_take_bulk(&mm, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL, frames, 64), 64);
    expect_give_panics("frame: already free", MIB(3), 0);
    expect_give_panics("frame: not a frame of this memory", 0, 0);
    expect_give_panics("frame: not a frame of this memory", frames[0].addr + 8, 0);
    expect_give_panics("frame: not a frame of this memory", MIB(1), 0); /* the image */
    expect_give_panics("frame: not a frame of this memory", GIB(3), 0); /* the framebuffer */
    expect_give_panics("frame: not a frame of this memory", UINT64_MAX, 0);
    EXPECT_PANIC("frame: order is too large",
                 loam_give_frames(&mm, frames[0], LOAM_ORDER_MAX + 1, LOAM_OWNER_KERNEL));
}

static void frames_given_for_somebody_who_has_none_panic(void **state)
{
    (void)state;
    start(1);
    const loam_phys frame = take_frame(LOAM_ZONE_ANY);
    EXPECT_PANIC("loam: frames given back for an owner who has none",
                 loam_give_frames(&mm, frame, 0, LOAM_OWNER_FRAMEBUFFER));
    assert_int_equal(panic_trap.seen.subject, frame.addr);
    assert_int_equal(panic_trap.seen.detail, 1);
    EXPECT_PANIC("loam: frames given back for an owner who has none",
                 loam_give_frames(&mm, frame, 1, LOAM_OWNER_KERNEL));
    EXPECT_PANIC("loam: frames given back for an owner who has none",
                 loam_give_bulk(&mm, LOAM_OWNER_BAD, &frame, 1));
    assert_null(loam_audit(&mm)); /* nothing had happened yet */
}

/* What is not seen at once is seen by the audit. */
static void audit_finds_frames_given_for_somebody_else(void **state)
{
    const struct loam_frame_request page = { .page_count = 1 };
    struct loam_phys_range range;
    (void)state;
    start(1);
    assert_int_equal(loam_take_bulk(&mm, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL, frames, 8), 8);
    assert_int_equal(loam_take(&mm, &page, LOAM_OWNER_KERNEL, &range), LOAM_OK);
    /* a frame that loam_take() recorded, as if it were counted */
    loam_give_frames(&mm, range.start, 0, LOAM_OWNER_KERNEL);
    assert_string_equal(loam_audit(&mm), "loam: a frame is free and charged to an owner");

    start(1);
    assert_int_equal(loam_take_bulk(&mm, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL, frames, 8), 8);
    loam_frame_free(&mm.frame, frames[0], 0); /* past the books */
    assert_string_equal(loam_audit(&mm),
                        "loam: usable memory is not what is free and what the ledger counts");
    /* a counted frame, as if it were recorded */
    start(1);
    assert_int_equal(loam_take_bulk(&mm, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL, frames, 8), 8);
    range = loam_phys_range_of(frames[0], KIB(4));
    EXPECT_PANIC("loam: range given back is not its owner's",
                 (void)!loam_give(&mm, range, LOAM_OWNER_KERNEL));
}

/* ---- failure ----------------------------------------------------------------- */

static void frames_survive_every_failure(void **state)
{
    unsigned failures = 0;
    (void)state;
    INJECT_EACH_POINT
    {
        start(1);
        const uint64_t before = loam_digest(&mm);
        INJECT_ARM();
        const loam_phys block = loam_take_frames(&mm, 4, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL);
        const size_t bulk = loam_take_bulk(&mm, LOAM_ZONE_4G, LOAM_OWNER_KERNEL, frames, 5);
        INJECT_DISARM();
        const bool took = !loam_phys_is_none(block);
        failures += !took;
        failures += bulk < 5;
        assert_int_equal(total(LOAM_OWNER_KERNEL), (took ? KIB(64) : 0) + bulk * KIB(4));
        assert_null(loam_audit(&mm));
        if (took)
            loam_give_frames(&mm, block, 4, LOAM_OWNER_KERNEL);
        loam_give_bulk(&mm, LOAM_OWNER_KERNEL, frames, bulk);
        assert_int_equal(loam_digest(&mm), before);
    }
    assert_true(failures > 1);
}

/* ---- who has what ---------------------------------------------------------------- */

static char printed[4096];
static size_t printed_bytes;

static void print(void *context, const char *text, size_t size_bytes)
{
    (void)context;
    assert_true(printed_bytes + size_bytes < sizeof printed);
    memcpy(printed + printed_bytes, text, size_bytes);
    printed_bytes += size_bytes;
    printed[printed_bytes] = '\0';
}

static void usage_is_printed_with_ranges_and_frames(void **state)
{
    const struct loam_writer writer = { print, NULL };
    const struct loam_frame_request pages = { .page_count = 3 };
    struct loam_phys_range range;
    (void)state;
    power_on(1);
    printed_bytes = 0;
    loam_print_usage(&mm, &writer);
    assert_int_equal(printed_bytes, 0);
    add(0, KIB(8), LOAM_MEM_BOOT_RECLAIMABLE);
    add(MIB(1), MIB(7), LOAM_MEM_USABLE);
    add(MIB(16), MIB(1), LOAM_MEM_RESERVED);
    boot.heap_bytes = MIB(1);
    boot.heap_kind = LOAM_ALLOCATOR_ARENA;
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    assert_int_equal(loam_take(&mm, &pages, LOAM_OWNER_KERNEL, &range), LOAM_OK);
    assert_int_equal(loam_take_bulk(&mm, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL, frames, 10), 10);
    assert_int_equal(loam_take_bulk(&mm, LOAM_ZONE_ANY, LOAM_OWNER_BAD, frames, 1), 1);
    loam_print_usage(&mm, &writer);
    /* 1 page of ledger, 1 of frame, 1 of zeroed, 8 of nodes; 4 tables in the tree, 16 spare */
    assert_string_equal(
        printed, "owner             intervals       in ranges       in frames             sum"
                 "        size\n"
                 "usable                    1         6107136               0         6107136"
                 "     5.8 MiB\n"
                 "bootloader                1            8192               0            8192"
                 "       8 KiB\n"
                 "page tables               1           81920               0           81920"
                 "      80 KiB\n"
                 "heap                      1         1048576               0         1048576"
                 "       1 MiB\n"
                 "library metadata          2           45056               0           45056"
                 "      44 KiB\n"
                 "kernel                    1           12288           40960           53248"
                 "      52 KiB\n"
                 "reserved                  1         1048576               0         1048576"
                 "       1 MiB\n"
                 "bad                       0               0            4096            4096"
                 "       4 KiB\n"
                 "sum                       8         8351744           45056         8396800"
                 "     8.0 MiB\n");
}

/* Every owner's bytes, as the intervals and a list of single frames have them. */
static void owner_bytes_are_ranges_and_frames_of_each(void **state)
{
    struct loam_phys_range range[8] = { { { 0 }, 0 } };
    enum loam_owner of[64];
    size_t held = 0;
    (void)state;
    start(3);
    for (unsigned step = 0; step < 3000; step++) {
        const enum loam_owner owner = (enum loam_owner)(7 + test_random_below(6));
        const size_t at = (size_t)test_random_below(8);
        machine_set_cpu((unsigned)test_random_below(3));
        if (step % 3 == 0 && held < 64) {
            frames[held] = loam_take_frames(&mm, 0, LOAM_ZONE_ANY, owner);
            of[held++] = owner;
        } else if (step % 3 == 1 && held > 0) {
            const size_t gone = (size_t)test_random_below(held);
            loam_give_frames(&mm, frames[gone], 0, of[gone]);
            frames[gone] = frames[--held];
            of[gone] = of[held];
        } else if (range[at].size == 0) {
            const struct loam_frame_request request = { .page_count = 1 + test_random_below(40) };
            assert_int_equal(loam_take(&mm, &request, LOAM_OWNER_KERNEL, &range[at]), LOAM_OK);
        } else {
            assert_int_equal(loam_give(&mm, range[at], LOAM_OWNER_KERNEL), LOAM_OK);
            range[at].size = 0;
        }
        uint64_t sum = 0;
        uint64_t singles = 0;
        for (unsigned i = 0; i < LOAM_OWNERS; i++)
            sum += total((enum loam_owner)i);
        for (size_t i = 0; i < held; i++)
            singles += of[i] == owner;
        assert_int_equal(sum, KIB(636) + KIB(388) + MIB(63) + MIB(4) + GIB(12));
        assert_int_equal(total(owner),
                         loam_usage_total(&mm.usage, owner) + singles * LOAM_PAGE_SIZE);
        if (step % 100 == 0)
            assert_null(loam_audit(&mm));
    }
    machine_set_cpu(0);
    assert_null(loam_audit(&mm));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_are_counted_and_the_map_is_left_alone),
        cmocka_unit_test(bulk_is_as_many_single_frames),
        cmocka_unit_test(frames_are_for_owners_that_the_kernel_names),
        cmocka_unit_test(take_F01_one_frame_given_back_is_one_frame_to_be_had),
        cmocka_unit_test(give_F03_in_any_order_restores_the_large_blocks),
        cmocka_unit_test(take_F27_reaches_what_waits_for_other_cpus),
        cmocka_unit_test(take_F06_a_zone_that_is_empty_is_empty),
        cmocka_unit_test(give_F10_F12_F13_of_what_was_never_taken_panics),
        cmocka_unit_test(frames_given_for_somebody_who_has_none_panic),
        cmocka_unit_test(audit_finds_frames_given_for_somebody_else),
        cmocka_unit_test(frames_survive_every_failure),
        cmocka_unit_test(usage_is_printed_with_ranges_and_frames),
        cmocka_unit_test(owner_bytes_are_ranges_and_frames_of_each),
    };
    return RUN_TESTS(tests);
}
