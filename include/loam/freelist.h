/*
 * freelist.h - layer 7: first-fit heap over one span of bytes.
 *
 *     base                                                          end
 *     | header | block .......... | header: free, next ... | header | block | mark |
 *
 * Free blocks form one list in address order and are merged with both neighbours
 * at once, so a span whose blocks are all freed is one block again. Every block
 * has a 16-byte header with its size and a check word. The check word of a block
 * in use binds its address, its size and the size asked for; that of a free block
 * its address, its size and its link. No link is followed and no size believed
 * before its check word was found right. The mark at the end is a header without
 * a block, so that the last block has something behind it to overflow into.
 *
 * What is caught, always, and how it is named (subject: the pointer passed, or
 * the damaged block's; detail: in parentheses):
 *
 *     freelist: not a block of this heap   outside the span, unaligned, or inside
 *                                          a block in use
 *     freelist: block is already free      as long as nothing was written where
 *                                          its header was, that is at least until
 *                                          the memory is given out again
 *     freelist: header is damaged          the block's own, at any use of it; the
 *                                          next one's, at a free or realloc: the
 *                                          block before overflowed (that block);
 *                                          a free one's, when an alloc, free,
 *                                          realloc or stats passes it: written
 *                                          after free
 *     freelist: wrong size                 free_sized (the size asked for)
 *
 * An overflow that stays in a block's own rounding, at most 32 bytes, is not
 * seen. A check word is no secret: this catches mistakes, not attackers.
 *
 * Not locked: the caller serialises; any context he can serialise. Works on any
 * span, needs no page tables. alloc, free and realloc are O(free blocks).
 */
#ifndef LOAM_FREELIST_H
#define LOAM_FREELIST_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LOAM_FREELIST_ALIGN 16u   /* of every block */
#define LOAM_FREELIST_MIN   1024u /* bytes: smallest span */

/* Fields are read-only outside freelist.c. */
struct loam_freelist {
    uint64_t base, end; /* what blocks tile; aligned addresses */
    uint64_t first;     /* lowest free block; 0: none */
    uint64_t cookie;    /* folded into every check word: tells heaps apart */
    size_t used_bytes;  /* of blocks in use, headers included */
    size_t peak_bytes;  /* highest used_bytes so far */
    size_t used_count;  /* blocks in use */
};

struct loam_freelist_stats {
    size_t span_bytes; /* used + free */
    size_t used_bytes; /* headers included */
    size_t peak_bytes;
    size_t used_count;
    size_t free_count;         /* free blocks */
    size_t largest_free_bytes; /* largest size loam_freelist_alloc() would serve; 0: none */
};

/**
 * Manage a span.
 *
 * @param list       heap; its address tells its blocks from those of others, but
 *                   not from those it had before an earlier loam_freelist_init()
 * @param span       any alignment; owned by the heap until the caller drops both
 * @param size_bytes at least LOAM_FREELIST_MIN after aligning
 *
 * @return LOAM_OK; LOAM_INVALID if the span is NULL, too small or wraps
 */
LOAM_NODISCARD enum loam_status loam_freelist_init(struct loam_freelist *list, void *span,
                                                   size_t size_bytes);

/**
 * Allocate.
 *
 * @param list       heap
 * @param size_bytes 0 is served as a distinct block of zero usable bytes or more
 * @param align      power of two, 1..; at least LOAM_FREELIST_ALIGN is given
 *
 * @return block of at least @p size_bytes, the caller's until
 *         loam_freelist_free(); contents undefined. NULL: no block is large
 *         enough, the size overflows, or align is not a power of two
 */
LOAM_NODISCARD void *loam_freelist_alloc(struct loam_freelist *list, size_t size_bytes,
                                         size_t align);

/** Give a block back. NULL is a no-op; anything but a live block panics. */
void loam_freelist_free(struct loam_freelist *list, void *block);

/** As loam_freelist_free(); panics too if @p size_bytes is not what was last asked for. */
void loam_freelist_free_sized(struct loam_freelist *list, void *block, size_t size_bytes);

/**
 * Change a block's size, in place where the following memory allows, else by
 * moving. The first min(old, new) bytes are kept; alignment is LOAM_FREELIST_ALIGN
 * after a move.
 *
 * @param list       heap
 * @param block      live block, or NULL: as loam_freelist_alloc()
 * @param size_bytes new size; 0 keeps a block of size 0
 *
 * @return the block, perhaps elsewhere; NULL: no room, the old block is untouched
 *         and still the caller's
 */
LOAM_NODISCARD void *loam_freelist_realloc(struct loam_freelist *list, void *block,
                                           size_t size_bytes);

/** Bytes the caller may use of a live block, >= the size asked for; else panics. */
LOAM_NODISCARD size_t loam_freelist_usable(const struct loam_freelist *list, const void *block);

/** Statistics. O(free blocks). */
void loam_freelist_measure(const struct loam_freelist *list, struct loam_freelist_stats *out);

/** @return NULL if sound: blocks tile the span, the list matches them; else the broken rule. */
LOAM_NODISCARD const char *loam_freelist_audit(const struct loam_freelist *list);

/**
 * @return digest of layout: every block's place, size asked for and state, and
 *         the counters; not of contents. The heap must be sound.
 */
LOAM_NODISCARD uint64_t loam_freelist_digest(const struct loam_freelist *list);

#ifdef __cplusplus
}
#endif
#endif
