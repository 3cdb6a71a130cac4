/*
 * frame.h - layer 4: page frames for all CPUs.
 *
 *     region   a range of RAM        [ block | block | block | ... | block ]
 *     span     blocks of a region that are in one zone, on one node
 *     block    2 MiB                 one word: free | open | owned by a lane | gone
 *     row      64 frames             one word: a bit per frame, 1: in use
 *     lane     what a CPU takes from: up to 64 frames of one row
 *
 * The bits are the truth, and there is nothing else: a freed frame is free for
 * everybody at once, whoever frees it. Only frames still to be given out wait in
 * lanes, at most one row each; before a request fails they are taken back.
 *
 * Blocks that are wholly free are kept for large requests: small ones go to blocks
 * already in use, single frames and orders 1 to 8 to different ones. The memory of the
 * CPU's own node is used before that of others, and there high memory first; what lies
 * below 16 MiB comes last on all nodes, so that old devices find it when they need it.
 *
 * No locks and no turning off of interrupts. A lane is entered by an atomic
 * exchange; who finds it taken - an interrupt handler that interrupted its own CPU,
 * a thread that was moved - takes another lane. All else are atomic changes of one
 * word. A CPU that stops for ever inside a call keeps no other one from going on; it
 * takes at most its lane and two blocks (or those of a larger request) along. There
 * are two lanes for each CPU and two more; a kernel that may stop more threads than
 * that inside these calls turns pre-emption off around them.
 *
 * What is caught, always, at the free (subject: the frame; detail: pages, or 0):
 *
 *     frame: not a frame of this memory   in no region, or unaligned for its order
 *     frame: already free                 any frame of the block that is freed
 *     frame: order is too large
 *
 * At LOAM_CHECK 0 a frame that is freed twice is not caught while it waits in a
 * lane, nor one that was removed. Below LOAM_CHECK 2 a frame, or part of a 2 MiB
 * block, that another CPU frees at the same moment may pass, in a window of some
 * instructions; at 2 none does, for a second look, or eight more locked instructions
 * for a block. The order of an allocation is not recorded: a part of a block may be
 * freed, page by page, and exactly that part is free then.
 *
 * Costs 34.2 KiB per GiB of RAM, and 64 bytes per lane; zeroed memory means free,
 * so memory that is zeroed already is only written to when it is used.
 */
#ifndef LOAM_FRAME_H
#define LOAM_FRAME_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Which memory will do: that zone or a lower one. */
enum loam_zone {
    LOAM_ZONE_ANY,
    LOAM_ZONE_4G,  /* below 4 GiB: 32-bit DMA */
    LOAM_ZONE_16M, /* below 16 MiB: ISA DMA, SMP trampolines */
};
#define LOAM_ZONES        3u
#define LOAM_ZONE_4G_END  (UINT64_C(1) << 32)
#define LOAM_ZONE_16M_END (UINT64_C(1) << 24)

/** @return the lowest zone that has the address */
static inline enum loam_zone loam_zone_of(loam_phys p)
{
    return p.addr >= LOAM_ZONE_4G_END    ? LOAM_ZONE_ANY
           : p.addr >= LOAM_ZONE_16M_END ? LOAM_ZONE_4G
                                         : LOAM_ZONE_16M;
}

#define LOAM_NODE_NONE UINT32_MAX /* of memory that no node was named for */

struct loam_frame_region;
struct loam_frame_lane;
struct loam_frame_table;

/* Read-only outside frame*.c. */
struct loam_frame {
    struct loam_frame_region *main; /* the largest there was at first: looked at first */
    struct loam_frame_lane *lane;
    unsigned lane_count;
    LOAM_ATOMIC(uint64_t) drain_count;                  /* lanes that were drained */
    LOAM_ATOMIC(uint64_t) gone_count;                   /* frames that were removed */
    LOAM_ATOMIC(const struct loam_frame_table *) table; /* regions and spans */
};

struct loam_frame_setup {
    const struct loam_phys_range *range; /* RAM to manage: ascending, disjoint,
                                            page-aligned, not empty; not retained */
    size_t range_count;
    unsigned cpu_count; /* 1..LOAM_CPUS_MAX: CPUs that will call */
    void *memory;       /* 64-byte aligned; owned by the allocator from now on; not
                           part of the ranges */
    size_t memory_bytes;
    bool is_zeroed; /* the memory holds zeroes: need not be cleared */
};

/* Memory of a NUMA node: what the firmware calls its proximity domain. */
struct loam_frame_node {
    struct loam_phys_range range;
    uint32_t node; /* any but LOAM_NODE_NONE */
};

/* RAM that is added to a running allocator. */
struct loam_frame_addition {
    struct loam_phys_range range;
    uint32_t node; /* or LOAM_NODE_NONE */
    void *memory;  /* as in loam_frame_setup */
    size_t memory_bytes;
    bool is_zeroed;
};

