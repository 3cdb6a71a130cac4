/*
 * block.c - see block.h.
 *
 * Everything is checked before anything is changed, so that a panic leaves the
 * evidence as it was. The fallback's handler may call this heap: nothing is
 * half done, and nothing remembered, while a request is in the fallback.
 */
#include <loam/block.h>

#include "internal/block_chunk.h"
#include "internal/check.h"
#include "internal/digest.h"
#include "internal/inject.h"

/* ---- blocks of classes --------------------------------------------------- */

static unsigned block_class_of(const struct loam_block *block, size_t size_bytes)
{
    return block->class_of[(size_bytes + 7) / 8];
}

/* The smallest class that serves a request; BLOCK_NONE: it is the fallback's.
 * */
static unsigned block_class_for(const struct loam_block *block, size_t size_bytes, size_t align)
{
    if (size_bytes > LOAM_BLOCK_SIZE_MAX || align > LOAM_BLOCK_ALIGN_MAX)
        return BLOCK_NONE;
    unsigned class = block_class_of(block, size_bytes > align ? size_bytes : align);
    while (class < BLOCK_NONE && block_classes[class].align < align)
        class += 1;
    return class;
}

/* Block @p index of a chunk. */
static inline void *block_at(struct loam_block_chunk *chunk, unsigned class, unsigned index)
{
    const struct block_class *const info = &block_classes[class];

    block_require(index < info->count, chunk);
    return (char *)chunk + info->first + (size_t)index * info->size;
}

/* As block_take(), where the block is the last free one of its word, perhaps of the
 * chunk. */
__attribute__((noinline)) static void *block_take_last(struct loam_block *block,
                                                       struct loam_block_chunk *chunk,
                                                       unsigned class)
{
    block_require(chunk->summary != 0, chunk);
    const unsigned word = (unsigned)__builtin_ctz(chunk->summary);
    block_require(chunk->free[word] != 0, chunk);
    const unsigned bit = (unsigned)__builtin_ctzll(chunk->free[word]);
    void *const pointer = block_at(chunk, class, 64 * word + bit);
    const uint32_t summary = chunk->summary & (chunk->summary - 1);
    if (summary == 0) {
        block_require(chunk->used + 1u == block_classes[class].count, chunk);
        block_require_room_links(block, chunk, class);
        block_room_remove(block, chunk, class);
    }
    chunk->free[word] = 0;
    chunk->summary = summary;
    chunk->used++;
    return pointer;
}

/* The lowest free block of a chunk from the room list. */
static inline void *block_take(struct loam_block *block, struct loam_block_chunk *chunk,
                               unsigned class)
{
    /* Should a damaged summary name no word, this looks at the highest: beyond the
     * blocks of all classes but the smallest, so that its index does not pass. */
    const unsigned word = (unsigned)__builtin_ctz(chunk->summary | UINT32_C(1) << 31);
    const uint64_t bits = chunk->free[word];
    const uint64_t left = bits & (bits - 1);

    block_require(chunk->check == block_check_of(block, chunk, class), chunk);
    if (left == 0)
        return block_take_last(block, chunk, class);
    void *const pointer = block_at(chunk, class, 64 * word + (unsigned)__builtin_ctzll(bits));
    chunk->free[word] = left;
    chunk->used++;
    return pointer;
}

static inline void block_require_used(struct block_place place, const void *pointer)
{
    LOAM_REQUIRE((place.chunk->free[place.index / 64] >> place.index % 64 & 1) == 0,
                 "block: block is already free", loam_virt_of(pointer).addr, 0);
}

static inline bool block_has_class(struct block_place place, size_t size_bytes)
{
    const struct block_class *const info = &block_classes[place.class];

    return info->size - size_bytes < info->steps;
}

/* A size of another class is right only where blocks may have more bytes than
 * their sizes need. */
static void block_require_size(struct block_place place, const void *pointer, size_t size_believed)
{
    const unsigned size = block_classes[place.class].size;

    LOAM_REQUIRE(size_believed == LOAM_SIZE_UNKNOWN || block_has_class(place, size_believed) ||
                     (place.chunk->is_lax != 0 && size_believed <= size),
                 "block: wrong size", loam_virt_of(pointer).addr, size);
}

/* As block_give(), where the block is the first free one of its word, perhaps
 * of the chunk; or the last used one. */
