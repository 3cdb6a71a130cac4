/*
 * paging.c - see paging.h: changes of ranges. One engine: every change is a struct
 * paging_edit, which says what may be there and what is to become of it.
 *
 *     root          [ . . T . ]
 *                         |
 *     level 3       [ T . L L ]      T: table, L: leaf of 1 GiB, .: not present
 *                     |
 *     level 2       [ L L T . ]
 *                         |
 *     level 1       [ L L L L ]      the runs of a range: [L L] [L L L L] ...
 *
 * Invariants, while no lock is held: no table but the root is empty, but for one of
 * level 2 that some CPU is about to unlink; the count of a table's entries in use
 * stands in the entry that points to it; entries have no bit that pte.h does not
 * allow; tables are linked when they are filled, and reused only after every CPU has
 * dropped what it remembers of them.
 */
#include <loam/paging.h>

#include "internal/check.h"
#include "internal/paging_cover.h"
#include "internal/paging_fill.h"
#include "internal/paging_merge.h"
#include "internal/try.h"

/* ---- the engine ---------------------------------------------------------- */

static enum loam_status paging_check_locked(struct paging_edit *edit)
    LOAM_NEEDS(edit->walk.space->locks)
{
    edit->tables = 0;
    edit->wants_all = false;
    return edit->verb < PAGING_UNMAP ? paging_fill_check_locked(edit)
                                     : paging_cover_check_locked(edit);
}

/* Tables of level 2 that the change left empty, and for which it had too few stripes: at
 * most two, for it had not all. */
static void paging_settle(struct paging_edit *edit) LOAM_UNCHECKED
{
    struct loam_space *const space = edit->walk.space;
    const uint64_t end = edit->virt + (edit->size - 1);
    const loam_irq_state irq = paging_lock(space, PAGING_ALL);

    edit->stripes = PAGING_ALL;
    paging_walk_begin(&edit->walk, space);
    for (uint64_t at = edit->virt;; at = end) {
        const struct paging_slot slot = paging_find_locked(&edit->walk, at, 3);
        if (paging_fill_is_left(&slot))
            paging_prune_locked(edit, 2);
        if (at == end)
            break;
    }
    paging_unlock(space, PAGING_ALL, irq);
}

/* Check, have tables, lock what is needed, commit. */
static enum loam_status paging_apply(struct paging_edit *edit) LOAM_UNCHECKED
{
    struct loam_space *const space = edit->walk.space;
    enum loam_status st;
    uint64_t have = 0;
    loam_irq_state irq;

    edit->stripes = paging_stripes(edit->virt, edit->size);
    for (;;) {
        irq = paging_lock(space, edit->stripes);
        st = paging_check_locked(edit);
        const bool locked = !edit->wants_all || edit->stripes == PAGING_ALL;
        if (st != LOAM_OK || (locked && edit->tables <= have))
            break;
        paging_unlock(space, edit->stripes, irq);
        if (edit->wants_all)
            edit->stripes = PAGING_ALL;
        paging_walk_begin(&edit->walk, space); /* tables may go before the next look */
        if (edit->tables <= have)
            continue;
        loam_stock_put_list(space->stock, edit->list);
        edit->list = loam_phys_none();
        have = edit->tables;
        st = loam_stock_take(space->stock, have, &edit->list);
        if (st != LOAM_OK)
            return st;
    }
    if (st == LOAM_OK && edit->is_local)
        atomic_store(&space->has_local, 1); /* before there is such a page */
    if (st == LOAM_OK && edit->verb < PAGING_UNMAP)
        paging_fill_commit_locked(edit);
    else if (st == LOAM_OK)
        paging_cover_commit_locked(edit);
    paging_unlock(space, edit->stripes, irq);
    loam_stock_put_list(space->stock, edit->list);
    if (edit->upper)
        paging_settle(edit);
    return st;
}

/* ---- batches ------------------------------------------------------------- */

