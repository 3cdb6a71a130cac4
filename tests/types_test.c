/*
 * types_test.c - ranges up to the last byte of the address space, and names.
 */
#include "harness.h"

#include <loam/types.h>

static struct loam_phys_range range(uint64_t start, uint64_t size)
{
    return loam_phys_range_of(loam_phys_at(start), size);
}

static void assert_range(struct loam_phys_range r, uint64_t start, uint64_t size)
{
    assert_int_equal(r.start.addr, start);
    assert_int_equal(r.size, size);
}

/*
 *   range   [                )
 *   cut          [    )
 *   rest    [0  )      [1    )
 */
static void cut_from_the_middle_leaves_two_rests(void **state)
{
    struct loam_phys_range rest[2];
    (void)state;
    assert_int_equal(loam_phys_range_cut(range(100, 50), range(110, 15), rest), 2);
    assert_range(rest[0], 100, 10);
    assert_range(rest[1], 125, 25);
}

/*
 *   range   [          )     [          )       [          )
 *   cut    [     )                [      )     [             )
 *   rest          [0   )     [0  )
 */
static void cut_from_an_edge_leaves_one_rest_and_of_all_none(void **state)
{
    struct loam_phys_range rest[2] = { range(1, 2), range(3, 4) };
    (void)state;
    assert_int_equal(loam_phys_range_cut(range(100, 50), range(0, 120), rest), 1);
    assert_range(rest[0], 120, 30);
    assert_int_equal(loam_phys_range_cut(range(100, 50), range(120, 30), rest), 1);
    assert_range(rest[0], 100, 20);
    assert_range(rest[1], 3, 4); /* beyond the count: untouched */

    struct loam_phys_range untouched[2] = { range(1, 2), range(3, 4) };
    assert_int_equal(loam_phys_range_cut(range(100, 50), range(100, 50), untouched), 0);
    assert_int_equal(loam_phys_range_cut(range(100, 50), range(99, 52), untouched), 0);
    assert_range(untouched[0], 1, 2);
    assert_range(untouched[1], 3, 4);
}

static void cut_that_misses_leaves_the_range(void **state)
{
    struct loam_phys_range rest[2];
    (void)state;
    assert_int_equal(loam_phys_range_cut(range(100, 50), range(150, 1), rest), 1);
    assert_range(rest[0], 100, 50);
    assert_int_equal(loam_phys_range_cut(range(100, 50), range(99, 1), rest), 1);
    assert_range(rest[0], 100, 50);
    assert_int_equal(loam_phys_range_cut(range(100, 50), range(120, 0), rest), 1);
    assert_range(rest[0], 100, 50);
    assert_int_equal(loam_phys_range_cut(range(100, 0), range(90, 20), rest), 0);
}

/*
 *   range        [               ) 2^64
 *   cut                [         ) 2^64       or [   ) in the middle
 */
static void cut_works_up_to_the_last_byte(void **state)
{
    struct loam_phys_range rest[2];
    (void)state;
    assert_int_equal(loam_phys_range_cut(range(UINT64_MAX - 9, 10), range(UINT64_MAX, 1), rest), 1);
    assert_range(rest[0], UINT64_MAX - 9, 9);
    assert_int_equal(loam_phys_range_cut(range(UINT64_MAX - 9, 10), range(UINT64_MAX - 5, 2), rest),
                     2);
    assert_range(rest[0], UINT64_MAX - 9, 4);
    assert_range(rest[1], UINT64_MAX - 3, 4);
    assert_int_equal(loam_phys_range_cut(range(0, UINT64_MAX), range(1, UINT64_MAX), rest), 1);
    assert_range(rest[0], 0, 1);
    assert_int_equal(loam_phys_range_cut(range(1, UINT64_MAX), range(0, UINT64_MAX), rest), 1);
    assert_range(rest[0], UINT64_MAX, 1);
}

/* Property: the rests hold exactly the bytes of the range that are not cut, in
 * ascending order; in a world of 24 bytes at both ends of the address space. */
