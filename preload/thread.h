/*
 * thread.h - the lists of the running thread, in the role of a CPU's.
 *
 *     thread begins      takes the lists of one that ended, or new ones
 *     thread ends        gives back what is in them, then the lists
 *     has none           shares one set of lists that is never entered: all goes around it.
 *                        Before the first visit; when LOAM_CPUS_MAX threads have lists; and
 *                        in what else runs while a thread ends
 */
#ifndef PRELOAD_THREAD_H
#define PRELOAD_THREAD_H

#include <loam/heap.h>

extern struct loam_heap preload_heap;

/* Of the running thread. */
extern __thread struct loam_heap_cpu *preload_cpu __attribute__((tls_model("initial-exec")));

/** In a visit: lists for a thread that has none; starts the heap. @return false: it cannot */
bool preload_thread_begin(void);
/** In a visit: give back what ended threads left in lists. */
void preload_thread_trim(void);
/** What guards the lists of all threads; the first lock in order. */
struct loam_spinlock *preload_thread_lock(void);
/** In the child of a fork, the lock held: all threads but the running one have ended. */
void preload_thread_forked(void);

#endif
