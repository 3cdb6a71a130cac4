/*
 * vrange.c - see vrange.h.
 *
 * Everything is counted in pages here: the end of the address space is page 2^52,
 * so nothing wraps. The tree is in internal/vrange_tree.h, where records come from
 * in internal/vrange_pool.h. To allocate is to look for a place, then to reserve a
 * record, which can fail, then to insert it, which cannot.
 */
#include <loam/vrange.h>

#include <stdatomic.h>

#include "internal/check.h"
#include "internal/try.h"
#include "internal/vrange_cache.h"
#include "internal/vrange_pool.h"
#include "internal/vrange_tree.h"

#define VRANGE_PAGES     (UINT64_C(1) << (64 - LOAM_PAGE_SHIFT)) /* of the address space */
#define VRANGE_UNALIGNED "vrange: address is not page-aligned"
#define VRANGE_CHUNK     16u /* ranges purged at a time, with interrupts off */

/* A request, checked. */
struct vrange_want {
    uint64_t pages; /* with guards */
    uint64_t guard_before, guard_after;
    uint64_t align; /* pages */
    uint64_t low, high;
    uint64_t dice;
    const char *name;
    uint16_t tag;
};

/* Where a range can go. */
struct vrange_spot {
    struct loam_vrange_window *window;
    struct loam_vrange_record *after; /* the gap is before this one */
    uint64_t first;
};

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
    out->tag = request->tag;
    return LOAM_OK;
}

/* The window that a page lies in; NULL: in none. */
static struct loam_vrange_window *vrange_window_locked(struct loam_vrange *vrange, uint64_t page)
    LOAM_NEEDS(vrange->lock)
{
    const struct loam_vrange_window *window = vrange_window_of(vrange, page);

    return window == NULL ? NULL : &vrange->window[window - vrange->window];
}

/* ---- forget -------------------------------------------------------------- */

/* A range is a gap from now on. */
static void vrange_forget_locked(struct loam_vrange *vrange, struct loam_vrange_record *record)
    LOAM_NEEDS(vrange->lock)
{
    vrange_change_begin(vrange);
    vrange_remove(vrange_window_locked(vrange, vrange_first(record)), record);
    vrange_change_end(vrange);
    vrange->record_count--;
    vrange_pool_put_locked(vrange, record);
}

/* Give up what the next CPU keeps that keeps anything. @return false: none does */
static bool vrange_drain_some(struct loam_vrange *vrange, unsigned *cpu)
{
    bool any = false;

    for (; *cpu < vrange->cache_count && !any; ++*cpu) {
        const loam_irq_state irq = loam_ticketlock_acquire_irq(&vrange->lock);
        struct loam_vrange_record *record = vrange_cache_take_any(&vrange->cache[*cpu]);
        for (; record != NULL; record = vrange_cache_take_any(&vrange->cache[*cpu])) {
            vrange->used_pages -= vrange_pages(record); /* ends: no others are kept meanwhile */
            vrange_forget_locked(vrange, record);
            any = true;
        }
        loam_ticketlock_release_irq(&vrange->lock, irq);
    }
    return any;
}

void loam_vrange_drain(struct loam_vrange *vrange)
{
    unsigned cpu = 0;

    while (vrange_drain_some(vrange, &cpu)) /* terminates: each turn drains at least one CPU */
        continue;
}

/* ---- allocate ------------------------------------------------------------ */

