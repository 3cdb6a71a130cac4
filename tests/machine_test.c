/*
 * machine_test.c - the simulated machine itself: a test that passes on a machine
 * that is too kind proves nothing.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <loam/lock.h>

#include "machine_world.h"

static void expect_fault(uint64_t virt, unsigned kind, enum machine_fault fault)
{
    assert_int_equal(machine_probe(0, virt, kind).fault, fault);
    assert_int_equal(machine_access(0, virt, kind).fault, fault);
    assert_false(machine_tlb_holds(0, virt));
}

/* ---- RAM ----------------------------------------------------------------- */

/* Does reading there kill the process? */
static bool read_is_fatal(uint64_t phys)
{
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        const volatile unsigned char *const byte =
            (const unsigned char *)(uintptr_t)(machine_hhdm().offset + phys);
        signal(SIGSEGV, SIG_DFL); /* not cmocka's */
        (void)*byte;
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status != 0;
}

/*
 *   RAM       [2000   4000)        [1 GiB .. +4 KiB)
 *   read  ^1fff ^2000 ^3fff ^4000
 */
static void only_ram_is_accessible(void **state)
{
    (void)state;
    machine_reset(1);
    machine_add_ram(0x2000, 0x2000);
    machine_add_ram(UINT64_C(1) << 30, 1);
    memset(machine_ram(0x2000), 0x11, 0x2000);
    machine_add_ram(0x3000, 0x1000); /* again: what is there stays */
    assert_int_equal(get(0x3000, 0), UINT64_C(0x1111111111111111));
    assert_true(machine_is_ram(0x3fff));
    assert_false(machine_is_ram(0x4000));
    assert_false(machine_is_ram(0x1fff));
    assert_true(machine_is_ram((UINT64_C(1) << 30) + 0xfff));
    assert_false(read_is_fatal(0x2000));
    assert_true(read_is_fatal(0x1ff8));
    assert_true(read_is_fatal(0x4000));
    machine_reset(1);
    assert_true(read_is_fatal(0x2000));
    machine_add_ram(0x2000, 0x2000);
    assert_int_equal(get(0x2000, 0), 0);
}

static void high_memory_costs_nothing(void **state)
{
    (void)state;
    machine_reset(1);
    machine_add_ram(0x1000, machine_window() / 2);
    set(machine_window() / 2 - 0x1000, 3, 42);
    assert_int_equal(get(machine_window() / 2 - 0x1000, 3), 42);
}

/* ---- the walk ------------------------------------------------------------ */

static void walk_finds_pages_of_three_sizes(void **state)
{
    (void)state;
    small_tree(1);
    struct machine_access access = machine_access(0, VIRT + 0x123, MACHINE_READ);
    assert_int_equal(access.fault, MACHINE_OK);
    assert_int_equal(access.phys, FRAME + 0x123);
    assert_int_equal(access.page_size, 4096);

    set(PD, 2, UINT64_C(0x600000) | PRESENT | PS);
    access = machine_access(0, VIRT + 0x200000 + 0x54321, MACHINE_READ);
    assert_int_equal(access.fault, MACHINE_OK);
    assert_int_equal(access.phys, 0x600000 + 0x1000 + 0x54321);
    assert_int_equal(access.page_size, 1 << 21);

    set(PDPT, 2, UINT64_C(0x80000000) | PRESENT | PS);
    access = machine_access(0, VIRT + 0x40000000, MACHINE_READ);
    assert_int_equal(access.phys, 0x80000000 + 0x201000);
    assert_int_equal(access.page_size, 1 << 30);

    set(PML5, 1, PML4 | PRESENT);
    machine_cpu(0)->cr3 = PML5;
    machine_set_levels(5);
    machine_tlb_clear(0);
    assert_int_equal(machine_access(0, VIRT + (UINT64_C(1) << 48), MACHINE_READ).phys, FRAME);
    expect_fault(UINT64_C(1) << 56, MACHINE_READ, MACHINE_NOT_CANONICAL);
    machine_set_levels(4);
    expect_fault(UINT64_C(1) << 47, MACHINE_READ, MACHINE_NOT_CANONICAL);
}

