/*
 * multiboot2_test.c - what the Multiboot2 adapter makes of an information block.
 * Row M28 of the bad-input list, and M15 and D01 as far as an adapter is
 * concerned; what is refused: multiboot2_refusal_test.c.
 */
#include "multiboot2_block.h"

#include "machine.h"

/* ---- what is accepted ---------------------------------------------------- */

/*
 *   block  [head)[command line)[module)[memory map  )[framebuffer)[RSDP)[end)
 *   want   [block itself)      [exec  )[usable)[res )[fb         )
 */
static void multiboot2_block_of_a_bios_machine(void **state)
{
    (void)state;
    begin();
    memcpy(block + tag(1, 8 + 6) + 8, "quiet", 6);
    module(0x200000, 0x234567);
    const uint32_t map = memmap(24, 2);
    memmap_entry(map, 0, 0, 0x9fc00, 1);
    memmap_entry(map, 1, UINT64_C(0xfd00000000), UINT64_C(0x300000000), 2);
    framebuffer(UINT64_C(0x4000fd000000), 5120, 800, 32 + 6);
    const uint32_t rsdp = tag(14, 8 + 20);
    finish();

    accept();
    assert_int_equal(boot.raw_count, 5);
    expect_entry(0, INFO, used, LOAM_MEM_BOOT_RECLAIMABLE);
    expect_entry(1, 0x200000, 0x34567, LOAM_MEM_EXECUTABLE);
    expect_entry(2, 0, 0x9fc00, LOAM_MEM_USABLE);
    expect_entry(3, UINT64_C(0xfd00000000), UINT64_C(0x300000000), LOAM_MEM_RESERVED);
    expect_entry(4, UINT64_C(0x4000fd000000), 5120 * 800, LOAM_MEM_FRAMEBUFFER);
    assert_int_equal(boot.rsdp.addr, INFO + rsdp + 8);
}

static void multiboot2_D01_what_the_caller_declares_arrives(void **state)
{
    (void)state;
    small_block();
    accept();
    assert_int_equal(boot.struct_bytes, sizeof boot);
    assert_int_equal(boot.cpu_count, 1);
    assert_int_equal(boot.levels, 4);
    assert_int_equal(boot.hhdm.offset, request.mapped.hhdm_offset);
    assert_true(loam_hhdm_is_genuine(boot.hhdm));
    assert_int_equal(boot.hhdm_bytes, 0);
    assert_false(boot.hhdm_is_identity);
    assert_int_equal(boot.hhdm_types, LOAM_BOOT_MAPPED_TYPES);
    assert_int_equal(boot.image.section_count, 0);
    assert_true(loam_phys_is_none(boot.rsdp));
    assert_memory_equal(&boot.storage, &storage, sizeof storage);

    request.mapped.hhdm_bytes = UINT64_C(1) << 32;
    request.mapped.hhdm_is_identity = true;
    request.mapped.hhdm_types = LOAM_MEM_BIT(LOAM_MEM_USABLE);
    request.mapped.levels = 5;
    request.mapped.cpu_count = 3;
    request.mapped.image_phys = loam_phys_at(0x100000);
    request.mapped.image_virt = loam_virt_at(UINT64_C(0xffffffff80100000));
    accept();
    assert_int_equal(boot.hhdm_bytes, UINT64_C(1) << 32);
    assert_true(boot.hhdm_is_identity);
    assert_int_equal(boot.hhdm_types, LOAM_MEM_BIT(LOAM_MEM_USABLE));
    assert_int_equal(boot.levels, 5);
    assert_int_equal(boot.cpu_count, 3);
    assert_int_equal(boot.image.phys_base.addr, 0x100000);
    assert_int_equal(boot.image.virt_base.addr, UINT64_C(0xffffffff80100000));
}

extern const char __executable_start, etext; /* the linker's */

static void multiboot2_code_and_stack_are_those_that_run(void **state)
{
    const uint64_t frame = (uint64_t)(uintptr_t)__builtin_frame_address(0);
    (void)state;
    small_block();
    accept();
    assert_in_range(boot.code.addr, (uintptr_t)&__executable_start, (uintptr_t)&etext - 1);
    assert_in_range(boot.stack.addr, frame - 0x10000, frame + 0x10000);
}

