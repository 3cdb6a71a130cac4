/*
 * sim_steady.h - all CPUs of a server at once, each a thread, take and give frames until
 * nothing changes any more, and then for the figures.
 *
 *     CPU   slot slot slot ...   each empty, or a block: of any order, from a zone, zeroed, or
 *      |                         one of several single frames
 *     letters                    blocks that other CPUs want to have given back here
 *
 * A step picks a slot: fills it if it is empty, else gives its block back or sends it to
 * another CPU. So half of the slots come to be full. The state is steady when a round of
 * as many steps as a CPU has slots changes the number of blocks by less than a
 * twentieth.
 */
#ifndef LOAM_TOOLS_SIM_STEADY_H
#define LOAM_TOOLS_SIM_STEADY_H

#include <loam/loam.h>

#include "tools/sim_numa.h"

struct sim_steady {
    uint64_t round_count; /* until it was steady; 0: it never was */
    uint64_t block_count; /* held in the steady state */
    uint64_t slot_count;
    uint64_t held_bytes;
    uint64_t whole_count; /* blocks of 2 MiB that are wholly free then */

    /* From then on. */
    uint64_t nanoseconds;
    uint64_t operation_count; /* blocks taken or given */
    uint64_t refusal_count;
    uint64_t remote_count;               /* blocks given back by another CPU */
    uint64_t request_count, local_count; /* blocks from any zone; of them from the own node */
    uint64_t frame_count, local_frames;  /* the same in frames */
    uint64_t zeroed_count, zeroed_local; /* zeroed ones, not in these */
    uint64_t beforehand_count;           /* of the zeroed ones: by idle CPUs */
    uint64_t drain_count;                /* lanes that were drained */
};

/** Run @p steps on each CPU once it is steady; then all is given back. Panics if memory is
 * given to two, or a zeroed frame is not zero. */
struct sim_steady sim_steady_run(struct loam *mm, const struct sim_numa *server, uint64_t steps);

#endif
