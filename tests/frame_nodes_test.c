/*
 * frame_nodes_test.c - memory of NUMA nodes: whose frames a CPU gets, and in which order.
 */
#include "src/internal/frame_lane.h"

#include "frame_world.h"

static void *table; /* what set_nodes() was given last; the allocator's */

static enum loam_status set_nodes(const struct loam_frame_node *node, size_t count)
{
    const size_t bytes = loam_frame_nodes_bytes_needed(&frame, count);
    void *memory = NULL;
    assert_int_equal(posix_memalign(&memory, 64, bytes), 0);
    memset(memory, 0xa5, bytes);
    const uint64_t digest = loam_frame_digest(&frame);
    const enum loam_status status = loam_frame_set_nodes(&frame, node, count, memory, bytes);
    assert_int_equal(loam_frame_digest(&frame), digest);
    expect_sound();
    if (status != LOAM_OK) {
        free(memory);
        return status;
    }
    free(table); /* nobody reads it any more */
    table = memory;
    return status;
}

static int forget_table(void **state)
{
    (void)state;
    free(table);
    table = NULL;
    return 0;
}

static struct loam_frame_node node_of(uint64_t first, uint64_t end, uint32_t name)
{
    const struct loam_frame_node node = { range_of(first, end), name };
    return node;
}

static struct loam_frame_stats node_stats(uint32_t node)
{
    struct loam_frame_stats stats;
    loam_frame_measure_node(&frame, node, &stats);
    return stats;
}

static uint64_t take_on(unsigned order, enum loam_zone zone, uint32_t node)
{
    const loam_phys block = loam_frame_alloc_on(&frame, order, zone, node);
    return loam_phys_is_none(block) ? NONE : block.addr / LOAM_PAGE_SIZE;
}

/*
 *   0     16M            4G         6G        8G        10G
 *   [ ... ][ node 0      ]  [ node 0 ][ node 1 ][ node 2 )
 */
static void two_nodes(void)
{
    const struct loam_frame_node node[] = { node_of(0, GIB(6), 0), node_of(GIB(6), GIB(8), 1),
                                            node_of(GIB(8), GIB(10), 2) };
    WORLD(3, { 1, GIB(3) }, { GIB(4), GIB(10) });
    assert_int_equal(set_nodes(node, COUNT(node)), LOAM_OK);
    for (unsigned cpu = 0; cpu < 3; cpu++)
        loam_frame_set_cpu(&frame, cpu, cpu);
}

static void nodes_cut_memory(void **state)
{
    (void)state;
    two_nodes();
    assert_int_equal(node_stats(0).frame_count, GIB(5) - 1);
    assert_int_equal(node_stats(1).frame_count, GIB(2));
    assert_int_equal(node_stats(2).frame_count, GIB(2));
    assert_int_equal(node_stats(7).frame_count, 0);
    assert_int_equal(node_stats(LOAM_NODE_NONE).frame_count, 0);
    assert_int_equal(node_stats(0).free_count, GIB(5) - 1);
    expect_all_free();
}

static void each_cpu_gets_frames_of_its_own_node(void **state)
{
    static const uint64_t first[] = { GIB(4), GIB(6), GIB(8) };
    (void)state;
    two_nodes();
    for (unsigned order = 0; order <= LOAM_ORDER_MAX; order++) {
        for (unsigned cpu = 0; cpu < 3; cpu++) {
            machine_set_cpu(cpu);
            const uint64_t page = take_any(order, LOAM_ZONE_ANY);
            assert_true(page - first[cpu] < GIB(2));
            give_any(page, order);
        }
    }
    expect_all_free();
}

