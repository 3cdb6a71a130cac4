/*
 * paging_test.c - what map, unmap, protect, query and next do, by example.
 */
#include "paging_world.h"

/* ---- page sizes and tables ----------------------------------------------- */

/*
 *   virt  [4K 4K 4K..|2M 2M ....|1G        |2M ..|4K ..)
 *         ^1G-2M-8K  ^1G-2M     ^1G        ^2G
 */
static void map_uses_the_largest_pages_that_fit(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    const uint64_t g = HIGHER + GIB(1);
    const uint64_t start = g - MIB(2) - KIB(8);
    assert_int_equal(
        map(start, KIB(8) + MIB(2) + GIB(1) + MIB(4) + KIB(4), GIB(8) - MIB(2) - KIB(8), RW),
        LOAM_OK);
    assert_int_equal(page_size_at(start), KIB(4));
    assert_int_equal(page_size_at(g - MIB(2) - 1), KIB(4));
    assert_int_equal(page_size_at(g - MIB(2)), MIB(2));
    assert_int_equal(page_size_at(g), GIB(1));
    assert_int_equal(page_size_at(g + GIB(1) - 1), GIB(1));
    assert_int_equal(page_size_at(g + GIB(1)), MIB(2));
    assert_int_equal(page_size_at(g + GIB(1) + MIB(4) - 1), MIB(2));
    assert_int_equal(page_size_at(g + GIB(1) + MIB(4)), KIB(4));
    expect_nothing(start - 1);
    expect_nothing(g + GIB(1) + MIB(4) + KIB(4));
    expect_page(g - 1, GIB(8) - 1, RW);
    expect_page(g + GIB(1) + MIB(4) + 5, GIB(9) + MIB(4) + 5, RW);
    assert_int_equal(space.table_count, 1 + 1 + 2 + 2); /* root, PDPT, two PDs, two PTs */
    assert_int_equal(machine_flush_count(), 0);
    world_check();
}

/* Physical memory one page off: nothing large fits. Nor does 2 MiB in 1 GiB. */
static void map_uses_small_pages_where_the_frames_demand_it(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    assert_int_equal(map(LOWER, MIB(4), GIB(1) + KIB(4), RW), LOAM_OK);
    assert_int_equal(page_size_at(LOWER + MIB(2)), KIB(4));
    assert_int_equal(map(LOWER + GIB(1), GIB(1), MIB(2), RW), LOAM_OK);
    assert_int_equal(page_size_at(LOWER + GIB(1)), MIB(2));
    expect_page(LOWER + GIB(2) - 1, GIB(1) + MIB(2) - 1, RW);
    world_check();
}

static void map_P28_without_gib_pages_uses_2_mib(void **state)
{
    (void)state;
    world_start((struct world_options){ .no_gib_pages = true });
    assert_int_equal(map(HIGHER, GIB(2), GIB(4), RW), LOAM_OK);
    assert_int_equal(page_size_at(HIGHER), MIB(2));
    expect_page(HIGHER + GIB(2) - 1, GIB(6) - 1, RW);
    assert_int_equal(space.table_count, 1 + 1 + 2);
    world_check();
}

/* One page at a time, in all orders: tables are made once and shared. */
static void map_shares_tables(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    for (uint64_t i = 0; i < 512; i++) {
        const uint64_t page = PAGES(i * 37 % 512);
        assert_int_equal(map(LOWER + page, KIB(4), GIB(3) + 2 * page, RW), LOAM_OK);
        assert_int_equal(space.table_count, 4);
    }
    for (uint64_t i = 0; i < 512; i++)
        expect_page(LOWER + PAGES(i), GIB(3) + 2 * PAGES(i), RW);
    world_check();
}

