/*
 * paging_mark_test.c - entries in use that are not present, by example: hold, publish,
 * detach, collect, guards and tags; the raw entry and the software bits.
 */
#include "paging_world.h"

/* ---- hold and publish ----------------------------------------------------- */

/* Frames in any order are held, and seen by nobody until they are published at once. */
static void held_frames_are_mapped_by_publish(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    const loam_phys frames[] = { { GIB(3) }, { GIB(1) }, { GIB(2) } };
    assert_int_equal(loam_space_hold(&space, loam_virt_at(LOWER), frames, 3), LOAM_OK);
    for (unsigned i = 0; i < 3; i++) {
        expect_nothing(LOWER + PAGES(i));
        assert_int_equal(entry_at(LOWER + PAGES(i)).kind, LOAM_ENTRY_HELD);
        assert_int_equal(entry_at(LOWER + PAGES(i)).value, frames[i].addr);
        assert_true(loam_phys_is_none(loam_space_translate(&space, loam_virt_at(LOWER))));
    }
    world_check();
    assert_int_equal(publish(LOWER, KIB(12), RW), LOAM_OK);
    for (unsigned i = 0; i < 3; i++)
        expect_page(LOWER + PAGES(i), frames[i].addr, RW);
    assert_int_equal(machine_flush_count(), 0);
    world_check();
    assert_int_equal(unmap(LOWER, KIB(12)), LOAM_OK);
    assert_int_equal(space.table_count, 1);
}

/* Contiguous memory: large entries, which become large pages, and come out as one run. */
static void P06_a_held_range_becomes_large_pages(void **state)
{
    (void)state;
    struct loam_phys_range first = { { 0 }, 0 };
    world_start((struct world_options){ 0 });
    const struct loam_virt_range whole = range(LOWER, MIB(4) + KIB(8));
    assert_int_equal(loam_space_hold_range(&space, whole, loam_phys_at(GIB(2))), LOAM_OK);
    assert_int_equal(entry_at(LOWER + MIB(3)).page_size, MIB(2));
    assert_int_equal(entry_at(LOWER + MIB(3)).value, GIB(2) + MIB(2));
    expect_nothing(LOWER + MIB(3));
    assert_int_equal(loam_space_hold_range(&space, whole, loam_phys_at(GIB(4))), LOAM_OVERLAP);
    assert_int_equal(
        loam_space_hold_range(&space, range(LOWER + GIB(1), KIB(4)), loam_phys_at(GIB(4) + 8)),
        LOAM_INVALID);
    assert_int_equal(
        loam_space_hold_range(&space, range(LOWER + GIB(1), KIB(4) + 1), loam_phys_at(GIB(4))),
        LOAM_INVALID);
    assert_int_equal(publish(LOWER, MIB(4) + KIB(8), RW), LOAM_OK);
    expect_page(LOWER + MIB(3), GIB(2) + MIB(3), RW);
    assert_int_equal(page_size_at(LOWER + MIB(3)), MIB(2));
    assert_int_equal(detach(LOWER, MIB(4) + KIB(8)), LOAM_OK);
    assert_int_equal(collect(LOWER, MIB(4) + KIB(8), &first), MIB(4) + KIB(8));
    assert_int_equal(first.start.addr, GIB(2));
    assert_int_equal(first.size, MIB(4) + KIB(8));
    assert_int_equal(space.table_count, 1);
    world_check();
}

/* What a processor may fetch ahead from an entry that is not present (L1TF) must be
 * memory that there is not: the highest bits of the address are set. */
static void a_held_frame_is_recorded_inverted(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    assert_int_equal(hold(LOWER, KIB(4), GIB(1)), LOAM_OK);
    const uint64_t raw = entry_at(LOWER).raw;
    assert_int_equal(raw & 1, 0);
    assert_int_equal(raw & UINT64_C(0x000ffffffffff000), ~GIB(1) & UINT64_C(0x000ffffffffff000));
}

