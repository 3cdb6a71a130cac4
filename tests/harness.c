/*
 * harness.c - see harness.h.
 */
#include "harness.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Thread_local struct panic_trap panic_trap;

void loam_port_panic(const struct loam_panic *panic)
{
    if (panic_trap.armed) {
        panic_trap.armed = false;
        panic_trap.seen = *panic;
        longjmp(panic_trap.landing, 1);
    }
    fprintf(stderr, "panic: %s\n  %s:%d, subject %#" PRIx64 ", detail %#" PRIx64 "\n", panic->rule,
            panic->file, panic->line, panic->subject, panic->detail);
    abort();
}

/* ---- injection ----------------------------------------------------------- */

static struct {
    uint64_t passed; /* points since armed */
    uint64_t nth;    /* the one to fail; 0: none */
    bool for_ever;
    bool fired;
    bool paused;
} injection;

bool loam_test_inject(const char *point);

bool loam_test_inject(const char *point)
{
    (void)point;
    if (injection.paused || injection.nth == 0)
        return false;
    injection.passed++;
    if (injection.passed == injection.nth ||
        (injection.for_ever && injection.passed > injection.nth)) {
        injection.fired = true;
        return true;
    }
    return false;
}

void inject_fail_at(uint64_t nth, bool for_ever)
{
    injection.passed = 0;
    injection.nth = nth;
    injection.for_ever = for_ever;
    injection.fired = false;
    injection.paused = false;
}

bool inject_fired(void)
{
    return injection.fired;
}

void inject_pause(void)
{
    injection.paused = true;
}

bool inject_sweep_next(struct inject_sweep *sweep)
{
    if (sweep->nth != 0 && !injection.fired) { /* this mode ran past its last point */
        sweep->mode++;
        sweep->nth = 0;
    }
    injection.fired = false;
    injection.paused = true;
    sweep->nth++;
    return sweep->mode < 2;
}

/* ---- random -------------------------------------------------------------- */

static uint64_t random_seed = 1;
static uint64_t random_state = 1;

void test_random_seed(uint64_t seed)
{
    random_seed = random_state = seed != 0 ? seed : 1;
}

uint64_t test_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

uint64_t test_random_below(uint64_t bound)
{
    return test_random() % bound;
}

/* ---- running ------------------------------------------------------------- */

static _Atomic(uint64_t) compared;

void harness_compared(void)
{
    atomic_fetch_add_explicit(&compared, 1, memory_order_relaxed);
}

static int start_comparing(void **state)
{
    (void)state;
    atomic_store(&compared, 0);
    return 0;
}

static int has_compared(void **state)
{
    (void)state;
    if (atomic_load(&compared) == 0)
        fprintf(stderr, "the test compared nothing\n");
    return atomic_load(&compared) == 0 ? -1 : 0;
}

static size_t selected(const struct CMUnitTest *tests, size_t count, const char *filter)
{
    size_t matching = 0;
    for (size_t i = 0; i < count; i++)
        matching += fnmatch(filter, tests[i].name, 0) == 0;
    return matching;
}

int harness_run(const char *name, const struct CMUnitTest *tests, size_t count)
{
    const char *seed = getenv("SEED");
    if (seed != NULL)
        test_random_seed(strtoull(seed, NULL, 0));
    const char *filter = getenv("FILTER");
    if (selected(tests, count, filter != NULL ? filter : "*") == 0) {
        fprintf(stderr, "%s: no tests\n", name);
        return 1;
    }
    if (filter != NULL)
        cmocka_set_test_filter(filter);

    struct CMUnitTest *watched = calloc(count, sizeof *watched);
    if (watched == NULL)
        return 1;
    memcpy(watched, tests, count * sizeof *watched);
    for (size_t i = 0; i < count; i++) {
        if (watched[i].setup_func == NULL && watched[i].teardown_func == NULL) {
            watched[i].setup_func = start_comparing;
            watched[i].teardown_func = has_compared;
        }
    }
    const int failed = _cmocka_run_group_tests(name, watched, count, NULL, NULL);
    free(watched);
    if (failed != 0)
        fprintf(stderr, "%s: seed %" PRIu64 "; rerun with SEED=%" PRIu64 "\n", name, random_seed,
                random_seed);
    return failed;
}
