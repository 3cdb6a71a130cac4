/*
 * paging_parallel_test.c - CPUs as threads that change different parts of a space at the
 * same time, and others that look without a lock meanwhile.
 *
 *     page      always backed, when it is, by a frame that tells which page it is
 *     readers   find that frame or nothing, while tables come, go, and are other pages'
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "paging_world.h"
#include "threads.h"

#define THREADS 4u

static _Atomic(unsigned) working;
static struct loam_space child;

/* Bodies 0 .. writers - 1 work; the others look until those are done. */
static void run_threads(unsigned count, unsigned writers, void *(*body)(void *index))
{
    atomic_store(&working, writers);
    threads_run(count, body);
}

/* ---- each its own pages ------------------------------------------------------- */

static uint64_t stride; /* bytes from one thread's pages to the next one's */

static struct loam_phys_range collected[4];

static bool collect_own(uint64_t at, uint64_t size, uint64_t phys, unsigned cpu)
{
    struct loam_virt_range rest = range(at, size);
    struct loam_phys_range out;
    uint64_t bytes = 0;
    struct loam_space_batch batch;
    loam_space_batch_begin(&batch, &space);
    for (size_t count; (count = loam_space_batch_collect(&batch, &rest, &out, 1)) != 0;) {
        expect(out.start.addr == phys + bytes);
        bytes += out.size;
        collected[cpu] = out;
    }
    loam_space_batch_finish(&batch);
    return bytes == size;
}

static bool detach_own(uint64_t at, uint64_t size)
{
    struct loam_space_batch batch;
    loam_space_batch_begin(&batch, &space);
    const enum loam_status st = loam_space_batch_detach(&batch, range(at, size));
    loam_space_batch_finish(&batch);
    return st == LOAM_OK;
}

/* Pages of every size come and go; tables of level 2, which they share, with them. */
static void *change_own_pages(void *index)
{
    const unsigned cpu = (unsigned)(uintptr_t)index;
    uint64_t seed = 77 + cpu;
    machine_set_cpu(cpu);
    for (unsigned round = 0; round < 400; round++) {
        const uint64_t at = LOWER + stride * cpu + (thread_roll(&seed, 2) == 0 ? 0 : KIB(8));
        const uint64_t size = at % MIB(2) == 0 && thread_roll(&seed, 2) == 0 ? MIB(2) : KIB(8);
        const uint64_t phys = GIB(1) + stride * cpu + at % MIB(2);
        expect(map(at, size, phys, RW) == LOAM_OK);
        expect(loam_space_translate(&space, loam_virt_at(at + 5)).addr == phys + 5);
        expect(map(at + KIB(4), KIB(4), phys, RW) == LOAM_OVERLAP);
        expect(machine_access(cpu, at + size - 1, MACHINE_WRITE).phys == phys + size - 1);
        switch (thread_roll(&seed, 4)) {
        case 0:
            expect(protect(at + KIB(4), KIB(4), RO) == LOAM_OK);
            expect(machine_access(cpu, at + KIB(4), MACHINE_WRITE).fault == MACHINE_PROTECTION);
            expect(unmap(at, size) == LOAM_OK);
            break;
        case 1:
            expect(detach_own(at, size) && collect_own(at, size, phys, cpu));
            break;
        case 2:
            expect(unmap(at, KIB(4)) == LOAM_OK);
            expect(tag(at, KIB(4), LOAM_ENTRY_GUARD, cpu) == LOAM_OK);
            expect(untag(at, KIB(4)) == LOAM_OK);
            expect(unmap(at + KIB(4), size - KIB(4)) == LOAM_OK);
            break;
        default:
            expect(unmap(at, size) == LOAM_OK);
        }
        expect(machine_access(cpu, at, MACHINE_READ).fault == MACHINE_NOT_PRESENT);
    }
    return NULL;
}

