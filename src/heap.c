/*
 * heap.c - malloc for all CPUs; see heap.h.
 */
#include <loam/heap.h>

#include "internal/check.h"
#include "internal/heap_fast.h"
#include "internal/heap_large.h"
#include "internal/inject.h"
#include "internal/slab_extra.h"
#include "internal/slab_head.h"
#include "internal/try.h"

/* ---- setup -------------------------------------------------------------------- */

/* The smallest slab that wastes at most an eighth, the largest that its record can tell. */
static void heap_cache_init(struct loam_slab_cache *cache, struct loam_pagemap *map, unsigned class)
{
    const uint32_t slot = heap_class_bytes(class);
    const uint32_t most = LOAM_SLAB_MAGAZINE_BYTES / slot;

    cache->map = map;
    cache->kind = class;
    cache->slot_bytes = slot;
    cache->inverse = (uint32_t)((heap_kinds[class].inverse - 1) >> 32) + 1;
    while (loam_order_bytes(cache->order_min) % slot * 8 > loam_order_bytes(cache->order_min) ||
           loam_order_bytes(cache->order_min) < slot)
        cache->order_min++;
    cache->order_max = cache->order_min;
    while (cache->order_max < LOAM_SLAB_ORDER_MAX &&
           loam_order_bytes(cache->order_max + 1) / slot <= LOAM_SLAB_SLOTS_MAX)
        cache->order_max++;
    cache->magazine_max = most < LOAM_SLAB_MAGAZINE_MIN   ? LOAM_SLAB_MAGAZINE_MIN
                          : most > LOAM_SLAB_MAGAZINE_MAX ? LOAM_SLAB_MAGAZINE_MAX
                                                          : most;
}

enum loam_status loam_heap_init(struct loam_heap *heap, const struct loam_pagemap_setup *setup,
                                unsigned cpu_count)
{
    if (cpu_count == 0 || cpu_count > LOAM_CPUS_MAX)
        return LOAM_INVALID;
    __builtin_memset(heap, 0, sizeof(*heap));
    LOAM_TRY(loam_pagemap_init(&heap->map, setup));
    heap->cpu_count = cpu_count;
    for (unsigned class = 1; class < LOAM_HEAP_CLASSES; class ++)
        heap_cache_init(&heap->cache[class], &heap->map, class);
    loam_hard_init(heap, setup->seed);
    return LOAM_OK;
}

/* The lists of a CPU that has none yet. @return NULL: no memory */
static struct loam_heap_cpu *heap_cpu_make(struct loam_heap *heap, unsigned index)
{
    struct loam_heap_cpu *expected = NULL;
    struct loam_heap_cpu *const cpu = loam_pagemap_alloc(&heap->map, sizeof(*cpu));

    if (cpu == NULL)
        return NULL;
    cpu->index = index;
    for (unsigned class = 0; class < LOAM_HEAP_CLASSES; class ++) {
        cpu->magazine[class].top = cpu->nothing;
        cpu->magazine[class].limit = cpu->nothing;
    }
    loam_hard_cpu_init(heap, cpu);
    if (atomic_compare_exchange_strong(&heap->cpu[index], &expected, cpu))
        return cpu;
    loam_pagemap_free(&heap->map, cpu, sizeof(*cpu)); /* a handler was faster */
    return expected;
}

/* ---- the running CPU ------------------------------------------------------------ */

/* Its lists; pinned. NULL: there is no memory for them. */
static inline struct loam_heap_cpu *heap_cpu_here(struct loam_heap *heap)
{
    const unsigned index = loam_port_cpu();

    if (HEAP_UNLIKELY(index >= heap->cpu_count))
        return NULL;
    struct loam_heap_cpu *const cpu = atomic_load_explicit(&heap->cpu[index], memory_order_acquire);
    return HEAP_LIKELY(cpu != NULL) ? cpu : heap_cpu_make(heap, index);
}

/* Give back what a CPU has at hand, of caches too. Inside its guard, or while it is not in
 * the heap. */
static void heap_cpu_drop(struct loam_heap *heap, struct loam_heap_cpu *cpu)
{
    struct loam_slab_extra *extra = NULL;

    for (unsigned class = 1; class < LOAM_HEAP_CLASSES; class ++)
        loam_slab_drop(&heap->cache[class], &cpu->magazine[class], cpu->nothing);
    loam_hard_cpu_drop(heap, cpu);
    while ((extra = slab_extra_next(heap, extra)) != NULL)
        slab_extra_drop(extra, cpu->index);
}

/* In the lists, unless somebody is there already. What was asked of this CPU is done. */
static bool heap_enter(struct loam_heap *heap, struct loam_heap_cpu *cpu)
{
    if (cpu == NULL || !loam_guard_enter(&cpu->guard))
        return false;
    if (atomic_load_explicit(&cpu->guard.is_wanted, memory_order_relaxed) != 0 &&
        atomic_exchange(&cpu->guard.is_wanted, 0) != 0)
        heap_cpu_drop(heap, cpu);
    return true;
}

