/*
 * hotplug.h - memory that comes and goes while the kernel runs.
 *
 *     add      books of its frames -> direct map -> usage -> the heap's page map -> frame
 *     remove   frame -> usage -> direct map
 *
 * For the frame allocator by itself: loam_frame_add(), loam_frame_remove().
 */
#ifndef LOAM_HOTPLUG_H
#define LOAM_HOTPLUG_H

#include "books.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Context of both: any CPU, one call at a time, where loam_map() and loam_unmap() may
 * be called; others may take and give memory meanwhile.
 */

/**
 * Use RAM that was not there before, or was removed.
 *
 * @param mm    subsystem
 * @param range page-aligned, without frame 0; in the usage map nobody's, or RESERVED
 * @param node  NUMA node, or LOAM_NODE_NONE; memory that was removed keeps its own
 *
 * @return LOAM_OK; LOAM_OVERLAP: part of it is somebody's, or it was there before but
 *         not all of it was removed; LOAM_NO_SPACE: the direct map cannot show it;
 *         LOAM_NO_MEMORY: for its books, or tables; LOAM_INVALID: empty, unaligned or
 *         past 2^64; LOAM_STATE before loam_init()
 */
LOAM_NODISCARD enum loam_status loam_add_memory(struct loam *mm, struct loam_phys_range range,
                                                uint32_t node);

/**
 * Stop using RAM, none of which anybody has: it becomes RESERVED and leaves the direct
 * map. What its books cost stays METADATA, for when it comes back.
 *
 * @param range as for loam_frame_remove(): blocks of 2 MiB, or the rest of a region
 *
 * @return LOAM_OK; LOAM_OVERLAP: some of it is in use; LOAM_NOT_FOUND: some of it is not
 *         managed; LOAM_NO_MEMORY: for a node or a table; LOAM_INVALID: malformed;
 *         LOAM_STATE before loam_init()
 */
LOAM_NODISCARD enum loam_status loam_remove_memory(struct loam *mm, struct loam_phys_range range);

#ifdef __cplusplus
}
#endif
#endif
