/*
 * arena_span.c - an arena's spans: claim, extend, truncate, release, grow; and
 * everything that visits all that is in them. See arena.h.
 *
 *     start          first                              end          start +
 * size | span header  | blocks ......................... | mark |
 *
 * The mark is a tag in use without a block: what the last block has behind it.
 */
#include <loam/arena.h>

#include "internal/arena_block.h"
#include "internal/digest.h"

LOAM_STATIC_ASSERT(sizeof(struct loam_arena_span) + 32 + ARENA_BLOCK_MIN + ARENA_HEADER <=
                       LOAM_ARENA_SPAN_MIN,
                   "the smallest span has a block");

/* Where blocks end in a span that ends at @p limit, or at 2^64 if that is 0. */
static uint64_t arena_end_of(uint64_t limit)
{
    return (limit & ~(uint64_t)(ARENA_UNIT - 1)) - ARENA_HEADER;
}

static uint64_t arena_aligned(uint64_t start)
{
    return (start + ARENA_UNIT - 1) & ~(uint64_t)(ARENA_UNIT - 1);
}

/* Is [start, start + size) large enough for a span? It does not wrap. */
static bool arena_span_is_valid(uint64_t start, uint64_t size)
{
    const uint64_t lost = arena_aligned(start) - start;

    return size >= lost + ARENA_UNIT && size < ARENA_SIZE_LIMIT && loam_range_fits(start, size) &&
           arena_end_of(start + size) + ARENA_HEADER - arena_aligned(start) >= LOAM_ARENA_SPAN_MIN;
}

static struct loam_arena_span *arena_span_at(const struct loam_arena *arena, const void *span)
{
    struct loam_arena_span *found = span_tree_at_or_below(arena->root, (uint64_t)(uintptr_t)span);

    return found != NULL && found->start == (uint64_t)(uintptr_t)span ? found : NULL;
}

/* Spans have changed. */
static void arena_forget_hot(struct loam_arena *arena)
{
    arena->hot_start = 0;
    arena->hot_units = 0;
}

enum loam_status loam_arena_claim(struct loam_arena *arena, void *span, size_t size_bytes)
{
    const uint64_t start = (uint64_t)(uintptr_t)span;

    if (span == NULL || !arena_span_is_valid(start, size_bytes))
        return LOAM_INVALID;
    const struct loam_arena_span *below =
        span_tree_at_or_below(arena->root, start + (size_bytes - 1));
    if (below != NULL && (start < below->start || start - below->start < below->size))
        return LOAM_OVERLAP;

    struct loam_arena_span *const made = (struct loam_arena_span *)(uintptr_t)arena_aligned(start);
    const uint64_t behind = arena_aligned(start) + sizeof *made;
    made->start = start;
    made->size = size_bytes;
    made->first = ((behind + ARENA_HEADER + 15) & ~UINT64_C(15)) - ARENA_HEADER;
    made->end = arena_end_of(start + size_bytes);
    span_tree_insert(&arena->root, made);
    arena_set_tag(arena, made->end, ARENA_USED | ARENA_PREV_FREE);
    arena_link_free(arena, made->first, made->end - made->first);
    arena->span_bytes += size_bytes;
    arena->span_count++;
    return LOAM_OK;
}

enum loam_status loam_arena_extend(struct loam_arena *arena, void *span, size_t size_bytes)
{
    struct loam_arena_span *const found = arena_span_at(arena, span);

    if (found == NULL)
        return LOAM_NOT_FOUND;
    if (size_bytes < found->size || !arena_span_is_valid(found->start, size_bytes))
        return LOAM_INVALID;
    const struct loam_arena_span *above = span_tree_at_or_above(arena->root, found->start + 1);
    if (above != NULL && above->start - found->start < size_bytes)
        return LOAM_OVERLAP;

    const uint64_t mark = found->end;
    const uint64_t end = arena_end_of(found->start + size_bytes);
    LOAM_REQUIRE(arena_tag_holds(arena, mark), ARENA_RULE_TAG, mark + ARENA_HEADER, 0);
    if (end - mark >= ARENA_BLOCK_MIN && end > mark) {
        (void)arena_side_before(arena, mark, arena_low(mark)); /* panics before all else */
        arena_set_tag(arena, end, ARENA_USED);
        found->end = end;
        arena_make_free(arena, mark, end - mark, arena_low(mark), ARENA_USED);
    }
    arena->span_bytes += size_bytes - found->size;
    found->size = size_bytes;
    arena_forget_hot(arena);
    return LOAM_OK;
}

