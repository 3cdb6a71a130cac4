/*
 * heap_look.c - see heap.h: what a heap has, block by block and in sums. Nothing here is
 * counted where blocks are allocated and freed: it is found by looking.
 */
#include <loam/heap.h>

#include "internal/check.h"
#include "internal/digest.h"
#include "internal/heap_large.h"
#include "internal/slab_look.h"
#include "internal/text.h"

/* ---- sums --------------------------------------------------------------------- */

static uint64_t look_less(uint64_t from, uint64_t what)
{
    return from < what ? 0 : from - what;
}

static void look_measure_cache(const struct loam_heap *heap, struct loam_slab_cache *cache,
                               struct loam_slab_stats *out)
{
    const loam_irq_state irq = loam_spinlock_acquire_irq(&cache->lock);

    out->slab_count = cache->slab_count;
    out->page_count = cache->page_count;
    out->slot_count = cache->slot_count;
    out->free_count = cache->free_count;
    out->taken_peak = cache->taken_peak;
    out->taken_total = cache->taken_total;
    out->put_total = cache->put_total;
    loam_spinlock_release_irq(&cache->lock, irq);
    const uint64_t taken = out->slot_count - out->free_count;
    const uint64_t at_hand = look_magazines_count(heap, cache);
    out->name = cache->extra == NULL ? NULL : cache->extra->name;
    out->slot_bytes = cache->slot_bytes;
    out->live_count = look_less(taken, at_hand);
    out->magazine_count = taken - out->live_count;
    out->waste_bytes = out->page_count * LOAM_PAGE_SIZE - out->slot_count * out->slot_bytes;
}

static void look_add(struct loam_heap_stats *sum, const struct loam_slab_stats *cache)
{
    sum->live_count += cache->live_count;
    sum->live_bytes += cache->live_count * cache->slot_bytes;
    sum->magazine_count += cache->magazine_count;
    sum->magazine_bytes += cache->magazine_count * cache->slot_bytes;
    sum->free_count += cache->free_count;
    sum->free_bytes += cache->free_count * cache->slot_bytes;
    sum->waste_bytes += cache->waste_bytes;
    sum->slab_count += cache->slab_count;
    sum->slab_pages += cache->page_count;
}

void loam_slab_measure(struct loam_slab_cache *cache, struct loam_slab_stats *out)
{
    look_measure_cache(cache->extra->heap, cache, out);
}

void loam_heap_measure_class(struct loam_heap *heap, unsigned size_class,
                             struct loam_slab_stats *out)
{
    LOAM_REQUIRE(size_class != 0 && size_class < LOAM_HEAP_CLASSES, "heap: no such size class",
                 size_class, LOAM_HEAP_CLASSES);
    look_measure_cache(heap, &heap->cache[size_class], out);
}

void loam_heap_measure(struct loam_heap *heap, struct loam_heap_stats *out)
{
    struct loam_heap_stats sum = { .page_count = 0 };
    struct loam_slab_extra *extra = NULL;
    struct loam_slab_stats cache;

    for (unsigned class = 1; class < LOAM_HEAP_CLASSES; class ++) {
        look_measure_cache(heap, &heap->cache[class], &cache);
        look_add(&sum, &cache);
    }
    while ((extra = slab_extra_next(heap, extra)) != NULL) {
        look_measure_cache(heap, &extra->cache, &cache);
        look_add(&sum, &cache);
        sum.caches_count++;
    }
    const loam_irq_state irq = loam_spinlock_acquire_irq(&heap->large_lock);
    sum.large_count = heap->large_count;
    sum.large_pages = heap->large_pages;
    sum.large_peak_pages = heap->large_peak_pages;
    loam_spinlock_release_irq(&heap->large_lock, irq);
    sum.live_count += sum.large_count;
    sum.live_bytes += sum.large_pages * LOAM_PAGE_SIZE;
    loam_pagemap_measure(&heap->map, &sum.record_bytes, &sum.record_pages);
    sum.page_count = sum.slab_pages + sum.large_pages + sum.record_pages;
    *out = sum;
}

