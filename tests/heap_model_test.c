/*
 * heap_model_test.c - random calls on several CPUs, with memory that runs out and steps that
 * fail, against a list of who has what.
 */
#include "heap_world.h"

#define BLOCKS 600u
#define CACHES 4u

/* What lives: the oracle. Its bytes are known by its number. */
struct live {
    unsigned char *at;
    size_t size_bytes;
    struct loam_slab_cache *cache; /* NULL: the heap's */
};

static struct live live[BLOCKS];
static struct loam_slab_cache *cache[CACHES];
static size_t object_bytes[CACHES];
static uint64_t live_count;

static unsigned char value_of(const struct live *of)
{
    return (unsigned char)(of - live + 1);
}

static void fill(const struct live *of)
{
    memset(of->at, value_of(of), of->size_bytes);
}

static void expect_kept(const struct live *of, size_t size_bytes)
{
    for (size_t i = 0; i < size_bytes; i++) {
        if (of->at[i] != value_of(of))
            fail_msg("byte %zu of %zu has changed", i, of->size_bytes);
    }
}

static size_t random_size(void)
{
    static const uint64_t most[] = { 33, 129, 1025, 5000, 65537, 400000 };
    return test_random_below(most[test_random_below(COUNT(most))]);
}

static void born(struct live *of, void *at, size_t size_bytes, struct loam_slab_cache *from)
{
    if (at == NULL)
        return;
    of->at = at;
    of->size_bytes = size_bytes;
    of->cache = from;
    live_count++;
    fill(of);
}

static void allocate(struct live *of)
{
    const size_t size_bytes = random_size();
    const size_t align = (size_t)1 << test_random_below(17);
    unsigned k;
    void *at;

    switch (test_random_below(4)) {
    case 0:
        k = (unsigned)test_random_below(CACHES);
        born(of, loam_slab_alloc(cache[k]), object_bytes[k], cache[k]);
        break;
    case 1:
        at = loam_heap_alloc_aligned(&heap, align, size_bytes);
        assert_int_equal(loam_virt_of(at).addr % align, 0);
        born(of, at, size_bytes, NULL);
        break;
    case 2:
        at = loam_heap_calloc(&heap, 3, size_bytes / 3);
        for (size_t i = 0; at != NULL && i < size_bytes / 3 * 3; i++)
            assert_true(((unsigned char *)at)[i] == 0);
        born(of, at, size_bytes / 3 * 3, NULL);
        break;
    default:
        born(of, loam_heap_alloc(&heap, size_bytes), size_bytes, NULL);
        break;
    }
}

static void release(struct live *of)
{
    expect_kept(of, of->size_bytes);
    if (of->cache != NULL)
        loam_slab_free(of->cache, of->at);
    else if (test_random_below(2) == 0)
        loam_heap_free_sized(&heap, of->at, of->size_bytes);
    else
        loam_heap_free(&heap, of->at);
    of->at = NULL;
    live_count--;
}

static void resize(struct live *of)
{
    const size_t size_bytes = random_size();

    if (of->cache != NULL)
        return;
    expect_kept(of, of->size_bytes);
    unsigned char *const moved = loam_heap_realloc(&heap, of->at, size_bytes);
    if (moved == NULL) {
        expect_kept(of, of->size_bytes);
        return;
    }
    of->at = moved;
    expect_kept(of, size_bytes < of->size_bytes ? size_bytes : of->size_bytes);
    of->size_bytes = size_bytes;
    fill(of);
}

/* What the walk finds is what the oracle has. */
static void compare(void)
{
    struct loam_heap_block at = { .large = NULL };
    uint64_t found = 0, addresses = 0, bytes = 0;

    expect_sound();
    while (loam_heap_next(&heap, &at)) {
        found++;
        addresses += at.start.addr;
        bytes += at.size_bytes;
    }
    for (unsigned i = 0; i < BLOCKS; i++) {
        if (live[i].at == NULL)
            continue;
        addresses -= loam_virt_of(live[i].at).addr;
        if (live[i].cache == NULL)
            assert_true(loam_heap_usable(&heap, live[i].at) >= live[i].size_bytes);
    }
    assert_int_equal(found, live_count);
    assert_int_equal(addresses, 0);
    assert_int_equal(heap_stats().live_count, live_count);
    assert_int_equal(heap_stats().live_bytes, bytes);
}

static void step(void)
{
    struct live *const of = &live[test_random_below(BLOCKS)];

    world_cpu = (unsigned)test_random_below(heap.cpu_count + 1); /* one that has no lists */
    switch (test_random_below(40)) {
    case 0:
        (void)loam_heap_trim(&heap);
        break;
    case 1:
        loam_heap_trim_cpu(&heap, (unsigned)test_random_below(heap.cpu_count));
        break;
    case 2:
        (void)loam_slab_shrink(cache[test_random_below(CACHES)]);
        break;
    case 3:
    case 4:
    case 5:
    case 6:
        if (of->at != NULL)
            resize(of);
        break;
    default:
        if (of->at != NULL)
            release(of);
        else
            allocate(of);
        break;
    }
}

/* @param most pages, and one step in @p fails fails; 0: none */
static void run(unsigned cpus, unsigned steps, uint64_t most, unsigned fails)
{
    heap_on(cpus);
    memset(live, 0, sizeof(live));
    live_count = 0;
    for (unsigned k = 0; k < CACHES; k++) {
        static const size_t sizes[] = { 24, 100, 1000, 9000 };
        const struct loam_slab_setup setup = { .name = "model", .size_bytes = sizes[k] };
        object_bytes[k] = sizes[k];
        assert_int_equal(loam_slab_create(&heap, &setup, &cache[k]), LOAM_OK);
    }
    world.out_most = most;
    for (unsigned i = 0; i < steps; i++) {
        world.extends = i % 3 != 0;
        world.gives_zeroes = i % 5 == 0;
        if (fails != 0)
            inject_fail_at(1 + test_random_below(fails), false);
        step();
        inject_pause();
        if (i % 64 == 0)
            compare();
    }
    world_cpu = 0;
    compare();
    for (unsigned i = 0; i < BLOCKS; i++) {
        if (live[i].at != NULL)
            release(&live[i]);
    }
    for (unsigned k = 0; k < CACHES; k++)
        assert_int_equal(loam_slab_destroy(cache[k], NULL), LOAM_OK);
    expect_all_given_back();
}

static void random_calls_agree_with_a_list_of_who_has_what(void **state)
{
    (void)state;
    run(3, 12000, WINDOW_PAGES, 0);
    run(1, 6000, WINDOW_PAGES, 0);
}

static void so_they_do_when_memory_runs_out(void **state)
{
    (void)state;
    run(3, 8000, 600, 0);
    run(2, 8000, 150, 0);
}

static void so_they_do_when_steps_fail(void **state)
{
    (void)state;
    run(3, 10000, WINDOW_PAGES, 4);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(random_calls_agree_with_a_list_of_who_has_what),
    cmocka_unit_test(so_they_do_when_memory_runs_out),
    cmocka_unit_test(so_they_do_when_steps_fail),
};

int main(void)
{
    return RUN_TESTS(tests);
}
