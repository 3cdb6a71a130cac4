/*
 * help.h - what every benchmark needs: arguments, numbers, files, memory, words. Of
 * all in bench/.
 */
#ifndef BENCH_ARENA_HELP_H
#define BENCH_ARENA_HELP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/** Say what is wrong with what, and exit. */
__attribute__((noreturn)) void bench_fail(const char *what, const char *name);
/** A number from the command line, 1..limit; else exits. */
unsigned bench_number(const char *text, unsigned limit);
/** The first name of a list "a,b,c"; steps *list behind it, to NULL at its end. */
const char *bench_next_name(char **list);
/** Is a name in a list "a,b,c"? @param list NULL: of all names */
bool bench_is_listed(const char *name, const char *list);

struct bench_plan; /* each benchmark has its own */

/* A part of a benchmark; a table of them ends with one without a name. */
struct bench_part {
    const char *name;
    void (*run)(const struct bench_plan *plan);
    bool is_wanted;
};

/** Leave a part out. @return false: the argument is not "--no-" and its name */
bool bench_leave_out(struct bench_part *parts, const char *argument);
/** Want one part, and none of the others. @return false: the argument is not "--" and its name */
bool bench_want_only(struct bench_part *parts, const char *argument);
/** Run what is wanted, in order. */
void bench_run_parts(const struct bench_part *parts, const struct bench_plan *plan);

/** Memory on large pages where the system has them, as a kernel's direct map is: 2 MiB
 * aligned, not touched yet; does not fail. */
void *bench_large_pages(size_t size_bytes);
/** @param directory NULL: not wanted @return file for raw numbers, with its first line
 * written; NULL: not wanted */
FILE *bench_file(const char *directory, const char *name, const char *first_line);
/** @param file NULL: there is none */
void bench_close(FILE *file);
/** Median; sorts the values. @param count at least 1 */
double bench_median(double *values, size_t count);
/** Tell how far we are. Overwrites what it said before; "" removes it. */
void bench_progress(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
