/*
 * books_far_test.c - the heap that grows, where memory is in pieces: blocks that lie at
 * virtual addresses of their own.
 */
#include "books_heap_world.h"

static void block_is_pieced_together_where_memory_is_in_pieces(void **state)
{
    (void)state;
    start(1);
    void *const near = loam_malloc(&mm, KIB(20));
    shatter();
    assert_false(is_far(near));
    const uint64_t before = total(LOAM_OWNER_HEAP);
    const uint64_t kernel = total(LOAM_OWNER_KERNEL);
    void *const block = loam_malloc(&mm, KIB(64) - 1);
    assert_true(is_far(block));
    expect_sound();
    assert_int_equal(total(LOAM_OWNER_HEAP) - before, KIB(64));
    assert_int_equal(total(LOAM_OWNER_KERNEL), kernel);
    assert_int_equal(loam_malloc_usable(&mm, block), KIB(64));
    for (uint64_t at = 0; at < KIB(64); at += KIB(4))
        assert_int_equal(machine_access(0, (uint64_t)(uintptr_t)block + at, MACHINE_WRITE).fault,
                         MACHINE_OK);
    assert_ptr_equal(loam_realloc(&mm, block, KIB(40)), block); /* as it is: most of it is used */
    void *const second = loam_calloc(&mm, 3, KIB(8));
    void *const small = loam_malloc(&mm, 5000); /* no slab of several pages can be had */
    assert_true(is_far(small));
    assert_int_equal(loam_malloc_usable(&mm, small), KIB(8));
    loam_free_sized(&mm, small, 5000);
    assert_true(is_far(second) && second != block);
    loam_free_sized(&mm, block, KIB(40));
    assert_int_equal(total(LOAM_OWNER_HEAP) - before, KIB(24));
    expect_sound();
    loam_free(&mm, second);
    assert_int_equal(total(LOAM_OWNER_HEAP), before);
    loam_free(&mm, near);
    settle();
    mend();
    assert_int_equal(total(LOAM_OWNER_KERNEL), 0);
    expect_empty();
}

static void far_block_that_is_freed_wrongly_panics(void **state)
{
    (void)state;
    start(1);
    shatter();
    unsigned char *const block = loam_malloc(&mm, KIB(64));
    assert_true(is_far(block));
    EXPECT_PANIC("heap: not a block of this heap", loam_free(&mm, block + KIB(4)));
    EXPECT_PANIC("heap: not a block of this heap", loam_free(&mm, block + 16));
    EXPECT_PANIC("heap: wrong size", loam_free_sized(&mm, block, KIB(64) + 1));
    loam_x86_irq_restore(0x200);
    loam_free(&mm, block);
    EXPECT_PANIC("heap: not a block of this heap", loam_free(&mm, block));
    loam_x86_irq_restore(0x200);
    const struct loam_vmap_request request = { .size_bytes = KIB(8) };
    loam_virt other;
    assert_int_equal(loam_vmap_alloc(&mm, &request, &other), LOAM_OK);
    EXPECT_PANIC("heap: not a block of this heap", loam_free(&mm, (void *)(uintptr_t)other.addr));
    loam_x86_irq_restore(0x200);
    loam_vmap_free(&mm, other);
    settle();
    mend();
    expect_sound();
}

/* To unmap may mean to wait for other CPUs: not with interrupts off. */
static void far_blocks_wait_for_interrupts(void **state)
{
    (void)state;
    start(1);
    shatter();
    void *const block = loam_malloc(&mm, KIB(64));
    assert_true(is_far(block));
    const uint64_t flags = loam_x86_irq_save();
    assert_null(loam_malloc(&mm, KIB(64)));
    loam_free(&mm, block);
    loam_free(&mm, loam_malloc(&mm, 8));
    struct loam_vmap_place place;
    loam_vmap_find(&mm, loam_virt_of(block), &place);
    assert_int_equal(place.info.state, LOAM_VRANGE_USED);
    expect_sound();
    loam_x86_irq_restore(flags);
    loam_free(&mm, loam_malloc(&mm, 8));
    loam_vmap_find(&mm, loam_virt_of(block), &place);
    assert_int_not_equal(place.info.state, LOAM_VRANGE_USED);
    settle();
    mend();
    expect_empty();
}

static void many_far_blocks_are_all_found(void **state)
{
    enum { BLOCKS = 200 };
    void *block[BLOCKS];
    (void)state;
    start(1);
    shatter();
    for (unsigned i = 0; i < BLOCKS; i++) {
        block[i] = loam_malloc(&mm, KIB(20) + i);
        assert_true(is_far(block[i]));
    }
    expect_sound();
    for (unsigned i = 0; i < BLOCKS; i++) {
        const unsigned other = (unsigned)test_random_below(BLOCKS);
        void *const swapped = block[i];
        block[i] = block[other];
        block[other] = swapped;
    }
    for (unsigned i = 0; i < BLOCKS; i++) {
        assert_in_range(loam_malloc_usable(&mm, block[i]), KIB(20), KIB(24));
        loam_free(&mm, block[i]);
    }
    settle();
    mend();
    expect_empty();
}

static void large_far_block_stays_until_half_of_it_is_wasted(void **state)
{
    (void)state;
    start(1);
    shatter();
    void *const block = loam_malloc(&mm, KIB(200));
    assert_true(is_far(block));
    assert_ptr_equal(loam_realloc(&mm, block, KIB(120)), block);
    assert_int_equal(loam_malloc_usable(&mm, block), KIB(200));
    assert_ptr_equal(loam_realloc(&mm, block, KIB(200)), block);
    assert_null(loam_realloc(&mm, block, MIB(60))); /* does not grow where it is */
    assert_int_equal(loam_malloc_usable(&mm, block), KIB(200));
    loam_free(&mm, block);
    settle();
    mend();
    expect_empty();
}

/* What is aligned in physical memory is not so where the direct map shows it: the block is
 * cut out of more. */
static void block_is_aligned_where_the_direct_map_is_less(void **state)
{
    (void)state;
    power_on(1);
    machine_set_base(KIB(256));
    boot.hhdm = machine_hhdm();
    add(MIB(2), MIB(62), LOAM_MEM_USABLE);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    assert_int_equal(loam_enter(&mm), LOAM_OK);
    for (uint64_t align = KIB(128); align <= MIB(4); align *= 2) {
        void *const block = loam_aligned_alloc(&mm, align, KIB(100));
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % align, 0);
        assert_false(is_far(block));
        loam_free(&mm, block);
    }
    settle();
    (void)loam_vmap_purge(&mm);
    expect_sound();
    machine_set_base(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(block_is_pieced_together_where_memory_is_in_pieces),
        cmocka_unit_test(far_block_that_is_freed_wrongly_panics),
        cmocka_unit_test(far_blocks_wait_for_interrupts),
        cmocka_unit_test(many_far_blocks_are_all_found),
        cmocka_unit_test(large_far_block_stays_until_half_of_it_is_wasted),
        cmocka_unit_test(block_is_aligned_where_the_direct_map_is_less),
    };
    return RUN_TESTS(tests);
}
