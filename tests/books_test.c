/*
 * books_test.c - memory changes hands and the books stay true: take, give, map,
 * reclaim. Row M32 of the bad-input list.
 */
#include "loam_world.h"

#include <loam/x86.h>

static void take_charges_the_owner_and_give_restores_everything(void **state)
{
    struct loam_phys_range range;
    (void)state;
    small_machine(1);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    const uint64_t usable = total(LOAM_OWNER_USABLE);
    const uint64_t before = loam_usage_digest(&mm.usage);

    const struct loam_frame_request request = { .page_count = 3, .align_bytes = KIB(64) };
    assert_int_equal(loam_take(&mm, &request, LOAM_OWNER_KERNEL, &range), LOAM_OK);
    assert_int_equal(range.size, KIB(12));
    assert_int_equal(range.start.addr % KIB(64), 0);
    assert_int_equal(total(LOAM_OWNER_KERNEL), KIB(12));
    assert_int_equal(total(LOAM_OWNER_USABLE), usable - KIB(12));
    memset(machine_ram(range.start.addr), 0x5a, range.size);
    assert_null(loam_audit(&mm));

    /* one page out of the middle, then the rest */
    struct loam_phys_range middle =
        loam_phys_range_of(loam_phys_at(range.start.addr + KIB(4)), KIB(4));
    assert_int_equal(loam_give(&mm, middle, LOAM_OWNER_KERNEL), LOAM_OK);
    assert_int_equal(total(LOAM_OWNER_KERNEL), KIB(8));
    EXPECT_PANIC("loam: range given back is not its owner's",
                 assert_int_equal(loam_give(&mm, range, LOAM_OWNER_KERNEL), LOAM_OK));
    memset(&mm.books, 0, sizeof mm.books); /* the panic left it locked */
    loam_x86_irq_restore(0x200);
    struct loam_phys_range first = loam_phys_range_of(range.start, KIB(4));
    struct loam_phys_range last =
        loam_phys_range_of(loam_phys_at(range.start.addr + KIB(8)), KIB(4));
    assert_int_equal(loam_give(&mm, first, LOAM_OWNER_KERNEL), LOAM_OK);
    assert_int_equal(loam_give(&mm, last, LOAM_OWNER_KERNEL), LOAM_OK);
    assert_int_equal(loam_usage_digest(&mm.usage), before);
    assert_null(loam_audit(&mm));
}

static void high_memory_is_taken_first_and_low_memory_kept_for_limits(void **state)
{
    const struct loam_frame_request any = { .page_count = 1 };
    const struct loam_frame_request low = { .page_count = 1, .limit = MIB(1) };
    struct loam_phys_range range;
    (void)state;
    small_machine(1);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    assert_int_equal(loam_take(&mm, &any, LOAM_OWNER_KERNEL, &range), LOAM_OK);
    assert_true(range.start.addr >= MIB(16));
    assert_int_equal(loam_take(&mm, &low, LOAM_OWNER_KERNEL, &range), LOAM_OK);
    assert_true(range.start.addr >= KIB(4) && range.start.addr + range.size <= MIB(1));
}

