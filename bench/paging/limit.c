/*
 * limit.c - what none can beat, and what costs nothing.
 *
 * The limit's tables are made by init, the last level of the area one after the other:
 * mapping is a loop of stores to an array. Nothing is checked, nothing given back.
 *
 *     frame 0: root, 1: level 3, 2 and on: levels 2 and, for small pages, 1
 */
#include <string.h>

#include "peer.h"

#define ENTRIES    UINT64_C(512)
#define PRESENT    UINT64_C(1)
#define WRITE      UINT64_C(2)
#define LARGE      (UINT64_C(1) << 7)
#define NO_EXECUTE (UINT64_C(1) << 63)
#define TABLE      (PRESENT | WRITE)
#define ADDRESS    UINT64_C(0x000ffffffffff000)
#define GIB        (UINT64_C(1) << 30)
#define AREA_ENTRY (PAGING_AREA >> 39 & (ENTRIES - 1)) /* of the root */
#define LEVEL_3    UINT64_C(1)                         /* frame */
#define LEVEL_2    UINT64_C(2)

/* Entries of the area's last level. A processor reads them: no store may be lost, or
 * wait. That is what volatile is for here. */
static volatile uint64_t *leaves;
static unsigned leaf_shift;

static bool limit_init(const struct paging_setup *setup)
{
    uint64_t *const frame = (uint64_t *)(void *)setup->memory;
    const uint64_t gib_count = (setup->area_bytes + GIB - 1) / GIB;
    const uint64_t level_1 = LEVEL_2 + gib_count;

    memset(frame, 0, setup->frame_count * PAGING_PAGE);
    frame[AREA_ENTRY] = (PAGING_TABLES + LEVEL_3 * PAGING_PAGE) | TABLE;
    for (uint64_t i = 0; i < gib_count; i++)
        frame[LEVEL_3 * ENTRIES + i] = (PAGING_TABLES + (LEVEL_2 + i) * PAGING_PAGE) | TABLE;
    for (uint64_t i = 0; level_1 + i < setup->frame_count; i++)
        frame[LEVEL_2 * ENTRIES + i] = (PAGING_TABLES + (level_1 + i) * PAGING_PAGE) | TABLE;
    leaves = frame + (setup->page_size == PAGING_PAGE ? level_1 : LEVEL_2) * ENTRIES;
    leaf_shift = setup->page_size == PAGING_PAGE ? 12 : 21;
    return true;
}

static uint64_t limit_root(void)
{
    return PAGING_TABLES;
}

static bool limit_map(uint64_t virt, uint64_t phys, uint64_t size, uint64_t page_size)
{
    volatile uint64_t *const first = leaves + ((virt - PAGING_AREA) >> leaf_shift);
    const uint64_t count = size >> leaf_shift;
    uint64_t entry = phys | PRESENT | WRITE | NO_EXECUTE | (page_size != PAGING_PAGE ? LARGE : 0);

    for (uint64_t i = 0; i < count; i++, entry += page_size)
        first[i] = entry;
    return true;
}

static bool limit_protect(uint64_t virt, uint64_t size)
{
    volatile uint64_t *const first = leaves + ((virt - PAGING_AREA) >> leaf_shift);
    const uint64_t count = size >> leaf_shift;

    for (uint64_t i = 0; i < count; i++)
        first[i] = first[i] & ~WRITE;
    return true;
}

static bool limit_unmap(uint64_t virt, uint64_t size)
{
    volatile uint64_t *const first = leaves + ((virt - PAGING_AREA) >> leaf_shift);
    const uint64_t count = size >> leaf_shift;

    for (uint64_t i = 0; i < count; i++)
        first[i] = 0;
    return true;
}

static bool limit_map_page(uint64_t virt, uint64_t phys)
{
    leaves[(virt - PAGING_AREA) >> 12] = phys | PRESENT | WRITE | NO_EXECUTE;
    return true;
}

static uint64_t limit_unmap_pages(const uint64_t *virts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        leaves[(virts[i] - PAGING_AREA) >> 12] = 0;
    return 0;
}

static uint64_t limit_translate(uint64_t virt)
{
    const uint64_t mask = (UINT64_C(1) << leaf_shift) - 1;
    const uint64_t entry = leaves[(virt - PAGING_AREA) >> leaf_shift];
    return (entry & PRESENT) != 0 ? (entry & ADDRESS) | (virt & mask) : PAGING_NONE;
}

const struct paging_peer paging_limit[] = {
    { "limit", limit_init, limit_root, limit_map, limit_protect, limit_unmap, limit_map_page,
      limit_unmap_pages, limit_translate },
    { .name = NULL },
};

/* ---- what does nothing --------------------------------------------------------- */

static bool empty_init(const struct paging_setup *setup)
{
    return setup->memory != NULL;
}

static uint64_t empty_root(void)
{
    return 0;
}

static bool empty_map(uint64_t virt, uint64_t phys, uint64_t size, uint64_t page_size)
{
    return virt >= phys && size >= page_size;
}

static bool empty_range(uint64_t virt, uint64_t size)
{
    return virt >= size;
}

static uint64_t empty_unmap_pages(const uint64_t *virts, size_t count)
{
    (void)virts;
    (void)count;
    return 0;
}

static uint64_t empty_translate(uint64_t virt)
{
    return virt;
}

const struct paging_peer paging_empty[] = {
    { "empty", empty_init, empty_root, empty_map, empty_range, empty_range, empty_range,
      empty_unmap_pages, empty_translate },
    { .name = NULL },
};
