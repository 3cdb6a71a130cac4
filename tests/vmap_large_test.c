/*
 * vmap_large_test.c - memory of 2 MiB and more: large pages where there are such blocks, and
 * small ones where not.
 */
#include "vmap_world.h"

#include <loam/x86.h>

static uint64_t page_size_at(uint64_t at)
{
    return machine_probe(0, at, MACHINE_READ).page_size;
}

static uint64_t large_pages(uint64_t at, uint64_t bytes)
{
    uint64_t count = 0;
    for (uint64_t page = at; page < at + bytes; page += page_size_at(page))
        count += page_size_at(page) == MIB(2) ? 1 : 0;
    return count;
}

/* One frame of each block of 2 MiB is used by somebody, but of the @p but lowest. */
static void break_blocks(unsigned but)
{
    for (loam_phys block; !loam_phys_is_none(
             block = loam_take_frames(&mm, LOAM_ORDER_2M, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL));) {
        if (block.addr < MIB(2) * (1 + but))
            continue; /* given back below */
        for (uint64_t i = 1; i < 512; i++)
            loam_give_frames(&mm, loam_phys_at(block.addr + PAGES(i)), 0, LOAM_OWNER_KERNEL);
    }
    for (unsigned i = 1; i <= but; i++)
        loam_give_frames(&mm, loam_phys_at(MIB(2) * i), LOAM_ORDER_2M, LOAM_OWNER_KERNEL);
}

/* ---- what comes of it ---------------------------------------------------------- */

/*
 *   [ 2 MiB | 2 MiB | 2 MiB | 3 small pages |g)
 */
static void alloc_has_large_pages_at_their_multiples(void **state)
{
    (void)state;
    vmap_machine(2);
    const uint64_t usable = total(LOAM_OWNER_USABLE);
    const uint64_t kernel = total(LOAM_OWNER_KERNEL);
    const uint64_t at = alloc_bytes(MIB(6) + KIB(12)).addr;
    struct loam_translation seen;
    assert_int_equal(loam_space_query(&mm.space, loam_virt_at(at), &seen), LOAM_OK);
    assert_int_equal(seen.attr.prot, LOAM_PROT_WRITE | LOAM_PROT_GLOBAL);
    assert_int_equal(at % MIB(2), 0);
    assert_int_equal(large_pages(at, MIB(6) + KIB(12)), 3);
    assert_int_equal(page_size_at(at + MIB(6)), KIB(4));
    expect_mapped_alone(at, MIB(6) + KIB(12));
    assert_int_equal(total(LOAM_OWNER_KERNEL), kernel + MIB(6) + KIB(12));
    check_sound();
    for (uint64_t i = 0; i < 4; i++)
        *byte_at(1, at + MIB(2) * i + 5) = (unsigned char)(i + 1);
    for (uint64_t i = 0; i < 4; i++)
        assert_int_equal(*byte_at(0, at + MIB(2) * i + 5), i + 1);
    loam_vmap_free(&mm, loam_virt_at(at));
    check_sound();
    (void)loam_vmap_purge(&mm); /* or it came by itself */
    expect_unmapped(at, MIB(6) + KIB(12));
    assert_int_equal(total(LOAM_OWNER_KERNEL), kernel);
    assert_true(total(LOAM_OWNER_USABLE) + PAGES(2 * LOAM_SPARE_TABLES) >= usable);
    assert_int_equal(large_pages(alloc_bytes(MIB(6)).addr, MIB(6)), 3); /* blocks again */
    check_sound();
}

static void alloc_of_less_has_small_pages(void **state)
{
    (void)state;
    vmap_machine(1);
    const uint64_t at = alloc_bytes(MIB(2) - KIB(4)).addr;
    assert_int_equal(large_pages(at, MIB(2) - KIB(4)), 0);
    assert_int_equal(large_pages(alloc_bytes(MIB(2)).addr, MIB(2)), 1);
    check_sound();
}

static void alloc_zeroes_large_pages(void **state)
{
    struct loam_vmap_request request = memory_of(MIB(4));

    (void)state;
    vmap_machine(1);
    const uint64_t first = alloc(&request).addr;
    for (uint64_t i = 0; i < 1024; i++)
        memset(byte_at(0, first + PAGES(i)), 0xa5, LOAM_PAGE_SIZE);
    loam_vmap_free(&mm, loam_virt_at(first));
    (void)loam_vmap_purge(&mm); /* or it came by itself */
    request.is_zeroed = true;
    const uint64_t at = alloc(&request).addr;
    assert_int_equal(large_pages(at, MIB(4)), 2);
    for (uint64_t i = 0; i < 1024; i++)
        assert_int_equal(*(const uint64_t *)(const void *)byte_at(0, at + PAGES(i)), 0);
}

/* ---- where there are none ---------------------------------------------------------- */

static unsigned relieved;

static bool count_relieve(void *context, const struct loam_pressure_report *report)
{
    (void)context;
    (void)report;
    relieved++;
    return false;
}

