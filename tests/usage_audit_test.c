/*
 * usage_audit_test.c - layer 3: the audit sees each thing that can be wrong in the
 * tree, in its counts and in the frames that its nodes lie in.
 */
#include "usage_world.h"

/* What is in memory, written down a second time. */
struct leaf {
    uint64_t last[32];
    uint64_t first[32];
    uint8_t owner[32];
    uint64_t count;
};

struct inner {
    uint64_t last[56];
    uint64_t child[56];
    struct {
        uint64_t gap, usable;
    } largest[56];
    uint64_t count;
};

struct frame {
    uint64_t next, before;
    uint64_t free_nodes;
    uint64_t node_bytes;
};

static void expect_broken(const char *rule)
{
    const char *found = loam_usage_audit(&usage);
    assert_non_null(found);
    assert_string_equal(found, rule);
}

/* A sound map of two levels. @return its root */
static struct inner *two_levels(void)
{
    empty_map(40);
    fill(400);
    check_sound();
    assert_int_equal(usage.height, 1);
    return machine_ram(usage.root.addr);
}

/* Of three levels; USABLE and KERNEL in turn, so that every leaf has both. */
static struct inner *three_levels(void)
{
    empty_map(40);
    fill(1500);
    check_sound();
    assert_int_equal(usage.height, 2);
    return machine_ram(usage.root.addr);
}

static struct leaf *leaf_of(const struct inner *inner, unsigned index)
{
    return machine_ram(inner->child[index]);
}

static struct frame *frame_of(uint64_t node)
{
    return machine_ram(node & ~UINT64_C(4095));
}

/* ---- what nodes hold ----------------------------------------------------- */

static void usage_audit_sees_wrong_intervals(void **state)
{
    (void)state;
    struct leaf *leaf = leaf_of(two_levels(), 3);
    leaf->first[5] = leaf->last[5] + 1;
    expect_broken("usage: interval ends before it starts");
    leaf = leaf_of(two_levels(), 3);
    leaf->first[5] = leaf->last[4];
    expect_broken("usage: intervals overlap or are out of order");
    struct inner *root = two_levels();
    leaf_of(root, 3)->first[0] = leaf_of(root, 2)->last[15];
    expect_broken("usage: intervals overlap or are out of order");
    leaf = leaf_of(two_levels(), 3);
    leaf->last[15] = UINT64_MAX; /* nothing can follow that */
    expect_broken("usage: key is not the last byte below it");
    root = two_levels();
    leaf_of(root, 3)->last[15] = UINT64_MAX;
    root->last[3] = UINT64_MAX;
    expect_broken("usage: keys of a node are out of order, or not cleared");
    leaf_of(two_levels(), 3)->owner[0] = LOAM_OWNERS;
    expect_broken("usage: unknown owner");
    leaf_of(two_levels(), 3)->count = 15;
    expect_broken("usage: leaf holds too few intervals, or too many");
    leaf_of(two_levels(), 3)->count = 33;
    expect_broken("usage: leaf holds too few intervals, or too many");
    empty_map(4);
    fill(3);
    check_sound();
    leaf = machine_ram(usage.root.addr);
    leaf->count = 0;
    expect_broken("usage: leaf holds too few intervals, or too many");
    leaf->count = 2;
    expect_broken("usage: keys of a node are out of order, or not cleared");
}

static void usage_audit_sees_wrong_keys(void **state)
{
    (void)state;
    struct leaf *leaf = leaf_of(two_levels(), 3);
    leaf->last[16] = leaf->last[15] + 1; /* behind the count */
    expect_broken("usage: keys of a node are out of order, or not cleared");
    leaf = leaf_of(two_levels(), 3);
    leaf->last[31] = 0;
    expect_broken("usage: keys of a node are out of order, or not cleared");
    struct inner *root = two_levels();
    root->last[5] = root->last[4];
    expect_broken("usage: keys of a node are out of order, or not cleared");
    root = two_levels();
    root->last[1] = root->last[0];
    expect_broken("usage: keys of a node are out of order, or not cleared");
    root = two_levels();
    root->last[root->count - 1] = UINT64_MAX - 1; /* of the last child: kept above */
    expect_broken("usage: keys of a node are out of order, or not cleared");
    root = two_levels();
    root->last[5]++;
    expect_broken("usage: key is not the last byte below it");
    root = two_levels();
    root->last[0]--;
    expect_broken("usage: key is not the last byte below it");
    root = three_levels();
    root->last[0]++;
    expect_broken("usage: key is not the last byte below it");
}

static void usage_audit_sees_wrong_counts_of_children(void **state)
{
    (void)state;
    struct inner *root = two_levels();
    root->count = 1;
    expect_broken("usage: inner node has too few children, or too many");
    two_levels()->count = 57;
    expect_broken("usage: inner node has too few children, or too many");
    root = three_levels();
    struct inner *inner = machine_ram(root->child[0]);
    inner->count = 27;
    expect_broken("usage: inner node has too few children, or too many");
    root = three_levels();
    inner = machine_ram(root->child[root->count - 1]);
    inner->count--; /* its last child is still there */
    expect_broken("usage: keys of a node are out of order, or not cleared");
}

