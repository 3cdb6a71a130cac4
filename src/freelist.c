/*
 * freelist.c - see freelist.h.
 *
 *     used   | size, slack | check | bytes asked for .......... | slack |
 *     free   | size        | check | next | ......................... |
 *     end    | 0           | check |
 *
 * Invariants: blocks tile [base, end) without a gap; sizes are multiples of 16
 * and at least FREELIST_BLOCK_MIN, so that every free block can hold its link;
 * no two free blocks touch; the list holds every free block, ascending.
 *
 * Everything is checked before anything is changed, so that a panic leaves the
 * evidence as it was.
 */
#include <loam/freelist.h>

#include "internal/check.h"
#include "internal/digest.h"
#include "internal/inject.h"

#define FREELIST_HEADER    16u /* bytes before a block */
#define FREELIST_BLOCK_MIN 32u
#define FREELIST_SIZE_BITS 56u /* no half of a canonical address space is larger */

/* may_alias: the memory holds objects of the caller before and afterwards. */
struct freelist_header {
    uint64_t word;  /* size << 8 | slack; size includes the header */
    uint64_t check; /* binds kind, address, word and link */
    uint64_t next;  /* in free blocks only: the next one's address; 0: none */
} __attribute__((may_alias));
LOAM_STATIC_ASSERT(offsetof(struct freelist_header, next) == FREELIST_HEADER,
                   "the link lies in the block");
LOAM_STATIC_ASSERT(sizeof(struct freelist_header) <= FREELIST_BLOCK_MIN,
                   "every free block can hold its link");

enum freelist_kind {
    FREELIST_USED = 1,
    FREELIST_FREE,
    FREELIST_GONE, /* a header that was merged into the free block before it */
};

/* Free blocks around an address; 0: none. */
struct freelist_place {
    uint64_t before, after;
};

/* ---- headers ------------------------------------------------------------- */

static struct freelist_header *freelist_at(uint64_t at)
{
    LOAM_ASSERT(at != 0); /* the end of the list is no header */
    return (struct freelist_header *)(uintptr_t)at;
}

static uint64_t freelist_size(uint64_t at)
{
    return freelist_at(at)->word >> 8;
}

static uint64_t freelist_size_asked(uint64_t at)
{
    return freelist_size(at) - FREELIST_HEADER - (freelist_at(at)->word & 0xff);
}

static uint64_t freelist_check(const struct loam_freelist *list, enum freelist_kind kind,
                               uint64_t at, uint64_t word, uint64_t next)
{
    const uint64_t place = loam_digest_add(list->cookie + kind, at);

    return loam_digest_add(loam_digest_add(place, word), next);
}

static bool freelist_is_used(const struct loam_freelist *list, uint64_t at)
{
    const struct freelist_header *header = freelist_at(at);

    return header->check == freelist_check(list, FREELIST_USED, at, header->word, 0);
}

static bool freelist_is_free(const struct loam_freelist *list, uint64_t at)
{
    const struct freelist_header *header = freelist_at(at);

    return header->check == freelist_check(list, FREELIST_FREE, at, header->word, header->next);
}

static bool freelist_is_gone(const struct loam_freelist *list, uint64_t at)
{
    return freelist_at(at)->check == freelist_check(list, FREELIST_GONE, at, 0, 0);
}

static void freelist_set_used(const struct loam_freelist *list, uint64_t at, uint64_t size,
                              uint64_t size_asked)
{
    const uint64_t slack = size - FREELIST_HEADER - size_asked;
    const uint64_t word = size << 8 | slack;

    freelist_at(at)->word = word;
    freelist_at(at)->check = freelist_check(list, FREELIST_USED, at, word, 0);
}

static void freelist_set_free(const struct loam_freelist *list, uint64_t at, uint64_t size,
                              uint64_t next)
{
    const uint64_t word = size << 8;

    freelist_at(at)->word = word;
    freelist_at(at)->check = freelist_check(list, FREELIST_FREE, at, word, next);
    freelist_at(at)->next = next;
}

static void freelist_set_gone(const struct loam_freelist *list, uint64_t at)
{
    freelist_at(at)->check = freelist_check(list, FREELIST_GONE, at, 0, 0);
}

/* ---- checks -------------------------------------------------------------- */

static void freelist_require_free(const struct loam_freelist *list, uint64_t at)
{
    LOAM_REQUIRE(freelist_is_free(list, at), "freelist: header is damaged", at + FREELIST_HEADER,
                 0);
}

