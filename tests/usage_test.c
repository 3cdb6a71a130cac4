/*
 * usage_test.c - layer 3 by examples: pictures, edges, iteration, the digest.
 */
#include "usage_world.h"

/* ---- pictures: one character per page ------------------------------------ */

#define PICTURE_PAGES 16u
static const char letters[LOAM_OWNERS + 1] = "UBXPHMKAFNRGD";

/* The first 16 pages: a letter per page of an owner, '.' for a gap, '|' where
 * two intervals touch. */
static const char *picture(void)
{
    static char text[2 * PICTURE_PAGES + 1];
    struct loam_interval interval;
    size_t length = 0;
    bool owned_before = false;

    for (uint64_t page = 0; page < PICTURE_PAGES; page++) {
        const bool owned = loam_usage_lookup(&usage, loam_phys_at(PAGES(page)), &interval);
        if (owned && owned_before && interval.range.start.addr == PAGES(page))
            text[length++] = '|';
        text[length++] = owned ? letters[interval.owner] : '.';
        owned_before = owned;
    }
    while (length > 0 && text[length - 1] == '.')
        length--;
    text[length] = '\0';
    return text;
}

static enum loam_owner owner_of(char letter)
{
    return (enum loam_owner)(strchr(letters, letter) - letters);
}

/* The map that picture() would show so. */
static void draw(const char *text)
{
    empty_map(8);
    for (uint64_t page = 0; *text != '\0';) {
        const size_t count = *text == '.' ? 1 : strspn(text, (char[]){ *text, '\0' });
        if (*text != '.')
            assert_int_equal(loam_usage_insert(&usage, pages(page, count), owner_of(*text)),
                             LOAM_OK);
        page += count;
        text += count;
        text += *text == '|' ? 1 : 0;
    }
}

static void expect(const char *want)
{
    assert_string_equal(picture(), want);
    check_sound();
}

/* ---- examples ------------------------------------------------------------ */

/* Touching intervals stay apart, also those of one owner. */
static void usage_strict_insert_never_merges(void **state)
{
    (void)state;
    draw("UU.KK");
    assert_int_equal(loam_usage_insert(&usage, pages(2, 1), LOAM_OWNER_KERNEL), LOAM_OK);
    expect("UU|K|KK");
    assert_int_equal(usage.interval_count, 3);
}

/*
 *   have     [UUUU)..[KK)       any byte of an interval is enough to refuse,
 *   insert  [....)[..)[..)      whoever owns it
 */
static void usage_U01_overlap_is_refused(void **state)
{
    static const uint64_t where[][2] = { { 2, 1 }, { 1, 2 }, { 5, 3 }, { 0, 8 }, { 4, 4 },
                                         { 7, 1 }, { 8, 4 }, { 3, 2 }, { 0, 99 } };

    (void)state;
    draw("..UUUU.KK");
    for (size_t i = 0; i < sizeof(where) / sizeof(where[0]); i++) {
        const struct loam_phys_range range = pages(where[i][0], where[i][1]);
        EXPECT_REFUSED(loam_usage_insert(&usage, range, LOAM_OWNER_USABLE), LOAM_OVERLAP);
        EXPECT_REFUSED(loam_usage_insert(&usage, range, LOAM_OWNER_HEAP), LOAM_OVERLAP);
        EXPECT_REFUSED(loam_usage_insert_merge(&usage, range, LOAM_OWNER_USABLE), LOAM_OVERLAP);
        EXPECT_REFUSED(loam_usage_insert_merge(&usage, range, LOAM_OWNER_HEAP), LOAM_OVERLAP);
    }
    /* One byte at either edge. */
    EXPECT_REFUSED(loam_usage_insert(&usage, bytes(PAGES(6) - 1, 1), LOAM_OWNER_USABLE),
                   LOAM_OVERLAP);
    EXPECT_REFUSED(loam_usage_insert(&usage, bytes(PAGES(1), PAGES(1) + 1), LOAM_OWNER_USABLE),
                   LOAM_OVERLAP);
    expect("..UUUU.KK");
}

