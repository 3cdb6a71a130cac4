/*
 * pagemap.c - see pagemap.h.
 *
 * Records come in sizes of two steps a doubling, 64, 128, 192, 256, 384, 512 ..., cut from
 * pages that are never given back: their number follows the most that was ever in use. A
 * free record's first word is the next one of its size.
 *
 * Acquire pairs: loads in loam_pagemap_look() with the stores of loam_pagemap_set() and
 * pagemap_table_make(): who finds a table or a record finds what is in it.
 */
#include <loam/pagemap.h>

#include <stdatomic.h>

#include "internal/check.h"
#include "internal/heap_pages.h"
#include "internal/inject.h"
#include "internal/try.h"

#define PAGEMAP_CHUNK_PAGES 4u /* of records, at a time */

/* The first record of all is that of a CPU, which is written to at every call; where its page
 * begins, other things do, too, that are read at every call, such as the entries of the first
 * pages. A processor takes a load for one of a store before it if their last 12 bits are
 * alike: so that record begins elsewhere. */
#define PAGEMAP_LEAD 704u /* bytes; less than the record of a CPU */

struct loam_pagemap_record {
    struct loam_pagemap_record *next;
};

/* ---- records ---------------------------------------------------------------- */

/* Sizes: 64, 128, then 3 << n and 4 << n times 64. */
static size_t pagemap_size_of(unsigned index)
{
    if (index < 2)
        return LOAM_PAGEMAP_UNIT << index;
    return (size_t)(index % 2 == 0 ? 3 : 4) * LOAM_PAGEMAP_UNIT << (index - 2) / 2;
}

/* The smallest that has room. */
static unsigned pagemap_index_of(size_t size_bytes)
{
    unsigned index = 0;

    LOAM_ASSERT(size_bytes != 0 && size_bytes <= LOAM_PAGEMAP_RECORD_MAX);
    while (pagemap_size_of(index) < size_bytes) /* ends: LOAM_PAGEMAP_SIZES */
        index++;
    return index;
}

size_t loam_pagemap_room(size_t size_bytes)
{
    return pagemap_size_of(pagemap_index_of(size_bytes));
}

/* Cut a record of this size off the newest chunk. */
static struct loam_pagemap_record *pagemap_cut_locked(struct loam_pagemap *map, size_t size)
    LOAM_NEEDS(map->lock)
{
    if (map->unused_end - map->unused < size)
        return NULL;
    const uint64_t at = map->unused;
    map->unused += size;
    return (struct loam_pagemap_record *)(uintptr_t)at;
}

/* The rest of a chunk becomes free records of the sizes that fit. */
static void pagemap_keep_rest_locked(struct loam_pagemap *map) LOAM_NEEDS(map->lock)
{
    for (unsigned index = LOAM_PAGEMAP_SIZES; index-- > 0;) {
        struct loam_pagemap_record *record;
        while ((record = pagemap_cut_locked(map, pagemap_size_of(index))) != NULL) {
            record->next = map->record[index];
            map->record[index] = record;
        }
    }
}

/* Room for records, at least for one of this size: memory may be in pieces. */
static bool pagemap_chunk_add(struct loam_pagemap *map, size_t size)
{
    struct heap_pages_request request = { PAGEMAP_CHUNK_PAGES, LOAM_PAGE_SIZE, true };
    bool is_zeroed;
    void *chunk = loam_heap_pages_take(map, &request, &is_zeroed);

    if (chunk == NULL && size <= PAGEMAP_CHUNK_PAGES * LOAM_PAGE_SIZE / 2) {
        request.page_count = size / LOAM_PAGE_SIZE + !loam_is_page_aligned(size);
        chunk = loam_heap_pages_take(map, &request, &is_zeroed);
    }
    if (chunk == NULL)
        return false;
    const loam_irq_state irq = loam_spinlock_acquire_irq(&map->lock);
    pagemap_keep_rest_locked(map);
    map->unused = loam_virt_of(chunk).addr;
    map->unused_end = map->unused + PAGEMAP_LEAD;
    if (map->record_pages == 0)
        pagemap_keep_rest_locked(map);
    map->unused_end = loam_virt_of(chunk).addr + request.page_count * LOAM_PAGE_SIZE;
    map->record_pages += request.page_count;
    loam_spinlock_release_irq(&map->lock, irq);
    return true;
}

