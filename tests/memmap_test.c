/*
 * memmap_test.c - layer 1 against pictures. See also memmap_refusal_test.c and
 * memmap_model_test.c.
 */
#include "memmap_fixture.h"

#include <time.h>

/* ---- pictures ------------------------------------------------------------ */

/*
 *   raw     [ usable                 )
 *                 [ reserved )
 *   want    [usbl )[ reserved )[usbl )
 */
static void reserved_splits_usable(void **state)
{
    const struct loam_memmap_entry raw[] = { pages(1, 9, U), pages(3, 6, R) };
    const struct loam_memmap_entry want[] = { pages(1, 3, U), pages(3, 6, R), pages(6, 9, U) };
    (void)state;
    EXPECT_MAP(raw, want, [LOAM_REPAIR_OVERLAP] = 1);
}

/*
 *   raw     [ reserved )         [ usable )
 *   want    [ reserved )  hole   [ usable )
 */
static void hole_stays_a_hole(void **state)
{
    const struct loam_memmap_entry raw[] = { pages(1, 4, R), pages(9, 12, U) };
    (void)state;
    EXPECT_MAP(raw, raw, 0);
}

static void memmap_M05_zero_length_entry_is_dropped_and_counted(void **state)
{
    const struct loam_memmap_entry raw[] = { pages(3, 3, U), pages(1, 4, U), entry(PAGES(2), 0, R),
                                             entry(UINT64_MAX, 0, (enum loam_mem_type)77) };
    const struct loam_memmap_entry want[] = { pages(1, 4, U) };
    (void)state;
    EXPECT_MAP(raw, want, [LOAM_REPAIR_EMPTY] = 3);

    const struct loam_memmap_entry nothing[] = { pages(3, 3, U) };
    struct fixture f;
    fixture_make(&f, nothing, 1); /* nothing is left: still a map */
    assert_int_equal(f.map.entry_count, 0);
    assert_int_equal(loam_memmap_find(&f.map, loam_phys_at(0)), 0);
    fixture_free(&f);
}

/*
 *   raw     [ reserved, size wraps ............... 2^64 ....)
 *   want    [ reserved ) 2^52
 */
static void memmap_M06_wrap_is_clipped(void **state)
{
    const struct loam_memmap_entry wraps[] = { entry(PAGES(4), UINT64_MAX, R) };
    const struct loam_memmap_entry by_one[] = { entry(PAGES(4), 0 - PAGES(4) + 1, R) };
    const struct loam_memmap_entry exact[] = { entry(PAGES(4), 0 - PAGES(4), R) };
    const struct loam_memmap_entry high[] = { entry(UINT64_MAX, 2, U), pages(1, 2, U) };
    const struct loam_memmap_entry want[] = {
        entry(PAGES(4), (UINT64_C(1) << 52) - PAGES(4), R),
    };
    const struct loam_memmap_entry want_low[] = { pages(1, 2, U) };
    (void)state;
    EXPECT_MAP(wraps, want, [LOAM_REPAIR_WRAP] = 1, [LOAM_REPAIR_LIMIT] = 1);
    EXPECT_MAP(by_one, want, [LOAM_REPAIR_WRAP] = 1, [LOAM_REPAIR_LIMIT] = 1);
    EXPECT_MAP(exact, want, [LOAM_REPAIR_LIMIT] = 1); /* ending at 2^64 is no wrap */
    EXPECT_MAP(high, want_low, [LOAM_REPAIR_WRAP] = 1, [LOAM_REPAIR_LIMIT] = 1);
}

/*
 *   page       1    2    3    4
 *   raw          [ usable )              sub-page remains ...
 *   want       [rsv)[usb)[rsv)           ... become reserved
 */
