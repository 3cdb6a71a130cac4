/*
 * pte.h - the format of page table entries, as pure functions.
 *
 *     63  62 61    52 51                12 11  9  8  7  6 5 4 3 2 1 0
 *     NX  zero     CW address              soft   G  PS D A C T U W 1    leaf
 *     0   SP count    address              0 0 M  0  0  0 1 0 0 U 1 1    table
 *     56-bit value, inverted                      0  0  0 0 0 kind  0    guard, tag
 *     0   zero        address, inverted    zero   0  0  0 0 0 kind  0    held
 *
 * leaf   PAT lies at 12 in large leaves, at 7 in small ones. CW: copy on write.
 *        Bits 59-62 are left free for a protection key.
 * table  count: entries in use of the table it points to. SP: that was made by a
 *        split. M: it may hold entries in use that are not present. The processor
 *        ignores these bits, and since accessed is set it never writes here.
 * held   a frame that is recorded and not mapped. This and the values of guards and
 *        tags are inverted, so that a processor that looks ahead regardless of "not
 *        present" (L1TF) finds no such memory: values are small numbers.
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
#define PTE_SOFT      (UINT64_C(7) << PTE_SOFT_SHIFT) /* leaves: the caller's */
#define PTE_MIXED     (UINT64_C(1) << 9)              /* tables */
#define PTE_COW       (UINT64_C(1) << 52)             /* leaves: shared, so WRITE is withheld */
#define PTE_COW_WRITE (UINT64_C(1) << 53)             /* leaves: but for that they were writable */
#define PTE_ONE       (UINT64_C(1) << 52)             /* tables: one entry in use */
#define PTE_IN_USE    (UINT64_C(0x3ff) << 52)
#define PTE_WAS_SPLIT (UINT64_C(1) << 62) /* tables */
#define PTE_NX        (UINT64_C(1) << 63)
#define PTE_ADDRESS   UINT64_C(0x000ffffffffff000)
/* What the processor sets by itself. */
#define PTE_HARDWARE (PTE_ACCESSED | PTE_DIRTY)

/* Not present and in use: bits 1-3. */
#define PTE_KIND  (UINT64_C(7) << 1)
#define PTE_GUARD (UINT64_C(1) << 1)
#define PTE_TAG   (UINT64_C(2) << 1)
#define PTE_HELD  (UINT64_C(3) << 1)

#define PTE_SOFT_SHIFT 9u
#define PTE_TAG_SHIFT  8u /* the value of a guard or tag lies above */

#define PTE_COUNT     512u /* entries of a table */
#define PTE_LEVEL_MAX 5u
#define PTE_LEAF_MAX  3u /* highest level with leaves */

LOAM_STATIC_ASSERT(PTE_COUNT *PTE_ONE <= PTE_IN_USE, "a full table can be counted");
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
    return phys | PTE_PRESENT | PTE_WRITE | PTE_ACCESSED | (user ? PTE_USER : 0);
}

/** Entries in use in the table that an entry points to. */
static inline unsigned pte_in_use(uint64_t link)
{
    return (unsigned)((link & PTE_IN_USE) / PTE_ONE);
}

/** Is a whole table mapped, without a look at it? */
static inline bool pte_is_all_mapped(uint64_t link)
{
    return pte_in_use(link) == PTE_COUNT && (link & PTE_MIXED) == 0;
}

/** A guard or tag. @param kind PTE_GUARD or PTE_TAG */
static inline uint64_t pte_mark(uint64_t kind, uint64_t value)
{
    return ~value << PTE_TAG_SHIFT | kind;
}

static inline uint64_t pte_mark_value(uint64_t entry)
{
    return ~entry >> PTE_TAG_SHIFT;
}

/** An entry that is not present and holds a frame. */
static inline uint64_t pte_hold(uint64_t phys)
{
    return (~phys & PTE_ADDRESS) | PTE_HELD;
}

static inline uint64_t pte_held_phys(uint64_t entry)
{
    return ~entry & PTE_ADDRESS;
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
    const uint64_t cache = (uint64_t)given;
    const uint64_t prot = attr.prot;
    const uint64_t no_exec = (prot & LOAM_PROT_EXEC) == 0 && features->nx ? PTE_NX : 0;

    return PTE_PRESENT | (prot & LOAM_PROT_WRITE) * (PTE_WRITE / LOAM_PROT_WRITE) |
           (prot & LOAM_PROT_USER) * (PTE_USER / LOAM_PROT_USER) |
           (prot & LOAM_PROT_GLOBAL) * (PTE_GLOBAL / LOAM_PROT_GLOBAL) | no_exec |
           (cache & 1) * PTE_PWT | (cache >> 1 & 1) * PTE_PCD |
           (cache >> 2 & 1) * pte_pat_bit(level) | (level > 1 ? PTE_LARGE : 0);
}

/**
 * The same with what the processor would set by itself: kernel pages are never
 * asked for it, and an entry that it cannot change can be changed by plain stores.
 */
static inline uint64_t pte_preset(uint64_t attr_bits)
{
    return attr_bits | PTE_ACCESSED | ((attr_bits & PTE_WRITE) != 0 ? PTE_DIRTY : 0);
}

/** Is there nothing left that the processor could set? */
static inline bool pte_is_settled(uint64_t entry)
{
    return (entry & PTE_ACCESSED) != 0 && (entry & (PTE_WRITE | PTE_DIRTY)) != PTE_WRITE;
}

/** Inverse of pte_attr_bits(); EXEC is set where the CPU has no NX, WRITE where it is
 * withheld until the page was copied. */
