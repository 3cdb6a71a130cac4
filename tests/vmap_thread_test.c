/*
 * vmap_thread_test.c - CPUs that allocate, use and free at the same time, while one looks.
 */
#include "vmap_world.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "threads.h"

#define ROUNDS 400u
#define HELD   8u

static atomic_bool has_ended;

struct worker {
    unsigned cpu;
    uint64_t seed, done;
    loam_virt held[HELD];
    uint64_t pages[HELD];
};

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* The frame behind a page belongs to one range: it says so itself. */
static _Atomic(uint64_t) *word_of(uint64_t at)
{
    struct loam_translation seen;

    require(loam_space_query(&mm.space, loam_virt_at(at), &seen) == LOAM_OK);
    return loam_hhdm_pointer(mm.tables.hhdm, seen.phys);
}

static void mark(loam_virt at, uint64_t pages, uint64_t from, uint64_t to)
{
    for (uint64_t page = 0; page < pages; page++)
        require(atomic_exchange(word_of(at.addr + PAGES(page)), to) == from);
}

static void *worker_run(void *argument)
{
    struct worker *worker = argument;

    machine_set_cpu(worker->cpu);
    for (unsigned round = 0; round < ROUNDS; round++) {
        const uint64_t place = thread_roll(&worker->seed, HELD);
        loam_virt *held = &worker->held[place];
        uint64_t *pages = &worker->pages[place];
        if (held->addr != 0) {
            mark(*held, *pages, held->addr | worker->cpu, 0);
            loam_vmap_free(&mm, *held);
            held->addr = 0;
            continue;
        }
        struct loam_vmap_request request = memory_of(PAGES(1 + thread_roll(&worker->seed, 6)));
        request.is_zeroed = true;
        require(loam_vmap_alloc(&mm, &request, held) == LOAM_OK);
        *pages = request.size_bytes / LOAM_PAGE_SIZE;
        mark(*held, *pages, 0, held->addr | worker->cpu);
        worker->done++;
    }
    for (unsigned i = 0; i < HELD; i++)
        if (worker->held[i].addr != 0)
            loam_vmap_free(&mm, worker->held[i]);
    return NULL;
}

/* Looks never wait, and say nothing wrong of what stays. */
static void *looker_run(void *argument)
{
    const struct loam_virt_range *stack = argument;
    struct loam_vmap_place place;

    while (!atomic_load(&has_ended)) {
        loam_vmap_find(&mm, loam_virt_at(stack->start.addr - 8), &place);
        require(place.place == LOAM_VRANGE_CHANGING ||
                (place.place == LOAM_VRANGE_IN_GUARD_BEFORE && place.kind == LOAM_VMAP_STACK));
    }
    return NULL;
}

static void cpus_share_addresses_and_frames(void **state)
{
    struct worker worker[2] = { { .cpu = 0, .seed = 1 }, { .cpu = 1, .seed = 2 } };
    pthread_t thread[3];
    struct loam_virt_range stack;

    (void)state;
    vmap_machine(3);
    mm.vmap.ranges.purge_pages = 40;
    const uint64_t kernel = total(LOAM_OWNER_KERNEL);
    assert_int_equal(loam_vmap_stack(&mm, PAGES(2), "landmark", &stack), LOAM_OK);
    atomic_store(&has_ended, false);
    thread_start(&thread[2], looker_run, &stack);
    for (unsigned i = 0; i < 2; i++)
        thread_start(&thread[i], worker_run, &worker[i]);
    for (unsigned i = 0; i < 2; i++)
        thread_join(thread[i]);
    atomic_store(&has_ended, true);
    thread_join(thread[2]);
    assert_true(worker[0].done > ROUNDS / 4 && worker[1].done > ROUNDS / 4);
    loam_vmap_stack_free(&mm, stack.start);
    (void)loam_vmap_purge(&mm);
    assert_int_equal(total(LOAM_OWNER_KERNEL), kernel);
    check_sound();
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(cpus_share_addresses_and_frames),
    };
    return RUN_TESTS(tests);
}
