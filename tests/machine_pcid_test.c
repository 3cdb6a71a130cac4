/*
 * machine_pcid_test.c - the simulated machine's PCIDs, INVPCID, INVLPGB, SMEP and SMAP:
 * what each leaves cached, and what raises a fault.
 */
#include "machine_world.h"

/* Entries 1 and 2 of PT; the second one is global. Entry 2 of PD: 2 MiB. */
#define PAGE_A VIRT
#define PAGE_G (VIRT + UINT64_C(0x1000))
#define LARGE  UINT64_C(0x8040400000)

static void tree(unsigned cpus)
{
    small_tree(cpus);
    set(PD, 2, UINT64_C(0x600000) | PRESENT | PS);
    set(PT, 2, FRAME | PRESENT | G);
    for (unsigned i = 0; i < cpus; i++) {
        machine_cpu(i)->cr4 |= LOAM_CR4_PCIDE;
        machine_cpu(i)->invlpgb = true;
        machine_cpu(i)->invlpgb_more = 3;
    }
}

static void load(uint64_t pcid, bool keep)
{
    loam_x86_write_cr3(PML4 | pcid | (keep ? LOAM_CR3_KEEP : 0));
}

/* Both pages cached under these PCIDs; PCID 0 is loaded then. */
static void fill(unsigned cpu, unsigned pcids)
{
    machine_set_cpu(cpu);
    for (unsigned pcid = 0; pcid < pcids; pcid++) {
        load(pcid, true);
        machine_access(cpu, PAGE_A, MACHINE_READ);
        machine_access(cpu, PAGE_G, MACHINE_READ);
        machine_access(cpu, LARGE, MACHINE_READ);
    }
    load(0, true);
    machine_set_cpu(0);
}

static bool holds(uint64_t pcid, uint64_t virt)
{
    const uint64_t before = loam_x86_read_cr3();
    machine_cpu(0)->cr3 = PML4 | pcid;
    const bool does = machine_tlb_holds(0, virt);
    machine_cpu(0)->cr3 = before;
    return does;
}

/* Can the page beside PAGE_A be reached though its table is unlinked? */
static bool has_upper(uint64_t pcid)
{
    const uint64_t before = loam_x86_read_cr3();
    set(PD, 1, 0);
    set(PT, 9, FRAME | PRESENT);
    machine_cpu(0)->cr3 = PML4 | pcid;
    const bool does = machine_access(0, PAGE_A + 0x8000, MACHINE_READ).fault == MACHINE_OK;
    machine_cpu(0)->cr3 = before;
    set(PD, 1, PT | PRESENT);
    return does;
}

/* ---- PCIDs --------------------------------------------------------------- */

static void cr3_with_bit_63_drops_nothing(void **state)
{
    (void)state;
    tree(1);
    fill(0, 3);
    assert_int_equal(machine_tlb_count(0), 3 + 3 + 1);
    for (unsigned pcid = 0; pcid < 3; pcid++)
        assert_true(holds(pcid, PAGE_A) && holds(pcid, PAGE_G) && holds(pcid, LARGE));
    assert_false(holds(3, PAGE_A));
    assert_true(holds(3, PAGE_G)); /* whoever cached it */
    assert_int_equal(loam_x86_read_cr3(), PML4);
}

static void cr3_drops_one_pcid(void **state)
{
    (void)state;
    tree(1);
    fill(0, 3);
    load(1, false);
    assert_true(holds(0, PAGE_A) && holds(2, PAGE_A) && holds(1, PAGE_G));
    assert_false(holds(1, PAGE_A));
    assert_false(has_upper(1));
    assert_true(has_upper(2));
}