/* The last page of the address space, and of each half's first. */
static void map_P01_reaches_both_ends_of_both_halves(void **state)
{
    (void)state;
    for (unsigned levels = 4; levels <= 5; levels++) {
        world_start((struct world_options){ .levels = levels });
        const uint64_t half = UINT64_C(1) << (levels == 5 ? 56 : 47);
        const uint64_t places[] = { 0, half - MIB(4), 0 - half, 0 - MIB(4) };
        for (unsigned i = 0; i < 4; i++) {
            assert_int_equal(map(places[i], MIB(4), GIB(i), RW), LOAM_OK);
            expect_page(places[i], GIB(i), RW);
            expect_page(places[i] + MIB(4) - 1, GIB(i) + MIB(4) - 1, RW);
        }
        world_check();
        for (unsigned i = 0; i < 4; i++) { /* the last pages first: splits at the ends */
            assert_int_equal(unmap(places[i] + MIB(4) - KIB(4), KIB(4)), LOAM_OK);
            expect_nothing(places[i] + MIB(4) - 1);
            assert_int_equal(protect(places[i] + MIB(2), MIB(2) - KIB(4), RO), LOAM_OK);
            assert_int_equal(unmap(places[i], MIB(4) - KIB(4)), LOAM_OK);
            expect_nothing(places[i]);
        }
        assert_int_equal(space.table_count, 1);
        world_check();
    }
}

static void map_P27_uses_bits_48_to_56_with_5_levels(void **state)
{
    (void)state;
    world_start((struct world_options){ .levels = 5 });
    const uint64_t low = UINT64_C(0x0012345678000000);
    const uint64_t high = UINT64_C(0xff00000000000000);
    assert_int_equal(map(low, MIB(2), GIB(1), attr(LOAM_PROT_USER, LOAM_CACHE_WB)), LOAM_OK);
    assert_int_equal(map(high, GIB(1), 0, attr(LOAM_PROT_GLOBAL, LOAM_CACHE_WB)), LOAM_OK);
    expect_page(low, GIB(1), attr(LOAM_PROT_USER, LOAM_CACHE_WB));
    expect_page(high, 0, attr(LOAM_PROT_GLOBAL, LOAM_CACHE_WB));
    assert_int_equal(space.table_count, 1 + 3 + 2);
    assert_int_equal(unmap(low, MIB(2)), LOAM_OK);
    assert_int_equal(space.table_count, 1 + 2);
    world_check();
    world_start((struct world_options){ .levels = 4 });
    assert_int_equal(map(low, MIB(2), GIB(1), RW), LOAM_INVALID);
}

static void map_P03_reaches_the_last_frame(void **state)
{
    (void)state;
    for (unsigned bits = 36; bits <= 52; bits += 4) {
        world_start((struct world_options){ .phys_bits = bits });
        const uint64_t limit = UINT64_C(1) << bits;
        assert_int_equal(map(HIGHER, MIB(2), limit - MIB(2), RW), LOAM_OK);
        expect_page(HIGHER + MIB(2) - 1, limit - 1, RW);
        world_check();
    }
}

/* ---- unmap --------------------------------------------------------------- */

/*
 *   before  [A][B][C]      A, B, C: pages of one table
 *   after   [A]   [C]
 */
static void unmap_removes_just_the_range(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    assert_int_equal(map(LOWER, KIB(12), GIB(1), RW), LOAM_OK);
    for (uint64_t i = 0; i < 3; i++)
        expect_page(LOWER + PAGES(i), GIB(1) + PAGES(i), RW);
    assert_int_equal(unmap(LOWER + KIB(4), KIB(4)), LOAM_OK);
    expect_page(LOWER, GIB(1), RW);
    expect_nothing(LOWER + KIB(4));
    expect_page(LOWER + KIB(8), GIB(1) + KIB(8), RW);
    world_check();
}

