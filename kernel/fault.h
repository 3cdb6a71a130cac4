/*
 * fault.h - the report of a page fault.
 */
#ifndef KERNEL_FAULT_H
#define KERNEL_FAULT_H

#include "trap.h"

/* A page fault that nobody expected. */
_Noreturn void fault_report(const struct trap_frame *frame, uint64_t address);

#endif
