/*
 * frame.c - see frame.h; internal/frame_region.h has the blocks and why their
 * changes are safe, internal/frame_find.h where to look for one,
 * internal/frame_lane.h the lanes. Setup: frame_setup.c; contiguous ranges: frame_range.c.
 */
#include <loam/frame.h>

#include "internal/check.h"
#include "internal/frame_find.h"
#include "internal/inject.h"

#define FRAME_DRAINS 8u /* of all lanes, for one request */
#ifndef FRAME_WAIT      /* looks at a lane that is taken before it is left alone */
#define FRAME_WAIT 256u
#endif

LOAM_STATIC_ASSERT(FRAME_BLOCK_FRAMES == 1u << LOAM_ORDER_2M, "a block is 2 MiB");
LOAM_STATIC_ASSERT(sizeof(struct loam_frame_lane) == 64, "frame.h says so");

/* ---- lanes --------------------------------------------------------------- */

/* CPUs that have a lane of their own; behind these come as many more, and two. */
static inline unsigned frame_cpu_count(const struct loam_frame *frame)
{
    return (frame->lane_count - 2) / 2;
}

/* Enter another lane than the CPU's own: first the one that nobody else begins with. */
__attribute__((noinline)) static struct loam_frame_lane *frame_enter_from(
    const struct loam_frame *frame, unsigned cpu)
{
    unsigned lane = cpu < frame_cpu_count(frame) ? frame_cpu_count(frame) + cpu : cpu;

    while (lane >= frame->lane_count || !frame_lane_enter(&frame->lane[lane]))
        lane = lane + 1 < frame->lane_count ? lane + 1 : 0; /* ends: more lanes than contexts */
    return &frame->lane[lane];
}

/* Enter a lane: this CPU's, or another one if it is taken. */
static inline struct loam_frame_lane *frame_enter(const struct loam_frame *frame)
{
    const unsigned cpu = loam_port_cpu();

    return __builtin_expect(cpu < frame->lane_count && frame_lane_enter(&frame->lane[cpu]), 1)
               ? &frame->lane[cpu]
               : frame_enter_from(frame, cpu);
}

/* Put back what waits in all lanes but one, as far as nobody is at work in them.
 * @return false: nothing waits anywhere */
static bool frame_drain_others(struct loam_frame *frame, unsigned mine)
{
    bool has_found = false;

    for (unsigned i = 0; i < frame->lane_count; i++) {
        struct loam_frame_lane *const lane = &frame->lane[i];
        if (i == mine || atomic_load_explicit(&lane->holds, memory_order_relaxed) == 0)
            continue;
        has_found = true;
        bool is_mine = frame_lane_enter(lane);
        for (unsigned wait = 0; wait < FRAME_WAIT && !is_mine; wait++)
            is_mine = frame_lane_enter(lane);
        if (is_mine) {
            frame_lane_empty(lane);
            frame_lane_leave(lane);
            atomic_fetch_add(&frame->drain_count, 1);
        }
    }
    return has_found;
}

void loam_frame_drain(struct loam_frame *frame)
{
    (void)frame_drain_others(frame, frame->lane_count);
}

/* ---- finding blocks ------------------------------------------------------ */

/* frame_find(), with what waits in lanes if nothing is found: also in the one that was
 * entered, whose other block may have what is needed. Others may take what was drained, and
 * let it wait again: so there are some tries. */
static uint64_t frame_find_drained(const struct frame_search *search, struct frame_owned *owned)
{
    struct loam_frame_lane *const lane = &search->frame->lane[search->lane];
    uint64_t found = frame_find(search, owned);

    for (unsigned i = 0; i < FRAME_DRAINS && found == FRAME_NONE; i++) {
        const bool has_drained = frame_drain_others(search->frame, search->lane);
        if (!has_drained && i != 0)
            break;
        frame_lane_empty(lane);
        atomic_store_explicit(&lane->holds, 1, memory_order_relaxed);
        found = frame_find(search, owned);
    }
    return found;
}

/* ---- allocation ---------------------------------------------------------- */

