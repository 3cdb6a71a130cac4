/*
 * vrange.c - see vrange.h.
 *
 * Everything is counted in pages here: the end of the address space is page 2^52,
 * so nothing wraps. The tree is in internal/vrange_tree.h, where records come from
 * in internal/vrange_pool.h. To allocate is to look for a place, then to reserve a
 * record, which can fail, then to insert it, which cannot.
 */
#include <loam/vrange.h>

#include "internal/check.h"
#include "internal/digest.h"
#include "internal/try.h"
#include "internal/vrange_audit.h"
#include "internal/vrange_pool.h"
#include "internal/vrange_tree.h"

#define VRANGE_PAGES (UINT64_C(1) << (64 - LOAM_PAGE_SHIFT)) /* of the address space */
#define VRANGE_CHUNK 16u /* ranges purged at a time, with interrupts off */

/* A request, checked. */
struct vrange_want {
    uint64_t pages; /* with guards */
    uint64_t guard_before, guard_after;
    uint64_t align; /* pages */
    uint64_t low, high;
    uint64_t dice;
    const char *name;
};

/* Where a range can go. */
struct vrange_spot {
    struct loam_vrange_window *window;
    struct loam_vrange_record *after; /* the gap is before this one */
    uint64_t first;
};

static loam_virt vrange_address(uint64_t page)
{
    return loam_virt_at(page << LOAM_PAGE_SHIFT);
}

static uint64_t vrange_page(loam_virt at)
{
    return at.addr >> LOAM_PAGE_SHIFT;
}

static enum loam_status vrange_want_of(const struct loam_vrange_request *request,
                                       struct vrange_want *out)
{
    const uint64_t align = request->align_bytes == 0 ? LOAM_PAGE_SIZE : request->align_bytes;

    if (request->page_count == 0 || request->page_count > VRANGE_PAGES)
        return LOAM_INVALID;
    if (request->guard_before > LOAM_VRANGE_GUARD_MAX ||
        request->guard_after > LOAM_VRANGE_GUARD_MAX)
        return LOAM_INVALID;
    if (!loam_is_power_of_two(align))
        return LOAM_INVALID;
    out->pages = request->guard_before + request->page_count + request->guard_after;
    out->guard_before = request->guard_before;
    out->guard_after = request->guard_after;
    out->align = align <= LOAM_PAGE_SIZE ? 1 : align >> LOAM_PAGE_SHIFT;
    out->low = (request->from >> LOAM_PAGE_SHIFT) + (loam_is_page_aligned(request->from) ? 0 : 1);
    out->high = request->limit == 0 ? VRANGE_PAGES : request->limit >> LOAM_PAGE_SHIFT;
    out->dice = request->dice;
    out->name = request->name != NULL ? request->name : "unnamed";
    return LOAM_OK;
}

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

void loam_vrange_release(struct loam_vrange *vrange)
{
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&vrange->lock);

    LOAM_REQUIRE(vrange->queued_count == vrange->waiting_count, "vrange: released during a purge",
                 vrange->waiting_count, vrange->queued_count);
    for (unsigned i = 0; i < vrange->window_count; i++) {
        struct loam_vrange_window *window = &vrange->window[i];
        struct loam_vrange_record *at = vrange_lowest(window->root);
        while (at != &window->end) { /* terminates: ascending */
            vrange_remove(window, at);
            vrange_pool_put_locked(vrange, at);
            at = vrange_lowest(window->root);
        }
    }
    vrange->window_count = 0;
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
    for (unsigned i = 0; i < vrange->window_count; i++) {
        if (first < vrange->window[i].end.first && vrange->window[i].first < end)
            return LOAM_OVERLAP;
    }
    if (vrange->window_count == LOAM_VRANGE_WINDOWS_MAX)
        return LOAM_NO_SPACE;
    struct loam_vrange_window *window = &vrange->window[vrange->window_count];
    window->first = first;
    window->root = &window->end;
    window->end.first = end;
    window->end.gap = end - first;
    window->end.largest = end - first;
    vrange->window_count++;
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

