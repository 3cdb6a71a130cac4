/*
 * locked_test.c - a heap behind a lock: options, balance, interrupts, sites,
 * counters. Threads are in locked_thread_test.c, sequences in locked_model_test.c.
 */
#include "locked_world.h"

#define SITE(number) loam_virt_at(UINT64_C(0xffffffff80000000) + (number))

static uint64_t digest(void)
{
    return loam_locked_digest(&locked);
}

/* ---- options ------------------------------------------------------------- */

static void expect_no_init(const struct loam_locked_options *options)
{
    struct loam_locked other;
    struct loam_locked before;

    memset(&other, 0x5a, sizeof(other));
    before = other;
    assert_int_equal(loam_locked_init(&other, options), LOAM_INVALID);
    assert_memory_equal(&other, &before, sizeof(other));
}

static void init_refuses_what_is_no_lock(void **state)
{
    struct loam_caller_lock no_acquire = { NULL, counting_release };
    struct loam_caller_lock no_release = { counting_acquire, NULL };
    struct loam_locked_options options = { .lock = LOAM_LOCKED_BY_CALLER };

    (void)state;
    expect_no_init(&options);
    options.caller_lock = &no_acquire;
    expect_no_init(&options);
    options.caller_lock = &no_release;
    expect_no_init(&options);
    options.caller_lock = &counting.common;
    assert_int_equal(loam_locked_init(&locked, &options), LOAM_OK);
    for (int kind = LOAM_LOCKED_TICKET; kind <= LOAM_LOCKED_NOT; kind++) {
        options.lock = (enum loam_locked_kind)kind;
        if (kind != LOAM_LOCKED_BY_CALLER)
            expect_no_init(&options);
    }
    options.caller_lock = NULL;
    options.lock = (enum loam_locked_kind)(LOAM_LOCKED_NOT + 1);
    expect_no_init(&options);
    options.lock = LOAM_LOCKED_NOT;
    assert_int_equal(loam_locked_init(&locked, &options), LOAM_OK);
}

static void init_may_read_its_own_options(void **state)
{
    (void)state;
    way = 0;
    locked_world_of(WORLD_ARENA);
    locked.options.debug = true;
    locked.options.lock = LOAM_LOCKED_SPIN;
    assert_int_equal(loam_locked_init(&locked, &locked.options), LOAM_OK);
    assert_int_equal(locked.options.lock, LOAM_LOCKED_SPIN);
    void *block = loam_locked_alloc(&locked, 10, 8);
    assert_non_null(block);
    assert_int_equal(locked.debug.used_count, 1);
}

/* A heap that nobody has set up yet. */
static void zeroes_are_a_heap_without_memory(void **state)
{
    static struct loam_locked zero;
    static const struct loam_resize resize = { LOAM_SIZE_UNKNOWN, 1, 1 };
    int other = 0;

    (void)state;
    machine_reset(1);
    assert_null(loam_locked_alloc(&zero, 1, 1));
    assert_null(loam_locked_calloc(&zero, 1, 1, 1));
    assert_null(loam_locked_realloc(&zero, NULL, &resize));
    loam_locked_free(&zero, NULL);
    assert_null(loam_locked_audit(&zero));
    assert_int_equal(zero.refusal_count, 3);
    EXPECT_PANIC("allocator: not a block of this heap", loam_locked_free(&zero, &other));
}

/* ---- every way, every heap ------------------------------------------------ */

static void every_call_gives_the_lock_back(void **state)
{
    static const struct loam_resize grow = { 100, 3000, 8 };
    static const struct loam_resize huge = { 3000, WORLD_BYTES + 1, 8 };

    (void)state;
    EACH_WAY
    {
        EACH_HEAP
        {
            locked_world_of(world.heap);
            unsigned char *block = loam_locked_alloc(&locked, 100, 8);
            expect_unlocked();
            assert_non_null(block);
            pattern_write(block, 100, 1);
            assert_null(loam_locked_alloc(&locked, WORLD_BYTES, 8));
            expect_unlocked();
            block = loam_locked_realloc(&locked, block, &grow);
            expect_unlocked();
            assert_non_null(block);
            assert_true(pattern_is(block, 100, 1));
            assert_null(loam_locked_realloc(&locked, block, &huge));
            expect_unlocked();
            unsigned char *zeroes = loam_locked_calloc(&locked, 30, 10, 8);
            expect_unlocked();
            assert_non_null(zeroes);
            for (unsigned i = 0; i < 300; i++)
                assert_int_equal(zeroes[i], 0);
            assert_null(loam_locked_audit(&locked));
            (void)digest();
            expect_unlocked();
            loam_locked_free_sized(&locked, block, 3000);
            expect_unlocked();
            if (world_knows_sizes() || ways[way].debug) {
                const size_t usable = loam_locked_usable(&locked, zeroes);
                expect_unlocked();
                assert_true(usable >= (world.heap == WORLD_BUMP && !ways[way].debug ? 0 : 300));
                loam_locked_free(&locked, zeroes);
            } else {
                loam_locked_free_sized(&locked, zeroes, 300);
            }
            expect_unlocked();
            assert_null(loam_locked_audit(&locked));
        }
    }
}

