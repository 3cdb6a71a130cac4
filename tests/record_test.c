/*
 * record_test.c - reference counts and orders of blocks; what is refused.
 */
#include "record_small.h"

/* ---- examples ------------------------------------------------------------ */

/*
 *   alloc --> 1   get --> 2   put --> 1   put --> freed
 */
static void record_last_put_frees_the_block(void **state)
{
    (void)state;
    RECORDS(false, 1, SMALL);
    const uint64_t empty = record_digest();
    const uint64_t page = share(0);
    loam_record_get(&record, at_page(page));
    assert_int_equal(count_of(page), 2);
    assert_false(put(page, 0));
    assert_int_equal(count_of(page), 1);
    assert_int_equal(loam_frame_free_in(&frame, range_of(page, page + 1)), 0);
    assert_true(put(page, 0));
    assert_int_equal(count_of(page), 0);
    assert_int_equal(record_digest(), empty);
    expect_all_free();
}

/* Every order up to 1 GiB is recorded, found from each kind of frame in it, and freed. */
static void record_knows_every_order(void **state)
{
    (void)state;
    RECORDS(false, 1, { GIB(4), GIB(6) });
    for (unsigned order = 0; order <= LOAM_ORDER_MAX; order++) {
        const uint64_t count = UINT64_C(1) << order;
        const uint64_t page = share(order);
        const uint64_t inside[] = { 0, count / 2, count - 1 };
        for (size_t i = 0; i < COUNT(inside); i++) {
            struct loam_record_block block = { { 0 }, 99, 99 };
            const loam_phys at = loam_phys_at(BYTES(page + inside[i]) + 4095 * (i % 2));
            assert_true(loam_record_find(&record, at, &block));
            assert_int_equal(block.start.addr, BYTES(page));
            assert_int_equal(block.order, order);
            assert_int_equal(block.count, 1);
            assert_int_equal(count_of(page + inside[i]), inside[i] == 0);
        }
        struct loam_record_block none;
        assert_false(loam_record_find(&record, at_page(page + count), &none));
        assert_false(loam_record_find(&record, at_page(page - 1), &none));
        assert_true(put(page, order));
        assert_false(loam_record_find(&record, at_page(page), &none));
        expect_all_free();
    }
    EXPECT_WRONG(FOREIGN, BYTES(GIB(4)), GIB(2),
                 loam_record_adopt(&record, at_page(GIB(4)), LOAM_ORDER_MAX + 1));
}

/* What is not to be found leaves the output alone. */
static void record_finds_only_blocks(void **state)
{
    struct loam_record_block block = { { 1 }, 2, 3 };

    (void)state;
    RECORDS(false, 1, SMALL);
    const uint64_t page = share(3);
    assert_false(loam_record_find(&record, at_page(page - 1), &block));
    assert_false(loam_record_find(&record, at_page(page + 8), &block));
    assert_false(loam_record_find(&record, at_page(BASE - 1), &block));
    assert_false(loam_record_find(&record, at_page(END), &block));
    assert_false(loam_record_find(&record, loam_phys_none(), &block));
    assert_int_equal(block.start.addr, 1);
    assert_int_equal(block.order, 2);
    assert_int_equal(block.count, 3);
    assert_int_equal(loam_record_count(&record, loam_phys_none()), 0);
    assert_int_equal(loam_record_count(&record, loam_phys_at(BYTES(page) + 8)), 0);
    assert_int_equal(count_of(BASE - 1), 0);
}

/* [ block of 16 ) becomes [1)[1)[1)...; each is shared and freed by itself. */
static void record_split_makes_single_frames(void **state)
{
    (void)state;
    for (unsigned order = 0; order <= 10; order += 5) {
        RECORDS(false, 1, SMALL);
        const uint64_t page = share(order);
        const uint64_t after = share(0);
        loam_record_split(&record, at_page(page), order);
        expect_records_sound();
        for (uint64_t i = 0; i < UINT64_C(1) << order; i++)
            assert_int_equal(count_of(page + i), 1);
        loam_record_get(&record, at_page(page));
        assert_false(put(page, 0));
        for (uint64_t i = UINT64_C(1) << order; i-- > 0;) {
            assert_true(loam_record_put(&record, at_page(page + i), 0));
            assert_int_equal(loam_frame_free_in(&frame, range_of(page + i, page + i + 1)), 1);
        }
        assert_true(put(after, 0));
        expect_all_free();
    }
}

