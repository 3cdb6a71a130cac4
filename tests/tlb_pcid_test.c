/*
 * tlb_pcid_test.c - what a CPU still has when it loads a space again, and what INVLPGB
 * reaches.
 */
#include "tlb_world.h"

#include <stdio.h>

#define MIB UINT64_C(0x100000)
#define GIB UINT64_C(0x40000000)

static struct loam_tlb_batch batch;

/* ---- PCIDs ------------------------------------------------------------------- */

static const char *log_of_switch(struct loam_tlb_space *space)
{
    machine_log_start();
    loam_tlb_switch(&tlb, space);
    return machine_log();
}

static void expect_switch(struct loam_tlb_space *space, unsigned pcid, bool keeps)
{
    char want[64];
    const uint64_t cr3 = space->root.addr | pcid | (keeps ? LOAM_CR3_KEEP : 0);
    (void)snprintf(want, sizeof(want), "cli cr3=%llx sti", (unsigned long long)cr3);
    assert_string_equal(log_of_switch(space), want);
    world_check();
}

static void switch_keeps_what_is_not_stale(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    struct loam_tlb_space *const a = add_space(), *const b = add_space();
    set_lower(a, 0, FRAME | PRESENT);
    expect_switch(a, 1, false);
    assert_string_equal(log_of_switch(a), "cli sti"); /* it is loaded */
    assert_int_equal(seen_by(0, LOWER(0)), FRAME);
    expect_switch(b, 2, false);
    assert_int_equal(seen_by(0, LOWER(0)), 0);
    expect_switch(a, 1, true);
    assert_true(machine_tlb_holds(0, LOWER(0)));
    expect_switch(kernel_space(), 0, true);
    expect_switch(b, 2, true);
    change_lower(a, 0, 0);
    expect_switch(a, 1, false); /* one behind */
    assert_int_equal(seen_by(0, LOWER(0)), 0);
    expect_switch(b, 2, true);
    expect_switch(a, 1, true);
    assert_int_equal(machine_flush_count(), 0);
}

static void switch_reuses_slots_in_turn(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    struct loam_tlb_space *space[LOAM_TLB_SLOTS + 2];
    for (unsigned i = 0; i < LOAM_TLB_SLOTS + 2; i++)
        space[i] = add_space();
    for (unsigned i = 0; i < LOAM_TLB_SLOTS; i++)
        expect_switch(space[i], i + 1, false);
    for (unsigned i = 0; i < LOAM_TLB_SLOTS; i++)
        expect_switch(space[i], i + 1, true);
    expect_switch(space[LOAM_TLB_SLOTS], 1, false);
    expect_switch(space[1], 2, true);
    expect_switch(space[0], 2, false);
    expect_switch(space[2], 3, true);
}

static void switch_without_pcids_flushes(void **state)
{
    (void)state;
    world_start((struct world_options){ .no_pcid = true });
    struct loam_tlb_space *const a = add_space();
    set_lower(a, 0, FRAME | PRESENT);
    set_higher(0, FRAME | PRESENT | G);
    for (unsigned round = 0; round < 2; round++) {
        expect_switch(a, 0, false);
        assert_int_equal(seen_by(0, LOWER(0)), FRAME);
        assert_int_equal(seen_by(0, HIGHER(0)), FRAME);
        expect_switch(kernel_space(), 0, false);
        assert_int_equal(seen_by(0, LOWER(0)), 0);
        assert_true(machine_tlb_holds(0, HIGHER(0)));
    }
    load_on(0, a);
    load_on(1, a);
    assert_int_equal(seen_by(0, LOWER(0)) + seen_by(1, LOWER(0)), 2 * FRAME);
    change_lower(a, 0, 0);
    assert_int_equal(seen_by(0, LOWER(0)) + seen_by(1, LOWER(0)), 0);
    assert_int_equal(machine_flush_count(), 1);
}

/* A new space where an old one was: its slot is not taken for the old one's. */
static void switch_to_a_space_in_the_place_of_another(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    struct loam_tlb_space *const a = add_space();
    const loam_phys root = a->root;
    set_lower(a, 0, FRAME | PRESENT);
    load_on(0, a);
    assert_int_equal(seen_by(0, LOWER(0)), FRAME);
    load_on(0, kernel_space());
    assert_int_equal(loam_tlb_disconnect(a), LOAM_OK);
    set_lower(a, 0, (FRAME + 0x1000) | PRESENT);
    loam_tlb_connect(&tlb, a, root, false);
    load_on(0, a);
    assert_int_equal(seen_by(0, LOWER(0)), FRAME + 0x1000);
}

