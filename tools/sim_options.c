/*
 * sim_options.c - see sim_options.h.
 */
#include "sim_options.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEPS_DEFAULT 20000u

static const char help[] =
    "usage: loam-sim [--quiet] [--steps=N] FILE|--server=NODES,GIB,CPUS...\n"
    "\n"
    "Shows what Loam makes of a machine's memory map: repairs, the normalised map, and\n"
    "after a simulated start the page tables, the heap and the owner of every range; then\n"
    "it lets all CPUs take and give memory, before and after reclaim.\n"
    "\n"
    "FILE holds one entry per line, base and length in hexadecimal and a type,\n"
    "    9fc00 400 RESERVED\n"
    "or is the output of dmesg on Linux (its BIOS-e820: lines). - is standard input:\n"
    "    dmesg | loam-sim -\n"
    "\n"
    "Lines \"# key value\" describe the machine, if there are any: cpu-count, phys-bits,\n"
    "paging-mode, cpuid, kernel-phys, kernel-virt, kernel-image-size, framebuffer,\n"
    "base-revision-requested. Assumed otherwise: 4 CPUs, 46 bits, 4 levels, 1 GiB pages,\n"
    "a kernel of 64 KiB.\n"
    "\n"
    "  --server=NODES,GIB,CPUS\n"
    "           instead of a file: a server with so many NUMA nodes of GIB GiB each, up to\n"
    "           65536 GiB, and up to 64 CPUs. All CPUs take and give at once until nothing\n"
    "           changes any more, and then go on for N steps each\n"
    "  --steps=N  20000 unless said otherwise\n"
    "  --quiet  one line per machine\n"
    "  --help   this text\n"
    "\n"
    "Exit status: 0 all well, 1 Loam refuses a map, 2 a file cannot be read, or this host\n"
    "has not the address space for a server.\n";

/* What comes behind a prefix; NULL: it is not there. */
static const char *behind(const char *text, const char *prefix)
{
    const size_t length = strlen(prefix);
    return strncmp(text, prefix, length) == 0 ? text + length : NULL;
}

const char *sim_options_server(const char *argument)
{
    return behind(argument, "--server=");
}

bool sim_options_is_file(const char *argument)
{
    return argument[0] != '-' || argument[1] == '\0';
}

/* @return false: it is no option, or not a proper one */
static bool read_option(struct sim_options *options, const char *argument)
{
    const char *const steps = behind(argument, "--steps=");
    char *end = NULL;
    if (strcmp(argument, "--quiet") == 0) {
        options->quiet = true;
        return true;
    }
    if (steps == NULL || steps[0] < '0' || steps[0] > '9')
        return false;
    options->steps = strtoull(steps, &end, 10);
    return *end == '\0' && options->steps <= UINT32_MAX;
}

enum sim_options_verdict sim_options_read(struct sim_options *options, int argc, char **argv)
{
    *options = (struct sim_options){ false, STEPS_DEFAULT, 0 };
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            fputs(help, stdout);
            return SIM_OPTIONS_HELP;
        }
        if (sim_options_server(argv[i]) != NULL || sim_options_is_file(argv[i])) {
            options->machine_count++;
        } else if (!read_option(options, argv[i])) {
            fprintf(stderr, "loam-sim: unknown option %s; see loam-sim --help\n", argv[i]);
            return SIM_OPTIONS_WRONG;
        }
    }
    if (options->machine_count == 0) {
        fprintf(stderr, "loam-sim: name at least one memory map; see loam-sim --help\n");
        return SIM_OPTIONS_WRONG;
    }
    return SIM_OPTIONS_GO;
}
