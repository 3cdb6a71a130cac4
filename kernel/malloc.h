/*
 * malloc.h - the C names of the kernel's heap; contracts as in loam.h.
 */
#ifndef KERNEL_MALLOC_H
#define KERNEL_MALLOC_H

#include <stddef.h>

void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *block, size_t size);
void *aligned_alloc(size_t align, size_t size);
void free(void *block);
void free_sized(void *block, size_t size);

#endif
