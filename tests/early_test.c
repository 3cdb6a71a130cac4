/*
 * early_test.c - layer 2 against pictures. See also early_model_test.c.
 */
#include "harness.h"

#include <stdlib.h>
#include <string.h>

#include <loam/early.h>

#define PAGES(n)    ((uint64_t)(n)*LOAM_PAGE_SIZE)
#define COUNT(a)    (sizeof(a) / sizeof((a)[0]))
#define RECORDS_MAX 64

/* Usable pages [first, end). */
struct usable {
    uint64_t first, end;
};
static const struct usable one_range[] = { { 1, 100 } };

struct fixture {
    struct loam_memmap map;
    struct loam_memmap_entry *entry; /* owned */
    struct loam_early early;
    struct loam_early_record *record; /* owned; exactly as many as allowed */
};

static enum loam_status try_init(struct fixture *f, const struct usable *usable, size_t count,
                                 size_t record_max)
{
    memset(f, 0, sizeof *f);
    f->entry = malloc(LOAM_MEMMAP_STORAGE(count + 1) * sizeof *f->entry);
    f->record = malloc(record_max * sizeof *f->record);
    assert_non_null(f->entry);
    assert_non_null(f->record);
    for (size_t i = 0; i < count; i++) {
        f->entry[i].range = loam_phys_range_of(loam_phys_at(PAGES(usable[i].first)),
                                               PAGES(usable[i].end - usable[i].first));
        f->entry[i].type = LOAM_MEM_USABLE;
    }
    f->map.entry = f->entry;
    f->map.entry_count = count;
    return loam_early_init(&f->early, &f->map, f->record, record_max);
}

static void fixture_init(struct fixture *f, const struct usable *usable, size_t count,
                         size_t record_max)
{
    assert_int_equal(try_init(f, usable, count, record_max), LOAM_OK);
    assert_null(loam_early_audit(&f->early));
}

static void fixture_free(struct fixture *f)
{
    assert_null(loam_early_audit(&f->early));
    free(f->entry);
    free(f->record);
}

/* Allocate; returns the first page, or UINT64_MAX. */
static uint64_t take(struct fixture *f, uint64_t page_count, uint64_t align_pages,
                     uint64_t limit_page)
{
    const struct loam_early_request request = { page_count, PAGES(align_pages), PAGES(limit_page) };
    const uint64_t digest = loam_early_digest(&f->early);
    const loam_phys p = loam_early_alloc(&f->early, &request);

    assert_null(loam_early_audit(&f->early));
    if (loam_phys_is_none(p)) {
        assert_true(loam_early_digest(&f->early) == digest);
        return UINT64_MAX;
    }
    assert_true(loam_early_digest(&f->early) != digest);
    assert_true(loam_is_page_aligned(p.addr));
    return p.addr / LOAM_PAGE_SIZE;
}

static enum loam_status reserve(struct fixture *f, uint64_t first, uint64_t end)
{
    const uint64_t digest = loam_early_digest(&f->early);
    const enum loam_status st = loam_early_reserve(
        &f->early, loam_phys_range_of(loam_phys_at(PAGES(first)), PAGES(end - first)));

    assert_null(loam_early_audit(&f->early));
    if (st != LOAM_OK)
        assert_true(loam_early_digest(&f->early) == digest);
    return st;
}

/* Records are exactly these, in pages. */
static void assert_records(const struct fixture *f, const struct loam_early_record *want,
                           size_t count)
{
    assert_int_equal(f->early.record_count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(f->early.record[i].start, PAGES(want[i].start));
        assert_int_equal(f->early.record[i].top, PAGES(want[i].top));
        assert_int_equal(f->early.record[i].end, PAGES(want[i].end));
    }
}
#define ASSERT_RECORDS(f, ...)                                    \
    do {                                                          \
        const struct loam_early_record want_[] = { __VA_ARGS__ }; \
        assert_records((f), want_, COUNT(want_));                 \
    } while (0)

