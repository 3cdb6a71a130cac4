/*
 * vrange_schedule_test.c - a look without a lock under every schedule (schedule.h) of one
 * CPU that changes ranges and one or two that look, and interrupt it.
 *
 *     each answer was right at some moment of the call, or is CHANGING; nothing that a
 *     freed record holds is followed
 *
 * Records that are free again are filled with links to nowhere at once.
 */
#include "schedule.h"

#include <string.h>

#include <loam/boot/adapter.h>
#include <loam/stock.h>

#include "machine.h"

/* ---- the library, with steps --------------------------------------------- */

/* Names of its own beside the library that all tests are linked with. */
#define loam_vrange_init               scheduled_vrange_init
#define loam_vrange_cache_bytes_needed scheduled_vrange_cache_bytes_needed
#define loam_vrange_use_caches         scheduled_vrange_use_caches
#define loam_vrange_release            scheduled_vrange_release
#define loam_vrange_add_window         scheduled_vrange_add_window
#define loam_vrange_drain              scheduled_vrange_drain
#define loam_vrange_alloc              scheduled_vrange_alloc
#define loam_vrange_reserve            scheduled_vrange_reserve
#define loam_vrange_free               scheduled_vrange_free
#define loam_vrange_cancel             scheduled_vrange_cancel
#define loam_vrange_is_purge_due       scheduled_vrange_is_purge_due
#define loam_vrange_purge_begin        scheduled_vrange_purge_begin
#define loam_vrange_purge_next         scheduled_vrange_purge_next
#define loam_vrange_purge_end          scheduled_vrange_purge_end
#define loam_vrange_lookup             scheduled_vrange_lookup
#define loam_vrange_peek               scheduled_vrange_peek
#define loam_vrange_next               scheduled_vrange_next
#define loam_vrange_measure            scheduled_vrange_measure
#define loam_vrange_audit              scheduled_vrange_audit
#define loam_vrange_digest             scheduled_vrange_digest
#define loam_stock_put                 scheduled_stock_put
#define loam_port_cpu                  scheduled_cpu

void scheduled_stock_put(struct loam_stock *from, loam_phys frame);

#include "../src/vrange.c"
#include "../src/vrange_look.c"
#include "../src/vrange_setup.c"

#undef loam_stock_put

#define PAGES(n)  ((uint64_t)(n)*LOAM_PAGE_SIZE)
#define RAM_START PAGES(16)
#define HIGH      UINT64_C(0xffffc00000000000)
#define WINDOW    16u

static struct loam_stock stock;
static struct loam_vrange vrange;

void scheduled_stock_put(struct loam_stock *from, loam_phys frame)
{
    memset(loam_hhdm_pointer(from->hhdm, frame), 0x7b, LOAM_PAGE_SIZE);
    loam_stock_put(from, frame);
}

/* ---- what they do -------------------------------------------------------- */

/*
 * CPU 0 has A and C at the start, then B for a while, instead of C, or beside both:
 *
 *     page   0 1 2 3 4 5 6 7 8 9
 *            A A     [B B B B]   C C
 */
enum does { STOP, ADD, TAKE, FREE, PURGE };

#define CALLS 7u

static const enum does *script;
static bool with_caches, alone; /* nothing but B */
static uint64_t looked_at;      /* page */
static unsigned answers[8];

static struct loam_virt_range pages_of(uint64_t first, uint64_t count)
{
    return loam_virt_range_of(loam_virt_at(HIGH + PAGES(first)), PAGES(count));
}

static void reserve(uint64_t first, uint64_t count, const char *name)
{
    const struct loam_vrange_request request = { .page_count = count, .name = name };
    SCHEDULE_REQUIRE(loam_vrange_reserve(&vrange, &request, pages_of(first, count).start) ==
                     LOAM_OK);
}

/* The place of B again, which is cached. */
static void take(void)
{
    const struct loam_vrange_request request = { .page_count = 4, .name = "B" };
    loam_virt at;
    SCHEDULE_REQUIRE(loam_vrange_alloc(&vrange, &request, &at) == LOAM_OK);
    SCHEDULE_REQUIRE(at.addr == HIGH + PAGES(4));
}

static void purge(void)
{
    struct loam_vrange_batch batch;
    if (loam_vrange_purge_begin(&vrange, &batch))
        loam_vrange_purge_end(&batch);
}

static void begin(void)
{
    static _Alignas(64) unsigned char memory[1024];

    loam_stock_init(&stock, machine_hhdm(), NULL);
    loam_stock_add(&stock, loam_phys_range_of(loam_phys_at(RAM_START), PAGES(2)));
    loam_vrange_init(&vrange, &stock, 4, 0);
    if (with_caches)
        assert_int_equal(loam_vrange_use_caches(&vrange, 1, memory, sizeof(memory)), LOAM_OK);
    assert_int_equal(loam_vrange_add_window(&vrange, pages_of(0, WINDOW)), LOAM_OK);
    if (alone)
        return;
    reserve(0, 2, "A");
    reserve(8, 2, "C");
}

static void change(void)
{
    for (unsigned i = 0; i < CALLS && script[i] != STOP; i++) {
        if (script[i] == ADD)
            reserve(4, 4, "B");
        else if (script[i] == TAKE)
            take();
        else if (script[i] == FREE)
            loam_vrange_free(&vrange, pages_of(4, 4));
        else
            purge();
    }
}

