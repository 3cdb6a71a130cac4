/*
 * array.h - a growable array on a heap.
 *
 * Growth doubles the room, so n appends move each item twice on average.
 */
#ifndef KERNEL_ARRAY_H
#define KERNEL_ARRAY_H

#include <stdbool.h>
#include <stddef.h>

#include <loam/locked.h>

/* Start as { .item_bytes = ..., .heap = ... }: empty. */
struct array {
    struct loam_locked *heap; /* borrowed */
    void *items;
    size_t count, room; /* items */
    size_t item_bytes;
};

/** Append copies. @return false: out of memory, nothing changed */
bool array_append(struct array *array, const void *items, size_t count);

void array_free(struct array *array);

#endif
