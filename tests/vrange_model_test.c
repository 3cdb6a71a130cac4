/*
 * vrange_model_test.c - virtual ranges against an independent definition: an array
 * with one element per page of two windows.
 */
#include "vrange_world.h"

#include <stdlib.h>

/* ---- the model ----------------------------------------------------------- */

#define CELLS_MAX 4096u
#define LIVE_MAX  2048u
#define BATCHES   3u
#define NOBODY    0u /* free; else index of a range + 1 */
#define OUTSIDE   0xffffffffu

enum model_state { UNUSED, USED, QUEUED, IN_BATCH };

struct model_range {
    uint64_t first, before, count, after; /* pages after HIGH */
    enum model_state state;
    unsigned batch;
    const char *name;
};

static struct {
    uint64_t cells; /* pages after HIGH; the windows lie in them */
    uint32_t owner[CELLS_MAX];
    uint64_t window[2][2]; /* [first, end), in the order in which they are searched */
    struct model_range range[LIVE_MAX];
    struct loam_vrange_batch batch[BATCHES];
    bool under_way[BATCHES];
} model;

static const char *const names[] = { "stack", "device", "module" };

/* Two windows with a hole between; the higher one is searched first. */
static void model_reset(uint64_t frames, uint64_t cells)
{
    const uint64_t half = cells / 2;

    memset(&model, 0, sizeof(model));
    model.cells = cells;
    model.window[0][0] = half + 1;
    model.window[0][1] = cells;
    model.window[1][0] = 0;
    model.window[1][1] = half - 1;
    model.owner[half - 1] = OUTSIDE;
    model.owner[half] = OUTSIDE;
    no_window(frames);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(
            loam_vrange_add_window(&vrange, virt_pages(HIGH, model.window[i][0],
                                                       model.window[i][1] - model.window[i][0])),
            LOAM_OK);
}

static unsigned model_new(void)
{
    unsigned i = 0;
    while (model.range[i].state != UNUSED)
        i++;
    assert_true(i < LIVE_MAX);
    return i;
}

static void model_fill(const struct model_range *range, uint32_t owner)
{
    const uint64_t end = range->first + range->before + range->count + range->after;
    for (uint64_t page = range->first; page < end; page++)
        model.owner[page] = owner;
}

/* Is a page free, of one in use, or of one that waits? */
static enum loam_status model_status(uint64_t page)
{
    if (page >= model.cells || model.owner[page] == OUTSIDE)
        return LOAM_NOT_FOUND;
    if (model.owner[page] == NOBODY)
        return LOAM_OK;
    return model.range[model.owner[page] - 1].state == USED ? LOAM_OVERLAP : LOAM_STATE;
}

/* What reserving [first, first + pages) must say. */
static enum loam_status model_probe(uint64_t first, uint64_t pages)
{
    bool is_used = false;
    bool waits = false;

    for (uint64_t page = first; page < first + pages; page++) {
        const enum loam_status status = model_status(page);
        if (status == LOAM_NOT_FOUND)
            return status;
        is_used = is_used || status == LOAM_OVERLAP;
        waits = waits || status == LOAM_STATE;
    }
    if (is_used)
        return LOAM_OVERLAP;
    return waits ? LOAM_STATE : LOAM_OK;
}

static bool model_waits(void)
{
    for (unsigned i = 0; i < LIVE_MAX; i++) {
        if (model.range[i].state == QUEUED || model.range[i].state == IN_BATCH)
            return true;
    }
    return false;
}

/* The place for @p want in [low, high): by trying every page. */
static enum loam_status model_find(struct model_range *want, uint64_t align, uint64_t low,
                                   uint64_t high)
{
    const uint64_t pages = want->before + want->count + want->after;
    bool is_large_enough = false;

    for (unsigned w = 0; w < 2; w++) {
        const uint64_t from = low > model.window[w][0] ? low : model.window[w][0];
        const uint64_t to = high < model.window[w][1] ? high : model.window[w][1];
        for (uint64_t first = from; first + pages <= to; first++) {
            is_large_enough = true;
            if ((first + want->before) % align != 0 || model_probe(first, pages) != LOAM_OK)
                continue;
            want->first = first;
            return LOAM_OK;
        }
    }
    return is_large_enough && model_waits() ? LOAM_STATE : LOAM_NO_SPACE;
}

