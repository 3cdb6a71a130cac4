/*
 * allocator_test.c - the common interface: every kind does what its header says,
 * and what one cannot do is refused by name.
 */
#include "allocator_world.h"

static void *take(size_t size_bytes, size_t align)
{
    void *block = loam_allocator_alloc(&world.allocator, size_bytes, align);
    assert_non_null(block);
    assert_int_equal((uintptr_t)block % align, 0);
    assert_null(loam_allocator_audit(&world.allocator));
    return block;
}

static void give(void *block, size_t size_bytes)
{
    loam_allocator_free_sized(&world.allocator, block, size_bytes);
    assert_null(loam_allocator_audit(&world.allocator));
}

static void *change(void *block, size_t old_bytes, size_t size_bytes)
{
    const struct loam_resize resize = { old_bytes, size_bytes, 8 };
    void *changed = loam_allocator_realloc(&world.allocator, block, &resize);
    assert_null(loam_allocator_audit(&world.allocator));
    return changed;
}

static uint64_t digest(void)
{
    return loam_allocator_digest(&world.allocator);
}

/* ---- names --------------------------------------------------------------- */

static void kinds_have_names(void **state)
{
    static const char *const names[] = { "none",  "bump",  "freelist", "freelist-sized",
                                         "block", "arena", "heap" };

    (void)state;
    for (unsigned kind = 0; kind < 7; kind++) {
        assert_string_equal(loam_allocator_name((enum loam_allocator_kind)kind), names[kind]);
        assert_int_equal(loam_allocator_kind_of(names[kind]), kind);
    }
    assert_int_equal(LOAM_ALLOCATOR_ARENA, 5);
    assert_int_equal(LOAM_ALLOCATOR_HEAP, 6);
    assert_string_equal(loam_allocator_name((enum loam_allocator_kind)7), "?");
    assert_string_equal(loam_allocator_name((enum loam_allocator_kind)UINT32_MAX), "?");
}

static void names_are_whole(void **state)
{
    static const char *const bad[] = { "", "b", "bum", "bumps", "freelist-", "Arena", "?" };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(loam_allocator_kind_of(bad[i]), LOAM_ALLOCATOR_NONE);
}

/* ---- requests ------------------------------------------------------------ */

static void alloc_H01_size_0_is_a_distinct_block(void **state)
{
    (void)state;
    EACH_HEAP
    {
        world_of(world.heap);
        void *a = take(0, 1);
        void *b = take(0, 1);
        void *c = take(1, 1);
        assert_ptr_not_equal(a, b);
        assert_ptr_not_equal(b, c);
        assert_int_equal(world_stats().used_count, 3);
        give(a, 0);
        give(b, 0);
        give(c, 1);
        assert_int_equal(world_stats().used_count, 0);
        assert_int_equal(world_stats().used_bytes, 0);
        assert_true(world_stats().peak_bytes > 0);
    }
}

static void alloc_H02_H04_refuses_sizes_that_overflow(void **state)
{
    (void)state;
    EACH_HEAP
    {
        world_of(world.heap);
        unsigned char *block = take(100, 8);
        pattern_write(block, 100, 1);
        const uint64_t before = digest();
        for (size_t k = 0; k <= 4096; k++) {
            assert_null(loam_allocator_alloc(&world.allocator, SIZE_MAX - k, 1));
            assert_null(loam_allocator_alloc(&world.allocator, ((size_t)1 << 63) - 2048 + k, 16));
            const struct loam_resize resize = { 100, SIZE_MAX - k, 8 };
            assert_null(loam_allocator_realloc(&world.allocator, block, &resize));
        }
        assert_null(loam_allocator_alloc(&world.allocator, WORLD_BYTES, 1));
        assert_int_equal(digest(), before);
        assert_true(pattern_is(block, 100, 1));
        give(block, 100);
    }
}

