/*
 * slab_hooks_test.c - caches of equal objects: constructors, handlers, memory that runs out.
 */
#include "slab_world.h"

/* ---- constructors --------------------------------------------------------------------- */

static struct {
    uint64_t constructed, destructed;
    void *nested; /* what the constructor or destructor allocated */
    unsigned depth, deepest;
    bool allocates, frees, trims;
    void *to_free[8];
    unsigned to_free_count;
} hooks;

struct built {
    uint64_t magic;
    struct built *self;
    char rest[40];
};

static void hook_nest(void)
{
    hooks.depth++;
    hooks.deepest = hooks.depth > hooks.deepest ? hooks.depth : hooks.deepest;
    if (hooks.allocates && hooks.nested == NULL)
        hooks.nested = loam_slab_alloc(cache);
    if (hooks.frees && hooks.to_free_count > 0)
        loam_slab_free(cache, hooks.to_free[--hooks.to_free_count]);
    if (hooks.trims) {
        (void)loam_slab_shrink(cache);
        (void)loam_heap_trim(&heap);
    }
    hooks.depth--;
}

static void construct(void *context, void *at)
{
    struct built *const built = at;

    assert_ptr_equal(context, &hooks);
    hooks.constructed++;
    hook_nest();
    built->magic = 0x10a3;
    built->self = built;
}

static void destruct(void *context, void *at)
{
    const struct built *const built = at;

    assert_ptr_equal(context, &hooks);
    assert_int_equal(built->magic, 0x10a3);
    assert_ptr_equal(built->self, built);
    hooks.destructed++;
    hook_nest();
}

static void built_cache_on(unsigned cpus)
{
    const struct loam_slab_setup setup = { .name = "built",
                                           .size_bytes = sizeof(struct built),
                                           .constructor = construct,
                                           .destructor = destruct,
                                           .context = &hooks };
    memset(&hooks, 0, sizeof(hooks));
    heap_on(cpus);
    cache = create(&setup);
}

static void constructed_state_is_kept_from_free_to_allocation(void **state)
{
    (void)state;
    built_cache_on(2);
    for (unsigned round = 0; round < 20; round++) {
        world_cpu = round % 2;
        alloc_some(100);
        for (unsigned i = 0; i < 100; i++) {
            const struct built *const built = object[i];
            assert_int_equal(built->magic, 0x10a3);
            assert_ptr_equal(built->self, built);
        }
        free_some(100);
    }
    const struct loam_slab_stats stats = stats_of(cache);
    assert_int_equal(hooks.constructed - hooks.destructed, stats.slot_count);
    assert_in_range(hooks.constructed, 100, 500); /* once a slot, not 2000 times */
    alloc_some(OBJECTS);
    free_some(OBJECTS);
    destroy_all();
    assert_int_equal(hooks.constructed, hooks.destructed);
}

static void h34_a_constructor_that_allocates_gets_what_exists(void **state)
{
    (void)state;
    built_cache_on(1);
    hooks.allocates = true;
    object[0] = alloc(); /* no object existed while its slab was made */
    assert_null(hooks.nested);
    assert_int_equal(hooks.deepest, 1);
    const uint64_t first = stats_of(cache).slot_count;
    assert_int_equal(hooks.constructed, first);
    unsigned count = 1;
    while (stats_of(cache).slot_count == first) /* another slab, with objects at hand or not */
        object[count++] = alloc();
    expect_sound();
    assert_int_equal(hooks.deepest, 1);
    free_some(count);
    if (hooks.nested != NULL)
        loam_slab_free(cache, hooks.nested);
    hooks.allocates = false;
    destroy_all();
}

