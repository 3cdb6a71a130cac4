/*
 * heap_large.c - blocks of whole pages; see heap.h.
 *
 * Pages are the heap's before the record is in the list, and after it has left it. A
 * block is taken out of the page map first: two CPUs that free it meet at its entry.
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

    large->before = NULL;
    large->next = heap->large;
    if (heap->large != NULL)
        heap->large->before = large;
    heap->large = large;
    heap->large_count++;
    large_count_locked(heap, 0, large->page_count);
    loam_spinlock_release_irq(&heap->large_lock, irq);
}

static void large_unlink(struct loam_heap *heap, struct loam_heap_large *large)
{
    const loam_irq_state irq = loam_spinlock_acquire_irq(&heap->large_lock);

    if (large->before != NULL)
        large->before->next = large->next;
    else
        heap->large = large->next;
    if (large->next != NULL)
        large->next->before = large->before;
    heap->large_count--;
    large_count_locked(heap, large->page_count, 0);
    loam_spinlock_release_irq(&heap->large_lock, irq);
}

void *loam_heap_large_alloc(struct loam_heap *heap, size_t size_bytes, size_t align,
                            bool *is_zeroed)
{
    const struct heap_pages_request request = {
        .page_count = heap_pages_of(size_bytes),
        .align_bytes = align < LOAM_PAGE_SIZE ? LOAM_PAGE_SIZE : align,
    };
    bool has_zeroes;
    struct loam_heap_large *const large = loam_record_alloc(&heap->map, sizeof(*large));
    if (large == NULL)
        return NULL;
    void *const pages = loam_heap_pages_take(&heap->map, &request, &has_zeroes);
    if (pages == NULL || loam_pagemap_prepare(&heap->map, loam_virt_of(pages).addr, 1) != LOAM_OK) {
        if (pages != NULL)
            loam_heap_pages_give(&heap->map, pages, request.page_count);
        loam_record_free(&heap->map, large, sizeof(*large));
        return NULL;
    }
    large->start = loam_virt_of(pages).addr;
    large->page_count = request.page_count;
    large_link(heap, large);
    const struct loam_pagemap_mark mark = { large->start, 1, LOAM_PAGEMAP_LARGE, large };
    loam_pagemap_set(&heap->map, &mark);
    if (is_zeroed != NULL)
        *is_zeroed = has_zeroes;
    return pages;
}

struct loam_heap_large *loam_heap_large_find(const struct loam_heap *heap, const void *block)
{
    const uint64_t at = loam_virt_of(block).addr;
    const uint64_t entry = loam_pagemap_look(&heap->map, at);

    if (loam_pagemap_kind(entry) != LOAM_PAGEMAP_LARGE || !loam_is_page_aligned(at))
        return NULL;
    return loam_pagemap_record(&heap->map, entry);
}

void loam_heap_large_free(struct loam_heap *heap, struct loam_heap_large *large)
{
    const struct loam_pagemap_mark mark = { large->start, 1, LOAM_PAGEMAP_NOTHING, NULL };

    loam_pagemap_set(&heap->map, &mark);
    large_unlink(heap, large);
    loam_heap_pages_give(&heap->map, (void *)(uintptr_t)large->start, large->page_count);
    loam_record_free(&heap->map, large, sizeof(*large));
}

bool loam_heap_large_resize(struct loam_heap *heap, struct loam_heap_large *large,
                            size_t size_bytes)
{
    const uint64_t before = large->page_count;
    const uint64_t after = heap_pages_of(size_bytes);
    void *const end = (void *)(uintptr_t)(large->start + before * LOAM_PAGE_SIZE);

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