static void walk_refuses_what_the_rights_refuse(void **state)
{
    (void)state;
    small_tree(1);
    expect_fault(VIRT + 0x1000, MACHINE_READ, MACHINE_NOT_PRESENT);
    set(PT, 1, FRAME | P);
    expect_fault(VIRT, MACHINE_WRITE, MACHINE_PROTECTION);
    expect_fault(VIRT, MACHINE_READ | MACHINE_USER, MACHINE_PROTECTION);
    assert_int_equal(machine_access(0, VIRT, MACHINE_EXEC).fault, MACHINE_OK);
    machine_cpu(0)->cr0 &= ~LOAM_CR0_WP; /* ring 0 may write anywhere now */
    assert_int_equal(machine_access(0, VIRT, MACHINE_WRITE).fault, MACHINE_OK);
    machine_cpu(0)->cr0 |= LOAM_CR0_WP;
    expect_fault(VIRT, MACHINE_WRITE, MACHINE_PROTECTION); /* from the TLB */

    set(PT, 1, FRAME | PRESENT | NX);
    expect_fault(VIRT, MACHINE_EXEC, MACHINE_PROTECTION);
    set(PT, 1, FRAME | PRESENT);
    set(PD, 1, PT | P | U); /* every level counts */
    machine_tlb_clear(0);
    expect_fault(VIRT, MACHINE_WRITE, MACHINE_PROTECTION);
    set(PD, 1, PT | P | W);
    machine_tlb_clear(0);
    expect_fault(VIRT, MACHINE_USER, MACHINE_PROTECTION);
    set(PD, 1, PT | PRESENT | NX);
    machine_tlb_clear(0);
    expect_fault(VIRT, MACHINE_EXEC, MACHINE_PROTECTION);
}

static void expect_walk_fault(enum machine_fault fault)
{
    machine_tlb_clear(0); /* upper entries, too */
    expect_fault(VIRT, MACHINE_READ, fault);
}

static void walk_refuses_reserved_bits(void **state)
{
    (void)state;
    small_tree(1);
    struct machine_cpu *const cpu = machine_cpu(0);

    set(PT, 1, FRAME | PRESENT | UINT64_C(1) << 46); /* phys_bits is 46 */
    expect_walk_fault(MACHINE_RESERVED_BIT);
    set(PT, 1, FRAME | PRESENT | NX);
    cpu->efer &= ~LOAM_EFER_NXE;
    expect_walk_fault(MACHINE_RESERVED_BIT);
    set(PT, 1, FRAME | PRESENT | PS); /* the PAT bit of small pages */
    cpu->pat = false;
    expect_walk_fault(MACHINE_RESERVED_BIT);
    cpu->pat = true;
    assert_int_equal(machine_probe(0, VIRT, MACHINE_READ).fault, MACHINE_OK);
    set(PD, 1, UINT64_C(0x600000) | PRESENT | PS | 1 << 13);
    expect_walk_fault(MACHINE_RESERVED_BIT);
    set(PDPT, 1, UINT64_C(0x40000000) | PRESENT | PS);
    assert_int_equal(machine_probe(0, VIRT, MACHINE_READ).fault, MACHINE_OK);
    cpu->gib_pages = false;
    expect_walk_fault(MACHINE_RESERVED_BIT);
    set(PML4, 1, PDPT | PRESENT | PS);
    expect_walk_fault(MACHINE_RESERVED_BIT);
    set(PML4, 1, UINT64_C(0x900000) | PRESENT);
    expect_walk_fault(MACHINE_BUS);
}

