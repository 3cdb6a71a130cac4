/*
 * heap_pages.h - where the heap's pages come from, and go. Two definitions: that of
 * kernels, books_heap.c; that of host programs, preload/pages.c, which have a flat page
 * map and nothing far.
 *
 * Pages are readable and writable, lie between map->start and its end, and are counted
 * as the heap's. Called without a lock; may call the kernel's pressure hooks.
 */
#ifndef LOAM_INTERNAL_HEAP_PAGES_H
#define LOAM_INTERNAL_HEAP_PAGES_H

#include <loam/pagemap.h>

struct heap_pages_request {
    uint64_t page_count;  /* > 0 */
    uint64_t align_bytes; /* power of two, a page or more */
    bool is_record;       /* for the heap's own records: apart from blocks, where possible */
};

/** @param is_zeroed set: do they hold zeroes? @return first byte; NULL: there is no memory */
LOAM_NODISCARD void *loam_heap_pages_take(struct loam_pagemap *map,
                                          const struct heap_pages_request *request,
                                          bool *is_zeroed);

/** Give pages back: all of what was taken, or any part of it. */
void loam_heap_pages_give(struct loam_pagemap *map, void *start, uint64_t page_count);

/** Take the pages that follow, if they are free. @return false: they are not */
LOAM_NODISCARD bool loam_heap_pages_extend(struct loam_pagemap *map, void *start,
                                           uint64_t page_count);

#if !LOAM_PAGEMAP_FLAT
struct loam_heap_large;

/**
 * Take the pages of a large block at addresses that are not in the map, where there are no
 * others.
 *
 * @param large       page_count is set; start, is_far and far_next are set on success
 * @param align_bytes power of two, a page or more
 * @param is_zeroed   they are to hold zeroes
 *
 * @return false: there are none
 */
LOAM_NODISCARD bool loam_heap_far_take(struct loam_pagemap *map, struct loam_heap_large *large,
                                       uint64_t align_bytes, bool is_zeroed);

/** The block that was taken so and begins here; else NULL. Any address. */
LOAM_NODISCARD struct loam_heap_large *loam_heap_far_find(const struct loam_pagemap *map,
                                                          uint64_t address);

/** From now on it is not found. @return false: nor was it before */
LOAM_NODISCARD bool loam_heap_far_leave(struct loam_pagemap *map, struct loam_heap_large *large);

/** Give back the pages of what has left, then loam_heap_large_forget() it, now or later.
 * Without a lock; never waits. */
void loam_heap_far_give(struct loam_pagemap *map, struct loam_heap_large *large);
#endif

/**
 * Make a page of those inaccessible, or accessible again. Hardened heaps of hosts only.
 *
 * @return false: that cannot be done; the page is as it was
 */
LOAM_NODISCARD bool loam_heap_pages_guard(struct loam_pagemap *map, void *page, bool is_guard);

#endif
