/*
 * freelist.h - layer 7: linked-list heap over one span of bytes, without headers or
 * with.
 *
 *     span        base                                                   end
 *     | table ... | free: size, links ....... | block | free ... | block |
 *
 * Free blocks hang in lists by address, one for each cell of 2 KiB, and in lists by
 * size. The table has a head for each; it takes 0.06 % of the span and up to 1.5 KiB.
 * A request is served from the end of a free block of its size, or one that is hardly
 * larger, or if there is none, of any: nothing that fits is ever refused. None leaves
 * 8 bytes behind, which nothing could use, unless that is the last way. A block that
 * becomes free is merged with both neighbours: a span whose blocks are all free is
 * one block again.
 *
 * There are two kinds of blocks; both may live in one heap:
 *
 *     take, give, resize     without header: n bytes cost n rounded up to 8, and at
 *                            least 16. Who gives a block back says how large it is.
 *     alloc, free, realloc   with a word before and a word behind the block: n bytes
 *                            cost n + 16 rounded up to 16.
 *
 * Blocks without header below 1 KiB are merged later: up to LOAM_FREELIST_WAITING_MAX
 * wait, in spans of 256 KiB and more, and are given out again as they are. A request
 * that finds no room has them all merged before it fails: none is ever out of reach.
 *
 * What is caught, always, before anything is changed, and how it is named (subject:
 * the pointer passed, or the damaged block's; detail: in parentheses):
 *
 *     freelist: not a block of this heap   outside the span, unaligned; with header
 *                                          also: inside a block in use
 *     freelist: block is already free      starts in free memory; with header also
 *                                          when that was given out again, as long as
 *                                          nothing was written where its header was
 *     freelist: wrong size                 free_sized (the size asked for); without
 *                                          header: reaches into free memory (where)
 *                                          or beyond the span (where it would end)
 *     freelist: header is damaged          written before the block
 *     freelist: block overflowed           written behind the block, be it one byte
 *                                          (the size asked for)
 *     freelist: block has a header         given or resized as if it had none
 *     freelist: free block is damaged      its first 16 bytes, when a call passes it:
 *                                          written after free, or a block without
 *                                          header before it overflowed
 *
 * Of a block that waits, the first 8 bytes show damage, and giving it again shows at
 * once; anything else given that reaches into it shows when either is merged, unless
 * it was given out again before. At check level 0 this goes for a block below 1 KiB
 * that reaches into other free memory, too.
 *
 * Not caught: a block without header that is overflowed into a block in use, that is
 * given with a wrong size that reaches no free memory, or that is given by a pointer
 * inside it. While blocks without header live or wait, a damaged header is named "not
 * a block of this heap", since the heap cannot tell. Freeing a block without header
 * as one with a header panics, unless its contents match 88 check bits. Check words
 * are no secret: this catches mistakes, not attackers.
 *
 * Not locked: the caller serialises; any context he can serialise. Works on any
 * span, needs no page tables. All calls: O(free blocks in a cell), at most 128, plus
 * O(log span); a request that only the last block it could find can serve:
 * O(free blocks of that size and above), and the merging of all that wait.
 */
#ifndef LOAM_FREELIST_H
#define LOAM_FREELIST_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LOAM_FREELIST_ALIGN       16u   /* of every block with header */
#define LOAM_FREELIST_GRANULE     8u    /* bytes: blocks without header are multiples */
#define LOAM_FREELIST_WAITING_MAX 256u  /* blocks that wait to be merged */
#define LOAM_FREELIST_MIN         1024u /* bytes: smallest span */
#define LOAM_FREELIST_MAX         (UINT64_C(32) << 30) /* bytes: largest span */

#define LOAM_FREELIST_LEVEL_MAX   5u
#define LOAM_FREELIST_BIN_WORDS   4u
#define LOAM_FREELIST_QUICK_WORDS 2u

/* Fields are read-only outside freelist.c. Places are counted in granules. */
struct loam_freelist {
    uint64_t base, end; /* what blocks tile */
    uint64_t cookie;    /* folded into every check: tells heaps apart */
    uint64_t words;     /* address of place 0, two granules below base */
    uint64_t place_end; /* place of the end */

    /* The table, by address: */
    uint64_t level[LOAM_FREELIST_LEVEL_MAX]; /* a bit per cell, per 64 cells, ... */
    uint64_t cells; /* 8 bits per cell: where its highest free block starts */
    uint64_t bins;  /* 32 bits per class: place of a free block; 0: none */
    uint64_t quick; /* 32 bits per size: place of a waiting block; the address 0: none wait */

    unsigned level_count;                          /* 1..LOAM_FREELIST_LEVEL_MAX */
    uint64_t bin_map[LOAM_FREELIST_BIN_WORDS];     /* a bit per class: has it free blocks? */
    uint64_t quick_map[LOAM_FREELIST_QUICK_WORDS]; /* a bit per size: do blocks wait? */
    uint64_t quick_hand;                           /* size of the one that was merged last */

    size_t used_bytes;       /* of blocks in use, headers included */
    size_t peak_bytes;       /* highest used_bytes so far */
    size_t used_count;       /* blocks in use, of both kinds */
    size_t headerless_count; /* of them, without header */
    size_t waiting_count;    /* 0..LOAM_FREELIST_WAITING_MAX */
};

struct loam_freelist_stats {
    size_t span_bytes; /* used + free; the table is in neither */
    size_t used_bytes; /* headers included */
    size_t peak_bytes;
    size_t used_count;
    size_t free_count;    /* free blocks, but for those that wait */
    size_t waiting_count; /* blocks that wait to be merged */
    /* Largest sizes served without merging any of those; 0: none. */
    size_t largest_free_bytes; /* by loam_freelist_alloc() */
    size_t largest_take_bytes; /* by loam_freelist_take() */
};

