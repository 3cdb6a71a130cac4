/*
 * frame_region.h - a range of RAM and its blocks: which frames are in use, who may
 * take more of them. The lock-free core of frame.c; DESIGN: docs/design.md.
 *
 *     free ---- claim ----> owned <---- claim ---- open
 *       ^                     |  |                   ^
 *       +------ settle -------+--|---- settle -------+
 *                                +----> gone
 *
 * A block is free (no frame in use), open, owned, or gone: removed from memory, and
 * then all its rows read "in use". Only its owner takes frames of
 * a block, so a row can only lose bits under his hands: what he saw free stays
 * free. Everybody may free frames of an open or owned block at any time. Owner is
 * who changed the word from free or open to owned; he settles it in the end: open,
 * or free if no frame is in use.
 *
 * Whoever frees frames looks at the word after he has changed the row; whoever
 * settles looks at the rows after he has changed the word. So one of the two sees
 * that a block has become free, or has free frames, and shows it.
 */
#ifndef LOAM_INTERNAL_FRAME_REGION_H
#define LOAM_INTERNAL_FRAME_REGION_H

#include <loam/frame.h>

#include "frame_map.h"

#define FRAME_BLOCK_FRAMES 512u
#define FRAME_BLOCK_ROWS   8u
#define FRAME_ROW_FRAMES   64u
#define FRAME_ROW_ORDER    6u
#define FRAME_FULL         UINT64_MAX /* row: all in use */

/* Words of blocks. */
#define FRAME_FREE  0u
#define FRAME_OPEN  1u
#define FRAME_OWNED 2u /* and the lane's index times 4 */
#define FRAME_GONE  3u
#define FRAME_STATE 3u

#define FRAME_CLOSER (UINT32_MAX >> 2) /* instead of a lane: all frames are being freed at once */

struct loam_frame_region {
    uint64_t first, count;        /* frames: address / 4096 */
    uint64_t base;                /* frame that row 0 starts with: a multiple of 512 */
    uint64_t block_count;         /* blocks that have frames */
    unsigned lead;                /* blocks before base that the maps have, to a multiple of 64 */
    _Atomic uint64_t *row;        /* 8 per block */
    _Atomic uint32_t *word;       /* one per block */
    struct frame_map whole, part; /* blocks that are free; open ones with free frames */
};

/* ---- rows ---------------------------------------------------------------- */

static inline uint64_t frame_row(const struct loam_frame_region *region, uint64_t row)
{
    return atomic_load_explicit(&region->row[row], memory_order_relaxed);
}

/* First frame of a row. */
static inline uint64_t frame_of_row(const struct loam_frame_region *region, uint64_t row)
{
    return region->base + row * FRAME_ROW_FRAMES;
}

static inline uint64_t frame_rows_differ(const _Atomic uint64_t *rows, uint64_t value)
{
    return (atomic_load(&rows[0]) ^ value) | (atomic_load(&rows[1]) ^ value) |
           (atomic_load(&rows[2]) ^ value) | (atomic_load(&rows[3]) ^ value);
}

/* Do all rows of a block read so? */
static inline bool frame_rows_are(const struct loam_frame_region *region, uint64_t block,
                                  uint64_t value)
{
    const _Atomic uint64_t *const rows = &region->row[block * FRAME_BLOCK_ROWS];

    return (frame_rows_differ(rows, value) | frame_rows_differ(rows + 4, value)) == 0;
}

static inline void frame_rows_write(_Atomic uint64_t *rows, uint64_t value)
{
    atomic_store_explicit(&rows[0], value, memory_order_relaxed);
    atomic_store_explicit(&rows[1], value, memory_order_relaxed);
    atomic_store_explicit(&rows[2], value, memory_order_relaxed);
    atomic_store_explicit(&rows[3], value, memory_order_relaxed);
}

/* Write all rows of a block whose frames nobody else has anything to do with. */
static inline void frame_rows_set(const struct loam_frame_region *region, uint64_t block,
                                  uint64_t value)
{
    _Atomic uint64_t *const rows = &region->row[block * FRAME_BLOCK_ROWS];

    frame_rows_write(rows, value);
    frame_rows_write(rows + 4, value);
}

