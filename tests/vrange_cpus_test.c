/*
 * vrange_cpus_test.c - CPUs that keep small ranges, and one that looks without a lock, all
 * at once.
 */
#include "src/internal/vrange_cache.h"

#include "threads.h"
#include "vrange_world.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

static _Alignas(64) unsigned char memory[4 * sizeof(struct loam_vrange_cache)];

/* One window at HIGH, and caches for so many CPUs. */
static void cached_window(uint64_t frames, uint64_t pages, unsigned cpus)
{
    one_window(frames, pages);
    memset(memory, 0xa5, sizeof(memory));
    assert_int_equal(loam_vrange_use_caches(&vrange, cpus, memory, sizeof(memory)), LOAM_OK);
}

/* ---- CPUs ---------------------------------------------------------------- */

#define SHARED_PAGES 512u
#define LANDMARK     400u /* page of a range that stays */
#define ROUNDS       3000u

static atomic_uint owner_of[SHARED_PAGES]; /* CPU + 1, or 0 */
static atomic_bool has_ended;

/* Pages change hands only when nobody has them; a batch gives them up at its end. */
static void hand_over(struct loam_virt_range range, unsigned from, unsigned to)
{
    const uint64_t first = (range.start.addr - HIGH) / LOAM_PAGE_SIZE;
    for (uint64_t i = 0; i < range.size / LOAM_PAGE_SIZE; i++) {
        if (atomic_exchange(&owner_of[first + i], to) != from)
            abort();
    }
}

static void purge_shared(void)
{
    struct loam_vrange_batch batch;
    struct loam_vrange_info info;

    if (!loam_vrange_purge_begin(&vrange, &batch))
        return;
    while (loam_vrange_purge_next(&batch, &info))
        hand_over(info.range, UINT32_MAX, 0);
    loam_vrange_purge_end(&batch);
}

struct worker {
    unsigned cpu;
    uint64_t seed;
    bool wants_powers_of_two; /* as caches keep them, without guards */
    struct loam_virt_range held[16];
    unsigned held_count;
    uint64_t allocated;
};

static void worker_free(struct worker *worker)
{
    const uint64_t index = thread_roll(&worker->seed, worker->held_count);
    const struct loam_virt_range range = worker->held[index];

    worker->held[index] = worker->held[--worker->held_count];
    hand_over(range, worker->cpu + 1, UINT32_MAX);
    loam_vrange_free(&vrange, range);
    if (loam_vrange_is_purge_due(&vrange))
        purge_shared();
}

static void worker_alloc(struct worker *worker)
{
    struct loam_vrange_request request = { .page_count = 1u << thread_roll(&worker->seed, 5),
                                           .name = "shared" };

    if (!worker->wants_powers_of_two) {
        request.page_count = 1 + thread_roll(&worker->seed, 40);
        request.guard_before = thread_roll(&worker->seed, 2);
    }
    struct loam_virt_range range = { { 0 }, PAGES(request.page_count) };
    if (loam_vrange_alloc(&vrange, &request, &range.start) != LOAM_OK) {
        purge_shared();
        return;
    }
    hand_over(range, 0, worker->cpu + 1);
    worker->held[worker->held_count++] = range;
    worker->allocated++;
}

static void *worker_run(void *argument)
{
    struct worker *worker = argument;

    machine_set_cpu(worker->cpu);
    for (unsigned round = 0; round < ROUNDS; round++) {
        if (worker->held_count == 16 ||
            (worker->held_count > 0 && thread_roll(&worker->seed, 2) == 0))
            worker_free(worker);
        else
            worker_alloc(worker);
    }
    while (worker->held_count > 0)
        worker_free(worker);
    return NULL;
}

/* Both work, and have given everything back. */
static void run_workers(bool want_powers_of_two)
{
    struct worker worker[2] = { { .cpu = 0, .seed = 1 }, { .cpu = 1, .seed = 2 } };
    pthread_t thread[2];

    for (unsigned i = 0; i < SHARED_PAGES; i++)
        atomic_store(&owner_of[i], 0);
    for (unsigned i = 0; i < 2; i++) {
        worker[i].wants_powers_of_two = want_powers_of_two;
        thread_start(&thread[i], worker_run, &worker[i]);
    }
    for (unsigned i = 0; i < 2; i++)
        thread_join(thread[i]);
    purge_shared();
    check_sound();
    assert_true(worker[0].allocated > ROUNDS / 10 && worker[1].allocated > ROUNDS / 10);
}

