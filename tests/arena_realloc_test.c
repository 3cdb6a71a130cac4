/*
 * arena_realloc_test.c - resizing: where it is, upwards, down into what is free
 * before, or elsewhere; contents are kept, failures change nothing.
 */
#include "arena_world.h"

/* Every other time with the old size. */
static unsigned char *resize_aligned(unsigned char *block, size_t size_bytes, size_t align)
{
    static unsigned calls;
    const struct loam_resize resize = { block == NULL ? 5 : loam_arena_usable(heap, block),
                                        size_bytes, align };
    unsigned char *moved = calls++ % 2 == 0 ? loam_arena_realloc_sized(heap, block, &resize)
                                            : loam_arena_realloc(heap, block, size_bytes, align);

    assert_non_null(moved);
    assert_null(loam_arena_audit(heap));
    assert_int_equal((uintptr_t)moved % align, 0);
    assert_int_equal(loam_arena_usable(heap, moved), size_bytes);
    return moved;
}

static unsigned char *resize(unsigned char *block, size_t size_bytes)
{
    return resize_aligned(block, size_bytes, 8);
}

static void expect_no_resize(unsigned char *block, size_t size_bytes, size_t align)
{
    loam_arena_merge(heap);
    const uint64_t digest = loam_arena_digest(heap);
    const size_t asked = loam_arena_usable(heap, block);
    const struct loam_resize resize = { asked, size_bytes, align };
    assert_null(loam_arena_realloc(heap, block, size_bytes, align));
    assert_null(loam_arena_realloc_sized(heap, block, &resize));
    assert_null(loam_arena_audit(heap));
    assert_int_equal(loam_arena_digest(heap), digest);
    assert_int_equal(loam_arena_usable(heap, block), asked);
}

static void arena_H06_realloc_of_null_is_alloc(void **state)
{
    (void)state;
    heap_of(SPAN);
    unsigned char *block = resize(NULL, 100);
    assert_int_equal(stats().used_count, 1);
    assert_int_equal((uintptr_t)resize_aligned(NULL, 0, 4096) % 4096, 0);
    assert_int_equal(stats().used_count, 2);
    assert_null(loam_arena_realloc(heap, NULL, SPAN, 8));
    give(block);
}

/*
 *   | block 100 | next 200 | x |      within its own memory, and into what is free
 *   | block 300 .......... | x |      behind
 */
static void arena_H06_realloc_in_place(void **state)
{
    (void)state;
    heap_of(SPAN);
    unsigned char *block = take(100);
    unsigned char *next = take(1500);
    take_the_rest();
    pattern_write(block, 100, 1);
    for (size_t size_bytes = 100; size_bytes-- > 0;)
        assert_ptr_equal(resize(block, size_bytes), block);
    loam_arena_merge(heap); /* what was cut off may wait */
    for (size_t size_bytes = 0; size_bytes <= 100; size_bytes++)
        assert_ptr_equal(resize(block, size_bytes), block);
    expect_no_resize(block, 101, 8); /* its padding is used up */
    give(next);
    loam_arena_merge(heap);
    const size_t all = (size_t)(next - block) + 1500;
    pattern_write(block, 100, 1);
    for (size_t size_bytes = 100; size_bytes <= all; size_bytes++)
        assert_ptr_equal(resize(block, size_bytes), block);
    pattern_check(block, 100, 1);
    loam_arena_merge(heap);
    assert_int_equal(stats().free_count, 0);
    expect_no_resize(block, all + 1, 8);
    pattern_write(block, all, 2);
    for (size_t size_bytes = all; size_bytes-- > 0;) {
        assert_ptr_equal(resize(block, size_bytes), block);
        assert_true(stats().free_bytes + 24 > all - size_bytes);
    }
    loam_arena_free_sized(heap, block, 0);
    loam_arena_merge(heap);
    assert_int_equal(stats().largest_free_bytes, all);
}

/* What is cut off a block joins what is free behind it, is useful at once, and
 * counts; each size from each size, in place where it is smaller. */
static void arena_H06_shrinking_gives_back(void **state)
{
    static const size_t sizes[] = { 0, 20, 21, 44, 1012, 1020, 2000, 16356, 17000, 40000 };

    (void)state;
    for (size_t i = 0; i < 10; i++) {
        for (size_t j = 0; j < i; j++) {
            for (size_t is_free = 0; is_free < 2; is_free++) {
                heap_of(2 * SPAN);
                unsigned char *block = take(sizes[i]);
                unsigned char *next = take(3000);
                take_the_rest();
                if (is_free)
                    give(next);
                pattern_write(block, sizes[i], 5);
                const size_t used_bytes = heap->used_bytes;
                assert_ptr_equal(resize(block, sizes[j]), block);
                pattern_check(block, sizes[j], 5);
                const size_t cut = used_bytes - heap->used_bytes;
                assert_true(cut <= sizes[i] - sizes[j] + 7);
                assert_true(cut + 48 > sizes[i] - sizes[j]);
                assert_int_equal(heap->used_bytes + stats().free_bytes,
                                 used_bytes + (is_free ? cost_of(3000) : 0));
                assert_true(stats().free_count <= 1);
                give(block);
                loam_arena_merge(heap);
                assert_int_equal(stats().free_count, 1);
            }
        }
    }
}