static void model_add(const struct model_range *range)
{
    const unsigned index = model_new();
    model.range[index] = *range;
    model.range[index].state = USED;
    model_fill(range, index + 1);
}

/* ---- comparison ---------------------------------------------------------- */

/* The segment that begins with a page, as loam_vrange_next() must show it. */
static uint64_t compare_segment(uint64_t page, const struct loam_vrange_info *got)
{
    uint64_t end = page;

    if (model.owner[page] == NOBODY) {
        while (end < model.cells && model.owner[end] == NOBODY)
            end++;
        assert_int_equal(got->state, LOAM_VRANGE_FREE);
        assert_int_equal(got->range.start.addr, HIGH + PAGES(page));
        assert_int_equal(got->range.size, PAGES(end - page));
        return end;
    }
    const struct model_range *range = &model.range[model.owner[page] - 1];
    assert_int_equal(range->first, page);
    assert_int_equal(got->state, range->state == USED ? LOAM_VRANGE_USED : LOAM_VRANGE_WAITING);
    assert_int_equal(got->range.start.addr, HIGH + PAGES(page + range->before));
    assert_int_equal(got->range.size, PAGES(range->count));
    assert_int_equal(got->guard_before, range->before);
    assert_int_equal(got->guard_after, range->after);
    assert_ptr_equal(got->name, range->name);
    return page + range->before + range->count + range->after;
}

static void compare_with_model(void)
{
    struct loam_vrange_info got;
    loam_virt at = loam_virt_at(0);
    uint64_t page = 0;

    while (page < model.cells) {
        if (model.owner[page] == OUTSIDE) {
            page++;
            continue;
        }
        assert_true(loam_vrange_next(&vrange, at, &got));
        page = compare_segment(page, &got);
        assert_true(loam_vrange_info_end(&got, &at));
        assert_int_equal(at.addr, HIGH + PAGES(page));
    }
    assert_false(loam_vrange_next(&vrange, at, &got));
    check_sound();
}

/* A random page: where it lies. */
static void compare_lookup(void)
{
    const uint64_t page = test_random_below(model.cells);
    const loam_virt at = loam_virt_at(HIGH + PAGES(page) + test_random_below(LOAM_PAGE_SIZE));
    struct loam_vrange_info got;
    const enum loam_vrange_place place = loam_vrange_lookup(&vrange, at, &got);

    if (model.owner[page] == OUTSIDE) {
        assert_int_equal(place, LOAM_VRANGE_NOWHERE);
        return;
    }
    if (model.owner[page] == NOBODY) {
        assert_int_equal(place, LOAM_VRANGE_IN_GAP);
        return;
    }
    const struct model_range *range = &model.range[model.owner[page] - 1];
    const uint64_t inside = page - range->first;
    assert_int_equal(place, inside < range->before                  ? LOAM_VRANGE_IN_GUARD_BEFORE
                            : inside < range->before + range->count ? LOAM_VRANGE_IN_RANGE
                                                                    : LOAM_VRANGE_IN_GUARD_AFTER);
    (void)compare_segment(range->first, &got);
}

/* ---- steps --------------------------------------------------------------- */

static struct model_range random_range(uint64_t count_max)
{
    const struct model_range range = {
        .before = test_random_below(2) * test_random_below(3),
        .count = 1 + test_random_below(test_random_below(4) == 0 ? count_max : 4),
        .after = test_random_below(2) * test_random_below(3),
        .name = names[test_random_below(3)],
    };
    return range;
}

static struct loam_vrange_request request_of(const struct model_range *range)
{
    const struct loam_vrange_request request = {
        .page_count = range->count,
        .guard_before = range->before,
        .guard_after = range->after,
        .name = range->name,
    };
    return request;
}

