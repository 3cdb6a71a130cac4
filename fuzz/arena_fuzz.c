/*
 * arena_fuzz.c - any sequence of calls on an arena with a few spans. Every live block
 * is filled with bytes of its own and looked at before it goes: blocks that overlap,
 * or a tag in a block, show. Memory that is not lent is poisoned. Sound after every
 * call; one free block per span in the end.
 */
#include "blocks.h"

#include <sanitizer/asan_interface.h>
#include <sys/mman.h>

#include <loam/arena.h>

#define BLOCKS     32u
#define SPANS      4u
#define SPAN_BYTES ((size_t)16384) /* from one span's start to the next: they may meet */
#define MEMORY_AT  0x200000000000  /* always there: addresses decide the check bits */
#define MEMORY     ((SPANS + 1) * SPAN_BYTES)

struct span {
    unsigned char *start;
    size_t size_bytes; /* 0: not claimed */
};

/* At the start of the memory, so that the arena is always there too. */
struct world {
    struct loam_arena heap;
    struct block block[BLOCKS];
    struct span span[SPANS];
    unsigned char next_fill;
    unsigned handler_does; /* bits: claims, frees, allocates, lies */
    _Alignas(4096) unsigned char memory[MEMORY];
};
static struct world *world;

static void open_world(void)
{
    if (world == NULL) {
        void *got = mmap((void *)MEMORY_AT, sizeof(struct world), PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        FUZZ_CHECK(got == (void *)MEMORY_AT);
        world = got;
    }
    ASAN_UNPOISON_MEMORY_REGION(world->memory, MEMORY);
    memset(world, 0, sizeof *world);
    loam_arena_init(&world->heap);
    ASAN_POISON_MEMORY_REGION(world->memory, MEMORY);
}

/* Poison what no span has; partly used words stay open. */
static void poison_the_rest(void)
{
    ASAN_POISON_MEMORY_REGION(world->memory, MEMORY);
    for (unsigned i = 0; i < SPANS; i++)
        ASAN_UNPOISON_MEMORY_REGION(world->span[i].start, world->span[i].size_bytes);
}

static void check_sound(void)
{
    fuzz_check_sound(loam_arena_audit(&world->heap));
}

/* ---- blocks -------------------------------------------------------------- */

static bool is_in_a_span(const unsigned char *start, size_t size_bytes)
{
    for (unsigned i = 0; i < SPANS; i++) {
        const struct span *span = &world->span[i];
        if (span->size_bytes != 0 && start >= span->start &&
            size_bytes <= (size_t)(span->start + span->size_bytes - start))
            return true;
    }
    return false;
}

static void set_block(struct block *block, void *start, size_t size_bytes, size_t align)
{
    FUZZ_CHECK((uintptr_t)start % LOAM_ARENA_ALIGN == 0 && (uintptr_t)start % align == 0);
    FUZZ_CHECK(loam_arena_usable(&world->heap, start) == size_bytes);
    FUZZ_CHECK(is_in_a_span(start, size_bytes));
    fill_block(block, start, size_bytes, &world->next_fill);
}

/* Refused although it would fit: only because of its alignment, or because the
 * handler that made room said that there is none. */
static void check_refused(size_t size_bytes, size_t align)
{
    struct loam_arena_stats stats;
    if ((world->handler_does & 3) != 0 && (world->handler_does & 8) == 0)
        return;
    loam_arena_measure(&world->heap, &stats);
    FUZZ_CHECK(align > LOAM_ARENA_ALIGN || !loam_is_power_of_two(align) || stats.free_count == 0 ||
               size_bytes > stats.largest_free_bytes);
}

static void allocate(struct block *block, size_t size_bytes, size_t align)
{
    const uint64_t before = loam_arena_digest(&world->heap);
    void *start = loam_arena_alloc(&world->heap, size_bytes, align);
    if (start != NULL) {
        set_block(block, start, size_bytes, align);
        return;
    }
    if (world->handler_does == 0)
        FUZZ_CHECK(loam_arena_digest(&world->heap) == before);
    check_refused(size_bytes, align);
}

static void give(struct block *block, bool sized)
{
    check_fill(block, block->size_bytes);
    if (sized)
        loam_arena_free_sized(&world->heap, block->start, block->size_bytes);
    else
        loam_arena_free(&world->heap, block->start);
    block->start = NULL;
}

static void resize(struct block *block, size_t size_bytes, size_t align, bool sized)
{
    const struct loam_resize resize = { block->size_bytes, size_bytes, align };
    const uint64_t before = loam_arena_digest(&world->heap);
    void *start = sized ? loam_arena_realloc_sized(&world->heap, block->start, &resize)
                        : loam_arena_realloc(&world->heap, block->start, size_bytes, align);
    if (start == NULL) {
        if (world->handler_does == 0)
            FUZZ_CHECK(loam_arena_digest(&world->heap) == before);
        check_refused(size_bytes, align);
        if (block->start != NULL)
            check_fill(block, block->size_bytes);
        return;
    }
    if (block->start != NULL) {
        block->start = start;
        check_fill(block, size_bytes < block->size_bytes ? size_bytes : block->size_bytes);
    }
    set_block(block, start, size_bytes, align);
}

/* ---- spans --------------------------------------------------------------- */

static bool meets_another(const struct span *span, size_t size_bytes)
{
    for (unsigned i = 0; i < SPANS; i++) {
        const struct span *other = &world->span[i];
        if (other != span && other->size_bytes != 0 && other->start < span->start + size_bytes &&
            span->start < other->start + other->size_bytes)
            return true;
    }
    return false;
}

static bool has_blocks(const struct span *span)
{
    for (unsigned i = 0; i < BLOCKS; i++) {
        const unsigned char *start = world->block[i].start;
        if (start != NULL && start >= span->start && start < span->start + span->size_bytes)
            return true;
    }
    return false;
}

static void claim(unsigned which, size_t offset, size_t size_bytes)
{
    struct span *span = &world->span[which];
    if (span->size_bytes != 0)
        return;
    span->start = world->memory + which * SPAN_BYTES + offset % 64;
    ASAN_UNPOISON_MEMORY_REGION(span->start, size_bytes);
    const enum loam_status status = loam_arena_claim(&world->heap, span->start, size_bytes);
    if (size_bytes < LOAM_ARENA_SPAN_MIN)
        FUZZ_CHECK(status == LOAM_INVALID);
    else if (meets_another(span, size_bytes))
        FUZZ_CHECK(status == LOAM_OVERLAP || size_bytes < LOAM_ARENA_SPAN_MIN + 16);
    else
        FUZZ_CHECK(status == LOAM_OK || size_bytes < LOAM_ARENA_SPAN_MIN + 16);
    if (status == LOAM_OK)
        span->size_bytes = size_bytes;
    poison_the_rest();
}

static void extend(struct span *span, size_t size_bytes)
{
    if (span->size_bytes == 0)
        return;
    ASAN_UNPOISON_MEMORY_REGION(span->start, size_bytes);
    const enum loam_status status = loam_arena_extend(&world->heap, span->start, size_bytes);
    if (size_bytes < span->size_bytes)
        FUZZ_CHECK(status == LOAM_INVALID);
    else
        FUZZ_CHECK(status == (meets_another(span, size_bytes) ? LOAM_OVERLAP : LOAM_OK));
    if (status == LOAM_OK)
        span->size_bytes = size_bytes;
    poison_the_rest();
}

static void truncate_span(struct span *span, size_t size_bytes)
{
    if (span->size_bytes == 0)
        return;
    const size_t needed = loam_arena_span_needed(&world->heap, span->start);
    FUZZ_CHECK(needed != 0 && needed <= span->size_bytes);
    const enum loam_status status = loam_arena_truncate(&world->heap, span->start, size_bytes);
    FUZZ_CHECK((status == LOAM_OK) == (size_bytes >= needed && size_bytes <= span->size_bytes));
    if (status == LOAM_OK)
        span->size_bytes = size_bytes;
    poison_the_rest();
}

static void release(struct span *span)
{
    if (span->size_bytes == 0)
        return;
    const enum loam_status status = loam_arena_release(&world->heap, span->start);
    FUZZ_CHECK(status == (has_blocks(span) ? LOAM_OVERLAP : LOAM_OK));
    if (status == LOAM_OK)
        span->size_bytes = 0;
    poison_the_rest();
}

/* ---- the handler --------------------------------------------------------- */

static bool handle_oom(struct loam_arena *arena, const struct loam_arena_request *request)
{
    FUZZ_CHECK(arena == &world->heap && arena->in_oom);
    check_sound();
    for (unsigned i = 0; i < SPANS && (world->handler_does & 1) != 0; i++)
        claim(i, i, SPAN_BYTES - 64);
    for (unsigned i = 0; i < BLOCKS && (world->handler_does & 2) != 0; i++) {
        struct block *block = &world->block[(i + request->size_bytes) % BLOCKS];
        if (block->start != NULL && block->fill % 4 == 0) {
            give(block, true);
            break;
        }
    }
    if ((world->handler_does & 4) != 0) {
        void *start = loam_arena_alloc(arena, request->size_bytes / 2, LOAM_ARENA_ALIGN);
        if (start != NULL) {
            memset(start, 0xee, request->size_bytes / 2);
            loam_arena_free(arena, start);
        }
    }
    check_sound();
    return (world->handler_does & 8) != 0;
}

/* ---- steps --------------------------------------------------------------- */

/* Small, any, or near the top of what a size can be. */
static size_t take_size(struct fuzz_input *input)
{
    const uint64_t kind = fuzz_take(input, 1);
    if (kind < 160)
        return kind * kind / 64;
    return kind < 252 ? fuzz_take(input, 2) : (size_t)(0 - fuzz_take(input, 2));
}

static size_t take_align(struct fuzz_input *input)
{
    const uint64_t kind = fuzz_take(input, 1);
    if (kind < 128)
        return LOAM_ARENA_ALIGN;
    return kind < 250 ? (size_t)1 << kind % 16 : (size_t)fuzz_take(input, 8);
}

static void step_span(struct fuzz_input *input, unsigned what)
{
    struct span *span = &world->span[what % SPANS];
    const size_t size_bytes = fuzz_take(input, 2) % (SPAN_BYTES + 2000);
    switch (what / SPANS) {
    case 0:
    case 1:
        claim(what % SPANS, fuzz_take(input, 1), size_bytes);
        break;
    case 2:
    case 3:
        extend(span, size_bytes);
        break;
    case 4:
    case 5:
        truncate_span(span, size_bytes);
        break;
    case 6:
        release(span);
        break;
    default:
        world->handler_does = (unsigned)size_bytes & 15;
        world->heap.oom = world->handler_does != 0 ? handle_oom : NULL;
        break;
    }
}

static void step(struct fuzz_input *input)
{
    const unsigned what = (unsigned)fuzz_take(input, 1);
    struct block *block = &world->block[what % BLOCKS];
    switch (what / BLOCKS) {
    case 0:
    case 1:
        if (block->start == NULL)
            allocate(block, take_size(input), take_align(input));
        break;
    case 2:
    case 3:
        if (block->start != NULL)
            give(block, what / BLOCKS == 2);
        break;
    case 4:
    case 5: { /* the handler must not free it meanwhile */
        const unsigned handler_does = world->handler_does;
        world->handler_does &= ~2u;
        resize(block, take_size(input), take_align(input), what / BLOCKS == 5);
        world->handler_does = handler_does;
        break;
    }
    case 6:
        step_span(input, what % BLOCKS);
        break;
    default:
        loam_arena_merge(&world->heap);
        break;
    }
    check_sound();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = { data, size };
    struct loam_arena_stats stats;

    open_world();
    const uint64_t deferred_max = fuzz_take(&input, 1);
    world->heap.deferred_max =
        deferred_max % 2 == 0 ? LOAM_ARENA_DEFERRED_DEFAULT : (unsigned)deferred_max / 16;
    claim(0, fuzz_take(&input, 1), 2048 + fuzz_take(&input, 2) % (SPAN_BYTES - 2048));
    while (input.left > 0)
        step(&input);
    for (unsigned i = 0; i < BLOCKS; i++) {
        if (world->block[i].start != NULL)
            give(&world->block[i], true);
    }
    check_sound();
    loam_arena_measure(&world->heap, &stats);
    FUZZ_CHECK(stats.used_bytes == 0 && stats.used_count == 0);
    FUZZ_CHECK(stats.free_count == stats.span_count);
    for (unsigned i = 0; i < SPANS; i++)
        release(&world->span[i]);
    check_sound();
    FUZZ_CHECK(world->heap.span_count == 0 && world->heap.span_bytes == 0);
    return 0;
}