/* Tables that become empty go back, up to the first that holds something else. */
static void unmap_gives_back_empty_tables_only(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    assert_int_equal(map(LOWER, KIB(4), 0, RW), LOAM_OK);
    assert_int_equal(map(LOWER + MIB(2), KIB(8), 0, RW), LOAM_OK);
    assert_int_equal(map(LOWER + GIB(1), KIB(4), 0, RW), LOAM_OK);
    assert_int_equal(space.table_count, 1 + 1 + 2 + 3);
    assert_int_equal(unmap(LOWER + MIB(2), KIB(4)), LOAM_OK);
    assert_int_equal(space.table_count, 1 + 1 + 2 + 3);
    assert_int_equal(unmap(LOWER + MIB(2) + KIB(4), KIB(4)), LOAM_OK);
    assert_int_equal(space.table_count, 1 + 1 + 2 + 2);
    world_check();
    assert_int_equal(unmap(LOWER + GIB(1), KIB(4)), LOAM_OK);
    assert_int_equal(space.table_count, 1 + 1 + 1 + 1);
    assert_int_equal(unmap(LOWER, KIB(4)), LOAM_OK);
    assert_int_equal(space.table_count, 1);
    world_check();
}

/*
 *   before  [ 2 MiB or 1 GiB                 )
 *   unmap            [4K)
 *   after   [ rest  )    [ rest              )   in smaller pages, attributes kept
 */
static void unmap_P10_splits_what_reaches_over_its_edges(void **state)
{
    (void)state;
    const uint64_t sizes[] = { MIB(2), GIB(1) };
    const struct loam_attr wc = attr(LOAM_PROT_WRITE | LOAM_PROT_GLOBAL, LOAM_CACHE_WC);
    for (unsigned s = 0; s < 2; s++) {
        world_start((struct world_options){ 0 });
        const uint64_t hole = HIGHER + KIB(64);
        assert_int_equal(map(HIGHER, sizes[s], GIB(7), wc), LOAM_OK);
        expect_page(HIGHER, GIB(7), wc);
        expect_page(hole, GIB(7) + KIB(64), wc);
        assert_int_equal(unmap(hole, KIB(4)), LOAM_OK);
        expect_nothing(hole);
        for (uint64_t at = 0; at < MIB(2); at += KIB(4)) {
            if (at != KIB(64))
                expect_page(HIGHER + at, GIB(7) + at, wc);
        }
        expect_page(HIGHER + sizes[s] - 1, GIB(7) + sizes[s] - 1, wc);
        assert_int_equal(page_size_at(HIGHER + sizes[s] - 1), s == 0 ? KIB(4) : MIB(2));
        assert_int_equal(space.table_count, 4);
        world_check();
    }
}

/* Both edges in one 1 GiB page, in two 2 MiB pages of it: three splits; in one: two. */
static void unmap_P10_splits_no_more_than_needed(void **state)
{
    (void)state;
    const struct {
        uint64_t start, size, tables;
    } rows[] = {
        { MIB(2), MIB(4), 1 },
        { KIB(4), KIB(4), 2 },
        { KIB(4), MIB(2), 3 },
        { KIB(4), MIB(4) - KIB(4), 2 },
        { MIB(4), MIB(2) + KIB(4), 2 },
        { 0, KIB(4), 2 },
        { GIB(1) - KIB(4), KIB(4), 2 },
        { GIB(1) - KIB(4), KIB(8), 4 },
        { GIB(1) - MIB(2), MIB(4), 2 },
        { 0, GIB(2), 0 },
        { GIB(1) - KIB(4), GIB(1) + KIB(4), 2 },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        world_start((struct world_options){ .frames = 2 + rows[i].tables }); /* exactly enough */
        assert_int_equal(map(LOWER, GIB(2), 0, RW), LOAM_OK);
        assert_int_equal(protect(LOWER + rows[i].start, rows[i].size, RO), LOAM_OK);
        assert_int_equal(space.table_count, 2 + rows[i].tables);
        expect_page(LOWER + rows[i].start, rows[i].start, RO);
        expect_page(LOWER + rows[i].start + rows[i].size - 1, rows[i].start + rows[i].size - 1, RO);
        if (rows[i].start != 0)
            expect_page(LOWER + rows[i].start - 1, rows[i].start - 1, RW);
        world_check();
        assert_int_equal(unmap(LOWER + rows[i].start, rows[i].size), LOAM_OK);
        world_check();
        if (rows[i].start != 0)
            assert_int_equal(unmap(LOWER, rows[i].start), LOAM_OK);
        if (rows[i].start + rows[i].size != GIB(2))
            assert_int_equal(
                unmap(LOWER + rows[i].start + rows[i].size, GIB(2) - rows[i].start - rows[i].size),
                LOAM_OK);
        assert_int_equal(space.table_count, 1);
        world_check();
    }
}

