/*
 * stock.c - see stock.h.
 *
 * Frames not in use are a stack, linked through their first words. What is done
 * per frame without need of the lock - zeroing, linking new frames - is done
 * outside it, because it is held with interrupts off.
 */
#include <loam/stock.h>

#include "internal/check.h"
#include "internal/digest.h"
#include "internal/inject.h"

/* A frame's first word, whatever else its last user kept there. */
typedef uint64_t stock_word __attribute__((may_alias));

/* 0 ends a list: page-aligned and "not present", as loam_phys_none() is not. */
static void stock_link(const struct loam_stock *stock, loam_phys frame, loam_phys next)
{
    stock_word *const word = loam_hhdm_pointer(stock->hhdm, frame);

    *word = loam_phys_is_none(next) ? 0 : next.addr;
}

static loam_phys stock_after(const struct loam_stock *stock, loam_phys frame)
{
    const stock_word *const word = loam_hhdm_pointer(stock->hhdm, frame);

    return *word == 0 ? loam_phys_none() : loam_phys_at(*word);
}

/* Could this be the address of a frame in a stock? */
static bool stock_is_frame(loam_phys frame)
{
    return frame.addr != 0 && loam_is_page_aligned(frame.addr);
}

static void stock_push_locked(struct loam_stock *stock, loam_phys frame) LOAM_NEEDS(stock->lock)
{
    stock_link(stock, frame, stock->first);
    stock->first = frame;
    stock->frame_count++;
}

static bool stock_holds_locked(const struct loam_stock *stock, loam_phys frame)
    LOAM_NEEDS(stock->lock)
{
    loam_phys at = stock->first;

    for (uint64_t i = 0; i < stock->frame_count; i++) {
        if (at.addr == frame.addr)
            return true;
        at = stock_after(stock, at);
    }
    return false;
}

/* Have @p count frames in the stock. All or none: the early allocator is asked
 * how much it has before it is asked for any. */
static bool stock_fill_locked(struct loam_stock *stock, uint64_t count) LOAM_NEEDS(stock->lock)
{
    const struct loam_early_request page = { 1, 0, 0 };

    if (count <= stock->frame_count)
        return true;
    if (stock->early == NULL || stock->early->free_pages < count - stock->frame_count)
        return false;
    while (stock->frame_count < count) {
        const loam_phys frame = loam_early_alloc(stock->early, &page);
        if (loam_phys_is_none(frame)) /* injected; what was drawn stays in the stock */
            return false;
        stock_push_locked(stock, frame);
    }
    return true;
}

/* Unlink the first @p count frames; there are as many. */
static loam_phys stock_pop_locked(struct loam_stock *stock, uint64_t count) LOAM_NEEDS(stock->lock)
{
    const loam_phys list = stock->first;
    loam_phys last = list;

    for (uint64_t i = 1; i < count; i++)
        last = stock_after(stock, last);
    stock->first = stock_after(stock, last);
    stock_link(stock, last, loam_phys_none());
    stock->frame_count -= count;
    stock->out_count += count;
    return list;
}

void loam_stock_init(struct loam_stock *stock, struct loam_hhdm hhdm, struct loam_early *early)
{
    LOAM_REQUIRE(loam_hhdm_is_genuine(hhdm), "stock: direct map not from a boot adapter",
                 hhdm.offset, hhdm.seal);
    __builtin_memset(stock, 0, sizeof(*stock)); /* the lock starts as zeroes */
    stock->hhdm = hhdm;
    stock->early = early;
    stock->first = loam_phys_none();
}

void loam_stock_detach(struct loam_stock *stock)
{
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&stock->lock);

    stock->early = NULL;
    loam_ticketlock_release_irq(&stock->lock, irq);
}

void loam_stock_add(struct loam_stock *stock, struct loam_phys_range range)
{
    const uint64_t start = range.start.addr;

    LOAM_REQUIRE(range.size != 0, "stock: range added is empty", start, 0);
    LOAM_REQUIRE(loam_is_page_aligned(start) && loam_is_page_aligned(range.size),
                 "stock: range added is not page-aligned", start, range.size);
    LOAM_REQUIRE(loam_range_fits(start, range.size), "stock: range added passes 2^64", start,
                 range.size);
    LOAM_REQUIRE(start != 0, "stock: frame 0 cannot be kept", start, range.size);

    const loam_phys last = loam_phys_at(start + (range.size - LOAM_PAGE_SIZE));
    for (uint64_t at = start; at != last.addr; at += LOAM_PAGE_SIZE)
        stock_link(stock, loam_phys_at(at), loam_phys_at(at + LOAM_PAGE_SIZE));

    const loam_irq_state irq = loam_ticketlock_acquire_irq(&stock->lock);
    stock_link(stock, last, stock->first);
    stock->first = range.start;
    stock->frame_count += range.size >> LOAM_PAGE_SHIFT;
    loam_ticketlock_release_irq(&stock->lock, irq);
}

