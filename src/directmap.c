/*
 * directmap.c - see directmap.h.
 *
 *     map     [ usable      )[ executable                    )[ hole )[ fb )
 *     image                       [text )[rodata)[data )
 *     pieces  [ rw          )[ rw)[ r   )[ r    )[ rw        )        [ rw, WC )
 *
 * A piece lies inside one entry of the normalised map, and a section that must
 * not be written through the direct map is a piece of its own. Every piece is one
 * call of loam_space_map(), so no page can reach over its ends.
 */
#include <loam/directmap.h>

#include "internal/check.h"
#include "internal/refuse.h"
#include "internal/try.h"

/* ---- the image ----------------------------------------------------------- */

/* Bytes of a section, in whole pages. */
static uint64_t image_section_bytes(const struct loam_image_section *section)
{
    return loam_page_floor(section->virt.size + (LOAM_PAGE_SIZE - 1));
}

static struct loam_phys_range image_section_phys(const struct loam_image *image,
                                                 const struct loam_image_section *section)
{
    const uint64_t offset = section->virt.start.addr - image->virt_base.addr;

    return loam_phys_range_of(loam_phys_at(image->phys_base.addr + offset),
                              image_section_bytes(section));
}

struct loam_phys_range loam_image_phys(const struct loam_image *image)
{
    if (image->section_count == 0 || image->section_count > LOAM_IMAGE_SECTIONS_MAX)
        return loam_phys_range_of(image->phys_base, 0);
    const struct loam_phys_range first = image_section_phys(image, &image->section[0]);
    const struct loam_phys_range last =
        image_section_phys(image, &image->section[image->section_count - 1]);
    return loam_phys_range_of(first.start, last.start.addr + last.size - first.start.addr);
}

/* What a section must be by itself. */
static enum loam_status image_check_section(const struct loam_image_section *section,
                                            const struct loam_cpu_features *features,
                                            struct loam_refusal *refusal)
{
    const uint64_t start = section->virt.start.addr;
    const uint64_t size = section->virt.size;
    const loam_prot both = LOAM_PROT_WRITE | LOAM_PROT_EXEC;

    if (!loam_is_page_aligned(start))
        return loam_refuse(refusal, LOAM_INVALID, "image: section is not page-aligned", start, 0);
    if (start >> 63 == 0 || !loam_virt_is_canonical(section->virt.start, features->levels))
        return loam_refuse(refusal, LOAM_INVALID, "image: section is not in the higher half", start,
                           0);
    /* Whole pages pass 2^64 only if the bytes do: the start is page-aligned. */
    if (size == 0 || !loam_range_fits(start, size))
        return loam_refuse(refusal, LOAM_INVALID, "image: section is empty or passes 2^64", size,
                           0);
    if ((section->prot & ~both) != 0 || section->prot == both)
        return loam_refuse(refusal, LOAM_INVALID,
                           "image: rights of a section are not WRITE, EXEC or neither",
                           section->prot, 0);
    return LOAM_OK;
}

/* Where a sound section must be. */
static enum loam_status image_check_place(const struct loam_image *image, unsigned index,
                                          const struct loam_cpu_features *features,
                                          struct loam_refusal *refusal)
{
    const struct loam_image_section *const section = &image->section[index];
    const uint64_t start = section->virt.start.addr;
    const uint64_t limit = UINT64_C(1) << features->phys_bits;

    if (index > 0) {
        const struct loam_image_section *const below = &image->section[index - 1];
        const uint64_t below_start = below->virt.start.addr;
        if (start <= below_start || start - below_start < image_section_bytes(below))
            return loam_refuse(refusal, LOAM_INVALID,
                               "image: sections share a page or do not ascend", start, below_start);
    }
    if (start < image->virt_base.addr)
        return loam_refuse(refusal, LOAM_INVALID, "image: section lies below the image's base",
                           start, image->virt_base.addr);
    const uint64_t offset = start - image->virt_base.addr;
    const uint64_t room = image->phys_base.addr < limit ? limit - image->phys_base.addr : 0;
    if (offset >= room || image_section_bytes(section) > room - offset)
        return loam_refuse(refusal, LOAM_INVALID,
                           "image: section ends above the CPU's physical addresses",
                           image->phys_base.addr + offset + image_section_bytes(section), limit);
    return LOAM_OK;
}

enum loam_status loam_image_check(const struct loam_image *image,
                                  const struct loam_cpu_features *features,
                                  struct loam_refusal *refusal)
{
    if (image->section_count > LOAM_IMAGE_SECTIONS_MAX)
        return loam_refuse(refusal, LOAM_INVALID, "image: too many sections", image->section_count,
                           LOAM_IMAGE_SECTIONS_MAX);
    if (!loam_is_page_aligned(image->virt_base.addr) ||
        !loam_is_page_aligned(image->phys_base.addr))
        return loam_refuse(refusal, LOAM_INVALID, "image: base is not page-aligned",
                           image->virt_base.addr | image->phys_base.addr, 0);
    for (unsigned i = 0; i < image->section_count; i++) {
        LOAM_TRY(image_check_section(&image->section[i], features, refusal));
        LOAM_TRY(image_check_place(image, i, features, refusal));
    }
    return LOAM_OK;
}

