/*
 * vrange_look.c - see vrange.h: what lies where, and is it sound?
 *
 * loam_vrange_peek() takes no lock. It goes down a tree that others may be changing; it
 * follows a link only if the version is still the one that it began with, for then the
 * link was a record's when it was read. What that record has become meanwhile does not
 * matter: the next look at the version tells.
 */
#include <loam/vrange.h>

#include <stdatomic.h>

#include <loam/x86.h>

#include "internal/digest.h"
#include "internal/vrange_audit.h"
#include "internal/vrange_cache.h"
#include "internal/vrange_tree.h"

#define VRANGE_PEEKS 64u /* attempts */

/* ---- look ---------------------------------------------------------------- */

static struct loam_vrange_info vrange_gap_info(uint64_t first, uint64_t end)
{
    const struct loam_vrange_info info = {
        .range = loam_virt_range_of(vrange_address(first), (end - first) << LOAM_PAGE_SHIFT),
        .name = "free",
        .state = LOAM_VRANGE_FREE,
    };
    return info;
}

/* The range, or gap, that a page of a window lies in. */
static struct loam_vrange_info vrange_info_at(struct loam_vrange_window *window, uint64_t page)
{
    const struct loam_vrange_record *record = vrange_ends_above(window, page);
    const uint64_t first = vrange_first(record);

    return page < first ? vrange_gap_info(first - vrange_gap(record), first)
                        : vrange_info_of(record);
}

static enum loam_vrange_place vrange_place_of(loam_virt at, const struct loam_vrange_info *info)
{
    if (info->state == LOAM_VRANGE_FREE || info->state == LOAM_VRANGE_CACHED)
        return LOAM_VRANGE_IN_GAP;
    if (at.addr < info->range.start.addr)
        return LOAM_VRANGE_IN_GUARD_BEFORE;
    return at.addr - info->range.start.addr < info->range.size ? LOAM_VRANGE_IN_RANGE
                                                               : LOAM_VRANGE_IN_GUARD_AFTER;
}

enum loam_vrange_place loam_vrange_lookup(struct loam_vrange *vrange, loam_virt at,
                                          struct loam_vrange_info *out)
{
    const uint64_t page = vrange_page(at);
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&vrange->lock);
    const struct loam_vrange_window *window = vrange_window_of(vrange, page);

    if (window != NULL)
        *out = vrange_info_at(&vrange->window[window - vrange->window], page);
    loam_ticketlock_release_irq(&vrange->lock, irq);
    return window == NULL ? LOAM_VRANGE_NOWHERE : vrange_place_of(at, out);
}

/*
 * One attempt. @return false: something has changed meanwhile
 *
 * Records that are free again may be read, while their frame's next user writes there
 * what is not atomic: the one race, which only ThreadSanitizer minds.
 */
__attribute__((no_sanitize("thread"))) static bool vrange_peek_at(
    const struct loam_vrange *vrange, const struct loam_vrange_window *window, uint64_t page,
    struct loam_vrange_info *out)
{
    const uint64_t version = atomic_load(&vrange->version);
    const struct loam_vrange_record *found = &window->end;
    const struct loam_vrange_record *at = atomic_load(&window->root);

    while (at != NULL) { /* terminates: downwards in one tree, or the version is another */
        if (version % 2 != 0 || atomic_load(&vrange->version) != version)
            return false;
        if (atomic_load(&at->first) + atomic_load(&at->pages) > page) {
            found = at;
            at = atomic_load(&at->left);
        } else {
            at = atomic_load(&at->right);
        }
    }
    const uint64_t first = atomic_load(&found->first);
    if (page < first)
        *out = vrange_gap_info(first - atomic_load(&found->gap), first);
    else
        *out = vrange_info_of(found);
    return atomic_load(&vrange->version) == version;
}

enum loam_vrange_place loam_vrange_peek(const struct loam_vrange *vrange, loam_virt at,
                                        struct loam_vrange_info *out)
{
    const uint64_t page = vrange_page(at);
    const struct loam_vrange_window *window = vrange_window_of(vrange, page);
    struct loam_vrange_info info;

