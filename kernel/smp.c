/*
 * smp.c - see smp.h.
 *
 *     PARKED --goto_address--> loam_enter() --> ONLINE --hello--> READY
 *                                    |
 *                                    +--> REFUSED: halted
 */
#include "smp.h"

#include <loam/loam.h>

#include "apic.h"
#include "instructions.h"
#include "latecomer.h"
#include "log.h"
#include "memory.h"
#include "stack.h"
#include "tlb.h"
#include "trap.h"

/* Seconds on any machine: only waited for where a CPU is lost. */
#define START_CYCLES_MAX UINT64_C(40000000000)
#define STOP_CYCLES_MAX  UINT64_C(20000000000)

/* CPUs in the bootloader's list that cpu_table has no room for, or that were not
 * wanted: they stay in its loop for ever. */
static uint64_t left_out;

void smp_count(const struct loam_limine_mp_response *mp, uint64_t most)
{
    const uint64_t listed = mp != NULL ? mp->cpu_count : 1;
    const uint64_t limit = most != 0 && most < LOAM_CPUS_MAX ? most : LOAM_CPUS_MAX;
    unsigned next = 1;
    for (uint64_t i = 0; mp != NULL && i < listed; i++) {
        const struct loam_limine_mp_info *info = mp->cpus[i];
        if (info->lapic_id == mp->bsp_lapic_id) {
            cpu_table[0].apic_id = info->lapic_id;
        } else if (next < limit) {
            cpu_table[next].index = next;
            cpu_table[next].apic_id = info->lapic_id;
            atomic_store(&cpu_table[next].state, CPU_PARKED);
            next++;
        }
    }
    left_out = listed > next ? listed - next : 0;
    cpu_set_count(next);
}

/* ---- an application CPU ------------------------------------------------------- */

/* Take work, otherwise zero frames for later, sleep at last. */
static _Noreturn void serve_work(struct cpu *self)
{
    for (;;) {
        x86_interrupts_on();
        while (atomic_load(&self->work) == NULL && memory_idle())
            ;
        x86_interrupts_off();
        const cpu_work work = atomic_load_explicit(&self->work, memory_order_acquire);
        if (work == NULL) {
            x86_wait_for_interrupt();
            continue;
        }
        x86_interrupts_on();
        work(self->work_argument);
        atomic_store_explicit(&self->work, NULL, memory_order_release);
    }
}

static void main_of_cpu(struct cpu *self)
{
    latecomer_look();
    apic_enable();
    tlb_serve(); /* we are asked since loam_enter(); an IPI sent before is lost */
    atomic_store(&self->state, CPU_ONLINE);
    latecomer_look_again();
    log_info("Hello from CPU %u", self->index);
    atomic_store(&self->state, CPU_READY);
    serve_work(self);
}

/* On the bootloader's stack, which our tables show as its own did. */
static void enter_kernel(struct loam_limine_mp_info *info)
{
    struct cpu *self = &cpu_table[info->extra_argument];
    loam_x86_wrmsr(MSR_GS_BASE, (uint64_t)(uintptr_t)self); /* for loam_port_cpu() */
    const enum loam_status st = loam_enter(&memory);
    if (st != LOAM_OK) {
        self->refusal = st;
        atomic_store(&self->state, CPU_REFUSED);
        for (;;)
            x86_halt(); /* interrupts are off */
    }
    cpu_load(self);
    cpu_continue_on(self->stacks.main, main_of_cpu, self);
}

/* ---- the boot CPU ---------------------------------------------------------------- */

static bool start_one(struct loam_limine_mp_info *info, struct cpu *cpu)
{
    const enum loam_status st = stack_make(cpu->index, &cpu->stacks);
    if (st != LOAM_OK) {
        log_error("CPU %u: no stacks (%s)", cpu->index, loam_status_name(st));
        return false;
    }
    info->extra_argument = cpu->index;
    __atomic_store_n(&info->goto_address, enter_kernel, __ATOMIC_SEQ_CST);
    return true;
}

static struct cpu *find_cpu(uint32_t id)
{
    for (unsigned i = 1; i < cpu_count(); i++) {
        if (cpu_table[i].apic_id == id)
            return &cpu_table[i];
    }
    return NULL;
}

