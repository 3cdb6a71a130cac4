/*
 * freelist_test.c - the linked-list heap by pictures: blocks with header, blocks
 * without, and both beside each other.
 */
#include "freelist_world.h"

#include <sys/mman.h>

/* ---- with header --------------------------------------------------------- */

/*
 *   [free              )[h c )[h b  )[h a )      freed in any order:
 *                                                [free                   )
 */
static void freelist_free_neighbours_become_one(void **state)
{
    static const unsigned orders[6][3] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 },
                                           { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };

    (void)state;
    for (size_t i = 0; i < 6; i++) {
        heap_of(SPAN);
        unsigned char *block[3] = { alloc(100), alloc(200), alloc(300) };
        assert_ptr_equal(block[1], block[0] - 224); /* 200 + 16, rounded */
        assert_ptr_equal(block[2], block[1] - 320);
        for (size_t j = 0; j < 3; j++)
            release(block[orders[i][j]]);
        expect_empty();
        alloc(1); /* the peak stays what it was */
        assert_int_equal(stats().peak_bytes, 128 + 224 + 320);
        assert_int_equal(stats().used_bytes, 32);
    }
}

/* Holes of 64, 256 and 128 bytes beside a large one: each request gets the hole of
 * its size, or one that is a little larger, not the large one. */
static void freelist_takes_a_good_fit(void **state)
{
    (void)state;
    heap_of(SPAN);
    unsigned char *small = alloc(64);
    alloc(1);
    unsigned char *large = alloc(256);
    alloc(1);
    unsigned char *middle = alloc(128);
    alloc(1);
    release(middle);
    release(small);
    release(large);
    assert_int_equal(stats().free_count, 4);
    unsigned char *rest = alloc(stats().largest_free_bytes);
    assert_int_equal(stats().free_count, 3);
    assert_int_equal(stats().largest_free_bytes, 256); /* not the highest, nor the lowest */
    assert_int_equal(stats().largest_take_bytes, 272);
    release(rest);
    assert_ptr_equal(alloc(128), middle);
    assert_ptr_equal(alloc(64), small);
    assert_ptr_equal(alloc(96), large + 160); /* its end */
    assert_ptr_equal(alloc(144), large);
    assert_int_equal(stats().free_count, 1);
}

static void freelist_H01_size_0_is_a_distinct_block(void **state)
{
    (void)state;
    heap_of(SPAN);
    unsigned char *a = alloc(0);
    unsigned char *b = alloc(0);
    unsigned char *c = take(0);
    unsigned char *d = take(0);
    assert_ptr_not_equal(a, b);
    assert_ptr_not_equal(c, d);
    assert_int_equal(stats().used_count, 4);
    assert_int_equal(loam_freelist_usable(&heap, a), 0);
    loam_freelist_free_sized(&heap, a, 0);
    release(b);
    give(c, 0);
    give(d, 16); /* the same after rounding */
    expect_empty();
}

static void expect_no_room(size_t size_bytes, size_t align)
{
    const uint64_t digest = loam_freelist_digest(&heap);
    assert_null(loam_freelist_alloc(&heap, size_bytes, align));
    assert_null(loam_freelist_take(&heap, size_bytes, align));
    assert_int_equal(loam_freelist_digest(&heap), digest);
}

/* Sizes around every edge where an addition could wrap; the largest that fits. */
static void freelist_H02_H04_huge_sizes_are_refused(void **state)
{
    (void)state;
    heap_of(SPAN);
    unsigned char *block = alloc(10);
    unsigned char *bare = take(10);
    for (size_t k = 0; k <= 4096; k++) {
        const struct loam_resize request = { 10, SIZE_MAX - k, 8 };
        expect_no_room(SIZE_MAX - k, 1);
        expect_no_room(((size_t)1 << 63) - 2048 + k, 16);
        expect_no_room(((size_t)1 << 32) - 2048 + k, 16);
        expect_no_room(((size_t)1 << 40) - 2048 + k, 16);
        assert_null(loam_freelist_realloc(&heap, block, SIZE_MAX - k, 16));
        assert_null(loam_freelist_resize(&heap, bare, &request));
    }
    expect_no_room(SPAN, 1);
    const size_t largest = stats().largest_free_bytes;
    assert_null(loam_freelist_alloc(&heap, largest + 1, 1));
    assert_null(loam_freelist_alloc(&heap, largest, 4096));
    assert_null(loam_freelist_take(&heap, stats().largest_take_bytes + 1, 1));
    const size_t largest_take = stats().largest_take_bytes;
    give(take(largest_take), largest_take);
    release(alloc(largest - 1));
    assert_int_equal(loam_freelist_usable(&heap, alloc(largest)), largest);
    assert_int_equal(stats().largest_free_bytes, 0);
    expect_no_room(17, 1);
}

