/*
 * names.c - see names.h.
 */
#include <loam/loam.h>
#include <loam/names.h>

#include "internal/names.h"

struct loam_names loam_names_of(struct loam *mm)
{
    const struct loam_names names = {
        .space = &mm->space, .vrange = &mm->vmap.ranges, .usage = &mm->usage, .frame = &mm->frame
    };
    return names;
}

/* Place of an address in a window, up to @p last at most. */
static struct loam_place names_in_window(const struct loam_vrange_info *info, uint64_t at,
                                         uint64_t last)
{
    const uint64_t end = info->range.start.addr + info->range.size;
    struct loam_place place = { LOAM_PLACE_RANGE, info->name, info->range.start, { 0 }, NULL };
    uint64_t limit = end + (info->guard_after << LOAM_PAGE_SHIFT); /* 0: 2^64 */

    if (info->state == LOAM_VRANGE_FREE || info->state == LOAM_VRANGE_CACHED) {
        place.kind = LOAM_PLACE_FREE;
    } else if (info->state == LOAM_VRANGE_WAITING) {
        place.kind = LOAM_PLACE_WAITING;
    } else if (at < info->range.start.addr) {
        place.kind = LOAM_PLACE_GUARD_BEFORE;
        limit = info->range.start.addr;
    } else if (names_contains(info->range, at)) {
        limit = end;
    } else {
        place.kind = LOAM_PLACE_GUARD_AFTER;
    }
    place.last.addr = limit - 1 < last ? limit - 1 : last;
    return place;
}

struct loam_place loam_names_find(const struct loam_names *names, loam_virt at)
{
    uint64_t last = UINT64_MAX;
    const struct loam_image_section *const section = names_section(names, at.addr, &last);
    struct loam_vrange_info info;

    if (section != NULL)
        return names_inside(section, last);
    if (names->vrange != NULL) {
        if (loam_vrange_lookup(names->vrange, at, &info) != LOAM_VRANGE_NOWHERE)
            return names_in_window(&info, at.addr, last);
        if (loam_vrange_next(names->vrange, at, &info)) /* in a window above */
            last = names_cut(last, at.addr,
                             info.range.start.addr - (info.guard_before << LOAM_PAGE_SHIFT));
    }
    return names_outside(names, at.addr, last);
}

struct loam_rights loam_rights_of(loam_prot prot)
{
    const struct loam_rights rights = { {
        'r',
        (prot & LOAM_PROT_WRITE) != 0 ? 'w' : '-',
        (prot & LOAM_PROT_EXEC) != 0 ? 'x' : '-',
        (prot & LOAM_PROT_USER) != 0 ? 'u' : '-',
        (prot & LOAM_PROT_GLOBAL) != 0 ? 'g' : '-',
        '\0',
    } };
    return rights;
}

const char *loam_cache_name(enum loam_cache cache)
{
    static const char *const names[LOAM_CACHES] = { "WB", "WT", "UC-", "UC", "WP", "WC" };

    return (unsigned)cache < LOAM_CACHES ? names[cache] : "?";
}
