/*
 * hard.h - what the hardened heap asks of the system.
 */
#ifndef PRELOAD_HARD_H
#define PRELOAD_HARD_H

#include "../src/internal/heap_hard.h"

#define PRELOAD_WIPE_MAX 4096u /* pages: of blocks of more, all is dropped */

/* Which of some pages are filled, and are so with zeroes now: a bit for each. */
struct preload_wiped {
    uint64_t filled[PRELOAD_WIPE_MAX / 64];
};

/** Make pages read as zeroes. @param wiped set; of more than PRELOAD_WIPE_MAX, none is filled */
void preload_hard_wipe(void *start, uint64_t count, struct preload_wiped *wiped);
/** Random bits of the system. @return 0: there are none */
LOAM_NODISCARD uint64_t preload_hard_random(void);

#endif
