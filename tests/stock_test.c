/*
 * stock_test.c - the reserve of frames, on simulated RAM.
 */
#include <loam/boot/adapter.h>
#include <loam/stock.h>

#include "harness.h"
#include "machine.h"

#include <string.h>

#define PAGES(n) ((uint64_t)(n)*LOAM_PAGE_SIZE)

#define RAM_START   PAGES(16)
#define RAM_PAGES   64u
#define EARLY_START PAGES(256)

static struct loam_stock stock;
static struct loam_early early;

/* RAM [16, 80) and [256, 256 + early_pages) pages; the second belongs to the
 * early allocator. All of it is dirty. */
static void power_on(uint64_t early_pages)
{
    static struct loam_memmap_entry storage[LOAM_MEMMAP_STORAGE(1)];
    static struct loam_early_record records[LOAM_EARLY_RECORDS(1, 0)];

    machine_reset(1);
    machine_add_ram(RAM_START, PAGES(RAM_PAGES));
    memset(machine_ram(RAM_START), 0xa5, PAGES(RAM_PAGES));
    if (early_pages == 0)
        return;

    machine_add_ram(EARLY_START, PAGES(early_pages));
    memset(machine_ram(EARLY_START), 0xa5, PAGES(early_pages));
    const struct loam_memmap_entry raw[] = {
        { loam_phys_range_of(loam_phys_at(EARLY_START), PAGES(early_pages)), LOAM_MEM_USABLE },
    };
    const struct loam_memmap_request request = {
        .raw = raw,
        .raw_count = 1,
        .storage = storage,
        .storage_count = LOAM_MEMMAP_STORAGE(1),
        .phys_bits = 46,
    };
    struct loam_memmap map;
    assert_int_equal(loam_memmap_init(&map, &request, NULL), LOAM_OK);
    assert_int_equal(loam_early_init(&early, &map, records, LOAM_EARLY_RECORDS(1, 0)), LOAM_OK);
    assert_int_equal(early.free_pages, early_pages);
}

/* A stock of its own with frames [16, 16 + frames). */
static void stock_of(uint64_t frames)
{
    power_on(0);
    loam_stock_init(&stock, machine_hhdm(), NULL);
    if (frames > 0)
        loam_stock_add(&stock, loam_phys_range_of(loam_phys_at(RAM_START), PAGES(frames)));
}

static void check_sound(uint64_t frames, uint64_t out)
{
    assert_null(loam_stock_audit(&stock));
    assert_int_equal(stock.frame_count, frames);
    assert_int_equal(stock.out_count, out);
}

static bool is_zero(loam_phys frame)
{
    const unsigned char *byte = machine_ram(frame.addr);
    for (uint64_t i = 0; i < LOAM_PAGE_SIZE; i++) {
        if (byte[i] != 0)
            return false;
    }
    return true;
}

/* Take one frame, which must be zero; dirty it. */
static loam_phys take_one(void)
{
    loam_phys list;
    assert_int_equal(loam_stock_take(&stock, 1, &list), LOAM_OK);
    const loam_phys frame = loam_stock_next(&stock, &list);
    assert_true(loam_phys_is_none(list));
    assert_true(is_zero(frame));
    memset(machine_ram(frame.addr), 0x5a, LOAM_PAGE_SIZE);
    return frame;
}

/* ---- examples ------------------------------------------------------------ */

/*
 *   add   [16 17 18 19)
 *   take 3 --> 16, 17, 18, each wholly zero although all were dirty
 */
static void stock_gives_zeroed_frames_as_a_list(void **state)
{
    loam_phys list;

    (void)state;
    stock_of(4);
    check_sound(4, 0);
    assert_int_equal(loam_stock_take(&stock, 3, &list), LOAM_OK);
    for (uint64_t i = 0; i < 3; i++) {
        const loam_phys frame = loam_stock_next(&stock, &list);
        assert_int_equal(frame.addr, RAM_START + PAGES(i));
        assert_true(is_zero(frame));
    }
    assert_true(loam_phys_is_none(list));
    assert_true(loam_phys_is_none(loam_stock_next(&stock, &list)));
    check_sound(1, 3);
}

/* Neighbours of what is taken are not written to: page 20 was never added. */
static void stock_touches_only_its_own_frames(void **state)
{
    const unsigned char *beyond = machine_ram(RAM_START + PAGES(4));

    (void)state;
    stock_of(4);
    loam_phys list;
    assert_int_equal(loam_stock_take(&stock, 4, &list), LOAM_OK);
    for (uint64_t i = 0; i < LOAM_PAGE_SIZE; i++)
        assert_int_equal(beyond[i], 0xa5);
    check_sound(0, 4);
}