/*
 *   | free 5000 | block 2000 | used      no other room: down, over its own old place
 *   | block 6500             | used
 */
static void arena_H06_H08_realloc_down_into_free_memory(void **state)
{
    (void)state;
    for (size_t size_bytes = 2001; size_bytes <= 7008; size_bytes += 53) {
        for (size_t behind = 0; behind < 2; behind++) {
            heap_of(SPAN);
            unsigned char *before = take(4988);
            unsigned char *block = take(2000);
            unsigned char *next = take(1004);
            take_the_rest();
            pattern_write(block, 2000, 3);
            give(before);
            if (behind != 0)
                give(next);
            const size_t wanted = size_bytes + (behind != 0 ? 1000 : 0);
            unsigned char *moved = resize(block, wanted);
            pattern_check(moved, 2000, 3);
            if (wanted > 4988 && wanted > 3008) /* else it may be elsewhere in the same memory */
                assert_ptr_equal(moved, before);
            memset(moved, 0xff, wanted);
            assert_null(loam_arena_audit(heap));
            loam_arena_free_sized(heap, moved, wanted);
            loam_arena_merge(heap);
        }
    }
}

/* Neither what is free before nor what is behind is enough, but both are; one byte
 * more is not. */
static void arena_H06_realloc_both_ways(void **state)
{
    static const size_t sizes[] = { 20, 100, 900, 2000, 5000 };

    (void)state;
    for (size_t i = 0; i < 5; i++) {
        heap_of(SPAN);
        unsigned char *before = take(1996);
        unsigned char *block = take(sizes[i]);
        unsigned char *next = take(1996);
        take_the_rest();
        give(before);
        give(next);
        const size_t all = (size_t)(next - before) + 1996;
        pattern_write(block, sizes[i], 7);
        expect_no_resize(block, all + 1, 8);
        pattern_check(block, sizes[i], 7);
        unsigned char *moved = resize(block, all);
        assert_ptr_equal(moved, before);
        pattern_check(moved, sizes[i], 7);
        assert_int_equal(stats().free_count, 0);
        memset(moved, 0, all);
        give(moved);
    }
}

static void arena_H06_H08_realloc_moves_the_contents(void **state)
{
    static const size_t sizes[] = { 0, 20, 100, 1012, 1013, 5000, 16356, 16357, 40000 };

    (void)state;
    for (size_t i = 0; i < 9; i++) {
        for (size_t j = i + 1; j < 9; j++) {
            heap_of(4 * SPAN);
            unsigned char *block = take(sizes[i]);
            take(2000);
            pattern_write(block, sizes[i], 9);
            unsigned char *moved = resize(block, sizes[j]);
            assert_int_equal(stats().used_count, 2);
            pattern_check(moved, sizes[i], 9);
            pattern_write(moved, sizes[j], 10);
            moved = resize(moved, sizes[i]);
            pattern_check(moved, sizes[i], 10);
            give(moved);
            assert_int_equal(stats().used_count, 1);
        }
    }
}

/* A result as aligned as asked: in place if the block happens to be, else moved. */
static void arena_H05_H06_realloc_aligns(void **state)
{
    (void)state;
    for (size_t align = 1; align <= 64 * KIB; align *= 2) {
        heap_of(1024 * KIB);
        take(24);
        unsigned char *block = take(100);
        pattern_write(block, 100, 11);
        block = resize_aligned(block, 50, align);
        pattern_check(block, 50, 11);
        assert_ptr_equal(resize_aligned(block, 50, align), block);
        block = resize_aligned(block, 5000, align);
        pattern_check(block, 50, 11);
        assert_ptr_equal(resize_aligned(block, 60, align), block);
        block = resize_aligned(block, 40000, align);
        pattern_check(block, 50, 11);
        block = resize(block, 70000);
        pattern_check(block, 50, 11);
        give(block);
        assert_int_equal(stats().used_count, 1);
    }
}

/* Moved for its alignment alone, into a waiting block that is smaller than it was: no
 * more is copied than the new size. */
