/*
 * latency.c - cycles of each single operation.
 *
 * The time-stamp counter is read before and after every call, with fences, and
 * what that costs around a heap that does nothing is taken off. The same actions
 * on a fresh heap do the same work each time, so all is run several times and each
 * action's least time counts: interrupts of the machine go, what the heap itself
 * makes slow stays, the rarest of it too. Heaps take turns.
 */
#include <stdlib.h>
#include <string.h>
#include <x86intrin.h>

#include "bench.h"

#define BENCH_WARM  ((size_t)128 << 10)
#define BENCH_TIMED ((size_t)2 << 20)

static const char *const kind_names[BENCH_KINDS] = { "alloc", "free", "realloc" };

struct latency {
    const struct bench_plan *plan;
    const struct bench_workload *workload;
    struct bench_action *actions;
    struct bench_slot *slots;
    uint32_t *least[BENCH_HEAPS_MAX]; /* cycles of each timed action */
    uint32_t *sorted;
    uint32_t empty[BENCH_KINDS]; /* median of doing nothing */
    FILE *file;
};

static inline uint64_t cycles_before(void)
{
    _mm_lfence();
    const uint64_t now = __rdtsc();
    _mm_lfence();
    return now;
}

static inline uint64_t cycles_after(void)
{
    unsigned cpu;
    const uint64_t now = __rdtscp(&cpu);
    _mm_lfence();
    return now;
}

/* One action, as bench_actions_run(). @return cycles of the call; 0: none was made */
static uint64_t latency_action(const struct bench_heap *heap, struct bench_slot *slot,
                               const struct bench_action action)
{
    uint64_t start;
    uint64_t end;
    if (action.kind == BENCH_ALLOC) {
        const uint32_t align = 1u << action.align_shift;
        start = cycles_before();
        unsigned char *block = heap->alloc(action.size_bytes, align);
        end = cycles_after();
        *slot = (struct bench_slot){ block, action.size_bytes, align };
        if (block != NULL) {
            block[0] = 1;
            block[action.size_bytes - 1] = 2;
        }
    } else if (slot->block == NULL) {
        return 0;
    } else if (action.kind == BENCH_FREE) {
        start = cycles_before();
        heap->free(slot->block, slot->size_bytes, slot->align);
        end = cycles_after();
        slot->block = NULL;
    } else {
        start = cycles_before();
        unsigned char *block =
            heap->realloc(slot->block, slot->size_bytes, action.size_bytes, slot->align);
        end = cycles_after();
        if (block != NULL) {
            block[action.size_bytes - 1] = 2;
            slot->block = block;
            slot->size_bytes = action.size_bytes;
        }
    }
    return end - start;
}

static void latency_repeat(struct latency *latency, size_t heap_index, bool first)
{
    const struct bench_heap *heap = latency->plan->heaps[heap_index];
    uint32_t *least = latency->least[heap_index];
    bench_heap_init(heap, latency->plan, BENCH_SPAN_BYTES);
    memset(latency->slots, 0, BENCH_SLOTS * sizeof *latency->slots);
    (void)bench_actions_run(heap, latency->slots, latency->actions, BENCH_WARM);
    for (size_t i = 0; i < BENCH_TIMED; i++) {
        const struct bench_action action = latency->actions[BENCH_WARM + i];
        const uint64_t cycles = latency_action(heap, &latency->slots[action.slot], action);
        if (first || cycles < least[i])
            least[i] = cycles < UINT32_MAX ? (uint32_t)cycles : UINT32_MAX;
    }
}

static int latency_compare(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a;
    const uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Cycles of the share of operations, without what the empty heap takes. */
static uint32_t latency_at(const struct latency *latency, size_t count, enum bench_kind kind,
                           double share)
{
    const size_t index = (size_t)((double)(count - 1) * share);
    const uint32_t cycles = latency->sorted[index];
    return cycles > latency->empty[kind] ? cycles - latency->empty[kind] : 0;
}

static void latency_print(struct latency *latency, size_t heap_index, enum bench_kind kind)
{
    static const double shares[] = { 0.5, 0.99, 0.9999, 1.0 };
    const struct bench_heap *heap = latency->plan->heaps[heap_index];
    size_t count = 0;
    for (size_t i = 0; i < BENCH_TIMED; i++) {
        const uint32_t cycles = latency->least[heap_index][i];
        if (latency->actions[BENCH_WARM + i].kind == kind && cycles != 0)
            latency->sorted[count++] = cycles;
    }
    if (count == 0)
        return;
    qsort(latency->sorted, count, sizeof *latency->sorted, latency_compare);
    if (heap == bench_empty) {
        latency->empty[kind] = 0;
        latency->empty[kind] = latency_at(latency, count, kind, 0.5);
    }
    printf("%-16s %-8s", heap->name, kind_names[kind]);
    if (latency->file != NULL)
        (void)fprintf(latency->file, "%s,%s,%s,%zu,%u", latency->workload->name, heap->name,
                      kind_names[kind], count, latency->empty[kind]);
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        const uint32_t cycles = latency_at(latency, count, kind, shares[i]);
        printf(" %8u", cycles);
        if (latency->file != NULL)
            (void)fprintf(latency->file, ",%u", cycles);
    }
    printf("\n");
    if (latency->file != NULL)
        (void)fprintf(latency->file, "\n");
}

static void latency_workload(struct latency *latency)
{
    const struct bench_plan *plan = latency->plan;
    bench_actions_draw(latency->workload, latency->actions, BENCH_WARM + BENCH_TIMED);
    for (unsigned repeat = 0; repeat < plan->repeats; repeat++) {
        for (size_t h = 0; h < plan->heap_count; h++) {
            bench_progress("latency: %s, repeat %u of %u, %s", latency->workload->name, repeat + 1,
                           plan->repeats, plan->heaps[h]->name);
            latency_repeat(latency, h, repeat == 0);
        }
    }
    bench_progress("%s", "");
    printf("%s: cycles of the time-stamp counter\n%-25s %8s %8s %8s %8s\n", latency->workload->name,
           "", "p50", "p99", "p99.99", "max");
    memset(latency->empty, 0, sizeof latency->empty);
    for (int kind = 0; kind < BENCH_KINDS; kind++)
        for (size_t h = 0; h < plan->heap_count; h++)
            latency_print(latency, h, (enum bench_kind)kind);
}

void bench_latency(const struct bench_plan *plan)
{
    static struct latency latency;
    latency = (struct latency){ .plan = plan };
    latency.file = bench_file(plan->directory, "latency.csv",
                              "workload,heap,operation,samples,empty,p50,p99,p9999,max");
    latency.actions = bench_array(BENCH_WARM + BENCH_TIMED, sizeof *latency.actions);
    latency.slots = bench_array(BENCH_SLOTS, sizeof *latency.slots);
    latency.sorted = bench_array(BENCH_TIMED, sizeof *latency.sorted);
    for (size_t h = 0; h < plan->heap_count; h++)
        latency.least[h] = bench_array(BENCH_TIMED, sizeof *latency.least[h]);
    for (size_t w = 0; w < plan->workload_count; w++) {
        latency.workload = plan->workloads[w];
        latency_workload(&latency);
    }
    for (size_t h = 0; h < plan->heap_count; h++)
        free(latency.least[h]);
    free(latency.sorted);
    free(latency.slots);
    free(latency.actions);
    bench_close(latency.file);
}
