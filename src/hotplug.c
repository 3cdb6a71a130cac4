/*
 * hotplug.c - see hotplug.h. What may fail comes first; then what is undone.
 */
#include <loam/loam.h>

#include "internal/books.h"
#include "internal/check.h"
#include "internal/try.h"

static const struct loam_attr hotplug_attr = { LOAM_PROT_READ | LOAM_PROT_WRITE, LOAM_CACHE_WB };

static bool hotplug_is_valid(struct loam_phys_range range)
{
    return range.size != 0 && range.start.addr >= LOAM_PAGE_SIZE &&
           loam_is_page_aligned(range.start.addr | range.size) &&
           loam_range_fits(range.start.addr, range.size);
}

/* Is it nobody's, or all RESERVED? */
static bool hotplug_is_unused(struct loam *mm, struct loam_phys_range range)
{
    struct loam_usage_totals totals;

    return loam_usage_totals_in(&mm->usage, range, &totals) == LOAM_OK &&
           (totals.interval_count == 0 || totals.bytes[LOAM_OWNER_RESERVED] == range.size);
}

/* Where the direct map shows a range. @return false: it cannot */
static bool hotplug_virt(const struct loam *mm, struct loam_phys_range range,
                         struct loam_virt_range *virt)
{
    const uint64_t last = range.start.addr + (range.size - 1);

    if (last >= mm->window_bytes || last >> mm->features.phys_bits != 0)
        return false;
    *virt = loam_virt_range_of(loam_hhdm_virt(mm->tables.hhdm, range.start), range.size);
    return true;
}

static enum loam_status hotplug_record(struct loam *mm, struct loam_phys_range range,
                                       enum loam_owner owner)
{
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&mm->books);
    const enum loam_status st = loam_books_record(mm, range, owner);
    loam_ticketlock_release_irq(&mm->books, irq);
    return st;
}

/* Where the RAM ends that was there at boot: books that lie in added memory would keep it
 * from being removed. */
static uint64_t hotplug_boot_end(const struct loam *mm)
{
    for (size_t i = mm->memmap.entry_count; i-- > 0;)
        if (mm->memmap.entry[i].type == LOAM_MEM_USABLE)
            return mm->memmap.entry[i].range.start.addr + mm->memmap.entry[i].range.size;
    return 0;
}

/* Room for books, zeroed or not. */
static enum loam_status hotplug_make_room(struct loam *mm, uint64_t bytes,
                                          struct loam_phys_range *room)
{
    const struct loam_frame_request request = {
        .page_count = bytes / LOAM_PAGE_SIZE + !loam_is_page_aligned(bytes),
        .limit = hotplug_boot_end(mm),
    };

    (void)loam_zero_drain(&mm->zeroed);
    room->size = request.page_count * LOAM_PAGE_SIZE;
    if (loam_frame_alloc_range(&mm->frame, &request, &room->start) != LOAM_OK)
        return LOAM_NO_MEMORY;
    const enum loam_status st = hotplug_record(mm, *room, LOAM_OWNER_METADATA);
    if (st != LOAM_OK)
        loam_frame_release(&mm->frame, *room);
    else
        mm->added_bytes += room->size;
    return st;
}

/* That was not needed; what was one interval before is one again, for which no node is
 * missing. */
static void hotplug_drop_room(struct loam *mm, struct loam_phys_range room)
{
    const enum loam_status st = hotplug_record(mm, room, LOAM_OWNER_USABLE);

    if (st != LOAM_OK)
        return; /* never; or it stays METADATA */
    mm->added_bytes -= room.size;
    loam_frame_release(&mm->frame, room);
}

/* What the heap needs, if it is to have its pages there, too: so many pages can be looked
 * up then. 0: it does not */
static uint64_t hotplug_map_pages(const struct loam *mm, struct loam_phys_range range)
{
    const uint64_t bytes = LOAM_PAGEMAP_SPREAD * LOAM_PAGE_SIZE;
    const uint64_t last = range.start.addr + (range.size - 1);
    const uint64_t pages = (last / bytes + 1) * LOAM_PAGEMAP_SPREAD;

    if (mm->heap.options.allocator.kind != LOAM_ALLOCATOR_HEAP ||
        pages <= loam_pagemap_pages(&mm->cpu_heap.map))
        return 0;
    return pages;
}

