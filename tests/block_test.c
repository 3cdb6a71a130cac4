/*
 * block_test.c - the heap of size classes: pictures, its use of the fallback,
 * and exhaustion. Each over an arena and over a freelist.
 */
#include "block_world.h"

/* ---- classes ------------------------------------------------------------- */

/* The most that rounding up to a class may waste. */
static size_t waste_max(size_t class_bytes)
{
    if (class_bytes <= 32)
        return class_bytes == 8 ? 8 : 7;
    return class_bytes <= 128 ? 15 : class_bytes / 8;
}

/* What a class's blocks are aligned to: what divides its size, with two
 * exceptions. */
static size_t natural_align(size_t class_bytes)
{
    const size_t align = class_bytes & -class_bytes;

    if (class_bytes == 768 || class_bytes == 1792)
        return 128;
    return align < LOAM_BLOCK_ALIGN_MAX ? align : LOAM_BLOCK_ALIGN_MAX;
}

static void alloc_rounds_up_to_a_class(void **state)
{
    size_t classes = 0;
    size_t before = 0;

    (void)state;
    FOR_EACH_FALLBACK(kind)
    {
        heap_of(kind, SPAN);
        for (size_t size_bytes = 0; size_bytes <= LOAM_BLOCK_SIZE_MAX; size_bytes++) {
            unsigned char *block = take(size_bytes);
            const size_t usable = loam_block_usable(&heap, block);
            assert_true(usable >= size_bytes && usable - size_bytes <= waste_max(usable));
            assert_int_equal((uintptr_t)block % natural_align(usable), 0);
            assert_int_equal(stats().used_bytes, usable);
            classes += usable != before;
            before = usable;
            memset(block, 0xff, usable);
            loam_block_free_sized(&heap, block, size_bytes);
            assert_null(loam_block_audit(&heap));
        }
        expect_empty();
    }
    assert_int_equal(classes, FALLBACKS * LOAM_BLOCK_CLASS_COUNT);
}

/*
 *   | header, bits | gap | 0 | 1 | 2 | ... | n - 1 | less than one block |
 *
 * Every block of every class: in address order, one behind the other.
 */
static void alloc_fills_a_chunk_from_its_start(void **state)
{
    (void)state;
    FOR_EACH_FALLBACK(kind)
    {
        heap_of(kind, SPAN);
        for (size_t size_bytes = 8; size_bytes <= LOAM_BLOCK_SIZE_MAX; size_bytes += 8) {
            unsigned char *const first = take(size_bytes);
            unsigned char *const chunk = chunk_of(first);
            const size_t class_bytes = loam_block_usable(&heap, first);
            const size_t gap = (size_t)(first - chunk);
            size_t count = 1;
            memset(first, 0xff, class_bytes);
            for (unsigned char *next = take(size_bytes); chunk_of(next) == chunk;
                 next = take(size_bytes)) {
                assert_ptr_equal(next, first + count * class_bytes);
                memset(next, 0xff, class_bytes);
                count++;
            }
            const size_t bits = (CHUNK / class_bytes + 63) / 64 * 8;
            assert_true(gap >= 56 + 8 && gap < 56 + bits + 8 + natural_align(class_bytes));
            assert_true(CHUNK - 24 - gap - count * class_bytes < class_bytes);
            assert_int_equal(stats().used_count, count + 1);
            assert_int_equal(stats().chunk_count, 2);
            expect_sound();
            give(first);
            heap_of(kind, SPAN);
        }
    }
}

/* One behind the other: nothing is lost between chunks, with either fallback.
 * */
static void chunks_are_dense(void **state)
{
    (void)state;
    FOR_EACH_FALLBACK(kind)
    {
        heap_of(kind, SPAN);
        unsigned char lowest[64] = { 0 };
        size_t count = 0;
        const unsigned char *block;
        while ((block = loam_block_alloc(&heap, 2048, 512)) != NULL && stats().large_count == 0) {
            const size_t number = (size_t)(chunk_of(block) - span) / CHUNK;
            assert_true(number < 64);
            count += lowest[number] == 0;
            lowest[number] = 1;
        }
        assert_int_equal(stats().chunk_count, count);
        assert_true(count >= 62); /* of 64: the ends of the span are not aligned */
    }
}

/* Not the highest, nor the one freed last: blocks gather at a chunk's start. */
static void alloc_takes_the_lowest_free_block(void **state)
{
    unsigned char *block[100];

    (void)state;
    heap_of(OVER_ARENA, SPAN);
    for (size_t i = 0; i < 100; i++)
        block[i] = take(128);
    assert_ptr_equal(chunk_of(block[99]), chunk_of(block[0]));
    give(block[70]);
    give(block[3]);
    give(block[99]);
    assert_ptr_equal(take(128), block[3]);
    assert_ptr_equal(take(128), block[70]);
    assert_ptr_equal(take(128), block[99]);
    expect_sound();
}