static void usage_U01_overwrite_takes_from_every_owner(void **state)
{
    (void)state;
    draw("UUUU|KKK.HHH");
    assert_int_equal(loam_usage_overwrite(&usage, pages(2, 7), LOAM_OWNER_PAGE_TABLES), LOAM_OK);
    expect("UU|PPPPPPP|HH");
    draw("UUUUUU");
    assert_int_equal(loam_usage_overwrite(&usage, pages(2, 2), LOAM_OWNER_HEAP), LOAM_OK);
    expect("UU|HH|UU");
    assert_int_equal(loam_usage_overwrite(&usage, pages(2, 2), LOAM_OWNER_USABLE), LOAM_OK);
    expect("UUUUUU");
    assert_int_equal(loam_usage_overwrite(&usage, pages(0, 6), LOAM_OWNER_KERNEL), LOAM_OK);
    expect("KKKKKK");
}

/* The whole and its overlap of the same owner become one. */
static void usage_overwrite_merges_with_overlapping_equals(void **state)
{
    (void)state;
    draw("UUU.KK.UUU");
    assert_int_equal(loam_usage_overwrite(&usage, pages(2, 6), LOAM_OWNER_USABLE), LOAM_OK);
    expect("UUUUUUUUUU");
    assert_int_equal(loam_usage_overwrite(&usage, pages(3, 2), LOAM_OWNER_USABLE), LOAM_OK);
    expect("UUUUUUUUUU");
    draw("U|U|U|U");
    assert_int_equal(loam_usage_overwrite(&usage, pages(1, 1), LOAM_OWNER_USABLE), LOAM_OK);
    expect("UUU|U");
}

/* A toucher of another owner keeps its place. */
static void usage_U02_touching_equals_become_one(void **state)
{
    (void)state;
    draw("UU.KK");
    assert_int_equal(loam_usage_insert_merge(&usage, pages(2, 1), LOAM_OWNER_USABLE), LOAM_OK);
    expect("UUU|KK");
    draw("UU.KK");
    assert_int_equal(loam_usage_insert_merge(&usage, pages(2, 1), LOAM_OWNER_KERNEL), LOAM_OK);
    expect("UU|KKK");
    draw("UU.UU");
    assert_int_equal(loam_usage_insert_merge(&usage, pages(2, 1), LOAM_OWNER_USABLE), LOAM_OK);
    expect("UUUUU");
    draw("UU.UU");
    assert_int_equal(loam_usage_insert_merge(&usage, pages(2, 1), LOAM_OWNER_HEAP), LOAM_OK);
    expect("UU|H|UU");
    draw("UU...UU");
    assert_int_equal(loam_usage_insert_merge(&usage, pages(3, 1), LOAM_OWNER_USABLE), LOAM_OK);
    expect("UU.U.UU");
}

static void usage_U03_cut_splits_and_trims(void **state)
{
    (void)state;
    draw("UUUUU");
    assert_int_equal(loam_usage_cut(&usage, pages(2, 1)), LOAM_OK);
    expect("UU.UU");
    assert_int_equal(loam_usage_cut(&usage, pages(0, 1)), LOAM_OK);
    expect(".U.UU");
    assert_int_equal(loam_usage_cut(&usage, pages(4, 9)), LOAM_OK);
    expect(".U.U");
    EXPECT_REFUSED(loam_usage_cut(&usage, pages(2, 1)), LOAM_NOT_FOUND);
    EXPECT_REFUSED(loam_usage_cut(&usage, pages(4, 100)), LOAM_NOT_FOUND);
    EXPECT_REFUSED(loam_usage_cut(&usage, pages(0, 1)), LOAM_NOT_FOUND);

    draw("UUU|KK.HHH");
    assert_int_equal(loam_usage_cut(&usage, pages(1, 7)), LOAM_OK);
    expect("U.......H");
    assert_int_equal(loam_usage_cut(&usage, pages(0, 100)), LOAM_OK);
    expect("");
    assert_int_equal(usage.node_frame_count, 0);
    EXPECT_REFUSED(loam_usage_cut(&usage, pages(0, 100)), LOAM_NOT_FOUND);
}

/* ---- edges of the address space ------------------------------------------ */

static const uint64_t edges[] = {
    0,
    1,
    4095,
    4096,
    (UINT64_C(1) << 63) - 1,
    UINT64_C(1) << 63,
    (UINT64_C(1) << 63) + 1,
    UINT64_MAX - 4095,
    UINT64_MAX - 1,
    UINT64_MAX,
};
#define EDGES (sizeof(edges) / sizeof(edges[0]))

