/*
 * usage_model_test.c - layer 3 against an independent definition: an array with
 * one element per cell of the address space. Also nodes, every failure in turn,
 * and two CPUs at once.
 */
#include "usage_world.h"

#include <pthread.h>
#include <stdatomic.h>

/* ---- the model ----------------------------------------------------------- */

#define CELLS_MAX 4096u
#define GAP       (-1)

/* The whole address space in equal cells. */
static struct {
    uint64_t cells;
    uint64_t cell_bytes; /* 2^64 / cells */
    signed char owner[CELLS_MAX];
    bool begins[CELLS_MAX]; /* an interval starts with this cell */
} model;

static void model_reset(uint64_t cells)
{
    memset(&model, 0, sizeof(model));
    memset(model.owner, GAP, sizeof(model.owner));
    model.cells = cells;
    model.cell_bytes = UINT64_MAX / cells + 1;
}

static bool model_any(uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i < to; i++) {
        if (model.owner[i] != GAP)
            return true;
    }
    return false;
}

/* Cells [from, to) get an owner, or none; an interval begins at either edge. */
static void model_set(uint64_t from, uint64_t to, int owner)
{
    for (uint64_t i = from; i < to; i++) {
        model.owner[i] = (signed char)owner;
        model.begins[i] = false;
    }
    model.begins[from] = owner != GAP;
    if (to < model.cells)
        model.begins[to] = model.owner[to] != GAP;
}

/* Cells [from, to) have one owner: no border to equals at either edge. */
static void model_merge(uint64_t from, uint64_t to)
{
    if (from > 0 && model.owner[from - 1] == model.owner[from])
        model.begins[from] = false;
    if (to < model.cells && model.owner[to] == model.owner[to - 1])
        model.begins[to] = false;
}

/* The map is what the model says: intervals, gaps, totals. */
static void compare_with_model(void)
{
    uint64_t total[LOAM_OWNERS] = { 0 };
    uint64_t count = 0;
    loam_phys at = loam_phys_at(0);

    for (uint64_t i = 0; i < model.cells; i++) {
        if (model.owner[i] == GAP)
            continue;
        total[model.owner[i]] += model.cell_bytes;
        if (!model.begins[i])
            continue;
        uint64_t end = i + 1;
        while (end < model.cells && model.owner[end] != GAP && !model.begins[end])
            end++;
        struct loam_interval got;
        assert_true(loam_usage_next(&usage, at, &got));
        assert_int_equal(got.range.start.addr, i * model.cell_bytes);
        assert_int_equal(got.range.size, (end - i) * model.cell_bytes);
        assert_int_equal(got.owner, model.owner[i]);
        if (!loam_interval_end(&got, &at))
            assert_int_equal(end, model.cells);
        count++;
    }
    assert_int_equal(usage.interval_count, count);
    for (unsigned owner = 0; owner < LOAM_OWNERS; owner++)
        assert_int_equal(loam_usage_total(&usage, (enum loam_owner)owner), total[owner]);
    check_sound();
}

/* A random call on map and model; the status must agree. */
static void random_step(uint64_t size_max)
{
    const uint64_t from = test_random_below(model.cells);
    const uint64_t rest = model.cells - from;
    uint64_t size = 1 + test_random_below(test_random_below(8) == 0 ? size_max : 3);
    size = size < rest ? size : rest;
    if (size == model.cells) /* 2^64 bytes cannot be asked for */
        size--;
    const uint64_t to = from + size;
    const struct loam_phys_range range = bytes(from * model.cell_bytes, size * model.cell_bytes);
    const int owner = (int)test_random_below(3);
    const enum loam_status if_taken = model_any(from, to) ? LOAM_OVERLAP : LOAM_OK;

    switch (test_random_below(6)) {
    case 0:
    case 1:
        assert_int_equal(loam_usage_insert(&usage, range, (enum loam_owner)owner), if_taken);
        if (if_taken == LOAM_OK)
            model_set(from, to, owner);
        break;
    case 2:
    case 3:
        assert_int_equal(loam_usage_insert_merge(&usage, range, (enum loam_owner)owner), if_taken);
        if (if_taken == LOAM_OK) {
            model_set(from, to, owner);
            model_merge(from, to);
        }
        break;
    case 4:
        assert_int_equal(loam_usage_overwrite(&usage, range, (enum loam_owner)owner), LOAM_OK);
        model_set(from, to, owner);
        model_merge(from, to);
        break;
    default:
        assert_int_equal(loam_usage_cut(&usage, range),
                         if_taken == LOAM_OVERLAP ? LOAM_OK : LOAM_NOT_FOUND);
        model_set(from, to, GAP);
        break;
    }
}

