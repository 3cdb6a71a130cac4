/*
 * freelist_quick.h - blocks without header that were given back and wait to be
 * merged, for freelist.c, which alone includes it.
 *
 *     size 2    block --> block --> block       last in, first out
 *     size 3    none
 *     ...       a block | next, size, check | ........ |
 *
 * To merge a block costs more than all else, and most are soon asked for again by
 * their size. So up to LOAM_FREELIST_WAITING_MAX blocks below 1 KiB wait; for each
 * one more, one is merged.
 */
#ifndef LOAM_INTERNAL_FREELIST_QUICK_H
#define LOAM_INTERNAL_FREELIST_QUICK_H

#include <loam/freelist.h>

#include "check.h"
#include "freelist_runs.h"
#include "freelist_table.h"

#define FREELIST_QUICK_MIN      UINT64_C(2) /* granules: smallest size that waits */
#define FREELIST_QUICK_COUNT    (UINT64_C(64) * LOAM_FREELIST_QUICK_WORDS)
#define FREELIST_QUICK_SPAN_MIN (UINT64_C(256) << 10) /* bytes: in smaller spans none wait */
LOAM_STATIC_ASSERT(FREELIST_QUICK_COUNT <= UINT8_MAX, "a mark holds any size");

/* May a block of this size wait? */
static inline bool freelist_may_wait(const struct loam_freelist *list, uint64_t size)
{
    return size - FREELIST_QUICK_MIN < FREELIST_QUICK_COUNT - FREELIST_QUICK_MIN &&
           list->quick != 0;
}

/* Size of the block that waits at @p at; 0: none does, or its mark is damaged. */
static inline uint64_t freelist_waiting_size(const struct loam_freelist *list, uint64_t at)
{
    return freelist_mark_at(list, at) == FREELIST_WAITING ? freelist_mark_bits(list, at) >> 32 : 0;
}

/* The block after one that waits; 0: it is the last of its size. */
static inline uint64_t freelist_waiting_next(const struct loam_freelist *list, uint64_t at)
{
    return freelist_mark_bits(list, at) & UINT32_MAX;
}

static inline void freelist_push(struct loam_freelist *list, uint64_t at, uint64_t size)
{
    freelist_place *const head = &freelist_quick(list)[size];

    freelist_set_mark(list, at, FREELIST_WAITING, *head | size << 32);
    *head = (freelist_place)at;
    list->quick_map[size / 64] |= UINT64_C(1) << size % 64;
    list->waiting_count++;
}

/* Take the block of this size that came last; there is one. */
static inline uint64_t freelist_pop(struct loam_freelist *list, uint64_t size)
{
    freelist_place *const head = &freelist_quick(list)[size];
    const uint64_t at = *head;

    freelist_require_sound(list, at, freelist_waiting_size(list, at) == size);
    *head = (freelist_place)freelist_waiting_next(list, at);
    list->quick_map[size / 64] ^= (uint64_t)(*head == 0) << size % 64;
    list->waiting_count--;
    return at;
}

/* Does a block that waits, but for that at @p except, have the granule @p at? */
static inline bool freelist_waits_over(const struct loam_freelist *list, uint64_t at,
                                       uint64_t except)
{
    for (uint64_t size = FREELIST_QUICK_MIN; list->quick != 0 && size < FREELIST_QUICK_COUNT;
         size++) {
        uint64_t other = freelist_quick(list)[size];
        while (other != 0 && freelist_waiting_size(list, other) == size) { /* ends: bound links */
            if (other != except && at - other < size)
                return true;
            other = freelist_waiting_next(list, other);
        }
    }
    return false;
}

/* Merge the block of this size that came last; there is one. */
static inline void freelist_settle_one(struct loam_freelist *list, uint64_t size)
{
    const uint64_t at = freelist_quick(list)[size];
    const struct freelist_around around = freelist_look_around(list, at + size);

    freelist_require_used(list, &around, at, freelist_address(list, at));
    (void)freelist_pop(list, size);
    freelist_merge(list, &around, at, size);
}

/* Merge one of those that wait, if any: of one size until none of it is left, then of
 * the next. */
static inline bool freelist_settle_next(struct loam_freelist *list)
{
    if (list->waiting_count == 0)
        return false;
    uint64_t word = list->quick_hand / 64;
    uint64_t map = list->quick_map[word] & UINT64_MAX << list->quick_hand % 64;
    while (map == 0) { /* ends: some wait */
        word = (word + 1) % LOAM_FREELIST_QUICK_WORDS;
        map = list->quick_map[word];
    }
    const uint64_t size = word * 64 + (unsigned)__builtin_ctzll(map);
    freelist_settle_one(list, size);
    list->quick_hand = size;
    return true;
}

#endif