void *loam_heap_alloc_slow(struct loam_heap *heap, struct loam_heap_cpu *cpu, unsigned class)
{
    void *block;

    if (!heap_enter(heap, cpu))
        return loam_slab_take(&heap->cache[class], &block, 1) == 1 ? block : NULL;
    block = loam_magazine_pop(&cpu->magazine[class]); /* a handler may have brought some */
    if (block == NULL)
        block = loam_slab_refill(&heap->cache[class], &cpu->magazine[class]);
    loam_guard_leave(&cpu->guard);
    return block;
}

void loam_heap_free_slow(struct loam_heap *heap, struct loam_heap_cpu *cpu, void *block)
{
    const unsigned class = heap_fast_class(heap, block);

    if (block == NULL)
        return;
    if (class == 0) {
        struct loam_heap_large *const large = loam_heap_large_find(heap, block);
        LOAM_REQUIRE(large != NULL, HEAP_FOREIGN, loam_virt_of(block).addr, 0);
        loam_heap_large_free(heap, large);
        return;
    }
    if (!heap_enter(heap, cpu)) {
        loam_slab_put(&heap->cache[class], &block, 1);
        return;
    }
    struct loam_magazine *const magazine = &cpu->magazine[class];
    LOAM_REQUIRE(*magazine->top != block, HEAP_TWICE, loam_virt_of(block).addr, 0);
    block = heap_hard_hold(cpu, class, block);
    if (block != NULL && !loam_magazine_push(magazine, block))
        loam_slab_spill(&heap->cache[class], magazine, block);
    loam_guard_leave(&cpu->guard);
}

/* ---- the malloc family ----------------------------------------------------------- */

/* A slot of a class. */
static inline void *heap_slot_alloc(struct loam_heap *heap, unsigned class)
{
    const uint64_t pinned = loam_guard_pin();
    struct loam_heap_cpu *const cpu = heap_cpu_here(heap);
    void *const slot = HEAP_LIKELY(cpu != NULL) ? heap_fast_alloc(heap, cpu, class)
                                                : loam_heap_alloc_slow(heap, NULL, class);
    loam_guard_unpin(pinned);
    return slot;
}

static void *heap_alloc_hard(struct loam_heap *heap, size_t size_bytes)
{
    const uint64_t pinned = loam_guard_pin();
    struct loam_heap_cpu *const cpu = heap_cpu_here(heap);
    void *const block = HEAP_LIKELY(cpu != NULL) ? heap_fast_alloc_hard(heap, cpu, size_bytes)
                                                 : loam_hard_alloc_slow(heap, NULL, size_bytes);
    loam_guard_unpin(pinned);
    return block;
}

void *loam_heap_alloc(struct loam_heap *heap, size_t size_bytes)
{
    if (HEAP_UNLIKELY(size_bytes > LOAM_HEAP_SMALL_MAX))
        return loam_heap_large_alloc(heap, size_bytes, 1, NULL);
    return HEAP_IS_HARDENED ? heap_alloc_hard(heap, size_bytes)
                            : heap_slot_alloc(heap, heap_class_of(size_bytes));
}

/* Without lists. */
static void heap_free_alone(struct loam_heap *heap, void *block)
{
    size_t class_16;

    (void)heap_fast_end(heap, block, &class_16);
    loam_heap_free_slow(heap, NULL, block);
}

void loam_heap_free(struct loam_heap *heap, void *block)
{
    const uint64_t pinned = loam_guard_pin();
    struct loam_heap_cpu *const cpu = heap_cpu_here(heap);
    if (HEAP_LIKELY(cpu != NULL))
        heap_fast_free(heap, cpu, block);
    else
        heap_free_alone(heap, block);
    loam_guard_unpin(pinned);
}

static void heap_require_size(const struct loam_heap *heap, const void *block, size_t size_bytes)
{
    const unsigned class = heap_fast_class(heap, block);
    const struct loam_heap_large *const large =
        class == 0 ? loam_heap_large_find(heap, block) : NULL;
    const uint64_t at = loam_virt_of(block).addr;

    LOAM_REQUIRE(!HEAP_IS_HARDENED || size_bytes == loam_hard_usable(heap, block), HEAP_SIZE, at,
                 size_bytes);
    LOAM_REQUIRE(class != 0 || large != NULL, HEAP_FOREIGN, at, 0);
    LOAM_REQUIRE(class == 0 || (size_bytes <= LOAM_HEAP_SMALL_MAX && /* aligned ones are larger */
                                size_bytes <= heap_class_bytes(class)),
                 HEAP_SIZE, at, heap_class_bytes(class));
    LOAM_REQUIRE(large == NULL || heap_pages_of(size_bytes) <= large->page_count, HEAP_SIZE, at,
                 size_bytes);
}

void loam_heap_free_sized(struct loam_heap *heap, void *block, size_t size_bytes)
{
    if (block != NULL)
        heap_require_size(heap, block, size_bytes);
    loam_heap_free(heap, block);
}

