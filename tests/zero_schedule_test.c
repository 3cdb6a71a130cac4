/*
 * zero_schedule_test.c - the pool of zeroed frames under every schedule (schedule.h) of
 * two or three CPUs. One that is stopped while another one does all of its calls is
 * also one that is interrupted.
 *
 *     no frame is given to two, each that is given is zero, none is lost; the audit is
 *     silent; nobody waits for another one
 *
 * The frame allocator is a bit per frame here: four frames, two below 4 GiB.
 */
#include "schedule.h"

#include <string.h>

#include <loam/boot/adapter.h>

/* ---- the library, with steps --------------------------------------------- */

/* Names of its own beside the library that all tests are linked with. */
#define loam_zero_bytes_needed scheduled_zero_bytes_needed
#define loam_zero_init         scheduled_zero_init
#define loam_zero_take         scheduled_zero_take
#define loam_zero_alloc        scheduled_zero_alloc
#define loam_zero_refill       scheduled_zero_refill
#define loam_zero_put          scheduled_zero_put
#define loam_zero_drain        scheduled_zero_drain
#define loam_zero_has          scheduled_zero_has
#define loam_zero_level        scheduled_zero_level
#define loam_zero_measure      scheduled_zero_measure
#define loam_zero_audit        scheduled_zero_audit
#define loam_zero_digest       scheduled_zero_digest
#define loam_frame_alloc       scheduled_frame_alloc
#define loam_frame_free        scheduled_frame_free
#define loam_frame_measure     scheduled_frame_measure
#define loam_frame_free_in     scheduled_frame_free_in
#define loam_port_cpu          scheduled_home

static unsigned scheduled_home(void);

#include "../src/zero.c"

/* ---- a frame allocator --------------------------------------------------- */

#define FRAMES 4u
#define BASE   ((UINT64_C(1) << 32) - 2 * LOAM_PAGE_SIZE)

static struct {
    struct loam_zero_pool pool;
    unsigned char memory[512] __attribute__((aligned(64)));
    unsigned free;           /* a bit per frame */
    unsigned owned;          /* those that a CPU was given */
    unsigned refused;        /* takes */
    loam_phys has[CPUS_MAX]; /* the frame that a CPU has, or none */
    loam_phys other;         /* one more, which is zero, of whoever puts it back first */
} now, at_start;

static uint64_t ram[FRAMES][LOAM_PAGE_SIZE / sizeof(uint64_t)]
    __attribute__((aligned(LOAM_PAGE_SIZE)));
static uint64_t ram_at_start[FRAMES][2]; /* of each frame the first and the last word */
static bool one_home;                    /* all CPUs begin at the same group: interrupts */

static unsigned scheduled_home(void)
{
    return one_home ? 0 : scheduled_cpu();
}

static unsigned index_of(loam_phys frame)
{
    SCHEDULE_REQUIRE(frame.addr - BASE < sizeof ram && frame.addr % LOAM_PAGE_SIZE == 0);
    return (unsigned)((frame.addr - BASE) / LOAM_PAGE_SIZE);
}

loam_phys scheduled_frame_alloc(struct loam_frame *frame, unsigned order, enum loam_zone zone)
{
    (void)frame;
    schedule_step();
    for (unsigned i = zone == LOAM_ZONE_ANY ? FRAMES : FRAMES / 2; order == 0 && i-- > 0;) {
        if ((now.free >> i & 1) == 0)
            continue;
        now.free &= ~(1u << i);
        return loam_phys_at(BASE + i * LOAM_PAGE_SIZE);
    }
    return loam_phys_none();
}

void scheduled_frame_free(struct loam_frame *frame, loam_phys block, unsigned order)
{
    (void)frame;
    schedule_step();
    SCHEDULE_REQUIRE(order == 0 && (now.free >> index_of(block) & 1) == 0);
    now.free |= 1u << index_of(block);
}