static void memmap_M07_unaligned_usable_shrinks_inward(void **state)
{
    const struct loam_memmap_entry both[] = { entry(PAGES(1) + 1, PAGES(2), U) };
    const struct loam_memmap_entry want_both[] = { pages(1, 2, R), pages(2, 3, U), pages(3, 4, R) };
    const struct loam_memmap_entry low[] = { entry(PAGES(2) - 1, PAGES(1) + 1, U) };
    const struct loam_memmap_entry want_low[] = { pages(1, 2, R), pages(2, 3, U) };
    const struct loam_memmap_entry high[] = { entry(PAGES(2), PAGES(1) + 1, U) };
    const struct loam_memmap_entry want_high[] = { pages(2, 3, U), pages(3, 4, R) };
    (void)state;
    EXPECT_MAP(both, want_both, [LOAM_REPAIR_SHRUNK] = 1);
    EXPECT_MAP(low, want_low, [LOAM_REPAIR_SHRUNK] = 1);
    EXPECT_MAP(high, want_high, [LOAM_REPAIR_SHRUNK] = 1);
}

/* Less than a page, inside one page and over a boundary: nothing usable. */
static void memmap_M07_usable_without_a_whole_page_is_reserved(void **state)
{
    const struct loam_memmap_entry inside[] = { entry(PAGES(1) + 16, 32, U) };
    const struct loam_memmap_entry want_inside[] = { pages(1, 2, R) };
    const struct loam_memmap_entry across[] = { entry(PAGES(2) - 16, 32, U) };
    const struct loam_memmap_entry want_across[] = { pages(1, 3, R) };
    (void)state;
    EXPECT_MAP(inside, want_inside, [LOAM_REPAIR_SHRUNK] = 1);
    EXPECT_MAP(across, want_across, [LOAM_REPAIR_SHRUNK] = 1);
}

/* The page that ACPI data and usable memory share stays ACPI's: reserving it
 * instead would take the tables out of the direct map. */
static void memmap_M07_partly_usable_page_keeps_what_else_is_there(void **state)
{
    const struct loam_memmap_entry raw[] = {
        entry(PAGES(1), PAGES(2) + 256, U),
        entry(PAGES(3) + 256, 512, LOAM_MEM_ACPI_RECLAIMABLE),
    };
    const struct loam_memmap_entry want[] = {
        pages(1, 3, U),
        pages(3, 4, LOAM_MEM_ACPI_RECLAIMABLE),
    };
    const struct loam_memmap_entry twice[] = { pages(1, 4, U), entry(PAGES(2) + 1, 1, U) };
    const struct loam_memmap_entry want_twice[] = { pages(1, 4, U) };
    (void)state;
    EXPECT_MAP(raw,
               want, [LOAM_REPAIR_SHRUNK] = 1, [LOAM_REPAIR_GROWN] = 1, [LOAM_REPAIR_OVERLAP] = 1);
    /* A page that another entry covers as a whole is usable. */
    EXPECT_MAP(twice, want_twice, [LOAM_REPAIR_SHRUNK] = 1);
}

static void memmap_M08_unaligned_reserved_grows_outward(void **state)
{
    const struct loam_memmap_entry raw[] = { entry(PAGES(2) - 1, 2, R),
                                             entry(PAGES(8), 1, LOAM_MEM_BAD),
                                             entry(PAGES(13) - 1, 1, LOAM_MEM_ACPI_NVS) };
    const struct loam_memmap_entry want[] = { pages(1, 3, R), pages(8, 9, LOAM_MEM_BAD),
                                              pages(12, 13, LOAM_MEM_ACPI_NVS) };
    (void)state;
    EXPECT_MAP(raw, want, [LOAM_REPAIR_GROWN] = 3);
}

