/*
 * misuse_cases.c - what Loam does about programs that are wrong: it aborts, with a
 * message on standard error that names the rule. Loam alone: the texts leave it open.
 *
 *     what                                        rule           noticed by default
 *     second free, right after the first          already free   always
 *     second free of a large block, later         already free   until its pages are used
 *     foreign pointer: stack, global, code, map   not a block    always
 *     pointer to no memory: null page, unmapped   not a block    always, without a look
 *     interior or unaligned pointer               not a block    always
 *     realloc, usable size of either              the same       always
 *     sized free of another size class            wrong size     always
 */
#include "cases.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define ALREADY_FREE "already free"
#define NO_BLOCK     "not a block"
#define WRONG_SIZE   "wrong size"

/* The compiler may not know what is freed. */
static void *hidden(void *block)
{
    return (void *)opaque((size_t)block);
}

static void check_dies(void (*misuse)(void), const char *rule)
{
    char output[4096];
    const int status = conformance_watch(misuse, output, sizeof(output));

    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT || strstr(output, rule) == NULL)
        fprintf(stderr, "not \"%s\" but status %#x: %s\n", rule, (unsigned)status, output);
    CHECK(WIFSIGNALED(status));
    CHECK_EQUAL(WTERMSIG(status), SIGABRT);
    CHECK(strstr(output, "loam") != NULL);
    CHECK(strstr(output, rule) != NULL);
}

/* ---- twice --------------------------------------------------------------- */

static void free_twice(size_t size)
{
    void *block = malloc(size);

    free(hidden(block));
    free(hidden(block));
}

static void free_small_twice(void)
{
    free_twice(40);
}

static void free_page_twice(void)
{
    free_twice(KIB(4));
}

static void free_large_twice(void)
{
    free_twice(KIB(300));
}

static void free_huge_twice(void)
{
    free_twice(MIB(64));
}

static void a_second_free_aborts(void)
{
    check_dies(free_small_twice, ALREADY_FREE);
    check_dies(free_page_twice, ALREADY_FREE);
    check_dies(free_large_twice, ALREADY_FREE);
    check_dies(free_huge_twice, ALREADY_FREE);
}

static void free_large_twice_later(void)
{
    void *block = malloc(MIB(3));

    free(hidden(block));
    for (unsigned i = 0; i < 20; i++)
        free(malloc(100 + i));
    free(hidden(block));
}

static void a_second_free_of_a_large_block_aborts_later_too(void)
{
    check_dies(free_large_twice_later, ALREADY_FREE);
}

static void realloc_freed(void)
{
    void *block = malloc(100);

    free(hidden(block));
    free(realloc(hidden(block), 300));
}

static void realloc_large_freed(void)
{
    void *block = malloc(MIB(1));

    free(hidden(block));
    free(realloc(hidden(block), MIB(2)));
}

static void realloc_of_a_freed_block_aborts(void)
{
    check_dies(realloc_freed, ALREADY_FREE);
    check_dies(realloc_large_freed, ALREADY_FREE);
}

/* ---- no block ------------------------------------------------------------ */

static void free_of_stack(void)
{
    char local[64] = { 0 };

    free(hidden(&local[16 - ((uintptr_t)local & 15)]));
}

static void free_of_global(void)
{
    static char global[64] __attribute__((aligned(16)));

    free(hidden(global));
}

static void free_of_code(void)
{
    free((void *)opaque((size_t)&free_of_code & ~(size_t)15));
}

