/*
 * record_setup_test.c - where records lie, what is added, what an audit sees.
 */
#include "record_small.h"

static const struct loam_record_part *only_part(void)
{
    return &record.part[0];
}

static void set_word(uint64_t page, uint32_t value)
{
    atomic_store(&only_part()->word[page - only_part()->first], value);
}

static void expect_broken(const char *rule)
{
    const char *const broken = loam_record_audit(&record);
    assert_non_null(broken);
    assert_string_equal(broken, rule);
}

/* ---- several ranges ------------------------------------------------------ */

/* Ranges of one frame and more, with holes: each frame has a word of its own, and no
 * other address has. */
static void record_serves_many_ranges(void **state)
{
    struct pages many[60];
    uint64_t at = 1000;

    (void)state;
    for (size_t i = 0; i < COUNT(many); i++) {
        many[i] = (struct pages){ at, at + 1 + i * 7 % 20 };
        at = many[i].end + 1 + i % 3;
    }
    world_of(many, COUNT(many), 1);
    records_of(false);
    uint64_t got = 0;
    for (uint64_t page = share_any(0); page != NONE; page = share_any(0))
        got++;
    assert_int_equal(got, ram_pages);
    expect_records_sound();
    for (uint64_t page = 900; page < at + 100; page++)
        assert_int_equal(count_of(page), is_ram(page, 1));
    for (uint64_t page = 900; page < at + 100; page++)
        if (is_ram(page, 1))
            assert_true(loam_record_put(&record, at_page(page), 0));
    expect_records_sound();
    expect_all_free();
}

/* Zones cut the allocator's memory, and touching ranges are told apart; here it is one
 * part, up to the last byte of all. */
static void record_joins_ranges_that_touch(void **state)
{
    const uint64_t top = UINT64_C(1) << 52;

    (void)state;
    RECORDS(false, 1, { 4095, 4096 }, { 4096, 5000 }, { 5000, 5001 }, { 5002, 5003 },
            { top - 2, top - 1 }, { top - 1, top });
    assert_int_equal(record.part_count, 3);
    assert_int_equal(record.main.first, 4095);
    assert_int_equal(record.main.count, 906);
    assert_int_equal(record.part[1].first, 5002);
    assert_int_equal(record.part[1].count, 1);
    assert_int_equal(record.part[2].first, top - 2);
    assert_int_equal(record.part[2].count, 2);
    const uint64_t page = share(0);
    assert_int_equal(page, top - 1); /* the highest */
    assert_true(put(page, 0));
}

/* ---- setup --------------------------------------------------------------- */

static void init_refuses_bad_memory(void **state)
{
    (void)state;
    RECORDS(false, 1, SMALL);
    struct loam_record other;
    struct loam_record_setup wanted = record_setup;
    const size_t needed = loam_record_bytes_needed(&frame);
    assert_int_equal(needed, 64 + 4 * BLOCK * 4); /* a part, and a word per frame */
    wanted.memory = NULL;
    assert_int_equal(loam_record_init(&other, &wanted), LOAM_INVALID);
    wanted.memory = (char *)record_setup.memory + 32;
    assert_int_equal(loam_record_init(&other, &wanted), LOAM_INVALID);
    wanted.memory = record_setup.memory;
    wanted.memory_bytes = needed - 1;
    assert_int_equal(loam_record_init(&other, &wanted), LOAM_NO_SPACE);
    wanted.memory_bytes = 0;
    assert_int_equal(loam_record_init(&other, &wanted), LOAM_NO_SPACE);
    wanted.memory_bytes = needed + 1000;
    assert_int_equal(loam_record_init(&other, &wanted), LOAM_OK);
    expect_records_sound();
}

static void init_with_poison_wants_a_genuine_direct_map(void **state)
{
    struct loam_record other;

    (void)state;
    RECORDS(false, 1, SMALL);
    struct loam_record_setup wanted = record_setup; /* without one: needs none */
    wanted.poison = true;
    EXPECT_PANIC("record: direct map not from a boot adapter",
                 assert_int_not_equal(loam_record_init(&other, &wanted), LOAM_OK));
}

/* Words of memory that is zero already are not written to: here it is a lie. */
static void init_leaves_zeroed_memory_alone(void **state)
{
    (void)state;
    RECORDS(false, 1, SMALL);
    memset(record_setup.memory, 0xa5, record_setup.memory_bytes);
    record_setup.is_zeroed = true;
    assert_int_equal(loam_record_init(&record, &record_setup), LOAM_OK);
    const unsigned char *const byte = record_setup.memory;
    for (size_t i = 64; i < record_setup.memory_bytes; i++)
        assert_int_equal(byte[i], 0xa5);
}

/* Each kind of damage to a word has a rule, and undoing it is sound again.
 *
 *   [ block of 4 | 4 in use | free ... )
 */
