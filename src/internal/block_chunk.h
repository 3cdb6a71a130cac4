/*
 * block_chunk.h - the chunks of block.c, which alone includes it: what they
 * look like, how they are recognised and how they come and go.
 *
 *     chunk   | header | free bits | gap | block 0 | block 1 | ... | rest | tag |
 *             ^ multiple of 16 KiB       ^ first                          ^ not ours
 *
 * Invariants: free bit i is set exactly if block i is free; summary bit w
 * exactly if word w has a free bit; used is the number of clear bits. A chunk
 * is in the room list of its class exactly if it has a free block. Every empty
 * chunk is named in spare[]; what is named there and is not empty any more is
 * thrown out when its place is needed, so that a class whose last block comes
 * and goes costs nothing.
 */
#ifndef LOAM_INTERNAL_BLOCK_CHUNK_H
#define LOAM_INTERNAL_BLOCK_CHUNK_H

#include <loam/block.h>

#include "check.h"
#include "inject.h"

/* An arena has 20 bytes before a block of this size: chunks of that much less
 * are dense. */
#define BLOCK_ARENA_BYTES (LOAM_BLOCK_CHUNK_BYTES - 20u)
#define BLOCK_CHUNK_END   (LOAM_BLOCK_CHUNK_BYTES - 24u) /* of blocks, with any fallback */
#define BLOCK_WORDS_MAX   32u
#define BLOCK_NONE        LOAM_BLOCK_CLASS_COUNT /* no class */

/* Spreads a class over all bits of a check word; the inverse leaves of any other
 * word a number that is no class, but for 42 in 2^64. */
#define BLOCK_SPREAD   UINT64_C(0x9e3779b97f4a7c15)
#define BLOCK_UNSPREAD UINT64_C(0xf1de83e19937733d)
LOAM_STATIC_ASSERT(BLOCK_SPREAD *BLOCK_UNSPREAD == 1, "one undoes the other");

/* may_alias: the memory holds objects of the fallback's users before and
 * afterwards. */
struct __attribute__((may_alias)) loam_block_chunk {
    uint64_t check;   /* cookie ^ address ^ class * SPREAD; an overflow hits it first */
    uint32_t summary; /* words of free bits that are not 0 */
    uint16_t used;    /* live blocks */
    uint8_t is_spare; /* 1: named in spare[]; no bool: it may be damaged */
    uint8_t is_lax;   /* 1: may hold blocks of more bytes than their sizes need */
    struct loam_block_chunk *room_next, *room_before; /* those of its class with room */
    struct loam_block_chunk *next, *before;           /* all of the heap */
    uint64_t seal;                                    /* ~check: tells damage from a stranger */
    uint64_t free[];
};

struct block_class {
    uint32_t reciprocal; /* of size, 32 bits after the point, rounded up */
    uint32_t size;
    uint16_t first; /* offset of block 0 */
    uint16_t count; /* of blocks */
    uint16_t align; /* of blocks */
    uint8_t words;  /* of free bits */
    uint8_t steps;  /* sizes of the class: from this many, less one, below its own */
};

#define BLOCK_HEADER        sizeof(struct loam_block_chunk)
#define BLOCK_WORDS(size)   (((BLOCK_CHUNK_END - BLOCK_HEADER) / (size) + 63) / 64)
#define BLOCK_UP(value, to) (((value) + (to)-1) / (to) * (to))
#define BLOCK_FIRST(size, align_bytes) \
    BLOCK_UP(BLOCK_HEADER + 8 * BLOCK_WORDS(size), (size_t)(align_bytes))
#define BLOCK_CLASS(above, size_bytes, align_bytes)                                                \
    {                                                                                              \
        .reciprocal = UINT32_MAX / (size_bytes) + 1, .size = (size_bytes),                         \
        .first = (uint16_t)BLOCK_FIRST(size_bytes, align_bytes),                                   \
        .count = (BLOCK_CHUNK_END - BLOCK_FIRST(size_bytes, align_bytes)) / (size_bytes),          \
        .align = (align_bytes), .words = BLOCK_WORDS(size_bytes), .steps = (size_bytes) - (above), \
    }

/* Sizes above 900 are what a chunk can be divided into with little left over.
 * 768 and 1792 could be aligned better, at the price of a block per chunk. */
