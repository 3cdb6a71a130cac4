/*
 * frame_setup.c - what memory there is: the first state, all frames free; nodes; memory
 * that comes and goes. See frame.h.
 *
 *     lanes | regions | table | rows, words, maps of region 0 | of region 1 | ...
 */
#include <loam/frame.h>

#include "internal/frame_lane.h"
#include "internal/inject.h"
#include "internal/try.h"

/* The shape of a region: all but where its metadata is. */
static struct loam_frame_region frame_shape(struct loam_phys_range range)
{
    struct loam_frame_region region = { .first = range.start.addr / LOAM_PAGE_SIZE,
                                        .count = range.size / LOAM_PAGE_SIZE };
    const uint64_t first_block = region.first / FRAME_BLOCK_FRAMES;

    region.base = first_block * FRAME_BLOCK_FRAMES;
    region.lead = (unsigned)(first_block % 64);
    region.block_count = (region.first + region.count - 1) / FRAME_BLOCK_FRAMES - first_block + 1;
    return region;
}

/* Bytes of a region's metadata, a multiple of 64. */
static size_t frame_region_bytes(const struct loam_frame_region *region)
{
    const uint64_t map_words = frame_map_size(region->block_count + region->lead);

    return region->block_count * FRAME_BLOCK_ROWS * sizeof(uint64_t) +
           frame_aligned(region->block_count * sizeof(uint32_t)) +
           frame_aligned(2 * map_words * sizeof(uint64_t));
}

static unsigned frame_lanes_for(unsigned cpu_count)
{
    return cpu_count > LOAM_CPUS_MAX
               ? UINT32_MAX
               : 2 * cpu_count + 2; /* each CPU, and a handler on each, and some */
}

static bool frame_range_is_valid(struct loam_phys_range range)
{
    return range.size != 0 && (range.start.addr | range.size) % LOAM_PAGE_SIZE == 0 &&
           loam_range_fits(range.start.addr, range.size);
}

/* Does a range lie behind another one? */
static bool frame_range_follows(struct loam_phys_range before, struct loam_phys_range range)
{
    return range.start.addr > before.start.addr &&
           range.start.addr - before.start.addr >= before.size;
}

/* Spans of so many regions that no node cuts. */
static size_t frame_spans_for(size_t region_count)
{
    return region_count + FRAME_ZONE_CUTS;
}

size_t loam_frame_bytes_needed(const struct loam_frame_setup *setup)
{
    const size_t count = setup->range_count;
    size_t bytes = 0;

    if (setup->range == NULL || count == 0 || setup->cpu_count == 0 ||
        setup->cpu_count > LOAM_CPUS_MAX)
        return 0;
    for (size_t i = 0; i < count; i++) {
        if (!frame_range_is_valid(setup->range[i]) ||
            (i != 0 && !frame_range_follows(setup->range[i - 1], setup->range[i])))
            return 0;
        const struct loam_frame_region region = frame_shape(setup->range[i]);
        bytes += frame_region_bytes(&region);
    }
    return bytes + frame_lanes_for(setup->cpu_count) * sizeof(struct loam_frame_lane) +
           frame_aligned(count * sizeof(struct loam_frame_region)) +
           frame_table_bytes(count, frame_spans_for(count));
}

/* Mark frames [from, to) of a region, by index from its base, as in use for ever. */
static void frame_fence(const struct loam_frame_region *region, uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i < to; i++)
        atomic_fetch_or_explicit(&region->row[i / FRAME_ROW_FRAMES],
                                 UINT64_C(1) << i % FRAME_ROW_FRAMES, memory_order_relaxed);
}

/* A block that nobody uses yet: its frames are free, what is no memory is in use. */
static void frame_block_init(const struct loam_frame_region *region, uint64_t block)
{
    const uint64_t start = block * FRAME_BLOCK_FRAMES;
    const uint64_t first = frame_of_block(region, block) - region->base;

    frame_rows_set(region, block, 0);
    frame_fence(region, start, first);
    frame_fence(region, first + frame_count_in(region, block), start + FRAME_BLOCK_FRAMES);
}

