/*
 * heap_look_test.c - what a heap says of itself: sums, the walk, the print-out, digest and
 * audit, each against what the test knows it did, and each rule of the audit broken once.
 */
#include "../src/internal/heap_class.h"
#include "../src/internal/heap_large.h"

#include "heap_world.h"

#define BLOCKS 3000u

static void *block[BLOCKS];
static size_t block_bytes[BLOCKS];

static void *alloc(size_t size_bytes)
{
    void *const got = loam_heap_alloc(&heap, size_bytes);
    assert_non_null(got);
    return got;
}

static struct loam_slab_cache *cache_of(size_t size_bytes, const char *name)
{
    const struct loam_slab_setup setup = { .name = name, .size_bytes = size_bytes };
    struct loam_slab_cache *cache;
    assert_int_equal(loam_slab_create(&heap, &setup, &cache), LOAM_OK);
    return cache;
}

/* Many sizes from two CPUs, every third freed on the other CPU. */
static void fill(void)
{
    heap_on(2);
    for (unsigned i = 0; i < BLOCKS; i++) {
        static const size_t sizes[] = { 8, 24, 64, 64, 64, 64, 500, 3000, 20000, 100000 };
        world_cpu = i % 2;
        block_bytes[i] = sizes[i % COUNT(sizes)];
        block[i] = alloc(block_bytes[i]);
    }
    for (unsigned i = 0; i < BLOCKS; i += 3) {
        world_cpu = (i + 1) % 2;
        loam_heap_free(&heap, block[i]);
        block[i] = NULL;
    }
    world_cpu = 0;
}

static void empty(void)
{
    for (unsigned i = 0; i < BLOCKS; i++)
        loam_heap_free(&heap, block[i]);
    expect_all_given_back();
}

/* ---- sums ---------------------------------------------------------------------------- */

static void sums_are_what_was_allocated(void **state)
{
    uint64_t count = 0, bytes = 0, large = 0;

    (void)state;
    fill();
    for (unsigned i = 0; i < BLOCKS; i++) {
        count += block[i] != NULL;
        bytes += loam_heap_usable(&heap, block[i]);
        large += block[i] != NULL && block_bytes[i] > LOAM_HEAP_SMALL_MAX;
    }
    const struct loam_heap_stats stats = heap_stats();
    assert_int_equal(stats.live_count, count);
    assert_int_equal(stats.live_bytes, bytes);
    assert_int_equal(stats.large_count, large);
    assert_int_equal(stats.large_pages, large * 25);
    assert_true(stats.large_peak_pages > stats.large_pages);
    assert_true(stats.magazine_count > 0 && stats.free_count > 0);
    assert_true(stats.record_bytes <= PAGES(stats.record_pages));
    expect_sound();
    empty();
}

static void a_class_counts_live_blocks_peak_and_waste(void **state)
{
    const unsigned class = heap_class_of(1000);
    struct loam_slab_stats stats;

    (void)state;
    heap_on(1);
    for (unsigned i = 0; i < 100; i++)
        block[i] = alloc(1000);
    for (unsigned i = 0; i < 90; i++)
        loam_heap_free(&heap, block[i]);
    loam_heap_measure_class(&heap, class, &stats);
    assert_null(stats.name);
    assert_int_equal(stats.slot_bytes, 1024);
    assert_int_equal(stats.live_count, 10);
    assert_int_equal(stats.slot_count, 10 + stats.magazine_count + stats.free_count);
    assert_in_range(stats.taken_peak, 100, 100 + 16);
    assert_int_equal(stats.taken_total - stats.put_total, 10 + stats.magazine_count);
    assert_int_equal(stats.waste_bytes, 0);
    for (unsigned i = 90; i < 100; i++)
        loam_heap_free(&heap, block[i]);
    expect_all_given_back();
}

/* ---- the walk -------------------------------------------------------------------------- */

