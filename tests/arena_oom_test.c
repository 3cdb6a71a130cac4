/*
 * arena_oom_test.c - when there is no room: handlers that claim, extend, free and
 * allocate, that lie, that fail; and failures at every step.
 */
#include "arena_world.h"

/* What the handler is to do; one per test. */
static struct {
    unsigned calls;
    unsigned depth, depth_max; /* of calls within calls */
    struct loam_arena_request last;
    size_t next_offset, piece_bytes; /* what to claim next */
    unsigned pieces;
    unsigned char *victim[64]; /* what to free next, from the end */
    unsigned victims;
    size_t nested_bytes; /* what to ask for within */
    unsigned char *nested[64];
    unsigned nested_count;
} script;

static void note_call(const struct loam_arena_request *request)
{
    script.calls++;
    script.last = *request;
    assert_true(script.depth == 0);
    assert_true(heap->in_oom);
    assert_null(loam_arena_audit(heap));
}

/* An arena that is used up but for nothing, with a handler. */
static void full_heap(size_t size_bytes, loam_arena_oom_handler handler)
{
    memset(&script, 0, sizeof(script));
    heap_of(size_bytes);
    take_the_rest();
    heap->oom = handler;
}

static bool says_false(struct loam_arena *arena, const struct loam_arena_request *request)
{
    assert_ptr_equal(arena, heap);
    note_call(request);
    return false;
}

static bool says_true(struct loam_arena *arena, const struct loam_arena_request *request)
{
    (void)arena;
    note_call(request);
    return true;
}

static bool claims_next_piece(struct loam_arena *arena)
{
    if (script.pieces == 0)
        return false;
    script.pieces--;
    unsigned char *piece = lend(script.next_offset, script.piece_bytes);
    const enum loam_status status = loam_arena_claim(arena, piece, script.piece_bytes);
    script.next_offset += 2 * script.piece_bytes;
    return status == LOAM_OK;
}

static bool claims(struct loam_arena *arena, const struct loam_arena_request *request)
{
    note_call(request);
    return claims_next_piece(arena);
}

static bool frees(struct loam_arena *arena, const struct loam_arena_request *request)
{
    note_call(request);
    if (script.victims == 0)
        return true; /* a lie */
    loam_arena_free(arena, script.victim[--script.victims]);
    return true;
}

/* Asks for memory itself before and after it claims. */
static bool allocates(struct loam_arena *arena, const struct loam_arena_request *request)
{
    note_call(request);
    script.depth++;
    unsigned char *before = loam_arena_alloc(arena, script.nested_bytes, 8);
    if (script.calls == 1)
        assert_null(before); /* there is no room, and nobody is asked again */
    loam_arena_free(arena, before);
    const bool claimed = claims_next_piece(arena);
    unsigned char *block = loam_arena_alloc(arena, script.nested_bytes, 8);
    assert_true(block != NULL || !claimed);
    if (block != NULL) {
        memset(block, 0x77, script.nested_bytes);
        script.nested[script.nested_count++] = block;
        block = loam_arena_realloc(arena, block, script.nested_bytes + 9, 8);
        if (block != NULL)
            script.nested[script.nested_count - 1] = block;
    }
    script.depth--;
    return claimed;
}

/* ---- handlers that do not help ------------------------------------------- */

static void arena_H25_without_handler_a_request_fails(void **state)
{
    (void)state;
    full_heap(SPAN, NULL);
    expect_no_alloc(0, 1);
    expect_no_alloc(1000, 64);
}

static void arena_H25_handler_that_cannot_help_is_asked_once(void **state)
{
    static const loam_arena_oom_handler handlers[] = { says_false, says_true };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        full_heap(SPAN, handlers[i]);
        unsigned char *block = memory;
        expect_no_alloc(100, 64);
        assert_int_equal(script.calls, 1);
        assert_int_equal(script.last.size_bytes, 100);
        assert_int_equal(script.last.align, 64);
        assert_false(heap->in_oom);
        expect_no_alloc(0, 1);
        assert_int_equal(script.calls, 2);
        heap->oom = NULL;
        heap_of(SPAN);
        heap->oom = handlers[i];
        block = take(200);
        take_the_rest();
        script.calls = 0;
        const uint64_t digest = loam_arena_digest(heap);
        assert_null(loam_arena_realloc(heap, block, 300, 8));
        assert_int_equal(script.calls, 1);
        assert_int_equal(script.last.size_bytes, 300);
        assert_int_equal(loam_arena_digest(heap), digest);
        give(block); /* the handler is not asked when there is room */
        take(200);
        assert_int_equal(script.calls, 1);
    }
}

