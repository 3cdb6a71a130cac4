/*
 * frame_model_test.c - random traffic of all calls, from changing CPUs, against an
 * array with one byte per frame.
 *
 *     page    first                  end     first       end
 *           [ 0 | 1 | 1 | 0 | ... | 0 )    [ 1 | ... | 0 )    0: free, 1: in use
 */
#include "frame_world.h"

#define LAYOUT_RANGES 6u
#define BULK_MAX      200u

/* A range of RAM as the oracle knows it. */
struct model_range {
    uint64_t first, end;
    unsigned char *used; /* a byte per page */
};

static struct {
    struct model_range whole[LAYOUT_RANGES];     /* own what is used */
    struct model_range range[3 * LAYOUT_RANGES]; /* cut where zones end */
    size_t whole_count, count;
    uint64_t free_count;
    unsigned cpus;
} model;

static const uint64_t zone_end[LOAM_ZONES] = { UINT64_MAX, GIB(4), MIB(16) };

static unsigned zone_of(uint64_t page)
{
    return page >= GIB(4) ? LOAM_ZONE_ANY : page >= MIB(16) ? LOAM_ZONE_4G : LOAM_ZONE_16M;
}

/* ---- the model ----------------------------------------------------------- */

static void model_close(void)
{
    for (size_t i = 0; i < model.whole_count; i++)
        free(model.whole[i].used);
    memset(&model, 0, sizeof(model));
}

static void model_of(const struct pages *pages, size_t count, unsigned cpus)
{
    model_close();
    world_of(pages, count, cpus);
    model.cpus = cpus;
    for (size_t i = 0; i < count; i++) {
        struct model_range *const whole = &model.whole[model.whole_count++];
        whole->first = pages[i].first;
        whole->end = pages[i].end;
        whole->used = calloc(whole->end - whole->first, 1);
        assert_non_null(whole->used);
        for (uint64_t at = whole->first; at < whole->end;) {
            const uint64_t cut = zone_end[zone_of(at)];
            struct model_range *const range = &model.range[model.count++];
            range->first = at;
            range->end = whole->end < cut ? whole->end : cut;
            range->used = whole->used + (at - whole->first);
            at = range->end;
        }
    }
    model.free_count = ram_pages;
}

static struct model_range *model_range_of(uint64_t page)
{
    for (size_t i = 0; i < model.count; i++)
        if (page - model.range[i].first < model.range[i].end - model.range[i].first)
            return &model.range[i];
    return NULL;
}

static unsigned char *model_at(uint64_t page)
{
    struct model_range *const range = model_range_of(page);
    return range != NULL ? &range->used[page - range->first] : NULL;
}

/* Pages of [first, first + count) that are free; in use; no RAM. */
struct tally {
    uint64_t free_count, used_count, none_count;
};

static struct tally model_tally(uint64_t first, uint64_t count)
{
    struct tally tally = { 0 };
    for (uint64_t page = first; page < first + count; page++) {
        const unsigned char *const used = model_at(page);
        if (used == NULL)
            tally.none_count++;
        else if (*used != 0)
            tally.used_count++;
        else
            tally.free_count++;
    }
    return tally;
}

static void model_set(uint64_t first, uint64_t count, unsigned char to)
{
    for (uint64_t page = first; page < first + count; page++) {
        unsigned char *const used = model_at(page);
        assert_true(used != NULL && *used != to);
        *used = to;
        model.free_count = to != 0 ? model.free_count - 1 : model.free_count + 1;
    }
}

