/*
 * loam_audit.c - do the layers agree with each other? And their digest. See loam.h.
 */
#include <loam/loam.h>

#include <stdatomic.h>

#include "internal/digest.h"

/* Frames of an owner, in ranges and singly; not of USABLE. */
static uint64_t frames_charged(const struct loam *mm, enum loam_owner owner)
{
    return mm->usage.total_bytes[owner] / LOAM_PAGE_SIZE + loam_ledger_total(&mm->ledger, owner);
}

/* Page tables of the kernel's space and of those that share its half: of one stock. */
static uint64_t tables_of_spaces(const struct loam *mm)
{
    uint64_t tables = 0;
    for (const struct loam_space *space = &mm->space; space != NULL; space = space->sharer)
        tables += atomic_load(&space->table_count);
    return tables;
}

/* Pages that a heap which grows has taken. */
static uint64_t heap_pages(struct loam *mm)
{
    struct loam_heap_stats stats = { .page_count = 0 };

    if (mm->heap.options.allocator.kind == LOAM_ALLOCATOR_HEAP)
        loam_heap_measure(&mm->cpu_heap, &stats);
    return stats.page_count;
}

/* What is charged to the library is what it has. */
static const char *audit_own_frames(struct loam *mm)
{
    const uint64_t setup_bytes =
        mm->frame_memory.size + mm->ledger_memory.size + mm->zeroed_memory.size + mm->added_bytes;
    const uint64_t tables = tables_of_spaces(mm);

    if (mm->tables.out_count != tables)
        return "loam: frames out of the table stock are not the tables of all spaces";
    if (mm->nodes.out_count != mm->usage.node_frame_count)
        return "loam: frames out of the node stock are not the nodes of the usage map";
    if (frames_charged(mm, LOAM_OWNER_PAGE_TABLES) != tables + mm->tables.frame_count)
        return "loam: page tables and their spare frames are not what is charged to them";
    if (frames_charged(mm, LOAM_OWNER_METADATA) !=
        mm->usage.node_frame_count + mm->nodes.frame_count + mm->vmap.ranges.node_frame_count +
            mm->vmap.nodes.frame_count + setup_bytes / LOAM_PAGE_SIZE)
        return "loam: metadata and spare frames for nodes are not what is charged to them";
    if (mm->usage.total_bytes[LOAM_OWNER_HEAP] != mm->heap_range.size)
        return "loam: the heap's span is not what is charged to it";
    if (loam_ledger_total(&mm->ledger, LOAM_OWNER_HEAP) != heap_pages(mm))
        return "loam: the heap's pages are not what is charged to it";
    return NULL;
}

/* What is to be retired when it is given back has not been. */
static const char *audit_retired(const struct loam *mm)
{
    for (unsigned i = 0; i < atomic_load(&mm->retire_count); i++)
        if (loam_frame_free_in(&mm->frame, loam_phys_range_of(mm->retire[i], LOAM_PAGE_SIZE)) != 0)
            return "loam: a frame that is to be retired is free";
    return NULL;
}

/* What the frame allocator may hand out is USABLE: free, zeroed, or in the ledger; all
 * else is not free. With equal sums it follows that no frame has two owners, or none. */
static const char *audit_frames(struct loam *mm)
{
    struct loam_frame_stats stats;
    uint64_t free_count = loam_zero_level(&mm->zeroed);
    for (unsigned zone = 0; zone < LOAM_ZONES; zone++) {
        loam_frame_measure(&mm->frame, (enum loam_zone)zone, &stats);
        free_count += stats.free_count;
    }
    if ((free_count + loam_ledger_sum(&mm->ledger)) * LOAM_PAGE_SIZE !=
        mm->usage.total_bytes[LOAM_OWNER_USABLE])
        return "loam: usable memory is not what is free and what the ledger counts";
    struct loam_interval interval;
    loam_phys at = loam_phys_at(0);
    while (loam_usage_next(&mm->usage, at, &interval)) {
        if (interval.owner != LOAM_OWNER_USABLE &&
            loam_frame_free_in(&mm->frame, interval.range) != 0)
            return "loam: a frame is free and charged to an owner";
        if (!loam_interval_end(&interval, &at))
            break;
    }
    return NULL;
}

const char *loam_audit(struct loam *mm)
{
    const char *broken = NULL;
    if (!loam_once_is_ready(&mm->once))
        return "loam: not initialised";
    if ((broken = loam_memmap_audit(&mm->memmap)) != NULL ||
        (broken = loam_early_audit(&mm->early)) != NULL ||
        (broken = loam_stock_audit(&mm->tables)) != NULL ||
        (broken = loam_stock_audit(&mm->nodes)) != NULL ||
        (broken = loam_usage_audit(&mm->usage)) != NULL ||
        (broken = loam_frame_audit(&mm->frame)) != NULL ||
        (broken = loam_ledger_audit(&mm->ledger)) != NULL ||
        (broken = loam_zero_audit(&mm->zeroed)) != NULL ||
        (broken = loam_space_audit(&mm->space)) != NULL ||
        (broken = loam_tlb_audit(&mm->tlb)) != NULL || (broken = loam_vmap_audit(mm)) != NULL ||
        (broken = loam_locked_audit(&mm->heap)) != NULL)
        return broken;
    if ((broken = audit_own_frames(mm)) != NULL || (broken = audit_retired(mm)) != NULL)
        return broken;
    return audit_frames(mm);
}

uint64_t loam_digest(struct loam *mm)
{
    uint64_t digest = LOAM_DIGEST_START;
    digest = loam_digest_add(digest, loam_once_is_ready(&mm->once));
    if (!loam_once_is_ready(&mm->once))
        return digest;
    digest = loam_digest_add(digest, loam_memmap_digest(&mm->memmap));
    digest = loam_digest_add(digest, loam_early_digest(&mm->early));
    digest = loam_digest_add(digest, loam_stock_digest(&mm->tables));
    digest = loam_digest_add(digest, loam_stock_digest(&mm->nodes));
    digest = loam_digest_add(digest, loam_usage_digest(&mm->usage));
    digest = loam_digest_add(digest, loam_frame_digest(&mm->frame));
    digest = loam_digest_add(digest, loam_ledger_digest(&mm->ledger));
    digest = loam_digest_add(digest, loam_zero_digest(&mm->zeroed));
    digest = loam_digest_add(digest, loam_space_digest(&mm->space));
    digest = loam_digest_add(digest, loam_vmap_digest(mm));
    digest = loam_digest_add(digest, loam_locked_digest(&mm->heap));
    digest = loam_digest_add(digest, atomic_load(&mm->retire_count));
    digest = loam_digest_add(digest, mm->added_bytes);
    return loam_digest_add(digest, mm->reclaimed);
}
