/*
 * sim_options.h - the arguments of loam-sim.
 */
#ifndef LOAM_TOOLS_SIM_OPTIONS_H
#define LOAM_TOOLS_SIM_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

struct sim_options {
    bool quiet;
    uint64_t steps; /* of each CPU of a server in its steady state */
    unsigned machine_count;
};

enum sim_options_verdict {
    SIM_OPTIONS_GO,
    SIM_OPTIONS_HELP,  /* was printed */
    SIM_OPTIONS_WRONG, /* and stderr says so */
};

/** Read all arguments, and print the help if that is one of them. */
enum sim_options_verdict sim_options_read(struct sim_options *options, int argc, char **argv);

/** @return "NODES,GIB,CPUS" of an argument that names a server, else NULL */
const char *sim_options_server(const char *argument);

/** Does an argument name a file, or standard input? */
bool sim_options_is_file(const char *argument);

#endif
