/*
 * main.c - bench-usage: Loam's interval map and its peers.
 *
 *     bench-usage [--maps NAME,...] [--sizes N,...] [--rounds N] [--out FILE]
 *
 * A slice: a map is built from nothing by strict inserts in random order, each
 * interval is looked up in another random order, and each grows by a touching piece
 * in a third. Small maps are built several times for a slice, never twice alike.
 * Maps take turns, in another order each round, so that a slow moment of the
 * machine falls on all. Times are CPU time of the thread. bench/usage/report.py
 * makes tables and pictures of what is written to FILE.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../arena/help.h"
#include "map.h"

#define BENCH_MAPS_MAX  8u
#define BENCH_SIZES_MAX 8u
#define BENCH_SLICE     ((size_t)100000) /* operations at least */
#define BENCH_SIZE_MAX  ((size_t)10000000)
#define BENCH_MEMORY    ((size_t)512 << 20)

enum { BENCH_INSERT, BENCH_LOOKUP, BENCH_GROW, BENCH_MERGE, BENCH_OPERATIONS };
static const char *const operation_names[BENCH_OPERATIONS] = { "insert", "lookup", "grow",
                                                               "merge" };

/* Every interval has a slot of 16 pages: it starts in the lower four pages and has
 * up to eight, so four at least are free above it. */
#define BENCH_PAGE  UINT64_C(4096)
#define BENCH_PAGES UINT64_C(16)

struct bench_interval {
    uint64_t first, last;
    uint8_t value;
};

struct bench {
    const struct bench_map *maps[BENCH_MAPS_MAX];
    size_t map_count;
    size_t sizes[BENCH_SIZES_MAX];
    size_t size_count;
    unsigned rounds;
    FILE *out;
    struct bench_interval *intervals;
    uint64_t random;
};

static uint64_t bench_random(struct bench *bench)
{
    bench->random ^= bench->random << 13;
    bench->random ^= bench->random >> 7;
    bench->random ^= bench->random << 17;
    return bench->random * UINT64_C(0x2545f4914f6cdd1d) >> 16;
}

static double bench_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* ---- what is done --------------------------------------------------------------- */

/* A random order. What is done next reads them one after the other. */
static void bench_shuffle(struct bench *bench, size_t count)
{
    for (size_t i = count; i > 1; i--) {
        const size_t other = bench_random(bench) % i;
        const struct bench_interval swapped = bench->intervals[i - 1];
        bench->intervals[i - 1] = bench->intervals[other];
        bench->intervals[other] = swapped;
    }
}

static void bench_make(struct bench *bench, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct bench_interval *interval = &bench->intervals[i];
        const uint64_t page = i * BENCH_PAGES + bench_random(bench) % 4;
        interval->first = page * BENCH_PAGE;
        interval->last = (page + 1 + bench_random(bench) % 8) * BENCH_PAGE - 1;
        interval->value = (uint8_t)(bench_random(bench) % 4);
    }
}

/* One map of @p count intervals. Adds nanoseconds. */
static void bench_run(struct bench *bench, const struct bench_map *map, size_t count,
                      double ns[BENCH_OPERATIONS])
{
    const struct bench_interval *intervals = bench->intervals;
    uint64_t wrong = 0;

    bench_shuffle(bench, count);
    double start = bench_now();
    for (size_t i = 0; i < count; i++)
        wrong += !map->insert(intervals[i].first, intervals[i].last, intervals[i].value);
    ns[BENCH_INSERT] += bench_now() - start;

    bench_shuffle(bench, count);
    start = bench_now();
    for (size_t i = 0; i < count; i++)
        wrong += map->lookup(intervals[i].first + (i & 4095)) != intervals[i].value;
    ns[BENCH_LOOKUP] += bench_now() - start;

    bench_shuffle(bench, count);
    start = bench_now();
    for (size_t i = 0; i < count; i++)
        wrong += !map->insert_merge(intervals[i].last + 1, intervals[i].last + BENCH_PAGE,
                                    intervals[i].value);
    ns[BENCH_GROW] += bench_now() - start;
    if (wrong != 0 && strcmp(map->name, "empty") != 0)
        bench_fail("wrong answers", map->name);
}

/* Slots of one owner become one interval, in random order. Adds nanoseconds. */
static void bench_fill(struct bench *bench, const struct bench_map *map, size_t count,
                       double ns[BENCH_OPERATIONS])
{
    const struct bench_interval *intervals = bench->intervals;
    const uint64_t slot = BENCH_PAGES * BENCH_PAGE;
    uint64_t wrong = 0;

    bench_shuffle(bench, count);
    const double start = bench_now();
    for (size_t i = 0; i < count; i++) {
        const uint64_t first = intervals[i].first & ~(slot - 1);
        wrong += !map->insert_merge(first, first + (slot - 1), 1);
    }
    ns[BENCH_MERGE] += bench_now() - start;
    if (wrong != 0)
        bench_fail("wrong answers", map->name);
}

