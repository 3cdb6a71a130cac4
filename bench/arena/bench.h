/*
 * bench.h - the parts of the benchmark. Each prints a table and writes its raw
 * numbers to a file of comma-separated values.
 */
#ifndef BENCH_ARENA_BENCH_H
#define BENCH_ARENA_BENCH_H

#include "actions.h"
#include "help.h"

#define BENCH_SPAN_BYTES ((size_t)64 << 20)

struct bench_plan {
    const struct bench_heap *heaps[BENCH_HEAPS_MAX];
    size_t heap_count;
    const struct bench_workload *workloads[BENCH_WORKLOADS];
    size_t workload_count;
    unsigned rounds;
    unsigned repeats;      /* of latency and density */
    const char *directory; /* for raw numbers; NULL: nowhere */
    void *span;            /* BENCH_SPAN_BYTES, touched */
};

/** Operations per second. */
void bench_speed(const struct bench_plan *plan);
/** Nanoseconds of an alloc whose blocks are never freed: bump and what it is compared with. */
void bench_bump(const struct bench_plan *plan);
/** Bytes live at the first failure, and the largest block once all is free again. */
void bench_density(const struct bench_plan *plan);
/** Cycles of each single operation. */
void bench_latency(const struct bench_plan *plan);
/** Known numbers of calls of the first heap, to be counted by callgrind. */
void bench_pairs(const struct bench_plan *plan);
void bench_instructions(const struct bench_plan *plan);

/** Set a heap up over the start of the span; exits if it refuses. */
void bench_heap_init(const struct bench_heap *heap, const struct bench_plan *plan,
                     size_t size_bytes);
/** calloc() that does not fail. */
void *bench_array(size_t count, size_t size_bytes);

#endif
