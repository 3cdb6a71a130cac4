/*
 * pte_test.c - the bits of page table entries: the pure functions by themselves,
 * and what map writes, both against the manual (Intel SDM vol. 3, tables 4-14 to
 * 4-20).
 */
#include "paging_world.h"
#include "src/internal/pte.h"

#define BIT(n) (UINT64_C(1) << (n))

/* A CPU with everything, and 46 physical address bits. */
static const struct loam_cpu_features all = {
    .nx = true,
    .gib_pages = true,
    .global_pages = true,
    .pat = true,
    .phys_bits = 46,
    .levels = 4,
};

/* ---- pure functions ------------------------------------------------------ */

static void spans_and_indexes_follow_the_manual(void **state)
{
    (void)state;
    const uint64_t spans[] = { KIB(4), MIB(2), GIB(1), GIB(512), GIB(512) * 512 };
    const uint64_t virt = UINT64_C(0xff12345678abc123);
    const unsigned shifts[] = { 12, 21, 30, 39, 48 };
    for (unsigned level = 1; level <= 5; level++) {
        assert_int_equal(pte_span(level), spans[level - 1]);
        assert_int_equal(pte_index(virt, level), virt >> shifts[level - 1] & 0x1ff);
    }
}

/* attr -> bits -> attr, with the address untouched. */
static void attributes_survive_encoding(void **state)
{
    (void)state;
    for (unsigned level = 1; level <= 3; level++) {
        for (unsigned i = 0; i < 16 * LOAM_CACHES; i++) {
            const struct loam_attr a = attr(i % 16, (enum loam_cache)(i / 16));
            const uint64_t phys = GIB(37);
            const uint64_t entry = phys | pte_attr_bits(&all, level, a);
            const struct loam_attr back = pte_attr(&all, entry, level);
            assert_int_equal(back.prot, a.prot);
            assert_int_equal(back.cache, a.cache);
            assert_int_equal(pte_leaf_phys(entry, level), phys);
            assert_true(pte_is_present(entry));
            assert_true(pte_is_leaf(entry, level));
            assert_true(pte_is_ours(&all, entry, level));
        }
    }
}

/* A leaf with everything set, and other attributes: A and D and the address stay. */
static void protect_replaces_attributes_only(void **state)
{
    (void)state;
    for (unsigned level = 1; level <= 3; level++) {
        const uint64_t kept = GIB(9) | BIT(5) | BIT(6);
        for (unsigned cache = 0; cache < LOAM_CACHES; cache++) {
            const uint64_t from = pte_attr_bits(&all, level, attr(0xd, (enum loam_cache)cache));
            const uint64_t to = pte_attr_bits(&all, level, RX);
            assert_int_equal(pte_protect(kept | from, level, to), kept | to);
            assert_int_equal(pte_protect(kept | to, level, from), kept | from);
            assert_int_equal(pte_protect(GIB(9) | to, level, from), GIB(9) | from);
        }
    }
}

/* The PAT bit moves from 12 to 7 below 2 MiB, and stays at 12 below 1 GiB. */
static void split_moves_the_pat_bit(void **state)
{
    (void)state;
    const uint64_t rest = GIB(3) | BIT(63) | BIT(8) | BIT(6) | BIT(5) | BIT(4) | BIT(3) | 7;
    assert_int_equal(pte_split(rest | BIT(7) | BIT(12), 3), rest | BIT(7) | BIT(12));
    assert_int_equal(pte_split(rest | BIT(7), 3), rest | BIT(7));
    assert_int_equal(pte_split(rest | BIT(7) | BIT(12), 2), rest | BIT(7));
    assert_int_equal(pte_split(rest | BIT(7), 2), rest);
}

static void tables_grant_everything_but_user_in_the_higher_half(void **state)
{
    (void)state;
    assert_int_equal(pte_table(0x5000, true), 0x5027);
    assert_int_equal(pte_table(0x5000, false), 0x5023);
    assert_int_equal(pte_table_phys(0x5000 | BIT(63) | 0xfff), 0x5000);
}

/* Every single bit, in a table, in small leaves and in large ones. */
static void foreign_bits_are_told_apart(void **state)
{
    (void)state;
    const struct {
        unsigned level;
        uint64_t base, allowed;
    } rows[] = {
        /* tables: rights, A, address, count, two marks; bit 7: then a leaf with low
         * address bits */
        { 5, 1, 0x227 | (BIT(46) - BIT(12)) | (BIT(63) - BIT(52)) },
        { 4, 1, 0x227 | (BIT(46) - BIT(12)) | (BIT(63) - BIT(52)) },
        { 3, 1, 0x2a7 | (BIT(46) - BIT(12)) | (BIT(63) - BIT(52)) },
        { 2, 1, 0x2a7 | (BIT(46) - BIT(12)) | (BIT(63) - BIT(52)) },
        /* leaves: and D, PWT, PCD, PAT, G, NX, software bits, copy on write */
        { 1, 1, 0xfff | (BIT(46) - BIT(12)) | BIT(63) | BIT(52) | BIT(53) },
        { 2, 0x81, 0xfff | (BIT(46) - BIT(21)) | BIT(12) | BIT(63) | BIT(52) | BIT(53) },
        { 3, 0x81, 0xfff | (BIT(46) - BIT(30)) | BIT(12) | BIT(63) | BIT(52) | BIT(53) },
    };
    for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
        for (unsigned bit = 1; bit < 64; bit++) {
            const bool allowed = (rows[r].allowed & BIT(bit)) != 0;
            assert_int_equal(pte_is_ours(&all, rows[r].base | BIT(bit), rows[r].level), allowed);
            /* Not present: the lowest value of a guard, or of a tag. */
            assert_int_equal(pte_is_ours(&all, BIT(bit), rows[r].level),
                             rows[r].level <= 3 && (bit == 1 || bit == 2));
        }
        assert_true(pte_is_ours(&all, 0, rows[r].level));
    }
}

