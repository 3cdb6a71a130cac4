/*
 * debug_misuse_test.c - every way to misuse a watched block, on every kind of
 * heap: the rule, both sites, and nothing changed.
 */
#include "debug_world.h"

#include <sys/mman.h>

#define PAST   "debug: block was written past its end"
#define BEFORE "debug: block was written before its start"
#define AFTER  "debug: block was written after free"
#define FREED  "debug: block is already free"
#define SIZE   "debug: wrong size"
#define ALIEN  "debug: not a block of this heap"

/* What the panic said, and what it left for the kernel to print. */
static void expect_blame(const void *block, uint64_t detail, uint64_t size_bytes,
                         uint64_t free_site)
{
    assert_int_equal(panic_trap.seen.subject, (uintptr_t)block);
    assert_int_equal(panic_trap.seen.detail, detail);
    assert_int_equal(debug.blame.block.addr, (uintptr_t)block);
    assert_int_equal(debug.blame.size_bytes, size_bytes);
    assert_int_equal(debug.blame.free_site.addr, free_site);
}

/* Free, sized free and realloc of a pointer panic, and nothing changes. */
static void expect_refused(const char *rule, void *block)
{
    static const struct loam_resize resize = { LOAM_SIZE_UNKNOWN, 10, 8 };
    const uint64_t before = loam_debug_digest(&debug);

    EXPECT_PANIC(rule, loam_debug_free(&debug, block, SITE(9)));
    assert_int_equal(debug.blame.caller.addr, SITE(9).addr);
    EXPECT_PANIC(rule, (void)!loam_debug_realloc(&debug, block, &resize, SITE(8)));
    assert_int_equal(debug.blame.caller.addr, SITE(8).addr);
    assert_int_equal(loam_debug_digest(&debug), before);
}

/* Change every byte. */
static void spoil(unsigned char *at, size_t size_bytes)
{
    for (size_t i = 0; i < size_bytes; i++)
        at[i] ^= 0x55;
}

/* ---- H16: red zones ------------------------------------------------------ */

static void overflow_H16_of_any_length_and_size_panics(void **state)
{
    static const size_t sizes[] = { 0, 1, 7, 8, 15, 16, 17, 100, 2048, 5000, 40000 };
    static const unsigned char values[] = { 0, 0xff, 'A', LOAM_DEBUG_POISON_NEW,
                                            LOAM_DEBUG_POISON_FREE };

    (void)state;
    EACH_HEAP
    {
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            for (size_t length = 1; length <= 16; length++) {
                watch(world.heap);
                take_at(16, 3);
                unsigned char *block = take_at(sizes[i], 4);
                memset(block + sizes[i], values[length % 5], length);
                expect_refused(PAST, block);
                expect_blame(block, SITE(4).addr, sizes[i], 0);
                struct loam_debug_block broken = { .size_bytes = 0 };
                assert_string_equal(loam_debug_check(&debug, &broken), PAST);
                assert_int_equal(broken.start.addr, (uintptr_t)block);
                assert_int_equal(broken.size_bytes, sizes[i]);
                assert_int_equal(broken.site.addr, SITE(4).addr);
                assert_int_equal(broken.sequence, 2);
                assert_string_equal(loam_debug_audit(&debug), PAST);
            }
        }
    }
}

/* Each byte of the red zone counts, the last one too. */
static void overflow_H16_H17_of_each_byte_is_seen(void **state)
{
    (void)state;
    watch(WORLD_FREELIST);
    for (size_t size_bytes = 1; size_bytes < 40; size_bytes++) {
        unsigned char *block = take(size_bytes);
        for (size_t i = 0; i < 16; i++) {
            const unsigned char was = block[size_bytes + i];
            block[size_bytes + i] = 0;
            assert_string_equal(loam_debug_check(&debug, NULL), PAST);
            block[size_bytes + i] = was;
            assert_null(loam_debug_check(&debug, NULL));
        }
    }
}

static void underflow_H16_into_the_red_zone_panics(void **state)
{
    (void)state;
    EACH_HEAP
    {
        for (size_t length = 1; length <= 24; length++) {
            watch(world.heap);
            unsigned char *block = take_at(100, 4);
            memset(block - length, 0, length);
            expect_refused(BEFORE, block);
            expect_blame(block, SITE(4).addr, 100, 0);
            assert_string_equal(loam_debug_check(&debug, NULL), BEFORE);
        }
    }
}

