/*
 * heap_audit.c - see heap.h: does all that a heap knows of itself agree?
 *
 * Every slab, magazine, large block and page map entry is visited; what is counted is
 * counted once more. For a moment, what is at hand is marked in its slab.
 */
#include <loam/heap.h>

#include "internal/heap_large.h"
#include "internal/slab_look.h"

/* What was found, to be compared with what is said. */
struct audit_sum {
    uint64_t slab_count, page_count, empty_pages, slot_count, free_count;
};

struct audit_total {
    uint64_t pages;        /* of slabs */
    uint64_t entries;      /* of the page map that hold something */
    uint64_t record_bytes; /* that are accounted for */
};

/* ---- magazines ------------------------------------------------------------------ */

/* Room for 2^n - 2 objects from LOAM_SLAB_MAGAZINE_MIN on, or for none. */
static bool audit_room_is_one(size_t room)
{
    return room == 0 || (loam_is_power_of_two(room + 2) && room >= LOAM_SLAB_MAGAZINE_MIN &&
                         room <= LOAM_SLAB_MAGAZINE_MAX);
}

static const char *audit_magazine(const struct loam_slab_cache *cache,
                                  const struct loam_magazine *magazine)
{
    const size_t room = (size_t)(uintptr_t)magazine->limit[1];

    if (!audit_room_is_one(room) || (room != 0 && room > cache->magazine_max))
        return "heap: a magazine has room for a number that none has room for";
    void **const base = magazine->limit - room;
    if (magazine->top < base || magazine->top > magazine->limit)
        return "heap: a magazine's newest object is outside of it";
    if (*base != NULL)
        return "heap: a magazine does not end in NULL";
    return NULL;
}

static const char *audit_magazines(const struct loam_heap *heap,
                                   const struct loam_slab_cache *cache, struct audit_total *total)
{
    for (unsigned cpu = 0; cpu < heap->cpu_count; cpu++) {
        const struct loam_magazine *const magazine = look_magazine(heap, cache, cpu);
        if (magazine == NULL)
            continue;
        const char *const broken = audit_magazine(cache, magazine);
        if (broken != NULL)
            return broken;
        const size_t room = (size_t)(uintptr_t)magazine->limit[1];
        total->record_bytes += room == 0 ? 0 : loam_pagemap_room((room + 2) * sizeof(void *));
    }
    return NULL;
}

/* Is what is at hand an object of the cache? */
static const char *audit_at_hand(const struct loam_heap *heap, const struct loam_slab_cache *cache)
{
    struct look_at_hand at = { .heap = heap, .cache = cache };
    const void *object;

    while ((object = look_at_hand_next(&at)) != NULL) {
        const uint64_t entry = loam_pagemap_look(cache->map, loam_virt_of(object).addr);
        if (loam_pagemap_kind(entry) != cache->kind)
            return "heap: what is at hand is not of its cache";
        const struct loam_slab *const slab = loam_pagemap_record(cache->map, entry);
        if (slab->cache != cache || look_slot_of(slab, object) == slab->slot_count)
            return "heap: what is at hand is no object";
    }
    return NULL;
}

/* Is it at hand once, and not free in its slab? */
static const char *audit_once(const struct loam_heap *heap, const struct loam_slab_cache *cache)
{
    struct look_at_hand at = { .heap = heap, .cache = cache };
    const size_t marked = look_park(heap, cache, SIZE_MAX, true);
    const void *object = NULL;

    (void)look_park(heap, cache, marked, false);
    for (size_t i = 0; i <= marked; i++)
        object = look_at_hand_next(&at);
    if (object == NULL)
        return NULL;
    const struct loam_slab *const slab = look_slab_of(cache, object);
    const unsigned slot = look_slot_of(slab, object);
    return (slab->free[slot / 64] >> slot % 64 & 1) != 0
               ? "heap: an object is free in its slab and at hand"
               : "heap: an object is at hand twice";
}

/* ---- slabs ---------------------------------------------------------------------- */

/* What the rest relies on. */
static bool audit_slab_has_shape(const struct loam_slab *slab)
{
    const struct loam_slab_cache *const cache = slab->cache;

    return slab->order >= cache->order_min && slab->order <= cache->order_max &&
           slab->slot_count == loam_order_bytes(slab->order) / cache->slot_bytes;
}

static const char *audit_slab_bits(const struct loam_slab *slab)
{
    unsigned free_count = 0;

    for (unsigned word = 0; word < slab_words(slab->slot_count); word++) {
        uint64_t bits = slab->free[word];
        if ((bits & ~look_valid(slab, word)) != 0)
            return "slab: a slot that does not exist is free";
        if (bits != 0 && word < slab->word)
            return "slab: a free slot lies before the first word with one";
        for (; bits != 0; bits &= bits - 1)
            free_count++;
    }
    return free_count == slab->free_count ? NULL : "slab: free slots are not as many as counted";
}