static const struct block_class block_classes[LOAM_BLOCK_CLASS_COUNT] = {
    BLOCK_CLASS(-1, 8, 8),        BLOCK_CLASS(8, 16, 16),       BLOCK_CLASS(16, 24, 8),
    BLOCK_CLASS(24, 32, 32),      BLOCK_CLASS(32, 48, 16),      BLOCK_CLASS(48, 64, 64),
    BLOCK_CLASS(64, 80, 16),      BLOCK_CLASS(80, 96, 32),      BLOCK_CLASS(96, 112, 16),
    BLOCK_CLASS(112, 128, 128),   BLOCK_CLASS(128, 144, 16),    BLOCK_CLASS(144, 160, 32),
    BLOCK_CLASS(160, 176, 16),    BLOCK_CLASS(176, 192, 64),    BLOCK_CLASS(192, 208, 16),
    BLOCK_CLASS(208, 224, 32),    BLOCK_CLASS(224, 240, 16),    BLOCK_CLASS(240, 256, 256),
    BLOCK_CLASS(256, 288, 32),    BLOCK_CLASS(288, 320, 64),    BLOCK_CLASS(320, 352, 32),
    BLOCK_CLASS(352, 384, 128),   BLOCK_CLASS(384, 416, 32),    BLOCK_CLASS(416, 448, 64),
    BLOCK_CLASS(448, 480, 32),    BLOCK_CLASS(480, 512, 512),   BLOCK_CLASS(512, 576, 64),
    BLOCK_CLASS(576, 640, 128),   BLOCK_CLASS(640, 704, 64),    BLOCK_CLASS(704, 768, 128),
    BLOCK_CLASS(768, 832, 64),    BLOCK_CLASS(832, 896, 128),   BLOCK_CLASS(896, 944, 16),
    BLOCK_CLASS(944, 1024, 512),  BLOCK_CLASS(1024, 1152, 128), BLOCK_CLASS(1152, 1248, 32),
    BLOCK_CLASS(1248, 1344, 64),  BLOCK_CLASS(1344, 1472, 64),  BLOCK_CLASS(1472, 1600, 64),
    BLOCK_CLASS(1600, 1792, 128), BLOCK_CLASS(1792, 2032, 16),  BLOCK_CLASS(2032, 2048, 512),
};
LOAM_STATIC_ASSERT(BLOCK_WORDS(8) <= BLOCK_WORDS_MAX, "a summary has 32 bits");
LOAM_STATIC_ASSERT(offsetof(struct loam_block_chunk, free) == BLOCK_HEADER,
                   "bits follow the header");

/* A block in a chunk. */
struct block_place {
    struct loam_block_chunk *chunk;
    unsigned class;
    unsigned index;
};

/* ---- fallback ------------------------------------------------------------ */

/* Whether the fallback's span that was used last, mostly its only one, has @p
 * at. */
static inline bool block_owns_hot(const struct loam_block *block, uint64_t at)
{
    const struct loam_arena *const arena = block->fallback.arena;

    return arena != NULL
               ? (at - arena->hot_start) / 8 < arena->hot_units
               : loam_freelist_owns(block->fallback.freelist, (const void *)(uintptr_t)at);
}

static bool block_owns(const struct loam_block *block, uint64_t at)
{
    const struct loam_arena *const arena = block->fallback.arena;

    return block_owns_hot(block, at) ||
           (arena != NULL && loam_arena_owns(arena, (const void *)(uintptr_t)at));
}

static size_t block_held(const struct loam_block *block)
{
    return block->chunk_count * LOAM_BLOCK_CHUNK_BYTES + block->large_bytes;
}

static void block_note_peak(struct loam_block *block)
{
    const size_t held_bytes = block_held(block);

    if (held_bytes > block->peak_bytes)
        block->peak_bytes = held_bytes;
}

static struct loam_block_chunk *block_chunk_borrow(struct loam_block *block)
{
    const struct loam_block_fallback *const from = &block->fallback;

    if (LOAM_INJECT("block.chunk"))
        return NULL;
    return from->arena != NULL
               ? loam_arena_alloc(from->arena, BLOCK_ARENA_BYTES, LOAM_BLOCK_CHUNK_BYTES)
               : loam_freelist_take(from->freelist, LOAM_BLOCK_CHUNK_BYTES, LOAM_BLOCK_CHUNK_BYTES);
}

