/*
 * boot_test.c - what loam_boot_check() accepts, what it refuses and with which
 * words and numbers. Rows D01-D06, D12 and D15 of the bad-input list.
 */
#include "harness.h"

#include <loam/boot.h>
#include <loam/boot/adapter.h>

#define HALF_4 UINT64_C(0xffff800000000000)
#define HALF_5 UINT64_C(0xff00000000000000)
#define IMAGE  UINT64_C(0xffffffff80000000)

static const struct loam_cpu_features features_4 = {
    .nx = true, .gib_pages = true, .global_pages = true, .pat = true, .phys_bits = 46, .levels = 4
};

/* Like Limine: direct map at the bottom of the higher half, image at its top. */
static struct loam_boot good_boot(void)
{
    struct loam_boot boot = { 0 };
    boot.struct_bytes = sizeof boot;
    boot.cpu_count = 2;
    boot.hhdm = loam_boot_hhdm(HALF_4);
    boot.levels = 4;
    boot.image.phys_base = loam_phys_at(0x200000);
    boot.image.virt_base = loam_virt_at(IMAGE);
    boot.image.section[0].virt = loam_virt_range_of(loam_virt_at(IMAGE), 0x5000);
    boot.image.section[0].prot = LOAM_PROT_EXEC;
    boot.image.section_count = 1;
    return boot;
}

static uint64_t accepted_window(const struct loam_boot *boot, const struct loam_cpu_features *f)
{
    uint64_t window = 0;
    struct loam_refusal refusal = { "untouched", 0, 0 };
    assert_int_equal(loam_boot_check(boot, f, &window, &refusal), LOAM_OK);
    assert_string_equal(refusal.rule, "untouched");
    return window;
}

static void expect_refusal(const struct loam_boot *boot, const struct loam_cpu_features *f,
                           const char *rule, uint64_t have, uint64_t need)
{
    uint64_t window = 42;
    struct loam_refusal refusal = { NULL, 0, 0 };
    assert_int_equal(loam_boot_check(boot, f, &window, &refusal), LOAM_INVALID);
    assert_string_equal(refusal.rule, rule);
    assert_int_equal(refusal.have, have);
    assert_int_equal(refusal.need, need);
    assert_int_equal(window, 42);
    assert_int_equal(loam_boot_check(boot, f, &window, NULL), LOAM_INVALID);
}

/*
 *   higher half  [hhdm ............................[image]..)
 *   window       [                                 )
 */
static void window_reaches_up_to_the_image(void **state)
{
    struct loam_boot boot = good_boot();
    (void)state;
    assert_int_equal(accepted_window(&boot, &features_4), IMAGE - HALF_4);
}

static void window_without_image_reaches_the_end_of_its_half(void **state)
{
    struct loam_boot boot = good_boot();
    (void)state;
    boot.image.section_count = 0;
    assert_int_equal(accepted_window(&boot, &features_4), 0 - HALF_4);
    boot.hhdm = loam_boot_hhdm(UINT64_C(0x100000000000));
    assert_int_equal(accepted_window(&boot, &features_4), UINT64_C(0x700000000000));
}

static void window_in_the_lower_half_ignores_an_image_in_the_higher(void **state)
{
    struct loam_boot boot = good_boot();
    (void)state;
    boot.hhdm = loam_boot_hhdm(UINT64_C(0x100000000000));
    assert_int_equal(accepted_window(&boot, &features_4), UINT64_C(0x700000000000));
}

static void boot_D01_offset_zero_needs_a_declared_identity(void **state)
{
    struct loam_boot boot = good_boot();
    (void)state;
    boot.hhdm = loam_boot_hhdm(0);
    expect_refusal(&boot, &features_4, "hhdm: offset 0 without an identity mapping declared", 0, 0);
    boot.hhdm_is_identity = true;
    assert_int_equal(accepted_window(&boot, &features_4), UINT64_C(1) << 47);
}

static void boot_D02_offset_that_is_not_canonical_is_refused(void **state)
{
    struct loam_boot boot = good_boot();
    (void)state;
    boot.hhdm = loam_boot_hhdm(UINT64_C(0x0000800000000000));
    expect_refusal(&boot, &features_4, "hhdm: offset is not canonical",
                   UINT64_C(0x0000800000000000), 0);
    boot.hhdm = loam_boot_hhdm(HALF_5); /* canonical with 57 bits only */
    expect_refusal(&boot, &features_4, "hhdm: offset is not canonical", HALF_5, 0);
    struct loam_cpu_features features_5 = features_4;
    features_5.levels = boot.levels = 5;
    assert_int_equal(accepted_window(&boot, &features_5), IMAGE - HALF_5);
}

static void boot_D03_offset_that_is_not_page_aligned_is_refused(void **state)
{
    struct loam_boot boot = good_boot();
    (void)state;
    boot.hhdm = loam_boot_hhdm(HALF_4 + 0x800);
    expect_refusal(&boot, &features_4, "hhdm: offset is not page-aligned", HALF_4 + 0x800,
                   LOAM_PAGE_SIZE);
}