static void expect_exactly(uint64_t first, uint64_t last)
{
    struct loam_interval got = { bytes(7, 7), LOAM_OWNER_BAD };

    assert_true(loam_usage_lookup(&usage, loam_phys_at(first), &got));
    assert_int_equal(got.range.start.addr, first);
    assert_int_equal(got.range.size, last - first + 1);
    assert_int_equal(got.owner, LOAM_OWNER_HEAP);
    assert_true(loam_usage_lookup(&usage, loam_phys_at(last), &got));
    assert_int_equal(usage.interval_count, 1);
    assert_int_equal(loam_usage_total(&usage, LOAM_OWNER_HEAP), last - first + 1);
    got.owner = LOAM_OWNER_BAD;
    if (first > 0)
        assert_false(loam_usage_lookup(&usage, loam_phys_at(first - 1), &got));
    if (last < UINT64_MAX) {
        assert_false(loam_usage_lookup(&usage, loam_phys_at(last + 1), &got));
        assert_false(loam_usage_next(&usage, loam_phys_at(last + 1), &got));
    }
    assert_int_equal(got.owner, LOAM_OWNER_BAD); /* untouched */
    check_sound();
}

/* Every start with every size, for every changing call: refused if empty or past
 * 2^64, else exact. */
static void usage_U04_ranges_at_every_edge(void **state)
{
    __extension__ typedef unsigned __int128 wide;

    (void)state;
    empty_map(4);
    for (size_t i = 0; i < EDGES * EDGES; i++) {
        const uint64_t start = edges[i / EDGES];
        const uint64_t size = edges[i % EDGES];
        const struct loam_phys_range range = bytes(start, size);
        if (size == 0 || (wide)start + size > (wide)1 << 64) {
            EXPECT_REFUSED(loam_usage_insert(&usage, range, LOAM_OWNER_HEAP), LOAM_INVALID);
            EXPECT_REFUSED(loam_usage_insert_merge(&usage, range, LOAM_OWNER_HEAP), LOAM_INVALID);
            EXPECT_REFUSED(loam_usage_overwrite(&usage, range, LOAM_OWNER_HEAP), LOAM_INVALID);
            EXPECT_REFUSED(loam_usage_cut(&usage, range), LOAM_INVALID);
            continue;
        }
        const uint64_t last = start + (size - 1);
        EXPECT_REFUSED(loam_usage_cut(&usage, range), LOAM_NOT_FOUND);
        assert_int_equal(loam_usage_insert(&usage, range, LOAM_OWNER_HEAP), LOAM_OK);
        expect_exactly(start, last);
        EXPECT_REFUSED(loam_usage_insert_merge(&usage, range, LOAM_OWNER_HEAP), LOAM_OVERLAP);
        assert_int_equal(loam_usage_cut(&usage, range), LOAM_OK);
        assert_int_equal(loam_usage_insert_merge(&usage, range, LOAM_OWNER_HEAP), LOAM_OK);
        expect_exactly(start, last);
        assert_int_equal(loam_usage_overwrite(&usage, range, LOAM_OWNER_KERNEL), LOAM_OK);
        assert_int_equal(loam_usage_overwrite(&usage, range, LOAM_OWNER_HEAP), LOAM_OK);
        expect_exactly(start, last);
        assert_int_equal(loam_usage_cut(&usage, range), LOAM_OK);
        assert_int_equal(usage.interval_count, 0);
    }
}

/* The two halves of the address space become one interval of 2^64 bytes. */
static void usage_U04_the_whole_address_space_is_one_interval(void **state)
{
    const uint64_t half = UINT64_C(1) << 63;
    struct loam_interval got;
    loam_phys end = loam_phys_at(42);

    (void)state;
    empty_map(4);
    assert_int_equal(loam_usage_insert(&usage, bytes(0, half), LOAM_OWNER_HEAP), LOAM_OK);
    assert_int_equal(loam_usage_insert_merge(&usage, bytes(half, half), LOAM_OWNER_HEAP), LOAM_OK);
    expect_exactly(0, UINT64_MAX);
    assert_true(loam_usage_lookup(&usage, loam_phys_at(half), &got));
    assert_int_equal(got.range.size, 0);
    assert_false(loam_interval_end(&got, &end));
    assert_int_equal(end.addr, 42);

    assert_int_equal(loam_usage_overwrite(&usage, bytes(half, 1), LOAM_OWNER_BAD), LOAM_OK);
    assert_int_equal(usage.interval_count, 3);
    assert_int_equal(loam_usage_total(&usage, LOAM_OWNER_HEAP), UINT64_MAX);
    assert_int_equal(loam_usage_overwrite(&usage, bytes(half, 1), LOAM_OWNER_HEAP), LOAM_OK);
    expect_exactly(0, UINT64_MAX);
    assert_int_equal(loam_usage_cut(&usage, bytes(1, UINT64_MAX - 1)), LOAM_OK);
    assert_int_equal(loam_usage_total(&usage, LOAM_OWNER_HEAP), 2);
    check_sound();
}