/* The free block at the end of a span; size 0: there is none. */
static struct arena_side arena_tail(const struct loam_arena *arena,
                                    const struct loam_arena_span *span)
{
    LOAM_REQUIRE(arena_tag_holds(arena, span->end), ARENA_RULE_TAG, span->end + ARENA_HEADER, 0);
    return arena_side_before(arena, span->end, arena_low(span->end));
}

enum loam_status loam_arena_truncate(struct loam_arena *arena, void *span, size_t size_bytes)
{
    struct loam_arena_span *const found = arena_span_at(arena, span);

    if (found == NULL)
        return LOAM_NOT_FOUND;
    if (size_bytes > found->size || !arena_span_is_valid(found->start, size_bytes))
        return LOAM_INVALID;
    loam_arena_merge(arena);
    const struct arena_side tail = arena_tail(arena, found);
    const uint64_t end = arena_end_of(found->start + size_bytes);
    if (end < tail.at)
        return LOAM_OVERLAP;

    if (end < found->end) {
        const bool is_block = end - tail.at >= ARENA_BLOCK_MIN;
        arena_take(arena, &tail);
        found->end = is_block ? end : tail.at;
        arena_set_tag(arena, found->end, ARENA_USED | (is_block ? ARENA_PREV_FREE : 0));
        if (is_block)
            arena_link_free(arena, tail.at, end - tail.at);
    }
    arena->span_bytes -= found->size - size_bytes;
    found->size = size_bytes;
    arena_forget_hot(arena);
    return LOAM_OK;
}

enum loam_status loam_arena_release(struct loam_arena *arena, void *span)
{
    struct loam_arena_span *const found = arena_span_at(arena, span);

    if (found == NULL)
        return LOAM_NOT_FOUND;
    loam_arena_merge(arena);
    const struct arena_side tail = arena_tail(arena, found);
    if (tail.at != found->first)
        return LOAM_OVERLAP;
    arena_take(arena, &tail);
    span_tree_remove(&arena->root, found);
    arena->span_bytes -= found->size;
    arena->span_count--;
    arena_forget_hot(arena);
    return LOAM_OK;
}

size_t loam_arena_span_needed(struct loam_arena *arena, void *span)
{
    const struct loam_arena_span *const found = arena_span_at(arena, span);

    if (found == NULL)
        return 0;
    loam_arena_merge(arena);
    const uint64_t needed = arena_tail(arena, found).at + ARENA_HEADER - found->start;
    const uint64_t least = arena_aligned(found->start) + LOAM_ARENA_SPAN_MIN - found->start;
    return needed > least ? needed : least;
}

bool loam_arena_grow(struct loam_arena *arena, const struct loam_arena_request *request)
{
    struct loam_arena_reserve *const reserve = &arena->reserve;
    const uint64_t overhead = sizeof(struct loam_arena_span) + ARENA_HEADER_BIG + 64;
    const uint64_t need = request->size_bytes + 2 * request->align + overhead;
    uint64_t step = need > reserve->step_bytes ? need : reserve->step_bytes;

    if (need > reserve->size_bytes)
        return false;
    if (step > reserve->size_bytes)
        step = reserve->size_bytes;
    struct loam_arena_span *const below = span_tree_at_or_below(arena->root, reserve->start - 1);
    const bool touches = below != NULL && below->start + below->size == reserve->start;
    void *const at = (void *)(uintptr_t)(touches ? below->start : reserve->start);
    const enum loam_status st = touches ? loam_arena_extend(arena, at, below->size + step)
                                        : loam_arena_claim(arena, at, step);
    if (st != LOAM_OK)
        return false;
    reserve->start += step;
    reserve->size_bytes -= step;
    return true;
}

/* ---- state --------------------------------------------------------------- */

/* Largest request that a free block of @p size bytes serves. */
static size_t arena_room(uint64_t size)
{
    if (size <= ARENA_SMALL_MAX)
        return size - ARENA_HEADER;
    const uint64_t small = ARENA_SMALL_MAX - ARENA_HEADER;
    return size - ARENA_HEADER_BIG > small ? size - ARENA_HEADER_BIG : small;
}

