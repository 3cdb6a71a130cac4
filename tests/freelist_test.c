/*
 * freelist_test.c - the first-fit heap: pictures, an oracle that knows only where
 * blocks lie, and exhaustion.
 */
#include "freelist_world.h"

/* ---- examples ------------------------------------------------------------ */

/*
 *   [h a )[h b  )[h c )[h free              )      freed in any order:
 *                                                  [h free                   )
 */
static void freelist_free_neighbours_become_one(void **state)
{
    static const unsigned orders[6][3] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 },
                                           { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };

    (void)state;
    for (size_t i = 0; i < 6; i++) {
        heap_of(SPAN);
        unsigned char *block[3] = { take(100), take(200), take(300) };
        assert_ptr_equal(block[1], block[0] + 112 + HEADER); /* 100, rounded */
        assert_ptr_equal(block[2], block[1] + 208 + HEADER);
        for (size_t j = 0; j < 3; j++)
            give(block[orders[i][j]]);
        expect_empty();
        take(1); /* the peak stays what it was */
        assert_int_equal(stats().peak_bytes, 112 + 208 + 304 + 3 * HEADER);
    }
}

/* Holes of 64, 256 and 128 bytes: the first that is large enough is taken. */
static void freelist_takes_the_first_fit(void **state)
{
    (void)state;
    heap_of(SPAN);
    unsigned char *small = take(64);
    take(1);
    unsigned char *large = take(256);
    take(1);
    unsigned char *middle = take(128);
    take(1);
    give(middle);
    give(small);
    give(large);
    assert_int_equal(stats().free_count, 4);
    unsigned char *end = take(stats().largest_free_bytes); /* what is behind all of them */
    assert_int_equal(stats().free_count, 3);
    assert_int_equal(stats().largest_free_bytes, 256); /* the one in the middle */
    give(end);
    assert_ptr_equal(take(128), large);
    assert_ptr_equal(take(64), small);
    assert_ptr_equal(take(96), large + 128 + HEADER);
    assert_ptr_equal(take(128), middle);
    assert_int_equal(stats().free_count, 1);
}

/* What is left behind a block must hold a free block, or goes with it:
 *   hole 64+16, asked 48: 16 are left, too few, so the block has 64 usable. */
static void freelist_small_rests_stay_with_the_block(void **state)
{
    (void)state;
    heap_of(SPAN);
    unsigned char *hole = take(64);
    take(1);
    give(hole);
    assert_ptr_equal(take(48), hole);
    assert_int_equal(loam_freelist_usable(&heap, hole), 64);
    give(hole);
    assert_ptr_equal(take(32), hole);
    assert_int_equal(loam_freelist_usable(&heap, hole), 32);
    assert_int_equal(stats().free_count, 2);
}

static void freelist_H01_size_0_is_a_distinct_block(void **state)
{
    (void)state;
    heap_of(SPAN);
    unsigned char *a = take(0);
    unsigned char *b = take(0);
    assert_ptr_not_equal(a, b);
    assert_int_equal(stats().used_count, 2);
    loam_freelist_free_sized(&heap, a, 0);
    give(b);
    expect_empty();
}

static void expect_no_alloc(size_t size_bytes, size_t align)
{
    const uint64_t digest = loam_freelist_digest(&heap);
    assert_null(loam_freelist_alloc(&heap, size_bytes, align));
    assert_int_equal(loam_freelist_digest(&heap), digest);
}

/* Sizes around every edge where an addition could wrap; the largest that fits. */
static void freelist_H02_H04_huge_sizes_are_refused(void **state)
{
    (void)state;
    heap_of(SPAN);
    unsigned char *block = take(10);
    for (size_t k = 0; k <= 4096; k++) {
        expect_no_alloc(SIZE_MAX - k, 1);
        expect_no_alloc(((size_t)1 << 63) - 2048 + k, 16);
        assert_null(loam_freelist_realloc(&heap, block, SIZE_MAX - k));
    }
    expect_no_alloc(SPAN, 1);
    const size_t largest = stats().largest_free_bytes;
    expect_no_alloc(largest + 1, 1);
    expect_no_alloc(largest + 16, 1);
    expect_no_alloc(largest, 4096);
    give(take(largest - 1));
    assert_int_equal(loam_freelist_usable(&heap, take(largest)), largest);
    assert_int_equal(stats().free_count, 0);
    assert_int_equal(stats().largest_free_bytes, 0);
    expect_no_alloc(0, 1);
}

