/*
 * vmap_device_test.c - devices and windows that grow, as a simulated CPU sees them.
 */
#include "vmap_world.h"

/* ---- devices ------------------------------------------------------------- */

static void device_keeps_the_offset_into_its_page(void **state)
{
    static const struct {
        uint64_t phys, size, pages;
    } devices[] = {
        { GIB(1), 4096, 1 },      { GIB(1) + 0x123, 4, 1 },    { GIB(1) + 0xfff, 2, 2 },
        { GIB(1) + 0xfff, 1, 1 }, { GIB(2) + 1, 0x10000, 17 }, { GIB(1012) - 8, 16, 2 },
    };

    (void)state;
    vmap_machine(2);
    const uint64_t kernel = total(LOAM_OWNER_KERNEL);
    for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
        loam_virt at;
        assert_int_equal(
            loam_vmap_device(&mm,
                             loam_phys_range_of(loam_phys_at(devices[i].phys), devices[i].size),
                             LOAM_CACHE_UC, "device", &at),
            LOAM_OK);
        for (uint64_t byte = 0; byte < devices[i].size; byte += 511) {
            const struct machine_access access = machine_access(1, at.addr + byte, MACHINE_WRITE);
            assert_int_equal(access.fault, MACHINE_OK);
            assert_int_equal(access.phys, devices[i].phys + byte);
            assert_int_equal(access.type, MACHINE_UC);
        }
        expect_mapped_alone(loam_page_floor(at.addr), PAGES(devices[i].pages));
        assert_int_equal(find(at.addr).kind, LOAM_VMAP_DEVICE);
        check_sound();
        loam_vmap_device_free(&mm, at);
        assert_true(loam_vmap_purge(&mm));
        expect_unmapped(at.addr, devices[i].size);
        check_sound();
    }
    assert_int_equal(total(LOAM_OWNER_KERNEL), kernel); /* no frame came, none went */
}

static void device_uses_large_pages_where_they_fit(void **state)
{
    loam_virt at;

    (void)state;
    vmap_machine(1);
    assert_int_equal(loam_vmap_device(&mm, loam_phys_range_of(loam_phys_at(GIB(4)), GIB(1)),
                                      LOAM_CACHE_WC, "large", &at),
                     LOAM_OK);
    assert_int_equal(machine_access(0, at.addr + 5, MACHINE_READ).page_size, GIB(1));
    assert_int_equal(loam_vmap_device(&mm, loam_phys_range_of(loam_phys_at(GIB(3)), MIB(4)),
                                      LOAM_CACHE_WC, "framebuffer", &at),
                     LOAM_OK);
    assert_int_equal(machine_access(0, at.addr + 5, MACHINE_READ).page_size, MIB(2));
    assert_int_equal(machine_access(0, at.addr + 5, MACHINE_READ).type, MACHINE_WC);
    check_sound();
    loam_vmap_device_free(&mm, at); /* so much of it that it is purged at once */
    assert_false(loam_vmap_purge(&mm));
    check_sound();
}