static void usage_audit_sees_wrong_largest(void **state)
{
    (void)state;
    for (unsigned index = 0; index < 20; index += 19) {
        for (int by = -1; by <= 1; by += 2) {
            two_levels()->largest[index].gap += (uint64_t)(int64_t)by;
            expect_broken("usage: largest gap of a subtree is wrong");
            two_levels()->largest[index].usable += (uint64_t)(int64_t)by;
            expect_broken("usage: largest usable interval of a subtree is wrong");
            three_levels()->largest[index / 19].gap += (uint64_t)(int64_t)by;
            expect_broken("usage: largest gap of a subtree is wrong");
            three_levels()->largest[index / 19].usable += (uint64_t)(int64_t)by;
            expect_broken("usage: largest usable interval of a subtree is wrong");
        }
    }
}

/* ---- how nodes hang together --------------------------------------------- */

static void usage_audit_sees_wrong_links(void **state)
{
    static const uint64_t wrong[] = {
        UINT64_MAX, 0, 64, RAM_START, RAM_START + 63, RAM_START + 65
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        two_levels()->child[3] = wrong[i];
        expect_broken("usage: node is no part of a page frame");
    }
    struct inner *root = two_levels();
    root->child[3] = (root->child[3] & ~UINT64_C(4095)) + 64 + 7 * 576; /* behind the last */
    expect_broken("usage: node is no part of a page frame");
    root = two_levels();
    root->child[3] = usage.root.addr;
    expect_broken("usage: leaves are not all at one height");
    three_levels();
    usage.height = 1;
    expect_broken("usage: leaves are not all at one height");
    two_levels();
    usage.height = 2;
    usage.inners.used_count = 9;
    expect_broken("usage: leaves are not all at one height");
    root = two_levels();
    root->child[3] = root->child[2]; /* seen twice */
    expect_broken("usage: intervals overlap or are out of order");
    two_levels();
    usage.height = 13;
    expect_broken("usage: more levels than there can be");
    empty_map(4);
    usage.height = 1;
    expect_broken("usage: an empty map has a height");
}

static void usage_audit_sees_wrong_counts_of_nodes(void **state)
{
    (void)state;
    two_levels();
    usage.leaves.used_count--;
    expect_broken("usage: more nodes than counted, or a cycle");
    three_levels();
    usage.inners.used_count--;
    expect_broken("usage: more nodes than counted, or a cycle");
    two_levels();
    usage.leaves.used_count++;
    expect_broken("usage: fewer nodes than counted");
    two_levels();
    usage.inners.used_count++;
    expect_broken("usage: fewer nodes than counted");
    two_levels();
    usage.leaves.free_count++;
    expect_broken("usage: fewer free nodes than counted");
    two_levels();
    usage.inners.free_count++;
    expect_broken("usage: fewer free nodes than counted");
    two_levels();
    usage.inners.free_count--;
    expect_broken("usage: more free nodes than counted, or a cycle");
    two_levels();
    usage.node_frame_count++;
    expect_broken("usage: frames are not what their nodes add up to");
}

/* ---- frames -------------------------------------------------------------- */

/* Frames in which a node is free, in a list: at least three with leaves. */
static struct frame *frames_with_free_leaves(void)
{
    (void)two_levels();
    assert_int_equal(loam_usage_cut(&usage, pages(0, 700)), LOAM_OK);
    for (uint64_t i = 0; usage.leaves.free_count < 4; i++)
        assert_int_equal(loam_usage_insert(&usage, pages(2 * i, 1), LOAM_OWNER_BAD), LOAM_OK);
    check_sound();
    return machine_ram(usage.leaves.partial.addr);
}

static void usage_audit_sees_wrong_frames(void **state)
{
    (void)state;
    struct inner *root = two_levels();
    const uint64_t slot = ((root->child[3] & 4095) - 64) / 576;
    frame_of(root->child[3])->free_nodes |= UINT64_C(1) << slot;
    expect_broken("usage: node in use is marked free");
    frames_with_free_leaves()->free_nodes = 0;
    expect_broken("usage: frame on the list has no free node, or no other");
    frames_with_free_leaves()->free_nodes |= 1u << 7;
    expect_broken("usage: frame on the list has no free node, or no other");
    struct frame *frame = frames_with_free_leaves();
    frame->free_nodes &= frame->free_nodes - 1;
    if (frame->free_nodes != 0)
        expect_broken("usage: fewer free nodes than counted");
    frame = frames_with_free_leaves();
    frame->before = usage.leaves.partial.addr;
    expect_broken("usage: list of frames with free nodes is broken");
    frame = frames_with_free_leaves();
    frame->next = usage.leaves.partial.addr;
    expect_broken("usage: list of frames with free nodes is broken");
    (void)frames_with_free_leaves();
    usage.leaves.partial.addr += 8;
    expect_broken("usage: frame of nodes is not a page frame");
    (void)frames_with_free_leaves();
    usage.leaves.partial.addr = 0;
    expect_broken("usage: frame of nodes is not a page frame");
    (void)frames_with_free_leaves();
    usage.leaves.partial = usage.inners.partial;
    expect_broken("usage: list of frames with free nodes is broken");
    (void)frames_with_free_leaves();
    usage.leaves.partial = loam_phys_none();
    expect_broken("usage: fewer free nodes than counted");
}

