/*
 * books_heap_test.c - the heap that grows, on the books of a machine: what it takes and
 * gives back, what it does when memory is scarce. In pieces: books_far_test.c. What it does
 * with its pages: heap_test.c.
 */
#include "books_heap_world.h"

/* ---- what it takes and gives ---------------------------------------------- */

static void heap_is_charged_for_every_page_it_has(void **state)
{
    static const size_t sizes[] = { 1, 16, 100, 4096, 9000, 16384, 65536, 70000, MIB(3) };
    void *block[9];
    (void)state;
    start(1);
    assert_int_equal(total(LOAM_OWNER_HEAP), KIB(4)); /* none before the first block */
    for (size_t i = 0; i < 9; i++) {
        block[i] = loam_malloc(&mm, sizes[i]);
        assert_non_null(block[i]);
        memset(block[i], 0x5a, sizes[i]);
        assert_int_equal(total(LOAM_OWNER_HEAP), KIB(4) + heap_now().page_count * KIB(4));
        expect_sound();
    }
    for (size_t i = 0; i < 9; i++)
        loam_free(&mm, block[i]);
    expect_empty();
}

static void large_block_takes_whole_pages_and_no_more(void **state)
{
    static const uint64_t pages[] = { 17, 20, 33, 100, 512, 513, 600, 1025 };
    (void)state;
    start(1);
    loam_free(&mm, loam_malloc(&mm, KIB(80))); /* records are there */
    for (size_t i = 0; i < 8; i++) {
        const uint64_t before = bytes_of_blocks();
        void *const block = loam_malloc(&mm, pages[i] * KIB(4) - 7);
        assert_non_null(block);
        assert_int_equal(bytes_of_blocks() - before, pages[i] * KIB(4));
        expect_sound();
        assert_int_equal(loam_malloc_usable(&mm, block), pages[i] * KIB(4));
        loam_free(&mm, block);
        assert_int_equal(bytes_of_blocks(), before);
    }
    expect_empty();
}

static void aligned_block_is_charged_for_its_size_alone(void **state)
{
    (void)state;
    start(1);
    loam_free(&mm, loam_malloc(&mm, KIB(20)));
    for (uint64_t align = KIB(128); align <= MIB(16); align *= 2) {
        const uint64_t before = bytes_of_blocks();
        void *const block = loam_aligned_alloc(&mm, align, 100);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % align, 0);
        assert_int_equal(bytes_of_blocks() - before, KIB(4));
        loam_free(&mm, block);
    }
    expect_empty();
}

static void large_block_grows_and_shrinks_in_place(void **state)
{
    (void)state;
    start(1);
    unsigned char *const block = loam_malloc(&mm, MIB(1));
    void *const other = loam_malloc(&mm, MIB(1));
    const uint64_t before = total(LOAM_OWNER_HEAP);
    memset(block, 0x77, MIB(1));
    unsigned char *const smaller = loam_realloc(&mm, block, KIB(700) - 1);
    assert_ptr_equal(smaller, block);
    assert_int_equal(before - total(LOAM_OWNER_HEAP), MIB(1) - KIB(700));
    unsigned char *const again = loam_realloc(&mm, block, MIB(1)); /* its tail is still free */
    assert_ptr_equal(again, block);
    assert_int_equal(total(LOAM_OWNER_HEAP), before);
    expect_sound();
    unsigned char *const moved = loam_realloc(&mm, block, MIB(40)); /* what is next is in use */
    assert_ptr_not_equal(moved, block);
    for (unsigned i = 0; i < KIB(700) - 1; i++)
        assert_int_equal(moved[i], 0x77);
    loam_free(&mm, moved);
    loam_free(&mm, other);
    expect_empty();
}

