/*
 * libloam.c - libloam.so as one translation unit, so that all of malloc's usual path is
 * inlined.
 */
#include "../src/heap.c"
#include "../src/heap_large.c"
#include "../src/pagemap.c"
#include "../src/slab.c"
#include "../src/types.c"
#include "lock.c"
#include "malloc.c"
#include "pages.c"
#include "runs.c"
#include "thread.c"