static const char *audit_slab_pages(const struct loam_slab *slab)
{
    const struct loam_slab_cache *const cache = slab->cache;
    const uint64_t start = slab_start(slab);
    const uint64_t bytes = loam_order_bytes(slab->order);
    const uint64_t used = (uint64_t)slab->slot_count * cache->slot_bytes;

    if (!loam_is_page_aligned(start) || (uint64_t)slab->colour * SLAB_COLOUR > bytes - used ||
        (cache->extra == NULL && slab->colour != 0))
        return "slab: slots lie outside of its pages";
    for (uint64_t offset = 0; offset < bytes; offset += LOAM_PAGE_SIZE) {
        const uint64_t entry = loam_pagemap_look(cache->map, start + offset);
        if (loam_pagemap_kind(entry) != cache->kind ||
            loam_pagemap_record(cache->map, entry) != slab ||
            loam_pagemap_rest(entry, start + offset) != bytes - offset)
            return "slab: the page map does not show it";
    }
    return NULL;
}

static bool audit_is_in_its_list(const struct loam_slab *slab, const struct loam_slab_list *list)
{
    const struct loam_slab_cache *const cache = slab->cache;

    if (list == &cache->full)
        return slab->free_count == 0;
    if (list == &cache->empty)
        return slab->free_count == slab->slot_count;
    return slab->free_count != 0 && slab->free_count != slab->slot_count;
}

static const char *audit_slab(const struct loam_slab *slab, struct audit_sum *sum,
                              struct audit_total *total)
{
    const char *broken = audit_slab_bits(slab);

    if (broken == NULL)
        broken = audit_slab_pages(slab);
    sum->slab_count++;
    sum->page_count += UINT64_C(1) << slab->order;
    sum->empty_pages += slab->free_count == slab->slot_count ? UINT64_C(1) << slab->order : 0;
    sum->slot_count += slab->slot_count;
    sum->free_count += slab->free_count;
    total->record_bytes += loam_pagemap_room(slab_record_bytes(slab->slot_count));
    return broken;
}

static const char *audit_list(const struct loam_slab_list *list,
                              const struct loam_slab_cache *cache, struct audit_sum *sum,
                              struct audit_total *total)
{
    const struct loam_slab *before = NULL;

    for (const struct loam_slab *slab = list->first; slab != NULL; slab = slab->next) {
        if (sum->slab_count == cache->slab_count)
            return "slab: lists have more slabs than there are";
        if (slab->cache != cache)
            return "slab: in a list of another cache";
        if (slab->before != before)
            return "slab: neighbours in a list do not agree";
        if (!audit_slab_has_shape(slab))
            return "slab: not of a size that its cache has";
        if (!audit_is_in_its_list(slab, list))
            return "slab: in the wrong list for its free slots";
        const char *const broken = audit_slab(slab, sum, total);
        if (broken != NULL)
            return broken;
        before = slab;
    }
    return NULL;
}

static const char *audit_counts(const struct loam_slab_cache *cache, const struct audit_sum *sum)
{
    const uint64_t taken = cache->slot_count - cache->free_count;

    if (sum->slab_count != cache->slab_count || sum->page_count != cache->page_count ||
        sum->empty_pages != cache->empty_pages)
        return "slab: slabs are not as many as counted";
    if (sum->slot_count != cache->slot_count || sum->free_count != cache->free_count)
        return "slab: slots are not as many as counted";
    if (cache->taken_total - cache->put_total != taken || cache->taken_peak < taken)
        return "slab: objects taken less those put back are not those that are out";
    return NULL;
}

static const char *audit_cache(const struct loam_heap *heap, const struct loam_slab_cache *cache,
                               struct audit_total *total)
{
    const struct loam_slab_list *const lists[] = { &cache->partial, &cache->empty, &cache->full };
    struct audit_sum sum = { .slab_count = 0 };
    const char *broken = audit_magazines(heap, cache, total);

    for (unsigned i = 0; i < 3 && broken == NULL; i++)
        broken = audit_list(lists[i], cache, &sum, total);
    if (broken == NULL)
        broken = audit_counts(cache, &sum);
    if (broken == NULL)
        broken = audit_at_hand(heap, cache);
    if (broken == NULL)
        broken = audit_once(heap, cache);
    total->pages += sum.page_count;
    return broken;
}

/* ---- caches, large blocks, the rest ----------------------------------------------- */

static bool audit_cache_cpu(const struct loam_slab_cpu *cpu, struct audit_total *total)
{
    if (cpu == NULL)
        return true;
    total->record_bytes += loam_pagemap_room(sizeof(*cpu));
    return cpu->guard.is_inside == 0 && cpu->nothing[0] == NULL && cpu->nothing[1] == NULL;
}