/* The first word of every waiting frame reads "not present": bit 0 clear. */
static void stock_links_look_not_present(void **state)
{
    (void)state;
    stock_of(5);
    for (uint64_t i = 0; i < 5; i++) {
        const uint64_t *word = machine_ram(RAM_START + PAGES(i));
        assert_true(loam_is_page_aligned(*word));
    }
    const uint64_t *last = machine_ram(RAM_START + PAGES(4));
    assert_int_equal(*last, 0);
}

/* What was put back is taken next, and is zero again. */
static void stock_takes_back_and_gives_again(void **state)
{
    (void)state;
    stock_of(2);
    const loam_phys a = take_one();
    const loam_phys b = take_one();
    check_sound(0, 2);
    loam_stock_put(&stock, a);
    check_sound(1, 1);
    assert_int_equal(take_one().addr, a.addr);
    loam_stock_put(&stock, b);
    loam_stock_put(&stock, a);
    check_sound(2, 0);
}

/* Two ranges and single frames add up; none is lost. */
static void stock_grows_by_several_ranges(void **state)
{
    (void)state;
    stock_of(3);
    loam_stock_add(&stock, loam_phys_range_of(loam_phys_at(PAGES(40)), PAGES(1)));
    loam_stock_add(&stock, loam_phys_range_of(loam_phys_at(PAGES(50)), PAGES(6)));
    check_sound(10, 0);
    uint64_t seen = 0; /* one bit per page */
    for (int i = 0; i < 10; i++)
        seen |= UINT64_C(1) << (take_one().addr >> LOAM_PAGE_SHIFT);
    assert_int_equal(seen, UINT64_C(7) << 16 | UINT64_C(1) << 40 | UINT64_C(63) << 50);
    check_sound(0, 10);
}

/* ---- all or none --------------------------------------------------------- */

/* 3 frames: 4 are refused, as is every absurd number; 3 are not. */
static void stock_take_is_all_or_none(void **state)
{
    static const uint64_t counts[] = {
        4,
        5,
        (UINT64_C(1) << 52) - 1,
        UINT64_C(1) << 52,
        (UINT64_C(1) << 63) - 1,
        UINT64_C(1) << 63,
        UINT64_MAX - 4095,
        UINT64_MAX - 1,
        UINT64_MAX,
    };
    loam_phys list = loam_phys_at(42);

    (void)state;
    stock_of(3);
    const uint64_t digest = loam_stock_digest(&stock);
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        assert_int_equal(loam_stock_take(&stock, counts[i], &list), LOAM_NO_MEMORY);
        assert_int_equal(list.addr, 42);
        assert_int_equal(loam_stock_digest(&stock), digest);
        check_sound(3, 0);
    }
    assert_int_equal(loam_stock_take(&stock, 3, &list), LOAM_OK);
    check_sound(0, 3);
    assert_int_not_equal(loam_stock_digest(&stock), digest);
    assert_int_equal(loam_stock_take(&stock, 1, &list), LOAM_NO_MEMORY);
}

/* ---- the early allocator ------------------------------------------------- */

/* Own frames first; the early allocator gives only what is missing. */
static void stock_draws_on_early_what_is_missing(void **state)
{
    loam_phys list;

    (void)state;
    power_on(8);
    loam_stock_init(&stock, machine_hhdm(), &early);
    loam_stock_add(&stock, loam_phys_range_of(loam_phys_at(RAM_START), PAGES(2)));

    assert_int_equal(loam_stock_take(&stock, 2, &list), LOAM_OK);
    assert_int_equal(early.free_pages, 8);
    loam_stock_put(&stock, loam_stock_next(&stock, &list));

    assert_int_equal(loam_stock_take(&stock, 4, &list), LOAM_OK);
    assert_int_equal(early.free_pages, 5);
    check_sound(0, 5);
    for (loam_phys frame = loam_stock_next(&stock, &list); !loam_phys_is_none(frame);
         frame = loam_stock_next(&stock, &list))
        assert_true(is_zero(frame));
}