static void block_chunk_return(struct loam_block *block, struct loam_block_chunk *chunk)
{
    if (block->fallback.arena != NULL)
        loam_arena_free_sized(block->fallback.arena, chunk, BLOCK_ARENA_BYTES);
    else
        loam_freelist_give(block->fallback.freelist, chunk, LOAM_BLOCK_CHUNK_BYTES);
}

/* ---- recognising chunks -------------------------------------------------- */

static uint64_t block_check_of(const struct loam_block *block, const struct loam_block_chunk *chunk,
                               unsigned class)
{
    return block->cookie ^ loam_virt_of(chunk).addr ^ class * BLOCK_SPREAD;
}

/* What class a check word there stands for; BLOCK_NONE or more: it is none. */
static uint64_t block_class_by(const struct loam_block *block, const struct loam_block_chunk *chunk,
                               uint64_t check)
{
    return (check ^ block->cookie ^ loam_virt_of(chunk).addr) * BLOCK_UNSPREAD;
}

/* The word at @p word, which may be the memory of another user of the fallback,
 * who may be writing there now. Then it is no check word, whatever is read. */
__attribute__((no_sanitize("thread"))) static uint64_t block_peek(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}

/* Class of the chunk at a multiple of its size that the fallback owns; BLOCK_NONE:
 * there is no chunk. */
static unsigned block_class_here(const struct loam_block *block,
                                 const struct loam_block_chunk *chunk)
{
    const uint64_t class = block_class_by(block, chunk, block_peek(&chunk->check));

    return class < BLOCK_NONE ? (unsigned)class : BLOCK_NONE;
}

/* The same for any pointer. */
static unsigned block_class_at(const struct loam_block *block, const struct loam_block_chunk *chunk)
{
    const uint64_t at = loam_virt_of(chunk).addr;

    return at % LOAM_BLOCK_CHUNK_BYTES == 0 && block_owns(block, at)
               ? block_class_here(block, chunk)
               : BLOCK_NONE;
}

static void block_require(bool is_sound, const struct loam_block_chunk *chunk)
{
    LOAM_REQUIRE(is_sound, "block: chunk is damaged", loam_virt_of(chunk).addr, 0);
}

/* The block that starts at @p at, which is in the 16 KiB of a chunk of that
 * class. Its class is BLOCK_NONE: none starts there. */
static inline struct block_place block_place_in(struct loam_block_chunk *chunk, unsigned class,
                                                uint64_t at)
{
    struct block_place place = { chunk, class, 0 };

    /* An offset is a multiple of the size exactly if what is left behind the
     * point of the product is less than the reciprocal; see Lemire, Kaser,
     * Kurz: "Faster remainder by direct computation". In front of block 0 the
     * index is far too high. */
    const struct block_class *const info = &block_classes[class];
    const uint32_t offset = (uint32_t)(at - loam_virt_of(chunk).addr) - info->first;
    const uint64_t product = (uint64_t)offset * info->reciprocal;
    place.index = (unsigned)(product >> 32);
    if ((uint32_t)product >= info->reciprocal || place.index >= info->count)
        place.class = BLOCK_NONE;
    return place;
}

static inline struct loam_block_chunk *block_chunk_around(uint64_t at)
{
    return (struct loam_block_chunk *)(uintptr_t)(at & ~(uint64_t)(LOAM_BLOCK_CHUNK_BYTES - 1));
}

/* Nearly always, what block_find() would say; BLOCK_NONE: ask that. */
static inline struct block_place block_find_hot(const struct loam_block *block, const void *pointer)
{
    const uint64_t at = (uint64_t)(uintptr_t)pointer;
    struct loam_block_chunk *const chunk = block_chunk_around(at);

    if (block_owns_hot(block, loam_virt_of(chunk).addr)) {
        const uint64_t class = block_class_by(block, chunk, block_peek(&chunk->check));
        if (class < BLOCK_NONE)
            return block_place_in(chunk, (unsigned)class, at);
    }
    const struct block_place none = { NULL, BLOCK_NONE, 0 };
    return none;
}

/* The block that starts at a pointer. Its class is BLOCK_NONE: the pointer lies
 * in no chunk. */