/* Heap's algorithm, without recursion: all orders of a map give one result. */
static void memmap_M09_every_permutation_gives_the_same_map(void **state)
{
    struct loam_memmap_entry raw[] = {
        entry(0, PAGES(9) + 100, U),
        pages(3, 6, R),
        entry(PAGES(5) + 1, PAGES(3), LOAM_MEM_ACPI_NVS),
        pages(8, 8, U),
        entry(PAGES(7), PAGES(4), LOAM_MEM_EXECUTABLE),
        entry(PAGES(20) - 5, PAGES(1), (enum loam_mem_type)99),
    };
    size_t c[COUNT(raw)] = { 0 };
    struct fixture first;
    unsigned permutations = 1;
    (void)state;
    fixture_make(&first, raw, COUNT(raw));
    for (size_t i = 1; i < COUNT(raw);) {
        if (c[i] == i) {
            c[i++] = 0;
            continue;
        }
        swap(&raw[i % 2 == 0 ? 0 : c[i]], &raw[i]);
        c[i]++;
        i = 1;
        permutations++;

        struct fixture f;
        fixture_make(&f, raw, COUNT(raw));
        assert_entries(&f.map, first.map.entry, first.map.entry_count);
        assert_memory_equal(f.map.repair_count, first.map.repair_count, sizeof f.map.repair_count);
        assert_true(loam_memmap_digest(&f.map) == loam_memmap_digest(&first.map));
        fixture_free(&f);
    }
    assert_int_equal(permutations, 720);
    fixture_free(&first);
}

static void memmap_M10_duplicates_are_one_entry(void **state)
{
    const struct loam_memmap_entry raw[] = { pages(1, 4, U), pages(1, 4, U), pages(1, 4, U),
                                             pages(6, 7, R), pages(6, 7, R) };
    const struct loam_memmap_entry want[] = { pages(1, 4, U), pages(6, 7, R) };
    (void)state;
    EXPECT_MAP(raw, want, 0); /* one type: nothing was decided */
}

static void memmap_M11_reserved_wins_over_usable(void **state)
{
    const struct loam_memmap_entry partly[] = { pages(1, 5, U), pages(4, 8, R) };
    const struct loam_memmap_entry want_partly[] = { pages(1, 4, U), pages(4, 8, R) };
    const struct loam_memmap_entry inside[] = { pages(4, 5, U), pages(1, 8, R) };
    const struct loam_memmap_entry want_inside[] = { pages(1, 8, R) };
    const struct loam_memmap_entry exactly[] = { pages(1, 8, R), pages(1, 8, U) };
    const struct loam_memmap_entry several[] = { pages(1, 3, U), pages(4, 6, U), pages(7, 9, U),
                                                 pages(2, 8, R) };
    const struct loam_memmap_entry want_several[] = { pages(1, 2, U), pages(2, 8, R),
                                                      pages(8, 9, U) };
    (void)state;
    EXPECT_MAP(partly, want_partly, [LOAM_REPAIR_OVERLAP] = 1);
    EXPECT_MAP(inside, want_inside, [LOAM_REPAIR_OVERLAP] = 1);
    EXPECT_MAP(exactly, want_inside, [LOAM_REPAIR_OVERLAP] = 1);
    EXPECT_MAP(several, want_several, [LOAM_REPAIR_OVERLAP] = 3);
}

/*
 *   raw    [ a       )         for all pairs of types, in both orders
 *               [ b       )
 *   want   [ a  )[max)[ b )
 */
static void memmap_M12_precedence_is_the_order_of_types(void **state)
{
    (void)state;
    for (unsigned i = 0; i < LOAM_MEM_TYPES * LOAM_MEM_TYPES; i++) {
        const enum loam_mem_type a = (enum loam_mem_type)(i % LOAM_MEM_TYPES);
        const enum loam_mem_type b = (enum loam_mem_type)(i / LOAM_MEM_TYPES);
        const struct loam_memmap_entry raw[] = { pages(1, 5, a), pages(3, 8, b) };
        const struct loam_memmap_entry same[] = { pages(1, 8, a) };
        const struct loam_memmap_entry a_wins[] = { pages(1, 5, a), pages(5, 8, b) };
        const struct loam_memmap_entry b_wins[] = { pages(1, 3, a), pages(3, 8, b) };
        if (a == b)
            EXPECT_MAP(raw, same, 0);
        else if (a > b)
            EXPECT_MAP(raw, a_wins, [LOAM_REPAIR_OVERLAP] = 1);
        else
            EXPECT_MAP(raw, b_wins, [LOAM_REPAIR_OVERLAP] = 1);
    }
}

