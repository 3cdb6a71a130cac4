/*
 * arena_span_test.c - spans: claimed, extended, truncated and released. Many of
 * them at once are arena_span_many_test.c's.
 */
#include "arena_world.h"

static enum loam_status claim(size_t offset, size_t size_bytes)
{
    const enum loam_status status = loam_arena_claim(heap, lend(offset, size_bytes), size_bytes);

    assert_null(loam_arena_audit(heap));
    return status;
}

/* What follows a request that is refused: nothing has changed. */
#define EXPECT_REFUSED(expected, call)                      \
    do {                                                    \
        loam_arena_merge(heap);                             \
        const uint64_t digest_ = loam_arena_digest(heap);   \
        assert_int_equal((call), (expected));               \
        assert_int_equal(loam_arena_digest(heap), digest_); \
        assert_null(loam_arena_audit(heap));                \
    } while (0)

/* ---- claim --------------------------------------------------------------- */

static void arena_without_spans_serves_nothing(void **state)
{
    (void)state;
    heap_without_spans();
    expect_no_alloc(0, 1);
    expect_no_alloc(100, 4096);
    EXPECT_REFUSED(LOAM_NOT_FOUND, loam_arena_release(heap, memory));
    EXPECT_REFUSED(LOAM_NOT_FOUND, loam_arena_extend(heap, memory, SPAN));
    EXPECT_REFUSED(LOAM_NOT_FOUND, loam_arena_truncate(heap, memory, SPAN));
    EXPECT_REFUSED(0, loam_arena_span_needed(heap, memory));
    assert_false(loam_arena_owns(heap, memory));
    assert_false(loam_arena_owns(heap, NULL));
    struct loam_arena_block block = { { 0 }, 0, 0, LOAM_ARENA_USED };
    assert_false(loam_arena_next(heap, &block));
    assert_int_equal(stats().largest_free_bytes, 0);
    assert_int_equal(stats().span_count, 0);
}

static void arena_claim_refuses_what_is_no_span(void **state)
{
    static const size_t huge[] = { ((size_t)1 << 63) - 1, (size_t)1 << 63, SIZE_MAX - 4095,
                                   SIZE_MAX - 1, SIZE_MAX };

    (void)state;
    heap_without_spans();
    for (size_t offset = 0; offset < 16; offset++) {
        for (size_t size_bytes = 0; size_bytes < LOAM_ARENA_SPAN_MIN; size_bytes++)
            EXPECT_REFUSED(LOAM_INVALID, loam_arena_claim(heap, memory + offset, size_bytes));
        for (size_t i = 0; i < 5; i++)
            EXPECT_REFUSED(LOAM_INVALID, loam_arena_claim(heap, memory + offset, huge[i]));
    }
    for (size_t size_bytes = 0; size_bytes < 4 * KIB; size_bytes += 64)
        EXPECT_REFUSED(LOAM_INVALID, loam_arena_claim(heap, NULL, size_bytes));
    EXPECT_REFUSED(LOAM_INVALID, loam_arena_claim(heap, (void *)(UINTPTR_MAX - 4095), 4097));
    EXPECT_REFUSED(LOAM_INVALID, loam_arena_claim(heap, (void *)(UINTPTR_MAX - 4), 4096));
    EXPECT_REFUSED(LOAM_INVALID, loam_arena_claim(heap, (void *)(UINTPTR_MAX - 255), 256));
}

/* Every offset and size: nothing outside the span is touched (it is poisoned), at
 * most 128 bytes of it are not for blocks, and all of it is given back. */