/* 16 cells, so that every edge and the whole address space come up often. */
static void usage_U08_agrees_with_an_array_of_16_cells(void **state)
{
    (void)state;
    empty_map(4);
    model_reset(16);
    for (int round = 0; round < 20000; round++) {
        random_step(16);
        compare_with_model();
    }
}

/* 4096 cells: many nodes, which split, merge and vanish. */
static void usage_U08_agrees_with_an_array_of_4096_cells(void **state)
{
    uint64_t nodes_max = 0;

    (void)state;
    empty_map(64);
    model_reset(4096);
    for (int round = 0; round < 6000; round++) {
        random_step(round % 1500 == 1499 ? 4096 : 8);
        compare_with_model();
        nodes_max = usage.node_count > nodes_max ? usage.node_count : nodes_max;
    }
    assert_true(nodes_max >= 5);
}

/* Lookup at the first and last byte of every cell. */
static void usage_U07_lookup_agrees_with_the_array(void **state)
{
    (void)state;
    empty_map(16);
    model_reset(1024);
    for (int round = 0; round < 1000; round++)
        random_step(16);
    for (uint64_t i = 0; i < 2 * model.cells; i++) {
        struct loam_interval got;
        const uint64_t cell = i / 2;
        const uint64_t at = cell * model.cell_bytes + (i % 2) * (model.cell_bytes - 1);
        assert_int_equal(loam_usage_lookup(&usage, loam_phys_at(at), &got),
                         model.owner[cell] != GAP);
        if (model.owner[cell] != GAP) {
            assert_int_equal(got.owner, model.owner[cell]);
            assert_true(got.range.start.addr <= at);
            assert_true(at - got.range.start.addr <= got.range.size - 1);
        }
    }
}

/* ---- find ---------------------------------------------------------------- */

/* Start of the first place, by trying every byte. */
static uint64_t find_by_trying(uint64_t base, const struct loam_usage_request *request)
{
    for (uint64_t i = 0; i < 256; i++) {
        const uint64_t at = base + i;
        struct loam_interval got;
        if (at < request->from || (request->align_bytes != 0 && at % request->align_bytes != 0) ||
            !loam_usage_lookup(&usage, loam_phys_at(at), &got) || got.owner != request->owner)
            continue;
        const uint64_t last = got.range.start.addr + (got.range.size - 1);
        if (request->size - 1 <= last - at &&
            (request->limit == 0 || at + (request->size - 1) < request->limit))
            return at;
    }
    return UINT64_MAX;
}

/* Intervals of a few bytes at either end of the address space; any request. */
static void usage_find_is_the_first_fit(void **state)
{
    static const uint64_t bases[] = { 0, UINT64_MAX - 255 };

    (void)state;
    for (int round = 0; round < 60; round++) {
        const uint64_t base = bases[round % 2];
        empty_map(8);
        for (int i = 0; i < 30; i++) {
            const uint64_t start = test_random_below(256);
            const uint64_t room = 256 - start;
            const uint64_t size = 1 + test_random_below(room < 24 ? room : 24);
            assert_int_equal(loam_usage_overwrite(&usage, bytes(base + start, size),
                                                  (enum loam_owner)test_random_below(3)),
                             LOAM_OK);
        }
        for (int i = 0; i < 100; i++) {
            const struct loam_usage_request request = {
                .owner = (enum loam_owner)test_random_below(3),
                .size = 1 + test_random_below(20),
                .align_bytes = i % 5 == 0 ? 0 : UINT64_C(1) << test_random_below(6),
                .from = i % 2 == 0 ? 0 : base + test_random_below(256),
                .limit = i % 3 == 0 ? 0 : base + test_random_below(256),
            };
            assert_int_equal(loam_usage_find(&usage, &request).addr,
                             find_by_trying(base, &request));
        }
    }
}

