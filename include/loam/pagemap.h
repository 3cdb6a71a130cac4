/*
 * pagemap.h - layer 7: what the pages of a heap hold, and the heap's own records.
 *
 *     address - start = | 2 MiB table | page | byte |
 *                             |          |
 *     table [ ] [ ] [*] [ ]   |          v
 *                    `-> [ entry entry entry ... 512 ]      one word per page
 *
 *     entry = | kind 8 | 0 4 | rest 6 | record 46 |
 *
 * One word tells all that a free needs to know of an address: which kind of block its
 * page holds (a size class, a slab of a cache, the first page of a large block, or
 * nothing), how many pages it is to the end of its slab, and where the record of that
 * slab or block is. Tables are made when memory of their 2 MiB is first used, so that
 * an address is looked up without being read, whatever it is. The list of tables can be
 * exchanged for a longer one: when memory is added.
 *
 * Records - of slabs, large blocks, CPUs, lists - lie in pages of their own, apart from
 * all blocks: what is written past the end of a block does not reach them before the end
 * of its slab.
 *
 * Where pages come from: internal/heap_pages.h.
 */
#ifndef LOAM_PAGEMAP_H
#define LOAM_PAGEMAP_H

#include "lock.h"
#include "types.h"

#ifndef __cplusplus
#include <stdatomic.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* What a page holds. In between: a size class. */
#define LOAM_PAGEMAP_NOTHING 0u
#define LOAM_PAGEMAP_CACHE   0xfeu /* a slab of a cache that is not one of the size classes */
#define LOAM_PAGEMAP_LARGE   0xffu /* the first page of a large block */

#define LOAM_PAGEMAP_REST_SHIFT 46u
#define LOAM_PAGEMAP_REST_MAX   63u
#define LOAM_PAGEMAP_KIND_SHIFT 56u
#define LOAM_PAGEMAP_SPREAD     512u /* pages for each table: 2 MiB */

#define LOAM_PAGEMAP_UNIT       64u    /* bytes: records are aligned to it */
#define LOAM_PAGEMAP_RECORD_MAX 16384u /* bytes */
#define LOAM_PAGEMAP_SIZES      16u

struct loam_pagemap_record; /* one that is free */

/* Read-only outside pagemap.c. */
struct loam_pagemap {
    uint64_t start;                   /* address of the first page; 2 MiB-aligned */
    LOAM_ATOMIC(uint64_t) page_count; /* pages that can be looked up; written last */
#if LOAM_PAGEMAP_FLAT
    LOAM_ATOMIC(uint64_t) * entry; /* all tables in a row */
#else
    LOAM_ATOMIC(LOAM_ATOMIC(LOAM_ATOMIC(uint64_t) *) *) table; /* NULL: nothing in 512 pages */
#endif
    void *owner;               /* for who supplies the pages */
    struct loam_spinlock lock; /* guards what follows */
    uint64_t unused;           /* of the newest page of records: address */
    uint64_t unused_end;
    struct loam_pagemap_record *record[LOAM_PAGEMAP_SIZES]; /* free ones, by size */
    uint64_t record_pages;                                  /* pages that hold records and tables */
    uint64_t record_bytes;                                  /* of records in use */
};

struct loam_pagemap_setup {
    uint64_t start;
    uint64_t page_count;   /* multiple of 512 */
    void *memory;          /* zeroed, 64-byte aligned; owned by the map */
    uint64_t memory_bytes; /* loam_pagemap_bytes_needed() */
    void *owner;
    uint64_t seed; /* of a hardened heap's random numbers; 0: there is none */
};

/** Bytes for so many pages: 8 for 2 MiB; with LOAM_PAGEMAP_FLAT 8 for each page. */
LOAM_NODISCARD uint64_t loam_pagemap_bytes_needed(uint64_t page_count);

/**
 * Start with nothing in any page.
 *
 * @return LOAM_OK; LOAM_INVALID: the setup is malformed
 *
 * Context: before anybody uses it.
 */
LOAM_NODISCARD enum loam_status loam_pagemap_init(struct loam_pagemap *map,
                                                  const struct loam_pagemap_setup *setup);

/**
 * Let more pages be looked up, while others look.
 *
 * @param map          not LOAM_PAGEMAP_FLAT
 * @param page_count   multiple of 512, more than before
 * @param memory       zeroed, 64-byte aligned; the map's from now on, as what it replaces is
 * @param memory_bytes loam_pagemap_bytes_needed()
 *
 * @return LOAM_OK; LOAM_INVALID: malformed, not more, or the map is flat
 *
 * Context: any CPU, any interrupt state, not NMI; one call at a time.
 */