/* 2 of its own and 3 early pages: 6 are refused, and early still has its 3. */
static void stock_refused_take_draws_nothing(void **state)
{
    loam_phys list;

    (void)state;
    power_on(3);
    loam_stock_init(&stock, machine_hhdm(), &early);
    loam_stock_add(&stock, loam_phys_range_of(loam_phys_at(RAM_START), PAGES(2)));
    const uint64_t digest = loam_stock_digest(&stock);
    const uint64_t early_digest = loam_early_digest(&early);

    assert_int_equal(loam_stock_take(&stock, 6, &list), LOAM_NO_MEMORY);
    assert_int_equal(loam_stock_take(&stock, UINT64_MAX, &list), LOAM_NO_MEMORY);
    assert_int_equal(loam_stock_digest(&stock), digest);
    assert_int_equal(loam_early_digest(&early), early_digest);
    check_sound(2, 0);
    assert_int_equal(loam_stock_take(&stock, 5, &list), LOAM_OK);
    assert_int_equal(early.free_pages, 0);
    check_sound(0, 5);
}

/* After detaching, the early allocator is left alone. */
static void stock_detached_does_not_draw(void **state)
{
    loam_phys list;

    (void)state;
    power_on(3);
    loam_stock_init(&stock, machine_hhdm(), &early);
    const loam_phys frame = take_one();
    loam_stock_detach(&stock);
    assert_int_equal(loam_stock_take(&stock, 1, &list), LOAM_NO_MEMORY);
    assert_int_equal(early.free_pages, 2);
    loam_stock_put(&stock, frame);
    assert_int_equal(take_one().addr, frame.addr);
}

/* A take from frames of its own has one step that can fail. */
static void stock_take_of_own_frames_survives_its_failure(void **state)
{
    unsigned refused = 0;

    (void)state;
    INJECT_EACH_POINT
    {
        loam_phys list;
        stock_of(3);
        INJECT_ARM();
        const enum loam_status status = loam_stock_take(&stock, 2, &list);
        INJECT_DISARM();
        assert_int_equal(status, inject_fired() ? LOAM_NO_MEMORY : LOAM_OK);
        check_sound(inject_fired() ? 3 : 1, inject_fired() ? 0 : 2);
        refused += inject_fired() ? 1 : 0;
    }
    assert_int_equal(refused, 2); /* once, and from there on */
}

/* Each step of a take fails in turn: nothing is taken, nothing is lost, and the
 * next take succeeds. */
static void stock_take_survives_each_failure(void **state)
{
    unsigned refused = 0;

    (void)state;
    INJECT_EACH_POINT
    {
        loam_phys list;
        power_on(4);
        loam_stock_init(&stock, machine_hhdm(), &early);
        loam_stock_add(&stock, loam_phys_range_of(loam_phys_at(RAM_START), PAGES(1)));
        const uint64_t digest = loam_stock_digest(&stock);
        INJECT_ARM();
        const enum loam_status status = loam_stock_take(&stock, 4, &list);
        INJECT_DISARM();
        assert_null(loam_stock_audit(&stock));
        if (inject_fired()) {
            assert_int_equal(status, LOAM_NO_MEMORY);
            assert_int_equal(stock.out_count, 0);
            assert_int_equal(loam_stock_digest(&stock), digest);
            assert_int_equal(loam_stock_take(&stock, 5, &list), LOAM_OK);
            refused++;
        } else {
            assert_int_equal(status, LOAM_OK);
            check_sound(0, 4);
        }
    }
    assert_true(refused >= 2 * 2); /* its own point and that of early, twice */
}

/* What is removed counts neither as in nor as out, and early is left alone. */
static void stock_removes_frames_for_good(void **state)
{
    (void)state;
    power_on(3);
    loam_stock_init(&stock, machine_hhdm(), &early);
    loam_stock_add(&stock, loam_phys_range_of(loam_phys_at(RAM_START), PAGES(3)));
    const loam_phys out = take_one();
    assert_int_equal(loam_stock_level(&stock), 2);
    loam_stock_put(&stock, out);
    assert_int_equal(loam_stock_remove(&stock).addr, out.addr); /* the newest first */
    check_sound(2, 0);
    assert_int_equal(loam_stock_remove(&stock).addr, RAM_START + PAGES(1));
    assert_int_equal(loam_stock_remove(&stock).addr, RAM_START + PAGES(2));
    assert_int_equal(loam_stock_level(&stock), 0);
    assert_true(loam_phys_is_none(loam_stock_remove(&stock)));
    assert_int_equal(early.free_pages, 3);
    check_sound(0, 0);
}

