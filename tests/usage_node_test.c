/*
 * usage_node_test.c - layer 3, its memory: nodes are split, merged and given back;
 * the stock may be empty at any moment; the direct map may move.
 */
#include "usage_world.h"

#include <stdlib.h>

#include <loam/boot/adapter.h>

/* Take all frames out of the stock but so many. */
static void drain(uint64_t rest)
{
    while (loam_stock_level(&stock) > rest)
        assert_false(loam_phys_is_none(loam_stock_remove(&stock)));
}

/* One more frame for the stock, one never used before. */
static void supply(void)
{
    static uint64_t page = 1 << 20;

    machine_add_ram(PAGES(page), PAGES(1));
    loam_stock_add(&stock, pages(page, 1));
    page++;
}

/* ---- growing ------------------------------------------------------------- */

/* One frame has room for seven leaves, but the second leaf needs a node above it.
 * Until that can be had each call that needs it is refused, others are not. */
static void usage_U05_no_node_no_change(void **state)
{
    (void)state;
    empty_map(1);
    fill(32);
    EXPECT_REFUSED(loam_usage_insert(&usage, pages(1, 1), LOAM_OWNER_BAD), LOAM_NO_MEMORY);
    EXPECT_REFUSED(loam_usage_insert(&usage, pages(1000, 1), LOAM_OWNER_BAD), LOAM_NO_MEMORY);
    EXPECT_REFUSED(loam_usage_insert_merge(&usage, pages(1, 1), LOAM_OWNER_BAD), LOAM_NO_MEMORY);
    EXPECT_REFUSED(loam_usage_insert_merge(&usage, pages(63, 1), LOAM_OWNER_BAD), LOAM_NO_MEMORY);
    EXPECT_REFUSED(loam_usage_cut(&usage, bytes(PAGES(2) + 1, 1)), LOAM_NO_MEMORY);
    EXPECT_REFUSED(loam_usage_overwrite(&usage, bytes(PAGES(2) + 1, 1), LOAM_OWNER_BAD),
                   LOAM_NO_MEMORY);
    EXPECT_REFUSED(loam_usage_overwrite(&usage, bytes(PAGES(62), 1), LOAM_OWNER_BAD),
                   LOAM_NO_MEMORY);
    EXPECT_REFUSED(loam_usage_overwrite(&usage, bytes(PAGES(60) + 1, PAGES(2)), LOAM_OWNER_BAD),
                   LOAM_NO_MEMORY);

    assert_int_equal(loam_usage_insert_merge(&usage, pages(1, 1), LOAM_OWNER_KERNEL), LOAM_OK);
    assert_int_equal(loam_usage_overwrite(&usage, pages(20, 1), LOAM_OWNER_BAD), LOAM_OK);
    assert_int_equal(loam_usage_cut(&usage, bytes(PAGES(4), 1)), LOAM_OK);
    check_sound();

    supply();
    assert_int_equal(loam_usage_insert(&usage, pages(1000, 1), LOAM_OWNER_BAD), LOAM_OK);
    assert_int_equal(usage.node_frame_count, 2);
    assert_int_equal(usage.height, 1);
    check_sound();
}

/* 31 of 32: what puts two more than it takes splits the leaf as well. */
static void usage_U05_two_more_than_fit(void **state)
{
    (void)state;
    empty_map(1);
    fill(31);
    EXPECT_REFUSED(loam_usage_overwrite(&usage, bytes(PAGES(2) + 1, 1), LOAM_OWNER_BAD),
                   LOAM_NO_MEMORY);
    assert_int_equal(loam_usage_cut(&usage, bytes(PAGES(2) + 1, 1)), LOAM_OK);
    EXPECT_REFUSED(loam_usage_cut(&usage, bytes(PAGES(8) + 1, 1)), LOAM_NO_MEMORY);
    assert_int_equal(usage.interval_count, 32);
    check_sound();
}

/* U06: nodes come from the stock alone, so the map never calls the allocator it
 * describes; an empty stock is a refusal. */
