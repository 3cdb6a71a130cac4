/*
 * paging.c - see paging.h. One range engine: every operation walks its range in
 * runs, a run being neighbouring entries of one table, and descends once per run.
 *
 *     root          [ . . T . ]
 *                         |
 *     level 3       [ T . L L ]      T: table, L: leaf of 1 GiB, .: not present
 *                     |
 *     level 2       [ L L T . ]
 *                         |
 *     level 1       [ L L L L ]      the runs of a range: [L L] [L L L L] ...
 *
 * Invariants, outside the lock: no table but the root is empty; entries have no
 * bit that pte.h does not allow; tables are linked when they are filled,
 * and reused only after every CPU has dropped what it remembers of them.
 *
 * The processor sets accessed and dirty bits at any time. So an entry whose page
 * stays mapped is changed by compare-and-swap; one whose page goes is overwritten,
 * since nobody asks for its bits afterwards.
 */
#include <loam/paging.h>

#include <stdatomic.h>

#include "internal/check.h"
#include "internal/digest.h"
#include "internal/pagetable.h"
#include "internal/pte.h"
#include "internal/try.h"

/* Not with a lock held: hooks may wait for other CPUs. */
static void paging_flush(const struct loam_space *space, struct loam_virt_range range,
                         uint64_t page_size)
{
    const struct loam_tlb_flush flush = { space->root, range.start, range.size / page_size,
                                          page_size };
    loam_port_tlb_flush(&flush);
}

static enum loam_status paging_reserve(struct loam_space *space, uint64_t count, loam_phys *tables)
{
    *tables = loam_phys_none();
    return count == 0 ? LOAM_OK : loam_stock_take(space->stock, count, tables);
}

/* ---- requests ------------------------------------------------------------ */

/* Both ends canonical and in one half: then so is all between. */
static bool paging_range_is_valid(const struct loam_space *space, struct loam_virt_range range)
{
    const uint64_t start = range.start.addr;

    if (!loam_is_page_aligned(start) || !loam_is_page_aligned(range.size) || range.size == 0 ||
        !loam_range_fits(start, range.size))
        return false;
    const loam_virt last = loam_virt_at(start + (range.size - 1));
    return loam_virt_is_canonical(range.start, space->features.levels) &&
           loam_virt_is_canonical(last, space->features.levels) &&
           paging_is_lower(start) == paging_is_lower(last.addr);
}

static bool paging_attr_is_valid(struct loam_virt_range range, struct loam_attr attr)
{
    const loam_prot known = LOAM_PROT_WRITE | LOAM_PROT_EXEC | LOAM_PROT_USER | LOAM_PROT_GLOBAL;
    const loam_prot misplaced =
        paging_is_lower(range.start.addr) ? LOAM_PROT_GLOBAL : LOAM_PROT_USER;
    const loam_prot both = LOAM_PROT_WRITE | LOAM_PROT_EXEC;

    return (attr.prot & ~known) == 0 && (attr.prot & misplaced) == 0 &&
           (attr.prot & both) != both && (unsigned)attr.cache < LOAM_CACHES;
}

static bool paging_phys_is_valid(const struct loam_space *space, loam_phys phys, uint64_t size)
{
    const uint64_t limit = UINT64_C(1) << space->features.phys_bits;

    return loam_is_page_aligned(phys.addr) && phys.addr < limit && size <= limit - phys.addr;
}

enum loam_status loam_space_init(struct loam_space *space, struct loam_stock *stock,
                                 const struct loam_cpu_features *features)
{
    loam_phys frames;

    LOAM_REQUIRE(loam_hhdm_is_genuine(stock->hhdm), "paging: direct map not from a boot adapter",
                 stock->hhdm.offset, stock->hhdm.seal);
    if ((features->levels != 4 && features->levels != 5) || features->phys_bits < 32 ||
        features->phys_bits > LOAM_PHYS_BITS_MAX)
        return LOAM_INVALID;
    LOAM_TRY(loam_stock_take(stock, 1, &frames));

    __builtin_memset(space, 0, sizeof(*space)); /* the lock starts as zeroes */
    space->stock = stock;
    space->hhdm = stock->hhdm;
    space->features = *features;
    space->root = loam_stock_next(stock, &frames);
    space->table_count = 1;
    return LOAM_OK;
}