static void audit_sees_damaged_words(void **state)
{
    static const struct {
        uint64_t page;
        uint32_t word;
        const char *rule;
    } damage[] = {
        { BASE, 3u << RECORD_TAG_SHIFT, "record: a word is damaged" },
        { BASE, 20u << RECORD_TAG_SHIFT | 1, "record: a word is damaged" },
        { BASE, 30u << RECORD_TAG_SHIFT | 1, "record: a word is damaged" },
        { BASE, RECORD_POISONED | 1, "record: a word is damaged" },
        { BASE, 5, "record: a word is damaged" },
        { BASE, RECORD_POISONED, "record: poison without having been asked for" },
        { BASE + 1, 1u << RECORD_TAG_SHIFT | 1, "record: a frame inside a block has a record" },
        { BASE + 3, RECORD_POISONED, "record: a frame inside a block has a record" },
        { BASE + 5, 2u << RECORD_TAG_SHIFT | 1, "record: a block is not aligned" },
        { BASE, 13u << RECORD_TAG_SHIFT | 1, "record: a block is not aligned" },
        { BASE + 8, 1u << RECORD_TAG_SHIFT | 1, "record: a frame of a block is free" },
        { BASE, 5u << RECORD_TAG_SHIFT | 1, "record: a frame of a block is free" },
        { BASE + 12, 4u << RECORD_TAG_SHIFT | 1, "record: a block is not aligned" },
        { END - 1, 1u << RECORD_TAG_SHIFT | 1, "record: a frame of a block is free" },
        { END - BLOCK, 10u << RECORD_TAG_SHIFT | 7, "record: a frame of a block is free" },
    };

    (void)state;
    RECORDS(false, 1, SMALL);
    assert_int_equal(reserve(BASE, BASE + 8), LOAM_OK);
    loam_record_adopt(&record, at_page(BASE), 2);
    for (size_t i = 0; i < COUNT(damage); i++) {
        const uint32_t before = atomic_load(&only_part()->word[damage[i].page - BASE]);
        set_word(damage[i].page, damage[i].word);
        expect_broken(damage[i].rule);
        set_word(damage[i].page, before);
        expect_records_sound();
    }
}

/* The last of several ranges is looked at too; so is what was filled with poison. */
static void audit_sees_all_ranges(void **state)
{
    (void)state;
    RECORDS(true, 1, { BASE, BASE + 4 }, { BASE + 5, BASE + 8 });
    assert_int_equal(loam_record_bytes_needed(&frame), 64 + 2 * 64);
    const uint64_t page = BASE + 6;
    assert_int_equal(reserve(page, page + 1), LOAM_OK);
    loam_record_adopt(&record, at_page(page), 0);
    assert_true(put(page, 0));
    *(char *)machine_ram(BYTES(page) + 9) = 1;
    expect_broken("record: written to after it was freed");
    assert_int_equal(reserve(page, page + 1), LOAM_OK); /* that is its owner's matter */
    expect_records_sound();
    atomic_store(&record.part[1].word[page - (BASE + 5)], 5);
    expect_broken("record: a word is damaged");
}

/* Digests tell orders, counts and places apart. */
static void digest_is_of_all_that_can_be_seen(void **state)
{
    (void)state;
    RECORDS(false, 1, SMALL);
    const uint64_t empty = loam_record_digest(&record);
    assert_int_equal(reserve(BASE, BASE + 1), LOAM_OK);
    loam_record_adopt(&record, at_page(BASE), 0);
    assert_int_not_equal(loam_record_digest(&record), empty);
    assert_true(put(BASE, 0));
    assert_int_equal(loam_record_digest(&record), empty);
    const uint64_t page = share(1);
    const uint64_t one = loam_record_digest(&record);
    loam_record_get(&record, at_page(page));
    const uint64_t two = loam_record_digest(&record);
    assert_false(put(page, 1));
    assert_int_equal(loam_record_digest(&record), one);
    loam_record_split(&record, at_page(page), 1);
    const uint64_t split = loam_record_digest(&record);
    assert_true(put(page, 0));
    const uint64_t right = loam_record_digest(&record);
    loam_record_adopt(&record, at_page(take(1)), 0);
    assert_true(put(page + 1, 0));
    const uint64_t elsewhere = loam_record_digest(&record);
    const uint64_t seen[] = { empty, one, two, split, right, elsewhere };
    for (size_t i = 0; i < COUNT(seen); i++)
        for (size_t j = 0; j < i; j++)
            assert_int_not_equal(seen[i], seen[j]);
}

/* ---- memory that is added -------------------------------------------------- */

#define MORE  (BASE + 6 * BLOCK) /* page where memory is added */
#define LATER (BASE + 9 * BLOCK)

static struct loam_record_addition addition;

/* Describe an addition that is right. */
static void describe(uint64_t first, uint64_t end)
{
    addition.range = range_of(first, end);
    addition.memory_bytes = loam_record_add_bytes_needed(addition.range);
    addition.memory = give_memory(addition.memory_bytes);
    addition.is_zeroed = false;
}

