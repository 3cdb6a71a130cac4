/*
 * map.h - what the benchmark calls: every interval map, Loam's and the peers,
 * behind the same functions through pointers, so that a call costs the same for
 * all.
 */
#ifndef BENCH_USAGE_MAP_H
#define BENCH_USAGE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One map at a time. Intervals are [first, last], values small numbers. */
struct bench_map {
    const char *name;
    void (*init)(size_t interval_count); /* empty; what was before is forgotten */
    bool (*insert)(uint64_t first, uint64_t last, uint8_t value);       /* false: overlaps */
    bool (*insert_merge)(uint64_t first, uint64_t last, uint8_t value); /* with equal touchers */
    uint8_t (*lookup)(uint64_t at);                                     /* 255: nobody's */
    size_t (*memory)(void); /* bytes in use; 0: count what is had from malloc */
};

/* Each table ends with an entry without a name. */
extern const struct bench_map BENCH_USAGE_PEERS[]; /* bench/peers-usage */
extern const struct bench_map bench_usage_loam[];

/* Give Loam's map memory for its nodes: @p size_bytes at @p memory, page-aligned. */
void bench_usage_memory(void *memory, size_t size_bytes);

/* A map that does nothing: what the benchmark itself costs. */
extern const struct bench_map bench_usage_empty[];

#endif
