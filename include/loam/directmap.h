/*
 * directmap.h - layer 5: the kernel's own address space from nothing.
 *
 *   virt  [ direct map: one piece per run of one type )   [text)[rodata)[data)
 *   phys  [usable)   [reclaimable)[exec  r--  )  [fb WC)   ^ contiguous image
 *
 * The direct map covers exactly the memory types it is asked for, each run with
 * the largest pages that fit inside it: no page reaches over a change of type or
 * a hole. It is never executable. Frames of read-only or executable image
 * sections are read-only in the direct map too: no writable alias of code exists.
 * What lies in the higher half is global: the image, and mostly the direct map.
 */
#ifndef LOAM_DIRECTMAP_H
#define LOAM_DIRECTMAP_H

#include "memmap.h"
#include "paging.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Set of memory types: bit (1 << type). */
typedef unsigned loam_mem_types;
#define LOAM_MEM_BIT(type) (1u << (unsigned)(type))

/* One part of the kernel image; from the linker script's symbols. */
struct loam_image_section {
    struct loam_virt_range virt; /* page-aligned start; size is rounded up to pages */
    loam_prot prot;              /* WRITE, EXEC or neither; GLOBAL is added */
};

#define LOAM_IMAGE_SECTIONS_MAX 8u

/* The running kernel: physically contiguous, sections ascending and disjoint. */
struct loam_image {
    loam_phys phys_base; /* physical = virtual - virt_base + phys_base */
    loam_virt virt_base;
    struct loam_image_section section[LOAM_IMAGE_SECTIONS_MAX];
    unsigned section_count; /* 0: no image (a simulation) */
};

/**
 * Append one section, named by its linker-script symbols.
 *
 * @param start first byte, page-aligned
 * @param end   one past the last byte; an empty section is skipped
 * @param prot  LOAM_PROT_READ, _WRITE or _EXEC
 *
 * @return false: there are LOAM_IMAGE_SECTIONS_MAX already
 */
LOAM_NODISCARD static inline bool loam_image_add(struct loam_image *image, const void *start,
                                                 const void *end, loam_prot prot)
{
    const uint64_t size = loam_virt_of(end).addr - loam_virt_of(start).addr;
    if (size == 0)
        return true;
    if (image->section_count == LOAM_IMAGE_SECTIONS_MAX)
        return false;
    struct loam_image_section *section = &image->section[image->section_count++];
    section->virt = loam_virt_range_of(loam_virt_of(start), size);
    section->prot = prot;
    return true;
}

/** Physical range that the sections of a checked image span; empty without sections. */
LOAM_NODISCARD struct loam_phys_range loam_image_phys(const struct loam_image *image);

/**
 * Is the image usable: sections page-aligned, ascending, disjoint on page level,
 * in the canonical higher half, prot sane, physical side below phys_bits?
 *
 * @return LOAM_OK or LOAM_INVALID with @p refusal filled (may be NULL)
 */
LOAM_NODISCARD enum loam_status loam_image_check(const struct loam_image *image,
                                                 const struct loam_cpu_features *features,
                                                 struct loam_refusal *refusal);

/**
 * Map the direct map and the image into an empty space.
 *
 * @param space   where; on failure it holds part of the mappings and is to be
 *                thrown away with its stock's source
 * @param map     normalised memory map
 * @param types   memory types to cover; FRAMEBUFFER is mapped write-combining,
 *                RESERVED_MAPPED and ACPI read-only, the rest read-write
 * @param image   checked image
 * @param refusal filled on failure; may be NULL
 *
 * @return LOAM_OK; LOAM_NO_MEMORY; LOAM_OVERLAP if image and direct map collide;
 *         LOAM_INVALID if the direct map leaves its half of the address space, or
 *         memory lies above the CPU's physical addresses
 */
LOAM_NODISCARD enum loam_status loam_directmap_build(struct loam_space *space,
                                                     const struct loam_memmap *map,
                                                     loam_mem_types types,
                                                     const struct loam_image *image,
                                                     struct loam_refusal *refusal);

#ifdef __cplusplus
}
#endif
#endif
