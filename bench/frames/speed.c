/*
 * speed.c - nanoseconds of an allocation and a free, one thread, 8 GiB.
 *
 * Allocators take turns, in another order each round, so that a slow moment of the
 * machine falls on all. Each slice starts from a fresh allocator; what comes before
 * the state that is measured is not timed. CPU time of the thread.
 *
 *     bulk      half of memory in single frames, then free them in the same order;
 *               the second time is timed
 *     array     the same through the calls for arrays, 64 frames each
 *     repeat    half of memory in use: allocate and free one frame
 *     random    half of memory: free it in random order, allocate as much again
 *     replace   half of memory in use: free a random frame, allocate one
 *     2M, 1G    as repeat, with half of memory in use in such blocks
 *     nearfull  as replace, with 0.1 % of memory free, at random places
 */
#include <stdlib.h>
#include <string.h>

#include "../arena/actions.h"
#include "bench.h"

#define SPEED_HALF  ((size_t)BENCH_FRAME_COUNT / 2)
#define SPEED_ARRAY 64u
#define SPEED_PAIRS ((size_t)1 << 18)
#define SPEED_AHEAD 16u
/* Slices longer than this are run every fourth round. */
#define SPEED_SLOW_NS     200e6
#define SPEED_SLOW_ROUNDS 4u

struct speed_run {
    const struct frames_peer *peer;
    uint64_t *block;       /* BENCH_FRAME_COUNT addresses */
    const uint32_t *index; /* SPEED_PAIRS random numbers */
    size_t pairs;          /* timed */
};

struct workload {
    const char *name;
    unsigned order;
    double (*run)(struct speed_run *run, unsigned order); /* ns of all pairs */
};

static void speed_alloc(const struct speed_run *run, size_t count, unsigned order)
{
    for (size_t i = 0; i < count; i++)
        run->block[i] = run->peer->alloc(order);
}

static void speed_free(const struct speed_run *run, size_t count, unsigned order)
{
    for (size_t i = 0; i < count; i++)
        run->peer->free(run->block[i], order);
}

/* As a user would: a request that fails ends the run, checked once. */
static void speed_found_all(const struct speed_run *run, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (run->block[i] == FRAMES_NONE)
            bench_fail("does not find frames that are free", run->peer->name);
}

static double speed_bulk(struct speed_run *run, unsigned order)
{
    double ns = 0;
    for (unsigned pass = 0; pass < 2; pass++) {
        const double start = bench_cpu_now();
        speed_alloc(run, SPEED_HALF, order);
        speed_free(run, SPEED_HALF, order);
        ns = bench_cpu_now() - start;
        speed_found_all(run, SPEED_HALF);
    }
    run->pairs = SPEED_HALF;
    return ns;
}

static double speed_array(struct speed_run *run, unsigned order)
{
    double ns = 0;
    (void)order;
    for (unsigned pass = 0; pass < 2; pass++) {
        size_t count = 0;
        const double start = bench_cpu_now();
        for (size_t i = 0; i < SPEED_HALF; i += SPEED_ARRAY)
            count += run->peer->alloc_bulk(run->block + i, SPEED_ARRAY);
        for (size_t i = 0; i < SPEED_HALF; i += SPEED_ARRAY)
            run->peer->free_bulk(run->block + i, SPEED_ARRAY);
        ns = bench_cpu_now() - start;
        if (count != SPEED_HALF)
            bench_fail("does not find frames that are free", run->peer->name);
    }
    run->pairs = SPEED_HALF;
    return ns;
}

/* The first pair is not timed: it may have to open a block. */
static double speed_repeat(struct speed_run *run, unsigned order)
{
    const struct frames_peer *peer = run->peer;
    speed_alloc(run, SPEED_HALF >> order, order);
    speed_found_all(run, SPEED_HALF >> order);
    peer->free(bench_alloc(peer, order), order);
    const double start = bench_cpu_now();
    for (size_t i = 0; i < SPEED_PAIRS; i++)
        peer->free(peer->alloc(order), order);
    const double ns = bench_cpu_now() - start;
    run->pairs = SPEED_PAIRS;
    return ns;
}

