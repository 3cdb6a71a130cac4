/*
 * limine_test.c - what the Limine adapter makes of a bootloader's responses: for
 * every recorded boot, by value, and for what no sane bootloader answers. Rows
 * M01, M15, M22, D01 and D12 of the bad-input list as far as an adapter is
 * concerned. How a bootloader finds the requests: limine_protocol_test.c.
 */
#include "harness.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <loam/boot/limine.h>

#include "mapfile.h"

#define ENTRIES_MAX 64u
#define HHDM        UINT64_C(0xffff800000000000)
#define HHDM_LOWEST UINT64_C(0xff00000000000000) /* with 5 levels */
#define UNTOUCHED   UINT64_C(0x6a7b384944536bdc) /* second word of a tag nobody wrote to */
LOAM_BOOT_STORAGE(storage, ENTRIES_MAX);

static LOAM_LIMINE(requests); /* as the kernel's image has them */

static struct loam_boot boot;
static struct loam_refusal refusal;

/* All that a bootloader wrote, in one piece that can be compared. */
static struct loader {
    struct loam_limine limine;
    struct loam_limine_memmap_entry entry[ENTRIES_MAX + 8];
    struct loam_limine_memmap_entry *entry_pointer[ENTRIES_MAX + 8];
    struct loam_limine_memmap_response memmap;
    struct loam_limine_hhdm_response hhdm;
    struct loam_limine_paging_mode_response paging;
    struct loam_limine_executable_address_response address;
    struct loam_limine_mp_response mp;
    struct loam_limine_rsdp_response rsdp;
    struct loam_limine_framebuffer fb[2];
    struct loam_limine_framebuffer *fb_pointer[2];
    struct loam_limine_framebuffer_response framebuffers;
} loader, before;

/* ---- a bootloader -------------------------------------------------------- */

/* The tag as a bootloader leaves it that was asked for @p asked. */
static void answer_revision(uint64_t loaded, bool granted, uint64_t asked)
{
    loader.limine.base_revision[1] = loaded;
    loader.limine.base_revision[2] = granted ? 0 : asked;
}

static void answer_entry(uint64_t base, uint64_t length, uint64_t type)
{
    const size_t i = loader.memmap.entry_count++;
    assert_true(i < ENTRIES_MAX + 8);
    loader.entry[i].base = base;
    loader.entry[i].length = length;
    loader.entry[i].type = type;
    loader.entry_pointer[i] = &loader.entry[i];
}

static void answer_framebuffer(uint64_t address, uint64_t pitch, uint64_t height)
{
    const size_t i = loader.framebuffers.framebuffer_count++;
    loader.fb[i].address = (void *)(uintptr_t)address;
    loader.fb[i].pitch = pitch;
    loader.fb[i].width = pitch / 4;
    loader.fb[i].height = height;
    loader.fb_pointer[i] = &loader.fb[i];
    loader.limine.framebuffer.response = &loader.framebuffers;
}

/* Answers every kernel needs; a map of one usable entry. */
static void power_on(void)
{
    memset(&loader, 0, sizeof loader);
    memcpy(&loader.limine, &requests, sizeof requests);
    loader.memmap.entries = loader.entry_pointer;
    loader.framebuffers.framebuffers = loader.fb_pointer;
    loader.limine.memmap.response = &loader.memmap;
    loader.limine.hhdm.response = &loader.hhdm;
    loader.limine.executable_address.response = &loader.address;
    loader.hhdm.offset = HHDM;
    loader.address.physical_base = 0x7ff3c000;
    loader.address.virtual_base = UINT64_C(0xffffffff80000000);
    answer_revision(6, true, 6);
}

static void small_machine(void)
{
    power_on();
    answer_entry(0x100000, 0x1000000, 0);
}

/* ---- asking the adapter -------------------------------------------------- */

static enum loam_status call(const struct loam_boot_storage *where, struct loam_refusal *why)
{
    memcpy(&before, &loader, sizeof loader);
    const enum loam_status st = loam_boot_limine(&boot, where, &loader.limine, why);
    assert_memory_equal(&loader, &before, sizeof loader); /* nothing of it is written */
    return st;
}

static void accept(void)
{
    memset(&boot, 0x5a, sizeof boot);
    refusal.rule = "untouched";
    assert_int_equal(call(&storage, &refusal), LOAM_OK);
    assert_string_equal(refusal.rule, "untouched");
}

