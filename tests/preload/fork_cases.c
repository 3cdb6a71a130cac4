/*
 * fork_cases.c - fork(), vfork() and what is built on them, of programs whose other
 * threads are inside malloc at that moment.
 */
#include "cases.h"

#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 4

static atomic_bool stopping;
static pthread_t threads[THREADS];

/* All that a heap does: its own caches, shared lists, large blocks. */
static void *allocate_until_stopped(void *argument)
{
    for (uint64_t seed = (uint64_t)(uintptr_t)argument; !atomic_load(&stopping); seed += THREADS) {
        void *large = malloc(KIB(200));
        work_quickly(seed, 300);
        free(realloc(large, MIB(1)));
        if (seed % 64 == 0)
            malloc_trim(0);
    }
    return NULL;
}

static void start_threads(void)
{
    atomic_store(&stopping, false);
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK_EQUAL(pthread_create(&threads[i], NULL, allocate_until_stopped, (void *)i), 0);
}

static void stop_threads(void)
{
    atomic_store(&stopping, true);
    for (size_t i = 0; i < THREADS; i++)
        CHECK_EQUAL(pthread_join(threads[i], NULL), 0);
}

/* ---- children of threaded programs --------------------------------------- */

static void work_of_child(void)
{
    work(1, 10);
    work_quickly(2, 1000);
    for (size_t size = 1; size < MIB(2); size *= 3)
        free(calloc(1, size));
    malloc_trim(0);
}

static void children_of_a_threaded_program_allocate(void)
{
    start_threads();
    for (unsigned i = 0; i < 200; i++)
        in_child(work_of_child);
    stop_threads();
    work(1, 1000);
}

static void quick_thread(unsigned number)
{
    work_quickly(number, 500);
}

static void child_with_threads(void)
{
    in_threads(4, 0, quick_thread);
    work_quickly(1, 500);
}

static void children_of_a_threaded_program_start_threads(void)
{
    start_threads();
    for (unsigned i = 0; i < 60; i++)
        in_child(child_with_threads);
    stop_threads();
}

static void child_with_child(void)
{
    work_quickly(1, 200);
    in_child(work_of_child);
    work_quickly(2, 200);
}

static void children_of_children_allocate(void)
{
    start_threads();
    for (unsigned i = 0; i < 60; i++)
        in_child(child_with_child);
    stop_threads();
}

static void fork_many(unsigned number)
{
    for (unsigned i = 0; i < 25; i++) {
        work_quickly(number + i, 200);
        in_child(work_of_child);
    }
}

/* Whichever thread forks is the only one of the child. */
static void all_threads_fork_at_the_same_time(void)
{
    in_threads(6, 0, fork_many);
    work(1, 1000);
}

/* ---- blocks of the parent ------------------------------------------------ */

static unsigned char *of_parent[2000];

static void allocate_share(unsigned number)
{
    for (size_t i = number; i < COUNT(of_parent); i += THREADS) {
        of_parent[i] = malloc(i * 7 + 1);
        CHECK(of_parent[i] != NULL);
        fill(of_parent[i], i * 7 + 1, i);
    }
}

static void use_up_blocks_of_parent(void)
{
    for (size_t i = 0; i < COUNT(of_parent); i++) {
        CHECK(is_filled(of_parent[i], i * 7 + 1, i));
        if (i % 5 == 0)
            of_parent[i] = realloc(of_parent[i], i * 20 + 1);
        CHECK(of_parent[i] != NULL);
        memset(of_parent[i], 0xee, i * 7 + 1);
        free(of_parent[i]);
    }
    work(1, 500);
}

/* The child frees what all threads of the parent have allocated; the parent's own
 * blocks know nothing of it. */
static void children_free_blocks_of_their_parent(void)
{
    in_threads(THREADS, 0, allocate_share);
    start_threads();
    for (unsigned i = 0; i < 8; i++)
        in_child(use_up_blocks_of_parent);
    stop_threads();
    for (size_t i = 0; i < COUNT(of_parent); i++) {
        CHECK(is_filled(of_parent[i], i * 7 + 1, i));
        free(of_parent[i]);
    }
}

/* ---- handlers around fork ------------------------------------------------ */

static void *prepared;
static unsigned after_fork;

static void prepare(void)
{
    prepared = malloc(300);
    CHECK(prepared != NULL);
    work_quickly(1, 50);
}

