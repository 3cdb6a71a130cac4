/*
 * vmap_test.c - memory, stacks, devices and windows at addresses of their own, as a
 * simulated CPU sees them.
 */
#include "vmap_world.h"

/* ---- memory -------------------------------------------------------------- */

/*
 *     [g| memory |g)      every CPU can use it; its guards nobody
 */
static void alloc_maps_memory_between_guards(void **state)
{
    (void)state;
    vmap_machine(2);
    const uint64_t kernel = total(LOAM_OWNER_KERNEL);
    const loam_virt at = alloc_bytes(PAGES(5) - 3);
    assert_int_equal(total(LOAM_OWNER_KERNEL), kernel + PAGES(5));
    expect_mapped_alone(at.addr, PAGES(5));
    for (unsigned page = 0; page < 5; page++)
        *byte_at(0, at.addr + PAGES(page)) = (unsigned char)(0x40 + page);
    for (unsigned page = 0; page < 5; page++) /* five frames, seen by the other CPU */
        assert_int_equal(*byte_at(1, at.addr + PAGES(page)), 0x40 + page);
    const loam_virt other = alloc_bytes(PAGES(1));
    assert_true(other.addr >= at.addr + PAGES(6) || other.addr + PAGES(2) <= at.addr);
    check_sound();
    struct loam_translation seen;
    assert_int_equal(loam_space_query(&mm.space, at, &seen), LOAM_OK);
    assert_int_equal(seen.attr.prot, LOAM_PROT_WRITE | LOAM_PROT_GLOBAL);
    assert_int_equal(seen.attr.cache, LOAM_CACHE_WB);
}

static void alloc_zeroes_on_request(void **state)
{
    (void)state;
    vmap_machine(1);
    const loam_virt dirty = alloc_bytes(PAGES(70));
    for (uint64_t page = 0; page < 70; page++)
        memset(byte_at(0, dirty.addr + PAGES(page)), 0xa5, LOAM_PAGE_SIZE);
    loam_vmap_free(&mm, dirty);
    assert_true(loam_vmap_purge(&mm));
    struct loam_vmap_request request = memory_of(PAGES(70));
    request.is_zeroed = true;
    const loam_virt at = alloc(&request);
    static const unsigned char zeroes[LOAM_PAGE_SIZE];
    for (uint64_t page = 0; page < 70; page++)
        assert_memory_equal(byte_at(0, at.addr + PAGES(page)), zeroes, LOAM_PAGE_SIZE);
    check_sound();
}

static void alloc_keeps_alignment_guards_and_rights(void **state)
{
    (void)state;
    vmap_machine(1);
    struct loam_vmap_request request = memory_of(PAGES(3));
    request.align_bytes = PAGES(64);
    request.guard_pages = 7;
    request.attr.prot = LOAM_PROT_EXEC;
    const loam_virt at = alloc(&request);
    assert_int_equal(at.addr % PAGES(64), 0);
    assert_int_equal(fault_at(0, at.addr, MACHINE_EXEC), MACHINE_OK);
    assert_int_equal(fault_at(0, at.addr, MACHINE_WRITE), MACHINE_PROTECTION);
    assert_int_equal(find(at.addr - PAGES(7)).place, LOAM_VRANGE_IN_GUARD_BEFORE);
    assert_int_equal(find(at.addr + PAGES(3 + 7) - 1).place, LOAM_VRANGE_IN_GUARD_AFTER);
    request = memory_of(PAGES(1));
    request.attr.cache = LOAM_CACHE_WC;
    assert_int_equal(machine_access(0, alloc(&request).addr, MACHINE_READ).type, MACHINE_WC);
    request = memory_of(PAGES(1));
    request.dice = UINT64_C(0x123456789abcdef);
    const uint64_t random = alloc(&request).addr;
    assert_true(random - mm.vmap.window.start.addr < mm.vmap.window.size);
    assert_true(random - mm.vmap.window.start.addr > GIB(1));
    check_sound();
}

