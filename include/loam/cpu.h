/*
 * cpu.h - what this processor can do, and moving it onto our page tables.
 *
 * The order on every CPU, because each step makes the next one safe:
 *   PGE off    global translations of the bootloader's tables go
 *   NXE, WP    NX is a reserved bit until NXE is set; read-only binds ring 0 too
 *   PAT        cache types of the new tables mean what we think
 *   CR3        the new tables
 *   PGE        only now may global translations be cached
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
    bool nx;            /* no-execute pages: CPUID 80000001h EDX 20 */
    bool gib_pages;     /* 1 GiB pages: CPUID 80000001h EDX 26 */
    bool global_pages;  /* CPUID 1 EDX 13 */
    bool pat;           /* CPUID 1 EDX 16 */
    bool la57;          /* 5-level paging exists: CPUID 7.0 ECX 16 */
    unsigned phys_bits; /* up to 52; CPUID 80000008h EAX 7:0, 36 if absent */
    unsigned levels;    /* paging levels in use now: 4 or 5, from CR4.LA57 */
};

/** Read this CPU's features. @return features. Context: ring 0, any. */
LOAM_NODISCARD struct loam_cpu_features loam_cpu_identify(void);

/**
 * Switch this CPU to other page tables; see the file header for the order.
 *
 * @param features what the tables were built for
 * @param root     top-level table
 *
 * @return LOAM_OK; LOAM_UNSUPPORTED if this CPU lacks a feature the tables use
 *         or runs with another number of levels: nothing was written then.
 *
 * Bits of CR0, CR4 and EFER that are not named above keep their value.
 *
 * Context: any CPU, interrupts are off inside. Code, stack and descriptor tables
 * of the caller must be mapped alike by both tables.
 */
LOAM_NODISCARD enum loam_status loam_cpu_enter(const struct loam_cpu_features *features,
                                               loam_phys root);

/**
 * Drop stale translations on this CPU only; what loam_port_tlb_flush() runs on
 * each. Page by page up to LOAM_TLB_PAGES_MAX pages, everything above.
 *
 * @param flush what to drop
 *
 * Context: any, interrupt handlers included.
 */
void loam_tlb_flush_local(const struct loam_tlb_flush *flush);

#define LOAM_TLB_PAGES_MAX 32u

#ifdef __cplusplus
}
#endif
#endif
