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
#define ARENA_PLACE     0x8000u /* address << 13 of a tag, its lower half */

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

/* What a tag is mixed with. Its lower half is 0 at an address that is 4 modulo 8. */
static inline uint32_t arena_key(const struct loam_arena *arena, uint64_t at)
{
    return ((uint32_t)(at << 13) ^ arena->tag_cookie) | ARENA_TOP;
}

/* Linear: the tags for two lower halves at one place differ by their difference
 * in both halves. */
static inline uint32_t arena_tag(const struct loam_arena *arena, uint64_t at, uint32_t low)
{
    return arena_key(arena, at) ^ low * ARENA_BOTH;
}

static inline void arena_set_tag(const struct loam_arena *arena, uint64_t at, uint32_t low)
{
    *arena_u32_at(at) = arena_tag(arena, at, low);
}

/* Change a tag that holds. @param difference bits of its lower half */
static inline void arena_flip(uint64_t at, uint32_t difference)
{
    *arena_u32_at(at) ^= difference * ARENA_BOTH;
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
#define ARENA_PADDING_LONG \
    0x80u /* in the last byte: so many bytes or more, how many is before it */

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

/* Last 8 bytes of a block with padding, of which the last min(slack, 8) are padding: how many
 * bytes there are in the last, or in bytes 3 to 6. */
static inline uint64_t arena_padding_few(uint64_t slack)
{
    return (ARENA_PADDING & ARENA_PADDING_LAST) | (slack ^ ARENA_PADDING_KEY) << 56;
}

static inline uint64_t arena_padding_last(uint64_t slack)
{
    if (slack < ARENA_PADDING_LONG)
        return arena_padding_few(slack);
    return (ARENA_PADDING & 0xffffff) | (slack & UINT32_MAX) << 24 |
           (uint64_t)(ARENA_PADDING_LONG ^ ARENA_PADDING_KEY) << 56;
}

/* How far to shift a word to the right, twice, to be left with its last min(slack, 8) bytes. */
static inline unsigned arena_padding_shift(uint64_t slack)
{
    return 32 - 4 * (unsigned)(slack < 8 ? slack : 8);
}

static inline bool arena_padding_is(uint64_t at, uint64_t word, uint64_t slack)
{
    const unsigned shift = arena_padding_shift(slack);

    return (arena_word(at) ^ word) >> shift >> shift == 0;
}

/* Write the last min(slack, 8) bytes of a word. */
static inline void arena_set_padding(uint64_t at, uint64_t word, uint64_t slack)
{
    const unsigned shift = arena_padding_shift(slack);

    arena_set_word(at,
                   arena_word(at) ^ (arena_word(at) ^ word) >> shift >> shift << shift << shift);
}

/* All but the last 8 bytes of padding: the first 8 of them, or fewer. @param slack above 8 */
static inline void arena_pad_front(uint64_t end, uint64_t slack)
{
    if (slack < 16)
        arena_set_padding(end - 16, ARENA_PADDING, slack - 8);
    else
        arena_set_word(end - slack, ARENA_PADDING);
}

static inline bool arena_front_holds(uint64_t end, uint64_t slack)
{
    return slack < 16 ? arena_padding_is(end - 16, ARENA_PADDING, slack - 8)
                      : arena_word(end - slack) == ARENA_PADDING;
}

/* Pad a block that is new to its caller: what is before the padding may change
 * too. */
static inline void arena_pad_new(uint64_t end, uint64_t slack)
{
    arena_set_word(end - 8, arena_padding_last(slack));
    if (slack > 8)
        arena_pad_front(end, slack);
}

/* The same. @param slack less than ARENA_PADDING_LONG */
static inline void arena_pad_few(uint64_t end, uint64_t slack)
{
    arena_set_word(end - 8, arena_padding_few(slack));
    if (slack > 8)
        arena_pad_front(end, slack);
}

/* Pad a block whose contents count. @param slack 0: none */
static inline void arena_pad_behind(uint64_t end, uint64_t slack)
{
    arena_set_padding(end - 8, arena_padding_last(slack), slack);
    if (slack > 8)
        arena_pad_front(end, slack);
}

/* Is the padding whole, of which there are so many bytes? 0: there is none. */
static inline bool arena_padding_holds(uint64_t end, uint64_t slack)
{
    return arena_padding_is(end - 8, arena_padding_last(slack), slack) &&
           (slack <= 8 || arena_front_holds(end, slack));
}

/* The same. @param slack less than ARENA_PADDING_LONG */
static inline bool arena_few_hold(uint64_t end, uint64_t slack)
{
    return arena_padding_is(end - 8, arena_padding_few(slack), slack) &&
           (slack <= 8 || arena_front_holds(end, slack));
}

/* Bytes of padding, or 0: it was written to. @param room bytes of the block for
 * the caller */
static inline uint64_t arena_padding_found(uint64_t end, uint64_t room)
{
    const uint64_t last = arena_word(end - 8);
    const uint64_t key = last >> 56 ^ ARENA_PADDING_KEY;
    const uint64_t slack = key == ARENA_PADDING_LONG ? last >> 24 & UINT32_MAX : key;

    return slack <= room && (slack >= ARENA_PADDING_LONG) == (key == ARENA_PADDING_LONG) &&
                   arena_padding_holds(end, slack)
               ? slack
               : 0;
}

/* Do the last bytes of a word stand before an address? @param count at most 8 */
static inline bool arena_bytes_are(uint64_t end, uint64_t word, uint64_t count)
{
    const unsigned char *const byte = (const unsigned char *)(uintptr_t)end;

    for (uint64_t i = 1; i <= count; i++, word <<= 8)
        if (byte[-(ptrdiff_t)i] != word >> 56)
            return false;
    return true;
}

/*
 * arena_padding_found() != 0, of a block that its owner may be writing to: no byte but those
 * of the padding is read.
 */
static inline bool arena_padding_stands(uint64_t end, uint64_t room)
{
    const unsigned char *const byte = (const unsigned char *)(uintptr_t)end;
    const uint64_t key = byte[-1] ^ ARENA_PADDING_KEY;
    const bool is_long = key == ARENA_PADDING_LONG;
    uint32_t many = 0;

    if (is_long)
        __builtin_memcpy(&many, byte - 5, sizeof many);
    const uint64_t slack = is_long ? many : key;
    if (slack == 0 || slack > room || (slack >= ARENA_PADDING_LONG) != is_long ||
        !arena_bytes_are(end, arena_padding_last(slack), slack < 8 ? slack : 8))
        return false;
    return slack <= 8 || (slack < 16 ? arena_bytes_are(end - 8, ARENA_PADDING, slack - 8)
                                     : arena_word(end - slack) == ARENA_PADDING);
}

/* ---- links between free blocks ------------------------------------------- */

/*
 * A link is an address, mixed with the cookie and multiplied by an odd number. So
 * whatever part of the word is overwritten, all bits from there up differ in what
 * is read back, and that lies in no span: one in 2^38 does for a span of 64 MiB. A
 * link is known to be sound without a look at where it leads, which is seldom in
 * the cache.
 */
#define ARENA_UNMIX UINT64_C(0xcfee444d8b59a89b)
LOAM_STATIC_ASSERT(ARENA_MIX *ARENA_UNMIX == 1, "what is mixed can be read back");

static inline uint64_t arena_link_to(const struct loam_arena *arena, uint64_t target)
{
    return (target ^ arena->cookie) * ARENA_MIX;
}

static inline void arena_set_link(const struct loam_arena *arena, uint64_t place, uint64_t target)
{
    *arena_u64_at(place) = arena_link_to(arena, target);
}

/* Where a link leads, sound or not; 0: nowhere. */
static inline uint64_t arena_link(const struct loam_arena *arena, uint64_t place)
{
    return *arena_u64_at(place) * ARENA_UNMIX ^ arena->cookie;
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