static uint64_t vrange_highest(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t vrange_least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Where in the gap before a record? @return false: nowhere */
static bool vrange_fit(const struct loam_vrange_record *after, const struct vrange_want *want,
                       uint64_t *first)
{
    const uint64_t low = vrange_highest(vrange_first(after) - vrange_gap(after), want->low);
    const uint64_t usable = (low + want->guard_before + want->align - 1) & ~(want->align - 1);
    const uint64_t start = usable - want->guard_before;
    const uint64_t high = vrange_least(vrange_first(after), want->high);

    *first = start;
    return start <= high && want->pages <= high - start;
}

/* The lowest place in a window. */
static bool vrange_find_in(struct loam_vrange_window *window, const struct vrange_want *want,
                           struct vrange_spot *out)
{
    struct loam_vrange_record *at;

    if (vrange_root(window)->largest < want->pages)
        return false;
    at = want->low <= window->first ? vrange_lowest_fit(vrange_root(window), want->pages)
                                    : vrange_ends_above(window, want->low);
    while (at != NULL && vrange_first(at) - vrange_gap(at) < want->high) { /* terminates: upwards */
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

/* The first window's lowest place. LOAM_STATE: there is none, but might be. */
static enum loam_status vrange_find_locked(struct loam_vrange *vrange,
                                           const struct vrange_want *want, struct vrange_spot *out)
    LOAM_NEEDS(vrange->lock)
{
    bool is_large_enough = false;

    for (unsigned i = 0; i < atomic_load(&vrange->window_count); i++) {
        struct loam_vrange_window *window = &vrange->window[i];
        const uint64_t low = vrange_highest(window->first, want->low);
        const uint64_t high = vrange_least(vrange_first(&window->end), want->high);
        if (low >= high || want->pages > high - low)
            continue;
        if (vrange_find_by_dice(window, want, low, high, out) || vrange_find_in(window, want, out))
            return LOAM_OK;
        is_large_enough = true;
    }
    return is_large_enough ? LOAM_STATE : LOAM_NO_SPACE;
}

/* Is [first, first + pages) free? LOAM_STATE: there is nothing that is in use. */
static enum loam_status vrange_probe_locked(struct loam_vrange *vrange, uint64_t first,
                                            uint64_t pages, struct vrange_spot *out)
    LOAM_NEEDS(vrange->lock)
{
    struct loam_vrange_window *window = vrange_window_locked(vrange, first);
    enum loam_status status = LOAM_OK;

    if (window == NULL || pages > vrange_first(&window->end) - first)
        return LOAM_NOT_FOUND;
    struct loam_vrange_record *at = vrange_ends_above(window, first);
    out->window = window;
    out->after = at;
    out->first = first;
    for (; vrange_first(at) < first + pages; at = vrange_after(window, at)) { /* ascending */
        if (vrange_state_of(at) == LOAM_VRANGE_USED)
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
    vrange_change_begin(vrange);
    vrange_set(&record->first, spot->first);
    vrange_set(&record->pages, want->pages);
    vrange_set(&record->shape,
               vrange_shape_of(want->guard_before, want->guard_after, want->tag, LOAM_VRANGE_USED));
    atomic_store(&record->name, want->name);
    record->next = NULL;
    vrange_insert(spot->window, record, spot->after);
    vrange_change_end(vrange);
    vrange->record_count++;
    vrange->used_pages += want->pages;
    return LOAM_OK;
}

/* Take a range out of the running CPU's cache. @return false: there is none like it */
static bool vrange_take_cached(struct loam_vrange *vrange, const struct vrange_want *want,
                               uint64_t *first) LOAM_UNCHECKED
{
    const unsigned class = vrange_class_of(want->pages - want->guard_before - want->guard_after);
    const bool is_plain =
        want->align == 1 && want->low == 0 && want->high == VRANGE_PAGES && want->dice == 0;
    loam_irq_state irq;

    if (vrange->cache == NULL || class == VRANGE_CLASS_NONE || !is_plain)
        return false;
    struct loam_vrange_cache *cache = vrange_cache_enter(vrange, &irq);
    struct loam_vrange_record *record = vrange_cache_take_locked(
        cache, class, vrange_shape_of(want->guard_before, want->guard_after, 0, LOAM_VRANGE_FREE));
    if (record != NULL) {
        *first = vrange_first(record);
        atomic_store(&record->name, want->name);
        vrange_set(&record->shape, vrange_shape_of(want->guard_before, want->guard_after, want->tag,
                                                   LOAM_VRANGE_USED));
    }
    vrange_cache_leave(cache, irq);
    return record != NULL;
}

enum loam_status loam_vrange_alloc(struct loam_vrange *vrange,
                                   const struct loam_vrange_request *request, loam_virt *out)
{
    struct vrange_want want;
    struct vrange_spot spot;
    enum loam_status status;
    bool is_short; /* of what a cache may have: addresses, records */
    unsigned cpu = 0;

    LOAM_TRY(vrange_want_of(request, &want));
    if (vrange_take_cached(vrange, &want, &spot.first)) {
        *out = vrange_address(spot.first + want.guard_before);
        return LOAM_OK;
    }
    do { /* terminates: each turn drains at least one CPU */
        const loam_irq_state irq = loam_ticketlock_acquire_irq(&vrange->lock);
        status = vrange_find_locked(vrange, &want, &spot);
        is_short = status == LOAM_STATE;
        if (status == LOAM_OK) {
            status = vrange_take_locked(vrange, &want, &spot);
            is_short = status == LOAM_NO_MEMORY;
        } else if (vrange->waiting_count == 0) {
            status = LOAM_NO_SPACE;
        }
        loam_ticketlock_release_irq(&vrange->lock, irq);
    } while (is_short && vrange_drain_some(vrange, &cpu));
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
    enum loam_status status;
    unsigned cpu = 0;

    exact.align_bytes = 0;
    LOAM_TRY(vrange_want_of(&exact, &want));
    if (!loam_is_page_aligned(at.addr))
        return LOAM_INVALID;
    const uint64_t first = vrange_page(at) - want.guard_before; /* below 0: in no window */
    do { /* terminates: each turn drains at least one CPU */
        const loam_irq_state irq = loam_ticketlock_acquire_irq(&vrange->lock);
        status = vrange_probe_locked(vrange, first, want.pages, &spot);
        if (status == LOAM_OK)
            status = vrange_take_locked(vrange, &want, &spot);
        loam_ticketlock_release_irq(&vrange->lock, irq);
    } while ((status == LOAM_STATE || status == LOAM_NO_MEMORY) && vrange_drain_some(vrange, &cpu));
    return status;
}

/* ---- free ---------------------------------------------------------------- */

/* The range that a caller frees; anything else panics. */
static struct loam_vrange_record *vrange_freed_locked(struct loam_vrange *vrange,
                                                      struct loam_virt_range range)
    LOAM_NEEDS(vrange->lock)
{
    const uint64_t start = range.start.addr;
    const uint64_t page = vrange_page(range.start);
    struct loam_vrange_window *window = vrange_window_locked(vrange, page);
    struct loam_vrange_record *record = window == NULL ? NULL : vrange_ends_above(window, page);

    LOAM_REQUIRE(record != NULL && vrange_first(record) <= page, "vrange: no range here", start,
                 range.size);
    LOAM_REQUIRE(vrange_usable_first(record) == page, "vrange: not the start of a range", start,
                 vrange_address(vrange_usable_first(record)).addr);
    LOAM_REQUIRE(vrange_state_of(record) == LOAM_VRANGE_USED, "vrange: freed twice", start,
                 range.size);
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
    vrange_set_state(record, LOAM_VRANGE_WAITING);
    record->next = vrange->queued;
    vrange->queued = record;
    vrange->queued_count++;
    vrange->queued_pages += pages;
    vrange->used_pages -= vrange_pages(record);
    vrange->waiting_count++;
    vrange->waiting_pages += vrange_pages(record);
}

void loam_vrange_free(struct loam_vrange *vrange, struct loam_virt_range range)
{
    LOAM_REQUIRE(loam_is_page_aligned(range.start.addr), VRANGE_UNALIGNED, range.start.addr,
                 range.size);
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&vrange->lock);
    struct loam_vrange_record *const record = vrange_freed_locked(vrange, range);
    const struct loam_vrange_gone gone = { range, vrange_info_of(record).name };
    vrange->gone[vrange->freed_count++ % LOAM_VRANGE_GONE] = gone;
    vrange_queue_locked(vrange, record);
    loam_ticketlock_release_irq(&vrange->lock, irq);
}

void loam_vrange_cancel(struct loam_vrange *vrange, struct loam_virt_range range)
{
    LOAM_REQUIRE(loam_is_page_aligned(range.start.addr), VRANGE_UNALIGNED, range.start.addr,
                 range.size);
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&vrange->lock);
    struct loam_vrange_record *record = vrange_freed_locked(vrange, range);
    vrange->used_pages -= vrange_pages(record);
    vrange_forget_locked(vrange, record);
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
bool loam_vrange_purge_next(struct loam_vrange_batch *batch, struct loam_vrange_info *out)
{
    const struct loam_vrange_record *record = batch->at;

    if (record == NULL) {
        batch->at = batch->first;
        return false;
    }
    *out = vrange_info_of(record);
    batch->at = record->next;
    return true;
}

/* Where the next range of each class is kept: by the running CPU, then by the others. */
struct vrange_shelf {
    unsigned home;
    unsigned passed[VRANGE_CLASSES]; /* CPUs that have enough of a class */
};

static void vrange_shelf_init(struct vrange_shelf *shelf, const struct loam_vrange *vrange)
{
    const loam_irq_state irq = loam_x86_irq_save();
    const unsigned cpu = loam_port_cpu();

    loam_x86_irq_restore(irq);
    __builtin_memset(shelf, 0, sizeof(*shelf));
    shelf->home = cpu < vrange->cache_count ? cpu : 0;
}

/* Let some CPU keep a range. @return false: all have enough like it */
static bool vrange_keep_locked(struct loam_vrange *vrange, struct vrange_shelf *shelf,
                               struct loam_vrange_record *record) LOAM_NEEDS(vrange->lock)
{
    const unsigned class = vrange_class_of(vrange_usable_pages(record));

    if (class == VRANGE_CLASS_NONE)
        return false;
    for (; shelf->passed[class] < vrange->cache_count; shelf->passed[class]++) {
        const unsigned cpu = (shelf->home + shelf->passed[class]) % vrange->cache_count;
        if (!vrange_cache_put(&vrange->cache[cpu], class, record))
            continue;
        vrange->used_pages += vrange_pages(record);
        return true;
    }
    return false;
}

static void vrange_purge_one_locked(struct loam_vrange *vrange, struct vrange_shelf *shelf,
                                    struct loam_vrange_record *record) LOAM_NEEDS(vrange->lock)
{
    LOAM_ASSERT(vrange_state_of(record) == LOAM_VRANGE_WAITING);
    vrange->waiting_count--;
    vrange->waiting_pages -= vrange_pages(record);
    record->next = NULL;
    if (!vrange_keep_locked(vrange, shelf, record))
        vrange_forget_locked(vrange, record);
}

void loam_vrange_purge_end(struct loam_vrange_batch *batch)
{
    struct loam_vrange *vrange = batch->vrange;
    struct loam_vrange_record *record = batch->first;
    struct vrange_shelf shelf;

    LOAM_REQUIRE(vrange != NULL, "vrange: purge was not begun, or has ended",
                 loam_virt_of(batch).addr, 0);
    batch->vrange = NULL;
    vrange_shelf_init(&shelf, vrange);
    while (record != NULL) { /* terminates: along the list */
        const loam_irq_state irq = loam_ticketlock_acquire_irq(&vrange->lock);
        for (unsigned i = 0; i < VRANGE_CHUNK && record != NULL; i++) {
            struct loam_vrange_record *next = record->next;
            vrange_purge_one_locked(vrange, &shelf, record);
            record = next;
        }
        loam_ticketlock_release_irq(&vrange->lock, irq);
    }
}