static void the_walk_finds_each_live_block_once(void **state)
{
    struct loam_heap_block at = { .large = NULL };
    struct loam_slab_cache *cache;
    unsigned found = 0, of_cache = 0, live = 0;

    (void)state;
    fill();
    cache = cache_of(40, "walked");
    void *const one = loam_slab_alloc(cache);
    for (unsigned i = 0; i < BLOCKS; i++)
        live += block[i] != NULL;
    while (loam_heap_next(&heap, &at)) {
        unsigned i = 0;
        if (at.cache == cache) {
            assert_int_equal(at.start.addr, loam_virt_of(one).addr);
            of_cache++;
            continue;
        }
        while (i < BLOCKS && (block[i] == NULL || loam_virt_of(block[i]).addr != at.start.addr))
            i++;
        assert_true(i < BLOCKS);
        assert_int_equal(at.size_bytes, loam_heap_usable(&heap, block[i]));
        assert_int_equal(at.cache == NULL, block_bytes[i] > LOAM_HEAP_SMALL_MAX);
        found++;
    }
    assert_int_equal(found, live); /* as many, and each is one that lives: walk_count() */
    assert_int_equal(of_cache, 1);
    loam_slab_free(cache, one);
    assert_int_equal(loam_slab_destroy(cache, NULL), LOAM_OK);
    empty();
}

static void the_walk_of_an_empty_heap_finds_nothing(void **state)
{
    uint64_t bytes;

    (void)state;
    heap_on(1);
    assert_int_equal(walk_count(&bytes), 0);
    loam_heap_free(&heap, alloc(10));
    assert_int_equal(walk_count(&bytes), 0);
}

/* ---- digest ------------------------------------------------------------------------------ */

static void the_digest_tells_which_blocks_live(void **state)
{
    (void)state;
    fill();
    const uint64_t digest = loam_heap_digest(&heap);
    assert_int_equal(loam_heap_digest(&heap), digest);
    world_cpu = 1;
    void *const one = alloc(64);
    assert_int_not_equal(loam_heap_digest(&heap), digest);
    loam_heap_free(&heap, one);
    assert_int_equal(loam_heap_digest(&heap), digest); /* at hand or free: the same */
    void *const large = alloc(100000);
    assert_int_not_equal(loam_heap_digest(&heap), digest);
    loam_heap_free(&heap, large);
    assert_int_equal(loam_heap_digest(&heap), digest);
    expect_sound();
    empty();
}

/* ---- the print-out ------------------------------------------------------------------------ */

static char printed[16384];
static size_t printed_bytes;

static void print(void *context, const char *text, size_t size_bytes)
{
    (void)context;
    assert_true(printed_bytes + size_bytes < sizeof(printed));
    memcpy(printed + printed_bytes, text, size_bytes);
    printed_bytes += size_bytes;
    printed[printed_bytes] = '\0';
}

static void the_print_out_has_a_line_for_each_class_and_cache(void **state)
{
    const struct loam_writer writer = { print, NULL };

    (void)state;
    heap_on(1);
    struct loam_slab_cache *const cache = cache_of(1000, "inodes");
    struct loam_slab_cache *const unused = cache_of(64, "unused");
    void *const one = loam_slab_alloc(cache), *const two = alloc(64), *const three = alloc(70000);
    printed_bytes = 0;
    loam_heap_print(&heap, &writer);
    assert_non_null(strstr(printed, "  inodes\n"));
    assert_null(strstr(printed, "unused"));
    assert_non_null(strstr(printed, "\n    64          1"));
    assert_null(strstr(printed, "\n    80 "));
    assert_non_null(strstr(printed, "\nlive blocks                       3"));
    assert_non_null(strstr(printed, "\n  large ones of them              1     72 KiB\n"));
    assert_string_equal(printed + printed_bytes - 1, "\n");
    loam_slab_free(cache, one);
    loam_heap_free(&heap, two);
    loam_heap_free(&heap, three);
    assert_int_equal(loam_slab_destroy(cache, NULL), LOAM_OK);
    assert_int_equal(loam_slab_destroy(unused, NULL), LOAM_OK);
    expect_all_given_back();
}

/* ---- the audit ------------------------------------------------------------------------------ */

/* Break a word, expect the rule, mend it. */
#define EXPECT_BROKEN(rule, word, value)                    \
    do {                                                    \
        const __typeof__(word) was_ = (word);               \
        (word) = (value);                                   \
        const char *const broken_ = loam_heap_audit(&heap); \
        assert_non_null(broken_);                           \
        assert_string_equal(broken_, (rule));               \
        (word) = was_;                                      \
        assert_null(loam_heap_audit(&heap));                \
    } while (0)

