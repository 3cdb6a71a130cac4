/*
 * e820.h - boot adapter for the memory map of BIOS interrupt 15h, function E820h,
 * as a raw array. Header-only.
 *
 *     request.entries = map;                 as the BIOS wrote them, back to back
 *     request.mapped.hhdm_offset = ...;      what the kernel's entry code mapped
 *     loam_boot_e820(&boot, &storage, &request, &refusal);
 *
 * Such a loader makes no direct map: the kernel's entry code does, and says so
 * in struct loam_boot_mapped. The adapter cannot check it; loam_init() does what
 * can be checked.
 */
#ifndef LOAM_BOOT_E820_H
#define LOAM_BOOT_E820_H

#include "../loam.h"
#include "adapter.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the format: ACPI specification, section 15.1 ------------------------ */

#define LOAM_E820_USABLE           1u
#define LOAM_E820_RESERVED         2u
#define LOAM_E820_ACPI_RECLAIMABLE 3u
#define LOAM_E820_ACPI_NVS         4u
#define LOAM_E820_BAD_MEMORY       5u
#define LOAM_E820_PERSISTENT       7u
#define LOAM_E820_PERSISTENT_OLD   12u /* before ACPI 6.0 gave it a number */

/* Extended attributes, ACPI 3.0: the last word of a 24-byte entry. */
#define LOAM_E820_ENABLED      1u /* clear: the entry is to be ignored */
#define LOAM_E820_NON_VOLATILE 2u

/* Bytes per entry without and with extended attributes. */
#define LOAM_E820_STRIDE          20u
#define LOAM_E820_STRIDE_EXTENDED 24u

struct loam_e820_entry {
    uint64_t base;
    uint64_t length; /* bytes */
    uint32_t type;
    uint32_t attributes; /* only with LOAM_E820_STRIDE_EXTENDED */
};

LOAM_STATIC_ASSERT(sizeof(struct loam_e820_entry) == LOAM_E820_STRIDE_EXTENDED,
                   "the layout is the BIOS's");

/* ---- what the caller says ------------------------------------------------ */

/* All that is RAM, and framebuffers. */
#define LOAM_BOOT_MAPPED_TYPES                                                   \
    (LOAM_MEM_BIT(LOAM_MEM_USABLE) | LOAM_MEM_BIT(LOAM_MEM_BOOT_RECLAIMABLE) |   \
     LOAM_MEM_BIT(LOAM_MEM_ACPI_RECLAIMABLE) | LOAM_MEM_BIT(LOAM_MEM_ACPI_NVS) | \
     LOAM_MEM_BIT(LOAM_MEM_EXECUTABLE) | LOAM_MEM_BIT(LOAM_MEM_FRAMEBUFFER))

/*
 * The address space that the kernel's own entry code made, for bootloaders that
 * make none. 0 in a field: its default.
 */
struct loam_boot_mapped {
    uint64_t hhdm_offset;      /* virtual = physical + this */
    uint64_t hhdm_bytes;       /* [0, this) is mapped there; default: as far as fits */
    bool hhdm_is_identity;     /* offset 0 is meant */
    loam_mem_types hhdm_types; /* to stay mapped; default: LOAM_BOOT_MAPPED_TYPES */
    unsigned levels;           /* paging levels in use; default: 4 */
    unsigned cpu_count;        /* default: 1 */
    loam_phys image_phys;      /* where the image's first byte is ... */
    loam_virt image_virt;      /* ... and where it runs; sections: loam_image_add() */
};

struct loam_e820_boot {
    const void *entries; /* any alignment; not retained */
    size_t entry_count;
    size_t stride_bytes; /* LOAM_E820_STRIDE or LOAM_E820_STRIDE_EXTENDED */
    struct loam_boot_mapped mapped;
};

/* ---- the adapter --------------------------------------------------------- */

/** Loam's type for an E820 type. @param type any number; unknown: RESERVED */
LOAM_NODISCARD static inline enum loam_mem_type loam_e820_mem_type(uint32_t type)
{
    switch (type) {
    case LOAM_E820_USABLE:
        return LOAM_MEM_USABLE;
    case LOAM_E820_ACPI_RECLAIMABLE:
        return LOAM_MEM_ACPI_RECLAIMABLE;
    case LOAM_E820_ACPI_NVS:
        return LOAM_MEM_ACPI_NVS;
    case LOAM_E820_BAD_MEMORY:
        return LOAM_MEM_BAD;
    default: /* persistent memory too: what is in it is meant to stay */
        return LOAM_MEM_RESERVED;
    }
}

