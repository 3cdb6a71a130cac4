/*
 * cpu.c - see cpu.h. CPUID leaves: Intel SDM vol. 2, CPUID.
 */
#include <loam/cpu.h>

#include <loam/x86.h>

#include "internal/check.h"

#define CPUID_1_ECX_PCID       (1u << 17)
#define CPUID_1_EDX_PGE        (1u << 13)
#define CPUID_1_EDX_PAT        (1u << 16)
#define CPUID_7_EBX_SMEP       (1u << 7)
#define CPUID_7_EBX_INVPCID    (1u << 10)
#define CPUID_7_EBX_SMAP       (1u << 20)
#define CPUID_7_ECX_LA57       (1u << 16)
#define CPUID_EXT1_EDX_NX      (1u << 20)
#define CPUID_EXT1_EDX_GIB     (1u << 26)
#define CPUID_EXT8_EBX_INVLPGB (1u << 3)
#define CPUID_EXT              0x80000000u
#define PHYS_BITS_WITHOUT      36u /* when CPUID does not say; SDM vol. 3, section 4.1.4 */

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

/*
 * With PCIDs, INVLPG of these leaves global translations of the page behind: Intel's
 * specification updates for Alder Lake, Raptor Lake and Alder Lake N. Microcode may
 * have mended it; which one does not say.
 */
static bool invlpg_forgets_global(void)
{
    static const uint8_t models[] = { 0x97, 0x9a, 0xb7, 0xba, 0xbe, 0xbf };
    const struct loam_cpuid vendor = loam_x86_cpuid(0, 0);
    const uint32_t signature = cpuid_leaf(1).eax;
    const uint32_t model = (signature >> 4 & 0xf) | (signature >> 12 & 0xf0);
    /* "GenuineIntel", family 6 */
    bool is_affected = vendor.ebx == 0x756e6547 && vendor.edx == 0x49656e69 &&
                       vendor.ecx == 0x6c65746e && (signature >> 8 & 0xf) == 6;
    bool is_listed = false;

    for (unsigned i = 0; i < sizeof(models); i++)
        is_listed = is_listed || models[i] == model;
    is_affected = is_affected && is_listed;
    return is_affected;
}

struct loam_cpu_features loam_cpu_identify(void)
{
    const struct loam_cpuid basic = cpuid_leaf(1);
    const struct loam_cpuid structured = cpuid_leaf(7);
    const struct loam_cpuid extended = cpuid_leaf(CPUID_EXT + 1);
    const struct loam_cpuid widths = cpuid_leaf(CPUID_EXT + 8);
    const bool has_invlpgb = (widths.ebx & CPUID_EXT8_EBX_INVLPGB) != 0;
    const struct loam_cpu_features features = {
        .nx = (extended.edx & CPUID_EXT1_EDX_NX) != 0,
        .gib_pages = (extended.edx & CPUID_EXT1_EDX_GIB) != 0,
        .global_pages = (basic.edx & CPUID_1_EDX_PGE) != 0,
        .pat = (basic.edx & CPUID_1_EDX_PAT) != 0,
        .la57 = (structured.ecx & CPUID_7_ECX_LA57) != 0,
        .smep = (structured.ebx & CPUID_7_EBX_SMEP) != 0,
        .smap = (structured.ebx & CPUID_7_EBX_SMAP) != 0,
        .pcid = (basic.ecx & CPUID_1_ECX_PCID) != 0 && !invlpg_forgets_global(),
        .invpcid = (structured.ebx & CPUID_7_EBX_INVPCID) != 0,
        .invlpgb = has_invlpgb,
        .invlpgb_pages = has_invlpgb ? (widths.edx & 0xffffu) + 1 : 0,
        .phys_bits = phys_bits_of(widths.eax),
        .levels = (loam_x86_read_cr4() & LOAM_CR4_LA57) != 0 ? 5 : 4,
    };
    return features;
}

bool loam_cpu_can_enter(const struct loam_cpu_features *features)
{
    const struct loam_cpu_features own = loam_cpu_identify();
    const bool has_formats = (own.nx || !features->nx) && (own.gib_pages || !features->gib_pages) &&
                             (own.global_pages || !features->global_pages) &&
                             (own.pat || !features->pat) && own.phys_bits >= features->phys_bits &&
                             own.levels == features->levels;
    const bool has_guards = (own.smep || !features->smep) && (own.smap || !features->smap);
    const bool has_flushes = (own.pcid || !features->pcid) && (own.invpcid || !features->invpcid) &&
                             (own.invlpgb || !features->invlpgb) &&
                             own.invlpgb_pages >= features->invlpgb_pages;

    return has_formats && has_guards && has_flushes;
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

/* CR4 for the new tables, which are loaded as PCID 0 by then. */
static uint64_t cr4_for(const struct loam_cpu_features *features, uint64_t cr4)
{
    cr4 &= ~(LOAM_CR4_PGE | LOAM_CR4_PCIDE);
    cr4 |= features->global_pages ? LOAM_CR4_PGE : 0;
    cr4 |= features->pcid ? LOAM_CR4_PCIDE : 0;
    cr4 |= features->smep ? LOAM_CR4_SMEP : 0;
    cr4 |= features->smap ? LOAM_CR4_SMAP : 0;
    return cr4;
}

enum loam_status loam_cpu_enter(const struct loam_cpu_features *features, loam_phys root)
{
    if (!loam_cpu_can_enter(features))
        return LOAM_UNSUPPORTED;
    LOAM_REQUIRE(loam_is_page_aligned(root.addr) && root.addr >> features->phys_bits == 0,
                 "cpu: root is not the address of a table", root.addr, features->phys_bits);

    const uint64_t flags = loam_x86_irq_save();
    const uint64_t cr0 = loam_x86_read_cr0() | LOAM_CR0_WP;
    const uint64_t cr4 = loam_x86_read_cr4() & ~LOAM_CR4_PGE;
    const uint64_t cr4_new = cr4_for(features, cr4);
    loam_x86_write_cr4(cr4); /* PGE off */
    if (features->nx)
        set_nxe();
    loam_x86_write_cr0(cr0); /* WP on */
    if (features->pat && loam_x86_rdmsr(LOAM_MSR_PAT) != LOAM_PAT_LAYOUT)
        set_pat(LOAM_PAT_LAYOUT);
    /* Bits 0-11 and 63 are zero: with CR4.PCIDE that is PCID 0, to be flushed. */
    loam_x86_write_cr3(root.addr);
    if (cr4_new != cr4)
        loam_x86_write_cr4(cr4_new); /* PGE and the rest on */
    if (features->smap)
        loam_x86_clac();
    loam_x86_irq_restore(flags);
    return LOAM_OK;
}
