/*
 * reserve.h - memory for who cannot use the heap now: a handler that interrupted its own
 * thread inside it, and a process in which the heap cannot start.
 *
 *     up to 4 KiB   units of 64 bytes of RESERVE_BYTES in the library itself
 *     above         pages from the system, up to RESERVE_MAPS blocks at a time
 *
 * Without a lock: bits, a word of 64 units at a time. Blocks are freed as any others.
 */
#ifndef PRELOAD_RESERVE_H
#define PRELOAD_RESERVE_H

#include <stdbool.h>
#include <stddef.h>

/** @param align power of two. @return NULL: there is none. errno is left alone */
void *preload_reserve_alloc(size_t size_bytes, size_t align);
/** Bytes of a block of the reserve; 0: it is none. */
size_t preload_reserve_usable(const void *block);
/** @return false: not a block of the reserve */
bool preload_reserve_free(void *block);

#endif
