/*
 * locked_model_test.c - any sequence of calls, on every heap behind every lock,
 * watched and not: blocks keep their contents, share nothing, and after each call
 * the lock is free and interrupts are on.
 */
#include "locked_world.h"

#define BLOCKS_MAX 48u
#define STEPS      400u

static struct {
    unsigned char *at; /* NULL: unused */
    size_t size_bytes;
    unsigned seed;
} live[BLOCKS_MAX];

static size_t random_size(void)
{
    return test_random_below(test_random_below(8) == 0 ? 20000 : 200);
}

static void enter(size_t i, unsigned char *block, size_t size_bytes)
{
    for (size_t j = 0; j < BLOCKS_MAX; j++) {
        const bool apart = j == i || live[j].at == NULL ||
                           block >= live[j].at + live[j].size_bytes ||
                           block + size_bytes <= live[j].at;
        assert_true(apart);
    }
    live[i].at = block;
    live[i].size_bytes = size_bytes;
    live[i].seed = (unsigned)test_random();
    pattern_write(block, size_bytes, live[i].seed);
}

static void random_alloc(size_t i)
{
    const size_t size_bytes = random_size();
    const size_t align = (size_t)1 << test_random_below(8);
    const bool zeroed = test_random_below(4) == 0;
    unsigned char *block = zeroed ? loam_locked_calloc(&locked, 1, size_bytes, align)
                                  : loam_locked_alloc(&locked, size_bytes, align);

    if (block == NULL)
        return;
    assert_int_equal((uintptr_t)block % align, 0);
    for (size_t k = 0; zeroed && k < size_bytes; k++)
        assert_int_equal(block[k], 0);
    enter(i, block, size_bytes);
}

static void random_realloc(size_t i)
{
    const struct loam_resize resize = { live[i].size_bytes, random_size(),
                                        (size_t)1 << test_random_below(8) };
    const size_t kept = resize.size_bytes < resize.old_bytes ? resize.size_bytes : resize.old_bytes;
    unsigned char *moved = loam_locked_realloc(&locked, live[i].at, &resize);

    if (moved == NULL) {
        assert_true(pattern_is(live[i].at, live[i].size_bytes, live[i].seed));
        return;
    }
    assert_int_equal((uintptr_t)moved % resize.align, 0);
    assert_true(pattern_is(moved, kept, live[i].seed));
    enter(i, moved, resize.size_bytes);
}

static void random_free(size_t i)
{
    const bool sized = (!world_knows_sizes() && !ways[way].debug) || test_random_below(2) == 0;

    assert_true(pattern_is(live[i].at, live[i].size_bytes, live[i].seed));
    if (sized)
        loam_locked_free_sized(&locked, live[i].at, live[i].size_bytes);
    else
        loam_locked_free(&locked, live[i].at);
    live[i].at = NULL;
}

static size_t count_live(void)
{
    size_t count = 0;

    for (size_t i = 0; i < BLOCKS_MAX; i++)
        count += live[i].at != NULL;
    return count;
}

static void any_sequence(void)
{
    memset(live, 0, sizeof(live));
    locked_world_of(world.heap);
    for (unsigned step = 0; step < STEPS; step++) {
        const size_t i = test_random_below(BLOCKS_MAX);
        if (live[i].at == NULL)
            random_alloc(i);
        else if (test_random_below(2) == 0)
            random_realloc(i);
        else
            random_free(i);
        expect_unlocked();
        if (step % 32 == 0)
            assert_null(loam_locked_audit(&locked));
    }
    const struct loam_locked_stats stats = locked_stats();
    assert_int_equal(stats.alloc_count - stats.free_count, count_live());
    for (size_t i = 0; i < BLOCKS_MAX; i++) {
        if (live[i].at != NULL)
            random_free(i);
    }
    if (ways[way].debug) {
        assert_int_equal(locked.debug.used_count, 0);
        loam_debug_flush(&locked.debug);
    }
    assert_null(loam_locked_audit(&locked));
    assert_int_equal(locked_stats().heap.used_count, 0);
    assert_int_equal(locked_stats().heap.used_bytes, 0);
}

static void locked_keeps_every_block_apart(void **state)
{
    (void)state;
    EACH_WAY
    {
        EACH_HEAP
        any_sequence();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(locked_keeps_every_block_apart),
    };
    return RUN_TESTS(tests);
}