static void arena_H06_H08_realloc_aligns_and_shrinks(void **state)
{
    (void)state;
    for (size_t align = 16; align <= 4096; align *= 2) {
        for (size_t size_bytes = 0; size_bytes < 600; size_bytes += 50) {
            heap_of(SPAN);
            unsigned char *place = take_aligned(size_bytes, align);
            take(1);
            unsigned char *block = take(600);
            while ((uintptr_t)block % align == 0)
                block = take(600);
            pattern_write(block, 600, 12);
            give(place);
            block = resize_aligned(block, size_bytes, align);
            pattern_check(block, size_bytes, 12);
            loam_arena_free_sized(heap, block, size_bytes);
            assert_null(loam_arena_audit(heap));
        }
    }
}

static void arena_H06_failed_realloc_keeps_the_block(void **state)
{
    static const size_t sizes[] = { 20, 100, 2000, 20000 };

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        heap_of(SPAN);
        unsigned char *block = take(sizes[i]);
        take_the_rest();
        pattern_write(block, sizes[i], 5);
        for (size_t more = 24; more < 2 * SPAN; more *= 2)
            expect_no_resize(block, sizes[i] + more, 8);
        expect_no_resize(block, SIZE_MAX, 8);
        expect_no_resize(block, SIZE_MAX / 2, 8);
        expect_no_resize(block, sizes[i], (size_t)1 << 40);
        expect_no_resize(block, 0, (size_t)1 << 63);
        expect_no_resize(block, sizes[i], 0);
        expect_no_resize(block, sizes[i], 24);
        pattern_check(block, sizes[i], 5);
        loam_arena_free_sized(heap, block, sizes[i]);
        assert_null(loam_arena_audit(heap));
    }
}

/* Blocks grow side by side, as vectors do; every step's contents are kept. */
static void arena_H08_growing_neighbours_keep_their_contents(void **state)
{
    enum { COUNT = 8 };
    unsigned char *block[COUNT] = { NULL };
    size_t size_bytes[COUNT] = { 0 };

    (void)state;
    heap_of(16 * SPAN);
    for (size_t step = 0; step < 400; step++) {
        const size_t i = test_random_below(COUNT);
        const size_t wanted = size_bytes[i] + size_bytes[i] / 2 + test_random_below(40);
        if (wanted > 60 * KIB) {
            pattern_check(block[i], size_bytes[i], (unsigned)i);
            block[i] = resize(block[i], size_bytes[i] / 100);
            size_bytes[i] /= 100;
        } else {
            block[i] = resize(block[i], wanted);
            pattern_check(block[i], size_bytes[i], (unsigned)i);
            size_bytes[i] = wanted;
        }
        pattern_write(block[i], size_bytes[i], (unsigned)i);
    }
    for (size_t i = 0; i < COUNT; i++) {
        pattern_check(block[i], size_bytes[i], (unsigned)i);
        loam_arena_free_sized(heap, block[i], size_bytes[i]);
    }
    expect_empty();
}

/* Small blocks while blocks wait: from every size to every other one, in place or to
 * a block that waits. */
static void arena_H06_H08_realloc_of_small_blocks(void **state)
{
    (void)state;
    heap_of(16 * SPAN);
    unsigned char *waiting[60];
    for (size_t i = 0; i < 60; i++)
        waiting[i] = take(i * 5);
    for (size_t i = 0; i < 60; i += 2)
        give(waiting[i]);
    for (size_t from = 0; from < 300; from += 3) {
        for (size_t to = 0; to < 300; to += 7) {
            unsigned char *block = take(from);
            const struct loam_resize resize = { from, to, 4 };
            pattern_write(block, from, 7);
            unsigned char *moved = loam_arena_realloc_sized(heap, block, &resize);
            assert_null(loam_arena_audit(heap));
            pattern_check(moved, from < to ? from : to, 7);
            assert_int_equal(loam_arena_usable(heap, moved), to);
            if (to <= from)
                assert_ptr_equal(moved, block);
            loam_arena_free_sized(heap, moved, to);
        }
    }
    for (size_t i = 1; i < 60; i += 2)
        loam_arena_free_sized(heap, waiting[i], i * 5);
    expect_empty();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_H06_realloc_of_null_is_alloc),
        cmocka_unit_test(arena_H06_realloc_in_place),
        cmocka_unit_test(arena_H06_shrinking_gives_back),
        cmocka_unit_test(arena_H06_H08_realloc_down_into_free_memory),
        cmocka_unit_test(arena_H06_realloc_both_ways),
        cmocka_unit_test(arena_H06_H08_realloc_moves_the_contents),
        cmocka_unit_test(arena_H05_H06_realloc_aligns),
        cmocka_unit_test(arena_H06_H08_realloc_aligns_and_shrinks),
        cmocka_unit_test(arena_H06_failed_realloc_keeps_the_block),
        cmocka_unit_test(arena_H08_growing_neighbours_keep_their_contents),
        cmocka_unit_test(arena_H06_H08_realloc_of_small_blocks),
    };
    return RUN_TESTS(tests);
}