static void step_alloc(uint64_t count_max)
{
    struct model_range want = random_range(count_max);
    struct loam_vrange_request request = request_of(&want);
    const uint64_t align = UINT64_C(1) << (test_random_below(3) == 0 ? test_random_below(6) : 0);
    uint64_t low = 0;
    uint64_t high = model.cells;
    loam_virt at = loam_virt_at(42);

    request.align_bytes = align == 1 ? 0 : PAGES(align);
    if (test_random_below(3) == 0) {
        low = test_random_below(model.cells);
        request.from = HIGH + PAGES(low) - test_random_below(2);
    }
    if (test_random_below(3) == 0) {
        high = test_random_below(model.cells);
        request.limit = HIGH + PAGES(high) + test_random_below(2);
    }
    request.dice = test_random_below(4) == 0 ? test_random() : 0;
    const enum loam_status expected = model_find(&want, align, low, high);
    const enum loam_status status = loam_vrange_alloc(&vrange, &request, &at);
    assert_int_equal(status, expected);
    if (status != LOAM_OK) {
        assert_int_equal(at.addr, 42);
        return;
    }
    if (request.dice != 0) { /* any place will do */
        const uint64_t pages = want.before + want.count + want.after;
        want.first = (at.addr - HIGH) / LOAM_PAGE_SIZE - want.before;
        assert_int_equal((want.first + want.before) % align, 0);
        assert_true(want.first >= low && want.first + pages <= high);
        assert_int_equal(model_probe(want.first, pages), LOAM_OK);
    }
    assert_int_equal(at.addr, HIGH + PAGES(want.first + want.before));
    model_add(&want);
}

static void step_reserve(uint64_t count_max)
{
    struct model_range want = random_range(count_max);
    const struct loam_vrange_request request = request_of(&want);

    want.first = test_random_below(model.cells);
    const enum loam_status expected =
        model_probe(want.first, want.before + want.count + want.after);
    assert_int_equal(loam_vrange_reserve(&vrange, &request,
                                         loam_virt_at(HIGH + PAGES(want.first + want.before))),
                     expected);
    if (expected == LOAM_OK)
        model_add(&want);
}

static void step_free(void)
{
    const uint32_t owner = model.owner[test_random_below(model.cells)];

    if (owner == NOBODY || owner == OUTSIDE || model.range[owner - 1].state != USED)
        return;
    struct model_range *range = &model.range[owner - 1];
    free_pages(range->first + range->before, range->count);
    range->state = QUEUED;
}

static void begin_batch(unsigned index)
{
    struct loam_vrange_batch *batch = &model.batch[index];
    struct loam_vrange_info got;
    uint64_t ranges = 0;
    uint64_t pages = 0;

    model.under_way[index] = loam_vrange_purge_begin(&vrange, batch);
    for (unsigned i = 0; i < LIVE_MAX; i++) {
        if (model.range[i].state != QUEUED)
            continue;
        model.range[i].state = IN_BATCH;
        model.range[i].batch = index;
        ranges++;
        pages += model.range[i].count;
    }
    assert_int_equal(model.under_way[index], ranges > 0);
    if (ranges == 0)
        return;
    assert_int_equal(batch->range_count, ranges);
    assert_int_equal(batch->page_count, pages);
    while (loam_vrange_purge_next(batch, &got)) {
        const uint64_t page = (got.range.start.addr - HIGH) / LOAM_PAGE_SIZE;
        const struct model_range *range = &model.range[model.owner[page] - 1];
        assert_true(range->state == IN_BATCH && range->batch == index);
        assert_int_equal(page, range->first + range->before);
        assert_int_equal(got.range.size, PAGES(range->count));
        assert_int_equal(got.guard_after, range->after);
        assert_true(got.range.start.addr >= batch->span.start.addr);
        assert_true(got.range.start.addr + got.range.size <=
                    batch->span.start.addr + batch->span.size);
        ranges--;
    }
    assert_int_equal(ranges, 0);
}

static void end_batch(unsigned index)
{
    loam_vrange_purge_end(&model.batch[index]);
    model.under_way[index] = false;
    for (unsigned i = 0; i < LIVE_MAX; i++) {
        if (model.range[i].state != IN_BATCH || model.range[i].batch != index)
            continue;
        model_fill(&model.range[i], NOBODY);
        model.range[i].state = UNUSED;
    }
}

