/*
 * books.h - memory changes its owner: take, give back, map, reclaim.
 *
 *     frame    which frames are free           the truth about who may take what
 *     usage    ranges and their owners         loam_take(), loam_give(): a lock, O(log n)
 *     ledger   frames of each owner, counted   loam_take_frames(), loam_give_frames(): no lock
 *
 * What usage calls USABLE is what frame may hand out: each frame of it is free, or was
 * taken singly and is counted in the ledger. So the two together are who has what:
 * loam_owner_bytes(), loam_print_usage(). loam_audit() proves it.
 *
 * All of this works on any CPU after loam_init(); before it, it returns LOAM_STATE,
 * none or 0.
 */
#ifndef LOAM_BOOKS_H
#define LOAM_BOOKS_H

#include "frame.h"
#include "paging.h"
#include "pressure.h"
#include "usage.h"

#ifdef __cplusplus
extern "C" {
#endif

struct loam;
struct loam_heap_cpu;
struct loam_heap_large;

#define LOAM_HEAP_FAR_SHIFT 6u

/* What a heap that grows needs of the books: see src/books_heap.c. Read-only outside it. */
struct loam_heap_books {
    LOAM_ATOMIC(struct loam_heap_cpu *)
    cpu[LOAM_CPUS_MAX];           /* its lists; NULL: it has none, or
                                                               there is something to do first */
    LOAM_ATOMIC(uint32_t) is_due; /* to be looked: how much memory is left? */
    struct loam_spinlock lock;    /* guards what follows */
    struct loam_heap_large *far[1u << LOAM_HEAP_FAR_SHIFT]; /* blocks that vmap mapped */
    struct loam_heap_large *waiting;                        /* freed ones, to be unmapped */
};

/* Spare frames kept in a stock: enough for the tables of any one page at five
 * levels and the nodes of any one change, several times over. */
#define LOAM_SPARE_TABLES 16u
#define LOAM_SPARE_NODES  8u

/* loam_space_map(), _unmap() and _protect() on mm->space, with the stock filled
 * as needed from usable memory. Same contracts; LOAM_STATE before loam_init(). With LOAM_CHECK
 * 2 loam_map() refuses memory that is free, and page tables with LOAM_PROT_WRITE, by
 * LOAM_INVALID, too: O(tables). */
LOAM_NODISCARD enum loam_status loam_map(struct loam *mm, struct loam_virt_range virt,
                                         loam_phys phys, struct loam_attr attr);
LOAM_NODISCARD enum loam_status loam_unmap(struct loam *mm, struct loam_virt_range virt);
LOAM_NODISCARD enum loam_status loam_protect(struct loam *mm, struct loam_virt_range virt,
                                             struct loam_attr attr);

/**
 * The same for all other changes of page tables: of spaces from loam_space_create(), of
 * whole spaces, and in batches. Each is repeated until it finds enough spare tables:
 *
 *     uint64_t more = 0;
 *     do
 *         st = loam_space_clone(&child, &parent);
 *     while (loam_more_tables(mm, st, &more));
 *
 * @param st   what the change returned; it has the tables of mm->space's stock
 * @param more 0 at first; how many spare tables to add grows with each call
 *
 * @return true: @p st is LOAM_NO_MEMORY and there are more spare tables: try again, for
 *         other CPUs may use them first; false: @p st is the result, and spare tables but
 *         LOAM_SPARE_TABLES went back to usable memory
 *
 * Context: as loam_take(); a batch may be open. After loam_space_destroy() it gives back
 * what that left in stock.
 */
LOAM_NODISCARD bool loam_more_tables(struct loam *mm, enum loam_status st, uint64_t *more);

/**
 * Take a physically contiguous range of usable memory, high memory first.
 *
 * @param mm      subsystem
 * @param request page count, alignment, limits; a power of two up to 512 pages, without
 *                limits or with that of a zone, is found in constant time
 * @param owner   who is charged; not USABLE, PAGE_TABLES, HEAP or METADATA
 * @param out     the range on LOAM_OK, in the direct map; contents undefined.
 *                The caller's until loam_give()
 *
 * @return LOAM_OK; LOAM_NO_SPACE: as many frames are free, but not together;
 *         LOAM_NO_MEMORY: they are not, or there is no node to record them;
 *         LOAM_INVALID; LOAM_STATE before loam_init()
 *
 * Context: any CPU, any interrupt state, not NMI.
 */
LOAM_NODISCARD enum loam_status loam_take(struct loam *mm, const struct loam_frame_request *request,
                                          enum loam_owner owner, struct loam_phys_range *out);

/**
 * Make a range usable again: all of it or, page by page, a part. Panics unless
 * every page of it is charged to @p owner, and he is one that loam_take() serves.
 *
 * @return LOAM_OK; LOAM_NO_MEMORY: no node to record a split; LOAM_NOT_FOUND: it is
 *         no memory that loam_take() could have given; LOAM_INVALID: not page-aligned
 *         or empty
 */
LOAM_NODISCARD enum loam_status loam_give(struct loam *mm, struct loam_phys_range range,
                                          enum loam_owner owner);

/*
 * Frames that are only counted: one atomic addition more than loam_frame_alloc() or
 * _free(), from any CPU, any interrupt state, also in interrupt handlers, not NMI.
 *
 * What is caught: frames that are free already or no memory, at once; frames given
 * back in the name of somebody who has none, at once if this CPU has not given for
 * him more than it took before; of somebody who has some, by the audit; frames that
 * loam_take() recorded, and frames that are free and zeroed for later, by the audit (the
 * latter at once at LOAM_CHECK 2). None of these calls looks into the usage map, but while
 * frames wait to be retired.
 */

/**
 * Take one naturally aligned block of 2^order frames.
 *
 * @param mm    subsystem
 * @param order 0..LOAM_ORDER_MAX
 * @param zone  highest acceptable memory
 * @param owner as for loam_take()
 *
 * @return first frame, in the direct map; contents undefined; the caller's until
 *         loam_give_frames(). loam_phys_none(): no such block is free, the owner or
 *         the order is none to be served, or loam_init() has not been called
 */
LOAM_NODISCARD loam_phys loam_take_frames(struct loam *mm, unsigned order, enum loam_zone zone,
                                          enum loam_owner owner);

/** Give a block back, or a naturally aligned part of one. Panics as
 * loam_frame_free(), and as said above. */
void loam_give_frames(struct loam *mm, loam_phys block, unsigned order, enum loam_owner owner);

/**
 * The same, wholly zero. A single frame comes from those that loam_idle() has zeroed, if
 * there are any.
 */
LOAM_NODISCARD loam_phys loam_take_zeroed(struct loam *mm, unsigned order, enum loam_zone zone,
                                          enum loam_owner owner);

/**
 * Take single frames into an array.
 *
 * @return how many: fewer than @p count if memory is used up, 0 as for
 *         loam_take_frames(); the rest of @p out is untouched
 */
LOAM_NODISCARD size_t loam_take_bulk(struct loam *mm, enum loam_zone zone, enum loam_owner owner,
                                     loam_phys *out, size_t count);

/** As loam_give_frames() of each, order 0; the array may have any order. */
void loam_give_bulk(struct loam *mm, enum loam_owner owner, const loam_phys *frame, size_t count);

#define LOAM_RETIRE_MAX 64u /* frames that are in use and to be retired */

/**
 * Never hand out a frame again: its memory has become bad. It is charged to LOAM_OWNER_BAD.
 * What serves as a page table or a node goes when the library gives it back and frames are
 * given, or loam_idle() is called, before it is taken again.
 *
 * @return LOAM_OK: it was free; LOAM_OVERLAP: it is in use, and will be retired when it
 *         is given back; LOAM_STATE: that was said before, or it is retired already, or
 *         loam_init() has not been called; LOAM_UNSUPPORTED: the library keeps it for good;
 *         LOAM_NO_SPACE: LOAM_RETIRE_MAX others are waiting; LOAM_NOT_FOUND: no frame of
 *         this memory; LOAM_INVALID: not page-aligned
 *
 * Context: any CPU, any interrupt state, not NMI.
 */
LOAM_NODISCARD enum loam_status loam_retire(struct loam *mm, loam_phys frame);

/**
 * Zero free frames for later: for a CPU with nothing else to do. Interrupts are held up by
 * nothing here. What is zeroed stays free: it is given out before a request fails.
 *
 * @param most frames to zero, about 60 ns each; then see whether there is work
 *
 * @return how many; 0: enough are, or memory is short, or loam_init() has not been called
 */
LOAM_NODISCARD size_t loam_idle(struct loam *mm, size_t most);

/**
 * Be told when memory becomes scarce, and asked when there is none. All calls above that take
 * memory then try again, as pressure.h says; but for what the usage map itself needs.
 *
 * @param hooks copied; NULL: none, as at first
 *
 * @return LOAM_OK; LOAM_STATE before loam_init()
 *
 * Context: while nobody takes memory.
 */
LOAM_NODISCARD enum loam_status loam_set_pressure(struct loam *mm,
                                                  const struct loam_pressure_hooks *hooks);

/**
 * What an owner has, in ranges and singly; of LOAM_OWNER_USABLE: what is free. Exact
 * when nobody takes or gives, else of about now. An unknown owner has 0. O(CPUs)
 */
LOAM_NODISCARD uint64_t loam_owner_bytes(struct loam *mm, enum loam_owner owner);

/**
 * Print a header, one line per owner that has memory, and their sum; bytes:
 *     owner             intervals       in ranges       in frames             sum        size
 *     usable                    1        61865984               0        61865984    59.0 MiB
 *     page tables               2           94208          131072          225280   220.0 KiB
 *     sum                       3        61960192          131072        62091264    59.2 MiB
 * The writer is called without a lock.
 */
void loam_print_usage(struct loam *mm, const struct loam_writer *writer);

/**
 * Give the bootloader's memory to the kernel. Only when no CPU needs it any
 * more: all run on mm's tables, on stacks and descriptor tables of the kernel's
 * own, parked CPUs included, and responses still needed were copied. What of it
 * cannot be handed out - frame 0, or all if the direct map does not show it -
 * becomes RESERVED.
 *
 * @param bytes set to what this call gained, also on LOAM_NO_MEMORY
 *
 * @return LOAM_OK; LOAM_STATE: a second time, or before loam_init();
 *         LOAM_NO_MEMORY: no frame for a node: stopped half-way, another call
 *         goes on from there
 */
LOAM_NODISCARD enum loam_status loam_reclaim(struct loam *mm, uint64_t *bytes);

#ifdef __cplusplus
}
#endif
#endif
