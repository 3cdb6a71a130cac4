/*
 * usage_print_test.c - layer 3: what is printed, and what owners are called.
 */
#include "usage_world.h"

static char paper[4096];
static size_t paper_length;

/* The map must not be locked while somebody else's code runs. */
static void paper_write(void *context, const char *text, size_t size_bytes)
{
    struct loam_interval interval;

    assert_null(context);
    (void)!loam_usage_next(&usage, loam_phys_at(0), &interval);
    assert_true(paper_length + size_bytes < sizeof(paper));
    memcpy(paper + paper_length, text, size_bytes);
    paper_length += size_bytes;
    paper[paper_length] = '\0';
}

static const char *printed(void (*print)(struct loam_usage *, const struct loam_writer *))
{
    static const struct loam_writer writer = { paper_write, NULL };

    paper_length = 0;
    paper[0] = '\0';
    print(&usage, &writer);
    return paper;
}

static void usage_prints_intervals(void **state)
{
    (void)state;
    empty_map(4);
    assert_string_equal(printed(loam_usage_print_intervals), "");
    assert_int_equal(loam_usage_insert(&usage, pages(1, 96), LOAM_OWNER_BOOTLOADER), LOAM_OK);
    assert_int_equal(loam_usage_insert(&usage, bytes(PAGES(97), 1), LOAM_OWNER_METADATA), LOAM_OK);
    assert_int_equal(
        loam_usage_insert(&usage, bytes(UINT64_C(1) << 32, UINT64_C(7) << 29), LOAM_OWNER_USABLE),
        LOAM_OK);
    assert_int_equal(loam_usage_insert(&usage, bytes(UINT64_MAX - 4095, 4096), LOAM_OWNER_RESERVED),
                     LOAM_OK);
    assert_string_equal(printed(loam_usage_print_intervals),
                        "0x0000000000001000-0x0000000000060fff      384 KiB  bootloader\n"
                        "0x0000000000061000-0x0000000000061000          1 B  library metadata\n"
                        "0x0000000100000000-0x00000001dfffffff      3.5 GiB  usable\n"
                        "0xfffffffffffff000-0xffffffffffffffff        4 KiB  reserved\n");
}

static void usage_prints_a_table(void **state)
{
    (void)state;
    empty_map(4);
    assert_string_equal(printed(loam_usage_print_table),
                        "owner             intervals                 bytes        size\n");
    assert_int_equal(loam_usage_insert(&usage, pages(1, 96), LOAM_OWNER_BOOTLOADER), LOAM_OK);
    assert_int_equal(loam_usage_insert(&usage, bytes(PAGES(97), 1), LOAM_OWNER_METADATA), LOAM_OK);
    assert_int_equal(loam_usage_insert(&usage, pages(200, 32), LOAM_OWNER_BOOTLOADER), LOAM_OK);
    assert_int_equal(loam_usage_insert(&usage, pages(300, 1), LOAM_OWNER_BAD), LOAM_OK);
    assert_string_equal(printed(loam_usage_print_table),
                        "owner             intervals                 bytes        size\n"
                        "bootloader                2                524288     512 KiB\n"
                        "library metadata          1                     1         1 B\n"
                        "bad                       1                  4096       4 KiB\n"
                        "sum                       4                528385   516.0 KiB\n");
}

static void usage_prints_2_to_the_64_bytes(void **state)
{
    const uint64_t half = UINT64_C(1) << 63;

    (void)state;
    empty_map(4);
    assert_int_equal(loam_usage_insert(&usage, bytes(0, half), LOAM_OWNER_RESERVED), LOAM_OK);
    assert_int_equal(loam_usage_insert(&usage, bytes(half, half), LOAM_OWNER_USABLE), LOAM_OK);
    assert_string_equal(printed(loam_usage_print_table),
                        "owner             intervals                 bytes        size\n"
                        "usable                    1   9223372036854775808       8 EiB\n"
                        "reserved                  1   9223372036854775808       8 EiB\n"
                        "sum                       2  18446744073709551616      16 EiB\n");
    assert_int_equal(loam_usage_overwrite(&usage, bytes(0, half), LOAM_OWNER_USABLE), LOAM_OK);
    assert_string_equal(printed(loam_usage_print_table),
                        "owner             intervals                 bytes        size\n"
                        "usable                    1  18446744073709551616      16 EiB\n"
                        "sum                       1  18446744073709551616      16 EiB\n");
    assert_string_equal(printed(loam_usage_print_intervals),
                        "0x0000000000000000-0xffffffffffffffff       16 EiB  usable\n");
}

static void usage_names_every_owner(void **state)
{
    static const char *const names[LOAM_OWNERS] = {
        "usable",           "bootloader",  "executable",  "page tables",     "heap",
        "library metadata", "kernel",      "ACPI tables", "firmware tables", "ACPI NVS",
        "reserved",         "framebuffer", "bad",
    };
    static const enum loam_owner owners[LOAM_MEM_TYPES] = {
        LOAM_OWNER_USABLE,     LOAM_OWNER_BOOTLOADER,      LOAM_OWNER_ACPI_RECLAIMABLE,
        LOAM_OWNER_EXECUTABLE, LOAM_OWNER_RESERVED_MAPPED, LOAM_OWNER_ACPI_NVS,
        LOAM_OWNER_RESERVED,   LOAM_OWNER_FRAMEBUFFER,     LOAM_OWNER_BAD,
    };

    (void)state;
    for (unsigned i = 0; i < LOAM_OWNERS; i++)
        assert_string_equal(loam_owner_name((enum loam_owner)i), names[i]);
    for (unsigned i = 0; i < LOAM_MEM_TYPES; i++)
        assert_int_equal(loam_owner_of_type((enum loam_mem_type)i), owners[i]);
    assert_int_equal(loam_owner_of_type((enum loam_mem_type)LOAM_MEM_TYPES), LOAM_OWNER_RESERVED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usage_prints_intervals),
        cmocka_unit_test(usage_prints_a_table),
        cmocka_unit_test(usage_prints_2_to_the_64_bytes),
        cmocka_unit_test(usage_names_every_owner),
    };
    return RUN_TESTS(tests);
}
