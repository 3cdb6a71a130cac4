/*
 * reclaim.h - taking the bootloader's memory.
 */
#ifndef KERNEL_RECLAIM_H
#define KERNEL_RECLAIM_H

#include <stdbool.h>

/**
 * Give the bootloader's memory to the kernel, and overwrite it: whoever still
 * relied on it is found out at once.
 *
 * @return false: a CPU still needs it, or it was done before; nothing changed
 */
bool reclaim_run(void);

#endif
