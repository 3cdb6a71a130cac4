/*
 * slab_test.c - caches of equal objects: what they cost, what they refuse, colours,
 * shrinking and destroying.
 */
#include "slab_world.h"

/* ---- size and place ----------------------------------------------------------------- */

static void objects_of_odd_sizes_cost_just_that(void **state)
{
    static const size_t sizes[] = { 1, 8, 24, 40, 56, 72, 1000, 4096, 9000, 16384 };

    (void)state;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        cache_on(1, sizes[i]);
        object[0] = alloc();
        const struct loam_slab_stats stats = stats_of(cache);
        assert_int_equal(stats.slot_bytes, (sizes[i] + 7) / 8 * 8);
        assert_true(stats.waste_bytes * 8 <= PAGES(stats.page_count) || sizes[i] > 4096);
        memset(object[0], 0x5a, sizes[i]);
        loam_slab_free(cache, object[0]);
        destroy_all();
    }
}

static void every_alignment_is_kept_and_objects_are_apart(void **state)
{
    (void)state;
    for (size_t align = 1; align <= LOAM_SLAB_OBJECT_MAX; align *= 2) {
        const struct loam_slab_setup setup = setup_of(align < 100 ? 100 : align / 2 + 9, align);
        heap_on(1);
        cache = create(&setup);
        alloc_some(40);
        for (unsigned i = 0; i < 40; i++) {
            assert_int_equal(loam_virt_of(object[i]).addr % align, 0);
            memset(object[i], (int)i, setup.size_bytes);
        }
        for (unsigned i = 0; i < 40; i++) {
            const unsigned char *const byte = object[i];
            assert_int_equal(byte[0], i);
            assert_int_equal(byte[setup.size_bytes - 1], i);
        }
        free_some(40);
        destroy_all();
    }
}

/* 1000-byte objects leave 96 bytes of a page: the second slab's begin 64 bytes earlier. */
static void slabs_have_different_colours(void **state)
{
    (void)state;
    cache_on(1, 1000);
    alloc_some(8);
    uint64_t seen = 0;
    for (unsigned i = 0; i < 8; i++)
        seen |= UINT64_C(1) << (loam_virt_of(object[i]).addr % LOAM_PAGE_SIZE % 1000 / 32);
    assert_int_equal(seen, UINT64_C(1) << 1 | UINT64_C(1) << 3);
    free_some(8);
    destroy_all();
}

/* ---- create ------------------------------------------------------------------------- */

static void h33_what_no_cache_can_be_is_refused(void **state)
{
    static const char longest[] = "a name of 31 characters, really";
    static const char longer[] = "a name of 32 characters, and more";
    struct loam_slab_cache *const before = (void *)&heap;
    const struct loam_slab_setup bad[] = {
        { .name = NULL, .size_bytes = 8 },
        { .name = "", .size_bytes = 8 },
        { .name = longer, .size_bytes = 8 },
        { .name = "x", .size_bytes = 0 },
        { .name = "x", .size_bytes = LOAM_SLAB_OBJECT_MAX + 1 },
        { .name = "x", .size_bytes = SIZE_MAX },
        { .name = "x", .size_bytes = 8, .align = 3 },
        { .name = "x", .size_bytes = 8, .align = 24 },
        { .name = "x", .size_bytes = 8, .align = LOAM_SLAB_OBJECT_MAX * 2 },
        { .name = "x", .size_bytes = 8, .align = (size_t)1 << 63 },
    };

    (void)state;
    heap_on(1);
    for (size_t i = 0; i < COUNT(bad); i++) {
        cache = before;
        assert_int_equal(loam_slab_create(&heap, &bad[i], &cache), LOAM_INVALID);
        assert_ptr_equal(cache, before);
    }
    assert_int_equal(world.take_count, 0);
    const struct loam_slab_setup good = { .name = longest, .size_bytes = LOAM_SLAB_OBJECT_MAX };
    assert_int_equal(strlen(longest), LOAM_SLAB_NAME_MAX);
    cache = create(&good);
    assert_string_equal(stats_of(cache).name, longest);
    destroy_all();
}

static void h33_ten_thousand_caches_work(void **state)
{
    static struct loam_slab_cache *many[10000];
    static void *one[10000];

    (void)state;
    heap_on(2);
    for (unsigned i = 0; i < COUNT(many); i++) {
        const struct loam_slab_setup setup = setup_of(8 + i % 100, 0);
        many[i] = create(&setup);
        one[i] = loam_slab_alloc(many[i]);
        assert_non_null(one[i]);
        *(uint32_t *)one[i] = i;
    }
    assert_int_equal(heap_stats().caches_count, COUNT(many));
    expect_sound();
    for (unsigned i = 0; i < COUNT(many); i++) {
        assert_int_equal(*(uint32_t *)one[i], i);
        loam_slab_free(many[i], one[i]);
        assert_int_equal(loam_slab_destroy(many[i], NULL), LOAM_OK);
    }
    expect_all_given_back();
}

