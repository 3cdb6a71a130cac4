/*
 * frame_schedule_test.c - the frame allocator under every schedule (schedule.h) of two
 * or three CPUs.
 *
 *     no frame is given to two; what was free before is free afterwards, and the
 *     audit is silent; nobody waits for another one
 *
 * There are two blocks only, so who is stopped inside a call may own what another one
 * needs: a bound says how many requests may be refused for that.
 */
#include "schedule.h"

#include <string.h>

/* ---- the library, with steps --------------------------------------------- */

/* Names of its own beside the library that all tests are linked with. */
#define loam_frame_bytes_needed       scheduled_frame_bytes_needed
#define loam_frame_init               scheduled_frame_init
#define loam_frame_alloc              scheduled_frame_alloc
#define loam_frame_free               scheduled_frame_free
#define loam_frame_alloc_bulk         scheduled_frame_alloc_bulk
#define loam_frame_free_bulk          scheduled_frame_free_bulk
#define loam_frame_alloc_range        scheduled_frame_alloc_range
#define loam_frame_reserve            scheduled_frame_reserve
#define loam_frame_release            scheduled_frame_release
#define loam_frame_drain              scheduled_frame_drain
#define loam_frame_measure            scheduled_frame_measure
#define loam_frame_audit              scheduled_frame_audit
#define loam_frame_digest             scheduled_frame_digest
#define loam_frame_can_add            scheduled_frame_can_add
#define loam_frame_add                scheduled_frame_add
#define loam_frame_remove             scheduled_frame_remove
#define loam_frame_has                scheduled_frame_has
#define loam_frame_free_in            scheduled_frame_free_in
#define loam_frame_next_range         scheduled_frame_next_range
#define loam_frame_alloc_on           scheduled_frame_alloc_on
#define loam_frame_set_cpu            scheduled_frame_set_cpu
#define loam_frame_set_nodes          scheduled_frame_set_nodes
#define loam_frame_measure_node       scheduled_frame_measure_node
#define loam_frame_measure_cpu        scheduled_frame_measure_cpu
#define loam_frame_measure_orders     scheduled_frame_measure_orders
#define loam_frame_add_bytes_needed   scheduled_frame_add_bytes_needed
#define loam_frame_nodes_bytes_needed scheduled_frame_nodes_bytes_needed
#define loam_port_panic               scheduled_panic
#define loam_port_cpu                 scheduled_cpu
#define FRAME_WAIT                    2u

#include <loam/port.h>

__attribute__((noreturn)) void scheduled_panic(const struct loam_panic *panic);

#include "../src/frame.c"
#include "../src/frame_measure.c"
#include "../src/frame_range.c"
#include "../src/frame_setup.c"

/* ---- panics -------------------------------------------------------------- */

static bool may_panic;
static unsigned panics;

/* A CPU that panics stops; what has it to do with the others is their matter. */
void loam_port_panic(const struct loam_panic *panic)
{
    if (!machine.is_on || !may_panic) {
        (void)fprintf(stderr, "%s: ", panic->rule);
        SCHEDULE_REQUIRE(may_panic && machine.is_on);
    }
    panics++;
    finish_cpu();
    abort(); /* it is not run again */
}

/* ---- what they do -------------------------------------------------------- */

enum does { STOP, ALLOC, FREE, TAKE, GIVE, RANGE, PULL, DRAIN };

/* A call: of a block of an order in a slot of the CPU's own or, from SHARED on, of all. */
struct call {
    enum does does;
    unsigned order, slot;
};

#define CALLS  6u
#define SLOTS  12u
#define SHARED 8u
#define BASE   UINT64_C(0x47e00000) /* its blocks' bits lie in two words of a map */
#define FRAMES 1024u                /* two blocks */

static struct {
    struct loam_frame frame;
    unsigned char memory[8192] __attribute__((aligned(64)));
    loam_phys slot[CPUS_MAX][SLOTS]; /* shared ones are CPU 0's */
    unsigned char owned[FRAMES];
    unsigned refused;
} now, at_start;

