/*
 * heap_fuzz.c - any sequence of calls on a heap and its caches, from several CPUs, with
 * little memory. Every live block is filled with bytes of its own and looked at before it
 * goes. Sound after every call; all pages but those of records come back in the end.
 */
#include "blocks.h"

#include "heap_world.h"

#define BLOCKS 48u
#define CACHES 3u

static struct {
    struct block block[BLOCKS];
    struct loam_slab_cache *from[BLOCKS]; /* NULL: the heap's */
    struct loam_slab_cache *cache[CACHES];
    size_t object_bytes[CACHES];
    uint64_t live_count;
    unsigned char next_fill;
} fuzzed;

static void check_sound(void)
{
    struct loam_heap_stats stats;

    fuzz_check_sound(loam_heap_audit(&heap));
    loam_heap_measure(&heap, &stats);
    FUZZ_CHECK(stats.page_count == world.out);
    FUZZ_CHECK(stats.live_count == fuzzed.live_count);
}

static void born(unsigned at, void *start, size_t size_bytes, struct loam_slab_cache *from)
{
    if (start == NULL)
        return;
    fill_block(&fuzzed.block[at], start, size_bytes, &fuzzed.next_fill);
    fuzzed.from[at] = from;
    fuzzed.live_count++;
}

static void allocate(unsigned at, struct fuzz_input *input)
{
    const size_t size_bytes = take_any_size(input);
    const uint64_t how = fuzz_take(input, 1);
    const uint64_t digest = loam_heap_digest(&heap);
    struct loam_slab_cache *const cache = fuzzed.cache[how % CACHES];

    if (how < 64 && cache != NULL) {
        born(at, loam_slab_alloc(cache), fuzzed.object_bytes[how % CACHES], cache);
    } else if (how < 128) {
        const size_t align = (size_t)1 << how % 24;
        void *const start = loam_heap_alloc_aligned(&heap, align, size_bytes);
        FUZZ_CHECK((uintptr_t)start % align == 0);
        born(at, start, size_bytes, NULL);
    } else if (how < 160) {
        unsigned char *const start = loam_heap_calloc(&heap, how, size_bytes);
        FUZZ_CHECK(start == NULL || size_bytes == 0 || start[how * size_bytes - 1] == 0);
        born(at, start, start == NULL ? 0 : how * size_bytes, NULL);
    } else {
        born(at, loam_heap_alloc(&heap, size_bytes), size_bytes, NULL);
    }
    if (fuzzed.block[at].start == NULL)
        FUZZ_CHECK(loam_heap_digest(&heap) == digest);
}

static void give(unsigned at, bool is_sized)
{
    struct block *const block = &fuzzed.block[at];

    check_fill(block, block->size_bytes);
    if (fuzzed.from[at] != NULL)
        loam_slab_free(fuzzed.from[at], block->start);
    else if (is_sized)
        loam_heap_free_sized(&heap, block->start, block->size_bytes);
    else
        loam_heap_free(&heap, block->start);
    block->start = NULL;
    fuzzed.live_count--;
}

static void resize(unsigned at, size_t size_bytes)
{
    struct block *const block = &fuzzed.block[at];

    if (block->start == NULL || fuzzed.from[at] != NULL)
        return;
    const uint64_t digest = loam_heap_digest(&heap);
    void *const moved = loam_heap_realloc(&heap, block->start, size_bytes);
    if (moved == NULL) {
        FUZZ_CHECK(loam_heap_digest(&heap) == digest);
        check_fill(block, block->size_bytes);
        return;
    }
    block->start = moved;
    check_fill(block, size_bytes < block->size_bytes ? size_bytes : block->size_bytes);
    fill_block(block, moved, size_bytes, &fuzzed.next_fill);
}

static void make_or_destroy(unsigned which, size_t size_bytes)
{
    const struct loam_slab_setup setup = { .name = "fuzzed", .size_bytes = size_bytes };
    struct loam_slab_cache **const cache = &fuzzed.cache[which];
    uint64_t live = 0, have = 0;

    if (*cache == NULL) {
        const enum loam_status status = loam_slab_create(&heap, &setup, cache);
        FUZZ_CHECK((status == LOAM_INVALID) ==
                   (size_bytes == 0 || size_bytes > LOAM_SLAB_OBJECT_MAX));
        fuzzed.object_bytes[which] = size_bytes;
        return;
    }
    for (unsigned i = 0; i < BLOCKS; i++)
        have += fuzzed.block[i].start != NULL && fuzzed.from[i] == *cache;
    const enum loam_status status = loam_slab_destroy(*cache, &live);
    FUZZ_CHECK(live == have && (status == LOAM_OK) == (have == 0));
    if (status == LOAM_OK)
        *cache = NULL;
}

static void step(struct fuzz_input *input)
{
    const uint64_t what = fuzz_take(input, 1);
    const unsigned at = (unsigned)(fuzz_take(input, 1) % BLOCKS);

    world_cpu = (unsigned)(what >> 6); /* CPU 3 has no lists */
    switch (what % 16) {
    case 0:
        (void)loam_heap_trim(&heap);
        break;
    case 1:
        loam_heap_trim_cpu(&heap, at % 4);
        break;
    case 2:
        if (fuzzed.cache[at % CACHES] != NULL)
            (void)loam_slab_shrink(fuzzed.cache[at % CACHES]);
        break;
    case 3:
        make_or_destroy(at % CACHES, take_any_size(input));
        break;
    case 4:
    case 5:
        resize(at, take_any_size(input));
        break;
    case 6:
        world.out_most = fuzz_take(input, 2);
        world.out_most = world.out_most < world.out ? world.out : world.out_most;
        break;
    case 7:
        world.extends = at % 2 == 0;
        world.gives_zeroes = at % 4 < 2;
        break;
    default:
        if (fuzzed.block[at].start != NULL)
            give(at, what % 2 == 0);
        else
            allocate(at, input);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = { data, size };

    heap_on(3);
    memset(&fuzzed, 0, sizeof(fuzzed));
    world.out_most = 300;
    while (input.left > 0) {
        step(&input);
        check_sound();
    }
    world_cpu = 0;
    for (unsigned i = 0; i < BLOCKS; i++) {
        if (fuzzed.block[i].start != NULL)
            give(i, i % 2 == 0);
    }
    for (unsigned i = 0; i < CACHES; i++)
        FUZZ_CHECK(fuzzed.cache[i] == NULL || loam_slab_destroy(fuzzed.cache[i], NULL) == LOAM_OK);
    trim_all();
    check_sound();
    struct loam_heap_stats stats = heap_stats();
    FUZZ_CHECK(world.out == stats.record_pages && stats.caches_count == 0);
    return 0;
}