static void h25_a_cache_for_which_there_is_no_memory_changes_nothing(void **state)
{
    const struct loam_slab_setup setup = setup_of(64, 0);
    struct loam_slab_cache *made;
    unsigned refused = 0;

    (void)state;
    INJECT_EACH_POINT
    {
        heap_on(1);
        const uint64_t digest = loam_heap_digest(&heap);
        INJECT_ARM();
        const enum loam_status status = loam_slab_create(&heap, &setup, &made);
        INJECT_DISARM();
        assert_true(status == LOAM_OK || inject_fired());
        refused += status == LOAM_NO_MEMORY;
        if (status != LOAM_OK)
            assert_int_equal(loam_heap_digest(&heap), digest);
        expect_sound();
    }
    assert_true(refused >= 2);
}

/* ---- destroy ------------------------------------------------------------------------ */

static void h32_destroy_counts_live_objects_and_leaves_the_cache(void **state)
{
    uint64_t live = 0;

    (void)state;
    cache_on(2, 48);
    alloc_some(500);
    world_cpu = 1;
    free_some(300); /* some of these are in the magazine of CPU 1 */
    world_cpu = 0;
    const uint64_t digest = loam_heap_digest(&heap);
    assert_int_equal(loam_slab_destroy(cache, &live), LOAM_STATE);
    assert_int_equal(live, 200);
    assert_int_equal(loam_slab_destroy(cache, NULL), LOAM_STATE);
    assert_int_equal(loam_heap_digest(&heap), digest);
    expect_sound();
    object[0] = alloc();
    loam_slab_free(cache, object[0]);
    for (unsigned i = 300; i < 500; i++)
        loam_slab_free(cache, object[i]);
    destroy_all();
}

static void h32_what_is_destroyed_is_no_cache(void **state)
{
    (void)state;
    cache_on(1, 48);
    destroy_all();
    EXPECT_PANIC("slab: not a cache", assert_false(loam_slab_destroy(cache, NULL)));
    EXPECT_PANIC("slab: not a cache", assert_false(loam_slab_alloc(cache)));
    EXPECT_PANIC("slab: not a cache", (void)loam_slab_shrink(cache));
    EXPECT_PANIC("slab: not a cache", assert_false(loam_slab_alloc(&heap.cache[3])));
    EXPECT_PANIC("slab: not a cache", assert_false(loam_slab_alloc(NULL)));
}

/* ---- what a free refuses -------------------------------------------------------------- */

static void h11_h12_h13_a_free_of_anything_else_panics(void **state)
{
    const struct loam_slab_setup setup = setup_of(48, 0);
    char local;

    (void)state;
    cache_on(1, 48);
    struct loam_slab_cache *const other = create(&setup);
    object[0] = alloc();
    char *const others = loam_slab_alloc(other);
    void *const block = loam_heap_alloc(&heap, 48);
    void *const large = loam_heap_alloc(&heap, 100000);
    void *const wrong[] = {
        (char *)object[0] + 1,
        (char *)object[0] + 8,
        (char *)object[0] + 47,
        others,
        block,
        large,
        &local,
        &heap,
        (void *)8,
        (void *)UINT64_MAX,
        (void *)(UINT64_MAX / 2),
        page_pointer(WINDOW_PAGES),
        page_pointer(WINDOW_PAGES - 1),
    };
    const uint64_t digest = loam_heap_digest(&heap);
    for (size_t i = 0; i < COUNT(wrong); i++) {
        EXPECT_PANIC("slab: not an object of this cache", loam_slab_free(cache, wrong[i]));
        assert_int_equal(panic_trap.seen.subject, loam_virt_of(wrong[i]).addr);
    }
    void *const two[] = { object[0], others };
    EXPECT_PANIC("slab: not an object of this cache", loam_slab_free_bulk(cache, two, 2));
    EXPECT_PANIC("heap: not a block of this heap", loam_heap_free(&heap, object[0]));
    world_irq_is_off = false;
    EXPECT_PANIC("heap: not a block of this heap",
                 assert_false(loam_heap_usable(&heap, object[0])));
    assert_int_equal(loam_heap_digest(&heap), digest);
    expect_sound();
    loam_slab_free(cache, NULL); /* nothing */
    loam_slab_free(cache, object[0]);
    loam_slab_free(other, others);
    loam_heap_free(&heap, block);
    loam_heap_free(&heap, large);
    assert_int_equal(loam_slab_destroy(other, NULL), LOAM_OK);
    destroy_all();
}

static void h10_a_second_free_panics_at_once_or_in_the_slab(void **state)
{
    (void)state;
    cache_on(2, 48);
    alloc_some(10);
    loam_slab_free(cache, object[0]);
    EXPECT_PANIC("slab: already free", loam_slab_free(cache, object[0]));
    cache_on(2, 48);
    alloc_some(10);
    loam_slab_free(cache, object[0]);
    world_cpu = 1;
    loam_slab_free(cache, object[0]); /* not seen yet: it is another CPU's at hand */
    assert_string_equal(loam_heap_audit(&heap), "heap: an object is at hand twice");
    EXPECT_PANIC("slab: already free", {
        (void)loam_slab_shrink(cache);
        world_cpu = 0;
        (void)loam_slab_shrink(cache);
    });
    assert_int_equal(panic_trap.seen.subject, loam_virt_of(object[0]).addr);
}