/* What the frame allocator gave gets a record later: a block, a part of one, a range. */
static void record_adopts_what_others_took(void **state)
{
    const struct loam_frame_request request = { .page_count = 700 };
    loam_phys at;

    (void)state;
    RECORDS(false, 1, SMALL);
    const uint64_t page = take(4);
    loam_record_adopt(&record, at_page(page), 3);
    expect_records_sound();
    assert_int_equal(count_of(page), 1);
    assert_true(put(page, 3));
    give(page + 8, 3);
    assert_int_equal(loam_frame_alloc_range(&frame, &request, &at), LOAM_OK);
    loam_record_adopt_range(&record, loam_phys_range_of(at, BYTES(700)));
    expect_records_sound();
    for (uint64_t i = 0; i < 700; i++)
        assert_true(loam_record_put(&record, at_page(at.addr / BYTES(1) + i), 0));
    expect_all_free();
}

/* What a zone has not is not given; nor is an order that there is none of. */
static void record_alloc_fails_as_the_frame_allocator_does(void **state)
{
    (void)state;
    RECORDS(false, 1, SMALL);
    const uint64_t digest = record_digest();
    assert_true(loam_phys_is_none(loam_record_alloc(&record, LOAM_ORDER_MAX + 1, LOAM_ZONE_ANY)));
    assert_true(loam_phys_is_none(loam_record_alloc(&record, UINT32_MAX, LOAM_ZONE_ANY)));
    assert_true(loam_phys_is_none(loam_record_alloc(&record, 0, LOAM_ZONE_16M)));
    assert_true(loam_phys_is_none(loam_record_alloc(&record, 12, LOAM_ZONE_ANY)));
    assert_int_equal(record_digest(), digest);
    const loam_phys low = loam_record_alloc(&record, 0, LOAM_ZONE_4G);
    assert_true(put(low.addr / BYTES(1), 0));
}

static void record_alloc_survives_each_failure(void **state)
{
    unsigned refused = 0;

    (void)state;
    INJECT_EACH_POINT
    {
        RECORDS(true, 1, SMALL);
        const uint64_t digest = record_digest();
        INJECT_ARM();
        const uint64_t page = share_any(2);
        INJECT_DISARM();
        assert_int_equal(page == NONE, inject_fired());
        assert_int_equal(record_digest() == digest, page == NONE);
        expect_records_sound();
        refused += page == NONE;
    }
    assert_int_equal(refused, 2);
}

/* ---- wrong frees --------------------------------------------------------- */

static void put_F08_twice_is_refused_at_once_and_later(void **state)
{
    (void)state;
    RECORDS(false, 1, SMALL);
    for (unsigned order = 0; order <= 9; order += 3) {
        const uint64_t page = share(order);
        const uint64_t other = share(order);
        assert_true(put(page, order));
        EXPECT_WRONG(UNKNOWN, BYTES(page), 0, (void)put(page, order));
        assert_true(put(other, order));
        EXPECT_WRONG(UNKNOWN, BYTES(page), 0, (void)put(page, order));
        EXPECT_WRONG(UNKNOWN, BYTES(page), 0, loam_record_get(&record, at_page(page)));
        EXPECT_WRONG(UNKNOWN, BYTES(page), 0, loam_record_split(&record, at_page(page), order));
    }
}

/* Two blocks side by side; every order but the right one, shared or not. */
static void put_F09_of_another_order_is_refused(void **state)
{
    (void)state;
    RECORDS(false, 1, SMALL);
    uint64_t low = share(3);
    uint64_t high = share(3);
    if (low > high) {
        const uint64_t swap = low;
        low = high;
        high = swap;
    }
    for (unsigned shared = 0; shared < 2; shared++) {
        for (unsigned order = 0; order <= LOAM_ORDER_MAX + 2; order++) {
            if (order == 3)
                continue;
            EXPECT_WRONG(WRONG, BYTES(low), 3, (void)put(low, order));
            EXPECT_WRONG(WRONG, BYTES(high), 3, (void)put(high, order));
            EXPECT_WRONG(WRONG, BYTES(low), 3, loam_record_split(&record, at_page(low), order));
        }
        EXPECT_WRONG(WRONG, BYTES(low), 3, (void)put(low, UINT32_MAX));
        loam_record_get(&record, at_page(low));
        loam_record_get(&record, at_page(high));
    }
}

static void put_F10_of_what_was_never_allocated_is_refused(void **state)
{
    (void)state;
    RECORDS(false, 1, SMALL);
    EXPECT_WRONG(UNKNOWN, BYTES(BASE), 0, (void)put(BASE, 0));
    const uint64_t page = take(0); /* has no record */
    EXPECT_WRONG(UNKNOWN, BYTES(page), 0, (void)put(page, 0));
    EXPECT_WRONG(UNKNOWN, BYTES(page), 0, loam_record_get(&record, at_page(page)));
}

