/*
 * heap_test.c - malloc and its family: sizes, alignments, resizing, what is left when all
 * is freed.
 */
#include "heap_world.h"

#include "../src/internal/heap_class.h"

static void *alloc(size_t size_bytes)
{
    void *const block = loam_heap_alloc(&heap, size_bytes);
    assert_non_null(block);
    return block;
}

static void release(void *block)
{
    loam_heap_free(&heap, block);
}

static bool is_filled(const void *block, unsigned char value, size_t size_bytes)
{
    const unsigned char *const byte = block;

    for (size_t i = 0; i < size_bytes; i++) {
        if (byte[i] != value)
            return false;
    }
    return true;
}

/* ---- setup ------------------------------------------------------------------------- */

static void a_heap_for_no_cpu_or_no_memory_is_refused(void **state)
{
    struct loam_pagemap_setup setup = window_map();

    (void)state;
    assert_int_equal(loam_heap_init(&heap, &setup, 0), LOAM_INVALID);
    assert_int_equal(loam_heap_init(&heap, &setup, LOAM_CPUS_MAX + 1), LOAM_INVALID);
    setup.memory_bytes--;
    assert_int_equal(loam_heap_init(&heap, &setup, 1), LOAM_INVALID);
}

static void two_heaps_are_apart(void **state)
{
    static struct loam_heap other;
    static uint64_t table[WINDOW_PAGES / LOAM_PAGEMAP_SPREAD];
    struct loam_pagemap_setup setup;

    (void)state;
    heap_on(1);
    setup = window_setup();
    setup.memory = table;
    assert_int_equal(loam_heap_init(&other, &setup, 1), LOAM_OK);
    void *const one = alloc(100);
    void *const two = loam_heap_alloc(&other, 100);
    EXPECT_PANIC("heap: not a block of this heap", loam_heap_free(&heap, two));
    world_irq_is_off = false;
    EXPECT_PANIC("heap: not a block of this heap", loam_heap_free(&other, one));
    world_irq_is_off = false;
    release(one);
    loam_heap_free(&other, two);
    assert_null(loam_heap_audit(&other));
    assert_null(loam_heap_audit(&heap));
}

/* ---- sizes --------------------------------------------------------------------------- */

static void h01_blocks_of_no_bytes_differ(void **state)
{
    (void)state;
    heap_on(1);
    void *const one = alloc(0);
    void *const two = alloc(0);
    assert_ptr_not_equal(one, two);
    void *const three = loam_heap_calloc(&heap, 0, 5);
    assert_non_null(three);
    release(one);
    release(two);
    release(three);
    expect_all_given_back();
}

static void every_size_gets_its_class_and_all_its_bytes(void **state)
{
    (void)state;
    heap_on(1);
    for (size_t size = 1; size <= LOAM_HEAP_SMALL_MAX + 5000; size += 1 + size / 100) {
        unsigned char *const block = alloc(size);
        const size_t usable = loam_heap_usable(&heap, block);
        assert_true(usable >= size);
        assert_true(usable - size < 16 || usable - size <= size / 4 ||
                    usable % LOAM_PAGE_SIZE == 0);
        assert_int_equal(loam_virt_of(block).addr % (size < 16 ? 8 : 16), 0);
        memset(block, 0x77, usable); /* ASan notices what is not the heap's */
        if (size % 2 == 0)
            loam_heap_free_sized(&heap, block, size);
        else
            release(block);
    }
    expect_all_given_back();
}

static void size_classes_rise_and_are_the_least_that_fit(void **state)
{
    (void)state;
    assert_int_equal(heap_class_of(LOAM_HEAP_SMALL_MAX), LOAM_HEAP_CLASSES - 1);
    for (unsigned class = 1; class < LOAM_HEAP_CLASSES; class ++) {
        assert_true(heap_class_bytes(class) > (class == 1 ? 0 : heap_class_bytes(class - 1)));
        assert_int_equal(heap_class_of(heap_class_bytes(class)), class);
        if (class > 1)
            assert_int_equal(heap_class_of(heap_class_bytes(class - 1) + 1), class);
    }
}

