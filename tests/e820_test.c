/*
 * e820_test.c - what the E820 adapter makes of the BIOS's bytes, and what it
 * refuses. Row M30 of the bad-input list, and M01, M15, M22, M23, D01 as far as
 * an adapter is concerned.
 */
#include "harness.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <loam/boot/e820.h>

#include "machine.h"
#include "mapfile.h"

#define ROOM 16u
LOAM_BOOT_STORAGE(storage, ROOM);

static struct loam_boot boot;
static struct loam_refusal refusal;
static unsigned char map[(ROOM + 1) * 24]; /* as the BIOS wrote it */

/* A request about @p count entries of @p stride bytes each. */
static struct loam_e820_boot request_of(const void *entries, size_t count, size_t stride)
{
    struct loam_e820_boot request;
    memset(&request, 0, sizeof request);
    request.entries = entries;
    request.entry_count = count;
    request.stride_bytes = stride;
    request.mapped.hhdm_offset = UINT64_C(0xffff800000000000);
    return request;
}

/* Put one entry where the BIOS would, byte by byte. */
static void put(unsigned char *at, uint64_t base, uint64_t length, uint32_t type)
{
    for (unsigned i = 0; i < 8; i++)
        at[i] = (unsigned char)(base >> 8 * i);
    for (unsigned i = 0; i < 8; i++)
        at[8 + i] = (unsigned char)(length >> 8 * i);
    for (unsigned i = 0; i < 4; i++)
        at[16 + i] = (unsigned char)(type >> 8 * i);
}

static void put_extended(unsigned char *at, uint64_t base, uint64_t length, uint32_t type,
                         uint32_t attributes)
{
    put(at, base, length, type);
    for (unsigned i = 0; i < 4; i++)
        at[20 + i] = (unsigned char)(attributes >> 8 * i);
}

static void expect_entry(size_t index, uint64_t base, uint64_t length, enum loam_mem_type type)
{
    assert_int_equal(storage.raw[index].range.start.addr, base);
    assert_int_equal(storage.raw[index].range.size, length);
    assert_int_equal(storage.raw[index].type, type);
}

static void accept(const struct loam_e820_boot *request)
{
    memset(&boot, 0x5a, sizeof boot);
    refusal.rule = "untouched";
    assert_int_equal(loam_boot_e820(&boot, &storage, request, &refusal), LOAM_OK);
    assert_string_equal(refusal.rule, "untouched");
}

/* Refused with these words and numbers; neither boot nor storage was touched. */
static void refuse_in(const struct loam_boot_storage *where, const struct loam_e820_boot *request,
                      enum loam_status status, const char *rule, uint64_t have, uint64_t need)
{
    struct loam_memmap_entry before[ROOM + 1];
    struct loam_boot untouched;
    memset(storage.raw, 0xa5, sizeof before);
    memcpy(before, storage.raw, sizeof before);
    memset(&boot, 0x5a, sizeof boot);
    memset(&untouched, 0x5a, sizeof untouched);
    assert_int_equal(loam_boot_e820(&boot, where, request, &refusal), status);
    assert_string_equal(refusal.rule, rule);
    assert_int_equal(refusal.have, have);
    assert_int_equal(refusal.need, need);
    assert_int_equal(loam_boot_e820(&boot, where, request, NULL), status);
    assert_memory_equal(&boot, &untouched, sizeof boot);
    assert_memory_equal(storage.raw, before, sizeof before);
}

static void refuse(const struct loam_e820_boot *request, enum loam_status status, const char *rule,
                   uint64_t have, uint64_t need)
{
    refuse_in(&storage, request, status, rule, have, need);
}

/* ---- entries ------------------------------------------------------------- */