void scheduled_frame_measure(const struct loam_frame *frame, enum loam_zone zone,
                             struct loam_frame_stats *out)
{
    (void)frame;
    memset(out, 0, sizeof *out);
    if (zone != LOAM_ZONE_ANY)
        return;
    out->frame_count = FRAMES * 1024;
    out->free_count = (uint64_t)__builtin_popcount(now.free);
}

uint64_t scheduled_frame_free_in(const struct loam_frame *frame, struct loam_phys_range range)
{
    (void)frame;
    return now.free >> index_of(range.start) & 1;
}

/* ---- what they do -------------------------------------------------------- */

enum does { STOP, TAKE, TAKE_LOW, PUT, PUT_OTHER, FREE, REFILL, DRAIN, MEASURE };

#define CALLS 5u

static const enum does (*script)[CALLS];
static unsigned refused_max; /* takes that may be, if nobody is stopped for ever */

/* Only the first and the last word of a frame are ever written. */
static void scribble(loam_phys frame, uint64_t value)
{
    uint64_t *const words = ram[index_of(frame)];
    words[0] = value;
    words[LOAM_PAGE_SIZE / sizeof(*words) - 1] = value;
}

static void take_one(enum loam_zone zone)
{
    const loam_phys frame = loam_zero_take(&now.pool, zone);

    if (loam_phys_is_none(frame)) {
        now.refused++;
        return;
    }
    const unsigned index = index_of(frame);
    SCHEDULE_REQUIRE((now.owned >> index & 1) == 0 && (now.free >> index & 1) == 0);
    SCHEDULE_REQUIRE(zone == LOAM_ZONE_ANY || index < FRAMES / 2);
    SCHEDULE_REQUIRE(zero_first_other(ram[index]) == LOAM_PAGE_SIZE);
    now.owned |= 1u << index;
    scribble(frame, machine.running + 1);
    now.has[machine.running] = frame;
}

/* Give back what this CPU has, if it has something. */
static void give_one(bool is_put)
{
    const loam_phys frame = now.has[machine.running];

    if (loam_phys_is_none(frame))
        return;
    SCHEDULE_REQUIRE(ram[index_of(frame)][0] == machine.running + 1);
    now.has[machine.running] = loam_phys_none();
    now.owned &= ~(1u << index_of(frame));
    if (is_put) {
        scribble(frame, 0);
        loam_zero_put(&now.pool, frame);
    } else {
        loam_frame_free(NULL, frame, 0);
    }
}

/* Counts that are read meanwhile are never absurd. */
static void measure(void)
{
    struct loam_zero_stats stats;

    loam_zero_measure(&now.pool, &stats);
    SCHEDULE_REQUIRE(stats.level <= FRAMES && stats.hit_count <= CPUS_MAX * CALLS);
}

static void run_script(unsigned self)
{
    for (unsigned i = 0; i < CALLS && script[self][i] != STOP; i++) {
        switch (script[self][i]) {
        case TAKE:
            take_one(LOAM_ZONE_ANY);
            break;
        case TAKE_LOW:
            take_one(LOAM_ZONE_4G);
            break;
        case REFILL:
            (void)!loam_zero_refill(&now.pool, 2);
            break;
        case DRAIN:
            (void)loam_zero_drain(&now.pool);
            break;
        case PUT_OTHER:
            now.owned &= ~(1u << index_of(now.other));
            loam_zero_put(&now.pool, now.other);
            break;
        case MEASURE:
            measure();
            break;
        default:
            give_one(script[self][i] == PUT);
            break;
        }
    }
}

static void restart(void)
{
    now = at_start;
    for (unsigned i = 0; i < FRAMES; i++) {
        ram[i][0] = ram_at_start[i][0];
        ram[i][LOAM_PAGE_SIZE / sizeof(ram[i][0]) - 1] = ram_at_start[i][1];
    }
}

/* The first look into the pool sees nothing. */
static void restart_failing(void)
{
    restart();
    inject_fail_at(1, false);
}