/* A frame on the list without a node of the tree should be in the stock. */
static void usage_audit_sees_an_idle_frame(void **state)
{
    loam_phys list;

    (void)state;
    empty_map(4);
    fill(3);
    assert_int_equal(loam_stock_take(&stock, 1, &list), LOAM_OK);
    const loam_phys at = loam_stock_next(&stock, &list);
    struct frame *frame = machine_ram(at.addr);
    struct frame *head = machine_ram(usage.leaves.partial.addr);
    frame->next = usage.leaves.partial.addr;
    frame->before = UINT64_MAX;
    frame->free_nodes = 0x7f;
    frame->node_bytes = 576;
    head->before = at.addr;
    usage.leaves.partial = at;
    usage.leaves.free_count += 7;
    usage.node_frame_count++;
    expect_broken("usage: frame on the list has no free node, or no other");
    frame->free_nodes = 0x3f; /* as if one were in the tree */
    usage.leaves.free_count--;
    expect_broken("usage: frames are not what their nodes add up to");
}

/* ---- totals -------------------------------------------------------------- */

static void usage_audit_sees_wrong_totals(void **state)
{
    (void)state;
    two_levels();
    usage.interval_count++;
    expect_broken("usage: interval count is wrong");
    for (unsigned owner = 0; owner < LOAM_OWNERS; owner++) {
        two_levels();
        usage.total_bytes[owner] ^= 1;
        expect_broken("usage: bytes of an owner are wrong");
        two_levels();
        usage.owner_count[owner] ^= 1;
        expect_broken("usage: interval count of an owner is wrong");
    }
    leaf_of(two_levels(), 3)->owner[1] = LOAM_OWNER_BAD; /* was KERNEL */
    expect_broken("usage: interval count of an owner is wrong");
}

/* ---- what is largest is believed ----------------------------------------- */

/* A search looks into no subtree whose largest is too small: where the tree lies,
 * it finds nothing. */
static void usage_find_skips_by_what_is_largest(void **state)
{
    const struct loam_usage_request page = { .owner = LOAM_OWNER_USABLE, .size = PAGES(1) };
    const struct loam_usage_request kernel = { .owner = LOAM_OWNER_KERNEL, .size = PAGES(1) };
    const struct loam_usage_request above = { .owner = LOAM_OWNER_USABLE,
                                              .size = PAGES(1),
                                              .from = PAGES(100) };

    (void)state;
    struct inner *root = two_levels();
    for (uint64_t i = 0; i < root->count; i++)
        root->largest[i].gap = root->largest[i].usable = PAGES(1) - 1;
    struct leaf *first = leaf_of(root, 0);
    for (unsigned i = 0; i < 16; i++)
        first->owner[i] = LOAM_OWNER_BAD;
    assert_true(loam_phys_is_none(loam_usage_find(&usage, &page)));
    assert_int_equal(loam_usage_find(&usage, &kernel).addr, PAGES(34)); /* not skipped */
    root->largest[7].gap = root->largest[7].usable = PAGES(1);
    assert_int_equal(loam_usage_find(&usage, &page).addr, PAGES(2 * 7 * 16));
    assert_int_equal(loam_usage_find_gap(&usage, &above).addr, PAGES(101)); /* in its own leaf */
    const struct loam_usage_request later = { .owner = LOAM_OWNER_USABLE,
                                              .size = PAGES(1),
                                              .from = PAGES(158) };
    assert_int_equal(loam_usage_find_gap(&usage, &later).addr, PAGES(2 * 7 * 16 - 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usage_audit_sees_wrong_intervals),
        cmocka_unit_test(usage_audit_sees_wrong_keys),
        cmocka_unit_test(usage_audit_sees_wrong_counts_of_children),
        cmocka_unit_test(usage_audit_sees_wrong_largest),
        cmocka_unit_test(usage_audit_sees_wrong_links),
        cmocka_unit_test(usage_audit_sees_wrong_counts_of_nodes),
        cmocka_unit_test(usage_audit_sees_wrong_frames),
        cmocka_unit_test(usage_audit_sees_an_idle_frame),
        cmocka_unit_test(usage_audit_sees_wrong_totals),
        cmocka_unit_test(usage_find_skips_by_what_is_largest),
    };
    return RUN_TESTS(tests);
}
