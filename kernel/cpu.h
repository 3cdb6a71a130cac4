/*
 * cpu.h - per-CPU state: descriptor tables, stacks, and who I am.
 *
 * GS points at the running CPU's struct cpu from the moment it is loaded.
 */
#ifndef KERNEL_CPU_H
#define KERNEL_CPU_H

#include <loam/types.h>
#include <stdatomic.h>

#define CPU_CODE_SEGMENT 0x08u
#define CPU_DATA_SEGMENT 0x10u
#define CPU_TASK_SEGMENT 0x18u

/* Entries of the interrupt stack table; 0 in a gate: stay on the stack. */
enum cpu_ist { IST_NONE, IST_PAGE_FAULT, IST_DOUBLE_FAULT, IST_NMI, IST_COUNT };

/* A page fault inside the report of a page fault runs this much further down
 * the same stack, not over the first one. */
#define CPU_FAULT_NEST_BYTES UINT64_C(8192)

struct __attribute__((packed)) cpu_task_state { /* Intel SDM vol. 3, figure 8-11 */
    uint32_t reserved_0;
    uint64_t stack[3];
    uint64_t ist[8]; /* [0] is reserved */
    uint64_t reserved_1;
    uint16_t reserved_2;
    uint16_t io_map;
};

enum cpu_state {
    CPU_ABSENT,
    CPU_PARKED,  /* in the bootloader's loop, on its memory */
    CPU_REFUSED, /* loam_enter() refused it: halted, still on the bootloader's memory */
    CPU_ONLINE,  /* on our tables, stacks and descriptor tables; takes interrupts */
    CPU_READY,   /* and has said hello: takes work */
};

/* Tops of one CPU's stacks. */
struct cpu_stacks {
    uint64_t main;
    uint64_t ist[IST_COUNT]; /* [IST_NONE] is not used */
};

typedef void (*cpu_work)(void *argument);

struct cpu {
    struct cpu *self; /* at GS:0 */
    unsigned index;   /* at GS:8; 0 is the boot CPU */
    uint32_t apic_id;
    _Atomic(uint32_t) state;     /* enum cpu_state */
    _Atomic(uint32_t) tlb_asked; /* tlb.c: 1 until this CPU has flushed */
    _Atomic(uint32_t) stopped;   /* panic.c: 1 once it stands still for good */
    _Atomic(cpu_work) work;      /* smp.c: NULL when idle; released by who stores it */
    void *work_argument;
    uint64_t probe_target;             /* probe.h: where an execution is tried; 0: nowhere */
    _Atomic(uint64_t) interrupt_count; /* IPIs and timer ticks served */
    enum loam_status refusal;          /* of loam_enter(), in CPU_REFUSED */
    struct cpu_stacks stacks;
    uint64_t gdt[5];
    struct cpu_task_state task;
};

extern struct cpu cpu_table[LOAM_CPUS_MAX];

/* CPUs of the machine that we keep state for, in any state but CPU_ABSENT. */
unsigned cpu_count(void);
void cpu_set_count(unsigned count);

/** The running CPU. Only after cpu_load(). */
static inline struct cpu *cpu_self(void)
{
    struct cpu *self;
    __asm__ volatile("movq %%gs:0, %0" : "=r"(self));
    return self;
}

/** The running CPU, or NULL on one that has not come to cpu_load() yet. Any context. */
struct cpu *cpu_self_or_null(void);

/** Make the running CPU @p cpu: its GDT, TSS and GS, and the one IDT. @p cpu->stacks is set. */
void cpu_load(struct cpu *cpu);

/** cpu_load() of the boot CPU, on stacks inside the image: first thing of all. */
void cpu_load_boot(void);

/** Leave this stack for good. @p run must not return. */
_Noreturn void cpu_continue_on(uint64_t stack_top, void (*run)(struct cpu *cpu), struct cpu *cpu);

#endif