/* ---- map ----------------------------------------------------------------- */

struct paging_map {
    uint64_t virt, phys, size;
    struct loam_attr attr;
};

/* Level of the largest leaf that fits at @p done bytes into the request. */
static unsigned paging_map_level(const struct loam_space *space, const struct paging_map *map,
                                 uint64_t done)
{
    const uint64_t bits = (map->virt + done) | (map->phys + done);
    unsigned level = space->features.gib_pages ? PTE_LEAF_MAX : PTE_LEAF_MAX - 1;

    while (level > 1 && ((bits & (pte_span(level) - 1)) != 0 || map->size - done < pte_span(level)))
        level--;
    return level;
}

/* Is nothing mapped there, and how many tables are missing? A table counts at
 * the first run inside it: that of the request, or one at the table's start. */
static enum loam_status paging_map_check_locked(const struct loam_space *space,
                                                const struct paging_map *map, uint64_t *tables)
    LOAM_NEEDS(space->lock)
{
    *tables = 0;
    for (uint64_t done = 0; done < map->size;) {
        const uint64_t virt = map->virt + done;
        const unsigned level = paging_map_level(space, map, done);
        const struct paging_slot slot = paging_find_locked(space, virt, level);
        const unsigned count = paging_reach(level, pte_index(virt, level), map->size - done);
        if (pte_is_present(slot.entry)) /* a page, or a table: which holds a page */
            return LOAM_OVERLAP;
        for (unsigned i = 1; slot.level == level && i < count; i++) {
            if (paging_load(&slot.table[slot.index + i]) != 0)
                return LOAM_OVERLAP;
        }
        for (unsigned at = level + 1; at <= slot.level; at++)
            *tables += done == 0 || (virt & (pte_span(at) - 1)) == 0 ? 1 : 0;
        done += count * pte_span(level);
    }
    return LOAM_OK;
}

/* Leaves of one table that are to be. */
struct paging_run {
    uint64_t virt, first; /* first: the first entry */
    unsigned level, count;
};

/* Make them; tables that are missing are built from the bottom up. */
static void paging_place_locked(struct loam_space *space, const struct paging_run *run,
                                loam_phys *tables) LOAM_NEEDS(space->lock)
{
    const struct paging_slot slot = paging_find_locked(space, run->virt, run->level);
    const bool user = paging_is_lower(run->virt);

    if (slot.level == run->level) {
        paging_fill(&slot.table[slot.index], run->count, run->first, run->level);
        return;
    }
    uint64_t child = loam_stock_next(space->stock, tables).addr;
    paging_fill(&paging_table(space, child)[pte_index(run->virt, run->level)], run->count,
                run->first, run->level);
    for (unsigned level = run->level + 1; level < slot.level; level++) {
        const uint64_t parent = loam_stock_next(space->stock, tables).addr;
        paging_word *const word = &paging_table(space, parent)[pte_index(run->virt, level)];
        atomic_store_explicit(word, pte_table(child, user), memory_order_relaxed);
        child = parent;
    }
    /* Release: a processor that sees the link sees what was filled before. */
    atomic_store_explicit(&slot.table[slot.index], pte_table(child, user), memory_order_release);
    space->table_count += slot.level - run->level;
}

static void paging_map_commit_locked(struct loam_space *space, const struct paging_map *map,
                                     loam_phys tables) LOAM_NEEDS(space->lock)
{
    for (uint64_t done = 0; done < map->size;) {
        struct paging_run run = { .virt = map->virt + done };
        run.level = paging_map_level(space, map, done);
        run.count = paging_reach(run.level, pte_index(run.virt, run.level), map->size - done);
        run.first = (map->phys + done) | pte_attr_bits(&space->features, run.level, map->attr);
        paging_place_locked(space, &run, &tables);
        done += run.count * pte_span(run.level);
    }
    LOAM_ASSERT(loam_phys_is_none(tables));
}

