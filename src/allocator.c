/*
 * allocator.c - see allocator.h.
 */
#include <loam/allocator.h>

#include "internal/check.h"
#include "internal/digest.h"
#include "internal/try.h"

static const char *const allocator_names[] = {
    [LOAM_ALLOCATOR_NONE] = "none",         [LOAM_ALLOCATOR_BUMP] = "bump",
    [LOAM_ALLOCATOR_FREELIST] = "freelist", [LOAM_ALLOCATOR_FREELIST_SIZED] = "freelist-sized",
    [LOAM_ALLOCATOR_BLOCK] = "block",       [LOAM_ALLOCATOR_ARENA] = "arena",
    [LOAM_ALLOCATOR_HEAP] = "heap",
};
#define ALLOCATOR_KINDS (sizeof(allocator_names) / sizeof(allocator_names[0]))

static bool allocator_name_is(const char *name, const char *wanted)
{
    size_t i = 0;

    while (name[i] != '\0' && name[i] == wanted[i])
        i++;
    return name[i] == wanted[i];
}

/* Blocks without headers have no size to look up. */
static void allocator_require_size(const void *block, size_t size_bytes)
{
    LOAM_REQUIRE(size_bytes != LOAM_SIZE_UNKNOWN, "allocator: size is needed",
                 loam_virt_of(block).addr, 0);
}

const char *loam_allocator_name(enum loam_allocator_kind kind)
{
    return (unsigned)kind < ALLOCATOR_KINDS ? allocator_names[kind] : "?";
}

enum loam_allocator_kind loam_allocator_kind_of(const char *name)
{
    for (unsigned kind = 0; kind < ALLOCATOR_KINDS; kind++) {
        if (allocator_name_is(allocator_names[kind], name))
            return (enum loam_allocator_kind)kind;
    }
    return LOAM_ALLOCATOR_NONE;
}

/* ---- a heap over a span -------------------------------------------------- */

static enum loam_status allocator_init_arena(struct loam_arena *arena, void *span,
                                             size_t size_bytes)
{
    loam_arena_init(arena);
    return loam_arena_claim(arena, span, size_bytes);
}

static enum loam_status allocator_init_block(struct loam_allocator_room *room, void *span,
                                             size_t size_bytes)
{
    const struct loam_block_fallback fallback = { .arena = &room->over.arena };
    LOAM_TRY(allocator_init_arena(&room->over.arena, span, size_bytes));
    return loam_block_init(&room->block, &fallback);
}

enum loam_status loam_allocator_init(struct loam_allocator_room *room,
                                     enum loam_allocator_kind kind, void *span, size_t size_bytes,
                                     struct loam_allocator *out)
{
    struct loam_allocator made = { .kind = kind };
    if ((unsigned)kind >= ALLOCATOR_KINDS)
        return LOAM_INVALID;
    switch (kind) {
    case LOAM_ALLOCATOR_NONE:
    case LOAM_ALLOCATOR_HEAP:
        return LOAM_INVALID;
    case LOAM_ALLOCATOR_BUMP:
        LOAM_TRY(loam_bump_init(&room->over.bump, span, size_bytes));
        made.heap.bump = &room->over.bump;
        break;
    case LOAM_ALLOCATOR_FREELIST:
    case LOAM_ALLOCATOR_FREELIST_SIZED:
        LOAM_TRY(loam_freelist_init(&room->over.freelist, span, size_bytes));
        made.heap.freelist = &room->over.freelist;
        break;
    case LOAM_ALLOCATOR_BLOCK:
        LOAM_TRY(allocator_init_block(room, span, size_bytes));
        made.heap.block = &room->block;
        break;
    case LOAM_ALLOCATOR_ARENA:
        LOAM_TRY(allocator_init_arena(&room->over.arena, span, size_bytes));
        made.heap.arena = &room->over.arena;
        break;
    }
    *out = made;
    return LOAM_OK;
}

