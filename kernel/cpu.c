/*
 * cpu.c - see cpu.h. Descriptor formats: Intel SDM vol. 3, sections 3.4.5, 8.2.3.
 */
#include "cpu.h"

#include <loam/port.h>

#include "instructions.h"
#include "trap.h"

#define DESCRIPTOR_CODE UINT64_C(0x00af9b000000ffff)
#define DESCRIPTOR_DATA UINT64_C(0x00cf93000000ffff)
#define DESCRIPTOR_TASK UINT64_C(0x0000890000000000) /* present, available 64-bit TSS */

#define BOOT_STACK_BYTES 8192u /* double fault, NMI; twice that for page faults */

LOAM_STATIC_ASSERT(offsetof(struct cpu, self) == 0, "cpu_self() reads GS:0");
LOAM_STATIC_ASSERT(offsetof(struct cpu, index) == 8, "loam_config.h reads GS:8");
LOAM_STATIC_ASSERT(sizeof(struct cpu_task_state) == 104, "the processor's layout");

struct cpu cpu_table[LOAM_CPUS_MAX];
static unsigned count = 1;

unsigned cpu_count(void)
{
    return count;
}

void cpu_set_count(unsigned new_count)
{
    count = new_count;
}

struct cpu *cpu_self_or_null(void)
{
    const uint64_t base = loam_x86_rdmsr(MSR_GS_BASE);
    const uint64_t offset = base - (uint64_t)(uintptr_t)cpu_table;
    return offset < sizeof cpu_table ? &cpu_table[offset / sizeof cpu_table[0]] : NULL;
}

static void fill_tables(struct cpu *cpu)
{
    const uint64_t task = (uint64_t)(uintptr_t)&cpu->task;
    const uint64_t limit = sizeof cpu->task - 1;

    cpu->task.io_map = sizeof cpu->task; /* none */
    for (unsigned i = 1; i < IST_COUNT; i++)
        cpu->task.ist[i] = cpu->stacks.ist[i];
    cpu->gdt[0] = 0;
    cpu->gdt[CPU_CODE_SEGMENT / 8] = DESCRIPTOR_CODE;
    cpu->gdt[CPU_DATA_SEGMENT / 8] = DESCRIPTOR_DATA;
    cpu->gdt[CPU_TASK_SEGMENT / 8] =
        DESCRIPTOR_TASK | limit | (task & 0xffffff) << 16 | (task >> 24 & 0xff) << 56;
    cpu->gdt[CPU_TASK_SEGMENT / 8 + 1] = task >> 32;
}

/* A far return is the only way to load CS; null FS and GS, then GS's base. */
static void load_segments(void)
{
    __asm__ volatile("pushq %0\n\t"
                     "leaq 1f(%%rip), %%rax\n\t"
                     "pushq %%rax\n\t"
                     "lretq\n"
                     "1:\n\t"
                     "movl %1, %%eax\n\t"
                     "movl %%eax, %%ds\n\t"
                     "movl %%eax, %%es\n\t"
                     "movl %%eax, %%ss\n\t"
                     "xorl %%eax, %%eax\n\t"
                     "movl %%eax, %%fs\n\t"
                     "movl %%eax, %%gs"
                     :
                     : "i"(CPU_CODE_SEGMENT), "i"(CPU_DATA_SEGMENT)
                     : "rax", "memory"); /* accesses must not cross a segment load */
}

void cpu_load(struct cpu *cpu)
{
    fill_tables(cpu);
    const struct x86_table_pointer gdt = { sizeof cpu->gdt - 1, (uint64_t)(uintptr_t)cpu->gdt };
    x86_load_gdt(&gdt);
    load_segments();
    cpu->self = cpu;
    loam_x86_wrmsr(MSR_GS_BASE, (uint64_t)(uintptr_t)cpu);
    x86_load_task(CPU_TASK_SEGMENT);
    trap_load();
}

void cpu_load_boot(void)
{
    static _Alignas(16) uint8_t stack[4 * BOOT_STACK_BYTES];
    struct cpu *boot = &cpu_table[0];
    boot->stacks.ist[IST_PAGE_FAULT] = (uint64_t)(uintptr_t)(stack + 2 * BOOT_STACK_BYTES);
    boot->stacks.ist[IST_DOUBLE_FAULT] = (uint64_t)(uintptr_t)(stack + 3 * BOOT_STACK_BYTES);
    boot->stacks.ist[IST_NMI] = (uint64_t)(uintptr_t)(stack + 4 * BOOT_STACK_BYTES);
    atomic_store_explicit(&boot->state, CPU_ONLINE, memory_order_relaxed);
    trap_init();
    cpu_load(boot);
}

_Noreturn void cpu_continue_on(uint64_t stack_top, void (*run)(struct cpu *cpu), struct cpu *cpu)
{
    /* A zero return address under a zero frame pointer ends every backtrace. */
    __asm__ volatile("movq %0, %%rsp\n\t"
                     "xorl %%ebp, %%ebp\n\t"
                     "pushq $0\n\t"
                     "jmp *%1"
                     :
                     : "r"(stack_top), "r"(run), "D"(cpu)
                     : "memory"); /* what was stored on the old stack stays stored */
    __builtin_unreachable();
}
