/*
 * libloam.c - libloam.so as one translation unit, so that all of malloc's usual path is
 * inlined.
 */
#include "runs.c"

#include "../src/heap.c"
#include "../src/heap_hard.c"
#include "../src/heap_large.c"
#include "../src/pagemap.c"
#include "../src/slab.c"
#include "../src/text.c"
#include "../src/types.c"
#include "cxx.c"
#include "family.c"
#include "fork.c"
#if LOAM_HEAP_MODE == LOAM_HEAP_HARDENED
#include "hard.c"
#endif
#include "lock.c"
#include "malloc.c"
#include "pages.c"
#include "panic.c"
#include "report.c"
#include "reserve.c"
#include "thread.c"
#include "visit.c"
