/*
 * runs_test.c - runs of free pages, against an array with a byte for each page.
 */
#include "harness.h"

#include <stdlib.h>
#include <string.h>

#include "preload/runs.c"

#define PAGES_MAX (UINT64_C(9) * RUNS_BLOCK * RUNS_FAN) /* three levels, the last node not full */

static struct runs runs;
static uint8_t *model;
static void *memory;

static void begin(uint64_t page_count)
{
    free(memory);
    free(model);
    memory = calloc(1, runs_bytes_needed(page_count));
    model = calloc(1, page_count);
    assert_non_null(memory);
    assert_non_null(model);
    runs_init(&runs, page_count, memory);
}

/* The lowest free run, as the header says it. */
static uint64_t model_find(uint64_t count)
{
    uint64_t run = 0;

    for (uint64_t page = 0; page < runs.page_count; page++) {
        run = model[page] != 0 ? 0 : run + 1;
        if (run == count)
            return page + 1 - count;
    }
    return RUNS_NONE;
}

static bool model_is(uint64_t page, uint64_t count, uint8_t what)
{
    for (uint64_t i = page; i < page + count; i++) {
        if (model[i] != what)
            return false;
    }
    return true;
}

/* What every node says, counted page by page. */
static void compare_nodes(void)
{
    for (unsigned level = 0; level < runs.levels; level++) {
        const uint64_t size = runs_node_pages(level);
        for (uint64_t i = 0; i < runs_nodes(&runs, level); i++) {
            struct runs_free want = { size, 0, 0, 0 };
            uint64_t run = 0;
            for (uint64_t page = i * size; page < (i + 1) * size; page++) {
                const bool is_free = page < runs.page_count && model[page] == 0;
                run = is_free ? run + 1 : 0;
                want.best = run > want.best ? run : want.best;
                want.head = run == page - i * size + 1 ? run : want.head;
            }
            want.tail = run;
            const struct runs_free have = runs_read(&runs, level, i);
            assert_int_equal(have.best, want.best);
            assert_int_equal(have.head, want.head);
            assert_int_equal(have.tail, want.tail);
        }
    }
}

static void the_lowest_run_that_fits_is_taken(void **state)
{
    (void)state;
    begin(2 * RUNS_BLOCK);
    assert_int_equal(runs_take(&runs, 10, 1), 0);
    assert_int_equal(runs_take(&runs, 20, 1), 10);
    assert_int_equal(runs_take(&runs, 30, 1), 30);
    assert_true(runs_free(&runs, 10, 20));
    assert_int_equal(runs_take(&runs, 21, 1), 60);
    assert_int_equal(runs_take(&runs, 19, 1), 10);
    assert_int_equal(runs_take(&runs, 1, 1), 29);
}

static void a_run_may_lie_across_blocks_and_nodes(void **state)
{
    (void)state;
    begin(PAGES_MAX);
    const uint64_t border = RUNS_BLOCK * RUNS_FAN;
    assert_true(runs_take_at(&runs, 0, border - 3));
    assert_int_equal(runs_take(&runs, 7, 1), border - 3);
    assert_int_equal(runs_take(&runs, 3 * border, 1), border + 4);
}

static void a_run_starts_where_it_is_wanted(void **state)
{
    (void)state;
    begin(4 * RUNS_BLOCK);
    assert_int_equal(runs_take(&runs, 3, 1), 0);
    assert_int_equal(runs_take(&runs, 16, 16), 16);
    assert_int_equal(runs_take(&runs, 5, 8), 8);
    assert_int_equal(runs_take(&runs, RUNS_BLOCK, RUNS_BLOCK), RUNS_BLOCK);
}

static void what_is_not_there_is_not_taken(void **state)
{
    (void)state;
    begin(RUNS_BLOCK);
    assert_int_equal(runs_take(&runs, 0, 1), RUNS_NONE);
    assert_int_equal(runs_take(&runs, RUNS_BLOCK + 1, 1), RUNS_NONE);
    assert_int_equal(runs_take(&runs, UINT64_MAX, 1), RUNS_NONE);
    assert_int_equal(runs_take(&runs, 1, UINT64_C(1) << 63), RUNS_NONE);
    assert_int_equal(runs_take(&runs, RUNS_BLOCK, 1), 0);
    assert_int_equal(runs_take(&runs, 1, 1), RUNS_NONE);
    assert_false(runs_take_at(&runs, 7, 1));
    assert_false(runs_take_at(&runs, RUNS_BLOCK, 1));
    assert_false(runs_take_at(&runs, 1, UINT64_MAX));
}

