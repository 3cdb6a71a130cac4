/*
 * books_test.c - ranges change hands and the books stay true: take, give, map,
 * reclaim. Rows F04, F06 and M32 of the bad-input list. Single frames are in
 * books_frames_test.c.
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

static struct loam_phys_range got[1024];

/* Take page by page until nothing is left. @return pages */
static size_t take_every_page(void)
{
    const struct loam_frame_request page = { .page_count = 1 };
    size_t count = 0;
    while (count < 1024 && loam_take(&mm, &page, LOAM_OWNER_KERNEL, &got[count]) == LOAM_OK)
        count++;
    return count;
}

/* Take all there is, then give it back. */
static void all_memory_can_be_taken_and_given_back(void **state)
{
    (void)state;
    power_on(1);
    add(MIB(1), MIB(3), LOAM_MEM_USABLE);
    boot.heap_bytes = KIB(64);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    const uint64_t usable = total(LOAM_OWNER_USABLE);
    const uint64_t metadata = total(LOAM_OWNER_METADATA);
    const size_t count = take_every_page();
    assert_int_equal(total(LOAM_OWNER_USABLE), 0);
    assert_int_equal(count * KIB(4) + total(LOAM_OWNER_METADATA), usable + metadata);
    assert_null(loam_audit(&mm));
    for (size_t odd = 0; odd < 2; odd++) { /* every other one first: many intervals */
        for (size_t i = odd; i < count; i += 2)
            assert_int_equal(loam_give(&mm, got[i], LOAM_OWNER_KERNEL), LOAM_OK);
        assert_null(loam_audit(&mm));
    }
    /* what is not usable again are spare frames for nodes */
    assert_int_equal(total(LOAM_OWNER_USABLE) + total(LOAM_OWNER_METADATA), usable + metadata);
    assert_in_range(total(LOAM_OWNER_METADATA), metadata, metadata + KIB(32));
    assert_null(loam_audit(&mm));
}

/* As many frames as are asked for, but nowhere together; and not as many. */
static void take_F04_tells_memory_in_pieces_from_no_memory(void **state)
{
    const struct loam_frame_request pair = { .page_count = 2 };
    const struct loam_frame_request many = { .page_count = 600 };
    (void)state;
    power_on(1);
    add(MIB(1), MIB(3), LOAM_MEM_USABLE);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    const size_t count = take_every_page();
    struct loam_phys_range range = { { 1 }, 2 };
    for (size_t i = 0; i < count; i++)
        if (got[i].start.addr % KIB(8) == 0)
            assert_int_equal(loam_give(&mm, got[i], LOAM_OWNER_KERNEL), LOAM_OK);
    const uint64_t before = loam_digest(&mm);
    assert_in_range(total(LOAM_OWNER_USABLE), KIB(400), KIB(2399));
    assert_int_equal(loam_take(&mm, &pair, LOAM_OWNER_KERNEL, &range), LOAM_NO_SPACE);
    assert_int_equal(loam_take(&mm, &many, LOAM_OWNER_KERNEL, &range), LOAM_NO_MEMORY);
    assert_int_equal(loam_digest(&mm), before);
    assert_int_equal(range.start.addr, 1);
    assert_null(loam_audit(&mm));
}

