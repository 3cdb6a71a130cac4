/*
 * paging_pending_test.c - what another CPU finds between a change and its flush; and what
 * a change keeps of a page.
 */
#include <loam/x86.h>

#include "paging_world.h"

#define GLOBAL_RW attr(LOAM_PROT_WRITE | LOAM_PROT_GLOBAL, LOAM_CACHE_WB)
#define GLOBAL_RO attr(LOAM_PROT_READ | LOAM_PROT_GLOBAL, LOAM_CACHE_WB)
#define PAGE_SEEN (HIGHER + KIB(20))

static struct loam_tlb tlb;
static struct loam_space child;

/* Every CPU is known by number, and on the kernel's space. */
static void connected_world(unsigned cpus)
{
    world_start((struct world_options){ .cpus = cpus });
    loam_tlb_init(&tlb, &space.features, cpus);
    loam_tlb_connect(&tlb, &space.tlb, space.root, true);
    for (unsigned cpu = 0; cpu < cpus; cpu++) {
        machine_set_cpu(cpu);
        loam_tlb_online(&tlb);
    }
    machine_set_cpu(0);
    assert_int_equal(loam_space_create(&child, &space), LOAM_OK);
}

/* ---- a merge that is not flushed yet --------------------------------------- */

static unsigned flushes;
static void (*between)(void);
static enum machine_fault seen;

/* The second flush of a protect is that of the merge: its large page is there, and no
 * other CPU has been told. */
static void stop_at_the_merge(const struct loam_tlb_flush *flush)
{
    (void)flush;
    if (++flushes == 2)
        between();
}

/* One page of a large one was different, and becomes like the others. */
static void merge_with(void (*what)(void))
{
    assert_int_equal(protect(HIGHER, KIB(4), GLOBAL_RO), LOAM_OK);
    machine_set_cpu(2);
    loam_space_switch(&child);
    assert_int_equal(machine_access(2, PAGE_SEEN, MACHINE_WRITE).fault, MACHINE_OK);
    loam_space_switch(&space);
    assert_int_equal(machine_access(2, PAGE_SEEN, MACHINE_WRITE).fault, MACHINE_OK);
    machine_set_cpu(0);
    flushes = 0;
    between = what;
    machine_flush_visit(stop_at_the_merge);
    assert_int_equal(protect(HIGHER, KIB(4), GLOBAL_RW), LOAM_OK);
    machine_flush_visit(NULL);
    assert_true(flushes >= 2);
    assert_int_equal(seen, MACHINE_NOT_PRESENT);
}

static void unmap_all_on_cpu_1(void)
{
    machine_set_cpu(1);
    assert_int_equal(unmap(HIGHER, MIB(2)), LOAM_OK);
    seen = machine_access(2, PAGE_SEEN, MACHINE_WRITE).fault;
    machine_set_cpu(0);
}

/* CPU 2 knows small pages; the tables have a large one. */
static void unmap_of_a_page_that_was_just_merged_reaches_small_translations(void **state)
{
    (void)state;
    connected_world(3);
    assert_int_equal(map(HIGHER, MIB(2), GIB(2), GLOBAL_RW), LOAM_OK);
    assert_int_equal(map(HIGHER + MIB(4), KIB(4), GIB(3), GLOBAL_RW), LOAM_OK); /* level 2 stays */
    merge_with(unmap_all_on_cpu_1);
}

static void unmap_one_on_cpu_1(void)
{
    machine_set_cpu(1);
    assert_int_equal(unmap(PAGE_SEEN, KIB(4)), LOAM_OK);
    machine_set_cpu(2);
    loam_space_switch(&child);
    seen = machine_access(2, PAGE_SEEN, MACHINE_WRITE).fault;
    machine_set_cpu(0);
}

/* CPU 2 knows the table that was replaced, under another PCID. The flush of the merge counts
 * nothing for PCIDs that are not loaded: it drops all of them, on a CPU that it has reached. */
static void unmap_of_a_page_that_was_just_merged_reaches_other_pcids(void **state)
{
    (void)state;
    connected_world(3);
    assert_int_equal(map(HIGHER, MIB(2), GIB(2), GLOBAL_RW), LOAM_OK);
    assert_int_equal(map(HIGHER + MIB(4), KIB(4), GIB(3), GLOBAL_RW), LOAM_OK); /* level 2 stays */
    merge_with(unmap_one_on_cpu_1);
}

