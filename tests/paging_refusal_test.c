/*
 * paging_refusal_test.c - requests that are refused and change nothing, tables
 * that cannot be had, entries that somebody has destroyed.
 */
#include "paging_world.h"

#define TOP UINT64_C(0xfffffffffffff000)

/* Refused with @p want; pages, tables and stock as before, and no flush. */
#define EXPECT_REFUSED(want, call)                         \
    do {                                                   \
        const uint64_t before_ = world_digest();           \
        const unsigned flushes_ = machine_flush_count();   \
        assert_int_equal((call), (want));                  \
        assert_int_equal(world_digest(), before_);         \
        assert_int_equal(machine_flush_count(), flushes_); \
        world_check();                                     \
    } while (0)

/* All three operations. */
static void expect_bad_range(uint64_t virt, uint64_t size)
{
    EXPECT_REFUSED(LOAM_INVALID, map(virt, size, GIB(4), RW));
    EXPECT_REFUSED(LOAM_INVALID, unmap(virt, size));
    EXPECT_REFUSED(LOAM_INVALID, protect(virt, size, RO));
}

/* ---- requests ------------------------------------------------------------ */

static void space_init_refuses_what_no_cpu_is(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    struct loam_space other;
    memset(&other, 0x5a, sizeof(other));
    const struct loam_space before = other;
    const struct {
        unsigned levels, phys_bits;
    } rows[] = { { 3, 46 }, { 6, 46 }, { 0, 46 }, { 4, 31 }, { 4, 53 }, { 5, 0 } };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct loam_cpu_features features = loam_cpu_identify();
        features.levels = rows[i].levels;
        features.phys_bits = rows[i].phys_bits;
        EXPECT_REFUSED(LOAM_INVALID, loam_space_init(&other, &stock, &features));
        assert_memory_equal(&other, &before, sizeof(other));
    }
    struct loam_cpu_features features = loam_cpu_identify();
    features.phys_bits = 32;
    assert_int_equal(loam_space_init(&other, &stock, &features), LOAM_OK);
    assert_int_equal(other.features.phys_bits, 32);
    world_start((struct world_options){ .frames = 1 });
    other = before;
    EXPECT_REFUSED(LOAM_NO_MEMORY, loam_space_init(&other, &stock, &features));
    assert_memory_equal(&other, &before, sizeof(other));
}

static void space_init_panics_on_a_direct_map_of_unknown_origin(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    struct loam_space other;
    const struct loam_cpu_features features = loam_cpu_identify();
    enum loam_status st = LOAM_OK;
    stock.hhdm.seal = 0;
    EXPECT_PANIC("paging: direct map not from a boot adapter",
                 st = loam_space_init(&other, &stock, &features));
    assert_int_equal(st, LOAM_OK);
}

/* Non-canonical, or canonical at both ends only, or over the hole. */
static void P01_ranges_that_are_not_canonical_are_refused(void **state)
{
    (void)state;
    for (unsigned levels = 4; levels <= 5; levels++) {
        world_start((struct world_options){ .levels = levels });
        const uint64_t half = UINT64_C(1) << (levels == 5 ? 56 : 47);
        expect_bad_range(half, KIB(4));
        expect_bad_range(half - KIB(4), KIB(8));
        expect_bad_range(0 - half - KIB(4), KIB(4));
        expect_bad_range(0 - half - KIB(4), KIB(8));
        expect_bad_range(half - KIB(4), 0 - 2 * half + KIB(8)); /* both ends are fine */
        expect_bad_range(0, TOP);
        assert_int_equal(map(half - KIB(4), KIB(4), 0, RW), LOAM_OK);
        assert_int_equal(map(0 - half, KIB(4), 0, RW), LOAM_OK);
        assert_int_equal(map(TOP, KIB(4), 0, RW), LOAM_OK);
        world_check();
    }
}

