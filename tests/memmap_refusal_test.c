/*
 * memmap_refusal_test.c - requests that are refused, repairs that are shown, maps
 * that change or break.
 */
#include "memmap_fixture.h"

/* ---- refusals ------------------------------------------------------------ */

/* The request is refused with this reason; map and storage stay as they were. */
static void assert_refused(const struct loam_memmap_request *request, enum loam_status status,
                           struct loam_refusal want)
{
    struct loam_memmap map;
    struct loam_memmap before;
    struct loam_refusal refusal = { NULL, 0, 0 };

    memset(&map, 0x5a, sizeof map);
    memset(&before, 0x5a, sizeof before);
    assert_int_equal(loam_memmap_init(&map, request, &refusal), status);
    assert_string_equal(refusal.rule, want.rule);
    assert_int_equal(refusal.have, want.have);
    assert_int_equal(refusal.need, want.need);
    assert_memory_equal(&map, &before, sizeof map);
    assert_int_equal(loam_memmap_init(&map, request, NULL), status);
}

static void memmap_M01_no_map_is_refused(void **state)
{
    const struct loam_memmap_entry raw[] = { pages(1, 2, U) };
    const struct loam_refusal want = { "memmap: no memory map (entries)", 0, 1 };
    struct fixture f;
    (void)state;
    fixture_init(&f, raw, 1);
    f.request.raw_count = 0;
    assert_refused(&f.request, LOAM_INVALID, want);
    f.request.raw_count = 1;
    f.request.raw = NULL;
    assert_refused(&f.request, LOAM_INVALID, want);
    fixture_free(&f);
}

static void impossible_address_widths_are_refused(void **state)
{
    static const unsigned bits[] = { 0, 31, 53, 64, UINT32_MAX };
    const struct loam_memmap_entry raw[] = { pages(1, 2, U) };
    struct fixture f;
    (void)state;
    fixture_init(&f, raw, 1);
    for (size_t i = 0; i < COUNT(bits); i++) {
        const struct loam_refusal want = { "memmap: physical addresses have 32 to 52 bits", bits[i],
                                           52 };
        f.request.phys_bits = bits[i];
        assert_refused(&f.request, LOAM_INVALID, want);
    }
    fixture_free(&f);
}

static void memmap_M22_too_little_storage_names_both_numbers(void **state)
{
    static const char rule[] = "memmap: map too fragmented: entries, and what there is room for";
    struct loam_memmap_entry *raw = alternating(129);
    const struct loam_refusal one_less = { rule, 129, 128 };
    const struct loam_refusal huge = { rule, SIZE_MAX, 129 };
    const struct loam_refusal wraps = { rule, SIZE_MAX / 4 + 2, 129 };
    struct fixture f;
    (void)state;
    fixture_init(&f, raw, 129);
    f.request.storage_count = LOAM_MEMMAP_STORAGE(129) - 1;
    assert_refused(&f.request, LOAM_NO_SPACE, one_less);
    f.request.storage_count = LOAM_MEMMAP_STORAGE(129);
    f.request.raw_count = SIZE_MAX;
    assert_refused(&f.request, LOAM_NO_SPACE, huge);
    f.request.raw_count = SIZE_MAX / 4 + 2; /* storage needed wraps to 4 entries */
    assert_refused(&f.request, LOAM_NO_SPACE, wraps);
    fixture_free(&f);
    free(raw);
}

static void memmap_M23_no_or_unaligned_storage_is_refused(void **state)
{
    static const char rule[] = "memmap: no storage, or not aligned to 8 bytes (address)";
    const struct loam_memmap_entry raw[] = { pages(1, 2, U) };
    struct fixture f;
    (void)state;
    fixture_init(&f, raw, 1);
    struct loam_memmap_entry *storage = f.request.storage;
    f.request.storage = NULL;
    const struct loam_refusal want = { rule, 0, 0 };
    assert_refused(&f.request, LOAM_INVALID, want);
    for (uintptr_t odd = 1; odd < 8; odd++) {
        const uintptr_t address = (uintptr_t)storage + odd;
        const struct loam_refusal want_odd = { rule, address, 0 };
        f.request.storage = (struct loam_memmap_entry *)address;
        assert_refused(&f.request, LOAM_INVALID, want_odd);
    }
    f.request.storage = storage;
    fixture_free(&f);
}