/* Requests that come in another order than the changes were counted. */
static void flush_that_was_overtaken_drops_all_of_the_space(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    struct loam_tlb_space *const a = add_space();
    set_lower(a, 0, FRAME | PRESENT);
    set_lower(a, 1, FRAME | PRESENT);
    load_on(0, a);
    load_on(1, a);
    machine_flush_drop(true); /* CPU 1 is asked, and does not come to it yet */
    assert_int_equal(seen_by(1, LOWER(0)) + seen_by(1, LOWER(1)), 2 * FRAME);
    change_lower(a, 0, 0);
    const struct loam_tlb_flush first = machine_flush_last();
    change_lower(a, 1, 0);
    const struct loam_tlb_flush second = machine_flush_last();
    assert_int_equal(first.generation + 1, second.generation);
    machine_set_cpu(1);
    loam_tlb_flush_local(&second);
    assert_int_equal(seen_by(1, LOWER(0)) + seen_by(1, LOWER(1)), 0);
    machine_log_start();
    loam_tlb_flush_local(&first); /* it is done already */
    assert_string_equal(machine_log(), "cli sti");
    machine_log_start();
    loam_tlb_flush_local(&second);
    assert_string_equal(machine_log(), "cli sti");
    world_check();
}

/* ---- the higher half under PCIDs ----------------------------------------------- */

/* A page that is not global stays cached under the PCIDs that are not loaded. */
static void flush_T10_of_pages_that_are_not_global_reaches_every_pcid(void **state)
{
    (void)state;
    for (unsigned without = 0; without < 2; without++) {
        world_start((struct world_options){ .no_global_pages = without == 1 });
        struct loam_tlb_space *const a = add_space(), *const b = add_space();
        set_higher(0, FRAME | PRESENT | (without == 1 ? G : 0));
        load_on(0, a);
        assert_int_equal(seen_by(0, HIGHER(0)), FRAME);
        load_on(0, b);
        assert_int_equal(seen_by(0, HIGHER(0)), FRAME);
        set_higher(0, 0);
        loam_tlb_batch_begin(&batch, kernel_space());
        if (without == 1)
            loam_tlb_batch_add_global(&batch, pages_at(HIGHER(0), 1), LOAM_PAGE_SIZE);
        else
            loam_tlb_batch_add(&batch, pages_at(HIGHER(0), 1), LOAM_PAGE_SIZE);
        loam_tlb_batch_flush(&batch);
        assert_int_equal(seen_by(0, HIGHER(0)), 0);
        expect_switch(a, 1, false);
        assert_int_equal(seen_by(0, HIGHER(0)), 0);
        expect_switch(b, 2, true); /* it was loaded, and asked */
        assert_int_equal(seen_by(0, HIGHER(0)), 0);
    }
}

/* Global pages alone cost the other PCIDs nothing; tables do. */
static void flush_T10_of_tables_reaches_every_pcid(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 2; round++) {
        world_start((struct world_options){ 0 });
        struct loam_tlb_space *const a = add_space();
        set_higher(0, FRAME | PRESENT | G);
        load_on(0, a);
        assert_int_equal(seen_by(0, HIGHER(0)), FRAME); /* and the way there */
        load_on(0, kernel_space());
        set_higher(0, 0);
        set_higher(1, POISON | PRESENT | G); /* the old table is somebody else's now */
        *entry_of(world.shared.middle, 1) = 0;
        loam_tlb_batch_begin(&batch, kernel_space());
        loam_tlb_batch_add_global(&batch, pages_at(HIGHER(0), 1), LOAM_PAGE_SIZE);
        if (round == 1)
            loam_tlb_batch_tables(&batch);
        loam_tlb_batch_flush(&batch);
        expect_switch(a, 1, round == 0);
        assert_int_equal(seen_by(0, HIGHER(1)), round == 0 ? POISON : 0);
    }
}

