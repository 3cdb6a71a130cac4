/*
 * frame_fuzz.c - any sequence of calls of the frame allocator, from any CPU, against
 * an array with one state per page. Wrong frees must panic and change nothing.
 *
 *     page   base                         base + 4096
 *          [ A | F | F | U | U | ... | F )    absent, free, in use
 *
 * The base is chosen so that zones end in the middle, at the left or nowhere.
 */
#include "harness.h"

#include <loam/frame.h>

#include "fuzz.h"
#include "machine.h"

#define PAGES        4096u
#define RANGES_MAX   6u
#define CPUS         4u
#define MEMORY_BYTES 16384u
#define BULK_MAX     255u

enum state { ABSENT, FREE, USED };

struct world {
    struct loam_frame frame;
    uint64_t base;
    unsigned char page[PAGES];
    uint64_t free_count;
};

static struct world world;

/* ---- the oracle ---------------------------------------------------------- */

static unsigned zone_of(uint64_t page)
{
    return page >= UINT64_C(1) << 20   ? LOAM_ZONE_ANY
           : page >= UINT64_C(1) << 12 ? LOAM_ZONE_4G
                                       : LOAM_ZONE_16M;
}

static bool all_are(uint64_t first, uint64_t count, enum state state)
{
    if (first < world.base || first - world.base > PAGES || count > PAGES - (first - world.base))
        return false;
    for (uint64_t i = 0; i < count; i++)
        if (world.page[first - world.base + i] != state)
            return false;
    return true;
}

static bool any_is(uint64_t first, uint64_t count, enum state state)
{
    for (uint64_t page = first; page < first + count; page++)
        if (all_are(page, 1, state))
            return true;
    return false;
}

static void set_all(uint64_t first, uint64_t count, enum state from, enum state to)
{
    FUZZ_CHECK(all_are(first, count, from));
    memset(world.page + (first - world.base), (int)to, count);
    world.free_count = to == FREE ? world.free_count + count : world.free_count - count;
}

/* The highest place that a request allows, or UINT64_MAX. */
static uint64_t place_by_rule(const struct loam_frame_request *request, unsigned zone)
{
    const uint64_t align = request->align_bytes > LOAM_PAGE_SIZE ? request->align_bytes : 4096;
    const uint64_t limit = request->limit != 0 ? request->limit : UINT64_MAX;
    const uint64_t count = request->page_count;

    if (count == 0 || count > PAGES)
        return UINT64_MAX;
    for (uint64_t first = world.base + PAGES - count + 1; first-- > world.base;) {
        const uint64_t start = first * LOAM_PAGE_SIZE;
        const uint64_t last = start + count * LOAM_PAGE_SIZE - 1;
        if (start % align != 0 || start < request->from || last >= limit ||
            (request->boundary_bytes != 0 &&
             start / request->boundary_bytes != last / request->boundary_bytes))
            continue;
        if (zone_of(first + count - 1) >= zone && all_are(first, count, FREE))
            return first;
    }
    return UINT64_MAX;
}

static uint64_t free_between(uint64_t from, uint64_t limit)
{
    uint64_t count = 0;
    for (uint64_t page = world.base; page < world.base + PAGES; page++)
        count += page * LOAM_PAGE_SIZE >= from && (page + 1) * LOAM_PAGE_SIZE <= limit &&
                 all_are(page, 1, FREE);
    return count;
}

/* ---- steps --------------------------------------------------------------- */

static void begin(struct fuzz_input *input)
{
    static const uint64_t bases[] = { 0, 2048, (1u << 20) - 2048, UINT64_C(60) << 28 };
    static _Alignas(64) unsigned char memory[MEMORY_BYTES];
    struct loam_phys_range range[RANGES_MAX];
    struct loam_frame_setup setup = { .range = range, .memory = memory };
    uint64_t page = 0;

    memset(&world, 0, sizeof(world));
    world.base = bases[fuzz_take(input, 1) % 4];
    setup.cpu_count = 1 + (unsigned)fuzz_take(input, 1) % CPUS;
    for (unsigned i = 0; i < RANGES_MAX; i++) {
        page += (i != 0) + fuzz_take(input, 2) % 600;
        uint64_t count = 1 + fuzz_take(input, 2) % 2500;
        if (page >= PAGES)
            break;
        count = count < PAGES - page ? count : PAGES - page;
        range[setup.range_count++] = loam_phys_range_of(
            loam_phys_at((world.base + page) * LOAM_PAGE_SIZE), count * LOAM_PAGE_SIZE);
        set_all(world.base + page, count, ABSENT, FREE);
        page += count;
    }
    setup.memory_bytes = loam_frame_bytes_needed(&setup);
    FUZZ_CHECK(setup.memory_bytes != 0 && setup.memory_bytes <= MEMORY_BYTES);
    memset(memory, 0xa5, sizeof(memory));
    FUZZ_CHECK(loam_frame_init(&world.frame, &setup) == LOAM_OK);
    for (size_t i = setup.memory_bytes; i < MEMORY_BYTES; i++)
        FUZZ_CHECK(memory[i] == 0xa5);
}