static void h02_h04_sizes_that_nothing_has_room_for_are_refused(void **state)
{
    (void)state;
    heap_on(1);
    const uint64_t digest = loam_heap_digest(&heap);
    for (size_t k = 0; k <= 4096; k++) {
        assert_null(loam_heap_alloc(&heap, SIZE_MAX - k));
        assert_null(loam_heap_calloc(&heap, 1, SIZE_MAX - k));
        assert_null(loam_heap_alloc_aligned(&heap, 4096, SIZE_MAX - k));
    }
    assert_null(loam_heap_alloc(&heap, (size_t)1 << 63));
    assert_null(loam_heap_alloc(&heap, PAGES(WINDOW_PAGES) + 1));
    assert_int_equal(loam_heap_digest(&heap), digest);
    expect_all_given_back();
}

static void h03_products_that_overflow_are_refused(void **state)
{
    (void)state;
    heap_on(1);
    assert_null(loam_heap_calloc(&heap, (size_t)1 << 32, (size_t)1 << 32)); /* 0 */
    assert_null(loam_heap_calloc(&heap, SIZE_MAX, 2));
    assert_null(loam_heap_calloc(&heap, SIZE_MAX / 3 + 1, 3)); /* 1, or so */
    assert_null(loam_heap_calloc(&heap, SIZE_MAX, SIZE_MAX));
    void *const block = loam_heap_calloc(&heap, 3, 5);
    assert_true(is_filled(block, 0, 15));
    release(block);
    expect_all_given_back();
}

static void what_calloc_gives_is_zero_whatever_was_there(void **state)
{
    static const size_t sizes[] = { 1, 16, 100, 5000, 65536, 65537, 300000 };

    (void)state;
    for (unsigned zeroes = 0; zeroes < 2; zeroes++) {
        heap_on(1);
        world.gives_zeroes = zeroes == 1;
        for (unsigned round = 0; round < 3; round++) {
            for (size_t i = 0; i < COUNT(sizes); i++) {
                void *const block = loam_heap_calloc(&heap, 1, sizes[i]);
                assert_true(is_filled(block, 0, sizes[i]));
                memset(block, 0xff, sizes[i]);
                release(block);
            }
        }
        expect_all_given_back();
    }
}

/* ---- alignment ------------------------------------------------------------------------- */

static void h05_alignments_are_exact_or_refused(void **state)
{
    static const size_t bad[] = { 0, 3, 24, 48, SIZE_MAX, ((size_t)1 << 63) + 1 };

    (void)state;
    heap_on(1);
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_null(loam_heap_alloc_aligned(&heap, bad[i], 100));
    assert_null(loam_heap_alloc_aligned(&heap, (size_t)1 << 63, 1));
    assert_null(loam_heap_alloc_aligned(&heap, (size_t)1 << 62, (size_t)1 << 62));
    for (size_t align = 1; align <= MIB(4); align *= 2) {
        for (size_t size = 0; size <= 300000; size = size * 3 + 1) {
            void *const one = loam_heap_alloc_aligned(&heap, align, size);
            void *const two = loam_heap_alloc_aligned(&heap, align, size);
            assert_non_null(one);
            assert_int_equal(loam_virt_of(one).addr % align, 0);
            assert_int_equal(loam_virt_of(two).addr % align, 0);
            assert_ptr_not_equal(one, two);
            memset(one, 1, size);
            memset(two, 2, size);
            assert_true(is_filled(one, 1, size));
            loam_heap_free_sized(&heap, one, size);
            release(two);
        }
    }
    expect_all_given_back();
}

/* ---- resize ------------------------------------------------------------------------------ */

