/*
 * paging_collect.c - see paging.h: frames that were detached come out of the tables, which
 * are the list of them.
 */
#include <loam/paging.h>

#include "internal/check.h"
#include "internal/paging_edit.h"

/* Add memory to the list of runs. @return false: it does not fit */
static bool paging_collect_add(struct loam_phys_range *out, size_t *count, size_t max,
                               struct loam_phys_range memory)
{
    struct loam_phys_range *const last = *count == 0 ? NULL : &out[*count - 1];

    if (last != NULL && last->start.addr + last->size == memory.start.addr) {
        last->size += memory.size;
        return true;
    }
    if (*count == max)
        return false;
    out[(*count)++] = memory;
    return true;
}

/* Take out the frames of one entry, at @p virt in a range of which it covers @p size bytes.
 * @return false: no more fit */
static bool paging_collect_entry(const struct paging_slot *slot, uint64_t virt, uint64_t size,
                                 struct loam_phys_range *out, size_t *count, size_t max)
{
    const uint64_t span = pte_span(slot->level);

    LOAM_REQUIRE(paging_kind(slot->entry) == LOAM_ENTRY_HELD,
                 "paging: what is collected is not held (address, entry)", virt, slot->entry);
    LOAM_REQUIRE(size == span, "paging: a large entry reaches over what is collected", virt, span);
    if (!paging_collect_add(out, count, max,
                            loam_phys_range_of(loam_phys_at(pte_held_phys(slot->entry)), span)))
        return false;
    paging_store(&slot->table[slot->index], 0);
    return true;
}

/* The held entries of one table, from the start of @p rest. @return false: no more fit */
static bool paging_collect_run_locked(struct paging_edit *edit, struct loam_virt_range *rest,
                                      struct loam_phys_range *out, size_t *count, size_t max)
    LOAM_NEEDS(edit->walk.space->locks)
{
    struct paging_slot slot = paging_find_locked(&edit->walk, rest->start.addr, 1);
    const uint64_t span = pte_span(slot.level);
    unsigned taken = 0;
    bool fits = true;

    for (; slot.index < PTE_COUNT && rest->size != 0; slot.index++) {
        const uint64_t room = span - (rest->start.addr & (span - 1));
        const uint64_t size = room < rest->size ? room : rest->size;
        slot.entry = paging_load(&slot.table[slot.index]);
        paging_require_ours(edit->walk.space, slot.entry, slot.level, slot.index);
        if (pte_is_present(slot.entry) && !pte_is_leaf(slot.entry, slot.level))
            break; /* a table, which the next search goes into */
        if (slot.entry != 0) {
            fits = paging_collect_entry(&slot, rest->start.addr, size, out, count, max);
            if (!fits)
                break;
            taken++;
        }
        rest->start.addr += size;
        rest->size -= size;
    }
    if (taken != 0 && paging_count_locked(&edit->walk, slot.level, -(int)taken) == 0)
        paging_prune_locked(edit, slot.level);
    return fits;
}

size_t loam_space_batch_collect(struct loam_space_batch *batch, struct loam_virt_range *rest,
                                struct loam_phys_range *out, size_t max) LOAM_UNCHECKED
{
    struct loam_space *const space = batch->space;
    struct paging_edit edit;
    size_t count = 0;
    bool fits = true;

    paging_require_open(batch);
    LOAM_REQUIRE(max != 0, "paging: no room for what is collected", rest->start.addr, rest->size);
    LOAM_REQUIRE(rest->size == 0 || paging_range_is_valid(space, *rest),
                 "paging: what is collected is no range of pages", rest->start.addr, rest->size);
    while (rest->size != 0 && fits) {
        const loam_irq_state irq = paging_lock(space, PAGING_ALL);
        paging_begin(&edit, space, batch, *rest);
        edit.stripes = PAGING_ALL;
        fits = paging_collect_run_locked(&edit, rest, out, &count, max);
        paging_unlock(space, PAGING_ALL, irq);
    }
    return count;
}
