/*
 * instructions.c - a known number of calls, for callgrind to count what they cost
 * (bench/arena/report.py). Prints the numbers of calls.
 */
#include <stdlib.h>

#include "bench.h"

#define BENCH_PAIRS   10000u
#define BENCH_ACTIONS ((size_t)96 << 10)

/* Blocks of 16 bytes, each freed at once. */
void bench_pairs(const struct bench_plan *plan)
{
    const struct bench_heap *heap = plan->heaps[0];
    bench_heap_init(heap, plan, BENCH_SPAN_BYTES);
    for (unsigned i = 0; i < BENCH_PAIRS; i++) {
        void *block = heap->alloc(16, 8);
        if (block != NULL)
            heap->free(block, 16, 8);
    }
    printf("calls %s pair %u %u 0\n", heap->name, BENCH_PAIRS, BENCH_PAIRS);
}

void bench_instructions(const struct bench_plan *plan)
{
    const struct bench_heap *heap = plan->heaps[0];
    const struct bench_workload *workload = plan->workloads[0];
    struct bench_action *actions = bench_array(BENCH_ACTIONS, sizeof *actions);
    struct bench_slot *slots = bench_array(BENCH_SLOTS, sizeof *slots);
    size_t calls[BENCH_KINDS] = { 0 };
    bench_actions_draw(workload, actions, BENCH_ACTIONS);
    for (size_t i = 0; i < BENCH_ACTIONS; i++)
        calls[actions[i].kind]++;
    bench_heap_init(heap, plan, BENCH_SPAN_BYTES);
    const size_t failures = bench_actions_run(heap, slots, actions, BENCH_ACTIONS);
    if (failures != 0)
        (void)fprintf(stderr, "bench-arena: %s: %zu requests failed\n", heap->name, failures);
    printf("calls %s %s %zu %zu %zu\n", heap->name, workload->name, calls[BENCH_ALLOC],
           calls[BENCH_FREE], calls[BENCH_REALLOC]);
    free(slots);
    free(actions);
}
