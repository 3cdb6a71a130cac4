/*
 * life_cases.c - what else happens to programs: libraries that come and go, closed
 * descriptors, an environment of their own, kernels without restartable sequences.
 */
#include "cases.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <locale.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- libraries that come and go ------------------------------------------ */

static void *open_plugin(void)
{
    char path[PATH_MAX];
    const ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 20);

    CHECK(length > 0);
    path[length] = '\0';
    strcpy(strrchr(path, '/'), "/plugin.so");
    void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (plugin == NULL)
        fprintf(stderr, "%s\n", dlerror());
    CHECK(plugin != NULL);
    return plugin;
}

/* From a library that has gone since: a text of number bytes. */
static char *text_of_plugin(unsigned number)
{
    void *plugin = open_plugin();
    char *(*plugin_text)(unsigned);

    *(void **)&plugin_text = dlsym(plugin, "plugin_text");
    CHECK(plugin_text != NULL);
    char *text = plugin_text(number);
    CHECK(text != NULL && strlen(text) == number);
    CHECK_EQUAL(dlclose(plugin), 0);
    return text;
}

static void blocks_outlive_the_library_that_made_them(void)
{
    char *texts[200];

    for (unsigned i = 0; i < COUNT(texts); i++)
        texts[i] = text_of_plugin(i);
    for (unsigned i = 0; i < COUNT(texts); i++) {
        texts[i] = realloc(texts[i], 5000);
        CHECK(texts[i] != NULL && strlen(texts[i]) == i);
        free(texts[i]);
    }
}

static void libraries_that_come_and_go_leave_no_memory_behind(void)
{
    for (unsigned i = 0; i < 20; i++)
        free(text_of_plugin(i));
    const uint64_t before = resident_bytes();
    for (unsigned i = 0; i < 500; i++)
        free(text_of_plugin(i));
    CHECK_AT_MOST(resident_bytes(), before + MIB(8));
}

static void load_and_work(unsigned number)
{
    for (unsigned i = 0; i < 30; i++) {
        char *text = text_of_plugin(number * 30 + i);
        work_quickly(i, 100);
        free(text);
    }
}

static void libraries_come_and_go_in_threads(void)
{
    in_threads(6, 0, load_and_work);
}

/* The preloaded library itself, once more and away: it must stay. */
static void the_library_survives_being_closed(void)
{
    const bool none = strcmp(conformance_library(), "system") == 0;
    void *block = malloc(100);

    CHECK(block != NULL);
    fill(block, 100, 1);
    for (unsigned i = 0; i < 5; i++) {
        void *library = dlopen(none ? "libc.so.6" : conformance_library(), RTLD_NOW);
        CHECK(library != NULL);
        CHECK_EQUAL(dlclose(library), 0);
        work(i, 200);
    }
    CHECK(is_filled(block, 100, 1));
    free(block);
}

/* ---- surroundings -------------------------------------------------------- */

/* A daemon closes all that it has inherited. */
static void programs_that_close_all_descriptors_allocate(void)
{
    in_threads(2, 0, load_and_work);
    for (int file = 0; file < 1000; file++) {
        if (file != STDERR_FILENO)
            close(file);
    }
    work(1, 3000);
    for (size_t size = KIB(1); size < MIB(200); size *= 3)
        free(malloc(size));
    malloc_trim(0);
    in_threads(4, 0, load_and_work);
    CHECK(fcntl(STDIN_FILENO, F_GETFD) == -1);
}

/* The library has opened nothing that the program could meet. */
static void no_descriptor_is_left_open(void)
{
    work(1, 1000);
    const int next = open("/dev/null", O_RDONLY);
    CHECK_EQUAL(next, 3);
    close(next);
}

static void print_word(void)
{
    work(1, 1000);
    fputs("word", stdout);
    fflush(stdout);
}

/* In another environment nothing else comes out, and nothing is printed. */
static void check_part(const char *variable, const char *value)
{
    char output[1000];

    setenv(variable, value, 1);
    const int status = conformance_start("print_word", output, sizeof(output));
    if (status != 0 || strcmp(output, "word") != 0)
        fprintf(stderr, "%s=%s: %s\n", variable, value, output);
    CHECK_EQUAL(status, 0);
    CHECK(strcmp(output, "word") == 0);
    unsetenv(variable);
}

