/*
 * thread.c - see thread.h.
 *
 * The lists of the thread that ended last are kept as they are, for the next one that
 * begins: who starts a thread for each task drains and fills none. They are drained when
 * another one ends.
 *
 * Lists are drained inside their guard, so that a fork in the middle of it leaves lists
 * that nobody in the child touches.
 */
#include "thread.h"

#include <pthread.h>

#include <stdatomic.h>

#include "../src/internal/heap_fast.h"
#include "fork.h"
#include "pages.h"
#include "visit.h"

struct loam_heap preload_heap;

static struct loam_heap_cpu nobody = { .guard = { .is_inside = 1 } };

__thread unsigned preload_thread_index PRELOAD_TLS = LOAM_CPUS_MAX;
__thread struct loam_heap_cpu *preload_cpu PRELOAD_TLS = &nobody;
static __thread bool thread_is_over PRELOAD_TLS;

static struct {
    struct loam_spinlock lock;
    _Atomic(bool) is_ready;
    _Atomic(unsigned) room; /* indices that nobody has: a first look, without the lock */
    bool has_key;
    pthread_key_t key;
    unsigned warm;       /* index of the thread that ended last; LOAM_CPUS_MAX: none */
    unsigned used;       /* indices that were given out */
    unsigned free_count; /* and came back */
    unsigned free[LOAM_CPUS_MAX];
} threads = { .room = LOAM_CPUS_MAX, .warm = LOAM_CPUS_MAX };

/* Empty the lists of an index that nobody has. */
static void thread_drain(unsigned index)
{
    struct loam_heap_cpu *const cpu =
        index < LOAM_CPUS_MAX ? atomic_load(&preload_heap.cpu[index]) : NULL;

    if (cpu == NULL || !loam_guard_enter(&cpu->guard))
        return; /* their thread ended inside them: a handler called pthread_exit() */
    loam_heap_trim_cpu(&preload_heap, index);
    loam_guard_leave(&cpu->guard);
}

static void thread_end(void *ignored)
{
    struct preload_visit visit;

    (void)ignored;
    if (!preload_visit_begin(&visit))
        return;
    thread_is_over = true;
    preload_cpu = &nobody;
    loam_spinlock_acquire(&threads.lock);
    const unsigned cold = threads.warm;
    threads.warm = preload_thread_index;
    atomic_fetch_add(&threads.room, 1);
    preload_thread_index = LOAM_CPUS_MAX;
    loam_spinlock_release(&threads.lock);
    if (cold != LOAM_CPUS_MAX) {
        thread_drain(cold);
        loam_spinlock_acquire(&threads.lock);
        threads.free[threads.free_count++] = cold;
        loam_spinlock_release(&threads.lock);
    }
    preload_visit_end(&visit);
}

static bool threads_start(void)
{
    struct loam_pagemap_setup setup = { .owner = NULL };

    loam_spinlock_acquire(&threads.lock);
    const bool is_first = !atomic_load(&threads.is_ready) && preload_pages_init(&setup) &&
                          loam_heap_init(&preload_heap, &setup, LOAM_CPUS_MAX) == LOAM_OK;
    if (is_first) {
        threads.has_key = pthread_key_create(&threads.key, thread_end) == 0;
        atomic_store(&threads.is_ready, true);
    }
    loam_spinlock_release(&threads.lock);
    if (is_first)
        preload_fork_watch();
    return atomic_load(&threads.is_ready);
}

/* @return LOAM_CPUS_MAX: all are taken, or just being drained */
static unsigned thread_index_locked(void)
{
    const unsigned warm = threads.warm;

    threads.warm = LOAM_CPUS_MAX;
    if (warm != LOAM_CPUS_MAX)
        return warm;
    if (threads.free_count != 0)
        return threads.free[--threads.free_count];
    return threads.used < LOAM_CPUS_MAX ? threads.used++ : LOAM_CPUS_MAX;
}

/* An index for the running thread. @return false: there is none */
static bool thread_index_take(void)
{
    if (atomic_load(&threads.room) == 0)
        return false;
    loam_spinlock_acquire(&threads.lock);
    preload_thread_index = thread_index_locked();
    const bool is_done = preload_thread_index != LOAM_CPUS_MAX;
    atomic_fetch_sub(&threads.room, is_done);
    loam_spinlock_release(&threads.lock);
    if (is_done && threads.has_key)
        (void)pthread_setspecific(threads.key, &threads);
    return is_done;
}

bool preload_thread_begin(void)
{
    if (preload_cpu != &nobody)
        return true;
    if (!atomic_load(&threads.is_ready) && !threads_start())
        return false;
    if (thread_is_over || (preload_thread_index == LOAM_CPUS_MAX && !thread_index_take()))
        return true;
    struct loam_heap_cpu *const cpu = heap_cpu_here(&preload_heap);
    if (cpu != NULL) /* else no memory for lists: it keeps the index, and tries again */
        preload_cpu = cpu;
    return true;
}

void preload_thread_trim(void)
{
    loam_spinlock_acquire(&threads.lock);
    thread_drain(threads.warm);
    for (unsigned i = 0; i < threads.free_count; i++) /* after a fork they may be filled */
        thread_drain(threads.free[i]);
    loam_spinlock_release(&threads.lock);
}

struct loam_spinlock *preload_thread_lock(void)
{
    return &threads.lock;
}

/* Lists that their thread was inside of are lost, with what is in them: they may be half
 * changed. All others are as good as those of a thread that ended. */
void preload_thread_forked(void)
{
    threads.free_count = 0;
    threads.warm = LOAM_CPUS_MAX;
    for (unsigned i = 0; i < threads.used; i++) {
        struct loam_heap_cpu *const cpu = atomic_load(&preload_heap.cpu[i]);
        if (i == preload_thread_index)
            continue;
        if (cpu != NULL && cpu->guard.is_inside != 0)
            atomic_store(&preload_heap.cpu[i], NULL);
        threads.free[threads.free_count++] = i;
    }
    atomic_store(&threads.room, LOAM_CPUS_MAX - threads.used + threads.free_count);
}
