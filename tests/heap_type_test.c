/*
 * heap_type_test.c - loam_new() and loam_delete(): the size class is the compiler's.
 */
#include "heap_world.h"

#include "../src/internal/heap_class.h"

struct small {
    char name[24];
};
struct vector {
    _Alignas(64) char lane[192];
};
struct page {
    char bytes[4096];
};
struct large {
    char bytes[100000];
};

static void the_compilers_size_classes_are_those_of_the_table(void **state)
{
    (void)state;
    for (size_t size = 0; size <= LOAM_HEAP_SMALL_MAX; size++)
        assert_int_equal(loam_heap_class(size), heap_class_of(size));
}

static void objects_of_a_type_are_blocks_of_its_size(void **state)
{
    struct small *small[40];

    (void)state;
    heap_on(1);
    for (unsigned i = 0; i < COUNT(small); i++) {
        small[i] = loam_new(&heap, struct small);
        assert_non_null(small[i]);
        assert_int_equal(loam_heap_usable(&heap, small[i]), 32);
    }
    struct vector *const vector = loam_new(&heap, struct vector);
    assert_int_equal(loam_virt_of(vector).addr % 64, 0);
    struct page *const page = loam_new(&heap, struct page);
    struct large *const large = loam_new(&heap, struct large);
    assert_int_equal(heap_stats().live_count, COUNT(small) + 3);
    memset(large, 1, sizeof(*large));
    memset(page, 2, sizeof(*page));
    loam_delete(&heap, vector);
    loam_delete(&heap, page);
    loam_delete(&heap, large);
    for (unsigned i = 0; i < COUNT(small); i++)
        loam_delete(&heap, small[i]);
    struct small *const none = NULL;
    loam_delete(&heap, none);
    expect_all_given_back();
    world_cpu = 5; /* without lists */
    small[0] = loam_new(&heap, struct small);
    loam_delete(&heap, small[0]);
    world_cpu = 0;
    expect_all_given_back();
}

/* What a CPU was asked is done first, in the usual path too. */
static void h36_a_cpu_that_was_asked_to_trim_does_so_with_its_next_object(void **state)
{
    struct small *small[100];

    (void)state;
    heap_on(2);
    world_cpu = 1;
    for (unsigned i = 0; i < COUNT(small); i++)
        small[i] = loam_new(&heap, struct small);
    for (unsigned i = 0; i < COUNT(small) - 1; i++)
        loam_delete(&heap, small[i]);
    world_cpu = 0;
    (void)loam_heap_trim(&heap);
    assert_true(heap_stats().magazine_count > 50);
    world_cpu = 1;
    loam_delete(&heap, small[COUNT(small) - 1]);
    assert_true(heap_stats().magazine_count < 10);
    world_cpu = 0;
    expect_all_given_back();
}

static __attribute__((noinline)) struct small *make_small(void)
{
    return loam_new(&heap, struct small);
}

static void h13_h14_a_delete_of_another_type_or_twice_panics(void **state)
{
    (void)state;
    heap_on(1);
    struct small *const small = make_small();
    struct page *const page = (struct page *)(void *)small;
    EXPECT_PANIC("heap: wrong size", loam_delete(&heap, page));
    struct small *const inside = (struct small *)(void *)&small->name[16];
    EXPECT_PANIC("heap: not a block of this heap", loam_delete(&heap, inside));
    world_irq_is_off = false;
    loam_delete(&heap, small);
    EXPECT_PANIC("heap: already free", loam_delete(&heap, small));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_compilers_size_classes_are_those_of_the_table),
    cmocka_unit_test(objects_of_a_type_are_blocks_of_its_size),
    cmocka_unit_test(h36_a_cpu_that_was_asked_to_trim_does_so_with_its_next_object),
    cmocka_unit_test(h13_h14_a_delete_of_another_type_or_twice_panics),
};

int main(void)
{
    return RUN_TESTS(tests);
}