    if (window == NULL)
        return LOAM_VRANGE_NOWHERE;
    for (unsigned i = 0; i < VRANGE_PEEKS; i++) {
        if (vrange_peek_at(vrange, window, page, &info)) {
            *out = info;
            return vrange_place_of(at, &info);
        }
        loam_x86_pause();
    }
    return LOAM_VRANGE_CHANGING;
}

bool loam_vrange_next(struct loam_vrange *vrange, loam_virt from, struct loam_vrange_info *out)
{
    const uint64_t page = vrange_page(from);
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&vrange->lock);
    struct loam_vrange_window *lowest = NULL;

    for (unsigned i = 0; i < atomic_load(&vrange->window_count); i++) {
        struct loam_vrange_window *window = &vrange->window[i];
        if (vrange_first(&window->end) > page && (lowest == NULL || window->first < lowest->first))
            lowest = window;
    }
    if (lowest != NULL)
        *out = vrange_info_at(lowest, page > lowest->first ? page : lowest->first);
    loam_ticketlock_release_irq(&vrange->lock, irq);
    return lowest != NULL;
}

void loam_vrange_measure(struct loam_vrange *vrange, struct loam_vrange_totals *out)
{
    struct loam_vrange_totals totals = { .window_pages = 0 };
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&vrange->lock);

    for (unsigned i = 0; i < atomic_load(&vrange->window_count); i++) {
        const struct loam_vrange_window *window = &vrange->window[i];
        const uint64_t largest = vrange_root(window)->largest;
        totals.window_pages += vrange_first(&window->end) - window->first;
        totals.largest_gap = largest > totals.largest_gap ? largest : totals.largest_gap;
    }
    for (unsigned cpu = 0; cpu < vrange->cache_count; cpu++) {
        struct loam_vrange_cache *cache = &vrange->cache[cpu];
        loam_ticketlock_acquire(&cache->lock);
        totals.cached_count += cache->range_count;
        totals.cached_pages += cache->pages;
        loam_ticketlock_release(&cache->lock);
    }
    totals.range_count = vrange->record_count - totals.cached_count;
    totals.used_pages = vrange->used_pages - totals.cached_pages;
    totals.waiting_count = vrange->waiting_count;
    totals.waiting_pages = vrange->waiting_pages;
    loam_ticketlock_release_irq(&vrange->lock, irq);
    *out = totals;
}

/* ---- proof --------------------------------------------------------------- */

const char *loam_vrange_audit(const struct loam_vrange *vrange)
{
    struct vrange_tally tally = { .record_count = 0 };
    const char *broken = NULL;

    if (atomic_load(&vrange->version) % 2 != 0)
        broken = "vrange: a change has not ended";
    for (unsigned i = 0; i < atomic_load(&vrange->window_count) && broken == NULL; i++)
        broken = vrange_audit_window(vrange, &vrange->window[i], &tally);
    if (broken == NULL)
        broken = vrange_audit_caches(vrange, &tally);
    if (broken == NULL)
        broken = vrange_audit_counts(vrange, &tally);
    if (broken == NULL)
        broken = vrange_audit_queue(vrange);
    return broken != NULL ? broken : vrange_audit_pool(vrange);
}

uint64_t loam_vrange_digest(const struct loam_vrange *vrange)
{
    uint64_t digest = loam_digest_add(LOAM_DIGEST_START, vrange->queued_count);

    for (unsigned i = 0; i < atomic_load(&vrange->window_count); i++) {
        const struct loam_vrange_record *at = vrange_lowest(vrange_root(&vrange->window[i]));
        digest = loam_digest_add(digest, vrange->window[i].first);
        for (; at != NULL; at = vrange_step(at)) {
            if (vrange_state_of(at) == LOAM_VRANGE_CACHED)
                continue;
            digest = loam_digest_add(digest, vrange_first(at));
            digest = loam_digest_add(digest, vrange_pages(at));
            digest = loam_digest_add(digest, atomic_load(&at->shape));
            digest = loam_digest_add(digest, loam_virt_of(atomic_load(&at->name)).addr);
        }
    }
    return digest;
}