static void P20_disjoint_changes_do_not_meet(void **state)
{
    (void)state;
    const uint64_t strides[] = { KIB(16), MIB(2), MIB(32), GIB(1), GIB(512) };
    for (unsigned i = 1; i < 5; i++) {
        world_start((struct world_options){ .cpus = THREADS, .frames = 64 });
        stride = strides[i];
        run_threads(THREADS, THREADS, change_own_pages);
        assert_int_equal(space.table_count, 1);
        world_check();
    }
}

/* ---- a table of level 2 that one empties and another fills ---------------------- */

/* One after the other takes the whole GiB, or a page of it, or finds it in use. */
static void *take_the_gib_or_a_page(void *index)
{
    const unsigned cpu = (unsigned)(uintptr_t)index;
    uint64_t seed = 5 + cpu;
    machine_set_cpu(cpu);
    for (unsigned round = 0; round < 400; round++) {
        const uint64_t at = LOWER + MIB(2) * (cpu + 1);
        if (thread_roll(&seed, 4) == 0) {
            const enum loam_status st = map(LOWER, GIB(1), GIB(4), RW);
            expect(st == LOAM_OK || st == LOAM_OVERLAP);
            if (st == LOAM_OK)
                expect(unmap(LOWER, GIB(1)) == LOAM_OK);
            continue;
        }
        const uint64_t size = thread_roll(&seed, 2) == 0 ? MIB(2) : KIB(4);
        const enum loam_status st = map(at, size, GIB(8) + at % GIB(1), RW);
        expect(st == LOAM_OK || st == LOAM_OVERLAP); /* the whole GiB is in use */
        if (st == LOAM_OK)
            expect(unmap(at, size) == LOAM_OK);
    }
    return NULL;
}

static void P22_a_table_that_one_empties_and_another_fills(void **state)
{
    (void)state;
    world_start((struct world_options){ .cpus = THREADS });
    run_threads(THREADS, THREADS, take_the_gib_or_a_page);
    assert_int_equal(space.table_count, 1);
    world_check();
}

/* ---- looking without a lock ------------------------------------------------------ */

/* Page n of the window is backed by frame n of one of two stretches of memory. */
#define LOOK_PAGES 4096u

static bool is_right(uint64_t phys, uint64_t page)
{
    return phys == GIB(1) + PAGES(page) || phys == GIB(2) + PAGES(page);
}

static uint64_t look_at(uint64_t page)
{
    return HIGHER + GIB(page / 512) + PAGES(page % 512); /* 8 GiB, one table in each */
}

static void *map_and_unmap_what_is_looked_at(void *index)
{
    const unsigned cpu = (unsigned)(uintptr_t)index;
    uint64_t seed = 9 + cpu;
    machine_set_cpu(cpu);
    for (unsigned round = 0; round < 1500; round++) {
        const uint64_t page = thread_roll(&seed, LOOK_PAGES / 2) + cpu * (LOOK_PAGES / 2);
        const uint64_t room = 512 - page % 512;
        const uint64_t count = 1 + thread_roll(&seed, room < 8 ? room : 8);
        const uint64_t phys = GIB(1 + thread_roll(&seed, 2)) + PAGES(page);
        expect(map(look_at(page), PAGES(count), phys, RW) == LOAM_OK);
        if (thread_roll(&seed, 4) == 0)
            expect(detach_own(look_at(page), PAGES(count)) &&
                   collect_own(look_at(page), PAGES(count), phys, cpu));
        else
            expect(unmap(look_at(page), PAGES(count)) == LOAM_OK);
    }
    atomic_fetch_sub(&working, 1);
    return NULL;
}