static void arena_claim_takes_any_alignment(void **state)
{
    (void)state;
    for (size_t offset = 0; offset < 16; offset++) {
        for (size_t size_bytes = LOAM_ARENA_SPAN_MIN; size_bytes < 600; size_bytes++) {
            heap_without_spans();
            unsigned char *span = lend(64 + offset, size_bytes);
            const enum loam_status status = loam_arena_claim(heap, span, size_bytes);
            if (status != LOAM_OK) {
                assert_int_equal(status, LOAM_INVALID);
                assert_true(size_bytes - LOAM_ARENA_SPAN_MIN < 14 && offset + size_bytes % 8 != 0);
                continue;
            }
            assert_null(loam_arena_audit(heap));
            const size_t largest = stats().largest_free_bytes;
            assert_true(size_bytes - largest <= 128);
            unsigned char *block = take(largest);
            assert_true(block >= span && largest <= (size_t)(span + size_bytes - block));
            memset(block, 0xff, largest);
            EXPECT_REFUSED(LOAM_OVERLAP, loam_arena_release(heap, span));
            give(block);
            assert_int_equal(loam_arena_release(heap, span), LOAM_OK);
            take_back(64 + offset, size_bytes);
            assert_null(loam_arena_audit(heap));
            assert_int_equal(stats().span_bytes, 0);
        }
    }
}

/*
 *        [claimed    )          every overlap, by as little as a byte, is refused;
 *     [  )   [ )    [ )         touching is not
 */
static void arena_claim_refuses_overlaps(void **state)
{
    static const size_t from[] = { 0, 1, 7, 8, 511, 512, 1000, 1535, 1536, 1537, 2000 };

    (void)state;
    for (size_t low = 0; low < 2; low++) {
        for (size_t i = 0; i < sizeof(from) / sizeof(from[0]); i++) {
            for (size_t end = from[i] + 600; end < 2600; end += i % 2 == 0 ? 1 : 8) {
                heap_without_spans();
                lend(0, 4096);
                const size_t start = 1024 + low * 3;
                const size_t limit = 1536 + low * 29;
                assert_int_equal(loam_arena_claim(heap, memory + start, limit - start), LOAM_OK);
                take(50);
                if (from[i] < limit && start < end)
                    EXPECT_REFUSED(LOAM_OVERLAP,
                                   loam_arena_claim(heap, memory + from[i], end - from[i]));
                else
                    assert_int_equal(loam_arena_claim(heap, memory + from[i], end - from[i]),
                                     LOAM_OK);
                assert_null(loam_arena_audit(heap));
            }
        }
    }
}

/* ---- extend -------------------------------------------------------------- */

/*
 *   [ free      )              [ free             )        one block
 *   [ block     )              [ block    | free  )
 */
static void arena_extend_adds_to_the_free_end(void **state)
{
    (void)state;
    for (size_t is_used = 0; is_used < 2; is_used++) {
        heap_of(SPAN);
        const size_t largest = stats().largest_free_bytes;
        if (is_used)
            pattern_write(take(largest), largest, 1);
        lend(SPAN, SPAN);
        EXPECT_REFUSED(LOAM_INVALID, loam_arena_extend(heap, memory, SPAN - 1));
        EXPECT_REFUSED(LOAM_INVALID, loam_arena_extend(heap, memory, 0));
        EXPECT_REFUSED(LOAM_INVALID, loam_arena_extend(heap, memory, SIZE_MAX));
        EXPECT_REFUSED(LOAM_INVALID, loam_arena_extend(heap, memory, SIZE_MAX - MEMORY_AT));
        EXPECT_REFUSED(LOAM_NOT_FOUND, loam_arena_extend(heap, memory + 8, 2 * SPAN));
        EXPECT_REFUSED(LOAM_NOT_FOUND, loam_arena_extend(heap, memory + SPAN, SPAN));
        EXPECT_REFUSED(LOAM_NOT_FOUND, loam_arena_extend(heap, NULL, SPAN));
        EXPECT_REFUSED(LOAM_OK, loam_arena_extend(heap, memory, SPAN));
        assert_int_equal(loam_arena_extend(heap, memory, 2 * SPAN), LOAM_OK);
        assert_null(loam_arena_audit(heap));
        assert_int_equal(stats().span_bytes, 2 * SPAN);
        assert_int_equal(stats().span_count, 1);
        assert_int_equal(stats().free_count, 1);
        assert_true(stats().largest_free_bytes + 64 > (is_used ? SPAN : largest + SPAN));
        take(stats().largest_free_bytes);
    }
}