#define CLASS_64 5u

static struct loam_slab *first_slab(void)
{
    struct loam_slab_cache *const cache = &heap.cache[CLASS_64];
    struct loam_slab *const slab =
        cache->partial.first != NULL ? cache->partial.first : cache->full.first;
    assert_int_equal(cache->slot_bytes, 64);
    assert_non_null(slab);
    return slab;
}

static void the_audit_sees_wrong_counts(void **state)
{
    (void)state;
    fill();
    struct loam_slab_cache *const cache = &heap.cache[CLASS_64];
    EXPECT_BROKEN("slab: lists have more slabs than there are", cache->slab_count,
                  cache->slab_count - 1);
    EXPECT_BROKEN("slab: slabs are not as many as counted", cache->slab_count,
                  cache->slab_count + 1);
    EXPECT_BROKEN("slab: slabs are not as many as counted", cache->page_count,
                  cache->page_count + 1);
    EXPECT_BROKEN("slab: slabs are not as many as counted", cache->empty_pages,
                  cache->empty_pages + 1);
    EXPECT_BROKEN("slab: slots are not as many as counted", cache->slot_count,
                  cache->slot_count + 1);
    EXPECT_BROKEN("slab: slots are not as many as counted", cache->free_count,
                  cache->free_count + 1);
    EXPECT_BROKEN("slab: objects taken less those put back are not those that are out",
                  cache->taken_total, cache->taken_total + 1);
    EXPECT_BROKEN("slab: objects taken less those put back are not those that are out",
                  cache->taken_peak, 0);
    EXPECT_BROKEN("heap: list of large blocks is broken", heap.large_count, heap.large_count - 1);
    EXPECT_BROKEN("heap: large blocks are not as many as counted", heap.large_count,
                  heap.large_count + 1);
    EXPECT_BROKEN("heap: large blocks are not as many as counted", heap.large_pages,
                  heap.large_pages + 1);
    EXPECT_BROKEN("heap: large blocks are not as many as counted", heap.large_peak_pages, 1);
    EXPECT_BROKEN("heap: records are in use that nobody has", heap.map.record_bytes,
                  heap.map.record_bytes - 64);
    EXPECT_BROKEN("heap: caches are not as many as counted", heap.caches_count, 1);
    empty();
}

static void the_audit_sees_wrong_lists(void **state)
{
    (void)state;
    fill();
    struct loam_slab_cache *const cache = &heap.cache[CLASS_64];
    struct loam_slab *const slab = first_slab();
    EXPECT_BROKEN("slab: in a list of another cache", slab->cache, &heap.cache[3]);
    EXPECT_BROKEN("slab: neighbours in a list do not agree", slab->before, slab);
    EXPECT_BROKEN("slab: neighbours in a list do not agree", cache->full.first->next,
                  cache->full.first);
    struct loam_slab_list swapped = cache->full;
    swapped.first = cache->partial.first;
    EXPECT_BROKEN("slab: in the wrong list for its free slots", cache->full, swapped);
    EXPECT_BROKEN("heap: list of large blocks is broken", heap.large->next, heap.large);
    EXPECT_BROKEN("heap: the page map does not show a large block", heap.large->start,
                  heap.large->start + 64);
    empty();
}

static void the_audit_sees_wrong_slabs(void **state)
{
    (void)state;
    fill();
    struct loam_slab *const slab = first_slab();
    struct loam_slab *const partial = heap.cache[CLASS_64].partial.first;
    unsigned word = 0;
    assert_non_null(partial);
    while (partial->free[word] == 0)
        word++;
    EXPECT_BROKEN("slab: free slots are not as many as counted", partial->free_count,
                  partial->free_count + 1);
    EXPECT_BROKEN("slab: free slots are not as many as counted", partial->free[word],
                  partial->free[word] & (partial->free[word] - 1));
    EXPECT_BROKEN("slab: slots lie outside of its pages", slab->colour, 1);
    EXPECT_BROKEN("slab: slots lie outside of its pages", slab->first, slab->first + 64);
    EXPECT_BROKEN("slab: the page map does not show it", slab->first, slab->first + PAGES(1));
    EXPECT_BROKEN("slab: not of a size that its cache has", slab->order, slab->order + 1);
    empty();
}

