/*
 * pages.h - where the pages of libloam.so come from: a place in the address space where
 * nobody else is, of which more is asked of the system as it is needed.
 *
 *     | pages of blocks ->            | records ->   | page map ->  | filled -> |
 *      \__ in use, or free: runs.h; and if free, filled or not __/
 *
 * Nothing is reserved: what a process may have of addresses and of data (RLIMIT_AS,
 * RLIMIT_DATA) is used up as by any other mmap(), and at its end requests fail. Addresses
 * are kept once they are there.
 *
 * Pages that are given back stay filled for whoever takes them next, lowest first: to fill
 * one takes the system longer than most programs need to use it. How many of them there may
 * be follows from what the program has needed at most:
 *
 * *     in use + free and filled <= peak of those in use * 17 / 16 + of large blocks / 4 + 512 KiB
 *
 * so that more memory is never filled than that; what is above goes back to the system,
 * the highest first. The peak falls by a quarter of what it is too high, each second in
 * which pages come back.
 */
#ifndef PRELOAD_PAGES_H
#define PRELOAD_PAGES_H

#include <loam/pagemap.h>

struct preload_pages_stats {
    uint64_t used, used_peak, filled_free; /* pages */
    uint64_t returned;                     /* pages that went back to the system */
};

/** Reserve addresses and start. @param setup filled, for loam_heap_init() @return false: none */
LOAM_NODISCARD bool preload_pages_init(struct loam_pagemap_setup *setup);
/** Give all free pages back to the system. @return pages */
uint64_t preload_pages_trim(void);
/** Is this in a page that was in use and is not now? For messages: without the lock. */
bool preload_pages_were_used(const void *at);
void preload_pages_measure(struct preload_pages_stats *out);
/** What guards all of it, for fork(). */
struct loam_spinlock *preload_pages_lock(void);

#endif