static void P02_unaligned_requests_are_refused(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    expect_bad_range(LOWER + 1, KIB(4));
    expect_bad_range(LOWER + 0x800, KIB(4));
    expect_bad_range(TOP + 0xfff, KIB(4));
    EXPECT_REFUSED(LOAM_INVALID, map(LOWER, KIB(4), 1, RW));
    EXPECT_REFUSED(LOAM_INVALID, map(LOWER, KIB(4), GIB(1) + 0x800, RW));
    /* Nor where the table was used lately. */
    assert_int_equal(map(LOWER, KIB(12), GIB(1), RW), LOAM_OK);
    assert_int_equal(protect(LOWER, KIB(4), RW), LOAM_OK);
    EXPECT_REFUSED(LOAM_INVALID, unmap(LOWER + 1, KIB(4)));
    EXPECT_REFUSED(LOAM_INVALID, map(LOWER + KIB(12) + 1, KIB(4), GIB(1), RW));
    EXPECT_REFUSED(LOAM_INVALID, map(LOWER + KIB(12), KIB(4), GIB(1) + 1, RW));
    EXPECT_REFUSED(LOAM_INVALID, map(LOWER + KIB(12), KIB(4), UINT64_C(1) << 46, RW));
    EXPECT_REFUSED(LOAM_INVALID, map(LOWER + KIB(12), KIB(4), UINT64_C(1) << 63, RW));
}

static void P03_frames_above_the_physical_limit_are_refused(void **state)
{
    (void)state;
    for (unsigned bits = 36; bits <= 52; bits += 8) {
        world_start((struct world_options){ .phys_bits = bits });
        const uint64_t limit = UINT64_C(1) << bits;
        EXPECT_REFUSED(LOAM_INVALID, map(LOWER, KIB(4), limit, RW));
        EXPECT_REFUSED(LOAM_INVALID, map(LOWER, KIB(8), limit - KIB(4), RW));
        EXPECT_REFUSED(LOAM_INVALID, map(LOWER, KIB(4), 0 - KIB(4), RW));
        EXPECT_REFUSED(LOAM_INVALID, map(LOWER, KIB(8), 0 - KIB(4), RW)); /* wraps */
        EXPECT_REFUSED(LOAM_INVALID, map(LOWER, KIB(4), loam_phys_none().addr, RW));
        EXPECT_REFUSED(LOAM_INVALID, map(LOWER, KIB(4), UINT64_C(1) << 63, RW));
        assert_int_equal(map(LOWER, KIB(4), limit - KIB(4), RW), LOAM_OK);
    }
}

static void P04_sizes_that_are_zero_odd_or_wrap_are_refused(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    const uint64_t sizes[] = {
        0, 1, KIB(4) - 1, KIB(4) + 1, (UINT64_C(1) << 63) - 1, UINT64_C(1) << 63, TOP, UINT64_MAX
    };
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        expect_bad_range(LOWER, sizes[i]);
        expect_bad_range(HIGHER, sizes[i]);
    }
    expect_bad_range(TOP, KIB(8)); /* ends at 4 KiB */
    expect_bad_range(HIGHER, 0 - HIGHER + KIB(4));
}

static void P11_P15_attributes_nobody_may_have_are_refused(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    assert_int_equal(map(LOWER, KIB(4), 0, RO), LOAM_OK);
    assert_int_equal(map(HIGHER, KIB(4), 0, RO), LOAM_OK);
    const struct {
        uint64_t half;
        loam_prot prot;
        unsigned cache;
    } rows[] = {
        { LOWER, LOAM_PROT_WRITE | LOAM_PROT_EXEC, 0 },
        { HIGHER, LOAM_PROT_WRITE | LOAM_PROT_EXEC, 0 },
        { HIGHER, LOAM_PROT_USER, 0 },
        { LOWER, LOAM_PROT_GLOBAL, 0 },
        { LOWER, 0x10, 0 },
        { HIGHER, 0x80000000, 0 },
        { LOWER, 0, LOAM_CACHES },
        { LOWER, 0, UINT32_MAX },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct loam_attr a = attr(rows[i].prot, (enum loam_cache)rows[i].cache);
        EXPECT_REFUSED(LOAM_INVALID, map(rows[i].half + GIB(1), KIB(4), 0, a));
        EXPECT_REFUSED(LOAM_INVALID, protect(rows[i].half, KIB(4), a));
    }
    world_start((struct world_options){ .no_nx = true }); /* W^X is a rule for requests, too */
    EXPECT_REFUSED(LOAM_INVALID, map(LOWER, KIB(4), 0, attr(3, LOAM_CACHE_WB)));
}

