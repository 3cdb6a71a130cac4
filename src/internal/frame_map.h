/*
 * frame_map.h - where to look for a block: a bit per block, 0: perhaps here, 1: not
 * here; above 64 of them a bit that is 1 if all are, and so on up to one word.
 *
 * A map is a hint, and errs to one side only: when all is quiet, what is to be found
 * is shown. So who shows a block changes it first and then the map; who hides one
 * changes the map first, then looks at the block again and shows it if it has
 * become one. The same between one level and the next.
 */
#ifndef LOAM_INTERNAL_FRAME_MAP_H
#define LOAM_INTERNAL_FRAME_MAP_H

#include <loam/types.h>
#include <stdatomic.h>

#define FRAME_MAP_LEVELS 6u /* 2^36 blocks */
#define FRAME_MAP_NONE   UINT64_MAX

struct frame_map {
    _Atomic uint64_t *level[FRAME_MAP_LEVELS]; /* the last one used is one word */
    unsigned levels;
};

static inline uint64_t frame_map_words(uint64_t bits)
{
    return (bits + 63) / 64;
}

/* Words of a map of so many bits. */
static inline uint64_t frame_map_size(uint64_t bits)
{
    uint64_t words = 0;

    do { /* ends: 64 times fewer each time */
        bits = frame_map_words(bits);
        words += bits;
    } while (bits > 1);
    return words;
}

/* Hide all. @param memory frame_map_size(bits) words @return behind them */
static inline _Atomic uint64_t *frame_map_init(struct frame_map *map, uint64_t bits,
                                               _Atomic uint64_t *memory)
{
    map->levels = 0;
    do {
        bits = frame_map_words(bits);
        map->level[map->levels++] = memory;
        for (uint64_t i = 0; i < bits; i++)
            atomic_store_explicit(memory++, UINT64_MAX, memory_order_relaxed);
    } while (bits > 1);
    return memory;
}

/* Show from a level on: there, @p bit is clear. */
static inline void frame_map_show_from(const struct frame_map *map, unsigned level, uint64_t bit)
{
    for (; level < map->levels; level++, bit /= 64) {
        const uint64_t old =
            atomic_fetch_and(&map->level[level][bit / 64], ~(UINT64_C(1) << bit % 64));
        if (old != UINT64_MAX)
            return; /* whoever sets the bit above will look here again */
    }
}

static inline void frame_map_show(const struct frame_map *map, uint64_t bit)
{
    if ((atomic_load(&map->level[0][bit / 64]) >> bit % 64 & 1) != 0)
        frame_map_show_from(map, 0, bit);
}

static inline void frame_map_hide(const struct frame_map *map, uint64_t bit)
{
    const _Atomic uint64_t *below = NULL;

    for (unsigned level = 0; level < map->levels; level++, bit /= 64) {
        _Atomic uint64_t *const word = &map->level[level][bit / 64];
        const uint64_t set = UINT64_C(1) << bit % 64;
        const bool is_full = (atomic_fetch_or(word, set) | set) == UINT64_MAX;
        if (below != NULL && atomic_load(below) != UINT64_MAX) {
            frame_map_show_from(map, level, bit);
            return;
        }
        if (!is_full)
            return;
        below = word;
    }
}

/* Show blocks [from, from + count) of a map that nobody else uses yet. */
static inline void frame_map_show_many(const struct frame_map *map, uint64_t from, uint64_t count)
{
    for (unsigned level = 0; level < map->levels && count != 0; level++) {
        const uint64_t end = from + count;
        for (uint64_t bit = from; bit < end;) {
            const uint64_t many = 64 - bit % 64 < end - bit ? 64 - bit % 64 : end - bit;
            const uint64_t bits = UINT64_MAX >> (64 - many) << bit % 64;
            atomic_fetch_and_explicit(&map->level[level][bit / 64], ~bits, memory_order_relaxed);
            bit += many;
        }
        from /= 64;
        count = (end + 63) / 64 - from;
    }
}

/* Highest shown block of [from, end), or FRAME_MAP_NONE. */
static inline uint64_t frame_map_last(const struct frame_map *map, uint64_t from, uint64_t end)
{
    unsigned level = 0;

    for (;;) { /* ends: a level down, or end falls */
        if (end << 6 * level <= from)
            return FRAME_MAP_NONE;
        const uint64_t word = (end - 1) / 64;
        const uint64_t shown =
            ~atomic_load_explicit(&map->level[level][word], memory_order_relaxed) &
            UINT64_MAX >> (63 - (end - 1) % 64);
        if (shown == 0) {
            if (level + 1 == map->levels)
                return FRAME_MAP_NONE;
            level++;
            end = word;
            continue;
        }
        const uint64_t found = word * 64 + (63 ^ (unsigned)__builtin_clzll(shown));
        if (level == 0)
            return found >= from ? found : FRAME_MAP_NONE;
        level--;
        end = (found + 1) * 64;
    }
}

/* Are blocks [from, from + count) all shown? */
static inline bool frame_map_shows(const struct frame_map *map, uint64_t from, uint64_t count)
{
    const uint64_t end = from + count;

    while (from < end) {
        const uint64_t many = 64 - from % 64 < end - from ? 64 - from % 64 : end - from;
        const uint64_t bits = UINT64_MAX >> (64 - many) << from % 64;
        if ((atomic_load_explicit(&map->level[0][from / 64], memory_order_relaxed) & bits) != 0)
            return false;
        from += many;
    }
    return true;
}

#endif
