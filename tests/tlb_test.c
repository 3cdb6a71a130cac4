/*
 * tlb_test.c - what comes into a batch, and who is asked for it.
 */
#include "tlb_world.h"

#define MIB UINT64_C(0x100000)

static struct loam_tlb_batch batch;

/* ---- spaces that are not connected ----------------------------------------- */

static struct loam_tlb_space nobody;

static const char *log_of_flush(uint64_t start, uint64_t page_count, uint64_t page_size)
{
    struct loam_tlb_flush flush = { .space = &nobody, .range_count = 1 };
    flush.is_full = page_count == 0;
    flush.range[0] = (struct loam_tlb_range){ loam_virt_at(start), page_count, page_size };
    machine_log_start();
    loam_tlb_flush_local(&flush);
    return machine_log();
}

static void local_flush_is_page_by_page(void **state)
{
    (void)state;
    machine_reset(1);
    assert_string_equal(log_of_flush(0x1000, 1, 4096), "cli invlpg=1000 sti");
    assert_string_equal(log_of_flush(0x40000000, 3, 1 << 21),
                        "cli invlpg=40000000 invlpg=40200000 invlpg=40400000 sti");
    /* ... up to the last page of the address space */
    assert_string_equal(log_of_flush(UINT64_MAX - 0x1fff, 2, 4096),
                        "cli invlpg=ffffffffffffe000 invlpg=fffffffffffff000 sti");
}

static void local_flush_T02_of_everything_toggles_pge(void **state)
{
    (void)state;
    machine_reset(1);
    assert_string_equal(log_of_flush(0, 0, 0), "cli cr4=620 cr4=6a0 sti");
    machine_set_interrupts(false); /* as in a handler */
    assert_string_equal(log_of_flush(0, 0, 0), "cli cr4=620 cr4=6a0");
    assert_false(machine_interrupts());
}

static void local_flush_of_everything_without_pge_loads_cr3(void **state)
{
    (void)state;
    machine_reset(1);
    machine_cpu(0)->cr3 = RAM;
    machine_cpu(0)->cr4 &= ~LOAM_CR4_PGE;
    assert_string_equal(log_of_flush(0, 0, 0), "cli cr3=100000 sti");
}

/* Nobody knows who has it: every number up to LOAM_CPUS_MAX is in the set. */
static void unconnected_space_asks_every_cpu(void **state)
{
    (void)state;
    machine_reset(3);
    loam_tlb_batch_begin(&batch, &nobody);
    loam_tlb_batch_add(&batch, pages_at(LOWER(0), 1), LOAM_PAGE_SIZE);
    loam_tlb_batch_flush(&batch);
    assert_int_equal(machine_flush_count(), 1);
    const struct loam_tlb_flush last = machine_flush_last();
    for (unsigned cpu = 0; cpu < LOAM_CPUS_MAX; cpu++)
        assert_true(loam_cpu_set_has(&last.cpus, cpu));
    assert_false(loam_cpu_set_has(&last.cpus, LOAM_CPUS_MAX));
    assert_false(loam_cpu_set_has(&last.cpus, UINT32_MAX));
    assert_int_equal(loam_tlb_disconnect(&nobody), LOAM_OK);
}

/* ---- batches ---------------------------------------------------------------- */

static void batch_with_nothing_in_it_does_nothing(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    loam_tlb_batch_begin(&batch, kernel_space());
    machine_log_start();
    loam_tlb_batch_flush(&batch);
    assert_string_equal(machine_log(), "");
    assert_int_equal(machine_flush_count(), 0);
}

static void batch_joins_ranges_that_touch(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    loam_tlb_batch_begin(&batch, kernel_space());
    for (unsigned i = 0; i < 20; i++)
        loam_tlb_batch_add(&batch, pages_at(HIGHER(i), 1), LOAM_PAGE_SIZE);
    loam_tlb_batch_add(&batch, pages_at(HIGHER(40), 2), LOAM_PAGE_SIZE); /* a gap before */
    loam_tlb_batch_add(&batch, pages_at(HIGHER(39), 1), LOAM_PAGE_SIZE); /* the wrong end */
    loam_tlb_batch_add(&batch, loam_virt_range_of(loam_virt_at(HIGHER(40)), 2 * MIB), 2 * MIB);
    assert_int_equal(batch.flush.range_count, 4);
    assert_int_equal(batch.page_count, 24);
    loam_tlb_batch_flush(&batch);
    const struct loam_tlb_flush last = machine_flush_last();
    assert_int_equal(last.range_count, 4);
    assert_int_equal(last.range[0].page_count, 20);
    assert_int_equal(last.range[3].page_size, 2 * MIB);
    assert_false(last.is_full);
    assert_int_equal(batch.flush.range_count, 0); /* empty again */
    assert_int_equal(batch.page_count, 0);
    assert_ptr_equal(batch.flush.space, kernel_space());
}

