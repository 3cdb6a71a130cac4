/*
 * slab_cache.c - see slab.h: caches that somebody makes, with a magazine for each CPU that
 * uses them.
 *
 * The CPU's part is made when it first uses the cache. Where it is missing, or somebody is
 * in it already, objects come straight from slabs, under the cache's lock.
 */
#include <loam/heap.h>
#include <loam/slab.h>

#include "internal/check.h"
#include "internal/slab_extra.h"
#include "internal/slab_head.h"

#define CACHE_NONE    "slab: not a cache"
#define CACHE_FOREIGN "slab: not an object of this cache"
#define CACHE_TWICE   "slab: already free"

#define CACHE_ALIGN    8u  /* of objects, unless their cache says more */
#define CACHE_CHUNK    64u /* objects that change hands in one turn of the lock */
#define CACHE_WASTE_OF 8u  /* a slab has room for this share of itself to be lost */

static struct loam_slab_extra *cache_extra(struct loam_slab_cache *cache)
{
    LOAM_REQUIRE(cache != NULL && cache->extra != NULL && &cache->extra->cache == cache, CACHE_NONE,
                 loam_virt_of(cache).addr, 0);
    return cache->extra;
}

/* ---- create ---------------------------------------------------------------------- */

/* 0: none, or too long */
static size_t cache_name_length(const char *name)
{
    size_t length = 0;

    if (name == NULL)
        return 0;
    while (length <= LOAM_SLAB_NAME_MAX && name[length] != '\0')
        length++;
    return length <= LOAM_SLAB_NAME_MAX ? length : 0;
}

static uint64_t cache_waste(unsigned order, uint32_t slot_bytes)
{
    return loam_order_bytes(order) % slot_bytes;
}

/* The smallest slab that wastes at most an eighth; where there is none, the one that wastes
 * the least share. */
static unsigned cache_order_min(uint32_t slot_bytes)
{
    unsigned order = 0, best;

    while (loam_order_bytes(order) < slot_bytes)
        order++;
    best = order;
    for (; order <= LOAM_SLAB_ORDER_MAX; order++) {
        if (cache_waste(order, slot_bytes) * CACHE_WASTE_OF <= loam_order_bytes(order))
            return order;
        if (cache_waste(order, slot_bytes) << (LOAM_SLAB_ORDER_MAX - order) <
            cache_waste(best, slot_bytes) << (LOAM_SLAB_ORDER_MAX - best))
            best = order;
    }
    return best;
}

static void cache_shape(struct loam_slab_cache *cache, uint32_t slot_bytes)
{
    const uint32_t most = LOAM_SLAB_MAGAZINE_BYTES / slot_bytes;

    cache->slot_bytes = slot_bytes;
    cache->inverse = (uint32_t)(((UINT64_C(1) << 32) + slot_bytes - 1) / slot_bytes);
    cache->order_min = cache_order_min(slot_bytes);
    cache->order_max = cache->order_min;
    while (cache->order_max < LOAM_SLAB_ORDER_MAX &&
           loam_order_bytes(cache->order_max + 1) / slot_bytes <= LOAM_SLAB_SLOTS_MAX)
        cache->order_max++;
    cache->magazine_max = most < LOAM_SLAB_MAGAZINE_MIN   ? LOAM_SLAB_MAGAZINE_MIN
                          : most > LOAM_SLAB_MAGAZINE_MAX ? LOAM_SLAB_MAGAZINE_MAX
                                                          : most;
}

static void cache_link(struct loam_slab_extra *extra)
{
    struct loam_heap *const heap = extra->heap;
    const loam_irq_state irq = loam_spinlock_acquire_irq(&heap->caches_lock);

    extra->next = heap->caches;
    if (heap->caches != NULL)
        heap->caches->before = extra;
    heap->caches = extra;
    heap->caches_count++;
    loam_spinlock_release_irq(&heap->caches_lock, irq);
}

enum loam_status loam_slab_create(struct loam_heap *heap, const struct loam_slab_setup *setup,
                                  struct loam_slab_cache **out)
{
    const size_t length = cache_name_length(setup->name);
    const size_t align = setup->align == 0 ? CACHE_ALIGN : setup->align;

    if (length == 0 || setup->size_bytes == 0 || setup->size_bytes > LOAM_SLAB_OBJECT_MAX ||
        !loam_is_power_of_two(align) || align > LOAM_SLAB_OBJECT_MAX)
        return LOAM_INVALID;
    struct loam_slab_extra *const extra = loam_pagemap_alloc(&heap->map, slab_extra_bytes(heap));
    if (extra == NULL)
        return LOAM_NO_MEMORY;
    const size_t unit = align < CACHE_ALIGN ? CACHE_ALIGN : align;
    extra->cache.map = &heap->map;
    extra->cache.kind = LOAM_PAGEMAP_CACHE;
    extra->cache.extra = extra;
    cache_shape(&extra->cache, (uint32_t)((setup->size_bytes + unit - 1) & ~(unit - 1)));
    extra->heap = heap;
    extra->constructor = setup->constructor;
    extra->destructor = setup->destructor;
    extra->context = setup->context;
    extra->colour_step = (uint32_t)((align + SLAB_COLOUR - 1) / SLAB_COLOUR);
    __builtin_memcpy(extra->name, setup->name, length);
    cache_link(extra);
    *out = &extra->cache;
    return LOAM_OK;
}