static void h34_destructors_that_free_do_not_nest(void **state)
{
    (void)state;
    built_cache_on(1);
    alloc_some(OBJECTS);
    for (unsigned i = 0; i < COUNT(hooks.to_free); i++)
        hooks.to_free[hooks.to_free_count++] = object[OBJECTS - 1 - i * 200];
    hooks.frees = true;
    for (unsigned i = 0; i < OBJECTS; i++) {
        bool is_kept = false;
        for (unsigned k = 0; k < COUNT(hooks.to_free); k++)
            is_kept = is_kept || i == OBJECTS - 1 - k * 200;
        if (!is_kept)
            loam_slab_free(cache, object[i]);
    }
    (void)loam_slab_shrink(cache);
    assert_int_equal(hooks.to_free_count, 0);
    assert_int_equal(hooks.deepest, 1);
    (void)loam_slab_shrink(cache);
    assert_int_equal(stats_of(cache).live_count, 0);
    destroy_all();
    assert_int_equal(hooks.constructed, hooks.destructed);
}

static void h34_constructors_and_destructors_that_trim_do_not_nest(void **state)
{
    (void)state;
    built_cache_on(1);
    hooks.trims = true;
    alloc_some(300);
    free_some(300);
    (void)loam_slab_shrink(cache);
    assert_int_equal(hooks.deepest, 1);
    assert_int_equal(stats_of(cache).live_count, 0);
    hooks.trims = false;
    destroy_all();
    assert_int_equal(hooks.constructed, hooks.destructed);
}

static uint64_t caches_seen;

static void destruct_and_look(void *context, void *at)
{
    (void)context, (void)at;
    caches_seen = heap_stats().caches_count;
}

/* Who walks the list of caches leaves it out. */
static void a_cache_that_goes_is_not_seen_any_more(void **state)
{
    const struct loam_slab_setup setup = { .name = "going",
                                           .size_bytes = 100,
                                           .destructor = destruct_and_look };
    (void)state;
    heap_on(1);
    cache = create(&setup);
    loam_slab_free(cache, alloc());
    assert_int_equal(heap_stats().caches_count, 1);
    caches_seen = 99;
    destroy_all();
    assert_int_equal(caches_seen, 0);
}

static enum loam_status nested_status;

static void construct_and_destroy(void *context, void *at)
{
    (void)context, (void)at;
    nested_status = loam_slab_destroy(cache, NULL);
}

static void h32_destroy_within_the_constructor_is_refused(void **state)
{
    const struct loam_slab_setup setup = { .name = "mad",
                                           .size_bytes = 100,
                                           .constructor = construct_and_destroy };
    (void)state;
    heap_on(1);
    cache = create(&setup);
    nested_status = LOAM_OK;
    object[0] = alloc();
    assert_int_equal(nested_status, LOAM_STATE);
    loam_slab_free(cache, object[0]);
    destroy(cache);
    cache = create(&setup);
    nested_status = LOAM_OK;
    assert_int_equal(loam_slab_alloc_bulk(cache, object, 1), 1); /* not in the CPU's lists */
    assert_int_equal(nested_status, LOAM_STATE);
    loam_slab_free(cache, object[0]);
    destroy_all();
}

static void a_cpu_the_heap_was_not_told_of_goes_around(void **state)
{
    (void)state;
    cache_on(1, 48);
    world_cpu = 7;
    alloc_some(100);
    assert_int_equal(stats_of(cache).magazine_count, 0);
    free_some(100);
    assert_int_equal(loam_slab_alloc_bulk(cache, object, 10), 10);
    loam_slab_free_bulk(cache, object, 10);
    (void)loam_slab_shrink(cache);
    assert_int_equal(stats_of(cache).slab_count, 0);
    world_cpu = 0;
    destroy_all();
}

/* ---- failure, handlers ------------------------------------------------------------------ */

