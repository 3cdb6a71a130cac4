/*
 * pages.c - see pages.h.
 */
#include "pages.h"

#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

#include <loam/lock.h>

#include "../src/internal/check.h"
#include "../src/internal/heap_hard.h"
#include "../src/internal/heap_pages.h"
#include "hard.h"
#include "runs.h"
#include "thread.h"

#define PAGES_DATA_MAX   (UINT64_C(1) << 40)
#define PAGES_DATA_MIN   (UINT64_C(16) << 20)
#define PAGES_RECORDS_OF 32u  /* of the data: room for records */
#define PAGES_SLACK      128u /* pages */
#define PAGES_LOOK       256u /* times that pages come back, between looks at the clock */
#define PAGES_RUNS_MAX   32u  /* given to the system at a time */
#define PAGES_ALIGN      (UINT64_C(1) << 30) /* the most that a block can be aligned to */
#define PAGES_TRIES      16u
#define PAGES_STAGGER    87u /* pages */

/* Where the system puts nothing by itself: between programs and their libraries, and below
 * where it begins when it counts upwards. */
#define PAGES_BASE_FIRST (UINT64_C(18) << 40)
#define PAGES_BASE_COUNT (UINT64_C(22) << 10) /* of PAGES_ALIGN */

/* More addresses at a time: an eighth of what there is, within these. */
#define PAGES_STEP_MIN (UINT64_C(2) << 20)
#define PAGES_STEP_MAX (UINT64_C(64) << 20)

#define PAGES_APART (UINT64_C(1) << 32) /* pages that a hardened heap leaves out, at most */

struct pages_run {
    uint64_t page, count;
};

/* Addresses that are asked of the system as they are needed. */
struct pages_zone {
    uint64_t start;
    uint64_t end;   /* ours up to here */
    uint64_t limit; /* and never beyond */
};

static struct {
    struct loam_spinlock lock; /* guards the rest */
    struct runs runs;
    struct pages_zone data, record, entry, fill; /* entry: the page map's; fill: filled's */
    uint64_t start;
    uint64_t *filled;    /* a bit for each page: free, but filled */
    uint64_t filled_end; /* there are none from here on */
    uint64_t record_unused;
    uint64_t used_end; /* pages from here on have never been in use */
    uint64_t used_count, filled_count, peak_count, returned_count;
    unsigned look_count;
    int64_t looked_at; /* seconds */
} pages;

static void *page_at(uint64_t page)
{
    return (void *)(uintptr_t)(pages.start + page * LOAM_PAGE_SIZE);
}

static uint64_t page_up(uint64_t bytes)
{
    return (bytes + LOAM_PAGE_SIZE - 1) & ~(LOAM_PAGE_SIZE - 1);
}

/* ---- addresses ------------------------------------------------------------------------ */