/* ---- protect ------------------------------------------------------------- */

/* 4 KiB, 2 MiB and 1 GiB pages in one range, split at both ends. */
static void protect_changes_pages_of_all_sizes(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    const uint64_t start = HIGHER + GIB(1) - MIB(2) - KIB(8);
    const uint64_t size = GIB(1) + MIB(4) + KIB(12);
    const struct loam_attr uc = attr(LOAM_PROT_EXEC | LOAM_PROT_GLOBAL, LOAM_CACHE_UC);
    assert_int_equal(map(start, size, GIB(4) - MIB(2) - KIB(8), RW), LOAM_OK);
    for (uint64_t at = 0; at < size; at += at < MIB(4) ? KIB(4) : MIB(2) - KIB(4))
        expect_page(start + at, GIB(4) - MIB(2) - KIB(8) + at, RW);
    assert_int_equal(protect(start + KIB(4), size - KIB(8), uc), LOAM_OK);
    expect_page(start, GIB(4) - MIB(2) - KIB(8), RW);
    for (uint64_t at = KIB(4); at < size - KIB(4); at += at < MIB(4) ? KIB(4) : MIB(2) - KIB(4))
        expect_page(start + at, GIB(4) - MIB(2) - KIB(8) + at, uc);
    expect_page(start + size - KIB(4), GIB(5) + MIB(2), RW);
    world_check();
}

static void protect_P12_takes_rights_away_on_every_cpu(void **state)
{
    (void)state;
    world_start((struct world_options){ .cpus = 4 });
    assert_int_equal(map(HIGHER, KIB(8), GIB(1), attr(LOAM_PROT_WRITE | 8u, LOAM_CACHE_WB)),
                     LOAM_OK);
    expect_page(HIGHER, GIB(1), RW); /* cached and dirty everywhere */
    assert_int_equal(protect(HIGHER, KIB(8), RO), LOAM_OK);
    expect_page(HIGHER, GIB(1), RO);
    assert_int_equal(protect(HIGHER, KIB(4), RX), LOAM_OK);
    expect_page(HIGHER, GIB(1), RX);
    expect_page(HIGHER + KIB(4), GIB(1) + KIB(4), RO);
}

/* Accessed and dirty bits stay, through a change and through a split. */
static void protect_P23_keeps_accessed_and_dirty_bits(void **state)
{
    (void)state;
    world_start((struct world_options){ .cpus = 1 });
    assert_int_equal(map(LOWER, MIB(6), GIB(1), RW), LOAM_OK);
    machine_access(0, LOWER, MACHINE_WRITE);
    machine_access(0, LOWER + MIB(2), MACHINE_READ);
    const uint64_t a = 0x20;
    const uint64_t d = 0x40;
    assert_int_equal(protect(LOWER, MIB(6), RO), LOAM_OK);
    assert_int_equal(raw_entry(LOWER, NULL, NULL) & (a | d), a | d);
    assert_int_equal(raw_entry(LOWER + MIB(2), NULL, NULL) & (a | d), a);
    assert_int_equal(raw_entry(LOWER + MIB(4), NULL, NULL) & (a | d), 0);
    for (uint64_t i = 0; i < 3; i++)
        assert_int_equal(protect(LOWER + MIB(2 * i), KIB(4), RW), LOAM_OK);
    assert_int_equal(raw_entry(LOWER + KIB(8), NULL, NULL) & (a | d), a | d);
    assert_int_equal(raw_entry(LOWER + MIB(2), NULL, NULL) & (a | d), a);
    assert_int_equal(raw_entry(LOWER + MIB(6) - KIB(4), NULL, NULL) & (a | d), 0);
    world_check();
}

