/*
 * record_setup.c - where the words of frames are placed, and whether they are sound.
 * See record.h.
 *
 *     parts of the setup | words of part 0 | words of part 1 | ...
 *     a part             | its words                              (each one added)
 */
#include <loam/record.h>

#include "internal/digest.h"
#include "internal/record_word.h"

#define RECORD_ALIGN 64u

LOAM_STATIC_ASSERT(sizeof(struct loam_record_part) <= RECORD_ALIGN, "one fits before its words");

/* ---- setup --------------------------------------------------------------- */

static size_t record_aligned(size_t size)
{
    return (size + RECORD_ALIGN - 1) & ~(size_t)(RECORD_ALIGN - 1);
}

static size_t record_words_bytes(uint64_t count)
{
    return record_aligned(count * sizeof(record_word));
}

/* The next range of the allocator's memory, with those that touch it. @param from
 * where to look; behind the range then @return false: there is none */
static bool record_next_part(const struct loam_frame *frame, uint64_t *from,
                             struct loam_record_part *part)
{
    struct loam_phys_range range;
    struct loam_phys_range next;

    if (*from == UINT64_MAX || !loam_frame_next_range(frame, loam_phys_at(*from), &range))
        return false;
    uint64_t last = range.start.addr + (range.size - 1);
    while (last != UINT64_MAX && loam_frame_next_range(frame, loam_phys_at(last + 1), &next) &&
           next.start.addr == last + 1)
        last = next.start.addr + (next.size - 1);
    part->first = range.start.addr / LOAM_PAGE_SIZE;
    part->count = last / LOAM_PAGE_SIZE - part->first + 1;
    *from = last == UINT64_MAX ? UINT64_MAX : last + 1;
    return true;
}

size_t loam_record_bytes_needed(const struct loam_frame *frame)
{
    struct loam_record_part part = { 0, 0, NULL, NULL };
    size_t words_bytes = 0;
    size_t part_count = 0;

    for (uint64_t from = 0; record_next_part(frame, &from, &part); part_count++)
        words_bytes += record_words_bytes(part.count);
    return record_aligned(part_count * sizeof(part)) + words_bytes;
}

static bool record_is_memory(const void *memory)
{
    return memory != NULL && (uintptr_t)memory % RECORD_ALIGN == 0;
}

/* Give a part its words. @return behind them */
static unsigned char *record_place(struct loam_record_part *part, unsigned char *memory,
                                   bool is_zeroed)
{
    const size_t bytes = record_words_bytes(part->count);

    part->word = (record_word *)(void *)memory;
    if (!is_zeroed)
        __builtin_memset(memory, 0, bytes);
    return memory + bytes;
}

enum loam_status loam_record_init(struct loam_record *record, const struct loam_record_setup *setup)
{
    struct loam_record_part part = { 0, 0, NULL, NULL };
    unsigned char *memory = setup->memory;

    LOAM_REQUIRE(!setup->poison || loam_hhdm_is_genuine(setup->hhdm),
                 "record: direct map not from a boot adapter", setup->hhdm.offset,
                 setup->hhdm.seal);
    if (!record_is_memory(memory))
        return LOAM_INVALID;
    if (setup->memory_bytes < loam_record_bytes_needed(setup->frame))
        return LOAM_NO_SPACE;
    __builtin_memset(record, 0, sizeof(*record));
    record->frame = setup->frame;
    record->hhdm = setup->hhdm;
    record->poison = setup->poison;
    record->part = (struct loam_record_part *)(void *)memory;
    for (uint64_t from = 0; record_next_part(setup->frame, &from, &part);)
        record->part[record->part_count++] = part;
    memory += record_aligned(record->part_count * sizeof(part));
    for (size_t i = 0; i < record->part_count; i++) {
        memory = record_place(&record->part[i], memory, setup->is_zeroed);
        if (record->part[i].count > record->main.count)
            record->main = record->part[i];
    }
    return LOAM_OK;
}

size_t loam_record_add_bytes_needed(struct loam_phys_range range)
{
    if (range.size == 0 || (range.start.addr | range.size) % LOAM_PAGE_SIZE != 0 ||
        !loam_range_fits(range.start.addr, range.size))
        return 0;
    return RECORD_ALIGN + record_words_bytes(range.size / LOAM_PAGE_SIZE);
}

static bool record_parts_share(const struct loam_record_part *a, const struct loam_record_part *b)
{
    return a->first - b->first < b->count || b->first - a->first < a->count;
}