/* Byte by byte, with the end free, in use, and waiting: nothing is lost. */
static void arena_extend_by_little_loses_nothing(void **state)
{
    for (size_t step = 1; step < 40; step++) {
        for (size_t end = 0; end < 3; end++) {
            (void)state;
            heap_of(1024);
            const size_t largest = stats().largest_free_bytes;
            unsigned char *block = take(largest - 104);
            unsigned char *last = take(100);
            if (end == 1)
                give(last);
            if (end == 2)
                give(block);
            size_t size_bytes = 1024;
            for (size_t i = 0; i < 60; i++) {
                lend(size_bytes, step);
                size_bytes += step;
                assert_int_equal(loam_arena_extend(heap, memory, size_bytes), LOAM_OK);
                assert_null(loam_arena_audit(heap));
            }
            if (end != 2)
                give(block);
            if (end != 1)
                give(last);
            expect_empty();
            /* Less than a block and the rounding may wait for the next extension. */
            assert_true(stats().largest_free_bytes - largest + 24 + 7 > 60 * step);
            assert_int_equal(loam_arena_truncate(heap, memory, 1024), LOAM_OK);
            assert_null(loam_arena_audit(heap));
            assert_int_equal(stats().largest_free_bytes, largest);
        }
    }
}

static void arena_extend_refuses_to_run_into_another_span(void **state)
{
    (void)state;
    heap_without_spans();
    lend(0, 8192);
    assert_int_equal(loam_arena_claim(heap, memory, 1024), LOAM_OK);
    assert_int_equal(loam_arena_claim(heap, memory + 4099, 1024), LOAM_OK);
    EXPECT_REFUSED(LOAM_OVERLAP, loam_arena_extend(heap, memory, 4100));
    EXPECT_REFUSED(LOAM_OVERLAP, loam_arena_extend(heap, memory, 8192));
    assert_int_equal(loam_arena_extend(heap, memory, 4099), LOAM_OK);
    assert_null(loam_arena_audit(heap));
    assert_int_equal(stats().span_count, 2);
    expect_empty();
}

/* ---- truncate ------------------------------------------------------------ */

/*
 *   [ block | free              )
 *   [ block | free )                 each size down to what the block needs
 */
static void arena_truncate_gives_back_the_free_end(void **state)
{
    (void)state;
    for (size_t used = 0; used < 700; used += 100) {
        heap_of(2048);
        const size_t largest = stats().largest_free_bytes;
        unsigned char *block = take(used);
        give(take(60)); /* waits right behind it */
        pattern_write(block, used, 4);
        const size_t needed = loam_arena_span_needed(heap, memory);
        const size_t blocks_end = (size_t)(block - memory) - 4 + cost_of(used) + 4;
        assert_int_equal(needed, blocks_end > 512 ? blocks_end : 512);
        EXPECT_REFUSED(LOAM_INVALID, loam_arena_truncate(heap, memory, 2049));
        EXPECT_REFUSED(LOAM_INVALID, loam_arena_truncate(heap, memory, SIZE_MAX));
        EXPECT_REFUSED(LOAM_INVALID, loam_arena_truncate(heap, memory, 0));
        EXPECT_REFUSED(LOAM_INVALID, loam_arena_truncate(heap, memory, 511));
        EXPECT_REFUSED(LOAM_NOT_FOUND, loam_arena_truncate(heap, memory + 8, 1024));
        EXPECT_REFUSED(LOAM_NOT_FOUND, loam_arena_truncate(heap, NULL, 1024));
        EXPECT_REFUSED(LOAM_OK, loam_arena_truncate(heap, memory, 2048));
        EXPECT_REFUSED(needed > 512 ? LOAM_OVERLAP : LOAM_INVALID,
                       loam_arena_truncate(heap, memory, needed - 1));
        for (size_t size_bytes = 2047; size_bytes >= needed; size_bytes--) {
            assert_int_equal(loam_arena_truncate(heap, memory, size_bytes), LOAM_OK);
            take_back((size_bytes + 7) / 8 * 8, 2048 - (size_bytes + 7) / 8 * 8);
            assert_null(loam_arena_audit(heap));
            assert_int_equal(stats().span_bytes, size_bytes);
            assert_int_equal(loam_arena_span_needed(heap, memory), needed);
        }
        pattern_check(block, used, 4);
        lend(needed, 2048 - needed);
        assert_int_equal(loam_arena_extend(heap, memory, 2048), LOAM_OK);
        give(block);
        expect_empty();
        assert_int_equal(stats().largest_free_bytes, largest);
    }
}

