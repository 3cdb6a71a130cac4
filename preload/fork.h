/*
 * fork.h - the heap in the child of a process with threads.
 *
 *     before          all locks are taken, in order: nobody else is in the middle of anything
 *     parent, child   and given back. In the child all other threads are gone; see thread.h
 *
 * A handler may fork, too: locks that its own thread holds are left alone, and given back
 * in parent and child when the handler returns.
 */
#ifndef PRELOAD_FORK_H
#define PRELOAD_FORK_H

/** In a visit, when the heap has started: be called at each fork. Once. */
void preload_fork_watch(void);

#endif
