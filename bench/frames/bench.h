/*
 * bench.h - the parts of the benchmark. Each prints a table and writes its raw
 * numbers to a file of comma-separated values.
 */
#ifndef BENCH_FRAMES_BENCH_H
#define BENCH_FRAMES_BENCH_H

#include "../arena/help.h"
#include "peer.h"

#define BENCH_PEERS_MAX     16u
#define BENCH_WORKLOADS_MAX 16u
#define BENCH_ROUNDS_MAX    500u
#define BENCH_FRAME_COUNT   ((uint64_t)2 << 20) /* 8 GiB, where a part does not say otherwise */

struct bench_plan {
    const struct frames_peer *peers[BENCH_PEERS_MAX];
    size_t peer_count;
    const char *workloads[BENCH_WORKLOADS_MAX]; /* of speed */
    size_t workload_count;                      /* 0: all */
    unsigned rounds;
    unsigned cpu_count;    /* that the allocators are set up for */
    const char *directory; /* for raw numbers; NULL: nowhere */
};

/** Is every allocator one? Exits if not. Also: frames that another CPU cannot have. */
void bench_check(const struct bench_plan *plan);
/** Nanoseconds of an allocation and a free, one thread. */
void bench_speed(const struct bench_plan *plan);
/** Bytes of metadata, a request that fails at 256 GiB, bringing up 1 TiB. */
void bench_large(const struct bench_plan *plan);
/** Blocks of 2 MiB that are left after rounds of random replacement. */
void bench_fragments(const struct bench_plan *plan);
/** One CPU allocates, another one frees; and bulk on more and more CPUs. */
void bench_threads(const struct bench_plan *plan);

/* ---- help (memory.c) ------------------------------------------------------------------ */

/** An allocator with all frames free; exits if it refuses. Metadata is mapped, and on
 * large pages where the system has them, as in a kernel's direct map. */
void bench_bring_up(const struct frames_peer *peer, uint64_t frame_count, unsigned cpu_count);
/** The memory of bench_bring_up(). It stays until a larger one is asked for. */
void *bench_memory(size_t size_bytes);
/** An array on large pages, touched, that does not fail. */
void *bench_array(size_t count, size_t size_bytes);
/** One frame, or the end: the benchmark never asks for more than there is. */
uint64_t bench_alloc(const struct frames_peer *peer, unsigned order);
void bench_shuffle(uint64_t *values, size_t count, uint64_t *state);
/** CPU time of this thread in ns. */
double bench_cpu_now(void);
/** Time in ns. */
double bench_wall_now(void);

#endif
