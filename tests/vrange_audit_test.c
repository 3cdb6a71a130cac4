/*
 * vrange_audit_test.c - the audit sees each thing that can be wrong in the tree, in
 * the lists and in the counts.
 */
#include "vrange_world.h"

static void expect_broken(const char *rule)
{
    const char *found = loam_vrange_audit(&vrange);
    assert_non_null(found);
    assert_string_equal(found, rule);
}

static struct loam_vrange_record *record_at(uint64_t page)
{
    struct loam_vrange_record *at = vrange.window[0].root;
    const uint64_t first = (HIGH >> LOAM_PAGE_SHIFT) + page;

    while (at->first != first)
        at = at->first > first ? at->left : at->right;
    return at;
}

/* One page in use out of three, 20 times; page 0 waits in the queue, and page 3. */
static void twenty_ranges(void)
{
    one_window(2, 100);
    for (uint64_t i = 0; i < 20; i++)
        assert_int_equal(reserve_plain(3 * i, 1), LOAM_OK);
    free_pages(0, 1);
    free_pages(3, 1);
    check_sound();
}

/* Write a wrong value, look, and put the right one back. */
#define BREAK(field, wrong, rule)      \
    do {                               \
        const uint64_t was_ = (field); \
        (field) = (wrong);             \
        expect_broken(rule);           \
        (field) = was_;                \
        check_sound();                 \
    } while (0)

#define BREAK_LINK(field, wrong, rule)                   \
    do {                                                 \
        struct loam_vrange_record *const was_ = (field); \
        (field) = (wrong);                               \
        expect_broken(rule);                             \
        (field) = was_;                                  \
        check_sound();                                   \
    } while (0)

static void audit_sees_wrong_counts(void **state)
{
    (void)state;
    twenty_ranges();
    BREAK(vrange.record_count, 21, "vrange: range count is wrong");
    BREAK(vrange.record_count, 19, "vrange: range count is wrong");
    BREAK(vrange.used_pages, 17, "vrange: pages in use are counted wrong");
    BREAK(vrange.waiting_count, 3, "vrange: what waits is counted wrong");
    BREAK(vrange.waiting_pages, 3, "vrange: what waits is counted wrong");
    BREAK(vrange.queued_count, 3, "vrange: more is queued than waits");
    BREAK(vrange.queued_count, 1, "vrange: more is queued than counted, or a cycle");
    BREAK(vrange.queued_pages, 1, "vrange: queued pages are counted wrong");
    BREAK(vrange.queued_low, vrange.queued_low + 1, "vrange: queued range is outside of the span");
    BREAK(vrange.queued_high, vrange.queued_high - 1,
          "vrange: queued range is outside of the span");
    BREAK(vrange.free_records, 31, "vrange: fewer free records than counted");
    BREAK(vrange.free_records, 29, "vrange: more free records than counted, or a cycle");
    BREAK(vrange.version, vrange.version + 1, "vrange: a change has not ended");
    BREAK(vrange.node_frame_count, 2, "vrange: frames are not what their records add up to");
}

static void audit_sees_a_wrong_record(void **state)
{
    (void)state;
    twenty_ranges();
    struct loam_vrange_record *record = record_at(9);
    BREAK(record->gap, 1, "vrange: gap does not reach to the range before");
    BREAK(record->first, record->first + 1, "vrange: gap does not reach to the range before");
    BREAK(record->pages, 0, "vrange: range is nothing but guards");
    BREAK(record->pages, 2, "vrange: gap does not reach to the range before");
    BREAK_LINK(record->next, record, "vrange: range in use is on a list");
    BREAK(record->shape, (uint64_t)LOAM_VRANGE_FREE << 48, "vrange: unknown state");
    BREAK(record->shape, (uint64_t)LOAM_VRANGE_WAITING << 48,
          "vrange: pages in use are counted wrong");
    BREAK(record->shape, (uint64_t)LOAM_VRANGE_CACHED << 48,
          "vrange: what is cached is not what the CPUs keep");
    BREAK(record->shape, record->shape | 1u << 16, "vrange: range is nothing but guards");
    record = record_at(3);
    BREAK_LINK(record->next, NULL, "vrange: queue is broken");
    BREAK_LINK(vrange.queued, record_at(9), "vrange: queue is broken");
    record = record_at(0);
    BREAK_LINK(record->next, record_at(3), "vrange: more is queued than counted, or a cycle");
}

