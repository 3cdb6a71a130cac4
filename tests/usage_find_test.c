/*
 * usage_find_test.c - layer 3, first fit: in intervals of an owner and in gaps,
 * against trying every byte; and that a search skips what is too small.
 */
#include "usage_world.h"

/* ---- against trying ------------------------------------------------------ */

/* Intervals of one byte in the middle, so that the tree is high. No gap there is
 * larger than a byte, no interval is USABLE. */
static void fill_far_away(uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        assert_int_equal(
            loam_usage_insert(&usage, bytes((UINT64_C(1) << 63) + 2 * i, 1), LOAM_OWNER_BAD),
            LOAM_OK);
}

/* Start of the first place, by trying every byte. */
static uint64_t find_by_trying(uint64_t base, const struct loam_usage_request *request)
{
    for (uint64_t i = 0; i < 256; i++) {
        const uint64_t at = base + i;
        struct loam_interval got;
        if (at < request->from || (request->align_bytes != 0 && at % request->align_bytes != 0) ||
            !loam_usage_lookup(&usage, loam_phys_at(at), &got) || got.owner != request->owner)
            continue;
        const uint64_t last = got.range.start.addr + (got.range.size - 1);
        if (request->size - 1 <= last - at &&
            (request->limit == 0 || at + (request->size - 1) < request->limit))
            return at;
    }
    return UINT64_MAX;
}

/* The same for gaps: bytes of nobody, all of them within 256 bytes or beyond. */
static uint64_t find_gap_by_trying(uint64_t base, const struct loam_usage_request *request)
{
    for (uint64_t i = 0; i < 256; i++) {
        const uint64_t at = base + i;
        struct loam_interval next;
        if (at < request->from || (request->align_bytes != 0 && at % request->align_bytes != 0) ||
            request->size - 1 > UINT64_MAX - at ||
            (request->limit != 0 && at + (request->size - 1) >= request->limit))
            continue;
        if (!loam_usage_next(&usage, loam_phys_at(at), &next) ||
            (next.range.start.addr > at && next.range.start.addr - at >= request->size))
            return at;
    }
    return UINT64_MAX;
}

/* Intervals of a few bytes at either end of the address space; any request. */
static void usage_find_is_the_first_fit(void **state)
{
    static const uint64_t bases[] = { 0, UINT64_MAX - 255 };

    (void)state;
    for (int round = 0; round < 60; round++) {
        const uint64_t base = bases[round % 2];
        empty_map(32);
        fill_far_away(round % 3 == 0 ? 2000 : 0);
        for (int i = 0; i < 60; i++) {
            const uint64_t start = test_random_below(256);
            const uint64_t room = 256 - start;
            const uint64_t size = 1 + test_random_below(room < 12 ? room : 12);
            assert_int_equal(loam_usage_overwrite(&usage, bytes(base + start, size),
                                                  (enum loam_owner)test_random_below(3)),
                             LOAM_OK);
        }
        for (int i = 0; i < 100; i++) {
            struct loam_usage_request request = {
                .owner = (enum loam_owner)test_random_below(3),
                .size = 1 + test_random_below(20),
                .align_bytes = i % 5 == 0 ? 0 : UINT64_C(1) << test_random_below(6),
                .from = i % 2 == 0 ? 0 : base + test_random_below(256),
                .limit = i % 3 == 0 ? 0 : base + test_random_below(256),
            };
            assert_int_equal(loam_usage_find(&usage, &request).addr,
                             find_by_trying(base, &request));
            request.from = request.from > base ? request.from : base; /* not the gap below */
            const uint64_t gap = loam_usage_find_gap(&usage, &request).addr;
            if (gap - base < 256 || gap == UINT64_MAX) /* not above what was tried */
                assert_int_equal(gap, find_gap_by_trying(base, &request));
            else
                assert_int_equal(find_gap_by_trying(base, &request), UINT64_MAX);
        }
    }
}

