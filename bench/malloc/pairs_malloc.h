/* pairs_malloc.h - pairs of whatever malloc() the process has, as any program calls it. */
#ifndef BENCH_MALLOC_PAIRS_MALLOC_H
#define BENCH_MALLOC_PAIRS_MALLOC_H

#define PAIRS_TAKE(size)  malloc(size)
#define PAIRS_GIVE(block) free(block)

#endif
