/*
 * frame_lane.h - what a CPU takes frames from: a row that it has emptied for itself,
 * and a block for orders 1 to 8. Shared by the sources of frame.
 *
 * A lane is entered by whoever exchanges busy for 1. Its mask holds frames that are
 * in use as far as their row says, and free as far as the allocator's user knows.
 */
#ifndef LOAM_INTERNAL_FRAME_LANE_H
#define LOAM_INTERNAL_FRAME_LANE_H

#include <loam/port.h>

#include "check.h"
#include "frame_table.h"

#define FRAME_RULE_FOREIGN "frame: not a frame of this memory"
#define FRAME_RULE_TWICE   "frame: already free"
#define FRAME_RULE_ORDER   "frame: order is too large"

#define FRAME_NONE  UINT64_MAX /* no frame */
#define FRAME_LOOKS 64u        /* at a lane that is being filled */

/* A block that a lane owns. */
struct frame_owned {
    const struct loam_frame_region *region; /* NULL: none */
    uint64_t block;
};

/* What others read while the lane is taken is atomic. */
struct loam_frame_lane {
    _Atomic uint32_t busy;
    _Atomic uint32_t version;         /* odd while frame and mask do not belong together */
    _Atomic uint64_t mask;            /* frames of a row that may be given out */
    _Atomic uint64_t frame;           /* first of that row */
    struct frame_owned single, group; /* blocks for single frames, for orders 1 to 8 */
    _Atomic uint32_t holds;           /* 0: mask and blocks are none */
    _Atomic uint32_t node;            /* of the lane's CPU */
} __attribute__((aligned(64)));

static inline bool frame_lane_enter(struct loam_frame_lane *lane)
{
    return atomic_exchange_explicit(&lane->busy, 1, memory_order_acquire) == 0;
}

static inline void frame_lane_leave(struct loam_frame_lane *lane)
{
    atomic_store_explicit(&lane->busy, 0, memory_order_release);
}

/* Frames wait in a lane, but their row says they are free: they were freed once more. Let them
 * wait; whoever sets the bits is the one to panic. */
__attribute__((noinline)) static void frame_was_freed_twice(_Atomic uint64_t *row,
                                                            uint64_t row_frame, uint64_t bits)
{
    bits &= ~atomic_fetch_or(row, bits);
    LOAM_REQUIRE(bits == 0, FRAME_RULE_TWICE,
                 (row_frame + (unsigned)__builtin_ctzll(bits)) * LOAM_PAGE_SIZE, 0);
}

/*
 * Let a lane have the free frames of a row that it owns; NULL: none. Whoever reads
 * something of this half-way reads a version that is odd, or not the one before.
 *
 * Who frees one of them meanwhile, once more, cannot know: he is found out here.
 */
static inline void frame_lane_fill(struct loam_frame_lane *lane, uint64_t frame,
                                   _Atomic uint64_t *row)
{
    const uint32_t version = atomic_load_explicit(&lane->version, memory_order_relaxed);

    atomic_store_explicit(&lane->version, version + 1, memory_order_relaxed);
    atomic_store_explicit(&lane->frame, frame, memory_order_release);
    const uint64_t mask = row == NULL ? 0 : ~atomic_exchange(row, FRAME_FULL);
    atomic_store(&lane->mask, mask);
    atomic_store_explicit(&lane->version, version + 2, memory_order_release);
    const uint64_t lost = row == NULL ? 0 : mask & ~atomic_load(row);
    if (__builtin_expect(lost != 0, 0))
        frame_was_freed_twice(row, frame, lost);
}

/* Which frames of a row wait in a lane. @param frame first of the row @return false: the
 * lane was being filled meanwhile */
static inline bool frame_lane_read(const struct loam_frame_lane *lane, uint64_t frame,
                                   uint64_t *waiting)
{
    const uint32_t version = atomic_load_explicit(&lane->version, memory_order_acquire);
    const uint64_t mask = atomic_load_explicit(&lane->mask, memory_order_acquire);

    *waiting = atomic_load_explicit(&lane->frame, memory_order_acquire) == frame ? mask : 0;
    return version % 2 == 0 &&
           atomic_load_explicit(&lane->version, memory_order_relaxed) == version;
}

/* The same of a lane that was being filled; whoever does so may be stopped. */
__attribute__((noinline)) static uint64_t frame_lane_reread(const struct loam_frame_lane *lane,
                                                            uint64_t frame)
{
    uint64_t waiting = 0;

    for (unsigned look = 0; look < FRAME_LOOKS; look++)
        if (frame_lane_read(lane, frame, &waiting))
            return waiting;
    return 0;
}

static inline uint64_t frame_lane_waiting(const struct loam_frame_lane *lane, uint64_t frame)
{
    uint64_t waiting;

    return __builtin_expect(frame_lane_read(lane, frame, &waiting), 1)
               ? waiting
               : frame_lane_reread(lane, frame);
}

static inline void frame_give_up(struct frame_owned *owned)
{
    if (owned->region != NULL)
        frame_settle(owned->region, owned->block);
    owned->region = NULL;
}

