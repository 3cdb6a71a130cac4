/*
 * cpu.h - what this processor can do, and moving it onto our page tables.
 *
 * The order on every CPU, because each step makes the next one safe:
 *   PGE off    global translations of the bootloader's tables go
 *   NXE, WP    NX is a reserved bit until NXE is set; read-only binds ring 0 too
 *   PAT        cache types of the new tables mean what we think
 *   CR3        the new tables, as PCID 0
 *   PGE        only now may global translations be cached
 *   PCIDE      could not be set while CR3 named another PCID
 *   SMEP, SMAP the bootloader's tables may show the kernel as a user's
 */
#ifndef LOAM_CPU_H
#define LOAM_CPU_H

#include "port.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * PAT entries 0-7: WB, WT, UC-, UC, WP, WC, UC, UC: the layout the Limine
 * protocol prescribes for 0-5, so that tables of the bootloader and ours agree
 * during the switch. Encodings: Intel SDM vol. 3, section 12.12.2.
 */
#define LOAM_PAT_LAYOUT UINT64_C(0x0000010500070406)

struct loam_cpu_features {
    bool nx;                /* no-execute pages: CPUID 80000001h EDX 20 */
    bool gib_pages;         /* 1 GiB pages: CPUID 80000001h EDX 26 */
    bool global_pages;      /* CPUID 1 EDX 13 */
    bool pat;               /* CPUID 1 EDX 16 */
    bool la57;              /* 5-level paging exists: CPUID 7.0 ECX 16 */
    bool smep;              /* ring 0 does not execute a user's pages: CPUID 7.0 EBX 7 */
    bool smap;              /* nor reads or writes them but between STAC and CLAC: EBX 20 */
    bool pcid;              /* TLB entries of several spaces: CPUID 1 ECX 17 */
    bool invpcid;           /* CPUID 7.0 EBX 10 */
    bool invlpgb;           /* one CPU flushes all: CPUID 80000008h EBX 3 */
    unsigned invlpgb_pages; /* most pages of one INVLPGB: EDX 15:0, and 1 */
    unsigned phys_bits;     /* up to 52; CPUID 80000008h EAX 7:0, 36 if absent */
    unsigned levels;        /* paging levels in use now: 4 or 5, from CR4.LA57 */
};

/**
 * Read this CPU's features. Without pcid on processors whose INVLPG then forgets
 * global translations (Intel, Alder Lake to Raptor Lake).
 *
 * A kernel that uses pages of user programs without STAC clears smap in what it
 * passes on: after loam_init(), in mm.space.features.
 *
 * @return features. Context: ring 0, any.
 */
LOAM_NODISCARD struct loam_cpu_features loam_cpu_identify(void);

/**
 * Would loam_cpu_enter() accept this CPU?
 *
 * @param features what the tables were built for, and the switches that are wanted
 *
 * @return false: it lacks one of the features, shows fewer bits of physical
 *         addresses or fewer pages of an INVLPGB, or runs with another number of levels
 *
 * Context: ring 0, any.
 */
LOAM_NODISCARD bool loam_cpu_can_enter(const struct loam_cpu_features *features);

/**
 * Switch this CPU to other page tables; see the file header for the order.
 *
 * @param features as above: NXE, PGE, SMEP, SMAP and PCIDE are switched on if they are
 *                 in it; PCIDE and PGE are off else. WP is switched on always
 * @param root     top-level table
 *
 * @return LOAM_OK; LOAM_UNSUPPORTED if not loam_cpu_can_enter(): nothing was
 *         written then.
 *
 * Other bits of CR0, CR4 and EFER keep their value. Nothing cached before is left,
 * of any PCID. With smap RFLAGS.AC is clear afterwards.
 *
 * Context: any CPU, interrupts are off inside. Code, stack and descriptor tables
 * of the caller must be mapped alike by both tables.
 */
LOAM_NODISCARD enum loam_status loam_cpu_enter(const struct loam_cpu_features *features,
                                               loam_phys root);

#ifdef __cplusplus
}
#endif
#endif