/* Own node, high memory, then low; then those of others; below 16 MiB last. */
static void memory_is_used_in_this_order(void **state)
{
    static const struct {
        uint64_t first, end;
    } want[] = { { GIB(5), GIB(6) },  { GIB(4), GIB(5) }, { GIB(2), GIB(3) }, { GIB(1), GIB(2) },
                 { GIB(9), GIB(10) }, { GIB(8), GIB(9) }, { GIB(7), GIB(8) }, { GIB(6), GIB(7) } };
    (void)state;
    two_nodes();
    for (unsigned i = 0; i < COUNT(want); i++) {
        const uint64_t page = take_any(LOAM_ORDER_MAX, LOAM_ZONE_ANY);
        assert_int_equal(page, want[i].first);
    }
    assert_int_equal(take_any(LOAM_ORDER_MAX, LOAM_ZONE_ANY), NONE);
    machine_set_cpu(1); /* of node 1, which has nothing left */
    const uint64_t rest = GIB(1) - 1;
    for (uint64_t i = 0; i < rest; i++) {
        const uint64_t page = take_any(0, LOAM_ZONE_ANY);
        assert_true(i < rest - MIB(16) + 1 ? page >= MIB(16) : page < MIB(16));
    }
    assert_int_equal(take_any(0, LOAM_ZONE_ANY), NONE);
}

static void alloc_on_a_node_stays_there(void **state)
{
    (void)state;
    two_nodes();
    assert_int_equal(take_on(LOAM_ORDER_MAX, LOAM_ZONE_ANY, 1), GIB(7));
    assert_int_equal(take_on(LOAM_ORDER_MAX, LOAM_ZONE_ANY, 1), GIB(6));
    for (unsigned order = 0; order <= LOAM_ORDER_MAX; order++) {
        assert_int_equal(take_on(order, LOAM_ZONE_ANY, 1), NONE);
        assert_int_equal(take_on(order, LOAM_ZONE_ANY, 3), NONE);
        assert_int_equal(take_on(order, LOAM_ZONE_ANY, LOAM_NODE_NONE), NONE);
        assert_int_equal(take_on(order, LOAM_ZONE_4G, 2), NONE);
    }
    for (unsigned order = 0; order < LOAM_ORDER_MAX; order++) {
        const uint64_t high = take_on(order, LOAM_ZONE_ANY, 2);
        const uint64_t low = take_on(order, LOAM_ZONE_4G, 0);
        assert_true(high >= GIB(8) && high < GIB(10));
        assert_true(low < GIB(3));
        assert_true(order > 10 || take_on(order, LOAM_ZONE_16M, 0) < MIB(16));
    }
    expect_sound();
    assert_int_equal(take_on(LOAM_ORDER_MAX + 1, LOAM_ZONE_ANY, 0), NONE);
    assert_int_equal(take_on(0, (enum loam_zone)LOAM_ZONES, 0), NONE);
}

/* The frames that wait for a CPU are not given out for another node, and do not hide any. */
static void alloc_on_looks_at_what_waits(void **state)
{
    (void)state;
    const struct loam_frame_node node[] = { node_of(GIB(4), GIB(4) + BLOCK, 0),
                                            node_of(GIB(4) + BLOCK, GIB(4) + 2 * BLOCK, 1) };
    WORLD(2, { GIB(4), GIB(4) + 2 * BLOCK });
    assert_int_equal(set_nodes(node, 2), LOAM_OK);
    loam_frame_set_cpu(&frame, 0, 0);
    loam_frame_set_cpu(&frame, 1, 1);
    assert_true(take_any(0, LOAM_ZONE_ANY) < GIB(4) + BLOCK); /* and 63 wait */
    for (uint64_t i = 0; i < BLOCK; i++)
        assert_true(take_on(0, LOAM_ZONE_ANY, 1) >= GIB(4) + BLOCK);
    assert_int_equal(take_on(0, LOAM_ZONE_ANY, 1), NONE);
    machine_set_cpu(1); /* another CPU gets what waits for the first one */
    for (uint64_t i = 1; i < BLOCK; i++)
        assert_true(take_on(0, LOAM_ZONE_ANY, 0) < GIB(4) + BLOCK);
    assert_int_equal(take_on(0, LOAM_ZONE_ANY, 0), NONE);
    assert_int_equal(take_any(0, LOAM_ZONE_ANY), NONE);
}

/* A handler that finds its CPU's lane taken gets frames of that CPU's node, from a lane that
 * is no other CPU's own. */
