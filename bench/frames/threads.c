/*
 * threads.c - several CPUs at once, 8 GiB.
 *
 *     cross    CPU 0 allocates, CPU 1 frees: 2^17 frames, 4096 at a time through a
 *              ring of eight such chunks
 *     scaling  every CPU allocates 2^15 frames (fewer on more than 32) and frees them,
 *              four times
 *
 * A thread is bound to a CPU. CPU time counts what the calls cost, whoever else the
 * machine serves; by the clock others only add, and the least of the rounds counts.
 * Rounds are short, so that some are not disturbed.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench.h"

#define THREADS_MAX     64u
#define THREADS_ROUNDS  15u
#define FRAME_BYTES     ((uint64_t)4096)
#define CHUNK           4096u
#define RING            8u
#define CROSS_CHUNKS    32u
#define SCALE_PASSES    4u
#define SCALE_FRAMES    ((size_t)1 << 15)
#define SCALE_FRAME_SUM ((size_t)1 << 20)

struct worker {
    pthread_t thread;
    unsigned cpu;
    unsigned cpu_count;
    const struct frames_peer *peer;
    pthread_barrier_t *barrier;
    uint64_t *block;
    double cpu_ns;           /* in calls */
    double started, stopped; /* by the clock */
};

/* Chunks are written by the one thread and read by the other, in turn. */
static struct {
    uint64_t chunk[RING][CHUNK];
    _Alignas(64) _Atomic(unsigned) written;
    _Alignas(64) _Atomic(unsigned) read;
} ring;

static void worker_start(struct worker *worker)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(worker->cpu, &set);
    (void)pthread_setaffinity_np(pthread_self(), sizeof set, &set);
    frames_cpu = worker->cpu;
    (void)pthread_barrier_wait(worker->barrier);
    worker->started = bench_wall_now();
}

static void workers_run(struct worker *workers, unsigned count, void *(*work)(void *))
{
    pthread_barrier_t barrier;
    (void)pthread_barrier_init(&barrier, NULL, count);
    for (unsigned i = 0; i < count; i++) {
        workers[i].cpu = i;
        workers[i].cpu_count = count;
        workers[i].barrier = &barrier;
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
            bench_fail("no more", "threads");
    }
    for (unsigned i = 0; i < count; i++)
        (void)pthread_join(workers[i].thread, NULL);
    (void)pthread_barrier_destroy(&barrier);
}

/* ---- cross ------------------------------------------------------------------------ */

static void cross_alloc(struct worker *worker)
{
    for (unsigned i = 0; i < CROSS_CHUNKS; i++) {
        /* Acquire: the reader is done with the chunk that it counted. */
        while (i - atomic_load_explicit(&ring.read, memory_order_acquire) == RING)
            (void)sched_yield();
        const double start = bench_cpu_now();
        for (unsigned k = 0; k < CHUNK; k++)
            ring.chunk[i % RING][k] = worker->peer->alloc(0);
        worker->cpu_ns += bench_cpu_now() - start;
        atomic_store_explicit(&ring.written, i + 1, memory_order_release);
    }
}

static void cross_free(struct worker *worker)
{
    for (unsigned i = 0; i < CROSS_CHUNKS; i++) {
        /* Acquire: the chunk that the writer counted is complete. */
        while (atomic_load_explicit(&ring.written, memory_order_acquire) == i)
            (void)sched_yield();
        const double start = bench_cpu_now();
        for (unsigned k = 0; k < CHUNK; k++)
            worker->peer->free(ring.chunk[i % RING][k], 0);
        worker->cpu_ns += bench_cpu_now() - start;
        atomic_store_explicit(&ring.read, i + 1, memory_order_release);
    }
}

static void *cross_work(void *context)
{
    struct worker *worker = context;
    worker_start(worker);
    if (worker->cpu == 0)
        cross_alloc(worker);
    else
        cross_free(worker);
    worker->stopped = bench_wall_now();
    return NULL;
}

/* Prints ns of a pair: CPU time of both sides. */
static void bench_cross(const struct bench_plan *plan)
{
    static double ns[BENCH_PEERS_MAX][THREADS_ROUNDS];
    const double pairs = (double)CROSS_CHUNKS * CHUNK;
    FILE *file = bench_file(plan->directory, "cross.csv", "round,peer,alloc_ns,free_ns,wall_ns");
    for (unsigned round = 0; round < THREADS_ROUNDS; round++) {
        for (size_t p = 0; p < plan->peer_count; p++) {
            struct worker workers[2] = { { .peer = plan->peers[p] }, { .peer = plan->peers[p] } };
            if (!plan->peers[p]->is_shared)
                continue;
            bench_progress("cross: round %u, %s", round + 1, plan->peers[p]->name);
            bench_bring_up(plan->peers[p], BENCH_FRAME_COUNT, plan->cpu_count);
            atomic_store(&ring.written, 0);
            atomic_store(&ring.read, 0);
            workers_run(workers, 2, cross_work);
            const double alloc_ns = workers[0].cpu_ns / pairs;
            const double free_ns = workers[1].cpu_ns / pairs;
            ns[p][round] = alloc_ns + free_ns;
            if (file != NULL)
                (void)fprintf(file, "%u,%s,%.3f,%.3f,%.3f\n", round, plan->peers[p]->name, alloc_ns,
                              free_ns, (workers[1].stopped - workers[0].started) / pairs);
        }
    }
    bench_progress("%s", "");
    printf("allocated on CPU 0, freed on CPU 1: ns of CPU time for both\n");
    for (size_t p = 0; p < plan->peer_count; p++)
        if (plan->peers[p]->is_shared)
            printf("%-12s %9.2f\n", plan->peers[p]->name, bench_median(ns[p], THREADS_ROUNDS));
    bench_close(file);
}

