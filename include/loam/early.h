/*
 * early.h - layer 2: page frames before there is a frame allocator.
 *
 *     record  start            top                end
 *               [    free       )[     taken       )
 *
 * One record per usable range; blocks are taken from the top downwards, highest
 * memory first. An alignment or limit that leaves a gap above the block splits
 * the record there, so that the records always say exactly what was taken:
 *
 *     start       top                           end
 *       [  free    )[          taken             )      before
 *
 *       [ f )[ block )[ gap )[       taken       )      after
 *       lower record  )[       upper record      )
 *
 * A gap that fills up again joins the two records. Where no record is left for
 * a split, a lower block that needs none is taken instead, if there is one.
 * Nothing is ever freed; loam_early_finish() closes the allocator and what was
 * taken can then be walked. Frame 0 is never handed out.
 *
 * Cost: one page without alignment and limit is O(1) amortised, since exhausted
 * records are passed once. Everything else is O(records).
 */
#ifndef LOAM_EARLY_H
#define LOAM_EARLY_H

#include "memmap.h"

#ifdef __cplusplus
extern "C" {
#endif

struct loam_early_record {
    uint64_t start, top, end; /* physical; start <= top <= end */
};

/* Records that always suffice: one per usable entry of the map, and one per
 * block with an alignment or a limit and per reserved range (@p splits). */
#define LOAM_EARLY_RECORDS(usable_entries, splits) ((usable_entries) + (splits))

struct loam_early {
    struct loam_early_record *record; /* borrowed; ascending, disjoint */
    size_t record_count;
    size_t record_max;
    size_t current;      /* no record above this one has a free page */
    uint64_t free_pages; /* pages still free */
    uint64_t taken_pages;
    bool closed; /* finished: allocation is a misuse */
};

/* 0 in a field: its default. */
struct loam_early_request {
    uint64_t page_count;  /* pages, > 0; physically contiguous */
    uint64_t align_bytes; /* power of two; default LOAM_PAGE_SIZE */
    uint64_t limit;       /* the block ends at or below this address; default: none */
};

/**
 * Start with all usable entries of a map.
 *
 * @param early      allocator
 * @param map        not retained
 * @param records    storage, borrowed for the life of @p early
 * @param record_max entries in @p records
 *
 * @return LOAM_OK; LOAM_NO_SPACE if the map has more usable entries than records
 *
 * Context of all functions here: boot CPU only, no lock.
 */
LOAM_NODISCARD enum loam_status loam_early_init(struct loam_early *early,
                                                const struct loam_memmap *map,
                                                struct loam_early_record *records,
                                                size_t record_max);

/**
 * Keep a range out of all later allocations. It does not count as taken. A call
 * after loam_early_finish() panics.
 *
 * @param range page-aligned; parts that are not usable memory are ignored
 *
 * @return LOAM_OK; LOAM_INVALID if empty, unaligned or wrapping; LOAM_OVERLAP if
 *         a page of it was already taken; LOAM_NO_SPACE if it splits a record
 *         and none is left
 */
LOAM_NODISCARD enum loam_status loam_early_reserve(struct loam_early *early,
                                                   struct loam_phys_range range);

/**
 * Take a block: the highest that there is. Permanent: there is no free. Contents
 * undefined.
 *
 * @return its start, or loam_phys_none() when no free block is large enough, the
 *         request is malformed, or its gap would need one record more than there
 *         is. A call after loam_early_finish() panics.
 */
LOAM_NODISCARD loam_phys loam_early_alloc(struct loam_early *early,
                                          const struct loam_early_request *request);

/** Pages of the largest block that loam_early_alloc() could still hand out. */
LOAM_NODISCARD uint64_t loam_early_largest(const struct loam_early *early);

/** Close the allocator. A second call panics. */
void loam_early_finish(struct loam_early *early);

/**
 * Walk what was taken, in ascending order, exactly; touching blocks may come as
 * one range. A call before loam_early_finish() panics.
 *
 * @param cursor 0 to start; advanced by each call
 * @param out    next range; untouched at the end
 *
 * @return false at the end
 */
LOAM_NODISCARD bool loam_early_taken(const struct loam_early *early, size_t *cursor,
                                     struct loam_phys_range *out);

/** @return NULL if sound, else the broken rule. */
LOAM_NODISCARD const char *loam_early_audit(const struct loam_early *early);

/** @return digest of the observable state. */
LOAM_NODISCARD uint64_t loam_early_digest(const struct loam_early *early);

#ifdef __cplusplus
}
#endif
#endif