/* What was taken is exactly these ranges, in pages. Closes the allocator. */
static void assert_taken(struct fixture *f, const struct usable *want, size_t count)
{
    struct loam_phys_range range;
    size_t cursor = 0;

    loam_early_finish(&f->early);
    for (size_t i = 0; i < count; i++) {
        assert_true(loam_early_taken(&f->early, &cursor, &range));
        assert_int_equal(range.start.addr, PAGES(want[i].first));
        assert_int_equal(range.size, PAGES(want[i].end - want[i].first));
    }
    range.size = 77;
    assert_false(loam_early_taken(&f->early, &cursor, &range));
    assert_false(loam_early_taken(&f->early, &cursor, &range));
    assert_int_equal(range.size, 77); /* untouched */
}

/* ---- pictures ------------------------------------------------------------ */

/*
 *   before   [ 1      4 )   [ 8         12 )
 *   taken     2nd [3,4)      1st [9,12)
 */
static void highest_memory_goes_first_from_the_top(void **state)
{
    static const struct usable usable[] = { { 1, 4 }, { 8, 12 } };
    static const struct usable taken[] = { { 2, 4 }, { 8, 12 } };
    struct fixture f;
    (void)state;
    fixture_init(&f, usable, 2, 2);
    assert_int_equal(f.early.free_pages, 7);
    assert_int_equal(loam_early_largest(&f.early), 4);
    assert_int_equal(take(&f, 3, 0, 0), 9);
    assert_int_equal(loam_early_largest(&f.early), 3);
    assert_int_equal(take(&f, 2, 0, 0), 2); /* 1 page is left above: too small */
    assert_int_equal(take(&f, 1, 0, 0), 8); /* and is taken later */
    assert_int_equal(f.early.free_pages, 1);
    assert_int_equal(f.early.taken_pages, 6);
    assert_taken(&f, taken, 2);
    fixture_free(&f);
}

/*
 *   map      [usable)[nvs)[reserved)[usable)[executable)
 *   records  [      )               [      )
 */
static void only_usable_entries_become_records(void **state)
{
    static const struct usable usable[] = { { 1, 3 }, { 3, 5 }, { 5, 8 }, { 8, 10 }, { 10, 12 } };
    struct loam_early_record records[2];
    struct fixture f;
    (void)state;
    fixture_init(&f, usable, COUNT(usable), COUNT(usable));
    f.entry[1].type = LOAM_MEM_ACPI_NVS;
    f.entry[2].type = LOAM_MEM_RESERVED;
    f.entry[4].type = LOAM_MEM_EXECUTABLE;
    assert_int_equal(loam_early_init(&f.early, &f.map, records, 1), LOAM_NO_SPACE);
    assert_int_equal(loam_early_init(&f.early, &f.map, records, 2), LOAM_OK);
    ASSERT_RECORDS(&f, { 1, 3, 3 }, { 8, 10, 10 });
    fixture_free(&f);
}

/*
 *            1        8         16   19
 *   before   [        free           )
 *   after    [ free  )[ block  )[gap )    two records
 */
static void alignment_leaves_a_gap_and_splits(void **state)
{
    static const struct usable usable[] = { { 1, 19 } };
    static const struct usable taken[] = { { 8, 16 } };
    struct fixture f;
    (void)state;
    fixture_init(&f, usable, 1, 2);
    assert_int_equal(take(&f, 8, 8, 0), 8);
    ASSERT_RECORDS(&f, { 1, 8, 16 }, { 16, 19, 19 });
    assert_taken(&f, taken, 1);
    fixture_free(&f);
}

/* The gap is used by what fits, from its top; full, it joins its record, which
 * is free for another split. */
