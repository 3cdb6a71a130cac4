/* help.c - see help.h. */
#include "help.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BENCH_LARGE_PAGE ((size_t)2 << 20)

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

const char *bench_next_name(char **list)
{
    char *name = *list;
    char *comma = strchr(name, ',');
    *list = comma == NULL ? NULL : comma + 1;
    if (comma != NULL)
        *comma = '\0';
    return name;
}

bool bench_is_listed(const char *name, const char *list)
{
    const size_t length = strlen(name);
    if (list == NULL)
        return true;
    for (; *list != '\0'; list += *list == ',') {
        if (strncmp(list, name, length) == 0 && (list[length] == ',' || list[length] == '\0'))
            return true;
        list += strcspn(list, ",");
    }
    return false;
}

/* The part that an argument names behind a prefix, or NULL. */
static struct bench_part *bench_part(struct bench_part *parts, const char *prefix,
                                     const char *argument)
{
    const size_t length = strlen(prefix);
    if (strncmp(argument, prefix, length) != 0)
        return NULL;
    for (; parts->name != NULL; parts++)
        if (strcmp(parts->name, argument + length) == 0)
            return parts;
    return NULL;
}

bool bench_leave_out(struct bench_part *parts, const char *argument)
{
    struct bench_part *part = bench_part(parts, "--no-", argument);
    if (part != NULL)
        part->is_wanted = false;
    return part != NULL;
}

bool bench_want_only(struct bench_part *parts, const char *argument)
{
    const struct bench_part *only = bench_part(parts, "--", argument);
    for (; only != NULL && parts->name != NULL; parts++)
        parts->is_wanted = parts == only;
    return only != NULL;
}

void bench_run_parts(const struct bench_part *parts, const struct bench_plan *plan)
{
    for (; parts->name != NULL; parts++)
        if (parts->is_wanted)
            parts->run(plan);
}

void *bench_large_pages(size_t size_bytes)
{
    unsigned char *memory = mmap(NULL, size_bytes + BENCH_LARGE_PAGE, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        bench_fail("out of memory", "the benchmark itself");
    memory += -(uintptr_t)memory & (BENCH_LARGE_PAGE - 1);
    (void)madvise(memory, size_bytes, MADV_HUGEPAGE);
    return memory;
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

void bench_close(FILE *file)
{
    if (file != NULL)
        (void)fclose(file);
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