/* ---- the direct map ------------------------------------------------------ */

static struct loam_attr directmap_attr(enum loam_mem_type type)
{
    const bool firmware = type == LOAM_MEM_RESERVED_MAPPED || type == LOAM_MEM_ACPI_RECLAIMABLE ||
                          type == LOAM_MEM_ACPI_NVS;
    const struct loam_attr attr = {
        firmware ? LOAM_PROT_READ : LOAM_PROT_WRITE,
        type == LOAM_MEM_FRAMEBUFFER ? LOAM_CACHE_WC : LOAM_CACHE_WB,
    };
    return attr;
}

/* The piece that @p rest begins with; read-only where it is part of a section
 * that is not writable. */
static struct loam_phys_range directmap_piece(const struct loam_image *image,
                                              struct loam_phys_range rest, bool *read_only)
{
    struct loam_phys_range piece = rest;

    *read_only = false;
    for (unsigned i = 0; i < image->section_count; i++) {
        const struct loam_phys_range section = image_section_phys(image, &image->section[i]);
        if ((image->section[i].prot & LOAM_PROT_WRITE) != 0)
            continue;
        const bool inside = loam_phys_range_contains(section, rest.start);
        const bool above = loam_phys_range_contains(piece, section.start);
        const uint64_t stop = inside ? section.start.addr + section.size : section.start.addr;
        *read_only = *read_only || inside;
        if ((inside || above) && stop - piece.start.addr < piece.size)
            piece.size = stop - piece.start.addr;
    }
    return piece;
}

/* The direct map's place for a physical range. @return false: it is not in the
 * half where the direct map begins */
static bool directmap_place(const struct loam_space *space, struct loam_phys_range range,
                            struct loam_virt_range *out)
{
    const uint64_t offset = space->hhdm.offset;
    const loam_virt start = loam_hhdm_virt(space->hhdm, range.start);
    const loam_virt last = loam_virt_at(start.addr + (range.size - 1));

    *out = loam_virt_range_of(start, range.size);
    return range.start.addr <= UINT64_MAX - offset && loam_range_fits(start.addr, range.size) &&
           (offset ^ last.addr) >> 63 == 0 && loam_virt_is_canonical(last, space->features.levels);
}

/* loam_space_map() with a reason for its refusal. */
static enum loam_status directmap_map(struct loam_space *space, struct loam_virt_range virt,
                                      loam_phys phys, struct loam_attr attr,
                                      struct loam_refusal *refusal)
{
    const enum loam_status st = loam_space_map(space, virt, phys, attr);

    if (st == LOAM_NO_MEMORY)
        return loam_refuse(refusal, st, "directmap: no frame left for a page table at (virtual)",
                           virt.start.addr, 0);
    if (st == LOAM_OVERLAP)
        return loam_refuse(refusal, st, "directmap: something else is mapped at (virtual)",
                           virt.start.addr, 0);
    if (st != LOAM_OK)
        return loam_refuse(refusal, st, "directmap: cannot be mapped at all (physical)", phys.addr,
                           virt.start.addr);
    return LOAM_OK;
}

static enum loam_status directmap_entry(struct loam_space *space,
                                        const struct loam_memmap_entry *entry,
                                        const struct loam_image *image,
                                        struct loam_refusal *refusal)
{
    struct loam_phys_range rest = entry->range;

    while (rest.size != 0) { /* ends: every piece is at least a page */
        struct loam_attr attr = directmap_attr(entry->type);
        struct loam_virt_range virt;
        bool read_only;
        const struct loam_phys_range piece = directmap_piece(image, rest, &read_only);
        if (!directmap_place(space, piece, &virt))
            return loam_refuse(refusal, LOAM_INVALID,
                               "directmap: memory ends above the direct map's half (physical)",
                               piece.start.addr + piece.size, 0);
        if (read_only)
            attr.prot = LOAM_PROT_READ;
        if (virt.start.addr >> 63 != 0)
            attr.prot |= LOAM_PROT_GLOBAL;
        LOAM_TRY(directmap_map(space, virt, piece.start, attr, refusal));
        rest.start = loam_phys_at(rest.start.addr + piece.size);
        rest.size -= piece.size;
    }
    return LOAM_OK;
}

enum loam_status loam_directmap_build(struct loam_space *space, const struct loam_memmap *map,
                                      loam_mem_types types, const struct loam_image *image,
                                      struct loam_refusal *refusal)
{
    for (size_t i = 0; i < map->entry_count; i++) {
        if ((types & LOAM_MEM_BIT(map->entry[i].type)) != 0)
            LOAM_TRY(directmap_entry(space, &map->entry[i], image, refusal));
    }
    for (unsigned i = 0; i < image->section_count; i++) {
        const struct loam_image_section *const section = &image->section[i];
        const struct loam_attr attr = { section->prot | LOAM_PROT_GLOBAL, LOAM_CACHE_WB };
        const struct loam_virt_range virt =
            loam_virt_range_of(section->virt.start, image_section_bytes(section));
        LOAM_TRY(
            directmap_map(space, virt, image_section_phys(image, section).start, attr, refusal));
    }
    LOAM_AUDIT(loam_space_audit(space) == NULL);
    return LOAM_OK;
}
