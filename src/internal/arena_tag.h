/*
 * arena_tag.h - what lies around and in the blocks of an arena: tags, padding,
 * links, footers. Pure functions of memory; no lists, no counters.
 *
 *     used        | tag | bytes asked for ............ | padding |
 *     used, large | tag | size | check | tag | bytes asked for ..| padding |
 *     waiting     | tag | next | .......................................... |
 *     free        | tag | next | prev | ........................ | footer |
 *     free, large | tag | next | prev | size | check | ... | size | footer |
 *     victim      | tag | .................................................. |
 *     end mark    | tag |
 *
 * A block starts at its tag, at an address that is 4 modulo 8, so that the
 * 4-byte tag ends where the block's own 8-byte alignment begins.
 *
 * tag: bits 0-1 state, 2 the block before is free, 3 padded, 4-14 size in units
 * of 8 bytes (0: large), 15 zero, 16-30 check, 31 one. For one address the
 * check differs for every value of the other half, and the halves are never the
 * same. So an overflow of one or two bytes always shows, and so does one that
 * repeats a byte (memset); any other with 65,535 in 65,536 or better.
 *
 * padding: its end tells how many bytes there are, so the exact size that was
 * asked for is known; its first 8 and last 8 bytes are looked at, which are no
 * zeroes nor what else memset likes.
 */
#ifndef LOAM_INTERNAL_ARENA_TAG_H
#define LOAM_INTERNAL_ARENA_TAG_H

#include <loam/arena.h>

#include "check.h"

#define ARENA_UNIT       8u  /* bytes; of sizes */
#define ARENA_HEADER     4u  /* bytes from a small block's start to what the caller gets */
#define ARENA_HEADER_BIG 20u /* the same for a large one */
#define ARENA_BLOCK_MIN  24u /* bytes: tag, two links, footer */
#define ARENA_SLACK_MAX  16u /* bytes that carving may leave over: less than a block */

/* State, in a tag. */
#define ARENA_STATE     3u
#define ARENA_BACK      0u /* not a block: the tag before a large block's bytes */
#define ARENA_USED      1u
#define ARENA_WAITING   2u
#define ARENA_FREE      3u
#define ARENA_PREV_FREE 4u /* flag: the block before is free */
#define ARENA_PADDED    8u /* flag: padding follows the bytes asked for */
#define ARENA_LOW       0x7fffu
#define ARENA_CHECK     0x7fff0000u
#define ARENA_TOP       0x80000000u

#define ARENA_SIZE_SHIFT 4u
#define ARENA_UNITS_MAX  2047u /* in a tag */
/* Bytes for a request of a small block: what carving leaves over fits too. */
#define ARENA_SMALL_MAX ((uint64_t)ARENA_UNITS_MAX * ARENA_UNIT - ARENA_SLACK_MAX)

/* Blocks below this size have bins and quick lists of their own. */
#define ARENA_QUICK_END ((uint64_t)LOAM_ARENA_QUICK_COUNT * ARENA_UNIT)

/* What no request reaches: sums of such a size, header and alignment do not
 * wrap. */
#define ARENA_SIZE_LIMIT (UINT64_C(1) << 56)

/* may_alias: the memory holds objects of the caller before and afterwards. */
typedef uint32_t arena_u32 __attribute__((may_alias));
typedef uint64_t arena_u64 __attribute__((may_alias));

#define ARENA_MIX  UINT64_C(0xd6e8feb86659fd93)
#define ARENA_BOTH 0x00010001u /* times the lower half of a tag: that in both halves */

/* ---- memory -------------------------------------------------------------- */

static inline arena_u32 *arena_u32_at(uint64_t at)
{
    return (arena_u32 *)(uintptr_t)at;
}

static inline arena_u64 *arena_u64_at(uint64_t at)
{
    return (arena_u64 *)(uintptr_t)at;
}

/* ---- tags ---------------------------------------------------------------- */

/* Linear: the tags for two lower halves at one place differ by their difference
 * in both halves. */
static inline uint32_t arena_tag(const struct loam_arena *arena, uint64_t at, uint32_t low)
{
    const uint32_t place = (uint32_t)(at << 13 ^ arena->cookie) & ARENA_CHECK;

    return (place | ARENA_TOP) ^ low * ARENA_BOTH;
}

static inline void arena_set_tag(const struct loam_arena *arena, uint64_t at, uint32_t low)
{
    *arena_u32_at(at) = arena_tag(arena, at, low);
}

static inline uint32_t arena_low(uint64_t at)
{
    return *arena_u32_at(at) & ARENA_LOW;
}

