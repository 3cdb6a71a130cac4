/*
 * freelist_model_test.c - random calls on a linked-list heap against an oracle that
 * knows only which granules somebody has: blocks share none and are aligned, contents
 * survive, a request is refused only if there is no place for it, and what is freed
 * becomes one block again.
 */
#include "freelist_world.h"

#define BLOCKS_MAX 256u
#define GRANULES   (SPAN_QUICK / 8)

enum kind { NONE, HEADER_KIND, BARE };

/* What lives. */
static struct {
    unsigned char *at;
    size_t size_bytes;
    enum kind kind;
    unsigned seed;
} live[BLOCKS_MAX];
static unsigned char is_used[GRANULES]; /* those between base and end */
static size_t granule_count;

static size_t cost(enum kind kind, size_t size_bytes)
{
    if (kind == HEADER_KIND)
        return (size_bytes + OVERHEAD + 15) / 16 * 2;
    return size_bytes <= 16 ? 2 : (size_bytes + 7) / 8;
}

static size_t granule_of(const unsigned char *block, enum kind kind)
{
    const unsigned char *const base = (unsigned char *)(uintptr_t)heap.base;
    return (size_t)(block - base - (kind == HEADER_KIND ? HEADER : 0)) / 8;
}

static void mark(const unsigned char *block, enum kind kind, size_t size_bytes, unsigned char value)
{
    const size_t from = granule_of(block, kind);
    const size_t count = cost(kind, size_bytes);

    assert_true(from < granule_count && count <= granule_count - from);
    for (size_t i = from; i < from + count; i++) {
        if (is_used[i] == value)
            fail_msg("granule %zu has two owners, or none", i);
        is_used[i] = value;
    }
}

/* Is there a place? The definition: any start, all granules unused. */
static bool fits(enum kind kind, size_t size_bytes, size_t align)
{
    const size_t count = cost(kind, size_bytes);
    const uintptr_t base = (uintptr_t)heap.base + (kind == HEADER_KIND ? HEADER : 0);
    size_t run = 0;

    align = kind == HEADER_KIND && align < 16 ? 16 : align;
    for (size_t end = 1; end <= granule_count; end++) {
        run = is_used[end - 1] ? 0 : run + 1;
        /* The latest start of those that this granule ends is looked at. */
        if (run >= count && (base + 8 * (end - count)) % align == 0)
            return true;
    }
    return false;
}

static bool fits_behind(size_t i, size_t size_bytes)
{
    const size_t from = granule_of(live[i].at, live[i].kind);
    size_t count = cost(live[i].kind, live[i].size_bytes);

    while (from + count < granule_count && !is_used[from + count])
        count++;
    return cost(live[i].kind, size_bytes) <= count;
}

static void enter(size_t i, enum kind kind, unsigned char *block, size_t size_bytes)
{
    live[i].at = block;
    live[i].size_bytes = size_bytes;
    live[i].kind = kind;
    live[i].seed = (unsigned)test_random();
    if (kind == HEADER_KIND)
        assert_int_equal(loam_freelist_usable(&heap, block), size_bytes);
    mark(block, kind, size_bytes, 1);
    pattern_write(block, size_bytes, live[i].seed);
}

static void leave(size_t i)
{
    mark(live[i].at, live[i].kind, live[i].size_bytes, 0);
    live[i].kind = NONE;
}

static size_t random_size(size_t size_max)
{
    switch (test_random_below(8)) {
    case 0:
        return test_random_below(size_max);
    case 1:
        return test_random_below(3) * 8;
    default:
        return test_random_below(300);
    }
}

static void random_alloc(size_t i, size_t size_bytes, enum kind kind)
{
    const size_t align = (size_t)1 << (test_random_below(2) == 0 ? test_random_below(13) : 0);
    const bool expected = fits(kind, size_bytes, align);
    const uint64_t digest = loam_freelist_digest(&heap);
    unsigned char *const got = kind == HEADER_KIND ? loam_freelist_alloc(&heap, size_bytes, align)
                                                   : loam_freelist_take(&heap, size_bytes, align);

    assert_int_equal(got != NULL, expected);
    if (got == NULL) {
        assert_int_equal(loam_freelist_digest(&heap), digest);
        return;
    }
    assert_int_equal((uintptr_t)got % align, 0);
    enter(i, kind, got, size_bytes);
}

