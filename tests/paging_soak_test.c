/*
 * paging_soak_test.c - random streams of all operations of paging, against the cells of
 * paging_cells.h, on six machines. Every fourth step is followed by a look at all
 * tables. PAGING_STEPS=n takes n steps in all, looks after every 16th only, and says how
 * it goes: make soak-paging.
 */
#include <time.h>

#include "paging_cells.h"

#define STEPS 12000ul

static uint64_t cells_choose(uint64_t bound)
{
    return test_random_below(bound);
}

static const struct cells_options machines[] = {
    { .levels = 4, .frames = 256 },
    { .levels = 5, .frames = 256 },
    { .levels = 4, .frames = 24 },
    { .levels = 4, .frames = 1024, .no_gib_pages = true },
    { .levels = 4, .frames = 128, .no_nx = true, .no_pat = true },
    { .levels = 5, .frames = 40, .no_gib_pages = true, .no_pat = true },
};
#define MACHINES (sizeof machines / sizeof machines[0])

static unsigned long steps_wanted(void)
{
    const char *const wanted = getenv("PAGING_STEPS");
    return wanted == NULL ? STEPS : strtoul(wanted, NULL, 10);
}

static void report(size_t machine, time_t began)
{
    if (getenv("PAGING_STEPS") != NULL)
        (void)fprintf(stderr,
                      "# machine %zu: %lu steps, %lu done, %lu refused, %lu without memory, "
                      "%u flushes, %lld s\n",
                      machine, cells.step, cells.done, cells.refused, cells.without_memory,
                      machine_flush_count(), (long long)(time(NULL) - began));
}

/* A new stream now and then: it ends with nothing but the root. */
static void what_cpus_see_is_what_was_asked_for(void **state)
{
    (void)state;
    const unsigned long each = steps_wanted() / MACHINES;
    const time_t began = time(NULL);

    for (size_t i = 0; i < MACHINES; i++) {
        cells_begin(machines[i]);
        cells.audit_every = getenv("PAGING_STEPS") != NULL ? 16 : 4;
        for (unsigned long step = 1; step <= each; step++) {
            cells_step();
            if (step % 250000 == 0)
                report(i, began);
        }
        assert_true(cells.done > each / 4 && cells.refused > each / 100);
        cells_end();
        report(i, began);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_cpus_see_is_what_was_asked_for),
    };
    return RUN_TESTS(tests);
}
