/*
 * bump.c - see bump.h.
 *
 * Invariants: start <= last <= next <= end; count is 0 exactly when next is
 * start; every block has a byte at least, so count <= next - start.
 */
#include <loam/bump.h>

#include "internal/check.h"
#include "internal/digest.h"
#include "internal/inject.h"

/* So that blocks of size 0 are distinct, too. */
static size_t bump_size_for(size_t size_bytes)
{
    return size_bytes + (size_bytes == 0);
}

/* Before next falls. Here and not where it rises, so that alloc need not care.
 * */
static void bump_note_peak(struct loam_bump *bump)
{
    const size_t used_bytes = bump->next - bump->start;

    if (used_bytes > bump->peak_bytes)
        bump->peak_bytes = used_bytes;
}

static void bump_fall_to(struct loam_bump *bump, uint64_t next, uint64_t last, size_t count)
{
    bump_note_peak(bump);
    bump->next = count == 0 ? bump->start : next;
    bump->last = count == 0 ? bump->start : last;
    bump->count = count;
}

/* ---- checks -------------------------------------------------------------- */

static void bump_require_block(const struct loam_bump *bump, uint64_t at)
{
    const bool is_allocated = at >= bump->start && at < bump->next && at <= bump->last;

    if (!is_allocated) {
        LOAM_REQUIRE(bump->count != 0 || at < bump->start || at >= bump->end,
                     "bump: more frees than blocks", at, 0);
        LOAM_REQUIRE(false, "bump: not a block of this heap", at, 0);
    }
}

/* A block before the last one ends where that begins, or earlier. */
static void bump_require_size(const struct loam_bump *bump, uint64_t at, size_t size_bytes)
{
    const bool is_last = at == bump->last;
    const size_t size = bump_size_for(size_bytes);
    const size_t size_max = (is_last ? bump->next : bump->last) - at;

    LOAM_REQUIRE(is_last ? size == size_max : size <= size_max, "bump: wrong size", at, size_max);
}

/* ---- blocks -------------------------------------------------------------- */

static void bump_give(struct loam_bump *bump, uint64_t at)
{
    if (at == bump->last || bump->count == 1)
        bump_fall_to(bump, at, at, bump->count - 1);
    else
        bump->count--;
}

/* The last block is resized where it is, or as far up as its alignment asks
 * for: nothing is behind it, and no other place has more room. */
static void *bump_resize_last(struct loam_bump *bump, size_t size_bytes, size_t align)
{
    const size_t size = bump_size_for(size_bytes);
    const size_t old_size = bump->next - bump->last;
    const size_t room = bump->end - bump->last;
    const size_t pad = -bump->last & (align - 1);

    if (pad > room || size > room - pad || LOAM_INJECT("bump.realloc"))
        return NULL;
    char *const block = (char *)(uintptr_t)bump->last;
    __builtin_memmove(block + pad, block, size < old_size ? size : old_size);
    bump_note_peak(bump);
    bump->last += pad;
    bump->next = bump->last + size;
    return block + pad;
}

/* ---- public -------------------------------------------------------------- */

enum loam_status loam_bump_init(struct loam_bump *bump, void *span, size_t size_bytes)
{
    const uint64_t start = (uint64_t)(uintptr_t)span;

    if (span == NULL || size_bytes == 0 || !loam_range_fits(start, size_bytes))
        return LOAM_INVALID;
    /* Without the last byte below 2^64: that end would be 0. */
    const uint64_t end = start + size_bytes;
    const struct loam_bump empty = {
        .start = start,
        .end = end == 0 ? UINT64_MAX : end,
        .next = start,
        .last = start,
    };
    *bump = empty;
    return LOAM_OK;
}

void *loam_bump_alloc(struct loam_bump *bump, size_t size_bytes, size_t align)
{
    const size_t size = bump_size_for(size_bytes);
    const uint64_t at = (bump->next + (align - 1)) & -align; /* 0: wraps, or align is 0 */
    uint64_t next;

    if (at == 0 || (align & (align - 1)) != 0 || __builtin_add_overflow(at, size, &next) ||
        next > bump->end || LOAM_INJECT("bump.alloc"))
        return NULL;
    bump->next = next;
    bump->last = at;
    bump->count++;
    return (void *)(uintptr_t)at;
}

