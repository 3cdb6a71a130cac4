/*
 * heap_hardened_test.c - LOAM_HEAP_HARDENED: what a heap notices, and what it hides. Rows H of
 * BAD_INPUTS are named. Guard pages need a system: tests/libloam.
 */
#define LOAM_HEAP_MODE 1 /* LOAM_HEAP_HARDENED; config.h names it later */

#include "alone/heap.c" /* before there is a heap that its names would hide */

#include "heap_world.h"

#define TWICE "heap: already free"
#define PAST  "heap: written past the end"
#define FREED "heap: written after free"

LOAM_STATIC_ASSERT(LOAM_HEAP_MODE == LOAM_HEAP_HARDENED, "what is tested here");

static const size_t sizes[] = {
    1,    7,    8,    9,     15,    16,          17,      24,    40,
    100,  248,  249,  1000,  1016,  1017,        4000,    4088,  4096,
    5000, 8192, 9000, 40000, 65528, KIB(64) - 7, KIB(64), 70000, 250000
};

static void hardened_on(uint64_t seed)
{
    struct loam_pagemap_setup setup = window_map();

    setup.seed = seed;
    memset(&heap, RUBBISH, sizeof(heap));
    assert_int_equal(loam_heap_init(&heap, &setup, 2), LOAM_OK);
}

static bool is_filled_with(const unsigned char *at, size_t size_bytes, int byte)
{
    for (size_t i = 0; i < size_bytes; i++) {
        if (at[i] != byte)
            return false;
    }
    return true;
}

static unsigned char *take(size_t size_bytes)
{
    unsigned char *const block = loam_heap_alloc(&heap, size_bytes);

    assert_non_null(block);
    return block;
}

/* Blocks of this size come and go until none is the next one any more by chance. */
static void stir(size_t size_bytes)
{
    unsigned char *block[64];

    for (unsigned i = 0; i < COUNT(block); i++)
        block[i] = take(size_bytes);
    for (unsigned i = 0; i < COUNT(block); i++)
        loam_heap_free(&heap, block[i]);
}

/* H19: before the first use and after many. */
static void blocks_are_zeroes(void **state)
{
    (void)state;
    hardened_on(1);
    for (unsigned round = 0; round < 40; round++) {
        for (unsigned i = 0; i < COUNT(sizes); i++) {
            unsigned char *const block = take(sizes[i]);
            assert_true(is_filled_with(block, sizes[i], 0));
            memset(block, 0xee, sizes[i]);
            loam_heap_free(&heap, block);
        }
    }
    expect_all_given_back();
}

static void a_blocks_size_is_what_was_asked_for(void **state)
{
    (void)state;
    hardened_on(1);
    for (unsigned i = 0; i < COUNT(sizes); i++) {
        unsigned char *const block = take(sizes[i]);
        assert_int_equal(loam_heap_usable(&heap, block), sizes[i]);
        EXPECT_PANIC("heap: wrong size", loam_heap_free_sized(&heap, block, sizes[i] + 1));
        EXPECT_PANIC("heap: wrong size", loam_heap_free_sized(&heap, block, sizes[i] - 1));
        loam_heap_free_sized(&heap, block, sizes[i]);
    }
    expect_all_given_back();
}

/* H10: at once, after 1, 8 and 300 other frees, on another CPU. */
static void every_second_free_panics(void **state)
{
    static const unsigned others[] = { 0, 1, 8, 300 };

    (void)state;
    for (unsigned i = 0; i < COUNT(others) * 2; i++) {
        unsigned char *kept[300];
        hardened_on(i + 1);
        unsigned char *block = take(48);
        volatile size_t size = 0;
        for (unsigned k = 0; k < others[i / 2]; k++)
            kept[k] = take(48);
        loam_heap_free(&heap, block);
        for (unsigned k = 0; k < others[i / 2]; k++)
            loam_heap_free(&heap, kept[k]);
        world_cpu = i % 2;
        EXPECT_PANIC(TWICE, loam_heap_free(&heap, block));
        assert_int_equal(panic_trap.seen.subject, loam_virt_of(block).addr);
        EXPECT_PANIC(TWICE, size = loam_heap_usable(&heap, block));
        EXPECT_PANIC(TWICE, block = loam_heap_realloc(&heap, block, 50));
        assert_int_equal(size, 0);
        world_cpu = 0;
    }
}

