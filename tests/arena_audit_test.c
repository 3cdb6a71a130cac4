/*
 * arena_audit_test.c - the audit names every kind of corruption, and the digest sees
 * what can be seen. Tags are forged as arena_tag.h makes them: a change of the lower
 * half shows in the upper half too.
 */
#include "arena_world.h"

static unsigned char *used, *freed, *next, *waiting;

/*
 *   | used 98 | freed 2000 | next 100 | waiting 60 | used | free |
 */
static void five_blocks(void)
{
    heap_of(8192);
    used = take(98);
    freed = take(2000);
    next = take(100);
    waiting = take(60);
    take(20);
    give(freed);
    loam_arena_merge(heap);
    give(waiting);
    assert_int_equal(heap->deferred_count, 1);
}

static void expect_broken(const char *rule)
{
    const char *found = loam_arena_audit(heap);
    assert_non_null(found);
    assert_string_equal(found, rule);
}

/* Change the lower half of a tag, and its check with it. */
static void forge_tag(unsigned char *block, uint32_t change)
{
    void *const at = (void *)((uintptr_t)block - 4);
    uint32_t tag;
    memcpy(&tag, at, 4);
    tag ^= change * 0x00010001u;
    memcpy(at, &tag, 4);
}

#define SIZE_UNIT  0x10u /* of the size in a tag: 8 bytes */
#define PREV_FREE  4u
#define MAKE_FREE  2u /* from in use */
#define MAKE_OTHER 3u /* from free to none */

static void arena_audit_finds_damaged_blocks(void **state)
{
    (void)state;
    five_blocks();
    used[-4] ^= 0x20;
    expect_broken(DAMAGED_TAG);
    five_blocks();
    used[98] ^= 1;
    expect_broken(OVERFLOWED);
    five_blocks();
    next[-5] ^= 1;
    expect_broken("arena: a free block's footer is not its size");
    five_blocks();
    forge_tag(freed, MAKE_OTHER);
    expect_broken(DAMAGED_TAG);
    five_blocks();
    forge_tag(next, PREV_FREE);
    expect_broken("arena: a tag is wrong about the block before");
    five_blocks();
    forge_tag(waiting, PREV_FREE);
    expect_broken("arena: a tag is wrong about the block before");
    five_blocks();
    forge_tag(memory + 8192, PREV_FREE);
    expect_broken("arena: a tag is wrong about the block before");
    five_blocks();
    memory[8192 - 2] ^= 1;
    expect_broken("arena: mark at the end is damaged");
    five_blocks();
    forge_tag(memory + 8192, SIZE_UNIT);
    expect_broken("arena: mark at the end is damaged");
}

/*
 *   | used 100 | free |      the first is made to look free, with its footer
 */
static void arena_audit_finds_free_neighbours(void **state)
{
    const uint32_t footer = 104 / 8;

    (void)state;
    heap_of(4096);
    unsigned char *block = take(100);
    loam_arena_merge(heap);
    forge_tag(block, MAKE_FREE);
    memcpy(block + 96, &footer, 4);
    expect_broken("arena: free blocks touch");
}

/* The last block reaches over the mark. */
static void arena_audit_finds_blocks_that_do_not_tile(void **state)
{
    (void)state;
    heap_of(4096);
    take(500);
    const size_t rest = stats().largest_free_bytes;
    unsigned char *last = take(rest);
    forge_tag(last, (uint32_t)((rest + 4) / 8 ^ ((rest + 4) / 8 + 2)) * SIZE_UNIT);
    expect_broken("arena: blocks do not tile the span");
}

static void arena_audit_finds_damaged_large_blocks(void **state)
{
    (void)state;
    for (size_t byte = 0; byte < 12; byte++) {
        heap_of(2 * SPAN);
        unsigned char *block = take(40000);
        block[-16 + (int)byte] ^= 1; /* size and its check */
        expect_broken(DAMAGED_TAG);
        block[-16 + (int)byte] ^= 1;
        take(10);
        give(block);
        loam_arena_merge(heap);
        assert_null(loam_arena_audit(heap));
        block[byte] ^= 1;
        expect_broken(DAMAGED);
    }
}