/* ---- query --------------------------------------------------------------- */

static void query_P13_finds_the_byte_in_pages_of_all_sizes(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    struct loam_translation seen = { .phys = loam_phys_at(77) };
    assert_int_equal(map(LOWER, GIB(1), GIB(3), RW), LOAM_OK);
    assert_int_equal(map(LOWER + GIB(1), MIB(2) + KIB(4), GIB(9), RX), LOAM_OK);
    const struct {
        uint64_t at, phys, page_size;
    } rows[] = {
        { 0, GIB(3), GIB(1) },
        { 12345, GIB(3) + 12345, GIB(1) },
        { GIB(1) - 1, GIB(4) - 1, GIB(1) },
        { GIB(1), GIB(9), MIB(2) },
        { GIB(1) + MIB(2) - 1, GIB(9) + MIB(2) - 1, MIB(2) },
        { GIB(1) + MIB(2), GIB(9) + MIB(2), KIB(4) },
        { GIB(1) + MIB(2) + 4095, GIB(9) + MIB(2) + 4095, KIB(4) },
    };
    const loam_virt beyond[] = { loam_virt_at(LOWER - 1),
                                 loam_virt_at(LOWER + GIB(1) + MIB(2) + KIB(4)) };
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(loam_space_query(&space, beyond[i], &seen), LOAM_NOT_FOUND);
    assert_int_equal(loam_space_query(&space, loam_virt_at(UINT64_C(1) << 47), &seen),
                     LOAM_INVALID);
    assert_int_equal(seen.phys.addr, 77);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(loam_space_query(&space, loam_virt_at(LOWER + rows[i].at), &seen),
                         LOAM_OK);
        assert_int_equal(seen.phys.addr, rows[i].phys);
        assert_int_equal(seen.page_size, rows[i].page_size);
        assert_int_equal(seen.attr.prot, rows[i].at < GIB(1) ? LOAM_PROT_WRITE : LOAM_PROT_EXEC);
    }
}

/* ---- next ---------------------------------------------------------------- */

static void expect_run(uint64_t from, uint64_t virt, uint64_t size, uint64_t phys,
                       uint64_t page_size)
{
    struct loam_mapping run;
    assert_int_equal(loam_space_next(&space, loam_virt_at(from), &run), LOAM_OK);
    assert_int_equal(run.virt.start.addr, virt);
    assert_int_equal(run.virt.size, size);
    assert_int_equal(run.phys.addr, phys);
    assert_int_equal(run.page_size, page_size);
}

/*
 *   [a a)[b: other frames)[c: other rights)  hole  [d 2M 2M)[e 4K)     [f: the end)
 */
