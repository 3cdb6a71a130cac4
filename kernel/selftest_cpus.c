/*
 * selftest_cpus.c - the control registers of every CPU.
 */
#include "log.h"
#include "memory.h"
#include "selftest.h"
#include "smp.h"
#include "stack.h"

#include <loam/x86.h>

static struct registers {
    uint64_t pat, efer, cr0, cr3, cr4;
    uint64_t stack; /* an address on it */
    bool read;
} registers[LOAM_CPUS_MAX];

static void read_registers(void *unused)
{
    struct registers *own = &registers[cpu_self()->index];
    (void)unused;
    own->pat = memory.features.pat ? loam_x86_rdmsr(LOAM_MSR_PAT) : 0;
    own->efer = loam_x86_rdmsr(LOAM_MSR_EFER);
    own->cr0 = loam_x86_read_cr0();
    own->cr3 = loam_x86_read_cr3();
    own->cr4 = loam_x86_read_cr4();
    own->stack = (uint64_t)(uintptr_t)__builtin_frame_address(0);
    own->read = true;
}

static const char *check_one(const struct registers *of)
{
    const struct loam_cpu_features *features = &memory.features;
    if (!of->read)
        return "a CPU did not take part";
    if (features->pat && of->pat != LOAM_PAT_LAYOUT)
        return "PAT is not the layout the page tables mean";
    if (((of->efer & LOAM_EFER_NXE) != 0) != features->nx)
        return "EFER.NXE does not fit the CPU";
    if ((of->cr0 & LOAM_CR0_WP) == 0)
        return "CR0.WP is off: the kernel may write to read-only pages";
    if ((of->cr0 & (LOAM_CR0_CD | LOAM_CR0_NW)) != 0)
        return "the caches are off";
    if (((of->cr4 & LOAM_CR4_PGE) != 0) != features->global_pages)
        return "CR4.PGE does not fit the CPU";
    if (((of->cr4 & LOAM_CR4_LA57) != 0) != (features->levels == 5))
        return "CR4.LA57 does not fit the page tables";
    if (of->cr3 != memory.space.root.addr)
        return "CR3 is not the root of our page tables";
    return NULL;
}

const char *selftest_registers(void)
{
    const char *wrong = NULL;
    for (unsigned i = 0; i < cpu_count() && wrong == NULL; i++) {
        struct registers *of = &registers[i];
        if (atomic_load(&cpu_table[i].state) != CPU_READY)
            continue;
        of->read = false;
        smp_run_on(i, read_registers, NULL);
        log_info("CPU %u: PAT 0x%016lx, EFER 0x%lx, CR0 0x%lx, CR3 0x%lx, CR4 0x%lx", i, of->pat,
                 of->efer, of->cr0, of->cr3, of->cr4);
        const struct stack_part own = stack_part_of(i, 0);
        wrong = check_one(of);
        if (wrong == NULL && (of->stack < own.bottom || of->stack >= own.top))
            wrong = "a CPU does not run on its own stack";
    }
    return wrong;
}