static void cut_agrees_with_definition_byte_by_byte(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 50000; round++) {
        const uint64_t base = round % 2 == 0 ? 0 : UINT64_MAX - 23;
        const uint64_t a = test_random_below(24);
        const uint64_t b = test_random_below(24);
        const struct loam_phys_range whole = range(base + a, test_random_below(25 - a));
        const struct loam_phys_range cut = range(base + b, test_random_below(25 - b));
        struct loam_phys_range rest[2] = { range(0, 0), range(0, 0) };
        const unsigned count = loam_phys_range_cut(whole, cut, rest);

        assert_true(count <= 2);
        for (unsigned i = 0; i < count; i++)
            assert_true(rest[i].size > 0 && loam_range_fits(rest[i].start.addr, rest[i].size));
        if (count == 2) /* a gap, not just an order: touching rests would be one */
            assert_true(rest[0].start.addr + rest[0].size < rest[1].start.addr);
        for (uint64_t i = 0; i < 24; i++) {
            const bool in_whole = i >= a && i < a + whole.size;
            const bool in_cut = i >= b && i < b + cut.size;
            const loam_phys p = loam_phys_at(base + i);
            const bool in_rest =
                loam_phys_range_contains(rest[0], p) || loam_phys_range_contains(rest[1], p);
            assert_int_equal(in_rest, in_whole && !in_cut);
            assert_int_equal(loam_phys_range_contains(whole, p), in_whole);
        }
    }
}

static void cut_of_a_wrapping_range_panics(void **state)
{
    struct loam_phys_range rest[2];
    (void)state;
    EXPECT_PANIC("types: a range to cut from ends at or below 2^64",
                 (void)loam_phys_range_cut(range(2, UINT64_MAX), range(0, 1), rest));
    assert_int_equal(panic_trap.seen.subject, 2);
    assert_int_equal(panic_trap.seen.detail, UINT64_MAX);
    EXPECT_PANIC("types: a range to cut ends at or below 2^64",
                 (void)loam_phys_range_cut(range(0, 1), range(UINT64_MAX, 2), rest));
    assert_int_equal(panic_trap.seen.subject, UINT64_MAX);
}

/* Property: two ranges overlap if some byte is in both. */
static void overlap_agrees_with_definition(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        const uint64_t base = round % 2 == 0 ? 0 : UINT64_MAX - 15;
        const uint64_t a = test_random_below(16);
        const uint64_t b = test_random_below(16);
        const struct loam_phys_range x = range(base + a, test_random_below(17 - a));
        const struct loam_phys_range y = range(base + b, test_random_below(17 - b));
        bool shared = false;
        for (uint64_t i = 0; i < 16; i++)
            shared |= loam_phys_range_contains(x, loam_phys_at(base + i)) &&
                      loam_phys_range_contains(y, loam_phys_at(base + i));
        assert_int_equal(loam_phys_range_overlaps(x, y), shared);
        assert_int_equal(loam_phys_range_overlaps(y, x), shared);
    }
}

static void range_fits_up_to_2_64_and_not_beyond(void **state)
{
    (void)state;
    assert_true(loam_range_fits(0, UINT64_MAX));
    assert_true(loam_range_fits(1, UINT64_MAX));
    assert_false(loam_range_fits(2, UINT64_MAX));
    assert_true(loam_range_fits(UINT64_MAX, 1));
    assert_false(loam_range_fits(UINT64_MAX, 2));
    assert_true(loam_range_fits(UINT64_MAX, 0));
    assert_true(loam_range_fits(UINT64_C(1) << 63, UINT64_C(1) << 63));
}

static void canonical_addresses_end_at_the_hole(void **state)
{
    (void)state;
    const uint64_t hole4 = UINT64_C(1) << 47;
    const uint64_t hole5 = UINT64_C(1) << 56;
    assert_true(loam_virt_is_canonical(loam_virt_at(0), 4));
    assert_true(loam_virt_is_canonical(loam_virt_at(hole4 - 1), 4));
    assert_false(loam_virt_is_canonical(loam_virt_at(hole4), 4));
    assert_false(loam_virt_is_canonical(loam_virt_at(0 - hole4 - 1), 4));
    assert_true(loam_virt_is_canonical(loam_virt_at(0 - hole4), 4));
    assert_true(loam_virt_is_canonical(loam_virt_at(UINT64_MAX), 4));
    assert_true(loam_virt_is_canonical(loam_virt_at(hole5 - 1), 5));
    assert_false(loam_virt_is_canonical(loam_virt_at(hole5), 5));
    assert_false(loam_virt_is_canonical(loam_virt_at(0 - hole5 - 1), 5));
    assert_true(loam_virt_is_canonical(loam_virt_at(0 - hole5), 5));
}

