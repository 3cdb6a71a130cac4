/*
 * vmap_audit_test.c - what the audit of vmap finds, and what is given back in the end.
 */
#include "vmap_world.h"

static void map_page(uint64_t at)
{
    const struct loam_attr attr = { LOAM_PROT_WRITE | LOAM_PROT_GLOBAL, LOAM_CACHE_UC };
    assert_int_equal(loam_map(&mm, loam_virt_range_of(loam_virt_at(at), LOAM_PAGE_SIZE),
                              loam_phys_at(GIB(1012)), attr),
                     LOAM_OK);
}

static void unmap_page(uint64_t at)
{
    assert_int_equal(loam_unmap(&mm, loam_virt_range_of(loam_virt_at(at), LOAM_PAGE_SIZE)),
                     LOAM_OK);
}

/* Somebody has mapped a page there, for as long as the audit takes. */
static void expect_found_at(uint64_t at, const char *rule)
{
    assert_null(loam_vmap_audit(&mm));
    map_page(at);
    assert_string_equal(loam_vmap_audit(&mm), rule);
    unmap_page(at);
    assert_null(loam_vmap_audit(&mm));
}

/*
 *   [g|g| a | a | a |g|g)  free  [ window: front | ... |g)
 */
static void audit_finds_what_is_mapped_and_what_is_not(void **state)
{
    struct loam_vmap_request request = memory_of(PAGES(3));
    struct loam_vmap_window window;

    (void)state;
    vmap_machine(1);
    request.guard_pages = 2;
    const uint64_t at = alloc(&request).addr;
    expect_found_at(at - PAGES(1), "vmap: a guard is mapped");
    expect_found_at(at - PAGES(2), "vmap: a guard is mapped");
    expect_found_at(at + PAGES(3), "vmap: a guard is mapped");
    expect_found_at(at + PAGES(4), "vmap: a guard is mapped");
    expect_found_at(at + PAGES(5), "vmap: something is mapped where nothing is allocated");
    expect_found_at(at + MIB(8), "vmap: something is mapped where nothing is allocated");

    const struct loam_vmap_request room = memory_of(PAGES(10));
    assert_int_equal(loam_vmap_window_open(&mm, &window, &room), LOAM_OK);
    assert_int_equal(loam_vmap_window_resize(&mm, &window, PAGES(4)), LOAM_OK);
    expect_found_at(window.range.start.addr + PAGES(5),
                    "vmap: something is mapped where nothing is allocated");
    for (unsigned page = 0; page < 3; page++) {
        const loam_phys frame = loam_space_translate(&mm.space, loam_virt_at(at + PAGES(page)));
        unmap_page(at + PAGES(page));
        assert_string_equal(loam_vmap_audit(&mm), "vmap: a range is not mapped");
        const struct loam_attr attr = { LOAM_PROT_WRITE | LOAM_PROT_GLOBAL, LOAM_CACHE_WB };
        assert_int_equal(
            loam_space_map(&mm.space,
                           loam_virt_range_of(loam_virt_at(at + PAGES(page)), LOAM_PAGE_SIZE),
                           frame, attr),
            LOAM_OK);
        check_sound();
    }
}

static void audit_finds_records_that_are_wrong(void **state)
{
    const struct loam_vrange_request nobodys = { .page_count = 1, .name = "nobody's", .tag = 9 };
    loam_virt at;

    (void)state;
    vmap_machine(1);
    (void)alloc_bytes(PAGES(1));
    mm.vmap.nodes.frame_count++;
    assert_string_equal(loam_vmap_audit(&mm), "stock: fewer frames than counted");
    mm.vmap.nodes.frame_count--;
    mm.vmap.nodes.out_count++;
    assert_string_equal(loam_vmap_audit(&mm),
                        "vmap: frames out of the stock are not those of the records");
    mm.vmap.nodes.out_count--;
    mm.vmap.ranges.used_pages++;
    assert_non_null(loam_vmap_audit(&mm));
    mm.vmap.ranges.used_pages--;
    assert_null(loam_vmap_audit(&mm));
    assert_int_equal(loam_vrange_alloc(&mm.vmap.ranges, &nobodys, &at), LOAM_OK);
    map_page(at.addr);
    assert_string_equal(loam_vmap_audit(&mm), "vmap: range of no kind");
    unmap_page(at.addr);
    loam_vrange_cancel(&mm.vmap.ranges, loam_virt_range_of(at, LOAM_PAGE_SIZE));
    check_sound();
}

/* ---- what is given back ------------------------------------------------------- */

static void expect_few_spare(void)
{
    assert_true(loam_stock_level(&mm.tables) <= LOAM_SPARE_TABLES);
    check_sound();
}

