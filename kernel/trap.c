/*
 * trap.c - see trap.h. Every gate is an interrupt gate: handlers run with
 * interrupts off, to their end.
 */
#include "trap.h"

#include "apic.h"
#include "cpu.h"
#include "fault.h"
#include "instructions.h"
#include "panic.h"
#include "probe.h"
#include "tlb.h"

#define GATE_COUNT     256u
#define GATE_INTERRUPT UINT64_C(0x8e00) /* present, ring 0, 64-bit interrupt gate */
#define ENTRY_BYTES    16u              /* trap.S */

struct gate { /* Intel SDM vol. 3, figure 6-8 */
    uint64_t low, high;
};

extern const char trap_entries[];
void trap_dispatch(struct trap_frame *frame);

static struct gate idt[GATE_COUNT];
static _Atomic(trap_watch) watcher;
static _Atomic(trap_fault_handler) fault_handler;

void trap_set_watch(trap_watch watch)
{
    atomic_store(&watcher, watch);
}

void trap_set_fault_handler(trap_fault_handler handler)
{
    atomic_store(&fault_handler, handler);
}

void trap_init(void)
{
    for (unsigned i = 0; i < GATE_COUNT; i++) {
        const uint64_t entry = (uint64_t)(uintptr_t)(trap_entries + (size_t)ENTRY_BYTES * i);
        uint64_t ist = IST_NONE;
        if (i == VECTOR_PAGE_FAULT)
            ist = IST_PAGE_FAULT;
        else if (i == VECTOR_DOUBLE_FAULT)
            ist = IST_DOUBLE_FAULT;
        else if (i == VECTOR_NMI)
            ist = IST_NMI;
        idt[i].low = (entry & 0xffff) | (uint64_t)CPU_CODE_SEGMENT << 16 | ist << 32 |
                     GATE_INTERRUPT << 32 | (entry >> 16 & 0xffff) << 48;
        idt[i].high = entry >> 32;
    }
}

void trap_load(void)
{
    const struct x86_table_pointer table = { sizeof idt - 1, (uint64_t)(uintptr_t)idt };
    x86_load_idt(&table);
}

static void page_fault(struct trap_frame *frame)
{
    struct cpu *self = cpu_self();
    const uint64_t address = x86_read_cr2();
    const trap_fault_handler handler = atomic_load(&fault_handler);
    if (handler != NULL && handler(frame, address))
        return;
    if (probe_recover(frame))
        return;
    self->task.ist[IST_PAGE_FAULT] -= CPU_FAULT_NEST_BYTES;
    fault_report(frame, address);
}

static void interrupt(const struct trap_frame *frame)
{
    const trap_watch watch = atomic_load(&watcher);
    atomic_fetch_add_explicit(&cpu_self()->interrupt_count, 1, memory_order_relaxed);
    /* VECTOR_WORK and VECTOR_TIMER only end a wait. */
    if (frame->vector == VECTOR_TLB)
        tlb_serve();
    else if (watch != NULL)
        watch(frame);
    apic_end_of_interrupt();
}

void trap_dispatch(struct trap_frame *frame)
{
    switch (frame->vector) {
    case VECTOR_PAGE_FAULT:
        page_fault(frame);
        return;
    case VECTOR_NMI:
        panic_nmi(frame);
        return;
    case VECTOR_WORK:
    case VECTOR_TLB:
    case VECTOR_TIMER:
        interrupt(frame);
        return;
    case VECTOR_STACK_FAULT:
    case VECTOR_PROTECTION_FAULT:
        if (probe_recover(frame))
            return;
        break;
    default:
        break;
    }
    if (frame->vector < VECTOR_EXCEPTIONS)
        panic_exception(frame);
    /* The spurious vector and those of the masked PIC want no answer. */
}
