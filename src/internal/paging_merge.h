/*
 * paging_merge.h - a table that was made by a split, and whose entries are alike again,
 * becomes one large entry again.
 *
 * The entries are not changed, and the table is not used for anything else until every
 * CPU has flushed: a processor that still walks it finds what the large entry says.
 * What it sets there meanwhile is lost: so a page of the lower half counts as
 * accessed, and as dirty where it is writable.
 */
#ifndef LOAM_INTERNAL_PAGING_MERGE_H
#define LOAM_INTERNAL_PAGING_MERGE_H

#include "paging_edit.h"

#define PAGING_DEAD_MAX 8u

/* The search for such tables in [at, last], a GiB at a time. */
struct paging_merge {
    uint64_t at, last;
    uint64_t dead[PAGING_DEAD_MAX]; /* tables that were replaced */
    unsigned dead_count;
    bool ended;
};

/* The large entry that says what a full table of @p level says; 0: none does. Held frames
 * stay as they are: who collects some of them has no table to split a large entry with. */
static inline uint64_t paging_merge_entry(const struct loam_space *space, const paging_word *table,
                                          unsigned level)
{
    const bool present = pte_is_present(paging_load(&table[0]));
    const uint64_t ignored = present ? PTE_HARDWARE : 0;
    const uint64_t first = paging_load(&table[0]) & ~ignored;
    uint64_t set = 0;

    if (paging_kind(first) == LOAM_ENTRY_HELD ||
        (present && (!pte_is_leaf(first, level) || (level == 2 && !space->features.gib_pages) ||
                     (pte_leaf_phys(first, level) & (pte_span(level + 1) - 1)) != 0)))
        return 0;
    for (unsigned i = 0; i < PTE_COUNT; i++) {
        const uint64_t entry = paging_load(&table[i]);
        if ((entry & ~ignored) != first + i * pte_step(first, level))
            return 0;
        set |= entry & ignored;
    }
    if (present)
        set |= PTE_ACCESSED | ((first & PTE_WRITE) != 0 ? PTE_DIRTY : 0);
    return pte_merge(first, level) | set;
}

/* The table of @p level on the way to @p virt, if it is one of those. */
static inline void paging_merge_table_locked(struct paging_walk *walk, struct paging_merge *merge,
                                             uint64_t virt, unsigned level)
    LOAM_NEEDS(walk->space->locks)
{
    const struct paging_slot slot = paging_find_locked(walk, virt, level + 1);

    if (slot.level != level + 1 || !pte_is_present(slot.entry) ||
        pte_is_leaf(slot.entry, slot.level) || (slot.entry & PTE_WAS_SPLIT) == 0 ||
        pte_in_use(slot.entry) != PTE_COUNT)
        return;
    const uint64_t phys = pte_table_phys(slot.entry);
    const uint64_t entry = paging_merge_entry(walk->space, paging_table(walk->space, phys), level);
    if (entry == 0)
        return;
    paging_relink_locked(walk, level, entry);
    if (merge->dead_count == 0)
        atomic_fetch_add(&walk->space->flushing_count, 1);
    merge->dead[merge->dead_count++] = phys;
    atomic_fetch_sub_explicit(&walk->space->table_count, 1, memory_order_relaxed);
}

/* Go on after the entry that covers merge->at. */
static inline void paging_merge_skip(const struct paging_walk *walk, struct paging_merge *merge,
                                     unsigned level)
{
    const unsigned top = pte_shift(walk->space->features.levels + 1) - 1; /* the sign bit */

    const uint64_t last = merge->at | (pte_span(level) - 1);
    merge->ended = last >= merge->last;
    merge->at = last + 1;
    if ((merge->at >> top & 1) != 0) /* over the hole */
        merge->at |= UINT64_MAX << top;
}

/* Merge what there is in the GiB of merge->at; on to the next one if that is done, and
 * over all that has no table of level 2. */
static inline void paging_merge_gib_locked(struct paging_walk *walk, struct paging_merge *merge)
    LOAM_NEEDS(walk->space->locks)
{
    const uint64_t gib = merge->at & ~(pte_span(3) - 1);
    const uint64_t gib_last = gib + (pte_span(3) - 1);
    const uint64_t last = gib_last < merge->last ? gib_last : merge->last;
    const struct paging_slot slot = paging_find_locked(walk, merge->at, 3);

    if (slot.level > 3 || !pte_is_present(slot.entry) || pte_is_leaf(slot.entry, 3)) {
        paging_merge_skip(walk, merge, slot.level);
        return;
    }
    for (uint64_t at = merge->at; merge->dead_count < PAGING_DEAD_MAX - 1;) {
        paging_merge_table_locked(walk, merge, at, 1);
        const uint64_t region_last = at | (pte_span(2) - 1);
        merge->at = region_last + 1;
        if (region_last >= last)
            break;
        at = merge->at;
    }
    if (merge->dead_count == PAGING_DEAD_MAX - 1 && merge->at != 0 && merge->at <= last)
        return;
    paging_merge_table_locked(walk, merge, gib, 2);
    merge->at = gib;
    paging_merge_skip(walk, merge, 3);
}

/* Merge some. @return false: there was nothing left; true: flush merge's range, give the
 * dead tables back, and call again */
static inline bool paging_merge_some(struct loam_space *space,
                                     struct paging_merge *merge) LOAM_UNCHECKED
{
    struct paging_walk walk;

    merge->dead_count = 0;
    while (!merge->ended && merge->dead_count == 0) {
        const loam_irq_state irq = paging_lock(space, PAGING_ALL);
        paging_walk_begin(&walk, space);
        paging_merge_gib_locked(&walk, merge);
        paging_unlock(space, PAGING_ALL, irq);
    }
    return merge->dead_count != 0;
}

#endif