static void malformed_requests_are_refused(void **state)
{
    struct loam_phys_range range = { { 1 }, 2 };
    (void)state;
    small_machine(1);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    const uint64_t before = loam_digest(&mm);
    const struct loam_frame_request none = { .page_count = 0 };
    const struct loam_frame_request huge = { .page_count = UINT64_MAX / KIB(4) + 1 };
    const struct loam_frame_request more = { .page_count = UINT64_MAX / KIB(4) };
    const struct loam_frame_request odd = { .page_count = 1, .align_bytes = KIB(12) };
    const struct loam_frame_request page = { .page_count = 1 };
    assert_int_equal(loam_take(&mm, &none, LOAM_OWNER_KERNEL, &range), LOAM_INVALID);
    assert_int_equal(loam_take(&mm, &huge, LOAM_OWNER_KERNEL, &range), LOAM_INVALID);
    assert_int_equal(loam_take(&mm, &more, LOAM_OWNER_KERNEL, &range), LOAM_NO_MEMORY);
    assert_int_equal(loam_take(&mm, &odd, LOAM_OWNER_KERNEL, &range), LOAM_INVALID);
    assert_int_equal(loam_take(&mm, &page, LOAM_OWNER_USABLE, &range), LOAM_INVALID);
    assert_int_equal(loam_take(&mm, &page, (enum loam_owner)LOAM_OWNERS, &range), LOAM_INVALID);
    assert_int_equal(range.start.addr, 1);
    static const struct loam_phys_range bad[] = {
        { { 0x1000 }, 0 },
        { { 0x1001 }, 0x1000 },
        { { 0x1000 }, 0x800 },
        { { UINT64_MAX - 0xfff }, 0x2000 },
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(loam_give(&mm, bad[i], LOAM_OWNER_KERNEL), LOAM_INVALID);
    assert_int_equal(loam_digest(&mm), before);
}

/* Take page by page until nothing is left, then give all back. */
static void all_memory_can_be_taken_and_given_back(void **state)
{
    const struct loam_frame_request page = { .page_count = 1 };
    static struct loam_phys_range taken[1024];
    size_t count = 0;
    (void)state;
    power_on(1);
    add(MIB(1), MIB(3), LOAM_MEM_USABLE);
    boot.heap_bytes = KIB(64);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    const uint64_t usable = total(LOAM_OWNER_USABLE);
    const uint64_t metadata = total(LOAM_OWNER_METADATA);
    while (count < 1024 && loam_take(&mm, &page, LOAM_OWNER_KERNEL, &taken[count]) == LOAM_OK)
        count++;
    assert_int_equal(total(LOAM_OWNER_USABLE), 0);
    assert_int_equal(count * KIB(4) + total(LOAM_OWNER_METADATA), usable + metadata);
    assert_null(loam_audit(&mm));
    for (size_t odd = 0; odd < 2; odd++) { /* every other one first: many intervals */
        for (size_t i = odd; i < count; i += 2)
            assert_int_equal(loam_give(&mm, taken[i], LOAM_OWNER_KERNEL), LOAM_OK);
        assert_null(loam_audit(&mm));
    }
    /* what is not usable again holds the nodes of the many intervals */
    assert_int_equal(total(LOAM_OWNER_USABLE) + total(LOAM_OWNER_METADATA), usable + metadata);
    assert_in_range(total(LOAM_OWNER_METADATA), metadata, metadata + KIB(32));
    assert_null(loam_audit(&mm));
}

static void loam_M32_reclaim_gives_once(void **state)
{
    uint64_t bytes = 0;
    (void)state;
    small_machine(1);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    const uint64_t usable = total(LOAM_OWNER_USABLE);
    assert_int_equal(loam_reclaim(&mm, &bytes), LOAM_OK);
    assert_int_equal(bytes, KIB(768));
    assert_int_equal(total(LOAM_OWNER_BOOTLOADER), 0);
    assert_int_equal(total(LOAM_OWNER_USABLE), usable + KIB(768));
    assert_null(loam_audit(&mm));
    const uint64_t before = loam_digest(&mm);
    bytes = 7;
    assert_int_equal(loam_reclaim(&mm, &bytes), LOAM_STATE);
    assert_int_equal(bytes, 0);
    assert_int_equal(loam_digest(&mm), before);
}

static void map_draws_tables_from_usable_memory_and_unmap_returns_them(void **state)
{
    const struct loam_attr attr = { LOAM_PROT_WRITE, LOAM_CACHE_WB };
    (void)state;
    small_machine(1);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    const uint64_t before = loam_space_digest(&mm.space);
    const uint64_t usable = total(LOAM_OWNER_USABLE);
    const uint64_t tables = mm.space.table_count;

    /* One page in each of 40 GiB-sized pieces: two new tables for each. */
    for (uint64_t i = 0; i < 40; i++) {
        const struct loam_virt_range virt = { { GIB(1) * i + 0xdead000 }, KIB(4) };
        assert_int_equal(loam_map(&mm, virt, loam_phys_at(MIB(3)), attr), LOAM_OK);
    }
    assert_true(mm.space.table_count >= tables + 80);
    assert_null(loam_audit(&mm));
    const struct loam_virt_range again = { { 0xdead000 }, KIB(4) };
    assert_int_equal(loam_map(&mm, again, loam_phys_at(MIB(3)), attr), LOAM_OVERLAP);
    assert_int_equal(loam_protect(&mm, again, (struct loam_attr){ LOAM_PROT_READ, LOAM_CACHE_WB }),
                     LOAM_OK);
    for (uint64_t i = 0; i < 40; i++) {
        const struct loam_virt_range virt = { { GIB(1) * i + 0xdead000 }, KIB(4) };
        assert_int_equal(loam_unmap(&mm, virt), LOAM_OK);
    }
    assert_int_equal(mm.space.table_count, tables);
    assert_null(loam_audit(&mm));
    assert_int_equal(total(LOAM_OWNER_PAGE_TABLES),
                     (tables + mm.tables.frame_count) * LOAM_PAGE_SIZE);
    assert_int_equal(total(LOAM_OWNER_USABLE), usable);
    assert_int_equal(loam_space_digest(&mm.space), before);
}

/* A map that needs more tables than there is memory leaves everything as it was. */
static void map_that_cannot_have_its_tables_changes_nothing(void **state)
{
    const struct loam_attr attr = { LOAM_PROT_WRITE, LOAM_CACHE_WB };
    (void)state;
    power_on(1);
    add(MIB(1), MIB(2), LOAM_MEM_USABLE);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    const uint64_t before = loam_digest(&mm);
    /* Backing that is misaligned by a page: 4 KiB pages only, 2048 tables. */
    const struct loam_virt_range virt = { { GIB(4) }, GIB(4) };
    assert_int_equal(loam_map(&mm, virt, loam_phys_at(KIB(4)), attr), LOAM_NO_MEMORY);
    assert_int_equal(loam_digest(&mm), before);
    assert_null(loam_audit(&mm));
}

/* Whichever step fails: nothing has changed but for what succeeded before it. */
static void take_map_unmap_give_survive_every_failure(void **state)
{
    const struct loam_frame_request page = { .page_count = 1 };
    const struct loam_attr attr = { LOAM_PROT_WRITE, LOAM_CACHE_WB };
    const struct loam_virt_range virt = { { GIB(64) }, KIB(4) };
    unsigned failures = 0;
    (void)state;
    INJECT_EACH_POINT
    {
        struct loam_phys_range range;
        small_machine(1);
        assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
        const uint64_t usable = total(LOAM_OWNER_USABLE);
        const uint64_t tree = loam_space_digest(&mm.space);
        INJECT_ARM();
        const enum loam_status took = loam_take(&mm, &page, LOAM_OWNER_KERNEL, &range);
        assert_int_equal(total(LOAM_OWNER_KERNEL), took == LOAM_OK ? KIB(4) : 0);
        const enum loam_status mapped = loam_map(&mm, virt, loam_phys_at(MIB(3)), attr);
        assert_int_equal(loam_space_digest(&mm.space) == tree, mapped != LOAM_OK);
        if (mapped == LOAM_OK)
            assert_int_equal(loam_unmap(&mm, virt), LOAM_OK); /* needs no table */
        assert_int_equal(loam_space_digest(&mm.space), tree);
        enum loam_status gave = LOAM_OK;
        if (took == LOAM_OK)
            gave = loam_give(&mm, range, LOAM_OWNER_KERNEL);
        INJECT_DISARM();
        assert_null(loam_audit(&mm));
        assert_int_equal(total(LOAM_OWNER_KERNEL), gave == LOAM_OK ? 0 : KIB(4));
        if (gave == LOAM_OK)
            assert_in_range(total(LOAM_OWNER_USABLE), usable - KIB(4) * 16, usable);
        failures += took != LOAM_OK || mapped != LOAM_OK || gave != LOAM_OK;
    }
    assert_true(failures > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(take_charges_the_owner_and_give_restores_everything),
        cmocka_unit_test(high_memory_is_taken_first_and_low_memory_kept_for_limits),
        cmocka_unit_test(malformed_requests_are_refused),
        cmocka_unit_test(all_memory_can_be_taken_and_given_back),
        cmocka_unit_test(loam_M32_reclaim_gives_once),
        cmocka_unit_test(map_draws_tables_from_usable_memory_and_unmap_returns_them),
        cmocka_unit_test(map_that_cannot_have_its_tables_changes_nothing),
        cmocka_unit_test(take_map_unmap_give_survive_every_failure),
    };
    return RUN_TESTS(tests);
}
