/*
 * selftest.h - does what was promised hold on this machine?
 */
#ifndef KERNEL_SELFTEST_H
#define KERNEL_SELFTEST_H

#include <stdbool.h>
#include <stdint.h>

/** Run all tests, interrupts on, other CPUs idle. @return false: one of them failed */
bool selftest_run(void);

/* That the one of page tables does, at least. */
extern uint64_t selftest_paging_operations;
#define SELFTEST_SOAK_OPERATIONS UINT64_C(100000)

/* One test each; NULL, or what is wrong. */
const char *selftest_audit(void);
const char *selftest_init_twice(void);
const char *selftest_malloc(void);
const char *selftest_write_xor_execute(void);
const char *selftest_text_aliases(void);
const char *selftest_no_execute(void);
const char *selftest_guards(void);
const char *selftest_framebuffer(void);
const char *selftest_registers(void);
const char *selftest_tlb_remap(void);
const char *selftest_tlb_unmap(void);
const char *selftest_tlb_protect(void);
const char *selftest_paging(void);
const char *selftest_stress(void);
const char *selftest_heap_stress(void);
const char *selftest_frames(void);
const char *selftest_zeroed(void);
const char *selftest_numa(void);
const char *selftest_symbols(void);

#endif