/* Place a region's metadata and make all its frames free. @return behind it */
static unsigned char *frame_region_init(struct loam_frame_region *region, unsigned char *memory,
                                        bool is_zeroed)
{
    const size_t row_bytes = region->block_count * FRAME_BLOCK_ROWS * sizeof(uint64_t);
    const size_t word_bytes = frame_aligned(region->block_count * sizeof(uint32_t));
    const uint64_t map_blocks = region->block_count + region->lead;

    if (!is_zeroed)
        __builtin_memset(memory, 0, row_bytes + word_bytes);
    region->row = (_Atomic uint64_t *)(void *)memory;
    region->word = (_Atomic uint32_t *)(void *)(memory + row_bytes);
    _Atomic uint64_t *map = (_Atomic uint64_t *)(void *)(memory + row_bytes + word_bytes);
    map = frame_map_init(&region->whole, map_blocks, map);
    (void)frame_map_init(&region->part, map_blocks, map);
    frame_map_show_many(&region->whole, region->lead, region->block_count);
    const uint64_t last = region->block_count - 1;
    for (uint64_t block = 0; block <= last; block += last != 0 ? last : 1) {
        if (frame_count_in(region, block) == FRAME_BLOCK_FRAMES)
            continue;
        frame_block_init(region, block);
        atomic_store_explicit(&region->word[block], FRAME_OPEN, memory_order_relaxed);
        frame_hide_whole(region, block);
        frame_show_part(region, block);
    }
    return memory + frame_region_bytes(region);
}

enum loam_status loam_frame_init(struct loam_frame *frame, const struct loam_frame_setup *setup)
{
    const size_t needed = loam_frame_bytes_needed(setup);
    const size_t count = setup->range_count;
    unsigned char *memory = setup->memory;

    if (needed == 0 || memory == NULL || (uintptr_t)memory % 64 != 0)
        return LOAM_INVALID;
    if (setup->memory_bytes < needed)
        return LOAM_NO_SPACE;
    __builtin_memset(frame, 0, sizeof(*frame));
    frame->lane_count = frame_lanes_for(setup->cpu_count);
    frame->lane = (struct loam_frame_lane *)(void *)memory;
    __builtin_memset(memory, 0, frame->lane_count * sizeof(struct loam_frame_lane));
    for (unsigned i = 0; i < frame->lane_count; i++)
        atomic_store(&frame->lane[i].node, LOAM_NODE_NONE);
    memory += frame->lane_count * sizeof(struct loam_frame_lane);
    struct loam_frame_region *const region = (struct loam_frame_region *)(void *)memory;
    memory += frame_aligned(count * sizeof(struct loam_frame_region));
    struct loam_frame_table *const table = frame_table_init(memory, count, frame_spans_for(count));
    memory += frame_table_bytes(count, frame_spans_for(count));
    frame->main = region;
    for (size_t i = 0; i < count; i++) {
        region[i] = frame_shape(setup->range[i]);
        memory = frame_region_init(&region[i], memory, setup->is_zeroed);
        frame_table_add_region(table, &region[i]);
        frame_table_add_span(table, &region[i], 0, region[i].block_count, LOAM_NODE_NONE);
        if (region[i].count > frame->main->count)
            frame->main = &region[i];
    }
    atomic_store(&frame->table, table);
    return LOAM_OK;
}

/* ---- nodes --------------------------------------------------------------- */

void loam_frame_set_cpu(struct loam_frame *frame, unsigned cpu, uint32_t node)
{
    LOAM_REQUIRE(frame_lanes_for(cpu) < frame->lane_count, "frame: no such CPU", cpu, node);
    atomic_store(&frame->lane[cpu].node, node);
}

/* Spans that so many ranges of nodes may cut the regions into. */
static size_t frame_spans_with(const struct loam_frame_table *table, size_t node_count)
{
    return frame_spans_for(table->region_count) + 2 * node_count;
}

size_t loam_frame_nodes_bytes_needed(const struct loam_frame *frame, size_t node_count)
{
    const struct loam_frame_table *const table = frame_table(frame);

    return frame_table_bytes(table->region_count, frame_spans_with(table, node_count));
}