static void next_walks_runs_of_equal_pages(void **state)
{
    (void)state;
    for (unsigned levels = 4; levels <= 5; levels++) {
        world_start((struct world_options){ .levels = levels });
        struct loam_mapping run;
        assert_int_equal(loam_space_next(&space, loam_virt_at(0), &run), LOAM_NOT_FOUND);
        assert_int_equal(map(LOWER, KIB(8), 0, RW), LOAM_OK);
        assert_int_equal(map(LOWER + KIB(8), KIB(4), KIB(12), RW), LOAM_OK);
        assert_int_equal(map(LOWER + KIB(12), KIB(4), KIB(16), RO), LOAM_OK);
        assert_int_equal(map(HIGHER + GIB(3) - MIB(2), MIB(4), GIB(3) - MIB(2), RO), LOAM_OK);
        assert_int_equal(map(HIGHER + GIB(3) + MIB(2), KIB(4), GIB(3) + MIB(2), RO), LOAM_OK);
        assert_int_equal(map(0 - KIB(8), KIB(8), KIB(8), RX), LOAM_OK);
        machine_access(0, LOWER, MACHINE_WRITE); /* A and D make no difference */

        expect_run(0, LOWER, KIB(8), 0, KIB(4));
        expect_run(LOWER + KIB(4) + 1, LOWER + KIB(4), KIB(4), KIB(4), KIB(4));
        expect_run(LOWER + KIB(8), LOWER + KIB(8), KIB(4), KIB(12), KIB(4));
        expect_run(LOWER + KIB(12), LOWER + KIB(12), KIB(4), KIB(16), KIB(4));
        const uint64_t d = HIGHER + GIB(3) - MIB(2);
        expect_run(LOWER + KIB(16), d, MIB(4), GIB(3) - MIB(2), MIB(2));
        expect_run(UINT64_C(1) << (levels == 5 ? 60 : 50), d, MIB(4), GIB(3) - MIB(2), MIB(2));
        expect_run(d + MIB(4) - 1, d + MIB(2), MIB(2), GIB(3), MIB(2));
        expect_run(d + MIB(4), d + MIB(4), KIB(4), GIB(3) + MIB(2), KIB(4));
        expect_run(d + MIB(4) + KIB(4), 0 - KIB(8), KIB(8), KIB(8), KIB(4));
        expect_run(UINT64_MAX, 0 - KIB(4), KIB(4), KIB(12), KIB(4));
        assert_int_equal(loam_space_next(&space, loam_virt_at(LOWER), &run), LOAM_OK);
        assert_int_equal(run.attr.prot, LOAM_PROT_WRITE);
        assert_int_equal(unmap(0 - KIB(8), KIB(8)), LOAM_OK);
        assert_int_equal(loam_space_next(&space, loam_virt_at(UINT64_MAX), &run), LOAM_NOT_FOUND);
        assert_int_equal(loam_space_next(&space, loam_virt_at(d + MIB(4) + KIB(4)), &run),
                         LOAM_NOT_FOUND);
    }
}

/* A run goes on through tables; the hole ends it, however equal the other side. */
static void next_joins_tables_but_not_halves(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    const uint64_t half = UINT64_C(1) << 47;
    assert_int_equal(map(LOWER, MIB(6), KIB(4), RW), LOAM_OK);
    expect_run(LOWER, LOWER, MIB(6), KIB(4), KIB(4));
    assert_int_equal(map(half - MIB(2), MIB(2), GIB(1) - MIB(2), RW), LOAM_OK);
    assert_int_equal(map(0 - half, MIB(2), GIB(1), RW), LOAM_OK);
    expect_run(half - MIB(2), half - MIB(2), MIB(2), GIB(1) - MIB(2), MIB(2));
    expect_run(half, 0 - half, MIB(2), GIB(1), MIB(2));
    assert_int_equal(map(0 - KIB(4), KIB(4), GIB(2) - KIB(4), RW), LOAM_OK);
    assert_int_equal(map(0, KIB(4), GIB(2), RW), LOAM_OK);
    expect_run(0 - KIB(4), 0 - KIB(4), KIB(4), GIB(2) - KIB(4), KIB(4));
}

/* ---- flushes ------------------------------------------------------------- */