/* ---- a table that is somebody else's by now --------------------------------- */

static void detach_now(uint64_t virt)
{
    LOAM_SPACE_BATCH(batch, &space);
    assert_int_equal(loam_space_batch_detach(&batch, range(virt, KIB(4))), LOAM_OK);
    loam_space_batch_finish(&batch);
}

/* The table of HIGHER's page has become empty: by itself, or as what was held there is
 * collected, in a batch with a page of another table. */
static void take_the_last_page(bool is_held)
{
    struct loam_virt_range rest = range(HIGHER, KIB(4));
    struct loam_phys_range out;
    if (!is_held) {
        assert_int_equal(unmap(HIGHER, KIB(4)), LOAM_OK);
        return;
    }
    detach_now(HIGHER);
    machine_set_cpu(1); /* it has forgotten the page, and remembers the table again */
    loam_space_switch(&child);
    machine_access(1, HIGHER, MACHINE_READ);
    loam_space_switch(&space);
    machine_set_cpu(0);
    LOAM_SPACE_BATCH(batch, &space);
    assert_int_equal(loam_space_batch_unmap(&batch, range(HIGHER + MIB(4), KIB(4))), LOAM_OK);
    assert_int_equal(loam_space_batch_collect(&batch, &rest, &out, 1), 1);
    loam_space_batch_finish(&batch);
}

/* CPU 1 remembers the table under a PCID that is not loaded. All pages were global. */
static void a_table_that_went_is_forgotten_under_every_pcid(void **state)
{
    (void)state;
    for (unsigned is_held = 0; is_held < 2; is_held++) {
        loam_phys list;
        connected_world(2);
        assert_int_equal(map(HIGHER + MIB(4), KIB(8), GIB(3), GLOBAL_RW), LOAM_OK);
        assert_int_equal(map(HIGHER, KIB(4), GIB(2), GLOBAL_RW), LOAM_OK);
        machine_set_cpu(1);
        loam_space_switch(&child);
        assert_int_equal(machine_access(1, HIGHER, MACHINE_READ).phys, GIB(2));
        loam_space_switch(&space);
        machine_set_cpu(0);
        take_the_last_page(is_held != 0);

        assert_int_equal(loam_stock_take(&stock, 1, &list), LOAM_OK);
        const loam_phys frame = loam_stock_next(&stock, &list);
        uint64_t *const words = machine_ram(frame.addr);
        words[1] = GIB(5) | 3;
        machine_set_cpu(1);
        loam_space_switch(&child);
        assert_int_equal(machine_access(1, HIGHER + KIB(4), MACHINE_READ).fault,
                         MACHINE_NOT_PRESENT);
        loam_space_switch(&space);
        machine_set_cpu(0);
        loam_stock_put(&stock, frame);
        assert_int_equal(loam_space_destroy(&child), LOAM_OK);
        world_check();
    }
}

/* ---- tables of one half, pages of the other -------------------------------- */

/* CPU 1, on another space, remembers a table of the higher half that becomes empty in a
 * batch whose only range is of the lower. */
static void collect_is_flushed_on_cpus_that_have_only_that_half(void **state)
{
    (void)state;
    struct loam_virt_range rest = range(HIGHER, KIB(8));
    struct loam_phys_range out[4];
    connected_world(2);
    assert_int_equal(map(LOWER, KIB(4), GIB(3), RW), LOAM_OK);
    assert_int_equal(map(HIGHER + MIB(4), KIB(4), GIB(3), GLOBAL_RW), LOAM_OK); /* level 2 stays */
    assert_int_equal(map(HIGHER, KIB(4), GIB(2), GLOBAL_RW), LOAM_OK);
    machine_set_cpu(1);
    loam_space_switch(&child);
    machine_set_cpu(0);
    detach_now(HIGHER);
    assert_int_equal(map(HIGHER + KIB(4), KIB(4), GIB(2), GLOBAL_RW), LOAM_OK);
    detach_now(HIGHER + KIB(4));
    machine_access(1, HIGHER + KIB(4), MACHINE_READ); /* faults, and remembers the tables */

    LOAM_SPACE_BATCH(batch, &space);
    assert_int_equal(loam_space_batch_unmap(&batch, range(LOWER, KIB(4))), LOAM_OK);
    assert_int_equal(loam_space_batch_collect(&batch, &rest, out, 4), 2);
    const unsigned before = machine_flush_count();
    loam_space_batch_finish(&batch);
    assert_int_equal(machine_flush_count(), before + 1);
    assert_true(machine_flush_last().is_kernel);
    assert_int_equal(map(HIGHER, KIB(4), GIB(5), GLOBAL_RW), LOAM_OK);
    assert_int_equal(machine_access(1, HIGHER, MACHINE_READ).phys, GIB(5));
}

