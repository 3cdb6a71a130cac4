/*
 * usage_fuzz.c - any sequence of changes of the interval map, against an array
 * with one owner per cell. The cells tile the whole 64-bit space, so intervals
 * end at 2^64; a mark at a cell says that an interval begins there although its
 * neighbour has the same owner.
 *
 *     cell      0   1   2   3        511
 *     owner   [ A | A | A |   | ... | B )2^64
 *     begins            ^                      two intervals of A
 */
#include "fuzz.h"

#include <loam/boot/adapter.h>
#include <loam/usage.h>

#include "nodes.h"

#define CELLS      2048u /* a tree of three levels full of intervals */
#define CELL_SHIFT 53u
#define NOBODY     0xffu

struct world {
    struct nodes nodes;
    struct loam_usage usage;
    uint8_t owner[CELLS];
    bool begins[CELLS + 1];
};

static uint64_t cell_addr(unsigned cell)
{
    return (uint64_t)cell << CELL_SHIFT;
}

/* Does an interval begin at the cell? */
static bool begins_at(const struct world *world, unsigned cell)
{
    if (world->owner[cell] == NOBODY)
        return false;
    return cell == 0 || world->owner[cell - 1] != world->owner[cell] || world->begins[cell];
}

static unsigned end_of(const struct world *world, unsigned cell)
{
    unsigned end = cell + 1;
    while (end < CELLS && world->owner[end] == world->owner[cell] && !begins_at(world, end))
        end++;
    return end;
}

static void fill(struct world *world, unsigned start, unsigned end, uint8_t owner)
{
    for (unsigned cell = start; cell < end; cell++) {
        world->owner[cell] = owner;
        if (cell != start)
            world->begins[cell] = false;
    }
}

static bool is_empty(const struct world *world, unsigned start, unsigned end)
{
    for (unsigned cell = start; cell < end; cell++) {
        if (world->owner[cell] != NOBODY)
            return false;
    }
    return true;
}

/* ---- what is compared ---------------------------------------------------- */

static void compare_intervals(struct world *world)
{
    struct loam_interval interval;
    loam_phys at = loam_phys_at(0);
    bool more = true;
    uint64_t total[LOAM_OWNERS] = { 0 };
    for (unsigned cell = 0; cell < CELLS; cell = end_of(world, cell)) {
        if (world->owner[cell] == NOBODY)
            continue;
        const unsigned end = end_of(world, cell);
        FUZZ_CHECK(more && loam_usage_next(&world->usage, at, &interval));
        FUZZ_CHECK(interval.range.start.addr == cell_addr(cell));
        FUZZ_CHECK(interval.range.size == cell_addr(end) - cell_addr(cell)); /* modulo 2^64 */
        FUZZ_CHECK(interval.owner == (enum loam_owner)world->owner[cell]);
        total[interval.owner] += interval.range.size;
        more = loam_interval_end(&interval, &at);
    }
    FUZZ_CHECK(!more || !loam_usage_next(&world->usage, at, &interval));
    for (unsigned owner = 0; owner < LOAM_OWNERS; owner++)
        FUZZ_CHECK(loam_usage_total(&world->usage, (enum loam_owner)owner) == total[owner]);
}

static void compare_lookup(struct world *world, uint64_t addr)
{
    struct loam_interval interval;
    const unsigned cell = (unsigned)(addr >> CELL_SHIFT);
    const bool found = loam_usage_lookup(&world->usage, loam_phys_at(addr), &interval);
    FUZZ_CHECK(found == (world->owner[cell] != NOBODY));
    if (found)
        FUZZ_CHECK(interval.owner == (enum loam_owner)world->owner[cell]);
}

/* First place of that many cells within one interval of the owner, which ends at
 * or below a cell. */
static uint64_t find_by_rule(const struct world *world, uint8_t owner, unsigned cells,
                             unsigned align, unsigned limit)
{
    for (unsigned start = 0; start + cells <= limit; start += align) {
        unsigned first = start;
        while (first > 0 && !begins_at(world, first) && world->owner[first] == owner)
            first--;
        if (world->owner[start] == owner && end_of(world, first) >= start + cells)
            return cell_addr(start);
    }
    return UINT64_MAX;
}

