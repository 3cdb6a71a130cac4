/*
 * heap_large.h - blocks of whole pages, each with a record.
 *
 * Most lie in the page map, which knows where their first page is. In a kernel those that
 * memory is too fragmented for lie elsewhere, far: at virtual addresses of their own.
 */
#ifndef LOAM_INTERNAL_HEAP_LARGE_H
#define LOAM_INTERNAL_HEAP_LARGE_H

#include <loam/heap.h>

#define HEAP_FOREIGN "heap: not a block of this heap"
#define HEAP_TWICE   "heap: already free"
#define HEAP_SIZE    "heap: wrong size"

struct loam_heap_large {
    struct loam_heap_large *next, *before;
    uint64_t start;
    uint64_t page_count;
    struct loam_heap_large *far_next; /* for who supplies the pages */
    bool is_far;                      /* not in the page map */
};

static inline uint64_t heap_pages_of(size_t size_bytes)
{
    return size_bytes / LOAM_PAGE_SIZE + !loam_is_page_aligned(size_bytes);
}

/** @param is_zeroed set; may be NULL. @return NULL: no memory */
LOAM_NODISCARD void *loam_heap_large_alloc(struct loam_heap *heap, size_t size_bytes, size_t align,
                                           bool *is_zeroed);
/** The record of a large block that begins here; else NULL. */
LOAM_NODISCARD struct loam_heap_large *loam_heap_large_find(const struct loam_heap *heap,
                                                            const void *block);
void loam_heap_large_free(struct loam_heap *heap, struct loam_heap_large *large);
/** The pages of a far block that was freed are given back: now its record is. */
void loam_heap_large_forget(struct loam_heap *heap, struct loam_heap_large *large);
/** Change its size in place. @return false: the pages behind it are taken */
LOAM_NODISCARD bool loam_heap_large_resize(struct loam_heap *heap, struct loam_heap_large *large,
                                           size_t size_bytes);

#endif
