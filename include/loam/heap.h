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

#define LOAM_HEAP_SMALL_MAX LOAM_SLAB_OBJECT_MAX /* bytes; above: large blocks */
#define LOAM_HEAP_TABLE_MAX 1024u                /* bytes; classes by table up to here */
#define LOAM_HEAP_CLASSES   58u                  /* 1..57; 0: none */
#define LOAM_HEAP_ALIGN     16u                  /* of blocks of 16 bytes and more; below: 8 */

/* Of a CPU. */
struct loam_heap_cpu {
    struct loam_guard guard;
    unsigned index;
    void *nothing[2]; /* an empty magazine without room */
    struct loam_magazine magazine[LOAM_HEAP_CLASSES];
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

LOAM_NODISCARD enum loam_status loam_heap_init(struct loam_heap *heap,
                                               const struct loam_pagemap_setup *setup,
                                               unsigned cpu_count);
LOAM_NODISCARD void *loam_heap_alloc(struct loam_heap *heap, size_t size_bytes);
LOAM_NODISCARD void *loam_heap_calloc(struct loam_heap *heap, size_t count, size_t size_bytes);
LOAM_NODISCARD void *loam_heap_alloc_aligned(struct loam_heap *heap, size_t align,
                                             size_t size_bytes);
LOAM_NODISCARD void *loam_heap_realloc(struct loam_heap *heap, void *block, size_t size_bytes);
void loam_heap_free(struct loam_heap *heap, void *block);
void loam_heap_free_sized(struct loam_heap *heap, void *block, size_t size_bytes);
LOAM_NODISCARD size_t loam_heap_usable(const struct loam_heap *heap, const void *block);
uint64_t loam_heap_trim(struct loam_heap *heap);
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

#ifdef __cplusplus
}
#endif
#endif
