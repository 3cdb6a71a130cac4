/*
 * arena.c - see arena.h; internal/arena_tag.h has the layout of blocks,
 * internal/arena_bin.h the lists of free ones, internal/span_tree.h the spans.
 *
 * Invariants: blocks tile [first, end) of each span; the tag of a block says
 * that the one before is free if and only if it is; no two free blocks touch;
 * every free block is in the bin of its size, every waiting one in the quick
 * list of its size, in no other list and no block else. To its neighbours a
 * waiting block is in use.
 *
 * Everything is checked before anything is changed, so that a panic leaves the
 * evidence as it was.
 */
#include <loam/arena.h>

#include "internal/arena_block.h"
#include "internal/arena_find.h"
#include "internal/digest.h"
#include "internal/inject.h"

#define ARENA_LOOK        2u  /* free blocks that do not fit, looked at if any alignment will do */
#define ARENA_LOOK_LAST   64u /* the same for any request before it fails */
#define ARENA_WAITING_MAX (ARENA_QUICK_END - 16) /* bytes of a block that a request may get again */
#define ARENA_QUICK_MAX   (ARENA_WAITING_MAX - ARENA_HEADER) /* bytes of such a request */

LOAM_STATIC_ASSERT(LOAM_ARENA_QUICK_COUNT == 128, "bins double from 128 on");
LOAM_STATIC_ASSERT(ARENA_BLOCK_MIN % ARENA_UNIT == 0, "sizes are multiples of the unit");
LOAM_STATIC_ASSERT(ARENA_BLOCK_MIN - ARENA_UNIT <= ARENA_SLACK_MAX, "what carving leaves over");

/* ---- allocation ---------------------------------------------------------- */

/* Write the header of a block in use. @return bytes to pad */
static inline uint64_t arena_set_used(const struct loam_arena *arena, uint64_t at, uint64_t size,
                                      const struct arena_shape *shape, uint32_t prev_free)
{
    const uint64_t slack = size - shape->header - shape->asked;
    uint32_t low = ARENA_USED | prev_free | (slack != 0 ? ARENA_PADDED : 0);

    if (shape->header == ARENA_HEADER) {
        low |= (uint32_t)(size / ARENA_UNIT) << ARENA_SIZE_SHIFT;
    } else {
        *arena_u64_at(at + 4) = size;
        *arena_u32_at(at + 12) = arena_size_check(arena, at, size);
        arena_set_tag(arena, at + 16, ARENA_BACK);
    }
    arena_set_tag(arena, at, low);
    return slack;
}

static inline void arena_count_used(struct loam_arena *arena, uint64_t size)
{
    arena->used_bytes += size;
    if (arena->used_bytes > arena->peak_bytes)
        arena->peak_bytes = arena->used_bytes;
}

static inline void *arena_hand_out(struct loam_arena *arena, uint64_t at, uint64_t size,
                                   const struct arena_shape *shape, uint32_t prev_free)
{
    const uint64_t slack = arena_set_used(arena, at, size, shape, prev_free);

    if (slack != 0)
        arena_pad_new(at + size, slack);
    arena_count_used(arena, size);
    arena->used_count++;
    return (void *)(uintptr_t)(at + shape->header);
}

/* Turn part of a free block of a bin, which is sound, into a block in use. */
static inline void *arena_carve(struct loam_arena *arena, const struct arena_place *place,
                                const struct arena_shape *shape)
{
    const uint64_t at = place->at + place->gap;
    const uint64_t size = arena_cut(arena, place, at, shape->need);

    return arena_hand_out(arena, at, size, shape, place->gap != 0 ? ARENA_PREV_FREE : 0);
}

/* Ask the handler. @return true: it did something that may help */
static bool arena_ask_for_more(struct loam_arena *arena, size_t size_bytes, size_t align)
{
    const struct loam_arena_request request = { size_bytes, align };
    const size_t span_bytes = arena->span_bytes;
    const size_t used_bytes = arena->used_bytes;

    if (arena->oom == NULL || arena->in_oom)
        return false;
    arena->in_oom = true;
    const bool again = arena->oom(arena, &request);
    arena->in_oom = false;
    return again && (arena->span_bytes > span_bytes || arena->used_bytes < used_bytes);
}

