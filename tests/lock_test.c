/*
 * lock_test.c - mutual exclusion, fairness, interrupt state, misuse. Built with
 * ThreadSanitizer too: without the acquire or the release of a lock the plain
 * counter below is a data race.
 */
#include "harness.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include <loam/lock.h>
#include <loam/x86.h>

#include "machine.h"

#define THREADS 4
#define ROUNDS  20000

#define RFLAGS_IF UINT64_C(0x200)

static struct loam_spinlock spin;
static struct loam_ticketlock ticket;
static uint64_t counter; /* plain on purpose: the lock alone protects it */

static void setup(void)
{
    machine_reset(THREADS);
    memset(&spin, 0, sizeof spin);
    memset(&ticket, 0, sizeof ticket);
    counter = 0;
}

static void run_threads(void *(*body)(void *))
{
    pthread_t thread[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, body, (void *)i), 0);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
}

static void *count_under_spinlock(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < ROUNDS; i++) {
        loam_spinlock_acquire(&spin);
        counter++;
        loam_spinlock_release(&spin);
    }
    return NULL;
}

static void spinlock_lets_one_in_at_a_time(void **state)
{
    (void)state;
    setup();
    run_threads(count_under_spinlock);
    assert_int_equal(counter, THREADS * ROUNDS);
}

static void *count_under_tried_spinlock(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < ROUNDS; i++) {
        while (!loam_spinlock_try(&spin))
            sched_yield();
        counter++;
        loam_spinlock_release(&spin);
    }
    return NULL;
}

static void spinlock_try_lets_one_in_at_a_time(void **state)
{
    (void)state;
    setup();
    run_threads(count_under_tried_spinlock);
    assert_int_equal(counter, THREADS * ROUNDS);
}

static void *count_under_ticketlock(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < ROUNDS / 10; i++) { /* fair, so each round waits for all others */
        loam_ticketlock_acquire(&ticket);
        counter++;
        loam_ticketlock_release(&ticket);
    }
    return NULL;
}

static void ticketlock_lets_one_in_at_a_time(void **state)
{
    (void)state;
    setup();
    run_threads(count_under_ticketlock);
    assert_int_equal(counter, THREADS * (ROUNDS / 10));
}

static void *count_under_tried_ticketlock(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < ROUNDS / 10; i++) {
        while (!loam_ticketlock_try(&ticket))
            sched_yield();
        counter++;
        loam_ticketlock_release(&ticket);
    }
    return NULL;
}

static void ticketlock_try_lets_one_in_at_a_time(void **state)
{
    (void)state;
    setup();
    run_threads(count_under_tried_ticketlock);
    assert_int_equal(counter, THREADS * (ROUNDS / 10));
}

static void *count_under_irq_ticketlock(void *cpu)
{
    machine_set_cpu((unsigned)(uintptr_t)cpu);
    for (unsigned i = 0; i < ROUNDS / 10; i++) {
        const loam_irq_state irq = loam_ticketlock_acquire_irq(&ticket);
        counter++;
        loam_ticketlock_release_irq(&ticket, irq);
    }
    return NULL;
}

static void ticketlock_irq_lets_one_in_at_a_time(void **state)
{
    (void)state;
    setup();
    run_threads(count_under_irq_ticketlock);
    assert_int_equal(counter, THREADS * (ROUNDS / 10));
}

static void *count_under_irq_spinlock(void *cpu)
{
    machine_set_cpu((unsigned)(uintptr_t)cpu);
    for (unsigned i = 0; i < ROUNDS / 4; i++) {
        const loam_irq_state irq = loam_spinlock_acquire_irq(&spin);
        counter++;
        loam_spinlock_release_irq(&spin, irq);
    }
    return NULL;
}

static void spinlock_irq_lets_one_in_at_a_time(void **state)
{
    (void)state;
    setup();
    run_threads(count_under_irq_spinlock);
    assert_int_equal(counter, THREADS * (ROUNDS / 4));
}