static void usage_U07_lookup_is_exact_to_the_byte(void **state)
{
    struct loam_interval got;

    (void)state;
    empty_map(4);
    assert_int_equal(loam_usage_insert(&usage, bytes(100, 50), LOAM_OWNER_HEAP), LOAM_OK);
    assert_int_equal(loam_usage_insert(&usage, bytes(150, 1), LOAM_OWNER_KERNEL), LOAM_OK);
    for (uint64_t at = 90; at < 160; at++) {
        const bool owned = loam_usage_lookup(&usage, loam_phys_at(at), &got);
        assert_int_equal(owned, at >= 100 && at <= 150);
        if (owned)
            assert_int_equal(got.owner, at < 150 ? LOAM_OWNER_HEAP : LOAM_OWNER_KERNEL);
        assert_int_equal(loam_usage_next(&usage, loam_phys_at(at), &got), at <= 150);
    }
    for (size_t i = 0; i < EDGES; i++) {
        assert_false(loam_usage_lookup(&usage, loam_phys_at(edges[i]), &got));
        assert_int_equal(loam_usage_next(&usage, loam_phys_at(edges[i]), &got), edges[i] <= 150);
    }
}

static void usage_U09_unknown_owner_is_refused(void **state)
{
    static const unsigned unknown[] = { LOAM_OWNERS, LOAM_OWNERS + 1, 0x7fffffffu, 0x80000000u,
                                        0xffffffffu };

    (void)state;
    draw("UU.KK");
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        const enum loam_owner owner = (enum loam_owner)unknown[i];
        EXPECT_REFUSED(loam_usage_insert(&usage, pages(8, 1), owner), LOAM_INVALID);
        EXPECT_REFUSED(loam_usage_insert_merge(&usage, pages(8, 1), owner), LOAM_INVALID);
        EXPECT_REFUSED(loam_usage_overwrite(&usage, pages(0, 1), owner), LOAM_INVALID);
        assert_int_equal(loam_usage_total(&usage, owner), 0);
        const struct loam_usage_request request = { .owner = owner, .size = 1 };
        assert_true(loam_phys_is_none(loam_usage_find(&usage, &request)));
        assert_string_equal(loam_owner_name(owner), "unknown");
        assert_int_equal(loam_owner_of_type((enum loam_mem_type)unknown[i]), LOAM_OWNER_RESERVED);
    }
}

static void expect_no_stock(void)
{
    EXPECT_PANIC("usage: no stock of nodes", loam_usage_init(&usage, NULL));
}

static void usage_without_a_stock_panics(void **state)
{
    (void)state;
    expect_no_stock();
}

/* ---- iteration ----------------------------------------------------------- */

/* U10: between any two steps another CPU changes the map around the place; the
 * intervals that stay are seen once each, in order. */
static void usage_U10_iteration_while_the_map_changes(void **state)
{
    struct loam_interval interval;
    loam_phys at = loam_phys_at(0);
    uint64_t stable = 0; /* next page number divisible by 10 */
    bool more;

    (void)state;
    empty_map(32);
    for (uint64_t i = 0; i < 500; i++)
        assert_int_equal(loam_usage_insert(&usage, pages(10 * i, 1), LOAM_OWNER_HEAP), LOAM_OK);
    do {
        const uint64_t near = 10 * test_random_below(500) + 2;
        if (loam_usage_insert(&usage, pages(near, 4), LOAM_OWNER_BAD) == LOAM_OVERLAP)
            assert_int_equal(loam_usage_cut(&usage, pages(near, 4)), LOAM_OK);
        const uint64_t here = (at.addr >> LOAM_PAGE_SHIFT) / 10 * 10 + 2;
        assert_int_equal(loam_usage_overwrite(&usage, pages(here, 4), LOAM_OWNER_BAD), LOAM_OK);
        more = loam_usage_next(&usage, at, &interval);
        if (more && interval.owner == LOAM_OWNER_HEAP) {
            assert_int_equal(interval.range.start.addr, PAGES(stable));
            stable += 10;
        }
    } while (more && loam_interval_end(&interval, &at));
    assert_int_equal(stable, 5000);
    check_sound();
}

