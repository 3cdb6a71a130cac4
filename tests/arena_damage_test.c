/*
 * arena_damage_test.c - overflows and underflows are found at the free, whatever
 * lies behind or before, and named. What is written after free is arena_freed_test.c's.
 */
#include "arena_world.h"

static const unsigned char fills[] = { 0x00, 0xff, 'A' };
static const size_t lengths[] = { 1, 2, 4, 8, 32 };

/* What may lie behind a block. */
enum next { NEXT_USED, NEXT_FREE, NEXT_WAITING, NEXT_END, NEXT_COUNT };

/* A block with that behind it. */
static unsigned char *block_before(enum next next, size_t size_bytes, size_t span_bytes)
{
    unsigned char *behind = NULL;

    heap_of(span_bytes);
    take(20);
    if (next == NEXT_END) /* all but what it takes */
        take(stats().largest_free_bytes - cost_of(size_bytes));
    unsigned char *block = take(size_bytes);
    if (next != NEXT_END) {
        behind = take(next == NEXT_FREE ? 1500 : 100);
        assert_int_equal(behind - block, cost_of(size_bytes) - tag_of(size_bytes) + 4);
        take(30);
    }
    if (next == NEXT_FREE || next == NEXT_WAITING)
        give(behind);
    if (next == NEXT_FREE)
        loam_arena_merge(heap);
    assert_int_equal(heap->deferred_count, next == NEXT_WAITING ? 1 : 0);
    return block;
}

/* The damaged block is refused by one of the functions that take it; and the audit
 * sees the damage. */
static void expect_overflow(enum call call, unsigned char *block, size_t size_bytes)
{
    expect_panic(call, block, size_bytes, OVERFLOWED, block);
    assert_non_null(loam_arena_audit(heap));
}

/* Fill behind a block. @return false: that changed nothing */
static bool overflow(unsigned char *at, size_t length, unsigned char fill)
{
    bool changed = false;

    for (size_t i = 0; i < length; i++) {
        changed = changed || at[i] != fill;
        at[i] = fill;
    }
    return changed;
}

/*
 *   tag | bytes asked for ......X padding | tag     from 1 byte on, with the bytes
 *                               ^^^^^^^^^^^^^^^      that overflows are made of
 *
 * H17: a zero one past the end is an overflow like any other.
 */
static void arena_H16_H17_overflow_of_every_size_panics(void **state)
{
    unsigned nth = 0;

    (void)state;
    for (size_t size_bytes = 1; size_bytes <= 300; size_bytes++) {
        for (enum next next = 0; next < NEXT_COUNT; next++) {
            for (size_t i = 0; i < 3 * 5; i++) {
                unsigned char *block = block_before(next, size_bytes, 4096);
                const size_t room = next == NEXT_END ? cost_of(size_bytes) - size_bytes : 32;
                const size_t length = lengths[i / 3] < room ? lengths[i / 3] : room;
                const bool changed = overflow(block + size_bytes, length, fills[i % 3]);
                if (length > 1 || cost_of(size_bytes) - size_bytes > 4)
                    assert_true(changed);
                if (changed)
                    expect_overflow((enum call)(nth++ % 4), block, size_bytes);
            }
        }
    }
}

/* The same for larger blocks, with and without padding, short and long tags. */
static void arena_H16_H17_overflow_of_large_blocks_panics(void **state)
{
    static const size_t sizes[] = { 1000, 1020, 5000, 5004, 16356, 16357, 16364, 40000, 40004 };

    (void)state;
    for (size_t j = 0; j < sizeof(sizes) / sizeof(sizes[0]); j++) {
        for (size_t size_bytes = sizes[j] - 8; size_bytes <= sizes[j] + 8; size_bytes++) {
            for (size_t i = 0; i < 3 * 5; i++) {
                unsigned char *block =
                    block_before((enum next)(size_bytes % 3), size_bytes, 160 * KIB);
                if (overflow(block + size_bytes, lengths[i / 3], fills[i % 3]))
                    expect_overflow((enum call)(i % 4), block, size_bytes);
            }
        }
    }
}

/*
 * Overflows of every length in the padding, by every byte; also in padding longer
 * than its rounding, because the hole was larger or the block is aligned. One passes:
 * 0xa4 as the block's last byte is the padding of a block that has one byte of it.
 */
static void arena_H16_every_overflow_into_the_padding_panics(void **state)
{
    unsigned char was[128];

    (void)state;
    for (size_t nth = 0; nth < 40 * 6; nth++) {
        const size_t size_bytes = nth / 6;
        heap_of(4096);
        unsigned char *hole = take(size_bytes + nth % 6 * 8);
        take(1);
        take_the_rest();
        give(hole);
        loam_arena_merge(heap);
        const size_t used_bytes = heap->used_bytes;
        unsigned char *block = loam_arena_alloc(heap, size_bytes, nth % 3 == 2 ? 16 : 8);
        if (block == NULL)
            continue; /* no place in the hole is aligned so */
        memset(block, 0x3c, size_bytes);
        const size_t length = heap->used_bytes - used_bytes - 4 - size_bytes;
        assert_true(length <= sizeof(was));
        memcpy(was, block + size_bytes, length);
        for (size_t i = 1; i <= length; i++) {
            for (unsigned fill = 0; fill < 256; fill += i == 1 || i == length ? 1 : 37) {
                const bool changed = overflow(block + size_bytes, i, (unsigned char)fill);
                if (changed && (fill != 0xa4 || i < length))
                    expect_overflow(FREE, block, size_bytes);
                memcpy(block + size_bytes, was, length);
            }
        }
        give(block);
    }
}