/* Bits 4, 3 and 7 or 12 number one of eight bytes of the PAT. */
static void type_comes_through_the_pat(void **state)
{
    (void)state;
    small_tree(1);
    machine_cpu(0)->pat_msr = UINT64_C(0x0405010007040006);
    const unsigned want[8] = { 6, 0, 4, 7, 0, 1, 5, 4 };
    for (uint64_t i = 0; i < 8; i++) {
        set(PT, 1, FRAME | PRESENT | (i & 3) << 3 | (i >> 2) << 7);
        set(PD, 2, UINT64_C(0x600000) | PRESENT | PS | (i & 3) << 3 | (i >> 2) << 12);
        machine_tlb_clear(0);
        assert_int_equal(machine_access(0, VIRT, MACHINE_READ).type, want[i]);
        assert_int_equal(machine_access(0, VIRT + 0x200000, MACHINE_READ).type, want[i]);
    }
    machine_cpu(0)->pat_msr = 0; /* the cached type stays */
    assert_int_equal(machine_access(0, VIRT, MACHINE_READ).type, want[7]);
    machine_cpu(0)->pat = false;
    set(PT, 1, FRAME | PRESENT | 1 << 4);
    machine_tlb_clear(0);
    assert_int_equal(machine_access(0, VIRT, MACHINE_READ).type, MACHINE_UC_MINUS);
}

static void walk_sets_accessed_and_dirty(void **state)
{
    (void)state;
    small_tree(1);
    machine_probe(0, VIRT, MACHINE_WRITE);
    assert_int_equal(get(PT, 1), FRAME | PRESENT);
    machine_access(0, VIRT, MACHINE_READ);
    assert_int_equal(get(PML4, 1), PDPT | PRESENT | A);
    assert_int_equal(get(PT, 1), FRAME | PRESENT | A);
    machine_access(0, VIRT, MACHINE_WRITE); /* cached, but not as dirty */
    assert_int_equal(get(PT, 1), FRAME | PRESENT | A | D);
    assert_int_equal(get(PD, 1), PT | PRESENT | A);
    set(PT, 1, FRAME | PRESENT);
    machine_access(0, VIRT, MACHINE_WRITE); /* cached as dirty: no walk */
    assert_int_equal(get(PT, 1), FRAME | PRESENT);
}

/* ---- caches -------------------------------------------------------------- */

/*
 *   cached   [ VIRT ] [ VIRT + 2 MiB, global ]
 *   cr3=          -            kept
 */
static void translations_stay_until_they_are_flushed(void **state)
{
    (void)state;
    small_tree(2);
    set(PD, 2, UINT64_C(0x600000) | PRESENT | PS | G);
    const uint64_t global = VIRT + 0x200000;
    machine_access(0, VIRT, MACHINE_READ);
    machine_access(0, global, MACHINE_READ);
    machine_access(1, VIRT, MACHINE_READ);
    assert_int_equal(machine_tlb_count(0), 2);
    set(PT, 1, 0);
    set(PD, 2, 0);
    assert_int_equal(machine_access(0, VIRT, MACHINE_WRITE).fault, MACHINE_NOT_PRESENT);
    set(PT, 1, FRAME | PRESENT);
    machine_access(0, VIRT, MACHINE_READ);
    set(PT, 1, 0);
    assert_int_equal(machine_access(0, VIRT, MACHINE_READ).fault, MACHINE_OK);
    assert_int_equal(machine_access(0, global, MACHINE_READ).fault, MACHINE_OK);

    loam_x86_write_cr3(PML4);
    assert_int_equal(machine_access(0, VIRT, MACHINE_READ).fault, MACHINE_NOT_PRESENT);
    assert_int_equal(machine_access(0, global, MACHINE_READ).fault, MACHINE_OK);
    assert_int_equal(machine_access(1, VIRT, MACHINE_READ).fault, MACHINE_OK);
    machine_set_cpu(1);
    loam_x86_invlpg(loam_virt_at(VIRT + 0xfff));
    assert_int_equal(machine_access(1, VIRT, MACHINE_READ).fault, MACHINE_NOT_PRESENT);
    machine_set_cpu(0);
    loam_x86_write_cr4(loam_x86_read_cr4() & ~LOAM_CR4_PGE);
    assert_int_equal(machine_access(0, global, MACHINE_READ).fault, MACHINE_NOT_PRESENT);
    set(PD, 2, UINT64_C(0x600000) | PRESENT | PS | G);
    machine_access(0, global, MACHINE_READ); /* PGE is off: an ordinary one */
    loam_x86_write_cr3(PML4);
    assert_int_equal(machine_tlb_count(0), 0);
}