static void freelist_H05_bad_alignment_is_refused(void **state)
{
    static const size_t bad[] = {
        0,  3,        24,           (size_t)1 << 63, ((size_t)1 << 63) + 1,
        17, 1u << 20, SIZE_MAX - 1, SIZE_MAX,        ((size_t)1 << 63) - 1
    };

    (void)state;
    heap_of(SPAN);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        expect_no_alloc(1, bad[i]);
    expect_empty();
}

/*
 *   align 1024   [h free gap ...... )[h block )[h free      )
 *
 * The gap before an aligned block is a free block, usable at once; a size that is
 * no multiple of the alignment is fine.
 */
static void freelist_H05_alignment_leaks_nothing(void **state)
{
    (void)state;
    for (size_t align = 1; align <= 16384; align *= 2) {
        heap_of(SPAN);
        for (size_t size_bytes = 1; size_bytes < 50; size_bytes += 16) {
            unsigned char *block = loam_freelist_alloc(&heap, size_bytes, align);
            assert_non_null(block);
            assert_int_equal((uintptr_t)block % align, 0);
            assert_null(loam_freelist_audit(&heap));
            assert_true(loam_freelist_usable(&heap, block) < size_bytes + 32);
            unsigned char *low = take(0);
            if (align > 64)
                assert_true(low < block);
            give(block);
            give(low);
            expect_empty();
        }
    }
}

/* ---- init ---------------------------------------------------------------- */

static void expect_no_init(void *memory, size_t size_bytes)
{
    struct loam_freelist list;
    struct loam_freelist before;

    memset(&list, 0x5a, sizeof(list));
    before = list;
    assert_int_equal(loam_freelist_init(&list, memory, size_bytes), LOAM_INVALID);
    assert_memory_equal(&list, &before, sizeof(list));
}

static void freelist_init_refuses_what_is_no_span(void **state)
{
    _Alignas(16) static unsigned char memory[1100];
    static const size_t small[] = { 0, 1, 16, 1023 };
    static const size_t huge[] = { ((size_t)1 << 63) - 1, (size_t)1 << 63, SIZE_MAX - 4095,
                                   SIZE_MAX - 1,          SIZE_MAX,        (size_t)1 << 56 };

    (void)state;
    for (size_t i = 0; i < sizeof(small) / sizeof(small[0]); i++) {
        expect_no_init(memory, small[i]);
        expect_no_init(NULL, small[i]);
    }
    for (size_t i = 0; i < sizeof(huge) / sizeof(huge[0]); i++) {
        expect_no_init(memory, huge[i]);
        expect_no_init(NULL, huge[i]);
    }
    expect_no_init(NULL, 4096);
    expect_no_init((void *)(UINTPTR_MAX - 4095), 4097);
    expect_no_init((void *)(UINTPTR_MAX - 4), 4096);
    expect_no_init(memory + 1, 1024 + 14);
}

/* Every offset and size: blocks lie aligned inside the span, at most 15 bytes at
 * either end and the mark are not used. */
static void freelist_init_takes_any_alignment(void **state)
{
    (void)state;
    for (size_t offset = 0; offset < 16; offset++) {
        for (size_t size_bytes = 1040; size_bytes < 1060; size_bytes++) {
            struct loam_freelist list;
            unsigned char *memory = malloc(offset + size_bytes); /* ASan guards the end */
            assert_non_null(memory);
            assert_int_equal(loam_freelist_init(&list, memory + offset, size_bytes), LOAM_OK);
            assert_null(loam_freelist_audit(&list));
            const uintptr_t start = (uintptr_t)memory + offset;
            assert_true(list.base >= start && list.base - start < 16);
            assert_true(start + size_bytes - (list.end + HEADER) < 16);
            unsigned char *block = loam_freelist_alloc(&list, list.end - list.base - HEADER, 16);
            assert_non_null(block);
            memset(block, 0xff, list.end - list.base - HEADER);
            loam_freelist_free(&list, block);
            assert_null(loam_freelist_audit(&list));
            free(memory);
        }
    }
}

/* ---- realloc ------------------------------------------------------------- */

