/*
 * block.h - layer 7: size classes over chunks that a larger heap lends.
 *
 *     fallback  | large | chunk          | large | free | chunk          | ...
 *                       /                 \
 *     chunk     | header | free bits | block | block | block | ... | rest |
 *
 * A request of up to LOAM_BLOCK_SIZE_MAX bytes is served from a chunk whose
 * blocks are all of its size class: 8, 16, 24, 32, then steps of 16 up to 128,
 * then steps that waste an eighth or less. One bit per block says whether it is
 * free, so alloc is: find the first set bit of the chunk in front; free: set a
 * bit. Nothing is kept in free blocks: no write after free can damage the heap.
 * Larger requests and chunks come from the fallback, a freelist or an arena,
 * which may have other users. Where it has no room for a chunk, it serves small
 * requests, too.
 *
 * An empty chunk goes back to the fallback, but for LOAM_BLOCK_SPARE_CHUNKS,
 * which any class takes before it asks for a new one; before a request fails,
 * those go back too and it is tried again.
 *
 * A block's chunk is found by rounding its address down. Nothing there is read
 * before the fallback has said that it owns the place, and nothing believed
 * before the chunk's check word was found right: it binds address, class and
 * heap.
 *
 * A block of a class is aligned to the largest power of two that divides the
 * class's size, at least LOAM_BLOCK_ALIGN_MIN and at most LOAM_BLOCK_ALIGN_MAX;
 * those of 768 and 1792 bytes to 128. A request that needs more alignment than
 * its class has goes to the next class that has it, else to the fallback.
 *
 * What is caught, always, and how it is named (subject: the pointer passed;
 * detail: in parentheses):
 *
 *     block: not a block of this heap   in a chunk, but not a block's start; what
 *                                       others have from the fallback, if this
 *                                       heap has nothing that large from it
 *     block: block is already free      in a chunk, or never given out: exact,
 *                                       until its memory is given out again or
 *                                       its chunk goes back
 *     block: wrong size                 free_sized, realloc: another class (its
 *                                       size); outside of chunks another size
 *                                       (its size)
 *     block: chunk is damaged           check word, counts, bits or links, when
 *                                       they are next used (subject: the chunk)
 *
 * Any pointer that lies in no chunk is the fallback's, and so are its checks
 * and their names: "arena: not a block of this heap". Not seen: an overflow
 * within a chunk, a write after free, a wrong size of the same class; and in a
 * chunk that has served a request by more than its size needs (aligned, or
 * shrunk where there was no room to move), any size that its blocks can hold. A
 * check word is no secret: this catches mistakes, not attackers.
 *
 * Not locked: the caller serialises, together with all users of the fallback;
 * any context he can serialise. The arena's handler for requests without room
 * may call this heap. alloc, free and realloc of classes are O(1), plus the
 * fallback's cost once per chunk; no chunk is initialised block by block.
 */
#ifndef LOAM_BLOCK_H
#define LOAM_BLOCK_H

#include "arena.h"
#include "freelist.h"
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LOAM_BLOCK_SIZE_MAX     2048u  /* bytes: larger ones are the fallback's */
#define LOAM_BLOCK_ALIGN_MIN    8u     /* of every block */
#define LOAM_BLOCK_ALIGN_MAX    512u   /* that a class can have */
#define LOAM_BLOCK_CHUNK_BYTES  16384u /* size and alignment of a chunk */
#define LOAM_BLOCK_SPARE_CHUNKS 4u     /* empty chunks that are kept */
#define LOAM_BLOCK_CLASS_COUNT  42u

/* Where chunks and large blocks come from: exactly one, borrowed. */
struct loam_block_fallback {
    struct loam_freelist *freelist;
    struct loam_arena *arena;
};

struct loam_block_chunk;

/* Fields are read-only outside block.c. */
struct loam_block {
    struct loam_block_fallback fallback;
    uint64_t cookie;                                         /* tells chunks of heaps apart */
    struct loam_block_chunk *room[LOAM_BLOCK_CLASS_COUNT];   /* chunks with a free block */
    struct loam_block_chunk *first;                          /* of all chunks */
    struct loam_block_chunk *spare[LOAM_BLOCK_SPARE_CHUNKS]; /* were empty; are they now? */
    unsigned spare_count;
    size_t chunk_count;
    size_t large_count;                              /* live blocks of the fallback */
    size_t large_bytes;                              /* that they can hold */
    size_t peak_bytes;                               /* highest held_bytes so far */
    uint8_t class_of[LOAM_BLOCK_SIZE_MAX / 8u + 1u]; /* by size in units of 8, rounded up */
};

struct loam_block_stats {
    size_t used_bytes;  /* of live blocks, rounding included; large ones: usable bytes */
    size_t used_count;  /* live blocks */
    size_t held_bytes;  /* chunks, whole, and usable bytes of large blocks */
    size_t peak_bytes;  /* highest held_bytes so far */
    size_t chunk_count; /* empty ones included */
    size_t empty_count; /* chunks that loam_block_trim() would give back */
    size_t large_count; /* live blocks that are the fallback's */
};

/** A heap without chunks. @return LOAM_OK; LOAM_INVALID: not exactly one fallback */
LOAM_NODISCARD enum loam_status loam_block_init(struct loam_block *block,
                                                const struct loam_block_fallback *fallback);

/**
 * Allocate.
 *
 * @param block      heap
 * @param size_bytes 0 is served as a distinct block
 * @param align      power of two, 1..; at least LOAM_BLOCK_ALIGN_MIN is given
 *
 * @return memory, the caller's until loam_block_free(); contents undefined.
 *         NULL: no room in the fallback, the size overflows, or align is not a
 *         power of two
 */
LOAM_NODISCARD void *loam_block_alloc(struct loam_block *block, size_t size_bytes, size_t align);

/** Give memory back. NULL is a no-op; anything but a live block panics. */
void loam_block_free(struct loam_block *block, void *pointer);

/** As loam_block_free(); panics too if @p size_bytes is not of the block's class. */
void loam_block_free_sized(struct loam_block *block, void *pointer, size_t size_bytes);

/**
 * Change a block's size: within its class in place, else by moving; a large one
 * in place where the fallback can. A block that gets smaller is moved to its
 * new class where there is room, else it stays: that never fails, but for its
 * alignment.
 *
 * @param block   heap
 * @param pointer live block, or NULL: as loam_block_alloc()
 * @param resize  old size (or LOAM_SIZE_UNKNOWN), new size and alignment
 *
 * @return the block, perhaps elsewhere; the first min(old, new) bytes are kept.
 *         NULL: as for loam_block_alloc(), the old block is untouched
 */
LOAM_NODISCARD void *loam_block_realloc(struct loam_block *block, void *pointer,
                                        const struct loam_resize *resize);

/** Bytes the caller may use of a live block, >= the size asked for; else panics. */
LOAM_NODISCARD size_t loam_block_usable(const struct loam_block *block, const void *pointer);

/** Give every empty chunk back to the fallback. @return bytes given back */
size_t loam_block_trim(struct loam_block *block);

/** Statistics. O(chunks). */
void loam_block_measure(const struct loam_block *block, struct loam_block_stats *out);

/** @return NULL if sound: lists, bits and counts agree; else the broken rule. */
LOAM_NODISCARD const char *loam_block_audit(const struct loam_block *block);

/**
 * @return digest of the place and class of every live block in a chunk, and of
 *         count and bytes of large ones; not of empty chunks, nor of contents
 */
LOAM_NODISCARD uint64_t loam_block_digest(const struct loam_block *block);

#ifdef __cplusplus
}
#endif
#endif
