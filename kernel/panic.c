/*
 * panic.c - see panic.h. No lock is taken, no memory allocated; what is read may
 * be broken, so stacks are read with probes.
 */
#include "panic.h"

#include "address.h"
#include "cpu.h"
#include "instructions.h"
#include "log.h"
#include "memory.h"
#include "power.h"
#include "probe.h"
#include "smp.h"
#include "symbols.h"
#include "text.h"

#define BACKTRACE_MAX 24u
#define CPU_UNKNOWN   UINT32_MAX

_Noreturn void panic_rule(const struct loam_panic *panic, const struct trap_frame *frame);

/* Index + 1 of the CPU that reports; CPU_UNKNOWN if it does not know itself. */
static _Atomic(uint32_t) reporter;
static unsigned stopped_count; /* other CPUs that stand still */

static _Noreturn void stand_still(void)
{
    struct cpu *self = cpu_self_or_null();
    if (self != NULL)
        atomic_store(&self->stopped, 1);
    x86_interrupts_off();
    for (;;)
        x86_halt();
}

void panic_begin(const char *what)
{
    const struct cpu *self = cpu_self_or_null();
    const uint32_t me = self != NULL ? self->index + 1 : CPU_UNKNOWN;
    uint32_t nobody = 0;
    x86_interrupts_off();
    if (!atomic_compare_exchange_strong(&reporter, &nobody, me)) {
        if (nobody != me)
            stand_still();
        log_error("panic inside the report of a panic: %s", what);
        power_exit(POWER_FAILURE);
    }
    stopped_count = smp_stop_others();
    log_panic();
}

static void show_registers(const struct trap_frame *frame)
{
    const struct cpu *self = cpu_self_or_null();
    if (self != NULL)
        log_error("  on CPU %u, %u others stopped", self->index, stopped_count);
    else
        log_error("  on a CPU that is not set up yet");
    log_error("  rip %016lx rsp %016lx rbp %016lx flags %08lx", frame->rip, frame->rsp, frame->rbp,
              frame->rflags);
    log_error("  rax %016lx rbx %016lx rcx %016lx rdx %016lx", frame->rax, frame->rbx, frame->rcx,
              frame->rdx);
    log_error("  rsi %016lx rdi %016lx r8  %016lx r9  %016lx", frame->rsi, frame->rdi, frame->r8,
              frame->r9);
    log_error("  r10 %016lx r11 %016lx r12 %016lx r13 %016lx", frame->r10, frame->r11, frame->r12,
              frame->r13);
    log_error("  r14 %016lx r15 %016lx cr0 %016lx cr2 %016lx", frame->r14, frame->r15,
              loam_x86_read_cr0(), x86_read_cr2());
    log_error("  cr3 %016lx cr4 %016lx", loam_x86_read_cr3(), loam_x86_read_cr4());
}

/* A return address may lie behind the last instruction of its function. */
static void show_place(unsigned depth, uint64_t address, bool is_return)
{
    struct symbol symbol;
    if (symbols_find(is_return ? address - 1 : address, &symbol))
        log_error("    #%-2u %016lx %s+0x%lx", depth, address, symbol.name,
                  address - symbol.address);
    else
        log_error("    #%-2u %016lx", depth, address);
}

static void show_backtrace(const struct trap_frame *frame)
{
    uint64_t at = frame->rbp;
    log_error("  backtrace:");
    show_place(0, frame->rip, frame->vector == TRAP_NONE);
    if (cpu_self_or_null() == NULL)
        return; /* a probe that faults needs our descriptor tables */
    for (unsigned depth = 1; depth < BACKTRACE_MAX; depth++) {
        uint64_t next, caller;
        if (at == 0 || at % sizeof at != 0 || !probe_read(at, &next) ||
            !probe_read(at + sizeof at, &caller) || caller == 0)
            return;
        show_place(depth, caller, true);
        if (next != 0 && next <= at)
            return; /* callers lie above: anything else is no stack */
        at = next;
    }
}

_Noreturn void panic_end(const struct trap_frame *frame)
{
    show_backtrace(frame);
    show_registers(frame);
    power_exit(POWER_FAILURE);
}

static void show_site(const char *what, loam_virt site)
{
    struct symbol symbol;
    if (site.addr != 0 && symbols_find(site.addr - 1, &symbol))
        log_error("    %s %016lx %s+0x%lx", what, site.addr, symbol.name,
                  site.addr - symbol.address);
    else if (site.addr != 0)
        log_error("    %s %016lx", what, site.addr);
}

/* What the heap's debug layer knows of a block that a rule is broken on. */
static void show_blame(const struct loam_panic *panic)
{
    const struct loam_debug_blame *blame = &memory.heap.debug.blame;
    if (text_after(panic->rule, "debug: ") == NULL || blame->block.addr != panic->subject)
        return;
    log_error("  block 0x%lx, %zu bytes", blame->block.addr, blame->size_bytes);
    show_site("allocated at", blame->alloc_site);
    show_site("freed at    ", blame->free_site);
    show_site("found at    ", blame->caller);
}

_Noreturn void panic_rule(const struct loam_panic *panic, const struct trap_frame *frame)
{
    panic_begin(panic->rule);
    log_error("panic: %s", panic->rule);
    log_error("  checked at %s:%d", panic->file, panic->line);
    log_error("  subject 0x%lx, detail 0x%lx", panic->subject, panic->detail);
    show_blame(panic);
    if (address_is_known(panic->subject))
        address_describe(panic->subject);
    panic_end(frame);
}

static const char *exception_name(uint64_t vector)
{
    static const char *const names[] = {
        [0] = "divide error",
        [1] = "debug",
        [3] = "breakpoint",
        [4] = "overflow",
        [5] = "bound range",
        [6] = "invalid opcode",
        [7] = "no coprocessor",
        [VECTOR_DOUBLE_FAULT] = "double fault",
        [10] = "invalid TSS",
        [11] = "segment not present",
        [VECTOR_STACK_FAULT] = "stack fault",
        [VECTOR_PROTECTION_FAULT] = "general protection",
        [16] = "x87 error",
        [17] = "alignment check",
        [18] = "machine check",
        [19] = "SIMD error",
        [21] = "control protection",
    };
    if (vector >= sizeof names / sizeof names[0] || names[vector] == NULL)
        return "exception";
    return names[vector];
}

_Noreturn void panic_exception(const struct trap_frame *frame)
{
    const char *name = exception_name(frame->vector);
    panic_begin(name);
    log_error("panic: %s, vector %lu, error code 0x%lx", name, frame->vector, frame->error);
    panic_end(frame);
}

_Noreturn void panic_nmi(const struct trap_frame *frame)
{
    if (atomic_load(&reporter) != 0)
        stand_still();
    panic_begin("NMI");
    log_error("panic: NMI that nobody here has sent");
    panic_end(frame);
}