/* One interval of 2^64 - 4096 bytes from 4096 on, and requests at every edge. */
static void usage_find_at_every_edge(void **state)
{
    static const uint64_t edges[] = {
        0,
        1,
        4095,
        4096,
        4097,
        8191,
        8192,
        (UINT64_C(1) << 63) - 1,
        UINT64_C(1) << 63,
        UINT64_MAX - 4096,
        UINT64_MAX - 4095,
        UINT64_MAX - 1,
        UINT64_MAX,
    };
    __extension__ typedef unsigned __int128 wide;
    const size_t n = sizeof(edges) / sizeof(edges[0]);

    (void)state;
    empty_map(4);
    assert_int_equal(loam_usage_insert(&usage, bytes(4096, UINT64_MAX - 4095), LOAM_OWNER_USABLE),
                     LOAM_OK);
    for (size_t i = 0; i < n * n * n * n; i++) {
        struct loam_usage_request request = {
            .owner = LOAM_OWNER_USABLE,
            .size = edges[i % n],
            .align_bytes = edges[i / n % n],
            .from = edges[i / n / n % n],
            .limit = edges[i / n / n / n],
        };
        const wide end = request.limit == 0 ? (wide)1 << 64 : request.limit;
        const uint64_t align_bytes = request.align_bytes == 0 ? 1 : request.align_bytes;
        uint64_t want = UINT64_MAX;
        if (request.size != 0 && (align_bytes & (align_bytes - 1)) == 0) {
            const wide from = request.from > 4096 ? request.from : 4096;
            const wide start = (from + align_bytes - 1) / align_bytes * align_bytes;
            want = start + request.size <= end ? (uint64_t)start : UINT64_MAX;
        }
        assert_int_equal(loam_usage_find(&usage, &request).addr, want);
        request.owner = LOAM_OWNER_HEAP;
        assert_true(loam_phys_is_none(loam_usage_find(&usage, &request)));
    }
}

/* The gap below one interval and the gap above it, and requests at every edge. */
static void usage_find_gap_at_every_edge(void **state)
{
    static const uint64_t edges[] = { 0,
                                      1,
                                      4095,
                                      4096,
                                      4097,
                                      8192,
                                      (UINT64_C(1) << 63) - 1,
                                      UINT64_C(1) << 63,
                                      UINT64_MAX - 4096,
                                      UINT64_MAX - 4095,
                                      UINT64_MAX };
    __extension__ typedef unsigned __int128 wide;
    const size_t n = sizeof(edges) / sizeof(edges[0]);

    (void)state;
    empty_map(4);
    assert_int_equal(loam_usage_insert(&usage, bytes(4096, 4096), LOAM_OWNER_USABLE), LOAM_OK);
    for (size_t i = 0; i < n * n * n * n; i++) {
        const struct loam_usage_request request = {
            .owner = LOAM_OWNER_USABLE,
            .size = edges[i % n],
            .align_bytes = edges[i / n % n],
            .from = edges[i / n / n % n],
            .limit = edges[i / n / n / n],
        };
        const wide end = request.limit == 0 ? (wide)1 << 64 : request.limit;
        const uint64_t align_bytes = request.align_bytes == 0 ? 1 : request.align_bytes;
        uint64_t want = UINT64_MAX;
        if (request.size != 0 && (align_bytes & (align_bytes - 1)) == 0) {
            wide start = ((wide)request.from + align_bytes - 1) / align_bytes * align_bytes;
            if (start < 8192 && start + request.size > 4096)
                start = (8192 + (wide)align_bytes - 1) / align_bytes * align_bytes;
            want = start + request.size <= end ? (uint64_t)start : UINT64_MAX;
        }
        assert_int_equal(loam_usage_find_gap(&usage, &request).addr, want);
    }
}

/* No interval: everything is a gap. One of 2^64 bytes: nothing is. */
static void usage_find_in_nothing_and_in_all(void **state)
{
    const struct loam_usage_request all = { .owner = LOAM_OWNER_USABLE, .size = UINT64_MAX };
    const struct loam_usage_request one = { .owner = LOAM_OWNER_USABLE, .size = 1 };
    const uint64_t half = UINT64_C(1) << 63;

    (void)state;
    empty_map(4);
    assert_int_equal(loam_usage_find_gap(&usage, &all).addr, 0);
    assert_true(loam_phys_is_none(loam_usage_find(&usage, &one)));
    assert_int_equal(loam_usage_insert(&usage, bytes(0, half), LOAM_OWNER_USABLE), LOAM_OK);
    assert_int_equal(loam_usage_find_gap(&usage, &one).addr, half);
    assert_int_equal(loam_usage_insert_merge(&usage, bytes(half, half), LOAM_OWNER_USABLE),
                     LOAM_OK);
    assert_true(loam_phys_is_none(loam_usage_find_gap(&usage, &one)));
    assert_int_equal(loam_usage_find(&usage, &all).addr, 0);
}

