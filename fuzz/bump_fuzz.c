/*
 * bump_fuzz.c - any sequence of calls on a bump heap. Every live block is
 * filled with bytes of its own and looked at before it goes: blocks that
 * overlap show. Sound after every call; everything is free once nothing lives.
 */
#include "blocks.h"

#include <loam/bump.h>

#define BLOCKS     16u
#define MARKS      4u
#define SPAN_BYTES 4096u

struct marked {
    struct loam_bump_mark mark;
    struct block block[BLOCKS]; /* those that lived then, if they still do */
};

struct world {
    struct loam_bump heap;
    struct block block[BLOCKS];
    struct marked marked[MARKS]; /* nested */
    unsigned mark_count;
    unsigned char next_fill;
};

static void set_block(struct world *world, struct block *block, void *start, size_t size_bytes)
{
    FUZZ_CHECK((uintptr_t)start >= world->heap.start);
    FUZZ_CHECK(size_bytes <= world->heap.end - (uintptr_t)start);
    fill_block(block, start, size_bytes, &world->next_fill);
}

static void allocate(struct world *world, struct block *block, size_t size_bytes, size_t align)
{
    const uint64_t before = loam_bump_digest(&world->heap);
    void *start = loam_bump_alloc(&world->heap, size_bytes, align);
    if (start == NULL) {
        FUZZ_CHECK(loam_bump_digest(&world->heap) == before);
        FUZZ_CHECK(align > 1 || align == 0 || size_bytes >= world->heap.end - world->heap.next);
        return;
    }
    FUZZ_CHECK((uintptr_t)start % align == 0);
    set_block(world, block, start, size_bytes);
}

/* A block of before a mark whose free lets the pointer fall below it makes that
 * mark, and those after it, void. */
static void forget_marks(struct world *world)
{
    while (world->mark_count > 0 &&
           world->marked[world->mark_count - 1].mark.next > world->heap.next)
        world->mark_count--;
}

static void release_block(struct world *world, struct block *block, bool sized)
{
    check_fill(block, block->size_bytes);
    if (sized)
        loam_bump_free_sized(&world->heap, block->start, block->size_bytes);
    else
        loam_bump_free(&world->heap, block->start);
    for (unsigned i = 0; i < world->mark_count; i++) {
        for (unsigned j = 0; j < BLOCKS; j++) {
            if (world->marked[i].block[j].start == block->start)
                world->marked[i].block[j].start = NULL;
        }
    }
    block->start = NULL;
    forget_marks(world);
}

static void resize(struct world *world, struct block *block, size_t size_bytes, uint64_t how)
{
    const uint64_t before = loam_bump_digest(&world->heap);
    const struct loam_resize request = {
        how % 2 == 0 ? LOAM_SIZE_UNKNOWN : block->size_bytes,
        size_bytes,
        (size_t)1 << how / 2 % 10,
    };
    void *start = loam_bump_realloc(&world->heap, block->start, &request);
    if (start == NULL) {
        FUZZ_CHECK(loam_bump_digest(&world->heap) == before);
        if (block->start != NULL)
            check_fill(block, block->size_bytes);
        return;
    }
    FUZZ_CHECK((uintptr_t)start % request.align == 0);
    if (block->start != NULL) {
        block->start = start;
        check_fill(block, size_bytes < block->size_bytes ? size_bytes : block->size_bytes);
    }
    /* What lived at a mark is not where it was, or not what it was. */
    world->mark_count = 0;
    set_block(world, block, start, size_bytes);
}

static void take_mark(struct world *world)
{
    if (world->mark_count == MARKS)
        return;
    struct marked *const marked = &world->marked[world->mark_count++];
    marked->mark = loam_bump_now(&world->heap);
    memcpy(marked->block, world->block, sizeof(marked->block));
}

static void return_to_mark(struct world *world, unsigned which)
{
    if (which >= world->mark_count)
        return;
    const struct marked *const marked = &world->marked[which];
    loam_bump_release(&world->heap, marked->mark);
    FUZZ_CHECK(world->heap.next == marked->mark.next);
    memcpy(world->block, marked->block, sizeof(world->block));
    world->mark_count = which;
    /* It may count blocks that are gone, as its contract says; never fewer than
     * live. */
    size_t live = 0;
    for (unsigned i = 0; i < BLOCKS; i++)
        live += world->block[i].start != NULL;
    FUZZ_CHECK(world->heap.count >= live);
}

static void step(struct fuzz_input *input, struct world *world)
{
    const uint64_t what = fuzz_take(input, 1);
    struct block *block = &world->block[what / 16];
    switch (what % 16) {
    case 0:
    case 1:
    case 2:
    case 3:
        if (block->start == NULL)
            allocate(world, block, take_any_size(input), 1);
        break;
    case 4:
        if (block->start == NULL) {
            const size_t align = (size_t)1 << fuzz_take(input, 1) % 64;
            allocate(world, block, take_any_size(input), align);
        }
        break;
    case 5:
        FUZZ_CHECK(loam_bump_alloc(&world->heap, take_any_size(input), fuzz_take(input, 1) | 3) ==
                   NULL);
        break;
    case 6:
    case 7:
    case 8:
    case 9:
        if (block->start != NULL)
            release_block(world, block, what % 2 == 0);
        break;
    case 10:
    case 11:
        resize(world, block, take_any_size(input), fuzz_take(input, 1));
        break;
    case 12:
        take_mark(world);
        break;
    case 13:
        return_to_mark(world, (unsigned)(what / 16) % MARKS);
        break;
    case 14:
        loam_bump_reset(&world->heap);
        memset(world->block, 0, sizeof(world->block));
        world->mark_count = 0;
        break;
    default:
        loam_bump_free(&world->heap, NULL);
        break;
    }
    fuzz_check_sound(loam_bump_audit(&world->heap));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world world;
    struct fuzz_input input = { data, size };
    memset(&world, 0, sizeof world);

    const size_t span_bytes = 1 + fuzz_take(&input, 2) % SPAN_BYTES;
    const size_t offset = fuzz_take(&input, 1) % 32;
    unsigned char *span = malloc(offset + span_bytes); /* exactly: the sanitizer watches */
    FUZZ_CHECK(span != NULL);
    FUZZ_CHECK(loam_bump_init(&world.heap, span + offset, span_bytes) == LOAM_OK);
    while (input.left > 0)
        step(&input, &world);
    size_t live = 0;
    for (unsigned i = 0; i < BLOCKS; i++)
        live += world.block[i].start != NULL;
    const bool is_exact = live == world.heap.count;
    for (unsigned i = 0; i < BLOCKS; i++) {
        if (world.block[i].start != NULL)
            release_block(&world, &world.block[i], true);
    }
    fuzz_check_sound(loam_bump_audit(&world.heap));
    FUZZ_CHECK(!is_exact || world.heap.next == world.heap.start);
    free(span);
    return 0;
}