/* Allocate where little was found: merge, look at all, ask. */
__attribute__((noinline)) static void *arena_alloc_hard(struct loam_arena *arena,
                                                        const struct arena_shape *shape)
{
    struct arena_place place;

    for (;;) { /* ends: the handler helps no more */
        loam_arena_merge(arena);
        if (arena_search(arena, shape, ARENA_LOOK_LAST, &place))
            return arena_carve(arena, &place, shape);
        if (!arena_ask_for_more(arena, shape->asked, shape->align))
            return NULL;
    }
}

/* Is half of the memory in use? Then nothing waits any more. */
static inline bool arena_is_scarce(const struct loam_arena *arena)
{
    return arena->used_bytes >= arena->span_bytes / 2;
}

/* Do so many blocks wait that some should be merged? */
static inline bool arena_has_too_many(const struct loam_arena *arena)
{
    return arena->deferred_count > (arena_is_scarce(arena) ? 0 : arena->used_count);
}

static inline bool arena_may_wait(const struct loam_arena *arena)
{
    return arena->deferred_count < arena->deferred_max && !arena_is_scarce(arena);
}

/* ---- waiting blocks ------------------------------------------------------ */

/* Units of the block for a small request that needs no alignment. */
static inline unsigned arena_units_for(size_t size_bytes)
{
    const unsigned units = (unsigned)((size_bytes + ARENA_HEADER + ARENA_UNIT - 1) / ARENA_UNIT);

    return units > ARENA_BLOCK_MIN / ARENA_UNIT ? units : ARENA_BLOCK_MIN / ARENA_UNIT;
}

/* Hand out the first block of a quick list. */
static inline void *arena_hand_out_waiting(struct loam_arena *arena, unsigned units,
                                           size_t size_bytes)
{
    const uint64_t size = units * (uint64_t)ARENA_UNIT;
    const uint64_t slack = size - ARENA_HEADER - size_bytes;
    const uint64_t at = arena_quick_pop(arena, units);

    arena_flip(at, ARENA_USED ^ ARENA_WAITING ^ (slack != 0 ? ARENA_PADDED : 0));
    arena_pad_few(at + size, slack);
    arena_count_used(arena, size);
    arena->used_count++;
    return (void *)(uintptr_t)(at + ARENA_HEADER);
}

/* Give out a waiting block. @return NULL: there is none of just the right size, or it is not
 * aligned */
static inline void *arena_alloc_waiting(struct loam_arena *arena, size_t size_bytes, size_t align)
{
    if (size_bytes > ARENA_QUICK_MAX)
        return NULL;
    unsigned units = arena_units_for(size_bytes);
    if (align >= 16)
        units += units % 2;
    if (arena->quick[units] == 0 || (arena->quick[units] & (align - 1)) != 0)
        return NULL;
    return arena_hand_out_waiting(arena, units, size_bytes);
}

/* ---- allocation, all in all ---------------------------------------------- */

/* Allocate from the bins. */
static inline void *arena_alloc_merged(struct loam_arena *arena, const struct arena_shape *shape)
{
    struct arena_place place;

    if (arena_has_too_many(arena))
        arena_merge_some(arena);
    return arena_search(arena, shape, shape->align <= ARENA_UNIT ? ARENA_LOOK : 0, &place)
               ? arena_carve(arena, &place, shape)
               : arena_alloc_hard(arena, shape);
}

/* Allocate a small block from the bins, of just this size or where a block is left. */
__attribute__((noinline, flatten)) static void *arena_alloc_small(struct loam_arena *arena,
                                                                  unsigned units, size_t size_bytes)
{
    const uint64_t need = units * (uint64_t)ARENA_UNIT;
    unsigned bin = units;

    if (arena_has_too_many(arena))
        arena_merge_some(arena);
    uint64_t node = arena->bin[bin];
    if (node == 0) {
        bin = arena_bin_next(arena, units + ARENA_BLOCK_MIN / ARENA_UNIT);
        if (bin == LOAM_ARENA_BIN_COUNT) {
            const struct arena_shape shape = arena_shape_of(size_bytes, ARENA_UNIT);
            return arena_alloc_hard(arena, &shape);
        }
        node = arena->bin[bin];
    }
    const struct arena_place place = { node - ARENA_HEADER, arena_free_size(node - ARENA_HEADER),
                                       bin, 0 };
    LOAM_REQUIRE(arena_free_is_sound(arena, place.at) && place.size >= need, ARENA_RULE_FREE, node,
                 0);
    (void)arena_cut(arena, &place, place.at, need);
    const uint64_t slack = need - ARENA_HEADER - size_bytes;
    arena_set_tag(arena, place.at,
                  units << ARENA_SIZE_SHIFT | ARENA_USED | (slack != 0 ? ARENA_PADDED : 0));
    arena_pad_new(place.at + need, slack);
    arena_count_used(arena, need);
    arena->used_count++;
    return (void *)(uintptr_t)node;
}

