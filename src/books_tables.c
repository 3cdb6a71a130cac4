/*
 * books_tables.c - changes of page tables, with as many spare tables as they need. See books.h.
 */
#include <loam/loam.h>

#include <stdatomic.h>

#include "internal/books.h"

/* As many as there are frames: who needs more can never have them. */
#define TABLES_MORE_MAX (UINT64_C(1) << (LOAM_PHYS_BITS_MAX - LOAM_PAGE_SHIFT))

/* Have more spare tables: @p count of them, and another time twice as many. @return false:
 * there is no memory for any, nor has another CPU added what it has not used yet */
static bool books_refill_tables(struct loam *mm, uint64_t count)
{
    const uint64_t spare = count == LOAM_SPARE_TABLES ? 1 : count;
    struct books_try tried = { false, 0 };

    do { /* ends: a bounded number of attempts */
        if (loam_books_refill(mm, &mm->tables, LOAM_OWNER_PAGE_TABLES, count) != 0 ||
            loam_stock_level(&mm->tables) >= spare)
            return true;
    } while (loam_books_relieve(mm, LOAM_ZONE_ANY, count, &tried));
    return false;
}

void loam_books_trim_tables(struct loam *mm)
{
    if (atomic_load(&mm->refill_count) == 0)
        loam_books_trim(mm, &mm->tables, LOAM_OWNER_PAGE_TABLES, LOAM_SPARE_TABLES);
    loam_books_retire_free(mm);
}

bool loam_more_tables(struct loam *mm, enum loam_status st, uint64_t *more)
{
    const bool was_refilled = *more != 0;

    if (!loam_once_is_ready(&mm->once))
        return false;
    *more = was_refilled ? *more * 2 : LOAM_SPARE_TABLES;
    if (st == LOAM_NO_MEMORY && !was_refilled)
        atomic_fetch_add(&mm->refill_count, 1);
    if (st == LOAM_NO_MEMORY && *more <= TABLES_MORE_MAX && books_refill_tables(mm, *more))
        return true;
    if (st == LOAM_NO_MEMORY || was_refilled)
        atomic_fetch_sub(&mm->refill_count, 1);
    loam_books_trim_tables(mm);
    return false;
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
    enum loam_status st;
    uint64_t more = 0;

    if (!loam_once_is_ready(&mm->once))
        return LOAM_STATE;
    if (!may_be_mapped(mm, loam_phys_range_of(phys, virt.size), attr))
        return LOAM_INVALID;
    do
        st = loam_space_map(&mm->space, virt, phys, attr);
    while (loam_more_tables(mm, st, &more));
    return st;
}

enum loam_status loam_unmap(struct loam *mm, struct loam_virt_range virt)
{
    enum loam_status st;
    uint64_t more = 0;

    if (!loam_once_is_ready(&mm->once))
        return LOAM_STATE;
    do
        st = loam_space_unmap(&mm->space, virt);
    while (loam_more_tables(mm, st, &more));
    return st;
}

enum loam_status loam_protect(struct loam *mm, struct loam_virt_range virt, struct loam_attr attr)
{
    enum loam_status st;
    uint64_t more = 0;

    if (!loam_once_is_ready(&mm->once))
        return LOAM_STATE;
    do
        st = loam_space_protect(&mm->space, virt, attr);
    while (loam_more_tables(mm, st, &more));
    return st;
}
