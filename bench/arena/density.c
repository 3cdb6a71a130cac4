/*
 * density.c - how much of a span can be in use.
 *
 * Blocks are allocated until the first request that fails; what counts is the
 * bytes asked for by then, as a share of the span. A churned mix frees a random
 * half and fills up again, BENCH_CHURNS times; after it, all is freed and the
 * largest block that can be had is looked for. Every heap gets the same requests.
 */
#include <stdlib.h>

#include "bench.h"

#define BENCH_CHURNS     4u
#define BENCH_BLOCKS_MAX (BENCH_SPAN_BYTES / 16)

enum mix_sizes { MIX_LOG, MIX_UNIFORM, MIX_ALTERNATING };

struct mix {
    const char *name;
    enum mix_sizes sizes;
    uint32_t size_min, size_max;
    unsigned align_shift_min, align_shift_max;
    bool churned;
    size_t span_bytes;
};

/* Two have smaller spans: linked_list_allocator walks its holes, and a quarter of a
 * million of them would take hours. */
static const struct mix mixes[] = {
    { "log1-64K", MIX_LOG, 1, 64 << 10, 3, 3, false, BENCH_SPAN_BYTES },
    { "log8-512", MIX_LOG, 8, 512, 3, 3, false, BENCH_SPAN_BYTES },
    { "churned", MIX_LOG, 8, 512, 3, 3, true, BENCH_SPAN_BYTES / 8 },
    { "churned-mixed", MIX_LOG, 1, 64 << 10, 3, 3, true, BENCH_SPAN_BYTES },
    { "uniform1-1024", MIX_UNIFORM, 1, 1024, 3, 3, false, BENCH_SPAN_BYTES },
    { "fixed24", MIX_UNIFORM, 24, 24, 3, 3, false, BENCH_SPAN_BYTES },
    { "fixed64/4096", MIX_ALTERNATING, 64, 4096, 3, 3, false, BENCH_SPAN_BYTES },
    { "aligned8-4096", MIX_LOG, 8, 4096, 4, 12, false, BENCH_SPAN_BYTES / 4 },
};
#define MIXES (sizeof mixes / sizeof *mixes)

struct mix_block {
    void *block;
    uint32_t size_bytes, align;
};

struct filling {
    const struct bench_heap *heap;
    const struct mix *mix;
    struct mix_block *blocks;
    size_t count;
    size_t drawn; /* requests so far */
    uint64_t state;
};

static uint32_t mix_size(const struct mix *mix, size_t drawn, uint64_t *state)
{
    switch (mix->sizes) {
    case MIX_LOG:
        return bench_random_size(state, mix->size_min, mix->size_max);
    case MIX_ALTERNATING:
        return drawn % 2 == 0 ? mix->size_min : mix->size_max;
    case MIX_UNIFORM:
    default:
        return mix->size_min +
               (uint32_t)(bench_random(state) % (mix->size_max - mix->size_min + 1));
    }
}

/* Allocate until a request fails. */
static void filling_fill(struct filling *filling)
{
    const struct mix *mix = filling->mix;
    const unsigned shifts = mix->align_shift_max - mix->align_shift_min + 1;
    while (filling->count < BENCH_BLOCKS_MAX) {
        struct mix_block *next = &filling->blocks[filling->count];
        next->size_bytes = mix_size(mix, filling->drawn++, &filling->state);
        next->align = 1u << (mix->align_shift_min + bench_random(&filling->state) % shifts);
        next->block = filling->heap->alloc(next->size_bytes, next->align);
        if (next->block == NULL)
            return;
        filling->count++;
    }
    (void)fprintf(stderr, "bench-arena: %s has more room than there is\n", filling->heap->name);
    exit(1);
}

