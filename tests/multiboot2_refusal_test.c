/*
 * multiboot2_refusal_test.c - what the Multiboot2 adapter refuses, with which words
 * and numbers, and that a refusal leaves everything alone. Rows M28, M29 and M31 of
 * the bad-input list, and M01 and M22 as far as an adapter is concerned.
 */
#include "multiboot2_block.h"

/* Was the call refused, and were boot and storage left alone? */
static enum loam_status refused(struct loam_refusal *why)
{
    struct loam_memmap_entry before[ROOM + 1];
    struct loam_boot untouched;
    memset(storage.raw, 0xa5, sizeof before);
    memcpy(before, storage.raw, sizeof before);
    memset(&boot, 0x5a, sizeof boot);
    memset(&untouched, 0x5a, sizeof untouched);
    const enum loam_status st = call(&storage, why);
    if (st != LOAM_OK) {
        assert_memory_equal(&boot, &untouched, sizeof boot);
        assert_memory_equal(storage.raw, before, sizeof before);
    }
    return st;
}

static void refuse(enum loam_status status, const char *rule, uint64_t have, uint64_t need)
{
    refusal.rule = "no refusal";
    assert_int_equal(refused(&refusal), status);
    assert_string_equal(refusal.rule, rule);
    assert_int_equal(refusal.have, have);
    assert_int_equal(refusal.need, need);
    assert_int_equal(refused(NULL), status);
}

/* ---- refusals: the block ------------------------------------------------- */

static void multiboot2_foreign_magic_is_refused(void **state)
{
    static const uint32_t magics[] = { 0, 0x2badb002, 0xe85250d6, 0x36d76288 };
    (void)state;
    small_block();
    for (size_t i = 0; i < sizeof magics / sizeof magics[0]; i++) {
        request.magic = magics[i];
        refuse(LOAM_INVALID, "multiboot2: the magic number is another protocol's", magics[i],
               0x36d76289);
    }
}

static void multiboot2_bad_address_is_refused(void **state)
{
    static const uint64_t addresses[] = { 0, INFO + 1, INFO + 4, INFO + 7, UINT64_MAX };
    (void)state;
    small_block();
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        request.info = loam_phys_at(addresses[i]);
        refuse(LOAM_INVALID, "multiboot2: no information block at this address", addresses[i], 0);
    }
}

/*
 *   window  [0 ............)
 *   block            [     )  the last place where it is seen whole
 */
static void multiboot2_block_outside_the_direct_map_is_refused(void **state)
{
    (void)state;
    small_block();
    request.mapped.hhdm_bytes = INFO + used;
    accept();
    for (uint64_t bytes = INFO + used - 1; bytes >= INFO + 16; bytes--) {
        request.mapped.hhdm_bytes = bytes;
        refuse(LOAM_INVALID, "multiboot2: the direct map does not show the information block",
               INFO + used, bytes);
    }
    for (uint64_t bytes = INFO + 15; bytes >= INFO - 1; bytes--) {
        request.mapped.hhdm_bytes = bytes;
        refuse(LOAM_INVALID, "multiboot2: the direct map does not show the information block", INFO,
               bytes);
    }
    request.mapped.hhdm_bytes = 1;
    refuse(LOAM_INVALID, "multiboot2: the direct map does not show the information block", INFO, 1);
}

static void multiboot2_M31_block_too_small_is_refused(void **state)
{
    (void)state;
    small_block();
    for (uint32_t size = 0; size < 16; size++) {
        put32(0, size);
        refuse(LOAM_INVALID, "multiboot2: the information block is too small (bytes)", size, 16);
    }
}

/* ---- refusals: tags ------------------------------------------------------ */

static void multiboot2_M31_block_without_end_tag_is_refused(void **state)
{
    (void)state;
    small_block();
    used -= 8; /* the end tag is gone from memory, too */
    put32(0, used);
    refuse(LOAM_INVALID, "multiboot2: the information block has no end tag (bytes)", used,
           used + 8);
    put32(0, used - 4);
    refuse(LOAM_INVALID, "multiboot2: tag runs past the information block (bytes)", 40, 36);

    begin(); /* padding of the last tag passes the block's end: 8 + 9, not 8 + 16 */
    tag(1, 9);
    used = 17;
    put32(0, used);
    refuse(LOAM_INVALID, "multiboot2: the information block has no end tag (bytes)", 17, 24 + 8);
}

static void multiboot2_M31_tag_past_the_block_is_refused(void **state)
{
    static const uint32_t sizes[] = { 41 + 8, 0x1000, 0x7fffffff, 0xfffffff8, UINT32_MAX };
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        small_block();
        put32(8 + 4, sizes[i]);
        refuse(LOAM_INVALID, "multiboot2: tag runs past the information block (bytes)", sizes[i],
               48);
    }
}

