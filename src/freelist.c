/*
 * freelist.c - see freelist.h.
 *
 * Blocks in use with header (freelist_header.h) and without, free runs
 * (freelist_runs.h) and blocks that wait to be merged with those (freelist_quick.h)
 * tile [base, end) without a gap.
 *
 * Everything is checked before anything is changed, so that a panic leaves the
 * evidence as it was. To merge a block is to look at the runs around its end: the one
 * below must end where the block starts, or before.
 */
#include <loam/freelist.h>

#include "internal/check.h"
#include "internal/digest.h"
#include "internal/freelist_audit.h"
#include "internal/freelist_header.h"
#include "internal/freelist_quick.h"
#include "internal/freelist_runs.h"
#include "internal/freelist_table.h"
#include "internal/inject.h"

LOAM_STATIC_ASSERT(FREELIST_GRANULE == LOAM_FREELIST_GRANULE, "64-bit arithmetic");
LOAM_STATIC_ASSERT(LOAM_FREELIST_MAX / LOAM_FREELIST_GRANULE <= UINT64_C(1) << 32,
                   "a place has 32 bits");
LOAM_STATIC_ASSERT((LOAM_FREELIST_MAX / LOAM_FREELIST_GRANULE) >> FREELIST_CELL_SHIFT <=
                       UINT64_C(1) << 6 * LOAM_FREELIST_LEVEL_MAX,
                   "the last level of any span is one word");

/* What a block costs, before and after a change. */
struct freelist_sizes {
    uint64_t old, now; /* granules */
};

/* Granules of a block without header, which is no larger than the span. */
static uint64_t freelist_size_bare(uint64_t size_bytes)
{
    const uint64_t size = (size_bytes + FREELIST_GRANULE - 1) / FREELIST_GRANULE;
    return size > 2 ? size : 2;
}

/* ---- checks -------------------------------------------------------------- */

/* Is the granule @p at free? Slow. */
static bool freelist_is_free(const struct loam_freelist *list, uint64_t at)
{
    const uint64_t below = freelist_look_around(list, at + 1).below;
    return (below != 0 && freelist_run_end(list, below) > at) || freelist_waits_over(list, at, 0);
}

/*
 * Why is there no header of a block in use at @p at? Slow, but the caller panics.
 * @p at becomes the place of the damaged header if it is another one.
 */
static const char *freelist_why_not_used(const struct loam_freelist *list, uint64_t *at)
{
    const uint64_t below = freelist_look_around(list, *at + 1).below;
    uint64_t block = below != 0 ? freelist_run_end(list, below) : FREELIST_FIRST;

    /* A block without header may lie above free memory, where its header is not. */
    if (freelist_mark_at(list, *at) <= FREELIST_GONE ||
        (freelist_is_free(list, *at) && freelist_is_free(list, *at + 1)))
        return "freelist: block is already free";
    if (list->headerless_count + list->waiting_count != 0)
        return "freelist: not a block of this heap";
    while (freelist_is_used(list, block)) { /* ends: *at has no header */
        if (*at - block < freelist_size(list, block))
            return "freelist: not a block of this heap";
        block += freelist_size(list, block);
    }
    *at = block;
    return "freelist: header is damaged";
}

/* Header of a live block; anything else panics. */
static uint64_t freelist_header_of(const struct loam_freelist *list, const void *block)
{
    const uint64_t pointer = (uint64_t)(uintptr_t)block;
    uint64_t at = freelist_place_of(list, pointer) - 1;

    LOAM_REQUIRE(pointer > list->base && pointer < list->end && pointer % FREELIST_ALIGN == 0,
                 "freelist: not a block of this heap", pointer, 0);
    if (!freelist_is_used(list, at)) {
        const char *const rule = freelist_why_not_used(list, &at);
        LOAM_REQUIRE(false, rule, freelist_address(list, at + 1), 0);
    }
    LOAM_REQUIRE(freelist_is_guarded(list, at), "freelist: block overflowed", pointer,
                 freelist_asked(list, at));
    return at;
}

/* Place of a live block without header, as far as can be told at once; what cannot be
 * one panics. */
