/*
 * arena_block.h - blocks of an arena in their surroundings: the checks of what
 * a caller names, splitting off, merging. Shared by arena.c and arena_span.c.
 */
#ifndef LOAM_INTERNAL_ARENA_BLOCK_H
#define LOAM_INTERNAL_ARENA_BLOCK_H

#include "arena_bin.h"
#include "arena_tag.h"
#include "check.h"
#include "span_tree.h"

#define ARENA_RULE_FOREIGN  "arena: not a block of this heap"
#define ARENA_RULE_TWICE    "arena: block is already free"
#define ARENA_RULE_OVERFLOW "arena: block overflowed"
#define ARENA_RULE_TAG      "arena: tag is damaged"
#define ARENA_RULE_SIZE     "arena: wrong size"

#define ARENA_VICTIM_MAX 65536u /* bytes: larger rests hang in bins, where the smallest is found */

/* Size of any block whose tag holds. */
static inline uint64_t arena_size(const struct loam_arena *arena, uint64_t at)
{
    if (at == arena->victim)
        return arena->victim_end - at;
    return arena_is_free(at) ? arena_free_size(at) : arena_used_size(at);
}

/* ---- checks -------------------------------------------------------------- */

static inline void arena_make_hot(struct loam_arena *arena, uint64_t at)
{
    const struct loam_arena_span *span = arena_span_of(arena, at);

    arena->hot_start = span != NULL ? span->first : 0;
    arena->hot_size = span != NULL ? span->end - span->first - ARENA_END_BYTES : 0;
}

/*
 * Why is there no block in use behind the tag at @p at? Walks the span: slow,
 * but the caller panics. @p at becomes the damaged tag's place if it is another
 * one.
 */
__attribute__((noinline, cold)) static const char *arena_why_not_used(
    const struct loam_arena *arena, uint64_t *at)
{
    const struct loam_arena_span *span = arena_span_of(arena, *at);

    const uint64_t end = span != NULL ? span->end : 0;

    for (uint64_t block = span != NULL ? span->first : 0; block < end;) { /* ends: they tile */
        const uint32_t state = arena_low(block) & ARENA_STATE;
        if (!arena_tag_holds(arena, block) ||
            (state == ARENA_FREE && block != arena->victim && !arena_free_holds(arena, block)) ||
            state == ARENA_BACK ||
            (state == ARENA_USED && arena_low_is_large(arena_low(block)) &&
             !arena_large_holds(arena, block))) {
            *at = state == ARENA_USED && arena_low_is_large(arena_low(block))
                      ? block + ARENA_HEADER_BIG - ARENA_HEADER
                      : block;
            return ARENA_RULE_TAG;
        }
        if (*at - block < arena_size(arena, block))
            return state == ARENA_USED ? ARENA_RULE_FOREIGN : ARENA_RULE_TWICE;
        block += arena_size(arena, block);
    }
    return ARENA_RULE_FOREIGN;
}

/* The caller named no live block: say why. */
__attribute__((noinline, cold, noreturn)) static void arena_blame(const struct loam_arena *arena,
                                                                  uint64_t pointer)
{
    const char *rule = ARENA_RULE_FOREIGN;
    uint64_t at = pointer - ARENA_HEADER;

    if (pointer % ARENA_UNIT == 0 && arena_span_of(arena, at) != NULL)
        rule = arena_why_not_used(arena, &at);
    loam_check_fail(rule, __FILE__, __LINE__, at + ARENA_HEADER, 0);
}

/* A block in use that was found to be whole. */
struct arena_used {
    uint64_t at, size; /* of the block, header included */
    uint64_t header;
    uint64_t asked;
    uint32_t low;     /* of its tag */
    uint32_t end_low; /* of the tag behind it */
};

/* The live block that the caller names, whole; anything else panics. */
static inline struct arena_used arena_used_of(const struct loam_arena *arena, const void *block)
{
    const uint64_t pointer = (uint64_t)(uintptr_t)block;
    struct arena_used used = { .at = pointer - ARENA_HEADER, .header = ARENA_HEADER };

    if (pointer % LOAM_ARENA_ALIGN != 0 || !arena_holds(arena, used.at))
        arena_blame(arena, pointer);
    used.low = arena_low(used.at);
    used.size = arena_small_size(used.low);
    if (!arena_tag_holds(arena, used.at))
        arena_blame(arena, pointer);
    if (used.low == ARENA_BACK) {
        used.at = pointer - ARENA_HEADER_BIG;
        used.header = ARENA_HEADER_BIG;
        used.low = arena_low(used.at);
        used.size = *arena_u64_at(used.at + 4);
        if (!arena_tag_holds(arena, used.at) || !arena_low_is_large(used.low) ||
            !arena_large_holds(arena, used.at))
            arena_blame(arena, pointer);
    }
    if ((used.low & ARENA_STATE) != ARENA_USED || used.size == 0)
        arena_blame(arena, pointer);

    const uint64_t end = used.at + used.size;
    const uint64_t room = used.size - used.header;
    uint64_t slack = 0;
    if ((used.low & ARENA_PADDED) != 0) {
        slack = arena_padding_found(end, room);
        LOAM_REQUIRE(slack != 0, ARENA_RULE_OVERFLOW, pointer, room);
    }
    LOAM_REQUIRE(arena_tag_holds(arena, end), ARENA_RULE_OVERFLOW, pointer, room - slack);
    used.asked = room - slack;
    used.end_low = arena_low(end);
    return used;
}

