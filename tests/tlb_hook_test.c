/*
 * tlb_hook_test.c - the reference kernel's hook, kernel/tlb.c, with other CPUs played by
 * its own waiting: each pause is a moment in which they may answer.
 */
#include "harness.h"

#include <string.h>

#include "kernel/apic.h"
#include "kernel/cpu.h"
#include "kernel/instructions.h"
#include "kernel/panic.h"
#include "kernel/tlb.h"
#include "kernel/trap.h"

/* The kernel's surroundings, played here. */
#define cpu_self()           hook_self()
#define cpu_count()          hook_count()
#define x86_read_tsc()       hook_time()
#define apic_send            hook_send
#define loam_x86_pause       hook_pause
#define loam_x86_irq_save    hook_irq_save
#define loam_x86_irq_restore hook_irq_restore
#define loam_tlb_flush_local hook_flush_local
#define loam_port_tlb_flush  kernel_tlb_flush

#define CPUS 16u

static struct cpu *hook_self(void);
static unsigned hook_count(void);
static uint64_t hook_time(void);
static bool hook_send(uint32_t to, unsigned vector);
static void hook_pause(void);
static uint64_t hook_irq_save(void);
static void hook_irq_restore(uint64_t flags);
static void hook_flush_local(const struct loam_tlb_flush *flush);
static void kernel_tlb_flush(const struct loam_tlb_flush *flush);

#include "kernel/tlb.c"

struct cpu cpu_table[LOAM_CPUS_MAX];

#define NEVER UINT64_MAX

static struct {
    unsigned self;
    bool is_irq_off;
    uint64_t time, pace;       /* cycles, and in a pause */
    uint64_t answers_at[CPUS]; /* NEVER: not at all */
    bool must_be_sent[CPUS];   /* answers to an IPI that came since it listens only */
    unsigned sent[CPUS], failing_sends;
    unsigned flushed[CPUS];
    const struct loam_tlb_flush *flush; /* that is asked for */
    void (*visit)(void);                /* in each pause */
} now;

static struct cpu *hook_self(void)
{
    return &cpu_table[now.self];
}

static unsigned hook_count(void)
{
    return CPUS;
}

static uint64_t hook_time(void)
{
    return now.time;
}

static bool hook_send(uint32_t to, unsigned vector)
{
    assert_int_equal(vector, VECTOR_TLB);
    assert_int_equal(cpu_table[to - 100].tlb_asked, 1); /* first */
    if (now.failing_sends != 0) {
        now.failing_sends--;
        return false;
    }
    now.sent[to - 100]++;
    if (now.time >= now.answers_at[to - 100])
        now.must_be_sent[to - 100] = false;
    return true;
}

static uint64_t hook_irq_save(void)
{
    const bool was_off = now.is_irq_off;
    now.is_irq_off = true;
    return was_off ? 0 : 1;
}

static void hook_irq_restore(uint64_t flags)
{
    now.is_irq_off = flags == 0;
}

static void hook_flush_local(const struct loam_tlb_flush *flush)
{
    assert_true(now.is_irq_off);
    assert_ptr_equal(flush, now.flush);
    now.flushed[now.self]++;
}

static void serve_as(unsigned cpu)
{
    const unsigned self = now.self;
    now.self = cpu;
    tlb_serve();
    now.self = self;
}

static void hook_pause(void)
{
    assert_true(now.is_irq_off);
    now.time += now.pace;
    for (unsigned i = 0; i < CPUS; i++) {
        if (now.time >= now.answers_at[i] && !now.must_be_sent[i])
            serve_as(i);
    }
    if (now.visit != NULL)
        now.visit();
}

/* CPU 2 runs; all answer at once. */
static void start(struct loam_tlb_flush *flush, uint64_t cpus)
{
    memset(&now, 0, sizeof(now));
    memset(cpu_table, 0, sizeof(cpu_table));
    memset(&turn, 0, sizeof(turn));
    memset(flush, 0, sizeof(*flush));
    for (unsigned i = 0; i < CPUS; i++) {
        cpu_table[i].index = i;
        cpu_table[i].apic_id = 100 + i;
    }
    flush->cpus.word[0] = cpus;
    now.self = 2;
    now.flush = flush;
    now.time = 12345;
    now.pace = 1000;
}

static void hook_asks_the_set_and_nobody_else(void **state)
{
    struct loam_tlb_flush flush;
    (void)state;
    for (unsigned with_self = 0; with_self < 2; with_self++) {
        start(&flush, with_self == 0 ? 0x8003 : 0x8007);
        kernel_tlb_flush(&flush);
        for (unsigned i = 0; i < CPUS; i++) {
            const bool is_asked = (flush.cpus.word[0] >> i & 1) != 0;
            assert_int_equal(now.flushed[i], is_asked);
            assert_int_equal(now.sent[i], is_asked && i != 2);
        }
        assert_false(now.is_irq_off);
        assert_true(loam_spinlock_try(&turn)); /* given back */
    }
}

