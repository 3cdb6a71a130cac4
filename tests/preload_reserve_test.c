/*
 * preload_reserve_test.c - the memory of handlers that interrupt malloc: preload/reserve.c,
 * compared with a list of the blocks that are out.
 */
#include "harness.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "preload/reserve.c"

#define FOREIGN "heap: not a block of this heap"
#define TWICE   "heap: already free"

/* ---- examples ---------------------------------------------------------------------- */

static void small_blocks_are_rounded_up_to_64_bytes(void **state)
{
    static const size_t sizes[][2] = { { 0, 64 },      { 1, 64 },      { 64, 64 },
                                       { 65, 128 },    { 100, 128 },   { 4032, 4032 },
                                       { 4033, 4096 }, { 4096, 4096 }, { 4097, 8192 } };
    (void)state;

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        void *const block = preload_reserve_alloc(sizes[i][0], 16);
        assert_non_null(block);
        assert_int_equal(preload_reserve_usable(block), sizes[i][1]);
        memset(block, 0xee, sizes[i][1]);
        assert_true(preload_reserve_free(block));
    }
}

static void blocks_are_aligned_as_asked(void **state)
{
    (void)state;

    for (size_t align = 1; align <= (size_t)1 << 24; align *= 2) {
        void *const first = preload_reserve_alloc(100, align);
        void *const second = preload_reserve_alloc(5000, align);
        assert_int_equal((uintptr_t)first & (align - 1), 0);
        assert_int_equal((uintptr_t)second & (align - 1), 0);
        assert_true(preload_reserve_free(first));
        assert_true(preload_reserve_free(second));
    }
}

static void what_no_memory_has_is_refused_and_errno_is_left_alone(void **state)
{
    (void)state;

    errno = 12345;
    assert_null(preload_reserve_alloc(SIZE_MAX, 16));
    assert_null(preload_reserve_alloc((size_t)PTRDIFF_MAX, 16));
    assert_null(preload_reserve_alloc((size_t)1 << 62, (size_t)1 << 62));
    assert_int_equal(errno, 12345);
}

static void others_addresses_are_none_of_the_reserve(void **state)
{
    int local = 0;
    (void)state;

    assert_false(preload_reserve_free(&local));
    assert_int_equal(preload_reserve_usable(&local), 0);
    assert_int_equal(preload_reserve_usable(NULL), 0);
}

static void wrong_frees_panic(void **state)
{
    char *const block = preload_reserve_alloc(300, 16);
    (void)state;

    EXPECT_PANIC(FOREIGN, (void)preload_reserve_free(block + 1));
    EXPECT_PANIC(FOREIGN, (void)preload_reserve_free(block + 64));
    assert_true(preload_reserve_free(block));
    EXPECT_PANIC(TWICE, (void)preload_reserve_free(block));
}

static void more_blocks_than_there_is_room_for_are_refused(void **state)
{
    static void *blocks[RESERVE_WORDS + RESERVE_MAPS + 1];
    (void)state;

    for (size_t i = 0; i < RESERVE_WORDS + RESERVE_MAPS; i++) {
        blocks[i] = preload_reserve_alloc(4096, 16);
        assert_non_null(blocks[i]);
    }
    assert_null(preload_reserve_alloc(4096, 16));
    assert_null(preload_reserve_alloc(1, 16));
    for (size_t i = 0; i < RESERVE_WORDS + RESERVE_MAPS; i++)
        assert_true(preload_reserve_free(blocks[i]));
    assert_int_equal(atomic_load(&reserve.map_count), 0);
}

/* ---- any sequence ------------------------------------------------------------------- */

#define LIVE_MAX 300

struct live {
    unsigned char *block;
    size_t size;
    unsigned char mark;
};

static void no_two_blocks_share_a_byte(void **state)
{
    static struct live live[LIVE_MAX];
    size_t count = 0;
    (void)state;

    for (unsigned step = 0; step < 20000; step++) {
        if (count < LIVE_MAX && test_random_below(2) == 0) {
            const size_t size =
                test_random_below(16) == 0 ? test_random_below(20000) : test_random_below(700);
            const size_t align = (size_t)1 << test_random_below(13);
            const struct live one = { preload_reserve_alloc(size, align), size,
                                      (unsigned char)step };
            assert_non_null(one.block);
            assert_int_equal((uintptr_t)one.block & (align - 1), 0);
            assert_true(preload_reserve_usable(one.block) >= size);
            memset(one.block, one.mark, size);
            live[count++] = one;
        } else if (count != 0) {
            const size_t i = test_random_below(count);
            for (size_t at = 0; at < live[i].size; at++) {
                if (live[i].block[at] != live[i].mark)
                    fail_msg("byte %zu of %zu has changed", at, live[i].size);
            }
            assert_true(preload_reserve_free(live[i].block));
            live[i] = live[--count];
        }
    }
    while (count != 0)
        assert_true(preload_reserve_free(live[--count].block));
    for (unsigned word = 0; word < RESERVE_WORDS; word++) {
        assert_int_equal(atomic_load(&reserve.used[word]), 0);
        assert_int_equal(atomic_load(&reserve.first[word]), 0);
        assert_int_equal(atomic_load(&reserve.last[word]), 0);
    }
}

/* ---- several at once ---------------------------------------------------------------- */

static void *take_and_give(void *number)
{
    const unsigned char mark = (unsigned char)(uintptr_t)number;

    for (unsigned round = 0; round < 20000; round++) {
        const size_t size = round * 37 % 900 + 1;
        unsigned char *const block = preload_reserve_alloc(size, 16);
        memset(block, mark, size);
        if (block[0] != mark || block[size - 1] != mark)
            return number;
        (void)preload_reserve_free(block);
    }
    return NULL;
}

static void threads_get_blocks_of_their_own(void **state)
{
    pthread_t threads[4];
    (void)state;

    for (uintptr_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_give, (void *)(i + 1)), 0);
    for (size_t i = 0; i < 4; i++) {
        void *wrong = NULL;
        assert_int_equal(pthread_join(threads[i], &wrong), 0);
        assert_null(wrong);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_blocks_are_rounded_up_to_64_bytes),
        cmocka_unit_test(blocks_are_aligned_as_asked),
        cmocka_unit_test(what_no_memory_has_is_refused_and_errno_is_left_alone),
        cmocka_unit_test(others_addresses_are_none_of_the_reserve),
        cmocka_unit_test(wrong_frees_panic),
        cmocka_unit_test(more_blocks_than_there_is_room_for_are_refused),
        cmocka_unit_test(no_two_blocks_share_a_byte),
        cmocka_unit_test(threads_get_blocks_of_their_own),
    };
    return RUN_TESTS(tests);
}