static void full_gap_joins_and_gives_its_record_back(void **state)
{
    static const struct usable usable[] = { { 1, 19 } };
    struct fixture f;
    (void)state;
    fixture_init(&f, usable, 1, 2);
    assert_int_equal(take(&f, 8, 8, 0), 8);
    assert_int_equal(take(&f, 2, 0, 0), 17);
    ASSERT_RECORDS(&f, { 1, 8, 16 }, { 16, 17, 19 });
    assert_int_equal(take(&f, 1, 0, 0), 16);
    ASSERT_RECORDS(&f, { 1, 8, 19 });
    assert_int_equal(take(&f, 2, 4, 0), 4);
    ASSERT_RECORDS(&f, { 1, 4, 6 }, { 6, 8, 19 });
    fixture_free(&f);
}

/*
 *   before   [ 1                     limit 9         20 )
 *   after    [ free      )[ block 7,9 )[ gap         20 )
 */
static void limit_is_above_the_last_byte(void **state)
{
    static const struct usable usable[] = { { 1, 20 } };
    struct fixture f;
    struct loam_early_request request = { 2, 0, PAGES(9) };
    (void)state;
    fixture_init(&f, usable, 1, RECORDS_MAX);
    assert_int_equal(loam_early_alloc(&f.early, &request).addr, PAGES(7));
    request.limit = PAGES(7) - 1; /* not all of page 6 is below it */
    assert_int_equal(loam_early_alloc(&f.early, &request).addr, PAGES(4));
    request.limit = PAGES(3) - 1; /* only page 1 is */
    assert_true(loam_phys_is_none(loam_early_alloc(&f.early, &request)));
    request.limit = LOAM_PAGE_SIZE - 1;
    assert_true(loam_phys_is_none(loam_early_alloc(&f.early, &request)));
    request.limit = UINT64_MAX;
    assert_int_equal(loam_early_alloc(&f.early, &request).addr, PAGES(18));
    fixture_free(&f);
}

/*
 *              1                12    16                29
 *   records    [                 )    [                  )      no third record
 *   wanted               [8 .. 12)             [24 .. 28)       4 pages, aligned
 *   taken                [8 .. 12)       since page 28 would have to be split off
 */
static void block_without_a_gap_is_preferred_when_records_are_out(void **state)
{
    static const struct usable usable[] = { { 1, 12 }, { 16, 29 } };
    struct fixture f;
    (void)state;
    fixture_init(&f, usable, 2, 2);
    assert_int_equal(take(&f, 4, 4, 0), 8);
    assert_int_equal(take(&f, 4, 4, 0), 4);
    assert_int_equal(take(&f, 2, 2, 0), 2); /* 26 would leave page 28 */
    assert_int_equal(take(&f, 2, 2, 0), UINT64_MAX);
    assert_int_equal(take(&f, 1, 0, 0), 28);
    assert_int_equal(take(&f, 2, 2, 0), 26);
    ASSERT_RECORDS(&f, { 1, 2, 12 }, { 16, 26, 29 });
    fixture_free(&f);
}

/*
 *   before   [ 2                                 20 )
 *   keep          [5  8)
 *   after    [ 2  )     [ 8                      20 )
 */
static void reserved_range_splits_and_is_never_handed_out(void **state)
{
    static const struct usable usable[] = { { 2, 20 } };
    static const struct usable taken[] = { { 2, 5 }, { 8, 20 } };
    struct fixture f;
    (void)state;
    fixture_init(&f, usable, 1, 2);
    assert_int_equal(reserve(&f, 5, 8), LOAM_OK);
    ASSERT_RECORDS(&f, { 2, 5, 5 }, { 8, 20, 20 });
    assert_int_equal(f.early.free_pages, 15);
    assert_int_equal(take(&f, 12, 0, 0), 8);
    assert_int_equal(take(&f, 3, 0, 0), 2);
    assert_int_equal(take(&f, 1, 0, 0), UINT64_MAX);
    assert_taken(&f, taken, 2);
    fixture_free(&f);
}

