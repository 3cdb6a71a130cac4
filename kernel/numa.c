/*
 * numa.c - see numa.h.
 */
#include "numa.h"

#include "cpu.h"
#include "firmware.h"
#include "log.h"
#include "memory.h"
#include "srat.h"

struct numa numa;

/* ---- RAM --------------------------------------------------------------------- */

/* What the kernel may use now or after reclaim, and its own image. */
static bool is_ram(enum loam_mem_type type)
{
    return type == LOAM_MEM_USABLE || type == LOAM_MEM_BOOT_RECLAIMABLE ||
           type == LOAM_MEM_EXECUTABLE;
}

/* Bytes of RAM in a range. The memory map never changes. */
static uint64_t ram_in(struct loam_phys_range range)
{
    const struct loam_memmap *map = &memory.memmap;
    const uint64_t last = range.start.addr + (range.size - 1);
    uint64_t bytes = 0;
    for (size_t i = loam_memmap_find(map, range.start); i < map->entry_count; i++) {
        const struct loam_phys_range entry = map->entry[i].range;
        const uint64_t entry_last = entry.start.addr + (entry.size - 1);
        if (entry.start.addr > last)
            break;
        const uint64_t from =
            entry.start.addr > range.start.addr ? entry.start.addr : range.start.addr;
        if (is_ram(map->entry[i].type))
            bytes += (entry_last < last ? entry_last : last) - from + 1;
    }
    return bytes;
}

static uint64_t all_ram(void)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < LOAM_MEM_TYPES; i++) {
        if (is_ram((enum loam_mem_type)i))
            bytes += memory.memmap.total_bytes[i];
    }
    return bytes;
}

/* Memory may be plugged in there some day, or it is all the firmware's. */
static void drop_ranges_without_ram(struct srat *srat)
{
    size_t kept = 0;
    for (size_t i = 0; i < srat->range_count; i++) {
        if (ram_in(srat->range[i].range) != 0)
            srat->range[kept++] = srat->range[i];
    }
    if (kept < srat->range_count)
        log_info("numa: %zu ranges without RAM", srat->range_count - kept);
    srat->range_count = kept;
}

/* ---- the table ----------------------------------------------------------------- */

/* Memory for ever. @return start none: there is none, and the console says so */
static struct loam_phys_range make_room(size_t bytes)
{
    const struct loam_frame_request request = {
        .page_count = (bytes + LOAM_PAGE_SIZE - 1) / LOAM_PAGE_SIZE,
    };
    struct loam_phys_range range = { loam_phys_none(), 0 };
    const enum loam_status st = loam_take(&memory, &request, LOAM_OWNER_KERNEL, &range);
    if (st != LOAM_OK)
        log_warn("numa: no room of %zu bytes (%s)", bytes, loam_status_name(st));
    return range;
}

/* Tell the frame allocator: from now on CPUs take frames of their own node first. */
static void numa_attach(void)
{
    const size_t bytes = loam_frame_nodes_bytes_needed(&memory.frame, numa.range_count);
    const struct loam_phys_range room = make_room(bytes);
    if (loam_phys_is_none(room.start))
        return;
    const enum loam_status st =
        loam_frame_set_nodes(&memory.frame, numa.range, numa.range_count,
                             loam_hhdm_pointer(memory.tables.hhdm, room.start), room.size);
    if (st != LOAM_OK) {
        log_error("numa: the frame allocator refuses the nodes (%s)", loam_status_name(st));
        return;
    }
    for (unsigned i = 0; i < cpu_count(); i++)
        loam_frame_set_cpu(&memory.frame, i, numa.cpu_node[i]);
}