__attribute__((noinline, flatten)) static void *arena_alloc_slowly(struct loam_arena *arena,
                                                                   size_t size_bytes, size_t align)
{
    if (size_bytes >= ARENA_SIZE_LIMIT || align >= ARENA_SIZE_LIMIT)
        return NULL;
    void *const block = arena_alloc_waiting(arena, size_bytes, align);
    if (block != NULL)
        return block;
    const struct arena_shape shape = arena_shape_of(size_bytes, align);
    return arena_alloc_merged(arena, &shape);
}

void *loam_arena_alloc(struct loam_arena *arena, size_t size_bytes, size_t align)
{
    if (LOAM_INJECT("arena.alloc") || !loam_is_power_of_two(align))
        return NULL;
    if (size_bytes > ARENA_QUICK_MAX || align > ARENA_UNIT)
        return arena_alloc_slowly(arena, size_bytes, align);
    const unsigned units = arena_units_for(size_bytes);
    return arena->quick[units] != 0 ? arena_hand_out_waiting(arena, units, size_bytes)
                                    : arena_alloc_small(arena, units, size_bytes);
}

/* ---- free ---------------------------------------------------------------- */

static inline void arena_count_freed(struct loam_arena *arena, uint64_t size)
{
    arena->used_bytes -= size;
    arena->used_count--;
}

static inline void arena_give(struct loam_arena *arena, const struct arena_used *used)
{
    if (used->size <= ARENA_WAITING_MAX && used->header == ARENA_HEADER && arena_may_wait(arena))
        arena_quick_push(arena, used->at, (unsigned)(used->size / ARENA_UNIT),
                         used->low & ARENA_PADDED);
    else
        arena_make_free(arena, used->at, used->size, used->low, used->end_low);
    arena_count_freed(arena, used->size);
}

/* Free a block of any size, or panic. */
__attribute__((noinline, flatten)) static void arena_free_slowly(struct loam_arena *arena,
                                                                 void *block, size_t size_bytes,
                                                                 bool is_sized)
{
    const uint64_t pointer = (uint64_t)(uintptr_t)block;

    if (block == NULL)
        return;
    if (!arena_is_hot(arena, pointer - ARENA_HEADER))
        arena_make_hot(arena, pointer);
    const struct arena_used used = arena_used_of(arena, block);
    LOAM_REQUIRE(!is_sized || size_bytes == used.asked, ARENA_RULE_SIZE, pointer, used.asked);
    arena_give(arena, &used);
}

void loam_arena_free(struct loam_arena *arena, void *block)
{
    arena_free_slowly(arena, block, 0, false);
}

/* Is there a live block of @p units at @p at, whole, of which @p size_bytes were asked for? The
 * end is looked for before the tag is there. */
static inline bool arena_is_used(const struct loam_arena *arena, uint64_t at, unsigned units,
                                 size_t size_bytes)
{
    const uint64_t end = at + units * (uint64_t)ARENA_UNIT;
    const uint64_t slack = end - at - ARENA_HEADER - size_bytes;
    const uint32_t low = units << ARENA_SIZE_SHIFT | (slack != 0 ? ARENA_PADDED : 0) | ARENA_USED |
                         (*arena_u32_at(at) & ARENA_PREV_FREE);

    return *arena_u32_at(at) == arena_tag(arena, at, low) && arena_tag_holds(arena, end) &&
           arena_few_hold(end, slack);
}

/* Units of the live block that the caller names, whole, of which @p size_bytes were asked for, if
 * it is as small as it can be; 0: it is none of that kind. */