static void batch_T02_of_more_pages_is_one_full_flush(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    loam_tlb_batch_begin(&batch, kernel_space());
    loam_tlb_batch_add(&batch, pages_at(HIGHER(0), LOAM_TLB_PAGES_MAX), LOAM_PAGE_SIZE);
    assert_false(batch.flush.is_full);
    loam_tlb_batch_add(&batch, pages_at(HIGHER(LOAM_TLB_PAGES_MAX), 1), LOAM_PAGE_SIZE);
    assert_true(batch.flush.is_full);
    machine_log_start();
    loam_tlb_batch_flush(&batch);
    assert_string_equal(machine_log(), "cli invpcid=2 sti cli invpcid=2");
    assert_int_equal(machine_flush_count(), 1);
    loam_tlb_batch_add(&batch, pages_at(HIGHER(0), UINT64_C(1) << 30), LOAM_PAGE_SIZE);
    loam_tlb_batch_add(&batch, pages_at(HIGHER(0), 1), LOAM_PAGE_SIZE);
    assert_true(batch.flush.is_full);
}

static void batch_T07_of_more_ranges_is_one_full_flush(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    loam_tlb_batch_begin(&batch, kernel_space());
    for (unsigned i = 0; i < LOAM_TLB_RANGES_MAX; i++)
        loam_tlb_batch_add(&batch, pages_at(LOWER(2 * i), 1), LOAM_PAGE_SIZE);
    assert_false(batch.flush.is_full);
    loam_tlb_batch_add(&batch, pages_at(LOWER(2 * LOAM_TLB_RANGES_MAX), 1), LOAM_PAGE_SIZE);
    assert_true(batch.flush.is_full);
    loam_tlb_batch_flush(&batch);
    assert_int_equal(machine_flush_count(), 1);
}

/* The last page and the first one: neither wraps. */
static void batch_takes_both_ends_of_the_address_space(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    loam_tlb_batch_begin(&batch, kernel_space());
    loam_tlb_batch_add(&batch, pages_at(0 - UINT64_C(4096), 1), LOAM_PAGE_SIZE);
    loam_tlb_batch_add(&batch, pages_at(0, 1), LOAM_PAGE_SIZE);
    loam_tlb_batch_add(&batch, pages_at(INT64_MAX - UINT64_C(0xfff), 1), LOAM_PAGE_SIZE);
    machine_log_start();
    loam_tlb_batch_flush(&batch);
    assert_non_null(strstr(machine_log(), "invlpg=fffffffffffff000"));
}

static void batch_requires_whole_pages_in_one_half(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    loam_tlb_batch_begin(&batch, kernel_space());
    const char *const whole = "tlb: range is not whole pages";
    const char *const half = "tlb: range is not in one half";
    EXPECT_PANIC("tlb: no page has this size",
                 loam_tlb_batch_add(&batch, pages_at(LOWER(0), 1), 8192));
    EXPECT_PANIC(whole, loam_tlb_batch_add(&batch, pages_at(LOWER(0), 0), 4096));
    EXPECT_PANIC(whole, loam_tlb_batch_add(&batch, pages_at(LOWER(0) + 1, 1), 4096));
    EXPECT_PANIC(whole, loam_tlb_batch_add(&batch, pages_at(LOWER(0), 1), 2 * MIB));
    EXPECT_PANIC(half, loam_tlb_batch_add(&batch, pages_at(INT64_MAX - UINT64_C(0xfff), 2), 4096));
    EXPECT_PANIC(half, loam_tlb_batch_add(&batch, pages_at(0 - UINT64_C(4096), 2), 4096));
    assert_int_equal(batch.flush.range_count, 0);
}

/* ---- who is asked ------------------------------------------------------------ */

static void flush_T01_asks_nobody_else_if_nobody_has_it(void **state)
{
    (void)state;
    world_start((struct world_options){ .cpus = 3 });
    struct loam_tlb_space *const a = add_space();
    set_lower(a, 0, FRAME | PRESENT);
    change_lower(a, 1, 0); /* nobody has it */
    load_on(0, a);
    assert_int_equal(seen_by(0, LOWER(0)), FRAME);
    change_lower(a, 0, 0); /* only this one */
    assert_int_equal(seen_by(0, LOWER(0)), 0);
    assert_int_equal(machine_flush_count(), 0);
}

static void flush_asks_those_that_have_it(void **state)
{
    (void)state;
    world_start((struct world_options){ .cpus = 4 });
    struct loam_tlb_space *const a = add_space();
    set_lower(a, 0, FRAME | PRESENT);
    for (unsigned cpu = 1; cpu < 4; cpu++) {
        load_on(cpu, a);
        assert_int_equal(seen_by(cpu, LOWER(0)), FRAME);
    }
    load_on(2, kernel_space());
    change_lower(a, 0, 0);
    assert_int_equal(machine_flush_count(), 1);
    const struct loam_tlb_flush last = machine_flush_last();
    assert_int_equal(last.cpus.word[0], 0xa);
    assert_ptr_equal(last.space, a);
    for (unsigned cpu = 1; cpu < 4; cpu++)
        assert_int_equal(seen_by(cpu, LOWER(0)), 0);
    load_on(2, a);
    assert_int_equal(seen_by(2, LOWER(0)), 0);
}