static void programs_print_nothing_else(void)
{
    check_part("LC_ALL", "C");
    check_part("MALLOC_ARENA_MAX", "1");
    check_part("MALLOC_PERTURB_", "165");
    check_part("LOAM_NO_SUCH_OPTION", "1");
}

/* As on kernels that have none, or under a program that has turned them off. */
static void programs_run_without_restartable_sequences(void)
{
    check_part("GLIBC_TUNABLES", "glibc.pthread.rseq=0");
}

static void print_in_threads_body(unsigned number)
{
    work_quickly(number, 20000);
}

static void print_after_threads(void)
{
    in_threads(4, 0, print_in_threads_body);
    in_threads(4, 0, print_in_threads_body);
    fputs("word", stdout);
    fflush(stdout);
}

static void threads_run_without_restartable_sequences(void)
{
    char output[1000];

    setenv("GLIBC_TUNABLES", "glibc.pthread.rseq=0", 1);
    CHECK_EQUAL(conformance_start("print_after_threads", output, sizeof(output)), 0);
    CHECK(strcmp(output, "word") == 0);
}

static void programs_without_an_environment_run(void)
{
    char output[1000];
    char library[PATH_MAX];

    snprintf(library, sizeof(library), "%s", conformance_library());
    clearenv();
    if (strcmp(library, "system") != 0)
        setenv("LD_PRELOAD", library, 1);
    CHECK_EQUAL(conformance_start("print_word", output, sizeof(output)), 0);
    CHECK(strcmp(output, "word") == 0);
}

/* ---- the C library ------------------------------------------------------- */

static int compare_numbers(const void *left, const void *right)
{
    const int a = *(const int *)left;
    const int b = *(const int *)right;

    return (a > b) - (a < b);
}

/* Streams, locales, folders, and sorting allocate inside the C library. */
static void the_c_library_works(void)
{
    static int numbers[200000];
    uint64_t seed = 1;
    struct dirent **entries = NULL;

    for (size_t i = 0; i < COUNT(numbers); i++)
        numbers[i] = (int)next_random(&seed);
    for (unsigned i = 0; i < 200; i++) {
        FILE *file = tmpfile();
        CHECK(file != NULL);
        CHECK_EQUAL(setvbuf(file, NULL, _IOFBF, 1 + 997 * (size_t)i), 0);
        for (unsigned j = 0; j < 100; j++)
            fprintf(file, "%u %s\n", j, "text");
        rewind(file);
        unsigned last = 0;
        while (fscanf(file, "%u %*s", &last) == 1) {
        }
        CHECK_EQUAL(last, 99);
        CHECK_EQUAL(fclose(file), 0);
    }
    qsort(numbers, COUNT(numbers), sizeof(numbers[0]), compare_numbers); /* sorts in a block */
    for (size_t i = 1; i < COUNT(numbers); i++)
        CHECK(numbers[i - 1] <= numbers[i]);
    CHECK(setlocale(LC_ALL, "C.UTF-8") != NULL);
    const int count = scandir("/proc/self", &entries, NULL, alphasort);
    CHECK(count > 10);
    for (int i = 0; i < count; i++)
        free(entries[i]);
    free(entries);
    for (unsigned i = 0; i < 2000; i++) {
        char name[30];
        snprintf(name, sizeof(name), "CONFORMANCE_%u", i);
        CHECK_EQUAL(setenv(name, name, 1), 0);
    }
    CHECK(strcmp(getenv("CONFORMANCE_1999"), "CONFORMANCE_1999") == 0);
}

const struct conformance_case life_cases[] = {
    CASE(blocks_outlive_the_library_that_made_them),
    LOAM_CASE(libraries_that_come_and_go_leave_no_memory_behind),
    CASE(libraries_come_and_go_in_threads),
    CASE(the_library_survives_being_closed),
    CASE(programs_that_close_all_descriptors_allocate),
    LOAM_CASE(no_descriptor_is_left_open),
    CASE(programs_print_nothing_else),
    CASE(programs_run_without_restartable_sequences),
    CASE(threads_run_without_restartable_sequences),
    CASE(programs_without_an_environment_run),
    CASE(the_c_library_works),
    PART(print_word),
    PART(print_after_threads),
    CASES_END,
};
