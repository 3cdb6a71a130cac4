/*
 * early_model_test.c - layer 2 against a model that knows every page, and the
 * cost of one page.
 */
#include "harness.h"

#include <stdlib.h>
#include <string.h>

#include <loam/early.h>

#define PAGES(n)    ((uint64_t)(n)*LOAM_PAGE_SIZE)
#define WORLD_PAGES 128u
#define SPARES_MANY 96u

/* ---- the model ----------------------------------------------------------- */

enum page_state {
    PAGE_ABSENT, /* never usable, or kept out */
    PAGE_FREE,
    PAGE_TAKEN,
};

struct model {
    uint64_t base;                       /* page number of page[0] */
    unsigned char page[WORLD_PAGES + 1]; /* the last is always absent */
    struct loam_memmap_entry entry[WORLD_PAGES];
    struct loam_early_record *record; /* owned; exactly as many as allowed */
    struct loam_early early;
};

static uint64_t count_state(const struct model *m, enum page_state state)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < WORLD_PAGES; i++)
        count += m->page[i] == state;
    return count;
}

static uint64_t largest_free_run(const struct model *m)
{
    uint64_t largest = 0;
    uint64_t run = 0;
    for (unsigned i = 0; i < WORLD_PAGES; i++) {
        run = m->page[i] == PAGE_FREE ? run + 1 : 0;
        largest = run > largest ? run : largest;
    }
    return largest;
}

/* A random world, and no more spare records than @p spares. */
static void model_init(struct model *m, size_t spares)
{
    struct loam_memmap map;
    uint64_t at = 0;

    memset(m, 0, sizeof *m);
    memset(&map, 0, sizeof map);
    m->base = test_random_below(2) == 0 ? 1 : (UINT64_C(1) << 40) - WORLD_PAGES;
    map.entry = m->entry;
    for (;;) {
        const uint64_t hole = 1 + test_random_below(6);
        const uint64_t size = 1 + test_random_below(test_random_below(3) == 0 ? 60 : 8);
        at += test_random_below(4) == 0 && map.entry_count == 0 ? 0 : hole;
        if (at + size > WORLD_PAGES)
            break;
        struct loam_memmap_entry *e = &m->entry[map.entry_count++];
        e->range = loam_phys_range_of(loam_phys_at(PAGES(m->base + at)), PAGES(size));
        e->type = LOAM_MEM_USABLE;
        memset(m->page + at, PAGE_FREE, size);
        at += size;
    }
    const size_t record_max = map.entry_count + spares;
    m->record = malloc(record_max * sizeof *m->record);
    assert_non_null(m->record);
    assert_int_equal(loam_early_init(&m->early, &map, m->record, record_max), LOAM_OK);
}

static bool is_free_run(const struct model *m, uint64_t page, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        if (m->page[page + i] != PAGE_FREE)
            return false;
    }
    return true;
}

/* By definition: the highest free, aligned block below the limit; without a
 * record for a split only one that ends where free memory ends. None: UINT64_MAX. */
static uint64_t model_place(const struct model *m, const struct loam_early_request *r)
{
    const bool can_split = m->early.record_count < m->early.record_max;
    const uint64_t align = r->align_bytes != 0 ? r->align_bytes : 1;

    if (r->page_count > WORLD_PAGES)
        return UINT64_MAX;
    for (uint64_t page = WORLD_PAGES - r->page_count + 1; page > 0; page--) {
        const uint64_t start = PAGES(m->base + page - 1);
        const uint64_t end = start + PAGES(r->page_count);
        if (start % align != 0 || (r->limit != 0 && end > r->limit))
            continue;
        if (!is_free_run(m, page - 1, r->page_count))
            continue;
        if (can_split || m->page[page - 1 + r->page_count] != PAGE_FREE)
            return start;
    }
    return UINT64_MAX;
}

/* ---- steps --------------------------------------------------------------- */

static void check_alloc(struct model *m)
{
    const struct loam_early_request request = {
        .page_count = 1 + test_random_below(test_random_below(4) == 0 ? 40 : 6),
        .align_bytes = test_random_below(2) == 0 ? 0 : UINT64_C(512) << test_random_below(10),
        .limit = test_random_below(3) != 0
                     ? 0
                     : PAGES(m->base) + test_random_below(PAGES(WORLD_PAGES + 4)),
    };
    const uint64_t want = model_place(m, &request);
    const uint64_t digest = loam_early_digest(&m->early);
    const loam_phys got = loam_early_alloc(&m->early, &request);

    assert_int_equal(got.addr, want);
    assert_true((loam_early_digest(&m->early) == digest) == loam_phys_is_none(got));
    if (!loam_phys_is_none(got))
        memset(m->page + (got.addr / LOAM_PAGE_SIZE - m->base), PAGE_TAKEN, request.page_count);
}