static void set_bin(unsigned bin, const unsigned char *block)
{
    heap->bin[bin] = (uintptr_t)block;
    heap->bin_map[bin / 64] &= ~((uint64_t)1 << bin % 64);
    heap->bin_map[bin / 64] |= (uint64_t)(block != NULL) << bin % 64;
}

static void arena_audit_finds_bins_that_are_wrong(void **state)
{
    unsigned bin = 0;

    (void)state;
    five_blocks();
    while (heap->bin[bin] != (uintptr_t)freed)
        bin++;
    heap->bin_map[bin / 64] ^= (uint64_t)1 << bin % 64;
    expect_broken("arena: map of bins is wrong");
    five_blocks();
    heap->bin_map[0] ^= 32;
    expect_broken("arena: map of bins is wrong");
    five_blocks();
    set_bin(bin, used);
    expect_broken("arena: a bin holds what is no free block of its size");
    five_blocks();
    set_bin(bin, freed + 8);
    expect_broken("arena: a bin holds what is no free block of its size");
    five_blocks();
    set_bin(bin, memory + 8192 + 64); /* in no span */
    expect_broken("arena: a bin holds what is no free block of its size");
    five_blocks();
    set_bin(bin + 1, freed);
    expect_broken("arena: a bin holds what is no free block of its size");
    five_blocks();
    set_bin(bin, NULL);
    expect_broken("arena: a free block is in no bin");
    five_blocks();
    freed[8] ^= 8;
    expect_broken("arena: a bin is not linked both ways");
}

static void arena_audit_finds_quick_lists_that_are_wrong(void **state)
{
    (void)state;
    five_blocks();
    heap->deferred_count++;
    expect_broken("arena: waiting blocks are miscounted");
    five_blocks();
    heap->quick[8] = 0;
    expect_broken("arena: a waiting block is in no quick list");
    five_blocks();
    heap->quick[9] = (uintptr_t)waiting;
    expect_broken("arena: a quick list holds what is no waiting block of its size");
    five_blocks();
    heap->quick[8] = (uintptr_t)used;
    expect_broken("arena: a quick list holds what is no waiting block of its size");
    five_blocks();
    heap->quick[9] = MEMORY_AT + 100000;
    expect_broken("arena: a quick list leads out of the spans");
    five_blocks();
    waiting[0] ^= 1; /* its link, which led to nowhere */
    expect_broken("arena: a quick list leads out of the spans");
}

/* Links of waiting blocks that lead to honest ones, but in a circle. */
static void arena_H21_audit_finds_circular_lists(void **state)
{
    unsigned char *block[3];

    (void)state;
    for (size_t size_bytes = 20; size_bytes < 1000; size_bytes += 60) {
        heap_of(SPAN);
        for (size_t i = 0; i < 3; i++)
            block[i] = take(size_bytes);
        for (size_t i = 0; i < 3; i++)
            give(block[i]);
        assert_int_equal(heap->deferred_count, 3);
        const uint64_t link = (uintptr_t)block[1] ^ heap->cookie;
        for (size_t i = 0; i < 3; i++) {
            uint64_t old;
            memcpy(&old, block[i], 8);
            memcpy(block[i], &link, 8);
            assert_int_equal(loam_arena_audit(heap) != NULL, old != link);
            memcpy(block[i], &old, 8);
            assert_null(loam_arena_audit(heap));
        }
    }
}

static void arena_audit_finds_wrong_counts(void **state)
{
    static const char *const blocks = "arena: blocks in use are miscounted";
    static const char *const spans = "arena: spans are miscounted";

    (void)state;
    five_blocks();
    heap->used_bytes += 8;
    expect_broken(blocks);
    five_blocks();
    heap->used_count--;
    expect_broken(blocks);
    five_blocks();
    heap->span_bytes -= 8;
    expect_broken(spans);
    five_blocks();
    heap->span_count++;
    expect_broken(spans);
    five_blocks();
    heap->peak_bytes = heap->used_bytes - 1;
    expect_broken("arena: peak is below use");
}

