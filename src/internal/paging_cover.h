/*
 * paging_cover.h - change entries that are all there: unmap, protect and the like.
 *
 * The processor sets accessed and dirty bits at any time. An entry in which both are
 * set, or that cannot become dirty, is changed by a plain store, others by
 * compare-and-swap; one whose page goes is overwritten, since nobody asks for its
 * bits afterwards.
 */
#ifndef LOAM_INTERNAL_PAGING_COVER_H
#define LOAM_INTERNAL_PAGING_COVER_H

#include "paging_edit.h"

static inline bool paging_cover_takes(const struct paging_edit *edit, uint64_t entry,
                                      unsigned level)
{
    if (pte_is_present(entry) && !pte_is_leaf(entry, level))
        return false;
    if (edit->verb == PAGING_SWAP_IN)
        return entry == edit->mark;
    return (edit->kinds & PAGING_KIND(paging_kind(entry))) != 0;
}

/* Neighbouring entries of one table that can be changed, the first of which holds
 * @p virt: up to the one that holds the last of @p left bytes. 0: the first cannot. */
static inline unsigned paging_cover_run_locked(struct paging_edit *edit,
                                               const struct paging_slot *slot, uint64_t virt,
                                               uint64_t left) LOAM_NEEDS(edit->walk.space->locks)
{
    const uint64_t span = pte_span(slot->level);
    const uint64_t reach = left + (virt & (span - 1)) + (span - 1);
    const unsigned max = paging_reach(slot->level, slot->index, reach);
    unsigned count = 0;

    if (slot->level == 1 && edit->kinds == PAGING_KIND(LOAM_ENTRY_PAGE) &&
        pte_is_all_mapped(paging_load(paging_link_of(&edit->walk, 1))))
        return max;
    while (count < max) {
        const uint64_t entry = paging_load(&slot->table[slot->index + count]);
        if (!paging_cover_takes(edit, entry, slot->level))
            break;
        paging_require_ours(edit->walk.space, entry, slot->level, slot->index + count);
        count++;
    }
    return count;
}

/* Neighbours that cannot be changed, the first of which is one, up to the next table. */
static inline unsigned paging_cover_hole_locked(struct paging_edit *edit,
                                                const struct paging_slot *slot)
    LOAM_NEEDS(edit->walk.space->locks)
{
    unsigned count = 1;

    for (; slot->index + count < PTE_COUNT; count++) {
        const uint64_t entry = paging_load(&slot->table[slot->index + count]);
        if ((pte_is_present(entry) && !pte_is_leaf(entry, slot->level)) ||
            paging_cover_takes(edit, entry, slot->level))
            break;
    }
    return count;
}

/* Bytes of a range that @p count entries from the one that holds @p virt cover;
 * perhaps more than the range has left. */
static inline uint64_t paging_covered(const struct paging_slot *slot, uint64_t virt, unsigned count)
{
    const uint64_t span = pte_span(slot->level);
    return count * span - (virt & (span - 1));
}

/* Level of the entry to be changed that @p boundary cuts in two; 1: it cuts none. What lies
 * above it may be in a region of others: its table of level 1 is not looked at. */
static inline unsigned paging_cut_level_locked(struct paging_edit *edit, uint64_t boundary)
    LOAM_NEEDS(edit->walk.space->locks)
{
    if ((boundary & (pte_span(PTE_LEAF_MAX) - 1)) == 0)
        return 1;
    const struct paging_slot slot = paging_find_locked(&edit->walk, boundary, 2);
    const bool whole = !paging_cover_takes(edit, slot.entry, slot.level) ||
                       (boundary & (pte_span(slot.level) - 1)) == 0;

    return whole ? 1 : slot.level;
}

/* How many tables do the splits at the range's edges take? One split serves both where
 * they cut the same entry. */
static inline uint64_t paging_cover_splits_locked(struct paging_edit *edit)
    LOAM_NEEDS(edit->walk.space->locks)
{
    const uint64_t start = edit->virt;
    const uint64_t end = start + edit->size; /* 0 for 2^64: on the boundary of everything */
    const unsigned start_level = paging_cut_level_locked(edit, start);
    const unsigned end_level = paging_cut_level_locked(edit, end);
    uint64_t tables = 0;

    for (unsigned level = 2; level <= PTE_LEAF_MAX; level++) {
        const bool at_start = level <= start_level && (start & (pte_span(level) - 1)) != 0;
        const bool at_end = level <= end_level && (end & (pte_span(level) - 1)) != 0;
        const bool same = (start ^ end) >> pte_shift(level) == 0;
        tables +=
            (at_start ? 1u : 0u) + (at_end ? 1u : 0u) - (at_start && at_end && same ? 1u : 0u);
    }
    return tables;
}

