/*
 * blocks.h - live blocks of a heap that is fuzzed. Each is filled with bytes of its
 * own and looked at before it goes: blocks that overlap, or a header in a block, show.
 */
#ifndef LOAM_FUZZ_BLOCKS_H
#define LOAM_FUZZ_BLOCKS_H

#include "fuzz.h"

struct block {
    unsigned char *start; /* NULL: none */
    size_t size_bytes;
    unsigned char fill;
};

static inline void check_fill(const struct block *block, size_t size_bytes)
{
    for (size_t i = 0; i < size_bytes; i++)
        FUZZ_CHECK(block->start[i] == block->fill);
}

/* The heap gave this out. @param fill stepped, so that neighbours in time differ */
static inline void fill_block(struct block *block, void *start, size_t size_bytes,
                              unsigned char *fill)
{
    block->start = start;
    block->size_bytes = size_bytes;
    block->fill = (*fill)++;
    memset(start, block->fill, size_bytes);
}

/* Small, any, or near the top of what a size can be. */
static inline size_t take_any_size(struct fuzz_input *input)
{
    const uint64_t kind = fuzz_take(input, 1);
    if (kind < 128)
        return kind;
    return kind < 250 ? fuzz_take(input, 2) : (size_t)(0 - fuzz_take(input, 2));
}

#endif
