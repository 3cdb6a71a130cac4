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

#define ARENA_MERGE_STEPS 2u /* waiting blocks merged, or empty lists passed, at a time */

/* Size of any block whose tag holds. */
static inline uint64_t arena_size(uint64_t at)
{
    return arena_is_free(at) ? arena_free_size(at) : arena_used_size(at);
}

/* ---- checks -------------------------------------------------------------- */

static inline void arena_make_hot(struct loam_arena *arena, uint64_t at)
{
    const struct loam_arena_span *span = arena_span_of(arena, at);

    arena->hot_start = span != NULL ? span->first : 0;
    arena->hot_units = span != NULL ? (span->end - span->first - ARENA_END_BYTES) / ARENA_UNIT : 0;
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
            (state == ARENA_FREE && !arena_free_holds(arena, block)) || state == ARENA_BACK ||
            (state == ARENA_USED && arena_low_is_large(arena_low(block)) &&
             !arena_large_holds(arena, block))) {
            *at = state == ARENA_USED && arena_low_is_large(arena_low(block))
                      ? block + ARENA_HEADER_BIG - ARENA_HEADER
                      : block;
            return ARENA_RULE_TAG;
        }
        if (*at - block < arena_size(block))
            return state == ARENA_USED ? ARENA_RULE_FOREIGN : ARENA_RULE_TWICE;
        block += arena_size(block);
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

    if (!arena_holds(arena, used.at))
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

    arena_flip(at, (*arena_u32_at(at) ^ wanted) & ARENA_PREV_FREE);
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
    side.size = arena_size_before(at);
    side.at = at - side.size;
    LOAM_REQUIRE(side.size != 0 && arena_holds(arena, side.at) &&
                     arena_free_is_sound(arena, side.at) && arena_free_size(side.at) == side.size,
                 ARENA_RULE_FREE, side.at + ARENA_HEADER, at + ARENA_HEADER);
    arena_require_linked(arena, side.at + ARENA_HEADER);
    return side;
}

/* Take a checked free block from its bin. */
static inline void arena_take(struct loam_arena *arena, const struct arena_side *side)
{
    arena_unlink(arena, side->at + ARENA_HEADER);
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

    if (behind.size == 0)
        arena_set_flag(end, true);
    if (before.size != 0) {
        if (behind.size != 0)
            arena_take(arena, &behind);
        arena_set_tag(arena, at, ARENA_FREE); /* it must not look in use for ever */
        arena_move_free(arena, before.at + ARENA_HEADER, arena_bin_of(before.size), before.at,
                        end - before.at);
    } else if (behind.size != 0) {
        arena_move_free(arena, behind.at + ARENA_HEADER, arena_bin_of(behind.size), at, end - at);
    } else {
        arena_link_free(arena, at, size);
    }
}

/* Merge the first block of a quick list. */
static inline void arena_merge_first(struct loam_arena *arena, unsigned index)
{
    const uint64_t size = index * (uint64_t)ARENA_UNIT;
    const uint64_t at = arena_quick_pop(arena, index);

    LOAM_REQUIRE(arena_tag_holds(arena, at + size), ARENA_RULE_FREE, at + ARENA_HEADER, 0);
    arena_make_free(arena, at, size, arena_low(at), arena_low(at + size));
}

/* Merge some of the blocks that wait: few will be left when there is no room. */
static inline void arena_merge_some(struct loam_arena *arena)
{
    for (unsigned step = 0; step < ARENA_MERGE_STEPS; step++) {
        if (arena->quick[arena->merge_next] != 0)
            arena_merge_first(arena, arena->merge_next);
        else
            arena->merge_next = (arena->merge_next + 1) % LOAM_ARENA_QUICK_COUNT;
    }
}

#endif