static inline enum loam_status paging_cover_check_locked(struct paging_edit *edit)
    LOAM_NEEDS(edit->walk.space->locks)
{
    for (uint64_t done = 0; done < edit->size;) {
        const uint64_t virt = edit->virt + done;
        const struct paging_slot slot = paging_find_locked(&edit->walk, virt, 1);
        const unsigned count = paging_cover_run_locked(edit, &slot, virt, edit->size - done);
        if (count == 0 && !edit->skips)
            return LOAM_NOT_FOUND;
        if (count == 0) {
            done += paging_covered(&slot, virt, paging_cover_hole_locked(edit, &slot));
            continue;
        }
        edit->wants_all = edit->wants_all || slot.level > 2;
        done += paging_covered(&slot, virt, count);
    }
    edit->tables = paging_cover_splits_locked(edit);
    return LOAM_OK;
}

/* Replace entries until none reaches over @p boundary. */
static inline void paging_split_locked(struct paging_edit *edit, uint64_t boundary)
    LOAM_NEEDS(edit->walk.space->locks)
{
    struct loam_space *const space = edit->walk.space;

    for (unsigned level = paging_cut_level_locked(edit, boundary); level > 1;
         level = paging_cut_level_locked(edit, boundary)) {
        const struct paging_slot slot = paging_find_locked(&edit->walk, boundary, level);
        const uint64_t child = loam_stock_next_raw(space->stock, &edit->list).addr;
        paging_word *const table = paging_table(space, child);
        const bool mixed = level == 2 && !pte_is_present(slot.entry);
        const uint64_t link = pte_table(child, paging_is_lower(boundary)) | PTE_COUNT * PTE_ONE |
                              PTE_WAS_SPLIT | (mixed ? PTE_MIXED : 0);
        uint64_t entry = slot.entry;
        /* At most three times: the processor has two bits to set in between. */
        do {
            const uint64_t first = pte_split(entry, level);
            for (unsigned i = 0; i < PTE_COUNT; i++)
                paging_store(&table[i], first + i * pte_step(first, level - 1));
        } while (!atomic_compare_exchange_strong(&slot.table[slot.index], &entry, link));
        atomic_fetch_add_explicit(&space->table_count, 1, memory_order_relaxed);
    }
}

/* ---- runs ---------------------------------------------------------------- */

/* What one entry becomes; for those verbs that keep what the processor sets. */
static inline uint64_t paging_cover_changed(const struct paging_edit *edit, uint64_t entry,
                                            unsigned level)
{
    if (edit->verb == PAGING_PROTECT)
        return pte_protect(entry, level, edit->bits[level]);
    if (edit->verb == PAGING_CLEAR)
        return entry & ~edit->mark;
    if (edit->verb == PAGING_SWAP_OUT)
        return edit->mark;
    if (edit->verb == PAGING_REPLACE)
        return edit->phys | edit->bits[1] | (entry & (PTE_SOFT | PTE_DIRTY));
    return (entry & ~PTE_SOFT) | edit->mark; /* PAGING_SOFT */
}

/* One entry, so that nothing is lost that the processor adds meanwhile. */
static void paging_cover_keep(struct paging_edit *edit, paging_word *word, unsigned level)
{
    uint64_t entry = paging_load(word);
    uint64_t want;

    do {
        want = paging_cover_changed(edit, entry, level);
    } while (!atomic_compare_exchange_weak_explicit(word, &entry, want, memory_order_relaxed,
                                                    memory_order_relaxed));
    edit->seen |= entry;
}

/*
 * Eight neighbours at once, unrolled by hand: compilers that optimise for less than -O3
 * do not, and that doubles the time. @return false: some need more care, none was changed
 */