static double speed_random(struct speed_run *run, unsigned order)
{
    uint64_t state = 2;
    speed_alloc(run, SPEED_HALF, order);
    speed_found_all(run, SPEED_HALF);
    bench_shuffle(run->block, SPEED_HALF, &state);
    const double start = bench_cpu_now();
    speed_free(run, SPEED_HALF, order);
    speed_alloc(run, SPEED_HALF, order);
    const double ns = bench_cpu_now() - start;
    speed_found_all(run, SPEED_HALF);
    run->pairs = SPEED_HALF;
    return ns;
}

/*
 * The addresses are fetched ahead: waiting for them would be counted for those
 * allocators that order memory, and hidden for others.
 */
static double speed_replace_among(struct speed_run *run, size_t count)
{
    const struct frames_peer *peer = run->peer;
    const double start = bench_cpu_now();
    for (size_t i = 0; i < SPEED_PAIRS; i++) {
        uint64_t *block = &run->block[(uint64_t)run->index[i] * count >> 32];
        const uint32_t ahead = run->index[(i + SPEED_AHEAD) % SPEED_PAIRS];
        __builtin_prefetch(&run->block[(uint64_t)ahead * count >> 32], 1);
        peer->free(*block, 0);
        *block = peer->alloc(0);
    }
    const double ns = bench_cpu_now() - start;
    speed_found_all(run, count);
    run->pairs = SPEED_PAIRS;
    return ns;
}

static double speed_replace(struct speed_run *run, unsigned order)
{
    speed_alloc(run, SPEED_HALF, order);
    speed_found_all(run, SPEED_HALF);
    return speed_replace_among(run, SPEED_HALF);
}

static double speed_near_full(struct speed_run *run, unsigned order)
{
    const size_t free_count = (size_t)BENCH_FRAME_COUNT / 1000;
    const size_t used_count = (size_t)BENCH_FRAME_COUNT - free_count;
    uint64_t state = 3;
    speed_alloc(run, (size_t)BENCH_FRAME_COUNT, order);
    speed_found_all(run, (size_t)BENCH_FRAME_COUNT);
    bench_shuffle(run->block, (size_t)BENCH_FRAME_COUNT, &state);
    for (size_t i = used_count; i < BENCH_FRAME_COUNT; i++)
        run->peer->free(run->block[i], order);
    return speed_replace_among(run, used_count);
}

static const struct workload workloads[] = {
    { "bulk", 0, speed_bulk },       { "array", 0, speed_array },
    { "repeat", 0, speed_repeat },   { "random", 0, speed_random },
    { "replace", 0, speed_replace }, { "2M", 9, speed_repeat },
    { "1G", 18, speed_repeat },      { "nearfull", 0, speed_near_full },
};
#define WORKLOADS (sizeof workloads / sizeof workloads[0])

struct speed {
    const struct bench_plan *plan;
    uint64_t *block;
    uint32_t *index;
    FILE *file;
    /* ns of a pair, of each round; 0: none */
    double ns[WORKLOADS][BENCH_PEERS_MAX][BENCH_ROUNDS_MAX];
    double slice_ns[WORKLOADS][BENCH_PEERS_MAX];
};

static bool speed_wanted(const struct bench_plan *plan, const char *name)
{
    for (size_t i = 0; i < plan->workload_count; i++)
        if (strcmp(plan->workloads[i], name) == 0)
            return true;
    return plan->workload_count == 0;
}

