/*
 * run.c - bench-malloc-run: run a program with a library preloaded, tell what it took.
 *
 *     bench-malloc-run [--preload FILE] [--memory MIB] [--output FILE] COMMAND [ARGUMENT...]
 *
 * Prints seconds of the clock, of user and of system time of the command and all that it
 * waited for, the largest peak of memory among them in KiB, and the exit status (128 and
 * more: the signal). Linked statically and small: a process counts what it was before it
 * became the command. SIGTERM goes on to the command and what it started, SIGINT kills them.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct wish {
    const char *preload;
    const char *output;
    unsigned long memory_mib; /* of address space; 0: all */
    char **command;
};

static volatile pid_t child;

static void pass_on(int number)
{
    if (child > 0)
        (void)kill(-child, number == SIGINT ? SIGKILL : number);
}

__attribute__((noreturn)) static void fail(const char *what, const char *name)
{
    (void)fprintf(stderr, "bench-malloc-run: %s: %s: %s\n", what, name, strerror(errno));
    _exit(127);
}

static struct wish read_arguments(char **argv)
{
    struct wish wish = { NULL, NULL, 0, NULL };
    for (argv += *argv != NULL; argv[0] != NULL && argv[1] != NULL; argv += 2) {
        if (strcmp(argv[0], "--preload") == 0)
            wish.preload = argv[1];
        else if (strcmp(argv[0], "--output") == 0)
            wish.output = argv[1];
        else if (strcmp(argv[0], "--memory") == 0)
            wish.memory_mib = strtoul(argv[1], NULL, 10);
        else
            break;
    }
    wish.command = argv;
    if (argv[0] == NULL) {
        errno = EINVAL;
        fail("usage", "[--preload FILE] [--memory MIB] [--output FILE] COMMAND...");
    }
    return wish;
}

__attribute__((noreturn)) static void become(const struct wish *wish)
{
    (void)setpgid(0, 0);
    if (wish->output != NULL) {
        const int file = open(wish->output, O_WRONLY | O_CREAT | O_TRUNC, 0666);
        if (file < 0 || dup2(file, STDOUT_FILENO) < 0 || close(file) != 0)
            fail("cannot write", wish->output);
    }
    if (wish->memory_mib != 0) {
        const struct rlimit limit = { wish->memory_mib << 20, wish->memory_mib << 20 };
        (void)setrlimit(RLIMIT_AS, &limit);
    }
    if (wish->preload != NULL)
        (void)setenv("LD_PRELOAD", wish->preload, 1);
    (void)execvp(wish->command[0], wish->command);
    fail("cannot run", wish->command[0]);
}

static double seconds(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static double seconds_of(const struct timeval *time)
{
    return (double)time->tv_sec + (double)time->tv_usec * 1e-6;
}

int main(int argc, char **argv)
{
    (void)argc;
    const struct wish wish = read_arguments(argv);
    struct rusage usage;
    int status = 0;
    (void)signal(SIGTERM, pass_on);
    (void)signal(SIGINT, pass_on);
    const double start = seconds();
    child = fork();
    if (child < 0)
        fail("cannot run", wish.command[0]);
    if (child == 0)
        become(&wish);
    (void)setpgid(child, child); /* whoever comes first */
    while (wait4(child, &status, 0, &usage) < 0)
        if (errno != EINTR)
            fail("lost", wish.command[0]);
    (void)printf("%.6f %.6f %.6f %ld %d\n", seconds() - start, seconds_of(&usage.ru_utime),
                 seconds_of(&usage.ru_stime), usage.ru_maxrss,
                 WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
    return 0;
}
