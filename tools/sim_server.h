/*
 * sim_server.h - Loam on a synthetic server, from the end of its start to a steady state
 * and back: nodes named, the bootloader's memory reclaimed, all CPUs at work, everything
 * given back and accounted for.
 */
#ifndef LOAM_TOOLS_SIM_SERVER_H
#define LOAM_TOOLS_SIM_SERVER_H

#include <loam/loam.h>

#include "tools/sim_numa.h"
#include "tools/sim_steady.h"

struct sim_server {
    struct sim_numa numa;
    uint64_t start_nanoseconds; /* of loam_init(); the caller's to fill in */
    uint64_t steps;             /* of each CPU in the steady state; the caller's, too */
    uint64_t reclaimed_bytes;
    uint64_t metadata_bytes; /* of frames */
    uint64_t start_touched;  /* bytes of it that were written to by then */
    uint64_t touched;        /* and in the end; UINT64_MAX: the host does not tell */
    uint64_t block_count;    /* of 2 MiB, wholly free before and after */
    struct sim_steady steady;
};

/** All CPUs have entered. Panics if something is lost, or the books do not add up. */
void sim_server_run(struct sim_server *server, struct loam *mm);

void sim_server_print(const struct sim_server *server, const struct loam_writer *writer);

#endif
