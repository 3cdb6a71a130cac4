/*
 * stock.h - a small reserve of page frames for the layers that keep books.
 *
 *     first --> [ frame ] --> [ frame ] --> [ frame ] --> end
 *
 * Page tables and interval nodes take single frames from here and give them
 * back. The caller of those layers keeps the stock filled, so they never call
 * down into an allocator. While an early allocator is attached the stock draws
 * on it by itself, once its own frames are used up.
 *
 * Frames are linked through their own first word, which holds the address of
 * the next one, or 0: page-aligned in any case, so that a page walk that still
 * sees the frame reads "not present".
 */
#ifndef LOAM_STOCK_H
#define LOAM_STOCK_H

#include "early.h"
#include "lock.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Fields are read-only outside stock.c; guarded by lock. */
struct loam_stock {
    struct loam_ticketlock lock;
    struct loam_hhdm hhdm;
    struct loam_early *early; /* borrowed until loam_stock_detach(); NULL after */
    loam_phys first;          /* none when empty */
    uint64_t frame_count;     /* in the stock now */
    uint64_t out_count;       /* taken and not put back */
};

/*
 * Default context of the functions here: any CPU, any interrupt state, not NMI;
 * takes stock->lock. While an early allocator is attached: boot CPU only.
 */

/**
 * Start empty.
 *
 * @param stock output
 * @param hhdm  from a boot adapter; anything else panics
 * @param early borrowed until loam_stock_detach(); NULL: no source
 *
 * Context: boot CPU, before anybody uses the stock; no lock.
 */
void loam_stock_init(struct loam_stock *stock, struct loam_hhdm hhdm, struct loam_early *early);

/** Stop drawing on the early allocator; to be called before loam_early_finish(). */
void loam_stock_detach(struct loam_stock *stock);

/**
 * Add frames from outside; the stock owns them from now on. O(pages).
 *
 * @param stock stock
 * @param range page-aligned, not empty, without frame 0, in the direct map, used
 *              by nobody; what can be seen to break this panics
 */
void loam_stock_add(struct loam_stock *stock, struct loam_phys_range range);

/**
 * Take @p count frames at once or none. O(count).
 *
 * @param stock stock
 * @param count > 0
 * @param out   receives @p count frames as a list, for loam_stock_next(); owned
 *              by the caller until loam_stock_put() of each
 *
 * @return LOAM_OK; LOAM_NO_MEMORY: fewer are to be had, nothing taken
 */
LOAM_NODISCARD enum loam_status loam_stock_take(struct loam_stock *stock, uint64_t count,
                                                loam_phys *out);

/**
 * Unlink the first frame of a list from loam_stock_take().
 *
 * @param stock where the list came from
 * @param list  advanced to the next frame
 *
 * @return the frame, wholly zero; loam_phys_none() at the end of the list
 *
 * Context: no lock; the list is the caller's alone.
 */
LOAM_NODISCARD loam_phys loam_stock_next(const struct loam_stock *stock, loam_phys *list);

/** The same, but the contents are undefined: for who writes all of it. */
LOAM_NODISCARD loam_phys loam_stock_next_raw(const struct loam_stock *stock, loam_phys *list);

/**
 * Put a frame back that came from loam_stock_take(); contents may be anything.
 * A frame that is unaligned, or was just put back, or one more than were taken,
 * panics.
 */
void loam_stock_put(struct loam_stock *stock, loam_phys frame);

/**
 * Put a whole list back: one from loam_stock_take(), or frames linked likewise, each
 * by the address in its first word, which is 0 in the last one.
 *
 * @param list loam_phys_none(): nothing is done
 */
void loam_stock_put_list(struct loam_stock *stock, loam_phys list);

/**
 * Take one frame out for good: the inverse of loam_stock_add(). Never draws on
 * the early allocator. The newest comes first.
 *
 * @return the frame, contents undefined, the caller's; loam_phys_none() when the
 *         stock is empty
 */
LOAM_NODISCARD loam_phys loam_stock_remove(struct loam_stock *stock);

/** Frames in the stock now. Any context but NMI. */
LOAM_NODISCARD uint64_t loam_stock_level(struct loam_stock *stock);

/** @return NULL if sound, else the broken rule. The stock must be quiet. */
LOAM_NODISCARD const char *loam_stock_audit(const struct loam_stock *stock);

/**
 * @return digest: how many frames could be taken, those of an attached early
 *         allocator included, and how many are out; not which. Must be quiet.
 */
LOAM_NODISCARD uint64_t loam_stock_digest(const struct loam_stock *stock);

#ifdef __cplusplus
}
#endif
#endif