static void pages_of_the_heap_retire_when_they_are_given_back(void **state)
{
    (void)state;
    start(1);
    void *const block = loam_malloc(&mm, KIB(96));
    const loam_phys bad =
        loam_phys_at(loam_hhdm_phys(machine_hhdm(), loam_virt_of(block)).addr + KIB(8));
    assert_int_equal(loam_retire(&mm, bad), LOAM_OVERLAP);
    expect_sound();
    assert_int_equal(total(LOAM_OWNER_BAD), 0);
    loam_free(&mm, block);
    assert_int_equal(total(LOAM_OWNER_BAD), KIB(4));
    assert_int_equal(loam_retire(&mm, bad), LOAM_STATE);
    expect_empty();
}

static void cpu_that_goes_gives_back_what_it_had(void **state)
{
    enum { BLOCKS = 200 };
    void *block[BLOCKS];
    (void)state;
    start(2);
    for (unsigned cpu = 0; cpu < 2; cpu++) {
        machine_set_cpu(cpu);
        for (unsigned i = 0; i < BLOCKS; i++)
            block[i] = loam_malloc(&mm, 16 + 7 * i);
        for (unsigned i = 0; i < BLOCKS; i++)
            loam_free(&mm, block[i]);
    }
    machine_set_cpu(0);
    const struct loam_heap_stats stats = heap_now();
    assert_int_equal(stats.live_count, 0);
    assert_true(stats.page_count > stats.record_pages); /* in magazines of both */
    expect_empty();
}

static void blocks_are_aligned_in_a_direct_map_that_is_not(void **state)
{
    static const size_t sizes[] = { 1, 8192, KIB(20), KIB(64), KIB(100), MIB(3) };
    void *block[sizeof sizes / sizeof sizes[0]];

    (void)state;
    small_machine(1);
    boot.hhdm = loam_boot_hhdm(boot.hhdm.offset + KIB(12)); /* whose end is not there */
    for (size_t i = 0; i < boot.raw_count; i++)
        boot.storage.raw[i].range.size -= KIB(12);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    for (size_t align = 16; align <= MIB(1); align *= 2) {
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            block[i] = loam_aligned_alloc(&mm, align, sizes[i]);
            assert_non_null(block[i]);
            assert_int_equal((uintptr_t)block[i] % align, 0);
        }
        assert_null(loam_audit(&mm));
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
            loam_free(&mm, block[i]);
    }
    (void)loam_heap_trim(&mm.cpu_heap);
    assert_null(loam_audit(&mm));
}

/* ---- memory is scarce --------------------------------------------------------- */

static unsigned lows, reliefs;
static size_t relief; /* frames that relieve() gives back */

/* A hook may use the heap, whatever the request that calls it is about. */
static void use_heap(void)
{
    assert_true(machine_interrupts());
    loam_free(&mm, loam_malloc(&mm, 24));
}

static void on_low(void *context, const struct loam_pressure_report *report)
{
    (void)context;
    assert_true(report->free_pages < 2000);
    lows++;
    use_heap();
}

static bool on_relieve(void *context, const struct loam_pressure_report *report)
{
    (void)context;
    assert_true(report->wanted_pages != 0);
    reliefs++;
    for (size_t i = 0; i < relief && frame_count != 0; i++)
        loam_give_frames(&mm, frames[--frame_count], 0, LOAM_OWNER_KERNEL);
    use_heap();
    return relief != 0;
}

static void start_watched(bool debug)
{
    const struct loam_pressure_hooks hooks = { NULL, 2000, on_low, on_relieve };
    small_machine(2);
    boot.heap_debug = debug;
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    assert_int_equal(loam_enter(&mm), LOAM_OK);
    lows = reliefs = 0;
    relief = 0;
    frame_count = 0;
    assert_int_equal(loam_set_pressure(&mm, &hooks), LOAM_OK);
}

static void malloc_F24_tells_that_memory_is_low(void **state)
{
    (void)state;
    for (int debug = 0; debug < 2; debug++) {
        void **list = NULL;
        start_watched(debug != 0);
        const uint64_t limit = MIB(64) - KIB(4) * 1000;
        for (uint64_t taken = 0; taken < limit && lows == 0; taken += 1024) {
            void **const block = loam_malloc(&mm, 1000);
            assert_non_null(block);
            *block = list;
            list = block;
        }
        assert_int_equal(lows, 1);
        assert_in_range(total(LOAM_OWNER_USABLE) / KIB(4), 1500, 2000);
        while (list != NULL) {
            void **const next = *list;
            loam_free(&mm, list);
            list = next;
        }
        expect_sound();
    }
}