/* An overflow of the block at @p at reaches the next header first. */
static void freelist_require_next(const struct loam_freelist *list, uint64_t at)
{
    const uint64_t next = at + freelist_size(at);

    /* The mark at the end has no link to look at. */
    LOAM_REQUIRE(freelist_is_used(list, next) ||
                     (next != list->end && freelist_is_free(list, next)),
                 "freelist: header is damaged", next + FREELIST_HEADER, at + FREELIST_HEADER);
}

/*
 * Why is there no header of a block in use at @p at? Walks all blocks: slow, but
 * the caller panics. @p at becomes the address of the damaged header if it is
 * another one.
 */
static const char *freelist_why_not_used(const struct loam_freelist *list, uint64_t *at)
{
    if (freelist_is_gone(list, *at))
        return "freelist: block is already free";
    for (uint64_t block = list->base;; block += freelist_size(block)) { /* ends: they tile */
        const bool is_free = freelist_is_free(list, block);
        if (!is_free && !freelist_is_used(list, block)) {
            *at = block;
            return "freelist: header is damaged";
        }
        if (*at - block < freelist_size(block))
            return is_free ? "freelist: block is already free"
                           : "freelist: not a block of this heap";
    }
}

/* Header of a live block; anything else panics. */
static uint64_t freelist_header_of(const struct loam_freelist *list, const void *block)
{
    const uint64_t pointer = (uint64_t)(uintptr_t)block;
    const bool is_inside = pointer >= list->base + FREELIST_HEADER && pointer < list->end;
    uint64_t at = pointer - FREELIST_HEADER;

    LOAM_REQUIRE(is_inside && pointer % LOAM_FREELIST_ALIGN == 0,
                 "freelist: not a block of this heap", pointer, 0);
    if (!freelist_is_used(list, at)) {
        const char *rule = freelist_why_not_used(list, &at);
        LOAM_REQUIRE(false, rule, at + FREELIST_HEADER, 0);
    }
    return at;
}

/* ---- the list ------------------------------------------------------------ */

/* Where a block at @p at is, or would be, in the list; @p at itself is "after".
 * Only those before have been looked at. */
static struct freelist_place freelist_place_of(const struct loam_freelist *list, uint64_t at)
{
    struct freelist_place place = { 0, list->first };

    while (place.after != 0 && place.after < at) { /* terminates: ascending */
        freelist_require_free(list, place.after);
        place.before = place.after;
        place.after = freelist_at(place.after)->next;
    }
    return place;
}

static void freelist_set_next(struct loam_freelist *list, uint64_t before, uint64_t next)
{
    if (before == 0)
        list->first = next;
    else
        freelist_set_free(list, before, freelist_size(before), next);
}

static void freelist_count_used(struct loam_freelist *list, uint64_t size)
{
    list->used_bytes += size;
    if (list->used_bytes > list->peak_bytes)
        list->peak_bytes = list->used_bytes;
}

/* Size of the block that serves a request, which is no larger than the span. */
static uint64_t freelist_size_for(size_t size_bytes)
{
    const uint64_t mask = LOAM_FREELIST_ALIGN - 1;
    const uint64_t size = (size_bytes + FREELIST_HEADER + mask) & ~mask;

    return size > FREELIST_BLOCK_MIN ? size : FREELIST_BLOCK_MIN;
}

/* Bytes to leave before an aligned block in the free block @p at: none, as always
 * up to LOAM_FREELIST_ALIGN, or at least as many as a free block needs. */
static uint64_t freelist_gap_for(uint64_t at, uint64_t align)
{
    const uint64_t gap = -(at + FREELIST_HEADER) & (align - 1);

    return gap == 0 || gap >= FREELIST_BLOCK_MIN ? gap : gap + align;
}

/* Make what is left behind a block a free block before *next, if it can be one.
 * Returns how much it cannot. */
static uint64_t freelist_leave_rest(const struct loam_freelist *list, uint64_t at, uint64_t rest,
                                    uint64_t *next)
{
    if (rest < FREELIST_BLOCK_MIN)
        return rest;
    freelist_set_free(list, at, rest, *next);
    *next = at;
    return 0;
}

/* Take @p need bytes for @p size_asked out of the free block place->after, from
 * @p gap on. They fit. */
