/*
 * paging_escape_test.c - what kernels with ideas of their own do to page tables that Loam
 * made: raw entries, software bits, code in the direct map, devices beside RAM.
 */
#include "paging_world.h"

#define DIRECT UINT64_C(0xffff800000000000) /* of the kernel in these tests */

/* The entry's place can be read through the direct map, and holds what was said. */
static void entry_says_where_it_is(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    const uint64_t sizes[] = { KIB(4), MIB(2), GIB(1) };
    for (unsigned i = 0; i < 3; i++) {
        const uint64_t virt = HIGHER + GIB(4 * i);
        assert_int_equal(map(virt, sizes[i], GIB(2), RW), LOAM_OK);
        const struct loam_entry entry = entry_at(virt + sizes[i] - 1);
        assert_int_equal(entry.kind, LOAM_ENTRY_PAGE);
        assert_int_equal(entry.level, i + 1);
        assert_int_equal(entry.page_size, sizes[i]);
        assert_int_equal(entry.raw, raw_entry(virt, NULL, NULL));
        assert_int_equal(*(uint64_t *)machine_ram(entry.where.addr), entry.raw);
    }
    const struct loam_entry nothing = entry_at(HIGHER + KIB(8));
    assert_int_equal(nothing.kind, LOAM_ENTRY_EMPTY);
    assert_int_equal(nothing.raw, 0);
    world_check();
}

/* Loam keeps bits 9 to 11 through all that it does to a page. */
static void software_bits_stay_where_they_were_put(void **state)
{
    (void)state;
    struct loam_translation seen;
    world_start((struct world_options){ 0 });
    assert_int_equal(map(HIGHER, MIB(2), GIB(2), RW), LOAM_OK);
    assert_int_equal(loam_space_set_soft(&space, range(HIGHER, MIB(2)), 5), LOAM_OK);
    assert_int_equal(raw_entry(HIGHER, NULL, NULL) & 0xe00, 0xa00);
    assert_int_equal(protect(HIGHER + KIB(8), KIB(4), RO), LOAM_OK); /* splits */
    for (uint64_t at = 0; at < MIB(2); at += KIB(4)) {
        assert_int_equal(loam_space_query(&space, loam_virt_at(HIGHER + at), &seen), LOAM_OK);
        assert_int_equal(seen.soft, 5);
    }
    assert_int_equal(loam_space_set_soft(&space, range(HIGHER, KIB(4)), 2), LOAM_OK);
    assert_int_equal(protect(HIGHER, MIB(2), RW), LOAM_OK);
    assert_int_equal(page_size_at(HIGHER), KIB(4)); /* not alike */
    assert_int_equal(loam_space_set_soft(&space, range(HIGHER, KIB(4)), 5), LOAM_OK);
    assert_int_equal(page_size_at(HIGHER), MIB(2));
    assert_int_equal(loam_space_set_soft(&space, range(HIGHER, MIB(2)), 8), LOAM_INVALID);
    world_check();
}

/* A page of the direct map becomes code, and data again: that page alone. */
static void a_page_of_the_direct_map_becomes_executable(void **state)
{
    (void)state;
    const uint64_t code = DIRECT + GIB(1) + MIB(6) + KIB(16);
    const struct loam_attr data = attr(LOAM_PROT_WRITE | LOAM_PROT_GLOBAL, LOAM_CACHE_WB);
    const struct loam_attr text = attr(LOAM_PROT_EXEC | LOAM_PROT_GLOBAL, LOAM_CACHE_WB);
    world_start((struct world_options){ 0 });
    assert_int_equal(map(DIRECT, GIB(4), 0, data), LOAM_OK);
    assert_int_equal(space.table_count, 2);
    assert_int_equal(protect(code, KIB(4), text), LOAM_OK);
    assert_int_equal(machine_access(1, code, MACHINE_EXEC).fault, MACHINE_OK);
    assert_int_equal(machine_access(1, code, MACHINE_WRITE).fault, MACHINE_PROTECTION);
    assert_int_equal(machine_access(1, code + KIB(4), MACHINE_EXEC).fault, MACHINE_PROTECTION);
    assert_int_equal(page_size_at(DIRECT), GIB(1)); /* its neighbours are as large as before */
    assert_int_equal(page_size_at(DIRECT + GIB(1)), MIB(2));
    assert_int_equal(space.table_count, 4);
    assert_int_equal(protect(code, KIB(4), data), LOAM_OK);
    assert_int_equal(space.table_count, 2); /* and so are they all */
    assert_int_equal(page_size_at(code), GIB(1));
    world_check();
}