/* Whose memory the running CPU gets first; if no node was named, all is the same. */
static inline uint32_t frame_node_here(const struct loam_frame *frame,
                                       const struct loam_frame_table *table)
{
    const unsigned cpu = loam_port_cpu();

    return table->has_nodes && cpu < frame->lane_count ? atomic_load(&frame->lane[cpu].node)
                                                       : LOAM_NODE_NONE;
}

/* A search on behalf of the running CPU. */
static struct frame_search frame_search_of(struct loam_frame *frame, unsigned order,
                                           enum loam_zone zone)
{
    const struct loam_frame_table *const table = frame_table(frame);
    const struct frame_search search = {
        .frame = frame,
        .table = table,
        .zone = zone,
        .order = order,
        .node = frame_node_here(frame, table),
    };
    return search;
}

/* Has a lane a block of this zone or a lower one? */
static inline bool frame_is_in_zone(const struct frame_owned *owned, enum loam_zone zone)
{
    return owned->region != NULL &&
           owned->region->base + owned->block * FRAME_BLOCK_FRAMES < frame_zone_limit[zone];
}

/* And of the node, if that is a condition? */
static inline bool frame_suits(const struct frame_search *search, const struct frame_owned *owned)
{
    return frame_is_in_zone(owned, search->zone) &&
           (!search->is_strict ||
            frame_table_span(search->table, owned->region, owned->block)->node == search->node);
}

/* Frames from a block that is not kept. */
static uint64_t frame_alloc_elsewhere(const struct frame_search *search)
{
    struct frame_owned owned = { NULL, 0 };
    const uint64_t found = frame_find_drained(search, &owned);

    frame_give_up(&owned);
    return found;
}

/* Fill the mask of a lane from the block that it owns. */
static void frame_refill(struct loam_frame_lane *lane)
{
    const struct loam_frame_region *const region = lane->single.region;
    const uint64_t first = lane->single.block * FRAME_BLOCK_ROWS;

    for (uint64_t row = first; row < first + FRAME_BLOCK_ROWS; row++) {
        if (frame_row(region, row) == FRAME_FULL)
            continue;
        frame_lane_fill(lane, frame_of_row(region, row), &region->row[row]);
        return;
    }
}

/* A frame that waits in a lane, or FRAME_NONE. */
static inline uint64_t frame_take_waiting(struct loam_frame_lane *lane)
{
    const uint64_t mask = atomic_load_explicit(&lane->mask, memory_order_relaxed);

    if (mask == 0)
        return FRAME_NONE;
    atomic_store_explicit(&lane->mask, mask & (mask - 1), memory_order_relaxed);
    return atomic_load_explicit(&lane->frame, memory_order_relaxed) +
           (unsigned)__builtin_ctzll(mask);
}

/* One frame from the block that a lane owns, and others that wait then. */
static uint64_t frame_take_single(struct loam_frame_lane *lane)
{
    if (atomic_load_explicit(&lane->mask, memory_order_relaxed) == 0)
        frame_refill(lane);
    return frame_take_waiting(lane);
}

/* 2^order frames of a block that a lane owns. */
static uint64_t frame_take_group(const struct frame_owned *owned, unsigned order)
{
    const unsigned at = frame_take(owned->region, owned->block, order);

    return at == FRAME_BLOCK_FRAMES ? FRAME_NONE
                                    : owned->region->base + owned->block * FRAME_BLOCK_FRAMES + at;
}

/* Would any other request be content with what this one finds? Else no lane keeps it: low
 * memory, and that of a node that was named, is for who asks for it. */
static inline bool frame_may_keep(const struct frame_search *search)
{
    return !search->is_strict && search->table->zone_end[search->zone] == search->table->span_count;
}