static void alloc_V02_refuses_what_is_malformed(void **state)
{
    static const struct loam_attr wrong[] = {
        { LOAM_PROT_WRITE | LOAM_PROT_EXEC, LOAM_CACHE_WB },
        { LOAM_PROT_USER, LOAM_CACHE_WB },
        { 0x80, LOAM_CACHE_WB },
        { LOAM_PROT_WRITE, (enum loam_cache)LOAM_CACHES },
    };
    struct loam_vmap_request request = memory_of(0);
    loam_virt at = loam_virt_at(42);

    (void)state;
    vmap_machine(1);
    EXPECT_REFUSED(loam_vmap_alloc(&mm, &request, &at), LOAM_INVALID);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        request = memory_of(PAGES(1));
        request.attr = wrong[i];
        EXPECT_REFUSED(loam_vmap_alloc(&mm, &request, &at), LOAM_INVALID);
    }
    request = memory_of(PAGES(1));
    request.align_bytes = 3 * PAGES(1);
    EXPECT_REFUSED(loam_vmap_alloc(&mm, &request, &at), LOAM_INVALID);
    request = memory_of(PAGES(1));
    request.guard_pages = LOAM_VRANGE_GUARD_MAX + 1;
    EXPECT_REFUSED(loam_vmap_alloc(&mm, &request, &at), LOAM_INVALID);
    request = memory_of(mm.vmap.window.size);
    EXPECT_REFUSED(loam_vmap_alloc(&mm, &request, &at), LOAM_NO_SPACE);
    request = memory_of(UINT64_MAX);
    EXPECT_REFUSED(loam_vmap_alloc(&mm, &request, &at), LOAM_NO_SPACE);
    request = memory_of(MIB(128)); /* of 64 */
    EXPECT_REFUSED(loam_vmap_alloc(&mm, &request, &at), LOAM_NO_MEMORY);
    assert_int_equal(at.addr, 42);
}

/* Somebody else has mapped something where the next range would lie. */
static void alloc_refuses_addresses_that_another_has_used(void **state)
{
    const struct loam_attr attr = { LOAM_PROT_WRITE, LOAM_CACHE_WB };
    const struct loam_vmap_request request = memory_of(PAGES(40));
    loam_virt at = loam_virt_at(42);

    (void)state;
    vmap_machine(1);
    const struct loam_virt_range foreign =
        loam_virt_range_of(loam_virt_at(mm.vmap.window.start.addr + PAGES(39)), PAGES(1));
    assert_int_equal(loam_map(&mm, foreign, loam_phys_at(UINT64_C(1) << 40), attr), LOAM_OK);
    const uint64_t digest = loam_digest(&mm);
    assert_int_equal(loam_vmap_alloc(&mm, &request, &at), LOAM_OVERLAP);
    assert_int_equal(loam_digest(&mm), digest);
    assert_int_equal(at.addr, 42);
    assert_string_equal(loam_audit(&mm), "vmap: something is mapped where nothing is allocated");
    assert_int_equal(loam_unmap(&mm, foreign), LOAM_OK);
    check_sound();
}

/* ---- free ---------------------------------------------------------------- */

/* Twelve ranges, one flush; then frames and addresses are free. */
static void purge_flushes_once_for_all_that_waits(void **state)
{
    (void)state;
    vmap_machine(2);
    const loam_virt neighbour = alloc_bytes(PAGES(1)); /* in the same table, which stays */
    const uint64_t kernel = total(LOAM_OWNER_KERNEL);
    loam_virt at[12];
    for (unsigned i = 0; i < 12; i++) {
        at[i] = alloc_bytes(PAGES(4));
        expect_mapped_alone(at[i].addr, PAGES(4));
    }
    const unsigned flushes = machine_flush_count();
    for (unsigned i = 0; i < 12; i++)
        loam_vmap_free(&mm, at[i]);
    assert_int_equal(machine_flush_count(), flushes); /* lazily */
    assert_int_equal(total(LOAM_OWNER_KERNEL), kernel + PAGES(48));
    check_sound();
    assert_true(loam_vmap_purge(&mm));
    assert_int_equal(machine_flush_count(), flushes + 1);
    for (unsigned i = 0; i < 12; i++)
        expect_unmapped(at[i].addr, PAGES(4));
    assert_int_equal(total(LOAM_OWNER_KERNEL), kernel);
    expect_mapped_alone(neighbour.addr, PAGES(1));
    check_sound();
    assert_false(loam_vmap_purge(&mm));
    assert_int_equal(machine_flush_count(), flushes + 1);
}