/* A cached PDE leads to the old PT, whatever is linked now. */
static void upper_entries_stay_until_any_invlpg(void **state)
{
    (void)state;
    small_tree(1);
    machine_access(0, VIRT, MACHINE_READ);
    set(PD, 1, 0);
    set(PT, 2, FRAME | PRESENT);
    assert_int_equal(machine_access(0, VIRT + 0x1000, MACHINE_READ).fault, MACHINE_OK);
    loam_x86_invlpg(loam_virt_at(0xdead000));
    assert_int_equal(machine_access(0, VIRT + 0x1000, MACHINE_READ).phys, FRAME);
    assert_int_equal(machine_access(0, VIRT + 0x2000, MACHINE_READ).fault, MACHINE_NOT_PRESENT);
    loam_x86_invlpg(loam_virt_at(VIRT + 0x1000));
    assert_int_equal(machine_access(0, VIRT + 0x1000, MACHINE_READ).fault, MACHINE_NOT_PRESENT);
    assert_int_equal(machine_access(0, VIRT, MACHINE_READ).fault, MACHINE_OK);
}

static void tlb_holds_any_number(void **state)
{
    (void)state;
    small_tree(1);
    for (unsigned i = 0; i < 512; i++)
        set(PT, i, (FRAME + i * UINT64_C(0x1000)) | PRESENT);
    for (unsigned i = 0; i < 512; i++)
        machine_access(0, (VIRT & ~UINT64_C(0x1fffff)) + i * UINT64_C(0x1000), MACHINE_READ);
    assert_int_equal(machine_tlb_count(0), 512);
    loam_x86_invlpg(loam_virt_at(VIRT));
    assert_int_equal(machine_tlb_count(0), 511);
    assert_false(machine_tlb_holds(0, VIRT));
    assert_true(machine_tlb_holds(0, VIRT + 0x1000));
    machine_access(0, VIRT, MACHINE_READ);
    assert_int_equal(machine_tlb_count(0), 512);
}

/* ---- the hook and the log ------------------------------------------------ */

static unsigned visits;

static void count_visit(const struct loam_tlb_flush *flush)
{
    visits++;
    assert_int_equal(flush->range[0].page_count, 1);
    assert_true(machine_tlb_holds(1, VIRT)); /* not yet */
}

/* Of a space that nobody is known to have: one page, asked of @p cpus. */
static struct loam_tlb_flush flush_of(uint64_t cpus)
{
    static struct loam_tlb_space space;
    struct loam_tlb_flush flush = { .space = &space, .range_count = 1 };
    flush.cpus.word[0] = cpus;
    flush.range[0] = (struct loam_tlb_range){ loam_virt_at(VIRT), 1, 4096 };
    return flush;
}

static void hook_flushes_the_cpus_that_are_named(void **state)
{
    (void)state;
    small_tree(3);
    for (unsigned i = 0; i < 3; i++)
        machine_access(i, VIRT, MACHINE_READ);
    const struct loam_tlb_flush flush = flush_of(6);
    loam_port_tlb_flush(&flush);
    assert_true(machine_tlb_holds(0, VIRT));
    assert_false(machine_tlb_holds(1, VIRT));
    assert_false(machine_tlb_holds(2, VIRT));
    machine_flush_everyone(true);
    loam_port_tlb_flush(&flush);
    assert_false(machine_tlb_holds(0, VIRT));
}