static void malloc_F25_asks_the_kernel_before_it_fails(void **state)
{
    (void)state;
    for (int debug = 0; debug < 2; debug++) {
        start_watched(debug != 0);
        loam_free(&mm, loam_malloc(&mm, 1)); /* this CPU's lists are there */
        frame_count = loam_take_bulk(&mm, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL, frames, FRAMES_MAX);
        reliefs = 0;
        for (size_t size = 8; size < KIB(200); size *= 3) {
            relief = 64;
            void *const block = loam_malloc(&mm, size);
            assert_non_null(block);
            loam_free(&mm, block);
        }
        assert_true(reliefs > 0);
        relief = 0;
        reliefs = 0;
        assert_null(loam_malloc(&mm, MIB(20)));
        assert_null(loam_calloc(&mm, 2, MIB(10)));
        assert_null(loam_aligned_alloc(&mm, MIB(8), MIB(20)));
        assert_int_equal(reliefs, 3);
        assert_null(loam_malloc(&mm, MIB(100))); /* more than there ever was */
        assert_int_equal(reliefs, 3);
        mend();
        heap_settle();
        expect_empty();
    }
}

/* What a CPU keeps at hand is memory, too. */
static void malloc_gives_up_its_own_before_it_asks(void **state)
{
    enum { BLOCKS = 40 };
    void *block[BLOCKS];
    (void)state;
    start_watched(false);
    for (size_t size = 64; size <= KIB(16); size += size / 4) {
        for (unsigned i = 0; i < BLOCKS; i++)
            block[i] = loam_malloc(&mm, size);
        for (unsigned i = 0; i < BLOCKS; i++)
            loam_free(&mm, block[i]);
    }
    assert_int_equal(heap_now().live_count, 0);
    assert_true(bytes_of_blocks() > KIB(300));
    frame_count = loam_take_bulk(&mm, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL, frames, FRAMES_MAX);
    reliefs = 0;
    void *const large = loam_malloc(&mm, KIB(200));
    assert_non_null(large);
    assert_int_equal(reliefs, 0);
    loam_free(&mm, large);
    mend();
}

/* ---- whatever fails ------------------------------------------------------------ */

static void *make(unsigned what, void *block)
{
    switch (what) {
    case 0:
        return loam_malloc(&mm, 48);
    case 1:
        return loam_malloc(&mm, KIB(9));
    case 2:
        return loam_calloc(&mm, 1, KIB(40));
    case 3:
        return loam_aligned_alloc(&mm, KIB(64), KIB(70));
    default:
        return loam_realloc(&mm, block, KIB(90));
    }
}

static void expect_no_change(bool in_pieces)
{
    for (unsigned what = 0; what < (in_pieces ? 4 : 5); what++) {
        unsigned failures = 0;
        INJECT_EACH_POINT
        {
            start(1);
            void *const block = loam_malloc(&mm, KIB(50));
            if (in_pieces)
                shatter();
            settle();
            const uint64_t live = loam_heap_digest(&mm.cpu_heap);
            const uint64_t has = total(LOAM_OWNER_HEAP) - heap_now().record_pages * KIB(4);
            machine_set_interrupts(what < 4); /* realloc writes: nothing far, then */
            INJECT_ARM();
            void *const made = make(what, block);
            INJECT_DISARM();
            machine_set_interrupts(true);
            expect_sound();
            if (made == NULL) {
                failures++;
                settle();
                assert_int_equal(loam_heap_digest(&mm.cpu_heap), live);
                assert_int_equal(total(LOAM_OWNER_HEAP) - heap_now().record_pages * KIB(4), has);
                expect_sound();
            }
        }
        assert_true(failures > 0);
    }
}