static void reserving_an_edge_or_all_needs_no_record(void **state)
{
    static const struct usable usable[] = { { 2, 10 }, { 12, 16 }, { 20, 30 } };
    struct fixture f;
    (void)state;
    fixture_init(&f, usable, 3, 3);
    assert_int_equal(reserve(&f, 0, 4), LOAM_OK); /* page 0 and 1 are not usable: ignored */
    assert_int_equal(reserve(&f, 28, 40), LOAM_OK);
    ASSERT_RECORDS(&f, { 4, 10, 10 }, { 12, 16, 16 }, { 20, 28, 28 });
    assert_int_equal(reserve(&f, 9, 21), LOAM_OK); /* over three records */
    ASSERT_RECORDS(&f, { 4, 9, 9 }, { 21, 28, 28 });
    assert_int_equal(reserve(&f, 9, 21), LOAM_OK); /* nothing left to keep out */
    assert_int_equal(reserve(&f, 1000, 2000), LOAM_OK);
    ASSERT_RECORDS(&f, { 4, 9, 9 }, { 21, 28, 28 });
    assert_int_equal(reserve(&f, 1, 1000), LOAM_OK);
    assert_int_equal(f.early.record_count, 0);
    assert_int_equal(loam_early_largest(&f.early), 0);
    assert_int_equal(take(&f, 1, 0, 0), UINT64_MAX);
    fixture_free(&f);
}

/*
 *   before   [ 2        free        )[ 16 taken 20 )
 *   keep              [10         16)
 *   after    [ 2 free 10)            [ 16 taken 20 )   what was taken stays
 */
static void reserving_below_what_was_taken_keeps_its_record(void **state)
{
    static const struct usable usable[] = { { 2, 20 } };
    static const struct usable taken[] = { { 9, 10 }, { 16, 20 } };
    struct fixture f;
    (void)state;
    fixture_init(&f, usable, 1, 2);
    assert_int_equal(take(&f, 4, 0, 0), 16);
    assert_int_equal(reserve(&f, 10, 17), LOAM_OVERLAP);
    assert_int_equal(reserve(&f, 19, 20), LOAM_OVERLAP);
    assert_int_equal(reserve(&f, 1, 100), LOAM_OVERLAP);
    assert_int_equal(reserve(&f, 20, 30), LOAM_OK);
    assert_int_equal(reserve(&f, 10, 16), LOAM_OK);
    ASSERT_RECORDS(&f, { 2, 10, 10 }, { 16, 16, 20 });
    assert_int_equal(take(&f, 1, 0, 0), 9);
    assert_int_equal(reserve(&f, 2, 9), LOAM_OK);
    ASSERT_RECORDS(&f, { 9, 9, 10 }, { 16, 16, 20 });
    assert_taken(&f, taken, 2);
    fixture_free(&f);
}

static void memory_without_usable_ranges_is_empty(void **state)
{
    struct fixture f;
    (void)state;
    fixture_init(&f, NULL, 0, 0);
    assert_int_equal(take(&f, 1, 0, 0), UINT64_MAX);
    assert_int_equal(loam_early_largest(&f.early), 0);
    assert_int_equal(reserve(&f, 1, 2), LOAM_OK);
    assert_taken(&f, NULL, 0);
    fixture_free(&f);
}

static void last_frame_of_the_architecture_can_be_taken(void **state)
{
    const uint64_t end = (UINT64_C(1) << 52) / LOAM_PAGE_SIZE;
    const struct usable usable[] = { { end - 2, end } };
    struct fixture f;
    (void)state;
    fixture_init(&f, usable, 1, 1);
    assert_int_equal(take(&f, 1, 0, end), end - 1);
    assert_int_equal(reserve(&f, end, UINT64_C(1) << 52), LOAM_OK); /* up to 2^64 exactly */
    assert_int_equal(take(&f, 1, 0, 0), end - 2);
    fixture_free(&f);
}

/* ---- refusals ------------------------------------------------------------ */