static void invlpg_drops_the_page_of_the_current_pcid_and_the_global_one(void **state)
{
    (void)state;
    tree(1);
    fill(0, 2);
    loam_x86_invlpg(loam_virt_at(PAGE_A));
    assert_false(holds(0, PAGE_A));
    assert_true(holds(1, PAGE_A) && holds(0, LARGE) && holds(0, PAGE_G));
    assert_false(has_upper(0));
    assert_true(has_upper(1));
    load(1, true);
    loam_x86_invlpg(loam_virt_at(PAGE_G)); /* cached under PCID 0 */
    assert_false(holds(0, PAGE_G));
}

static void cr4_drops_what_its_bits_mean(void **state)
{
    (void)state;
    tree(1);
    fill(0, 2);
    loam_x86_write_cr4(loam_x86_read_cr4() | LOAM_CR4_SMEP); /* this PCID, global ones too */
    assert_false(holds(0, PAGE_A) || holds(0, PAGE_G));
    assert_true(holds(1, PAGE_A));
    loam_x86_write_cr4(loam_x86_read_cr4() | LOAM_CR4_SMAP);
    loam_x86_write_cr4(loam_x86_read_cr4() & ~LOAM_CR4_SMEP);
    assert_true(holds(1, PAGE_A));
    loam_x86_write_cr4(loam_x86_read_cr4() & ~LOAM_CR4_PCIDE);
    assert_int_equal(machine_tlb_count(0), 0);
    loam_x86_write_cr4(loam_x86_read_cr4() & ~LOAM_CR4_SMAP);
    machine_access(0, PAGE_A, MACHINE_READ);
    loam_x86_write_cr4(loam_x86_read_cr4() | LOAM_CR4_PCIDE);
    assert_true(holds(0, PAGE_A));
    loam_x86_write_cr4(loam_x86_read_cr4() ^ LOAM_CR4_PGE);
    assert_int_equal(machine_tlb_count(0), 0);
}

static void invpcid_has_four_types(void **state)
{
    (void)state;
    tree(1);
    fill(0, 3);
    loam_x86_invpcid(0, 1, loam_virt_at(PAGE_A));
    assert_false(holds(1, PAGE_A));
    assert_true(holds(0, PAGE_A) && holds(1, LARGE));
    loam_x86_invpcid(0, 1, loam_virt_at(PAGE_G));
    assert_true(holds(1, PAGE_G));
    loam_x86_invpcid(0, 1, loam_virt_at(LARGE + 0x5000));
    assert_false(holds(1, LARGE));
    loam_x86_invpcid(1, 2, loam_virt_at(0));
    assert_false(holds(2, PAGE_A) || holds(2, LARGE) || has_upper(2));
    assert_true(holds(0, PAGE_A) && holds(2, PAGE_G));
    loam_x86_invpcid(3, 0, loam_virt_at(0));
    assert_int_equal(machine_tlb_count(0), 1);
    assert_true(holds(0, PAGE_G));
    loam_x86_invpcid(LOAM_INVPCID_ALL, 0, loam_virt_at(0));
    assert_int_equal(machine_tlb_count(0), 0);
}

/* ---- INVLPGB ------------------------------------------------------------- */

static void invlpgb_reaches_all_cpus_at_the_tlbsync(void **state)
{
    (void)state;
    tree(2);
    fill(1, 2);
    fill(0, 2);
    loam_x86_invlpgb(PAGE_A | LOAM_INVLPGB_VA, 0, 0);
    machine_set_cpu(1);
    loam_x86_tlbsync(); /* another CPU's */
    machine_set_cpu(0);
    assert_true(holds(0, PAGE_A) && machine_tlb_holds(1, PAGE_A));
    loam_x86_tlbsync();
    assert_false(holds(0, PAGE_A) || holds(1, PAGE_A) || machine_tlb_holds(1, PAGE_A));
    assert_true(holds(0, PAGE_G) && machine_tlb_holds(1, LARGE));
    assert_int_equal(machine_tlb_count(1), 3);
    assert_false(has_upper(0) || has_upper(1));
}

