/*
 * memory.h - the kernel's one struct loam, and how it came about.
 */
#ifndef KERNEL_MEMORY_H
#define KERNEL_MEMORY_H

#include <loam/loam.h>

#include "options.h"

extern struct loam memory;

/**
 * Take the memory over: responses -> loam_init() -> loam_enter() on this CPU.
 *
 * @return false: refused; what was wrong is on the console
 */
bool memory_take_over(const struct options *options);

/* Log what became of the boot map, heap and tables. */
void memory_report(void);

/** Is the heap of the kind that takes pages as it needs them? */
bool memory_heap_grows(void);

/* Log which heap is in use, and how much of it. */
void memory_report_heap(void);

/**
 * Zero some free frames for later: for a CPU without work, with interrupts on.
 *
 * @return false: there is nothing to do
 */
bool memory_idle(void);

/* Let no CPU do so, and wait for those that do; then let them again. For who wants
 * memory to be quiet; may be nested, by one CPU at a time. */
void memory_idle_stop(void);
void memory_idle_resume(void);

/** loam_audit(), with idle CPUs stopped. All others must be. */
const char *memory_audit(void);

/** Is every byte mapped for reading, by the tables that are in use? */
bool memory_is_mapped(const void *start, uint64_t size);

/* What must be the same before and after work that gives back all it took. */
struct memory_snapshot {
    uint64_t owner_bytes[LOAM_OWNERS];
    struct loam_allocator_stats heap;
    struct loam_bump_mark mark; /* of a bump heap */
};

/* The heap and the usage map must be quiet for both. */
struct memory_snapshot memory_snapshot_take(void);

/**
 * Of a bump heap, memory freed since is given back to the mark, once as many blocks
 * are live as were then: blocks from before keep it from doing so itself.
 *
 * @return true: sound, and as it was; else the differences are on the console
 */
bool memory_snapshot_holds(const struct memory_snapshot *before, const char *after_what);

#endif