static void multiboot2_newer_rsdp_wins_in_either_order(void **state)
{
    (void)state;
    for (unsigned order = 0; order < 2; order++) {
        begin();
        const uint32_t first = tag(order == 0 ? 14 : 15, 8 + 36);
        const uint32_t second = tag(order == 0 ? 15 : 14, 8 + 36);
        memmap_entry(memmap(24, 1), 0, 0, 0x100000, 1);
        finish();
        accept();
        assert_int_equal(boot.rsdp.addr, INFO + (order == 0 ? second : first) + 8);
    }
}

static void multiboot2_M15_types_by_number_unknown_ones_reserved(void **state)
{
    static const enum loam_mem_type want[] = { LOAM_MEM_RESERVED, LOAM_MEM_USABLE,
                                               LOAM_MEM_RESERVED, LOAM_MEM_ACPI_RECLAIMABLE,
                                               LOAM_MEM_ACPI_NVS, LOAM_MEM_BAD,
                                               LOAM_MEM_RESERVED, LOAM_MEM_RESERVED };
    (void)state;
    begin();
    const uint32_t map = memmap(24, 9);
    for (uint32_t type = 0; type < 8; type++)
        memmap_entry(map, type, type * 0x1000, 0x1000, type);
    memmap_entry(map, 8, 0x8000, 0x1000, UINT32_MAX);
    finish();
    accept();
    for (uint32_t type = 0; type < 8; type++)
        expect_entry(1 + type, type * 0x1000, 0x1000, want[type]);
    expect_entry(9, 0x8000, 0x1000, LOAM_MEM_RESERVED);
}

/* The specification lets entries grow: what is behind the known fields is skipped. */
static void multiboot2_M31_larger_entries_are_walked_by_their_size(void **state)
{
    (void)state;
    for (uint32_t size = 24; size <= 64; size += 8) {
        begin();
        const uint32_t map = memmap(size, 3);
        put32(map + 12, 7); /* a later entry version is compatible by the specification */
        for (uint32_t i = 0; i < 3; i++)
            memmap_entry(map, i, 0x100000 * i, 0x10000 * (i + 1), i + 1);
        finish();
        accept();
        assert_int_equal(boot.raw_count, 4);
        expect_entry(1, 0, 0x10000, LOAM_MEM_USABLE);
        expect_entry(2, 0x100000, 0x20000, LOAM_MEM_RESERVED);
        expect_entry(3, 0x200000, 0x30000, LOAM_MEM_ACPI_RECLAIMABLE);
    }
}

static void multiboot2_text_mode_screen_is_a_framebuffer(void **state)
{
    (void)state;
    begin();
    framebuffer(0xb8000, 160, 25, 31);
    memmap_entry(memmap(24, 1), 0, 0, 0x100000, 1);
    finish();
    accept();
    expect_entry(1, 0xb8000, 4000, LOAM_MEM_FRAMEBUFFER);
}

/* ---- EFI ----------------------------------------------------------------- */

static void multiboot2_M28_efi_types_by_number_unknown_ones_reserved(void **state)
{
    static const enum loam_mem_type want[] = {
        [0] = LOAM_MEM_RESERVED,
        [1] = LOAM_MEM_BOOT_RECLAIMABLE,
        [2] = LOAM_MEM_BOOT_RECLAIMABLE,
        [3] = LOAM_MEM_BOOT_RECLAIMABLE,
        [4] = LOAM_MEM_BOOT_RECLAIMABLE,
        [5] = LOAM_MEM_RESERVED,
        [6] = LOAM_MEM_RESERVED,
        [7] = LOAM_MEM_USABLE,
        [8] = LOAM_MEM_BAD,
        [9] = LOAM_MEM_ACPI_RECLAIMABLE,
        [10] = LOAM_MEM_ACPI_NVS,
        [11] = LOAM_MEM_RESERVED,
        [12] = LOAM_MEM_RESERVED,
        [13] = LOAM_MEM_RESERVED,
        [14] = LOAM_MEM_RESERVED,
        [15] = LOAM_MEM_RESERVED,
        [16] = LOAM_MEM_RESERVED,
    };
    (void)state;
    begin();
    const uint32_t map = efi_memmap(48, 18);
    for (uint32_t type = 0; type <= 16; type++)
        efi_entry(map, type, type, type * 0x100000, 16, 0xf);
    efi_entry(map, 17, 0x80000007, 0x2000000, 16, 0xf); /* an operating system's own type */
    finish();
    accept();
    assert_int_equal(boot.raw_count, 19);
    for (uint32_t type = 0; type <= 16; type++)
        expect_entry(1 + type, type * 0x100000, 0x10000, want[type]);
    expect_entry(18, 0x2000000, 0x10000, LOAM_MEM_RESERVED);
}

