/*
 * srat_test.c - ACPI's affinity table: what is read from good ones, what is left of
 * bad ones, against a model that asks every entry about every page.
 */
#include "harness.h"

#include <stdlib.h>
#include <string.h>

#include "kernel/srat.c"

#define GIB      (UINT64_C(1) << 30)
#define PAGE     LOAM_PAGE_SIZE
#define ENABLED  1u
#define PLUGGED  2u
#define NO_RAM   4u
#define ROOM     64u
#define LIST_MAX 48u

static uint8_t table[8192];
static size_t table_size;
static struct loam_frame_node ranges[ROOM];

static void put(size_t at, unsigned bytes, uint64_t value)
{
    for (unsigned i = 0; i < bytes; i++)
        table[at + i] = (uint8_t)(value >> (8 * i));
}

static void new_table(uint8_t revision)
{
    memset(table, 0, sizeof table);
    memcpy(table, "SRAT", 4);
    table[8] = revision;
    put(36, 4, 1);
    table_size = 48;
}

static size_t add_entry(uint8_t type, uint8_t length)
{
    const size_t at = table_size;
    assert_true(table_size + length <= sizeof table);
    table[at] = type;
    table[at + 1] = length;
    table_size += length;
    return at;
}

static void add_memory(uint32_t node, uint64_t start, uint64_t size, uint32_t flags)
{
    const size_t at = add_entry(1, 40);
    put(at + 2, 4, node);
    put(at + 8, 8, start);
    put(at + 16, 8, size);
    put(at + 28, 4, flags);
}

static void add_cpu(uint32_t node, uint8_t apic_id, uint32_t flags)
{
    const size_t at = add_entry(0, 16);
    table[at + 2] = (uint8_t)node;
    table[at + 3] = apic_id;
    put(at + 4, 4, flags);
    table[at + 8] = 0xee; /* the SAPIC's own, none of the domain */
    put(at + 9, 3, node >> 8);
}

static void add_x2apic(uint32_t node, uint32_t apic_id, uint32_t flags)
{
    const size_t at = add_entry(2, 24);
    put(at + 4, 4, node);
    put(at + 8, 4, apic_id);
    put(at + 12, 4, flags);
}

/* Read it from memory of exactly its size: the sanitizer sees each byte too far. */
static struct srat read_exactly(void)
{
    struct srat srat = { .range = ranges };
    uint8_t *copy = malloc(table_size);
    assert_non_null(copy);
    memcpy(copy, table, table_size);
    assert_true(srat_room(table_size) <= ROOM);
    srat_read(&srat, copy, table_size);
    free(copy);
    return srat;
}

static uint32_t node_of_cpu(uint32_t apic_id)
{
    uint8_t *copy = malloc(table_size);
    assert_non_null(copy);
    memcpy(copy, table, table_size);
    const uint32_t node = srat_node_of_cpu(copy, table_size, apic_id);
    free(copy);
    return node;
}

static void expect_range(const struct srat *srat, size_t index, uint32_t node, uint64_t start,
                         uint64_t size)
{
    assert_true(index < srat->range_count);
    assert_int_equal(srat->range[index].node, node);
    assert_int_equal(srat->range[index].range.start.addr, start);
    assert_int_equal(srat->range[index].range.size, size);
}

/* Of each kind as many as stand there, and no others. */
static void expect_faults(const struct srat *srat, const uint64_t wanted[SRAT_FAULTS])
{
    for (unsigned i = 0; i < SRAT_FAULTS; i++) {
        if (srat->fault_count[i] != wanted[i])
            print_message("%s\n", srat_fault_name((enum srat_fault)i));
        assert_int_equal(srat->fault_count[i], wanted[i]);
    }
}

#define NO_FAULTS ((const uint64_t[SRAT_FAULTS]){ 0 })

/* ---- good tables ------------------------------------------------------------- */

static void two_nodes_are_read_as_they_stand(void **state)
{
    (void)state;
    new_table(3);
    add_cpu(0, 0, ENABLED);
    add_cpu(7, 1, ENABLED);
    add_memory(0, 0, 0xa0000, ENABLED);
    add_memory(0, 0x100000, GIB - 0x100000, ENABLED);
    add_memory(7, GIB, 2 * GIB, ENABLED);
    const struct srat srat = read_exactly();
    expect_faults(&srat, NO_FAULTS);
    assert_int_equal(srat.range_count, 3);
    expect_range(&srat, 0, 0, 0, 0xa0000);
    expect_range(&srat, 1, 0, 0x100000, GIB - 0x100000);
    expect_range(&srat, 2, 7, GIB, 2 * GIB);
    assert_int_equal(node_of_cpu(0), 0);
    assert_int_equal(node_of_cpu(1), 7);
    assert_int_equal(node_of_cpu(2), LOAM_NODE_NONE);
}

