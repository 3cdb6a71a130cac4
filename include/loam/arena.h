/*
 * arena.h - layer 7: binned heap with boundary tags over any number of spans.
 *
 *     span                                                               end
 *     | span header | tag block | tag block | tag free ... | tag block | mark |
 *
 * Every block is preceded by a 4-byte tag: its size, its state, whether the block
 * before it is free, and check bits that bind all that to the tag's place and the
 * arena (20 bytes from 16 KiB on). Blocks are multiples of 8 bytes, so a request of
 * n bytes costs n + 4 rounded up to 8, and 24 at least; with an alignment of 16 or
 * more it is rounded up to 16. What is left over behind a block is filled with a
 * pattern that tells the exact size, so that an overflow by one byte shows.
 *
 * Free blocks are merged with both neighbours and hang in bins by size: one per
 * size below 1 KiB, eight per doubling above. While less than half of the memory is
 * in use, those below 1 KiB are merged later: they wait in quick lists, to be given
 * out again as they are. A request that none of them serves merges two of them, if
 * more wait than are in use, or if memory has become scarce; one that finds no room
 * merges them all before it fails: none is ever out of reach.
 *
 * What is caught, always, at the free (or free_sized, realloc, usable), and how it
 * is named (subject: the block; detail: in parentheses):
 *
 *     arena: not a block of this heap   outside every span, unaligned, or inside
 *                                       a block
 *     arena: block is already free      until its memory is given out again
 *     arena: block overflowed           its padding or the next block's tag was
 *                                       written to (its size, as far as known)
 *     arena: tag is damaged             the block's own: one before it overflowed
 *     arena: wrong size                 free_sized, realloc_sized (the size asked for)
 *     arena: free block is damaged      its tag, links or size were written to
 *                                       after free: when they are next used
 *
 * An overflow of one or two bytes into a tag always shows, and so does one that
 * repeats a byte (memset); any other passes once in 65,536. What is written over a
 * link after free shows unless it is read back as an address in a span: once in
 * 2^38 in one of 64 MiB. Of padding the first and last 8 bytes are looked at.
 * Nothing here is secret: this catches mistakes, not attackers.
 *
 * Not locked: the caller serialises; any context he can serialise. Works on any
 * span, needs no page tables. alloc and free: O(1), at most deferred_max merges
 * (some 50 ns each) in an alloc that finds no room, two in others; plus the search
 * for a block's span where there are several: O(log spans). A size that is known
 * makes free and realloc faster (free_sized, realloc_sized): what is looked at need
 * not wait for the tag to come from memory.
 */
#ifndef LOAM_ARENA_H
#define LOAM_ARENA_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LOAM_ARENA_ALIGN            8u     /* of every block */
#define LOAM_ARENA_SPAN_MIN         512u   /* bytes: smallest span, after aligning */
#define LOAM_ARENA_DEFERRED_DEFAULT 32768u /* blocks that may wait to be merged */
#define LOAM_ARENA_QUICK_COUNT      128u   /* sizes in units of 8 bytes: below 1 KiB */
#define LOAM_ARENA_BIN_COUNT        328u   /* those, then 8 per doubling to 32 GiB */
#define LOAM_ARENA_MAP_COUNT        ((LOAM_ARENA_BIN_COUNT + 63) / 64)

struct loam_arena;

/* A request that found no room. */
struct loam_arena_request {
    size_t size_bytes;
    size_t align;
};

/*
 * Called when a request finds no room. May claim, extend, allocate and free in
 * the same arena; a request of its own that finds no room fails at once.
 *
 * @return true: something was done, try again. Without any change of the arena
 *         that could help (a claim, extension or free) the request fails
 *         anyway, so a handler that only ever says true ends.
 *
 * Context: that of the call that found no room, with its locks.
 */
typedef bool (*loam_arena_oom_handler)(struct loam_arena *arena,
                                       const struct loam_arena_request *request);

/* Memory that loam_arena_grow() claims step by step; owned by the arena. */
struct loam_arena_reserve {
    uint64_t start;      /* address of the next byte to claim */
    uint64_t size_bytes; /* what is left */
    uint64_t step_bytes; /* claimed at a time, or more if the request needs it */
};

/* A span's place in the search tree. */
struct loam_arena_span;

