/*
 * vrange_audit.h - what loam_vrange_audit() looks at. Only vrange_look.c includes it.
 *
 * Nothing found is trusted: walks are bounded by what is counted, so they end on a
 * cycle, too.
 */
#ifndef LOAM_INTERNAL_VRANGE_AUDIT_H
#define LOAM_INTERNAL_VRANGE_AUDIT_H

#include <loam/vrange.h>

#include "vrange_cache.h"
#include "vrange_pool.h"
#include "vrange_tree.h"

/* What was seen in all windows. */
struct vrange_tally {
    uint64_t record_count;
    uint64_t used_pages;
    uint64_t waiting_count, waiting_pages;
    uint64_t cached_count, cached_pages;
    uint64_t cached_firsts; /* sum of where they begin: which they are, mostly */
};

/* One record by itself, and towards its children. */
static inline const char *vrange_audit_links(const struct loam_vrange_record *record)
{
    const struct loam_vrange_record *const child[] = { vrange_left(record), vrange_right(record) };

    for (unsigned i = 0; i < 2; i++) {
        if (child[i] == NULL)
            continue;
        if (child[i]->parent != record)
            return "vrange: child has another parent";
        if (vrange_priority(child[i]) > vrange_priority(record))
            return "vrange: child has a higher priority";
    }
    if (record->largest != vrange_largest_of(record))
        return "vrange: largest gap is wrong";
    return NULL;
}

static inline const char *vrange_audit_record(const struct loam_vrange_record *record,
                                              struct vrange_tally *tally)
{
    const uint64_t shape = atomic_load(&record->shape);
    const uint64_t pages = vrange_pages(record);

    if (pages <= vrange_guard_before(shape) + vrange_guard_after(shape))
        return "vrange: range is nothing but guards";
    tally->record_count++;
    if (vrange_state(shape) == LOAM_VRANGE_WAITING) {
        tally->waiting_count++;
        tally->waiting_pages += pages;
        return NULL;
    }
    tally->used_pages += pages;
    if (vrange_state(shape) == LOAM_VRANGE_CACHED) {
        tally->cached_count++;
        tally->cached_pages += pages;
        tally->cached_firsts += vrange_first(record);
    } else if (vrange_state(shape) != LOAM_VRANGE_USED) {
        return "vrange: unknown state";
    }
    return record->next == NULL ? NULL : "vrange: range in use is on a list";
}

/* The lowest record, found in a bounded number of steps; NULL: a cycle. */
static inline const struct loam_vrange_record *vrange_audit_lowest(
    const struct loam_vrange *vrange, const struct loam_vrange_record *at)
{
    for (uint64_t i = 0; i <= vrange->record_count; i++) {
        if (vrange_left(at) == NULL)
            return at;
        at = vrange_left(at);
    }
    return NULL;
}

static inline const char *vrange_audit_window(const struct loam_vrange *vrange,
                                              const struct loam_vrange_window *window,
                                              struct vrange_tally *tally)
{
    const struct loam_vrange_record *at = vrange_audit_lowest(vrange, vrange_root(window));
    uint64_t end = window->first; /* of the record before */
    const char *broken = NULL;

    if (at == NULL || vrange_root(window)->parent != NULL)
        return "vrange: root is not on top";
    while (at != &window->end) { /* terminates: ascending */
        broken = vrange_audit_links(at);
        if (broken == NULL)
            broken = vrange_audit_record(at, tally);
        if (broken != NULL)
            return broken;
        if (vrange_first(at) < end || vrange_first(at) - end != vrange_gap(at))
            return "vrange: gap does not reach to the range before";
        end = vrange_end(at);
        at = vrange_step(at);
        if (at == NULL)
            return "vrange: end of the window is missing";
    }
    if (vrange_first(at) < end || vrange_first(at) - end != vrange_gap(at) || vrange_pages(at) != 0)
        return "vrange: end of the window is wrong";
    return vrange_audit_links(at);
}

/* One CPU's cache; what it has is taken out of the tally. */
static inline const char *vrange_audit_cache(const struct loam_vrange_cache *cache,
                                             struct vrange_tally *tally)
{
    uint64_t count = 0;
    uint64_t pages = 0;