static void compare_find(struct fuzz_input *input, struct world *world)
{
    const uint8_t owner = (uint8_t)(fuzz_take(input, 1) % LOAM_OWNERS);
    const unsigned cells = 1 + (unsigned)fuzz_take(input, 2) % (CELLS - 1);
    const unsigned align_shift = (unsigned)fuzz_take(input, 1) % 6;
    /* not 0, which is no limit */
    const unsigned limit = 1 + (unsigned)fuzz_take(input, 2) % (CELLS - 1);
    const struct loam_usage_request request = {
        .owner = (enum loam_owner)owner,
        .size = cell_addr(cells),
        .align_bytes = UINT64_C(1) << (CELL_SHIFT + align_shift),
        .limit = cell_addr(limit),
    };
    const loam_phys found = loam_usage_find(&world->usage, &request);
    FUZZ_CHECK(found.addr == find_by_rule(world, owner, cells, 1u << align_shift, limit));
}

/* First place of that many cells of nobody. */
static void compare_find_gap(struct fuzz_input *input, struct world *world)
{
    const unsigned cells = 1 + (unsigned)fuzz_take(input, 2) % (CELLS - 1);
    const unsigned align = 1u << fuzz_take(input, 1) % 6;
    const unsigned from = (unsigned)fuzz_take(input, 2) % CELLS;
    const unsigned limit = (unsigned)fuzz_take(input, 2) % CELLS; /* 0: none */
    const struct loam_usage_request request = {
        .size = cell_addr(cells),
        .align_bytes = cell_addr(align),
        .from = cell_addr(from),
        .limit = cell_addr(limit),
    };
    const unsigned end = limit != 0 ? limit : CELLS;
    unsigned start = (from + align - 1) / align * align;
    while (start + cells <= end) {
        unsigned cell = start;
        while (cell < start + cells && world->owner[cell] == NOBODY)
            cell++;
        if (cell == start + cells)
            break;
        start = (cell / align + 1) * align; /* above what is in the way */
    }
    const loam_phys found = loam_usage_find_gap(&world->usage, &request);
    FUZZ_CHECK(found.addr == (start + cells <= end ? cell_addr(start) : UINT64_MAX));
}

/* What overlaps a range: one by one, in total, and as a copy. */
static void compare_range(struct fuzz_input *input, struct world *world)
{
    static struct loam_interval copy[CELLS];
    const unsigned start = (unsigned)fuzz_take(input, 2) % CELLS;
    const unsigned end = start + 1 + (unsigned)fuzz_take(input, 2) % (CELLS - start);
    const struct loam_phys_range range =
        loam_phys_range_of(loam_phys_at(cell_addr(start)), cell_addr(end) - cell_addr(start));
    struct loam_usage_totals totals;
    struct loam_usage_totals want;
    struct loam_interval interval;
    loam_phys at = range.start;
    uint64_t existing;

    memset(&want, 0, sizeof want);
    for (unsigned cell = start; cell < end; cell++) {
        if (world->owner[cell] == NOBODY)
            continue;
        want.bytes[world->owner[cell]] += cell_addr(1);
        want.interval_count += cell == start || begins_at(world, cell);
    }
    const size_t copied = loam_usage_snapshot(&world->usage, range.start, copy, CELLS, &existing);
    FUZZ_CHECK(existing == world->usage.interval_count && copied <= existing);
    if (range.size == 0) /* all 2^64 bytes cannot be said */
        return;
    FUZZ_CHECK(loam_usage_totals_in(&world->usage, range, &totals) == LOAM_OK);
    FUZZ_CHECK(memcmp(&totals, &want, sizeof want) == 0);
    uint64_t count = 0;
    bool more = loam_usage_next_in(&world->usage, range, at, &interval);
    while (more) {
        FUZZ_CHECK(count < copied && copy[count].owner == interval.owner);
        FUZZ_CHECK(copy[count].range.start.addr == interval.range.start.addr);
        FUZZ_CHECK(copy[count].range.size == interval.range.size);
        count++;
        more = loam_interval_end(&interval, &at) &&
               loam_usage_next_in(&world->usage, range, at, &interval);
    }
    FUZZ_CHECK(count == want.interval_count);
}

/* ---- what is done -------------------------------------------------------- */

