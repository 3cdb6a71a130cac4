/*
 * main.c - bench-arena: Loam's heaps over a span of bytes, and their peers.
 *
 *     bench-arena [--heaps NAME,...] [--workloads NAME,...] [--rounds N] [--repeats N]
 *                 [--no-speed] [--no-bump] [--no-density] [--no-latency]
 *                 [--out DIRECTORY]
 *     bench-arena --pairs|--instructions --heaps NAME [--workloads NAME]
 *
 * bench/arena/report.py runs it, and makes tables and pictures of what it writes
 * to DIRECTORY.
 */
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define BENCH_ROUNDS_MAX 500u

/* ---- help for the parts ---------------------------------------------------------- */

void bench_heap_init(const struct bench_heap *heap, const struct bench_plan *plan,
                     size_t size_bytes)
{
    if (!heap->init(plan->span, size_bytes))
        bench_fail("refuses the span", heap->name);
}

void *bench_array(size_t count, size_t size_bytes)
{
    void *array = calloc(count, size_bytes);
    if (array == NULL)
        bench_fail("out of memory", "the benchmark itself");
    return array;
}

/* As a kernel's direct map: large pages, all there. */
static void *bench_span(void)
{
    void *span = bench_large_pages(BENCH_SPAN_BYTES);
    memset(span, 0xa5, BENCH_SPAN_BYTES);
    return span;
}

/* ---- arguments ------------------------------------------------------------------ */

static struct bench_part parts[] = {
    { "speed", bench_speed, true },
    { "bump", bench_bump, true },
    { "density", bench_density, true },
    { "latency", bench_latency, true },
    { .name = NULL },
};

/* Under callgrind: one of them, and nothing else. */
static struct bench_part counted_parts[] = {
    { "pairs", bench_pairs, false },
    { "instructions", bench_instructions, false },
    { .name = NULL },
};

/* All heaps, or the one with that name. */
static bool add_heaps(struct bench_plan *plan, const char *name)
{
    const struct bench_heap *tables[] = { bench_empty, bench_loam, BENCH_PEERS };
    const size_t before = plan->heap_count;
    for (size_t t = 0; t < 3; t++)
        for (const struct bench_heap *heap = tables[t]; heap->name != NULL; heap++)
            if (plan->heap_count < BENCH_HEAPS_MAX &&
                (name == NULL || strcmp(name, heap->name) == 0))
                plan->heaps[plan->heap_count++] = heap;
    return plan->heap_count != before;
}

static void plan_heaps(struct bench_plan *plan, char *list)
{
    plan->heap_count = 0;
    while (list != NULL) {
        const char *name = bench_next_name(&list);
        if (plan->heap_count == BENCH_HEAPS_MAX || !add_heaps(plan, name))
            bench_fail("no such heap, or too many", name);
    }
}

static bool add_workloads(struct bench_plan *plan, const char *name)
{
    const size_t before = plan->workload_count;
    for (size_t w = 0; w < BENCH_WORKLOADS && plan->workload_count < BENCH_WORKLOADS; w++)
        if (name == NULL || strcmp(name, bench_workloads[w].name) == 0)
            plan->workloads[plan->workload_count++] = &bench_workloads[w];
    return plan->workload_count != before;
}

static void plan_workloads(struct bench_plan *plan, char *list)
{
    plan->workload_count = 0;
    while (list != NULL) {
        const char *name = bench_next_name(&list);
        if (!add_workloads(plan, name))
            bench_fail("no such workload, or too many", name);
    }
}

static bool switch_part(const char *argument)
{
    if (!bench_want_only(counted_parts, argument))
        return bench_leave_out(parts, argument);
    for (struct bench_part *part = parts; part->name != NULL; part++)
        part->is_wanted = false;
    return true;
}

static void read_arguments(struct bench_plan *plan, char **arguments)
{
    for (; *arguments != NULL; arguments++) {
        if (switch_part(*arguments))
            continue;
        const char *option = *arguments++;
        if (*arguments == NULL)
            bench_fail("unknown, or without a value", option);
        if (strcmp(option, "--heaps") == 0)
            plan_heaps(plan, *arguments);
        else if (strcmp(option, "--workloads") == 0)
            plan_workloads(plan, *arguments);
        else if (strcmp(option, "--rounds") == 0)
            plan->rounds = bench_number(*arguments, BENCH_ROUNDS_MAX);
        else if (strcmp(option, "--repeats") == 0)
            plan->repeats = bench_number(*arguments, BENCH_ROUNDS_MAX);
        else if (strcmp(option, "--out") == 0)
            plan->directory = *arguments;
        else
            bench_fail("unknown", option);
    }
}

int main(int argc, char **argv)
{
    struct bench_plan plan = { .rounds = 40, .repeats = 5 };
    (void)argc;
    (void)add_heaps(&plan, NULL);
    (void)add_workloads(&plan, NULL);
    read_arguments(&plan, argv + 1);
    plan.span = bench_span();
    bench_run_parts(parts, &plan);
    bench_run_parts(counted_parts, &plan);
    return 0;
}
