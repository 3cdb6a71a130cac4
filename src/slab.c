/*
 * slab.c - slabs and magazines; see slab.h.
 *
 * Which slots are free is said by bits that cache->lock guards; a slab is in the list
 * that its number of free slots says. Pages and records are taken before the lock is,
 * and given back after it was released.
 */
#include <loam/slab.h>

#include "internal/check.h"
#include "internal/heap_hard.h"
#include "internal/heap_pages.h"
#include "internal/inject.h"
#include "internal/slab_extra.h"
#include "internal/slab_head.h"

#define SLAB_FOREIGN "slab: not an object of this cache"
#define SLAB_TWICE   "slab: already free"

/* Of a cache's pages one in so many may be in slabs that are empty, or make up a new slab. */
#define SLAB_SPARE_OF    8u
#define SLAB_SPARE_PAGES 4u /* in slabs that are empty, in any case */

/* ---- lists ------------------------------------------------------------------ */

static struct loam_slab_list *slab_list_of(struct loam_slab *slab)
{
    struct loam_slab_cache *const cache = slab->cache;

    if (slab->free_count == 0)
        return &cache->full;
    return slab->free_count == slab->slot_count ? &cache->empty : &cache->partial;
}

static void slab_link(struct loam_slab_list *list, struct loam_slab *slab)
{
    slab->before = NULL;
    slab->next = list->first;
    if (list->first != NULL)
        list->first->before = slab;
    list->first = slab;
}

static void slab_unlink(struct loam_slab_list *list, struct loam_slab *slab)
{
    if (slab->before != NULL)
        slab->before->next = slab->next;
    else
        list->first = slab->next;
    if (slab->next != NULL)
        slab->next->before = slab->before;
}

/* ---- new slabs, old slabs ----------------------------------------------------- */

static unsigned slab_order_next(const struct loam_slab_cache *cache)
{
    unsigned order = cache->order_min;

    while (order < cache->order_max &&
           (UINT64_C(1) << (order + 1)) * SLAB_SPARE_OF <= cache->page_count)
        order++;
    return order;
}

/* Slots of a hardened heap are zeroes when they are handed out for the first time. */
static void slab_make_hard(struct loam_slab *slab, void *pages, bool is_zeroed)
{
#if LOAM_HEAP_MODE == LOAM_HEAP_HARDENED
    if (!is_zeroed)
        __builtin_memset(pages, 0, loam_order_bytes(slab->order));
    slab->fresh = UINT64_MAX;
#else
    (void)slab, (void)pages, (void)is_zeroed;
#endif
}

/* All slots free; nobody else knows it. */
static struct loam_slab *slab_make(struct loam_slab_cache *cache, unsigned order)
{
    const uint64_t bytes = loam_order_bytes(order);
    const unsigned slot_count = (unsigned)(bytes / cache->slot_bytes);
    const uint64_t align = cache->slot_bytes & -cache->slot_bytes; /* what aligned blocks rely on */
    const struct heap_pages_request request = { UINT64_C(1) << order,
                                                align < LOAM_PAGE_SIZE ? LOAM_PAGE_SIZE : align,
                                                false };
    bool is_zeroed;
    const uint64_t used = (uint64_t)slot_count * cache->slot_bytes;
    struct loam_slab *const slab =
        slab_extra_is_busy(cache) ? NULL
                                  : loam_pagemap_alloc(cache->map, slab_record_bytes(slot_count));

    if (slab == NULL)
        return NULL;
    void *const pages =
        LOAM_INJECT("slab.pages") ? NULL : loam_heap_pages_take(cache->map, &request, &is_zeroed);
    const uint64_t start = loam_virt_of(pages).addr;
    if (pages == NULL || loam_pagemap_prepare(cache->map, start, request.page_count) != LOAM_OK) {
        if (pages != NULL)
            loam_heap_pages_give(cache->map, pages, request.page_count);
        loam_pagemap_free(cache->map, slab, slab_record_bytes(slot_count));
        return NULL;
    }
    slab->cache = cache;
    slab->colour = slab_extra_colour(cache, bytes - used);
    slab->first = start + (bytes - used) - (uint64_t)slab->colour * SLAB_COLOUR;
    slab->slot_count = (uint16_t)slot_count;
    slab->free_count = (uint16_t)slot_count;
    slab->order = (uint8_t)order;
    slab_make_hard(slab, pages, is_zeroed);
    for (unsigned i = 0; i < slot_count; i += 64)
        slab->free[i / 64] =
            slot_count - i < 64 ? (UINT64_C(1) << (slot_count - i)) - 1 : UINT64_MAX;
    slab_extra_construct(slab);
    const struct loam_pagemap_mark mark = { start, request.page_count, cache->kind, slab };
    loam_pagemap_set(cache->map, &mark);
    return slab;
}

