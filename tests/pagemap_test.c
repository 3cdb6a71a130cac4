/*
 * pagemap_test.c - what pages hold, and the heap's records, without a heap.
 */
#include "heap_world.h"

static struct loam_pagemap map;

static void map_on(void)
{
    const struct loam_pagemap_setup setup = window_map();

    memset(&map, RUBBISH, sizeof(map));
    assert_int_equal(loam_pagemap_init(&map, &setup), LOAM_OK);
}

static void expect_map_sound(void)
{
    uint64_t record_bytes, page_count;

    assert_null(loam_pagemap_audit(&map));
    loam_pagemap_measure(&map, &record_bytes, &page_count);
    assert_int_equal(page_count, world.out);
    assert_true(record_bytes <= PAGES(page_count));
}

static uint64_t look(uint64_t page)
{
    return loam_pagemap_look(&map, WINDOW_AT + PAGES(page));
}

/* ---- setup -------------------------------------------------------------------------- */

static void malformed_setups_are_refused(void **state)
{
    const struct loam_pagemap_setup good = window_map();
    struct loam_pagemap_setup bad[7];

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++)
        bad[i] = good;
    bad[0].page_count = 0;
    bad[1].page_count = 513;
    bad[2].start++;
    bad[3].memory = NULL;
    bad[4].memory_bytes--;
    bad[5].page_count = UINT64_MAX / LOAM_PAGE_SIZE / 512 * 512 + 512;
    bad[6].start = UINT64_MAX - PAGES(1) + 1;
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_int_equal(loam_pagemap_init(&map, &bad[i]), LOAM_INVALID);
    assert_int_equal(loam_pagemap_init(&map, &good), LOAM_OK);
    assert_int_equal(world.take_count, 0);
}

/* ---- pages ----------------------------------------------------------------------------- */

static void any_address_can_be_looked_up(void **state)
{
    static const uint64_t addresses[] = { 0,
                                          1,
                                          WINDOW_AT - 1,
                                          WINDOW_AT,
                                          WINDOW_AT + PAGES(WINDOW_PAGES) - 1,
                                          WINDOW_AT + PAGES(WINDOW_PAGES),
                                          UINT64_C(1) << 63,
                                          UINT64_MAX };
    (void)state;
    map_on();
    for (size_t i = 0; i < COUNT(addresses); i++)
        assert_int_equal(loam_pagemap_look(&map, addresses[i]), 0);
}

/*
 *   pages   510 511 | 512 513 514       a slab across two tables
 *   rest      5   4     3   2   1       pages to its end
 */
static void each_page_says_what_it_holds_and_how_far_the_end_is(void **state)
{
    (void)state;
    map_on();
    void *const record = loam_pagemap_alloc(&map, 100);
    const struct loam_pagemap_mark mark = { WINDOW_AT + PAGES(510), 5, 17, record };
    assert_int_equal(loam_pagemap_prepare(&map, mark.address, 5), LOAM_OK);
    loam_pagemap_set(&map, &mark);
    for (uint64_t page = 510; page < 515; page++) {
        const uint64_t entry = look(page);
        assert_int_equal(loam_pagemap_kind(entry), 17);
        assert_int_equal(loam_pagemap_kind_16(entry), 17 * 16);
        assert_ptr_equal(loam_pagemap_record(&map, entry), record);
        const uint64_t at = WINDOW_AT + PAGES(page);
        assert_int_equal(loam_pagemap_rest(entry, at), PAGES(515 - page));
        assert_int_equal(loam_pagemap_rest(entry, at + 1), PAGES(515 - page) - 1);
        assert_int_equal(loam_pagemap_rest(entry, at + 4095), PAGES(515 - page) - 4095);
    }
    assert_int_equal(look(509), 0);
    assert_int_equal(look(515), 0);
    const struct loam_pagemap_mark none = { mark.address, 5, LOAM_PAGEMAP_NOTHING, NULL };
    loam_pagemap_set(&map, &none);
    for (uint64_t page = 509; page < 516; page++)
        assert_int_equal(look(page), 0);
    loam_pagemap_free(&map, record, 100);
    expect_map_sound();
}

