/*
 * frame_thread_test.c - several CPUs in one allocator. Built with ThreadSanitizer too.
 */
#include "src/internal/frame_lane.h"

#include "frame_world.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define THREADS    4u
#define ROUNDS     20000u
#define SLOTS      64u
#define BULK       150u
#define PAGES_MAX  (16u * 512u)
#define WORLD_BASE UINT64_C(8192)

static atomic_uint wrong;
static bool one_cpu_number; /* all threads say that they are CPU 0 */

static void run_threads(void *(*body)(void *), unsigned count)
{
    pthread_t thread[THREADS];
    wrong = 0;
    for (uintptr_t i = 0; i < count; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, body, (void *)i), 0);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
}

/* Per thread: the harness has one source of random numbers. */
static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static uint64_t start_thread(void *cpu)
{
    machine_set_cpu(one_cpu_number ? 0 : (unsigned)(uintptr_t)cpu);
    return 88172645463325252u + (uintptr_t)cpu * 977;
}

/* ---- who has which page -------------------------------------------------- */

static _Atomic unsigned char owned[PAGES_MAX]; /* 1: somebody was given it */

static void own(uint64_t page, uint64_t count)
{
    for (uint64_t i = page - WORLD_BASE; i < page - WORLD_BASE + count; i++)
        wrong += i >= PAGES_MAX || atomic_exchange_explicit(&owned[i], 1, memory_order_relaxed);
}

static void disown(uint64_t page, uint64_t count)
{
    for (uint64_t i = page - WORLD_BASE; i < page - WORLD_BASE + count; i++)
        wrong += atomic_exchange_explicit(&owned[i], 0, memory_order_relaxed) != 1;
}

static void disown_all(void)
{
    for (size_t i = 0; i < PAGES_MAX; i++)
        atomic_store(&owned[i], 0);
}

/* ---- traffic ------------------------------------------------------------- */

/* A block that waits for somebody to free it: page * 32 + order; 0: none. */
static _Atomic uint64_t slot[SLOTS];

static void drop(uint64_t block)
{
    if (block == 0)
        return;
    const unsigned order = (unsigned)(block % 32);
    disown(block / 32, UINT64_C(1) << order);
    give_any(block / 32, order);
}

static uint64_t pick_up(uint64_t random)
{
    const unsigned order = random % 4 != 0 ? 0 : (unsigned)(random / 4 % 11);
    const uint64_t page = take_any(order, LOAM_ZONE_ANY);
    if (page == NONE)
        return 0;
    own(page, UINT64_C(1) << order);
    return page * 32 + order;
}

static void many_at_once(void)
{
    loam_phys out[BULK];
    const size_t count = loam_frame_alloc_bulk(&frame, LOAM_ZONE_ANY, out, BULK);
    for (size_t i = 0; i < count; i++)
        own(out[i].addr / BYTES(1), 1);
    for (size_t i = 0; i < count; i++)
        disown(out[i].addr / BYTES(1), 1);
    loam_frame_free_bulk(&frame, out, count);
}

static void a_range(uint64_t random)
{
    const struct loam_frame_request request = { .page_count = 1 + random % 700 };
    loam_phys at;
    if (loam_frame_alloc_range(&frame, &request, &at) != LOAM_OK)
        return;
    own(at.addr / BYTES(1), request.page_count);
    disown(at.addr / BYTES(1), request.page_count);
    loam_frame_release(&frame, loam_phys_range_of(at, BYTES(request.page_count)));
}

static void exact_frames(uint64_t random)
{
    const uint64_t first = WORLD_BASE + random % (PAGES_MAX - 40);
    const uint64_t count = 1 + random / 65536 % 40;
    if (loam_frame_reserve(&frame, range_of(first, first + count)) != LOAM_OK)
        return;
    own(first, count);
    disown(first, count);
    loam_frame_release(&frame, range_of(first, first + count));
}