static void memmap_M13_three_types_on_one_page(void **state)
{
    (void)state;
    for (unsigned i = 0; i < LOAM_MEM_TYPES * LOAM_MEM_TYPES * LOAM_MEM_TYPES; i++) {
        const enum loam_mem_type a = (enum loam_mem_type)(i % LOAM_MEM_TYPES);
        const enum loam_mem_type b = (enum loam_mem_type)(i / LOAM_MEM_TYPES % LOAM_MEM_TYPES);
        const enum loam_mem_type c = (enum loam_mem_type)(i / LOAM_MEM_TYPES / LOAM_MEM_TYPES);
        const enum loam_mem_type ab = a > b ? a : b;
        const struct loam_memmap_entry raw[] = { pages(2, 3, a), pages(2, 3, b), pages(2, 3, c) };
        const struct loam_memmap_entry want[] = { pages(2, 3, ab > c ? ab : c) };
        EXPECT_MAP(raw, want, [LOAM_REPAIR_OVERLAP] = a != b || b != c);
    }
}

static void memmap_M14_touching_entries_merge_only_within_a_type(void **state)
{
    const struct loam_memmap_entry raw[] = { pages(3, 5, U), pages(1, 3, U), pages(5, 6, R),
                                             pages(6, 8, R), pages(8, 9, LOAM_MEM_ACPI_NVS) };
    const struct loam_memmap_entry want[] = { pages(1, 5, U), pages(5, 8, R),
                                              pages(8, 9, LOAM_MEM_ACPI_NVS) };
    (void)state;
    EXPECT_MAP(raw, want, 0);
}

static void memmap_M15_unknown_type_is_reserved(void **state)
{
    static const uint32_t unknown[] = { LOAM_MEM_TYPES, 13, 0x7fffffff, 0xf0000000, UINT32_MAX };
    const struct loam_memmap_entry want[] = { pages(1, 3, U), pages(3, 4, R) };
    (void)state;
    for (size_t i = 0; i < COUNT(unknown); i++) {
        const struct loam_memmap_entry raw[] = { pages(1, 3, U),
                                                 pages(3, 4, (enum loam_mem_type)unknown[i]) };
        EXPECT_MAP(raw, want, [LOAM_REPAIR_UNKNOWN_TYPE] = 1);
    }
}

/*
 *                                limit
 *   raw     [ usable below )[ a    |    )   [ b )
 *   want    [ usable below )[ a    )
 */
static void memmap_M16_memory_above_the_cpu_is_clipped_or_dropped(void **state)
{
    static const unsigned bits[] = { 32, 36, 39, 46, 52 };
    (void)state;
    for (size_t i = 0; i < COUNT(bits); i++) {
        const uint64_t limit = UINT64_C(1) << bits[i];
        const struct loam_memmap_entry raw[] = {
            entry(limit - PAGES(8), PAGES(4), U),
            entry(limit - PAGES(4), PAGES(8), R),
            entry(limit + PAGES(9), PAGES(1), U),
            entry(limit, 1, R),
        };
        const struct loam_memmap_entry want[] = {
            entry(limit - PAGES(8), PAGES(4), U),
            entry(limit - PAGES(4), PAGES(4), R),
        };
        const struct repairs repairs = { { [LOAM_REPAIR_LIMIT] = 3 } };
        struct fixture f;
        fixture_init(&f, raw, COUNT(raw));
        f.request.phys_bits = bits[i];
        fixture_build(&f);
        assert_entries(&f.map, want, COUNT(want));
        assert_repairs(&f.map, &repairs);
        fixture_free(&f);
    }
}

/*
 *                   window
 *   raw     [ usable   |       ) [nvs)  [usable)
 *   want    [ usable   )[ rsrvd )[nvs)  [rsrvd )
 */
