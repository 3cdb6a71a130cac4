/*
 * frame_range.c - frames that must lie together or in a certain place, and all that
 * visits every block: statistics, audit, digest. See frame.h.
 */
#include <loam/frame.h>

#include "internal/digest.h"
#include "internal/frame_lane.h"
#include "internal/inject.h"

#define FRAME_RETRIES 3u /* when a range was taken by others while it was looked at */

/* ---- taking exactly ------------------------------------------------------ */

/* Frames [at, at + count) of a region are in use from now on. */
static void frame_mark(const struct loam_frame_region *region, uint64_t at, uint64_t count)
{
    const uint64_t end = at + count;
    uint64_t row;
    uint64_t bits;

    while (frame_next_row(&at, end, &row, &bits))
        atomic_fetch_or(&region->row[row], bits);
}

/*
 * Frames of [from, at) of a region, by index from its base, that are free without a
 * gap up to @p at: the first of them, or @p at.
 */
static uint64_t frame_free_from(const struct loam_frame_region *region, uint64_t from, uint64_t at)
{
    while (at > from) {
        const unsigned top = (unsigned)((at - 1) % FRAME_ROW_FRAMES);
        const uint64_t row = frame_row(region, (at - 1) / FRAME_ROW_FRAMES);
        const uint64_t used = row & UINT64_MAX >> (FRAME_ROW_FRAMES - 1 - top);
        const uint64_t start = at - 1 - top;
        if (used != 0) {
            const uint64_t last = start + (63 ^ (unsigned)__builtin_clzll(used));
            return last + 1 > from ? last + 1 : from;
        }
        at = start;
    }
    return from;
}

/* The same of frames in use. */
static uint64_t frame_used_from(const struct loam_frame_region *region, uint64_t from, uint64_t at)
{
    while (at > from) {
        const unsigned top = (unsigned)((at - 1) % FRAME_ROW_FRAMES);
        const uint64_t row = frame_row(region, (at - 1) / FRAME_ROW_FRAMES);
        const uint64_t unused = ~row & UINT64_MAX >> (FRAME_ROW_FRAMES - 1 - top);
        const uint64_t start = at - 1 - top;
        if (unused != 0) {
            const uint64_t last = start + (63 ^ (unsigned)__builtin_clzll(unused));
            return last + 1 > from ? last + 1 : from;
        }
        at = start;
    }
    return from;
}

static bool frame_are_free(const struct loam_frame_region *region, uint64_t at, uint64_t count)
{
    return frame_free_from(region, at, at + count) == at;
}

/* Take frames [at, at + count) of a region, all free and in blocks that nobody owns, or none. */
static bool frame_take_exactly(const struct loam_frame_region *region, uint64_t at, uint64_t count)
{
    const uint64_t first = at / FRAME_BLOCK_FRAMES;
    const uint64_t end = (at + count - 1) / FRAME_BLOCK_FRAMES + 1;
    uint64_t block = first;

    while (block < end &&
           (frame_claim(region, block, FRAME_FREE, 0) || frame_claim(region, block, FRAME_OPEN, 0)))
        block++;
    const bool is_taken = block == end && frame_are_free(region, at, count);
    if (is_taken)
        frame_mark(region, at, count);
    while (block-- > first)
        frame_settle(region, block);
    return is_taken;
}

/* ---- exact ranges -------------------------------------------------------- */

/* The next part of [number, end) that lies in one region. @return false: there is none */
static bool frame_part_in(const struct loam_frame *frame, uint64_t number, uint64_t end,
                          const struct loam_frame_region **region, uint64_t *count)
{
    *region = frame_region_of(frame, number);
    if (*region == NULL)
        return false;
    const uint64_t rest = (*region)->first + (*region)->count - number;
    *count = rest < end - number ? rest : end - number;
    return true;
}

enum loam_status loam_frame_reserve(struct loam_frame *frame, struct loam_phys_range range)
{
    const uint64_t first = range.start.addr / LOAM_PAGE_SIZE;
    const uint64_t end = first + range.size / LOAM_PAGE_SIZE;
    const struct loam_frame_region *region;
    uint64_t count;