/* Refused with these words and numbers; neither boot nor storage was touched. */
static void refuse_in(const struct loam_boot_storage *where, enum loam_status status,
                      const char *rule, uint64_t have, uint64_t need)
{
    struct loam_memmap_entry raw[ENTRIES_MAX + 1];
    struct loam_boot untouched;
    memset(storage.raw, 0xa5, sizeof raw);
    memcpy(raw, storage.raw, sizeof raw);
    memset(&boot, 0x5a, sizeof boot);
    memset(&untouched, 0x5a, sizeof untouched);
    refusal.rule = "no refusal";
    assert_int_equal(call(where, &refusal), status);
    assert_string_equal(refusal.rule, rule);
    assert_int_equal(refusal.have, have);
    assert_int_equal(refusal.need, need);
    assert_int_equal(call(where, NULL), status);
    assert_memory_equal(&boot, &untouched, sizeof boot);
    assert_memory_equal(storage.raw, raw, sizeof raw);
}

static void refuse(enum loam_status status, const char *rule, uint64_t have, uint64_t need)
{
    refuse_in(&storage, status, rule, have, need);
}

static void expect_entry(size_t index, uint64_t base, uint64_t length, enum loam_mem_type type)
{
    assert_true(index < boot.raw_count);
    assert_int_equal(storage.raw[index].range.start.addr, base);
    assert_int_equal(storage.raw[index].range.size, length);
    assert_int_equal(storage.raw[index].type, type);
}

/* ---- base revisions ------------------------------------------------------ */

static const char *const too_old = "limine: base revision 3 or newer is needed";

/*
 * Bootloaders that know revision 3 say in the second word which one they used.
 * Older ones leave it alone, whether they granted the request or not.
 */