static void usage_U06_empty_stock_is_refused(void **state)
{
    (void)state;
    empty_map(1);
    drain(0);
    EXPECT_REFUSED(loam_usage_insert(&usage, pages(1, 1), LOAM_OWNER_BAD), LOAM_NO_MEMORY);
    EXPECT_REFUSED(loam_usage_insert_merge(&usage, pages(1, 1), LOAM_OWNER_BAD), LOAM_NO_MEMORY);
    EXPECT_REFUSED(loam_usage_overwrite(&usage, pages(1, 1), LOAM_OWNER_BAD), LOAM_NO_MEMORY);
    EXPECT_REFUSED(loam_usage_cut(&usage, pages(1, 1)), LOAM_NOT_FOUND);
    assert_int_equal(usage.node_frame_count, 0);
}

/*
 * A full root over a full leaf, with no free leaf and one free inner node:
 *
 *     [ 56 children )                      [ 2 )
 *      | ... | ... |              [ 28 or 29 )[ 28 or 29 )
 *     16  [ 32 )  16              16 ... [ 16 )[ 16 ) ... 16
 */
static void full_to_the_root(void)
{
    empty_map(40);
    for (uint64_t i = 0; usage.leaves.used_count < 56; i++)
        assert_int_equal(loam_usage_insert(&usage, pages(4 * i, 1), LOAM_OWNER_HEAP), LOAM_OK);
    for (uint64_t i = 159; i < 175; i++) /* the eleventh leaf */
        assert_int_equal(loam_usage_insert(&usage, pages(4 * i + 2, 1), LOAM_OWNER_HEAP), LOAM_OK);
    assert_int_equal(usage.height, 1);
    assert_int_equal(usage.leaves.used_count, 56);
    assert_int_equal(usage.leaves.free_count, 0);
    assert_int_equal(usage.inners.free_count, 1);
    check_sound();
}

/* The changing calls, each of which needs a node in full_to_the_root(). */
static enum loam_status change(unsigned which)
{
    switch (which) {
    case 0:
        return loam_usage_insert(&usage, pages(641, 1), LOAM_OWNER_BAD);
    case 1:
        return loam_usage_insert_merge(&usage, pages(641, 1), LOAM_OWNER_BAD);
    case 2:
        return loam_usage_overwrite(&usage, bytes(PAGES(648) + 1, 2), LOAM_OWNER_BAD);
    case 3:
        return loam_usage_cut(&usage, bytes(PAGES(648) + 1, 2));
    default: /* the last two intervals of the leaf before: what is left of them goes on here */
        return loam_usage_overwrite(&usage, bytes(PAGES(632) + 1, PAGES(4)), LOAM_OWNER_BAD);
    }
}

/* A leaf and two inner nodes, one of which is there: two frames or nothing. */
static void usage_U05_all_nodes_of_a_change_or_none(void **state)
{
    (void)state;
    for (unsigned which = 0; which < 5; which++) {
        full_to_the_root();
        for (uint64_t frames = 0; frames < 2; frames++) {
            drain(frames);
            while (loam_stock_level(&stock) < frames)
                supply();
            EXPECT_REFUSED(change(which), LOAM_NO_MEMORY);
        }
        supply();
        assert_int_equal(change(which), LOAM_OK);
        assert_int_equal(usage.height, 2);
        assert_int_equal(usage.inners.used_count, 3);
        assert_int_equal(loam_stock_level(&stock), 0);
        check_sound();
    }
}

static void usage_U05_each_failure_changes_nothing(void **state)
{
    (void)state;
    for (unsigned which = 0; which < 5; which++) {
        unsigned refused = 0;
        INJECT_EACH_POINT
        {
            full_to_the_root();
            const uint64_t digest = loam_usage_digest(&usage);
            const uint64_t stock_digest = loam_stock_digest(&stock);
            INJECT_ARM();
            const enum loam_status status = change(which);
            INJECT_DISARM();
            check_sound();
            assert_int_equal(status, inject_fired() ? LOAM_NO_MEMORY : LOAM_OK);
            assert_int_equal(loam_usage_digest(&usage) == digest, inject_fired());
            assert_int_equal(loam_stock_digest(&stock) == stock_digest, inject_fired());
            if (inject_fired()) {
                assert_int_equal(change(which), LOAM_OK);
                refused++;
            }
        }
        assert_true(refused >= 2); /* once, and from there on */
    }
}

