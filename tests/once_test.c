/*
 * once_test.c - one initialiser, whole objects for everybody else. Built with
 * ThreadSanitizer too: without finish's release or is_ready's acquire the plain
 * object below is a data race.
 */
#include "harness.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include <loam/once.h>

#define THREADS 4
#define ROUNDS  2000

struct cell {
    struct loam_once once;
    uint64_t object[4]; /* plain on purpose */
};
static struct cell cells[ROUNDS];
static _Atomic(unsigned) initialisers;
static _Atomic(unsigned) torn;

/* Every third cell is abandoned first, with half-written contents. */
static void *initialise_or_read(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct cell *cell = &cells[i];
        while (!loam_once_is_ready(&cell->once)) {
            if (!loam_once_begin(&cell->once)) {
                sched_yield();
                continue;
            }
            if (i % 3 == 0 && cell->object[0] == 0) {
                cell->object[0] = 1;
                loam_once_abandon(&cell->once);
                continue;
            }
            for (unsigned w = 0; w < 4; w++)
                cell->object[w] = i + 7;
            atomic_fetch_add(&initialisers, 1);
            loam_once_finish(&cell->once);
        }
        for (unsigned w = 0; w < 4; w++) {
            if (cell->object[w] != i + 7)
                atomic_fetch_add(&torn, 1);
        }
    }
    return NULL;
}

static void one_initialises_and_all_see_it_whole(void **state)
{
    pthread_t thread[THREADS];
    (void)state;
    memset(cells, 0, sizeof cells);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, initialise_or_read, NULL), 0);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    assert_int_equal(atomic_load(&initialisers), ROUNDS);
    assert_int_equal(atomic_load(&torn), 0);
}

/* Each who begins, adds one and gives the right back, sees what those before did:
 * begin acquires what abandon released. */
static struct cell handed_over;

static void *begin_add_abandon(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < ROUNDS; i++) {
        while (!loam_once_begin(&handed_over.once))
            sched_yield();
        handed_over.object[0]++;
        loam_once_abandon(&handed_over.once);
    }
    return NULL;
}

static void abandoned_work_is_seen_by_who_begins_next(void **state)
{
    pthread_t thread[THREADS];
    (void)state;
    memset(&handed_over, 0, sizeof handed_over);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, begin_add_abandon, NULL), 0);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    assert_int_equal(handed_over.object[0], THREADS * ROUNDS);
}

static void cell_goes_from_empty_over_busy_to_ready(void **state)
{
    struct loam_once once = { 0 };
    (void)state;
    assert_false(loam_once_is_ready(&once));
    assert_true(loam_once_begin(&once));
    assert_false(loam_once_begin(&once));
    assert_false(loam_once_is_ready(&once));
    loam_once_finish(&once);
    assert_true(loam_once_is_ready(&once));
    assert_false(loam_once_begin(&once));
}

static void abandoned_cell_can_be_begun_again(void **state)
{
    struct loam_once once = { 0 };
    (void)state;
    assert_true(loam_once_begin(&once));
    loam_once_abandon(&once);
    assert_false(loam_once_is_ready(&once));
    assert_true(loam_once_begin(&once));
}

static void ending_what_was_not_begun_panics(void **state)
{
    struct loam_once once = { 0 };
    (void)state;
    EXPECT_PANIC("once: finished without having begun", loam_once_finish(&once));
    EXPECT_PANIC("once: finished without having begun", loam_once_abandon(&once));
    assert_true(loam_once_begin(&once));
    loam_once_finish(&once);
    EXPECT_PANIC("once: finished without having begun", loam_once_finish(&once));
    EXPECT_PANIC("once: finished without having begun", loam_once_abandon(&once));
    assert_true(loam_once_is_ready(&once));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_initialises_and_all_see_it_whole),
        cmocka_unit_test(abandoned_work_is_seen_by_who_begins_next),
        cmocka_unit_test(cell_goes_from_empty_over_busy_to_ready),
        cmocka_unit_test(abandoned_cell_can_be_begun_again),
        cmocka_unit_test(ending_what_was_not_begun_panics),
    };
    return RUN_TESTS(tests);
}