/* Also the end tag's: a size of 0 must not stop the walk on one place for ever. */
static void multiboot2_M31_tag_smaller_than_its_format_is_refused(void **state)
{
    static const struct {
        uint32_t type, bytes;
    } table[] = { { 0, 8 },  { 1, 8 },  { 2, 8 },   { 3, 16 },        { 4, 8 },
                  { 6, 16 }, { 8, 31 }, { 14, 28 }, { 15, 44 },       { 17, 16 },
                  { 18, 8 }, { 21, 8 }, { 99, 8 },  { UINT32_MAX, 8 } };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        for (uint32_t size = 0; size < table[i].bytes; size++) {
            begin();
            const uint32_t at = tag(table[i].type, 64);
            finish();
            put32(at + 4, size);
            refuse(LOAM_INVALID, "multiboot2: tag is smaller than its format (bytes)", size,
                   table[i].bytes);
        }
}

static void multiboot2_M31_entry_size_0_or_too_small_is_refused(void **state)
{
    (void)state;
    for (uint32_t size = 0; size < 24; size++) {
        begin();
        put32(memmap(24, 3) + 8, size);
        finish();
        refuse(LOAM_INVALID, "multiboot2: memory map entry is smaller than its format (bytes)",
               size, 24);
    }
}

static void multiboot2_M29_descriptor_size_0_or_too_small_is_refused(void **state)
{
    (void)state;
    for (uint32_t size = 0; size < 40; size++) {
        begin();
        put32(efi_memmap(48, 3) + 8, size);
        memmap_entry(memmap(24, 1), 0, 0, 0x1000, 1); /* no way out */
        finish();
        refuse(LOAM_INVALID, "multiboot2: memory map entry is smaller than its format (bytes)",
               size, 40);
    }
}

static void multiboot2_M29_entries_that_do_not_fill_the_map_are_refused(void **state)
{
    (void)state;
    begin();
    put32(efi_memmap(48, 3) + 8, 56);
    finish();
    refuse(LOAM_INVALID, "multiboot2: memory map is no whole number of entries (bytes)", 144, 56);

    begin();
    put32(efi_memmap(48, 3) + 8, UINT32_MAX);
    finish();
    refuse(LOAM_INVALID, "multiboot2: memory map is no whole number of entries (bytes)", 144,
           UINT32_MAX);

    for (uint32_t cut = 1; cut < 24; cut++) {
        begin();
        put32(memmap(24, 2) + 4, 16 + 48 - cut);
        finish();
        refuse(LOAM_INVALID, "multiboot2: memory map is no whole number of entries (bytes)",
               48 - cut, 24);
    }
}

static void multiboot2_M28_unknown_descriptor_version_is_refused(void **state)
{
    static const uint32_t versions[] = { 0, 2, 3, 0x80000001, UINT32_MAX };
    (void)state;
    for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++) {
        begin();
        put32(efi_memmap(48, 3) + 12, versions[i]);
        memmap_entry(memmap(24, 1), 0, 0, 0x1000, 1); /* no way out */
        finish();
        refuse(LOAM_INVALID, "multiboot2: EFI memory map is of an unknown version", versions[i], 1);
    }
}

static void multiboot2_module_that_ends_before_it_starts_is_refused(void **state)
{
    (void)state;
    begin();
    module(0x200000, 0x1fffff);
    finish();
    refuse(LOAM_INVALID, "multiboot2: module ends before it starts", 0x1fffff, 0x200000);

    begin(); /* an empty one is no harm: loam_init() drops it */
    module(0x200000, 0x200000);
    memmap_entry(memmap(24, 1), 0, 0, 0x1000, 1);
    finish();
    accept();
    expect_entry(1, 0x200000, 0, LOAM_MEM_EXECUTABLE);
}

static void multiboot2_running_boot_services_are_refused(void **state)
{
    (void)state;
    begin();
    efi_entry(efi_memmap(48, 1), 0, 7, 0, 0x100, 0xf);
    memmap_entry(memmap(24, 1), 0, 0, 0x100000, 1);
    tag(18, 8);
    finish();
    refuse(LOAM_UNSUPPORTED, "multiboot2: EFI boot services were not exited", 1, 0);
}

static void multiboot2_M01_block_without_memory_map_is_refused(void **state)
{
    (void)state;
    begin();
    finish();
    refuse(LOAM_NOT_FOUND, "multiboot2: no memory map", 0, 1);
    begin();
    module(0x200000, 0x300000);
    memmap(24, 0);
    efi_memmap(48, 0);
    finish();
    refuse(LOAM_NOT_FOUND, "multiboot2: no memory map", 0, 1);
}