static void limine_revision_is_the_one_the_tag_says_was_used(void **state)
{
    static const struct {
        uint64_t loaded;
        bool granted;
        uint64_t asked, used;
    } table[] = {
        { 6, true, 6, 6 },  /* Limine 11 */
        { 5, false, 6, 5 }, /* Limine 10.8 */
        { 4, false, 6, 4 }, /* 10.5 */
        { 3, false, 6, 3 }, /* 9.6, 10.1 */
        { 5, true, 5, 5 },  /* kernels with tags of their own */
        { 2, true, 2, 2 },         { 0, true, 0, 0 }, { UNTOUCHED, false, 6, 0 }, /* 8.2 */
        { UNTOUCHED, true, 2, 0 }, /* 8.2, granted: still not 3 */
        { UNTOUCHED, true, 6, 0 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        power_on();
        answer_revision(table[i].loaded, table[i].granted, table[i].asked);
        assert_int_equal(loam_limine_revision(&loader.limine), table[i].used);
    }
    assert_int_equal(loam_limine_revision(&requests), 0); /* no bootloader at all */
}

static void limine_revisions_3_to_6_are_accepted_others_refused(void **state)
{
    (void)state;
    for (uint64_t revision = 0; revision < 10; revision++) {
        small_machine();
        answer_revision(revision, revision == 6, 6);
        if (revision < 3)
            refuse(LOAM_UNSUPPORTED, too_old, revision, 3);
        else if (revision <= 6)
            accept();
        else
            refuse(LOAM_UNSUPPORTED, "limine: base revision is newer than any that Loam knows",
                   revision, 6);
    }
    answer_revision(UNTOUCHED, true, 6);
    refuse(LOAM_UNSUPPORTED, too_old, 0, 3);
    answer_revision(UINT64_MAX, false, 6);
    refuse(LOAM_UNSUPPORTED, "limine: base revision is newer than any that Loam knows", UINT64_MAX,
           6);
}

static unsigned types_mapped_at(uint64_t revision)
{
    const unsigned three = 1u << LOAM_MEM_USABLE | 1u << LOAM_MEM_BOOT_RECLAIMABLE |
                           1u << LOAM_MEM_EXECUTABLE | 1u << LOAM_MEM_FRAMEBUFFER;
    const unsigned four =
        1u << LOAM_MEM_ACPI_RECLAIMABLE | 1u << LOAM_MEM_ACPI_NVS | 1u << LOAM_MEM_RESERVED_MAPPED;
    return revision == 3 ? three : three | four;
}

static void limine_direct_map_covers_more_from_revision_4_on(void **state)
{
    (void)state;
    for (uint64_t revision = 3; revision <= 6; revision++) {
        small_machine();
        answer_revision(revision, revision == 6, 6);
        accept();
        assert_int_equal(boot.hhdm_types, types_mapped_at(revision));
        assert_int_equal(boot.hhdm_types & (1u << LOAM_MEM_RESERVED | 1u << LOAM_MEM_BAD), 0);
    }
}

static void limine_rsdp_is_physical_at_revision_3_only(void **state)
{
    (void)state;
    for (uint64_t revision = 3; revision <= 6; revision++) {
        small_machine();
        answer_revision(revision, revision == 6, 6);
        loader.limine.rsdp.response = &loader.rsdp;
        loader.rsdp.address = revision == 3 ? 0xf59e0 : HHDM + 0xf59e0;
        accept();
        assert_int_equal(boot.rsdp.addr, 0xf59e0);
    }
    loader.limine.rsdp.response = NULL;
    accept();
    assert_true(loam_phys_is_none(boot.rsdp));
}

/* ---- recorded boots ------------------------------------------------------ */

/* The protocol's number of a type, as the bootloader wrote it. */
static uint64_t number_of(enum loam_mem_type type)
{
    static const uint64_t numbers[LOAM_MEM_TYPES] = {
        [LOAM_MEM_USABLE] = 0,     [LOAM_MEM_RESERVED] = 1,    [LOAM_MEM_ACPI_RECLAIMABLE] = 2,
        [LOAM_MEM_ACPI_NVS] = 3,   [LOAM_MEM_BAD] = 4,         [LOAM_MEM_BOOT_RECLAIMABLE] = 5,
        [LOAM_MEM_EXECUTABLE] = 6, [LOAM_MEM_FRAMEBUFFER] = 7, [LOAM_MEM_RESERVED_MAPPED] = 8,
    };
    assert_true((unsigned)type < LOAM_MEM_TYPES);
    return numbers[type];
}

#define RECORDED                                                                                 \
    (MAPFILE_HHDM | MAPFILE_BITS | MAPFILE_BASE_REVISION | MAPFILE_PAGING_MODE |                 \
     MAPFILE_KERNEL_PHYS | MAPFILE_KERNEL_VIRT | MAPFILE_KERNEL_IMAGE_SIZE | MAPFILE_CPU_COUNT | \
     MAPFILE_RSDP)

/* Answer as the recorded bootloader did. */
static void replay(const struct mapfile *file)
{
    assert_int_equal(file->present & RECORDED, RECORDED);
    power_on();
    answer_revision(file->revision_loaded_tag, file->revision_accepted, file->revision_requested);
    for (size_t i = 0; i < file->entry_count; i++)
        answer_entry(file->entry[i].range.start.addr, file->entry[i].range.size,
                     number_of(file->entry[i].type));
    loader.hhdm.offset = file->hhdm_offset;
    loader.paging.mode = file->paging_levels - 4;
    loader.limine.paging_mode.response = &loader.paging;
    loader.address.physical_base = file->kernel_phys;
    loader.address.virtual_base = file->kernel_virt;
    loader.mp.cpu_count = file->cpu_count;
    loader.limine.mp.response = &loader.mp;
    loader.rsdp.address = file->rsdp;
    loader.limine.rsdp.response = &loader.rsdp;
    if ((file->present & MAPFILE_FRAMEBUFFER) != 0)
        answer_framebuffer(file->framebuffer.address, file->framebuffer.pitch,
                           file->framebuffer.height);
}

static void check_accepted(const struct mapfile *file, uint64_t revision)
{
    const bool has_fb = (file->present & MAPFILE_FRAMEBUFFER) != 0;
    accept();
    assert_int_equal(boot.struct_bytes, sizeof boot);
    assert_memory_equal(&boot.storage, &storage, sizeof storage);
    assert_int_equal(boot.raw_count, file->entry_count + has_fb);
    for (size_t i = 0; i < file->entry_count; i++)
        expect_entry(i, file->entry[i].range.start.addr, file->entry[i].range.size,
                     file->entry[i].type);
    if (has_fb)
        expect_entry(file->entry_count, file->framebuffer.address - file->hhdm_offset,
                     file->framebuffer.pitch * file->framebuffer.height, LOAM_MEM_FRAMEBUFFER);
    assert_int_equal(boot.hhdm.offset, file->hhdm_offset);
    assert_true(loam_hhdm_is_genuine(boot.hhdm));
    assert_int_equal(boot.hhdm_bytes, 0);
    assert_false(boot.hhdm_is_identity);
    assert_int_equal(boot.hhdm_types, types_mapped_at(revision));
    assert_int_equal(boot.levels, file->paging_levels);
    assert_int_equal(boot.cpu_count, file->cpu_count);
    assert_int_equal(boot.image.phys_base.addr, file->kernel_phys);
    assert_int_equal(boot.image.virt_base.addr, file->kernel_virt);
    assert_int_equal(boot.image.section_count, 0);
    assert_int_equal(boot.heap_bytes, 0);
    assert_null(boot.repairs);
    /* SeaBIOS keeps the RSDP in its segment, OVMF below the top of RAM. */
    assert_in_range(boot.rsdp.addr, 0xe0000, UINT32_MAX);
    assert_int_equal(boot.rsdp.addr,
                     file->rsdp >= HHDM_LOWEST ? file->rsdp - file->hhdm_offset : file->rsdp);
}

/* A framebuffer the map lists, and one it is asked for, are the same memory. */
static bool map_lists_framebuffer(const struct mapfile *file)
{
    const uint64_t start = file->framebuffer.address - file->hhdm_offset;
    for (size_t i = 0; i < file->entry_count; i++)
        if (file->entry[i].type == LOAM_MEM_FRAMEBUFFER &&
            loam_phys_range_contains(file->entry[i].range, loam_phys_at(start)))
            return true;
    return false;
}

struct tally {
    unsigned accepted[7], refused, with_framebuffer, five_levels;
};

static void check_recorded(const char *path, struct tally *tally)
{
    struct mapfile file;
    struct mapfile_error error;
    if (mapfile_load(&file, path, &error) != LOAM_OK)
        fail_msg("%s:%zu: %s", path, error.line, error.message);
    replay(&file);
    const uint64_t tag = file.revision_loaded_tag;
    if (tag == UNTOUCHED || tag < 3) {
        refuse(LOAM_UNSUPPORTED, too_old, tag == UNTOUCHED ? 0 : tag, 3);
        tally->refused++;
    } else {
        check_accepted(&file, tag);
        assert_in_range(tag, 3, 6);
        tally->accepted[tag]++;
    }
    if ((file.present & MAPFILE_FRAMEBUFFER) != 0) {
        assert_true(map_lists_framebuffer(&file));
        tally->with_framebuffer++;
    }
    tally->five_levels += file.paging_levels == 5;
    mapfile_free(&file);
}

static void limine_every_recorded_boot_arrives_by_value(void **state)
{
    const char *maps = getenv("SHARED_MEMMAPS");
    char folder[512], path[1024];
    struct tally tally;
    (void)state;
    memset(&tally, 0, sizeof tally);
    snprintf(folder, sizeof folder, "%s/limine", maps != NULL ? maps : "../shared/memmaps");
    DIR *dir = opendir(folder);
    if (dir == NULL)
        fail_msg("%s: cannot be opened; set SHARED_MEMMAPS", folder);
    for (const struct dirent *file; (file = readdir(dir)) != NULL;) {
        snprintf(path, sizeof path, "%s/%s", folder, file->d_name);
        if (strstr(file->d_name, ".memmap") != NULL)
            check_recorded(path, &tally);
    }
    closedir(dir);
    /* What the recordings are: nothing of them is to get lost unnoticed. */
    assert_true(tally.accepted[3] >= 12);
    assert_true(tally.accepted[4] >= 4);
    assert_true(tally.accepted[5] >= 4);
    assert_true(tally.accepted[6] >= 60);
    assert_true(tally.refused >= 15);
    assert_true(tally.with_framebuffer >= 100);
    assert_true(tally.five_levels >= 3);
}

/* ---- by hand ------------------------------------------------------------- */

static void limine_M15_types_by_number_unknown_ones_reserved(void **state)
{
    static const struct {
        uint64_t number;
        enum loam_mem_type type;
    } table[] = {
        { 0, LOAM_MEM_USABLE },
        { 1, LOAM_MEM_RESERVED },
        { 2, LOAM_MEM_ACPI_RECLAIMABLE },
        { 3, LOAM_MEM_ACPI_NVS },
        { 4, LOAM_MEM_BAD },
        { 5, LOAM_MEM_BOOT_RECLAIMABLE },
        { 6, LOAM_MEM_EXECUTABLE },
        { 7, LOAM_MEM_FRAMEBUFFER },
        { 8, LOAM_MEM_RESERVED_MAPPED },
        { 9, LOAM_MEM_RESERVED },
        { 0xf0000000, LOAM_MEM_RESERVED },
        { UINT64_C(0x100000000), LOAM_MEM_RESERVED },
        { UINT64_MAX, LOAM_MEM_RESERVED },
    };
    const size_t count = sizeof table / sizeof table[0];
    (void)state;
    power_on();
    for (size_t i = 0; i < count; i++)
        answer_entry(0x10000 * i, 0x1000 + i, table[i].number);
    accept();
    assert_int_equal(boot.raw_count, count);
    for (size_t i = 0; i < count; i++)
        expect_entry(i, 0x10000 * i, 0x1000 + i, table[i].type);
}

/*
 *   map           [usable)            the framebuffers are not in it
 *   framebuffers            [1 )[2 )
 *   want          [usable)  [fb)[fb)
 */
static void limine_framebuffers_are_appended(void **state)
{
    (void)state;
    small_machine();
    answer_framebuffer(HHDM + 0xfd000000, 5120, 800);
    answer_framebuffer(HHDM + UINT64_C(0x4000000000), 7680, 1080);
    accept();
    assert_int_equal(boot.raw_count, 3);
    expect_entry(0, 0x100000, 0x1000000, LOAM_MEM_USABLE);
    expect_entry(1, 0xfd000000, 5120 * 800, LOAM_MEM_FRAMEBUFFER);
    expect_entry(2, UINT64_C(0x4000000000), 7680 * 1080, LOAM_MEM_FRAMEBUFFER);
}

static void limine_levels_are_4_unless_the_bootloader_says_5(void **state)
{
    (void)state;
    small_machine();
    accept();
    assert_int_equal(boot.levels, 4);
    loader.limine.paging_mode.response = &loader.paging;
    accept();
    assert_int_equal(boot.levels, 4);
    loader.paging.mode = 1;
    accept();
    assert_int_equal(boot.levels, 5);
}

/* loam_init() refuses more than LOAM_CPUS_MAX: the count must not wrap to fewer. */
static void limine_D12_cpu_count_is_1_without_response_and_never_wraps(void **state)
{
    static const uint64_t counts[] = { 1, 2, 255, UINT32_MAX, UINT64_C(0x100000001), UINT64_MAX };
    (void)state;
    small_machine();
    accept();
    assert_int_equal(boot.cpu_count, 1);
    loader.limine.mp.response = &loader.mp;
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        loader.mp.cpu_count = counts[i];
        accept();
        assert_int_equal(boot.cpu_count, counts[i] < UINT32_MAX ? counts[i] : UINT32_MAX);
    }
}