/* ---- against a model ----------------------------------------------------- */

/* Random adds, takes and puts: no frame is in two hands, all are accounted. */
static void stock_agrees_with_a_set_of_frames(void **state)
{
    uint64_t in = 0; /* one bit per page of RAM */
    uint64_t out = 0;

    (void)state;
    stock_of(0);
    for (int round = 0; round < 4000; round++) {
        const uint64_t page = test_random_below(RAM_PAGES);
        const uint64_t bit = UINT64_C(1) << page;
        const uint64_t want = 1 + test_random_below(6);
        loam_phys list;
        if ((in | out) != UINT64_MAX && ((in | out) & bit) == 0 && test_random_below(4) == 0) {
            loam_stock_add(&stock,
                           loam_phys_range_of(loam_phys_at(RAM_START + PAGES(page)), PAGES(1)));
            in |= bit;
        } else if ((out & bit) != 0) {
            loam_stock_put(&stock, loam_phys_at(RAM_START + PAGES(page)));
            out &= ~bit;
            in |= bit;
        } else if (loam_stock_take(&stock, want, &list) == LOAM_OK) {
            for (uint64_t i = 0; i < want; i++) {
                const loam_phys frame = loam_stock_next(&stock, &list);
                const uint64_t taken = UINT64_C(1) << ((frame.addr - RAM_START) >> LOAM_PAGE_SHIFT);
                assert_true((in & taken) != 0);
                assert_true(is_zero(frame));
                memset(machine_ram(frame.addr), 0xff, LOAM_PAGE_SIZE);
                in &= ~taken;
                out |= taken;
            }
            assert_true(loam_phys_is_none(list));
        } else {
            assert_true((uint64_t)__builtin_popcountll(in) < want);
        }
        check_sound((uint64_t)__builtin_popcountll(in), (uint64_t)__builtin_popcountll(out));
    }
}

/* Two stocks in one machine do not know of each other. */
static void stock_instances_are_independent(void **state)
{
    struct loam_stock other;

    (void)state;
    stock_of(2);
    loam_stock_init(&other, machine_hhdm(), NULL);
    loam_stock_add(&other, loam_phys_range_of(loam_phys_at(PAGES(40)), PAGES(2)));
    const loam_phys mine = take_one();
    loam_phys list;
    assert_int_equal(loam_stock_take(&other, 2, &list), LOAM_OK);
    check_sound(1, 1);
    assert_int_equal(other.out_count, 2);
    assert_int_not_equal(mine.addr, list.addr);
    assert_null(loam_stock_audit(&other));
}

/* ---- misuse -------------------------------------------------------------- */

static void stock_wants_a_genuine_direct_map(void **state)
{
    const struct loam_hhdm made_up = { PAGES(1), 0 };

    (void)state;
    power_on(0);
    EXPECT_PANIC("stock: direct map not from a boot adapter",
                 loam_stock_init(&stock, made_up, NULL));
    assert_int_equal(panic_trap.seen.subject, PAGES(1));
}

static void expect_no_add(const char *rule, uint64_t start, uint64_t size)
{
    EXPECT_PANIC(rule, loam_stock_add(&stock, loam_phys_range_of(loam_phys_at(start), size)));
    assert_int_equal(panic_trap.seen.subject, start);
    assert_int_equal(panic_trap.seen.detail, size);
}

/* Sizes and starts at every edge; only whole frames that exist are accepted. */
static void stock_add_refuses_what_is_no_range_of_frames(void **state)
{
    static const uint64_t unaligned[] = {
        1, 4095, 4097, (UINT64_C(1) << 63) - 1, UINT64_MAX - 1, UINT64_MAX
    };
    const uint64_t half = UINT64_C(1) << 63;

    (void)state;
    stock_of(1);
    const uint64_t digest = loam_stock_digest(&stock);
    expect_no_add("stock: range added is empty", RAM_START, 0);
    for (size_t i = 0; i < sizeof(unaligned) / sizeof(unaligned[0]); i++) {
        expect_no_add("stock: range added is not page-aligned", unaligned[i], PAGES(1));
        expect_no_add("stock: range added is not page-aligned", PAGES(20), unaligned[i]);
    }
    expect_no_add("stock: range added passes 2^64", UINT64_MAX - 4095, PAGES(2));
    expect_no_add("stock: range added passes 2^64", half, half + PAGES(1));
    expect_no_add("stock: frame 0 cannot be kept", 0, PAGES(1));
    assert_int_equal(loam_stock_digest(&stock), digest);
    check_sound(1, 0);
}