/* Pages of a hardened heap go back as zeroes; so are the slots of a size class, when free. */
static void slab_unmake_hard(const struct loam_slab *slab)
{
    if (LOAM_HEAP_MODE == LOAM_HEAP_HARDENED && slab->cache->kind == LOAM_PAGEMAP_CACHE)
        __builtin_memset((void *)(uintptr_t)slab_start(slab), 0, loam_order_bytes(slab->order));
}

/* Give the pages of slabs back that are in no list any more. */
static void slab_unmake(struct loam_slab_cache *cache, struct loam_slab *chain)
{
    while (chain != NULL) {
        struct loam_slab *const slab = chain;
        const uint64_t start = slab_start(slab);
        const struct loam_pagemap_mark mark = { start, UINT64_C(1) << slab->order,
                                                LOAM_PAGEMAP_NOTHING, NULL };
        chain = slab->next;
        slab_extra_destruct(slab);
        slab_unmake_hard(slab);
        loam_pagemap_set(cache->map, &mark);
        loam_heap_pages_give(cache->map, (void *)(uintptr_t)start, mark.page_count);
        loam_pagemap_free(cache->map, slab, slab_record_bytes(slab->slot_count));
    }
}

static void slab_add_locked(struct loam_slab_cache *cache, struct loam_slab *slab)
    LOAM_NEEDS(cache->lock)
{
    slab_link(&cache->empty, slab);
    cache->slab_count++;
    cache->page_count += UINT64_C(1) << slab->order;
    cache->empty_pages += UINT64_C(1) << slab->order;
    cache->slot_count += slab->slot_count;
    cache->free_count += slab->slot_count;
}

/* Unlink empty slabs until at most so many pages are in such. @return a chain of them */
static struct loam_slab *slab_shrink_locked(struct loam_slab_cache *cache, uint64_t most)
    LOAM_NEEDS(cache->lock)
{
    struct loam_slab *chain = NULL;

    while (cache->empty_pages > most) {
        struct loam_slab *const slab = cache->empty.first;
        slab_unlink(&cache->empty, slab);
        cache->slab_count--;
        cache->page_count -= UINT64_C(1) << slab->order;
        cache->empty_pages -= UINT64_C(1) << slab->order;
        cache->slot_count -= slab->slot_count;
        cache->free_count -= slab->slot_count;
        slab->next = chain;
        chain = slab;
    }
    return chain;
}

/* Into the list that the number of its free slots says; it was in another one. */
static void slab_sort_locked(struct loam_slab_cache *cache, struct loam_slab *slab,
                             struct loam_slab_list *list) LOAM_NEEDS(cache->lock)
{
    struct loam_slab_list *const now = slab_list_of(slab);

    if (now == list)
        return;
    slab_unlink(list, slab);
    slab_link(now, slab);
    if (now == &cache->empty)
        cache->empty_pages += UINT64_C(1) << slab->order;
}

/* ---- slots ------------------------------------------------------------------- */

#if LOAM_HEAP_MODE == LOAM_HEAP_HARDENED

/* Take free slots from any word and any bit on. @return how many */
static size_t slab_take_slots(struct loam_slab *slab, void **end, size_t count)
{
    const uint64_t slot_bytes = slab->cache->slot_bytes;
    const unsigned words = slab_words(slab->slot_count);
    unsigned word = heap_hard_below(&slab->cache->random, words);
    void **at = end;
    void **const least = end - count;

    for (unsigned i = 0; i < words && at != least; i++) {
        const unsigned turn = heap_hard_random(&slab->cache->random) & 63;
        const uint64_t base = slab->first + word * 64 * slot_bytes;
        const uint64_t low = slab->free[word] & ((UINT64_C(1) << turn) - 1);
        uint64_t bits = slab->free[word] ^ low;
        for (; bits != 0 && at != least; bits &= bits - 1)
            *--at = (void *)(uintptr_t)(base + (unsigned)__builtin_ctzll(bits) * slot_bytes);
        uint64_t others = low;
        for (; others != 0 && at != least; others &= others - 1)
            *--at = (void *)(uintptr_t)(base + (unsigned)__builtin_ctzll(others) * slot_bytes);
        slab->free[word] = bits | others;
        word = word + 1 == words ? 0 : word + 1;
    }
    slab->free_count = (uint16_t)(slab->free_count - (end - at));
    return (size_t)(end - at);
}

#else

/* A word's slots, all of them free, to places that end at @p end. */
static void slab_take_word(uint64_t at, uint64_t slot_bytes, void **end)
{
    for (unsigned i = 0; i < 64; i++, at += slot_bytes)
        *--end = (void *)(uintptr_t)at;
}