static void handlers_get_frames_of_their_node(void **state)
{
    static const uint64_t first[] = { GIB(4), GIB(6), GIB(8) };
    (void)state;
    two_nodes();
    uint64_t waits[3];
    for (unsigned cpu = 0; cpu < 3; cpu++) { /* something waits for each */
        machine_set_cpu(cpu);
        for (unsigned i = 0; i < 2; i++)
            assert_int_not_equal(take_any(0, LOAM_ZONE_ANY), NONE);
        waits[cpu] = loam_frame_measure_cpu(&frame, cpu);
        assert_true(waits[cpu] > 3);
    }
    for (unsigned cpu = 0; cpu < 3; cpu++) {
        machine_set_cpu(cpu);
        assert_true(frame_lane_enter(&frame.lane[cpu]));
        for (unsigned i = 0; i < 3; i++)
            assert_true(take_any(0, LOAM_ZONE_ANY) - first[cpu] < GIB(2));
        frame_lane_leave(&frame.lane[cpu]);
    }
    for (unsigned cpu = 0; cpu < 3; cpu++)
        assert_int_equal(loam_frame_measure_cpu(&frame, cpu), waits[cpu]);
    expect_sound();
}

/* Borders inside blocks, gaps between nodes, nodes without memory. */
static void nodes_may_lie_anyhow(void **state)
{
    const struct loam_frame_node node[] = {
        node_of(0, 1, 9),
        node_of(MIB(32) - 1, MIB(32) + 5, 5),
        node_of(MIB(32) + 7, MIB(40), 1),
        node_of(MIB(50) + 3, MIB(60), 2),
        node_of(GIB(1), GIB(2), 3),
        node_of(GIB(4) - 70, GIB(4) + BLOCK + 1, 4),
        node_of(TIB(70), TIB(71), 6),
    };
    (void)state;
    WORLD(1, { 2, MIB(16) + 9 }, { MIB(32) + 3, MIB(32) + 90 }, { MIB(32) + 90, MIB(64) },
          { GIB(4) - 60, GIB(5) });
    assert_int_equal(set_nodes(node, COUNT(node)), LOAM_OK);
    assert_int_equal(node_stats(5).frame_count, 87); /* its first page */
    assert_int_equal(node_stats(1).frame_count, MIB(8) - 90);
    assert_int_equal(node_stats(2).frame_count, MIB(10) - BLOCK);
    assert_int_equal(node_stats(3).frame_count, 0);
    assert_int_equal(node_stats(4).frame_count, 60 + 2 * BLOCK);
    assert_int_equal(node_stats(6).frame_count, 0);
    assert_int_equal(node_stats(9).frame_count, 0);
    assert_int_equal(node_stats(LOAM_NODE_NONE).frame_count,
                     ram_pages - 87 - (MIB(8) - 90) - (MIB(10) - BLOCK) - 60 - 2 * BLOCK);
    assert_int_equal(set_nodes(NULL, 0), LOAM_OK); /* as it was */
    assert_int_equal(node_stats(LOAM_NODE_NONE).frame_count, ram_pages);
}

static void nodes_do_not_change_what_is_in_use(void **state)
{
    (void)state;
    two_nodes();
    const uint64_t high = take_any(3, LOAM_ZONE_ANY);
    const uint64_t one = take_any(0, LOAM_ZONE_ANY);
    const struct loam_frame_node other[] = { node_of(high & ~(BLOCK - 1), GIB(10), 77) };
    assert_int_equal(set_nodes(other, 1), LOAM_OK);
    assert_int_equal(stats().free_count, ram_pages - 9);
    assert_int_equal(node_stats(77).frame_count, GIB(10) - (high & ~(BLOCK - 1)));
    give(one, 0);
    give(high, 3);
    expect_all_free();
}

