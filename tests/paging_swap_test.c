/*
 * paging_swap_test.c - a page and a tag that take each other's place, and unmap of what is
 * mapped in a range with holes.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "paging_world.h"
#include "threads.h"

#define VALUE UINT64_C(0xabcdef0123456)

static enum loam_status swap_out(uint64_t virt, uint64_t value, struct loam_translation *was)
{
    LOAM_SPACE_BATCH(batch, &space);
    const enum loam_status st = loam_space_batch_swap_out(&batch, loam_virt_at(virt), value, was);
    loam_space_batch_finish(&batch);
    return st;
}

static enum loam_status swap_in(uint64_t virt, uint64_t value, uint64_t phys)
{
    return loam_space_swap_in(&space, loam_virt_at(virt), value, loam_phys_at(phys), RW);
}

static enum loam_status unmap_any(uint64_t virt, uint64_t size)
{
    LOAM_SPACE_BATCH(batch, &space);
    const enum loam_status st = loam_space_batch_unmap_any(&batch, range(virt, size));
    loam_space_batch_finish(&batch);
    return st;
}

/* ---- out and in --------------------------------------------------------------- */

static void a_page_goes_out_with_its_bits_and_comes_back(void **state)
{
    (void)state;
    struct loam_translation was;
    world_start((struct world_options){ 0 });
    assert_int_equal(map(LOWER, KIB(12), GIB(1), RW), LOAM_OK);
    assert_int_equal(loam_space_set_soft(&space, range(LOWER, KIB(4)), 5), LOAM_OK);
    machine_access(1, LOWER, MACHINE_WRITE);
    machine_access(1, LOWER + KIB(4), MACHINE_READ);
    const loam_page_bits bits[] = { LOAM_PAGE_ACCESSED | LOAM_PAGE_DIRTY, LOAM_PAGE_ACCESSED, 0 };
    for (unsigned i = 0; i < 3; i++) {
        const uint64_t at = LOWER + PAGES(i);
        assert_int_equal(swap_out(at, VALUE + i, &was), LOAM_OK);
        assert_int_equal(was.phys.addr, GIB(1) + PAGES(i));
        assert_int_equal(was.bits, bits[i]);
        assert_int_equal(was.attr.prot, LOAM_PROT_WRITE);
        assert_int_equal(was.soft, i == 0 ? 5 : 0);
        assert_int_equal(was.page_size, KIB(4));
        assert_int_equal(entry_at(at).kind, LOAM_ENTRY_TAG);
        assert_int_equal(entry_at(at).value, VALUE + i);
        expect_nothing(at);
        world_check();
    }
    const unsigned flushes = machine_flush_count();
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(swap_in(LOWER + PAGES(i), VALUE + i, GIB(3) + PAGES(i)), LOAM_OK);
        assert_int_equal(query(LOWER + PAGES(i)).bits, 0);
        expect_page(LOWER + PAGES(i), GIB(3) + PAGES(i), RW);
    }
    assert_int_equal(machine_flush_count(), flushes); /* what was not present is not cached */
    world_check();
}

/* A page that is to be copied when written to says so. */
static void a_shared_page_goes_out_as_one(void **state)
{
    (void)state;
    static struct loam_space parent, child;
    struct loam_translation was;
    world_start((struct world_options){ 0 });
    assert_int_equal(loam_space_create(&parent, &space), LOAM_OK);
    assert_int_equal(loam_space_create(&child, &space), LOAM_OK);
    assert_int_equal(loam_space_map(&parent, range(LOWER, KIB(4)), loam_phys_at(GIB(1)), RW),
                     LOAM_OK);
    assert_int_equal(loam_space_clone(&child, &parent), LOAM_OK);
    LOAM_SPACE_BATCH(batch, &child);
    assert_int_equal(loam_space_batch_swap_out(&batch, loam_virt_at(LOWER), 1, &was), LOAM_OK);
    loam_space_batch_finish(&batch);
    assert_true(was.is_cow);
    assert_int_equal(was.attr.prot, LOAM_PROT_WRITE);
    assert_int_equal(loam_space_destroy(&child), LOAM_OK);
    assert_int_equal(loam_space_destroy(&parent), LOAM_OK);
    world_check();
}

/* Part of a page of 2 MiB goes out, of a tag as large comes in; once it is whole again, it is
 * one entry. */
