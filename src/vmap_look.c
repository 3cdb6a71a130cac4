/*
 * vmap_look.c - see vmap.h: where the window lies, what is in it, and is it sound?
 */
#include <loam/loam.h>

#include "internal/digest.h"

#define VMAP_SHARE     8u /* one part in so many of the kernel's half is the window, at most */
#define VMAP_HALF_OF_4 (UINT64_C(1) << 47)
#define VMAP_GIB       (LOAM_PAGE_SIZE << LOAM_ORDER_1G)

struct loam_virt_range loam_vmap_choose(unsigned levels, struct loam_virt_range shown,
                                        loam_virt image)
{
    const uint64_t half = UINT64_C(1) << (11u + 9u * levels); /* bytes */
    const uint64_t lowest = 0 - half;
    const bool is_above = shown.start.addr >= lowest;
    const uint64_t shown_last = shown.start.addr + (shown.size - 1);
    uint64_t start = is_above ? (shown_last | (VMAP_GIB - 1)) + 1 : lowest; /* 0: at 2^64 */
    uint64_t end = levels == 4 ? 0 - 2 * VMAP_GIB : 0 - VMAP_HALF_OF_4;

    if (image.addr >= lowest && image.addr < end)
        end = image.addr & ~(VMAP_GIB - 1);
    if (start == 0 || start >= end || end - start < 2 * VMAP_GIB) {
        start = lowest;
        end = is_above ? shown.start.addr & ~(VMAP_GIB - 1) : lowest;
    }
    uint64_t size = (end - start) / 2 & ~(VMAP_GIB - 1);
    size = size < half / VMAP_SHARE ? size : half / VMAP_SHARE;
    return loam_virt_range_of(loam_virt_at(end - size), size);
}

void loam_vmap_find(const struct loam *mm, loam_virt at, struct loam_vmap_place *out)
{
    struct loam_vmap_place found = { LOAM_VRANGE_NOWHERE, LOAM_VMAP_NONE, { .tag = 0 } };

    if (loam_once_is_ready(&mm->once))
        found.place = loam_vrange_peek(&mm->vmap.ranges, at, &found.info);
    if (found.place == LOAM_VRANGE_IN_RANGE || found.place == LOAM_VRANGE_IN_GUARD_BEFORE ||
        found.place == LOAM_VRANGE_IN_GUARD_AFTER)
        found.kind = (enum loam_vmap_kind)found.info.tag;
    *out = found;
}

/* ---- proof --------------------------------------------------------------- */

/* Where the run of pages ends that begins at or before @p at; @p at: nothing is mapped
 * there. */
static uint64_t vmap_mapped_end(struct loam *mm, uint64_t at, uint64_t end)
{
    struct loam_mapping run;

    while (at < end) { /* ends: at increases */
        if (loam_space_next(&mm->space, loam_virt_at(at), &run) != LOAM_OK ||
            run.virt.start.addr > at || run.kind != LOAM_ENTRY_PAGE)
            break;
        at = run.virt.start.addr + run.virt.size;
    }
    return at < end ? at : end;
}

/* Is no entry of [at, end) in use? */
static bool vmap_is_empty(struct loam *mm, uint64_t at, uint64_t end)
{
    struct loam_mapping run;

    return at >= end || loam_space_next(&mm->space, loam_virt_at(at), &run) != LOAM_OK ||
           run.virt.start.addr >= end;
}

/* One range or gap, guards and all. */
static const char *vmap_audit_one(struct loam *mm, const struct loam_vrange_info *info)
{
    const uint64_t start = info->range.start.addr;
    const uint64_t end = start + info->range.size;
    const bool is_mapped = info->state == LOAM_VRANGE_USED || info->state == LOAM_VRANGE_WAITING;
    const uint64_t mapped = is_mapped ? vmap_mapped_end(mm, start, end) : start;

    if (!vmap_is_empty(mm, start - (info->guard_before << LOAM_PAGE_SHIFT), start) ||
        !vmap_is_empty(mm, end, end + (info->guard_after << LOAM_PAGE_SHIFT)))
        return "vmap: a guard is mapped";
    if (is_mapped && mapped != end && info->tag != LOAM_VMAP_WINDOW)
        return "vmap: a range is not mapped";
    if (!vmap_is_empty(mm, mapped, end))
        return "vmap: something is mapped where nothing is allocated";
    return is_mapped && (info->tag == LOAM_VMAP_NONE || info->tag > LOAM_VMAP_WINDOW)
               ? "vmap: range of no kind"
               : NULL;
}

const char *loam_vmap_audit(struct loam *mm)
{
    struct loam_vmap *vmap = &mm->vmap;
    struct loam_vrange_info info;
    loam_virt at = vmap->window.start;
    const char *broken = loam_vrange_audit(&vmap->ranges);

    if (broken == NULL)
        broken = loam_stock_audit(&vmap->nodes);
    if (broken == NULL && vmap->nodes.out_count != vmap->ranges.node_frame_count)
        broken = "vmap: frames out of the stock are not those of the records";
    while (broken == NULL && loam_vrange_next(&vmap->ranges, at, &info)) {
        broken = vmap_audit_one(mm, &info);
        if (!loam_vrange_info_end(&info, &at)) /* ends: at increases */
            break;
    }
    return broken;
}

uint64_t loam_vmap_digest(const struct loam *mm)
{
    return loam_digest_add(loam_vrange_digest(&mm->vmap.ranges),
                           loam_stock_digest(&mm->vmap.nodes));
}
