/*
 * shell.c - see shell.h.
 */
#include "shell.h"

#include <loam/dump.h>

#include "address.h"
#include "apic.h"
#include "demos.h"
#include "instructions.h"
#include "log.h"
#include "memory.h"
#include "numa.h"
#include "options.h"
#include "provoke.h"
#include "reclaim.h"
#include "selftest.h"
#include "serial.h"
#include "smp.h"
#include "text.h"

#define LINE_MAX  80u
#define BACKSPACE '\b'
#define DELETE    '\177'

/* ---- commands ------------------------------------------------------------------ */

static void show_help(const char *argument);

static void show_usage(const char *argument)
{
    (void)argument;
    (void)demo_usage(&memory.heap);
    const char *broken = memory_audit();
    memory_report_heap();
    log_info("audit: %s", broken != NULL ? broken : "sound");
}

static void show_heap(const char *argument)
{
    (void)argument;
    memory_report_heap();
}

static void show_map(const char *argument)
{
    const struct loam_writer writer = log_writer();
    struct address_book book;
    struct loam_lint finding;
    (void)argument;
    address_open_all(&book);
    loam_space_dump(&book.names, &writer);
    const char *broken = loam_space_lint(&book.names, &finding);
    if (broken == NULL)
        log_info("lint: sound");
    else
        log_error("%s: 0x%016lx, also 0x%016lx, physical 0x%016lx", broken, finding.at.addr,
                  finding.other.addr, finding.phys.addr);
}

static void show_cpus(const char *argument)
{
    (void)argument;
    for (unsigned i = 0; i < cpu_count(); i++) {
        const struct cpu *cpu = &cpu_table[i];
        log_info("CPU %u: local APIC id %u, %s, %lu interrupts", i, cpu->apic_id,
                 atomic_load(&cpu->state) == CPU_READY ? "ready" : "does not run",
                 atomic_load(&cpu->interrupt_count));
    }
}

static void show_numa(const char *argument)
{
    (void)argument;
    numa_report();
}

static void run_demo(const char *argument)
{
    if (*argument == '\0')
        demos_list();
    else
        (void)demos_run(argument);
}

static void run_demos(const char *argument)
{
    (void)argument;
    (void)demos_run_all();
}

static void run_selftest(const char *argument)
{
    (void)argument;
    (void)selftest_run();
}

static void run_reclaim(const char *argument)
{
    (void)argument;
    (void)reclaim_run();
}

static void run_panic(const char *argument)
{
    (void)argument;
    provoke_panic(cpu_self()->index);
}

static void run_fault(const char *argument)
{
    struct options options = { 0 };
    if (options_parse_fault(&options, argument))
        provoke_fault(options.fault_access, options.fault_address);
    else
        log_error("fault [read:|write:|execute:]ADDRESS");
}

static const struct command {
    const char *name;
    const char *what;
    void (*run)(const char *argument); /* NULL: leave */
} commands[] = {
    { "help", "these lines", show_help },
    { "usage", "physical memory and the heap: whose, how much", show_usage },
    { "heap", "which heap is in use, and how much of it", show_heap },
    { "map", "the page tables, range by range, and what is wrong with them", show_map },
    { "cpus", "the machine's CPUs", show_cpus },
    { "numa", "the nodes: how much memory, which CPUs", show_numa },
    { "demo", "[NAME] one demo, or their names", run_demo },
    { "demos", "all demos", run_demos },
    { "selftest", "the self-test", run_selftest },
    { "reclaim", "take the bootloader's memory", run_reclaim },
    { "fault", "[read:|write:|execute:]ADDRESS and the report of what happens", run_fault },
    { "panic", "break a rule", run_panic },
    { "poweroff", "leave", NULL },
};
#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

static void show_help(const char *argument)
{
    (void)argument;
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        log_text("%-10s %s\n", commands[i].name, commands[i].what);
}

/* ---- the prompt ------------------------------------------------------------------ */

static char read_character(bool ticking)
{
    char c;
    while (!serial_read(&c)) {
        if (ticking)
            x86_wait_for_interrupt();
        else
            loam_x86_pause();
    }
    return c;
}

static void read_line(char line[LINE_MAX])
{
    size_t length = 0;
    const bool ticking = apic_timer_start(); /* each time: a command may have stopped it */
    for (;;) {
        const char c = read_character(ticking);
        if (c == '\r' || c == '\n')
            break;
        if ((c == BACKSPACE || c == DELETE) && length > 0) {
            length--;
            log_text("\b \b");
        } else if (c >= ' ' && c < DELETE && length + 1 < LINE_MAX) {
            line[length++] = c;
            log_text("%c", c);
        }
    }
    line[length] = '\0';
    log_text("\n");
}

/* @return false: leave */
static bool run_line(char *line)
{
    const char *argument = "";
    for (char *p = line; *p != '\0'; p++) {
        if (*p == ' ') {
            *p = '\0';
            argument = p + 1;
            break;
        }
    }
    if (*line == '\0')
        return true;
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (!text_is(commands[i].name, line))
            continue;
        if (commands[i].run == NULL)
            return false;
        commands[i].run(argument);
        return true;
    }
    log_error("unknown: %s; try help", line);
    return true;
}

void shell_run(void)
{
    char line[LINE_MAX];
    do {
        log_text("loam> ");
        read_line(line);
    } while (run_line(line));
    apic_timer_stop();
}
