/*
 * allocator_fuzz.c - any sequence of calls on any heap, through the common
 * interface, behind a lock, watched or not. Every live block is filled with bytes
 * of its own and looked at before it goes. Sound after every call; nothing in use
 * in the end.
 */
#include "blocks.h"

#include <loam/locked.h>

#define BLOCKS     32u
#define SPAN_BYTES 65536u
#define SPAN_MIN   4096u
#define SPAN_ALIGN 65536u /* so that an input means the same wherever it runs */

struct world {
    struct loam_bump bump;
    struct loam_freelist freelist;
    struct loam_arena arena;
    struct loam_block blocks;
    struct loam_locked heap;
    struct block block[BLOCKS];
    unsigned char next_fill;
    bool knows_sizes;
};

static void allocate(struct world *world, struct block *block, size_t size_bytes, size_t align)
{
    const uint64_t before = loam_locked_digest(&world->heap);
    void *start = loam_locked_alloc(&world->heap, size_bytes, align);
    if (start == NULL) {
        FUZZ_CHECK(loam_locked_digest(&world->heap) == before);
        return;
    }
    FUZZ_CHECK(loam_is_power_of_two(align) && (uintptr_t)start % align == 0);
    if (world->knows_sizes && world->heap.options.allocator.kind != LOAM_ALLOCATOR_BUMP)
        FUZZ_CHECK(loam_locked_usable(&world->heap, start) >= size_bytes);
    fill_block(block, start, size_bytes, &world->next_fill);
}

static void allocate_zeroed(struct world *world, struct block *block, size_t count,
                            size_t size_bytes)
{
    unsigned char *start = loam_locked_calloc(&world->heap, count, size_bytes, 8);
    if (start == NULL)
        return;
    FUZZ_CHECK(size_bytes == 0 || count <= (SPAN_MIN + SPAN_BYTES) / size_bytes);
    for (size_t i = 0; i < count * size_bytes; i++)
        FUZZ_CHECK(start[i] == 0);
    fill_block(block, start, count * size_bytes, &world->next_fill);
}

static void release(struct world *world, struct block *block, bool sized)
{
    check_fill(block, block->size_bytes);
    if (sized || !world->knows_sizes)
        loam_locked_free_sized(&world->heap, block->start, block->size_bytes);
    else
        loam_locked_free(&world->heap, block->start);
    block->start = NULL;
}

static void resize(struct world *world, struct block *block, size_t size_bytes, size_t align)
{
    const uint64_t before = loam_locked_digest(&world->heap);
    const struct loam_resize request = { block->size_bytes, size_bytes, align };
    void *start = loam_locked_realloc(&world->heap, block->start, &request);
    if (start == NULL) {
        FUZZ_CHECK(loam_locked_digest(&world->heap) == before);
        if (block->start != NULL)
            check_fill(block, block->size_bytes);
        return;
    }
    FUZZ_CHECK(loam_is_power_of_two(align) && (uintptr_t)start % align == 0);
    if (block->start != NULL) {
        block->start = start;
        check_fill(block, size_bytes < block->size_bytes ? size_bytes : block->size_bytes);
    }
    fill_block(block, start, size_bytes, &world->next_fill);
}

/* A power of two, or now and then none. */
static size_t take_align(struct fuzz_input *input)
{
    const uint64_t kind = fuzz_take(input, 1);
    return kind < 250 ? (size_t)1 << kind % 64 : kind;
}

static void step(struct fuzz_input *input, struct world *world)
{
    const uint64_t what = fuzz_take(input, 1);
    struct block *block = &world->block[what / 8];
    switch (what % 8) {
    case 0:
    case 1:
        if (block->start == NULL)
            allocate(world, block, take_any_size(input), 8);
        break;
    case 2:
        if (block->start == NULL)
            allocate(world, block, take_any_size(input), take_align(input));
        break;
    case 3:
        if (block->start == NULL)
            allocate_zeroed(world, block, take_any_size(input), take_any_size(input));
        break;
    case 4:
    case 5:
        if (block->start != NULL)
            release(world, block, what % 8 == 4);
        break;
    case 6:
        resize(world, block, take_any_size(input), 8);
        break;
    default:
        resize(world, block, take_any_size(input), take_align(input));
        break;
    }
    fuzz_check_sound(loam_locked_audit(&world->heap));
}

