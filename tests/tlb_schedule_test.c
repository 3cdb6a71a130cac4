/*
 * tlb_schedule_test.c - flushes, switches and the comings and goings of CPUs under every
 * schedule (schedule.h) of two or three CPUs, on a processor of its own.
 *
 *     no CPU that is online gets to a frame, or through a table, that was freed: not by
 *     its TLB, not by what it remembers of upper levels, not speculatively
 *
 * Frames and tables are freed as soon as a flush has returned. Other CPUs see what was stored to
 * a table when a processor must make it seen, not before. A CPU uses everything it
 * can reach whenever it loads CR3 and between its calls. Interrupts come as soon as they
 * are on, in a CPU's own time; what comes to a CPU that has done all it does, comes at
 * once.
 */
#include "tlb_schedule_world.h"

/* ---- what they do ---------------------------------------------------------- */

enum does {
    STOP,
    TO_KERNEL,
    TO_A,
    TO_B,
    UNMAP_A0, /* page 0 of A */
    UNMAP_A1,
    UNLINK_A, /* its table */
    FULL_A,   /* both pages, by a full flush */
    FULL_A0,  /* one */
    UNMAP_0,  /* of the higher half */
    UNMAP_1,
    UNLINK,
    END_A, /* free all of it, unless somebody has it */
    OFF,
    ON,
};

#define CALLS 5u

static const enum does (*script)[CALLS];

static struct loam_virt_range page_range(unsigned half, unsigned page)
{
    const uint64_t base = half == HIGHER_HALF ? HIGHER_BASE : 0;
    return loam_virt_range_of(loam_virt_at(base + page * LOAM_PAGE_SIZE), LOAM_PAGE_SIZE);
}

/* Pages [first, end) go, and their frames when that is known to all. */
static void unmap(unsigned space, unsigned half, unsigned first, unsigned end, bool is_full)
{
    struct loam_tlb_batch batch;
    struct sim_table *const table = &now.table[table_of(space, half)];

    schedule_step();
    loam_tlb_batch_begin(&batch, &now.space[space]);
    for (unsigned page = first; page < end; page++) {
        clear_entry(table_of(space, half), page);
        if (half == HIGHER_HALF && is_global)
            loam_tlb_batch_add_global(&batch, page_range(half, page), LOAM_PAGE_SIZE);
        else
            loam_tlb_batch_add(&batch, page_range(half, page), LOAM_PAGE_SIZE);
    }
    if (is_full)
        loam_tlb_batch_full(&batch);
    loam_tlb_batch_flush(&batch);
    for (unsigned page = first; page < end; page++)
        table->is_frame_freed[page] = true;
}

static void unlink_table(unsigned space, unsigned half)
{
    struct loam_tlb_batch batch;
    struct sim_table *const table = &now.table[table_of(space, half)];

    schedule_step();
    clear_entry(table_of(space, half), LINK);
    loam_tlb_batch_begin(&batch, &now.space[space]);
    for (unsigned page = 0; page < PAGES; page++) {
        if (half == HIGHER_HALF && is_global)
            loam_tlb_batch_add_global(&batch, page_range(half, page), LOAM_PAGE_SIZE);
        else
            loam_tlb_batch_add(&batch, page_range(half, page), LOAM_PAGE_SIZE);
    }
    loam_tlb_batch_tables(&batch);
    loam_tlb_batch_flush(&batch);
    table->is_freed = true;
    for (unsigned page = 0; page < PAGES; page++)
        table->is_frame_freed[page] = true;
}

static void end_space(unsigned space)
{
    if (loam_tlb_disconnect(&now.space[space]) != LOAM_OK)
        return;
    now.is_root_freed[space] = true;
    now.table[space].is_freed = true;
    for (unsigned page = 0; page < PAGES; page++)
        now.table[space].is_frame_freed[page] = true;
}

static void go(unsigned self)
{
    now.cpu[self].is_offline = true;
    loam_tlb_offline(&now.tlb);
}

