/*
 * actions.h - workloads: what a heap is asked to do, drawn up before the clock
 * starts, so that drawing costs nothing and every heap is asked the same.
 */
#ifndef BENCH_ARENA_ACTIONS_H
#define BENCH_ARENA_ACTIONS_H

#include "heap.h"

#define BENCH_SLOTS 16384u /* of any workload */

enum bench_kind { BENCH_ALLOC, BENCH_FREE, BENCH_REALLOC, BENCH_KINDS };

struct bench_action {
    uint32_t size_bytes; /* unused by a free */
    uint16_t slot;
    uint8_t kind; /* enum bench_kind */
    uint8_t align_shift;
};

struct bench_workload {
    const char *name;
    uint32_t slots;              /* more blocks are never live */
    uint32_t size_min, size_max; /* log-uniform */
    uint8_t align_shift_min, align_shift_max;
    bool realloc;
};

#define BENCH_WORKLOADS 4u
extern const struct bench_workload bench_workloads[BENCH_WORKLOADS];

/* A live block. */
struct bench_slot {
    unsigned char *block; /* NULL: none */
    uint32_t size_bytes;
    uint32_t align;
};

/** Random numbers, always the same. @param state any start value, stepped */
uint64_t bench_random(uint64_t *state);

/** @return size from min..max, its logarithm uniform */
uint32_t bench_random_size(uint64_t *state, uint32_t min, uint32_t max);

/**
 * Draw up actions. The live set starts empty, grows to seven eighths of the
 * workload's slots, shrinks to one eighth, and so on: of seven actions one is a
 * realloc, four go the way of the tide and two against it.
 */
void bench_actions_draw(const struct bench_workload *workload, struct bench_action *actions,
                        size_t count);

/**
 * Carry out actions. The first and last byte of each new block are written, and
 * the last one after a realloc.
 *
 * @param heap    heap, set up
 * @param slots   BENCH_SLOTS of them, as the actions before left them
 * @param actions what to do
 * @param count   of them
 *
 * @return requests that failed
 */
size_t bench_actions_run(const struct bench_heap *heap, struct bench_slot *slots,
                         const struct bench_action *actions, size_t count);

/** As bench_actions_run(), with every block's alignment and bytes checked; exits if wrong. */
void bench_actions_check(const struct bench_heap *heap, struct bench_slot *slots,
                         const struct bench_action *actions, size_t count);

/** Free all that is live. */
void bench_slots_free(const struct bench_heap *heap, struct bench_slot *slots);

#endif
