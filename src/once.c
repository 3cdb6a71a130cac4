/*
 * once.c - see once.h. The release of finish and abandon pairs with the acquire
 * of is_ready and begin.
 */
#include <loam/once.h>

#include <stdatomic.h>

#include "internal/check.h"

enum { ONCE_EMPTY, ONCE_BUSY, ONCE_READY };

bool loam_once_begin(struct loam_once *once)
{
    uint32_t empty = ONCE_EMPTY;
    return atomic_compare_exchange_strong_explicit(&once->state, &empty, ONCE_BUSY,
                                                   memory_order_acquire, memory_order_relaxed);
}

static void once_end(struct loam_once *once, uint32_t state)
{
    LOAM_REQUIRE(atomic_load_explicit(&once->state, memory_order_relaxed) == ONCE_BUSY,
                 "once: finished without having begun", loam_virt_of(once).addr, state);
    atomic_store_explicit(&once->state, state, memory_order_release);
}

void loam_once_finish(struct loam_once *once)
{
    once_end(once, ONCE_READY);
}

void loam_once_abandon(struct loam_once *once)
{
    once_end(once, ONCE_EMPTY);
}

bool loam_once_is_ready(const struct loam_once *once)
{
    return atomic_load_explicit(&once->state, memory_order_acquire) == ONCE_READY;
}
