/*
 * freelist_fuzz.c - any sequence of calls on a heap, on blocks with header and
 * without. Every live block is filled with bytes of its own and looked at before it
 * goes: blocks that overlap, or a header in a block, show. Sound after every call;
 * one free block in the end.
 */
#include "blocks.h"

#include <loam/freelist.h>

#define BLOCKS     32u
#define SPAN_SMALL 16384u
#define SPAN_QUICK 262144u /* blocks wait in it */

struct world {
    struct loam_freelist heap;
    struct block block[BLOCKS];
    unsigned char next_fill;
};

static bool has_header(const struct world *world, const struct block *block)
{
    return block < &world->block[BLOCKS / 3];
}

static void set_block(struct world *world, struct block *block, void *start, size_t size_bytes)
{
    FUZZ_CHECK(loam_freelist_owns(&world->heap, start));
    FUZZ_CHECK(size_bytes <= world->heap.end - (uintptr_t)start);
    if (has_header(world, block)) {
        FUZZ_CHECK((uintptr_t)start % LOAM_FREELIST_ALIGN == 0);
        FUZZ_CHECK(loam_freelist_usable(&world->heap, start) == size_bytes);
    }
    fill_block(block, start, size_bytes, &world->next_fill);
}

static void allocate(struct world *world, struct block *block, size_t size_bytes, size_t align)
{
    const uint64_t before = loam_freelist_digest(&world->heap);
    struct loam_freelist_stats stats;
    loam_freelist_measure(&world->heap, &stats);
    void *start = has_header(world, block) ? loam_freelist_alloc(&world->heap, size_bytes, align)
                                           : loam_freelist_take(&world->heap, size_bytes, align);
    const size_t largest =
        has_header(world, block) ? stats.largest_free_bytes : stats.largest_take_bytes;
    const size_t align_free =
        has_header(world, block) ? LOAM_FREELIST_ALIGN : LOAM_FREELIST_GRANULE;
    if (start == NULL) {
        FUZZ_CHECK(loam_freelist_digest(&world->heap) == before);
        /* Refused although it would fit: only because of its alignment. */
        FUZZ_CHECK(align > align_free || !loam_is_power_of_two(align) || size_bytes > largest ||
                   largest == 0);
        return;
    }
    FUZZ_CHECK((uintptr_t)start % align == 0);
    set_block(world, block, start, size_bytes);
}

static void release(struct world *world, struct block *block, bool sized)
{
    check_fill(block, block->size_bytes);
    if (!has_header(world, block))
        loam_freelist_give(&world->heap, block->start, block->size_bytes);
    else if (sized)
        loam_freelist_free_sized(&world->heap, block->start, block->size_bytes);
    else
        loam_freelist_free(&world->heap, block->start);
    block->start = NULL;
}

static void resize(struct world *world, struct block *block, size_t size_bytes, size_t align)
{
    const struct loam_resize request = { block->size_bytes, size_bytes, align };
    const uint64_t before = loam_freelist_digest(&world->heap);
    void *start = has_header(world, block)
                      ? loam_freelist_realloc(&world->heap, block->start, size_bytes, align)
                      : loam_freelist_resize(&world->heap, block->start, &request);
    if (start == NULL) {
        FUZZ_CHECK(loam_freelist_digest(&world->heap) == before);
        if (block->start != NULL)
            check_fill(block, block->size_bytes);
        return;
    }
    FUZZ_CHECK((uintptr_t)start % align == 0);
    if (block->start != NULL) {
        block->start = start;
        check_fill(block, size_bytes < block->size_bytes ? size_bytes : block->size_bytes);
    }
    set_block(world, block, start, size_bytes);
}

static void step(struct fuzz_input *input, struct world *world)
{
    const uint64_t what = fuzz_take(input, 1);
    struct block *block = &world->block[what / 8];
    switch (what % 8) {
    case 0:
    case 1:
        if (block->start == NULL)
            allocate(world, block, take_any_size(input), LOAM_FREELIST_GRANULE);
        break;
    case 2:
        if (block->start == NULL) {
            const size_t align = (size_t)1 << fuzz_take(input, 1) % 64;
            allocate(world, block, take_any_size(input), align);
        }
        break;
    case 3:
        if (block->start == NULL)
            allocate(world, block, take_any_size(input), fuzz_take(input, 1) | 3);
        else
            resize(world, block, take_any_size(input), (size_t)1 << fuzz_take(input, 1) % 64);
        break;
    case 4:
    case 5:
        if (block->start != NULL)
            release(world, block, what % 8 == 4);
        else if (what % 32 == 5)
            loam_freelist_settle(&world->heap);
        break;
    default:
        resize(world, block, take_any_size(input), LOAM_FREELIST_GRANULE);
        break;
    }
    fuzz_check_sound(loam_freelist_audit(&world->heap));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world world; /* where it lies decides the heap's check words: always here */
    struct fuzz_input input = { data, size };
    struct loam_freelist_stats stats;
    memset(&world, 0, sizeof world);

    size_t span_bytes = LOAM_FREELIST_MIN + fuzz_take(&input, 2) % SPAN_SMALL;
    const uint64_t where = fuzz_take(&input, 1);
    const size_t offset = where % 32;
    if (where >= 128)
        span_bytes += SPAN_QUICK;
    unsigned char *span = malloc(offset + span_bytes); /* exactly: the sanitizer watches */
    FUZZ_CHECK(span != NULL);
    if (loam_freelist_init(&world.heap, span + offset, span_bytes) != LOAM_OK) {
        FUZZ_CHECK(span_bytes < LOAM_FREELIST_MIN + 15);
        free(span);
        return 0;
    }
    const uint64_t empty = world.heap.end - world.heap.base;
    while (input.left > 0)
        step(&input, &world);
    for (unsigned i = 0; i < BLOCKS; i++) {
        if (world.block[i].start != NULL)
            release(&world, &world.block[i], true);
    }
    loam_freelist_settle(&world.heap);
    fuzz_check_sound(loam_freelist_audit(&world.heap));
    loam_freelist_measure(&world.heap, &stats);
    FUZZ_CHECK(stats.free_count == 1 && stats.used_bytes == 0 && stats.used_count == 0);
    FUZZ_CHECK(stats.span_bytes == empty && stats.largest_take_bytes == empty);
    free(span);
    return 0;
}
