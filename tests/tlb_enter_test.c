/*
 * tlb_enter_test.c - loam_enter(): from when on a CPU is asked to forget what.
 */
#include "vmap_world.h"

#include <loam/x86.h>

#define PAGE_AT UINT64_C(0xffffa00000000000)

static unsigned visits;

/* Another CPU's change, asked of this one at the first moment at which it can serve. */
static void unmap_on_cpu_0(void)
{
    const struct machine_cpu *const cpu = machine_cpu(1);

    if (loam_port_cpu() != 1 || !loam_cpu_set_has(&mm.tlb.online, 1) || visits++ != 0)
        return;
    assert_int_equal(cpu->cr3, mm.space.root.addr);
    assert_int_equal(cpu->efer & LOAM_EFER_NXE, LOAM_EFER_NXE);
    assert_int_equal(cpu->pat_msr, LOAM_PAT_LAYOUT);
    assert_int_equal(cpu->cr4 & (LOAM_CR4_PGE | LOAM_CR4_PCIDE), LOAM_CR4_PGE | LOAM_CR4_PCIDE);
    assert_int_equal(machine_access(1, PAGE_AT, MACHINE_READ).phys, GIB(1012));
    machine_set_cpu(0);
    assert_int_equal(loam_unmap(&mm, loam_virt_range_of(loam_virt_at(PAGE_AT), LOAM_PAGE_SIZE)),
                     LOAM_OK);
}

/* It counts as online before its tables are loaded, and so may be asked; interrupts come when
 * NXE and PAT, without which those tables mean something else, are set. */
static void enter_T06_serves_nothing_before_its_tables_mean_what_they_say(void **state)
{
    const struct loam_attr attr = { LOAM_PROT_WRITE | LOAM_PROT_GLOBAL, LOAM_CACHE_UC };

    (void)state;
    small_machine(2);
    enter_all(1);
    assert_int_equal(loam_map(&mm, loam_virt_range_of(loam_virt_at(PAGE_AT), LOAM_PAGE_SIZE),
                              loam_phys_at(GIB(1012)), attr),
                     LOAM_OK);
    visits = 0;
    machine_set_cpu(1);
    machine_interrupt_visit(unmap_on_cpu_0);
    assert_int_equal(loam_enter(&mm), LOAM_OK);
    machine_interrupt_visit(NULL);
    machine_set_cpu(0);
    assert_int_equal(visits, 1);
    assert_int_equal(fault_at(1, PAGE_AT, MACHINE_READ), MACHINE_NOT_PRESENT);
    check_sound();
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(enter_T06_serves_nothing_before_its_tables_mean_what_they_say),
    };
    return RUN_TESTS(tests);
}