static void check_reserve(struct model *m)
{
    const uint64_t first = test_random_below(WORLD_PAGES);
    const uint64_t count =
        1 + test_random_below(test_random_below(4) == 0 ? WORLD_PAGES - first : 5);
    const uint64_t end = first + count < WORLD_PAGES ? first + count : WORLD_PAGES;
    bool taken = false;
    for (uint64_t page = first; page < end; page++)
        taken |= m->page[page] == PAGE_TAKEN;
    const bool leaves_below =
        first > 0 && m->page[first - 1] == PAGE_FREE && m->page[first] == PAGE_FREE;
    const bool full = m->early.record_count == m->early.record_max;
    const uint64_t digest = loam_early_digest(&m->early);
    const enum loam_status st = loam_early_reserve(
        &m->early, loam_phys_range_of(loam_phys_at(PAGES(m->base + first)), PAGES(count)));

    if (taken)
        assert_int_equal(st, LOAM_OVERLAP);
    else if (st == LOAM_NO_SPACE)
        assert_true(full && leaves_below);
    else
        assert_int_equal(st, LOAM_OK);
    if (st != LOAM_OK) {
        assert_true(loam_early_digest(&m->early) == digest);
        return;
    }
    memset(m->page + first, PAGE_ABSENT, end - first);
}

/* What was taken, by walking it, page by page. */
static void check_taken(struct model *m)
{
    struct loam_phys_range range;
    uint64_t page = 0;

    loam_early_finish(&m->early);
    for (size_t cursor = 0; loam_early_taken(&m->early, &cursor, &range);) {
        const uint64_t first = range.start.addr / LOAM_PAGE_SIZE - m->base;
        assert_true(range.size > 0 && first >= page); /* ascending */
        for (; page < first; page++)
            assert_int_not_equal(m->page[page], PAGE_TAKEN);
        for (; page < first + range.size / LOAM_PAGE_SIZE; page++)
            assert_int_equal(m->page[page], PAGE_TAKEN);
    }
    for (; page < WORLD_PAGES; page++)
        assert_int_not_equal(m->page[page], PAGE_TAKEN);
}

/* Property: every answer, every count and the final walk are those of the model,
 * with many, few and no spare records. */
static void early_agrees_with_a_model_of_every_page(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 3000; round++) {
        struct model m;
        model_init(&m, round % 3 == 0 ? SPARES_MANY : round % 3 == 1 ? 2 : 0);
        for (unsigned step = 0; step < 40; step++) {
            if (test_random_below(4) == 0)
                check_reserve(&m);
            else
                check_alloc(&m);
            assert_null(loam_early_audit(&m.early));
            assert_int_equal(m.early.free_pages, count_state(&m, PAGE_FREE));
            assert_int_equal(m.early.taken_pages, count_state(&m, PAGE_TAKEN));
            assert_int_equal(loam_early_largest(&m.early), largest_free_run(&m));
        }
        check_taken(&m);
        free(m.record);
    }
}

/* ---- cost ---------------------------------------------------------------- */

/*
 * A million pages in 16384 ranges, one at a time, each once, from the top. Would
 * each call pass the exhausted records again, there were 2^33 steps.
 */
static void one_page_is_constant_time_over_thousands_of_records(void **state)
{
    enum { RANGES = 16384, RANGE_PAGES = 64, STRIDE_PAGES = 65 };
    static const struct loam_early_request request = { .page_count = 1 };
    struct loam_memmap_entry *entry = calloc(RANGES, sizeof *entry);
    struct loam_early_record *record = malloc(RANGES * sizeof *record);
    struct loam_memmap map;
    struct loam_early early;
    (void)state;
    assert_non_null(entry);
    assert_non_null(record);
    memset(&map, 0, sizeof map);
    map.entry = entry;
    map.entry_count = RANGES;
    for (uint64_t i = 0; i < RANGES; i++)
        entry[i].range =
            loam_phys_range_of(loam_phys_at(PAGES(1 + i * STRIDE_PAGES)), PAGES(RANGE_PAGES));
    assert_int_equal(loam_early_init(&early, &map, record, RANGES), LOAM_OK);

    for (uint64_t range = RANGES; range > 0; range--) {
        for (uint64_t page = RANGE_PAGES; page > 0; page--) {
            const loam_phys p = loam_early_alloc(&early, &request);
            assert_int_equal(p.addr, PAGES(1 + (range - 1) * STRIDE_PAGES + page - 1));
        }
        assert_int_equal(early.current, range - 1); /* no record is visited twice */
    }
    assert_true(loam_phys_is_none(loam_early_alloc(&early, &request)));
    assert_int_equal(early.taken_pages, (uint64_t)RANGES * RANGE_PAGES);
    assert_null(loam_early_audit(&early));
    free(record);
    free(entry);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(early_agrees_with_a_model_of_every_page),
        cmocka_unit_test(one_page_is_constant_time_over_thousands_of_records),
    };
    return RUN_TESTS(tests);
}