static inline struct loam_attr pte_attr(const struct loam_cpu_features *features, uint64_t entry,
                                        unsigned level)
{
    const unsigned cache = ((entry & PTE_PWT) != 0 ? 1u : 0u) | ((entry & PTE_PCD) != 0 ? 2u : 0u) |
                           ((entry & pte_pat_bit(level)) != 0 ? 4u : 0u);
    const loam_prot prot = ((entry & (PTE_WRITE | PTE_COW_WRITE)) != 0 ? LOAM_PROT_WRITE : 0) |
                           ((entry & PTE_USER) != 0 ? LOAM_PROT_USER : 0) |
                           ((entry & PTE_GLOBAL) != 0 ? LOAM_PROT_GLOBAL : 0) |
                           (features->nx && (entry & PTE_NX) != 0 ? 0 : LOAM_PROT_EXEC);
    const struct loam_attr attr = { prot, (enum loam_cache)cache };
    return attr;
}

/** A leaf with other attributes: address, accessed, dirty and software bits are kept,
 * and so is that a page must be copied before it is written to. */
static inline uint64_t pte_protect(uint64_t entry, unsigned level, uint64_t attr_bits)
{
    const uint64_t kept = pte_leaf_phys(entry, level) | (entry & (PTE_HARDWARE | PTE_SOFT));

    if ((entry & PTE_COW) == 0)
        return kept | attr_bits;
    const uint64_t write = (attr_bits & PTE_WRITE) != 0 ? PTE_COW_WRITE : 0;
    return kept | PTE_COW | write | (attr_bits & ~PTE_WRITE);
}

/** A leaf whose page has got a second user: it is to be copied when written to. */
static inline uint64_t pte_share(uint64_t entry)
{
    const uint64_t write = (entry & PTE_WRITE) != 0 ? PTE_COW_WRITE : 0;
    return (entry & ~PTE_WRITE) | PTE_COW | write;
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
    if (level > 2 || !pte_is_present(entry))
        return entry; /* large as before, PAT stays at bit 12 */
    const uint64_t pat = (entry & PTE_PAT_LARGE) != 0 ? PTE_PAT_SMALL : 0;
    return (entry & ~(PTE_PAT_LARGE | PTE_LARGE)) | pat;
}

/** Inverse of pte_split(): the large leaf that stands for 512 like @p first. */
static inline uint64_t pte_merge(uint64_t first, unsigned level)
{
    if (level > 1 || !pte_is_present(first))
        return first;
    const uint64_t pat = (first & PTE_PAT_SMALL) != 0 ? PTE_PAT_LARGE : 0;
    return (first & ~PTE_PAT_SMALL) | PTE_LARGE | pat;
}

/** What entries further on in a table add to the first: their memory follows. Guards
 * and tags are all alike. */
static inline uint64_t pte_step(uint64_t entry, unsigned level)
{
    if (pte_is_present(entry))
        return pte_span(level);
    return (entry & PTE_KIND) == PTE_HELD ? (uint64_t)0 - pte_span(level) : 0;
}

/** Bits that may be set in an entry that points to a table. */
static inline uint64_t pte_allowed_table(const struct loam_cpu_features *features)
{
    const uint64_t phys = PTE_ADDRESS & ((UINT64_C(1) << features->phys_bits) - 1);

    return phys | PTE_PRESENT | PTE_WRITE | PTE_USER | PTE_ACCESSED | PTE_MIXED | PTE_IN_USE |
           PTE_WAS_SPLIT;
}

/** Bits that may be set in a leaf. All others are zero in whatever this library
 * writes: reserved by the processor, or left unused by us. 0: no leaf there. */
static inline uint64_t pte_allowed_leaf(const struct loam_cpu_features *features, unsigned level)
{
    const uint64_t phys = PTE_ADDRESS & ((UINT64_C(1) << features->phys_bits) - 1);

    if (level > PTE_LEAF_MAX || (level == PTE_LEAF_MAX && !features->gib_pages))
        return 0; /* PS is reserved */
    return (phys & ~(pte_span(level) - 1)) | PTE_PRESENT | PTE_WRITE | PTE_USER | PTE_PWT |
           PTE_PCD | PTE_HARDWARE | PTE_GLOBAL | PTE_SOFT | PTE_COW | PTE_COW_WRITE |
           (level > 1 ? PTE_LARGE : 0) | (features->pat ? pte_pat_bit(level) : 0) |
           (features->nx ? PTE_NX : 0);
}

/** Is an entry that is not present one that this library writes? */
static inline bool pte_is_our_mark(const struct loam_cpu_features *features, uint64_t entry,
                                   unsigned level)
{
    const uint64_t kind = entry & PTE_KIND;
    const uint64_t below = (UINT64_C(1) << PTE_TAG_SHIFT) - 1;

    if (entry == 0)
        return true;
    if (level > PTE_LEAF_MAX)
        return false;
    if (kind == PTE_HELD)
        return (entry & ~(PTE_ADDRESS | PTE_KIND)) == 0 &&
               pte_held_phys(entry) >> features->phys_bits == 0 &&
               (pte_held_phys(entry) & (pte_span(level) - 1)) == 0;
    return (kind == PTE_GUARD || kind == PTE_TAG) && (entry & below) == kind;
}

/** Has an entry only bits that this library or the processor sets? */
static inline bool pte_is_ours(const struct loam_cpu_features *features, uint64_t entry,
                               unsigned level)
{
    if (!pte_is_present(entry))
        return pte_is_our_mark(features, entry, level);
    const uint64_t allowed =
        pte_is_leaf(entry, level) ? pte_allowed_leaf(features, level) : pte_allowed_table(features);
    return (entry & ~allowed) == 0;
}

#endif