static inline bool paging_group_protect(paging_word *leaf, uint64_t kept, uint64_t bits,
                                        uint64_t foreign)
{
    const uint64_t a = paging_load(&leaf[0]), b = paging_load(&leaf[1]);
    const uint64_t c = paging_load(&leaf[2]), d = paging_load(&leaf[3]);
    const uint64_t e = paging_load(&leaf[4]), f = paging_load(&leaf[5]);
    const uint64_t g = paging_load(&leaf[6]), h = paging_load(&leaf[7]);
    const uint64_t all = a & b & c & d & e & f & g & h;
    const uint64_t any = a | b | c | d | e | f | g | h;

    if ((any & foreign) != 0 || !pte_is_settled(all | (any & PTE_WRITE)))
        return false;
    paging_store(&leaf[0], (a & kept) | bits);
    paging_store(&leaf[1], (b & kept) | bits);
    paging_store(&leaf[2], (c & kept) | bits);
    paging_store(&leaf[3], (d & kept) | bits);
    paging_store(&leaf[4], (e & kept) | bits);
    paging_store(&leaf[5], (f & kept) | bits);
    paging_store(&leaf[6], (g & kept) | bits);
    paging_store(&leaf[7], (h & kept) | bits);
    return true;
}

static inline bool paging_group_unmap(paging_word *leaf, uint64_t foreign)
{
    const uint64_t low = paging_load(&leaf[0]) | paging_load(&leaf[1]) | paging_load(&leaf[2]) |
                         paging_load(&leaf[3]);
    const uint64_t high = paging_load(&leaf[4]) | paging_load(&leaf[5]) | paging_load(&leaf[6]) |
                          paging_load(&leaf[7]);

    if (((low | high) & foreign) != 0)
        return false;
    paging_store(&leaf[0], 0);
    paging_store(&leaf[1], 0);
    paging_store(&leaf[2], 0);
    paging_store(&leaf[3], 0);
    paging_store(&leaf[4], 0);
    paging_store(&leaf[5], 0);
    paging_store(&leaf[6], 0);
    paging_store(&leaf[7], 0);
    return true;
}

static inline void paging_cover_protect_locked(struct paging_edit *edit,
                                               const struct paging_slot *slot, unsigned count)
    LOAM_NEEDS(edit->walk.space->locks)
{
    const uint64_t bits = edit->bits[slot->level];
    const uint64_t kept = (PTE_ADDRESS & ~(pte_span(slot->level) - 1)) | PTE_HARDWARE | PTE_SOFT;
    const uint64_t foreign = edit->walk.space->foreign_leaf[slot->level] | PTE_COW;
    paging_word *const leaf = &slot->table[slot->index];
    unsigned i = 0;

    while (count - i >= 8 && paging_group_protect(&leaf[i], kept, bits, foreign))
        i += 8;
    for (; i < count; i++) {
        paging_require_ours(edit->walk.space, paging_load(&leaf[i]), slot->level, slot->index + i);
        paging_cover_keep(edit, &leaf[i], slot->level);
    }
}

/* Remove leaves, but none that cannot be ours. */
static inline void paging_cover_unmap_locked(const struct paging_edit *edit,
                                             const struct paging_slot *slot, unsigned count)
    LOAM_NEEDS(edit->walk.space->locks)
{
    const uint64_t foreign = edit->walk.space->foreign_leaf[slot->level];
    paging_word *const leaf = &slot->table[slot->index];
    unsigned i = 0;

    while (count - i >= 8 && paging_group_unmap(&leaf[i], foreign))
        i += 8;
    for (; i < count; i++) {
        paging_require_ours(edit->walk.space, paging_load(&leaf[i]), slot->level, slot->index + i);
        paging_store(&leaf[i], 0);
    }
}

static inline void paging_cover_detach_locked(const struct paging_edit *edit,
                                              const struct paging_slot *slot, unsigned count)
    LOAM_NEEDS(edit->walk.space->locks)
{
    paging_word *const leaf = &slot->table[slot->index];

    for (unsigned i = 0; i < count; i++) {
        const uint64_t entry = paging_load(&leaf[i]);
        paging_require_ours(edit->walk.space, entry, slot->level, slot->index + i);
        paging_store(&leaf[i], pte_hold(pte_leaf_phys(entry, slot->level)));
    }
}

