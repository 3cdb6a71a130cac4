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
#define LOAM_SLAB_NAME_MAX       31u     /* characters */

struct loam_heap;
struct loam_slab;       /* the record of one */
struct loam_slab_extra; /* of a cache that is not a size class */

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
    struct loam_slab_extra *extra; /* NULL: a size class of a heap */
    /* guarded by lock */
    struct loam_slab_list partial, empty, full;
    uint64_t slab_count, page_count, empty_pages;
    uint64_t slot_count, free_count; /* of slabs; those in magazines are not free */
    uint64_t taken_peak;             /* highest slot_count - free_count */
    uint64_t taken_total, put_total; /* objects that went out of slabs, and came back */
#if LOAM_HEAP_MODE == LOAM_HEAP_HARDENED
    uint64_t random; /* which slots are taken first */
#endif
};

/* What a cache is to be. */
struct loam_slab_setup {
    const char *name;  /* 1..LOAM_SLAB_NAME_MAX characters; copied */
    size_t size_bytes; /* of an object, 1..LOAM_SLAB_OBJECT_MAX */
    size_t align;      /* power of two, 1..LOAM_SLAB_OBJECT_MAX; 0: 8 */
    /*
     * Called for each slot when its slab is made, and when it is given back; may be NULL.
     * An object is to be freed as the constructor leaves it: that state is kept until it
     * is allocated again. Whatever they write stays inside the object.
     *
     * Context: that of the call that needs the slab; with LOAM_GUARD_IRQ interrupts are
     * off. They may use the heap and other caches; of their own cache they get, and give,
     * objects, but no slab is made for that: allocating may fail where there is memory,
     * for a handler that comes meanwhile as well.
     */
    void (*constructor)(void *context, void *object);
    void (*destructor)(void *context, void *object);
    void *context; /* borrowed until loam_slab_destroy() */
};

/* An object that somebody has, as the walk shows it. */
struct loam_slab_object {
    loam_virt start;
    /* where the walk is; heap_look.c */
    const struct loam_slab *slab;
    unsigned list;
    uint64_t live[LOAM_SLAB_SLOTS_MAX / 64];
};

/* What a cache, or a size class, has; of one moment, but for what CPUs have at hand. */
struct loam_slab_stats {
    const char *name;    /* NULL: a size class */
    uint32_t slot_bytes; /* each object's place */
    uint64_t slab_count;
    uint64_t page_count;     /* of slabs */
    uint64_t slot_count;     /* = live_count + magazine_count + free_count */
    uint64_t live_count;     /* objects that somebody has */
    uint64_t magazine_count; /* that CPUs have at hand */
    uint64_t free_count;     /* in slabs */
    uint64_t taken_peak;     /* most that were live or at hand at once */
    uint64_t taken_total;    /* objects that left slabs, ever */
    uint64_t put_total;      /* that came back */
    uint64_t waste_bytes;    /* of slabs, for which there is no slot */
};

/*
 * Default context of the functions here: any CPU of the heap, any interrupt state, not
 * NMI, which is refused where it meets the CPU's own list; spins for other CPUs' turns.
 * @param cache, everywhere: from loam_slab_create(), not destroyed; else it panics
 */

/**
 * Make a cache. It takes its pages as the heap does, and no other cache's objects lie in
 * them: what is freed wrongly is never mistaken for an object of another type. An object
 * takes its size, rounded up to the alignment.
 *
 * @param heap  whose pages and page map it uses; borrowed until loam_slab_destroy()
 * @param setup not retained
 * @param out   the cache; owned by the heap until loam_slab_destroy()
 *
 * @return LOAM_OK; LOAM_INVALID: name missing, empty or too long, size or alignment out of
 *         range; LOAM_NO_MEMORY
 */
LOAM_NODISCARD enum loam_status loam_slab_create(struct loam_heap *heap,
                                                 const struct loam_slab_setup *setup,
                                                 struct loam_slab_cache **out);

/**
 * Take a cache away, and all its pages. Nobody else uses it meanwhile, or after it.
 *
 * @param live_count objects that somebody still has; may be NULL
 *
 * @return LOAM_OK; LOAM_STATE: there are live objects, or a CPU is in the cache (its
 *         constructor, say): all is as it was
 *
 * Context: not a handler, nor a constructor, a destructor or a writer of this heap.
 */
LOAM_NODISCARD enum loam_status loam_slab_destroy(struct loam_slab_cache *cache,
                                                  uint64_t *live_count);

/**
 * Allocate an object.
 *
 * @return contents as the constructor or who freed it left them, else undefined; NULL: no
 *         memory. The caller's until loam_slab_free()
 */
LOAM_NODISCARD void *loam_slab_alloc(struct loam_slab_cache *cache);
/** Free an object, on any CPU. @param object NULL: nothing is done. See above for what panics */
void loam_slab_free(struct loam_slab_cache *cache, void *object);

/** Allocate many. @return how many: fewer if memory is used up; the rest of @p out is undefined */
LOAM_NODISCARD size_t loam_slab_alloc_bulk(struct loam_slab_cache *cache, void **out, size_t count);
/** Free many; none is NULL. If one of them is not an object of the cache, none is freed. */
void loam_slab_free_bulk(struct loam_slab_cache *cache, void *const *object, size_t count);

/**
 * Give back what is free: what this CPU has at hand, and every empty slab. Other CPUs are
 * asked to do the same with what they have, when they next use the cache.
 *
 * @return pages given back
 */
uint64_t loam_slab_shrink(struct loam_slab_cache *cache);

/** Count, as loam_heap_measure() does. */
void loam_slab_measure(struct loam_slab_cache *cache, struct loam_slab_stats *out);

/** Walk the objects that somebody has, as loam_heap_next() does. @return false: no more */
LOAM_NODISCARD bool loam_slab_next(struct loam_slab_cache *cache, struct loam_slab_object *object);

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