static void do_one(unsigned self, enum does what)
{
    switch (what) {
    case TO_KERNEL:
    case TO_A:
    case TO_B:
        loam_tlb_switch(&now.tlb, &now.space[what - TO_KERNEL]);
        break;
    case UNMAP_A0:
    case UNMAP_A1:
        unmap(1, LOWER_HALF, what - UNMAP_A0, what - UNMAP_A0 + 1, false);
        break;
    case FULL_A:
        unmap(1, LOWER_HALF, 0, PAGES, true);
        break;
    case FULL_A0:
        unmap(1, LOWER_HALF, 0, 1, true);
        break;
    case UNMAP_0:
    case UNMAP_1:
        unmap(0, HIGHER_HALF, what - UNMAP_0, what - UNMAP_0 + 1, false);
        break;
    case UNLINK_A:
        unlink_table(1, LOWER_HALF);
        break;
    case UNLINK:
        unlink_table(0, HIGHER_HALF);
        break;
    case END_A:
        end_space(1);
        break;
    case OFF:
        go(self);
        break;
    default:
        loam_tlb_online(&now.tlb);
        break;
    }
}

static void run_script(unsigned self)
{
    for (unsigned i = 0; i < CALLS && script[self][i] != STOP; i++) {
        serve(self);
        use_all(self);
        do_one(self, script[self][i]);
        serve(self);
        use_all(self);
    }
}

static void restart(void)
{
    now = at_start;
}

static void finish(void)
{
    const char *const broken = loam_tlb_audit(&now.tlb);
    if (broken != NULL)
        (void)fprintf(stderr, "%s: ", broken);
    SCHEDULE_REQUIRE(broken == NULL);
    for (unsigned cpu = 0; cpu < CPUS_MAX; cpu++)
        use_all(cpu);
}

/* ---- worlds ------------------------------------------------------------------ */

/* Features of this round of explore_calls(). */
static struct loam_cpu_features features;

/* All CPUs online, on the spaces of @p loaded, having used all of A, B and those. */
static void begin_with(const unsigned loaded[CPUS_MAX])
{
    memset(&now, 0, sizeof now);
    loam_tlb_init(&now.tlb, &features, CPUS_MAX);
    for (unsigned i = 0; i < SPACES; i++)
        loam_tlb_connect(&now.tlb, &now.space[i], loam_phys_at((i + 1) * LOAM_PAGE_SIZE), i == 0);
    for (unsigned i = 0; i < TABLES; i++) {
        now.table[i].is_linked = true;
        for (unsigned page = 0; page < PAGES; page++)
            now.table[i].frame[page] = i * PAGES + page + 1;
    }
    for (unsigned cpu = 0; cpu < CPUS_MAX; cpu++) {
        acting = (int)cpu;
        now.cpu[cpu].cr3 = now.space[0].root.addr;
        now.cpu[cpu].cr4 = LOAM_CR4_PGE;
        loam_tlb_online(&now.tlb);
        for (unsigned i = SPACES; i-- > 0;) {
            loam_tlb_switch(&now.tlb, &now.space[i]);
            use_all(cpu);
        }
        loam_tlb_switch(&now.tlb, &now.space[loaded[cpu]]);
        use_all(cpu);
    }
    acting = -1;
    at_start = now;
}

/* With PCIDs and INVPCID, and without; pages of the higher half global, and not; by
 * requests, and by INVLPGB. */
static void explore_calls(const unsigned loaded[CPUS_MAX], const enum does (*calls)[CALLS],
                          unsigned cpus, unsigned changes)
{
    const struct schedule_world world = { cpus, restart, run_script, finish };

    script = calls;
    for (unsigned kind = 0; kind < 8; kind++) {
        features = (struct loam_cpu_features){ .global_pages = true };
        features.pcid = features.invpcid = (kind & 1) != 0;
        is_global = (kind & 2) != 0;
        features.invlpgb = (kind & 4) != 0;
        features.invlpgb_pages = 1;
        begin_with(loaded);
        explore(&world, changes);
    }
}