static void bench_slice(struct bench *bench, const struct bench_map *map, size_t count,
                        unsigned round)
{
    const size_t times = (BENCH_SLICE + count - 1) / count;
    double ns[BENCH_OPERATIONS] = { 0 };
    size_t memory = 0;

    for (size_t i = 0; i < times; i++) {
        bench_make(bench, count);
        map->init(0);
        const size_t before = mallinfo2().uordblks;
        map->init(count);
        bench_run(bench, map, count, ns);
        memory = map->memory();
        memory = memory != 0 ? memory : mallinfo2().uordblks - before;
        map->init(count);
        bench_fill(bench, map, count, ns);
    }
    map->init(0);
    if (round == 0) /* warm up */
        return;
    for (unsigned i = 0; i < BENCH_OPERATIONS; i++) {
        (void)fprintf(bench->out, "%u,%s,%s,%zu,%.3f,%.3f\n", round, operation_names[i], map->name,
                      count, ns[i] / (double)(count * times), (double)memory / (double)count);
    }
    (void)fflush(bench->out);
}

static void bench_all(struct bench *bench)
{
    (void)fprintf(bench->out, "round,operation,map,intervals,ns,bytes\n");
    for (unsigned round = 0; round <= bench->rounds; round++) {
        for (size_t s = 0; s < bench->size_count; s++) {
            const size_t first = bench_random(bench) % bench->map_count;
            for (size_t m = 0; m < bench->map_count; m++)
                bench_slice(bench, bench->maps[(first + m) % bench->map_count], bench->sizes[s],
                            round);
        }
    }
}

/* ---- set-up ---------------------------------------------------------------------- */

static void bench_choose(struct bench *bench, const struct bench_map *maps, const char *list)
{
    for (; maps->name != NULL; maps++) {
        if (bench_is_listed(maps->name, list))
            bench->maps[bench->map_count++] = maps;
    }
}

/* malloc() as Loam has it: large pages, and memory stays with the program. */
static void bench_tune(char **arguments)
{
    if (getenv("GLIBC_TUNABLES") == NULL) {
        (void)setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1", 1);
        (void)execv("/proc/self/exe", arguments);
    }
    (void)mallopt(M_MMAP_MAX, 0);
    (void)mallopt(M_TRIM_THRESHOLD, -1);
    (void)mallopt(M_TOP_PAD, 64 << 20);
}

static void bench_option(struct bench *bench, const char *option, const char *value,
                         const char **maps)
{
    if (strcmp(option, "--maps") == 0) {
        *maps = value;
    } else if (strcmp(option, "--rounds") == 0) {
        bench->rounds = (unsigned)strtoul(value, NULL, 10);
    } else if (strcmp(option, "--out") == 0) {
        bench->out = fopen(value, "w");
        if (bench->out == NULL)
            bench_fail("cannot write", value);
    } else if (strcmp(option, "--sizes") == 0) {
        bench->size_count = 0;
        for (char *end; *value != '\0' && bench->size_count < BENCH_SIZES_MAX; value = end) {
            const size_t size = strtoul(value, &end, 10);
            if (size == 0 || size > BENCH_SIZE_MAX)
                bench_fail("no number of intervals", value);
            bench->sizes[bench->size_count++] = size;
            end += *end == ',';
        }
    } else {
        bench_fail("unknown option", option);
    }
}

int main(int count, char **arguments)
{
    struct bench bench = { .sizes = { 1000, 10000, 100000, 1000000 },
                           .size_count = 4,
                           .rounds = 15,
                           .out = stdout,
                           .random = UINT64_C(0x9e3779b97f4a7c15) };
    const char *maps = NULL;

    bench_tune(arguments);
    for (int i = 1; i < count; i += 2)
        bench_option(&bench, arguments[i], i + 1 < count ? arguments[i + 1] : "", &maps);
    bench_choose(&bench, bench_usage_empty, maps);
    bench_choose(&bench, bench_usage_loam, maps);
    bench_choose(&bench, BENCH_USAGE_PEERS, maps);
    if (bench.map_count == 0)
        bench_fail("no such map", maps != NULL ? maps : "");
    bench.intervals = bench_large_pages(BENCH_SIZE_MAX * sizeof *bench.intervals);
    bench_usage_memory(bench_large_pages(BENCH_MEMORY), BENCH_MEMORY);
    bench_all(&bench);
    return bench.out != stdout && fclose(bench.out) != 0;
}