static void the_audit_sees_wrong_magazines(void **state)
{
    (void)state;
    fill();
    struct loam_heap_cpu *const cpu = atomic_load(&heap.cpu[0]);
    struct loam_magazine *const magazine = &cpu->magazine[CLASS_64];
    const size_t room = (size_t)(uintptr_t)magazine->limit[1];
    while (*magazine->top == NULL)
        loam_heap_free(&heap, alloc(64));
    assert_null(loam_heap_audit(&heap));
    EXPECT_BROKEN("heap: a magazine has room for a number that none has room for",
                  magazine->limit[1], (void *)5);
    EXPECT_BROKEN("heap: a magazine's newest object is outside of it", magazine->top,
                  magazine->limit + 1);
    EXPECT_BROKEN("heap: a magazine does not end in NULL", magazine->limit[-(ptrdiff_t)room],
                  (void *)cpu);
    EXPECT_BROKEN("heap: what is at hand is not of its cache", *magazine->top, (void *)cpu);
    EXPECT_BROKEN("heap: what is at hand is no object", *magazine->top,
                  (void *)((char *)*magazine->top + 8));
    struct loam_slab *const slab = first_slab();
    EXPECT_BROKEN("slab: a free slot lies before the first word with one", slab->word, 16);
    EXPECT_BROKEN("heap: a CPU's lists are another's, or in use", cpu->index, 1);
    EXPECT_BROKEN("heap: a CPU's lists are another's, or in use", cpu->guard.is_inside, 1);
    EXPECT_BROKEN("heap: the empty magazine is not empty", cpu->nothing[0], cpu);
    empty();
}

static void the_audit_sees_an_object_that_is_free_twice(void **state)
{
    (void)state;
    heap_on(2);
    for (unsigned i = 0; i < 4; i++)
        block[i] = alloc(64);
    loam_heap_free(&heap, block[0]);
    loam_heap_free(&heap, block[1]);
    struct loam_slab *const slab = first_slab();
    struct loam_magazine *const magazine = &atomic_load(&heap.cpu[0])->magazine[CLASS_64];
    EXPECT_BROKEN("heap: an object is at hand twice", *magazine->top, block[0]);
    void *free_one = NULL;
    for (unsigned slot = 0; slot < slab->slot_count && free_one == NULL; slot++) {
        if ((slab->free[slot / 64] >> slot % 64 & 1) != 0)
            free_one = (void *)(uintptr_t)(slab->first + slot * 64);
    }
    assert_non_null(free_one);
    EXPECT_BROKEN("heap: an object is free in its slab and at hand", *magazine->top, free_one);
    loam_heap_free(&heap, block[2]);
    loam_heap_free(&heap, block[3]);
    expect_all_given_back();
}

static void the_audit_sees_what_the_page_map_shows_wrongly(void **state)
{
    (void)state;
    fill();
    LOAM_ATOMIC(uint64_t) *const table = atomic_load(&heap.map.table[0]);
    assert_non_null(table);
    for (unsigned page = 0; page < 3; page++) {
        const uint64_t was = atomic_load(&table[page]);
        assert_int_not_equal(was, 0);
        atomic_store(&table[page], was ^ UINT64_C(1) << LOAM_PAGEMAP_REST_SHIFT);
        assert_string_equal(loam_heap_audit(&heap), "slab: the page map does not show it");
        atomic_store(&table[page], was);
    }
    unsigned page = 0;
    while (atomic_load(&table[page]) != 0)
        page++;
    atomic_store(&table[page], UINT64_C(1) << LOAM_PAGEMAP_KIND_SHIFT);
    assert_string_equal(loam_heap_audit(&heap), "heap: the page map shows what nobody has");
    atomic_store(&table[page], 0);
    empty();
}

