/*
 * record_schedule_test.c - records under every schedule (schedule.h) of two or three
 * CPUs that do something to one block.
 *
 *     as many succeed as have references, one frees the block, and who does not
 *     succeed stops with the right rule; the audit is silent
 *
 * Only the steps of the records are told apart: a call of the frame allocator is one.
 */
#include "schedule.h"

#include <sanitizer/asan_interface.h>
#include <string.h>

#include <loam/frame.h>

#include "machine.h"

/* ---- the library, with steps --------------------------------------------- */

/* A CPU that panics stops. */
__attribute__((noreturn)) static void scheduled_panic(const struct loam_panic *panic);

/* Names of its own beside the library that all tests are linked with. */
#define loam_record_bytes_needed     scheduled_record_bytes_needed
#define loam_record_init             scheduled_record_init
#define loam_record_add_bytes_needed scheduled_record_add_bytes_needed
#define loam_record_add              scheduled_record_add
#define loam_record_alloc            scheduled_record_alloc
#define loam_record_adopt            scheduled_record_adopt
#define loam_record_adopt_range      scheduled_record_adopt_range
#define loam_record_get              scheduled_record_get
#define loam_record_put              scheduled_record_put
#define loam_record_split            scheduled_record_split
#define loam_record_count            scheduled_record_count
#define loam_record_find             scheduled_record_find
#define loam_record_forget           scheduled_record_forget
#define loam_record_audit            scheduled_record_audit
#define loam_record_digest           scheduled_record_digest
#define loam_port_panic              scheduled_panic

#include "../src/record.c"
#include "../src/record_setup.c"

/* ---- what they do -------------------------------------------------------- */

enum does { STOP, ALLOC, GET, PUT, SPLIT, FIND };

struct call {
    enum does does;
    unsigned order;
};

#define CALLS  5u
#define BASE   UINT64_C(0x40000000)
#define FRAMES 4u

static struct {
    struct loam_frame frame;
    struct loam_record record;
    loam_phys block;
    const char *rule[CPUS_MAX]; /* that a CPU broke */
    unsigned done, freed, allocated;
    unsigned char frame_memory[8192] __attribute__((aligned(64)));
    unsigned char memory[256] __attribute__((aligned(64)));
} now, at_start;

static const struct call (*script)[CALLS];
static void (*check)(void);

static void scheduled_panic(const struct loam_panic *panic)
{
    const unsigned self = scheduled_cpu();

    now.rule[self] = panic->rule;
    SCHEDULE_REQUIRE(panic->subject == now.block.addr);
    finish_cpu();
    abort(); /* it is not run again */
}

static void do_call(const struct call *call)
{
    struct loam_record_block found;

    switch (call->does) {
    case ALLOC:
        now.allocated +=
            !loam_phys_is_none(loam_record_alloc(&now.record, call->order, LOAM_ZONE_ANY));
        break;
    case GET:
        loam_record_get(&now.record, now.block);
        break;
    case PUT:
        now.freed += loam_record_put(&now.record, now.block, call->order);
        break;
    case SPLIT:
        loam_record_split(&now.record, now.block, call->order);
        break;
    default:
        if (loam_record_find(&now.record, now.block, &found)) {
            SCHEDULE_REQUIRE(found.start.addr == now.block.addr && found.count - 1 < 4);
            SCHEDULE_REQUIRE(found.order == 2 || found.order == 0);
        }
        return;
    }
    now.done++;
}

static void run_script(unsigned self)
{
    for (unsigned i = 0; i < CALLS && script[self][i].does != STOP; i++)
        do_call(&script[self][i]);
}

static void restart(void)
{
    /* Stacks of CPUs that stopped were not left in order. */
    ASAN_UNPOISON_MEMORY_REGION(machine.stack, sizeof machine.stack);
    now = at_start;
}

static void finish(void)
{
    const char *const broken = loam_record_audit(&now.record);
    if (broken != NULL)
        (void)fprintf(stderr, "%s: ", broken);
    SCHEDULE_REQUIRE(broken == NULL);
    SCHEDULE_REQUIRE(loam_frame_audit(&now.frame) == NULL);
    check();
}

/* CPUs that stopped by one of two rules. */
static unsigned stopped_by(const char *rule, const char *other)
{
    unsigned count = 0;
    for (unsigned i = 0; i < CPUS_MAX; i++) {
        const char *const seen = now.rule[i];
        if (seen == NULL)
            continue;
        SCHEDULE_REQUIRE(strcmp(seen, rule) == 0 || strcmp(seen, other) == 0);
        count++;
    }
    return count;
}

static uint64_t free_frames(void)
{
    return loam_frame_free_in(&now.frame,
                              loam_phys_range_of(loam_phys_at(BASE), FRAMES * LOAM_PAGE_SIZE));
}

/* All of a memory of four frames is one block. */
static void one_block(bool poison, unsigned references)
{
    const struct loam_phys_range range = { { BASE }, FRAMES * LOAM_PAGE_SIZE };
    const struct loam_frame_setup setup = {
        &range, 1, 1, now.frame_memory, sizeof now.frame_memory, false,
    };

    machine_reset(1);
    machine_add_ram(range.start.addr, range.size);
    memset(&now, 0, sizeof now);
    assert_int_equal(loam_frame_init(&now.frame, &setup), LOAM_OK);
    const struct loam_record_setup records = {
        &now.frame, machine_hhdm(), now.memory, sizeof now.memory, false, poison,
    };
    assert_int_equal(loam_record_init(&now.record, &records), LOAM_OK);
    now.block = loam_record_alloc(&now.record, 2, LOAM_ZONE_ANY);
    assert_int_equal(now.block.addr, BASE);
    for (unsigned i = 1; i < references; i++)
        loam_record_get(&now.record, now.block);
    assert_null(loam_record_audit(&now.record));
    at_start = now;
}