static void counters_count_what_happened(void **state)
{
    static const struct loam_resize first = { LOAM_SIZE_UNKNOWN, 10, 8 };
    static const struct loam_resize grow = { 10, 20, 8 };
    static const struct loam_resize huge = { 20, WORLD_BYTES + 1, 8 };

    (void)state;
    EACH_WAY
    {
        EACH_HEAP
        {
            locked_world_of(world.heap);
            void *a = loam_locked_alloc(&locked, 10, 8);
            void *b = loam_locked_realloc(&locked, NULL, &first);
            void *c = loam_locked_calloc(&locked, 3, 3, 8);
            b = loam_locked_realloc(&locked, b, &grow);
            assert_null(loam_locked_realloc(&locked, b, &huge));
            assert_null(loam_locked_alloc(&locked, SIZE_MAX, 8));
            assert_null(loam_locked_calloc(&locked, SIZE_MAX, 8, 8));
            loam_locked_free_sized(&locked, a, 10);
            loam_locked_free(&locked, NULL);
            loam_locked_free_sized(&locked, NULL, 10);
            const struct loam_locked_stats stats = locked_stats();
            assert_int_equal(stats.alloc_count, 3);
            assert_int_equal(stats.free_count, 1);
            assert_int_equal(stats.realloc_count, 1);
            assert_int_equal(stats.refusal_count, 3);
            assert_int_equal(stats.heap.used_count, ways[way].debug ? 3 : 2); /* a waits */
            assert_true(stats.heap.peak_bytes >= stats.heap.used_bytes);
            (void)c;
        }
    }
}

static void counters_H39_pass_32_bits(void **state)
{
    (void)state;
    way = 0;
    locked_world_of(WORLD_ARENA);
    locked.alloc_count = UINT32_MAX;
    locked.free_count = UINT32_MAX;
    loam_locked_free(&locked, loam_locked_alloc(&locked, 10, 8));
    assert_int_equal(locked_stats().alloc_count, UINT64_C(1) << 32);
    assert_int_equal(locked_stats().free_count, UINT64_C(1) << 32);
}

static void calloc_H03_refuses_products_that_overflow(void **state)
{
    static const size_t pair[][2] = {
        { SIZE_MAX, 2 },         { (size_t)1 << 32, (size_t)1 << 32 }, /* 0 after wrapping */
        { (size_t)1 << 63, 2 },  { SIZE_MAX / 8 + 1, 8 },
        { SIZE_MAX / 3 + 1, 3 }, { 3, SIZE_MAX / 3 + 1 },
        { SIZE_MAX, SIZE_MAX },
    };

    (void)state;
    EACH_WAY
    {
        EACH_HEAP
        {
            locked_world_of(world.heap);
            const uint64_t before = digest();
            for (size_t i = 0; i < sizeof(pair) / sizeof(pair[0]); i++)
                assert_null(loam_locked_calloc(&locked, pair[i][0], pair[i][1], 8));
            assert_int_equal(digest(), before);
            void *empty = loam_locked_calloc(&locked, SIZE_MAX, 0, 8);
            assert_non_null(empty);
            loam_locked_free_sized(&locked, empty, 0);
        }
    }
}

/* calloc clears what was used before, to the last byte and no further. */
static void calloc_H19_is_zero_all_over(void **state)
{
    (void)state;
    EACH_HEAP
    {
        way = 0;
        locked_world_of(world.heap); /* its memory is 0x5a */
        for (size_t size_bytes = 1; size_bytes < 200; size_bytes += 13) {
            unsigned char *block = loam_locked_calloc(&locked, 1, size_bytes, 64);
            assert_non_null(block);
            assert_int_equal((uintptr_t)block % 64, 0);
            for (size_t i = 0; i < size_bytes; i++)
                assert_int_equal(block[i], 0);
            memset(block, 0xff, size_bytes);
            assert_null(loam_locked_audit(&locked));
            loam_locked_free_sized(&locked, block, size_bytes);
        }
    }
}