void loam_bump_free(struct loam_bump *bump, void *block)
{
    const uint64_t at = (uint64_t)(uintptr_t)block;

    if (block == NULL)
        return;
    bump_require_block(bump, at);
    bump_give(bump, at);
}

void loam_bump_free_sized(struct loam_bump *bump, void *block, size_t size_bytes)
{
    const uint64_t at = (uint64_t)(uintptr_t)block;

    if (block == NULL)
        return;
    bump_require_block(bump, at);
    bump_require_size(bump, at, size_bytes);
    bump_give(bump, at);
}

void *loam_bump_realloc(struct loam_bump *bump, void *block, const struct loam_resize *resize)
{
    const uint64_t at = (uint64_t)(uintptr_t)block;
    const bool is_known = resize->old_bytes != LOAM_SIZE_UNKNOWN;

    if (block == NULL)
        return loam_bump_alloc(bump, resize->size_bytes, resize->align);
    bump_require_block(bump, at);
    if (is_known)
        bump_require_size(bump, at, resize->old_bytes);
    if (!loam_is_power_of_two(resize->align))
        return NULL;
    if (at == bump->last)
        return bump_resize_last(bump, resize->size_bytes, resize->align);

    const bool is_aligned = (at & (resize->align - 1)) == 0;
    if (is_known && is_aligned && resize->size_bytes <= bump_size_for(resize->old_bytes))
        return block;
    /* The old block ends here, if not before. */
    const size_t readable = bump->last - at;
    const size_t old_bytes = is_known ? resize->old_bytes : readable;
    void *const moved = loam_bump_alloc(bump, resize->size_bytes, resize->align);
    if (moved != NULL) {
        __builtin_memcpy(moved, block,
                         resize->size_bytes < old_bytes ? resize->size_bytes : old_bytes);
        bump_give(bump, at);
    }
    return moved;
}

void loam_bump_reset(struct loam_bump *bump)
{
    bump_fall_to(bump, bump->start, bump->start, 0);
    bump->reset_count++;
}

struct loam_bump_mark loam_bump_now(const struct loam_bump *bump)
{
    const struct loam_bump_mark mark = { bump->next, bump->last, bump->count, bump->reset_count };

    return mark;
}

void loam_bump_release(struct loam_bump *bump, struct loam_bump_mark mark)
{
    const bool is_below =
        mark.last >= bump->start && mark.last <= mark.next && mark.next <= bump->next;
    const bool is_whole = (mark.count == 0) == (mark.next == bump->start);

    LOAM_REQUIRE(is_below && is_whole && mark.reset_count == bump->reset_count,
                 "bump: mark is not of now", mark.next, bump->next);
    bump_fall_to(bump, mark.next, mark.last, mark.count < bump->count ? mark.count : bump->count);
}

void loam_bump_measure(const struct loam_bump *bump, struct loam_bump_stats *out)
{
    const size_t used_bytes = bump->next - bump->start;
    const struct loam_bump_stats stats = {
        .span_bytes = bump->end - bump->start,
        .used_bytes = used_bytes,
        .peak_bytes = used_bytes > bump->peak_bytes ? used_bytes : bump->peak_bytes,
        .used_count = bump->count,
    };

    *out = stats;
}

const char *loam_bump_audit(const struct loam_bump *bump)
{
    const size_t used_bytes = bump->next - bump->start;

    if (bump->next < bump->start || bump->next > bump->end)
        return "bump: pointer is outside the span";
    if (bump->last < bump->start || bump->last > bump->next)
        return "bump: last block is not before the pointer";
    if (bump->count > used_bytes || (bump->count == 0) != (used_bytes == 0))
        return "bump: blocks are miscounted";
    if (bump->peak_bytes > bump->end - bump->start)
        return "bump: peak is above the span";
    return NULL;
}

uint64_t loam_bump_digest(const struct loam_bump *bump)
{
    struct loam_bump_stats stats;
    uint64_t digest = loam_digest_add(LOAM_DIGEST_START, bump->start);

    loam_bump_measure(bump, &stats);
    digest = loam_digest_add(digest, stats.span_bytes);
    digest = loam_digest_add(digest, stats.used_bytes);
    digest = loam_digest_add(digest, bump->last);
    digest = loam_digest_add(digest, stats.peak_bytes);
    digest = loam_digest_add(digest, stats.used_count);
    return loam_digest_add(digest, bump->reset_count);
}