/*
 *   mapped      [4K)   [ 2 MiB )   [ 1 GiB )
 *   request   over the first, the last, a middle page, all, a part of each
 */
static void P05_P06_nothing_is_mapped_over_something(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    const uint64_t places[] = { LOWER + GIB(2), LOWER + GIB(4), LOWER + GIB(6) };
    const uint64_t sizes[] = { KIB(4), MIB(2), GIB(1) };
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(map(places[i], sizes[i], GIB(2), RO), LOAM_OK);
        expect_page(places[i], GIB(2), RO);
    }
    for (unsigned i = 0; i < 3; i++) {
        const uint64_t at = places[i];
        const uint64_t size = sizes[i];
        EXPECT_REFUSED(LOAM_OVERLAP, map(at, size, GIB(2), RO)); /* the very same */
        EXPECT_REFUSED(LOAM_OVERLAP, map(at, KIB(4), GIB(8), RW));
        EXPECT_REFUSED(LOAM_OVERLAP, map(at + size - KIB(4), KIB(4), GIB(8), RW));
        EXPECT_REFUSED(LOAM_OVERLAP, map(at - KIB(4), KIB(8), GIB(8), RW));
        EXPECT_REFUSED(LOAM_OVERLAP, map(at + size - KIB(4), KIB(8), GIB(8), RW));
        EXPECT_REFUSED(LOAM_OVERLAP, map(at - MIB(2), size + MIB(4), GIB(8), RW));
        EXPECT_REFUSED(LOAM_OVERLAP, map(at, MIB(2), GIB(8), RW));
        EXPECT_REFUSED(LOAM_OVERLAP, map(at, GIB(1), GIB(8), RW));
        EXPECT_REFUSED(LOAM_OVERLAP, map(at - GIB(1), GIB(3), GIB(8), RW));
        EXPECT_REFUSED(LOAM_OVERLAP, map(at - GIB(1), GIB(3), GIB(8) + KIB(4), RW));
        expect_page(at, GIB(2), RO);
        assert_int_equal(map(at + size, KIB(4), GIB(8), RW), LOAM_OK);
        assert_int_equal(map(at - KIB(4), KIB(4), GIB(8), RW), LOAM_OK);
        world_check();
    }
}

/* The table that small pages needed is gone with the last of them. */
static void P06_a_large_page_takes_the_place_of_emptied_tables(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    assert_int_equal(map(LOWER, MIB(4), KIB(4), RW), LOAM_OK);
    expect_page(LOWER, KIB(4), RW);
    EXPECT_REFUSED(LOAM_OVERLAP, map(LOWER, GIB(1), GIB(1), RW));
    assert_int_equal(unmap(LOWER, MIB(4)), LOAM_OK);
    assert_int_equal(map(LOWER, GIB(1), GIB(1), RW), LOAM_OK);
    assert_int_equal(page_size_at(LOWER), GIB(1));
    expect_page(LOWER, GIB(1), RW);
    assert_int_equal(space.table_count, 2);
    world_check();
}

/*
 *   mapped   [ 2 MiB )[4K)[4K)hole[4K)
 */