    for (unsigned class = 0; class < VRANGE_CLASSES; class ++) {
        if (cache->count[class] > LOAM_VRANGE_CACHED_MAX)
            return "vrange: a CPU keeps too many ranges";
        for (uint32_t i = 0; i < cache->count[class]; i++) {
            const struct loam_vrange_record *record = cache->range[class][i];
            if (vrange_state_of(record) != LOAM_VRANGE_CACHED ||
                vrange_class_of(vrange_usable_pages(record)) != class)
                return "vrange: a CPU keeps what is not cached, or of another size";
            count++;
            pages += vrange_pages(record);
            tally->cached_firsts -= vrange_first(record);
        }
    }
    tally->cached_count -= count;
    tally->cached_pages -= pages;
    return count == cache->range_count && pages == cache->pages
               ? NULL
               : "vrange: what a CPU keeps is counted wrong";
}

static inline const char *vrange_audit_caches(const struct loam_vrange *vrange,
                                              struct vrange_tally *tally)
{
    for (unsigned cpu = 0; cpu < vrange->cache_count; cpu++) {
        const char *broken = vrange_audit_cache(&vrange->cache[cpu], tally);
        if (broken != NULL)
            return broken;
    }
    return tally->cached_count == 0 && tally->cached_pages == 0 && tally->cached_firsts == 0
               ? NULL
               : "vrange: what is cached is not what the CPUs keep";
}

static inline const char *vrange_audit_counts(const struct loam_vrange *vrange,
                                              const struct vrange_tally *tally)
{
    if (tally->record_count != vrange->record_count)
        return "vrange: range count is wrong";
    if (tally->used_pages != vrange->used_pages)
        return "vrange: pages in use are counted wrong";
    if (tally->waiting_count != vrange->waiting_count ||
        tally->waiting_pages != vrange->waiting_pages)
        return "vrange: what waits is counted wrong";
    if (vrange->queued_count > vrange->waiting_count)
        return "vrange: more is queued than waits";
    return NULL;
}

/* What is queued; batches are with their owners. */
static inline const char *vrange_audit_queue(const struct loam_vrange *vrange)
{
    const struct loam_vrange_record *at = vrange->queued;
    uint64_t pages = 0;

    for (uint64_t i = 0; i < vrange->queued_count; i++) {
        if (at == NULL || vrange_state_of(at) != LOAM_VRANGE_WAITING)
            return "vrange: queue is broken";
        const uint64_t first = vrange_usable_first(at);
        const uint64_t usable = vrange_usable_pages(at);
        if (first < vrange->queued_low || first + usable > vrange->queued_high)
            return "vrange: queued range is outside of the span";
        pages += usable;
        at = at->next;
    }
    if (at != NULL)
        return "vrange: more is queued than counted, or a cycle";
    return pages == vrange->queued_pages ? NULL : "vrange: queued pages are counted wrong";
}

/* Frames with free records; the rest of all frames is the ranges'. */
static inline const char *vrange_audit_pool(const struct loam_vrange *vrange)
{
    const struct loam_vrange_frame *before = NULL;
    uint64_t free_records = 0;

    for (const struct loam_vrange_frame *at = vrange->partial; at != NULL; at = at->next) {
        if (!loam_is_page_aligned(loam_virt_of(at).addr) || at->before != before)
            return "vrange: list of frames with free records is broken";
        if (at->free_records == 0 || at->free_records >= VRANGE_ALL_FREE)
            return "vrange: frame on the list has no free record, or no other";
        for (uint64_t bits = at->free_records; bits != 0; bits &= bits - 1)
            free_records++;
        if (free_records > vrange->free_records)
            return "vrange: more free records than counted, or a cycle";
        before = at;
    }
    if (free_records != vrange->free_records)
        return "vrange: fewer free records than counted";
    return free_records + vrange->record_count == vrange->node_frame_count * VRANGE_RECORDS
               ? NULL
               : "vrange: frames are not what their records add up to";
}

#endif
