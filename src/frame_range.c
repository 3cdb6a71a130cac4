/*
 * frame_range.c - frames that must lie together or in a certain place. See frame.h.
 */
#include <loam/frame.h>

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

static bool frame_are_free(const struct loam_frame_region *region, uint64_t at, uint64_t count)
{
    return frame_free_from(region, at, at + count) == at;
}

/*
 * Take frames [at, at + count) of a region, all free and in blocks that nobody owns, or none.
 *
 * @param refused set if a block is owned, or gone: below its first frame there may be a place
 */
static bool frame_take_exactly(const struct loam_frame_region *region, uint64_t at, uint64_t count,
                               uint64_t *refused)
{
    const uint64_t first = at / FRAME_BLOCK_FRAMES;
    const uint64_t end = (at + count - 1) / FRAME_BLOCK_FRAMES + 1;
    uint64_t block = first;

    while (block < end &&
           (frame_claim(region, block, FRAME_FREE, 0) || frame_claim(region, block, FRAME_OPEN, 0)))
        block++;
    if (block != end)
        *refused = block * FRAME_BLOCK_FRAMES;
    const bool is_taken = block == end && frame_are_free(region, at, count);
    if (is_taken)
        frame_mark(region, at, count);
    while (block-- > first)
        frame_settle(region, block);
    return is_taken;
}

/* ---- exact ranges -------------------------------------------------------- */

/* Was a frame of [at, at + count) of a region removed? */
static bool frame_any_gone(const struct loam_frame *frame, const struct loam_frame_region *region,
                           uint64_t at, uint64_t count)
{
    if (atomic_load(&frame->gone_count) == 0)
        return false;
    for (uint64_t block = at / FRAME_BLOCK_FRAMES; block * FRAME_BLOCK_FRAMES < at + count; block++)
        if (frame_word(region, block) == FRAME_GONE)
            return true;
    return false;
}

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

bool loam_frame_has(const struct loam_frame *frame, struct loam_phys_range range)
{
    const uint64_t first = range.start.addr / LOAM_PAGE_SIZE;
    const uint64_t end = first + range.size / LOAM_PAGE_SIZE;
    const struct loam_frame_region *region;
    uint64_t count;

    for (uint64_t number = first; number < end; number += count)
        if (!frame_part_in(frame, number, end, &region, &count) ||
            frame_any_gone(frame, region, number - region->base, count))
            return false;
    return true;
}

enum loam_status loam_frame_reserve(struct loam_frame *frame, struct loam_phys_range range)
{
    const uint64_t first = range.start.addr / LOAM_PAGE_SIZE;
    const uint64_t end = first + range.size / LOAM_PAGE_SIZE;
    const struct loam_frame_region *region;
    uint64_t refused;
    uint64_t count;

    if (range.size == 0 || (range.start.addr | range.size) % LOAM_PAGE_SIZE != 0 ||
        !loam_range_fits(range.start.addr, range.size))
        return LOAM_INVALID;
    if (!loam_frame_has(frame, range))
        return LOAM_NOT_FOUND;
    loam_frame_drain(frame);
    for (uint64_t number = first; number < end; number += count) {
        if (frame_part_in(frame, number, end, &region, &count) &&
            frame_take_exactly(region, number - region->base, count, &refused))
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
        uint64_t refused = at + wish->count - 1; /* if a frame of it has just been taken */
        if (free_from == at && frame_take_exactly(region, at, wish->count, &refused))
            return start;
        end = region->base +
              (free_from == at ? refused : frame_used_from(region, from - region->base, free_from));
    }
}

/* Frames free between two addresses. */
static uint64_t frame_free_between(const struct loam_frame *frame, const struct frame_wish *wish)
{
    const struct loam_frame_table *const table = frame_table(frame);
    uint64_t count = 0;

    for (unsigned i = 0; i < table->region_count; i++) {
        const struct loam_frame_region *const region = table->region[i];
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
        const struct loam_frame_table *const table = frame_table(frame);
        loam_frame_drain(frame);
        for (unsigned i = table->region_count; i-- > 0;) {
            const uint64_t start = frame_take_wish_in(table->region[i], &wish);
            if (start != FRAME_NONE) {
                *out = loam_phys_at(start * LOAM_PAGE_SIZE);
                return LOAM_OK;
            }
        }
    }
    return frame_free_between(frame, &wish) >= wish.count ? LOAM_NO_SPACE : LOAM_NO_MEMORY;
}