/* Does a part have a frame that has a word already? */
static bool record_is_known(const struct loam_record *record, const struct loam_record_part *part)
{
    const struct loam_record_part *other = atomic_load(&record->added);

    for (size_t i = 0; i < record->part_count; i++)
        if (record_parts_share(&record->part[i], part))
            return true;
    while (other != NULL && !record_parts_share(other, part))
        other = other->next;
    return other != NULL;
}

enum loam_status loam_record_add(struct loam_record *record,
                                 const struct loam_record_addition *addition)
{
    const size_t needed = loam_record_add_bytes_needed(addition->range);
    unsigned char *const memory = addition->memory;
    struct loam_record_part *const part = addition->memory;

    if (needed == 0 || !record_is_memory(memory))
        return LOAM_INVALID;
    const struct loam_record_part wanted = {
        .first = addition->range.start.addr / LOAM_PAGE_SIZE,
        .count = addition->range.size / LOAM_PAGE_SIZE,
        .next = atomic_load(&record->added),
    };
    if (record_is_known(record, &wanted))
        return LOAM_OVERLAP;
    if (addition->memory_bytes < needed)
        return LOAM_NO_SPACE;
    *part = wanted;
    (void)record_place(part, memory + RECORD_ALIGN, addition->is_zeroed);
    atomic_store(&record->added, part);
    return LOAM_OK;
}

/* ---- audit --------------------------------------------------------------- */

/* Frames of a part. */
static struct loam_phys_range record_range(const struct loam_record_part *part, uint64_t at,
                                           uint64_t count)
{
    return loam_phys_range_of(loam_phys_at((part->first + at) * LOAM_PAGE_SIZE),
                              count * LOAM_PAGE_SIZE);
}

/* A word and those of the rest of its block. */
static const char *record_audit_word(const struct loam_record *record,
                                     const struct loam_record_part *part, uint64_t at)
{
    const uint32_t word = atomic_load(&part->word[at]);

    if (word == RECORD_POISONED) {
        if (!record->poison)
            return "record: poison without having been asked for";
        return loam_frame_free_in(record->frame, record_range(part, at, 1)) == 0 ||
                       record_is_poison(record_pointer(record, part->first + at))
                   ? NULL
                   : RECORD_WRITTEN;
    }
    if (!record_is_block(word) || record_references(word) == 0)
        return "record: a word is damaged";
    const uint64_t count = UINT64_C(1) << record_order(word);
    if (((part->first + at) & (count - 1)) != 0 || count > part->count - at)
        return "record: a block is not aligned";
    for (uint64_t i = 1; i < count; i++)
        if (atomic_load(&part->word[at + i]) != RECORD_NONE)
            return "record: a frame inside a block has a record";
    return NULL;
}

/* Neighbouring blocks are asked about together: that costs a look at each lane. */
static const char *record_audit_part(const struct loam_record *record,
                                     const struct loam_record_part *part)
{
    uint64_t run = 0; /* frames of blocks that end at the one looked at */

    for (uint64_t at = 0; at <= part->count;) {
        const uint32_t word = at < part->count ? atomic_load(&part->word[at]) : RECORD_NONE;
        const char *const broken = word == RECORD_NONE ? NULL : record_audit_word(record, part, at);
        if (broken != NULL)
            return broken;
        const uint64_t count = record_is_block(word) ? UINT64_C(1) << record_order(word) : 0;
        if (count == 0 && run != 0 &&
            loam_frame_free_in(record->frame, record_range(part, at - run, run)) != 0)
            return "record: a frame of a block is free";
        run = count == 0 ? 0 : run + count;
        at += count == 0 ? 1 : count;
    }
    return NULL;
}

const char *loam_record_audit(const struct loam_record *record)
{
    const struct loam_record_part *part = atomic_load(&record->added);
    const char *broken = NULL;

    for (size_t i = 0; i < record->part_count && broken == NULL; i++)
        broken = record_audit_part(record, &record->part[i]);
    for (; part != NULL && broken == NULL; part = part->next)
        broken = record_audit_part(record, part);
    return broken;
}

static uint64_t record_digest_part(uint64_t digest, const struct loam_record_part *part)
{
    for (uint64_t i = 0; i < part->count; i++) {
        const uint32_t word = atomic_load(&part->word[i]);
        if (!record_is_block(word))
            continue;
        digest = loam_digest_add(digest, part->first + i);
        digest = loam_digest_add(digest, word);
    }
    return digest;
}

uint64_t loam_record_digest(const struct loam_record *record)
{
    uint64_t digest = LOAM_DIGEST_START;

    for (size_t i = 0; i < record->part_count; i++)
        digest = record_digest_part(digest, &record->part[i]);
    for (const struct loam_record_part *part = atomic_load(&record->added); part != NULL;
         part = part->next)
        digest = record_digest_part(digest, part);
    return digest;
}
