/*
 * visit.c - see visit.h.
 *
 * A thread and its own handlers share what is here, no others do: fences keep the compiler
 * from moving it, and the exchange cannot be interrupted between its load and its store.
 */
#include "visit.h"

#include <errno.h>

#include <stdatomic.h>

#include "../src/internal/heap_fast.h"
#include "thread.h"

__thread uint32_t preload_tid PRELOAD_TLS;

static __thread bool visit_is_on PRELOAD_TLS;
static __thread _Atomic(void *) visit_deferred PRELOAD_TLS;

static void visit_free_deferred(void)
{
    void *block = atomic_exchange(&visit_deferred, NULL);

    while (block != NULL) {
        void *const next = *(void **)block;
        if (HEAP_IS_HARDENED)
            *(void **)block = NULL; /* what is free is zeroes */
        loam_heap_free_slow(&preload_heap, preload_cpu, block);
        block = next;
    }
}

bool preload_visit_begin(struct preload_visit *visit)
{
    if (visit_is_on)
        return false;
    visit_is_on = true;
    atomic_signal_fence(memory_order_seq_cst);
    visit->error = errno;
    return true;
}

void preload_visit_end(const struct preload_visit *visit)
{
    do { /* again only if a handler came after the last look */
        visit_free_deferred();
        atomic_signal_fence(memory_order_seq_cst);
        visit_is_on = false;
        atomic_signal_fence(memory_order_seq_cst);
        if (atomic_load(&visit_deferred) == NULL)
            break;
        visit_is_on = true;
        atomic_signal_fence(memory_order_seq_cst);
    } while (true);
    errno = visit->error;
}

void preload_visit_defer(void *block)
{
    void *first = atomic_load(&visit_deferred);

    do {
        *(void **)block = first;
    } while (!atomic_compare_exchange_weak(&visit_deferred, &first, block));
}