/* The highest free run inside a range that a request allows, or NONE. */
static uint64_t model_place_in(const struct model_range *range,
                               const struct loam_frame_request *request)
{
    const uint64_t align = request->align_bytes > BYTES(1) ? request->align_bytes / BYTES(1) : 1;
    const uint64_t boundary = request->boundary_bytes / BYTES(1);
    const uint64_t from = (request->from + BYTES(1) - 1) / BYTES(1);
    const uint64_t limit = request->limit != 0 ? request->limit / BYTES(1) : UINT64_MAX;
    const uint64_t low = range->first > from ? range->first : from;
    const uint64_t end = range->end < limit ? range->end : limit;
    const uint64_t count = request->page_count;

    if (end < low || end - low < count)
        return NONE;
    for (uint64_t start = (end - count) / align * align; start >= low;) {
        const unsigned char *const used = range->used + (start - range->first);
        const bool crosses = boundary != 0 && start / boundary != (start + count - 1) / boundary;
        const unsigned char *const last = crosses ? used : memrchr(used, 1, count);
        if (last == NULL)
            return start;
        /* The next one ends below the last page in use. */
        const uint64_t next = crosses ? start - 1 : start + (uint64_t)(last - used) - count;
        if (next > start) /* below 0 */
            return NONE;
        start = next / align * align;
    }
    return NONE;
}

/* Highest in any range, over the ends of zones too. */
static uint64_t model_place_of_range(const struct loam_frame_request *request)
{
    for (size_t i = model.whole_count; i-- > 0;) {
        const uint64_t page = model_place_in(&model.whole[i], request);
        if (page != NONE)
            return page;
    }
    return NONE;
}

/* Highest in any zone that is at or below this one. */
static uint64_t model_place(const struct loam_frame_request *request, unsigned zone)
{
    for (size_t i = model.count; i-- > 0;) {
        const uint64_t page =
            zone_of(model.range[i].first) < zone ? NONE : model_place_in(&model.range[i], request);
        if (page != NONE)
            return page;
    }
    return NONE;
}

static uint64_t model_free_between(const struct loam_frame_request *request)
{
    const uint64_t from = (request->from + BYTES(1) - 1) / BYTES(1);
    const uint64_t limit = request->limit != 0 ? request->limit / BYTES(1) : UINT64_MAX;
    uint64_t count = 0;

    for (size_t i = 0; i < model.count; i++)
        for (uint64_t page = model.range[i].first; page < model.range[i].end; page++)
            count += page >= from && page < limit && *model_at(page) == 0;
    return count;
}

static uint64_t model_zone_free(unsigned zone)
{
    uint64_t count = 0;
    for (size_t i = 0; i < model.count; i++)
        for (uint64_t at = 0; at < model.range[i].end - model.range[i].first; at++)
            count += zone_of(model.range[i].first) == zone && model.range[i].used[at] == 0;
    return count;
}

/* A random page in a state; NONE: not found by chance. */
static uint64_t model_pick(unsigned char state)
{
    for (unsigned tries = 0; tries < 200; tries++) {
        const struct model_range *const range = &model.range[test_random_below(model.count)];
        const uint64_t at = test_random_below(range->end - range->first);
        const unsigned char *const found =
            memchr(range->used + at, state, range->end - range->first - at);
        if (found != NULL)
            return range->first + (uint64_t)(found - range->used);
    }
    return NONE;
}

/* ---- comparing ----------------------------------------------------------- */

static void compare_zone(unsigned zone, bool is_drained)
{
    const struct loam_frame_stats now = zone_stats((enum loam_zone)zone);
    uint64_t frame_count = 0;
    uint64_t block_count = 0;
    uint64_t longest = 0;

    for (size_t i = 0; i < model.count; i++) {
        const struct model_range *const range = &model.range[i];
        uint64_t run = 0;
        if (zone_of(range->first) != zone)
            continue;
        frame_count += range->end - range->first;
        for (uint64_t page = (range->first + BLOCK - 1) / BLOCK * BLOCK; page + BLOCK <= range->end;
             page += BLOCK) {
            const bool is_free = memchr(range->used + (page - range->first), 1, BLOCK) == NULL;
            block_count += is_free;
            run = is_free ? run + BLOCK : 0;
            longest = run > longest ? run : longest;
        }
    }
    assert_int_equal(now.frame_count, frame_count);
    assert_int_equal(now.free_count, model_zone_free(zone));
    assert_true(now.block_count <= block_count);
    assert_true(now.largest_free <= longest);
    assert_true(now.lane_count <= now.free_count);
    if (is_drained) {
        assert_int_equal(now.lane_count, 0);
        assert_int_equal(now.block_count, block_count);
        assert_int_equal(now.largest_free, longest);
    }
}

