/*
 * vrange_cache_test.c - small ranges that CPUs keep.
 */
#include "src/internal/vrange_cache.h"

#include "vrange_world.h"

static _Alignas(64) unsigned char memory[4 * sizeof(struct loam_vrange_cache)];

/* One window at HIGH, and caches for so many CPUs. */
static void cached_window(uint64_t frames, uint64_t pages, unsigned cpus)
{
    one_window(frames, pages);
    memset(memory, 0xa5, sizeof(memory));
    assert_int_equal(loam_vrange_use_caches(&vrange, cpus, memory, sizeof(memory)), LOAM_OK);
}

static struct loam_vrange_totals totals(void)
{
    struct loam_vrange_totals out;
    loam_vrange_measure(&vrange, &out);
    return out;
}

static void expect_same(const struct loam_vrange_info *a, const struct loam_vrange_info *b)
{
    assert_int_equal(a->range.start.addr, b->range.start.addr);
    assert_int_equal(a->range.size, b->range.size);
    assert_int_equal(a->guard_before, b->guard_before);
    assert_int_equal(a->guard_after, b->guard_after);
    assert_int_equal(a->state, b->state);
    assert_int_equal(a->tag, b->tag);
    assert_ptr_equal(a->name, b->name);
}

/* ---- examples ------------------------------------------------------------ */

static void caches_refuse_what_is_malformed(void **state)
{
    const size_t needed = loam_vrange_cache_bytes_needed(2);

    (void)state;
    one_window(1, 8);
    assert_int_equal(loam_vrange_cache_bytes_needed(0), 0);
    assert_int_equal(loam_vrange_cache_bytes_needed(LOAM_CPUS_MAX + 1), 0);
    assert_int_not_equal(loam_vrange_cache_bytes_needed(LOAM_CPUS_MAX), 0);
    assert_int_equal(needed, 2 * loam_vrange_cache_bytes_needed(1));
    EXPECT_REFUSED(loam_vrange_use_caches(&vrange, 0, memory, needed), LOAM_INVALID);
    EXPECT_REFUSED(loam_vrange_use_caches(&vrange, 2, NULL, needed), LOAM_INVALID);
    EXPECT_REFUSED(loam_vrange_use_caches(&vrange, 2, memory + 32, needed), LOAM_INVALID);
    EXPECT_REFUSED(loam_vrange_use_caches(&vrange, 2, memory, needed - 1), LOAM_NO_SPACE);
    assert_int_equal(loam_vrange_use_caches(&vrange, 2, memory, needed), LOAM_OK);
    EXPECT_REFUSED(loam_vrange_use_caches(&vrange, 2, memory, needed), LOAM_STATE);
}

/*
 *     [ 0 1 )[g| 3 4 )        freed and purged: the next of its like gets 3 again
 */
static void purged_ranges_are_for_the_next_of_their_like(void **state)
{
    struct loam_vrange_request guarded = { .page_count = 2, .guard_before = 1, .tag = 7 };
    struct loam_vrange_info info;

    (void)state;
    cached_window(1, 16, 1);
    assert_int_equal(alloc_plain(2), 0);
    assert_int_equal(alloc(&guarded), 3);
    free_pages(0, 2);
    free_pages(3, 2);
    assert_int_equal(totals().cached_count, 0);
    assert_int_equal(purge(), 2);
    check_sound();
    assert_int_equal(totals().cached_count, 2);
    assert_int_equal(totals().cached_pages, 5);
    assert_int_equal(totals().used_pages, 0);
    assert_int_equal(totals().range_count, 0);
    assert_int_equal(totals().largest_gap, 11);
    guarded.name = "again";
    guarded.tag = 9;
    assert_int_equal(alloc(&guarded), 3);
    check_sound();
    assert_int_equal(loam_vrange_lookup(&vrange, loam_virt_at(HIGH + PAGES(4)), &info),
                     LOAM_VRANGE_IN_RANGE);
    assert_string_equal(info.name, "again");
    assert_int_equal(info.tag, 9);
    assert_int_equal(info.guard_before, 1);
    assert_int_equal(info.range.start.addr, HIGH + PAGES(3));
    assert_int_equal(totals().used_pages, 3);
    assert_int_equal(totals().cached_pages, 2);
    guarded.guard_before = 0;
    guarded.guard_after = 1;
    assert_int_equal(alloc(&guarded), 5); /* no such one: the lowest gap */
    assert_int_equal(alloc_plain(2), 0);
    assert_int_equal(totals().cached_count, 0);
    check_sound();
}