/* The window that a page lies in; NULL: in none. */
static struct loam_vrange_window *vrange_window_locked(struct loam_vrange *vrange, uint64_t page)
    LOAM_NEEDS(vrange->lock)
{
    for (unsigned i = 0; i < vrange->window_count; i++) {
        struct loam_vrange_window *window = &vrange->window[i];
        if (page >= window->first && page < window->end.first)
            return window;
    }
    return NULL;
}

/* ---- allocate ------------------------------------------------------------ */

static uint64_t vrange_max(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t vrange_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Where in the gap before a record? @return false: nowhere */
static bool vrange_fit(const struct loam_vrange_record *after, const struct vrange_want *want,
                       uint64_t *first)
{
    const uint64_t low = vrange_max(after->first - after->gap, want->low);
    const uint64_t usable = (low + want->guard_before + want->align - 1) & ~(want->align - 1);
    const uint64_t start = usable - want->guard_before;
    const uint64_t high = vrange_min(after->first, want->high);

    *first = start;
    return start <= high && want->pages <= high - start;
}

/* The lowest place in a window. */
static bool vrange_find_in(struct loam_vrange_window *window, const struct vrange_want *want,
                           struct vrange_spot *out)
{
    struct loam_vrange_record *at;

    if (window->root->largest < want->pages)
        return false;
    at = want->low <= window->first ? vrange_lowest_fit(window->root, want->pages)
                                    : vrange_ends_above(window, want->low);
    while (at != NULL && at->first - at->gap < want->high) { /* terminates: upwards */
        if (vrange_fit(at, want, &out->first)) {
            out->window = window;
            out->after = at;
            return true;
        }
        at = vrange_next_fit(at, want->pages);
    }
    return false;
}

/* The lowest place from a random page of [low, high) on. The range fits in there. */
static bool vrange_find_by_dice(struct loam_vrange_window *window, const struct vrange_want *want,
                                uint64_t low, uint64_t high, struct vrange_spot *out)
{
    struct vrange_want there = *want;

    if (want->dice == 0)
        return false;
    there.low = low + want->dice % (high - low - want->pages + 1);
    return vrange_find_in(window, &there, out);
}

/* The first window's lowest place; else whether a purge may make one. */
static enum loam_status vrange_find_locked(struct loam_vrange *vrange,
                                           const struct vrange_want *want, struct vrange_spot *out)
    LOAM_NEEDS(vrange->lock)
{
    bool is_large_enough = false;

    for (unsigned i = 0; i < vrange->window_count; i++) {
        struct loam_vrange_window *window = &vrange->window[i];
        const uint64_t low = vrange_max(window->first, want->low);
        const uint64_t high = vrange_min(window->end.first, want->high);
        if (low >= high || want->pages > high - low)
            continue;
        if (vrange_find_by_dice(window, want, low, high, out) || vrange_find_in(window, want, out))
            return LOAM_OK;
        is_large_enough = true;
    }
    return is_large_enough && vrange->waiting_count > 0 ? LOAM_STATE : LOAM_NO_SPACE;
}

/* Is [first, first + pages) free? */
static enum loam_status vrange_probe_locked(struct loam_vrange *vrange, uint64_t first,
                                            uint64_t pages, struct vrange_spot *out)
    LOAM_NEEDS(vrange->lock)
{
    struct loam_vrange_window *window = vrange_window_locked(vrange, first);
    enum loam_status status = LOAM_OK;

    if (window == NULL || pages > window->end.first - first)
        return LOAM_NOT_FOUND;
    struct loam_vrange_record *at = vrange_ends_above(window, first);
    out->window = window;
    out->after = at;
    out->first = first;
    for (; at->first < first + pages; at = vrange_after(window, at)) { /* terminates: ascending */
        if (at->state == LOAM_VRANGE_USED)
            return LOAM_OVERLAP;
        status = LOAM_STATE;
    }
    return status;
}

/* Put a range where it was found to fit: reserve, then commit. */
static enum loam_status vrange_take_locked(struct loam_vrange *vrange,
                                           const struct vrange_want *want,
                                           const struct vrange_spot *spot) LOAM_NEEDS(vrange->lock)
{
    LOAM_TRY(vrange_pool_reserve_locked(vrange));
    struct loam_vrange_record *record = vrange_pool_take_locked(vrange);
    record->first = spot->first;
    record->pages = want->pages;
    record->guard_before = (uint16_t)want->guard_before;
    record->guard_after = (uint16_t)want->guard_after;
    record->name = want->name;
    record->next = NULL;
    record->state = LOAM_VRANGE_USED;
    vrange_insert(spot->window, record, spot->after);
    vrange->record_count++;
    vrange->used_pages += want->pages;
    return LOAM_OK;
}

enum loam_status loam_vrange_alloc(struct loam_vrange *vrange,
                                   const struct loam_vrange_request *request, loam_virt *out)
{
    struct vrange_want want;
    struct vrange_spot spot;

    LOAM_TRY(vrange_want_of(request, &want));
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&vrange->lock);
    enum loam_status status = vrange_find_locked(vrange, &want, &spot);
    if (status == LOAM_OK)
        status = vrange_take_locked(vrange, &want, &spot);
    loam_ticketlock_release_irq(&vrange->lock, irq);
    if (status == LOAM_OK)
        *out = vrange_address(spot.first + want.guard_before);
    return status;
}

