/* pairs_nothing.h - pairs of two functions that only return: what the calls cost. */
#ifndef BENCH_MALLOC_PAIRS_NOTHING_H
#define BENCH_MALLOC_PAIRS_NOTHING_H

#include <stddef.h>

#define PAIRS_TAKE(size)  nothing_take(size)
#define PAIRS_GIVE(block) nothing_give(block)

static char nothing_block[16];

__attribute__((noinline)) static void *nothing_take(size_t size_bytes)
{
    (void)size_bytes;
    __asm__ volatile("");
    return nothing_block;
}

__attribute__((noinline)) static void nothing_give(void *block)
{
    (void)block;
    __asm__ volatile("");
}

#endif
