/*
 * increment.c - what bump costs, beside a pointer that is moved up and nothing else.
 *
 * A slice allocates BENCH_BUMPS blocks of 8 to 512 bytes, log-uniform, through the
 * interface of every heap, and touches none of them.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define BENCH_BUMP_HEAPS 2u /* at most */
#define BENCH_BUMPS      ((size_t)256 << 10)

void *bench_increment_alloc(struct bench_increment *increment, size_t size_bytes, size_t align)
{
    const uintptr_t block = (increment->next + align - 1) & ~(uintptr_t)(align - 1);
    increment->next = block + size_bytes;
    return (void *)block;
}

static double bump_slice(const struct bench_plan *plan, const struct bench_heap *heap,
                         const uint32_t *sizes)
{
    struct timespec start;
    struct timespec end;
    size_t failures = 0;
    bench_heap_init(heap, plan, BENCH_SPAN_BYTES);
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start);
    for (size_t i = 0; i < BENCH_BUMPS; i++)
        failures += heap->alloc(sizes[i], 8) == NULL;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    if (failures != 0)
        (void)fprintf(stderr, "bench-arena: %s: %zu requests failed\n", heap->name, failures);
    return ((double)(end.tv_sec - start.tv_sec) * 1e9 + (double)(end.tv_nsec - start.tv_nsec)) /
           (double)BENCH_BUMPS;
}

/*
 * The same in a process of its own. In one process the CPU may keep the pointer of
 * one of the two heaps in a register behind the program's back and not the other's:
 * the ratio was 0.9 or 2.0, whatever the code did. @return 0: no process
 */
static double bump_slice_apart(const struct bench_plan *plan, const struct bench_heap *heap,
                               const uint32_t *sizes)
{
    double ns = 0;
    int ends[2];
    (void)fflush(NULL);
    if (pipe(ends) != 0)
        return 0;
    const pid_t child = fork();
    if (child == 0) {
        ns = bump_slice(plan, heap, sizes);
        _exit(write(ends[1], &ns, sizeof ns) == (ssize_t)sizeof ns ? 0 : 1);
    }
    (void)close(ends[1]);
    if (child < 0 || read(ends[0], &ns, sizeof ns) != (ssize_t)sizeof ns)
        ns = 0;
    (void)close(ends[0]);
    if (child > 0)
        (void)waitpid(child, NULL, 0);
    return ns;
}

void bench_bump(const struct bench_plan *plan)
{
    FILE *file = bench_file(plan->directory, "bump.csv", "round,heap,ns");
    uint32_t *sizes = bench_array(BENCH_BUMPS, sizeof *sizes);
    double *ns[BENCH_BUMP_HEAPS]; /* an alloc, of each round */
    double *values = bench_array(plan->rounds, sizeof *values);
    uint64_t state = 1;
    for (size_t i = 0; i < BENCH_BUMPS; i++)
        sizes[i] = bench_random_size(&state, 8, 512);

    for (size_t h = 0; h < BENCH_BUMP_HEAPS; h++)
        ns[h] = bench_array(plan->rounds, sizeof *ns[h]);
    for (unsigned round = 0; round < plan->rounds; round++) {
        for (size_t h = 0; bench_bumps[h].name != NULL; h++) {
            ns[h][round] = bump_slice_apart(plan, &bench_bumps[h], sizes);
            if (ns[h][round] <= 0) {
                (void)fprintf(stderr, "bench-arena: no process for %s\n", bench_bumps[h].name);
                exit(1);
            }
            if (file != NULL)
                (void)fprintf(file, "%u,%s,%.4f\n", round, bench_bumps[h].name, ns[h][round]);
        }
    }
    printf("allocations never freed\n");
    for (size_t h = 0; bench_bumps[h].name != NULL; h++) {
        memcpy(values, ns[h], plan->rounds * sizeof *values);
        const double median = bench_median(values, plan->rounds);
        for (unsigned round = 0; round < plan->rounds; round++)
            values[round] = ns[h][round] / ns[0][round];
        printf("%-16s %.2f ns an alloc, %.3f times %s\n", bench_bumps[h].name, median,
               bench_median(values, plan->rounds), bench_bumps[0].name);
    }
    for (size_t h = 0; h < BENCH_BUMP_HEAPS; h++)
        free(ns[h]);
    free(values);
    free(sizes);
    bench_close(file);
}