static inline unsigned arena_usual_units(const struct loam_arena *arena, uint64_t node,
                                         size_t size_bytes)
{
    const unsigned units = arena_units_for(size_bytes);

    return size_bytes <= ARENA_QUICK_MAX && arena_is_hot(arena, node - ARENA_HEADER) &&
                   arena_is_used(arena, node - ARENA_HEADER, units, size_bytes)
               ? units
               : 0;
}

/* Let a checked small block wait: all is well with it. */
static inline void arena_let_wait(struct loam_arena *arena, uint64_t at, unsigned units)
{
    arena_quick_push(arena, at, units, arena_low(at) & ARENA_PADDED);
    arena_count_freed(arena, units * (uint64_t)ARENA_UNIT);
}

/* Merge a checked small block. */
__attribute__((noinline, flatten)) static void arena_free_merged(struct loam_arena *arena,
                                                                 uint64_t at, unsigned units)
{
    const uint64_t size = units * (uint64_t)ARENA_UNIT;

    arena_make_free(arena, at, size, arena_low(at), arena_low(at + size));
    arena_count_freed(arena, size);
}

/* What is not just as a small block of this size must be goes the slow way. */
void loam_arena_free_sized(struct loam_arena *arena, void *block, size_t size_bytes)
{
    const uint64_t node = (uint64_t)(uintptr_t)block;
    const unsigned units = arena_usual_units(arena, node, size_bytes);

    if (units == 0)
        arena_free_slowly(arena, block, size_bytes, true);
    else if (arena_may_wait(arena))
        arena_let_wait(arena, node - ARENA_HEADER, units);
    else
        arena_free_merged(arena, node - ARENA_HEADER, units);
}

/* ---- realloc ------------------------------------------------------------- */

/* Write header and padding of a block in use whose contents count. */
static inline void arena_set_kept(struct loam_arena *arena, uint64_t at, uint64_t size,
                                  const struct arena_shape *shape, uint32_t prev_free)
{
    const uint64_t slack = arena_set_used(arena, at, size, shape, prev_free);

    if (slack != 0)
        arena_pad_behind(at + size, slack);
}

/* Make the rest of [at, end), behind @p need bytes, a free block, if it can be one.
 * @return bytes that belong to the block before it */
static inline uint64_t arena_leave_rest(struct loam_arena *arena, uint64_t at, uint64_t need,
                                        uint64_t end)
{
    const bool is_block = end - at - need >= ARENA_BLOCK_MIN;

    arena_set_flag(end, is_block);
    if (!is_block)
        return end - at;
    arena_link_free(arena, at + need, end - at - need);
    return need;
}

/* Split the end off a block in use, if it makes a block. */
static inline void arena_shrink(struct loam_arena *arena, const struct arena_used *used,
                                const struct arena_shape *shape)
{
    const uint64_t tail = used->at + shape->need;
    const uint64_t rest = used->size - shape->need;
    uint64_t size = used->size;

    if (rest >= ARENA_BLOCK_MIN) {
        if (rest <= ARENA_WAITING_MAX && arena_may_wait(arena)) {
            arena_set_tag(arena, tail,
                          (uint32_t)(rest / ARENA_UNIT) << ARENA_SIZE_SHIFT | ARENA_USED);
            arena_quick_push(arena, tail, (unsigned)(rest / ARENA_UNIT), 0);
        } else {
            arena_make_free(arena, tail, rest, ARENA_USED, used->end_low);
        }
        arena->used_bytes -= rest;
        size = shape->need;
    }
    arena_set_kept(arena, used->at, size, shape, used->low & ARENA_PREV_FREE);
}

/* Change a block's size where it is: its header stays what it is. */
static inline bool arena_resize(struct loam_arena *arena, const struct arena_used *used,
                                size_t size_bytes, size_t align)
{
    const uint64_t round = ARENA_UNIT - 1;
    struct arena_shape shape = { (size_bytes + used->header + round) & ~round, align, used->header,
                                 size_bytes };
    const uint64_t next = used->at + used->size;

    if (used->header == ARENA_HEADER && shape.need > ARENA_SMALL_MAX)
        return false;
    if (shape.need < ARENA_BLOCK_MIN)
        shape.need = ARENA_BLOCK_MIN;
    if (shape.need <= used->size) {
        arena_shrink(arena, used, &shape);
        return true;
    }
    const struct arena_side behind = arena_side_behind(arena, next, used->end_low);
    if (shape.need - used->size > behind.size)
        return false;
    LOAM_REQUIRE(arena_tag_holds(arena, next + behind.size), ARENA_RULE_FREE, next + ARENA_HEADER,
                 0);
    arena_take(arena, &behind);
    const uint64_t grown = arena_leave_rest(arena, used->at, shape.need, next + behind.size);
    arena_set_kept(arena, used->at, grown, &shape, used->low & ARENA_PREV_FREE);
    arena->used_bytes -= used->size;
    arena_count_used(arena, grown);
    return true;
}

