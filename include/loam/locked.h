/*
 * locked.h - layer 7: any heap, for many CPUs and for interrupt handlers.
 *
 * One lock around a loam_allocator, of the kind the kernel wants, and on request
 * the watch of debug.h between the two, chosen at run time.
 *
 *     kind        lock                          interrupts while it is held
 *     ticket      ticketlock, fair              off, unless leave_interrupts
 *     spin        spinlock, waits with          off, unless leave_interrupts
 *                 interrupts as they were
 *     by caller   a lock of the kernel's        that lock's own matter
 *     not         none: one CPU, or one owner   off, unless leave_interrupts
 *
 * With interrupts off a handler may allocate and free, whatever its CPU was doing.
 * No hook is called with the lock held, but panic; a heap's own handler for lack
 * of memory is, and must call the heap itself, not this layer. Memory is cleared
 * after the lock was given back; realloc copies while it is held.
 *
 * Context, if not said otherwise: any CPU, any interrupt state, not NMI.
 */
#ifndef LOAM_LOCKED_H
#define LOAM_LOCKED_H

#include "allocator.h"
#include "debug.h"
#include "lock.h"

#ifdef __cplusplus
extern "C" {
#endif

enum loam_locked_kind {
    LOAM_LOCKED_TICKET = 0,
    LOAM_LOCKED_SPIN,
    LOAM_LOCKED_BY_CALLER,
    LOAM_LOCKED_NOT,
};

/*
 * A lock of the caller's: the first member, or any, of his own lock's struct. Taken
 * and given back in pairs by one CPU, never nested.
 */
struct loam_caller_lock {
    /** Take the lock. @return state for release; 0 if there is none */
    loam_irq_state (*acquire)(struct loam_caller_lock *self);
    /** Give the lock back. @param state what acquire returned */
    void (*release)(struct loam_caller_lock *self, loam_irq_state state);
};

struct loam_locked_options {
    struct loam_allocator allocator;      /* the heap is borrowed */
    struct loam_caller_lock *caller_lock; /* LOAM_LOCKED_BY_CALLER: borrowed; else NULL */
    enum loam_locked_kind lock;
    bool leave_interrupts; /* no handler ever calls */
    bool debug;            /* watch every block: debug.h */
};

/* Fields are read-only outside locked.c. Must stay where it was initialised. All
 * zero, it is a heap without memory: every request fails. */
struct LOAM_CAPABILITY("mutex") loam_locked {
    struct loam_locked_options options;
    struct loam_ticketlock ticket;
    struct loam_spinlock spin;
    uint64_t alloc_count;    /* blocks given out, by realloc of NULL too */
    uint64_t free_count;     /* blocks taken back */
    uint64_t realloc_count;  /* blocks whose size was changed */
    uint64_t refusal_count;  /* requests that failed */
    struct loam_debug debug; /* if options.debug */
};

struct loam_locked_stats {
    struct loam_allocator_stats heap; /* what debug adds included */
    uint64_t alloc_count;             /* since loam_locked_init() */
    uint64_t free_count;
    uint64_t realloc_count;
    uint64_t refusal_count;
};

/**
 * Put a lock around a heap.
 *
 * @param locked  object; must not move
 * @param options what and how; not retained
 *
 * @return LOAM_OK; LOAM_INVALID: unknown kind of lock, LOAM_LOCKED_BY_CALLER
 *         without a complete caller_lock, or another kind with one
 */
LOAM_NODISCARD enum loam_status loam_locked_init(struct loam_locked *locked,
                                                 const struct loam_locked_options *options);

/**
 * Allocate.
 *
 * @param locked     heap
 * @param size_bytes 0 is served as a distinct block
 * @param align      power of two, 1..
 *
 * @return block, the caller's until loam_locked_free(); contents undefined. NULL:
 *         no room, the size overflows, or align is not a power of two
 */
LOAM_NODISCARD void *loam_locked_alloc(struct loam_locked *locked, size_t size_bytes, size_t align);

/**
 * Allocate @p count objects of @p size_bytes each, all bytes zero.
 *
 * @return as loam_locked_alloc(); NULL too if the product overflows
 */
LOAM_NODISCARD void *loam_locked_calloc(struct loam_locked *locked, size_t count, size_t size_bytes,
                                        size_t align);

/** Give a block back. NULL is a no-op; what is caught otherwise is the heap's to say. */
void loam_locked_free(struct loam_locked *locked, void *block);

/** As loam_locked_free(), with the size last asked for. */
void loam_locked_free_sized(struct loam_locked *locked, void *block, size_t size_bytes);

/**
 * Change a block's size. The first min(old, new) bytes are kept.
 *
 * @param locked heap
 * @param block  live block, or NULL: as loam_locked_alloc()
 * @param resize sizes and alignment; an old size that is known to be wrong panics
 *
 * @return the block, perhaps elsewhere; NULL: as for loam_locked_alloc(), the old
 *         block is untouched and still the caller's
 */
LOAM_NODISCARD void *loam_locked_realloc(struct loam_locked *locked, void *block,
                                         const struct loam_resize *resize);

/*
 * The same for functions that wrap these: with debug, @p site is noted as who asked
 * instead of the caller: __builtin_return_address(0) of the wrapper.
 */
LOAM_NODISCARD void *loam_locked_alloc_at(struct loam_locked *locked, size_t size_bytes,
                                          size_t align, loam_virt site);
LOAM_NODISCARD void *loam_locked_calloc_at(struct loam_locked *locked, size_t count,
                                           size_t size_bytes, size_t align, loam_virt site);
void loam_locked_free_at(struct loam_locked *locked, void *block, loam_virt site);
void loam_locked_free_sized_at(struct loam_locked *locked, void *block, size_t size_bytes,
                               loam_virt site);
LOAM_NODISCARD void *loam_locked_realloc_at(struct loam_locked *locked, void *block,
                                            const struct loam_resize *resize, loam_virt site);

/** Bytes the caller may use of a live block; 0: the heap does not know. */
LOAM_NODISCARD size_t loam_locked_usable(struct loam_locked *locked, const void *block);

/** Statistics, from one moment. As slow as the heap's. */
void loam_locked_measure(struct loam_locked *locked, struct loam_locked_stats *out);

/** @return NULL if heap and debug are sound, else the broken rule. O(blocks), locked. */
LOAM_NODISCARD const char *loam_locked_audit(struct loam_locked *locked);

/** @return digest of the heap, or with debug of its live blocks, and the counters */
LOAM_NODISCARD uint64_t loam_locked_digest(struct loam_locked *locked);

/**
 * Take the lock, to call the heap itself: claim a span, walk its blocks. Nothing
 * else of this layer may be called before loam_locked_release().
 *
 * @return state for loam_locked_release()
 */
LOAM_NODISCARD loam_irq_state loam_locked_acquire(struct loam_locked *locked)
    LOAM_ACQUIRES(*locked);
/** Give the lock back. @param locked heap @param state what acquire returned */
void loam_locked_release(struct loam_locked *locked, loam_irq_state state) LOAM_RELEASES(*locked);

#ifdef __cplusplus
}
#endif
#endif