static void alloc_H05_refuses_bad_alignment(void **state)
{
    static const size_t bad[] = { 0, 3, 24, (size_t)1 << 63, SIZE_MAX, WORLD_BYTES * 2 };

    (void)state;
    EACH_HEAP
    {
        world_of(world.heap);
        take(1, 8); /* else the block may be better aligned than it must be */
        unsigned char *block = take(100, 8);
        pattern_write(block, 100, 2);
        const uint64_t before = digest();
        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
            const struct loam_resize grow = { 100, 200, bad[i] };
            assert_null(loam_allocator_alloc(&world.allocator, 1, bad[i]));
            assert_null(loam_allocator_realloc(&world.allocator, block, &grow));
        }
        assert_int_equal(digest(), before);
        assert_true(pattern_is(block, 100, 2));
    }
}

static void alloc_H05_serves_every_alignment(void **state)
{
    (void)state;
    EACH_HEAP
    {
        world_of(world.heap);
        for (size_t align = 1; align <= 65536; align *= 2) {
            unsigned char *block = take(10, align);
            const struct loam_resize resize = { 10, 3000, align };
            pattern_write(block, 10, 3);
            unsigned char *moved = loam_allocator_realloc(&world.allocator, block, &resize);
            assert_non_null(moved);
            assert_int_equal((uintptr_t)moved % align, 0);
            assert_true(pattern_is(moved, 10, 3));
            give(moved, 3000);
        }
        assert_int_equal(world_stats().used_count, 0);
    }
}

static void none_serves_nothing(void **state)
{
    static const struct loam_allocator none;
    static const struct loam_resize resize = { LOAM_SIZE_UNKNOWN, 1, 1 };
    struct loam_allocator_stats stats = { 1, 1, 1 };
    int other = 0;

    (void)state;
    assert_null(loam_allocator_alloc(&none, 1, 1));
    assert_null(loam_allocator_realloc(&none, NULL, &resize));
    loam_allocator_free(&none, NULL);
    loam_allocator_free_sized(&none, NULL, 1);
    assert_int_equal(loam_allocator_usable(&none, NULL), 0);
    assert_false(loam_allocator_owns(&none, &other));
    loam_allocator_measure(&none, &stats);
    assert_int_equal(stats.used_bytes + stats.peak_bytes + stats.used_count, 0);
    assert_null(loam_allocator_audit(&none));
    assert_int_equal(loam_allocator_digest(&none), loam_allocator_digest(&none));
    static const char rule[] = "allocator: not a block of this heap";
    EXPECT_PANIC(rule, loam_allocator_free(&none, &other));
    assert_int_equal(panic_trap.seen.subject, (uintptr_t)&other);
    EXPECT_PANIC(rule, loam_allocator_free_sized(&none, &other, 4));
    EXPECT_PANIC(rule, (void)!loam_allocator_realloc(&none, &other, &resize));
    EXPECT_PANIC(rule, (void)!loam_allocator_usable(&none, &other));
}

static void kind_that_is_none_is_found(void **state)
{
    struct loam_allocator forged = { .kind = (enum loam_allocator_kind)7 };
    struct loam_allocator_stats stats = { 1, 1, 1 };

    (void)state;
    assert_string_equal(loam_allocator_audit(&forged), "allocator: kind is unknown");
    assert_null(loam_allocator_alloc(&forged, 1, 1));
    assert_false(loam_allocator_owns(&forged, &forged));
    loam_allocator_measure(&forged, &stats);
    assert_int_equal(stats.used_count, 0);
}

/* ---- realloc ------------------------------------------------------------- */

static void realloc_H06_of_null_is_alloc(void **state)
{
    (void)state;
    EACH_HEAP
    {
        world_of(world.heap);
        void *block = change(NULL, LOAM_SIZE_UNKNOWN, 50);
        assert_non_null(block);
        assert_int_equal(world_stats().used_count, 1);
        give(block, 50);
        block = change(NULL, 0, 0); /* the old size of nothing does not matter */
        assert_non_null(block);
        give(block, 0);
    }
}

