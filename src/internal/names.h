/*
 * names.h - names that need no lock: of image sections, landmarks, the direct map.
 */
#ifndef LOAM_INTERNAL_NAMES_H
#define LOAM_INTERNAL_NAMES_H

#include <loam/names.h>

/* Is an address in a range that is not empty and may end at 2^64? */
static inline bool names_contains(struct loam_virt_range range, uint64_t at)
{
    return at - range.start.addr < range.size;
}

static inline uint64_t names_last(struct loam_virt_range range)
{
    return range.start.addr + (range.size - 1);
}

/* @p last, or what lies below @p start if that is less and above @p at. */
static inline uint64_t names_cut(uint64_t last, uint64_t at, uint64_t start)
{
    return start > at && start - 1 < last ? start - 1 : last;
}

static inline const char *names_of_section(loam_prot prot)
{
    if ((prot & LOAM_PROT_EXEC) != 0)
        return "kernel text";
    return (prot & LOAM_PROT_WRITE) != 0 ? "kernel data" : "kernel constants";
}

/* The section that has an address; else *last is cut where the next one begins. */
static inline const struct loam_image_section *names_section(const struct loam_names *names,
                                                             uint64_t at, uint64_t *last)
{
    if (names->image == NULL)
        return NULL;
    for (unsigned i = 0; i < names->image->section_count; i++) {
        const struct loam_image_section *const section = &names->image->section[i];
        const struct loam_virt_range pages = loam_virt_range_of(
            section->virt.start, loam_page_floor(section->virt.size + (LOAM_PAGE_SIZE - 1)));
        if (names_contains(pages, at)) {
            *last = names_last(pages);
            return section;
        }
        *last = names_cut(*last, at, pages.start.addr);
    }
    return NULL;
}

/* Likewise the landmark. */
static inline const struct loam_landmark *names_landmark(const struct loam_names *names,
                                                         uint64_t at, uint64_t *last)
{
    for (size_t i = 0; i < names->landmark_count; i++) {
        const struct loam_landmark *const landmark = &names->landmark[i];
        if (names_contains(landmark->range, at)) {
            *last = names_cut(names_last(landmark->range), at, *last + 1);
            return landmark;
        }
        *last = names_cut(*last, at, landmark->range.start.addr);
    }
    return NULL;
}

/* Place of an address that is in no section and no window, up to *last at most. */
static inline struct loam_place names_outside(const struct loam_names *names, uint64_t at,
                                              uint64_t last)
{
    const struct loam_landmark *const landmark = names_landmark(names, at, &last);
    const uint64_t offset = names->space->hhdm.offset;
    const uint64_t bytes = UINT64_C(1) << names->space->features.phys_bits;
    struct loam_place place = { LOAM_PLACE_UNNAMED, "unnamed", { 0 }, { last }, NULL };

    if (landmark != NULL) {
        place.kind = LOAM_PLACE_LANDMARK;
        place.name = landmark->name;
        place.first = landmark->range.start;
    } else if (at >= offset && at - offset < bytes) {
        place.kind = LOAM_PLACE_DIRECT_MAP;
        place.name = "direct map";
        place.first.addr = offset;
        if (last - offset >= bytes)
            place.last.addr = offset + (bytes - 1);
    } else {
        place.last.addr = names_cut(last, at, offset);
    }
    return place;
}

/* Place of an address that is in a section. */
static inline struct loam_place names_inside(const struct loam_image_section *section,
                                             uint64_t last)
{
    const struct loam_place place = {
        LOAM_PLACE_IMAGE, names_of_section(section->prot), section->virt.start, { last }, section
    };
    return place;
}

#endif