/* H16: each byte behind a block, to the end of its slot. */
static void what_is_written_past_the_end_is_found(void **state)
{
    (void)state;
    for (volatile unsigned i = 0; i < COUNT(sizes); i++) {
        for (volatile size_t over = 0; over < 8; over++) {
            hardened_on(i + 1);
            unsigned char *const block = take(sizes[i]);
            if (sizes[i] > LOAM_HEAP_SMALL_MAX &&
                sizes[i] % LOAM_PAGE_SIZE + over >= LOAM_PAGE_SIZE)
                continue;
            if (sizes[i] > LOAM_HEAP_SMALL_MAX && sizes[i] % LOAM_PAGE_SIZE == 0)
                continue;
            block[sizes[i] + over] ^= 0x40;
            EXPECT_PANIC(PAST, loam_heap_free(&heap, block));
            assert_int_equal(panic_trap.seen.subject, loam_virt_of(block).addr);
        }
    }
}

/* H17: and nothing else is. */
static void a_terminator_past_the_end_changes_nothing(void **state)
{
    (void)state;
    hardened_on(1);
    for (unsigned i = 0; i < COUNT(sizes); i++) {
        if (sizes[i] > LOAM_HEAP_SMALL_MAX && sizes[i] % LOAM_PAGE_SIZE == 0)
            continue;
        unsigned char *const block = take(sizes[i]);
        block[sizes[i]] = 0;
        assert_int_equal(loam_heap_usable(&heap, block), sizes[i]);
        loam_heap_free(&heap, block);
    }
    unsigned char *const block = take(40 - 2);
    block[39] = 0; /* one further on */
    EXPECT_PANIC(PAST, loam_heap_free(&heap, block));
}

/* H18: nothing is left of what was in a block, and what is written to it later is found. */
static void what_is_written_after_the_free_is_found(void **state)
{
    static const size_t small[] = { 1, 24, 100, 1000, 5000, 40000 };

    (void)state;
    for (unsigned i = 0; i < COUNT(small); i++) {
        hardened_on(i + 1);
        unsigned char *const block = take(small[i]);
        memset(block, 0xee, small[i]);
        loam_heap_free(&heap, block);
        assert_true(is_filled_with(block, small[i], 0));
        block[small[i] / 2] = 1;
        EXPECT_PANIC(FREED, {
            for (unsigned k = 0; k < 1000; k++)
                stir(small[i]);
        });
        assert_int_equal(panic_trap.seen.subject, loam_virt_of(block).addr);
    }
}

/* H20. */
static void the_next_block_is_never_the_one_just_freed(void **state)
{
    static const size_t small[] = { 8, 24, 100, 1000, 5000, 9000, 30000, 65000 };

    (void)state;
    hardened_on(1);
    for (unsigned i = 0; i < COUNT(small) * 200; i++) {
        unsigned char *const block = take(small[i % COUNT(small)]);
        loam_heap_free(&heap, block);
        unsigned char *const next = take(small[i % COUNT(small)]);
        assert_ptr_not_equal(next, block);
        loam_heap_free(&heap, next);
    }
    expect_all_given_back();
}

/* Where 100 blocks lie, seen from the first. */
static void places(uint64_t seed, ptrdiff_t *place)
{
    hardened_on(seed);
    unsigned char *const first = take(48);
    for (unsigned i = 0; i < 100; i++)
        place[i] = take(48) - first;
}

static void places_follow_from_the_seed_alone(void **state)
{
    ptrdiff_t a[100], b[100], c[100];
    unsigned differ = 0, up = 0;

    (void)state;
    places(7, a);
    places(7, b);
    places(8, c);
    assert_memory_equal(a, b, sizeof(a));
    for (unsigned i = 0; i < 100; i++) {
        differ += a[i] != c[i];
        up += i != 0 && a[i] == a[i - 1] + (ptrdiff_t)48;
    }
    assert_in_range(differ, 50, 100);
    assert_in_range(up, 0, 50);
}

/* H40. */
static void a_heap_without_a_seed_says_so(void **state)
{
    (void)state;
    hardened_on(0);
    assert_true(loam_heap_is_weak(&heap));
    loam_heap_free(&heap, take(100));
    hardened_on(1);
    assert_false(loam_heap_is_weak(&heap));
}