static void invlpgb_by_what_it_says(void **state)
{
    (void)state;
    tree(1);
    fill(0, 2);
    loam_x86_invlpgb(PAGE_A | LOAM_INVLPGB_VA, 1, 0);
    loam_x86_tlbsync();
    assert_true(holds(0, PAGE_G));
    assert_false(holds(0, PAGE_A));
    loam_x86_invlpgb((PAGE_A - 0x1000) | LOAM_INVLPGB_VA | LOAM_INVLPGB_GLOBAL, 2, 0);
    loam_x86_tlbsync();
    assert_false(holds(0, PAGE_G));
    assert_true(holds(0, LARGE));
    loam_x86_invlpgb((LARGE - 0x400000) | LOAM_INVLPGB_VA, 2 | LOAM_INVLPGB_2M, 0);
    loam_x86_tlbsync();
    assert_false(holds(0, LARGE) || holds(1, LARGE));
    fill(0, 2);
    loam_x86_invlpgb(0, 0, 0);
    loam_x86_tlbsync();
    assert_int_equal(machine_tlb_count(0), 1);
    loam_x86_invlpgb(LOAM_INVLPGB_GLOBAL, 0, 0);
    loam_x86_tlbsync();
    assert_int_equal(machine_tlb_count(0), 0);
}

/* ---- SMEP, SMAP ---------------------------------------------------------- */

/* A user's page, from ring 0, walked and cached. */
static void guards_keep_ring_0_out_of_user_pages(void **state)
{
    (void)state;
    tree(1);
    for (unsigned round = 0; round < 2; round++) {
        machine_cpu(0)->cr4 = UINT64_C(0x6a0);
        if (round == 1) /* cached before */
            machine_access(0, PAGE_A, MACHINE_READ);
        assert_int_equal(machine_access(0, PAGE_A, MACHINE_EXEC).fault, MACHINE_OK);
        machine_cpu(0)->cr4 |= LOAM_CR4_SMEP;
        assert_int_equal(machine_access(0, PAGE_A, MACHINE_EXEC).fault, MACHINE_PROTECTION);
        assert_int_equal(machine_access(0, PAGE_A, MACHINE_READ).fault, MACHINE_OK);
        machine_cpu(0)->cr4 |= LOAM_CR4_SMAP;
        assert_int_equal(machine_access(0, PAGE_A, MACHINE_READ).fault, MACHINE_PROTECTION);
        assert_int_equal(machine_access(0, PAGE_A, MACHINE_WRITE).fault, MACHINE_PROTECTION);
        loam_x86_stac();
        assert_int_equal(machine_access(0, PAGE_A, MACHINE_WRITE).fault, MACHINE_OK);
        assert_int_equal(machine_access(0, PAGE_A, MACHINE_EXEC).fault, MACHINE_PROTECTION);
        loam_x86_clac();
        assert_int_equal(machine_access(0, PAGE_A, MACHINE_READ).fault, MACHINE_PROTECTION);
        for (unsigned kind = MACHINE_READ; kind <= MACHINE_EXEC; kind++)
            assert_int_equal(machine_access(0, PAGE_A, MACHINE_USER | kind).fault, MACHINE_OK);
    }
}

/* ---- what fails a test --------------------------------------------------- */

static void keep_without_pcids(void **state)
{
    (void)state;
    machine_cpu(0)->cr4 &= ~LOAM_CR4_PCIDE;
    load(0, true);
}

static void pcide_under_a_pcid(void **state)
{
    (void)state;
    machine_cpu(0)->cr4 &= ~LOAM_CR4_PCIDE;
    machine_cpu(0)->cr3 |= 8;
    loam_x86_write_cr4(loam_x86_read_cr4() | LOAM_CR4_PCIDE);
}

static void without(bool *feature, uint64_t bit)
{
    *feature = false;
    machine_cpu(0)->cr4 &= ~bit;
    loam_x86_write_cr4(loam_x86_read_cr4() | bit);
}