static void compare(bool is_drained)
{
    expect_sound();
    if (is_drained)
        loam_frame_drain(&frame);
    expect_sound();
    for (unsigned zone = 0; zone < LOAM_ZONES; zone++)
        compare_zone(zone, is_drained);
}

/* ---- steps --------------------------------------------------------------- */

static unsigned random_order(void)
{
    static const unsigned bound[] = { 1, 1, 4, 8, 10, LOAM_ORDER_MAX + 1 };
    return (unsigned)test_random_below(bound[test_random_below(COUNT(bound))]);
}

static void step_alloc(void)
{
    const unsigned order = random_order();
    const unsigned zone = test_random_below(3) != 0 ? 0 : (unsigned)test_random_below(LOAM_ZONES);
    const struct loam_frame_request as_request = { UINT64_C(1) << order, loam_order_bytes(order), 0,
                                                   0, 0 };
    const uint64_t place = model_place(&as_request, zone);
    const uint64_t digest = loam_frame_digest(&frame);
    const bool is_drained = test_random_below(4) == 0;
    if (is_drained)
        loam_frame_drain(&frame);
    const uint64_t page = take_any(order, (enum loam_zone)zone);

    assert_int_equal(page == NONE, place == NONE);
    if (page == NONE) {
        assert_int_equal(loam_frame_digest(&frame), digest);
        return;
    }
    assert_true(zone_of(page) >= zone);
    if (is_drained) /* high memory first, when no lane has a block of it */
        assert_int_equal(zone_of(page), zone_of(place));
    model_set(page, UINT64_C(1) << order, 1);
}

/* A naturally aligned block around a frame in use: freed if all of it is, else refused. */
static void step_free(void)
{
    const uint64_t page = model_pick(1);
    if (page == NONE)
        return;
    const unsigned order = random_order();
    const uint64_t count = UINT64_C(1) << order;
    const uint64_t first = page & ~(count - 1);
    if (order > 11) /* the model is slow */
        return;
    const struct tally tally = model_tally(first, count);
    const uint64_t digest = loam_frame_digest(&frame);
    if (tally.used_count == count) {
        give_any(first, order);
        model_set(first, count, 0);
        return;
    }
    EXPECT_PANIC(tally.none_count != 0 ? NOT_A_FRAME : ALREADY, give_any(first, order));
    assert_true(panic_trap.seen.subject - BYTES(first) < BYTES(count));
    assert_int_equal(loam_frame_digest(&frame), digest);
}

static void step_bulk_alloc(void)
{
    loam_phys out[BULK_MAX + 1];
    const size_t count = test_random_below(BULK_MAX + 1);
    const unsigned zone = (unsigned)test_random_below(LOAM_ZONES);
    uint64_t available = 0;

    for (unsigned lower = zone; lower < LOAM_ZONES; lower++)
        available += model_zone_free(lower);
    memset(out, 0xee, sizeof(out));
    const size_t want = count < available ? count : (size_t)available;
    assert_int_equal(loam_frame_alloc_bulk(&frame, (enum loam_zone)zone, out, count), want);
    for (size_t i = 0; i < want; i++) {
        assert_true(zone_of(out[i].addr / BYTES(1)) >= zone);
        model_set(out[i].addr / BYTES(1), 1, 1); /* was free */
    }
    for (size_t i = want; i <= BULK_MAX; i++)
        assert_int_equal(out[i].addr, UINT64_C(0xeeeeeeeeeeeeeeee));
}

static void step_bulk_free(void)
{
    loam_phys out[BULK_MAX];
    const size_t want = test_random_below(BULK_MAX + 1);
    size_t count = 0;

    while (count < want) {
        const uint64_t page = model_pick(1);
        if (page == NONE)
            break;
        model_set(page, 1, 0);
        out[count++] = loam_phys_at(BYTES(page));
    }
    loam_frame_free_bulk(&frame, out, count);
}

