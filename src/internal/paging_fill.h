/*
 * paging_fill.h - put entries where there are none: map, hold, tag.
 *
 *     missing tables   built from the bottom up, and linked when they are filled;
 *                      one that is filled as a whole is not cleared before
 *     their number     computed, not counted, for all that is under one empty entry
 */
#ifndef LOAM_INTERNAL_PAGING_FILL_H
#define LOAM_INTERNAL_PAGING_FILL_H

#include "paging_edit.h"

/* Level of the largest entry that fits at @p done bytes into the range. */
static inline unsigned paging_fill_level(const struct paging_edit *edit, uint64_t done)
{
    const uint64_t bits = (edit->virt + done) | (edit->phys + done);
    unsigned level = edit->level_max;

    while (level > 1 &&
           ((bits & (pte_span(level) - 1)) != 0 || edit->size - done < pte_span(level)))
        level--;
    return level;
}

/* Tables that @p size bytes from @p virt on take if nothing is there: all lies under one
 * entry of @p top. A region that is covered as a whole takes none where one entry, or one
 * above it, can map all of it. */
static inline uint64_t paging_fill_tables(const struct paging_edit *edit, uint64_t virt,
                                          uint64_t size, unsigned top)
{
    const uint64_t from = virt & (pte_span(top) - 1);
    const uint64_t to = from + size;
    const uint64_t skew = edit->virt - edit->phys;
    uint64_t tables = 0;

    for (unsigned level = 2; level <= top; level++) {
        const unsigned shift = pte_shift(level);
        const uint64_t touched = ((to - 1) >> shift) - (from >> shift) + 1;
        const uint64_t first = (from + pte_span(level) - 1) >> shift;
        const uint64_t inside = to >> shift > first ? (to >> shift) - first : 0;
        const bool one_entry = level <= edit->level_max && (skew & (pte_span(level) - 1)) == 0;
        tables += touched - (one_entry ? inside : 0);
    }
    return tables;
}

/* A table of level 2 that another CPU has just emptied, and not yet unlinked. */
static inline bool paging_fill_is_left(const struct paging_slot *slot)
{
    return slot->level == 3 && pte_is_present(slot->entry) && !pte_is_leaf(slot->entry, 3) &&
           pte_in_use(slot->entry) == 0;
}

/* Of @p count entries from the slot's on, the first of which is empty: how many are, if
 * they are followed by nothing but such a table; 0: some is in use. */
static inline unsigned paging_fill_free_run(const struct paging_slot *slot, unsigned count)
{
    uint64_t used = 0;

    for (unsigned i = 1; i < count; i++)
        used |= paging_load(&slot->table[slot->index + i]);
    for (unsigned i = 1; used != 0 && i < count; i++) {
        const uint64_t entry = paging_load(&slot->table[slot->index + i]);
        const struct paging_slot at = { slot->table, slot->level, slot->index + i, entry };
        if (entry != 0)
            return paging_fill_is_left(&at) ? i : 0;
    }
    return count;
}

static inline enum loam_status paging_fill_check_locked(struct paging_edit *edit)
    LOAM_NEEDS(edit->walk.space->locks)
{
    for (uint64_t done = 0; done < edit->size;) {
        const uint64_t virt = edit->virt + done;
        const uint64_t left = edit->size - done;
        const unsigned level = paging_fill_level(edit, done);
        const struct paging_slot slot = paging_find_locked(&edit->walk, virt, level);
        const uint64_t room = pte_span(slot.level) - (virt & (pte_span(slot.level) - 1));
        edit->wants_all = edit->wants_all || slot.level > 2;
        if (paging_fill_is_left(&slot) && edit->stripes == PAGING_ALL) {
            paging_prune_locked(edit, 2);
            continue;
        }
        if (slot.entry != 0 && !paging_fill_is_left(&slot))
            return LOAM_OVERLAP; /* a page, a mark, or a table: which has one */
        if (slot.level > level) {
            const uint64_t size = left < room ? left : room;
            edit->tables += paging_fill_tables(edit, virt, size, slot.level);
            done += size;
            continue;
        }
        const unsigned count = paging_fill_free_run(&slot, paging_reach(level, slot.index, left));
        if (count == 0)
            return LOAM_OVERLAP;
        done += count * pte_span(level);
    }
    return LOAM_OK;
}

