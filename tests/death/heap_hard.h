/* heap_hard.h - a hardened heap of two CPUs, for the death programs. */
#ifndef LOAM_TESTS_DEATH_HEAP_HARD_H
#define LOAM_TESTS_DEATH_HEAP_HARD_H

#define LOAM_HEAP_MODE 1 /* LOAM_HEAP_HARDENED; config.h names it later */

#include "alone/heap.c" /* before there is a heap that its names would hide */

#include "heap_world.h"

/* A block of a heap that has been in use. */
static inline char *hard_block(size_t size_bytes)
{
    heap_on(2);
    loam_heap_free(&heap, loam_heap_alloc(&heap, size_bytes));
    return loam_heap_alloc(&heap, size_bytes);
}

#endif