/* No handler can help a request that is wrong in itself. */
static void arena_H02_H05_handler_is_not_asked_about_what_cannot_be(void **state)
{
    (void)state;
    full_heap(SPAN, says_true);
    for (size_t k = 0; k < 64; k++)
        expect_no_alloc(SIZE_MAX - k, 8);
    expect_no_alloc(10, 0);
    expect_no_alloc(10, 3);
    assert_int_equal(script.calls, 0);
}

/* ---- handlers that help -------------------------------------------------- */

static void arena_H25_handler_claims(void **state)
{
    (void)state;
    heap_without_spans(); /* not even one span yet */
    memset(&script, 0, sizeof(script));
    heap->oom = claims;
    script.piece_bytes = 4096;
    script.pieces = 3;
    unsigned char *block = take(100);
    assert_int_equal(script.calls, 1);
    for (size_t i = 0; i < 3; i++)
        take(3000);
    assert_int_equal(script.calls, 3);
    assert_int_equal(stats().span_count, 3);
    assert_null(loam_arena_alloc(heap, 3000, 8));
    assert_int_equal(script.calls, 4);
    give(block);
}

/* Pieces that are too small: asked until it has no more; each is kept. */
static void arena_H25_handler_claims_pieces_that_are_too_small(void **state)
{
    (void)state;
    full_heap(SPAN, claims);
    script.next_offset = 2 * SPAN;
    script.piece_bytes = 1024;
    script.pieces = 5;
    assert_null(loam_arena_alloc(heap, 2000, 8));
    assert_null(loam_arena_audit(heap));
    assert_int_equal(script.calls, 6);
    assert_int_equal(stats().span_count, 6);
    for (size_t i = 0; i < 5; i++)
        take(800);
    assert_int_equal(script.calls, 6);
}

/* The handler frees until there is room: only as much as is needed. */
static void arena_H25_handler_frees(void **state)
{
    (void)state;
    for (size_t size_bytes = 20; size_bytes < 2000; size_bytes += 97) {
        memset(&script, 0, sizeof(script));
        heap_of(SPAN);
        for (size_t i = 0; i < 32; i++) /* neighbours: small ones merge to large */
            script.victim[script.victims++] = take(size_bytes);
        take_the_rest();
        heap->oom = frees;
        unsigned char *block = take(3 * size_bytes);
        const size_t one = cost_of(size_bytes);
        assert_int_equal(script.calls, (cost_of(3 * size_bytes) + one - 1) / one);
        assert_int_equal(loam_arena_usable(heap, block), 3 * size_bytes);
        assert_null(loam_arena_alloc(heap, SPAN, 8)); /* all of them are not enough */
        assert_int_equal(script.victims, 0);
        assert_null(loam_arena_audit(heap));
    }
}

/* The handler allocates in the same arena: it is not called again from within. */
static void arena_H25_H34_handler_allocates_in_the_same_arena(void **state)
{
    (void)state;
    full_heap(SPAN, allocates);
    script.next_offset = 2 * SPAN;
    script.piece_bytes = 8192;
    script.pieces = 3;
    script.nested_bytes = 500;
    unsigned char *block = take(6000);
    assert_int_equal(script.calls, 1);
    assert_int_equal(script.nested_count, 1);
    memset(block, 0x11, 6000);
    for (size_t i = 0; i < 500; i++)
        assert_int_equal(script.nested[0][i], 0x77);
    assert_null(loam_arena_alloc(heap, 9000, 8)); /* no piece is large enough */
    assert_int_equal(script.calls, 4);
    assert_true(script.nested_count >= 3);
    assert_null(loam_arena_audit(heap));
    for (size_t i = 0; i < script.nested_count; i++)
        give(script.nested[i]);
}

/* ---- in realloc ---------------------------------------------------------- */

/*
 *   | block 2000 | next 1500 | used      the handler frees next: the block grows
 *                                        where it is, for elsewhere is no room
 */
static void arena_H06_H25_handler_frees_what_lies_behind_a_growing_block(void **state)
{
    static const size_t sizes[] = { 100, 900, 2000, 9000, 20000 };

    (void)state;
    for (size_t i = 0; i < 5; i++) {
        for (size_t before = 0; before < 2; before++) {
            memset(&script, 0, sizeof(script));
            heap_of(SPAN);
            unsigned char *first = take(before ? sizes[i] / 2 + 60 : sizes[i]);
            unsigned char *second = take(before ? sizes[i] : sizes[i] / 2 + 60);
            unsigned char *block = before ? second : first;
            take_the_rest();
            pattern_write(block, sizes[i], 5);
            script.victim[script.victims++] = before ? first : second;
            heap->oom = frees;
            block = loam_arena_realloc(heap, block, sizes[i] * 3 / 2, 8);
            assert_non_null(block);
            assert_null(loam_arena_audit(heap));
            pattern_check(block, sizes[i], 5);
            assert_int_equal(script.victims, 0);
            assert_true(script.calls <= 2);
            loam_arena_free_sized(heap, block, sizes[i] * 3 / 2);
            assert_null(loam_arena_audit(heap));
        }
    }
}

