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
#include "internal/digest.h"
#include "internal/inject.h"

#define ARENA_LOOK      2u  /* free blocks that may not fit, looked at for a request */
#define ARENA_LOOK_LAST 64u /* the same before it fails */
#define ARENA_QUICK_MAX (ARENA_QUICK_END - 16 - ARENA_HEADER) /* bytes of a request */

LOAM_STATIC_ASSERT(LOAM_ARENA_QUICK_COUNT == 128, "bins double from 128 on");
LOAM_STATIC_ASSERT(ARENA_QUICK_END <= ARENA_SMALL_MAX, "waiting blocks have small tags");
LOAM_STATIC_ASSERT(ARENA_BLOCK_MIN % ARENA_UNIT == 0, "sizes are multiples of the unit");
LOAM_STATIC_ASSERT(ARENA_BLOCK_MIN - ARENA_UNIT <= ARENA_SLACK_MAX, "what carving leaves over");

/* What a request needs of a free block. */
struct arena_shape {
    uint64_t need;   /* bytes, header included */
    uint64_t align;  /* of what the caller gets */
    uint64_t header; /* bytes before that */
    uint64_t asked;
};

/* Where in a free block it goes. */
struct arena_place {
    uint64_t at, size; /* the free block */
    uint64_t gap;      /* bytes that stay free before */
};

/* ---- allocation ---------------------------------------------------------- */

static inline struct arena_shape arena_shape_of(size_t size_bytes, size_t align)
{
    const uint64_t round = (align < 16 ? ARENA_UNIT : 16) - 1;
    struct arena_shape shape = { 0, align, ARENA_HEADER, size_bytes };

    shape.need = (size_bytes + shape.header + round) & ~round;
    if (shape.need > ARENA_SMALL_MAX) {
        shape.header = ARENA_HEADER_BIG;
        shape.need = (size_bytes + shape.header + round) & ~round;
    }
    if (shape.need < ARENA_BLOCK_MIN)
        shape.need = align < 16 ? ARENA_BLOCK_MIN : 32;
    return shape;
}

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

/* Does the request fit into a free block, with nothing or a block's worth
 * before it? */
static inline bool arena_fits(struct arena_place *place, const struct arena_shape *shape)
{
    const uint64_t gap = -(place->at + shape->header) & (shape->align - 1);

    place->gap = gap == 0 || gap >= ARENA_BLOCK_MIN ? gap : gap + shape->align;
    return shape->need <= place->size && place->gap <= place->size - shape->need;
}

/* Look at a free block of a bin. */
static inline bool arena_try(const struct loam_arena *arena, const struct arena_shape *shape,
                             uint64_t node, struct arena_place *place)
{
    place->at = node - ARENA_HEADER;
    LOAM_REQUIRE(arena_free_is_sound(arena, place->at), ARENA_RULE_FREE, node, 0);
    place->size = arena_free_size(place->at);
    return arena_fits(place, shape);
}

/*
 * Find a free block: from the bin of its size upwards, at most @p look that do
 * not fit, then from where every block fits.
 */
static bool arena_search(struct loam_arena *arena, const struct arena_shape *shape, unsigned look,
                         struct arena_place *place)
{
    const uint64_t gap_max = shape->align <= ARENA_UNIT ? 0 : shape->align + ARENA_BLOCK_MIN;
    const unsigned sure = arena_bin_of(shape->need + gap_max) + 1;
    unsigned bin = arena_bin_next(arena, arena_bin_of(shape->need));

    while (bin < LOAM_ARENA_BIN_COUNT) { /* terminates: upwards */
        uint64_t node = arena_bin_first(arena, bin);
        while (node != 0) { /* terminates: look */
            if (arena_try(arena, shape, node, place))
                return true;
            LOAM_REQUIRE(arena_link_is_sound(arena, node), ARENA_RULE_FREE, node, 0);
            const uint64_t next = arena_link(node);
            node = look == 0 ? 0 : next;
            look -= look != 0;
        }
        bin = arena_bin_next(arena, look == 0 && bin < sure ? sure : bin + 1);
    }
    return false;
}

