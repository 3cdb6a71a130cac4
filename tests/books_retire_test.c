/*
 * books_retire_test.c - frames whose memory has become bad are not handed out again. Row F30
 * of the bad-input list.
 */
#include "loam_world.h"

#define FRAMES_MAX 20000u

static loam_phys frames[FRAMES_MAX];

static void start(void)
{
    small_machine(2);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
}

static void expect_bad(uint64_t pages)
{
    assert_int_equal(total(LOAM_OWNER_BAD), pages * KIB(4));
    assert_null(loam_audit(&mm));
}

/* Take all there is: no frame is one of these. Give it back. */
static void expect_never(const loam_phys *bad, size_t count)
{
    const size_t taken = loam_take_bulk(&mm, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL, frames, FRAMES_MAX);
    assert_true(taken < FRAMES_MAX);
    for (size_t i = 0; i < taken; i++)
        for (size_t k = 0; k < count; k++)
            assert_int_not_equal(frames[i].addr, bad[k].addr);
    assert_int_equal(total(LOAM_OWNER_USABLE), 0);
    loam_give_bulk(&mm, LOAM_OWNER_KERNEL, frames, taken);
    assert_null(loam_audit(&mm));
}

static void retire_F30_of_a_free_frame_is_done_at_once(void **state)
{
    (void)state;
    start();
    assert_true(loam_idle(&mm, 5) == 5); /* those are free as well */
    const uint64_t usable = total(LOAM_OWNER_USABLE);
    const loam_phys one = loam_take_frames(&mm, 0, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL);
    loam_give_frames(&mm, one, 0, LOAM_OWNER_KERNEL);
    assert_int_equal(loam_retire(&mm, one), LOAM_OK);
    expect_bad(1);
    assert_int_equal(total(LOAM_OWNER_USABLE), usable - KIB(4));
    assert_int_equal(loam_retire(&mm, one), LOAM_STATE);
    expect_bad(1);
    expect_never(&one, 1);
}

/* A block, a range, single frames: whatever it is part of, and however it is given back. */
static void retire_F30_of_a_used_frame_is_done_when_it_is_given(void **state)
{
    const struct loam_frame_request request = { .page_count = 700 };
    struct loam_phys_range range = { { 0 }, 0 };
    loam_phys bad[5];
    (void)state;
    start();
    const uint64_t usable = total(LOAM_OWNER_USABLE);
    const loam_phys block = loam_take_frames(&mm, 9, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL);
    assert_int_equal(loam_take(&mm, &request, LOAM_OWNER_KERNEL, &range), LOAM_OK);
    assert_int_equal(loam_take_bulk(&mm, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL, frames, 9), 9);
    bad[0] = block;
    bad[1] = loam_phys_at(block.addr + KIB(4) * 77);
    bad[2] = loam_phys_at(range.start.addr + range.size - KIB(4));
    bad[3] = frames[3];
    bad[4] = loam_take_frames(&mm, 0, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(loam_retire(&mm, bad[i]), LOAM_OVERLAP);
        assert_int_equal(loam_retire(&mm, bad[i]), LOAM_STATE);
    }
    expect_bad(0);
    loam_give_bulk(&mm, LOAM_OWNER_KERNEL, frames, 9);
    expect_bad(1);
    loam_give_frames(&mm, loam_phys_at(block.addr + MIB(1)), 8, LOAM_OWNER_KERNEL);
    expect_bad(1);
    loam_give_frames(&mm, block, 8, LOAM_OWNER_KERNEL);
    expect_bad(3);
    const struct loam_phys_range half = loam_phys_range_of(range.start, range.size / 2);
    assert_int_equal(loam_give(&mm, half, LOAM_OWNER_KERNEL), LOAM_OK);
    expect_bad(3);
    const struct loam_phys_range rest =
        loam_phys_range_of(loam_phys_at(half.start.addr + half.size), range.size - half.size);
    assert_int_equal(loam_give(&mm, rest, LOAM_OWNER_KERNEL), LOAM_OK);
    expect_bad(4);
    machine_set_cpu(1);
    loam_give_frames(&mm, bad[4], 0, LOAM_OWNER_KERNEL);
    machine_set_cpu(0);
    expect_bad(5);
    assert_int_equal(mm.retire_count, 0);
    assert_int_equal(total(LOAM_OWNER_USABLE), usable - 5 * KIB(4));
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(loam_retire(&mm, bad[i]), LOAM_STATE);
    expect_never(bad, 5);
}

/* A page far from others: it has tables of its own. */
static struct loam_virt_range far_page(uint64_t page)
{
    return loam_virt_range_of(loam_virt_at(UINT64_C(0xffffc00000000000) + GIB(page)), KIB(4));
}

/* What the library keeps for good is not taken from it; of tables that come and go it is
 * done when they have gone. */