static void large_pages_and_tags_are_split_and_whole_again(void **state)
{
    (void)state;
    struct loam_translation was;
    world_start((struct world_options){ 0 });
    assert_int_equal(map(HIGHER, MIB(2), GIB(1), RW), LOAM_OK);
    assert_int_equal(map(HIGHER + MIB(4), KIB(4), GIB(3), RW), LOAM_OK);
    assert_int_equal(swap_out(HIGHER + KIB(8), 3, &was), LOAM_OK);
    assert_int_equal(was.phys.addr, GIB(1) + KIB(8));
    expect_page(HIGHER + KIB(4), GIB(1) + KIB(4), RW);
    expect_page(HIGHER + KIB(12), GIB(1) + KIB(12), RW);
    assert_int_equal(swap_in(HIGHER + KIB(8), 3, GIB(1) + KIB(8)), LOAM_OK);
    expect_page(HIGHER + KIB(8), GIB(1) + KIB(8), RW);
    assert_int_equal(page_size_at(HIGHER), MIB(2));

    assert_int_equal(unmap(HIGHER, MIB(2)), LOAM_OK);
    assert_int_equal(tag(HIGHER, MIB(2), LOAM_ENTRY_TAG, 9), LOAM_OK);
    assert_int_equal(swap_in(HIGHER + KIB(8), 9, GIB(2)), LOAM_OK);
    expect_page(HIGHER + KIB(8), GIB(2), RW);
    assert_int_equal(entry_at(HIGHER).value, 9);
    assert_int_equal(entry_at(HIGHER).page_size, KIB(4));
    assert_int_equal(swap_out(HIGHER + KIB(8), 9, &was), LOAM_OK);
    assert_int_equal(entry_at(HIGHER).page_size, MIB(2));
    world_check();
}

static void swap_refuses_what_is_not_there(void **state)
{
    (void)state;
    struct loam_translation was = { .page_size = 77 };
    world_start((struct world_options){ 0 });
    assert_int_equal(map(LOWER, KIB(4), GIB(1), RW), LOAM_OK);
    assert_int_equal(tag(LOWER + KIB(4), KIB(4), LOAM_ENTRY_TAG, VALUE), LOAM_OK);
    assert_int_equal(tag(LOWER + KIB(8), KIB(4), LOAM_ENTRY_GUARD, VALUE), LOAM_OK);
    assert_int_equal(hold(LOWER + KIB(12), KIB(4), GIB(2)), LOAM_OK);
    const uint64_t before = world_digest();
    for (unsigned i = 1; i < 5; i++)
        assert_int_equal(swap_out(LOWER + PAGES(i), 1, &was), LOAM_NOT_FOUND);
    assert_int_equal(swap_out(LOWER + 8, 1, &was), LOAM_INVALID);
    assert_int_equal(swap_out(LOWER, UINT64_C(1) << 56, &was), LOAM_INVALID);
    assert_int_equal(was.page_size, 77);
    for (unsigned i = 0; i < 5; i++) /* the second has another value */
        assert_int_equal(swap_in(LOWER + PAGES(i), i == 1 ? VALUE + 1 : VALUE, GIB(3)),
                         LOAM_NOT_FOUND);
    assert_int_equal(swap_in(LOWER + KIB(4), VALUE, GIB(3) + 8), LOAM_INVALID);
    assert_int_equal(swap_in(LOWER + KIB(4), VALUE | UINT64_C(1) << 56, GIB(3)), LOAM_INVALID);
    assert_int_equal(swap_in(LOWER + KIB(4) + 1, VALUE, GIB(3)), LOAM_INVALID);
    assert_int_equal(loam_space_swap_in(&space, loam_virt_at(LOWER + KIB(4)), VALUE,
                                        loam_phys_at(GIB(3)), attr(3, LOAM_CACHE_WB)),
                     LOAM_INVALID);
    assert_int_equal(world_digest(), before);
    assert_int_equal(machine_flush_count(), 0);
    assert_int_equal(collect(LOWER + KIB(12), KIB(4), NULL), KIB(4));
    world_check();
}

