/*
 * hard.c - see hard.h.
 *
 * The system keeps an account of each range of pages that are alike, and of no more than so
 * many in a process: guard pages are counted, and there are none when there are too many.
 */
#include "hard.h"

#include <sys/mman.h>
#include <sys/random.h>

#include <stdatomic.h>

#define HARD_WIPE_STEP  256u  /* pages to ask about at a time */
#define HARD_GUARDS_MAX 8192u /* two ranges each, of 65530 */

static _Atomic(uint32_t) hard_guards;

uint64_t preload_hard_random(void)
{
    uint64_t random;

    return getrandom(&random, sizeof(random), GRND_NONBLOCK) == (ssize_t)sizeof(random) ? random
                                                                                        : 0;
}

/* Empty these: filled ones by hand, that is faster than to have them filled again. What is not
 * there may be out on a disk. @return false: it is not known which are filled; drop them all */
static bool hard_wipe_some(uint8_t *start, uint64_t count, uint64_t first,
                           struct preload_wiped *wiped)
{
    unsigned char is_there[HARD_WIPE_STEP];
    uint64_t end;

    if (mincore(start, count * LOAM_PAGE_SIZE, is_there) != 0)
        return false;
    for (uint64_t i = 0; i < count; i = end) {
        for (end = i; end < count && (is_there[end] & 1) == (is_there[i] & 1); end++)
            wiped->filled[(first + end) / 64] |= (uint64_t)(is_there[end] & 1)
                                                 << (first + end) % 64;
        uint8_t *const at = start + i * LOAM_PAGE_SIZE;
        if ((is_there[i] & 1) != 0)
            __builtin_memset(at, 0, (end - i) * LOAM_PAGE_SIZE);
        else if (madvise(at, (end - i) * LOAM_PAGE_SIZE, MADV_DONTNEED) != 0)
            return false;
    }
    return true;
}

void preload_hard_wipe(void *start, uint64_t count, struct preload_wiped *wiped)
{
    bool is_done = count <= PRELOAD_WIPE_MAX;

    __builtin_memset(wiped, 0, sizeof(*wiped));
    for (uint64_t i = 0; i < count && is_done; i += HARD_WIPE_STEP) {
        const uint64_t step = count - i < HARD_WIPE_STEP ? count - i : HARD_WIPE_STEP;
        is_done = hard_wipe_some((uint8_t *)start + i * LOAM_PAGE_SIZE, step, i, wiped);
    }
    if (is_done)
        return;
    __builtin_memset(wiped, 0, sizeof(*wiped));
    if (madvise(start, count * LOAM_PAGE_SIZE, MADV_DONTNEED) != 0)
        __builtin_memset(start, 0, count * LOAM_PAGE_SIZE); /* filled, but not known to be */
}

bool loam_heap_pages_guard(struct loam_pagemap *map, void *page, bool is_guard)
{
    const int may = is_guard ? PROT_NONE : PROT_READ | PROT_WRITE;
    const bool is_allowed = !is_guard || atomic_fetch_add(&hard_guards, 1) < HARD_GUARDS_MAX;
    const bool is_done = is_allowed && mprotect(page, LOAM_PAGE_SIZE, may) == 0;

    (void)map;
    if (is_done != is_guard) /* no guard page now */
        atomic_fetch_sub(&hard_guards, 1);
    return is_done;
}