void *loam_pagemap_alloc(struct loam_pagemap *map, size_t size_bytes)
{
    const unsigned index = pagemap_index_of(size_bytes);
    const size_t size = pagemap_size_of(index);
    struct loam_pagemap_record *record;

    if (LOAM_INJECT("pagemap.record"))
        return NULL;
    do { /* again only if other CPUs were faster: each round some CPU gets one */
        const loam_irq_state irq = loam_spinlock_acquire_irq(&map->lock);
        record = map->record[index];
        if (record != NULL)
            map->record[index] = record->next;
        else
            record = pagemap_cut_locked(map, size);
        map->record_bytes += record != NULL ? size : 0;
        loam_spinlock_release_irq(&map->lock, irq);
    } while (record == NULL && pagemap_chunk_add(map, size));
    if (record != NULL)
        __builtin_memset(record, 0, size);
    return record;
}

void loam_pagemap_free(struct loam_pagemap *map, void *record, size_t size_bytes)
{
    const unsigned index = pagemap_index_of(size_bytes);
    struct loam_pagemap_record *const freed = record;
    const loam_irq_state irq = loam_spinlock_acquire_irq(&map->lock);

    freed->next = map->record[index];
    map->record[index] = freed;
    map->record_bytes -= pagemap_size_of(index);
    loam_spinlock_release_irq(&map->lock, irq);
}

/* ---- tables ----------------------------------------------------------------- */

uint64_t loam_pagemap_bytes_needed(uint64_t page_count)
{
#if LOAM_PAGEMAP_FLAT
    return page_count * sizeof(uint64_t);
#else
    return page_count / LOAM_PAGEMAP_SPREAD * sizeof(uint64_t);
#endif
}

enum loam_status loam_pagemap_init(struct loam_pagemap *map, const struct loam_pagemap_setup *setup)
{
    if (setup->page_count == 0 || setup->page_count % LOAM_PAGEMAP_SPREAD != 0 ||
        !loam_is_page_aligned(setup->start) || setup->memory == NULL ||
        setup->page_count > UINT64_MAX / LOAM_PAGE_SIZE ||
        !loam_range_fits(setup->start, setup->page_count * LOAM_PAGE_SIZE) ||
        setup->memory_bytes < loam_pagemap_bytes_needed(setup->page_count))
        return LOAM_INVALID;
    __builtin_memset(map, 0, sizeof(*map));
    map->start = setup->start;
    map->owner = setup->owner;
#if LOAM_PAGEMAP_FLAT
    map->entry = setup->memory;
#else
    atomic_store(&map->table, setup->memory);
#endif
    atomic_store(&map->page_count, setup->page_count);
    return LOAM_OK;
}

#if LOAM_PAGEMAP_FLAT

static LOAM_ATOMIC(uint64_t) * pagemap_entry(struct loam_pagemap *map, uint64_t page)
{
    return &map->entry[page];
}

static bool pagemap_table_make(struct loam_pagemap *map, uint64_t index)
{
    (void)map, (void)index;
    return !LOAM_INJECT("pagemap.table");
}

enum loam_status loam_pagemap_grow(struct loam_pagemap *map, uint64_t page_count, void *memory,
                                   uint64_t memory_bytes)
{
    (void)map, (void)page_count, (void)memory, (void)memory_bytes;
    return LOAM_INVALID;
}

#else

static LOAM_ATOMIC(uint64_t) * pagemap_entry(struct loam_pagemap *map, uint64_t page)
{
    return &atomic_load(
        &atomic_load(&map->table)[page / LOAM_PAGEMAP_SPREAD])[page % LOAM_PAGEMAP_SPREAD];
}

/* Under the lock, so that no table is missed by who copies the list of them. */
static bool pagemap_table_add(struct loam_pagemap *map, uint64_t index, void *table)
{
    const loam_irq_state irq = loam_spinlock_acquire_irq(&map->lock);
    const bool is_first = atomic_load(&atomic_load(&map->table)[index]) == NULL;

    if (is_first) {
        atomic_store(&atomic_load(&map->table)[index], table);
        map->record_pages++;
    }
    loam_spinlock_release_irq(&map->lock, irq);
    return is_first;
}

static bool pagemap_table_make(struct loam_pagemap *map, uint64_t index)
{
    const struct heap_pages_request request = { 1, LOAM_PAGE_SIZE, true };
    bool is_zeroed;

    if (LOAM_INJECT("pagemap.table"))
        return false;
    if (atomic_load(&atomic_load(&map->table)[index]) != NULL)
        return true;
    void *const table = loam_heap_pages_take(map, &request, &is_zeroed);
    if (table == NULL)
        return false;
    if (!is_zeroed)
        __builtin_memset(table, 0, LOAM_PAGE_SIZE);
    if (!pagemap_table_add(map, index, table))
        loam_heap_pages_give(map, table, 1); /* another CPU was faster */
    return true;
}