static bool zone_map(struct pages_zone *zone, uint64_t end)
{
    void *const wanted = (void *)(uintptr_t)zone->end;
    void *const got = mmap(wanted, end - zone->end, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

    if (got == MAP_FAILED)
        return false;
    if (got != wanted) { /* a system that does not know the flag */
        (void)munmap(got, end - zone->end);
        return false;
    }
    (void)madvise(got, end - zone->end, MADV_NOHUGEPAGE);
    zone->end = end;
    return true;
}

/* Have all addresses below @p end, and some more if there are. */
static bool zone_grow(struct pages_zone *zone, uint64_t end)
{
    const uint64_t eighth = page_up((zone->end - zone->start) / 8);
    const uint64_t step = eighth < PAGES_STEP_MIN   ? PAGES_STEP_MIN
                          : eighth > PAGES_STEP_MAX ? PAGES_STEP_MAX
                                                    : eighth;

    if (end <= zone->end)
        return true;
    if (end > zone->limit)
        return false;
    if (end - zone->end < step && zone->limit - zone->end >= step &&
        zone_map(zone, zone->end + step))
        return true;
    return zone_map(zone, end);
}

/* ---- free pages that are filled ---------------------------------------------------- */

/* Change the bits of these pages. @return how many were set */
static uint64_t filled_set(uint64_t page, uint64_t count, bool is_filled)
{
    uint64_t found = 0;

    for (uint64_t at = page; at < page + count; at = (at / 64 + 1) * 64) {
        const uint64_t end = page + count;
        const uint64_t bits = end - at < 64 - at % 64 ? end - at : 64 - at % 64;
        const uint64_t mask = (bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1) << at % 64;
        uint64_t *const word = &pages.filled[at / 64];
        found += (unsigned)__builtin_popcountll(*word & mask);
        if (is_filled)
            *word |= mask;
        else if ((*word & mask) != 0)
            *word &= ~mask;
    }
    return found;
}

/* The highest run of filled pages, of at most @p most, taken out. @return false: none */
static bool filled_take_run(uint64_t most, struct pages_run *run)
{
    uint64_t end = pages.filled_end;

    while (end > 0) { /* the last one that is set */
        const uint64_t word = (end - 1) / 64;
        const uint64_t below = end % 64 == 0 ? UINT64_MAX : (UINT64_C(1) << end % 64) - 1;
        const uint64_t bits = pages.filled[word] & below;
        end = word * 64;
        if (bits != 0) {
            end += 64 - (unsigned)__builtin_clzll(bits);
            break;
        }
    }
    pages.filled_end = end;
    if (end == 0)
        return false;
    uint64_t start = end - 1;
    while (start > 0 && end - start < most &&
           (pages.filled[(start - 1) / 64] >> (start - 1) % 64 & 1) != 0)
        start--;
    run->page = start;
    run->count = end - start;
    pages.filled_count -= filled_set(start, run->count, false);
    return runs_take_at(&pages.runs, start, run->count);
}

static void pages_free_locked(uint64_t page, uint64_t count) LOAM_NEEDS(pages.lock)
{
    const bool were_used = runs_free(&pages.runs, page, count);

    LOAM_ASSERT(were_used);
}

/* Give filled pages to the system until so many are left. Locked; not meanwhile. */
static uint64_t purge_locked(uint64_t most) LOAM_NEEDS(pages.lock)
{
    struct pages_run run[PAGES_RUNS_MAX];
    uint64_t returned = 0;
    unsigned count;

    do {
        count = 0;
        while (count < PAGES_RUNS_MAX && pages.filled_count > most &&
               filled_take_run(pages.filled_count - most, &run[count]))
            count++;
        loam_spinlock_release(&pages.lock);
        for (unsigned i = 0; i < count; i++) {
            (void)madvise(page_at(run[i].page), run[i].count * LOAM_PAGE_SIZE, MADV_DONTNEED);
            returned += run[i].count;
        }
        loam_spinlock_acquire(&pages.lock);
        for (unsigned i = 0; i < count; i++)
            pages_free_locked(run[i].page, run[i].count);
    } while (count == PAGES_RUNS_MAX);
    pages.returned_count += returned;
    return returned;
}

/* The peak of the recent past. */
static void forget_peak_locked(void) LOAM_NEEDS(pages.lock)
{
    struct timespec now;

    if (++pages.look_count % PAGES_LOOK != 0)
        return;
    if (clock_gettime(CLOCK_MONOTONIC_COARSE, &now) != 0 || now.tv_sec == pages.looked_at)
        return;
    pages.looked_at = now.tv_sec;
    pages.peak_count -= (pages.peak_count - pages.used_count) / 4;
}

/* Free pages of a hardened heap are zeroes; those that were never filled are not looked at. */
static void require_zeroes_locked(uint64_t page, uint64_t count) LOAM_NEEDS(pages.lock)
{
    for (uint64_t at = page; HEAP_IS_HARDENED && at < page + count; at++) {
        const bool is_filled = (pages.filled[at / 64] >> at % 64 & 1) != 0;
        LOAM_REQUIRE(!is_filled || loam_hard_is_zero(page_at(at), LOAM_PAGE_SIZE),
                     HEAP_WRITTEN_FREED, loam_virt_of(page_at(at)).addr, LOAM_PAGE_SIZE);
    }
}

static void count_used_locked(uint64_t page, uint64_t count, bool *is_zeroed) LOAM_NEEDS(pages.lock)
{
    require_zeroes_locked(page, count);
    const uint64_t found = filled_set(page, count, false);

    pages.filled_count -= found;
    pages.used_count += count;
    if (page + count > pages.used_end)
        pages.used_end = page + count;
    if (pages.used_count > pages.peak_count)
        pages.peak_count = pages.used_count;
    *is_zeroed = found == 0 || HEAP_IS_HARDENED;
}

/* ---- heap_pages.h ------------------------------------------------------------------ */

static void *record_pages_take_locked(uint64_t page_count) LOAM_NEEDS(pages.lock)
{
    const uint64_t at = pages.record_unused;

    if (!zone_grow(&pages.record, at + page_count * LOAM_PAGE_SIZE))
        return NULL;
    pages.record_unused += page_count * LOAM_PAGE_SIZE;
    return (void *)(uintptr_t)at;
}

/* Have all pages before this one, and what is said of them. The page map then knows them. */
static bool pages_grow_locked(struct loam_pagemap *map, uint64_t page) LOAM_NEEDS(pages.lock)
{
    if (page <= map->page_count)
        return true;
    if (!zone_grow(&pages.data, pages.start + page * LOAM_PAGE_SIZE))
        return false;
    const uint64_t count = (pages.data.end - pages.start) / LOAM_PAGE_SIZE;
    if (!zone_grow(&pages.entry, pages.entry.start + loam_pagemap_bytes_needed(count)) ||
        !zone_grow(&pages.fill, pages.fill.start + page_up(count / 8 + 1)))
        return false;
    atomic_store(&map->page_count, count);
    return true;
}

/* The same for pages that were just taken. @return false: free again */
static bool pages_have_locked(struct loam_pagemap *map, uint64_t page, uint64_t count)
    LOAM_NEEDS(pages.lock)
{
    const bool is_done = pages_grow_locked(map, page + count);

    if (!is_done)
        pages_free_locked(page, count);
    return is_done;
}

void *loam_heap_pages_take(struct loam_pagemap *map, const struct heap_pages_request *request,
                           bool *is_zeroed)
{
    void *start = NULL;

    (void)map;
    *is_zeroed = true;
    loam_spinlock_acquire(&pages.lock);
    if (request->is_record) {
        start = record_pages_take_locked(request->page_count);
    } else if (request->align_bytes <= PAGES_ALIGN) {
        const uint64_t page =
            runs_take(&pages.runs, request->page_count, request->align_bytes / LOAM_PAGE_SIZE);
        if (page != RUNS_NONE && pages_have_locked(map, page, request->page_count)) {
            start = page_at(page);
            count_used_locked(page, request->page_count, is_zeroed);
        }
    }
    loam_spinlock_release(&pages.lock);
    return start;
}

static void count_filled_locked(uint64_t page, uint64_t count) LOAM_NEEDS(pages.lock)
{
    (void)filled_set(page, count, true);
    pages.filled_count += count;
    if (page + count > pages.filled_end)
        pages.filled_end = page + count;
}

static void count_wiped_locked(uint64_t page, uint64_t count, const struct preload_wiped *wiped)
    LOAM_NEEDS(pages.lock)
{
    for (uint64_t i = 0; i < count && i < PRELOAD_WIPE_MAX; i++) {
        if ((wiped->filled[i / 64] >> i % 64 & 1) != 0)
            count_filled_locked(page + i, 1);
    }
}

void loam_heap_pages_give(struct loam_pagemap *map, void *start, uint64_t page_count)
{
    const uint64_t page = (loam_virt_of(start).addr - pages.start) / LOAM_PAGE_SIZE;

    const bool is_wiped = HEAP_IS_HARDENED && page_count > HEAP_WIPE_PAGES_MAX;
    struct preload_wiped wiped;

    (void)map;
    if (is_wiped)
        preload_hard_wipe(start, page_count, &wiped);
    loam_spinlock_acquire(&pages.lock);
    pages_free_locked(page, page_count);
    pages.used_count -= page_count;
    if (is_wiped)
        count_wiped_locked(page, page_count, &wiped);
    else
        count_filled_locked(page, page_count);
    forget_peak_locked();
    const uint64_t most =
        pages.peak_count + pages.peak_count / 16 + PAGES_SLACK + preload_heap.large_peak_pages / 4;
    if (pages.used_count + pages.filled_count > most) /* and some more: not at every call */
        (void)purge_locked(most - pages.used_count - (most - pages.used_count) / 8);
    loam_spinlock_release(&pages.lock);
}

bool loam_heap_pages_extend(struct loam_pagemap *map, void *start, uint64_t page_count)
{
    const uint64_t page = (loam_virt_of(start).addr - pages.start) / LOAM_PAGE_SIZE;
    bool is_zeroed;

    (void)map;
    loam_spinlock_acquire(&pages.lock);
    const bool is_taken =
        runs_take_at(&pages.runs, page, page_count) && pages_have_locked(map, page, page_count);
    if (is_taken)
        count_used_locked(page, page_count, &is_zeroed);
    loam_spinlock_release(&pages.lock);
    return is_taken;
}

bool preload_pages_were_used(const void *at)
{
    const uint64_t page = (loam_virt_of(at).addr - pages.start) / LOAM_PAGE_SIZE;

    return page < pages.used_end && (pages.runs.used[page / 64] >> page % 64 & 1) == 0;
}

/* ---- the rest ------------------------------------------------------------------------ */

uint64_t preload_pages_trim(void)
{
    loam_spinlock_acquire(&pages.lock);
    pages.peak_count = pages.used_count;
    const uint64_t returned = purge_locked(0);
    loam_spinlock_release(&pages.lock);
    return returned;
}

void preload_pages_measure(struct preload_pages_stats *out)
{
    loam_spinlock_acquire(&pages.lock);
    out->used = pages.used_count;
    out->used_peak = pages.peak_count;
    out->filled_free = pages.filled_count;
    out->returned = pages.returned_count;
    loam_spinlock_release(&pages.lock);
}

struct loam_spinlock *preload_pages_lock(void)
{
    return &pages.lock;
}

/* The least of what the process may have. */
static uint64_t pages_limit(void)
{
    struct rlimit limit;
    uint64_t least = PAGES_DATA_MAX;

    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur < least)
        least = limit.rlim_cur;
    if (getrlimit(RLIMIT_DATA, &limit) == 0 && limit.rlim_cur < least)
        least = limit.rlim_cur;
    return least;
}

