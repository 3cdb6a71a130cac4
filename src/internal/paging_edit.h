/*
 * paging_edit.h - one change of a range, whichever: what paging_fill.h (nothing there
 * -> something) and paging_cover.h (something there -> something else) share.
 *
 *     lock the range's stripes
 *     check: may it be done, how many tables does it take    <--+
 *     too few, or all stripes needed: unlock, take, lock     ---+
 *     commit: cannot fail
 *     unlock, give back what was too much
 *
 * A range is changed in runs, a run being neighbouring entries of one table.
 */
#ifndef LOAM_INTERNAL_PAGING_EDIT_H
#define LOAM_INTERNAL_PAGING_EDIT_H

#include "pagetable.h"

enum paging_verb {
    PAGING_MAP, /* fill: */
    PAGING_MAP_FRAMES,
    PAGING_HOLD,
    PAGING_TAG,
    PAGING_UNMAP, /* cover: */
    PAGING_DETACH,
    PAGING_PUBLISH,
    PAGING_UNTAG,
    PAGING_PROTECT,
    PAGING_CLEAR,
    PAGING_SOFT,
    PAGING_REPLACE,
    PAGING_SWAP_OUT,
    PAGING_SWAP_IN,
};

#define PAGING_KIND(kind) (1u << (kind))

struct paging_edit {
    enum paging_verb verb;
    uint64_t virt, size;
    uint64_t phys;          /* MAP, HOLD, REPLACE, SWAP_IN; TAG: virt, whose alignment decides */
    const loam_phys *frame; /* MAP_FRAMES; HOLD: or NULL */
    uint64_t mark;          /* TAG, SWAP_OUT, SWAP_IN: the entry; SOFT, CLEAR: the bits */
    unsigned level_max;     /* fill: of the largest entries */
    unsigned kinds;         /* cover: PAGING_KIND() of what may be there */
    bool skips;             /* cover: what else there is stays */
    uint64_t bits[PTE_LEAF_MAX + 1]; /* attributes by level */
    struct loam_space_batch *batch;

    struct paging_walk walk;
    unsigned stripes;  /* held */
    bool is_local;     /* pages of the higher half that are not global */
    bool wants_all;    /* entries of level 3 and up are concerned */
    bool upper;        /* some table of level 2 has become empty */
    uint64_t tables;   /* needed */
    loam_phys list;    /* of tables, as many or more */
    unsigned smallest; /* level that was changed; above PTE_LEAF_MAX: nothing was */
    uint64_t seen;     /* what the entries that were changed had set */
};

/* ---- requests ------------------------------------------------------------ */

/* Both ends canonical and in one half that is the space's own: then so is all between. */
static inline bool paging_range_is_valid(const struct loam_space *space,
                                         struct loam_virt_range range)
{
    const uint64_t start = range.start.addr;

    if (!loam_is_page_aligned(start) || !loam_is_page_aligned(range.size) || range.size == 0 ||
        !loam_range_fits(start, range.size))
        return false;
    const loam_virt last = loam_virt_at(start + (range.size - 1));
    return loam_virt_is_canonical(range.start, space->features.levels) &&
           loam_virt_is_canonical(last, space->features.levels) &&
           paging_is_lower(start) == paging_is_lower(last.addr) &&
           (space->kernel == NULL || paging_is_lower(start));
}

static inline bool paging_attr_is_valid(loam_virt at, struct loam_attr attr)
{
    const loam_prot known = LOAM_PROT_WRITE | LOAM_PROT_EXEC | LOAM_PROT_USER | LOAM_PROT_GLOBAL;
    const loam_prot misplaced = paging_is_lower(at.addr) ? LOAM_PROT_GLOBAL : LOAM_PROT_USER;
    const loam_prot both = LOAM_PROT_WRITE | LOAM_PROT_EXEC;

    return (attr.prot & ~known) == 0 && (attr.prot & misplaced) == 0 &&
           (attr.prot & both) != both && (unsigned)attr.cache < LOAM_CACHES;
}

static inline bool paging_phys_is_valid(const struct loam_space *space, loam_phys phys,
                                        uint64_t size)
{
    const uint64_t limit = UINT64_C(1) << space->features.phys_bits;

    return loam_is_page_aligned(phys.addr) && phys.addr < limit && size <= limit - phys.addr;
}

/* ---- edits ---------------------------------------------------------------- */