static void the_audit_sees_wrong_caches(void **state)
{
    (void)state;
    heap_on(1);
    struct loam_slab_cache *const one = cache_of(40, "one"), *const two = cache_of(50, "two");
    struct loam_slab_extra *const extra = two->extra;
    void *const object = loam_slab_alloc(two);
    EXPECT_BROKEN("heap: list of caches is broken", extra->before, extra);
    EXPECT_BROKEN("heap: list of caches is broken", extra->next, extra);
    EXPECT_BROKEN("heap: list of caches is broken", heap.caches_count, 1);
    EXPECT_BROKEN("heap: a cache is not this heap's, or in use", extra->users, 1);
    EXPECT_BROKEN("heap: a cache is not this heap's, or in use", extra->is_closing, true);
    EXPECT_BROKEN("heap: a cache is not this heap's, or in use", two->kind, 7);
    EXPECT_BROKEN("heap: a CPU's magazine of a cache is in use",
                  atomic_load(&extra->cpu[0])->guard.is_inside, 1);
    loam_slab_free(two, object);
    assert_int_equal(loam_slab_destroy(one, NULL), LOAM_OK);
    assert_int_equal(loam_slab_destroy(two, NULL), LOAM_OK);
    expect_all_given_back();
}

/* Each bit of a slab's record but for its links; where the first free slot may be sought
 * may be too early. */
static void h22_a_flipped_bit_of_a_slabs_record_is_seen(void **state)
{
    (void)state;
    fill();
    struct loam_slab *const slab = first_slab();
    unsigned char *const record = (unsigned char *)slab;
    const size_t end = slab_record_bytes(slab->slot_count);
    unsigned seen = 0, harmless = 0;

    for (size_t i = offsetof(struct loam_slab, cache); i < end; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            record[i] ^= (unsigned char)(1u << bit);
            const bool is_seen = loam_heap_audit(&heap) != NULL;
            record[i] ^= (unsigned char)(1u << bit);
            seen += is_seen;
            harmless += !is_seen;
            assert_true(is_seen || i - offsetof(struct loam_slab, word) < sizeof(slab->word));
        }
    }
    assert_true(seen > 200);
    assert_true(harmless <= 16);
    expect_sound();
    empty();
}

static void h39_counters_that_pass_2_to_the_32_stay_right(void **state)
{
    struct loam_slab_stats stats;

    (void)state;
    heap_on(1);
    for (unsigned class = 1; class < LOAM_HEAP_CLASSES; class ++)
        heap.cache[class].taken_total = heap.cache[class].put_total = UINT32_MAX - 10;
    expect_sound();
    for (unsigned i = 0; i < BLOCKS; i++)
        block[i] = alloc(64);
    loam_heap_measure_class(&heap, CLASS_64, &stats);
    assert_true(stats.taken_total >= UINT32_MAX + (uint64_t)BLOCKS - 10);
    assert_int_equal(stats.live_count, BLOCKS);
    for (unsigned i = 0; i < BLOCKS; i++)
        loam_heap_free(&heap, block[i]);
    expect_all_given_back();
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(sums_are_what_was_allocated),
    cmocka_unit_test(a_class_counts_live_blocks_peak_and_waste),
    cmocka_unit_test(the_walk_finds_each_live_block_once),
    cmocka_unit_test(the_walk_of_an_empty_heap_finds_nothing),
    cmocka_unit_test(the_digest_tells_which_blocks_live),
    cmocka_unit_test(the_print_out_has_a_line_for_each_class_and_cache),
    cmocka_unit_test(the_audit_sees_wrong_counts),
    cmocka_unit_test(the_audit_sees_wrong_lists),
    cmocka_unit_test(the_audit_sees_wrong_slabs),
    cmocka_unit_test(the_audit_sees_wrong_magazines),
    cmocka_unit_test(the_audit_sees_an_object_that_is_free_twice),
    cmocka_unit_test(the_audit_sees_what_the_page_map_shows_wrongly),
    cmocka_unit_test(the_audit_sees_wrong_caches),
    cmocka_unit_test(h22_a_flipped_bit_of_a_slabs_record_is_seen),
    cmocka_unit_test(h39_counters_that_pass_2_to_the_32_stay_right),
};

int main(void)
{
    return RUN_TESTS(tests);
}
