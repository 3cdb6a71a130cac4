/*
 * malloc.c - see malloc.h.
 */
#include "malloc.h"

#include "memory.h"

void *malloc(size_t size)
{
    return loam_malloc(&memory, size);
}

void *calloc(size_t count, size_t size)
{
    return loam_calloc(&memory, count, size);
}

void *realloc(void *block, size_t size)
{
    return loam_realloc(&memory, block, size);
}

void *aligned_alloc(size_t align, size_t size)
{
    return loam_aligned_alloc(&memory, align, size);
}

void free(void *block)
{
    loam_free(&memory, block);
}

void free_sized(void *block, size_t size)
{
    loam_free_sized(&memory, block, size);
}
