/*
 * ledger_test.c - frames of each owner, counted by the CPU that takes or gives them.
 * Rows F18 and F28 of the bad-input list.
 */
#include "harness.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include <loam/ledger.h>

#include "machine.h"

#define LINE_BYTES 256u
#define OWNER      LOAM_OWNER_KERNEL

static _Alignas(64) unsigned char memory[8 * LINE_BYTES + 64];
static struct loam_ledger ledger;

/* A machine of so many CPUs, and a ledger for some of them. */
static void power_on(unsigned cpus, unsigned lines)
{
    machine_reset(cpus);
    memset(memory, 0xa5, sizeof memory);
    assert_int_equal(loam_ledger_init(&ledger, lines, memory, lines * LINE_BYTES), LOAM_OK);
}

static void sub(enum loam_owner owner, uint64_t count)
{
    assert_true(loam_ledger_sub(&ledger, owner, count));
}

static void ledger_starts_with_nothing_in_memory_of_any_content(void **state)
{
    (void)state;
    power_on(4, 4);
    for (unsigned owner = 0; owner < LOAM_OWNERS; owner++)
        assert_int_equal(loam_ledger_total(&ledger, (enum loam_owner)owner), 0);
    assert_int_equal(loam_ledger_sum(&ledger), 0);
    assert_null(loam_ledger_audit(&ledger));
    assert_int_equal(memory[4 * LINE_BYTES], 0xa5); /* not a byte more */
}

static void init_refuses_what_is_malformed(void **state)
{
    struct loam_ledger other = { NULL, 7 };
    (void)state;
    assert_int_equal(loam_ledger_bytes_needed(0), 0);
    assert_int_equal(loam_ledger_bytes_needed(LOAM_CPUS_MAX + 1), 0);
    assert_int_equal(loam_ledger_bytes_needed(3), 3 * LINE_BYTES);
    assert_int_equal(loam_ledger_bytes_needed(LOAM_CPUS_MAX), LOAM_CPUS_MAX * LINE_BYTES);
    assert_int_equal(loam_ledger_init(&other, 0, memory, sizeof memory), LOAM_INVALID);
    assert_int_equal(loam_ledger_init(&other, LOAM_CPUS_MAX + 1, memory, SIZE_MAX), LOAM_INVALID);
    assert_int_equal(loam_ledger_init(&other, 1, NULL, sizeof memory), LOAM_INVALID);
    assert_int_equal(loam_ledger_init(&other, 1, memory + 8, 4 * LINE_BYTES), LOAM_INVALID);
    assert_int_equal(loam_ledger_init(&other, 2, memory, 2 * LINE_BYTES - 1), LOAM_NO_SPACE);
    assert_null(other.line);
    assert_int_equal(other.line_count, 7);
}

static void frames_of_an_owner_are_those_of_no_other(void **state)
{
    (void)state;
    power_on(1, 1);
    for (unsigned owner = 0; owner < LOAM_OWNERS; owner++)
        loam_ledger_add(&ledger, (enum loam_owner)owner, owner + 1);
    for (unsigned owner = 0; owner < LOAM_OWNERS; owner++)
        assert_int_equal(loam_ledger_total(&ledger, (enum loam_owner)owner), owner + 1);
    assert_int_equal(loam_ledger_sum(&ledger), LOAM_OWNERS * (LOAM_OWNERS + 1) / 2);
    sub(OWNER, 3);
    assert_int_equal(loam_ledger_total(&ledger, OWNER), OWNER + 1 - 3);
}

static void frames_may_be_given_on_another_cpu(void **state)
{
    (void)state;
    power_on(3, 3);
    loam_ledger_add(&ledger, OWNER, 512);
    machine_set_cpu(1);
    for (unsigned i = 0; i < 500; i++)
        sub(OWNER, 1);
    machine_set_cpu(2);
    sub(OWNER, 11);
    assert_int_equal(loam_ledger_total(&ledger, OWNER), 1);
    assert_null(loam_ledger_audit(&ledger));
    sub(OWNER, 1);
    assert_int_equal(loam_ledger_total(&ledger, OWNER), 0);
    assert_null(loam_ledger_audit(&ledger));
}