/* As many large pages as there are blocks; nobody is asked to give memory back for more. */
static void alloc_falls_back_to_small_pages(void **state)
{
    const struct loam_pressure_hooks hooks = { .relieve = count_relieve };

    (void)state;
    for (unsigned blocks = 0; blocks < 3; blocks++) {
        vmap_machine(1);
        break_blocks(blocks);
        assert_int_equal(loam_set_pressure(&mm, &hooks), LOAM_OK);
        relieved = 0;
        const uint64_t kernel = total(LOAM_OWNER_KERNEL);
        const uint64_t at = alloc_bytes(MIB(6)).addr;
        assert_int_equal(large_pages(at, MIB(6)), blocks);
        expect_mapped_alone(at, MIB(6));
        assert_int_equal(relieved, 0);
        check_sound();
        loam_vmap_free(&mm, loam_virt_at(at));
        (void)loam_vmap_purge(&mm); /* or it came by itself */
        assert_int_equal(total(LOAM_OWNER_KERNEL), kernel);
        check_sound();
    }
}

/*
 *   window  [g| addresses of another ............ |g)[g| 4 MiB |g)
 */
static void alloc_takes_addresses_between_the_multiples(void **state)
{
    struct loam_vmap_window rest;

    (void)state;
    vmap_machine(1);
    const struct loam_vmap_request all_but = memory_of(mm.vmap.window.size - MIB(4) - PAGES(4));
    assert_int_equal(loam_vmap_window_open(&mm, &rest, &all_but), LOAM_OK);
    const uint64_t at = alloc_bytes(MIB(4)).addr;
    assert_int_not_equal(at % MIB(2), 0);
    assert_int_equal(large_pages(at, MIB(4)), 1); /* in the middle */
    expect_mapped_alone(at, MIB(4));
    EXPECT_REFUSED(loam_vmap_alloc(&mm, &all_but, &rest.range.start), LOAM_NO_SPACE);
    loam_vmap_window_close(&mm, &rest);
    check_sound();
}

static void alloc_V02_refuses_an_alignment_that_is_none(void **state)
{
    struct loam_vmap_request request = memory_of(MIB(4));
    loam_virt at = loam_virt_at(42);

    (void)state;
    vmap_machine(1);
    request.align_bytes = KIB(12);
    EXPECT_REFUSED(loam_vmap_alloc(&mm, &request, &at), LOAM_INVALID);
    request.align_bytes = MIB(4);
    assert_int_equal(alloc(&request).addr % MIB(4), 0);
}

/* Any part of a window may be cut off, which then needs no table. */
static void window_has_small_pages(void **state)
{
    const struct loam_vmap_request request = memory_of(MIB(8));
    struct loam_vmap_window window;
    struct loam_translation seen;

    (void)state;
    vmap_machine(1);
    assert_int_equal(loam_vmap_window_open(&mm, &window, &request), LOAM_OK);
    assert_int_equal(loam_vmap_window_resize(&mm, &window, MIB(6)), LOAM_OK);
    const uint64_t at = window.range.start.addr;
    assert_int_equal(large_pages(at, MIB(6)), 0);
    assert_int_equal(loam_space_query(&mm.space, window.range.start, &seen), LOAM_OK);
    assert_int_equal(seen.attr.prot, LOAM_PROT_WRITE | LOAM_PROT_GLOBAL);
    assert_int_equal(loam_vmap_window_resize(&mm, &window, MIB(3)), LOAM_OK);
    expect_unmapped(at + MIB(3), MIB(3));
    loam_vmap_window_close(&mm, &window);
    check_sound();
}

/* ---- shortage -------------------------------------------------------------------------- */

static unsigned told;

static void count_low(void *context, const struct loam_pressure_report *report)
{
    (void)context;
    assert_true(report->free_pages < 4096);
    told++;
}

static void alloc_F24_of_large_pages_tells_that_memory_is_low(void **state)
{
    const struct loam_pressure_hooks hooks = { .low_pages = 4096, .low = count_low };

    (void)state;
    vmap_machine(1);
    assert_int_equal(loam_set_pressure(&mm, &hooks), LOAM_OK);
    told = 0;
    while (total(LOAM_OWNER_USABLE) > MIB(18)) {
        assert_int_equal(told, 0);
        assert_int_equal(large_pages(alloc_bytes(MIB(2)).addr, MIB(2)), 1);
    }
    (void)alloc_bytes(MIB(4));
    assert_int_equal(told, 1);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(alloc_has_large_pages_at_their_multiples),
        cmocka_unit_test(alloc_of_less_has_small_pages),
        cmocka_unit_test(alloc_zeroes_large_pages),
        cmocka_unit_test(alloc_falls_back_to_small_pages),
        cmocka_unit_test(alloc_takes_addresses_between_the_multiples),
        cmocka_unit_test(alloc_V02_refuses_an_alignment_that_is_none),
        cmocka_unit_test(window_has_small_pages),
        cmocka_unit_test(alloc_F24_of_large_pages_tells_that_memory_is_low),
    };
    return RUN_TESTS(tests);
}
