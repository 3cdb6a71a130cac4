/*
 * freelist_audit.h - is a heap sound? For freelist.c, which alone includes it. Reads
 * only; follows no link before it was found right.
 */
#ifndef LOAM_INTERNAL_FREELIST_AUDIT_H
#define LOAM_INTERNAL_FREELIST_AUDIT_H

#include <loam/freelist.h>

#include "freelist_header.h"
#include "freelist_quick.h"
#include "freelist_runs.h"
#include "freelist_table.h"

#define FREELIST_UNSOUND_TABLE "freelist: table does not match the lists"
#define FREELIST_UNSOUND_RUN   "freelist: free block is damaged"

/* What an audit has seen so far. */
struct freelist_seen {
    uint64_t start;     /* of the lowest run; the end before the first */
    uint64_t run_count; /* of two granules and more, which bins hold */
    uint64_t granules;  /* free ones */
};

/* The list of one cell that has one. Cells are audited from the highest down. */
static inline const char *freelist_audit_cell(const struct loam_freelist *list, uint64_t cell,
                                              struct freelist_seen *seen)
{
    uint64_t run = freelist_cell_top(list, cell);

    do {
        if (run >= seen->start || run < FREELIST_FIRST || !freelist_is_run(list, run) ||
            !freelist_is_linked(list, run))
            return FREELIST_UNSOUND_RUN;
        const uint64_t end = freelist_run_end(list, run);
        if (end >= seen->start && end != list->place_end)
            return "freelist: free blocks touch";
        seen->start = run;
        seen->granules += end - run;
        seen->run_count += end - run >= 2;
        run = freelist_run_next(list, run);
    } while (run != 0); /* ends: downwards */
    return NULL;
}

/* Every cell and every level above. */
static inline const char *freelist_audit_cells(const struct loam_freelist *list,
                                               struct freelist_seen *seen)
{
    const char *broken = NULL;

    for (uint64_t cell = freelist_cell(list->place_end) + 1; cell-- > 0 && broken == NULL;) {
        if ((freelist_level(list, 0)[cell / 64] >> cell % 64 & 1) != 0)
            broken = freelist_audit_cell(list, cell, seen);
    }
    uint64_t words = freelist_cell(list->place_end) / 64 + 1;
    for (unsigned level = 1; level < list->level_count; level++, words = (words + 63) / 64) {
        for (uint64_t i = 0; i < words && broken == NULL; i++) {
            const bool has = (freelist_level(list, level)[i / 64] >> i % 64 & 1) != 0;
            if (has != (freelist_level(list, level - 1)[i] != 0))
                broken = FREELIST_UNSOUND_TABLE;
        }
    }
    return broken;
}

/* Every bin: its runs are of its class, and there are no others than in the cells. */
static inline const char *freelist_audit_bins(const struct loam_freelist *list,
                                              const struct freelist_seen *seen)
{
    const uint64_t class_max = freelist_class(list->place_end - FREELIST_FIRST);
    uint64_t run_count = 0;

    for (uint64_t class_of = 0; class_of <= class_max; class_of++) {
        uint64_t run = freelist_bins(list)[class_of];
        if ((list->bin_map[class_of / 64] >> class_of % 64 & 1) != (run != 0))
            return FREELIST_UNSOUND_TABLE;
        while (run != 0) { /* ends: each is linked from one other */
            if (run >= list->place_end || !freelist_is_run(list, run) ||
                freelist_class(freelist_run_size(list, run)) != class_of ||
                !freelist_is_linked(list, run))
                return FREELIST_UNSOUND_RUN;
            run_count++;
            run = freelist_links_of(list, run)->next;
        }
    }
    return run_count == seen->run_count ? NULL : FREELIST_UNSOUND_TABLE;
}

/* Every block that waits. The cells are sound. */
static inline const char *freelist_audit_quick(const struct loam_freelist *list,
                                               struct freelist_seen *seen)
{
    uint64_t count = 0;

    for (uint64_t size = 0; list->quick != 0 && size < FREELIST_QUICK_COUNT; size++) {
        uint64_t at = freelist_quick(list)[size];
        if ((list->quick_map[size / 64] >> size % 64 & 1) != (at != 0))
            return FREELIST_UNSOUND_TABLE;
        for (; at != 0; at = freelist_waiting_next(list, at)) { /* ends: they are counted */
            if (at + size > list->place_end || freelist_waiting_size(list, at) != size)
                return "freelist: waiting block is damaged";
            const uint64_t below = freelist_look_around(list, at + size).below;
            if ((below != 0 && freelist_run_end(list, below) > at) ||
                freelist_waits_over(list, at, at))
                return "freelist: waiting block overlaps free memory";
            seen->granules += size;
            if (++count > list->waiting_count)
                return "freelist: waiting blocks are miscounted";
        }
    }
    return count == list->waiting_count ? NULL : "freelist: waiting blocks are miscounted";
}

/* While all blocks in use have headers, everything has a mark. */
static inline const char *freelist_audit_marks(const struct loam_freelist *list)
{
    uint64_t used_count = 0;
    uint64_t at = FREELIST_FIRST;

    while (at < list->place_end) { /* ends: no size is 0 */
        if (freelist_is_run(list, at)) {
            at = freelist_run_end(list, at);
        } else if (freelist_waiting_size(list, at) != 0) {
            at += freelist_waiting_size(list, at);
        } else {
            if (!freelist_is_used(list, at))
                return "freelist: header is damaged";
            if (!freelist_is_guarded(list, at))
                return "freelist: block overflowed";
            at += freelist_size(list, at);
            used_count++;
        }
    }
    return at == list->place_end && used_count == list->used_count
               ? NULL
               : "freelist: blocks in use are miscounted";
}

#endif