static void multiboot2_M28_efi_memory_that_is_no_plain_ram_is_reserved(void **state)
{
    static const uint32_t types[] = { 1, 2, 3, 4, 7 };
    static const struct {
        uint64_t attributes;
        bool plain;
    } table[] = {
        { 0xf, true },
        { 0x8, true },
        { 0x7, false },                         /* cannot be cached */
        { 0, false },                           /* nothing at all is known */
        { 0x800f, false },                      /* non-volatile */
        { 0x4000f, false },                     /* specific purpose */
        { UINT64_C(0x800000000000000f), true }, /* runtime */
        { UINT64_C(0xffffffffffffffff), false },
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        begin();
        const uint32_t map = efi_memmap(40, 6);
        for (uint32_t t = 0; t < 5; t++)
            efi_entry(map, t, types[t], 0x1000 * t, 1, table[i].attributes);
        efi_entry(map, 5, 9, 0x5000, 1, table[i].attributes);
        finish();
        accept();
        for (uint32_t t = 0; t < 5; t++) {
            const enum loam_mem_type ram = t == 4 ? LOAM_MEM_USABLE : LOAM_MEM_BOOT_RECLAIMABLE;
            expect_entry(1 + t, 0x1000 * t, 0x1000, table[i].plain ? ram : LOAM_MEM_RESERVED);
        }
        expect_entry(6, 0x5000, 0x1000, LOAM_MEM_ACPI_RECLAIMABLE);
    }
}

static void multiboot2_M28_efi_descriptors_are_walked_by_their_size(void **state)
{
    static const uint32_t sizes[] = { 40, 48, 56, 64, 120 };
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        begin();
        const uint32_t map = efi_memmap(sizes[i], 3);
        for (uint32_t n = 0; n < 3; n++)
            efi_entry(map, n, 7 + n, UINT64_C(0x100000000) * n, 0x10 + n, 0xf);
        finish();
        accept();
        assert_int_equal(boot.raw_count, 4);
        expect_entry(1, 0, 0x10000, LOAM_MEM_USABLE);
        expect_entry(2, UINT64_C(0x100000000), 0x11000, LOAM_MEM_BAD);
        expect_entry(3, UINT64_C(0x200000000), 0x12000, LOAM_MEM_ACPI_RECLAIMABLE);
    }
}

static void multiboot2_efi_sizes_beyond_the_address_space_are_the_largest(void **state)
{
    (void)state;
    begin();
    const uint32_t map = efi_memmap(48, 3);
    efi_entry(map, 0, 0, 0x1000, UINT64_MAX >> 12, 0);
    efi_entry(map, 1, 0, 0x1000, (UINT64_MAX >> 12) + 1, 0);
    efi_entry(map, 2, 0, 0x1000, UINT64_MAX, 0);
    finish();
    accept();
    expect_entry(1, 0x1000, UINT64_MAX - 0xfff, LOAM_MEM_RESERVED);
    expect_entry(2, 0x1000, UINT64_MAX, LOAM_MEM_RESERVED);
    expect_entry(3, 0x1000, UINT64_MAX, LOAM_MEM_RESERVED);
}

/*
 *   block  [BIOS map, 2 entries)[EFI map, 1 entry)      EFI's is the precise one
 *   block  [BIOS map, 2 entries)[EFI map, empty)        nothing else to go by
 */
static void multiboot2_efi_map_is_preferred_unless_empty(void **state)
{
    (void)state;
    for (uint32_t efi_count = 0; efi_count < 2; efi_count++)
        for (unsigned order = 0; order < 2; order++) {
            begin();
            uint32_t efi = order == 0 ? efi_memmap(48, efi_count) : 0;
            const uint32_t bios = memmap(24, 2);
            efi = order == 0 ? efi : efi_memmap(48, efi_count);
            memmap_entry(bios, 0, 0x100000, 0x200000, 1);
            memmap_entry(bios, 1, 0x300000, 0x100000, 2);
            if (efi_count == 1)
                efi_entry(efi, 0, 7, 0x400000, 0x10, 8);
            finish();
            accept();
            assert_int_equal(boot.raw_count, efi_count == 1 ? 2 : 3);
            if (efi_count == 1) {
                expect_entry(1, 0x400000, 0x10000, LOAM_MEM_USABLE);
            } else {
                expect_entry(1, 0x100000, 0x200000, LOAM_MEM_USABLE);
                expect_entry(2, 0x300000, 0x100000, LOAM_MEM_RESERVED);
            }
        }
}

