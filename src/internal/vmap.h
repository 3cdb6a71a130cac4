/*
 * vmap.h - what vmap_fill.c does for vmap.c.
 */
#ifndef LOAM_INTERNAL_VMAP_H
#define LOAM_INTERNAL_VMAP_H

#include <loam/loam.h>

#define VMAP_OWNER    LOAM_OWNER_KERNEL
#define VMAP_PAGES_2M (1u << LOAM_ORDER_2M)
#define VMAP_SIZE_2M  (LOAM_PAGE_SIZE << LOAM_ORDER_2M)

/* One change, and what it takes. */
struct vmap_edit {
    struct loam_virt_range virt;
    const loam_phys *frame; /* to hold, one for each page; NULL: all from phys on */
    loam_phys phys;
    bool is_held; /* else it is mapped */
    struct loam_attr attr;
};

/* What memory is wanted. */
struct vmap_fill {
    bool is_zeroed;
    bool is_large; /* as a whole it comes and goes: it may have large pages */
};

/* Repeated with more and more spare tables, until it has enough or there are none; those
 * that are left over went back. */
enum loam_status loam_vmap_change(struct loam *mm, const struct vmap_edit *edit);

/* Map new memory at all pages of a range, or at none. */
enum loam_status loam_vmap_fill(struct loam *mm, struct loam_virt_range range,
                                struct loam_attr attr, const struct vmap_fill *fill);

/* Free the frames that are held in a range; every CPU has forgotten them. In a batch, and
 * as one of its own. */
void loam_vmap_collect(struct loam *mm, struct loam_space_batch *batch,
                       struct loam_virt_range range);
void loam_vmap_collect_alone(struct loam *mm, struct loam_virt_range range);

#endif