/* Put a block in a slot; what was there, perhaps of another CPU, is freed. */
static void *pass_blocks_around(void *cpu)
{
    uint64_t seed = start_thread(cpu);

    for (unsigned i = 0; i < ROUNDS; i++) {
        const uint64_t random = next_random(&seed);
        switch (random % 64) {
        case 0:
            many_at_once();
            break;
        case 1:
            a_range(random / 64);
            break;
        case 2:
            exact_frames(random / 64);
            break;
        case 3:
            loam_frame_drain(&frame);
            break;
        default:
            drop(atomic_exchange(&slot[random / 64 % SLOTS],
                                 random / 4096 % 8 == 0 ? 0 : pick_up(random / 65536)));
            break;
        }
    }
    return NULL;
}

/* Counts that are read meanwhile are never above what there is. */
static void *measure_meanwhile(void *cpu)
{
    (void)cpu;
    for (unsigned i = 0; i < ROUNDS / 16; i++) {
        for (unsigned zone = 0; zone < LOAM_ZONES; zone++) {
            struct loam_frame_stats now;
            loam_frame_measure(&frame, (enum loam_zone)zone, &now);
            wrong += now.frame_count != (zone == LOAM_ZONE_4G ? ram_pages : 0);
            wrong += now.free_count > now.frame_count;
            wrong += now.lane_count > now.free_count;
            wrong += now.block_count * BLOCK > now.frame_count;
            wrong += now.largest_free > now.block_count * BLOCK;
        }
    }
    return NULL;
}

static void *pass_or_measure(void *cpu)
{
    return (uintptr_t)cpu == THREADS - 1 ? measure_meanwhile(cpu) : pass_blocks_around(cpu);
}

/* @param blocks of 2 MiB: the fewer, the nearer memory is to its end */
static void traffic(uint64_t blocks, void *(*body)(void *))
{
    const struct pages world = { WORLD_BASE, WORLD_BASE + blocks * BLOCK };
    world_of(&world, 1, THREADS);
    disown_all();
    run_threads(body, THREADS);
    expect_sound();
    for (unsigned i = 0; i < SLOTS; i++)
        drop(atomic_exchange(&slot[i], 0));
    assert_int_equal(wrong, 0);
    expect_all_free();
    assert_int_equal(stats().block_count, blocks);
    assert_int_equal(stats().largest_free, blocks * BLOCK);
}

static void frames_cross_cpus(void **state)
{
    (void)state;
    traffic(16, pass_blocks_around);
}

static void frames_cross_cpus_where_there_are_few(void **state)
{
    (void)state;
    traffic(2, pass_blocks_around);
    traffic(1, pass_blocks_around);
}

static void lane_F18_is_safe_with_a_stale_cpu_number(void **state)
{
    (void)state;
    one_cpu_number = true;
    traffic(16, pass_blocks_around);
    traffic(1, pass_blocks_around);
    one_cpu_number = false;
}

static void stats_F28_during_traffic_are_possible(void **state)
{
    (void)state;
    traffic(4, pass_or_measure);
}

/* ---- races for one frame ------------------------------------------------- */

static pthread_barrier_t barrier;
static _Atomic uint64_t prize; /* the page that is free, or to be freed */
static unsigned prize_order;
static atomic_uint winners;
static unsigned race_rounds;

static void *race_to_take(void *cpu)
{
    start_thread(cpu);
    for (unsigned i = 0; i < race_rounds; i++) {
        pthread_barrier_wait(&barrier);
        const uint64_t page = take_any(prize_order, LOAM_ZONE_ANY);
        winners += page != NONE;
        wrong += page != NONE && page != prize;
        pthread_barrier_wait(&barrier);
        if (page != NONE) { /* free it for the next round; now and then another one */
            wrong += winners != 1;
            winners = 0;
            give_any(page, prize_order);
        }
        pthread_barrier_wait(&barrier);
        wrong += winners != 0; /* nobody had it */
    }
    return NULL;
}

static void alloc_F15_of_the_last_block_has_one_winner(void **state)
{
    static const unsigned orders[] = { 0, 1, 6, 8, 9, 10 };
    (void)state;
    race_rounds = 1000;
    for (size_t i = 0; i < COUNT(orders); i++) {
        WORLD(THREADS, { WORLD_BASE, WORLD_BASE + 4 * BLOCK });
        assert_int_equal(reserve(WORLD_BASE, WORLD_BASE + 4 * BLOCK), LOAM_OK);
        prize_order = orders[i];
        prize = WORLD_BASE + (i % 2) * 2 * BLOCK;
        give(prize, prize_order);
        winners = 0;
        assert_int_equal(pthread_barrier_init(&barrier, NULL, THREADS), 0);
        run_threads(race_to_take, THREADS);
        pthread_barrier_destroy(&barrier);
        assert_int_equal(wrong, 0);
        expect_sound();
        assert_int_equal(stats().free_count, UINT64_C(1) << prize_order);
    }
}