void *loam_allocator_alloc(const struct loam_allocator *allocator, size_t size_bytes, size_t align)
{
    switch (allocator->kind) {
    case LOAM_ALLOCATOR_NONE:
        break;
    case LOAM_ALLOCATOR_BUMP:
        return loam_bump_alloc(allocator->heap.bump, size_bytes, align);
    case LOAM_ALLOCATOR_FREELIST:
        return loam_freelist_alloc(allocator->heap.freelist, size_bytes, align);
    case LOAM_ALLOCATOR_FREELIST_SIZED:
        return loam_freelist_take(allocator->heap.freelist, size_bytes, align);
    case LOAM_ALLOCATOR_BLOCK:
        return loam_block_alloc(allocator->heap.block, size_bytes, align);
    case LOAM_ALLOCATOR_ARENA:
        return loam_arena_alloc(allocator->heap.arena, size_bytes, align);
    case LOAM_ALLOCATOR_HEAP:
        return loam_heap_alloc_aligned(allocator->heap.heap, align, size_bytes);
    }
    return NULL;
}

/* No heap: a block cannot be of it. */
static void allocator_require_null(const void *block)
{
    LOAM_REQUIRE(block == NULL, "allocator: not a block of this heap", loam_virt_of(block).addr, 0);
}

void loam_allocator_free(const struct loam_allocator *allocator, void *block)
{
    switch (allocator->kind) {
    case LOAM_ALLOCATOR_NONE:
        allocator_require_null(block);
        return;
    case LOAM_ALLOCATOR_BUMP:
        loam_bump_free(allocator->heap.bump, block);
        return;
    case LOAM_ALLOCATOR_FREELIST:
        loam_freelist_free(allocator->heap.freelist, block);
        return;
    case LOAM_ALLOCATOR_FREELIST_SIZED:
        if (block != NULL)
            allocator_require_size(block, LOAM_SIZE_UNKNOWN);
        return;
    case LOAM_ALLOCATOR_BLOCK:
        loam_block_free(allocator->heap.block, block);
        return;
    case LOAM_ALLOCATOR_ARENA:
        loam_arena_free(allocator->heap.arena, block);
        return;
    case LOAM_ALLOCATOR_HEAP:
        loam_heap_free(allocator->heap.heap, block);
        return;
    }
}

void loam_allocator_free_sized(const struct loam_allocator *allocator, void *block,
                               size_t size_bytes)
{
    switch (allocator->kind) {
    case LOAM_ALLOCATOR_NONE:
        allocator_require_null(block);
        return;
    case LOAM_ALLOCATOR_BUMP:
        loam_bump_free_sized(allocator->heap.bump, block, size_bytes);
        return;
    case LOAM_ALLOCATOR_FREELIST:
        loam_freelist_free_sized(allocator->heap.freelist, block, size_bytes);
        return;
    case LOAM_ALLOCATOR_FREELIST_SIZED:
        loam_freelist_give(allocator->heap.freelist, block, size_bytes);
        return;
    case LOAM_ALLOCATOR_BLOCK:
        loam_block_free_sized(allocator->heap.block, block, size_bytes);
        return;
    case LOAM_ALLOCATOR_ARENA:
        loam_arena_free_sized(allocator->heap.arena, block, size_bytes);
        return;
    case LOAM_ALLOCATOR_HEAP:
        loam_heap_free_sized(allocator->heap.heap, block, size_bytes);
        return;
    }
}

/* The heap's own does not know of alignment: what is aligned to more moves. */
static void *allocator_heap_realloc(struct loam_heap *heap, void *block,
                                    const struct loam_resize *resize)
{
    const size_t usable = loam_heap_usable(heap, block);
    const size_t size = resize->size_bytes;
    const size_t align = resize->align;

    LOAM_REQUIRE(resize->old_bytes == LOAM_SIZE_UNKNOWN || resize->old_bytes <= usable,
                 "heap: wrong size", loam_virt_of(block).addr, usable);
    if (align == 0 || (align & (align - 1)) != 0)
        return NULL;
    if (align <= 8 || (align <= LOAM_HEAP_ALIGN && size >= LOAM_HEAP_ALIGN))
        return loam_heap_realloc(heap, block, size);
    const bool is_aligned = (loam_virt_of(block).addr & (align - 1)) == 0;
    if (is_aligned && size <= usable && size >= usable / 2)
        return block;
    void *const moved = loam_heap_alloc_aligned(heap, align, size);
    if (moved == NULL)
        return is_aligned && size <= usable ? block : NULL;
    __builtin_memcpy(moved, block, size < usable ? size : usable);
    loam_heap_free(heap, block);
    return moved;
}