/* Blocks in use or free at the end: what is needed is where the last one ends. */
static void arena_truncate_refuses_to_cut_blocks(void **state)
{
    (void)state;
    for (size_t size_bytes = 0; size_bytes < 3000; size_bytes += 61) {
        heap_of(SPAN);
        unsigned char *low = take(40);
        unsigned char *last = take_aligned(size_bytes, 4096);
        give(low);
        const size_t needed = loam_arena_span_needed(heap, memory);
        assert_true(memory + needed >= last + size_bytes + 4);
        assert_true(memory + needed < last + size_bytes + 4 + 56);
        for (size_t less = 1; less < 100; less++)
            EXPECT_REFUSED(LOAM_OVERLAP, loam_arena_truncate(heap, memory, needed - less));
        EXPECT_REFUSED(LOAM_OVERLAP, loam_arena_truncate(heap, memory, 512));
        EXPECT_REFUSED(LOAM_OVERLAP, loam_arena_release(heap, memory));
        assert_int_equal(loam_arena_truncate(heap, memory, needed), LOAM_OK);
        assert_null(loam_arena_audit(heap));
        memset(last, 0xff, size_bytes);
        loam_arena_free_sized(heap, last, size_bytes);
        expect_empty();
        assert_int_equal(loam_arena_span_needed(heap, memory), 512);
        assert_int_equal(loam_arena_release(heap, memory), LOAM_OK);
    }
}

/* What was cut off is the caller's again: an address in it is not looked at. */
static void arena_H12_truncated_memory_is_foreign(void **state)
{
    (void)state;
    heap_of(8192);
    unsigned char *first = take(100);
    unsigned char *last = take_aligned(1000, 4096);
    give(last); /* in this span something was done last */
    expect_already_free(last);
    const size_t needed = loam_arena_span_needed(heap, memory);
    assert_int_equal(loam_arena_truncate(heap, memory, needed), LOAM_OK);
    lent_count = 0;
    take_back(1024, 8192 - 1024);
    for (size_t offset = 1024; offset < 8192; offset += 8)
        expect_no_block(memory + offset);
    assert_false(loam_arena_owns(heap, last));
    give(first);
    assert_int_equal(loam_arena_release(heap, memory), LOAM_OK);
    take_back(0, 8192);
    for (size_t offset = 0; offset < 8192; offset += 8)
        expect_no_block(memory + offset);
}

/* What is left is a block as soon as it can be one: of 24 bytes. */
static void arena_truncate_leaves_the_smallest_block(void **state)
{
    (void)state;
    for (size_t left = 0; left < 64; left++) {
        heap_of(4096);
        take(1000);
        const size_t needed = loam_arena_span_needed(heap, memory);
        assert_int_equal(loam_arena_truncate(heap, memory, needed + left), LOAM_OK);
        assert_null(loam_arena_audit(heap));
        assert_int_equal(stats().free_bytes, left < 24 ? 0 : left / 8 * 8);
        if (left >= 24)
            take(left / 8 * 8 - 4);
        else
            expect_no_alloc(0, 1);
    }
}

enum span_call { EXTEND, TRUNCATE, RELEASE, NEEDED };

static void make_span_call(enum span_call call)
{
    switch (call) {
    case EXTEND:
        (void)!loam_arena_extend(heap, memory, 8192);
        break;
    case TRUNCATE:
        (void)!loam_arena_truncate(heap, memory, 2048);
        break;
    case RELEASE:
        (void)!loam_arena_release(heap, memory);
        break;
    case NEEDED:
        (void)!loam_arena_span_needed(heap, memory);
        break;
    }
}

