/*
 * memmap_fuzz.c - any raw memory map, normalised, against the rule for one page:
 *
 *     nothing touches it               in no entry
 *     else                             the most restrictive type that touches it,
 *                                      where a usable entry that does not cover it
 *                                      wholly, or is out of the direct map's window
 *                                      there, counts as the weakest reservation
 *
 * asked at every page where the answer could change. And the order of the entries
 * makes no difference.
 */
#include "fuzz.h"

#include <loam/memmap.h>

#define ENTRIES_MAX 48u
#define PARTLY      (-1) /* weaker than every type */
#define NOTHING     (-2)

struct world {
    struct loam_memmap_entry raw[ENTRIES_MAX];
    size_t raw_count;
    unsigned phys_bits;
    uint64_t window; /* bytes; 0: all */
};

/* An address: eight bytes of the input, or one of few so that entries meet. */
static uint64_t take_address(struct fuzz_input *input)
{
    const uint64_t kind = fuzz_take(input, 1);
    if (kind < 64)
        return fuzz_take(input, 8);
    const unsigned shift = kind < 128 ? 12 : kind < 192 ? 30 : 11;
    return (fuzz_take(input, 1) << shift) + (kind % 4 == 3 ? fuzz_take(input, 2) : 0);
}

static void take_world(struct fuzz_input *input, struct world *world)
{
    memset(world, 0, sizeof *world);
    world->phys_bits = 32 + (unsigned)(fuzz_take(input, 1) % 21);
    world->window = fuzz_take(input, 1) % 2 == 0 ? 0 : take_address(input);
    while (input->left > 0 && world->raw_count < ENTRIES_MAX) {
        struct loam_memmap_entry *entry = &world->raw[world->raw_count++];
        entry->range.start = loam_phys_at(take_address(input));
        entry->range.size = take_address(input);
        const uint64_t type = fuzz_take(input, 1);
        entry->type = type < 250 ? type % LOAM_MEM_TYPES : (enum loam_mem_type)(type << 24);
    }
}

/* What one raw entry makes of the page. */
static int type_by_entry(const struct world *world, const struct loam_memmap_entry *entry,
                         uint64_t page)
{
    const uint64_t limit = UINT64_C(1) << world->phys_bits;
    const uint64_t start = entry->range.start.addr;
    uint64_t last = start + entry->range.size - 1;
    if (entry->range.size == 0 || start >= limit)
        return NOTHING;
    if (last < start || last >= limit)
        last = limit - 1;
    if (page + 0xfff < start || page > last)
        return NOTHING;
    if ((unsigned)entry->type >= LOAM_MEM_TYPES)
        return LOAM_MEM_RESERVED;
    if (entry->type == LOAM_MEM_USABLE &&
        (page < start || page + 0xfff > last ||
         (world->window != 0 && page + 0xfff > world->window - 1)))
        return PARTLY;
    return (int)entry->type;
}

static int type_by_rule(const struct world *world, uint64_t page)
{
    int type = NOTHING;
    for (size_t i = 0; i < world->raw_count; i++) {
        const int by_entry = type_by_entry(world, &world->raw[i], page);
        type = by_entry > type ? by_entry : type;
    }
    if (type == PARTLY || (type == LOAM_MEM_USABLE && page == 0))
        return LOAM_MEM_RESERVED;
    return type;
}

static int type_by_map(const struct loam_memmap *map, uint64_t page)
{
    const size_t at = loam_memmap_find(map, loam_phys_at(page));
    if (at == map->entry_count ||
        !loam_phys_range_contains(map->entry[at].range, loam_phys_at(page)))
        return NOTHING;
    return (int)map->entry[at].type;
}

/* Compare around an address. */
static void compare_near(const struct world *world, const struct loam_memmap *map, uint64_t addr)
{
    const uint64_t page = loam_page_floor(addr);
    for (int step = -1; step <= 1; step++) {
        const uint64_t at = page + (uint64_t)step * LOAM_PAGE_SIZE;
        if (at < UINT64_C(1) << LOAM_PHYS_BITS_MAX)
            FUZZ_CHECK(type_by_map(map, at) == type_by_rule(world, at));
    }
}

static void normalise(const struct world *world, struct loam_memmap *map,
                      struct loam_memmap_entry *storage)
{
    const struct loam_memmap_request request = {
        .raw = world->raw,
        .raw_count = world->raw_count,
        .storage = storage,
        .storage_count = LOAM_MEMMAP_STORAGE(world->raw_count),
        .phys_bits = world->phys_bits,
        .window_bytes = world->window,
    };
    FUZZ_CHECK(loam_memmap_init(map, &request, NULL) == LOAM_OK);
    fuzz_check_sound(loam_memmap_audit(map));
}

static void reverse(struct world *world)
{
    for (size_t i = 0; i < world->raw_count / 2; i++) {
        const struct loam_memmap_entry entry = world->raw[i];
        world->raw[i] = world->raw[world->raw_count - 1 - i];
        world->raw[world->raw_count - 1 - i] = entry;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = { data, size };
    struct world world;
    struct loam_memmap map;
    take_world(&input, &world);
    if (world.raw_count == 0)
        return 0;

    /* Of exactly the size promised to suffice: the sanitizer watches its ends. */
    struct loam_memmap_entry *storage =
        malloc(LOAM_MEMMAP_STORAGE(world.raw_count) * sizeof *storage);
    FUZZ_CHECK(storage != NULL);
    normalise(&world, &map, storage);
    for (size_t i = 0; i < world.raw_count; i++) {
        const struct loam_phys_range range = world.raw[i].range;
        compare_near(&world, &map, range.start.addr);
        compare_near(&world, &map, range.start.addr + (range.size - 1));
    }
    for (size_t i = 0; i < map.entry_count; i++) {
        compare_near(&world, &map, map.entry[i].range.start.addr);
        compare_near(&world, &map, map.entry[i].range.start.addr + map.entry[i].range.size - 1);
    }
    compare_near(&world, &map, world.window);

    const uint64_t digest = loam_memmap_digest(&map);
    reverse(&world);
    normalise(&world, &map, storage);
    FUZZ_CHECK(loam_memmap_digest(&map) == digest);
    free(storage);
    return 0;
}
