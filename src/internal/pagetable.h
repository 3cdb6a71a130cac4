/*
 * pagetable.h - tables as they lie in memory: finding an entry, filling, and a
 * tour of a whole tree. No writes but paging_fill()'s.
 */
#ifndef LOAM_INTERNAL_PAGETABLE_H
#define LOAM_INTERNAL_PAGETABLE_H

#include <loam/paging.h>

#include <stdatomic.h>

#include "check.h"
#include "pte.h"

typedef _Atomic(uint64_t) paging_word;

/* One entry and where it is. */
struct paging_slot {
    paging_word *table;
    unsigned level; /* of the table */
    unsigned index;
    uint64_t entry; /* as read */
};

static inline paging_word *paging_table(const struct loam_space *space, uint64_t phys)
{
    return loam_hhdm_pointer(space->hhdm, loam_phys_at(phys));
}

static inline uint64_t paging_load(const paging_word *word)
{
    return atomic_load_explicit(word, memory_order_relaxed);
}

/* The lower half is user space: its tables admit user pages. */
static inline bool paging_is_lower(uint64_t virt)
{
    return virt >> 63 == 0;
}

static inline void paging_require_ours(const struct loam_space *space, uint64_t entry,
                                       unsigned level, unsigned index)
{
    LOAM_REQUIRE(pte_is_ours(&space->features, entry, level),
                 "paging: corrupt entry (entry; level * 512 + index)", entry,
                 level * PTE_COUNT + index);
}

/* Descend towards @p virt: to the table of level @p stop, or to the first entry
 * on the way that is no table. */
static inline struct paging_slot paging_find_locked(const struct loam_space *space, uint64_t virt,
                                                    unsigned stop) LOAM_NEEDS(space->lock)
{
    uint64_t at = space->root.addr;

    for (unsigned level = space->features.levels;; level--) {
        LOAM_ASSERT(level >= 1); /* entries of level 1 are leaves */
        paging_word *const table = paging_table(space, at);
        const unsigned index = pte_index(virt, level);
        const struct paging_slot slot = { table, level, index, paging_load(&table[index]) };
        paging_require_ours(space, slot.entry, level, index);
        if (level == stop || !pte_is_present(slot.entry) || pte_is_leaf(slot.entry, level))
            return slot;
        LOAM_REQUIRE(pte_table_phys(slot.entry) != at,
                     "paging: table points to itself (entry; level * 512 + index)", slot.entry,
                     level * PTE_COUNT + index);
        at = pte_table_phys(slot.entry);
    }
}

/* Entries from @p index on in a table of @p level that a range with @p left
 * bytes reaches, the first from its start. */
static inline unsigned paging_reach(unsigned level, unsigned index, uint64_t left)
{
    const uint64_t count = left >> pte_shift(level);
    const unsigned room = PTE_COUNT - index;

    return count < room ? (unsigned)count : room;
}

/* @p count leaves of @p level that map neighbouring memory. */
static inline void paging_fill(paging_word *entry, unsigned count, uint64_t first, unsigned level)
{
    for (unsigned i = 0; i < count; i++)
        atomic_store_explicit(&entry[i], first + i * pte_span(level), memory_order_relaxed);
}

/* Is every entry zero? Looks behind @p index first: work on a table goes upwards,
 * so what is still there is found at once. Then by cache lines. */
static inline bool paging_is_empty(const paging_word *table, unsigned index)
{
    if (paging_load(&table[(index + 1) % PTE_COUNT]) != 0)
        return false;
    for (unsigned line = 0; line < PTE_COUNT; line += 8) {
        uint64_t bits = 0;
        for (unsigned i = 0; i < 8; i++)
            bits |= paging_load(&table[line + i]);
        if (bits != 0)
            return false;
    }
    return true;
}

/* Neighbouring leaves of one table, the first of which holds @p virt. 0: there
 * is nothing mapped. Up to the one that holds the last of @p left bytes. */
static inline unsigned paging_leaves_locked(const struct loam_space *space,
                                            const struct paging_slot *slot, uint64_t virt,
                                            uint64_t left) LOAM_NEEDS(space->lock)
{
    const uint64_t span = pte_span(slot->level);
    const uint64_t reach = left + (virt & (span - 1)) + (span - 1);
    const unsigned count_max = paging_reach(slot->level, slot->index, reach);
    const uint64_t foreign = ~pte_allowed_leaf(&space->features, slot->level);
    unsigned count = 0;

    for (; count < count_max; count++) {
        const uint64_t entry = paging_load(&slot->table[slot->index + count]);
        if (!pte_is_present(entry) || !pte_is_leaf(entry, slot->level))
            break;
        if ((entry & foreign) != 0)
            paging_require_ours(space, entry, slot->level, slot->index + count);
    }
    return count;
}

/* Bytes of a range that @p count leaves from the one that holds @p virt cover;
 * perhaps more than the range has left. */
static inline uint64_t paging_covered(const struct paging_slot *slot, uint64_t virt, unsigned count)
{
    const uint64_t span = pte_span(slot->level);
    return count * span - (virt & (span - 1));
}

/* A visit of all entries that are not zero, tables before what is in them. */
struct paging_tour {
    const struct loam_space *space;
    unsigned level; /* of the table we are in */
    const paging_word *table[PTE_LEVEL_MAX + 1];
    unsigned index[PTE_LEVEL_MAX + 1]; /* next entry, by level */
    uint64_t entry, virt;              /* of the visit */
};

static inline void paging_tour_enter(struct paging_tour *tour, unsigned level, uint64_t phys)
{
    tour->level = level;
    tour->table[level] = paging_table(tour->space, phys);
    tour->index[level] = 0;
}

/* @return false: all were visited */
static inline bool paging_tour_next(struct paging_tour *tour)
{
    const unsigned levels = tour->space->features.levels;
    const unsigned top = pte_shift(levels + 1) - 1; /* the sign bit */

    while (tour->level <= levels) {
        if (tour->index[tour->level] == PTE_COUNT) {
            tour->level++; /* done here: go on in the table above */
            continue;
        }
        tour->entry = paging_load(&tour->table[tour->level][tour->index[tour->level]++]);
        if (tour->entry == 0)
            continue;
        tour->virt = 0;
        for (unsigned level = tour->level; level <= levels; level++)
            tour->virt |= (uint64_t)(tour->index[level] - 1) << pte_shift(level);
        if ((tour->virt >> top & 1) != 0)
            tour->virt |= UINT64_MAX << top;
        return true;
    }
    return false;
}

#endif