/* Some with interrupts off, some not: the kinds of holder keep each other out. */
static void *count_under_either(void *cpu)
{
    return (uintptr_t)cpu % 2 == 0 ? count_under_irq_spinlock(cpu) : count_under_spinlock(cpu);
}

static void spinlock_irq_and_plain_exclude_each_other(void **state)
{
    (void)state;
    setup();
    run_threads(count_under_either);
    assert_int_equal(counter, THREADS / 2 * (ROUNDS + ROUNDS / 4));
}

/*
 *   holder  | acquire ........................ | release
 *   waiter       cli, held: sti, wait ...........| cli, taken ... | sti
 *
 * Whether the waiter comes in time is up to the host: it is tried until it does.
 * Both are CPU 0: a plain holder is no CPU's.
 */
static atomic_bool waiter_is_there;

static void *wait_for_spinlock(void *cpu)
{
    machine_set_cpu((unsigned)(uintptr_t)cpu);
    atomic_store(&waiter_is_there, true);
    loam_spinlock_release_irq(&spin, loam_spinlock_acquire_irq(&spin));
    return NULL;
}

static void spinlock_irq_waits_with_interrupts_as_they_were(void **state)
{
    const char *log = "";

    (void)state;
    for (useconds_t patience = 1000; patience < 200000; patience *= 2) {
        pthread_t waiter;
        setup();
        loam_spinlock_acquire(&spin);
        atomic_store(&waiter_is_there, false);
        machine_log_start();
        assert_int_equal(pthread_create(&waiter, NULL, wait_for_spinlock, NULL), 0);
        while (!atomic_load(&waiter_is_there))
            sched_yield();
        usleep(patience);
        loam_spinlock_release(&spin);
        assert_int_equal(pthread_join(waiter, NULL), 0);
        log = machine_log();
        if (strcmp(log, "cli sti") != 0)
            break;
    }
    assert_string_equal(log, "cli sti cli sti");
}

static void try_fails_while_held_and_works_after(void **state)
{
    (void)state;
    setup();
    assert_true(loam_spinlock_try(&spin));
    assert_false(loam_spinlock_try(&spin));
    loam_spinlock_release(&spin);
    assert_true(loam_spinlock_try(&spin));

    assert_true(loam_ticketlock_try(&ticket));
    assert_false(loam_ticketlock_try(&ticket));
    loam_ticketlock_release(&ticket);
    loam_ticketlock_acquire(&ticket);
    assert_false(loam_ticketlock_try(&ticket));
}

/* The counters wrap; the lock does not care. */
static void ticketlock_survives_the_wrap_of_its_counters(void **state)
{
    (void)state;
    setup();
    atomic_store(&ticket.next, UINT32_MAX - 2);
    atomic_store(&ticket.owner, UINT32_MAX - 2);
    for (unsigned i = 0; i < 6; i++) {
        assert_true(loam_ticketlock_try(&ticket));
        assert_false(loam_ticketlock_try(&ticket));
        loam_ticketlock_release(&ticket);
    }
    assert_int_equal(atomic_load(&ticket.owner), 3);
}

/* First come, first served: tickets drawn while the lock is held are served in
 * the order they were drawn. */
static unsigned served[THREADS];

static void *queue_up(void *number)
{
    loam_ticketlock_acquire(&ticket);
    served[counter++] = (unsigned)(uintptr_t)number;
    loam_ticketlock_release(&ticket);
    return NULL;
}

static void ticketlock_serves_in_order_of_arrival(void **state)
{
    pthread_t thread[THREADS];
    (void)state;
    setup();
    loam_ticketlock_acquire(&ticket);
    for (uintptr_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&thread[i], NULL, queue_up, (void *)i), 0);
        while (atomic_load(&ticket.next) != i + 2) /* ours, and those queued up to i */
            sched_yield();
    }
    usleep(1000);
    assert_int_equal(counter, 0); /* they wait */
    loam_ticketlock_release(&ticket);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(served[i], i);
}

static uint64_t interrupts(void)
{
    const uint64_t flags = loam_x86_irq_save();
    loam_x86_irq_restore(flags);
    return flags & RFLAGS_IF;
}

