/*
 * frame_interrupt_test.c - a handler that allocates and frees in the middle of any
 * call: on the same CPU, as an interrupt does, and on another one, as a CPU does
 * while this one stands still.
 *
 *     the call    [ i | i | xchg | i | i | lock or | i )
 *     handler             ^            ^          ^      before atomic ones and some others
 *
 * The processor's single-step flag raises SIGTRAP after each instruction. Trying
 * every instruction takes minutes; with other seeds others are tried.
 */
#include "frame_world.h"

#include <signal.h>
#include <ucontext.h>

#define SINGLE_STEP UINT64_C(0x100) /* RFLAGS.TF */
#define KEPT_MAX    8u
#define POINTS_MAX  256u
#define POINTS_TRY  10u
#define BASE        UINT64_C(8192)
#define WORLD_PAGES (4 * BLOCK)

/* ---- single steps -------------------------------------------------------- */

static uint64_t steps;        /* instructions of the call so far */
static uint64_t interrupt_at; /* before which the handler runs; 0: it does not */
static void (*volatile interrupt)(void);

/* The atomic instructions of the last call that was not interrupted, in steps. */
static uint64_t point[POINTS_MAX];
static size_t point_count;

/* A lock prefix, or an exchange with memory. */
static bool is_atomic(const unsigned char *code)
{
    const unsigned char *const opcode = (code[0] & 0xf0u) == 0x40 ? code + 1 : code;
    return code[0] == 0xf0 || opcode[0] == 0x86 || opcode[0] == 0x87;
}

static void on_step(int signal, siginfo_t *info, void *context)
{
    ucontext_t *const at = context;
    (void)signal;
    (void)info;
    steps++;
    if (interrupt_at == 0 && point_count < POINTS_MAX &&
        is_atomic((const unsigned char *)at->uc_mcontext.gregs[REG_RIP]))
        point[point_count++] = steps;
    if (steps != interrupt_at)
        return;
    at->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)SINGLE_STEP;
    interrupt();
}

static void catch_steps(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof(action));
    action.sa_sigaction = on_step;
    action.sa_flags = SA_SIGINFO;
    assert_int_equal(sigaction(SIGTRAP, &action, NULL), 0);
}

/* Make a call with the handler before its nth instruction. Returns whether it ran. */
static bool call_interrupted(void (*call)(void), uint64_t nth, void (*handler)(void))
{
    steps = 0;
    interrupt_at = nth;
    interrupt = handler;
    __builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() | SINGLE_STEP);
    call();
    __builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() & ~SINGLE_STEP);
    return nth != 0 && steps >= nth;
}

/* ---- what is in use ------------------------------------------------------ */

static struct kept {
    uint64_t page, count;
} kept[KEPT_MAX];
static size_t kept_count;

static void keep(uint64_t page, uint64_t count)
{
    if (page == NONE)
        return;
    assert_true(kept_count < KEPT_MAX);
    kept[kept_count].page = page;
    kept[kept_count++].count = count;
}

/* No two share a frame; the allocator counts the same; given back, all is free. */
static void settle(uint64_t digest)
{
    uint64_t in_use = 0;
    for (size_t i = 0; i < kept_count; i++) {
        in_use += kept[i].count;
        for (size_t k = 0; k < i; k++)
            assert_true(kept[i].page >= kept[k].page + kept[k].count ||
                        kept[k].page >= kept[i].page + kept[i].count);
    }
    expect_sound();
    assert_int_equal(stats().free_count, WORLD_PAGES - in_use);
    for (size_t i = 0; i < kept_count; i++)
        loam_frame_release(&frame, range_of(kept[i].page, kept[i].page + kept[i].count));
    kept_count = 0;
    assert_int_equal(loam_frame_digest(&frame), digest);
    expect_all_free();
    assert_int_equal(stats().block_count, WORLD_PAGES / BLOCK);
}

/* ---- calls --------------------------------------------------------------- */

static unsigned order;
static uint64_t before; /* a block in use that is the call's own */

/* What the call has got; kept after it, since keep() is not for handlers, too. */
static loam_phys got[3];
static size_t got_count;
static uint64_t got_pages; /* of each */

static void keep_got(void)
{
    for (size_t i = 0; i < got_count; i++)
        if (!loam_phys_is_none(got[i]))
            keep(got[i].addr / BYTES(1), got_pages);
    got_count = 0;
}

static void call_alloc(void)
{
    got[0] = loam_frame_alloc(&frame, order, LOAM_ZONE_ANY);
    got_pages = UINT64_C(1) << order;
    got_count = 1;
}

