/*
 * heap_misuse_test.c - what a free, a resize and a question about a block refuse, and what
 * of it is seen later only.
 */
#include "heap_world.h"

#define FOREIGN "heap: not a block of this heap"
#define TWICE   "heap: already free"
#define SIZE    "heap: wrong size"

static void *alloc(size_t size_bytes)
{
    void *const block = loam_heap_alloc(&heap, size_bytes);
    assert_non_null(block);
    return block;
}

/* Expect a panic about @p subject, outside of all locks. */
#define EXPECT_MISUSE(rule, at, statement)                                \
    do {                                                                  \
        EXPECT_PANIC(rule, statement);                                    \
        world_irq_is_off = false;                                         \
        assert_int_equal(panic_trap.seen.subject, loam_virt_of(at).addr); \
    } while (0)

static int a_global;

/* All that is no block, for a free, a sized free, a resize and a question. */
static void expect_foreign(void *at)
{
    EXPECT_MISUSE(FOREIGN, at, loam_heap_free(&heap, at));
    EXPECT_MISUSE(FOREIGN, at, loam_heap_free_sized(&heap, at, 1));
    EXPECT_MISUSE(FOREIGN, at, assert_null(loam_heap_realloc(&heap, at, 100)));
    EXPECT_MISUSE(FOREIGN, at, assert_int_equal(loam_heap_usable(&heap, at), 0));
}

static void h09_free_of_nothing_does_nothing(void **state)
{
    (void)state;
    heap_on(1);
    loam_heap_free(&heap, NULL);
    loam_heap_free_sized(&heap, NULL, 100);
    assert_int_equal(loam_heap_usable(&heap, NULL), 0);
    assert_int_equal(heap_stats().live_count, 0);
    expect_all_given_back();
}

static void h07_h11_h35_inside_of_a_block_is_no_block(void **state)
{
    static const size_t sizes[] = { 8, 16, 48, 112, 1000, 5000, 40000, 65536, 200000 };
    static const size_t offsets[] = { 1, 4, 8, 16, 100, 4096, 8192 };

    (void)state;
    heap_on(1);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        char *const block = alloc(sizes[i]);
        const size_t usable = loam_heap_usable(&heap, block);
        for (size_t k = 0; k < COUNT(offsets) && offsets[k] < usable; k++)
            expect_foreign(block + offsets[k]);
        expect_foreign(block + usable - 1);
        loam_heap_free(&heap, block);
    }
    expect_all_given_back();
}

static void expect_start(char *at, const char *block, size_t size_bytes)
{
    if ((at - block) % (ptrdiff_t)size_bytes == 0)
        assert_int_equal(loam_heap_usable(&heap, at), size_bytes);
    else
        EXPECT_MISUSE(FOREIGN, at, assert_int_equal(loam_heap_usable(&heap, at), 0));
}

/* Every address of a slab's first page: those that are taken for blocks are as far apart as
 * blocks are. */
static void h11_only_starts_of_blocks_are_blocks(void **state)
{
    static const size_t sizes[] = { 8, 16, 48, 80, 144, 288, 1280, 3584 };

    (void)state;
    heap_on(1);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        char *const block = alloc(sizes[i]);
        char *const page = (char *)(uintptr_t)loam_page_floor(loam_virt_of(block).addr);
        for (size_t k = 0; k < LOAM_PAGE_SIZE; k++)
            expect_start(page + k, block, sizes[i]);
        loam_heap_free(&heap, block);
    }
    expect_all_given_back();
}

static void h07_h12_h35_what_is_no_memory_of_the_heap_is_no_block(void **state)
{
    int local;

    (void)state;
    heap_on(1);
    loam_heap_free(&heap, alloc(100));
    void *const wild[] = {
        &local,
        &a_global,
        (void *)(uintptr_t)&expect_foreign,
        &heap,
        world.table,
        (void *)1,
        (void *)8,
        (void *)0x1000,
        (void *)0x800000000000,
        (void *)0xdead000000000000,
        (void *)0xffff800000000000,
        (void *)(UINT64_MAX - 7),
        page_pointer(0),                /* the slab's, before its first slot */
        page_pointer(5000),             /* nobody's */
        page_pointer(WINDOW_PAGES - 1), /* of records */
        page_pointer(WINDOW_PAGES),
        (char *)page_pointer(0) - 1,
    };
    for (size_t i = 0; i < COUNT(wild); i++)
        expect_foreign(wild[i]);
    assert_int_equal(heap_stats().live_count, 0);
    expect_all_given_back();
}

