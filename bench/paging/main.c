/*
 * main.c - bench-paging: Loam's page tables and its peers'.
 *
 *     bench-paging [--peers NAME,...] [--rounds N] [--no-large] [--out FILE]
 *
 * A slice: a peer makes tables for an area from nothing, and each operation is done
 * on all of the area. Peers take turns, in another order each round, so that a slow
 * moment of the machine falls on all. Times are CPU time of the thread.
 * bench/paging/report.py makes tables and pictures of what is written to FILE.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../arena/actions.h"
#include "../arena/help.h"
#include "bench.h"

#define GIB        (UINT64_C(1) << 30)
#define ROUNDS_MAX 1000u
#define TIMES      4u /* a slice does all so often: small areas take little time */
#define JOB        ((size_t)1000)

#define SHOOTDOWN_CPUS 4u

#define SMALL_AREA GIB         /* in 4K */
#define LARGE_AREA (64 * GIB)  /* in 4K */
#define WIDE_AREA  (256 * GIB) /* in 2M */
#define LOOKUPS    ((size_t)(SMALL_AREA / PAGING_PAGE))
#define FRAMES_MAX (LARGE_AREA / PAGING_LARGE + LARGE_AREA / GIB + 2)

enum operation { MAP_4K, SCATTERED, PROTECT, UNMAP, JOBS, MAP_2M, TRANSLATE, TRANSLATE_64, KINDS };
static const char *const names[KINDS] = { "map_4k", "scattered", "protect",   "unmap",
                                          "jobs",   "map_2m",    "translate", "translate_64g" };

/* Of one slice. */
struct times {
    double ns[KINDS];
    uint64_t pages[KINDS];
    uint64_t flushes; /* by jobs */
};