/* 2^order frames, order 0 to 8, for which a lane that was entered has to be looked at. */
static uint64_t frame_alloc_in_lane(struct frame_search *search, struct loam_frame_lane *lane)
{
    struct frame_owned *const owned = search->order == 0 ? &lane->single : &lane->group;

    search->lane = (unsigned)(lane - search->frame->lane);
    search->table = frame_table(search->frame); /* has the block that the lane has by now */
    if (owned->region != NULL) {
        if (!frame_suits(search, owned))
            return frame_alloc_elsewhere(search);
        const uint64_t found =
            search->order == 0 ? frame_take_single(lane) : frame_take_group(owned, search->order);
        if (found != FRAME_NONE)
            return found;
    }
    if (!frame_may_keep(search))
        return frame_alloc_elsewhere(search);
    frame_give_up(owned);
    atomic_store_explicit(&lane->holds, 1, memory_order_relaxed);
    return frame_find_drained(search, owned);
}

/* One frame of any node, likewise. */
__attribute__((noinline)) static uint64_t frame_alloc_single(struct loam_frame *frame,
                                                             struct loam_frame_lane *lane,
                                                             enum loam_zone zone)
{
    struct frame_search search = frame_search_of(frame, 0, zone);

    return frame_alloc_in_lane(&search, lane);
}

/* All of a claimed block is in use, and his who claimed it. */
static inline void frame_hand_out(const struct loam_frame_region *region, uint64_t block)
{
    frame_rows_set(region, block, FRAME_FULL);
    atomic_store_explicit(&region->word[block], FRAME_OPEN, memory_order_release);
}

/* Take blocks [block, block + count), all free, at once, or none. */
static bool frame_take_blocks(const struct loam_frame_region *region, uint64_t block,
                              uint64_t count)
{
    uint64_t taken = 0;

    while (taken < count && frame_claim(region, block + taken, FRAME_FREE, 0))
        taken++;
    if (taken < count) {
        frame_hide_whole(region, block + taken);
        while (taken-- > 0)
            frame_settle(region, block + taken);
        return false;
    }
    for (uint64_t i = block; i < block + count; i++)
        frame_hand_out(region, i);
    return true;
}

/* A free block of a span. It is not hidden: who finds it next will do so, if it
 * is not free again by then. */
static uint64_t frame_alloc_block_in(const struct frame_span *span)
{
    const struct loam_frame_region *const region = span->region;
    const uint64_t from = span->from + region->lead;
    uint64_t end = span->end + region->lead;

    while ((end = frame_map_last(&region->whole, from, end)) != FRAME_MAP_NONE) { /* downwards */
        const uint64_t block = end - region->lead;
        if (frame_claim(region, block, FRAME_FREE, 0)) {
            frame_hand_out(region, block);
            return region->base + block * FRAME_BLOCK_FRAMES;
        }
        frame_hide_whole(region, block);
    }
    return FRAME_NONE;
}

/* 2^order frames of whole blocks in a span, order 10 and more. */
static uint64_t frame_alloc_blocks_in(const struct frame_span *span, unsigned order)
{
    const struct loam_frame_region *const region = span->region;
    const uint64_t count = UINT64_C(1) << (order - LOAM_ORDER_2M);
    const uint64_t origin = region->base / FRAME_BLOCK_FRAMES - region->lead; /* of the maps */
    const uint64_t from = span->from + region->lead;
    uint64_t end = span->end + region->lead;

    while ((end = frame_map_last(&region->whole, from, end)) != FRAME_MAP_NONE) { /* downwards */
        const uint64_t start = ((origin + end) & ~(count - 1)) - origin;
        const uint64_t block = start - region->lead;
        if (start > end || start < from)
            return FRAME_NONE; /* it would begin before the span does */
        if (block + count <= span->end && frame_map_shows(&region->whole, start, count) &&
            frame_take_blocks(region, block, count))
            return region->base + block * FRAME_BLOCK_FRAMES;
        end = start;
    }
    return FRAME_NONE;
}

/* 2^order frames of whole blocks, order 9 and more. */
static uint64_t frame_alloc_blocks(const struct frame_search *search)
{
    for (const struct frame_kind *kind = frame_kinds; kind < frame_kinds + FRAME_KINDS; kind++) {
        const struct frame_span *span;
        unsigned at = frame_wants(search, kind) ? search->table->zone_end[kind->zone] : 0;
        while ((span = frame_next_span(search, kind, &at)) != NULL) {
            const uint64_t found = search->order == LOAM_ORDER_2M
                                       ? frame_alloc_block_in(span)
                                       : frame_alloc_blocks_in(span, search->order);
            if (found != FRAME_NONE)
                return found;
        }
    }
    return FRAME_NONE;
}

