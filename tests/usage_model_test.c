/*
 * usage_model_test.c - layer 3 against an independent definition: an array with
 * one element per cell of the address space, and against a sorted array of intervals.
 * Also two CPUs at once.
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
    check_thrifty();
}

/* Questions about random cells [from, to): what overlaps, and whose it is. */
static void ask_about_a_range(void)
{
    const uint64_t from = test_random_below(model.cells);
    uint64_t to = from + 1 + test_random_below(model.cells - from);
    to -= to - from == model.cells; /* 2^64 bytes cannot be asked for */
    const struct loam_phys_range range =
        bytes(from * model.cell_bytes, (to - from) * model.cell_bytes);
    struct loam_usage_totals want = { .interval_count = 0 };
    struct loam_usage_totals got;
    struct loam_interval interval;
    uint64_t count = 0;
    loam_phys at = range.start;

    for (uint64_t i = from; i < to; i++) {
        if (model.owner[i] == GAP)
            continue;
        want.bytes[model.owner[i]] += model.cell_bytes;
        want.interval_count += i == from || model.begins[i];
    }
    assert_int_equal(loam_usage_totals_in(&usage, range, &got), LOAM_OK);
    assert_memory_equal(&got, &want, sizeof(got));
    bool more = loam_usage_next_in(&usage, range, at, &interval);
    for (; more; count++) {
        assert_true(interval.range.start.addr <= range.start.addr + (range.size - 1));
        more =
            loam_interval_end(&interval, &at) && loam_usage_next_in(&usage, range, at, &interval);
    }
    assert_int_equal(count, want.interval_count);
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
        ask_about_a_range();
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
        ask_about_a_range();
        nodes_max = usage.node_frame_count > nodes_max ? usage.node_frame_count : nodes_max;
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

/* ---- against a sorted array ---------------------------------------------- */

/* Intervals of any size anywhere, as many as a tree of several levels has. */
#define LIST_MAX 12000u
static struct {
    size_t count;
    unsigned owners_from; /* 1: no interval is USABLE */
    struct {
        uint64_t first, last;
        enum loam_owner owner;
    } at[LIST_MAX];
} list;

static size_t list_find(uint64_t at)
{
    size_t i = 0;
    while (i < list.count && list.at[i].last < at)
        i++;
    return i;
}

static void list_insert(size_t i, uint64_t first, uint64_t last, enum loam_owner owner)
{
    assert_true(list.count < LIST_MAX);
    memmove(&list.at[i + 1], &list.at[i], (list.count - i) * sizeof(list.at[0]));
    list.at[i].first = first;
    list.at[i].last = last;
    list.at[i].owner = owner;
    list.count++;
}

static void list_remove(size_t i)
{
    list.count--;
    memmove(&list.at[i], &list.at[i + 1], (list.count - i) * sizeof(list.at[0]));
}

/* @return was there anything? */
static bool list_cut(uint64_t first, uint64_t last)
{
    size_t i = list_find(first);
    bool any = false;
    while (i < list.count && list.at[i].first <= last) {
        const uint64_t below = list.at[i].first;
        const uint64_t above = list.at[i].last;
        const enum loam_owner owner = list.at[i].owner;
        any = true;
        list_remove(i);
        if (below < first)
            list_insert(i++, below, first - 1, owner);
        if (above > last)
            list_insert(i++, last + 1, above, owner);
    }
    return any;
}

static void list_merge_at(uint64_t first)
{
    size_t i = list_find(first);
    if (i + 1 < list.count && list.at[i + 1].first == list.at[i].last + 1 &&
        list.at[i + 1].owner == list.at[i].owner) {
        list.at[i].last = list.at[i + 1].last;
        list_remove(i + 1);
    }
    if (i > 0 && list.at[i - 1].last + 1 == list.at[i].first &&
        list.at[i - 1].owner == list.at[i].owner) {
        list.at[i - 1].last = list.at[i].last;
        list_remove(i);
    }
}

static void compare_with_list(void)
{
    static struct loam_interval copy[LIST_MAX];
    uint64_t existing = 0;

    check_sound();
    check_thrifty();
    assert_int_equal(loam_usage_snapshot(&usage, loam_phys_at(0), copy, LIST_MAX, &existing),
                     list.count);
    assert_int_equal(existing, list.count);
    for (size_t i = 0; i < list.count; i++) {
        assert_int_equal(copy[i].range.start.addr, list.at[i].first);
        assert_int_equal(copy[i].range.start.addr + (copy[i].range.size - 1), list.at[i].last);
        assert_int_equal(copy[i].owner, list.at[i].owner);
    }
}

/* A range that is small mostly, anywhere or beside an interval. */
static void random_range(uint64_t size_bits, uint64_t *first, uint64_t *last)
{
    *first = test_random() >> test_random_below(8);
    if (list.count > 0 && test_random_below(2) == 0) {
        const size_t i = test_random_below(list.count);
        *first = test_random_below(2) == 0 ? list.at[i].last + 1 : list.at[i].first;
    }
    const uint64_t more = test_random() >> (63 - test_random_below(size_bits));
    *last = UINT64_MAX - *first < more ? UINT64_MAX : *first + more;
    if (*first == 0 && *last == UINT64_MAX)
        *last = 0;
}

static void random_list_step(uint64_t cut_share, uint64_t size_bits)
{
    uint64_t first;
    uint64_t last;
    random_range(size_bits, &first, &last);
    const struct loam_phys_range range = bytes(first, last - first + 1);
    const enum loam_owner owner = (enum loam_owner)(list.owners_from + test_random_below(3));
    const size_t i = list_find(first);
    const bool taken = i < list.count && list.at[i].first <= last;

    if (test_random_below(100) < cut_share) {
        assert_int_equal(loam_usage_cut(&usage, range), taken ? LOAM_OK : LOAM_NOT_FOUND);
        assert_int_equal(list_cut(first, last), taken);
    } else if (test_random_below(4) == 0) {
        assert_int_equal(loam_usage_overwrite(&usage, range, owner), LOAM_OK);
        (void)list_cut(first, last);
        list_insert(list_find(first), first, last, owner);
        list_merge_at(first);
    } else if (test_random_below(2) == 0) {
        assert_int_equal(loam_usage_insert(&usage, range, owner), taken ? LOAM_OVERLAP : LOAM_OK);
        if (!taken)
            list_insert(i, first, last, owner);
    } else {
        assert_int_equal(loam_usage_insert_merge(&usage, range, owner),
                         taken ? LOAM_OVERLAP : LOAM_OK);
        if (!taken) {
            list_insert(i, first, last, owner);
            list_merge_at(first);
        }
    }
}

/* Up to thousands of intervals and down again, with ever larger cuts. */
static void usage_U08_agrees_with_a_sorted_array(void **state)
{
    uint64_t height_max = 0;

    (void)state;
    list.count = 0;
    empty_map(2400);
    for (unsigned round = 0; round < 4; round++) {
        list.owners_from = round % 2;
        for (unsigned i = 0; i < 5000; i++) {
            random_list_step(10, 40);
            if (i % 50 == 0)
                compare_with_list();
        }
        height_max = usage.height > height_max ? usage.height : height_max;
        for (unsigned i = 0; i < 1500; i++) {
            random_list_step(80, 50 + 4 * round);
            if (i % 10 == 0)
                compare_with_list();
        }
    }
    assert_true(height_max >= 2);
    assert_int_equal(loam_usage_overwrite(&usage, bytes(1, UINT64_MAX), LOAM_OWNER_BAD), LOAM_OK);
    assert_true(usage.interval_count <= 2);
    check_sound();
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
        cmocka_unit_test(usage_U08_agrees_with_a_sorted_array),
        cmocka_unit_test(usage_U10_iteration_beside_another_CPU),
    };
    return RUN_TESTS(tests);
}