static uint64_t freelist_bare_at(const struct loam_freelist *list, const void *block,
                                 size_t size_bytes)
{
    const uint64_t pointer = (uint64_t)(uintptr_t)block;
    const uint64_t at = freelist_place_of(list, pointer);

    LOAM_REQUIRE(loam_freelist_owns(list, block) && pointer % FREELIST_GRANULE == 0,
                 "freelist: not a block of this heap", pointer, 0);
    LOAM_REQUIRE(size_bytes <= list->end - pointer &&
                     freelist_size_bare(size_bytes) <= list->place_end - at,
                 "freelist: wrong size", pointer, pointer + size_bytes);
    if (freelist_mark_at(list, at) <= FREELIST_GONE) /* as good as surely free */
        LOAM_REQUIRE(!freelist_is_free(list, at), "freelist: block is already free", pointer, 0);
    if (list->used_count != list->headerless_count && at > FREELIST_FIRST)
        LOAM_REQUIRE(!freelist_is_used(list, at - 1) || !freelist_is_guarded(list, at - 1),
                     "freelist: block has a header", pointer, freelist_asked(list, at - 1));
    LOAM_REQUIRE(list->headerless_count != 0, "freelist: not a block of this heap", pointer, 0);
    return at;
}

/* What lies around the end of a block; if any of that block is free, panics. */
static struct freelist_around freelist_around_used(const struct loam_freelist *list, uint64_t at,
                                                   uint64_t size, uint64_t block)
{
    const struct freelist_around around = freelist_look_around(list, at + size);
    freelist_require_used(list, &around, at, block);
    return around;
}

/* ---- blocks -------------------------------------------------------------- */

static void freelist_count_used(struct loam_freelist *list, uint64_t size)
{
    list->used_bytes += size * FREELIST_GRANULE;
    if (list->used_bytes > list->peak_bytes)
        list->peak_bytes = list->used_bytes;
    list->used_count++;
}

static void freelist_count_freed(struct loam_freelist *list, uint64_t size)
{
    list->used_bytes -= size * FREELIST_GRANULE;
    list->used_count--;
}

/* Place of a new block; 0: no room. */
static uint64_t freelist_claim(struct loam_freelist *list, const struct freelist_want *want)
{
    struct freelist_found found = freelist_find(list, want);

    if (found.at == 0 && list->waiting_count != 0) {
        loam_freelist_settle(list);
        found = freelist_find(list, want);
    }
    if (found.at != 0)
        freelist_carve(list, found.run, found.at, want->size);
    return found.at;
}

/* Give the block at @p at another size, where it is. Around is what lies around its
 * end. */
static bool freelist_change(struct loam_freelist *list, const struct freelist_around *around,
                            uint64_t at, const struct freelist_sizes *size)
{
    const uint64_t end = at + size->old;

    if (size->now < size->old) {
        freelist_merge(list, around, at + size->now, size->old - size->now);
    } else if (size->now > size->old) {
        if (around->above != end || freelist_run_size(list, end) < size->now - size->old)
            return false;
        freelist_carve(list, end, end, size->now - size->old);
    }
    freelist_count_freed(list, size->old);
    freelist_count_used(list, size->now);
    return true;
}

/* Make what is left of a block without header, or all of it, free, sooner or later. */
static void freelist_drop(struct loam_freelist *list, uint64_t at, uint64_t size,
                          const void *pointer)
{
    const uint64_t block = (uint64_t)(uintptr_t)pointer;

    if (freelist_may_wait(list, size)) {
        if (LOAM_CHECK >= 1)
            (void)freelist_around_used(list, at, size, block);
        if (list->waiting_count >= LOAM_FREELIST_WAITING_MAX)
            (void)freelist_settle_next(list);
        freelist_push(list, at, size);
    } else {
        const struct freelist_around around = freelist_around_used(list, at, size, block);
        freelist_merge(list, &around, at, size);
    }
}

/* ---- init ---------------------------------------------------------------- */

/* Place a table at @p start, all zero, for a span of @p size bytes. Returns its end. */
static uint64_t freelist_make_table(struct loam_freelist *list, uint64_t start, uint64_t size)
{
    const uint64_t cell_count = freelist_cell(size / FREELIST_GRANULE + FREELIST_FIRST) + 1;
    uint64_t at = start;
    uint64_t bits = cell_count;

    do {
        const uint64_t words = (bits + 63) / 64;
        list->level[list->level_count++] = at;
        at += words * sizeof(freelist_word);
        bits = words;
    } while (bits > 1);
    list->bins = at;
    at += (freelist_class(size / FREELIST_GRANULE) + 1) * sizeof(freelist_place);
    if (size >= FREELIST_QUICK_SPAN_MIN) {
        list->quick = at;
        at += FREELIST_QUICK_COUNT * sizeof(freelist_place);
    }
    list->cells = at;
    at += cell_count * sizeof(freelist_byte);
    __builtin_memset((void *)(uintptr_t)start, 0, at - start);
    return at;
}

