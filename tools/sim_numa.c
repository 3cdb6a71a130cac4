/*
 * sim_numa.c - see sim_numa.h.
 */
#include "sim_numa.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)
#define GIB(n) ((uint64_t)(n) << 30)

#define LOW_END       GIB(1)              /* of node 0's memory below the hole */
#define HIGH          GIB(4)              /* where memory goes on */
#define HOLE          (MIB(17) + KIB(12)) /* at a node's end: on no boundary of a large page */
#define PHYS_BITS_MIN 46u

const char *sim_numa_parse(struct sim_numa *server, const char *text)
{
    unsigned nodes = 0;
    unsigned cpus = 0;
    unsigned long gib = 0;
    int used = 0;
    if (strspn(text, "0123456789,") != strlen(text) || strlen(text) > 20 ||
        sscanf(text, "%9u,%9lu,%9u%n", &nodes, &gib, &cpus, &used) != 3 || text[used] != '\0')
        return "is not NODES,GIB,CPUS";
    if (nodes < 1 || nodes > SIM_NODES_MAX)
        return "has not 1 to 64 nodes";
    if (gib < 1 || gib * nodes > SIM_GIB_MAX)
        return "has not 1 GiB on each node and at most 65536 on all";
    if (cpus < 1 || cpus > LOAM_CPUS_MAX)
        return "has not 1 to 64 CPUs";
    *server = (struct sim_numa){ nodes, gib, cpus };
    return NULL;
}

/* Where a node's memory above the hole starts, and the end of the one before. */
static uint64_t node_start(const struct sim_numa *server, unsigned node)
{
    return node == 0 ? HIGH : HIGH - LOW_END + GIB(server->node_gib) * node;
}

uint64_t sim_numa_end(const struct sim_numa *server)
{
    return node_start(server, server->node_count);
}

static void add_entry(struct mapfile *map, uint64_t start, uint64_t end, enum loam_mem_type type)
{
    struct loam_memmap_entry *entry = &map->entry[map->entry_count++];
    entry->range = loam_phys_range_of(loam_phys_at(start), end - start);
    entry->type = type;
}

/* What every machine has below 4 GiB. */
static void describe_low(struct mapfile *map)
{
    add_entry(map, 0, KIB(639), LOAM_MEM_USABLE);
    add_entry(map, KIB(639), KIB(640), LOAM_MEM_RESERVED);
    add_entry(map, KIB(896), MIB(1), LOAM_MEM_RESERVED);
    add_entry(map, MIB(1), LOW_END - MIB(160), LOAM_MEM_USABLE);
    add_entry(map, LOW_END - MIB(160), LOW_END - MIB(96), LOAM_MEM_BOOT_RECLAIMABLE);
    add_entry(map, LOW_END - MIB(96), LOW_END - MIB(32), LOAM_MEM_USABLE);
    add_entry(map, LOW_END - MIB(32), LOW_END - MIB(16), LOAM_MEM_ACPI_RECLAIMABLE);
    add_entry(map, LOW_END - MIB(16), LOW_END - MIB(12), LOAM_MEM_ACPI_NVS);
    add_entry(map, LOW_END - MIB(12), LOW_END, LOAM_MEM_RESERVED);
    add_entry(map, GIB(2), GIB(2) + MIB(256), LOAM_MEM_RESERVED); /* PCI configuration */
    add_entry(map, UINT64_C(0xfec00000), UINT64_C(0xfec01000), LOAM_MEM_RESERVED);
    add_entry(map, UINT64_C(0xfee00000), UINT64_C(0xfee01000), LOAM_MEM_RESERVED);
    add_entry(map, UINT64_C(0xff000000), HIGH, LOAM_MEM_RESERVED); /* the firmware itself */
}

bool sim_numa_describe(const struct sim_numa *server, struct mapfile *out)
{
    memset(out, 0, sizeof *out);
    out->entry = calloc(16 + 2 * (size_t)server->node_count, sizeof *out->entry);
    if (out->entry == NULL)
        return false;
    out->format = MAPFILE_E820;
    out->present = (unsigned)MAPFILE_CPU_COUNT | (unsigned)MAPFILE_BITS;
    out->cpu_count = server->cpu_count;
    out->phys_bits = PHYS_BITS_MIN;
    while (sim_numa_end(server) >> out->phys_bits != 0)
        out->phys_bits++;
    describe_low(out);
    for (unsigned node = 0; node < server->node_count; node++) {
        const uint64_t start = node_start(server, node);
        const uint64_t end = node_start(server, node + 1);
        if (start == end)
            continue; /* node 0 has no more than what is below the hole */
        add_entry(out, start, end - HOLE, LOAM_MEM_USABLE);
        add_entry(out, end - HOLE, end, LOAM_MEM_RESERVED);
    }
    return true;
}

size_t sim_numa_ranges(const struct sim_numa *server, struct loam_frame_node out[SIM_NODE_RANGES])
{
    size_t count = 0;
    out[count++] = (struct loam_frame_node){ loam_phys_range_of(loam_phys_at(0), LOW_END), 0 };
    for (unsigned node = 0; node < server->node_count; node++) {
        const uint64_t start = node_start(server, node);
        const uint64_t size = node_start(server, node + 1) - start;
        if (size != 0)
            out[count++] =
                (struct loam_frame_node){ loam_phys_range_of(loam_phys_at(start), size), node };
    }
    return count;
}

uint32_t sim_numa_node_of_cpu(const struct sim_numa *server, unsigned cpu)
{
    return (uint32_t)((uint64_t)cpu * server->node_count / server->cpu_count);
}

unsigned sim_numa_nodes_used(const struct sim_numa *server)
{
    unsigned count = 1;
    for (unsigned cpu = 1; cpu < server->cpu_count; cpu++)
        count += sim_numa_node_of_cpu(server, cpu) != sim_numa_node_of_cpu(server, cpu - 1);
    return count;
}

uint32_t sim_numa_node_at(const struct sim_numa *server, loam_phys at)
{
    return at.addr < HIGH ? 0 : (uint32_t)((at.addr - (HIGH - LOW_END)) / GIB(server->node_gib));
}