static void e820_M15_types_by_number_unknown_ones_reserved(void **state)
{
    static const struct {
        uint32_t number;
        enum loam_mem_type type;
    } table[] = {
        { 0, LOAM_MEM_RESERVED },          { 1, LOAM_MEM_USABLE },
        { 2, LOAM_MEM_RESERVED },          { 3, LOAM_MEM_ACPI_RECLAIMABLE },
        { 4, LOAM_MEM_ACPI_NVS },          { 5, LOAM_MEM_BAD },
        { 6, LOAM_MEM_RESERVED },          { 7, LOAM_MEM_RESERVED },
        { 8, LOAM_MEM_RESERVED },          { 9, LOAM_MEM_RESERVED },
        { 12, LOAM_MEM_RESERVED },         { 13, LOAM_MEM_RESERVED },
        { 20, LOAM_MEM_RESERVED },         { 0xf0000000, LOAM_MEM_RESERVED },
        { UINT32_MAX, LOAM_MEM_RESERVED }, { 0x101, LOAM_MEM_RESERVED },
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const struct loam_e820_boot request = request_of(map, 1, 20);
        put(map, 0x1000, 0x2000, table[i].number);
        accept(&request);
        assert_int_equal(boot.raw_count, 1);
        expect_entry(0, 0x1000, 0x2000, table[i].type);
    }
}

/*
 *   bytes  .[base|length|type][base|length|type]     20 each, at an odd address
 */
static void e820_M30_entries_of_20_bytes_back_to_back_at_any_address(void **state)
{
    unsigned char *odd = map + 1;
    const struct loam_e820_boot request = request_of(odd, 3, 20);
    (void)state;
    put(odd, 0, 0x9fc00, 1);
    put(odd + 20, 0x9fc00, 0x400, 2);
    put(odd + 40, UINT64_C(0xfedcba9876543210), UINT64_C(0x8000000000000001), 4);
    accept(&request);
    assert_int_equal(boot.raw_count, 3);
    expect_entry(0, 0, 0x9fc00, LOAM_MEM_USABLE);
    expect_entry(1, 0x9fc00, 0x400, LOAM_MEM_RESERVED);
    expect_entry(2, UINT64_C(0xfedcba9876543210), UINT64_C(0x8000000000000001), LOAM_MEM_ACPI_NVS);
}

/*
 *   24 bytes  [usable, enabled)[usable, not enabled)[reserved, enabled)
 *   want      [usable         )                     [reserved         )
 */
static void e820_M30_entry_with_ignore_bit_clear_is_ignored(void **state)
{
    const struct loam_e820_boot request = request_of(map, 3, 24);
    (void)state;
    put_extended(map, 0x1000, 0x1000, 1, 1);
    put_extended(map + 24, 0x2000, 0x1000, 1, 0xfffffffe);
    put_extended(map + 48, 0x3000, 0x1000, 2, 1);
    accept(&request);
    assert_int_equal(boot.raw_count, 2);
    expect_entry(0, 0x1000, 0x1000, LOAM_MEM_USABLE);
    expect_entry(1, 0x3000, 0x1000, LOAM_MEM_RESERVED);
}

static void e820_M30_other_attributes_only_take_usable_memory_away(void **state)
{
    const struct loam_e820_boot request = request_of(map, 4, 24);
    (void)state;
    put_extended(map, 0x1000, 0x1000, 1, 1 | 2);      /* non-volatile */
    put_extended(map + 24, 0x2000, 0x1000, 3, 1 | 2); /* the same, not usable anyway */
    put_extended(map + 48, 0x3000, 0x1000, 1, 0xfffffffd);
    put_extended(map + 72, 0x4000, 0x1000, 5, 0xffffffff);
    accept(&request);
    assert_int_equal(boot.raw_count, 4);
    expect_entry(0, 0x1000, 0x1000, LOAM_MEM_RESERVED);
    expect_entry(1, 0x2000, 0x1000, LOAM_MEM_ACPI_RECLAIMABLE);
    expect_entry(2, 0x3000, 0x1000, LOAM_MEM_USABLE);
    expect_entry(3, 0x4000, 0x1000, LOAM_MEM_BAD);
}

/* A map of ignored entries is an empty one, which loam_init() refuses. */
static void e820_M30_map_of_ignored_entries_has_no_memory(void **state)
{
    static struct loam mm;
    struct loam_e820_boot request = request_of(map, 2, 24);
    (void)state;
    put_extended(map, 0, 0x100000, 1, 0);
    put_extended(map + 24, 0x100000, 0x10000000, 1, 0);
    machine_reset(1);
    request.mapped.hhdm_offset = machine_hhdm().offset;
    accept(&request);
    assert_int_equal(boot.raw_count, 0);
    boot.code = boot.stack = loam_virt_at(0);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_INVALID);
    assert_string_equal(refusal.rule, "loam: no memory map");
}

