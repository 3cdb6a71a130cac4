/*
 * visit.h - the running thread inside the heap, beyond the lists that it owns.
 *
 *     malloc, free      pop, push                        no visit: two flags keep handlers off
 *     all the rest      begin .. locks, pages, system .. end
 *                                 ^ a signal handler here: begin says no
 *
 * A handler that interrupted a visit of its own thread cannot wait for the locks that the
 * visit holds. It takes memory from reserve.h, and what it frees waits for the end of the
 * visit, linked through its own first words: it is then freed as if at that moment.
 *
 * A visit leaves errno as it was.
 */
#ifndef PRELOAD_VISIT_H
#define PRELOAD_VISIT_H

#include <stdbool.h>
#include <stdint.h>

#define PRELOAD_TLS __attribute__((tls_model("initial-exec")))

struct preload_visit {
    int error; /* errno, before */
};

/* The kernel's number of the running thread; 0: not asked yet. */
extern __thread uint32_t preload_tid PRELOAD_TLS;

/** @return false: this thread is in a visit already; nothing to end */
bool preload_visit_begin(struct preload_visit *visit);
/** End it, and free what handlers left. */
void preload_visit_end(const struct preload_visit *visit);
/** In a handler, when begin said no: free this at the end. @param block one of the heap's */
void preload_visit_defer(void *block);

#endif