/* Further down lies the header: the block's neighbours still know it. */
static void underflow_H16_H22_into_the_header_panics(void **state)
{
    (void)state;
    EACH_HEAP
    {
        for (size_t length = 25; length <= 96; length++) {
            for (unsigned which = 0; which < 3; which++) {
                watch(world.heap);
                unsigned char *const block[3] = { take_at(50, 4), take_at(50, 5), take_at(50, 6) };
                spoil(block[which] - length, length);
                expect_refused(BEFORE, block[which]);
                expect_blame(block[which], 0, 0, 0);
                struct loam_debug_block broken = { .size_bytes = 1 };
                assert_string_equal(loam_debug_check(&debug, &broken), BEFORE);
                assert_int_equal(broken.start.addr, (uintptr_t)block[which]);
                assert_int_equal(broken.size_bytes, 0);
            }
        }
    }
}

/* The only block; and two of three, which are still known from one end each. */
static void underflow_H22_is_named_from_either_end(void **state)
{
    (void)state;
    EACH_HEAP
    {
        watch(world.heap);
        unsigned char *only = take(50);
        spoil(only - 96, 72);
        expect_refused(BEFORE, only);

        watch(world.heap);
        unsigned char *const block[3] = { take(50), take(50), take(50) };
        spoil(block[0] - 96, 72);
        spoil(block[2] - 96, 72);
        expect_refused(BEFORE, block[0]);
        expect_refused(BEFORE, block[2]);
    }
}

/* A bit of the header in the middle is wrong: its neighbours are not joined over it. */
static void expect_neighbours_refused(size_t bit)
{
    unsigned char *const block[3] = { take(1), take(2), take(3) };

    block[1][-96 + (long)(bit / 8)] ^= (unsigned char)(1u << bit % 8);
    expect_refused(BEFORE, block[1]);
    EXPECT_PANIC(BEFORE, give(block[0]));
    assert_int_equal(panic_trap.seen.subject, (uintptr_t)block[1]);
    EXPECT_PANIC(BEFORE, give(block[2]));
    assert_int_equal(panic_trap.seen.subject, (uintptr_t)block[1]);
}

static void header_H21_H22_of_a_neighbour_is_checked_first(void **state)
{
    (void)state;
    EACH_HEAP
    {
        for (size_t bit = 0; bit < 72 * 8; bit += 5) {
            watch(world.heap);
            expect_neighbours_refused(bit);
        }
        watch(world.heap);
        unsigned char *last = take(4);
        spoil(last - 96, 8);
        EXPECT_PANIC(BEFORE, take(5));
        assert_int_equal(panic_trap.seen.subject, (uintptr_t)last);
    }
}

/* ---- H10: double free ---------------------------------------------------- */

static void free_H10_twice_panics_and_names_both_sites(void **state)
{
    (void)state;
    EACH_HEAP
    {
        watch(world.heap);
        unsigned char *block = take_at(100, 4);
        loam_debug_free(&debug, block, SITE(5));
        expect_refused(FREED, block);
        expect_blame(block, SITE(5).addr, 100, SITE(5).addr);
        assert_int_equal(debug.blame.alloc_site.addr, SITE(4).addr);
        EXPECT_PANIC(FREED, (void)!loam_debug_usable(&debug, block));
        assert_int_equal(debug.blame.caller.addr, 0);
        EXPECT_PANIC(FREED, loam_debug_free_sized(&debug, block, 100, SITE(6)));
        assert_null(loam_debug_audit(&debug));
    }
}

/* While it waits, however many others are freed meanwhile, and whatever they
 * write into it. */
static void free_H10_twice_with_others_between_panics(void **state)
{
    static const unsigned others[] = { 1, 8, LOAM_DEBUG_QUARANTINE - 1 };

    (void)state;
    EACH_HEAP
    {
        for (size_t i = 0; i < 3; i++) {
            watch(world.heap);
            unsigned char *block = take_at(100, 4);
            loam_debug_free(&debug, block, SITE(5));
            for (unsigned k = 0; k < others[i]; k++)
                give(take(100));
            expect_refused(FREED, block);
            memset(block - 96, 0, 196);
            expect_refused(FREED, block);
        }
    }
}

/* Wherever in the ring it is. */
static void free_H10_of_each_that_waits_panics(void **state)
{
    unsigned char *block[LOAM_DEBUG_QUARANTINE + 10];

    (void)state;
    watch(WORLD_ARENA);
    for (size_t i = 0; i < LOAM_DEBUG_QUARANTINE + 10; i++) {
        block[i] = take(i);
        give(block[i]);
    }
    for (size_t i = 10; i < LOAM_DEBUG_QUARANTINE + 10; i++) {
        spoil(block[i] - 96, 96); /* nothing but the ring knows it */
        expect_refused(FREED, block[i]);
    }
}

