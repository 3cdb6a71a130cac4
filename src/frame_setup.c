/*
 * frame_setup.c - where the metadata of the frame allocator goes, and its first
 * state: all frames free. See frame.h.
 *
 *     lanes | regions | rows, words, maps of region 0 | of region 1 | ...
 */
#include <loam/frame.h>

#include "internal/frame_lane.h"

/* Where zones end, in frames. */
static const uint64_t frame_zone_limit[LOAM_ZONES] = {
    [LOAM_ZONE_ANY] = UINT64_MAX,
    [LOAM_ZONE_4G] = UINT64_C(1) << 20,
    [LOAM_ZONE_16M] = UINT64_C(1) << 12,
};

/* A part of a range, within one zone. */
struct frame_part {
    uint64_t first, count;
};

/* Cut the next part off a range. @return false: nothing is left */
static bool frame_part_next(struct frame_part *rest, struct frame_part *part)
{
    if (rest->count == 0)
        return false;
    *part = *rest;
    for (unsigned zone = 0; zone < LOAM_ZONES; zone++)
        if (part->first < frame_zone_limit[zone] &&
            part->count > frame_zone_limit[zone] - part->first)
            part->count = frame_zone_limit[zone] - part->first;
    rest->first += part->count;
    rest->count -= part->count;
    return true;
}

/* The shape of a region: all but where its metadata is. */
static struct loam_frame_region frame_shape(struct frame_part part)
{
    struct loam_frame_region region = { .first = part.first, .count = part.count };
    const uint64_t first_block = part.first / FRAME_BLOCK_FRAMES;

    region.base = first_block * FRAME_BLOCK_FRAMES;
    region.lead = (unsigned)(first_block % 64);
    region.block_count = (part.first + part.count - 1) / FRAME_BLOCK_FRAMES - first_block + 1;
    return region;
}

static size_t frame_aligned(size_t size)
{
    return (size + 63) & ~(size_t)63;
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
    return 2 * cpu_count + 2; /* each CPU, and a handler on each, and some */
}

static bool frame_range_is_valid(const struct loam_frame_setup *setup, size_t i)
{
    const struct loam_phys_range range = setup->range[i];

    return range.size != 0 && (range.start.addr | range.size) % LOAM_PAGE_SIZE == 0 &&
           loam_range_fits(range.start.addr, range.size) &&
           (i == 0 ||
            range.start.addr - setup->range[i - 1].start.addr >= setup->range[i - 1].size) &&
           (i == 0 || range.start.addr > setup->range[i - 1].start.addr);
}

size_t loam_frame_bytes_needed(const struct loam_frame_setup *setup)
{
    size_t bytes = 0;
    unsigned count = 0;

    if (setup->range == NULL || setup->range_count == 0 || setup->cpu_count == 0 ||
        setup->cpu_count > LOAM_CPUS_MAX)
        return 0;
    for (size_t i = 0; i < setup->range_count; i++) {
        if (!frame_range_is_valid(setup, i))
            return 0;
        struct frame_part rest = { setup->range[i].start.addr / LOAM_PAGE_SIZE,
                                   setup->range[i].size / LOAM_PAGE_SIZE };
        struct frame_part part;
        while (frame_part_next(&rest, &part)) {
            const struct loam_frame_region region = frame_shape(part);
            bytes += frame_region_bytes(&region);
            if (++count > LOAM_FRAME_REGIONS_MAX)
                return 0;
        }
    }
    return bytes + frame_aligned(count * sizeof(struct loam_frame_region)) +
           frame_lanes_for(setup->cpu_count) * sizeof(struct loam_frame_lane);
}

/* Mark frames [from, to) of a region, by index from its base, as in use for ever. */
static void frame_fence(const struct loam_frame_region *region, uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i < to; i++)
        atomic_fetch_or_explicit(&region->row[i / FRAME_ROW_FRAMES],
                                 UINT64_C(1) << i % FRAME_ROW_FRAMES, memory_order_relaxed);
}

/* Place a region's metadata and make all its frames free. @return behind it */
static unsigned char *frame_region_init(struct loam_frame_region *region, unsigned char *memory,
                                        bool is_zeroed)
{
    const size_t row_bytes = region->block_count * FRAME_BLOCK_ROWS * sizeof(uint64_t);
    const size_t word_bytes = frame_aligned(region->block_count * sizeof(uint32_t));
    const uint64_t map_blocks = region->block_count + region->lead;
    const uint64_t all = region->block_count * FRAME_BLOCK_FRAMES;
    const uint64_t first = region->first - region->base;

    if (!is_zeroed)
        __builtin_memset(memory, 0, row_bytes + word_bytes);
    region->row = (_Atomic uint64_t *)(void *)memory;
    region->word = (_Atomic uint32_t *)(void *)(memory + row_bytes);
    _Atomic uint64_t *map = (_Atomic uint64_t *)(void *)(memory + row_bytes + word_bytes);
    map = frame_map_init(&region->whole, map_blocks, map);
    (void)frame_map_init(&region->part, map_blocks, map);
    frame_map_show_many(&region->whole, region->lead, region->block_count);
    frame_fence(region, 0, first);
    frame_fence(region, first + region->count, all);
    const uint64_t last = region->block_count - 1;
    for (uint64_t block = 0; block <= last; block += last != 0 ? last : 1) {
        if (frame_rows_are(region, block, 0))
            continue;
        atomic_store_explicit(&region->word[block], FRAME_OPEN, memory_order_relaxed);
        frame_hide_whole(region, block);
        frame_show_part(region, block);
    }
    return memory + frame_region_bytes(region);
}

enum loam_status loam_frame_init(struct loam_frame *frame, const struct loam_frame_setup *setup)
{
    const size_t needed = loam_frame_bytes_needed(setup);
    unsigned char *memory = setup->memory;
    unsigned count = 0;

    if (needed == 0 || memory == NULL || (uintptr_t)memory % 64 != 0)
        return LOAM_INVALID;
    if (setup->memory_bytes < needed)
        return LOAM_NO_SPACE;
    __builtin_memset(frame, 0, sizeof(*frame));
    frame->lane_count = frame_lanes_for(setup->cpu_count);
    frame->lane = (struct loam_frame_lane *)(void *)memory;
    __builtin_memset(memory, 0, frame->lane_count * sizeof(struct loam_frame_lane));
    memory += frame->lane_count * sizeof(struct loam_frame_lane);
    frame->region = (struct loam_frame_region *)(void *)memory;
    for (size_t i = 0; i < setup->range_count; i++) {
        struct frame_part rest = { setup->range[i].start.addr / LOAM_PAGE_SIZE,
                                   setup->range[i].size / LOAM_PAGE_SIZE };
        struct frame_part part;
        while (frame_part_next(&rest, &part)) {
            frame->region[count] = frame_shape(part);
            if (count == 0 || part.count > frame->main->count)
                frame->main = &frame->region[count];
            count++;
            for (unsigned zone = 0; zone < LOAM_ZONES; zone++)
                if (part.first < frame_zone_limit[zone])
                    frame->zone_end[zone] = count;
        }
    }
    frame->region_count = count;
    memory += frame_aligned(count * sizeof(struct loam_frame_region));
    for (unsigned i = 0; i < count; i++)
        memory = frame_region_init(&frame->region[i], memory, setup->is_zeroed);
    return LOAM_OK;
}