/* The last range goes, and with it tables and records. */
static void purge_gives_tables_back(void **state)
{
    (void)state;
    vmap_machine(2);
    const uint64_t usable = total(LOAM_OWNER_USABLE);
    const uint64_t tables = mm.space.table_count;
    for (unsigned i = 0; i < 3; i++)
        loam_vmap_free(&mm, alloc_bytes(PAGES(20)));
    assert_true(mm.space.table_count > tables);
    assert_true(loam_vmap_purge(&mm));
    assert_int_equal(mm.space.table_count, tables);
    loam_vrange_drain(&mm.vmap.ranges);
    assert_int_equal(mm.vmap.ranges.node_frame_count, 0);
    assert_true(usable - total(LOAM_OWNER_USABLE) <= PAGES(2)); /* spare ones for records */
    check_sound();
}

/* 300 ranges need six frames of records: two are kept, as spare ones. */
static void purge_gives_records_back(void **state)
{
    loam_virt at[300];

    (void)state;
    vmap_machine(1);
    for (unsigned i = 0; i < 300; i++)
        at[i] = alloc_bytes(PAGES(1));
    assert_int_equal(mm.vmap.ranges.node_frame_count, 6);
    for (unsigned i = 0; i < 300; i++)
        loam_vmap_free(&mm, at[i]);
    (void)loam_vmap_purge(&mm);
    loam_vrange_drain(&mm.vmap.ranges);
    assert_int_equal(mm.vmap.ranges.node_frame_count, 0);
    loam_vmap_free(&mm, alloc_bytes(PAGES(1)));
    assert_true(loam_vmap_purge(&mm));
    assert_in_range(loam_stock_level(&mm.vmap.nodes), 1, 2);
    check_sound();
}

/* No address and no frame is used again before every CPU has forgotten it. */
static void free_gives_nothing_away_before_the_flush(void **state)
{
    (void)state;
    vmap_machine(2);
    const loam_virt at = alloc_bytes(PAGES(2));
    const uint64_t phys = machine_access(1, at.addr, MACHINE_WRITE).phys;
    loam_vmap_free(&mm, at);
    assert_int_equal(machine_access(1, at.addr, MACHINE_READ).phys, phys);
    for (int i = 0; i < 10; i++) {
        const loam_virt other = alloc_bytes(PAGES(2));
        assert_true(other.addr >= at.addr + PAGES(2) || other.addr + PAGES(2) <= at.addr);
        assert_int_not_equal(machine_access(1, other.addr, MACHINE_READ).phys, phys);
    }
    check_sound();
}

static void purge_comes_by_itself_when_enough_waits(void **state)
{
    (void)state;
    vmap_machine(1);
    const uint64_t limit = mm.vmap.ranges.purge_pages;
    assert_in_range(limit, 16, 8192);
    for (uint64_t freed = 8; freed < limit + 8; freed += 8) {
        const loam_virt at = alloc_bytes(PAGES(8));
        expect_mapped_alone(at.addr, PAGES(8));
        loam_vmap_free(&mm, at);
        assert_int_equal(mm.vmap.ranges.waiting_count, freed < limit ? freed / 8 : 0);
        assert_int_equal(fault_at(0, at.addr, MACHINE_READ) == MACHINE_OK, freed < limit);
    }
    check_sound();
}

static void free_V05_panics_unless_it_is_exact(void **state)
{
    (void)state;
    vmap_machine(1);
    const loam_virt at = alloc_bytes(PAGES(3));
    struct loam_virt_range stack;
    loam_virt device;
    assert_int_equal(loam_vmap_stack(&mm, PAGES(4), "stack", &stack), LOAM_OK);
    assert_int_equal(loam_vmap_device(&mm, loam_phys_range_of(loam_phys_at(GIB(1)), 16),
                                      LOAM_CACHE_UC, "device", &device),
                     LOAM_OK);
    static const int64_t wrong[] = { 1, -4096, 4096, 8192, 3 * 4096, 1 << 30 };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        EXPECT_PANIC("vmap: nothing begins here",
                     loam_vmap_free(&mm, loam_virt_at(at.addr + (uint64_t)wrong[i])));
    EXPECT_PANIC("vmap: nothing begins here", loam_vmap_free(&mm, loam_virt_at(MIB(1))));
    EXPECT_PANIC("vmap: freed as something else", loam_vmap_free(&mm, stack.start));
    assert_int_equal(panic_trap.seen.detail, LOAM_VMAP_STACK);
    EXPECT_PANIC("vmap: freed as something else", loam_vmap_stack_free(&mm, at));
    EXPECT_PANIC("vmap: freed as something else", loam_vmap_free(&mm, device));
    EXPECT_PANIC("vmap: freed as something else", loam_vmap_device_free(&mm, stack.start));
    loam_vmap_free(&mm, at);
    EXPECT_PANIC("vmap: freed twice", loam_vmap_free(&mm, at));
    assert_true(loam_vmap_purge(&mm));
    EXPECT_PANIC("vmap: nothing begins here", loam_vmap_free(&mm, at));
    check_sound();
}

