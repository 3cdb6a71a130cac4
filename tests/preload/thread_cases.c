/*
 * thread_cases.c - many threads; blocks that move between them; what ended threads
 * leave behind is bounded.
 */
#include "cases.h"

#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- at the same time ---------------------------------------------------- */

static void work_of_thread(unsigned number)
{
    work(number, 1500);
    work_quickly(number, 100000);
}

static void threads_allocate_at_the_same_time(void)
{
    in_threads(8, 0, work_of_thread);
}

static void little_work_of_thread(unsigned number)
{
    work(number, 40);
    work_quickly(number, 2000);
}

static void two_hundred_threads_allocate_at_the_same_time(void)
{
    in_threads(200, 0, little_work_of_thread);
}

/* 16 KiB is what POSIX lets a program ask for; it has room for the calls. */
static void call_each_function(unsigned number)
{
    for (size_t size = 1 + number; size < MIB(3); size = size * 3 + number) {
        void *aligned = NULL;
        char *block = malloc(size);
        CHECK(block != NULL);
        block = realloc(block, 2 * size);
        CHECK(block != NULL);
        block[2 * size - 1] = 1;
        CHECK_EQUAL(posix_memalign(&aligned, 4096, size), 0);
        free(calloc(2, size));
        free(block);
        free(aligned);
    }
    free(malloc(MIB(30)));
    malloc_trim(0);
}

static void threads_with_the_smallest_stack_allocate(void)
{
    const long least = sysconf(_SC_THREAD_STACK_MIN);

    in_threads(16, least > 16384 ? (size_t)least : 16384, call_each_function);
}

/* ---- blocks that move ---------------------------------------------------- */

#define SLOTS 512

static _Atomic(void *) slots[SLOTS];

/* Each takes out what another has put in, looks at it, and puts in one of its own. */
static void exchange(unsigned number)
{
    uint64_t seed = number;

    for (unsigned i = 0; i < 60000; i++) {
        size_t *block = NULL;
        const size_t size = (size_t)(next_random(&seed) % 800) + 2 * sizeof(size_t);
        if (next_random(&seed) % 3 != 0) {
            block = malloc(size);
            CHECK(block != NULL);
            block[0] = size;
            fill(block + 1, size - sizeof(size_t), size);
        }
        block = atomic_exchange(&slots[next_random(&seed) % SLOTS], block);
        if (block == NULL)
            continue;
        CHECK(is_filled(block + 1, block[0] - sizeof(size_t), block[0]));
        if (i % 16 == 0) {
            block = realloc(block, block[0] * 5);
            CHECK(block != NULL && is_filled(block + 1, block[0] - sizeof(size_t), block[0]));
        }
        free(block);
    }
}

static void blocks_are_freed_and_resized_in_other_threads(void)
{
    in_threads(6, 0, exchange);
    for (size_t i = 0; i < SLOTS; i++)
        free(slots[i]);
}

static atomic_size_t produced;
static atomic_size_t consumed;

/* Thread 0 only allocates, thread 1 only frees; SLOTS are under way at most. */
static void produce_or_consume(unsigned number)
{
    const size_t total = 3000000;

    for (size_t i = 0; i < total; i++) {
        if (number == 0) {
            while (i >= atomic_load(&consumed) + SLOTS)
                sched_yield();
            void *block = malloc(64 + i % 7 * 40);
            CHECK(block != NULL);
            *(volatile char *)block = 1;
            atomic_store_explicit(&slots[i % SLOTS], block, memory_order_relaxed);
            atomic_store(&produced, i + 1);
        } else {
            while (i >= atomic_load(&produced))
                sched_yield();
            free(atomic_load_explicit(&slots[i % SLOTS], memory_order_relaxed));
            atomic_store(&consumed, i + 1);
        }
    }
}

/* 550 MB go through; never more than 100 KB are live. */
static void memory_of_a_producer_and_a_consumer_is_bounded(void)
{
    const uint64_t before = resident_bytes();

    in_threads(2, 0, produce_or_consume);
    CHECK_AT_MOST(resident_bytes() - before, MIB(48));
}

/* ---- threads that end ---------------------------------------------------- */

static void fill_caches(unsigned number)
{
    void *blocks[200];

    for (unsigned round = 0; round < 5; round++) {
        for (size_t i = 0; i < COUNT(blocks); i++) {
            blocks[i] = malloc((i + number) % 60 * 16 + 8);
            CHECK(blocks[i] != NULL);
            memset(blocks[i], 1, 8);
        }
        for (size_t i = 0; i < COUNT(blocks); i++)
            free(blocks[i]);
    }
    free(malloc(KIB(200)));
}

static void a_thousand_threads_leave_no_memory_behind(void)
{
    in_threads(10, 0, fill_caches);
    const uint64_t before = resident_bytes();
    for (unsigned i = 0; i < 100; i++)
        in_threads(10, 0, fill_caches);
    CHECK_AT_MOST(resident_bytes(), before + MIB(16));
}

static void *left_behind[64][64];

static void leave_blocks(unsigned number)
{
    for (size_t i = 0; i < 64; i++) {
        left_behind[number][i] = malloc(i * 50 + 1);
        CHECK(left_behind[number][i] != NULL);
        fill(left_behind[number][i], i * 50 + 1, number);
    }
}