static struct block_place block_find(const struct loam_block *block, const void *pointer)
{
    const uint64_t at = (uint64_t)(uintptr_t)pointer;
    struct loam_block_chunk *const chunk = block_chunk_around(at);
    const uint64_t start = loam_virt_of(chunk).addr;
    const struct block_place none = { NULL, BLOCK_NONE, 0 };

    if (!block_owns(block, start))
        return none;
    const unsigned class = block_class_here(block, chunk);
    if (class == BLOCK_NONE) {
        /* What has no check word has no seal either, or it was a chunk. */
        if (block_owns(block, start + BLOCK_HEADER - 1))
            block_require(block_class_by(block, chunk, ~block_peek(&chunk->seal)) >= BLOCK_NONE,
                          chunk);
        return none;
    }
    /* The next block of an arena begins in the last bytes of the 16 KiB. */
    if (block->fallback.arena != NULL && at - start >= BLOCK_ARENA_BYTES)
        return none;
    const struct block_place place = block_place_in(chunk, class, at);
    LOAM_REQUIRE(place.class != BLOCK_NONE, "block: not a block of this heap", at, 0);
    return place;
}

/* ---- lists of chunks ----------------------------------------------------- */

static void block_require_room_links(const struct loam_block *block,
                                     const struct loam_block_chunk *chunk, unsigned class)
{
    const struct loam_block_chunk *const next = chunk->room_next;
    const struct loam_block_chunk *const before = chunk->room_before;

    block_require(next == NULL ||
                      (block_class_at(block, next) == class && next->room_before == chunk),
                  chunk);
    block_require(before == NULL
                      ? block->room[class] == chunk
                      : block_class_at(block, before) == class && before->room_next == chunk,
                  chunk);
}

static void block_require_links(const struct loam_block *block,
                                const struct loam_block_chunk *chunk)
{
    const struct loam_block_chunk *const next = chunk->next;
    const struct loam_block_chunk *const before = chunk->before;

    block_require(next == NULL ||
                      (block_class_at(block, next) != BLOCK_NONE && next->before == chunk),
                  chunk);
    block_require(before == NULL
                      ? block->first == chunk
                      : block_class_at(block, before) != BLOCK_NONE && before->next == chunk,
                  chunk);
}

/* The first of all chunks is about to get another before it. */
static void block_require_first(const struct loam_block *block)
{
    const struct loam_block_chunk *const first = block->first;

    block_require(first == NULL || block_class_here(block, first) != BLOCK_NONE, first);
}

/* The first chunk of a room list is about to get another behind it. */
static void block_require_room(const struct loam_block *block, unsigned class)
{
    const struct loam_block_chunk *const first = block->room[class];

    if (first == NULL)
        return;
    block_require(block_class_here(block, first) == class, first);
    block_require_room_links(block, first, class);
}

/* Word @p i of a chunk's free bits while all blocks are free. */
static uint64_t block_bits_of(unsigned class, unsigned i)
{
    const unsigned count = block_classes[class].count;
    const unsigned left = count > 64 * i ? count - 64 * i : 0;

    return left >= 64 ? UINT64_MAX : (UINT64_C(1) << left) - 1;
}

static unsigned block_count_free(const struct loam_block_chunk *chunk, unsigned class)
{
    unsigned count = 0;

    for (unsigned i = 0; i < block_classes[class].words; i++) {
        for (uint64_t bits = chunk->free[i]; bits != 0; bits &= bits - 1)
            count++;
    }
    return count;
}

/* All blocks but @p used_count are free, and the bits say so. */
static void block_require_count(const struct loam_block_chunk *chunk, unsigned class,
                                unsigned used_count)
{
    block_require(chunk->used == used_count &&
                      block_count_free(chunk, class) + used_count == block_classes[class].count,
                  chunk);
}

/* Second, not first: while the first is used up, others gather room. So a block
 * freed in a full chunk is not the next one given out, which would make the chunk
 * full again at once: that made a fifth of the time. */
static void block_room_push(struct loam_block *block, struct loam_block_chunk *chunk,
                            unsigned class)
{
    struct loam_block_chunk *const first = block->room[class];
    struct loam_block_chunk *const second = first != NULL ? first->room_next : NULL;

    chunk->room_before = first;
    chunk->room_next = second;
    if (second != NULL)
        second->room_before = chunk;
    if (first != NULL)
        first->room_next = chunk;
    else
        block->room[class] = chunk;
}