/*
 *   buffer     [ 0   1   2 | 3   4   5   6   7   8   9  10  11 |12  13  14 )
 *   raw                      3 entries, somewhere in here
 *   storage   ok up to here  ^ 12 entries                         ^ ok from here
 */
static void memmap_M23_storage_that_overlaps_the_map_is_refused(void **state)
{
    enum { N = 3, ROOM = 4 * N };
    struct loam_memmap_entry buffer[N + ROOM + N];
    struct loam_memmap map;
    (void)state;
    for (size_t at = 0; at <= N + ROOM; at++) {
        struct loam_memmap_request request = {
            .raw = &buffer[at],
            .raw_count = N,
            .storage = &buffer[N],
            .storage_count = ROOM,
            .phys_bits = 52,
        };
        for (size_t i = 0; i < COUNT(buffer); i++)
            buffer[i] = pages(2 * i + 1, 2 * i + 2, U);
        if (at == 0 || at == N + ROOM) { /* touching is no overlap */
            assert_int_equal(loam_memmap_init(&map, &request, NULL), LOAM_OK);
            assert_int_equal(map.entry_count, N);
            continue;
        }
        const struct loam_refusal want = { "memmap: storage overlaps the raw map (address)",
                                           (uintptr_t)&buffer[N], 0 };
        assert_refused(&request, LOAM_INVALID, want);
        for (size_t i = 0; i < COUNT(buffer); i++) /* not touched */
            assert_int_equal(buffer[i].range.start.addr, PAGES(2 * i + 1));
    }
}

/* ---- the visitor --------------------------------------------------------- */

struct log {
    uint64_t count[LOAM_REPAIRS];
    struct loam_phys_range where[LOAM_REPAIRS];
};

static void note(void *context, enum loam_repair repair, struct loam_phys_range where)
{
    struct log *log = context;
    log->count[repair]++;
    log->where[repair] = where;
}

static void every_repair_is_shown_with_its_place(void **state)
{
    const struct loam_memmap_entry raw[] = {
        entry(0, PAGES(4) + 8, U),                        /* page zero; shrunk */
        entry(PAGES(3), PAGES(1), R),                     /* overlap */
        entry(PAGES(6) + 1, 2, R),                        /* grown */
        entry(PAGES(8), PAGES(1), (enum loam_mem_type)9), /* unknown */
        entry(PAGES(9), 0, U),                            /* empty */
        entry(PAGES(20), PAGES(100), U),                  /* unreachable */
        entry(0 - PAGES(1), PAGES(2), R),                 /* wraps; above the limit */
    };
    static const struct {
        enum loam_repair repair;
        uint64_t start, size;
    } want[] = {
        { LOAM_REPAIR_PAGE_ZERO, 0, PAGES(1) },
        { LOAM_REPAIR_SHRUNK, 0, PAGES(4) + 8 },
        { LOAM_REPAIR_OVERLAP, PAGES(3), PAGES(1) },
        { LOAM_REPAIR_GROWN, PAGES(6) + 1, 2 },
        { LOAM_REPAIR_UNKNOWN_TYPE, PAGES(8), PAGES(1) },
        { LOAM_REPAIR_EMPTY, PAGES(9), 0 },
        { LOAM_REPAIR_UNREACHABLE, PAGES(20), PAGES(100) },
        { LOAM_REPAIR_WRAP, 0 - PAGES(1), PAGES(2) },
        { LOAM_REPAIR_LIMIT, 0 - PAGES(1), PAGES(1) },
    };
    struct log log;
    const struct loam_repair_visitor visitor = { note, &log };
    struct fixture f;
    (void)state;
    memset(&log, 0, sizeof log);
    fixture_init(&f, raw, COUNT(raw));
    f.request.visitor = &visitor;
    f.request.window_bytes = PAGES(30);
    fixture_build(&f);
    assert_int_equal(COUNT(want), LOAM_REPAIRS);
    for (size_t i = 0; i < COUNT(want); i++) {
        assert_int_equal(log.count[want[i].repair], 1);
        assert_int_equal(f.map.repair_count[want[i].repair], 1);
        assert_int_equal(log.where[want[i].repair].start.addr, want[i].start);
        assert_int_equal(log.where[want[i].repair].size, want[i].size);
    }
    fixture_free(&f);
}