/* ---- the running CPU --------------------------------------------------------------- */

static struct loam_slab_cpu *cache_cpu_make(struct loam_slab_extra *extra, unsigned index)
{
    struct loam_slab_cpu *expected = NULL;
    struct loam_slab_cpu *const cpu = loam_pagemap_alloc(extra->cache.map, sizeof(*cpu));

    if (cpu == NULL)
        return NULL;
    cpu->magazine.top = cpu->nothing;
    cpu->magazine.limit = cpu->nothing;
    if (atomic_compare_exchange_strong(&extra->cpu[index], &expected, cpu))
        return cpu;
    loam_pagemap_free(extra->cache.map, cpu, sizeof(*cpu)); /* a handler was faster */
    return expected;
}

/* In its lists; pinned. NULL: go around them: there are none, or somebody is in them. */
static struct loam_slab_cpu *cache_enter(struct loam_slab_extra *extra)
{
    const unsigned index = loam_port_cpu();

    if (index >= extra->heap->cpu_count)
        return NULL;
    struct loam_slab_cpu *cpu = atomic_load(&extra->cpu[index]);
    if (cpu == NULL)
        cpu = cache_cpu_make(extra, index);
    if (cpu == NULL || !loam_guard_enter(&cpu->guard))
        return NULL;
    if (loam_guard_is_wanted(&cpu->guard)) {
        atomic_store(&cpu->guard.is_wanted, 0);
        loam_slab_drop(&extra->cache, &cpu->magazine, cpu->nothing);
    }
    return cpu;
}

/* ---- objects ----------------------------------------------------------------------- */

void *loam_slab_alloc(struct loam_slab_cache *cache)
{
    struct loam_slab_extra *const extra = cache_extra(cache);
    const uint64_t pinned = loam_guard_pin();
    struct loam_slab_cpu *const cpu = cache_enter(extra);
    void *object;

    if (cpu == NULL) {
        object = loam_slab_take(cache, &object, 1) == 1 ? object : NULL;
    } else {
        object = loam_magazine_pop(&cpu->magazine);
        if (object == NULL)
            object = loam_slab_refill(cache, &cpu->magazine);
        loam_guard_leave(&cpu->guard);
    }
    loam_guard_unpin(pinned);
    return object;
}

size_t loam_slab_alloc_bulk(struct loam_slab_cache *cache, void **out, size_t count)
{
    struct loam_slab_extra *const extra = cache_extra(cache);
    const uint64_t pinned = loam_guard_pin();
    struct loam_slab_cpu *const cpu = cache_enter(extra);
    size_t done = 0, taken = 0;

    while (cpu != NULL && done < count && *cpu->magazine.top != NULL)
        out[done++] = loam_magazine_pop(&cpu->magazine);
    if (cpu != NULL)
        loam_guard_leave(&cpu->guard);
    loam_guard_unpin(pinned);
    do {
        const size_t rest = count - done;
        taken = rest == 0
                    ? 0
                    : loam_slab_take(cache, out + done, rest < CACHE_CHUNK ? rest : CACHE_CHUNK);
        done += taken;
    } while (taken != 0);
    return done;
}

/* Anything but the start of an object of this cache panics. Only records are read; the
 * record of a slab that has a live object stays. */
static void cache_require(const struct loam_slab_cache *cache, const void *object)
{
    const uint64_t at = loam_virt_of(object).addr;
    const uint64_t entry = loam_pagemap_look(cache->map, at);

    LOAM_REQUIRE(loam_pagemap_kind(entry) == LOAM_PAGEMAP_CACHE, CACHE_FOREIGN, at, 0);
    const struct loam_slab *const slab = loam_pagemap_record(cache->map, entry);
    const uint64_t offset = at - slab->first;
    const uint64_t slot = offset * cache->inverse >> 32;
    LOAM_REQUIRE(slab->cache == cache && slot < slab->slot_count &&
                     offset == slot * cache->slot_bytes,
                 CACHE_FOREIGN, at, 0);
}

/* Into the magazine of a CPU whose guard was entered, or into its slab. */
static void cache_put(struct loam_slab_cache *cache, struct loam_slab_cpu *cpu, void *object)
{
    if (cpu == NULL) {
        loam_slab_put(cache, &object, 1);
        return;
    }
    LOAM_REQUIRE(*cpu->magazine.top != object, CACHE_TWICE, loam_virt_of(object).addr, 0);
    if (!loam_magazine_push(&cpu->magazine, object))
        loam_slab_spill(cache, &cpu->magazine, object);
}

void loam_slab_free(struct loam_slab_cache *cache, void *object)
{
    struct loam_slab_extra *const extra = cache_extra(cache);

    if (object == NULL)
        return;
    cache_require(cache, object);
    const uint64_t pinned = loam_guard_pin();
    struct loam_slab_cpu *const cpu = cache_enter(extra);
    cache_put(cache, cpu, object);
    if (cpu != NULL)
        loam_guard_leave(&cpu->guard);
    loam_guard_unpin(pinned);
}

