/*
 * record.c - see record.h; setup, audit and digest: record_setup.c.
 *
 * Whoever changes a word from a block's to 0 has the block to himself: until then by
 * compare and exchange only, from then on by plain stores. So of two who give up the
 * last reference one finds 0. A word is read before its block is given out again, and
 * was written before the block was freed: so what was done to the block before is done.
 */
#include <loam/record.h>

#include "internal/record_word.h"

#define RECORD_FOREIGN "record: not a frame of this memory"
#define RECORD_UNKNOWN "record: not allocated"
#define RECORD_INSIDE  "record: inside a block"
#define RECORD_ORDER   "record: wrong order"
#define RECORD_SHARED  "record: block is shared"
#define RECORD_COUNT   "record: too many references"
#define RECORD_TWICE   "record: already has a record"

/* The words of 2^order frames, or panic. */
static inline record_word *record_words(const struct loam_record *record, loam_phys block,
                                        unsigned order)
{
    const uint64_t number = record_number(block);
    const struct loam_record_part *const part = record_part_of(record, number);

    LOAM_REQUIRE(part != NULL && order <= LOAM_ORDER_MAX, RECORD_FOREIGN, block.addr,
                 UINT64_C(1) << order % 64);
    const uint64_t count = UINT64_C(1) << order;
    LOAM_REQUIRE((number & (count - 1)) == 0 && count <= part->count - (number - part->first),
                 RECORD_FOREIGN, block.addr, count);
    return &part->word[number - part->first];
}

/* The word of a frame, or panic. */
static inline record_word *record_word_of(const struct loam_record *record, loam_phys block)
{
    const uint64_t number = record_number(block);
    const struct loam_record_part *const part = record_part_of(record, number);

    LOAM_REQUIRE(part != NULL, RECORD_FOREIGN, block.addr, 1);
    return &part->word[number - part->first];
}

/* Word of the block that a frame belongs to, and the block's first frame; or
 * RECORD_NONE. @param part that the frame is in; or NULL */
static uint32_t record_around(const struct loam_record_part *part, uint64_t number, uint64_t *first)
{
    for (unsigned order = 0; part != NULL && order <= LOAM_ORDER_MAX; order++) {
        const uint64_t start = number & ~((UINT64_C(1) << order) - 1);
        if (start < part->first)
            break;
        const uint32_t word = atomic_load(&part->word[start - part->first]);
        if (record_is_block(word) && record_order(word) >= order) {
            *first = start;
            return word;
        }
    }
    return RECORD_NONE;
}

/* ---- poison -------------------------------------------------------------- */

/* Panic unless a frame is as it was filled. */
static void record_require_poison(const struct loam_record *record, uint64_t number)
{
    const record_bytes *const words = record_pointer(record, number);
    const unsigned char *const byte = (const unsigned char *)words;

    if (record_is_poison(words))
        return;
    for (unsigned i = 0; i < LOAM_PAGE_SIZE; i++)
        LOAM_REQUIRE(byte[i] == LOAM_RECORD_POISON, RECORD_WRITTEN, number * LOAM_PAGE_SIZE + i,
                     byte[i]);
}

/* Fill a block that is about to be freed. */
__attribute__((noinline)) static void record_poison(const struct loam_record *record,
                                                    record_word *word, loam_phys block,
                                                    unsigned order)
{
    const uint64_t number = record_number(block);

    for (uint64_t i = 0; i < UINT64_C(1) << order; i++) {
        __builtin_memset(record_pointer(record, number + i), LOAM_RECORD_POISON, LOAM_PAGE_SIZE);
        record_write(&word[i], RECORD_POISONED);
    }
}

/* Look at the words of all frames of a block that is about to be given out, and at
 * what was filled. */
__attribute__((noinline)) static void record_look(const struct loam_record *record,
                                                  record_word *word, loam_phys block,
                                                  unsigned order)
{
    const uint64_t number = record_number(block);

    for (uint64_t i = 0; i < UINT64_C(1) << order; i++) {
        const uint32_t value = atomic_load(&word[i]);
        LOAM_REQUIRE(!record_is_block(value), RECORD_TWICE, (number + i) * LOAM_PAGE_SIZE,
                     record_order(value));
        if (value != RECORD_POISONED)
            continue;
        record_require_poison(record, number + i);
        record_write(&word[i], RECORD_NONE);
    }
}

void loam_record_forget(struct loam_record *record, struct loam_phys_range range)
{
    const uint64_t first = range.start.addr / LOAM_PAGE_SIZE;

    for (uint64_t i = 0; i < range.size / LOAM_PAGE_SIZE; i++) {
        const struct loam_record_part *const part = record_part_of(record, first + i);
        uint32_t expected = RECORD_POISONED;
        if (part != NULL) /* else, or if it is something else: not ours to forget */
            (void)atomic_compare_exchange_strong(&part->word[first + i - part->first], &expected,
                                                 RECORD_NONE);
    }
}

/* ---- blocks -------------------------------------------------------------- */

/* Note a block that the frame allocator just gave out. */
static inline void record_begin(record_word *word, loam_phys block, unsigned order)
{
    const uint32_t value = atomic_load(word);

    LOAM_REQUIRE(value == RECORD_NONE, RECORD_TWICE, block.addr, record_order(value));
    record_write(word, record_of_order(order));
}

