/*
 * names_test.c - what is at an address, and up to where.
 */
#include <stdio.h>

#include "names_world.h"

static struct loam_place at(uint64_t address)
{
    return loam_names_find(&names, loam_virt_at(address));
}

static void expect_place(uint64_t address, enum loam_place_kind kind, const char *name,
                         uint64_t first, uint64_t last)
{
    const struct loam_place place = at(address);
    assert_int_equal(place.kind, kind);
    assert_string_equal(place.name, name);
    assert_int_equal(place.first.addr, first);
    assert_int_equal(place.last.addr, last);
}

static void a_section_of_the_image_is_named_by_its_rights(void **state)
{
    (void)state;
    named_machine();
    const uint64_t rodata = IMAGE_VIRT + KIB(64), data = IMAGE_VIRT + KIB(96);
    const uint64_t end = IMAGE_VIRT + KIB(256);
    expect_place(IMAGE_VIRT, LOAM_PLACE_IMAGE, "kernel text", IMAGE_VIRT, rodata - 1);
    expect_place(rodata - 1, LOAM_PLACE_IMAGE, "kernel text", IMAGE_VIRT, rodata - 1);
    expect_place(rodata, LOAM_PLACE_IMAGE, "kernel constants", rodata, data - 1);
    expect_place(end - 1, LOAM_PLACE_IMAGE, "kernel data", data, end - 1);
    assert_ptr_equal(at(data).section, &boot.image.section[2]);
    expect_place(end, LOAM_PLACE_UNNAMED, "unnamed", 0, DEVICE - 1);
    boot.image.section[2].virt.size -= 0xfff; /* all of its last page is meant */
    expect_place(end - 1, LOAM_PLACE_IMAGE, "kernel data", data, end - 1);
}

static void landmarks_are_named_and_may_end_the_address_space(void **state)
{
    (void)state;
    named_machine();
    const uint64_t top = UINT64_C(0xffffffffffff0000);
    expect_place(DEVICE - 1, LOAM_PLACE_UNNAMED, "unnamed", 0, DEVICE - 1);
    expect_place(DEVICE, LOAM_PLACE_LANDMARK, "local APIC", DEVICE, DEVICE + 0xfff);
    expect_place(DEVICE + 0xfff, LOAM_PLACE_LANDMARK, "local APIC", DEVICE, DEVICE + 0xfff);
    expect_place(DEVICE + 0x1000, LOAM_PLACE_UNNAMED, "unnamed", 0, top - 1);
    expect_place(top, LOAM_PLACE_LANDMARK, "top", top, UINT64_MAX);
    expect_place(UINT64_MAX, LOAM_PLACE_LANDMARK, "top", top, UINT64_MAX);
    names.landmark_count = 0;
    expect_place(UINT64_MAX, LOAM_PLACE_UNNAMED, "unnamed", 0, UINT64_MAX);
}

/*
 *     WINDOW  [guard| a    |guard)[guard| b |guard)[ free ... )
 */
static void ranges_guards_and_gaps_are_told_apart(void **state)
{
    (void)state;
    named_machine();
    const uint64_t a = range_of(3, "a"), b = range_of(1, "b");
    assert_int_equal(a, WINDOW + 0x1000);
    expect_place(WINDOW - 1, LOAM_PLACE_UNNAMED, "unnamed", 0, WINDOW - 1);
    expect_place(WINDOW, LOAM_PLACE_GUARD_BEFORE, "a", a, a - 1);
    expect_place(a, LOAM_PLACE_RANGE, "a", a, a + 0x2fff);
    expect_place(a + 0x2fff, LOAM_PLACE_RANGE, "a", a, a + 0x2fff);
    expect_place(a + 0x3000, LOAM_PLACE_GUARD_AFTER, "a", a, a + 0x3fff);
    expect_place(b - 1, LOAM_PLACE_GUARD_BEFORE, "b", b, b - 1);
    expect_place(b, LOAM_PLACE_RANGE, "b", b, b + 0xfff);
    expect_place(b + 0x2000, LOAM_PLACE_FREE, "free", b + 0x2000, WINDOW + MIB(64) - 1);
    loam_vrange_free(&vrange, virt_range(a, 0x3000));
    expect_place(WINDOW, LOAM_PLACE_WAITING, "a", a, a + 0x3fff);
    expect_place(a + 0x3000, LOAM_PLACE_WAITING, "a", a, a + 0x3fff);
    names.vrange = NULL;
    expect_place(a, LOAM_PLACE_UNNAMED, "unnamed", 0, IMAGE_VIRT - 1);
}