/* No page is ever given to two, nor given out before its batch is flushed. */
static void two_cpus_never_have_the_same_page(void **state)
{
    (void)state;
    one_window(8, SHARED_PAGES);
    vrange.purge_pages = 100;
    run_workers(false);
    assert_int_equal(vrange.record_count, 0);
    assert_int_equal(stock.out_count, 0);
}

/* Whatever happens elsewhere, the landmark is where it is. */
static void *looker_run(void *argument)
{
    uint64_t *seen = argument;
    struct loam_vrange_info info;

    for (uint64_t page = 0; !atomic_load(&has_ended) || *seen == 0;
         page = (page + 7) % LANDMARK) { /* ends: when all is quiet it sees */
        const loam_virt at = loam_virt_at(HIGH + PAGES(page) + 1);
        const enum loam_vrange_place place = loam_vrange_peek(&vrange, at, &info);
        if (place != LOAM_VRANGE_CHANGING &&
            (place == LOAM_VRANGE_NOWHERE || at.addr - info.range.start.addr >= info.range.size))
            abort();
        const enum loam_vrange_place landmark =
            loam_vrange_peek(&vrange, loam_virt_at(HIGH + PAGES(LANDMARK)), &info);
        if (landmark == LOAM_VRANGE_CHANGING)
            continue;
        if (landmark != LOAM_VRANGE_IN_RANGE || strcmp(info.name, "landmark") != 0)
            abort();
        ++*seen;
    }
    return NULL;
}

static void cpus_with_caches_never_have_the_same_page(void **state)
{
    static const struct loam_vrange_request landmark = { .page_count = 3, .name = "landmark" };
    pthread_t looker;
    uint64_t seen = 0;

    (void)state;
    cached_window(8, LANDMARK + 10, 2);
    vrange.purge_pages = 60;
    atomic_store(&has_ended, false);
    assert_int_equal(loam_vrange_reserve(&vrange, &landmark, loam_virt_at(HIGH + PAGES(LANDMARK))),
                     LOAM_OK);
    assert_int_equal(reserve_plain(LANDMARK + 3, 7), LOAM_OK);
    thread_start(&looker, looker_run, &seen);
    run_workers(true);
    atomic_store(&has_ended, true);
    thread_join(looker);
    assert_true(seen > 0);
    loam_vrange_drain(&vrange);
    check_sound();
    assert_int_equal(vrange.record_count, 2);
}

/* Somebody was stopped in the middle of a change. */
static void peek_says_that_it_cannot_say(void **state)
{
    struct loam_vrange_info info = { .tag = 42 };

    (void)state;
    one_window(1, 8);
    vrange.version++;
    assert_int_equal(loam_vrange_peek(&vrange, loam_virt_at(HIGH), &info), LOAM_VRANGE_CHANGING);
    assert_int_equal(info.tag, 42);
    assert_int_equal(loam_vrange_peek(&vrange, loam_virt_at(HIGH - 1), &info), LOAM_VRANGE_NOWHERE);
    assert_int_equal(loam_vrange_peek(&vrange, loam_virt_at(HIGH + PAGES(8)), &info),
                     LOAM_VRANGE_NOWHERE);
    assert_int_equal(info.tag, 42);
    vrange.version++;
    assert_int_equal(loam_vrange_peek(&vrange, loam_virt_at(HIGH), &info), LOAM_VRANGE_IN_GAP);
    /* It takes no lock: nor minds one that is held. */
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&vrange.lock);
    assert_int_equal(loam_vrange_peek(&vrange, loam_virt_at(HIGH), &info), LOAM_VRANGE_IN_GAP);
    loam_ticketlock_release_irq(&vrange.lock, irq);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_cpus_never_have_the_same_page),
        cmocka_unit_test(cpus_with_caches_never_have_the_same_page),
        cmocka_unit_test(peek_says_that_it_cannot_say),
    };
    return RUN_TESTS(tests);
}
