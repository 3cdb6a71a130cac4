/*
 * reclaim.c - see reclaim.h.
 */
#include "reclaim.h"

#include "loader.h"
#include "log.h"
#include "memory.h"
#include "smp.h"
#include "text.h"

#define RANGES_MAX   256u
#define FILL_PATTERN 0xa5

static struct loam_phys_range ranges[RANGES_MAX];

/* @return how many ranges the bootloader has; *bytes receives their sum */
static unsigned list_ranges(uint64_t *bytes)
{
    struct loam_interval interval;
    loam_phys at = loam_phys_at(0);
    unsigned count = 0;
    *bytes = 0;
    while (count < RANGES_MAX && loam_usage_next(&memory.usage, at, &interval)) {
        if (interval.owner == LOAM_OWNER_BOOTLOADER) {
            struct loam_phys_range range = interval.range;
            if (range.start.addr == 0) { /* nobody gets frame 0 */
                range.start.addr += LOAM_PAGE_SIZE;
                range.size -= LOAM_PAGE_SIZE;
            }
            ranges[count++] = range;
            *bytes += range.size;
        }
        if (!loam_interval_end(&interval, &at))
            break;
    }
    return count;
}

/* Overwrite what of the range is free now, page by page and each taken for as long: parts
 * may be tables, nodes or somebody's frames already. */
static uint64_t fill_free(struct loam_phys_range range)
{
    uint64_t filled = 0;
    for (uint64_t at = 0; at < range.size; at += LOAM_PAGE_SIZE) {
        const struct loam_phys_range page =
            loam_phys_range_of(loam_phys_at(range.start.addr + at), LOAM_PAGE_SIZE);
        if (loam_frame_reserve(&memory.frame, page) != LOAM_OK)
            continue;
        memset(loam_hhdm_pointer(memory.tables.hhdm, page.start), FILL_PATTERN, LOAM_PAGE_SIZE);
        loam_frame_release(&memory.frame, page);
        filled += LOAM_PAGE_SIZE;
    }
    return filled;
}

static bool reclaim_all(void)
{
    const struct loam_writer writer = log_writer();
    uint64_t expected, bytes = 0, filled = 0;
    const unsigned count = list_ranges(&expected);
    loam_print_usage(&memory, &writer);
    loader_forget();
    const enum loam_status st = loam_reclaim(&memory, &bytes);
    if (st != LOAM_OK) {
        log_error("reclaim refused: %s", loam_status_name(st));
        return false;
    }
    for (unsigned i = 0; i < count; i++)
        filled += fill_free(ranges[i]);
    log_info("reclaimed %lu bytes in %u ranges, overwrote %lu", bytes, count, filled);
    loam_print_usage(&memory, &writer);
    return count == RANGES_MAX || bytes == expected;
}

bool reclaim_run(void)
{
    if (!smp_left_the_bootloader()) {
        log_error("reclaim refused: a CPU still runs on the bootloader's memory");
        return false;
    }
    memory_idle_stop(); /* what they zero would not be overwritten */
    const bool went_well = reclaim_all();
    memory_idle_resume();
    return went_well;
}
