/* memory.c - memory and clocks for the parts. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "../arena/actions.h"
#include "bench.h"

/* ---- memory -------------------------------------------------------------------------- */

/* Touched, so that no page fault is timed. */
static void *map_touched(size_t size_bytes)
{
    const size_t page = 4096;
    unsigned char *memory = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        bench_fail("out of memory", "the benchmark itself");
    (void)madvise(memory, size_bytes, MADV_HUGEPAGE);
    for (size_t i = 0; i < size_bytes; i += page)
        memory[i] = 0xa5;
    return memory;
}

void *bench_memory(size_t size_bytes)
{
    static void *memory;
    static size_t mapped_bytes;
    if (size_bytes > mapped_bytes) {
        if (memory != NULL)
            (void)munmap(memory, mapped_bytes);
        memory = map_touched(size_bytes);
        mapped_bytes = size_bytes;
    }
    return memory;
}

void *bench_array(size_t count, size_t size_bytes)
{
    void *array = map_touched(count * size_bytes);
    memset(array, 0, count * size_bytes);
    return array;
}

void bench_bring_up(const struct frames_peer *peer, uint64_t frame_count, unsigned cpu_count)
{
    const size_t need = peer->metadata_bytes(frame_count, cpu_count);
    const struct frames_setup setup = {
        .memory = need == 0 ? NULL : bench_memory(need),
        .frame_count = frame_count,
        .cpu_count = cpu_count,
    };
    if (!peer->init(&setup))
        bench_fail("refuses the memory", peer->name);
}

uint64_t bench_alloc(const struct frames_peer *peer, unsigned order)
{
    const uint64_t block = peer->alloc(order);
    if (block == FRAMES_NONE)
        bench_fail("does not find frames that are free", peer->name);
    return block;
}

void bench_shuffle(uint64_t *values, size_t count, uint64_t *state)
{
    for (size_t i = count; i > 1; i--) {
        const size_t j = (size_t)(bench_random(state) % i);
        const uint64_t value = values[i - 1];
        values[i - 1] = values[j];
        values[j] = value;
    }
}

/* ---- numbers ------------------------------------------------------------------------- */

static double now(clockid_t clock)
{
    struct timespec time;
    (void)clock_gettime(clock, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

double bench_cpu_now(void)
{
    return now(CLOCK_THREAD_CPUTIME_ID);
}

double bench_wall_now(void)
{
    return now(CLOCK_MONOTONIC);
}