static void heap_H25_whatever_fails_nothing_is_lost(void **state)
{
    (void)state;
    expect_no_change(false);
}

static void heap_H25_in_pieces_whatever_fails_nothing_is_lost(void **state)
{
    (void)state;
    expect_no_change(true);
}

/* ---- memory that comes later ----------------------------------------------------- */

static void added_memory_is_the_heaps_too(void **state)
{
    const struct loam_phys_range range = { { GIB(8) }, MIB(64) };
    (void)state;
    start(1);
    machine_add_ram(GIB(8), MIB(64));
    void *const old = loam_malloc(&mm, 100);
    void *const old_large = loam_malloc(&mm, KIB(100));
    const uint64_t map_pages = loam_pagemap_pages(&mm.cpu_heap.map);
    assert_true(map_pages < GIB(8) / KIB(4));
    assert_int_equal(loam_add_memory(&mm, range, LOAM_NODE_NONE), LOAM_OK);
    assert_int_equal(loam_pagemap_pages(&mm.cpu_heap.map), (GIB(8) + MIB(64)) / KIB(4));
    expect_sound();
    frame_count = loam_take_bulk(&mm, LOAM_ZONE_4G, LOAM_OWNER_KERNEL, frames, FRAMES_MAX);
    const uint64_t offset = machine_hhdm().offset;
    void *const block = loam_malloc(&mm, 3000);
    void *const large = loam_malloc(&mm, MIB(3));
    assert_in_range((uint64_t)(uintptr_t)block - offset, GIB(8), GIB(8) + MIB(64));
    assert_in_range((uint64_t)(uintptr_t)large - offset, GIB(8), GIB(8) + MIB(64));
    assert_int_equal(loam_remove_memory(&mm, range), LOAM_OVERLAP);
    expect_sound();
    loam_free(&mm, block);
    loam_free(&mm, large);
    loam_free(&mm, old); /* what was known before is known */
    loam_free(&mm, old_large);
    mend();
    settle();
    expect_sound();
}

static void added_memory_that_the_map_has_no_room_for_is_refused(void **state)
{
    const struct loam_phys_range range = { { GIB(8) }, MIB(64) };
    unsigned failures = 0;
    (void)state;
    INJECT_EACH_POINT
    {
        start(1);
        machine_add_ram(GIB(8), MIB(64));
        loam_free(&mm, loam_malloc(&mm, 100));
        const uint64_t digest = loam_digest(&mm);
        INJECT_ARM();
        const enum loam_status st = loam_add_memory(&mm, range, LOAM_NODE_NONE);
        INJECT_DISARM();
        expect_sound();
        if (st == LOAM_OK)
            continue;
        failures++;
        assert_int_equal(loam_digest(&mm), digest);
    }
    assert_true(failures > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heap_is_charged_for_every_page_it_has),
        cmocka_unit_test(large_block_takes_whole_pages_and_no_more),
        cmocka_unit_test(aligned_block_is_charged_for_its_size_alone),
        cmocka_unit_test(large_block_grows_and_shrinks_in_place),
        cmocka_unit_test(pages_of_the_heap_retire_when_they_are_given_back),
        cmocka_unit_test(cpu_that_goes_gives_back_what_it_had),
        cmocka_unit_test(blocks_are_aligned_in_a_direct_map_that_is_not),
        cmocka_unit_test(malloc_F24_tells_that_memory_is_low),
        cmocka_unit_test(malloc_F25_asks_the_kernel_before_it_fails),
        cmocka_unit_test(malloc_gives_up_its_own_before_it_asks),
        cmocka_unit_test(heap_H25_whatever_fails_nothing_is_lost),
        cmocka_unit_test(heap_H25_in_pieces_whatever_fails_nothing_is_lost),
        cmocka_unit_test(added_memory_is_the_heaps_too),
        cmocka_unit_test(added_memory_that_the_map_has_no_room_for_is_refused),
    };
    return RUN_TESTS(tests);
}