static void alloc_H01_size_0_is_a_distinct_block(void **state)
{
    (void)state;
    FOR_EACH_FALLBACK(kind)
    {
        heap_of(kind, SPAN);
        unsigned char *a = take(0);
        unsigned char *b = take(0);
        assert_ptr_not_equal(a, b);
        assert_int_equal(stats().used_count, 2);
        loam_block_free_sized(&heap, a, 0);
        give(b);
        expect_empty();
    }
}

static void expect_no_alloc(size_t size_bytes, size_t align)
{
    const uint64_t digest = loam_block_digest(&heap);
    assert_null(loam_block_alloc(&heap, size_bytes, align));
    assert_int_equal(loam_block_digest(&heap), digest);
}

static void alloc_H02_H04_refuses_sizes_that_overflow(void **state)
{
    (void)state;
    FOR_EACH_FALLBACK(kind)
    {
        heap_of(kind, SPAN);
        unsigned char *small = take(10);
        unsigned char *large = take(5000);
        for (size_t k = 0; k <= 4096; k++) {
            expect_no_alloc(SIZE_MAX - k, 1);
            expect_no_alloc(((size_t)1 << 63) - 2048 + k, 16);
            expect_no_alloc(SIZE_MAX - k, 1024);
            assert_null(resize(small, 10, SIZE_MAX - k, 1));
            assert_null(resize(large, 5000, SIZE_MAX - k, 1));
        }
        expect_no_alloc(SPAN, 1);
        give(small);
        give(large);
        expect_empty();
    }
}

static void alloc_H05_refuses_bad_alignment(void **state)
{
    static const size_t sizes[] = { 0, 1, 8, 100, 2048, 2049, 5000 };

    (void)state;
    FOR_EACH_FALLBACK(kind)
    {
        heap_of(kind, SPAN);
        unsigned char *small = take(10);
        unsigned char *large = take(5000);
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            for (size_t align = 0; align < 1030; align++) {
                if (loam_is_power_of_two(align))
                    continue;
                expect_no_alloc(sizes[i], align);
                assert_null(resize(small, 10, sizes[i], align));
                assert_null(resize(large, 5000, sizes[i], align));
            }
            for (unsigned shift = 21; shift < 64; shift++) {
                if ((uintptr_t)span >> shift == (uintptr_t)(span + SPAN) >> shift)
                    expect_no_alloc(sizes[i], (size_t)1 << shift);
                expect_no_alloc(sizes[i], ((size_t)1 << shift) + 1);
            }
            expect_no_alloc(sizes[i], SIZE_MAX);
        }
        give(small);
        give(large);
        expect_empty();
    }
}

/*
 *   align 64, size 100    | 128 | 128 | ...    the next class that is aligned enough
 *   align 1024            | large |            no class is: the fallback's
 */
static void alloc_H05_serves_any_size_with_any_alignment(void **state)
{
    (void)state;
    FOR_EACH_FALLBACK(kind)
    {
        heap_of(kind, SPAN);
        for (size_t align = 1; align <= 8192; align *= 2) {
            for (size_t size_bytes = 0; size_bytes < 2500; size_bytes += 31) {
                unsigned char *block = loam_block_alloc(&heap, size_bytes, align);
                assert_non_null(block);
                assert_int_equal((uintptr_t)block % align, 0);
                const bool is_large =
                    size_bytes > LOAM_BLOCK_SIZE_MAX || align > LOAM_BLOCK_ALIGN_MAX;
                assert_int_equal(stats().large_count, is_large);
                if (!is_large && align <= size_bytes && loam_is_power_of_two(size_bytes))
                    assert_int_equal(loam_block_usable(&heap, block), size_bytes);
                memset(block, 0xff, loam_block_usable(&heap, block));
                loam_block_free_sized(&heap, block, size_bytes);
                assert_null(loam_block_audit(&heap));
            }
        }
        expect_empty();
    }
    heap_of(OVER_ARENA, SPAN);
    assert_int_equal(loam_block_usable(&heap, loam_block_alloc(&heap, 100, 64)), 128);
    assert_int_equal(loam_block_usable(&heap, loam_block_alloc(&heap, 8, 16)), 16);
    assert_int_equal(loam_block_usable(&heap, loam_block_alloc(&heap, 33, 32)), 64);
    assert_int_equal(loam_block_usable(&heap, loam_block_alloc(&heap, 2032, 32)), 2048);
    assert_int_equal(loam_block_usable(&heap, loam_block_alloc(&heap, 520, 256)), 1024);
    assert_int_equal(loam_block_usable(&heap, loam_block_alloc(&heap, 1, 512)), 512);
    assert_int_equal(loam_block_usable(&heap, loam_block_alloc(&heap, 0, 8)), 8);
}

