/*
 * programs.h - what the programs of bench-malloc have in common.
 *
 * Each is a pattern of the literature, written from its description. It touches what it
 * allocates, looks at it again before it is freed, and prints a checksum that does not
 * depend on the allocator, nor on how threads took turns.
 */
#ifndef BENCH_MALLOC_PROGRAMS_H
#define BENCH_MALLOC_PROGRAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define PROGRAM_PAGE    ((size_t)4096)
#define PROGRAM_THREADS 16u /* at most */

/* Of one run. */
struct program_load {
    uint64_t seed;
    unsigned threads;
    unsigned percent; /* of the usual work */
};

struct program {
    const char *name;
    /** @return checksum */
    uint64_t (*run)(const struct program_load *load);
    unsigned threads; /* that it has where nobody says otherwise */
};

/** Those of single.c, of sizes.c and of threads.c; each table ends without a name. */
extern const struct program programs_single[];
extern const struct program programs_sizes[];
extern const struct program programs_threads[];

/** Say what is wrong, and exit. */
__attribute__((noreturn, cold)) void program_fail(const char *what);

/** So much of the usual work as is wanted, at least 1. */
static inline size_t program_share(const struct program_load *load, size_t usual)
{
    const size_t share = usual * load->percent / 100;
    return share == 0 ? 1 : share;
}

/** Next random number. */
static inline uint64_t program_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state * UINT64_C(0x2545f4914f6cdd1d) >> 16;
}

/** First state of a thread's, never 0. */
static inline uint64_t program_seed(uint64_t seed, unsigned thread)
{
    return (seed + thread + 1) * UINT64_C(0x9e3779b97f4a7c15) | 1;
}

/** A size in min..max, as often below as above their geometric mean. */
static inline size_t program_log_size(uint64_t *state, size_t min, size_t max)
{
    size_t top = min;
    const uint64_t random = program_random(state);
    unsigned steps = 0;
    while (top < max / 2) {
        top *= 2;
        steps++;
    }
    const unsigned shift = (unsigned)(random % (steps + 1));
    const size_t low = min << shift;
    const size_t high = low * 2 < max ? low * 2 : max;
    return low + (size_t)((random >> 8) % (high - low + 1));
}

/* ---- blocks ---------------------------------------------------------------------- */

/* What a thread made and ended: the sums are alike when all has been freed. */
struct program_tally {
    uint64_t made;
    uint64_t ended;
    uint32_t serial;
};

/** A malloc() that does not fail. */
static inline void *program_take(size_t size_bytes)
{
    void *memory = malloc(size_bytes);
    if (memory == NULL)
        program_fail("out of memory");
    return memory;
}

/** Write a block's size and number, its last byte, and a byte in each page. */
static inline void program_mark(struct program_tally *tally, void *block, size_t size_bytes)
{
    unsigned char *bytes = block;
    const uint64_t word = (uint64_t)size_bytes << 32 | ++tally->serial;
    for (size_t at = PROGRAM_PAGE; at < size_bytes; at += PROGRAM_PAGE)
        bytes[at] = (unsigned char)at;
    if (size_bytes > sizeof word)
        bytes[size_bytes - 1] = (unsigned char)word;
    *(uint64_t *)block = word;
    tally->made += word;
}

/** @param size_bytes 8..2^32-1 */
static inline void *program_make(struct program_tally *tally, size_t size_bytes)
{
    void *block = program_take(size_bytes);
    program_mark(tally, block, size_bytes);
    return block;
}

/** Look at what was written. @return bytes of the block */
static inline size_t program_check(struct program_tally *tally, const void *block)
{
    const unsigned char *bytes = block;
    const uint64_t word = *(const uint64_t *)block;
    const size_t size_bytes = (size_t)(word >> 32);
    if (size_bytes > sizeof word && bytes[size_bytes - 1] != (unsigned char)word)
        program_fail("a block has changed");
    tally->ended += word;
    return size_bytes;
}

/** Look at a block, and free it. @param block NULL: there is none */
static inline void program_end(struct program_tally *tally, void *block)
{
    if (block == NULL)
        return;
    (void)program_check(tally, block);
    free(block);
}

/** What was made and ended. Exits unless these are alike. */
uint64_t program_sum(const struct program_tally *tally);

/* ---- threads --------------------------------------------------------------------- */

struct program_thread {
    const struct program_load *load;
    void *shared;
    struct program_tally tally;
    uint64_t random;
    unsigned index;
};

/** Run so many threads to their end. Adds what they made and ended to *tally. */
void program_threads(const struct program_load *load, struct program_tally *tally, void *shared,
                     void (*body)(struct program_thread *thread));

#endif
