/*
 * bump.h - layer 7: the simplest heap: a pointer that only moves up.
 *
 *     start            mark           last         next                end
 *     | block | block |  block | ... | last block | free ............. |
 *
 * alloc aligns the pointer and adds; free of the last block moves it back; when
 * the last live block is freed, everything is free again. mark and release give
 * back all that was allocated since, at once.
 *
 * There are no headers, so little can be known. What is caught, always, and how
 * it is named (subject: the block or the mark's place; detail: in parentheses):
 *
 *     bump: not a block of this heap   outside what is allocated, or inside the
 *                                      last block
 *     bump: more frees than blocks     nothing is live
 *     bump: wrong size                 free_sized, realloc: of the last block (its
 *                                      size); of others, a size that reaches into
 *                                      the last block or over what is allocated
 *     bump: mark is not of now         another heap's, from before a reset, or the
 *                                      pointer is below it: released, or freed
 *
 * Not seen: an overflow, a write after free, a double free of any block but the
 * last. The latter counts another block as free, so that memory may be given
 * out that is in use. This heap is for memory that lives and dies together.
 *
 * Not locked: the caller serialises; any context he can serialise. Everything
 * is O(1), but for the bytes that a realloc moves.
 */
#ifndef LOAM_BUMP_H
#define LOAM_BUMP_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Fields are read-only outside bump.c. */
struct loam_bump {
    uint64_t start, end;
    uint64_t next;      /* first free byte */
    uint64_t last;      /* start of the last block, if it was not freed; else next */
    size_t count;       /* live blocks; 0 exactly when next == start */
    size_t peak_bytes;  /* highest next - start before next last fell */
    size_t reset_count; /* tells marks of before a reset */
};

/* A moment to return to. */
struct loam_bump_mark {
    uint64_t next, last;
    size_t count;
    size_t reset_count;
};

struct loam_bump_stats {
    size_t span_bytes;
    size_t used_bytes; /* padding included */
    size_t peak_bytes; /* highest used_bytes so far */
    size_t used_count;
};

/**
 * Manage a span.
 *
 * @param bump       heap
 * @param span       any alignment; owned by the heap until the caller drops both
 * @param size_bytes 1..; all of it is used, but for the last byte below 2^64
 *
 * @return LOAM_OK; LOAM_INVALID if the span is NULL, empty or wraps
 */
LOAM_NODISCARD enum loam_status loam_bump_init(struct loam_bump *bump, void *span,
                                               size_t size_bytes);

/**
 * Allocate.
 *
 * @param bump       heap
 * @param size_bytes 0 is served as a distinct block of one byte
 * @param align      power of two, 1..; no more is given
 *
 * @return block, the caller's until it is freed, reset or released; contents
 *         undefined. NULL: no room, the size overflows, or align is not a power
 *         of two
 */
LOAM_NODISCARD void *loam_bump_alloc(struct loam_bump *bump, size_t size_bytes, size_t align);

/**
 * Give a block back: reused now if it is the last, but for the padding before
 * it; else when nothing is live. NULL is a no-op.
 */
void loam_bump_free(struct loam_bump *bump, void *block);

/** As loam_bump_free(), checking the size as far as it can be known. */
void loam_bump_free_sized(struct loam_bump *bump, void *block, size_t size_bytes);

/**
 * Change a block's size: the last block in place, moved up within its own
 * memory if the alignment asks for it; others in place if they do not grow,
 * else by moving.
 *
 * @param bump   heap
 * @param block  live block, or NULL: as loam_bump_alloc()
 * @param resize old size (or LOAM_SIZE_UNKNOWN), new size and alignment. A block
 *               of unknown size that is not the last always moves, and what is
 *               behind the old one up to the new size is copied with it.
 *
 * @return the block, perhaps elsewhere; the first min(old, new) bytes are kept.
 *         NULL: as for loam_bump_alloc(), the old block is untouched
 */
LOAM_NODISCARD void *loam_bump_realloc(struct loam_bump *bump, void *block,
                                       const struct loam_resize *resize);

/** Free everything; whatever was allocated is the heap's again, marks are void. */
void loam_bump_reset(struct loam_bump *bump);

/** @return mark of this moment, for loam_bump_release() */
LOAM_NODISCARD struct loam_bump_mark loam_bump_now(const struct loam_bump *bump);

/**
 * Free everything allocated since a mark. Marks may nest; releasing one
 * releases those taken since. Blocks from before it may have been freed
 * meanwhile, but none so that the pointer fell below the mark. How many of them
 * were cannot be known: some may count as live until a reset or the release of
 * an earlier mark.
 *
 * @param bump heap
 * @param mark from this heap, since the last reset
 */
void loam_bump_release(struct loam_bump *bump, struct loam_bump_mark mark);

/** Statistics. */
void loam_bump_measure(const struct loam_bump *bump, struct loam_bump_stats *out);

/** @return NULL if sound: the pointers are in order, the counts fit them; else the rule */
LOAM_NODISCARD const char *loam_bump_audit(const struct loam_bump *bump);

/** @return digest of all that is known: the span's place, both pointers and the counters */
LOAM_NODISCARD uint64_t loam_bump_digest(const struct loam_bump *bump);

#ifdef __cplusplus
}
#endif
#endif