/* What must be true in the end, whatever the schedule. */
static void finish(void)
{
    const unsigned out = (unsigned)__builtin_popcount(now.owned);
    const unsigned in = (unsigned)loam_zero_level(&now.pool);
    const char *const broken = loam_zero_audit(&now.pool);

    if (broken != NULL)
        (void)fprintf(stderr, "%s: ", broken);
    SCHEDULE_REQUIRE(broken == NULL);
    SCHEDULE_REQUIRE(out + in + (unsigned)__builtin_popcount(now.free) == FRAMES);
    SCHEDULE_REQUIRE(now.refused <= refused_max);
    for (unsigned i = out; i < FRAMES; i++) {
        now.refused = 0;
        take_one(LOAM_ZONE_ANY);
        SCHEDULE_REQUIRE(now.refused == 0);
    }
}

static void explore_calls(const enum does (*calls)[CALLS], unsigned cpus, unsigned changes,
                          unsigned refused)
{
    const struct schedule_world world = { cpus, restart, run_script, finish };

    script = calls;
    refused_max = refused;
    for (unsigned homes = 0; homes < 2; homes++) {
        one_home = homes == 0;
        explore(&world, changes);
    }
    one_home = false;
}

/* ---- worlds -------------------------------------------------------------- */

/* A pool with so many frames of CPU 0; all others are free, and full of rubbish. */
static void begin_with(unsigned level, uint64_t capacity)
{
    const struct loam_hhdm hhdm = loam_boot_hhdm(loam_virt_of(ram).addr - BASE);
    static struct loam_frame none;

    memset(&now, 0, sizeof now);
    const struct loam_zero_setup setup = {
        .frame = &none,
        .hhdm = hhdm,
        .cpu_count = 2,
        .capacity = capacity,
        .memory = now.memory,
        .memory_bytes = sizeof now.memory,
    };
    assert_int_equal(loam_zero_init(&now.pool, &setup), LOAM_OK);
    now.free = (1u << FRAMES) - 1;
    memset(ram, 0, sizeof ram);
    for (unsigned i = 0; i < FRAMES; i++)
        scribble(loam_phys_at(BASE + i * LOAM_PAGE_SIZE), 99);
    for (unsigned i = 0; i < CPUS_MAX; i++)
        now.has[i] = loam_phys_none();
    assert_int_equal(loam_zero_refill(&now.pool, level), level);
    now.pool.allowance = 0;
    for (unsigned i = 0; i < FRAMES; i++) {
        ram_at_start[i][0] = ram[i][0];
        ram_at_start[i][1] = ram[i][LOAM_PAGE_SIZE / sizeof(ram[i][0]) - 1];
    }
    at_start = now;
}

/* One frame in the pool, or as many as there are; each CPU has at most one. */
static void takes_and_puts_share_no_frame(void **state)
{
    static const enum does calls[3][CALLS] = { { TAKE, PUT, TAKE }, { TAKE, PUT, TAKE } };

    (void)state;
    for (unsigned level = 0; level <= 4; level += 2) {
        begin_with(level, 2 + level);
        explore_calls(calls, 2, 2, 0);
    }
}

static void three_cpus_take_what_one_puts(void **state)
{
    static const enum does calls[3][CALLS] = { { TAKE, PUT }, { TAKE }, { TAKE, FREE, TAKE } };

    (void)state;
    begin_with(4, 4);
    explore_calls(calls, 3, 2, 0);
    begin_with(1, 2);
    explore_calls(calls, 3, 2, 0);
}

static void frames_are_filled_in_while_others_take(void **state)
{
    static const enum does calls[3][CALLS] = { { REFILL, TAKE }, { TAKE, FREE, REFILL } };
    static const enum does fill[3][CALLS] = { { REFILL }, { REFILL }, { TAKE } };

    (void)state;
    begin_with(1, 3);
    explore_calls(calls, 2, 2, 0);
    begin_with(0, 3);
    explore_calls(calls, 2, 2, 0);
    begin_with(1, 3);
    explore_calls(fill, 3, 2, 0);
}