static void freelist_H05_bad_alignment_is_refused(void **state)
{
    static const size_t bad[] = {
        0,  3,        24,           (size_t)1 << 63, ((size_t)1 << 63) + 1,
        17, 1u << 20, SIZE_MAX - 1, SIZE_MAX,        ((size_t)1 << 63) - 1
    };

    (void)state;
    heap_of(SPAN);
    unsigned char *block = alloc(10);
    unsigned char *bare = take(10);
    const uint64_t digest = loam_freelist_digest(&heap);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const struct loam_resize request = { 10, 10, bad[i] };
        expect_no_room(1, bad[i]);
        assert_null(loam_freelist_realloc(&heap, NULL, 1, bad[i]));
        assert_null(loam_freelist_realloc(&heap, block, 1, bad[i]));
        assert_null(loam_freelist_resize(&heap, NULL, &request));
        assert_null(loam_freelist_resize(&heap, bare, &request));
    }
    assert_int_equal(loam_freelist_digest(&heap), digest);
}

/*
 *   align 1024   [free         )[h block )[free      )
 *
 * What is left on both sides of an aligned block is free, usable at once; a size that
 * is no multiple of the alignment is fine.
 */
static void freelist_H05_alignment_leaks_nothing(void **state)
{
    (void)state;
    for (size_t align = 1; align <= 16384; align *= 2) {
        heap_of(SPAN);
        for (size_t size_bytes = 1; size_bytes < 50; size_bytes += 7) {
            unsigned char *block = loam_freelist_alloc(&heap, size_bytes, align);
            unsigned char *bare = loam_freelist_take(&heap, size_bytes, align);
            assert_non_null(block);
            assert_non_null(bare);
            assert_int_equal((uintptr_t)block % align, 0);
            assert_int_equal((uintptr_t)bare % align, 0);
            assert_null(loam_freelist_audit(&heap));
            assert_int_equal(stats().used_bytes,
                             (size_bytes + 31) / 16 * 16 +
                                 (size_bytes > 16 ? (size_bytes + 7) / 8 * 8 : 16));
            release(block);
            give(bare, size_bytes);
            expect_empty();
        }
    }
}

/* ---- realloc ------------------------------------------------------------- */

static void freelist_H06_realloc_in_place(void **state)
{
    (void)state;
    heap_of(SPAN);
    unsigned char *next = alloc(200);
    unsigned char *block = loam_freelist_realloc(&heap, NULL, 100, 64); /* as alloc */
    assert_non_null(block);
    assert_int_equal((uintptr_t)block % 64, 0);
    pattern_write(block, 100, 1);
    assert_ptr_equal(loam_freelist_realloc(&heap, block, 100, 16), block);
    assert_ptr_equal(loam_freelist_realloc(&heap, block, 112, 64), block); /* its own rounding */
    assert_ptr_equal(loam_freelist_realloc(&heap, block, 90, 1), block);
    assert_int_equal(loam_freelist_usable(&heap, block), 90);
    assert_ptr_equal(loam_freelist_realloc(&heap, block, 80, 16), block);
    assert_null(loam_freelist_audit(&heap));
    const size_t used_bytes = stats().used_bytes;
    assert_ptr_equal(loam_freelist_realloc(&heap, block, 81, 16), block);
    assert_int_equal(stats().used_bytes, used_bytes + 16);

    release(next);
    assert_ptr_equal(loam_freelist_realloc(&heap, block, 300, 16), block);
    assert_null(loam_freelist_audit(&heap));
    pattern_check(block, 80, 1);
    assert_ptr_equal(loam_freelist_realloc(&heap, block, 0, 16), block);
    loam_freelist_free_sized(&heap, block, 0);
    expect_empty();
}

static void freelist_H06_H08_realloc_moves_the_contents(void **state)
{
    (void)state;
    heap_of(SPAN);
    alloc(1);
    unsigned char *block = alloc(100);
    pattern_write(block, 100, 3);
    unsigned char *moved = loam_freelist_realloc(&heap, block, 1000, 16);
    assert_non_null(moved);
    assert_ptr_not_equal(moved, block);
    pattern_check(moved, 100, 3);
    assert_int_equal(stats().used_count, 2);
    assert_ptr_equal(alloc(100), block); /* the old place is free */

    /* A greater alignment moves it, too, even to make it smaller. */
    unsigned char *aligned = loam_freelist_realloc(&heap, moved, 50, 8192);
    assert_non_null(aligned);
    assert_int_equal((uintptr_t)aligned % 8192, 0);
    pattern_check(aligned, 50, 3);
    assert_null(loam_freelist_audit(&heap));
}

