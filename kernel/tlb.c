/*
 * tlb.c - loam_port_tlb_flush() for several CPUs.
 *
 *     initiator              each CPU of the set
 *     take the turn
 *     request = flush
 *     asked = 1, IPI   --->  handler: flush locally
 *                            asked = 0
 *     all asked are 0  <---
 *     give the turn
 *
 * One request at a time. Whoever waits for the turn serves the request that is
 * under way, so two CPUs that ask at once with interrupts off both get through;
 * whoever has the turn cannot be asked by anybody. The same holds for every other
 * wait of this kernel: with interrupts off it calls tlb_serve(), or what it waits for
 * is held by nobody who unmaps.
 *
 * asked: stored 1 before the IPI; cleared (release) after the flush, read
 * (acquire) by the initiator. request: written with the turn held and no asked
 * set, read only by those who find theirs set (acquire). It lies on the initiator's
 * stack, which does not return while any asked is set.
 *
 * An IPI may be lost: to a CPU whose APIC is not on yet. That CPU serves when it has
 * switched it on (smp.c); others are sent another one from time to time.
 */
#include "tlb.h"

#include <loam/loam.h>
#include <loam/lock.h>

#include "apic.h"
#include "cpu.h"
#include "instructions.h"
#include "panic.h"
#include "trap.h"

/* No CPU keeps its interrupts off nearly as long; a machine whose time stamps
 * count faster only waits less. */
#define ANSWER_CYCLES_MAX UINT64_C(20000000000)
#define RESEND_CYCLES     (ANSWER_CYCLES_MAX / 8)
#define SENDS_MAX         8u

static struct loam_spinlock turn;
static const struct loam_tlb_flush *request;
static _Atomic(tlb_watch) watcher;

void tlb_set_watch(tlb_watch watch)
{
    atomic_store(&watcher, watch);
}

void tlb_serve(void)
{
    struct cpu *self = cpu_self();
    if (atomic_load_explicit(&self->tlb_asked, memory_order_acquire) == 0)
        return; /* served already, while it waited for something */
    const tlb_watch watch = atomic_load(&watcher);
    loam_tlb_flush_local(request);
    if (watch != NULL)
        watch(request);
    atomic_store_explicit(&self->tlb_asked, 0, memory_order_release);
}

/* "tlb: CPU 12 does not answer a flush request" */
static _Noreturn void give_up(const struct cpu *cpu, const char *what)
{
    static char rule[80];
    char digits[12];
    unsigned count = 0;
    char *to = rule;
    for (unsigned left = cpu->index; left != 0 || count == 0; left /= 10)
        digits[count++] = (char)('0' + left % 10);
    for (const char *from = "tlb: CPU "; *from != '\0'; from++)
        *to++ = *from;
    while (count != 0)
        *to++ = digits[--count];
    while (*what != '\0')
        *to++ = *what++;
    *to = '\0';
    PANIC(rule, cpu->index, cpu->apic_id);
}

static void send(const struct cpu *cpu)
{
    for (unsigned i = 0; i < SENDS_MAX; i++) {
        if (apic_send(cpu->apic_id, VECTOR_TLB))
            return;
    }
    give_up(cpu, " cannot be sent a flush request");
}

static void ask(struct cpu *cpu)
{
    /* seq_cst: stored for all to see before the IPI, which is no memory access. */
    atomic_store(&cpu->tlb_asked, 1);
    send(cpu);
}

static void wait_for(const struct cpu *cpu)
{
    const uint64_t start = x86_read_tsc();
    uint64_t sent = start;
    while (atomic_load_explicit(&cpu->tlb_asked, memory_order_acquire) != 0) {
        const uint64_t now = x86_read_tsc();
        if (now - start > ANSWER_CYCLES_MAX)
            give_up(cpu, " does not answer a flush request");
        if (now - sent > RESEND_CYCLES) {
            send(cpu);
            sent = now;
        }
        loam_x86_pause();
    }
}

void loam_port_tlb_flush(const struct loam_tlb_flush *flush)
{
    const uint64_t irq = loam_x86_irq_save();
    const struct cpu *self = cpu_self();

    while (!loam_spinlock_try(&turn)) {
        tlb_serve();
        loam_x86_pause();
    }
    request = flush;
    for (unsigned i = 0; i < cpu_count(); i++) {
        if (&cpu_table[i] != self && loam_cpu_set_has(&flush->cpus, i))
            ask(&cpu_table[i]);
    }
    if (loam_cpu_set_has(&flush->cpus, self->index))
        loam_tlb_flush_local(flush); /* we have moved here meanwhile */
    for (unsigned i = 0; i < cpu_count(); i++)
        wait_for(&cpu_table[i]); /* at once for who was not asked */
    loam_spinlock_release(&turn);
    loam_x86_irq_restore(irq);
}