/**
 * Manage a span. O(span / 2 KiB).
 *
 * @param list       heap; its address tells its blocks from those of others
 * @param span       any alignment, any contents; owned by the heap until the caller
 *                   drops both
 * @param size_bytes LOAM_FREELIST_MIN, after aligning, to LOAM_FREELIST_MAX
 *
 * @return LOAM_OK; LOAM_INVALID if the span is NULL, too small, too large or wraps
 */
LOAM_NODISCARD enum loam_status loam_freelist_init(struct loam_freelist *list, void *span,
                                                   size_t size_bytes);

/** Does @p block lie between base and end? Says nothing about its state. */
LOAM_NODISCARD bool loam_freelist_owns(const struct loam_freelist *list, const void *block);

/* ---- blocks with a header ------------------------------------------------ */

/**
 * Allocate a block with header.
 *
 * @param list       heap
 * @param size_bytes 0 is served as a distinct block of zero usable bytes
 * @param align      power of two, 1..; at least LOAM_FREELIST_ALIGN is given
 *
 * @return block of @p size_bytes, the caller's until loam_freelist_free();
 *         contents undefined. NULL: no free block is large enough, the size
 *         overflows, or align is not a power of two
 */
LOAM_NODISCARD void *loam_freelist_alloc(struct loam_freelist *list, size_t size_bytes,
                                         size_t align);

/** Give a block with header back. NULL is a no-op; anything but a live block panics. */
void loam_freelist_free(struct loam_freelist *list, void *block);

/** As loam_freelist_free(); panics too if @p size_bytes is not what was last asked for. */
void loam_freelist_free_sized(struct loam_freelist *list, void *block, size_t size_bytes);

/**
 * Change the size of a block with header, in place where the following memory and
 * the alignment allow, else by moving. The first min(old, new) bytes are kept.
 *
 * @param list       heap
 * @param block      live block, or NULL: as loam_freelist_alloc()
 * @param size_bytes new size; 0 keeps a block of size 0
 * @param align      power of two that the result is aligned to; at least
 *                   LOAM_FREELIST_ALIGN is given
 *
 * @return the block, perhaps elsewhere; NULL: as for loam_freelist_alloc(), the old
 *         block is untouched and still the caller's
 */
LOAM_NODISCARD void *loam_freelist_realloc(struct loam_freelist *list, void *block,
                                           size_t size_bytes, size_t align);

/** Bytes the caller may use of a live block with header: what was asked for; else panics. */
LOAM_NODISCARD size_t loam_freelist_usable(const struct loam_freelist *list, const void *block);

/* ---- blocks without a header --------------------------------------------- */

/**
 * Allocate a block without header.
 *
 * @param list       heap
 * @param size_bytes rounded up to a multiple of LOAM_FREELIST_GRANULE, and to two
 *                   of them; 0 is served as a distinct block
 * @param align      power of two, 1..; at least LOAM_FREELIST_GRANULE is given
 *
 * @return block of at least @p size_bytes, the caller's until loam_freelist_give()
 *         with the same size; contents undefined. NULL: no free block is large
 *         enough, the size overflows, or align is not a power of two
 */
LOAM_NODISCARD void *loam_freelist_take(struct loam_freelist *list, size_t size_bytes,
                                        size_t align);

/**
 * Give a block without header back. NULL is a no-op; see above for what panics.
 *
 * @param list       heap
 * @param block      live block of loam_freelist_take() or loam_freelist_resize()
 * @param size_bytes what was last asked for, or the same after rounding
 */
void loam_freelist_give(struct loam_freelist *list, void *block, size_t size_bytes);

/**
 * Change the size of a block without header, in place where the following memory
 * and the alignment allow, else by moving. The first min(old, new) bytes are kept.
 *
 * @param list   heap
 * @param block  live block, or NULL: as loam_freelist_take()
 * @param resize sizes and alignment; the old size as for loam_freelist_give(), so
 *               LOAM_SIZE_UNKNOWN panics
 *
 * @return the block, perhaps elsewhere; NULL: as for loam_freelist_take(), the old
 *         block is untouched and still the caller's
 */
LOAM_NODISCARD void *loam_freelist_resize(struct loam_freelist *list, void *block,
                                          const struct loam_resize *resize);

/** Merge every block that waits. O(LOAM_FREELIST_WAITING_MAX). */
void loam_freelist_settle(struct loam_freelist *list);

/* ---- looking ------------------------------------------------------------- */

/** Statistics. O(free blocks * free blocks in a cell). */
void loam_freelist_measure(const struct loam_freelist *list, struct loam_freelist_stats *out);

/**
 * @return NULL if sound: free blocks lie apart, in the span, in the lists where they
 *         belong and in no others; those that wait overlap nothing free; the table
 *         and the counters match. While all blocks in use have headers, these tile
 *         the rest and none is damaged or overflowed. Else the broken rule.
 */
LOAM_NODISCARD const char *loam_freelist_audit(const struct loam_freelist *list);

/**
 * @return digest of layout: which bytes are free, the counters, and while all blocks
 *         in use have headers their sizes asked for; not of contents, nor of which
 *         blocks wait. The heap must be sound.
 */
LOAM_NODISCARD uint64_t loam_freelist_digest(const struct loam_freelist *list);

#ifdef __cplusplus
}
#endif
#endif
