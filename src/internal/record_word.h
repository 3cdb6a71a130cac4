/*
 * record_word.h - the word of a frame, where it is, and poison. Shared by record.c and
 * record_setup.c.
 */
#ifndef LOAM_INTERNAL_RECORD_WORD_H
#define LOAM_INTERNAL_RECORD_WORD_H

#include <loam/record.h>

#include <stdatomic.h>

#include "check.h"

#define RECORD_WRITTEN "record: written to after it was freed"

/* Words: a tag and references. */
#define RECORD_NONE      0u
#define RECORD_TAG_SHIFT 27u
#define RECORD_POISONED  (31u << RECORD_TAG_SHIFT)

LOAM_STATIC_ASSERT(LOAM_RECORD_COUNT_MAX == (1u << RECORD_TAG_SHIFT) - 1, "all bits below the tag");
LOAM_STATIC_ASSERT(LOAM_ORDER_MAX + 1 < 31, "tags of blocks and of poison are different");

typedef _Atomic uint32_t record_word;
typedef uint64_t record_bytes __attribute__((may_alias));

/* ---- words --------------------------------------------------------------- */

/* A block with one reference. */
static inline uint32_t record_of_order(unsigned order)
{
    return (order + 1) << RECORD_TAG_SHIFT | 1;
}

static inline bool record_is_block(uint32_t word)
{
    return (word >> RECORD_TAG_SHIFT) - 1 <= LOAM_ORDER_MAX;
}

/* @param word of a block */
static inline unsigned record_order(uint32_t word)
{
    return (word >> RECORD_TAG_SHIFT) - 1;
}

static inline unsigned record_references(uint32_t word)
{
    return word & LOAM_RECORD_COUNT_MAX;
}

/* Write a word that nobody else may change now. Release: whoever is given the frame
 * next reads it first. */
static inline void record_write(record_word *word, uint32_t value)
{
    atomic_store_explicit(word, value, memory_order_release);
}

/* ---- parts --------------------------------------------------------------- */

/* Frame number; of an unaligned address one that no frame has. */
static inline uint64_t record_number(loam_phys at)
{
    return at.addr >> LOAM_PAGE_SHIFT | at.addr << (64 - LOAM_PAGE_SHIFT);
}

__attribute__((noinline)) static const struct loam_record_part *record_search(
    const struct loam_record *record, uint64_t number)
{
    size_t low = 0;
    size_t high = record->part_count;

    while (low < high) { /* ends: fewer each time */
        const size_t middle = low + (high - low) / 2;
        const struct loam_record_part *const part = &record->part[middle];
        if (number - part->first < part->count)
            return part;
        if (number < part->first)
            high = middle;
        else
            low = middle + 1;
    }
    const struct loam_record_part *part = atomic_load(&record->added);
    while (part != NULL && number - part->first >= part->count)
        part = part->next;
    return part;
}

/* The part that a frame is in, or NULL. */
static inline const struct loam_record_part *record_part_of(const struct loam_record *record,
                                                            uint64_t number)
{
    return __builtin_expect(number - record->main.first < record->main.count, 1)
               ? &record->main
               : record_search(record, number);
}

/* ---- poison -------------------------------------------------------------- */

static inline record_bytes *record_pointer(const struct loam_record *record, uint64_t number)
{
    return loam_hhdm_pointer(record->hhdm, loam_phys_at(number * LOAM_PAGE_SIZE));
}

static inline bool record_is_poison(const record_bytes *at)
{
    const uint64_t poison = UINT64_C(0x0101010101010101) * LOAM_RECORD_POISON;
    uint64_t wrong = 0;

    for (unsigned i = 0; i < LOAM_PAGE_SIZE / sizeof(*at); i += 4)
        wrong |=
            (at[i] ^ poison) | (at[i + 1] ^ poison) | (at[i + 2] ^ poison) | (at[i + 3] ^ poison);
    return wrong == 0;
}

#endif
