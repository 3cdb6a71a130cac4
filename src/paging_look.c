/*
 * paging_look.c - see paging.h: what is mapped, and whether the tables are sound.
 */
#include <loam/paging.h>

#include "internal/check.h"
#include "internal/digest.h"
#include "internal/pagetable.h"
#include "internal/try.h"

/* ---- without a lock ------------------------------------------------------ */

/* The entry that decides, one of ours. */
static struct paging_slot paging_look_at(const struct loam_space *space, uint64_t virt)
{
    const struct loam_space *const owner = paging_owner(space, virt);
    const struct paging_slot slot = paging_look(owner, virt);

    if (paging_kind(slot.entry) != LOAM_ENTRY_EMPTY)
        paging_require_ours(owner, slot.entry, slot.level, slot.index);
    return slot;
}

static __attribute__((noinline)) loam_phys paging_translate(const struct loam_space *space,
                                                            loam_virt virt)
{
    if (!loam_virt_is_canonical(virt, space->features.levels))
        return loam_phys_none();
    const struct paging_slot slot = paging_look_at(space, virt.addr);
    if (!pte_is_present(slot.entry))
        return loam_phys_none();
    return loam_phys_at(pte_leaf_phys(slot.entry, slot.level) +
                        (virt.addr & (pte_span(slot.level) - 1)));
}

loam_phys loam_space_translate(const struct loam_space *space, loam_virt virt)
{
    const uint64_t entry = paging_look_quickly(paging_owner(space, virt.addr), virt.addr);

    if (entry == 0)
        return paging_translate(space, virt);
    return loam_phys_at(pte_leaf_phys(entry, 1) + (virt.addr & (LOAM_PAGE_SIZE - 1)));
}

enum loam_status loam_space_query(const struct loam_space *space, loam_virt virt,
                                  struct loam_translation *out)
{
    if (!loam_virt_is_canonical(virt, space->features.levels))
        return LOAM_INVALID;
    const struct paging_slot slot = paging_look_at(space, virt.addr);
    if (!pte_is_present(slot.entry))
        return LOAM_NOT_FOUND;

    *out =
        paging_translation(space, slot.entry, slot.level, virt.addr & (pte_span(slot.level) - 1));
    return LOAM_OK;
}

enum loam_status loam_space_entry(const struct loam_space *space, loam_virt virt,
                                  struct loam_entry *out)
{
    if (!loam_virt_is_canonical(virt, space->features.levels))
        return LOAM_INVALID;
    const struct paging_slot slot = paging_look_at(space, virt.addr);
    const struct loam_virt_range table =
        loam_virt_range_of(loam_virt_of(slot.table), LOAM_PAGE_SIZE);

    out->kind = paging_kind(slot.entry);
    out->raw = out->kind == LOAM_ENTRY_EMPTY ? 0 : slot.entry;
    out->value = out->kind == LOAM_ENTRY_HELD ? pte_held_phys(slot.entry)
                 : out->kind == LOAM_ENTRY_GUARD || out->kind == LOAM_ENTRY_TAG
                     ? pte_mark_value(slot.entry)
                     : 0;
    out->page_size = pte_span(slot.level);
    out->level = slot.level;
    out->where =
        loam_phys_at(loam_hhdm_phys(space->hhdm, table.start).addr + slot.index * sizeof(uint64_t));
    return LOAM_OK;
}

/* ---- runs ---------------------------------------------------------------- */

/* Lowest address in use at or above @p virt. Each round goes one level down, or
 * on to an entry that is in use: hardly a table is empty, so there are few. */
static bool paging_next_locked(struct paging_walk *walk, uint64_t *virt)
    LOAM_NEEDS(walk->space->locks)
{
    const unsigned levels = walk->space->features.levels;
    const unsigned top = pte_shift(levels + 1) - 1; /* the sign bit */

    if (!loam_virt_is_canonical(loam_virt_at(*virt), levels))
        *virt = UINT64_MAX << top;
    for (;;) {
        if (walk->space->kernel != NULL && !paging_is_lower(*virt))
            return false; /* the kernel's, under the kernel's locks */
        const struct paging_slot slot = paging_find_locked(walk, *virt, 1);
        unsigned index = slot.index;
        if (slot.entry != 0)
            return true;
        while (index < PTE_COUNT && paging_load(&slot.table[index]) == 0)
            index++;
        if (index == PTE_COUNT && slot.level == levels)
            return false;
        const uint64_t table_start = *virt & ~(pte_span(slot.level + 1) - 1);
        *virt = table_start + index * pte_span(slot.level);
        if (*virt == 0) /* past the last table */
            return false;
        if ((*virt >> top & 1) != 0) /* over the hole */
            *virt |= UINT64_MAX << top;
    }
}

/* Interrupts are off for as long as one run is long: 0.1 ms. */
#define PAGING_RUN_TABLES 512u

