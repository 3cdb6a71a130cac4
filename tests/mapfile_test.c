/*
 * mapfile_test.c - the parser of recorded memory maps: what it reads, what it
 * refuses, and any bytes at all.
 */
#include "harness.h"

#include <stdlib.h>
#include <string.h>

#include "mapfile.h"

static enum loam_status read_text(struct mapfile *file, const char *text, size_t size,
                                  struct mapfile_error *error)
{
    FILE *stream = tmpfile();

    assert_non_null(stream);
    assert_int_equal(fwrite(text, 1, size, stream), size);
    rewind(stream);
    const enum loam_status st = mapfile_read(file, stream, error);
    fclose(stream);
    return st;
}

static void read_good(struct mapfile *file, const char *text)
{
    struct mapfile_error error = { 0, "" };

    if (read_text(file, text, strlen(text), &error) != LOAM_OK)
        fail_msg("line %zu: %s", error.line, error.message);
}

static void assert_entry(const struct mapfile *file, size_t index, uint64_t start, uint64_t size,
                         enum loam_mem_type type)
{
    assert_true(index < file->entry_count);
    assert_int_equal(file->entry[index].range.start.addr, start);
    assert_int_equal(file->entry[index].range.size, size);
    assert_int_equal(file->entry[index].type, type);
}

static void limine_recording_is_read_whole(void **state)
{
    struct mapfile file;
    (void)state;
    read_good(&file, "# recorded by a real boot\n"
                     "#base-revision-requested 6 NOT-accepted loaded-tag 0x3\n"
                     "# hhdm 0xff00000000000000\r\n"
                     "# paging-mode 1 (5-level)\n"
                     "# kernel-phys 0xbff3c000\n"
                     "# kernel-virt 0xffffffff80000000\n"
                     "# kernel-image-size 0x4000\n"
                     "# phys-bits 46 virt-bits 57\n"
                     "# cpuid pdpe1gb 0 nx 1\n"
                     "# rsdp 0xf5b60\n"
                     "# framebuffer 0xff000000fd000000 1280x800x32 pitch 5120\n"
                     "# cpu-count 4 bsp-lapic 0 flags 0\n"
                     "# firmware-type 2\n"
                     "\n"
                     "  1000 60000 BOOTLOADER_RECLAIMABLE\n"
                     "61000\t3e000\tUSABLE\t\n"
                     "ffffffffffffffff 0 executable_and_modules");
    assert_int_equal(file.entry_count, 3);
    assert_entry(&file, 0, 0x1000, 0x60000, LOAM_MEM_BOOT_RECLAIMABLE);
    assert_entry(&file, 1, 0x61000, 0x3e000, LOAM_MEM_USABLE);
    assert_entry(&file, 2, UINT64_MAX, 0, LOAM_MEM_EXECUTABLE);
    assert_int_equal(file.format, MAPFILE_LIMINE);
    assert_int_equal(file.present, 2 * MAPFILE_FIRMWARE_TYPE - 1);
    assert_int_equal(file.revision_requested, 6);
    assert_false(file.revision_accepted);
    assert_int_equal(file.revision_loaded_tag, 3);
    assert_int_equal(file.hhdm_offset, 0xff00000000000000);
    assert_int_equal(file.paging_levels, 5);
    assert_int_equal(file.kernel_phys, 0xbff3c000);
    assert_int_equal(file.kernel_virt, 0xffffffff80000000);
    assert_int_equal(file.kernel_image_size, 0x4000);
    assert_int_equal(file.phys_bits, 46);
    assert_int_equal(file.virt_bits, 57);
    assert_false(file.has_1g_pages);
    assert_true(file.has_nx);
    assert_int_equal(file.rsdp, 0xf5b60);
    assert_int_equal(file.framebuffer.address, 0xff000000fd000000);
    assert_int_equal(file.framebuffer.width, 1280);
    assert_int_equal(file.framebuffer.height, 800);
    assert_int_equal(file.framebuffer.bits_per_pixel, 32);
    assert_int_equal(file.framebuffer.pitch, 5120);
    assert_int_equal(file.cpu_count, 4);
    assert_int_equal(file.firmware_type, 2);
    mapfile_free(&file);
}

static void absent_metadata_is_absent(void **state)
{
    struct mapfile file;
    (void)state;
    read_good(&file, "# framebuffer none\n# hhdmm 1\n# note: rsdp\n0 1000 RESERVED_MAPPED\n");
    assert_int_equal(file.present, 0);
    assert_int_equal(file.format, MAPFILE_LIMINE); /* by the type */
    mapfile_free(&file);
}