static void swap_P10_survives_each_failure(void **state)
{
    (void)state;
    for (unsigned comes_in = 0; comes_in < 2; comes_in++) {
        INJECT_EACH_POINT
        {
            struct loam_translation was;
            world_start((struct world_options){ 0 });
            assert_int_equal(comes_in != 0 ? tag(LOWER, GIB(1), LOAM_ENTRY_TAG, 4)
                                           : map(LOWER, GIB(1), GIB(1), RW),
                             LOAM_OK);
            const uint64_t before = world_digest();
            INJECT_ARM();
            const enum loam_status st = comes_in != 0 ? swap_in(LOWER + MIB(3), 4, GIB(2))
                                                      : swap_out(LOWER + MIB(3), 4, &was);
            INJECT_DISARM();
            assert_int_equal(st, inject_fired() ? LOAM_NO_MEMORY : LOAM_OK);
            if (st != LOAM_OK)
                assert_int_equal(world_digest(), before);
            world_check();
        }
    }
}

/* ---- at the same time ------------------------------------------------------------ */

static unsigned flushes;

/* Tags have become one large one, and CPU 1 remembers their table. */
static void swap_in_beside_the_merge(const struct loam_tlb_flush *flush)
{
    (void)flush;
    if (flushes++ != 0)
        return;
    assert_int_equal(entry_at(LOWER).page_size, MIB(2));
    assert_int_equal(swap_in(LOWER + KIB(8), 9, GIB(5)), LOAM_OK);
    assert_int_equal(machine_access(1, LOWER + KIB(8), MACHINE_READ).phys, GIB(5));
}

static void swap_in_P22_beside_a_merge_is_seen_by_all(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    assert_int_equal(map(LOWER + MIB(4), KIB(4), GIB(3), RW), LOAM_OK); /* level 2 stays */
    assert_int_equal(tag(LOWER, MIB(2), LOAM_ENTRY_TAG, 9), LOAM_OK);
    assert_int_equal(untag(LOWER, KIB(4)), LOAM_OK);
    machine_access(1, LOWER, MACHINE_READ);
    flushes = 0;
    machine_flush_visit(swap_in_beside_the_merge);
    assert_int_equal(tag(LOWER, KIB(4), LOAM_ENTRY_TAG, 9), LOAM_OK);
    machine_flush_visit(NULL);
    assert_int_equal(flushes, 1);
    world_check();
}

#define ROUNDS 2000u

static _Atomic(uint64_t) written; /* address of the last frame that was written to */
static _Atomic(bool) has_ended;
static _Atomic(unsigned) winners;

static void *write_whenever_it_is_there(void *unused)
{
    (void)unused;
    machine_set_cpu(1);
    while (!atomic_load(&has_ended)) {
        const struct machine_access seen = machine_access(1, LOWER, MACHINE_WRITE);
        if (seen.fault == MACHINE_OK)
            atomic_store(&written, seen.phys);
    }
    return NULL;
}

/* Each time another frame. Who has written to it, has made it dirty. */
static void P23_no_write_is_lost_while_a_page_goes_out(void **state)
{
    (void)state;
    pthread_t thread;
    struct loam_translation was;
    unsigned dirty = 0;
    world_start((struct world_options){ 0 });
    assert_int_equal(tag(LOWER, KIB(4), LOAM_ENTRY_TAG, 0), LOAM_OK);
    atomic_store(&has_ended, false);
    thread_start(&thread, write_whenever_it_is_there, NULL);
    for (uint64_t round = 1; round <= ROUNDS; round++) {
        const uint64_t frame = GIB(1) + PAGES(round);
        assert_int_equal(swap_in(LOWER, round - 1, frame), LOAM_OK);
        for (unsigned i = 0; i < 1000 && round % 2 == 0 && atomic_load(&written) != frame; i++)
            sched_yield();
        assert_int_equal(swap_out(LOWER, round, &was), LOAM_OK);
        assert_int_equal(was.phys.addr, frame);
        assert_true(atomic_load(&written) != frame || (was.bits & LOAM_PAGE_DIRTY) != 0);
        dirty += (was.bits & LOAM_PAGE_DIRTY) != 0 ? 1 : 0;
    }
    atomic_store(&has_ended, true);
    thread_join(thread);
    assert_true(dirty > 0);
    world_check();
}

