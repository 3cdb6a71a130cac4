/*
 * lock.h - what a fork asks of the library's locks.
 */
#ifndef PRELOAD_LOCK_H
#define PRELOAD_LOCK_H

#include <loam/lock.h>

/** Does the running thread hold it? */
bool preload_lock_is_own(struct loam_spinlock *lock);
/** After a fork, in the child: the running thread holds it, under its new number. */
void preload_lock_keep(struct loam_spinlock *lock);

#endif