static void take_nothing(void)
{
    loam_phys list;
    assert_int_equal(loam_stock_take(&stock, 0, &list), LOAM_OK);
}

static void stock_take_of_nothing_panics(void **state)
{
    (void)state;
    stock_of(1);
    EXPECT_PANIC("stock: no frames asked for", take_nothing());
    check_sound(1, 0);
}

static void expect_no_put(const char *rule, uint64_t frame)
{
    EXPECT_PANIC(rule, loam_stock_put(&stock, loam_phys_at(frame)));
    assert_int_equal(panic_trap.seen.subject, frame);
}

static void stock_put_refuses_what_is_no_frame(void **state)
{
    static const uint64_t bad[] = { 0, 1, RAM_START + 8, RAM_START - 1, UINT64_MAX };

    (void)state;
    stock_of(2);
    take_one();
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        expect_no_put("stock: not a page frame", bad[i]);
    check_sound(1, 1);
}

static void stock_put_of_more_than_was_taken_panics(void **state)
{
    (void)state;
    stock_of(2);
    loam_stock_put(&stock, take_one());
    expect_no_put("stock: more frames put back than taken", PAGES(40));
}

/* At once, and with another put between (the audit level walks the stock). */
static void stock_put_twice_panics(void **state)
{
    (void)state;
    stock_of(3);
    take_one();
    const loam_phys frame = take_one();
    loam_stock_put(&stock, frame);
    expect_no_put("stock: frame put back twice", frame.addr);

    stock_of(3);
    take_one();
    const loam_phys a = take_one();
    const loam_phys b = take_one();
    loam_stock_put(&stock, a);
    loam_stock_put(&stock, b);
    expect_no_put("stock: frame put back twice", a.addr);
}

/* ---- the audit ----------------------------------------------------------- */

static void stock_audit_finds_each_corruption(void **state)
{
    (void)state;
    stock_of(4);
    stock.hhdm.seal++;
    assert_string_equal(loam_stock_audit(&stock), "stock: direct map not from a boot adapter");

    stock_of(4);
    stock.frame_count = 5;
    assert_string_equal(loam_stock_audit(&stock), "stock: fewer frames than counted");

    stock_of(4);
    stock.frame_count = 3;
    assert_string_equal(loam_stock_audit(&stock), "stock: more frames than counted, or a cycle");

    stock_of(4);
    *(uint64_t *)machine_ram(RAM_START + PAGES(1)) |= 8;
    assert_string_equal(loam_stock_audit(&stock), "stock: link is not a page frame");

    stock_of(4); /* 16 -> 17 -> 18 -> 16 */
    *(uint64_t *)machine_ram(RAM_START + PAGES(2)) = RAM_START;
    assert_string_equal(loam_stock_audit(&stock), "stock: more frames than counted, or a cycle");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stock_gives_zeroed_frames_as_a_list),
        cmocka_unit_test(stock_touches_only_its_own_frames),
        cmocka_unit_test(stock_links_look_not_present),
        cmocka_unit_test(stock_takes_back_and_gives_again),
        cmocka_unit_test(stock_grows_by_several_ranges),
        cmocka_unit_test(stock_take_is_all_or_none),
        cmocka_unit_test(stock_draws_on_early_what_is_missing),
        cmocka_unit_test(stock_refused_take_draws_nothing),
        cmocka_unit_test(stock_detached_does_not_draw),
        cmocka_unit_test(stock_take_of_own_frames_survives_its_failure),
        cmocka_unit_test(stock_take_survives_each_failure),
        cmocka_unit_test(stock_removes_frames_for_good),
        cmocka_unit_test(stock_agrees_with_a_set_of_frames),
        cmocka_unit_test(stock_instances_are_independent),
        cmocka_unit_test(stock_wants_a_genuine_direct_map),
        cmocka_unit_test(stock_add_refuses_what_is_no_range_of_frames),
        cmocka_unit_test(stock_take_of_nothing_panics),
        cmocka_unit_test(stock_put_refuses_what_is_no_frame),
        cmocka_unit_test(stock_put_of_more_than_was_taken_panics),
        cmocka_unit_test(stock_put_twice_panics),
        cmocka_unit_test(stock_audit_finds_each_corruption),
    };
    return RUN_TESTS(tests);
}
