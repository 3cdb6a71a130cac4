/*
 * pte.h - the format of page table entries, as pure functions.
 *
 *     63  62   52 51                 12 11  9  8  7  6 5 4 3 2 1 0
 *     NX  zero    address               zero   G  PS D A C T U W P    table, leaf
 *                                   PAT at 12 in large leaves, at 7 in small ones
 *
 * C and T are PCD and PWT: with PAT they number an entry of LOAM_PAT_LAYOUT, and
 * enum loam_cache is that number. Levels count upwards: 1 holds 4 KiB leaves, 2
 * 2 MiB leaves or tables of level 1, and so on. Intel SDM vol. 3, section 4.5.
 */
#ifndef LOAM_INTERNAL_PTE_H
#define LOAM_INTERNAL_PTE_H

#include <loam/paging.h>

#define PTE_PRESENT   (UINT64_C(1) << 0)
#define PTE_WRITE     (UINT64_C(1) << 1)
#define PTE_USER      (UINT64_C(1) << 2)
#define PTE_PWT       (UINT64_C(1) << 3)
#define PTE_PCD       (UINT64_C(1) << 4)
#define PTE_ACCESSED  (UINT64_C(1) << 5)
#define PTE_DIRTY     (UINT64_C(1) << 6)
#define PTE_LARGE     (UINT64_C(1) << 7) /* levels 2 and up */
#define PTE_PAT_SMALL (UINT64_C(1) << 7) /* level 1 */
#define PTE_GLOBAL    (UINT64_C(1) << 8)
#define PTE_PAT_LARGE (UINT64_C(1) << 12)
#define PTE_NX        (UINT64_C(1) << 63)
#define PTE_ADDRESS   UINT64_C(0x000ffffffffff000)
/* What the processor sets by itself. */
#define PTE_HARDWARE (PTE_ACCESSED | PTE_DIRTY)

#define PTE_COUNT     512u /* entries of a table */
#define PTE_LEVEL_MAX 5u
#define PTE_LEAF_MAX  3u /* highest level with leaves */

LOAM_STATIC_ASSERT(PTE_COUNT * sizeof(uint64_t) == LOAM_PAGE_SIZE, "a table is one page");
LOAM_STATIC_ASSERT(LOAM_CACHE_WB == 0 && LOAM_CACHE_WT == 1 && LOAM_CACHE_UC_MINUS == 2 &&
                       LOAM_CACHE_UC == 3 && LOAM_CACHE_WP == 4 && LOAM_CACHE_WC == 5,
                   "enum loam_cache numbers the entries of LOAM_PAT_LAYOUT");

/** log2 of the bytes that one entry covers. @param level 1..5 */
static inline unsigned pte_shift(unsigned level)
{
    return LOAM_PAGE_SHIFT + 9 * (level - 1);
}

/** Bytes that one entry covers. @param level 1..5 */
static inline uint64_t pte_span(unsigned level)
{
    return UINT64_C(1) << pte_shift(level);
}

/** Which entry of a table of @p level translates @p virt. */
static inline unsigned pte_index(uint64_t virt, unsigned level)
{
    return (unsigned)(virt >> pte_shift(level)) & (PTE_COUNT - 1);
}

static inline bool pte_is_present(uint64_t entry)
{
    return (entry & PTE_PRESENT) != 0;
}

/** Does a present entry map a page, not a table? */
static inline bool pte_is_leaf(uint64_t entry, unsigned level)
{
    return level == 1 || (entry & PTE_LARGE) != 0;
}

static inline uint64_t pte_pat_bit(unsigned level)
{
    return level == 1 ? PTE_PAT_SMALL : PTE_PAT_LARGE;
}

/** Address that a leaf maps. */
static inline uint64_t pte_leaf_phys(uint64_t entry, unsigned level)
{
    return entry & PTE_ADDRESS & ~(pte_span(level) - 1);
}

/** Address of the table that an entry points to. */
static inline uint64_t pte_table_phys(uint64_t entry)
{
    return entry & PTE_ADDRESS;
}

/**
 * Entry that points to a table. All rights are granted here: leaves decide.
 *
 * @param user may leaves below be for user mode: the lower half
 */
static inline uint64_t pte_table(uint64_t phys, bool user)
{
    return phys | PTE_PRESENT | PTE_WRITE | (user ? PTE_USER : 0);
}

/**
 * The cache type a CPU can give: without PAT there is neither WC nor WP, and the
 * uncached type that an MTRR may relax stands in for both.
 */
static inline enum loam_cache pte_cache(const struct loam_cpu_features *features,
                                        enum loam_cache cache)
{
    return features->pat || cache <= LOAM_CACHE_UC ? cache : LOAM_CACHE_UC_MINUS;
}