static bool free_panics(uint64_t page, unsigned order)
{
    panic_trap.armed = true;
    if (setjmp(panic_trap.landing) != 0)
        return true;
    give_any(page, order);
    panic_trap.armed = false;
    return false;
}

static void *race_to_free(void *cpu)
{
    start_thread(cpu);
    for (unsigned i = 0; i < race_rounds; i++) {
        pthread_barrier_wait(&barrier);
        const bool has_won = !free_panics(prize, prize_order);
        winners += has_won;
        pthread_barrier_wait(&barrier);
        if (cpu == NULL) { /* one of them begins the next round */
            wrong += winners != 1;
            winners = 0;
            wrong += loam_frame_reserve(
                         &frame, range_of(prize, prize + (UINT64_C(1) << prize_order))) != LOAM_OK;
        }
    }
    return NULL;
}

static void free_F14_of_one_block_by_two_has_one_winner(void **state)
{
    static const unsigned orders[] = { 0, 3, 6, 8, 9, 10 };
    (void)state;
    race_rounds = 4000;
    for (size_t i = 0; i < COUNT(orders); i++) {
        WORLD(THREADS, { WORLD_BASE, WORLD_BASE + 4 * BLOCK });
        assert_int_equal(reserve(WORLD_BASE, WORLD_BASE + 4 * BLOCK), LOAM_OK);
        prize_order = orders[i];
        prize = WORLD_BASE + 2 * BLOCK;
        winners = 0;
        assert_int_equal(pthread_barrier_init(&barrier, NULL, 2), 0);
        run_threads(race_to_free, 2);
        pthread_barrier_destroy(&barrier);
        assert_int_equal(wrong, 0);
        expect_sound();
        assert_int_equal(stats().free_count, 0);
    }
}

/* ---- one gives, another takes -------------------------------------------- */

#define STREAM 20000u

static _Atomic uint64_t stream[16]; /* 0: empty */

static void *produce(void)
{
    for (unsigned i = 0; i < STREAM; i++) {
        uint64_t page = take_any(0, LOAM_ZONE_ANY);
        while (page == NONE) { /* what the other one frees comes back */
            sched_yield();
            page = take_any(0, LOAM_ZONE_ANY);
        }
        own(page, 1);
        while (atomic_load(&stream[i % COUNT(stream)]) != 0)
            sched_yield();
        atomic_store(&stream[i % COUNT(stream)], page);
    }
    return NULL;
}

static void *consume(void)
{
    for (unsigned i = 0; i < STREAM; i++) {
        uint64_t page = 0;
        while ((page = atomic_exchange(&stream[i % COUNT(stream)], 0)) == 0)
            sched_yield();
        disown(page, 1);
        give_any(page, 0);
    }
    return NULL;
}

static void *produce_or_consume(void *cpu)
{
    start_thread(cpu);
    return cpu == NULL ? produce() : consume();
}

/* Memory is 16 frames larger than what is under way: nothing may be stranded. */
static void frames_freed_elsewhere_come_back(void **state)
{
    (void)state;
    WORLD(2, { WORLD_BASE, WORLD_BASE + 32 });
    disown_all();
    run_threads(produce_or_consume, 2);
    assert_int_equal(wrong, 0);
    expect_all_free();
}

/* ---- a CPU that stops inside a call -------------------------------------- */

static uint64_t take_all_singles(void)
{
    uint64_t count = 0;
    while (take_any(0, LOAM_ZONE_ANY) != NONE)
        count++;
    return count;
}

/* Lanes are taken and never left: by CPU 0, which has a block for single frames, one
 * for others, and frames that wait. */
