/*
 * block_model_test.c - random calls on the heap of size classes against an
 * oracle that knows only where blocks lie and what is in them.
 */
#include "block_world.h"

#define BLOCKS_MAX 1500u

static struct {
    unsigned char *at; /* NULL: unused */
    size_t size_bytes;
    unsigned seed;
} live[BLOCKS_MAX];
static size_t live_count;
static unsigned char is_used[SPAN]; /* per byte asked for */

static void mark(const unsigned char *at, size_t size_bytes, unsigned char value)
{
    assert_true(at >= span && (size_t)(at - span) <= SPAN - size_bytes);
    for (size_t i = 0; i < size_bytes; i++) {
        if (is_used[(size_t)(at - span) + i] == value)
            fail_msg("two blocks share a byte");
        is_used[(size_t)(at - span) + i] = value;
    }
}

static void oracle_set(unsigned i, unsigned char *at, size_t size_bytes, size_t align)
{
    assert_int_equal((uintptr_t)at % align, 0);
    assert_int_equal((uintptr_t)at % LOAM_BLOCK_ALIGN_MIN, 0);
    mark(at, size_bytes, 1);
    live[i].at = at;
    live[i].size_bytes = size_bytes;
    live[i].seed = (unsigned)test_random();
    pattern_write(at, size_bytes, live[i].seed);
}

/* Mostly small; sometimes large; 0 too. */
static size_t random_size(void)
{
    const unsigned shift = (unsigned)test_random_below(16);
    return (size_t)test_random_below(((uint64_t)1 << shift) + 1);
}

static size_t random_align(void)
{
    return test_random_below(4) == 0 ? (size_t)1 << test_random_below(13) : 8;
}

static void oracle_alloc(unsigned i)
{
    const size_t size_bytes = random_size();
    const size_t align = random_align();
    const uint64_t digest = loam_block_digest(&heap);
    unsigned char *at = loam_block_alloc(&heap, size_bytes, align);

    if (at == NULL) {
        assert_int_equal(loam_block_digest(&heap), digest);
        assert_int_equal(stats().empty_count, 0); /* all were given back */
        return;
    }
    oracle_set(i, at, size_bytes, align);
    live_count++;
}

static void oracle_free(unsigned i)
{
    pattern_check(live[i].at, live[i].size_bytes, live[i].seed);
    mark(live[i].at, live[i].size_bytes, 0);
    if (test_random_below(2) == 0)
        loam_block_free(&heap, live[i].at);
    else
        loam_block_free_sized(&heap, live[i].at, live[i].size_bytes);
    live[i].at = NULL;
    live_count--;
}

static void oracle_realloc(unsigned i)
{
    const size_t old_bytes = live[i].size_bytes;
    const struct loam_resize request = {
        test_random_below(2) == 0 ? LOAM_SIZE_UNKNOWN : old_bytes,
        random_size(),
        random_align(),
    };
    const size_t kept = request.size_bytes < old_bytes ? request.size_bytes : old_bytes;
    const uint64_t digest = loam_block_digest(&heap);
    unsigned char *at = loam_block_realloc(&heap, live[i].at, &request);

    if (at == NULL) {
        assert_int_equal(loam_block_digest(&heap), digest);
        assert_true(request.size_bytes > old_bytes ||
                    ((uintptr_t)live[i].at & (request.align - 1)) != 0);
        pattern_check(live[i].at, old_bytes, live[i].seed);
        return;
    }
    pattern_check(at, kept, live[i].seed);
    mark(live[i].at, old_bytes, 0);
    oracle_set(i, at, request.size_bytes, request.align);
}

static void step(unsigned slots)
{
    const unsigned i = (unsigned)test_random_below(slots);

    if (live[i].at == NULL) {
        oracle_alloc(i);
        return;
    }
    assert_true(loam_block_usable(&heap, live[i].at) >= live[i].size_bytes);
    if (test_random_below(3) == 0)
        oracle_realloc(i);
    else
        oracle_free(i);
}

/* From a few blocks to more than there is room for, and down to none again. */
static void random_calls_agree_with_the_oracle(void **state)
{
    static const unsigned slots[] = { 20, 300, BLOCKS_MAX, 100, BLOCKS_MAX };

    (void)state;
    FOR_EACH_FALLBACK(kind)
    {
        heap_of(kind, SPAN);
        memset(live, 0, sizeof(live));
        memset(is_used, 0, sizeof(is_used));
        live_count = 0;
        for (unsigned phase = 0; phase < sizeof(slots) / sizeof(slots[0]); phase++) {
            for (unsigned n = 0; n < 8000; n++) {
                step(slots[phase]);
                if (n % 200 == 0) {
                    expect_sound();
                    assert_int_equal(stats().used_count, live_count);
                    assert_true(stats().peak_bytes <= SPAN);
                }
                if (n % 1000 == 0)
                    (void)loam_block_trim(&heap);
            }
        }
        for (unsigned i = 0; i < BLOCKS_MAX; i++) {
            if (live[i].at != NULL)
                oracle_free(i);
        }
        expect_empty();
    }
}

/* Blocks of one class, thousands of them: every chunk fills and empties many
 * times. */
static void one_class_fills_and_empties(void **state)
{
    static const size_t sizes[] = { 8, 64, 700, 2048 };

    (void)state;
    FOR_EACH_FALLBACK(kind)
    {
        for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
            heap_of(kind, SPAN);
            memset(live, 0, sizeof(live));
            for (unsigned n = 0; n < 20000; n++) {
                const unsigned low = (unsigned)test_random_below(BLOCKS_MAX);
                const unsigned i = n % 8000 < 4000 ? low : low / 10;
                if (live[i].at == NULL) {
                    live[i].at = loam_block_alloc(&heap, sizes[k], 1);
                    if (live[i].at != NULL)
                        memset(live[i].at, (int)i, sizes[k]);
                    continue;
                }
                for (size_t at = 0; at < sizes[k]; at += 7) {
                    if (live[i].at[at] != (unsigned char)i)
                        assert_int_equal(live[i].at[at], (unsigned char)i);
                }
                loam_block_free_sized(&heap, live[i].at, sizes[k]);
                live[i].at = NULL;
                if (n % 500 == 0)
                    expect_sound();
            }
            for (unsigned i = 0; i < BLOCKS_MAX; i++)
                loam_block_free(&heap, live[i].at);
            expect_empty();
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_calls_agree_with_the_oracle),
        cmocka_unit_test(one_class_fills_and_empties),
    };
    return RUN_TESTS(tests);
}
