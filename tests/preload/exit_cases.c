/*
 * exit_cases.c - allocation where threads and programs begin and end: constructors,
 * destructors of thread data, atexit, exit beside running threads.
 */
#include "cases.h"

#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- before main --------------------------------------------------------- */

static struct {
    void *earliest, *early, *zeros;
} before_main;

static void allocate_earliest(int argc, char **argv, char **environment)
{
    (void)argc, (void)argv, (void)environment;
    before_main.earliest = malloc(1000);
    if (before_main.earliest != NULL)
        fill(before_main.earliest, 1000, 1);
}

/* Runs before every constructor, those of libraries included. */
__attribute__((section(".preinit_array"),
               used)) static void (*const earliest)(int, char **, char **) = allocate_earliest;

__attribute__((constructor(101))) static void allocate_early(void)
{
    void *other = malloc(50000);

    before_main.early = realloc(malloc(10), 3000);
    before_main.zeros = calloc(10, 10);
    if (before_main.early != NULL)
        fill(before_main.early, 3000, 2);
    free(other);
}

static void blocks_from_before_main_are_like_others(void)
{
    CHECK(before_main.earliest != NULL && is_filled(before_main.earliest, 1000, 1));
    CHECK(before_main.early != NULL && is_filled(before_main.early, 3000, 2));
    CHECK(before_main.zeros != NULL && is_zero(before_main.zeros, 100));
    before_main.earliest = realloc(before_main.earliest, 100000);
    CHECK(before_main.earliest != NULL && is_filled(before_main.earliest, 1000, 1));
    free(before_main.earliest);
    free(before_main.early);
    free(before_main.zeros);
    work(1, 1000);
}

/* ---- thread data --------------------------------------------------------- */

static pthread_key_t keys[3];
static unsigned destroyed;

/* Blocks of the thread are freed after it has ended, and new ones are made. Sets the
 * key again until the C library gives up asking. */
static void destroy(void *value)
{
    void *more = malloc(777);

    CHECK(more != NULL && is_filled(value, 2000, 5));
    __atomic_fetch_add(&destroyed, 1, __ATOMIC_RELAXED);
    free(value);
    work_quickly(3, 100);
    fill(more = realloc(more, 2000), 2000, 5);
    if (__atomic_load_n(&destroyed, __ATOMIC_RELAXED) % 3 != 0)
        CHECK_EQUAL(pthread_setspecific(keys[1], more), 0);
    else
        free(more);
}

static void set_keys(unsigned number)
{
    for (size_t i = 0; i < COUNT(keys); i++) {
        void *value = malloc(2000);
        CHECK(value != NULL);
        fill(value, 2000, 5);
        CHECK_EQUAL(pthread_setspecific(keys[i], value), 0);
    }
    work(number, 60);
}

static void destructors_of_thread_data_allocate_and_free(void)
{
    for (size_t i = 0; i < COUNT(keys); i++)
        CHECK_EQUAL(pthread_key_create(&keys[i], destroy), 0);
    const uint64_t before = resident_bytes();
    for (unsigned i = 0; i < 20; i++)
        in_threads(8, 0, set_keys);
    CHECK(destroyed >= 20 * 8 * COUNT(keys));
    CHECK_PROMISED(resident_bytes() <= before + MIB(64));
}

/* The last function that a thread calls at all frees its first block. */
static pthread_key_t late_key;

static void destroy_late(void *value)
{
    static __thread unsigned round;

    if (++round < 4) /* PTHREAD_DESTRUCTOR_ITERATIONS */
        pthread_setspecific(late_key, value);
    else
        free(value);
    free(malloc(64));
}

static void set_late_key(unsigned number)
{
    CHECK_EQUAL(pthread_setspecific(late_key, malloc(64 + number)), 0);
    work_quickly(number, 100);
}

static void the_last_destructors_of_a_thread_allocate(void)
{
    CHECK_EQUAL(pthread_key_create(&late_key, destroy_late), 0);
    in_threads(8, 0, set_late_key);
    const uint64_t before = resident_bytes();
    for (unsigned i = 0; i < 100; i++)
        in_threads(8, 0, set_late_key);
    CHECK_AT_MOST(resident_bytes(), before + MIB(16));
}

/* ---- the end of programs ------------------------------------------------- */

