/*
 * vrange.h - which virtual addresses are in use: ranges inside windows.
 *
 *     window  [                                                         )
 *             [guard| range      |guard)  free  [ range )[ waiting )
 *
 * The caller names windows of the address space; ranges are allocated in them,
 * lowest fit first, or reserved where the caller says. Nothing is mapped here.
 * Guard pages belong to the range beside them and are left unmapped by whoever
 * uses it.
 *
 * A range that is freed waits: other CPUs may still have its translations. Who
 * flushes them takes all that wait as a batch, flushes once, and only then are
 * these addresses free:
 *
 *     struct loam_vrange_batch batch;
 *     if (loam_vrange_purge_begin(&vrange, &batch)) {
 *         ... flush batch.span, or each range of loam_vrange_purge_next(), on every CPU
 *         loam_vrange_purge_end(&batch);
 *     }
 *
 * Each range is a record in a balanced tree, which knows the largest gap of every
 * part. Records lie 50 to a page frame; frames come from a stock and go back there
 * when their last record is free. A range needs one record, which it keeps until
 * it is purged: to free and to purge needs none, so neither fails. Small ranges that
 * are purged may be kept by a CPU for the next who wants their like: without a search,
 * and without the lock that all CPUs share.
 */
#ifndef LOAM_VRANGE_H
#define LOAM_VRANGE_H

#include "stock.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LOAM_VRANGE_WINDOWS_MAX 8u
#define LOAM_VRANGE_GUARD_MAX   65535u /* pages on each side of a range */
#define LOAM_VRANGE_PURGE_PAGES 8192u  /* default of loam_vrange_init(): 32 MiB */
#define LOAM_VRANGE_CACHED_MAX  8u     /* ranges of one size that a CPU keeps */
#define LOAM_VRANGE_GONE        32u    /* ranges that were freed last, for who explains a fault */

enum loam_vrange_state {
    LOAM_VRANGE_FREE,
    LOAM_VRANGE_USED,
    LOAM_VRANGE_WAITING, /* freed, not yet purged */
    LOAM_VRANGE_CACHED,  /* free, and kept for the next of its size */
};

/* One range. Private to vrange.c; page numbers are addresses / 4096, so that an
 * end at 2^64 is one, too. What loam_vrange_peek() reads is atomic. */
struct loam_vrange_record {
    LOAM_ATOMIC(uint64_t) first;                    /* page, that of the guard before */
    LOAM_ATOMIC(struct loam_vrange_record *) left;  /* lower addresses */
    LOAM_ATOMIC(struct loam_vrange_record *) right; /* higher addresses */
    struct loam_vrange_record *parent;              /* NULL: the root */
    LOAM_ATOMIC(uint64_t) gap;                      /* free pages right before it */
    uint64_t largest;                               /* of all gaps in this part of the tree */
    LOAM_ATOMIC(uint64_t) pages;                    /* with guards; 0: the end of the window */
    LOAM_ATOMIC(uint64_t) shape;                    /* guards, tag, state; see vrange_tree.h */
    LOAM_ATOMIC(const char *) name;
    struct loam_vrange_record *next; /* waiting, too */
};

/* [first, end.first). Its end is in the tree, so every gap lies before a record. */
struct loam_vrange_window {
    uint64_t first; /* page */
    LOAM_ATOMIC(struct loam_vrange_record *) root;
    struct loam_vrange_record end;
};

/* A range that was freed. */
struct loam_vrange_gone {
    struct loam_virt_range range; /* without guards */
    const char *name;
};

struct loam_vrange_frame;
struct loam_vrange_cache;

/* Numbers of one moment. Pages are counted with guards. */
struct loam_vrange_totals {
    uint64_t window_pages;
    uint64_t range_count; /* used and waiting */
    uint64_t used_pages;
    uint64_t waiting_count, waiting_pages;
    uint64_t cached_count, cached_pages;
    uint64_t largest_gap; /* pages; what is cached is none */
};