enum loam_status loam_vrange_reserve(struct loam_vrange *vrange,
                                     const struct loam_vrange_request *request, loam_virt at)
{
    struct loam_vrange_request exact = *request;
    struct vrange_want want;
    struct vrange_spot spot;

    exact.align_bytes = 0;
    LOAM_TRY(vrange_want_of(&exact, &want));
    if (!loam_is_page_aligned(at.addr))
        return LOAM_INVALID;
    const uint64_t first = vrange_page(at) - want.guard_before; /* below 0: in no window */
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&vrange->lock);
    enum loam_status status = vrange_probe_locked(vrange, first, want.pages, &spot);
    if (status == LOAM_OK)
        status = vrange_take_locked(vrange, &want, &spot);
    loam_ticketlock_release_irq(&vrange->lock, irq);
    return status;
}

/* ---- free ---------------------------------------------------------------- */

static uint64_t vrange_usable_first(const struct loam_vrange_record *record)
{
    return record->first + record->guard_before;
}

static uint64_t vrange_usable_pages(const struct loam_vrange_record *record)
{
    return record->pages - record->guard_before - record->guard_after;
}

/* The range that a caller frees; anything else panics. */
static struct loam_vrange_record *vrange_freed_locked(struct loam_vrange *vrange,
                                                      struct loam_virt_range range)
    LOAM_NEEDS(vrange->lock)
{
    const uint64_t start = range.start.addr;
    const uint64_t page = vrange_page(range.start);
    struct loam_vrange_window *window = vrange_window_locked(vrange, page);
    struct loam_vrange_record *record = window == NULL ? NULL : vrange_ends_above(window, page);

    LOAM_REQUIRE(record != NULL && record->first <= page, "vrange: no range here", start,
                 range.size);
    LOAM_REQUIRE(vrange_usable_first(record) == page, "vrange: not the start of a range", start,
                 vrange_address(vrange_usable_first(record)).addr);
    LOAM_REQUIRE(record->state == LOAM_VRANGE_USED, "vrange: freed twice", start, range.size);
    LOAM_REQUIRE(vrange_usable_pages(record) << LOAM_PAGE_SHIFT == range.size, "vrange: wrong size",
                 start, vrange_usable_pages(record) << LOAM_PAGE_SHIFT);
    return record;
}