/* Whoever unmaps what is vmap's is found out at the purge. */
static void purge_panics_at_what_another_has_unmapped(void **state)
{
    (void)state;
    vmap_machine(1);
    const loam_virt at = alloc_bytes(PAGES(3));
    assert_int_equal(
        loam_unmap(&mm, loam_virt_range_of(loam_virt_at(at.addr + PAGES(1)), PAGES(1))), LOAM_OK);
    assert_string_equal(loam_audit(&mm), "vmap: a range is not mapped");
    loam_vmap_free(&mm, at);
    EXPECT_PANIC("vmap: not mapped as it was", (void)loam_vmap_purge(&mm));
    assert_int_equal(panic_trap.seen.subject, at.addr);
}

/* ---- stacks -------------------------------------------------------------- */

static void stack_S02_has_a_guard_of_the_documented_size(void **state)
{
    struct loam_virt_range stack;

    (void)state;
    vmap_machine(2);
    for (uint64_t pages = 1; pages <= 16; pages *= 2) {
        assert_int_equal(loam_vmap_stack(&mm, PAGES(pages), "stack of nobody", &stack), LOAM_OK);
        assert_int_equal(stack.size, PAGES(pages));
        expect_mapped_alone(stack.start.addr, stack.size);
        for (uint64_t below = 1; below <= PAGES(LOAM_VMAP_GUARD_PAGES); below += 511) {
            assert_int_equal(fault_at(1, stack.start.addr - below, MACHINE_WRITE),
                             MACHINE_NOT_PRESENT);
            const struct loam_vmap_place place = find(stack.start.addr - below);
            assert_int_equal(place.place, LOAM_VRANGE_IN_GUARD_BEFORE);
            assert_int_equal(place.kind, LOAM_VMAP_STACK);
            assert_string_equal(place.info.name, "stack of nobody");
        }
    }
    check_sound();
}

static void stack_S03_refuses_sizes_that_are_none(void **state)
{
    struct loam_virt_range stack = { { 42 }, 43 };

    (void)state;
    vmap_machine(1);
    EXPECT_REFUSED(loam_vmap_stack(&mm, 0, "none", &stack), LOAM_INVALID);
    EXPECT_REFUSED(loam_vmap_stack(&mm, PAGES(1) + 16, "unaligned", &stack), LOAM_INVALID);
    EXPECT_REFUSED(loam_vmap_stack(&mm, GIB(1), "huge", &stack), LOAM_NO_MEMORY);
    EXPECT_REFUSED(loam_vmap_stack(&mm, UINT64_C(1) << 60, "huge", &stack), LOAM_NO_SPACE);
    EXPECT_REFUSED(loam_vmap_stack(&mm, 0 - PAGES(1), "huge", &stack), LOAM_NO_SPACE);
    assert_int_equal(stack.start.addr, 42);
    assert_int_equal(stack.size, 43);
}

static void stack_S03_double_free_panics(void **state)
{
    struct loam_virt_range stack;

    (void)state;
    vmap_machine(1);
    assert_int_equal(loam_vmap_stack(&mm, PAGES(4), NULL, &stack), LOAM_OK);
    loam_vmap_stack_free(&mm, stack.start);
    EXPECT_PANIC("vmap: freed twice", loam_vmap_stack_free(&mm, stack.start));
    assert_true(loam_vmap_purge(&mm));
    EXPECT_PANIC("vmap: nothing begins here", loam_vmap_stack_free(&mm, stack.start));
    check_sound();
}

