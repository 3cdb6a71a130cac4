/*
 * selftest_numa.c - frames of a node come from that node, and each CPU gets those of its
 * own first.
 */
#include "cpu.h"
#include "log.h"
#include "memory.h"
#include "numa.h"
#include "selftest.h"
#include "smp.h"

#define TAKEN      64u /* single frames of each node, and on each CPU */
#define ROOM_BLOCK 16u /* free blocks of 2 MiB: then some lie where CPUs look first */

static _Atomic(unsigned) foreign_count; /* frames that a CPU got from elsewhere */

/* Of a block of 2 MiB that two nodes share, all frames count for the first one's. */
static bool is_of(loam_phys frame, uint32_t node)
{
    const loam_phys block = { frame.addr & ~(loam_order_bytes(LOAM_ORDER_2M) - 1) };
    return numa_node_of(frame) == node || numa_node_of(block) == node;
}

/* Take frames of one node, and no others. */
static const char *try_node(uint32_t node)
{
    loam_phys frame[TAKEN];
    struct loam_frame_stats stats;
    size_t count = 0;
    bool all_good = true;
    loam_frame_measure_node(&memory.frame, node, &stats);
    while (count < TAKEN) {
        frame[count] = loam_frame_alloc_on(&memory.frame, 0, LOAM_ZONE_ANY, node);
        if (loam_phys_is_none(frame[count]))
            break;
        all_good &= is_of(frame[count++], node);
    }
    loam_frame_free_bulk(&memory.frame, frame, count);
    if (!all_good)
        return "a frame of another node than was asked for";
    if (count < TAKEN && count < stats.free_count)
        return "a node with free memory that does not give it";
    return count <= stats.frame_count ? NULL : "more frames than the node has";
}

/* On each CPU: does it get its own node's frames, where there are enough? */
static void take_near(void *unused)
{
    const uint32_t node = numa.cpu_node[cpu_self()->index];
    loam_phys frame[TAKEN];
    struct loam_frame_stats stats;
    (void)unused;
    loam_frame_measure_node(&memory.frame, node, &stats);
    if (node == LOAM_NODE_NONE || stats.block_count < ROOM_BLOCK)
        return;
    const size_t count = loam_frame_alloc_bulk(&memory.frame, LOAM_ZONE_ANY, frame, TAKEN);
    for (size_t i = 0; i < count; i++) {
        if (!is_of(frame[i], node))
            atomic_fetch_add(&foreign_count, 1);
    }
    loam_frame_free_bulk(&memory.frame, frame, count);
}

static const char *try_sums(void)
{
    struct loam_frame_stats stats;
    uint64_t of_nodes = 0, of_zones = 0;
    for (uint32_t node = numa_next_node(0);; node = numa_next_node(node + 1)) {
        loam_frame_measure_node(&memory.frame, node, &stats);
        of_nodes += stats.frame_count;
        if (node == LOAM_NODE_NONE)
            break;
    }
    for (unsigned zone = 0; zone < LOAM_ZONES; zone++) {
        loam_frame_measure(&memory.frame, (enum loam_zone)zone, &stats);
        of_zones += stats.frame_count;
    }
    return of_nodes == of_zones ? NULL : "nodes and zones have not as many frames";
}

const char *selftest_numa(void)
{
    const char *wrong = try_sums();
    for (uint32_t node = numa_next_node(0); wrong == NULL && node != LOAM_NODE_NONE;
         node = numa_next_node(node + 1))
        wrong = try_node(node);
    if (wrong != NULL)
        return wrong;
    atomic_store(&foreign_count, 0);
    loam_frame_drain(&memory.frame); /* from before the nodes were named */
    smp_run_all(take_near, NULL);
    return atomic_load(&foreign_count) == 0 ? NULL : "a CPU got frames of another node first";
}
