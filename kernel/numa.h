/*
 * numa.h - which memory and which CPUs are near each other, as the firmware says.
 *
 * A node's number is ACPI's proximity domain: any number, with gaps.
 */
#ifndef KERNEL_NUMA_H
#define KERNEL_NUMA_H

#include <loam/frame.h>

struct numa {
    const struct loam_frame_node *range; /* ascending, disjoint, with RAM in each; permanent */
    size_t range_count;                  /* 0: the firmware knows no nodes */
    uint32_t cpu_node[LOAM_CPUS_MAX];    /* by index in cpu_table; or LOAM_NODE_NONE */
};

extern struct numa numa;

/**
 * Read ACPI's affinity table, log what is in it, and name the nodes to the frame
 * allocator. Without a table there are none.
 *
 * Context: boot CPU, once, after smp_count() and before the bootloader's memory is
 * reclaimed.
 */
void numa_load(void);

/* Log each node: how much RAM, which CPUs, what is free. */
void numa_report(void);

/** The lowest node at or above @p from that has RAM or a CPU. @return LOAM_NODE_NONE: none has */
uint32_t numa_next_node(uint32_t from);

/** The node of memory; LOAM_NODE_NONE: it is of none. O(log ranges) */
uint32_t numa_node_of(loam_phys phys);

#endif
