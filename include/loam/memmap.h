/*
 * memmap.h - layer 1: the boot memory map, normalised.
 *
 * In:  firmware/bootloader entries, any order, overlapping, unaligned.
 * Out: sorted, disjoint, page-aligned, merged entries. Usable memory shrinks to
 *      page boundaries, everything else grows; on overlap the more restrictive
 *      type wins. From here on nobody re-checks.
 *
 * The type of a page is the largest among the entries that cover it; a usable
 * entry covers a page only as a whole and inside the window. A page that no
 * entry covers but a usable one touches is reserved, and so is frame 0 if it
 * would be usable.
 *
 * Every repair is counted, and shown to a visitor if there is one. A repair only
 * ever makes less memory usable.
 */
#ifndef LOAM_MEMMAP_H
#define LOAM_MEMMAP_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Ascending order = increasingly restrictive; overlap keeps the larger. A
 * framebuffer outranks reserved because it lies inside a reserved window on real
 * machines and is the more precise statement about the same device memory.
 */
enum loam_mem_type {
    LOAM_MEM_USABLE,
    LOAM_MEM_BOOT_RECLAIMABLE, /* usable once the kernel drops boot data */
    LOAM_MEM_ACPI_RECLAIMABLE, /* usable once the kernel has read ACPI's tables */
    LOAM_MEM_EXECUTABLE,       /* kernel image and modules */
    LOAM_MEM_RESERVED_MAPPED,  /* firmware tables: RAM, not ours, readable */
    LOAM_MEM_ACPI_NVS,
    LOAM_MEM_RESERVED,
    LOAM_MEM_FRAMEBUFFER,
    LOAM_MEM_BAD,
};
#define LOAM_MEM_TYPES 9u

/** Name of a type for logs. @param type any value @return never NULL */
LOAM_NODISCARD const char *loam_mem_type_name(enum loam_mem_type type);

struct loam_memmap_entry {
    struct loam_phys_range range;
    enum loam_mem_type type; /* an unknown number counts as LOAM_MEM_RESERVED */
};

enum loam_repair {
    LOAM_REPAIR_EMPTY,        /* zero length: dropped */
    LOAM_REPAIR_WRAP,         /* base + length passes 2^64: clipped there */
    LOAM_REPAIR_LIMIT,        /* above the CPU's physical addresses: clipped or dropped */
    LOAM_REPAIR_UNREACHABLE,  /* usable above the direct map's window: dropped from usable */
    LOAM_REPAIR_SHRUNK,       /* usable, not page-aligned: shrunk, rest reserved */
    LOAM_REPAIR_GROWN,        /* other type, not page-aligned: grown */
    LOAM_REPAIR_UNKNOWN_TYPE, /* taken as reserved */
    LOAM_REPAIR_OVERLAP,      /* different types on the same pages: the restrictive one won.
                                 Once per stretch that the same entries cover */
    LOAM_REPAIR_PAGE_ZERO,    /* frame 0 was usable: reserved */
};
#define LOAM_REPAIRS 9u

/** What a repair did, for logs. @param repair any value @return never NULL */
LOAM_NODISCARD const char *loam_repair_name(enum loam_repair repair);

/*
 * Called once per repair, in no particular order, during loam_memmap_init().
 * @p where is the raw entry as it was before the repair, or the pages that a
 * repair of overlap or page zero is about. Only with LOAM_REPAIR_WRAP it does
 * not fit (loam_range_fits()); only with LOAM_REPAIR_EMPTY it is empty. It must
 * not call into this map.
 */
struct loam_repair_visitor {
    void (*visit)(void *context, enum loam_repair repair, struct loam_phys_range where);
    void *context;
};

/*
 * Entries of storage for @p raw_count raw entries; always enough, and required.
 * An entry has up to four page boundaries: a usable one whose first and last
 * page are only partly usable becomes reserved, usable, reserved.
 */
#define LOAM_MEMMAP_STORAGE(raw_count) (4 * (raw_count))

struct loam_memmap_request {
    const struct loam_memmap_entry *raw; /* borrowed until the call returns; copied once */
    size_t raw_count;
    struct loam_memmap_entry *storage; /* borrowed by the map for its life; not overlapping raw */
    size_t storage_count;
    unsigned phys_bits;                        /* 32..52: physical address width of the CPU */
    uint64_t window_bytes;                     /* the direct map shows [0, this); 0: all */
    const struct loam_repair_visitor *visitor; /* NULL: nobody; not retained */
};

/* Fields are read-only outside memmap.c. */
struct loam_memmap {
    struct loam_memmap_entry *entry; /* in the request's storage */
    size_t entry_count;
    uint64_t total_bytes[LOAM_MEM_TYPES];
    uint64_t repair_count[LOAM_REPAIRS];
};

/**
 * Normalise a raw map.
 *
 * @param map     output; untouched on failure, and so is the storage
 * @param request see there
 * @param refusal filled on failure; may be NULL
 *
 * @return LOAM_OK; LOAM_INVALID if there is no memory map or no entry in it, a
 *         bad phys_bits, or the storage is NULL, unaligned or overlaps raw;
 *         LOAM_NO_SPACE if the storage is smaller than
 *         LOAM_MEMMAP_STORAGE(raw_count). A map without usable memory is LOAM_OK
 *         here.
 *
 * Context: boot CPU only, before any other layer exists. O(n log n) time, no
 * memory but the storage.
 */
LOAM_NODISCARD enum loam_status loam_memmap_init(struct loam_memmap *map,
                                                 const struct loam_memmap_request *request,
                                                 struct loam_refusal *refusal);

/**
 * Entry that contains @p p, or the first one above it.
 *
 * @return index, or map->entry_count when there is none. O(log n).
 */
LOAM_NODISCARD size_t loam_memmap_find(const struct loam_memmap *map, loam_phys p);

/** @return NULL if the map is sound, else the broken rule. Visits everything. */
LOAM_NODISCARD const char *loam_memmap_audit(const struct loam_memmap *map);

/** @return digest of entries and totals. */
LOAM_NODISCARD uint64_t loam_memmap_digest(const struct loam_memmap *map);

#ifdef __cplusplus
}
#endif
#endif