enum loam_status loam_space_map(struct loam_space *space, struct loam_virt_range virt,
                                loam_phys phys, struct loam_attr attr)
{
    const struct paging_map map = { virt.start.addr, phys.addr, virt.size, attr };
    loam_phys tables = loam_phys_none();
    uint64_t missing;

    if (!paging_range_is_valid(space, virt) || !paging_attr_is_valid(virt, attr) ||
        !paging_phys_is_valid(space, phys, virt.size))
        return LOAM_INVALID;

    const loam_irq_state irq = loam_ticketlock_acquire_irq(&space->lock);
    enum loam_status st = paging_map_check_locked(space, &map, &missing);
    if (st == LOAM_OK)
        st = paging_reserve(space, missing, &tables);
    if (st == LOAM_OK)
        paging_map_commit_locked(space, &map, tables);
    const bool stale = st == LOAM_OK && space->flushing_count != 0;
    loam_ticketlock_release_irq(&space->lock, irq);

    /* Another CPU's unmap has not flushed yet: some CPU may still remember a
     * table that it unlinked, and would not find these pages through it. */
    if (stale)
        paging_flush(space, virt, LOAM_PAGE_SIZE);
    return st;
}

/* ---- what unmap and protect share ---------------------------------------- */

/* Level of the leaf that @p boundary cuts in two; 1: it cuts none. */
static unsigned paging_cut_level_locked(const struct loam_space *space, uint64_t boundary)
    LOAM_NEEDS(space->lock)
{
    const struct paging_slot slot = paging_find_locked(space, boundary, 1);
    const bool cut = pte_is_present(slot.entry) && (boundary & (pte_span(slot.level) - 1)) != 0;

    return cut ? slot.level : 1;
}

/* Is all of the range mapped, and how many tables do the splits at its two edges
 * take? One split serves both edges where they cut the same page. */
static enum loam_status paging_cover_check_locked(const struct loam_space *space,
                                                  struct loam_virt_range range, uint64_t *tables)
    LOAM_NEEDS(space->lock)
{
    const uint64_t start = range.start.addr;
    const uint64_t end = start + range.size; /* 0 for 2^64: on the boundary of everything */

    for (uint64_t done = 0; done < range.size;) {
        const struct paging_slot slot = paging_find_locked(space, start + done, 1);
        const unsigned count = paging_leaves_locked(space, &slot, start + done, range.size - done);
        if (count == 0)
            return LOAM_NOT_FOUND;
        done += paging_covered(&slot, start + done, count);
    }

    const unsigned start_level = paging_cut_level_locked(space, start);
    const unsigned end_level = paging_cut_level_locked(space, end);
    *tables = 0;
    for (unsigned level = 2; level <= PTE_LEAF_MAX; level++) {
        const bool at_start = level <= start_level && (start & (pte_span(level) - 1)) != 0;
        const bool at_end = level <= end_level && (end & (pte_span(level) - 1)) != 0;
        const bool same = (start ^ end) >> pte_shift(level) == 0;
        *tables +=
            (at_start ? 1u : 0u) + (at_end ? 1u : 0u) - (at_start && at_end && same ? 1u : 0u);
    }
    return LOAM_OK;
}

/* Replace leaves until none reaches over @p boundary. */
static void paging_split_locked(struct loam_space *space, uint64_t boundary, loam_phys *tables)
    LOAM_NEEDS(space->lock)
{
    for (unsigned level = paging_cut_level_locked(space, boundary); level > 1;
         level = paging_cut_level_locked(space, boundary)) {
        const struct paging_slot slot = paging_find_locked(space, boundary, level);
        const uint64_t child = loam_stock_next(space->stock, tables).addr;
        const uint64_t link = pte_table(child, paging_is_lower(boundary));
        uint64_t entry = slot.entry;
        /* At most three times: the processor has two bits to set in between. */
        do {
            paging_fill(paging_table(space, child), PTE_COUNT, pte_split(entry, level), level - 1);
        } while (!atomic_compare_exchange_strong_explicit(
            &slot.table[slot.index], &entry, link, memory_order_release, memory_order_relaxed));
        space->table_count++;
    }
}

/* All pages are there; have tables for the splits, then split. */
static enum loam_status paging_prepare_locked(struct loam_space *space,
                                              struct loam_virt_range range) LOAM_NEEDS(space->lock)
{
    loam_phys tables;
    uint64_t missing;

