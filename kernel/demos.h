/*
 * demos.h - what the usual tutorials show at their end, done with Loam. Each demo
 * gives back all it took.
 */
#ifndef KERNEL_DEMOS_H
#define KERNEL_DEMOS_H

#include <stdbool.h>

/** Run one. @return false: it failed, left something behind, or there is none of this name */
bool demos_run(const char *name);

/** Run all, in order. @return false: one of them failed */
bool demos_run_all(void);

/* Log their names. */
void demos_list(void);

/* The demos themselves; true: all went well. */
bool demo_box(void);
bool demo_vec(void);
bool demo_strings(void);
bool demo_string(void);
bool demo_mapping(void);
bool demo_mapped_heap(void);
bool demo_usage(void);

#endif