static uint64_t freelist_carve(struct loam_freelist *list, const struct freelist_place *place,
                               uint64_t gap, uint64_t need, size_t size_asked)
{
    const uint64_t at = place->after;
    const uint64_t start = at + gap;
    const uint64_t rest = freelist_size(at) - gap - need;
    uint64_t next = freelist_at(at)->next;

    need += freelist_leave_rest(list, start + need, rest, &next);
    if (gap > 0)
        freelist_set_free(list, at, gap, next);
    else
        freelist_set_next(list, place->before, next);
    freelist_set_used(list, start, need, size_asked);
    freelist_count_used(list, need);
    list->used_count++;
    return start;
}

/* Give the block @p at another size, together with a free block behind it, whose
 * header was checked. */
static bool freelist_resize(struct loam_freelist *list, uint64_t at, uint64_t need,
                            size_t size_asked)
{
    const uint64_t size = freelist_size(at);
    const struct freelist_place place = freelist_place_of(list, at + size);
    const bool next_is_free = place.after == at + size;
    const uint64_t available = next_is_free ? size + freelist_size(place.after) : size;
    uint64_t next = next_is_free ? freelist_at(place.after)->next : place.after;

    if (need > available)
        return false;
    if (next_is_free)
        freelist_set_gone(list, place.after);
    need += freelist_leave_rest(list, at + need, available - need, &next);
    freelist_set_next(list, place.before, next);
    freelist_set_used(list, at, need, size_asked);
    list->used_bytes -= size;
    freelist_count_used(list, need);
    return true;
}

/* Make a block in use free, merged with its neighbours. */
static void freelist_give(struct loam_freelist *list, uint64_t at)
{
    freelist_require_next(list, at);
    const struct freelist_place place = freelist_place_of(list, at);
    const uint64_t size = freelist_size(at);
    uint64_t size_free = size;
    uint64_t next = place.after;

    if (next == at + size) {
        size_free += freelist_size(next);
        next = freelist_at(next)->next;
        freelist_set_gone(list, place.after);
    }
    if (place.before != 0 && place.before + freelist_size(place.before) == at) {
        freelist_set_free(list, place.before, freelist_size(place.before) + size_free, next);
        freelist_set_gone(list, at);
    } else {
        freelist_set_free(list, at, size_free, next);
        freelist_set_next(list, place.before, at);
    }
    list->used_bytes -= size;
    list->used_count--;
}

/* ---- public -------------------------------------------------------------- */

enum loam_status loam_freelist_init(struct loam_freelist *list, void *span, size_t size_bytes)
{
    const uint64_t start = (uint64_t)(uintptr_t)span;
    const uint64_t gap = -start & (LOAM_FREELIST_ALIGN - 1);

    if (span == NULL || size_bytes < LOAM_FREELIST_MIN + gap ||
        size_bytes >> FREELIST_SIZE_BITS != 0 || !loam_range_fits(start, size_bytes))
        return LOAM_INVALID;

    /* The mark takes the last 16 aligned bytes; a span that ends at 2^64 is fine. */
    const uint64_t mask = LOAM_FREELIST_ALIGN - 1;
    __builtin_memset(list, 0, sizeof(*list));
    list->base = start + gap;
    list->end = list->base + ((size_bytes - gap) & ~mask) - FREELIST_HEADER;
    list->cookie = loam_digest_add(LOAM_DIGEST_START, loam_virt_of(list).addr);
    list->first = list->base;
    freelist_set_free(list, list->base, list->end - list->base, 0);
    freelist_set_used(list, list->end, FREELIST_HEADER, 0);
    return LOAM_OK;
}

void *loam_freelist_alloc(struct loam_freelist *list, size_t size_bytes, size_t align)
{
    struct freelist_place place = { 0, list->first };

    if (!loam_is_power_of_two(align) || size_bytes > list->end - list->base ||
        LOAM_INJECT("freelist.alloc"))
        return NULL;
    const uint64_t need = freelist_size_for(size_bytes);
    while (place.after != 0) { /* terminates: ascending */
        freelist_require_free(list, place.after);
        const uint64_t size = freelist_size(place.after);
        const uint64_t gap = freelist_gap_for(place.after, align);
        if (need <= size && gap <= size - need) {
            const uint64_t at = freelist_carve(list, &place, gap, need, size_bytes);
            return (void *)(uintptr_t)(at + FREELIST_HEADER);
        }
        place.before = place.after;
        place.after = freelist_at(place.after)->next;
    }
    return NULL;
}

