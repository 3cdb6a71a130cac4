/*
 * arena_span_many_test.c - hundreds of spans, touching and with holes between them that
 * must not be read.
 */
#include "arena_world.h"

static enum loam_status claim(size_t offset, size_t size_bytes)
{
    const enum loam_status status = loam_arena_claim(heap, lend(offset, size_bytes), size_bytes);

    assert_null(loam_arena_audit(heap));
    return status;
}

#define SLOTS     500u
#define SLOT      (8 * KIB) /* two pages: a span, then a hole that nobody can read */
#define SLOT_SPAN (4 * KIB)

static bool is_claimed[SLOTS];

static void open_slot(size_t i)
{
    assert_int_equal(mprotect(memory + i * SLOT, SLOT_SPAN, PROT_READ | PROT_WRITE), 0);
    lend(i * SLOT, SLOT_SPAN);
    assert_int_equal(loam_arena_claim(heap, memory + i * SLOT, SLOT_SPAN), LOAM_OK);
    is_claimed[i] = true;
}

static void close_slot(size_t i)
{
    assert_int_equal(loam_arena_release(heap, memory + i * SLOT), LOAM_OK);
    take_back(i * SLOT, SLOT_SPAN);
    assert_int_equal(mprotect(memory + i * SLOT, SLOT_SPAN, PROT_NONE), 0);
    is_claimed[i] = false;
}

static void expect_spans(size_t count)
{
    struct loam_arena_block block = { { 0 }, 0, 0, LOAM_ARENA_USED };
    size_t slot = 0;

    assert_null(loam_arena_audit(heap));
    assert_int_equal(heap->span_count, count);
    assert_int_equal(heap->span_bytes, count * SLOT_SPAN);
    while (loam_arena_next(heap, &block)) { /* in address order, only in spans */
        const size_t at = (block.start.addr - MEMORY_AT) / SLOT;
        assert_true(at >= slot && at < SLOTS && is_claimed[at]);
        slot = at;
    }
}

/* Claims and releases in random order; what is in a hole is never looked at. */
static void arena_H12_hundreds_of_spans_come_and_go(void **state)
{
    static unsigned char *block[SLOTS];
    size_t count = 0;

    (void)state;
    heap_without_spans();
    memset(is_claimed, 0, sizeof(is_claimed));
    assert_int_equal(mprotect(memory, SLOTS * SLOT, PROT_NONE), 0);
    for (size_t step = 0; step < 4000; step++) {
        const size_t i = test_random_below(SLOTS);
        const bool growing = step < 1500 || (step > 2500 && step < 3000);
        if (!is_claimed[i] && lent_count < LENT_MAX && (growing || step % 8 == 0)) {
            open_slot(i);
            count++;
        } else if (is_claimed[i] && (!growing || step % 8 == 0)) {
            close_slot(i);
            count--;
        } else {
            panics(FREE, memory + i * SLOT + test_random_below(SLOT) / 8 * 8, 0);
            assert_string_equal(panic_trap.seen.rule,
                                is_claimed[i] ? panic_trap.seen.rule : NOT_A_BLOCK);
        }
        if (step % 64 == 0)
            expect_spans(count);
    }
    for (size_t i = 0; i < SLOTS; i++) {
        if (!is_claimed[i] && lent_count < LENT_MAX)
            open_slot(i);
    }
    /* One block in each span, freed in another order. */
    size_t blocks = 0;
    while (blocks < SLOTS && (block[blocks] = loam_arena_alloc(heap, 3900, 8)) != NULL)
        blocks++;
    assert_int_equal(blocks, heap->span_count);
    for (size_t i = 0; i < blocks; i++) {
        const size_t at = (i + blocks / 2) % blocks;
        assert_true(is_claimed[(size_t)(block[at] - memory) / SLOT]);
        expect_panic_at_free(NOT_A_BLOCK, block[at] + SLOT_SPAN);
        assert_false(loam_arena_owns(heap, block[at] + SLOT_SPAN));
        assert_true(loam_arena_owns(heap, block[at]));
        loam_arena_free_sized(heap, block[at], 3900);
        expect_panic_at_free(DOUBLE_FREE, block[at]);
    }
    expect_empty();
    for (size_t i = 0; i < SLOTS; i++) {
        if (is_claimed[i])
            close_slot(i);
    }
    expect_spans(0);
    assert_int_equal(mprotect(memory, SLOTS * SLOT, PROT_READ | PROT_WRITE), 0);
}