static void audit_sees_a_wrong_tree(void **state)
{
    (void)state;
    twenty_ranges();
    struct loam_vrange_record *root = vrange.window[0].root;
    uint64_t page = 0;
    while (record_at(page)->right == NULL) /* one that is looked at before its child */
        page += 3;
    struct loam_vrange_record *child = record_at(page)->right;
    BREAK_LINK(child->parent, child, "vrange: child has another parent");
    BREAK_LINK(root->parent, child, "vrange: root is not on top");
    BREAK(vrange.window[0].end.pages, 1, "vrange: end of the window is wrong");
    BREAK(vrange.window[0].end.gap, 1, "vrange: end of the window is wrong");
    struct loam_vrange_record *record = record_at(9);
    BREAK(record->largest, 100, "vrange: largest gap is wrong");
    struct loam_vrange_record *lowest = record_at(0);
    BREAK_LINK(lowest->left, lowest, "vrange: root is not on top"); /* a cycle */
}

/* Two ranges with the one of lower priority above the other. */
static void audit_sees_a_wrong_priority(void **state)
{
    (void)state;
    one_window(1, 100);
    assert_int_equal(reserve_plain(0, 1), LOAM_OK);
    struct loam_vrange_window *window = &vrange.window[0];
    struct loam_vrange_record *record = record_at(0);
    struct loam_vrange_record *end = &window->end;
    if (window->root == end) {
        end->left = NULL;
        end->parent = record;
        end->largest = end->gap;
        record->right = end;
        record->parent = NULL;
        record->largest = end->gap;
        window->root = record;
    } else {
        record->right = NULL;
        record->parent = end;
        record->largest = 0;
        end->left = record;
        end->parent = NULL;
        window->root = end;
    }
    expect_broken("vrange: child has a higher priority");
}

static void audit_sees_a_missing_end(void **state)
{
    (void)state;
    one_window(1, 100);
    assert_int_equal(reserve_plain(0, 1), LOAM_OK);
    struct loam_vrange_record *record = record_at(0);
    vrange.window[0].root = record;
    record->left = NULL;
    record->right = NULL;
    record->parent = NULL;
    expect_broken("vrange: end of the window is missing");
}

struct frame {
    struct frame *next, *before;
    uint64_t free_records;
};

static void audit_sees_a_wrong_frame(void **state)
{
    (void)state;
    twenty_ranges();
    struct frame *frame = (struct frame *)(void *)vrange.partial;
    BREAK(frame->free_records, 0, "vrange: frame on the list has no free record, or no other");
    BREAK(frame->free_records, (UINT64_C(1) << 50) - 1,
          "vrange: frame on the list has no free record, or no other");
    BREAK(frame->free_records, UINT64_C(1) << 50,
          "vrange: frame on the list has no free record, or no other");
    BREAK(frame->free_records, frame->free_records & (frame->free_records - 1),
          "vrange: fewer free records than counted");
    frame->before = frame;
    expect_broken("vrange: list of frames with free records is broken");
    frame->before = NULL;
    frame->next = frame;
    expect_broken("vrange: list of frames with free records is broken");
    frame->next = NULL;
    check_sound();
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(audit_sees_wrong_counts),  cmocka_unit_test(audit_sees_a_wrong_record),
        cmocka_unit_test(audit_sees_a_wrong_tree),  cmocka_unit_test(audit_sees_a_wrong_priority),
        cmocka_unit_test(audit_sees_a_missing_end), cmocka_unit_test(audit_sees_a_wrong_frame),
    };
    return RUN_TESTS(tests);
}
