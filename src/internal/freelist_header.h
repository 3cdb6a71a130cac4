/*
 * freelist_header.h - blocks with a header, for freelist.c, which alone includes it.
 *
 *     | bytes asked for, check | block: bytes asked for ....... | guard | ... |
 *      8 bytes                                                   8 bytes
 *
 * A header is 8 bytes past a multiple of 16 and its block costs a multiple of 16, so
 * that such blocks leave no rests between each other. The guard follows the last byte
 * asked for, on any address.
 */
#ifndef LOAM_INTERNAL_FREELIST_HEADER_H
#define LOAM_INTERNAL_FREELIST_HEADER_H

#include <loam/freelist.h>

#include "digest.h"
#include "freelist_runs.h"
#include "freelist_table.h"

#define FREELIST_OVERHEAD UINT64_C(16) /* bytes of header and guard */
#define FREELIST_ALIGN    UINT64_C(16)
LOAM_STATIC_ASSERT(FREELIST_ALIGN == LOAM_FREELIST_ALIGN, "64-bit arithmetic");
LOAM_STATIC_ASSERT(LOAM_FREELIST_MAX >> FREELIST_MARK_BITS == 0, "a header holds any size");

/* Granules of a block with header, which is no larger than the span. */
static inline uint64_t freelist_size_for(uint64_t size_bytes)
{
    return (size_bytes + FREELIST_OVERHEAD + FREELIST_ALIGN - 1) / FREELIST_ALIGN * 2;
}

/* The next address at or above, or at or below, where a header may be. */
static inline uint64_t freelist_header_up(uint64_t address)
{
    return ((address + FREELIST_GRANULE - 1) & ~(FREELIST_ALIGN - 1)) + FREELIST_GRANULE;
}

static inline uint64_t freelist_header_down(uint64_t address)
{
    return ((address - FREELIST_GRANULE) & ~(FREELIST_ALIGN - 1)) + FREELIST_GRANULE;
}

/* ---- of the block in use whose header is at @p at ------------------------ */

static inline uint64_t freelist_asked(const struct loam_freelist *list, uint64_t at)
{
    return freelist_mark_bits(list, at);
}

static inline uint64_t freelist_size(const struct loam_freelist *list, uint64_t at)
{
    return freelist_size_for(freelist_asked(list, at));
}

static inline unsigned char *freelist_block(const struct loam_freelist *list, uint64_t at)
{
    return (unsigned char *)(uintptr_t)freelist_address(list, at + 1);
}

static inline uint64_t freelist_guard(const struct loam_freelist *list, uint64_t at)
{
    return loam_digest_add(list->cookie ^ at, freelist_asked(list, at));
}

/* Is there a header at @p at, a place below the end? */
static inline bool freelist_is_used(const struct loam_freelist *list, uint64_t at)
{
    return freelist_mark_at(list, at) == FREELIST_USED &&
           freelist_size(list, at) <= list->place_end - at;
}

static inline bool freelist_is_guarded(const struct loam_freelist *list, uint64_t at)
{
    const uint64_t guard = freelist_guard(list, at);
    const unsigned char *const end = freelist_block(list, at) + freelist_asked(list, at);
    return __builtin_memcmp(end, &guard, sizeof(guard)) == 0;
}

static inline void freelist_set_used(struct loam_freelist *list, uint64_t at, uint64_t size_bytes)
{
    freelist_set_mark(list, at, FREELIST_USED, size_bytes);
    const uint64_t guard = freelist_guard(list, at);
    __builtin_memcpy(freelist_block(list, at) + size_bytes, &guard, sizeof(guard));
}

#endif
