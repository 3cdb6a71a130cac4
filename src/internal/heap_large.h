/*
 * heap_large.h - blocks of whole pages, each with a record.
 *
 * Most lie in the page map, which knows where their first page is. In a kernel those that
 * memory is too fragmented for lie elsewhere, far: at virtual addresses of their own.
 */
#ifndef LOAM_INTERNAL_HEAP_LARGE_H
#define LOAM_INTERNAL_HEAP_LARGE_H

#include "heap_hard.h"

#define HEAP_FOREIGN "heap: not a block of this heap"
#define HEAP_TWICE   "heap: already free"
#define HEAP_SIZE    "heap: wrong size"

struct loam_heap_large {
    struct loam_heap_large *next, *before;
    uint64_t start;
    uint64_t page_count;
    struct loam_heap_large *far_next; /* for who supplies the pages */
    bool is_far;                      /* not in the page map */
#if LOAM_HEAP_MODE == LOAM_HEAP_HARDENED
    uint64_t block; /* between start and its end, guard pages around it */
    size_t size_bytes;
    struct loam_heap_large *sample_next; /* in heap->sample */
    bool has_front, has_back;            /* are these pages inaccessible? */
    bool is_sampled;
#endif
};

static inline uint64_t heap_pages_of(size_t size_bytes)
{
    return size_bytes / LOAM_PAGE_SIZE + !loam_is_page_aligned(size_bytes);
}

/** @param is_zeroed set; may be NULL. @return NULL: no memory */
LOAM_NODISCARD struct loam_heap_large *loam_heap_large_make(struct loam_heap *heap,
                                                            size_t size_bytes, size_t align,
                                                            bool *is_zeroed);

/** loam_heap_large_make(), in a hardened heap with what belongs to it. */
LOAM_NODISCARD static inline void *loam_heap_large_alloc(struct loam_heap *heap, size_t size_bytes,
                                                         size_t align, bool *is_zeroed)
{
    if (HEAP_IS_HARDENED) {
        if (is_zeroed != NULL)
            *is_zeroed = true;
        return loam_hard_large_alloc(heap, size_bytes, align);
    }
    const struct loam_heap_large *const large =
        loam_heap_large_make(heap, size_bytes, align, is_zeroed);
    return large == NULL ? NULL : (void *)(uintptr_t)large->start;
}

/** The record of a large block that begins here; else NULL. */
LOAM_NODISCARD struct loam_heap_large *loam_heap_large_find(const struct loam_heap *heap,
                                                            const void *block);
void loam_heap_large_unmake(struct loam_heap *heap, struct loam_heap_large *large);

/** loam_heap_large_unmake(), in a hardened heap when it was found sound. */
static inline void loam_heap_large_free(struct loam_heap *heap, struct loam_heap_large *large)
{
    if (!HEAP_IS_HARDENED || !loam_hard_large_end(heap, large))
        loam_heap_large_unmake(heap, large);
}

/** The pages of a far block that was freed are given back: now its record is. */
void loam_heap_large_forget(struct loam_heap *heap, struct loam_heap_large *large);
/** Change its size in place. @return false: the pages behind it are taken */
LOAM_NODISCARD bool loam_heap_large_resize(struct loam_heap *heap, struct loam_heap_large *large,
                                           size_t size_bytes);

#endif
