/*
 * vrange_fuzz.c - any sequence of allocations, reservations, frees and purges of
 * virtual ranges, against an array with one element per page. The window is the
 * last pages of the address space, so ranges end at 2^64; frames for records are
 * few now and then.
 *
 *     page      0   1   2   3        255
 *     owner   [ - | 7 | 7 | 7 | ... | - )2^64       range 7, guards and all
 */
#include "fuzz.h"

#include <loam/boot/adapter.h>
#include <loam/vrange.h>

#include "nodes.h"

#define CELLS  256u
#define BASE   (UINT64_MAX - CELLS * LOAM_PAGE_SIZE + 1)
#define NOBODY 0xffffu

enum cell_state { USED, QUEUED, IN_BATCH };

struct cell_range {
    unsigned first, before, count, after;
    enum cell_state state;
};

struct world {
    struct nodes nodes;
    struct loam_vrange vrange;
    uint16_t owner[CELLS]; /* index of the range's first page */
    struct cell_range range[CELLS];
    struct loam_vrange_batch batch;
    bool under_way;
};

static uint64_t page_addr(unsigned page)
{
    return BASE + page * LOAM_PAGE_SIZE;
}

static unsigned whole(const struct cell_range *range)
{
    return range->before + range->count + range->after;
}

static void fill(struct world *world, const struct cell_range *range, uint16_t owner)
{
    for (unsigned page = range->first; page < range->first + whole(range); page++)
        world->owner[page] = owner;
}

static bool anything_waits(const struct world *world)
{
    for (unsigned page = 0; page < CELLS; page++) {
        if (world->owner[page] != NOBODY && world->range[world->owner[page]].state != USED)
            return true;
    }
    return false;
}

/* Pages [first, first + pages): free, in use, or waiting. */
static enum loam_status probe(const struct world *world, unsigned first, unsigned pages)
{
    enum loam_status status = LOAM_OK;

    if (first + pages > CELLS)
        return LOAM_NOT_FOUND;
    for (unsigned page = first; page < first + pages; page++) {
        if (world->owner[page] == NOBODY)
            continue;
        if (world->range[world->owner[page]].state == USED)
            return LOAM_OVERLAP;
        status = LOAM_STATE;
    }
    return status;
}

static struct cell_range range_of(struct fuzz_input *input)
{
    const uint64_t shape = fuzz_take(input, 2);
    const struct cell_range range = {
        .count = 1 + (unsigned)(shape & 0xff) % (shape & 0x1000 ? CELLS : 8),
        .before = (unsigned)(shape >> 8) & 3,
        .after = (unsigned)(shape >> 10) & 3,
        .state = USED,
    };
    return range;
}

static struct loam_vrange_request request_of(const struct cell_range *range)
{
    const struct loam_vrange_request request = { .page_count = range->count,
                                                 .guard_before = range->before,
                                                 .guard_after = range->after };
    return request;
}

static void take(struct world *world, const struct cell_range *range)
{
    world->range[range->first] = *range;
    fill(world, range, (uint16_t)range->first);
}

static void alloc(struct fuzz_input *input, struct world *world)
{
    struct cell_range range = range_of(input);
    struct loam_vrange_request request = request_of(&range);
    const unsigned align = 1u << fuzz_take(input, 1) % 10;
    const unsigned from = (unsigned)fuzz_take(input, 1);
    const unsigned limit = (unsigned)fuzz_take(input, 1); /* 0: none */
    const uint64_t dice = fuzz_take(input, 1) % 4;        /* 0: none */
    const unsigned end = limit != 0 ? limit : CELLS;
    const uint64_t before = loam_vrange_digest(&world->vrange);
    enum loam_status expected = LOAM_NO_SPACE;
    loam_virt at = loam_virt_at(42);

    request.dice = dice * UINT64_C(0x9e3779b97f4a7c15);
    request.align_bytes = align * LOAM_PAGE_SIZE;
    request.from = page_addr(from);
    request.limit = limit != 0 ? page_addr(limit) : 0;
    for (unsigned first = from; first + whole(&range) <= end && expected != LOAM_OK; first++) {
        if (anything_waits(world))
            expected = LOAM_STATE;
        if (page_addr(first + range.before) % request.align_bytes != 0 ||
            probe(world, first, whole(&range)) != LOAM_OK)
            continue;
        expected = LOAM_OK;
        range.first = first;
    }
    const enum loam_status st = loam_vrange_alloc(&world->vrange, &request, &at);
    FUZZ_CHECK(st == expected || (world->nodes.hidden_count > 0 && st == LOAM_NO_MEMORY));
    if (st == LOAM_OK) {
        if (dice != 0) /* any place will do */
            range.first = (unsigned)((at.addr - BASE) / LOAM_PAGE_SIZE) - range.before;
        FUZZ_CHECK(at.addr == page_addr(range.first + range.before));
        FUZZ_CHECK(at.addr % request.align_bytes == 0);
        FUZZ_CHECK(range.first >= from && range.first + whole(&range) <= end);
        FUZZ_CHECK(probe(world, range.first, whole(&range)) == LOAM_OK);
        take(world, &range);
        return;
    }
    FUZZ_CHECK(at.addr == 42);
    FUZZ_CHECK(loam_vrange_digest(&world->vrange) == before);
}

