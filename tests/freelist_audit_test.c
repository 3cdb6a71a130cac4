/* freelist_audit_test.c - the audit finds every corruption; the digest sees the layout. */
#include "freelist_world.h"

#define FREE_DAMAGE "freelist: free block is damaged"

/* ---- the audit ----------------------------------------------------------- */

static void expect_broken(const char *rule)
{
    const char *found = loam_freelist_audit(&heap);
    assert_non_null(found);
    assert_string_equal(found, rule);
}

static unsigned char *three_blocks(void)
{
    heap_of(SPAN_QUICK);
    alloc(100);
    unsigned char *free_one = alloc(200);
    alloc(100);
    release(free_one);
    return free_one;
}

/* The table of a heap is words at these addresses. */
static void flip(uint64_t address)
{
    *(unsigned char *)(uintptr_t)address ^= 1;
}

static void freelist_audit_finds_each_corruption(void **state)
{
    static const char *const table = "freelist: table does not match the lists";

    (void)state;
    unsigned char *free_one = three_blocks();
    free_one[-8]++;
    expect_broken(FREE_DAMAGE);
    three_blocks();
    heap.cookie++;
    expect_broken(FREE_DAMAGE);
    three_blocks();
    flip(heap.level[1]); /* the first 64 cells: have some */
    expect_broken(table);
    three_blocks();
    *(unsigned char *)(uintptr_t)heap.level[1] ^= 2; /* the last 64: have none */
    expect_broken(table);
    three_blocks();
    flip(heap.level[0] + 4); /* a cell without runs has some */
    expect_broken(FREE_DAMAGE);
    three_blocks();
    flip(heap.level[0]); /* the first cell has none */
    expect_broken(table);
    three_blocks();
    flip(heap.cells);
    expect_broken(FREE_DAMAGE);
    three_blocks();
    flip(heap.bins + 4 * 20);
    expect_broken(table);
    three_blocks();
    heap.bin_map[0] ^= 1u << 20;
    expect_broken(table);
    three_blocks();
    heap.quick_map[0] ^= 1u << 20;
    expect_broken(table);
    three_blocks();
    heap.waiting_count++;
    expect_broken("freelist: waiting blocks are miscounted");
    three_blocks();
    heap.used_bytes += 16;
    expect_broken("freelist: blocks in use are miscounted");
    three_blocks();
    heap.used_count--;
    expect_broken("freelist: blocks in use are miscounted");
    three_blocks();
    heap.headerless_count = heap.used_count + 1;
    expect_broken("freelist: blocks in use are miscounted");
    three_blocks();
    heap.peak_bytes = heap.used_bytes - 1;
    expect_broken("freelist: peak is below use");
}

/*
 *   now     [a free)[b used)[c used)     a's words of now and b's of later: both
 *   later   [a used)[b free)[c used)     honest, but no list has b
 */
static void freelist_audit_finds_a_run_in_no_list(void **state)
{
    unsigned char words[16];

    (void)state;
    heap_of(1024);
    alloc(100);
    unsigned char *b = alloc(100);
    unsigned char *a = alloc(100);
    alloc(stats().largest_free_bytes);
    release(b);
    memcpy(words, b - 8, sizeof(words));
    assert_ptr_equal(alloc(100), b);
    release(a);
    memcpy(b - 8, words, sizeof(words));
    expect_broken("freelist: blocks in use are miscounted");
}

/*
 *   then   [a free ......)[b used)
 *   now    [a free )[used)[b free)     a's first word of then: it reaches up to b
 */
static void freelist_audit_finds_free_neighbours(void **state)
{
    unsigned found = 0;

    (void)state;
    for (size_t size_bytes = 64; size_bytes < 128; size_bytes += 8) {
        unsigned char word[8];
        heap_of(1024);
        unsigned char *const a = (unsigned char *)(uintptr_t)heap.base;
        unsigned char *b = take(size_bytes);
        memcpy(word, a, sizeof(word));
        take(16);
        give(b, size_bytes);
        memcpy(a, word, sizeof(word));
        const char *broken = loam_freelist_audit(&heap);
        assert_non_null(broken); /* or it is in another bin now */
        found += strcmp(broken, "freelist: free blocks touch") == 0;
    }
    assert_true(found > 0);
}

/* The digest sees place, size asked for, state and counters, but no contents. */
static void freelist_digest_sees_layout_only(void **state)
{
    (void)state;
    heap_of(1024);
    alloc(16);
    unsigned char *block = alloc(100);
    const uint64_t digest = loam_freelist_digest(&heap);
    memset(block, 1, 100);
    assert_int_equal(loam_freelist_digest(&heap), digest);
    assert_ptr_equal(loam_freelist_realloc(&heap, block, 99, 16), block);
    assert_int_not_equal(loam_freelist_digest(&heap), digest);
    assert_ptr_equal(loam_freelist_realloc(&heap, block, 100, 16), block);
    assert_int_equal(loam_freelist_digest(&heap), digest);
    release(block);
    assert_int_not_equal(loam_freelist_digest(&heap), digest);
    alloc(100);
    assert_int_equal(loam_freelist_digest(&heap), digest);
    heap_of(1024); /* the same sizes and counters, but another one is free */
    unsigned char *a = alloc(16);
    alloc(16);
    unsigned char *b = alloc(16);
    alloc(16);
    release(a);
    const uint64_t a_is_free = loam_freelist_digest(&heap);
    assert_ptr_equal(alloc(16), a);
    release(b);
    assert_int_not_equal(loam_freelist_digest(&heap), a_is_free);

    const uint64_t before = loam_freelist_digest(&heap);
    size_t *const counters[] = { &heap.used_count, &heap.used_bytes, &heap.peak_bytes };
    for (size_t i = 0; i < 3; i++) {
        ++*counters[i];
        assert_int_not_equal(loam_freelist_digest(&heap), before);
        --*counters[i];
    }
    assert_int_equal(loam_freelist_digest(&heap), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(freelist_audit_finds_each_corruption),
        cmocka_unit_test(freelist_audit_finds_a_run_in_no_list),
        cmocka_unit_test(freelist_audit_finds_free_neighbours),
        cmocka_unit_test(freelist_digest_sees_layout_only),
    };
    return RUN_TESTS(tests);
}
