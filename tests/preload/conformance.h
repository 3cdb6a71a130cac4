/*
 * conformance.h - cases about the malloc that a program runs on, whichever it is.
 *
 *     driver (system malloc)  --exec-->  one case  (LD_PRELOAD=LIBRARY)
 *        reads its output, waits for it, kills it when it hangs
 *
 * A case is a function that compares; it passes when it returns and has compared
 * something. The first failed comparison ends its process. A case may fork: it then
 * looks at how the child ended. Nothing here allocates in the process of a case, so
 * that what it sees is its own doing.
 */
#ifndef LOAM_TESTS_PRELOAD_CONFORMANCE_H
#define LOAM_TESTS_PRELOAD_CONFORMANCE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Who has to pass. */
enum conformance_need {
    CASE_END,  /* of a list */
    CASE_ALL,  /* any malloc: the texts of C, POSIX or the Linux manual decide it */
    CASE_LOAM, /* what Loam promises beyond them */
    CASE_PART, /* no case but a program that one starts; see conformance_start() */
};

struct conformance_case {
    const char *name;
    void (*run)(void);
    enum conformance_need need;
};

#define CASE(function)                \
    {                                 \
#function, function, CASE_ALL \
    }
#define LOAM_CASE(function)            \
    {                                  \
#function, function, CASE_LOAM \
    }
#define PART(function)                 \
    {                                  \
#function, function, CASE_PART \
    }
#define CASES_END            \
    {                        \
        NULL, NULL, CASE_END \
    }

/**
 * The whole program: `PROGRAM LIBRARY|system [PATTERN]` runs all cases that match the
 * shell pattern and prints TAP. Libraries whose file name starts with libloam are held
 * to what Loam promises; with CONFORMANCE_STRICT in the environment, all are. With
 * CONFORMANCE_TIMES each result is followed by its seconds.
 *
 * @param groups lists of cases, NULL after the last
 *
 * @return exit status: 0 all passed; 1 not; 2 the arguments are wrong
 */
int conformance_main(int argc, char **argv, const struct conformance_case *const *groups);

/* ---- comparisons --------------------------------------------------------- */

#define CHECK(condition) conformance_check((condition), __FILE__, __LINE__, #condition)
#define CHECK_EQUAL(got, wanted) \
    conformance_equal((uint64_t)(got), (uint64_t)(wanted), __FILE__, __LINE__, #got " == " #wanted)
#define CHECK_AT_MOST(got, limit) \
    conformance_at_most((uint64_t)(got), (uint64_t)(limit), __FILE__, __LINE__, #got " <= " #limit)
/* A call gives NULL and says why: errno is `why`. */
#define CHECK_REFUSED(call, why)                                                                 \
    do {                                                                                         \
        errno = 0;                                                                               \
        conformance_equal((uint64_t)(uintptr_t)(call), 0, __FILE__, __LINE__, #call " == NULL"); \
        conformance_equal((uint64_t)errno, (uint64_t)(why), __FILE__, __LINE__,                  \
                          "errno of " #call " == " #why);                                        \
    } while (0)

void conformance_check(bool condition, const char *file, int line, const char *text);
void conformance_equal(uint64_t got, uint64_t wanted, const char *file, int line, const char *text);
void conformance_at_most(uint64_t got, uint64_t limit, const char *file, int line,
                         const char *text);

/* ---- what cases share ---------------------------------------------------- */

/* Path of the library under test; "system" if there is none. */
const char *conformance_library(void);
bool conformance_is_loam(void);

/* Refuse what one may expect of Loam but is in no text, such as "not more memory than". */
#define CHECK_PROMISED(condition) CHECK((condition) || !conformance_is_loam())

/* Does the function of this name, found as programs find it, come from the library? */
bool conformance_provides(const char *name);

/* Write a pattern to a whole block, and look whether it is still there. */
void fill(void *block, size_t size, uint64_t seed);
bool is_filled(const void *block, size_t size, uint64_t seed);
bool is_zero(const void *block, size_t size);
bool is_aligned(const void *block, size_t alignment);

/* Memory of this process, bytes: in use by it, and its whole address space. */
uint64_t resident_bytes(void);
uint64_t mapped_bytes(void);

/* A random number from a seed, which it advances. */
uint64_t next_random(uint64_t *seed);

/* Nothing is known of what comes out: the compiler may not reason about sizes. */
size_t opaque(size_t value);

/* Start threads that run body(number), number 0..count-1, and wait for all of them.
 * stack_bytes 0: the default. */
void in_threads(unsigned count, size_t stack_bytes, void (*body)(unsigned number));

/* Run in a child of fork(); the case fails if that does not return. */
void in_child(void (*body)(void));

/* Start this program again with one PART, under the same library and with what is in
 * the environment; its output goes to `output`, zero-terminated. @return wait status */
int conformance_start(const char *part, char *output, size_t output_size);

/* Run in a child of fork() whose output is read. @return wait status */
int conformance_watch(void (*body)(void), char *output, size_t output_size);

#ifdef __cplusplus
}
#endif
#endif