/* Whatever the bytes: an independent reading of them, one byte at a time. */
static uint64_t number_at(const unsigned char *at, unsigned bytes)
{
    uint64_t number = 0;
    while (bytes-- > 0)
        number = number << 8 | at[bytes];
    return number;
}

static void e820_random_bytes_are_read_as_the_format_says(void **state)
{
    static const enum loam_mem_type types[] = { LOAM_MEM_RESERVED, LOAM_MEM_USABLE,
                                                LOAM_MEM_RESERVED, LOAM_MEM_ACPI_RECLAIMABLE,
                                                LOAM_MEM_ACPI_NVS, LOAM_MEM_BAD };
    (void)state;
    for (unsigned round = 0; round < 2000; round++) {
        const size_t stride = test_random_below(2) != 0 ? 24 : 20;
        const size_t count = 1 + (size_t)test_random_below(ROOM);
        for (size_t i = 0; i < sizeof map; i++)
            map[i] = (unsigned char)test_random();
        for (size_t i = 0; i < count; i++) /* small types, mostly */
            if (test_random_below(8) != 0)
                memcpy(&map[i * stride + 16], (const unsigned char[4]){ (unsigned char)(i % 7) },
                       4);
        const struct loam_e820_boot request = request_of(map, count, stride);
        accept(&request);
        size_t kept = 0;
        for (size_t i = 0; i < count; i++) {
            const unsigned char *at = map + i * stride;
            const uint64_t number = number_at(at + 16, 4);
            const uint64_t attributes = stride == 24 ? number_at(at + 20, 4) : 1;
            enum loam_mem_type type = number < 6 ? types[number] : LOAM_MEM_RESERVED;
            if (type == LOAM_MEM_USABLE && attributes / 2 % 2 != 0)
                type = LOAM_MEM_RESERVED;
            if (attributes % 2 != 0)
                expect_entry(kept++, number_at(at, 8), number_at(at + 8, 8), type);
        }
        assert_int_equal(boot.raw_count, kept);
    }
}

/* Every recorded E820 map goes through the BIOS's format and back. */
static unsigned check_recorded(const char *path)
{
    static struct loam_memmap_entry raw[256];
    const struct loam_boot_storage roomy = {
        raw, 256, storage.map, storage.map_max, storage.records, storage.records_max
    };
    static const uint32_t numbers[LOAM_MEM_TYPES] = {
        [LOAM_MEM_USABLE] = 1,   [LOAM_MEM_RESERVED] = 2, [LOAM_MEM_ACPI_RECLAIMABLE] = 3,
        [LOAM_MEM_ACPI_NVS] = 4, [LOAM_MEM_BAD] = 5,
    };
    struct mapfile file;
    struct mapfile_error error;
    unsigned char bytes[256 * 20];
    if (mapfile_load(&file, path, &error) != LOAM_OK)
        fail_msg("%s:%zu: %s", path, error.line, error.message);
    assert_in_range(file.entry_count, 1, 255);
    for (size_t i = 0; i < file.entry_count; i++) {
        const unsigned type = (unsigned)file.entry[i].type;
        put(bytes + i * 20, file.entry[i].range.start.addr, file.entry[i].range.size,
            type < LOAM_MEM_TYPES ? numbers[type] : type - 0x10000u);
    }
    const struct loam_e820_boot request = request_of(bytes, file.entry_count, 20);
    assert_int_equal(loam_boot_e820(&boot, &roomy, &request, NULL), LOAM_OK);
    assert_int_equal(boot.raw_count, file.entry_count);
    for (size_t i = 0; i < file.entry_count; i++) {
        const unsigned type = (unsigned)file.entry[i].type;
        assert_int_equal(raw[i].range.start.addr, file.entry[i].range.start.addr);
        assert_int_equal(raw[i].range.size, file.entry[i].range.size);
        assert_int_equal(raw[i].type, type < LOAM_MEM_TYPES ? type : LOAM_MEM_RESERVED);
    }
    mapfile_free(&file);
    return 1;
}

