/*
 * srat.c - see srat.h. Fields are read byte by byte: nothing in the table need be
 * aligned.
 */
#include "srat.h"

#define HEAD_BYTES      48u /* of the table, before its entries */
#define HEAD_REVISION   8u
#define REVISION_WIDE   2u /* from here on domains have 32 bits, before that 8 */
#define ENTRY_HEAD      2u /* type and length */
#define ENTRY_ENABLED   0x1u
#define MEMORY_NO_RAM   0x4u /* non-volatile */
#define ENTRY_BYTES_MIN 16u

enum srat_type { SRAT_LOCAL_APIC = 0, SRAT_MEMORY = 1, SRAT_X2APIC = 2 };

/* Where the fields of each type are. */
#define LOCAL_APIC_BYTES   16u
#define LOCAL_APIC_DOMAIN  2u /* bits 0 to 7 */
#define LOCAL_APIC_ID      3u
#define LOCAL_APIC_FLAGS   4u
#define LOCAL_APIC_DOMAIN2 8u /* bits 8 to 31, behind one byte that is none of it */
#define MEMORY_BYTES       40u
#define MEMORY_DOMAIN      2u
#define MEMORY_BASE        8u
#define MEMORY_LENGTH      16u
#define MEMORY_FLAGS       28u
#define X2APIC_BYTES       24u
#define X2APIC_DOMAIN      4u
#define X2APIC_ID          8u
#define X2APIC_FLAGS       12u

/* Where a walk is. */
struct srat_cursor {
    const uint8_t *table;
    size_t size, next; /* offset of the entry to come */
    const uint8_t *entry;
    bool truncated;
};

static uint32_t read_32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint64_t read_64(const uint8_t *at)
{
    return (uint64_t)read_32(at) | (uint64_t)read_32(at + 4) << 32;
}

const char *srat_fault_name(enum srat_fault fault)
{
    static const char *const names[SRAT_FAULTS] = {
        "entry past the end of the table: the rest is not read",
        "entry shorter than its type: left out",
        "entry of no domain: left out",
        "memory past the end of all addresses: left out",
        "memory that ends inside a page: that page is left out",
        "memory named for two nodes: the one that starts lower keeps it",
    };
    return (unsigned)fault < SRAT_FAULTS ? names[fault] : "?";
}

size_t srat_room(size_t size)
{
    return size > HEAD_BYTES ? (size - HEAD_BYTES) / MEMORY_BYTES : 0;
}

/* ---- entries --------------------------------------------------------------- */

static struct srat_cursor begin(const void *table, size_t size)
{
    return (struct srat_cursor){ .table = table, .size = size, .next = HEAD_BYTES };
}

/* @return false: there are no more */
static bool go_on(struct srat_cursor *cursor)
{
    if (cursor->next >= cursor->size)
        return false;
    const uint8_t *entry = cursor->table + cursor->next;
    const size_t left = cursor->size - cursor->next;
    cursor->truncated = left < ENTRY_HEAD || entry[1] < ENTRY_HEAD || entry[1] > left;
    if (cursor->truncated)
        return false;
    cursor->entry = entry;
    cursor->next += entry[1];
    return true;
}

/* Tables of the first revision have zeroes there, or anything. */
static uint32_t domain_of(const struct srat_cursor *cursor, uint32_t wide)
{
    return cursor->table[HEAD_REVISION] >= REVISION_WIDE ? wide : wide & 0xff;
}

struct srat_cpu {
    uint32_t apic_id, node;
};

/* @return false: the entry is about no CPU, or a disabled one */
static bool read_cpu(const struct srat_cursor *cursor, struct srat_cpu *out)
{
    const uint8_t *entry = cursor->entry;
    if (entry[0] == SRAT_LOCAL_APIC && entry[1] >= LOCAL_APIC_BYTES) {
        const uint32_t high = read_32(entry + LOCAL_APIC_DOMAIN2) & ~UINT32_C(0xff);
        out->apic_id = entry[LOCAL_APIC_ID];
        out->node = domain_of(cursor, high | entry[LOCAL_APIC_DOMAIN]);
        return (read_32(entry + LOCAL_APIC_FLAGS) & ENTRY_ENABLED) != 0;
    }
    if (entry[0] == SRAT_X2APIC && entry[1] >= X2APIC_BYTES) {
        out->apic_id = read_32(entry + X2APIC_ID);
        out->node = read_32(entry + X2APIC_DOMAIN);
        return (read_32(entry + X2APIC_FLAGS) & ENTRY_ENABLED) != 0;
    }
    return false;
}

uint32_t srat_node_of_cpu(const void *table, size_t size, uint32_t apic_id)
{
    struct srat_cursor cursor = begin(table, size);
    struct srat_cpu cpu;
    uint32_t lowest = LOAM_NODE_NONE;
    while (go_on(&cursor)) {
        if (read_cpu(&cursor, &cpu) && cpu.apic_id == apic_id && cpu.node < lowest)
            lowest = cpu.node;
    }
    return lowest;
}

/* ---- memory ---------------------------------------------------------------- */

