/*
 * record_world.h - records beside a frame allocator. Shared by the tests of record.c.
 */
#ifndef LOAM_TESTS_RECORD_WORLD_H
#define LOAM_TESTS_RECORD_WORLD_H

#include "src/internal/record_word.h"

#include "frame_world.h"

#define FOREIGN  "record: not a frame of this memory"
#define UNKNOWN  "record: not allocated"
#define INSIDE   "record: inside a block"
#define WRONG    "record: wrong order"
#define SHARED   "record: block is shared"
#define TOO_MANY "record: too many references"
#define HAS_ONE  "record: already has a record"
#define WRITTEN  "record: written to after it was freed"

static struct loam_record record;
static struct loam_record_setup record_setup;

static inline void expect_records_sound(void)
{
    const char *const broken = loam_record_audit(&record);
    if (broken != NULL)
        fail_msg("audit: %s", broken);
    expect_sound();
}

/* Memory that is dirty and ends where ASan notices. */
static inline void *dirty_memory(size_t size_bytes)
{
    void *at = NULL;
    assert_int_equal(posix_memalign(&at, 64, size_bytes), 0);
    memset(at, 0xa5, size_bytes);
    return at;
}

/* Memory that records were given, until there are others. */
static void *given[80];
static size_t given_count;

static inline void *give_memory(size_t size_bytes)
{
    assert_true(given_count < COUNT(given));
    given[given_count] = dirty_memory(size_bytes);
    return given[given_count++];
}

/* Records of all frames of the world. Without poison there need be no RAM. */
static inline void records_of(bool poison)
{
    while (given_count > 0)
        free(given[--given_count]);
    memset(&record_setup, 0, sizeof(record_setup));
    for (size_t i = 0; poison && i < setup.range_count; i++)
        machine_add_ram(ram[i].start.addr, ram[i].size);
    record_setup.frame = &frame;
    record_setup.poison = poison;
    if (poison)
        record_setup.hhdm = machine_hhdm();
    record_setup.memory_bytes = loam_record_bytes_needed(&frame);
    record_setup.memory = give_memory(record_setup.memory_bytes);
    memset(&record, 0xa5, sizeof(record));
    assert_int_equal(loam_record_init(&record, &record_setup), LOAM_OK);
}
#define RECORDS(poison, cpus, ...) \
    do {                           \
        WORLD(cpus, __VA_ARGS__);  \
        records_of(poison);        \
        expect_records_sound();    \
    } while (0)

static inline loam_phys at_page(uint64_t page)
{
    return loam_phys_at(BYTES(page));
}

/* Allocate: first page, or NONE. */
static inline uint64_t share_any(unsigned order)
{
    const loam_phys block = loam_record_alloc(&record, order, LOAM_ZONE_ANY);
    return loam_phys_is_none(block) ? NONE : block.addr / LOAM_PAGE_SIZE;
}

/* The same where there must be one. O(memory) */
static inline uint64_t share(unsigned order)
{
    const uint64_t page = share_any(order);
    assert_int_not_equal(page, NONE);
    expect_records_sound();
    assert_int_equal(loam_record_count(&record, at_page(page)), 1);
    return page;
}

static inline bool put(uint64_t page, unsigned order)
{
    const bool is_last = loam_record_put(&record, at_page(page), order);
    expect_records_sound();
    return is_last;
}

/* All that can be seen. */
static inline uint64_t record_digest(void)
{
    return loam_record_digest(&record) ^ loam_frame_digest(&frame) * 3;
}

/* A panic with this rule, subject (address) and detail; it changes nothing. */
#define EXPECT_WRONG(rule_, subject_, detail_, statement)      \
    do {                                                       \
        const uint64_t before_ = record_digest();              \
        EXPECT_PANIC(rule_, statement);                        \
        assert_int_equal(record_digest(), before_);            \
        assert_int_equal(panic_trap.seen.subject, (subject_)); \
        assert_int_equal(panic_trap.seen.detail, (detail_));   \
        expect_records_sound();                                \
    } while (0)

#endif