/* Move a block down into free memory before it. @return its new address, or NULL */
static void *arena_move_down(struct loam_arena *arena, const struct arena_used *used,
                             const struct arena_shape *shape)
{
    const struct arena_side before = arena_side_before(arena, used->at, used->low);
    const struct arena_side behind = arena_side_behind(arena, used->at + used->size, used->end_low);
    const uint64_t end = used->at + used->size + behind.size;
    void *const moved = (void *)(uintptr_t)(before.at + shape->header);

    if (before.size == 0 || shape->need > end - before.at ||
        ((uint64_t)(uintptr_t)moved & (shape->align - 1)) != 0)
        return NULL;
    LOAM_REQUIRE(arena_tag_holds(arena, end), ARENA_RULE_FREE, end + ARENA_HEADER, 0);
    if (behind.size != 0)
        arena_take(arena, &behind);
    arena_take(arena, &before);
    arena_set_tag(arena, used->at, ARENA_FREE); /* it must not look in use for ever */
    __builtin_memmove(moved, (const void *)(uintptr_t)(used->at + used->header),
                      used->asked < shape->asked ? used->asked : shape->asked);
    const uint64_t grown = arena_leave_rest(arena, before.at, shape->need, end);
    arena_set_kept(arena, before.at, grown, shape, 0);
    arena->used_bytes -= used->size;
    arena_count_used(arena, grown);
    return moved;
}

/* Move a block elsewhere. @return its new address, or NULL */
static void *arena_move(struct loam_arena *arena, void *block, size_t asked,
                        const struct arena_shape *shape)
{
    void *const moved = loam_arena_alloc(arena, shape->asked, shape->align);

    if (moved == NULL)
        return NULL;
    __builtin_memcpy(moved, block, asked < shape->asked ? asked : shape->asked);
    arena_free_slowly(arena, block, asked, true);
    return moved;
}

/* Make a small block of @p units smaller or larger, or move it to one that waits.
 * @return NULL: it is not that simple */
static inline void *arena_realloc_small(struct loam_arena *arena, uint64_t node, unsigned units,
                                        const struct loam_resize *resize)
{
    const uint64_t at = node - ARENA_HEADER;
    const uint32_t low = arena_low(at);
    const unsigned wanted = arena_units_for(resize->size_bytes);
    unsigned kept = units;

    if (wanted > units) {
        if (arena->quick[wanted] == 0 || arena_is_free(at + units * (uint64_t)ARENA_UNIT))
            return NULL;
        void *const moved = arena_hand_out_waiting(arena, wanted, resize->size_bytes);
        __builtin_memcpy(moved, (const void *)(uintptr_t)node, resize->old_bytes);
        arena_let_wait(arena, at, units);
        return moved;
    }
    if (units - wanted >= ARENA_BLOCK_MIN / ARENA_UNIT) {
        const uint64_t tail = at + wanted * (uint64_t)ARENA_UNIT;
        arena_set_tag(arena, tail, (units - wanted) << ARENA_SIZE_SHIFT | ARENA_USED);
        arena_quick_push(arena, tail, units - wanted, 0);
        arena->used_bytes -= (units - wanted) * (uint64_t)ARENA_UNIT;
        kept = wanted;
    }
    const uint64_t end = at + kept * (uint64_t)ARENA_UNIT;
    const uint64_t slack = end - node - resize->size_bytes;
    arena_set_tag(arena, at,
                  kept << ARENA_SIZE_SHIFT | ARENA_USED | (low & ARENA_PREV_FREE) |
                      (slack != 0 ? ARENA_PADDED : 0));
    if (slack != 0)
        arena_pad_behind(end, slack);
    return (void *)(uintptr_t)node;
}

