/*
 * malloc.h - the C names of the kernel's heap; contracts as in loam.h.
 *
 * Always inlined: with the debug layer on, a block's site is then the function that
 * wrote malloc(), not a wrapper.
 */
#ifndef KERNEL_MALLOC_H
#define KERNEL_MALLOC_H

#include <stddef.h>

#include "memory.h"

#define MALLOC_INLINE __attribute__((always_inline)) static inline

MALLOC_INLINE void *malloc(size_t size)
{
    return loam_malloc(&memory, size);
}

MALLOC_INLINE void *calloc(size_t count, size_t size)
{
    return loam_calloc(&memory, count, size);
}

MALLOC_INLINE void *realloc(void *block, size_t size)
{
    return loam_realloc(&memory, block, size);
}

MALLOC_INLINE void *aligned_alloc(size_t align, size_t size)
{
    return loam_aligned_alloc(&memory, align, size);
}

MALLOC_INLINE size_t malloc_usable_size(const void *block)
{
    return loam_malloc_usable(&memory, block);
}

MALLOC_INLINE void free(void *block)
{
    loam_free(&memory, block);
}

MALLOC_INLINE void free_sized(void *block, size_t size)
{
    loam_free_sized(&memory, block, size);
}

#endif