/*
 *   [ block | free ..... X| mark X )      whoever moves the end looks at it first
 */
static void expect_span_panic(enum span_call call, int byte)
{
    heap_of(4096);
    unsigned char *block = take(1000);
    give(take(3000));
    loam_arena_merge(heap);
    lend(4096, 4096);
    memory[4096 + byte] ^= 0x10;
    EXPECT_PANIC(byte < -4 ? DAMAGED : DAMAGED_TAG, make_span_call(call));
    if (byte >= -4)
        assert_int_equal(panic_trap.seen.subject, MEMORY_AT + 4096);
    assert_int_equal(heap->span_bytes, 4096);
    memory[4096 + byte] ^= 0x10;
    assert_null(loam_arena_audit(heap)); /* nothing else has changed */
    give(block);
}

static void arena_H16_span_with_a_damaged_end_panics(void **state)
{
    (void)state;
    for (enum span_call call = EXTEND; call <= NEEDED; call++) {
        for (int byte = -8; byte < 0; byte++) /* footer and mark */
            expect_span_panic(call, byte);
    }
}

/* ---- release ------------------------------------------------------------- */

static void arena_release_takes_free_spans_only(void **state)
{
    (void)state;
    heap_without_spans();
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(claim(i * SPAN, SPAN), LOAM_OK); /* they touch */
    unsigned char *large = take(SPAN / 2);
    unsigned char *small = take(24);
    EXPECT_REFUSED(LOAM_NOT_FOUND, loam_arena_release(heap, memory + 8));
    EXPECT_REFUSED(LOAM_NOT_FOUND, loam_arena_release(heap, large));
    EXPECT_REFUSED(LOAM_NOT_FOUND, loam_arena_release(heap, NULL));
    EXPECT_REFUSED(LOAM_NOT_FOUND, loam_arena_release(heap, memory + 3 * SPAN));
    unsigned released = 0;
    for (size_t i = 0; i < 3; i++) {
        unsigned char *span = memory + i * SPAN;
        const bool is_used =
            (large >= span && large < span + SPAN) || (small >= span && small < span + SPAN);
        EXPECT_REFUSED(LOAM_NOT_FOUND, loam_arena_release(heap, span + 16));
        if (is_used) {
            EXPECT_REFUSED(LOAM_OVERLAP, loam_arena_release(heap, span));
            continue;
        }
        assert_int_equal(loam_arena_release(heap, span), LOAM_OK);
        take_back(i * SPAN, SPAN);
        EXPECT_REFUSED(LOAM_NOT_FOUND, loam_arena_release(heap, span));
        assert_false(loam_arena_owns(heap, span + 1000));
        released++;
    }
    assert_true(released >= 1);
    assert_int_equal(stats().span_count, 3 - released);
    give(large);
    give(small); /* waits: release merges it */
    for (size_t i = 0; i < 3; i++)
        (void)!loam_arena_release(heap, memory + i * SPAN);
    assert_null(loam_arena_audit(heap));
    assert_int_equal(stats().span_count, 0);
    assert_int_equal(stats().span_bytes, 0);
    expect_no_alloc(0, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_without_spans_serves_nothing),
        cmocka_unit_test(arena_claim_refuses_what_is_no_span),
        cmocka_unit_test(arena_claim_takes_any_alignment),
        cmocka_unit_test(arena_claim_refuses_overlaps),
        cmocka_unit_test(arena_extend_adds_to_the_free_end),
        cmocka_unit_test(arena_extend_by_little_loses_nothing),
        cmocka_unit_test(arena_extend_refuses_to_run_into_another_span),
        cmocka_unit_test(arena_truncate_gives_back_the_free_end),
        cmocka_unit_test(arena_truncate_refuses_to_cut_blocks),
        cmocka_unit_test(arena_H12_truncated_memory_is_foreign),
        cmocka_unit_test(arena_truncate_leaves_the_smallest_block),
        cmocka_unit_test(arena_H16_span_with_a_damaged_end_panics),
        cmocka_unit_test(arena_release_takes_free_spans_only),
    };
    return RUN_TESTS(tests);
}
