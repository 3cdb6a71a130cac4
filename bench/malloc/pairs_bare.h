/* pairs_bare.h - pairs of a bare list of free blocks, in functions that are called: there is
 * nothing less to do. */
#ifndef BENCH_MALLOC_PAIRS_BARE_H
#define BENCH_MALLOC_PAIRS_BARE_H

#include <stddef.h>

#define PAIRS_TAKE(size)  bare_pop(size)
#define PAIRS_GIVE(block) bare_push(block)

#define BARE_BLOCKS 1024

struct bare_block {
    struct bare_block *next;
    void *unused;
};

static struct bare_block bare_blocks[BARE_BLOCKS];
static struct bare_block *bare_first;

__attribute__((noinline, cold)) static void bare_fill(void)
{
    for (size_t i = 0; i < BARE_BLOCKS; i++) {
        bare_blocks[i].next = bare_first;
        bare_first = &bare_blocks[i];
    }
}

__attribute__((noinline)) static void *bare_pop(size_t size_bytes)
{
    struct bare_block *block = bare_first;
    (void)size_bytes;
    if (__builtin_expect(block == NULL, 0)) {
        bare_fill();
        block = bare_first;
    }
    bare_first = block->next;
    return block;
}

__attribute__((noinline)) static void bare_push(void *block)
{
    ((struct bare_block *)block)->next = bare_first;
    bare_first = block;
}

#endif
