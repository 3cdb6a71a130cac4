/*
 * paging_merge_test.c - large pages that are split, and whole again once their parts are
 * alike: at both levels, and as CPUs see it that remember the one or the other.
 */
#include "paging_world.h"

/* ---- whole again ------------------------------------------------------------ */

static void a_page_that_was_split_is_whole_again(void **state)
{
    (void)state;
    const uint64_t sizes[] = { MIB(2), GIB(1) };
    for (unsigned i = 0; i < 2; i++) {
        for (unsigned half = 0; half < 2; half++) {
            const uint64_t at = half == 0 ? LOWER : HIGHER;
            world_start((struct world_options){ 0 });
            assert_int_equal(map(at, sizes[i], GIB(4), RW), LOAM_OK);
            const uint64_t tables = space.table_count;
            expect_page(at, GIB(4), RW);
            assert_int_equal(protect(at + sizes[i] - KIB(8), KIB(4), RO), LOAM_OK);
            assert_int_equal(space.table_count, tables + i + 1);
            expect_page(at + sizes[i] - KIB(8), GIB(4) + sizes[i] - KIB(8), RO);
            expect_page(at, GIB(4), RW);
            assert_int_equal(protect(at + sizes[i] - KIB(8), KIB(4), RW), LOAM_OK);
            assert_int_equal(space.table_count, tables);
            assert_int_equal(page_size_at(at), sizes[i]);
            expect_page(at + sizes[i] - KIB(8), GIB(4) + sizes[i] - KIB(8), RW);
            world_check();
        }
    }
}

/* Every attribute, bit 7 or 12 among them, as it was. */
static void P14_attributes_survive_split_and_merge(void **state)
{
    (void)state;
    for (unsigned cache = 0; cache < LOAM_CACHES; cache++) {
        for (unsigned prot = 0; prot < 3; prot++) {
            const struct loam_attr a = attr(prot | LOAM_PROT_GLOBAL, (enum loam_cache)cache);
            world_start((struct world_options){ 0 });
            assert_int_equal(map(HIGHER, GIB(1), GIB(4), a), LOAM_OK);
            const uint64_t raw = raw_entry(HIGHER, NULL, NULL);
            assert_int_equal(protect(HIGHER + KIB(4), KIB(4), attr(0, LOAM_CACHE_WT)), LOAM_OK);
            expect_page(HIGHER, GIB(4), a);
            expect_page(HIGHER + GIB(1) - 1, GIB(5) - 1, a);
            assert_int_equal(protect(HIGHER + KIB(4), KIB(4), a), LOAM_OK);
            assert_int_equal(raw_entry(HIGHER, NULL, NULL), raw);
            world_check();
        }
    }
}

/* Many parts at once: more than are merged in one go. */
static void many_tables_become_one_page(void **state)
{
    (void)state;
    for (unsigned count = 6; count <= 18; count += 2) {
        world_start((struct world_options){ .frames = 128 });
        assert_int_equal(map(0 - GIB(2), GIB(2), GIB(4), RW), LOAM_OK); /* ends at 2^64 */
        for (unsigned i = 0; i < count; i++)
            assert_int_equal(protect(0 - MIB(2 * i + 1), KIB(4), RO), LOAM_OK);
        for (unsigned i = 0; i < count; i++)
            assert_int_equal(protect(0 - GIB(2) + MIB(4 * i), KIB(4), RO), LOAM_OK);
        assert_int_equal(space.table_count, 4 + 2 * count);
        assert_int_equal(protect(0 - GIB(2), GIB(2), RO), LOAM_OK);
        assert_int_equal(space.table_count, 2);
        expect_page(0 - GIB(2), GIB(4), RO);
        expect_page(UINT64_MAX, GIB(6) - 1, RO);
        world_check();
    }
}