/* The handler's own allocations and frees around the block do not confuse it. */
static void arena_H06_H25_handler_claims_for_a_growing_block(void **state)
{
    (void)state;
    for (size_t pieces = 0; pieces < 3; pieces++) {
        memset(&script, 0, sizeof(script));
        heap_of(SPAN);
        unsigned char *block = take(1200);
        take_the_rest();
        pattern_write(block, 1200, 5);
        heap->oom = allocates;
        script.next_offset = 2 * SPAN;
        script.piece_bytes = 4096;
        script.pieces = (unsigned)pieces;
        script.nested_bytes = 100;
        unsigned char *moved = loam_arena_realloc(heap, block, 3000, 8);
        assert_null(loam_arena_audit(heap));
        assert_int_equal(moved != NULL, pieces > 0);
        block = moved != NULL ? moved : block;
        pattern_check(block, 1200, 5);
        loam_arena_free_sized(heap, block, moved != NULL ? 3000 : 1200);
        assert_null(loam_arena_audit(heap));
    }
}

/* ---- grow from a reserve ------------------------------------------------- */

static void heap_with_reserve(size_t size_bytes, size_t step_bytes)
{
    memset(&script, 0, sizeof(script));
    heap_without_spans();
    lend(0, size_bytes);
    heap->oom = loam_arena_grow;
    heap->reserve.start = MEMORY_AT;
    heap->reserve.size_bytes = size_bytes;
    heap->reserve.step_bytes = step_bytes;
}

/* Step by step, as one span; no more than is needed, until nothing is left. */
static void arena_H25_grow_takes_the_reserve_step_by_step(void **state)
{
    static const size_t steps[] = { 512, 4096, 5000, 65536, 1 };

    (void)state;
    for (size_t i = 0; i < 5; i++) {
        heap_with_reserve(16 * SPAN, steps[i]);
        size_t total = 0;
        unsigned char *block;
        while ((block = loam_arena_alloc(heap, 1000, 16)) != NULL) {
            memset(block, 0xff, 1000);
            total += 1000;
            assert_null(loam_arena_audit(heap));
            assert_int_equal(heap->span_count, 1);
            assert_int_equal(heap->span_bytes + heap->reserve.size_bytes, 16 * SPAN);
            assert_int_equal(heap->reserve.start - MEMORY_AT, heap->span_bytes);
            assert_true(heap->span_bytes < total * 11 / 10 + 2 * steps[i] + 3000);
        }
        assert_true(total > 16 * SPAN * 95 / 100);
        assert_true(heap->reserve.size_bytes < 2048);
        loam_arena_merge(heap);
        const uint64_t digest = loam_arena_digest(heap);
        assert_null(loam_arena_alloc(heap, 1000, 16));
        if (heap->reserve.size_bytes == 0)
            assert_int_equal(loam_arena_digest(heap), digest);
    }
}

/* A request larger than a step, aligned or not, gets what it needs at once. */
static void arena_H25_grow_takes_what_a_large_request_needs(void **state)
{
    (void)state;
    for (size_t align = 1; align <= 16384; align *= 4) {
        for (size_t size_bytes = 100; size_bytes < 200000; size_bytes = size_bytes * 3 + 7) {
            heap_with_reserve(16 * SPAN, 4096);
            unsigned char *block = take_aligned(size_bytes, align);
            assert_true(heap->span_bytes <= size_bytes + 2 * align + 4096 + 600);
            memset(block, 0xff, size_bytes);
            block = take_aligned(size_bytes, align); /* from an extension */
            memset(block, 0xff, size_bytes);
            assert_int_equal(heap->span_count, 1);
            assert_null(loam_arena_audit(heap));
        }
    }
}

/* What the reserve cannot serve takes nothing from it. */
static void arena_H25_grow_refuses_what_the_reserve_cannot_serve(void **state)
{
    (void)state;
    heap_with_reserve(SPAN, 4096);
    expect_no_alloc(SPAN, 1);
    expect_no_alloc(SPAN + 1, 1);
    expect_no_alloc((size_t)1 << 40, 1);
    expect_no_alloc((size_t)1 << 55, 1);
    expect_no_alloc(100, 1 << 20);
    expect_no_alloc(100, (size_t)1 << 55);
    assert_int_equal(heap->reserve.size_bytes, SPAN);
    take(SPAN - 1000);
}