/* Fields are read-only outside arena.c, but for oom, deferred_max and reserve.
 * Must stay where it was initialised. */
struct loam_arena {
    loam_arena_oom_handler oom; /* NULL: fail */
    unsigned deferred_max;      /* blocks that may wait; 0: all are merged at once */
    struct loam_arena_reserve reserve;
    uint64_t hot_start;           /* first block of the span that was used last */
    uint64_t hot_units;           /* where blocks may start in it, in units of 8 bytes */
    struct loam_arena_span *root; /* tree of spans */
    uint64_t cookie;              /* folded into every check: tells arenas apart */
    size_t span_bytes;            /* of all spans */
    size_t span_count;
    size_t used_bytes; /* of blocks in use, tags and padding included */
    size_t peak_bytes; /* highest used_bytes so far */
    size_t used_count; /* blocks in use */
    unsigned deferred_count;
    unsigned merge_next;                    /* quick list whose blocks are merged next */
    uint32_t tag_cookie;                    /* part of cookie, for tags */
    bool in_oom;                            /* the handler is at work */
    uint64_t bin_map[LOAM_ARENA_MAP_COUNT]; /* which bins hold blocks */
    uint64_t quick[LOAM_ARENA_QUICK_COUNT]; /* last freed block of each size; 0:
                                             none */
    uint64_t bin[LOAM_ARENA_BIN_COUNT];     /* links to a free block of each class */
};

struct loam_arena_stats {
    size_t span_bytes, span_count;
    size_t used_bytes; /* of blocks in use, tags and padding included */
    size_t peak_bytes;
    size_t used_count;
    size_t free_bytes; /* in free blocks and waiting ones */
    size_t free_count;
    size_t deferred_count;     /* waiting to be merged when this was asked */
    size_t largest_free_bytes; /* room of the largest free block; 0: none */
};

enum loam_arena_state {
    LOAM_ARENA_USED = 1,
    LOAM_ARENA_FREE,
    LOAM_ARENA_DEFERRED, /* free, waiting to be merged */
};

/* One block, as the walk shows it. */
struct loam_arena_block {
    loam_virt start;   /* what alloc returned; of a free block: behind its tag */
    size_t size_bytes; /* asked for; of a free block: what it could hold */
    size_t footprint_bytes;
    enum loam_arena_state state;
};

/** An arena without spans: every request fails until one is claimed, but for
 * the handler. */
void loam_arena_init(struct loam_arena *arena);

/**
 * Let the arena use a span of memory.
 *
 * @param arena      heap
 * @param span       any alignment; owned by the arena until
 *                   loam_arena_release()
 * @param size_bytes at least LOAM_ARENA_SPAN_MIN after aligning
 *
 * @return LOAM_OK; LOAM_INVALID: NULL, too small or wraps; LOAM_OVERLAP: part
 *         of it is claimed already
 */
LOAM_NODISCARD enum loam_status loam_arena_claim(struct loam_arena *arena, void *span,
                                                 size_t size_bytes);

/**
 * Let a claimed span reach further. The new memory is one block with a free one
 * before it.
 *
 * @param arena      heap
 * @param span       start of a span, as claimed
 * @param size_bytes new size from there, no smaller than before
 *
 * @return LOAM_OK; LOAM_INVALID: smaller, or wraps; LOAM_OVERLAP: part of the
 *         new memory is claimed already; LOAM_NOT_FOUND: no such span
 */
LOAM_NODISCARD enum loam_status loam_arena_extend(struct loam_arena *arena, void *span,
                                                  size_t size_bytes);

/**
 * Take the end of a span back. Waiting blocks are merged first.
 *
 * @param arena      heap
 * @param span       start of a span, as claimed
 * @param size_bytes new size from there, no larger than before; the caller owns
 *                   what lies behind again
 *
 * @return LOAM_OK; LOAM_INVALID: larger, or smaller than LOAM_ARENA_SPAN_MIN;
 *         LOAM_OVERLAP: a block in use lies there; LOAM_NOT_FOUND: no such span
 */
LOAM_NODISCARD enum loam_status loam_arena_truncate(struct loam_arena *arena, void *span,
                                                    size_t size_bytes);