static void memmap_M17_usable_above_the_window_is_unreachable(void **state)
{
    const struct loam_memmap_entry raw[] = { pages(1, 9, U), pages(9, 11, LOAM_MEM_ACPI_NVS),
                                             pages(12, 13, U) };
    const struct loam_memmap_entry want[] = { pages(1, 4, U), pages(4, 9, R),
                                              pages(9, 11, LOAM_MEM_ACPI_NVS), pages(12, 13, R) };
    const struct repairs repairs = { { [LOAM_REPAIR_UNREACHABLE] = 2 } };
    struct fixture f;
    (void)state;
    fixture_init(&f, raw, COUNT(raw));
    f.request.window_bytes = PAGES(4);
    fixture_build(&f);
    assert_entries(&f.map, want, COUNT(want));
    assert_repairs(&f.map, &repairs);

    f.request.window_bytes = PAGES(5) - 1; /* a page that is shown in part is not shown */
    fixture_build(&f);
    assert_entries(&f.map, want, COUNT(want));

    f.request.window_bytes = PAGES(13); /* all is shown */
    fixture_build(&f);
    assert_entries(&f.map, raw, COUNT(raw));
    f.request.window_bytes = UINT64_MAX;
    fixture_build(&f);
    assert_entries(&f.map, raw, COUNT(raw));

    f.request.window_bytes = 1; /* nothing is */
    fixture_build(&f);
    assert_int_equal(f.map.total_bytes[U], 0);
    fixture_free(&f);
}

static void memmap_M19_usable_below_1_mib_only(void **state)
{
    const struct loam_memmap_entry raw[] = { entry(0, 0x9fc00, U), entry(0x9fc00, 0x400, R),
                                             entry(0xf0000, 0x10000, R) };
    const struct loam_memmap_entry want[] = { pages(0, 1, R), pages(1, 0x9f, U),
                                              pages(0x9f, 0xa0, R), pages(0xf0, 0x100, R) };
    (void)state;
    EXPECT_MAP(raw, want, [LOAM_REPAIR_PAGE_ZERO] = 1, [LOAM_REPAIR_SHRUNK] = 1,
               [LOAM_REPAIR_GROWN] = 1, [LOAM_REPAIR_OVERLAP] = 1);
}

static void memmap_M20_frame_0_is_never_usable(void **state)
{
    const struct loam_memmap_entry more[] = { pages(0, 3, U) };
    const struct loam_memmap_entry want_more[] = { pages(0, 1, R), pages(1, 3, U) };
    const struct loam_memmap_entry only[] = { pages(0, 1, U) };
    const struct loam_memmap_entry want_only[] = { pages(0, 1, R) };
    const struct loam_memmap_entry kernel[] = { pages(0, 3, U), pages(0, 2, LOAM_MEM_EXECUTABLE) };
    const struct loam_memmap_entry want_kernel[] = { pages(0, 2, LOAM_MEM_EXECUTABLE),
                                                     pages(2, 3, U) };
    const struct loam_memmap_entry rest[] = { pages(0, 2, U), pages(1, 3, R) };
    const struct loam_memmap_entry want_rest[] = { pages(0, 3, R) };
    (void)state;
    EXPECT_MAP(more, want_more, [LOAM_REPAIR_PAGE_ZERO] = 1);
    EXPECT_MAP(only, want_only, [LOAM_REPAIR_PAGE_ZERO] = 1);
    EXPECT_MAP(kernel, want_kernel, [LOAM_REPAIR_OVERLAP] = 1);
    EXPECT_MAP(rest, want_rest, [LOAM_REPAIR_PAGE_ZERO] = 1, [LOAM_REPAIR_OVERLAP] = 1);
}