static const char *audit_caches(const struct loam_heap *heap, struct audit_total *total)
{
    const struct loam_slab_extra *before = NULL;
    uint64_t count = 0;

    for (const struct loam_slab_extra *at = heap->caches; at != NULL; at = at->next) {
        if (++count > heap->caches_count || at->before != before || at->cache.extra != at)
            return "heap: list of caches is broken";
        if (at->heap != heap || at->cache.map != &heap->map ||
            at->cache.kind != LOAM_PAGEMAP_CACHE || at->users != 0 || at->is_closing)
            return "heap: a cache is not this heap's, or in use";
        total->record_bytes += loam_pagemap_room(slab_extra_bytes(heap));
        for (unsigned cpu = 0; cpu < heap->cpu_count; cpu++)
            if (!audit_cache_cpu(atomic_load(&at->cpu[cpu]), total))
                return "heap: a CPU's magazine of a cache is in use";
        before = at;
    }
    return count == heap->caches_count ? NULL : "heap: caches are not as many as counted";
}

static bool audit_large_is_marked(const struct loam_heap *heap, const struct loam_heap_large *large)
{
    const uint64_t entry = loam_pagemap_look(&heap->map, large->start);

    return loam_pagemap_kind(entry) == LOAM_PAGEMAP_LARGE && loam_is_page_aligned(large->start) &&
           loam_pagemap_record(&heap->map, entry) == large;
}

static const char *audit_large(const struct loam_heap *heap, struct audit_total *total)
{
    const struct loam_heap_large *before = NULL;
    uint64_t count = 0, pages = 0;

    for (const struct loam_heap_large *large = heap->large; large != NULL; large = large->next) {
        if (++count > heap->large_count || large->before != before)
            return "heap: list of large blocks is broken";
        const uint64_t entry = loam_pagemap_look(&heap->map, large->start);
        if (large->is_far ? entry != 0 : !audit_large_is_marked(heap, large))
            return "heap: the page map does not show a large block";
        pages += large->page_count;
        total->record_bytes += loam_pagemap_room(sizeof(*large));
        total->entries += !large->is_far;
        before = large;
    }
    total->record_bytes += heap->large_gone * loam_pagemap_room(sizeof(*before));
    return count == heap->large_count && pages == heap->large_pages &&
                   pages <= heap->large_peak_pages
               ? NULL
               : "heap: large blocks are not as many as counted";
}

static const char *audit_cpus(const struct loam_heap *heap, struct audit_total *total)
{
    for (unsigned cpu = 0; cpu < heap->cpu_count; cpu++) {
        const struct loam_heap_cpu *const lists = atomic_load(&heap->cpu[cpu]);
        if (lists == NULL)
            continue;
        total->record_bytes += loam_pagemap_room(sizeof(*lists));
        if (lists->index != cpu || lists->guard.is_inside != 0)
            return "heap: a CPU's lists are another's, or in use";
        if (lists->nothing[0] != NULL || lists->nothing[1] != NULL)
            return "heap: the empty magazine is not empty";
    }
    return NULL;
}

/* Pages of which the page map says something. */
static uint64_t audit_entries(const struct loam_pagemap *map)
{
    uint64_t count = 0;

#if !LOAM_PAGEMAP_FLAT /* there, most of it has never been touched */
    for (uint64_t i = 0; i < loam_pagemap_pages(map) / LOAM_PAGEMAP_SPREAD; i++) {
        LOAM_ATOMIC(uint64_t) *const table = atomic_load(&atomic_load(&map->table)[i]);
        for (unsigned page = 0; table != NULL && page < LOAM_PAGEMAP_SPREAD; page++)
            count += atomic_load(&table[page]) != 0;
    }
#else
    (void)map;
#endif
    return count;
}

const char *loam_heap_audit(struct loam_heap *heap)
{
    const struct loam_slab_cache *cache = NULL;
    struct audit_total total = { .pages = 0 };
    uint64_t record_bytes, record_pages;
    const char *broken = audit_cpus(heap, &total);

    if (broken == NULL)
        broken = audit_caches(heap, &total);
    while (broken == NULL && (cache = look_cache_next(heap, cache)) != NULL)
        broken = audit_cache(heap, cache, &total);
    if (broken == NULL)
        broken = audit_large(heap, &total);
    if (broken == NULL)
        broken = loam_pagemap_audit(&heap->map);
    if (broken != NULL)
        return broken;
    total.entries += total.pages;
    if (!LOAM_PAGEMAP_FLAT && audit_entries(&heap->map) != total.entries)
        return "heap: the page map shows what nobody has";
    loam_pagemap_measure(&heap->map, &record_bytes, &record_pages);
    if (record_bytes != total.record_bytes)
        return "heap: records are in use that nobody has";
    return NULL;
}
