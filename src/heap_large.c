/*
 * heap_large.c - blocks of whole pages; see heap.h.
 *
 * Pages are the heap's before the record is in the list, and after it has left it. A
 * block is taken out of the page map under the lock: of two CPUs that free it one finds
 * it gone.
 */
#include <loam/heap.h>

#include "internal/check.h"
#include "internal/heap_large.h"
#include "internal/heap_pages.h"

static void large_count_locked(struct loam_heap *heap, uint64_t before, uint64_t after)
    LOAM_NEEDS(heap->large_lock)
{
    heap->large_pages += after - before;
    if (heap->large_pages > heap->large_peak_pages)
        heap->large_peak_pages = heap->large_pages;
}

static void large_link(struct loam_heap *heap, struct loam_heap_large *large)
{
    const loam_irq_state irq = loam_spinlock_acquire_irq(&heap->large_lock);
    const struct loam_pagemap_mark mark = { large->start, 1, LOAM_PAGEMAP_LARGE, large };

    if (!large->is_far)
        loam_pagemap_set(&heap->map, &mark);
    large->before = NULL;
    large->next = heap->large;
    if (heap->large != NULL)
        heap->large->before = large;
    heap->large = large;
    heap->large_count++;
    large_count_locked(heap, 0, large->page_count);
    loam_spinlock_release_irq(&heap->large_lock, irq);
}

/* Is it still in the page map? Then it is not from now on. */
static bool large_unmark_locked(struct loam_heap *heap, const struct loam_heap_large *large)
    LOAM_NEEDS(heap->large_lock)
{
    const uint64_t entry = loam_pagemap_look(&heap->map, large->start);
    const struct loam_pagemap_mark mark = { large->start, 1, LOAM_PAGEMAP_NOTHING, NULL };

    if (loam_pagemap_kind(entry) != LOAM_PAGEMAP_LARGE ||
        loam_pagemap_record(&heap->map, entry) != large)
        return false;
    loam_pagemap_set(&heap->map, &mark);
    return true;
}

static void large_unlink_locked(struct loam_heap *heap, struct loam_heap_large *large)
    LOAM_NEEDS(heap->large_lock)
{
    if (large->before != NULL)
        large->before->next = large->next;
    else
        heap->large = large->next;
    if (large->next != NULL)
        large->next->before = large->before;
    heap->large_count--;
    large_count_locked(heap, large->page_count, 0);
}

/* ---- elsewhere --------------------------------------------------------------- */

#if LOAM_PAGEMAP_FLAT

static bool large_far_take(struct loam_heap *heap, struct loam_heap_large *large, uint64_t align,
                           bool is_zeroed)
{
    (void)heap, (void)large, (void)align, (void)is_zeroed;
    return false;
}

static struct loam_heap_large *large_far_find(const struct loam_heap *heap, uint64_t at)
{
    (void)heap, (void)at;
    return NULL;
}

static bool large_far_leave(struct loam_heap *heap, struct loam_heap_large *large)
{
    (void)heap, (void)large;
    return false;
}

static void large_far_give(struct loam_heap *heap, struct loam_heap_large *large)
{
    (void)heap, (void)large;
}

#else

static bool large_far_take(struct loam_heap *heap, struct loam_heap_large *large, uint64_t align,
                           bool is_zeroed)
{
    return loam_heap_far_take(&heap->map, large, align, is_zeroed);
}

static struct loam_heap_large *large_far_find(const struct loam_heap *heap, uint64_t at)
{
    return loam_heap_far_find(&heap->map, at);
}

static bool large_far_leave(struct loam_heap *heap, struct loam_heap_large *large)
{
    return loam_heap_far_leave(&heap->map, large);
}

static void large_far_give(struct loam_heap *heap, struct loam_heap_large *large)
{
    loam_heap_far_give(&heap->map, large);
}

#endif

/* ---- large blocks ------------------------------------------------------------ */

/* Pages that the page map can tell. @return false: there are none */
static bool large_take(struct loam_heap *heap, struct loam_heap_large *large, uint64_t align,
                       bool *has_zeroes)
{
    const struct heap_pages_request request = { large->page_count, align, false };
    void *const pages = loam_heap_pages_take(&heap->map, &request, has_zeroes);

    if (pages == NULL)
        return false;
    large->start = loam_virt_of(pages).addr;
    if (loam_pagemap_prepare(&heap->map, large->start, 1) == LOAM_OK)
        return true;
    loam_heap_pages_give(&heap->map, pages, large->page_count);
    return false;
}

