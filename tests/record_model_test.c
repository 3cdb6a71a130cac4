/*
 * record_model_test.c - any sequence of calls, against an array with what is known of
 * each page. Wrong calls must panic with the right rule and change nothing.
 *
 *     page    [ H3/2 . . . . . . . | H0/1 | P | F | F ... )
 *               head, references     ...    plain, free
 */
#include "record_world.h"

#define BASE   UINT64_C(3584) /* page; the zones' border at 4096 is inside */
#define PAGES  (3 * BLOCK)
#define ROUNDS 40000

enum kind { FREE, PLAIN, HEAD, REST };

struct page {
    enum kind kind;
    unsigned order;
    unsigned count;
};

static struct page model[PAGES];

static void set_all(uint64_t page, uint64_t count, enum kind from, enum kind to)
{
    for (uint64_t i = page - BASE; i < page - BASE + count; i++) {
        assert_int_equal(model[i].kind, from);
        model[i] = (struct page){ to, 0, 0 };
    }
}

static void set_block(uint64_t page, unsigned order, enum kind from)
{
    set_all(page, UINT64_C(1) << order, from, REST);
    model[page - BASE] = (struct page){ HEAD, order, 1 };
}

/* First page of the block that a page is in. */
static uint64_t head_of(uint64_t page)
{
    while (model[page - BASE].kind == REST)
        page--;
    return page;
}

/* ---- steps --------------------------------------------------------------- */

static void fill(uint64_t page, uint64_t count)
{
    if (record.poison)
        memset(machine_ram(BYTES(page)), (int)test_random_below(256), BYTES(count));
}

static void step_alloc(void)
{
    const unsigned order = (unsigned)test_random_below(test_random_below(10) + 1);
    const uint64_t page = share_any(order);
    if (page == NONE)
        return;
    assert_int_equal(page % (UINT64_C(1) << order), 0);
    set_block(page, order, FREE);
    fill(page, UINT64_C(1) << order);
}

/* Take frames from the frame allocator; adopt them in one way or another, or not. */
static void step_plain(void)
{
    const unsigned order = (unsigned)test_random_below(6);
    const uint64_t count = UINT64_C(1) << order;
    const uint64_t page = take_any(order, LOAM_ZONE_ANY);
    if (page == NONE)
        return;
    set_all(page, count, FREE, PLAIN);
    switch (test_random_below(3)) {
    case 0:
        loam_record_forget(&record, range_of(page, page + count));
        break;
    case 1:
        loam_record_adopt(&record, at_page(page), order);
        set_block(page, order, PLAIN);
        break;
    default:
        loam_record_adopt_range(&record, range_of(page, page + count));
        for (uint64_t i = 0; i < count; i++)
            set_block(page + i, 0, PLAIN);
        break;
    }
    fill(page, count);
}

static void step_put(uint64_t page)
{
    struct page *const at = &model[page - BASE];
    const unsigned order = at->order;
    if (at->kind == PLAIN) {
        set_all(page, 1, PLAIN, FREE);
        give_any(page, 0);
    } else if (at->kind == HEAD && at->count > 1) {
        at->count--;
        assert_false(loam_record_put(&record, at_page(page), order));
    } else if (at->kind == HEAD) {
        assert_true(loam_record_put(&record, at_page(page), order));
        *at = (struct page){ REST, 0, 0 };
        set_all(page, UINT64_C(1) << order, REST, FREE);
    }
}

static void step_get(uint64_t page)
{
    struct page *const at = &model[page - BASE];
    if (at->kind == HEAD) {
        at->count++;
        loam_record_get(&record, at_page(page));
    }
}

static void step_split(uint64_t page)
{
    const struct page at = model[page - BASE];
    if (at.kind != HEAD || at.count != 1)
        return;
    loam_record_split(&record, at_page(page), at.order);
    for (uint64_t i = 0; i < UINT64_C(1) << at.order; i++)
        model[page - BASE + i] = (struct page){ HEAD, 0, 1 };
}