static void map_with_more_ranges_than_records_is_refused(void **state)
{
    static const struct usable usable[] = { { 1, 4 }, { 8, 12 } };
    struct fixture f;
    (void)state;
    assert_int_equal(try_init(&f, usable, 2, 1), LOAM_NO_SPACE);
    const struct loam_early zero = { 0 };
    assert_memory_equal(&f.early, &zero, sizeof zero);
    fixture_free(&f);
}

static void malformed_requests_get_nothing(void **state)
{
    static const struct loam_early_request bad[] = {
        { 0, 0, 0 },
        { 100, 0, 0 },
        { UINT64_MAX, 0, 0 },
        { UINT64_C(1) << 52, 0, 0 }, /* 2^64 bytes */
        { (UINT64_C(1) << 52) + 1, 0, 0 },
        { 1, 3, 0 },
        { 1, 4096 + 1, 0 },
        { 1, 3 * 4096, 0 },
        { 1, UINT64_MAX, 0 },
        { 1, UINT64_C(1) << 63, 0 },
    };
    static const struct loam_early_request small_align = { 1, 16, 0 };
    struct fixture f;
    (void)state;
    fixture_init(&f, one_range, 1, RECORDS_MAX);
    const uint64_t digest = loam_early_digest(&f.early);
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_true(loam_phys_is_none(loam_early_alloc(&f.early, &bad[i])));
        assert_true(loam_early_digest(&f.early) == digest);
    }
    assert_int_equal(loam_early_alloc(&f.early, &small_align).addr, PAGES(99));
    fixture_free(&f);
}

static void malformed_reservations_are_refused(void **state)
{
    static const struct loam_phys_range bad[] = {
        { { PAGES(2) }, 0 }, /* empty */
        { { PAGES(2) + 1 }, PAGES(1) },
        { { PAGES(2) }, PAGES(1) + 1 },
        { { PAGES(2) }, 1 },
        { { 0 - PAGES(1) }, PAGES(2) }, /* wraps */
        { { PAGES(2) }, 0 - PAGES(1) },
    };
    struct fixture f;
    (void)state;
    fixture_init(&f, one_range, 1, RECORDS_MAX);
    const uint64_t digest = loam_early_digest(&f.early);
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_int_equal(loam_early_reserve(&f.early, bad[i]), LOAM_INVALID);
        assert_true(loam_early_digest(&f.early) == digest);
    }
    fixture_free(&f);
}

static void reservation_without_a_record_for_its_split_is_refused(void **state)
{
    struct fixture f;
    (void)state;
    fixture_init(&f, one_range, 1, 1);
    assert_int_equal(reserve(&f, 50, 51), LOAM_NO_SPACE);
    assert_int_equal(reserve(&f, 50, 100), LOAM_OK);
    assert_int_equal(take(&f, 1, 0, 0), 49);
    assert_int_equal(reserve(&f, 48, 49), LOAM_NO_SPACE); /* splits it from what was taken */
    fixture_free(&f);
}

/* Every point fails in turn: nothing changes, and without failure all works. */
static void refusals_at_each_injection_point_change_nothing(void **state)
{
    static const struct usable usable[] = { { 1, 12 }, { 16, 29 } };
    (void)state;
    INJECT_EACH_POINT
    {
        struct fixture f;
        fixture_init(&f, usable, 2, RECORDS_MAX);
        INJECT_ARM();
        const uint64_t split = take(&f, 2, 2, 0); /* 26, or 10 where no split may be */
        const uint64_t plain = take(&f, 1, 0, 0);
        const enum loam_status st = reserve(&f, 18, 20);
        INJECT_DISARM();
        assert_true(inject_fired() || (split == 26 && plain == 28 && st == LOAM_OK));
        assert_true(split == 26 || split == 10 || split == UINT64_MAX);
        assert_true(st == LOAM_OK || st == LOAM_NO_SPACE);
        assert_int_equal(f.early.taken_pages, 2 * (split != UINT64_MAX) + (plain != UINT64_MAX));
        fixture_free(&f);
    }
}