/* What carving leaves: the next victim if it is small, else for the bins. */
static inline void arena_leave(struct loam_arena *arena, uint64_t at, uint64_t size)
{
    if (size > ARENA_VICTIM_MAX) {
        arena_link_free(arena, at, size);
        return;
    }
    arena_drop_victim(arena);
    arena_set_tag(arena, at, ARENA_FREE);
    arena->victim = at;
    arena->victim_end = at + size;
}

/* Turn part of a free block of a bin, which is sound, into a block in use. */
static inline void *arena_carve(struct loam_arena *arena, const struct arena_place *place,
                                const struct arena_shape *shape)
{
    const uint64_t at = place->at + place->gap;
    const uint64_t end = place->at + place->size;
    uint64_t rest = end - at - shape->need;

    arena_require_linked(arena, place->at + ARENA_HEADER);
    if (rest < ARENA_BLOCK_MIN)
        LOAM_REQUIRE(arena_tag_holds(arena, end), ARENA_RULE_FREE, place->at + ARENA_HEADER, 0);
    arena_unlink(arena, place->at + ARENA_HEADER, place->size);
    if (rest >= ARENA_BLOCK_MIN) {
        arena_leave(arena, end - rest, rest);
    } else {
        rest = 0;
        arena_set_flag(end, false);
    }
    if (place->gap != 0)
        arena_link_free(arena, place->at, place->gap);
    return arena_hand_out(arena, at, end - rest - at, shape, place->gap != 0 ? ARENA_PREV_FREE : 0);
}

/* Carve from the victim, where that leaves nothing or a block. @return NULL: it
 * does not */
static inline void *arena_carve_victim(struct loam_arena *arena, const struct arena_shape *shape)
{
    const uint64_t at = arena->victim;
    const uint64_t rest = arena->victim_end - at - shape->need;

    if (arena->victim_end - at < shape->need || (rest != 0 && rest < ARENA_BLOCK_MIN))
        return NULL;
    LOAM_REQUIRE(arena_tag_holds(arena, at), ARENA_RULE_FREE, at + ARENA_HEADER, 0);
    if (rest != 0) {
        arena->victim = at + shape->need;
        arena_set_tag(arena, arena->victim, ARENA_FREE);
    } else {
        LOAM_REQUIRE(arena_tag_holds(arena, arena->victim_end), ARENA_RULE_FREE, at + ARENA_HEADER,
                     0);
        arena_set_flag(arena->victim_end, false);
        arena->victim = 0;
        arena->victim_end = 0;
    }
    return arena_hand_out(arena, at, shape->need, shape, 0);
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
        arena_drop_victim(arena);
        if (arena_search(arena, shape, ARENA_LOOK_LAST, &place))
            return arena_carve(arena, &place, shape);
        if (!arena_ask_for_more(arena, shape->asked, shape->align))
            return NULL;
    }
}

/* Is there so much memory that merging may wait? */
static inline bool arena_may_wait(const struct loam_arena *arena)
{
    return arena->deferred_count < arena->deferred_max && arena->used_bytes < arena->span_bytes / 2;
}

