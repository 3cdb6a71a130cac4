/*
 * sim_numa.h - a synthetic server: what its firmware would say about memory, nodes and
 * CPUs.
 *
 *     node 0   [ 1 MiB: kernel, firmware tables, bootloader )  1 GiB   [ MMIO )  4 GiB  [ ... )
 *     node 1                                                                            [ ... )
 *     ...                                             one after the other, a small hole between
 */
#ifndef LOAM_TOOLS_SIM_NUMA_H
#define LOAM_TOOLS_SIM_NUMA_H

#include <loam/frame.h>

#include "tests/mapfile.h"

#define SIM_NODES_MAX   64u
#define SIM_NODE_RANGES (SIM_NODES_MAX + 1)  /* node 0 has two */
#define SIM_GIB_MAX     (UINT64_C(64) << 10) /* of all nodes together */

struct sim_numa {
    unsigned node_count; /* 1..SIM_NODES_MAX */
    uint64_t node_gib;   /* of each */
    unsigned cpu_count;  /* 1..LOAM_CPUS_MAX; the first on node 0, the last on the last one */
};

/** Read "NODES,GIB,CPUS". @return NULL; else what is wrong with it */
LOAM_NODISCARD const char *sim_numa_parse(struct sim_numa *server, const char *text);

/** First address above all memory. */
LOAM_NODISCARD uint64_t sim_numa_end(const struct sim_numa *server);

/** Make the server's map, CPU count and address width. To be freed with mapfile_free().
 * @return false: out of memory */
LOAM_NODISCARD bool sim_numa_describe(const struct sim_numa *server, struct mapfile *out);

/** What an affinity table would say of memory. @return how many */
LOAM_NODISCARD size_t sim_numa_ranges(const struct sim_numa *server,
                                      struct loam_frame_node out[SIM_NODE_RANGES]);

LOAM_NODISCARD uint32_t sim_numa_node_of_cpu(const struct sim_numa *server, unsigned cpu);
/** Nodes that have CPUs. */
LOAM_NODISCARD unsigned sim_numa_nodes_used(const struct sim_numa *server);
LOAM_NODISCARD uint32_t sim_numa_node_at(const struct sim_numa *server, loam_phys at);

#endif