static inline bool arena_tag_holds(const struct loam_arena *arena, uint64_t at)
{
    return *arena_u32_at(at) == arena_tag(arena, at, arena_low(at));
}

/* ---- sizes of blocks in use ---------------------------------------------- */

static inline uint32_t arena_size_check(const struct loam_arena *arena, uint64_t at, uint64_t size)
{
    return (uint32_t)(((at ^ arena->cookie) + size) * ARENA_MIX >> 32);
}

static inline uint64_t arena_small_size(uint32_t low)
{
    return (uint64_t)(low >> ARENA_SIZE_SHIFT) * ARENA_UNIT;
}

static inline bool arena_low_is_large(uint32_t low)
{
    return low >> ARENA_SIZE_SHIFT == 0;
}

/* A large block in use: are its size and its second tag what they were? */
static inline bool arena_large_holds(const struct loam_arena *arena, uint64_t at)
{
    return *arena_u32_at(at + 12) == arena_size_check(arena, at, *arena_u64_at(at + 4)) &&
           *arena_u32_at(at + 16) == arena_tag(arena, at + 16, ARENA_BACK);
}

/* Size of a block in use or waiting whose tag holds. */
static inline uint64_t arena_used_size(uint64_t at)
{
    const uint32_t low = arena_low(at);

    return arena_low_is_large(low) ? *arena_u64_at(at + 4) : arena_small_size(low);
}

/* Bytes before what the caller got. */
static inline uint64_t arena_used_header(uint64_t at)
{
    return arena_low_is_large(arena_low(at)) ? ARENA_HEADER_BIG : ARENA_HEADER;
}

/* ---- padding ------------------------------------------------------------- */

#define ARENA_PADDING      UINT64_C(0x96c3d96bb54de72d)
#define ARENA_PADDING_LAST 0x00ffffffffffffffu
#define ARENA_PADDING_KEY  0xa5u /* with it the last byte is none that overflows often write */
#define ARENA_PADDING_LONG 0x80u /* in the last byte: 8 bytes or more, how many is before it */

static inline uint64_t arena_word(uint64_t at)
{
    uint64_t word;

    __builtin_memcpy(&word, (const void *)(uintptr_t)at, sizeof word);
    return word;
}

static inline void arena_set_word(uint64_t at, uint64_t word)
{
    __builtin_memcpy((void *)(uintptr_t)at, &word, sizeof word);
}

/* Last 8 bytes of a block with less than 8 bytes of padding, and which of them
 * it is. */
static inline uint64_t arena_padding_short(uint64_t slack)
{
    return (ARENA_PADDING & ARENA_PADDING_LAST) | (slack ^ ARENA_PADDING_KEY) << 56;
}

static inline uint64_t arena_padding_mask(uint64_t slack)
{
    return ~(UINT64_MAX >> 8 * slack);
}

/* The same for 8 bytes and more: how many in bytes 3 to 6. */
static inline uint64_t arena_padding_long(uint64_t slack)
{
    return (ARENA_PADDING & 0xffffff) | (slack & UINT32_MAX) << 24 |
           (uint64_t)(ARENA_PADDING_LONG ^ ARENA_PADDING_KEY) << 56;
}

/* Write 8 bytes of padding and more: its first 8 bytes and its last 8, which
 * may overlap. */
static inline void arena_pad_long(uint64_t end, uint64_t slack)
{
    if (slack < 16) {
        const uint64_t mask = slack == 8 ? 0 : arena_padding_mask(slack - 8);
        arena_set_word(end - 16, (arena_word(end - 16) & ~mask) | (ARENA_PADDING & mask));
    } else {
        arena_set_word(end - slack, ARENA_PADDING);
    }
    arena_set_word(end - 8, arena_padding_long(slack));
}

static inline bool arena_padding_long_holds(uint64_t end, uint64_t slack)
{
    if (arena_word(end - 8) != arena_padding_long(slack))
        return false;
    if (slack >= 16)
        return arena_word(end - slack) == ARENA_PADDING;
    return slack == 8 ||
           ((arena_word(end - 16) ^ ARENA_PADDING) & arena_padding_mask(slack - 8)) == 0;
}

/* Pad a block that is new to its caller: what is before the padding may change
 * too. */
static inline void arena_pad_new(uint64_t end, uint64_t slack)
{
    if (slack < 8)
        arena_set_word(end - 8, arena_padding_short(slack));
    else
        arena_pad_long(end, slack);
}

/* Pad a block whose contents count. @param slack at least 1 */
static inline void arena_pad_behind(uint64_t end, uint64_t slack)
{
    if (slack < 8) {
        const uint64_t mask = arena_padding_mask(slack);
        arena_set_word(end - 8,
                       (arena_word(end - 8) & ~mask) | (arena_padding_short(slack) & mask));
    } else {
        arena_pad_long(end, slack);
    }
}

