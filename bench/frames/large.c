/*
 * large.c - big machines: bytes of metadata, requests that fail when 256 GiB are in
 * use, bringing up 1 TiB. Nothing but metadata is touched.
 */
#include <string.h>

#include "bench.h"

#define LARGE_GIB         ((uint64_t)1 << 18) /* frames */
#define LARGE_FAILS       2000u
#define LARGE_MEMORY_MAX  ((size_t)6 << 30) /* an allocator that wants more is left out */
#define FRAME_BYTES       ((uint64_t)4096)
#define LARGE_FULL_FRAMES (256 * LARGE_GIB)
#define LARGE_INIT_FRAMES (1024 * LARGE_GIB)

static bool large_fits(const struct bench_plan *plan, const struct frames_peer *peer,
                       uint64_t frame_count)
{
    return !peer->is_limit &&
           peer->metadata_bytes(frame_count, plan->cpu_count) <= LARGE_MEMORY_MAX;
}

/* ---- metadata --------------------------------------------------------------------- */

static void large_metadata(const struct bench_plan *plan)
{
    const uint64_t sizes[] = { 1, 8, 256, 1024 };
    FILE *file = bench_file(plan->directory, "metadata.csv", "peer,gib,bytes");
    printf("metadata, KiB per GiB, at 1, 8, 256 and 1024 GiB, %u CPUs\n", plan->cpu_count);
    for (size_t p = 0; p < plan->peer_count; p++) {
        const struct frames_peer *peer = plan->peers[p];
        if (peer->is_limit || peer->metadata_bytes(LARGE_GIB, plan->cpu_count) == 0)
            continue;
        printf("%-12s", peer->name);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            const size_t bytes = peer->metadata_bytes(sizes[i] * LARGE_GIB, plan->cpu_count);
            printf(" %9.2f", (double)bytes / 1024 / (double)sizes[i]);
            if (file != NULL)
                (void)fprintf(file, "%s,%llu,%zu\n", peer->name, (unsigned long long)sizes[i],
                              bytes);
        }
        printf("\n");
    }
    bench_close(file);
}

/* ---- requests that fail -------------------------------------------------------------- */

/* Times requests of one order, a few times over; returns the median. */
static double large_fail(const struct frames_peer *peer, unsigned order, const char *state,
                         FILE *file)
{
    double ns[7];
    const size_t loops = sizeof ns / sizeof ns[0];
    if (order > peer->order_max)
        return 0.0;
    for (size_t loop = 0; loop < loops; loop++) {
        const double start = bench_cpu_now();
        for (unsigned i = 0; i < LARGE_FAILS; i++)
            if (peer->alloc(order) != FRAMES_NONE)
                bench_fail("finds frames that are not free", peer->name);
        ns[loop] = (bench_cpu_now() - start) / LARGE_FAILS;
        if (file != NULL)
            (void)fprintf(file, "%zu,%s,%s,%u,%.2f\n", loop, state, peer->name, order, ns[loop]);
    }
    return bench_median(ns, loops);
}

static void large_failing_peer(const struct bench_plan *plan, const struct frames_peer *peer,
                               FILE *file)
{
    bench_bring_up(peer, LARGE_FULL_FRAMES, plan->cpu_count);
    for (uint64_t i = 0; i < LARGE_FULL_FRAMES; i++)
        (void)bench_alloc(peer, 0);
    const double single = large_fail(peer, 0, "full", file);
    const double large = large_fail(peer, 9, "full", file);
    const double huge = large_fail(peer, 18, "full", file);
    /* One frame of every other 2 MiB. */
    for (uint64_t i = 0; i < LARGE_FULL_FRAMES; i += 1024)
        peer->free(FRAMES_BASE + i * FRAME_BYTES, 0);
    printf("%-12s %11.1f %11.1f %11.1f %11.1f\n", peer->name, single, large, huge,
           large_fail(peer, 9, "scattered", file));
}

static void large_failing(const struct bench_plan *plan)
{
    FILE *file = bench_file(plan->directory, "failing.csv", "round,state,peer,order,ns");
    printf("ns of a request that fails, 256 GiB: single, 2M, 1G, 2M with 0.1 %% free\n");
    for (size_t p = 0; p < plan->peer_count; p++) {
        bench_progress("failing: %s", plan->peers[p]->name);
        if (large_fits(plan, plan->peers[p], LARGE_FULL_FRAMES))
            large_failing_peer(plan, plan->peers[p], file);
    }
    bench_progress("%s", "");
    bench_close(file);
}

/* ---- bringing up ------------------------------------------------------------------------ */

static double large_init(const struct bench_plan *plan, const struct frames_peer *peer,
                         bool is_zeroed)
{
    const size_t need = peer->metadata_bytes(LARGE_INIT_FRAMES, plan->cpu_count);
    const struct frames_setup setup = {
        .memory = need == 0 ? NULL : bench_memory(need),
        .frame_count = LARGE_INIT_FRAMES,
        .cpu_count = plan->cpu_count,
        .is_zeroed = is_zeroed,
    };
    if (need != 0)
        memset(setup.memory, is_zeroed ? 0 : 0xa5, need);
    const double start = bench_cpu_now();
    if (!peer->init(&setup))
        bench_fail("refuses the memory", peer->name);
    const double ns = bench_cpu_now() - start;
    (void)bench_alloc(peer, 0);
    return ns;
}

static void large_bring_up(const struct bench_plan *plan)
{
    double ns[2][5];
    const unsigned rounds = sizeof ns[0] / sizeof ns[0][0];
    FILE *file = bench_file(plan->directory, "init.csv", "round,peer,zeroed,ns");
    printf("ms to bring up 1 TiB: metadata zeroed, not zeroed\n");
    for (size_t p = 0; p < plan->peer_count; p++) {
        const struct frames_peer *peer = plan->peers[p];
        if (!large_fits(plan, peer, LARGE_INIT_FRAMES))
            continue;
        bench_progress("init: %s", peer->name);
        for (unsigned round = 0; round < rounds; round++) {
            for (unsigned zeroed = 0; zeroed < 2; zeroed++) {
                ns[zeroed][round] = large_init(plan, peer, zeroed != 0);
                if (file != NULL)
                    (void)fprintf(file, "%u,%s,%u,%.0f\n", round, peer->name, zeroed,
                                  ns[zeroed][round]);
            }
        }
        const double not_zeroed = bench_median(ns[0], rounds);
        printf("%-12s %11.4f %11.4f\n", peer->name, bench_median(ns[1], rounds) / 1e6,
               not_zeroed / 1e6);
    }
    bench_progress("%s", "");
    bench_close(file);
}

void bench_large(const struct bench_plan *plan)
{
    large_metadata(plan);
    large_failing(plan);
    large_bring_up(plan);
}