/* The entries of one run. */
static inline void paging_fill_run(const struct paging_edit *edit, paging_word *entry,
                                   unsigned count, unsigned level, uint64_t done)
{
    const uint64_t first = done >> LOAM_PAGE_SHIFT;
    const uint64_t span = pte_span(level);
    const uint64_t bits = edit->bits[level];

    switch ((int)edit->verb) { /* the other verbs do not come here */
    case PAGING_MAP:
        for (uint64_t at = (edit->phys + done) | bits, i = 0; i < count; i++, at += span)
            paging_store(&entry[i], at);
        return;
    case PAGING_MAP_FRAMES:
        for (unsigned i = 0; i < count; i++)
            paging_store(&entry[i], edit->frame[first + i].addr | bits);
        return;
    case PAGING_HOLD:
        for (unsigned i = 0; i < count && edit->frame != NULL; i++)
            paging_store(&entry[i], pte_hold(edit->frame[first + i].addr));
        for (unsigned i = 0; i < count && edit->frame == NULL; i++)
            paging_store(&entry[i], pte_hold(edit->phys + done + i * span));
        return;
    default: /* PAGING_TAG */
        for (unsigned i = 0; i < count; i++)
            paging_store(&entry[i], edit->mark);
        return;
    }
}

/* Zero part of a new table. */
static inline void paging_fill_zero(paging_word *entry, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        paging_store(&entry[i], 0);
}

/* A run for which tables are missing, from the slot's entry down to @p level. */
static inline void paging_fill_build_locked(struct paging_edit *edit,
                                            const struct paging_slot *slot, unsigned level,
                                            uint64_t done) LOAM_NEEDS(edit->walk.space->locks)
{
    struct loam_space *const space = edit->walk.space;
    const uint64_t virt = edit->virt + done;
    const unsigned index = pte_index(virt, level);
    const unsigned count = paging_reach(level, index, edit->size - done);
    const bool user = paging_is_lower(virt);
    const bool mixed = level == 1 && edit->verb >= PAGING_HOLD;
    uint64_t child = loam_stock_next_raw(space->stock, &edit->list).addr;
    paging_word *const table = paging_table(space, child);

    paging_fill_zero(table, index);
    paging_fill_run(edit, &table[index], count, level, done);
    paging_fill_zero(&table[index + count], PTE_COUNT - index - count);
    uint64_t link = pte_table(child, user) | count * PTE_ONE | (mixed ? PTE_MIXED : 0);
    for (unsigned above = level + 1; above < slot->level; above++) {
        child = loam_stock_next(space->stock, &edit->list).addr;
        paging_store(&paging_table(space, child)[pte_index(virt, above)], link);
        link = pte_table(child, user) | PTE_ONE;
    }
    paging_relink_locked(&edit->walk, slot->level - 1, link);
    (void)paging_count_locked(&edit->walk, slot->level, 1);
    atomic_fetch_add_explicit(&space->table_count, slot->level - level, memory_order_relaxed);
    if (slot->level == 2)
        paging_remember_locked(&edit->walk);
}

static inline void paging_fill_commit_locked(struct paging_edit *edit)
    LOAM_NEEDS(edit->walk.space->locks)
{
    for (uint64_t done = 0; done < edit->size;) {
        const uint64_t virt = edit->virt + done;
        const unsigned level = paging_fill_level(edit, done);
        const struct paging_slot slot = paging_find_locked(&edit->walk, virt, level);
        const unsigned count = paging_reach(level, pte_index(virt, level), edit->size - done);
        done += count * pte_span(level);
        if (slot.level > level) {
            paging_fill_build_locked(edit, &slot, level, done - count * pte_span(level));
            continue;
        }
        paging_fill_run(edit, &slot.table[slot.index], count, level,
                        done - count * pte_span(level));
        (void)paging_count_locked(&edit->walk, level, (int)count);
        if (level == 1) {
            paging_word *const link = paging_link_of(&edit->walk, 1);
            if (edit->verb >= PAGING_HOLD)
                paging_store(link, paging_load(link) | PTE_MIXED);
            paging_remember_locked(&edit->walk);
        }
        paging_note_merge_locked(edit, level);
    }
}

#endif