static void P05_P09_marks_and_pages_exclude_each_other(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    const loam_phys frame = { GIB(1) };
    const uint64_t pages[] = { LOWER, LOWER + KIB(4), LOWER + KIB(8), LOWER + KIB(12) };
    assert_int_equal(map(pages[0], KIB(4), GIB(1), RW), LOAM_OK);
    assert_int_equal(hold(pages[1], KIB(4), GIB(2)), LOAM_OK);
    assert_int_equal(tag(pages[2], KIB(4), LOAM_ENTRY_GUARD, 0), LOAM_OK);
    assert_int_equal(tag(pages[3], KIB(4), LOAM_ENTRY_TAG, 7), LOAM_OK);
    const uint64_t before = world_digest();
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(map(pages[i], KIB(4), GIB(1), RW), LOAM_OVERLAP);
        assert_int_equal(map(LOWER, MIB(2), GIB(1), RW), LOAM_OVERLAP);
        assert_int_equal(hold(pages[i], KIB(4), GIB(1)), LOAM_OVERLAP);
        assert_int_equal(tag(pages[i], KIB(4), LOAM_ENTRY_TAG, 1), LOAM_OVERLAP);
        assert_int_equal(loam_space_map_frames(&space, loam_virt_at(pages[i]), &frame, 1, RW),
                         LOAM_OVERLAP);
        if (i != 0) {
            assert_int_equal(unmap(pages[i], KIB(4)), LOAM_NOT_FOUND);
            assert_int_equal(unmap(LOWER, PAGES(i + 1)), LOAM_NOT_FOUND);
            assert_int_equal(protect(pages[i], KIB(4), RO), LOAM_NOT_FOUND);
            assert_int_equal(detach(LOWER, PAGES(i + 1)), LOAM_NOT_FOUND);
            assert_int_equal(loam_space_set_soft(&space, range(pages[i], KIB(4)), 1),
                             LOAM_NOT_FOUND);
        }
        assert_int_equal(publish(pages[i], PAGES(2), RW), LOAM_NOT_FOUND);
        if (i != 1)
            assert_int_equal(publish(pages[i], KIB(4), RW), LOAM_NOT_FOUND);
        if (i < 2)
            assert_int_equal(untag(pages[i], KIB(8)), LOAM_NOT_FOUND);
    }
    assert_int_equal(world_digest(), before);
    assert_int_equal(untag(pages[2], KIB(8)), LOAM_OK);
    world_check();
}

static void requests_nobody_may_make_are_refused(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    const uint64_t before = world_digest();
    const loam_phys frame = { GIB(1) }, odd = { GIB(1) + 8 }, far = { UINT64_C(1) << 46 };
    const loam_virt at = { LOWER }, wild = { LOWER + 8 };
    assert_int_equal(loam_space_hold(&space, at, &odd, 1), LOAM_INVALID);
    assert_int_equal(loam_space_hold(&space, at, &far, 1), LOAM_INVALID);
    assert_int_equal(loam_space_hold(&space, wild, &frame, 1), LOAM_INVALID);
    assert_int_equal(loam_space_hold(&space, at, &frame, 0), LOAM_INVALID);
    assert_int_equal(loam_space_hold(&space, at, &frame, SIZE_MAX), LOAM_INVALID);
    assert_int_equal(loam_space_hold(&space, at, &frame, (size_t)1 << 52), LOAM_INVALID);
    assert_int_equal(loam_space_map_frames(&space, at, &odd, 1, RW), LOAM_INVALID);
    assert_int_equal(loam_space_map_frames(&space, at, &frame, 1, attr(3, LOAM_CACHE_WB)),
                     LOAM_INVALID);
    assert_int_equal(loam_space_map_frames(&space, at, &frame, 0, RW), LOAM_INVALID);
    assert_int_equal(tag(LOWER, KIB(4), LOAM_ENTRY_PAGE, 0), LOAM_INVALID);
    assert_int_equal(tag(LOWER, KIB(4), LOAM_ENTRY_EMPTY, 0), LOAM_INVALID);
    assert_int_equal(tag(LOWER, KIB(4), LOAM_ENTRY_HELD, 0), LOAM_INVALID);
    assert_int_equal(tag(LOWER, KIB(4), LOAM_ENTRY_TAG, UINT64_C(1) << 56), LOAM_INVALID);
    assert_int_equal(tag(LOWER + 1, KIB(4), LOAM_ENTRY_TAG, 0), LOAM_INVALID);
    assert_int_equal(untag(LOWER, 0), LOAM_INVALID);
    assert_int_equal(publish(LOWER, KIB(4), attr(8, LOAM_CACHE_WB)), LOAM_INVALID);
    assert_int_equal(loam_space_set_soft(&space, range(LOWER, KIB(4)), 8), LOAM_INVALID);
    assert_int_equal(loam_space_set_soft(&space, range(LOWER, 1), 7), LOAM_INVALID);
    assert_int_equal(world_digest(), before);
    world_check();
}