static const struct call (*script)[CALLS];
static unsigned refused_max; /* requests that may be */

static void own(loam_phys start, uint64_t count, unsigned char value)
{
    for (uint64_t i = 0; i < count; i++) {
        unsigned char *const owned = &now.owned[(start.addr - BASE) / LOAM_PAGE_SIZE + i];
        SCHEDULE_REQUIRE(*owned != value);
        *owned = value;
    }
}

static loam_phys *slot_of(const struct call *call)
{
    return &now.slot[call->slot < SHARED ? machine.running : 0][call->slot];
}

static void do_call(const struct call *call)
{
    loam_phys *const slot = slot_of(call);
    const uint64_t count = UINT64_C(1) << call->order;
    const struct loam_frame_request request = { .page_count = count + 1 };
    const struct loam_frame_addition again = {
        .range = loam_phys_range_of(*slot, count * LOAM_PAGE_SIZE),
    };
    loam_phys found = loam_phys_none();

    switch (call->does) {
    case ALLOC:
        found = loam_frame_alloc(&now.frame, call->order, LOAM_ZONE_ANY);
        break;
    case TAKE: /* the block in the slot itself */
        found = *slot;
        if (loam_frame_reserve(&now.frame, loam_phys_range_of(found, count * LOAM_PAGE_SIZE)) !=
            LOAM_OK)
            found = loam_phys_none();
        break;
    case RANGE:
        if (loam_frame_alloc_range(&now.frame, &request, &found) == LOAM_OK) {
            own(found, count + 1, 1);
            own(found, count + 1, 0);
            loam_frame_release(&now.frame, loam_phys_range_of(found, (count + 1) * LOAM_PAGE_SIZE));
        } else {
            now.refused++;
        }
        return;
    case PULL: /* the block in the slot goes, and comes again */
        if (loam_frame_remove(&now.frame, again.range) == LOAM_OK) {
            own(*slot, count, 1);
            own(*slot, count, 0);
            SCHEDULE_REQUIRE(loam_frame_add(&now.frame, &again) == LOAM_OK);
        } else {
            now.refused++;
        }
        return;
    case FREE:
    case GIVE:
        if (loam_phys_is_none(*slot))
            return;
        own(*slot, count, 0);
        if (call->does == FREE)
            loam_frame_free(&now.frame, *slot, call->order);
        else
            loam_frame_release(&now.frame, loam_phys_range_of(*slot, count * LOAM_PAGE_SIZE));
        return;
    default:
        loam_frame_drain(&now.frame);
        return;
    }
    *slot = found;
    now.refused += loam_phys_is_none(found);
    if (!loam_phys_is_none(found))
        own(found, count, 1);
}

static void run_script(unsigned self)
{
    for (unsigned i = 0; i < CALLS && script[self][i].does != STOP; i++)
        do_call(&script[self][i]);
}

static void restart(void)
{
    now = at_start;
}

/* What must be true in the end, whatever the schedule. */
static void finish(void)
{
    uint64_t owned = 0;
    struct loam_frame_stats stats;

    const char *const broken = loam_frame_audit(&now.frame);
    if (broken != NULL)
        (void)fprintf(stderr, "%s: ", broken);
    SCHEDULE_REQUIRE(broken == NULL);
    for (unsigned i = 0; i < FRAMES; i++)
        owned += now.owned[i];
    loam_frame_measure(&now.frame, LOAM_ZONE_4G, &stats);
    SCHEDULE_REQUIRE(stats.free_count == FRAMES - owned);
    SCHEDULE_REQUIRE(now.refused <= refused_max);
    loam_frame_drain(&now.frame);
    SCHEDULE_REQUIRE(loam_frame_audit(&now.frame) == NULL);
    for (unsigned i = 0; i < FRAMES; i++)
        if (now.owned[i] != 0)
            loam_frame_free(&now.frame, loam_phys_at(BASE + i * LOAM_PAGE_SIZE), 0);
    for (unsigned i = 0; i < FRAMES / 512; i++)
        SCHEDULE_REQUIRE(!loam_phys_is_none(loam_frame_alloc(&now.frame, 9, LOAM_ZONE_ANY)));
}