/* More CPUs than lines, or a number out of range: shared lines, the same sums. */
static void ledger_F18_counts_for_every_cpu_there_is(void **state)
{
    (void)state;
    power_on(8, 3);
    for (unsigned cpu = 0; cpu < 8; cpu++) {
        machine_set_cpu(cpu);
        loam_ledger_add(&ledger, OWNER, cpu + 1);
    }
    assert_int_equal(loam_ledger_total(&ledger, OWNER), 36);
    assert_int_equal(memory[3 * LINE_BYTES], 0xa5);
    for (unsigned cpu = 8; cpu-- > 0;) {
        machine_set_cpu(cpu);
        sub(OWNER, 8 - cpu);
    }
    assert_int_equal(loam_ledger_sum(&ledger), 0);
    assert_null(loam_ledger_audit(&ledger));
}

static void giving_what_nobody_has_is_refused_and_counts_nothing(void **state)
{
    (void)state;
    power_on(2, 2);
    loam_ledger_add(&ledger, LOAM_OWNER_METADATA, 100);
    const uint64_t before = loam_ledger_digest(&ledger);
    assert_false(loam_ledger_sub(&ledger, OWNER, 1));
    machine_set_cpu(1);
    assert_false(loam_ledger_sub(&ledger, OWNER, 1));
    assert_false(loam_ledger_sub(&ledger, LOAM_OWNER_METADATA, 101));
    assert_int_equal(loam_ledger_digest(&ledger), before);
    sub(LOAM_OWNER_METADATA, 100);
    assert_false(loam_ledger_sub(&ledger, OWNER, 1));
    machine_set_cpu(0); /* has taken 100, so this one is not looked at ... */
    sub(LOAM_OWNER_METADATA, 1);
    assert_string_equal(loam_ledger_audit(&ledger),
                        "ledger: an owner has given back more frames than he took");
    assert_int_equal(loam_ledger_total(&ledger, LOAM_OWNER_METADATA), 0); /* ... never below 0 */
    assert_int_equal(loam_ledger_sum(&ledger), 0);
}

static void unknown_owner_panics(void **state)
{
    (void)state;
    power_on(1, 1);
    const enum loam_owner unknown = (enum loam_owner)LOAM_OWNERS;
    EXPECT_PANIC("ledger: unknown owner", loam_ledger_add(&ledger, unknown, 5));
    assert_int_equal(panic_trap.seen.subject, LOAM_OWNERS);
    assert_int_equal(panic_trap.seen.detail, 5);
    EXPECT_PANIC("ledger: unknown owner", (void)!loam_ledger_sub(&ledger, unknown, 5));
    EXPECT_PANIC("ledger: unknown owner", (void)!loam_ledger_total(&ledger, unknown));
    assert_int_equal(loam_ledger_sum(&ledger), 0);
}

static void digest_is_of_totals_not_of_who_counted(void **state)
{
    (void)state;
    power_on(2, 2);
    const uint64_t empty = loam_ledger_digest(&ledger);
    loam_ledger_add(&ledger, OWNER, 9);
    const uint64_t nine = loam_ledger_digest(&ledger);
    assert_int_not_equal(nine, empty);
    machine_set_cpu(1);
    sub(OWNER, 9);
    assert_int_equal(loam_ledger_digest(&ledger), empty);
    loam_ledger_add(&ledger, OWNER, 9);
    assert_int_equal(loam_ledger_digest(&ledger), nine);
    loam_ledger_add(&ledger, LOAM_OWNER_BAD, 1);
    sub(OWNER, 1);
    assert_int_not_equal(loam_ledger_digest(&ledger), nine);
}

static void audit_notices_a_ledger_that_was_never_started(void **state)
{
    const struct loam_ledger none = { NULL, 0 };
    (void)state;
    assert_string_equal(loam_ledger_audit(&none), "ledger: there are no lines");
}