static void *look(void *index)
{
    const unsigned cpu = (unsigned)(uintptr_t)index;
    uint64_t seed = 3 + cpu;
    struct loam_translation seen;
    struct loam_entry entry;
    struct loam_mapping run;
    machine_set_cpu(cpu);
    while (atomic_load(&working) != 0) {
        const uint64_t page = thread_roll(&seed, LOOK_PAGES);
        const loam_virt at = { look_at(page) };
        const loam_phys phys = loam_space_translate(&child, at);
        expect(loam_phys_is_none(phys) || is_right(phys.addr, page));
        if (loam_space_query(&space, at, &seen) == LOAM_OK)
            expect(is_right(seen.phys.addr, page) && seen.attr.prot == LOAM_PROT_WRITE);
        expect(loam_space_entry(&child, at, &entry) == LOAM_OK);
        expect(entry.kind == LOAM_ENTRY_EMPTY || entry.kind == LOAM_ENTRY_PAGE ||
               (entry.kind == LOAM_ENTRY_HELD && is_right(entry.value, page)));
        if (page % 16 == 0 && loam_space_next(&child, loam_virt_at(0), &run) == LOAM_OK)
            expect(run.virt.start.addr - HIGHER < GIB(8) &&
                   run.phys.addr % GIB(1) / KIB(4) ==
                       (run.virt.start.addr - HIGHER) / GIB(1) * 512 +
                           run.virt.start.addr % GIB(1) / KIB(4));
    }
    return NULL;
}

static void *change_or_look(void *index)
{
    return (uintptr_t)index < 2 ? map_and_unmap_what_is_looked_at(index) : look(index);
}

/* Few frames: a table that is given back is at once another one. */
static void a_look_never_finds_a_wrong_frame(void **state)
{
    (void)state;
    world_start((struct world_options){ .cpus = THREADS, .frames = 9 });
    assert_int_equal(loam_space_create(&child, &space), LOAM_OK);
    machine_flush_drop(true); /* who looks has no TLB */
    run_threads(THREADS, 2, change_or_look);
    assert_int_equal(loam_space_destroy(&child), LOAM_OK);
    assert_int_equal(space.table_count, 1);
    world_check();
}

/* ---- split and merge --------------------------------------------------------------- */

static uint64_t part; /* bytes from what one changes to what the other does */

/* Parts of one large page change to and fro: split, whole again, split. */
static void *change_a_part(void *index)
{
    const unsigned cpu = (unsigned)(uintptr_t)index;
    uint64_t seed = 21 + cpu;
    machine_set_cpu(cpu);
    for (unsigned round = 0; round < 300; round++) {
        const uint64_t at = LOWER + part * cpu + PAGES(thread_roll(&seed, 4));
        expect(protect(at, KIB(4), RO) == LOAM_OK);
        expect(machine_access(cpu, at, MACHINE_WRITE).fault == MACHINE_PROTECTION);
        expect(machine_access(cpu, at, MACHINE_READ).phys == GIB(1) + (at - LOWER));
        expect(protect(at, KIB(4), RW) == LOAM_OK);
        expect(machine_access(cpu, at, MACHINE_WRITE).fault == MACHINE_OK);
    }
    atomic_fetch_sub(&working, 1);
    return NULL;
}

static void *look_at_the_whole(void *index)
{
    const unsigned cpu = (unsigned)(uintptr_t)index;
    uint64_t seed = 33 + cpu;
    machine_set_cpu(cpu);
    while (atomic_load(&working) != 0) {
        const uint64_t offset = thread_roll(&seed, MIB(2));
        expect(loam_space_translate(&space, loam_virt_at(LOWER + offset)).addr == GIB(1) + offset);
        const struct machine_access seen = machine_access(cpu, LOWER + offset, MACHINE_READ);
        expect(seen.fault == MACHINE_OK && seen.phys == GIB(1) + offset);
    }
    return NULL;
}

static void *change_or_look_at_a_part(void *index)
{
    return (uintptr_t)index < 2 ? change_a_part(index) : look_at_the_whole(index);
}