/** Bits of a leaf other than its address, for valid attributes. */
static inline uint64_t pte_attr_bits(const struct loam_cpu_features *features, unsigned level,
                                     struct loam_attr attr)
{
    const enum loam_cache given = pte_cache(features, attr.cache);
    const unsigned cache = (unsigned)given;
    uint64_t bits = PTE_PRESENT;

    bits |= (attr.prot & LOAM_PROT_WRITE) != 0 ? PTE_WRITE : 0;
    bits |= (attr.prot & LOAM_PROT_USER) != 0 ? PTE_USER : 0;
    bits |= (attr.prot & LOAM_PROT_GLOBAL) != 0 ? PTE_GLOBAL : 0;
    bits |= (attr.prot & LOAM_PROT_EXEC) == 0 && features->nx ? PTE_NX : 0;
    bits |= (cache & 1) != 0 ? PTE_PWT : 0;
    bits |= (cache & 2) != 0 ? PTE_PCD : 0;
    bits |= (cache & 4) != 0 ? pte_pat_bit(level) : 0;
    return bits | (level > 1 ? PTE_LARGE : 0);
}

/** Inverse of pte_attr_bits(); EXEC is set where the CPU has no NX. */
static inline struct loam_attr pte_attr(const struct loam_cpu_features *features, uint64_t entry,
                                        unsigned level)
{
    const unsigned cache = ((entry & PTE_PWT) != 0 ? 1u : 0u) | ((entry & PTE_PCD) != 0 ? 2u : 0u) |
                           ((entry & pte_pat_bit(level)) != 0 ? 4u : 0u);
    const loam_prot prot = ((entry & PTE_WRITE) != 0 ? LOAM_PROT_WRITE : 0) |
                           ((entry & PTE_USER) != 0 ? LOAM_PROT_USER : 0) |
                           ((entry & PTE_GLOBAL) != 0 ? LOAM_PROT_GLOBAL : 0) |
                           (features->nx && (entry & PTE_NX) != 0 ? 0 : LOAM_PROT_EXEC);
    const struct loam_attr attr = { prot, (enum loam_cache)cache };
    return attr;
}

/** A leaf with other attributes: address, accessed and dirty bits are kept. */
static inline uint64_t pte_protect(uint64_t entry, unsigned level, uint64_t attr_bits)
{
    return pte_leaf_phys(entry, level) | (entry & PTE_HARDWARE) | attr_bits;
}

/**
 * First of the 512 leaves one level down that together map what a large leaf
 * maps; the others add multiples of pte_span(level - 1). Accessed and dirty go
 * to all of them: which part was touched is not known.
 *
 * @param level of @p entry, 2 or 3
 */
static inline uint64_t pte_split(uint64_t entry, unsigned level)
{
    if (level > 2)
        return entry; /* large as before, PAT stays at bit 12 */
    const uint64_t pat = (entry & PTE_PAT_LARGE) != 0 ? PTE_PAT_SMALL : 0;
    return (entry & ~(PTE_PAT_LARGE | PTE_LARGE)) | pat;
}

/** Bits that may be set in an entry that points to a table. */
static inline uint64_t pte_allowed_table(const struct loam_cpu_features *features)
{
    const uint64_t phys = PTE_ADDRESS & ((UINT64_C(1) << features->phys_bits) - 1);

    return phys | PTE_PRESENT | PTE_WRITE | PTE_USER | PTE_ACCESSED;
}

/** Bits that may be set in a leaf. All others are zero in whatever this library
 * writes: reserved by the processor, or left unused by us. 0: no leaf there. */
static inline uint64_t pte_allowed_leaf(const struct loam_cpu_features *features, unsigned level)
{
    const uint64_t phys = PTE_ADDRESS & ((UINT64_C(1) << features->phys_bits) - 1);

    if (level > PTE_LEAF_MAX || (level == PTE_LEAF_MAX && !features->gib_pages))
        return 0; /* PS is reserved */
    return (phys & ~(pte_span(level) - 1)) | PTE_PRESENT | PTE_WRITE | PTE_USER | PTE_PWT |
           PTE_PCD | PTE_HARDWARE | PTE_GLOBAL | (level > 1 ? PTE_LARGE : 0) |
           (features->pat ? pte_pat_bit(level) : 0) | (features->nx ? PTE_NX : 0);
}

/** Has an entry only bits that this library or the processor sets? */
static inline bool pte_is_ours(const struct loam_cpu_features *features, uint64_t entry,
                               unsigned level)
{
    if (!pte_is_present(entry))
        return entry == 0;
    const uint64_t allowed =
        pte_is_leaf(entry, level) ? pte_allowed_leaf(features, level) : pte_allowed_table(features);
    return (entry & ~allowed) == 0;
}

#endif