    if (range.size == 0 || (range.start.addr | range.size) % LOAM_PAGE_SIZE != 0 ||
        !loam_range_fits(range.start.addr, range.size))
        return LOAM_INVALID;
    for (uint64_t number = first; number < end; number += count)
        if (!frame_part_in(frame, number, end, &region, &count))
            return LOAM_NOT_FOUND;
    loam_frame_drain(frame);
    for (uint64_t number = first; number < end; number += count) {
        if (frame_part_in(frame, number, end, &region, &count) &&
            frame_take_exactly(region, number - region->base, count))
            continue;
        if (number != first)
            loam_frame_release(frame,
                               loam_phys_range_of(range.start, (number - first) * LOAM_PAGE_SIZE));
        return LOAM_OVERLAP;
    }
    return LOAM_OK;
}

/* ---- contiguous ranges --------------------------------------------------- */

/* A request in frames; all of it is in bounds. */
struct frame_wish {
    uint64_t count, align, from, limit, boundary; /* boundary 0: none */
};

static bool frame_wish_of(const struct loam_frame_request *request, struct frame_wish *wish)
{
    const uint64_t align = request->align_bytes == 0 ? LOAM_PAGE_SIZE : request->align_bytes;
    const uint64_t limit = request->limit == 0 ? UINT64_MAX : request->limit;

    if (request->page_count == 0 || request->page_count > UINT64_MAX / LOAM_PAGE_SIZE ||
        !loam_is_power_of_two(align) || request->from > limit ||
        (request->boundary_bytes != 0 &&
         (!loam_is_power_of_two(request->boundary_bytes) ||
          request->boundary_bytes / LOAM_PAGE_SIZE < request->page_count)))
        return false;
    wish->count = request->page_count;
    wish->align = align < LOAM_PAGE_SIZE ? 1 : align / LOAM_PAGE_SIZE;
    wish->from = request->from / LOAM_PAGE_SIZE + (request->from % LOAM_PAGE_SIZE != 0);
    wish->limit = limit / LOAM_PAGE_SIZE;
    wish->boundary = request->boundary_bytes / LOAM_PAGE_SIZE;
    return true;
}

/* The highest place for a wish that ends at or below @p end and begins at or above @p from,
 * frames in use or not; or FRAME_NONE. */
static uint64_t frame_place(const struct frame_wish *wish, uint64_t from, uint64_t end)
{
    while (end >= wish->count && end - wish->count >= from) { /* ends: downwards, twice */
        const uint64_t start = (end - wish->count) & ~(wish->align - 1);
        if (start < from)
            return FRAME_NONE;
        const uint64_t last = start + wish->count - 1;
        if (wish->boundary == 0 || start / wish->boundary == last / wish->boundary)
            return start;
        end = last & ~(wish->boundary - 1);
    }
    return FRAME_NONE;
}

/* Take the highest free place for a wish in a region. */
static uint64_t frame_take_wish_in(const struct loam_frame_region *region,
                                   const struct frame_wish *wish)
{
    const uint64_t region_end = region->first + region->count;
    const uint64_t from = wish->from > region->first ? wish->from : region->first;
    uint64_t end = wish->limit < region_end ? wish->limit : region_end;

    for (;;) { /* ends: downwards */
        const uint64_t start = frame_place(wish, from, end);
        if (start == FRAME_NONE)
            return FRAME_NONE;
        const uint64_t at = start - region->base;
        const uint64_t free_from = frame_free_from(region, at, at + wish->count);
        if (free_from == at && frame_take_exactly(region, at, wish->count))
            return start;
        end = free_from == at
                  ? start + wish->count - 1
                  : region->base + frame_used_from(region, from - region->base, free_from);
    }
}

/* Frames free between two addresses. */
static uint64_t frame_free_between(const struct loam_frame *frame, const struct frame_wish *wish)
{
    uint64_t count = 0;

    for (unsigned i = 0; i < frame->region_count; i++) {
        const struct loam_frame_region *const region = &frame->region[i];
        const uint64_t region_end = region->first + region->count;
        const uint64_t from = wish->from > region->first ? wish->from : region->first;
        uint64_t at = wish->limit < region_end ? wish->limit : region_end;
        while (at > from) { /* runs downwards */
            const uint64_t free_from =
                region->base + frame_free_from(region, from - region->base, at - region->base);
            count += at - free_from;
            at = region->base +
                 frame_used_from(region, from - region->base, free_from - region->base);
        }
    }
    return count;
}