static void change(struct fuzz_input *input, struct world *world, unsigned what)
{
    const unsigned start = (unsigned)fuzz_take(input, 2) % CELLS;
    const unsigned cells = 1 + (unsigned)fuzz_take(input, 2) % (CELLS - start);
    const unsigned end = start + cells;
    const uint8_t owner = (uint8_t)(fuzz_take(input, 1) % 4);
    const struct loam_phys_range range =
        loam_phys_range_of(loam_phys_at(cell_addr(start)), cell_addr(end) - cell_addr(start));
    const uint64_t before = loam_usage_digest(&world->usage);
    enum loam_status st;
    enum loam_status expected = LOAM_OK;
    bool begins = false;
    uint8_t becomes = owner;

    if (what == 0) {
        st = loam_usage_insert(&world->usage, range, (enum loam_owner)owner);
        expected = is_empty(world, start, end) ? LOAM_OK : LOAM_OVERLAP;
        begins = true;
    } else if (what == 1) {
        st = loam_usage_insert_merge(&world->usage, range, (enum loam_owner)owner);
        expected = is_empty(world, start, end) ? LOAM_OK : LOAM_OVERLAP;
    } else if (what == 2) {
        st = loam_usage_overwrite(&world->usage, range, (enum loam_owner)owner);
    } else {
        st = loam_usage_cut(&world->usage, range);
        expected = is_empty(world, start, end) ? LOAM_NOT_FOUND : LOAM_OK;
        becomes = NOBODY;
    }
    if (range.size == 0) /* all 2^64 bytes cannot be said */
        expected = LOAM_INVALID;
    FUZZ_CHECK(st == expected || (world->nodes.hidden_count > 0 && st == LOAM_NO_MEMORY));
    if (st != LOAM_OK) {
        FUZZ_CHECK(loam_usage_digest(&world->usage) == before);
        return;
    }
    fill(world, start, end, becomes);
    world->begins[start] = world->begins[end] = begins;
}

/* Every other cell of a stretch, where it is free: many intervals at once. */
static void comb(struct fuzz_input *input, struct world *world)
{
    const unsigned start = (unsigned)fuzz_take(input, 2) % CELLS;
    const unsigned count = (unsigned)fuzz_take(input, 1);
    for (unsigned cell = start; cell < CELLS && cell < start + 2 * count; cell += 2) {
        if (world->owner[cell] != NOBODY)
            continue;
        const struct loam_phys_range range =
            loam_phys_range_of(loam_phys_at(cell_addr(cell)), cell_addr(1));
        const enum loam_status st = loam_usage_insert(&world->usage, range, LOAM_OWNER_KERNEL);
        FUZZ_CHECK(st == LOAM_OK || (world->nodes.hidden_count > 0 && st == LOAM_NO_MEMORY));
        if (st != LOAM_OK)
            return;
        world->owner[cell] = LOAM_OWNER_KERNEL;
        world->begins[cell] = world->begins[cell + 1] = true;
    }
}

/* A range and owner of any kind: only refused or done, whatever they are. */
static void change_wildly(struct fuzz_input *input, struct world *world)
{
    const struct loam_phys_range range =
        loam_phys_range_of(loam_phys_at(fuzz_take(input, 8)), fuzz_take(input, 8));
    const enum loam_owner owner = (enum loam_owner)(fuzz_take(input, 1) + LOAM_OWNERS);
    const uint64_t before = loam_usage_digest(&world->usage);
    FUZZ_CHECK(loam_usage_overwrite(&world->usage, range, owner) == LOAM_INVALID);
    FUZZ_CHECK(loam_usage_digest(&world->usage) == before);
}

/* Leave the stock so many frames at most, or give it all back. */
static void hide_frames(struct world *world, unsigned rest)
{
    nodes_hide(&world->nodes, rest > 3 ? NODES_MAX : rest);
}

static void start(struct world *world)
{
    memset(world, 0, sizeof *world);
    memset(world->owner, NOBODY, sizeof world->owner);
    nodes_start(&world->nodes, 200u);
    loam_usage_init(&world->usage, &world->nodes.stock);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world world;
    struct fuzz_input input = { data, size };
    start(&world);
    while (input.left > 0) {
        const unsigned what = (unsigned)fuzz_take(&input, 1);
        if (what < 220)
            change(&input, &world, what % 4);
        else if (what < 240)
            comb(&input, &world);
        else if (what < 244)
            change_wildly(&input, &world);
        else if (what < 247)
            compare_find(&input, &world);
        else if (what < 250)
            compare_find_gap(&input, &world);
        else if (what < 252)
            compare_range(&input, &world);
        else if (what < 254)
            hide_frames(&world, (unsigned)fuzz_take(&input, 1) % 8);
        else
            compare_lookup(&world, fuzz_take(&input, 8));
        fuzz_check_sound(loam_usage_audit(&world.usage));
        FUZZ_CHECK(world.nodes.stock.out_count == world.usage.node_frame_count);
        compare_intervals(&world);
    }
    return 0;
}