static struct loam_frame_request random_request(void)
{
    struct loam_frame_request request = {
        .page_count = 1 + test_random_below(test_random_below(3) != 0 ? 90 : 3000)
    };
    const uint64_t near =
        model.range[test_random_below(model.count)].first + test_random_below(3000);
    if (test_random_below(3) == 0)
        request.align_bytes = UINT64_C(1) << test_random_below(26);
    if (test_random_below(4) == 0)
        request.from = BYTES(near) - test_random_below(2) * test_random_below(BYTES(1));
    if (test_random_below(4) == 0)
        request.limit = BYTES(near + test_random_below(5000)) + test_random_below(2) * 77;
    if (test_random_below(4) == 0) {
        request.boundary_bytes = BYTES(1) << test_random_below(13);
        while (request.boundary_bytes < BYTES(request.page_count))
            request.boundary_bytes *= 2;
    }
    return request;
}

static void step_range(void)
{
    const struct loam_frame_request request = random_request();
    const uint64_t place = model_place_of_range(&request);
    const uint64_t digest = loam_frame_digest(&frame);
    loam_phys at = loam_phys_at(77);
    const enum loam_status status = loam_frame_alloc_range(&frame, &request, &at);

    if (place != NONE) {
        assert_int_equal(status, LOAM_OK);
        assert_int_equal(at.addr, BYTES(place));
        model_set(place, request.page_count, 1);
        return;
    }
    assert_int_equal(status, model_free_between(&request) >= request.page_count ? LOAM_NO_SPACE
                                                                                : LOAM_NO_MEMORY);
    assert_int_equal(at.addr, 77);
    assert_int_equal(loam_frame_digest(&frame), digest);
}

static void step_reserve(void)
{
    const struct model_range *const range = &model.range[test_random_below(model.count)];
    const uint64_t around = range->first + test_random_below(range->end - range->first);
    const uint64_t first = around - test_random_below(around < 30 ? around + 1 : 30);
    const uint64_t count = 1 + test_random_below(test_random_below(3) != 0 ? 70 : 2000);
    const struct tally tally = model_tally(first, count);
    const uint64_t digest = loam_frame_digest(&frame);
    const enum loam_status status = loam_frame_reserve(&frame, range_of(first, first + count));

    if (tally.none_count != 0 && tally.used_count != 0)
        assert_true(status == LOAM_NOT_FOUND || status == LOAM_OVERLAP);
    else
        assert_int_equal(status, tally.none_count != 0   ? LOAM_NOT_FOUND
                                 : tally.used_count != 0 ? LOAM_OVERLAP
                                                         : LOAM_OK);
    if (status == LOAM_OK)
        model_set(first, count, 1);
    else
        assert_int_equal(loam_frame_digest(&frame), digest);
}

/* Frames in use from there on, as many as there are or fewer; or one too many. */
static void step_release(void)
{
    const uint64_t first = model_pick(1);
    if (first == NONE)
        return;
    const uint64_t most = 1 + test_random_below(test_random_below(3) != 0 ? 90 : 3000);
    uint64_t count = 1;
    while (count < most && model_at(first + count) != NULL && *model_at(first + count) != 0)
        count++;
    if (count < most && test_random_below(4) == 0) {
        const uint64_t digest = loam_frame_digest(&frame);
        EXPECT_PANIC(model_at(first + count) == NULL ? NOT_A_FRAME : ALREADY,
                     loam_frame_release(&frame, range_of(first, first + count + 1)));
        assert_int_equal(loam_frame_digest(&frame), digest);
    }
    loam_frame_release(&frame, range_of(first, first + count));
    model_set(first, count, 0);
}

