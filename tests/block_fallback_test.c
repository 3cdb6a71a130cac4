/*
 * block_fallback_test.c - how the heap of size classes uses its fallback:
 * chunks that come and go, exhaustion, handlers that call back, spans.
 */
#include "block_world.h"

/* A heap takes the place of one that was left with chunks, and so does its
 * fallback: what the old one wrote lies in blocks of the new one. */
static void init_again_forgets_old_chunks(void **state)
{
    (void)state;
    FOR_EACH_FALLBACK(kind)
    {
        heap_of(kind, SPAN);
        const struct loam_block_fallback fallback = heap.fallback;
        for (size_t size_bytes = 8; size_bytes <= 2048; size_bytes += 8)
            take(size_bytes);
        assert_true(stats().chunk_count > 40);
        loam_arena_init(&arena);
        assert_int_equal(kind == OVER_ARENA ? loam_arena_claim(&arena, span, SPAN)
                                            : loam_freelist_init(&freelist, span, SPAN),
                         LOAM_OK);
        assert_int_equal(loam_block_init(&heap, &fallback), LOAM_OK);
        unsigned char *block[60];
        for (size_t i = 0; i < 60; i++)
            block[i] = take(9000 + 100 * i);
        for (size_t i = 0; i < 60; i++) {
            assert_int_equal(loam_block_usable(&heap, block[i]), 9000 + 100 * i);
            give(block[i]);
        }
        expect_empty();
    }
}

/* Largest block that the fallback could give. */
static size_t borrowable_bytes(void)
{
    struct loam_arena_stats of_arena;
    struct loam_freelist_stats of_freelist;

    if (heap.fallback.arena != NULL) {
        loam_arena_measure(&arena, &of_arena);
        return of_arena.largest_free_bytes;
    }
    loam_freelist_measure(&freelist, &of_freelist);
    return of_freelist.largest_free_bytes;
}

static void alloc_of_more_than_a_class_is_the_fallbacks(void **state)
{
    (void)state;
    FOR_EACH_FALLBACK(kind)
    {
        heap_of(kind, SPAN);
        unsigned char *a = take(2049);
        unsigned char *b = take(50000);
        assert_int_equal(loam_block_usable(&heap, a), 2049);
        assert_int_equal(loam_block_usable(&heap, b), 50000);
        assert_int_equal(stats().large_count, 2);
        assert_int_equal(stats().used_count, 2);
        assert_int_equal(stats().used_bytes, 52049);
        assert_int_equal(stats().held_bytes, 52049);
        take(1);
        assert_int_equal(stats().used_bytes, 52049 + 8);
        assert_int_equal(stats().held_bytes, 52049 + CHUNK);
        loam_block_free_sized(&heap, a, 2049);
        expect_sound();
        give(b);
        assert_int_equal(stats().large_count, 0);
        assert_int_equal(stats().used_bytes, 8);
        assert_int_equal(stats().peak_bytes, 52049 + CHUNK);
    }
}

/* Twelve chunks become empty: four stay, the others go back at once. */
static void empty_chunks_go_back_but_for_a_few(void **state)
{
    unsigned char *block[12];

    (void)state;
    FOR_EACH_FALLBACK(kind)
    {
        heap_of(kind, SPAN);
        for (size_t i = 0; i < 12; i++)
            block[i] = take(64 * (i + 1)); /* each of another class */
        assert_int_equal(stats().chunk_count, 12);
        assert_int_equal(stats().empty_count, 0);
        for (size_t i = 0; i < 12; i++) {
            give(block[i]);
            expect_sound();
            assert_int_equal(stats().empty_count, i < 4 ? i + 1 : 4);
            assert_int_equal(stats().chunk_count, i < 4 ? 12 : 15 - i);
        }
        assert_int_equal(stats().peak_bytes, 12 * CHUNK);
        expect_empty();
        assert_int_equal(stats().peak_bytes, 12 * CHUNK);
    }
}