__attribute__((noinline)) static void block_give_edge(struct loam_block *block,
                                                      struct loam_block_chunk *chunk,
                                                      unsigned class, unsigned index)
{
    const bool was_full = chunk->summary == 0;
    const bool is_empty = chunk->used == 1;
    unsigned slot = 0;

    if (was_full) {
        block_require(chunk->used == block_classes[class].count, chunk);
        block_require_room(block, class);
    }
    block_require(chunk->used != 0, chunk);
    if (is_empty && chunk->is_spare == 0) {
        block_require_count(chunk, class, 1);
        block_require_room_links(block, chunk, class);
        block_require_links(block, chunk);
        slot = block_spare_slot(block);
    }
    chunk->free[index / 64] |= UINT64_C(1) << index % 64;
    chunk->summary |= UINT32_C(1) << index / 64;
    chunk->used--;
    if (was_full)
        block_room_push(block, chunk, class);
    if (!is_empty || chunk->is_spare != 0)
        return;
    if (slot < LOAM_BLOCK_SPARE_CHUNKS) {
        block_spare_put(block, chunk, slot);
    } else {
        block_room_remove(block, chunk, class);
        block_chunk_release(block, chunk);
    }
}

/* Free a block that was found to be in use. */
static inline void block_give(struct loam_block *block, struct block_place place)
{
    struct loam_block_chunk *const chunk = place.chunk;
    const uint64_t bits = chunk->free[place.index / 64];

    if (bits == 0 || chunk->used <= 1) {
        block_give_edge(block, chunk, place.class, place.index);
    } else {
        chunk->free[place.index / 64] = bits | UINT64_C(1) << place.index % 64;
        chunk->used--;
    }
}

/* ---- blocks of the fallback ---------------------------------------------- */

static void *block_large_try(const struct loam_block *block, void *pointer, size_t size_bytes,
                             size_t align)
{
    const struct loam_block_fallback *const from = &block->fallback;

    if (LOAM_INJECT("block.large"))
        return NULL;
    return from->arena != NULL ? loam_arena_realloc(from->arena, pointer, size_bytes, align)
                               : loam_freelist_realloc(from->freelist, pointer, size_bytes, align);
}

/* Size of a block of the fallback; of none: panics with the fallback's rule. */
static size_t block_large_size(const struct loam_block *block, const void *pointer)
{
    return block->fallback.arena != NULL ? loam_arena_usable(block->fallback.arena, pointer)
                                         : loam_freelist_usable(block->fallback.freelist, pointer);
}

/* Allocate (@p pointer is NULL) or resize. Before it fails, empty chunks go
 * back. */
static void *block_large_realloc(struct loam_block *block, void *pointer, size_t size_bytes,
                                 size_t align)
{
    const size_t old_bytes = pointer != NULL ? block_large_size(block, pointer) : 0;
    void *result = block_large_try(block, pointer, size_bytes, align);

    if (result == NULL && loam_block_trim(block) != 0)
        result = block_large_try(block, pointer, size_bytes, align);
    if (result == NULL)
        return NULL;
    block->large_count += pointer == NULL;
    block->large_bytes += block_large_size(block, result) - old_bytes;
    block_note_peak(block);
    return result;
}

/* @p size_believed: LOAM_SIZE_UNKNOWN or what its owner believes. Returns its
 * size. */
static size_t block_large_require(const struct loam_block *block, const void *pointer,
                                  size_t size_believed)
{
    const size_t size = block_large_size(block, pointer);

    LOAM_REQUIRE(block->large_count != 0 && size <= block->large_bytes,
                 "block: not a block of this heap", loam_virt_of(pointer).addr, 0);
    LOAM_REQUIRE(size_believed == size || size_believed == LOAM_SIZE_UNKNOWN, "block: wrong size",
                 loam_virt_of(pointer).addr, size);
    return size;
}

static void block_large_free(struct loam_block *block, void *pointer, size_t size_believed)
{
    const size_t size = block_large_require(block, pointer, size_believed);

    if (block->fallback.arena != NULL)
        loam_arena_free(block->fallback.arena, pointer);
    else
        loam_freelist_free(block->fallback.freelist, pointer);
    block->large_count--;
    block->large_bytes -= size;
}

/* ---- requests ------------------------------------------------------------ */

/* A block of a class; NULL: the request is none of a class, or there is no
 * chunk. */
