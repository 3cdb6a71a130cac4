/*
 * pressure_test.c - when the kernel is told that memory is scarce, and how often it is
 * asked for some.
 */
#include "harness.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include <loam/port.h>
#include <loam/pressure.h>

#include "machine.h"

static struct loam_pressure pressure;
static struct loam_pressure_report seen; /* by the last call of a hook */
static unsigned lows, reliefs;
static bool again; /* what relieve() answers */

static struct loam_pressure_report report_of(uint64_t free_pages, unsigned attempt)
{
    const struct loam_pressure_report report = { LOAM_ZONE_4G, 3, free_pages, attempt };
    return report;
}

static void notice(uint64_t free_pages)
{
    const struct loam_pressure_report report = report_of(free_pages, 0);
    loam_pressure_notice(&pressure, &report);
}

static bool relieve(unsigned attempt)
{
    const struct loam_pressure_report report = report_of(0, attempt);
    return loam_pressure_relieve(&pressure, &report);
}

static void on_low(void *context, const struct loam_pressure_report *report)
{
    assert_ptr_equal(context, &seen);
    seen = *report;
    lows++;
    notice(report->free_pages - 1); /* what it allocates makes things worse */
    notice(1000);                   /* and others give much back, */
    notice(0);                      /* and take it again */
}

static bool on_relieve(void *context, const struct loam_pressure_report *report)
{
    assert_ptr_equal(context, &seen);
    seen = *report;
    reliefs++;
    assert_false(relieve(0)); /* what it allocates fails */
    return again;
}

static void begin(uint64_t low_pages)
{
    const struct loam_pressure_hooks hooks = { &seen, low_pages, on_low, on_relieve };
    machine_reset(4);
    memset(&seen, 0, sizeof(seen));
    lows = reliefs = 0;
    again = true;
    loam_pressure_init(&pressure, &hooks);
}

static void low_F24_is_told_once_until_there_is_more_again(void **state)
{
    (void)state;
    begin(80);
    for (uint64_t pages = 200; pages > 80; pages--)
        notice(pages);
    notice(80);
    assert_int_equal(lows, 0);
    notice(79);
    assert_int_equal(lows, 1);
    assert_int_equal(seen.free_pages, 79);
    assert_int_equal(seen.zone, LOAM_ZONE_4G);
    assert_int_equal(seen.wanted_pages, 3);
    for (uint64_t pages = 90; pages > 0; pages--)
        notice(pages);
    assert_int_equal(lows, 1);
    notice(91); /* an eighth above */
    notice(80);
    assert_int_equal(lows, 1);
    notice(0);
    assert_int_equal(lows, 2);
    assert_int_equal(pressure.low_count, 2);
}

static void relieve_F25_is_asked_a_bounded_number_of_times(void **state)
{
    unsigned attempt = 0;
    (void)state;
    begin(0);
    while (relieve(attempt))
        assert_int_equal(seen.attempt, attempt++);
    assert_int_equal(attempt, LOAM_PRESSURE_TRIES);
    assert_int_equal(reliefs, LOAM_PRESSURE_TRIES);
    again = false;
    assert_false(relieve(0));
    assert_int_equal(reliefs, LOAM_PRESSURE_TRIES + 1);
    assert_int_equal(pressure.relieve_count, reliefs);
}

static void nobody_is_called_who_is_not_there(void **state)
{
    const struct loam_pressure_hooks none = { .low_pages = 50 };
    (void)state;
    begin(50);
    loam_pressure_init(&pressure, NULL);
    notice(0);
    assert_false(relieve(0));
    assert_int_equal(loam_pressure_interval(&pressure, 1), 0);
    loam_pressure_init(&pressure, &none);
    notice(0);
    assert_false(relieve(0));
    assert_int_equal(loam_pressure_interval(&pressure, 1), 0);
    begin(0);
    notice(0);
    assert_int_equal(lows, 0);
    assert_int_equal(loam_pressure_interval(&pressure, 1), 0);
}

/* All CPUs together take at most an eighth of the mark between two looks, or one page each. */
static void interval_is_an_eighth_of_the_mark(void **state)
{
    (void)state;
    for (unsigned cpus = 1; cpus <= LOAM_CPUS_MAX; cpus += cpus < 9 ? 1 : 11) {
        for (uint64_t low = 1; low < UINT64_C(1) << 52; low = low * 3 + 1) {
            begin(low);
            const uint64_t interval = loam_pressure_interval(&pressure, cpus);
            assert_true(loam_is_power_of_two(interval));
            assert_true(interval == 1 || interval * cpus <= low / 8);
            assert_true(interval * 2 * cpus > low / 8 || interval * 2 * cpus * 8 > low - 8 * cpus);
        }
    }
}

/* ---- two CPUs ------------------------------------------------------------ */

static _Atomic unsigned inside, finished;

static bool hold(void *context, const struct loam_pressure_report *report)
{
    (void)context;
    (void)report;
    assert_int_equal(atomic_fetch_add(&inside, 1), 0); /* never two at once */
    if (loam_port_cpu() == 1)
        while (atomic_load(&finished) == 0)
            ;
    atomic_fetch_sub(&inside, 1);
    return true;
}

static void *relieve_on_cpu_1(void *unused)
{
    (void)unused;
    machine_set_cpu(1);
    assert_true(relieve(0));
    return NULL;
}

/* One CPU stays in the hook: another one waits a little and tries again, a bounded number
 * of times; a handler on the first one fails at once. */
static void relieve_is_called_by_one_cpu_at_a_time(void **state)
{
    const struct loam_pressure_hooks hooks = { .relieve = hold };
    pthread_t thread;
    (void)state;
    begin(0);
    loam_pressure_init(&pressure, &hooks);
    atomic_store(&finished, 0);
    assert_int_equal(pthread_create(&thread, NULL, relieve_on_cpu_1, NULL), 0);
    while (atomic_load(&inside) == 0)
        ;
    machine_set_cpu(2);
    for (unsigned attempt = 0; attempt < LOAM_PRESSURE_TRIES; attempt++)
        assert_true(relieve(attempt));
    assert_false(relieve(LOAM_PRESSURE_TRIES));
    machine_set_cpu(1);
    assert_false(relieve(0));
    atomic_store(&finished, 1);
    assert_int_equal(pthread_join(thread, NULL), 0);
    machine_set_cpu(2);
    assert_true(relieve(0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(low_F24_is_told_once_until_there_is_more_again),
        cmocka_unit_test(relieve_F25_is_asked_a_bounded_number_of_times),
        cmocka_unit_test(nobody_is_called_who_is_not_there),
        cmocka_unit_test(interval_is_an_eighth_of_the_mark),
        cmocka_unit_test(relieve_is_called_by_one_cpu_at_a_time),
    };
    return RUN_TESTS(tests);
}