/* What is right depends on the page alone: A and C stay, B is there or is not. */
static void look(void)
{
    struct loam_vrange_info info = { .name = NULL };
    const loam_virt at = loam_virt_at(HIGH + PAGES(looked_at) + 7);
    const enum loam_vrange_place place = loam_vrange_peek(&vrange, at, &info);
    const uint64_t first = (info.range.start.addr - HIGH) / LOAM_PAGE_SIZE;
    const uint64_t count = info.range.size / LOAM_PAGE_SIZE;

    answers[place]++;
    if (place == LOAM_VRANGE_CHANGING) {
        SCHEDULE_REQUIRE(info.name == NULL);
        return;
    }
    SCHEDULE_REQUIRE(looked_at >= first && looked_at < first + count);
    if (place == LOAM_VRANGE_IN_GAP) {
        SCHEDULE_REQUIRE(strcmp(info.name, "free") == 0);
        if (alone)
            SCHEDULE_REQUIRE((first == 0 && (count == WINDOW || count == 4)) ||
                             (first == 8 && count == 8) || (first == 4 && count == 4));
        else
            SCHEDULE_REQUIRE((first == 2 && (count == 6 || count == 2)) ||
                             (first == 4 && count == 4) || (first == 10 && count == 6));
        return;
    }
    SCHEDULE_REQUIRE(place == LOAM_VRANGE_IN_RANGE);
    SCHEDULE_REQUIRE((*info.name == 'A' && first == 0 && count == 2 && !alone) ||
                     (*info.name == 'B' && first == 4 && count == 4) ||
                     (*info.name == 'C' && first == 8 && count == 2 && !alone));
    SCHEDULE_REQUIRE(*info.name == 'B' || info.state == LOAM_VRANGE_USED);
}

static void cpu(unsigned self)
{
    if (self == 0)
        change();
    else
        look();
}

static void end(void)
{
    const char *broken = loam_vrange_audit(&vrange);
    SCHEDULE_REQUIRE(broken == NULL);
    SCHEDULE_REQUIRE(stock.out_count == vrange.node_frame_count);
    loam_vrange_release(&vrange);
}

static void explore_script(const enum does *calls, uint64_t page, unsigned cpus)
{
    const struct schedule_world world = { cpus, begin, cpu, end };

    script = calls;
    looked_at = page;
    memset(answers, 0, sizeof(answers));
    machine_reset(1);
    machine_add_ram(RAM_START, PAGES(2));
    explore(&world, 2);
}

static const enum does add_and_free[CALLS] = { ADD, FREE, PURGE, ADD, FREE, PURGE, STOP };

/* What the look has begun to read is another at its end: two changes of the CPU reach that
 * only where B does not come and go again. */
static void peek_is_right_when_a_range_comes_or_goes(void **state)
{
    static const enum does comes[CALLS] = { ADD, STOP };
    static const enum does goes[CALLS] = { ADD, FREE, PURGE, STOP };

    (void)state;
    with_caches = false;
    alone = false;
    for (uint64_t page = 4; page < 12; page += 3) {
        explore_script(comes, page, 2);
        assert_true(answers[LOAM_VRANGE_IN_GAP] + answers[LOAM_VRANGE_IN_RANGE] > 100);
        explore_script(goes, page, 2);
        assert_true(answers[LOAM_VRANGE_IN_GAP] + answers[LOAM_VRANGE_IN_RANGE] > 100);
    }
}

/* Before, behind, and where B comes and goes. */
static void peek_is_right_while_a_range_comes_and_goes(void **state)
{
    static const uint64_t pages[] = { 1, 3, 4, 7, 9, 11 };

    (void)state;
    with_caches = false;
    alone = false;
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
        explore_script(add_and_free, pages[i], 2);
        assert_true(answers[LOAM_VRANGE_IN_GAP] + answers[LOAM_VRANGE_IN_RANGE] > 1000);
        assert_true(answers[LOAM_VRANGE_CHANGING] > 0); /* it has interrupted a change */
        if (pages[i] == 4)
            assert_true(answers[LOAM_VRANGE_IN_GAP] > 0 && answers[LOAM_VRANGE_IN_RANGE] > 0);
    }
}

/* The only record comes and goes, and its frame with it, to be somebody else's. */
static void peek_follows_nothing_in_freed_memory(void **state)
{
    (void)state;
    with_caches = false;
    alone = true;
    explore_script(add_and_free, 5, 2);
    assert_true(answers[LOAM_VRANGE_IN_GAP] > 0 && answers[LOAM_VRANGE_IN_RANGE] > 0);
    explore_script(add_and_free, 1, 2);
    assert_int_equal(answers[LOAM_VRANGE_IN_RANGE], 0);
}

static void peek_is_right_while_a_range_is_cached(void **state)
{
    static const enum does calls[CALLS] = { ADD, FREE, PURGE, TAKE, FREE, STOP };

    (void)state;
    with_caches = true;
    alone = false;
    explore_script(calls, 6, 2);
    assert_int_equal(vrange.cache_count, 1);
    assert_true(answers[LOAM_VRANGE_IN_GAP] > 0 && answers[LOAM_VRANGE_IN_RANGE] > 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(peek_is_right_when_a_range_comes_or_goes),
        cmocka_unit_test(peek_is_right_while_a_range_comes_and_goes),
        cmocka_unit_test(peek_follows_nothing_in_freed_memory),
        cmocka_unit_test(peek_is_right_while_a_range_is_cached),
    };
    return RUN_TESTS(tests);
}