/* Append a region's spans. @param at the first node range that may reach into it; advanced */
static void frame_cut_by_nodes(struct loam_frame_table *table,
                               const struct loam_frame_region *region,
                               const struct loam_frame_node *node, size_t node_count, size_t *at)
{
    for (uint64_t block = 0; block < region->block_count;) {
        const uint64_t number = frame_of_block(region, block);
        while (*at < node_count &&
               (node[*at].range.start.addr + (node[*at].range.size - 1)) / LOAM_PAGE_SIZE < number)
            (*at)++;
        uint64_t cut = UINT64_MAX; /* frame where something else begins */
        uint32_t name = LOAM_NODE_NONE;
        if (*at < node_count) {
            cut = node[*at].range.start.addr / LOAM_PAGE_SIZE;
            if (cut <= number) {
                cut += node[*at].range.size / LOAM_PAGE_SIZE;
                name = node[*at].node;
            }
        }
        uint64_t end = region->block_count;
        if (cut < region->base + (end - 1) * FRAME_BLOCK_FRAMES + 1)
            end = (cut - region->base + FRAME_BLOCK_FRAMES - 1) / FRAME_BLOCK_FRAMES;
        frame_table_add_span(table, region, block, end, name);
        block = end;
    }
}

enum loam_status loam_frame_set_nodes(struct loam_frame *frame, const struct loam_frame_node *node,
                                      size_t node_count, void *memory, size_t memory_bytes)
{
    const struct loam_frame_table *const old = frame_table(frame);
    size_t at = 0;

    if (memory == NULL || (uintptr_t)memory % 64 != 0)
        return LOAM_INVALID;
    for (size_t i = 0; i < node_count; i++)
        if (!frame_range_is_valid(node[i].range) || node[i].node == LOAM_NODE_NONE ||
            (i != 0 && !frame_range_follows(node[i - 1].range, node[i].range)))
            return LOAM_INVALID;
    if (memory_bytes < loam_frame_nodes_bytes_needed(frame, node_count))
        return LOAM_NO_SPACE;
    struct loam_frame_table *const table =
        frame_table_init(memory, old->region_count, frame_spans_with(old, node_count));
    for (unsigned i = 0; i < old->region_count; i++) {
        frame_table_add_region(table, old->region[i]);
        frame_cut_by_nodes(table, old->region[i], node, node_count, &at);
    }
    atomic_store(&frame->table, table);
    return LOAM_OK;
}

/* ---- memory that comes --------------------------------------------------- */

static size_t frame_add_table_bytes(const struct loam_frame_table *table)
{
    return frame_table_bytes(table->region_count + 1u, table->span_count + 1u + FRAME_ZONE_CUTS);
}

size_t loam_frame_add_bytes_needed(const struct loam_frame *frame, struct loam_phys_range range)
{
    if (!frame_range_is_valid(range))
        return 0;
    const struct loam_frame_region region = frame_shape(range);
    return frame_aligned(sizeof(region)) + frame_add_table_bytes(frame_table(frame)) +
           frame_region_bytes(&region);
}

/* Append regions [from, end) of another table and their spans. */
static void frame_table_copy(struct loam_frame_table *table, const struct loam_frame_table *old,
                             unsigned from, unsigned end)
{
    unsigned span = 0;

    for (unsigned i = from; i < end; i++) {
        struct loam_frame_region *const region = old->region[i];
        frame_table_add_region(table, region);
        while (old->span[span].region != region)
            span++; /* ends: each region has one */
        for (; span < old->span_count && old->span[span].region == region; span++)
            frame_table_add_span(table, region, old->span[span].from, old->span[span].end,
                                 old->span[span].node);
    }
}

/* Publish a table that has one region more. */
static void frame_publish_region(struct loam_frame *frame, struct loam_frame_region *region,
                                 uint32_t node, unsigned char *memory)
{
    const struct loam_frame_table *const old = frame_table(frame);
    struct loam_frame_table *const table =
        frame_table_init(memory, old->region_count + 1u, old->span_count + 1u + FRAME_ZONE_CUTS);
    unsigned place = 0;

    while (place < old->region_count && old->region[place]->first < region->first)
        place++;
    frame_table_copy(table, old, 0, place);
    frame_table_add_region(table, region);
    frame_table_add_span(table, region, 0, region->block_count, node);
    frame_table_copy(table, old, place, old->region_count);
    atomic_store(&frame->table, table);
}

/* ---- memory that goes, and comes again ------------------------------------ */

/* Blocks [from, end) of a region. */
struct frame_blocks {
    const struct loam_frame_region *region;
    uint64_t from, end;
};

/* The next part of frames [*number, end) that is blocks of one region: whole ones, or as
 * much of them as the region has. @return LOAM_NOT_FOUND: no frame of this memory;
 * LOAM_INVALID: part of a block */
