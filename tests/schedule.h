/*
 * schedule.h - code run by two or three CPUs under every schedule that changes the
 * running one at most a few times.
 *
 * Included once, before sources that use <stdatomic.h>: their atomic operations
 * first ask whether another CPU's turn has come. CPUs are coroutines, so a schedule
 * is a list of (step, CPU), is always repeated exactly, and is printed when it breaks
 * something. What is explored is the order of the steps; orders of memory that are
 * too weak are for ThreadSanitizer.
 */
#ifndef LOAM_TESTS_SCHEDULE_H
#define LOAM_TESTS_SCHEDULE_H

#include "harness.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

/* ---- steps --------------------------------------------------------------- */

static void schedule_step(void);
static unsigned scheduled_cpu(void);

#define STEP_ORDER __ATOMIC_SEQ_CST

#ifdef __clang__
#define STEP_LOAD(p, order)        __c11_atomic_load((p), order)
#define STEP_STORE(p, v, order)    __c11_atomic_store((p), (v), order)
#define STEP_EXCHANGE(p, v, order) __c11_atomic_exchange((p), (v), order)
#define STEP_OR(p, v, order)       __c11_atomic_fetch_or((p), (v), order)
#define STEP_AND(p, v, order)      __c11_atomic_fetch_and((p), (v), order)
#define STEP_COMPARE_EXCHANGE(p, e, v) \
    __c11_atomic_compare_exchange_strong((p), (e), (v), __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)
#else
#define STEP_LOAD(p, order)        __atomic_load_n((p), order)
#define STEP_STORE(p, v, order)    __atomic_store_n((p), (v), order)
#define STEP_EXCHANGE(p, v, order) __atomic_exchange_n((p), (v), order)
#define STEP_OR(p, v, order)       __atomic_fetch_or((p), (v), order)
#define STEP_AND(p, v, order)      __atomic_fetch_and((p), (v), order)
#define STEP_COMPARE_EXCHANGE(p, e, v) \
    __atomic_compare_exchange_n((p), (e), (v), false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)
#endif

#undef atomic_load
#undef atomic_load_explicit
#undef atomic_store
#undef atomic_store_explicit
#undef atomic_exchange
#undef atomic_exchange_explicit
#undef atomic_fetch_or
#undef atomic_fetch_or_explicit
#undef atomic_fetch_and
#undef atomic_fetch_and_explicit
#undef atomic_compare_exchange_strong
#define atomic_load(p)                          (schedule_step(), STEP_LOAD(p, STEP_ORDER))
#define atomic_load_explicit(p, order)          (schedule_step(), STEP_LOAD(p, order))
#define atomic_store(p, v)                      (schedule_step(), STEP_STORE(p, v, STEP_ORDER))
#define atomic_store_explicit(p, v, order)      (schedule_step(), STEP_STORE(p, v, order))
#define atomic_exchange(p, v)                   (schedule_step(), STEP_EXCHANGE(p, v, STEP_ORDER))
#define atomic_exchange_explicit(p, v, order)   (schedule_step(), STEP_EXCHANGE(p, v, order))
#define atomic_fetch_or(p, v)                   (schedule_step(), STEP_OR(p, v, STEP_ORDER))
#define atomic_fetch_or_explicit(p, v, order)   (schedule_step(), STEP_OR(p, v, order))
#define atomic_fetch_and(p, v)                  (schedule_step(), STEP_AND(p, v, STEP_ORDER))
#define atomic_fetch_and_explicit(p, v, order)  (schedule_step(), STEP_AND(p, v, order))
#define atomic_compare_exchange_strong(p, e, v) (schedule_step(), STEP_COMPARE_EXCHANGE(p, e, v))

/* ---- CPUs ---------------------------------------------------------------- */

#define CPUS_MAX    3u
#define CHANGES_MAX 4u
#define STACK_BYTES 65536u

/* From this step on, counted from the start, another CPU runs. */
struct change {
    unsigned step, cpu;
};

static struct {
    struct change change[CHANGES_MAX];
    unsigned count;
    bool last_counts; /* the last change was reached, and did change something */
} plan;

/* What is done by whom. */
struct schedule_world {
    unsigned cpus;
    void (*begin)(void);
    void (*cpu)(unsigned self);
    void (*end)(void); /* with SCHEDULE_REQUIRE() */
};