static void flush_T06_meets_who_loads_the_space(void **state)
{
    static const unsigned loaded[CPUS_MAX] = { 1, 0, 2 };
    static const enum does page[3][CALLS] = { { UNMAP_A0 }, { TO_A, TO_KERNEL, TO_A } };
    static const enum does table[3][CALLS] = { { UNLINK_A }, { TO_A, TO_B, TO_A } };
    static const enum does full[3][CALLS] = { { FULL_A }, { TO_A, TO_B, TO_A } };
    static const enum does two[3][CALLS] = { { UNMAP_A0, UNMAP_A1 }, { TO_A, TO_KERNEL, TO_A } };

    (void)state;
    explore_calls(loaded, page, 2, 2);
    explore_calls(loaded, table, 2, 2);
    explore_calls(loaded, full, 2, 2);
    explore_calls(loaded, two, 2, 2);
}

/* By a CPU that has not even loaded it: just the generation. */
static void flush_T06_meets_who_leaves_the_space(void **state)
{
    static const unsigned loaded[CPUS_MAX] = { 0, 1, 1 };
    static const enum does page[3][CALLS] = { { UNMAP_A0 }, { TO_B, TO_A } };
    static const enum does table[3][CALLS] = { { UNLINK_A }, { TO_KERNEL, TO_A } };
    static const enum does three[3][CALLS] = { { UNLINK_A }, { TO_B, TO_A }, { TO_B } };

    (void)state;
    explore_calls(loaded, page, 2, 2);
    explore_calls(loaded, table, 2, 2);
    explore_calls(loaded, three, 3, 2);
}

static void flush_T05_of_two_at_the_same_time(void **state)
{
    static const unsigned loaded[CPUS_MAX] = { 1, 1, 1 };
    static const enum does lower[3][CALLS] = { { UNMAP_A0 }, { UNMAP_A1 } };
    static const enum does higher[3][CALLS] = { { UNMAP_0 }, { UNMAP_1 } };
    static const enum does both[3][CALLS] = { { UNLINK_A }, { UNLINK } };

    (void)state;
    explore_calls(loaded, lower, 2, 3);
    explore_calls(loaded, higher, 2, 2);
    explore_calls(loaded, both, 2, 2);
}

/* Requests of two reach the third one in either order, or when it has left. */
static void flush_T11_frees_nothing_before_all_have_answered(void **state)
{
    static const unsigned loaded[CPUS_MAX] = { 1, 1, 1 };
    static const enum does stays[3][CALLS] = { { UNMAP_A0 }, { UNMAP_A1 }, { TO_A } };
    static const enum does moves[3][CALLS] = { { UNMAP_A0 }, { UNMAP_A1 }, { TO_B, TO_A } };
    static const enum does full[3][CALLS] = { { FULL_A0 }, { TO_A }, { UNMAP_A1 } };

    (void)state;
    explore_calls(loaded, stays, 3, 2);
    explore_calls(loaded, moves, 3, 2);
    explore_calls(loaded, full, 3, 2);
}

/* What is not global, and tables, under PCIDs that are not loaded. */
static void flush_T10_of_the_higher_half_meets_switches(void **state)
{
    static const unsigned loaded[CPUS_MAX] = { 0, 1, 2 };
    static const enum does page[3][CALLS] = { { UNMAP_0 }, { TO_B, TO_A } };
    static const enum does two[3][CALLS] = { { UNMAP_0 }, { TO_B, TO_KERNEL }, { UNMAP_1, TO_A } };
    static const enum does table[3][CALLS] = { { UNLINK }, { TO_B, TO_A } };

    (void)state;
    explore_calls(loaded, page, 2, 2);
    explore_calls(loaded, table, 2, 2);
    explore_calls(loaded, two, 3, 2);
}

/* Two changes of pages that are not global; the second one is asked for first, and
 * the space that is loaded then is left before the first one is. */
