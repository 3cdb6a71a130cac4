/*
 * cpu_test.c - CPUID, and the order of register writes.
 */
#include <string.h>

#include <loam/cpu.h>
#include <loam/x86.h>

#include "harness.h"
#include "machine.h"

#define ROOT     UINT64_C(0x101000)
#define OLD_ROOT UINT64_C(0x109000)

static struct loam_cpu_features features_of(unsigned cpu)
{
    machine_set_cpu(cpu);
    return loam_cpu_identify();
}

/* ---- CPUID --------------------------------------------------------------- */

static void features_are_what_cpuid_says(void **state)
{
    (void)state;
    machine_reset(1);
    struct machine_cpu *const cpu = machine_cpu(0);
    bool *const bits[10] = { &cpu->nx,      &cpu->gib_pages, &cpu->global_pages, &cpu->pat,
                             &cpu->la57,    &cpu->smep,      &cpu->smap,         &cpu->pcid,
                             &cpu->invpcid, &cpu->invlpgb };
    cpu->invlpgb_more = 7;
    for (unsigned set = 0; set < 1024; set++) {
        for (unsigned i = 0; i < 10; i++)
            *bits[i] = (set >> i & 1) != 0;
        const struct loam_cpu_features features = loam_cpu_identify();
        assert_int_equal(features.nx, cpu->nx);
        assert_int_equal(features.gib_pages, cpu->gib_pages);
        assert_int_equal(features.global_pages, cpu->global_pages);
        assert_int_equal(features.pat, cpu->pat);
        assert_int_equal(features.la57, cpu->la57);
        assert_int_equal(features.smep, cpu->smep);
        assert_int_equal(features.smap, cpu->smap);
        assert_int_equal(features.pcid, cpu->pcid);
        assert_int_equal(features.invpcid, cpu->invpcid);
        assert_int_equal(features.invlpgb, cpu->invlpgb);
        assert_int_equal(features.invlpgb_pages, cpu->invlpgb ? 8 : 0);
        assert_int_equal(features.phys_bits, 46);
        assert_int_equal(features.levels, 4);
    }
    machine_set_levels(5);
    assert_int_equal(loam_cpu_identify().levels, 5);
}

/* A leaf above the highest one shows another leaf's bits: all ones here. */
static void features_of_missing_leaves_are_absent(void **state)
{
    (void)state;
    machine_reset(1);
    struct machine_cpu *const cpu = machine_cpu(0);
    cpu->phys_bits = 36;
    cpu->extended_leaf_max = 0x80000007;
    assert_int_equal(loam_cpu_identify().phys_bits, 36);
    assert_true(loam_cpu_identify().nx);
    cpu->extended_leaf_max = 0x80000000;
    assert_false(loam_cpu_identify().nx);
    assert_false(loam_cpu_identify().gib_pages);
    cpu->la57 = false;
    cpu->basic_leaf_max = 6;
    assert_false(loam_cpu_identify().la57);
    assert_false(loam_cpu_identify().smep);
    assert_false(loam_cpu_identify().smap);
    assert_false(loam_cpu_identify().invpcid);
    assert_true(loam_cpu_identify().pat);
    assert_true(loam_cpu_identify().pcid);
    cpu->basic_leaf_max = 0;
    assert_false(loam_cpu_identify().pat);
    assert_false(loam_cpu_identify().global_pages);
    assert_false(loam_cpu_identify().pcid);
}

/* On these, INVLPG under a PCID leaves a global translation behind. */
static void features_T10_are_without_pcid_where_invlpg_forgets(void **state)
{
    (void)state;
    machine_reset(1);
    struct machine_cpu *const cpu = machine_cpu(0);
    static const uint32_t affected[] = { 0x90672, 0x906a3, 0xb0671, 0xb06a2, 0xb06e0, 0xb06f2 };
    static const uint32_t others[] = { 0x806f8, 0x50654, 0x00697, 0x90f72, 0x90772 };
    for (unsigned i = 0; i < sizeof(affected) / sizeof(affected[0]); i++) {
        cpu->signature = affected[i];
        assert_false(loam_cpu_identify().pcid);
        cpu->is_intel = false;
        assert_true(loam_cpu_identify().pcid);
        cpu->is_intel = true;
    }
    for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        cpu->signature = others[i];
        assert_true(loam_cpu_identify().pcid);
    }
}