/* Whatever a request says, as an independent look at its answer finds it. */
static void take_obeys_every_limit(void **state)
{
    (void)state;
    small_machine(1);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    const uint64_t before = loam_digest(&mm);
    unsigned served = 0;
    for (unsigned i = 0; i < 2000; i++) {
        struct loam_phys_range range;
        const struct loam_frame_request request = {
            .page_count = 1 + test_random_below(i % 3 == 0 ? 700 : 9),
            .align_bytes = i % 4 == 0 ? 0 : UINT64_C(1) << test_random_below(24),
            .from = i % 5 == 0 ? test_random_below(MIB(70)) : 0,
            .limit = i % 7 == 0 ? 0 : KIB(4) << test_random_below(23),
            .boundary_bytes = i % 2 == 0 ? 0 : UINT64_C(1) << test_random_below(26),
        };
        const enum loam_status st = loam_take(&mm, &request, LOAM_OWNER_KERNEL, &range);
        if (st != LOAM_OK)
            continue;
        served++;
        const uint64_t last = range.start.addr + range.size - 1;
        assert_int_equal(range.size, request.page_count * KIB(4));
        assert_true(request.align_bytes == 0 || range.start.addr % request.align_bytes == 0);
        assert_true(range.start.addr >= request.from && range.start.addr != 0);
        assert_true(request.limit == 0 || last < request.limit);
        assert_true(request.boundary_bytes == 0 ||
                    range.start.addr / request.boundary_bytes == last / request.boundary_bytes);
        memset(machine_ram(range.start.addr), 0x5a, range.size);
        assert_int_equal(total(LOAM_OWNER_KERNEL), range.size);
        assert_int_equal(loam_give(&mm, range, LOAM_OWNER_KERNEL), LOAM_OK);
    }
    assert_in_range(served, 500, 1999);
    assert_int_equal(loam_digest(&mm), before);
    assert_null(loam_audit(&mm));
}

/* Below 1 MiB until there is no more, whatever there is above. */
static void take_F06_never_falls_back_above_a_limit(void **state)
{
    static const uint64_t limits[] = { MIB(1), MIB(16), GIB(4) };
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        const struct loam_frame_request low = { .page_count = 1, .limit = limits[i] };
        struct loam_phys_range range;
        unsigned count = 0;
        small_machine(1);
        add(GIB(8), MIB(16), LOAM_MEM_USABLE);
        assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
        enum loam_status st;
        while ((st = loam_take(&mm, &low, LOAM_OWNER_KERNEL, &range)) == LOAM_OK) {
            count++;
            if (range.start.addr >= limits[i])
                fail_msg("0x%llx is no answer", (unsigned long long)range.start.addr);
        }
        assert_int_equal(st, LOAM_NO_MEMORY);
        assert_int_equal(total(LOAM_OWNER_KERNEL), count * KIB(4));
        assert_true(total(LOAM_OWNER_USABLE) > MIB(4));
        const struct loam_phys_range below = { { 0 }, limits[i] };
        assert_int_equal(loam_frame_free_in(&mm.frame, below), 0);
        assert_null(loam_audit(&mm));
    }
}

/* Memory of the image, of the heap: charged truly, but not to be had by anybody. */
static void give_takes_only_what_take_could_give(void **state)
{
    static const enum loam_owner own[] = { LOAM_OWNER_PAGE_TABLES, LOAM_OWNER_HEAP,
                                           LOAM_OWNER_METADATA };
    const struct loam_frame_request page = { .page_count = 1 };
    struct loam_phys_range range;
    (void)state;
    small_machine(1);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    const uint64_t before = loam_digest(&mm);
    const struct loam_phys_range image = { { MIB(1) }, KIB(64) };
    assert_int_equal(loam_give(&mm, image, LOAM_OWNER_EXECUTABLE), LOAM_NOT_FOUND);
    const struct loam_phys_range owned[] = { { mm.space.root, KIB(4) },
                                             mm.heap_range,
                                             mm.frame_memory };
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(loam_take(&mm, &page, own[i], &range), LOAM_INVALID);
        EXPECT_PANIC("loam: range given back is not its owner's",
                     (void)!loam_give(&mm, owned[i], own[i]));
        memset(&mm.books, 0, sizeof mm.books); /* the panic left it locked */
        loam_x86_irq_restore(0x200);
    }
    assert_int_equal(loam_digest(&mm), before);
    /* The bootloader's memory may go in parts, before the rest is reclaimed. */
    uint64_t bytes;
    const struct loam_phys_range part = { { MIB(1) + KIB(256) }, KIB(64) };
    assert_int_equal(loam_give(&mm, part, LOAM_OWNER_BOOTLOADER), LOAM_OK);
    assert_null(loam_audit(&mm));
    assert_int_equal(loam_reclaim(&mm, &bytes), LOAM_OK);
    assert_int_equal(bytes, KIB(768 - 64));
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

/*
 *   before  [ usable  )[ boot    )[ usable ...     a block of 2 MiB over the border
 *           2 MiB      3 MiB      4 MiB
 */
