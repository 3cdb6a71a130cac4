/*
 * books.c - see books.h.
 *
 * Every frame of RAM is charged to one owner in mm->usage. Page tables and their
 * spare frames are PAGE_TABLES, usage nodes and theirs METADATA; both stocks are
 * filled from and trimmed to USABLE memory here, under mm->books.
 */
#include <loam/loam.h>

#include "internal/check.h"
#include "internal/try.h"

/* Where usable memory is taken from, in this order: what only few devices can
 * reach is kept for requests with a limit. */
static const uint64_t zone_floors[] = {
    UINT64_C(1) << 32, /* above 4 GiB */
    UINT64_C(1) << 24, /* above ISA's 16 MiB */
    UINT64_C(1) << 20, /* above what real mode reaches */
    0,
};

/* Move one block of usable memory to an owner. */
static enum loam_status take_locked(struct loam *mm, const struct loam_early_request *request,
                                    enum loam_owner owner, struct loam_phys_range *out)
    LOAM_NEEDS(mm->books)
{
    struct loam_usage_request place = {
        .owner = LOAM_OWNER_USABLE,
        .size = request->page_count * LOAM_PAGE_SIZE,
        .align_bytes =
            request->align_bytes > LOAM_PAGE_SIZE ? request->align_bytes : LOAM_PAGE_SIZE,
        .limit = request->limit,
    };
    loam_phys start = loam_phys_none();
    for (size_t i = 0; loam_phys_is_none(start) && i < sizeof zone_floors / sizeof zone_floors[0];
         i++) {
        place.from = zone_floors[i];
        start = loam_usage_find(&mm->usage, &place);
    }
    if (loam_phys_is_none(start))
        return LOAM_NO_MEMORY;
    const struct loam_phys_range range = loam_phys_range_of(start, place.size);
    LOAM_TRY(loam_usage_overwrite(&mm->usage, range, owner));
    *out = range;
    return LOAM_OK;
}

/* Keep spare nodes. Best effort: what then fails for want of one says so. */
static void refill_nodes_locked(struct loam *mm) LOAM_NEEDS(mm->books)
{
    const struct loam_early_request page = { .page_count = 1 };
    struct loam_phys_range range;
    while (loam_stock_level(&mm->nodes) < LOAM_SPARE_NODES / 2 &&
           take_locked(mm, &page, LOAM_OWNER_METADATA, &range) == LOAM_OK)
        loam_stock_add(&mm->nodes, range);
}

/* Add up to @p count frames to the table stock. @return how many */
static uint64_t refill_tables(struct loam *mm, uint64_t count)
{
    const struct loam_early_request page = { .page_count = 1 };
    struct loam_phys_range range;
    uint64_t added = 0;
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&mm->books);
    refill_nodes_locked(mm);
    while (added < count && take_locked(mm, &page, LOAM_OWNER_PAGE_TABLES, &range) == LOAM_OK) {
        loam_stock_add(&mm->tables, range);
        added++;
    }
    loam_ticketlock_release_irq(&mm->books, irq);
    return added;
}

/* Give spare table frames above the usual level back to usable memory. A frame
 * that no node can be had for stays in the stock. */
static void trim_tables(struct loam *mm)
{
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&mm->books);
    refill_nodes_locked(mm);
    while (loam_stock_level(&mm->tables) > LOAM_SPARE_TABLES) {
        const loam_phys frame = loam_stock_remove(&mm->tables);
        if (loam_phys_is_none(frame))
            break;
        const struct loam_phys_range range = loam_phys_range_of(frame, LOAM_PAGE_SIZE);
        if (loam_usage_overwrite(&mm->usage, range, LOAM_OWNER_USABLE) != LOAM_OK) {
            loam_stock_add(&mm->tables, range);
            break;
        }
    }
    loam_ticketlock_release_irq(&mm->books, irq);
}