/* An empty chunk serves any class before the fallback is asked. */
static void empty_chunks_serve_any_class(void **state)
{
    (void)state;
    FOR_EACH_FALLBACK(kind)
    {
        heap_of(kind, SPAN);
        unsigned char *a = take(100);
        unsigned char *b = take(200);
        give(a);
        assert_int_equal(stats().empty_count, 1);
        unsigned char *c = take(2000);
        assert_ptr_equal(chunk_of(c), chunk_of(a));
        assert_int_equal(stats().chunk_count, 2);
        assert_int_equal(stats().empty_count, 0);
        expect_sound();
        give(b);
        give(c);
        assert_int_equal(stats().empty_count, 2);
        for (size_t size_bytes = 8; size_bytes <= 2048; size_bytes *= 2) {
            give(take(size_bytes));
            expect_sound();
            assert_int_equal(stats().chunk_count, 2);
        }
        expect_empty();
    }
}

/* A block that comes and goes: nothing is borrowed or given back for it. And
 * chunks that are named spare, but are not empty any more, make way for those
 * that are. */
static void spare_chunks_in_use_again_make_way(void **state)
{
    unsigned char *block[9];

    (void)state;
    FOR_EACH_FALLBACK(kind)
    {
        heap_of(kind, SPAN);
        for (size_t i = 0; i < 9; i++)
            block[i] = take(64 * (i + 1));
        for (size_t i = 0; i < 4; i++)
            give(block[i]);
        for (size_t i = 0; i < 3; i++)
            assert_ptr_equal(take(64 * (i + 1)), block[i]);
        assert_int_equal(stats().empty_count, 1);
        give(block[4]);
        give(block[5]);
        give(block[6]);
        expect_sound();
        assert_int_equal(stats().empty_count, 4); /* 3, 4, 5, 6 */
        assert_int_equal(stats().chunk_count, 9);
        give(block[7]);
        expect_sound();
        assert_int_equal(stats().chunk_count, 8);
        for (size_t i = 0; i < 3; i++) {
            give(block[i]);
            expect_sound();
        }
        assert_int_equal(stats().chunk_count, 5);
        assert_ptr_equal(take(64 * 4), block[3]);
        give(block[3]);
        give(block[8]);
        expect_empty();
    }
}

/*
 *   [ 30 chunks, of which 4 are empty | large ... ]   no room for another large one of 3
 *                                                     chunks, until those 4 go back
 */
static void alloc_H25_gives_empty_chunks_back_before_it_fails(void **state)
{
    (void)state;
    FOR_EACH_FALLBACK(kind)
    {
        heap_of(kind, 8 * CHUNK);
        unsigned char *block[4];
        for (size_t i = 0; i < 4; i++)
            block[i] = take(512 * (i + 1));
        for (size_t i = 0; i < 4; i++)
            give(block[i]);
        assert_int_equal(stats().empty_count, 4);
        const size_t borrowable = borrowable_bytes();
        assert_true(borrowable < 5 * CHUNK);
        unsigned char *large = take(borrowable + CHUNK);
        assert_int_equal(stats().chunk_count, 0);
        expect_sound();
        give(large);
        /* The same to grow, and to be refused nevertheless. */
        large = take(3000);
        give(take(8));
        assert_int_equal(stats().empty_count, 1);
        large = resize(large, 3000, 7 * CHUNK, 1);
        assert_non_null(large);
        assert_int_equal(stats().chunk_count, 0);
        give(large);
        give(take(8));
        const uint64_t digest = loam_block_digest(&heap);
        assert_null(loam_block_alloc(&heap, 9 * CHUNK, 1));
        assert_int_equal(loam_block_digest(&heap), digest);
        assert_int_equal(stats().chunk_count, 0);
        expect_empty();
    }
}

/* Where there is no room for a chunk there may be for a block, up to the last
 * byte. */