    LOAM_TRY(paging_cover_check_locked(space, range, &missing));
    LOAM_TRY(paging_reserve(space, missing, &tables));
    paging_split_locked(space, range.start.addr, &tables);
    paging_split_locked(space, range.start.addr + range.size, &tables);
    LOAM_ASSERT(loam_phys_is_none(tables));
    return LOAM_OK;
}

/* Unlink the table of @p level that held @p virt if it is empty, then the one
 * above it, and so on. Until the flush a processor may still walk them: so they
 * are chained through their first words by page addresses, which read as "not
 * present". 0 ends the chain. */
static void paging_prune_locked(struct loam_space *space, uint64_t virt, unsigned level,
                                uint64_t *unlinked) LOAM_NEEDS(space->lock)
{
    for (; level < space->features.levels; level++) {
        const struct paging_slot above = paging_find_locked(space, virt, level + 1);
        const uint64_t phys = pte_table_phys(above.entry);
        paging_word *const table = paging_table(space, phys);
        if (!paging_is_empty(table, pte_index(virt, level)))
            return;
        atomic_store_explicit(&above.table[above.index], 0, memory_order_relaxed);
        atomic_store_explicit(&table[0], *unlinked, memory_order_relaxed);
        *unlinked = phys;
        space->table_count--;
    }
}

/* Change leaves and lose nothing that the processor adds meanwhile. */
static void paging_protect(paging_word *leaf, unsigned count, unsigned level, uint64_t attr_bits)
{
    for (unsigned i = 0; i < count; i++) {
        uint64_t entry = paging_load(&leaf[i]);
        uint64_t want;
        do {
            want = pte_protect(entry, level, attr_bits);
        } while (!atomic_compare_exchange_weak_explicit(
            &leaf[i], &entry, want, memory_order_relaxed, memory_order_relaxed));
    }
}

/* Give all leaves of a prepared range other attributes, or with @p attr NULL
 * remove them. @return size of the smallest */
static uint64_t paging_apply_locked(struct loam_space *space, struct loam_virt_range range,
                                    const struct loam_attr *attr, uint64_t *unlinked)
    LOAM_NEEDS(space->lock)
{
    uint64_t smallest = pte_span(PTE_LEAF_MAX);

    for (uint64_t done = 0; done < range.size;) {
        const uint64_t virt = range.start.addr + done;
        const struct paging_slot slot = paging_find_locked(space, virt, 1);
        const unsigned count = paging_leaves_locked(space, &slot, virt, range.size - done);
        paging_word *const leaf = &slot.table[slot.index];
        const uint64_t last = virt + (paging_covered(&slot, virt, count) - 1);
        if (attr != NULL) {
            paging_protect(leaf, count, slot.level,
                           pte_attr_bits(&space->features, slot.level, *attr));
        } else {
            for (unsigned i = 0; i < count; i++)
                atomic_store_explicit(&leaf[i], 0, memory_order_relaxed);
            paging_prune_locked(space, last, slot.level, unlinked);
        }
        if (pte_span(slot.level) < smallest)
            smallest = pte_span(slot.level);
        done = last - range.start.addr + 1;
    }
    return smallest;
}

/* ---- unmap --------------------------------------------------------------- */

static void paging_give_back(const struct loam_space *space, uint64_t unlinked)
{
    while (unlinked != 0) {
        const uint64_t next = paging_load(&paging_table(space, unlinked)[0]);
        loam_stock_put(space->stock, loam_phys_at(unlinked));
        unlinked = next;
    }
}

enum loam_status loam_space_unmap(struct loam_space *space, struct loam_virt_range virt)
{
    uint64_t unlinked = 0;
    uint64_t page_size = 0;

    if (!paging_range_is_valid(space, virt))
        return LOAM_INVALID;

    loam_irq_state irq = loam_ticketlock_acquire_irq(&space->lock);
    const enum loam_status st = paging_prepare_locked(space, virt);
    if (st == LOAM_OK) {
        page_size = paging_apply_locked(space, virt, NULL, &unlinked);
        space->flushing_count++;
    }
    loam_ticketlock_release_irq(&space->lock, irq);
    if (st != LOAM_OK)
        return st;

