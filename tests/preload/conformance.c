/*
 * conformance.c - runs the cases, each in a process of its own that has the library
 * preloaded, and what they compare with.
 */
#include "conformance.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CASE_SECONDS_MAX 90 /* the longest takes 4 on an idle machine */
#define OUTPUT_BYTES_MAX 8192
#define LIBRARY_VARIABLE "CONFORMANCE_LIBRARY"
#define STRICT_VARIABLE  "CONFORMANCE_STRICT"
#define TIMES_VARIABLE   "CONFORMANCE_TIMES"

static atomic_ulong compared;

/* ---- comparisons --------------------------------------------------------- */

static void print(const char *text)
{
    if (write(STDERR_FILENO, text, strlen(text)) < 0)
        _exit(1);
}

static _Noreturn void fail(const char *file, int line, const char *text, const char *values)
{
    char message[512];

    snprintf(message, sizeof(message), "%s:%d: %s%s\n", file, line, text, values);
    print(message);
    _exit(1);
}

void conformance_check(bool condition, const char *file, int line, const char *text)
{
    atomic_fetch_add(&compared, 1);
    if (!condition)
        fail(file, line, text, "");
}

void conformance_equal(uint64_t got, uint64_t wanted, const char *file, int line, const char *text)
{
    char values[80];

    atomic_fetch_add(&compared, 1);
    if (got == wanted)
        return;
    snprintf(values, sizeof(values), ": %#llx, not %#llx", (unsigned long long)got,
             (unsigned long long)wanted);
    fail(file, line, text, values);
}

void conformance_at_most(uint64_t got, uint64_t limit, const char *file, int line, const char *text)
{
    char values[80];

    atomic_fetch_add(&compared, 1);
    if (got <= limit)
        return;
    snprintf(values, sizeof(values), ": %llu, more than %llu", (unsigned long long)got,
             (unsigned long long)limit);
    fail(file, line, text, values);
}

/* ---- what cases share ---------------------------------------------------- */

const char *conformance_library(void)
{
    const char *path = getenv(LIBRARY_VARIABLE);

    return path != NULL ? path : "system";
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

bool conformance_is_loam(void)
{
    return getenv(STRICT_VARIABLE) != NULL ||
           strncmp(base_name(conformance_library()), "libloam", strlen("libloam")) == 0;
}

bool conformance_provides(const char *name)
{
    char real[PATH_MAX];
    char given[PATH_MAX];
    Dl_info info;
    void *function = dlsym(RTLD_DEFAULT, name);

    if (function == NULL || dladdr(function, &info) == 0)
        return false;
    if (strcmp(conformance_library(), "system") == 0)
        return strncmp(base_name(info.dli_fname), "libc.", 5) == 0 ||
               strncmp(base_name(info.dli_fname), "libstdc++.", 10) == 0;
    return realpath(info.dli_fname, real) != NULL &&
           realpath(conformance_library(), given) != NULL && strcmp(real, given) == 0;
}

size_t opaque(size_t value)
{
    __asm__ volatile("" : "+r"(value)); /* a value that the optimiser cannot follow */
    return value;
}

uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *seed >> 33;
}