static void flush_of_tables_alone_is_a_full_one(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    struct loam_tlb_space *const a = add_space();
    load_on(0, a);
    loam_tlb_batch_begin(&batch, a);
    loam_tlb_batch_tables(&batch);
    machine_log_start();
    loam_tlb_batch_flush(&batch);
    char want[64];
    (void)snprintf(want, sizeof(want), "cli cr3=%llx sti", (unsigned long long)a->root.addr | 1);
    assert_string_equal(machine_log(), want);
    assert_false(batch.has_tables);
}

/* Of a space: its lower half, not what is global. Of the kernel space: everything. */
static void flush_T10_of_everything_by_the_kind_of_space(void **state)
{
    (void)state;
    for (unsigned without = 0; without < 4; without++) {
        world_start((struct world_options){ .no_invpcid = (without & 1) != 0,
                                            .no_global_pages = (without & 2) != 0 });
        struct loam_tlb_space *const a = add_space(), *const b = add_space();
        set_lower(a, 0, FRAME | PRESENT);
        set_lower(b, 0, FRAME | PRESENT);
        set_higher(0, FRAME | PRESENT | G);
        for (unsigned cpu = 0; cpu < 2; cpu++) {
            load_on(cpu, b);
            assert_int_equal(seen_by(cpu, LOWER(0)), FRAME);
            load_on(cpu, a);
            assert_int_equal(seen_by(cpu, HIGHER(0)) + seen_by(cpu, LOWER(0)), 2 * FRAME);
        }
        set_lower(a, 0, 0);
        loam_tlb_batch_begin(&batch, a);
        loam_tlb_batch_full(&batch);
        loam_tlb_batch_flush(&batch);
        for (unsigned cpu = 0; cpu < 2; cpu++) {
            assert_int_equal(seen_by(cpu, LOWER(0)), 0);
            assert_int_equal(machine_tlb_holds(cpu, HIGHER(0)), (without & 2) == 0);
        }
        seen_by(0, HIGHER(0));
        seen_by(1, HIGHER(0));
        set_higher(0, 0);
        set_lower(b, 0, 0); /* not the flush's business, but the slot is empty, too */
        loam_tlb_batch_begin(&batch, kernel_space());
        loam_tlb_batch_full(&batch);
        loam_tlb_batch_flush(&batch);
        for (unsigned cpu = 0; cpu < 2; cpu++) {
            assert_int_equal(seen_by(cpu, HIGHER(0)), 0);
            load_on(cpu, b);
            assert_int_equal(seen_by(cpu, LOWER(0)), 0);
        }
        world_check();
    }
}

/* The kernel space has a lower half as well: of those that have it loaded. */
static void flush_of_both_halves_in_one_batch(void **state)
{
    (void)state;
    world_start((struct world_options){ .cpus = 3 });
    struct loam_tlb_space *const a = add_space();
    set_lower(kernel_space(), 0, FRAME | PRESENT);
    set_higher(0, FRAME | PRESENT | G);
    for (unsigned cpu = 0; cpu < 3; cpu++)
        assert_int_equal(seen_by(cpu, LOWER(0)) + seen_by(cpu, HIGHER(0)), 2 * FRAME);
    load_on(2, a);
    set_lower(kernel_space(), 0, 0);
    set_higher(0, 0);
    loam_tlb_batch_begin(&batch, kernel_space());
    loam_tlb_batch_add(&batch, pages_at(LOWER(0), 1), LOAM_PAGE_SIZE);
    loam_tlb_batch_add_global(&batch, pages_at(HIGHER(0), 1), LOAM_PAGE_SIZE);
    loam_tlb_batch_flush(&batch);
    assert_int_equal(machine_flush_last().cpus.word[0], 6);
    load_on(2, kernel_space());
    for (unsigned cpu = 0; cpu < 3; cpu++)
        assert_int_equal(seen_by(cpu, LOWER(0)) + seen_by(cpu, HIGHER(0)), 0);
}

/* ---- INVLPGB ------------------------------------------------------------------- */

static const char *log_of_batch(void)
{
    machine_log_start();
    loam_tlb_batch_flush(&batch);
    return machine_log();
}