void *loam_heap_calloc(struct loam_heap *heap, size_t count, size_t size_bytes)
{
    size_t bytes;
    bool is_zeroed = false;

    if (__builtin_mul_overflow(count, size_bytes, &bytes))
        return NULL;
    void *const block = bytes > LOAM_HEAP_SMALL_MAX
                            ? loam_heap_large_alloc(heap, bytes, 1, &is_zeroed)
                            : loam_heap_alloc(heap, bytes);
    if (block != NULL && !is_zeroed && !HEAP_IS_HARDENED)
        __builtin_memset(block, 0, bytes);
    return block;
}

/* A class that is aligned so: slots end at the end of a slab, which is aligned to its
 * size. 0: there is none */
static unsigned heap_aligned_class(size_t align, size_t size_bytes)
{
    const size_t least = size_bytes < align ? align : size_bytes;

    if (least > LOAM_HEAP_SMALL_MAX)
        return 0;
    for (unsigned class = heap_class_of(least); class < LOAM_HEAP_CLASSES; class ++) {
        if ((heap_class_bytes(class) & (align - 1)) == 0)
            return class;
    }
    return 0;
}

void *loam_heap_alloc_aligned(struct loam_heap *heap, size_t align, size_t size_bytes)
{
    if (align == 0 || (align & (align - 1)) != 0)
        return NULL;
    const unsigned class = heap_aligned_class(align, size_bytes);
    if (class != 0) {
        void *const slot = heap_slot_alloc(heap, class);
        return HEAP_IS_HARDENED && slot != NULL ? loam_hard_begin(heap, slot, class, size_bytes)
                                                : slot;
    }
    return loam_heap_large_alloc(heap, size_bytes < 1 ? 1 : size_bytes, align, NULL);
}

size_t loam_heap_usable(const struct loam_heap *heap, const void *block)
{
    if (block == NULL)
        return 0;
    if (HEAP_IS_HARDENED)
        return loam_hard_usable(heap, block);
    const unsigned class = heap_fast_class(heap, block);
    if (class != 0)
        return heap_class_bytes(class);
    const struct loam_heap_large *const large = loam_heap_large_find(heap, block);
    LOAM_REQUIRE(large != NULL, HEAP_FOREIGN, loam_virt_of(block).addr, 0);
    return large->page_count * LOAM_PAGE_SIZE;
}

/* Does a block of this size serve a request as well as a new one would? */
static bool heap_fits(size_t usable, size_t size_bytes)
{
    return size_bytes <= usable && size_bytes >= usable / 2;
}

void *loam_heap_realloc(struct loam_heap *heap, void *block, size_t size_bytes)
{
    if (block == NULL)
        return loam_heap_alloc(heap, size_bytes);
    const size_t usable = loam_heap_usable(heap, block);
    struct loam_heap_large *const large =
        usable > LOAM_HEAP_SMALL_MAX ? loam_heap_large_find(heap, block) : NULL;
    if (loam_hard_resize(heap, block, size_bytes))
        return block;
    if (!HEAP_IS_HARDENED && large != NULL && size_bytes > LOAM_HEAP_SMALL_MAX &&
        loam_heap_large_resize(heap, large, size_bytes))
        return block;
    if (!HEAP_IS_HARDENED && large == NULL && heap_fits(usable, size_bytes))
        return block;
    void *const moved = loam_heap_alloc(heap, size_bytes);
    if (moved == NULL)
        return size_bytes <= usable ? block : NULL;
    __builtin_memcpy(moved, block, usable < size_bytes ? usable : size_bytes);
    loam_heap_free(heap, block);
    return moved;
}

/* ---- trim ------------------------------------------------------------------------- */

uint64_t loam_heap_trim(struct loam_heap *heap)
{
    const uint64_t pinned = loam_guard_pin();
    struct loam_heap_cpu *const own = heap_cpu_here(heap);
    struct loam_slab_extra *extra = NULL;
    uint64_t pages = 0;

    for (unsigned i = 0; i < heap->cpu_count; i++) {
        struct loam_heap_cpu *const cpu = atomic_load(&heap->cpu[i]);
        if (cpu != NULL)
            atomic_store(&cpu->guard.is_wanted, 1);
    }
    while ((extra = slab_extra_next(heap, extra)) != NULL)
        slab_extra_ask(extra);
    if (heap_enter(heap, own))
        loam_guard_leave(&own->guard);
    loam_guard_unpin(pinned);
    for (unsigned class = 1; class < LOAM_HEAP_CLASSES; class ++)
        pages += loam_slab_trim(&heap->cache[class]);
    while ((extra = slab_extra_next(heap, extra)) != NULL)
        pages += loam_slab_trim(&extra->cache);
    return pages;
}

void loam_heap_trim_cpu(struct loam_heap *heap, unsigned cpu)
{
    struct loam_heap_cpu *const other = cpu < heap->cpu_count ? atomic_load(&heap->cpu[cpu]) : NULL;
    struct loam_slab_extra *extra = NULL;

    if (other != NULL)
        heap_cpu_drop(heap, other);
    while (cpu < heap->cpu_count && (extra = slab_extra_next(heap, extra)) != NULL)
        slab_extra_drop(extra, cpu); /* of a CPU that never used the heap itself */
}