static inline loam_phys frame_address(uint64_t found)
{
    return found == FRAME_NONE ? loam_phys_none() : loam_phys_at(found * LOAM_PAGE_SIZE);
}

/* Whole blocks, drained from lanes if none is free. */
static uint64_t frame_alloc_large(const struct frame_search *search)
{
    uint64_t found = frame_alloc_blocks(search);

    for (unsigned i = 0; i < FRAME_DRAINS && found == FRAME_NONE; i++) {
        if (!frame_drain_others(search->frame, search->frame->lane_count))
            break;
        found = frame_alloc_blocks(search);
    }
    return found;
}

/* Any order. */
static loam_phys frame_alloc_for(struct frame_search *search)
{
    if (search->order >= LOAM_ORDER_2M)
        return frame_address(frame_alloc_large(search));
    struct loam_frame_lane *const lane = frame_enter(search->frame);
    const uint64_t found = frame_alloc_in_lane(search, lane);
    frame_lane_leave(lane);
    return frame_address(found);
}

/* A block of 2 MiB, if the first place where it is looked for has one. */
static uint64_t frame_alloc_first(const struct loam_frame *frame, enum loam_zone zone)
{
    const struct loam_frame_table *const table = frame_table(frame);

    if (table->zone_end[zone] == 0)
        return FRAME_NONE;
    const struct frame_span *const span = &table->span[table->zone_end[zone] - 1];
    return span->zone != LOAM_ZONE_16M && span->node == frame_node_here(frame, table)
               ? frame_alloc_block_in(span)
               : FRAME_NONE;
}

/* 2^order frames of the block that this CPU's lane has for them. @param order 1..8 */
static uint64_t frame_alloc_group(const struct loam_frame *frame, unsigned order,
                                  enum loam_zone zone)
{
    struct loam_frame_lane *const lane = frame_enter(frame);
    const uint64_t found =
        frame_is_in_zone(&lane->group, zone) ? frame_take_group(&lane->group, order) : FRAME_NONE;

    frame_lane_leave(lane);
    return found;
}

/* Any order, any zone: the two frequent cases first. */
__attribute__((noinline)) static loam_phys frame_alloc_order(struct loam_frame *frame,
                                                             unsigned order, enum loam_zone zone)
{
    uint64_t found = FRAME_NONE;

    if (order > LOAM_ORDER_MAX || (unsigned)zone >= LOAM_ZONES)
        return loam_phys_none();
    if (order == LOAM_ORDER_2M)
        found = frame_alloc_first(frame, zone);
    else if (order != 0 && order < LOAM_ORDER_2M)
        found = frame_alloc_group(frame, order, zone);
    if (found != FRAME_NONE)
        return frame_address(found);
    struct frame_search search = frame_search_of(frame, order, zone);
    return frame_alloc_for(&search);
}

loam_phys loam_frame_alloc(struct loam_frame *frame, unsigned order, enum loam_zone zone)
{
    if (LOAM_INJECT("frame.alloc"))
        return loam_phys_none();
    if (order != 0 || zone != LOAM_ZONE_ANY)
        return frame_alloc_order(frame, order, zone);
    struct loam_frame_lane *const lane = frame_enter(frame);
    uint64_t found = frame_take_waiting(lane);
    if (__builtin_expect(found == FRAME_NONE, 0))
        found = frame_alloc_single(frame, lane, zone);
    frame_lane_leave(lane);
    return frame_address(found);
}

loam_phys loam_frame_alloc_on(struct loam_frame *frame, unsigned order, enum loam_zone zone,
                              uint32_t node)
{
    if (LOAM_INJECT("frame.alloc_on") || order > LOAM_ORDER_MAX || (unsigned)zone >= LOAM_ZONES)
        return loam_phys_none();
    struct frame_search search = frame_search_of(frame, order, zone);
    search.node = node;
    search.is_strict = true;
    return frame_alloc_for(&search);
}