/* A span whose record says that it reaches into the next one, by a byte or more. */
static void arena_audit_finds_spans_that_overlap(void **state)
{
    (void)state;
    for (uint64_t size_bytes = 1025; size_bytes < 1100; size_bytes++) {
        heap_without_spans();
        lend(0, 4096);
        assert_int_equal(loam_arena_claim(heap, memory, 1024), LOAM_OK);
        assert_int_equal(loam_arena_claim(heap, memory + 1024, 1024), LOAM_OK);
        assert_null(loam_arena_audit(heap));
        memcpy(memory + 24, &size_bytes, 8); /* left, right, start, size */
        expect_broken("arena: spans overlap");
    }
}

/* The digest sees place, size asked for, and counters; neither contents, nor whether
 * a freed block waits. */
static void arena_digest_sees_what_can_be_seen(void **state)
{
    (void)state;
    heap_of(4096);
    unsigned char *block = take(100);
    unsigned char *other = take(100);
    uint64_t digest = loam_arena_digest(heap);
    memset(block, 1, 100);
    assert_int_equal(loam_arena_digest(heap), digest);
    assert_ptr_equal(loam_arena_realloc(heap, block, 99, 8), block);
    assert_int_not_equal(loam_arena_digest(heap), digest);
    assert_ptr_equal(loam_arena_realloc(heap, block, 100, 8), block);
    assert_int_equal(loam_arena_digest(heap), digest);
    give(block);
    const uint64_t other_is_used = loam_arena_digest(heap);
    assert_int_not_equal(other_is_used, digest);
    loam_arena_merge(heap);
    assert_int_equal(loam_arena_digest(heap), other_is_used);
    assert_ptr_equal(take(100), block);
    give(other);
    assert_int_not_equal(loam_arena_digest(heap), other_is_used); /* the same counters */

    size_t *const counters[] = { &heap->span_bytes, &heap->span_count, &heap->used_bytes,
                                 &heap->peak_bytes, &heap->used_count };
    digest = loam_arena_digest(heap);
    for (size_t i = 0; i < 5; i++) {
        ++*counters[i];
        assert_int_not_equal(loam_arena_digest(heap), digest);
        --*counters[i];
    }
    assert_int_equal(loam_arena_digest(heap), digest);
}

/* A walk over damage ends in a panic that names it. */
static void arena_H22_walk_panics_on_damage(void **state)
{
    (void)state;
    five_blocks();
    next[-4] ^= 0x20;
    struct loam_arena_block block = { { 0 }, 0, 0, LOAM_ARENA_USED };
    assert_true(loam_arena_next(heap, &block));
    assert_int_equal(block.start.addr, (uintptr_t)used);
    EXPECT_PANIC(DAMAGED_TAG, (void)!loam_arena_digest(heap));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_audit_finds_damaged_blocks),
        cmocka_unit_test(arena_audit_finds_free_neighbours),
        cmocka_unit_test(arena_audit_finds_blocks_that_do_not_tile),
        cmocka_unit_test(arena_audit_finds_damaged_large_blocks),
        cmocka_unit_test(arena_audit_finds_bins_that_are_wrong),
        cmocka_unit_test(arena_audit_finds_quick_lists_that_are_wrong),
        cmocka_unit_test(arena_H21_audit_finds_circular_lists),
        cmocka_unit_test(arena_audit_finds_wrong_counts),
        cmocka_unit_test(arena_audit_finds_spans_that_overlap),
        cmocka_unit_test(arena_digest_sees_what_can_be_seen),
        cmocka_unit_test(arena_H22_walk_panics_on_damage),
    };
    return RUN_TESTS(tests);
}