static void pattern_write(unsigned char *block, size_t size_bytes, unsigned seed)
{
    for (size_t i = 0; i < size_bytes; i++)
        block[i] = (unsigned char)(seed + i * 7);
}

static void pattern_check(const unsigned char *block, size_t size_bytes, unsigned seed)
{
    for (size_t i = 0; i < size_bytes; i++)
        assert_int_equal(block[i], (unsigned char)(seed + i * 7));
}

static void freelist_H06_realloc_in_place(void **state)
{
    (void)state;
    heap_of(SPAN);
    unsigned char *block = loam_freelist_realloc(&heap, NULL, 100); /* as alloc */
    assert_non_null(block);
    unsigned char *next = take(200);
    take(1);
    pattern_write(block, 100, 1);
    assert_ptr_equal(loam_freelist_realloc(&heap, block, 100), block);
    assert_ptr_equal(loam_freelist_realloc(&heap, block, 112), block); /* its own rounding */
    assert_ptr_equal(loam_freelist_realloc(&heap, block, 90), block);
    assert_int_equal(loam_freelist_usable(&heap, block), 112); /* 16 bytes: no block */
    assert_ptr_equal(loam_freelist_realloc(&heap, block, 80), block);
    assert_int_equal(loam_freelist_usable(&heap, block), 80); /* 32 bytes: a free one */
    assert_ptr_equal(loam_freelist_realloc(&heap, block, 112), block);

    give(next); /* 224 free bytes behind */
    assert_ptr_equal(loam_freelist_realloc(&heap, block, 113), block);
    assert_int_equal(loam_freelist_usable(&heap, block), 128);
    assert_ptr_equal(loam_freelist_realloc(&heap, block, 112), block); /* 16 join the free ones */
    assert_int_equal(loam_freelist_usable(&heap, block), 112);
    assert_ptr_equal(loam_freelist_realloc(&heap, block, 320), block);
    assert_int_equal(loam_freelist_usable(&heap, block), 336); /* the rest of 16 comes along */
    assert_ptr_equal(loam_freelist_realloc(&heap, block, 336), block);
    pattern_check(block, 80, 1);
    assert_null(loam_freelist_audit(&heap));
    assert_ptr_equal(loam_freelist_realloc(&heap, block, 0), block);
    loam_freelist_free_sized(&heap, block, 0);
    assert_null(loam_freelist_audit(&heap));
}

static void freelist_H06_H08_realloc_moves_the_contents(void **state)
{
    (void)state;
    heap_of(SPAN);
    unsigned char *block = take(100);
    pattern_write(block, 100, 3);
    take(1);
    unsigned char *moved = loam_freelist_realloc(&heap, block, 1000);
    assert_non_null(moved);
    assert_ptr_not_equal(moved, block);
    pattern_check(moved, 100, 3);
    assert_int_equal(stats().used_count, 2);
    assert_ptr_equal(take(100), block); /* the old place is free */
    assert_null(loam_freelist_audit(&heap));
}

/* Refused for lack of room, or by an injected failure: the block is as it was. */
static void freelist_H06_failed_realloc_keeps_the_block(void **state)
{
    (void)state;
    heap_of(1024);
    unsigned char *block = take(400);
    take(300);
    pattern_write(block, 400, 5);
    const uint64_t digest = loam_freelist_digest(&heap);
    assert_null(loam_freelist_realloc(&heap, block, 500));
    assert_null(loam_freelist_realloc(&heap, block, 1024));
    assert_null(loam_freelist_realloc(&heap, block, SIZE_MAX));
    assert_int_equal(loam_freelist_digest(&heap), digest);
    pattern_check(block, 400, 5);
    loam_freelist_free_sized(&heap, block, 400);
    assert_null(loam_freelist_audit(&heap));
}

static void freelist_each_failure_changes_nothing(void **state)
{
    unsigned refused = 0;

    (void)state;
    INJECT_EACH_POINT
    {
        heap_of(SPAN);
        unsigned char *block = take(100);
        take(1);
        pattern_write(block, 100, 9);
        uint64_t digest = loam_freelist_digest(&heap);
        INJECT_ARM();
        void *moved = loam_freelist_realloc(&heap, block, 1000);
        void *other = loam_freelist_alloc(&heap, 10, 64);
        INJECT_DISARM();
        assert_null(loam_freelist_audit(&heap));
        if (moved == NULL) {
            assert_true(inject_fired());
            pattern_check(block, 100, 9);
            refused++;
        }
        if (moved == NULL && other == NULL)
            assert_int_equal(loam_freelist_digest(&heap), digest);
        assert_int_equal(stats().used_count, other == NULL ? 2 : 3);
    }
    assert_int_equal(refused, 2);
}