static void invlpgb_asks_nobody(void **state)
{
    (void)state;
    world_start((struct world_options){ .cpus = 3, .invlpgb_pages = 4 });
    struct loam_tlb_space *const a = add_space();
    set_lower(a, 0, FRAME | PRESENT);
    load_on(0, a);
    change_lower(a, 1, 0); /* just here */
    load_on(1, a);
    load_on(2, a);
    for (unsigned cpu = 0; cpu < 3; cpu++)
        assert_int_equal(seen_by(cpu, LOWER(0)), FRAME);
    load_on(2, kernel_space());
    set_lower(a, 0, 0);
    loam_tlb_batch_begin(&batch, a);
    loam_tlb_batch_add(&batch, pages_at(LOWER(0), 1), LOAM_PAGE_SIZE);
    assert_string_equal(log_of_batch(), "cli invlpgb=4020000d tlbsync sti");
    load_on(2, a);
    for (unsigned cpu = 0; cpu < 3; cpu++)
        assert_int_equal(seen_by(cpu, LOWER(0)), 0);
    assert_int_equal(machine_flush_count(), 0);
}

/*
 *   4 pages each: [0 .. 4) [4 .. 8) [8, 9)   2 MiB: its stride   1 GiB: one by one
 */
static void invlpgb_takes_as_many_pages_as_the_cpu_says(void **state)
{
    (void)state;
    world_start((struct world_options){ .invlpgb_pages = 4 });
    loam_tlb_batch_begin(&batch, kernel_space());
    loam_tlb_batch_add_global(&batch, pages_at(UINT64_C(0xffff800000000000), 9), LOAM_PAGE_SIZE);
    assert_string_equal(log_of_batch(), "cli invlpgb=ffff80000000000d invlpgb=ffff80000000400d "
                                        "invlpgb=ffff80000000800d tlbsync sti");
    loam_tlb_batch_add_global(
        &batch, loam_virt_range_of(loam_virt_at(UINT64_C(0xffff800000000000)), 10 * MIB), 2 * MIB);
    assert_string_equal(log_of_batch(), "cli invlpgb=ffff80000000000d invlpgb=ffff80000080000d "
                                        "tlbsync sti");
    loam_tlb_batch_add_global(
        &batch, loam_virt_range_of(loam_virt_at(UINT64_C(0xffff800000000000)), 2 * GIB), GIB);
    assert_string_equal(log_of_batch(), "cli invlpgb=ffff80000000000d invlpgb=ffff80004000000d "
                                        "tlbsync sti");
}

static void invlpgb_of_tables_and_of_everything(void **state)
{
    (void)state;
    world_start((struct world_options){ .invlpgb_pages = 4 });
    struct loam_tlb_space *const a = add_space();
    load_on(1, a);
    loam_tlb_batch_begin(&batch, a);
    loam_tlb_batch_add(&batch, pages_at(LOWER(0), 1), LOAM_PAGE_SIZE);
    loam_tlb_batch_tables(&batch);
    assert_string_equal(log_of_batch(), "cli invlpgb=4020000d invlpgb=4 tlbsync sti");
    loam_tlb_batch_full(&batch);
    assert_string_equal(log_of_batch(), "cli invlpgb=4 tlbsync sti");
    loam_tlb_batch_begin(&batch, kernel_space());
    loam_tlb_batch_full(&batch);
    assert_string_equal(log_of_batch(), "cli invlpgb=c tlbsync sti");
    assert_int_equal(machine_flush_count(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(switch_keeps_what_is_not_stale),
        cmocka_unit_test(switch_reuses_slots_in_turn),
        cmocka_unit_test(switch_without_pcids_flushes),
        cmocka_unit_test(switch_to_a_space_in_the_place_of_another),
        cmocka_unit_test(flush_that_was_overtaken_drops_all_of_the_space),
        cmocka_unit_test(flush_T10_of_pages_that_are_not_global_reaches_every_pcid),
        cmocka_unit_test(flush_T10_of_tables_reaches_every_pcid),
        cmocka_unit_test(flush_of_tables_alone_is_a_full_one),
        cmocka_unit_test(flush_T10_of_everything_by_the_kind_of_space),
        cmocka_unit_test(flush_of_both_halves_in_one_batch),
        cmocka_unit_test(invlpgb_asks_nobody),
        cmocka_unit_test(invlpgb_takes_as_many_pages_as_the_cpu_says),
        cmocka_unit_test(invlpgb_of_tables_and_of_everything),
    };
    return RUN_TESTS(tests);
}
