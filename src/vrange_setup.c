/*
 * vrange_setup.c - see vrange.h: begin, windows, caches, end.
 */
#include <loam/vrange.h>

#include <stdatomic.h>

#include "internal/check.h"
#include "internal/vrange_cache.h"
#include "internal/vrange_pool.h"
#include "internal/vrange_tree.h"

/* ---- begin and end ------------------------------------------------------- */

void loam_vrange_init(struct loam_vrange *vrange, struct loam_stock *nodes, unsigned levels,
                      uint64_t purge_pages)
{
    LOAM_REQUIRE(nodes != NULL, "vrange: no stock of nodes", 0, 0);
    LOAM_REQUIRE(levels == 4 || levels == 5, "vrange: neither 4 nor 5 paging levels", levels, 0);
    __builtin_memset(vrange, 0, sizeof(*vrange)); /* the lock starts as zeroes */
    vrange->nodes = nodes;
    vrange->levels = levels;
    vrange->purge_pages = purge_pages == 0 ? LOAM_VRANGE_PURGE_PAGES : purge_pages;
}

size_t loam_vrange_cache_bytes_needed(unsigned cpu_count)
{
    if (cpu_count == 0 || cpu_count > LOAM_CPUS_MAX)
        return 0;
    return cpu_count * sizeof(struct loam_vrange_cache);
}

enum loam_status loam_vrange_use_caches(struct loam_vrange *vrange, unsigned cpu_count,
                                        void *memory, size_t memory_bytes)
{
    const size_t needed = loam_vrange_cache_bytes_needed(cpu_count);

    if (vrange->cache != NULL)
        return LOAM_STATE;
    if (needed == 0 || memory == NULL ||
        loam_virt_of(memory).addr % _Alignof(struct loam_vrange_cache) != 0)
        return LOAM_INVALID;
    if (memory_bytes < needed)
        return LOAM_NO_SPACE;
    __builtin_memset(memory, 0, needed);
    vrange->cache = memory;
    vrange->cache_count = cpu_count;
    return LOAM_OK;
}

void loam_vrange_release(struct loam_vrange *vrange)
{
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&vrange->lock);

    LOAM_REQUIRE(vrange->queued_count == vrange->waiting_count, "vrange: released during a purge",
                 vrange->waiting_count, vrange->queued_count);
    vrange_change_begin(vrange);
    for (unsigned i = 0; i < atomic_load(&vrange->window_count); i++) {
        struct loam_vrange_window *window = &vrange->window[i];
        struct loam_vrange_record *at = vrange_lowest(vrange_root(window));
        while (at != &window->end) { /* terminates: ascending */
            vrange_remove(window, at);
            vrange_pool_put_locked(vrange, at);
            at = vrange_lowest(vrange_root(window));
        }
    }
    vrange_change_end(vrange);
    for (unsigned cpu = 0; cpu < vrange->cache_count; cpu++) {
        while (vrange_cache_take_any(&vrange->cache[cpu]) != NULL) /* ends: 40 at most */
            continue;
    }
    atomic_store(&vrange->window_count, 0);
    vrange->record_count = 0;
    vrange->used_pages = 0;
    vrange->waiting_count = 0;
    vrange->waiting_pages = 0;
    vrange->queued = NULL;
    vrange->queued_count = 0;
    vrange->queued_pages = 0;
    loam_ticketlock_release_irq(&vrange->lock, irq);
}

/* ---- windows ------------------------------------------------------------- */

/* Is a range from outside one that a window may be? */
static bool vrange_is_window(const struct loam_vrange *vrange, struct loam_virt_range range)
{
    const uint64_t start = range.start.addr;

    if (range.size == 0 || !loam_range_fits(start, range.size))
        return false;
    if (!loam_is_page_aligned(start) || !loam_is_page_aligned(range.size))
        return false;
    const loam_virt last = loam_virt_at(start + (range.size - 1));
    return loam_virt_is_canonical(range.start, vrange->levels) &&
           loam_virt_is_canonical(last, vrange->levels) && start >> 63 == last.addr >> 63;
}

/* Make a window of [first, end). */
static enum loam_status vrange_add_window_locked(struct loam_vrange *vrange, uint64_t first,
                                                 uint64_t end) LOAM_NEEDS(vrange->lock)
{
    const unsigned count = atomic_load(&vrange->window_count);

    for (unsigned i = 0; i < count; i++) {
        if (first < vrange_first(&vrange->window[i].end) && vrange->window[i].first < end)
            return LOAM_OVERLAP;
    }
    if (count == LOAM_VRANGE_WINDOWS_MAX)
        return LOAM_NO_SPACE;
    struct loam_vrange_window *window = &vrange->window[count];
    window->first = first;
    vrange_point(&window->root, &window->end);
    vrange_set(&window->end.first, end);
    vrange_set(&window->end.gap, end - first);
    window->end.largest = end - first;
    atomic_store(&vrange->window_count, count + 1);
    return LOAM_OK;
}

enum loam_status loam_vrange_add_window(struct loam_vrange *vrange, struct loam_virt_range window)
{
    if (!vrange_is_window(vrange, window))
        return LOAM_INVALID;
    const uint64_t first = vrange_page(window.start);
    const uint64_t end = first + (window.size >> LOAM_PAGE_SHIFT);
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&vrange->lock);
    const enum loam_status status = vrange_add_window_locked(vrange, first, end);
    loam_ticketlock_release_irq(&vrange->lock, irq);
    return status;
}