enum loam_status loam_freelist_init(struct loam_freelist *list, void *span, size_t size_bytes)
{
    const uint64_t start = (uint64_t)(uintptr_t)span;
    const uint64_t gap = -start & (FREELIST_GRANULE - 1);

    if (span == NULL || size_bytes < LOAM_FREELIST_MIN + gap || size_bytes > LOAM_FREELIST_MAX ||
        !loam_range_fits(start, size_bytes))
        return LOAM_INVALID;

    /* Both ends are where a header may be, so a span that ends at 2^64 has an end. */
    __builtin_memset(list, 0, sizeof(*list));
    const uint64_t table_end = freelist_make_table(list, start + gap, size_bytes);
    list->base = freelist_header_up(table_end + FREELIST_FIRST * FREELIST_GRANULE);
    list->end = freelist_header_down(start + size_bytes);
    list->words = list->base - FREELIST_FIRST * FREELIST_GRANULE;
    list->place_end = freelist_place_of(list, list->end);

    /* The cookie of an earlier heap at this place is what this one's is made from, so
     * that the headers and marks which that one left behind mean nothing. */
    const uint64_t cookie = loam_digest_add(LOAM_DIGEST_START, freelist_words(list)[0]);
    list->cookie = loam_digest_add(cookie, loam_virt_of(list).addr);
    freelist_words(list)[0] = list->cookie;
    freelist_words(list)[1] = 0;
    const struct freelist_around nothing = { 0, 0, 0 };
    freelist_merge(list, &nothing, FREELIST_FIRST, list->place_end - FREELIST_FIRST);
    return LOAM_OK;
}

bool loam_freelist_owns(const struct loam_freelist *list, const void *block)
{
    const uint64_t pointer = (uint64_t)(uintptr_t)block;
    return pointer >= list->base && pointer < list->end;
}

/* ---- blocks with a header ------------------------------------------------ */

void *loam_freelist_alloc(struct loam_freelist *list, size_t size_bytes, size_t align)
{
    if (!loam_is_power_of_two(align) || size_bytes > list->end - list->base ||
        LOAM_INJECT("freelist.alloc"))
        return NULL;
    const struct freelist_want want = { freelist_size_for(size_bytes),
                                        align > FREELIST_ALIGN ? align : FREELIST_ALIGN, 1 };
    const uint64_t at = freelist_claim(list, &want);
    if (at == 0)
        return NULL;
    freelist_set_used(list, at, size_bytes);
    freelist_count_used(list, want.size);
    return freelist_block(list, at);
}

/* Free the block whose header was found right. */
static void freelist_free_at(struct loam_freelist *list, uint64_t at)
{
    const uint64_t size = freelist_size(list, at);
    const struct freelist_around around =
        freelist_around_used(list, at, size, freelist_address(list, at + 1));

    freelist_merge(list, &around, at, size);
    freelist_count_freed(list, size);
}

void loam_freelist_free(struct loam_freelist *list, void *block)
{
    if (block != NULL)
        freelist_free_at(list, freelist_header_of(list, block));
}

void loam_freelist_free_sized(struct loam_freelist *list, void *block, size_t size_bytes)
{
    if (block == NULL)
        return;
    const uint64_t at = freelist_header_of(list, block);
    LOAM_REQUIRE(freelist_asked(list, at) == size_bytes, "freelist: wrong size",
                 freelist_address(list, at + 1), freelist_asked(list, at));
    freelist_free_at(list, at);
}