/* ---- init ---------------------------------------------------------------- */

static void init_wants_exactly_one_fallback(void **state)
{
    const struct loam_block_fallback none = { NULL, NULL };
    const struct loam_block_fallback both = { &freelist, &arena };
    struct loam_block block;
    struct loam_block before;

    (void)state;
    memset(&block, 0x5a, sizeof(block));
    before = block;
    assert_int_equal(loam_block_init(&block, &none), LOAM_INVALID);
    assert_int_equal(loam_block_init(&block, &both), LOAM_INVALID);
    assert_memory_equal(&block, &before, sizeof(block));
}

/* ---- realloc ------------------------------------------------------------- */

static void realloc_H06_within_a_class_is_in_place(void **state)
{
    (void)state;
    FOR_EACH_FALLBACK(kind)
    {
        heap_of(kind, SPAN);
        unsigned char *block = resize(NULL, LOAM_SIZE_UNKNOWN, 120, 1); /* as alloc */
        assert_non_null(block);
        pattern_write(block, 120, 1);
        assert_ptr_equal(resize(block, 120, 120, 1), block);
        assert_ptr_equal(resize(block, 120, 128, 1), block);
        assert_ptr_equal(resize(block, LOAM_SIZE_UNKNOWN, 113, 128), block);
        pattern_check(block, 113, 1);
        loam_block_free_sized(&heap, block, 113);
        unsigned char *empty = take(0);
        assert_ptr_equal(resize(empty, 0, 8, 1), empty);
        assert_ptr_equal(resize(empty, 8, 0, 1), empty);
        give(empty);
        expect_empty();
    }
}

/* Through every pair of sizes: classes, the fallback, and back; the contents
 * come along. */
static void realloc_H06_H08_keeps_the_contents(void **state)
{
    static const size_t sizes[] = { 0, 1, 8, 9, 100, 128, 129, 1000, 2048, 2049, 5000, 40000 };
    static const size_t count = sizeof(sizes) / sizeof(sizes[0]);

    (void)state;
    FOR_EACH_FALLBACK(kind)
    {
        heap_of(kind, SPAN);
        for (size_t i = 0; i < count * count * 2; i++) {
            const size_t from = sizes[i / 2 / count];
            const size_t to = sizes[i / 2 % count];
            const size_t kept = from < to ? from : to;
            unsigned char *block = take(from);
            pattern_write(block, from, (unsigned)i);
            block = resize(block, i % 2 == 0 ? from : LOAM_SIZE_UNKNOWN, to, 64);
            assert_non_null(block);
            assert_int_equal((uintptr_t)block % 64, 0);
            pattern_check(block, kept, (unsigned)i);
            memset(block, 0xff, to);
            expect_sound();
            assert_int_equal(stats().used_count, 1);
            assert_int_equal(stats().large_count, to > LOAM_BLOCK_SIZE_MAX);
            loam_block_free_sized(&heap, block, to);
        }
        expect_empty();
    }
}

/* A block that is not aligned as asked moves, though its class stays. */
static void realloc_moves_to_an_alignment(void **state)
{
    (void)state;
    FOR_EACH_FALLBACK(kind)
    {
        heap_of(kind, SPAN);
        take(24);
        unsigned char *block = take(24);
        pattern_write(block, 24, 3);
        assert_int_not_equal((uintptr_t)block % 64, 0);
        unsigned char *moved = resize(block, 24, 24, 64);
        assert_ptr_not_equal(moved, block);
        assert_int_equal((uintptr_t)moved % 64, 0);
        pattern_check(moved, 24, 3);
        moved = resize(moved, 24, 24, 4096);
        assert_int_equal((uintptr_t)moved % 4096, 0);
        pattern_check(moved, 24, 3);
        assert_int_equal(stats().large_count, 1);
        moved = resize(moved, 24, 20, 8);
        assert_int_equal(stats().large_count, 0);
        pattern_check(moved, 20, 3);
        expect_sound();
    }
}