/* Unmapped and mapped again, by other calls than the one that split. */
static void any_change_can_make_a_page_whole(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    const loam_phys frame = { GIB(4) + KIB(4) };
    for (unsigned how = 0; how < 5; how++) {
        assert_int_equal(map(LOWER, MIB(2), GIB(4), RW), LOAM_OK);
        assert_int_equal(unmap(LOWER + KIB(4), KIB(4)), LOAM_OK);
        assert_int_equal(page_size_at(LOWER), KIB(4));
        if (how == 0) {
            assert_int_equal(map(LOWER + KIB(4), KIB(4), GIB(4) + KIB(4), RW), LOAM_OK);
        } else if (how == 1) {
            assert_int_equal(
                loam_space_map_frames(&space, loam_virt_at(LOWER + KIB(4)), &frame, 1, RW),
                LOAM_OK);
        } else if (how == 2) {
            assert_int_equal(hold(LOWER + KIB(4), KIB(4), GIB(4) + KIB(4)), LOAM_OK);
            assert_int_equal(publish(LOWER + KIB(4), KIB(4), RW), LOAM_OK);
        } else if (how == 3) {
            assert_int_equal(map(LOWER + KIB(4), KIB(4), GIB(9), RW), LOAM_OK);
            LOAM_SPACE_BATCH(batch, &space);
            assert_int_equal(
                loam_space_batch_replace(&batch, loam_virt_at(LOWER + KIB(4)), frame, RW), LOAM_OK);
            loam_space_batch_finish(&batch);
        } else {
            assert_int_equal(map(LOWER + KIB(4), KIB(4), GIB(4) + KIB(4), RO), LOAM_OK);
            assert_int_equal(page_size_at(LOWER), KIB(4));
            assert_int_equal(protect(LOWER, MIB(2), RO), LOAM_OK);
        }
        assert_int_equal(page_size_at(LOWER), MIB(2));
        assert_int_equal(space.table_count, 3);
        expect_page(LOWER + KIB(4), GIB(4) + KIB(4), how == 4 ? RO : RW);
        world_check();
        assert_int_equal(unmap(LOWER, MIB(2)), LOAM_OK);
    }
}

/* Parts that are not alike stay apart. */
static void parts_that_differ_stay_apart(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    assert_int_equal(map(LOWER, MIB(2), GIB(4), RW), LOAM_OK);
    assert_int_equal(protect(LOWER, KIB(4), RO), LOAM_OK);
    assert_int_equal(unmap(LOWER + MIB(2) - KIB(4), KIB(4)), LOAM_OK);
    assert_int_equal(protect(LOWER, KIB(4), RW), LOAM_OK); /* one is missing */
    assert_int_equal(page_size_at(LOWER), KIB(4));
    assert_int_equal(map(LOWER + MIB(2) - KIB(4), KIB(4), GIB(4), RW), LOAM_OK); /* not that one */
    assert_int_equal(page_size_at(LOWER), KIB(4));
    assert_int_equal(loam_space_set_soft(&space, range(LOWER, KIB(4)), 1), LOAM_OK);
    assert_int_equal(unmap(LOWER + MIB(2) - KIB(4), KIB(4)), LOAM_OK);
    assert_int_equal(map(LOWER + MIB(2) - KIB(4), KIB(4), GIB(4) + MIB(2) - KIB(4), RW), LOAM_OK);
    assert_int_equal(page_size_at(LOWER), KIB(4)); /* the software bits differ */
    assert_int_equal(loam_space_set_soft(&space, range(LOWER, KIB(4)), 0), LOAM_OK);
    assert_int_equal(page_size_at(LOWER), MIB(2));
    /* Alike, but where no large page can begin; and a table of guards and pages. */
    assert_int_equal(tag(LOWER + GIB(1), MIB(2), LOAM_ENTRY_GUARD, 0), LOAM_OK);
    assert_int_equal(untag(LOWER + GIB(1), KIB(4)), LOAM_OK);
    assert_int_equal(map(LOWER + GIB(1), KIB(4), GIB(1), RW), LOAM_OK);
    assert_int_equal(untag(LOWER + GIB(1) + KIB(4), MIB(2) - KIB(4)), LOAM_OK);
    assert_int_equal(unmap(LOWER + GIB(1), KIB(4)), LOAM_OK);
    assert_int_equal(tag(LOWER + GIB(1), MIB(2), LOAM_ENTRY_GUARD, 0), LOAM_OK);
    assert_int_equal(untag(LOWER + GIB(1), MIB(1)), LOAM_OK);
    assert_int_equal(map(LOWER + GIB(1), MIB(1), GIB(1) + KIB(4), RW), LOAM_OK);
    assert_int_equal(untag(LOWER + GIB(1) + MIB(1), MIB(1)), LOAM_OK);
    assert_int_equal(map(LOWER + GIB(1) + MIB(1), MIB(1), GIB(1) + MIB(1) + KIB(4), RW), LOAM_OK);
    assert_int_equal(page_size_at(LOWER + GIB(1)), KIB(4));
    world_check();
}

