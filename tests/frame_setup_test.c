/*
 * frame_setup_test.c - what loam_frame_init() refuses, costs and touches; machines
 * from one page to 64 TiB.
 */
#include "frame_world.h"

#include <unistd.h>

/* ---- refusals ------------------------------------------------------------ */

static _Alignas(64) unsigned char memory[1u << 18];
static unsigned char memory_before[sizeof(memory)];

/* Initialise in static memory; a refusal changes nothing. */
static enum loam_status try_init(void)
{
    struct loam_frame before;

    if (setup.memory == NULL) {
        setup.memory = memory;
        setup.memory_bytes = sizeof(memory);
    }
    memset(memory, 0xa5, sizeof(memory));
    memset(memory_before, 0xa5, sizeof(memory_before));
    memset(&frame, 0xa5, sizeof(frame));
    memset(&before, 0xa5, sizeof(before));
    const enum loam_status status = loam_frame_init(&frame, &setup);
    if (status != LOAM_OK) {
        assert_memory_equal(&frame, &before, sizeof(frame));
        assert_memory_equal(memory, memory_before, sizeof(memory));
    }
    setup.memory = NULL;
    return status;
}

static void expect_malformed(void)
{
    assert_int_equal(loam_frame_bytes_needed(&setup), 0);
    assert_int_equal(try_init(), LOAM_INVALID);
}

static void describe_two(uint64_t first0, uint64_t end0, uint64_t first1, uint64_t end1)
{
    const struct pages pages[] = { { first0, end0 }, { first1, end1 } };
    world_describe(pages, 2, 1);
}

static void init_refuses_ranges_out_of_order(void **state)
{
    (void)state;
    describe_two(64, 128, 128, 256); /* they may touch */
    assert_int_equal(try_init(), LOAM_OK);
    assert_null(loam_frame_audit(&frame));
    describe_two(128, 256, 64, 128);
    expect_malformed();
    describe_two(64, 128, 127, 256);
    expect_malformed();
    describe_two(64, 128, 64, 128);
    expect_malformed();
    describe_two(64, 128, 80, 90);
    expect_malformed();
}

static void init_refuses_ranges_that_are_no_pages(void **state)
{
    static const struct loam_phys_range wrong[] = {
        { { 0x10000 }, 0 },
        { { 0x10001 }, 0x1000 },
        { { 0x10000 }, 0xfff },
        { { 0x10000 }, 0x1001 },
        { { 0x10800 }, 0x800 },
        { { 1 }, 4095 },
        { { UINT64_MAX - 4095 }, 0x2000 },
        { { 0x1000 }, UINT64_MAX - 4095 + 1 - 1 },
        { { UINT64_MAX }, 1 },
        { { UINT64_C(1) << 63 }, (UINT64_C(1) << 63) + 0x1000 },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(wrong); i++) {
        for (size_t at = 0; at < 2; at++) {
            describe_two(1, 2, 3, 4);
            ram[at] = wrong[i];
            expect_malformed();
        }
    }
    describe_two(1, 2, 3, 4);
    setup.range_count = 0;
    expect_malformed();
}

static void init_refuses_counts_of_cpus(void **state)
{
    (void)state;
    describe_two(1, 2, 3, 4);
    setup.cpu_count = 0;
    expect_malformed();
    setup.cpu_count = LOAM_CPUS_MAX + 1;
    expect_malformed();
    setup.cpu_count = UINT32_MAX;
    expect_malformed();
    setup.cpu_count = LOAM_CPUS_MAX;
    assert_int_equal(try_init(), LOAM_OK);
}

static void init_refuses_memory(void **state)
{
    (void)state;
    describe_two(1, 2, 3, 4);
    const size_t need = loam_frame_bytes_needed(&setup);
    assert_true(need > 0 && need < sizeof(memory));
    for (size_t offset = 1; offset < 64; offset++) {
        setup.memory = memory + offset;
        setup.memory_bytes = sizeof(memory) - 64;
        assert_int_equal(try_init(), LOAM_INVALID);
    }
    for (size_t less = 1; less <= need; less += less < 9 ? 1 : need / 7) {
        setup.memory = memory;
        setup.memory_bytes = need - less;
        assert_int_equal(try_init(), LOAM_NO_SPACE);
    }
    setup.memory = memory;
    setup.memory_bytes = need;
    assert_int_equal(try_init(), LOAM_OK);
    assert_null(loam_frame_audit(&frame));
    for (size_t i = need; i < sizeof(memory); i++)
        assert_int_equal(memory[i], 0xa5);
}

