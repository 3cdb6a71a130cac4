/*
 * once.h - a cell that is initialised once and then read from any CPU.
 *
 *     EMPTY --begin--> BUSY --finish--> READY
 *       ^________________|
 *              abandon
 *
 * The cell guards an object beside it. One caller of loam_once_begin() gets
 * true, builds the object and calls loam_once_finish(). Whoever then sees
 * loam_once_is_ready() sees the object whole: finish releases, is_ready acquires.
 */
#ifndef LOAM_ONCE_H
#define LOAM_ONCE_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Starts as zeroes: empty. */
struct loam_once {
    LOAM_ATOMIC(uint32_t) state;
};

/** Claim the right to initialise. @return true for one caller; false once claimed
 * or ready. Any context. */
LOAM_NODISCARD bool loam_once_begin(struct loam_once *once);

/** Publish the object. Only after loam_once_begin() said true; else panics. */
void loam_once_finish(struct loam_once *once);

/** Give the right back: initialisation failed, another may begin. Else as loam_once_finish(). */
void loam_once_abandon(struct loam_once *once);

/** May the object be used? Any context; never blocks. */
LOAM_NODISCARD bool loam_once_is_ready(const struct loam_once *once);

#ifdef __cplusplus
}
#endif
#endif