/* Who wants a certain place gets none of these. */
static void bounds_alignment_and_dice_pass_the_caches(void **state)
{
    (void)state;
    cached_window(1, 64, 1);
    assert_int_equal(alloc_plain(4), 0);
    free_pages(0, 4);
    assert_int_equal(purge(), 1);
    struct loam_vrange_request request = plain(4);
    request.from = HIGH;
    assert_int_equal(alloc(&request), 4);
    request = plain(4);
    request.limit = HIGH + PAGES(64);
    assert_int_equal(alloc(&request), 8);
    request = plain(4);
    request.align_bytes = PAGES(4);
    assert_int_equal(alloc(&request), 12);
    request = plain(4);
    request.dice = 5;
    assert_true(alloc(&request) >= 16);
    assert_int_equal(totals().cached_count, 1);
    assert_int_equal(alloc_plain(4), 0);
}

/* Sizes 1, 2, 4, 8 and 16, eight of each; the rest become gaps. */
static void caches_keep_eight_of_each_small_size(void **state)
{
    static const uint64_t sizes[] = { 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 32 };
    uint64_t kept = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        cached_window(2, 1024, 1);
        for (uint64_t n = 0; n < 10; n++)
            assert_int_equal(alloc_plain(sizes[i]), n * sizes[i]);
        for (uint64_t n = 0; n < 10; n++)
            free_pages(n * sizes[i], sizes[i]);
        assert_int_equal(purge(), 10);
        check_sound();
        kept += totals().cached_count;
        assert_true(totals().cached_count == 0 || totals().cached_count == 8);
        assert_int_equal(totals().cached_pages, totals().cached_count * sizes[i]);
    }
    assert_int_equal(kept, 5 * 8);
}

/* Who purges keeps the first eight, the CPUs after it the next. */
static void caches_of_other_cpus_are_filled_in_turn(void **state)
{
    (void)state;
    cached_window(2, 1024, 2);
    for (uint64_t n = 0; n < 20; n++)
        assert_int_equal(alloc_plain(1), n);
    for (uint64_t n = 0; n < 20; n++)
        free_pages(n, 1);
    machine_set_cpu(1);
    assert_int_equal(purge(), 20);
    assert_int_equal(vrange.cache[0].range_count, 8);
    assert_int_equal(vrange.cache[1].range_count, 8);
    check_sound();
    for (uint64_t n = 0; n < 8; n++) /* queued last, purged first; the newest comes out */
        assert_int_equal(alloc_plain(1), 12 + n);
    assert_int_equal(vrange.cache[1].range_count, 0);
    assert_int_equal(alloc_plain(1), 0); /* not CPU 0's */
    machine_set_cpu(0);
    assert_int_equal(alloc_plain(1), 4);
    check_sound();
}

/* All is cached, by both CPUs: it is as good as free. */
static void caches_are_drained_before_a_place_is_refused(void **state)
{
    (void)state;
    for (int pass = 0; pass < 4; pass++) {
        cached_window(2, 16, 2);
        for (uint64_t n = 0; n < 16; n++)
            assert_int_equal(alloc_plain(1), n);
        for (uint64_t n = 0; n < 16; n++)
            free_pages(n, 1);
        const uint64_t digest = loam_vrange_digest(&vrange);
        assert_int_equal(purge(), 16);
        assert_int_equal(totals().largest_gap, 0);
        assert_int_not_equal(loam_vrange_digest(&vrange), digest);
        if (pass == 0) {
            assert_int_equal(alloc_plain(16), 0);
        } else if (pass == 1) {
            assert_int_equal(reserve_plain(3, 10), LOAM_OK);
        } else if (pass == 2) {
            const uint64_t free_digest = loam_vrange_digest(&vrange);
            assert_int_equal(try_alloc(plain(17)), LOAM_NO_SPACE);
            assert_int_equal(totals().cached_count, 16); /* it would have helped nothing */
            loam_vrange_drain(&vrange);
            assert_int_equal(loam_vrange_digest(&vrange), free_digest); /* free as before */
            assert_int_equal(totals().largest_gap, 16);
            assert_int_equal(stock.out_count, 0);
        } else {
            assert_int_equal(alloc_plain(1), 8);
            assert_int_equal(reserve_plain(8, 1), LOAM_OVERLAP);
            free_pages(8, 1);
            assert_int_equal(try_alloc(plain(16)), LOAM_STATE);
            assert_int_equal(totals().cached_count, 0);
            assert_int_equal(reserve_plain(8, 1), LOAM_STATE);
        }
        check_sound();
    }
}

