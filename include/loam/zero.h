/*
 * zero.h - page frames that are zeroed beforehand, by CPUs with nothing else to do.
 *
 *     idle CPU   frame -> zeroed -> [ pool ]     loam_zero_refill()
 *     any CPU              frame <- [ pool ]     loam_zero_take()
 *
 * A pool holds single frames of one frame allocator, which are in use as far as that
 * one knows. They lie in groups of at most 64 slots:
 *
 *     group    full: a bit per slot  | slot | slot | ... | slot |
 *     slot     empty -> reserved -> a frame, and its bit set -> bit cleared -> empty
 *
 * Who clears a slot's bit owns the frame in it; who makes an empty slot a reserved one
 * fills it. So nobody waits for anybody, and no frame can be had twice. Each CPU
 * begins at a group of its own and then looks at the others; bits that are only a
 * hint say which have frames. Frames are not linked through themselves: they stay
 * zero.
 *
 * A context that stops for ever inside a call takes one frame along, and a slot.
 *
 * At LOAM_CHECK 2 each frame is looked at when it comes and when it goes: one that is
 * not zero panics (subject: the frame; detail: offset of the first byte).
 *
 * Costs 8 bytes per frame of the capacity, and 64 to 120 per group.
 */
#ifndef LOAM_ZERO_H
#define LOAM_ZERO_H

#include "frame.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LOAM_ZERO_CAPACITY_MAX 65536u /* frames of a pool: 256 MiB */

struct loam_zero_group;

/* Read-only outside zero.c. */
struct loam_zero_pool {
    struct loam_frame *frame; /* borrowed */
    struct loam_hhdm hhdm;
    unsigned char *groups; /* group_count of group_bytes each */
    size_t group_bytes;
    unsigned group_count;
    unsigned cpu_count;
    unsigned cpu_groups; /* from the first of one CPU to the first of the next */
    uint64_t capacity;
    uint64_t reserve_count;
    LOAM_ATOMIC(uint64_t) allowance;                            /* see loam_zero_refill() */
    LOAM_ATOMIC(uint32_t) is_counted;                           /* a CPU counts free memory */
    LOAM_ATOMIC(uint64_t) shown[LOAM_ZERO_CAPACITY_MAX / 4096]; /* groups that may have frames */
};

struct loam_zero_setup {
    struct loam_frame *frame; /* borrowed */
    struct loam_hhdm hhdm;    /* shows all memory that frame manages */
    unsigned cpu_count;       /* 1..LOAM_CPUS_MAX: CPUs that will call */
    uint64_t capacity;        /* 1..LOAM_ZERO_CAPACITY_MAX frames */
    uint64_t reserve_count;   /* frames that a refill leaves free */
    void *memory;             /* 64-byte aligned; owned by the pool from now on; not part
                                 of what frame manages */
    size_t memory_bytes;
};

struct loam_zero_stats {
    uint64_t level;         /* frames in the pool */
    uint64_t hit_count;     /* taken from it */
    uint64_t miss_count;    /* taken otherwise: zeroed at once, or none to be had */
    uint64_t added_count;   /* by refill and put */
    uint64_t drained_count; /* given back to the frame allocator */
};

/*
 * Default context of the functions here: any CPU, any interrupt state, also in
 * interrupt handlers, not NMI. None waits for another CPU.
 */

/**
 * Bytes that loam_zero_init() needs.
 *
 * @param setup cpu_count and capacity
 *
 * @return bytes; 0: one of them is out of its range
 */
LOAM_NODISCARD size_t loam_zero_bytes_needed(const struct loam_zero_setup *setup);

/**
 * Start empty. A direct map that no boot adapter made panics.
 *
 * @return LOAM_OK; LOAM_INVALID: malformed; LOAM_NO_SPACE: memory_bytes is less than
 *         loam_zero_bytes_needed()
 *
 * Context: one CPU, before anybody uses the pool.
 */
LOAM_NODISCARD enum loam_status loam_zero_init(struct loam_zero_pool *pool,
                                               const struct loam_zero_setup *setup);

/**
 * Take a zeroed frame: from the pool, or from the frame allocator and zeroed at once.
 *
 * @param pool pool
 * @param zone highest acceptable memory. For a zone but LOAM_ZONE_ANY some frames of
 *             the pool are looked at, all only before the request fails
 *
 * @return the frame, wholly zero; the caller's until loam_zero_put() or
 *         loam_frame_free(), order 0. loam_phys_none(): neither the pool nor the
 *         frame allocator has one, but for those that a context owns which is
 *         stopped inside a call
 */
LOAM_NODISCARD loam_phys loam_zero_take(struct loam_zero_pool *pool, enum loam_zone zone);

/**
 * Allocate a block as loam_frame_alloc() does, and zero it at once; order 0: as
 * loam_zero_take(). If there is no such block, the pool is drained first, and stays
 * so. O(2^order)
 *
 * @return first frame, the caller's until loam_frame_free(); loam_phys_none() as
 *         loam_frame_alloc()
 */
LOAM_NODISCARD loam_phys loam_zero_alloc(struct loam_zero_pool *pool, unsigned order,
                                         enum loam_zone zone);

/**
 * Zero frames and add them: for CPUs that are idle, several at once if they like. An
 * interrupt is held up by nothing here.
 *
 * Leaves reserve_count frames free, by a count of free memory, O(memory), that is made
 * anew after every drain, and after a 1024th of memory was added: by so much the
 * reserve may be too small when others use up memory meanwhile.
 *
 * @param most frames; after each few it is good to see whether there is other work
 *
 * @return how many: fewer than @p most if the pool is full or memory short. 0: the CPU
 *         may sleep
 */
LOAM_NODISCARD size_t loam_zero_refill(struct loam_zero_pool *pool, size_t most);

/** Give a frame back that is wholly zero; one that is not a page panics. It is
 * freed if the pool is full. */
void loam_zero_put(struct loam_zero_pool *pool, loam_phys frame);

/** Free all frames of the pool: before some other request for memory is let fail.
 * @return how many */
size_t loam_zero_drain(struct loam_zero_pool *pool);

/** Is a frame in the pool? O(capacity) */
LOAM_NODISCARD bool loam_zero_has(const struct loam_zero_pool *pool, loam_phys frame);

/** Frames in the pool now. O(groups) */
LOAM_NODISCARD uint64_t loam_zero_level(const struct loam_zero_pool *pool);

/** Exact when nobody is at work: hits and misses are all takes. O(groups) */
void loam_zero_measure(const struct loam_zero_pool *pool, struct loam_zero_stats *out);

/** @return NULL if sound, else the broken rule. Must be quiet. O(capacity^2) */
LOAM_NODISCARD const char *loam_zero_audit(const struct loam_zero_pool *pool);

/** @return digest of which frames are in the pool. Must be quiet. */
LOAM_NODISCARD uint64_t loam_zero_digest(const struct loam_zero_pool *pool);

#ifdef __cplusplus
}
#endif
#endif