/* Thousands of random changes, each first with nothing in the stock, then with a
 * frame more as long as it is refused. A refusal changes nothing; what leaves no
 * more intervals than there were is never refused; 1 + (height + 2) / 2 suffice. */
static void usage_U05_empty_stock_at_every_step(void **state)
{
    unsigned refusals = 0;

    (void)state;
    empty_map(1);
    for (unsigned step = 0; step < 6000; step++) {
        const uint64_t start = test_random_below(20000);
        const struct loam_phys_range range = bytes(start, 1 + test_random_below(4));
        const enum loam_owner owner = (enum loam_owner)test_random_below(3);
        const unsigned what = (unsigned)test_random_below(8);
        const uint64_t count = usage.interval_count;
        const uint64_t enough = 1 + (usage.height + 2) / 2;
        enum loam_status status = LOAM_NO_MEMORY;
        unsigned refused_now = 0;
        drain(0);
        for (uint64_t frames = 0; status == LOAM_NO_MEMORY; frames++) {
            const uint64_t digest = loam_usage_digest(&usage);
            const uint64_t node_frame_count = usage.node_frame_count;
            assert_true(frames <= enough);
            status = what == 0   ? loam_usage_cut(&usage, range)
                     : what == 1 ? loam_usage_overwrite(&usage, range, owner)
                     : what == 2 ? loam_usage_insert_merge(&usage, range, owner)
                                 : loam_usage_insert(&usage, range, owner);
            if (status == LOAM_NO_MEMORY) {
                assert_int_equal(loam_usage_digest(&usage), digest);
                assert_int_equal(usage.node_frame_count, node_frame_count);
                assert_int_equal(loam_stock_level(&stock), frames);
                supply();
                refused_now++;
            }
        }
        refusals += refused_now;
        if (usage.interval_count <= count)
            assert_int_equal(refused_now, 0);
        if (step % 16 == 0)
            check_sound();
    }
    assert_true(usage.height >= 2);
    assert_true(refusals >= 10);
    check_sound();
    check_thrifty();
}

/* Children of the root, which lie before their number. */
static uint64_t root_children(void)
{
    const uint64_t *root = machine_ram(usage.root.addr);
    return root[56 * 4];
}

/*
 * Full nodes from the root down to a leaf: a leaf, a node on every level and a new
 * root. First the root gets all its children, then one gap as many intervals as it
 * takes, where whatever an insert needs is given to it frame by frame.
 */
static void grow_on_every_level(uint64_t height, uint64_t frames_at_least)
{
    uint64_t frames = 0;

    empty_map(8000);
    for (uint64_t i = 0; usage.height < height || root_children() < 56; i++)
        assert_int_equal(loam_usage_insert(&usage, pages(64 * i, 1), LOAM_OWNER_HEAP), LOAM_OK);
    check_sound();
    check_thrifty();
    drain(0);
    for (uint64_t i = 0; usage.height == height; i++) {
        const struct loam_phys_range byte = bytes(PAGES(1) + 2 * i, 1);
        frames = 0;
        while (loam_usage_insert(&usage, byte, LOAM_OWNER_BAD) == LOAM_NO_MEMORY) {
            assert_true(++frames <= 1 + (height + 2) / 2);
            supply();
        }
    }
    assert_true(frames >= frames_at_least);
    assert_int_equal(root_children(), 2);
    assert_int_equal(loam_stock_level(&stock), 0);
    check_sound();
    check_thrifty();
    assert_int_equal(loam_usage_cut(&usage, bytes(0, UINT64_MAX)), LOAM_OK);
    assert_int_equal(usage.node_frame_count, 0);
    check_sound();
}

