/*
 * heap.h - layer 7: malloc for all CPUs: growing, without a lock in the usual case.
 *
 *     size -> class ---> magazine of this CPU ---> cache of the class ---> frames
 *             1..57      pop: 10 instructions      slab.h
 *     > 64 KiB --------------------------------> large block ----------> frames
 *
 * A block has no header. Its size is that of its class, or whole pages; what an address
 * belongs to is looked up in the page map, without reading at the address.
 *
 * What is caught at the free, always (subject: the block):
 *
 *     heap: not a block of this heap    foreign, inside of a block, never allocated
 *     heap: already free                freed twice in a row on one CPU; a large block; and
 *                                       any other second free when both reach their slab,
 *                                       if it was not given out in between
 *     heap: wrong size                  free_sized: a size of another class, or of
 *                                       another number of pages
 *
 * Hardened (LOAM_HEAP_MODE): every second free is "heap: already free", as long as the
 * slot was not handed out again; a size must be the one that was asked for; and further
 *
 *     heap: written past the end        at the free, unless one zero byte: a terminator.
 *                                       Large and sampled blocks: a page fault at once
 *     heap: written after free          when the slot is handed out again
 *
 * Blocks are zeroes when they are handed out. Which slot comes next is random, and never
 * the one just freed. Each block takes 8 bytes more.
 *
 * Costs: a record of 40 bytes and one bit a slot for each slab, magazines (slab.h), 8
 * bytes for each page of memory near heap pages.
 */
#ifndef LOAM_HEAP_H
#define LOAM_HEAP_H

#include "guard.h"
#include "pagemap.h"
#include "slab.h"

