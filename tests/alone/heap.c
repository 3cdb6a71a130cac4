/*
 * heap.c - the heap without the rest of the library: its pages, its CPU and its lock's
 * instructions come from heap_world.h.
 */
#include "../../src/heap.c"
#include "../../src/heap_audit.c"
#include "../../src/heap_hard.c"
#include "../../src/heap_large.c"
#include "../../src/heap_look.c"
#include "../../src/lock.c"
#include "../../src/pagemap.c"
#include "../../src/slab.c"
#include "../../src/slab_cache.c"
#include "../../src/text.c"
#include "../../src/types.c"
