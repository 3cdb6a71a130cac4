/*
 * allocator.h - layer 7: one way to call any heap.
 *
 * A value of two words: which kind of heap, and where it is. Tests, demos, locks
 * and language bindings use it; code that knows its heap calls that directly and
 * pays nothing. A switch, no function pointers.
 *
 * What a kind cannot do is said here and in its own header:
 *
 *     kind            free without size   usable    misuse caught
 *     bump            yes                 0         see bump.h
 *     freelist        yes                 exact     all
 *     freelist-sized  panics              panics    foreign, overlap with free
 *     block           yes                 class     all but overflow
 *     arena           yes                 exact     all
 *     heap            yes                 class     see heap.h
 *
 * Not locked; see locked.h. Costs are those of the heap.
 */
#ifndef LOAM_ALLOCATOR_H
#define LOAM_ALLOCATOR_H

#include "arena.h"
#include "block.h"
#include "bump.h"
#include "freelist.h"
#include "heap.h"

#ifdef __cplusplus
extern "C" {
#endif

enum loam_allocator_kind {
    LOAM_ALLOCATOR_NONE = 0, /* every request fails */
    LOAM_ALLOCATOR_BUMP,
    LOAM_ALLOCATOR_FREELIST,       /* blocks with headers */
    LOAM_ALLOCATOR_FREELIST_SIZED, /* without: every free and realloc says the size */
    LOAM_ALLOCATOR_BLOCK,
    LOAM_ALLOCATOR_ARENA,
    LOAM_ALLOCATOR_HEAP, /* takes pages as it needs them */
};

/* The heap is borrowed. */
struct loam_allocator {
    enum loam_allocator_kind kind;
    union {
        struct loam_bump *bump;
        struct loam_freelist *freelist; /* both freelist kinds */
        struct loam_block *block;
        struct loam_arena *arena;
        struct loam_heap *heap;
    } heap;
};

/* Room for a heap of any kind. Must stay where it was initialised. */
struct loam_allocator_room {
    union {
        struct loam_bump bump;
        struct loam_freelist freelist;
        struct loam_arena arena;
    } over;                  /* what manages the span */
    struct loam_block block; /* if it is of that kind: over the arena */
};

struct loam_allocator_stats {
    size_t used_bytes; /* overhead included */
    size_t peak_bytes;
    size_t used_count;
};

/** @return "none", "bump", "freelist", "freelist-sized", "block", "arena" or "heap"; "?" for
 * others */
LOAM_NODISCARD const char *loam_allocator_name(enum loam_allocator_kind kind);

/** @return kind with that name, or LOAM_ALLOCATOR_NONE */
LOAM_NODISCARD enum loam_allocator_kind loam_allocator_kind_of(const char *name);

/**
 * Put a heap of any kind over a span; Not locked: see locked.h.
 *
 * @param room       must not move
 * @param kind       any but LOAM_ALLOCATOR_NONE and LOAM_ALLOCATOR_HEAP, which lies in no span
 * @param span       owned by the heap until the caller drops both
 * @param size_bytes LOAM_FREELIST_MIN is enough for each, to begin with
 * @param out        written on LOAM_OK: how to call it
 *
 * @return LOAM_OK; LOAM_INVALID: no such kind, or the span is NULL, too small,
 *         too large or wraps
 *
 * Context: any; the caller serialises.
 */
LOAM_NODISCARD enum loam_status loam_allocator_init(struct loam_allocator_room *room,
                                                    enum loam_allocator_kind kind, void *span,
                                                    size_t size_bytes, struct loam_allocator *out);

/**
 * Allocate.
 *
 * @param allocator  heap
 * @param size_bytes 0 is served as a distinct block
 * @param align      power of two, 1..
 *
 * @return block, the caller's until loam_allocator_free(); contents undefined.
 *         NULL: no room, the size overflows, or align is not a power of two
 */
LOAM_NODISCARD void *loam_allocator_alloc(const struct loam_allocator *allocator, size_t size_bytes,
                                          size_t align);

/** Give a block back. NULL is a no-op; what is caught otherwise is the heap's to say. */
void loam_allocator_free(const struct loam_allocator *allocator, void *block);

/** As loam_allocator_free(), with the size last asked for. */
void loam_allocator_free_sized(const struct loam_allocator *allocator, void *block,
                               size_t size_bytes);

/**
 * Change a block's size. The first min(old, new) bytes are kept.
 *
 * @param allocator heap
 * @param block     live block, or NULL: as loam_allocator_alloc()
 * @param resize    sizes and alignment; an old size that is known to be wrong panics
 *
 * @return the block, perhaps elsewhere; NULL: as for loam_allocator_alloc(), the
 *         old block is untouched and still the caller's
 */
LOAM_NODISCARD void *loam_allocator_realloc(const struct loam_allocator *allocator, void *block,
                                            const struct loam_resize *resize);

/** Bytes the caller may use of a live block; 0: the heap does not know. */
LOAM_NODISCARD size_t loam_allocator_usable(const struct loam_allocator *allocator,
                                            const void *block);

/**
 * Does the address lie in memory that the heap manages, its own records included?
 * Then it can be read, whether or not a block starts there.
 */
LOAM_NODISCARD bool loam_allocator_owns(const struct loam_allocator *allocator,
                                        const void *pointer);

void loam_allocator_measure(const struct loam_allocator *allocator,
                            struct loam_allocator_stats *out);
/** @return NULL if sound, else the broken rule */
LOAM_NODISCARD const char *loam_allocator_audit(const struct loam_allocator *allocator);
LOAM_NODISCARD uint64_t loam_allocator_digest(const struct loam_allocator *allocator);

#ifdef __cplusplus
}
#endif
#endif