static void drain_meets_takes_and_puts(void **state)
{
    static const enum does calls[3][CALLS] = { { DRAIN }, { TAKE, PUT, TAKE } };
    static const enum does fill[3][CALLS] = { { DRAIN }, { REFILL, TAKE } };
    static const enum does twice[3][CALLS] = { { DRAIN }, { DRAIN }, { TAKE } };

    (void)state;
    for (unsigned level = 1; level <= 4; level++) {
        begin_with(level, 4);
        explore_calls(calls, 2, 2, 0);
        explore_calls(fill, 2, 2, 0);
        explore_calls(twice, 3, 2, 0);
    }
}

/* Frames that are in too high a zone are claimed by mistake, and put back. */
static void takes_of_a_zone_meet_others(void **state)
{
    static const enum does calls[3][CALLS] = { { TAKE_LOW, PUT }, { TAKE, PUT, TAKE } };
    static const enum does low[3][CALLS] = { { TAKE_LOW, PUT }, { TAKE_LOW, PUT }, { TAKE, PUT } };

    (void)state;
    for (unsigned level = 1; level <= 4; level++) {
        begin_with(level, 4);
        explore_calls(calls, 2, 2, 1);
        begin_with(level, level + level % 2);
        explore_calls(low, 3, 2, 1);
    }
}

/* A frame is claimed that was a low one when it was looked at; meanwhile the others go. */
static void take_of_a_zone_meets_another_frame_in_the_slot(void **state)
{
    static const enum does calls[3][CALLS] = { { TAKE_LOW }, { TAKE, PUT_OTHER, PUT, TAKE } };
    const loam_phys low = loam_phys_at(BASE + LOAM_PAGE_SIZE);
    const loam_phys high = loam_phys_at(BASE + 2 * LOAM_PAGE_SIZE);

    (void)state;
    begin_with(0, 4);
    now.free = 1u | 1u << 3;
    now.owned = 1u << 2;
    now.other = high;
    scribble(high, 0);
    ram_at_start[2][0] = ram_at_start[2][1] = 0;
    scribble(low, 0);
    ram_at_start[1][0] = ram_at_start[1][1] = 0;
    loam_zero_put(&now.pool, low);
    at_start = now;
    explore_calls(calls, 2, 3, 1);
}

static void counts_are_read_during_all_of_it(void **state)
{
    static const enum does calls[3][CALLS] = { { MEASURE }, { TAKE, PUT, TAKE }, { REFILL } };

    (void)state;
    begin_with(1, 4);
    explore_calls(calls, 3, 2, 0);
}

/* A take with a handler in it that empties the pool into the allocator: there is a
 * frame all the time. */
static void take_interrupted_by_a_drain_gets_the_last_frame(void **state)
{
    static const enum does calls[3][CALLS] = { { TAKE }, { DRAIN } };
    const struct schedule_world world = { 2, restart_failing, run_script, finish };
    static const unsigned level[] = { 1, 2 };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        begin_with(level[i], 4);
        now.free = 0;
        now.owned = level[i] == 1 ? 7 : 3; /* the others, of nobody here */
        at_start = now;
        script = calls;
        refused_max = 0;
        if (getenv("DEEP") == NULL) /* a handler ends before what it interrupts goes on */
            explore(&world, 1);
        inject_fail_at(0, false);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_and_puts_share_no_frame),
        cmocka_unit_test(three_cpus_take_what_one_puts),
        cmocka_unit_test(frames_are_filled_in_while_others_take),
        cmocka_unit_test(drain_meets_takes_and_puts),
        cmocka_unit_test(takes_of_a_zone_meet_others),
        cmocka_unit_test(take_of_a_zone_meets_another_frame_in_the_slot),
        cmocka_unit_test(counts_are_read_during_all_of_it),
        cmocka_unit_test(take_interrupted_by_a_drain_gets_the_last_frame),
    };
    return RUN_TESTS(tests);
}
