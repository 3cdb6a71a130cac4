/*
 * slab.h - layer 7: caches of equal objects, with a magazine for every CPU.
 *
 *     magazine of a CPU   | NULL | object | object | top ... limit |     no lock
 *                                     ^ half a magazine at a time
 *     cache               slabs with free slots, empty ones, full ones   a lock
 *     slab                [ .. | slot | slot | slot ]   2^order pages; slots end at its end
 *     record of a slab    one bit for each slot: free?  elsewhere: pagemap.h
 *
 * Objects carry nothing: no header, no link. What is free is known by bits in the slab's
 * record and by pointers in magazines, both out of reach of an object. An object that is
 * freed goes to the magazine of the CPU that frees it, whoever allocated it; half of a full
 * one goes back to the slabs, half of an empty one is filled from them, lowest addresses
 * first, so that a lock is taken once for many objects. Magazines are made when a CPU first uses a
 * cache and double in size each time they prove too small, to LOAM_SLAB_MAGAZINE_BYTES of
 * objects or LOAM_SLAB_MAGAZINE_MAX of them.
 *
 * Slabs begin at the smallest size that wastes little, and later ones are larger: up to
 * an eighth of what the cache has. Empty ones go back at once, but for an eighth of the
 * cache's pages.
 *
 * What is caught, always (subject: the object):
 *
 *     slab: not an object of this cache   foreign, inside of an object, of another cache
 *     slab: already free                  freed twice in a row on a CPU; any other second
 *                                         free at the latest when both are back in the
 *                                         slab, if it was not given out in between
 */
#ifndef LOAM_SLAB_H
#define LOAM_SLAB_H

#include "guard.h"
#include "lock.h"
#include "pagemap.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LOAM_SLAB_OBJECT_MAX     65536u /* bytes */
#define LOAM_SLAB_SLOTS_MAX      1024u  /* in a slab */
#define LOAM_SLAB_ORDER_MAX      6u     /* of a slab: 256 KiB */
#define LOAM_SLAB_MAGAZINE_MIN   2u
#define LOAM_SLAB_MAGAZINE_MAX   254u
#define LOAM_SLAB_MAGAZINE_BYTES 131072u /* of objects in a magazine of more than the least */

struct loam_slab; /* the record of one */

/* Objects that a CPU has at hand: NULL, the oldest .. the newest, room; behind that, how
 * many there is room for. */
struct loam_magazine {
    void **top;   /* the newest, or the NULL */
    void **limit; /* top, when full */
};

/* Slabs of one sort, the last one that was added first. */
struct loam_slab_list {
    struct loam_slab *first;
};

/* Read-only outside slab*.c. Must not move. */
struct loam_slab_cache {
    struct loam_spinlock lock;
    unsigned kind;         /* in the page map */
    uint32_t slot_bytes;   /* from one object to the next */
    uint32_t inverse;      /* 2^32 / slot_bytes, rounded up */
    unsigned order_min;    /* of the first slab */
    unsigned order_max;    /* of the largest */
    unsigned magazine_max; /* objects */
    struct loam_pagemap *map;
    const char *name; /* permanent */
    /* guarded by lock */
    struct loam_slab_list partial, empty, full;
    uint64_t slab_count, page_count, empty_pages;
    uint64_t slot_count, free_count; /* of slabs; those in magazines are not free */
    uint64_t taken_peak;             /* highest slot_count - free_count */
    uint64_t taken_total, put_total; /* objects that went out of slabs, and came back */
};

struct loam_slab_cache_stats {
    uint64_t slab_count, page_count;
    uint64_t slot_count, free_count;
    uint64_t taken_peak;
    uint64_t taken_total, put_total;
    uint64_t record_bytes;
};

#ifndef __cplusplus
/**
 * Take the newest object of a magazine.
 *
 * @return NULL: there is none
 *
 * Context: inside the guard of whose magazine it is.
 */
static inline void *loam_magazine_pop(struct loam_magazine *magazine)
{
    void **const top = magazine->top;
    void *const object = *top;

    if (__builtin_expect(object != NULL, 1))
        magazine->top = top - 1;
    return object;
}

/**
 * Put an object into a magazine.
 *
 * @return false: it is full, or the object is the newest one in it already
 */
static inline bool loam_magazine_push(struct loam_magazine *magazine, void *object)
{
    void **const top = magazine->top;

    if (__builtin_expect(top == magazine->limit || *top == object, 0))
        return false;
    top[1] = object;
    magazine->top = top + 1;
    return true;
}
#endif

#ifdef __cplusplus
}
#endif
#endif
