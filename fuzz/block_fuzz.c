/*
 * block_fuzz.c - any sequence of calls on a heap of size classes, over an arena
 * or a freelist that has a user of its own, too. Every live block is filled
 * with bytes of its own and looked at before it goes: blocks that overlap, or a
 * header in a block, show. Sound after every call; the fallback has everything
 * back in the end.
 */
#include "blocks.h"

#include <loam/block.h>

#define BLOCKS     32u
#define CHUNK      LOAM_BLOCK_CHUNK_BYTES
#define SPAN_BYTES (8u * CHUNK)

struct world {
    struct loam_arena arena;
    struct loam_freelist list;
    struct loam_block heap;
    struct block block[BLOCKS];
    bool is_foreign[BLOCKS]; /* straight from the fallback */
    unsigned char next_fill;
};

static bool *is_foreign(struct world *world, const struct block *block)
{
    return &world->is_foreign[block - world->block];
}

static void allocate(struct world *world, struct block *block, size_t size_bytes, size_t align)
{
    const uint64_t before = loam_block_digest(&world->heap);
    void *start = loam_block_alloc(&world->heap, size_bytes, align);
    if (start == NULL) {
        FUZZ_CHECK(loam_block_digest(&world->heap) == before);
        return;
    }
    FUZZ_CHECK((uintptr_t)start % align == 0);
    FUZZ_CHECK((uintptr_t)start % LOAM_BLOCK_ALIGN_MIN == 0);
    FUZZ_CHECK(loam_block_usable(&world->heap, start) >= size_bytes);
    *is_foreign(world, block) = false;
    fill_block(block, start, size_bytes, &world->next_fill);
}

static void allocate_foreign(struct world *world, struct block *block, size_t size_bytes)
{
    void *start = world->heap.fallback.arena != NULL
                      ? loam_arena_alloc(&world->arena, size_bytes, 8)
                      : loam_freelist_alloc(&world->list, size_bytes, 8);
    if (start == NULL)
        return;
    *is_foreign(world, block) = true;
    fill_block(block, start, size_bytes, &world->next_fill);
}

static void release(struct world *world, struct block *block, bool sized)
{
    check_fill(block, block->size_bytes);
    if (*is_foreign(world, block) && world->heap.fallback.arena != NULL)
        loam_arena_free(&world->arena, block->start);
    else if (*is_foreign(world, block))
        loam_freelist_free(&world->list, block->start);
    else if (sized)
        loam_block_free_sized(&world->heap, block->start, block->size_bytes);
    else
        loam_block_free(&world->heap, block->start);
    block->start = NULL;
}

static void resize(struct world *world, struct block *block, size_t size_bytes, uint64_t how)
{
    const uint64_t before = loam_block_digest(&world->heap);
    const struct loam_resize request = {
        how % 2 == 0 ? LOAM_SIZE_UNKNOWN : block->size_bytes,
        size_bytes,
        (size_t)1 << how / 2 % 14,
    };
    if (*is_foreign(world, block) && block->start != NULL)
        return;
    void *start = loam_block_realloc(&world->heap, block->start, &request);
    if (start == NULL) {
        FUZZ_CHECK(loam_block_digest(&world->heap) == before);
        if (block->start != NULL) {
            check_fill(block, block->size_bytes);
            FUZZ_CHECK(size_bytes > block->size_bytes ||
                       (uintptr_t)block->start % request.align != 0);
        }
        return;
    }
    FUZZ_CHECK((uintptr_t)start % request.align == 0);
    if (block->start != NULL) {
        block->start = start;
        check_fill(block, size_bytes < block->size_bytes ? size_bytes : block->size_bytes);
    }
    *is_foreign(world, block) = false;
    fill_block(block, start, size_bytes, &world->next_fill);
}

/* Small, any, or near the top of what a size can be. */
static size_t take_size(struct fuzz_input *input)
{
    const uint64_t kind = fuzz_take(input, 1);
    if (kind < 128)
        return kind * 17;
    return kind < 250 ? fuzz_take(input, 2) : (size_t)(0 - fuzz_take(input, 2));
}

