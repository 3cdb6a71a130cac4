/*
 * dump_lint_test.c - rules about aliases: each broken on purpose.
 */
#include <stdio.h>

#include "names_world.h"

static struct loam_lint finding;

static const char *lint(void)
{
    memset(&finding, 0, sizeof finding);
    return loam_space_lint(&names, &finding);
}

#define EXPECT_LINT(rule, at_, other_, phys_)                       \
    do {                                                            \
        assert_string_equal(lint(), (rule));                        \
        assert_int_equal(finding.at.addr, (at_));                   \
        assert_int_equal(finding.other.addr, (other_));             \
        assert_int_equal(finding.phys.addr, (phys_));               \
        assert_string_equal(loam_space_lint(&names, NULL), (rule)); \
    } while (0)

static void a_fresh_space_is_clean(void **state)
{
    (void)state;
    named_machine();
    assert_null(lint());
    map_at(range_of(3, "data"), 0x3000, take(3), LOAM_PROT_WRITE);
    map_at(0x400000, 0x2000, take(2), LOAM_PROT_WRITE | LOAM_PROT_USER);
    map_at(0x800000, 0x2000, take(2), LOAM_PROT_EXEC | LOAM_PROT_USER);
    assert_null(lint());
}

static void a_page_that_is_writable_and_executable(void **state)
{
    (void)state;
    named_machine();
    const uint64_t a = range_of(1, "a"), frame = take(1);
    map_at(a, 0x1000, frame, LOAM_PROT_WRITE);
    assert_null(lint());
    *entry_of(a, 1) &= ~(UINT64_C(1) << 63);
    EXPECT_LINT("lint: page is writable and executable", a, a, frame);
}

static void a_direct_map_that_is_executable(void **state)
{
    (void)state;
    named_machine();
    const uint64_t at = direct(MIB(1) + 0x2000);
    *entry_of(at, 1) &= ~(UINT64_C(1) << 63); /* text: read-only there */
    EXPECT_LINT("lint: direct map is executable", at, at, MIB(1) + 0x2000);
}

static void S04_code_that_the_direct_map_can_write(void **state)
{
    (void)state;
    named_machine();
    const uint64_t a = range_of(2, "a"), frame = take(2);
    map_at(a, 0x2000, frame, LOAM_PROT_EXEC);
    EXPECT_LINT("lint: memory is executable here, writable there", a, direct(frame), frame);
    const struct loam_attr ro = { LOAM_PROT_READ, LOAM_CACHE_WB };
    assert_int_equal(loam_protect(&mm, virt_range(direct(frame), 0x1000), ro), LOAM_OK);
    EXPECT_LINT("lint: memory is executable here, writable there", a + 0x1000,
                direct(frame + 0x1000), frame + 0x1000);
    assert_int_equal(loam_protect(&mm, virt_range(direct(frame), 0x2000), ro), LOAM_OK);
    assert_null(lint());
}

static void code_that_a_range_can_write(void **state)
{
    (void)state;
    named_machine();
    const uint64_t a = range_of(3, "a"), text = MIB(1) + 0x3000;
    map_at(a, 0x1000, take(1), LOAM_PROT_WRITE);
    map_at(a + 0x1000, 0x1000, text, LOAM_PROT_READ);
    assert_null(lint());
    map_at(a + 0x2000, 0x1000, text, LOAM_PROT_WRITE);
    EXPECT_LINT("lint: memory is executable here, writable there", IMAGE_VIRT + 0x3000, a + 0x2000,
                text);
}

static void code_of_users_that_another_range_can_write(void **state)
{
    (void)state;
    named_machine();
    const uint64_t frame = take(1), a = range_of(1, "a");
    map_at(0x400000, 0x1000, frame, LOAM_PROT_EXEC | LOAM_PROT_USER);
    assert_null(lint()); /* the direct map writes it: that is how it is loaded */
    map_at(a, 0x1000, frame, LOAM_PROT_WRITE);
    EXPECT_LINT("lint: memory is executable here, writable there", 0x400000, a, frame);
}

static void S04_constants_that_can_be_written(void **state)
{
    (void)state;
    named_machine();
    const uint64_t a = range_of(1, "a"), constants = MIB(1) + KIB(64);
    map_at(a, 0x1000, constants + KIB(28), LOAM_PROT_WRITE);
    EXPECT_LINT("lint: constants of the kernel are writable", a, IMAGE_VIRT + KIB(64),
                constants + KIB(28));
    names.image = NULL;
    assert_null(lint());
}

static void the_image_in_a_page_of_users(void **state)
{
    (void)state;
    named_machine();
    map_at(0x400000, 0x4000, MIB(1) + KIB(256) - 0x4000, LOAM_PROT_USER);
    EXPECT_LINT("lint: user page shows the kernel image", 0x400000, IMAGE_VIRT + KIB(96),
                MIB(1) + KIB(256) - 0x4000);
}