/* Apart, from 64 KiB on; one more if there is a cut inside. */
static void describe_many(size_t count, uint64_t stride, uint64_t size)
{
    struct pages pages[RANGES_MAX];
    for (size_t i = 0; i < count; i++) {
        pages[i].first = 20 + i * stride;
        pages[i].end = pages[i].first + size;
    }
    world_describe(pages, count, 1);
}

/* As many ranges as a map may have; one of them reaches over the end of a zone. */
static void init_takes_any_number_of_ranges(void **state)
{
    (void)state;
    describe_many(RANGES_MAX, 3, 1);
    assert_int_equal(try_init(), LOAM_OK);
    assert_int_equal(stats().free_count, RANGES_MAX);
    assert_null(loam_frame_audit(&frame));
    describe_many(RANGES_MAX, 40, 39); /* 16 MiB lies inside one */
    assert_true(is_ram(MIB(16) - 1, 2));
    assert_int_equal(try_init(), LOAM_OK);
    assert_null(loam_frame_audit(&frame));
    expect_all_free();
}

/* Dirty memory, zeroed memory and memory of another allocator: all the same. */
static void init_does_not_see_what_was_in_memory(void **state)
{
    static const struct pages pages[] = { { 3, 700 }, { 1000, 3333 }, { MIB(15), MIB(17) } };
    uint64_t digest[3];
    (void)state;
    for (unsigned way = 0; way < 3; way++) {
        world_describe(pages, COUNT(pages), 2);
        setup.memory = memory;
        setup.memory_bytes = loam_frame_bytes_needed(&setup);
        setup.is_zeroed = way == 0;
        assert_true(setup.memory_bytes <= sizeof(memory));
        memset(memory, way == 0 ? 0 : 0xff, sizeof(memory));
        for (unsigned again = 0; again < way; again++) {
            assert_int_equal(loam_frame_init(&frame, &setup), LOAM_OK);
            while (again + 1 < way && take_any(0, LOAM_ZONE_ANY) != NONE)
                ;
        }
        if (way == 0)
            assert_int_equal(loam_frame_init(&frame, &setup), LOAM_OK);
        expect_all_free();
        digest[way] = loam_frame_digest(&frame);
    }
    setup.memory = NULL;
    assert_int_equal(digest[1], digest[0]);
    assert_int_equal(digest[2], digest[0]);
}

/* ---- what it costs ------------------------------------------------------- */

/* At most 36 KiB per GiB of RAM, wherever it lies. */
static void metadata_is_at_most_36_kib_per_gib(void **state)
{
    (void)state;
    for (uint64_t gib = 1; gib <= 65536; gib *= 2) {
        for (unsigned far = 0; far < 2; far++) {
            const uint64_t top = far == 1 ? TIB(4096) : GIB(gib) + MIB(1024);
            const struct pages pages[] = { { 1, MIB(512) },
                                           { top - GIB(gib) + MIB(512) - 1, top } };
            world_describe(pages, 2, gib < 2 ? 2 : gib < 4 ? 4 : gib < 16 ? 16 : 64);
            assert_int_equal(ram_pages, GIB(gib));
            const size_t bytes = loam_frame_bytes_needed(&setup);
            assert_true(bytes >= gib * 32768); /* a bit per frame */
            assert_true(bytes <= gib * 36 * 1024);
        }
    }
}

/* Many ranges cost no more than 1 KiB each beside. */
static void metadata_of_small_ranges_is_small(void **state)
{
    (void)state;
    describe_many(RANGES_MAX, 3, 1);
    assert_true(loam_frame_bytes_needed(&setup) <= (size_t)RANGES_MAX * 1024);
}

