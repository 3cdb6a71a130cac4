/*
 * arena_bin.h - where an arena's free blocks hang: bins of merged ones, quick
 * lists of those that wait; and the spans that links must not leave.
 *
 *     bin[0..127]    one size each, in units of 8 bytes
 *     bin[128..327]  eight per doubling: [1024, 1152) [1152, 1280) ... from 32 GiB
 *
 * Nodes are named by the address behind their tag, where the links are; 0: none.
 */
#ifndef LOAM_INTERNAL_ARENA_BIN_H
#define LOAM_INTERNAL_ARENA_BIN_H

#include "arena_tag.h"
#include "span_tree.h"

#define ARENA_RULE_FREE "arena: free block is damaged"

/* ---- spans --------------------------------------------------------------- */

/* Bytes before a span's end where no block's own memory starts: so much can be
 * read from any other address in it. */
#define ARENA_END_BYTES 16u

/* The span among whose blocks an address lies, or NULL. */
__attribute__((noinline)) static struct loam_arena_span *arena_span_of(
    const struct loam_arena *arena, uint64_t at)
{
    struct loam_arena_span *span = span_tree_at_or_below(arena->root, at);

    return span != NULL && at - span->first < span->end - span->first - ARENA_END_BYTES ? span
                                                                                        : NULL;
}

/* May a block start there, as far as the span used last tells? No if it is not 4 modulo 8, as the
 * span's first is: what is left over turns up at the top. */
static inline bool arena_is_hot(const struct loam_arena *arena, uint64_t at)
{
    const uint64_t offset = at - arena->hot_start;

    return (offset >> 3 | offset << 61) < arena->hot_units;
}

/* May a block start there? */
static inline bool arena_holds(const struct loam_arena *arena, uint64_t at)
{
    return __builtin_expect(arena_is_hot(arena, at), 1) ||
           (at % ARENA_UNIT == ARENA_HEADER && arena_span_of(arena, at) != NULL);
}

/* ---- bins ---------------------------------------------------------------- */

static inline unsigned arena_bin_of(uint64_t size)
{
    const uint64_t units = size / ARENA_UNIT;

    if (units < LOAM_ARENA_QUICK_COUNT)
        return (unsigned)units;
    const unsigned top = 63 ^ (unsigned)__builtin_clzll(units); /* at least 7 */
    const unsigned bin =
        top * 8 + (unsigned)(units >> (top - 3)) + LOAM_ARENA_QUICK_COUNT - 7 * 8 - 8;
    return bin < LOAM_ARENA_BIN_COUNT ? bin : LOAM_ARENA_BIN_COUNT - 1;
}

/* First bin from @p bin on that is not empty, or LOAM_ARENA_BIN_COUNT. */
static inline unsigned arena_bin_next(const struct loam_arena *arena, unsigned bin)
{
    unsigned word = bin / 64;
    uint64_t bits = arena->bin_map[word] & UINT64_MAX << bin % 64;

    while (bits == 0 && ++word < LOAM_ARENA_MAP_COUNT)
        bits = arena->bin_map[word];
    return bits != 0 ? word * 64 + (unsigned)__builtin_ctzll(bits) : LOAM_ARENA_BIN_COUNT;
}

static inline bool arena_is_free(uint64_t at)
{
    return (arena_low(at) & ARENA_STATE) == ARENA_FREE;
}

/* Is there a sound free block of a bin at @p at? */
static inline bool arena_free_is_sound(const struct loam_arena *arena, uint64_t at)
{
    return arena_tag_holds(arena, at) && arena_is_free(at) && arena_free_holds(arena, at);
}

/*
 * A free block has two links: to the next one of its bin, and back to the address
 * of what leads here, which is a link of that kind or the bin.
 */
static inline bool arena_is_bin(const struct loam_arena *arena, uint64_t place)
{
    return place - (uint64_t)(uintptr_t)arena->bin < sizeof arena->bin;
}

/* May the link of a free block lead there? */
static inline bool arena_is_node(const struct loam_arena *arena, uint64_t node)
{
    return arena_holds(arena, node - ARENA_HEADER);
}

/* The free block behind @p node is about to leave its bin, or its link to be followed:
 * are its links what they were? */
static inline void arena_require_linked(const struct loam_arena *arena, uint64_t node)
{
    const uint64_t next = arena_link(arena, node);
    const uint64_t back = arena_link(arena, node + 8);

    LOAM_REQUIRE(next == 0 || arena_is_node(arena, next), ARENA_RULE_FREE, node, next);
    LOAM_REQUIRE(arena_is_bin(arena, back) ? *arena_u64_at(back) == node
                                           : arena_is_node(arena, back),
                 ARENA_RULE_FREE, node, back);
}