/* Bits [from, from + count) of a row. @param count 1..64 */
static inline uint64_t frame_bits(unsigned from, uint64_t count)
{
    return UINT64_MAX >> (FRAME_ROW_FRAMES - count) << from;
}

/* Frames [*at, end) of a region, row by row. @return false: there are no more */
static inline bool frame_next_row(uint64_t *at, uint64_t end, uint64_t *row, uint64_t *bits)
{
    const uint64_t bit = *at % FRAME_ROW_FRAMES;

    if (*at == end)
        return false;
    const uint64_t count = FRAME_ROW_FRAMES - bit < end - *at ? FRAME_ROW_FRAMES - bit : end - *at;
    *row = *at / FRAME_ROW_FRAMES;
    *bits = frame_bits((unsigned)bit, count);
    *at += count;
    return true;
}

/* Frames of a row, from @p frame on, that are in [from, end). */
static inline uint64_t frame_bits_between(uint64_t frame, uint64_t from, uint64_t end)
{
    const uint64_t low = frame > from ? frame : from;
    const uint64_t high = frame + FRAME_ROW_FRAMES < end ? frame + FRAME_ROW_FRAMES : end;

    return low < high ? frame_bits((unsigned)(low - frame), high - low) : 0;
}

/* Frames of a row, from @p frame on, that a region has. */
static inline uint64_t frame_bits_in(const struct loam_frame_region *region, uint64_t frame)
{
    return frame_bits_between(frame, region->first, region->first + region->count);
}

/*
 * Frames of [from, at) of a region, by index from its base, whose bits are the same as those
 * of @p value without a gap up to @p at: the first of them, or @p at. @param value 0: free, or
 * FRAME_FULL: in use
 */
static inline uint64_t frame_run_from(const struct loam_frame_region *region, uint64_t from,
                                      uint64_t at, uint64_t value)
{
    while (at > from) {
        const unsigned top = (unsigned)((at - 1) % FRAME_ROW_FRAMES);
        const uint64_t row = frame_row(region, (at - 1) / FRAME_ROW_FRAMES) ^ value;
        const uint64_t other = row & UINT64_MAX >> (FRAME_ROW_FRAMES - 1 - top);
        const uint64_t start = at - 1 - top;
        if (other != 0) {
            const uint64_t last = start + (63 ^ (unsigned)__builtin_clzll(other));
            return last + 1 > from ? last + 1 : from;
        }
        at = start;
    }
    return from;
}

static inline uint64_t frame_free_from(const struct loam_frame_region *region, uint64_t from,
                                       uint64_t at)
{
    return frame_run_from(region, from, at, 0);
}

static inline uint64_t frame_used_from(const struct loam_frame_region *region, uint64_t from,
                                       uint64_t at)
{
    return frame_run_from(region, from, at, FRAME_FULL);
}

/* Frames of a block that a region has. */
static inline uint64_t frame_count_in(const struct loam_frame_region *region, uint64_t block)
{
    const uint64_t number = region->base + block * FRAME_BLOCK_FRAMES;
    const uint64_t end = region->first + region->count;
    const uint64_t low = number > region->first ? number : region->first;
    const uint64_t high = number + FRAME_BLOCK_FRAMES < end ? number + FRAME_BLOCK_FRAMES : end;

    return high - low;
}

/* ---- words --------------------------------------------------------------- */

static inline uint32_t frame_word(const struct loam_frame_region *region, uint64_t block)
{
    return atomic_load(&region->word[block]);
}

static inline void frame_show_whole(const struct loam_frame_region *region, uint64_t block)
{
    frame_map_show(&region->whole, block + region->lead);
}

static inline void frame_show_part(const struct loam_frame_region *region, uint64_t block)
{
    frame_map_show(&region->part, block + region->lead);
}

/* A block was found in a map and is not what it shows. */
static inline void frame_hide_whole(const struct loam_frame_region *region, uint64_t block)
{
    frame_map_hide(&region->whole, block + region->lead);
    if (frame_word(region, block) == FRAME_FREE)
        frame_show_whole(region, block);
}