static void retire_F30_of_the_librarys_own(void **state)
{
    (void)state;
    start();
    assert_int_equal(loam_retire(&mm, mm.heap_range.start), LOAM_UNSUPPORTED);
    assert_int_equal(loam_retire(&mm, mm.frame_memory.start), LOAM_UNSUPPORTED);
    assert_int_equal(loam_retire(&mm, mm.space.root), LOAM_UNSUPPORTED);
    assert_int_equal(mm.retire_count, 0);
    const struct loam_attr attr = { LOAM_PROT_READ, LOAM_CACHE_WB };
    for (uint64_t page = 0; page < 40; page++)
        assert_int_equal(loam_map(&mm, far_page(page), loam_phys_at(GIB(3)), attr), LOAM_OK);
    uint64_t listed = 0;
    for (uint64_t phys = MIB(2); phys < MIB(64) && listed < LOAM_RETIRE_MAX; phys += KIB(4)) {
        const loam_phys frame = loam_phys_at(phys);
        struct loam_interval interval;
        if (loam_usage_lookup(&mm.usage, frame, &interval) && interval.owner == LOAM_OWNER_USABLE &&
            loam_frame_free_in(&mm.frame, loam_phys_range_of(frame, KIB(4))) == 0) {
            assert_int_equal(loam_retire(&mm, frame), LOAM_OVERLAP); /* a table, or a spare one */
            listed++;
        }
    }
    assert_in_range(listed, 30, LOAM_RETIRE_MAX);
    for (uint64_t page = 0; page < 40; page++)
        assert_int_equal(loam_unmap(&mm, far_page(page)), LOAM_OK);
    assert_null(loam_audit(&mm));
    assert_in_range(total(LOAM_OWNER_BAD) / KIB(4), listed - LOAM_SPARE_TABLES, listed);
}

/* Of the bootloader's memory it is done at the reclaim. */
static void retire_F30_of_the_bootloaders_memory(void **state)
{
    const loam_phys bad = loam_phys_at(MIB(1) + KIB(256) + KIB(40));
    uint64_t bytes;
    (void)state;
    start();
    assert_int_equal(loam_retire(&mm, bad), LOAM_OVERLAP);
    assert_int_equal(loam_reclaim(&mm, &bytes), LOAM_OK);
    assert_int_equal(total(LOAM_OWNER_BOOTLOADER), 0);
    expect_bad(1);
    expect_never(&bad, 1);
}

/* With no node to be had they are counted in the ledger. */
static void retire_F30_without_nodes_is_counted(void **state)
{
    (void)state;
    start();
    for (unsigned round = 0; round < 8; round++) { /* each other frame: an interval each */
        const loam_phys block = loam_take_frames(&mm, 7, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL);
        for (unsigned i = 0; i < LOAM_RETIRE_MAX; i++)
            assert_int_equal(loam_retire(&mm, loam_phys_at(block.addr + 2 * i * KIB(4))),
                             LOAM_OVERLAP);
        inject_fail_at(1, true);
        loam_give_frames(&mm, block, 7, LOAM_OWNER_KERNEL);
        inject_fail_at(0, false);
        expect_bad((round + 1) * LOAM_RETIRE_MAX);
    }
    assert_in_range(loam_ledger_total(&mm.ledger, LOAM_OWNER_BAD), 1, 8 * LOAM_RETIRE_MAX - 1);
}

static void retire_F30_refuses(void **state)
{
    (void)state;
    small_machine(1);
    assert_int_equal(loam_retire(&mm, loam_phys_at(MIB(4))), LOAM_STATE);
    start();
    const uint64_t digest = loam_digest(&mm);
    assert_int_equal(loam_retire(&mm, loam_phys_at(MIB(4) + 1)), LOAM_INVALID);
    assert_int_equal(loam_retire(&mm, loam_phys_at(GIB(3))), LOAM_NOT_FOUND);
    assert_int_equal(loam_retire(&mm, loam_phys_at(GIB(1013))), LOAM_NOT_FOUND);
    assert_int_equal(loam_retire(&mm, loam_phys_at(0)), LOAM_NOT_FOUND);
    assert_int_equal(loam_retire(&mm, loam_phys_none()), LOAM_INVALID);
    assert_int_equal(loam_digest(&mm), digest);
    const loam_phys block = loam_take_frames(&mm, 7, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL);
    for (unsigned i = 0; i < 2 * LOAM_RETIRE_MAX; i++)
        assert_int_equal(loam_retire(&mm, loam_phys_at(block.addr + i * KIB(4))),
                         i < LOAM_RETIRE_MAX ? LOAM_OVERLAP : LOAM_NO_SPACE);
    loam_give_frames(&mm, block, 7, LOAM_OWNER_KERNEL);
    expect_bad(LOAM_RETIRE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(retire_F30_of_a_free_frame_is_done_at_once),
        cmocka_unit_test(retire_F30_of_a_used_frame_is_done_when_it_is_given),
        cmocka_unit_test(retire_F30_of_the_librarys_own),
        cmocka_unit_test(retire_F30_of_the_bootloaders_memory),
        cmocka_unit_test(retire_F30_without_nodes_is_counted),
        cmocka_unit_test(retire_F30_refuses),
    };
    return RUN_TESTS(tests);
}
