/*
 * paging.h - layer 5: page tables.
 *
 * A space is a tree of 512-entry tables under one root, 4 or 5 levels deep, with
 * leaves of 4 KiB, 2 MiB and (where CPUID has them) 1 GiB. Tables come from a
 * stock and go back to it as soon as they are empty. Tables are reached through
 * the direct map.
 *
 * Every call is all or nothing: it first walks without writing, reserves the
 * tables it needs, and then commits what cannot fail.
 *
 * Entry format: Intel SDM vol. 3, section 4.5.
 */
#ifndef LOAM_PAGING_H
#define LOAM_PAGING_H

#include "cpu.h"
#include "stock.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef unsigned loam_prot; /* any OR of the flags below; absent = denied */
#define LOAM_PROT_READ   0x0u
#define LOAM_PROT_WRITE  0x1u
#define LOAM_PROT_EXEC   0x2u /* with WRITE: refused (W^X). All is executable without NX */
#define LOAM_PROT_USER   0x4u /* lower half only */
#define LOAM_PROT_GLOBAL 0x8u /* kept across CR3 loads; higher half only */

enum loam_cache {
    LOAM_CACHE_WB,       /* write-back: RAM */
    LOAM_CACHE_WT,       /* write-through */
    LOAM_CACHE_UC_MINUS, /* uncached, an MTRR may make it write-combining */
    LOAM_CACHE_UC,       /* uncached: MMIO */
    LOAM_CACHE_WP,       /* write-protected; UC_MINUS without PAT */
    LOAM_CACHE_WC,       /* write-combining: framebuffers; UC_MINUS without PAT */
};
#define LOAM_CACHES 6u

struct loam_attr {
    loam_prot prot;
    enum loam_cache cache;
};

struct loam_space {
    struct loam_ticketlock lock;
    struct loam_stock *stock; /* borrowed: table frames come from here */
    struct loam_hhdm hhdm;
    struct loam_cpu_features features; /* of the CPUs that will run on it */
    loam_phys root;                    /* PML4 or PML5 */
    uint64_t table_count;              /* tables in the tree, the root included */
    uint64_t flushing_count;           /* unmaps that have not finished flushing */
};

/**
 * Make an empty address space.
 *
 * @param space    output, at a fixed place from then on
 * @param stock    borrowed for the life of @p space
 * @param features what entries may use; features->levels decides the depth
 *
 * @return LOAM_OK; LOAM_NO_MEMORY: no frame for the root;
 *         LOAM_INVALID: levels not 4 or 5, phys_bits not in 32..52
 */
LOAM_NODISCARD enum loam_status loam_space_init(struct loam_space *space, struct loam_stock *stock,
                                                const struct loam_cpu_features *features);

/*
 * Contracts shared by map, unmap and protect:
 *   virt    page-aligned start and size, size > 0, canonical on its whole length;
 *           may end at 2^64. Else LOAM_INVALID
 *   attr    LOAM_INVALID if W+X, USER in the higher half, GLOBAL in the lower,
 *           or an unknown bit or cache type
 *   result  on failure tables, translations and stock are as before
 *   flush   one call of loam_port_tlb_flush() for the whole range, in strides of
 *           the smallest page changed
 *   context any CPU, not NMI; takes space->lock with interrupts off, then the
 *           stock's; calls loam_port_tlb_flush() with neither held, so not from
 *           an interrupt handler unless the hook allows it
 * A page table entry that none of these calls can have written panics.
 */

/**
 * Map a virtual range onto a physical range with the largest pages that fit.
 *
 * @param phys page-aligned start of the backing, all of it below the CPU's
 *             physical address limit
 *
 * @return LOAM_OK; LOAM_INVALID; LOAM_OVERLAP if any page of @p virt is mapped;
 *         LOAM_NO_MEMORY if the tables it needs cannot be had. Does not flush,
 *         since a page that was not present is not cached; but while another
 *         CPU's unmap is flushing it does, too: a table may be cached.
 */
LOAM_NODISCARD enum loam_status loam_space_map(struct loam_space *space,
                                               struct loam_virt_range virt, loam_phys phys,
                                               struct loam_attr attr);

/**
 * Remove all mappings of the range, flush every CPU, then give back the tables
 * that became empty. A large page that reaches over an edge is split.
 *
 * @return LOAM_OK; LOAM_INVALID; LOAM_NOT_FOUND if any page is not mapped;
 *         LOAM_NO_MEMORY if a split needs a table and there is none
 */
LOAM_NODISCARD enum loam_status loam_space_unmap(struct loam_space *space,
                                                 struct loam_virt_range virt);

/**
 * Give all pages of the range new attributes, and flush every CPU. A large page
 * that reaches over an edge is split. Accessed and dirty bits are kept. Data is
 * not flushed from the caches: do not change the cache type of memory in use.
 *
 * @return as loam_space_unmap()
 */
LOAM_NODISCARD enum loam_status loam_space_protect(struct loam_space *space,
                                                   struct loam_virt_range virt,
                                                   struct loam_attr attr);

struct loam_translation {
    loam_phys phys;        /* of the byte asked for */
    struct loam_attr attr; /* effective: EXEC is set where the CPU has no NX */
    uint64_t page_size;    /* bytes: 4 KiB, 2 MiB or 1 GiB */
};

/**
 * What is mapped at @p virt.
 *
 * @return LOAM_OK; LOAM_NOT_FOUND: nothing; LOAM_INVALID: not canonical. *out is
 *         written on LOAM_OK only
 */
LOAM_NODISCARD enum loam_status loam_space_query(struct loam_space *space, loam_virt virt,
                                                 struct loam_translation *out);

/* Neighbouring pages of one size, one attribute set and contiguous backing. */
struct loam_mapping {
    struct loam_virt_range virt;
    loam_phys phys;
    struct loam_attr attr;
    uint64_t page_size;
};

/**
 * The lowest run of mappings that has a byte at or above @p from; the run is not
 * extended below @p from's page. Restart at its end to iterate; it ended the
 * address space if that is 0. O(run length), with interrupts off.
 *
 * @return LOAM_OK; LOAM_NOT_FOUND: nothing at or above @p from
 */
LOAM_NODISCARD enum loam_status loam_space_next(struct loam_space *space, loam_virt from,
                                                struct loam_mapping *out);

/**
 * @return NULL if sound: tables as many as counted, none empty, no reserved bit,
 *         no W+X page, rights as their half demands; else the broken rule. Must
 *         be quiet.
 */
LOAM_NODISCARD const char *loam_space_audit(const struct loam_space *space);

/** @return digest of all pages, but for accessed and dirty bits, and of the number
 * of tables. Must be quiet. */
LOAM_NODISCARD uint64_t loam_space_digest(const struct loam_space *space);

#ifdef __cplusplus
}
#endif
#endif
