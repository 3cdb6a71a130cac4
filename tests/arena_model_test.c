/*
 * arena_model_test.c - random calls against an oracle that knows only which bytes
 * belong to whom: no two blocks overlap, all lie in claimed memory, contents are
 * kept, and what is freed becomes one block per span again.
 */
#include "arena_world.h"

#define BLOCKS     200u
#define SLOTS      6u /* places for spans, which may grow into the next one */
#define SLOT_BYTES ((size_t)96 * KIB)

static struct {
    unsigned char *at; /* NULL: none */
    size_t size_bytes, align;
    unsigned seed;
} live[BLOCKS];

/* Bytes of each span, 0: not claimed. Each starts a little inside its slot. */
static size_t span_bytes[SLOTS];
static size_t span_offset[SLOTS];

static unsigned char *span_start(size_t slot)
{
    return memory + slot * SLOT_BYTES + span_offset[slot];
}

static bool is_in_a_span(const unsigned char *block, size_t size_bytes)
{
    for (size_t i = 0; i < SLOTS; i++) {
        if (span_bytes[i] != 0 && block >= span_start(i) &&
            block + size_bytes <= span_start(i) + span_bytes[i])
            return true;
    }
    return false;
}

/* ---- blocks -------------------------------------------------------------- */

static void oracle_enter(size_t i, unsigned char *block, size_t size_bytes, size_t align)
{
    bool apart = true;

    for (size_t j = 0; j < BLOCKS; j++)
        apart = apart && (live[j].at == NULL || j == i || block + size_bytes <= live[j].at ||
                          live[j].at + live[j].size_bytes <= block);
    assert_true(apart);
    assert_true(is_in_a_span(block, size_bytes));
    assert_int_equal((uintptr_t)block % (align < 8 ? 8 : align), 0);
    assert_int_equal(loam_arena_usable(heap, block), size_bytes);
    assert_true(loam_arena_owns(heap, block));
    live[i].at = block;
    live[i].size_bytes = size_bytes;
    live[i].align = align;
    live[i].seed = (unsigned)test_random();
    pattern_write(block, size_bytes, live[i].seed);
}

static size_t random_size(void)
{
    switch (test_random_below(10)) {
    case 0:
        return test_random_below(3 * SLOT_BYTES / 2);
    case 1:
        return test_random_below(20000);
    case 2:
        return 0;
    case 3:
        return ((size_t)1 << test_random_below(17)) + test_random_below(32);
    default:
        return test_random_below(300);
    }
}

/* Refused: only if no free block is large enough, and nothing has changed. */
static void expect_refusal(uint64_t digest, size_t size_bytes, size_t align)
{
    assert_int_equal(loam_arena_digest(heap), digest);
    if (align <= 8)
        assert_true(stats().largest_free_bytes < size_bytes || stats().free_count == 0);
    else
        assert_true(stats().largest_free_bytes < size_bytes + 2 * align + 64);
}

static void random_alloc(size_t i)
{
    const size_t size_bytes = random_size();
    const size_t align = (size_t)1 << (test_random_below(3) == 0 ? test_random_below(14) : 3);
    const uint64_t digest = loam_arena_digest(heap);
    unsigned char *block = loam_arena_alloc(heap, size_bytes, align);

    if (block == NULL)
        expect_refusal(digest, size_bytes, align);
    else
        oracle_enter(i, block, size_bytes, align);
}

static void random_realloc(size_t i)
{
    const size_t size_bytes = random_size();
    const size_t kept = size_bytes < live[i].size_bytes ? size_bytes : live[i].size_bytes;
    const size_t align =
        test_random_below(4) == 0 ? (size_t)1 << test_random_below(13) : live[i].align;
    const uint64_t digest = loam_arena_digest(heap);
    const struct loam_resize resize = { live[i].size_bytes, size_bytes, align };
    unsigned char *moved = test_random_below(2) == 0
                               ? loam_arena_realloc(heap, live[i].at, size_bytes, align)
                               : loam_arena_realloc_sized(heap, live[i].at, &resize);

    if (moved == NULL) {
        expect_refusal(digest, size_bytes, align);
        pattern_check(live[i].at, live[i].size_bytes, live[i].seed);
        return;
    }
    pattern_check(moved, kept, live[i].seed);
    oracle_enter(i, moved, size_bytes, align);
}

