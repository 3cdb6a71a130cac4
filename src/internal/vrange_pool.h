/*
 * vrange_pool.h - records for vrange: 50 to a page frame of the stock. Shared by the
 * sources of vrange.
 *
 *     frame    [ head | record 0 | record 1 | ... | record 49 )
 *     partial --> frame with free records <--> another <--> end
 *
 * A frame whose records are all free is in the stock, not here.
 */
#ifndef LOAM_INTERNAL_VRANGE_POOL_H
#define LOAM_INTERNAL_VRANGE_POOL_H

#include <loam/vrange.h>

#include "check.h"
#include "inject.h"

#define VRANGE_HEAD_BYTES 64u
#define VRANGE_RECORDS \
    ((unsigned)((LOAM_PAGE_SIZE - VRANGE_HEAD_BYTES) / sizeof(struct loam_vrange_record)))
#define VRANGE_ALL_FREE ((UINT64_C(1) << VRANGE_RECORDS) - 1)

/* Start of a frame that records lie in. */
struct loam_vrange_frame {
    struct loam_vrange_frame *next, *before; /* in the list of those with free records */
    uint64_t free_records;                   /* a bit for each */
};

LOAM_STATIC_ASSERT(sizeof(struct loam_vrange_frame) <= VRANGE_HEAD_BYTES, "the head fits");
LOAM_STATIC_ASSERT(VRANGE_RECORDS == 50, "as the header says; a bit for each");

static inline struct loam_vrange_frame *vrange_frame_of(const struct loam_vrange_record *record)
{
    return (struct loam_vrange_frame *)(uintptr_t)loam_page_floor(loam_virt_of(record).addr);
}

static inline struct loam_vrange_record *vrange_records_of(struct loam_vrange_frame *frame)
{
    return (struct loam_vrange_record *)((uintptr_t)frame + VRANGE_HEAD_BYTES);
}

static inline void vrange_frame_link_locked(struct loam_vrange *vrange,
                                            struct loam_vrange_frame *frame)
    LOAM_NEEDS(vrange->lock)
{
    frame->before = NULL;
    frame->next = vrange->partial;
    if (frame->next != NULL)
        frame->next->before = frame;
    vrange->partial = frame;
}

static inline void vrange_frame_unlink_locked(struct loam_vrange *vrange,
                                              const struct loam_vrange_frame *frame)
    LOAM_NEEDS(vrange->lock)
{
    if (frame->before == NULL)
        vrange->partial = frame->next;
    else
        frame->before->next = frame->next;
    if (frame->next != NULL)
        frame->next->before = frame->before;
}

/* Have a free record, or change nothing: the one step that can fail. */
static inline enum loam_status vrange_pool_reserve_locked(struct loam_vrange *vrange)
    LOAM_NEEDS(vrange->lock)
{
    loam_phys list;

    if (LOAM_INJECT("vrange.record"))
        return LOAM_NO_MEMORY;
    if (vrange->free_records > 0)
        return LOAM_OK;
    const enum loam_status status = loam_stock_take(vrange->nodes, 1, &list);
    if (status != LOAM_OK)
        return status;
    struct loam_vrange_frame *frame =
        loam_hhdm_pointer(vrange->nodes->hhdm, loam_stock_next(vrange->nodes, &list));
    frame->free_records = VRANGE_ALL_FREE;
    vrange_frame_link_locked(vrange, frame);
    vrange->free_records = VRANGE_RECORDS;
    vrange->node_frame_count++;
    return LOAM_OK;
}

/* A record that was reserved; contents undefined. */
static inline struct loam_vrange_record *vrange_pool_take_locked(struct loam_vrange *vrange)
    LOAM_NEEDS(vrange->lock)
{
    LOAM_ASSERT(vrange->partial != NULL);
    struct loam_vrange_frame *frame = vrange->partial;
    const unsigned slot = (unsigned)__builtin_ctzll(frame->free_records);

    frame->free_records &= frame->free_records - 1;
    if (frame->free_records == 0)
        vrange_frame_unlink_locked(vrange, frame);
    vrange->free_records--;
    return vrange_records_of(frame) + slot;
}

/* Free a record; its frame goes back to the stock when it was the last there. */
static inline void vrange_pool_put_locked(struct loam_vrange *vrange,
                                          const struct loam_vrange_record *record)
    LOAM_NEEDS(vrange->lock)
{
    struct loam_vrange_frame *frame = vrange_frame_of(record);

    if (frame->free_records == 0)
        vrange_frame_link_locked(vrange, frame);
    frame->free_records |= UINT64_C(1) << (record - vrange_records_of(frame));
    vrange->free_records++;
    if (frame->free_records != VRANGE_ALL_FREE)
        return;
    vrange_frame_unlink_locked(vrange, frame);
    vrange->free_records -= VRANGE_RECORDS;
    vrange->node_frame_count--;
    loam_stock_put(vrange->nodes, loam_hhdm_phys(vrange->nodes->hhdm, loam_virt_of(frame)));
}

#endif