static void alloc_of_small_blocks_without_a_chunk(void **state)
{
    (void)state;
    FOR_EACH_FALLBACK(kind)
    {
        heap_of(kind, 8192);
        unsigned char *block[400];
        size_t count = 0;
        while (count < 400 && (block[count] = loam_block_alloc(&heap, 40, 1)) != NULL) {
            assert_int_equal(loam_block_usable(&heap, block[count]), 40);
            memset(block[count], (int)count, 40);
            count++;
        }
        assert_true(count > 100 && count < 400);
        assert_int_equal(stats().large_count, count);
        expect_sound();
        for (size_t i = 0; i < count; i += 2) {
            block[i] = resize(block[i], 40, 30, 1);
            assert_non_null(block[i]);
        }
        for (size_t i = 0; i < count; i++) {
            for (size_t j = 0; j < 30; j++)
                assert_int_equal(block[i][j], (unsigned char)i);
            loam_block_free_sized(&heap, block[i], i % 2 == 0 ? 30 : 40);
        }
        expect_empty();
    }
}

/* ---- arenas of several spans, and their handler -------------------------- */

static struct {
    unsigned char *span;
    void *to_free[8];
    unsigned free_count;
    unsigned calls;
    bool may_claim;
} handler;

/* Frees through the very heap whose request found no room, or claims. */
static bool make_room(struct loam_arena *of, const struct loam_arena_request *request)
{
    assert_true(request->size_bytes > 0);
    handler.calls++;
    if (handler.free_count > 0) {
        loam_block_free(&heap, handler.to_free[--handler.free_count]);
        return true;
    }
    if (!handler.may_claim)
        return false;
    handler.may_claim = false;
    return loam_arena_claim(of, handler.span, 4 * CHUNK) == LOAM_OK;
}

static void alloc_may_be_called_back_by_the_fallback(void **state)
{
    (void)state;
    heap_of(OVER_ARENA, 4 * CHUNK);
    memset(&handler, 0, sizeof(handler));
    handler.span = malloc(4 * CHUNK);
    assert_non_null(handler.span);
    arena.oom = make_room;
    unsigned char *large[2] = { take(CHUNK), take(CHUNK) };
    while (loam_block_alloc(&heap, 64, 1) != NULL)
        continue;
    const unsigned calls = handler.calls;
    assert_true(calls > 0);

    handler.to_free[0] = large[0];
    handler.to_free[1] = large[1];
    handler.free_count = 2;
    assert_non_null(loam_block_alloc(&heap, 1000, 1)); /* after one, or both */
    expect_sound();
    assert_true(handler.calls > calls);
    while (loam_block_alloc(&heap, 8, 1) != NULL)
        continue;
    expect_sound();

    handler.may_claim = true;
    unsigned char *block = take(2000);
    assert_true(block >= handler.span && block < handler.span + 4 * CHUNK);
    assert_false(handler.may_claim);
    expect_sound();
    give(block);
    (void)loam_block_trim(&heap);
    assert_int_equal(loam_arena_release(&arena, handler.span), LOAM_OK);
    expect_sound();
    free(handler.span);
}

/* The handler empties a chunk, of this class or another, but no chunk can be
 * borrowed. */
static void alloc_uses_what_the_handler_has_freed(void **state)
{
    (void)state;
    for (size_t size_bytes = 64; size_bytes <= 1024; size_bytes *= 16) {
        heap_of(OVER_ARENA, 2 * CHUNK);
        memset(&handler, 0, sizeof(handler));
        unsigned char *block = take(64);
        unsigned char *const chunk = chunk_of(block);
        assert_int_equal(stats().chunk_count, 1);
        size_t count = 1;
        unsigned char *last = block;
        for (unsigned char *next = take(64); stats().large_count == 0; next = take(64)) {
            last = next;
            count++;
        }
        assert_true(count > 200);
        for (unsigned char *next = block; next < last; next += 64)
            give(next);
        while (loam_arena_alloc(&arena, 8, 8) != NULL)
            continue;
        while (chunk_of(take(64)) == chunk && stats().used_count < count + 1)
            continue;
        arena.oom = make_room;
        if (size_bytes == 64) {
            handler.to_free[0] = last;
            handler.free_count = 1;
            assert_ptr_equal(take(64), last);
            continue;
        }
        for (unsigned char *next = block; next < last; next += 64)
            give(next);
        handler.to_free[0] = last; /* that of the chunk that lives */
        handler.free_count = 1;
        unsigned char *other = take(size_bytes);
        assert_ptr_equal(chunk_of(other), chunk);
        assert_null(loam_block_audit(&heap));
    }
}