/* Records are what caches hold, too: 50 fill the only frame. */
static void caches_are_drained_before_a_record_is_refused(void **state)
{
    (void)state;
    for (int pass = 0; pass < 2; pass++) {
        cached_window(1, 100, 1);
        for (uint64_t n = 0; n < 50; n++)
            assert_int_equal(alloc_plain(1), n);
        free_pages(9, 1);
        assert_int_equal(purge(), 1);
        if (pass == 0)
            assert_int_equal(alloc_plain(3), 50);
        else
            assert_int_equal(reserve_plain(60, 3), LOAM_OK);
        EXPECT_REFUSED(try_alloc(plain(3)), LOAM_NO_MEMORY);
        assert_int_equal(totals().cached_count, 0);
    }
}

/* A cached range is free for whoever looks. */
static void cached_ranges_are_shown_as_free(void **state)
{
    struct loam_vrange_info info;
    struct loam_vrange_info peeked;
    const loam_virt at = loam_virt_at(HIGH + PAGES(1) + 5);

    (void)state;
    cached_window(1, 8, 1);
    const struct loam_vrange_request guarded = { .page_count = 2, .guard_before = 1, .name = "x" };
    assert_int_equal(alloc(&guarded), 1);
    free_pages(1, 2);
    assert_int_equal(purge(), 1);
    assert_int_equal(loam_vrange_lookup(&vrange, at, &info), LOAM_VRANGE_IN_GAP);
    assert_int_equal(loam_vrange_peek(&vrange, at, &peeked), LOAM_VRANGE_IN_GAP);
    expect_same(&info, &peeked);
    assert_string_equal(info.name, "free");
    assert_int_equal(info.state, LOAM_VRANGE_CACHED);
    assert_int_equal(info.range.start.addr, HIGH + PAGES(1));
    assert_int_equal(info.range.size, PAGES(2));
}

static void take_text(void *context, const char *text, size_t size_bytes)
{
    strncat(context, text, size_bytes);
}

static void print_names_what_is_cached(void **state)
{
    char text[512] = "";
    const struct loam_writer writer = { take_text, text };

    (void)state;
    cached_window(1, 8, 1);
    assert_int_equal(alloc_plain(2), 0);
    free_pages(0, 2);
    assert_int_equal(purge(), 1);
    loam_vrange_print(&vrange, &writer);
    assert_string_equal(text,
                        "0xffffc00000000000-0xffffc00000001fff        8 KiB  0+0  cached   \n"
                        "0xffffc00000002000-0xffffc00000007fff       24 KiB       free     \n");
}

static void release_forgets_what_is_cached(void **state)
{
    (void)state;
    cached_window(1, 8, 2);
    assert_int_equal(alloc_plain(2), 0);
    assert_int_equal(alloc_plain(1), 2);
    free_pages(0, 2);
    assert_int_equal(purge(), 1);
    loam_vrange_release(&vrange);
    check_sound();
    assert_int_equal(totals().cached_count, 0);
    assert_int_equal(stock.out_count, 0);
    assert_int_equal(loam_vrange_add_window(&vrange, virt_pages(HIGH, 0, 8)), LOAM_OK);
    assert_int_equal(alloc_plain(2), 0);
}

/* Nothing was mapped in it: it need not wait. */
static void cancel_frees_at_once(void **state)
{
    (void)state;
    cached_window(1, 8, 1);
    const uint64_t digest = loam_vrange_digest(&vrange);
    assert_int_equal(alloc_plain(8), 0);
    loam_vrange_cancel(&vrange, virt_pages(HIGH, 0, 8));
    assert_int_equal(loam_vrange_digest(&vrange), digest);
    check_sound();
    assert_int_equal(totals().used_pages, 0);
    assert_int_equal(stock.out_count, 0);
    assert_int_equal(alloc_plain(8), 0);
    EXPECT_PANIC("vrange: wrong size", loam_vrange_cancel(&vrange, virt_pages(HIGH, 0, 7)));
    vrange.lock = (struct loam_ticketlock){ 0 };
    EXPECT_PANIC("vrange: address is not page-aligned",
                 loam_vrange_cancel(&vrange, loam_virt_range_of(loam_virt_at(HIGH + 1), PAGES(8))));
    free_pages(0, 8);
    EXPECT_PANIC("vrange: freed twice", loam_vrange_cancel(&vrange, virt_pages(HIGH, 0, 8)));
    vrange.lock = (struct loam_ticketlock){ 0 };
}

