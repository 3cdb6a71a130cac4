/*
 * vrange_cache.h - ranges that a CPU keeps for the next who wants their like. Shared by
 * the sources of vrange.
 *
 *     CPU 0   1 page  [ range ][ range ]          8 at most
 *             2 pages [ range ]
 *             ...
 *             16 pages
 *
 * A range that is kept stays in the tree, where it is no gap; to take it out again is to
 * change its state and its name. Each CPU's cache has a lock, taken with interrupts off:
 * after vrange->lock, or alone.
 */
#ifndef LOAM_INTERNAL_VRANGE_CACHE_H
#define LOAM_INTERNAL_VRANGE_CACHE_H

#include <loam/port.h>
#include <loam/vrange.h>
#include <loam/x86.h>

#include "vrange_tree.h"

#define VRANGE_CLASSES     5u /* 1, 2, 4, 8, 16 pages */
#define VRANGE_CLASS_NONE  VRANGE_CLASSES
#define VRANGE_CLASS_PAGES 16u /* the largest */

struct loam_vrange_cache {
    struct loam_ticketlock lock;
    uint32_t count[VRANGE_CLASSES];
    uint64_t range_count, pages; /* with guards */
    struct loam_vrange_record *range[VRANGE_CLASSES][LOAM_VRANGE_CACHED_MAX];
} __attribute__((aligned(64)));

/* Which class holds ranges of so many pages, guards apart. */
static inline unsigned vrange_class_of(uint64_t pages)
{
    if (!loam_is_power_of_two(pages) || pages > VRANGE_CLASS_PAGES)
        return VRANGE_CLASS_NONE;
    return (unsigned)__builtin_ctzll(pages);
}

/* The running CPU's, locked with interrupts off. There are caches. */
static inline struct loam_vrange_cache *vrange_cache_enter(const struct loam_vrange *vrange,
                                                           loam_irq_state *irq) LOAM_UNCHECKED
{
    *irq = loam_x86_irq_save();
    const unsigned cpu = loam_port_cpu();
    struct loam_vrange_cache *cache = &vrange->cache[cpu < vrange->cache_count ? cpu : 0];

    loam_ticketlock_acquire(&cache->lock);
    return cache;
}

static inline void vrange_cache_leave(struct loam_vrange_cache *cache,
                                      loam_irq_state irq) LOAM_UNCHECKED
{
    loam_ticketlock_release(&cache->lock);
    loam_x86_irq_restore(irq);
}

/* Keep a range. @return false: there are enough of its class. Interrupts are off. */
static inline bool vrange_cache_put(struct loam_vrange_cache *cache, unsigned class,
                                    struct loam_vrange_record *record)
{
    loam_ticketlock_acquire(&cache->lock);
    const uint32_t at = cache->count[class];
    const bool has_room = at < LOAM_VRANGE_CACHED_MAX;
    if (has_room) {
        vrange_set_state(record, LOAM_VRANGE_CACHED);
        cache->range[class][at] = record;
        cache->count[class] = at + 1;
        cache->range_count++;
        cache->pages += vrange_pages(record);
    }
    loam_ticketlock_release(&cache->lock);
    return has_room;
}

/* Take out the newest range of a class with such guards; NULL: there is none. */
static inline struct loam_vrange_record *vrange_cache_take_locked(struct loam_vrange_cache *cache,
                                                                  unsigned class, uint64_t guards)
    LOAM_NEEDS(cache->lock)
{
    struct loam_vrange_record **range = cache->range[class];

    for (uint32_t at = cache->count[class]; at-- > 0;) {
        struct loam_vrange_record *record = range[at];
        if ((atomic_load(&record->shape) & UINT32_MAX) != guards)
            continue;
        cache->count[class]--;
        range[at] = range[cache->count[class]];
        cache->range_count--;
        cache->pages -= vrange_pages(record);
        return record;
    }
    return NULL;
}

/* Take any range out; NULL: there is none. Interrupts are off. */
static inline struct loam_vrange_record *vrange_cache_take_any(struct loam_vrange_cache *cache)
{
    struct loam_vrange_record *record = NULL;

    loam_ticketlock_acquire(&cache->lock);
    for (unsigned class = 0; class < VRANGE_CLASSES && record == NULL; class ++) {
        if (cache->count[class] > 0)
            record = cache->range[class][--cache->count[class]];
    }
    if (record != NULL) {
        cache->range_count--;
        cache->pages -= vrange_pages(record);
    }
    loam_ticketlock_release(&cache->lock);
    return record;
}

#endif