/* Memory that was shrunk in place is padding from then on. */
static void arena_H16_overflow_of_a_resized_block_panics(void **state)
{
    (void)state;
    for (size_t old_size = 20; old_size < 80; old_size++) {
        for (size_t size_bytes = 0; size_bytes <= old_size; size_bytes += 3) {
            for (size_t i = 0; i < 3; i++) {
                heap_of(4096);
                unsigned char *block = take(old_size);
                take(20);
                memset(block, fills[(i + 1) % 3], old_size);
                assert_ptr_equal(loam_arena_realloc(heap, block, size_bytes, 1), block);
                assert_null(loam_arena_audit(heap));
                const size_t tail = cost_of(size_bytes) - 4 - size_bytes;
                if (overflow(block + size_bytes, 1, fills[i]))
                    expect_overflow(FREE, block, size_bytes);
                else
                    assert_int_equal(tail, 0); /* only a tag may have such a byte */
            }
        }
    }
}

/*
 *   | block ..... X|X tag | next |      each bit of the next tag; freeing next then
 *                                       names next, freeing block names block
 */
static void arena_H16_H22_each_bit_of_a_tag_counts(void **state)
{
    static const size_t sizes[] = { 20, 100, 5000, 30000 };

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        const size_t tag = sizes[i] < BIG_FROM ? 4 : BIG_TAG;
        for (size_t bit = 0; bit < tag * 8; bit++) {
            heap_of(SPAN);
            take(20);
            unsigned char *block = take(1000 - 4 * (bit % 2)); /* padded or not */
            unsigned char *next = take(sizes[i]);
            take(20);
            next[bit / 8 - tag] ^= (unsigned char)(1u << bit % 8);
            if (bit < 32) /* the first tag */
                expect_overflow(FREE, block, 0);
            /* A long tag whose first bytes are damaged may not tell that it is long. */
            const bool is_known =
                panics(FREE, next, 0) && panic_trap.seen.subject == (uintptr_t)next;
            unsigned char *subject = is_known || bit >= 32 ? next : next - tag + 4;
            expect_refused(next, sizes[i], DAMAGED_TAG, subject);
            assert_non_null(loam_arena_audit(heap));
            expect_refused(next + 8, sizes[i], DAMAGED_TAG, subject); /* named, not guessed */
            next[bit / 8 - tag] ^= (unsigned char)(1u << bit % 8);
            assert_null(loam_arena_audit(heap));
        }
    }
}

/* An overflow from one block through the next is found at both. */
static void arena_H16_long_overflow_is_found_at_both_ends(void **state)
{
    (void)state;
    for (size_t length = 33; length < 1500; length += 7) {
        heap_of(8192);
        take(20);
        unsigned char *block = take(50);
        unsigned char *next = take(1000);
        take(2000);
        memset(block + 50, 0, length);
        expect_refused(block, 50, OVERFLOWED, block);
        expect_refused(next, 1000, DAMAGED_TAG, next);
        assert_non_null(loam_arena_audit(heap));
    }
}

/* The end mark is all there is behind the last block. While that is free, damage
 * to the mark is seen by the audit; at the latest the block's own free panics. */
static void arena_H16_each_bit_of_the_mark_counts(void **state)
{
    (void)state;
    for (size_t bit = 0; bit < 32; bit++) {
        for (size_t is_free = 0; is_free < 2; is_free++) {
            heap_of(4096);
            take(500);
            const size_t rest = stats().largest_free_bytes;
            unsigned char *last = take(rest);
            if (is_free)
                give(last);
            memory[4092 + bit / 8] ^= (unsigned char)(1u << bit % 8);
            assert_non_null(loam_arena_audit(heap));
            if (is_free && panics(ALLOC, NULL, rest))
                assert_string_equal(panic_trap.seen.rule, DAMAGED);
            else
                expect_refused(last, 0, OVERFLOWED, last);
        }
    }
}

/* ---- underflow ----------------------------------------------------------- */

/* 1 to 8 bytes before a block, whatever is before. */
static void arena_H16_underflow_panics(void **state)
{
    static const size_t sizes[] = { 0, 8, 24, 100, 1000, 5000, 30000 };
    static const size_t before_sizes[] = { 20, 25, 996, 1500, 20000 };

    (void)state;
    for (size_t i = 0; i < 7 * 5 * 2 * 3 * 8; i++) {
        const size_t size_bytes = sizes[i % 7];
        const bool is_freed = i / 7 / 5 % 2 == 1;
        const unsigned char fill = fills[i / 7 / 5 / 2 % 3];
        const size_t length = i / 7 / 5 / 2 / 3 + 1;
        heap_of(60 * KIB);
        take(20);
        unsigned char *before = take(before_sizes[i / 7 % 5]);
        unsigned char *block = take(size_bytes);
        take(20);
        if (is_freed)
            give(before);
        if (!overflow(block - length, length, fill))
            continue;
        expect_refused(block, size_bytes, DAMAGED_TAG, block);
        assert_non_null(loam_arena_audit(heap));
        if (!is_freed && size_bytes < BIG_FROM)
            expect_refused(before, before_sizes[i / 7 % 5], OVERFLOWED, before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_H16_H17_overflow_of_every_size_panics),
        cmocka_unit_test(arena_H16_H17_overflow_of_large_blocks_panics),
        cmocka_unit_test(arena_H16_every_overflow_into_the_padding_panics),
        cmocka_unit_test(arena_H16_overflow_of_a_resized_block_panics),
        cmocka_unit_test(arena_H16_H22_each_bit_of_a_tag_counts),
        cmocka_unit_test(arena_H16_long_overflow_is_found_at_both_ends),
        cmocka_unit_test(arena_H16_each_bit_of_the_mark_counts),
        cmocka_unit_test(arena_H16_underflow_panics),
    };
    return RUN_TESTS(tests);
}