/* The oracle: one number per owner. */
static void totals_are_those_of_plain_numbers(void **state)
{
    uint64_t model[LOAM_OWNERS] = { 0 };
    (void)state;
    power_on(5, 4);
    for (unsigned i = 0; i < 20000; i++) {
        const unsigned owner = (unsigned)test_random_below(LOAM_OWNERS);
        const uint64_t count = test_random_below(600);
        machine_set_cpu((unsigned)test_random_below(5));
        if (test_random_below(2) == 0) {
            loam_ledger_add(&ledger, (enum loam_owner)owner, count);
            model[owner] += count;
        } else if (count <= model[owner]) {
            sub((enum loam_owner)owner, count);
            model[owner] -= count;
        }
        assert_int_equal(loam_ledger_total(&ledger, (enum loam_owner)owner), model[owner]);
    }
    machine_set_cpu(0);
    assert_null(loam_ledger_audit(&ledger));
}

/* ---- threads --------------------------------------------------------------- */

#define THREADS 4u
#define ROUNDS  20000u

static _Atomic uint64_t purse; /* frames that somebody took and anybody may give */
static _Atomic bool is_over;

/* Take, put into the purse, and give what is found there: mostly another's. */
static void *take_and_give(void *cpu)
{
    machine_set_cpu((unsigned)(uintptr_t)cpu);
    for (unsigned i = 0; i < ROUNDS; i++) {
        loam_ledger_add(&ledger, OWNER, 1);
        atomic_fetch_add(&purse, 1);
        uint64_t seen = atomic_load(&purse);
        if (seen != 0 && i % 3 != 0 && atomic_compare_exchange_strong(&purse, &seen, seen - 1) &&
            !loam_ledger_sub(&ledger, OWNER, 1))
            return NULL; /* what was taken must never look as if it was not */
    }
    return cpu;
}

/* Sums taken meanwhile. @return NULL: one was not possible */
static void *sum_up(void *ok)
{
    while (!atomic_load(&is_over))
        if (loam_ledger_total(&ledger, OWNER) > (uint64_t)THREADS * ROUNDS)
            return NULL;
    return ok;
}

static void ledger_F28_sums_are_possible_meanwhile_and_exact_in_the_end(void **state)
{
    pthread_t thread[THREADS];
    pthread_t reader;
    void *result;
    (void)state;
    power_on(THREADS + 1, THREADS - 1); /* two of them share a line */
    atomic_store(&purse, 0);
    atomic_store(&is_over, false);
    assert_int_equal(pthread_create(&reader, NULL, sum_up, &ledger), 0);
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, take_and_give, (void *)(i + 1)), 0);
    for (uintptr_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(thread[i], &result), 0);
        assert_int_equal((uintptr_t)result, i + 1);
    }
    atomic_store(&is_over, true);
    assert_int_equal(pthread_join(reader, &result), 0);
    assert_non_null(result);
    assert_int_equal(loam_ledger_total(&ledger, OWNER), atomic_load(&purse));
    assert_null(loam_ledger_audit(&ledger));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ledger_starts_with_nothing_in_memory_of_any_content),
        cmocka_unit_test(init_refuses_what_is_malformed),
        cmocka_unit_test(frames_of_an_owner_are_those_of_no_other),
        cmocka_unit_test(frames_may_be_given_on_another_cpu),
        cmocka_unit_test(ledger_F18_counts_for_every_cpu_there_is),
        cmocka_unit_test(giving_what_nobody_has_is_refused_and_counts_nothing),
        cmocka_unit_test(unknown_owner_panics),
        cmocka_unit_test(digest_is_of_totals_not_of_who_counted),
        cmocka_unit_test(audit_notices_a_ledger_that_was_never_started),
        cmocka_unit_test(totals_are_those_of_plain_numbers),
        cmocka_unit_test(ledger_F28_sums_are_possible_meanwhile_and_exact_in_the_end),
    };
    return RUN_TESTS(tests);
}