static void explore_calls(const struct call (*calls)[CALLS], unsigned cpus, unsigned changes,
                          unsigned refused)
{
    const struct schedule_world world = { cpus, restart, run_script, finish };

    script = calls;
    refused_max = refused;
    explore(&world, changes);
}

/* ---- worlds -------------------------------------------------------------- */

/* Two blocks, all free. */
static void two_blocks(void)
{
    const struct loam_phys_range range = { { BASE }, FRAMES * LOAM_PAGE_SIZE };
    const struct loam_frame_setup setup = { &range, 1, 1, now.memory, sizeof now.memory, false };

    memset(&now, 0, sizeof now);
    for (unsigned cpu = 0; cpu < CPUS_MAX; cpu++)
        for (unsigned i = 0; i < SLOTS; i++)
            now.slot[cpu][i] = loam_phys_none();
    assert_int_equal(loam_frame_init(&now.frame, &setup), LOAM_OK);
}

/* What is there now is the start of each schedule. */
static void begin_here(void)
{
    loam_frame_drain(&now.frame);
    assert_null(loam_frame_audit(&now.frame));
    at_start = now;
}

/* Take frames [from, to) for good. */
static void use(uint64_t from, uint64_t to)
{
    const loam_phys start = loam_phys_at(BASE + from * LOAM_PAGE_SIZE);

    assert_int_equal(
        loam_frame_reserve(&now.frame, loam_phys_range_of(start, (to - from) * LOAM_PAGE_SIZE)),
        LOAM_OK);
    own(start, to - from, 1);
}

/* Let a shared slot name a block. */
static void name(unsigned slot, uint64_t frame)
{
    now.slot[0][slot] = loam_phys_at(BASE + frame * LOAM_PAGE_SIZE);
}

/* ---- schedules ----------------------------------------------------------- */

static void frame_single_frames_of_two_cpus(void **state)
{
    static const struct call calls[][CALLS] = {
        { { ALLOC, 0, 0 }, { ALLOC, 0, 1 }, { FREE, 0, 0 }, { FREE, 0, 1 } },
        { { ALLOC, 0, 0 }, { FREE, 0, 0 }, { ALLOC, 0, 0 } },
    };

    (void)state;
    two_blocks();
    begin_here();
    explore_calls(calls, 2, 2, 0);
}

/* One frame is free: one gets it, the other does not, nobody waits. */
static void frame_F15_last_frame_goes_to_one(void **state)
{
    static const struct call calls[][CALLS] = { { { ALLOC, 0, 0 } }, { { ALLOC, 0, 0 } } };

    (void)state;
    two_blocks();
    use(0, 700);
    use(701, FRAMES);
    begin_here();
    explore_calls(calls, 2, 2, 1);
}

/* A block becomes free by two CPUs' last frames, while a third wants it as a whole. */
static void frame_block_that_becomes_free_is_found(void **state)
{
    static const struct call calls[][CALLS] = {
        { { FREE, 0, 8 } },
        { { FREE, 0, 9 } },
        { { ALLOC, 9, 0 }, { FREE, 9, 0 } },
    };

    (void)state;
    two_blocks();
    use(0, 512);
    use(600, 602);
    name(8, 600);
    name(9, 601);
    begin_here();
    explore_calls(calls, 3, 2, 1);
}

/* A full block: both free a frame of the same row. */
static void frame_full_block_with_two_frees_is_shown(void **state)
{
    static const struct call calls[][CALLS] = {
        { { FREE, 0, 8 }, { ALLOC, 0, 0 } },
        { { FREE, 0, 9 }, { ALLOC, 0, 0 } },
    };

    (void)state;
    two_blocks();
    use(0, FRAMES);
    name(8, 600);
    name(9, 601);
    begin_here();
    explore_calls(calls, 2, 2, 2);
}