/* Up, down, to 0 and up again, with another block in the way. */
static void realloc_H06_H08_keeps_contents(void **state)
{
    static const size_t sizes[] = { 10, 100, 99, 1000, 5000, 4999, 40000, 40, 0, 200, 200, 3 };

    (void)state;
    EACH_HEAP
    {
        size_t size_bytes = 10;
        world_of(world.heap);
        unsigned char *block = take(size_bytes, 8);
        pattern_write(block, size_bytes, 4);
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            void *in_the_way = take(16, 8);
            const size_t kept = sizes[i] < size_bytes ? sizes[i] : size_bytes;
            block = change(block, size_bytes, sizes[i]);
            assert_non_null(block);
            assert_true(pattern_is(block, kept, 4));
            size_bytes = sizes[i];
            pattern_write(block, size_bytes, 4);
            give(in_the_way, 16);
        }
        give(block, size_bytes);
        assert_int_equal(world_stats().used_count, 0);
    }
}

static void realloc_H06_without_the_old_size(void **state)
{
    (void)state;
    EACH_HEAP
    {
        world_of(world.heap);
        if (!world_knows_sizes())
            continue;
        unsigned char *block = take(100, 8);
        pattern_write(block, 100, 5);
        block = change(block, LOAM_SIZE_UNKNOWN, 5000);
        assert_non_null(block);
        assert_true(pattern_is(block, 100, 5));
        loam_allocator_free(&world.allocator, block);
        assert_int_equal(world_stats().used_count, 0);
    }
}

static void realloc_H06_failed_keeps_the_block(void **state)
{
    (void)state;
    EACH_HEAP
    {
        world_of(world.heap);
        unsigned char *block = take(1000, 8);
        take(WORLD_BYTES / 2, 8);
        pattern_write(block, 1000, 6);
        const uint64_t before = digest();
        assert_null(change(block, 1000, WORLD_BYTES / 2));
        assert_int_equal(digest(), before);
        assert_true(pattern_is(block, 1000, 6));
        give(block, 1000);
    }
}

/* ---- free ---------------------------------------------------------------- */

static void free_H09_of_null_is_nothing(void **state)
{
    (void)state;
    EACH_HEAP
    {
        world_of(world.heap);
        take(10, 8);
        const uint64_t before = digest();
        loam_allocator_free(&world.allocator, NULL);
        loam_allocator_free_sized(&world.allocator, NULL, 10);
        loam_allocator_free_sized(&world.allocator, NULL, SIZE_MAX);
        assert_int_equal(digest(), before);
    }
}

static void free_without_size_where_sizes_are_known(void **state)
{
    (void)state;
    EACH_HEAP
    {
        world_of(world.heap);
        if (!world_knows_sizes())
            continue;
        void *small = take(10, 8);
        void *large = take(10000, 8);
        loam_allocator_free(&world.allocator, small);
        assert_int_equal(world_stats().used_count, 1);
        loam_allocator_free(&world.allocator, large);
        assert_int_equal(world_stats().used_count, 0);
        assert_null(loam_allocator_audit(&world.allocator));
    }
}

static void free_without_size_where_it_is_needed_panics(void **state)
{
    static const char rule[] = "allocator: size is needed";
    static const struct loam_resize resize = { LOAM_SIZE_UNKNOWN, 20, 8 };

    (void)state;
    world_of(WORLD_FREELIST_SIZED);
    void *block = take(10, 8);
    const uint64_t before = digest();
    EXPECT_PANIC(rule, loam_allocator_free(&world.allocator, block));
    assert_int_equal(panic_trap.seen.subject, (uintptr_t)block);
    EXPECT_PANIC(rule, (void)!loam_allocator_usable(&world.allocator, block));
    EXPECT_PANIC(rule, (void)!loam_allocator_realloc(&world.allocator, block, &resize));
    assert_int_equal(digest(), before);
    give(block, 10);
}