static void multiboot2_random_blocks_give_what_was_put_in(void **state)
{
    struct wanted wanted;
    (void)state;
    for (unsigned round = 0; round < 2000; round++) {
        random_block(&wanted);
        accept();
        assert_int_equal(boot.raw_count, wanted.count);
        for (size_t i = 0; i < wanted.count; i++)
            expect_entry(i, wanted.entry[i].range.start.addr, wanted.entry[i].range.size,
                         wanted.entry[i].type);
    }
}

/* ---- all the way --------------------------------------------------------- */

static uint64_t owned(struct loam *mm, uint64_t at)
{
    struct loam_interval interval;
    assert_true(loam_usage_lookup(&mm->usage, loam_phys_at(at), &interval));
    return interval.owner;
}

/*
 *   phys  [usable)[res)    [usable [module) [block) usable 32 MiB)      [fb)
 */
static void multiboot2_block_brings_the_library_up(void **state)
{
    static struct loam mm;
    (void)state;
    begin();
    const uint32_t map = memmap(24, 3);
    memmap_entry(map, 0, 0, 0x9fc00, 1);
    memmap_entry(map, 1, 0x9fc00, 0x400, 2);
    memmap_entry(map, 2, 0x100000, 0x2000000, 1);
    module(0x200000, 0x212345);
    framebuffer(0x80000000, 5120, 800, 32);
    finish();
    machine_reset(1);
    machine_add_ram(0, 0x9f000);
    machine_add_ram(0x100000, 0x2000000);
    request.info = loam_phys_at(0x300000);
    request.mapped.hhdm_offset = machine_hhdm().offset;
    memcpy(machine_ram(0x300000), block, used);
    memset(&mm, 0, sizeof mm);
    assert_int_equal(loam_boot_multiboot2(&boot, &storage, &request, &refusal), LOAM_OK);
    boot.code = boot.stack = loam_virt_at(0); /* the host's are not the machine's */
    const enum loam_status st = loam_init(&mm, &boot, &refusal);
    if (st != LOAM_OK)
        print_error("refused: %s\n", refusal.rule);
    assert_int_equal(st, LOAM_OK);
    assert_null(loam_audit(&mm));
    assert_int_equal(owned(&mm, 0x300000), LOAM_OWNER_BOOTLOADER);
    assert_int_equal(owned(&mm, 0x200000), LOAM_OWNER_EXECUTABLE);
    assert_int_equal(owned(&mm, 0x212fff), LOAM_OWNER_EXECUTABLE);
    assert_int_equal(owned(&mm, 0x213000), LOAM_OWNER_USABLE);
    assert_int_equal(owned(&mm, 0x80000000), LOAM_OWNER_FRAMEBUFFER);
    assert_int_equal(loam_usage_total(&mm.usage, LOAM_OWNER_FRAMEBUFFER), 0x3e8000);
    assert_int_equal(loam_usage_total(&mm.usage, LOAM_OWNER_BOOTLOADER), 0x1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(multiboot2_block_of_a_bios_machine),
        cmocka_unit_test(multiboot2_D01_what_the_caller_declares_arrives),
        cmocka_unit_test(multiboot2_code_and_stack_are_those_that_run),
        cmocka_unit_test(multiboot2_newer_rsdp_wins_in_either_order),
        cmocka_unit_test(multiboot2_M15_types_by_number_unknown_ones_reserved),
        cmocka_unit_test(multiboot2_M31_larger_entries_are_walked_by_their_size),
        cmocka_unit_test(multiboot2_text_mode_screen_is_a_framebuffer),
        cmocka_unit_test(multiboot2_M28_efi_types_by_number_unknown_ones_reserved),
        cmocka_unit_test(multiboot2_M28_efi_memory_that_is_no_plain_ram_is_reserved),
        cmocka_unit_test(multiboot2_M28_efi_descriptors_are_walked_by_their_size),
        cmocka_unit_test(multiboot2_efi_sizes_beyond_the_address_space_are_the_largest),
        cmocka_unit_test(multiboot2_efi_map_is_preferred_unless_empty),
        cmocka_unit_test(multiboot2_random_blocks_give_what_was_put_in),
        cmocka_unit_test(multiboot2_block_brings_the_library_up),
    };
    return RUN_TESTS(tests);
}