/* As many of a size as fill a chunk and more, and all but one of them back. */
static void flood(struct world *world, struct block *block, size_t size_bytes)
{
    unsigned char *some[40];
    unsigned count = 0;
    while (count < 40) {
        some[count] = loam_block_alloc(&world->heap, size_bytes % 2049, 1);
        if (some[count] == NULL)
            break;
        memset(some[count], 0xee, size_bytes % 2049);
        count++;
    }
    fuzz_check_sound(loam_block_audit(&world->heap));
    for (unsigned i = 1; i < count; i++)
        loam_block_free_sized(&world->heap, some[i], size_bytes % 2049);
    if (count == 0)
        return;
    if (block->start == NULL) {
        *is_foreign(world, block) = false;
        fill_block(block, some[0], size_bytes % 2049, &world->next_fill);
    } else {
        loam_block_free(&world->heap, some[0]);
    }
}

static void step(struct fuzz_input *input, struct world *world)
{
    const uint64_t what = fuzz_take(input, 1);
    struct block *block = &world->block[what / 8];
    switch (what % 8) {
    case 0:
        if (block->start == NULL)
            allocate(world, block, take_size(input), 1);
        break;
    case 1:
        if (block->start == NULL) {
            const size_t align = (size_t)1 << fuzz_take(input, 1) % 64;
            allocate(world, block, take_size(input), align);
        }
        break;
    case 2:
        FUZZ_CHECK(loam_block_alloc(&world->heap, take_size(input), fuzz_take(input, 1) | 3) ==
                   NULL);
        break;
    case 3:
        if (block->start == NULL)
            allocate_foreign(world, block, take_size(input) % 70000);
        else
            FUZZ_CHECK(loam_block_trim(&world->heap) % CHUNK == 0);
        break;
    case 4:
    case 5:
        if (block->start != NULL)
            release(world, block, what % 8 == 4);
        break;
    case 6:
        resize(world, block, take_size(input), fuzz_take(input, 1));
        break;
    default:
        flood(world, block, take_size(input));
        break;
    }
    fuzz_check_sound(loam_block_audit(&world->heap));
}

static void check_fallback(struct world *world)
{
    fuzz_check_sound(world->heap.fallback.arena != NULL ? loam_arena_audit(&world->arena)
                                                        : loam_freelist_audit(&world->list));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world world; /* where it lies decides the heap's check words: always here */
    struct fuzz_input input = { data, size };
    memset(&world, 0, sizeof world);

    const uint64_t first = fuzz_take(&input, 1);
    const size_t span_bytes = LOAM_FREELIST_MIN + 64 + fuzz_take(&input, 3) % SPAN_BYTES;
    const size_t offset = fuzz_take(&input, 1) % 32;
    unsigned char *span = malloc(offset + span_bytes); /* exactly: the sanitizer watches */
    FUZZ_CHECK(span != NULL);
    const struct loam_block_fallback fallback = {
        first % 2 == 0 ? &world.list : NULL,
        first % 2 == 0 ? NULL : &world.arena,
    };
    loam_arena_init(&world.arena);
    FUZZ_CHECK((first % 2 == 0
                    ? loam_freelist_init(&world.list, span + offset, span_bytes)
                    : loam_arena_claim(&world.arena, span + offset, span_bytes)) == LOAM_OK);
    FUZZ_CHECK(loam_block_init(&world.heap, &fallback) == LOAM_OK);
    while (input.left > 0)
        step(&input, &world);
    check_fallback(&world);
    for (unsigned i = 0; i < BLOCKS; i++) {
        if (world.block[i].start != NULL)
            release(&world, &world.block[i], true);
    }
    FUZZ_CHECK(world.heap.chunk_count <= LOAM_BLOCK_SPARE_CHUNKS);
    FUZZ_CHECK(loam_block_trim(&world.heap) <= LOAM_BLOCK_SPARE_CHUNKS * (size_t)CHUNK);
    FUZZ_CHECK(world.heap.chunk_count == 0 && world.heap.large_count == 0);
    fuzz_check_sound(loam_block_audit(&world.heap));
    check_fallback(&world);
    if (first % 2 != 0)
        FUZZ_CHECK(loam_arena_release(&world.arena, span + offset) == LOAM_OK);
    else
        FUZZ_CHECK(world.list.used_count == 0);
    free(span);
    return 0;
}