static void paging_open(struct loam_space_batch *batch, struct loam_space *space)
{
    batch->space = space;
    loam_tlb_batch_begin(&batch->tlb, &space->tlb);
    batch->merges = batch->has_lower = batch->has_higher = false;
    batch->unlinked = 0;
    batch->has_lower = batch->has_higher = false;
}

void loam_space_batch_begin(struct loam_space_batch *batch, struct loam_space *space)
{
    paging_open(batch, space);
    atomic_fetch_add_explicit(&space->open_count, 1, memory_order_relaxed);
}

void loam_space_batch_check(const struct loam_space_batch *batch)
{
    LOAM_REQUIRE(batch->space == NULL, "paging: batch was never finished", loam_virt_of(batch).addr,
                 batch->unlinked);
}

/*
 * Translations of the range are stale, and another CPU may have unlinked or replaced tables and not
 * flushed yet. Then some CPU may still know pages of the size that they had before a merge, and
 * under other PCIDs the tables: so each small page is flushed, and tables with it.
 */
static void paging_note_pending(struct loam_space_batch *batch, struct loam_virt_range virt)
{
    paging_note(batch, virt, LOAM_PAGE_SIZE);
    loam_tlb_batch_tables(&batch->tlb);
}

static bool paging_is_pending(const struct loam_space *space)
{
    return atomic_load(&space->flushing_count) != 0;
}

/* Flush, then give back what was unlinked. */
static void paging_drain(struct loam_space_batch *batch)
{
    struct loam_space *const space = batch->space;

    if (batch->unlinked != 0)
        loam_tlb_batch_tables(&batch->tlb);
    /* Tables of a half of which no range is flushed: of those every CPU must hear, too. */
    if ((batch->has_higher && !batch->tlb.flush.is_kernel) ||
        (batch->has_lower && !batch->tlb.is_lower))
        loam_tlb_batch_full(&batch->tlb);
    loam_tlb_batch_flush(&batch->tlb);
    if (batch->unlinked == 0)
        return;
    atomic_fetch_sub(&space->flushing_count, 1);
    atomic_fetch_add(&space->gone, 1);
    loam_stock_put_list(space->stock, loam_phys_at(batch->unlinked)); /* linked as a stock is */
    batch->unlinked = 0;
}

/* Give back tables that large pages have replaced. They were not changed, since
 * processors may have used them until the flush. */
static void paging_merge_all(struct loam_space_batch *batch)
{
    struct loam_space *const space = batch->space;
    struct paging_merge merge = { .at = batch->low, .last = batch->high };

    while (paging_merge_some(space, &merge)) {
        loam_tlb_batch_full(&batch->tlb);
        loam_tlb_batch_flush(&batch->tlb);
        atomic_fetch_sub(&space->flushing_count, 1);
        atomic_fetch_add(&space->gone, 1);
        for (unsigned i = 0; i < merge.dead_count; i++)
            loam_stock_put(space->stock, loam_phys_at(merge.dead[i]));
    }
}

static void paging_close(struct loam_space_batch *batch)
{
    paging_drain(batch);
    if (batch->merges)
        paging_merge_all(batch);
}

void loam_space_batch_finish(struct loam_space_batch *batch)
{
    paging_require_open(batch);
    paging_close(batch);
    atomic_fetch_sub_explicit(&batch->space->open_count, 1, memory_order_relaxed);
    batch->space = NULL;
}

/* ---- nothing there -> something ------------------------------------------ */

/* What was not present is not cached. But another CPU may have unlinked a table and not
 * flushed yet: some CPU may still remember that table, and would not find these pages
 * through it. */
static enum loam_status paging_fill(struct loam_space *space, struct paging_edit *edit)
{
    const struct loam_virt_range virt = loam_virt_range_of(loam_virt_at(edit->virt), edit->size);
    struct loam_space_batch batch;

    paging_open(&batch, space);
    paging_begin(edit, space, &batch, virt);
    const enum loam_status st = paging_apply(edit);
    if (st == LOAM_OK && paging_is_pending(space))
        paging_note_pending(&batch, virt);
    paging_close(&batch);
    return st;
}