/* Every heap that knows its sizes says so, by its own rule. */
static void free_H14_wrong_size_panics(void **state)
{
    static const char *const rule[WORLD_HEAPS] = {
        [WORLD_BUMP] = "bump: wrong size",
        [WORLD_FREELIST] = "freelist: wrong size",
        [WORLD_FREELIST_SIZED] = "freelist: wrong size",
        [WORLD_BLOCK_FREELIST] = "block: wrong size",
        [WORLD_BLOCK_ARENA] = "block: wrong size",
        [WORLD_ARENA] = "arena: wrong size",
    };

    (void)state;
    EACH_HEAP
    {
        world_of(world.heap);
        /* A header's heap gives from the end of a hole, a bump's from the start:
         * without header only what reaches into free memory is seen. */
        void *block = take(world.heap == WORLD_FREELIST_SIZED ? WORLD_BYTES / 2 : 100, 8);
        const struct loam_resize resize = { WORLD_BYTES, 50, 8 };
        const uint64_t before = digest();
        EXPECT_PANIC(rule[world.heap],
                     loam_allocator_free_sized(&world.allocator, block, WORLD_BYTES));
        EXPECT_PANIC(rule[world.heap],
                     (void)!loam_allocator_realloc(&world.allocator, block, &resize));
        assert_int_equal(digest(), before);
    }
}

/* Off by one, where sizes are exact. */
static void realloc_H14_wrong_old_size_panics(void **state)
{
    (void)state;
    EACH_HEAP
    {
        if (world.heap != WORLD_FREELIST && world.heap != WORLD_ARENA)
            continue;
        world_of(world.heap);
        void *block = take(100, 8);
        const struct loam_resize resize = { 101, 50, 8 };
        const uint64_t before = digest();
        EXPECT_PANIC(world.heap == WORLD_FREELIST ? "freelist: wrong size" : "arena: wrong size",
                     (void)!loam_allocator_realloc(&world.allocator, block, &resize));
        assert_int_equal(panic_trap.seen.subject, (uintptr_t)block);
        assert_int_equal(panic_trap.seen.detail, 100);
        assert_int_equal(digest(), before);
    }
}

/* ---- looking ------------------------------------------------------------- */

static void usable_is_what_the_heap_knows(void **state)
{
    (void)state;
    for (size_t size_bytes = 0; size_bytes < 5000; size_bytes += 61) {
        EACH_HEAP
        {
            world_of(world.heap);
            if (!world_knows_sizes())
                continue;
            void *block = take(size_bytes, 8);
            const size_t usable = loam_allocator_usable(&world.allocator, block);
            if (world.heap == WORLD_BUMP)
                assert_int_equal(usable, 0);
            else if (world.heap == WORLD_FREELIST || world.heap == WORLD_ARENA)
                assert_int_equal(usable, size_bytes);
            else
                assert_in_range(usable, size_bytes, size_bytes + size_bytes / 8 + 16);
            memset(block, 1, usable);
            give(block, size_bytes);
        }
    }
}

static void owns_is_of_this_heap_only(void **state)
{
    int local = 0;

    (void)state;
    EACH_HEAP
    {
        world_of(world.heap);
        unsigned char *block = take(1000, 8);
        unsigned char *large = take(20000, 8);
        assert_true(loam_allocator_owns(&world.allocator, block));
        assert_true(loam_allocator_owns(&world.allocator, block + 999));
        assert_true(loam_allocator_owns(&world.allocator, large));
        assert_true(loam_allocator_owns(&world.allocator, large + 19999));
        assert_false(loam_allocator_owns(&world.allocator, &local));
        assert_false(loam_allocator_owns(&world.allocator, NULL));
        assert_false(loam_allocator_owns(&world.allocator, world.span - 1));
        assert_false(loam_allocator_owns(&world.allocator, world.span + WORLD_BYTES));
        assert_false(loam_allocator_owns(&world.allocator, &world));
    }
}

