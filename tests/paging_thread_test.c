/*
 * paging_thread_test.c - CPUs as threads on one space: they map and unmap beside
 * each other, and touch pages whose attributes are being changed.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "paging_world.h"
#include "threads.h"

#define THREADS 4u

static _Atomic(bool) stop;

static uint64_t seen_at(unsigned cpu, uint64_t virt)
{
    const struct machine_access access = machine_access(cpu, virt, MACHINE_WRITE);
    return access.fault == MACHINE_OK ? access.phys : UINT64_MAX;
}

/* Each CPU has its own pages, all under the same tables. */
static void *map_and_unmap_own_pages(void *index)
{
    const unsigned cpu = (unsigned)(uintptr_t)index;
    machine_set_cpu(cpu);
    for (uint64_t round = 0; round < 300; round++) {
        const uint64_t page = PAGES(cpu * 4 + round % 4);
        const uint64_t phys = GIB(1) + PAGES(round * THREADS + cpu);
        expect(map(LOWER + page, KIB(4), phys, RW) == LOAM_OK);
        expect(seen_at(cpu, LOWER + page) == phys);
        expect(unmap(LOWER + page, KIB(4)) == LOAM_OK);
        expect(seen_at(cpu, LOWER + page) == UINT64_MAX);
    }
    return NULL;
}

static void P20_P22_cpus_share_tables_that_come_and_go(void **state)
{
    (void)state;
    world_start((struct world_options){ .cpus = THREADS });
    threads_run(THREADS, map_and_unmap_own_pages);
    assert_int_equal(space.table_count, 1);
    world_check();
}

/* All map the same page: whoever gets it has it until he unmaps it. */
static _Atomic(unsigned) owners;

static void *fight_for_one_page(void *index)
{
    const unsigned cpu = (unsigned)(uintptr_t)index;
    machine_set_cpu(cpu);
    for (unsigned round = 0; round < 300; round++) {
        const enum loam_status st = map(LOWER, KIB(4), GIB(1) + PAGES(cpu), RW);
        if (st == LOAM_OK) {
            expect(atomic_fetch_add(&owners, 1) == 0);
            expect(seen_at(cpu, LOWER) == GIB(1) + PAGES(cpu));
            atomic_fetch_sub(&owners, 1);
            expect(unmap(LOWER, KIB(4)) == LOAM_OK);
        } else {
            expect(st == LOAM_OVERLAP);
        }
    }
    return NULL;
}

static void P21_one_of_several_cpus_gets_the_page(void **state)
{
    (void)state;
    world_start((struct world_options){ .cpus = THREADS });
    threads_run(THREADS, fight_for_one_page);
    assert_int_equal(space.table_count, 1);
    world_check();
}

/* ---- what hardware sets meanwhile ---------------------------------------- */

#define DIRTY UINT64_C(0x40)

static _Atomic(uint64_t) *dirty_entry;

/* Clears the dirty bit, writes, and finds it set, again and again. */
static void *write_and_look(void *unused)
{
    (void)unused;
    machine_set_cpu(1);
    for (unsigned round = 0; round < 5000; round++) {
        atomic_fetch_and(dirty_entry, ~DIRTY);
        machine_tlb_clear(1); /* or it would not be set again */
        expect(seen_at(1, HIGHER) == GIB(1));
        for (unsigned wait = 0; wait < 20; wait++)
            expect((atomic_load(dirty_entry) & DIRTY) != 0);
    }
    atomic_store(&stop, true);
    return NULL;
}

static void *change_to_and_fro(void *unused)
{
    (void)unused;
    machine_set_cpu(0);
    for (unsigned round = 0; !atomic_load(&stop); round++) {
        const enum loam_cache cache = (enum loam_cache)(round % LOAM_CACHES);
        expect(protect(HIGHER, KIB(4), attr(LOAM_PROT_WRITE, cache)) == LOAM_OK);
    }
    return NULL;
}

static void *either(void *index)
{
    return (uintptr_t)index == 0 ? change_to_and_fro(NULL) : write_and_look(NULL);
}

/*
 *   CPU 0  protect: read entry ......... write entry
 *   CPU 1               set dirty bit: must still be there
 */
static void P23_a_dirty_bit_set_during_protect_stays(void **state)
{
    (void)state;
    uint64_t *word;
    world_start((struct world_options){ 0 });
    assert_int_equal(map(HIGHER, KIB(4), GIB(1), RW), LOAM_OK);
    raw_entry(HIGHER, NULL, &word);
    dirty_entry = (_Atomic(uint64_t) *)word;
    atomic_store(&stop, false);
    machine_flush_drop(true); /* the race is about the entry, not the TLB */
    threads_run(2, either);
    world_check();
}

/*
 * The same to the instruction: the table cannot be written, and what tries to
 * finds the dirty bit set and the table writable when it starts again.
 */
static uint64_t *trapped_entry;
static volatile sig_atomic_t trapped;

static void *page_of(uint64_t *word)
{
    return (void *)((uintptr_t)word & ~(uintptr_t)4095);
}