static void unsorted_ranges_are_sorted_and_touching_ones_joined(void **state)
{
    (void)state;
    new_table(3);
    add_memory(1, 5 * GIB, GIB, ENABLED);
    add_memory(0, GIB, GIB, ENABLED);
    add_memory(1, 4 * GIB, GIB, ENABLED | PLUGGED);
    add_memory(0, 0, GIB, ENABLED);
    add_memory(0, 3 * GIB, GIB, ENABLED);
    const struct srat srat = read_exactly();
    expect_faults(&srat, NO_FAULTS);
    assert_int_equal(srat.range_count, 3);
    expect_range(&srat, 0, 0, 0, 2 * GIB);
    expect_range(&srat, 1, 0, 3 * GIB, GIB);
    expect_range(&srat, 2, 1, 4 * GIB, 2 * GIB);
}

static void disabled_empty_and_non_volatile_ranges_are_left_out(void **state)
{
    (void)state;
    new_table(3);
    add_memory(0, 0, GIB, ENABLED);
    add_memory(1, GIB, GIB, 0);
    add_memory(1, 2 * GIB, GIB, PLUGGED);
    add_memory(1, 3 * GIB, GIB, ENABLED | NO_RAM);
    add_memory(1, 4 * GIB, 0, ENABLED);
    add_memory(LOAM_NODE_NONE, 4 * GIB + 1, 0, ENABLED);
    const struct srat srat = read_exactly();
    expect_faults(&srat, NO_FAULTS);
    assert_int_equal(srat.range_count, 1);
    expect_range(&srat, 0, 0, 0, GIB);
}

static void domains_have_32_bits_and_8_in_the_first_revision(void **state)
{
    (void)state;
    for (uint8_t revision = 1; revision <= 3; revision++) {
        new_table(revision);
        add_memory(0x12345678, 0, GIB, ENABLED);
        add_cpu(0xabcdef01, 5, ENABLED);
        const struct srat srat = read_exactly();
        expect_range(&srat, 0, revision < 2 ? 0x78 : 0x12345678, 0, GIB);
        assert_int_equal(node_of_cpu(5), revision < 2 ? 0x01 : 0xabcdef01);
    }
}

static void x2apic_ids_have_32_bits(void **state)
{
    (void)state;
    new_table(3);
    add_x2apic(0x1000002, 0x12345, ENABLED);
    add_x2apic(4, 9, 0);
    add_cpu(3, 0x45, ENABLED);
    add_cpu(6, 0x46, 0);
    assert_int_equal(node_of_cpu(0x12345), 0x1000002);
    assert_int_equal(node_of_cpu(0x45), 3);
    assert_int_equal(node_of_cpu(0x46), LOAM_NODE_NONE);
    assert_int_equal(node_of_cpu(9), LOAM_NODE_NONE);
}

static void entries_of_other_types_are_passed_over(void **state)
{
    (void)state;
    new_table(3);
    for (unsigned type = 3; type < 9; type++)
        add_entry((uint8_t)type, (uint8_t)(2 + 5 * type));
    add_memory(1, GIB, GIB, ENABLED);
    add_entry(255, 255);
    add_cpu(1, 4, ENABLED);
    const struct srat srat = read_exactly();
    expect_faults(&srat, NO_FAULTS);
    assert_int_equal(srat.range_count, 1);
    assert_int_equal(node_of_cpu(4), 1);
}

static void longer_entries_of_a_later_revision_are_read(void **state)
{
    (void)state;
    new_table(9);
    const size_t at = add_entry(1, 60);
    put(at + 2, 4, 2);
    put(at + 16, 8, GIB);
    put(at + 28, 4, ENABLED);
    add_memory(3, GIB, GIB, ENABLED);
    const struct srat srat = read_exactly();
    expect_faults(&srat, NO_FAULTS);
    expect_range(&srat, 0, 2, 0, GIB);
    expect_range(&srat, 1, 3, GIB, GIB);
}