static void step_purge(void)
{
    const unsigned index = (unsigned)test_random_below(BATCHES);

    if (model.under_way[index])
        end_batch(index);
    else
        begin_batch(index);
}

static void random_step(uint64_t count_max)
{
    switch (test_random_below(10)) {
    case 0:
    case 1:
    case 2:
    case 3:
        step_alloc(count_max);
        break;
    case 4:
        step_reserve(count_max);
        break;
    case 5:
        step_purge();
        break;
    default:
        step_free();
        break;
    }
}

/* Everything is freed and purged: not one frame is kept. */
static void end_all(void)
{
    for (uint64_t page = 0; page < model.cells; page++) {
        const uint32_t owner = model.owner[page];
        if (owner == NOBODY || owner == OUTSIDE || model.range[owner - 1].state != USED)
            continue;
        free_pages(model.range[owner - 1].first + model.range[owner - 1].before,
                   model.range[owner - 1].count);
        model.range[owner - 1].state = QUEUED;
    }
    for (unsigned i = 0; i < BATCHES; i++) {
        if (model.under_way[i])
            end_batch(i);
    }
    begin_batch(0);
    if (model.under_way[0])
        end_batch(0);
    compare_with_model();
    assert_int_equal(vrange.record_count, 0);
    assert_int_equal(stock.out_count, 0);
}

/* 24 pages, so that every edge comes up often. */
static void vrange_V09_agrees_with_an_array_of_24_pages(void **state)
{
    (void)state;
    model_reset(2, 24);
    for (int round = 0; round < 30000; round++) {
        random_step(12);
        compare_with_model();
        compare_lookup();
    }
    end_all();
}

/* 4096 pages: hundreds of ranges. */
static void vrange_V09_agrees_with_an_array_of_4096_pages(void **state)
{
    uint64_t ranges_max = 0;

    (void)state;
    model_reset(64, CELLS_MAX);
    for (int round = 0; round < 12000; round++) {
        random_step(round % 3000 < 2000 ? 6 : 400);
        compare_lookup();
        if (round % 8 == 0)
            compare_with_model();
        ranges_max = vrange.record_count > ranges_max ? vrange.record_count : ranges_max;
    }
    assert_true(ranges_max >= 400);
    end_all();
}

/* ---- depth --------------------------------------------------------------- */

static unsigned depth_of(const struct loam_vrange_record *record)
{
    unsigned depth = 0;
    for (; record->parent != NULL; record = record->parent)
        depth++;
    return depth;
}

/* 8192 ranges in ascending order, at several distances: no chain comes of it. */
static void tree_stays_shallow_whatever_the_order(void **state)
{
    static const uint64_t strides[] = { 1, 2, 3, 16, 17, 256, 512, 4096, 262144, 1000003 };

    (void)state;
    for (size_t i = 0; i < sizeof(strides) / sizeof(strides[0]); i++) {
        unsigned deepest = 0;
        one_window(200, UINT64_C(1) << 34);
        for (uint64_t n = 0; n < 8192; n++)
            assert_int_equal(reserve_plain(n * strides[i], 1), LOAM_OK);
        for (uint64_t n = 0; n < 8192; n++) {
            struct loam_vrange_record *record = vrange.window[0].root;
            while (record->first != (HIGH >> LOAM_PAGE_SHIFT) + n * strides[i])
                record = record->first > (HIGH >> LOAM_PAGE_SHIFT) + n * strides[i] ? record->left
                                                                                    : record->right;
            const unsigned depth = depth_of(record);
            deepest = depth > deepest ? depth : deepest;
        }
        assert_in_range(deepest, 13, 45);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(vrange_V09_agrees_with_an_array_of_24_pages),
        cmocka_unit_test(vrange_V09_agrees_with_an_array_of_4096_pages),
        cmocka_unit_test(tree_stays_shallow_whatever_the_order),
    };
    return RUN_TESTS(tests);
}