static void hook_flushes_every_cpu(void **state)
{
    (void)state;
    small_tree(3);
    for (unsigned i = 0; i < 3; i++)
        machine_access(i, VIRT, MACHINE_READ);
    const struct loam_tlb_flush flush = flush_of(7);
    visits = 0;
    machine_flush_drop(true);
    loam_port_tlb_flush(&flush);
    assert_int_equal(machine_tlb_count(0) + machine_tlb_count(1) + machine_tlb_count(2), 3);
    machine_flush_drop(false);
    machine_flush_visit(count_visit);
    machine_set_cpu(2);
    loam_port_tlb_flush(&flush);
    assert_int_equal(loam_port_cpu(), 2);
    assert_true(machine_interrupts());
    assert_int_equal(machine_tlb_count(0) + machine_tlb_count(1) + machine_tlb_count(2), 0);
    assert_int_equal(machine_flush_count(), 2);
    assert_int_equal(machine_flush_last().range[0].start.addr, VIRT);
    assert_int_equal(visits, 1);
}

static void visit_as_cpu_1(void)
{
    visits++;
    assert_true(machine_interrupts());
    machine_set_cpu(1);
    loam_x86_irq_restore(loam_x86_irq_save()); /* no visit in a visit */
}

static void interrupts_come_when_they_are_let(void **state)
{
    (void)state;
    machine_reset(2);
    visits = 0;
    machine_interrupt_visit(visit_as_cpu_1);
    const uint64_t outer = loam_x86_irq_save();
    loam_x86_irq_restore(loam_x86_irq_save());
    assert_int_equal(visits, 0);
    loam_x86_irq_restore(outer);
    assert_int_equal(visits, 1);
    assert_int_equal(loam_port_cpu(), 0);
    machine_reset(2);
    loam_x86_irq_restore(loam_x86_irq_save());
    assert_int_equal(visits, 1);
}

static void log_lists_privileged_operations(void **state)
{
    (void)state;
    machine_reset(1);
    loam_x86_write_cr3(0x1000);
    machine_log_start();
    const uint64_t flags = loam_x86_irq_save();
    loam_x86_write_cr3(0x2000);
    loam_x86_invlpg(loam_virt_at(UINT64_MAX - 0xfff));
    loam_x86_wbinvd();
    loam_x86_irq_restore(flags);
    loam_x86_irq_restore(0);
    assert_string_equal(machine_log(), "cli cr3=2000 invlpg=fffffffffffff000 wbinvd sti");
    loam_x86_wbinvd();
    assert_string_equal(machine_log(), "cli cr3=2000 invlpg=fffffffffffff000 wbinvd sti");
}

/* ---- what fails a test --------------------------------------------------- */

static void write_reserved_efer(void **state)
{
    (void)state;
    loam_x86_wrmsr(LOAM_MSR_EFER, loam_x86_rdmsr(LOAM_MSR_EFER) | 2);
}

static void write_nxe_without_nx(void **state)
{
    (void)state;
    machine_cpu(0)->nx = false;
    loam_x86_wrmsr(LOAM_MSR_EFER, loam_x86_rdmsr(LOAM_MSR_EFER) | LOAM_EFER_NXE);
}

static void write_high_cr3(void **state)
{
    (void)state;
    loam_x86_write_cr3(UINT64_C(1) << 46);
}

static void write_la57(void **state)
{
    (void)state;
    loam_x86_write_cr4(loam_x86_read_cr4() ^ LOAM_CR4_LA57);
}

static void write_pge_without_pge(void **state)
{
    (void)state;
    machine_cpu(0)->global_pages = false;
    loam_x86_write_cr4(loam_x86_read_cr4() | LOAM_CR4_PGE);
}

static void write_nw_without_cd(void **state)
{
    (void)state;
    loam_x86_write_cr0(loam_x86_read_cr0() | LOAM_CR0_NW);
}

/* Everything that has to come before a PAT write. */
static void pat_prologue(void)
{
    (void)loam_x86_irq_save();
    loam_x86_write_cr0(loam_x86_read_cr0() | LOAM_CR0_CD);
    loam_x86_wbinvd();
    loam_x86_write_cr4(loam_x86_read_cr4() & ~LOAM_CR4_PGE);
}