static void tables_without_entries_have_no_ranges(void **state)
{
    (void)state;
    new_table(3);
    for (size_t size = 36; size <= 48; size++) {
        table_size = size;
        const struct srat srat = read_exactly();
        expect_faults(&srat, NO_FAULTS);
        assert_int_equal(srat.range_count, 0);
        assert_int_equal(srat_room(size), 0);
        assert_int_equal(node_of_cpu(0), LOAM_NODE_NONE);
    }
}

/* ---- bad tables -------------------------------------------------------------- */

static void entries_past_the_end_are_not_read(void **state)
{
    (void)state;
    for (size_t kept = 1; kept < 40; kept++) {
        new_table(3);
        add_memory(0, 0, GIB, ENABLED);
        add_memory(1, GIB, GIB, ENABLED);
        table_size -= 40 - kept;
        const struct srat srat = read_exactly();
        expect_faults(&srat, (const uint64_t[SRAT_FAULTS]){ [SRAT_TRUNCATED] = 1 });
        assert_int_equal(srat.range_count, 1);
        expect_range(&srat, 0, 0, 0, GIB);
    }
}

static void entries_without_a_length_end_the_table(void **state)
{
    (void)state;
    for (uint8_t length = 0; length < 2; length++) {
        new_table(3);
        add_memory(0, 0, GIB, ENABLED);
        const size_t at = add_entry(1, 40);
        table[at + 1] = length;
        add_memory(1, GIB, GIB, ENABLED);
        add_cpu(1, 1, ENABLED);
        const struct srat srat = read_exactly();
        expect_faults(&srat, (const uint64_t[SRAT_FAULTS]){ [SRAT_TRUNCATED] = 1 });
        assert_int_equal(srat.range_count, 1);
        assert_int_equal(node_of_cpu(1), LOAM_NODE_NONE);
    }
}

static void entries_shorter_than_their_type_are_left_out(void **state)
{
    static const uint8_t bytes[] = { 16, 40, 24 };
    (void)state;
    for (uint8_t type = 0; type < 3; type++) {
        for (uint8_t length = 2; length < bytes[type]; length++) {
            new_table(3);
            const size_t at = add_entry(type, length);
            memset(table + at + 2, 0x01, length - 2u);
            add_memory(1, GIB, GIB, ENABLED);
            const struct srat srat = read_exactly();
            expect_faults(&srat, (const uint64_t[SRAT_FAULTS]){ [SRAT_SHORT] = 1 });
            assert_int_equal(srat.range_count, 1);
            assert_int_equal(node_of_cpu(1), LOAM_NODE_NONE);
            assert_int_equal(node_of_cpu(0x01010101), LOAM_NODE_NONE);
        }
    }
}

static void the_domain_that_stands_for_none_is_no_node(void **state)
{
    (void)state;
    new_table(3);
    add_memory(LOAM_NODE_NONE, 0, GIB, ENABLED);
    add_memory(LOAM_NODE_NONE - 1, GIB, GIB, ENABLED);
    add_memory(LOAM_NODE_NONE, 2 * GIB, GIB, 0);
    add_cpu(LOAM_NODE_NONE, 3, ENABLED);
    add_x2apic(LOAM_NODE_NONE, 4, ENABLED);
    const struct srat srat = read_exactly();
    expect_faults(&srat, (const uint64_t[SRAT_FAULTS]){ [SRAT_NO_DOMAIN] = 3 });
    assert_int_equal(srat.range_count, 1);
    expect_range(&srat, 0, LOAM_NODE_NONE - 1, GIB, GIB);
    assert_int_equal(node_of_cpu(3), LOAM_NODE_NONE);
}

static void memory_past_the_end_of_all_addresses_is_left_out(void **state)
{
    (void)state;
    new_table(3);
    add_memory(0, UINT64_MAX - PAGE + 1, 2 * PAGE, ENABLED);
    add_memory(1, UINT64_MAX - PAGE + 1, PAGE, ENABLED);
    add_memory(2, PAGE, UINT64_MAX, ENABLED);
    const struct srat srat = read_exactly();
    expect_faults(&srat, (const uint64_t[SRAT_FAULTS]){ [SRAT_WRAP] = 2 });
    assert_int_equal(srat.range_count, 1);
    expect_range(&srat, 0, 1, UINT64_MAX - PAGE + 1, PAGE);
}