static void features_phys_bits_are_bounded(void **state)
{
    (void)state;
    machine_reset(1);
    const struct {
        unsigned reported, want;
    } rows[] = { { 0, 36 },  { 1, 1 },   { 36, 36 }, { 39, 39 },
                 { 51, 51 }, { 52, 52 }, { 53, 52 }, { 255, 52 } };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        machine_cpu(0)->phys_bits = rows[i].reported;
        assert_int_equal(loam_cpu_identify().phys_bits, rows[i].want);
    }
}

/* ---- entering ------------------------------------------------------------ */

/* As Limine leaves it: all switches are set already, the PAT is ours. */
static void enter_with_nothing_to_do_still_loads_cr3_between_pge(void **state)
{
    (void)state;
    machine_reset(1);
    struct machine_cpu *const cpu = machine_cpu(0);
    cpu->cr3 = OLD_ROOT;
    cpu->efer = 0xd01;
    cpu->cr0 = 0x80010033;
    cpu->pat_msr = LOAM_PAT_LAYOUT;
    const struct loam_cpu_features features = loam_cpu_identify();
    machine_log_start();
    assert_int_equal(loam_cpu_enter(&features, loam_phys_at(ROOT)), LOAM_OK);
    assert_string_equal(machine_log(), "cli cr4=620 efer=d01 cr0=80010033 cr3=101000 cr4=3206a0 "
                                       "clac sti");
}

/* Everything is to be done; the PAT between two write-backs and two flushes. */
static void enter_sets_every_switch_in_order(void **state)
{
    (void)state;
    machine_reset(1);
    machine_cpu(0)->cr3 = OLD_ROOT;
    const struct loam_cpu_features features = loam_cpu_identify();
    machine_log_start();
    assert_int_equal(loam_cpu_enter(&features, loam_phys_at(ROOT)), LOAM_OK);
    assert_string_equal(machine_log(),
                        "cli cr4=620 efer=d01 cr0=80010033 "
                        "cr0=c0010033 wbinvd cr3=109000 pat=10500070406 wbinvd cr3=109000 "
                        "cr0=80010033 "
                        "cr3=101000 cr4=3206a0 clac sti");
    assert_int_equal(machine_cpu(0)->pat_msr, LOAM_PAT_LAYOUT);
}

/* Tables without NX, PAT and global pages: none of the three is switched on. */
static void enter_leaves_what_the_tables_do_not_use(void **state)
{
    (void)state;
    machine_reset(1);
    machine_cpu(0)->cr3 = OLD_ROOT;
    struct loam_cpu_features features = loam_cpu_identify();
    features.nx = features.pat = features.global_pages = false;
    features.smep = features.smap = features.pcid = false;
    machine_log_start();
    assert_int_equal(loam_cpu_enter(&features, loam_phys_at(ROOT)), LOAM_OK);
    /* PGE goes all the same: the old tables may have global pages. */
    assert_string_equal(machine_log(), "cli cr4=620 cr0=80010033 cr3=101000 sti");
}

static void enter_runs_on_a_cpu_without_nx_pat_and_global_pages(void **state)
{
    (void)state;
    machine_reset(1);
    struct machine_cpu *const cpu = machine_cpu(0);
    cpu->nx = cpu->pat = cpu->global_pages = false;
    cpu->smep = cpu->smap = cpu->pcid = cpu->invpcid = false;
    cpu->cr4 &= ~LOAM_CR4_PGE;
    const struct loam_cpu_features features = loam_cpu_identify();
    assert_int_equal(loam_cpu_enter(&features, loam_phys_at(ROOT)), LOAM_OK);
    assert_int_equal(cpu->cr3, ROOT);
}