/* Fields are read-only outside vrange.c; guarded by lock. Must stay where it is. */
struct loam_vrange {
    struct loam_ticketlock lock;
    struct loam_stock *nodes;      /* borrowed: frames for records come from here */
    LOAM_ATOMIC(uint64_t) version; /* odd while the tree changes */
    unsigned levels;
    LOAM_ATOMIC(uint32_t) window_count;
    struct loam_vrange_window window[LOAM_VRANGE_WINDOWS_MAX];
    struct loam_vrange_frame *partial;     /* frames with free records */
    uint64_t free_records;                 /* in those frames */
    uint64_t node_frame_count;             /* frames that records lie in */
    uint64_t record_count;                 /* ranges: used, waiting, cached */
    uint64_t used_pages;                   /* and cached */
    uint64_t waiting_count, waiting_pages; /* queued, and in batches */
    uint64_t purge_pages;                  /* so many queued: a purge is due */
    struct loam_vrange_record *queued;     /* what waits and is in no batch */
    uint64_t queued_count, queued_pages;
    uint64_t queued_low, queued_high; /* pages [low, high) that they lie in, without guards */
    struct loam_vrange_cache *cache;  /* of each CPU, with a lock of its own; NULL: none */
    unsigned cache_count;
    uint32_t freed_count; /* the last ones are gone[], number i at i % LOAM_VRANGE_GONE; wraps */
    struct loam_vrange_gone gone[LOAM_VRANGE_GONE];
};

/* What is wanted. 0 in a field but page_count: its default. */
struct loam_vrange_request {
    uint64_t page_count;   /* > 0; without guards */
    uint64_t guard_before; /* pages, 0..LOAM_VRANGE_GUARD_MAX */
    uint64_t guard_after;  /* likewise */
    uint64_t align_bytes;  /* power of two, of the first page after the guard; default: a page */
    uint64_t from;         /* the range, guard and all, starts at or above this address */
    uint64_t limit;        /* it ends at or below this address; default: none */
    uint64_t dice;         /* a random number: the place is found from there on; default: lowest */
    const char *name;      /* permanent; for dumps; default "unnamed" */
    uint16_t tag;          /* the caller's own, found again in struct loam_vrange_info */
};

/* What lies somewhere. */
struct loam_vrange_info {
    struct loam_virt_range range;       /* without guards */
    uint64_t guard_before, guard_after; /* pages */
    const char *name;                   /* "free" where nothing is */
    enum loam_vrange_state state;
    uint16_t tag;
};

/* Where an address lies. */
enum loam_vrange_place {
    LOAM_VRANGE_NOWHERE, /* in no window */
    LOAM_VRANGE_IN_GAP,  /* free; state tells whether it is cached */
    LOAM_VRANGE_IN_GUARD_BEFORE,
    LOAM_VRANGE_IN_RANGE,
    LOAM_VRANGE_IN_GUARD_AFTER,
    LOAM_VRANGE_CHANGING, /* loam_vrange_peek() only: cannot be said now */
};

/* Ranges that are being purged. On the caller's stack; fields are read-only. */
struct loam_vrange_batch {
    struct loam_vrange *vrange;  /* NULL once it has ended */
    struct loam_virt_range span; /* all of them lie in it, guards apart */
    uint64_t range_count;
    uint64_t page_count; /* without guards: what may have to be flushed */
    struct loam_vrange_record *first, *at;
};

/*
 * Contracts shared by all functions that take a vrange:
 *   context any CPU, any interrupt state, also handlers, not NMI; takes
 *           vrange->lock, and what needs or frees a record then the stock's
 *   cost    O(log n) for n ranges, expected, unless stated; audit and digest O(n)
 */

/**
 * Start without windows.
 *
 * @param vrange      output
 * @param nodes       borrowed for the life of @p vrange
 * @param levels      paging levels: 4 or 5
 * @param purge_pages pages that may wait until loam_vrange_is_purge_due(); 0:
 *                    LOAM_VRANGE_PURGE_PAGES
 *
 * Context: before anybody uses it; no lock.
 */
void loam_vrange_init(struct loam_vrange *vrange, struct loam_stock *nodes, unsigned levels,
                      uint64_t purge_pages);

/** Bytes for the caches of so many CPUs. @return 0: not in 1..LOAM_CPUS_MAX */
LOAM_NODISCARD size_t loam_vrange_cache_bytes_needed(unsigned cpu_count);