/* Most tables a range can need, were it mapped in 4 KiB pages. */
static uint64_t tables_at_most(const struct loam *mm, struct loam_virt_range virt)
{
    const uint64_t last = virt.start.addr + (virt.size - 1);
    uint64_t count = 0;
    for (unsigned shift = 21; shift < 12u + 9u * mm->features.levels; shift += 9)
        count += (last >> shift) - (virt.start.addr >> shift) + 1;
    return count;
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
            refill_tables(mm, more) == 0) {
            trim_tables(mm);
            return st;
        }
    }
}

enum loam_status loam_map(struct loam *mm, struct loam_virt_range virt, loam_phys phys,
                          struct loam_attr attr)
{
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

enum loam_status loam_take(struct loam *mm, const struct loam_early_request *request,
                           enum loam_owner owner, struct loam_phys_range *out)
{
    if (!loam_once_is_ready(&mm->once))
        return LOAM_STATE;
    if (request->page_count == 0 || request->page_count > UINT64_MAX / LOAM_PAGE_SIZE ||
        (request->align_bytes != 0 && !loam_is_power_of_two(request->align_bytes)) ||
        owner == LOAM_OWNER_USABLE || (unsigned)owner >= LOAM_OWNERS)
        return LOAM_INVALID;
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&mm->books);
    refill_nodes_locked(mm);
    const enum loam_status st = take_locked(mm, request, owner, out);
    loam_ticketlock_release_irq(&mm->books, irq);
    return st;
}

/* Is every byte of the range charged to the owner? */
static bool is_owned_by(struct loam *mm, struct loam_phys_range range, enum loam_owner owner)
{
    const uint64_t last = range.start.addr + (range.size - 1);
    struct loam_interval interval;
    for (uint64_t at = range.start.addr;;) {
        if (!loam_usage_lookup(&mm->usage, loam_phys_at(at), &interval) || interval.owner != owner)
            return false;
        const uint64_t end = interval.range.start.addr + (interval.range.size - 1);
        if (end >= last)
            return true;
        at = end + 1;
    }
}

enum loam_status loam_give(struct loam *mm, struct loam_phys_range range, enum loam_owner owner)
{
    if (!loam_once_is_ready(&mm->once))
        return LOAM_STATE;
    if (range.size == 0 || !loam_is_page_aligned(range.start.addr | range.size) ||
        !loam_range_fits(range.start.addr, range.size) || (unsigned)owner >= LOAM_OWNERS)
        return LOAM_INVALID;
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&mm->books);
    LOAM_REQUIRE(owner != LOAM_OWNER_USABLE && is_owned_by(mm, range, owner),
                 "loam: range given back is not its owner's", range.start.addr, range.size);
    refill_nodes_locked(mm);
    const enum loam_status st = loam_usage_overwrite(&mm->usage, range, LOAM_OWNER_USABLE);
    loam_ticketlock_release_irq(&mm->books, irq);
    return st;
}

static enum loam_status reclaim_locked(struct loam *mm, uint64_t *bytes) LOAM_NEEDS(mm->books)
{
    struct loam_interval interval;
    uint64_t at = 0;
    while (loam_usage_next(&mm->usage, loam_phys_at(at), &interval)) {
        const uint64_t last = interval.range.start.addr + (interval.range.size - 1);
        if (interval.owner == LOAM_OWNER_BOOTLOADER) {
            refill_nodes_locked(mm);
            LOAM_TRY(loam_usage_overwrite(&mm->usage, interval.range, LOAM_OWNER_USABLE));
            *bytes += interval.range.size;
        }
        if (last == UINT64_MAX)
            break;
        at = last + 1;
    }
    mm->reclaimed = true;
    return LOAM_OK;
}

enum loam_status loam_reclaim(struct loam *mm, uint64_t *bytes)
{
    if (!loam_once_is_ready(&mm->once))
        return LOAM_STATE;
    *bytes = 0;
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&mm->books);
    const enum loam_status st = mm->reclaimed ? LOAM_STATE : reclaim_locked(mm, bytes);
    loam_ticketlock_release_irq(&mm->books, irq);
    return st;
}
