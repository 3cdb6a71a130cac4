/*
 * memmap_model_test.c - layer 1 against its own definition, page by page.
 */
#include "memmap_fixture.h"

/* A small world around an interesting address. */
#define WORLD_PAGES 32
struct world {
    uint64_t base; /* of its first page */
    unsigned phys_bits;
};
static const struct world worlds[] = {
    { 0, 52 },
    { (UINT64_C(1) << 32) - PAGES(16), 32 },
    { (UINT64_C(1) << 52) - PAGES(16), 52 },
    { 0 - PAGES(WORLD_PAGES), 52 },
};

/* What one raw entry says about one page. */
enum claim {
    CLAIM_NONE,
    CLAIM_PARTLY, /* usable in part, or out of reach */
    CLAIM_WHOLE,
};

static enum claim claim_of(const struct loam_memmap_entry *e, uint64_t page_start,
                           const struct loam_memmap_request *request)
{
    const uint64_t page_last = page_start + (LOAM_PAGE_SIZE - 1);
    const uint64_t limit_last = (UINT64_C(1) << request->phys_bits) - 1;
    const uint64_t start = e->range.start.addr;
    uint64_t last = start + e->range.size - 1;

    if (e->range.size == 0 || start > limit_last)
        return CLAIM_NONE;
    if (last < start || last > limit_last)
        last = limit_last;
    if (start > page_last || last < page_start)
        return CLAIM_NONE;
    if (e->type != U)
        return CLAIM_WHOLE;
    const bool shown = request->window_bytes == 0 || page_last < request->window_bytes;
    return start <= page_start && page_last <= last && shown ? CLAIM_WHOLE : CLAIM_PARTLY;
}

static unsigned known_type(const struct loam_memmap_entry *e)
{
    return (unsigned)e->type < LOAM_MEM_TYPES ? (unsigned)e->type : (unsigned)R;
}

/* The definition, one page at a time; -1: a hole. */
static int type_of_page(const struct loam_memmap_request *request, uint64_t page_start)
{
    int type = -1;
    bool partly = false;

    for (size_t i = 0; i < request->raw_count; i++) {
        const enum claim claim = claim_of(&request->raw[i], page_start, request);
        partly |= claim == CLAIM_PARTLY;
        if (claim == CLAIM_WHOLE && (int)known_type(&request->raw[i]) > type)
            type = (int)known_type(&request->raw[i]);
    }
    if ((type == -1 && partly) || (type == (int)U && page_start == 0))
        return (int)R;
    return type;
}

static int type_in_map(const struct loam_memmap *map, uint64_t page_start)
{
    const size_t i = loam_memmap_find(map, loam_phys_at(page_start));

    if (i < map->entry_count && map->entry[i].range.start.addr <= page_start)
        return (int)map->entry[i].type;
    return -1;
}

/* Are there two types on the page, and do the same entries say the same about it
 * as about the one before? */
static bool is_new_overlap(const struct loam_memmap_request *request, uint64_t page_start,
                           bool is_first_page)
{
    unsigned types = 0;
    bool changed = is_first_page;

    for (size_t i = 0; i < request->raw_count; i++) {
        const struct loam_memmap_entry *e = &request->raw[i];
        const enum claim claim = claim_of(e, page_start, request);
        if (claim != CLAIM_NONE)
            types |= 1u << known_type(e);
        if (!is_first_page)
            changed |= claim != claim_of(e, page_start - LOAM_PAGE_SIZE, request);
    }
    return !loam_is_power_of_two(types) && types != 0 && changed;
}

/* Repairs by definition. */
static void count_repairs(const struct loam_memmap_request *request, const struct world *world,
                          struct repairs *want)
{
    const uint64_t limit_last = (UINT64_C(1) << request->phys_bits) - 1;