/* All bring the page back, each into a frame of its own. */
static void *swap_in_on(void *index)
{
    const unsigned cpu = (unsigned)(uintptr_t)index;
    machine_set_cpu(cpu);
    for (uint64_t page = 0; page < 256; page++) {
        const enum loam_status st = swap_in(LOWER + PAGES(page), 6, GIB(1 + cpu) + PAGES(page));
        if (st == LOAM_OK)
            atomic_fetch_add(&winners, 1);
        else if (st != LOAM_NOT_FOUND)
            atomic_fetch_add(&winners, 10000);
    }
    return NULL;
}

static void P21_of_several_that_swap_in_one_succeeds(void **state)
{
    (void)state;
    pthread_t thread[3];
    world_start((struct world_options){ .cpus = 3 });
    assert_int_equal(tag(LOWER, MIB(1), LOAM_ENTRY_TAG, 6), LOAM_OK);
    atomic_store(&winners, 0);
    for (unsigned i = 0; i < 3; i++)
        thread_start(&thread[i], swap_in_on, (void *)(uintptr_t)i);
    for (unsigned i = 0; i < 3; i++)
        thread_join(thread[i]);
    assert_int_equal(atomic_load(&winners), 256);
    for (uint64_t page = 0; page < 256; page++)
        assert_int_equal(query(LOWER + PAGES(page)).phys.addr % GIB(1), PAGES(page));
    world_check();
}

/* ---- unmap over holes ---------------------------------------------------------------- */

/*
 *   LOWER   page  .  guard  page  tag  held  page   ...  [2 MiB]  ...  page
 */
static void P09_unmap_any_removes_what_is_mapped_and_nothing_else(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    const uint64_t pages[] = { 0, 3, 6 };
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(map(LOWER + PAGES(pages[i]), KIB(4), GIB(1) + PAGES(i), RW), LOAM_OK);
    assert_int_equal(tag(LOWER + PAGES(2), KIB(4), LOAM_ENTRY_GUARD, 1), LOAM_OK);
    assert_int_equal(tag(LOWER + PAGES(4), KIB(4), LOAM_ENTRY_TAG, 2), LOAM_OK);
    assert_int_equal(hold(LOWER + PAGES(5), KIB(4), GIB(2)), LOAM_OK);
    assert_int_equal(map(LOWER + MIB(6), MIB(2), GIB(3), RW), LOAM_OK);
    assert_int_equal(map(LOWER + GIB(600), KIB(4), GIB(4), RW), LOAM_OK);
    expect_page(LOWER + MIB(6), GIB(3), RW);
    for (unsigned i = 0; i < 3; i++)
        expect_page(LOWER + PAGES(pages[i]), GIB(1) + PAGES(i), RW);
    assert_int_equal(unmap_any(LOWER, GIB(700)), LOAM_OK);
    for (unsigned i = 0; i < 3; i++)
        expect_nothing(LOWER + PAGES(pages[i]));
    expect_nothing(LOWER + MIB(6));
    expect_nothing(LOWER + GIB(600));
    assert_int_equal(entry_at(LOWER + PAGES(2)).kind, LOAM_ENTRY_GUARD);
    assert_int_equal(entry_at(LOWER + PAGES(4)).value, 2);
    assert_int_equal(entry_at(LOWER + PAGES(5)).value, GIB(2));
    assert_int_equal(space.table_count, 4); /* of those three */
    world_check();
    assert_int_equal(collect(LOWER + PAGES(5), KIB(4), NULL), KIB(4));
    assert_int_equal(machine_flush_count(), 1);
    assert_int_equal(unmap_any(LOWER, GIB(700)), LOAM_OK); /* nothing is mapped: no flush */
    assert_int_equal(machine_flush_count(), 1);
    assert_int_equal(unmap_any(LOWER + 1, GIB(700)), LOAM_INVALID);
    assert_int_equal(map(LOWER + GIB(2), KIB(4), GIB(4), RW), LOAM_OK);
    LOAM_SPACE_BATCH(batch, &space);
    assert_int_equal(loam_space_batch_unmap(&batch, range(LOWER + GIB(2), KIB(4))), LOAM_OK);
    assert_int_equal(unmap_any(LOWER, GIB(700)), LOAM_OK); /* nor beside a table that goes */
    assert_int_equal(machine_flush_count(), 1);
    loam_space_batch_finish(&batch);
    assert_int_equal(unmap_any(LOWER, 0), LOAM_INVALID);
    world_check();
}