/**
 * From now on let each CPU keep up to LOAM_VRANGE_CACHED_MAX ranges of each of the sizes
 * 1, 2, 4, 8 and 16 pages, whatever their guards, when they are purged. Who then wants a
 * range like one of them, wherever it lies, gets that; who asks for bounds, an alignment
 * or dice does not. Ranges that are kept are free: they are given up before a place is
 * refused.
 *
 * @param vrange       ranges
 * @param cpu_count    1..LOAM_CPUS_MAX; what others free is kept by these CPUs
 * @param memory       64-byte aligned; borrowed for the life of @p vrange
 * @param memory_bytes of @p memory
 *
 * @return LOAM_OK; LOAM_INVALID: malformed; LOAM_NO_SPACE: memory_bytes is less than
 *         loam_vrange_cache_bytes_needed(); LOAM_STATE: done before
 *
 * Context: before anybody uses @p vrange.
 */
LOAM_NODISCARD enum loam_status loam_vrange_use_caches(struct loam_vrange *vrange,
                                                       unsigned cpu_count, void *memory,
                                                       size_t memory_bytes);

/** Give up all that is cached: large gaps may come of it. */
void loam_vrange_drain(struct loam_vrange *vrange);

/**
 * Forget all ranges, used or waiting, and all windows; the frames of their records
 * go back to the stock. O(n log n) with interrupts off: for an address space that
 * nobody uses any more. While a batch is under way this panics.
 */
void loam_vrange_release(struct loam_vrange *vrange);

/**
 * Let ranges lie in a window, too. Those named first are searched first.
 *
 * @param vrange ranges
 * @param window page-aligned, not empty, canonical, in one half of the address
 *               space; may end at 2^64
 *
 * @return LOAM_OK; LOAM_INVALID: it is none of the above; LOAM_OVERLAP: with
 *         another window; LOAM_NO_SPACE: there are LOAM_VRANGE_WINDOWS_MAX
 */
LOAM_NODISCARD enum loam_status loam_vrange_add_window(struct loam_vrange *vrange,
                                                       struct loam_virt_range window);

/**
 * Allocate the lowest place of the first window that has one; with dice, a place
 * that only this number and the ranges there decide: the lowest above a page that
 * it chooses evenly, or else the lowest of all. A gap that is large
 * enough but has no aligned place costs O(log n) more.
 *
 * @param vrange  ranges
 * @param request not retained, but the name
 * @param out     receives the first page after the guard; the caller's until
 *                loam_vrange_free()
 *
 * @return LOAM_OK; LOAM_INVALID: the request is malformed; LOAM_STATE: there is no
 *         place, but ranges wait: purge and try again; LOAM_NO_SPACE: there is none,
 *         and none waits; LOAM_NO_MEMORY: the stock has no frame for a record
 */
LOAM_NODISCARD enum loam_status loam_vrange_alloc(struct loam_vrange *vrange,
                                                  const struct loam_vrange_request *request,
                                                  loam_virt *out);

/**
 * Allocate exactly here.
 *
 * @param vrange  ranges
 * @param request as above; alignment and bounds are not read
 * @param at      first page after the guard, page-aligned
 *
 * @return LOAM_OK; LOAM_INVALID: the request is malformed, or the address
 *         unaligned; LOAM_NOT_FOUND: not wholly inside one window; LOAM_OVERLAP: a
 *         page is in use; LOAM_STATE: none is, but some wait: purge and try again;
 *         LOAM_NO_MEMORY as above
 */
LOAM_NODISCARD enum loam_status loam_vrange_reserve(struct loam_vrange *vrange,
                                                    const struct loam_vrange_request *request,
                                                    loam_virt at);

/**
 * Free a range: it waits to be purged. Nothing is mapped in it any more; flushed it
 * need not be. Never fails.
 *
 * @param vrange ranges
 * @param range  as allocated, without guards; what is not exactly that panics:
 *                   vrange: address is not page-aligned
 *                   vrange: no range here           never allocated, or freed and purged
 *                   vrange: not the start of a range (detail: where it starts)
 *                   vrange: freed twice             freed, not yet purged
 *                   vrange: wrong size              (detail: its size)
 */
void loam_vrange_free(struct loam_vrange *vrange, struct loam_virt_range range);

