/*
 * signal_cases.c - signals that interrupt malloc ten thousand times a second.
 *
 * POSIX lets handlers call no function of the family. Loam's heap serves interrupt
 * handlers, so handlers may call all of them; those cases are Loam's alone.
 */
#include "cases.h"

#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PERIOD_NANOSECONDS 100000

static atomic_uint signals_seen;

/* Give this thread a timer that interrupts it 10000 times a second, or as often as
 * the machine can. @return the timer */
static timer_t start_timer(void (*handler)(int))
{
    const struct itimerspec period = { { 0, PERIOD_NANOSECONDS }, { 0, PERIOD_NANOSECONDS } };
    struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART | SA_ONSTACK };
    struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1 };
    timer_t timer;

    event._sigev_un._tid = gettid(); /* glibc 2.36 has no other name for it */
    CHECK_EQUAL(sigaction(SIGUSR1, &action, NULL), 0);
    CHECK_EQUAL(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    CHECK_EQUAL(timer_settime(timer, 0, &period, NULL), 0);
    return timer;
}

/* Until this many signals have come. */
static void work_through_signals(uint64_t seed, unsigned signals)
{
    const unsigned end = atomic_load(&signals_seen) + signals;

    while ((int)(end - atomic_load(&signals_seen)) > 0) {
        work(seed, 100);
        work_quickly(seed, 1000);
        seed += 17;
    }
}

/* ---- handlers that do not allocate --------------------------------------- */

static void note_signal(int number)
{
    (void)number;
    atomic_fetch_add(&signals_seen, 1);
}

static void signals_interrupt_malloc(void)
{
    const timer_t timer = start_timer(note_signal);

    work_through_signals(1, 5000);
    timer_delete(timer);
    CHECK(signals_seen >= 5000);
}

static void interrupted_thread(unsigned number)
{
    const timer_t timer = start_timer(note_signal);

    work_through_signals(number, 4000);
    timer_delete(timer);
}

static void signals_interrupt_malloc_in_threads(void)
{
    in_threads(4, 0, interrupted_thread);
    CHECK(signals_seen >= 4000);
}

/* Those that go to the kernel for memory all the time. */
static void signals_interrupt_large_allocations(void)
{
    const timer_t timer = start_timer(note_signal);

    for (size_t i = 0; i < 300 || signals_seen < 1000; i++) {
        const size_t more = i % 600 * 4096;
        unsigned char *block = malloc(MIB(1) + more);
        CHECK(block != NULL);
        block[more] = 1;
        block = realloc(block, MIB(2) + 2 * more);
        CHECK(block != NULL);
        CHECK_EQUAL(block[more], 1);
        free(block);
    }
    timer_delete(timer);
    CHECK(signals_seen >= 1000);
}

static sigjmp_buf landing;
static atomic_bool may_jump;

static void jump(int number)
{
    (void)number;
    atomic_fetch_add(&signals_seen, 1);
    if (atomic_exchange(&may_jump, false))
        siglongjmp(landing, 1);
}

/* Out of code that is in no function of the family, as POSIX demands. */
static void handlers_jump_out_of_code_between_calls(void)
{
    static volatile unsigned jumps;
    const timer_t timer = start_timer(jump);

    while (jumps < 2000) {
        if (sigsetjmp(landing, 1) == 0) {
            atomic_store(&may_jump, true);
            while (atomic_load(&may_jump)) {
            }
        } else {
            jumps++;
        }
        work_quickly(jumps, 100);
    }
    timer_delete(timer);
    CHECK_EQUAL(jumps, 2000);
    work(1, 1000);
}

/* ---- handlers that allocate ---------------------------------------------- */

static void allocate_in_handler(int number)
{
    static _Thread_local void *kept[16];
    const unsigned count = atomic_fetch_add(&signals_seen, 1);
    const int before = errno;
    void **slot = &kept[count % 16];

    (void)number;
    free(*slot);
    *slot = malloc(count % 3000 + 1);
    CHECK(*slot != NULL);
    memset(*slot, 0xbb, count % 3000 + 1);
    errno = before;
}

static void handlers_allocate_and_free(void)
{
    const timer_t timer = start_timer(allocate_in_handler);

    work_through_signals(1, 10000);
    timer_delete(timer);
    CHECK(signals_seen >= 10000);
}

static void thread_with_allocating_handlers(unsigned number)
{
    const timer_t timer = start_timer(allocate_in_handler);

    work_through_signals(number, 8000);
    timer_delete(timer);
}

static void handlers_allocate_and_free_in_threads(void)
{
    in_threads(4, 0, thread_with_allocating_handlers);
    CHECK(signals_seen >= 8000);
}