/* ---- the oracle ---------------------------------------------------------- */

#define BLOCKS_MAX 256u

/* Blocks in use, by where they are; that is all the oracle knows. */
static struct {
    unsigned char *at; /* NULL: unused */
    size_t size_bytes;
    size_t usable;
    unsigned seed;
} live[BLOCKS_MAX];
static unsigned char is_used[SPAN]; /* per byte of the span, headers included */

static uint64_t mark_used(const unsigned char *block, size_t usable, unsigned char value)
{
    const size_t from = (size_t)(block - HEADER - span);

    for (size_t i = from; i < from + usable + HEADER; i++) {
        assert_int_equal(is_used[i], !value); /* no two blocks share a byte */
        is_used[i] = value;
    }
    return usable + HEADER;
}

/* Where a request must be served: the lowest aligned place in a run of unused
 * bytes. A gap before it holds a free block of 32 bytes, or is none. */
static unsigned char *first_fit(size_t size_bytes, size_t align)
{
    const uintptr_t base = (uintptr_t)heap.base;
    const uintptr_t end = (uintptr_t)heap.end;
    size_t need = (size_bytes + HEADER + 15) / 16 * 16;

    need = need < 32 ? 32 : need;
    align = align < 16 ? 16 : align;
    for (uintptr_t run = base; run < end;) {
        uintptr_t stop = run;
        while (stop < end && !is_used[stop - (uintptr_t)span])
            stop += 16;
        for (uintptr_t at = run; at < stop && need <= stop - at; at += 16) {
            if ((at + HEADER) % align == 0 && (at == run || at - run >= 32))
                return (unsigned char *)at + HEADER;
        }
        run = stop > run ? stop : run + 16;
    }
    return NULL;
}

static bool fits_in_place(size_t i, size_t size_bytes)
{
    size_t room = live[i].usable;

    while (live[i].at + room < (unsigned char *)(uintptr_t)heap.end &&
           !is_used[(size_t)(live[i].at + room - span)])
        room += 16;
    return (size_bytes + 15) / 16 * 16 <= room;
}

static void oracle_enter(size_t i, unsigned char *block, size_t size_bytes)
{
    live[i].at = block;
    live[i].size_bytes = size_bytes;
    live[i].usable = loam_freelist_usable(&heap, block);
    live[i].seed = (unsigned)test_random();
    assert_true(live[i].usable >= size_bytes);
    assert_true(live[i].usable <= size_bytes + 32);
    mark_used(block, live[i].usable, 1);
    pattern_write(block, size_bytes, live[i].seed);
}

static void oracle_leave(size_t i)
{
    pattern_check(live[i].at, live[i].size_bytes, live[i].seed);
    mark_used(live[i].at, live[i].usable, 0);
    live[i].at = NULL;
}

static size_t random_size(void)
{
    switch (test_random_below(8)) {
    case 0:
        return test_random_below(16000);
    case 1:
        return 0;
    default:
        return test_random_below(300);
    }
}

static void random_realloc(size_t i, size_t size_bytes)
{
    const size_t old_size = live[i].size_bytes;
    const size_t kept = old_size < size_bytes ? old_size : size_bytes;
    const unsigned seed = live[i].seed;
    unsigned char *const old = live[i].at;
    const bool in_place = fits_in_place(i, size_bytes);
    unsigned char *const want = in_place ? old : first_fit(size_bytes, 16);
    const uint64_t digest = loam_freelist_digest(&heap);
    unsigned char *const got = loam_freelist_realloc(&heap, old, size_bytes);

    assert_ptr_equal(got, want);
    if (got == NULL) {
        assert_int_equal(loam_freelist_digest(&heap), digest);
        pattern_check(old, old_size, seed);
        return;
    }
    pattern_check(got, kept, seed);
    mark_used(old, live[i].usable, 0);
    oracle_enter(i, got, size_bytes);
}