/* No room: whatever must move stays as it is. */
static void realloc_H06_failed_keeps_the_block(void **state)
{
    (void)state;
    FOR_EACH_FALLBACK(kind)
    {
        heap_of(kind, 4 * CHUNK);
        unsigned char *block = take(100);
        unsigned char *large = take(3000);
        while (loam_block_alloc(&heap, 2048, 1) != NULL)
            continue;
        while (loam_block_alloc(&heap, 8, 1) != NULL)
            continue;
        pattern_write(block, 100, 5);
        pattern_write(large, 3000, 6);
        const uint64_t digest = loam_block_digest(&heap);
        assert_null(resize(block, 100, 200, 1));
        assert_null(resize(block, 100, 5000, 1));
        assert_null(resize(block, 100, 100, 512));
        assert_null(resize(block, 100, 10, 512));
        assert_null(resize(large, 3000, 5000, 1));
        assert_int_equal(loam_block_digest(&heap), digest);
        expect_sound();
        pattern_check(block, 100, 5);
        pattern_check(large, 3000, 6);
        loam_block_free_sized(&heap, block, 100);
        loam_block_free_sized(&heap, large, 3000);
    }
}

/* A block that gets smaller never fails: it stays where it is, and may be freed
 * by the size it has now or by any that its place can hold. */
static void realloc_to_less_without_room_stays(void **state)
{
    (void)state;
    FOR_EACH_FALLBACK(kind)
    {
        heap_of(kind, 4 * CHUNK);
        unsigned char *a = take(1000);
        unsigned char *b = take(1000);
        unsigned char *large = take(3000);
        pattern_write(a, 1000, 7);
        pattern_write(large, 3000, 8);
        while (loam_block_alloc(&heap, 2048, 1) != NULL)
            continue;
        while (loam_block_alloc(&heap, 0, 1) != NULL)
            continue;
        const uint64_t digest = loam_block_digest(&heap);
        assert_ptr_equal(resize(a, 1000, 500, 1), a);
        assert_ptr_equal(resize(a, 500, 200, 8), a);
        pattern_check(a, 200, 7);
        assert_int_equal(loam_block_digest(&heap), digest);
        assert_ptr_equal(resize(large, 3000, 500, 1), large);
        pattern_check(large, 500, 8);
        assert_int_equal(loam_block_usable(&heap, large), 500);
        expect_sound();
        loam_block_free_sized(&heap, a, 200);
        loam_block_free_sized(&heap, b, 1000);
        loam_block_free_sized(&heap, large, 500);
        expect_sound();
    }
}

static void each_failure_changes_nothing(void **state)
{
    unsigned refused = 0;

    (void)state;
    FOR_EACH_FALLBACK(kind)
    {
        INJECT_EACH_POINT
        {
            heap_of(kind, SPAN);
            unsigned char *block = take(100);
            unsigned char *large = take(3000);
            give(take(64)); /* an empty chunk */
            pattern_write(block, 100, 9);
            pattern_write(large, 3000, 10);
            INJECT_ARM();
            for (unsigned i = 0; i < 6; i++) {
                const uint64_t digest = loam_block_digest(&heap);
                void *const result = i == 0   ? loam_block_alloc(&heap, 200, 1)
                                     : i == 1 ? loam_block_alloc(&heap, 300, 1)
                                     : i == 2 ? loam_block_alloc(&heap, 4000, 1)
                                     : i == 3 ? loam_block_alloc(&heap, 8, 2048)
                                     : i == 4 ? resize(block, 100, 700, 1)
                                              : resize(large, 3000, 6000, 1);
                if (result == NULL) {
                    assert_int_equal(loam_block_digest(&heap), digest);
                    assert_true(inject_fired());
                    refused++;
                }
                if (result != NULL && i == 4)
                    block = result;
                if (result != NULL && i == 5)
                    large = result;
                assert_null(loam_block_audit(&heap));
            }
            INJECT_DISARM();
            expect_sound();
            pattern_check(block, 100, 9);
            pattern_check(large, 3000, 10);
        }
    }
    assert_true(refused > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alloc_rounds_up_to_a_class),
        cmocka_unit_test(alloc_fills_a_chunk_from_its_start),
        cmocka_unit_test(chunks_are_dense),
        cmocka_unit_test(alloc_takes_the_lowest_free_block),
        cmocka_unit_test(alloc_H01_size_0_is_a_distinct_block),
        cmocka_unit_test(alloc_H02_H04_refuses_sizes_that_overflow),
        cmocka_unit_test(alloc_H05_refuses_bad_alignment),
        cmocka_unit_test(alloc_H05_serves_any_size_with_any_alignment),
        cmocka_unit_test(init_wants_exactly_one_fallback),
        cmocka_unit_test(realloc_H06_within_a_class_is_in_place),
        cmocka_unit_test(realloc_H06_H08_keeps_the_contents),
        cmocka_unit_test(realloc_moves_to_an_alignment),
        cmocka_unit_test(realloc_H06_failed_keeps_the_block),
        cmocka_unit_test(realloc_to_less_without_room_stays),
        cmocka_unit_test(each_failure_changes_nothing),
    };
    return RUN_TESTS(tests);
}