static struct {
    const struct schedule_world *world;
    ucontext_t main, context[CPUS_MAX];
    unsigned char stack[CPUS_MAX][STACK_BYTES] __attribute__((aligned(16)));
    bool is_done[CPUS_MAX];
    unsigned running, step, next_change;
    bool is_on;
} machine;

static void plan_print(void)
{
    for (unsigned i = 0; i < plan.count; i++)
        (void)fprintf(stderr, "at step %u CPU %u; ", plan.change[i].step, plan.change[i].cpu);
    (void)fprintf(stderr, "stopped at step %u\n", machine.step);
}

#define SCHEDULE_REQUIRE(condition)                                    \
    do {                                                               \
        if (!(condition)) {                                            \
            (void)fprintf(stderr, "schedule breaks %s: ", #condition); \
            plan_print();                                              \
            abort();                                                   \
        }                                                              \
    } while (0)

static unsigned scheduled_cpu(void)
{
    return machine.is_on ? machine.running : 0;
}

static void switch_to(unsigned cpu)
{
    const unsigned from = machine.running;

    machine.running = cpu;
    (void)swapcontext(&machine.context[from], &machine.context[cpu]);
}

static void schedule_step(void)
{
    if (!machine.is_on)
        return;
    machine.step++;
    SCHEDULE_REQUIRE(machine.step < 100000); /* nobody waits for ever */
    if (machine.next_change == plan.count || plan.change[machine.next_change].step != machine.step)
        return;
    const unsigned cpu = plan.change[machine.next_change++].cpu;
    const bool does_change = cpu != machine.running && !machine.is_done[cpu];
    if (machine.next_change == plan.count)
        plan.last_counts = does_change;
    if (does_change)
        switch_to(cpu);
}

/* The running CPU does nothing more in this schedule. */
static void finish_cpu(void)
{
    const unsigned self = machine.running;
    unsigned next = 0;

    machine.is_done[self] = true;
    while (next < machine.world->cpus && machine.is_done[next])
        next++;
    if (next == machine.world->cpus)
        (void)swapcontext(&machine.context[self], &machine.main);
    else
        switch_to(next);
}

static void run_cpu(void)
{
    for (;;) {
        machine.world->cpu(machine.running);
        finish_cpu();
    }
}

/* ---- exploring ----------------------------------------------------------- */

static void start_cpu(unsigned cpu)
{
    machine.is_done[cpu] = false;
    (void)getcontext(&machine.context[cpu]);
    machine.context[cpu].uc_stack.ss_sp = machine.stack[cpu];
    machine.context[cpu].uc_stack.ss_size = STACK_BYTES;
    machine.context[cpu].uc_link = NULL;
    makecontext(&machine.context[cpu], run_cpu, 0);
}

static void start(const struct schedule_world *world)
{
    machine.world = world;
    machine.running = 0;
    machine.step = 0;
    machine.next_change = 0;
    plan.last_counts = false;
    for (unsigned cpu = 0; cpu < world->cpus; cpu++)
        start_cpu(cpu);
}

/* Run the plan. @return steps */
static unsigned run_plan(const struct schedule_world *world)
{
    world->begin();
    start(world);
    machine.is_on = true;
    (void)swapcontext(&machine.main, &machine.context[0]);
    machine.is_on = false;
    world->end();
    return machine.step;
}

/* To the next plan: one change more, or the last one later or to another CPU.
 * @return false: that was all */
static bool next_plan(unsigned cpus, unsigned changes, unsigned steps)
{
    const bool can_grow = plan.count < changes && (plan.count == 0 || plan.last_counts);

    if (can_grow) {
        const unsigned after = plan.count == 0 ? 0 : plan.change[plan.count - 1].step;
        plan.change[plan.count++] = (struct change){ after + 1, 0 };
        return true;
    }
    while (plan.count != 0) {
        struct change *const last = &plan.change[plan.count - 1];
        if (++last->cpu < cpus)
            return true;
        last->cpu = 0;
        if (++last->step <= steps)
            return true;
        plan.count--;
    }
    return false;
}

static void explore(const struct schedule_world *world, unsigned changes)
{
    unsigned long schedules = 0;
    unsigned steps;

    plan.count = 0;
    changes += getenv("DEEP") != NULL; /* make check-deep */
    do {
        steps = run_plan(world);
        schedules++;
    } while (next_plan(world->cpus, changes, steps));
    assert_true(schedules > 20);
}

#endif