/* Bits that are none of our business, set and clear alike. */
static void enter_keeps_foreign_bits(void **state)
{
    (void)state;
    machine_reset(1);
    struct machine_cpu *const cpu = machine_cpu(0);
    const struct loam_cpu_features features = loam_cpu_identify();
    for (unsigned round = 0; round < 2; round++) {
        machine_reset(1);
        const bool set = round == 1;
        cpu->cr0 = set ? 0x8005003f : 0x80000031;
        cpu->cr4 = set ? UINT64_C(0x7f0fff) & ~LOAM_CR4_PCIDE : UINT64_C(0x20);
        cpu->efer = set ? 0x5501 : 0x500;
        const struct machine_cpu before = *cpu;
        assert_int_equal(loam_cpu_enter(&features, loam_phys_at(ROOT)), LOAM_OK);
        assert_int_equal(cpu->cr0, before.cr0 | LOAM_CR0_WP);
        assert_int_equal(cpu->cr4, before.cr4 | LOAM_CR4_PGE | LOAM_CR4_PCIDE | LOAM_CR4_SMEP |
                                       LOAM_CR4_SMAP);
        assert_int_equal(cpu->efer, before.efer | LOAM_EFER_NXE);
    }
}

/* Caches switched off by somebody before stay off. */
static void enter_keeps_disabled_caches(void **state)
{
    (void)state;
    machine_reset(1);
    machine_cpu(0)->cr0 |= LOAM_CR0_CD | LOAM_CR0_NW;
    const struct loam_cpu_features features = loam_cpu_identify();
    assert_int_equal(loam_cpu_enter(&features, loam_phys_at(ROOT)), LOAM_OK);
    assert_int_equal(machine_cpu(0)->cr0, 0xe0010033);
    assert_int_equal(machine_cpu(0)->pat_msr, LOAM_PAT_LAYOUT);
}

/* With PCIDs the low bits of CR3 are one: ours is 0, and bit 63 keeps nothing. */
static void enter_with_pcid_loads_pcid_0_and_flushes(void **state)
{
    (void)state;
    machine_reset(1);
    machine_cpu(0)->cr4 |= LOAM_CR4_PCIDE;
    machine_cpu(0)->cr3 = OLD_ROOT | 5;
    const struct loam_cpu_features features = loam_cpu_identify();
    assert_int_equal(loam_cpu_enter(&features, loam_phys_at(ROOT)), LOAM_OK);
    assert_int_equal(machine_cpu(0)->cr3, ROOT);
    assert_int_not_equal(machine_cpu(0)->cr4 & LOAM_CR4_PCIDE, 0);
}

static void enter_restores_interrupts(void **state)
{
    (void)state;
    machine_reset(1);
    const struct loam_cpu_features features = loam_cpu_identify();
    assert_int_equal(loam_cpu_enter(&features, loam_phys_at(ROOT)), LOAM_OK);
    assert_true(machine_interrupts());
    machine_set_interrupts(false);
    assert_int_equal(loam_cpu_enter(&features, loam_phys_at(ROOT)), LOAM_OK);
    assert_false(machine_interrupts());
}

/* One page, mapped by both roots to different frames.
 *
 *   old root -> ... -> 0x7000, global      new root -> ... -> 0x8000
 */
static void two_trees(void)
{
    machine_add_ram(0x100000, 0x10000);
    for (unsigned t = 0; t < 2; t++) {
        const uint64_t base = t == 0 ? ROOT : OLD_ROOT;
        for (unsigned level = 0; level < 3; level++) {
            uint64_t *const table = machine_ram(base + level * UINT64_C(0x1000));
            table[0] = (base + (level + 1) * UINT64_C(0x1000)) | 7;
        }
        uint64_t *const last = machine_ram(base + 3 * UINT64_C(0x1000));
        last[1] = t == 0 ? 0x8103 : 0x7103; /* not for user mode: SMAP is on */
    }
}