static void random_free(size_t i)
{
    pattern_check(live[i].at, live[i].size_bytes, live[i].seed);
    if (test_random_below(2) == 0)
        loam_arena_free_sized(heap, live[i].at, live[i].size_bytes);
    else
        loam_arena_free(heap, live[i].at);
    live[i].at = NULL;
}

/* ---- spans --------------------------------------------------------------- */

/* End of the last block in a span, from its start; 0: none. */
static size_t last_end(size_t slot)
{
    size_t end = 0;

    for (size_t i = 0; i < BLOCKS; i++) {
        if (live[i].at != NULL && live[i].at >= span_start(slot) &&
            live[i].at < span_start(slot) + span_bytes[slot]) {
            const size_t here = (size_t)(live[i].at - span_start(slot)) + live[i].size_bytes;
            end = here > end ? here : end;
            end = end == 0 ? 1 : end;
        }
    }
    return end;
}

static void lend_from(const unsigned char *from, size_t size_bytes)
{
    ASAN_UNPOISON_MEMORY_REGION(from, size_bytes);
}

/* Poison what no span has. Partly used words stay open. */
static void poison_the_rest(void)
{
    uintptr_t from = MEMORY_AT;

    for (size_t i = 0; i < SLOTS; i++) {
        if (span_bytes[i] == 0)
            continue;
        const uintptr_t start = (uintptr_t)span_start(i) / 8 * 8;
        if (start > from)
            ASAN_POISON_MEMORY_REGION((void *)from, start - from);
        from = ((uintptr_t)span_start(i) + span_bytes[i] + 7) / 8 * 8;
    }
    ASAN_POISON_MEMORY_REGION((void *)from, MEMORY_AT + 2 * SLOTS * SLOT_BYTES - from);
}

static bool touches_another(size_t slot, size_t size_bytes)
{
    for (size_t i = 0; i < SLOTS; i++) {
        if (i != slot && span_bytes[i] != 0 && span_start(i) < span_start(slot) + size_bytes &&
            span_start(slot) < span_start(i) + span_bytes[i])
            return true;
    }
    return false;
}

static void random_claim(size_t slot)
{
    const size_t size_bytes = 1024 + test_random_below(SLOT_BYTES);

    span_offset[slot] = test_random_below(32);
    lend_from(span_start(slot), size_bytes);
    const enum loam_status status = loam_arena_claim(heap, span_start(slot), size_bytes);
    if (touches_another(slot, size_bytes)) {
        assert_int_equal(status, LOAM_OVERLAP);
    } else {
        assert_int_equal(status, LOAM_OK);
        span_bytes[slot] = size_bytes;
    }
    poison_the_rest();
}

static void random_extend(size_t slot)
{
    const size_t size_bytes = span_bytes[slot] - 20 + test_random_below(SLOT_BYTES / 2);

    lend_from(span_start(slot), size_bytes);
    const enum loam_status status = loam_arena_extend(heap, span_start(slot), size_bytes);
    if (size_bytes < span_bytes[slot]) {
        assert_int_equal(status, LOAM_INVALID);
    } else if (touches_another(slot, size_bytes)) {
        assert_int_equal(status, LOAM_OVERLAP);
    } else {
        assert_int_equal(status, LOAM_OK);
        span_bytes[slot] = size_bytes;
    }
    poison_the_rest();
}

static void random_truncate(size_t slot)
{
    const size_t needed = loam_arena_span_needed(heap, span_start(slot));
    const size_t size_bytes = test_random_below(4) != 0
                                  ? needed - 1 + test_random_below(span_bytes[slot] - needed + 3)
                                  : test_random_below(span_bytes[slot] + 100);

    assert_true(needed <= span_bytes[slot]);
    assert_true(needed >= last_end(slot));
    assert_true(needed <= last_end(slot) + 64 || needed <= 520);
    const enum loam_status status = loam_arena_truncate(heap, span_start(slot), size_bytes);
    if (size_bytes > span_bytes[slot] || size_bytes < LOAM_ARENA_SPAN_MIN)
        assert_int_equal(status, LOAM_INVALID);
    else if (size_bytes >= needed)
        assert_int_equal(status, LOAM_OK);
    else
        assert_int_not_equal(status, LOAM_OK);
    if (status == LOAM_OK)
        span_bytes[slot] = size_bytes;
    poison_the_rest();
}

static void random_release(size_t slot)
{
    const enum loam_status status = loam_arena_release(heap, span_start(slot));

    if (last_end(slot) != 0) {
        assert_int_equal(status, LOAM_OVERLAP);
        return;
    }
    assert_int_equal(status, LOAM_OK);
    span_bytes[slot] = 0;
    poison_the_rest();
}