static uint64_t word_at(uint64_t seed, size_t index)
{
    return (seed + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ (index * UINT64_C(0xff51afd7ed558ccd));
}

void fill(void *block, size_t size, uint64_t seed)
{
    unsigned char *byte = block;
    size_t words = size / sizeof(uint64_t);

    for (size_t i = 0; i <= words; i++) {
        const uint64_t word = word_at(seed, i);
        const size_t rest = size - i * sizeof(word);
        memcpy(byte + i * sizeof(word), &word, rest < sizeof(word) ? rest : sizeof(word));
    }
}

bool is_filled(const void *block, size_t size, uint64_t seed)
{
    const unsigned char *byte = block;
    size_t words = size / sizeof(uint64_t);

    for (size_t i = 0; i <= words; i++) {
        const uint64_t word = word_at(seed, i);
        const size_t rest = size - i * sizeof(word);
        if (memcmp(byte + i * sizeof(word), &word, rest < sizeof(word) ? rest : sizeof(word)) != 0)
            return false;
    }
    return true;
}

bool is_zero(const void *block, size_t size)
{
    const unsigned char *byte = block;

    return size == 0 || (byte[0] == 0 && memcmp(byte, byte + 1, size - 1) == 0);
}

bool is_aligned(const void *block, size_t alignment)
{
    return ((uintptr_t)block & (alignment - 1)) == 0;
}

/* The nth number of /proc/self/statm, in bytes. */
static uint64_t memory_figure(unsigned index)
{
    char text[128];
    char *rest = text;
    uint64_t pages = 0;
    const int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    const ssize_t length = file >= 0 ? read(file, text, sizeof(text) - 1) : -1;

    CHECK(length > 0);
    text[length] = '\0';
    close(file);
    for (unsigned i = 0; i <= index; i++)
        pages = strtoull(rest, &rest, 10);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t mapped_bytes(void)
{
    return memory_figure(0);
}

uint64_t resident_bytes(void)
{
    return memory_figure(1);
}

/* ---- threads and children ------------------------------------------------ */

struct numbered {
    void (*body)(unsigned number);
    unsigned number;
};

static void *run_numbered(void *argument)
{
    const struct numbered *numbered = argument;

    numbered->body(numbered->number);
    return NULL;
}

void in_threads(unsigned count, size_t stack_bytes, void (*body)(unsigned number))
{
    static struct numbered numbered[1024];
    static pthread_t threads[1024];
    pthread_attr_t attributes;

    CHECK(count <= 1024);
    CHECK_EQUAL(pthread_attr_init(&attributes), 0);
    if (stack_bytes != 0)
        CHECK_EQUAL(pthread_attr_setstacksize(&attributes, stack_bytes), 0);
    for (unsigned i = 0; i < count; i++) {
        numbered[i] = (struct numbered){ body, i };
        CHECK_EQUAL(pthread_create(&threads[i], &attributes, run_numbered, &numbered[i]), 0);
    }
    for (unsigned i = 0; i < count; i++)
        CHECK_EQUAL(pthread_join(threads[i], NULL), 0);
    pthread_attr_destroy(&attributes);
}

/* waitpid() that signals do not end. */
static int wait_for(pid_t child)
{
    int status = -1;

    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

void in_child(void (*body)(void))
{
    const pid_t child = fork();

    CHECK(child >= 0);
    if (child == 0) {
        body();
        _exit(0);
    }
    CHECK_EQUAL(wait_for(child), 0);
}

/* Read until the other side is closed. */
static void read_all(int from, char *output, size_t output_size)
{
    size_t length = 0;
    ssize_t got = 1;

    while (got != 0 && length + 1 < output_size) {
        got = read(from, output + length, output_size - length - 1);
        if (got < 0 && errno != EINTR)
            break;
        length += got > 0 ? (size_t)got : 0;
    }
    output[length] = '\0';
}

/* Fork with the child's output going into a pipe. @return pid, 0 in the child */
static pid_t fork_with_pipe(int *from)
{
    int ends[2];

    CHECK_EQUAL(pipe(ends), 0);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
    }
    close(ends[1]);
    *from = ends[0];
    return child;
}

int conformance_watch(void (*body)(void), char *output, size_t output_size)
{
    int from;
    const pid_t child = fork_with_pipe(&from);

    if (child == 0) {
        body();
        _exit(0);
    }
    read_all(from, output, output_size);
    close(from);
    return wait_for(child);
}

int conformance_start(const char *part, char *output, size_t output_size)
{
    int from;
    const pid_t child = fork_with_pipe(&from);

    if (child == 0) {
        execl("/proc/self/exe", "conformance", "--case", part, (char *)NULL);
        _exit(127);
    }
    read_all(from, output, output_size);
    close(from);
    return wait_for(child);
}

/* ---- the driver ---------------------------------------------------------- */

static double seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Become one case under the library. */
static _Noreturn void become(const char *name, const char *library, int output)
{
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    setpgid(0, 0);
    setenv(LIBRARY_VARIABLE, library, 1);
    if (strcmp(library, "system") != 0)
        setenv("LD_PRELOAD", library, 1);
    execl("/proc/self/exe", "conformance", "--case", name, (char *)NULL);
    _exit(127);
}

/* Keep what comes out of a case until it has ended. @return wait status; -1 if it was
 * killed because it took too long */
static int follow(pid_t child, int from, char *output)
{
    const double deadline = seconds_now() + CASE_SECONDS_MAX;
    size_t length = 0;
    int status = -1;
    bool ended = false;

    while (!ended && seconds_now() < deadline) {
        struct pollfd ready = { from, POLLIN, 0 };
        ended = waitpid(child, &status, WNOHANG) == child;
        while (poll(&ready, 1, ended ? 0 : 10) > 0 && (ready.revents & POLLIN) != 0) {
            char lost[512];
            const bool room = length + 1 < OUTPUT_BYTES_MAX;
            const ssize_t got = room ? read(from, output + length, OUTPUT_BYTES_MAX - length - 1)
                                     : read(from, lost, sizeof(lost));
            if (got <= 0)
                break;
            length += room ? (size_t)got : 0;
        }
        if (!ended && (ready.revents & POLLHUP) != 0)
            usleep(1000);
    }
    output[length] = '\0';
    kill(-child, SIGKILL); /* with whatever it started */
    if (!ended)
        waitpid(child, &status, 0);
    return ended ? status : -1;
}

static void print_commented(const char *text)
{
    while (*text != '\0') {
        const size_t length = strcspn(text, "\n");
        printf("# %.*s\n", (int)length, text);
        text += length + (text[length] == '\n' ? 1 : 0);
    }
}

/* @return did it pass? */
static bool run_case(const struct conformance_case *one, const char *library, unsigned number)
{
    static char output[OUTPUT_BYTES_MAX];
    int ends[2];
    const double start = seconds_now();

    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0)
        become(one->name, library, ends[1]);
    close(ends[1]);
    const int status = follow(child, ends[0], output);
    close(ends[0]);

    const bool passed = status == 0;
    printf("%s %u - %s", passed ? "ok" : "not ok", number, one->name);
    if (status == -1)
        printf(": still running after %d s", CASE_SECONDS_MAX);
    else if (status != 0 && WIFSIGNALED(status))
        printf(": %s", strsignal(WTERMSIG(status)));
    printf("\n");
    if (!passed)
        print_commented(output);
    if (getenv(TIMES_VARIABLE) != NULL)
        printf("# %.2f s\n", seconds_now() - start);
    fflush(stdout);
    return passed;
}

/* In the process of a case. */
static int be_case(const struct conformance_case *const *groups, const char *name)
{
    for (; *groups != NULL; groups++) {
        for (const struct conformance_case *one = *groups; one->need != CASE_END; one++) {
            if (strcmp(one->name, name) != 0)
                continue;
            one->run();
            if (one->need != CASE_PART && atomic_load(&compared) == 0) {
                print("this case has compared nothing\n");
                return 1;
            }
            return 0;
        }
    }
    print("no such case\n");
    return 1;
}

int conformance_main(int argc, char **argv, const struct conformance_case *const *groups)
{
    static char library[PATH_MAX] = "system";
    unsigned passed = 0;
    unsigned total = 0;

    if (argc == 3 && strcmp(argv[1], "--case") == 0)
        return be_case(groups, argv[2]);
    const char *pattern = argc > 2 ? argv[2] : "*";
    if (argc < 2 || argc > 3 ||
        (strcmp(argv[1], "system") != 0 && realpath(argv[1], library) == NULL)) {
        fprintf(stderr, "usage: %s LIBRARY|system [PATTERN]; LIBRARY is a file\n", argv[0]);
        return 2;
    }
    setenv(LIBRARY_VARIABLE, argv[1], 1);
    const bool is_loam = conformance_is_loam();
    for (; *groups != NULL; groups++) {
        for (const struct conformance_case *one = *groups; one->need != CASE_END; one++) {
            if (one->need == CASE_PART || (one->need == CASE_LOAM && !is_loam) ||
                fnmatch(pattern, one->name, 0) != 0)
                continue;
            total++;
            passed += run_case(one, library, total) ? 1 : 0;
        }
    }
    printf("1..%u\n", total);
    if (total == 0)
        fprintf(stderr, "no case matches %s\n", pattern);
    else
        printf("# %u of %u passed with %s\n", passed, total, argv[1]);
    return total > 0 && passed == total ? 0 : 1;
}