static void reclaim_joins_blocks_across_the_border(void **state)
{
    const struct loam_frame_request block = {
        .page_count = 512, .align_bytes = MIB(2), .from = MIB(2), .limit = MIB(4)
    };
    struct loam_phys_range range;
    uint64_t bytes;
    (void)state;
    power_on(1);
    add(MIB(2), MIB(1), LOAM_MEM_USABLE);
    add(MIB(3), MIB(1), LOAM_MEM_BOOT_RECLAIMABLE);
    add(MIB(4), MIB(60), LOAM_MEM_USABLE);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    assert_int_equal(loam_take(&mm, &block, LOAM_OWNER_KERNEL, &range), LOAM_NO_MEMORY);
    const uint64_t usable = total(LOAM_OWNER_USABLE);
    assert_int_equal(loam_reclaim(&mm, &bytes), LOAM_OK);
    assert_int_equal(bytes, MIB(1));
    assert_int_equal(total(LOAM_OWNER_USABLE), usable + MIB(1));
    assert_int_equal(loam_take(&mm, &block, LOAM_OWNER_KERNEL, &range), LOAM_OK);
    assert_int_equal(range.start.addr, MIB(2));
    assert_null(loam_audit(&mm));
}

static void reclaim_never_makes_frame_0_usable(void **state)
{
    struct loam_interval interval;
    uint64_t bytes;
    (void)state;
    for (uint64_t size = KIB(4); size <= KIB(8); size += KIB(4)) {
        power_on(1);
        add(0, size, LOAM_MEM_BOOT_RECLAIMABLE);
        add(size, KIB(64), LOAM_MEM_USABLE);
        add(MIB(1), MIB(16), LOAM_MEM_USABLE);
        assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
        assert_int_equal(total(LOAM_OWNER_BOOTLOADER), size);
        assert_null(loam_audit(&mm));
        assert_int_equal(loam_reclaim(&mm, &bytes), LOAM_OK);
        assert_int_equal(bytes, size - KIB(4));
        assert_int_equal(total(LOAM_OWNER_BOOTLOADER), 0);
        assert_int_equal(total(LOAM_OWNER_RESERVED), KIB(4));
        assert_true(loam_usage_lookup(&mm.usage, loam_phys_at(0), &interval));
        assert_int_equal(interval.owner, LOAM_OWNER_RESERVED);
        assert_null(loam_audit(&mm));
    }
}

/* Nobody could write to it. */
static void reclaim_leaves_what_the_direct_map_does_not_show(void **state)
{
    uint64_t bytes;
    (void)state;
    small_machine(1);
    boot.hhdm_types &= ~LOAM_MEM_BIT(LOAM_MEM_BOOT_RECLAIMABLE);
    boot.stack = loam_virt_at(IMAGE_VIRT + KIB(128));
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    const uint64_t usable = total(LOAM_OWNER_USABLE);
    const uint64_t reserved = total(LOAM_OWNER_RESERVED);
    assert_int_equal(loam_reclaim(&mm, &bytes), LOAM_OK);
    assert_int_equal(bytes, 0);
    assert_int_equal(total(LOAM_OWNER_USABLE), usable);
    assert_int_equal(total(LOAM_OWNER_BOOTLOADER), 0);
    assert_int_equal(total(LOAM_OWNER_RESERVED), reserved + KIB(768));
    assert_null(loam_audit(&mm));
}

/* Frame 0 is cut off, which makes an interval more: where the node is full that needs
 * another node. It stops there for want of one, and goes on later. */