static bool wait_until_ready(struct cpu *cpu)
{
    const uint64_t start = x86_read_tsc();
    for (;;) {
        const uint32_t state = atomic_load(&cpu->state);
        if (state == CPU_READY)
            return true;
        if (state == CPU_REFUSED) {
            log_error("CPU %u cannot use the page tables (%s)", cpu->index,
                      loam_status_name(cpu->refusal));
            return false;
        }
        if (x86_read_tsc() - start > START_CYCLES_MAX) {
            log_error("CPU %u does not answer", cpu->index);
            return false;
        }
        loam_x86_pause();
    }
}

bool smp_start(const struct loam_limine_mp_response *mp)
{
    bool all_run = true;
    log_info("CPU count: %u", cpu_count());
    if (left_out != 0)
        log_warn("%lu more CPUs stay with the bootloader", left_out);
    log_info("Hello from CPU 0");
    atomic_store(&cpu_table[0].state, CPU_READY);
    for (uint64_t i = 0; mp != NULL && i < mp->cpu_count; i++) {
        struct cpu *cpu = find_cpu(mp->cpus[i]->lapic_id);
        if (cpu != NULL && !start_one(mp->cpus[i], cpu))
            all_run = false;
    }
    latecomer_change();
    for (unsigned i = 0; i < cpu_count(); i++) {
        const bool is_started = cpu_table[i].stacks.main != 0;
        if (is_started && !wait_until_ready(&cpu_table[i]))
            all_run = false;
    }
    return all_run;
}

bool smp_left_the_bootloader(void)
{
    for (unsigned i = 0; i < cpu_count(); i++) {
        if (atomic_load(&cpu_table[i].state) != CPU_READY)
            return false;
    }
    return left_out == 0;
}

/* ---- work ------------------------------------------------------------------------- */

void smp_wake(unsigned index)
{
    apic_send(cpu_table[index].apic_id, VECTOR_WORK);
}

void smp_hand_over(unsigned index, cpu_work work, void *argument)
{
    struct cpu *cpu = &cpu_table[index];
    if (atomic_load(&cpu->state) != CPU_READY || atomic_load(&cpu->work) != NULL)
        return;
    cpu->work_argument = argument;
    atomic_store(&cpu->work, work); /* seq_cst: before the IPI */
    apic_send(cpu->apic_id, VECTOR_WORK);
}

static void wait_for_work(struct cpu *cpu)
{
    while (atomic_load_explicit(&cpu->work, memory_order_acquire) != NULL)
        loam_x86_pause();
}

void smp_run_on(unsigned cpu, cpu_work work, void *argument)
{
    if (&cpu_table[cpu] == cpu_self()) {
        work(argument);
        return;
    }
    smp_hand_over(cpu, work, argument);
    wait_for_work(&cpu_table[cpu]);
}

void smp_run_all(cpu_work work, void *argument)
{
    for (unsigned i = 0; i < cpu_count(); i++) {
        if (&cpu_table[i] != cpu_self())
            smp_hand_over(i, work, argument);
    }
    work(argument);
    for (unsigned i = 0; i < cpu_count(); i++)
        wait_for_work(&cpu_table[i]); /* at once for who got none */
}

unsigned smp_stop_others(void)
{
    const struct cpu *self = cpu_self_or_null();
    for (unsigned i = 0; i < cpu_count(); i++) {
        struct cpu *cpu = &cpu_table[i];
        if (cpu != self && atomic_load(&cpu->state) >= CPU_ONLINE)
            apic_send_nmi(cpu->apic_id);
    }
    const uint64_t start = x86_read_tsc();
    unsigned stopped_count = 0;
    for (unsigned i = 0; i < cpu_count(); i++) {
        struct cpu *cpu = &cpu_table[i];
        while (cpu != self && atomic_load(&cpu->state) >= CPU_ONLINE &&
               atomic_load(&cpu->stopped) == 0 && x86_read_tsc() - start < STOP_CYCLES_MAX)
            loam_x86_pause();
        stopped_count += atomic_load(&cpu->stopped);
    }
    return stopped_count;
}