/* One interval of 2^64 - 4096 bytes from 4096 on, and requests at every edge. */
static void usage_find_at_every_edge(void **state)
{
    static const uint64_t edges[] = {
        0,
        1,
        4095,
        4096,
        4097,
        8191,
        8192,
        (UINT64_C(1) << 63) - 1,
        UINT64_C(1) << 63,
        UINT64_MAX - 4096,
        UINT64_MAX - 4095,
        UINT64_MAX - 1,
        UINT64_MAX,
    };
    __extension__ typedef unsigned __int128 wide;
    const size_t n = sizeof(edges) / sizeof(edges[0]);

    (void)state;
    empty_map(4);
    assert_int_equal(loam_usage_insert(&usage, bytes(4096, UINT64_MAX - 4095), LOAM_OWNER_USABLE),
                     LOAM_OK);
    for (size_t i = 0; i < n * n * n * n; i++) {
        struct loam_usage_request request = {
            .owner = LOAM_OWNER_USABLE,
            .size = edges[i % n],
            .align_bytes = edges[i / n % n],
            .from = edges[i / n / n % n],
            .limit = edges[i / n / n / n],
        };
        const wide end = request.limit == 0 ? (wide)1 << 64 : request.limit;
        const uint64_t align_bytes = request.align_bytes == 0 ? 1 : request.align_bytes;
        uint64_t want = UINT64_MAX;
        if (request.size != 0 && (align_bytes & (align_bytes - 1)) == 0) {
            const wide from = request.from > 4096 ? request.from : 4096;
            const wide start = (from + align_bytes - 1) / align_bytes * align_bytes;
            want = start + request.size <= end ? (uint64_t)start : UINT64_MAX;
        }
        assert_int_equal(loam_usage_find(&usage, &request).addr, want);
        request.owner = LOAM_OWNER_HEAP;
        assert_true(loam_phys_is_none(loam_usage_find(&usage, &request)));
    }
}

/* ---- nodes --------------------------------------------------------------- */

/* The stock has one frame: as soon as a second node is needed each call that
 * needs it is refused, and those that do not are not. */
static void usage_U05_no_node_no_change(void **state)
{
    (void)state;
    empty_map(1);
    fill(170);
    EXPECT_REFUSED(loam_usage_insert(&usage, pages(1, 1), LOAM_OWNER_BAD), LOAM_NO_MEMORY);
    EXPECT_REFUSED(loam_usage_insert(&usage, pages(1000, 1), LOAM_OWNER_BAD), LOAM_NO_MEMORY);
    EXPECT_REFUSED(loam_usage_cut(&usage, bytes(PAGES(2) + 1, 1)), LOAM_NO_MEMORY);
    EXPECT_REFUSED(loam_usage_overwrite(&usage, bytes(PAGES(2) + 1, 1), LOAM_OWNER_BAD),
                   LOAM_NO_MEMORY);
    EXPECT_REFUSED(loam_usage_overwrite(&usage, bytes(PAGES(338), 1), LOAM_OWNER_BAD),
                   LOAM_NO_MEMORY);
    EXPECT_REFUSED(loam_usage_overwrite(&usage, bytes(PAGES(336) + 1, PAGES(2)), LOAM_OWNER_BAD),
                   LOAM_NO_MEMORY);

    assert_int_equal(loam_usage_insert_merge(&usage, pages(1, 1), LOAM_OWNER_KERNEL), LOAM_OK);
    assert_int_equal(loam_usage_overwrite(&usage, pages(100, 1), LOAM_OWNER_BAD), LOAM_OK);
    assert_int_equal(loam_usage_cut(&usage, bytes(PAGES(4), 1)), LOAM_OK);
    check_sound();

    machine_add_ram(PAGES(100), PAGES(1));
    loam_stock_add(&stock, pages(100, 1));
    assert_int_equal(loam_usage_insert(&usage, pages(1000, 1), LOAM_OWNER_BAD), LOAM_OK);
    assert_int_equal(usage.node_count, 2);
    check_sound();
}

/* U06: nodes come from the stock alone, so the map never calls the allocator it
 * describes; an empty stock is a refusal. */
