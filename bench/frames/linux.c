/*
 * linux.c - a buddy allocator with per-CPU lists, shaped as Linux's.
 *
 *     page array   one entry per frame: links, order, free or not, users
 *     zone         under one lock: a list of free blocks for each order 0..10
 *     CPU list     single frames; 63 at a time come from the zone, and go back there
 *                  when there are 378
 *
 * Kept from Linux: blocks are split from the lowest order that has one, merged at
 * once, and put at the tail of their list if their larger buddy is likely to merge
 * soon; CPU lists are refilled in order, used from the head, emptied from the tail.
 * Left out, to its advantage: watermarks, migration types, cgroups, debugging
 * hooks, the turning off of interrupts around a CPU list ("linux"; since 6.2 there is
 * a lock instead, which "linux-lock" has), and three quarters of struct page. A CPU's
 * list is not drained for another one.
 */
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "peer.h"

#define ZONE_ORDER_MAX 10u
#define ZONE_ORDERS    (ZONE_ORDER_MAX + 1u)
#define ZONE_CPUS_MAX  256u
#define PCP_BATCH      63u
#define PCP_HIGH       378u
#define FRAME_SHIFT    12u

struct page {
    uint32_t next, prev; /* indices; the lists are rings through a head */
    uint8_t order;       /* of a free block */
    bool is_free;        /* the first frame of a block in the zone */
    uint16_t flags;
    int32_t users;
};

/* Heads of lists lie behind the pages: one per order, then one per CPU. */
struct pcp {
    _Alignas(64) atomic_flag lock;
    uint32_t head;
    unsigned count;
};

static struct {
    struct page *page;
    uint32_t page_count;
    _Alignas(64) atomic_flag lock;
    uint64_t free_count;
    struct pcp pcp[ZONE_CPUS_MAX];
} zone;

static inline void spin_lock(atomic_flag *lock)
{
    while (atomic_flag_test_and_set_explicit(lock, memory_order_acquire))
        __builtin_ia32_pause();
}

static inline void spin_unlock(atomic_flag *lock)
{
    atomic_flag_clear_explicit(lock, memory_order_release);
}

/* ---- lists ----------------------------------------------------------------------- */

static inline void list_start(uint32_t head)
{
    zone.page[head].next = head;
    zone.page[head].prev = head;
}

static inline void list_add_after(uint32_t place, uint32_t page)
{
    const uint32_t next = zone.page[place].next;
    zone.page[page].next = next;
    zone.page[page].prev = place;
    zone.page[next].prev = page;
    zone.page[place].next = page;
}

static inline void list_remove(uint32_t page)
{
    const uint32_t next = zone.page[page].next;
    const uint32_t prev = zone.page[page].prev;
    zone.page[next].prev = prev;
    zone.page[prev].next = next;
}

static inline uint32_t zone_head(unsigned order)
{
    return zone.page_count + order;
}

/* ---- the zone, locked ------------------------------------------------------------ */

static inline bool zone_is_free(uint32_t page, unsigned order)
{
    return page < zone.page_count && zone.page[page].is_free && zone.page[page].order == order;
}

static inline void zone_put(uint32_t page, unsigned order, bool at_tail)
{
    const uint32_t head = zone_head(order);
    zone.page[page].order = (uint8_t)order;
    zone.page[page].is_free = true;
    list_add_after(at_tail ? zone.page[head].prev : head, page);
}

static inline void zone_take(uint32_t page)
{
    list_remove(page);
    zone.page[page].is_free = false;
}

/* Index of a block; UINT32_MAX: none. */
static uint32_t zone_alloc_locked(unsigned order)
{
    for (unsigned from = order; from < ZONE_ORDERS; from++) {
        const uint32_t page = zone.page[zone_head(from)].next;
        if (page == zone_head(from))
            continue;
        zone_take(page);
        while (from > order) {
            from--;
            zone_put(page + (UINT32_C(1) << from), from, false);
        }
        zone.free_count -= UINT64_C(1) << order;
        return page;
    }
    return UINT32_MAX;
}

static void zone_free_locked(uint32_t page, unsigned order)
{
    zone.free_count += UINT64_C(1) << order;
    for (; order < ZONE_ORDER_MAX; order++) {
        const uint32_t buddy = page ^ (UINT32_C(1) << order);
        if (!zone_is_free(buddy, order))
            break;
        zone_take(buddy);
        page &= buddy;
    }
    const uint32_t larger_buddy = (page & ~(UINT32_C(1) << order)) ^ (UINT32_C(1) << (order + 1));
    zone_put(page, order, order + 1 < ZONE_ORDER_MAX && zone_is_free(larger_buddy, order + 1));
}

/* ---- the lists of CPUs ------------------------------------------------------------ */

static void pcp_refill(struct pcp *pcp)
{
    spin_lock(&zone.lock);
    for (; pcp->count < PCP_BATCH; pcp->count++) {
        const uint32_t page = zone_alloc_locked(0);
        if (page == UINT32_MAX)
            break;
        list_add_after(zone.page[pcp->head].prev, page);
    }
    spin_unlock(&zone.lock);
}

