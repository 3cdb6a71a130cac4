/*
 * pairs.c - bench-malloc-pairs: one block of 16 bytes made and freed, as often as it takes.
 *
 *     bench-malloc-pairs cycles      cycles of a pair: tight, and freed in random order
 *     bench-malloc-pairs count N     N pairs, in pairs_take() and pairs_give(), to be counted
 *
 * Built once for each PAIRS_HEADER, which defines PAIRS_TAKE(size), PAIRS_GIVE(block) and,
 * where something comes first, PAIRS_INIT(): no pointer stands between the loops and what
 * they call. Cycles are the processor's: their length is measured by a chain of additions
 * beside each loop. The least of all windows.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <x86intrin.h>

#include PAIRS_HEADER

#include "../arena/help.h"

#ifndef PAIRS_INIT
#define PAIRS_INIT() ((void)0)
#endif

#define SIZE      ((size_t)16)
#define WINDOWS   400u
#define TIGHT     1000u
#define LIVE      1000u
#define KEPT      100u /* others that live meanwhile: no allocator ends up with none */
#define ADDITIONS 1000u

static void *blocks[LIVE];
static unsigned order[LIVE];

/* Time stamps that a cycle takes: each addition waits for the one before. */
static double stamps_of_cycle(void)
{
    uint64_t number = 1;
    const uint64_t start = __rdtsc();
    for (unsigned i = 0; i < ADDITIONS / 20; i++)
        __asm__ volatile(".rept 20\n\taddq %0, %0\n\t.endr" : "+r"(number)); /* a chain */
    return (double)(__rdtsc() - start) / ADDITIONS;
}

static uint64_t tight_window(void)
{
    const uint64_t start = __rdtsc();
    for (unsigned i = 0; i < TIGHT; i++) {
        void *block = PAIRS_TAKE(SIZE);
        __asm__ volatile("" : "+r"(block) : : "memory"); /* it could be used here */
        PAIRS_GIVE(block);
    }
    return __rdtsc() - start;
}

static uint64_t random_window(void)
{
    const uint64_t start = __rdtsc();
    for (unsigned i = 0; i < LIVE; i++)
        blocks[i] = PAIRS_TAKE(SIZE);
    for (unsigned i = 0; i < LIVE; i++)
        PAIRS_GIVE(blocks[order[i]]);
    return __rdtsc() - start;
}

static void shuffle(void)
{
    uint64_t random = 88172645463325252u;
    for (unsigned i = 0; i < LIVE; i++)
        order[i] = i;
    for (unsigned i = LIVE; i > 1; i--) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        const unsigned other = (unsigned)(random % i);
        const unsigned swapped = order[i - 1];
        order[i - 1] = order[other];
        order[other] = swapped;
    }
}

static double least(uint64_t (*window)(void), double count)
{
    double stamps = 1e300;
    double cycle = 1e300;
    for (unsigned i = 0; i < WINDOWS; i++) {
        const double length = stamps_of_cycle();
        const double all = (double)window();
        cycle = length < cycle ? length : cycle;
        stamps = all < stamps ? all : stamps;
    }
    return stamps / count / cycle;
}

/* ---- to be counted by callgrind -------------------------------------------------- */

__attribute__((noinline)) void *pairs_take(void);
__attribute__((noinline)) void pairs_give(void *block);

void *pairs_take(void)
{
    void *block = PAIRS_TAKE(SIZE);
    __asm__ volatile("" : "+r"(block)); /* a call, not a jump */
    return block;
}

void pairs_give(void *block)
{
    PAIRS_GIVE(block);
    __asm__ volatile(""); /* a call, not a jump */
}

/* Never freed. */
static void keep(void)
{
    for (unsigned i = 0; i < KEPT; i++) {
        void *block = PAIRS_TAKE(SIZE);
        __asm__ volatile("" : "+r"(block));
    }
}

int main(int argc, char **argv)
{
    PAIRS_INIT();
    keep();
    if (argc == 3 && strcmp(argv[1], "count") == 0) {
        for (unsigned left = bench_number(argv[2], 1000000000); left > 0; left--)
            pairs_give(pairs_take());
        return 0;
    }
    if (argc != 2 || strcmp(argv[1], "cycles") != 0)
        bench_fail("usage", "cycles, or count N");
    shuffle();
    const double tight = least(tight_window, TIGHT);
    const double random = least(random_window, LIVE);
    (void)printf("%.2f %.2f\n", tight, random);
    return 0;
}