static void speed_slice(struct speed *speed, size_t w, size_t p, unsigned round)
{
    const struct workload *workload = &workloads[w];
    const struct frames_peer *peer = speed->plan->peers[p];
    struct speed_run run = { .peer = peer, .block = speed->block, .index = speed->index };
    if (workload->order > peer->order_max ||
        (workload->run == speed_array && peer->alloc_bulk == NULL))
        return;
    const bool is_slow = speed->slice_ns[w][p] > SPEED_SLOW_NS;
    if (is_slow && round % SPEED_SLOW_ROUNDS != 0)
        return;

    bench_progress("speed: round %u of %u, %s, %s", round + 1, speed->plan->rounds, workload->name,
                   peer->name);
    const double start = bench_cpu_now();
    bench_bring_up(peer, BENCH_FRAME_COUNT, speed->plan->cpu_count);
    const double ns = workload->run(&run, workload->order);
    speed->slice_ns[w][p] = bench_cpu_now() - start;
    speed->ns[w][p][round] = ns / (double)run.pairs;
    if (speed->file != NULL)
        (void)fprintf(speed->file, "%u,%s,%s,%zu,%.0f\n", round, workload->name, peer->name,
                      run.pairs, ns);
}

static void speed_round(struct speed *speed, unsigned round)
{
    uint64_t state = round;
    uint64_t order[BENCH_PEERS_MAX];
    for (size_t w = 0; w < WORKLOADS; w++) {
        if (!speed_wanted(speed->plan, workloads[w].name))
            continue;
        for (size_t p = 0; p < speed->plan->peer_count; p++)
            order[p] = p;
        bench_shuffle(order, speed->plan->peer_count, &state);
        for (size_t p = 0; p < speed->plan->peer_count; p++)
            speed_slice(speed, w, (size_t)order[p], round);
    }
}

/* Median over the rounds; of the ratios to the first allocator, if by_first. */
static double speed_median(const struct speed *speed, size_t w, size_t p, bool by_first)
{
    static double values[BENCH_ROUNDS_MAX];
    size_t count = 0;
    for (unsigned round = 0; round < speed->plan->rounds; round++) {
        const double ns = speed->ns[w][p][round];
        const double first = by_first ? speed->ns[w][0][round] : 1.0;
        if (ns > 0.0 && first > 0.0)
            values[count++] = ns / first;
    }
    return count == 0 ? 0.0 : bench_median(values, count);
}

static void speed_print(const struct speed *speed)
{
    const struct bench_plan *plan = speed->plan;
    printf("ns for an allocation and a free (in parentheses: times %s), %u rounds\n%-12s",
           plan->peers[0]->name, plan->rounds, "");
    for (size_t w = 0; w < WORKLOADS; w++)
        if (speed_wanted(plan, workloads[w].name))
            printf(" %15s", workloads[w].name);
    for (size_t p = 0; p < plan->peer_count; p++) {
        printf("\n%-12s", plan->peers[p]->name);
        for (size_t w = 0; w < WORKLOADS; w++) {
            if (!speed_wanted(plan, workloads[w].name))
                continue;
            const double ns = speed_median(speed, w, p, false);
            const double ratio = speed_median(speed, w, p, true);
            if (ns <= 0.0)
                printf(" %15s", "-");
            else if (ratio > 0.0 && p != 0)
                printf(" %7.2f (%5.2f)", ns, ratio);
            else
                printf(" %7.2f        ", ns);
        }
    }
    printf("\n");
}

void bench_speed(const struct bench_plan *plan)
{
    static struct speed speed;
    uint64_t state = 1;
    speed.plan = plan;
    speed.block = bench_array((size_t)BENCH_FRAME_COUNT, sizeof *speed.block);
    speed.index = bench_array(SPEED_PAIRS, sizeof *speed.index);
    speed.file = bench_file(plan->directory, "speed.csv", "round,workload,peer,pairs,ns");
    for (size_t i = 0; i < SPEED_PAIRS; i++)
        speed.index[i] = (uint32_t)(bench_random(&state) >> 32);
    for (unsigned round = 0; round < plan->rounds; round++)
        speed_round(&speed, round);
    bench_progress("%s", "");
    speed_print(&speed);
    bench_close(speed.file);
}