static void bits_of_missing_features_are_foreign(void **state)
{
    (void)state;
    struct loam_cpu_features less = all;
    less.nx = less.pat = less.gib_pages = false;
    less.phys_bits = 36;
    assert_true(pte_is_ours(&less, 1, 1));
    assert_false(pte_is_ours(&less, 1 | BIT(63), 1));
    assert_false(pte_is_ours(&less, 1 | BIT(7), 1));
    assert_false(pte_is_ours(&less, 0x81 | BIT(12), 2));
    assert_true(pte_is_ours(&less, 0x81, 2));
    assert_false(pte_is_ours(&less, 0x81, 3));
    assert_false(pte_is_ours(&less, 1 | BIT(36), 1));
    assert_true(pte_is_ours(&less, 1 | BIT(35), 1));
    less.phys_bits = 52;
    assert_true(pte_is_ours(&less, 1 | BIT(51), 1));
    assert_false(pte_is_ours(&less, 1 | BIT(54), 1));
}

static void marks_that_are_not_present_are_told_apart(void **state)
{
    (void)state;
    for (unsigned level = 1; level <= 3; level++) {
        const uint64_t span = pte_span(level);
        assert_true(pte_is_ours(&all, pte_hold(5 * span), level));
        assert_int_equal(pte_held_phys(pte_hold(5 * span)), 5 * span);
        assert_int_equal(pte_hold(5 * span) + 3 * pte_step(pte_hold(5 * span), level),
                         pte_hold(8 * span));
        assert_false(pte_is_ours(&all, pte_hold(5 * span) | BIT(63), level));
        assert_false(pte_is_ours(&all, pte_hold(5 * span) | BIT(8), level));
        assert_false(pte_is_ours(&all, pte_hold(BIT(46)), level)); /* no such memory */
        for (unsigned bit = 8; bit < 64; bit++) {
            assert_true(pte_is_ours(&all, 2 | BIT(bit), level)); /* guard */
            assert_true(pte_is_ours(&all, 4 | BIT(bit), level)); /* tag */
        }
        assert_false(pte_is_ours(&all, 2 | BIT(4), level));
        assert_false(pte_is_ours(&all, 8, level));
        assert_false(pte_is_ours(&all, 0x1000, level));
    }
    assert_false(pte_is_ours(&all, pte_hold(MIB(2)), 3)); /* not aligned */
    for (unsigned level = 4; level <= 5; level++)
        assert_false(pte_is_ours(&all, 2, level));
}

static void pages_to_be_copied_never_become_writable(void **state)
{
    (void)state;
    const struct loam_attr rw = attr(LOAM_PROT_WRITE, LOAM_CACHE_WB);
    const uint64_t bits = pte_attr_bits(&all, 1, rw);
    const uint64_t shared = pte_share(GIB(1) | bits | 0x60);
    assert_int_equal(shared & 2, 0);
    assert_int_equal(pte_attr(&all, shared, 1).prot, LOAM_PROT_WRITE); /* by right */
    const uint64_t read_only = pte_protect(shared, 1, pte_attr_bits(&all, 1, RO));
    assert_int_equal(pte_attr(&all, read_only, 1).prot, 0);
    const uint64_t again = pte_protect(read_only, 1, bits);
    assert_int_equal(again, shared);
    /* What could not be written to does not learn it by being shared. */
    assert_int_equal(pte_attr(&all, pte_share(GIB(1) | pte_attr_bits(&all, 1, RO)), 1).prot, 0);
}

static void what_a_split_makes_a_merge_unmakes(void **state)
{
    (void)state;
    for (unsigned cache = 0; cache < LOAM_CACHES; cache++) {
        for (unsigned level = 2; level <= 3; level++) {
            const uint64_t leaf =
                GIB(3) | pte_attr_bits(&all, level, attr(LOAM_PROT_WRITE, (enum loam_cache)cache));
            assert_int_equal(pte_merge(pte_split(leaf, level), level - 1), leaf);
        }
    }
    assert_int_equal(pte_merge(pte_split(0x702, 3), 2), 0x702); /* guards have no sizes */
}

/* ---- what map writes ----------------------------------------------------- */

/* All rights and cache types, in pages of the three sizes; the bits of the entry
 * are written out here once more, by the manual. */
