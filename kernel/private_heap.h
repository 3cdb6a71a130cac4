/*
 * private_heap.h - a heap beside the kernel's own, of any kind, over any span. One at
 * a time.
 */
#ifndef KERNEL_PRIVATE_HEAP_H
#define KERNEL_PRIVATE_HEAP_H

#include <loam/locked.h>

/**
 * The one before is gone with that.
 *
 * @return heap, with lock, lock kind and debug layer as the kernel's own; NULL: the
 *         span is too small
 */
struct loam_locked *private_heap_make(enum loam_allocator_kind kind, void *span, size_t size_bytes);

/** Is nothing live in it, its audit sound, and most of its span one block again? */
bool private_heap_is_free(struct loam_locked *heap);

#endif