static void vrange_queue_locked(struct loam_vrange *vrange, struct loam_vrange_record *record)
    LOAM_NEEDS(vrange->lock)
{
    const uint64_t first = vrange_usable_first(record);
    const uint64_t pages = vrange_usable_pages(record);

    if (vrange->queued_count == 0 || first < vrange->queued_low)
        vrange->queued_low = first;
    if (vrange->queued_count == 0 || first + pages > vrange->queued_high)
        vrange->queued_high = first + pages;
    record->state = LOAM_VRANGE_WAITING;
    record->next = vrange->queued;
    vrange->queued = record;
    vrange->queued_count++;
    vrange->queued_pages += pages;
    vrange->used_pages -= record->pages;
    vrange->waiting_count++;
    vrange->waiting_pages += record->pages;
}

void loam_vrange_free(struct loam_vrange *vrange, struct loam_virt_range range)
{
    LOAM_REQUIRE(loam_is_page_aligned(range.start.addr), "vrange: address is not page-aligned",
                 range.start.addr, range.size);
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&vrange->lock);
    vrange_queue_locked(vrange, vrange_freed_locked(vrange, range));
    loam_ticketlock_release_irq(&vrange->lock, irq);
}

/* ---- purge --------------------------------------------------------------- */

bool loam_vrange_is_purge_due(struct loam_vrange *vrange)
{
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&vrange->lock);
    const bool is_due = vrange->queued_pages >= vrange->purge_pages;

    loam_ticketlock_release_irq(&vrange->lock, irq);
    return is_due;
}

bool loam_vrange_purge_begin(struct loam_vrange *vrange, struct loam_vrange_batch *batch)
{
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&vrange->lock);
    const bool any = vrange->queued_count > 0;

    if (any) {
        batch->vrange = vrange;
        batch->span.start = vrange_address(vrange->queued_low);
        batch->span.size = (vrange->queued_high - vrange->queued_low) << LOAM_PAGE_SHIFT;
        batch->range_count = vrange->queued_count;
        batch->page_count = vrange->queued_pages;
        batch->first = vrange->queued;
        batch->at = vrange->queued;
        vrange->queued = NULL;
        vrange->queued_count = 0;
        vrange->queued_pages = 0;
    }
    loam_ticketlock_release_irq(&vrange->lock, irq);
    return any;
}

/* What is read here of a record does not change while it waits. */
bool loam_vrange_purge_next(struct loam_vrange_batch *batch, struct loam_virt_range *out)
{
    const struct loam_vrange_record *record = batch->at;

    if (record == NULL) {
        batch->at = batch->first;
        return false;
    }
    out->start = vrange_address(vrange_usable_first(record));
    out->size = vrange_usable_pages(record) << LOAM_PAGE_SHIFT;
    batch->at = record->next;
    return true;
}

static void vrange_purge_one_locked(struct loam_vrange *vrange, struct loam_vrange_record *record)
    LOAM_NEEDS(vrange->lock)
{
    LOAM_ASSERT(record->state == LOAM_VRANGE_WAITING);
    vrange->record_count--;
    vrange->waiting_count--;
    vrange->waiting_pages -= record->pages;
    vrange_remove(vrange_window_locked(vrange, record->first), record);
    vrange_pool_put_locked(vrange, record);
}

void loam_vrange_purge_end(struct loam_vrange_batch *batch)
{
    struct loam_vrange *vrange = batch->vrange;
    struct loam_vrange_record *record = batch->first;

    LOAM_REQUIRE(vrange != NULL, "vrange: purge was not begun, or has ended",
                 loam_virt_of(batch).addr, 0);
    batch->vrange = NULL;
    while (record != NULL) { /* terminates: along the list */
        const loam_irq_state irq = loam_ticketlock_acquire_irq(&vrange->lock);
        for (unsigned i = 0; i < VRANGE_CHUNK && record != NULL; i++) {
            struct loam_vrange_record *next = record->next;
            vrange_purge_one_locked(vrange, record);
            record = next;
        }
        loam_ticketlock_release_irq(&vrange->lock, irq);
    }
}

/* ---- look ---------------------------------------------------------------- */

/* The range, or gap, that a page of a window lies in. */
static struct loam_vrange_info vrange_info_of(struct loam_vrange_window *window, uint64_t page)
{
    const struct loam_vrange_record *record = vrange_ends_above(window, page);
    struct loam_vrange_info info = { .name = "free", .state = LOAM_VRANGE_FREE };