static void expect_inside(uint64_t page, uint64_t at, unsigned order)
{
    EXPECT_WRONG(INSIDE, BYTES(at), BYTES(page), (void)put(at, 0));
    EXPECT_WRONG(INSIDE, BYTES(at), BYTES(page), (void)put(at, order - 1));
    EXPECT_WRONG(INSIDE, BYTES(at), BYTES(page), loam_record_get(&record, at_page(at)));
    EXPECT_WRONG(INSIDE, BYTES(at), BYTES(page), loam_record_split(&record, at_page(at), 0));
}

static void put_F11_inside_a_block_is_refused(void **state)
{
    (void)state;
    RECORDS(false, 1, SMALL);
    for (unsigned order = 1; order <= 10; order++) {
        const uint64_t page = share(order);
        const uint64_t count = UINT64_C(1) << order;
        expect_inside(page, page + 1, order);
        expect_inside(page, page + count / 2, order);
        expect_inside(page, page + count - 1, order);
        assert_true(put(page, order));
    }
}

static void put_F12_of_foreign_addresses_is_refused(void **state)
{
    (void)state;
    RECORDS(false, 1, { BASE, BASE + BLOCK }, { BASE + 2 * BLOCK, BASE + 3 * BLOCK });
    const uint64_t page = share(0);
    const uint64_t wrong[] = {
        0,
        1,
        BYTES(BASE - 1),
        BYTES(BASE + BLOCK),
        BYTES(BASE + 2 * BLOCK - 1),
        BYTES(BASE + 3 * BLOCK),
        BYTES(page) + 1,
        BYTES(page) + 2048,
        BYTES(page) + 4095,
        UINT64_C(1) << 52 | BYTES(page),
        UINT64_C(1) << 63 | BYTES(page),
        UINT64_MAX - 4095,
        UINT64_MAX,
    };
    for (size_t i = 0; i < COUNT(wrong); i++) {
        const loam_phys at = loam_phys_at(wrong[i]);
        EXPECT_WRONG(FOREIGN, wrong[i], 1, (void)loam_record_put(&record, at, 0));
        EXPECT_WRONG(FOREIGN, wrong[i], 1, loam_record_get(&record, at));
        EXPECT_WRONG(FOREIGN, wrong[i], 1, loam_record_split(&record, at, 0));
        EXPECT_WRONG(FOREIGN, wrong[i], 1, loam_record_adopt(&record, at, 0));
    }
}

/* A reference more than the word can hold, and one less. */
static void record_refuses_one_reference_too_many(void **state)
{
    (void)state;
    RECORDS(false, 1, SMALL);
    const uint64_t page = share(1);
    _Atomic uint32_t *const word = &record.part[0].word[page - BASE];
    atomic_store(word, record_of_order(1) - 1 + LOAM_RECORD_COUNT_MAX - 1);
    loam_record_get(&record, at_page(page));
    assert_int_equal(count_of(page), LOAM_RECORD_COUNT_MAX);
    EXPECT_WRONG(TOO_MANY, BYTES(page), LOAM_RECORD_COUNT_MAX,
                 loam_record_get(&record, at_page(page)));
    assert_false(put(page, 1));
    assert_int_equal(count_of(page), LOAM_RECORD_COUNT_MAX - 1);
}

static void split_of_a_shared_block_is_refused(void **state)
{
    (void)state;
    RECORDS(false, 1, SMALL);
    const uint64_t page = share(4);
    loam_record_get(&record, at_page(page));
    EXPECT_WRONG(SHARED, BYTES(page), 2, loam_record_split(&record, at_page(page), 4));
}

/* ---- wrong adoptions ----------------------------------------------------- */

static void adopt_of_what_has_a_record_is_refused(void **state)
{
    (void)state;
    RECORDS(false, 1, SMALL);
    const uint64_t page = share(3);
    EXPECT_WRONG(HAS_ONE, BYTES(page), 3, loam_record_adopt(&record, at_page(page), 3));
    EXPECT_WRONG(HAS_ONE, BYTES(page), 3, loam_record_adopt(&record, at_page(page), 0));
    EXPECT_WRONG(HAS_ONE, BYTES(page + 7), 3, loam_record_adopt(&record, at_page(page + 7), 0));
    EXPECT_WRONG(HAS_ONE, BYTES(page + 4), 3, loam_record_adopt(&record, at_page(page + 4), 2));
    EXPECT_WRONG(HAS_ONE, BYTES(page), 3, loam_record_adopt(&record, at_page(page & ~15ull), 4));
    EXPECT_WRONG(HAS_ONE, BYTES(page + 1), 3,
                 loam_record_adopt_range(&record, range_of(page + 1, page + 2)));
}

