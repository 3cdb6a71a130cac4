/*
 * cpu.c - see cpu.h. CPUID leaves: Intel SDM vol. 2, CPUID.
 */
#include <loam/cpu.h>

#include <loam/x86.h>

#include "internal/check.h"

#define CPUID_1_EDX_PGE    (1u << 13)
#define CPUID_1_EDX_PAT    (1u << 16)
#define CPUID_7_ECX_LA57   (1u << 16)
#define CPUID_EXT1_EDX_NX  (1u << 20)
#define CPUID_EXT1_EDX_GIB (1u << 26)
#define CPUID_EXT          0x80000000u
#define PHYS_BITS_WITHOUT  36u /* when CPUID does not say; SDM vol. 3, section 4.1.4 */

/* A leaf above the highest one returns some other leaf's data: ask for zeroes. */
static struct loam_cpuid cpuid_leaf(uint32_t leaf)
{
    const uint32_t leaf_max = loam_x86_cpuid(leaf & CPUID_EXT, 0).eax;
    const struct loam_cpuid nothing = { 0, 0, 0, 0 };

    return leaf <= leaf_max ? loam_x86_cpuid(leaf, 0) : nothing;
}

/* Physical address bits from EAX of leaf 80000008h; 0 if there is none. */
static unsigned phys_bits_of(uint32_t eax)
{
    const unsigned bits = eax & 0xffu;

    if (bits == 0)
        return PHYS_BITS_WITHOUT;
    return bits < LOAM_PHYS_BITS_MAX ? bits : LOAM_PHYS_BITS_MAX;
}

struct loam_cpu_features loam_cpu_identify(void)
{
    const struct loam_cpuid basic = cpuid_leaf(1);
    const struct loam_cpuid structured = cpuid_leaf(7);
    const struct loam_cpuid extended = cpuid_leaf(CPUID_EXT + 1);
    const struct loam_cpuid widths = cpuid_leaf(CPUID_EXT + 8);
    const struct loam_cpu_features features = {
        .nx = (extended.edx & CPUID_EXT1_EDX_NX) != 0,
        .gib_pages = (extended.edx & CPUID_EXT1_EDX_GIB) != 0,
        .global_pages = (basic.edx & CPUID_1_EDX_PGE) != 0,
        .pat = (basic.edx & CPUID_1_EDX_PAT) != 0,
        .la57 = (structured.ecx & CPUID_7_ECX_LA57) != 0,
        .phys_bits = phys_bits_of(widths.eax),
        .levels = (loam_x86_read_cr4() & LOAM_CR4_LA57) != 0 ? 5 : 4,
    };
    return features;
}

/* Can a CPU that has @p own run on tables made for @p wanted? */
static bool cpu_can_run(const struct loam_cpu_features *own, const struct loam_cpu_features *wanted)
{
    return (own->nx || !wanted->nx) && (own->gib_pages || !wanted->gib_pages) &&
           (own->global_pages || !wanted->global_pages) && (own->pat || !wanted->pat) &&
           own->phys_bits >= wanted->phys_bits && own->levels == wanted->levels;
}

/*
 * Change what the memory types of page tables mean while this CPU runs: nothing
 * may be cached under the old meaning, neither data nor translations. Steps: SDM
 * vol. 3, sections 12.11.8 and 12.12.4. Interrupts and PGE are off.
 */
static void set_pat(uint64_t pat)
{
    const uint64_t cr0 = loam_x86_read_cr0();
    const uint64_t uncached = (cr0 | LOAM_CR0_CD) & ~LOAM_CR0_NW;

    loam_x86_write_cr0(uncached);
    loam_x86_wbinvd();
    loam_x86_write_cr3(loam_x86_read_cr3()); /* flush before */
    loam_x86_wrmsr(LOAM_MSR_PAT, pat);
    loam_x86_wbinvd();
    loam_x86_write_cr3(loam_x86_read_cr3()); /* and after */
    loam_x86_write_cr0(cr0);
}

/* NX bits of the new tables are reserved bits until this. */
static void set_nxe(void)
{
    const uint64_t efer = loam_x86_rdmsr(LOAM_MSR_EFER) | LOAM_EFER_NXE;

    loam_x86_wrmsr(LOAM_MSR_EFER, efer);
}

enum loam_status loam_cpu_enter(const struct loam_cpu_features *features, loam_phys root)
{
    const struct loam_cpu_features own = loam_cpu_identify();

    if (!cpu_can_run(&own, features))
        return LOAM_UNSUPPORTED;
    LOAM_REQUIRE(loam_is_page_aligned(root.addr) && root.addr >> own.phys_bits == 0,
                 "cpu: root is not the address of a table", root.addr, own.phys_bits);

    const uint64_t flags = loam_x86_irq_save();
    const uint64_t cr0 = loam_x86_read_cr0() | LOAM_CR0_WP;
    const uint64_t cr4 = loam_x86_read_cr4() & ~LOAM_CR4_PGE;
    const uint64_t cr4_global = cr4 | LOAM_CR4_PGE;
    loam_x86_write_cr4(cr4); /* PGE off */
    if (features->nx)
        set_nxe();
    loam_x86_write_cr0(cr0); /* WP on */
    if (features->pat && loam_x86_rdmsr(LOAM_MSR_PAT) != LOAM_PAT_LAYOUT)
        set_pat(LOAM_PAT_LAYOUT);
    /* Bits 0-11 and 63 are zero: with CR4.PCIDE that is PCID 0, to be flushed. */
    loam_x86_write_cr3(root.addr);
    if (features->global_pages)
        loam_x86_write_cr4(cr4_global); /* PGE on */
    loam_x86_irq_restore(flags);
    return LOAM_OK;
}

/* Everything that this CPU has cached, of all address spaces and global, too. */
static void flush_everything(void)
{
    /* An interrupt between the two writes could go on as another CPU. */
    const uint64_t flags = loam_x86_irq_save();
    const uint64_t cr4 = loam_x86_read_cr4();

    if ((cr4 & LOAM_CR4_PGE) != 0) {
        loam_x86_write_cr4(cr4 & ~LOAM_CR4_PGE);
        loam_x86_write_cr4(cr4);
    } else {
        loam_x86_write_cr3(loam_x86_read_cr3());
    }
    loam_x86_irq_restore(flags);
}

void loam_tlb_flush_local(const struct loam_tlb_flush *flush)
{
    if (flush->page_count == 0 || flush->page_count > LOAM_TLB_PAGES_MAX) {
        flush_everything();
        return;
    }
    for (uint64_t i = 0; i < flush->page_count; i++)
        loam_x86_invlpg(loam_virt_at(flush->start.addr + i * flush->page_size));
}