/*
 * The next zone, of no addresses yet. If all began at multiples of a large power of two, the
 * lines that are in use at every call would compete for one place in caches that tell lines
 * apart by a hash of address bits. So each begins some pages further on than the one before.
 *
 * @return where the next one may begin
 */
static uint64_t zone_place(struct pages_zone *zone, uint64_t start, uint64_t bytes, unsigned number)
{
    const uint64_t shift = number * PAGES_STAGGER * LOAM_PAGE_SIZE;

    zone->start = start + shift;
    zone->end = zone->start;
    zone->limit = start + ((shift + bytes + PAGES_ALIGN - 1) & ~(PAGES_ALIGN - 1));
    return zone->limit;
}

static void zone_forget(struct pages_zone *zone)
{
    if (zone->end != zone->start)
        (void)munmap((void *)(uintptr_t)zone->start, zone->end - zone->start);
    zone->end = zone->start;
}

/* Take the first addresses of all zones. @return false: somebody is there, or a limit is */
static bool pages_settle(uint64_t start, uint64_t data, struct loam_pagemap *first)
{
    const uint64_t count = data / LOAM_PAGE_SIZE;
    uint64_t at = zone_place(&pages.data, start, data, 0);
    if (HEAP_IS_HARDENED) /* where nobody can tell from the address of a block */
        at += preload_hard_random() % PAGES_APART * LOAM_PAGE_SIZE;

    at = zone_place(&pages.record, at, data / PAGES_RECORDS_OF, 1);
    at = zone_place(&pages.entry, at, loam_pagemap_bytes_needed(count), 2);
    (void)zone_place(&pages.fill, at, count / 8 + 1, 3);
    pages.start = start;
    pages.record_unused = pages.record.start;
    first->page_count = 0;
    if (pages_grow_locked(first, 1) && zone_grow(&pages.record, pages.record.start + 1))
        return true;
    zone_forget(&pages.data);
    zone_forget(&pages.record);
    zone_forget(&pages.entry);
    zone_forget(&pages.fill);
    return false;
}