static void P09_P11_ranges_with_a_hole_are_neither_unmapped_nor_changed(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    assert_int_equal(map(LOWER, MIB(2) + KIB(8), GIB(1), RW), LOAM_OK);
    assert_int_equal(map(LOWER + MIB(2) + KIB(12), KIB(4), GIB(1), RW), LOAM_OK);
    const struct {
        uint64_t start, size;
    } rows[] = {
        { GIB(1), KIB(4) },
        { GIB(1), GIB(1) },
        { MIB(2) + KIB(8), KIB(4) },
        { 0, MIB(2) + KIB(12) },
        { 0, MIB(2) + KIB(16) },
        { 0, GIB(1) },
        { MIB(2), KIB(16) },
        { MIB(2) + KIB(8), KIB(8) },
        { KIB(4), MIB(4) },
        { MIB(2) + KIB(12), KIB(8) },
        { 0, GIB(512) },
        { GIB(512), KIB(4) },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        EXPECT_REFUSED(LOAM_NOT_FOUND, unmap(LOWER + rows[i].start, rows[i].size));
        EXPECT_REFUSED(LOAM_NOT_FOUND, protect(LOWER + rows[i].start, rows[i].size, RO));
    }
    assert_int_equal(page_size_at(LOWER), MIB(2)); /* nothing was split */
    expect_page(LOWER, GIB(1), RW);
}

/* ---- tables that cannot be had ------------------------------------------- */

/* The machine's frames hold the tables; the rest of the stock is @p left. */
static uint64_t parked[64];
static unsigned parked_count;

static void leave_frames(uint64_t left)
{
    parked_count = 0;
    while (stock.frame_count > left) {
        loam_phys frame;
        assert_int_equal(loam_stock_take(&stock, 1, &frame), LOAM_OK);
        parked[parked_count++] = loam_stock_next(&stock, &frame).addr;
    }
}

static void return_frames(void)
{
    while (parked_count > 0)
        loam_stock_put(&stock, loam_phys_at(parked[--parked_count]));
}

/* With k frames too few, for every k, the call is refused and changes nothing. */
static void expect_all_or_nothing(enum loam_status (*call)(void), uint64_t tables)
{
    uint64_t *const root = machine_ram(space.root.addr);
    for (uint64_t left = 0; left < tables; left++) {
        uint64_t copy[512];
        leave_frames(left);
        const uint64_t before = world_digest();
        const unsigned flushes = machine_flush_count();
        memcpy(copy, root, sizeof(copy));
        assert_int_equal(call(), LOAM_NO_MEMORY);
        assert_int_equal(world_digest(), before);
        assert_memory_equal(copy, root, sizeof(copy)); /* bit for bit */
        assert_int_equal(stock.frame_count, left);
        assert_int_equal(machine_flush_count(), flushes);
        assert_null(loam_space_audit(&space));
        return_frames();
    }
    const uint64_t count = space.table_count;
    leave_frames(tables);
    assert_int_equal(call(), LOAM_OK);
    assert_int_equal(stock.frame_count, 0);
    assert_int_equal(space.table_count, count + tables);
    return_frames();
    world_check();
}

static enum loam_status map_one_page(void)
{
    return map(LOWER, KIB(4), GIB(1), RW);
}

static enum loam_status map_many_sizes(void)
{
    return map(HIGHER + GIB(511) - MIB(2) - KIB(4), GIB(2) + MIB(6), GIB(5) - MIB(2) - KIB(4), RW);
}

static enum loam_status unmap_middle(void)
{
    return unmap(LOWER + MIB(2) + KIB(4), MIB(4));
}

static enum loam_status protect_middle(void)
{
    return protect(LOWER + MIB(2) + KIB(4), GIB(1), RO);
}

static void P07_map_of_one_page_needs_three_tables_or_changes_nothing(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    expect_all_or_nothing(map_one_page, 3);
    world_start((struct world_options){ .levels = 5 });
    expect_all_or_nothing(map_one_page, 4);
}

/* Tables of all levels under two entries of the root: 1 PDPT + 1 PD + 2 PT here,
 * 1 PDPT + 1 PD + 1 PT there. */
static void P08_map_of_a_long_range_needs_all_its_tables_or_changes_nothing(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    assert_int_equal(map(HIGHER, KIB(4), 0, RW), LOAM_OK);
    assert_int_equal(map_many_sizes(), LOAM_OK);
    const uint64_t tables = space.table_count - 4;
    expect_page(HIGHER + GIB(511), GIB(5), RW);
    world_start((struct world_options){ 0 });
    assert_int_equal(map(HIGHER, KIB(4), 0, RW), LOAM_OK);
    expect_all_or_nothing(map_many_sizes, tables);
}