static void each_failure_H25_changes_nothing(void **state)
{
    static const struct loam_resize resize = { 100, 9000, 8 };

    (void)state;
    EACH_WAY
    {
        EACH_HEAP
        {
            unsigned refused = 0;
            INJECT_EACH_POINT
            {
                locked_world_of(world.heap);
                unsigned char *block = loam_locked_alloc(&locked, 100, 8);
                void *behind = loam_locked_alloc(&locked, 8, 8);
                assert_non_null(behind);
                pattern_write(block, 100, 3);
                const uint64_t before = digest();
                INJECT_ARM();
                void *moved = loam_locked_realloc(&locked, block, &resize);
                INJECT_DISARM();
                expect_unlocked();
                assert_null(loam_locked_audit(&locked));
                if (moved == NULL) {
                    assert_int_equal(digest(), before);
                    assert_true(pattern_is(block, 100, 3));
                    refused++;
                }
            }
            assert_true(refused >= 2);
        }
    }
}

/* ---- what holds meanwhile -------------------------------------------------- */

static unsigned oom_calls;
static bool oom_interrupts;
static bool oom_was_free;

/* The one place where a test looks in from inside. */
static bool look_in(struct loam_arena *arena, const struct loam_arena_request *request)
{
    (void)arena;
    (void)request;
    oom_calls++;
    oom_interrupts = machine_interrupts();
    switch (ways[way].lock) {
    case LOAM_LOCKED_TICKET:
        oom_was_free = loam_ticketlock_try(&locked.ticket);
        break;
    case LOAM_LOCKED_SPIN:
        oom_was_free = loam_spinlock_try(&locked.spin);
        break;
    case LOAM_LOCKED_BY_CALLER:
        oom_was_free = counting.acquired == counting.released;
        break;
    case LOAM_LOCKED_NOT:
        oom_was_free = false;
        break;
    }
    return false;
}

/*
 *   interrupts  on | off while the lock is held | on        unless left alone
 */
static void lock_H27_is_held_with_interrupts_off(void **state)
{
    (void)state;
    EACH_WAY
    {
        locked_world_of(WORLD_ARENA);
        const bool left = ways[way].leave_interrupts || ways[way].lock == LOAM_LOCKED_BY_CALLER;
        oom_calls = 0;
        world.arena.oom = look_in;
        assert_null(loam_locked_alloc(&locked, WORLD_BYTES, 8));
        assert_int_equal(oom_calls, 1);
        assert_int_equal(oom_interrupts, left);
        assert_false(oom_was_free);
        expect_unlocked();

        machine_set_interrupts(false); /* a handler calls */
        assert_null(loam_locked_alloc(&locked, WORLD_BYTES, 8));
        assert_int_equal(oom_calls, 2);
        assert_false(oom_interrupts);
        assert_false(machine_interrupts());
        machine_set_interrupts(true);
        world.arena.oom = NULL;
    }
}

/* The heap itself is at hand between acquire and release. */
static void acquire_and_release_bracket_direct_calls(void **state)
{
    (void)state;
    EACH_WAY
    {
        locked_world_of(WORLD_ARENA);
        struct loam_arena_block block = { .size_bytes = 0 };
        unsigned count = 0;
        void *kept = loam_locked_alloc(&locked, 100, 8);
        const loam_irq_state irq = loam_locked_acquire(&locked);
        while (loam_arena_next(&world.arena, &block))
            count += block.state == LOAM_ARENA_USED;
        loam_locked_release(&locked, irq);
        assert_int_equal(count, 1);
        expect_unlocked();
        loam_locked_free(&locked, kept);
    }
}

static void second_call_by_one_cpu_panics(void **state)
{
    (void)state;
    for (way = 0; way < 3; way += 2) { /* ticket, spin */
        locked_world_of(WORLD_ARENA);
        const loam_irq_state irq = loam_locked_acquire(&locked);
        EXPECT_PANIC("lock: acquired twice by one CPU", (void)!loam_locked_alloc(&locked, 1, 1));
        loam_locked_release(&locked, irq);
        machine_set_interrupts(true);
    }
}

/* ---- debug ------------------------------------------------------------------ */

static loam_virt only_site(void)
{
    struct loam_debug_block block = { .size_bytes = 0 };
    assert_true(loam_debug_next(&locked.debug, &block));
    return block.site;
}