static void h25_an_object_for_which_there_is_no_memory_changes_nothing(void **state)
{
    unsigned refused = 0;

    (void)state;
    INJECT_EACH_POINT
    {
        unsigned count = 0;
        cache_on(1, 600);
        do /* until nothing is at hand, and no slot is free */
            object[count++] = alloc();
        while (stats_of(cache).live_count != stats_of(cache).slot_count);
        const uint64_t digest = loam_heap_digest(&heap);
        INJECT_ARM();
        void *const got = loam_slab_alloc(cache);
        INJECT_DISARM();
        if (got == NULL) {
            refused++;
            assert_true(inject_fired());
            assert_int_equal(loam_heap_digest(&heap), digest);
        } else {
            loam_slab_free(cache, got);
        }
        expect_sound();
        object[count++] = alloc(); /* memory is back */
        free_some(count);
        destroy_all();
    }
    assert_true(refused >= 4); /* record, pages; once, for ever */
}

static void *of_handler[64];
static unsigned of_handler_count;

static void handler(void)
{
    if (of_handler_count + 2 > COUNT(of_handler))
        return;
    void (*const visit)(void) = world.visit;
    world.visit = NULL; /* one handler at a time */
    for (unsigned i = 0; i < 2; i++) {
        void *const got = loam_slab_alloc(cache);
        if (got != NULL)
            of_handler[of_handler_count++] = got;
    }
    if (of_handler_count > 4)
        loam_slab_free(cache, of_handler[--of_handler_count]);
    world.visit = visit;
}

/* The handler comes while this CPU is in its magazine, to fill it. */
static void h27_a_handler_inside_gets_other_objects(void **state)
{
    (void)state;
    cache_on(1, 256);
    of_handler_count = 0;
    world.visit = handler;
    alloc_some(400);
    world.visit = NULL;
    assert_true(of_handler_count >= 8);
    assert_int_equal(stats_of(cache).live_count, 400 + of_handler_count);
    for (unsigned i = 0; i < 400; i++)
        memset(object[i], 0x11, 256);
    for (unsigned i = 0; i < of_handler_count; i++)
        memset(of_handler[i], 0x22, 256);
    for (unsigned i = 0; i < 400; i++)
        assert_int_equal(*(unsigned char *)object[i], 0x11);
    free_some(400);
    for (unsigned i = 0; i < of_handler_count; i++)
        loam_slab_free(cache, of_handler[i]);
    destroy_all();
}

static void the_walk_of_a_cache_finds_its_live_objects(void **state)
{
    struct loam_slab_object at = { .slab = NULL };
    static bool is_live[OBJECTS];
    unsigned found = 0;

    (void)state;
    cache_on(2, 40);
    alloc_some(OBJECTS);
    for (unsigned i = 0; i < OBJECTS; i++) {
        world_cpu = i % 2;
        is_live[i] = i % 3 != 0;
        if (!is_live[i])
            loam_slab_free(cache, object[i]);
    }
    while (loam_slab_next(cache, &at)) {
        unsigned i = 0;
        while (i < OBJECTS && loam_virt_of(object[i]).addr != at.start.addr)
            i++;
        assert_true(i < OBJECTS && is_live[i]);
        is_live[i] = false; /* found once */
        found++;
    }
    assert_int_equal(found, stats_of(cache).live_count);
    assert_int_equal(found, OBJECTS - (OBJECTS + 2) / 3);
    assert_false(loam_slab_next(cache, &at));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(constructed_state_is_kept_from_free_to_allocation),
    cmocka_unit_test(h34_a_constructor_that_allocates_gets_what_exists),
    cmocka_unit_test(h34_destructors_that_free_do_not_nest),
    cmocka_unit_test(h34_constructors_and_destructors_that_trim_do_not_nest),
    cmocka_unit_test(a_cache_that_goes_is_not_seen_any_more),
    cmocka_unit_test(h32_destroy_within_the_constructor_is_refused),
    cmocka_unit_test(a_cpu_the_heap_was_not_told_of_goes_around),
    cmocka_unit_test(h25_an_object_for_which_there_is_no_memory_changes_nothing),
    cmocka_unit_test(h27_a_handler_inside_gets_other_objects),
    cmocka_unit_test(the_walk_of_a_cache_finds_its_live_objects),
};

int main(void)
{
    return RUN_TESTS(tests);
}