/* What a contiguous request needs. 0 in a field but page_count: its default. */
struct loam_frame_request {
    uint64_t page_count;     /* > 0 */
    uint64_t align_bytes;    /* power of two; default LOAM_PAGE_SIZE */
    uint64_t from;           /* the range starts at or above this address */
    uint64_t limit;          /* the range ends at or below this address; default: none */
    uint64_t boundary_bytes; /* power of two that the range does not cross; default: none */
};

struct loam_frame_stats {
    uint64_t frame_count;  /* all frames of the zone or node; of a zone without lower ones */
    uint64_t free_count;   /* those not in use; those in lanes included */
    uint64_t lane_count;   /* those in lanes */
    uint64_t block_count;  /* wholly free blocks of 2 MiB */
    uint64_t largest_free; /* pages of the longest run of wholly free blocks, or 0 */
};

/*
 * Default context of the functions here: any CPU, any interrupt state, also in
 * interrupt handlers, not NMI. None waits for another CPU.
 */

/**
 * Bytes that loam_frame_init() needs.
 *
 * @param setup range, range_count and cpu_count
 *
 * @return bytes; 0: the setup is malformed
 */
LOAM_NODISCARD size_t loam_frame_bytes_needed(const struct loam_frame_setup *setup);

/**
 * Start with all frames of the ranges free.
 *
 * @return LOAM_OK; LOAM_INVALID: malformed; LOAM_NO_SPACE: memory_bytes is less
 *         than loam_frame_bytes_needed()
 *
 * Context: one CPU, before anybody uses the allocator.
 */
LOAM_NODISCARD enum loam_status loam_frame_init(struct loam_frame *frame,
                                                const struct loam_frame_setup *setup);

/**
 * Allocate one naturally aligned block of 2^order page frames.
 *
 * @param frame allocator
 * @param order 0..LOAM_ORDER_MAX; LOAM_PAGE_SIZE << order bytes
 * @param zone  highest acceptable memory
 *
 * @return first frame; the caller's until loam_frame_free(); contents
 *         undefined. loam_phys_none(): the order is too large, or no such block
 *         is free, but for those that a context owns which is stopped inside a
 *         call: two blocks of 2 MiB for each
 */
LOAM_NODISCARD loam_phys loam_frame_alloc(struct loam_frame *frame, unsigned order,
                                          enum loam_zone zone);

/**
 * The same from the memory of one node, and no other. @p node LOAM_NODE_NONE: from
 * memory that no node was named for.
 */
LOAM_NODISCARD loam_phys loam_frame_alloc_on(struct loam_frame *frame, unsigned order,
                                             enum loam_zone zone, uint32_t node);

/** Give a block back, or a naturally aligned part of one. Anything that is not
 * wholly in use panics. */
void loam_frame_free(struct loam_frame *frame, loam_phys block, unsigned order);

/**
 * Allocate single frames into an array.
 *
 * @return how many: fewer than @p count if memory is used up; the rest of @p out
 *         is untouched
 */
LOAM_NODISCARD size_t loam_frame_alloc_bulk(struct loam_frame *frame, enum loam_zone zone,
                                            loam_phys *out, size_t count);

/** As loam_frame_free() of each, order 0; the array may have any order. */
void loam_frame_free_bulk(struct loam_frame *frame, const loam_phys *block, size_t count);

/**
 * Allocate a physically contiguous range, the highest that suits.
 *
 * @param out its start on LOAM_OK; the caller's until it is freed, as a whole
 *            (loam_frame_release()) or in parts
 *
 * @return LOAM_OK; LOAM_NO_SPACE: as many frames are free between from and limit,
 *         but not together; LOAM_NO_MEMORY: they are not; LOAM_INVALID: malformed
 */
LOAM_NODISCARD enum loam_status loam_frame_alloc_range(struct loam_frame *frame,
                                                       const struct loam_frame_request *request,
                                                       loam_phys *out);

/**
 * Take exactly these frames.
 *
 * @return LOAM_OK: the caller's until loam_frame_release(); LOAM_OVERLAP: one of
 *         them is in use; LOAM_NOT_FOUND: one of them is no frame of this memory;
 *         LOAM_INVALID: empty, unaligned, or past 2^64
 */
LOAM_NODISCARD enum loam_status loam_frame_reserve(struct loam_frame *frame,
                                                   struct loam_phys_range range);

/** Give back a page-aligned range, any part of one or more allocations. Panics
 * as loam_frame_free(). */
void loam_frame_release(struct loam_frame *frame, struct loam_phys_range range);

/** Take back what waits in lanes, as far as nobody is at work in them. */
void loam_frame_drain(struct loam_frame *frame);

/*
 * The shape of memory may change while other CPUs allocate and free: but these
 * calls, and loam_frame_set_cpu(), by one context at a time. What memory they are
 * given stays the allocator's for ever, what it replaced too.
 */

/** Which node a CPU is on; at first LOAM_NODE_NONE. @param cpu < cpu_count of the setup */
void loam_frame_set_cpu(struct loam_frame *frame, unsigned cpu, uint32_t node);