/* Refused for lack of room: the block is as it was. */
static void freelist_H06_failed_realloc_keeps_the_block(void **state)
{
    (void)state;
    heap_of(2048);
    alloc(500);
    unsigned char *block = alloc(800);
    pattern_write(block, 800, 5);
    const uint64_t digest = loam_freelist_digest(&heap);
    assert_null(loam_freelist_realloc(&heap, block, 900, 16));
    assert_null(loam_freelist_realloc(&heap, block, 2048, 16));
    assert_null(loam_freelist_realloc(&heap, block, 10, 1u << 20));
    assert_null(loam_freelist_realloc(&heap, block, SIZE_MAX, 16));
    assert_int_equal(loam_freelist_digest(&heap), digest);
    pattern_check(block, 800, 5);
    loam_freelist_free_sized(&heap, block, 800);
    assert_null(loam_freelist_audit(&heap));
}

static void freelist_each_failure_changes_nothing(void **state)
{
    unsigned refused = 0;

    (void)state;
    INJECT_EACH_POINT
    {
        heap_of(SPAN_QUICK);
        alloc(1);
        unsigned char *block = alloc(100);
        take(1);
        unsigned char *bare = take(100);
        give(take(40), 40); /* waits */
        pattern_write(block, 100, 9);
        pattern_write(bare, 100, 10);
        const struct loam_resize request = { 100, 1000, 8 };
        const uint64_t digest = loam_freelist_digest(&heap);
        INJECT_ARM();
        void *moved = loam_freelist_realloc(&heap, block, 1000, 16);
        void *moved_bare = loam_freelist_resize(&heap, bare, &request);
        void *quick = loam_freelist_take(&heap, 40, 8);
        void *other = loam_freelist_alloc(&heap, 10, 64);
        INJECT_DISARM();
        assert_null(loam_freelist_audit(&heap));
        pattern_check(moved != NULL ? moved : block, 100, 9);
        pattern_check(moved_bare != NULL ? moved_bare : bare, 100, 10);
        const void *const got[4] = { moved, moved_bare, quick, other };
        unsigned failed = 0;
        for (size_t i = 0; i < 4; i++)
            failed += got[i] == NULL;
        assert_int_equal(failed != 0, inject_fired());
        if (failed == 4)
            assert_int_equal(loam_freelist_digest(&heap), digest);
        assert_int_equal(stats().used_count, 4 + (quick != NULL) + (other != NULL));
        refused += failed;
    }
    assert_int_equal(refused, 4 + 4 + 3 + 2 + 1);
}

/* ---- init ---------------------------------------------------------------- */

static void expect_no_init(void *memory, size_t size_bytes)
{
    struct loam_freelist list;
    struct loam_freelist before;

    memset(&list, 0x5a, sizeof(list));
    before = list;
    assert_int_equal(loam_freelist_init(&list, memory, size_bytes), LOAM_INVALID);
    assert_memory_equal(&list, &before, sizeof(list));
}

static void freelist_init_refuses_what_is_no_span(void **state)
{
    _Alignas(16) static unsigned char memory[1100];
    static const size_t small[] = { 0, 1, 16, 1023 };
    static const size_t huge[] = { ((size_t)1 << 63) - 1, (size_t)1 << 63, SIZE_MAX - 4095,
                                   SIZE_MAX - 1,          SIZE_MAX,        LOAM_FREELIST_MAX + 1 };

    (void)state;
    for (size_t i = 0; i < sizeof(small) / sizeof(small[0]); i++) {
        expect_no_init(memory, small[i]);
        expect_no_init(NULL, small[i]);
    }
    for (size_t i = 0; i < sizeof(huge) / sizeof(huge[0]); i++) {
        expect_no_init(memory, huge[i]);
        expect_no_init(NULL, huge[i]);
    }
    expect_no_init(NULL, 4096);
    expect_no_init((void *)(UINTPTR_MAX - 4095), 4097);
    expect_no_init((void *)(UINTPTR_MAX - 4), 4096);
    expect_no_init(memory + 1, 1024 + 6);
}

/* Every offset and size: blocks lie aligned inside the span. All of it but the table
 * can be had, and written to. */
static void freelist_init_takes_any_alignment(void **state)
{
    (void)state;
    for (size_t offset = 0; offset < 16; offset++) {
        for (size_t size_bytes = 1040; size_bytes < 1060; size_bytes++) {
            struct loam_freelist list;
            unsigned char *memory = malloc(offset + size_bytes); /* ASan guards the end */
            assert_non_null(memory);
            assert_int_equal(loam_freelist_init(&list, memory + offset, size_bytes), LOAM_OK);
            assert_null(loam_freelist_audit(&list));
            const uintptr_t start = (uintptr_t)memory + offset;
            assert_true(list.base >= start && list.base - start < 256);
            assert_true(start + size_bytes >= list.end && start + size_bytes - list.end < 16);
            unsigned char *block = loam_freelist_take(&list, list.end - list.base, 8);
            assert_ptr_equal(block, (void *)(uintptr_t)list.base);
            memset(block, 0xff, list.end - list.base);
            loam_freelist_give(&list, block, list.end - list.base);
            assert_non_null(loam_freelist_alloc(&list, list.end - list.base - OVERHEAD, 16));
            assert_null(loam_freelist_audit(&list));
            free(memory);
        }
    }
}