static void memmap_M21_last_possible_frame(void **state)
{
    const uint64_t last = (UINT64_C(1) << 52) - LOAM_PAGE_SIZE;
    const struct loam_memmap_entry raw[] = { entry(last, PAGES(1), U) };
    const struct loam_memmap_entry all[] = { entry(0, UINT64_C(1) << 52, LOAM_MEM_BAD) };
    struct fixture f;
    (void)state;
    EXPECT_MAP(raw, raw, 0);
    EXPECT_MAP(all, all, 0);

    fixture_make(&f, raw, 1);
    assert_int_equal(loam_memmap_find(&f.map, loam_phys_at(last - 1)), 0);
    assert_int_equal(loam_memmap_find(&f.map, loam_phys_at(last + LOAM_PAGE_SIZE - 1)), 0);
    assert_int_equal(loam_memmap_find(&f.map, loam_phys_at(last + LOAM_PAGE_SIZE)), 1);
    assert_int_equal(loam_memmap_find(&f.map, loam_phys_none()), 1);
    fixture_free(&f);
}

static void memmap_M22_thousands_of_entries(void **state)
{
    static const size_t counts[] = { 1, 127, 128, 129, 4096, 65536 };
    (void)state;
    for (size_t c = 0; c < COUNT(counts); c++) {
        struct loam_memmap_entry *raw = alternating(counts[c]);
        struct fixture f;
        fixture_make(&f, raw, counts[c]);
        assert_int_equal(f.map.entry_count, counts[c]);
        for (size_t i = 0; i < counts[c]; i++) {
            assert_int_equal(f.map.entry[i].range.start.addr, PAGES(i + 1));
            assert_int_equal(f.map.entry[i].type, i % 2 == 0 ? U : R);
        }
        assert_int_equal(f.map.total_bytes[U], PAGES((counts[c] + 1) / 2));
        assert_int_equal(f.map.total_bytes[R], PAGES(counts[c] / 2));
        fixture_free(&f);
        free(raw);
    }
}

/* CPU time of the fastest of three runs, in nanoseconds. */
static double build_time(size_t count)
{
    struct loam_memmap_entry *raw = alternating(count);
    struct fixture f;
    double best = 1e18;

    fixture_init(&f, raw, count);
    for (unsigned run = 0; run < 3; run++) {
        struct timespec from;
        struct timespec to;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
        assert_int_equal(loam_memmap_init(&f.map, &f.request, NULL), LOAM_OK);
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
        const double time =
            (double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec);
        best = time < best ? time : best;
    }
    fixture_free(&f);
    free(raw);
    return best;
}

/* 16 times the entries: n log n takes about 22 times as long, n^2 256 times. */
static void memmap_M22_time_is_not_quadratic(void **state)
{
    (void)state;
    assert_true(build_time(65536) < 100 * build_time(4096));
}

/* Shapes that make the most of what each entry can: the result comes closest to
 * the events that are still unread, and to the end of the storage. */
static void memmap_M22_storage_suffices_for_the_worst_shapes(void **state)
{
    enum { N = 300 };
    struct loam_memmap_entry raw[N];
    struct fixture f;
    (void)state;
    for (size_t i = 0; i < N; i++) /* [r)[u)[r) and a hole, three entries of one */
        raw[i] = entry(PAGES(4 * i + 1) + 7, PAGES(2), U);
    fixture_make(&f, raw, N);
    assert_int_equal(f.map.entry_count, 3 * N);
    for (size_t i = 0; i < 3 * N; i++) {
        assert_int_equal(f.map.entry[i].range.start.addr, PAGES(i + 1 + i / 3));
        assert_int_equal(f.map.entry[i].type, i % 3 == 1 ? U : R);
    }
    fixture_free(&f);

    raw[0] = pages(0, 4 * N, U); /* page zero, and two entries more for each other one */
    for (size_t i = 1; i < N; i++)
        raw[i] = pages(2 * i, 2 * i + 1, R);
    fixture_make(&f, raw, N);
    assert_int_equal(f.map.entry_count, 2 * N);
    fixture_free(&f);

    for (size_t i = 0; i < N; i++) /* nested: every boundary changes the type */
        raw[i] = pages(1 + i, 4 * N - i, (enum loam_mem_type)(i * LOAM_MEM_TYPES / N));
    fixture_make(&f, raw, N);
    assert_int_equal(f.map.entry_count, 2 * LOAM_MEM_TYPES - 1);
    fixture_free(&f);
}

