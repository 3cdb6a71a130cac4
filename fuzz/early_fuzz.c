/*
 * early_fuzz.c - any sequence of requests to the early allocator, against an array
 * with one state per page. A block comes from the highest place that is free,
 * aligned and below the limit; what was taken is walked exactly.
 *
 *     page   0   1   2   3   4          255
 *          [ A | F | F | T | R | ... | F ]    absent, free, taken, reserved
 */
#include "fuzz.h"

#include <loam/early.h>

#define PAGES       256u
#define ENTRIES_MAX 8u
#define RECORDS_MAX 24u

enum state { ABSENT, FREE, TAKEN, RESERVED };

struct world {
    struct loam_early early;
    struct loam_early_record records[RECORDS_MAX];
    enum state page[PAGES];
};

static bool all_are(const struct world *world, uint64_t first, uint64_t count, enum state state)
{
    for (uint64_t i = first; i < first + count; i++) {
        if (world->page[i] != state)
            return false;
    }
    return true;
}

static void set_all(struct world *world, uint64_t first, uint64_t count, enum state from,
                    enum state to)
{
    for (uint64_t i = first; i < first + count; i++) {
        if (world->page[i] == from)
            world->page[i] = to;
    }
}

static uint64_t count_of(const struct world *world, enum state state)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < PAGES; i++)
        count += world->page[i] == state;
    return count;
}

static uint64_t longest_free_run(const struct world *world)
{
    uint64_t longest = 0;
    uint64_t run = 0;
    for (unsigned i = 0; i < PAGES; i++) {
        run = world->page[i] == FREE ? run + 1 : 0;
        longest = run > longest ? run : longest;
    }
    return longest;
}

/* Where the contract wants the block, in bytes; UINT64_MAX: nowhere. */
static uint64_t place_by_rule(const struct world *world, uint64_t count, uint64_t align,
                              uint64_t limit)
{
    if (count == 0 || count > PAGES)
        return UINT64_MAX;
    for (uint64_t first = PAGES - count + 1; first > 0; first--) {
        const uint64_t start = (first - 1) * LOAM_PAGE_SIZE;
        if (start % align == 0 && start + count * LOAM_PAGE_SIZE <= limit &&
            all_are(world, first - 1, count, FREE))
            return start;
    }
    return UINT64_MAX;
}

static void begin(struct fuzz_input *input, struct world *world)
{
    struct loam_memmap_entry entry[ENTRIES_MAX];
    struct loam_memmap map = { .entry = entry };
    const size_t record_max = 1 + fuzz_take(input, 1) % RECORDS_MAX;
    uint64_t page = 1;
    memset(world, 0, sizeof *world);
    for (unsigned i = 0; i < ENTRIES_MAX; i++) {
        const uint64_t gap = 1 + fuzz_take(input, 1) % 16;
        const uint64_t count = fuzz_take(input, 1) % 64;
        if (count == 0 || page + gap + count > PAGES)
            break;
        entry[i].range =
            loam_phys_range_of(loam_phys_at((page + gap) * LOAM_PAGE_SIZE), count * LOAM_PAGE_SIZE);
        entry[i].type = gap % 4 == 0 ? LOAM_MEM_RESERVED : LOAM_MEM_USABLE;
        if (entry[i].type == LOAM_MEM_USABLE)
            set_all(world, page + gap, count, ABSENT, FREE);
        page += gap + count;
        map.entry_count++;
    }
    size_t usable = 0;
    for (size_t i = 0; i < map.entry_count; i++)
        usable += entry[i].type == LOAM_MEM_USABLE;
    const enum loam_status st = loam_early_init(&world->early, &map, world->records, record_max);
    FUZZ_CHECK(st == (usable <= record_max ? LOAM_OK : LOAM_NO_SPACE));
    if (st != LOAM_OK) {
        FUZZ_CHECK(loam_early_init(&world->early, &map, world->records, RECORDS_MAX) == LOAM_OK);
    }
}