/* Pages of setup.memory that were touched. */
static size_t touched_pages(void)
{
    const size_t page_size = (size_t)sysconf(_SC_PAGESIZE);
    const size_t count = (mapped_bytes + page_size - 1) / page_size;
    unsigned char *const resident = malloc(count);
    size_t touched = 0;
    assert_non_null(resident);
    assert_int_equal(mincore(setup.memory, mapped_bytes, resident), 0);
    for (size_t i = 0; i < count; i++)
        touched += resident[i] & 1;
    free(resident);
    return touched;
}

/* Zeroed memory is written to only where it is used. */
static void init_of_a_tebibyte_touches_little(void **state)
{
    static const struct pages pages[] = { { 1, 160 },
                                          { 256, GIB(3) },
                                          { GIB(4), TIB(1) + GIB(1) } };
    (void)state;
    world_of(pages, COUNT(pages), 8);
    assert_true(mapped_bytes > (UINT64_C(1024) * 32 << 10));
    assert_true(touched_pages() <= 64); /* of 8768 */
    for (unsigned cpu = 0; cpu < 8; cpu++) {
        machine_set_cpu(cpu);
        for (unsigned i = 0; i < 1000; i++)
            assert_true(take_any(i % 4, LOAM_ZONE_ANY) >= GIB(4));
    }
    assert_true(touched_pages() <= 160);
}

/* ---- large machines ------------------------------------------------------ */

/* Frames of a machine of 64 TiB, from the top; any order, any zone. */
static void frame_machine_of_64_tebibytes_works(void **state)
{
    static const struct pages pages[] = { { 1, 160 }, { 256, GIB(3) }, { GIB(4), TIB(64) } };
    (void)state;
    world_of(pages, COUNT(pages), 64);
    for (unsigned order = 0; order <= LOAM_ORDER_MAX; order++) {
        machine_set_cpu(order);
        for (unsigned zone = 0; zone < LOAM_ZONES; zone++) {
            const uint64_t page = take_any(order, (enum loam_zone)zone);
            assert_int_equal(page == NONE, zone == LOAM_ZONE_16M && order > 11);
            if (page == NONE)
                continue;
            assert_int_equal(page >= GIB(4), zone == LOAM_ZONE_ANY);
            assert_int_equal(page < MIB(16), zone == LOAM_ZONE_16M);
            if (zone == LOAM_ZONE_ANY)
                assert_true(page >= TIB(64) - GIB(8));
            give_any(page, order);
        }
    }
    const struct loam_frame_request request = { .page_count = TIB(1), .limit = BYTES(TIB(3)) };
    loam_phys at;
    assert_int_equal(loam_frame_alloc_range(&frame, &request, &at), LOAM_OK);
    assert_int_equal(at.addr, BYTES(TIB(2)));
    loam_frame_release(&frame, loam_phys_range_of(at, BYTES(TIB(1))));
    assert_int_equal(stats().free_count, ram_pages);
    world_close();
}

/* 16 MiB in all, as a small virtual machine has. */
static void frame_machine_of_16_mebibytes_works(void **state)
{
    (void)state;
    WORLD(1, { 1, 159 }, { 256, MIB(16) });
    assert_int_equal(take(12), NONE);
    assert_int_equal(take(11), MIB(8));
    assert_int_equal(take(10), MIB(4));
    assert_int_equal(take(9), MIB(2));
    assert_int_equal(take(9), NONE);
    assert_int_equal(take(8), 256);
    assert_int_equal(take(8), NONE);
    uint64_t count = 0;
    while (take_zone(0, LOAM_ZONE_16M) != NONE)
        count++;
    assert_int_equal(count, 158);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(init_refuses_ranges_out_of_order),
        cmocka_unit_test(init_refuses_ranges_that_are_no_pages),
        cmocka_unit_test(init_refuses_counts_of_cpus),
        cmocka_unit_test(init_refuses_memory),
        cmocka_unit_test(init_takes_any_number_of_ranges),
        cmocka_unit_test(init_does_not_see_what_was_in_memory),
        cmocka_unit_test(metadata_is_at_most_36_kib_per_gib),
        cmocka_unit_test(metadata_of_small_ranges_is_small),
        cmocka_unit_test(init_of_a_tebibyte_touches_little),
        cmocka_unit_test(frame_machine_of_64_tebibytes_works),
        cmocka_unit_test(frame_machine_of_16_mebibytes_works),
    };
    return RUN_TESTS(tests);
}