/* ---- detach and collect --------------------------------------------------- */

/* Unmap first, free later: the frames stay recorded until every CPU has forgotten. */
static void detached_frames_are_collected_as_runs(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    struct loam_phys_range first = { { 0 }, 0 };
    assert_int_equal(map(LOWER + KIB(4), KIB(8), GIB(1), RW), LOAM_OK);
    assert_int_equal(map(LOWER + MIB(2), MIB(4), GIB(2), RW), LOAM_OK);
    expect_page(LOWER + KIB(4), GIB(1), RW);
    expect_page(LOWER + MIB(2), GIB(2), RW);
    assert_int_equal(detach(LOWER + KIB(4), KIB(8)), LOAM_OK);
    assert_int_equal(detach(LOWER + MIB(2), MIB(4)), LOAM_OK);
    expect_nothing(LOWER + KIB(4));
    expect_nothing(LOWER + MIB(4));
    assert_int_equal(entry_at(LOWER + MIB(4)).value, GIB(2) + MIB(2));
    assert_int_equal(entry_at(LOWER + MIB(4)).page_size, MIB(2));
    world_check();
    assert_int_equal(collect(LOWER, KIB(8), &first), KIB(4));
    assert_int_equal(first.start.addr, GIB(1));
    assert_int_equal(collect(LOWER, GIB(1), &first), KIB(4) + MIB(4));
    assert_int_equal(first.start.addr, GIB(1) + KIB(4));
    assert_int_equal(collect(LOWER, GIB(1), NULL), 0);
    assert_int_equal(space.table_count, 1);
    world_check();
}

/* An empty entry, a table, a large entry: one after the other, in every order. */
static void collect_passes_tables_and_large_entries(void **state)
{
    (void)state;
    for (unsigned order = 0; order < 8; order++) {
        uint64_t held = 0;
        world_start((struct world_options){ 0 });
        for (unsigned i = 0; i < 3; i++) {
            const uint64_t at = HIGHER + MIB(2 * i);
            if ((order >> i & 1) != 0) {
                assert_int_equal(hold(at + KIB(8), KIB(4), GIB(1)), LOAM_OK);
                held += KIB(4);
            } else if (i == order % 3) {
                assert_int_equal(map(at, MIB(2), GIB(2), RW), LOAM_OK);
                assert_int_equal(detach(at, MIB(2)), LOAM_OK);
                held += MIB(2);
            }
        }
        assert_int_equal(collect(HIGHER, MIB(6), NULL), held);
        assert_int_equal(space.table_count, 1);
        world_check();
    }
}

/*
 *   detach [ 1 MiB )          of one large page
 *   detach          [ 1 MiB )
 *   collect the one, then the other: neither may need a table for it
 */