static inline void paging_begin(struct paging_edit *edit, struct loam_space *space,
                                struct loam_space_batch *batch, struct loam_virt_range virt)
{
    edit->virt = virt.start.addr;
    edit->size = virt.size;
    edit->batch = batch;
    edit->upper = false;
    edit->seen = 0;
    edit->list = loam_phys_none();
    paging_walk_begin(&edit->walk, space);
}

/* Translations of the range are stale. */
static inline void paging_note(struct loam_space_batch *batch, struct loam_virt_range virt,
                               uint64_t page_size)
{
    if (atomic_load_explicit(&batch->space->has_local, memory_order_relaxed) != 0)
        loam_tlb_batch_add(&batch->tlb, virt, page_size);
    else
        loam_tlb_batch_add_global(&batch->tlb, virt, page_size);
}

static inline void paging_require_open(const struct loam_space_batch *batch)
{
    LOAM_REQUIRE(batch->space != NULL, "paging: batch is finished or was never begun",
                 loam_virt_of(batch).addr, 0);
}

/* Attributes as bits of leaves of each level. */
static inline void paging_edit_attr(struct paging_edit *edit, struct loam_attr attr)
{
    edit->is_local = (attr.prot & LOAM_PROT_GLOBAL) == 0 && !paging_is_lower(edit->virt);
    for (unsigned level = 1; level <= PTE_LEAF_MAX; level++) {
        const uint64_t bits = pte_attr_bits(&edit->walk.space->features, level, attr);
        edit->bits[level] = paging_is_lower(edit->virt) ? bits : pte_preset(bits);
    }
}

/* An entry of the root has changed: those who share it have it, too. All stripes are
 * held. */
static inline void paging_spread_locked(const struct paging_walk *walk, uint64_t entry)
    LOAM_NEEDS(walk->space->locks)
{
    const struct loam_space *const space = walk->space;

    if (paging_is_lower(walk->virt))
        return;
    const unsigned index = pte_index(walk->virt, space->features.levels);
    for (const struct loam_space *at = space->sharer; at != NULL; at = at->sharer)
        paging_publish(&paging_table(at, at->root.addr)[index], entry);
}

/* Set an entry that is or was the link of a table of @p level. */
static inline void paging_relink_locked(const struct paging_walk *walk, unsigned level,
                                        uint64_t entry) LOAM_NEEDS(walk->space->locks)
{
    paging_publish(paging_link_of(walk, level), entry);
    if (level == 2)
        paging_forget_locked(walk->space, walk->virt);
    if (level + 1 == walk->space->features.levels)
        paging_spread_locked(walk, entry);
}

/* Unlink the table of @p level on the way, which is empty, then the one above it if that
 * is empty by now, and so on. Until the flush a processor may still walk them: so they
 * are chained through their first words by page addresses, which read as "not
 * present". 0 ends the chain. */
static inline void paging_prune_locked(struct paging_edit *edit, unsigned level)
    LOAM_NEEDS(edit->walk.space->locks)
{
    struct loam_space *const space = edit->walk.space;
    struct loam_space_batch *const batch = edit->batch;

    do {
        if (level > 1 && edit->stripes != PAGING_ALL) {
            edit->upper = true;
            return;
        }
        const uint64_t phys = pte_table_phys(paging_load(paging_link_of(&edit->walk, level)));
        paging_relink_locked(&edit->walk, level, 0);
        if (batch->unlinked == 0)
            atomic_fetch_add(&space->flushing_count, 1);
        paging_store(&paging_table(space, phys)[0], batch->unlinked);
        batch->unlinked = phys;
        batch->has_lower = batch->has_lower || paging_is_lower(edit->walk.virt);
        batch->has_higher = batch->has_higher || !paging_is_lower(edit->walk.virt);
        atomic_fetch_sub_explicit(&space->table_count, 1, memory_order_relaxed);
        edit->walk.level = ++level;
    } while (paging_count_locked(&edit->walk, level, -1) == 0);
}

/* A run was changed: may its table be one large entry again? */
static inline void paging_note_merge_locked(struct paging_edit *edit, unsigned level)
    LOAM_NEEDS(edit->walk.space->locks)
{
    struct loam_space_batch *const batch = edit->batch;
    const uint64_t virt = edit->walk.virt;

    if (level > 2)
        return;
    const uint64_t link = paging_load(paging_link_of(&edit->walk, level));
    if ((link & PTE_WAS_SPLIT) == 0 || pte_in_use(link) != PTE_COUNT)
        return;
    batch->low = batch->merges && batch->low < virt ? batch->low : virt;
    batch->high = batch->merges && batch->high > virt ? batch->high : virt;
    batch->merges = true;
}

#endif
