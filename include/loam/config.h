/*
 * config.h - compile-time limits and check level.
 *
 * Override any value with -D, or define LOAM_CONFIG_HEADER to the name of your
 * own header. Every value is validated at compile time: a bad one stops the build
 * with a sentence and never reaches run time.
 */
#ifndef LOAM_CONFIG_H
#define LOAM_CONFIG_H

#ifdef LOAM_CONFIG_HEADER
#include LOAM_CONFIG_HEADER
#endif

/* Most CPUs the library will keep state for. */
#ifndef LOAM_CPUS_MAX
#define LOAM_CPUS_MAX 64
#endif

/* 0: misuse checks only (always on); 1: + O(1) assertions; 2: + O(n) audits. */
#ifndef LOAM_CHECK
#define LOAM_CHECK 1
#endif

/* The heap of loam_malloc() where struct loam_boot does not say: LOAM_ALLOCATOR_BUMP,
 * _FREELIST, _BLOCK, _ARENA or _HEAP. Checked in loam.h, where these names are known. */
#ifndef LOAM_HEAP_DEFAULT
#define LOAM_HEAP_DEFAULT LOAM_ALLOCATOR_HEAP
#endif

/*
 * 1: your LOAM_CONFIG_HEADER defines loam_port_cpu() as a static inline function, so that
 * no call is needed where frames are taken. 0: it is a function; see port.h.
 */
#ifndef LOAM_PORT_CPU_INLINE
#define LOAM_PORT_CPU_INLINE 0
#endif

/*
 * How a CPU's own lists of free blocks are kept from what may interrupt it: LOAM_GUARD_IRQ,
 * _PORT or _NONE; see guard.h.
 */
#define LOAM_GUARD_IRQ  0
#define LOAM_GUARD_PORT 1
#define LOAM_GUARD_NONE 2
#ifndef LOAM_GUARD
#define LOAM_GUARD LOAM_GUARD_IRQ
#endif

/*
 * What the heap does for its price (heap.h): LOAM_HEAP_FAST, or LOAM_HEAP_HARDENED: every
 * double free, and what is written past the end of a block or after its free, panics.
 */
#define LOAM_HEAP_FAST     0
#define LOAM_HEAP_HARDENED 1
#ifndef LOAM_HEAP_MODE
#define LOAM_HEAP_MODE LOAM_HEAP_FAST
#endif

/* Hardened, where pages can be protected: one block of so many gets pages of its own. */
#ifndef LOAM_HEAP_SAMPLE
#define LOAM_HEAP_SAMPLE 1000
#endif

/* 1: what every page of a heap holds is said in one array, which is sparse: for programs on
 * a host. 0: in tables, made as they are needed. */
#ifndef LOAM_PAGEMAP_FLAT
#define LOAM_PAGEMAP_FLAT 0
#endif

/*
 * 1: privileged instructions of x86.h are functions that somebody else defines
 * (the simulated machine of the host tests). 0: the instructions themselves.
 */
#ifndef LOAM_X86_SIM
#define LOAM_X86_SIM 0
#endif

/* 1: every step that can fail asks loam_test_inject() first. For test builds. */
#ifndef LOAM_TEST_HOOKS
#define LOAM_TEST_HOOKS 0
#endif

#if LOAM_CPUS_MAX < 1 || LOAM_CPUS_MAX > 1024
#error "LOAM_CPUS_MAX must be in 1..1024"
#endif
#if LOAM_CHECK < 0 || LOAM_CHECK > 2
#error "LOAM_CHECK must be 0, 1 or 2"
#endif
#if LOAM_X86_SIM != 0 && LOAM_X86_SIM != 1
#error "LOAM_X86_SIM must be 0 or 1"
#endif
#if LOAM_PORT_CPU_INLINE != 0 && LOAM_PORT_CPU_INLINE != 1
#error "LOAM_PORT_CPU_INLINE must be 0 or 1"
#endif
#if LOAM_GUARD < LOAM_GUARD_IRQ || LOAM_GUARD > LOAM_GUARD_NONE
#error "LOAM_GUARD must be LOAM_GUARD_IRQ, LOAM_GUARD_PORT or LOAM_GUARD_NONE"
#endif
#if LOAM_HEAP_MODE != LOAM_HEAP_FAST && LOAM_HEAP_MODE != LOAM_HEAP_HARDENED
#error "LOAM_HEAP_MODE must be LOAM_HEAP_FAST or LOAM_HEAP_HARDENED"
#endif
#if LOAM_HEAP_SAMPLE < 1 || LOAM_HEAP_SAMPLE > 1000000000
#error "LOAM_HEAP_SAMPLE must be in 1..1000000000: blocks of which one is sampled"
#endif
#if LOAM_PAGEMAP_FLAT != 0 && LOAM_PAGEMAP_FLAT != 1
#error "LOAM_PAGEMAP_FLAT must be 0 or 1"
#endif
#if LOAM_TEST_HOOKS != 0 && LOAM_TEST_HOOKS != 1
#error "LOAM_TEST_HOOKS must be 0 or 1"
#endif

#endif