/* Put back what waits in a lane that was entered. */
static inline void frame_lane_empty(struct loam_frame_lane *lane)
{
    const uint64_t mask = atomic_load_explicit(&lane->mask, memory_order_relaxed);

    if (mask != 0) {
        const struct loam_frame_region *const region = lane->single.region;
        const uint64_t at = atomic_load_explicit(&lane->frame, memory_order_relaxed) - region->base;
        frame_lane_fill(lane, 0, NULL);
        atomic_fetch_and(&region->row[at / FRAME_ROW_FRAMES], ~mask);
    }
    frame_give_up(&lane->single);
    frame_give_up(&lane->group);
    atomic_store_explicit(&lane->holds, 0, memory_order_relaxed);
}

/* ---- regions ------------------------------------------------------------- */

__attribute__((noinline)) static const struct loam_frame_region *frame_region_found(
    const struct loam_frame *frame, uint64_t number)
{
    return frame_table_region(frame_table(frame), number);
}

/* The region that has a frame, or NULL. */
static inline const struct loam_frame_region *frame_region_of(const struct loam_frame *frame,
                                                              uint64_t number)
{
    return __builtin_expect(number - frame->main->first < frame->main->count, 1)
               ? frame->main
               : frame_region_found(frame, number);
}

/* ---- freeing ------------------------------------------------------------- */

/* Are frames of a row in use, and not waiting in a lane? */
static inline bool frame_are_used(const struct loam_frame *frame,
                                  const struct loam_frame_region *region, uint64_t row,
                                  uint64_t bits)
{
    if ((frame_row(region, row) & bits) != bits)
        return false;
    if (LOAM_CHECK == 0)
        return true;
    const uint32_t word =
        atomic_load_explicit(&region->word[row / FRAME_BLOCK_ROWS], memory_order_relaxed);
    if ((word & FRAME_STATE) != FRAME_OWNED)
        return (word & FRAME_STATE) != FRAME_GONE;
    return word != (FRAME_OWNED | FRAME_CLOSER << 2) &&
           (frame_lane_waiting(&frame->lane[word >> 2], frame_of_row(region, row)) & bits) == 0;
}

/*
 * Frames of a row were freed. If one waits in a lane all the while that its row says it is
 * free, then others freed it, and a lane took its row, between the look at it and the change:
 * panic. (Who takes the row after the change sets the bits.)
 */
static inline void frame_require_alone(const struct loam_frame *frame,
                                       const struct loam_frame_region *region, uint64_t row,
                                       uint64_t bits)
{
    const uint32_t word = frame_word(region, row / FRAME_BLOCK_ROWS);
    uint64_t waiting;

    if ((word & FRAME_STATE) != FRAME_OWNED || word >> 2 == FRAME_CLOSER)
        return;
    const struct loam_frame_lane *const lane = &frame->lane[word >> 2];
    const uint32_t version = atomic_load(&lane->version);
    if (!frame_lane_read(lane, frame_of_row(region, row), &waiting))
        return;
    waiting &= bits & ~atomic_load(&region->row[row]) & atomic_load(&lane->mask);
    if (waiting != 0 && atomic_load(&lane->version) == version)
        frame_was_freed_twice(&region->row[row], frame_of_row(region, row), waiting);
}

/* Free frames of one row that are in use. */
__attribute__((always_inline)) static inline void frame_clear(
    const struct loam_frame *frame, const struct loam_frame_region *region, uint64_t row,
    uint64_t bits)
{
    const uint64_t old = atomic_fetch_and(&region->row[row], ~bits);

    if (__builtin_expect((old & bits) != bits, 0)) { /* somebody else did so just now */
        atomic_fetch_or(&region->row[row], old & bits);
        LOAM_REQUIRE(false, FRAME_RULE_TWICE, frame_of_row(region, row) * LOAM_PAGE_SIZE, 0);
    }
    if (LOAM_CHECK >= 2)
        frame_require_alone(frame, region, row, bits);
    if (__builtin_expect(old == FRAME_FULL || old == bits, 0))
        frame_freed(region, row / FRAME_BLOCK_ROWS);
}

/* The rows of a block that was all in use a moment ago are free from now on. If they say
 * that a part of it was freed by somebody else in this moment, panic. */
static inline void frame_rows_exchange(const struct loam_frame_region *region, uint64_t block)
{
    _Atomic uint64_t *const rows = &region->row[block * FRAME_BLOCK_ROWS];

    for (unsigned i = 0; i < FRAME_BLOCK_ROWS; i++) {
        const uint64_t old = atomic_exchange(&rows[i], 0);
        if (old == FRAME_FULL)
            continue;
        atomic_fetch_or(&rows[i], old);
        for (unsigned k = 0; k < i; k++)
            atomic_store(&rows[k], FRAME_FULL);
        frame_settle(region, block);
        LOAM_REQUIRE(
            false, FRAME_RULE_TWICE,
            (frame_of_row(region, block * FRAME_BLOCK_ROWS + i) + (unsigned)__builtin_ctzll(~old)) *
                LOAM_PAGE_SIZE,
            FRAME_BLOCK_FRAMES);
    }
}

/* Free a whole block, all in use. @return false: it is not */
static inline bool frame_free_block(const struct loam_frame_region *region, uint64_t block)
{
    if (!frame_claim(region, block, FRAME_OPEN, FRAME_CLOSER))
        return false;
    if (!frame_rows_are(region, block, FRAME_FULL)) {
        frame_settle(region, block);
        return false;
    }
    if (LOAM_CHECK >= 2)
        frame_rows_exchange(region, block);
    else
        frame_rows_set(region, block, 0);
    atomic_store(&region->word[block], FRAME_FREE);
    frame_show_whole(region, block);
    return true;
}

#endif