/* As cached ranges do: neither on nor off after, whatever it was before. */
static void caches_V11_leave_interrupts_as_they_were(void **state)
{
    (void)state;
    for (int on = 0; on < 2; on++) {
        cached_window(1, 8, 1);
        machine_set_interrupts(on == 1);
        assert_int_equal(alloc_plain(2), 0);
        free_pages(0, 2);
        assert_int_equal(purge(), 1);
        assert_int_equal(alloc_plain(2), 0);
        assert_int_equal(machine_interrupts(), on == 1);
        loam_vrange_cancel(&vrange, virt_pages(HIGH, 0, 2));
        loam_vrange_drain(&vrange);
        assert_int_equal(machine_interrupts(), on == 1);
    }
    machine_set_interrupts(true);
}

/* CPUs that there were to be none of use the first one's. */
static void unexpected_cpus_share_the_first_cache(void **state)
{
    (void)state;
    cached_window(1, 8, 1);
    machine_set_cpu(1);
    assert_int_equal(alloc_plain(2), 0);
    free_pages(0, 2);
    assert_int_equal(purge(), 1);
    assert_int_equal(totals().cached_count, 1);
    assert_int_equal(alloc_plain(2), 0);
    machine_set_cpu(0);
    check_sound();
}

/* ---- audit --------------------------------------------------------------- */

static void expect_broken(const char *rule)
{
    const char *found = loam_vrange_audit(&vrange);
    assert_non_null(found);
    assert_string_equal(found, rule);
}

static void audit_sees_a_wrong_cache(void **state)
{
    (void)state;
    cached_window(1, 64, 2);
    for (uint64_t n = 0; n < 3; n++)
        assert_int_equal(alloc_plain(2), 2 * n);
    free_pages(0, 2);
    free_pages(2, 2);
    assert_int_equal(purge(), 2);
    check_sound();
    struct loam_vrange_cache *cache = &vrange.cache[0];
    struct loam_vrange_record **range = cache->range[1];
    struct loam_vrange_record *second = range[1];
    cache->count[1] = 9;
    expect_broken("vrange: a CPU keeps too many ranges");
    cache->count[1] = 1;
    expect_broken("vrange: what a CPU keeps is counted wrong");
    cache->range_count = 1;
    expect_broken("vrange: what a CPU keeps is counted wrong");
    cache->pages = 2;
    expect_broken("vrange: what is cached is not what the CPUs keep");
    cache->count[1] = 2;
    cache->range_count = 2;
    cache->pages = 4;
    check_sound();
    range[1] = range[0]; /* one twice, the other not at all */
    expect_broken("vrange: what is cached is not what the CPUs keep");
    range[1] = second;
    second->next = second;
    expect_broken("vrange: range in use is on a list");
    second->next = NULL;
    second->shape = (uint64_t)LOAM_VRANGE_USED << 48;
    expect_broken("vrange: a CPU keeps what is not cached, or of another size");
    second->shape = (uint64_t)LOAM_VRANGE_CACHED << 48 | 1;
    expect_broken("vrange: a CPU keeps what is not cached, or of another size");
    second->shape = (uint64_t)LOAM_VRANGE_CACHED << 48;
    check_sound();
}

/* ---- any sequence -------------------------------------------------------- */

#define CELLS 200u

static struct {
    uint8_t owner[CELLS]; /* range + 1, or 0 */
    struct loam_vrange_request wanted[CELLS];
    uint64_t first[CELLS]; /* the page after the guard */
    enum { NONE, USED, WAITING } state[CELLS];
} model;

static bool model_has_room(uint64_t pages)
{
    uint64_t run = 0;
    for (unsigned page = 0; page < CELLS; page++) {
        run = model.owner[page] == 0 ? run + 1 : 0;
        if (run == pages)
            return true;
    }
    return false;
}

static void model_fill(unsigned index, uint8_t from, uint8_t to)
{
    const struct loam_vrange_request *wanted = &model.wanted[index];
    const uint64_t first = model.first[index] - wanted->guard_before;
    const uint64_t pages = wanted->guard_before + wanted->page_count + wanted->guard_after;
    for (uint64_t page = first; page < first + pages; page++) {
        assert_int_equal(model.owner[page], from);
        model.owner[page] = to;
    }
}

