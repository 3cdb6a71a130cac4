/*
 * main.c - bench-frames: Loam's page frame allocator and its peers.
 *
 *     bench-frames [--allocators NAME,...] [--workloads NAME,...] [--rounds N]
 *                  [--cpus N] [--llfree FILE.so] [--out DIRECTORY]
 *                  [--no-check] [--no-speed] [--no-threads] [--no-fragments]
 *                  [--no-large]
 *
 * The simulated RAM is only numbers: 8 GiB from 4 GiB up, where a part does not say
 * otherwise. bench/frames/report.py runs this, and makes tables and pictures of what
 * it writes to DIRECTORY. The first allocator is the one the others are compared with.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define CPUS     16u /* a machine's that has 8 GiB or more */
#define CPUS_MAX 64u

static struct bench_part parts[] = {
    { "check", bench_check, true },     { "speed", bench_speed, true },
    { "threads", bench_threads, true }, { "fragments", bench_fragments, true },
    { "large", bench_large, true },     { .name = NULL },
};

/* LLFree is not among what cargo brings; a library of it is loaded if there is one. */
static const struct frames_peer *llfree_of(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        bench_fail("cannot load", dlerror());
    const struct frames_peer *peer = dlsym(library, "LLFREE_PEER");
    if (peer == NULL)
        bench_fail("no LLFree in", path);
    return peer;
}

static void add_peers(struct bench_plan *plan, const struct frames_peer *peers, const char *name)
{
    for (; peers->name != NULL && plan->peer_count < BENCH_PEERS_MAX; peers++)
        if (name == NULL || strcmp(name, peers->name) == 0)
            plan->peers[plan->peer_count++] = peers;
}

/* All, or the one with that name. */
static void plan_peers(struct bench_plan *plan, const char *name, const char *llfree_path)
{
    const size_t before = plan->peer_count;
    add_peers(plan, frames_loam, name);
    if (llfree_path != NULL && (name == NULL || strcmp(name, "llfree") == 0))
        plan->peers[plan->peer_count++] = llfree_of(llfree_path);
    add_peers(plan, frames_linux, name);
    add_peers(plan, FRAMES_PEERS, name);
    add_peers(plan, frames_stack, name);
    if (plan->peer_count == before)
        bench_fail("no such allocator", name);
}

/* What names the allocators is kept for later: --llfree may come behind it. */
static void read_arguments(struct bench_plan *plan, char **arguments)
{
    char *names = NULL;
    const char *llfree_path = NULL;
    for (; *arguments != NULL; arguments++) {
        if (bench_leave_out(parts, *arguments))
            continue;
        const char *option = *arguments++;
        if (*arguments == NULL)
            bench_fail("unknown, or without a value", option);
        if (strcmp(option, "--allocators") == 0)
            names = *arguments;
        else if (strcmp(option, "--workloads") == 0)
            for (char *list = *arguments; list != NULL;)
                plan->workloads[plan->workload_count++ % BENCH_WORKLOADS_MAX] =
                    bench_next_name(&list);
        else if (strcmp(option, "--rounds") == 0)
            plan->rounds = bench_number(*arguments, BENCH_ROUNDS_MAX);
        else if (strcmp(option, "--cpus") == 0)
            plan->cpu_count = bench_number(*arguments, CPUS_MAX);
        else if (strcmp(option, "--llfree") == 0)
            llfree_path = *arguments;
        else if (strcmp(option, "--out") == 0)
            plan->directory = *arguments;
        else
            bench_fail("unknown", option);
    }
    if (names == NULL)
        plan_peers(plan, NULL, llfree_path);
    while (names != NULL)
        plan_peers(plan, bench_next_name(&names), llfree_path);
}

int main(int argc, char **argv)
{
    struct bench_plan plan = { .rounds = 15, .cpu_count = CPUS };
    (void)argc;
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    read_arguments(&plan, argv + 1);
    bench_run_parts(parts, &plan);
    return 0;
}