static double now(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

/* ---- an area ------------------------------------------------------------------- */

void bench_bring_up(struct bench *bench, const struct paging_peer *peer, uint64_t area_bytes,
                    uint64_t page_size)
{
    uint64_t frames = 2 + (area_bytes + GIB - 1) / GIB;
    if (page_size == PAGING_PAGE)
        frames += (area_bytes + PAGING_LARGE - 1) / PAGING_LARGE;
    if (frames > FRAMES_MAX)
        bench_fail("too large an area for", peer->name);

    const struct paging_setup setup = { bench->memory, frames, area_bytes, page_size };
    memset(bench->memory, 0xa5, frames * PAGING_PAGE);
    bench->frame_count = frames;
    if (!peer->init(&setup))
        bench_fail("refuses the memory", peer->name);
}

void bench_draw(struct bench *bench, size_t count)
{
    for (size_t i = 0; i < count; i++)
        bench->virts[i] = PAGING_AREA + i * PAGING_PAGE;
    for (size_t i = count; i > 1; i--) {
        const size_t other = (size_t)(bench_random(&bench->random) % i);
        const uint64_t virt = bench->virts[i - 1];
        bench->virts[i - 1] = bench->virts[other];
        bench->virts[other] = virt;
    }
}

/* Addresses anywhere in the area, some twice. */
static void draw_lookups(struct bench *bench, uint64_t area_bytes)
{
    for (size_t i = 0; i < LOOKUPS; i++)
        bench->virts[i] = PAGING_AREA + bench_random(&bench->random) % area_bytes;
}

/* ---- what is timed ------------------------------------------------------------- */

static void count_time(struct times *times, enum operation operation, double start, uint64_t pages)
{
    times->ns[operation] += now() - start;
    times->pages[operation] += pages;
}

static void expect(const struct paging_peer *peer, bool success)
{
    if (!success && peer != paging_empty)
        bench_fail("fails", peer->name);
}

static void time_map(const struct paging_peer *peer, struct times *times, enum operation operation,
                     uint64_t size, uint64_t page_size)
{
    const uint64_t phys = bench_phys(PAGING_AREA, page_size);
    const double start = now();
    const bool success = peer->map(PAGING_AREA, phys, size, page_size);
    count_time(times, operation, start, size / page_size);
    expect(peer, success);
}

static void time_lookups(struct bench *bench, const struct paging_peer *peer, struct times *times,
                         enum operation operation, uint64_t area_bytes)
{
    uint64_t wrong = 0;

    draw_lookups(bench, area_bytes);
    const double start = now();
    for (size_t i = 0; i < LOOKUPS; i++)
        wrong += peer->translate(bench->virts[i]) != bench_phys(bench->virts[i], PAGING_PAGE);
    count_time(times, operation, start, LOOKUPS);
    expect(peer, wrong == 0);
}

static void time_ranges(struct bench *bench, const struct paging_peer *peer, struct times *times)
{
    bench_bring_up(bench, peer, SMALL_AREA, PAGING_PAGE);
    time_map(peer, times, MAP_4K, SMALL_AREA, PAGING_PAGE);
    time_lookups(bench, peer, times, TRANSLATE, SMALL_AREA);

    double start = now();
    bool success = peer->protect(PAGING_AREA, SMALL_AREA);
    count_time(times, PROTECT, start, SMALL_AREA / PAGING_PAGE);
    start = now();
    success &= peer->unmap(PAGING_AREA, SMALL_AREA);
    count_time(times, UNMAP, start, SMALL_AREA / PAGING_PAGE);
    expect(peer, success);

    bench_bring_up(bench, peer, WIDE_AREA, PAGING_LARGE);
    time_map(peer, times, MAP_2M, WIDE_AREA, PAGING_LARGE);
}

static void time_scattered(struct bench *bench, const struct paging_peer *peer, struct times *times)
{
    const size_t count = SMALL_AREA / PAGING_PAGE;
    bool success = true;

    bench_bring_up(bench, peer, SMALL_AREA, PAGING_PAGE);
    bench_draw(bench, count);
    double start = now();
    for (size_t i = 0; i < count; i++)
        success &= peer->map_page(bench->virts[i], bench_phys(bench->virts[i], PAGING_PAGE));
    count_time(times, SCATTERED, start, count);

    bench_draw(bench, count);
    start = now();
    for (size_t i = 0; i + JOB <= count; i += JOB) {
        const uint64_t flushes = peer->unmap_pages(&bench->virts[i], JOB);
        success &= flushes != PAGING_NONE;
        times->flushes += flushes;
    }
    count_time(times, JOBS, start, count / JOB * JOB);
    expect(peer, success);
}

static void time_slice(struct bench *bench, const struct paging_peer *peer, unsigned round)
{
    struct times times = { 0 };

    for (unsigned i = 0; i < TIMES; i++) {
        time_ranges(bench, peer, &times);
        time_scattered(bench, peer, &times);
    }
    if (bench->has_large) {
        bench_bring_up(bench, peer, LARGE_AREA, PAGING_PAGE);
        expect(peer, peer->map(PAGING_AREA, bench_phys(PAGING_AREA, PAGING_PAGE), LARGE_AREA,
                               PAGING_PAGE));
        time_lookups(bench, peer, &times, TRANSLATE_64, LARGE_AREA);
    }
    if (round == 0) /* warm up */
        return;
    for (unsigned i = 0; i < KINDS; i++) {
        if (times.pages[i] != 0)
            (void)fprintf(bench->out, "%u,%s,%s,%.4f,%.1f\n", round, names[i], peer->name,
                          times.ns[i] / (double)times.pages[i],
                          i == JOBS ? 1e3 * (double)times.flushes / (double)times.pages[i] : 0);
    }
    (void)fflush(bench->out);
}

static void time_all(struct bench *bench)
{
    (void)fprintf(bench->out, "round,operation,peer,ns,flushes\n");
    for (unsigned round = 0; round <= bench->rounds; round++) {
        const size_t first = (size_t)(bench_random(&bench->random) % bench->peer_count);
        for (size_t i = 0; i < bench->peer_count; i++) {
            const struct paging_peer *peer = bench->peers[(first + i) % bench->peer_count];
            bench_progress("round %u of %u: %s", round, bench->rounds, peer->name);
            time_slice(bench, peer, round);
        }
    }
    bench_progress("%s", "");
}

/* Of 1000 pages in any order: all alone, and all in one batch; on 4 CPUs. */
static void count_shootdowns(struct bench *bench)
{
    const struct paging_setup setup = { bench->memory, 16, 4 * PAGING_LARGE, PAGING_PAGE };

    for (size_t job = 1; job <= JOB; job *= JOB) {
        bench_draw(bench, 4 * PAGING_LARGE / PAGING_PAGE);
        const struct paging_shootdowns found =
            paging_shootdowns(&setup, SHOOTDOWN_CPUS, bench->virts, JOB, job);
        (void)fprintf(bench->out, "1,%s,loam,%llu,%llu\n",
                      job == 1 ? "shootdown_alone" : "shootdown_batch",
                      (unsigned long long)found.ipis, (unsigned long long)found.flushes);
    }
}

/* ---- set-up -------------------------------------------------------------------- */

/* Touched. */
static void *map_memory(size_t size_bytes)
{
    void *memory = bench_large_pages(size_bytes);
    memset(memory, 0xa5, size_bytes);
    return memory;
}

/* @p list NULL: all */
static void add_peers(struct bench *bench, const struct paging_peer *peers, const char *list)
{
    for (; peers->name != NULL && bench->peer_count < BENCH_PEERS_MAX; peers++) {
        if (bench_is_listed(peers->name, list))
            bench->peers[bench->peer_count++] = peers;
    }
}

/* @return names of the peers; NULL: all */
static const char *read_arguments(struct bench *bench, char **arguments)
{
    const char *list = NULL;

    for (; *arguments != NULL; arguments++) {
        const char *option = *arguments;
        if (strcmp(option, "--no-large") == 0) {
            bench->has_large = false;
            continue;
        }
        if (*++arguments == NULL)
            bench_fail("unknown, or without a value", option);
        if (strcmp(option, "--peers") == 0)
            list = *arguments;
        else if (strcmp(option, "--rounds") == 0)
            bench->rounds = bench_number(*arguments, ROUNDS_MAX);
        else if (strcmp(option, "--out") != 0)
            bench_fail("unknown", option);
        else if ((bench->out = fopen(*arguments, "w")) == NULL)
            bench_fail("cannot write", *arguments);
    }
    return list;
}

int main(int argc, char **argv)
{
    struct bench bench = { .rounds = 15, .has_large = true, .out = stdout };
    (void)argc;
    const char *list = read_arguments(&bench, argv + 1);

    add_peers(&bench, paging_loam, list);
    add_peers(&bench, PAGING_PEERS, list);
    add_peers(&bench, paging_limit, list);
    add_peers(&bench, paging_empty, list);
    if (bench.peer_count == 0)
        bench_fail("no such peer", list);
    bench.memory = map_memory(FRAMES_MAX * PAGING_PAGE);
    bench.virts = map_memory(LOOKUPS * sizeof *bench.virts);
    for (size_t i = 0; i < bench.peer_count; i++)
        bench_check(&bench, bench.peers[i]);
    time_all(&bench);
    if (bench_is_listed("loam", list))
        count_shootdowns(&bench);
    return bench.out != stdout && fclose(bench.out) != 0;
}