/* One call per operation; strides of the smallest page in the range. */
static void flush_covers_the_range_in_its_smallest_pages(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    struct loam_tlb_flush last;
    assert_int_equal(map(HIGHER, GIB(2) + MIB(2) + KIB(4), 0, RW), LOAM_OK);
    assert_int_equal(protect(HIGHER, GIB(2), RO), LOAM_OK);
    last = machine_flush_last();
    assert_ptr_equal(last.space, &space.tlb);
    assert_int_equal(last.range[0].start.addr, HIGHER);
    assert_int_equal(last.range[0].page_size, GIB(1));
    assert_int_equal(last.range[0].page_count, 2);
    assert_int_equal(protect(HIGHER + GIB(1), GIB(1) + MIB(2), RO), LOAM_OK);
    last = machine_flush_last();
    assert_true(last.is_full); /* 513 pages of 2 MiB */
    assert_int_equal(unmap(HIGHER + GIB(2), MIB(2) + KIB(4)), LOAM_OK);
    last = machine_flush_last();
    assert_true(last.is_full);
    assert_int_equal(unmap(HIGHER, KIB(8)), LOAM_OK); /* split first */
    last = machine_flush_last();
    assert_int_equal(last.range[0].page_size, KIB(4));
    assert_int_equal(last.range[0].page_count, 2);
    assert_false(last.is_full);
    assert_int_equal(machine_flush_count(), 4);
}

static uint64_t stock_before;

static void nothing_is_reused_yet(const struct loam_tlb_flush *flush)
{
    struct loam_translation seen;
    assert_int_equal(stock.frame_count, stock_before);
    /* The lock is free: this would spin for ever. And the page is gone. */
    assert_int_equal(loam_space_query(&space, flush->range[0].start, &seen), LOAM_NOT_FOUND);
    assert_string_equal(loam_space_audit(&space), "paging: a flush is pending");
    /* A stale walk ends in a table that still says "not present". */
    assert_int_equal(machine_access(1, LOWER + KIB(4), MACHINE_READ).fault, MACHINE_NOT_PRESENT);
    assert_int_equal(machine_access(1, LOWER + KIB(8), MACHINE_READ).fault, MACHINE_NOT_PRESENT);
}

static void unmap_reuses_tables_only_after_the_flush(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    assert_int_equal(map(LOWER, KIB(8), GIB(1), RW), LOAM_OK);
    machine_access(1, LOWER, MACHINE_READ);
    stock_before = stock.frame_count;
    machine_flush_visit(nothing_is_reused_yet);
    assert_int_equal(unmap(LOWER, KIB(8)), LOAM_OK);
    assert_int_equal(machine_flush_count(), 1);
    assert_int_equal(stock.frame_count, stock_before + 3);
    world_check();
}

static void map_the_neighbour(const struct loam_tlb_flush *flush)
{
    (void)flush;
    assert_int_equal(map(LOWER + KIB(4), KIB(4), GIB(2), RW), LOAM_OK);
    expect_page(LOWER + KIB(4), GIB(2), RW);
}

/*
 *   CPU 0  unmap [A): its table is unlinked, flushing ...
 *   CPU 1                                map [B) beside A, in a new table
 *   all    remember the old table: they must find B all the same
 */
static void map_P22_during_the_flush_of_an_unmap_is_seen_by_all(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    assert_int_equal(map(LOWER, KIB(4), GIB(1), RW), LOAM_OK);
    expect_page(LOWER, GIB(1), RW);
    machine_flush_visit(map_the_neighbour);
    assert_int_equal(unmap(LOWER, KIB(4)), LOAM_OK);
    assert_int_equal(machine_flush_count(), 2);
    expect_page(LOWER + KIB(4), GIB(2), RW);
    expect_nothing(LOWER);
    machine_flush_visit(NULL);
    assert_int_equal(map(LOWER, KIB(4), GIB(1), RW), LOAM_OK);
    assert_int_equal(machine_flush_count(), 2); /* no unmap under way: no flush */
    world_check();
}

/* ---- more than one space ------------------------------------------------- */