static void resume(void)
{
    free(prepared);
    work_quickly(2, 50);
    after_fork++;
}

static void check_resumed(void)
{
    CHECK(after_fork > 0);
    work_of_child();
}

static void handlers_around_fork_allocate(void)
{
    CHECK_EQUAL(pthread_atfork(prepare, resume, resume), 0);
    start_threads();
    for (unsigned i = 0; i < 100; i++)
        in_child(check_resumed);
    stop_threads();
    CHECK_EQUAL(after_fork, 100);
}

/* ---- signals ------------------------------------------------------------- */

static atomic_uint signals_seen;

static void note_signal(int number)
{
    (void)number;
    atomic_fetch_add(&signals_seen, 1);
}

static void set_timer(int microseconds)
{
    const struct itimerval value = { { 0, microseconds }, { 0, microseconds } };
    struct sigaction action = { .sa_handler = note_signal, .sa_flags = SA_RESTART };

    CHECK_EQUAL(sigaction(SIGALRM, &action, NULL), 0);
    CHECK_EQUAL(setitimer(ITIMER_REAL, &value, NULL), 0);
}

static void children_of_a_program_with_many_signals_allocate(void)
{
    start_threads();
    set_timer(1000);
    for (unsigned i = 0; i < 200; i++)
        in_child(work_of_child);
    set_timer(0);
    stop_threads();
    CHECK(signals_seen > 20);
}

/* ---- other programs ------------------------------------------------------ */

extern char **environ;

static int wait_for(pid_t child)
{
    int status = -1;

    CHECK(child > 0);
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    return status;
}

static void vfork_and_exec_leave_the_heap_sound(void)
{
    char name[] = "true";
    char *const command[] = { name, NULL };

    start_threads();
    for (unsigned i = 0; i < 100; i++) {
        const pid_t child = vfork();
        if (child == 0) {
            execv("/bin/true", command);
            _exit(127);
        }
        CHECK_EQUAL(wait_for(child), 0);
        work_quickly(i, 100);
    }
    stop_threads();
}

static void spawned_programs_run(void)
{
    char name[] = "sh";
    char option[] = "-c";
    char script[] = "read word && test \"$word\" = seven";
    char *const command[] = { name, option, script, NULL };

    start_threads();
    for (unsigned i = 0; i < 30; i++) {
        int ends[2];
        pid_t child;
        posix_spawn_file_actions_t actions;
        CHECK_EQUAL(pipe(ends), 0);
        CHECK_EQUAL(posix_spawn_file_actions_init(&actions), 0);
        CHECK_EQUAL(posix_spawn_file_actions_adddup2(&actions, ends[0], 0), 0);
        CHECK_EQUAL(posix_spawn_file_actions_addclose(&actions, ends[1]), 0);
        CHECK_EQUAL(posix_spawn(&child, "/bin/sh", &actions, NULL, command, environ), 0);
        posix_spawn_file_actions_destroy(&actions);
        CHECK_EQUAL(write(ends[1], "seven\n", 6), 6);
        close(ends[0]);
        close(ends[1]);
        CHECK_EQUAL(wait_for(child), 0);
    }
    stop_threads();
}

static void system_and_popen_run_programs(void)
{
    start_threads();
    for (unsigned i = 0; i < 20; i++) {
        char line[20];
        CHECK_EQUAL(system("test $((6 * 7)) = 42"), 0);
        FILE *file = popen("echo $((6 * 7))", "r");
        CHECK(file != NULL && fgets(line, sizeof(line), file) != NULL);
        CHECK(strcmp(line, "42\n") == 0);
        CHECK_EQUAL(pclose(file), 0);
    }
    stop_threads();
}

const struct conformance_case fork_cases[] = {
    CASE(children_of_a_threaded_program_allocate),
    CASE(children_of_a_threaded_program_start_threads),
    CASE(children_of_children_allocate),
    CASE(all_threads_fork_at_the_same_time),
    CASE(children_free_blocks_of_their_parent),
    CASE(handlers_around_fork_allocate),
    CASE(children_of_a_program_with_many_signals_allocate),
    CASE(vfork_and_exec_leave_the_heap_sound),
    CASE(spawned_programs_run),
    CASE(system_and_popen_run_programs),
    CASES_END,
};
