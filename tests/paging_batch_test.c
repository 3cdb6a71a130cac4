/*
 * paging_batch_test.c - what is flushed together: until a batch is finished CPUs may use
 * what was there, and nothing of it is used for something else; afterwards none does.
 */
#include <unistd.h>

#include "paging_world.h"

static enum loam_status batch_unmap(struct loam_space_batch *batch, uint64_t virt, uint64_t size)
{
    return loam_space_batch_unmap(batch, range(virt, size));
}

static enum loam_status batch_protect(struct loam_space_batch *batch, uint64_t virt, uint64_t size,
                                      struct loam_attr a)
{
    return loam_space_batch_protect(batch, range(virt, size), a);
}

/* ---- one flush for many ---------------------------------------------------- */

static void nothing_is_flushed_before_the_batch_is_finished(void **state)
{
    (void)state;
    world_start((struct world_options){ .cpus = 3 });
    assert_int_equal(map(LOWER, MIB(2), GIB(1) + KIB(4), RW), LOAM_OK);
    for (unsigned i = 0; i < 4; i++)
        expect_page(LOWER + PAGES(i), GIB(1) + PAGES(i + 1), RW);
    LOAM_SPACE_BATCH(batch, &space);
    assert_int_equal(batch_unmap(&batch, LOWER, KIB(4)), LOAM_OK);
    assert_int_equal(batch_protect(&batch, LOWER + KIB(4), KIB(4), RO), LOAM_OK);
    assert_int_equal(loam_space_batch_detach(&batch, range(LOWER + KIB(8), KIB(4))), LOAM_OK);
    assert_int_equal(
        loam_space_batch_replace(&batch, loam_virt_at(LOWER + KIB(12)), loam_phys_at(GIB(3)), RX),
        LOAM_OK);
    assert_int_equal(machine_flush_count(), 0);
    assert_string_equal(loam_space_audit(&space), "paging: batch was never finished");
    loam_space_batch_finish(&batch);
    expect_nothing(LOWER);
    expect_page(LOWER + KIB(4), GIB(1) + KIB(8), RO);
    expect_nothing(LOWER + KIB(8));
    expect_page(LOWER + KIB(12), GIB(3), RX);
    expect_page(LOWER + KIB(16), GIB(1) + KIB(20), RW);
    world_check();
}

/* More ranges than a batch can name. */
static void T02_a_batch_of_many_ranges_is_flushed_as_well(void **state)
{
    (void)state;
    for (unsigned count = LOAM_TLB_RANGES_MAX - 1; count <= LOAM_TLB_RANGES_MAX + 2; count++) {
        world_start((struct world_options){ 0 });
        assert_int_equal(map(HIGHER, MIB(1), GIB(1), attr(LOAM_PROT_GLOBAL, LOAM_CACHE_WB)),
                         LOAM_OK);
        for (unsigned i = 0; i <= 2 * count; i++)
            expect_page(HIGHER + PAGES(i), GIB(1) + PAGES(i), RO);
        LOAM_SPACE_BATCH(batch, &space);
        for (unsigned i = 0; i < count; i++)
            assert_int_equal(batch_unmap(&batch, HIGHER + PAGES(2 * i), KIB(4)), LOAM_OK);
        loam_space_batch_finish(&batch);
        assert_true(machine_flush_count() <= LOAM_TLB_RANGES_MAX);
        for (unsigned i = 0; i < count; i++) {
            expect_nothing(HIGHER + PAGES(2 * i));
            expect_page(HIGHER + PAGES(2 * i + 1), GIB(1) + PAGES(2 * i + 1), RO);
        }
        world_check();
    }
}

static void an_empty_batch_flushes_nothing(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    const uint64_t before = world_digest();
    LOAM_SPACE_BATCH(batch, &space);
    assert_int_equal(batch_unmap(&batch, LOWER, KIB(4)), LOAM_NOT_FOUND);
    assert_int_equal(batch_unmap(&batch, LOWER, 0), LOAM_INVALID);
    assert_int_equal(batch_protect(&batch, LOWER, KIB(4), attr(3, LOAM_CACHE_WB)), LOAM_INVALID);
    loam_space_batch_finish(&batch);
    assert_int_equal(machine_flush_count(), 0);
    assert_int_equal(world_digest(), before);
    world_check();
}

/* Tables that became empty are in nobody's hands until then, even the ones of two
 * batches, one in the other. */