void *loam_freelist_realloc(struct loam_freelist *list, void *block, size_t size_bytes,
                            size_t align)
{
    if (block == NULL)
        return loam_freelist_alloc(list, size_bytes, align);

    const uint64_t at = freelist_header_of(list, block);
    const uint64_t asked = freelist_asked(list, at);
    const struct freelist_sizes size = { freelist_size(list, at), freelist_size_for(size_bytes) };
    struct freelist_around around =
        freelist_around_used(list, at, size.old, freelist_address(list, at + 1));
    if (!loam_is_power_of_two(align) || size_bytes > list->end - list->base)
        return NULL;
    const bool may_stay = (uintptr_t)block % align == 0;
    if (!may_stay || !freelist_change(list, &around, at, &size)) {
        void *const moved = loam_freelist_alloc(list, size_bytes, align);
        if (moved != NULL) {
            __builtin_memcpy(moved, block, asked < size_bytes ? asked : size_bytes);
            freelist_free_at(list, at);
            return moved;
        }
        /* What waited was merged: there may be room now. */
        around = freelist_look_around(list, at + size.old);
        if (!may_stay || !freelist_change(list, &around, at, &size))
            return NULL;
    }
    freelist_set_used(list, at, size_bytes);
    return block;
}

size_t loam_freelist_usable(const struct loam_freelist *list, const void *block)
{
    return freelist_asked(list, freelist_header_of(list, block));
}

/* ---- blocks without a header --------------------------------------------- */

void *loam_freelist_take(struct loam_freelist *list, size_t size_bytes, size_t align)
{
    if (!loam_is_power_of_two(align) || size_bytes > list->end - list->base ||
        LOAM_INJECT("freelist.take"))
        return NULL;
    const struct freelist_want want = { freelist_size_bare(size_bytes),
                                        align > FREELIST_GRANULE ? align : FREELIST_GRANULE, 0 };
    uint64_t at = freelist_may_wait(list, want.size) ? freelist_quick(list)[want.size] : 0;
    if (at != 0 && (freelist_address(list, at) & (want.align - 1)) == 0) {
        (void)freelist_pop(list, want.size);
        freelist_words(list)[at] = 0; /* no mark */
    } else {
        at = freelist_claim(list, &want);
        if (at == 0)
            return NULL;
    }
    freelist_count_used(list, want.size);
    list->headerless_count++;
    return (void *)(uintptr_t)freelist_address(list, at);
}

void loam_freelist_give(struct loam_freelist *list, void *block, size_t size_bytes)
{
    if (block == NULL)
        return;
    const uint64_t at = freelist_bare_at(list, block, size_bytes);
    const uint64_t size = freelist_size_bare(size_bytes);
    freelist_drop(list, at, size, block);
    freelist_count_freed(list, size);
    list->headerless_count--;
}

void *loam_freelist_resize(struct loam_freelist *list, void *block,
                           const struct loam_resize *resize)
{
    if (block == NULL)
        return loam_freelist_take(list, resize->size_bytes, resize->align);

    const uint64_t at = freelist_bare_at(list, block, resize->old_bytes);
    if (!loam_is_power_of_two(resize->align) || resize->size_bytes > list->end - list->base)
        return NULL;
    const struct freelist_sizes size = { freelist_size_bare(resize->old_bytes),
                                         freelist_size_bare(resize->size_bytes) };
    const bool may_stay = (uintptr_t)block % resize->align == 0;
    if (may_stay && size.now <= size.old) {
        if (size.now < size.old) {
            freelist_drop(list, at + size.now, size.old - size.now, block);
            list->used_bytes -= (size.old - size.now) * FREELIST_GRANULE;
        }
        return block;
    }
    struct freelist_around around =
        freelist_around_used(list, at, size.old, freelist_address(list, at));
    if (may_stay && freelist_change(list, &around, at, &size))
        return block;
    void *const moved = loam_freelist_take(list, resize->size_bytes, resize->align);
    if (moved != NULL) {
        const uint64_t kept = size.old < size.now ? size.old : size.now;
        __builtin_memcpy(moved, block, kept * FREELIST_GRANULE);
        freelist_drop(list, at, size.old, block);
        freelist_count_freed(list, size.old);
        list->headerless_count--;
        return moved;
    }
    /* What waited was merged: there may be room now. */
    around = freelist_look_around(list, at + size.old);
    return may_stay && freelist_change(list, &around, at, &size) ? block : NULL;
}

void loam_freelist_settle(struct loam_freelist *list)
{
    while (freelist_settle_next(list)) /* ends: each waits once */
        continue;
}

/* ---- looking ------------------------------------------------------------- */

