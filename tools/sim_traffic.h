/*
 * sim_traffic.h - what happens to a machine's memory while a kernel runs: all CPUs take
 * and give frames and ranges, the bootloader's memory is reclaimed, and so on.
 */
#ifndef LOAM_TOOLS_SIM_TRAFFIC_H
#define LOAM_TOOLS_SIM_TRAFFIC_H

#include <loam/loam.h>

struct sim_traffic {
    uint64_t request_count, refusal_count;
    uint64_t reclaimed_bytes;
};

/** Panics if memory is given to two, or if in the end the books do not add up. */
struct sim_traffic sim_traffic_run(struct loam *mm, unsigned cpu_count);

#endif
