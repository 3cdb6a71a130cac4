/*
 * arena_find.h - where in an arena's bins a request goes, and cutting it out. Only
 * arena.c includes it.
 */
#ifndef LOAM_INTERNAL_ARENA_FIND_H
#define LOAM_INTERNAL_ARENA_FIND_H

#include "arena_block.h"

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
    unsigned bin;      /* where it hangs */
    uint64_t gap;      /* bytes that stay free before */
};

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

/* First bin of which every block fits. */
static inline unsigned arena_bin_sure(const struct arena_shape *shape)
{
    const uint64_t gap_max = shape->align <= ARENA_UNIT ? 0 : shape->align + ARENA_BLOCK_MIN;

    return arena_bin_of(shape->need + gap_max) + 1;
}

/*
 * Find a free block: from the bin of its size upwards, at most @p look that do
 * not fit, then from where every block fits.
 */
static inline bool arena_search(struct loam_arena *arena, const struct arena_shape *shape,
                                unsigned look, struct arena_place *place)
{
    place->bin = arena_bin_next(arena, arena_bin_of(shape->need));
    while (place->bin < LOAM_ARENA_BIN_COUNT) { /* terminates: upwards */
        uint64_t node = arena->bin[place->bin];
        while (node != 0) { /* terminates: look */
            if (arena_try(arena, shape, node, place))
                return true;
            arena_require_linked(arena, node);
            node = look == 0 ? 0 : arena_link(arena, node);
            look -= look != 0;
        }
        unsigned bin = place->bin + 1;
        if (look == 0 && bin < arena_bin_sure(shape))
            bin = arena_bin_sure(shape);
        place->bin = arena_bin_next(arena, bin);
    }
    return false;
}

/* Make [at, at + need) of a free block of a bin, which is sound, no free memory.
 * @return bytes from @p at on that are not: what is left is nothing or a block */
static inline uint64_t arena_cut(struct loam_arena *arena, const struct arena_place *place,
                                 uint64_t at, uint64_t need)
{
    const uint64_t node = place->at + ARENA_HEADER;
    const uint64_t end = place->at + place->size;
    const uint64_t rest = end - at - need;

    arena_require_linked(arena, node);
    if (rest >= ARENA_BLOCK_MIN) {
        arena_move_free(arena, node, place->bin, at + need, rest);
    } else {
        LOAM_REQUIRE(arena_tag_holds(arena, end), ARENA_RULE_FREE, node, 0);
        arena_unlink(arena, node);
        arena_set_flag(end, false);
        need += rest;
    }
    if (at != place->at)
        arena_link_free(arena, place->at, at - place->at);
    return need;
}

#endif