static void enter_leaves_no_translation_of_the_old_tables(void **state)
{
    (void)state;
    machine_reset(2);
    two_trees();
    for (unsigned cpu = 0; cpu < 2; cpu++) {
        machine_cpu(cpu)->cr3 = OLD_ROOT;
        const struct loam_cpu_features features = features_of(cpu);
        assert_int_equal(machine_access(cpu, 0x1000, MACHINE_WRITE).phys, 0x7000);
        assert_int_equal(loam_cpu_enter(&features, loam_phys_at(ROOT)), LOAM_OK);
        assert_int_equal(machine_access(cpu, 0x1000, MACHINE_WRITE).phys, 0x8000);
    }
}

/* ---- refusals ------------------------------------------------------------ */

/* Refused on this CPU, and no register was written. */
static void expect_unsupported(const struct loam_cpu_features *wanted)
{
    const struct machine_cpu before = *machine_cpu(0);
    machine_log_start();
    assert_int_equal(loam_cpu_enter(wanted, loam_phys_at(ROOT)), LOAM_UNSUPPORTED);
    assert_string_equal(machine_log(), "");
    assert_memory_equal(machine_cpu(0), &before, sizeof(before));
    assert_true(machine_interrupts());
}

static void enter_refuses_a_cpu_that_lacks_a_feature(void **state)
{
    (void)state;
    machine_reset(1);
    struct machine_cpu *const cpu = machine_cpu(0);
    const struct loam_cpu_features wanted = loam_cpu_identify();
    cpu->nx = false;
    expect_unsupported(&wanted);
    cpu->nx = true;
    cpu->gib_pages = false;
    expect_unsupported(&wanted);
    cpu->gib_pages = true;
    cpu->pat = false;
    expect_unsupported(&wanted);
    cpu->pat = true;
    cpu->global_pages = false;
    cpu->cr4 &= ~LOAM_CR4_PGE;
    expect_unsupported(&wanted);
    cpu->global_pages = true;
    cpu->phys_bits = 45;
    expect_unsupported(&wanted);
    cpu->phys_bits = 46;
    bool *const bits[] = { &cpu->smep, &cpu->smap, &cpu->pcid, &cpu->invpcid };
    for (unsigned i = 0; i < 4; i++) {
        *bits[i] = false;
        expect_unsupported(&wanted);
        *bits[i] = true;
    }
    cpu->phys_bits = 47; /* more is fine, la57 does not matter */
    cpu->invlpgb = true;
    cpu->la57 = false;
    assert_int_equal(loam_cpu_enter(&wanted, loam_phys_at(ROOT)), LOAM_OK);
}

static void enter_refuses_a_cpu_whose_invlpgb_takes_fewer_pages(void **state)
{
    (void)state;
    machine_reset(1);
    struct machine_cpu *const cpu = machine_cpu(0);
    cpu->invlpgb = true;
    cpu->invlpgb_more = 7;
    const struct loam_cpu_features wanted = loam_cpu_identify();
    cpu->invlpgb_more = 6;
    expect_unsupported(&wanted);
    cpu->invlpgb = false;
    expect_unsupported(&wanted);
    cpu->invlpgb = true;
    cpu->invlpgb_more = 8;
    assert_true(loam_cpu_can_enter(&wanted));
    assert_int_equal(loam_cpu_enter(&wanted, loam_phys_at(ROOT)), LOAM_OK);
}

/* Guards that are not wanted stay as they are; PCIDs that are not wanted go. */
static void enter_leaves_guards_and_clears_pcide_where_not_wanted(void **state)
{
    (void)state;
    machine_reset(1);
    struct machine_cpu *const cpu = machine_cpu(0);
    struct loam_cpu_features wanted = loam_cpu_identify();
    wanted.smep = wanted.smap = wanted.pcid = false;
    cpu->cr3 = OLD_ROOT;
    cpu->cr4 |= LOAM_CR4_PCIDE | LOAM_CR4_SMAP;
    cpu->ac = true;
    assert_int_equal(loam_cpu_enter(&wanted, loam_phys_at(ROOT)), LOAM_OK);
    assert_int_equal(cpu->cr4, 0x6a0 | LOAM_CR4_SMAP);
    assert_true(cpu->ac);
    wanted.smap = true;
    assert_int_equal(loam_cpu_enter(&wanted, loam_phys_at(ROOT)), LOAM_OK);
    assert_false(cpu->ac);
}