enum loam_status loam_pagemap_grow(struct loam_pagemap *map, uint64_t page_count, void *memory,
                                   uint64_t memory_bytes)
{
    LOAM_ATOMIC(LOAM_ATOMIC(uint64_t) *) *const table = memory;

    if (memory == NULL || page_count % LOAM_PAGEMAP_SPREAD != 0 ||
        page_count <= loam_pagemap_pages(map) || page_count > UINT64_MAX / LOAM_PAGE_SIZE ||
        !loam_range_fits(map->start, page_count * LOAM_PAGE_SIZE) ||
        memory_bytes < loam_pagemap_bytes_needed(page_count))
        return LOAM_INVALID;
    const loam_irq_state irq = loam_spinlock_acquire_irq(&map->lock);
    for (uint64_t i = 0; i < loam_pagemap_pages(map) / LOAM_PAGEMAP_SPREAD; i++)
        atomic_store(&table[i], atomic_load(&atomic_load(&map->table)[i]));
    atomic_store(&map->table, table); /* before the count: who finds that finds these */
    atomic_store(&map->page_count, page_count);
    loam_spinlock_release_irq(&map->lock, irq);
    return LOAM_OK;
}

#endif

enum loam_status loam_pagemap_prepare(struct loam_pagemap *map, uint64_t address,
                                      uint64_t page_count)
{
    const uint64_t page = (address - map->start) >> LOAM_PAGE_SHIFT;

    const uint64_t all = loam_pagemap_pages(map);

    if (page >= all || page_count > all - page)
        return LOAM_NO_SPACE;
    for (uint64_t i = page / LOAM_PAGEMAP_SPREAD;
         i <= (page + (page_count - 1)) / LOAM_PAGEMAP_SPREAD; i++) {
        if (!pagemap_table_make(map, i))
            return LOAM_NO_MEMORY;
    }
    return LOAM_OK;
}

void loam_pagemap_set(struct loam_pagemap *map, const struct loam_pagemap_mark *mark)
{
    const uint64_t page = (mark->address - map->start) >> LOAM_PAGE_SHIFT;
    const uint64_t record =
        mark->record == NULL ? 0
                             : (loam_virt_of(mark->record).addr - map->start) / LOAM_PAGEMAP_UNIT;
    const uint64_t same = (uint64_t)mark->kind << LOAM_PAGEMAP_KIND_SHIFT | record;

    LOAM_ASSERT(record >> LOAM_PAGEMAP_REST_SHIFT == 0 && mark->page_count != 0);
    for (uint64_t i = 0; i < mark->page_count; i++) {
        const uint64_t rest = mark->page_count - i;
        const uint64_t told = rest - 1 <= LOAM_PAGEMAP_REST_MAX ? rest - 1 : 0;
        const uint64_t entry =
            mark->kind == LOAM_PAGEMAP_NOTHING ? 0 : same | told << LOAM_PAGEMAP_REST_SHIFT;
        atomic_store_explicit(pagemap_entry(map, page + i), entry, memory_order_release);
    }
}

void loam_pagemap_measure(struct loam_pagemap *map, uint64_t *record_bytes, uint64_t *page_count)
{
    const loam_irq_state irq = loam_spinlock_acquire_irq(&map->lock);

    *record_bytes = map->record_bytes;
    *page_count = map->record_pages;
    loam_spinlock_release_irq(&map->lock, irq);
}

const char *loam_pagemap_audit(struct loam_pagemap *map)
{
    uint64_t free_bytes = map->unused_end - map->unused;

    if (map->unused > map->unused_end)
        return "pagemap: newest page of records is used past its end";
    for (unsigned index = 0; index < LOAM_PAGEMAP_SIZES; index++) {
        for (const struct loam_pagemap_record *at = map->record[index]; at != NULL; at = at->next) {
            free_bytes += pagemap_size_of(index);
            if (free_bytes > map->record_pages * LOAM_PAGE_SIZE)
                return "pagemap: a list of free records has a cycle";
            if ((loam_virt_of(at).addr & (LOAM_PAGEMAP_UNIT - 1)) != 0)
                return "pagemap: link of a free record is no record";
        }
    }
    if (free_bytes + map->record_bytes > map->record_pages * LOAM_PAGE_SIZE)
        return "pagemap: more records than memory for them";
    return NULL;
}