/* The window lies where this program's own stack is, so that a stack can be "in use". */
static void stack_S03_free_of_the_running_stack_panics(void **state)
{
    const uint64_t here = loam_virt_of(__builtin_frame_address(0)).addr;

    (void)state;
    vmap_machine(1);
    assert_int_equal(
        loam_vmap_init(
            &mm, loam_virt_range_of(loam_virt_at(loam_page_floor(here) - PAGES(20)), PAGES(40)),
            100),
        LOAM_OK);
    const struct loam_vrange_request request = {
        .page_count = 38,
        .guard_before = 1,
        .guard_after = 1,
        .tag = LOAM_VMAP_STACK,
    };
    loam_virt at;
    if (loam_vrange_alloc(&mm.vmap.ranges, &request, &at) != LOAM_OK) {
        loam_phys list; /* a record */
        assert_int_equal(loam_stock_take(&mm.nodes, 1, &list), LOAM_OK);
        loam_stock_add(&mm.vmap.nodes,
                       loam_phys_range_of(loam_stock_next(&mm.nodes, &list), LOAM_PAGE_SIZE));
        assert_int_equal(loam_vrange_alloc(&mm.vmap.ranges, &request, &at), LOAM_OK);
    }
    EXPECT_PANIC("vmap: stack is in use", loam_vmap_stack_free(&mm, at));
    assert_int_equal(panic_trap.seen.subject, at.addr);
}

/* ---- where it lies ------------------------------------------------------- */

static void window_of_vmap_is_away_from_image_and_direct_map(void **state)
{
    (void)state;
    for (unsigned levels = 4; levels <= 5; levels++) {
        const uint64_t half = UINT64_C(1) << (11 + 9 * levels);
        small_machine(1);
        machine_set_levels(levels);
        boot.levels = levels;
        enter_all(1);
        const struct loam_virt_range window = mm.vmap.window;
        assert_int_equal(window.size, half / 8);
        assert_int_equal(window.start.addr + window.size,
                         levels == 4 ? 0 - GIB(2) : UINT64_C(0xffff800000000000));
        assert_true(loam_virt_is_canonical(window.start, levels));
        expect_mapped_alone(alloc_bytes(PAGES(2)).addr, PAGES(2));
        check_sound();
    }
}

/* Direct map and image, and what is left of the upper half. */
static void choose_stays_away_from_direct_map_and_image(void **state)
{
    static const uint64_t tib = UINT64_C(1) << 40;
    const uint64_t half = 128 * tib;
    const uint64_t top = 0 - GIB(2);
    const struct {
        unsigned levels;
        uint64_t shown, shown_size, image; /* the first and the last from the end of it all */
        uint64_t end, size;
    } cases[] = {
        { 4, 0 - half, GIB(4), top, top, half / 8 },
        { 4, 0 - half, 64 * tib, top, top, half / 8 },
        { 4, 0 - half, 64 * tib, 0, top, half / 8 },
        { 4, 0 - half, 64 * tib, top + MIB(100), top, half / 8 },
        { 4, 0 - half, 64 * tib, top - MIB(100), top - GIB(1), half / 8 },
        { 4, 0 - half, 64 * tib, 0 - 40 * tib, 0 - 40 * tib, 12 * tib },
        { 4, 0 - half, half - GIB(6), top, top, GIB(2) }, /* half of 4 GiB */
        { 4, 0 - half, half - GIB(3), top, 0 - half, 0 }, /* nothing on either side */
        { 4, 0 - half + tib, half - tib, top, 0 - half + tib, tib / 2 }, /* ends at 2^64 */
        { 4, 0 - 60 * tib + MIB(5), 7, top, top, half / 8 },
        { 4, MIB(2), 64 * tib, top, top, half / 8 }, /* a direct map in the lower half */
        { 5, 0 - 512 * half, 64 * tib, top, 0 - half, 64 * half },
        { 5, 0 - half, 64 * tib, top, 0 - half, 64 * half },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct loam_virt_range window = loam_vmap_choose(
            cases[i].levels, loam_virt_range_of(loam_virt_at(cases[i].shown), cases[i].shown_size),
            loam_virt_at(cases[i].image));
        assert_int_equal(window.start.addr + window.size, cases[i].end);
        assert_int_equal(window.size, cases[i].size);
        assert_int_equal(window.start.addr % GIB(1), 0);
    }
}