enum loam_status loam_frame_alloc_range(struct loam_frame *frame,
                                        const struct loam_frame_request *request, loam_phys *out)
{
    struct frame_wish wish;

    if (!frame_wish_of(request, &wish))
        return LOAM_INVALID;
    if (LOAM_INJECT("frame.range"))
        return LOAM_NO_MEMORY;
    for (unsigned retry = 0; retry < FRAME_RETRIES; retry++) {
        loam_frame_drain(frame);
        for (unsigned i = frame->region_count; i-- > 0;) {
            const uint64_t start = frame_take_wish_in(&frame->region[i], &wish);
            if (start != FRAME_NONE) {
                *out = loam_phys_at(start * LOAM_PAGE_SIZE);
                return LOAM_OK;
            }
        }
    }
    return frame_free_between(frame, &wish) >= wish.count ? LOAM_NO_SPACE : LOAM_NO_MEMORY;
}

/* ---- statistics ---------------------------------------------------------- */

static unsigned frame_ones(uint64_t word)
{
    word -= word >> 1 & UINT64_C(0x5555555555555555);
    word = (word & UINT64_C(0x3333333333333333)) + (word >> 2 & UINT64_C(0x3333333333333333));
    word = (word + (word >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    return (unsigned)(word * UINT64_C(0x0101010101010101) >> 56);
}

/* Frames of a block that its rows say are free. */
static unsigned frame_block_free(const struct loam_frame_region *region, uint64_t block)
{
    unsigned count = 0;

    if (frame_word(region, block) == FRAME_FREE)
        return FRAME_BLOCK_FRAMES; /* its rows need not even be there */
    for (uint64_t row = 0; row < FRAME_BLOCK_ROWS; row++)
        count += FRAME_ROW_FRAMES - frame_ones(frame_row(region, block * FRAME_BLOCK_ROWS + row));
    return count;
}

/* Frames of a region that wait in a lane. */
static unsigned frame_lane_count(const struct loam_frame_lane *lane,
                                 const struct loam_frame_region *region)
{
    const uint64_t frame = atomic_load_explicit(&lane->frame, memory_order_relaxed);

    return frame_ones(atomic_load_explicit(&lane->mask, memory_order_relaxed) &
                      frame_bits_in(region, frame));
}

static void frame_measure_region(const struct loam_frame *frame,
                                 const struct loam_frame_region *region,
                                 struct loam_frame_stats *stats)
{
    uint64_t run = 0;

    stats->frame_count += region->count;
    for (uint64_t block = 0; block < region->block_count; block++) {
        stats->free_count += frame_block_free(region, block);
        run = frame_word(region, block) == FRAME_FREE ? run + 1 : 0;
        stats->block_count += run != 0;
        if (run * FRAME_BLOCK_FRAMES > stats->largest_free)
            stats->largest_free = run * FRAME_BLOCK_FRAMES;
    }
    for (unsigned i = 0; i < frame->lane_count; i++)
        stats->lane_count += frame_lane_count(&frame->lane[i], region);
}

void loam_frame_measure(const struct loam_frame *frame, enum loam_zone zone,
                        struct loam_frame_stats *out)
{
    struct loam_frame_stats stats = { 0 };
    const unsigned end = frame->zone_end[zone];

    for (unsigned i = zone == LOAM_ZONE_16M ? 0 : frame->zone_end[zone + 1]; i < end; i++)
        frame_measure_region(frame, &frame->region[i], &stats);
    stats.free_count += stats.lane_count;
    if (stats.free_count > stats.frame_count) /* a row went into a lane meanwhile */
        stats.free_count = stats.frame_count;
    *out = stats;
}

/* ---- audit --------------------------------------------------------------- */

static const char *frame_audit_block(const struct loam_frame *frame,
                                     const struct loam_frame_region *region, uint64_t block)
{
    const uint32_t word = frame_word(region, block);
    const bool is_free = frame_rows_are(region, block, 0);
    const bool is_full = frame_rows_are(region, block, FRAME_FULL);
    const uint64_t bit = block + region->lead;

    switch (word & FRAME_STATE) {
    case FRAME_FREE:
        if (word != FRAME_FREE)
            break;
        if (!is_free)
            return "frame: a free block has frames in use";
        return frame_map_shows(&region->whole, bit, 1) ? NULL : "frame: a free block is hidden";
    case FRAME_OPEN:
        if (word != FRAME_OPEN)
            break;
        if (is_free)
            return "frame: an open block has no frame in use";
        return is_full || frame_map_shows(&region->part, bit, 1)
                   ? NULL
                   : "frame: an open block with free frames is hidden";
    case FRAME_OWNED: {
        if (word >> 2 >= frame->lane_count)
            break;
        const struct loam_frame_lane *const lane = &frame->lane[word >> 2];
        return (lane->single.region == region && lane->single.block == block) ||
                       (lane->group.region == region && lane->group.block == block)
                   ? NULL
                   : "frame: a lane does not know of its block";
    }
    default:
        break;
    }
    return "frame: a block's word is damaged";
}

/* Each level of a map hides what all hides below it, and nothing else when all is quiet. */
static const char *frame_audit_map(const struct frame_map *map, uint64_t bits)
{
    for (unsigned level = 0; level + 1 < map->levels; level++) {
        bits = frame_map_words(bits);
        for (uint64_t i = 0; i < bits; i++) {
            const bool is_hidden = (atomic_load(&map->level[level + 1][i / 64]) >> i % 64 & 1) != 0;
            if (is_hidden && atomic_load(&map->level[level][i]) != UINT64_MAX)
                return "frame: a map hides what is shown below";
        }
    }
    return NULL;
}

static const char *frame_audit_region(const struct loam_frame *frame,
                                      const struct loam_frame_region *region)
{
    const uint64_t bits = region->block_count + region->lead;
    const uint64_t first = region->first - region->base;
    const uint64_t all = region->block_count * FRAME_BLOCK_FRAMES;
    const char *broken = NULL;

    if (frame_used_from(region, 0, first) != 0 ||
        frame_used_from(region, first + region->count, all) != first + region->count)
        return "frame: a frame outside of memory is free";
    for (uint64_t block = 0; block < region->block_count && broken == NULL; block++)
        broken = frame_audit_block(frame, region, block);
    if (broken == NULL)
        broken = frame_audit_map(&region->whole, bits);
    return broken != NULL ? broken : frame_audit_map(&region->part, bits);
}

static const char *frame_audit_lane(const struct loam_frame_lane *lane)
{
    const uint64_t mask = atomic_load(&lane->mask);
    const struct loam_frame_region *const region = lane->single.region;

    if (atomic_load(&lane->holds) == 0 &&
        (mask != 0 || region != NULL || lane->group.region != NULL))
        return "frame: a lane holds what it says it does not";
    if (mask == 0)
        return NULL;
    const uint64_t at = region == NULL ? UINT64_MAX : atomic_load(&lane->frame) - region->base;
    if (region == NULL || at % FRAME_ROW_FRAMES != 0 ||
        at / FRAME_BLOCK_FRAMES != lane->single.block)
        return "frame: a lane has frames of another block";
    return (frame_row(region, at / FRAME_ROW_FRAMES) & mask) == mask
               ? NULL
               : "frame: a frame waits in a lane and is free";
}

const char *loam_frame_audit(const struct loam_frame *frame)
{
    const char *broken = NULL;

    for (unsigned i = 0; i < frame->lane_count && broken == NULL; i++)
        broken = frame_audit_lane(&frame->lane[i]);
    for (unsigned i = 0; i < frame->region_count && broken == NULL; i++)
        broken = frame_audit_region(frame, &frame->region[i]);
    return broken;
}

/* A row as it is once all lanes are emptied. */
static uint64_t frame_row_drained(const struct loam_frame *frame,
                                  const struct loam_frame_region *region, uint64_t row)
{
    uint64_t used = frame_row(region, row);

    for (unsigned i = 0; i < frame->lane_count; i++)
        if (atomic_load(&frame->lane[i].frame) == frame_of_row(region, row))
            used &= ~(atomic_load(&frame->lane[i].mask) &
                      frame_bits_in(region, frame_of_row(region, row)));
    return used;
}

uint64_t loam_frame_digest(const struct loam_frame *frame)
{
    uint64_t digest = LOAM_DIGEST_START;

    for (unsigned i = 0; i < frame->region_count; i++) {
        const struct loam_frame_region *const region = &frame->region[i];
        for (uint64_t row = 0; row < region->block_count * FRAME_BLOCK_ROWS; row++) {
            const uint64_t used = frame_row_drained(frame, region, row);
            if (used == 0)
                continue;
            digest = loam_digest_add(digest, frame_of_row(region, row));
            digest = loam_digest_add(digest, used);
        }
    }
    return digest;
}