#ifdef __cplusplus
extern "C" {
#endif

#if LOAM_HEAP_MODE == LOAM_HEAP_HARDENED
#define LOAM_HEAP_TAIL 8u /* bytes of a slot behind the block: the canary */
#else
#define LOAM_HEAP_TAIL 0u
#endif
#define LOAM_HEAP_SMALL_MAX (LOAM_SLAB_OBJECT_MAX - LOAM_HEAP_TAIL) /* bytes; above: large */
#define LOAM_HEAP_TABLE_MAX (1024u - LOAM_HEAP_TAIL) /* bytes; classes by table up to here */
#define LOAM_HEAP_CLASSES   58u                      /* 1..57; 0: none */
#define LOAM_HEAP_ALIGN     16u                      /* of blocks of 16 bytes and more; below: 8 */

#define LOAM_HEAP_HELD 8u /* blocks of a class that a CPU holds back, hardened */

#if LOAM_HEAP_MODE == LOAM_HEAP_HARDENED
struct loam_heap_hard {
    uint64_t random;    /* state of the CPU's random numbers; never 0 */
    uint32_t countdown; /* blocks until one is sampled */
    void *held[LOAM_HEAP_CLASSES][LOAM_HEAP_HELD];
};
#endif

/* Of a CPU. */
struct loam_heap_cpu {
    struct loam_guard guard;
    unsigned index;
    void *nothing[2]; /* an empty magazine without room */
    struct loam_magazine magazine[LOAM_HEAP_CLASSES];
#if LOAM_HEAP_MODE == LOAM_HEAP_HARDENED
    struct loam_heap_hard hard;
#endif
};

struct loam_heap_large; /* the record of a large block */

/* Read-only outside heap*.c. Must not move. */
struct loam_heap {
    struct loam_pagemap map;
    unsigned cpu_count;
    LOAM_ATOMIC(struct loam_heap_cpu *) cpu[LOAM_CPUS_MAX]; /* NULL: has not allocated yet */
    struct loam_slab_cache cache[LOAM_HEAP_CLASSES];
    struct loam_spinlock large_lock; /* guards what follows */
    struct loam_heap_large *large;
    uint64_t large_count, large_pages, large_peak_pages;
    uint64_t large_gone; /* far ones that are free, whose record is still in use: heap_large.h */
    struct loam_spinlock caches_lock; /* guards what follows */
    struct loam_slab_extra *caches;   /* made by loam_slab_create(), the newest first */
    uint64_t caches_count;
#if LOAM_HEAP_MODE == LOAM_HEAP_HARDENED
    uint64_t secret;
    bool is_weak;
    LOAM_ATOMIC(uint64_t) unguarded_count; /* guard pages that could not be had, or undone */
    uint32_t sample_count;                 /* pages for sampled blocks; guarded by large_lock */
    struct loam_heap_large *sample;        /* those in no use; guarded by large_lock */
#endif
};

/* slab_pages * LOAM_PAGE_SIZE = live + magazine + free + waste, less large blocks. */
struct loam_heap_stats {
    uint64_t page_count;     /* all: of slabs, large blocks and records */
    uint64_t live_count;     /* blocks that somebody has, large ones among them */
    uint64_t live_bytes;     /* their sizes: of a class, or whole pages */
    uint64_t magazine_count; /* free blocks that CPUs have at hand */
    uint64_t magazine_bytes;
    uint64_t free_count; /* in slabs */
    uint64_t free_bytes;
    uint64_t waste_bytes; /* of slabs, for which there is no slot */
    uint64_t slab_count, slab_pages;
    uint64_t large_count, large_pages, large_peak_pages;
    uint64_t record_bytes; /* in use: of slabs, large blocks, caches, CPUs, magazines */
    uint64_t record_pages; /* that hold records and tables of the page map */
    uint64_t caches_count;
};

/* A block that somebody has, as the walk shows it. */
struct loam_heap_block {
    loam_virt start;
    size_t size_bytes;                   /* of its class, or whole pages */
    const struct loam_slab_cache *cache; /* NULL: a large block */
    /* where the walk is; heap_look.c */
    const struct loam_heap_large *large;
    struct loam_slab_object object;
};

/*
 * Default context of the functions here: any CPU, any interrupt state, not NMI; may spin
 * for other CPUs' turns, never waits otherwise. With LOAM_GUARD_IRQ interrupts are off
 * inside. A CPU that the heap was not told of allocates and frees, too, but under locks.
 */

/**
 * Start empty.
 *
 * @param setup     of the page map; its addresses are those that blocks will have
 * @param cpu_count CPUs with lists of their own, 1..LOAM_CPUS_MAX
 *
 * @return LOAM_OK; LOAM_INVALID: no CPU, too many, or the setup is malformed
 *
 * Context: before anybody uses it.
 */
LOAM_NODISCARD enum loam_status loam_heap_init(struct loam_heap *heap,
                                               const struct loam_pagemap_setup *setup,
                                               unsigned cpu_count);
#if LOAM_HEAP_MODE == LOAM_HEAP_HARDENED
/** Was there no seed? Then random numbers follow from addresses: guessable. */
LOAM_NODISCARD bool loam_heap_is_weak(const struct loam_heap *heap);
#endif

/**
 * Allocate.
 *
 * @param size_bytes 0 gives a block of its own, of which no byte may be used
 *
 * @return aligned to LOAM_HEAP_ALIGN, below that size to 8; contents undefined. The
 *         caller's until loam_heap_free(). NULL: no memory, and nothing has changed
 */
LOAM_NODISCARD void *loam_heap_alloc(struct loam_heap *heap, size_t size_bytes);

/** The same for an array, wholly zero. @return NULL also if count * size_bytes overflows */
LOAM_NODISCARD void *loam_heap_calloc(struct loam_heap *heap, size_t count, size_t size_bytes);

/**
 * Allocate at a multiple of @p align.
 *
 * @param align      power of two; any other gives NULL
 * @param size_bytes need not be a multiple of it
 *
 * @return as loam_heap_alloc()
 */
LOAM_NODISCARD void *loam_heap_alloc_aligned(struct loam_heap *heap, size_t align,
                                             size_t size_bytes);

/**
 * Change the size of a block, where it is if possible.
 *
 * @param block      NULL: as loam_heap_alloc(). What is no block panics
 * @param size_bytes 0 keeps a block, of no bytes
 *
 * @return the block, with as many of its bytes as both sizes have; the former address is
 *         not to be used any more. NULL: no memory; the block is as it was
 */
LOAM_NODISCARD void *loam_heap_realloc(struct loam_heap *heap, void *block, size_t size_bytes);

/** Free a block, on any CPU. @param block NULL: nothing is done. See above for what panics */
void loam_heap_free(struct loam_heap *heap, void *block);

/** The same. @param size_bytes asked for; one that the block has no room for panics */
void loam_heap_free_sized(struct loam_heap *heap, void *block, size_t size_bytes);

/** Bytes that a block has room for. @param block NULL: 0; what is no block panics */
LOAM_NODISCARD size_t loam_heap_usable(const struct loam_heap *heap, const void *block);

/**
 * Give back what is free: all that this CPU has at hand, and every empty slab, of size
 * classes and of caches. Other CPUs are asked to do the same with what they have, at their
 * next visit.
 *
 * @return pages of the slabs that were empty then
 */
uint64_t loam_heap_trim(struct loam_heap *heap);

/**
 * Do for a CPU what it was asked: give back what it has at hand.
 *
 * @param cpu the running one, or one that does not come to the heap meanwhile: it has gone,
 *            say; any other number is left alone
 */
void loam_heap_trim_cpu(struct loam_heap *heap, unsigned cpu);

/**
 * Count. Each class and each cache is of one moment; they are not of the same. What
 * CPUs have at hand is exact when they are not in the heap.
 *
 * Context: any, not NMI; takes locks, one at a time. O(CPUs x (classes + caches))
 */
void loam_heap_measure(struct loam_heap *heap, struct loam_heap_stats *out);

/**
 * The same of one size class.
 *
 * @param size_class 1..LOAM_HEAP_CLASSES - 1; any other panics
 */
void loam_heap_measure_class(struct loam_heap *heap, unsigned size_class,
                             struct loam_slab_stats *out);

/**
 * Walk all blocks that somebody has: of size classes, of caches, large ones. To begin,
 * zero *block; each call makes it the next.
 *
 *     struct loam_heap_block block = { 0 };
 *     while (loam_heap_next(&heap, &block))
 *         ... block.start, block.size_bytes ...
 *
 * @return false: that was the last
 *
 * Context: nobody is in the heap meanwhile. O(slabs x blocks at hand of their class)
 */
LOAM_NODISCARD bool loam_heap_next(const struct loam_heap *heap, struct loam_heap_block *block);

/**
 * Print a line for each size class and each cache that has a slab, one for large blocks,
 * one for records, and sums.
 *
 * @param writer called without a lock
 *
 * Context: as loam_heap_measure().
 */
void loam_heap_print(struct loam_heap *heap, const struct loam_writer *writer);

/**
 * Does the address lie in a slab or a large block? Then it can be read.
 *
 * Context: any, not NMI. O(large blocks) where it is in no first page
 */
LOAM_NODISCARD bool loam_heap_owns(struct loam_heap *heap, const void *pointer);

/**
 * @return NULL if sound: bits, counts, lists, the page map, magazines and records agree;
 *         else the broken rule
 *
 * Context: nobody is in the heap meanwhile. O(blocks at hand + slabs)
 */
LOAM_NODISCARD const char *loam_heap_audit(struct loam_heap *heap);

/**
 * @return digest of place and size of every block that somebody has
 *
 * Context: nobody is in the heap meanwhile; it is sound.
 */
LOAM_NODISCARD uint64_t loam_heap_digest(struct loam_heap *heap);

/* ---- objects of a type ----------------------------------------------------------- */

/*
 *     struct thing *const thing = loam_new(&heap, struct thing);
 *     ...
 *     loam_delete(&heap, thing);
 *
 * As loam_heap_alloc() and loam_heap_free_sized(), with the size class found by the compiler
 * and the usual path inline; types of any alignment. In C++ they call those two.
 */
#ifdef __cplusplus
#define loam_new(heap, type)                                                                \
    (static_cast<type *>(alignof(type) > LOAM_HEAP_ALIGN                                    \
                             ? loam_heap_alloc_aligned((heap), alignof(type), sizeof(type)) \
                             : loam_heap_alloc((heap), sizeof(type))))
#define loam_delete(heap, object) loam_heap_free_sized((heap), (object), sizeof(*(object)))
#else
#define loam_new(heap, type)                                                      \
    ((type *)(_Alignof(type) > LOAM_HEAP_ALIGN                                    \
                  ? loam_heap_alloc_aligned((heap), _Alignof(type), sizeof(type)) \
                  : loam_heap_new((heap), sizeof(type))))
#define loam_delete(heap, object) loam_heap_delete((heap), (object), sizeof(*(object)))

/* For sizes that the compiler knows: the steps from one class to the next. */
static inline size_t loam_heap_class_step(size_t size_bytes)
{
    if (size_bytes <= 256)
        return size_bytes <= 8 ? 8 : 16;
    const unsigned top = 63u - (unsigned)__builtin_clzll(size_bytes - 1);
    return (size_t)1 << (size_bytes <= LOAM_HEAP_TABLE_MAX ? top - 3 : top - 2);
}

/* Its number, 1..LOAM_HEAP_CLASSES - 1. @param size_bytes up to LOAM_HEAP_SMALL_MAX */
static inline unsigned loam_heap_class(size_t size_bytes)
{
    if (size_bytes <= 256)
        return size_bytes <= 8 ? 1 : (unsigned)((size_bytes + 15) / 16) + 1;
    const unsigned top = 63u - (unsigned)__builtin_clzll(size_bytes - 1);
    const unsigned steps = (unsigned)((size_bytes - 1) / loam_heap_class_step(size_bytes));
    return size_bytes <= LOAM_HEAP_TABLE_MAX ? 10 + (top - 8) * 8 + steps
                                             : 30 + (top - 10) * 4 + steps;
}

/* The running CPU's lists, if it may use them now. It is pinned. */
static inline struct loam_heap_cpu *loam_heap_enter(struct loam_heap *heap)
{
    const unsigned index = loam_port_cpu();
    struct loam_heap_cpu *const cpu =
        index < heap->cpu_count ? atomic_load(&heap->cpu[index]) : NULL;

    if (__builtin_expect(cpu == NULL || loam_guard_is_wanted(&cpu->guard), 0))
        return NULL;
    return loam_guard_enter(&cpu->guard) ? cpu : NULL;
}

LOAM_NODISCARD static inline void *loam_heap_new(struct loam_heap *heap, size_t size_bytes)
{
    void *block = NULL;

    if (size_bytes <= LOAM_HEAP_SMALL_MAX) {
        const uint64_t pinned = loam_guard_pin();
        struct loam_heap_cpu *const cpu = loam_heap_enter(heap);
        if (__builtin_expect(cpu != NULL, 1)) {
            block = loam_magazine_pop(&cpu->magazine[loam_heap_class(size_bytes)]);
            loam_guard_leave(&cpu->guard);
        }
        loam_guard_unpin(pinned);
    }
    return __builtin_expect(block != NULL, 1) ? block : loam_heap_alloc(heap, size_bytes);
}

/* Does a block of the class of this size begin here? See internal/heap_class.h. */
static inline bool loam_heap_is_of_class(const struct loam_heap *heap, const void *block,
                                         size_t size_bytes)
{
    const uint64_t at = loam_virt_of(block).addr;
    const uint64_t entry = loam_pagemap_look(&heap->map, at);
    const size_t step = loam_heap_class_step(size_bytes);
    const size_t slot = size_bytes == 0 ? step : (size_bytes + step - 1) / step * step;
    const uint64_t inverse = UINT64_MAX / slot + 1;

    return loam_pagemap_kind(entry) == loam_heap_class(size_bytes) &&
           loam_pagemap_rest(entry, at) * inverse < inverse;
}

static inline void loam_heap_delete(struct loam_heap *heap, void *block, size_t size_bytes)
{
    bool is_done = false;

    if (size_bytes <= LOAM_HEAP_SMALL_MAX && loam_heap_is_of_class(heap, block, size_bytes)) {
        const uint64_t pinned = loam_guard_pin();
        struct loam_heap_cpu *const cpu = loam_heap_enter(heap);
        if (__builtin_expect(cpu != NULL, 1)) {
            is_done = loam_magazine_push(&cpu->magazine[loam_heap_class(size_bytes)], block);
            loam_guard_leave(&cpu->guard);
        }
        loam_guard_unpin(pinned);
    }
    if (__builtin_expect(!is_done, 0))
        loam_heap_free_sized(heap, block, size_bytes);
}
#endif

#ifdef __cplusplus
}
#endif
#endif