static void explore_calls(const struct call (*calls)[CALLS], unsigned cpus, unsigned changes,
                          void (*check_end)(void))
{
    const struct schedule_world world = { cpus, restart, run_script, finish };

    script = calls;
    check = check_end;
    explore(&world, changes);
}

/* ---- schedules ----------------------------------------------------------- */

static void check_all_are_freed(void)
{
    SCHEDULE_REQUIRE(now.freed == 1);
    SCHEDULE_REQUIRE(free_frames() == FRAMES);
}

static void check_one_put(void)
{
    check_all_are_freed();
    SCHEDULE_REQUIRE(now.done == 1);
    SCHEDULE_REQUIRE(stopped_by(RECORD_UNKNOWN, RECORD_UNKNOWN) == 2);
}

static void check_two_puts(void)
{
    check_all_are_freed();
    SCHEDULE_REQUIRE(now.done == 2);
    SCHEDULE_REQUIRE(stopped_by(RECORD_UNKNOWN, RECORD_UNKNOWN) == 1);
}

static void put_F14_by_three_frees_once(void **state)
{
    static const struct call calls[][CALLS] = { { { PUT, 2 } }, { { PUT, 2 } }, { { PUT, 2 } } };

    (void)state;
    for (int poison = 0; poison < 2; poison++) {
        one_block(poison != 0, 1);
        explore_calls(calls, 3, 3, check_one_put);
        one_block(poison != 0, 2);
        explore_calls(calls, 3, 3, check_two_puts);
    }
}

static void check_one_split_or_put(void)
{
    SCHEDULE_REQUIRE(now.done == 1);
    SCHEDULE_REQUIRE(stopped_by(RECORD_UNKNOWN, RECORD_ORDER) == 1);
    SCHEDULE_REQUIRE(free_frames() == (now.freed == 1 ? FRAMES : 0));
    for (unsigned i = 0; i < FRAMES; i++)
        SCHEDULE_REQUIRE(loam_record_count(&now.record, loam_phys_at(BASE + i * LOAM_PAGE_SIZE)) ==
                         1 - now.freed);
}

static void split_against_put_or_split_is_won_by_one(void **state)
{
    static const struct call put[][CALLS] = { { { SPLIT, 2 } }, { { PUT, 2 } } };
    static const struct call split[][CALLS] = { { { SPLIT, 2 } }, { { SPLIT, 2 } } };

    (void)state;
    one_block(false, 1);
    explore_calls(put, 2, 3, check_one_split_or_put);
    explore_calls(split, 2, 3, check_one_split_or_put);
}

static void check_nobody_stopped(void)
{
    check_all_are_freed();
    SCHEDULE_REQUIRE(stopped_by("", "") == 0);
}

static void references_of_two_cpus_are_counted(void **state)
{
    static const struct call calls[][CALLS] = {
        { { GET, 0 }, { PUT, 2 }, { PUT, 2 } },
        { { GET, 0 }, { PUT, 2 }, { PUT, 2 } },
        { { FIND, 0 }, { FIND, 0 } },
    };

    (void)state;
    one_block(false, 2);
    explore_calls(calls, 3, 2, check_nobody_stopped);
    explore_calls(calls, 2, 3, check_nobody_stopped);
}

static void check_get_or_free(void)
{
    const unsigned stopped = stopped_by(RECORD_UNKNOWN, RECORD_UNKNOWN);

    SCHEDULE_REQUIRE(stopped == now.freed);
    SCHEDULE_REQUIRE(loam_record_count(&now.record, now.block) == 1 - now.freed);
    SCHEDULE_REQUIRE(free_frames() == (now.freed == 1 ? FRAMES : 0));
}

/* Who has no reference and takes one may find that there is none left. */
static void get_against_the_last_put_is_right_or_stops(void **state)
{
    static const struct call calls[][CALLS] = { { { GET, 0 } }, { { PUT, 2 } } };

    (void)state;
    one_block(false, 1);
    explore_calls(calls, 2, 3, check_get_or_free);
}

static void check_handed_over(void)
{
    SCHEDULE_REQUIRE(stopped_by("", "") == 0);
    SCHEDULE_REQUIRE(now.freed == 1);
    SCHEDULE_REQUIRE(loam_record_count(&now.record, now.block) == now.allocated);
    SCHEDULE_REQUIRE(free_frames() == (now.allocated == 1 ? 0 : FRAMES));
}

/* Whoever gets the block that another CPU frees gets it clean of its record, and as it
 * was filled. */
static void alloc_of_what_is_being_freed_gets_it_clean(void **state)
{
    static const struct call calls[][CALLS] = {
        { { PUT, 2 } },
        { { ALLOC, 2 }, { FIND, 0 } },
    };

    (void)state;
    for (int poison = 0; poison < 2; poison++) {
        one_block(poison != 0, 1);
        explore_calls(calls, 2, 3, check_handed_over);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(put_F14_by_three_frees_once),
        cmocka_unit_test(split_against_put_or_split_is_won_by_one),
        cmocka_unit_test(references_of_two_cpus_are_counted),
        cmocka_unit_test(get_against_the_last_put_is_right_or_stops),
        cmocka_unit_test(alloc_of_what_is_being_freed_gets_it_clean),
    };
    return RUN_TESTS(tests);
}