void *loam_allocator_realloc(const struct loam_allocator *allocator, void *block,
                             const struct loam_resize *resize)
{
    if (block == NULL)
        return loam_allocator_alloc(allocator, resize->size_bytes, resize->align);
    switch (allocator->kind) {
    case LOAM_ALLOCATOR_NONE:
        allocator_require_null(block);
        break;
    case LOAM_ALLOCATOR_BUMP:
        return loam_bump_realloc(allocator->heap.bump, block, resize);
    case LOAM_ALLOCATOR_FREELIST:
        LOAM_REQUIRE(resize->old_bytes == LOAM_SIZE_UNKNOWN ||
                         resize->old_bytes == loam_freelist_usable(allocator->heap.freelist, block),
                     "freelist: wrong size", loam_virt_of(block).addr,
                     loam_freelist_usable(allocator->heap.freelist, block));
        return loam_freelist_realloc(allocator->heap.freelist, block, resize->size_bytes,
                                     resize->align);
    case LOAM_ALLOCATOR_FREELIST_SIZED:
        allocator_require_size(block, resize->old_bytes);
        return loam_freelist_resize(allocator->heap.freelist, block, resize);
    case LOAM_ALLOCATOR_BLOCK:
        return loam_block_realloc(allocator->heap.block, block, resize);
    case LOAM_ALLOCATOR_ARENA:
        return loam_arena_realloc_sized(allocator->heap.arena, block, resize);
    case LOAM_ALLOCATOR_HEAP:
        return allocator_heap_realloc(allocator->heap.heap, block, resize);
    }
    return NULL;
}

size_t loam_allocator_usable(const struct loam_allocator *allocator, const void *block)
{
    switch (allocator->kind) {
    case LOAM_ALLOCATOR_NONE:
        allocator_require_null(block);
        break;
    case LOAM_ALLOCATOR_BUMP:
        break;
    case LOAM_ALLOCATOR_FREELIST:
        return loam_freelist_usable(allocator->heap.freelist, block);
    case LOAM_ALLOCATOR_FREELIST_SIZED:
        allocator_require_size(block, LOAM_SIZE_UNKNOWN);
        break;
    case LOAM_ALLOCATOR_BLOCK:
        return loam_block_usable(allocator->heap.block, block);
    case LOAM_ALLOCATOR_ARENA:
        return loam_arena_usable(allocator->heap.arena, block);
    case LOAM_ALLOCATOR_HEAP:
        return loam_heap_usable(allocator->heap.heap, block);
    }
    return 0;
}

static bool allocator_bump_owns(const struct loam_bump *bump, const void *pointer)
{
    const uint64_t at = loam_virt_of(pointer).addr;

    return at >= bump->start && at < bump->end;
}

/* All memory of the block heap comes from its fallback. */
static bool allocator_block_owns(const struct loam_block_fallback *fallback, const void *pointer)
{
    return fallback->arena != NULL ? loam_arena_owns(fallback->arena, pointer)
                                   : loam_freelist_owns(fallback->freelist, pointer);
}

bool loam_allocator_owns(const struct loam_allocator *allocator, const void *pointer)
{
    switch (allocator->kind) {
    case LOAM_ALLOCATOR_NONE:
        break;
    case LOAM_ALLOCATOR_BUMP:
        return allocator_bump_owns(allocator->heap.bump, pointer);
    case LOAM_ALLOCATOR_FREELIST:
    case LOAM_ALLOCATOR_FREELIST_SIZED:
        return loam_freelist_owns(allocator->heap.freelist, pointer);
    case LOAM_ALLOCATOR_BLOCK:
        return allocator_block_owns(&allocator->heap.block->fallback, pointer);
    case LOAM_ALLOCATOR_ARENA:
        return loam_arena_owns(allocator->heap.arena, pointer);
    case LOAM_ALLOCATOR_HEAP:
        return loam_heap_owns(allocator->heap.heap, pointer);
    }
    return false;
}

static struct loam_allocator_stats allocator_bump_stats(const struct loam_bump *bump)
{
    struct loam_bump_stats stats;

    loam_bump_measure(bump, &stats);
    return (struct loam_allocator_stats){ stats.used_bytes, stats.peak_bytes, stats.used_count };
}

