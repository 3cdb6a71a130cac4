/*
 * fork.c - see fork.h.
 *
 * Nothing is taken while another is held in the heap but what is later in this order:
 * threads, classes, large blocks, records, pages.
 */
#include "fork.h"

#include <pthread.h>

#include <stdatomic.h>

#include "../src/internal/heap_fast.h"
#include "lock.h"
#include "pages.h"
#include "thread.h"
#include "visit.h"

/* threads, classes, large blocks, records, pages */
#define FORK_LOCKS (LOAM_HEAP_CLASSES + 3)
LOAM_STATIC_ASSERT(FORK_LOCKS <= 64, "a bit for each");

/* Of the thread that forks. */
static __thread struct {
    struct preload_visit visit;
    bool has_visit;
    uint64_t taken; /* a bit for each lock */
} fork_state PRELOAD_TLS;

static struct loam_spinlock *fork_lock(unsigned index)
{
    if (index == 0)
        return preload_thread_lock();
    if (index < LOAM_HEAP_CLASSES)
        return &preload_heap.cache[index].lock;
    if (index == LOAM_HEAP_CLASSES)
        return &preload_heap.large_lock;
    if (index == LOAM_HEAP_CLASSES + 1)
        return &preload_heap.map.lock;
    return preload_pages_lock();
}

static void fork_prepare(void) LOAM_UNCHECKED
{
    fork_state.has_visit = preload_visit_begin(&fork_state.visit);
    fork_state.taken = 0;
    for (unsigned i = 0; i < FORK_LOCKS; i++) {
        struct loam_spinlock *const lock = fork_lock(i);
        if (preload_lock_is_own(lock))
            continue;
        loam_spinlock_acquire(lock);
        fork_state.taken |= UINT64_C(1) << i;
    }
}

static void fork_release(void) LOAM_UNCHECKED
{
    for (unsigned i = FORK_LOCKS; i-- > 0;) {
        if ((fork_state.taken >> i & 1) != 0)
            loam_spinlock_release(fork_lock(i));
    }
    if (fork_state.has_visit)
        preload_visit_end(&fork_state.visit);
}

/* Which locks the interrupted visit of this thread holds is known by its old number. */
static void fork_child(void)
{
    preload_tid = 0;
    for (unsigned i = 0; i < FORK_LOCKS; i++) {
        struct loam_spinlock *const lock = fork_lock(i);
        if ((fork_state.taken >> i & 1) == 0)
            preload_lock_keep(lock);
    }
    if ((fork_state.taken & 1) != 0)
        preload_thread_forked();
    fork_release();
}

void preload_fork_watch(void)
{
    (void)pthread_atfork(fork_prepare, fork_release, fork_child);
}