static void pcide_without_it(void **state)
{
    (void)state;
    without(&machine_cpu(0)->pcid, LOAM_CR4_PCIDE);
}

static void smep_without_it(void **state)
{
    (void)state;
    without(&machine_cpu(0)->smep, LOAM_CR4_SMEP);
}

static void smap_without_it(void **state)
{
    (void)state;
    without(&machine_cpu(0)->smap, LOAM_CR4_SMAP);
}

static void stac_without_smap(void **state)
{
    (void)state;
    machine_cpu(0)->smap = false;
    loam_x86_stac();
}

static void invpcid_without_it(void **state)
{
    (void)state;
    machine_cpu(0)->invpcid = false;
    loam_x86_invpcid(2, 0, loam_virt_at(0));
}

static void invpcid_of_type_4(void **state)
{
    (void)state;
    loam_x86_invpcid(4, 0, loam_virt_at(0));
}

static void invpcid_of_a_large_pcid(void **state)
{
    (void)state;
    loam_x86_invpcid(1, 4096, loam_virt_at(0));
}

static void invpcid_while_there_are_none(void **state)
{
    (void)state;
    machine_cpu(0)->cr4 &= ~LOAM_CR4_PCIDE;
    loam_x86_invpcid(1, 1, loam_virt_at(0));
}

static void invpcid_not_canonical(void **state)
{
    (void)state;
    loam_x86_invpcid(0, 1, loam_virt_at(UINT64_C(1) << 47));
}

static void invlpgb_of_too_many(void **state)
{
    (void)state;
    loam_x86_invlpgb(LOAM_INVLPGB_VA, 4, 0);
}

static void invlpgb_with_a_reserved_bit(void **state)
{
    (void)state;
    loam_x86_invlpgb(0x40, 0, 0);
}

static void invlpgb_without_it(void **state)
{
    (void)state;
    machine_cpu(0)->invlpgb = false;
    loam_x86_invlpgb(0, 0, 0);
}

static void tlbsync_without_it(void **state)
{
    (void)state;
    machine_cpu(0)->invlpgb = false;
    loam_x86_tlbsync();
}

static void nothing_wrong(void **state)
{
    (void)state;
    load(4095, true);
    loam_x86_invpcid(0, 4095, loam_virt_at(UINT64_C(1) << 46));
    loam_x86_invlpgb(LOAM_INVLPGB_VA, 3, 0);
    loam_x86_tlbsync();
    loam_x86_stac();
    loam_x86_clac();
}

static int power_on(void **state)
{
    (void)state;
    tree(1);
    return 0;
}

static void faults_fail_the_test(void **state)
{
    (void)state;
    static const CMUnitTestFunction bad[] = {
        keep_without_pcids,
        pcide_under_a_pcid,
        pcide_without_it,
        smep_without_it,
        smap_without_it,
        stac_without_smap,
        invpcid_without_it,
        invpcid_of_type_4,
        invpcid_of_a_large_pcid,
        invpcid_while_there_are_none,
        invpcid_not_canonical,
        invlpgb_of_too_many,
        invlpgb_with_a_reserved_bit,
        invlpgb_without_it,
        tlbsync_without_it,
    };
    assert_false(fails(nothing_wrong, power_on));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_true(fails(bad[i], power_on));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cr3_with_bit_63_drops_nothing),
        cmocka_unit_test(cr3_drops_one_pcid),
        cmocka_unit_test(invlpg_drops_the_page_of_the_current_pcid_and_the_global_one),
        cmocka_unit_test(cr4_drops_what_its_bits_mean),
        cmocka_unit_test(invpcid_has_four_types),
        cmocka_unit_test(invlpgb_reaches_all_cpus_at_the_tlbsync),
        cmocka_unit_test(invlpgb_by_what_it_says),
        cmocka_unit_test(guards_keep_ring_0_out_of_user_pages),
        cmocka_unit_test(faults_fail_the_test),
    };
    return RUN_TESTS(tests);
}
