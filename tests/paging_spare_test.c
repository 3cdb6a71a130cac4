/*
 * paging_spare_test.c - spare page tables that several CPUs add, use and give back at the same
 * time: what one has added another may take, or trim away, before it is used.
 */
#include "vmap_world.h"

#include <pthread.h>
#include <stdatomic.h>

#include "threads.h"

#define THREADS 4u
#define ROUNDS  1000u

static _Atomic(unsigned) working;

/* ---- at the same time ------------------------------------------------------- */

/* Each CPU has 512 GiB of its own: three tables for a page there, and 19 or 20 more for
 * 36 MiB of pages that are not where a large one could be. */
static uint64_t own(unsigned cpu)
{
    return UINT64_C(0xffffa00000000000) + GIB(512) * cpu;
}

static enum loam_status map_at(uint64_t at, uint64_t size)
{
    const struct loam_attr attr = { LOAM_PROT_WRITE | LOAM_PROT_GLOBAL, LOAM_CACHE_UC };

    return loam_map(&mm, loam_virt_range_of(loam_virt_at(at), size),
                    loam_phys_at(GIB(1012) + LOAM_PAGE_SIZE), attr);
}

static void come_and_go(unsigned cpu, uint64_t size)
{
    const struct loam_virt_range range = loam_virt_range_of(loam_virt_at(own(cpu)), size);

    expect(map_at(own(cpu), size) == LOAM_OK);
    expect(loam_unmap(&mm, range) == LOAM_OK);
}

/* The first two take many tables at once, the others few, and often. */
static void *map_and_unmap(void *index)
{
    const unsigned cpu = (unsigned)(uintptr_t)index;

    machine_set_cpu(cpu);
    if (cpu < 2) {
        for (unsigned round = 0; round < ROUNDS; round++)
            come_and_go(cpu, MIB(36));
        atomic_fetch_sub(&working, 1);
    }
    while (cpu >= 2 && atomic_load(&working) != 0)
        come_and_go(cpu, LOAM_PAGE_SIZE);
    return NULL;
}

/* A machine of which so few frames are free. */
static void small_memory(unsigned cpus, uint64_t free_pages)
{
    vmap_machine(cpus);
    machine_flush_drop(true); /* who maps there is alone */
    while (total(LOAM_OWNER_USABLE) > PAGES(free_pages))
        assert_false(loam_phys_is_none(loam_take_frames(&mm, 0, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL)));
}

static void check_all_given_back(uint64_t tables)
{
    assert_int_equal(total(LOAM_OWNER_PAGE_TABLES), tables);
    assert_int_equal(atomic_load(&mm.refill_count), 0);
    check_sound();
}

/* All tables that all four ever have at once, and spare ones for each, find room; so none of
 * them may hear that there is no memory. */
static void no_memory_is_not_said_while_there_is_some(void **state)
{
    (void)state;
    small_memory(THREADS, 100);
    const uint64_t tables = total(LOAM_OWNER_PAGE_TABLES);
    atomic_store(&working, 2);
    threads_run(THREADS, map_and_unmap);
    check_all_given_back(tables);
}

/* ---- step by step ------------------------------------------------------------ */

static unsigned visits;

/* Another CPU maps a page and unmaps it, and then has no use for more than
 * LOAM_SPARE_TABLES spare ones. */
static void trim_as_cpu_1(void)
{
    if (loam_port_cpu() != 0 || visits == 100)
        return;
    visits++;
    machine_set_cpu(1);
    come_and_go(1, LOAM_PAGE_SIZE);
}

/* At every moment at which another CPU could be between two steps of this one. */
static void what_was_added_is_not_trimmed_away_before_it_is_used(void **state)
{
    (void)state;
    small_memory(2, 100);
    const uint64_t tables = total(LOAM_OWNER_PAGE_TABLES);
    atomic_store(&thread_failures, 0);
    visits = 0;
    machine_interrupt_visit(trim_as_cpu_1);
    assert_int_equal(map_at(own(0), MIB(36)), LOAM_OK);
    machine_interrupt_visit(NULL);
    assert_true(visits > 10 && visits < 100);
    assert_int_equal(loam_unmap(&mm, loam_virt_range_of(loam_virt_at(own(0)), MIB(36))), LOAM_OK);
    assert_int_equal(atomic_load(&thread_failures), 0);
    check_all_given_back(tables);
}

/* Another CPU has added all frames that there are to the spare tables, and has not used them
 * yet. */
static unsigned visit_wanted;
static uint64_t added;

static void add_all_as_cpu_1(void)
{
    if (loam_port_cpu() != 0 || ++visits != visit_wanted)
        return;
    machine_set_cpu(1);
    while (total(LOAM_OWNER_USABLE) != 0)
        expect(loam_more_tables(&mm, LOAM_NO_MEMORY, &added));
}

/* That, at one moment of a loam_map() which finds no spare table. @return were there as many? */
static bool map_while_all_is_added(unsigned moment)
{
    loam_phys spare[LOAM_SPARE_TABLES];

    small_memory(2, 30);
    const uint64_t tables = total(LOAM_OWNER_PAGE_TABLES);
    const uint64_t count = loam_stock_level(&mm.tables);
    assert_true(count <= LOAM_SPARE_TABLES);
    for (uint64_t i = 0; i < count; i++)
        spare[i] = loam_stock_remove(&mm.tables);
    visits = 0;
    visit_wanted = moment;
    added = 0;
    machine_interrupt_visit(add_all_as_cpu_1);
    assert_int_equal(map_at(own(0), LOAM_PAGE_SIZE), LOAM_OK);
    machine_interrupt_visit(NULL);
    for (uint64_t i = 0; i < count; i++)
        loam_stock_add(&mm.tables, loam_phys_range_of(spare[i], LOAM_PAGE_SIZE));
    assert_false(loam_more_tables(&mm, LOAM_OK, &added));
    assert_int_equal(loam_unmap(&mm, loam_virt_range_of(loam_virt_at(own(0)), LOAM_PAGE_SIZE)),
                     LOAM_OK);
    check_all_given_back(tables);
    return visits >= moment;
}

static void what_another_cpu_has_added_serves_as_well(void **state)
{
    unsigned moment = 1;

    (void)state;
    atomic_store(&thread_failures, 0);
    while (map_while_all_is_added(moment))
        moment++;
    assert_true(moment > 10);
    assert_int_equal(atomic_load(&thread_failures), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_memory_is_not_said_while_there_is_some),
        cmocka_unit_test(what_was_added_is_not_trimmed_away_before_it_is_used),
        cmocka_unit_test(what_another_cpu_has_added_serves_as_well),
    };
    return RUN_TESTS(tests);
}