/* Lines of a Linux log: the end is inclusive, everything else is skipped. */
static void linux_log_is_read(void **state)
{
    struct mapfile file;
    (void)state;
    read_good(&file,
              "[    0.000000] Linux version 6.1.0 # not a comment\n"
              "[    0.000000] BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable\n"
              "BIOS-e820: [mem 0x000000000009fc00-0x000000000009ffff] reserved\n"
              "Jan 01 00:00:00 host kernel: BIOS-e820: [mem 0xbf000000-0xbf0fffff] ACPI data\r\n"
              "[Sat Jan  1 00:00:00 2022] BIOS-e820: [mem 0xbf100000-0xbf100fff] ACPI NVS\n"
              "BIOS-e820: [mem 0x1-0x1] unusable\n"
              "BIOS-e820: [mem 0x1000-0x1fff] persistent (type 7)\n"
              "BIOS-e820: [mem 0x1000-0x1fff] type 20\n"
              "BIOS-e820: [mem 0x1-0xffffffffffffffff] soft_reserved\n"
              "[    0.000000] e820: update [mem 0x00000000-0x00000fff] usable ==> reserved\n");
    assert_int_equal(file.format, MAPFILE_DMESG);
    assert_int_equal(file.entry_count, 8);
    assert_entry(&file, 0, 0, 0x9fc00, LOAM_MEM_USABLE);
    assert_entry(&file, 1, 0x9fc00, 0x400, LOAM_MEM_RESERVED);
    assert_entry(&file, 2, 0xbf000000, 0x100000, LOAM_MEM_ACPI_RECLAIMABLE);
    assert_entry(&file, 3, 0xbf100000, 0x1000, LOAM_MEM_ACPI_NVS);
    assert_entry(&file, 4, 1, 1, LOAM_MEM_BAD);
    assert_entry(&file, 5, 0x1000, 0x1000, LOAM_MEM_RESERVED);
    assert_entry(&file, 6, 0x1000, 0x1000, MAPFILE_UNKNOWN_TYPE(20));
    assert_entry(&file, 7, 1, UINT64_MAX, MAPFILE_UNKNOWN_TYPE(0));
    mapfile_free(&file);
}

static void every_type_name_and_number_is_known(void **state)
{
    static const struct {
        const char *name;
        enum loam_mem_type type;
    } types[] = {
        { "USABLE", LOAM_MEM_USABLE },
        { "RESERVED", LOAM_MEM_RESERVED },
        { "Bad", LOAM_MEM_BAD },
        { "UNUSABLE", LOAM_MEM_BAD },
        { "ACPI_NVS", LOAM_MEM_ACPI_NVS },
        { "ACPI_DATA", LOAM_MEM_ACPI_RECLAIMABLE },
        { "ACPI_RECLAIMABLE", LOAM_MEM_ACPI_RECLAIMABLE },
        { "bootloader_reclaimable", LOAM_MEM_BOOT_RECLAIMABLE },
        { "EXECUTABLE_AND_MODULES", LOAM_MEM_EXECUTABLE },
        { "FRAMEBUFFER", LOAM_MEM_FRAMEBUFFER },
        { "RESERVED_MAPPED", LOAM_MEM_RESERVED_MAPPED },
        { "TYPE_1", LOAM_MEM_USABLE },
        { "TYPE_2", LOAM_MEM_RESERVED },
        { "TYPE_3", LOAM_MEM_ACPI_RECLAIMABLE },
        { "TYPE_4", LOAM_MEM_ACPI_NVS },
        { "TYPE_5", LOAM_MEM_BAD },
        { "TYPE_7", LOAM_MEM_RESERVED },
        { "type 12", LOAM_MEM_RESERVED },
        { "TYPE_0", MAPFILE_UNKNOWN_TYPE(0) },
        { "TYPE_6", MAPFILE_UNKNOWN_TYPE(6) },
        { "TYPE_9", MAPFILE_UNKNOWN_TYPE(9) },
        { "TYPE_4294967295", MAPFILE_UNKNOWN_TYPE(UINT32_MAX) },
        { "TYPE_2147483649", MAPFILE_UNKNOWN_TYPE(0x80000001) },
        { "PERSISTENT_TYPE12", MAPFILE_UNKNOWN_TYPE(12) },
        { "PERSISTENT_TYPE7", MAPFILE_UNKNOWN_TYPE(7) },
        { "USABLE_NOT", MAPFILE_UNKNOWN_TYPE(0) },
        { "TYPE_4294967296", MAPFILE_UNKNOWN_TYPE(0) },
    };
    (void)state;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        struct mapfile file;
        char text[64];
        snprintf(text, sizeof text, "1000 1000 %s", types[i].name);
        read_good(&file, text);
        assert_int_equal(file.entry_count, 1);
        assert_entry(&file, 0, 0x1000, 0x1000, types[i].type);
        assert_true(types[i].type < LOAM_MEM_TYPES || (unsigned)types[i].type >= 0x80000000u);
        mapfile_free(&file);
    }
}