/* Is the padding whole, of which there are so many bytes? 0: there is none. */
static inline bool arena_padding_holds(uint64_t end, uint64_t slack)
{
    if (slack < 8)
        return slack == 0 || ((arena_word(end - 8) ^ arena_padding_short(slack)) &
                              arena_padding_mask(slack)) == 0;
    return arena_padding_long_holds(end, slack);
}

/* Bytes of padding, or 0: it was written to. @param room bytes of the block for
 * the caller */
static inline uint64_t arena_padding_found(uint64_t end, uint64_t room)
{
    const uint64_t last = arena_word(end - 8);
    const uint64_t key = last >> 56 ^ ARENA_PADDING_KEY;
    const uint64_t slack = key == ARENA_PADDING_LONG ? last >> 24 & UINT32_MAX : key;

    return slack <= room && (slack >= 8) == (key == ARENA_PADDING_LONG) &&
                   arena_padding_holds(end, slack)
               ? slack
               : 0;
}

/* ---- links between free blocks ------------------------------------------- */

/*
 * A link names an address, a multiple of 8 in either half of a canonical
 * address space of up to 57 bits: 54 bits of it are kept, sign and all. 0:
 * none. The other 10 check it and bind it to its place; the two highest bytes
 * always differ, so that memset shows. So a link is known to be sound without a
 * look at where it leads, which is seldom in the cache.
 */
#define ARENA_LINK_BITS 54u
#define ARENA_LINK_MASK ((UINT64_C(1) << ARENA_LINK_BITS) - 1)

static inline uint64_t arena_link_word(const struct loam_arena *arena, uint64_t place,
                                       uint64_t target)
{
    const uint64_t value = target >> 3 & ARENA_LINK_MASK;
    const uint64_t sum = (value + (place ^ arena->cookie)) * ARENA_MIX;
    const uint64_t word = value | (sum & ~ARENA_LINK_MASK);

    return word ^ (uint64_t)(word >> 56 == (word >> 48 & 0xff)) << 63;
}

static inline void arena_set_link(const struct loam_arena *arena, uint64_t place, uint64_t target)
{
    *arena_u64_at(place) = arena_link_word(arena, place, target);
}

/* Where a link leads, sound or not. */
static inline uint64_t arena_link(uint64_t place)
{
    return (uint64_t)((int64_t)(*arena_u64_at(place) << 10) >> 7);
}

static inline bool arena_link_holds(const struct loam_arena *arena, uint64_t place)
{
    return *arena_u64_at(place) == arena_link_word(arena, place, arena_link(place));
}

/* ---- free blocks --------------------------------------------------------- */

#define ARENA_FREE_SIZE 20u /* bytes from a large free block's start to its size */

static inline void arena_set_free(const struct loam_arena *arena, uint64_t at, uint64_t size)
{
    const uint64_t units = size / ARENA_UNIT;

    if (units <= ARENA_UNITS_MAX) {
        arena_set_tag(arena, at, (uint32_t)units << ARENA_SIZE_SHIFT | ARENA_FREE);
        *arena_u32_at(at + size - 4) = (uint32_t)units;
    } else {
        arena_set_tag(arena, at, ARENA_FREE);
        *arena_u64_at(at + ARENA_FREE_SIZE) = size;
        *arena_u32_at(at + ARENA_FREE_SIZE + 8) = arena_size_check(arena, at, size);
        *arena_u64_at(at + size - 12) = size;
        *arena_u32_at(at + size - 4) = 0;
    }
}

/* A free block whose tag holds: does its size? */
static inline bool arena_free_holds(const struct loam_arena *arena, uint64_t at)
{
    return !arena_low_is_large(arena_low(at)) ||
           *arena_u32_at(at + ARENA_FREE_SIZE + 8) ==
               arena_size_check(arena, at, *arena_u64_at(at + ARENA_FREE_SIZE));
}

/* Size of a free block that holds. */
static inline uint64_t arena_free_size(uint64_t at)
{
    const uint32_t low = arena_low(at);

    return arena_low_is_large(low) ? *arena_u64_at(at + ARENA_FREE_SIZE) : arena_small_size(low);
}

/* Size of the free block that ends at @p at, by its footer. */
static inline uint64_t arena_size_before(uint64_t at)
{
    const uint64_t units = *arena_u32_at(at - 4);

    return units != 0 ? units * ARENA_UNIT : *arena_u64_at(at - 12);
}

#endif