static void reserve(struct fuzz_input *input, struct world *world)
{
    struct cell_range range = range_of(input);
    const struct loam_vrange_request request = request_of(&range);
    const uint64_t before = loam_vrange_digest(&world->vrange);

    range.first = (unsigned)fuzz_take(input, 1);
    if (range.first + range.before >= CELLS) /* would begin at 0 */
        return;
    const enum loam_status st = loam_vrange_reserve(
        &world->vrange, &request, loam_virt_at(page_addr(range.first + range.before)));
    FUZZ_CHECK(st == probe(world, range.first, whole(&range)) ||
               (world->nodes.hidden_count > 0 && st == LOAM_NO_MEMORY));
    if (st == LOAM_OK)
        take(world, &range);
    else
        FUZZ_CHECK(loam_vrange_digest(&world->vrange) == before);
}

/* Wild requests are only refused or done. */
static void alloc_wildly(struct fuzz_input *input, struct world *world)
{
    const struct loam_vrange_request request = {
        .page_count = CELLS + 1 + fuzz_take(input, 8) / 2,
        .guard_before = fuzz_take(input, 8),
        .guard_after = fuzz_take(input, 8),
        .align_bytes = fuzz_take(input, 8),
        .from = fuzz_take(input, 8),
        .limit = fuzz_take(input, 8),
    };
    const uint64_t before = loam_vrange_digest(&world->vrange);
    loam_virt at;
    const enum loam_status st = loam_vrange_alloc(&world->vrange, &request, &at);
    FUZZ_CHECK(st == LOAM_INVALID || st == LOAM_NO_SPACE);
    FUZZ_CHECK(loam_vrange_reserve(&world->vrange, &request, loam_virt_at(request.from)) !=
               LOAM_OK);
    FUZZ_CHECK(loam_vrange_digest(&world->vrange) == before);
}

static void give(struct fuzz_input *input, struct world *world)
{
    const uint16_t owner = world->owner[fuzz_take(input, 1)];

    if (owner == NOBODY || world->range[owner].state != USED)
        return;
    struct cell_range *range = &world->range[owner];
    loam_vrange_free(&world->vrange,
                     loam_virt_range_of(loam_virt_at(page_addr(range->first + range->before)),
                                        range->count * LOAM_PAGE_SIZE));
    range->state = QUEUED;
}

static void purge(struct world *world)
{
    const enum cell_state from = world->under_way ? IN_BATCH : QUEUED;
    bool any = false;

    if (world->under_way)
        loam_vrange_purge_end(&world->batch);
    for (unsigned page = 0; page < CELLS; page++) {
        if (world->owner[page] != page || world->range[page].state != from)
            continue;
        any = true;
        if (world->under_way)
            fill(world, &world->range[page], NOBODY);
        else
            world->range[page].state = IN_BATCH;
    }
    if (world->under_way)
        world->under_way = false;
    else
        world->under_way = loam_vrange_purge_begin(&world->vrange, &world->batch);
    FUZZ_CHECK(any || !world->under_way);
}

/* Leave the stock so many frames at most, or give it all back. */
static void hide_frames(struct world *world, unsigned rest)
{
    nodes_hide(&world->nodes, rest > 2 ? NODES_MAX : rest);
}

/* What lies at every page. */
static void compare(struct world *world)
{
    struct loam_vrange_info info;
    struct loam_vrange_info peeked;

    for (unsigned page = 0; page < CELLS; page++) {
        const enum loam_vrange_place place =
            loam_vrange_lookup(&world->vrange, loam_virt_at(page_addr(page) + 7), &info);
        FUZZ_CHECK(loam_vrange_peek(&world->vrange, loam_virt_at(page_addr(page) + 7), &peeked) ==
                   place);
        FUZZ_CHECK(peeked.range.start.addr == info.range.start.addr &&
                   peeked.range.size == info.range.size && peeked.state == info.state);
        if (world->owner[page] == NOBODY) {
            FUZZ_CHECK(place == LOAM_VRANGE_IN_GAP);
            continue;
        }
        const struct cell_range *range = &world->range[world->owner[page]];
        const unsigned inside = page - range->first;
        FUZZ_CHECK((place == LOAM_VRANGE_IN_GUARD_BEFORE) == (inside < range->before));
        FUZZ_CHECK((place == LOAM_VRANGE_IN_GUARD_AFTER) ==
                   (inside >= range->before + range->count));
        FUZZ_CHECK(info.range.start.addr == page_addr(range->first + range->before));
        FUZZ_CHECK(info.range.size == range->count * LOAM_PAGE_SIZE);
        FUZZ_CHECK((info.state == LOAM_VRANGE_USED) == (range->state == USED));
    }
}

static void start(struct world *world)
{
    memset(world, 0, sizeof *world);
    for (unsigned page = 0; page < CELLS; page++)
        world->owner[page] = NOBODY;
    nodes_start(&world->nodes, 16u);
    loam_vrange_init(&world->vrange, &world->nodes.stock, 4, 0);
    FUZZ_CHECK(loam_vrange_add_window(&world->vrange, loam_virt_range_of(loam_virt_at(BASE),
                                                                         CELLS * LOAM_PAGE_SIZE)) ==
               LOAM_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world world;
    struct fuzz_input input = { data, size };
    start(&world);
    while (input.left > 0) {
        const unsigned what = (unsigned)fuzz_take(&input, 1);
        if (what < 100)
            alloc(&input, &world);
        else if (what < 140)
            reserve(&input, &world);
        else if (what < 220)
            give(&input, &world);
        else if (what < 244)
            purge(&world);
        else if (what < 248)
            alloc_wildly(&input, &world);
        else
            hide_frames(&world, what % 8);
        fuzz_check_sound(loam_vrange_audit(&world.vrange));
        FUZZ_CHECK(world.nodes.stock.out_count == world.vrange.node_frame_count);
        compare(&world);
    }
    return 0;
}