static void pcp_flush(struct pcp *pcp)
{
    spin_lock(&zone.lock);
    for (unsigned i = 0; i < PCP_BATCH; i++) {
        const uint32_t page = zone.page[pcp->head].prev;
        list_remove(page);
        zone_free_locked(page, 0);
    }
    pcp->count -= PCP_BATCH;
    spin_unlock(&zone.lock);
}

static inline uint32_t pcp_alloc(struct pcp *pcp)
{
    if (pcp->count == 0)
        pcp_refill(pcp);
    if (pcp->count == 0)
        return UINT32_MAX;
    const uint32_t page = zone.page[pcp->head].next;
    list_remove(page);
    pcp->count--;
    return page;
}

static inline void pcp_free(struct pcp *pcp, uint32_t page)
{
    list_add_after(pcp->head, page);
    if (++pcp->count >= PCP_HIGH)
        pcp_flush(pcp);
}

/* ---- both ------------------------------------------------------------------------- */

static inline uint64_t linux_hand_out(uint32_t page)
{
    if (page == UINT32_MAX)
        return FRAMES_NONE;
    zone.page[page].users = 1;
    return FRAMES_BASE + ((uint64_t)page << FRAME_SHIFT);
}

static uint64_t zone_alloc(unsigned order)
{
    spin_lock(&zone.lock);
    const uint32_t page = zone_alloc_locked(order);
    spin_unlock(&zone.lock);
    return linux_hand_out(page);
}

static void zone_free(uint32_t page, unsigned order)
{
    spin_lock(&zone.lock);
    zone_free_locked(page, order);
    spin_unlock(&zone.lock);
}

static uint64_t linux_alloc(unsigned order)
{
    if (order != 0)
        return zone_alloc(order);
    return linux_hand_out(pcp_alloc(&zone.pcp[frames_cpu]));
}

static void linux_free(uint64_t address, unsigned order)
{
    const uint32_t page = (uint32_t)((address - FRAMES_BASE) >> FRAME_SHIFT);
    zone.page[page].users = 0;
    if (order != 0)
        zone_free(page, order);
    else
        pcp_free(&zone.pcp[frames_cpu], page);
}

/* A CPU list that is locked already, as by an interrupted CPU, is passed by. */
static uint64_t linux_lock_alloc(unsigned order)
{
    struct pcp *pcp = &zone.pcp[frames_cpu];
    if (order != 0 || atomic_flag_test_and_set_explicit(&pcp->lock, memory_order_acquire))
        return zone_alloc(order);
    const uint32_t page = pcp_alloc(pcp);
    spin_unlock(&pcp->lock);
    return linux_hand_out(page);
}

static void linux_lock_free(uint64_t address, unsigned order)
{
    struct pcp *pcp = &zone.pcp[frames_cpu];
    const uint32_t page = (uint32_t)((address - FRAMES_BASE) >> FRAME_SHIFT);
    zone.page[page].users = 0;
    if (order != 0 || atomic_flag_test_and_set_explicit(&pcp->lock, memory_order_acquire)) {
        zone_free(page, order);
        return;
    }
    pcp_free(pcp, page);
    spin_unlock(&pcp->lock);
}

/* ---- bringing up ------------------------------------------------------------------ */

static size_t linux_metadata_bytes(uint64_t frame_count, unsigned cpu_count)
{
    return (size_t)(frame_count + ZONE_ORDERS + cpu_count) * sizeof(struct page);
}

static bool linux_init(const struct frames_setup *setup)
{
    if (setup->cpu_count > ZONE_CPUS_MAX || setup->frame_count > UINT32_MAX / 2)
        return false;
    zone.page = setup->memory;
    zone.page_count = (uint32_t)setup->frame_count;
    zone.free_count = setup->frame_count;
    atomic_flag_clear_explicit(&zone.lock, memory_order_relaxed);
    if (!setup->is_zeroed)
        memset(zone.page, 0, zone.page_count * sizeof *zone.page);
    for (unsigned order = 0; order < ZONE_ORDERS; order++)
        list_start(zone_head(order));
    for (unsigned cpu = 0; cpu < setup->cpu_count; cpu++) {
        zone.pcp[cpu].head = zone.page_count + ZONE_ORDERS + cpu;
        zone.pcp[cpu].count = 0;
        atomic_flag_clear_explicit(&zone.pcp[cpu].lock, memory_order_relaxed);
        list_start(zone.pcp[cpu].head);
    }
    for (uint32_t page = 0; page < zone.page_count;) {
        unsigned order = ZONE_ORDER_MAX;
        while (zone.page_count - page < UINT32_C(1) << order)
            order--;
        zone_put(page, order, true);
        page += UINT32_C(1) << order;
    }
    return true;
}

const struct frames_peer frames_linux[] = {
    { .name = "linux",
      .order_max = ZONE_ORDER_MAX,
      .is_shared = true,
      .metadata_bytes = linux_metadata_bytes,
      .init = linux_init,
      .alloc = linux_alloc,
      .free = linux_free },
    { .name = "linux-lock",
      .order_max = ZONE_ORDER_MAX,
      .is_shared = true,
      .metadata_bytes = linux_metadata_bytes,
      .init = linux_init,
      .alloc = linux_lock_alloc,
      .free = linux_lock_free },
    { .name = NULL },
};