static void free_twice(size_t size_bytes)
{
    heap_on(1);
    (void)alloc(size_bytes);
    void *const block = alloc(size_bytes);
    loam_heap_free(&heap, block);
    EXPECT_MISUSE(TWICE, block, loam_heap_free(&heap, block));
}

static void h10_a_second_free_at_once_panics(void **state)
{
    (void)state;
    free_twice(8);
    free_twice(64);
    free_twice(1000);
    free_twice(20000);
    free_twice(65536);
    heap_on(1);
    void *const block = alloc(100000);
    loam_heap_free(&heap, block);
    expect_foreign(block); /* a large one is gone at once */
}

static void free_twice_later(unsigned others)
{
    void *block[10];

    heap_on(1);
    for (unsigned i = 0; i < COUNT(block); i++)
        block[i] = alloc(64);
    for (unsigned i = 0; i <= others; i++)
        loam_heap_free(&heap, block[i]);
    EXPECT_MISUSE("slab: already free", block[0], {
        loam_heap_free(&heap, block[0]);
        (void)loam_heap_trim(&heap);
    });
}

/* At the latest when both are back in the slab. */
static void h10_a_second_free_after_others_panics_in_the_slab(void **state)
{
    (void)state;
    for (unsigned others = 1; others <= 8; others++)
        free_twice_later(others);
}

static void h10_a_second_free_on_another_cpu_is_seen_by_the_audit(void **state)
{
    (void)state;
    heap_on(2);
    void *const other = alloc(64);
    void *const block = alloc(64);
    loam_heap_free(&heap, block);
    world_cpu = 1;
    loam_heap_free(&heap, block);
    assert_string_equal(loam_heap_audit(&heap), "heap: an object is at hand twice");
    EXPECT_MISUSE("slab: already free", block, {
        loam_heap_trim_cpu(&heap, 0);
        loam_heap_trim_cpu(&heap, 1);
    });
    (void)other;
}

static void h14_a_sized_free_of_another_size_panics(void **state)
{
    static const size_t right[] = { 64, 50, 1 };
    static const size_t wrong[] = { 65, 80, 100000, SIZE_MAX };

    (void)state;
    heap_on(1);
    for (size_t i = 0; i < COUNT(right); i++)
        loam_heap_free_sized(&heap, alloc(64), right[i]);
    void *const block = alloc(64);
    for (size_t i = 0; i < COUNT(wrong); i++)
        EXPECT_MISUSE(SIZE, block, loam_heap_free_sized(&heap, block, wrong[i]));
    loam_heap_free_sized(&heap, block, 64);
    void *const large = alloc(PAGES(20));
    EXPECT_MISUSE(SIZE, large, loam_heap_free_sized(&heap, large, PAGES(20) + 1));
    loam_heap_free_sized(&heap, large, PAGES(20) - 100);
    expect_all_given_back();
}

static void h13_a_free_of_records_or_of_plain_pages_panics(void **state)
{
    (void)state;
    heap_on(1);
    void *const block = alloc(64);
    const struct loam_heap_cpu *const cpu = atomic_load(&heap.cpu[0]);
    expect_foreign((void *)(uintptr_t)cpu);
    expect_foreign(cpu->magazine[5].limit);
    loam_heap_free(&heap, block);
    expect_all_given_back();
}

static void nobody_asks_for_a_class_that_does_not_exist(void **state)
{
    struct loam_slab_stats stats;

    (void)state;
    heap_on(1);
    EXPECT_PANIC("heap: no such size class", loam_heap_measure_class(&heap, 0, &stats));
    EXPECT_PANIC("heap: no such size class",
                 loam_heap_measure_class(&heap, LOAM_HEAP_CLASSES, &stats));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(h09_free_of_nothing_does_nothing),
    cmocka_unit_test(h07_h11_h35_inside_of_a_block_is_no_block),
    cmocka_unit_test(h11_only_starts_of_blocks_are_blocks),
    cmocka_unit_test(h07_h12_h35_what_is_no_memory_of_the_heap_is_no_block),
    cmocka_unit_test(h10_a_second_free_at_once_panics),
    cmocka_unit_test(h10_a_second_free_after_others_panics_in_the_slab),
    cmocka_unit_test(h10_a_second_free_on_another_cpu_is_seen_by_the_audit),
    cmocka_unit_test(h14_a_sized_free_of_another_size_panics),
    cmocka_unit_test(h13_a_free_of_records_or_of_plain_pages_panics),
    cmocka_unit_test(nobody_asks_for_a_class_that_does_not_exist),
};

int main(void)
{
    return RUN_TESTS(tests);
}