/* ---- scaling ---------------------------------------------------------------------- */

static size_t scale_frames(unsigned cpu_count)
{
    const size_t share = SCALE_FRAME_SUM / cpu_count;
    return share < SCALE_FRAMES ? share : SCALE_FRAMES;
}

static void *scale_work(void *context)
{
    struct worker *worker = context;
    const size_t count = scale_frames(worker->cpu_count);
    worker_start(worker);
    const double start = bench_cpu_now();
    for (unsigned pass = 0; pass < SCALE_PASSES; pass++) {
        for (size_t i = 0; i < count; i++)
            worker->block[i] = worker->peer->alloc(0);
        for (size_t i = 0; i < count; i++)
            worker->peer->free(worker->block[i], 0);
    }
    worker->cpu_ns = bench_cpu_now() - start;
    worker->stopped = bench_wall_now();
    return NULL;
}

static void *scale_take(void *context)
{
    struct worker *worker = context;
    worker_start(worker);
    for (size_t i = 0; i < scale_frames(worker->cpu_count); i++)
        worker->block[i] = worker->peer->alloc(0);
    return NULL;
}

/* What all CPUs take at once: does any frame come twice? */
static void scale_check(const struct bench_plan *plan, const struct frames_peer *peer,
                        uint64_t *block, unsigned count)
{
    struct worker workers[THREADS_MAX] = { { .peer = peer } };
    const size_t sum = scale_frames(count) * count;
    bool *in_use = calloc((size_t)BENCH_FRAME_COUNT, sizeof *in_use);
    if (in_use == NULL)
        bench_fail("out of memory", "the benchmark itself");
    for (unsigned i = 0; i < count; i++)
        workers[i] = (struct worker){ .peer = peer, .block = block + i * scale_frames(count) };
    bench_bring_up(peer, BENCH_FRAME_COUNT, plan->cpu_count);
    workers_run(workers, count, scale_take);
    for (size_t i = 0; i < sum; i++) {
        const uint64_t frame = (block[i] - FRAMES_BASE) / FRAME_BYTES;
        if (block[i] % FRAME_BYTES != 0 || frame >= BENCH_FRAME_COUNT || in_use[frame])
            bench_fail(peer->name, "gave two CPUs the same frame, or none");
        in_use[frame] = true;
    }
    free(in_use);
}

struct scale {
    double cpu_ns;  /* of a pair, mean of the threads */
    double wall_ns; /* by the clock, of a pair of anyone */
};

static struct scale scale_run(const struct bench_plan *plan, const struct frames_peer *peer,
                              uint64_t *block, unsigned count)
{
    struct worker workers[THREADS_MAX] = { { .peer = peer } };
    const double pairs = (double)scale_frames(count) * SCALE_PASSES;
    struct scale scale = { 0 };
    for (unsigned i = 0; i < count; i++) {
        workers[i].peer = peer;
        workers[i].block = block + i * scale_frames(count);
    }
    bench_bring_up(peer, BENCH_FRAME_COUNT, plan->cpu_count);
    workers_run(workers, count, scale_work);

    double started = workers[0].started;
    double stopped = workers[0].stopped;
    for (unsigned i = 0; i < count; i++) {
        scale.cpu_ns += workers[i].cpu_ns / pairs / count;
        started = workers[i].started < started ? workers[i].started : started;
        stopped = workers[i].stopped > stopped ? workers[i].stopped : stopped;
    }
    scale.wall_ns = (stopped - started) / pairs / count;
    return scale;
}

/* Prints ns of CPU time for a pair, with that many threads. */
static void scale_threads(const struct bench_plan *plan, uint64_t *block, unsigned count,
                          FILE *file)
{
    static double ns[BENCH_PEERS_MAX][THREADS_ROUNDS];
    for (size_t p = 0; p < plan->peer_count; p++)
        if (plan->peers[p]->is_shared)
            scale_check(plan, plan->peers[p], block, count);
    for (unsigned round = 0; round < THREADS_ROUNDS; round++) {
        for (size_t p = 0; p < plan->peer_count; p++) {
            if (!plan->peers[p]->is_shared)
                continue;
            bench_progress("scaling: %u threads, round %u, %s", count, round + 1,
                           plan->peers[p]->name);
            const struct scale scale = scale_run(plan, plan->peers[p], block, count);
            ns[p][round] = scale.cpu_ns;
            if (file != NULL)
                (void)fprintf(file, "%u,%s,%u,%.3f,%.3f\n", round, plan->peers[p]->name, count,
                              scale.cpu_ns, scale.wall_ns);
        }
    }
    bench_progress("%s", "");
    printf("bulk, %u threads: ns of CPU time for a pair\n", count);
    for (size_t p = 0; p < plan->peer_count; p++)
        if (plan->peers[p]->is_shared)
            printf("%-12s %9.2f\n", plan->peers[p]->name, bench_median(ns[p], THREADS_ROUNDS));
}

static void bench_scaling(const struct bench_plan *plan, unsigned online)
{
    FILE *file = bench_file(plan->directory, "scaling.csv", "round,peer,threads,cpu_ns,wall_ns");
    uint64_t *block = bench_array(SCALE_FRAME_SUM, sizeof *block);
    for (unsigned count = 1; count < online; count *= 2)
        scale_threads(plan, block, count, file);
    scale_threads(plan, block, online, file);
    bench_close(file);
}

void bench_threads(const struct bench_plan *plan)
{
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned count = online < 1 ? 1 : (unsigned)online;
    count = count < THREADS_MAX ? count : THREADS_MAX;
    count = count < plan->cpu_count ? count : plan->cpu_count;
    if (count > 1)
        bench_cross(plan);
    bench_scaling(plan, count);
}
