/*
 * record_poison_test.c - what is freed is filled, and looked at when it comes back.
 */
#include "record_world.h"

#define BASE UINT64_C(8192) /* page; 32 MiB */
#define ONE                \
    {                      \
        BASE, BASE + BLOCK \
    }

static unsigned char *bytes_of(uint64_t page)
{
    return machine_ram(BYTES(page));
}

static bool is_filled(uint64_t page, uint64_t count)
{
    for (uint64_t i = 0; i < BYTES(count); i++)
        if (bytes_of(page)[i] != LOAM_RECORD_POISON)
            return false;
    return true;
}

/* A block of every size: all of it is filled when it is freed, nothing beside it, and
 * it may be given out again in other pieces. */
static void put_fills_just_the_block(void **state)
{
    (void)state;
    for (unsigned order = 0; order <= 9; order += 3) {
        RECORDS(true, 1, { BASE, BASE + 3 * BLOCK });
        const uint64_t page = share(order);
        const uint64_t count = UINT64_C(1) << order;
        memset(bytes_of(BASE), 1, BYTES(3 * BLOCK));
        loam_record_get(&record, at_page(page));
        assert_false(put(page, order));
        assert_int_equal(bytes_of(page)[0], 1);
        assert_true(put(page, order));
        assert_true(is_filled(page, count));
        assert_true(page == BASE || bytes_of(page)[-1] == 1);
        assert_true(page + count == BASE + 3 * BLOCK || bytes_of(page + count)[0] == 1);
        for (uint64_t got = share_any(0); got != NONE; got = share_any(0))
            memset(bytes_of(got), 2, BYTES(1));
        expect_records_sound();
    }
}

/* Share all there is: the block @p page must be among it. */
static void take_all_of_it(unsigned order)
{
    while (share_any(order) != NONE)
        continue;
}

/* Is a write to one byte of a freed block seen, and told exactly? */
static void expect_seen(unsigned order, uint64_t at, unsigned char value)
{
    const uint64_t page = share(order);
    const uint64_t address = BYTES(page) + at;
    assert_true(put(page, order));
    *(unsigned char *)machine_ram(address) = value;
    assert_string_equal(loam_record_audit(&record), WRITTEN);
    EXPECT_PANIC(WRITTEN, take_all_of_it(order));
    assert_int_equal(panic_trap.seen.subject, address);
    assert_int_equal(panic_trap.seen.detail, value);
}

static void alloc_F22_sees_a_write_after_free(void **state)
{
    static const struct {
        unsigned order;
        uint64_t at;
        unsigned char value;
    } writes[] = {
        { 0, 0, 0 },     { 0, 1, 1 },    { 0, 7, 0xff },    { 0, 8, 0xda },     { 0, 17, 0xdf },
        { 0, 31, 0x5b }, { 0, 2047, 2 }, { 0, 4064, 3 },    { 0, 4072, 4 },     { 0, 4080, 5 },
        { 0, 4088, 6 },  { 0, 4095, 0 }, { 3, 4096, 0xa5 }, { 3, 32767, 0xd3 }, { 9, 2097151, 0 },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(writes); i++) {
        RECORDS(true, 1, ONE);
        expect_seen(writes[i].order, writes[i].at, writes[i].value);
    }
}

/* The first of several wrong bytes is named. */
static void alloc_F22_names_the_first_byte(void **state)
{
    (void)state;
    RECORDS(true, 1, ONE);
    const uint64_t page = share(0);
    assert_true(put(page, 0));
    memset(bytes_of(page) + 1000, 7, 500);
    bytes_of(page)[4000] = 9;
    EXPECT_PANIC(WRITTEN, take_all_of_it(0));
    assert_int_equal(panic_trap.seen.subject, BYTES(page) + 1000);
    assert_int_equal(panic_trap.seen.detail, 7);
}

/* A frame whose write after free came to light when it was part of a larger block. */
static void alloc_F22_looks_at_each_frame_of_a_block(void **state)
{
    (void)state;
    RECORDS(true, 1, ONE);
    const uint64_t page = share(0);
    assert_true(put(page, 0));
    bytes_of(page)[5] = 0;
    EXPECT_PANIC(WRITTEN, (void)share_any(9));
    assert_int_equal(panic_trap.seen.subject, BYTES(page) + 5);
}