static void frame_groups_and_single_frames(void **state)
{
    static const struct call calls[][CALLS] = {
        { { ALLOC, 3, 0 }, { FREE, 3, 0 }, { ALLOC, 7, 1 } },
        { { ALLOC, 0, 0 }, { ALLOC, 5, 1 }, { FREE, 0, 0 } },
    };

    (void)state;
    two_blocks();
    begin_here();
    explore_calls(calls, 2, 2, 2);
}

static void frame_blocks_of_two_cpus(void **state)
{
    static const struct call calls[][CALLS] = {
        { { ALLOC, 9, 0 }, { FREE, 9, 0 }, { ALLOC, 9, 0 } },
        { { ALLOC, 9, 0 }, { FREE, 9, 0 }, { ALLOC, 0, 1 } },
    };

    (void)state;
    two_blocks();
    begin_here();
    explore_calls(calls, 2, 2, 0);
}

/* A large block that one CPU frees in halves while another wants it. */
static void frame_parts_of_a_large_block(void **state)
{
    static const struct call calls[][CALLS] = {
        { { FREE, 8, 8 }, { FREE, 8, 9 } },
        { { ALLOC, 9, 0 }, { ALLOC, 0, 1 } },
    };

    (void)state;
    two_blocks();
    use(0, FRAMES);
    name(8, 512);
    name(9, 768);
    begin_here();
    explore_calls(calls, 2, 2, 2);
}

static void frame_exact_ranges_against_allocation(void **state)
{
    static const struct call calls[][CALLS] = {
        { { TAKE, 4, 8 } },
        { { ALLOC, 0, 0 }, { FREE, 0, 0 }, { RANGE, 4, 1 } },
    };

    (void)state;
    two_blocks();
    name(8, 1000);
    begin_here();
    explore_calls(calls, 2, 1, 2);
}

/* Who asks for a range and who asks for a frame want the same ones. */
static void frame_F07_exact_range_of_the_last_frames(void **state)
{
    static const struct call calls[][CALLS] = {
        { { TAKE, 1, 8 }, { DRAIN, 0, 0 } },
        { { ALLOC, 0, 0 }, { ALLOC, 0, 1 }, { DRAIN, 0, 0 } },
        { { TAKE, 0, 9 } },
    };

    (void)state;
    two_blocks();
    use(0, 700);
    use(702, FRAMES);
    name(8, 700);
    name(9, 701);
    begin_here();
    explore_calls(calls, 3, 1, 4);
    explore_calls(calls, 2, 2, 3);
}

/* Between a look at a block and its claim, others take all of it and give it back: its
 * word and its rows read as before, and stand for the same. */
static void frame_F20_block_that_is_as_before_again(void **state)
{
    static const struct call calls[][CALLS] = {
        { { ALLOC, 3, 0 }, { ALLOC, 9, 1 } },
        { { TAKE, 9, 8 }, { GIVE, 9, 8 }, { TAKE, 3, 9 }, { GIVE, 3, 9 } },
    };

    (void)state;
    two_blocks();
    name(8, 512);
    name(9, 504);
    begin_here();
    explore_calls(calls, 2, 2, 3);
}

/* A block is removed and added while others take its frames, or free the last one. */
static void frame_block_that_goes_and_comes(void **state)
{
    static const struct call calls[][CALLS] = {
        { { PULL, 9, 8 }, { DRAIN, 0, 0 } },
        { { ALLOC, 0, 0 }, { FREE, 0, 0 }, { ALLOC, 9, 1 } },
    };
    static const struct call last[][CALLS] = {
        { { PULL, 9, 8 } },
        { { FREE, 0, 9 }, { ALLOC, 3, 0 } },
    };

    (void)state;
    two_blocks();
    name(8, 512);
    begin_here();
    explore_calls(calls, 2, 1, 3);
    two_blocks();
    use(0, 512);
    use(700, 701);
    name(8, 512);
    name(9, 700);
    begin_here();
    explore_calls(last, 2, 2, 2);
}