/*
 *   have   [UUUU)[KK)..[HH)[UU)
 *   range     [........)          first K whole, then H: what only touches is out
 */
static void usage_next_in_gives_what_overlaps(void **state)
{
    struct loam_interval got = { bytes(7, 7), LOAM_OWNER_BAD };
    const struct loam_phys_range range = pages(3, 6); /* [3, 9) */
    static const uint64_t want[][3] = { { 0, 4, LOAM_OWNER_USABLE },
                                        { 4, 2, LOAM_OWNER_KERNEL },
                                        { 8, 2, LOAM_OWNER_HEAP } };
    loam_phys at = loam_phys_at(0); /* below the range: at its start */
    size_t found = 0;

    (void)state;
    draw("UUUU|KK..HH|UU");
    bool more = loam_usage_next_in(&usage, range, at, &got);
    while (more) {
        assert_true(found < 3);
        assert_int_equal(got.range.start.addr, PAGES(want[found][0]));
        assert_int_equal(got.range.size, PAGES(want[found][1]));
        assert_int_equal(got.owner, want[found][2]);
        found++;
        more = loam_interval_end(&got, &at) && loam_usage_next_in(&usage, range, at, &got);
    }
    assert_int_equal(found, 3);

    got.owner = LOAM_OWNER_BAD;
    assert_false(loam_usage_next_in(&usage, pages(6, 2), loam_phys_at(0), &got)); /* the gap */
    assert_false(loam_usage_next_in(&usage, pages(12, 9), loam_phys_at(0), &got));
    assert_false(loam_usage_next_in(&usage, pages(0, 2), loam_phys_at(PAGES(2)), &got));
    assert_false(loam_usage_next_in(&usage, pages(2, 0), loam_phys_at(0), &got));
    assert_false(loam_usage_next_in(&usage, bytes(PAGES(1), UINT64_MAX), loam_phys_at(0), &got));
    assert_int_equal(got.owner, LOAM_OWNER_BAD); /* untouched */
    /* A byte of the range, and one at or above. */
    assert_true(loam_usage_next_in(&usage, bytes(PAGES(4) - 1, 1), loam_phys_at(0), &got));
    assert_int_equal(got.owner, LOAM_OWNER_USABLE);
    assert_true(loam_usage_next_in(&usage, pages(0, 2), loam_phys_at(PAGES(2) - 1), &got));
}

/* U10: one moment, whoever else changes the map; too little room is told. */
static void usage_U10_snapshot_is_one_moment(void **state)
{
    struct loam_interval copy[8];
    uint64_t existing = 0;

    (void)state;
    empty_map(4);
    assert_int_equal(loam_usage_snapshot(&usage, loam_phys_at(0), copy, 8, &existing), 0);
    assert_int_equal(existing, 0);
    draw("UUUU|KK..HH|UU");
    assert_int_equal(loam_usage_snapshot(&usage, loam_phys_at(0), NULL, 0, &existing), 0);
    assert_int_equal(existing, 4);
    assert_int_equal(loam_usage_snapshot(&usage, loam_phys_at(0), copy, 8, NULL), 4);
    assert_int_equal(copy[0].range.start.addr, 0);
    assert_int_equal(copy[0].range.size, PAGES(4));
    assert_int_equal(copy[2].owner, LOAM_OWNER_HEAP);
    assert_int_equal(copy[3].range.start.addr, PAGES(10));
    assert_int_equal(loam_usage_snapshot(&usage, loam_phys_at(PAGES(5)), copy, 2, &existing), 2);
    assert_int_equal(copy[0].owner, LOAM_OWNER_KERNEL);
    assert_int_equal(copy[1].owner, LOAM_OWNER_HEAP);
    assert_int_equal(existing, 4);
    assert_int_equal(loam_usage_snapshot(&usage, loam_phys_at(PAGES(12)), copy, 8, &existing), 0);
    assert_int_equal(existing, 4);
}