/* Allocate from bins and victim. */
__attribute__((noinline, flatten)) static void *arena_alloc_slowly(struct loam_arena *arena,
                                                                   size_t size_bytes, size_t align)
{
    struct arena_place place;

    if (!loam_is_power_of_two(align) || size_bytes >= ARENA_SIZE_LIMIT || align >= ARENA_SIZE_LIMIT)
        return NULL;
    const struct arena_shape shape = arena_shape_of(size_bytes, align);
    if (align > ARENA_UNIT || shape.need >= ARENA_QUICK_END)
        return arena_search(arena, &shape, ARENA_LOOK, &place) ? arena_carve(arena, &place, &shape)
                                                               : arena_alloc_hard(arena, &shape);

    /* Small blocks keep just the size of their class: what is left is nothing or a block. */
    uint64_t node = arena_bin_first(arena, (unsigned)(shape.need / ARENA_UNIT));
    if (node == 0) {
        void *const block = arena_carve_victim(arena, &shape);
        if (block != NULL)
            return block;
        const unsigned bin = arena_bin_next(arena, arena_bin_of(shape.need + ARENA_BLOCK_MIN));
        if (bin == LOAM_ARENA_BIN_COUNT)
            return arena_alloc_hard(arena, &shape);
        node = arena_bin_first(arena, bin);
    }
    return arena_try(arena, &shape, node, &place) ? arena_carve(arena, &place, &shape)
                                                  : arena_alloc_hard(arena, &shape);
}

/* Quick list that serves a small request. */
static inline unsigned arena_quick_for(size_t size_bytes, size_t align)
{
    const size_t round = align < 16 ? ARENA_UNIT - 1 : 15;
    const unsigned units = (unsigned)(((size_bytes + ARENA_HEADER + round) & ~round) / ARENA_UNIT);
    const unsigned least = align < 16 ? ARENA_BLOCK_MIN / ARENA_UNIT : 4;

    return units > least ? units : least;
}

/* Give out a waiting block of just the right size. @return NULL: there is none */
static inline void *arena_alloc_waiting(struct loam_arena *arena, size_t size_bytes, size_t align)
{
    if (size_bytes > ARENA_QUICK_MAX || !loam_is_power_of_two(align))
        return NULL;
    const unsigned index = arena_quick_for(size_bytes, align);
    if (arena->quick[index] == 0 || (arena->quick[index] & (align - 1)) != 0)
        return NULL;
    const uint64_t size = index * (uint64_t)ARENA_UNIT;
    const uint64_t slack = size - ARENA_HEADER - size_bytes;
    const uint64_t at = arena_quick_pop(arena, index);

    *arena_u32_at(at) ^=
        ((slack != 0 ? ARENA_PADDED : 0) | (ARENA_USED ^ ARENA_WAITING)) * ARENA_BOTH;
    arena_pad_new(at + size, slack);
    arena_count_used(arena, size);
    arena->used_count++;
    return (void *)(uintptr_t)(at + ARENA_HEADER);
}

void *loam_arena_alloc(struct loam_arena *arena, size_t size_bytes, size_t align)
{
    if (LOAM_INJECT("arena.alloc"))
        return NULL;
    void *const block = arena_alloc_waiting(arena, size_bytes, align);
    return block != NULL ? block : arena_alloc_slowly(arena, size_bytes, align);
}

/* ---- free ---------------------------------------------------------------- */

/* Let a checked block wait, or merge it. Whose it was counts elsewhere.
 * @param low its tag in use, which need not be there yet */
static inline void arena_put(struct loam_arena *arena, uint64_t at, uint64_t size, uint32_t low,
                             uint32_t end_low)
{
    if (size <= ARENA_QUICK_MAX + ARENA_HEADER && !arena_low_is_large(low) && arena_may_wait(arena))
        arena_quick_push(arena, at, low);
    else
        arena_make_free(arena, at, size, low, end_low);
}

static inline void arena_give(struct loam_arena *arena, const struct arena_used *used)
{
    arena_put(arena, used->at, used->size, used->low, used->end_low);
    arena->used_bytes -= used->size;
    arena->used_count--;
}

/* Free a block of any size, or panic. */
__attribute__((noinline, flatten)) static void arena_free_slowly(struct loam_arena *arena,
                                                                 void *block, size_t size_bytes,
                                                                 bool is_sized)
{
    const uint64_t pointer = (uint64_t)(uintptr_t)block;

    if (block == NULL)
        return;
    if (!arena_is_hot(arena, pointer))
        arena_make_hot(arena, pointer);
    const struct arena_used used = arena_used_of(arena, block);
    LOAM_REQUIRE(!is_sized || size_bytes == used.asked, ARENA_RULE_SIZE, pointer, used.asked);
    arena_give(arena, &used);
}

