/*
 * runs.h - which pages of the reserved addresses are free: the lowest run that is long
 * enough, in O(log n).
 *
 *     level 2   [ 16 nodes below in one ]                      4 GiB ...
 *     level 1   [ best | head | tail ] ...                     32 MiB
 *     level 0   [ best | head | tail ] [ ... ]                 2 MiB, a bit for each page
 *
 * A node says how long the longest free run below it is, the one at its start and the one
 * at its end; as what is missing to all, so that memory full of zeroes means free, and
 * nothing is written before it is used.
 *
 * The lowest place is taken: what is in use stays together at low addresses, and so does
 * what has been in use.
 *
 * Not locked.
 */
#ifndef PRELOAD_RUNS_H
#define PRELOAD_RUNS_H

#include <loam/types.h>

#define RUNS_BLOCK  512u /* pages of a node of level 0 */
#define RUNS_FAN    16u
#define RUNS_LEVELS 7u /* 2^9 * 2^28 pages */
#define RUNS_NONE   UINT64_MAX

struct runs_node {
    uint32_t best_lack, head_lack, tail_lack; /* pages that are missing to all */
};

struct runs {
    uint64_t page_count; /* multiple of RUNS_BLOCK */
    uint64_t *used;      /* a bit for each page */
    struct runs_node *level[RUNS_LEVELS];
    unsigned levels;
};

/** Bytes for so many pages. */
LOAM_NODISCARD uint64_t runs_bytes_needed(uint64_t page_count);
/** All pages free. @param memory zeroed */
void runs_init(struct runs *runs, uint64_t page_count, void *memory);
/** The lowest free run of @p count pages that starts at a multiple of @p align, a power of
 * two; taken. @return first page, or RUNS_NONE */
LOAM_NODISCARD uint64_t runs_take(struct runs *runs, uint64_t count, uint64_t align);
/** Take exactly these. @return false: one of them is in use, or there are not so many */
LOAM_NODISCARD bool runs_take_at(struct runs *runs, uint64_t page, uint64_t count);
/** Free pages, all in use. @return false: one was not; nothing is changed */
LOAM_NODISCARD bool runs_free(struct runs *runs, uint64_t page, uint64_t count);

#endif
