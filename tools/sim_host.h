/*
 * sim_host.h - the host under the simulated machine: time, progress, and which of its
 * memory is really there.
 */
#ifndef LOAM_TOOLS_SIM_HOST_H
#define LOAM_TOOLS_SIM_HOST_H

#include <loam/types.h>

/** Nanoseconds of a clock that only goes forward. */
LOAM_NODISCARD uint64_t sim_host_now(void);

/** Bytes of a page-aligned range of host memory that were written to; those only read
 * are the host's zero page and do not count. UINT64_MAX: the host does not tell */
LOAM_NODISCARD uint64_t sim_host_touched(const void *start, uint64_t size);

/** Most bytes of host memory the program had so far. */
LOAM_NODISCARD uint64_t sim_host_peak(void);

/*
 * One line a second to stderr from the first full second on, until it is stopped:
 *     loam-sim: 3 s, steady state: 512000 of 1280000 steps
 */
void sim_progress_start(void);
void sim_progress_stop(void);

/** What goes on from now on. @param step static text @param total steps of CPUs; 0: not counted */
void sim_progress_step(const char *step, uint64_t total);
/** So many are done. Any thread. */
void sim_progress_add(uint64_t count);

#endif