void loam_arena_measure(struct loam_arena *arena, struct loam_arena_stats *out)
{
    struct loam_arena_stats stats = {
        .span_bytes = arena->span_bytes,
        .span_count = arena->span_count,
        .used_bytes = arena->used_bytes,
        .peak_bytes = arena->peak_bytes,
        .used_count = arena->used_count,
        .deferred_count = arena->deferred_count,
    };

    loam_arena_merge(arena);
    for (unsigned bin = arena_bin_next(arena, 0); bin < LOAM_ARENA_BIN_COUNT;
         bin = arena_bin_next(arena, bin + 1)) {
        for (uint64_t node = arena->bin[bin]; node != 0; node = arena_link(arena, node)) {
            const uint64_t at = node - ARENA_HEADER;
            LOAM_REQUIRE(arena_free_is_sound(arena, at), ARENA_RULE_FREE, node, 0);
            const uint64_t size = arena_free_size(at);
            arena_require_linked(arena, node); /* ends: linked both ways */
            stats.free_count++;
            stats.free_bytes += size;
            if (arena_room(size) > stats.largest_free_bytes)
                stats.largest_free_bytes = arena_room(size);
        }
    }
    *out = stats;
}

bool loam_arena_next(const struct loam_arena *arena, struct loam_arena_block *block)
{
    const uint64_t pointer = block->start.addr;
    const struct loam_arena_span *span = arena_span_of(arena, pointer);
    uint64_t at = pointer - ARENA_HEADER;

    if (span != NULL) {
        if (block->state == LOAM_ARENA_USED && arena_low(at) == ARENA_BACK)
            at = pointer - ARENA_HEADER_BIG;
        at += block->footprint_bytes;
    }
    if (span == NULL || at == span->end) {
        span = span_tree_at_or_above(arena->root, span == NULL ? 0 : span->start + 1);
        if (span == NULL)
            return false;
        at = span->first;
    }
    LOAM_REQUIRE(arena_tag_holds(arena, at), ARENA_RULE_TAG, at + ARENA_HEADER, 0);
    const uint32_t low = arena_low(at);
    const uint32_t state = low & ARENA_STATE;
    block->footprint_bytes = arena_size(at);
    if (state == ARENA_USED) {
        at += arena_low_is_large(low) ? ARENA_HEADER_BIG : ARENA_HEADER;
        block->size_bytes = arena_used_of(arena, (const void *)(uintptr_t)at).asked;
        block->state = LOAM_ARENA_USED;
    } else {
        at += ARENA_HEADER;
        block->size_bytes = arena_room(block->footprint_bytes);
        block->state = state == ARENA_FREE ? LOAM_ARENA_FREE : LOAM_ARENA_DEFERRED;
    }
    block->start = loam_virt_at(at);
    return true;
}

uint64_t loam_arena_digest(const struct loam_arena *arena)
{
    struct loam_arena_block block = { 0 };
    uint64_t digest = LOAM_DIGEST_START;

    while (loam_arena_next(arena, &block)) {
        if (block.state != LOAM_ARENA_USED)
            continue; /* merging what waits changes nothing that can be seen */
        digest = loam_digest_add(digest, block.start.addr);
        digest = loam_digest_add(digest, block.size_bytes);
    }
    digest = loam_digest_add(digest, arena->span_bytes);
    digest = loam_digest_add(digest, arena->span_count);
    digest = loam_digest_add(digest, arena->used_bytes);
    digest = loam_digest_add(digest, arena->peak_bytes);
    return loam_digest_add(digest, arena->used_count);
}

/* ---- audit --------------------------------------------------------------- */

/* What the walk over all blocks adds up to. */
struct arena_count {
    size_t used_bytes, used_count, waiting_count, free_count;
};

static const char *arena_audit_block(const struct loam_arena *arena, uint64_t at, bool after_free,
                                     struct arena_count *count)
{
    const uint32_t low = arena_low(at);
    const uint32_t state = low & ARENA_STATE;

    if (!arena_tag_holds(arena, at) || state == ARENA_BACK)
        return ARENA_RULE_TAG;
    if (((low & ARENA_PREV_FREE) != 0) != after_free)
        return state == ARENA_FREE ? "arena: free blocks touch"
                                   : "arena: a tag is wrong about the block before";
    if (state == ARENA_FREE) {
        if (!arena_free_holds(arena, at))
            return ARENA_RULE_FREE;
        count->free_count++;
    } else if (state == ARENA_WAITING) {
        if (arena_low_is_large(low))
            return ARENA_RULE_FREE;
        count->waiting_count++;
    } else {
        if (arena_low_is_large(low) && !arena_large_holds(arena, at))
            return ARENA_RULE_TAG;
        const uint64_t size = arena_used_size(at);
        if ((low & ARENA_PADDED) != 0 &&
            !arena_padding_stands(at + size, size - arena_used_header(at)))
            return ARENA_RULE_OVERFLOW;
        count->used_bytes += size;
        count->used_count++;
    }
    return NULL;
}

