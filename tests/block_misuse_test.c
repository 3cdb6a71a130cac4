/*
 * block_misuse_test.c - every misuse of the heap of size classes panics with
 * its rule before anything changes.
 */
#include "block_world.h"

#include <sys/mman.h>

#define NOT_A_BLOCK "block: not a block of this heap"
#define DOUBLE_FREE "block: block is already free"
#define WRONG_SIZE  "block: wrong size"

/* What the fallback says to a pointer that is in no chunk. */
static const char *const fallback_rule[FALLBACKS] = {
    "arena: not a block of this heap",
    "freelist: not a block of this heap",
};

/* The functions that take a block. */
enum call { FREE, FREE_SIZED, REALLOC, USABLE, CALLS };

static void make_call(enum call call, void *block, size_t size_bytes)
{
    switch (call) {
    case FREE:
        loam_block_free(&heap, block);
        break;
    case FREE_SIZED:
        loam_block_free_sized(&heap, block, size_bytes);
        break;
    case REALLOC:
        assert_null(resize(block, size_bytes, 4000, 1));
        break;
    default:
        assert_int_equal(loam_block_usable(&heap, block), 0);
        break;
    }
}

/* Each function that takes a block refuses this one, and that has changed
 * nothing. */
static void expect_refused(void *block, size_t size_bytes, const char *rule)
{
    const uint64_t digest = loam_block_digest(&heap);

    for (unsigned call = 0; call < CALLS; call++) {
        EXPECT_PANIC(rule, make_call((enum call)call, block, size_bytes));
        assert_int_equal(panic_trap.seen.subject, (uintptr_t)block);
        assert_int_equal(panic_trap.seen.detail, 0);
        assert_int_equal(loam_block_digest(&heap), digest);
    }
}

/* The fallback refuses it by one of its own rules: nobody or somebody else has
 * it. */
static void expect_fallback_refuses(void *block)
{
    const char *const layer = heap.fallback.arena != NULL ? "arena: " : "freelist: ";

    panic_trap.armed = true;
    if (setjmp(panic_trap.landing) == 0) {
        give(block);
        panic_trap.armed = false;
        fail_msg("no panic of %p", block);
    }
    assert_memory_equal(panic_trap.seen.rule, layer, strlen(layer));
}

/* ---- the wrong pointer --------------------------------------------------- */

static void free_H09_of_null_is_nothing(void **state)
{
    (void)state;
    FOR_EACH_FALLBACK(kind)
    {
        heap_of(kind, SPAN);
        take(100);
        const uint64_t digest = loam_block_digest(&heap);
        loam_block_free(&heap, NULL);
        loam_block_free_sized(&heap, NULL, 5);
        assert_int_equal(loam_block_digest(&heap), digest);
    }
}

/* Every address of a chunk but that of the live block: header, bits, inside
 * blocks, blocks that were never given out, and the rest behind the last. */
static void free_H07_H11_H35_of_an_interior_pointer_panics(void **state)
{
    static const size_t sizes[] = { 8, 24, 48, 100, 256, 944, 1248, 2048 };

    (void)state;
    FOR_EACH_FALLBACK(kind)
    {
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            heap_of(kind, SPAN);
            unsigned char *const block = take(sizes[i]);
            unsigned char *const chunk = chunk_of(block);
            const size_t first = (size_t)(block - chunk);
            const size_t class_bytes = loam_block_usable(&heap, block);
            const size_t count = (CHUNK - 24 - first) / class_bytes;
            const size_t end = kind == OVER_ARENA ? CHUNK - 20 : CHUNK;
            const size_t step = i % 2 == 0 ? 8 : 1;
            for (size_t offset = 0; offset < end; offset += step) {
                const bool is_block = offset >= first && (offset - first) % class_bytes == 0 &&
                                      (offset - first) / class_bytes < count;
                if (chunk + offset != block)
                    expect_refused(chunk + offset, sizes[i], is_block ? DOUBLE_FREE : NOT_A_BLOCK);
            }
            for (size_t offset = end; offset < CHUNK + 64; offset += 8)
                expect_fallback_refuses(chunk + offset);
            assert_null(loam_block_audit(&heap));
            loam_block_free_sized(&heap, block, sizes[i]);
        }
    }
}

