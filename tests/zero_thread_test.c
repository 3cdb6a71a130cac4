/*
 * zero_thread_test.c - several CPUs that fill one pool, take from it and drain it. Built
 * with ThreadSanitizer too: a frame that two CPUs have is a data race in its bytes.
 */
#include "zero_world.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define BASE    UINT64_C(8192)
#define THREADS 4u
#define ROUNDS  4000u
#define SLOTS   32u

static atomic_uint wrong;
static atomic_uint takes; /* calls of loam_zero_take() */
static bool one_cpu_number;

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* ---- who has which page -------------------------------------------------- */

static _Atomic unsigned char owned[10 * BLOCK]; /* 1: somebody was given it */

static void own(uint64_t page, uint64_t count)
{
    for (uint64_t i = page - BASE; i < page - BASE + count; i++)
        wrong +=
            i >= COUNT(owned) || atomic_exchange_explicit(&owned[i], 1, memory_order_relaxed) != 0;
}

static void disown(uint64_t page, uint64_t count)
{
    for (uint64_t i = page - BASE; i < page - BASE + count; i++)
        wrong += atomic_exchange_explicit(&owned[i], 0, memory_order_relaxed) != 1;
}

/* ---- traffic ------------------------------------------------------------- */

/* A frame that waits for somebody to give it back: page * 2 + whether it is zero. */
static _Atomic uint64_t slot[SLOTS];

static uint64_t pick_up(uint64_t random)
{
    takes++;
    const uint64_t page = take_zeroed_any(random % 8 == 0 ? LOAM_ZONE_4G : LOAM_ZONE_ANY);
    if (page == NONE)
        return 0;
    own(page, 1);
    wrong += !are_all(page, 1, 0);
    if (random / 8 % 2 == 0)
        return page * 2 + 1;
    make_dirty(page, 1);
    return page * 2;
}

static void drop(uint64_t value)
{
    if (value == 0)
        return;
    disown(value / 2, 1);
    if (value % 2 == 1)
        loam_zero_put(&pool, loam_phys_at(BYTES(value / 2)));
    else
        give_any(value / 2, 0);
}

static void a_block(uint64_t random)
{
    const unsigned order = 1 + (unsigned)(random % 5);
    const loam_phys block = loam_zero_alloc(&pool, order, LOAM_ZONE_ANY);
    if (loam_phys_is_none(block))
        return;
    const uint64_t page = block.addr / LOAM_PAGE_SIZE;
    own(page, UINT64_C(1) << order);
    wrong += !are_all(page, UINT64_C(1) << order, 0);
    make_dirty(page, UINT64_C(1) << order);
    disown(page, UINT64_C(1) << order);
    loam_frame_free(&frame, block, order);
}

static void *use_pool(void *cpu)
{
    uint64_t seed = 88172645463325252u + (uintptr_t)cpu * 977;

    machine_set_cpu(one_cpu_number ? 0 : (unsigned)(uintptr_t)cpu);
    for (unsigned i = 0; i < ROUNDS; i++) {
        const uint64_t random = next_random(&seed);
        switch (random % 32) {
        case 0:
            a_block(random / 32);
            break;
        case 1:
            if (random / 32 % 4 == 0)
                (void)loam_zero_drain(&pool);
            break;
        case 2:
        case 3:
        case 4:
            wrong += loam_zero_refill(&pool, random / 32 % 20) > 20;
            break;
        case 5:
            wrong += loam_zero_level(&pool) > pool.capacity;
            wrong += pool_stats().level > pool.capacity;
            break;
        default:
            drop(atomic_exchange(&slot[random / 32 % SLOTS],
                                 random / 4096 % 8 == 0 ? 0 : pick_up(random / 65536)));
            break;
        }
    }
    return NULL;
}

static void run_threads(void *(*body)(void *))
{
    pthread_t thread[THREADS];
    wrong = 0;
    takes = 0;
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, body, (void *)i), 0);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
}

/* @param pages the fewer, the nearer memory is to its end */
static void traffic(uint64_t pages, uint64_t capacity)
{
    uint64_t out = 0;

    ZERO_WORLD(THREADS, capacity, pages / 8, { BASE, BASE + pages });
    for (size_t i = 0; i < COUNT(owned); i++)
        owned[i] = 0;
    run_threads(use_pool);
    expect_sound();
    expect_pool_sound();
    for (size_t i = 0; i < COUNT(owned); i++)
        out += owned[i];
    assert_int_equal(stats().free_count + loam_zero_level(&pool) + out, pages);
    for (unsigned i = 0; i < SLOTS; i++)
        drop(atomic_exchange(&slot[i], 0));
    assert_int_equal(wrong, 0);
    const struct loam_zero_stats all = pool_stats();
    assert_int_equal(all.hit_count + all.miss_count, takes);
    assert_true(all.hit_count > 0 && all.drained_count > 0);
    assert_int_equal(loam_zero_drain(&pool), all.level);
    expect_pool_sound();
    expect_all_free();
}

static void frames_cross_cpus(void **state)
{
    (void)state;
    traffic(4 * BLOCK, 40);
    traffic(4 * BLOCK, 3);
}

static void frames_cross_cpus_where_there_are_few(void **state)
{
    (void)state;
    traffic(24, 40);
    traffic(64, 300);
}

static void pool_F18_is_safe_with_a_stale_cpu_number(void **state)
{
    (void)state;
    one_cpu_number = true;
    traffic(4 * BLOCK, 40);
    one_cpu_number = false;
}

/* ---- one fills, others take ---------------------------------------------- */

static atomic_uint working;

static void *idle_or_work(void *cpu)
{
    machine_set_cpu((unsigned)(uintptr_t)cpu);
    if (cpu == NULL) {
        while (atomic_load(&working) != 0)
            if (loam_zero_refill(&pool, 8) == 0)
                sched_yield();
        return NULL;
    }
    for (unsigned i = 0; i < ROUNDS; i++) {
        takes++;
        const uint64_t page = take_zeroed_any(LOAM_ZONE_ANY);
        wrong += page == NONE || !are_all(page, 1, 0); /* memory is never short */
        if (page == NONE)
            continue;
        own(page, 1);
        make_dirty(page, 1);
        disown(page, 1);
        give_any(page, 0);
    }
    atomic_fetch_sub(&working, 1);
    return NULL;
}

static void idle_cpu_fills_for_the_others(void **state)
{
    (void)state;
    /* Blocks enough that each CPU may own two. */
    ZERO_WORLD(THREADS, 64, 0, { BASE, BASE + COUNT(owned) });
    for (size_t i = 0; i < COUNT(owned); i++)
        owned[i] = 0;
    working = THREADS - 1;
    run_threads(idle_or_work);
    assert_int_equal(wrong, 0);
    assert_int_equal(pool_stats().hit_count + pool_stats().miss_count, takes);
    expect_pool_sound();
    loam_zero_drain(&pool);
    expect_all_free();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_cross_cpus),
        cmocka_unit_test(frames_cross_cpus_where_there_are_few),
        cmocka_unit_test(pool_F18_is_safe_with_a_stale_cpu_number),
        cmocka_unit_test(idle_cpu_fills_for_the_others),
    };
    return RUN_TESTS(tests);
}
