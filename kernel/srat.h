/*
 * srat.h - ACPI's System Resource Affinity Table: which memory and which CPUs belong
 * to which NUMA node. ACPI 6.5, section 5.2.16.
 *
 *     table    node 1 [4 GiB    )   node 0 [0      )   node 0 [1 MiB      )
 *     result   [ node 0 )  [ node 0           )  [ node 1          )
 *
 * The table is the firmware's word: nothing in it is believed without a look, and
 * what cannot be meant is left out and counted. Its order does not matter. Pure
 * functions over its bytes; they also run on the host.
 */
#ifndef KERNEL_SRAT_H
#define KERNEL_SRAT_H

#include <loam/frame.h>

enum srat_fault {
    SRAT_TRUNCATED, /* an entry without a length, or past the table's end: the rest is not read */
    SRAT_SHORT,     /* an entry shorter than its type: left out */
    SRAT_NO_DOMAIN, /* of the domain that stands for none, UINT32_MAX: left out */
    SRAT_WRAP,      /* memory past 2^64: left out */
    SRAT_UNALIGNED, /* memory that ends inside a page: that page is left out */
    SRAT_OVERLAP,   /* memory named for two domains: the one that starts lower keeps it */
};
#define SRAT_FAULTS 6u

/** What was wrong, for logs. @param fault any value @return never NULL */
const char *srat_fault_name(enum srat_fault fault);

/** Memory ranges that srat_read() may need room for. @param size bytes of the table */
size_t srat_room(size_t size);

struct srat {
    struct loam_frame_node *range; /* ascending, disjoint, page-aligned, not empty; what
                                      touches and is of one node is one range */
    size_t range_count;
    uint64_t fault_count[SRAT_FAULTS];
};

/**
 * Read the memory ranges: enabled ones of RAM, those that memory may be plugged into
 * later included. O(n) when they come in order, as they do.
 *
 * @param srat  range: room for srat_room(size); the rest is filled in
 * @param table whole, with its checksum proved
 * @param size  bytes
 */
void srat_read(struct srat *srat, const void *table, size_t size);

/**
 * The node of a CPU. If entries contradict each other, the lowest. O(entries).
 *
 * @return node; LOAM_NODE_NONE: the table says nothing about this CPU
 */
uint32_t srat_node_of_cpu(const void *table, size_t size, uint32_t apic_id);

#endif
