/*
 * probe.h - accesses that may fault, and say so.
 */
#ifndef KERNEL_PROBE_H
#define KERNEL_PROBE_H

#include <stdbool.h>
#include <stdint.h>

#include "trap.h"

/** Read eight bytes. @return false: it faults; *value untouched */
bool probe_read(uint64_t address, uint64_t *value);

/** Write one byte. @return false: it faults */
bool probe_write(uint64_t address, uint8_t value);

/** Call what lies at a canonical address; it returns at once. @return false: the jump faults */
bool probe_execute(uint64_t address);

/** Make a fault of a probe its result. @return true: it was one, @p frame goes on there */
bool probe_recover(struct trap_frame *frame);

#endif