/* Bytes from @p page on that go on as the entry @p first there does. */
static uint64_t paging_extent_locked(struct paging_walk *walk, uint64_t page,
                                     const struct paging_slot *first) LOAM_NEEDS(walk->space->locks)
{
    const struct loam_space *const space = walk->space;
    const uint64_t span = pte_span(first->level);
    const uint64_t ignored = pte_is_present(first->entry) ? PTE_HARDWARE : 0;
    const uint64_t step = pte_step(first->entry, first->level);
    uint64_t want = (first->entry & ~ignored) + step;
    uint64_t size = span;

    for (unsigned tables = 0;; tables++) {
        const uint64_t virt = page + size; /* at the start of a table but the first time */
        if (tables == PAGING_RUN_TABLES || virt == 0 ||
            !loam_virt_is_canonical(loam_virt_at(virt), space->features.levels) ||
            (virt ^ page) >> 63 != 0)
            return size;
        const struct paging_slot slot = paging_find_locked(walk, virt, first->level);
        if (slot.level != first->level)
            return size;
        for (unsigned index = slot.index; index < PTE_COUNT; index++) {
            if ((paging_load(&slot.table[index]) & ~ignored) != want)
                return size;
            want += step;
            size += span;
        }
    }
}

/* The run of one space's own tables. */
static enum loam_status paging_next_own(struct loam_space *space, uint64_t virt,
                                        struct loam_mapping *out) LOAM_UNCHECKED
{
    struct paging_slot slot = { NULL, 0, 0, 0 };
    struct paging_walk walk;
    uint64_t size = 0;

    const loam_irq_state irq = paging_lock(space, PAGING_ALL);
    paging_walk_begin(&walk, space);
    const bool found = paging_next_locked(&walk, &virt);
    if (found) {
        slot = paging_find_locked(&walk, virt, 1);
        virt &= ~(pte_span(slot.level) - 1);
        size = paging_extent_locked(&walk, virt, &slot);
    }
    paging_unlock(space, PAGING_ALL, irq);
    if (!found)
        return LOAM_NOT_FOUND;

    __builtin_memset(out, 0, sizeof(*out));
    out->virt = loam_virt_range_of(loam_virt_at(virt), size);
    out->kind = paging_kind(slot.entry);
    out->page_size = pte_span(slot.level);
    if (out->kind == LOAM_ENTRY_PAGE) {
        out->phys = loam_phys_at(pte_leaf_phys(slot.entry, slot.level));
        out->attr = pte_attr(&space->features, slot.entry, slot.level);
        out->is_cow = (slot.entry & PTE_COW) != 0;
    } else if (out->kind == LOAM_ENTRY_HELD) {
        out->phys = loam_phys_at(pte_held_phys(slot.entry));
    } else {
        out->value = pte_mark_value(slot.entry);
    }
    return LOAM_OK;
}

enum loam_status loam_space_next(struct loam_space *space, loam_virt from, struct loam_mapping *out)
{
    uint64_t virt = from.addr;

    if (space->kernel == NULL)
        return paging_next_own(space, virt, out);
    if (paging_is_lower(virt)) {
        if (paging_next_own(space, virt, out) == LOAM_OK)
            return LOAM_OK;
        virt = UINT64_C(1) << 63; /* in the hole */
    }
    return paging_next_own(space->kernel, virt, out);
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
    if ((tour->entry & PTE_COW) == 0 ? (tour->entry & PTE_COW_WRITE) != 0
                                     : (tour->entry & PTE_WRITE) != 0)
        return "paging: writable page that is to be copied first";
    return NULL;
}

static const char *paging_audit_entry(const struct paging_tour *tour)
{
    const uint64_t entry = tour->entry;
    const uint64_t ours = PTE_IN_USE | PTE_MIXED | PTE_WAS_SPLIT;

    if (!pte_is_ours(&tour->space->features, entry, tour->level))
        return "paging: entry has a bit that is reserved or never used";
    if (!pte_is_present(entry))
        return NULL;
    if (pte_is_leaf(entry, tour->level))
        return paging_audit_leaf(tour);
    if ((entry & ~ours) != pte_table(pte_table_phys(entry), paging_is_lower(tour->virt)))
        return "paging: table without the rights that its half has";
    return NULL;
}

/* Does a table hold what its link says? */
static const char *paging_audit_table(const struct paging_tour *tour)
{
    const paging_word *const table = paging_table(tour->space, pte_table_phys(tour->entry));
    unsigned in_use = 0;
    bool mixed = false;

    for (unsigned i = 0; i < PTE_COUNT; i++) {
        const uint64_t entry = paging_load(&table[i]);
        in_use += entry != 0 ? 1 : 0;
        mixed = mixed || paging_kind(entry) > LOAM_ENTRY_PAGE;
    }
    if (in_use == 0)
        return "paging: empty table";
    if (in_use != pte_in_use(tour->entry))
        return "paging: entries in use are not as many as counted";
    if (mixed && tour->level == 2 && (tour->entry & PTE_MIXED) == 0)
        return "paging: table is not marked as one with entries that are not present";
    return NULL;
}

