/*
 * slab_head.h - the record of a slab: which of its slots are free.
 */
#ifndef LOAM_INTERNAL_SLAB_HEAD_H
#define LOAM_INTERNAL_SLAB_HEAD_H

#include <loam/slab.h>

/*
 * Slot i starts at first + i * slot_bytes. The last one ends with the slab; in a cache that
 * is not a size class, a few times 64 bytes before it: where an object's first bytes lie
 * in the CPU's caches differs from slab to slab.
 */
struct loam_slab {
    struct loam_slab *next, *before; /* in a list of its cache */
    struct loam_slab_cache *cache;
    uint64_t first;
    uint16_t slot_count;
    uint16_t free_count;
    uint16_t word; /* no free slot in words before this one */
    uint8_t order;
    uint8_t colour; /* SLAB_COLOUR bytes each that are left free at the end */
#if LOAM_HEAP_MODE == LOAM_HEAP_HARDENED
    LOAM_ATOMIC(uint64_t) fresh; /* a bit for each of the first slots: never handed out, zeroes */
#endif
    uint64_t free[]; /* a bit for each slot */
};

static inline unsigned slab_words(unsigned slot_count)
{
    return (slot_count + 63) / 64;
}

static inline size_t slab_record_bytes(unsigned slot_count)
{
    return sizeof(struct loam_slab) + slab_words(slot_count) * sizeof(uint64_t);
}

#define SLAB_COLOUR 64u /* bytes */

/* First byte of the slab's pages. */
static inline uint64_t slab_start(const struct loam_slab *slab)
{
    const uint64_t end = slab->first + (uint64_t)slab->slot_count * slab->cache->slot_bytes;
    return end + (uint64_t)slab->colour * SLAB_COLOUR - loam_order_bytes(slab->order);
}

/* ---- what a heap's or a cache's CPU calls, inside its guard ------------------- */

/** An object, and others for the magazine, which is empty. @return NULL: no memory */
LOAM_NODISCARD void *loam_slab_refill(struct loam_slab_cache *cache,
                                      struct loam_magazine *magazine);
/** Put an object into a full magazine: others leave it, or it grows. */
void loam_slab_spill(struct loam_slab_cache *cache, struct loam_magazine *magazine, void *object);
/** Give back all objects of a magazine, and its memory. */
void loam_slab_drop(struct loam_slab_cache *cache, struct loam_magazine *magazine, void **nothing);

/* ---- and what may be called anywhere ------------------------------------------ */

/** Objects straight from slabs. @return how many */
LOAM_NODISCARD size_t loam_slab_take(struct loam_slab_cache *cache, void **out, size_t count);
/** Give objects back; panics as slab.h says. */
void loam_slab_put(struct loam_slab_cache *cache, void *const *object, size_t count);
/** Give empty slabs back. @return pages */
uint64_t loam_slab_trim(struct loam_slab_cache *cache);

#endif
