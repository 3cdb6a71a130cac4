/*
 * soak.h - groups of pages that are changed at random, and a model of what is there: for
 * the self-test of page tables.
 *
 *     group   [ page | page | . | guard | tag | . | . | page ]     8 pages of a space
 *
 * Who changes a group holds its lock, and knows from the model what each call must
 * return. Who reads and writes the pages has no lock. Each frame bears the name of the
 * page that it is mapped at, until the batch that took it away is finished: at once it
 * bears another one.
 *
 *     stale read     a page shows a name that is not its own
 *     stale write    a byte changes in a frame that is free, or mapped read-only
 */
#ifndef KERNEL_SOAK_H
#define KERNEL_SOAK_H

#include <loam/paging.h>
#include <stdatomic.h>

#include "stress.h"

#define SOAK_PAGES   8u  /* of a group */
#define SOAK_WRITTEN 64u /* bytes of each page that users write to */

/* The start of every frame, and of every page that is mapped. */
struct soak_frame {
    uint64_t name;
    struct soak_frame *next; /* when it is free */
    uint64_t unused[6];
    uint8_t written[SOAK_WRITTEN];
};

/* What is there. */
struct soak_page {
    enum loam_entry_kind kind; /* not HELD */
    bool writable;
    bool is_known;  /* sum is that of its frame, which nobody can write to */
    uint64_t sum;   /* of what was written */
    uint64_t value; /* of a guard or tag */
    struct soak_frame *frame;
};

struct soak_group {
    struct loam_spinlock lock; /* tried, never waited for */
    struct loam_space *space;
    uint64_t start;
    uint64_t name; /* of its first page; others count up */
    struct soak_page page[SOAK_PAGES];
};

/* A CPU's free frames, first in, first out. */
struct soak_pool {
    struct stress_hand *hand; /* set by its user: random numbers */
    struct soak_frame *first, **end;
    struct soak_frame *retired; /* of a batch that is not finished */
};

extern _Atomic(uint64_t) soak_stale_writes;

/** @return false: there is too little memory; soak_pool_empty() all the same */
bool soak_pool_fill(struct soak_pool *pool, unsigned count);
void soak_pool_empty(struct soak_pool *pool);

/** Check what must not have changed. @return false: somebody else has it */
bool soak_lock(struct soak_group *group) LOAM_TRIES(group->lock);

/** One call of the library, on some pages of a group that is locked, and of the batch's
 * space. @return something changed that CPUs may remember otherwise */
bool soak_change(struct soak_pool *pool, struct loam_space_batch *batch, struct soak_group *group);

/* The batch is finished: what it took away is free. Before groups are unlocked. */
void soak_settle(struct soak_pool *pool);

void soak_unlock(struct soak_group *group) LOAM_RELEASES(group->lock);

/* Leave nothing there. Nobody uses it any more. */
void soak_empty(struct soak_pool *pool, struct soak_group *group);

#endif