static void step_alloc(void)
{
    unsigned index = 0;
    while (model.state[index] != NONE)
        index++;
    struct loam_vrange_request *wanted = &model.wanted[index];
    *wanted = plain(UINT64_C(1) << test_random_below(6));
    wanted->guard_before = test_random_below(2);
    wanted->guard_after = test_random_below(2);
    loam_virt at;
    const uint64_t pages = wanted->page_count + wanted->guard_before + wanted->guard_after;
    const enum loam_status status = loam_vrange_alloc(&vrange, wanted, &at);
    assert_int_equal(status == LOAM_OK, model_has_room(pages)); /* caches hide nothing */
    if (status != LOAM_OK)
        return;
    model.first[index] = (at.addr - HIGH) / LOAM_PAGE_SIZE;
    model.state[index] = USED;
    model_fill(index, 0, (uint8_t)(index + 1));
}

static void step_purge(void)
{
    (void)purge();
    for (unsigned i = 0; i < CELLS; i++) {
        if (model.state[i] != WAITING)
            continue;
        model.state[i] = NONE;
        model_fill(i, (uint8_t)(i + 1), 0);
    }
}

static void step_free(void)
{
    const uint8_t owner = model.owner[test_random_below(CELLS)];
    if (owner == 0 || model.state[owner - 1] != USED)
        return;
    free_pages(model.first[owner - 1], model.wanted[owner - 1].page_count);
    model.state[owner - 1] = WAITING;
}

/* Used, waiting and free pages of the model are those of the library. */
static void compare_with_model(void)
{
    struct loam_vrange_info info;
    struct loam_vrange_info peeked;
    uint64_t used_pages = 0;

    for (unsigned page = 0; page < CELLS; page++) {
        const loam_virt at = loam_virt_at(HIGH + PAGES(page));
        const enum loam_vrange_place place = loam_vrange_lookup(&vrange, at, &info);
        assert_int_equal(loam_vrange_peek(&vrange, at, &peeked), place);
        expect_same(&info, &peeked);
        assert_int_equal(place == LOAM_VRANGE_IN_GAP, model.owner[page] == 0);
        if (model.owner[page] == 0)
            continue;
        const unsigned index = model.owner[page] - 1u;
        assert_int_equal(info.range.start.addr, HIGH + PAGES(model.first[index]));
        assert_int_equal(info.state,
                         model.state[index] == USED ? LOAM_VRANGE_USED : LOAM_VRANGE_WAITING);
        used_pages += model.state[index] == USED;
    }
    assert_int_equal(totals().used_pages, used_pages);
    check_sound();
}

static void caches_V09_agree_with_an_array(void **state)
{
    uint64_t cached_max = 0;

    (void)state;
    memset(&model, 0, sizeof(model));
    cached_window(8, CELLS, 3);
    machine_reset(3);
    cached_window(8, CELLS, 3);
    for (int round = 0; round < 20000; round++) {
        machine_set_cpu((unsigned)test_random_below(2));
        const uint64_t what = test_random_below(20);
        if (what < 9)
            step_alloc();
        else if (what < 18)
            step_free();
        else
            step_purge();
        if (what == 19)
            loam_vrange_drain(&vrange);
        if (round % 8 == 0)
            compare_with_model();
        cached_max = totals().cached_count > cached_max ? totals().cached_count : cached_max;
    }
    machine_set_cpu(0);
    assert_true(cached_max >= 10);
    loam_vrange_release(&vrange);
    assert_int_equal(stock.out_count, 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(caches_refuse_what_is_malformed),
        cmocka_unit_test(purged_ranges_are_for_the_next_of_their_like),
        cmocka_unit_test(bounds_alignment_and_dice_pass_the_caches),
        cmocka_unit_test(caches_keep_eight_of_each_small_size),
        cmocka_unit_test(caches_of_other_cpus_are_filled_in_turn),
        cmocka_unit_test(caches_are_drained_before_a_place_is_refused),
        cmocka_unit_test(caches_are_drained_before_a_record_is_refused),
        cmocka_unit_test(cached_ranges_are_shown_as_free),
        cmocka_unit_test(print_names_what_is_cached),
        cmocka_unit_test(release_forgets_what_is_cached),
        cmocka_unit_test(cancel_frees_at_once),
        cmocka_unit_test(caches_V11_leave_interrupts_as_they_were),
        cmocka_unit_test(unexpected_cpus_share_the_first_cache),
        cmocka_unit_test(audit_sees_a_wrong_cache),
        cmocka_unit_test(caches_V09_agree_with_an_array),
    };
    return RUN_TESTS(tests);
}
