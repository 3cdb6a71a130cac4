/*
 * debug.h - layer 7: any heap, with every block watched.
 *
 *     | lead-in | header | red zone | block .......... | red zone |
 *               | site, size, number, links            |
 *     \_______________ one block of the wrapped heap ____________/
 *
 * The lead-in is there only where alignment asks for it. Red zones, 24 bytes
 * before a block and 16 or more behind it, are filled with a pattern that depends
 * on the place of each byte; a check word binds every header to its place. New
 * blocks are filled with LOAM_DEBUG_POISON_NEW, freed ones with
 * LOAM_DEBUG_POISON_FREE; these wait in a ring of LOAM_DEBUG_QUARANTINE before
 * the heap gets them back, and are looked at when they leave it. A request that
 * finds no room empties the ring and is tried once more. realloc moves the block
 * as long as there is room to, so that no stale pointer happens to be right.
 *
 * Rules, with the block as subject and in parentheses the site that is the detail;
 * debug->blame has more:
 *
 *     debug: block was written past its end       red zone (alloc)
 *     debug: block was written before its start   red zone or header (alloc; 0
 *                                                 when the header is gone)
 *     debug: block was written after free         found when it leaves the ring,
 *                                                 or by loam_debug_check() (free)
 *     debug: block is already free                in the ring, or later as long as
 *                                                 its header was not reused (free)
 *     debug: wrong size                           free_sized, realloc (alloc)
 *     debug: not a block of this heap             anything else; never dereferenced
 *                                                 outside the heap's memory (0)
 *
 * Not locked; see locked.h. Costs, on top of the heap's: filling a block and
 * checking its red zones; 112 to 127 bytes a block, more when aligned above 32.
 */
#ifndef LOAM_DEBUG_H
#define LOAM_DEBUG_H

#include "allocator.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LOAM_DEBUG_QUARANTINE  64u /* freed blocks that are held back */
#define LOAM_DEBUG_POISON_NEW  0xa5u
#define LOAM_DEBUG_POISON_FREE 0xdfu

/* One live block. */
struct loam_debug_block {
    loam_virt start;
    size_t size_bytes; /* asked for */
    loam_virt site;    /* who asked */
    uint64_t sequence; /* 1 for the first block ever allocated, and so on */
};

/* What the last panic was about, for the kernel's panic handler to print. */
struct loam_debug_blame {
    loam_virt block;
    size_t size_bytes;    /* 0: unknown */
    loam_virt alloc_site; /* who allocated it; 0: unknown */
    loam_virt free_site;  /* who freed it; 0: nobody, or unknown */
    loam_virt caller;     /* whose call found it; 0: a check */
};

/* Fields are read-only outside debug.c. Must stay where it was initialised. */
struct loam_debug {
    struct loam_allocator allocator;
    uint64_t cookie;       /* folded into every check word and pattern */
    uint64_t oldest;       /* live blocks, a list; 0: none */
    uint64_t newest;       /* its other end */
    uint64_t sequence;     /* blocks allocated so far */
    size_t used_bytes;     /* asked for, of live blocks */
    size_t peak_bytes;     /* highest used_bytes so far */
    size_t used_count;     /* live blocks */
    size_t waiting_count;  /* blocks in the ring */
    size_t waiting_oldest; /* index of the one that leaves first */
    uint64_t waiting[LOAM_DEBUG_QUARANTINE];
    struct loam_debug_blame blame;
};

struct loam_debug_stats {
    size_t used_bytes; /* asked for, of live blocks */
    size_t peak_bytes;
    size_t used_count;
    size_t waiting_bytes; /* asked for, of blocks that wait in the ring */
    size_t waiting_count;
};

/**
 * Watch a heap. All its blocks must come from here from now on.
 *
 * @param debug     object; must not move
 * @param allocator heap of any kind; copied, the heap itself is borrowed
 */
void loam_debug_init(struct loam_debug *debug, const struct loam_allocator *allocator);

/**
 * Allocate.
 *
 * @param debug      object
 * @param size_bytes 0 is served as a distinct block
 * @param align      power of two, 1..; at least 16 is given
 * @param site       who asks: a return address
 *
 * @return block filled with LOAM_DEBUG_POISON_NEW, the caller's until
 *         loam_debug_free(). NULL: no room even with the ring empty, the size
 *         overflows, or align is not a power of two; live blocks are as they were
 */
LOAM_NODISCARD void *loam_debug_alloc(struct loam_debug *debug, size_t size_bytes, size_t align,
                                      loam_virt site);

/** Give a block back. NULL is a no-op; anything but a sound live block panics. */
void loam_debug_free(struct loam_debug *debug, void *block, loam_virt site);

/** As loam_debug_free(); panics too if @p size_bytes is not what was last asked for. */
void loam_debug_free_sized(struct loam_debug *debug, void *block, size_t size_bytes,
                           loam_virt site);

/**
 * Change a block's size: by moving; where there is no room to, in its own place if
 * it does not grow. The first min(old, new) bytes are kept, further ones are
 * LOAM_DEBUG_POISON_NEW.
 *
 * @param debug  object
 * @param block  live block, or NULL: as loam_debug_alloc()
 * @param resize sizes and alignment; a wrong old size panics
 * @param site   who asks; the block's site from now on
 *
 * @return the block, elsewhere; NULL: as for loam_debug_alloc(), the old block is
 *         untouched and still the caller's
 */
LOAM_NODISCARD void *loam_debug_realloc(struct loam_debug *debug, void *block,
                                        const struct loam_resize *resize, loam_virt site);

/** Size that was last asked for, and that the caller may use, of a live block; else panics. */
LOAM_NODISCARD size_t loam_debug_usable(struct loam_debug *debug, const void *block);

/** Empty the ring: check the blocks in it and give them back to the heap. */
void loam_debug_flush(struct loam_debug *debug);

/**
 * Look at the header and red zones of every live block, oldest first, and at every
 * block in the ring.
 *
 * @param debug  object
 * @param broken receives the first block that was written to when it should not
 *               have been, as far as it is known; else untouched. May be NULL
 *
 * @return NULL if there is none, else the rule
 */
LOAM_NODISCARD const char *loam_debug_check(const struct loam_debug *debug,
                                            struct loam_debug_block *broken);

/**
 * Walk the live blocks, oldest first. To begin, zero *block; each call makes it the
 * next. What is live when nothing should be is a leak.
 *
 * @return false: that was the last, *block is untouched
 */
LOAM_NODISCARD bool loam_debug_next(const struct loam_debug *debug, struct loam_debug_block *block);

/** Statistics. O(LOAM_DEBUG_QUARANTINE). */
void loam_debug_measure(const struct loam_debug *debug, struct loam_debug_stats *out);

/** @return NULL if loam_debug_check(), the counts and the wrapped heap are sound; else the rule */
LOAM_NODISCARD const char *loam_debug_audit(const struct loam_debug *debug);

/** @return digest of the live blocks and the counts; not of the ring, which is no state */
LOAM_NODISCARD uint64_t loam_debug_digest(const struct loam_debug *debug);

#ifdef __cplusplus
}
#endif
#endif
