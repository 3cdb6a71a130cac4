/*
 * heap_thread_test.c - CPUs that allocate, free each other's blocks, trim and count at the
 * same time. Built with ThreadSanitizer too: a block that two have is a data race in its
 * bytes.
 */
#include "heap_world.h"

#include <pthread.h>

#define THREADS 4u
#define SLOTS   64u

static atomic_uint wrong;
static atomic_uint refused;
static unsigned rounds;
static struct loam_slab_cache *cache;

/* Blocks that wait for somebody to free them. */
struct waiting {
    unsigned char *block;
    size_t size_bytes;
    bool is_object;
};
static _Atomic(struct waiting *) slot[SLOTS];

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static size_t random_size(uint64_t random)
{
    static const size_t most[] = { 64, 64, 64, 64, 64, 64, 1000, 1000, 9000, 200000 };
    return 1 + random / 16 % most[random % COUNT(most)];
}

/* The first and last bytes say whose it is. */
static void fill(const struct waiting *of)
{
    const unsigned char value = (unsigned char)(of->size_bytes * 7);
    of->block[0] = value;
    of->block[of->size_bytes - 1] = value;
    of->block[of->size_bytes / 2] = value;
}

static struct waiting *pick_up(uint64_t random)
{
    struct waiting *const of = malloc(sizeof(*of));
    of->is_object = random % 4 == 0;
    of->size_bytes = of->is_object ? 72 : random_size(random / 4);
    of->block = of->is_object      ? loam_slab_alloc(cache)
                : random % 16 == 1 ? loam_heap_alloc_aligned(&heap, 256, of->size_bytes)
                : random % 16 == 2 ? loam_heap_calloc(&heap, 1, of->size_bytes)
                                   : loam_heap_alloc(&heap, of->size_bytes);
    if (of->block == NULL) {
        refused++;
        free(of);
        return NULL;
    }
    fill(of);
    return of;
}

static void drop(struct waiting *of)
{
    if (of == NULL)
        return;
    const unsigned char value = (unsigned char)(of->size_bytes * 7);
    wrong += of->block[0] != value || of->block[of->size_bytes - 1] != value ||
             of->block[of->size_bytes / 2] != value;
    if (of->is_object)
        loam_slab_free(cache, of->block);
    else if (of->size_bytes % 2 == 0)
        loam_heap_free_sized(&heap, of->block, of->size_bytes);
    else
        loam_heap_free(&heap, of->block);
    free(of);
}

static void resize(struct waiting *of, uint64_t random)
{
    const unsigned char value = (unsigned char)(of->size_bytes * 7);
    const size_t size_bytes = random_size(random);

    if (of->is_object)
        return;
    unsigned char *const moved = loam_heap_realloc(&heap, of->block, size_bytes);
    if (moved == NULL) {
        refused++;
        return;
    }
    wrong += moved[0] != value;
    of->block = moved;
    of->size_bytes = size_bytes;
    fill(of);
}

static void look(uint64_t random)
{
    struct loam_heap_stats stats;
    struct loam_slab_stats of_cache;

    loam_heap_measure(&heap, &stats);
    wrong += stats.live_bytes > PAGES(WINDOW_PAGES);
    loam_slab_measure(cache, &of_cache);
    wrong += of_cache.live_count > 1u << 20;
    if (random % 4 == 0)
        (void)loam_slab_shrink(cache);
}

static void *use_heap(void *cpu)
{
    uint64_t seed = 88172645463325252u + (uintptr_t)cpu * 977;
    struct waiting *own[SLOTS] = { NULL };

    world_cpu = (unsigned)(uintptr_t)cpu;
    for (unsigned i = 0; i < rounds; i++) {
        const uint64_t random = next_random(&seed);
        struct waiting **const mine = &own[random / 256 % SLOTS];
        switch (random % 256) {
        case 0:
            (void)loam_heap_trim(&heap);
            break;
        case 1:
            look(random / 65536);
            break;
        case 2:
        case 3:
        case 4:
            if (*mine != NULL)
                resize(*mine, random / 65536);
            break;
        default:
            if (random % 3 == 0) { /* somebody else's */
                drop(atomic_exchange(&slot[random / 65536 % SLOTS],
                                     random % 2 == 0 ? pick_up(random >> 24) : NULL));
                break;
            }
            drop(*mine);
            *mine = pick_up(random >> 24);
            break;
        }
    }
    for (unsigned i = 0; i < SLOTS; i++)
        drop(own[i]);
    return NULL;
}

