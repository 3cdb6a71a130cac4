/* help.c - see help.h. */
#include "help.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

void bench_fail(const char *what, const char *name)
{
    (void)fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, name);
    exit(1);
}

unsigned bench_number(const char *text, unsigned limit)
{
    char *end = NULL;
    const unsigned long number = strtoul(text, &end, 10);
    if (*text == '\0' || *end != '\0' || number == 0 || number > limit)
        bench_fail("not a sensible number", text);
    return (unsigned)number;
}

FILE *bench_file(const char *directory, const char *name, const char *first_line)
{
    if (directory == NULL)
        return NULL;
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "w");
    if (file == NULL)
        bench_fail("cannot write", path);
    (void)fprintf(file, "%s\n", first_line);
    return file;
}

static int bench_compare(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, bench_compare);
    return (values[count / 2] + values[(count - 1) / 2]) / 2;
}

void bench_progress(const char *format, ...)
{
    if (!isatty(STDERR_FILENO))
        return;
    va_list arguments;
    va_start(arguments, format);
    (void)fprintf(stderr, "\r\033[K");
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
}