static void parts_of_a_page_are_collected_as_they_were_detached(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    struct loam_phys_range first = { { 0 }, 0 };
    assert_int_equal(map(LOWER, MIB(2), GIB(1), RW), LOAM_OK);
    assert_int_equal(detach(LOWER, MIB(1)), LOAM_OK);
    assert_int_equal(detach(LOWER + MIB(1), MIB(1)), LOAM_OK);
    assert_int_equal(collect(LOWER, MIB(1), &first), MIB(1));
    assert_int_equal(first.start.addr, GIB(1));
    assert_int_equal(collect(LOWER + MIB(1), MIB(1), &first), MIB(1));
    assert_int_equal(first.start.addr, GIB(1) + MIB(1));
    assert_int_equal(space.table_count, 1);
    world_check();
}

/* Held 2 MiB entries are published as pages of 2 MiB, never as one of 1 GiB. */
static void P28_held_frames_do_not_become_a_page_that_there_is_not(void **state)
{
    (void)state;
    world_start((struct world_options){ .no_gib_pages = true });
    assert_int_equal(tag(LOWER, GIB(1), LOAM_ENTRY_GUARD, 0), LOAM_OK);
    assert_int_equal(untag(LOWER, MIB(2)), LOAM_OK); /* a table made by a split */
    assert_int_equal(untag(LOWER + MIB(2), GIB(1) - MIB(4)), LOAM_OK);
    assert_int_equal(map(LOWER, GIB(1) - MIB(2), GIB(4), RW), LOAM_OK);
    assert_int_equal(untag(LOWER + GIB(1) - MIB(2), MIB(2)), LOAM_OK);
    assert_int_equal(map(LOWER + GIB(1) - MIB(2), MIB(2), GIB(5) - MIB(2), RW), LOAM_OK);
    assert_int_equal(detach(LOWER, GIB(1)), LOAM_OK);
    assert_int_equal(publish(LOWER, GIB(1), RW), LOAM_OK);
    expect_page(LOWER + GIB(1) - 1, GIB(5) - 1, RW);
    world_check();
}

/* Large entries are published whole, or split where a part is. */
static void publish_splits_what_reaches_over_its_edges(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    const struct loam_attr wc = attr(LOAM_PROT_WRITE, LOAM_CACHE_WC);
    assert_int_equal(map(LOWER, MIB(4), GIB(1), RW), LOAM_OK);
    assert_int_equal(detach(LOWER, MIB(4)), LOAM_OK);
    assert_int_equal(publish(LOWER, MIB(2), wc), LOAM_OK);
    expect_page(LOWER + MIB(2) - 1, GIB(1) + MIB(2) - 1, wc);
    assert_int_equal(page_size_at(LOWER), MIB(2));
    assert_int_equal(publish(LOWER + MIB(2), KIB(8), RO), LOAM_OK);
    expect_page(LOWER + MIB(2) + KIB(4), GIB(1) + MIB(2) + KIB(4), RO);
    expect_nothing(LOWER + MIB(2) + KIB(8));
    assert_int_equal(entry_at(LOWER + MIB(4) - KIB(4)).value, GIB(1) + MIB(4) - KIB(4));
    world_check();
}

/* ---- guards and tags ------------------------------------------------------- */

static void tags_keep_56_bits_in_the_largest_entries_that_fit(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    const uint64_t value = (UINT64_C(1) << 56) - 3;
    assert_int_equal(tag(LOWER - KIB(4), GIB(1) + MIB(2) + KIB(8), LOAM_ENTRY_TAG, value), LOAM_OK);
    const struct {
        uint64_t at, page_size;
    } rows[] = {
        { 0 - KIB(4), KIB(4) }, { 0, GIB(1) }, { GIB(1), MIB(2) }, { GIB(1) + MIB(2), KIB(4) }
    };
    for (unsigned i = 0; i < 4; i++) {
        const struct loam_entry entry = entry_at(LOWER + rows[i].at);
        assert_int_equal(entry.kind, LOAM_ENTRY_TAG);
        assert_int_equal(entry.value, value);
        assert_int_equal(entry.page_size, rows[i].page_size);
        expect_nothing(LOWER + rows[i].at);
    }
    assert_int_equal(untag(LOWER + KIB(4), KIB(4)), LOAM_OK); /* splits twice */
    assert_int_equal(entry_at(LOWER + KIB(8)).value, value);
    assert_int_equal(entry_at(LOWER + KIB(4)).kind, LOAM_ENTRY_EMPTY);
    assert_int_equal(entry_at(LOWER + KIB(4)).raw, 0);
    world_check();
    assert_int_equal(tag(LOWER + KIB(4), KIB(4), LOAM_ENTRY_TAG, value), LOAM_OK); /* whole again */
    assert_int_equal(entry_at(LOWER + KIB(4)).page_size, GIB(1));
    assert_int_equal(untag(LOWER - KIB(4), GIB(1) + MIB(2) + KIB(8)), LOAM_OK);
    assert_int_equal(space.table_count, 1);
    world_check();
}