/*
 * Attributes that were valid for a small page, and the bits that they are, in one word:
 *     63   16          8 7    6   4 3  0
 *     NX   bits 0-8      half cache prot
 */
#define PAGING_KNOWN_SHIFT 8u
#define PAGING_KNOWN_BITS  (PTE_GLOBAL * 2 - 1)

static uint64_t paging_attr_key(uint64_t virt, struct loam_attr attr)
{
    return attr.prot | (uint64_t)attr.cache << 4 | virt >> 63 << 7;
}

static void paging_know_attr(struct loam_space *space, const struct paging_edit *edit,
                             struct loam_attr attr)
{
    const uint64_t bits = edit->bits[1];

    atomic_store_explicit(&space->recent_attr,
                          (bits & PTE_NX) | (bits & PAGING_KNOWN_BITS) << PAGING_KNOWN_SHIFT |
                              paging_attr_key(edit->virt, attr),
                          memory_order_relaxed);
}

/* @return bits of the attributes in a small page, if they were valid lately; else 0 */
static uint64_t paging_known_attr(const struct loam_space *space, uint64_t virt,
                                  struct loam_attr attr)
{
    const uint64_t known = atomic_load_explicit(&space->recent_attr, memory_order_relaxed);
    const bool fits = ((attr.prot | (uint64_t)attr.cache << 1) & ~UINT64_C(0xf)) == 0;

    if (!fits || (known & 0xff) != paging_attr_key(virt, attr))
        return 0;
    return (known & PTE_NX) | (known >> PAGING_KNOWN_SHIFT & PAGING_KNOWN_BITS);
}

/* One page, if that needs neither a table nor a flush, and has attributes as one
 * before. @return false: nothing was done; it may not be valid */
static bool paging_map_page(struct loam_space *space, uint64_t virt, uint64_t phys,
                            struct loam_attr attr) LOAM_UNCHECKED
{
    const uint64_t bits = paging_known_attr(space, virt, attr);
    struct paging_page page;

    if (bits == 0 ||
        ((phys & (space->foreign_leaf[1] | ~PTE_ADDRESS)) | (virt & (LOAM_PAGE_SIZE - 1))) != 0)
        return false;
    const loam_irq_state irq = paging_lock_one(space, virt);
    const bool easy =
        paging_page_locked(space, virt, &page) && page.entry == 0 && !paging_is_pending(space);
    if (easy) {
        paging_store(page.word, phys | bits);
        paging_store(page.link, page.linked + PTE_ONE);
    }
    paging_unlock_one(space, virt, irq);
    return easy;
}

enum loam_status loam_space_map(struct loam_space *space, struct loam_virt_range virt,
                                loam_phys phys, struct loam_attr attr)
{
    struct paging_edit edit;

    if (virt.size == LOAM_PAGE_SIZE && paging_map_page(space, virt.start.addr, phys.addr, attr))
        return LOAM_OK;
    if (!paging_range_is_valid(space, virt) || !paging_attr_is_valid(virt.start, attr) ||
        !paging_phys_is_valid(space, phys, virt.size))
        return LOAM_INVALID;
    edit.verb = PAGING_MAP;
    edit.virt = virt.start.addr;
    edit.size = virt.size;
    edit.phys = phys.addr;
    edit.level_max = space->features.gib_pages ? PTE_LEAF_MAX : PTE_LEAF_MAX - 1;
    edit.walk.space = space;
    paging_edit_attr(&edit, attr);
    const enum loam_status st = paging_fill(space, &edit);
    if (st == LOAM_OK)
        paging_know_attr(space, &edit, attr);
    return st;
}

/* map_frames() and hold(). */
static enum loam_status paging_fill_frames(struct loam_space *space, struct paging_edit *edit,
                                           loam_virt at, size_t count)
{
    const struct loam_virt_range virt = loam_virt_range_of(at, (uint64_t)count * LOAM_PAGE_SIZE);

    if (count > UINT64_MAX / LOAM_PAGE_SIZE || !paging_range_is_valid(space, virt))
        return LOAM_INVALID;
    for (size_t i = 0; i < count; i++) {
        if (!paging_phys_is_valid(space, edit->frame[i], LOAM_PAGE_SIZE))
            return LOAM_INVALID;
    }
    edit->virt = virt.start.addr;
    edit->size = virt.size;
    edit->phys = 0;
    edit->level_max = 1;
    return paging_fill(space, edit);
}

