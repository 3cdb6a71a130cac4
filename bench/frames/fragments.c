/*
 * fragments.c - blocks of 2 MiB that are left after rounds of random replacement.
 *
 * As LLFree's authors do: all of 2 GiB is allocated in single frames, a random half is
 * freed; then, in each round, as many frames as a tenth of memory are replaced: one
 * random frame in use is freed, one allocated, and so on. (Theirs is a tenth of what is
 * in use, and fewer rounds.) Half is free: 512 blocks, were they not torn. What is
 * counted are the blocks that can be allocated then.
 */
#include "../arena/actions.h"
#include "bench.h"

#define FRAGMENTS_FRAMES ((size_t)1 << 19)
#define FRAGMENTS_HALF   (FRAGMENTS_FRAMES / 2)
#define FRAGMENTS_SEEDS  3u
#define BLOCK_ORDER      9u

static const unsigned stops[] = { 0, 5, 10, 20, 30, 40, 50, 60 };
#define STOPS (sizeof stops / sizeof stops[0])

static unsigned fragments_count(const struct frames_peer *peer)
{
    unsigned count = 0;
    while (peer->alloc(BLOCK_ORDER) != FRAMES_NONE)
        count++;
    return count;
}

static unsigned fragments_run(const struct frames_peer *peer, uint64_t *block, unsigned rounds,
                              uint64_t seed)
{
    uint64_t state = seed;
    for (size_t i = 0; i < FRAGMENTS_FRAMES; i++)
        block[i] = bench_alloc(peer, 0);
    bench_shuffle(block, FRAGMENTS_FRAMES, &state);
    for (size_t i = FRAGMENTS_HALF; i < FRAGMENTS_FRAMES; i++)
        peer->free(block[i], 0);
    for (unsigned round = 0; round < rounds; round++) {
        for (size_t i = 0; i < FRAGMENTS_FRAMES / 10; i++) {
            uint64_t *victim = &block[(bench_random(&state) >> 32) * FRAGMENTS_HALF >> 32];
            peer->free(*victim, 0);
            *victim = bench_alloc(peer, 0);
        }
    }
    return fragments_count(peer);
}

/* Mean of the seeds. */
static double fragments_mean(const struct bench_plan *plan, const struct frames_peer *peer,
                             uint64_t *block, unsigned rounds, FILE *file)
{
    double sum = 0;
    for (uint64_t seed = 1; seed <= FRAGMENTS_SEEDS; seed++) {
        bench_progress("fragments: %s, %u rounds", peer->name, rounds);
        bench_bring_up(peer, FRAGMENTS_FRAMES, plan->cpu_count);
        const unsigned count = fragments_run(peer, block, rounds, seed);
        sum += count;
        if (file != NULL)
            (void)fprintf(file, "%llu,%s,%u,%u\n", (unsigned long long)seed, peer->name, rounds,
                          count);
    }
    return sum / FRAGMENTS_SEEDS;
}

void bench_fragments(const struct bench_plan *plan)
{
    FILE *file = bench_file(plan->directory, "fragments.csv", "seed,peer,rounds,blocks");
    uint64_t *block = bench_array(FRAGMENTS_FRAMES, sizeof *block);
    printf("blocks of 2 MiB left of 512, after rounds\n%-12s", "");
    for (size_t s = 0; s < STOPS; s++)
        printf(" %7u", stops[s]);
    printf("\n");
    for (size_t p = 0; p < plan->peer_count; p++) {
        double mean[STOPS];
        if (plan->peers[p]->order_max < BLOCK_ORDER)
            continue;
        for (size_t s = 0; s < STOPS; s++)
            mean[s] = fragments_mean(plan, plan->peers[p], block, stops[s], file);
        bench_progress("%s", "");
        printf("%-12s", plan->peers[p]->name);
        for (size_t s = 0; s < STOPS; s++)
            printf(" %7.1f", mean[s]);
        printf("\n");
    }
    bench_close(file);
}