static void P10_a_split_without_a_table_leaves_the_large_page_whole(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    assert_int_equal(map(LOWER, GIB(2), GIB(4), RW), LOAM_OK);
    expect_page(LOWER + MIB(2) + KIB(4), GIB(4) + MIB(2) + KIB(4), RW);
    leave_frames(2);
    assert_int_equal(unmap_middle(), LOAM_NO_MEMORY);
    expect_page(LOWER + MIB(2) + KIB(4), GIB(4) + MIB(2) + KIB(4), RW);
    assert_int_equal(page_size_at(LOWER), GIB(1));
    return_frames();
    expect_all_or_nothing(unmap_middle, 3);
    world_start((struct world_options){ 0 });
    assert_int_equal(map(LOWER, GIB(2), GIB(4), RW), LOAM_OK);
    expect_all_or_nothing(protect_middle, 4);
}

/* Each injection point in turn, once and for ever: refused and nothing changed,
 * or done. */
static void P07_P08_every_injected_failure_changes_nothing(void **state)
{
    (void)state;
    enum loam_status (*const calls[])(void) = { map_one_page, map_many_sizes, unmap_middle,
                                                protect_middle };
    for (unsigned c = 0; c < 4; c++) {
        unsigned refused = 0;
        INJECT_EACH_POINT
        {
            world_start((struct world_options){ 0 });
            if (c >= 2)
                assert_int_equal(map(LOWER, GIB(2), GIB(4), RW), LOAM_OK);
            const uint64_t before = world_digest();
            INJECT_ARM();
            const enum loam_status st = calls[c]();
            INJECT_DISARM();
            if (inject_fired()) {
                refused++;
                assert_int_equal(st, LOAM_NO_MEMORY);
                assert_int_equal(world_digest(), before);
                assert_int_equal(machine_flush_count(), 0);
                world_check();
            }
            if (st != LOAM_OK)
                assert_int_equal(calls[c](), LOAM_OK); /* now there is memory */
            world_check();
        }
        assert_int_equal(refused, 2);
    }
}

/* ---- corruption ---------------------------------------------------------- */

static void attempt(unsigned operation)
{
    struct loam_translation seen;
    struct loam_mapping run;
    enum loam_status st = LOAM_OK;
    switch (operation) {
    case 0:
        st = map(LOWER + KIB(8), KIB(4), GIB(1), RW);
        break;
    case 1:
        st = unmap(LOWER, KIB(32));
        break;
    case 2:
        st = protect(LOWER, KIB(32), RO);
        break;
    case 3:
        st = loam_space_query(&space, loam_virt_at(LOWER), &seen);
        break;
    default:
        st = loam_space_next(&space, loam_virt_at(0), &run);
    }
    fail_msg("not noticed, status %d", st);
}

/* The word of the table of @p level that LOWER goes through. */
static uint64_t *word_at(unsigned level)
{
    uint64_t table = space.root.addr;
    for (unsigned l = 4;; l--) {
        uint64_t *const word = machine_ram(table + (LOWER >> (12 + 9 * (l - 1)) & 511) * 8);
        if (l == level)
            return word;
        table = *word & UINT64_C(0x000ffffffffff000);
    }
}

static void expect_corrupt_in(unsigned operation, unsigned level, uint64_t entry, const char *rule)
{
    world_start((struct world_options){ 0 });
    assert_int_equal(map(LOWER, KIB(8), GIB(1), RW), LOAM_OK);
    uint64_t *const word = word_at(level);
    const uint64_t own = ((uint64_t)(uintptr_t)word - machine_hhdm().offset) & ~UINT64_C(4095);
    *word = entry != 0 ? entry : own | 7;
    if (level > 2) /* who remembers the table of level 2 does not come here */
        memset(&space.recent, 0, sizeof(space.recent));
    EXPECT_PANIC(rule, attempt(operation));
    assert_int_equal(panic_trap.seen.subject, *word);
    assert_int_equal(panic_trap.seen.detail, level * 512 + (LOWER >> (12 + 9 * (level - 1)) & 511));
}