static void allocate(struct fuzz_input *input)
{
    const unsigned order = (unsigned)fuzz_take(input, 1) % 14;
    const unsigned zone = (unsigned)fuzz_take(input, 1) % LOAM_ZONES;
    const struct loam_frame_request request = { UINT64_C(1) << order, loam_order_bytes(order), 0, 0,
                                                0 };
    const uint64_t digest = loam_frame_digest(&world.frame);
    const loam_phys block = loam_frame_alloc(&world.frame, order, (enum loam_zone)zone);

    FUZZ_CHECK(loam_phys_is_none(block) == (place_by_rule(&request, zone) == UINT64_MAX));
    if (loam_phys_is_none(block)) {
        FUZZ_CHECK(loam_frame_digest(&world.frame) == digest);
        return;
    }
    FUZZ_CHECK(block.addr % loam_order_bytes(order) == 0);
    FUZZ_CHECK(zone_of(block.addr / LOAM_PAGE_SIZE) >= zone);
    set_all(block.addr / LOAM_PAGE_SIZE, UINT64_C(1) << order, FREE, USED);
}

static void allocate_bulk(struct fuzz_input *input)
{
    loam_phys out[BULK_MAX];
    const unsigned zone = (unsigned)fuzz_take(input, 1) % LOAM_ZONES;
    const size_t count = fuzz_take(input, 1);
    uint64_t available = 0;
    for (uint64_t page = world.base; page < world.base + PAGES; page++)
        available += zone_of(page) >= zone && all_are(page, 1, FREE);
    const size_t done = loam_frame_alloc_bulk(&world.frame, (enum loam_zone)zone, out, count);
    FUZZ_CHECK(done == (count < available ? count : available));
    for (size_t i = 0; i < done; i++) {
        FUZZ_CHECK(zone_of(out[i].addr / LOAM_PAGE_SIZE) >= zone);
        set_all(out[i].addr / LOAM_PAGE_SIZE, 1, FREE, USED);
    }
}

static void allocate_range(struct fuzz_input *input)
{
    const uint64_t kind = fuzz_take(input, 1);
    struct loam_frame_request request = { .page_count = fuzz_take(input, kind < 128 ? 1 : 2) };
    if (kind % 4 == 1)
        request.align_bytes = UINT64_C(1) << fuzz_take(input, 1) % 64;
    if (kind % 8 >= 4)
        request.from = world.base * LOAM_PAGE_SIZE + fuzz_take(input, 3);
    if (kind % 16 >= 8)
        request.limit = world.base * LOAM_PAGE_SIZE + fuzz_take(input, 4) % (PAGES * 5000);
    if (kind % 32 >= 16)
        request.boundary_bytes = LOAM_PAGE_SIZE << fuzz_take(input, 1) % 14;
    const uint64_t limit = request.limit != 0 ? request.limit : UINT64_MAX;
    const bool is_valid = request.page_count != 0 && request.from <= limit &&
                          (request.boundary_bytes == 0 ||
                           request.boundary_bytes >= request.page_count * LOAM_PAGE_SIZE);
    const uint64_t expected = place_by_rule(&request, LOAM_ZONE_ANY);
    const uint64_t digest = loam_frame_digest(&world.frame);
    loam_phys out = loam_phys_at(77);
    const enum loam_status status = loam_frame_alloc_range(&world.frame, &request, &out);

    if (is_valid && expected != UINT64_MAX) {
        FUZZ_CHECK(status == LOAM_OK && out.addr == expected * LOAM_PAGE_SIZE);
        set_all(expected, request.page_count, FREE, USED);
        return;
    }
    const bool is_enough = free_between(request.from, limit) >= request.page_count;
    FUZZ_CHECK(status == (!is_valid ? LOAM_INVALID : is_enough ? LOAM_NO_SPACE : LOAM_NO_MEMORY));
    FUZZ_CHECK(out.addr == 77 && loam_frame_digest(&world.frame) == digest);
}

static void reserve(uint64_t first, uint64_t count)
{
    const uint64_t digest = loam_frame_digest(&world.frame);
    const enum loam_status status =
        loam_frame_reserve(&world.frame, loam_phys_range_of(loam_phys_at(first * LOAM_PAGE_SIZE),
                                                            count * LOAM_PAGE_SIZE));

    if (all_are(first, count, FREE)) {
        FUZZ_CHECK(status == LOAM_OK);
        set_all(first, count, FREE, USED);
        return;
    }
    const bool is_memory = !any_is(first, count, ABSENT) && first + count <= world.base + PAGES;
    FUZZ_CHECK(status == (is_memory ? LOAM_OVERLAP : LOAM_NOT_FOUND));
    FUZZ_CHECK(loam_frame_digest(&world.frame) == digest);
}

