/*
 * slab_extra.h - what a cache that somebody made has beside its slabs: slab_cache.c.
 *
 * The record of such a cache is one of these; its caller holds the address of the first
 * field. It is in the heap's list; who walks that list without its lock keeps the record
 * from being freed by its number of users.
 */
#ifndef LOAM_INTERNAL_SLAB_EXTRA_H
#define LOAM_INTERNAL_SLAB_EXTRA_H

#include <loam/heap.h>

#include "slab_head.h"

/* Of a CPU that has used the cache. */
struct loam_slab_cpu {
    struct loam_guard guard;
    struct loam_magazine magazine;
    void *nothing[2]; /* an empty magazine without room */
};

struct loam_slab_extra {
    struct loam_slab_cache cache; /* cache.extra is this */
    struct loam_heap *heap;
    struct loam_slab_extra *next, *before; /* guarded by heap->caches_lock */
    unsigned users;                        /* the same: who walks the list, and is at this one */
    bool is_closing;                       /* the same: walks leave it out */
    void (*constructor)(void *context, void *object);
    void (*destructor)(void *context, void *object);
    void *context;
    uint32_t colour_step;         /* of the next slab: so many SLAB_COLOUR more */
    LOAM_ATOMIC(uint32_t) colour; /* slabs that were made */
    char name[LOAM_SLAB_NAME_MAX + 1];
    LOAM_ATOMIC(struct loam_slab_cpu *) cpu[]; /* NULL: has not used it yet */
    /* then a byte for each CPU: is it in the constructor or the destructor? */
};

static inline size_t slab_extra_bytes(const struct loam_heap *heap)
{
    return sizeof(struct loam_slab_extra) +
           heap->cpu_count * (sizeof(struct loam_slab_cpu *) + sizeof(uint8_t));
}

/* The next cache of a heap; it stays until the call for the one after it. */
static inline struct loam_slab_extra *slab_extra_next(struct loam_heap *heap,
                                                      struct loam_slab_extra *last)
{
    const loam_irq_state irq = loam_spinlock_acquire_irq(&heap->caches_lock);
    struct loam_slab_extra *next = last == NULL ? heap->caches : last->next;

    while (next != NULL && next->is_closing)
        next = next->next;
    if (next != NULL)
        next->users++;
    if (last != NULL)
        last->users--;
    loam_spinlock_release_irq(&heap->caches_lock, irq);
    return next;
}

/* Give back what a CPU has at hand, unless somebody is at it there: he does it next time. */
static inline void slab_extra_drop(struct loam_slab_extra *extra, unsigned index)
{
    struct loam_slab_cpu *const cpu = atomic_load(&extra->cpu[index]);

    if (cpu == NULL)
        return;
    atomic_store(&cpu->guard.is_wanted, 1);
    if (!loam_guard_enter(&cpu->guard))
        return;
    atomic_store(&cpu->guard.is_wanted, 0);
    loam_slab_drop(&extra->cache, &cpu->magazine, cpu->nothing);
    loam_guard_leave(&cpu->guard);
}

/* Let the other CPUs do the same when they use the cache next. */
static inline void slab_extra_ask(struct loam_slab_extra *extra)
{
    for (unsigned i = 0; i < extra->heap->cpu_count; i++) {
        struct loam_slab_cpu *const cpu = atomic_load(&extra->cpu[i]);
        if (cpu != NULL)
            atomic_store(&cpu->guard.is_wanted, 1);
    }
}

/* ---- what slab.c asks of a cache when it makes a slab, and when it gives one back ------ */

static inline bool slab_extra_has_hooks(const struct loam_slab_extra *extra)
{
    return extra != NULL && (extra->constructor != NULL || extra->destructor != NULL);
}

/* The running CPU's byte; NULL: the heap was not told of this CPU. Pinned. */
static inline LOAM_ATOMIC(uint8_t) * slab_extra_busy(struct loam_slab_extra *extra)
{
    const unsigned index = loam_port_cpu();
    LOAM_ATOMIC(uint8_t) *const busy =
        (LOAM_ATOMIC(uint8_t) *)(uintptr_t)&extra->cpu[extra->heap->cpu_count];

    return index < extra->heap->cpu_count ? &busy[index] : NULL;
}

/*
 * Is this CPU in a constructor or destructor of the cache? There, no slab is made or given
 * back, or that would go on without end. The same for a CPU that cannot tell.
 */
static inline bool slab_extra_is_busy(const struct loam_slab_cache *cache)
{
    if (!slab_extra_has_hooks(cache->extra))
        return false;
    const uint64_t pinned = loam_guard_pin();
    const LOAM_ATOMIC(uint8_t) *const busy = slab_extra_busy(cache->extra);
    const bool is_busy = busy == NULL || atomic_load(busy) != 0;
    loam_guard_unpin(pinned);
    return is_busy;
}

/* What the next slab leaves free at its end, of so many bytes that no slot needs. */
static inline uint8_t slab_extra_colour(const struct loam_slab_cache *cache, uint64_t bytes)
{
    if (cache->extra == NULL)
        return 0;
    const uint32_t step = cache->extra->colour_step;
    const uint64_t most = bytes / SLAB_COLOUR < 255 ? bytes / SLAB_COLOUR : 255;
    const uint32_t number = atomic_fetch_add(&cache->extra->colour, 1);
    return (uint8_t)(number % (most / step + 1) * step);
}

static inline void slab_extra_each(const struct loam_slab *slab,
                                   void (*hook)(void *context, void *object))
{
    struct loam_slab_extra *const extra = slab->cache->extra;
    const uint64_t pinned = loam_guard_pin();
    LOAM_ATOMIC(uint8_t) *const busy = slab_extra_busy(extra);

    if (busy != NULL)
        atomic_store(busy, 1);
    for (unsigned i = 0; i < slab->slot_count; i++)
        hook(extra->context,
             (void *)(uintptr_t)(slab->first + (uint64_t)i * slab->cache->slot_bytes));
    if (busy != NULL)
        atomic_store(busy, 0);
    loam_guard_unpin(pinned);
}

static inline void slab_extra_construct(const struct loam_slab *slab)
{
    if (slab->cache->extra != NULL && slab->cache->extra->constructor != NULL)
        slab_extra_each(slab, slab->cache->extra->constructor);
}

static inline void slab_extra_destruct(const struct loam_slab *slab)
{
    if (slab->cache->extra != NULL && slab->cache->extra->destructor != NULL)
        slab_extra_each(slab, slab->cache->extra->destructor);
}

#endif