/* The firmware rewrites its buffer while it is read: from a visitor, which runs
 * after an entry was read and before it is used. */
static void scribble(void *context, enum loam_repair repair, struct loam_phys_range where)
{
    struct loam_memmap_entry *raw = context;
    (void)repair;
    for (size_t i = 0; raw[i].range.start.addr <= where.start.addr; i++)
        raw[i] = pages(i, 1000, LOAM_MEM_BAD);
}

static void memmap_M35_each_entry_is_read_once(void **state)
{
    const struct loam_memmap_entry once[] = { entry(PAGES(1), PAGES(2) + 1, U),
                                              entry(PAGES(5), PAGES(1) + 1, R),
                                              entry(PAGES(9), PAGES(3) + 1, (enum loam_mem_type)99),
                                              pages(2000, 2001, R) };
    const struct loam_memmap_entry want[] = { pages(1, 3, U), pages(3, 4, R), pages(5, 7, R),
                                              pages(9, 13, R), pages(2000, 2001, R) };
    struct loam_memmap_entry raw[COUNT(once)];
    const struct loam_repair_visitor visitor = { scribble, raw };
    struct fixture f;
    (void)state;
    memcpy(raw, once, sizeof raw);
    fixture_init(&f, raw, COUNT(raw));
    f.request.visitor = &visitor;
    fixture_build(&f);
    assert_entries(&f.map, want, COUNT(want));
    assert_int_equal(raw[0].type, LOAM_MEM_BAD); /* it did scribble */
    assert_int_equal(raw[2].type, LOAM_MEM_BAD);
    fixture_free(&f);
}

/* ---- audit, digest, names ------------------------------------------------ */

static void audit_names_every_broken_rule(void **state)
{
    const struct loam_memmap_entry raw[] = { pages(1, 3, U), pages(3, 5, R), pages(6, 8, U) };
    struct fixture f;
    (void)state;
    fixture_make(&f, raw, COUNT(raw));
    struct loam_memmap_entry *e = f.map.entry;
#define EXPECT_BROKEN(rule, corrupt)                                     \
    do {                                                                 \
        corrupt;                                                         \
        assert_non_null(loam_memmap_audit(&f.map));                      \
        assert_string_equal(loam_memmap_audit(&f.map), "memmap: " rule); \
        fixture_build(&f);                                               \
    } while (0)
    EXPECT_BROKEN("an entry has a known type", e[1].type = (enum loam_mem_type)LOAM_MEM_TYPES);
    EXPECT_BROKEN("an entry is not empty", e[1].range.size = 0);
    EXPECT_BROKEN("an entry is page-aligned", e[1].range.start.addr++);
    EXPECT_BROKEN("an entry is page-aligned", e[1].range.size++);
    EXPECT_BROKEN("an entry ends at or below 2^52",
                  e[2].range.start.addr = (UINT64_C(1) << 52) - PAGES(1));
    EXPECT_BROKEN("an entry ends at or below 2^52", e[2].range.size = UINT64_C(1) << 53);
    EXPECT_BROKEN("an entry ends at or below 2^52", e[2].range.start.addr = 0 - PAGES(2));
    EXPECT_BROKEN("frame 0 is not usable", e[0].range.start.addr = 0);
    EXPECT_BROKEN("entries are ascending and disjoint", e[1].range.start.addr = PAGES(2));
    EXPECT_BROKEN("touching entries of one type are merged", e[1].type = U);
    for (unsigned type = 0; type < LOAM_MEM_TYPES; type++)
        EXPECT_BROKEN("totals are the sums of the entries", f.map.total_bytes[type]++);
    fixture_free(&f);
}