    paging_flush(space, virt, page_size);
    irq = loam_ticketlock_acquire_irq(&space->lock);
    space->flushing_count--;
    loam_ticketlock_release_irq(&space->lock, irq);
    paging_give_back(space, unlinked);
    return LOAM_OK;
}

/* ---- protect ------------------------------------------------------------- */

enum loam_status loam_space_protect(struct loam_space *space, struct loam_virt_range virt,
                                    struct loam_attr attr)
{
    uint64_t page_size = 0;

    if (!paging_range_is_valid(space, virt) || !paging_attr_is_valid(virt, attr))
        return LOAM_INVALID;

    const loam_irq_state irq = loam_ticketlock_acquire_irq(&space->lock);
    const enum loam_status st = paging_prepare_locked(space, virt);
    if (st == LOAM_OK)
        page_size = paging_apply_locked(space, virt, &attr, NULL);
    loam_ticketlock_release_irq(&space->lock, irq);

    if (st == LOAM_OK)
        paging_flush(space, virt, page_size);
    return st;
}

/* ---- looking ------------------------------------------------------------- */

enum loam_status loam_space_query(struct loam_space *space, loam_virt virt,
                                  struct loam_translation *out)
{
    if (!loam_virt_is_canonical(virt, space->features.levels))
        return LOAM_INVALID;

    const loam_irq_state irq = loam_ticketlock_acquire_irq(&space->lock);
    const struct paging_slot slot = paging_find_locked(space, virt.addr, 1);
    loam_ticketlock_release_irq(&space->lock, irq);
    if (!pte_is_present(slot.entry))
        return LOAM_NOT_FOUND;

    const uint64_t span = pte_span(slot.level);
    out->phys = loam_phys_at(pte_leaf_phys(slot.entry, slot.level) + (virt.addr & (span - 1)));
    out->attr = pte_attr(&space->features, slot.entry, slot.level);
    out->page_size = span;
    return LOAM_OK;
}

/* Lowest mapped address at or above @p virt. Each round goes one level down, or
 * on to an entry that is in use: no table is empty, so there are few. */
static bool paging_next_locked(const struct loam_space *space, uint64_t *virt)
    LOAM_NEEDS(space->lock)
{
    const unsigned top = pte_shift(space->features.levels + 1) - 1; /* the sign bit */

    if (!loam_virt_is_canonical(loam_virt_at(*virt), space->features.levels))
        *virt = UINT64_MAX << top;
    for (;;) {
        const struct paging_slot slot = paging_find_locked(space, *virt, 1);
        unsigned index = slot.index;
        if (pte_is_present(slot.entry))
            return true;
        while (index < PTE_COUNT && paging_load(&slot.table[index]) == 0)
            index++;
        if (index == PTE_COUNT && slot.level == space->features.levels)
            return false;
        const uint64_t table_start = *virt & ~(pte_span(slot.level + 1) - 1);
        *virt = table_start + index * pte_span(slot.level);
        if (*virt == 0) /* past the last table */
            return false;
        if ((*virt >> top & 1) != 0) /* over the hole */
            *virt |= UINT64_MAX << top;
    }
}

/* Bytes from @p page on that go on as the leaf @p first there does. */
static uint64_t paging_extent_locked(const struct loam_space *space, uint64_t page,
                                     const struct paging_slot *first) LOAM_NEEDS(space->lock)
{
    const uint64_t span = pte_span(first->level);
    const uint64_t want = first->entry & ~PTE_HARDWARE;
    uint64_t size = span;

    for (;;) {
        const uint64_t virt = page + size; /* at the start of a table but the first time */
        if (virt == 0 || !loam_virt_is_canonical(loam_virt_at(virt), space->features.levels))
            return size;
        const struct paging_slot slot = paging_find_locked(space, virt, first->level);
        if (slot.level != first->level)
            return size;
        unsigned index = slot.index;
        for (; index < PTE_COUNT; index++, size += span) {
            if ((paging_load(&slot.table[index]) & ~PTE_HARDWARE) != want + size)
                return size;
        }
    }
}

