/*
 * heaps.c - Loam's heaps, and two that are none, as the benchmark calls them.
 *
 * Blocks are freed with their size, as Rust and C++ do.
 */

#include <loam/arena.h>
#include <loam/block.h>
#include <loam/bump.h>
#include <loam/freelist.h>

#include "heap.h"

/* ---- what is no heap ----------------------------------------------------------- */

static unsigned char *empty_block;

static bool empty_init(void *span, size_t size_bytes)
{
    (void)size_bytes;
    empty_block = span;
    return true;
}

static void *empty_alloc(size_t size_bytes, size_t align)
{
    (void)size_bytes;
    (void)align;
    return empty_block;
}

static void empty_free(void *block, size_t size_bytes, size_t align)
{
    (void)block;
    (void)size_bytes;
    (void)align;
}

static void *empty_realloc(void *block, size_t old_bytes, size_t size_bytes, size_t align)
{
    (void)old_bytes;
    (void)size_bytes;
    (void)align;
    return block;
}

const struct bench_heap bench_empty[] = {
    { "empty", empty_init, empty_alloc, empty_free, empty_realloc },
    { 0 },
};

static struct bench_increment increment;

static bool increment_init(void *span, size_t size_bytes)
{
    (void)size_bytes;
    increment.next = (uintptr_t)span;
    return true;
}

static void *increment_alloc(size_t size_bytes, size_t align)
{
    return bench_increment_alloc(&increment, size_bytes, align);
}

/* ---- Loam's -------------------------------------------------------------------- */

static struct loam_bump bump;

static bool bump_init(void *span, size_t size_bytes)
{
    return loam_bump_init(&bump, span, size_bytes) == LOAM_OK;
}

static void *bump_alloc(size_t size_bytes, size_t align)
{
    return loam_bump_alloc(&bump, size_bytes, align);
}

static void bump_free(void *block, size_t size_bytes, size_t align)
{
    (void)align;
    loam_bump_free_sized(&bump, block, size_bytes);
}

static void *bump_realloc(void *block, size_t old_bytes, size_t size_bytes, size_t align)
{
    const struct loam_resize resize = { old_bytes, size_bytes, align };
    return loam_bump_realloc(&bump, block, &resize);
}

static struct loam_freelist freelist;

static bool freelist_init(void *span, size_t size_bytes)
{
    return loam_freelist_init(&freelist, span, size_bytes) == LOAM_OK;
}

static void *freelist_alloc(size_t size_bytes, size_t align)
{
    return loam_freelist_take(&freelist, size_bytes, align);
}

static void freelist_free(void *block, size_t size_bytes, size_t align)
{
    (void)align;
    loam_freelist_give(&freelist, block, size_bytes);
}

static void *freelist_realloc(void *block, size_t old_bytes, size_t size_bytes, size_t align)
{
    const struct loam_resize resize = { old_bytes, size_bytes, align };
    return loam_freelist_resize(&freelist, block, &resize);
}

static struct loam_arena arena;

static bool arena_init(void *span, size_t size_bytes)
{
    loam_arena_init(&arena);
    return loam_arena_claim(&arena, span, size_bytes) == LOAM_OK;
}

static void *arena_alloc(size_t size_bytes, size_t align)
{
    return loam_arena_alloc(&arena, size_bytes, align);
}

static void arena_free(void *block, size_t size_bytes, size_t align)
{
    (void)align;
    loam_arena_free_sized(&arena, block, size_bytes);
}

static void arena_free_unsized(void *block, size_t size_bytes, size_t align)
{
    (void)size_bytes;
    (void)align;
    loam_arena_free(&arena, block);
}

static void *arena_realloc(void *block, size_t old_bytes, size_t size_bytes, size_t align)
{
    const struct loam_resize resize = { old_bytes, size_bytes, align };
    return loam_arena_realloc_sized(&arena, block, &resize);
}

static struct loam_block block;

static void *block_alloc(size_t size_bytes, size_t align)
{
    return loam_block_alloc(&block, size_bytes, align);
}

static void block_free(void *pointer, size_t size_bytes, size_t align)
{
    (void)align;
    loam_block_free_sized(&block, pointer, size_bytes);
}

static void *block_realloc(void *pointer, size_t old_bytes, size_t size_bytes, size_t align)
{
    const struct loam_resize resize = { old_bytes, size_bytes, align };
    return loam_block_realloc(&block, pointer, &resize);
}

static bool block_init_arena(void *span, size_t size_bytes)
{
    const struct loam_block_fallback fallback = { .arena = &arena };
    return arena_init(span, size_bytes) && loam_block_init(&block, &fallback) == LOAM_OK;
}

static bool block_init_freelist(void *span, size_t size_bytes)
{
    const struct loam_block_fallback fallback = { .freelist = &freelist };
    return freelist_init(span, size_bytes) && loam_block_init(&block, &fallback) == LOAM_OK;
}

const struct bench_heap bench_loam[] = {
    { "arena", arena_init, arena_alloc, arena_free, arena_realloc },
    { "arena-unsized", arena_init, arena_alloc, arena_free_unsized, arena_realloc },
    { "freelist", freelist_init, freelist_alloc, freelist_free, freelist_realloc },
    { "block-arena", block_init_arena, block_alloc, block_free, block_realloc },
    { "block-freelist", block_init_freelist, block_alloc, block_free, block_realloc },
    { 0 },
};

const struct bench_heap bench_bumps[] = {
    { "increment", increment_init, increment_alloc, empty_free, empty_realloc },
    { "bump", bump_init, bump_alloc, bump_free, bump_realloc },
    { 0 },
};