static void h06_resize_of_nothing_allocates_and_to_nothing_keeps(void **state)
{
    (void)state;
    heap_on(1);
    void *block = loam_heap_realloc(&heap, NULL, 100);
    assert_non_null(block);
    assert_int_equal(heap_stats().live_count, 1);
    block = loam_heap_realloc(&heap, block, 0);
    assert_non_null(block); /* a block of no bytes, to be freed as any */
    assert_int_equal(heap_stats().live_count, 1);
    release(block);
    block = alloc(100);
    assert_ptr_equal(loam_heap_realloc(&heap, block, 100), block);
    assert_ptr_equal(loam_heap_realloc(&heap, block, 112), block);
    assert_ptr_equal(loam_heap_realloc(&heap, block, 60), block);
    release(block);
    expect_all_given_back();
}

static void h08_resized_blocks_keep_their_bytes(void **state)
{
    static const size_t sizes[] = { 1,     10,     100,   1000,  70000, 200000, 65536,
                                    65537, 500000, 90000, 66000, 3000,  17,     0,
                                    24,    131072, 69632, 69633, 8 };
    unsigned char *block = NULL;
    size_t have = 0;

    (void)state;
    for (unsigned extends = 0; extends < 2; extends++) {
        heap_on(1);
        world.extends = extends == 1;
        block = NULL;
        have = 0;
        for (size_t i = 0; i < COUNT(sizes); i++) {
            block = loam_heap_realloc(&heap, block, sizes[i]);
            assert_non_null(block);
            const size_t kept = have < sizes[i] ? have : sizes[i];
            assert_true(is_filled(block, (unsigned char)i, kept));
            memset(block, (int)i + 1, sizes[i]);
            have = sizes[i];
            expect_sound();
        }
        release(block);
        expect_all_given_back();
    }
}

static void a_large_block_grows_and_shrinks_where_it_is(void **state)
{
    (void)state;
    heap_on(1);
    void *const block = alloc(PAGES(20));
    assert_ptr_equal(loam_heap_realloc(&heap, block, PAGES(40)), block);
    assert_int_equal(loam_heap_usable(&heap, block), PAGES(40));
    assert_ptr_equal(loam_heap_realloc(&heap, block, PAGES(18)), block);
    assert_int_equal(loam_heap_usable(&heap, block), PAGES(18));
    expect_sound();
    void *const behind = alloc(PAGES(20)); /* right behind it */
    void *const moved = loam_heap_realloc(&heap, block, PAGES(19));
    assert_ptr_not_equal(moved, block);
    release(moved);
    release(behind);
    expect_all_given_back();
}

static void h06_a_resize_that_fails_leaves_the_block(void **state)
{
    unsigned refused = 0;

    (void)state;
    static const size_t from[] = { 100, 3000, 100000 }, to[] = { 500, 100000, 900000 };
    for (size_t i = 0; i < COUNT(from); i++) {
        INJECT_EACH_POINT
        {
            heap_on(1);
            void *const block = alloc(from[i]);
            memset(block, 0x3c, from[i]);
            const uint64_t digest = loam_heap_digest(&heap);
            INJECT_ARM();
            void *const moved = loam_heap_realloc(&heap, block, to[i]);
            INJECT_DISARM();
            if (moved == NULL) {
                refused++;
                assert_int_equal(loam_heap_digest(&heap), digest);
            }
            void *const now = moved == NULL ? block : moved;
            assert_true(is_filled(now, 0x3c, from[i]));
            expect_sound();
            release(now);
            expect_all_given_back();
        }
    }
    assert_true(refused >= 6);
}

/* ---- memory that runs out -------------------------------------------------------------- */

static void h25_a_block_for_which_there_is_no_memory_changes_nothing(void **state)
{
    static const size_t sizes[] = { 1, 100, 5000, 60000, 65537, 1000000 };
    unsigned refused = 0;

    (void)state;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        INJECT_EACH_POINT
        {
            heap_on(1);
            const uint64_t digest = loam_heap_digest(&heap);
            INJECT_ARM();
            void *const block = loam_heap_alloc(&heap, sizes[i]);
            INJECT_DISARM();
            refused += block == NULL;
            if (block == NULL)
                assert_int_equal(loam_heap_digest(&heap), digest);
            expect_sound();
            release(block);
            release(alloc(sizes[i])); /* memory is back */
            expect_all_given_back();
        }
    }
    assert_true(refused >= 4 * COUNT(sizes));
}