/* Spoil the entry that translates LOWER, at @p level; 0: let it point to its own
 * table. Every operation that meets it must panic, naming it. */
static void expect_corrupt(unsigned level, uint64_t entry, const char *rule)
{
    for (unsigned operation = 0; operation < 5; operation++)
        expect_corrupt_in(operation, level, entry, rule);
}

static void P18_corrupt_entries_panic_with_their_place(void **state)
{
    (void)state;
    const char *const corrupt = "paging: corrupt entry (entry; level * 512 + index)";
    for (unsigned level = 2; level <= 4; level++) {
        expect_corrupt(level, POOL | 7 | UINT64_C(1) << 46, corrupt);
        expect_corrupt(level, POOL | 7 | UINT64_C(1) << 63, corrupt);
        expect_corrupt(level, POOL | 6, corrupt); /* not present, not zero */
    }
    expect_corrupt(4, POOL | 0x87, corrupt); /* there are no 512 GiB pages */
    expect_corrupt(2, POOL | 0x1087 | UINT64_C(1) << 13, corrupt);
}

static void P18_P19_a_table_that_contains_itself_panics(void **state)
{
    (void)state;
    for (unsigned level = 2; level <= 4; level++)
        expect_corrupt(level, 0, "paging: table points to itself (entry; level * 512 + index)");
}

static void attempt_all(unsigned operation, uint64_t size)
{
    const enum loam_status st = operation == 0 ? unmap(LOWER, size)
                                : operation == 1
                                    ? protect(LOWER, size, RO)
                                    : loam_space_set_soft(&space, range(LOWER, size), 1);
    fail_msg("not noticed, status %d", st);
}

static void expect_corrupt_page(unsigned operation, uint64_t size, unsigned page)
{
    uint64_t *word;
    world_start((struct world_options){ 0 });
    assert_int_equal(map(LOWER, size, GIB(1) + KIB(4), RW), LOAM_OK);
    raw_entry(LOWER + PAGES(page), NULL, &word);
    *word |= UINT64_C(1) << 50;
    EXPECT_PANIC("paging: corrupt entry (entry; level * 512 + index)",
                 attempt_all(operation, size));
    assert_int_equal(panic_trap.seen.detail, 512 + page);
}

/* Not only the first entry of a run is looked at, nor only where some are missing. */
static void P18_corrupt_pages_in_mid_range_panic(void **state)
{
    (void)state;
    for (unsigned page = 0; page < 16; page++) {
        for (unsigned operation = 0; operation < 3; operation++) {
            expect_corrupt_page(operation, KIB(64), page);
            expect_corrupt_page(operation, MIB(2), page);
        }
    }
}

/* ---- audit --------------------------------------------------------------- */

/* Change one entry; the audit must say @p rule, and nothing once it is back. */
static void expect_broken(uint64_t virt, uint64_t entry, const char *rule)
{
    uint64_t *word;
    const uint64_t before = raw_entry(virt, NULL, &word);
    *word = entry;
    assert_string_equal(loam_space_audit(&space), rule);
    *word = before;
    assert_null(loam_space_audit(&space));
}