/* ---- merging ------------------------------------------------------------- */

/* Tell a block whose tag holds whether the one before is free. */
static inline void arena_set_flag(uint64_t at, bool prev_free)
{
    const uint32_t wanted = prev_free ? ARENA_PREV_FREE : 0;

    *arena_u32_at(at) ^= ((*arena_u32_at(at) ^ wanted) & ARENA_PREV_FREE) * ARENA_BOTH;
}

/* A free block next to another one. */
struct arena_side {
    uint64_t at, size; /* size 0: there is none */
};

/* The block at @p at, whose tag holds, if it is free. */
static inline struct arena_side arena_side_behind(const struct loam_arena *arena, uint64_t at,
                                                  uint32_t low)
{
    struct arena_side side = { .at = at };

    if ((low & ARENA_STATE) != ARENA_FREE)
        return side;
    if (at == arena->victim) {
        side.size = arena->victim_end - at;
        return side;
    }
    LOAM_REQUIRE(arena_free_holds(arena, at), ARENA_RULE_FREE, at + ARENA_HEADER, 0);
    side.size = arena_free_size(at);
    arena_require_linked(arena, at + ARENA_HEADER);
    return side;
}

/* The block before the one at @p at, if its tag says that there is a free one.
 */
static inline struct arena_side arena_side_before(const struct loam_arena *arena, uint64_t at,
                                                  uint32_t low)
{
    struct arena_side side = { .at = at };

    if ((low & ARENA_PREV_FREE) == 0)
        return side;
    if (at == arena->victim_end) {
        side.at = arena->victim;
        side.size = at - side.at;
        return side;
    }
    side.size = arena_size_before(at);
    side.at = at - side.size;
    LOAM_REQUIRE(side.size != 0 && side.size % ARENA_UNIT == 0 && arena_holds(arena, side.at) &&
                     arena_free_is_sound(arena, side.at) && arena_free_size(side.at) == side.size,
                 ARENA_RULE_FREE, side.at + ARENA_HEADER, at + ARENA_HEADER);
    arena_require_linked(arena, side.at + ARENA_HEADER);
    return side;
}

/* Take a checked free block from its bin, or from being the victim. */
static inline void arena_take(struct loam_arena *arena, const struct arena_side *side)
{
    if (side->at == arena->victim) {
        arena->victim = 0;
        arena->victim_end = 0;
    } else {
        arena_unlink(arena, side->at + ARENA_HEADER, side->size);
    }
}

/* Put the victim into its bin. */
static inline void arena_drop_victim(struct loam_arena *arena)
{
    const uint64_t at = arena->victim;

    if (at == 0)
        return;
    LOAM_REQUIRE(arena_tag_holds(arena, at), ARENA_RULE_FREE, at + ARENA_HEADER, 0);
    arena_link_free(arena, at, arena->victim_end - at);
    arena->victim = 0;
    arena->victim_end = 0;
}

/*
 * Make [at, at + size), which no list holds, a free block, merged with its
 * neighbours. The tags at both ends hold, @p low and @p end_low are theirs.
 */
static inline void arena_make_free(struct loam_arena *arena, uint64_t at, uint64_t size,
                                   uint32_t low, uint32_t end_low)
{
    const struct arena_side behind = arena_side_behind(arena, at + size, end_low);
    const struct arena_side before = arena_side_before(arena, at, low);
    const uint64_t end = at + size + behind.size;
    const bool was_victim =
        arena->victim != 0 && (behind.at == arena->victim || before.at == arena->victim);

    if (behind.size != 0)
        arena_take(arena, &behind);
    else
        arena_set_flag(end, true);
    if (before.size != 0) {
        arena_take(arena, &before);
        arena_set_tag(arena, at, ARENA_FREE); /* it must not look in use for ever */
    }
    if (was_victim && end - before.at <= ARENA_VICTIM_MAX) {
        arena_set_tag(arena, before.at, ARENA_FREE);
        arena->victim = before.at;
        arena->victim_end = end;
    } else {
        arena_link_free(arena, before.at, end - before.at);
    }
}

/* Merge the waiting blocks of one size. */
static inline void arena_merge_list(struct loam_arena *arena, unsigned index)
{
    const uint64_t size = index * (uint64_t)ARENA_UNIT;

    while (arena->quick[index] != 0) { /* as many as wait */
        const uint64_t at = arena_quick_pop(arena, index);
        LOAM_REQUIRE(arena_tag_holds(arena, at + size), ARENA_RULE_FREE, at + ARENA_HEADER, 0);
        arena_make_free(arena, at, size, arena_low(at), arena_low(at + size));
    }
}

#endif