static void random_step(void)
{
    const size_t i = test_random_below(BLOCKS_MAX);
    const size_t size_bytes = random_size();

    if (live[i].at == NULL) {
        const size_t align = (size_t)1 << (test_random_below(2) == 0 ? test_random_below(13) : 0);
        unsigned char *const want = first_fit(size_bytes, align);
        const uint64_t digest = loam_freelist_digest(&heap);
        unsigned char *const got = loam_freelist_alloc(&heap, size_bytes, align);
        assert_ptr_equal(got, want);
        if (got != NULL)
            oracle_enter(i, got, size_bytes);
        else
            assert_int_equal(loam_freelist_digest(&heap), digest);
    } else if (test_random_below(3) == 0) {
        random_realloc(i, size_bytes);
    } else {
        unsigned char *const block = live[i].at;
        const size_t old_size = live[i].size_bytes;
        oracle_leave(i);
        if (test_random_below(2) == 0)
            loam_freelist_free_sized(&heap, block, old_size);
        else
            loam_freelist_free(&heap, block);
    }
}

static void compare_with_oracle(void)
{
    size_t used_bytes = 0;
    size_t used_count = 0;

    for (size_t i = 0; i < BLOCKS_MAX; i++) {
        used_bytes += live[i].at != NULL ? live[i].usable + HEADER : 0;
        used_count += live[i].at != NULL ? 1 : 0;
    }
    assert_null(loam_freelist_audit(&heap));
    assert_int_equal(heap.used_bytes, used_bytes);
    assert_int_equal(heap.used_count, used_count);
}

/* Random alloc, realloc and free: every block is where first fit puts it, no two
 * overlap, contents survive, and what is freed becomes one block again. */
static void freelist_agrees_with_first_fit(void **state)
{
    (void)state;
    for (int round = 0; round < 4; round++) {
        heap_of(SPAN);
        memset(live, 0, sizeof(live));
        memset(is_used, 0, sizeof(is_used));
        for (int step = 0; step < 3000; step++) {
            random_step();
            compare_with_oracle();
        }
        for (size_t i = 0; i < BLOCKS_MAX; i++) {
            if (live[i].at == NULL)
                continue;
            unsigned char *const block = live[i].at;
            oracle_leave(i);
            loam_freelist_free(&heap, block);
            compare_with_oracle();
        }
        expect_empty();
    }
}

/* A 4 MiB span, filled until nothing fits, freed in scattered order. */
static void freelist_4_MiB_are_used_up_and_come_back(void **state)
{
    enum { COUNT = 4 * 1024 * 1024 / 272 };
    static unsigned char *block[COUNT + 1];
    size_t count = 0;

    (void)state;
    heap_of(4u << 20);
    while ((block[count] = loam_freelist_alloc(&heap, 256, 16)) != NULL)
        count++;
    assert_int_equal(count, stats().span_bytes / 272);
    assert_null(loam_freelist_audit(&heap));
    assert_true(stats().largest_free_bytes < 256);
    for (size_t i = 0; i < count; i++) /* 7 and COUNT have no common factor */
        loam_freelist_free_sized(&heap, block[i * 7 % count], 256);
    expect_empty();
    assert_int_equal(stats().peak_bytes, count * 272);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(freelist_free_neighbours_become_one),
        cmocka_unit_test(freelist_takes_the_first_fit),
        cmocka_unit_test(freelist_small_rests_stay_with_the_block),
        cmocka_unit_test(freelist_H01_size_0_is_a_distinct_block),
        cmocka_unit_test(freelist_H02_H04_huge_sizes_are_refused),
        cmocka_unit_test(freelist_H05_bad_alignment_is_refused),
        cmocka_unit_test(freelist_H05_alignment_leaks_nothing),
        cmocka_unit_test(freelist_init_refuses_what_is_no_span),
        cmocka_unit_test(freelist_init_takes_any_alignment),
        cmocka_unit_test(freelist_H06_realloc_in_place),
        cmocka_unit_test(freelist_H06_H08_realloc_moves_the_contents),
        cmocka_unit_test(freelist_H06_failed_realloc_keeps_the_block),
        cmocka_unit_test(freelist_each_failure_changes_nothing),
        cmocka_unit_test(freelist_agrees_with_first_fit),
        cmocka_unit_test(freelist_4_MiB_are_used_up_and_come_back),
    };
    return RUN_TESTS(tests);
}
