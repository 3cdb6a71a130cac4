/*
 * thread.h - the lists of the running thread.
 */
#ifndef PRELOAD_THREAD_H
#define PRELOAD_THREAD_H

#include <loam/heap.h>

extern struct loam_heap preload_heap;

/* Of the running thread. Who has none shares one that is never entered: all goes around it. */
extern __thread struct loam_heap_cpu *preload_cpu __attribute__((tls_model("initial-exec")));

/** Lists for a thread that has none. @return those, or the shared one */
struct loam_heap_cpu *preload_thread_begin(void);

#endif