/* Under another PCID than 0: PCIDE is on, and that PCID's translations go, too. */
static void enter_from_another_pcid(void **state)
{
    (void)state;
    machine_reset(1);
    two_trees();
    struct machine_cpu *const cpu = machine_cpu(0);
    const struct loam_cpu_features wanted = loam_cpu_identify();
    cpu->cr3 = OLD_ROOT | 5;
    cpu->cr4 |= LOAM_CR4_PCIDE;
    assert_int_equal(machine_access(0, 0x1000, MACHINE_WRITE).phys, 0x7000);
    assert_int_equal(loam_cpu_enter(&wanted, loam_phys_at(ROOT)), LOAM_OK);
    assert_int_equal(cpu->cr3, ROOT);
    assert_int_equal(machine_tlb_count(0), 0);
}

static void enter_P27_refuses_another_number_of_levels(void **state)
{
    (void)state;
    machine_reset(1);
    struct loam_cpu_features wanted = loam_cpu_identify();
    wanted.levels = 5;
    expect_unsupported(&wanted);
    machine_set_levels(5);
    assert_int_equal(loam_cpu_enter(&wanted, loam_phys_at(ROOT)), LOAM_OK);
    wanted.levels = 4;
    expect_unsupported(&wanted);
}

static void enter_panics_on_a_root_that_is_no_table(void **state)
{
    (void)state;
    machine_reset(1);
    const struct loam_cpu_features wanted = loam_cpu_identify();
    enum loam_status st = LOAM_OK;
    const char *const rule = "cpu: root is not the address of a table";
    EXPECT_PANIC(rule, st = loam_cpu_enter(&wanted, loam_phys_at(ROOT + 8)));
    assert_int_equal(panic_trap.seen.subject, ROOT + 8);
    EXPECT_PANIC(rule, st = loam_cpu_enter(&wanted, loam_phys_none()));
    EXPECT_PANIC(rule, st = loam_cpu_enter(&wanted, loam_phys_at(UINT64_C(1) << 46)));
    assert_int_equal(st, LOAM_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(features_are_what_cpuid_says),
        cmocka_unit_test(features_of_missing_leaves_are_absent),
        cmocka_unit_test(features_phys_bits_are_bounded),
        cmocka_unit_test(features_T10_are_without_pcid_where_invlpg_forgets),
        cmocka_unit_test(enter_with_nothing_to_do_still_loads_cr3_between_pge),
        cmocka_unit_test(enter_sets_every_switch_in_order),
        cmocka_unit_test(enter_leaves_what_the_tables_do_not_use),
        cmocka_unit_test(enter_runs_on_a_cpu_without_nx_pat_and_global_pages),
        cmocka_unit_test(enter_keeps_foreign_bits),
        cmocka_unit_test(enter_keeps_disabled_caches),
        cmocka_unit_test(enter_with_pcid_loads_pcid_0_and_flushes),
        cmocka_unit_test(enter_restores_interrupts),
        cmocka_unit_test(enter_leaves_no_translation_of_the_old_tables),
        cmocka_unit_test(enter_refuses_a_cpu_that_lacks_a_feature),
        cmocka_unit_test(enter_refuses_a_cpu_whose_invlpgb_takes_fewer_pages),
        cmocka_unit_test(enter_leaves_guards_and_clears_pcide_where_not_wanted),
        cmocka_unit_test(enter_from_another_pcid),
        cmocka_unit_test(enter_P27_refuses_another_number_of_levels),
        cmocka_unit_test(enter_panics_on_a_root_that_is_no_table),
    };
    return RUN_TESTS(tests);
}