/* Against a copy: contents, zeroes behind them when it grows, sizes. */
static void realloc_keeps_contents_and_finds_what_is_wrong(void **state)
{
    (void)state;
    hardened_on(3);
    unsigned char *block = take(1);
    size_t size = 1;
    block[0] = 0xee;
    for (unsigned i = 0; i < 4000; i++) {
        const size_t next =
            i % 50 == 0 ? 1 + test_random_below(200000) : 1 + test_random_below(size * 5 / 4 + 2);
        block = loam_heap_realloc(&heap, block, next);
        assert_non_null(block);
        assert_true(is_filled_with(block, next < size ? next : size, 0xee));
        assert_true(next <= size || is_filled_with(block + size, next - size, 0));
        assert_int_equal(loam_heap_usable(&heap, block), next);
        memset(block, 0xee, next);
        size = next;
    }
    loam_heap_free(&heap, block);
    block = take(50);
    block[50] = 1;
    EXPECT_PANIC(PAST, block = loam_heap_realloc(&heap, block, 20));
}

/* Random blocks of random alignments on two CPUs, each with its contents. */
static void random_blocks_keep_their_contents(void **state)
{
    static struct {
        unsigned char *start;
        size_t size_bytes;
    } live[300];

    (void)state;
    hardened_on(5);
    memset(live, 0, sizeof(live));
    for (unsigned i = 0; i < 60000; i++) {
        const unsigned at = (unsigned)test_random_below(COUNT(live));
        world_cpu = (unsigned)test_random_below(2);
        if (live[at].start != NULL) {
            assert_true(is_filled_with(live[at].start, live[at].size_bytes, (int)(at & 0xff)));
            loam_heap_free(&heap, live[at].start);
        }
        const size_t align = (size_t)1 << test_random_below(i % 16 == 0 ? 14 : 4);
        live[at].size_bytes = sizes[test_random_below(COUNT(sizes))];
        live[at].start = loam_heap_alloc_aligned(&heap, align, live[at].size_bytes);
        assert_non_null(live[at].start);
        assert_int_equal(loam_virt_of(live[at].start).addr % align, 0);
        assert_true(is_filled_with(live[at].start, live[at].size_bytes, 0));
        memset(live[at].start, (int)(at & 0xff), live[at].size_bytes);
        if (i % 5000 == 0)
            expect_sound();
        if (i % 9000 == 0)
            trim_all();
    }
    for (unsigned i = 0; i < COUNT(live); i++)
        loam_heap_free(&heap, live[i].start);
    world_cpu = 0;
    expect_all_given_back();
}

static void no_memory_is_null_and_changes_nothing(void **state)
{
    (void)state;
    INJECT_EACH_POINT
    {
        void *block[3];
        hardened_on(1);
        INJECT_ARM();
        block[0] = loam_heap_alloc(&heap, 100);
        block[1] = loam_heap_alloc(&heap, 100000);
        block[2] = loam_heap_alloc_aligned(&heap, 4096, 100);
        INJECT_DISARM();
        for (unsigned i = 0; i < COUNT(block); i++)
            loam_heap_free(&heap, block[i]);
        expect_all_given_back();
    }
}

static void objects_of_caches_are_as_ever(void **state)
{
    const struct loam_slab_setup setup = { .name = "objects", .size_bytes = 48 };
    struct loam_slab_cache *cache;
    void *object[200];
    uint64_t live_count;

    (void)state;
    hardened_on(1);
    assert_int_equal(loam_slab_create(&heap, &setup, &cache), LOAM_OK);
    for (unsigned i = 0; i < COUNT(object); i++) {
        object[i] = loam_slab_alloc(cache);
        assert_non_null(object[i]);
        memset(object[i], 0xee, 48);
    }
    for (unsigned i = 0; i < COUNT(object); i++)
        loam_slab_free(cache, object[i]);
    assert_int_equal(loam_slab_destroy(cache, &live_count), LOAM_OK);
    stir(48);
    expect_all_given_back();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_zeroes),
        cmocka_unit_test(a_blocks_size_is_what_was_asked_for),
        cmocka_unit_test(every_second_free_panics),
        cmocka_unit_test(what_is_written_past_the_end_is_found),
        cmocka_unit_test(a_terminator_past_the_end_changes_nothing),
        cmocka_unit_test(what_is_written_after_the_free_is_found),
        cmocka_unit_test(the_next_block_is_never_the_one_just_freed),
        cmocka_unit_test(places_follow_from_the_seed_alone),
        cmocka_unit_test(a_heap_without_a_seed_says_so),
        cmocka_unit_test(realloc_keeps_contents_and_finds_what_is_wrong),
        cmocka_unit_test(random_blocks_keep_their_contents),
        cmocka_unit_test(no_memory_is_null_and_changes_nothing),
        cmocka_unit_test(objects_of_caches_are_as_ever),
    };
    return RUN_TESTS(tests);
}