static void reclaim_goes_on_where_it_stopped(void **state)
{
    unsigned failures = 0;
    (void)state;
    for (uint64_t taken = 0; taken < 300; taken++) {
        uint64_t bytes = 0;
        power_on(1);
        add(0, KIB(8), LOAM_MEM_BOOT_RECLAIMABLE);
        if (taken % 2 == 1) /* an odd number of intervals, too */
            add(KIB(16), KIB(4), LOAM_MEM_RESERVED);
        add(MIB(1), MIB(15), LOAM_MEM_USABLE);
        add(MIB(16), KIB(512), LOAM_MEM_BOOT_RECLAIMABLE);
        assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
        for (uint64_t i = taken / 2; i-- > 0;) { /* two intervals each */
            const uint64_t at = MIB(1) + (2 * i + 1) * KIB(4);
            const struct loam_frame_request page = { .page_count = 1,
                                                     .from = at,
                                                     .limit = at + KIB(4) };
            struct loam_phys_range range;
            assert_int_equal(loam_take(&mm, &page, LOAM_OWNER_KERNEL, &range), LOAM_OK);
        }
        const uint64_t before = loam_digest(&mm);
        inject_fail_at(1, true);
        const enum loam_status st = loam_reclaim(&mm, &bytes);
        inject_fail_at(0, false);
        assert_null(loam_audit(&mm));
        if (st != LOAM_OK) {
            failures++;
            assert_int_equal(st, LOAM_NO_MEMORY);
            assert_int_equal(bytes, 0);
            assert_int_equal(loam_digest(&mm), before);
            assert_int_equal(loam_reclaim(&mm, &bytes), LOAM_OK);
            assert_null(loam_audit(&mm));
        }
        assert_int_equal(bytes, KIB(4) + KIB(512));
        assert_int_equal(total(LOAM_OWNER_BOOTLOADER), 0);
    }
    assert_in_range(failures, 1, 20);
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
        assert_int_equal(loam_map(&mm, virt, loam_phys_at(GIB(64)), attr), LOAM_OK);
    }
    assert_true(mm.space.table_count >= tables + 80);
    assert_null(loam_audit(&mm));
    const struct loam_virt_range again = { { 0xdead000 }, KIB(4) };
    assert_int_equal(loam_map(&mm, again, loam_phys_at(GIB(64)), attr), LOAM_OVERLAP);
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

/* Tables that early handed out are recorded; given back, they split intervals. One that
 * no node can be had for stays in the stock, and goes with a later one. */