/* Free those that a random bit says, or all. The others move up. */
static void filling_free(struct filling *filling, uint64_t seed, bool all)
{
    size_t kept = 0;
    for (size_t i = 0; i < filling->count; i++) {
        const struct mix_block *at = &filling->blocks[i];
        if (all || (bench_random(&seed) >> 63) != 0)
            filling->heap->free(at->block, at->size_bytes, at->align);
        else
            filling->blocks[kept++] = *at;
    }
    filling->count = kept;
}

static double filling_percent(const struct filling *filling)
{
    size_t bytes = 0;
    for (size_t i = 0; i < filling->count; i++)
        bytes += filling->blocks[i].size_bytes;
    return 100.0 * (double)bytes / (double)filling->mix->span_bytes;
}

/* Largest block that can be had now, as a share of the span. */
static double filling_largest(const struct filling *filling)
{
    size_t served = 0;
    size_t refused = filling->mix->span_bytes + 1;
    while (refused - served > 1) {
        const size_t size = served + (refused - served) / 2;
        void *block = filling->heap->alloc(size, 8);
        if (block != NULL) {
            filling->heap->free(block, size, 8);
            served = size;
        } else {
            refused = size;
        }
    }
    return 100.0 * (double)served / (double)filling->mix->span_bytes;
}

struct density {
    double live, largest; /* percent; largest: of churned mixes */
};

static struct density density_measure(const struct bench_plan *plan, struct filling *filling,
                                      uint64_t seed)
{
    struct density density = { 0, 0 };
    bench_heap_init(filling->heap, plan, filling->mix->span_bytes);
    filling->count = 0;
    filling->drawn = 0;
    filling->state = seed << 32;
    filling_fill(filling);
    for (unsigned i = 0; filling->mix->churned && i < BENCH_CHURNS; i++) {
        filling_free(filling, (seed << 32) + i, false);
        filling_fill(filling);
    }
    density.live = filling_percent(filling);
    if (filling->mix->churned) {
        filling_free(filling, 0, true);
        density.largest = filling_largest(filling);
    }
    return density;
}

/* Mean over the seeds. */
static struct density density_of(const struct bench_plan *plan, struct filling *filling, FILE *file)
{
    struct density mean = { 0, 0 };
    for (unsigned seed = 1; seed <= plan->repeats; seed++) {
        bench_progress("density: %s, %s, seed %u of %u", filling->heap->name, filling->mix->name,
                       seed, plan->repeats);
        const struct density density = density_measure(plan, filling, seed);
        mean.live += density.live / plan->repeats;
        mean.largest += density.largest / plan->repeats;
        if (file != NULL)
            (void)fprintf(file, "%s,%zu,%s,%u,%.4f,%.4f\n", filling->mix->name,
                          filling->mix->span_bytes, filling->heap->name, seed, density.live,
                          density.largest);
    }
    return mean;
}

void bench_density(const struct bench_plan *plan)
{
    FILE *file =
        bench_file(plan->directory, "density.csv", "mix,span_bytes,heap,seed,live,largest");
    struct filling filling = { .blocks = bench_array(BENCH_BLOCKS_MAX, sizeof *filling.blocks) };

    printf("bytes live at the first failure, %% of the span, mean of %u seeds; "
           "in parentheses: largest block once all is freed\n%-16s",
           plan->repeats, "");
    for (size_t m = 0; m < MIXES; m++)
        printf(mixes[m].churned ? " %15s" : " %13s", mixes[m].name);
    printf("\n");
    for (size_t h = 0; h < plan->heap_count; h++) {
        filling.heap = plan->heaps[h];
        if (filling.heap == bench_empty)
            continue;
        printf("%-16s", filling.heap->name);
        for (size_t m = 0; m < MIXES; m++) {
            filling.mix = &mixes[m];
            const struct density density = density_of(plan, &filling, file);
            if (mixes[m].churned)
                printf(" %7.2f (%5.1f)", density.live, density.largest);
            else
                printf(" %13.2f", density.live);
            (void)fflush(stdout);
        }
        printf("\n");
    }
    bench_progress("%s", "");
    free(filling.blocks);
    bench_close(file);
}