/* The block itself needs a place; the last one is kept for the image. */
static void multiboot2_M22_more_entries_than_room_are_refused_with_both_numbers(void **state)
{
    struct loam_boot_storage small = storage;
    (void)state;
    for (uint32_t more = 0; more < 3; more++) {
        begin();
        const uint32_t map = memmap(24, ROOM - 3 + more);
        for (uint32_t i = 0; i < ROOM - 3 + more; i++)
            memmap_entry(map, i, i * 0x2000, 0x1000, 1);
        module(0x200000, 0x300000);
        framebuffer(0xb8000, 160, 25, 32);
        finish();
        if (more == 0) {
            accept();
            assert_int_equal(boot.raw_count, ROOM);
        } else {
            refuse(LOAM_NO_SPACE, "multiboot2: more memory map entries than there is room for",
                   ROOM + more, ROOM);
        }
    }
    small_block();
    for (small.raw_max = 0; small.raw_max < 3; small.raw_max++) {
        assert_int_equal(call(&small, &refusal), LOAM_NO_SPACE);
        assert_int_equal(refusal.have, 2);
        assert_int_equal(refusal.need, small.raw_max == 2 ? 1 : 0);
    }
    assert_int_equal(call(&small, &refusal), LOAM_OK);
}

/* Every prefix of a good block is refused, and nothing beyond it is read. */
static void multiboot2_M31_every_truncation_is_refused(void **state)
{
    (void)state;
    begin();
    module(0x200000, 0x300000);
    memmap_entry(memmap(24, 2), 0, 0, 0x100000, 1);
    framebuffer(0xb8000, 160, 25, 31);
    tag(15, 44);
    finish();
    accept();
    while (used > 8) {
        put32(0, --used);
        assert_int_equal(refused(&refusal), LOAM_INVALID);
    }
}

/* Damage in any place ends in a refusal that changes nothing, or in entries that
 * fit; never in a read beyond the block (the sanitizer) or an endless walk. */
static void multiboot2_M31_damaged_blocks_are_survived(void **state)
{
    static const uint32_t nasty[] = { 0, 1, 7, 8, 15, 16, 24, 0x7fffffff, 0xfffffff8, UINT32_MAX };
    struct wanted wanted;
    unsigned refusals = 0;
    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        random_block(&wanted);
        for (uint64_t hits = 1 + test_random_below(3); hits > 0; hits--) {
            const uint32_t at = 8 + 4 * (uint32_t)test_random_below((used - 8) / 4);
            put32(at, nasty[test_random_below(sizeof nasty / sizeof nasty[0])]);
        }
        refusal.rule = NULL;
        const enum loam_status st = refused(&refusal);
        if (st == LOAM_OK) {
            assert_in_range(boot.raw_count, 2, ROOM);
        } else {
            assert_non_null(refusal.rule);
            refusals++;
        }
    }
    assert_in_range(refusals, 5000, 19000); /* both happen */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(multiboot2_foreign_magic_is_refused),
        cmocka_unit_test(multiboot2_bad_address_is_refused),
        cmocka_unit_test(multiboot2_block_outside_the_direct_map_is_refused),
        cmocka_unit_test(multiboot2_M31_block_too_small_is_refused),
        cmocka_unit_test(multiboot2_M31_block_without_end_tag_is_refused),
        cmocka_unit_test(multiboot2_M31_tag_past_the_block_is_refused),
        cmocka_unit_test(multiboot2_M31_tag_smaller_than_its_format_is_refused),
        cmocka_unit_test(multiboot2_M31_entry_size_0_or_too_small_is_refused),
        cmocka_unit_test(multiboot2_M29_descriptor_size_0_or_too_small_is_refused),
        cmocka_unit_test(multiboot2_M29_entries_that_do_not_fill_the_map_are_refused),
        cmocka_unit_test(multiboot2_M28_unknown_descriptor_version_is_refused),
        cmocka_unit_test(multiboot2_module_that_ends_before_it_starts_is_refused),
        cmocka_unit_test(multiboot2_running_boot_services_are_refused),
        cmocka_unit_test(multiboot2_M01_block_without_memory_map_is_refused),
        cmocka_unit_test(multiboot2_M22_more_entries_than_room_are_refused_with_both_numbers),
        cmocka_unit_test(multiboot2_M31_every_truncation_is_refused),
        cmocka_unit_test(multiboot2_M31_damaged_blocks_are_survived),
    };
    return RUN_TESTS(tests);
}