/* Is the higher half of the root the kernel's? */
static const char *paging_audit_shared(const struct loam_space *space)
{
    const paging_word *const own = paging_table(space, space->root.addr);
    const paging_word *const kernel = paging_table(space, space->kernel->root.addr);

    for (unsigned i = PTE_COUNT / 2; i < PTE_COUNT; i++) {
        const uint64_t other = paging_load(&own[i]) ^ paging_load(&kernel[i]);
        if ((other & ~(PTE_IN_USE | PTE_MIXED)) != 0)
            return "paging: higher half is not the kernel's";
    }
    return NULL;
}

/* Is a table of level 2 remembered? */
static unsigned paging_audit_recent(const struct paging_tour *tour)
{
    const uint64_t word = paging_load(&tour->space->recent[paging_recent_index(tour->virt)]);

    return word == (pte_table_phys(tour->entry) | paging_recent_tag(tour->virt)) ? 1 : 0;
}

static unsigned paging_recent_count(const struct loam_space *space)
{
    unsigned count = 0;

    for (unsigned i = 0; i < LOAM_SPACE_RECENT; i++)
        count += paging_load(&space->recent[i]) != 0 ? 1 : 0;
    return count;
}

/* All but the entries of the root that are the kernel's. */
static bool paging_tour_own(struct paging_tour *tour)
{
    const struct loam_space *const space = tour->space;

    do {
        if (!paging_tour_next(tour))
            return false;
    } while (space->kernel != NULL && !paging_is_lower(tour->virt));
    return true;
}

bool loam_space_has_table(struct loam_space *space, struct loam_phys_range range) LOAM_UNCHECKED
{
    struct paging_tour tour = { .space = space };
    bool found = loam_phys_range_contains(range, space->root);

    const loam_irq_state irq = paging_lock(space, PAGING_ALL);
    paging_tour_enter(&tour, space->features.levels, space->root.addr);
    while (!found && paging_tour_own(&tour)) {
        if (!pte_is_present(tour.entry) || pte_is_leaf(tour.entry, tour.level))
            continue;
        const uint64_t table = pte_table_phys(tour.entry);
        found = loam_phys_range_contains(range, loam_phys_at(table));
        if (tour.level > 2)
            paging_tour_enter(&tour, tour.level - 1, table);
    }
    paging_unlock(space, PAGING_ALL, irq);
    return found;
}

const char *loam_space_audit(const struct loam_space *space)
{
    struct paging_tour tour = { .space = space };
    const char *broken = NULL;
    uint64_t tables = 1;
    unsigned recent = 0;

    if (!loam_hhdm_is_genuine(space->hhdm))
        return "paging: direct map not from a boot adapter";
    if (atomic_load(&space->flushing_count) != 0)
        return "paging: a flush is pending";
    if (atomic_load(&space->open_count) != 0)
        return "paging: batch was never finished";
    if (space->kernel != NULL && (broken = paging_audit_shared(space)) != NULL)
        return broken;
    paging_tour_enter(&tour, space->features.levels, space->root.addr);
    while (paging_tour_own(&tour)) {
        if ((broken = paging_audit_entry(&tour)) != NULL)
            return broken;
        if (!pte_is_present(tour.entry) || pte_is_leaf(tour.entry, tour.level))
            continue;
        if (++tables > atomic_load(&space->table_count)) /* a cycle ends here, too */
            return "paging: more tables than counted, or one reached twice";
        if ((broken = paging_audit_table(&tour)) != NULL)
            return broken;
        recent += tour.level == 3 ? paging_audit_recent(&tour) : 0;
        paging_tour_enter(&tour, tour.level - 1, pte_table_phys(tour.entry));
    }
    if (recent != paging_recent_count(space))
        return "paging: remembers a table that is not there";
    return tables == atomic_load(&space->table_count) ? NULL : "paging: fewer tables than counted";
}

uint64_t loam_space_digest(const struct loam_space *space)
{
    struct paging_tour tour = { .space = space };
    uint64_t digest = loam_digest_add(LOAM_DIGEST_START, atomic_load(&space->table_count));

    paging_tour_enter(&tour, space->features.levels, space->root.addr);
    while (paging_tour_own(&tour)) {
        const bool present = pte_is_present(tour.entry);
        if (present && !pte_is_leaf(tour.entry, tour.level)) {
            paging_tour_enter(&tour, tour.level - 1, pte_table_phys(tour.entry));
            continue;
        }
        digest = loam_digest_add(digest, tour.virt | tour.level);
        digest = loam_digest_add(digest, tour.entry & ~(present ? PTE_HARDWARE : 0));
    }
    return digest;
}