/* loam_space_next() lists them, each kind for itself. */
static void next_lists_what_is_not_present(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    assert_int_equal(tag(LOWER, KIB(8), LOAM_ENTRY_GUARD, 5), LOAM_OK);
    assert_int_equal(tag(LOWER + KIB(8), KIB(4), LOAM_ENTRY_GUARD, 6), LOAM_OK);
    assert_int_equal(tag(LOWER + KIB(12), KIB(4), LOAM_ENTRY_TAG, 6), LOAM_OK);
    assert_int_equal(hold(LOWER + KIB(16), KIB(8), GIB(1)), LOAM_OK);
    assert_int_equal(hold(LOWER + KIB(24), KIB(4), GIB(1)), LOAM_OK);
    const struct {
        enum loam_entry_kind kind;
        uint64_t size, value;
    } rows[] = { { LOAM_ENTRY_GUARD, KIB(8), 5 },
                 { LOAM_ENTRY_GUARD, KIB(4), 6 },
                 { LOAM_ENTRY_TAG, KIB(4), 6 },
                 { LOAM_ENTRY_HELD, KIB(8), 0 },
                 { LOAM_ENTRY_HELD, KIB(4), 0 } };
    uint64_t at = 0;
    for (unsigned i = 0; i < 5; i++) {
        struct loam_mapping run;
        assert_int_equal(loam_space_next(&space, loam_virt_at(at), &run), LOAM_OK);
        assert_int_equal(run.kind, rows[i].kind);
        assert_int_equal(run.virt.size, rows[i].size);
        assert_int_equal(run.value, rows[i].value);
        assert_int_equal(run.phys.addr, rows[i].kind == LOAM_ENTRY_HELD ? GIB(1) : 0);
        at = run.virt.start.addr + run.virt.size;
    }
    assert_int_equal(at, LOWER + KIB(28));
}

/* ---- tables of marks are forgotten, too ------------------------------------ */

/*
 *   CPU 1  finds a guard, and remembers the tables on the way
 *   CPU 0  takes the guard away: the tables are free, and used for other pages
 *   CPU 1  must find nothing there, not those pages
 */
static void tables_of_marks_are_flushed_before_they_are_used_again(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 2; kind++) {
        world_start((struct world_options){ .frames = 4 }); /* all of them: the root and three */
        if (kind == 0)
            assert_int_equal(tag(LOWER, KIB(4), LOAM_ENTRY_GUARD, 0), LOAM_OK);
        else
            assert_int_equal(hold(LOWER, KIB(4), GIB(1)), LOAM_OK);
        expect_nothing(LOWER);
        if (kind == 0)
            assert_int_equal(untag(LOWER, KIB(4)), LOAM_OK);
        else
            assert_int_equal(collect(LOWER, KIB(4), NULL), KIB(4));
        assert_int_equal(stock.frame_count, 3);
        for (unsigned i = 0; i < 8; i++) { /* whichever table is the lowest now */
            assert_int_equal(map(HIGHER + PAGES(i), KIB(4), GIB(2), RW), LOAM_OK);
            expect_nothing(LOWER);
            expect_nothing(LOWER + PAGES(i));
        }
        world_check();
    }
}

/* ---- the raw entry and the software bits ----------------------------------- */

