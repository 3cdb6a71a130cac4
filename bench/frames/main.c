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

struct parts {
    bool check, speed, threads, fragments, large;
};

/* The first name of a list "a,b,c"; steps *list behind it. */
static const char *next_name(char **list)
{
    char *name = *list;
    char *comma = strchr(name, ',');
    *list = comma == NULL ? NULL : comma + 1;
    if (comma != NULL)
        *comma = '\0';
    return name;
}

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

static bool switch_part(struct parts *parts, const char *argument)
{
    if (strcmp(argument, "--no-check") == 0)
        parts->check = false;
    else if (strcmp(argument, "--no-speed") == 0)
        parts->speed = false;
    else if (strcmp(argument, "--no-threads") == 0)
        parts->threads = false;
    else if (strcmp(argument, "--no-fragments") == 0)
        parts->fragments = false;
    else if (strcmp(argument, "--no-large") == 0)
        parts->large = false;
    else
        return false;
    return true;
}

/* What names the allocators is kept for later: --llfree may come behind it. */
static void read_arguments(struct bench_plan *plan, struct parts *parts, char **arguments)
{
    char *names = NULL;
    const char *llfree_path = NULL;
    for (; *arguments != NULL; arguments++) {
        if (switch_part(parts, *arguments))
            continue;
        const char *option = *arguments++;
        if (*arguments == NULL)
            bench_fail("unknown, or without a value", option);
        if (strcmp(option, "--allocators") == 0)
            names = *arguments;
        else if (strcmp(option, "--workloads") == 0)
            for (char *list = *arguments; list != NULL;)
                plan->workloads[plan->workload_count++ % BENCH_WORKLOADS_MAX] = next_name(&list);
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
        plan_peers(plan, next_name(&names), llfree_path);
}

int main(int argc, char **argv)
{
    struct bench_plan plan = { .rounds = 15, .cpu_count = CPUS };
    struct parts parts = { true, true, true, true, true };
    (void)argc;
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    read_arguments(&plan, &parts, argv + 1);

    if (parts.check)
        bench_check(&plan);
    if (parts.speed)
        bench_speed(&plan);
    if (parts.threads)
        bench_threads(&plan);
    if (parts.fragments)
        bench_fragments(&plan);
    if (parts.large)
        bench_large(&plan);
    return 0;
}