static void tables_are_used_again_only_after_the_batch(void **state)
{
    (void)state;
    world_start((struct world_options){ .frames = 10 });
    assert_int_equal(map(LOWER, KIB(4), GIB(1), RW), LOAM_OK);
    assert_int_equal(map(LOWER + GIB(512), KIB(4), GIB(2), RW), LOAM_OK);
    assert_int_equal(stock.frame_count, 3);
    expect_page(LOWER, GIB(1), RW);
    expect_page(LOWER + GIB(512), GIB(2), RW);
    struct loam_space_batch outer, inner;
    loam_space_batch_begin(&outer, &space);
    loam_space_batch_begin(&inner, &space);
    assert_int_equal(batch_unmap(&outer, LOWER, KIB(4)), LOAM_OK);
    assert_int_equal(batch_unmap(&inner, LOWER + GIB(512), KIB(4)), LOAM_OK);
    assert_int_equal(space.table_count, 1);
    assert_int_equal(stock.frame_count, 3);
    assert_int_equal(map(HIGHER, KIB(4), GIB(3), RW), LOAM_OK);
    assert_int_equal(stock.frame_count, 0);
    assert_int_equal(map(LOWER, KIB(4), GIB(3), RW), LOAM_NO_MEMORY);
    loam_space_batch_finish(&inner);
    assert_int_equal(stock.frame_count, 3);
    assert_string_equal(loam_space_audit(&space), "paging: a flush is pending");
    loam_space_batch_finish(&outer);
    assert_int_equal(stock.frame_count, 6);
    expect_page(HIGHER, GIB(3), RW);
    expect_nothing(LOWER);
    expect_nothing(LOWER + GIB(512));
    world_check();
}

/*
 *   batch  unmap [A): its table is unlinked ...                     finish
 *   map                                        [B) beside A: seen at once by all
 */
static void P22_a_map_beside_an_open_batch_is_seen_by_all(void **state)
{
    (void)state;
    for (unsigned pages = 1; pages <= 2; pages++) {
        world_start((struct world_options){ 0 });
        assert_int_equal(map(LOWER, KIB(4), GIB(1), RW), LOAM_OK);
        expect_page(LOWER, GIB(1), RW);
        LOAM_SPACE_BATCH(batch, &space);
        assert_int_equal(batch_unmap(&batch, LOWER, KIB(4)), LOAM_OK);
        for (unsigned i = 1; i <= 4; i += pages) { /* the second needs no table */
            assert_int_equal(map(LOWER + PAGES(i), PAGES(pages), GIB(2) + PAGES(i), RW), LOAM_OK);
            expect_page(LOWER + PAGES(i), GIB(2) + PAGES(i), RW);
        }
        assert_int_equal(hold(LOWER + KIB(64), KIB(4), GIB(3)), LOAM_OK);
        assert_int_equal(publish(LOWER + KIB(64), KIB(4), RW), LOAM_OK);
        expect_page(LOWER + KIB(64), GIB(3), RW);
        loam_space_batch_finish(&batch);
        expect_nothing(LOWER);
        world_check();
    }
}

static void map_one_more(const struct loam_tlb_flush *flush)
{
    (void)flush;
    assert_int_equal(map(LOWER + KIB(8), KIB(4), GIB(3), RW), LOAM_OK);
    expect_page(LOWER + KIB(8), GIB(3), RW);
}

/*
 *   CPU 0  unmap [A): its table is unlinked ...
 *   CPU 1                map [B) in a new table, flushing ...
 *   CPU 2                                            map [C) in that one: seen by all
 */
static void P22_a_map_beside_a_map_that_still_flushes(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    assert_int_equal(map(LOWER, KIB(4), GIB(1), RW), LOAM_OK);
    assert_int_equal(map(LOWER + MIB(2), KIB(4), GIB(1), RW), LOAM_OK);
    expect_page(LOWER, GIB(1), RW);
    LOAM_SPACE_BATCH(batch, &space);
    assert_int_equal(batch_unmap(&batch, LOWER, KIB(4)), LOAM_OK);
    machine_flush_visit(map_one_more);
    assert_int_equal(map(LOWER + KIB(4), KIB(4), GIB(2), RW), LOAM_OK);
    machine_flush_visit(NULL);
    expect_page(LOWER + KIB(4), GIB(2), RW);
    loam_space_batch_finish(&batch);
    world_check();
}

/* Changes as far apart as can be, each of which may let a page be whole again. */
static void a_batch_reaches_from_one_end_to_the_other(void **state)
{
    (void)state;
    for (unsigned levels = 4; levels <= 5; levels++) {
        world_start((struct world_options){ .levels = levels });
        const uint64_t half = UINT64_C(1) << (levels == 5 ? 56 : 47);
        const uint64_t at[] = { 0, LOWER, half - MIB(2), 0 - half, HIGHER, 0 - MIB(2) };
        for (unsigned i = 0; i < 6; i++) {
            assert_int_equal(map(at[i], MIB(2), GIB(i), RW), LOAM_OK);
            assert_int_equal(protect(at[i] + KIB(8), KIB(4), RO), LOAM_OK);
            assert_int_equal(page_size_at(at[i]), KIB(4));
        }
        (void)alarm(60); /* seconds; it takes none */
        LOAM_SPACE_BATCH(batch, &space);
        for (unsigned i = 6; i-- > 0;)
            assert_int_equal(batch_protect(&batch, at[i] + KIB(8), KIB(4), RW), LOAM_OK);
        loam_space_batch_finish(&batch);
        (void)alarm(0);
        for (unsigned i = 0; i < 6; i++) {
            assert_int_equal(page_size_at(at[i]), MIB(2));
            expect_page(at[i] + KIB(8), GIB(i) + KIB(8), RW);
        }
        world_check();
    }
}