static void set_nodes_refuses(void **state)
{
    const struct loam_frame_node good = node_of(GIB(1), GIB(2), 1);
    const struct loam_frame_node bad[][2] = {
        { good, node_of(GIB(2) - 1, GIB(3), 2) },
        { good, good },
        { good, node_of(0, 1, 2) },
        { good, node_of(GIB(2), GIB(2), 2) },
        { good, node_of(GIB(2), GIB(3), LOAM_NODE_NONE) },
        { good, { { { GIB(8) << 12 | 1 }, 0x1000 }, 2 } },
        { good, { { { GIB(8) << 12 }, 0x1001 }, 2 } },
        { good, { { { UINT64_MAX - 4095 }, 0x2000 }, 2 } },
    };
    (void)state;
    two_nodes();
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_int_equal(set_nodes(bad[i], 2), LOAM_INVALID);
    const size_t bytes = loam_frame_nodes_bytes_needed(&frame, 1);
    unsigned char *memory = NULL;
    assert_int_equal(posix_memalign((void **)&memory, 64, bytes + 64), 0);
    assert_int_equal(loam_frame_set_nodes(&frame, &good, 1, NULL, bytes), LOAM_INVALID);
    assert_int_equal(loam_frame_set_nodes(&frame, &good, 1, memory + 8, bytes), LOAM_INVALID);
    assert_int_equal(loam_frame_set_nodes(&frame, &good, 1, memory, bytes - 1), LOAM_NO_SPACE);
    free(memory);
    assert_int_equal(node_stats(0).frame_count, GIB(5) - 1); /* unchanged */
    EXPECT_PANIC("frame: no such CPU", loam_frame_set_cpu(&frame, LOAM_CPUS_MAX, 0));
    EXPECT_PANIC("frame: no such CPU", loam_frame_set_cpu(&frame, UINT32_MAX, 0));
    EXPECT_PANIC("frame: no such CPU", loam_frame_set_cpu(&frame, 3, 0));
}

static void audit_names_what_is_wrong_with_spans(void **state)
{
    (void)state;
    two_nodes();
    struct loam_frame_table *const shape = table;
    struct frame_span *const span = &shape->span[2];
    const struct frame_span saved = *span;
    const char *const part = "frame: a span is not part of its region or zone";
    assert_int_equal(shape->span_count, 5);
    assert_int_equal(span->zone, LOAM_ZONE_ANY);
    span->from++;
    assert_string_equal(loam_frame_audit(&frame), part);
    *span = saved;
    span->end--;
    assert_string_equal(loam_frame_audit(&frame), part);
    *span = saved;
    span->zone = LOAM_ZONE_4G;
    assert_string_equal(loam_frame_audit(&frame), part);
    *span = saved;
    shape->span[4].end--;
    assert_string_equal(loam_frame_audit(&frame), "frame: a block is in no span");
    shape->span[4].end++;
    shape->zone_end[LOAM_ZONE_ANY]--;
    assert_string_equal(loam_frame_audit(&frame), "frame: a zone does not know of a span");
    shape->zone_end[LOAM_ZONE_ANY]++;
    shape->zone_end[LOAM_ZONE_4G]++;
    assert_string_equal(loam_frame_audit(&frame), "frame: a zone does not know of a span");
    shape->zone_end[LOAM_ZONE_4G]--;
    shape->region_count--;
    assert_string_equal(loam_frame_audit(&frame), "frame: a span is of no region");
    shape->region_count++;
    struct loam_frame_region *const first = shape->region[0];
    shape->region[0] = shape->region[1];
    assert_string_equal(loam_frame_audit(&frame), "frame: a block is in no span");
    shape->region[0] = first;
    expect_sound();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(nodes_cut_memory, forget_table),
        cmocka_unit_test_teardown(each_cpu_gets_frames_of_its_own_node, forget_table),
        cmocka_unit_test_teardown(memory_is_used_in_this_order, forget_table),
        cmocka_unit_test_teardown(alloc_on_a_node_stays_there, forget_table),
        cmocka_unit_test_teardown(alloc_on_looks_at_what_waits, forget_table),
        cmocka_unit_test_teardown(handlers_get_frames_of_their_node, forget_table),
        cmocka_unit_test_teardown(nodes_may_lie_anyhow, forget_table),
        cmocka_unit_test_teardown(nodes_do_not_change_what_is_in_use, forget_table),
        cmocka_unit_test_teardown(set_nodes_refuses, forget_table),
        cmocka_unit_test_teardown(audit_names_what_is_wrong_with_spans, forget_table),
    };
    return RUN_TESTS(tests);
}