/*
 *   have   [UUUU)[KK)..[HH)[UU)
 *   range    [............)       U 2, K 2, H 1 pages
 */
static void usage_totals_in_count_what_is_inside(void **state)
{
    struct loam_usage_totals totals;

    (void)state;
    draw("UUUU|KK..HH|UU");
    memset(&totals, 0xa5, sizeof(totals));
    assert_int_equal(loam_usage_totals_in(&usage, pages(2, 7), &totals), LOAM_OK);
    for (unsigned owner = 0; owner < LOAM_OWNERS; owner++)
        assert_int_equal(totals.bytes[owner], owner == LOAM_OWNER_USABLE   ? PAGES(2)
                                              : owner == LOAM_OWNER_KERNEL ? PAGES(2)
                                              : owner == LOAM_OWNER_HEAP   ? PAGES(1)
                                                                           : 0);
    assert_int_equal(totals.interval_count, 3);
    assert_int_equal(loam_usage_totals_in(&usage, bytes(PAGES(4) - 1, 2), &totals), LOAM_OK);
    assert_int_equal(totals.bytes[LOAM_OWNER_USABLE], 1);
    assert_int_equal(totals.bytes[LOAM_OWNER_KERNEL], 1);
    assert_int_equal(loam_usage_totals_in(&usage, bytes(PAGES(6), PAGES(2)), &totals), LOAM_OK);
    assert_int_equal(totals.interval_count, 0);
    assert_int_equal(loam_usage_totals_in(&usage, bytes(PAGES(1), UINT64_MAX), &totals),
                     LOAM_INVALID);
    assert_int_equal(loam_usage_totals_in(&usage, pages(1, 0), &totals), LOAM_INVALID);
    assert_int_equal(totals.interval_count, 0); /* untouched */
}

/* ---- the digest ---------------------------------------------------------- */

/* The digest tells maps apart that differ in one thing only. */
static void usage_digest_sees_every_difference(void **state)
{
    static const char *const maps[] = { "",    "U",   "K",    ".U",   "UU",    "U|U",   "U.U",
                                        "U|K", "K|U", "UU|K", "UU.U", "U..UU", ".U.UU", "UU..U" };
    uint64_t digests[sizeof(maps) / sizeof(maps[0])];

    (void)state;
    for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++) {
        draw(maps[i]);
        digests[i] = loam_usage_digest(&usage);
        for (size_t j = 0; j < i; j++)
            assert_int_not_equal(digests[i], digests[j]);
        draw(maps[i]);
        assert_int_equal(loam_usage_digest(&usage), digests[i]);
    }
    for (unsigned owner = 0; owner < LOAM_OWNERS; owner++) {
        draw("UU|K");
        const uint64_t digest = loam_usage_digest(&usage);
        usage.total_bytes[owner] ^= 1;
        assert_int_not_equal(loam_usage_digest(&usage), digest);
        usage.total_bytes[owner] ^= 1;
        usage.owner_count[owner] ^= 1;
        assert_int_not_equal(loam_usage_digest(&usage), digest);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usage_strict_insert_never_merges),
        cmocka_unit_test(usage_U01_overlap_is_refused),
        cmocka_unit_test(usage_U01_overwrite_takes_from_every_owner),
        cmocka_unit_test(usage_overwrite_merges_with_overlapping_equals),
        cmocka_unit_test(usage_U02_touching_equals_become_one),
        cmocka_unit_test(usage_U03_cut_splits_and_trims),
        cmocka_unit_test(usage_U04_ranges_at_every_edge),
        cmocka_unit_test(usage_U04_the_whole_address_space_is_one_interval),
        cmocka_unit_test(usage_U07_lookup_is_exact_to_the_byte),
        cmocka_unit_test(usage_U09_unknown_owner_is_refused),
        cmocka_unit_test(usage_without_a_stock_panics),
        cmocka_unit_test(usage_U10_iteration_while_the_map_changes),
        cmocka_unit_test(usage_next_in_gives_what_overlaps),
        cmocka_unit_test(usage_U10_snapshot_is_one_moment),
        cmocka_unit_test(usage_totals_in_count_what_is_inside),
        cmocka_unit_test(usage_digest_sees_every_difference),
    };
    return RUN_TESTS(tests);
}