enum loam_status loam_space_map_frames(struct loam_space *space, loam_virt at,
                                       const loam_phys *frame, size_t count, struct loam_attr attr)
{
    struct paging_edit edit = { .verb = PAGING_MAP_FRAMES, .virt = at.addr, .frame = frame };

    if (!paging_attr_is_valid(at, attr))
        return LOAM_INVALID;
    edit.walk.space = space;
    paging_edit_attr(&edit, attr);
    return paging_fill_frames(space, &edit, at, count);
}

enum loam_status loam_space_hold(struct loam_space *space, loam_virt at, const loam_phys *frame,
                                 size_t count)
{
    struct paging_edit edit = { .verb = PAGING_HOLD, .frame = frame };

    return paging_fill_frames(space, &edit, at, count);
}

enum loam_status loam_space_hold_range(struct loam_space *space, struct loam_virt_range virt,
                                       loam_phys phys)
{
    struct paging_edit edit = { .verb = PAGING_HOLD, .frame = NULL };

    if (!paging_range_is_valid(space, virt) || !paging_phys_is_valid(space, phys, virt.size))
        return LOAM_INVALID;
    edit.virt = virt.start.addr;
    edit.size = virt.size;
    edit.phys = phys.addr;
    edit.level_max = space->features.gib_pages ? PTE_LEAF_MAX : PTE_LEAF_MAX - 1;
    return paging_fill(space, &edit);
}

enum loam_status loam_space_tag(struct loam_space *space, struct loam_virt_range virt,
                                enum loam_entry_kind kind, uint64_t value)
{
    struct paging_edit edit = { .verb = PAGING_TAG };

    if (!paging_range_is_valid(space, virt) || value >> (64 - PTE_TAG_SHIFT) != 0 ||
        (kind != LOAM_ENTRY_GUARD && kind != LOAM_ENTRY_TAG))
        return LOAM_INVALID;
    edit.virt = edit.phys = virt.start.addr;
    edit.size = virt.size;
    edit.level_max = PTE_LEAF_MAX;
    edit.mark = pte_mark(kind == LOAM_ENTRY_GUARD ? PTE_GUARD : PTE_TAG, value);
    return paging_fill(space, &edit);
}

/* ---- something -> something else ----------------------------------------- */

/* @return as paging_apply(); on success the range is noted in the batch if @p stale */
static enum loam_status paging_cover(struct paging_edit *edit, struct loam_space_batch *batch,
                                     struct loam_virt_range virt, bool stale)
{
    struct loam_space *const space = batch->space;

    if (!paging_range_is_valid(space, virt))
        return LOAM_INVALID;
    paging_begin(edit, space, batch, virt);
    const enum loam_status st = paging_apply(edit);
    if (st != LOAM_OK || !stale || edit->smallest > PTE_LEAF_MAX)
        return st;
    if (paging_is_pending(space))
        paging_note_pending(batch, virt);
    else if (!edit->skips)
        paging_note(batch, virt, pte_span(edit->smallest));
    return st;
}

/* One page, if that needs no table and leaves one in its own. @return false: nothing was
 * done */
static bool paging_unmap_page(struct loam_space_batch *batch, uint64_t virt) LOAM_UNCHECKED
{
    struct loam_space *const space = batch->space;
    struct paging_page page;

    if (!loam_is_page_aligned(virt))
        return false;
    const loam_irq_state irq = paging_lock_one(space, virt);
    const bool easy = paging_page_locked(space, virt, &page) && pte_in_use(page.linked) > 1 &&
                      paging_is_page(space, page.entry) && !paging_is_pending(space);
    if (easy) {
        paging_store(page.word, 0);
        paging_store(page.link, page.linked - PTE_ONE);
    }
    paging_unlock_one(space, virt, irq);
    const struct loam_virt_range page_range =
        loam_virt_range_of(loam_virt_at(virt), LOAM_PAGE_SIZE);
    if (easy)
        paging_note(batch, page_range, LOAM_PAGE_SIZE);
    return easy;
}