static void say(const char *word)
{
    CHECK(write(STDOUT_FILENO, word, strlen(word)) > 0);
}

static void *kept;

static void at_exit_first(void)
{
    CHECK(is_filled(kept, 5000, 1));
    free(kept);
    work(9, 500);
    say("freed ");
}

static void at_exit_last(void)
{
    kept = realloc(kept, 5000);
    CHECK(kept != NULL && is_filled(kept, 100, 1));
    fill(kept, 5000, 1);
    say("resized ");
}

static void little_at_exit(void)
{
    free(malloc(100));
}

static bool ends_by_exit;

/* Runs after all that atexit() was given. */
__attribute__((destructor(101))) static void allocate_last(void)
{
    if (!ends_by_exit)
        return;
    free(realloc(malloc(10), 10000));
    free(malloc(MIB(10)));
    say("last");
}

static void register_and_exit(void)
{
    ends_by_exit = true;
    kept = malloc(100);
    CHECK(kept != NULL);
    fill(kept, 100, 1);
    CHECK_EQUAL(atexit(at_exit_first), 0);
    for (unsigned i = 0; i < 100; i++) /* more than fit in the C library's own table */
        CHECK_EQUAL(atexit(i == 50 ? at_exit_last : little_at_exit), 0);
    exit(3);
}

static void exit_handlers_and_destructors_allocate(void)
{
    char output[200];
    const int status = conformance_watch(register_and_exit, output, sizeof(output));

    if (strcmp(output, "resized freed last") != 0)
        fputs(output, stderr);
    CHECK(strcmp(output, "resized freed last") == 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 3);
}

static void *allocate_for_ever(void *argument)
{
    for (uint64_t seed = (uint64_t)(uintptr_t)argument;; seed++)
        work_quickly(seed, 1000);
    return NULL;
}

static void exit_beside_threads(void)
{
    for (uintptr_t i = 0; i < 4; i++) {
        pthread_t thread;
        CHECK_EQUAL(pthread_create(&thread, NULL, allocate_for_ever, (void *)i), 0);
    }
    ends_by_exit = true;
    work_quickly(1, 300);
    CHECK_EQUAL(atexit(little_at_exit), 0);
    exit(0);
}

static void programs_end_while_their_threads_allocate(void)
{
    char output[200];

    for (unsigned i = 0; i < 100; i++) {
        CHECK_EQUAL(conformance_watch(exit_beside_threads, output, sizeof(output)), 0);
        CHECK(strcmp(output, "last") == 0);
    }
}

static void *outlive_main(void *main_thread)
{
    CHECK_EQUAL(pthread_join(*(pthread_t *)main_thread, NULL), 0);
    work(1, 1000);
    free(main_thread);
    ends_by_exit = true;
    return NULL;
}

static void main_ends_first(void)
{
    pthread_t thread;
    pthread_t *self = malloc(sizeof(*self));

    CHECK(self != NULL);
    *self = pthread_self();
    CHECK_EQUAL(pthread_create(&thread, NULL, outlive_main, self), 0);
    work(2, 100);
    pthread_exit(NULL);
}

static void threads_outlive_main(void)
{
    char output[200];

    CHECK_EQUAL(conformance_watch(main_ends_first, output, sizeof(output)), 0);
    CHECK(strcmp(output, "last") == 0);
}

static void quick_exit_handler(void)
{
    work(1, 100);
    say("quick");
}

static void end_quickly(void)
{
    CHECK_EQUAL(at_quick_exit(quick_exit_handler), 0);
    free(malloc(100));
    quick_exit(0);
}

static void quick_exit_handlers_allocate(void)
{
    char output[200];

    CHECK_EQUAL(conformance_watch(end_quickly, output, sizeof(output)), 0);
    CHECK(strcmp(output, "quick") == 0);
}

const struct conformance_case exit_cases[] = {
    CASE(blocks_from_before_main_are_like_others),
    CASE(destructors_of_thread_data_allocate_and_free),
    LOAM_CASE(the_last_destructors_of_a_thread_allocate),
    CASE(exit_handlers_and_destructors_allocate),
    CASE(programs_end_while_their_threads_allocate),
    CASE(threads_outlive_main),
    CASE(quick_exit_handlers_allocate),
    CASES_END,
};