/* Frames that never were freed hold anything, and so do those that are in use. */
static void alloc_looks_only_at_what_was_filled(void **state)
{
    (void)state;
    RECORDS(true, 1, ONE);
    memset(bytes_of(BASE), 3, BYTES(BLOCK));
    const uint64_t page = share(9);
    assert_int_equal(bytes_of(page)[0], 3);
    assert_true(put(page, 9));
    assert_int_equal(share(9), page);
    memset(bytes_of(page), 4, BYTES(BLOCK));
    expect_records_sound();
    loam_record_split(&record, at_page(page), 9);
    for (uint64_t i = 0; i < BLOCK; i++)
        assert_true(loam_record_put(&record, at_page(page + i), 0));
    assert_true(is_filled(page, BLOCK));
    expect_records_sound();
}

/* Taken from the frame allocator: adopted before anything is written, it is looked at
 * too; forgotten, or never filled, it may hold anything. */
static void adopt_F22_sees_a_write_after_free(void **state)
{
    (void)state;
    RECORDS(true, 1, ONE);
    assert_true(put(share(9), 9));
    assert_int_equal(reserve(BASE, BASE + BLOCK), LOAM_OK);
    bytes_of(BASE + 9)[8] = 1;
    bytes_of(BASE + 20)[8] = 1;
    assert_null(loam_record_audit(&record)); /* in use: somebody's own matter */
    loam_record_adopt_range(&record, range_of(BASE, BASE + 8));
    EXPECT_PANIC(WRITTEN, loam_record_adopt(&record, at_page(BASE + 8), 3));
    assert_int_equal(panic_trap.seen.subject, BYTES(BASE + 9) + 8);
    loam_record_forget(&record, range_of(BASE, BASE + 20));
    EXPECT_PANIC(WRITTEN, loam_record_adopt(&record, at_page(BASE + 20), 0));
    loam_record_forget(&record, range_of(BASE + 20, BASE + 21));
    loam_record_adopt(&record, at_page(BASE + 8), 3);
    loam_record_adopt_range(&record, range_of(BASE + 16, BASE + BLOCK));
    expect_records_sound();
}

/* A range that is forgotten: its free frames may be written to; blocks in it, and
 * memory that is none, are left alone. */
static void forget_leaves_blocks_alone(void **state)
{
    (void)state;
    RECORDS(true, 1, ONE);
    const uint64_t page = share(3);
    const uint64_t freed = share(0);
    assert_true(put(freed, 0));
    bytes_of(freed)[77] = 1;
    const uint64_t digest = record_digest();
    loam_record_forget(&record, range_of(BASE - 3, BASE + BLOCK + 5));
    assert_int_equal(record_digest(), digest);
    expect_records_sound();
    assert_int_equal(loam_record_count(&record, at_page(page)), 1);
    loam_record_forget(&record, range_of(BASE, BASE));
    take_all_of_it(0);
    assert_int_equal(stats().free_count, 0);
}

/* Without poison nobody touches the memory: here there is none. */
static void put_without_poison_writes_nothing(void **state)
{
    (void)state;
    RECORDS(false, 1, ONE);
    assert_false(machine_is_ram(BYTES(BASE)));
    assert_true(put(share(9), 9));
    assert_true(put(share(0), 0));
}

/* A double put is seen although the word says something else than before. */
static void put_F08_of_filled_frames_is_refused(void **state)
{
    (void)state;
    RECORDS(true, 1, ONE);
    const uint64_t page = share(2);
    assert_true(put(page, 2));
    EXPECT_WRONG(UNKNOWN, BYTES(page), 0, (void)put(page, 2));
    EXPECT_WRONG(UNKNOWN, BYTES(page + 1), 0, (void)put(page + 1, 0));
    EXPECT_WRONG(UNKNOWN, BYTES(page), 0, loam_record_get(&record, at_page(page)));
    assert_int_equal(loam_record_count(&record, at_page(page)), 0);
    struct loam_record_block block;
    assert_false(loam_record_find(&record, at_page(page), &block));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(put_fills_just_the_block),
        cmocka_unit_test(alloc_F22_sees_a_write_after_free),
        cmocka_unit_test(alloc_F22_names_the_first_byte),
        cmocka_unit_test(alloc_F22_looks_at_each_frame_of_a_block),
        cmocka_unit_test(alloc_looks_only_at_what_was_filled),
        cmocka_unit_test(adopt_F22_sees_a_write_after_free),
        cmocka_unit_test(forget_leaves_blocks_alone),
        cmocka_unit_test(put_without_poison_writes_nothing),
        cmocka_unit_test(put_F08_of_filled_frames_is_refused),
    };

    return RUN_TESTS(tests);
}
