/*
 * peer.h - what the benchmark calls: every frame allocator, Loam's and its peers,
 * behind the same functions through pointers, so that a call costs the same for all.
 */
#ifndef BENCH_FRAMES_PEER_H
#define BENCH_FRAMES_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The simulated RAM starts here, above what old devices reach. It is never touched. */
#define FRAMES_BASE ((uint64_t)4 << 30)
#define FRAMES_NONE UINT64_MAX

struct frames_setup {
    void *memory; /* metadata_bytes() of it, page-aligned; NULL if that is 0 */
    uint64_t frame_count;
    unsigned cpu_count; /* that may call; loam_port_cpu() is below that */
    bool is_zeroed;     /* the memory */
};

/* One instance at a time. Addresses are in bytes. */
struct frames_peer {
    const char *name;
    unsigned order_max;
    bool is_shared; /* several CPUs may call at once */
    bool is_limit;  /* no allocator: what none can beat */
    /* 0: takes what it needs from malloc() */
    size_t (*metadata_bytes)(uint64_t frame_count, unsigned cpu_count);
    /* All frames are free. Forgets what was before; the old metadata may be gone. */
    bool (*init)(const struct frames_setup *setup);
    uint64_t (*alloc)(unsigned order); /* FRAMES_NONE: none left */
    void (*free)(uint64_t address, unsigned order);
    /* Single frames, an array at a time; NULL: not offered. Returns how many. */
    size_t (*alloc_bulk)(uint64_t *out, size_t count);
    void (*free_bulk)(const uint64_t *addresses, size_t count);
};

/* Each table ends with an entry without a name. */
extern const struct frames_peer frames_loam[];
extern const struct frames_peer frames_linux[];
extern const struct frames_peer frames_stack[];
extern const struct frames_peer FRAMES_PEERS[]; /* bench/peers-frames */

/* What loam_port_cpu() says in this thread; the peers ask it too. */
extern _Thread_local unsigned frames_cpu;

#endif