/* Chunks in many spans, freed in an order that never meets the span used last.
 * */
static void chunks_lie_in_any_span(void **state)
{
    enum { SPANS = 7, BLOCKS = 70 };
    unsigned char *spans[SPANS];
    unsigned char *block[BLOCKS];

    (void)state;
    heap_of(OVER_ARENA, CHUNK);
    for (unsigned i = 0; i < SPANS; i++) {
        spans[i] = malloc(3 * CHUNK + 512);
        assert_non_null(spans[i]);
        assert_int_equal(loam_arena_claim(&arena, spans[i], 3 * CHUNK + 512), LOAM_OK);
    }
    for (unsigned i = 0; i < BLOCKS; i++) {
        block[i] = take(2048);
        memset(block[i], (int)i, 2048);
    }
    assert_true(stats().chunk_count >= 10);
    expect_sound();
    for (unsigned i = 0; i < BLOCKS; i++) {
        unsigned char *const next = block[(i * 29 + 3) % BLOCKS];
        for (unsigned j = 0; j < 2048; j++)
            assert_int_equal(next[j], (i * 29 + 3) % BLOCKS);
        assert_int_equal(loam_block_usable(&heap, next), 2048);
        if (i % 2 == 0)
            loam_block_free_sized(&heap, next, 2048);
        else
            give(next);
        assert_null(loam_block_audit(&heap));
    }
    expect_empty();
    for (unsigned i = 0; i < SPANS; i++) {
        assert_int_equal(loam_arena_release(&arena, spans[i]), LOAM_OK);
        free(spans[i]);
    }
}

/* Two heaps and a user of their own share an arena. */
static void heaps_share_a_fallback(void **state)
{
    struct loam_block other;
    const struct loam_block_fallback fallback = { NULL, &arena };

    (void)state;
    heap_of(OVER_ARENA, SPAN);
    assert_int_equal(loam_block_init(&other, &fallback), LOAM_OK);
    for (unsigned i = 0; i < 100; i++) {
        unsigned char *a = take(100 + i);
        unsigned char *b = loam_block_alloc(&other, 100 + i, 1);
        unsigned char *c = loam_arena_alloc(&arena, 100 + i, 1);
        assert_non_null(b);
        assert_non_null(c);
        assert_ptr_not_equal(chunk_of(a), chunk_of(b));
        memset(a, 1, 100 + i);
        memset(b, 2, 100 + i);
        memset(c, 3, 100 + i);
        assert_null(loam_block_audit(&heap));
        assert_null(loam_block_audit(&other));
        if (i % 2 == 0) {
            give(a);
            loam_block_free(&other, b);
            loam_arena_free(&arena, c);
        }
    }
    assert_null(loam_arena_audit(&arena));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(init_again_forgets_old_chunks),
        cmocka_unit_test(alloc_of_more_than_a_class_is_the_fallbacks),
        cmocka_unit_test(empty_chunks_go_back_but_for_a_few),
        cmocka_unit_test(empty_chunks_serve_any_class),
        cmocka_unit_test(spare_chunks_in_use_again_make_way),
        cmocka_unit_test(alloc_H25_gives_empty_chunks_back_before_it_fails),
        cmocka_unit_test(alloc_of_small_blocks_without_a_chunk),
        cmocka_unit_test(alloc_may_be_called_back_by_the_fallback),
        cmocka_unit_test(alloc_uses_what_the_handler_has_freed),
        cmocka_unit_test(chunks_lie_in_any_span),
        cmocka_unit_test(heaps_share_a_fallback),
    };
    return RUN_TESTS(tests);
}
