/*
 * provoke.h - breaking rules on purpose, to see the report.
 */
#ifndef KERNEL_PROVOKE_H
#define KERNEL_PROVOKE_H

#include "options.h"

/* @param cpu who panics; another number than a CPU's: the running one */
_Noreturn void provoke_panic(uint64_t cpu);

/* These come back only if nothing stopped them. */
void provoke_deafness(void);
void provoke_double_free(void);
void provoke_heap_overflow(void);
void provoke_heap_wrong_size(void);
void provoke_overflow(void);
void provoke_wild_frame(void);
void provoke_fault(enum options_access access, uint64_t address);

#endif