static int global;

/* Stack, globals, code, null and a little, non-canonical: never dereferenced.
 * */
static void free_H12_of_a_wild_pointer_panics(void **state)
{
    static const uintptr_t wild[] = {
        1,
        8,
        16,
        CHUNK - 8,
        CHUNK,
        CHUNK + 8,
        (uintptr_t)1 << 47,
        ((uintptr_t)1 << 63) - 16,
        (uintptr_t)1 << 63,
        UINTPTR_MAX - 4095,
        UINTPTR_MAX - 15,
        UINTPTR_MAX,
    };
    _Alignas(16) unsigned char on_stack[64] = { 0 };

    (void)state;
    FOR_EACH_FALLBACK(kind)
    {
        heap_of(kind, SPAN);
        take(100);
        take(5000);
        for (size_t i = 0; i < sizeof(wild) / sizeof(wild[0]); i++)
            expect_refused((void *)wild[i], 8, fallback_rule[kind]);
        expect_refused(on_stack + 32, 8, fallback_rule[kind]);
        expect_refused(&global, 8, fallback_rule[kind]);
        expect_refused((void *)(uintptr_t)&free_H12_of_a_wild_pointer_panics, 8,
                       fallback_rule[kind]);
        expect_refused(span - 8, 8, fallback_rule[kind]);
        expect_refused(span + SPAN, 8, fallback_rule[kind]);
        expect_refused(span + SPAN + CHUNK, 8, fallback_rule[kind]);
        expect_sound();
    }
}

/*
 *   | no access | span A | no access | span B | no access |
 *
 * The chunk of a pointer into a hole, or into the first part of a span that
 * does not begin at a multiple of 16 KiB, would lie where nothing may be read.
 */
static void free_H12_into_a_hole_reads_nothing(void **state)
{
    const size_t page = 4096;
    unsigned char *const area =
        mmap(NULL, 16 * CHUNK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)state;
    assert_ptr_not_equal(area, MAP_FAILED);
    unsigned char *const a = chunk_of(area + CHUNK) + 3 * page; /* its chunk: not readable */
    unsigned char *const b = a + 8 * CHUNK;
    assert_int_equal(mprotect(a, 4 * CHUNK, PROT_READ | PROT_WRITE), 0);
    assert_int_equal(mprotect(b, 4 * CHUNK, PROT_READ | PROT_WRITE), 0);
    heap_of(OVER_ARENA, CHUNK);
    assert_int_equal(loam_arena_claim(&arena, a, 4 * CHUNK), LOAM_OK);
    assert_int_equal(loam_arena_claim(&arena, b, 4 * CHUNK), LOAM_OK);
    unsigned char *const large = take(3 * CHUNK);
    unsigned char *const small = take(100);
    for (unsigned char *at = a - 2 * page; at < b + 6 * CHUNK; at += page / 2 + 8) {
        if (chunk_of(at) == chunk_of(small) && at < chunk_of(at) + CHUNK - 20)
            expect_no_free(at, NOT_A_BLOCK);
        else
            expect_fallback_refuses(at);
    }
    expect_sound();
    give(large);
    give(small);
    expect_empty();
    assert_int_equal(munmap(area, 16 * CHUNK), 0);
}

/*
 *   | span ...............| 16 KiB boundary, 24 bytes |
 *
 * There is no room for the header of a chunk, and nothing behind the span is
 * read.
 */
static void free_H12_at_the_very_end_reads_nothing_behind(void **state)
{
    (void)state;
    for (size_t rest = 8; rest < 80; rest += 8) {
        heap_of(OVER_FREELIST, 4 * CHUNK + rest);
        take(100);
        for (size_t offset = 0; offset < rest; offset += 8)
            expect_fallback_refuses(span + 4 * CHUNK + offset);
        heap_of(OVER_ARENA, 4 * CHUNK + rest);
        take(100);
        for (size_t offset = 0; offset < rest; offset += 8)
            expect_fallback_refuses(span + 4 * CHUNK + offset);
    }
}

/* Blocks of a heap that shares the fallback, of one that does not, and of one
 * inside a block; chunks, and blocks that others have from the fallback. */