static void read_table(const void *table, size_t size)
{
    struct srat srat;
    if (srat_room(size) == 0)
        return;
    const struct loam_phys_range room = make_room(srat_room(size) * sizeof *srat.range);
    if (loam_phys_is_none(room.start))
        return;
    srat.range = loam_hhdm_pointer(memory.tables.hhdm, room.start);
    srat_read(&srat, table, size);
    for (unsigned i = 0; i < SRAT_FAULTS; i++) {
        if (srat.fault_count[i] != 0)
            log_warn("numa: %lu times repaired: %s", srat.fault_count[i],
                     srat_fault_name((enum srat_fault)i));
    }
    drop_ranges_without_ram(&srat);
    numa.range = srat.range;
    numa.range_count = srat.range_count;
    for (unsigned i = 0; i < cpu_count(); i++)
        numa.cpu_node[i] = srat_node_of_cpu(table, size, cpu_table[i].apic_id);
}

void numa_load(void)
{
    size_t size;
    for (unsigned i = 0; i < LOAM_CPUS_MAX; i++)
        numa.cpu_node[i] = LOAM_NODE_NONE;
    const void *table = firmware_table("SRAT", &size);
    if (table != NULL) {
        read_table(table, size);
        firmware_hide();
    }
    if (numa.range_count != 0)
        numa_attach();
    numa_report();
}

uint32_t numa_node_of(loam_phys phys)
{
    size_t low = 0, high = numa.range_count; /* the range sought is in [low, high) */
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const struct loam_frame_node *range = &numa.range[middle];
        if (loam_phys_range_contains(range->range, phys))
            return range->node;
        if (phys.addr < range->range.start.addr)
            high = middle;
        else
            low = middle + 1;
    }
    return LOAM_NODE_NONE;
}

/* ---- what there is ----------------------------------------------------------------- */

uint32_t numa_next_node(uint32_t from)
{
    uint32_t lowest = LOAM_NODE_NONE;
    for (size_t i = 0; i < numa.range_count; i++) {
        if (numa.range[i].node >= from && numa.range[i].node < lowest)
            lowest = numa.range[i].node;
    }
    for (unsigned i = 0; i < cpu_count(); i++) {
        if (numa.cpu_node[i] >= from && numa.cpu_node[i] < lowest)
            lowest = numa.cpu_node[i];
    }
    return lowest;
}

/* ", CPUs 0-3,8" */
static void show_cpus_of(uint32_t node)
{
    unsigned shown = 0;
    for (unsigned i = 0; i < cpu_count(); i++) {
        const unsigned first = i;
        if (numa.cpu_node[i] != node)
            continue;
        while (i + 1 < cpu_count() && numa.cpu_node[i + 1] == node)
            i++;
        log_text("%s%u", shown++ == 0 ? ", CPUs " : ",", first);
        if (i > first)
            log_text("-%u", i);
    }
    if (shown == 0)
        log_text(", no CPUs");
}

/* @return its bytes of RAM */
static uint64_t report_node(uint32_t node)
{
    struct loam_frame_stats stats;
    uint64_t bytes = 0;
    size_t count = 0;
    for (size_t i = 0; i < numa.range_count; i++) {
        if (numa.range[i].node == node) {
            bytes += ram_in(numa.range[i].range);
            count++;
        }
    }
    log_text("INFO  numa: node %u: 0x%lx bytes in %zu ranges", node, bytes, count);
    show_cpus_of(node);
    loam_frame_measure_node(&memory.frame, node, &stats);
    log_text("; 0x%lx free\n", stats.free_count * LOAM_PAGE_SIZE);
    return bytes;
}

void numa_report(void)
{
    uint64_t bytes = 0;
    unsigned lost = 0;
    uint32_t node = numa_next_node(0);
    if (node == LOAM_NODE_NONE) {
        log_info("numa: no nodes");
        return;
    }
    for (; node != LOAM_NODE_NONE; node = numa_next_node(node + 1))
        bytes += report_node(node);
    if (bytes != all_ram())
        log_warn("numa: 0x%lx bytes of RAM are of no node", all_ram() - bytes);
    for (unsigned i = 0; i < cpu_count(); i++)
        lost += numa.cpu_node[i] == LOAM_NODE_NONE;
    if (lost != 0)
        log_warn("numa: %u CPUs are of no node", lost);
}