static void all_addresses_are_two_ranges_since_none_has_so_many_bytes(void **state)
{
    (void)state;
    new_table(3);
    add_memory(0, 0, GIB, ENABLED);
    add_memory(0, GIB, 0 - GIB, ENABLED);
    add_memory(1, 2 * GIB, GIB, ENABLED);
    const struct srat srat = read_exactly();
    expect_faults(&srat, (const uint64_t[SRAT_FAULTS]){ [SRAT_OVERLAP] = 1 });
    assert_int_equal(srat.range_count, 2);
    expect_range(&srat, 0, 0, 0, GIB);
    expect_range(&srat, 1, 0, GIB, 0 - GIB);
}

static void pages_that_are_not_whole_are_left_out(void **state)
{
    (void)state;
    new_table(3);
    add_memory(0, 1, PAGE - 1, ENABLED);
    add_memory(1, PAGE + 1, 2 * PAGE, ENABLED);
    add_memory(2, 10 * PAGE, 2 * PAGE + 1, ENABLED);
    add_memory(3, 20 * PAGE + 5, 10, ENABLED);
    add_memory(4, UINT64_MAX - PAGE, PAGE, ENABLED);
    add_memory(5, 30 * PAGE, 10, ENABLED);
    const struct srat srat = read_exactly();
    expect_faults(&srat, (const uint64_t[SRAT_FAULTS]){ [SRAT_UNALIGNED] = 6 });
    assert_int_equal(srat.range_count, 2);
    expect_range(&srat, 0, 1, 2 * PAGE, PAGE);
    expect_range(&srat, 1, 2, 10 * PAGE, 2 * PAGE);
}

static void memory_of_two_nodes_is_of_the_one_that_starts_lower(void **state)
{
    (void)state;
    new_table(3);
    add_memory(2, 2 * GIB, 4 * GIB, ENABLED); /* cut: the first GiB is node 1's */
    add_memory(1, 0, 3 * GIB, ENABLED);
    add_memory(3, GIB, GIB, ENABLED); /* all of it is node 1's */
    add_memory(4, 8 * GIB, GIB, ENABLED);
    add_memory(5, 8 * GIB, 2 * GIB, ENABLED); /* as low: the lower number keeps it */
    const struct srat srat = read_exactly();
    expect_faults(&srat, (const uint64_t[SRAT_FAULTS]){ [SRAT_OVERLAP] = 3 });
    assert_int_equal(srat.range_count, 4);
    expect_range(&srat, 0, 1, 0, 3 * GIB);
    expect_range(&srat, 1, 2, 3 * GIB, 3 * GIB);
    expect_range(&srat, 2, 4, 8 * GIB, GIB);
    expect_range(&srat, 3, 5, 9 * GIB, GIB);
}

static void memory_named_twice_for_one_node_is_no_fault(void **state)
{
    (void)state;
    new_table(3);
    add_memory(1, 0, 3 * GIB, ENABLED);
    add_memory(1, GIB, GIB, ENABLED);
    add_memory(1, 2 * GIB, 2 * GIB, ENABLED);
    const struct srat srat = read_exactly();
    expect_faults(&srat, NO_FAULTS);
    assert_int_equal(srat.range_count, 1);
    expect_range(&srat, 0, 1, 0, 4 * GIB);
}

static void a_cpu_of_two_nodes_is_of_the_lower_one(void **state)
{
    (void)state;
    new_table(3);
    add_cpu(3, 7, ENABLED);
    add_x2apic(2, 7, ENABLED);
    add_cpu(4, 7, ENABLED);
    add_x2apic(1, 7, 0);
    assert_int_equal(node_of_cpu(7), 2);
}

static void every_fault_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (unsigned i = 0; i <= SRAT_FAULTS; i++) {
        for (unsigned j = 0; j < i; j++)
            assert_string_not_equal(srat_fault_name((enum srat_fault)i),
                                    srat_fault_name((enum srat_fault)j));
    }
    assert_string_equal(srat_fault_name((enum srat_fault)SRAT_FAULTS), "?");
}

/* ---- any table ----------------------------------------------------------------- */

struct named {
    uint64_t start, pages;
    uint32_t node;
};

/* Who has a page: of those that name it the one that starts lowest, then of the
 * lowest number. */
static uint32_t model_node_of(const struct named *named, size_t count, uint64_t page)
{
    const struct named *best = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct named *one = &named[i];
        if (page < one->start || page - one->start >= one->pages)
            continue;
        if (best == NULL || one->start < best->start ||
            (one->start == best->start && one->node < best->node))
            best = one;
    }
    return best != NULL ? best->node : LOAM_NODE_NONE;
}