static void block_room_remove(struct loam_block *block, const struct loam_block_chunk *chunk,
                              unsigned class)
{
    if (chunk->room_next != NULL)
        chunk->room_next->room_before = chunk->room_before;
    if (chunk->room_before != NULL)
        chunk->room_before->room_next = chunk->room_next;
    else
        block->room[class] = chunk->room_next;
}

/* Make what is in the list of all a chunk of a class, all free. */
static void block_chunk_set_up(struct loam_block *block, struct loam_block_chunk *chunk,
                               unsigned class)
{
    chunk->check = block_check_of(block, chunk, class);
    chunk->seal = ~chunk->check;
    chunk->summary = 0;
    chunk->used = 0;
    chunk->is_spare = 0;
    chunk->is_lax = 0;
    for (unsigned i = 0; i < block_classes[class].words; i++) {
        chunk->free[i] = block_bits_of(class, i);
        chunk->summary |= (uint32_t)(chunk->free[i] != 0) << i;
    }
    block_room_push(block, chunk, class);
}

/* A chunk from the fallback, in the list of all. NULL: there is no room. */
static struct loam_block_chunk *block_chunk_add(struct loam_block *block)
{
    block_require_first(block);
    struct loam_block_chunk *const chunk = block_chunk_borrow(block);

    if (chunk == NULL)
        return NULL;
    chunk->before = NULL;
    chunk->next = block->first;
    if (block->first != NULL)
        block->first->before = chunk;
    block->first = chunk;
    block->chunk_count++;
    block_note_peak(block);
    return chunk;
}

/* Give a chunk, which is in no room list any more, back. Its links were
 * checked. */
static void block_chunk_release(struct loam_block *block, struct loam_block_chunk *chunk)
{
    if (chunk->next != NULL)
        chunk->next->before = chunk->before;
    if (chunk->before != NULL)
        chunk->before->next = chunk->next;
    else
        block->first = chunk->next;
    chunk->check = 0; /* whatever its memory becomes, it is no chunk */
    chunk->seal = 0;
    block->chunk_count--;
    block_chunk_return(block, chunk);
}

/* ---- empty chunks -------------------------------------------------------- */

/* Where in spare[] a chunk can be named that becomes empty;
 * LOAM_BLOCK_SPARE_CHUNKS: nowhere, there are enough. */
static unsigned block_spare_slot(const struct loam_block *block)
{
    unsigned slot = 0;

    while (slot < block->spare_count && block->spare[slot]->used == 0)
        slot++;
    return slot;
}

static void block_spare_put(struct loam_block *block, struct loam_block_chunk *chunk, unsigned slot)
{
    if (slot < block->spare_count)
        block->spare[slot]->is_spare = 0;
    else
        block->spare_count++;
    block->spare[slot] = chunk;
    chunk->is_spare = 1;
}

/* An empty chunk, which is in the list of all only from now on. NULL: there is
 * none. */
static struct loam_block_chunk *block_spare_take(struct loam_block *block)
{
    unsigned slot = 0;

    while (slot < block->spare_count && block->spare[slot]->used != 0)
        slot++;
    if (slot == block->spare_count)
        return NULL;
    struct loam_block_chunk *const chunk = block->spare[slot];
    const unsigned class = block_class_here(block, chunk);
    block_require(class != BLOCK_NONE, chunk);
    block_require_count(chunk, class, 0);
    block_require_room_links(block, chunk, class);
    block_require_links(block, chunk);
    block->spare_count--;
    block->spare[slot] = block->spare[block->spare_count];
    block_room_remove(block, chunk, class);
    return chunk;
}

/* A chunk of the class with room, where there was none. NULL: there is no
 * memory. */
__attribute__((noinline)) static struct loam_block_chunk *block_refill(struct loam_block *block,
                                                                       unsigned class)
{
    struct loam_block_chunk *chunk = block_spare_take(block);

    if (chunk == NULL)
        chunk = block_chunk_add(block);
    if (chunk == NULL && block->room[class] == NULL)
        chunk = block_spare_take(block); /* the fallback's handler may have freed */
    if (chunk != NULL)
        block_chunk_set_up(block, chunk, class);
    return block->room[class];
}

#endif