/* A struct loam_boot with everything but the memory map. */
LOAM_NODISCARD static inline struct loam_boot loam_boot_of_mapped_(
    const struct loam_boot_storage *storage, const struct loam_boot_mapped *mapped)
{
    struct loam_boot boot;
    __builtin_memset(&boot, 0, sizeof boot);
    boot.struct_bytes = sizeof boot;
    boot.storage = *storage;
    boot.cpu_count = mapped->cpu_count != 0 ? mapped->cpu_count : 1;
    boot.hhdm = loam_boot_hhdm(mapped->hhdm_offset);
    boot.hhdm_bytes = mapped->hhdm_bytes;
    boot.hhdm_is_identity = mapped->hhdm_is_identity;
    boot.hhdm_types = mapped->hhdm_types != 0 ? mapped->hhdm_types : LOAM_BOOT_MAPPED_TYPES;
    boot.levels = mapped->levels != 0 ? mapped->levels : 4;
    boot.image.phys_base = mapped->image_phys;
    boot.image.virt_base = mapped->image_virt;
    boot.rsdp = loam_phys_none();
    return boot;
}

/* Read one entry. @return false: it is to be ignored */
LOAM_NODISCARD static inline bool loam_e820_read_(const void *at, size_t stride_bytes,
                                                  struct loam_memmap_entry *out)
{
    struct loam_e820_entry entry;
    entry.attributes = LOAM_E820_ENABLED;
    __builtin_memcpy(&entry, at, stride_bytes);
    out->range.start = loam_phys_at(entry.base);
    out->range.size = entry.length;
    out->type = loam_e820_mem_type(entry.type);
    if (out->type == LOAM_MEM_USABLE && (entry.attributes & LOAM_E820_NON_VOLATILE) != 0)
        out->type = LOAM_MEM_RESERVED;
    return (entry.attributes & LOAM_E820_ENABLED) != 0;
}

/**
 * Fill @p boot from an E820 memory map.
 *
 * @param boot    output; untouched on failure. Add the image's sections with
 *                loam_image_add() next, and boot->rsdp if known
 * @param storage permanent; receives the raw memory map, untouched on failure
 * @param request see there; not retained
 * @param refusal filled on failure; may be NULL
 *
 * @return LOAM_OK; LOAM_INVALID: no entry, a bad stride, or the map lies in the
 *         storage; LOAM_NO_SPACE: more entries than the storage holds, ignored
 *         ones included (nothing is ever truncated)
 *
 * Context: boot CPU, on the tables that @p request describes.
 */
LOAM_NODISCARD static inline enum loam_status loam_boot_e820(
    struct loam_boot *boot, const struct loam_boot_storage *storage,
    const struct loam_e820_boot *request, struct loam_refusal *refusal)
{
    const size_t stride = request->stride_bytes;
    const size_t count = request->entry_count;
    const size_t room = storage->raw_max != 0 ? storage->raw_max - 1 : 0;
    if (request->entries == NULL || count == 0)
        return loam_boot_refuse_(refusal, LOAM_INVALID, "e820: no memory map", count, 1);
    if (stride != LOAM_E820_STRIDE && stride != LOAM_E820_STRIDE_EXTENDED)
        return loam_boot_refuse_(refusal, LOAM_INVALID, "e820: entries are not 20 or 24 bytes each",
                                 stride, LOAM_E820_STRIDE_EXTENDED);
    if (count > room)
        return loam_boot_refuse_(refusal, LOAM_NO_SPACE,
                                 "e820: memory map has more entries than there is room for", count,
                                 room);
    const uint64_t from = (uint64_t)(uintptr_t)request->entries;
    const uint64_t to = (uint64_t)(uintptr_t)storage->raw;
    if (to - from < count * stride || from - to < storage->raw_max * sizeof *storage->raw)
        return loam_boot_refuse_(refusal, LOAM_INVALID,
                                 "e820: memory map lies in the storage it is copied to (address)",
                                 from, 0);

    *boot = loam_boot_of_mapped_(storage, &request->mapped);
    for (size_t i = 0; i < count; i++) {
        const void *at = (const unsigned char *)request->entries + i * stride;
        if (loam_e820_read_(at, stride, &storage->raw[boot->raw_count]))
            boot->raw_count++;
    }
    boot->code = loam_boot_here_();
    boot->stack = loam_virt_of(__builtin_frame_address(0));
    return LOAM_OK;
}

#ifdef __cplusplus
}
#endif
#endif