enum loam_status loam_space_batch_unmap(struct loam_space_batch *batch, struct loam_virt_range virt)
{
    struct paging_edit edit = { .verb = PAGING_UNMAP, .kinds = PAGING_KIND(LOAM_ENTRY_PAGE) };

    paging_require_open(batch);
    if (virt.size == LOAM_PAGE_SIZE && paging_unmap_page(batch, virt.start.addr))
        return LOAM_OK;
    return paging_cover(&edit, batch, virt, true);
}

enum loam_status loam_space_batch_unmap_any(struct loam_space_batch *batch,
                                            struct loam_virt_range virt)
{
    struct paging_edit edit = {
        .verb = PAGING_UNMAP,
        .kinds = PAGING_KIND(LOAM_ENTRY_PAGE),
        .skips = true,
    };

    paging_require_open(batch);
    return paging_cover(&edit, batch, virt, true);
}

enum loam_status loam_space_batch_detach(struct loam_space_batch *batch,
                                         struct loam_virt_range virt)
{
    struct paging_edit edit = { .verb = PAGING_DETACH, .kinds = PAGING_KIND(LOAM_ENTRY_PAGE) };

    paging_require_open(batch);
    return paging_cover(&edit, batch, virt, true);
}

enum loam_status loam_space_batch_protect(struct loam_space_batch *batch,
                                          struct loam_virt_range virt, struct loam_attr attr)
{
    struct paging_edit edit = { .verb = PAGING_PROTECT, .kinds = PAGING_KIND(LOAM_ENTRY_PAGE) };

    paging_require_open(batch);
    if (!paging_attr_is_valid(virt.start, attr))
        return LOAM_INVALID;
    edit.virt = virt.start.addr;
    edit.walk.space = batch->space;
    paging_edit_attr(&edit, attr);
    return paging_cover(&edit, batch, virt, true);
}

enum loam_status loam_space_batch_clear(struct loam_space_batch *batch, struct loam_virt_range virt,
                                        loam_page_bits bits, loam_page_bits *seen)
{
    struct paging_edit edit = { .verb = PAGING_CLEAR, .kinds = PAGING_KIND(LOAM_ENTRY_PAGE) };

    paging_require_open(batch);
    if ((bits & ~(LOAM_PAGE_ACCESSED | LOAM_PAGE_DIRTY)) != 0)
        return LOAM_INVALID;
    edit.mark = ((bits & LOAM_PAGE_ACCESSED) != 0 ? PTE_ACCESSED : 0) |
                ((bits & LOAM_PAGE_DIRTY) != 0 ? PTE_DIRTY : 0);
    LOAM_TRY(paging_cover(&edit, batch, virt, true));
    *seen = paging_bits(edit.seen & edit.mark);
    return LOAM_OK;
}

enum loam_status loam_space_batch_replace(struct loam_space_batch *batch, loam_virt at,
                                          loam_phys phys, struct loam_attr attr)
{
    struct paging_edit edit = { .verb = PAGING_REPLACE, .kinds = PAGING_KIND(LOAM_ENTRY_PAGE) };

    paging_require_open(batch);
    if (!paging_attr_is_valid(at, attr) ||
        !paging_phys_is_valid(batch->space, phys, LOAM_PAGE_SIZE))
        return LOAM_INVALID;
    edit.virt = at.addr;
    edit.phys = phys.addr;
    edit.walk.space = batch->space;
    paging_edit_attr(&edit, attr);
    return paging_cover(&edit, batch, loam_virt_range_of(at, LOAM_PAGE_SIZE), true);
}

