/*
 * acpi_test.c - ACPI's root pointer, root tables and sums.
 */
#include "harness.h"

#include <stdlib.h>
#include <string.h>

#include "kernel/acpi.c"

static uint8_t bytes[256];

static void put(size_t at, unsigned count, uint64_t value)
{
    for (unsigned i = 0; i < count; i++)
        bytes[at + i] = (uint8_t)(value >> (8 * i));
}

/* Make the first @p size bytes add up to zero by the one at @p at. */
static void seal(size_t at, size_t size)
{
    uint8_t sum = 0;
    bytes[at] = 0;
    for (size_t i = 0; i < size; i++)
        sum = (uint8_t)(sum + bytes[i]);
    bytes[at] = (uint8_t)(0 - sum);
}

static void make_rsdp(uint8_t revision, uint64_t rsdt, uint64_t xsdt)
{
    memset(bytes, 0, sizeof bytes);
    memcpy(bytes, "RSD PTR ", 8);
    bytes[15] = revision;
    put(16, 4, rsdt);
    put(20, 4, 36);
    put(24, 8, xsdt);
    seal(8, 20);
    seal(32, 36);
}

static const char *read_rsdp(size_t size, struct acpi_root *root)
{
    uint8_t *copy = malloc(size);
    assert_non_null(copy);
    memcpy(copy, bytes, size);
    const char *wrong = acpi_read_rsdp(copy, size, root);
    free(copy);
    return wrong;
}

static void make_root(const char *signature, uint32_t length)
{
    memset(bytes, 0, sizeof bytes);
    memcpy(bytes, signature, 4);
    put(4, 4, length);
    for (size_t i = 36; i < length; i++)
        bytes[i] = (uint8_t)i;
    seal(9, length);
}

static void old_root_pointers_have_an_rsdt_only(void **state)
{
    struct acpi_root root;
    (void)state;
    make_rsdp(0, 0x12345678, 0x1122334455667788);
    assert_int_equal(acpi_rsdp_bytes(bytes), 20);
    assert_null(read_rsdp(20, &root));
    assert_int_equal(root.rsdt, 0x12345678);
    assert_int_equal(root.xsdt, 0);
    assert_null(read_rsdp(36, &root));
    assert_int_equal(root.xsdt, 0);
}

static void newer_root_pointers_have_both(void **state)
{
    struct acpi_root root;
    (void)state;
    make_rsdp(2, 0x12345678, 0x1122334455667788);
    assert_int_equal(acpi_rsdp_bytes(bytes), 36);
    assert_null(read_rsdp(36, &root));
    assert_int_equal(root.rsdt, 0x12345678);
    assert_int_equal(root.xsdt, 0x1122334455667788);
    assert_null(read_rsdp(20, &root));
    assert_int_equal(root.xsdt, 0);
}

static void a_wrong_second_sum_leaves_the_rsdt(void **state)
{
    struct acpi_root root;
    (void)state;
    make_rsdp(2, 0x1000, 0x2000);
    bytes[33]++;
    assert_null(read_rsdp(36, &root));
    assert_int_equal(root.rsdt, 0x1000);
    assert_int_equal(root.xsdt, 0);
}

static void each_wrong_byte_of_a_root_pointer_is_noticed(void **state)
{
    struct acpi_root root;
    (void)state;
    for (size_t i = 0; i < 20; i++) {
        make_rsdp(2, 0x1000, 0x2000);
        bytes[i] ^= 0x10;
        assert_string_equal(read_rsdp(36, &root), i < 8 ? "no signature" : "wrong checksum");
        assert_int_equal(root.rsdt, 0);
    }
}

static void root_pointers_to_nowhere_are_wrong(void **state)
{
    struct acpi_root root;
    (void)state;
    make_rsdp(2, 0, 0);
    assert_string_equal(read_rsdp(36, &root), "it points nowhere");
    make_rsdp(2, 0, 0x1000);
    assert_string_equal(read_rsdp(20, &root), "it points nowhere");
    assert_null(read_rsdp(36, &root));
}

static void root_tables_are_read_to_their_last_whole_pointer(void **state)
{
    (void)state;
    for (uint32_t length = 36; length < 100; length++) {
        make_root("XSDT", length);
        assert_int_equal(acpi_pointer_count(bytes), (length - 36) / 8);
        make_root("RSDT", length);
        assert_int_equal(acpi_pointer_count(bytes), (length - 36) / 4);
        assert_int_equal(acpi_pointer(bytes, (length - 36) / 4), 0);
    }
    make_root("XSDT", 60);
    assert_int_equal(acpi_pointer(bytes, 0), 0x2b2a292827262524);
    assert_int_equal(acpi_pointer(bytes, 2), 0x3b3a393837363534);
    assert_int_equal(acpi_pointer(bytes, 3), 0);
    make_root("RSDT", 44);
    assert_int_equal(acpi_pointer(bytes, 1), 0x2b2a2928);
    assert_int_equal(acpi_pointer(bytes, 2), 0);
}

static void each_wrong_byte_of_a_table_is_noticed(void **state)
{
    (void)state;
    make_root("SRAT", 100);
    assert_null(acpi_check(bytes, 100));
    assert_int_equal(acpi_length(bytes), 100);
    for (size_t i = 0; i < 100; i++) {
        make_root("SRAT", 100);
        bytes[i]++;
        assert_non_null(acpi_check(bytes, 100));
    }
}

static void tables_of_another_length_than_they_claim_are_wrong(void **state)
{
    (void)state;
    make_root("SRAT", 100);
    assert_string_equal(acpi_check(bytes, 99), "shorter than it claims, or than a table's head");
    assert_string_equal(acpi_check(bytes, 0), "shorter than it claims, or than a table's head");
    make_root("SRAT", 35);
    assert_string_equal(acpi_check(bytes, 35), "shorter than it claims, or than a table's head");
    make_root("SRAT", 36);
    assert_null(acpi_check(bytes, 36));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(old_root_pointers_have_an_rsdt_only),
        cmocka_unit_test(newer_root_pointers_have_both),
        cmocka_unit_test(a_wrong_second_sum_leaves_the_rsdt),
        cmocka_unit_test(each_wrong_byte_of_a_root_pointer_is_noticed),
        cmocka_unit_test(root_pointers_to_nowhere_are_wrong),
        cmocka_unit_test(root_tables_are_read_to_their_last_whole_pointer),
        cmocka_unit_test(each_wrong_byte_of_a_table_is_noticed),
        cmocka_unit_test(tables_of_another_length_than_they_claim_are_wrong),
    };
    return RUN_TESTS(tests);
}