static void malformed_lines_are_named(void **state)
{
    static const char number[] = "not two hexadecimal numbers of at most 64 bits";
    static const char type[] = "not one type after base and length";
    static const char log[] = "not [mem first-last] after BIOS-e820:";
    static const char value[] = "known metadata key with a malformed value";
    static const struct {
        const char *text;
        size_t line;
        const char *message;
    } cases[] = {
        { "", 0, "no memory map entry" },
        { "# hhdm 0x0\n\n[   0.0] log\n", 0, "no memory map entry" },
        { "1000\n", 1, number },
        { "# fine\n0 1000 USABLE\n\nhello\n", 4, number },
        { "0 -1000 USABLE", 1, number },
        { "10000000000000000 1000 USABLE", 1, number },
        { "0 0x USABLE", 1, number },
        { "0 1000", 1, type },
        { "0 1000 USABLE 7", 1, type },
        { "0 1000 7", 1, type },
        { "0 1000 TYPE_1x", 1, type },
        { "0 1000 persistent (type 7", 1, type },
        { "BIOS-e820: 0000000000000000 - 000000000009fc00 (usable)", 1, log },
        { "BIOS-e820: [mem 0x0-0x1", 1, log },
        { "BIOS-e820: [mem 0x2-0x1] usable", 1, "first and last address make no range" },
        { "BIOS-e820: [mem 0x0-0xffffffffffffffff] usable", 1,
          "first and last address make no range" },
        { "BIOS-e820: [mem 0x0-0x1]", 1, "not one type after the range" },
        { "BIOS-e820: [mem 0x0-0x1] usable now", 1, "not one type after the range" },
        { "0 1000 USABLE\nBIOS-e820: [mem 0x0-0x1] usable\n", 2,
          "plain entry and log entry in one file" },
        { "# hhdm\n", 1, value },
        { "# hhdm high\n", 1, value },
        { "# rsdp 18446744073709551616\n", 1, value },
        { "# phys-bits 40\n", 1, value },
        { "# paging-mode 2\n", 1, value },
        { "# base-revision-requested 3 maybe loaded-tag 0x3\n", 1, value },
        { "# base-revision-requested 3 accepted\n", 1, value },
        { "# framebuffer 0x1000 1280x800 pitch 5120\n", 1, value },
        { "# cpuid nx 1\n", 1, value },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct mapfile file;
        struct mapfile_error error = { 0, "" };
        memset(&file, 0x5a, sizeof file);
        const struct mapfile before = file;
        assert_int_equal(read_text(&file, cases[i].text, strlen(cases[i].text), &error),
                         LOAM_INVALID);
        assert_string_equal(error.message, cases[i].message);
        assert_int_equal(error.line, cases[i].line);
        assert_memory_equal(&file, &before, sizeof file);
        assert_int_equal(read_text(&file, cases[i].text, strlen(cases[i].text), NULL),
                         LOAM_INVALID);
    }
}

static void zero_bytes_long_lines_and_missing_files_are_named(void **state)
{
    struct mapfile file;
    struct mapfile_error error;
    char text[5000];
    (void)state;
    assert_int_equal(read_text(&file, "0 1 USABLE\n\0", 12, &error), LOAM_INVALID);
    assert_string_equal(error.message, "zero byte in a line");
    assert_int_equal(error.line, 2);

    memset(text, '#', sizeof text);
    memcpy(text, "0 1 USABLE\n", 11);
    assert_int_equal(read_text(&file, text, 11 + 4095, &error), LOAM_OK);
    mapfile_free(&file);
    assert_int_equal(read_text(&file, text, 11 + 4096, &error), LOAM_INVALID);
    assert_string_equal(error.message, "line is too long");
    assert_int_equal(error.line, 2);

    assert_int_equal(mapfile_load(&file, "/nonexistent/map", &error), LOAM_NOT_FOUND);
    assert_string_equal(error.message, "cannot open the file");
    assert_int_equal(mapfile_load(&file, "/nonexistent/map", NULL), LOAM_NOT_FOUND);
    assert_int_equal(mapfile_load(&file, "/", &error), LOAM_INVALID); /* a directory */
    assert_string_equal(error.message, "reading failed");
}