/* Free by order, or by range if the order is above the largest. */
static void free_either(uint64_t first, uint64_t count, unsigned order)
{
    if (order <= LOAM_ORDER_MAX)
        loam_frame_free(&world.frame, loam_phys_at(first * LOAM_PAGE_SIZE), order);
    else
        loam_frame_release(&world.frame, loam_phys_range_of(loam_phys_at(first * LOAM_PAGE_SIZE),
                                                            count * LOAM_PAGE_SIZE));
}

static bool free_panics(uint64_t first, uint64_t count, unsigned order)
{
    panic_trap.armed = true;
    if (setjmp(panic_trap.landing) != 0)
        return true;
    free_either(first, count, order);
    panic_trap.armed = false;
    return false;
}

static void give_back(uint64_t first, uint64_t count, unsigned order)
{
    const uint64_t digest = loam_frame_digest(&world.frame);

    if (all_are(first, count, USED)) {
        FUZZ_CHECK(!free_panics(first, count, order));
        set_all(first, count, USED, FREE);
    } else {
        FUZZ_CHECK(free_panics(first, count, order));
        FUZZ_CHECK(loam_frame_digest(&world.frame) == digest);
    }
}

/* All frames in use of a part of memory, from the right or from the left. */
static void sweep(struct fuzz_input *input)
{
    const uint64_t first = fuzz_take(input, 2) % PAGES;
    const uint64_t count = fuzz_take(input, 2) % (PAGES - first);
    const uint64_t stride = 1 + fuzz_take(input, 1) % 8;
    const bool is_upwards = stride % 2 == 0;

    for (uint64_t i = 0; i < count; i += stride) {
        const uint64_t page = world.base + first + (is_upwards ? i : count - 1 - i);
        if (all_are(page, 1, USED))
            give_back(page, 1, 0);
    }
}

static void compare_counts(bool is_drained)
{
    uint64_t free_count = 0;
    uint64_t blocks = 0;
    uint64_t lanes = 0;

    for (uint64_t page = (world.base + 511) & ~UINT64_C(511); page < world.base + PAGES;
         page += 512)
        blocks += all_are(page, 512, FREE);
    for (unsigned zone = 0; zone < LOAM_ZONES; zone++) {
        struct loam_frame_stats stats;
        loam_frame_measure(&world.frame, (enum loam_zone)zone, &stats);
        free_count += stats.free_count;
        lanes += stats.lane_count;
        FUZZ_CHECK(stats.block_count <= blocks);
        blocks -= stats.block_count;
    }
    FUZZ_CHECK(free_count == world.free_count);
    if (is_drained)
        FUZZ_CHECK(blocks == 0 && lanes == 0);
}

static void step(struct fuzz_input *input)
{
    const uint64_t kind = fuzz_take(input, 1);
    machine_set_cpu((unsigned)(kind / 16 % CPUS));
    switch (kind % 16) {
    case 0:
        allocate_bulk(input);
        break;
    case 1:
        allocate_range(input);
        break;
    case 2: {
        const uint64_t first = world.base + fuzz_take(input, 2) % (PAGES + 4);
        reserve(first, 1 + fuzz_take(input, 2) % 1500);
        break;
    }
    case 3: {
        const uint64_t first = world.base + fuzz_take(input, 2) % (PAGES + 4);
        give_back(first, 1 + fuzz_take(input, 2) % 1500, LOAM_ORDER_MAX + 1);
        break;
    }
    case 4:
        sweep(input);
        break;
    case 5:
        loam_frame_drain(&world.frame);
        compare_counts(true);
        break;
    case 6:
    case 7:
    case 8:
    case 9: {
        const unsigned order = (unsigned)fuzz_take(input, 1) % 12;
        const uint64_t first = world.base + fuzz_take(input, 2) % PAGES;
        give_back(first >> order << order, UINT64_C(1) << order, order);
        break;
    }
    default:
        allocate(input);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = { data, size };

    machine_reset(CPUS);
    begin(&input);
    while (input.left > 0) {
        step(&input);
        fuzz_check_sound(loam_frame_audit(&world.frame));
        compare_counts(false);
    }
    for (uint64_t page = world.base; page < world.base + PAGES; page++)
        if (all_are(page, 1, USED))
            give_back(page, 1, 0);
    loam_frame_drain(&world.frame);
    compare_counts(true);
    fuzz_check_sound(loam_frame_audit(&world.frame));
    return 0;
}