/* ---- block by block ------------------------------------------------------------ */

/* Slots of a slab that are taken, and not at hand. */
static void look_live(const struct loam_heap *heap, struct loam_slab_object *object)
{
    const struct loam_slab *const slab = object->slab;
    struct look_at_hand at_hand = { .heap = heap, .cache = slab->cache };
    const void *entry;

    for (unsigned word = 0; word < slab_words(slab->slot_count); word++)
        object->live[word] = ~slab->free[word] & look_valid(slab, word);
    while ((entry = look_at_hand_next(&at_hand)) != NULL) {
        const unsigned slot = look_slot_of(slab, entry);
        if (slot != slab->slot_count)
            object->live[slot / 64] &= ~(UINT64_C(1) << slot % 64);
    }
}

/* @return false: it has no more */
static bool look_next_in_slab(struct loam_slab_object *object)
{
    const struct loam_slab *const slab = object->slab;

    for (unsigned word = 0; word < slab_words(slab->slot_count); word++) {
        if (object->live[word] == 0)
            continue;
        const unsigned slot = word * 64 + (unsigned)__builtin_ctzll(object->live[word]);
        object->live[word] &= object->live[word] - 1;
        object->start = loam_virt_at(slab->first + (uint64_t)slot * slab->cache->slot_bytes);
        return true;
    }
    return false;
}

/* From slab to slab, then to the next list: object->list of the two whose slabs have taken
 * slots were begun. @return false: that was the last */
static bool look_next_slab(const struct loam_heap *heap, const struct loam_slab_cache *cache,
                           struct loam_slab_object *object)
{
    if (object->slab != NULL)
        object->slab = object->slab->next;
    while (object->slab == NULL) {
        if (object->list == 2)
            return false;
        object->slab = object->list == 0 ? cache->partial.first : cache->full.first;
        object->list++;
    }
    look_live(heap, object);
    return true;
}

static bool look_next_object(const struct loam_heap *heap, const struct loam_slab_cache *cache,
                             struct loam_slab_object *object)
{
    while (object->slab == NULL || !look_next_in_slab(object)) {
        if (!look_next_slab(heap, cache, object))
            return false;
    }
    return true;
}

bool loam_slab_next(struct loam_slab_cache *cache, struct loam_slab_object *object)
{
    return look_next_object(cache->extra->heap, cache, object);
}

static bool look_next_large(const struct loam_heap *heap, struct loam_heap_block *block)
{
    const struct loam_heap_large *const large =
        block->large == NULL ? heap->large : block->large->next;

    if (large == NULL)
        return false;
    block->large = large;
    block->start = loam_virt_at(large->start);
    block->size_bytes = large->page_count * LOAM_PAGE_SIZE;
    return true;
}

bool loam_heap_next(const struct loam_heap *heap, struct loam_heap_block *block)
{
    if (block->large != NULL)
        return look_next_large(heap, block);
    if (block->cache == NULL)
        block->cache = look_cache_next(heap, NULL);
    while (!look_next_object(heap, block->cache, &block->object)) {
        block->cache = look_cache_next(heap, block->cache);
        block->object.list = 0;
        if (block->cache == NULL)
            return look_next_large(heap, block);
    }
    block->start = block->object.start;
    block->size_bytes = block->cache->slot_bytes;
    return true;
}

/* A sum, so that it does not matter in which order blocks are found. */
static uint64_t look_digest_block(uint64_t start, uint64_t bytes)
{
    return loam_digest_add(loam_digest_add(LOAM_DIGEST_START, start), bytes);
}

/* Of a list of slabs, while what is at hand is marked as free. */
static uint64_t look_digest_slabs(const struct loam_slab *slab)
{
    uint64_t sum = 0;

    for (; slab != NULL; slab = slab->next) {
        const uint64_t slot_bytes = slab->cache->slot_bytes;
        for (unsigned slot = 0; slot < slab->slot_count; slot++) {
            if ((slab->free[slot / 64] >> slot % 64 & 1) == 0)
                sum += look_digest_block(slab->first + slot * slot_bytes, slot_bytes);
        }
    }
    return sum;
}