void loam_freelist_measure(const struct loam_freelist *list, struct loam_freelist_stats *out)
{
    struct loam_freelist_stats stats = {
        .span_bytes = list->end - list->base,
        .used_bytes = list->used_bytes,
        .peak_bytes = list->peak_bytes,
        .used_count = list->used_count,
        .waiting_count = list->waiting_count,
    };
    uint64_t largest = 0; /* bytes that a block with header may cost */
    uint64_t run = freelist_look_around(list, list->place_end).below;

    for (; run != 0; run = freelist_look_around(list, run).below) { /* ends: downwards */
        const uint64_t size_bytes = freelist_run_size(list, run) * FREELIST_GRANULE;
        const uint64_t first = freelist_header_up(freelist_address(list, run));
        const uint64_t last = freelist_header_down(freelist_address(list, run) + size_bytes);
        stats.free_count++;
        if (size_bytes > stats.largest_take_bytes)
            stats.largest_take_bytes = size_bytes;
        if (last > first && last - first > largest)
            largest = last - first;
    }
    if (stats.largest_take_bytes < 2 * FREELIST_GRANULE)
        stats.largest_take_bytes = 0;
    if (largest > FREELIST_OVERHEAD)
        stats.largest_free_bytes = largest - FREELIST_OVERHEAD;
    *out = stats;
}

const char *loam_freelist_audit(const struct loam_freelist *list)
{
    struct freelist_seen seen = { list->place_end, 0, 0 };
    const char *broken;

    if ((broken = freelist_audit_cells(list, &seen)) != NULL ||
        (broken = freelist_audit_bins(list, &seen)) != NULL ||
        (broken = freelist_audit_quick(list, &seen)) != NULL)
        return broken;
    const uint64_t used = list->place_end - FREELIST_FIRST - seen.granules;
    if (list->used_bytes != used * FREELIST_GRANULE || list->used_count < list->headerless_count)
        return "freelist: blocks in use are miscounted";
    if (list->peak_bytes < list->used_bytes)
        return "freelist: peak is below use";
    return list->headerless_count == 0 ? freelist_audit_marks(list) : NULL;
}

/* Of a piece of free memory: such that two that touch have the digest of both as one. */
static uint64_t freelist_digest_free(uint64_t at, uint64_t size)
{
    return loam_digest_add(LOAM_DIGEST_START, at) - loam_digest_add(LOAM_DIGEST_START, at + size);
}

/* Of the sizes asked for, while all blocks in use have headers. */
static uint64_t freelist_digest_used(const struct loam_freelist *list)
{
    uint64_t digest = LOAM_DIGEST_START;
    uint64_t at = FREELIST_FIRST;

    while (list->headerless_count == 0 && at < list->place_end) { /* ends: no size is 0 */
        if (freelist_is_run(list, at)) {
            at = freelist_run_end(list, at);
        } else if (freelist_waiting_size(list, at) != 0) {
            at += freelist_waiting_size(list, at);
        } else if (freelist_is_used(list, at)) {
            digest = loam_digest_add(digest, freelist_asked(list, at));
            at += freelist_size(list, at);
        } else {
            break; /* not sound: no size to go on by */
        }
    }
    return digest;
}

uint64_t loam_freelist_digest(const struct loam_freelist *list)
{
    uint64_t digest = freelist_digest_used(list);
    uint64_t cell = freelist_cell_up_to(list, freelist_cell(list->place_end));

    while (cell != FREELIST_NO_CELL) {
        uint64_t run = freelist_cell_top(list, cell);
        while (run != 0 && freelist_is_run(list, run)) { /* ends: downwards */
            digest += freelist_digest_free(run, freelist_run_size(list, run));
            run = freelist_run_next(list, run);
        }
        cell = cell != 0 ? freelist_cell_up_to(list, cell - 1) : FREELIST_NO_CELL;
    }
    for (uint64_t size = 0; list->quick != 0 && size < FREELIST_QUICK_COUNT; size++) {
        uint64_t at = freelist_quick(list)[size];
        while (at != 0 && freelist_waiting_size(list, at) == size) { /* ends: bound links */
            digest += freelist_digest_free(at, size);
            at = freelist_waiting_next(list, at);
        }
    }
    digest = loam_digest_add(digest, list->used_bytes);
    digest = loam_digest_add(digest, list->peak_bytes);
    digest = loam_digest_add(digest, list->used_count);
    return loam_digest_add(digest, list->headerless_count);
}