/* Free blocks at hand of another CPU do not make a request fail for
 * good: trim reaches them. */
static void all_memory_can_be_used_again_for_another_size(void **state)
{
    static void *block[20000];

    (void)state;
    heap_on(2);
    world.out_most = 1000;
    for (unsigned round = 0; round < 6; round++) {
        static const size_t sizes[] = { 64, 1000, 5000, 100000, 16, 300 };
        size_t count = 0;
        world_cpu = round % 2;
        while (count < COUNT(block) &&
               (block[count] = loam_heap_alloc(&heap, sizes[round])) != NULL)
            memset(block[count++], 0x42, sizes[round]);
        assert_true(count == COUNT(block) || count * sizes[round] >= PAGES(700));
        expect_sound();
        for (size_t i = 0; i < count; i++)
            release(block[i]);
        expect_sound();
        trim_all();
    }
    expect_all_given_back();
}

/* ---- CPUs -------------------------------------------------------------------------------- */

static void a_cpu_the_heap_was_not_told_of_goes_around_lists(void **state)
{
    void *block[100];

    (void)state;
    heap_on(2);
    world_cpu = 9;
    for (unsigned i = 0; i < COUNT(block); i++)
        block[i] = alloc(i * 50);
    assert_int_equal(heap_stats().magazine_count, 0);
    expect_sound();
    for (unsigned i = 0; i < COUNT(block); i++)
        release(block[i]);
    (void)loam_heap_trim(&heap);
    loam_heap_trim_cpu(&heap, 9);
    world_cpu = 0;
    expect_all_given_back();
}

/* CPU 0 allocates, CPU 1 frees: what waits stays bounded, counts are conserved. */
static void h15_blocks_freed_on_another_cpu_do_not_pile_up(void **state)
{
    uint64_t most = 0;

    (void)state;
    heap_on(2);
    for (unsigned round = 0; round < 3000; round++) {
        void *block[32];
        world_cpu = 0;
        for (unsigned i = 0; i < COUNT(block); i++)
            block[i] = alloc(64);
        world_cpu = 1;
        for (unsigned i = 0; i < COUNT(block); i++)
            release(block[i]);
        most = world.out > most ? world.out : most;
    }
    assert_true(most < 40); /* 96,000 blocks are 1500 pages */
    expect_all_given_back();
}

static void h38_a_cpu_that_goes_gives_all_back(void **state)
{
    (void)state;
    heap_on(4);
    for (world_cpu = 0; world_cpu < 4; world_cpu++) {
        for (size_t size = 1; size < 3000; size *= 3)
            release(alloc(size));
    }
    world_cpu = 0;
    const uint64_t before = heap_stats().magazine_count;
    loam_heap_trim_cpu(&heap, 3);
    assert_true(heap_stats().magazine_count < before);
    expect_sound();
    expect_all_given_back();
}

static void h36_trim_gives_back_once_and_asks_other_cpus(void **state)
{
    (void)state;
    heap_on(2);
    assert_int_equal(loam_heap_trim(&heap), 0);
    world_cpu = 1;
    release(alloc(4000));
    world_cpu = 0;
    release(alloc(300));
    (void)loam_heap_trim(&heap);
    const uint64_t rest = heap_stats().slab_pages;
    assert_true(rest > 0); /* CPU 1 has some */
    world_cpu = 1;
    release(alloc(50)); /* its next visit */
    world_cpu = 0;
    (void)loam_heap_trim(&heap);
    assert_true(heap_stats().slab_pages <= 1); /* what that visit took */
    world_cpu = 1;
    release(alloc(50));
    (void)loam_heap_trim(&heap);
    assert_int_equal(heap_stats().slab_pages, 0);
    assert_int_equal(loam_heap_trim(&heap), 0);
    expect_all_given_back();
}

/* Within a trim, or a request that the page source makes while this CPU is in its lists. */
static void trim_within(void)
{
    void (*const visit)(void) = world.visit;

    world.visit = NULL;
    (void)loam_heap_trim(&heap);
    world.visit = visit;
}