uint64_t loam_heap_digest(struct loam_heap *heap)
{
    const struct loam_slab_cache *cache = NULL;
    uint64_t blocks = LOAM_DIGEST_START;

    while ((cache = look_cache_next(heap, cache)) != NULL) {
        const size_t at_hand = look_park(heap, cache, SIZE_MAX, true);
        blocks += look_digest_slabs(cache->partial.first) + look_digest_slabs(cache->full.first);
        (void)look_park(heap, cache, at_hand, false);
    }
    for (const struct loam_heap_large *at = heap->large; at != NULL; at = at->next)
        blocks += look_digest_block(at->start, at->page_count * LOAM_PAGE_SIZE);
    return blocks;
}

/* ---- as text ------------------------------------------------------------------- */

#define LOOK_COUNT 11u /* columns */
#define LOOK_SIZE  (LOAM_TEXT_SIZE_MAX + 1)

static void look_print_line(const struct loam_writer *writer, const struct loam_slab_stats *cache)
{
    if (cache->slab_count == 0)
        return;
    loam_text_decimal(writer, cache->slot_bytes, 6);
    loam_text_decimal(writer, cache->live_count, LOOK_COUNT);
    loam_text_decimal(writer, cache->magazine_count, LOOK_COUNT);
    loam_text_decimal(writer, cache->free_count, LOOK_COUNT);
    loam_text_decimal(writer, cache->taken_peak, LOOK_COUNT);
    loam_text_decimal(writer, cache->slab_count, LOOK_COUNT);
    loam_text_size(writer, cache->page_count * LOAM_PAGE_SIZE, LOOK_SIZE);
    loam_text_size(writer, cache->waste_bytes, LOOK_SIZE);
    if (cache->name != NULL) {
        loam_text_string(writer, "  ");
        loam_text_string(writer, cache->name);
    }
    loam_text_string(writer, "\n");
}

static void look_print_sum(const struct loam_writer *writer, const char *what, uint64_t count,
                           uint64_t bytes)
{
    loam_text_left(writer, what, 24);
    loam_text_decimal(writer, count, LOOK_COUNT);
    loam_text_size(writer, bytes, LOOK_SIZE);
    loam_text_string(writer, "\n");
}

void loam_heap_print(struct loam_heap *heap, const struct loam_writer *writer)
{
    struct loam_slab_extra *extra = NULL;
    struct loam_slab_stats cache;
    struct loam_heap_stats sum;

    loam_text_string(writer, " bytes       live    at hand       free       peak      slabs"
                             "     memory      waste  cache\n");
    for (unsigned class = 1; class < LOAM_HEAP_CLASSES; class ++) {
        look_measure_cache(heap, &heap->cache[class], &cache);
        look_print_line(writer, &cache);
    }
    while ((extra = slab_extra_next(heap, extra)) != NULL) {
        look_measure_cache(heap, &extra->cache, &cache);
        look_print_line(writer, &cache);
    }
    loam_heap_measure(heap, &sum);
    look_print_sum(writer, "live blocks", sum.live_count, sum.live_bytes);
    look_print_sum(writer, "  large ones of them", sum.large_count,
                   sum.large_pages * LOAM_PAGE_SIZE);
    look_print_sum(writer, "at hand of CPUs", sum.magazine_count, sum.magazine_bytes);
    look_print_sum(writer, "free in slabs", sum.free_count, sum.free_bytes);
    look_print_sum(writer, "slabs, waste of them", sum.slab_count, sum.waste_bytes);
    look_print_sum(writer, "pages of records", sum.record_pages, sum.record_pages * LOAM_PAGE_SIZE);
    look_print_sum(writer, "pages, all", sum.page_count, sum.page_count * LOAM_PAGE_SIZE);
}