/* ---- what is skipped ----------------------------------------------------- */

/*
 * 100,000 intervals of one page, a page apart, with a large USABLE interval and a
 * large gap near the end. A search that looked at each interval before them would
 * need a second for 2,000 searches, at 5 ns each.
 */
static void usage_find_skips_what_is_too_small(void **state)
{
    const uint64_t count = 100000;
    const struct loam_usage_request big = { .owner = LOAM_OWNER_USABLE, .size = PAGES(3) };
    const struct loam_usage_request low = { .owner = LOAM_OWNER_USABLE,
                                            .size = PAGES(3),
                                            .limit = PAGES(1000) };

    (void)state;
    empty_map(2400);
    fill(count);
    assert_true(usage.height >= 2);
    const struct loam_phys_range usable = pages(2 * (count - 100), 4);
    assert_int_equal(loam_usage_overwrite(&usage, usable, LOAM_OWNER_USABLE), LOAM_OK);
    assert_int_equal(loam_usage_cut(&usage, pages(2 * (count - 60), 4)), LOAM_OK);
    check_sound();
    for (unsigned i = 0; i < 2000; i++) {
        assert_int_equal(loam_usage_find(&usage, &big).addr, usable.start.addr);
        assert_int_equal(loam_usage_find_gap(&usage, &big).addr, PAGES(2 * (count - 60) - 1));
        assert_true(loam_phys_is_none(loam_usage_find(&usage, &low)));
        assert_true(loam_phys_is_none(loam_usage_find_gap(&usage, &low)));
    }
}

/* Places large enough that are not aligned, in leaves apart: on to the next one. */
static void usage_find_goes_on_where_alignment_fails(void **state)
{
    (void)state;
    empty_map(100);
    fill(4000); /* even pages */
    for (uint64_t i = 0; i < 4; i++) {
        assert_int_equal(loam_usage_cut(&usage, pages(1000 + 1500 * i, 8)), LOAM_OK);
        assert_int_equal(loam_usage_overwrite(&usage, pages(1700 + 1500 * i, 8), LOAM_OWNER_USABLE),
                         LOAM_OK);
    }
    check_sound();
    for (uint64_t align = 1; align <= 8192; align *= 2) {
        const struct loam_usage_request request = { .owner = LOAM_OWNER_USABLE,
                                                    .size = PAGES(4),
                                                    .align_bytes = PAGES(align) };
        uint64_t gap = UINT64_MAX;
        uint64_t usable = UINT64_MAX;
        for (uint64_t page = 8000; page-- > 0;) {
            const uint64_t in = page % 1500;
            if (page % align == 0 && page > 900 && page < 7000 && in >= 999 && in <= 1005)
                gap = page;
            if (page % align == 0 && page > 900 && page < 7000 && in >= 200 && in <= 204 &&
                page >= 1700)
                usable = page;
        }
        gap = gap != UINT64_MAX ? gap : (7999 + align - 1) / align * align;
        assert_int_equal(loam_usage_find_gap(&usage, &request).addr, PAGES(gap));
        assert_int_equal(loam_usage_find(&usage, &request).addr,
                         usable == UINT64_MAX ? UINT64_MAX : PAGES(usable));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usage_find_is_the_first_fit),
        cmocka_unit_test(usage_find_at_every_edge),
        cmocka_unit_test(usage_find_gap_at_every_edge),
        cmocka_unit_test(usage_find_in_nothing_and_in_all),
        cmocka_unit_test(usage_find_skips_what_is_too_small),
        cmocka_unit_test(usage_find_goes_on_where_alignment_fails),
    };
    return RUN_TESTS(tests);
}
