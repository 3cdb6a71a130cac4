/*
 * malloc.c - the malloc family of C, POSIX, BSD and GNU.
 *
 * What they leave open: a block of no bytes is one of 8; realloc(block, 0) frees and gives
 * NULL, as the GNU library does, with errno as it was; an alignment that is not a power of
 * two is EINVAL everywhere.
 */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

#include "family.h"

/* In no header of this C library. */
void cfree(void *block);
void free_sized(void *block, size_t size);
void free_aligned_sized(void *block, size_t align, size_t size);

static bool malloc_is_align(size_t align)
{
    return align != 0 && (align & (align - 1)) == 0;
}

PRELOAD_EXPORT void *malloc(size_t size)
{
    return preload_alloc(size);
}

PRELOAD_EXPORT void free(void *block)
{
    preload_free(block);
}

PRELOAD_EXPORT void cfree(void *block)
{
    preload_free(block);
}

PRELOAD_EXPORT void free_sized(void *block, size_t size)
{
    preload_free_sized(block, size);
}

PRELOAD_EXPORT void free_aligned_sized(void *block, size_t align, size_t size)
{
    preload_free_sized_slow(block, malloc_is_align(align) ? align : 1, size);
}

PRELOAD_EXPORT void *calloc(size_t count, size_t size)
{
    size_t bytes;

    if (HEAP_UNLIKELY(__builtin_mul_overflow(count, size, &bytes))) {
        errno = ENOMEM;
        return NULL;
    }
    if (!HEAP_IS_HARDENED && HEAP_LIKELY(bytes <= LOAM_HEAP_TABLE_MAX)) {
        void *const block = preload_pop(heap_class_table[(bytes + 7) / 8]);
        if (HEAP_LIKELY(block != NULL))
            return __builtin_memset(block, 0, bytes);
    }
    return preload_alloc_zeroed_slow(bytes);
}

/* In place, where the block's class would not be left, or hardly. */
static inline void *malloc_resize(void *block, size_t size)
{
    if (HEAP_UNLIKELY(block == NULL))
        return preload_alloc(size);
    if (HEAP_UNLIKELY(size == 0)) {
        preload_free(block);
        return NULL;
    }
    if (HEAP_IS_HARDENED)
        return preload_realloc_slow(block, 0, size);
    const unsigned class = heap_fast_class(&preload_heap, block);
    const size_t usable = class != 0 ? heap_class_bytes(class) : 0;
    if (HEAP_LIKELY(size <= usable && size >= usable / 2))
        return block;
    return preload_realloc_slow(block, usable, size);
}

PRELOAD_EXPORT void *realloc(void *block, size_t size)
{
    return malloc_resize(block, size);
}

PRELOAD_EXPORT void *reallocarray(void *block, size_t count, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return malloc_resize(block, bytes);
}

/* ---- aligned ------------------------------------------------------------------ */

PRELOAD_EXPORT void *memalign(size_t align, size_t size)
{
    if (!malloc_is_align(align)) {
        errno = EINVAL;
        return NULL;
    }
    return preload_alloc_aligned(align, size);
}

PRELOAD_EXPORT void *aligned_alloc(size_t align, size_t size)
{
    if (!malloc_is_align(align)) {
        errno = EINVAL;
        return NULL;
    }
    return preload_alloc_aligned(align, size);
}

PRELOAD_EXPORT int posix_memalign(void **out, size_t align, size_t size)
{
    const int error = errno;

    if (!malloc_is_align(align) || align % sizeof(void *) != 0)
        return EINVAL;
    void *const block = preload_alloc_aligned(align, size);
    if (block == NULL) {
        errno = error; /* it tells by its result alone */
        return ENOMEM;
    }
    *out = block;
    return 0;
}

PRELOAD_EXPORT void *valloc(size_t size)
{
    return preload_alloc_aligned(LOAM_PAGE_SIZE, size);
}

PRELOAD_EXPORT void *pvalloc(size_t size)
{
    const size_t part = size & (LOAM_PAGE_SIZE - 1);
    size_t whole = size;

    if (part != 0 && __builtin_add_overflow(size, LOAM_PAGE_SIZE - part, &whole)) {
        errno = ENOMEM;
        return NULL;
    }
    return preload_alloc_aligned(LOAM_PAGE_SIZE, whole == 0 ? LOAM_PAGE_SIZE : whole);
}

PRELOAD_EXPORT size_t malloc_usable_size(void *block)
{
    return preload_usable(block);
}