/* ---- accessed and dirty ----------------------------------------------------- */

static loam_page_bits clear(uint64_t virt, uint64_t size, loam_page_bits bits)
{
    loam_page_bits seen = 77;
    LOAM_SPACE_BATCH(batch, &space);
    assert_int_equal(loam_space_batch_clear(&batch, range(virt, size), bits, &seen), LOAM_OK);
    loam_space_batch_finish(&batch);
    return seen;
}

/* The processor sets them again: nothing of the old ones is remembered. */
static void clear_tells_what_was_touched_since(void **state)
{
    (void)state;
    const loam_page_bits both = LOAM_PAGE_ACCESSED | LOAM_PAGE_DIRTY;
    world_start((struct world_options){ 0 });
    assert_int_equal(map(LOWER, KIB(16), GIB(1), RW), LOAM_OK);
    assert_int_equal(clear(LOWER, KIB(16), both), 0);
    for (unsigned round = 0; round < 2; round++) {
        machine_access(1, LOWER, MACHINE_READ);
        assert_int_equal(query(LOWER).bits, LOAM_PAGE_ACCESSED);
        assert_int_equal(clear(LOWER + KIB(4), KIB(12), both), 0);
        assert_int_equal(clear(LOWER, KIB(16), LOAM_PAGE_DIRTY), 0);
        assert_int_equal(clear(LOWER, KIB(16), both), LOAM_PAGE_ACCESSED);
        machine_access(1, LOWER + KIB(4), MACHINE_WRITE);
        assert_int_equal(clear(LOWER, KIB(16), 0), 0);
        assert_int_equal(clear(LOWER, KIB(16), LOAM_PAGE_ACCESSED), LOAM_PAGE_ACCESSED);
        assert_int_equal(query(LOWER + KIB(4)).bits, LOAM_PAGE_DIRTY);
        assert_int_equal(clear(LOWER, KIB(16), both), LOAM_PAGE_DIRTY);
        assert_int_equal(query(LOWER + KIB(4)).bits, 0);
    }
    world_check();
}

/* A part of a large page is split off, and stays so, or it would count as touched. */
static void clear_of_a_part_clears_that_part(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    assert_int_equal(map(LOWER, MIB(2), GIB(1), RW), LOAM_OK);
    machine_access(0, LOWER, MACHINE_WRITE);
    assert_int_equal(clear(LOWER + KIB(4), KIB(4), LOAM_PAGE_DIRTY), LOAM_PAGE_DIRTY);
    assert_int_equal(query(LOWER + KIB(4)).bits, LOAM_PAGE_ACCESSED);
    assert_int_equal(query(LOWER + KIB(8)).bits, LOAM_PAGE_ACCESSED | LOAM_PAGE_DIRTY);
    machine_access(1, LOWER + KIB(4), MACHINE_WRITE);
    assert_int_equal(query(LOWER + KIB(4)).bits, LOAM_PAGE_ACCESSED | LOAM_PAGE_DIRTY);
    world_check();
}

static void clear_refuses_other_bits_and_holes(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    assert_int_equal(map(LOWER, KIB(4), GIB(1), RW), LOAM_OK);
    machine_access(0, LOWER, MACHINE_WRITE);
    loam_page_bits seen = 77;
    LOAM_SPACE_BATCH(batch, &space);
    assert_int_equal(loam_space_batch_clear(&batch, range(LOWER, KIB(4)), 4, &seen), LOAM_INVALID);
    assert_int_equal(loam_space_batch_clear(&batch, range(LOWER, KIB(8)), 3, &seen),
                     LOAM_NOT_FOUND);
    loam_space_batch_finish(&batch);
    assert_int_equal(seen, 77);
    assert_int_equal(query(LOWER).bits, LOAM_PAGE_ACCESSED | LOAM_PAGE_DIRTY);
    assert_int_equal(machine_flush_count(), 0);
}

/* ---- replace ---------------------------------------------------------------- */