/* A hook that asks too many does no harm. */
static void flush_that_asks_everyone_is_right(void **state)
{
    (void)state;
    world_start((struct world_options){ .cpus = 3 });
    machine_flush_everyone(true);
    struct loam_tlb_space *const a = add_space();
    set_lower(a, 0, FRAME | PRESENT);
    load_on(0, a);
    load_on(1, a);
    machine_set_cpu(2);
    loam_tlb_offline(&tlb);
    machine_set_cpu(0);
    for (unsigned round = 0; round < 3; round++) {
        set_lower(a, 0, FRAME | PRESENT);
        assert_int_equal(seen_by(0, LOWER(0)), FRAME);
        assert_int_equal(seen_by(1, LOWER(0)), FRAME);
        change_lower(a, 0, 0);
        assert_int_equal(seen_by(0, LOWER(0)), 0);
        assert_int_equal(seen_by(1, LOWER(0)), 0);
    }
}

static void flush_of_the_higher_half_asks_all_online(void **state)
{
    (void)state;
    world_start((struct world_options){ .cpus = 4 });
    struct loam_tlb_space *const a = add_space();
    set_higher(0, FRAME | PRESENT | G);
    load_on(2, a);
    machine_set_cpu(1);
    loam_tlb_offline(&tlb);
    machine_set_cpu(0);
    for (unsigned cpu = 0; cpu < 4; cpu++)
        assert_int_equal(seen_by(cpu, HIGHER(0)), FRAME);
    set_higher(0, 0);
    loam_tlb_batch_begin(&batch, kernel_space());
    loam_tlb_batch_add_global(&batch, pages_at(HIGHER(0), 1), LOAM_PAGE_SIZE);
    loam_tlb_batch_flush(&batch);
    assert_int_equal(machine_flush_last().cpus.word[0], 0xc);
    for (unsigned cpu = 0; cpu < 4; cpu++)
        assert_int_equal(seen_by(cpu, HIGHER(0)), cpu == 1 ? FRAME : 0);
    machine_set_cpu(1); /* it drops everything when it comes */
    loam_tlb_online(&tlb);
    assert_int_equal(seen_by(1, HIGHER(0)), 0);
    world_check();
}

static void flush_T06_who_comes_online_later_drops_everything(void **state)
{
    (void)state;
    for (unsigned without = 0; without < 4; without++) {
        world_start((struct world_options){ .no_invpcid = (without & 1) != 0,
                                            .no_pcid = (without & 2) != 0 });
        struct loam_tlb_space *const a = add_space();
        set_lower(a, 0, FRAME | PRESENT);
        load_on(1, a);
        assert_int_equal(seen_by(1, LOWER(0)), FRAME);
        load_on(1, kernel_space());
        machine_set_cpu(1);
        loam_tlb_offline(&tlb);
        machine_set_cpu(0);
        change_lower(a, 0, 0);
        assert_int_equal(machine_flush_count(), 0);
        machine_set_cpu(1);
        loam_tlb_online(&tlb);
        loam_tlb_online(&tlb); /* again is harmless */
        load_on(1, a);
        assert_int_equal(seen_by(1, LOWER(0)), 0);
        world_check();
    }
}

/* CPU 0 has moved: the hook runs on a CPU of the set. */
static void visit_as_cpu_1(const struct loam_tlb_flush *flush)
{
    assert_int_equal(flush->cpus.word[0], 2);
    machine_set_cpu(1);
}

static void flush_T08_whose_caller_migrates_is_right(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    struct loam_tlb_space *const a = add_space();
    set_lower(a, 0, FRAME | PRESENT);
    load_on(0, a);
    load_on(1, a);
    assert_int_equal(seen_by(0, LOWER(0)) + seen_by(1, LOWER(0)), 2 * FRAME);
    machine_flush_visit(visit_as_cpu_1);
    change_lower(a, 0, 0);
    assert_int_equal(seen_by(0, LOWER(0)) + seen_by(1, LOWER(0)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(local_flush_is_page_by_page),
        cmocka_unit_test(local_flush_T02_of_everything_toggles_pge),
        cmocka_unit_test(local_flush_of_everything_without_pge_loads_cr3),
        cmocka_unit_test(unconnected_space_asks_every_cpu),
        cmocka_unit_test(batch_with_nothing_in_it_does_nothing),
        cmocka_unit_test(batch_joins_ranges_that_touch),
        cmocka_unit_test(batch_T02_of_more_pages_is_one_full_flush),
        cmocka_unit_test(batch_T07_of_more_ranges_is_one_full_flush),
        cmocka_unit_test(batch_takes_both_ends_of_the_address_space),
        cmocka_unit_test(batch_requires_whole_pages_in_one_half),
        cmocka_unit_test(flush_T01_asks_nobody_else_if_nobody_has_it),
        cmocka_unit_test(flush_asks_those_that_have_it),
        cmocka_unit_test(flush_that_asks_everyone_is_right),
        cmocka_unit_test(flush_of_the_higher_half_asks_all_online),
        cmocka_unit_test(flush_T06_who_comes_online_later_drops_everything),
        cmocka_unit_test(flush_T08_whose_caller_migrates_is_right),
    };
    return RUN_TESTS(tests);
}