static void adopt_of_what_is_no_block_is_refused(void **state)
{
    (void)state;
    RECORDS(false, 1, SMALL);
    assert_int_equal(reserve(BASE, END), LOAM_OK);
    EXPECT_WRONG(FOREIGN, BYTES(BASE + 1), 2, loam_record_adopt(&record, at_page(BASE + 1), 1));
    EXPECT_WRONG(FOREIGN, BYTES(BASE), 1u << 12, loam_record_adopt(&record, at_page(BASE), 12));
    EXPECT_WRONG(FOREIGN, BYTES(BASE), 1u << 19, loam_record_adopt(&record, at_page(BASE), 19));
    EXPECT_WRONG(FOREIGN, BYTES(BASE), 1, loam_record_adopt(&record, at_page(BASE), 64));
    EXPECT_WRONG(FOREIGN, BYTES(BASE), 0, loam_record_adopt_range(&record, range_of(BASE, BASE)));
    EXPECT_WRONG(FOREIGN, BYTES(BASE) + 1, 1,
                 loam_record_adopt_range(
                     &record, loam_phys_range_of(loam_phys_at(BYTES(BASE) + 1), BYTES(1))));
    EXPECT_WRONG(FOREIGN, BYTES(BASE), 1,
                 loam_record_adopt_range(&record, loam_phys_range_of(at_page(BASE), BYTES(1) + 8)));
    EXPECT_WRONG(FOREIGN, UINT64_MAX - 4095, 2,
                 loam_record_adopt_range(
                     &record, loam_phys_range_of(loam_phys_at(UINT64_MAX - 4095), BYTES(2))));
    EXPECT_PANIC(FOREIGN, loam_record_adopt_range(&record, range_of(END - 1, END + 1)));
    assert_int_equal(panic_trap.seen.subject, BYTES(END));
}

/* All of a 2 MiB block is taken from the frame allocator. */
static void one_block_in_use(void)
{
    RECORDS(false, 1, { BASE, BASE + BLOCK });
    assert_int_equal(reserve(BASE, BASE + BLOCK), LOAM_OK);
}

/* Freed beside its record: seen when it is given out again, at any place of a block. */
static void alloc_of_what_was_freed_beside_its_record_is_refused(void **state)
{
    (void)state;
    one_block_in_use();
    loam_record_adopt(&record, at_page(BASE + 77), 0);
    release(BASE, BASE + BLOCK);
    assert_string_equal(loam_record_audit(&record), "record: a frame of a block is free");
    EXPECT_PANIC(HAS_ONE, (void)share_any(9));
    assert_int_equal(panic_trap.seen.subject, BYTES(BASE + 77));
    assert_int_equal(panic_trap.seen.detail, 0);

    one_block_in_use();
    loam_record_adopt(&record, at_page(BASE), 9);
    release(BASE, BASE + BLOCK);
    EXPECT_PANIC(HAS_ONE, (void)share_any(0));
    assert_int_equal(panic_trap.seen.subject, BYTES(BASE));
    assert_int_equal(panic_trap.seen.detail, 9);

    one_block_in_use();
    loam_record_adopt(&record, at_page(BASE), 9);
    release(BASE, BASE + BLOCK);
    EXPECT_PANIC(ALREADY, (void)loam_record_put(&record, at_page(BASE), 9));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(record_last_put_frees_the_block),
        cmocka_unit_test(record_knows_every_order),
        cmocka_unit_test(record_finds_only_blocks),
        cmocka_unit_test(record_split_makes_single_frames),
        cmocka_unit_test(record_adopts_what_others_took),
        cmocka_unit_test(record_alloc_fails_as_the_frame_allocator_does),
        cmocka_unit_test(record_alloc_survives_each_failure),
        cmocka_unit_test(put_F08_twice_is_refused_at_once_and_later),
        cmocka_unit_test(put_F09_of_another_order_is_refused),
        cmocka_unit_test(put_F10_of_what_was_never_allocated_is_refused),
        cmocka_unit_test(put_F11_inside_a_block_is_refused),
        cmocka_unit_test(put_F12_of_foreign_addresses_is_refused),
        cmocka_unit_test(record_refuses_one_reference_too_many),
        cmocka_unit_test(split_of_a_shared_block_is_refused),
        cmocka_unit_test(adopt_of_what_has_a_record_is_refused),
        cmocka_unit_test(adopt_of_what_is_no_block_is_refused),
        cmocka_unit_test(alloc_of_what_was_freed_beside_its_record_is_refused),
    };

    return RUN_TESTS(tests);
}