static void memmap_M27_exact_sizes_lose_and_invent_nothing(void **state)
{
    static const struct {
        uint64_t size, usable;
    } cases[] = {
        { PAGES(1) - 1, 0 },
        { PAGES(1), PAGES(1) },
        { PAGES(2) - 1, PAGES(1) },
        { PAGES(511), PAGES(511) },
        { (UINT64_C(1) << 30) + PAGES(1), (UINT64_C(1) << 30) + PAGES(1) },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct loam_memmap_entry raw[] = { entry(PAGES(1), cases[i].size, U) };
        struct fixture f;
        fixture_make(&f, raw, 1);
        assert_int_equal(f.map.total_bytes[U], cases[i].usable);
        assert_int_equal(f.map.total_bytes[R], cases[i].size % LOAM_PAGE_SIZE == 0 ? 0 : PAGES(1));
        fixture_free(&f);
    }
}

static void memmap_M36_totals_are_counted_after_normalisation(void **state)
{
    struct loam_memmap_entry raw[64];
    struct fixture f;
    (void)state;
    for (size_t i = 0; i < COUNT(raw); i++) /* raw sum: 64 times 2^63 */
        raw[i] = entry(PAGES(i), UINT64_C(1) << 63, U);
    fixture_make(&f, raw, COUNT(raw));
    assert_int_equal(f.map.total_bytes[U], (UINT64_C(1) << 52) - PAGES(1));
    assert_int_equal(f.map.total_bytes[R], PAGES(1));
    fixture_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reserved_splits_usable),
        cmocka_unit_test(hole_stays_a_hole),
        cmocka_unit_test(memmap_M05_zero_length_entry_is_dropped_and_counted),
        cmocka_unit_test(memmap_M06_wrap_is_clipped),
        cmocka_unit_test(memmap_M07_unaligned_usable_shrinks_inward),
        cmocka_unit_test(memmap_M07_usable_without_a_whole_page_is_reserved),
        cmocka_unit_test(memmap_M07_partly_usable_page_keeps_what_else_is_there),
        cmocka_unit_test(memmap_M08_unaligned_reserved_grows_outward),
        cmocka_unit_test(memmap_M09_every_permutation_gives_the_same_map),
        cmocka_unit_test(memmap_M10_duplicates_are_one_entry),
        cmocka_unit_test(memmap_M11_reserved_wins_over_usable),
        cmocka_unit_test(memmap_M12_precedence_is_the_order_of_types),
        cmocka_unit_test(memmap_M13_three_types_on_one_page),
        cmocka_unit_test(memmap_M14_touching_entries_merge_only_within_a_type),
        cmocka_unit_test(memmap_M15_unknown_type_is_reserved),
        cmocka_unit_test(memmap_M16_memory_above_the_cpu_is_clipped_or_dropped),
        cmocka_unit_test(memmap_M17_usable_above_the_window_is_unreachable),
        cmocka_unit_test(memmap_M19_usable_below_1_mib_only),
        cmocka_unit_test(memmap_M20_frame_0_is_never_usable),
        cmocka_unit_test(memmap_M21_last_possible_frame),
        cmocka_unit_test(memmap_M22_thousands_of_entries),
        cmocka_unit_test(memmap_M22_time_is_not_quadratic),
        cmocka_unit_test(memmap_M22_storage_suffices_for_the_worst_shapes),
        cmocka_unit_test(memmap_M27_exact_sizes_lose_and_invent_nothing),
        cmocka_unit_test(memmap_M36_totals_are_counted_after_normalisation),
    };
    return RUN_TESTS(tests);
}
