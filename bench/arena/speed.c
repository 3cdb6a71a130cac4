/*
 * speed.c - operations per second.
 *
 * Heaps take turns on short slices, in another order each round, so that a slow
 * moment of the machine falls on all. A slice is a fresh heap, BENCH_WARM actions
 * that are not timed, and BENCH_TIMED that are, in CPU time of this thread.
 */
#include <string.h>
#include <time.h>

#include "bench.h"

#define BENCH_WARM  ((size_t)128 << 10)
#define BENCH_TIMED ((size_t)192 << 10)
/* Heaps that need longer than this for a slice take part every fourth round. */
#define BENCH_SLOW_NS     50e6
#define BENCH_SLOW_ROUNDS 4u

struct speed {
    const struct bench_plan *plan;
    struct bench_action *actions[BENCH_WORKLOADS];
    struct bench_slot *slots;
    FILE *file;
    double *ns[BENCH_WORKLOADS][BENCH_HEAPS_MAX]; /* per operation, of each round; 0: none */
    size_t failures[BENCH_WORKLOADS][BENCH_HEAPS_MAX];
    double slice_ns[BENCH_HEAPS_MAX]; /* longest so far, all workloads together */
};

static double speed_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void speed_slice(struct speed *speed, size_t workload, size_t heap_index, unsigned round)
{
    const struct bench_plan *plan = speed->plan;
    const struct bench_heap *heap = plan->heaps[heap_index];
    const struct bench_action *actions = speed->actions[workload];

    bench_heap_init(heap, plan, BENCH_SPAN_BYTES);
    memset(speed->slots, 0, BENCH_SLOTS * sizeof *speed->slots);
    (void)bench_actions_run(heap, speed->slots, actions, BENCH_WARM);
    const double start = speed_now();
    const size_t failures =
        bench_actions_run(heap, speed->slots, actions + BENCH_WARM, BENCH_TIMED);
    const double ns = speed_now() - start;

    speed->ns[workload][heap_index][round] = ns / (double)BENCH_TIMED;
    speed->failures[workload][heap_index] = failures;
    if (ns > speed->slice_ns[heap_index])
        speed->slice_ns[heap_index] = ns;
    if (speed->file != NULL)
        (void)fprintf(speed->file, "%u,%s,%s,%zu,%.0f,%zu\n", round,
                      plan->workloads[workload]->name, heap->name, BENCH_TIMED, ns, failures);
}

/* 0..count-1 in random order. */
static void speed_shuffle(size_t *order, size_t count, uint64_t *state)
{
    for (size_t i = 0; i < count; i++) {
        order[i] = i;
        const size_t j = (size_t)(bench_random(state) % (i + 1));
        order[i] = order[j];
        order[j] = i;
    }
}

static void speed_round(struct speed *speed, unsigned round)
{
    const struct bench_plan *plan = speed->plan;
    uint64_t state = round;
    size_t order[BENCH_HEAPS_MAX] = { 0 };
    for (size_t w = 0; w < plan->workload_count; w++) {
        speed_shuffle(order, plan->heap_count, &state);
        for (size_t i = 0; i < plan->heap_count; i++) {
            const bool slow = speed->slice_ns[order[i]] > BENCH_SLOW_NS;
            bench_progress("speed: round %u of %u, %s", round + 1, plan->rounds,
                           plan->heaps[order[i]]->name);
            if (!slow || round % BENCH_SLOW_ROUNDS == 0)
                speed_slice(speed, w, order[i], round);
        }
    }
}

/* Is every heap a heap? */
static void speed_check(struct speed *speed)
{
    const struct bench_plan *plan = speed->plan;
    for (size_t w = 0; w < plan->workload_count; w++) {
        for (size_t h = 0; h < plan->heap_count; h++) {
            const struct bench_heap *heap = plan->heaps[h];
            if (heap == bench_empty)
                continue;
            bench_progress("speed: checking %s", heap->name);
            bench_heap_init(heap, plan, BENCH_SPAN_BYTES);
            memset(speed->slots, 0, BENCH_SLOTS * sizeof *speed->slots);
            bench_actions_check(heap, speed->slots, speed->actions[w], BENCH_WARM);
            bench_slots_free(heap, speed->slots);
        }
    }
}

/* Median over the rounds that both took part in; of base's time by heap's, or of
 * operations per second where they are the same. */
static double speed_median(const struct speed *speed, const double *heap, const double *base)
{
    double values[512];
    size_t count = 0;
    for (unsigned round = 0; round < speed->plan->rounds; round++)
        if (heap[round] != 0.0 && base[round] != 0.0)
            values[count++] = base == heap ? 1e3 / heap[round] : base[round] / heap[round];
    return count == 0 ? 0.0 : bench_median(values, count);
}

static void speed_print(const struct speed *speed)
{
    const struct bench_plan *plan = speed->plan;
    size_t base = 0;
    while (base < plan->heap_count && plan->heaps[base] != BENCH_PEERS)
        base++;

    printf("million operations per second (in parentheses: relative to %s), %u rounds\n",
           BENCH_PEERS[0].name, plan->rounds);
    printf("%-16s", "");
    for (size_t w = 0; w < plan->workload_count; w++)
        printf(" %17s", plan->workloads[w]->name);
    for (size_t h = 0; h < plan->heap_count; h++) {
        printf("\n%-16s", plan->heaps[h]->name);
        for (size_t w = 0; w < plan->workload_count; w++) {
            const double *ns = speed->ns[w][h];
            printf(" %9.2f", speed_median(speed, ns, ns));
            if (base < plan->heap_count && h != base)
                printf(" (%5.3f)", speed_median(speed, ns, speed->ns[w][base]));
            else
                printf("        ");
            if (speed->failures[w][h] != 0)
                printf(" %zu failed", speed->failures[w][h]);
        }
    }
    printf("\n");
}

void bench_speed(const struct bench_plan *plan)
{
    static struct speed speed;
    speed = (struct speed){ .plan = plan };
    speed.slots = bench_array(BENCH_SLOTS, sizeof *speed.slots);
    speed.file =
        bench_file(plan->directory, "samples.csv", "round,workload,heap,operations,ns,failures");
    for (size_t w = 0; w < plan->workload_count; w++) {
        speed.actions[w] = bench_array(BENCH_WARM + BENCH_TIMED, sizeof *speed.actions[w]);
        bench_actions_draw(plan->workloads[w], speed.actions[w], BENCH_WARM + BENCH_TIMED);
        for (size_t h = 0; h < plan->heap_count; h++)
            speed.ns[w][h] = bench_array(plan->rounds, sizeof *speed.ns[w][h]);
    }
    speed_check(&speed);
    for (unsigned round = 0; round < plan->rounds; round++)
        speed_round(&speed, round);
    bench_progress("%s", "");
    speed_print(&speed);
    bench_close(speed.file);
}