/* No bootloader of this protocol maps at offset 0: identity is never declared. */
static void limine_D01_offset_0_is_never_called_identity(void **state)
{
    (void)state;
    small_machine();
    loader.hhdm.offset = 0;
    accept();
    assert_int_equal(boot.hhdm.offset, 0);
    assert_false(boot.hhdm_is_identity);
}

extern const char __executable_start, etext; /* the linker's */

static void limine_code_and_stack_are_those_that_run(void **state)
{
    const uint64_t frame = (uint64_t)(uintptr_t)__builtin_frame_address(0);
    (void)state;
    small_machine();
    accept();
    assert_in_range(boot.code.addr, (uintptr_t)&__executable_start, (uintptr_t)&etext - 1);
    assert_in_range(boot.stack.addr, frame - 0x10000, frame + 0x10000);
}

/* ---- refusals ------------------------------------------------------------ */

static void limine_missing_responses_are_refused(void **state)
{
    (void)state;
    small_machine();
    loader.limine.hhdm.response = NULL;
    refuse(LOAM_NOT_FOUND, "limine: no HHDM response", 0, 0);
    small_machine();
    loader.limine.memmap.response = NULL;
    refuse(LOAM_NOT_FOUND, "limine: no memory map response", 0, 0);
    small_machine();
    loader.limine.executable_address.response = NULL;
    refuse(LOAM_NOT_FOUND, "limine: no executable address response", 0, 0);
}