static bool is_short(const uint8_t *entry)
{
    static const uint8_t bytes[] = { LOCAL_APIC_BYTES, MEMORY_BYTES, X2APIC_BYTES };
    return entry[0] < sizeof bytes && entry[1] < bytes[entry[0]];
}

/* Only whole pages count. @return false: there is none */
static bool cut_to_pages(struct srat *srat, struct loam_phys_range *range)
{
    const uint64_t unaligned = LOAM_PAGE_SIZE - 1;
    const uint64_t skip = (0 - range->start.addr) & unaligned;
    if (skip != 0 || ((range->start.addr + range->size) & unaligned) != 0)
        srat->fault_count[SRAT_UNALIGNED]++;
    if (skip >= range->size)
        return false;
    range->start.addr += skip;
    range->size = loam_page_floor(range->size - skip);
    return range->size != 0;
}

/* @return false: the entry is not enabled, or about no RAM, or wrong */
static bool read_memory(struct srat *srat, const struct srat_cursor *cursor,
                        struct loam_frame_node *out)
{
    const uint8_t *entry = cursor->entry;
    const uint32_t flags = read_32(entry + MEMORY_FLAGS);
    out->range.start.addr = read_64(entry + MEMORY_BASE);
    out->range.size = read_64(entry + MEMORY_LENGTH);
    out->node = domain_of(cursor, read_32(entry + MEMORY_DOMAIN));
    if ((flags & ENTRY_ENABLED) == 0 || (flags & MEMORY_NO_RAM) != 0 || out->range.size == 0)
        return false;
    if (out->node == LOAM_NODE_NONE) {
        srat->fault_count[SRAT_NO_DOMAIN]++;
        return false;
    }
    if (!loam_range_fits(out->range.start.addr, out->range.size)) {
        srat->fault_count[SRAT_WRAP]++;
        return false;
    }
    return cut_to_pages(srat, &out->range);
}

static bool comes_before(const struct loam_frame_node *a, const struct loam_frame_node *b)
{
    if (a->range.start.addr != b->range.start.addr)
        return a->range.start.addr < b->range.start.addr;
    return a->node != b->node ? a->node < b->node : a->range.size < b->range.size;
}

/* Shell sort, gaps 3^k / 2: in place, and nothing to do when it is in order. */
static void sort_ranges(struct loam_frame_node *range, size_t count)
{
    size_t gap = 1;
    while (gap < count)
        gap = 3 * gap + 1;
    for (; gap > 0; gap /= 3) {
        for (size_t i = gap; i < count; i++) {
            const struct loam_frame_node moved = range[i];
            size_t at = i;
            for (; at >= gap && comes_before(&moved, &range[at - gap]); at -= gap)
                range[at] = range[at - gap];
            range[at] = moved;
        }
    }
}

static uint64_t last_of(const struct loam_frame_node *range)
{
    return range->range.start.addr + (range->range.size - 1);
}

/* One range, unless it would have 2^64 bytes. */
static bool join(struct loam_frame_node *low, const struct loam_frame_node *high)
{
    const uint64_t span = last_of(high) - low->range.start.addr;
    if (low->node != high->node || last_of(low) + 1 < high->range.start.addr || span == UINT64_MAX)
        return false;
    low->range.size = span + 1;
    return true;
}

/* Cut what reaches into the range before it, join what belongs together. Ends may be
 * 2^64: it is last addresses that are compared. */
static void make_disjoint(struct srat *srat)
{
    size_t kept = 0;
    for (size_t i = 0; i < srat->range_count; i++) {
        struct loam_frame_node next = srat->range[i];
        struct loam_frame_node *before = kept > 0 ? &srat->range[kept - 1] : NULL;
        if (before != NULL && next.range.start.addr <= last_of(before)) {
            const uint64_t more = last_of(&next) - last_of(before);
            srat->fault_count[SRAT_OVERLAP] += next.node != before->node;
            if (last_of(&next) <= last_of(before))
                continue;
            next.range = loam_phys_range_of(loam_phys_at(last_of(before) + 1), more);
        }
        if (before == NULL || !join(before, &next))
            srat->range[kept++] = next;
    }
    srat->range_count = kept;
}

void srat_read(struct srat *srat, const void *table, size_t size)
{
    struct srat_cursor cursor = begin(table, size);
    struct srat_cpu cpu;
    srat->range_count = 0;
    for (unsigned i = 0; i < SRAT_FAULTS; i++)
        srat->fault_count[i] = 0;
    while (go_on(&cursor)) {
        if (is_short(cursor.entry))
            srat->fault_count[SRAT_SHORT]++;
        else if (read_cpu(&cursor, &cpu))
            srat->fault_count[SRAT_NO_DOMAIN] += cpu.node == LOAM_NODE_NONE;
        else if (cursor.entry[0] == SRAT_MEMORY &&
                 read_memory(srat, &cursor, &srat->range[srat->range_count]))
            srat->range_count++;
    }
    srat->fault_count[SRAT_TRUNCATED] += cursor.truncated;
    sort_ranges(srat->range, srat->range_count);
    make_disjoint(srat);
}