loam_phys loam_record_alloc(struct loam_record *record, unsigned order, enum loam_zone zone)
{
    const loam_phys block = loam_frame_alloc(record->frame, order, zone);

    if (loam_phys_is_none(block))
        return block;
    record_word *const word = record_words(record, block, order);
    if (record->poison || (LOAM_CHECK >= 2 && order != 0))
        record_look(record, word, block, order);
    record_begin(word, block, order);
    return block;
}

/* Unlike loam_record_alloc() it cannot trust the frames to be nobody's. */
void loam_record_adopt(struct loam_record *record, loam_phys block, unsigned order)
{
    record_word *const word = record_words(record, block, order);
    const uint64_t number = record_number(block);
    uint64_t first = 0;
    const uint32_t around = record_around(record_part_of(record, number), number, &first);

    LOAM_REQUIRE(around == RECORD_NONE, RECORD_TWICE, block.addr, record_order(around));
    record_look(record, word, block, order);
    record_begin(word, block, order);
}

void loam_record_adopt_range(struct loam_record *record, struct loam_phys_range range)
{
    LOAM_REQUIRE(range.size != 0 && (range.start.addr | range.size) % LOAM_PAGE_SIZE == 0 &&
                     loam_range_fits(range.start.addr, range.size),
                 RECORD_FOREIGN, range.start.addr, range.size / LOAM_PAGE_SIZE);
    for (uint64_t at = 0; at != range.size; at += LOAM_PAGE_SIZE)
        loam_record_adopt(record, loam_phys_at(range.start.addr + at), 0);
}

/* A frame that no block starts with was taken for one that does. */
__attribute__((noreturn, noinline, cold)) static void record_refuse(
    const struct loam_record *record, loam_phys block)
{
    const uint64_t number = record_number(block);
    uint64_t first = 0;
    const uint32_t word = record_around(record_part_of(record, number), number, &first);

    if (word == RECORD_NONE || first == number) /* or it was split or allocated meanwhile */
        loam_check_fail(RECORD_UNKNOWN, __FILE__, __LINE__, block.addr, 0);
    loam_check_fail(RECORD_INSIDE, __FILE__, __LINE__, block.addr, first * LOAM_PAGE_SIZE);
}

/* Panic unless a word is that of a block. */
static inline void record_require_block(const struct loam_record *record, loam_phys block,
                                        uint32_t word)
{
    if (__builtin_expect(!record_is_block(word), 0))
        record_refuse(record, block);
}

/* Panic unless a word is that of a block of this order. */
static inline void record_require_order(const struct loam_record *record, loam_phys block,
                                        uint32_t word, unsigned order)
{
    record_require_block(record, block, word);
    LOAM_REQUIRE(record_order(word) == order, RECORD_ORDER, block.addr, record_order(word));
}

void loam_record_get(struct loam_record *record, loam_phys block)
{
    record_word *const word = record_word_of(record, block);
    uint32_t value = atomic_load(word);

    do { /* ends: each time, somebody else has changed the word */
        record_require_block(record, block, value);
        LOAM_REQUIRE(record_references(value) < LOAM_RECORD_COUNT_MAX, RECORD_COUNT, block.addr,
                     record_references(value));
    } while (!atomic_compare_exchange_strong(word, &value, value + 1));
}

bool loam_record_put(struct loam_record *record, loam_phys block, unsigned order)
{
    record_word *const word = record_word_of(record, block);
    uint32_t value = atomic_load(word);
    uint32_t less;

    do { /* ends: each time, somebody else has changed the word */
        record_require_order(record, block, value, order);
        less = record_references(value) == 1 ? RECORD_NONE : value - 1;
    } while (!atomic_compare_exchange_strong(word, &value, less));
    if (less != RECORD_NONE)
        return false;
    if (record->poison)
        record_poison(record, word, block, order);
    loam_frame_free(record->frame, block, order);
    return true;
}

void loam_record_split(struct loam_record *record, loam_phys block, unsigned order)
{
    record_word *const word = record_word_of(record, block);
    uint32_t value = atomic_load(word);

    do { /* ends: each time, somebody else has changed the word */
        record_require_order(record, block, value, order);
        LOAM_REQUIRE(record_references(value) == 1, RECORD_SHARED, block.addr,
                     record_references(value));
    } while (!atomic_compare_exchange_strong(word, &value, RECORD_NONE));
    for (uint64_t i = 0; i < UINT64_C(1) << order; i++)
        record_write(&word[i], record_of_order(0));
}

/* ---- questions ----------------------------------------------------------- */

unsigned loam_record_count(const struct loam_record *record, loam_phys block)
{
    const uint64_t number = record_number(block);
    const struct loam_record_part *const part = record_part_of(record, number);

    return part == NULL ? 0 : record_references(atomic_load(&part->word[number - part->first]));
}

bool loam_record_find(const struct loam_record *record, loam_phys at, struct loam_record_block *out)
{
    const uint64_t number = at.addr / LOAM_PAGE_SIZE;
    const struct loam_record_part *const part = record_part_of(record, number);
    uint64_t first = 0;
    const uint32_t word = record_around(part, number, &first);

    if (word == RECORD_NONE)
        return false;
    out->start = loam_phys_at(first * LOAM_PAGE_SIZE);
    out->order = record_order(word);
    out->count = record_references(word);
    return true;
}