static void limine_M01_empty_memory_map_is_refused(void **state)
{
    (void)state;
    power_on();
    refuse(LOAM_INVALID, "limine: the memory map has no entry", 0, 1);
    answer_entry(0, 0x1000, 0);
    loader.memmap.entries = NULL;
    refuse(LOAM_INVALID, "limine: the memory map has no entry", 1, 1);
}

/* The last place in the storage is kept for the image. */
static void limine_M22_more_entries_than_room_are_refused_with_both_numbers(void **state)
{
    static const char *const rule = "limine: memory map has more entries than there is room for";
    struct loam_boot_storage small = storage;
    (void)state;
    power_on();
    for (unsigned i = 0; i < ENTRIES_MAX; i++)
        answer_entry(i * 0x2000, 0x1000, 0);
    accept();
    assert_int_equal(boot.raw_count, ENTRIES_MAX);
    expect_entry(ENTRIES_MAX - 1, (ENTRIES_MAX - 1) * 0x2000, 0x1000, LOAM_MEM_USABLE);
    answer_entry(ENTRIES_MAX * 0x2000, 0x1000, 0);
    refuse(LOAM_NO_SPACE, rule, ENTRIES_MAX + 1, ENTRIES_MAX);
    loader.memmap.entry_count = UINT64_MAX;
    refuse(LOAM_NO_SPACE, rule, UINT64_MAX, ENTRIES_MAX);
    small_machine();
    for (small.raw_max = 0; small.raw_max < 2; small.raw_max++)
        refuse_in(&small, LOAM_NO_SPACE, rule, 1, 0);
    assert_int_equal(call(&small, NULL), LOAM_OK);
}

