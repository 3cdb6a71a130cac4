/*
 * help.h - what every benchmark needs: numbers, files, words. Also of bench/frames.
 */
#ifndef BENCH_ARENA_HELP_H
#define BENCH_ARENA_HELP_H

#include <stddef.h>
#include <stdio.h>

/** Say what is wrong with what, and exit. */
__attribute__((noreturn)) void bench_fail(const char *what, const char *name);
/** A number from the command line, 1..limit; else exits. */
unsigned bench_number(const char *text, unsigned limit);
/** @param directory NULL: not wanted @return file for raw numbers, with its first line
 * written; NULL: not wanted */
FILE *bench_file(const char *directory, const char *name, const char *first_line);
/** Median; sorts the values. @param count at least 1 */
double bench_median(double *values, size_t count);
/** Tell how far we are. Overwrites what it said before; "" removes it. */
void bench_progress(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
