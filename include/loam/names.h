/*
 * names.h - what is known about addresses, for dumps and for reports of faults.
 *
 * An address is asked for in the order of this list; the first that knows it names it:
 *
 *     image      "kernel text", "kernel constants", "kernel data", by a section's rights
 *     vrange     the name of the range, of the range whose guard it is, or that it is free
 *     landmark   what the kernel has mapped outside of all windows: "local APIC"
 *     direct map physical memory at hhdm.offset
 *
 * Whatever is NULL is not known and not asked. Nothing here is owned.
 */
#ifndef LOAM_NAMES_H
#define LOAM_NAMES_H

#include "directmap.h"
#include "frame.h"
#include "record.h"
#include "usage.h"
#include "vrange.h"

#ifdef __cplusplus
extern "C" {
#endif

struct loam;

/* A place that is in no window of the vrange. */
struct loam_landmark {
    struct loam_virt_range range; /* not empty; may end at 2^64 */
    const char *name;             /* permanent */
};

/* Where names come from. All is borrowed. */
struct loam_names {
    struct loam_space *space; /* whose addresses they are; never NULL */
    struct loam_vrange *vrange;
    struct loam_usage *usage;         /* who owns the memory behind */
    const struct loam_frame *frame;   /* which memory is RAM, and free */
    const struct loam_record *record; /* blocks and their references */
    const struct loam_image *image;   /* checked */
    const struct loam_landmark *landmark;
    size_t landmark_count;
};

/**
 * What a subsystem knows: space, usage map and frames. The kernel adds the rest.
 *
 * @param mm initialised
 */
LOAM_NODISCARD struct loam_names loam_names_of(struct loam *mm);

enum loam_place_kind {
    LOAM_PLACE_UNNAMED,
    LOAM_PLACE_IMAGE,
    LOAM_PLACE_RANGE,        /* of the vrange, in use */
    LOAM_PLACE_WAITING,      /* a range that was freed and not purged yet, its guards too */
    LOAM_PLACE_GUARD_BEFORE, /* of the range that is named */
    LOAM_PLACE_GUARD_AFTER,
    LOAM_PLACE_FREE, /* in a window, but in no range */
    LOAM_PLACE_LANDMARK,
    LOAM_PLACE_DIRECT_MAP,
};

struct loam_place {
    enum loam_place_kind kind;
    const char *name; /* never NULL */
    loam_virt first;  /* of the image section, range or landmark, without guards; of the
                                    gap; of the direct map; else 0 */
    loam_virt last;   /* all from the address asked for up to here, inclusive, is in the
                                    same place: cut where another could begin */
    const struct loam_image_section *section; /* of LOAM_PLACE_IMAGE, else NULL */
};

/**
 * What is at an address, mapped or not.
 *
 * Context: as loam_vrange_lookup(). O(log ranges + landmarks)
 */
LOAM_NODISCARD struct loam_place loam_names_find(const struct loam_names *names, loam_virt at);

/* "rwxug": read, write, execute, user, global. What is denied is a dash. */
struct loam_rights {
    char text[6];
};
LOAM_NODISCARD struct loam_rights loam_rights_of(loam_prot prot);

/** Name of a cache type: "WB". @param cache any value; unknown: "?" @return never NULL */
LOAM_NODISCARD const char *loam_cache_name(enum loam_cache cache);

#ifdef __cplusplus
}
#endif
#endif