struct loam_heap_large *loam_heap_large_make(struct loam_heap *heap, size_t size_bytes,
                                             size_t align, bool *is_zeroed)
{
    const uint64_t page_align = align < LOAM_PAGE_SIZE ? LOAM_PAGE_SIZE : align;
    const uint64_t page_count = heap_pages_of(size_bytes);
    bool has_zeroes = is_zeroed != NULL;

    if (!LOAM_PAGEMAP_FLAT && /* there, the map grows as pages are taken */
        (page_count > loam_pagemap_pages(&heap->map) ||
         page_align / LOAM_PAGE_SIZE > loam_pagemap_pages(&heap->map)))
        return NULL;
    struct loam_heap_large *const large = loam_pagemap_alloc(&heap->map, sizeof(*large));
    if (large == NULL)
        return NULL;
    large->page_count = page_count;
    if (!large_take(heap, large, page_align, &has_zeroes)) {
        has_zeroes = is_zeroed != NULL;
        if (!large_far_take(heap, large, page_align, has_zeroes)) {
            loam_pagemap_free(&heap->map, large, sizeof(*large));
            return NULL;
        }
    }
    large_link(heap, large);
    if (is_zeroed != NULL)
        *is_zeroed = has_zeroes;
    return large;
}

/* Does the block begin here? */
static inline bool heap_large_is_start(const struct loam_heap_large *large, uint64_t at)
{
#if LOAM_HEAP_MODE == LOAM_HEAP_HARDENED
    return large->block == at;
#else
    (void)large, (void)at;
    return true; /* page-aligned: the page map knows no other page of it */
#endif
}

struct loam_heap_large *loam_heap_large_find(const struct loam_heap *heap, const void *block)
{
    const uint64_t at = loam_virt_of(block).addr;
    const uint64_t entry = loam_pagemap_look(&heap->map, at);

    if (!loam_is_page_aligned(at) && !HEAP_HAS_GUARDS)
        return NULL;
    if (loam_pagemap_kind(entry) == LOAM_PAGEMAP_LARGE) {
        struct loam_heap_large *const large = loam_pagemap_record(&heap->map, entry);
        return heap_large_is_start(large, at) ? large : NULL;
    }
    return entry == 0 ? large_far_find(heap, at) : NULL;
}

/* Has it a page that cannot be made accessible again? Then its pages are lost. */
static inline bool heap_large_is_stuck(const struct loam_heap_large *large)
{
#if LOAM_HEAP_MODE == LOAM_HEAP_HARDENED
    return large->has_front || large->has_back;
#else
    (void)large;
    return false;
#endif
}

void loam_heap_large_unmake(struct loam_heap *heap, struct loam_heap_large *large)
{
    const bool is_far = large->is_far;
    const uint64_t start = large->start;
    const loam_irq_state irq = loam_spinlock_acquire_irq(&heap->large_lock);
    const bool is_live = is_far ? large_far_leave(heap, large) : large_unmark_locked(heap, large);

    LOAM_REQUIRE(is_live, HEAP_TWICE, start, 0);
    large_unlink_locked(heap, large);
    heap->large_gone += is_far;
    loam_spinlock_release_irq(&heap->large_lock, irq);
    if (is_far) {
        large_far_give(heap, large);
        return;
    }
    if (!heap_large_is_stuck(large))
        loam_heap_pages_give(&heap->map, (void *)(uintptr_t)start, large->page_count);
    loam_pagemap_free(&heap->map, large, sizeof(*large));
}

void loam_heap_large_forget(struct loam_heap *heap, struct loam_heap_large *large)
{
    const loam_irq_state irq = loam_spinlock_acquire_irq(&heap->large_lock);

    heap->large_gone--;
    loam_spinlock_release_irq(&heap->large_lock, irq);
    loam_pagemap_free(&heap->map, large, sizeof(*large));
}

bool loam_heap_owns(struct loam_heap *heap, const void *pointer)
{
    const uint64_t at = loam_virt_of(pointer).addr;

    if (loam_pagemap_look(&heap->map, at) != 0)
        return true;
    const loam_irq_state irq = loam_spinlock_acquire_irq(&heap->large_lock);
    const struct loam_heap_large *large = heap->large; /* only its first page is in the map */
    while (large != NULL && at - large->start >= large->page_count * LOAM_PAGE_SIZE)
        large = large->next;
    loam_spinlock_release_irq(&heap->large_lock, irq);
    return large != NULL;
}

bool loam_heap_large_resize(struct loam_heap *heap, struct loam_heap_large *large,
                            size_t size_bytes)
{
    const uint64_t before = large->page_count;
    const uint64_t after = heap_pages_of(size_bytes);
    void *const end = (void *)(uintptr_t)(large->start + before * LOAM_PAGE_SIZE);

    if (large->is_far) /* as it is, unless half of it would be wasted */
        return after <= before && after >= before / 2;
    if (after > before && !loam_heap_pages_extend(&heap->map, end, after - before))
        return false;
    const loam_irq_state irq = loam_spinlock_acquire_irq(&heap->large_lock);
    large->page_count = after;
    large_count_locked(heap, before, after);
    loam_spinlock_release_irq(&heap->large_lock, irq);
    if (after < before)
        loam_heap_pages_give(&heap->map, (void *)(uintptr_t)(large->start + after * LOAM_PAGE_SIZE),
                             before - after);
    return true;
}