/* Large pages at the edges are split, guards and tags there are not. */
static void P10_unmap_any_splits_pages_only(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 3; kind++) {
        world_start((struct world_options){ 0 });
        if (kind == 0)
            assert_int_equal(map(LOWER, MIB(4), GIB(1), RW), LOAM_OK);
        else
            assert_int_equal(tag(LOWER, MIB(4), kind == 1 ? LOAM_ENTRY_GUARD : LOAM_ENTRY_TAG, 5),
                             LOAM_OK);
        const uint64_t before = world_digest();
        assert_int_equal(unmap_any(LOWER + KIB(8), MIB(4) - KIB(12)), LOAM_OK);
        assert_int_equal(world_digest() == before, kind != 0);
        assert_int_equal(entry_at(LOWER).page_size, kind == 0 ? KIB(4) : MIB(2));
        assert_int_equal(entry_at(LOWER + KIB(8)).kind == LOAM_ENTRY_EMPTY, kind == 0);
        if (kind == 0)
            expect_page(LOWER + MIB(4) - KIB(4), GIB(1) + MIB(4) - KIB(4), RW);
        world_check();
    }
}

/* Some pages, far apart: just these. */
static void T02_unmap_any_flushes_what_was_mapped(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    for (unsigned i = 0; i < 3; i++) /* in pairs, so that no table becomes empty */
        assert_int_equal(map(LOWER + MIB(6) * i, KIB(8), GIB(1), RW), LOAM_OK);
    assert_int_equal(map(LOWER + MIB(20), MIB(2), GIB(2), RW), LOAM_OK);
    assert_int_equal(unmap_any(LOWER + KIB(4), MIB(24) - KIB(4)), LOAM_OK);
    struct loam_tlb_flush flush = machine_flush_last();
    assert_true(flush.is_full); /* of tables, too */
    world_check();

    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(unmap_any(LOWER, MIB(24)), LOAM_OK);
        assert_int_equal(map(LOWER, KIB(16), GIB(1), RW), LOAM_OK);
        assert_int_equal(map(LOWER + MIB(6), KIB(12), GIB(1), RW), LOAM_OK);
        assert_int_equal(unmap(LOWER + KIB(4), KIB(4)), LOAM_OK);
        assert_int_equal(unmap_any(LOWER + KIB(4), MIB(6) + KIB(4)), LOAM_OK);
        flush = machine_flush_last();
        assert_false(flush.is_full);
        assert_int_equal(flush.range_count, 2);
        assert_int_equal(flush.range[0].start.addr, LOWER + KIB(8));
        assert_int_equal(flush.range[0].page_count, 2);
        assert_int_equal(flush.range[1].start.addr, LOWER + MIB(6));
        assert_int_equal(flush.range[1].page_count, 2);
    }
    world_check();
}

static void P10_unmap_any_survives_each_failure(void **state)
{
    (void)state;
    INJECT_EACH_POINT
    {
        world_start((struct world_options){ 0 });
        assert_int_equal(map(LOWER, GIB(1), GIB(1), RW), LOAM_OK);
        const uint64_t before = world_digest();
        INJECT_ARM();
        const enum loam_status st = unmap_any(LOWER + MIB(3), GIB(8));
        INJECT_DISARM();
        assert_int_equal(st, inject_fired() ? LOAM_NO_MEMORY : LOAM_OK);
        if (st != LOAM_OK)
            assert_int_equal(world_digest(), before);
        world_check();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_page_goes_out_with_its_bits_and_comes_back),
        cmocka_unit_test(a_shared_page_goes_out_as_one),
        cmocka_unit_test(large_pages_and_tags_are_split_and_whole_again),
        cmocka_unit_test(swap_refuses_what_is_not_there),
        cmocka_unit_test(swap_P10_survives_each_failure),
        cmocka_unit_test(swap_in_P22_beside_a_merge_is_seen_by_all),
        cmocka_unit_test(P23_no_write_is_lost_while_a_page_goes_out),
        cmocka_unit_test(P21_of_several_that_swap_in_one_succeeds),
        cmocka_unit_test(P09_unmap_any_removes_what_is_mapped_and_nothing_else),
        cmocka_unit_test(P10_unmap_any_splits_pages_only),
        cmocka_unit_test(T02_unmap_any_flushes_what_was_mapped),
        cmocka_unit_test(P10_unmap_any_survives_each_failure),
    };
    return RUN_TESTS(tests);
}