static void lane_F19_taken_for_ever_costs_two_blocks(void **state)
{
    (void)state;
    for (unsigned cpu = 0; cpu < 2; cpu++) {
        WORLD(2, { WORLD_BASE, WORLD_BASE + 8 * BLOCK });
        assert_int_not_equal(take(0), NONE);
        assert_int_not_equal(take(0), NONE);
        assert_int_not_equal(take(1), NONE);
        assert_true(frame_lane_enter(&frame.lane[0]));
        machine_set_cpu(cpu); /* cpu 0: it is a handler that interrupted the call */
        const uint64_t count = take_all_singles();
        assert_true(count >= 6 * BLOCK);
        expect_sound();
        assert_int_equal(stats().free_count, ram_pages - 4 - count);
        loam_frame_drain(&frame);
        frame_lane_leave(&frame.lane[0]);
        assert_int_equal(take_all_singles(), ram_pages - 4 - count); /* no frame is lost */
        release(WORLD_BASE, WORLD_BASE + 8 * BLOCK);
        expect_all_free();
    }
}

/* All lanes but one are taken, whichever that is: by other CPUs, by a call that a handler
 * interrupted, and that by an NMI. Every call works. */
static void lane_F16_F17_F19_one_is_enough(void **state)
{
    const struct loam_frame_request request = { .page_count = 700 };
    loam_phys at = loam_phys_none();
    (void)state;
    for (unsigned left = 0; left < 4; left++) {
        WORLD(1, { WORLD_BASE, WORLD_BASE + 8 * BLOCK });
        assert_true(frame.lane_count >= 2);
        for (unsigned lane = 0; lane < frame.lane_count; lane++) {
            if (lane != left % frame.lane_count)
                assert_true(frame_lane_enter(&frame.lane[lane]));
        }
        for (unsigned order = 0; order <= 11; order++) {
            const uint64_t page = take(order);
            assert_int_not_equal(page, NONE);
            give(page, order);
        }
        assert_int_equal(loam_frame_alloc_range(&frame, &request, &at), LOAM_OK);
        loam_frame_release(&frame, loam_phys_range_of(at, BYTES(700)));
        assert_int_equal(reserve(WORLD_BASE, WORLD_BASE + 8 * BLOCK), LOAM_OK);
        give(WORLD_BASE + 8, 0);
        assert_int_equal(take(0), WORLD_BASE + 8);
        assert_int_equal(take(0), NONE);
        release(WORLD_BASE, WORLD_BASE + 8 * BLOCK);
        expect_all_free();
    }
}

/* A row goes through the lane; a frame that waits there is freed once more. */
static void cycle_a_row(void)
{
    uint64_t page[FRAME_ROW_FRAMES];
    for (size_t i = 0; i < COUNT(page); i++)
        page[i] = take_any(0, LOAM_ZONE_ANY);
    for (size_t i = 0; i < COUNT(page); i++)
        give_any(page[i], 0);
    const uint64_t taken = take(0);
    EXPECT_REFUSED(ALREADY, taken ^ 1, 1, give_any(taken ^ 1, 0));
    give(taken, 0);
    loam_frame_drain(&frame);
}

/* Versions count up to their end and go on at 0. */
static void lane_F21_version_may_wrap(void **state)
{
    (void)state;
    for (uint32_t start = UINT32_MAX - 9; start != 8; start += 2) {
        WORLD(1, { WORLD_BASE, WORLD_BASE + 2 * BLOCK });
        for (unsigned lane = 0; lane < frame.lane_count; lane++)
            atomic_store(&frame.lane[lane].version, start);
        for (unsigned i = 0; i < 8; i++)
            cycle_a_row();
        assert_int_not_equal(atomic_load(&frame.lane[0].version), start);
        expect_all_free();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_cross_cpus),
        cmocka_unit_test(frames_cross_cpus_where_there_are_few),
        cmocka_unit_test(lane_F18_is_safe_with_a_stale_cpu_number),
        cmocka_unit_test(stats_F28_during_traffic_are_possible),
        cmocka_unit_test(alloc_F15_of_the_last_block_has_one_winner),
        cmocka_unit_test(free_F14_of_one_block_by_two_has_one_winner),
        cmocka_unit_test(frames_freed_elsewhere_come_back),
        cmocka_unit_test(lane_F19_taken_for_ever_costs_two_blocks),
        cmocka_unit_test(lane_F16_F17_F19_one_is_enough),
        cmocka_unit_test(lane_F21_version_may_wrap),
    };
    return RUN_TESTS(tests);
}