/* Rooms for what keeps books of frames and of the heap's pages. */
struct hotplug_rooms {
    struct loam_phys_range frame, map;
    uint64_t map_pages;
};

static void hotplug_drop_rooms(struct loam *mm, const struct hotplug_rooms *rooms)
{
    if (rooms->map.size != 0)
        hotplug_drop_room(mm, rooms->map);
    if (rooms->frame.size != 0)
        hotplug_drop_room(mm, rooms->frame);
}

/* @param is_known its books are there, from before it was removed */
static enum loam_status hotplug_make_rooms(struct loam *mm, struct loam_phys_range range,
                                           bool is_known, struct hotplug_rooms *rooms)
{
    enum loam_status st = LOAM_OK;

    rooms->map_pages = hotplug_map_pages(mm, range);
    if (!is_known)
        LOAM_TRY(
            hotplug_make_room(mm, loam_frame_add_bytes_needed(&mm->frame, range), &rooms->frame));
    if (rooms->map_pages != 0)
        st = hotplug_make_room(mm, loam_pagemap_bytes_needed(rooms->map_pages), &rooms->map);
    if (st != LOAM_OK) {
        rooms->map.size = 0;
        hotplug_drop_rooms(mm, rooms);
    }
    return st;
}

/* The heap's list of tables becomes longer; the old one stays, for who is reading it. */
static void hotplug_grow_map(struct loam *mm, const struct hotplug_rooms *rooms)
{
    if (rooms->map_pages == 0)
        return;
    void *const memory = loam_hhdm_pointer(mm->tables.hhdm, rooms->map.start);
    __builtin_memset(memory, 0, (size_t)rooms->map.size);
    const enum loam_status st =
        loam_pagemap_grow(&mm->cpu_heap.map, rooms->map_pages, memory, rooms->map.size);
    LOAM_ASSERT(st == LOAM_OK);
}

enum loam_status loam_add_memory(struct loam *mm, struct loam_phys_range range, uint32_t node)
{
    struct loam_frame_addition addition = { .range = range, .node = node };
    struct hotplug_rooms rooms = { .map_pages = 0 };
    struct loam_virt_range virt;

    if (!loam_once_is_ready(&mm->once))
        return LOAM_STATE;
    if (!hotplug_is_valid(range))
        return LOAM_INVALID;
    const enum loam_status known = loam_frame_can_add(&mm->frame, range);
    if (known == LOAM_OVERLAP || !hotplug_is_unused(mm, range))
        return LOAM_OVERLAP;
    if (!hotplug_virt(mm, range, &virt))
        return LOAM_NO_SPACE;
    LOAM_TRY(hotplug_make_rooms(mm, range, known != LOAM_OK, &rooms));
    if (rooms.frame.size != 0) {
        addition.memory = loam_hhdm_pointer(mm->tables.hhdm, rooms.frame.start);
        addition.memory_bytes = (size_t)rooms.frame.size;
    }
    enum loam_status st = loam_map(mm, virt, range.start, hotplug_attr);
    if (st == LOAM_OK) {
        st = hotplug_record(mm, range, LOAM_OWNER_USABLE);
        if (st == LOAM_OK) {
            hotplug_grow_map(mm, &rooms);
            return loam_frame_add(&mm->frame, &addition);
        }
        (void)!loam_unmap(mm, virt);
    }
    hotplug_drop_rooms(mm, &rooms);
    return st;
}

enum loam_status loam_remove_memory(struct loam *mm, struct loam_phys_range range)
{
    const struct loam_frame_addition again = { .range = range };
    struct loam_virt_range virt;

    if (!loam_once_is_ready(&mm->once))
        return LOAM_STATE;
    if (!hotplug_is_valid(range))
        return LOAM_INVALID;
    if (!hotplug_virt(mm, range, &virt))
        return LOAM_NOT_FOUND;
    (void)loam_zero_drain(&mm->zeroed);
    LOAM_TRY(loam_frame_remove(&mm->frame, range));
    enum loam_status st = hotplug_record(mm, range, LOAM_OWNER_RESERVED);
    if (st == LOAM_OK) {
        st = loam_unmap(mm, virt);
        if (st == LOAM_OK)
            return LOAM_OK;
        (void)hotplug_record(mm, range, LOAM_OWNER_USABLE);
    }
    const enum loam_status back = loam_frame_add(&mm->frame, &again);
    LOAM_ASSERT(back == LOAM_OK);
    return st == LOAM_OK ? back : st;
}