static void init_fails_at_its_injection_point(void **state)
{
    static const struct usable usable[] = { { 1, 12 } };
    struct fixture f;
    (void)state;
    inject_fail_at(1, false);
    const enum loam_status st = try_init(&f, usable, 1, 1);
    inject_pause();
    assert_int_equal(st, LOAM_NO_SPACE);
    fixture_free(&f);
}

/* ---- misuse -------------------------------------------------------------- */

static void use_after_finish_panics(void **state)
{
    static const char closed[] = "early: nothing is taken or reserved after loam_early_finish()";
    static const struct loam_early_request request = { 3, 0, 0 };
    struct fixture f;
    (void)state;
    fixture_init(&f, one_range, 1, RECORDS_MAX);
    loam_early_finish(&f.early);
    EXPECT_PANIC(closed, assert_true(loam_phys_is_none(loam_early_alloc(&f.early, &request))));
    assert_int_equal(panic_trap.seen.subject, 3);
    assert_int_equal(panic_trap.seen.detail, 0);
    const struct loam_phys_range range = loam_phys_range_of(loam_phys_at(PAGES(7)), PAGES(2));
    EXPECT_PANIC(closed, assert_int_equal(loam_early_reserve(&f.early, range), LOAM_STATE));
    assert_int_equal(panic_trap.seen.subject, PAGES(7));
    assert_int_equal(panic_trap.seen.detail, PAGES(2));
    EXPECT_PANIC("early: finished once", loam_early_finish(&f.early));
    assert_int_equal(panic_trap.seen.detail, 0);
    fixture_free(&f);
}

static void walk_before_finish_panics(void **state)
{
    struct fixture f;
    struct loam_phys_range range;
    size_t cursor = 0;
    (void)state;
    fixture_init(&f, one_range, 1, RECORDS_MAX);
    EXPECT_PANIC("early: what was taken is walked after loam_early_finish()",
                 assert_false(loam_early_taken(&f.early, &cursor, &range)));
    assert_int_equal(panic_trap.seen.subject, 0); /* pages taken */
    assert_int_equal(panic_trap.seen.detail, 0);
    fixture_free(&f);
}

static void map_with_usable_frame_0_panics(void **state)
{
    static const struct usable usable[] = { { 0, 4 } };
    struct fixture f;
    (void)state;
    EXPECT_PANIC("early: frame 0 of the map is not usable", (void)try_init(&f, usable, 1, 1));
    assert_int_equal(panic_trap.seen.subject, 0);
    assert_int_equal(panic_trap.seen.detail, PAGES(4));
    free(f.entry);
    free(f.record);
}

/* ---- audit, digest ------------------------------------------------------- */

/* Three records with free and taken parts; the last two touch. */
static void make_three_records(struct fixture *f)
{
    static const struct usable usable[] = { { 1, 10 }, { 16, 31 } };

    fixture_init(f, usable, 2, 3);
    assert_int_equal(take(f, 8, 8, 0), 16);
    assert_int_equal(take(f, 3, 0, 0), 28);
    assert_int_equal(take(f, 5, 0, 0), 5);
    ASSERT_RECORDS(f, { 1, 5, 10 }, { 16, 16, 24 }, { 24, 28, 31 });
}

