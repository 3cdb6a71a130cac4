/*
 * frame_measure.c - all that visits every block: statistics, audit, digest. See frame.h.
 */
#include <loam/frame.h>

#include "internal/digest.h"
#include "internal/frame_lane.h"

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

/* Frames of a span that wait in a lane. */
static unsigned frame_lane_count(const struct loam_frame_lane *lane, const struct frame_span *span)
{
    const uint64_t mask = atomic_load_explicit(&lane->mask, memory_order_relaxed);
    const uint64_t start = atomic_load_explicit(&lane->frame, memory_order_relaxed);
    const uint64_t last = span->end - 1;

    return frame_ones(mask & frame_bits_between(start, frame_of_block(span->region, span->from),
                                                frame_of_block(span->region, last) +
                                                    frame_count_in(span->region, last)));
}

static void frame_measure_span(const struct loam_frame *frame, const struct frame_span *span,
                               struct loam_frame_stats *stats)
{
    const struct loam_frame_region *const region = span->region;
    uint64_t run = 0;

    for (uint64_t block = span->from; block < span->end; block++) {
        const uint32_t word = frame_word(region, block);
        stats->frame_count += word == FRAME_GONE ? 0 : frame_count_in(region, block);
        stats->free_count += frame_block_free(region, block);
        run = word == FRAME_FREE ? run + 1 : 0;
        stats->block_count += run != 0;
        if (run * FRAME_BLOCK_FRAMES > stats->largest_free)
            stats->largest_free = run * FRAME_BLOCK_FRAMES;
    }
    for (unsigned i = 0; i < frame->lane_count; i++)
        stats->lane_count += frame_lane_count(&frame->lane[i], span);
}

static void frame_measure_end(struct loam_frame_stats *stats)
{
    stats->free_count += stats->lane_count;
    if (stats->free_count > stats->frame_count) /* a row went into a lane meanwhile */
        stats->free_count = stats->frame_count;
}

void loam_frame_measure(const struct loam_frame *frame, enum loam_zone zone,
                        struct loam_frame_stats *out)
{
    const struct loam_frame_table *const table = frame_table(frame);
    struct loam_frame_stats stats = { 0 };

    for (unsigned i = frame_zone_start(table, zone); i < table->zone_end[zone]; i++)
        frame_measure_span(frame, &table->span[i], &stats);
    frame_measure_end(&stats);
    *out = stats;
}

void loam_frame_measure_node(const struct loam_frame *frame, uint32_t node,
                             struct loam_frame_stats *out)
{
    const struct loam_frame_table *const table = frame_table(frame);
    struct loam_frame_stats stats = { 0 };

    for (unsigned i = 0; i < table->span_count; i++)
        if (table->span[i].node == node)
            frame_measure_span(frame, &table->span[i], &stats);
    frame_measure_end(&stats);
    *out = stats;
}

/* Count a run of free frames [from, end) as aligned blocks. */
static void frame_count_orders(uint64_t from, uint64_t end, uint64_t count[LOAM_ORDER_MAX + 1])
{
    while (from < end) {
        const unsigned fits = 63 ^ (unsigned)__builtin_clzll(end - from);
        const unsigned aligned = from == 0 ? LOAM_ORDER_MAX : (unsigned)__builtin_ctzll(from);
        unsigned order = fits < aligned ? fits : aligned;
        order = order < LOAM_ORDER_MAX ? order : LOAM_ORDER_MAX;
        count[order]++;
        from += UINT64_C(1) << order;
    }
}

void loam_frame_measure_orders(const struct loam_frame *frame, enum loam_zone zone,
                               uint64_t count[LOAM_ORDER_MAX + 1])
{
    const struct loam_frame_table *const table = frame_table(frame);

    for (unsigned order = 0; order <= LOAM_ORDER_MAX; order++)
        count[order] = 0;
    for (unsigned i = frame_zone_start(table, zone); i < table->zone_end[zone]; i++) {
        const struct loam_frame_region *const region = table->span[i].region;
        const uint64_t from = table->span[i].from * FRAME_BLOCK_FRAMES;
        uint64_t at = table->span[i].end * FRAME_BLOCK_FRAMES;
        while (at > from) { /* runs downwards */
            const uint64_t free_from = frame_free_from(region, from, at);
            frame_count_orders(region->base + free_from, region->base + at, count);
            at = frame_used_from(region, from, free_from);
        }
    }
}

uint64_t loam_frame_measure_cpu(const struct loam_frame *frame, unsigned cpu)
{
    return cpu < frame->lane_count
               ? frame_ones(atomic_load_explicit(&frame->lane[cpu].mask, memory_order_relaxed))
               : 0;
}

/* Free frames of [first, end), all of one region. */
static uint64_t frame_count_free(const struct loam_frame *frame,
                                 const struct loam_frame_region *region, uint64_t first,
                                 uint64_t end)
{
    uint64_t at = first - region->base;
    uint64_t found = 0;
    uint64_t row;
    uint64_t bits;

    while (frame_next_row(&at, end - region->base, &row, &bits))
        found += frame_ones(~frame_row(region, row) & bits);
    for (unsigned i = 0; i < frame->lane_count; i++) {
        const struct loam_frame_lane *const lane = &frame->lane[i];
        const uint64_t mask = atomic_load_explicit(&lane->mask, memory_order_relaxed);
        const uint64_t start = atomic_load_explicit(&lane->frame, memory_order_relaxed);
        found += frame_ones(mask & frame_bits_between(start, first, end));
    }
    return found;
}