static void what_is_free_already_is_refused(void **state)
{
    (void)state;
    begin(RUNS_BLOCK);
    assert_int_equal(runs_take(&runs, 8, 1), 0);
    assert_false(runs_free(&runs, 0, 9));
    assert_false(runs_free(&runs, 8, 1));
    assert_false(runs_free(&runs, RUNS_BLOCK - 1, 2));
    assert_true(runs_free(&runs, 2, 3));
    assert_false(runs_free(&runs, 2, 1));
    assert_int_equal(runs_take(&runs, 3, 1), 2);
}

static void take_one(uint64_t random)
{
    const uint64_t size = random % 11 == 0 ? RUNS_BLOCK * (1 + random / 64 % 20) : 40;
    const uint64_t count = 1 + random / 4096 % size;
    const uint64_t want = model_find(count);

    assert_int_equal(runs_take(&runs, count, 1), want);
    if (want != RUNS_NONE)
        memset(model + want, 1, count);
}

static void take_aligned(uint64_t random)
{
    const uint64_t align = UINT64_C(1) << (random / 64 % 8);
    const uint64_t count = 1 + random / 4096 % 70;
    const uint64_t page = runs_take(&runs, count, align);

    if (page == RUNS_NONE) { /* only where no run is sure to have an aligned start */
        assert_int_equal(model_find(count + align - 1), RUNS_NONE);
        return;
    }
    assert_int_equal(page % align, 0);
    assert_true(model_is(page, count, 0));
    memset(model + page, 1, count);
}

static void change_exactly(uint64_t random, bool is_used)
{
    const uint64_t page = random / 64 % runs.page_count;
    const uint64_t most = runs.page_count - page < 900 ? runs.page_count - page : 900;
    const uint64_t count = 1 + random / 1048576 % most;
    const bool want = model_is(page, count, is_used ? 0 : 1);

    assert_int_equal(is_used ? runs_take_at(&runs, page, count) : runs_free(&runs, page, count),
                     want);
    if (want)
        memset(model + page, is_used, count);
}

/* Some of a run of pages in use, from where it begins. */
static void free_some(uint64_t random)
{
    uint64_t page = random / 64 % runs.page_count, end;

    while (page < runs.page_count && model[page] == 0)
        page++;
    for (end = page; end < runs.page_count && model[end] != 0 && end - page < random % 600; end++)
        ;
    if (end == page)
        return;
    assert_true(runs_free(&runs, page, end - page));
    memset(model + page, 0, end - page);
}

static void random_changes_are_those_of_an_array(void **state)
{
    static const uint64_t sizes[] = { RUNS_BLOCK, 3 * RUNS_BLOCK, 17 * RUNS_BLOCK, PAGES_MAX };

    (void)state;
    for (unsigned size = 0; size < sizeof sizes / sizeof sizes[0]; size++) {
        begin(sizes[size]);
        for (unsigned step = 0; step < 3000; step++) {
            const uint64_t random = test_random();
            switch (random >> 60) {
            case 0:
            case 1:
            case 2:
            case 3:
            case 4:
                take_one(random);
                break;
            case 5:
            case 6:
                take_aligned(random);
                break;
            case 7:
                change_exactly(random, true);
                break;
            case 8:
                change_exactly(random, false);
                break;
            default:
                free_some(random);
                break;
            }
            if (step % 500 == 0)
                compare_nodes();
        }
        compare_nodes();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_lowest_run_that_fits_is_taken),
        cmocka_unit_test(a_run_may_lie_across_blocks_and_nodes),
        cmocka_unit_test(a_run_starts_where_it_is_wanted),
        cmocka_unit_test(what_is_not_there_is_not_taken),
        cmocka_unit_test(what_is_free_already_is_refused),
        cmocka_unit_test(random_changes_are_those_of_an_array),
    };
    return RUN_TESTS(tests);
}
