/*
 * vrange_audit.h - what loam_vrange_audit() looks at. Only vrange.c includes it.
 *
 * Nothing found is trusted: walks are bounded by what is counted, so they end on a
 * cycle, too.
 */
#ifndef LOAM_INTERNAL_VRANGE_AUDIT_H
#define LOAM_INTERNAL_VRANGE_AUDIT_H

#include <loam/vrange.h>

#include "vrange_pool.h"
#include "vrange_tree.h"

/* What was seen in all windows. */
struct vrange_tally {
    uint64_t record_count;
    uint64_t used_pages;
    uint64_t waiting_count, waiting_pages;
};

/* One record by itself, and towards its children. */
static inline const char *vrange_audit_links(const struct loam_vrange_record *record)
{
    const struct loam_vrange_record *const child[] = { record->left, record->right };

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
    if (record->pages <= (uint64_t)record->guard_before + record->guard_after)
        return "vrange: range is nothing but guards";
    tally->record_count++;
    if (record->state == LOAM_VRANGE_USED) {
        tally->used_pages += record->pages;
        return record->next == NULL ? NULL : "vrange: range in use is on a list";
    }
    tally->waiting_count++;
    tally->waiting_pages += record->pages;
    return record->state == LOAM_VRANGE_WAITING ? NULL : "vrange: unknown state";
}

/* The lowest record, found in a bounded number of steps; NULL: a cycle. */
static inline const struct loam_vrange_record *vrange_audit_lowest(
    const struct loam_vrange *vrange, const struct loam_vrange_record *at)
{
    for (uint64_t i = 0; i <= vrange->record_count; i++) {
        if (at->left == NULL)
            return at;
        at = at->left;
    }
    return NULL;
}

static inline const char *vrange_audit_window(const struct loam_vrange *vrange,
                                              const struct loam_vrange_window *window,
                                              struct vrange_tally *tally)
{
    const struct loam_vrange_record *at = vrange_audit_lowest(vrange, window->root);
    uint64_t end = window->first; /* of the record before */
    const char *broken = NULL;

    if (at == NULL || window->root->parent != NULL)
        return "vrange: root is not on top";
    while (at != &window->end) { /* terminates: ascending */
        broken = vrange_audit_links(at);
        if (broken == NULL)
            broken = vrange_audit_record(at, tally);
        if (broken != NULL)
            return broken;
        if (at->first < end || at->first - end != at->gap)
            return "vrange: gap does not reach to the range before";
        end = at->first + at->pages;
        at = vrange_step(at);
        if (at == NULL)
            return "vrange: end of the window is missing";
    }
    if (at->first < end || at->first - end != at->gap || at->pages != 0)
        return "vrange: end of the window is wrong";
    return vrange_audit_links(at);
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
        if (at == NULL || at->state != LOAM_VRANGE_WAITING)
            return "vrange: queue is broken";
        const uint64_t first = at->first + at->guard_before;
        const uint64_t usable = at->pages - at->guard_before - at->guard_after;
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
