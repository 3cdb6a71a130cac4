/*
 * allocator_model_test.c - any sequence of calls on any kind of heap, against an
 * oracle that knows nothing but which bytes are given out: no two blocks share
 * one, every block is aligned and keeps its contents, and when all are freed
 * everything can be had again.
 */
#include "allocator_world.h"

#define BLOCKS_MAX 200u

static struct {
    unsigned char *at; /* NULL: unused */
    size_t size_bytes;
    unsigned seed;
} live[BLOCKS_MAX];
static unsigned char is_used[WORLD_BYTES];

static void mark(const unsigned char *block, size_t size_bytes, unsigned char value)
{
    const size_t from = (size_t)(block - world.span);
    const size_t count = size_bytes == 0 ? 1 : size_bytes; /* one place, one block */
    size_t wrong = 0;

    assert_true(block >= world.span && from + size_bytes <= WORLD_BYTES);
    for (size_t i = from; i < from + count; i++) {
        wrong += is_used[i] == value;
        is_used[i] = value;
    }
    assert_int_equal(wrong, 0);
}

static void oracle_enter(size_t i, unsigned char *block, size_t size_bytes, size_t align)
{
    assert_int_equal((uintptr_t)block % align, 0);
    live[i].at = block;
    live[i].size_bytes = size_bytes;
    live[i].seed = (unsigned)test_random();
    mark(block, size_bytes, 1);
    pattern_write(block, size_bytes, live[i].seed);
}

static void oracle_leave(size_t i)
{
    assert_true(pattern_is(live[i].at, live[i].size_bytes, live[i].seed));
    mark(live[i].at, live[i].size_bytes, 0);
    live[i].at = NULL;
}

static size_t random_size(void)
{
    switch (test_random_below(16)) {
    case 0:
        return test_random_below(60000);
    case 1:
    case 2:
        return test_random_below(6000);
    case 3:
        return 0;
    default:
        return test_random_below(300);
    }
}

static size_t random_align(void)
{
    return (size_t)1 << (test_random_below(8) == 0 ? test_random_below(13) : test_random_below(5));
}

static void random_alloc(size_t i)
{
    const size_t size_bytes = random_size();
    const size_t align = random_align();
    const uint64_t before = loam_allocator_digest(&world.allocator);
    unsigned char *block = loam_allocator_alloc(&world.allocator, size_bytes, align);

    if (block == NULL)
        assert_int_equal(loam_allocator_digest(&world.allocator), before);
    else
        oracle_enter(i, block, size_bytes, align);
}

static void random_realloc(size_t i)
{
    const size_t old_bytes = live[i].size_bytes;
    const bool say_size = !world_knows_sizes() || test_random_below(2) == 0;
    const struct loam_resize resize = { say_size ? old_bytes : LOAM_SIZE_UNKNOWN, random_size(),
                                        random_align() };
    const unsigned seed = live[i].seed;
    unsigned char *old = live[i].at;
    unsigned char *moved = loam_allocator_realloc(&world.allocator, old, &resize);

    if (moved == NULL) {
        assert_true(pattern_is(old, old_bytes, seed));
        return;
    }
    mark(old, old_bytes, 0);
    assert_true(
        pattern_is(moved, old_bytes < resize.size_bytes ? old_bytes : resize.size_bytes, seed));
    oracle_enter(i, moved, resize.size_bytes, resize.align);
}

static void random_free(size_t i)
{
    unsigned char *block = live[i].at;

    if (world_knows_sizes() && test_random_below(2) == 0) {
        oracle_leave(i);
        loam_allocator_free(&world.allocator, block);
    } else {
        const size_t size_bytes = live[i].size_bytes;
        oracle_leave(i);
        loam_allocator_free_sized(&world.allocator, block, size_bytes);
    }
}

static void random_step(uint64_t frees_in_8)
{
    const size_t i = test_random_below(BLOCKS_MAX);

    if (live[i].at == NULL)
        random_alloc(i);
    else if (test_random_below(8) < frees_in_8)
        random_free(i);
    else
        random_realloc(i);
}

static void free_all(void)
{
    for (size_t i = 0; i < BLOCKS_MAX; i++) {
        if (live[i].at != NULL)
            random_free(i);
    }
}

/* The largest size that can be had now. */
static size_t largest(void)
{
    size_t low = 0;
    size_t high = WORLD_BYTES + 1;

    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        void *block = loam_allocator_alloc(&world.allocator, middle, 1);
        if (block != NULL) {
            loam_allocator_free_sized(&world.allocator, block, middle);
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

static void any_sequence_on(enum world_heap heap)
{
    world_of(heap);
    memset(live, 0, sizeof(live));
    memset(is_used, 0, sizeof(is_used));
    const size_t whole = largest();
    assert_true(whole > WORLD_BYTES - WORLD_BYTES / 64);
    for (unsigned round = 0; round < 6; round++) {
        for (unsigned step = 0; step < 600; step++) {
            random_step(1 + round % 3 * 3);
            if (step % 16 == 0)
                assert_null(loam_allocator_audit(&world.allocator));
        }
        size_t count = 0;
        for (size_t i = 0; i < BLOCKS_MAX; i++)
            count += live[i].at != NULL;
        assert_int_equal(world_stats().used_count, count);
        free_all();
        assert_null(loam_allocator_audit(&world.allocator));
        assert_int_equal(world_stats().used_count, 0);
        assert_int_equal(world_stats().used_bytes, 0);
        assert_int_equal(largest(), whole);
    }
}

static void model_bump(void **state)
{
    (void)state;
    any_sequence_on(WORLD_BUMP);
}

static void model_freelist(void **state)
{
    (void)state;
    any_sequence_on(WORLD_FREELIST);
}

static void model_freelist_sized(void **state)
{
    (void)state;
    any_sequence_on(WORLD_FREELIST_SIZED);
}

static void model_block_over_freelist(void **state)
{
    (void)state;
    any_sequence_on(WORLD_BLOCK_FREELIST);
}

static void model_block_over_arena(void **state)
{
    (void)state;
    any_sequence_on(WORLD_BLOCK_ARENA);
}

static void model_arena(void **state)
{
    (void)state;
    any_sequence_on(WORLD_ARENA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(model_bump),
        cmocka_unit_test(model_freelist),
        cmocka_unit_test(model_freelist_sized),
        cmocka_unit_test(model_block_over_freelist),
        cmocka_unit_test(model_block_over_arena),
        cmocka_unit_test(model_arena),
    };
    return RUN_TESTS(tests);
}