void loam_slab_free_bulk(struct loam_slab_cache *cache, void *const *object, size_t count)
{
    struct loam_slab_extra *const extra = cache_extra(cache);

    for (size_t i = 0; i < count; i++)
        cache_require(cache, object[i]);
    for (size_t i = 0; i < count;) {
        const size_t end = count - i < CACHE_CHUNK ? count : i + CACHE_CHUNK;
        const uint64_t pinned = loam_guard_pin();
        struct loam_slab_cpu *const cpu = cache_enter(extra);
        for (; i < end; i++)
            cache_put(cache, cpu, object[i]);
        if (cpu != NULL)
            loam_guard_leave(&cpu->guard);
        loam_guard_unpin(pinned);
    }
}

/* ---- shrink, destroy ----------------------------------------------------------------- */

static uint64_t cache_pages(struct loam_slab_cache *cache)
{
    const loam_irq_state irq = loam_spinlock_acquire_irq(&cache->lock);
    const uint64_t pages = cache->page_count;

    loam_spinlock_release_irq(&cache->lock, irq);
    return pages;
}

uint64_t loam_slab_shrink(struct loam_slab_cache *cache)
{
    struct loam_slab_extra *const extra = cache_extra(cache);
    const uint64_t before = cache_pages(cache);
    const uint64_t pinned = loam_guard_pin();
    const unsigned index = loam_port_cpu();

    slab_extra_ask(extra);
    if (index < extra->heap->cpu_count)
        slab_extra_drop(extra, index);
    loam_guard_unpin(pinned);
    (void)loam_slab_trim(cache);
    const uint64_t after = cache_pages(cache);
    return after < before ? before - after : 0;
}

/* Keep walks of the list away. Those that are at this cache go on soon. */
static void cache_close(struct loam_slab_extra *extra)
{
    struct loam_heap *const heap = extra->heap;
    unsigned users;

    do { /* ends: nobody new comes */
        const loam_irq_state irq = loam_spinlock_acquire_irq(&heap->caches_lock);
        extra->is_closing = true;
        users = extra->users;
        loam_spinlock_release_irq(&heap->caches_lock, irq);
        if (users != 0)
            loam_x86_pause();
    } while (users != 0);
}

static void cache_reopen(struct loam_slab_extra *extra)
{
    const loam_irq_state irq = loam_spinlock_acquire_irq(&extra->heap->caches_lock);

    extra->is_closing = false;
    loam_spinlock_release_irq(&extra->heap->caches_lock, irq);
}

static void cache_unlink(struct loam_slab_extra *extra)
{
    struct loam_heap *const heap = extra->heap;
    const loam_irq_state irq = loam_spinlock_acquire_irq(&heap->caches_lock);

    if (extra->before != NULL)
        extra->before->next = extra->next;
    else
        heap->caches = extra->next;
    if (extra->next != NULL)
        extra->next->before = extra->before;
    heap->caches_count--;
    loam_spinlock_release_irq(&heap->caches_lock, irq);
}

static bool cache_is_entered(const struct loam_slab_extra *extra)
{
    bool is_entered = false;

    for (unsigned i = 0; i < extra->heap->cpu_count; i++) {
        const struct loam_slab_cpu *const cpu = atomic_load(&extra->cpu[i]);
        is_entered = is_entered || (cpu != NULL && cpu->guard.is_inside != 0);
    }
    return is_entered;
}

enum loam_status loam_slab_destroy(struct loam_slab_cache *cache, uint64_t *live_count)
{
    struct loam_slab_extra *const extra = cache_extra(cache);
    struct loam_heap *const heap = extra->heap;
    struct loam_slab_stats stats;

    if (slab_extra_is_busy(cache)) /* by its constructor or destructor */
        return LOAM_STATE;
    cache_close(extra);
    loam_slab_measure(cache, &stats);
    if (stats.live_count != 0 || cache_is_entered(extra)) {
        cache_reopen(extra);
        if (live_count != NULL)
            *live_count = stats.live_count;
        return LOAM_STATE;
    }
    for (unsigned i = 0; i < heap->cpu_count; i++)
        slab_extra_drop(extra, i);
    (void)loam_slab_trim(cache);
    LOAM_REQUIRE(cache->slab_count == 0, "slab: its destructor allocated from a cache that goes",
                 loam_virt_of(cache).addr, cache->slot_count - cache->free_count);
    cache_unlink(extra);
    for (unsigned i = 0; i < heap->cpu_count; i++) {
        struct loam_slab_cpu *const cpu = atomic_load(&extra->cpu[i]);
        if (cpu != NULL)
            loam_pagemap_free(&heap->map, cpu, sizeof(*cpu));
    }
    __builtin_memset(extra, 0, sizeof(*extra)); /* so that who uses it once more is noticed */
    loam_pagemap_free(&heap->map, extra, slab_extra_bytes(heap));
    if (live_count != NULL)
        *live_count = 0;
    return LOAM_OK;
}