/* What is somebody's memory, and how firmware's may be cached. */
static void device_S06_refuses_memory(void **state)
{
    static const struct {
        uint64_t phys, size;
        enum loam_cache cache;
        enum loam_status status;
    } cases[] = {
        { MIB(8), 4096, LOAM_CACHE_UC, LOAM_OVERLAP },            /* usable */
        { MIB(1), 4096, LOAM_CACHE_UC, LOAM_OVERLAP },            /* the image */
        { MIB(1) + KIB(256), 4096, LOAM_CACHE_WB, LOAM_OVERLAP }, /* the bootloader's */
        { MIB(64) - 1, 2, LOAM_CACHE_UC, LOAM_OVERLAP },          /* its last byte is usable */
        { MIB(64), 4096, LOAM_CACHE_UC, LOAM_OK },                /* nobody's */
        { MIB(64), 4096, LOAM_CACHE_WB, LOAM_OVERLAP },           /* a device as if it were RAM */
        { KIB(636), KIB(388), LOAM_CACHE_UC, LOAM_OK },           /* reserved: may be either */
        { KIB(636), 4096, LOAM_CACHE_WB, LOAM_OK },
        { KIB(632), KIB(8), LOAM_CACHE_UC, LOAM_OVERLAP },  /* begins in usable memory */
        { KIB(1020), KIB(8), LOAM_CACHE_UC, LOAM_OVERLAP }, /* ends in the image */
        { GIB(3), 4096, LOAM_CACHE_WC, LOAM_OK },           /* the framebuffer */
        { GIB(3), 4096, LOAM_CACHE_WP, LOAM_OVERLAP },
        { GIB(3) - 4096, MIB(4) + 8192, LOAM_CACHE_WC, LOAM_OK }, /* and what is around it */
        { MIB(80), 4096, LOAM_CACHE_WB, LOAM_OK },                /* ACPI tables */
        { MIB(80), 4096, LOAM_CACHE_UC, LOAM_OVERLAP },
        { MIB(80), KIB(8), LOAM_CACHE_WB, LOAM_OVERLAP }, /* and nobody's */
        { MIB(81), 4096, LOAM_CACHE_WP, LOAM_OK },        /* non-volatile */
        { MIB(8), 0, LOAM_CACHE_UC, LOAM_INVALID },
        { UINT64_MAX, 2, LOAM_CACHE_UC, LOAM_INVALID },
        { UINT64_C(1) << 46, 1, LOAM_CACHE_UC, LOAM_INVALID },
        { (UINT64_C(1) << 46) - 1, 1, LOAM_CACHE_UC, LOAM_OK },
        { (UINT64_C(1) << 46) - 1, 2, LOAM_CACHE_UC, LOAM_INVALID },
        { GIB(2), 4096, (enum loam_cache)LOAM_CACHES, LOAM_INVALID },
    };

    (void)state;
    small_machine(1);
    add(MIB(80), KIB(4), LOAM_MEM_ACPI_RECLAIMABLE);
    add(MIB(81), KIB(4), LOAM_MEM_ACPI_NVS);
    enter_all(1);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct loam_phys_range range =
            loam_phys_range_of(loam_phys_at(cases[i].phys), cases[i].size);
        loam_virt at = loam_virt_at(42);
        if (cases[i].status != LOAM_OK) {
            EXPECT_REFUSED(loam_vmap_device(&mm, range, cases[i].cache, "x", &at), cases[i].status);
            assert_int_equal(at.addr, 42);
            continue;
        }
        assert_int_equal(loam_vmap_device(&mm, range, cases[i].cache, "x", &at), LOAM_OK);
        check_sound();
        loam_vmap_device_free(&mm, at); /* a large one is purged at once */
        (void)loam_vmap_purge(&mm);
        check_sound();
    }
}

/* Contiguous memory below what there is. */
static void take_S05_refuses_a_limit_below_what_exists(void **state)
{
    struct loam_phys_range range = { { 42 }, 43 };

    (void)state;
    vmap_machine(1);
    struct loam_frame_request request = { .page_count = 4, .limit = PAGES(4) };
    EXPECT_REFUSED(loam_take(&mm, &request, LOAM_OWNER_KERNEL, &range), LOAM_NO_MEMORY);
    request.limit = PAGES(1);
    EXPECT_REFUSED(loam_take(&mm, &request, LOAM_OWNER_KERNEL, &range), LOAM_NO_MEMORY);
    request.from = GIB(2);
    request.limit = 0;
    EXPECT_REFUSED(loam_take(&mm, &request, LOAM_OWNER_KERNEL, &range), LOAM_NO_MEMORY);
    assert_int_equal(range.start.addr, 42);
    assert_int_equal(range.size, 43);
}

/* ---- windows ------------------------------------------------------------- */

/*
 *     [g| front | ................ |g)     the front grows, shrinks, grows again
 */