static enum loam_status add(void)
{
    const uint64_t digest = loam_record_digest(&record);
    const enum loam_status status = loam_record_add(&record, &addition);
    assert_int_equal(loam_record_digest(&record), digest);
    return status;
}

static void add_F31_F32_refuses_what_is_wrong(void **state)
{
    const struct loam_phys_range malformed[] = {
        range_of(MORE, MORE),
        { { BYTES(MORE) + 8 }, BYTES(1) },
        { { BYTES(MORE) }, BYTES(1) + 8 },
        { { UINT64_MAX - 4095 }, BYTES(2) },
        { { BYTES(MORE) }, UINT64_MAX - 4095 },
    };
    const struct pages taken[] = {
        { BASE, END },          { BASE - 1, BASE + 1 },   { END - 1, END + 1 },
        { BASE - 1, END + 1 },  { BASE + 5, BASE + 6 },   { MORE, MORE + 8 },
        { MORE - 1, MORE + 1 }, { MORE + 7, MORE + 9 },   { END, MORE + 1 },
        { MORE + 3, MORE + 4 }, { LATER + 1, LATER + 2 },
    };

    (void)state;
    RECORDS(false, 1, SMALL, { LATER, LATER + 2 });
    describe(MORE, MORE + 8);
    assert_int_equal(add(), LOAM_OK);
    for (size_t i = 0; i < COUNT(malformed); i++) {
        assert_int_equal(loam_record_add_bytes_needed(malformed[i]), 0);
        describe(END, MORE);
        addition.range = malformed[i];
        assert_int_equal(add(), LOAM_INVALID);
    }
    for (size_t i = 0; i < COUNT(taken); i++) {
        describe(taken[i].first, taken[i].end);
        assert_int_equal(add(), LOAM_OVERLAP);
    }
    describe(END, MORE);
    addition.memory_bytes--;
    assert_int_equal(add(), LOAM_NO_SPACE);
    describe(END, MORE);
    void *const memory = addition.memory;
    addition.memory = NULL;
    assert_int_equal(add(), LOAM_INVALID);
    addition.memory = (char *)memory + 8;
    assert_int_equal(loam_record_add(&record, &addition), LOAM_INVALID);
    addition.memory = memory;
    assert_int_equal(add(), LOAM_OK); /* touches on both sides */
    expect_records_sound();
}

/* The allocator has more memory than the records: a frame of it is no use, until a
 * range is added. */
static void record_serves_what_was_added(void **state)
{
    struct pages world[] = { { BASE, BASE + 8 }, { MORE, MORE + 2 }, { MORE + 8, MORE + 16 } };

    (void)state;
    world_of(world, 1, 1);
    records_of(false);
    world_of(world, COUNT(world), 1); /* the same allocator, with more memory */
    EXPECT_PANIC("record: not a frame of this memory", (void)share_any(3));
    assert_int_equal(panic_trap.seen.subject, BYTES(MORE + 8));
    assert_int_equal(panic_trap.seen.detail, 8);
    give(MORE + 8, 3);
    for (size_t i = 1; i < COUNT(world); i++) {
        describe(world[i].first, world[i].end);
        addition.is_zeroed = i == 2;
        if (addition.is_zeroed)
            memset(addition.memory, 0, addition.memory_bytes);
        assert_int_equal(add(), LOAM_OK);
    }
    for (uint64_t count = 0; count < ram_pages; count++)
        (void)share(0);
    for (size_t i = 0; i < COUNT(world); i++)
        for (uint64_t page = world[i].first; page < world[i].end; page++)
            assert_int_equal(count_of(page), 1);
    assert_int_equal(count_of(MORE + 2), 0);
    EXPECT_PANIC(FOREIGN, loam_record_get(&record, at_page(MORE + 2)));
    assert_int_equal(count_of(MORE + 16), 0);
    const uint64_t digest = loam_record_digest(&record);
    assert_true(put(MORE + 1, 0));
    assert_int_not_equal(loam_record_digest(&record), digest);
    atomic_store(&atomic_load(&record.added)->word[3], 5);
    expect_broken("record: a word is damaged");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(record_serves_many_ranges),
        cmocka_unit_test(record_joins_ranges_that_touch),
        cmocka_unit_test(init_refuses_bad_memory),
        cmocka_unit_test(init_with_poison_wants_a_genuine_direct_map),
        cmocka_unit_test(init_leaves_zeroed_memory_alone),
        cmocka_unit_test(audit_sees_damaged_words),
        cmocka_unit_test(audit_sees_all_ranges),
        cmocka_unit_test(digest_is_of_all_that_can_be_seen),
        cmocka_unit_test(add_F31_F32_refuses_what_is_wrong),
        cmocka_unit_test(record_serves_what_was_added),
    };

    return RUN_TESTS(tests);
}