static void the_direct_map_is_as_large_as_physical_addresses(void **state)
{
    (void)state;
    named_machine();
    const uint64_t start = mm.space.hhdm.offset;
    const uint64_t end = start + (UINT64_C(1) << mm.space.features.phys_bits);
    names.vrange = NULL;
    expect_place(0, LOAM_PLACE_UNNAMED, "unnamed", 0, start - 1);
    expect_place(start, LOAM_PLACE_DIRECT_MAP, "direct map", start, end - 1);
    expect_place(end - 1, LOAM_PLACE_DIRECT_MAP, "direct map", start, end - 1);
    expect_place(end, LOAM_PLACE_UNNAMED, "unnamed", 0, IMAGE_VIRT - 1);
}

static void a_place_ends_where_any_other_begins(void **state)
{
    const struct loam_landmark inside = { { { 0 }, 0x1000 }, "inside" };
    struct loam_landmark low = inside;

    (void)state;
    named_machine();
    const uint64_t start = mm.space.hhdm.offset;
    low.range.start.addr = start + MIB(8);
    names.landmark = &low;
    names.landmark_count = 1;
    expect_place(start, LOAM_PLACE_DIRECT_MAP, "direct map", start, start + MIB(8) - 1);
    expect_place(start + MIB(8), LOAM_PLACE_LANDMARK, "inside", start + MIB(8),
                 start + MIB(8) + 0xfff);
    assert_int_equal(loam_vrange_add_window(&vrange, virt_range(start + MIB(4), MIB(1))), LOAM_OK);
    expect_place(start, LOAM_PLACE_DIRECT_MAP, "direct map", start, start + MIB(4) - 1);
    boot.image.section[0].virt = virt_range(start + MIB(2), 0x1000);
    expect_place(start, LOAM_PLACE_DIRECT_MAP, "direct map", start, start + MIB(2) - 1);
    expect_place(start + MIB(2), LOAM_PLACE_IMAGE, "kernel text", start + MIB(2),
                 start + MIB(2) + 0xfff);
}

/* The image in a window of ranges: its sections are named, and ranges end there. */
static void the_image_comes_before_the_range_that_it_lies_in(void **state)
{
    (void)state;
    named_machine();
    const uint64_t a = range_of(16, "a");
    boot.image.section[0].virt = virt_range(a + 0x4000, 0x2000);
    expect_place(a, LOAM_PLACE_RANGE, "a", a, a + 0x3fff);
    expect_place(a + 0x4000, LOAM_PLACE_IMAGE, "kernel text", a + 0x4000, a + 0x5fff);
    expect_place(a + 0x6000, LOAM_PLACE_RANGE, "a", a, a + 0xffff);
}

static void rights_and_cache_types_have_names(void **state)
{
    (void)state;
    assert_string_equal(loam_rights_of(LOAM_PROT_READ).text, "r----");
    assert_string_equal(loam_rights_of(LOAM_PROT_WRITE).text, "rw---");
    assert_string_equal(loam_rights_of(LOAM_PROT_EXEC).text, "r-x--");
    assert_string_equal(loam_rights_of(LOAM_PROT_USER).text, "r--u-");
    assert_string_equal(loam_rights_of(LOAM_PROT_GLOBAL).text, "r---g");
    assert_string_equal(loam_cache_name(LOAM_CACHE_WB), "WB");
    assert_string_equal(loam_cache_name(LOAM_CACHE_WC), "WC");
    assert_string_equal(loam_cache_name((enum loam_cache)LOAM_CACHES), "?");
}

int main(void)
{
    const struct CMUnitTest names_tests[] = {
        cmocka_unit_test(a_section_of_the_image_is_named_by_its_rights),
        cmocka_unit_test(landmarks_are_named_and_may_end_the_address_space),
        cmocka_unit_test(ranges_guards_and_gaps_are_told_apart),
        cmocka_unit_test(the_direct_map_is_as_large_as_physical_addresses),
        cmocka_unit_test(a_place_ends_where_any_other_begins),
        cmocka_unit_test(the_image_comes_before_the_range_that_it_lies_in),
        cmocka_unit_test(rights_and_cache_types_have_names),
    };
    return RUN_TESTS(names_tests);
}