static void free_H13_of_a_block_of_another_heap_panics(void **state)
{
    struct loam_block other;
    struct loam_freelist inner;
    static unsigned char beside[8 * LOAM_BLOCK_CHUNK_BYTES];

    (void)state;
    FOR_EACH_FALLBACK(kind)
    {
        heap_of(kind, SPAN);
        take(100);
        assert_int_equal(loam_block_init(&other, &heap.fallback), LOAM_OK);
        unsigned char *block = loam_block_alloc(&other, 100, 1);
        assert_non_null(block);
        expect_no_free(block, fallback_rule[kind]);
        assert_null(loam_block_audit(&other));

        assert_int_equal(loam_freelist_init(&inner, beside, sizeof(beside)), LOAM_OK);
        const struct loam_block_fallback apart = { &inner, NULL };
        assert_int_equal(loam_block_init(&other, &apart), LOAM_OK);
        expect_refused(loam_block_alloc(&other, 100, 1), 100, fallback_rule[kind]);
        expect_refused(loam_block_alloc(&other, 5000, 1), 5000, fallback_rule[kind]);
    }
    /* A heap in a large block of this one. */
    heap_of(OVER_ARENA, SPAN);
    unsigned char *const outer = take(8 * CHUNK);
    assert_int_equal(loam_freelist_init(&inner, outer, 8 * CHUNK), LOAM_OK);
    const struct loam_block_fallback within = { &inner, NULL };
    assert_int_equal(loam_block_init(&other, &within), LOAM_OK);
    void *const block = loam_block_alloc(&other, 100, 1);
    assert_non_null(block);
    expect_refused(block, 100, fallback_rule[OVER_ARENA]);
    loam_block_free(&other, block);
    give(outer);
    /* What others have: seen if it is more than this heap has. */
    void *const foreign = loam_arena_alloc(&arena, 5000, 8);
    assert_non_null(foreign);
    expect_no_free(foreign, NOT_A_BLOCK);
    take(4999);
    expect_no_free(foreign, NOT_A_BLOCK);
    expect_refused(chunk_of(take(100)), 100, NOT_A_BLOCK);
}

/* ---- twice --------------------------------------------------------------- */

/* At once, after k others, and once the chunk is empty and spare. */
static void free_H10_twice_panics(void **state)
{
    unsigned char *block[300];

    (void)state;
    FOR_EACH_FALLBACK(kind)
    {
        heap_of(kind, SPAN);
        for (size_t i = 0; i < 300; i++)
            block[i] = take(48);
        for (size_t i = 0; i < 300; i++) {
            give(block[i]);
            expect_refused(block[i], 48, DOUBLE_FREE);
            expect_refused(block[i / 2], 48, DOUBLE_FREE);
            if (i >= 8)
                expect_refused(block[i - 8], 48, DOUBLE_FREE);
        }
        for (size_t i = 0; i < 300; i += 7)
            expect_refused(block[i], 48, DOUBLE_FREE);
        expect_empty();
        /* The chunk is gone: the fallback knows. */
        expect_fallback_refuses(block[7]);
    }
}

static void free_H10_of_a_large_block_twice_panics(void **state)
{
    (void)state;
    FOR_EACH_FALLBACK(kind)
    {
        heap_of(kind, SPAN);
        unsigned char *large = take(5000);
        take(5000);
        give(large);
        expect_no_free(large, kind == OVER_ARENA ? "arena: block is already free"
                                                 : "freelist: block is already free");
        expect_sound();
    }
}

static void realloc_H07_of_an_old_place_panics(void **state)
{
    (void)state;
    heap_of(OVER_ARENA, SPAN);
    unsigned char *block = take(100);
    unsigned char *moved = resize(block, 100, 500, 1);
    assert_ptr_not_equal(moved, block);
    expect_refused(block, 100, DOUBLE_FREE);
    give(moved);
    expect_empty();
}

/* ---- the wrong size ------------------------------------------------------ */

static void expect_wrong_size(void *block, size_t size_bytes, size_t right)
{
    const uint64_t digest = loam_block_digest(&heap);

    EXPECT_PANIC(WRONG_SIZE, loam_block_free_sized(&heap, block, size_bytes));
    assert_int_equal(panic_trap.seen.subject, (uintptr_t)block);
    assert_int_equal(panic_trap.seen.detail, right);
    if (size_bytes != LOAM_SIZE_UNKNOWN)
        EXPECT_PANIC(WRONG_SIZE, assert_null(resize(block, size_bytes, 1, 1)));
    assert_int_equal(loam_block_digest(&heap), digest);
}