static void call_free(void)
{
    loam_frame_free(&frame, loam_phys_at(BYTES(before)), order);
}

static void call_drain(void)
{
    loam_frame_drain(&frame);
}

static void call_range(void)
{
    const struct loam_frame_request request = { .page_count = 70 };
    got_pages = 70;
    got_count = loam_frame_alloc_range(&frame, &request, &got[0]) == LOAM_OK;
}

static void call_reserve(void)
{
    got[0] = loam_phys_at(BYTES(BASE + 10));
    got_pages = 80;
    got_count = loam_frame_reserve(&frame, range_of(BASE + 10, BASE + 90)) == LOAM_OK;
}

static void call_bulk(void)
{
    got_pages = 1;
    got_count = loam_frame_alloc_bulk(&frame, LOAM_ZONE_ANY, got, COUNT(got));
}

static const struct call {
    void (*run)(void);
    unsigned order;
    bool has_block; /* frees a block that was allocated before */
} calls[] = {
    { call_alloc, 0, false },   { call_alloc, 3, false },  { call_alloc, 7, false },
    { call_alloc, 9, false },   { call_alloc, 10, false }, { call_free, 0, true },
    { call_free, 3, true },     { call_free, 7, true },    { call_free, 9, true },
    { call_free, 10, true },    { call_drain, 0, false },  { call_range, 0, false },
    { call_reserve, 0, false }, { call_bulk, 0, false },
};

/* ---- handlers ------------------------------------------------------------ */

static unsigned handler_cpu;
static uint64_t handler_block; /* allocated before the call, freed in the handler */

static void handle_by_alloc(void)
{
    machine_set_cpu(handler_cpu);
    keep(take_any(0, LOAM_ZONE_ANY), 1);
    keep(take_any(2, LOAM_ZONE_ANY), 4);
    keep(take_any(9, LOAM_ZONE_ANY), BLOCK);
    machine_set_cpu(0);
}

static void handle_by_free(void)
{
    machine_set_cpu(handler_cpu);
    give_any(handler_block, 0);
    const uint64_t page = take_any(1, LOAM_ZONE_ANY);
    if (page != NONE)
        give_any(page, 1);
    keep(take_any(0, LOAM_ZONE_ANY), 1);
    machine_set_cpu(0);
}

static void handle_by_drain(void)
{
    machine_set_cpu(handler_cpu);
    give_any(handler_block, 0);
    loam_frame_drain(&frame);
    if (loam_frame_reserve(&frame, range_of(BASE + 512, BASE + 515)) == LOAM_OK)
        keep(BASE + 512, 3);
    machine_set_cpu(0);
}

static const struct handler {
    void (*run)(void);
    bool has_block;
} handlers[] = { { handle_by_alloc, false }, { handle_by_free, true }, { handle_by_drain, true } };

/* ---- all of them --------------------------------------------------------- */

/* Lanes with and without frames and blocks. Everything is free but what is asked for. */
static void prepare(const struct call *call, const struct handler *handler, unsigned warm)
{
    machine_set_cpu(0);
    loam_frame_drain(&frame);
    for (unsigned i = 0; i < warm; i++) {
        const uint64_t single = take_any(0, LOAM_ZONE_ANY);
        const uint64_t group = take_any(2, LOAM_ZONE_ANY);
        give_any(single, 0);
        give_any(group, 2);
    }
    order = call->order;
    if (call->has_block)
        before = take_any(order, LOAM_ZONE_ANY);
    if (handler->has_block)
        handler_block = take_any(0, LOAM_ZONE_ANY);
}

/* A call, and a handler before its nth instruction. */
static void interrupt_once(const struct call *call, const struct handler *handler, unsigned warm,
                           uint64_t nth)
{
    const uint64_t digest = loam_frame_digest(&frame);

    prepare(call, handler, warm);
    const bool has_run = call_interrupted(call->run, nth, handler->run);
    keep_got();
    if (!has_run && handler->has_block)
        give_any(handler_block, 0);
    settle(digest);
}

/* At atomic instructions, all if they are few; at the next one to them; elsewhere. */
static void interrupt_everywhere(const struct call *call, const struct handler *handler,
                                 unsigned warm)
{
    point_count = 0;
    interrupt_once(call, handler, warm, 0);
    const uint64_t length = steps;
    assert_true(length > 20);
    for (size_t i = 0; i < point_count; i++)
        if (test_random_below(point_count) < POINTS_TRY)
            interrupt_once(call, handler, warm, point[i] + test_random_below(2));
    interrupt_once(call, handler, warm, 1 + test_random_below(length));
}