/*
 *   [ large span          )      [ small )......      what is behind the small one is
 *                                                     not taken for the large one's
 */
static void arena_H12_spans_of_different_sizes_are_not_confused(void **state)
{
    (void)state;
    heap_without_spans();
    assert_int_equal(claim(0, SPAN), LOAM_OK);
    assert_int_equal(claim(2 * SPAN, 1024), LOAM_OK);
    unsigned char *large = take(2000);
    unsigned char *small = large;
    while (small < memory + 2 * SPAN) /* until the other span serves it */
        small = take(800);
    for (size_t round = 0; round < 2; round++) {
        give(round == 0 ? large : take(100)); /* in this span something was done last */
        expect_no_block(memory + 2 * SPAN + 1024 + 80);
        give(small); /* and now in this */
        for (size_t offset = 1016; offset < SPAN; offset += 1000)
            expect_no_block(memory + 2 * SPAN + offset);
        expect_no_block(memory + SPAN + 80);
        assert_null(loam_arena_audit(heap));
        small = take(800);
        if (small < memory + 2 * SPAN)
            break;
    }
}

/*
 *   [ span 0 )[ span 1 )[ span 2 )      they touch, but their blocks do not merge
 */
static void arena_touching_spans_stay_apart(void **state)
{
    (void)state;
    heap_without_spans();
    for (size_t i = 3; i-- > 0;)
        assert_int_equal(claim(i * 4096, 4096), LOAM_OK);
    const size_t largest = stats().largest_free_bytes;
    expect_no_alloc(largest + 1, 1);
    unsigned char *block[3] = { take(largest), take(largest), take(largest) };
    for (size_t i = 0; i < 3; i++) {
        memset(block[i], 0xff, largest);
        give(block[i]);
        expect_already_free(block[i]);
    }
    expect_empty();
    assert_int_equal(stats().free_count, 3);
    assert_int_equal(stats().largest_free_bytes, largest);
}

/* Small blocks of many spans wait in the same lists; releasing one span leaves those
 * of the others. */
static void arena_H10_waiting_blocks_of_many_spans(void **state)
{
    unsigned char *block[40];

    (void)state;
    heap_without_spans();
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(claim(i * 8192, 1024), LOAM_OK);
    for (size_t i = 0; i < 40; i++)
        block[i] = take(60);
    for (size_t i = 0; i < 40; i++)
        give(block[i * 3 % 40]);
    for (size_t i = 0; i < 40; i++)
        expect_already_free(block[i]);
    assert_int_equal(loam_arena_release(heap, memory + 8192), LOAM_OK);
    take_back(8192, 1024);
    assert_null(loam_arena_audit(heap));
    for (size_t i = 0; i < 40; i++) {
        const size_t offset = (size_t)(block[i] - memory);
        if (offset >= 8192 && offset < 16384)
            expect_panic_at_free(NOT_A_BLOCK, block[i]);
        else
            expect_panic_at_free(DOUBLE_FREE, block[i]);
    }
    expect_empty();
    assert_int_equal(stats().span_count, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_H12_hundreds_of_spans_come_and_go),
        cmocka_unit_test(arena_H12_spans_of_different_sizes_are_not_confused),
        cmocka_unit_test(arena_touching_spans_stay_apart),
        cmocka_unit_test(arena_H10_waiting_blocks_of_many_spans),
    };
    return RUN_TESTS(tests);
}