static void a_page_is_there_while_it_is_split_and_merged(void **state)
{
    (void)state;
    const uint64_t sizes[] = { MIB(2), GIB(1) };
    for (unsigned i = 0; i < 2; i++) {
        world_start((struct world_options){ .cpus = THREADS });
        part = sizes[i] == GIB(1) ? MIB(2) : MIB(1); /* another lock, the same one */
        assert_int_equal(map(LOWER, sizes[i], GIB(1), RW), LOAM_OK);
        run_threads(THREADS, 2, change_or_look_at_a_part);
        assert_int_equal(page_size_at(LOWER), sizes[i]);
        world_check();
    }
}

/* Two begin at the same moment, again and again. */
static _Atomic(unsigned) arrived;

static void meet(unsigned round)
{
    atomic_fetch_add(&arrived, 1);
    for (unsigned spins = 0; atomic_load(&arrived) < 2 * round; spins++) {
        if (spins % 1024 == 1023)
            sched_yield();
    }
}

static void *split_at_once(void *index)
{
    const unsigned cpu = (unsigned)(uintptr_t)index;
    const uint64_t at = LOWER + MIB(2) * cpu;
    machine_set_cpu(cpu);
    for (unsigned round = 1; round <= 1000; round++) {
        meet(2 * round - 1);
        expect(protect(at, KIB(4), RO) == LOAM_OK);
        expect(loam_space_translate(&space, loam_virt_at(at + KIB(8))).addr ==
               GIB(1) + (at - LOWER) + KIB(8));
        meet(2 * round);
        expect(protect(at, KIB(4), RW) == LOAM_OK);
    }
    return NULL;
}

static void P20_two_split_one_page_at_once(void **state)
{
    (void)state;
    world_start((struct world_options){ .cpus = 2 });
    atomic_store(&arrived, 0);
    machine_flush_drop(true);
    assert_int_equal(map(LOWER, GIB(1), GIB(1), RW), LOAM_OK);
    run_threads(2, 2, split_at_once);
    assert_int_equal(page_size_at(LOWER), GIB(1));
    world_check();
}

/* ---- spaces that come and go ---------------------------------------------------------- */

/* The kernel's root changes while others share it, and no longer do. */
static void *share_and_end(void *index)
{
    const unsigned cpu = (unsigned)(uintptr_t)index;
    static struct loam_space own[THREADS];
    machine_set_cpu(cpu);
    for (unsigned round = 0; round < 200; round++) {
        const uint64_t at = HIGHER + GIB(512) * cpu;
        if (cpu < 2) {
            expect(map(at, KIB(4), GIB(1), RW) == LOAM_OK);
            expect(unmap(at, KIB(4)) == LOAM_OK);
            continue;
        }
        expect(loam_space_create(&own[cpu], &space) == LOAM_OK);
        expect(loam_space_map(&own[cpu], range(LOWER, KIB(4)), loam_phys_at(GIB(2)), RW) ==
               LOAM_OK);
        const loam_phys seen = loam_space_translate(&own[cpu], loam_virt_at(HIGHER));
        expect(loam_phys_is_none(seen) || seen.addr == GIB(1));
        assert_int_equal(loam_space_destroy(&own[cpu]), LOAM_OK);
    }
    return NULL;
}

static void P25_P26_spaces_come_and_go_while_the_kernel_maps(void **state)
{
    (void)state;
    world_start((struct world_options){ .cpus = THREADS });
    run_threads(THREADS, THREADS, share_and_end);
    assert_int_equal(space.table_count, 1);
    assert_null(space.sharer);
    world_check();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(P20_disjoint_changes_do_not_meet),
        cmocka_unit_test(P22_a_table_that_one_empties_and_another_fills),
        cmocka_unit_test(a_look_never_finds_a_wrong_frame),
        cmocka_unit_test(a_page_is_there_while_it_is_split_and_merged),
        cmocka_unit_test(P20_two_split_one_page_at_once),
        cmocka_unit_test(P25_P26_spaces_come_and_go_while_the_kernel_maps),
    };
    return RUN_TESTS(tests);
}