static void replace_splits_and_changes_one_page(void **state)
{
    (void)state;
    const uint64_t sizes[] = { KIB(4), MIB(2), GIB(1) };
    for (unsigned i = 0; i < 3; i++) {
        world_start((struct world_options){ 0 });
        assert_int_equal(map(HIGHER, sizes[i], GIB(1), RW), LOAM_OK);
        expect_page(HIGHER, GIB(1), RW);
        LOAM_SPACE_BATCH(batch, &space);
        assert_int_equal(
            loam_space_batch_replace(&batch, loam_virt_at(HIGHER), loam_phys_at(GIB(5)), RO),
            LOAM_OK);
        assert_int_equal(loam_space_batch_replace(&batch, loam_virt_at(HIGHER + GIB(1)),
                                                  loam_phys_at(GIB(5)), RO),
                         LOAM_NOT_FOUND);
        assert_int_equal(
            loam_space_batch_replace(&batch, loam_virt_at(HIGHER), loam_phys_at(GIB(5) + 1), RO),
            LOAM_INVALID);
        assert_int_equal(
            loam_space_batch_replace(&batch, loam_virt_at(HIGHER + 1), loam_phys_at(GIB(5)), RO),
            LOAM_INVALID);
        loam_space_batch_finish(&batch);
        expect_page(HIGHER, GIB(5), RO);
        if (i != 0)
            expect_page(HIGHER + KIB(4), GIB(1) + KIB(4), RW);
        world_check();
    }
}

/* ---- tables that cannot be had ---------------------------------------------- */

static enum loam_status attempt(unsigned verb, struct loam_space_batch *batch, uint64_t virt)
{
    loam_page_bits seen;
    switch (verb) {
    case 0:
        return batch_unmap(batch, virt, KIB(4));
    case 1:
        return loam_space_batch_detach(batch, range(virt, KIB(4)));
    case 2:
        return batch_protect(batch, virt, KIB(4), RO);
    case 3:
        return loam_space_batch_clear(batch, range(virt, KIB(4)), 3, &seen);
    case 4:
        return loam_space_batch_replace(batch, loam_virt_at(virt), loam_phys_at(0), RO);
    case 5:
        return loam_space_set_soft(&space, range(virt, KIB(4)), 3);
    case 6:
        return publish(virt + GIB(1), KIB(4), RW);
    case 7:
        return untag(virt + GIB(2), KIB(4));
    case 8:
        return hold(virt + GIB(512), KIB(4), 0);
    default:
        return tag(virt + GIB(512), KIB(4), LOAM_ENTRY_TAG, 1);
    }
}

/* In the middle of a batch, which goes on as if it had not been asked. */
static void P07_P10_every_injected_failure_changes_nothing(void **state)
{
    (void)state;
    for (unsigned verb = 0; verb < 10; verb++) {
        unsigned refused = 0;
        INJECT_EACH_POINT
        {
            world_start((struct world_options){ 0 });
            assert_int_equal(map(LOWER, GIB(2), GIB(4), RW), LOAM_OK);
            assert_int_equal(detach(LOWER + GIB(1), GIB(1)), LOAM_OK);
            assert_int_equal(tag(LOWER + GIB(2), GIB(1), LOAM_ENTRY_GUARD, 0), LOAM_OK);
            LOAM_SPACE_BATCH(batch, &space);
            const uint64_t before = world_digest();
            INJECT_ARM();
            const enum loam_status st = attempt(verb, &batch, LOWER + MIB(2) + KIB(4));
            INJECT_DISARM();
            if (inject_fired()) {
                refused++;
                assert_int_equal(st, LOAM_NO_MEMORY);
                assert_int_equal(world_digest(), before);
            }
            if (st != LOAM_OK)
                assert_int_equal(attempt(verb, &batch, LOWER + MIB(2) + KIB(4)), LOAM_OK);
            loam_space_batch_finish(&batch);
            world_check();
        }
        assert_int_equal(refused, 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_flushed_before_the_batch_is_finished),
        cmocka_unit_test(T02_a_batch_of_many_ranges_is_flushed_as_well),
        cmocka_unit_test(an_empty_batch_flushes_nothing),
        cmocka_unit_test(tables_are_used_again_only_after_the_batch),
        cmocka_unit_test(P22_a_map_beside_an_open_batch_is_seen_by_all),
        cmocka_unit_test(P22_a_map_beside_a_map_that_still_flushes),
        cmocka_unit_test(a_batch_reaches_from_one_end_to_the_other),
        cmocka_unit_test(clear_tells_what_was_touched_since),
        cmocka_unit_test(clear_of_a_part_clears_that_part),
        cmocka_unit_test(clear_refuses_other_bits_and_holes),
        cmocka_unit_test(replace_splits_and_changes_one_page),
        cmocka_unit_test(P07_P10_every_injected_failure_changes_nothing),
    };
    return RUN_TESTS(tests);
}
