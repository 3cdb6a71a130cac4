/*
 * harness.h - what every host test shares, beside cmocka: expected panics,
 * failure injection, and a seeded random source.
 *
 * Include this instead of <cmocka.h>. A failed comparison prints both values. A
 * test that compares nothing fails, and so does a FILTER that selects nothing.
 */
#ifndef LOAM_TESTS_HARNESS_H
#define LOAM_TESTS_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <loam/port.h>

/* ---- comparisons are counted --------------------------------------------- */

/* Called by every comparison; any thread. */
void harness_compared(void);

/* What cmocka's assert_...() end in. assert_null() and the like end in these. */
#define _assert_true(...)             (harness_compared(), _assert_true(__VA_ARGS__))
#define _assert_int_equal(...)        (harness_compared(), _assert_int_equal(__VA_ARGS__))
#define _assert_int_not_equal(...)    (harness_compared(), _assert_int_not_equal(__VA_ARGS__))
#define _assert_string_equal(...)     (harness_compared(), _assert_string_equal(__VA_ARGS__))
#define _assert_string_not_equal(...) (harness_compared(), _assert_string_not_equal(__VA_ARGS__))
#define _assert_memory_equal(...)     (harness_compared(), _assert_memory_equal(__VA_ARGS__))
#define _assert_memory_not_equal(...) (harness_compared(), _assert_memory_not_equal(__VA_ARGS__))
#define _assert_in_range(...)         (harness_compared(), _assert_in_range(__VA_ARGS__))
#define _assert_not_in_range(...)     (harness_compared(), _assert_not_in_range(__VA_ARGS__))

/* ---- expected panics ----------------------------------------------------- */

/* Where loam_port_panic() goes while a panic is expected. One per thread. One
 * that is not expected prints "panic: RULE" and where, and aborts. */
struct panic_trap {
    jmp_buf landing;
    struct loam_panic seen;
    bool armed;
};
extern _Thread_local struct panic_trap panic_trap;

/* Fail unless the statement panics with exactly this rule. The panic's subject
 * and detail are in panic_trap.seen afterwards. */
#define EXPECT_PANIC(expected_rule, statement)                      \
    do {                                                            \
        panic_trap.armed = true;                                    \
        if (setjmp(panic_trap.landing) == 0) {                      \
            statement;                                              \
            panic_trap.armed = false;                               \
            fail_msg("no panic; expected: %s", (expected_rule));    \
        }                                                           \
        assert_string_equal(panic_trap.seen.rule, (expected_rule)); \
    } while (0)

/* ---- failure injection --------------------------------------------------- */

/* From now on let the nth injection point (1 = next) fail, once or for ever.
 * 0: none. Resets the count of points passed. */
void inject_fail_at(uint64_t nth, bool for_ever);

/* Did the armed point come up since inject_fail_at()? */
bool inject_fired(void);

/*
 * Run a block with the 1st, 2nd, ... point failing until it passes without
 * meeting the armed point; once failing a single time, once from there on. In
 * the block `injected` tells whether a point has fired so far.
 *
 *     INJECT_EACH_POINT {
 *         setup();
 *         INJECT_ARM();
 *         status = operation();
 *         INJECT_DISARM();
 *         if (status != LOAM_OK) { digest unchanged ... }
 *     }
 */
struct inject_sweep {
    uint64_t nth;
    int mode; /* 0: once, 1: from there on, 2: done */
};
bool inject_sweep_next(struct inject_sweep *sweep);
#define INJECT_EACH_POINT for (struct inject_sweep sweep_ = { 0, 0 }; inject_sweep_next(&sweep_);)
#define INJECT_ARM()      inject_fail_at(sweep_.nth, sweep_.mode == 1)
#define INJECT_DISARM()   inject_pause()
void inject_pause(void);

/* ---- random numbers ------------------------------------------------------ */

/* xorshift; seeded with a constant, or from the environment variable SEED. The
 * seed is printed when a test fails. */
uint64_t test_random(void);
uint64_t test_random_below(uint64_t bound);
void test_random_seed(uint64_t seed);

/* Run a cmocka group: those tests that match the environment variable FILTER (a
 * shell pattern), else all; with the seed printed on failure. */
#define RUN_TESTS(tests) harness_run(#tests, (tests), sizeof(tests) / sizeof((tests)[0]))
int harness_run(const char *name, const struct CMUnitTest *tests, size_t count);

#endif
