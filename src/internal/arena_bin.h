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

/* May a block's memory or node lie there, as far as the span used last tells? */
static inline bool arena_is_hot(const struct loam_arena *arena, uint64_t at)
{
    return at - arena->hot_start < arena->hot_size;
}

static inline bool arena_holds(const struct loam_arena *arena, uint64_t at)
{
    return __builtin_expect(arena_is_hot(arena, at), 1) || arena_span_of(arena, at) != NULL;
}

/* ---- bins ---------------------------------------------------------------- */

static inline unsigned arena_bin_of(uint64_t size)
{
    const uint64_t units = size / ARENA_UNIT;

    if (units < LOAM_ARENA_QUICK_COUNT)
        return (unsigned)units;
    const unsigned top = 63 - (unsigned)__builtin_clzll(units);
    const unsigned bin =
        LOAM_ARENA_QUICK_COUNT + (top - 7) * 8 + (unsigned)(units >> (top - 3) & 7);
    return bin < LOAM_ARENA_BIN_COUNT ? bin : LOAM_ARENA_BIN_COUNT - 1;
}

static inline uint64_t arena_bin_first(const struct loam_arena *arena, unsigned bin)
{
    return arena->bin[bin];
}

/* First bin from @p bin on that is not empty, or LOAM_ARENA_BIN_COUNT. The map
 * also has bins that have become empty: they are removed when they are met. */
static inline unsigned arena_bin_next(struct loam_arena *arena, unsigned bin)
{
    for (unsigned word = bin / 64; word < LOAM_ARENA_MAP_COUNT; word++, bin = word * 64) {
        uint64_t bits = arena->bin_map[word] & UINT64_MAX << bin % 64;
        for (; bits != 0; bits &= bits - 1) {
            const unsigned found = word * 64 + (unsigned)__builtin_ctzll(bits);
            if (arena_bin_first(arena, found) != 0)
                return found;
            arena->bin_map[word] &= ~(bits & -bits);
        }
    }
    return LOAM_ARENA_BIN_COUNT;
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

/* Is the link at @p place what was written, and may it be followed? */
static inline bool arena_link_is_sound(const struct loam_arena *arena, uint64_t place)
{
    const uint64_t target = arena_link(place);

    return arena_link_holds(arena, place) && (target == 0 || arena_holds(arena, target));
}

/*
 * The free block behind @p node is about to leave its bin: are its links what they
 * were? The second names the block whose first link leads here; 0: the bin does.
 */
static inline void arena_require_linked(const struct loam_arena *arena, uint64_t node)
{
    LOAM_REQUIRE(arena_link_is_sound(arena, node) && arena_link_is_sound(arena, node + 8),
                 ARENA_RULE_FREE, node, 0);
}

/* Take a block out of its bin, after arena_require_linked(). */
static inline void arena_unlink(struct loam_arena *arena, uint64_t node, uint64_t size)
{
    const uint64_t next = arena_link(node);
    const uint64_t back = arena_link(node + 8);

    if (back != 0)
        arena_set_link(arena, back, next);
    else
        arena->bin[arena_bin_of(size)] = next;
    if (next != 0)
        arena_set_link(arena, next + 8, back);
}

/* Make [at, at + size) a free block and put it into its bin. */
static inline void arena_link_free(struct loam_arena *arena, uint64_t at, uint64_t size)
{
    const unsigned bin = arena_bin_of(size);
    const uint64_t node = at + ARENA_HEADER;
    const uint64_t first = arena_bin_first(arena, bin);

    arena_set_free(arena, at, size);
    arena_set_link(arena, node, first);
    arena_set_link(arena, node + 8, 0);
    if (first != 0)
        arena_set_link(arena, first + 8, node);
    arena->bin[bin] = node;
    arena->bin_map[bin / 64] |= UINT64_C(1) << bin % 64;
}

/* ---- quick lists --------------------------------------------------------- */

/*
 * One list for each size below 1 KiB, in units of 8 bytes. Links are stored so
 * that one of zeroes leads to nowhere; they are followed only into a span, and
 * believed only if the tag there says that a block of this size waits.
 */

/* Put a checked small block onto its quick list. @param low its tag, in use */
static inline void arena_quick_push(struct loam_arena *arena, uint64_t at, uint32_t low)
{
    const unsigned index = low >> ARENA_SIZE_SHIFT;
    const uint64_t node = at + ARENA_HEADER;

    arena_set_tag(arena, at, (low & ~(ARENA_STATE | ARENA_PADDED)) | ARENA_WAITING);
    *arena_u64_at(node) = arena->quick[index] ^ arena->cookie;
    arena->quick[index] = node;
    arena->deferred_count++;
}

/* Node behind a waiting one; 0: none. */
static inline uint64_t arena_quick_next(const struct loam_arena *arena, uint64_t node)
{
    return *arena_u64_at(node) ^ arena->cookie;
}

/* Take the first block off a quick list that has one. Its tag still says that
 * it waits. */
static inline uint64_t arena_quick_pop(struct loam_arena *arena, unsigned index)
{
    const uint64_t node = arena->quick[index];
    const uint64_t at = node - ARENA_HEADER;
    const uint64_t next = arena_quick_next(arena, node);
    const uint32_t prev_free = *arena_u32_at(at) & ARENA_PREV_FREE;

    LOAM_REQUIRE(*arena_u32_at(at) ==
                     arena_tag(arena, at, index << ARENA_SIZE_SHIFT | ARENA_WAITING | prev_free),
                 ARENA_RULE_FREE, node, 0);
    LOAM_REQUIRE(next == 0 || (next % ARENA_UNIT == 0 && arena_holds(arena, next)), ARENA_RULE_FREE,
                 node, next);
    arena->quick[index] = next;
    arena->deferred_count--;
    return at;
}

#endif