static void flush_T10_that_was_overtaken_meets_a_switch(void **state)
{
    static const unsigned loaded[CPUS_MAX] = { 0, 1, 0 };
    static const enum does calls[3][CALLS] = { { UNMAP_0 }, { TO_B, TO_A }, { UNMAP_1 } };
    const struct schedule_world world = { 3, restart, run_script, finish };

    (void)state;
    features = (struct loam_cpu_features){ .global_pages = true, .pcid = true, .invpcid = true };
    is_global = false;
    begin_with(loaded);
    script = calls;
    explore(&world, 3);
}

static void flush_T06_meets_who_comes_and_goes(void **state)
{
    static const unsigned loaded[CPUS_MAX] = { 0, 0, 0 };
    static const enum does higher[3][CALLS] = { { UNMAP_0, UNMAP_1 }, { OFF, ON } };
    static const enum does table[3][CALLS] = { { UNLINK }, { OFF, ON, TO_A } };
    static const enum does lower[3][CALLS] = { { TO_A, UNMAP_A0 }, { OFF, ON, TO_A } };

    (void)state;
    explore_calls(loaded, higher, 2, 2);
    explore_calls(loaded, table, 2, 2);
    explore_calls(loaded, lower, 2, 2);
}

/* The end of a space that CPUs are about to leave. */
static void disconnect_P24_meets_who_leaves(void **state)
{
    static const unsigned loaded[CPUS_MAX] = { 1, 1, 0 };
    static const enum does calls[3][CALLS] = { { TO_KERNEL, END_A }, { TO_B, TO_KERNEL } };

    (void)state;
    explore_calls(loaded, calls, 2, 3);
}

/* INVLPGB needs no request; nor does a space that nobody else has. */
static void flush_T01_asks_nobody_where_that_is_not_needed(void **state)
{
    static const unsigned loaded[CPUS_MAX] = { 1, 0, 2 };
    static const enum does calls[3][CALLS] = { { UNMAP_A0, FULL_A }, { TO_B, TO_KERNEL } };
    const struct schedule_world world = { 2, restart, run_script, finish };

    (void)state;
    features = (struct loam_cpu_features){ .global_pages = true, .pcid = true, .invpcid = true };
    begin_with(loaded);
    script = calls;
    explore(&world, 2);
    assert_int_equal(now.asked_count, 0);
}

/* Who walks after it, and before the stores are seen, caches what was there. */
static void invlpgb_comes_after_the_stores_to_the_tables(void **state)
{
    static const unsigned loaded[CPUS_MAX] = { 1, 1, 0 };
    static const enum does lower[3][CALLS] = { { UNMAP_A0, FULL_A }, { TO_A, TO_A } };
    static const enum does higher[3][CALLS] = { { UNMAP_0, UNLINK }, { TO_A, TO_A } };
    const struct schedule_world world = { 2, restart, run_script, finish };

    (void)state;
    features = (struct loam_cpu_features){ .global_pages = true, .invlpgb = true };
    features.invlpgb_pages = 1;
    is_global = true;
    broadcasts_at_once = true;
    begin_with(loaded);
    script = lower;
    explore(&world, 2);
    script = higher;
    explore(&world, 2);
    broadcasts_at_once = false;
    assert_int_equal(now.asked_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flush_T06_meets_who_loads_the_space),
        cmocka_unit_test(flush_T06_meets_who_leaves_the_space),
        cmocka_unit_test(flush_T05_of_two_at_the_same_time),
        cmocka_unit_test(flush_T11_frees_nothing_before_all_have_answered),
        cmocka_unit_test(flush_T10_of_the_higher_half_meets_switches),
        cmocka_unit_test(flush_T10_that_was_overtaken_meets_a_switch),
        cmocka_unit_test(flush_T06_meets_who_comes_and_goes),
        cmocka_unit_test(disconnect_P24_meets_who_leaves),
        cmocka_unit_test(flush_T01_asks_nobody_where_that_is_not_needed),
        cmocka_unit_test(invlpgb_comes_after_the_stores_to_the_tables),
    };
    return RUN_TESTS(tests);
}