/* ---- bulk, shrink, trim ----------------------------------------------------------------- */

static void bulk_gives_as_many_as_there_are(void **state)
{
    (void)state;
    cache_on(1, 512);
    assert_int_equal(loam_slab_alloc_bulk(cache, object, 0), 0);
    assert_int_equal(loam_slab_alloc_bulk(cache, object, 1000), 1000);
    assert_int_equal(stats_of(cache).live_count, 1000);
    for (unsigned i = 0; i < 1000; i++)
        memset(object[i], (int)(i & 255), 512);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(((unsigned char *)object[i])[511], i & 255);
    loam_slab_free_bulk(cache, object, 0);
    loam_slab_free_bulk(cache, object, 1000);
    assert_int_equal(stats_of(cache).live_count, 0);
    expect_sound();
    (void)loam_slab_shrink(cache);
    world.out_most = world.out + 20; /* 160 objects */
    const size_t got = loam_slab_alloc_bulk(cache, object, 1000);
    assert_in_range(got, 100, 160);
    for (size_t i = 0; i < got; i++)
        memset(object[i], (int)(i & 255), 512);
    for (size_t i = 0; i < got; i++)
        assert_int_equal(*(unsigned char *)object[i], i & 255);
    loam_slab_free_bulk(cache, object, got);
    destroy_all();
}

static void h36_shrink_gives_all_back_and_then_nothing(void **state)
{
    (void)state;
    cache_on(2, 128);
    alloc_some(OBJECTS);
    world_cpu = 1;
    free_some(OBJECTS);
    object[0] = alloc();
    loam_slab_free(cache, object[0]);
    world_cpu = 0;
    (void)loam_slab_shrink(cache); /* CPU 1 is asked; what it has at hand keeps slabs */
    assert_true(stats_of(cache).magazine_count > 50);
    world_cpu = 1;
    object[0] = alloc(); /* what was asked of it is done: at hand is what it refilled now */
    loam_slab_free(cache, object[0]);
    assert_true(stats_of(cache).magazine_count < 10);
    assert_true(loam_slab_shrink(cache) > 0);
    assert_int_equal(stats_of(cache).page_count, 0);
    assert_int_equal(loam_slab_shrink(cache), 0);
    destroy_all();
}

static void h36_h38_trim_of_the_heap_reaches_caches(void **state)
{
    (void)state;
    cache_on(2, 128);
    world_cpu = 1;
    alloc_some(50);
    free_some(50);
    world_cpu = 0;
    assert_true(stats_of(cache).magazine_count > 0);
    loam_heap_trim_cpu(&heap, 1); /* it goes, and never used the heap itself */
    assert_int_equal(stats_of(cache).magazine_count, 0);
    assert_true(loam_heap_trim(&heap) > 0);
    assert_int_equal(stats_of(cache).page_count, 0);
    alloc_some(50);
    free_some(50);
    loam_heap_free(&heap, loam_heap_alloc(&heap, 16));
    assert_true(stats_of(cache).magazine_count > 0);
    (void)loam_heap_trim(&heap);
    assert_int_equal(stats_of(cache).page_count, 0);
    destroy_all();
}

static void objects_of_a_trimmed_cpu_are_given_back_when_it_uses_the_heap(void **state)
{
    (void)state;
    cache_on(2, 128);
    world_cpu = 1;
    loam_heap_free(&heap, loam_heap_alloc(&heap, 16));
    alloc_some(10);
    free_some(10);
    world_cpu = 0;
    (void)loam_heap_trim(&heap);
    assert_true(stats_of(cache).magazine_count > 0);
    world_cpu = 1;
    loam_heap_free(&heap, loam_heap_alloc(&heap, 16)); /* not the cache */
    assert_int_equal(stats_of(cache).magazine_count, 0);
    world_cpu = 0;
    destroy_all();
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(objects_of_odd_sizes_cost_just_that),
    cmocka_unit_test(every_alignment_is_kept_and_objects_are_apart),
    cmocka_unit_test(slabs_have_different_colours),
    cmocka_unit_test(h33_what_no_cache_can_be_is_refused),
    cmocka_unit_test(h33_ten_thousand_caches_work),
    cmocka_unit_test(h25_a_cache_for_which_there_is_no_memory_changes_nothing),
    cmocka_unit_test(h32_destroy_counts_live_objects_and_leaves_the_cache),
    cmocka_unit_test(h32_what_is_destroyed_is_no_cache),
    cmocka_unit_test(h11_h12_h13_a_free_of_anything_else_panics),
    cmocka_unit_test(h10_a_second_free_panics_at_once_or_in_the_slab),
    cmocka_unit_test(bulk_gives_as_many_as_there_are),
    cmocka_unit_test(h36_shrink_gives_all_back_and_then_nothing),
    cmocka_unit_test(h36_h38_trim_of_the_heap_reaches_caches),
    cmocka_unit_test(objects_of_a_trimmed_cpu_are_given_back_when_it_uses_the_heap),
};

int main(void)
{
    return RUN_TESTS(tests);
}