static void random_resize(size_t i, size_t size_bytes)
{
    unsigned char *const old = live[i].at;
    const enum kind kind = live[i].kind;
    const size_t old_size = live[i].size_bytes;
    const unsigned seed = live[i].seed;
    const size_t align = (size_t)1 << (test_random_below(8) == 0 ? test_random_below(10) : 0);
    const bool may_stay = (uintptr_t)old % align == 0 && fits_behind(i, size_bytes);
    const bool may_move = fits(kind, size_bytes, align);
    const uint64_t digest = loam_freelist_digest(&heap);
    const struct loam_resize request = { old_size, size_bytes, align };
    unsigned char *const got = kind == HEADER_KIND
                                   ? loam_freelist_realloc(&heap, old, size_bytes, align)
                                   : loam_freelist_resize(&heap, old, &request);

    pattern_check(got != NULL ? got : old, old_size < size_bytes ? old_size : size_bytes, seed);
    assert_int_equal(got != NULL, may_stay || may_move);
    if (got == NULL) {
        assert_int_equal(loam_freelist_digest(&heap), digest);
        return;
    }
    if (got == old)
        assert_true(may_stay);
    else if (heap.quick == 0)
        assert_false(may_stay);
    assert_int_equal((uintptr_t)got % align, 0);
    leave(i);
    enter(i, kind, got, size_bytes);
}

static void random_free(size_t i)
{
    unsigned char *const block = live[i].at;
    const size_t size_bytes = live[i].size_bytes;

    pattern_check(block, size_bytes, live[i].seed);
    if (live[i].kind == BARE)
        loam_freelist_give(&heap, block, size_bytes);
    else if (test_random_below(2) == 0)
        loam_freelist_free_sized(&heap, block, size_bytes);
    else
        loam_freelist_free(&heap, block);
    leave(i);
}

static void compare(void)
{
    size_t used_bytes = 0;
    size_t used_count = 0;
    size_t bare_count = 0;

    for (size_t i = 0; i < BLOCKS_MAX; i++) {
        used_bytes += live[i].kind != NONE ? 8 * cost(live[i].kind, live[i].size_bytes) : 0;
        used_count += live[i].kind != NONE;
        bare_count += live[i].kind == BARE;
    }
    const char *const broken = loam_freelist_audit(&heap);
    if (broken != NULL)
        fail_msg("audit: %s", broken);
    assert_int_equal(heap.used_bytes, used_bytes);
    assert_int_equal(heap.used_count, used_count);
    assert_int_equal(heap.headerless_count, bare_count);
}

/* What there is most of: kinds of blocks in eighths with header. */
static void random_calls(size_t size_bytes, unsigned step_count, unsigned with_header)
{
    heap_of(size_bytes);
    granule_count = (heap.end - heap.base) / 8;
    memset(live, 0, sizeof(live));
    memset(is_used, 0, sizeof(is_used));
    for (unsigned step = 0; step < step_count; step++) {
        const size_t i = test_random_below(BLOCKS_MAX);
        const size_t random = random_size(size_bytes / 4);
        if (live[i].kind == NONE)
            random_alloc(i, random, test_random_below(8) < with_header ? HEADER_KIND : BARE);
        else if (test_random_below(3) == 0)
            random_resize(i, random);
        else
            random_free(i);
        compare();
    }
    for (size_t i = 0; i < BLOCKS_MAX; i++) {
        if (live[i].kind == NONE)
            continue;
        random_free(i);
        compare();
    }
    expect_empty();
}

static void freelist_model_of_blocks_with_header(void **state)
{
    (void)state;
    random_calls(65536, 3000, 8);
    random_calls(SPAN_QUICK, 1500, 8);
}

static void freelist_model_of_blocks_without(void **state)
{
    (void)state;
    random_calls(65536, 3000, 0);
    random_calls(SPAN_QUICK, 3000, 0);
}

static void freelist_model_of_both(void **state)
{
    (void)state;
    random_calls(65536, 3000, 4);
    random_calls(SPAN_QUICK, 3000, 3);
}

/* Little room: most requests are refused, and every granule counts. */
static void freelist_model_of_a_full_heap(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 8; round++)
        random_calls(4096 + 512 * round, 1500, round);
}

/* A 4 MiB span, filled until nothing fits, freed in scattered order. */
static void freelist_4_MiB_are_used_up_and_come_back(void **state)
{
    enum { COUNT = 4 * 1024 * 1024 / 256 };
    static unsigned char *block[COUNT + 1];

    (void)state;
    for (unsigned bare = 0; bare < 2; bare++) {
        size_t count = 0;
        heap_of(4u << 20);
        while ((block[count] = bare != 0 ? loam_freelist_take(&heap, 256, 8)
                                         : loam_freelist_alloc(&heap, 240, 16)) != NULL)
            count++;
        assert_int_equal(count, stats().span_bytes / 256);
        assert_null(loam_freelist_audit(&heap));
        for (size_t i = 0; i < count; i++) { /* 7 and COUNT have no common factor */
            unsigned char *const next = block[i * 7 % count];
            if (bare != 0)
                loam_freelist_give(&heap, next, 256);
            else
                loam_freelist_free_sized(&heap, next, 240);
        }
        expect_empty();
        assert_int_equal(stats().peak_bytes, count * 256);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(freelist_model_of_blocks_with_header),
        cmocka_unit_test(freelist_model_of_blocks_without),
        cmocka_unit_test(freelist_model_of_both),
        cmocka_unit_test(freelist_model_of_a_full_heap),
        cmocka_unit_test(freelist_4_MiB_are_used_up_and_come_back),
    };
    return RUN_TESTS(tests);
}
