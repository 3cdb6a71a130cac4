/*
 * thread.c - see thread.h.
 */
#include "thread.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "../src/internal/heap_fast.h"
#include "pages.h"

struct loam_heap preload_heap;

static struct loam_heap_cpu nobody = { .guard = { .is_inside = 1 } };

__thread unsigned preload_thread_index __attribute__((tls_model("initial-exec"))) = LOAM_CPUS_MAX;
__thread struct loam_heap_cpu *preload_cpu __attribute__((tls_model("initial-exec"))) = &nobody;

static struct {
    struct loam_spinlock lock;
    _Atomic(bool) is_ready;
    bool has_key;
    pthread_key_t key;
    unsigned used;       /* indices that were given out */
    unsigned free_count; /* and came back */
    unsigned free[LOAM_CPUS_MAX];
} threads;

static void thread_end(void *lists)
{
    struct loam_heap_cpu *const cpu = lists;

    preload_cpu = &nobody;
    loam_heap_trim_cpu(&preload_heap, cpu->index);
    loam_spinlock_acquire(&threads.lock);
    threads.free[threads.free_count++] = cpu->index;
    loam_spinlock_release(&threads.lock);
}

static bool threads_start(void)
{
    struct loam_pagemap_setup setup = { .owner = NULL };

    loam_spinlock_acquire(&threads.lock);
    if (!atomic_load(&threads.is_ready) && preload_pages_init(&setup) &&
        loam_heap_init(&preload_heap, &setup, LOAM_CPUS_MAX) == LOAM_OK) {
        threads.has_key = pthread_key_create(&threads.key, thread_end) == 0;
        atomic_store(&threads.is_ready, true);
    }
    loam_spinlock_release(&threads.lock);
    return atomic_load(&threads.is_ready);
}

struct loam_heap_cpu *preload_thread_begin(void)
{
    if (preload_cpu != &nobody || !(atomic_load(&threads.is_ready) || threads_start()))
        return preload_cpu;
    loam_spinlock_acquire(&threads.lock);
    const bool has_room = threads.free_count != 0 || threads.used < LOAM_CPUS_MAX;
    const unsigned index = !has_room                 ? 0
                           : threads.free_count != 0 ? threads.free[--threads.free_count]
                                                     : threads.used++;
    loam_spinlock_release(&threads.lock);
    if (!has_room)
        return preload_cpu;
    preload_thread_index = index;
    struct loam_heap_cpu *const cpu = heap_cpu_here(&preload_heap);
    if (cpu == NULL)
        return preload_cpu;
    preload_cpu = cpu;
    if (threads.has_key)
        (void)pthread_setspecific(threads.key, cpu);
    return cpu;
}
