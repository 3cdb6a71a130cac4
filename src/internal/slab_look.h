/*
 * slab_look.h - slabs and magazines of a heap as whoever looks at them needs them:
 * heap_look.c, heap_audit.c, slab_cache.c.
 */
#ifndef LOAM_INTERNAL_SLAB_LOOK_H
#define LOAM_INTERNAL_SLAB_LOOK_H

#include "heap_hard.h"
#include "slab_extra.h"
#include "slab_head.h"

/* Magazines are another CPU's own, without a lock: words of theirs that are read while
 * it works there are of different moments. */
#define LOOK_RACY __attribute__((no_sanitize("thread")))

/* Size classes, then caches. @param last NULL: to begin. @return NULL: that was the last */
static inline const struct loam_slab_cache *look_cache_next(const struct loam_heap *heap,
                                                            const struct loam_slab_cache *last)
{
    const struct loam_slab_extra *extra = heap->caches;

    if (last == NULL)
        return &heap->cache[1];
    if (last->extra == NULL && last->kind + 1 < LOAM_HEAP_CLASSES)
        return &heap->cache[last->kind + 1];
    if (last->extra != NULL)
        extra = last->extra->next;
    return extra == NULL ? NULL : &extra->cache;
}

/* A CPU's magazine of a cache; NULL: it has none. */
static inline const struct loam_magazine *look_magazine(const struct loam_heap *heap,
                                                        const struct loam_slab_cache *cache,
                                                        unsigned cpu)
{
    if (cache->extra != NULL) {
        const struct loam_slab_cpu *const lists = atomic_load(&cache->extra->cpu[cpu]);
        return lists == NULL ? NULL : &lists->magazine;
    }
    const struct loam_heap_cpu *const lists = atomic_load(&heap->cpu[cpu]);
    return lists == NULL ? NULL : &lists->magazine[cache->kind];
}

/* How many objects it has. What is not of one moment is never more than there is room
 * for: magazines lie in pages that stay what they are. */
LOOK_RACY static inline size_t look_magazine_count(const struct loam_magazine *magazine)
{
    void **const limit = __atomic_load_n(&magazine->limit, __ATOMIC_SEQ_CST);
    void **const top = __atomic_load_n(&magazine->top, __ATOMIC_SEQ_CST);
    const uintptr_t room = (uintptr_t)__atomic_load_n(&limit[1], __ATOMIC_SEQ_CST);
    const uintptr_t left = ((uintptr_t)limit - (uintptr_t)top) / sizeof(void *);

    return room > LOAM_SLAB_MAGAZINE_MAX || left > room ? 0 : room - left;
}

/* What a CPU of a hardened heap holds back, one of its places. @return NULL: nothing */
static inline void *look_held(const struct loam_heap *heap, const struct loam_slab_cache *cache,
                              unsigned place)
{
#if LOAM_HEAP_MODE == LOAM_HEAP_HARDENED
    const struct loam_heap_cpu *const cpu = atomic_load(&heap->cpu[place / LOAM_HEAP_HELD]);

    if (cpu == NULL || cache->kind == LOAM_PAGEMAP_CACHE)
        return NULL;
    return __atomic_load_n(&cpu->hard.held[cache->kind][place % LOAM_HEAP_HELD], __ATOMIC_SEQ_CST);
#else
    (void)heap, (void)cache, (void)place;
    return NULL;
#endif
}

static inline unsigned look_held_places(const struct loam_heap *heap)
{
    return HEAP_IS_HARDENED ? heap->cpu_count * LOAM_HEAP_HELD : 0;
}

/* In the magazines of all CPUs, or held back by them. */
static inline uint64_t look_magazines_count(const struct loam_heap *heap,
                                            const struct loam_slab_cache *cache)
{
    uint64_t count = 0;

    for (unsigned cpu = 0; cpu < heap->cpu_count; cpu++) {
        const struct loam_magazine *const magazine = look_magazine(heap, cache, cpu);
        count += magazine == NULL ? 0 : look_magazine_count(magazine);
    }
    for (unsigned place = 0; place < look_held_places(heap); place++)
        count += look_held(heap, cache, place) != NULL;
    return count;
}

/* All objects that are neither live nor free in their slab. */
struct look_at_hand {
    const struct loam_heap *heap;
    const struct loam_slab_cache *cache;
    unsigned cpu;                   /* the next one */
    unsigned place;                 /* the next one: look_held() */
    void *const *next, *const *end; /* of a magazine */
};

/* @return NULL: that was the last. The cache is quiet */
static inline void *look_at_hand_next(struct look_at_hand *at)
{
    while (at->place < look_held_places(at->heap)) {
        void *const slot = look_held(at->heap, at->cache, at->place++);
        if (slot != NULL)
            return slot;
    }
    while (at->next == at->end) { /* ends: each CPU comes once */
        if (at->cpu == at->heap->cpu_count)
            return NULL;
        const struct loam_magazine *const magazine = look_magazine(at->heap, at->cache, at->cpu++);
        if (magazine == NULL)
            continue;
        at->end = magazine->top + 1;
        at->next = at->end - look_magazine_count(magazine);
    }
    return *at->next++;
}

/* Which slot an address is the start of; slot_count: of none. */
static inline unsigned look_slot_of(const struct loam_slab *slab, const void *object)
{
    const uint64_t offset = loam_virt_of(object).addr - slab->first;
    const uint64_t slot = offset / slab->cache->slot_bytes;

    return slot < slab->slot_count && offset % slab->cache->slot_bytes == 0 ? (unsigned)slot
                                                                            : slab->slot_count;
}

static inline struct loam_slab *look_slab_of(const struct loam_slab_cache *cache,
                                             const void *object)
{
    const uint64_t at = loam_virt_of(object).addr;

    return loam_pagemap_record(cache->map, loam_pagemap_look(cache->map, at));
}

/* Bits of a word of a slab's map that stand for slots. */
static inline uint64_t look_valid(const struct loam_slab *slab, unsigned word)
{
    const unsigned rest = slab->slot_count - word * 64;

    return rest < 64 ? (UINT64_C(1) << rest) - 1 : UINT64_MAX;
}

/*
 * Mark the first so many objects at hand as free in their slabs, or no longer. Between the
 * two, what is not free in its slab is live. @param count SIZE_MAX: all of them
 *
 * @return how many: less than there are, if one is marked already
 */
static inline size_t look_park(const struct loam_heap *heap, const struct loam_slab_cache *cache,
                               size_t count, bool is_on)
{
    struct look_at_hand at = { .heap = heap, .cache = cache };
    size_t done = 0;

    for (; done < count; done++) {
        const void *const object = look_at_hand_next(&at);
        if (object == NULL)
            break;
        struct loam_slab *const slab = look_slab_of(cache, object);
        const unsigned slot = look_slot_of(slab, object);
        const uint64_t bit = UINT64_C(1) << slot % 64;
        if (((slab->free[slot / 64] & bit) != 0) == is_on)
            break;
        slab->free[slot / 64] ^= bit;
    }
    return done;
}

#endif