    if (page < record->first) {
        info.range.start = vrange_address(record->first - record->gap);
        info.range.size = record->gap << LOAM_PAGE_SHIFT;
        return info;
    }
    info.range.start = vrange_address(vrange_usable_first(record));
    info.range.size = vrange_usable_pages(record) << LOAM_PAGE_SHIFT;
    info.guard_before = record->guard_before;
    info.guard_after = record->guard_after;
    info.name = record->name;
    info.state = (enum loam_vrange_state)record->state;
    return info;
}

enum loam_vrange_place loam_vrange_lookup(struct loam_vrange *vrange, loam_virt at,
                                          struct loam_vrange_info *out)
{
    const uint64_t page = vrange_page(at);
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&vrange->lock);
    struct loam_vrange_window *window = vrange_window_locked(vrange, page);

    if (window != NULL)
        *out = vrange_info_of(window, page);
    loam_ticketlock_release_irq(&vrange->lock, irq);
    if (window == NULL)
        return LOAM_VRANGE_NOWHERE;
    if (out->state == LOAM_VRANGE_FREE)
        return LOAM_VRANGE_IN_GAP;
    if (at.addr < out->range.start.addr)
        return LOAM_VRANGE_IN_GUARD_BEFORE;
    return at.addr - out->range.start.addr < out->range.size ? LOAM_VRANGE_IN_RANGE
                                                             : LOAM_VRANGE_IN_GUARD_AFTER;
}

bool loam_vrange_next(struct loam_vrange *vrange, loam_virt from, struct loam_vrange_info *out)
{
    const uint64_t page = vrange_page(from);
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&vrange->lock);
    struct loam_vrange_window *lowest = NULL;

    for (unsigned i = 0; i < vrange->window_count; i++) {
        struct loam_vrange_window *window = &vrange->window[i];
        if (window->end.first > page && (lowest == NULL || window->first < lowest->first))
            lowest = window;
    }
    if (lowest != NULL)
        *out = vrange_info_of(lowest, vrange_max(page, lowest->first));
    loam_ticketlock_release_irq(&vrange->lock, irq);
    return lowest != NULL;
}

void loam_vrange_measure(struct loam_vrange *vrange, struct loam_vrange_totals *out)
{
    struct loam_vrange_totals totals = { .window_pages = 0 };
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&vrange->lock);

    for (unsigned i = 0; i < vrange->window_count; i++) {
        const struct loam_vrange_window *window = &vrange->window[i];
        totals.window_pages += window->end.first - window->first;
        totals.largest_gap = vrange_max(totals.largest_gap, window->root->largest);
    }
    totals.range_count = vrange->record_count;
    totals.used_pages = vrange->used_pages;
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

    for (unsigned i = 0; i < vrange->window_count && broken == NULL; i++)
        broken = vrange_audit_window(vrange, &vrange->window[i], &tally);
    if (broken == NULL)
        broken = vrange_audit_counts(vrange, &tally);
    if (broken == NULL)
        broken = vrange_audit_queue(vrange);
    return broken != NULL ? broken : vrange_audit_pool(vrange);
}

uint64_t loam_vrange_digest(const struct loam_vrange *vrange)
{
    uint64_t digest = loam_digest_add(LOAM_DIGEST_START, vrange->queued_count);

    for (unsigned i = 0; i < vrange->window_count; i++) {
        const struct loam_vrange_record *at = vrange_lowest(vrange->window[i].root);
        digest = loam_digest_add(digest, vrange->window[i].first);
        for (; at != NULL; at = vrange_step(at)) {
            digest = loam_digest_add(digest, at->first);
            digest = loam_digest_add(digest, at->pages);
            digest = loam_digest_add(digest, (uint64_t)at->guard_before << 32 | at->guard_after);
            digest = loam_digest_add(digest, at->state);
            digest = loam_digest_add(digest, loam_virt_of(at->name).addr);
        }
    }
    return digest;
}