static const char *arena_audit_span(const struct loam_arena *arena,
                                    const struct loam_arena_span *span, struct arena_count *count)
{
    bool after_free = false;
    uint64_t at = span->first;

    while (at < span->end) { /* terminates: a size that holds is not 0 */
        const char *broken = arena_audit_block(arena, at, after_free, count);
        if (broken != NULL)
            return broken;
        const uint64_t size = arena_size(at);
        after_free = arena_is_free(at);
        at += size;
        if (after_free && (at > span->end || arena_size_before(at) != size))
            return "arena: a free block's footer is not its size";
    }
    if (at != span->end)
        return "arena: blocks do not tile the span";
    if (!arena_tag_holds(arena, at) || (arena_low(at) & ~ARENA_PREV_FREE) != ARENA_USED)
        return "arena: mark at the end is damaged";
    return ((arena_low(at) & ARENA_PREV_FREE) != 0) == after_free
               ? NULL
               : "arena: a tag is wrong about the block before";
}

/* Every entry of every bin is a free block of its size, linked both ways; as
 * many as there are. */
static const char *arena_audit_bins(const struct loam_arena *arena, size_t free_count)
{
    for (unsigned bin = 0; bin < LOAM_ARENA_BIN_COUNT; bin++) {
        uint64_t back = (uint64_t)(uintptr_t)&arena->bin[bin];
        if ((arena->bin[bin] != 0) != (arena->bin_map[bin / 64] >> bin % 64 & 1))
            return "arena: map of bins is wrong";
        for (uint64_t node = arena->bin[bin]; node != 0; node = arena_link(arena, node)) {
            const uint64_t at = node - ARENA_HEADER;
            if (!arena_is_node(arena, node) || !arena_tag_holds(arena, at) || !arena_is_free(at) ||
                !arena_free_holds(arena, at) || arena_bin_of(arena_free_size(at)) != bin)
                return "arena: a bin holds what is no free block of its size";
            if (arena_link(arena, node + 8) != back || free_count-- == 0)
                return "arena: a bin is not linked both ways";
            back = node;
        }
    }
    return free_count == 0 ? NULL : "arena: a free block is in no bin";
}

static const char *arena_audit_quick(const struct loam_arena *arena, size_t waiting_count)
{
    if (waiting_count != arena->deferred_count)
        return "arena: waiting blocks are miscounted";
    for (unsigned index = 0; index < LOAM_ARENA_QUICK_COUNT; index++) {
        for (uint64_t node = arena->quick[index]; node != 0; node = arena_quick_next(arena, node)) {
            if (!arena_is_node(arena, node))
                return "arena: a quick list leads out of the spans";
            const uint64_t at = node - ARENA_HEADER;
            if (!arena_tag_holds(arena, at) ||
                (arena_low(at) & ~ARENA_PREV_FREE) != (index << ARENA_SIZE_SHIFT | ARENA_WAITING) ||
                waiting_count-- == 0)
                return "arena: a quick list holds what is no waiting block of its size";
        }
    }
    return waiting_count == 0 ? NULL : "arena: a waiting block is in no quick list";
}

const char *loam_arena_audit(const struct loam_arena *arena)
{
    struct arena_count count = { 0 };
    size_t span_bytes = 0;
    size_t span_count = 0;
    uint64_t last = 0; /* byte of the span before */
    const char *broken = NULL;

    for (const struct loam_arena_span *span = span_tree_at_or_above(arena->root, 0); span != NULL;
         span = span_tree_at_or_above(arena->root, span->start + 1)) {
        if (span_count != 0 && span->start <= last)
            return "arena: spans overlap";
        last = span->start + (span->size - 1);
        span_bytes += span->size;
        span_count++;
        if ((broken = arena_audit_span(arena, span, &count)) != NULL)
            return broken;
    }
    if (span_bytes != arena->span_bytes || span_count != arena->span_count)
        return "arena: spans are miscounted";
    if (count.used_bytes != arena->used_bytes || count.used_count != arena->used_count)
        return "arena: blocks in use are miscounted";
    if (arena->peak_bytes < count.used_bytes)
        return "arena: peak is below use";
    if ((broken = arena_audit_bins(arena, count.free_count)) != NULL)
        return broken;
    return arena_audit_quick(arena, count.waiting_count);
}