size_t loam_frame_alloc_bulk(struct loam_frame *frame, enum loam_zone zone, loam_phys *out,
                             size_t count)
{
    size_t done = 0;

    if (LOAM_INJECT("frame.bulk") || (unsigned)zone >= LOAM_ZONES)
        return 0;
    struct loam_frame_lane *const lane = frame_enter(frame);
    while (done < count) {
        uint64_t found = zone == LOAM_ZONE_ANY ? frame_take_waiting(lane) : FRAME_NONE;
        if (found == FRAME_NONE)
            found = frame_alloc_single(frame, lane, zone);
        if (found == FRAME_NONE)
            break;
        out[done++] = frame_address(found);
    }
    frame_lane_leave(lane);
    return done;
}

/* ---- free ---------------------------------------------------------------- */

/* Free frames [at, at + count) of a region, by index from its base, all in one block. */
static void frame_free_in(const struct loam_frame *frame, const struct loam_frame_region *region,
                          uint64_t at, uint64_t count)
{
    const uint64_t end = at + count;
    uint64_t row;
    uint64_t bits;

    if (count == FRAME_BLOCK_FRAMES) {
        if (frame_free_block(region, at / FRAME_BLOCK_FRAMES))
            return;
        /* A lane looks whether it has free frames; or somebody else frees it too. */
        LOAM_REQUIRE(frame_word(region, at / FRAME_BLOCK_FRAMES) !=
                         (FRAME_OWNED | FRAME_CLOSER << 2),
                     FRAME_RULE_TWICE, (region->base + at) * LOAM_PAGE_SIZE, count);
    }
    while (frame_next_row(&at, end, &row, &bits))
        frame_clear(frame, region, row, bits);
}

/* Panic unless frames [at, at + count) of a region are all in use. */
static void frame_require_used(const struct loam_frame *frame,
                               const struct loam_frame_region *region, uint64_t at, uint64_t count)
{
    const uint64_t end = at + count;
    uint64_t row;
    uint64_t bits;

    while (frame_next_row(&at, end, &row, &bits))
        LOAM_REQUIRE(frame_are_used(frame, region, row, bits), FRAME_RULE_TWICE,
                     (frame_of_row(region, row) + (unsigned)__builtin_ctzll(bits)) * LOAM_PAGE_SIZE,
                     0);
}

/* Free what frame_require_used() has seen, block by block. */
static void frame_free_many(const struct loam_frame *frame, const struct loam_frame_region *region,
                            uint64_t at, uint64_t count)
{
    while (count != 0) {
        const uint64_t rest = FRAME_BLOCK_FRAMES - at % FRAME_BLOCK_FRAMES;
        const uint64_t many = rest < count ? rest : count;
        frame_free_in(frame, region, at, many);
        at += many;
        count -= many;
    }
}

/* A block of any order; or panic. */
__attribute__((noinline)) static void frame_free_order(const struct loam_frame *frame,
                                                       loam_phys block, unsigned order)
{
    const uint64_t number = block.addr / LOAM_PAGE_SIZE;

    LOAM_REQUIRE(order <= LOAM_ORDER_MAX, FRAME_RULE_ORDER, block.addr, order);
    const uint64_t count = UINT64_C(1) << order;
    const struct loam_frame_region *const region = frame_region_of(frame, number);
    LOAM_REQUIRE(region != NULL && (block.addr & (count * LOAM_PAGE_SIZE - 1)) == 0 &&
                     count <= region->first + region->count - number,
                 FRAME_RULE_FOREIGN, block.addr, count);
    const uint64_t at = number - region->base;
    if (order < FRAME_ROW_ORDER) {
        const uint64_t bits = frame_bits((unsigned)(at % FRAME_ROW_FRAMES), count);
        LOAM_REQUIRE(frame_are_used(frame, region, at / FRAME_ROW_FRAMES, bits), FRAME_RULE_TWICE,
                     block.addr, count);
        frame_clear(frame, region, at / FRAME_ROW_FRAMES, bits);
    } else if (order != LOAM_ORDER_2M || !frame_free_block(region, at / FRAME_BLOCK_FRAMES)) {
        frame_require_used(frame, region, at, count);
        frame_free_many(frame, region, at, count);
    }
}