/** Bytes that loam_frame_set_nodes() needs for so many ranges, now. */
LOAM_NODISCARD size_t loam_frame_nodes_bytes_needed(const struct loam_frame *frame,
                                                    size_t node_count);

/**
 * Name the nodes of memory; it is of none where nothing is said. A block of 2 MiB
 * that two nodes share counts for the node of its first frame.
 *
 * @param frame      allocator
 * @param node       ascending, disjoint, page-aligned, not empty; not retained
 * @param node_count ranges
 * @param memory     64-byte aligned
 *
 * @return LOAM_OK; LOAM_INVALID: malformed; LOAM_NO_SPACE: memory_bytes is less
 *         than loam_frame_nodes_bytes_needed()
 */
LOAM_NODISCARD enum loam_status loam_frame_set_nodes(struct loam_frame *frame,
                                                     const struct loam_frame_node *node,
                                                     size_t node_count, void *memory,
                                                     size_t memory_bytes);

/**
 * Can this range be added?
 *
 * @return LOAM_OK; LOAM_STATE: yes, it was removed before, and needs no memory;
 *         LOAM_OVERLAP: a frame of it is managed, or was and others were not;
 *         LOAM_INVALID: empty, unaligned, or past 2^64
 */
LOAM_NODISCARD enum loam_status loam_frame_can_add(const struct loam_frame *frame,
                                                   struct loam_phys_range range);

/** Bytes that loam_frame_add() needs for this range, now; 0: it is malformed. */
LOAM_NODISCARD size_t loam_frame_add_bytes_needed(const struct loam_frame *frame,
                                                  struct loam_phys_range range);

/**
 * Manage more RAM, all of it free: hot-add.
 *
 * @return LOAM_OK; LOAM_OVERLAP, LOAM_INVALID: as loam_frame_can_add(), or memory that is
 *         needed is NULL or unaligned; LOAM_NO_SPACE: memory_bytes is less than
 *         loam_frame_add_bytes_needed()
 */
LOAM_NODISCARD enum loam_status loam_frame_add(struct loam_frame *frame,
                                               const struct loam_frame_addition *addition);

/**
 * Stop managing RAM that nobody uses: hot-remove, or pages that have become bad.
 * Freed or removed a second time it is foreign, or free already. A range that was
 * removed may be added again; it then needs no memory.
 *
 * @param range blocks of 2 MiB, or the rest of a region at its ends
 *
 * @return LOAM_OK; LOAM_OVERLAP: a frame is in use; LOAM_NOT_FOUND: one of them is
 *         not managed; LOAM_INVALID: empty, unaligned, or past 2^64
 */
LOAM_NODISCARD enum loam_status loam_frame_remove(struct loam_frame *frame,
                                                  struct loam_phys_range range);

/**
 * The lowest range of managed memory with a byte at or above @p from, touching ones
 * apart. To iterate, go on at the end of the last one.
 *
 * @return false: there is none, *out untouched
 */
LOAM_NODISCARD bool loam_frame_next_range(const struct loam_frame *frame, loam_phys from,
                                          struct loam_phys_range *out);

/** Is every frame of a page-aligned range managed? O(1), or O(blocks of the range) when any
 * memory was removed. */
LOAM_NODISCARD bool loam_frame_has(const struct loam_frame *frame, struct loam_phys_range range);

/** @param zone a known zone. Exact when nobody is at work; else never above the
 * truth by more than what changed meanwhile. O(blocks) */
void loam_frame_measure(const struct loam_frame *frame, enum loam_zone zone,
                        struct loam_frame_stats *out);

/** The same of a node. */
void loam_frame_measure_node(const struct loam_frame *frame, uint32_t node,
                             struct loam_frame_stats *out);

/**
 * Free memory of a zone as the fewest naturally aligned blocks, as /proc/buddyinfo
 * of Linux shows it. What waits in lanes is not in it. O(frames / 64)
 *
 * @param count receives how many blocks of each order
 */
void loam_frame_measure_orders(const struct loam_frame *frame, enum loam_zone zone,
                               uint64_t count[LOAM_ORDER_MAX + 1]);

/** Free frames that wait for a CPU in its own lane. @param cpu < cpu_count of the setup */
LOAM_NODISCARD uint64_t loam_frame_measure_cpu(const struct loam_frame *frame, unsigned cpu);

/** Free frames of a page-aligned range, those in lanes included; exact when nobody is at
 * work. O(frames / 64) */
LOAM_NODISCARD uint64_t loam_frame_free_in(const struct loam_frame *frame,
                                           struct loam_phys_range range);

/** @return NULL if sound, else the broken rule. Must be quiet. O(frames / 64) */
LOAM_NODISCARD const char *loam_frame_audit(const struct loam_frame *frame);

/** @return digest of which frames are in use. Must be quiet. */
LOAM_NODISCARD uint64_t loam_frame_digest(const struct loam_frame *frame);

#ifdef __cplusplus
}
#endif
#endif