static void hook_T03_waits_for_a_cpu_with_interrupts_off(void **state)
{
    struct loam_tlb_flush flush;
    (void)state;
    start(&flush, 1u << 5 | 1u << 6);
    now.pace = 1000000;
    now.answers_at[5] = ANSWER_CYCLES_MAX - RESEND_CYCLES / 2;
    kernel_tlb_flush(&flush);
    assert_true(now.time >= now.answers_at[5]);
    assert_int_equal(now.flushed[5], 1);
    assert_int_equal(now.flushed[6], 1);
    assert_int_equal(now.sent[6], 1);
    assert_in_range(now.sent[5], 2, 8); /* now and then again */
}

static void hook_T04_names_a_cpu_that_never_answers(void **state)
{
    struct loam_tlb_flush flush;
    (void)state;
    start(&flush, 1u << 12 | 1u << 3);
    now.pace = 1000000;
    now.answers_at[12] = NEVER;
    EXPECT_PANIC("tlb: CPU 12 does not answer a flush request", kernel_tlb_flush(&flush));
    assert_int_equal(panic_trap.seen.subject, 12);
    assert_true(now.time > ANSWER_CYCLES_MAX);
    assert_int_equal(now.flushed[12], 0);
    start(&flush, 1u << 0);
    now.pace = 1000000;
    now.answers_at[0] = NEVER;
    EXPECT_PANIC("tlb: CPU 0 does not answer a flush request", kernel_tlb_flush(&flush));
}

/* CPU 7 has the turn, and asks us: it gives it back only when we have served. */
static void wait_for_cpu_2(void)
{
    if (now.flushed[2] == 0)
        return;
    loam_spinlock_release(&turn);
    now.visit = NULL;
}

static void hook_T05_serves_while_it_waits_for_its_turn(void **state)
{
    struct loam_tlb_flush flush;
    (void)state;
    start(&flush, 1u << 4);
    assert_true(loam_spinlock_try(&turn));
    request = &flush;
    cpu_table[2].tlb_asked = 1;
    now.visit = wait_for_cpu_2;
    now.answers_at[2] = NEVER; /* our interrupts are off: nobody else serves for us */
    now.is_irq_off = true;
    kernel_tlb_flush(&flush);
    assert_int_equal(now.flushed[2], 1);
    assert_int_equal(now.flushed[4], 1);
    assert_true(now.is_irq_off); /* as it was */
}

/* An APIC that is off when the IPI comes: that one is lost. */
static void hook_T08_keeps_asking_a_cpu_that_missed_it(void **state)
{
    struct loam_tlb_flush flush;
    (void)state;
    start(&flush, 1u << 9);
    now.pace = 1000000;
    now.must_be_sent[9] = true;
    now.answers_at[9] = RESEND_CYCLES / 2;
    kernel_tlb_flush(&flush);
    assert_int_equal(now.sent[9], 2);
    assert_int_equal(now.flushed[9], 1);
}

static void hook_T12_sends_again_then_panics(void **state)
{
    struct loam_tlb_flush flush;
    (void)state;
    start(&flush, 1u << 9);
    now.failing_sends = SENDS_MAX - 1;
    kernel_tlb_flush(&flush);
    assert_int_equal(now.sent[9], 1);
    assert_int_equal(now.flushed[9], 1);
    start(&flush, 1u << 9);
    now.failing_sends = SENDS_MAX;
    EXPECT_PANIC("tlb: CPU 9 cannot be sent a flush request", kernel_tlb_flush(&flush));
    assert_int_equal(panic_trap.seen.subject, 9);
    assert_int_equal(panic_trap.seen.detail, 109);
}

static void serve_without_a_request_does_nothing(void **state)
{
    struct loam_tlb_flush flush;
    (void)state;
    start(&flush, 1);
    tlb_serve();
    assert_int_equal(now.flushed[2], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hook_asks_the_set_and_nobody_else),
        cmocka_unit_test(hook_T03_waits_for_a_cpu_with_interrupts_off),
        cmocka_unit_test(hook_T04_names_a_cpu_that_never_answers),
        cmocka_unit_test(hook_T05_serves_while_it_waits_for_its_turn),
        cmocka_unit_test(hook_T08_keeps_asking_a_cpu_that_missed_it),
        cmocka_unit_test(hook_T12_sends_again_then_panics),
        cmocka_unit_test(serve_without_a_request_does_nothing),
    };
    return RUN_TESTS(tests);
}