static void h36_trim_by_who_is_in_the_lists_is_done_later(void **state)
{
    void *block[500];

    (void)state;
    heap_on(1);
    world.visit = trim_within;
    for (unsigned i = 0; i < COUNT(block); i++)
        block[i] = alloc(i);
    world.visit = NULL;
    expect_sound();
    for (unsigned i = 0; i < COUNT(block); i++)
        release(block[i]);
    expect_all_given_back();
}

/* ---- handlers ------------------------------------------------------------------------------ */

static void *of_handler[256];
static unsigned of_handler_count;

static void handler(void)
{
    void (*const visit)(void) = world.visit;

    world.visit = NULL;
    for (size_t size = 16; size <= 100000 && of_handler_count < COUNT(of_handler); size *= 9) {
        void *const block = loam_heap_alloc(&heap, size);
        if (block == NULL)
            continue;
        memset(block, 0xee, size);
        of_handler[of_handler_count++] = block;
    }
    if (of_handler_count > 8)
        release(of_handler[--of_handler_count]);
    world.visit = visit;
}

/* It comes while this CPU is in its lists to fill them. */
static void h27_a_handler_inside_gets_other_blocks(void **state)
{
    void *block[1000];

    (void)state;
    heap_on(1);
    of_handler_count = 0;
    world.visit = handler;
    for (unsigned i = 0; i < COUNT(block); i++) {
        block[i] = alloc(16 + i % 7 * 128);
        memset(block[i], 0x11, 16 + i % 7 * 128);
    }
    world.visit = NULL;
    assert_true(of_handler_count > 8);
    for (unsigned i = 0; i < COUNT(block); i++)
        assert_true(is_filled(block[i], 0x11, 16 + i % 7 * 128));
    for (unsigned i = 0; i < of_handler_count; i++)
        assert_int_equal(*(unsigned char *)of_handler[i], 0xee);
    assert_int_equal(heap_stats().live_count, COUNT(block) + of_handler_count);
    expect_sound();
    for (unsigned i = 0; i < COUNT(block); i++)
        release(block[i]);
    for (unsigned i = 0; i < of_handler_count; i++)
        release(of_handler[i]);
    expect_all_given_back();
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_heap_for_no_cpu_or_no_memory_is_refused),
    cmocka_unit_test(two_heaps_are_apart),
    cmocka_unit_test(h01_blocks_of_no_bytes_differ),
    cmocka_unit_test(every_size_gets_its_class_and_all_its_bytes),
    cmocka_unit_test(size_classes_rise_and_are_the_least_that_fit),
    cmocka_unit_test(h02_h04_sizes_that_nothing_has_room_for_are_refused),
    cmocka_unit_test(h03_products_that_overflow_are_refused),
    cmocka_unit_test(what_calloc_gives_is_zero_whatever_was_there),
    cmocka_unit_test(h05_alignments_are_exact_or_refused),
    cmocka_unit_test(h06_resize_of_nothing_allocates_and_to_nothing_keeps),
    cmocka_unit_test(h08_resized_blocks_keep_their_bytes),
    cmocka_unit_test(a_large_block_grows_and_shrinks_where_it_is),
    cmocka_unit_test(h06_a_resize_that_fails_leaves_the_block),
    cmocka_unit_test(h25_a_block_for_which_there_is_no_memory_changes_nothing),
    cmocka_unit_test(all_memory_can_be_used_again_for_another_size),
    cmocka_unit_test(a_cpu_the_heap_was_not_told_of_goes_around_lists),
    cmocka_unit_test(h15_blocks_freed_on_another_cpu_do_not_pile_up),
    cmocka_unit_test(h38_a_cpu_that_goes_gives_all_back),
    cmocka_unit_test(h36_trim_gives_back_once_and_asks_other_cpus),
    cmocka_unit_test(h36_trim_by_who_is_in_the_lists_is_done_later),
    cmocka_unit_test(h27_a_handler_inside_gets_other_blocks),
};

int main(void)
{
    return RUN_TESTS(tests);
}