enum loam_status loam_stock_take(struct loam_stock *stock, uint64_t count, loam_phys *out)
{
    LOAM_REQUIRE(count != 0, "stock: no frames asked for", loam_virt_of(stock).addr, 0);
    if (LOAM_INJECT("stock.take"))
        return LOAM_NO_MEMORY;

    const loam_irq_state irq = loam_ticketlock_acquire_irq(&stock->lock);
    const bool enough = stock_fill_locked(stock, count);
    const loam_phys list = enough ? stock_pop_locked(stock, count) : loam_phys_none();
    loam_ticketlock_release_irq(&stock->lock, irq);
    if (!enough)
        return LOAM_NO_MEMORY;
    *out = list;
    return LOAM_OK;
}

loam_phys loam_stock_next_raw(const struct loam_stock *stock, loam_phys *list)
{
    const loam_phys frame = *list;

    if (!loam_phys_is_none(frame))
        *list = stock_after(stock, frame);
    return frame;
}

loam_phys loam_stock_next(const struct loam_stock *stock, loam_phys *list)
{
    const loam_phys frame = loam_stock_next_raw(stock, list);

    if (!loam_phys_is_none(frame))
        __builtin_memset(loam_hhdm_pointer(stock->hhdm, frame), 0, LOAM_PAGE_SIZE);
    return frame;
}

/* What can be seen to be wrong with a frame that comes back. */
static void stock_require_locked(const struct loam_stock *stock, loam_phys frame)
    LOAM_NEEDS(stock->lock)
{
    LOAM_REQUIRE(stock_is_frame(frame), "stock: not a page frame", frame.addr, 0);
    LOAM_REQUIRE(stock->out_count > 0, "stock: more frames put back than taken", frame.addr,
                 stock->frame_count);
    LOAM_REQUIRE(frame.addr != stock->first.addr, "stock: frame put back twice", frame.addr,
                 stock->frame_count);
    LOAM_CHECK_IF(LOAM_CHECK >= 2, !stock_holds_locked(stock, frame), "stock: frame put back twice",
                  frame.addr, stock->frame_count);
}

void loam_stock_put_list(struct loam_stock *stock, loam_phys list)
{
    loam_phys frame;

    if (loam_phys_is_none(list))
        return;
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&stock->lock);
    while (!loam_phys_is_none(frame = loam_stock_next_raw(stock, &list))) {
        stock_require_locked(stock, frame);
        stock_push_locked(stock, frame);
        stock->out_count--;
    }
    loam_ticketlock_release_irq(&stock->lock, irq);
}

void loam_stock_put(struct loam_stock *stock, loam_phys frame)
{
    LOAM_REQUIRE(stock_is_frame(frame), "stock: not a page frame", frame.addr, 0);
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&stock->lock);
    stock_require_locked(stock, frame);
    stock_push_locked(stock, frame);
    stock->out_count--;
    loam_ticketlock_release_irq(&stock->lock, irq);
}

loam_phys loam_stock_remove(struct loam_stock *stock)
{
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&stock->lock);
    const loam_phys frame = stock->first;

    if (!loam_phys_is_none(frame)) {
        stock->first = stock_after(stock, frame);
        stock->frame_count--;
    }
    loam_ticketlock_release_irq(&stock->lock, irq);
    return frame;
}

uint64_t loam_stock_level(struct loam_stock *stock)
{
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&stock->lock);
    const uint64_t level = stock->frame_count;

    loam_ticketlock_release_irq(&stock->lock, irq);
    return level;
}

const char *loam_stock_audit(const struct loam_stock *stock)
{
    loam_phys at = stock->first;

    if (!loam_hhdm_is_genuine(stock->hhdm))
        return "stock: direct map not from a boot adapter";
    for (uint64_t i = 0; i < stock->frame_count; i++) { /* ends on a cycle, too */
        if (loam_phys_is_none(at))
            return "stock: fewer frames than counted";
        if (!stock_is_frame(at))
            return "stock: link is not a page frame";
        at = stock_after(stock, at);
    }
    return loam_phys_is_none(at) ? NULL : "stock: more frames than counted, or a cycle";
}

uint64_t loam_stock_digest(const struct loam_stock *stock)
{
    const uint64_t in_early = stock->early != NULL ? stock->early->free_pages : 0;

    /* Drawing on the early allocator moves frames, but makes none. */
    return loam_digest_add(loam_digest_add(LOAM_DIGEST_START, stock->frame_count + in_early),
                           stock->out_count);
}