/* The last one has 700,000 intervals. */
static void usage_U05_a_node_on_every_level(void **state)
{
    (void)state;
    grow_on_every_level(1, 1);
    grow_on_every_level(2, 1);
    grow_on_every_level(3, 2);
}

/* With nothing in the stock, what needs no node goes on to the last interval. */
static void usage_shrinks_without_a_frame(void **state)
{
    (void)state;
    empty_map(120);
    fill(4000);
    drain(0);
    for (uint64_t i = 0; i < 4000; i++) {
        const uint64_t page = 2 * (i * 1237 % 4000);
        assert_int_equal(loam_usage_overwrite(&usage, pages(page, 1), LOAM_OWNER_BAD), LOAM_OK);
        assert_int_equal(loam_usage_cut(&usage, pages(page, 1)), LOAM_OK);
        if (i % 64 == 0) {
            check_sound();
            check_thrifty();
        }
    }
    assert_int_equal(usage.node_frame_count, 0);
    check_sound();
}

/* ---- splitting and merging ----------------------------------------------- */

/* Thousands of intervals in ascending, descending and scattered order, then all
 * cut in another: nodes split and merge, and every one comes back. */
static void usage_thousands_of_intervals_leak_no_node(void **state)
{
    const uint64_t count = 5003; /* prime: any stride visits all */
    static const uint64_t stride[][2] = {
        { 1, 1 }, { 5002, 1 }, { 1, 5002 }, { 1234, 7 }, { 77, 2500 }
    };

    (void)state;
    for (size_t order = 0; order < sizeof(stride) / sizeof(stride[0]); order++) {
        empty_map(100);
        for (uint64_t i = 0; i < count; i++) {
            const uint64_t at = i * stride[order][0] % count;
            assert_int_equal(loam_usage_insert(&usage, pages(2 * at, 1), LOAM_OWNER_USABLE),
                             LOAM_OK);
            if (i % 64 == 0)
                check_sound();
        }
        check_thrifty();
        assert_int_equal(usage.height, 2);
        for (uint64_t i = 0; i < count; i++) {
            const uint64_t at = i * stride[order][1] % count;
            assert_int_equal(loam_usage_cut(&usage, pages(2 * at, 1)), LOAM_OK);
            if (i % 64 == 0) {
                check_sound();
                check_thrifty();
            }
        }
        assert_int_equal(usage.node_frame_count, 0);
        assert_int_equal(usage.height, 0);
        assert_int_equal(stock.out_count, 0);
    }
}

/* Slots of one owner in random order: touching ones become one, in one leaf or
 * across leaves, until one interval is left. */
static void usage_U02_slots_grow_together(void **state)
{
    const uint64_t count = 6007;

    (void)state;
    empty_map(100);
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t at = i * 2777 % count;
        assert_int_equal(loam_usage_insert_merge(&usage, pages(at, 1), LOAM_OWNER_USABLE), LOAM_OK);
        if (i % 16 == 0 || usage.interval_count < 50) {
            check_sound();
            check_thrifty();
        }
    }
    assert_int_equal(usage.interval_count, 1);
    assert_int_equal(usage.height, 0);
    assert_int_equal(loam_usage_total(&usage, LOAM_OWNER_USABLE), PAGES(count));
}

/* From every place in a map of many leaves to every other of some: one overwrite
 * and one cut over whole leaves. */
static void usage_changes_across_nodes(void **state)
{
    (void)state;
    for (uint64_t from = 0; from < 1200; from += 37) {
        for (uint64_t to = from + 1; to < 1200; to += 91) {
            empty_map(40);
            fill(1200);
            const struct loam_phys_range range = bytes(PAGES(2 * from) + 1, PAGES(2 * (to - from)));
            assert_int_equal(loam_usage_overwrite(&usage, range, LOAM_OWNER_BAD), LOAM_OK);
            assert_int_equal(usage.interval_count, 1200 - (to - from - 1) + 1);
            assert_int_equal(loam_usage_total(&usage, LOAM_OWNER_BAD), range.size);
            check_sound();
            check_thrifty();
            assert_int_equal(loam_usage_cut(&usage, range), LOAM_OK);
            assert_int_equal(loam_usage_total(&usage, LOAM_OWNER_BAD), 0);
            check_sound();
            check_thrifty();
        }
    }
}