/**
 * Take a whole span back.
 *
 * @return LOAM_OK: the caller owns it again; LOAM_OVERLAP: it has blocks in
 *         use; LOAM_NOT_FOUND: no such span
 */
LOAM_NODISCARD enum loam_status loam_arena_release(struct loam_arena *arena, void *span);

/**
 * Smallest size to which a span can be truncated now. Merges waiting blocks.
 *
 * @return bytes from @p span on; 0: no such span
 */
LOAM_NODISCARD size_t loam_arena_span_needed(struct loam_arena *arena, void *span);

/** Handler for arena->oom: claim the next part of arena->reserve, or extend
 * into it. */
LOAM_NODISCARD bool loam_arena_grow(struct loam_arena *arena,
                                    const struct loam_arena_request *request);

/**
 * Allocate.
 *
 * @param arena      heap
 * @param size_bytes 0 is served as a distinct block
 * @param align      power of two, 1..; at least LOAM_ARENA_ALIGN is given
 *
 * @return block of @p size_bytes, the caller's until loam_arena_free();
 *         contents undefined. NULL: no room and the handler found none, the size
 *         overflows, or align is not a power of two. There is room if a free
 *         block is larger than the request by an eighth and the alignment; of
 *         those between, 64 are looked at
 */
LOAM_NODISCARD void *loam_arena_alloc(struct loam_arena *arena, size_t size_bytes, size_t align);

/** Give a block back. NULL is a no-op; anything but a live block panics. */
void loam_arena_free(struct loam_arena *arena, void *block);

/** As loam_arena_free(); panics too if @p size_bytes is not what was last asked
 * for. */
void loam_arena_free_sized(struct loam_arena *arena, void *block, size_t size_bytes);

/**
 * Change a block's size: in place where its own size or the free memory behind
 * it allows; else down to the start of free memory before it, if that is
 * aligned, or by moving. The first min(old, new) bytes are kept. Making an
 * aligned block smaller never fails.
 *
 * @param arena      heap
 * @param block      live block, or NULL: as loam_arena_alloc()
 * @param size_bytes new size; 0 keeps a block of size 0
 * @param align      power of two that the result is aligned to, as for alloc
 *
 * @return the block, perhaps elsewhere; NULL: no room, or align is not a power
 *         of two: the old block is untouched and still the caller's
 */
LOAM_NODISCARD void *loam_arena_realloc(struct loam_arena *arena, void *block, size_t size_bytes,
                                        size_t align);

/** As loam_arena_realloc(); panics too if resize->old_bytes is neither
 * LOAM_SIZE_UNKNOWN nor what was last asked for. For NULL it does not count. */
LOAM_NODISCARD void *loam_arena_realloc_sized(struct loam_arena *arena, void *block,
                                              const struct loam_resize *resize);

/** Size that was last asked for, and that the caller may use, of a live block;
 * else panics. */
LOAM_NODISCARD size_t loam_arena_usable(const struct loam_arena *arena, const void *block);

/** Merge all waiting blocks. */
void loam_arena_merge(struct loam_arena *arena);

/** Does an address lie among a claimed span's blocks? Looks at no block. O(log
 * spans) */
LOAM_NODISCARD bool loam_arena_owns(const struct loam_arena *arena, const void *block);

/** Statistics. Merges waiting blocks. O(free blocks). */
void loam_arena_measure(struct loam_arena *arena, struct loam_arena_stats *out);

/**
 * Walk all blocks, spans in address order. To begin, zero *block; each call
 * makes it the next. Leaks are the blocks in use when there should be none.
 *
 *     struct loam_arena_block block = { 0 };
 *     while (loam_arena_next(&arena, &block))
 *         if (block.state == LOAM_ARENA_USED) ...
 *
 * @return false: that was the last, *block is untouched
 */
LOAM_NODISCARD bool loam_arena_next(const struct loam_arena *arena, struct loam_arena_block *block);

/** @return NULL if sound: blocks tile the spans, tags, bins and counts agree;
 * else the rule. */
LOAM_NODISCARD const char *loam_arena_audit(const struct loam_arena *arena);

/** @return digest of place and size of every block in use, and of the counters;
 * must be sound */
LOAM_NODISCARD uint64_t loam_arena_digest(const struct loam_arena *arena);

#ifdef __cplusplus
}
#endif
#endif