static void usage_U06_empty_stock_is_refused(void **state)
{
    loam_phys list;

    (void)state;
    empty_map(1);
    assert_int_equal(loam_stock_take(&stock, 1, &list), LOAM_OK);
    const uint64_t digest = loam_usage_digest(&usage);
    assert_int_equal(loam_usage_insert(&usage, pages(1, 1), LOAM_OWNER_BAD), LOAM_NO_MEMORY);
    assert_int_equal(loam_usage_overwrite(&usage, pages(1, 1), LOAM_OWNER_BAD), LOAM_NO_MEMORY);
    assert_int_equal(loam_usage_digest(&usage), digest);
    assert_int_equal(usage.node_count, 0);
    assert_null(loam_usage_audit(&usage));
}

/* Thousands of intervals in ascending, descending and scattered order, then all
 * cut in another: nodes split and merge, and every one comes back. */
static void usage_thousands_of_intervals_leak_no_node(void **state)
{
    const uint64_t count = 5003; /* prime: any stride visits all */
    static const uint64_t stride[][2] = {
        { 1, 1 }, { 5002, 1 }, { 1, 5002 }, { 1234, 7 }, { 77, 2500 }
    };

    (void)state;
    for (size_t order = 0; order < sizeof(stride) / sizeof(stride[0]); order++) {
        empty_map(100);
        for (uint64_t i = 0; i < count; i++) {
            const uint64_t at = i * stride[order][0] % count;
            assert_int_equal(loam_usage_insert(&usage, pages(2 * at, 1), LOAM_OWNER_USABLE),
                             LOAM_OK);
            if (i % 64 == 0)
                check_sound();
        }
        assert_true(usage.node_count >= count / 170);
        for (uint64_t i = 0; i < count; i++) {
            const uint64_t at = i * stride[order][1] % count;
            assert_int_equal(loam_usage_cut(&usage, pages(2 * at, 1)), LOAM_OK);
            if (i % 64 == 0)
                check_sound();
        }
        assert_int_equal(usage.node_count, 0);
        assert_int_equal(stock.out_count, 0);
    }
}

/* From every place in a map of three nodes to every other of some: one overwrite
 * and one cut over whole nodes. */
static void usage_changes_across_nodes(void **state)
{
    (void)state;
    for (uint64_t from = 0; from < 400; from += 13) {
        for (uint64_t to = from + 1; to < 400; to += 31) {
            empty_map(8);
            fill(400);
            const struct loam_phys_range range = bytes(PAGES(2 * from) + 1, PAGES(2 * (to - from)));
            assert_int_equal(loam_usage_overwrite(&usage, range, LOAM_OWNER_BAD), LOAM_OK);
            assert_int_equal(usage.interval_count, 400 - (to - from - 1) + 1);
            assert_int_equal(loam_usage_total(&usage, LOAM_OWNER_BAD), range.size);
            check_sound();
            assert_int_equal(loam_usage_cut(&usage, range), LOAM_OK);
            assert_int_equal(loam_usage_total(&usage, LOAM_OWNER_BAD), 0);
            check_sound();
        }
    }
}

/*
 * The most neighbours that one change can touch: the overwrite splits b, and
 * leaves of c just as much as fits into d.
 *
 *   a 85 --> b 169 --> c 169 --> d 85         [ range )
 *                 ^^^^^^^^^                    from b's last interval into c
 *   a 85 --> 84 --> 87 --> 43 + 85
 */
static void usage_change_may_split_and_merge(void **state)
{
    (void)state;
    empty_map(8);
    fill(400); /* 85 85 85 145 */
    for (uint64_t i = 85; i < 254; i++) {
        if (i != 169)
            assert_int_equal(loam_usage_insert(&usage, pages(2 * i + 1, 1), LOAM_OWNER_HEAP),
                             LOAM_OK);
    }
    assert_int_equal(loam_usage_cut(&usage, pages(680, 1000)), LOAM_OK);
    assert_int_equal(usage.interval_count, 85 + 169 + 169 + 85);
    assert_int_equal(usage.node_count, 4);
    assert_int_equal(
        loam_usage_overwrite(&usage, bytes(PAGES(338) + 1, PAGES(465 - 338)), LOAM_OWNER_BAD),
        LOAM_OK);
    assert_int_equal(usage.interval_count, 85 + 84 + 87 + 43 + 85);
    assert_int_equal(usage.node_count, 4);
    check_sound();
}

/* ---- every failure in turn ----------------------------------------------- */

