/*
 * tlb.c - loam_port_tlb_flush() for several CPUs.
 *
 *     initiator              other CPU
 *     take the turn
 *     request = *flush
 *     asked = 1, IPI   --->  handler: flush locally
 *     flush locally          asked = 0
 *     all asked are 0  <---
 *     give the turn
 *
 * One request at a time. Whoever waits for the turn serves the request that is
 * under way, so two CPUs that ask at once with interrupts off both get through;
 * whoever has the turn cannot be asked by anybody.
 *
 * asked: stored 1 before the IPI; cleared (release) after the flush, read
 * (acquire) by the initiator. request: written with the turn held and no asked
 * set, read only by those who find theirs set (acquire).
 *
 * A CPU that comes online sets its state first, then drops everything it may have
 * cached (smp.c): either it is asked, or its flush comes after our change.
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

static struct loam_spinlock turn;
static struct loam_tlb_flush request;

void tlb_serve(void)
{
    struct cpu *self = cpu_self();
    if (atomic_load_explicit(&self->tlb_asked, memory_order_acquire) == 0)
        return; /* served already, while it waited for the turn */
    loam_tlb_flush_local(&request);
    atomic_store_explicit(&self->tlb_asked, 0, memory_order_release);
}

static void ask(struct cpu *cpu)
{
    /* seq_cst: stored for all to see before the IPI, which is no memory access. */
    atomic_store(&cpu->tlb_asked, 1);
    apic_send(cpu->apic_id, VECTOR_TLB);
}

static void wait_for(struct cpu *cpu)
{
    const uint64_t start = x86_read_tsc();
    while (atomic_load_explicit(&cpu->tlb_asked, memory_order_acquire) != 0) {
        if (x86_read_tsc() - start > ANSWER_CYCLES_MAX)
            PANIC("tlb: a CPU does not answer a flush request", cpu->index, 0);
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
    request = *flush;
    for (unsigned i = 0; i < cpu_count(); i++) {
        struct cpu *cpu = &cpu_table[i];
        if (cpu != self && atomic_load(&cpu->state) >= CPU_ONLINE)
            ask(cpu);
    }
    loam_tlb_flush_local(flush);
    for (unsigned i = 0; i < cpu_count(); i++)
        wait_for(&cpu_table[i]); /* at once for who was not asked */
    loam_spinlock_release(&turn);
    loam_x86_irq_restore(irq);
}