/* Somewhere where all of it would fit. Nobody else knows the pages yet. */
static bool pages_reserve(uint64_t data, struct loam_pagemap_setup *setup) LOAM_UNCHECKED
{
    const uint64_t *const seed = (const void *)(uintptr_t)getauxval(AT_RANDOM);
    const uint64_t runs_bytes = page_up(runs_bytes_needed(data / LOAM_PAGE_SIZE));
    uint64_t random = seed != NULL ? *seed : 0;
    struct loam_pagemap first;
    void *const runs = mmap(NULL, runs_bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (runs == MAP_FAILED)
        return false;
    (void)madvise(runs, runs_bytes, MADV_NOHUGEPAGE);
    runs_init(&pages.runs, data / LOAM_PAGE_SIZE, runs);
    for (unsigned i = 0; i < PAGES_TRIES; i++) {
        const uint64_t start = PAGES_BASE_FIRST + random % PAGES_BASE_COUNT * PAGES_ALIGN;
        if (pages_settle(start, data, &first)) {
            pages.filled = (void *)(uintptr_t)pages.fill.start;
            setup->start = start;
            setup->seed = HEAP_IS_HARDENED ? preload_hard_random() : 0;
            setup->page_count = first.page_count;
            setup->memory = (void *)(uintptr_t)pages.entry.start;
            setup->memory_bytes = loam_pagemap_bytes_needed(first.page_count);
            return true;
        }
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        random ^= random >> 32;
    }
    (void)munmap(runs, runs_bytes);
    return false;
}

bool preload_pages_init(struct loam_pagemap_setup *setup)
{
    const uint64_t limit = pages_limit();

    for (uint64_t data = PAGES_DATA_MAX; data >= PAGES_DATA_MIN; data /= 2) {
        if ((data / 2 < limit || data == PAGES_DATA_MIN) && pages_reserve(data, setup))
            return true;
    }
    return false;
}
