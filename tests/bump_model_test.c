/*
 * bump_model_test.c - random calls on the bump heap against an oracle that
 * knows only which blocks live.
 */
#include "bump_world.h"

#define BLOCKS_MAX 64u

static struct {
    unsigned char *at; /* NULL: unused */
    size_t size_bytes;
    unsigned seed;
} live[BLOCKS_MAX];
static size_t live_count;

/* A new or moved block: inside the span, aligned, apart from all others. */
static void oracle_add(unsigned i, unsigned char *at, size_t size_bytes, size_t align)
{
    const size_t size = size_bytes == 0 ? 1 : size_bytes;

    assert_int_equal((uintptr_t)at % align, 0);
    assert_true(at >= span && (size_t)(at - span) <= SPAN - size);
    for (unsigned j = 0; j < BLOCKS_MAX; j++) {
        const size_t other = live[j].size_bytes == 0 ? 1 : live[j].size_bytes;
        if (j != i && live[j].at != NULL)
            assert_true(at + size <= live[j].at || live[j].at + other <= at);
    }
    live[i].at = at;
    live[i].size_bytes = size_bytes;
    live[i].seed = (unsigned)test_random();
    pattern_write(at, size_bytes, live[i].seed);
}

static void oracle_alloc(unsigned i)
{
    const size_t size_bytes = (size_t)test_random_below(200);
    const size_t align = (size_t)1 << test_random_below(8);
    const size_t room = (size_t)(heap.end - heap.next);
    const size_t pad = (size_t)(-heap.next & (align - 1));
    unsigned char *at = loam_bump_alloc(&heap, size_bytes, align);

    assert_int_equal(at == NULL, pad + (size_bytes == 0 ? 1 : size_bytes) > room);
    if (at != NULL) {
        oracle_add(i, at, size_bytes, align);
        live_count++;
    }
}

static void oracle_free(unsigned i)
{
    pattern_check(live[i].at, live[i].size_bytes, live[i].seed);
    if (test_random_below(2) == 0)
        loam_bump_free(&heap, live[i].at);
    else
        loam_bump_free_sized(&heap, live[i].at, live[i].size_bytes);
    live[i].at = NULL;
    live_count--;
    if (live_count == 0)
        assert_int_equal(heap.next, heap.start);
}

static void oracle_realloc(unsigned i)
{
    const size_t old_bytes = live[i].size_bytes;
    const struct loam_resize request = {
        test_random_below(2) == 0 ? LOAM_SIZE_UNKNOWN : old_bytes,
        (size_t)test_random_below(200),
        (size_t)1 << test_random_below(8),
    };
    const size_t kept = request.size_bytes < old_bytes ? request.size_bytes : old_bytes;
    const uint64_t digest = loam_bump_digest(&heap);
    unsigned char *at = loam_bump_realloc(&heap, live[i].at, &request);

    if (at == NULL) {
        assert_int_equal(loam_bump_digest(&heap), digest);
        pattern_check(live[i].at, old_bytes, live[i].seed);
        return;
    }
    pattern_check(at, kept, live[i].seed);
    oracle_add(i, at, request.size_bytes, request.align);
}

static void oracle_mark(void)
{
    const struct loam_bump_mark mark = loam_bump_now(&heap);
    const uint64_t digest = loam_bump_digest(&heap);

    for (unsigned k = 0; k < 4; k++)
        (void)!loam_bump_alloc(&heap, (size_t)test_random_below(50), 16);
    loam_bump_release(&heap, mark);
    if (heap.peak_bytes == 0) /* else it may have risen */
        assert_int_equal(loam_bump_digest(&heap), digest);
}

static void random_calls_agree_with_the_oracle(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 20; round++) {
        heap_of(SPAN);
        memset(live, 0, sizeof(live));
        live_count = 0;
        for (unsigned step = 0; step < 2000; step++) {
            const unsigned i = (unsigned)test_random_below(BLOCKS_MAX);
            if (live[i].at == NULL)
                oracle_alloc(i);
            else if (test_random_below(3) == 0)
                oracle_realloc(i);
            else
                oracle_free(i);
            if (step % 50 == 0)
                oracle_mark();
            assert_null(loam_bump_audit(&heap));
            assert_int_equal(heap.count, live_count);
        }
        for (unsigned i = 0; i < BLOCKS_MAX; i++) {
            if (live[i].at != NULL)
                oracle_free(i);
        }
        assert_int_equal(stats().used_bytes, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_calls_agree_with_the_oracle),
    };
    return RUN_TESTS(tests);
}