/* ---- a table that is about to go ------------------------------------------- */

/* A table of level 2 that another CPU has emptied and not yet unlinked, in the middle of
 * what is to become two pages of 1 GiB. */
static void map_P06_takes_the_place_of_a_table_that_is_about_to_go(void **state)
{
    (void)state;
    loam_phys list;
    uint64_t *word;
    world_start((struct world_options){ 0 });
    assert_int_equal(map(HIGHER + GIB(5), GIB(1), GIB(4), RW), LOAM_OK); /* level 3 */
    raw_entry(HIGHER + GIB(1), NULL, &word);
    assert_int_equal(loam_stock_take(&stock, 1, &list), LOAM_OK);
    *word = loam_stock_next(&stock, &list).addr | 0x23; /* present, writable, accessed; no entry */
    space.table_count++;
    assert_int_equal(map(HIGHER, GIB(2), GIB(4), RW), LOAM_OK);
    assert_int_equal(page_size_at(HIGHER + GIB(1)), GIB(1));
    assert_int_equal(space.table_count, 2);
    world_check();
}

/* ---- pages that are not global ------------------------------------------------ */

/* @return is what is cached under other PCIDs counted as stale when a page goes? */
static bool is_counted(uint64_t virt)
{
    const uint64_t before = tlb.kernel_generation;
    assert_int_equal(unmap(virt, KIB(4)), LOAM_OK);
    return tlb.kernel_generation != before;
}

/* With one such page in the higher half all flushes of it cost more: a request that was
 * refused is none. */
static void T10_a_refused_page_that_is_not_global_costs_nothing(void **state)
{
    (void)state;
    connected_world(2);
    assert_int_equal(map(HIGHER, KIB(16), GIB(2), GLOBAL_RW), LOAM_OK);
    assert_int_equal(map(HIGHER, KIB(4), GIB(3), RW), LOAM_OVERLAP);
    assert_int_equal(hold(HIGHER + KIB(16), KIB(4), GIB(3)), LOAM_OK);
    assert_int_equal(publish(HIGHER + KIB(16), KIB(8), RW), LOAM_NOT_FOUND);
    assert_int_equal(protect(HIGHER + KIB(12), KIB(8), RO), LOAM_NOT_FOUND);
    while (!loam_phys_is_none(loam_stock_remove(&stock)))
        world_frames--;
    assert_int_equal(map(HIGHER + GIB(1), KIB(4), GIB(3), RW), LOAM_NO_MEMORY);
    assert_false(is_counted(HIGHER));

    assert_int_equal(map(HIGHER, KIB(4), GIB(3), RW), LOAM_OK);
    assert_true(is_counted(HIGHER + KIB(4)));
    assert_int_equal(collect(HIGHER + KIB(16), KIB(4), NULL), KIB(4));
    assert_int_equal(loam_space_destroy(&child), LOAM_OK);
    world_check();
}

/* ---- how many are asked ------------------------------------------------------- */

static unsigned asked;

static void count_asked(const struct loam_tlb_flush *flush)
{
    for (unsigned cpu = 0; cpu < machine_cpu_count(); cpu++)
        asked += loam_cpu_set_has(&flush->cpus, cpu) ? 1 : 0;
}

/* Of four CPUs one unmaps 1000 pages: one by one, and in one batch. */
static void T02_a_thousand_unmaps_in_a_batch_interrupt_each_cpu_once(void **state)
{
    (void)state;
    connected_world(4);
    for (unsigned batched = 0; batched < 2; batched++) {
        assert_int_equal(map(HIGHER, PAGES(1000), GIB(2) + KIB(4), GLOBAL_RW), LOAM_OK);
        const unsigned before = machine_flush_count();
        asked = 0;
        machine_flush_visit(count_asked);
        LOAM_SPACE_BATCH(batch, &space);
        for (uint64_t i = 0; i < 1000; i++) {
            const struct loam_virt_range page = range(HIGHER + PAGES(i * 7 % 1000), KIB(4));
            assert_int_equal(batched != 0 ? loam_space_batch_unmap(&batch, page)
                                          : loam_space_unmap(&space, page),
                             LOAM_OK);
        }
        loam_space_batch_finish(&batch);
        machine_flush_visit(NULL);
        assert_int_equal(machine_flush_count() - before, batched != 0 ? 1 : 1000);
        assert_int_equal(asked, batched != 0 ? 3 : 3000);
    }
    assert_int_equal(loam_space_destroy(&child), LOAM_OK);
    world_check();
}