static void boot_D04_window_that_leaves_its_half_is_refused(void **state)
{
    struct loam_boot boot = good_boot();
    (void)state;
    boot.image.section_count = 0;
    boot.hhdm_bytes = UINT64_C(1) << 47;
    assert_int_equal(accepted_window(&boot, &features_4), UINT64_C(1) << 47);
    boot.hhdm_bytes += 1;
    expect_refusal(&boot, &features_4,
                   "hhdm: window leaves its half or reaches the kernel image (bytes)",
                   (UINT64_C(1) << 47) + 1, UINT64_C(1) << 47);
    boot.hhdm_bytes = UINT64_MAX;
    expect_refusal(&boot, &features_4,
                   "hhdm: window leaves its half or reaches the kernel image (bytes)", UINT64_MAX,
                   UINT64_C(1) << 47);
}

static void boot_D05_window_over_the_image_is_refused(void **state)
{
    struct loam_boot boot = good_boot();
    (void)state;
    boot.hhdm_bytes = IMAGE - HALF_4 + LOAM_PAGE_SIZE;
    expect_refusal(&boot, &features_4,
                   "hhdm: window leaves its half or reaches the kernel image (bytes)",
                   IMAGE - HALF_4 + LOAM_PAGE_SIZE, IMAGE - HALF_4);
    boot.hhdm_bytes = 0;
    boot.hhdm = loam_boot_hhdm(IMAGE);
    expect_refusal(&boot, &features_4, "hhdm: the direct map begins at the kernel image", IMAGE, 0);
}

static void boot_D06_levels_that_are_not_in_use_are_refused(void **state)
{
    struct loam_boot boot = good_boot();
    (void)state;
    boot.levels = 5;
    expect_refusal(&boot, &features_4, "boot: paging levels announced are not those in use", 5, 4);
    struct loam_cpu_features features_5 = features_4;
    features_5.levels = 5;
    boot.levels = 4;
    expect_refusal(&boot, &features_5, "boot: paging levels announced are not those in use", 4, 5);
}

static void boot_D12_cpu_count_is_bounded(void **state)
{
    struct loam_boot boot = good_boot();
    (void)state;
    boot.cpu_count = 0;
    expect_refusal(&boot, &features_4, "boot: CPU count is not in 1..LOAM_CPUS_MAX", 0,
                   LOAM_CPUS_MAX);
    boot.cpu_count = LOAM_CPUS_MAX + 1;
    expect_refusal(&boot, &features_4, "boot: CPU count is not in 1..LOAM_CPUS_MAX",
                   LOAM_CPUS_MAX + 1, LOAM_CPUS_MAX);
    boot.cpu_count = LOAM_CPUS_MAX;
    (void)accepted_window(&boot, &features_4);
}

static void boot_D15_struct_of_another_version_is_refused(void **state)
{
    struct loam_boot boot = good_boot();
    (void)state;
    boot.struct_bytes = sizeof boot - 8;
    expect_refusal(&boot, &features_4, "boot: struct loam_boot is of another version (bytes)",
                   sizeof boot - 8, sizeof boot);
    boot.struct_bytes = sizeof boot + 8;
    expect_refusal(&boot, &features_4, "boot: struct loam_boot is of another version (bytes)",
                   sizeof boot + 8, sizeof boot);
}

static void forged_direct_map_panics(void **state)
{
    struct loam_boot boot = good_boot();
    uint64_t window;
    (void)state;
    boot.hhdm.offset += LOAM_PAGE_SIZE;
    EXPECT_PANIC("hhdm: made by something else than a boot adapter",
                 assert_int_equal(loam_boot_check(&boot, &features_4, &window, NULL), LOAM_OK));
    boot.hhdm.offset = boot.hhdm.seal = 0;
    EXPECT_PANIC("hhdm: made by something else than a boot adapter",
                 assert_int_equal(loam_boot_check(&boot, &features_4, &window, NULL), LOAM_OK));
}

static void refusals_of_the_image_are_passed_on(void **state)
{
    struct loam_boot boot = good_boot();
    uint64_t window;
    struct loam_refusal refusal = { NULL, 0, 0 };
    (void)state;
    boot.image.section[0].virt.start.addr += 1;
    assert_int_equal(loam_boot_check(&boot, &features_4, &window, &refusal), LOAM_INVALID);
    assert_non_null(refusal.rule);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(window_reaches_up_to_the_image),
        cmocka_unit_test(window_without_image_reaches_the_end_of_its_half),
        cmocka_unit_test(window_in_the_lower_half_ignores_an_image_in_the_higher),
        cmocka_unit_test(boot_D01_offset_zero_needs_a_declared_identity),
        cmocka_unit_test(boot_D02_offset_that_is_not_canonical_is_refused),
        cmocka_unit_test(boot_D03_offset_that_is_not_page_aligned_is_refused),
        cmocka_unit_test(boot_D04_window_that_leaves_its_half_is_refused),
        cmocka_unit_test(boot_D05_window_over_the_image_is_refused),
        cmocka_unit_test(boot_D06_levels_that_are_not_in_use_are_refused),
        cmocka_unit_test(boot_D12_cpu_count_is_bounded),
        cmocka_unit_test(boot_D15_struct_of_another_version_is_refused),
        cmocka_unit_test(forged_direct_map_panics),
        cmocka_unit_test(refusals_of_the_image_are_passed_on),
    };
    return RUN_TESTS(tests);
}