/* After it left the ring, as long as its header is there. */
static void free_H10_of_what_the_heap_has_back_panics(void **state)
{
    (void)state;
    EACH_HEAP
    {
        watch(world.heap);
        take(10);
        unsigned char *block = take_at(100, 4);
        take(10);
        loam_debug_free(&debug, block, SITE(5));
        loam_debug_flush(&debug);
        expect_refused(FREED, block);
        expect_blame(block, SITE(5).addr, 100, SITE(5).addr);
    }
}

static void realloc_H07_makes_the_old_place_stale(void **state)
{
    static const struct loam_resize resize = { 100, 101, 8 };

    (void)state;
    EACH_HEAP
    {
        watch(world.heap);
        unsigned char *block = take_at(100, 4);
        unsigned char *moved = loam_debug_realloc(&debug, block, &resize, SITE(5));
        assert_non_null(moved);
        expect_refused(FREED, block);
        assert_int_equal(panic_trap.seen.detail, SITE(5).addr);
        give(moved);
    }
}

/* ---- H14: sizes ---------------------------------------------------------- */

static void expect_wrong_size(unsigned char *block, size_t size_bytes, size_t wrong)
{
    const struct loam_resize resize = { wrong, 50, 8 };
    const uint64_t before = loam_debug_digest(&debug);

    EXPECT_PANIC(SIZE, loam_debug_free_sized(&debug, block, wrong, SITE(5)));
    expect_blame(block, SITE(4).addr, size_bytes, 0);
    EXPECT_PANIC(SIZE, (void)!loam_debug_realloc(&debug, block, &resize, SITE(5)));
    assert_int_equal(loam_debug_digest(&debug), before);
}

static void free_H14_of_a_wrong_size_panics(void **state)
{
    static const size_t wrong[] = { 0, 99, 101, 104, 200, 1u << 20, SIZE_MAX - 1 };

    (void)state;
    EACH_HEAP
    {
        watch(world.heap);
        unsigned char *block = take_at(100, 4);
        for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
            expect_wrong_size(block, 100, wrong[i]);
        loam_debug_free_sized(&debug, block, 100, SITE(5));
    }
}

/* ---- H11, H12, H13: what is no block ------------------------------------- */

static void expect_alien(unsigned char *place)
{
    expect_refused(ALIEN, place);
    expect_blame(place, 0, 0, 0);
    EXPECT_PANIC(ALIEN, (void)!loam_debug_usable(&debug, place));
}

static void free_H11_of_the_inside_panics(void **state)
{
    static const long offsets[] = { 1, 4, 8, 16, 32, 96, 160, 999, 1000, 1008, -16, -96, -8 };

    (void)state;
    EACH_HEAP
    {
        watch(world.heap);
        take(10);
        unsigned char *block = take(1000);
        take(10);
        memset(block, 0x42, 1000);
        for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++)
            expect_alien(block + offsets[i]);
    }
}

/* A header that was copied is not at home. */
static void free_H11_of_a_copied_block_panics(void **state)
{
    (void)state;
    EACH_HEAP
    {
        watch(world.heap);
        unsigned char *block = take(64);
        unsigned char *large = take(1024);
        memcpy(large + 512 - 96, block - 96, 96 + 64);
        expect_refused(ALIEN, large + 512);
    }
}

/* Outside the heap nothing is read: these pages cannot be. */
static void free_H12_of_anything_else_panics_unread(void **state)
{
    int local = 0;
    unsigned char *wall = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void *const wild[] = { &local,
                           &debug,
                           wall,
                           wall + 4096,
                           (void *)16,
                           (void *)96,
                           (void *)4096,
                           (void *)UINT64_C(0x8000000000000000),
                           (void *)UINT64_C(0xfee00000),
                           (void *)(UINTPTR_MAX - 15),
                           (void *)UINT64_C(0x7fffffffffff) };

    (void)state;
    assert_ptr_not_equal(wall, MAP_FAILED);
    EACH_HEAP
    {
        watch(world.heap);
        take(10);
        for (size_t i = 0; i < sizeof(wild) / sizeof(wild[0]); i++)
            expect_refused(ALIEN, wild[i]);
        expect_refused(ALIEN, world.span);
        for (size_t offset = 0; offset <= 128; offset += 16) /* half a header is none */
            expect_refused(ALIEN, world.span + WORLD_BYTES + offset);
    }
    munmap(wall, 8192);
}

