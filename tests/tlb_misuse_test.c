/*
 * tlb_misuse_test.c - spaces in use, broken rules, and the audit.
 */
#include "tlb_world.h"

static struct loam_tlb_batch batch;

/* ---- ends ------------------------------------------------------------------------ */

static void disconnect_P24_refuses_while_a_cpu_has_it(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    struct loam_tlb_space *const a = add_space();
    assert_false(loam_tlb_is_loaded(a));
    load_on(1, a);
    const uint64_t before = loam_tlb_digest(&tlb);
    assert_true(loam_tlb_is_loaded(a));
    assert_int_equal(loam_tlb_disconnect(a), LOAM_STATE);
    assert_int_equal(loam_tlb_disconnect(kernel_space()), LOAM_STATE);
    assert_int_equal(loam_tlb_digest(&tlb), before);
    load_on(1, kernel_space());
    assert_int_equal(loam_tlb_disconnect(a), LOAM_OK);
    assert_null(a->tlb);
    assert_int_equal(loam_tlb_disconnect(a), LOAM_OK); /* again */
    for (unsigned cpu = 0; cpu < 2; cpu++) {
        machine_set_cpu(cpu);
        loam_tlb_offline(&tlb);
    }
    assert_int_equal(loam_tlb_disconnect(kernel_space()), LOAM_OK);
    loam_tlb_connect(&tlb, kernel_space(), kernel_space()->root, true);
    assert_null(loam_tlb_audit(&tlb));
}

static void misuse_panics(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    struct loam_tlb_space *const a = add_space();
    struct loam_tlb_space other = { 0 };
    const struct loam_cpu_features features = tlb.features;
    static struct loam_tlb fresh;
    EXPECT_PANIC("tlb: CPU count is not in 1..LOAM_CPUS_MAX", loam_tlb_init(&fresh, &features, 0));
    EXPECT_PANIC("tlb: CPU count is not in 1..LOAM_CPUS_MAX",
                 loam_tlb_init(&fresh, &features, LOAM_CPUS_MAX + 1));
    loam_tlb_init(&fresh, &features, LOAM_CPUS_MAX);
    EXPECT_PANIC("tlb: no kernel space is connected", loam_tlb_online(&fresh));
    EXPECT_PANIC("tlb: one kernel space is connected, before all others",
                 loam_tlb_connect(&fresh, &other, loam_phys_at(RAM), false));
    EXPECT_PANIC("tlb: one kernel space is connected, before all others",
                 loam_tlb_connect(&tlb, &other, loam_phys_at(RAM), true));
    EXPECT_PANIC("tlb: root is not the address of a table",
                 loam_tlb_connect(&tlb, &other, loam_phys_at(RAM + 8), false));
    EXPECT_PANIC("tlb: the space is connected already",
                 loam_tlb_connect(&tlb, a, loam_phys_at(RAM), false));
    EXPECT_PANIC("tlb: the space is not connected", loam_tlb_switch(&tlb, &other));
    loam_tlb_switch(&tlb, a);
    EXPECT_PANIC("tlb: it goes offline without the kernel space loaded", loam_tlb_offline(&tlb));
    world_start((struct world_options){ 0 });
    load_on(0, add_space());
    EXPECT_PANIC("tlb: it came online with another space than the kernel's", loam_tlb_online(&tlb));
    world_start((struct world_options){ 0 });
    loam_tlb_offline(&tlb);
    EXPECT_PANIC("tlb: this CPU is not online", loam_tlb_switch(&tlb, kernel_space()));
    world_start((struct world_options){ 0 });
    tlb.cpu_count = 1;
    machine_set_cpu(1);
    EXPECT_PANIC("tlb: a CPU beyond those announced", loam_tlb_online(&tlb));
}

/* While another flush of this CPU is under way: only an NMI comes between. */
static void flush_T09_from_an_nmi_panics(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    tlb.cpu[0].is_busy = 1;
    loam_tlb_batch_begin(&batch, kernel_space());
    loam_tlb_batch_full(&batch);
    assert_string_equal(loam_tlb_audit(&tlb), "tlb: a CPU is busy");
    EXPECT_PANIC("tlb: called from an NMI", loam_tlb_batch_flush(&batch));
    EXPECT_PANIC("tlb: called from an NMI", loam_tlb_switch(&tlb, kernel_space()));
    EXPECT_PANIC("tlb: called from an NMI", loam_tlb_flush_local(&batch.flush));
}

static void audit_finds_what_does_not_fit(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    struct loam_tlb_space *const a = add_space();
    load_on(1, a);
    assert_null(loam_tlb_audit(&tlb));
    const struct loam_tlb good = tlb;
    const struct loam_tlb_space good_a = *a;
    uint64_t digest = loam_tlb_digest(&tlb);
#define EXPECT_BROKEN(rule, statement)                     \
    do {                                                   \
        statement;                                         \
        assert_string_equal(loam_tlb_audit(&tlb), (rule)); \
        memcpy(&tlb, &good, sizeof(tlb));                  \
        memcpy(a, &good_a, sizeof(good_a));                \
    } while (0)
    EXPECT_BROKEN("tlb: a CPU is online and has no space loaded, or the other way round",
                  tlb.online.word[0] = 1);
    EXPECT_BROKEN("tlb: a CPU is online and has no space loaded, or the other way round",
                  tlb.cpu[0].loaded = NULL);
    EXPECT_BROKEN("tlb: a CPU has a space loaded that does not know of it", a->cpus.word[0] = 1);
    EXPECT_BROKEN("tlb: a CPU has a space loaded that does not know of it", a->tlb = NULL);
    EXPECT_BROKEN("tlb: a CPU has a space loaded that does not know of it", tlb.cpu_count = 1);
    EXPECT_BROKEN("tlb: the current slot is not the loaded space's", tlb.cpu[1].current = 2);
    EXPECT_BROKEN("tlb: the current slot is not the loaded space's", tlb.cpu[1].current = 99);
    EXPECT_BROKEN("tlb: a slot is ahead of its space", tlb.cpu[1].slot[1].generation = 1);
    EXPECT_BROKEN("tlb: a slot is of the future", tlb.cpu[1].slot[3].kernel_generation = 1);
    EXPECT_BROKEN("tlb: a slot is of the future", tlb.cpu[1].slot[3].space_id = 9);
    EXPECT_BROKEN("tlb: two slots are of one space", tlb.cpu[1].slot[3].space_id = a->id);
    EXPECT_BROKEN("tlb: a CPU is busy", tlb.cpu[1].is_busy = 1);
    EXPECT_BROKEN("tlb: the kernel space is not connected", tlb.kernel = a);
    assert_null(loam_tlb_audit(&tlb));
    assert_int_equal(loam_tlb_digest(&tlb), digest);
    change_lower(a, 0, 0);
    assert_int_not_equal(loam_tlb_digest(&tlb), digest);
    digest = loam_tlb_digest(&tlb);
    load_on(0, a);
    assert_int_not_equal(loam_tlb_digest(&tlb), digest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(disconnect_P24_refuses_while_a_cpu_has_it),
        cmocka_unit_test(misuse_panics),
        cmocka_unit_test(flush_T09_from_an_nmi_panics),
        cmocka_unit_test(audit_finds_what_does_not_fit),
    };
    return RUN_TESTS(tests);
}