/* A reserve that is no span: too small, or in the way. */
static void arena_H25_grow_from_a_bad_reserve_fails(void **state)
{
    (void)state;
    for (size_t size_bytes = 0; size_bytes < 512; size_bytes++) {
        heap_with_reserve(size_bytes, 4096);
        expect_no_alloc(10, 1);
        assert_int_equal(heap->reserve.size_bytes, size_bytes);
    }
    heap_with_reserve(0, 0);
    expect_no_alloc(10, 1);
    heap_with_reserve(4 * SPAN, 4096);
    assert_int_equal(loam_arena_claim(heap, memory + 2 * SPAN, SPAN), LOAM_OK);
    heap->reserve.start = MEMORY_AT + 2 * SPAN + 512; /* claimed already */
    heap->reserve.size_bytes = SPAN;
    expect_no_alloc(2 * SPAN, 1);
    assert_int_equal(heap->reserve.size_bytes, SPAN);
    heap->reserve.start = 0; /* none */
    expect_no_alloc(2 * SPAN, 1);
}

/* An unaligned reserve behind a span that others have claimed. */
static void arena_H25_grow_extends_the_span_before_the_reserve(void **state)
{
    (void)state;
    heap_with_reserve(2 * SPAN, 4096);
    assert_int_equal(loam_arena_claim(heap, memory, 4099), LOAM_OK);
    heap->reserve.start += 4099;
    heap->reserve.size_bytes -= 4099;
    unsigned char *block = take(3000);
    unsigned char *next = take(3000);
    assert_int_equal(stats().span_count, 1);
    give(block);
    give(next);
    expect_empty();
}

/* ---- failures ------------------------------------------------------------ */

/* Each step of claiming, growing and allocating fails in turn, once or from there
 * on: a request is served, or nothing has changed but for what the handler did. */
static void arena_H25_each_failure_in_the_handler_is_survived(void **state)
{
    unsigned refused = 0;

    (void)state;
    INJECT_EACH_POINT
    {
        heap_with_reserve(SPAN, 4096);
        unsigned char *block = take(3000);
        pattern_write(block, 3000, 8);
        INJECT_ARM();
        unsigned char *other = loam_arena_alloc(heap, 3000, 8);
        unsigned char *moved = loam_arena_realloc(heap, block, 6000, 8);
        INJECT_DISARM();
        assert_null(loam_arena_audit(heap));
        assert_false(heap->in_oom);
        pattern_check(moved != NULL ? moved : block, 3000, 8);
        if (moved == NULL || other == NULL) {
            assert_true(inject_fired());
            refused++;
        }
        assert_int_equal(heap->span_bytes + heap->reserve.size_bytes, SPAN);
        assert_non_null(loam_arena_alloc(heap, 6000, 8)); /* a retry works */
        loam_arena_free_sized(heap, moved != NULL ? moved : block, moved != NULL ? 6000 : 3000);
        assert_null(loam_arena_audit(heap));
    }
    assert_true(refused >= 2);
}

/* Waiting blocks count as room before anyone is asked. */
static void arena_H25_waiting_blocks_are_merged_before_the_handler_is_asked(void **state)
{
    unsigned char *block[100];

    (void)state;
    memset(&script, 0, sizeof(script));
    heap_of(SPAN);
    for (size_t i = 0; i < 100; i++)
        block[i] = take(200);
    take_the_rest();
    heap->oom = says_false;
    for (size_t i = 0; i < 100; i++)
        give(block[i]);
    take(100 * 200);
    assert_int_equal(script.calls, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_H25_without_handler_a_request_fails),
        cmocka_unit_test(arena_H25_handler_that_cannot_help_is_asked_once),
        cmocka_unit_test(arena_H02_H05_handler_is_not_asked_about_what_cannot_be),
        cmocka_unit_test(arena_H25_handler_claims),
        cmocka_unit_test(arena_H25_handler_claims_pieces_that_are_too_small),
        cmocka_unit_test(arena_H25_handler_frees),
        cmocka_unit_test(arena_H25_H34_handler_allocates_in_the_same_arena),
        cmocka_unit_test(arena_H06_H25_handler_frees_what_lies_behind_a_growing_block),
        cmocka_unit_test(arena_H06_H25_handler_claims_for_a_growing_block),
        cmocka_unit_test(arena_H25_grow_takes_the_reserve_step_by_step),
        cmocka_unit_test(arena_H25_grow_takes_what_a_large_request_needs),
        cmocka_unit_test(arena_H25_grow_refuses_what_the_reserve_cannot_serve),
        cmocka_unit_test(arena_H25_grow_from_a_bad_reserve_fails),
        cmocka_unit_test(arena_H25_grow_extends_the_span_before_the_reserve),
        cmocka_unit_test(arena_H25_each_failure_in_the_handler_is_survived),
        cmocka_unit_test(arena_H25_waiting_blocks_are_merged_before_the_handler_is_asked),
    };
    return RUN_TESTS(tests);
}