LOAM_NODISCARD enum loam_status loam_pagemap_grow(struct loam_pagemap *map, uint64_t page_count,
                                                  void *memory, uint64_t memory_bytes);

/**
 * Take a record: of so many bytes, zeroed, aligned to LOAM_PAGEMAP_UNIT.
 *
 * @param size_bytes 1..LOAM_PAGEMAP_RECORD_MAX
 *
 * @return NULL: no memory. The caller's until loam_pagemap_free()
 *
 * Context: any CPU, any interrupt state, not NMI; spins for other CPUs' turns.
 */
LOAM_NODISCARD void *loam_pagemap_alloc(struct loam_pagemap *map, size_t size_bytes);
/** Give one back. @param size_bytes as it was asked for */
void loam_pagemap_free(struct loam_pagemap *map, void *record, size_t size_bytes);

/** Bytes that such a record takes. @param size_bytes as above */
LOAM_NODISCARD size_t loam_pagemap_room(size_t size_bytes);

/**
 * Make the tables for a range of pages, so that loam_pagemap_set() cannot fail.
 *
 * @return LOAM_OK; LOAM_NO_SPACE: not all of it can be looked up; LOAM_NO_MEMORY
 */
LOAM_NODISCARD enum loam_status loam_pagemap_prepare(struct loam_pagemap *map, uint64_t address,
                                                     uint64_t page_count);

/* What to write for a range of pages. */
struct loam_pagemap_mark {
    uint64_t address;    /* page-aligned; tables are there */
    uint64_t page_count; /* > 0; up to 64 where each page says how far the end is */
    unsigned kind;
    const void *record; /* from loam_pagemap_alloc(); NULL for LOAM_PAGEMAP_NOTHING */
};

/** Say what pages hold, each with its distance to the end of the range. */
void loam_pagemap_set(struct loam_pagemap *map, const struct loam_pagemap_mark *mark);

/** Records that are in use, and pages that hold records and tables. */
void loam_pagemap_measure(struct loam_pagemap *map, uint64_t *record_bytes, uint64_t *page_count);

/** @return NULL if records are sound, else the broken rule. Must be quiet. */
LOAM_NODISCARD const char *loam_pagemap_audit(struct loam_pagemap *map);

#ifndef __cplusplus
/** Pages that can be looked up. */
static inline uint64_t loam_pagemap_pages(const struct loam_pagemap *map)
{
    return atomic_load(&map->page_count);
}

/** What is known of an address; any value is allowed. @return its entry, or 0 */
static inline uint64_t loam_pagemap_look(const struct loam_pagemap *map, uint64_t address)
{
    const uint64_t page = (address - map->start) >> LOAM_PAGE_SHIFT;
    if (__builtin_expect(page >= loam_pagemap_pages(map), 0))
        return 0;
#if LOAM_PAGEMAP_FLAT
    return atomic_load_explicit(&map->entry[page], memory_order_acquire);
#else
    LOAM_ATOMIC(uint64_t) *const table = atomic_load_explicit(
        &atomic_load(&map->table)[page / LOAM_PAGEMAP_SPREAD], memory_order_acquire);
    if (__builtin_expect(table == NULL, 0))
        return 0;
    return atomic_load_explicit(&table[page % LOAM_PAGEMAP_SPREAD], memory_order_acquire);
#endif
}

/** 16 times the kind of what the page holds: an offset into tables of 16 bytes a kind. */
static inline size_t loam_pagemap_kind_16(uint64_t entry)
{
    return (size_t)(entry >> (LOAM_PAGEMAP_KIND_SHIFT - 4));
}

/** Kind of what the page holds. */
static inline unsigned loam_pagemap_kind(uint64_t entry)
{
    return (unsigned)(entry >> LOAM_PAGEMAP_KIND_SHIFT);
}

/** Bytes from an address to the end of the slab that its page belongs to. */
static inline uint64_t loam_pagemap_rest(uint64_t entry, uint64_t address)
{
    const unsigned shift = LOAM_PAGEMAP_REST_SHIFT - LOAM_PAGE_SHIFT;
    const uint64_t pages = entry >> shift & (LOAM_PAGEMAP_REST_MAX << LOAM_PAGE_SHIFT);
    return pages + (LOAM_PAGE_SIZE - (address & (LOAM_PAGE_SIZE - 1)));
}

/** The record of a page that holds something. */
static inline void *loam_pagemap_record(const struct loam_pagemap *map, uint64_t entry)
{
    const uint64_t offset =
        (entry & ((UINT64_C(1) << LOAM_PAGEMAP_REST_SHIFT) - 1)) * LOAM_PAGEMAP_UNIT;
    return (void *)(uintptr_t)(map->start + offset);
}
#endif

#ifdef __cplusplus
}
#endif
#endif
