/*
 * sizes.c - one thread, blocks of changing and of large sizes.
 *
 *     mix          many small blocks, fewer large ones; freed from both ends (sh6)
 *     vectors      arrays that grow to no known size
 *     grow         a few large arrays that grow by steps and shrink
 *     large        blocks of 64 KiB to 4 MiB, one of them replaced at a time
 *     phases       sizes that change as time goes on, while a few blocks stay; then idle
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "programs.h"

#define MIX_TIMES     ((size_t)150)
#define MIX_KINDS     (sizeof mix_kinds / sizeof mix_kinds[0])
#define MIX_BLOCKS    ((size_t)88000) /* of all kinds, at least */
#define VECTOR_COUNT  ((size_t)256)
#define VECTOR_STEPS  ((size_t)250000000)
#define GROW_ARRAYS   ((size_t)4)
#define GROW_STEP     ((size_t)192 << 10)
#define GROW_LIMIT    ((size_t)24 << 20)
#define LARGE_SLOTS   ((size_t)48)
#define LARGE_STEPS   ((size_t)24000)
#define PHASES        ((size_t)24)
#define PHASE_BYTES   ((size_t)12 << 20)
#define PHASE_STEPS   ((size_t)130000)
#define PHASE_BLOCKS  ((size_t)400000)
#define IDLE_STEPS    50
#define IDLE_USECONDS 10000

/* ---- mix ------------------------------------------------------------------------- */

/* Sizes, and how many of each a round has. */
static const struct {
    size_t min;
    size_t max;
    size_t count;
} mix_kinds[] = {
    { 8, 32, 50000 },   { 33, 64, 20000 },  { 65, 128, 10000 },  { 129, 256, 5000 },
    { 257, 512, 2000 }, { 513, 1000, 800 }, { 1001, 4000, 150 }, { 4001, 30000, 50 }
};

/* A round: all kinds in turn, so that neighbours differ. @return number of blocks */
static size_t mix_make(struct program_tally *tally, uint64_t *random, void **blocks)
{
    size_t left[MIX_KINDS];
    size_t count = 0;
    for (size_t kind = 0; kind < MIX_KINDS; kind++)
        left[kind] = mix_kinds[kind].count;
    for (bool is_any = true; is_any;) {
        is_any = false;
        for (size_t kind = 0; kind < MIX_KINDS; kind++) {
            /* A kind that has a tenth of the blocks takes a tenth of the turns. */
            for (size_t i = 0; i < mix_kinds[kind].count / 800 + 1 && left[kind] > 0; i++) {
                const size_t more = mix_kinds[kind].max - mix_kinds[kind].min + 1;
                const size_t size = mix_kinds[kind].min + (size_t)(program_random(random) % more);
                blocks[count++] = program_make(tally, size);
                left[kind]--;
                is_any = true;
            }
        }
    }
    return count;
}

/* The newer half from its end, a quarter from its start, the rest in the next round. */
static uint64_t mix_run(const struct program_load *load)
{
    struct program_tally tally = { 0 };
    uint64_t random = program_seed(load->seed, 0);
    void **blocks = program_take(2 * MIX_BLOCKS * sizeof *blocks);
    void **rest = blocks + MIX_BLOCKS;
    size_t rest_count = 0;
    const size_t times = program_share(load, MIX_TIMES);
    for (size_t time = 0; time < times; time++) {
        const size_t count = mix_make(&tally, &random, blocks);
        for (size_t i = count; i > count / 2; i--)
            program_end(&tally, blocks[i - 1]);
        for (size_t i = 0; i < rest_count; i++)
            program_end(&tally, rest[i]);
        for (size_t i = 0; i < count / 4; i++)
            program_end(&tally, blocks[i]);
        rest_count = count / 2 - count / 4;
        memcpy(rest, blocks + count / 4, rest_count * sizeof *blocks);
    }
    for (size_t i = 0; i < rest_count; i++)
        program_end(&tally, rest[i]);
    free(blocks);
    return program_sum(&tally);
}

/* ---- arrays that grow ------------------------------------------------------------ */

struct vector {
    uint32_t *items;
    size_t count;
    size_t room;
};

static void vector_push(struct vector *vector, uint32_t item, bool is_tight)
{
    if (vector->count == vector->room) {
        const size_t more = is_tight ? vector->room / 2 : vector->room;
        vector->room += more < 4 ? 4 : more;
        vector->items = realloc(vector->items, vector->room * sizeof *vector->items);
        if (vector->items == NULL)
            program_fail("out of memory");
    }
    vector->items[vector->count++] = item;
}

static uint64_t vector_empty(struct vector *vector)
{
    uint64_t sum = vector->count;
    for (size_t i = 0; i < vector->count; i += 61)
        sum = sum * 31 + vector->items[i];
    free(vector->items);
    *vector = (struct vector){ NULL, 0, 0 };
    return sum;
}

static uint64_t vectors_run(const struct program_load *load)
{
    uint64_t random = program_seed(load->seed, 0);
    struct vector vectors[VECTOR_COUNT] = { { NULL, 0, 0 } };
    uint64_t sum = 0;
    const size_t steps = program_share(load, VECTOR_STEPS);
    for (size_t step = 0; step < steps;) {
        const uint64_t draw = program_random(&random);
        const size_t which = (size_t)(draw % VECTOR_COUNT);
        const size_t count = (size_t)1 << (draw >> 8) % 11;
        for (size_t i = 0; i < count; i++)
            vector_push(&vectors[which], (uint32_t)(step + i), which % 2 != 0);
        if ((draw >> 16) % 32 == 0)
            sum = sum * 31 + vector_empty(&vectors[which]);
        step += count;
    }
    for (size_t i = 0; i < VECTOR_COUNT; i++)
        sum = sum * 31 + vector_empty(&vectors[i]);
    return sum;
}