static enum loam_status frame_blocks_next(const struct loam_frame *frame, uint64_t *number,
                                          uint64_t end, struct frame_blocks *blocks)
{
    const struct loam_frame_region *const region = frame_region_of(frame, *number);

    if (region == NULL)
        return LOAM_NOT_FOUND;
    const uint64_t region_end = region->first + region->count;
    const uint64_t stop = end < region_end ? end : region_end;
    if ((*number != region->first && *number % FRAME_BLOCK_FRAMES != 0) ||
        (stop != region_end && stop % FRAME_BLOCK_FRAMES != 0))
        return LOAM_INVALID;
    blocks->region = region;
    blocks->from = (*number - region->base) / FRAME_BLOCK_FRAMES;
    blocks->end = (stop - 1 - region->base) / FRAME_BLOCK_FRAMES + 1;
    *number = stop;
    return LOAM_OK;
}

/* How many of them are gone. */
static uint64_t frame_gone_in(const struct frame_blocks *blocks)
{
    uint64_t count = 0;

    for (uint64_t block = blocks->from; block < blocks->end; block++)
        count += frame_word(blocks->region, block) == FRAME_GONE;
    return count;
}

/* Become the owner of a block without a frame in use. @return false: it is not such */
static bool frame_claim_unused(const struct loam_frame_region *region, uint64_t block)
{
    uint64_t used = 0;

    if (!frame_claim(region, block, FRAME_FREE, 0) && !frame_claim(region, block, FRAME_OPEN, 0))
        return false;
    for (uint64_t row = block * FRAME_BLOCK_ROWS; row < (block + 1) * FRAME_BLOCK_ROWS; row++)
        used |= frame_row(region, row) & frame_bits_in(region, frame_of_row(region, row));
    if (used == 0)
        return true;
    frame_settle(region, block);
    return false;
}

static void frame_settle_all(const struct frame_blocks *blocks, uint64_t end)
{
    for (uint64_t block = blocks->from; block < end; block++)
        frame_settle(blocks->region, block);
}

/* Own all blocks of a range, none with a frame in use, or none of them. */
static bool frame_claim_all(const struct loam_frame *frame, uint64_t first, uint64_t end)
{
    struct frame_blocks blocks;

    for (uint64_t number = first; number < end;) {
        const uint64_t start = number;
        if (frame_blocks_next(frame, &number, end, &blocks) != LOAM_OK)
            return false; /* never: that was checked before */
        uint64_t block = blocks.from;
        while (block < blocks.end && frame_claim_unused(blocks.region, block))
            block++;
        if (block == blocks.end)
            continue;
        frame_settle_all(&blocks, block);
        for (number = first; number < start;)
            if (frame_blocks_next(frame, &number, start, &blocks) == LOAM_OK)
                frame_settle_all(&blocks, blocks.end);
        return false;
    }
    return true;
}

enum loam_status loam_frame_remove(struct loam_frame *frame, struct loam_phys_range range)
{
    const uint64_t first = range.start.addr / LOAM_PAGE_SIZE;
    const uint64_t end = first + range.size / LOAM_PAGE_SIZE;
    struct frame_blocks blocks;

    if (!frame_range_is_valid(range))
        return LOAM_INVALID;
    for (uint64_t number = first; number < end;) {
        LOAM_TRY(frame_blocks_next(frame, &number, end, &blocks));
        if (frame_gone_in(&blocks) != 0)
            return LOAM_NOT_FOUND;
    }
    loam_frame_drain(frame);
    if (LOAM_INJECT("frame.remove") || !frame_claim_all(frame, first, end))
        return LOAM_OVERLAP;
    for (uint64_t number = first; number < end;) {
        if (frame_blocks_next(frame, &number, end, &blocks) != LOAM_OK)
            break; /* never */
        for (uint64_t block = blocks.from; block < blocks.end; block++) {
            frame_rows_set(blocks.region, block, FRAME_FULL);
            atomic_fetch_add(&frame->gone_count, frame_count_in(blocks.region, block));
            atomic_store(&blocks.region->word[block], FRAME_GONE);
            frame_hide_whole(blocks.region, block);
        }
    }
    return LOAM_OK;
}