static void find_tells_what_an_address_is(void **state)
{
    (void)state;
    small_machine(1);
    struct loam_vmap_place place;
    loam_vmap_find(&mm, loam_virt_at(42), &place); /* before loam_init() */
    assert_int_equal(place.place, LOAM_VRANGE_NOWHERE);
    enter_all(1);
    const uint64_t at = alloc_bytes(PAGES(2)).addr;
    assert_int_equal(find(MIB(1)).place, LOAM_VRANGE_NOWHERE);
    assert_int_equal(find(at).place, LOAM_VRANGE_IN_RANGE);
    assert_int_equal(find(at).kind, LOAM_VMAP_MEMORY);
    assert_string_equal(find(at + PAGES(2) - 1).info.name, "memory");
    assert_int_equal(find(at - 1).place, LOAM_VRANGE_IN_GUARD_BEFORE);
    assert_int_equal(find(at + PAGES(2)).place, LOAM_VRANGE_IN_GUARD_AFTER);
    assert_int_equal(find(at + PAGES(2)).kind, LOAM_VMAP_MEMORY);
    assert_int_equal(find(at + PAGES(3)).place, LOAM_VRANGE_IN_GAP);
    assert_int_equal(find(at + PAGES(3)).kind, LOAM_VMAP_NONE);
    loam_vmap_free(&mm, loam_virt_at(at));
    assert_int_equal(find(at).info.state, LOAM_VRANGE_WAITING);
    assert_true(loam_vmap_purge(&mm));
    assert_int_equal(find(at).place, LOAM_VRANGE_IN_GAP);
}

static void vmap_needs_loam_init(void **state)
{
    const struct loam_vmap_request request = memory_of(PAGES(1));
    struct loam_vmap_window window;
    struct loam_virt_range stack;
    loam_virt at;

    (void)state;
    small_machine(1);
    assert_int_equal(loam_vmap_alloc(&mm, &request, &at), LOAM_STATE);
    assert_int_equal(loam_vmap_stack(&mm, PAGES(1), "x", &stack), LOAM_STATE);
    assert_int_equal(
        loam_vmap_device(&mm, loam_phys_range_of(loam_phys_at(GIB(1)), 1), LOAM_CACHE_UC, "x", &at),
        LOAM_STATE);
    assert_int_equal(loam_vmap_window_open(&mm, &window, &request), LOAM_STATE);
    assert_int_equal(loam_vmap_window_resize(&mm, &window, 0), LOAM_STATE);
    assert_false(loam_vmap_purge(&mm));
    EXPECT_PANIC("vmap: nothing begins here", loam_vmap_free(&mm, loam_virt_at(MIB(1))));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(alloc_maps_memory_between_guards),
        cmocka_unit_test(alloc_zeroes_on_request),
        cmocka_unit_test(alloc_keeps_alignment_guards_and_rights),
        cmocka_unit_test(alloc_V02_refuses_what_is_malformed),
        cmocka_unit_test(alloc_refuses_addresses_that_another_has_used),
        cmocka_unit_test(purge_flushes_once_for_all_that_waits),
        cmocka_unit_test(purge_gives_tables_back),
        cmocka_unit_test(purge_gives_records_back),
        cmocka_unit_test(free_gives_nothing_away_before_the_flush),
        cmocka_unit_test(purge_comes_by_itself_when_enough_waits),
        cmocka_unit_test(free_V05_panics_unless_it_is_exact),
        cmocka_unit_test(purge_panics_at_what_another_has_unmapped),
        cmocka_unit_test(stack_S02_has_a_guard_of_the_documented_size),
        cmocka_unit_test(stack_S03_refuses_sizes_that_are_none),
        cmocka_unit_test(stack_S03_double_free_panics),
        cmocka_unit_test(stack_S03_free_of_the_running_stack_panics),
        cmocka_unit_test(window_of_vmap_is_away_from_image_and_direct_map),
        cmocka_unit_test(choose_stays_away_from_direct_map_and_image),
        cmocka_unit_test(find_tells_what_an_address_is),
        cmocka_unit_test(vmap_needs_loam_init),
    };
    return RUN_TESTS(tests);
}