static void allocate(struct fuzz_input *input, struct world *world)
{
    const uint64_t kind = fuzz_take(input, 1);
    const struct loam_early_request request = {
        .page_count = kind < 250 ? fuzz_take(input, 1) % 32 : fuzz_take(input, 8),
        .align_bytes = kind % 4 == 0    ? UINT64_C(1) << fuzz_take(input, 1) % 64
                       : kind % 16 == 1 ? fuzz_take(input, 2)
                                        : 0,
        .limit = kind % 8 == 1 ? fuzz_take(input, 3) % (PAGES * LOAM_PAGE_SIZE + 1) : 0,
    };
    const uint64_t align =
        request.align_bytes > LOAM_PAGE_SIZE ? request.align_bytes : LOAM_PAGE_SIZE;
    const bool is_valid = request.align_bytes == 0 || loam_is_power_of_two(request.align_bytes);
    const uint64_t limit = request.limit != 0 ? request.limit : UINT64_MAX;
    const uint64_t expected =
        is_valid ? place_by_rule(world, request.page_count, align, limit) : UINT64_MAX;
    const bool has_records = world->early.record_count < world->early.record_max;
    const uint64_t digest = loam_early_digest(&world->early);
    const loam_phys start = loam_early_alloc(&world->early, &request);

    if (has_records)
        FUZZ_CHECK(start.addr == expected);
    if (loam_phys_is_none(start)) {
        FUZZ_CHECK(loam_early_digest(&world->early) == digest);
        return;
    }
    FUZZ_CHECK(start.addr % align == 0);
    FUZZ_CHECK(start.addr + request.page_count * LOAM_PAGE_SIZE <= limit);
    FUZZ_CHECK(all_are(world, start.addr / LOAM_PAGE_SIZE, request.page_count, FREE));
    set_all(world, start.addr / LOAM_PAGE_SIZE, request.page_count, FREE, TAKEN);
}

static void reserve(struct fuzz_input *input, struct world *world)
{
    const uint64_t first = fuzz_take(input, 1) % PAGES;
    const uint64_t count = 1 + fuzz_take(input, 1) % (PAGES - first);
    const struct loam_phys_range range =
        loam_phys_range_of(loam_phys_at(first * LOAM_PAGE_SIZE), count * LOAM_PAGE_SIZE);
    const bool has_records = world->early.record_count < world->early.record_max;
    const uint64_t digest = loam_early_digest(&world->early);
    bool any_taken = false;
    for (uint64_t i = first; i < first + count; i++)
        any_taken |= world->page[i] == TAKEN;

    const enum loam_status st = loam_early_reserve(&world->early, range);
    FUZZ_CHECK(any_taken ? st == LOAM_OVERLAP
                         : st == LOAM_OK || (st == LOAM_NO_SPACE && !has_records));
    if (st == LOAM_OK)
        set_all(world, first, count, FREE, RESERVED);
    else
        FUZZ_CHECK(loam_early_digest(&world->early) == digest);
}

static void compare_taken(struct world *world)
{
    struct loam_phys_range range;
    size_t cursor = 0;
    uint64_t end = 0;
    uint64_t total = 0;
    loam_early_finish(&world->early);
    while (loam_early_taken(&world->early, &cursor, &range)) {
        FUZZ_CHECK(range.start.addr >= end && range.size != 0);
        FUZZ_CHECK(
            all_are(world, range.start.addr / LOAM_PAGE_SIZE, range.size / LOAM_PAGE_SIZE, TAKEN));
        end = range.start.addr + range.size;
        total += range.size / LOAM_PAGE_SIZE;
    }
    FUZZ_CHECK(total == count_of(world, TAKEN));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world world;
    struct fuzz_input input = { data, size };
    begin(&input, &world);
    while (input.left > 0) {
        if (fuzz_take(&input, 1) % 4 == 0)
            reserve(&input, &world);
        else
            allocate(&input, &world);
        fuzz_check_sound(loam_early_audit(&world.early));
        FUZZ_CHECK(world.early.free_pages == count_of(&world, FREE));
        FUZZ_CHECK(world.early.taken_pages == count_of(&world, TAKEN));
        FUZZ_CHECK(loam_early_largest(&world.early) == longest_free_run(&world));
    }
    compare_taken(&world);
    return 0;
}
