/*
 * frame_table.h - the shape of memory: which regions there are, and how zones and nodes
 * cut them into spans. Looked up by frame.c, made by frame_setup.c.
 *
 *     region   [ 1 MiB ............................ 3 GiB ]      [ 4 GiB .. 8 GiB ]
 *     span     [ 16M ][ 4G, node 0   ][ 4G, node 1        ]      [ any, node 1    ]
 *
 * A table never changes. To change the shape, another one is made and published;
 * whoever reads the old one meanwhile knows less, but nothing wrong: regions stay
 * where they are, and stay for ever. A block that a lane has is to be looked up in a
 * table that was read after the lane was entered.
 *
 *     table | addresses of regions | spans
 */
#ifndef LOAM_INTERNAL_FRAME_TABLE_H
#define LOAM_INTERNAL_FRAME_TABLE_H

#include "frame_region.h"

#define FRAME_ZONE_CUTS 2u /* where zones end: below 2^64 */

/* Blocks [from, end) of a region. */
struct frame_span {
    const struct loam_frame_region *region;
    uint64_t from, end;
    enum loam_zone zone;
    uint32_t node;
};

struct loam_frame_table {
    struct loam_frame_region **region; /* ascending */
    struct frame_span *span;           /* ascending */
    unsigned region_count, span_count;
    unsigned zone_end[LOAM_ZONES]; /* spans of a zone and those below it */
    bool has_nodes;                /* some span is of a node that was named */
};

/* Where zones end, in frames. */
static const uint64_t frame_zone_limit[LOAM_ZONES] = {
    [LOAM_ZONE_ANY] = UINT64_MAX,
    [LOAM_ZONE_4G] = LOAM_ZONE_4G_END / LOAM_PAGE_SIZE,
    [LOAM_ZONE_16M] = LOAM_ZONE_16M_END / LOAM_PAGE_SIZE,
};

static inline size_t frame_aligned(size_t size)
{
    return (size + 63) & ~(size_t)63;
}

/* Bytes of a table with room for so many spans. */
static inline size_t frame_table_bytes(size_t region_count, size_t span_count)
{
    return frame_aligned(sizeof(struct loam_frame_table)) +
           frame_aligned(region_count * sizeof(struct loam_frame_region *)) +
           frame_aligned(span_count * sizeof(struct frame_span));
}

/* An empty table of that room. */
static inline struct loam_frame_table *frame_table_init(unsigned char *memory, size_t region_count,
                                                        size_t span_count)
{
    struct loam_frame_table *const table = (struct loam_frame_table *)(void *)memory;

    __builtin_memset(memory, 0, frame_table_bytes(region_count, span_count));
    memory += frame_aligned(sizeof(struct loam_frame_table));
    table->region = (struct loam_frame_region **)(void *)memory;
    memory += frame_aligned(region_count * sizeof(struct loam_frame_region *));
    table->span = (struct frame_span *)(void *)memory;
    return table;
}

static inline const struct loam_frame_table *frame_table(const struct loam_frame *frame)
{
    return atomic_load(&frame->table);
}

/* Zone of a frame. */
static inline enum loam_zone frame_zone_of(uint64_t number)
{
    return loam_zone_of(loam_phys_at(number * LOAM_PAGE_SIZE));
}

/* First frame that a region has of a block. */
static inline uint64_t frame_of_block(const struct loam_frame_region *region, uint64_t block)
{
    const uint64_t number = region->base + block * FRAME_BLOCK_FRAMES;

    return number > region->first ? number : region->first;
}

/* Append a region; its spans follow. */
static inline void frame_table_add_region(struct loam_frame_table *table,
                                          struct loam_frame_region *region)
{
    table->region[table->region_count++] = region;
}

/* Append blocks [from, end) of a region, all of one node, cut where zones end. */
static inline void frame_table_add_span(struct loam_frame_table *table,
                                        const struct loam_frame_region *region, uint64_t from,
                                        uint64_t end, uint32_t node)
{
    table->has_nodes = table->has_nodes || node != LOAM_NODE_NONE;
    while (from < end) {
        const uint64_t number = frame_of_block(region, from);
        const enum loam_zone zone = frame_zone_of(number);
        uint64_t stop = end;
        if (frame_zone_limit[zone] - region->base <= (end - 1) * FRAME_BLOCK_FRAMES)
            stop = (frame_zone_limit[zone] - region->base) / FRAME_BLOCK_FRAMES;
        const struct frame_span span = { region, from, stop, zone, node };
        table->span[table->span_count++] = span;
        for (unsigned i = 0; i <= zone; i++)
            table->zone_end[i] = table->span_count;
        from = stop;
    }
}

/* Spans of a zone and no lower one begin here. */
static inline unsigned frame_zone_start(const struct loam_frame_table *table, enum loam_zone zone)
{
    return zone == LOAM_ZONE_16M ? 0 : table->zone_end[zone + 1];
}

/* The region that has a frame, or NULL; by search. */
static inline const struct loam_frame_region *frame_table_region(
    const struct loam_frame_table *table, uint64_t number)
{
    unsigned low = 0;
    unsigned high = table->region_count;

    while (low < high) { /* the first that begins above */
        const unsigned middle = (low + high) / 2;
        if (table->region[middle]->first <= number)
            low = middle + 1;
        else
            high = middle;
    }
    const struct loam_frame_region *const region = table->region[low - (low != 0)];
    return number - region->first < region->count ? region : NULL;
}

/* The span that has a block; it is in one. */
static inline const struct frame_span *frame_table_span(const struct loam_frame_table *table,
                                                        const struct loam_frame_region *region,
                                                        uint64_t block)
{
    unsigned low = 0;
    unsigned high = table->span_count;

    while (low < high) { /* the first that begins above */
        const unsigned middle = (low + high) / 2;
        const struct frame_span *const span = &table->span[middle];
        if (span->region->first < region->first || (span->region == region && span->from <= block))
            low = middle + 1;
        else
            high = middle;
    }
    return &table->span[low - 1];
}

#endif