static void page_and_power_helpers_at_their_edges(void **state)
{
    (void)state;
    assert_true(loam_is_page_aligned(0));
    assert_false(loam_is_page_aligned(LOAM_PAGE_SIZE - 1));
    assert_true(loam_is_page_aligned(LOAM_PAGE_SIZE));
    assert_int_equal(loam_page_floor(LOAM_PAGE_SIZE - 1), 0);
    assert_int_equal(loam_page_floor(UINT64_MAX), 0 - LOAM_PAGE_SIZE);
    assert_false(loam_is_power_of_two(0));
    assert_true(loam_is_power_of_two(1));
    assert_false(loam_is_power_of_two(3));
    assert_true(loam_is_power_of_two(UINT64_C(1) << 63));
    assert_int_equal(loam_order_bytes(0), 4096);
    assert_int_equal(loam_order_bytes(LOAM_ORDER_2M), 2u << 20);
    assert_int_equal(loam_order_bytes(LOAM_ORDER_MAX), 1u << 30);
    assert_true(loam_phys_is_none(loam_phys_none()));
    assert_false(loam_phys_is_none(loam_phys_at(0)));
}

static void direct_map_is_an_offset_and_back(void **state)
{
    const uint64_t offset = UINT64_C(0xffff800000000000);
    const struct loam_hhdm hhdm = { offset, ~offset };
    const struct loam_hhdm zeroed = { 0, 0 };
    (void)state;
    assert_true(loam_hhdm_is_genuine(hhdm));
    assert_false(loam_hhdm_is_genuine(zeroed));
    assert_int_equal(loam_hhdm_virt(hhdm, loam_phys_at(0x1234)).addr, offset + 0x1234);
    assert_ptr_equal(loam_hhdm_pointer(hhdm, loam_phys_at(0x1234)),
                     (void *)(uintptr_t)(offset + 0x1234));
    assert_int_equal(loam_hhdm_phys(hhdm, loam_virt_at(offset + 0x1234)).addr, 0x1234);
}

static void every_status_has_its_own_name(void **state)
{
    (void)state;
    assert_string_equal(loam_status_name(LOAM_OK), "ok");
    for (unsigned a = LOAM_OK; a <= LOAM_STATE; a++) {
        assert_string_not_equal(loam_status_name((enum loam_status)a), "unknown status");
        for (unsigned b = LOAM_OK; b < a; b++)
            assert_string_not_equal(loam_status_name((enum loam_status)a),
                                    loam_status_name((enum loam_status)b));
    }
    assert_string_equal(loam_status_name((enum loam_status)(LOAM_STATE + 1)), "unknown status");
    assert_string_equal(loam_status_name((enum loam_status)UINT32_MAX), "unknown status");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_from_the_middle_leaves_two_rests),
        cmocka_unit_test(cut_from_an_edge_leaves_one_rest_and_of_all_none),
        cmocka_unit_test(cut_that_misses_leaves_the_range),
        cmocka_unit_test(cut_works_up_to_the_last_byte),
        cmocka_unit_test(cut_agrees_with_definition_byte_by_byte),
        cmocka_unit_test(cut_of_a_wrapping_range_panics),
        cmocka_unit_test(overlap_agrees_with_definition),
        cmocka_unit_test(range_fits_up_to_2_64_and_not_beyond),
        cmocka_unit_test(canonical_addresses_end_at_the_hole),
        cmocka_unit_test(page_and_power_helpers_at_their_edges),
        cmocka_unit_test(direct_map_is_an_offset_and_back),
        cmocka_unit_test(every_status_has_its_own_name),
    };
    return RUN_TESTS(tests);
}
