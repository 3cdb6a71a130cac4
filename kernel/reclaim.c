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
            ranges[count++] = interval.range;
            *bytes += interval.range.size;
        }
        if (!loam_interval_end(&interval, &at))
            break;
    }
    return count;
}

/* Overwrite what of the range is free now: parts may serve as nodes already. */
static uint64_t fill_usable(struct loam_phys_range range)
{
    struct loam_interval interval;
    loam_phys at = range.start;
    const uint64_t end = range.start.addr + range.size;
    uint64_t filled = 0;
    while (at.addr < end && loam_usage_next(&memory.usage, at, &interval)) {
        const uint64_t start =
            interval.range.start.addr > at.addr ? interval.range.start.addr : at.addr;
        const uint64_t stop = interval.range.start.addr + interval.range.size;
        const uint64_t last = stop != 0 && stop < end ? stop : end;
        if (start >= end)
            break;
        if (interval.owner == LOAM_OWNER_USABLE) {
            memset(loam_hhdm_pointer(memory.tables.hhdm, loam_phys_at(start)), FILL_PATTERN,
                   last - start);
            filled += last - start;
        }
        at.addr = last;
    }
    return filled;
}

bool reclaim_run(void)
{
    uint64_t expected, bytes = 0, filled = 0;
    if (!smp_left_the_bootloader()) {
        log_error("reclaim refused: a CPU still runs on the bootloader's memory");
        return false;
    }
    const unsigned count = list_ranges(&expected);
    loader_forget();
    const enum loam_status st = loam_reclaim(&memory, &bytes);
    if (st != LOAM_OK) {
        log_error("reclaim refused: %s", loam_status_name(st));
        return false;
    }
    for (unsigned i = 0; i < count; i++)
        filled += fill_usable(ranges[i]);
    log_info("reclaimed %lu bytes in %u ranges, overwrote %lu", bytes, count, filled);
    return count == RANGES_MAX || bytes == expected;
}