enum loam_status loam_space_batch_swap_out(struct loam_space_batch *batch, loam_virt at,
                                           uint64_t value, struct loam_translation *out)
{
    struct paging_edit edit = { .verb = PAGING_SWAP_OUT, .kinds = PAGING_KIND(LOAM_ENTRY_PAGE) };

    paging_require_open(batch);
    if (value >> (64 - PTE_TAG_SHIFT) != 0)
        return LOAM_INVALID;
    edit.mark = pte_mark(PTE_TAG, value);
    LOAM_TRY(paging_cover(&edit, batch, loam_virt_range_of(at, LOAM_PAGE_SIZE), true));
    *out = paging_translation(batch->space, edit.seen, 1, 0);
    return LOAM_OK;
}

/* A batch for one change that makes nothing stale; but see paging_fill(). */
static enum loam_status paging_cover_alone(struct loam_space *space, struct paging_edit *edit,
                                           struct loam_virt_range virt)
{
    struct loam_space_batch batch;

    paging_open(&batch, space);
    const enum loam_status st = paging_cover(edit, &batch, virt, false);
    if (st == LOAM_OK && edit->verb == PAGING_SWAP_IN && paging_is_pending(space))
        paging_note_pending(&batch, virt);
    paging_close(&batch);
    return st;
}

enum loam_status loam_space_swap_in(struct loam_space *space, loam_virt at, uint64_t value,
                                    loam_phys phys, struct loam_attr attr)
{
    struct paging_edit edit = { .verb = PAGING_SWAP_IN, .kinds = PAGING_KIND(LOAM_ENTRY_TAG) };

    if (value >> (64 - PTE_TAG_SHIFT) != 0 || !paging_attr_is_valid(at, attr) ||
        !paging_phys_is_valid(space, phys, LOAM_PAGE_SIZE))
        return LOAM_INVALID;
    edit.virt = at.addr;
    edit.phys = phys.addr;
    edit.mark = pte_mark(PTE_TAG, value);
    edit.walk.space = space;
    paging_edit_attr(&edit, attr);
    return paging_cover_alone(space, &edit, loam_virt_range_of(at, LOAM_PAGE_SIZE));
}

enum loam_status loam_space_publish(struct loam_space *space, struct loam_virt_range virt,
                                    struct loam_attr attr)
{
    struct paging_edit edit = { .verb = PAGING_PUBLISH, .kinds = PAGING_KIND(LOAM_ENTRY_HELD) };

    if (!paging_attr_is_valid(virt.start, attr))
        return LOAM_INVALID;
    edit.virt = virt.start.addr;
    edit.walk.space = space;
    paging_edit_attr(&edit, attr);
    return paging_cover_alone(space, &edit, virt);
}

enum loam_status loam_space_untag(struct loam_space *space, struct loam_virt_range virt)
{
    struct paging_edit edit = {
        .verb = PAGING_UNTAG,
        .kinds = PAGING_KIND(LOAM_ENTRY_GUARD) | PAGING_KIND(LOAM_ENTRY_TAG),
    };

    return paging_cover_alone(space, &edit, virt);
}

enum loam_status loam_space_set_soft(struct loam_space *space, struct loam_virt_range virt,
                                     unsigned soft)
{
    struct paging_edit edit = { .verb = PAGING_SOFT, .kinds = PAGING_KIND(LOAM_ENTRY_PAGE) };

    if (soft > PTE_SOFT >> PTE_SOFT_SHIFT)
        return LOAM_INVALID;
    edit.mark = (uint64_t)soft << PTE_SOFT_SHIFT;
    return paging_cover_alone(space, &edit, virt);
}

enum loam_status loam_space_unmap(struct loam_space *space, struct loam_virt_range virt)
{
    struct loam_space_batch batch;

    paging_open(&batch, space);
    const enum loam_status st = loam_space_batch_unmap(&batch, virt);
    paging_close(&batch);
    return st;
}

enum loam_status loam_space_protect(struct loam_space *space, struct loam_virt_range virt,
                                    struct loam_attr attr)
{
    struct loam_space_batch batch;

    paging_open(&batch, space);
    const enum loam_status st = loam_space_batch_protect(&batch, virt, attr);
    paging_close(&batch);
    return st;
}