static void e820_recorded_maps_arrive_unchanged(void **state)
{
    const char *maps = getenv("SHARED_MEMMAPS");
    char folder[512], path[1024];
    unsigned checked = 0;
    (void)state;
    snprintf(folder, sizeof folder, "%s/e820", maps != NULL ? maps : "../shared/memmaps");
    DIR *dir = opendir(folder);
    if (dir == NULL)
        fail_msg("%s: cannot be opened; set SHARED_MEMMAPS", folder);
    for (const struct dirent *file; (file = readdir(dir)) != NULL;) {
        snprintf(path, sizeof path, "%s/%s", folder, file->d_name);
        if (strstr(file->d_name, ".e820") != NULL)
            checked += check_recorded(path);
    }
    closedir(dir);
    assert_true(checked >= 20);
}

/* ---- what the caller says ------------------------------------------------ */

static void e820_defaults_are_one_cpu_four_levels_ram_and_framebuffers(void **state)
{
    const struct loam_e820_boot request = request_of(map, 1, 20);
    (void)state;
    put(map, 0, 0x1000, 1);
    accept(&request);
    assert_int_equal(boot.struct_bytes, sizeof boot);
    assert_int_equal(boot.cpu_count, 1);
    assert_int_equal(boot.levels, 4);
    assert_int_equal(boot.hhdm.offset, UINT64_C(0xffff800000000000));
    assert_true(loam_hhdm_is_genuine(boot.hhdm));
    assert_int_equal(boot.hhdm_bytes, 0);
    assert_false(boot.hhdm_is_identity);
    assert_int_equal(boot.hhdm_types, 1u << LOAM_MEM_USABLE | 1u << LOAM_MEM_BOOT_RECLAIMABLE |
                                          1u << LOAM_MEM_ACPI_RECLAIMABLE |
                                          1u << LOAM_MEM_ACPI_NVS | 1u << LOAM_MEM_EXECUTABLE |
                                          1u << LOAM_MEM_FRAMEBUFFER);
    assert_int_equal(boot.image.section_count, 0);
    assert_true(loam_phys_is_none(boot.rsdp));
    assert_int_equal(boot.heap_bytes, 0);
    assert_null(boot.repairs);
    assert_memory_equal(&boot.storage, &storage, sizeof storage);
}

/* D01: offset 0 is passed on as identity only if the caller says that it is. */
static void e820_D01_what_the_caller_declares_arrives(void **state)
{
    struct loam_e820_boot request = request_of(map, 1, 20);
    (void)state;
    put(map, 0, 0x1000, 1);
    request.mapped.hhdm_offset = 0;
    request.mapped.hhdm_bytes = UINT64_C(1) << 32;
    request.mapped.hhdm_is_identity = true;
    request.mapped.hhdm_types = LOAM_MEM_BIT(LOAM_MEM_USABLE);
    request.mapped.levels = 5;
    request.mapped.cpu_count = 7;
    request.mapped.image_phys = loam_phys_at(0x100000);
    request.mapped.image_virt = loam_virt_at(UINT64_C(0xffffffff80100000));
    accept(&request);
    assert_int_equal(boot.hhdm.offset, 0);
    assert_true(loam_hhdm_is_genuine(boot.hhdm));
    assert_int_equal(boot.hhdm_bytes, UINT64_C(1) << 32);
    assert_true(boot.hhdm_is_identity);
    assert_int_equal(boot.hhdm_types, 1u << LOAM_MEM_USABLE);
    assert_int_equal(boot.levels, 5);
    assert_int_equal(boot.cpu_count, 7);
    assert_int_equal(boot.image.phys_base.addr, 0x100000);
    assert_int_equal(boot.image.virt_base.addr, UINT64_C(0xffffffff80100000));
}

extern const char __executable_start, etext; /* the linker's */

static void e820_code_and_stack_are_those_that_run(void **state)
{
    const struct loam_e820_boot request = request_of(map, 1, 20);
    const uint64_t frame = (uint64_t)(uintptr_t)__builtin_frame_address(0);
    (void)state;
    put(map, 0, 0x1000, 1);
    accept(&request);
    assert_in_range(boot.code.addr, (uintptr_t)&__executable_start, (uintptr_t)&etext - 1);
    assert_in_range(boot.stack.addr, frame - 0x10000, frame + 0x10000);
}

/* ---- refusals ------------------------------------------------------------ */