static void limine_M22_more_framebuffers_than_room_are_refused_with_both_numbers(void **state)
{
    static const char *const rule =
        "limine: more framebuffers than there is room for beside the memory map";
    (void)state;
    power_on();
    for (unsigned i = 0; i < ENTRIES_MAX - 1; i++)
        answer_entry(i * 0x2000, 0x1000, 0);
    answer_framebuffer(HHDM + 0xfd000000, 5120, 800);
    accept();
    assert_int_equal(boot.raw_count, ENTRIES_MAX);
    answer_framebuffer(HHDM + 0xfe000000, 5120, 800);
    refuse(LOAM_NO_SPACE, rule, 2, 1);
    loader.framebuffers.framebuffer_count = UINT64_MAX;
    refuse(LOAM_NO_SPACE, rule, UINT64_MAX, 1);
}

static void limine_framebuffer_larger_than_the_address_space_is_refused(void **state)
{
    static const char *const rule =
        "limine: framebuffer is larger than the address space (bytes per row, rows)";
    (void)state;
    small_machine();
    answer_framebuffer(HHDM, UINT64_C(1) << 32, UINT64_C(1) << 32);
    refuse(LOAM_INVALID, rule, UINT64_C(1) << 32, UINT64_C(1) << 32);
    loader.fb[0].height = (UINT64_C(1) << 32) - 1;
    accept();
    expect_entry(1, 0, UINT64_MAX - UINT32_MAX, LOAM_MEM_FRAMEBUFFER);
    loader.fb[0].pitch = UINT64_MAX / 3; /* exactly the largest */
    loader.fb[0].height = 3;
    accept();
    expect_entry(1, 0, UINT64_MAX, LOAM_MEM_FRAMEBUFFER);
    loader.fb[0].height = 0; /* nothing to see, nothing to divide by */
    accept();
    expect_entry(1, 0, 0, LOAM_MEM_FRAMEBUFFER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limine_revision_is_the_one_the_tag_says_was_used),
        cmocka_unit_test(limine_revisions_3_to_6_are_accepted_others_refused),
        cmocka_unit_test(limine_direct_map_covers_more_from_revision_4_on),
        cmocka_unit_test(limine_rsdp_is_physical_at_revision_3_only),
        cmocka_unit_test(limine_every_recorded_boot_arrives_by_value),
        cmocka_unit_test(limine_M15_types_by_number_unknown_ones_reserved),
        cmocka_unit_test(limine_framebuffers_are_appended),
        cmocka_unit_test(limine_levels_are_4_unless_the_bootloader_says_5),
        cmocka_unit_test(limine_D12_cpu_count_is_1_without_response_and_never_wraps),
        cmocka_unit_test(limine_D01_offset_0_is_never_called_identity),
        cmocka_unit_test(limine_code_and_stack_are_those_that_run),
        cmocka_unit_test(limine_missing_responses_are_refused),
        cmocka_unit_test(limine_M01_empty_memory_map_is_refused),
        cmocka_unit_test(limine_M22_more_entries_than_room_are_refused_with_both_numbers),
        cmocka_unit_test(limine_M22_more_framebuffers_than_room_are_refused_with_both_numbers),
        cmocka_unit_test(limine_framebuffer_larger_than_the_address_space_is_refused),
    };
    return RUN_TESTS(tests);
}