static void formats_have_names(void **state)
{
    (void)state;
    assert_string_equal(mapfile_format_name(MAPFILE_LIMINE), "limine");
    assert_string_equal(mapfile_format_name(MAPFILE_E820), "e820");
    assert_string_equal(mapfile_format_name(MAPFILE_DMESG), "dmesg");
    assert_string_equal(mapfile_format_name((enum mapfile_format)77), "unknown format");
}

#define TEXT_MAX 512

/* Random bytes; pieces of what files consist of; or a file with a few bytes
 * changed. Returns the size, at least 1. */
static size_t random_text(char text[TEXT_MAX])
{
    static const char *const pieces[] = {
        "0 1000 USABLE\n",
        "ffffffffffffffff ",
        "BIOS-e820: ",
        "[mem 0x",
        "-0x",
        "] usable\n",
        "x",
        "# hhdm 0x",
        "# phys-bits 40 virt-bits ",
        " ",
        "\n",
        "TYPE_",
        "persistent (",
        "pitch ",
        "9",
        "# framebuffer 1 ",
        "# cpuid pdpe1gb 1 ",
        "nx ",
        "#",
        "[",
        "a",
        "ACPI data\n",
        "\r\n",
        "# base-revision-requested ",
        "NOT-accepted ",
        "loaded-tag ",
    };
    static const char file[] = "# hhdm 0xffff800000000000\n# cpuid pdpe1gb 1 nx 1\n"
                               "# framebuffer 0xffff8000fd000000 1280x800x32 pitch 5120\n"
                               "9fc00 400 RESERVED\n100000 bfe31000 USABLE\n0 1 TYPE_9\n";
    const uint64_t kind = test_random_below(3);
    size_t size = 0;

    if (kind == 2) {
        size = sizeof file - 1;
        memcpy(text, file, size);
        for (uint64_t n = test_random_below(4); n > 0; n--)
            text[test_random_below(size)] = (char)test_random();
    }
    for (uint64_t n = kind == 2 ? 0 : test_random_below(12); n > 0; n--) {
        const char *piece = pieces[test_random_below(sizeof pieces / sizeof pieces[0])];
        const char byte = (char)test_random();
        const size_t length = kind == 0 ? 1 : strlen(piece);
        memcpy(text + size, kind == 0 ? &byte : piece, length);
        size += length;
    }
    text[size++] = '\n';
    return size;
}

/* Property: any bytes give a map or an error in a line that exists; never a
 * crash, never a leak. */
static void any_bytes_are_a_map_or_an_error(void **state)
{
    unsigned accepted = 0;
    unsigned refused = 0;
    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        char text[TEXT_MAX];
        const size_t size = random_text(text);
        struct mapfile file;
        struct mapfile_error error = { 0, "" };
        FILE *stream = fmemopen(text, size, "r");
        assert_non_null(stream);
        const enum loam_status st = mapfile_read(&file, stream, &error);
        fclose(stream);
        if (st == LOAM_OK) {
            assert_true(file.entry_count > 0);
            mapfile_free(&file);
            accepted++;
            continue;
        }
        size_t lines = 0;
        for (size_t i = 0; i < size; i++)
            lines += text[i] == '\n';
        assert_int_equal(st, LOAM_INVALID);
        assert_true(error.line <= lines && error.message[0] != '\0');
        refused++;
    }
    assert_true(accepted > 1000 && refused > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limine_recording_is_read_whole),
        cmocka_unit_test(absent_metadata_is_absent),
        cmocka_unit_test(linux_log_is_read),
        cmocka_unit_test(every_type_name_and_number_is_known),
        cmocka_unit_test(malformed_lines_are_named),
        cmocka_unit_test(zero_bytes_long_lines_and_missing_files_are_named),
        cmocka_unit_test(formats_have_names),
        cmocka_unit_test(any_bytes_are_a_map_or_an_error),
    };
    return RUN_TESTS(tests);
}