static void *block_class_alloc(struct loam_block *block, size_t size_bytes, size_t align)
{
    const unsigned class = block_class_for(block, size_bytes, align);

    if (class == BLOCK_NONE)
        return NULL;
    struct loam_block_chunk *chunk = block->room[class];
    if (chunk == NULL)
        chunk = block_refill(block, class);
    if (chunk == NULL)
        return NULL;
    void *const pointer = block_take(block, chunk, class);
    if (class != block_class_of(block, size_bytes))
        chunk->is_lax = 1;
    return pointer;
}

/* Any request. Where there is no room for a chunk there may be for the block
 * alone. */
__attribute__((noinline)) static void *block_alloc_any(struct loam_block *block, size_t size_bytes,
                                                       size_t align)
{
    if (!loam_is_power_of_two(align))
        return NULL;
    void *const pointer = block_class_alloc(block, size_bytes, align);
    return pointer != NULL ? pointer : block_large_realloc(block, NULL, size_bytes, align);
}

/* Resize a block of the fallback: to a class, if it fits one, else within the
 * fallback. */
static void *block_large_resize(struct loam_block *block, void *pointer,
                                const struct loam_resize *resize)
{
    const size_t size = block_large_require(block, pointer, resize->old_bytes);

    if (!loam_is_power_of_two(resize->align))
        return NULL;
    void *const moved = block_class_alloc(block, resize->size_bytes, resize->align);
    if (moved == NULL)
        return block_large_realloc(block, pointer, resize->size_bytes, resize->align);
    __builtin_memcpy(moved, pointer, resize->size_bytes < size ? resize->size_bytes : size);
    block_large_free(block, pointer, LOAM_SIZE_UNKNOWN);
    return moved;
}

/* Any block. @p size_believed: LOAM_SIZE_UNKNOWN or what its owner believes */
__attribute__((noinline)) static void block_free_any(struct loam_block *block, void *pointer,
                                                     size_t size_believed)
{
    if (pointer == NULL)
        return;
    const struct block_place place = block_find(block, pointer);
    if (place.class == BLOCK_NONE) {
        block_large_free(block, pointer, size_believed);
        return;
    }
    block_require_used(place, pointer);
    block_require_size(place, pointer, size_believed);
    block_give(block, place);
}

/* loam_block_realloc() of any block, to any size. */
__attribute__((noinline)) static void *block_realloc_any(struct loam_block *block, void *pointer,
                                                         const struct loam_resize *resize)
{
    const size_t size_bytes = resize->size_bytes;

    if (pointer == NULL)
        return loam_block_alloc(block, size_bytes, resize->align);
    const struct block_place place = block_find(block, pointer);
    if (place.class == BLOCK_NONE)
        return block_large_resize(block, pointer, resize);

    block_require_used(place, pointer);
    block_require_size(place, pointer, resize->old_bytes);
    if (!loam_is_power_of_two(resize->align))
        return NULL;
    const size_t old_bytes = block_classes[place.class].size;
    const bool is_aligned = (loam_virt_of(pointer).addr & (resize->align - 1)) == 0;
    if (is_aligned && block_has_class(place, size_bytes))
        return pointer;
    void *const moved = loam_block_alloc(block, size_bytes, resize->align);
    if (moved == NULL && is_aligned && size_bytes <= old_bytes) {
        place.chunk->is_lax = 1;
        return pointer;
    }
    if (moved != NULL) {
        __builtin_memcpy(moved, pointer, size_bytes < old_bytes ? size_bytes : old_bytes);
        block_give(block, place);
    }
    return moved;
}

/* ---- public -------------------------------------------------------------- */

enum loam_status loam_block_init(struct loam_block *block,
                                 const struct loam_block_fallback *fallback)
{
    if ((fallback->arena == NULL) == (fallback->freelist == NULL))
        return LOAM_INVALID;
    __builtin_memset(block, 0, sizeof(*block));
    block->fallback = *fallback;
    /* With the time: chunks of a heap that was here before may still lie in its
     * memory. */
    block->cookie = loam_digest_add(__builtin_ia32_rdtsc(), loam_virt_of(block).addr);
    unsigned class = 0;
    for (unsigned size = 0; size <= LOAM_BLOCK_SIZE_MAX; size += 8) {
        class += size > block_classes[class].size;
        block->class_of[size / 8] = (uint8_t) class;
    }
    return LOAM_OK;
}