enum loam_status loam_space_next(struct loam_space *space, loam_virt from, struct loam_mapping *out)
{
    uint64_t virt = from.addr;
    struct paging_slot slot = { NULL, 0, 0, 0 };
    uint64_t size = 0;

    const loam_irq_state irq = loam_ticketlock_acquire_irq(&space->lock);
    const bool found = paging_next_locked(space, &virt);
    if (found) {
        slot = paging_find_locked(space, virt, 1);
        virt &= ~(pte_span(slot.level) - 1);
        size = paging_extent_locked(space, virt, &slot);
    }
    loam_ticketlock_release_irq(&space->lock, irq);
    if (!found)
        return LOAM_NOT_FOUND;

    out->virt = loam_virt_range_of(loam_virt_at(virt), size);
    out->phys = loam_phys_at(pte_leaf_phys(slot.entry, slot.level));
    out->attr = pte_attr(&space->features, slot.entry, slot.level);
    out->page_size = pte_span(slot.level);
    return LOAM_OK;
}

/* ---- audit and digest ---------------------------------------------------- */

static const char *paging_audit_leaf(const struct paging_tour *tour)
{
    const struct loam_attr attr = pte_attr(&tour->space->features, tour->entry, tour->level);
    const loam_prot both = LOAM_PROT_WRITE | LOAM_PROT_EXEC;

    if ((unsigned)attr.cache >= LOAM_CACHES)
        return "paging: cache type that is never used";
    if (tour->space->features.nx && (attr.prot & both) == both)
        return "paging: page is writable and executable";
    if (paging_is_lower(tour->virt) && (attr.prot & LOAM_PROT_GLOBAL) != 0)
        return "paging: global page in the lower half";
    if (!paging_is_lower(tour->virt) && (attr.prot & LOAM_PROT_USER) != 0)
        return "paging: user page in the higher half";
    return NULL;
}

static const char *paging_audit_entry(const struct paging_tour *tour)
{
    const uint64_t entry = tour->entry;

    if (!pte_is_present(entry))
        return "paging: entry is not present and not zero";
    if (!pte_is_ours(&tour->space->features, entry, tour->level))
        return "paging: entry has a bit that is reserved or never used";
    if (pte_is_leaf(entry, tour->level))
        return paging_audit_leaf(tour);
    if ((entry & ~PTE_ACCESSED) != pte_table(pte_table_phys(entry), paging_is_lower(tour->virt)))
        return "paging: table without the rights that its half has";
    return NULL;
}

const char *loam_space_audit(const struct loam_space *space)
{
    struct paging_tour tour = { .space = space };
    uint64_t tables = 1;

    if (!loam_hhdm_is_genuine(space->hhdm))
        return "paging: direct map not from a boot adapter";
    if (space->flushing_count != 0)
        return "paging: a flush is pending";
    paging_tour_enter(&tour, space->features.levels, space->root.addr);
    while (paging_tour_next(&tour)) {
        const char *const broken = paging_audit_entry(&tour);
        if (broken != NULL)
            return broken;
        if (pte_is_leaf(tour.entry, tour.level))
            continue;
        if (++tables > space->table_count) /* a cycle ends here, too */
            return "paging: more tables than counted, or one reached twice";
        const uint64_t phys = pte_table_phys(tour.entry);
        if (paging_is_empty(paging_table(space, phys), 0))
            return "paging: empty table";
        paging_tour_enter(&tour, tour.level - 1, phys);
    }
    return tables == space->table_count ? NULL : "paging: fewer tables than counted";
}

uint64_t loam_space_digest(const struct loam_space *space)
{
    struct paging_tour tour = { .space = space };
    uint64_t digest = loam_digest_add(LOAM_DIGEST_START, space->table_count);

    paging_tour_enter(&tour, space->features.levels, space->root.addr);
    while (paging_tour_next(&tour)) {
        if (!pte_is_leaf(tour.entry, tour.level)) {
            paging_tour_enter(&tour, tour.level - 1, pte_table_phys(tour.entry));
            continue;
        }
        digest = loam_digest_add(digest, tour.virt | tour.level);
        digest = loam_digest_add(digest, tour.entry & ~PTE_HARDWARE);
    }
    return digest;
}