/* The table grows a level at 64 cells and at 64 * 64; nothing of a span of any size is
 * lost to more than it. */
static void freelist_init_takes_any_size(void **state)
{
    static const size_t sizes[] = { 2048,
                                    64 * 2048 - 2048,
                                    64 * 2048,
                                    64 * 2048 + 4096,
                                    (size_t)64 * 64 * 2048 - 2048,
                                    (size_t)64 * 64 * 2048,
                                    (size_t)64 * 64 * 2048 + 4096,
                                    (size_t)1 << 30,
                                    LOAM_FREELIST_MAX };

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct loam_freelist list;
        unsigned char *memory = mmap(NULL, sizes[i], PROT_READ | PROT_WRITE,
                                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        assert_true(memory != MAP_FAILED);
        assert_int_equal(loam_freelist_init(&list, memory, sizes[i]), LOAM_OK);
        assert_true(list.end - list.base >= sizes[i] - sizes[i] / 1700 - 1600);
        const size_t size_bytes = list.end - list.base;
        unsigned char *high = loam_freelist_alloc(&list, 100, 16);
        unsigned char *middle = loam_freelist_take(&list, size_bytes / 2, 8);
        assert_non_null(high);
        assert_non_null(middle);
        high[99] = 1;
        for (size_t bytes = size_bytes / 4; bytes > 256; bytes /= 2) {
            unsigned char *low = loam_freelist_take(&list, bytes, 8);
            assert_non_null(low);
            low[0] = 1;
        }
        assert_null(loam_freelist_audit(&list));
        loam_freelist_give(&list, middle, size_bytes / 2);
        loam_freelist_free(&list, high);
        assert_null(loam_freelist_audit(&list));
        assert_int_equal(munmap(memory, sizes[i]), 0);
    }
}

/* What an earlier heap at the same place left behind means nothing to the next one. */
static void freelist_init_over_an_old_heap_forgets_it(void **state)
{
    (void)state;
    heap_of(SPAN);
    unsigned char *old[16];
    for (size_t i = 0; i < 16; i++)
        old[i] = alloc(i * 8);
    for (size_t i = 0; i < 16; i += 3)
        release(old[i]);
    assert_int_equal(loam_freelist_init(&heap, span, SPAN), LOAM_OK);
    alloc(1);
    unsigned char *all = take(20000);
    for (size_t i = 0; i < 16; i++)
        EXPECT_PANIC("freelist: not a block of this heap", loam_freelist_free(&heap, old[i]));
    give(all, 20000);
    unsigned char *block = take((size_t)(old[15] - 16 - (unsigned char *)(uintptr_t)heap.base));
    assert_non_null(block);
}

static void freelist_owns_what_lies_in_it(void **state)
{
    (void)state;
    heap_of(SPAN);
    const uintptr_t base = (uintptr_t)heap.base;
    const uintptr_t end = (uintptr_t)heap.end;
    assert_true(loam_freelist_owns(&heap, (void *)base));
    assert_true(loam_freelist_owns(&heap, (void *)(end - 1)));
    assert_false(loam_freelist_owns(&heap, (void *)(base - 1)));
    assert_false(loam_freelist_owns(&heap, (void *)end));
    assert_false(loam_freelist_owns(&heap, NULL));
    assert_false(loam_freelist_owns(&heap, (void *)UINTPTR_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(freelist_free_neighbours_become_one),
        cmocka_unit_test(freelist_takes_a_good_fit),
        cmocka_unit_test(freelist_H01_size_0_is_a_distinct_block),
        cmocka_unit_test(freelist_H02_H04_huge_sizes_are_refused),
        cmocka_unit_test(freelist_H05_bad_alignment_is_refused),
        cmocka_unit_test(freelist_H05_alignment_leaks_nothing),
        cmocka_unit_test(freelist_H06_realloc_in_place),
        cmocka_unit_test(freelist_H06_H08_realloc_moves_the_contents),
        cmocka_unit_test(freelist_H06_failed_realloc_keeps_the_block),
        cmocka_unit_test(freelist_each_failure_changes_nothing),
        cmocka_unit_test(freelist_init_refuses_what_is_no_span),
        cmocka_unit_test(freelist_init_takes_any_alignment),
        cmocka_unit_test(freelist_init_takes_any_size),
        cmocka_unit_test(freelist_init_over_an_old_heap_forgets_it),
        cmocka_unit_test(freelist_owns_what_lies_in_it),
    };
    return RUN_TESTS(tests);
}