static void audit_names_every_broken_rule(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    assert_int_equal(map(LOWER, KIB(8), GIB(1), RW), LOAM_OK);
    assert_int_equal(map(HIGHER, MIB(2), GIB(1), RW), LOAM_OK);
    const uint64_t nx = UINT64_C(1) << 63;
    const uint64_t foreign = UINT64_C(1) << 54;
    expect_broken(LOWER, 0x1000, "paging: entry has a bit that is reserved or never used");
    expect_broken(LOWER, 2, "paging: table is not marked as one with entries that are not present");
    expect_broken(LOWER, 0, "paging: entries in use are not as many as counted");
    expect_broken(LOWER, GIB(1) | 3 | nx | UINT64_C(1) << 52,
                  "paging: writable page that is to be copied first");
    expect_broken(LOWER, GIB(1) | 1 | nx | UINT64_C(1) << 53,
                  "paging: writable page that is to be copied first");
    expect_broken(LOWER + KIB(4), GIB(1) | 3 | nx | foreign,
                  "paging: entry has a bit that is reserved or never used");
    expect_broken(LOWER, GIB(1) | 3, "paging: page is writable and executable");
    expect_broken(HIGHER, GIB(1) | 0x83, "paging: page is writable and executable");
    expect_broken(LOWER, GIB(1) | 0x101 | nx, "paging: global page in the lower half");
    expect_broken(HIGHER, GIB(1) | 0x85 | nx, "paging: user page in the higher half");
    expect_broken(LOWER, GIB(1) | 0x91 | nx, "paging: cache type that is never used");

    /* Tables: LOWER has three below the root. */
    uint64_t *pml4 = machine_ram(space.root.addr + (LOWER >> 39) * 8);
    const uint64_t pdpt = *pml4;
    *pml4 = pdpt & ~UINT64_C(4);
    assert_string_equal(loam_space_audit(&space),
                        "paging: table without the rights that its half has");
    *pml4 = pdpt & ~UINT64_C(2);
    assert_string_equal(loam_space_audit(&space),
                        "paging: table without the rights that its half has");
    *pml4 = pdpt & ~UINT64_C(0x20); /* accessed: the processor would write there */
    assert_string_equal(loam_space_audit(&space),
                        "paging: table without the rights that its half has");
    *pml4 = pdpt;
    pml4[1] = pdpt; /* one table in two places */
    assert_string_equal(loam_space_audit(&space),
                        "paging: more tables than counted, or one reached twice");
    pml4[1] = 0;
    *pml4 = 0;
    assert_string_equal(loam_space_audit(&space), "paging: fewer tables than counted");
    *pml4 = space.root.addr | 7; /* a cycle: it ends, whatever it says */
    assert_non_null(loam_space_audit(&space));
    *pml4 = pdpt;
    uint64_t *first;
    uint64_t *second;
    raw_entry(LOWER, NULL, &first);
    raw_entry(LOWER + KIB(4), NULL, &second);
    *first = *second = 0;
    assert_string_equal(loam_space_audit(&space), "paging: empty table");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(space_init_refuses_what_no_cpu_is),
        cmocka_unit_test(space_init_panics_on_a_direct_map_of_unknown_origin),
        cmocka_unit_test(P01_ranges_that_are_not_canonical_are_refused),
        cmocka_unit_test(P02_unaligned_requests_are_refused),
        cmocka_unit_test(P03_frames_above_the_physical_limit_are_refused),
        cmocka_unit_test(P04_sizes_that_are_zero_odd_or_wrap_are_refused),
        cmocka_unit_test(P11_P15_attributes_nobody_may_have_are_refused),
        cmocka_unit_test(P05_P06_nothing_is_mapped_over_something),
        cmocka_unit_test(P06_a_large_page_takes_the_place_of_emptied_tables),
        cmocka_unit_test(P09_P11_ranges_with_a_hole_are_neither_unmapped_nor_changed),
        cmocka_unit_test(P07_map_of_one_page_needs_three_tables_or_changes_nothing),
        cmocka_unit_test(P08_map_of_a_long_range_needs_all_its_tables_or_changes_nothing),
        cmocka_unit_test(P10_a_split_without_a_table_leaves_the_large_page_whole),
        cmocka_unit_test(P07_P08_every_injected_failure_changes_nothing),
        cmocka_unit_test(P18_corrupt_entries_panic_with_their_place),
        cmocka_unit_test(P18_P19_a_table_that_contains_itself_panics),
        cmocka_unit_test(P18_corrupt_pages_in_mid_range_panic),
        cmocka_unit_test(audit_names_every_broken_rule),
    };
    return RUN_TESTS(tests);
}