static inline void paging_cover_change_locked(struct paging_edit *edit,
                                              const struct paging_slot *slot, unsigned count)
    LOAM_NEEDS(edit->walk.space->locks)
{
    paging_word *const entry = &slot->table[slot->index];

    switch ((int)edit->verb) { /* the other verbs do not come here */
    case PAGING_PROTECT:
        paging_cover_protect_locked(edit, slot, count);
        return;
    case PAGING_DETACH:
        paging_cover_detach_locked(edit, slot, count);
        return;
    case PAGING_UNMAP:
        paging_cover_unmap_locked(edit, slot, count);
        return;
    case PAGING_PUBLISH:
        for (unsigned i = 0; i < count; i++)
            paging_publish(&entry[i],
                           pte_held_phys(paging_load(&entry[i])) | edit->bits[slot->level]);
        return;
    case PAGING_SWAP_IN:
        paging_publish(entry, edit->phys | edit->bits[1]);
        return;
    case PAGING_UNTAG:
        for (unsigned i = 0; i < count; i++)
            paging_store(&entry[i], 0);
        return;
    default: /* PAGING_CLEAR, PAGING_SOFT, PAGING_REPLACE, PAGING_SWAP_OUT */
        for (unsigned i = 0; i < count; i++) {
            paging_require_ours(edit->walk.space, paging_load(&entry[i]), slot->level,
                                slot->index + i);
            paging_cover_keep(edit, &entry[i], slot->level);
        }
        return;
    }
}

/* How many entries of the checked range the slot begins. */
static inline unsigned paging_cover_count_locked(struct paging_edit *edit,
                                                 const struct paging_slot *slot, uint64_t virt,
                                                 uint64_t left) LOAM_NEEDS(edit->walk.space->locks)
{
    return slot->level == 1 && !edit->skips ? paging_reach(1, slot->index, left)
                                            : paging_cover_run_locked(edit, slot, virt, left);
}

/* A run was changed: what its table, and the flush, have to know. @return is the table
 * still there? */
static inline bool paging_cover_settle_locked(struct paging_edit *edit,
                                              const struct paging_slot *slot, uint64_t virt,
                                              unsigned count) LOAM_NEEDS(edit->walk.space->locks)
{
    const uint64_t span = pte_span(slot->level);

    if (slot->level < edit->smallest)
        edit->smallest = slot->level;
    if (edit->skips)
        paging_note(edit->batch, loam_virt_range_of(loam_virt_at(virt), count * span), span);
    if (edit->verb == PAGING_UNMAP || edit->verb == PAGING_UNTAG) {
        if (paging_count_locked(&edit->walk, slot->level, -(int)count) != 0)
            return true;
        paging_prune_locked(edit, slot->level);
        return false;
    }
    if (slot->level == 1 && (edit->verb == PAGING_DETACH || edit->verb == PAGING_SWAP_OUT)) {
        paging_word *const link = paging_link_of(&edit->walk, 1);
        paging_store(link, paging_load(link) | PTE_MIXED);
    }
    return true;
}

static inline void paging_cover_commit_locked(struct paging_edit *edit)
    LOAM_NEEDS(edit->walk.space->locks)
{
    const bool clears = edit->verb == PAGING_UNMAP || edit->verb == PAGING_UNTAG;

    paging_split_locked(edit, edit->virt);
    paging_split_locked(edit, edit->virt + edit->size);
    edit->smallest = PTE_LEAF_MAX + 1;
    for (uint64_t done = 0; done < edit->size;) {
        const uint64_t virt = edit->virt + done;
        const struct paging_slot slot = paging_find_locked(&edit->walk, virt, 1);
        const unsigned count = paging_cover_count_locked(edit, &slot, virt, edit->size - done);
        LOAM_ASSERT(count != 0 || edit->skips);
        if (count == 0) {
            done += paging_covered(&slot, virt, paging_cover_hole_locked(edit, &slot));
            continue;
        }
        paging_cover_change_locked(edit, &slot, count);
        done += count * pte_span(slot.level);
        if (!paging_cover_settle_locked(edit, &slot, virt, count))
            continue;
        if (slot.level == 1)
            paging_remember_locked(&edit->walk);
        if (!clears && edit->verb != PAGING_CLEAR) /* merging would set the bits again */
            paging_note_merge_locked(edit, slot.level);
    }
}

#endif