static uint32_t node_of_page(const struct srat *srat, uint64_t page)
{
    for (size_t i = 0; i < srat->range_count; i++) {
        if (loam_phys_range_contains(srat->range[i].range, loam_phys_at(page * PAGE)))
            return srat->range[i].node;
    }
    return LOAM_NODE_NONE;
}

static void any_ranges_give_each_page_its_node(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 3000; round++) {
        struct named named[LIST_MAX];
        const size_t count = test_random_below(LIST_MAX + 1);
        const uint64_t pages = 8 + test_random_below(200);
        new_table(3);
        for (size_t i = 0; i < count; i++) {
            named[i].start = test_random_below(pages);
            named[i].pages = 1 + test_random_below(1 + test_random_below(pages));
            named[i].node = (uint32_t)test_random_below(4);
            add_memory(named[i].node, named[i].start * PAGE, named[i].pages * PAGE, ENABLED);
        }
        const struct srat srat = read_exactly();
        for (size_t i = 1; i < srat.range_count; i++) {
            const uint64_t end = srat.range[i - 1].range.start.addr + srat.range[i - 1].range.size;
            assert_true(end <= srat.range[i].range.start.addr);
            assert_true(end != srat.range[i].range.start.addr ||
                        srat.range[i - 1].node != srat.range[i].node);
        }
        for (uint64_t page = 0; page < 2 * pages + 8; page++)
            assert_int_equal(node_of_page(&srat, page), model_node_of(named, count, page));
    }
}

static void any_bytes_give_sorted_disjoint_ranges(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        new_table((uint8_t)test_random_below(4));
        const size_t size = 48 + test_random_below(500);
        for (size_t i = 48; i < size; i++)
            table[i] = (uint8_t)test_random();
        for (size_t at = 48; at + 40 < size; at += 40) { /* some that are nearly good */
            if (test_random_below(3) == 0)
                continue;
            table[at] = (uint8_t)test_random_below(4);
            table[at + 1] = 40;
            table[at + 28] = (uint8_t)test_random_below(8);
        }
        table_size = size;
        const struct srat srat = read_exactly();
        (void)node_of_cpu((uint32_t)test_random_below(256));
        assert_true(srat.range_count <= srat_room(size));
        for (size_t i = 0; i < srat.range_count; i++) {
            const struct loam_frame_node *range = &srat.range[i];
            assert_true(loam_is_page_aligned(range->range.start.addr));
            assert_true(loam_is_page_aligned(range->range.size) && range->range.size != 0);
            assert_true(loam_range_fits(range->range.start.addr, range->range.size));
            assert_true(range->node != LOAM_NODE_NONE);
            assert_true(i == 0 || last_of(&srat.range[i - 1]) < range->range.start.addr);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_nodes_are_read_as_they_stand),
        cmocka_unit_test(unsorted_ranges_are_sorted_and_touching_ones_joined),
        cmocka_unit_test(disabled_empty_and_non_volatile_ranges_are_left_out),
        cmocka_unit_test(domains_have_32_bits_and_8_in_the_first_revision),
        cmocka_unit_test(x2apic_ids_have_32_bits),
        cmocka_unit_test(entries_of_other_types_are_passed_over),
        cmocka_unit_test(longer_entries_of_a_later_revision_are_read),
        cmocka_unit_test(tables_without_entries_have_no_ranges),
        cmocka_unit_test(entries_past_the_end_are_not_read),
        cmocka_unit_test(entries_without_a_length_end_the_table),
        cmocka_unit_test(entries_shorter_than_their_type_are_left_out),
        cmocka_unit_test(the_domain_that_stands_for_none_is_no_node),
        cmocka_unit_test(memory_past_the_end_of_all_addresses_is_left_out),
        cmocka_unit_test(all_addresses_are_two_ranges_since_none_has_so_many_bytes),
        cmocka_unit_test(pages_that_are_not_whole_are_left_out),
        cmocka_unit_test(memory_of_two_nodes_is_of_the_one_that_starts_lower),
        cmocka_unit_test(memory_named_twice_for_one_node_is_no_fault),
        cmocka_unit_test(a_cpu_of_two_nodes_is_of_the_lower_one),
        cmocka_unit_test(every_fault_has_a_name_of_its_own),
        cmocka_unit_test(any_ranges_give_each_page_its_node),
        cmocka_unit_test(any_bytes_give_sorted_disjoint_ranges),
    };
    return RUN_TESTS(tests);
}