static void random_span_step(size_t slot)
{
    if (span_bytes[slot] == 0) {
        random_claim(slot);
        return;
    }
    switch (test_random_below(4)) {
    case 0:
        random_extend(slot);
        break;
    case 1:
        random_truncate(slot);
        break;
    case 2:
        random_release(slot);
        break;
    default:
        assert_int_equal(loam_arena_claim(heap, span_start(slot), 4096), LOAM_OVERLAP);
        break;
    }
}

/* ---- all ----------------------------------------------------------------- */

static void compare_with_oracle(void)
{
    size_t used_count = 0;
    size_t used_bytes = 0;
    size_t span_sum = 0;
    size_t span_count = 0;

    for (size_t i = 0; i < BLOCKS; i++) {
        used_count += live[i].at != NULL;
        used_bytes += live[i].at != NULL ? live[i].size_bytes : 0;
    }
    for (size_t i = 0; i < SLOTS; i++) {
        span_sum += span_bytes[i];
        span_count += span_bytes[i] != 0;
    }
    assert_null(loam_arena_audit(heap));
    assert_int_equal(heap->used_count, used_count);
    assert_int_equal(heap->span_bytes, span_sum);
    assert_int_equal(heap->span_count, span_count);
    assert_true(heap->used_bytes >= used_bytes + 4 * used_count);
    assert_true(heap->used_bytes <= used_bytes + 64 * used_count);
    assert_true(heap->deferred_count <= heap->deferred_max);
}

static void random_step(void)
{
    const size_t i = test_random_below(BLOCKS);

    switch (test_random_below(64)) {
    case 0:
    case 1:
        random_span_step(test_random_below(SLOTS));
        break;
    case 2:
        loam_arena_merge(heap);
        break;
    case 3:
        if (stats().largest_free_bytes != 0)
            give(take(stats().largest_free_bytes));
        break;
    default:
        if (live[i].at == NULL)
            random_alloc(i);
        else if (test_random_below(3) == 0)
            random_realloc(i);
        else
            random_free(i);
        break;
    }
}

static void free_and_release_all(void)
{
    for (size_t i = 0; i < BLOCKS; i++) {
        if (live[i].at != NULL)
            random_free(i);
    }
    compare_with_oracle();
    expect_empty();
    for (size_t i = 0; i < SLOTS; i++) {
        if (span_bytes[i] != 0)
            random_release(i);
    }
    compare_with_oracle();
    assert_int_equal(stats().free_count, 0);
}

static void arena_agrees_with_the_oracle(void **state)
{
    static const unsigned deferred_max[] = { LOAM_ARENA_DEFERRED_DEFAULT, 0, 3 };

    (void)state;
    for (int round = 0; round < 6; round++) {
        heap_without_spans();
        memset(live, 0, sizeof(live));
        memset(span_bytes, 0, sizeof(span_bytes));
        heap->deferred_max = deferred_max[round % 3];
        for (int step = 0; step < 4000; step++) {
            random_step();
            compare_with_oracle();
        }
        free_and_release_all();
    }
}

/* Blocks of a program that runs long: always about as many, of all sizes; after
 * each phase all of the span is one block again. */
static void arena_does_not_crumble(void **state)
{
    (void)state;
    heap_without_spans();
    memset(live, 0, sizeof(live));
    memset(span_bytes, 0, sizeof(span_bytes));
    span_offset[0] = 0;
    span_bytes[0] = 2 * SLOTS * SLOT_BYTES;
    assert_int_equal(loam_arena_claim(heap, lend(0, span_bytes[0]), span_bytes[0]), LOAM_OK);
    const size_t largest = stats().largest_free_bytes;
    for (int round = 0; round < 5; round++) {
        for (int step = 0; step < 6000; step++) {
            const size_t i = test_random_below(BLOCKS);
            if (live[i].at == NULL)
                random_alloc(i);
            else
                random_free(i);
            if (step % 256 == 0)
                compare_with_oracle();
        }
        for (size_t i = 0; i < BLOCKS; i++) {
            if (live[i].at != NULL)
                random_free(i);
        }
        compare_with_oracle();
        give(take(largest));
        expect_empty();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_agrees_with_the_oracle),
        cmocka_unit_test(arena_does_not_crumble),
    };
    return RUN_TESTS(tests);
}