static void P28_no_page_of_1_gib_where_there_are_none(void **state)
{
    (void)state;
    world_start((struct world_options){ .no_gib_pages = true });
    assert_int_equal(tag(LOWER, GIB(1), LOAM_ENTRY_TAG, 3), LOAM_OK);
    assert_int_equal(untag(LOWER, MIB(2)), LOAM_OK);
    assert_int_equal(map(LOWER, MIB(2), GIB(4), RW), LOAM_OK);
    assert_int_equal(untag(LOWER + MIB(2), GIB(1) - MIB(2)), LOAM_OK);
    assert_int_equal(map(LOWER + MIB(2), GIB(1) - MIB(2), GIB(4) + MIB(2), RW), LOAM_OK);
    assert_int_equal(page_size_at(LOWER), MIB(2));
    expect_page(LOWER + GIB(1) - 1, GIB(5) - 1, RW);
    world_check();
}

/* ---- as the CPUs see it ------------------------------------------------------ */

/* What a CPU set in the parts is not lost, nor what it may set until the flush: a merged
 * page of the lower half counts as touched. */
static void P23_a_merged_page_counts_as_touched(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    assert_int_equal(map(LOWER, MIB(2), GIB(1), RO), LOAM_OK);
    assert_int_equal(protect(LOWER, KIB(4), RX), LOAM_OK);
    assert_int_equal(query(LOWER + KIB(4)).bits, 0);
    assert_int_equal(protect(LOWER, KIB(4), RO), LOAM_OK);
    assert_int_equal(query(LOWER + KIB(4)).bits, LOAM_PAGE_ACCESSED);
    assert_int_equal(protect(LOWER, MIB(2), RW), LOAM_OK);
    assert_int_equal(protect(LOWER, KIB(4), RO), LOAM_OK);
    assert_int_equal(protect(LOWER, KIB(4), RW), LOAM_OK);
    assert_int_equal(query(LOWER + KIB(4)).bits, LOAM_PAGE_ACCESSED | LOAM_PAGE_DIRTY);
    machine_access(1, LOWER + MIB(1), MACHINE_WRITE);
    assert_int_equal(protect(LOWER + MIB(1), KIB(4), RO), LOAM_OK);
    assert_int_equal(protect(LOWER + MIB(1), KIB(4), RW), LOAM_OK);
    assert_int_equal(query(LOWER).bits, LOAM_PAGE_ACCESSED | LOAM_PAGE_DIRTY);
    world_check();
}

static unsigned visits;

/* The table is replaced, and a CPU walks it still: it must find what is mapped there. */
static void a_stale_walk_is_right(const struct loam_tlb_flush *flush)
{
    (void)flush;
    if (page_size_at(LOWER) != MIB(2))
        return; /* the flush before the merge */
    visits++;
    for (unsigned cpu = 0; cpu < 2; cpu++) {
        for (unsigned i = 0; i < 512; i += 73) {
            const struct machine_access seen =
                machine_access(cpu, LOWER + PAGES(i), i % 2 == 0 ? MACHINE_READ : MACHINE_WRITE);
            assert_int_equal(seen.fault, MACHINE_OK);
            assert_int_equal(seen.phys, GIB(1) + PAGES(i));
        }
    }
}