static bool start_heap(struct world *world, enum loam_allocator_kind kind, bool over_arena,
                       void *span, size_t span_bytes)
{
    const struct loam_block_fallback fallback = {
        .freelist = over_arena ? NULL : &world->freelist,
        .arena = over_arena ? &world->arena : NULL,
    };
    loam_arena_init(&world->arena);
    switch (kind) {
    case LOAM_ALLOCATOR_NONE:
    case LOAM_ALLOCATOR_HEAP: /* has no span: heap_fuzz.c */
        return true;
    case LOAM_ALLOCATOR_BUMP:
        return loam_bump_init(&world->bump, span, span_bytes) == LOAM_OK;
    case LOAM_ALLOCATOR_FREELIST:
    case LOAM_ALLOCATOR_FREELIST_SIZED:
        return loam_freelist_init(&world->freelist, span, span_bytes) == LOAM_OK;
    case LOAM_ALLOCATOR_ARENA:
        return loam_arena_claim(&world->arena, span, span_bytes) == LOAM_OK;
    case LOAM_ALLOCATOR_BLOCK:
        break;
    }
    const enum loam_status status = over_arena
                                        ? loam_arena_claim(&world->arena, span, span_bytes)
                                        : loam_freelist_init(&world->freelist, span, span_bytes);
    return status == LOAM_OK && loam_block_init(&world->blocks, &fallback) == LOAM_OK;
}

static struct loam_allocator heap_of(struct world *world, enum loam_allocator_kind kind)
{
    struct loam_allocator allocator = { .kind = kind };
    switch (kind) {
    case LOAM_ALLOCATOR_NONE:
    case LOAM_ALLOCATOR_HEAP:
        break;
    case LOAM_ALLOCATOR_BUMP:
        allocator.heap.bump = &world->bump;
        break;
    case LOAM_ALLOCATOR_FREELIST:
    case LOAM_ALLOCATOR_FREELIST_SIZED:
        allocator.heap.freelist = &world->freelist;
        break;
    case LOAM_ALLOCATOR_BLOCK:
        allocator.heap.block = &world->blocks;
        break;
    case LOAM_ALLOCATOR_ARENA:
        allocator.heap.arena = &world->arena;
        break;
    }
    return allocator;
}

static void run(struct fuzz_input *input, struct world *world)
{
    while (input->left > 0)
        step(input, world);
    for (unsigned i = 0; i < BLOCKS; i++) {
        if (world->block[i].start != NULL)
            release(world, &world->block[i], true);
    }
    if (world->heap.options.debug)
        loam_debug_flush(&world->heap.debug);
    fuzz_check_sound(loam_locked_audit(&world->heap));
    struct loam_locked_stats stats;
    loam_locked_measure(&world->heap, &stats);
    FUZZ_CHECK(stats.heap.used_bytes == 0 && stats.heap.used_count == 0);
    FUZZ_CHECK(stats.alloc_count == stats.free_count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world world; /* where it lies decides check words: always here */
    struct fuzz_input input = { data, size };
    memset(&world, 0, sizeof world);

    const uint64_t how = fuzz_take(&input, 1);
    const enum loam_allocator_kind kind = (enum loam_allocator_kind)(how % 6);
    const size_t span_bytes = SPAN_MIN + fuzz_take(&input, 2) % SPAN_BYTES;
    const size_t offset = fuzz_take(&input, 2) % SPAN_ALIGN;
    void *memory = NULL; /* no larger than used: the sanitizer watches its end */
    FUZZ_CHECK(posix_memalign(&memory, SPAN_ALIGN, offset + span_bytes) == 0);
    unsigned char *span = memory;
    FUZZ_CHECK(start_heap(&world, kind, how / 6 % 2 == 0, span + offset, span_bytes));
    const struct loam_locked_options options = {
        .allocator = heap_of(&world, kind),
        .lock = how / 12 % 2 == 0 ? LOAM_LOCKED_TICKET : LOAM_LOCKED_SPIN,
        .debug = how / 24 % 2 == 0,
    };
    world.knows_sizes = options.debug || kind != LOAM_ALLOCATOR_FREELIST_SIZED;
    FUZZ_CHECK(loam_locked_init(&world.heap, &options) == LOAM_OK);
    run(&input, &world);
    free(span);
    return 0;
}