static void map_P14_puts_every_bit_where_the_page_size_demands(void **state)
{
    (void)state;
    const uint64_t sizes[] = { KIB(4), MIB(2), GIB(1) };
    const uint64_t pat[] = { 0, 1, 2, 3, 4, 5 };
    for (unsigned s = 0; s < 3; s++) {
        for (loam_prot prot = 0; prot < 16; prot++) {
            const bool user = (prot & LOAM_PROT_USER) != 0;
            const bool global = (prot & LOAM_PROT_GLOBAL) != 0;
            if ((prot & 3) == 3 || (user && global))
                continue;
            world_start((struct world_options){ .cpus = 1 });
            const uint64_t virt = user ? LOWER : HIGHER;
            for (unsigned cache = 0; cache < LOAM_CACHES; cache++) {
                const struct loam_attr a = attr(prot, (enum loam_cache)cache);
                assert_int_equal(map(virt, sizes[s], GIB(5), a), LOAM_OK);
                const uint64_t high = (pat[cache] & 4) != 0 ? UINT64_C(1) << (s == 0 ? 7 : 12) : 0;
                const uint64_t want =
                    GIB(5) | 1 | (prot & LOAM_PROT_WRITE ? 2u : 0u) | (user ? 4u : 0u) |
                    (pat[cache] & 3) << 3 | (s == 0 ? 0u : 0x80u) | (global ? 0x100u : 0u) | high |
                    /* accessed, and dirty, in the higher half */
                    (user ? 0u : 0x20u) | (!user && (prot & LOAM_PROT_WRITE) != 0 ? 0x40u : 0u) |
                    (prot & LOAM_PROT_EXEC ? 0 : UINT64_C(1) << 63);
                assert_int_equal(raw_entry(virt, NULL, NULL), want);
                expect_page(virt + sizes[s] - 1, GIB(5) + sizes[s] - 1, a);
                struct loam_translation seen;
                assert_int_equal(loam_space_query(&space, loam_virt_at(virt), &seen), LOAM_OK);
                assert_int_equal(seen.attr.prot, prot);
                assert_int_equal(seen.attr.cache, cache);
                assert_int_equal(seen.page_size, sizes[s]);
                world_check();
                assert_int_equal(unmap(virt, sizes[s]), LOAM_OK);
            }
        }
    }
}

static void map_without_nx_sets_no_nx_and_says_so(void **state)
{
    (void)state;
    world_start((struct world_options){ .no_nx = true });
    struct loam_translation seen;
    assert_int_equal(map(LOWER, KIB(4), GIB(1), RW), LOAM_OK);
    assert_int_equal(raw_entry(LOWER, NULL, NULL), GIB(1) | 0x3);
    assert_int_equal(loam_space_query(&space, loam_virt_at(LOWER), &seen), LOAM_OK);
    assert_int_equal(seen.attr.prot, LOAM_PROT_WRITE | LOAM_PROT_EXEC);
    expect_page(LOWER, GIB(1), RW);
    world_check();
}

/* Write-combining and write-protected fall back to uncached-minus. */
static void map_without_pat_uses_no_pat_bit(void **state)
{
    (void)state;
    world_start((struct world_options){ .no_pat = true });
    const enum loam_cache want[] = { LOAM_CACHE_WB, LOAM_CACHE_WT,       LOAM_CACHE_UC_MINUS,
                                     LOAM_CACHE_UC, LOAM_CACHE_UC_MINUS, LOAM_CACHE_UC_MINUS };
    for (unsigned cache = 0; cache < LOAM_CACHES; cache++) {
        const uint64_t virt = HIGHER + cache * GIB(1);
        struct loam_translation seen;
        assert_int_equal(map(virt, MIB(2) + KIB(4), 0, attr(0, (enum loam_cache)cache)), LOAM_OK);
        expect_page(virt, 0, attr(0, want[cache]));
        expect_page(virt + MIB(2), MIB(2), attr(0, want[cache]));
        assert_int_equal(loam_space_query(&space, loam_virt_at(virt), &seen), LOAM_OK);
        assert_int_equal(seen.attr.cache, want[cache]);
    }
    world_check();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans_and_indexes_follow_the_manual),
        cmocka_unit_test(attributes_survive_encoding),
        cmocka_unit_test(protect_replaces_attributes_only),
        cmocka_unit_test(split_moves_the_pat_bit),
        cmocka_unit_test(tables_grant_everything_but_user_in_the_higher_half),
        cmocka_unit_test(foreign_bits_are_told_apart),
        cmocka_unit_test(bits_of_missing_features_are_foreign),
        cmocka_unit_test(marks_that_are_not_present_are_told_apart),
        cmocka_unit_test(pages_to_be_copied_never_become_writable),
        cmocka_unit_test(what_a_split_makes_a_merge_unmakes),
        cmocka_unit_test(map_P14_puts_every_bit_where_the_page_size_demands),
        cmocka_unit_test(map_without_nx_sets_no_nx_and_says_so),
        cmocka_unit_test(map_without_pat_uses_no_pat_bit),
    };
    return RUN_TESTS(tests);
}