static void window_grows_and_shrinks_in_place(void **state)
{
    static const uint64_t fronts[] = { 1, 5, 5, 40, 39, 3, 0, 64, 1 };
    struct loam_vmap_request request = memory_of(PAGES(64));
    struct loam_vmap_window window;

    (void)state;
    vmap_machine(2);
    const uint64_t kernel = total(LOAM_OWNER_KERNEL);
    request.name = "heap";
    assert_int_equal(loam_vmap_window_open(&mm, &window, &request), LOAM_OK);
    const uint64_t start = window.range.start.addr;
    assert_int_equal(window.range.size, PAGES(64));
    expect_unmapped(start, PAGES(64));
    uint64_t before = 0;
    for (size_t i = 0; i < sizeof(fronts) / sizeof(fronts[0]); i++) {
        const unsigned flushes = machine_flush_count();
        const uint64_t front = PAGES(fronts[i]);
        assert_int_equal(loam_vmap_window_resize(&mm, &window, front == 0 ? 0 : front - 7),
                         LOAM_OK);
        assert_int_equal(window.front_bytes, front);
        assert_int_equal(machine_flush_count() > flushes, front < before);
        assert_int_equal(total(LOAM_OWNER_KERNEL), kernel + front);
        check_sound();
        for (uint64_t at = 0; at < front; at += LOAM_PAGE_SIZE) {
            unsigned char *byte = byte_at(1, start + at);
            assert_int_equal(*byte, at < before ? 0x77 : 0); /* kept, or zeroed */
            *byte = 0x77;
        }
        expect_unmapped(start + front, PAGES(64) - front + 1);
        before = front;
    }
    assert_int_equal(find(start + PAGES(9)).kind, LOAM_VMAP_WINDOW);
    EXPECT_REFUSED(loam_vmap_window_resize(&mm, &window, PAGES(64) + 1), LOAM_NO_SPACE);
    EXPECT_REFUSED(loam_vmap_window_resize(&mm, &window, UINT64_MAX), LOAM_NO_SPACE);
    EXPECT_PANIC("vmap: freed as something else", loam_vmap_free(&mm, window.range.start));
    struct loam_vmap_window twin = window;
    loam_vmap_window_close(&mm, &window);
    check_sound();
    expect_unmapped(start, PAGES(64));
    assert_int_equal(total(LOAM_OWNER_KERNEL), kernel);
    assert_int_equal(mm.vmap.ranges.record_count, 0); /* at once */
    assert_int_equal(window.range.size, 0);
    EXPECT_PANIC("vmap: nothing begins here", loam_vmap_window_close(&mm, &window));
    EXPECT_PANIC("vmap: nothing begins here", loam_vmap_window_close(&mm, &twin));
}

static void window_may_be_larger_than_memory(void **state)
{
    struct loam_vmap_request request = memory_of(GIB(64));
    struct loam_vmap_window window;

    (void)state;
    vmap_machine(1);
    assert_int_equal(loam_vmap_window_open(&mm, &window, &request), LOAM_OK);
    assert_int_equal(loam_vmap_window_resize(&mm, &window, MIB(5)), LOAM_OK);
    EXPECT_REFUSED(loam_vmap_window_resize(&mm, &window, GIB(1)), LOAM_NO_MEMORY);
    assert_int_equal(window.front_bytes, MIB(5));
    loam_vmap_window_close(&mm, &window);
    request.size_bytes = 0;
    EXPECT_REFUSED(loam_vmap_window_open(&mm, &window, &request), LOAM_INVALID);
    request.size_bytes = mm.vmap.window.size;
    EXPECT_REFUSED(loam_vmap_window_open(&mm, &window, &request), LOAM_NO_SPACE);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(device_keeps_the_offset_into_its_page),
        cmocka_unit_test(device_uses_large_pages_where_they_fit),
        cmocka_unit_test(device_S06_refuses_memory),
        cmocka_unit_test(take_S05_refuses_a_limit_below_what_exists),
        cmocka_unit_test(window_grows_and_shrinks_in_place),
        cmocka_unit_test(window_may_be_larger_than_memory),
    };
    return RUN_TESTS(tests);
}