void loam_arena_free(struct loam_arena *arena, void *block)
{
    arena_free_slowly(arena, block, 0, false);
}

/* What is not just as a small block of this size must be goes the slow way. */
void loam_arena_free_sized(struct loam_arena *arena, void *block, size_t size_bytes)
{
    const uint64_t node = (uint64_t)(uintptr_t)block;
    const uint64_t at = node - ARENA_HEADER;

    if (size_bytes <= ARENA_QUICK_MAX && node % ARENA_UNIT == 0 && arena_is_hot(arena, node) &&
        arena_may_wait(arena)) {
        /* Nearly always what its tag says, but known before that is there. */
        unsigned index = arena_quick_for(size_bytes, 1);
        if (index != arena_low(at) >> ARENA_SIZE_SHIFT)
            index += index % 2; /* it was aligned to 16 or more */
        const uint64_t size = index * (uint64_t)ARENA_UNIT;
        const uint64_t slack = size - ARENA_HEADER - size_bytes;
        const uint32_t low = index << ARENA_SIZE_SHIFT | (slack != 0 ? ARENA_PADDED : 0) |
                             ARENA_USED | (arena_low(at) & ARENA_PREV_FREE);
        if (*arena_u32_at(at) == arena_tag(arena, at, low) && arena_tag_holds(arena, at + size) &&
            arena_padding_holds(at + size, slack)) {
            arena_quick_push(arena, at, low);
            arena->used_bytes -= size;
            arena->used_count--;
            return;
        }
    }
    arena_free_slowly(arena, block, size_bytes, true);
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
        const bool is_small = rest < ARENA_QUICK_END;
        const uint32_t low =
            ARENA_USED | (is_small ? (uint32_t)(rest / ARENA_UNIT) << ARENA_SIZE_SHIFT : 0);
        arena_put(arena, tail, rest, low, used->end_low);
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

void *loam_arena_realloc(struct loam_arena *arena, void *block, size_t size_bytes, size_t align)
{
    const uint64_t pointer = (uint64_t)(uintptr_t)block;

    if (block == NULL)
        return loam_arena_alloc(arena, size_bytes, align);
    if (!arena_is_hot(arena, pointer))
        arena_make_hot(arena, pointer);
    struct arena_used used = arena_used_of(arena, block);
    if (!loam_is_power_of_two(align) || size_bytes >= ARENA_SIZE_LIMIT || align >= ARENA_SIZE_LIMIT)
        return NULL;
    const bool is_aligned = (pointer & (align - 1)) == 0;
    if (is_aligned && arena_resize(arena, &used, size_bytes, align))
        return block;
    void *moved = arena_alloc_waiting(arena, size_bytes, align);
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

size_t loam_arena_usable(const struct loam_arena *arena, const void *block)
{
    return arena_used_of(arena, block).asked;
}

/* ---- state --------------------------------------------------------------- */

void loam_arena_init(struct loam_arena *arena)
{
    __builtin_memset(arena, 0, sizeof(*arena));
    arena->cookie = loam_digest_add(LOAM_DIGEST_START, loam_virt_of(arena).addr);
    arena->deferred_max = LOAM_ARENA_DEFERRED_DEFAULT;
}

bool loam_arena_owns(const struct loam_arena *arena, const void *block)
{
    return arena_holds(arena, (uint64_t)(uintptr_t)block);
}

void loam_arena_merge(struct loam_arena *arena)
{
    for (unsigned i = 0; i < LOAM_ARENA_QUICK_COUNT && arena->deferred_count != 0; i++)
        arena_merge_list(arena, i);
    LOAM_REQUIRE(arena->deferred_count == 0, ARENA_RULE_FREE, 0, arena->deferred_count);
}
