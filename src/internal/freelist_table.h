/*
 * freelist_table.h - the table of freelist.c, which alone includes it: which cells
 * have free runs, and which bins.
 *
 *     level 1   [ 0 1 1 0 ... ]                 one bit per 64 cells
 *     level 0   [ 0000 ][ 0100 ][ 1011 ] ...    one bit per cell: has it a run?
 *     cells     [ .. .. .. 17 .. .. 200 ... ]   one byte per cell: where its highest
 *                                               run starts, in granules
 *     bins      [ .. .. 4711 .. .. ... ]        a run of each class
 *     quick     [ 88 .. 1234 .. ]               the last waiting block of each size
 *
 * Memory is counted in granules of 8 bytes; place i is the granule at words + 8 i.
 * Places 0 and 1 hold nothing, and 0 stands for "none".
 *
 * Classes: below 16 granules one each, then 8 per doubling.
 */
#ifndef LOAM_INTERNAL_FREELIST_TABLE_H
#define LOAM_INTERNAL_FREELIST_TABLE_H

#include <loam/freelist.h>

#define FREELIST_GRANULE     UINT64_C(8)
#define FREELIST_FIRST       UINT64_C(2) /* place of base */
#define FREELIST_CELL_SHIFT  8u          /* 256 granules: a place in a cell is one byte */
#define FREELIST_NO_CELL     UINT64_MAX
#define FREELIST_CLASS_COUNT (UINT64_C(64) * LOAM_FREELIST_BIN_WORDS)

/* may_alias: the memory was the caller's before, and will be. */
typedef uint64_t __attribute__((may_alias)) freelist_word;
typedef uint32_t __attribute__((may_alias)) freelist_place;
typedef uint8_t __attribute__((may_alias)) freelist_byte;

static inline uint64_t freelist_address(const struct loam_freelist *list, uint64_t place)
{
    return list->words + place * FREELIST_GRANULE;
}

static inline uint64_t freelist_place_of(const struct loam_freelist *list, uint64_t address)
{
    return (address - list->words) / FREELIST_GRANULE;
}

static inline freelist_word *freelist_words(const struct loam_freelist *list)
{
    return (freelist_word *)(uintptr_t)list->words;
}

static inline freelist_place *freelist_bins(const struct loam_freelist *list)
{
    return (freelist_place *)(uintptr_t)list->bins;
}

static inline freelist_place *freelist_quick(const struct loam_freelist *list)
{
    return (freelist_place *)(uintptr_t)list->quick;
}

static inline freelist_byte *freelist_cells(const struct loam_freelist *list)
{
    return (freelist_byte *)(uintptr_t)list->cells;
}

static inline freelist_word *freelist_level(const struct loam_freelist *list, unsigned level)
{
    return (freelist_word *)(uintptr_t)list->level[level];
}

/* ---- classes ------------------------------------------------------------- */

static inline unsigned freelist_top_bit(uint64_t word)
{
    return 63u - (unsigned)__builtin_clzll(word);
}

/* Class of a run of @p size granules. */
static inline uint64_t freelist_class(uint64_t size)
{
    const unsigned shift = freelist_top_bit(size | 8) - 3;
    return 8 * (uint64_t)shift + (size >> shift);
}

/* Lowest class whose runs all have at least @p size granules. */
static inline uint64_t freelist_class_sure(uint64_t size)
{
    return freelist_class(size - 1) + 1;
}

/* The lowest class from @p class_min on that has a run; FREELIST_CLASS_COUNT:
 * none. */
static inline uint64_t freelist_class_from(const struct loam_freelist *list, uint64_t class_min)
{
    if (class_min >= FREELIST_CLASS_COUNT)
        return FREELIST_CLASS_COUNT;
    uint64_t index = class_min / 64;
    uint64_t word = list->bin_map[index] & UINT64_MAX << class_min % 64;
    while (word == 0) {
        if (++index == LOAM_FREELIST_BIN_WORDS)
            return FREELIST_CLASS_COUNT;
        word = list->bin_map[index];
    }
    return index * 64 + (unsigned)__builtin_ctzll(word);
}

/* ---- cells --------------------------------------------------------------- */

static inline uint64_t freelist_cell(uint64_t place)
{
    return place >> FREELIST_CELL_SHIFT;
}

/* The highest run of a cell that has some. */
static inline uint64_t freelist_cell_top(const struct loam_freelist *list, uint64_t cell)
{
    return cell << FREELIST_CELL_SHIFT | freelist_cells(list)[cell];
}

/* The highest cell up to @p cell that has runs; FREELIST_NO_CELL: none. */
static inline uint64_t freelist_cell_up_to(const struct loam_freelist *list, uint64_t cell)
{
    const uint64_t near = freelist_level(list, 0)[cell / 64] << (63 - cell % 64);
    if (near != 0)
        return cell - (unsigned)__builtin_clzll(near);

    uint64_t index = cell / 64;
    for (unsigned level = 1; level < list->level_count; level++) {
        const uint64_t below = (UINT64_C(1) << index % 64) - 1;
        const uint64_t word = freelist_level(list, level)[index / 64] & below;
        index /= 64;
        if (word == 0)
            continue;
        index = index * 64 + freelist_top_bit(word);
        while (level-- > 0)
            index = index * 64 + freelist_top_bit(freelist_level(list, level)[index]);
        return index;
    }
    return FREELIST_NO_CELL;
}

/* A cell has a run. */
static inline void freelist_cell_enter(struct loam_freelist *list, uint64_t cell)
{
    for (unsigned level = 0; level < list->level_count; level++, cell /= 64) {
        freelist_word *const word = &freelist_level(list, level)[cell / 64];
        const uint64_t old = *word;
        *word = old | UINT64_C(1) << cell % 64;
        if (old != 0)
            return;
    }
}

/* A cell has lost its last run. */
static inline void freelist_cell_leave(struct loam_freelist *list, uint64_t cell)
{
    for (unsigned level = 0; level < list->level_count; level++, cell /= 64) {
        freelist_word *const word = &freelist_level(list, level)[cell / 64];
        *word &= ~(UINT64_C(1) << cell % 64);
        if (*word != 0)
            return;
    }
}

#endif
