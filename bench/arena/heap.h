/*
 * heap.h - what the benchmark calls: every heap, Loam's and the peers, behind the
 * same four functions through pointers, so that a call costs the same for all.
 */
#ifndef BENCH_ARENA_HEAP_H
#define BENCH_ARENA_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One heap at a time, without a lock. Sizes are 1 or more, alignments powers of two. */
struct bench_heap {
    const char *name;
    bool (*init)(void *span, size_t size_bytes); /* forgets what was before */
    void *(*alloc)(size_t size_bytes, size_t align);
    void (*free)(void *block, size_t size_bytes, size_t align);
    void *(*realloc)(void *block, size_t old_bytes, size_t size_bytes, size_t align);
};

/* Each table ends with an entry without a name. */
extern const struct bench_heap BENCH_PEERS[]; /* bench/peers */
extern const struct bench_heap bench_loam[];
/* Costs nothing: what the benchmark itself costs. Every block is the same one. */
extern const struct bench_heap bench_empty[];
/* A pointer that is aligned and moved up, nothing more, and Loam's bump. */
extern const struct bench_heap bench_bumps[];

struct bench_increment {
    uintptr_t next;
};

/** The bare increment; a call away, as Loam's functions are. */
void *bench_increment_alloc(struct bench_increment *increment, size_t size_bytes, size_t align);

#define BENCH_HEAPS_MAX 24u

#endif
