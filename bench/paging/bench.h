/*
 * bench.h - what main.c and check.c share.
 */
#ifndef BENCH_PAGING_BENCH_H
#define BENCH_PAGING_BENCH_H

#include <stdio.h>

#include "peer.h"

#define BENCH_PEERS_MAX 8u

struct bench {
    const struct paging_peer *peers[BENCH_PEERS_MAX];
    size_t peer_count;
    unsigned rounds;
    bool has_large; /* 64 GiB of small pages too */
    FILE *out;
    unsigned char *memory; /* for tables */
    uint64_t frame_count;  /* in use there, by the last set-up */
    uint64_t *virts;       /* pages of the area, in a random order */
    uint64_t random;
};

/** What is mapped at @p virt: memory where pages of that size fit, and no larger ones. */
static inline uint64_t bench_phys(uint64_t virt, uint64_t page_size)
{
    return (UINT64_C(1) << 40) + page_size + (virt - PAGING_AREA);
}

/** Empty tables for an area. Its frames were all just written: caches are alike for all. */
void bench_bring_up(struct bench *bench, const struct paging_peer *peer, uint64_t area_bytes,
                    uint64_t page_size);

/** Fill bench->virts with the first @p count pages of the area, in a new random order. */
void bench_draw(struct bench *bench, size_t count);

/** Exits if the tables that @p peer makes are wrong. */
void bench_check(struct bench *bench, const struct paging_peer *peer);

#endif
