/*
 * loam_all.c - the whole library as one translation unit; the only list of
 * sources. Compile this one file, or each of these by itself.
 */
#include "src/arena.c"
#include "src/arena_span.c"
#include "src/block.c"
#include "src/books.c"
#include "src/boot.c"
#include "src/bump.c"
#include "src/cpu.c"
#include "src/directmap.c"
#include "src/early.c"
#include "src/freelist.c"
#include "src/loam.c"
#include "src/lock.c"
#include "src/memmap.c"
#include "src/once.c"
#include "src/paging.c"
#include "src/stock.c"
#include "src/text.c"
#include "src/types.c"
#include "src/usage.c"
