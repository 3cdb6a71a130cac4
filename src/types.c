/*
 * types.c - see types.h.
 */
#include <loam/types.h>

#include "internal/check.h"

const char *loam_status_name(enum loam_status status)
{
    static const char *const names[] = {
        [LOAM_OK] = "ok",
        [LOAM_NO_MEMORY] = "no memory",
        [LOAM_NO_SPACE] = "no space",
        [LOAM_INVALID] = "invalid",
        [LOAM_OVERLAP] = "overlap",
        [LOAM_NOT_FOUND] = "not found",
        [LOAM_UNSUPPORTED] = "unsupported",
        [LOAM_STATE] = "wrong state",
    };
    return (size_t)status < sizeof(names) / sizeof(names[0]) ? names[status] : "unknown status";
}

unsigned loam_phys_range_cut(struct loam_phys_range range, struct loam_phys_range cut,
                             struct loam_phys_range rest[2])
{
    LOAM_REQUIRE(loam_range_fits(range.start.addr, range.size),
                 "types: a range to cut from ends at or below 2^64", range.start.addr, range.size);
    LOAM_REQUIRE(loam_range_fits(cut.start.addr, cut.size),
                 "types: a range to cut ends at or below 2^64", cut.start.addr, cut.size);
    if (range.size == 0)
        return 0;
    if (!loam_phys_range_overlaps(range, cut)) {
        rest[0] = range;
        return 1;
    }

    /* Last bytes, not ends: those may be 2^64. */
    const uint64_t range_last = range.start.addr + (range.size - 1);
    const uint64_t cut_last = cut.start.addr + (cut.size - 1);
    unsigned count = 0;
    if (range.start.addr < cut.start.addr)
        rest[count++] = loam_phys_range_of(range.start, cut.start.addr - range.start.addr);
    if (cut_last < range_last)
        rest[count++] = loam_phys_range_of(loam_phys_at(cut_last + 1), range_last - cut_last);
    return count;
}