/* A hole between two spans, as wide as can be seen. */
static void free_H12_of_a_hole_between_spans_panics_unread(void **state)
{
    unsigned char *memory =
        mmap(NULL, 5 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)state;
    assert_ptr_not_equal(memory, MAP_FAILED);
    assert_int_equal(mprotect(memory + 8192, 4096, PROT_NONE), 0);
    world_of(WORLD_ARENA);
    loam_arena_init(&world.arena);
    assert_int_equal(loam_arena_claim(&world.arena, memory, 8192), LOAM_OK);
    assert_int_equal(loam_arena_claim(&world.arena, memory + 3 * 4096, 8192), LOAM_OK);
    loam_debug_init(&debug, &world.allocator);
    take(100);
    for (size_t offset = 8192 - 128; offset < 3 * 4096 + 128; offset += 8)
        expect_refused(ALIEN, memory + offset);
    munmap(memory, 5 * (size_t)4096);
}

static void free_H13_of_another_heaps_block_panics(void **state)
{
    static struct loam_debug other;

    (void)state;
    EACH_HEAP
    {
        watch(world.heap);
        loam_debug_init(&other, &world.allocator); /* the same memory, even */
        unsigned char *plain = loam_allocator_alloc(&world.allocator, 64, 16);
        unsigned char *block = loam_debug_alloc(&other, 64, 16, SITE(3));
        assert_non_null(plain);
        assert_non_null(block);
        expect_refused(ALIEN, plain);
        expect_refused(ALIEN, block);
    }
}

/* ---- H18: write after free ----------------------------------------------- */

/* A byte at @p place from the start of a freed block of 100 is written. */
static void expect_write_found(long place, unsigned before_it)
{
    const uint64_t size_bytes = place < -24 ? 0 : 100; /* no header, nothing known */
    const uint64_t free_site = place < -24 ? 0 : SITE(5).addr;
    struct loam_debug_block broken = { .size_bytes = 1 };
    unsigned char *block = take_at(100, 4);

    for (unsigned k = 0; k < before_it; k++)
        give(take(10));
    loam_debug_free(&debug, block, SITE(5));
    give(take(10));
    block[place] ^= 0x40;
    assert_string_equal(loam_debug_check(&debug, &broken), AFTER);
    assert_int_equal(broken.start.addr, (uintptr_t)block);
    assert_int_equal(broken.size_bytes, size_bytes);
    for (unsigned k = 0; k < LOAM_DEBUG_QUARANTINE - 2; k++)
        give(take(1)); /* those before it leave */
    unsigned char *next = take(1);
    const uint64_t before = loam_debug_digest(&debug);
    EXPECT_PANIC(AFTER, loam_debug_free(&debug, next, SITE(6)));
    expect_blame(block, free_site, size_bytes, free_site);
    assert_int_equal(debug.blame.caller.addr, SITE(6).addr);
    assert_int_equal(loam_debug_digest(&debug), before);
    EXPECT_PANIC(AFTER, loam_debug_flush(&debug));
    assert_int_equal(debug.blame.caller.addr, 0);
    assert_int_equal(loam_debug_digest(&debug), before);
}

static void write_H18_after_free_panics_when_the_block_leaves(void **state)
{
    static const long places[] = { -96, -20, -1, 0, 50, 99, 100, 115 };

    (void)state;
    EACH_HEAP
    {
        for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
            watch(world.heap);
            expect_write_found(places[i], 0);
            watch(world.heap);
            expect_write_found(places[i], 7);
        }
    }
}

/* A realloc that would push it out looks before it moves. */
static void write_H18_after_free_stops_realloc_before_it_moves(void **state)
{
    static const struct loam_resize resize = { 8, 9, 8 };

    (void)state;
    EACH_HEAP
    {
        watch(world.heap);
        unsigned char *live = take(8);
        unsigned char *block = take(100);
        give(block);
        for (unsigned k = 1; k < LOAM_DEBUG_QUARANTINE; k++)
            give(take(1));
        block[3] = 0;
        const uint64_t before = loam_debug_digest(&debug);
        EXPECT_PANIC(AFTER, (void)!loam_debug_realloc(&debug, live, &resize, SITE(5)));
        assert_int_equal(loam_debug_digest(&debug), before);
        assert_int_equal(debug_stats().used_count, 1);
    }
}

/* ---- the audit ----------------------------------------------------------- */