__attribute__((noinline)) static void *arena_realloc_slowly(struct loam_arena *arena, void *block,
                                                            const struct loam_resize *resize)
{
    const size_t size_bytes = resize->size_bytes;
    const size_t align = resize->align;
    const uint64_t pointer = (uint64_t)(uintptr_t)block;

    if (block == NULL)
        return loam_arena_alloc(arena, size_bytes, align);
    if (!arena_is_hot(arena, pointer - ARENA_HEADER))
        arena_make_hot(arena, pointer);
    struct arena_used used = arena_used_of(arena, block);
    LOAM_REQUIRE(resize->old_bytes == LOAM_SIZE_UNKNOWN || resize->old_bytes == used.asked,
                 ARENA_RULE_SIZE, pointer, used.asked);
    if (!loam_is_power_of_two(align) || size_bytes >= ARENA_SIZE_LIMIT || align >= ARENA_SIZE_LIMIT)
        return NULL;
    const bool is_aligned = (pointer & (align - 1)) == 0;
    if (is_aligned && arena_resize(arena, &used, size_bytes, align))
        return block;
    void *moved =
        size_bytes <= ARENA_QUICK_MAX ? arena_alloc_waiting(arena, size_bytes, align) : NULL;
    if (moved != NULL) { /* nothing has changed around the block */
        __builtin_memcpy(moved, block, used.asked < size_bytes ? used.asked : size_bytes);
        arena_give(arena, &used);
        return moved;
    }

    /* A large block is worth keeping together with its neighbours; a small one is moved
     * faster. */
    const struct arena_shape shape = arena_shape_of(size_bytes, align);
    const bool is_small = used.size < ARENA_QUICK_END;
    if (!is_small)
        moved = arena_move_down(arena, &used, &shape);
    if (moved == NULL)
        moved = arena_move(arena, block, used.asked, &shape);
    if (moved != NULL)
        return moved;
    /* Merging, or the handler, may have changed what is around. */
    used = arena_used_of(arena, block);
    if (is_aligned && arena_resize(arena, &used, size_bytes, align))
        return block;
    return arena_move_down(arena, &used, &shape);
}

void *loam_arena_realloc_sized(struct loam_arena *arena, void *block,
                               const struct loam_resize *resize)
{
    const uint64_t node = (uint64_t)(uintptr_t)block;

    if (resize->size_bytes <= ARENA_QUICK_MAX && resize->align <= ARENA_UNIT &&
        loam_is_power_of_two(resize->align)) {
        const unsigned units =
            arena_may_wait(arena) ? arena_usual_units(arena, node, resize->old_bytes) : 0;
        void *const kept = units != 0 ? arena_realloc_small(arena, node, units, resize) : NULL;
        if (kept != NULL)
            return kept;
    }
    return arena_realloc_slowly(arena, block, resize);
}

void *loam_arena_realloc(struct loam_arena *arena, void *block, size_t size_bytes, size_t align)
{
    const struct loam_resize resize = { LOAM_SIZE_UNKNOWN, size_bytes, align };

    return arena_realloc_slowly(arena, block, &resize);
}

size_t loam_arena_usable(const struct loam_arena *arena, const void *block)
{
    return arena_used_of(arena, block).asked;
}

/* ---- state --------------------------------------------------------------- */

void loam_arena_init(struct loam_arena *arena)
{
    __builtin_memset(arena, 0, sizeof(*arena));
    arena->cookie = loam_digest_add(LOAM_DIGEST_START, loam_virt_of(arena).addr);
    arena->tag_cookie = ((uint32_t)arena->cookie & ARENA_CHECK) | ARENA_PLACE;
    arena->deferred_max = LOAM_ARENA_DEFERRED_DEFAULT;
}

bool loam_arena_owns(const struct loam_arena *arena, const void *block)
{
    return arena_span_of(arena, (uint64_t)(uintptr_t)block) != NULL;
}

void loam_arena_merge(struct loam_arena *arena)
{
    for (unsigned i = 0; i < LOAM_ARENA_QUICK_COUNT && arena->deferred_count != 0; i++)
        while (arena->quick[i] != 0) /* as many as wait */
            arena_merge_first(arena, i);
    LOAM_REQUIRE(arena->deferred_count == 0, ARENA_RULE_FREE, 0, arena->deferred_count);
}