static void e820_M01_no_entries_are_refused(void **state)
{
    struct loam_e820_boot request = request_of(map, 0, 20);
    (void)state;
    refuse(&request, LOAM_INVALID, "e820: no memory map", 0, 1);
    request = request_of(NULL, 3, 20);
    refuse(&request, LOAM_INVALID, "e820: no memory map", 3, 1);
}

static void e820_M30_other_strides_are_refused(void **state)
{
    static const size_t strides[] = { 0, 1, 16, 19, 21, 22, 23, 25, 28, 32, 40, SIZE_MAX };
    (void)state;
    for (size_t i = 0; i < sizeof strides / sizeof strides[0]; i++) {
        const struct loam_e820_boot request = request_of(map, 1, strides[i]);
        refuse(&request, LOAM_INVALID, "e820: entries are not 20 or 24 bytes each", strides[i], 24);
    }
}

/* The last place in the storage is kept for the image. */
static void e820_M22_more_entries_than_room_are_refused_with_both_numbers(void **state)
{
    struct loam_e820_boot request = request_of(map, ROOM, 20);
    struct loam_boot_storage small = storage;
    (void)state;
    for (unsigned i = 0; i <= ROOM; i++)
        put(map + 20 * i, i * 0x1000, 0x1000, 1);
    accept(&request);
    assert_int_equal(boot.raw_count, ROOM);
    expect_entry(ROOM - 1, (ROOM - 1) * 0x1000, 0x1000, LOAM_MEM_USABLE);
    request.entry_count = ROOM + 1;
    refuse(&request, LOAM_NO_SPACE, "e820: memory map has more entries than there is room for",
           ROOM + 1, ROOM);
    request.entry_count = SIZE_MAX;
    refuse(&request, LOAM_NO_SPACE, "e820: memory map has more entries than there is room for",
           SIZE_MAX, ROOM);
    request.entry_count = 1;
    for (small.raw_max = 0; small.raw_max < 2; small.raw_max++)
        refuse_in(&small, &request, LOAM_NO_SPACE,
                  "e820: memory map has more entries than there is room for", 1, 0);
}

/*
 *   storage       [        )
 *   refused    [  )
 *   refused             [  )     touching is not overlapping: the neighbours pass
 */
static void e820_M23_map_inside_the_storage_is_refused(void **state)
{
    static _Alignas(8) unsigned char bytes[4096];
    struct loam_boot_storage where = storage;
    unsigned char *raw = bytes + 2048;
    (void)state;
    where.raw = (struct loam_memmap_entry *)(void *)raw;
    where.raw_max = 8;
    for (long at = -48; at <= 8 * 24; at++) {
        const struct loam_e820_boot request = request_of(raw + at, 2, 24);
        const bool overlaps = at > -48 && at < 8 * 24;
        memset(bytes, 0, sizeof bytes);
        if (overlaps)
            refuse_in(&where, &request, LOAM_INVALID,
                      "e820: memory map lies in the storage it is copied to (address)",
                      (uintptr_t)(raw + at), 0);
        else
            assert_int_equal(loam_boot_e820(&boot, &where, &request, NULL), LOAM_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(e820_M15_types_by_number_unknown_ones_reserved),
        cmocka_unit_test(e820_M30_entries_of_20_bytes_back_to_back_at_any_address),
        cmocka_unit_test(e820_M30_entry_with_ignore_bit_clear_is_ignored),
        cmocka_unit_test(e820_M30_other_attributes_only_take_usable_memory_away),
        cmocka_unit_test(e820_M30_map_of_ignored_entries_has_no_memory),
        cmocka_unit_test(e820_random_bytes_are_read_as_the_format_says),
        cmocka_unit_test(e820_recorded_maps_arrive_unchanged),
        cmocka_unit_test(e820_defaults_are_one_cpu_four_levels_ram_and_framebuffers),
        cmocka_unit_test(e820_D01_what_the_caller_declares_arrives),
        cmocka_unit_test(e820_code_and_stack_are_those_that_run),
        cmocka_unit_test(e820_M01_no_entries_are_refused),
        cmocka_unit_test(e820_M30_other_strides_are_refused),
        cmocka_unit_test(e820_M22_more_entries_than_room_are_refused_with_both_numbers),
        cmocka_unit_test(e820_M23_map_inside_the_storage_is_refused),
    };
    return RUN_TESTS(tests);
}