    memset(want, 0, sizeof *want);
    for (size_t i = 0; i < request->raw_count; i++) {
        const struct loam_memmap_entry *e = &request->raw[i];
        const uint64_t start = e->range.start.addr;
        uint64_t last = start + e->range.size - 1;
        if (e->range.size == 0) {
            want->of[LOAM_REPAIR_EMPTY]++;
            continue;
        }
        want->of[LOAM_REPAIR_WRAP] += last < start;
        want->of[LOAM_REPAIR_UNKNOWN_TYPE] += (unsigned)e->type >= LOAM_MEM_TYPES;
        want->of[LOAM_REPAIR_LIMIT] += last < start || last > limit_last;
        if (last < start || last > limit_last)
            last = limit_last;
        if (start > limit_last)
            continue;
        const bool odd = start % LOAM_PAGE_SIZE != 0 || (last + 1) % LOAM_PAGE_SIZE != 0;
        want->of[e->type == U ? LOAM_REPAIR_SHRUNK : LOAM_REPAIR_GROWN] += odd;
        if (e->type == U && request->window_bytes != 0)
            want->of[LOAM_REPAIR_UNREACHABLE] += last >= loam_page_floor(request->window_bytes);
    }
    for (uint64_t page = 0; page < WORLD_PAGES; page++)
        want->of[LOAM_REPAIR_OVERLAP] +=
            is_new_overlap(request, world->base + PAGES(page), page == 0);
    if (world->base == 0 && type_of_page(request, 0) == (int)R) {
        bool usable = false;
        bool other = false;
        for (size_t i = 0; i < request->raw_count; i++) {
            const enum claim claim = claim_of(&request->raw[i], 0, request);
            usable |= claim == CLAIM_WHOLE && request->raw[i].type == U;
            other |= claim == CLAIM_WHOLE && request->raw[i].type != U;
        }
        want->of[LOAM_REPAIR_PAGE_ZERO] = usable && !other;
    }
}

static struct loam_memmap_entry random_entry(const struct world *world)
{
    const bool aligned = test_random_below(2) == 0;
    uint64_t start = test_random_below(PAGES(WORLD_PAGES - 8));
    uint64_t size = test_random_below(PAGES(8));
    uint32_t type = (uint32_t)test_random_below(LOAM_MEM_TYPES + 2);

    if (test_random_below(2) == 0)
        type = U;
    if (type > LOAM_MEM_TYPES)
        type = (uint32_t)test_random();
    if (aligned) {
        start = loam_page_floor(start);
        size = loam_page_floor(size);
    }
    return entry(world->base + start, size, (enum loam_mem_type)type);
}

static void check_world(struct fixture *f, const struct world *world)
{
    uint64_t total_bytes[LOAM_MEM_TYPES] = { 0 };
    struct repairs repairs;

    fixture_build(f);
    for (uint64_t page = 0; page < WORLD_PAGES; page++) {
        const uint64_t page_start = world->base + PAGES(page);
        const int type = type_of_page(&f->request, page_start);
        assert_int_equal(type_in_map(&f->map, page_start), type);
        if (type >= 0)
            total_bytes[type] += LOAM_PAGE_SIZE;
    }
    for (unsigned type = 0; type < LOAM_MEM_TYPES; type++)
        assert_int_equal(f->map.total_bytes[type], total_bytes[type]);
    count_repairs(&f->request, world, &repairs);
    assert_repairs(&f->map, &repairs);
}

/* Property: for every input the result is sound, and gives each page the type
 * that the definition gives it; totals and repairs agree; order does not matter. */
static void map_agrees_with_definition_page_by_page(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 12000; round++) {
        const struct world *world = &worlds[round % COUNT(worlds)];
        const size_t raw_count = 1 + (size_t)test_random_below(9);
        struct loam_memmap_entry raw[9];
        struct fixture f;
        for (size_t i = 0; i < raw_count; i++)
            raw[i] = random_entry(world);
        fixture_init(&f, raw, raw_count);
        f.request.phys_bits = world->phys_bits;
        if (test_random_below(3) == 0)
            f.request.window_bytes = world->base + 1 + test_random_below(PAGES(WORLD_PAGES) - 1);

        check_world(&f, world);
        const uint64_t digest = loam_memmap_digest(&f.map);
        for (size_t i = raw_count; i > 1; i--)
            swap(&raw[i - 1], &raw[test_random_below(i)]);
        check_world(&f, world);
        assert_true(loam_memmap_digest(&f.map) == digest);
        fixture_free(&f);
    }
}

/* Property: find is the first entry that ends above the address. */
static void find_agrees_with_linear_search(void **state)
{
    struct loam_memmap_entry *raw = alternating(200);
    struct fixture f;
    (void)state;
    for (size_t i = 0; i < 200; i += 3)
        raw[i].type = LOAM_MEM_BAD;
    for (size_t i = 1; i < 200; i += 5)
        raw[i].range.size = 0;
    fixture_make(&f, raw, 200);
    for (uint64_t at = 0; at < PAGES(205); at += LOAM_PAGE_SIZE / 2) {
        for (unsigned less = 0; less < 2; less++) {
            size_t want = 0;
            while (want < f.map.entry_count &&
                   f.map.entry[want].range.start.addr + f.map.entry[want].range.size - 1 <
                       at - less)
                want++;
            assert_int_equal(loam_memmap_find(&f.map, loam_phys_at(at - less)), want);
        }
    }
    fixture_free(&f);
    free(raw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(map_agrees_with_definition_page_by_page),
        cmocka_unit_test(find_agrees_with_linear_search),
    };
    return RUN_TESTS(tests);
}