/* @param fullness how much memory is in use in the long run: 0..1000 */
static void step(unsigned fullness)
{
    const bool is_full = (ram_pages - model.free_count) * 1000 > fullness * ram_pages;
    machine_set_cpu((unsigned)test_random_below(model.cpus));
    switch (test_random_below(16)) {
    case 0:
        is_full ? step_release() : step_range();
        break;
    case 1:
        is_full ? step_bulk_free() : step_bulk_alloc();
        break;
    case 2:
        is_full ? step_release() : step_reserve();
        break;
    case 3:
        step_range();
        break;
    case 4:
        step_release();
        break;
    case 5:
        step_alloc();
        break;
    default:
        is_full ? step_free() : step_alloc();
        break;
    }
}

static void free_everything(void)
{
    for (uint64_t page = model_pick(1); page != NONE; page = model_pick(1)) {
        give_any(page, 0);
        model_set(page, 1, 0);
    }
    for (size_t i = 0; i < model.count; i++) {
        for (uint64_t page = model.range[i].first; page < model.range[i].end; page++) {
            if (*model_at(page) != 0) {
                give_any(page, 0);
                model_set(page, 1, 0);
            }
        }
    }
}

static void run(const struct pages *pages, size_t count, unsigned cpus, unsigned steps)
{
    static const unsigned fullness[] = { 500, 900, 999, 100, 990 };

    model_of(pages, count, cpus);
    const uint64_t digest = loam_frame_digest(&frame);
    for (unsigned i = 0; i < steps; i++) {
        step(fullness[i / 400 % COUNT(fullness)]);
        if (i % 64 == 0)
            compare(i % 256 == 0);
    }
    compare(false);
    free_everything();
    expect_all_free();
    compare(true);
    assert_int_equal(loam_frame_digest(&frame), digest);
    model_close();
}

/* ---- layouts ------------------------------------------------------------- */

static void frame_agrees_with_a_model_of_every_page(void **state)
{
    static const struct pages layout[][LAYOUT_RANGES] = {
        { { 4096, 4096 + 8 * BLOCK } },
        { { 3, 160 }, { 256, 2000 } },
        { { 1, 4 } },
        { { 0, 900 }, { 910, 911 }, { 920, 1500 }, { 1530, 1540 }, { 3000, 3600 } },
        { { MIB(14), MIB(20) }, { GIB(4) - 700, GIB(4) + 800 } },
        { { 256, 600 }, { GIB(4) - 1000, GIB(4) - 100 }, { TIB(60) + 5, TIB(60) + 1234 } },
        { { 63, 65 }, { 127, 129 }, { 511, 513 }, { 1023, 1025 }, { 1536, 2048 }, { 2049, 2560 } },
    };
    (void)state;
    for (unsigned round = 0; round < 4; round++) {
        for (size_t i = 0; i < COUNT(layout); i++) {
            size_t count = 0;
            while (count < LAYOUT_RANGES && layout[i][count].end != 0)
                count++;
            run(layout[i], count, 1 + (unsigned)test_random_below(5), 2500);
        }
    }
}

/* Random layouts, many with ragged ends. */
static void frame_agrees_with_a_model_of_random_machines(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 60; round++) {
        struct pages pages[LAYOUT_RANGES];
        const size_t count = 1 + test_random_below(LAYOUT_RANGES);
        uint64_t at = test_random_below(2) == 0 ? test_random_below(4000) : GIB(4) - 3000;
        for (size_t i = 0; i < count; i++) {
            pages[i].first = at + 1 + test_random_below(i % 2 == 0 ? 5 : 700);
            pages[i].end = pages[i].first + 1 + test_random_below(i % 3 == 0 ? 1800 : 90);
            at = pages[i].end;
        }
        run(pages, count, 1 + (unsigned)test_random_below(4), 800);
    }
}

/* Large enough for orders up to 14. */
static void frame_agrees_with_a_model_of_a_larger_machine(void **state)
{
    static const struct pages pages[] = { { MIB(64) + 7, MIB(256) + 99 } };
    (void)state;
    run(pages, 1, 4, 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frame_agrees_with_a_model_of_every_page),
        cmocka_unit_test(frame_agrees_with_a_model_of_random_machines),
        cmocka_unit_test(frame_agrees_with_a_model_of_a_larger_machine),
    };
    return RUN_TESTS(tests);
}
