/*
 * books_tables.c - changes of page tables, with as many spare tables as they need. See books.h.
 */
#include <loam/loam.h>

#include "internal/books.h"

/* Most tables a range can need, were it mapped in 4 KiB pages. */
static uint64_t tables_at_most(const struct loam *mm, struct loam_virt_range virt)
{
    const uint64_t last = virt.start.addr + (virt.size - 1);
    uint64_t count = 0;
    for (unsigned shift = 21; shift < 12u + 9u * mm->features.levels; shift += 9)
        count += (last >> shift) - (virt.start.addr >> shift) + 1;
    return count;
}

/* Have more spare tables. @return false: there is no memory for any */
static bool books_refill_tables(struct loam *mm, uint64_t count)
{
    struct books_try tried = { false, 0 };

    do { /* ends: a bounded number of attempts */
        if (loam_books_refill(mm, &mm->tables, LOAM_OWNER_PAGE_TABLES, count) != 0)
            return true;
    } while (loam_books_relieve(mm, LOAM_ZONE_ANY, count, &tried));
    return false;
}

/* One operation on page tables, repeated with more and more spare tables until
 * it finds enough or there are no more. */
enum table_change { CHANGE_MAP, CHANGE_UNMAP, CHANGE_PROTECT };

static enum loam_status change_tables(struct loam *mm, enum table_change change,
                                      struct loam_virt_range virt, loam_phys phys,
                                      struct loam_attr attr)
{
    if (!loam_once_is_ready(&mm->once))
        return LOAM_STATE;
    for (uint64_t more = LOAM_SPARE_TABLES;; more *= 2) {
        enum loam_status st;
        if (change == CHANGE_MAP)
            st = loam_space_map(&mm->space, virt, phys, attr);
        else if (change == CHANGE_UNMAP)
            st = loam_space_unmap(&mm->space, virt);
        else
            st = loam_space_protect(&mm->space, virt, attr);
        if (st != LOAM_NO_MEMORY || more > 2 * (tables_at_most(mm, virt) + LOAM_SPARE_TABLES) ||
            !books_refill_tables(mm, more)) {
            loam_books_trim(mm, &mm->tables, LOAM_OWNER_PAGE_TABLES, LOAM_SPARE_TABLES);
            loam_books_retire_free(mm);
            return st;
        }
    }
}

/* Memory that is free, or a page table that could be written to, is nobody's to map. Asked
 * in checked builds only: it takes a look at every table. */
static bool may_be_mapped(struct loam *mm, struct loam_phys_range range, struct loam_attr attr)
{
    if (LOAM_CHECK < 2 || !loam_once_is_ready(&mm->once) || range.size == 0 ||
        !loam_range_fits(range.start.addr, range.size))
        return true; /* or refused for that */
    return loam_frame_free_in(&mm->frame, range) == 0 &&
           ((attr.prot & LOAM_PROT_WRITE) == 0 || !loam_space_has_table(&mm->space, range));
}

enum loam_status loam_map(struct loam *mm, struct loam_virt_range virt, loam_phys phys,
                          struct loam_attr attr)
{
    if (!may_be_mapped(mm, loam_phys_range_of(phys, virt.size), attr))
        return LOAM_INVALID;
    return change_tables(mm, CHANGE_MAP, virt, phys, attr);
}

enum loam_status loam_unmap(struct loam *mm, struct loam_virt_range virt)
{
    const struct loam_attr none = { LOAM_PROT_READ, LOAM_CACHE_WB };
    return change_tables(mm, CHANGE_UNMAP, virt, loam_phys_none(), none);
}

enum loam_status loam_protect(struct loam *mm, struct loam_virt_range virt, struct loam_attr attr)
{
    return change_tables(mm, CHANGE_PROTECT, virt, loam_phys_none(), attr);
}