void *loam_block_alloc(struct loam_block *block, size_t size_bytes, size_t align)
{
    if (size_bytes > LOAM_BLOCK_SIZE_MAX || (align & (align - 1)) != 0)
        return block_alloc_any(block, size_bytes, align);
    const unsigned class = block_class_of(block, size_bytes);
    struct loam_block_chunk *const chunk = block->room[class];
    if (chunk == NULL || align - 1 >= block_classes[class].align) /* also: align is 0 */
        return block_alloc_any(block, size_bytes, align);
    return block_take(block, chunk, class);
}

void loam_block_free(struct loam_block *block, void *pointer)
{
    const struct block_place place = block_find_hot(block, pointer);

    if (place.class == BLOCK_NONE) {
        block_free_any(block, pointer, LOAM_SIZE_UNKNOWN);
        return;
    }
    block_require_used(place, pointer);
    block_give(block, place);
}

void loam_block_free_sized(struct loam_block *block, void *pointer, size_t size_bytes)
{
    const struct block_place place = block_find_hot(block, pointer);

    if (place.class == BLOCK_NONE || !block_has_class(place, size_bytes)) {
        /* Not saying the size is a wrong size here, like any that no block can
         * have. */
        block_free_any(block, pointer, size_bytes - (size_bytes == LOAM_SIZE_UNKNOWN ? 1 : 0));
        return;
    }
    block_require_used(place, pointer);
    block_give(block, place);
}

void *loam_block_realloc(struct loam_block *block, void *pointer, const struct loam_resize *resize)
{
    const size_t size_bytes = resize->size_bytes;
    const size_t align = resize->align;
    const struct block_place place = block_find_hot(block, pointer);

    /* Here only the common case: from one class to another that has a chunk. */
    if (place.class == BLOCK_NONE || size_bytes > LOAM_BLOCK_SIZE_MAX ||
        (align & (align - 1)) != 0 ||
        (resize->old_bytes != LOAM_SIZE_UNKNOWN && !block_has_class(place, resize->old_bytes)))
        return block_realloc_any(block, pointer, resize);
    const unsigned class = block_class_of(block, size_bytes);
    struct loam_block_chunk *const chunk = block->room[class];
    if (chunk == NULL || align - 1 >= block_classes[class].align)
        return block_realloc_any(block, pointer, resize);
    block_require_used(place, pointer);
    if (class == place.class)
        return pointer;
    void *const moved = block_take(block, chunk, class);
    const size_t old_bytes = block_classes[place.class].size;
    __builtin_memcpy(moved, pointer, size_bytes < old_bytes ? size_bytes : old_bytes);
    block_give(block, place);
    return moved;
}

size_t loam_block_usable(const struct loam_block *block, const void *pointer)
{
    const struct block_place place = block_find(block, pointer);

    if (place.class == BLOCK_NONE)
        return block_large_size(block, pointer);
    block_require_used(place, pointer);
    return block_classes[place.class].size;
}

size_t loam_block_trim(struct loam_block *block)
{
    size_t bytes = 0;
    struct loam_block_chunk *chunk = block_spare_take(block);

    while (chunk != NULL) { /* at most LOAM_BLOCK_SPARE_CHUNKS times */
        block_chunk_release(block, chunk);
        bytes += LOAM_BLOCK_CHUNK_BYTES;
        chunk = block_spare_take(block);
    }
    return bytes;
}

void loam_block_measure(const struct loam_block *block, struct loam_block_stats *out)
{
    struct loam_block_stats stats = {
        .used_bytes = block->large_bytes,
        .used_count = block->large_count,
        .held_bytes = block_held(block),
        .peak_bytes = block->peak_bytes,
        .chunk_count = block->chunk_count,
        .large_count = block->large_count,
    };
    const struct loam_block_chunk *before = NULL;

    for (const struct loam_block_chunk *chunk = block->first; chunk != NULL; chunk = chunk->next) {
        const unsigned class = block_class_at(block, chunk);
        block_require(class != BLOCK_NONE && chunk->before == before, chunk);
        before = chunk;
        stats.used_bytes += (size_t)chunk->used * block_classes[class].size;
        stats.used_count += chunk->used;
        stats.empty_count += chunk->used == 0;
    }
    *out = stats;
}

/* ---- audit --------------------------------------------------------------- */

