/*
 * usage.h - layer 3: who owns which physical range (an interval map).
 *
 *     0                                                              2^64
 *     [ bootloader )[ usable          )[ page tables )   [ reserved  )
 *                                                     gap
 *
 * Intervals are disjoint and sorted; bytes nobody was named for are in no
 * interval. Addresses go up to the last byte of the address space: an interval
 * may end at 2^64. Intervals need no alignment.
 *
 * The map is a B+tree: all but what says otherwise costs O(log n) for n intervals.
 * Its nodes lie several to a page frame; frames come from a stock and go back
 * there when their last node is free. Every operation has the nodes it needs
 * before it changes anything, so none fails half-way.
 */
#ifndef LOAM_USAGE_H
#define LOAM_USAGE_H

#include "stock.h"

#ifdef __cplusplus
extern "C" {
#endif

enum loam_owner {
    LOAM_OWNER_USABLE,           /* free for whoever asks */
    LOAM_OWNER_BOOTLOADER,       /* the bootloader's data, reclaimable later */
    LOAM_OWNER_EXECUTABLE,       /* kernel image and modules */
    LOAM_OWNER_PAGE_TABLES,      /* tables in use and in the stock */
    LOAM_OWNER_HEAP,             /* span of a heap */
    LOAM_OWNER_METADATA,         /* this library's own books */
    LOAM_OWNER_KERNEL,           /* frames the kernel took for itself */
    LOAM_OWNER_ACPI_RECLAIMABLE, /* ACPI tables */
    LOAM_OWNER_RESERVED_MAPPED,  /* other firmware tables */
    LOAM_OWNER_ACPI_NVS,
    LOAM_OWNER_RESERVED,
    LOAM_OWNER_FRAMEBUFFER,
    LOAM_OWNER_BAD,
};
#define LOAM_OWNERS 13u

/** Name of an owner, as it is printed. @param owner any value @return never NULL */
LOAM_NODISCARD const char *loam_owner_name(enum loam_owner owner);

/** The owner a memory type starts with. @param type any value; unknown: RESERVED */
LOAM_NODISCARD enum loam_owner loam_owner_of_type(enum loam_mem_type type);

struct loam_interval {
    struct loam_phys_range range; /* size 0 stands for 2^64 bytes: start is 0 then */
    enum loam_owner owner;
};

/**
 * Where to go on after an interval.
 *
 * @param interval from a lookup
 * @param at       receives the address after its last byte
 *
 * @return false: the interval ends at 2^64, nothing follows; *at untouched
 */
static inline bool loam_interval_end(const struct loam_interval *interval, loam_phys *at)
{
    const uint64_t end = interval->range.start.addr + interval->range.size;

    if (end == 0)
        return false;
    at->addr = end;
    return true;
}

/* Inner nodes above a leaf, at most. More would need more frames than 52 bits of
 * physical address can name. */
#define LOAM_USAGE_HEIGHT_MAX 12u

/* Nodes of one kind, of which several share a page frame. */
struct loam_usage_pool {
    loam_phys partial;   /* first frame with a free node; none: there is no such frame */
    uint64_t free_count; /* nodes free in those frames */
    uint64_t used_count; /* nodes in the tree */
};

/* Fields are read-only outside usage.c; guarded by lock. */
struct loam_usage {
    struct loam_ticketlock lock;
    struct loam_stock *nodes; /* borrowed: frames for nodes come from here */
    loam_phys root;           /* node; none when the map is empty */
    uint64_t height;          /* inner nodes above each leaf, 0..LOAM_USAGE_HEIGHT_MAX */
    uint64_t interval_count;
    uint64_t node_frame_count; /* page frames that nodes lie in: what is out of the stock */
    struct loam_usage_pool leaves;
    struct loam_usage_pool inners;
    uint64_t total_bytes[LOAM_OWNERS]; /* kept incrementally; modulo 2^64 */
    uint64_t owner_count[LOAM_OWNERS]; /* intervals of each owner, likewise */
};

/*
 * Contracts shared by all functions that take the map:
 *   context any CPU, any interrupt state, not NMI; takes usage->lock, and the
 *           changing calls then the stock's
 *   cost    O(log n + intervals touched) for n intervals, unless stated; audit
 *           and digest are O(n)
 *
 * and by the changing calls:
 *   range   size 0, or past 2^64, is LOAM_INVALID; so is an unknown owner
 *   result  LOAM_OK, or the status named; on failure nothing has changed
 *   nodes   LOAM_NO_MEMORY if the stock cannot give the frames that the call's
 *           nodes need: usually none, now and then one, at most
 *           1 + (height + 2) / 2. LOAM_NO_MEMORY comes only from calls that leave
 *           more intervals than there were
 */

/**
 * Start empty.
 *
 * @param usage output
 * @param nodes borrowed for the life of @p usage
 *
 * Context: before anybody uses the map; no lock.
 */
void loam_usage_init(struct loam_usage *usage, struct loam_stock *nodes);

/**
 * Insert; LOAM_OVERLAP if any byte is in an interval already: in which ones,
 * loam_usage_next_in() tells. Never merges.
 */
LOAM_NODISCARD enum loam_status loam_usage_insert(struct loam_usage *usage,
                                                  struct loam_phys_range range,
                                                  enum loam_owner owner);

/** As loam_usage_insert(), then merged with touching intervals of the same owner. */
LOAM_NODISCARD enum loam_status loam_usage_insert_merge(struct loam_usage *usage,
                                                        struct loam_phys_range range,
                                                        enum loam_owner owner);

/**
 * Give every byte of the range to @p owner, whoever had it, and merge with
 * touching intervals of the same owner.
 *
 *     before  [ A    )[ B  )    [ B       )
 *     range           [ A           )
 *     after   [ A                   )[ B  )
 */
LOAM_NODISCARD enum loam_status loam_usage_overwrite(struct loam_usage *usage,
                                                     struct loam_phys_range range,
                                                     enum loam_owner owner);

/** Remove the range from all intervals; LOAM_NOT_FOUND if none overlaps it. */
LOAM_NODISCARD enum loam_status loam_usage_cut(struct loam_usage *usage,
                                               struct loam_phys_range range);

/** The interval that holds @p at. @return false: in a gap, *out untouched */
LOAM_NODISCARD bool loam_usage_lookup(struct loam_usage *usage, loam_phys at,
                                      struct loam_interval *out);

/**
 * The lowest interval with a byte at or above @p from. To iterate, go on at
 * loam_interval_end() of the last one: safe while other CPUs change the map; an
 * interval that exists throughout is seen exactly once.
 *
 * @return false: there is none, *out untouched
 */
LOAM_NODISCARD bool loam_usage_next(struct loam_usage *usage, loam_phys from,
                                    struct loam_interval *out);

/**
 * The lowest interval that has a byte in @p range and one at or above @p from:
 * all intervals that overlap a range, one by one, whole even where they reach
 * over its edges.
 *
 *     loam_phys at = range.start;
 *     bool more = loam_usage_next_in(&usage, range, at, &interval);
 *     while (more) {
 *         ...
 *         more = loam_interval_end(&interval, &at) &&
 *                loam_usage_next_in(&usage, range, at, &interval);
 *     }
 *
 * As with loam_usage_next(), other CPUs may change the map between two calls.
 *
 * @param usage map
 * @param range where to look
 * @param from  where to go on; below the range: at its start
 * @param out   the interval
 *
 * @return false: there is none, or the range is empty or passes 2^64; *out
 *         untouched
 */
LOAM_NODISCARD bool loam_usage_next_in(struct loam_usage *usage, struct loam_phys_range range,
                                       loam_phys from, struct loam_interval *out);

/**
 * Copy intervals in ascending order, all of one moment: for who lists, compares
 * or draws the map. The copy is made under the lock, with interrupts off: about
 * 2 ns for each interval, so @p capacity bounds that time. Who needs no single
 * moment iterates instead; who wants text has loam_usage_print_intervals().
 *
 * @param usage    map
 * @param from     the first one copied is the lowest with a byte at or above
 * @param out      receives the intervals; not read when @p capacity is 0
 * @param capacity intervals that @p out has room for
 * @param existing receives how many the whole map holds at that moment, wherever
 *                 they are; NULL: not wanted
 *
 * @return how many were copied; fewer than @p capacity: there are no more
 */
LOAM_NODISCARD size_t loam_usage_snapshot(struct loam_usage *usage, loam_phys from,
                                          struct loam_interval *out, size_t capacity,
                                          uint64_t *existing);

/** Bytes of one owner, modulo 2^64. O(1). @param owner a known owner; else 0 */
LOAM_NODISCARD uint64_t loam_usage_total(struct loam_usage *usage, enum loam_owner owner);

/* Who has how much of a range. Bytes of no owner are the range's size less all. */
struct loam_usage_totals {
    uint64_t bytes[LOAM_OWNERS]; /* of each owner, inside the range */
    uint64_t interval_count;     /* intervals that overlap it */
};

/**
 * Totals within a range, of one moment.
 *
 * @param usage map
 * @param range where; as for the changing calls
 * @param out   written on LOAM_OK only
 *
 * @return LOAM_OK; LOAM_INVALID: the range is empty or passes 2^64
 */
LOAM_NODISCARD enum loam_status loam_usage_totals_in(struct loam_usage *usage,
                                                     struct loam_phys_range range,
                                                     struct loam_usage_totals *out);

/* 0 in a field but size and owner: its default. */
struct loam_usage_request {
    enum loam_owner owner; /* in whose intervals to look */
    uint64_t size;         /* bytes, > 0; within one interval, or one gap */
    uint64_t align_bytes;  /* power of two; default 1 */
    uint64_t from;         /* the place starts at or above this address */
    uint64_t limit;        /* the place ends at or below this address; default: none */
};

/**
 * First (lowest) place that satisfies a request.
 *
 * Subtrees whose largest USABLE interval is too small are skipped, so a search
 * for USABLE memory costs O(log n) for each place that is large enough but not
 * aligned. In intervals of other owners every one from @p request->from on is
 * looked at: O(log n + intervals passed).
 *
 * @param usage   map
 * @param request not retained
 *
 * @return its start, or loam_phys_none(): there is none, or the request is
 *         malformed
 */
LOAM_NODISCARD loam_phys loam_usage_find(struct loam_usage *usage,
                                         const struct loam_usage_request *request);

/**
 * First (lowest) place in no interval that satisfies a request; its owner is not
 * read. A gap reaches from one interval to the next, or to either end of the
 * address space. Subtrees whose largest gap is too small are skipped: O(log n)
 * for each gap that is large enough but not aligned.
 *
 * @return as loam_usage_find()
 */
LOAM_NODISCARD loam_phys loam_usage_find_gap(struct loam_usage *usage,
                                             const struct loam_usage_request *request);

/**
 * Print one line per interval, ascending: first-last, size, owner:
 *     0x0000000000001000-0x0000000000060fff      384 KiB  bootloader
 * The writer is called without the lock; changes meanwhile are seen or not.
 */
void loam_usage_print_intervals(struct loam_usage *usage, const struct loam_writer *writer);

/**
 * Print a header, one line per owner that has memory, and their sum if any has:
 *     owner             intervals                 bytes        size
 *     bootloader                1                393216     384 KiB
 *     sum                       1                393216     384 KiB
 * All numbers are of one moment. The writer is called without the lock.
 */
void loam_usage_print_table(struct loam_usage *usage, const struct loam_writer *writer);

/**
 * Visit every node: order, separators, fill, heights, largest gaps and USABLE
 * intervals, totals, the frames and their free nodes.
 *
 * @return NULL if sound, else the broken rule. Must be quiet.
 */
LOAM_NODISCARD const char *loam_usage_audit(const struct loam_usage *usage);

/** @return digest of intervals and totals, not of their layout in nodes. Must be quiet. */
LOAM_NODISCARD uint64_t loam_usage_digest(const struct loam_usage *usage);

#ifdef __cplusplus
}
#endif
#endif