/* Take free slots, the lowest last before @p end. @return how many */
static size_t slab_take_slots(struct loam_slab *slab, void **end, size_t count)
{
    const uint64_t slot_bytes = slab->cache->slot_bytes;
    const unsigned words = slab_words(slab->slot_count);
    unsigned word = slab->word;
    void **at = end;
    void **const least = end - count;

    for (; word < words; word++) {
        const uint64_t base = slab->first + (uint64_t)word * 64 * slot_bytes;
        uint64_t bits = slab->free[word];
        if (bits == UINT64_MAX && at - least >= 64) {
            slab_take_word(base, slot_bytes, at);
            at -= 64;
            bits = 0;
        }
        for (; bits != 0 && at != least; bits &= bits - 1)
            *--at = (void *)(uintptr_t)(base + (unsigned)__builtin_ctzll(bits) * slot_bytes);
        slab->free[word] = bits;
        if (at == least)
            break;
    }
    slab->word = (uint16_t)word;
    slab->free_count = (uint16_t)(slab->free_count - (end - at));
    return (size_t)(end - at);
}

#endif

/* Into out[0, taken): what is to be used first is last. */
static size_t slab_take_locked(struct loam_slab_cache *cache, void **out, size_t count)
    LOAM_NEEDS(cache->lock)
{
    size_t taken = 0;

    while (taken < count) {
        struct loam_slab *slab = cache->partial.first;
        if (slab == NULL) {
            slab = cache->empty.first;
            if (slab == NULL)
                break;
            cache->empty_pages -= UINT64_C(1) << slab->order;
        }
        struct loam_slab_list *const list = slab_list_of(slab);
        taken += slab_take_slots(slab, out + (count - taken), count - taken);
        slab_sort_locked(cache, slab, list);
    }
    if (taken != 0 && taken < count)
        __builtin_memmove(out, out + (count - taken), taken * sizeof(void *));
    cache->free_count -= taken;
    cache->taken_total += taken;
    if (cache->slot_count - cache->free_count > cache->taken_peak)
        cache->taken_peak = cache->slot_count - cache->free_count;
    return taken;
}

/* The slab that an object lies in. Anything else panics; nothing is read but records. */
static struct loam_slab *slab_of(const struct loam_slab_cache *cache, uint64_t at)
{
    const uint64_t entry = loam_pagemap_look(cache->map, at);

    LOAM_REQUIRE(entry != 0 && loam_pagemap_kind(entry) == cache->kind, SLAB_FOREIGN, at, 0);
    struct loam_slab *const slab = loam_pagemap_record(cache->map, entry);
    LOAM_REQUIRE(slab->cache == cache, SLAB_FOREIGN, at, 0);
    return slab;
}

/* Put those back that are of this slab; where they begin was looked at when they were freed.
 * @return how many, from the first on */
static inline size_t slab_put_slots(struct loam_slab *slab, void *const *object, size_t count)
{
    const uint64_t first = slab->first, inverse = slab->cache->inverse;
    const uint64_t bytes = (uint64_t)slab->slot_count * slab->cache->slot_bytes;
    size_t i = 0;

    for (; i < count; i++) {
        const uint64_t offset = loam_virt_of(object[i]).addr - first;
        if (offset >= bytes)
            break;
        const uint64_t slot = offset * inverse >> 32;
        const uint64_t bit = UINT64_C(1) << slot % 64;
        const uint64_t bits = slab->free[slot / 64];
        LOAM_AUDIT(offset == slot * slab->cache->slot_bytes);
        LOAM_REQUIRE((bits & bit) == 0, SLAB_TWICE, first + offset, 0);
        slab->free[slot / 64] = bits | bit;
    }
    slab->word = 0;
    slab->free_count = (uint16_t)(slab->free_count + i);
    return i;
}

/* Objects that come one after the other are often of one slab: it is looked for once. */
static void slab_put_locked(struct loam_slab_cache *cache, void *const *object, size_t count)
    LOAM_NEEDS(cache->lock)
{
    for (size_t i = 0; i < count;) {
        const uint64_t at = loam_virt_of(object[i]).addr;
        struct loam_slab *const slab = slab_of(cache, at);
        struct loam_slab_list *const list = slab_list_of(slab);
        const size_t put = slab_put_slots(slab, object + i, count - i);
        LOAM_REQUIRE(put != 0, SLAB_FOREIGN, at, 0); /* below the first slot */
        slab_sort_locked(cache, slab, list);
        i += put;
    }
    cache->free_count += count;
    cache->put_total += count;
}