static void sites_are_the_callers(void **state)
{
    static const struct loam_resize grow = { 10, 20, 8 };
    loam_virt site[4];

    (void)state;
    way = 7;
    locked_world_of(WORLD_ARENA);
    void *block = loam_locked_alloc(&locked, 10, 8);
    site[0] = only_site();
    block = loam_locked_realloc(&locked, block, &grow);
    site[1] = only_site();
    loam_locked_free(&locked, block);
    block = loam_locked_calloc(&locked, 2, 5, 8);
    site[2] = only_site();
    loam_locked_free_sized(&locked, block, 10);
    for (size_t i = 0; i < 3; i++) {
        assert_in_range(site[i].addr, (uintptr_t)sites_are_the_callers,
                        (uintptr_t)sites_are_the_callers + 8192);
        assert_true(i == 0 || site[i].addr > site[i - 1].addr);
    }
    EXPECT_PANIC("debug: block is already free", loam_locked_free(&locked, block));
    assert_in_range(panic_trap.seen.detail, site[2].addr, site[2].addr + 4096);
    assert_in_range(locked.debug.blame.caller.addr, panic_trap.seen.detail,
                    panic_trap.seen.detail + 4096);
}

static void sites_can_be_passed_on(void **state)
{
    static const struct loam_resize grow = { 10, 20, 8 };

    (void)state;
    way = 8;
    locked_world_of(WORLD_BLOCK_ARENA);
    void *block = loam_locked_alloc_at(&locked, 10, 8, SITE(1));
    assert_int_equal(only_site().addr, SITE(1).addr);
    block = loam_locked_realloc_at(&locked, block, &grow, SITE(2));
    assert_int_equal(only_site().addr, SITE(2).addr);
    loam_locked_free_at(&locked, block, SITE(3));
    block = loam_locked_calloc_at(&locked, 2, 5, 8, SITE(4));
    assert_int_equal(only_site().addr, SITE(4).addr);
    loam_locked_free_sized_at(&locked, block, 10, SITE(5));
    EXPECT_PANIC("debug: block is already free", loam_locked_free_at(&locked, block, SITE(6)));
    assert_int_equal(panic_trap.seen.detail, SITE(5).addr);
    assert_int_equal(locked.debug.blame.alloc_site.addr, SITE(4).addr);
    assert_int_equal(locked.debug.blame.caller.addr, SITE(6).addr);
}

static void debug_catches_what_the_heap_would_not(void **state)
{
    (void)state;
    way = 7;
    locked_world_of(WORLD_BUMP);
    unsigned char *block = loam_locked_alloc(&locked, 10, 8);
    unsigned char *other = loam_locked_alloc(&locked, 10, 8);
    block[10] = 0;
    EXPECT_PANIC("debug: block was written past its end", loam_locked_free(&locked, block));
    loam_ticketlock_release_irq(&locked.ticket, 0); /* the panic left it held */
    machine_set_interrupts(true);
    assert_string_equal(loam_locked_audit(&locked), "debug: block was written past its end");
    loam_locked_free(&locked, other);
}

static void audit_and_digest_are_of_what_is_inside(void **state)
{
    (void)state;
    EACH_WAY
    {
        locked_world_of(WORLD_ARENA);
        const uint64_t empty = digest();
        void *block = loam_locked_alloc(&locked, 10, 8);
        const uint64_t one = digest();
        assert_int_not_equal(one, empty);
        assert_null(loam_locked_alloc(&locked, SIZE_MAX, 8));
        assert_int_equal(digest(), one); /* a refusal is no change */
        loam_locked_free(&locked, block);
        assert_int_not_equal(digest(), one);
        assert_int_not_equal(digest(), empty);
        uint64_t before = digest();
        locked.alloc_count++;
        assert_int_not_equal(digest(), before);
        locked.alloc_count--;
        locked.free_count++;
        assert_int_not_equal(digest(), before);
        locked.free_count--;
        locked.realloc_count++;
        assert_int_not_equal(digest(), before);
        world.arena.used_count++;
        assert_non_null(loam_locked_audit(&locked));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(init_refuses_what_is_no_lock),
        cmocka_unit_test(init_may_read_its_own_options),
        cmocka_unit_test(zeroes_are_a_heap_without_memory),
        cmocka_unit_test(every_call_gives_the_lock_back),
        cmocka_unit_test(counters_count_what_happened),
        cmocka_unit_test(counters_H39_pass_32_bits),
        cmocka_unit_test(calloc_H03_refuses_products_that_overflow),
        cmocka_unit_test(calloc_H19_is_zero_all_over),
        cmocka_unit_test(each_failure_H25_changes_nothing),
        cmocka_unit_test(lock_H27_is_held_with_interrupts_off),
        cmocka_unit_test(acquire_and_release_bracket_direct_calls),
        cmocka_unit_test(second_call_by_one_cpu_panics),
        cmocka_unit_test(sites_are_the_callers),
        cmocka_unit_test(sites_can_be_passed_on),
        cmocka_unit_test(debug_catches_what_the_heap_would_not),
        cmocka_unit_test(audit_and_digest_are_of_what_is_inside),
    };
    return RUN_TESTS(tests);
}
