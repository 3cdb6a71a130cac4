/*
 * frame_find.h - where to look for frames: which spans first, and in them which blocks.
 * For frame.c.
 */
#ifndef LOAM_INTERNAL_FRAME_FIND_H
#define LOAM_INTERNAL_FRAME_FIND_H

#include "frame_lane.h"

#define FRAME_TRIES 4u /* open blocks without room, looked at before a free one is taken */
#define FRAME_ALL   UINT32_MAX

/* What is looked for, and for which lane. */
struct frame_search {
    struct loam_frame *frame;
    const struct loam_frame_table *table;
    enum loam_zone zone;
    unsigned lane;
    unsigned order;
    uint32_t node; /* the CPU's, or the only one that will do */
    bool is_strict;
};

/* Which spans are looked at, one kind after the other. */
static const struct frame_kind {
    enum loam_zone zone;
    bool is_near; /* of the node that is looked for */
} frame_kinds[] = {
    { LOAM_ZONE_ANY, true }, { LOAM_ZONE_4G, true },  { LOAM_ZONE_ANY, false },
    { LOAM_ZONE_4G, false }, { LOAM_ZONE_16M, true }, { LOAM_ZONE_16M, false },
};
#define FRAME_KINDS (sizeof frame_kinds / sizeof frame_kinds[0])

/* Is a kind of spans looked at in this search? */
static inline bool frame_wants(const struct frame_search *search, const struct frame_kind *kind)
{
    return kind->zone >= search->zone &&
           (kind->is_near || (search->table->has_nodes && !search->is_strict));
}

/* Spans of a kind, from the top: the next one below @p at. @return NULL: there are no more */
static inline const struct frame_span *frame_next_span(const struct frame_search *search,
                                                       const struct frame_kind *kind, unsigned *at)
{
    const struct loam_frame_table *const table = search->table;
    const unsigned start = frame_zone_start(table, kind->zone);

    while (*at > start) {
        const struct frame_span *const span = &table->span[--*at];
        if ((span->node == search->node) == kind->is_near)
            return span;
    }
    return NULL;
}

/*
 * Claim blocks of a span in a state, from the top, until one has room, and take
 * it there. @param tries blocks that may be looked at @return first frame, or
 * FRAME_NONE
 */
static uint64_t frame_take_in(const struct frame_search *search, const struct frame_span *span,
                              uint32_t state, unsigned *tries, struct frame_owned *owned)
{
    const struct loam_frame_region *const region = span->region;
    const struct frame_map *map = state == FRAME_OPEN ? &region->part : &region->whole;
    const uint64_t from = span->from + region->lead;
    uint64_t end = span->end + region->lead;

    while (*tries != 0 &&
           (end = frame_map_last(map, from, end)) != FRAME_MAP_NONE) { /* downwards */
        const uint64_t block = end - region->lead;
        const bool is_mine = frame_claim(region, block, state, search->lane);
        if (state == FRAME_OPEN)
            frame_hide_part(region, block);
        else
            frame_hide_whole(region, block);
        if (!is_mine)
            continue;
        const unsigned at = frame_take(region, block, search->order);
        if (at != FRAME_BLOCK_FRAMES) {
            owned->region = region;
            owned->block = block;
            return region->base + block * FRAME_BLOCK_FRAMES + at;
        }
        frame_settle(region, block);
        (*tries)--;
    }
    return FRAME_NONE;
}

/* Take frames of a block that nobody owns, and own it: of each kind of spans an open
 * block if one is soon found, else a free one, else any open one. */
static uint64_t frame_find(const struct frame_search *search, struct frame_owned *owned)
{
    static const struct {
        uint32_t state;
        unsigned tries;
    } pass[] = { { FRAME_OPEN, FRAME_TRIES },
                 { FRAME_FREE, FRAME_ALL },
                 { FRAME_OPEN, FRAME_ALL } };

    for (const struct frame_kind *kind = frame_kinds; kind < frame_kinds + FRAME_KINDS; kind++) {
        for (unsigned i = 0; i < sizeof pass / sizeof pass[0] && frame_wants(search, kind); i++) {
            const struct frame_span *span;
            unsigned tries = pass[i].tries;
            unsigned at = search->table->zone_end[kind->zone];
            while ((span = frame_next_span(search, kind, &at)) != NULL) {
                const uint64_t found = frame_take_in(search, span, pass[i].state, &tries, owned);
                if (found != FRAME_NONE)
                    return found;
            }
        }
    }
    return FRAME_NONE;
}

#endif