/* Let what leads to a free block, at @p back, lead to another one; 0: to none. */
static inline void arena_lead(struct loam_arena *arena, uint64_t back, uint64_t node)
{
    if (!arena_is_bin(arena, back)) {
        arena_set_link(arena, back, node);
        return;
    }
    const uint64_t bin = (back - (uint64_t)(uintptr_t)arena->bin) / sizeof arena->bin[0];
    arena->bin[bin] = node;
    arena->bin_map[bin / 64] ^= (uint64_t)(node == 0) << bin % 64;
}

/* Take a block out of its bin, after arena_require_linked(). */
static inline void arena_unlink(struct loam_arena *arena, uint64_t node)
{
    const uint64_t next = arena_link(arena, node);

    arena_lead(arena, arena_link(arena, node + 8), next);
    if (next != 0)
        *arena_u64_at(next + 8) = *arena_u64_at(node + 8);
}

/* Let a block hang where another one did, after arena_require_linked(). */
static inline void arena_relink(struct loam_arena *arena, uint64_t node, uint64_t moved)
{
    const uint64_t next = arena_link(arena, node);
    const uint64_t back = arena_link(arena, node + 8);

    arena_lead(arena, back, moved);
    if (next != 0)
        arena_set_link(arena, next + 8, moved);
    arena_set_link(arena, moved, next);
    arena_set_link(arena, moved + 8, back);
}

/* Put a free block into its bin. */
static inline void arena_link_to_bin(struct loam_arena *arena, uint64_t node, unsigned bin)
{
    const uint64_t first = arena->bin[bin];

    arena_set_link(arena, node, first);
    arena_set_link(arena, node + 8, (uint64_t)(uintptr_t)&arena->bin[bin]);
    if (first != 0)
        arena_set_link(arena, first + 8, node);
    arena->bin[bin] = node;
    arena->bin_map[bin / 64] |= UINT64_C(1) << bin % 64;
}

/* Make [at, at + size) a free block and put it into its bin. */
static inline void arena_link_free(struct loam_arena *arena, uint64_t at, uint64_t size)
{
    arena_set_free(arena, at, size);
    arena_link_to_bin(arena, at + ARENA_HEADER, arena_bin_of(size));
}

/* The free block of a bin behind @p node is now another one, after arena_require_linked(). */
static inline void arena_move_free(struct loam_arena *arena, uint64_t node, unsigned bin,
                                   uint64_t at, uint64_t size)
{
    const unsigned now = arena_bin_of(size);

    if (now != bin) {
        arena_unlink(arena, node);
        arena_link_to_bin(arena, at + ARENA_HEADER, now);
    } else if (at + ARENA_HEADER != node) {
        arena_relink(arena, node, at + ARENA_HEADER);
    }
    arena_set_free(arena, at, size);
}

/* ---- quick lists --------------------------------------------------------- */

/*
 * One list for each size below 1 KiB, in units of 8 bytes. Links are stored so
 * that one of zeroes leads to nowhere; they are followed only into a span, and
 * believed only if the tag there says that a block of this size waits.
 */

/* Put a checked small block in use onto its quick list. @param padded ARENA_PADDED
 * or 0 */
static inline void arena_quick_push(struct loam_arena *arena, uint64_t at, unsigned index,
                                    uint32_t padded)
{
    const uint64_t node = at + ARENA_HEADER;

    arena_flip(at, ARENA_USED ^ ARENA_WAITING ^ padded);
    *arena_u64_at(node) = arena->quick[index] ^ arena->cookie;
    arena->quick[index] = node;
    arena->deferred_count++;
}

/* Node behind a waiting one; 0: none. */
static inline uint64_t arena_quick_next(const struct loam_arena *arena, uint64_t node)
{
    return *arena_u64_at(node) ^ arena->cookie;
}

/* Take the first block off a quick list that has one. Its tag still says that it
 * waits. @return block */
static inline uint64_t arena_quick_pop(struct loam_arena *arena, unsigned index)
{
    const uint64_t node = arena->quick[index];
    const uint64_t at = node - ARENA_HEADER;
    const uint64_t next = arena_quick_next(arena, node);
    const uint32_t low =
        index << ARENA_SIZE_SHIFT | ARENA_WAITING | (*arena_u32_at(at) & ARENA_PREV_FREE);

    LOAM_REQUIRE(*arena_u32_at(at) == arena_tag(arena, at, low), ARENA_RULE_FREE, node, 0);
    LOAM_REQUIRE(next == 0 || arena_is_node(arena, next), ARENA_RULE_FREE, node, next);
    arena->quick[index] = next;
    arena->deferred_count--;
    return at;
}

#endif