static void calls_F16_F19_are_interrupted_anywhere(unsigned cpu)
{
    catch_steps();
    WORLD(2, { BASE, BASE + WORLD_PAGES });
    handler_cpu = cpu;
    for (size_t i = 0; i < COUNT(calls); i++)
        for (size_t k = 0; k < COUNT(handlers); k++)
            for (unsigned warm = 0; warm < 3; warm += 2)
                interrupt_everywhere(&calls[i], &handlers[k], warm);
}

static void call_F16_interrupted_on_its_cpu_works(void **state)
{
    (void)state;
    calls_F16_F19_are_interrupted_anywhere(0);
}

static void call_F19_stopped_while_another_cpu_goes_on_works(void **state)
{
    (void)state;
    calls_F16_F19_are_interrupted_anywhere(1);
}

/* ---- the same free, twice ------------------------------------------------ */

static bool free_panics(void)
{
    const struct panic_trap outer = panic_trap;
    bool has_panicked = true;

    panic_trap.armed = true;
    if (setjmp(panic_trap.landing) == 0) {
        call_free();
        has_panicked = false;
    }
    panic_trap = outer;
    return has_panicked;
}

static unsigned panics;

static void free_and_count(void)
{
    panics += free_panics();
}

/* Try blocks of some orders in turn: not interrupted, at the steps that matter, at any. */
static void interrupt_at_each_step(const unsigned *orders, size_t count,
                                   void (*try_at)(uint64_t nth))
{
    catch_steps();
    WORLD(2, { BASE, BASE + WORLD_PAGES });
    for (size_t i = 0; i < count; i++) {
        order = orders[i];
        point_count = 0;
        try_at(0);
        const uint64_t length = steps;
        for (size_t k = 0; k < point_count; k++) {
            try_at(point[k]);
            try_at(point[k] + 1);
        }
        for (unsigned k = 0; k < 50; k++)
            try_at(1 + test_random_below(length));
    }
}

/* A free that is interrupted by the same free: just one of the two panics. */
static void interrupt_free_once(uint64_t nth)
{
    before = take_any(order, LOAM_ZONE_ANY);
    panics = 0;
    const bool has_run = call_interrupted(free_and_count, nth, free_and_count);
    assert_int_equal(panics, has_run);
    expect_sound();
    assert_int_equal(stats().free_count, WORLD_PAGES);
}

static void free_F14_interrupted_by_the_same_free_has_one_winner(void **state)
{
    static const unsigned orders[] = { 0, 3, 7, 9, 10 };
    (void)state;
    interrupt_at_each_step(orders, COUNT(orders), interrupt_free_once);
}

/* A free of a block that is interrupted by a free of a part of it: one of the two panics. */
static uint64_t part;

static void free_part_and_count(void)
{
    const struct panic_trap outer = panic_trap;

    panic_trap.armed = true;
    if (setjmp(panic_trap.landing) == 0)
        give_any(part, 1);
    else
        panics++;
    panic_trap = outer;
}

static void interrupt_free_by_part(uint64_t nth)
{
    const uint64_t count = UINT64_C(1) << order;
    before = take_any(order, LOAM_ZONE_ANY);
    part = before + (test_random_below(count) & ~UINT64_C(1));
    panics = 0;
    const bool has_run = call_interrupted(free_and_count, nth, free_part_and_count);
    assert_int_equal(panics, has_run);
    expect_sound();
    for (uint64_t page = before; page < before + count; page++)
        if (loam_frame_free_in(&frame, range_of(page, page + 1)) == 0)
            give_any(page, 0);
    assert_int_equal(stats().free_count, WORLD_PAGES);
}

static void free_F14_interrupted_by_that_of_a_part_has_one_winner(void **state)
{
    static const unsigned orders[] = { 3, 7, 9, 10 };
    (void)state;
    interrupt_at_each_step(orders, COUNT(orders), interrupt_free_by_part);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(call_F16_interrupted_on_its_cpu_works),
        cmocka_unit_test(call_F19_stopped_while_another_cpu_goes_on_works),
        cmocka_unit_test(free_F14_interrupted_by_the_same_free_has_one_winner),
        cmocka_unit_test(free_F14_interrupted_by_that_of_a_part_has_one_winner),
    };
    return RUN_TESTS(tests);
}