/* Is any frame managed now, or was once? */
static bool frame_is_known(const struct loam_frame_table *table, uint64_t first, uint64_t end)
{
    for (unsigned i = 0; i < table->region_count; i++) {
        const struct loam_frame_region *const region = table->region[i];
        if (region->first < end && first < region->first + region->count)
            return true;
    }
    return false;
}

enum loam_status loam_frame_can_add(const struct loam_frame *frame, struct loam_phys_range range)
{
    const uint64_t first = range.start.addr / LOAM_PAGE_SIZE;
    const uint64_t end = first + range.size / LOAM_PAGE_SIZE;
    struct frame_blocks blocks;

    if (!frame_range_is_valid(range))
        return LOAM_INVALID;
    if (!frame_is_known(frame_table(frame), first, end))
        return LOAM_OK;
    for (uint64_t number = first; number < end;)
        if (frame_blocks_next(frame, &number, end, &blocks) != LOAM_OK ||
            frame_gone_in(&blocks) != blocks.end - blocks.from)
            return LOAM_OVERLAP;
    return LOAM_STATE;
}

/* Manage blocks again that were removed. */
static void frame_add_again(struct loam_frame *frame, uint64_t first, uint64_t end)
{
    struct frame_blocks blocks;

    for (uint64_t number = first; number < end;) {
        if (frame_blocks_next(frame, &number, end, &blocks) != LOAM_OK)
            break; /* never */
        for (uint64_t block = blocks.from; block < blocks.end; block++) {
            atomic_store(&blocks.region->word[block], FRAME_OWNED | FRAME_CLOSER << 2);
            frame_block_init(blocks.region, block);
            atomic_fetch_sub(&frame->gone_count, frame_count_in(blocks.region, block));
            frame_settle(blocks.region, block);
        }
    }
}

enum loam_status loam_frame_add(struct loam_frame *frame,
                                const struct loam_frame_addition *addition)
{
    const enum loam_status known = loam_frame_can_add(frame, addition->range);
    const struct loam_frame_table *const table = frame_table(frame);
    unsigned char *memory = addition->memory;

    if (known == LOAM_STATE) {
        const uint64_t first = addition->range.start.addr / LOAM_PAGE_SIZE;
        frame_add_again(frame, first, first + addition->range.size / LOAM_PAGE_SIZE);
        return LOAM_OK;
    }
    LOAM_TRY(known);
    if (memory == NULL || (uintptr_t)memory % 64 != 0)
        return LOAM_INVALID;
    if (addition->memory_bytes < loam_frame_add_bytes_needed(frame, addition->range))
        return LOAM_NO_SPACE;
    struct loam_frame_region *const region = (struct loam_frame_region *)(void *)memory;
    *region = frame_shape(addition->range);
    memory += frame_aligned(sizeof(*region));
    unsigned char *const rows = memory + frame_add_table_bytes(table);
    (void)frame_region_init(region, rows, addition->is_zeroed);
    frame_publish_region(frame, region, addition->node, memory);
    return LOAM_OK;
}

bool loam_frame_next_range(const struct loam_frame *frame, loam_phys from,
                           struct loam_phys_range *out)
{
    const struct loam_frame_table *const table = frame_table(frame);
    const bool has_gone = atomic_load(&frame->gone_count) != 0;
    const uint64_t at = from.addr / LOAM_PAGE_SIZE;

    for (unsigned i = 0; i < table->region_count; i++) {
        const struct loam_frame_region *const region = table->region[i];
        const uint64_t last = region->first + region->count - 1;
        uint64_t block = at > region->first ? (at - region->base) / FRAME_BLOCK_FRAMES : 0;
        uint64_t end = region->block_count;
        if (last < at)
            continue;
        while (has_gone && block < end && frame_word(region, block) == FRAME_GONE)
            block++;
        if (block == end)
            continue;
        while (has_gone && block != 0 && frame_word(region, block - 1) != FRAME_GONE)
            block--;
        block = has_gone ? block : 0;
        uint64_t stop = has_gone ? block + 1 : end;
        while (stop < end && frame_word(region, stop) != FRAME_GONE)
            stop++;
        const uint64_t first = frame_of_block(region, block);
        end = frame_of_block(region, stop - 1) + frame_count_in(region, stop - 1);
        *out = loam_phys_range_of(loam_phys_at(first * LOAM_PAGE_SIZE),
                                  (end - first) * LOAM_PAGE_SIZE);
        return true;
    }
    return false;
}