static void entry_tells_level_place_and_raw_word(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    assert_int_equal(map(LOWER, GIB(1) + MIB(2) + KIB(4), 0, RW), LOAM_OK);
    const uint64_t places[] = { LOWER + GIB(1) + MIB(2), LOWER + GIB(1), LOWER };
    for (unsigned level = 1; level <= 3; level++) {
        uint64_t *word;
        const uint64_t raw = raw_entry(places[level - 1], NULL, &word);
        const struct loam_entry entry = entry_at(places[level - 1] + 77);
        assert_int_equal(entry.kind, LOAM_ENTRY_PAGE);
        assert_int_equal(entry.level, level);
        assert_int_equal(entry.raw, raw);
        assert_int_equal(entry.value, 0);
        assert_ptr_equal(machine_ram(entry.where.addr), word);
    }
    assert_int_equal(entry_at(LOWER + GIB(512)).level, 4);
    assert_int_equal(entry_at(LOWER + GIB(512)).page_size, GIB(512));
    assert_int_equal(entry_at(LOWER + GIB(512)).kind, LOAM_ENTRY_EMPTY);
    struct loam_entry untouched = { .level = 77 };
    assert_int_equal(loam_space_entry(&space, loam_virt_at(UINT64_C(1) << 47), &untouched),
                     LOAM_INVALID);
    assert_int_equal(untouched.level, 77);
}

static void software_bits_stay_through_changes_and_splits(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    assert_int_equal(map(LOWER, MIB(4), GIB(1), RW), LOAM_OK);
    expect_page(LOWER, GIB(1), RW);
    assert_int_equal(loam_space_set_soft(&space, range(LOWER, MIB(2)), 5), LOAM_OK);
    assert_int_equal(page_size_at(LOWER), MIB(2));
    assert_int_equal(loam_space_set_soft(&space, range(LOWER + KIB(4), KIB(4)), 2), LOAM_OK);
    assert_int_equal(machine_flush_count(), 0);
    assert_int_equal(query(LOWER).soft, 5);
    assert_int_equal(query(LOWER + KIB(4)).soft, 2);
    assert_int_equal(query(LOWER + KIB(8)).soft, 5);
    assert_int_equal(query(LOWER + MIB(2)).soft, 0);
    assert_int_equal(protect(LOWER, MIB(4), RO), LOAM_OK);
    assert_int_equal(query(LOWER).soft, 5);
    assert_int_equal(query(LOWER + KIB(4)).soft, 2);
    expect_page(LOWER + KIB(4), GIB(1) + KIB(4), RO);
    assert_int_equal(loam_space_set_soft(&space, range(LOWER + KIB(4), KIB(4)), 5), LOAM_OK);
    assert_int_equal(page_size_at(LOWER), MIB(2)); /* alike again */
    assert_int_equal(query(LOWER + KIB(4)).soft, 5);
    world_check();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(held_frames_are_mapped_by_publish),
        cmocka_unit_test(P06_a_held_range_becomes_large_pages),
        cmocka_unit_test(a_held_frame_is_recorded_inverted),
        cmocka_unit_test(P05_P09_marks_and_pages_exclude_each_other),
        cmocka_unit_test(requests_nobody_may_make_are_refused),
        cmocka_unit_test(detached_frames_are_collected_as_runs),
        cmocka_unit_test(collect_passes_tables_and_large_entries),
        cmocka_unit_test(parts_of_a_page_are_collected_as_they_were_detached),
        cmocka_unit_test(P28_held_frames_do_not_become_a_page_that_there_is_not),
        cmocka_unit_test(publish_splits_what_reaches_over_its_edges),
        cmocka_unit_test(tags_keep_56_bits_in_the_largest_entries_that_fit),
        cmocka_unit_test(next_lists_what_is_not_present),
        cmocka_unit_test(tables_of_marks_are_flushed_before_they_are_used_again),
        cmocka_unit_test(entry_tells_level_place_and_raw_word),
        cmocka_unit_test(software_bits_stay_through_changes_and_splits),
    };
    return RUN_TESTS(tests);
}