uint64_t loam_frame_free_in(const struct loam_frame *frame, struct loam_phys_range range)
{
    const struct loam_frame_table *const table = frame_table(frame);
    const uint64_t first = range.start.addr / LOAM_PAGE_SIZE;
    const uint64_t end = first + range.size / LOAM_PAGE_SIZE;
    uint64_t found = 0;

    for (unsigned i = 0; i < table->region_count; i++) {
        const struct loam_frame_region *const region = table->region[i];
        const uint64_t region_end = region->first + region->count;
        const uint64_t low = first > region->first ? first : region->first;
        const uint64_t high = end < region_end ? end : region_end;
        if (low < high)
            found += frame_count_free(frame, region, low, high);
    }
    return found;
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
        if (word != FRAME_GONE)
            break;
        return is_full ? NULL : "frame: a frame that was removed is free";
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

/* What a block has beside memory is in use. */
static bool frame_is_fenced(const struct loam_frame_region *region, uint64_t block)
{
    const uint64_t first = block * FRAME_BLOCK_ROWS;

    for (uint64_t row = first; row < first + FRAME_BLOCK_ROWS; row++)
        if ((frame_row(region, row) | frame_bits_in(region, frame_of_row(region, row))) !=
            FRAME_FULL)
            return false;
    return true;
}

static const char *frame_audit_region(const struct loam_frame *frame,
                                      const struct loam_frame_region *region)
{
    const uint64_t bits = region->block_count + region->lead;
    const char *broken = NULL;

    if (!frame_is_fenced(region, 0) || !frame_is_fenced(region, region->block_count - 1))
        return "frame: a frame outside of memory is free";
    for (uint64_t block = 0; block < region->block_count && broken == NULL; block++)
        broken = frame_audit_block(frame, region, block);
    if (broken == NULL)
        broken = frame_audit_map(&region->whole, bits);
    return broken != NULL ? broken : frame_audit_map(&region->part, bits);
}

/* Spans are all blocks of the regions, each once, in order and in their zone. */
static const char *frame_audit_table(const struct loam_frame_table *table)
{
    unsigned at = 0;

    for (unsigned i = 0; i < table->region_count; i++) {
        const struct loam_frame_region *const region = table->region[i];
        uint64_t block = 0;
        if (i != 0 && table->region[i - 1]->first + table->region[i - 1]->count > region->first)
            return "frame: regions are out of order";
        for (; at < table->span_count && table->span[at].region == region; at++) {
            const struct frame_span *const span = &table->span[at];
            if (span->from != block || span->end <= span->from || span->end > region->block_count ||
                frame_zone_of(frame_of_block(region, span->from)) != span->zone ||
                frame_zone_of(frame_of_block(region, span->end - 1)) != span->zone)
                return "frame: a span is not part of its region or zone";
            if (at < frame_zone_start(table, span->zone) || at >= table->zone_end[span->zone])
                return "frame: a zone does not know of a span";
            block = span->end;
        }
        if (block != region->block_count)
            return "frame: a block is in no span";
    }
    return at == table->span_count ? NULL : "frame: a span is of no region";
}

/* Does the word of a block that a lane has name that lane? */
static bool frame_is_owner(const struct frame_owned *owned, unsigned lane)
{
    return owned->region == NULL ||
           frame_word(owned->region, owned->block) == (FRAME_OWNED | lane << 2);
}

static const char *frame_audit_lane(const struct loam_frame_lane *lane, unsigned index)
{
    const uint64_t mask = atomic_load(&lane->mask);
    const struct loam_frame_region *const region = lane->single.region;

    if (atomic_load(&lane->holds) == 0 &&
        (mask != 0 || region != NULL || lane->group.region != NULL))
        return "frame: a lane holds what it says it does not";
    if (!frame_is_owner(&lane->single, index) || !frame_is_owner(&lane->group, index))
        return "frame: a block does not know of its lane";
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

/* Frames of blocks that say they were removed. */
static uint64_t frame_count_gone(const struct loam_frame_region *region)
{
    uint64_t count = 0;

    for (uint64_t block = 0; block < region->block_count; block++)
        if (frame_word(region, block) == FRAME_GONE)
            count += frame_count_in(region, block);
    return count;
}

const char *loam_frame_audit(const struct loam_frame *frame)
{
    const struct loam_frame_table *const table = frame_table(frame);
    const char *broken = frame_audit_table(table);
    uint64_t gone_count = 0;

    for (unsigned i = 0; i < frame->lane_count && broken == NULL; i++)
        broken = frame_audit_lane(&frame->lane[i], i);
    for (unsigned i = 0; i < table->region_count && broken == NULL; i++) {
        broken = frame_audit_region(frame, table->region[i]);
        gone_count += frame_count_gone(table->region[i]);
    }
    if (broken == NULL && gone_count != atomic_load(&frame->gone_count))
        broken = "frame: not as many frames are gone as were removed";
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
    const struct loam_frame_table *const table = frame_table(frame);
    uint64_t digest = loam_digest_add(LOAM_DIGEST_START, atomic_load(&frame->gone_count));

    for (unsigned i = 0; i < table->region_count; i++) {
        const struct loam_frame_region *const region = table->region[i];
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