/* The bits of a chunk say what its counts say. */
static const char *block_audit_bits(const struct loam_block_chunk *chunk, unsigned class)
{
    uint32_t summary = 0;

    for (unsigned i = 0; i < block_classes[class].words; i++) {
        if ((chunk->free[i] & ~block_bits_of(class, i)) != 0)
            return "block: bit without a block";
        summary |= (uint32_t)(chunk->free[i] != 0) << i;
    }
    if (summary != chunk->summary)
        return "block: summary is wrong";
    if (block_count_free(chunk, class) + chunk->used != block_classes[class].count)
        return "block: blocks are miscounted";
    return NULL;
}

/* Each chunk by itself and its place in the list of all. @p rooms receives the
 * number of chunks that have a free block, @p spares that of those that claim
 * to be in spare[]. */
static const char *block_audit_chunks(const struct loam_block *block, size_t *rooms, size_t *spares)
{
    const struct loam_block_chunk *before = NULL;
    size_t count = 0;

    for (const struct loam_block_chunk *chunk = block->first; chunk != NULL; chunk = chunk->next) {
        const unsigned class = block_class_at(block, chunk);
        if (class == BLOCK_NONE || chunk->seal != ~chunk->check || chunk->is_spare > 1 ||
            chunk->is_lax > 1)
            return "block: chunk is damaged";
        if (chunk->before != before || count == block->chunk_count)
            return "block: list of chunks is broken";
        const char *const broken = block_audit_bits(chunk, class);
        if (broken != NULL)
            return broken;
        if (chunk->used == 0 && chunk->is_spare == 0)
            return "block: empty chunk is forgotten";
        *rooms += chunk->summary != 0 ? 1 : 0;
        *spares += chunk->is_spare;
        before = chunk;
        count++;
    }
    return count == block->chunk_count ? NULL : "block: chunks are miscounted";
}

/* Room lists hold as many chunks as have room, each of its class. */
static const char *block_audit_rooms(const struct loam_block *block, size_t rooms)
{
    for (unsigned class = 0; class < LOAM_BLOCK_CLASS_COUNT; class ++) {
        const struct loam_block_chunk *before = NULL;
        const struct loam_block_chunk *chunk = block->room[class];
        while (chunk != NULL) { /* ends: no more than there are chunks with room */
            if (rooms == 0 || block_class_at(block, chunk) != class || chunk->summary == 0 ||
                chunk->room_before != before)
                return "block: list of chunks with room is broken";
            rooms--;
            before = chunk;
            chunk = chunk->room_next;
        }
    }
    return rooms == 0 ? NULL : "block: chunk with room is forgotten";
}

const char *loam_block_audit(const struct loam_block *block)
{
    size_t rooms = 0;
    size_t spares = 0;
    const char *broken = block_audit_chunks(block, &rooms, &spares);

    if (broken == NULL)
        broken = block_audit_rooms(block, rooms);
    if (broken != NULL)
        return broken;
    if (spares != block->spare_count || spares > LOAM_BLOCK_SPARE_CHUNKS)
        return "block: spare chunks are miscounted";
    for (unsigned i = 0; i < block->spare_count; i++) {
        if (block_class_at(block, block->spare[i]) == BLOCK_NONE || block->spare[i]->is_spare == 0)
            return "block: spare chunk is none";
    }
    if (block->large_count == 0 && block->large_bytes != 0)
        return "block: large blocks are miscounted";
    return block->peak_bytes < block_held(block) ? "block: peak is below what is held" : NULL;
}

uint64_t loam_block_digest(const struct loam_block *block)
{
    uint64_t sum = LOAM_DIGEST_START; /* of chunks, in whatever order they are listed */
    const struct loam_block_chunk *before = NULL;

    for (const struct loam_block_chunk *chunk = block->first; chunk != NULL; chunk = chunk->next) {
        const unsigned class = block_class_at(block, chunk);
        if (class == BLOCK_NONE || chunk->before != before)
            break; /* not sound: nothing to go on by */
        before = chunk;
        uint64_t digest = loam_digest_add(LOAM_DIGEST_START + class, loam_virt_of(chunk).addr);
        for (unsigned i = 0; i < block_classes[class].words; i++)
            digest = loam_digest_add(digest, chunk->free[i]);
        sum += chunk->used == 0 ? 0 : digest;
    }
    sum = loam_digest_add(sum, block->large_count);
    return loam_digest_add(sum, block->large_bytes);
}
