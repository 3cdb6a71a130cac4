/*
 * hotplug_test.c - memory that is added to and removed from the whole subsystem.
 */
#include "loam_world.h"

#define NEW_START GIB(8)
#define NEW_SIZE  MIB(64)

static void start(void)
{
    small_machine(2);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    assert_int_equal(loam_enter(&mm), LOAM_OK);
    machine_add_ram(NEW_START, NEW_SIZE);
}

static struct loam_phys_range range_of(uint64_t first, uint64_t size)
{
    return loam_phys_range_of(loam_phys_at(first), size);
}

static enum machine_fault touch(uint64_t phys)
{
    return machine_access(0, machine_hhdm().offset + phys, MACHINE_WRITE).fault;
}

static void expect_sound(void)
{
    const char *const broken = loam_audit(&mm);
    if (broken != NULL)
        fail_msg("audit: %s", broken);
}

static void added_memory_is_mapped_and_handed_out(void **state)
{
    (void)state;
    start();
    const uint64_t usable = total(LOAM_OWNER_USABLE);
    const uint64_t metadata = total(LOAM_OWNER_METADATA);
    assert_int_equal(touch(NEW_START), MACHINE_NOT_PRESENT);
    assert_int_equal(loam_add_memory(&mm, range_of(NEW_START, NEW_SIZE), 3), LOAM_OK);
    expect_sound();
    assert_int_equal(touch(NEW_START), MACHINE_OK);
    assert_int_equal(touch(NEW_START + NEW_SIZE - 1), MACHINE_OK);
    assert_int_equal(touch(NEW_START + NEW_SIZE), MACHINE_NOT_PRESENT);
    assert_true(total(LOAM_OWNER_METADATA) > metadata);
    assert_true(total(LOAM_OWNER_USABLE) > usable + NEW_SIZE - KIB(64));
    const loam_phys block = loam_take_frames(&mm, 13, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL);
    assert_in_range(block.addr, NEW_START, NEW_START + NEW_SIZE - 1);
    const loam_phys own = loam_frame_alloc_on(&mm.frame, 0, LOAM_ZONE_ANY, 3);
    assert_in_range(own.addr, NEW_START, NEW_START + NEW_SIZE - 1);
    loam_frame_free(&mm.frame, own, 0);
    loam_give_frames(&mm, block, 13, LOAM_OWNER_KERNEL);
    expect_sound();
}

static void removed_memory_leaves_and_comes_back(void **state)
{
    const struct loam_phys_range all = { { NEW_START }, NEW_SIZE };
    const struct loam_phys_range part = { { NEW_START + MIB(8) }, MIB(16) };
    (void)state;
    start();
    assert_int_equal(loam_add_memory(&mm, all, LOAM_NODE_NONE), LOAM_OK);
    const uint64_t metadata = total(LOAM_OWNER_METADATA);
    for (unsigned round = 0; round < 3; round++) {
        const uint64_t usable = total(LOAM_OWNER_USABLE);
        assert_int_equal(loam_remove_memory(&mm, part), LOAM_OK);
        expect_sound();
        assert_int_equal(total(LOAM_OWNER_USABLE), usable - part.size);
        assert_int_equal(touch(part.start.addr), MACHINE_NOT_PRESENT);
        assert_int_equal(touch(part.start.addr - 1), MACHINE_OK);
        assert_int_equal(touch(part.start.addr + part.size), MACHINE_OK);
        assert_int_equal(loam_remove_memory(&mm, part), LOAM_NOT_FOUND);
        assert_int_equal(loam_add_memory(&mm, all, LOAM_NODE_NONE), LOAM_OVERLAP);
        assert_int_equal(loam_add_memory(&mm, part, LOAM_NODE_NONE), LOAM_OK);
        expect_sound();
        assert_int_equal(total(LOAM_OWNER_USABLE), usable);
        assert_int_equal(total(LOAM_OWNER_METADATA), metadata); /* its books were there */
        assert_int_equal(touch(part.start.addr), MACHINE_OK);
    }
}

/* The books of memory that was added later do not lie in it: it may go again. */
static void added_memory_keeps_no_other_from_leaving(void **state)
{
    const struct loam_phys_range first = { { NEW_START }, MIB(16) };
    const struct loam_phys_range later = { { NEW_START + MIB(16) }, MIB(48) };
    (void)state;
    start();
    assert_int_equal(loam_add_memory(&mm, first, 0), LOAM_OK);
    assert_int_equal(loam_add_memory(&mm, later, 1), LOAM_OK);
    assert_int_equal(loam_remove_memory(&mm, first), LOAM_OK);
    assert_int_equal(loam_remove_memory(&mm, later), LOAM_OK);
    expect_sound();
}