void loam_freelist_free(struct loam_freelist *list, void *block)
{
    if (block != NULL)
        freelist_give(list, freelist_header_of(list, block));
}

void loam_freelist_free_sized(struct loam_freelist *list, void *block, size_t size_bytes)
{
    if (block == NULL)
        return;
    const uint64_t at = freelist_header_of(list, block);
    LOAM_REQUIRE(freelist_size_asked(at) == size_bytes, "freelist: wrong size",
                 at + FREELIST_HEADER, freelist_size_asked(at));
    freelist_give(list, at);
}

void *loam_freelist_realloc(struct loam_freelist *list, void *block, size_t size_bytes)
{
    if (block == NULL)
        return loam_freelist_alloc(list, size_bytes, LOAM_FREELIST_ALIGN);

    const uint64_t at = freelist_header_of(list, block);
    freelist_require_next(list, at);
    if (size_bytes > list->end - list->base)
        return NULL;
    if (freelist_resize(list, at, freelist_size_for(size_bytes), size_bytes))
        return block;
    void *const moved = loam_freelist_alloc(list, size_bytes, LOAM_FREELIST_ALIGN);
    if (moved != NULL) { /* it had to grow, so all of the old block fits */
        __builtin_memcpy(moved, block, freelist_size(at) - FREELIST_HEADER);
        freelist_give(list, at);
    }
    return moved;
}

size_t loam_freelist_usable(const struct loam_freelist *list, const void *block)
{
    return freelist_size(freelist_header_of(list, block)) - FREELIST_HEADER;
}

void loam_freelist_measure(const struct loam_freelist *list, struct loam_freelist_stats *out)
{
    struct loam_freelist_stats stats = {
        .span_bytes = list->end - list->base,
        .used_bytes = list->used_bytes,
        .peak_bytes = list->peak_bytes,
        .used_count = list->used_count,
    };

    for (uint64_t at = list->first; at != 0; at = freelist_at(at)->next) {
        freelist_require_free(list, at);
        const uint64_t largest = freelist_size(at) - FREELIST_HEADER;
        stats.free_count++;
        if (largest > stats.largest_free_bytes)
            stats.largest_free_bytes = largest;
    }
    *out = stats;
}

const char *loam_freelist_audit(const struct loam_freelist *list)
{
    size_t used_bytes = 0;
    size_t used_count = 0;
    uint64_t next = list->first; /* the free block to come */
    bool after_free = false;
    uint64_t at = list->base;

    while (at < list->end) { /* terminates: a size that passed its check is not 0 */
        const bool is_free = freelist_is_free(list, at);
        if (!is_free && !freelist_is_used(list, at))
            return "freelist: header is damaged";
        if (is_free && after_free)
            return "freelist: free blocks touch";
        if (is_free != (at == next))
            return is_free ? "freelist: free block is not in the list"
                           : "freelist: list holds a block in use";
        if (is_free)
            next = freelist_at(at)->next;
        used_bytes += is_free ? 0 : freelist_size(at);
        used_count += is_free ? 0 : 1;
        after_free = is_free;
        at += freelist_size(at);
    }
    if (at != list->end)
        return "freelist: blocks do not tile the span";
    if (!freelist_is_used(list, at))
        return "freelist: mark at the end is damaged";
    if (next != 0)
        return "freelist: list holds what is no block";
    if (used_bytes != list->used_bytes || used_count != list->used_count)
        return "freelist: blocks in use are miscounted";
    if (list->peak_bytes < used_bytes)
        return "freelist: peak is below use";
    return NULL;
}

uint64_t loam_freelist_digest(const struct loam_freelist *list)
{
    uint64_t digest = LOAM_DIGEST_START;

    for (uint64_t at = list->base; at < list->end; at += freelist_size(at)) {
        const bool is_free = freelist_is_free(list, at);
        if (!is_free && !freelist_is_used(list, at))
            break; /* not sound: no size to go on by */
        digest = loam_digest_add(digest, freelist_at(at)->word);
        digest = loam_digest_add(digest, is_free);
    }
    digest = loam_digest_add(digest, list->used_bytes);
    digest = loam_digest_add(digest, list->peak_bytes);
    return loam_digest_add(digest, list->used_count);
}