static void call_everything_in_handler(int number)
{
    const unsigned count = atomic_fetch_add(&signals_seen, 1);
    const int before = errno;
    const size_t size = (size_t)1 << count % 21;
    void *aligned = NULL;

    (void)number;
    char *block = calloc(1, size);
    CHECK(block != NULL && is_zero(block, size));
    fill(block, size, count);
    block = realloc(block, 2 * size);
    CHECK(block != NULL && is_filled(block, size, count));
    CHECK_EQUAL(posix_memalign(&aligned, 64, size), 0);
    CHECK(malloc_usable_size(aligned) >= size);
    free(aligned);
    sized_free(block, 2 * size);
    if (count % 128 == 0)
        malloc_trim(0);
    errno = before;
}

static void handlers_call_the_whole_family(void)
{
    const timer_t timer = start_timer(call_everything_in_handler);

    work_through_signals(2, 10000);
    timer_delete(timer);
    CHECK(signals_seen >= 10000);
}

#define SLOTS 64

static _Atomic(size_t *) slots[SLOTS];

/* Swap a block of its own for another's, and free that. */
static void swap_in_handler(int number)
{
    const unsigned count = atomic_fetch_add(&signals_seen, 1);
    const int before = errno;
    const size_t size = count % 500 + 2 * sizeof(size_t);
    size_t *block = malloc(size);

    (void)number;
    CHECK(block != NULL);
    block[0] = size;
    fill(block + 1, size - sizeof(size_t), size);
    block = atomic_exchange(&slots[count % SLOTS], block);
    if (block != NULL)
        CHECK(is_filled(block + 1, block[0] - sizeof(size_t), block[0]));
    free(block);
    errno = before;
}

static void swap_and_work(unsigned number)
{
    const timer_t timer = start_timer(swap_in_handler);
    const unsigned end = atomic_load(&signals_seen) + 6000;

    for (uint64_t seed = number; (int)(end - atomic_load(&signals_seen)) > 0; seed++) {
        size_t *block = atomic_exchange(&slots[next_random(&seed) % SLOTS], NULL);
        if (block != NULL)
            CHECK(is_filled(block + 1, block[0] - sizeof(size_t), block[0]));
        free(block);
        work_quickly(seed, 100);
    }
    timer_delete(timer);
}

static void handlers_and_threads_free_blocks_of_each_other(void)
{
    in_threads(3, 0, swap_and_work);
    for (size_t i = 0; i < SLOTS; i++)
        free(slots[i]);
    CHECK(signals_seen >= 6000);
}

/* On a stack of 16 KiB: what a handler calls must be content with little. */
static void handlers_allocate_on_a_small_stack(void)
{
    static char small[16384];
    const stack_t stack = { .ss_sp = small, .ss_size = sizeof(small) };

    CHECK_EQUAL(sigaltstack(&stack, NULL), 0);
    const timer_t timer = start_timer(call_everything_in_handler);
    work_through_signals(3, 4000);
    timer_delete(timer);
    CHECK(signals_seen >= 4000);
}

/* The processor's trap flag, without touching what lies below the stack pointer. */
static inline void trap_on(void)
{
    __asm__ volatile("lea -128(%%rsp), %%rsp; pushfq; orq $0x100, (%%rsp); popfq; lea 128(%%rsp), "
                     "%%rsp" ::
                         : "memory", "cc");
}

static inline void trap_off(void)
{
    __asm__ volatile("lea -128(%%rsp), %%rsp; pushfq; andq $~0x100, (%%rsp); popfq; lea "
                     "128(%%rsp), %%rsp" ::
                         : "memory", "cc");
}

/* Between any two instructions of malloc and free. Whoever starts over when it was
 * interrupted must do something else at last: here it is interrupted each time. */
static void allocate_in_trap(int number)
{
    (void)number;
    if (atomic_fetch_add(&signals_seen, 1) % 4 == 0)
        free(malloc(24));
}

static void each_instruction_of_malloc_may_be_interrupted(void)
{
    struct sigaction action = { .sa_handler = allocate_in_trap };
    void *blocks[40];

    CHECK_EQUAL(sigaction(SIGTRAP, &action, NULL), 0);
    free(malloc(24));
    for (unsigned round = 0; round < 40; round++) {
        trap_on();
        for (size_t i = 0; i < COUNT(blocks); i++)
            blocks[i] = malloc(24 + round % 4 * 8);
        for (size_t i = 0; i < COUNT(blocks); i++)
            free(blocks[i]);
        trap_off();
        work_quickly(round, 100);
    }
    CHECK(signals_seen > 10000);
    work(1, 1000);
}

const struct conformance_case signal_cases[] = {
    CASE(signals_interrupt_malloc),
    CASE(signals_interrupt_malloc_in_threads),
    CASE(signals_interrupt_large_allocations),
    CASE(handlers_jump_out_of_code_between_calls),
    LOAM_CASE(handlers_allocate_and_free),
    LOAM_CASE(handlers_allocate_and_free_in_threads),
    LOAM_CASE(handlers_call_the_whole_family),
    LOAM_CASE(handlers_and_threads_free_blocks_of_each_other),
    LOAM_CASE(handlers_allocate_on_a_small_stack),
    LOAM_CASE(each_instruction_of_malloc_may_be_interrupted),
    CASES_END,
};