static void audit_names_every_broken_rule(void **state)
{
    struct fixture f;
    (void)state;
    make_three_records(&f);
    struct loam_early_record *r = f.record;
    const struct loam_early early = f.early;
    struct loam_early_record record[3];
    memcpy(record, r, sizeof record);
#define EXPECT_BROKEN(rule, corrupt)                                     \
    do {                                                                 \
        corrupt;                                                         \
        assert_non_null(loam_early_audit(&f.early));                     \
        assert_string_equal(loam_early_audit(&f.early), "early: " rule); \
        f.early = early;                                                 \
        memcpy(r, record, sizeof record);                                \
        assert_null(loam_early_audit(&f.early));                         \
    } while (0)
    EXPECT_BROKEN("there are at most record_max records", f.early.record_max = 2);
    EXPECT_BROKEN("the current record exists, or is 0", f.early.current = 3);
    EXPECT_BROKEN("start <= top <= end", r[2].start = PAGES(29));
    EXPECT_BROKEN("start <= top <= end", r[2].end = PAGES(27));
    EXPECT_BROKEN("a record is not empty", r[1].end = PAGES(16));
    EXPECT_BROKEN("a record is page-aligned", r[0].start++);
    EXPECT_BROKEN("a record is page-aligned", r[0].top++);
    EXPECT_BROKEN("a record is page-aligned", r[0].end++);
    EXPECT_BROKEN("frame 0 is in no record", r[0].start = 0);
    EXPECT_BROKEN("records are ascending and disjoint", r[0].end = PAGES(17));
    EXPECT_BROKEN("an exhausted record joins the one that it touches", r[0].end = PAGES(16));
    EXPECT_BROKEN("no record above the current one has free memory", f.early.current = 1);
    EXPECT_BROKEN("free_pages is the sum of the free parts", f.early.free_pages++);
    EXPECT_BROKEN("taken_pages is the sum of the taken parts", f.early.taken_pages++);
    fixture_free(&f);
}

static void digest_sees_every_field(void **state)
{
    struct fixture f;
    (void)state;
    make_three_records(&f);
    const uint64_t digest = loam_early_digest(&f.early);
#define EXPECT_SEEN(change, undo)                           \
    do {                                                    \
        change;                                             \
        assert_true(loam_early_digest(&f.early) != digest); \
        undo;                                               \
        assert_true(loam_early_digest(&f.early) == digest); \
    } while (0)
    EXPECT_SEEN(f.record[0].start++, f.record[0].start--);
    EXPECT_SEEN(f.record[1].start++, f.record[1].start--);
    EXPECT_SEEN(f.record[1].top++, f.record[1].top--);
    EXPECT_SEEN(f.record[1].end++, f.record[1].end--);
    EXPECT_SEEN(f.early.record_count--, f.early.record_count++);
    EXPECT_SEEN(f.early.free_pages++, f.early.free_pages--);
    EXPECT_SEEN(f.early.taken_pages++, f.early.taken_pages--);
    EXPECT_SEEN(f.early.closed = true, f.early.closed = false);
    fixture_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(highest_memory_goes_first_from_the_top),
        cmocka_unit_test(only_usable_entries_become_records),
        cmocka_unit_test(alignment_leaves_a_gap_and_splits),
        cmocka_unit_test(full_gap_joins_and_gives_its_record_back),
        cmocka_unit_test(limit_is_above_the_last_byte),
        cmocka_unit_test(block_without_a_gap_is_preferred_when_records_are_out),
        cmocka_unit_test(reserved_range_splits_and_is_never_handed_out),
        cmocka_unit_test(reserving_an_edge_or_all_needs_no_record),
        cmocka_unit_test(reserving_below_what_was_taken_keeps_its_record),
        cmocka_unit_test(memory_without_usable_ranges_is_empty),
        cmocka_unit_test(last_frame_of_the_architecture_can_be_taken),
        cmocka_unit_test(map_with_more_ranges_than_records_is_refused),
        cmocka_unit_test(malformed_requests_get_nothing),
        cmocka_unit_test(malformed_reservations_are_refused),
        cmocka_unit_test(reservation_without_a_record_for_its_split_is_refused),
        cmocka_unit_test(refusals_at_each_injection_point_change_nothing),
        cmocka_unit_test(init_fails_at_its_injection_point),
        cmocka_unit_test(use_after_finish_panics),
        cmocka_unit_test(walk_before_finish_panics),
        cmocka_unit_test(map_with_usable_frame_0_panics),
        cmocka_unit_test(audit_names_every_broken_rule),
        cmocka_unit_test(digest_sees_every_field),
    };
    return RUN_TESTS(tests);
}