/* Their blocks outlive threads; others look at them, resize them and free them. */
static void blocks_outlive_their_thread(void)
{
    uint64_t bound = 0;

    for (unsigned round = 0; round < 20; round++) {
        in_threads(64, 0, leave_blocks);
        for (unsigned number = 0; number < 64; number++) {
            for (size_t i = 0; i < 64; i++) {
                CHECK(is_filled(left_behind[number][i], i * 50 + 1, number));
                void *block =
                    i % 8 == 0 ? realloc(left_behind[number][i], 4000) : left_behind[number][i];
                CHECK(block != NULL);
                free(block);
            }
        }
        if (round == 2)
            bound = resident_bytes() + MIB(32);
        CHECK_PROMISED(bound == 0 || resident_bytes() <= bound);
    }
}

static void take_32_mib_and_free(unsigned number)
{
    static void *blocks[8192];

    (void)number;
    for (size_t i = 0; i < COUNT(blocks); i++) {
        blocks[i] = malloc(KIB(4));
        CHECK(blocks[i] != NULL);
        memset(blocks[i], 1, KIB(4));
    }
    for (size_t i = 0; i < COUNT(blocks); i++)
        free(blocks[i]);
}

/* One after the other: each uses what the one before has freed. */
static void memory_of_ended_threads_is_used_again(void)
{
    const uint64_t before = resident_bytes();

    for (unsigned i = 0; i < 20; i++)
        in_threads(1, 0, take_32_mib_and_free);
    CHECK_AT_MOST(resident_bytes() - before, MIB(100));
}

/* ---- cancelled, detached, moved ------------------------------------------ */

static void *allocate_until_cancelled(void *argument)
{
    (void)argument;
    for (uint64_t seed = 1;; seed++) {
        work_quickly(seed, 20);
        pthread_testcancel();
    }
    return NULL;
}

/* malloc is no cancellation point: a thread ends between calls. */
static void cancelled_threads_leave_the_heap_sound(void)
{
    for (unsigned i = 0; i < 100; i++) {
        pthread_t thread;
        void *result = NULL;
        CHECK_EQUAL(pthread_create(&thread, NULL, allocate_until_cancelled, NULL), 0);
        work_quickly(i, 200);
        CHECK_EQUAL(pthread_cancel(thread), 0);
        CHECK_EQUAL(pthread_join(thread, &result), 0);
        CHECK(result == PTHREAD_CANCELED);
    }
    work(1, 1000);
}

static atomic_uint detached_done;

static void *allocate_detached(void *argument)
{
    (void)argument;
    work_quickly(1, 500);
    atomic_fetch_add(&detached_done, 1);
    return NULL;
}

static void detached_threads_allocate(void)
{
    pthread_attr_t attributes;

    CHECK_EQUAL(pthread_attr_init(&attributes), 0);
    CHECK_EQUAL(pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED), 0);
    for (unsigned i = 0; i < 300; i++) {
        pthread_t thread;
        CHECK_EQUAL(pthread_create(&thread, &attributes, allocate_detached, NULL), 0);
        work_quickly(i, 100);
    }
    while (atomic_load(&detached_done) < 300)
        usleep(1000);
    work(1, 1000);
}

static atomic_bool moving;

/* Thread 0 makes the others change their CPU all the time. */
static void move_or_work(unsigned number)
{
    static _Atomic(pid_t) thread_ids[8];
    cpu_set_t all;

    if (number != 0) {
        atomic_store(&thread_ids[number], gettid());
        work(number, 4000);
        work_quickly(number, 200000);
        atomic_store(&moving, false);
        return;
    }
    CHECK_EQUAL(sched_getaffinity(0, sizeof(all), &all), 0);
    for (unsigned i = 0; atomic_load(&moving); i++) {
        for (unsigned other = 1; other < 4; other++) {
            cpu_set_t one;
            unsigned cpu = (i + other) % CPU_SETSIZE;
            while (!CPU_ISSET(cpu, &all))
                cpu = (cpu + 1) % CPU_SETSIZE;
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            const pid_t id = atomic_load(&thread_ids[other]);
            if (id != 0)
                sched_setaffinity(id, sizeof(one), &one); /* may have ended */
        }
        usleep(50);
    }
}

static void threads_allocate_while_they_change_their_cpu(void)
{
    atomic_store(&moving, true);
    in_threads(4, 0, move_or_work);
}

const struct conformance_case thread_cases[] = {
    CASE(threads_allocate_at_the_same_time),
    CASE(two_hundred_threads_allocate_at_the_same_time),
    CASE(threads_with_the_smallest_stack_allocate),
    CASE(blocks_are_freed_and_resized_in_other_threads),
    LOAM_CASE(memory_of_a_producer_and_a_consumer_is_bounded),
    LOAM_CASE(a_thousand_threads_leave_no_memory_behind),
    CASE(blocks_outlive_their_thread),
    LOAM_CASE(memory_of_ended_threads_is_used_again),
    CASE(cancelled_threads_leave_the_heap_sound),
    CASE(detached_threads_allocate),
    CASE(threads_allocate_while_they_change_their_cpu),
    CASES_END,
};