/* Each takes more tables than are kept spare: of small pages. */
static void tables_that_were_added_are_given_back(void **state)
{
    const struct loam_phys_range device = { { GIB(1012) + PAGES(7) }, MIB(40) };
    const struct loam_vmap_request room = memory_of(MIB(40));
    struct loam_vmap_window window;
    loam_virt at;

    (void)state;
    vmap_machine(1);
    const uint64_t tables = total(LOAM_OWNER_PAGE_TABLES);
    assert_int_equal(loam_vmap_device(&mm, device, LOAM_CACHE_UC, "device", &at), LOAM_OK);
    expect_few_spare();
    loam_vmap_device_free(&mm, at);
    (void)loam_vmap_purge(&mm);
    expect_few_spare();
    assert_int_equal(loam_vmap_window_open(&mm, &window, &room), LOAM_OK);
    assert_int_equal(loam_vmap_window_resize(&mm, &window, MIB(40)), LOAM_OK);
    expect_few_spare();
    assert_int_equal(loam_vmap_window_resize(&mm, &window, 0), LOAM_OK);
    expect_few_spare();
    loam_vmap_window_close(&mm, &window);
    assert_int_equal(total(LOAM_OWNER_PAGE_TABLES), tables);
}

/* Frames run out at the end: what they were held in comes down again. */
static void tables_that_were_added_in_vain_are_given_back(void **state)
{
    const struct loam_vmap_request room = memory_of(MIB(64));
    struct loam_vmap_window window;

    (void)state;
    vmap_machine(1);
    assert_int_equal(loam_vmap_window_open(&mm, &window, &room), LOAM_OK);
    const uint64_t free_bytes = total(LOAM_OWNER_USABLE) + total(LOAM_OWNER_PAGE_TABLES);
    const uint64_t tables = mm.space.table_count;
    assert_int_equal(loam_vmap_window_resize(&mm, &window, total(LOAM_OWNER_USABLE)),
                     LOAM_NO_MEMORY);
    assert_int_equal(window.front_bytes, 0);
    assert_int_equal(mm.space.table_count, tables);
    assert_int_equal(total(LOAM_OWNER_USABLE) + total(LOAM_OWNER_PAGE_TABLES), free_bytes);
    expect_few_spare();
    loam_vmap_window_close(&mm, &window);
    check_sound();
}

/* Records lie 50 to a frame. */
static void records_of_windows_are_given_back(void **state)
{
    static struct loam_vmap_window windows[400];
    const struct loam_vmap_request room = memory_of(PAGES(1));

    (void)state;
    vmap_machine(1);
    const uint64_t metadata = total(LOAM_OWNER_METADATA);
    for (unsigned i = 0; i < 400; i++)
        assert_int_equal(loam_vmap_window_open(&mm, &windows[i], &room), LOAM_OK);
    for (unsigned i = 0; i < 400; i++)
        loam_vmap_window_close(&mm, &windows[i]);
    assert_true(total(LOAM_OWNER_METADATA) <= metadata + PAGES(2));
    assert_true(loam_stock_level(&mm.vmap.nodes) <= 2);
    check_sound();
}

/* ---- devices beside memory ------------------------------------------------------- */

static void device_S06_may_lie_right_below_memory(void **state)
{
    const struct loam_phys_range below = { { MIB(128) - KIB(8) }, KIB(8) };
    const struct loam_phys_range into = { { MIB(128) - KIB(8) }, KIB(8) + 1 };
    loam_virt at;

    (void)state;
    small_machine(1);
    add(MIB(128), MIB(4), LOAM_MEM_USABLE);
    enter_all(1);
    assert_int_equal(loam_vmap_device(&mm, below, LOAM_CACHE_UC, "device", &at), LOAM_OK);
    assert_int_equal(machine_access(0, at.addr + KIB(8) - 1, MACHINE_READ).phys, MIB(128) - 1);
    EXPECT_REFUSED(loam_vmap_device(&mm, into, LOAM_CACHE_UC, "device", &at), LOAM_OVERLAP);
}

static void device_has_the_largest_pages_that_fit(void **state)
{
    static const struct {
        uint64_t phys, bytes, page_size;
    } rows[] = {
        { GIB(1013), GIB(2), GIB(1) },          { GIB(1013), GIB(1), GIB(1) },
        { GIB(1013), GIB(1) - KIB(4), MIB(2) }, { GIB(1013) + MIB(2), GIB(1), MIB(2) },
        { GIB(1013) + MIB(2), MIB(2), MIB(2) }, { GIB(1013) + MIB(2), MIB(2) - KIB(4), KIB(4) },
        { GIB(1013) + KIB(4), MIB(2), KIB(4) },
    };
    loam_virt at;

    (void)state;
    vmap_machine(1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct loam_phys_range range = { { rows[i].phys }, rows[i].bytes };
        assert_int_equal(loam_vmap_device(&mm, range, LOAM_CACHE_WC, "device", &at), LOAM_OK);
        const struct machine_access seen = machine_access(0, at.addr, MACHINE_READ);
        assert_int_equal(seen.phys, rows[i].phys);
        assert_int_equal(seen.page_size, rows[i].page_size);
        loam_vmap_device_free(&mm, at);
    }
    (void)loam_vmap_purge(&mm);
    check_sound();
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(audit_finds_what_is_mapped_and_what_is_not),
        cmocka_unit_test(audit_finds_records_that_are_wrong),
        cmocka_unit_test(tables_that_were_added_are_given_back),
        cmocka_unit_test(tables_that_were_added_in_vain_are_given_back),
        cmocka_unit_test(records_of_windows_are_given_back),
        cmocka_unit_test(device_S06_may_lie_right_below_memory),
        cmocka_unit_test(device_has_the_largest_pages_that_fit),
    };
    return RUN_TESTS(tests);
}