static void free_of_mapping(void)
{
    free(hidden(mmap(NULL, MIB(4), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
}

/* Nothing is there to be looked at: it must not be. */
static void free_of_null_page(void)
{
    free((void *)opaque(16));
}

static void free_of_unmapped(void)
{
    char *gone = mmap(NULL, MIB(4), PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    munmap(gone, MIB(4));
    free(hidden(gone + 4096));
}

static void free_of_kernel_address(void)
{
    free((void *)opaque((size_t)0xffff800000001000));
}

static void free_of_no_address(void)
{
    free((void *)opaque((size_t)0x8000000000000010));
}

static void free_of_a_foreign_pointer_aborts(void)
{
    check_dies(free_of_stack, NO_BLOCK);
    check_dies(free_of_global, NO_BLOCK);
    check_dies(free_of_code, NO_BLOCK);
    check_dies(free_of_mapping, NO_BLOCK);
}

static void free_of_an_address_without_memory_aborts(void)
{
    check_dies(free_of_null_page, NO_BLOCK);
    check_dies(free_of_unmapped, NO_BLOCK);
    check_dies(free_of_kernel_address, NO_BLOCK);
    check_dies(free_of_no_address, NO_BLOCK);
}

static void free_8_inside_small(void)
{
    char *block = malloc(96);

    free(hidden(block + 8));
}

static void free_16_inside_small(void)
{
    char *block = malloc(96);

    free(hidden(block + 16));
}

static void free_1_inside_small(void)
{
    char *block = malloc(96);

    free(hidden(block + 1));
}

static void free_a_page_inside_large(void)
{
    char *block = malloc(MIB(1));

    free(hidden(block + 4096));
}

static void free_16_inside_huge(void)
{
    char *block = malloc(MIB(70));

    free(hidden(block + 16));
}

static void free_of_an_interior_pointer_aborts(void)
{
    check_dies(free_1_inside_small, NO_BLOCK);
    check_dies(free_8_inside_small, NO_BLOCK);
    check_dies(free_16_inside_small, NO_BLOCK);
    check_dies(free_a_page_inside_large, NO_BLOCK);
    check_dies(free_16_inside_huge, NO_BLOCK);
}

static void realloc_of_global(void)
{
    static char global[64] __attribute__((aligned(16)));

    free(realloc(hidden(global), 100));
}

static void realloc_inside(void)
{
    char *block = malloc(200);

    free(realloc(hidden(block + 16), 300));
}

static void usable_size_of_global(void)
{
    static char global[64] __attribute__((aligned(16)));

    CHECK_EQUAL(malloc_usable_size(hidden(global)), 64);
}

static void other_calls_with_no_block_abort(void)
{
    check_dies(realloc_of_global, NO_BLOCK);
    check_dies(realloc_inside, NO_BLOCK);
    check_dies(usable_size_of_global, NO_BLOCK);
}

/* ---- wrong size ---------------------------------------------------------- */

static void free_too_small(void)
{
    sized_free(hidden(malloc(1000)), 100);
}

static void free_too_large(void)
{
    sized_free(hidden(malloc(100)), 1000);
}

static void free_large_too_small(void)
{
    sized_free(hidden(malloc(MIB(1))), 100);
}

static void free_small_too_large(void)
{
    sized_free(hidden(malloc(100)), MIB(1));
}

static void free_aligned_too_large(void)
{
    sized_aligned_free(hidden(aligned_alloc(64, 100)), 64, KIB(20));
}

static void sized_frees_of_another_size_abort(void)
{
    check_dies(free_too_small, WRONG_SIZE);
    check_dies(free_too_large, WRONG_SIZE);
    check_dies(free_large_too_small, WRONG_SIZE);
    check_dies(free_small_too_large, WRONG_SIZE);
    check_dies(free_aligned_too_large, WRONG_SIZE);
}

/* ---- the message --------------------------------------------------------- */

static void free_twice_without_stderr(void)
{
    close(STDERR_FILENO);
    free_twice(40);
}

/* Nobody can read it, and it does not matter. */
static void misuse_aborts_without_standard_error(void)
{
    char output[1000];
    const int status = conformance_watch(free_twice_without_stderr, output, sizeof(output));

    CHECK(WIFSIGNALED(status));
    CHECK_EQUAL(WTERMSIG(status), SIGABRT);
}

static void allocate_on_abort(int number)
{
    (void)number;
    free(malloc(100));
    _exit(5);
}

static void free_twice_and_allocate(void)
{
    signal(SIGABRT, allocate_on_abort);
    free_twice(MIB(1));
}

/* A crash reporter allocates: no lock may be held. */
static void handlers_of_the_abort_allocate(void)
{
    char output[1000];
    const int status = conformance_watch(free_twice_and_allocate, output, sizeof(output));

    CHECK(WIFEXITED(status));
    CHECK_EQUAL(WEXITSTATUS(status), 5);
}

const struct conformance_case misuse_cases[] = {
    LOAM_CASE(a_second_free_aborts),
    LOAM_CASE(a_second_free_of_a_large_block_aborts_later_too),
    LOAM_CASE(realloc_of_a_freed_block_aborts),
    LOAM_CASE(free_of_a_foreign_pointer_aborts),
    LOAM_CASE(free_of_an_address_without_memory_aborts),
    LOAM_CASE(free_of_an_interior_pointer_aborts),
    LOAM_CASE(other_calls_with_no_block_abort),
    LOAM_CASE(sized_frees_of_another_size_abort),
    LOAM_CASE(misuse_aborts_without_standard_error),
    LOAM_CASE(handlers_of_the_abort_allocate),
    CASES_END,
};