static struct loam_allocator_stats allocator_freelist_stats(const struct loam_freelist *list)
{
    struct loam_freelist_stats stats;

    loam_freelist_measure(list, &stats);
    return (struct loam_allocator_stats){ stats.used_bytes, stats.peak_bytes, stats.used_count };
}

static struct loam_allocator_stats allocator_block_stats(const struct loam_block *block)
{
    struct loam_block_stats stats;

    loam_block_measure(block, &stats);
    return (struct loam_allocator_stats){ stats.used_bytes, stats.peak_bytes, stats.used_count };
}

static struct loam_allocator_stats allocator_arena_stats(struct loam_arena *arena)
{
    struct loam_arena_stats stats;

    loam_arena_measure(arena, &stats);
    return (struct loam_allocator_stats){ stats.used_bytes, stats.peak_bytes, stats.used_count };
}

static struct loam_allocator_stats allocator_heap_stats(struct loam_heap *heap)
{
    struct loam_heap_stats stats;
    struct loam_slab_stats of_class;

    loam_heap_measure(heap, &stats);
    uint64_t peak_bytes = stats.large_peak_pages * LOAM_PAGE_SIZE;
    for (unsigned class = 1; class < LOAM_HEAP_CLASSES; class ++) { /* each had its own moment */
        loam_heap_measure_class(heap, class, &of_class);
        peak_bytes += of_class.taken_peak * of_class.slot_bytes;
    }
    return (struct loam_allocator_stats){ stats.live_bytes, peak_bytes, stats.live_count };
}

void loam_allocator_measure(const struct loam_allocator *allocator,
                            struct loam_allocator_stats *out)
{
    struct loam_allocator_stats stats = { 0, 0, 0 };

    switch (allocator->kind) {
    case LOAM_ALLOCATOR_NONE:
        break;
    case LOAM_ALLOCATOR_BUMP:
        stats = allocator_bump_stats(allocator->heap.bump);
        break;
    case LOAM_ALLOCATOR_FREELIST:
    case LOAM_ALLOCATOR_FREELIST_SIZED:
        stats = allocator_freelist_stats(allocator->heap.freelist);
        break;
    case LOAM_ALLOCATOR_BLOCK:
        stats = allocator_block_stats(allocator->heap.block);
        break;
    case LOAM_ALLOCATOR_ARENA:
        stats = allocator_arena_stats(allocator->heap.arena);
        break;
    case LOAM_ALLOCATOR_HEAP:
        stats = allocator_heap_stats(allocator->heap.heap);
        break;
    }
    *out = stats;
}

const char *loam_allocator_audit(const struct loam_allocator *allocator)
{
    switch (allocator->kind) {
    case LOAM_ALLOCATOR_NONE:
        return NULL;
    case LOAM_ALLOCATOR_BUMP:
        return loam_bump_audit(allocator->heap.bump);
    case LOAM_ALLOCATOR_FREELIST:
    case LOAM_ALLOCATOR_FREELIST_SIZED:
        return loam_freelist_audit(allocator->heap.freelist);
    case LOAM_ALLOCATOR_BLOCK:
        return loam_block_audit(allocator->heap.block);
    case LOAM_ALLOCATOR_ARENA:
        return loam_arena_audit(allocator->heap.arena);
    case LOAM_ALLOCATOR_HEAP:
        return loam_heap_audit(allocator->heap.heap);
    }
    return "allocator: kind is unknown";
}

uint64_t loam_allocator_digest(const struct loam_allocator *allocator)
{
    switch (allocator->kind) {
    case LOAM_ALLOCATOR_NONE:
        break;
    case LOAM_ALLOCATOR_BUMP:
        return loam_bump_digest(allocator->heap.bump);
    case LOAM_ALLOCATOR_FREELIST:
    case LOAM_ALLOCATOR_FREELIST_SIZED:
        return loam_freelist_digest(allocator->heap.freelist);
    case LOAM_ALLOCATOR_BLOCK:
        return loam_block_digest(allocator->heap.block);
    case LOAM_ALLOCATOR_ARENA:
        return loam_arena_digest(allocator->heap.arena);
    case LOAM_ALLOCATOR_HEAP:
        return loam_heap_digest(allocator->heap.heap);
    }
    return LOAM_DIGEST_START;
}