static void two_spaces_share_a_stock_and_nothing_else(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    struct loam_space other;
    const struct loam_cpu_features features = loam_cpu_identify();
    assert_int_equal(loam_space_init(&other, &stock, &features), LOAM_OK);
    assert_int_equal(map(LOWER, KIB(4), GIB(1), RW), LOAM_OK);
    assert_int_equal(loam_space_map(&other, range(LOWER, KIB(4)), loam_phys_at(GIB(2)), RO),
                     LOAM_OK);
    expect_page(LOWER, GIB(1), RW);
    machine_set_cpu(1);
    assert_int_equal(loam_cpu_enter(&features, other.root), LOAM_OK);
    assert_int_equal(machine_access(1, LOWER, MACHINE_READ).phys, GIB(2));
    assert_int_equal(machine_access(0, LOWER, MACHINE_READ).phys, GIB(1));
    assert_null(loam_space_audit(&other));
    assert_int_equal(stock.out_count, space.table_count + other.table_count);
}

static void digest_sees_pages_but_not_what_hardware_sets(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    const uint64_t empty = loam_space_digest(&space);
    assert_int_equal(map(LOWER, KIB(8), GIB(1), RW), LOAM_OK);
    const uint64_t mapped = loam_space_digest(&space);
    assert_int_not_equal(mapped, empty);
    machine_access(0, LOWER, MACHINE_WRITE);
    assert_int_equal(loam_space_digest(&space), mapped);
    assert_int_equal(protect(LOWER, KIB(4), RO), LOAM_OK);
    assert_int_not_equal(loam_space_digest(&space), mapped);
    assert_int_equal(protect(LOWER, KIB(4), RW), LOAM_OK);
    assert_int_equal(loam_space_digest(&space), mapped);
    assert_int_equal(unmap(LOWER, KIB(8)), LOAM_OK);
    assert_int_equal(loam_space_digest(&space), empty);
    loam_phys frame; /* other frames for the tables: no difference */
    assert_int_equal(loam_stock_take(&stock, 1, &frame), LOAM_OK);
    assert_int_equal(map(LOWER, KIB(8), GIB(1), RW), LOAM_OK);
    assert_int_equal(loam_space_digest(&space), mapped);
    assert_int_equal(unmap(LOWER, KIB(8)), LOAM_OK);
    assert_int_equal(map(LOWER + KIB(4), KIB(8), GIB(1), RW), LOAM_OK);
    assert_int_not_equal(loam_space_digest(&space), mapped);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(map_uses_the_largest_pages_that_fit),
        cmocka_unit_test(map_uses_small_pages_where_the_frames_demand_it),
        cmocka_unit_test(map_P28_without_gib_pages_uses_2_mib),
        cmocka_unit_test(map_shares_tables),
        cmocka_unit_test(map_P01_reaches_both_ends_of_both_halves),
        cmocka_unit_test(map_P27_uses_bits_48_to_56_with_5_levels),
        cmocka_unit_test(map_P03_reaches_the_last_frame),
        cmocka_unit_test(unmap_removes_just_the_range),
        cmocka_unit_test(unmap_gives_back_empty_tables_only),
        cmocka_unit_test(unmap_P10_splits_what_reaches_over_its_edges),
        cmocka_unit_test(unmap_P10_splits_no_more_than_needed),
        cmocka_unit_test(protect_changes_pages_of_all_sizes),
        cmocka_unit_test(protect_P12_takes_rights_away_on_every_cpu),
        cmocka_unit_test(protect_P23_keeps_accessed_and_dirty_bits),
        cmocka_unit_test(query_P13_finds_the_byte_in_pages_of_all_sizes),
        cmocka_unit_test(next_walks_runs_of_equal_pages),
        cmocka_unit_test(next_joins_tables_but_not_halves),
        cmocka_unit_test(flush_covers_the_range_in_its_smallest_pages),
        cmocka_unit_test(unmap_reuses_tables_only_after_the_flush),
        cmocka_unit_test(map_P22_during_the_flush_of_an_unmap_is_seen_by_all),
        cmocka_unit_test(two_spaces_share_a_stock_and_nothing_else),
        cmocka_unit_test(digest_sees_pages_but_not_what_hardware_sets),
    };
    return RUN_TESTS(tests);
}