static void the_largest_slab_and_every_kind_fit_into_an_entry(void **state)
{
    (void)state;
    map_on();
    void *const record = loam_pagemap_alloc(&map, LOAM_PAGEMAP_RECORD_MAX);
    assert_int_equal(loam_pagemap_prepare(&map, WINDOW_AT, 64), LOAM_OK);
    for (unsigned kind = 1; kind <= LOAM_PAGEMAP_LARGE; kind++) {
        const struct loam_pagemap_mark mark = { WINDOW_AT, 64, kind, record };
        loam_pagemap_set(&map, &mark);
        assert_int_equal(loam_pagemap_kind(look(0)), kind);
        assert_int_equal(loam_pagemap_rest(look(0), WINDOW_AT), PAGES(64));
        assert_int_equal(loam_pagemap_rest(look(63), WINDOW_AT + PAGES(63) + 4095), 1);
        assert_ptr_equal(loam_pagemap_record(&map, look(63)), record);
    }
}

static void tables_are_made_once_and_only_for_what_can_be_looked_up(void **state)
{
    (void)state;
    map_on();
    assert_int_equal(loam_pagemap_prepare(&map, WINDOW_AT + PAGES(511), 2), LOAM_OK);
    assert_int_equal(world.out, 2);
    assert_int_equal(loam_pagemap_prepare(&map, WINDOW_AT, 1024), LOAM_OK);
    assert_int_equal(world.out, 2);
    assert_int_equal(loam_pagemap_prepare(&map, WINDOW_AT - PAGES(1), 1), LOAM_NO_SPACE);
    assert_int_equal(loam_pagemap_prepare(&map, WINDOW_AT + PAGES(WINDOW_PAGES), 1), LOAM_NO_SPACE);
    assert_int_equal(loam_pagemap_prepare(&map, WINDOW_AT + PAGES(WINDOW_PAGES - 1), 2),
                     LOAM_NO_SPACE);
    assert_int_equal(loam_pagemap_prepare(&map, WINDOW_AT + PAGES(1), UINT64_MAX), LOAM_NO_SPACE);
    assert_int_equal(world.out, 2);
    for (uint64_t page = 0; page < 1024; page++)
        assert_int_equal(look(page), 0); /* tables are zeroed, whatever was there */
    expect_map_sound();
}

static void a_table_for_which_there_is_no_memory_is_made_later(void **state)
{
    unsigned refused = 0;

    (void)state;
    INJECT_EACH_POINT
    {
        map_on();
        INJECT_ARM();
        const enum loam_status status = loam_pagemap_prepare(&map, WINDOW_AT + PAGES(500), 600);
        INJECT_DISARM();
        assert_int_equal(status, inject_fired() ? LOAM_NO_MEMORY : LOAM_OK);
        refused += status != LOAM_OK;
        assert_int_equal(loam_pagemap_prepare(&map, WINDOW_AT + PAGES(500), 600), LOAM_OK);
        assert_int_equal(world.out, 3);
        expect_map_sound();
    }
    assert_true(refused >= 12); /* three tables, two points each, once and for ever */
}

/* ---- records ------------------------------------------------------------------------------ */

static void records_are_zeroed_aligned_and_apart(void **state)
{
    static unsigned char *record[2000];
    static size_t bytes[2000];

    (void)state;
    map_on();
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned i = 0; i < COUNT(record); i++) {
            if (record[i] != NULL)
                continue;
            bytes[i] = 1 + test_random_below(i % 50 == 0 ? LOAM_PAGEMAP_RECORD_MAX : 600);
            record[i] = loam_pagemap_alloc(&map, bytes[i]);
            assert_non_null(record[i]);
            assert_int_equal(loam_virt_of(record[i]).addr % LOAM_PAGEMAP_UNIT, 0);
            for (size_t k = 0; k < bytes[i]; k++)
                assert_true(record[i][k] == 0);
            memset(record[i], (int)(i & 255) | 1, bytes[i]);
        }
        expect_map_sound();
        for (unsigned i = 0; i < COUNT(record); i++) {
            for (size_t k = 0; k < bytes[i]; k++)
                assert_true(record[i][k] == (unsigned char)((i & 255) | 1));
            if (round < 3 && test_random_below(2) == 0)
                continue;
            loam_pagemap_free(&map, record[i], bytes[i]);
            record[i] = NULL;
        }
        expect_map_sound();
    }
    uint64_t left, pages;
    loam_pagemap_measure(&map, &left, &pages);
    assert_int_equal(left, 0);
}

