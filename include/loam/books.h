/*
 * books.h - frames change their owner: take, give back, map, reclaim.
 *
 * The services of struct loam that move physical memory between owners and keep
 * the usage map true. All of them work on any CPU after loam_init() and return
 * LOAM_STATE before it.
 */
#ifndef LOAM_BOOKS_H
#define LOAM_BOOKS_H

#include "paging.h"
#include "usage.h"

#ifdef __cplusplus
extern "C" {
#endif

struct loam;

/* Spare frames kept in a stock: enough for the tables of any one page at five
 * levels and the nodes of any one change, several times over. */
#define LOAM_SPARE_TABLES 16u
#define LOAM_SPARE_NODES  8u

/* loam_space_map(), _unmap() and _protect() on mm->space, with the stock filled
 * as needed from usable memory. Same contracts; LOAM_STATE before loam_init(). */
LOAM_NODISCARD enum loam_status loam_map(struct loam *mm, struct loam_virt_range virt,
                                         loam_phys phys, struct loam_attr attr);
LOAM_NODISCARD enum loam_status loam_unmap(struct loam *mm, struct loam_virt_range virt);
LOAM_NODISCARD enum loam_status loam_protect(struct loam *mm, struct loam_virt_range virt,
                                             struct loam_attr attr);

/**
 * Take a physically contiguous range of usable memory.
 *
 * @param mm      subsystem
 * @param request page count, alignment, limit
 * @param owner   who is charged; not LOAM_OWNER_USABLE
 * @param out     the range on LOAM_OK, in the direct map; contents undefined.
 *                The caller's until loam_give()
 *
 * @return LOAM_OK; LOAM_NO_MEMORY; LOAM_INVALID; LOAM_STATE before loam_init()
 *
 * Context: any CPU, not NMI.
 */
LOAM_NODISCARD enum loam_status loam_take(struct loam *mm, const struct loam_early_request *request,
                                          enum loam_owner owner, struct loam_phys_range *out);

/**
 * Make a range usable again: all of it or, page by page, a part. Panics unless
 * every page of it is charged to @p owner.
 *
 * @return LOAM_OK; LOAM_NO_MEMORY: no node to record a split; LOAM_INVALID: not
 *         page-aligned or empty
 */
LOAM_NODISCARD enum loam_status loam_give(struct loam *mm, struct loam_phys_range range,
                                          enum loam_owner owner);

/**
 * Give the bootloader's memory to the kernel. Only when no CPU needs it any
 * more: all run on mm's tables, on stacks and descriptor tables of the kernel's
 * own, parked CPUs included, and responses still needed were copied.
 *
 * @param bytes set to what this call gained, also on LOAM_NO_MEMORY
 *
 * @return LOAM_OK; LOAM_STATE: a second time, or before loam_init();
 *         LOAM_NO_MEMORY: no frame for a node: stopped half-way, another call
 *         goes on from there
 */
LOAM_NODISCARD enum loam_status loam_reclaim(struct loam *mm, uint64_t *bytes);

#ifdef __cplusplus
}
#endif
#endif