/*
 *   on  | acquire_irq | off ... off | release_irq | on
 *   off | acquire_irq | off ... off | release_irq | off
 */
static void irq_pair_restores_the_interrupt_state_it_found(void **state)
{
    (void)state;
    setup();
    loam_x86_irq_restore(RFLAGS_IF);
    assert_int_equal(interrupts(), RFLAGS_IF);
    const loam_irq_state on = loam_ticketlock_acquire_irq(&ticket);
    assert_int_equal(interrupts(), 0);
    struct loam_ticketlock inner = { 0 };
    const loam_irq_state off = loam_ticketlock_acquire_irq(&inner);
    loam_ticketlock_release_irq(&inner, off);
    assert_int_equal(interrupts(), 0);
    loam_ticketlock_release_irq(&ticket, on);
    assert_int_equal(interrupts(), RFLAGS_IF);
}

static void irq_pair_of_spinlocks_restores_the_interrupt_state_it_found(void **state)
{
    (void)state;
    setup();
    loam_x86_irq_restore(RFLAGS_IF);
    const loam_irq_state on = loam_spinlock_acquire_irq(&spin);
    assert_int_equal(interrupts(), 0);
    assert_false(loam_spinlock_try(&spin));
    struct loam_spinlock inner = { 0 };
    const loam_irq_state off = loam_spinlock_acquire_irq(&inner);
    loam_spinlock_release_irq(&inner, off);
    assert_true(loam_spinlock_try(&inner));
    assert_int_equal(interrupts(), 0);
    loam_spinlock_release_irq(&spin, on);
    assert_int_equal(interrupts(), RFLAGS_IF);
}

static void release_of_a_free_lock_panics(void **state)
{
    (void)state;
    setup();
    EXPECT_PANIC("lock: release of a lock that is not held", loam_spinlock_release(&spin));
    EXPECT_PANIC("lock: release of a lock that is not held", loam_ticketlock_release(&ticket));
}

static void second_irq_acquire_by_one_cpu_panics(void **state)
{
    (void)state;
    setup();
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&ticket);
    EXPECT_PANIC("lock: acquired twice by one CPU",
                 loam_ticketlock_release_irq(&ticket, loam_ticketlock_acquire_irq(&ticket)));
    assert_int_equal(panic_trap.seen.subject, (uintptr_t)&ticket);
    loam_ticketlock_release_irq(&ticket, irq);

    const loam_irq_state spinning = loam_spinlock_acquire_irq(&spin);
    EXPECT_PANIC("lock: acquired twice by one CPU",
                 loam_spinlock_release_irq(&spin, loam_spinlock_acquire_irq(&spin)));
    assert_int_equal(panic_trap.seen.subject, (uintptr_t)&spin);
    loam_spinlock_release_irq(&spin, spinning);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spinlock_lets_one_in_at_a_time),
        cmocka_unit_test(spinlock_try_lets_one_in_at_a_time),
        cmocka_unit_test(ticketlock_lets_one_in_at_a_time),
        cmocka_unit_test(ticketlock_try_lets_one_in_at_a_time),
        cmocka_unit_test(ticketlock_irq_lets_one_in_at_a_time),
        cmocka_unit_test(spinlock_irq_lets_one_in_at_a_time),
        cmocka_unit_test(spinlock_irq_and_plain_exclude_each_other),
        cmocka_unit_test(spinlock_irq_waits_with_interrupts_as_they_were),
        cmocka_unit_test(try_fails_while_held_and_works_after),
        cmocka_unit_test(ticketlock_survives_the_wrap_of_its_counters),
        cmocka_unit_test(ticketlock_serves_in_order_of_arrival),
        cmocka_unit_test(irq_pair_restores_the_interrupt_state_it_found),
        cmocka_unit_test(irq_pair_of_spinlocks_restores_the_interrupt_state_it_found),
        cmocka_unit_test(release_of_a_free_lock_panics),
        cmocka_unit_test(second_irq_acquire_by_one_cpu_panics),
    };
    return RUN_TESTS(tests);
}