/* The changing calls on a map of full nodes, where each needs a node. */
static enum loam_status change(unsigned which)
{
    switch (which) {
    case 0:
        return loam_usage_insert(&usage, pages(101, 1), LOAM_OWNER_BAD);
    case 1:
        return loam_usage_insert_merge(&usage, pages(101, 1), LOAM_OWNER_BAD);
    case 2:
        return loam_usage_overwrite(&usage, bytes(PAGES(100) + 1, 2), LOAM_OWNER_BAD);
    default:
        return loam_usage_cut(&usage, bytes(PAGES(100) + 1, 2));
    }
}

static void usage_U05_each_failure_changes_nothing(void **state)
{
    (void)state;
    for (unsigned which = 0; which < 4; which++) {
        unsigned refused = 0;
        INJECT_EACH_POINT
        {
            empty_map(4);
            fill(170);
            const uint64_t digest = loam_usage_digest(&usage);
            const uint64_t stock_digest = loam_stock_digest(&stock);
            INJECT_ARM();
            const enum loam_status status = change(which);
            INJECT_DISARM();
            check_sound();
            assert_int_equal(status, inject_fired() ? LOAM_NO_MEMORY : LOAM_OK);
            assert_int_equal(loam_usage_digest(&usage) == digest, inject_fired());
            assert_int_equal(loam_stock_digest(&stock) == stock_digest, inject_fired());
            if (inject_fired()) {
                assert_int_equal(change(which), LOAM_OK);
                refused++;
            }
        }
        assert_true(refused >= 2); /* once, and from there on */
    }
}

/* ---- several CPUs -------------------------------------------------------- */

static _Atomic bool writer_stops;

/* CPU 1 makes and removes intervals between the stable ones, as fast as it can. */
static void *writer_thread(void *unused)
{
    uint64_t i = 0;

    (void)unused;
    machine_set_cpu(1);
    while (!atomic_load(&writer_stops)) {
        const struct loam_phys_range range = pages(10 * (i * 37 % 500) + 2, 4);
        if (loam_usage_insert(&usage, range, LOAM_OWNER_BAD) == LOAM_OVERLAP &&
            loam_usage_cut(&usage, range) != LOAM_OK)
            return &usage;
        i++;
    }
    return NULL;
}

/* CPU 0 iterates meanwhile: every stable interval once, in order; never for ever. */
static void usage_U10_iteration_beside_another_CPU(void **state)
{
    pthread_t writer;
    void *failed;

    (void)state;
    empty_map(32);
    for (uint64_t i = 0; i < 500; i++)
        assert_int_equal(loam_usage_insert(&usage, pages(10 * i, 1), LOAM_OWNER_HEAP), LOAM_OK);
    atomic_store(&writer_stops, false);
    assert_int_equal(pthread_create(&writer, NULL, writer_thread, NULL), 0);
    for (int round = 0; round < 20; round++) {
        struct loam_interval got;
        loam_phys at = loam_phys_at(0);
        uint64_t stable = 0;
        while (loam_usage_next(&usage, at, &got)) {
            if (got.owner == LOAM_OWNER_HEAP) {
                assert_int_equal(got.range.start.addr, PAGES(10 * stable));
                stable++;
            }
            if (!loam_interval_end(&got, &at))
                break;
        }
        assert_int_equal(stable, 500);
    }
    atomic_store(&writer_stops, true);
    assert_int_equal(pthread_join(writer, &failed), 0);
    assert_null(failed);
    check_sound();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usage_U08_agrees_with_an_array_of_16_cells),
        cmocka_unit_test(usage_U08_agrees_with_an_array_of_4096_cells),
        cmocka_unit_test(usage_U07_lookup_agrees_with_the_array),
        cmocka_unit_test(usage_find_is_the_first_fit),
        cmocka_unit_test(usage_find_at_every_edge),
        cmocka_unit_test(usage_changes_across_nodes),
        cmocka_unit_test(usage_change_may_split_and_merge),
        cmocka_unit_test(usage_thousands_of_intervals_leak_no_node),
        cmocka_unit_test(usage_U06_empty_stock_is_refused),
        cmocka_unit_test(usage_U05_no_node_no_change),
        cmocka_unit_test(usage_U05_each_failure_changes_nothing),
        cmocka_unit_test(usage_U10_iteration_beside_another_CPU),
    };
    return RUN_TESTS(tests);
}