static void write_reserved_pat(void **state)
{
    (void)state;
    pat_prologue();
    loam_x86_wrmsr(LOAM_MSR_PAT, 2);
}

static void write_pat_with_caches_on(void **state)
{
    (void)state;
    pat_prologue();
    loam_x86_wbinvd();
    loam_x86_write_cr3(0);
    loam_x86_write_cr0(loam_x86_read_cr0() & ~LOAM_CR0_CD);
    loam_x86_wrmsr(LOAM_MSR_PAT, LOAM_PAT_LAYOUT);
}

static void write_pat_with_interrupts_on(void **state)
{
    (void)state;
    pat_prologue();
    loam_x86_irq_restore(0x200);
    loam_x86_wrmsr(LOAM_MSR_PAT, LOAM_PAT_LAYOUT);
}

static void enable_caches_without_flush(void **state)
{
    (void)state;
    pat_prologue();
    loam_x86_wrmsr(LOAM_MSR_PAT, LOAM_PAT_LAYOUT);
    loam_x86_wbinvd();
    loam_x86_write_cr0(loam_x86_read_cr0() & ~LOAM_CR0_CD);
}

static void enable_caches_without_wbinvd(void **state)
{
    (void)state;
    pat_prologue();
    loam_x86_wrmsr(LOAM_MSR_PAT, LOAM_PAT_LAYOUT);
    loam_x86_write_cr3(0);
    loam_x86_write_cr0(loam_x86_read_cr0() & ~LOAM_CR0_CD);
}

static void flush_with_a_lock_held(void **state)
{
    static struct loam_ticketlock lock;
    (void)state;
    const struct loam_tlb_flush flush = flush_of(1);
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&lock);
    loam_port_tlb_flush(&flush);
    loam_ticketlock_release_irq(&lock, irq);
}

static void nothing_wrong(void **state)
{
    (void)state;
    pat_prologue();
    loam_x86_wrmsr(LOAM_MSR_PAT, LOAM_PAT_LAYOUT);
    loam_x86_wbinvd();
    loam_x86_write_cr3(0);
    loam_x86_write_cr0(loam_x86_read_cr0() & ~LOAM_CR0_CD);
}

static int power_on(void **state)
{
    (void)state;
    machine_reset(1);
    return 0;
}

static void forbidden_operations_fail_the_test(void **state)
{
    (void)state;
    static const CMUnitTestFunction bad[] = {
        write_reserved_efer,
        write_nxe_without_nx,
        write_high_cr3,
        write_la57,
        write_pge_without_pge,
        write_nw_without_cd,
        write_reserved_pat,
        write_pat_with_caches_on,
        write_pat_with_interrupts_on,
        enable_caches_without_flush,
        enable_caches_without_wbinvd,
        flush_with_a_lock_held,
    };
    assert_false(fails(nothing_wrong, power_on));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_true(fails(bad[i], power_on));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_ram_is_accessible),
        cmocka_unit_test(high_memory_costs_nothing),
        cmocka_unit_test(walk_finds_pages_of_three_sizes),
        cmocka_unit_test(walk_refuses_what_the_rights_refuse),
        cmocka_unit_test(walk_refuses_reserved_bits),
        cmocka_unit_test(type_comes_through_the_pat),
        cmocka_unit_test(walk_sets_accessed_and_dirty),
        cmocka_unit_test(translations_stay_until_they_are_flushed),
        cmocka_unit_test(upper_entries_stay_until_any_invlpg),
        cmocka_unit_test(tlb_holds_any_number),
        cmocka_unit_test(hook_flushes_the_cpus_that_are_named),
        cmocka_unit_test(hook_flushes_every_cpu),
        cmocka_unit_test(interrupts_come_when_they_are_let),
        cmocka_unit_test(log_lists_privileged_operations),
        cmocka_unit_test(forbidden_operations_fail_the_test),
    };
    return RUN_TESTS(tests);
}