static void audit_finds_each_wrong_count(void **state)
{
    (void)state;
    watch(WORLD_ARENA);
    unsigned char *block = take(100);
    take(50);
    debug.used_count++;
    assert_string_equal(loam_debug_audit(&debug), "debug: live blocks are miscounted");
    debug.used_count--;
    debug.used_bytes--;
    assert_string_equal(loam_debug_audit(&debug), "debug: live blocks are miscounted");
    debug.used_bytes++;
    debug.peak_bytes = 149;
    assert_string_equal(loam_debug_audit(&debug), "debug: peak is below use");
    debug.peak_bytes = 150;
    assert_null(loam_debug_audit(&debug));
    const uint64_t newest = debug.newest;
    debug.newest = (uintptr_t)block;
    assert_string_equal(loam_debug_audit(&debug), "debug: list ends elsewhere");
    debug.newest = newest;
    const uint64_t oldest = debug.oldest;
    debug.oldest = newest;
    assert_string_equal(loam_debug_audit(&debug), "debug: links disagree");
    debug.oldest = oldest;
    world.arena.used_bytes += 8;
    assert_non_null(loam_debug_audit(&debug));
}

/* Every count, and every block's place, size and site. */
static void digest_sees_each_part(void **state)
{
    (void)state;
    watch(WORLD_ARENA);
    take_at(100, 1);
    const uint64_t first = loam_debug_digest(&debug);
    size_t *const counts[] = { &debug.used_bytes, &debug.peak_bytes, &debug.used_count };
    for (size_t i = 0; i < 3; i++) {
        ++*counts[i];
        assert_int_not_equal(loam_debug_digest(&debug), first);
        --*counts[i];
    }
    debug.sequence++;
    assert_int_not_equal(loam_debug_digest(&debug), first);
    watch(WORLD_ARENA);
    take_at(100, 2); /* another site */
    assert_int_not_equal(loam_debug_digest(&debug), first);
    watch(WORLD_ARENA);
    take_at(101, 1); /* another size */
    debug.used_bytes--;
    debug.peak_bytes--;
    assert_int_not_equal(loam_debug_digest(&debug), first);
    watch(WORLD_ARENA);
    assert_non_null(loam_debug_alloc(&debug, 100, 4096, SITE(1))); /* another place */
    assert_int_not_equal(loam_debug_digest(&debug), first);
}

static void next_H21_from_what_is_not_live_panics(void **state)
{
    (void)state;
    EACH_HEAP
    {
        watch(world.heap);
        unsigned char *block = take(10);
        unsigned char *freed = take(10);
        unsigned char *damaged = take(10);
        give(freed);
        struct loam_debug_block at = { .start = loam_virt_of(freed) };
        static const char rule[] = "debug: walk from what is no live block";
        EXPECT_PANIC(rule, (void)!loam_debug_next(&debug, &at));
        assert_int_equal(panic_trap.seen.subject, (uintptr_t)freed);
        at.start = loam_virt_of(&at);
        EXPECT_PANIC(rule, (void)!loam_debug_next(&debug, &at));
        at.start = loam_virt_of(block);
        memset(damaged - 60, 0, 8);
        EXPECT_PANIC(BEFORE, (void)!loam_debug_next(&debug, &at));
        assert_int_equal(panic_trap.seen.subject, (uintptr_t)damaged);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(overflow_H16_of_any_length_and_size_panics),
        cmocka_unit_test(overflow_H16_H17_of_each_byte_is_seen),
        cmocka_unit_test(underflow_H16_into_the_red_zone_panics),
        cmocka_unit_test(underflow_H16_H22_into_the_header_panics),
        cmocka_unit_test(underflow_H22_is_named_from_either_end),
        cmocka_unit_test(header_H21_H22_of_a_neighbour_is_checked_first),
        cmocka_unit_test(free_H10_twice_panics_and_names_both_sites),
        cmocka_unit_test(free_H10_twice_with_others_between_panics),
        cmocka_unit_test(free_H10_of_each_that_waits_panics),
        cmocka_unit_test(free_H10_of_what_the_heap_has_back_panics),
        cmocka_unit_test(realloc_H07_makes_the_old_place_stale),
        cmocka_unit_test(free_H14_of_a_wrong_size_panics),
        cmocka_unit_test(free_H11_of_the_inside_panics),
        cmocka_unit_test(free_H11_of_a_copied_block_panics),
        cmocka_unit_test(free_H12_of_anything_else_panics_unread),
        cmocka_unit_test(free_H12_of_a_hole_between_spans_panics_unread),
        cmocka_unit_test(free_H13_of_another_heaps_block_panics),
        cmocka_unit_test(write_H18_after_free_panics_when_the_block_leaves),
        cmocka_unit_test(write_H18_after_free_stops_realloc_before_it_moves),
        cmocka_unit_test(audit_finds_each_wrong_count),
        cmocka_unit_test(digest_sees_each_part),
        cmocka_unit_test(next_H21_from_what_is_not_live_panics),
    };
    return RUN_TESTS(tests);
}