static void measure_counts_blocks_and_keeps_the_peak(void **state)
{
    (void)state;
    EACH_HEAP
    {
        world_of(world.heap);
        void *a = take(3000, 8);
        void *b = take(5000, 8);
        const struct loam_allocator_stats full = world_stats();
        assert_int_equal(full.used_count, 2);
        assert_in_range(full.used_bytes, 8000, 8300);
        assert_true(full.peak_bytes >= full.used_bytes);
        give(b, 5000);
        assert_int_equal(world_stats().used_count, 1);
        assert_true(world_stats().used_bytes < full.used_bytes);
        give(a, 3000);
        assert_int_equal(world_stats().used_bytes, 0);
        assert_int_equal(world_stats().peak_bytes, full.peak_bytes);
    }
}

static void digest_and_audit_are_the_heaps(void **state)
{
    (void)state;
    EACH_HEAP
    {
        world_of(world.heap);
        const uint64_t empty = digest();
        void *block = take(10000, 8);
        assert_int_not_equal(digest(), empty);
        /* Break what each audit looks at first. */
        world.bump.count = world.heap == WORLD_BUMP ? 0 : 1;
        world.freelist.used_bytes += 8;
        world.arena.used_bytes += 8;
        world.block.large_bytes += 8;
        assert_non_null(loam_allocator_audit(&world.allocator));
        (void)block;
    }
}

static void each_failure_changes_nothing(void **state)
{
    (void)state;
    EACH_HEAP
    {
        unsigned refused = 0;
        INJECT_EACH_POINT
        {
            world_of(world.heap);
            unsigned char *block = take(100, 8);
            void *other = take(8, 8);
            pattern_write(block, 100, 7);
            const struct loam_resize resize = { 100, 9000, 8 };
            uint64_t before = digest();
            INJECT_ARM();
            void *fresh = loam_allocator_alloc(&world.allocator, 300, 64);
            if (fresh == NULL) {
                assert_int_equal(digest(), before);
                refused++;
            }
            before = digest();
            void *moved = loam_allocator_realloc(&world.allocator, block, &resize);
            INJECT_DISARM();
            if (moved == NULL) {
                assert_int_equal(digest(), before);
                assert_true(pattern_is(block, 100, 7));
                refused++;
            }
            assert_null(loam_allocator_audit(&world.allocator));
            (void)other;
        }
        assert_true(refused >= 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds_have_names),
        cmocka_unit_test(names_are_whole),
        cmocka_unit_test(alloc_H01_size_0_is_a_distinct_block),
        cmocka_unit_test(alloc_H02_H04_refuses_sizes_that_overflow),
        cmocka_unit_test(alloc_H05_refuses_bad_alignment),
        cmocka_unit_test(alloc_H05_serves_every_alignment),
        cmocka_unit_test(none_serves_nothing),
        cmocka_unit_test(kind_that_is_none_is_found),
        cmocka_unit_test(realloc_H06_of_null_is_alloc),
        cmocka_unit_test(realloc_H06_H08_keeps_contents),
        cmocka_unit_test(realloc_H06_without_the_old_size),
        cmocka_unit_test(realloc_H06_failed_keeps_the_block),
        cmocka_unit_test(free_H09_of_null_is_nothing),
        cmocka_unit_test(free_without_size_where_sizes_are_known),
        cmocka_unit_test(free_without_size_where_it_is_needed_panics),
        cmocka_unit_test(free_H14_wrong_size_panics),
        cmocka_unit_test(realloc_H14_wrong_old_size_panics),
        cmocka_unit_test(usable_is_what_the_heap_knows),
        cmocka_unit_test(owns_is_of_this_heap_only),
        cmocka_unit_test(measure_counts_blocks_and_keeps_the_peak),
        cmocka_unit_test(digest_and_audit_are_the_heaps),
        cmocka_unit_test(each_failure_changes_nothing),
    };
    return RUN_TESTS(tests);
}