static void unmap_keeps_a_table_that_it_cannot_record(void **state)
{
    const struct loam_attr attr = { LOAM_PROT_WRITE, LOAM_CACHE_WB };
    unsigned kept = 0;
    (void)state;
    for (uint64_t taken = 90; taken < 130; taken++) {
        small_machine(1);
        assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
        for (uint64_t i = 0; i < taken; i++) { /* the highest node fills up */
            const uint64_t at = MIB(40) + i * KIB(8);
            const struct loam_frame_request page = { .page_count = 1,
                                                     .from = at,
                                                     .limit = at + KIB(4) };
            struct loam_phys_range range;
            assert_int_equal(loam_take(&mm, &page, LOAM_OWNER_KERNEL, &range), LOAM_OK);
        }
        const uint64_t tables = mm.space.table_count;
        struct loam_virt_range virt = { { 0 }, KIB(4) };
        for (uint64_t i = 0; i < 32; i++) {
            virt.start.addr = GIB(20 + i);
            assert_int_equal(loam_map(&mm, virt, loam_phys_at(GIB(64)), attr), LOAM_OK);
        }
        inject_fail_at(1, true);
        for (uint64_t i = 0; i < 32; i++) { /* not in the order of their addresses */
            virt.start.addr = GIB(20 + i * (2 * taken + 1) % 32);
            assert_int_equal(loam_unmap(&mm, virt), LOAM_OK);
        }
        inject_fail_at(0, false);
        assert_int_equal(mm.space.table_count, tables);
        assert_null(loam_audit(&mm));
        kept += mm.tables.frame_count > LOAM_SPARE_TABLES;
        virt.start.addr = GIB(20);
        assert_int_equal(loam_map(&mm, virt, loam_phys_at(GIB(64)), attr), LOAM_OK);
        assert_int_equal(loam_unmap(&mm, virt), LOAM_OK);
        assert_int_equal(mm.tables.frame_count, LOAM_SPARE_TABLES);
        assert_null(loam_audit(&mm));
    }
    assert_in_range(kept, 1, 39);
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
    assert_int_equal(loam_map(&mm, virt, loam_phys_at(GIB(64) + KIB(4)), attr), LOAM_NO_MEMORY);
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
        const enum loam_status mapped = loam_map(&mm, virt, loam_phys_at(GIB(64)), attr);
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

/* Take a page, or give it back, failing from the nth point on. @return it failed */
static bool fails_from(uint64_t nth, uint64_t at, bool takes)
{
    const struct loam_frame_request page = { .page_count = 1, .from = at, .limit = at + KIB(4) };
    struct loam_phys_range range = { { at }, KIB(4) };
    const uint64_t before = loam_digest(&mm);
    inject_fail_at(nth, true);
    const enum loam_status st = takes ? loam_take(&mm, &page, LOAM_OWNER_KERNEL, &range)
                                      : loam_give(&mm, range, LOAM_OWNER_KERNEL);
    inject_fail_at(0, false);
    if (st == LOAM_OK)
        return false;
    assert_int_equal(st, LOAM_NO_MEMORY);
    assert_int_equal(loam_digest(&mm), before);
    return true;
}

/* So many intervals that nodes run out again and again, first as they become more, then
 * as they become fewer: with no node, with no frame for one, and with both. */
static void take_and_give_without_a_node_change_nothing(void **state)
{
    unsigned failures[2] = { 0, 0 };
    (void)state;
    small_machine(1);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    const uint64_t usable = total(LOAM_OWNER_USABLE);
    const uint64_t metadata = total(LOAM_OWNER_METADATA);
    for (unsigned phase = 0; phase < 2; phase++) {
        for (uint64_t i = 0; i < 1500; i++) {
            /* given back every 11th first: most of them split an interval */
            const uint64_t nth = phase == 0 ? i : i * 11 % 1500;
            const uint64_t at = MIB(2) + nth * KIB(8);
            uint64_t point = phase == 0 ? 2 : 1;
            while (point < 5 && fails_from(point, at, phase == 0))
                point++;
            failures[phase] += point > (phase == 0 ? 2u : 1u);
            if (point == 5)
                fail_msg("it never succeeds");
            if (i % 100 == 0)
                assert_null(loam_audit(&mm));
        }
        if (phase == 0)
            assert_in_range(total(LOAM_OWNER_METADATA), metadata + KIB(40), metadata + KIB(400));
    }
    assert_true(failures[0] > 5);
    assert_int_equal(total(LOAM_OWNER_KERNEL), 0);
    assert_int_equal(total(LOAM_OWNER_USABLE) + total(LOAM_OWNER_METADATA), usable + metadata);
    /* what nodes needed is usable again, but for what is kept in stock */
    assert_in_range(total(LOAM_OWNER_METADATA), metadata, metadata + KIB(40));
    assert_null(loam_audit(&mm));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(take_charges_the_owner_and_give_restores_everything),
        cmocka_unit_test(high_memory_is_taken_first_and_low_memory_kept_for_limits),
        cmocka_unit_test(malformed_requests_are_refused),
        cmocka_unit_test(all_memory_can_be_taken_and_given_back),
        cmocka_unit_test(take_F04_tells_memory_in_pieces_from_no_memory),
        cmocka_unit_test(take_obeys_every_limit),
        cmocka_unit_test(take_F06_never_falls_back_above_a_limit),
        cmocka_unit_test(give_takes_only_what_take_could_give),
        cmocka_unit_test(loam_M32_reclaim_gives_once),
        cmocka_unit_test(reclaim_joins_blocks_across_the_border),
        cmocka_unit_test(reclaim_never_makes_frame_0_usable),
        cmocka_unit_test(reclaim_leaves_what_the_direct_map_does_not_show),
        cmocka_unit_test(reclaim_goes_on_where_it_stopped),
        cmocka_unit_test(map_draws_tables_from_usable_memory_and_unmap_returns_them),
        cmocka_unit_test(unmap_keeps_a_table_that_it_cannot_record),
        cmocka_unit_test(map_that_cannot_have_its_tables_changes_nothing),
        cmocka_unit_test(take_map_unmap_give_survive_every_failure),
        cmocka_unit_test(take_and_give_without_a_node_change_nothing),
    };
    return RUN_TESTS(tests);
}