/* RAM from boot may go, too; what anybody has stays. */
static void memory_in_use_stays(void **state)
{
    const struct loam_phys_range block = { { MIB(8) }, MIB(2) };
    (void)state;
    start();
    for (unsigned way = 0; way < 2; way++) {
        struct loam_phys_range range = { { 0 }, 0 };
        const struct loam_frame_request request = { .page_count = 1,
                                                    .from = MIB(8),
                                                    .limit = MIB(10) };
        assert_int_equal(loam_take(&mm, &request, LOAM_OWNER_KERNEL, &range), LOAM_OK);
        const uint64_t digest = loam_digest(&mm);
        assert_int_equal(loam_remove_memory(&mm, block), LOAM_OVERLAP);
        assert_int_equal(loam_digest(&mm), digest);
        assert_int_equal(touch(MIB(8)), MACHINE_OK);
        assert_int_equal(loam_give(&mm, range, LOAM_OWNER_KERNEL), LOAM_OK);
        assert_int_equal(loam_idle(&mm, 10), 10); /* these are free */
        assert_int_equal(loam_remove_memory(&mm, block), LOAM_OK);
        expect_sound();
        assert_int_equal(touch(MIB(8)), MACHINE_NOT_PRESENT);
        assert_int_equal(touch(MIB(8) - 1), MACHINE_OK);
        assert_int_equal(loam_add_memory(&mm, block, LOAM_NODE_NONE), LOAM_OK);
        expect_sound();
    }
}

static void add_F31_F32_refuses(void **state)
{
    (void)state;
    small_machine(1);
    assert_int_equal(loam_add_memory(&mm, range_of(NEW_START, NEW_SIZE), 0), LOAM_STATE);
    assert_int_equal(loam_remove_memory(&mm, range_of(MIB(8), MIB(2))), LOAM_STATE);
    start();
    static const struct {
        uint64_t start, size;
        enum loam_status want;
    } bad[] = {
        { NEW_START + 1, KIB(4), LOAM_INVALID },
        { NEW_START, 0, LOAM_INVALID },
        { 0, KIB(4), LOAM_INVALID }, /* frame 0 is nobody's */
        { NEW_START, KIB(4) + 1, LOAM_INVALID },
        { UINT64_MAX - 4095, KIB(8), LOAM_INVALID },
        { MIB(8), MIB(2), LOAM_OVERLAP },             /* usable */
        { MIB(1), KIB(64), LOAM_OVERLAP },            /* the image */
        { GIB(3), MIB(4), LOAM_OVERLAP },             /* framebuffer */
        { GIB(1012) - MIB(2), MIB(4), LOAM_OVERLAP }, /* half of it reserved */
        { MIB(62), MIB(4), LOAM_OVERLAP },            /* half of it usable */
        { UINT64_C(1) << 51, MIB(2), LOAM_NO_SPACE }, /* above the direct map */
    };
    const uint64_t digest = loam_digest(&mm);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const struct loam_phys_range range = range_of(bad[i].start, bad[i].size);
        assert_int_equal(loam_add_memory(&mm, range, 0), bad[i].want);
        assert_int_equal(loam_digest(&mm), digest);
    }
    assert_int_equal(loam_remove_memory(&mm, range_of(MIB(8), MIB(1))), LOAM_INVALID);
    assert_int_equal(loam_remove_memory(&mm, range_of(GIB(2), MIB(2))), LOAM_NOT_FOUND);
    assert_int_equal(loam_remove_memory(&mm, range_of(UINT64_C(1) << 51, MIB(2))), LOAM_NOT_FOUND);
    assert_int_equal(loam_digest(&mm), digest);
    /* all reserved: the firmware had kept it for later */
    machine_add_ram(GIB(1012), MIB(32));
    assert_int_equal(loam_add_memory(&mm, range_of(GIB(1012), MIB(32)), 0), LOAM_OK);
    expect_sound();
}

/* Each step fails once, and from there on: nothing has changed, or all is done. */
static void hotplug_fails_as_a_whole(void **state)
{
    const struct loam_phys_range range = { { NEW_START }, NEW_SIZE };
    (void)state;
    INJECT_EACH_POINT
    {
        start();
        const uint64_t bytes[3] = { total(LOAM_OWNER_USABLE), total(LOAM_OWNER_METADATA),
                                    total(LOAM_OWNER_PAGE_TABLES) };
        INJECT_ARM();
        const enum loam_status added = loam_add_memory(&mm, range, 0);
        INJECT_DISARM();
        expect_sound();
        if (added != LOAM_OK) {
            assert_int_equal(total(LOAM_OWNER_METADATA), bytes[1]);
            assert_int_equal(total(LOAM_OWNER_USABLE) + total(LOAM_OWNER_PAGE_TABLES),
                             bytes[0] + bytes[2]);
            assert_int_equal(touch(NEW_START), MACHINE_NOT_PRESENT);
            assert_int_equal(loam_add_memory(&mm, range, 0), LOAM_OK);
        }
        const uint64_t usable = total(LOAM_OWNER_USABLE) + total(LOAM_OWNER_PAGE_TABLES);
        INJECT_ARM();
        const enum loam_status removed = loam_remove_memory(&mm, range_of(NEW_START, MIB(4)));
        INJECT_DISARM();
        expect_sound();
        assert_int_equal(total(LOAM_OWNER_USABLE) + total(LOAM_OWNER_PAGE_TABLES),
                         removed == LOAM_OK ? usable - MIB(4) : usable);
        assert_int_equal(touch(NEW_START), removed == LOAM_OK ? MACHINE_NOT_PRESENT : MACHINE_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(added_memory_is_mapped_and_handed_out),
        cmocka_unit_test(removed_memory_leaves_and_comes_back),
        cmocka_unit_test(added_memory_keeps_no_other_from_leaving),
        cmocka_unit_test(memory_in_use_stays),
        cmocka_unit_test(add_F31_F32_refuses),
        cmocka_unit_test(hotplug_fails_as_a_whole),
    };
    return RUN_TESTS(tests);
}