/* ---- what is kept ------------------------------------------------------------ */

static void replace_keeps_software_bits_and_that_a_page_is_dirty(void **state)
{
    (void)state;
    struct loam_translation at;
    world_start((struct world_options){ 0 });
    assert_int_equal(map(LOWER, KIB(8), GIB(2), RW), LOAM_OK);
    assert_int_equal(loam_space_set_soft(&space, range(LOWER, KIB(4)), 5), LOAM_OK);
    machine_access(0, LOWER, MACHINE_WRITE);
    LOAM_SPACE_BATCH(batch, &space);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(loam_space_batch_replace(&batch, loam_virt_at(LOWER + PAGES(i)),
                                                  loam_phys_at(GIB(3) + PAGES(i)), RW),
                         LOAM_OK);
    loam_space_batch_finish(&batch);
    assert_int_equal(loam_space_query(&space, loam_virt_at(LOWER), &at), LOAM_OK);
    assert_int_equal(at.phys.addr, GIB(3));
    assert_int_equal(at.soft, 5);
    assert_int_equal(at.bits & LOAM_PAGE_DIRTY, LOAM_PAGE_DIRTY);
    assert_int_equal(loam_space_query(&space, loam_virt_at(LOWER + KIB(4)), &at), LOAM_OK);
    assert_int_equal(at.bits, 0);
    world_check();
}

static void clone_P23_keeps_that_a_page_is_dirty(void **state)
{
    (void)state;
    static struct loam_space parent;
    struct loam_translation at;
    connected_world(2);
    assert_int_equal(loam_space_create(&parent, &space), LOAM_OK);
    assert_int_equal(loam_space_map(&parent, range(LOWER, KIB(8)), loam_phys_at(GIB(2)), RW),
                     LOAM_OK);
    loam_space_switch(&parent);
    machine_access(0, LOWER, MACHINE_WRITE);
    assert_int_equal(loam_space_clone(&child, &parent), LOAM_OK);
    loam_space_switch(&space);
    assert_int_equal(loam_space_query(&child, loam_virt_at(LOWER), &at), LOAM_OK);
    assert_int_equal(at.bits, LOAM_PAGE_DIRTY);
    assert_int_equal(loam_space_query(&child, loam_virt_at(LOWER + KIB(4)), &at), LOAM_OK);
    assert_int_equal(at.bits, 0);
}

/* What is not present names no memory that there is (L1TF): values are small. */
static void marks_name_no_memory(void **state)
{
    (void)state;
    const uint64_t value = 0x1234567;
    world_start((struct world_options){ 0 });
    assert_int_equal(loam_space_tag(&space, range(LOWER, KIB(4)), LOAM_ENTRY_TAG, value), LOAM_OK);
    const struct loam_entry entry = entry_at(LOWER);
    assert_int_equal(entry.value, value);
    assert_true((entry.raw & UINT64_C(0x000ffffffffff000)) >> 46 != 0);
    assert_int_equal(loam_space_untag(&space, range(LOWER, KIB(4))), LOAM_OK);
    world_check();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unmap_of_a_page_that_was_just_merged_reaches_small_translations),
        cmocka_unit_test(unmap_of_a_page_that_was_just_merged_reaches_other_pcids),
        cmocka_unit_test(a_table_that_went_is_forgotten_under_every_pcid),
        cmocka_unit_test(collect_is_flushed_on_cpus_that_have_only_that_half),
        cmocka_unit_test(map_P06_takes_the_place_of_a_table_that_is_about_to_go),
        cmocka_unit_test(T10_a_refused_page_that_is_not_global_costs_nothing),
        cmocka_unit_test(T02_a_thousand_unmaps_in_a_batch_interrupt_each_cpu_once),
        cmocka_unit_test(replace_keeps_software_bits_and_that_a_page_is_dirty),
        cmocka_unit_test(clone_P23_keeps_that_a_page_is_dirty),
        cmocka_unit_test(marks_name_no_memory),
    };
    return RUN_TESTS(tests);
}