/* Every class against every size: right is what is of the class. */
static void free_H14_with_a_size_of_another_class_panics(void **state)
{
    (void)state;
    FOR_EACH_FALLBACK(kind)
    {
        heap_of(kind, SPAN);
        for (size_t asked = 0; asked <= LOAM_BLOCK_SIZE_MAX; asked += 29) {
            unsigned char *block = take(asked);
            const size_t class_bytes = loam_block_usable(&heap, block);
            for (size_t size_bytes = 0; size_bytes < 2100; size_bytes += 3) {
                unsigned char *like = loam_block_alloc(&heap, size_bytes, 1);
                assert_non_null(like);
                if (loam_block_usable(&heap, like) != class_bytes)
                    expect_wrong_size(block, size_bytes, class_bytes);
                give(like);
            }
            expect_wrong_size(block, 5000, class_bytes);
            expect_wrong_size(block, SIZE_MAX - 1, class_bytes);
            expect_wrong_size(block, SIZE_MAX, class_bytes);
            expect_wrong_size(block, (size_t)1 << 63, class_bytes);
            loam_block_free_sized(&heap, block, asked);
        }
        expect_empty();
    }
}

static void free_H14_of_a_large_block_with_a_wrong_size_panics(void **state)
{
    (void)state;
    FOR_EACH_FALLBACK(kind)
    {
        heap_of(kind, SPAN);
        unsigned char *large = take(5000);
        for (size_t size_bytes = 4900; size_bytes < 5100; size_bytes++) {
            if (size_bytes != 5000)
                expect_wrong_size(large, size_bytes, 5000);
        }
        expect_wrong_size(large, 0, 5000);
        expect_wrong_size(large, 100, 5000);
        expect_wrong_size(large, SIZE_MAX, 5000);
        loam_block_free_sized(&heap, large, 5000);
        expect_empty();
    }
}

/* An aligned request that went to a larger class: its chunk takes any size that
 * fits, as long as it has not been empty and set up again. */
static void free_H14_in_a_lax_chunk_takes_any_size_that_fits(void **state)
{
    (void)state;
    heap_of(OVER_ARENA, SPAN);
    unsigned char *plain = take(128);
    expect_wrong_size(plain, 100, 128);
    unsigned char *aligned = loam_block_alloc(&heap, 100, 64);
    assert_ptr_equal(chunk_of(aligned), chunk_of(plain));
    expect_wrong_size(aligned, 129, 128);
    expect_wrong_size(plain, 129, 128);
    loam_block_free_sized(&heap, plain, 100);
    loam_block_free_sized(&heap, aligned, 100);
    assert_int_equal(loam_block_trim(&heap), CHUNK);
    plain = take(128);
    expect_wrong_size(plain, 100, 128);
    /* An aligned request of the class's own size leaves the chunk as it is. */
    aligned = loam_block_alloc(&heap, 120, 128);
    expect_wrong_size(aligned, 100, 128);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(free_H09_of_null_is_nothing),
        cmocka_unit_test(free_H07_H11_H35_of_an_interior_pointer_panics),
        cmocka_unit_test(free_H12_of_a_wild_pointer_panics),
        cmocka_unit_test(free_H12_into_a_hole_reads_nothing),
        cmocka_unit_test(free_H12_at_the_very_end_reads_nothing_behind),
        cmocka_unit_test(free_H13_of_a_block_of_another_heap_panics),
        cmocka_unit_test(free_H10_twice_panics),
        cmocka_unit_test(free_H10_of_a_large_block_twice_panics),
        cmocka_unit_test(realloc_H07_of_an_old_place_panics),
        cmocka_unit_test(free_H14_with_a_size_of_another_class_panics),
        cmocka_unit_test(free_H14_of_a_large_block_with_a_wrong_size_panics),
        cmocka_unit_test(free_H14_in_a_lax_chunk_takes_any_size_that_fits),
    };
    return RUN_TESTS(tests);
}