static inline void frame_hide_part(const struct loam_frame_region *region, uint64_t block)
{
    frame_map_hide(&region->part, block + region->lead);
    if (frame_word(region, block) == FRAME_OPEN && !frame_rows_are(region, block, FRAME_FULL))
        frame_show_part(region, block);
}

/* Become the owner of a block in a state. @return false: it is not in it */
static inline bool frame_claim(const struct loam_frame_region *region, uint64_t block,
                               uint32_t state, unsigned lane)
{
    uint32_t expected = state;

    return frame_word(region, block) == state &&
           atomic_compare_exchange_strong(&region->word[block], &expected, FRAME_OWNED | lane << 2);
}

/* Give up a block: open or free, as its rows say. */
static inline void frame_settle(const struct loam_frame_region *region, uint64_t block)
{
    uint32_t expected;

    do { /* ends: each round, frames were freed by others */
        if (frame_rows_are(region, block, 0)) {
            atomic_store(&region->word[block], FRAME_FREE);
            frame_show_whole(region, block);
            return;
        }
        atomic_store(&region->word[block], FRAME_OPEN);
        if (!frame_rows_are(region, block, FRAME_FULL))
            frame_show_part(region, block);
        expected = FRAME_OPEN;
    } while (frame_rows_are(region, block, 0) &&
             atomic_compare_exchange_strong(&region->word[block], &expected, FRAME_OWNED));
}

/* Frames of a block were freed: it was full, or has become free. */
__attribute__((noinline)) static void frame_freed(const struct loam_frame_region *region,
                                                  uint64_t block)
{
    if (frame_word(region, block) != FRAME_OPEN)
        return; /* its owner will see */
    if (!frame_rows_are(region, block, FRAME_FULL))
        frame_show_part(region, block);
    if (frame_rows_are(region, block, 0) && frame_claim(region, block, FRAME_OPEN, 0))
        frame_settle(region, block);
}

/* ---- taking, by the owner ------------------------------------------------ */

/* Frames of a row whose 2^order bits from there on, aligned, are free. @param order 0..5 */
static inline uint64_t frame_groups(uint64_t row, unsigned order)
{
    static const uint64_t aligned[] = {
        UINT64_MAX,
        UINT64_C(0x5555555555555555),
        UINT64_C(0x1111111111111111),
        UINT64_C(0x0101010101010101),
        UINT64_C(0x0001000100010001),
        UINT64_C(0x0000000100000001),
    };
    uint64_t found = ~row;

    for (unsigned i = 0; i < order; i++)
        found &= found >> (1u << i);
    return found & aligned[order];
}

/* Take 2^order frames of an owned block. @param order 0..8 @return index of the first in
 * the block, or FRAME_BLOCK_FRAMES: there are none */
static inline unsigned frame_take(const struct loam_frame_region *region, uint64_t block,
                                  unsigned order)
{
    _Atomic uint64_t *const rows = &region->row[block * FRAME_BLOCK_ROWS];
    const unsigned step = order <= FRAME_ROW_ORDER ? 1 : 1u << (order - FRAME_ROW_ORDER);

    for (unsigned row = 0; row < FRAME_BLOCK_ROWS; row += step) {
        if (order < FRAME_ROW_ORDER) {
            const uint64_t groups =
                frame_groups(atomic_load_explicit(&rows[row], memory_order_relaxed), order);
            if (groups == 0)
                continue;
            const unsigned bit = (unsigned)__builtin_ctzll(groups);
            atomic_fetch_or(&rows[row], frame_bits(bit, UINT64_C(1) << order));
            return row * FRAME_ROW_FRAMES + bit;
        }
        uint64_t used = 0;
        for (unsigned i = 0; i < step; i++)
            used |= atomic_load_explicit(&rows[row + i], memory_order_relaxed);
        if (used != 0)
            continue;
        for (unsigned i = 0; i < step; i++)
            atomic_store(&rows[row + i], FRAME_FULL);
        return row * FRAME_ROW_FRAMES;
    }
    return FRAME_BLOCK_FRAMES;
}

#endif
