/*
 * demo_pairs.c - what malloc() and free() of 16 bytes cost, in ticks of the time stamp
 * counter. Under QEMU's -icount shift=0, with one CPU, ticks are instructions: see
 * bench/malloc_pair.py.
 */
#include "demos.h"
#include "instructions.h"
#include "log.h"
#include "malloc.h"

#define PAIRS   1000u /* in a window */
#define WINDOWS 32u   /* of which the shortest counts */
#define BYTES   16u

/* The compiler must not know that a block is not used. */
static void hide(void *block)
{
    __asm__ volatile("" : : "r"(block) : "memory");
}

static uint64_t count_nothing(void)
{
    const uint64_t start = x86_read_tsc();
    for (unsigned i = 0; i < PAIRS; i++)
        hide(NULL);
    return x86_read_tsc() - start;
}

/* @return 0: there was no memory */
static uint64_t count_pairs(void)
{
    const uint64_t start = x86_read_tsc();
    for (unsigned i = 0; i < PAIRS; i++) {
        void *const block = malloc(BYTES);
        hide(block);
        if (block == NULL)
            return 0;
        free(block);
    }
    return x86_read_tsc() - start;
}

static uint64_t least(uint64_t (*count)(void))
{
    uint64_t found = UINT64_MAX;
    for (unsigned i = 0; i < WINDOWS; i++) {
        const uint64_t ticks = count();
        found = ticks < found ? ticks : found;
    }
    return found;
}

bool demo_pairs(struct loam_locked *heap)
{
    const uint64_t pairs = least(count_pairs);
    const uint64_t nothing = least(count_nothing);
    (void)heap;
    log_info("%u pairs of malloc(%u) and free(): %lu ticks, the loop alone %lu", PAIRS, BYTES,
             pairs, nothing);
    return pairs > nothing;
}