static unsigned char *grow_to(unsigned char *bytes, size_t size_bytes)
{
    unsigned char *moved = realloc(bytes, size_bytes);
    if (moved == NULL)
        program_fail("out of memory");
    return moved;
}

static uint64_t grow_run(const struct program_load *load)
{
    uint64_t sum = load->seed;
    const size_t times = program_share(load, 4);
    for (size_t time = 0; time < times; time++) {
        unsigned char *arrays[GROW_ARRAYS] = { NULL };
        for (size_t size = GROW_STEP; size <= GROW_LIMIT; size += GROW_STEP) {
            for (size_t i = 0; i < GROW_ARRAYS; i++) {
                arrays[i] = grow_to(arrays[i], size);
                memset(arrays[i] + size - GROW_STEP, (int)((size / GROW_STEP + i) & 0xff),
                       GROW_STEP);
            }
        }
        for (size_t size = GROW_LIMIT; size >= GROW_STEP; size /= 2) {
            for (size_t i = 0; i < GROW_ARRAYS; i++) {
                arrays[i] = grow_to(arrays[i], size);
                sum = sum * 31 + arrays[i][size / 2] + arrays[i][size - 1];
            }
        }
        for (size_t i = 0; i < GROW_ARRAYS; i++)
            free(arrays[i]);
    }
    return sum;
}

/* ---- large blocks ---------------------------------------------------------------- */

static uint64_t large_run(const struct program_load *load)
{
    struct program_tally tally = { 0 };
    uint64_t random = program_seed(load->seed, 0);
    void *blocks[LARGE_SLOTS] = { NULL };
    const size_t steps = program_share(load, LARGE_STEPS);
    for (size_t step = 0; step < steps; step++) {
        const size_t slot = (size_t)(program_random(&random) % LARGE_SLOTS);
        program_end(&tally, blocks[slot]);
        blocks[slot] =
            program_make(&tally, program_log_size(&random, (size_t)64 << 10, (size_t)4 << 20));
    }
    for (size_t slot = 0; slot < LARGE_SLOTS; slot++)
        program_end(&tally, blocks[slot]);
    return program_sum(&tally);
}

/* ---- phases ---------------------------------------------------------------------- */

/* Live blocks of a phase, and those that stay for good. */
struct phase {
    struct program_tally tally;
    uint64_t random;
    void **blocks;
    size_t count;
    size_t live_bytes;
};

static void phase_free(struct phase *phase, size_t index)
{
    void *block = phase->blocks[index];
    phase->live_bytes -= program_check(&phase->tally, block);
    free(block);
    phase->blocks[index] = phase->blocks[--phase->count];
}

/* Each phase has sizes around another one; @p first to the last are its blocks. */
static void phase_run(struct phase *phase, size_t number, size_t steps, size_t first)
{
    const size_t center = (size_t)16 << (number * 7 % 11);
    for (size_t step = 0; step < steps; step++) {
        while (phase->live_bytes > PHASE_BYTES && phase->count > first)
            phase_free(phase,
                       first + (size_t)(program_random(&phase->random) % (phase->count - first)));
        const size_t size = program_log_size(&phase->random, center / 2, center * 2);
        if (phase->count == PHASE_BLOCKS)
            phase_free(phase, first);
        phase->blocks[phase->count++] = program_make(&phase->tally, size);
        phase->live_bytes += size;
    }
}

/* One block in 32 stays. */
static void phase_end(struct phase *phase, size_t first)
{
    for (size_t i = phase->count; i > first; i--)
        if (program_random(&phase->random) % 32 != 0)
            phase_free(phase, i - 1);
}

/* Little to do, for half a second: time to give memory back. @return resident KiB */
static long phase_idle(struct phase *phase)
{
    for (int i = 0; i < IDLE_STEPS; i++) {
        program_end(&phase->tally, program_make(&phase->tally, 100));
        (void)usleep(IDLE_USECONDS);
    }
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%*d %ld", &pages) != 1)
        program_fail("no /proc/self/statm");
    (void)fclose(file);
    return pages * (long)(PROGRAM_PAGE / 1024);
}

static uint64_t phases_run(const struct program_load *load)
{
    struct phase phase = { .random = program_seed(load->seed, 0) };
    phase.blocks = program_take(PHASE_BLOCKS * sizeof *phase.blocks);
    const size_t steps = program_share(load, PHASE_STEPS);
    for (size_t number = 0; number < PHASES; number++) {
        const size_t first = phase.count;
        phase_run(&phase, number, steps, first);
        phase_end(&phase, first);
    }
    (void)printf("idle %ld\n", phase_idle(&phase));
    while (phase.count > 0)
        phase_free(&phase, phase.count - 1);
    free(phase.blocks);
    return program_sum(&phase.tally);
}

/* ---------------------------------------------------------------------------------- */

const struct program programs_sizes[] = {
    { "mix", mix_run, 1 },     { "vectors", vectors_run, 1 }, { "grow", grow_run, 1 },
    { "large", large_run, 1 }, { "phases", phases_run, 1 },   { NULL, NULL, 0 },
};
