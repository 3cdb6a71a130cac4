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
#define LOAM_HEAP_CLASSES   58u                 /* 1..57; 0: none */
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

#ifdef __cplusplus
}
#endif
#endif
