/*
 * demos.h - what the usual tutorials show at their end, done with Loam. Each demo
 * gives back all it took.
 */
#ifndef KERNEL_DEMOS_H
#define KERNEL_DEMOS_H

#include <stdbool.h>

#include <loam/locked.h>

/** Run one. @return false: it failed, left something behind, or there is none of this name */
bool demos_run(const char *name);

/** Run all, in order. @return false: one of them failed */
bool demos_run_all(void);

/* Log their names. */
void demos_list(void);

/* The demos themselves; true: all went well. Those of values take their memory from
 * the heap, that of a mapped heap makes one of the same kind. */
bool demo_box(struct loam_locked *heap);
bool demo_vec(struct loam_locked *heap);
bool demo_strings(struct loam_locked *heap);
bool demo_string(struct loam_locked *heap);
bool demo_mapping(struct loam_locked *heap);
bool demo_mapped_heap(struct loam_locked *heap);
bool demo_heaps(struct loam_locked *heap);
bool demo_pairs(struct loam_locked *heap);
bool demo_shootdown(struct loam_locked *heap);
bool demo_cow(struct loam_locked *heap);
bool demo_wc(struct loam_locked *heap);
bool demo_usage(struct loam_locked *heap);

#endif
