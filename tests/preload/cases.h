/*
 * cases.h - the lists of cases, one per source, and what several of them say.
 */
#ifndef LOAM_TESTS_PRELOAD_CASES_H
#define LOAM_TESTS_PRELOAD_CASES_H

#include "conformance.h"

#define KIB(n)       ((size_t)(n) << 10)
#define MIB(n)       ((size_t)(n) << 20)
#define GIB(n)       ((size_t)(n) << 30)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

extern const struct conformance_case size_cases[];
extern const struct conformance_case resize_cases[];
extern const struct conformance_case aligned_cases[];
extern const struct conformance_case report_cases[];
extern const struct conformance_case limit_cases[];
extern const struct conformance_case thread_cases[];
extern const struct conformance_case exit_cases[];
extern const struct conformance_case fork_cases[];
extern const struct conformance_case signal_cases[];
extern const struct conformance_case life_cases[];
extern const struct conformance_case misuse_cases[];

/* C23's sized frees, which C libraries lack as yet: free() where the library under
 * test lacks them, too. */
void sized_free(void *block, size_t size);
void sized_aligned_free(void *block, size_t alignment, size_t size);

/* Allocate, resize, compare and free blocks of all sizes up to 1 MiB, `rounds` times,
 * as a program would; 64 at most are live. */
void work(uint64_t seed, unsigned rounds);

/* The same with plain malloc() and free() up to 32 KiB, without comparisons: quick. */
void work_quickly(uint64_t seed, unsigned rounds);

#endif