static void what_lies_behind_the_image_is_nobodys_business(void **state)
{
    (void)state;
    named_machine();
    map_at(0x400000, 0x1000, MIB(1) + KIB(256), LOAM_PROT_USER | LOAM_PROT_WRITE);
    map_at(0x402000, 0x1000, MIB(1) - 0x1000, LOAM_PROT_USER | LOAM_PROT_WRITE);
    assert_null(lint());
}

static void the_books_in_a_page_of_users(void **state)
{
    (void)state;
    named_machine();
    map_at(0x400000, 0x1000, mm.frame_memory.start.addr, LOAM_PROT_USER);
    EXPECT_LINT("lint: user page shows the library's books", 0x400000, 0x400000,
                mm.frame_memory.start.addr);
    assert_int_equal(loam_unmap(&mm, virt_range(0x400000, 0x1000)), LOAM_OK);
    /* A table that no tree has any more. */
    const struct loam_phys_range spare = loam_phys_range_of(loam_phys_at(take(1)), 0x1000);
    assert_int_equal(loam_usage_overwrite(&mm.usage, spare, LOAM_OWNER_PAGE_TABLES), LOAM_OK);
    map_at(0x400000, 0x1000, spare.start.addr, LOAM_PROT_USER);
    EXPECT_LINT("lint: user page shows the library's books", 0x400000, 0x400000, spare.start.addr);
    names.usage = NULL;
    assert_null(lint());
}

static void P17_a_page_table_in_a_page_of_users_or_writable(void **state)
{
    (void)state;
    named_machine();
    names.usage = NULL; /* the tree itself is asked */
    const uint64_t a = range_of(1, "a"), root = mm.space.root.addr;
    map_at(a, 0x1000, root, LOAM_PROT_READ);
    assert_null(lint());
    const struct loam_attr rw = { LOAM_PROT_WRITE, LOAM_CACHE_WB };
    assert_int_equal(loam_protect(&mm, virt_range(a, 0x1000), rw), LOAM_OK);
    EXPECT_LINT("lint: page table is mapped", a, a, root);
    assert_int_equal(loam_unmap(&mm, virt_range(a, 0x1000)), LOAM_OK);
    /* The lowest table of the page that shows it. */
    map_at(0x400000, 0x1000, root, LOAM_PROT_USER);
    EXPECT_LINT("lint: page table is mapped", 0x400000, 0x400000, root);
    const uint64_t table = *entry_of(0x400000, 2) & UINT64_C(0x000ffffffffff000);
    assert_int_equal(loam_unmap(&mm, virt_range(0x400000, 0x1000)), LOAM_OK);
    map_at(0x400000, 0x1000, take(1), LOAM_PROT_USER);
    map_at(0x401000, 0x1000, *entry_of(0x400000, 2) & UINT64_C(0x000ffffffffff000), LOAM_PROT_USER);
    assert_non_null(lint());
    assert_int_equal(finding.at.addr, 0x401000);
    assert_true(table != 0);
}

/* More tables than one walk over the runs looks for: each of them is found. */
static void each_of_many_page_tables_is_found(void **state)
{
    const unsigned count = 150;

    (void)state;
    named_machine();
    names.usage = NULL;
    for (unsigned i = 0; i < count; i++)
        map_at(0x40000000 + i * MIB(2), 0x1000, GIB(4), LOAM_PROT_READ);
    assert_null(lint());
    for (unsigned i = 0; i < count; i += 7) {
        const uint64_t table = *entry_of(0x40000000 + i * MIB(2), 2) & UINT64_C(0x000ffffffffff000);
        map_at(0x40001000, 0x1000, table, LOAM_PROT_USER);
        EXPECT_LINT("lint: page table is mapped", 0x40001000, 0x40001000, table);
        assert_int_equal(loam_unmap(&mm, virt_range(0x40001000, 0x1000)), LOAM_OK);
    }
    assert_null(lint());
}

static void without_nx_nobody_is_blamed_for_what_can_be_executed(void **state)
{
    (void)state;
    small_machine(1);
    machine_cpu(0)->nx = false;
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    names = loam_names_of(&mm);
    names.image = &boot.image;
    assert_null(lint());
}

int main(void)
{
    const struct CMUnitTest lint_tests[] = {
        cmocka_unit_test(a_fresh_space_is_clean),
        cmocka_unit_test(a_page_that_is_writable_and_executable),
        cmocka_unit_test(a_direct_map_that_is_executable),
        cmocka_unit_test(S04_code_that_the_direct_map_can_write),
        cmocka_unit_test(code_that_a_range_can_write),
        cmocka_unit_test(code_of_users_that_another_range_can_write),
        cmocka_unit_test(S04_constants_that_can_be_written),
        cmocka_unit_test(the_image_in_a_page_of_users),
        cmocka_unit_test(what_lies_behind_the_image_is_nobodys_business),
        cmocka_unit_test(the_books_in_a_page_of_users),
        cmocka_unit_test(P17_a_page_table_in_a_page_of_users_or_writable),
        cmocka_unit_test(each_of_many_page_tables_is_found),
        cmocka_unit_test(without_nx_nobody_is_blamed_for_what_can_be_executed),
    };
    return RUN_TESTS(lint_tests);
}