/*
 * May a frame that its row says is in use be freed at once? No: somebody has to look closer.
 * The row was read before: so if a lane is being filled with it now, the frame was in use
 * until then, or waited; and if it was filled before, the version is even and the mask has it.
 */
static inline bool frame_is_plain(const struct loam_frame *frame, uint32_t word, uint64_t number)
{
    const struct loam_frame_lane *const lane = &frame->lane[word >> 2];

    if (LOAM_CHECK == 0 || word == FRAME_OPEN)
        return true;
    if ((word & FRAME_STATE) != FRAME_OWNED || word >> 2 == FRAME_CLOSER ||
        atomic_load(&lane->version) % 2 != 0)
        return false;
    return (atomic_load(&lane->mask) >> number % FRAME_ROW_FRAMES & 1) == 0 ||
           (atomic_load(&lane->frame) ^ number) >= FRAME_ROW_FRAMES;
}

/* A single frame of the largest region, without a call. @return false: that is not enough,
 * or something is wrong: frame_free_order() will see */
static inline bool frame_free_single(const struct loam_frame *frame, uint64_t number)
{
    const struct loam_frame_region *const region = frame->main;
    const uint64_t bit = UINT64_C(1) << number % FRAME_ROW_FRAMES;
    const uint64_t at = number - region->base;

    if (number - region->first >= region->count)
        return false;
    _Atomic uint64_t *const row = &region->row[at / FRAME_ROW_FRAMES];
    uint64_t seen = atomic_load(row);
    if ((seen & bit) == 0 ||
        !frame_is_plain(frame, frame_word(region, at / FRAME_BLOCK_FRAMES), number) ||
        !atomic_compare_exchange_strong(row, &seen, seen ^ bit))
        return false;
    if (LOAM_CHECK >= 2)
        frame_require_alone(frame, region, at / FRAME_ROW_FRAMES, bit);
    if (__builtin_expect(seen == FRAME_FULL || seen == bit, 0))
        frame_freed(region, at / FRAME_BLOCK_FRAMES);
    return true;
}

void loam_frame_free(struct loam_frame *frame, loam_phys block, unsigned order)
{
    if (__builtin_expect((order | block.addr % LOAM_PAGE_SIZE) != 0 ||
                             !frame_free_single(frame, block.addr / LOAM_PAGE_SIZE),
                         0))
        frame_free_order(frame, block, order);
}

void loam_frame_free_bulk(struct loam_frame *frame, const loam_phys *block, size_t count)
{
    for (size_t i = 0; i < count; i++)
        loam_frame_free(frame, block[i], 0);
}

void loam_frame_release(struct loam_frame *frame, struct loam_phys_range range)
{
    const uint64_t end = range.start.addr / LOAM_PAGE_SIZE + range.size / LOAM_PAGE_SIZE;

    LOAM_REQUIRE(range.size != 0 && (range.start.addr | range.size) % LOAM_PAGE_SIZE == 0 &&
                     loam_range_fits(range.start.addr, range.size),
                 FRAME_RULE_FOREIGN, range.start.addr, range.size / LOAM_PAGE_SIZE);
    for (unsigned check = 2; check-- > 0;) { /* all of it, before any of it */
        for (uint64_t number = range.start.addr / LOAM_PAGE_SIZE; number < end;) {
            const struct loam_frame_region *const region = frame_region_of(frame, number);
            LOAM_REQUIRE(region != NULL, FRAME_RULE_FOREIGN, number * LOAM_PAGE_SIZE, end - number);
            const uint64_t rest = region->first + region->count - number;
            const uint64_t count = rest < end - number ? rest : end - number;
            if (check != 0)
                frame_require_used(frame, region, number - region->base, count);
            else
                frame_free_many(frame, region, number - region->base, count);
            number += count;
        }
    }
}