/* Registers beside RAM at the direct map's offset, and not with RAM's cache type. */
static void a_device_is_mapped_at_its_place_in_the_direct_map(void **state)
{
    (void)state;
    const uint64_t apic = UINT64_C(0xfee00000);
    const struct loam_attr ram = attr(LOAM_PROT_WRITE | LOAM_PROT_GLOBAL, LOAM_CACHE_WB);
    const struct loam_attr device = attr(LOAM_PROT_WRITE | LOAM_PROT_GLOBAL, LOAM_CACHE_UC);
    world_start((struct world_options){ 0 });
    assert_int_equal(map(DIRECT, GIB(2), 0, ram), LOAM_OK);
    assert_int_equal(map(DIRECT + apic, KIB(4), apic, device), LOAM_OK);
    expect_page(DIRECT + apic, apic, device);
    expect_nothing(DIRECT + apic + KIB(4));
    assert_int_equal(unmap(DIRECT + apic, KIB(4)), LOAM_OK);
    world_check();
}

/* The frame behind a page changes under who reads it: one or the other, never none. */
static void a_live_page_gets_another_frame(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    assert_int_equal(map(HIGHER, MIB(2), GIB(2), RW), LOAM_OK);
    expect_page(HIGHER + KIB(4), GIB(2) + KIB(4), RW);
    LOAM_SPACE_BATCH(batch, &space);
    assert_int_equal(
        loam_space_batch_replace(&batch, loam_virt_at(HIGHER + KIB(4)), loam_phys_at(GIB(7)), RO),
        LOAM_OK);
    /* Before the end of the batch a CPU may still see the old one. */
    assert_int_equal(machine_access(0, HIGHER + KIB(4), MACHINE_READ).phys, GIB(2) + KIB(4));
    loam_space_batch_finish(&batch);
    expect_page(HIGHER + KIB(4), GIB(7), RO);
    expect_page(HIGHER, GIB(2), RW);
    expect_page(HIGHER + KIB(8), GIB(2) + KIB(8), RW);
    world_check();
}

/* Who walks a space may change it on the way: it is asked anew for each run. */
static void next_P29_goes_on_though_the_tables_change(void **state)
{
    (void)state;
    struct loam_mapping run;
    uint64_t at = 0;
    unsigned runs = 0;
    world_start((struct world_options){ 0 });
    for (uint64_t i = 0; i < 20; i++)
        assert_int_equal(map(HIGHER + MIB(3 * i), KIB(8), GIB(2), RW), LOAM_OK);
    while (loam_space_next(&space, loam_virt_at(at), &run) == LOAM_OK) {
        at = run.virt.start.addr + run.virt.size;
        assert_int_equal(run.virt.start.addr, HIGHER + MIB(3 * runs));
        assert_int_equal(unmap(run.virt.start.addr, run.virt.size), LOAM_OK);
        assert_int_equal(map(run.virt.start.addr - KIB(64), KIB(4), GIB(3), RW), LOAM_OK);
        runs++;
    }
    assert_int_equal(runs, 20);
    world_check();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entry_says_where_it_is),
        cmocka_unit_test(software_bits_stay_where_they_were_put),
        cmocka_unit_test(a_page_of_the_direct_map_becomes_executable),
        cmocka_unit_test(a_device_is_mapped_at_its_place_in_the_direct_map),
        cmocka_unit_test(a_live_page_gets_another_frame),
        cmocka_unit_test(next_P29_goes_on_though_the_tables_change),
    };
    return RUN_TESTS(tests);
}
