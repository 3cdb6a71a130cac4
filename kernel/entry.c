/*
 * entry.c - the reference kernel from its first instruction to its last: the
 * table of contents. Read this first.
 */
#include "apic.h"
#include "cpu.h"
#include "demos.h"
#include "instructions.h"
#include "latecomer.h"
#include "loader.h"
#include "log.h"
#include "memory.h"
#include "numa.h"
#include "options.h"
#include "power.h"
#include "provoke.h"
#include "reclaim.h"
#include "selftest.h"
#include "serial.h"
#include "shell.h"
#include "smp.h"
#include "stack.h"
#include "symbols.h"

_Noreturn void kmain(void);

static struct options options;

static void read_options(void)
{
    char bad[OPTIONS_WORD_MAX];
    if (!options_parse(&options, loader.cmdline, bad))
        log_warn("not understood on the command line: %s", bad);
    if (options.quiet)
        log_quiet();
    if (options.verbose)
        log_verbose();
    if (options.soak)
        selftest_paging_operations = SELFTEST_SOAK_OPERATIONS;
}

/* Break the rules that are to be broken. @return there were some, and nobody stopped us */
static bool break_rules(void)
{
    if (options.panic)
        provoke_panic(options.panic_cpu);
    if (options.deaf)
        provoke_deafness();
    if (options.overflow)
        provoke_overflow();
    if (options.wild_frame)
        provoke_wild_frame();
    if (options.double_free)
        provoke_double_free();
    if (options.heap_overflow)
        provoke_heap_overflow();
    if (options.heap_wrong_size)
        provoke_heap_wrong_size();
    if (options.fault)
        provoke_fault(options.fault_access, options.fault_address);
    return options.deaf || options.overflow || options.wild_frame || options.double_free ||
           options.heap_overflow || options.heap_wrong_size || options.fault;
}

/* What the command line asks for. @return false: something failed */
static bool act(void)
{
    if ((options.reclaim && !reclaim_run()) || break_rules())
        return false;
    if (options.shell) {
        shell_run();
        return true;
    }
    if (options.demo[0] != '\0')
        return demos_run(options.demo);
    if (options.selftest)
        return selftest_run();
    const bool demos_are_good = demos_run_all();
    return selftest_run() && demos_are_good;
}

/* The rest, on a stack of our own. */
static void run(struct cpu *self)
{
    const struct loam_limine_mp_response *mp = loader_limine.mp.response;
    const struct loam_writer writer = log_writer();
    (void)self;
    memory_report();
    symbols_load();
    if (!apic_init()) {
        log_warn("no local APIC: one CPU only");
        mp = NULL;
    }
    smp_count(mp, options.cpu_count);
    numa_load();
    x86_interrupts_on();
    bool all_good = !options.latecomer || latecomer_invite();
    all_good = smp_start(mp) && all_good;
    all_good = latecomer_dismiss() && all_good;
    loam_print_usage(&memory, &writer);
    all_good = act() && all_good;
    log_info(all_good ? "all is well" : "something failed");
    power_exit(all_good ? POWER_SUCCESS : POWER_FAILURE);
}

/* Entered by the bootloader: interrupts off, on its stack, tables and GDT. */
_Noreturn void kmain(void)
{
    struct cpu *self = &cpu_table[0];
    serial_init();
    log_info("Hello World! This is Loam %d.%d.%d", LOAM_VERSION_MAJOR, LOAM_VERSION_MINOR,
             LOAM_VERSION_PATCH);
    cpu_load_boot();
    loader_copy();
    read_options();
    log_info("bootloader: %s %s, base revision %lu", loader.name, loader.version, loader.revision);
    log_info("modules: %u", loader.module_count);
    if (!memory_take_over(&options))
        power_exit(POWER_FAILURE);

    const enum loam_status st = stack_make(self->index, &self->stacks);
    if (st != LOAM_OK) {
        log_error("no stacks for the boot CPU (%s)", loam_status_name(st));
        power_exit(POWER_FAILURE);
    }
    cpu_load(self);
    cpu_continue_on(self->stacks.main, run, self);
}
