/*
 * main.c - bench-malloc-programs: what an allocator meets, one pattern a run.
 *
 *     bench-malloc-programs NAME [--threads N] [--percent N] [--seed N]
 *     bench-malloc-programs --list
 *
 * Prints the name, a checksum, and the peak of its memory in KiB. The list has names and
 * numbers of threads. The allocator is whichever malloc() the process has.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "../arena/help.h"
#include "programs.h"

#define PERCENT_MAX 10000u
#define SEED_MAX    1000000u

static const struct program *const tables[] = { programs_single, programs_sizes, programs_threads };
#define TABLES (sizeof tables / sizeof tables[0])

void program_fail(const char *what)
{
    bench_fail("wrong", what);
}

uint64_t program_sum(const struct program_tally *tally)
{
    if (tally->made != tally->ended)
        program_fail("what was freed is not what was made");
    return tally->made;
}

/* ---- threads --------------------------------------------------------------------- */

struct start {
    struct program_thread thread;
    void (*body)(struct program_thread *thread);
    pthread_t id;
};

static void *start_run(void *argument)
{
    struct start *start = argument;
    start->body(&start->thread);
    return NULL;
}

void program_threads(const struct program_load *load, struct program_tally *tally, void *shared,
                     void (*body)(struct program_thread *thread))
{
    struct start starts[PROGRAM_THREADS];
    for (unsigned i = 0; i < load->threads; i++) {
        starts[i] = (struct start){ .body = body };
        starts[i].thread = (struct program_thread){
            .load = load, .shared = shared, .random = program_seed(load->seed, i), .index = i
        };
        if (pthread_create(&starts[i].id, NULL, start_run, &starts[i]) != 0)
            program_fail("no thread");
    }
    for (unsigned i = 0; i < load->threads; i++) {
        (void)pthread_join(starts[i].id, NULL);
        tally->made += starts[i].thread.tally.made;
        tally->ended += starts[i].thread.tally.ended;
    }
}

/* ---- arguments ------------------------------------------------------------------- */

static const struct program *find(const char *name)
{
    for (size_t i = 0; i < TABLES; i++)
        for (const struct program *program = tables[i]; program->name != NULL; program++)
            if (strcmp(program->name, name) == 0)
                return program;
    bench_fail("no such program", name);
}

static int list(void)
{
    for (size_t i = 0; i < TABLES; i++)
        for (const struct program *program = tables[i]; program->name != NULL; program++)
            (void)printf("%s %u\n", program->name, program->threads);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--list") == 0)
        return list();
    if (argc < 2 || argc % 2 != 0)
        bench_fail("usage", "NAME [--threads N] [--percent N] [--seed N], or --list");

    const struct program *program = find(argv[1]);
    struct program_load load = { .seed = 1, .threads = program->threads, .percent = 100 };
    for (int i = 2; i < argc; i += 2) {
        if (strcmp(argv[i], "--threads") == 0)
            load.threads = bench_number(argv[i + 1], PROGRAM_THREADS);
        else if (strcmp(argv[i], "--percent") == 0)
            load.percent = bench_number(argv[i + 1], PERCENT_MAX);
        else if (strcmp(argv[i], "--seed") == 0)
            load.seed = bench_number(argv[i + 1], SEED_MAX);
        else
            bench_fail("no such option", argv[i]);
    }

    const uint64_t checksum = program->run(&load);
    struct rusage usage = { .ru_maxrss = 0 };
    (void)getrusage(RUSAGE_SELF, &usage);
    (void)printf("%s %016llx %ld\n", program->name, (unsigned long long)checksum, usage.ru_maxrss);
    return 0;
}