/* ---- wrong steps --------------------------------------------------------- */

/* What is wrong with a call that names a block of this order. */
static const char *rule_of(uint64_t page, unsigned order)
{
    const struct page at = model[page - BASE];
    if (at.kind == REST)
        return INSIDE;
    return at.kind != HEAD ? UNKNOWN : at.order != order ? WRONG : NULL;
}

static void step_wrong(uint64_t page)
{
    const unsigned order = (unsigned)test_random_below(LOAM_ORDER_MAX + 3);
    const struct page at = model[page - BASE];
    const char *const rule = rule_of(page, order);
    const uint64_t detail = at.kind == REST ? BYTES(head_of(page)) : at.kind == HEAD ? at.order : 0;
    if (rule != NULL) {
        EXPECT_WRONG(rule, BYTES(page), detail, loam_record_put(&record, at_page(page), order));
        EXPECT_WRONG(rule, BYTES(page), detail, loam_record_split(&record, at_page(page), order));
    }
    if (at.kind != HEAD && rule != NULL)
        EXPECT_WRONG(rule, BYTES(page), detail, loam_record_get(&record, at_page(page)));
    if (at.kind == HEAD && at.count > 1)
        EXPECT_WRONG(SHARED, BYTES(page), at.count,
                     loam_record_split(&record, at_page(page), at.order));
    if (at.kind == HEAD || at.kind == REST)
        EXPECT_WRONG(HAS_ONE, BYTES(page), model[head_of(page) - BASE].order,
                     loam_record_adopt(&record, at_page(page), 0));
}

/* ---- comparison ---------------------------------------------------------- */

static void compare_all(void)
{
    expect_records_sound();
    for (uint64_t page = BASE; page < BASE + PAGES; page++) {
        const struct page at = model[page - BASE];
        struct loam_record_block block = { { 0 }, 0, 0 };
        const bool found = loam_record_find(&record, at_page(page), &block);
        assert_int_equal(found, at.kind == HEAD || at.kind == REST);
        assert_int_equal(loam_record_count(&record, at_page(page)), at.count);
        assert_int_equal(loam_frame_free_in(&frame, range_of(page, page + 1)), at.kind == FREE);
        if (!found)
            continue;
        const struct page head = model[head_of(page) - BASE];
        assert_int_equal(block.start.addr, BYTES(head_of(page)));
        assert_int_equal(block.order, head.order);
        assert_int_equal(block.count, head.count);
    }
}

static void run(bool poison)
{
    memset(model, 0, sizeof(model));
    RECORDS(poison, 2, { BASE, BASE + PAGES });
    const uint64_t empty = record_digest();
    for (unsigned round = 0; round < ROUNDS; round++) {
        const uint64_t page = BASE + test_random_below(PAGES);
        const unsigned what = (unsigned)test_random_below(64);
        machine_set_cpu(round / 16 % 2);
        if (what < 10)
            step_alloc();
        else if (what < 14)
            step_plain();
        else if (what < 40)
            step_put(model[page - BASE].kind == REST ? head_of(page) : page);
        else if (what < 50)
            step_get(page);
        else if (what < 56)
            step_split(page);
        else if (what < 57)
            step_wrong(page);
        if (round % 1000 == 0)
            compare_all();
    }
    compare_all();
    for (uint64_t page = BASE; page < BASE + PAGES; page++)
        while (model[page - BASE].kind == HEAD || model[page - BASE].kind == PLAIN)
            step_put(page);
    compare_all();
    assert_int_equal(record_digest(), empty);
    expect_all_free();
}

static void records_agree_with_an_array(void **state)
{
    (void)state;
    run(false);
}

static void records_with_poison_agree_with_an_array(void **state)
{
    (void)state;
    run(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_agree_with_an_array),
        cmocka_unit_test(records_with_poison_agree_with_an_array),
    };

    return RUN_TESTS(tests);
}