/* 100,000 intervals in scattered order: four levels at most, each found, all cut. */
static void usage_U08_a_hundred_thousand_intervals(void **state)
{
    const uint64_t count = 100003; /* prime */
    struct loam_interval got;

    (void)state;
    empty_map(1500);
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t at = i * 61803 % count;
        assert_int_equal(loam_usage_insert(&usage, pages(2 * at, 1), (enum loam_owner)(at % 13)),
                         LOAM_OK);
    }
    check_sound();
    check_thrifty();
    assert_true(usage.height <= 3);
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t at = i * 31415 % count;
        assert_true(loam_usage_lookup(&usage, loam_phys_at(PAGES(2 * at) + 4095), &got));
        assert_int_equal(got.owner, at % 13);
        assert_false(loam_usage_lookup(&usage, loam_phys_at(PAGES(2 * at) + 4096), &got));
    }
    for (uint64_t i = 0; i < count; i++)
        assert_int_equal(loam_usage_cut(&usage, pages(2 * (i * 27182 % count), 1)), LOAM_OK);
    check_sound();
    assert_int_equal(usage.node_frame_count, 0);
}

/* ---- the direct map ------------------------------------------------------ */

/* Nodes know each other by physical addresses: when their memory is seen elsewhere,
 * nothing but the offset in the stock has to change. */
static void usage_works_wherever_its_memory_is_seen(void **state)
{
    const size_t size = PAGES(64);
    unsigned char *first = aligned_alloc(LOAM_PAGE_SIZE, size);
    unsigned char *second = aligned_alloc(LOAM_PAGE_SIZE, size);

    (void)state;
    machine_reset(1);
    assert_non_null(first);
    assert_non_null(second);
    loam_stock_init(&stock, loam_boot_hhdm((uint64_t)(uintptr_t)first - RAM_START), NULL);
    loam_stock_add(&stock, bytes(RAM_START, size));
    loam_usage_init(&usage, &stock);
    fill(2000);
    check_sound();
    const uint64_t digest = loam_usage_digest(&usage);

    memcpy(second, first, size);
    memset(first, 0xa5, size);
    stock.hhdm = loam_boot_hhdm((uint64_t)(uintptr_t)second - RAM_START);
    check_sound();
    assert_int_equal(loam_usage_digest(&usage), digest);
    for (uint64_t i = 0; i < 2000; i++)
        assert_int_equal(loam_usage_insert(&usage, pages(2 * i + 1, 1), LOAM_OWNER_BAD), LOAM_OK);
    assert_int_equal(loam_usage_cut(&usage, pages(0, 4000)), LOAM_OK);
    assert_int_equal(usage.node_frame_count, 0);
    check_sound();
    free(first);
    free(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usage_U05_no_node_no_change),
        cmocka_unit_test(usage_U05_two_more_than_fit),
        cmocka_unit_test(usage_U06_empty_stock_is_refused),
        cmocka_unit_test(usage_U05_all_nodes_of_a_change_or_none),
        cmocka_unit_test(usage_U05_each_failure_changes_nothing),
        cmocka_unit_test(usage_U05_empty_stock_at_every_step),
        cmocka_unit_test(usage_U05_a_node_on_every_level),
        cmocka_unit_test(usage_shrinks_without_a_frame),
        cmocka_unit_test(usage_thousands_of_intervals_leak_no_node),
        cmocka_unit_test(usage_U02_slots_grow_together),
        cmocka_unit_test(usage_changes_across_nodes),
        cmocka_unit_test(usage_U08_a_hundred_thousand_intervals),
        cmocka_unit_test(usage_works_wherever_its_memory_is_seen),
    };
    return RUN_TESTS(tests);
}