size_t loam_slab_take(struct loam_slab_cache *cache, void **out, size_t count)
{
    loam_irq_state irq = loam_spinlock_acquire_irq(&cache->lock);
    size_t taken = slab_take_locked(cache, out, count);

    while (taken == 0) { /* again only if other CPUs were faster */
        const unsigned order = slab_order_next(cache);
        loam_spinlock_release_irq(&cache->lock, irq);
        struct loam_slab *slab = slab_make(cache, order);
        if (slab == NULL && order != cache->order_min)
            slab = slab_make(cache, cache->order_min);
        irq = loam_spinlock_acquire_irq(&cache->lock);
        if (slab != NULL)
            slab_add_locked(cache, slab);
        taken = slab_take_locked(cache, out, count);
        if (slab == NULL)
            break;
    }
    loam_spinlock_release_irq(&cache->lock, irq);
    return taken;
}

void loam_slab_put(struct loam_slab_cache *cache, void *const *object, size_t count)
{
    const loam_irq_state irq = loam_spinlock_acquire_irq(&cache->lock);

    slab_put_locked(cache, object, count);
    struct loam_slab *const chain =
        slab_extra_is_busy(cache)
            ? NULL
            : slab_shrink_locked(cache, cache->page_count / SLAB_SPARE_OF + SLAB_SPARE_PAGES);
    loam_spinlock_release_irq(&cache->lock, irq);
    slab_unmake(cache, chain);
}

uint64_t loam_slab_trim(struct loam_slab_cache *cache)
{
    if (slab_extra_is_busy(cache))
        return 0;
    const loam_irq_state irq = loam_spinlock_acquire_irq(&cache->lock);
    const uint64_t pages = cache->empty_pages;
    struct loam_slab *const chain = slab_shrink_locked(cache, 0);

    loam_spinlock_release_irq(&cache->lock, irq);
    slab_unmake(cache, chain);
    return pages;
}

/* ---- magazines ----------------------------------------------------------------- */

static size_t magazine_room(const struct loam_magazine *magazine)
{
    return (size_t)(uintptr_t)magazine->limit[1];
}

static size_t magazine_bytes(size_t room)
{
    return (room + 2) * sizeof(void *);
}

/* Where the NULL is. */
static void **magazine_base(const struct loam_magazine *magazine)
{
    return magazine->limit - magazine_room(magazine);
}

/* Twice the size, with the same objects. @return false: large enough, or no memory */
static bool magazine_grow(const struct loam_slab_cache *cache, struct loam_magazine *magazine)
{
    const size_t old = magazine_room(magazine);
    const size_t room = old == 0 ? LOAM_SLAB_MAGAZINE_MIN : 2 * old + 2;
    void **const from = magazine_base(magazine);
    const size_t count = (size_t)(magazine->top - from);

    if (room > cache->magazine_max)
        return false;
    void **const base = loam_pagemap_alloc(cache->map, magazine_bytes(room));
    if (base == NULL)
        return false;
    __builtin_memcpy(base, from, (count + 1) * sizeof(void *));
    magazine->top = base + count;
    magazine->limit = base + room;
    magazine->limit[1] = (void *)(uintptr_t)room;
    if (old != 0)
        loam_pagemap_free(cache->map, from, magazine_bytes(old));
    return true;
}

void *loam_slab_refill(struct loam_slab_cache *cache, struct loam_magazine *magazine)
{
    void *object;

    (void)magazine_grow(cache, magazine);
    const size_t wanted = magazine_room(magazine) / 2;
    void **const place = magazine->top + 1;
    if (wanted == 0)
        return loam_slab_take(cache, &object, 1) == 1 ? object : NULL;
    const size_t taken = loam_slab_take(cache, place, wanted);
    magazine->top += taken;
    return taken == 0 ? NULL : *magazine->top--;
}

void loam_slab_spill(struct loam_slab_cache *cache, struct loam_magazine *magazine, void *object)
{
    if (!magazine_grow(cache, magazine)) {
        const size_t room = magazine_room(magazine);
        const size_t gone = room / 2;
        void **const base = magazine_base(magazine);
        if (room == 0) {
            loam_slab_put(cache, &object, 1);
            return;
        }
        loam_slab_put(cache, base + 1, gone);
        __builtin_memmove(base + 1, base + 1 + gone, (room - gone) * sizeof(void *));
        magazine->top = base + (room - gone);
    }
    *++magazine->top = object;
}

void loam_slab_drop(struct loam_slab_cache *cache, struct loam_magazine *magazine, void **nothing)
{
    const size_t room = magazine_room(magazine);
    void **const base = magazine_base(magazine);

    if (room == 0)
        return;
    loam_slab_put(cache, base + 1, (size_t)(magazine->top - base));
    magazine->top = nothing;
    magazine->limit = nothing;
    loam_pagemap_free(cache->map, base, magazine_bytes(room));
}