/**
 * Take an allocation back in which nothing was mapped since: it is free at once.
 * Panics as loam_vrange_free().
 */
void loam_vrange_cancel(struct loam_vrange *vrange, struct loam_virt_range range);

/** Do as many pages wait as loam_vrange_init() was told? O(1). */
LOAM_NODISCARD bool loam_vrange_is_purge_due(struct loam_vrange *vrange);

/**
 * Take all ranges that wait, in order to flush them. Several batches may be under
 * way at once. O(1).
 *
 * @param vrange ranges
 * @param batch  output; the caller's until loam_vrange_purge_end(), which must follow
 *
 * @return false: nothing waits, or all that does is in the batches of others, who
 *         are about to end them; *batch is untouched
 */
LOAM_NODISCARD bool loam_vrange_purge_begin(struct loam_vrange *vrange,
                                            struct loam_vrange_batch *batch);

/**
 * The next range of a batch.
 *
 * @return false: that was all; *out untouched, and the next call begins anew
 *
 * Context: no lock; the batch is the caller's alone.
 */
LOAM_NODISCARD bool loam_vrange_purge_next(struct loam_vrange_batch *batch,
                                           struct loam_vrange_info *out);

/**
 * Every CPU has dropped what it had of these ranges: they are free. O(log n) for
 * each; the lock is released now and then. A batch that was not begun, or has
 * ended, panics.
 */
void loam_vrange_purge_end(struct loam_vrange_batch *batch);

/**
 * What is at an address.
 *
 * @return where in it; LOAM_VRANGE_NOWHERE: in no window, *out untouched
 */
LOAM_NODISCARD enum loam_vrange_place loam_vrange_lookup(struct loam_vrange *vrange, loam_virt at,
                                                         struct loam_vrange_info *out);

/**
 * The same without a lock and without waiting, for who explains a fault: each answer
 * was right at some moment of the call. Freed memory may be read, but nothing that is
 * found there is used.
 *
 * @return as loam_vrange_lookup(); LOAM_VRANGE_CHANGING: ranges came and went all the
 *         time, or whoever changes them was interrupted by the caller; *out untouched
 *
 * Context: any, also NMI; not during loam_vrange_release().
 */
LOAM_NODISCARD enum loam_vrange_place loam_vrange_peek(const struct loam_vrange *vrange,
                                                       loam_virt at, struct loam_vrange_info *out);

/**
 * The lowest range or gap with a byte at or above @p from: to list what is used and
 * what is free. Go on at loam_vrange_info_end() of the last one: safe while other
 * CPUs allocate and free.
 *
 * @return false: there is none, *out untouched
 */
LOAM_NODISCARD bool loam_vrange_next(struct loam_vrange *vrange, loam_virt from,
                                     struct loam_vrange_info *out);

/**
 * Where to go on after a range or gap.
 *
 * @return false: it ends at 2^64, nothing follows; *at untouched
 */
static inline bool loam_vrange_info_end(const struct loam_vrange_info *info, loam_virt *at)
{
    const uint64_t end =
        info->range.start.addr + info->range.size + (info->guard_after << LOAM_PAGE_SHIFT);

    if (end == 0)
        return false;
    at->addr = end;
    return true;
}

/** Numbers of this moment. O(windows). */
void loam_vrange_measure(struct loam_vrange *vrange, struct loam_vrange_totals *out);

/**
 * Print one line per range and gap, ascending, guards in the addresses: first-last,
 * size, guard pages before and after, state, name:
 *     0xffffc00000000000-0xffffc00000005fff       24 KiB  1+1  used     stack of CPU 0
 * The writer is called without the lock; changes meanwhile are seen or not.
 */
void loam_vrange_print(struct loam_vrange *vrange, const struct loam_writer *writer);

/**
 * Visit every record: order, gaps, balance, counts, lists, the frames.
 *
 * @return NULL if sound, else the broken rule. Must be quiet.
 */
LOAM_NODISCARD const char *loam_vrange_audit(const struct loam_vrange *vrange);

/** @return digest of windows, ranges and what waits, not of their layout. Must be quiet. */
LOAM_NODISCARD uint64_t loam_vrange_digest(const struct loam_vrange *vrange);

#ifdef __cplusplus
}
#endif
#endif