static void records_of_a_size_that_was_freed_take_no_new_memory(void **state)
{
    void *record[100];

    (void)state;
    map_on();
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < COUNT(record); i++)
            record[i] = loam_pagemap_alloc(&map, 200);
        for (unsigned i = 0; i < COUNT(record); i++)
            loam_pagemap_free(&map, record[i], 200);
    }
    assert_true(world.out <= 12); /* 100 records of 256 bytes */
    expect_map_sound();
}

/*
 *   chunk   [ lead | 12 KiB | 3 KiB ]  and a second one for the next 12 KiB: what is left of the
 *   first serves records that are small
 */
static void what_is_left_of_a_chunk_is_used_for_smaller_records(void **state)
{
    (void)state;
    map_on();
    assert_non_null(loam_pagemap_alloc(&map, 12288));
    assert_non_null(loam_pagemap_alloc(&map, 12288));
    assert_int_equal(world.out, 8);
    for (unsigned i = 0; i < 2; i++)
        assert_non_null(loam_pagemap_alloc(&map, 3072));
    assert_int_equal(world.out, 8);
    expect_map_sound();
}

static void the_room_of_a_record_is_little_more_than_it_needs(void **state)
{
    (void)state;
    for (size_t bytes = 1; bytes <= LOAM_PAGEMAP_RECORD_MAX; bytes++) {
        const size_t room = loam_pagemap_room(bytes);
        assert_true(room >= bytes && (room <= LOAM_PAGEMAP_UNIT || room <= bytes + bytes / 2 + 64));
        assert_int_equal(room % LOAM_PAGEMAP_UNIT, 0);
    }
}

static void a_record_for_which_there_is_no_memory_changes_nothing(void **state)
{
    (void)state;
    map_on();
    world.out_most = 0;
    assert_null(loam_pagemap_alloc(&map, 100));
    assert_int_equal(world.out, 0);
    world.out_most = 4;
    void *const record = loam_pagemap_alloc(&map, 100);
    assert_non_null(record);
    loam_pagemap_free(&map, record, 100);
    inject_fail_at(1, false);
    assert_null(loam_pagemap_alloc(&map, 100));
    inject_pause();
    assert_non_null(loam_pagemap_alloc(&map, 100));
    expect_map_sound();
}

/* ---- audit ----------------------------------------------------------------------------------- */

static void the_audit_sees_broken_lists_of_records(void **state)
{
    (void)state;
    map_on();
    void **const one = loam_pagemap_alloc(&map, 64);
    void **const two = loam_pagemap_alloc(&map, 64);
    assert_non_null(loam_pagemap_alloc(&map, 64)); /* stays: what is free is not all */
    loam_pagemap_free(&map, one, 64);
    loam_pagemap_free(&map, two, 64);
    assert_null(loam_pagemap_audit(&map));
    void *const link = *one;
    *one = two;
    assert_string_equal(loam_pagemap_audit(&map), "pagemap: a list of free records has a cycle");
    *one = (char *)two + 8;
    assert_string_equal(loam_pagemap_audit(&map), "pagemap: link of a free record is no record");
    *one = link;
    map.record_bytes += PAGES(4);
    assert_string_equal(loam_pagemap_audit(&map), "pagemap: more records than memory for them");
    map.record_bytes -= PAGES(4);
    map.unused = map.unused_end + 1;
    assert_string_equal(loam_pagemap_audit(&map),
                        "pagemap: newest page of records is used past its end");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(malformed_setups_are_refused),
    cmocka_unit_test(any_address_can_be_looked_up),
    cmocka_unit_test(each_page_says_what_it_holds_and_how_far_the_end_is),
    cmocka_unit_test(the_largest_slab_and_every_kind_fit_into_an_entry),
    cmocka_unit_test(tables_are_made_once_and_only_for_what_can_be_looked_up),
    cmocka_unit_test(a_table_for_which_there_is_no_memory_is_made_later),
    cmocka_unit_test(records_are_zeroed_aligned_and_apart),
    cmocka_unit_test(records_of_a_size_that_was_freed_take_no_new_memory),
    cmocka_unit_test(what_is_left_of_a_chunk_is_used_for_smaller_records),
    cmocka_unit_test(the_room_of_a_record_is_little_more_than_it_needs),
    cmocka_unit_test(a_record_for_which_there_is_no_memory_changes_nothing),
    cmocka_unit_test(the_audit_sees_broken_lists_of_records),
};

int main(void)
{
    return RUN_TESTS(tests);
}
