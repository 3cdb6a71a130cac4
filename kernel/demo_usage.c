/*
 * demo_usage.c - the physical memory, interval by interval.
 */
#include "demos.h"
#include "log.h"
#include "memory.h"

bool demo_usage(struct loam_locked *heap)
{
    (void)heap;
    const struct loam_writer writer = log_writer();
    struct loam_interval interval;
    loam_phys at = loam_phys_at(0);
    log_info("physical memory usage:");
    while (loam_usage_next(&memory.usage, at, &interval)) {
        const uint64_t start = interval.range.start.addr;
        log_text("    start: 0x%lx, end: 0x%lx: %s\n", start, start + (interval.range.size - 1),
                 loam_owner_name(interval.owner));
        if (!loam_interval_end(&interval, &at))
            break;
    }
    loam_print_usage(&memory, &writer);
    return true;
}
