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

/** Is every byte mapped for reading, by the tables that are in use? */
bool memory_is_mapped(const void *start, uint64_t size);

/* What must be the same before and after work that gives back all it took. */
struct memory_snapshot {
    uint64_t owner_bytes[LOAM_OWNERS];
    size_t heap_used_bytes, heap_used_count;
};

/* The heap and the usage map must be quiet for both. */
struct memory_snapshot memory_snapshot_take(void);

/** @return true: sound, and as it was; else the differences are on the console */
bool memory_snapshot_holds(const struct memory_snapshot *before, const char *after_what);

#endif