/* A lane gives its block up while the last frame of it is freed elsewhere. */
static void frame_block_given_up_while_it_becomes_free(void **state)
{
    static const struct call calls[][CALLS] = {
        { { ALLOC, 0, 0 }, { FREE, 0, 0 }, { DRAIN, 0, 0 } },
        { { FREE, 0, 8 } },
    };

    (void)state;
    two_blocks();
    use(0, 512);
    use(700, 701);
    name(8, 700);
    begin_here();
    explore_calls(calls, 2, 2, 1);
}

/* Two look at the only block with free frames, and one gives it up. */
static void frame_block_given_up_while_it_is_looked_at(void **state)
{
    static const struct call calls[][CALLS] = {
        { { ALLOC, 0, 0 }, { DRAIN, 0, 0 } },
        { { ALLOC, 0, 0 }, { DRAIN, 0, 0 } },
    };

    (void)state;
    two_blocks();
    use(0, 600);
    begin_here();
    explore_calls(calls, 2, 2, 3);
}

static void frame_drains_against_allocation(void **state)
{
    static const struct call calls[][CALLS] = {
        { { ALLOC, 0, 0 }, { ALLOC, 2, 1 }, { FREE, 0, 0 } },
        { { DRAIN, 0, 0 }, { ALLOC, 10, 0 } },
        { { DRAIN, 0, 0 } },
    };

    (void)state;
    two_blocks();
    begin_here();
    explore_calls(calls, 3, 1, 3);
}

/* ---- the same frame, freed by two ------------------------------------------ */

/*
 * CPU 0 frees a frame and two beside it, and takes two of the three again; CPU 1 frees the
 * first one, too, at any moment of this: one of the two is told. All is in use before.
 */
static void free_with_another(unsigned self)
{
    const loam_phys frame = loam_phys_at(BASE + 200 * LOAM_PAGE_SIZE);

    loam_frame_free(&now.frame, frame, 0);
    if (self != 0)
        return;
    loam_frame_free(&now.frame, loam_phys_at(frame.addr - LOAM_PAGE_SIZE), 0);
    loam_frame_free(&now.frame, loam_phys_at(frame.addr - 2 * LOAM_PAGE_SIZE), 0);
    for (unsigned i = 0; i < 2; i++)
        now.slot[0][i] = loam_frame_alloc(&now.frame, 0, LOAM_ZONE_ANY);
}

static void restart_panics(void)
{
    restart();
    panics = 0;
}

static void one_was_told(void)
{
    SCHEDULE_REQUIRE(panics == 1);
    SCHEDULE_REQUIRE(loam_frame_audit(&now.frame) == NULL);
}

static void free_F14_by_two_is_always_seen(void **state)
{
    const struct schedule_world world = { 2, restart_panics, free_with_another, one_was_told };

    (void)state;
    two_blocks();
    use(0, FRAMES);
    begin_here();
    may_panic = true;
    explore(&world, 2);
    may_panic = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frame_single_frames_of_two_cpus),
        cmocka_unit_test(frame_F15_last_frame_goes_to_one),
        cmocka_unit_test(frame_block_that_becomes_free_is_found),
        cmocka_unit_test(frame_full_block_with_two_frees_is_shown),
        cmocka_unit_test(frame_groups_and_single_frames),
        cmocka_unit_test(frame_blocks_of_two_cpus),
        cmocka_unit_test(frame_parts_of_a_large_block),
        cmocka_unit_test(frame_exact_ranges_against_allocation),
        cmocka_unit_test(frame_F07_exact_range_of_the_last_frames),
        cmocka_unit_test(frame_F20_block_that_is_as_before_again),
        cmocka_unit_test(frame_block_that_goes_and_comes),
        cmocka_unit_test(frame_block_given_up_while_it_becomes_free),
        cmocka_unit_test(frame_block_given_up_while_it_is_looked_at),
        cmocka_unit_test(frame_drains_against_allocation),
        cmocka_unit_test(free_F14_by_two_is_always_seen),
    };
    return RUN_TESTS(tests);
}