static void set_dirty_between_read_and_write(int number)
{
    (void)number;
    trapped++;
    if (mprotect(page_of(trapped_entry), 4096, PROT_READ | PROT_WRITE) != 0)
        _exit(99);
    *trapped_entry |= DIRTY;
}

static void protect_with_trap(uint64_t virt, uint64_t size)
{
    struct sigaction trap = { .sa_handler = set_dirty_between_read_and_write };
    struct sigaction before;
    raw_entry(virt, NULL, &trapped_entry);
    trapped = 0;
    assert_int_equal(sigaction(SIGSEGV, &trap, &before), 0);
    assert_int_equal(mprotect(page_of(trapped_entry), 4096, PROT_READ), 0);
    assert_int_equal(protect(virt, size, RO), LOAM_OK);
    assert_int_equal(sigaction(SIGSEGV, &before, NULL), 0);
    assert_int_equal(trapped, 1);
}

static void P23_a_dirty_bit_set_in_mid_protect_stays(void **state)
{
    (void)state;
    const uint64_t sizes[] = { KIB(4), MIB(2), GIB(1) };
    for (unsigned i = 0; i < 3; i++) {
        world_start((struct world_options){ 0 });
        assert_int_equal(map(HIGHER, sizes[i], GIB(1), RW), LOAM_OK);
        protect_with_trap(HIGHER, sizes[i]);
        assert_int_not_equal(raw_entry(HIGHER, NULL, NULL) & DIRTY, 0);
        expect_page(HIGHER, GIB(1), RO);
        world_check();
    }
}

/* It must be in all the parts then. */
static void P23_a_dirty_bit_set_in_mid_split_stays(void **state)
{
    (void)state;
    const uint64_t sizes[] = { MIB(2), GIB(1) };
    for (unsigned i = 0; i < 2; i++) {
        world_start((struct world_options){ 0 });
        assert_int_equal(map(HIGHER, sizes[i], GIB(1), RW), LOAM_OK);
        protect_with_trap(HIGHER, KIB(4));
        assert_int_not_equal(raw_entry(HIGHER, NULL, NULL) & DIRTY, 0);
        assert_int_not_equal(raw_entry(HIGHER + KIB(8), NULL, NULL) & DIRTY, 0);
        assert_int_not_equal(raw_entry(HIGHER + sizes[i] - 1, NULL, NULL) & DIRTY, 0);
        expect_page(HIGHER, GIB(1), RO);
        expect_page(HIGHER + KIB(8), GIB(1) + KIB(8), RW);
        world_check();
    }
}

/* ---- walks ---------------------------------------------------------------- */

#define WALK_ROUNDS 200u

/* New tables for a small page, and the split of a large one, round after round. */
static void *make_and_split(void *unused)
{
    (void)unused;
    machine_set_cpu(0);
    for (unsigned round = 0; round < WALK_ROUNDS; round++) {
        const uint64_t large = HIGHER + MIB(2 * round);
        expect(map(LOWER + GIB(round), KIB(4), GIB(1), RW) == LOAM_OK);
        expect(map(large, MIB(2), GIB(2), RW) == LOAM_OK);
        expect(protect(large, KIB(4), RO) == LOAM_OK);
    }
    return NULL;
}

/* Finds each as soon as it is there, and then it is whole. No lock and no flush
 * orders the two: the links of the tables must do it. */
static void *walk(void *unused)
{
    (void)unused;
    for (unsigned round = 0; round < WALK_ROUNDS; round++) {
        struct machine_access access;
        do {
            machine_tlb_clear(1);
            access = machine_access(1, LOWER + GIB(round), MACHINE_READ);
        } while (access.fault == MACHINE_NOT_PRESENT);
        expect(access.fault == MACHINE_OK && access.phys == GIB(1));
        do {
            machine_tlb_clear(1);
            access = machine_access(1, HIGHER + MIB(2 * round) + KIB(4), MACHINE_READ);
            expect(access.fault == MACHINE_NOT_PRESENT || access.phys == GIB(2) + KIB(4));
        } while (access.page_size != KIB(4));
    }
    return NULL;
}

static void *make_or_walk(void *index)
{
    return (uintptr_t)index == 0 ? make_and_split(NULL) : walk(NULL);
}

static void a_walk_finds_new_tables_filled(void **state)
{
    (void)state;
    world_start((struct world_options){ .frames = 1024 });
    machine_flush_drop(true);
    threads_run(2, make_or_walk);
    world_check();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(P20_P22_cpus_share_tables_that_come_and_go),
        cmocka_unit_test(P21_one_of_several_cpus_gets_the_page),
        cmocka_unit_test(P23_a_dirty_bit_set_during_protect_stays),
        cmocka_unit_test(P23_a_dirty_bit_set_in_mid_protect_stays),
        cmocka_unit_test(P23_a_dirty_bit_set_in_mid_split_stays),
        cmocka_unit_test(a_walk_finds_new_tables_filled),
    };
    return RUN_TESTS(tests);
}