static void run_threads(void *(*body)(void *))
{
    pthread_t thread[THREADS];

    wrong = 0;
    refused = 0;
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, body, (void *)i), 0);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    world_cpu = 0;
    assert_int_equal(wrong, 0);
}

static void traffic(unsigned cpus, uint64_t pages)
{
    const struct loam_slab_setup setup = { .name = "shared", .size_bytes = 72 };

    heap_on(cpus);
    world.out_most = pages;
    assert_int_equal(loam_slab_create(&heap, &setup, &cache), LOAM_OK);
    run_threads(use_heap);
    expect_sound();
    for (unsigned i = 0; i < SLOTS; i++)
        drop(atomic_exchange(&slot[i], NULL));
    assert_int_equal(wrong, 0);
    trim_all();
    assert_int_equal(loam_slab_destroy(cache, NULL), LOAM_OK);
    expect_all_given_back();
}

static void h15_cpus_that_free_each_others_blocks_lose_none(void **state)
{
    (void)state;
    rounds = 20000;
    traffic(THREADS, WINDOW_PAGES);
    assert_int_equal(refused, 0);
}

/* Two of the four have no lists. */
static void cpus_without_lists_meet_those_that_have_some(void **state)
{
    (void)state;
    rounds = 6000;
    traffic(2, WINDOW_PAGES);
}

static void h26_cpus_that_run_out_of_memory_go_on_when_there_is_some(void **state)
{
    (void)state;
    rounds = 10000;
    traffic(THREADS, 400);
    assert_true(refused > 0);
}

/* One allocates, the next frees, all around: what is out stays bounded. */
static void *pass_on(void *cpu)
{
    const unsigned self = (unsigned)(uintptr_t)cpu;

    world_cpu = self;
    for (unsigned i = 0; i < 20000; i++) {
        struct waiting *const of = pick_up(3 + 4 * (i % 5));
        struct waiting *expected = NULL;
        if (of == NULL || !atomic_compare_exchange_strong(&slot[self], &expected, of))
            drop(of);
        drop(atomic_exchange(&slot[(self + 1) % THREADS], NULL));
    }
    return NULL;
}

static void h15_producers_and_consumers_keep_memory_bounded(void **state)
{
    (void)state;
    heap_on(THREADS);
    run_threads(pass_on);
    for (unsigned i = 0; i < SLOTS; i++)
        drop(atomic_exchange(&slot[i], NULL));
    expect_sound();
    assert_true(heap_stats().slab_pages < 600);
    assert_int_equal(refused, 0);
    expect_all_given_back();
}

/* Caches that come and go while others trim, count and print. */
static void *make_and_destroy(void *cpu)
{
    const unsigned self = (unsigned)(uintptr_t)cpu;

    world_cpu = self;
    for (unsigned i = 0; i < 400; i++) {
        const struct loam_slab_setup setup = { .name = "short", .size_bytes = 8 + i };
        struct loam_slab_cache *made;
        void *object[20];
        struct loam_heap_stats stats;
        uint64_t live = 0;
        wrong += loam_slab_create(&heap, &setup, &made) != LOAM_OK;
        for (unsigned k = 0; k < COUNT(object); k++)
            object[k] = loam_slab_alloc(made);
        wrong += loam_slab_destroy(made, &live) != LOAM_STATE || live != COUNT(object);
        if (self % 2 == 0)
            (void)loam_heap_trim(&heap);
        else
            loam_heap_measure(&heap, &stats);
        loam_slab_free_bulk(made, object, COUNT(object));
        wrong += loam_slab_destroy(made, &live) != LOAM_OK;
    }
    return NULL;
}

static void h32_caches_come_and_go_while_others_trim(void **state)
{
    (void)state;
    heap_on(THREADS);
    run_threads(make_and_destroy);
    assert_int_equal(heap.caches_count, 0);
    expect_all_given_back();
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(h15_cpus_that_free_each_others_blocks_lose_none),
    cmocka_unit_test(cpus_without_lists_meet_those_that_have_some),
    cmocka_unit_test(h26_cpus_that_run_out_of_memory_go_on_when_there_is_some),
    cmocka_unit_test(h15_producers_and_consumers_keep_memory_bounded),
    cmocka_unit_test(h32_caches_come_and_go_while_others_trim),
};

int main(void)
{
    return RUN_TESTS(tests);
}