static void a_merge_is_never_seen(void **state)
{
    (void)state;
    visits = 0;
    world_start((struct world_options){ 0 });
    assert_int_equal(map(LOWER, MIB(2), GIB(1), RW), LOAM_OK);
    assert_int_equal(protect(LOWER, KIB(4), RO), LOAM_OK);
    expect_page(LOWER + KIB(8), GIB(1) + KIB(8), RW);
    const uint64_t frames = stock.frame_count;
    machine_flush_visit(a_stale_walk_is_right);
    assert_int_equal(protect(LOWER, KIB(4), RW), LOAM_OK);
    assert_int_equal(visits, 1);
    assert_int_equal(stock.frame_count, frames + 1);
    machine_flush_visit(NULL);
    expect_page(LOWER + KIB(8), GIB(1) + KIB(8), RW);
    /* Nobody walks the old table any more: it is used for other pages. */
    for (unsigned i = 0; i < 512; i++)
        assert_int_equal(map(HIGHER + PAGES(i), KIB(4), GIB(7), RW), LOAM_OK);
    expect_page(LOWER + KIB(8), GIB(1) + KIB(8), RW);
    world_check();
}

/* While the flush of a merge is under way: half of the guards become pages. */
static void map_half_of_the_guards(const struct loam_tlb_flush *flush)
{
    (void)flush;
    if (entry_at(LOWER).page_size != MIB(2))
        return;
    visits++;
    assert_int_equal(untag(LOWER, MIB(1)), LOAM_OK);
    assert_int_equal(map(LOWER + KIB(4), KIB(4), GIB(1), RW), LOAM_OK);
    expect_page(LOWER + KIB(4), GIB(1), RW);
}

static void P22_map_during_the_flush_of_a_merge_is_seen_by_all(void **state)
{
    (void)state;
    visits = 0;
    world_start((struct world_options){ 0 });
    assert_int_equal(tag(LOWER, MIB(2), LOAM_ENTRY_GUARD, 0), LOAM_OK);
    assert_int_equal(untag(LOWER, KIB(4)), LOAM_OK);
    expect_nothing(LOWER + KIB(4)); /* CPUs remember the table */
    machine_flush_visit(map_half_of_the_guards);
    assert_int_equal(tag(LOWER, KIB(4), LOAM_ENTRY_GUARD, 0), LOAM_OK);
    assert_int_equal(visits, 1);
    machine_flush_visit(NULL);
    expect_page(LOWER + KIB(4), GIB(1), RW);
    expect_nothing(LOWER);
    world_check();
}

/* A CPU that remembers a large page, and one that remembers its parts. */
static void changes_reach_cpus_that_remember_either(void **state)
{
    (void)state;
    world_start((struct world_options){ .cpus = 2 });
    assert_int_equal(map(HIGHER, GIB(1), GIB(4), RW), LOAM_OK);
    machine_access(0, HIGHER + MIB(2), MACHINE_WRITE); /* 1 GiB */
    assert_int_equal(loam_space_set_soft(&space, range(HIGHER + MIB(2), KIB(4)), 1), LOAM_OK);
    assert_true(machine_tlb_holds(0, HIGHER + MIB(2))); /* needs no flush */
    machine_access(1, HIGHER + MIB(2), MACHINE_WRITE);  /* 4 KiB */
    assert_int_equal(protect(HIGHER + MIB(2), KIB(4), RO), LOAM_OK);
    expect_page(HIGHER + MIB(2), GIB(4) + MIB(2), RO);
    assert_int_equal(unmap(HIGHER + MIB(2), KIB(4)), LOAM_OK);
    expect_nothing(HIGHER + MIB(2));
    expect_page(HIGHER + MIB(2) + KIB(4), GIB(4) + MIB(2) + KIB(4), RW);
    world_check();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_page_that_was_split_is_whole_again),
        cmocka_unit_test(P14_attributes_survive_split_and_merge),
        cmocka_unit_test(many_tables_become_one_page),
        cmocka_unit_test(any_change_can_make_a_page_whole),
        cmocka_unit_test(parts_that_differ_stay_apart),
        cmocka_unit_test(P28_no_page_of_1_gib_where_there_are_none),
        cmocka_unit_test(P23_a_merged_page_counts_as_touched),
        cmocka_unit_test(a_merge_is_never_seen),
        cmocka_unit_test(P22_map_during_the_flush_of_a_merge_is_seen_by_all),
        cmocka_unit_test(changes_reach_cpus_that_remember_either),
    };
    return RUN_TESTS(tests);
}