static void digest_sees_every_field(void **state)
{
    const struct loam_memmap_entry raw[] = { pages(1, 3, U), pages(3, 5, R) };
    struct fixture f;
    (void)state;
    fixture_make(&f, raw, COUNT(raw));
    const uint64_t digest = loam_memmap_digest(&f.map);
#define EXPECT_SEEN(change)                                \
    do {                                                   \
        change;                                            \
        assert_true(loam_memmap_digest(&f.map) != digest); \
        fixture_build(&f);                                 \
        assert_true(loam_memmap_digest(&f.map) == digest); \
    } while (0)
    EXPECT_SEEN(f.map.entry_count--);
    EXPECT_SEEN(f.map.entry[1].range.start.addr++);
    EXPECT_SEEN(f.map.entry[1].range.size++);
    EXPECT_SEEN(f.map.entry[0].type = LOAM_MEM_BAD);
    for (unsigned type = 0; type < LOAM_MEM_TYPES; type++)
        EXPECT_SEEN(f.map.total_bytes[type]++);
    f.map.entry[f.map.entry_count].range.size++; /* storage behind the map is not state */
    assert_true(loam_memmap_digest(&f.map) == digest);
    fixture_free(&f);
}

static void every_type_and_repair_has_its_own_name(void **state)
{
    (void)state;
    assert_string_equal(loam_mem_type_name(LOAM_MEM_USABLE), "usable");
    assert_string_equal(loam_mem_type_name(LOAM_MEM_BOOT_RECLAIMABLE), "bootloader-reclaimable");
    assert_string_equal(loam_mem_type_name((enum loam_mem_type)LOAM_MEM_TYPES), "unknown type");
    assert_string_equal(loam_mem_type_name((enum loam_mem_type)UINT32_MAX), "unknown type");
    assert_string_equal(loam_repair_name(LOAM_REPAIR_PAGE_ZERO), "page-zero");
    assert_string_equal(loam_repair_name((enum loam_repair)LOAM_REPAIRS), "unknown repair");
    for (unsigned a = 0; a < LOAM_MEM_TYPES; a++) {
        for (unsigned b = 0; b <= LOAM_MEM_TYPES; b++)
            assert_int_equal(strcmp(loam_mem_type_name((enum loam_mem_type)a),
                                    loam_mem_type_name((enum loam_mem_type)b)) == 0,
                             a == b);
    }
    for (unsigned a = 0; a < LOAM_REPAIRS; a++) {
        for (unsigned b = 0; b <= LOAM_REPAIRS; b++)
            assert_int_equal(strcmp(loam_repair_name((enum loam_repair)a),
                                    loam_repair_name((enum loam_repair)b)) == 0,
                             a == b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memmap_M01_no_map_is_refused),
        cmocka_unit_test(impossible_address_widths_are_refused),
        cmocka_unit_test(memmap_M22_too_little_storage_names_both_numbers),
        cmocka_unit_test(memmap_M23_no_or_unaligned_storage_is_refused),
        cmocka_unit_test(memmap_M23_storage_that_overlaps_the_map_is_refused),
        cmocka_unit_test(every_repair_is_shown_with_its_place),
        cmocka_unit_test(memmap_M35_each_entry_is_read_once),
        cmocka_unit_test(audit_names_every_broken_rule),
        cmocka_unit_test(digest_sees_every_field),
        cmocka_unit_test(every_type_and_repair_has_its_own_name),
    };
    return RUN_TESTS(tests);
}
