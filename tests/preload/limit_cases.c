/*
 * limit_cases.c - address space that runs out. malloc then gives NULL and ENOMEM, what
 * is held stays whole, and what is freed can be had again.
 */
#include "cases.h"

#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

/* More than any limit here. */
#define EXHAUST_BYTES_MAX GIB(2)

/* A list of blocks through their own first word. */
struct link {
    struct link *next;
};

static void limit(__rlimit_resource_t resource, uint64_t bytes)
{
    const struct rlimit value = { bytes, bytes };

    CHECK_EQUAL(setrlimit(resource, &value), 0);
}

/* This much address space more. */
static void leave(size_t bytes)
{
    limit(RLIMIT_AS, mapped_bytes() + bytes);
}

/* Allocate until there is no more. A malloc that knows no limit is stopped before it
 * takes the whole machine. @return how many */
static size_t exhaust(size_t size, struct link **list)
{
    size_t count = 0;

    errno = 0;
    for (struct link *block = malloc(size); block != NULL; block = malloc(size)) {
        block->next = *list;
        *list = block;
        count++;
        if (count * size > EXHAUST_BYTES_MAX)
            CHECK_AT_MOST(count * size, EXHAUST_BYTES_MAX);
    }
    CHECK_EQUAL(errno, ENOMEM);
    return count;
}

static void free_list(struct link **list)
{
    while (*list != NULL) {
        struct link *block = *list;
        *list = block->next;
        free(block);
    }
}

/* Three times over: what is freed can be had again, or most of it; and the limit is
 * no reason to do without `least` bytes. */
static void check_exhaustion(size_t size, size_t least)
{
    struct link *list = NULL;
    size_t count[3];

    for (unsigned round = 0; round < 3; round++) {
        count[round] = exhaust(size, &list);
        for (unsigned i = 0; i < 100; i++)
            CHECK_REFUSED(malloc(opaque(size)), ENOMEM); /* again and again */
        free_list(&list);
        CHECK(count[round] > 0);
        CHECK_PROMISED(count[round] * size >= least);
        CHECK_PROMISED(count[round] >= count[0] / 2);
    }
    void *block = malloc(size);
    CHECK(block != NULL);
    free(block);
}

/* ---- blocks of each kind ------------------------------------------------- */

static void address_space_runs_out_for_tiny_blocks(void)
{
    leave(MIB(96));
    check_exhaustion(16, MIB(20));
}

static void address_space_runs_out_for_small_blocks(void)
{
    leave(MIB(128));
    check_exhaustion(200, MIB(60));
}

static void address_space_runs_out_for_page_sized_blocks(void)
{
    leave(MIB(256));
    check_exhaustion(KIB(4), MIB(120));
}

static void address_space_runs_out_for_medium_blocks(void)
{
    leave(MIB(256));
    check_exhaustion(KIB(40), MIB(120));
}

static void address_space_runs_out_for_large_blocks(void)
{
    leave(MIB(512));
    check_exhaustion(MIB(1), MIB(240));
}

static void address_space_runs_out_for_huge_blocks(void)
{
    leave(MIB(1024));
    check_exhaustion(MIB(100), MIB(400));
}

/* Not even one page is left, from the first request on. */
static void no_address_space_at_all_gives_null(void)
{
    struct link *list = NULL;

    leave(0);
    for (size_t size = 16; size <= MIB(64); size *= 2)
        exhaust(size, &list);
    free_list(&list);
    limit(RLIMIT_AS, mapped_bytes());
    CHECK_REFUSED(malloc(opaque(MIB(512))), ENOMEM);
}

static void data_limit_gives_null(void)
{
    struct link *list = NULL;

    limit(RLIMIT_DATA, MIB(200));
    CHECK_AT_MOST(exhaust(KIB(10), &list) * KIB(10), MIB(201));
    CHECK_REFUSED(malloc(opaque(MIB(300))), ENOMEM);
    free_list(&list);
    void *block = malloc(MIB(1));
    CHECK(block != NULL);
    free(block);
}

/* ---- the rest of the family ---------------------------------------------- */

static void all_functions_give_null_without_address_space(void)
{
    void *block = (void *)(uintptr_t)0x1234567;

    leave(MIB(64));
    CHECK_REFUSED(malloc(opaque(MIB(128))), ENOMEM);
    CHECK_REFUSED(calloc(opaque(MIB(1)), 128), ENOMEM);
    CHECK_REFUSED(calloc(1, opaque(MIB(128))), ENOMEM);
    CHECK_REFUSED(realloc((void *)opaque(0), opaque(MIB(128))), ENOMEM);
    CHECK_REFUSED(reallocarray((void *)opaque(0), opaque(MIB(1)), 128), ENOMEM);
    CHECK_REFUSED(aligned_alloc(64, opaque(MIB(128))), ENOMEM);
    CHECK_REFUSED(aligned_alloc(MIB(128), opaque(100)), ENOMEM);
    CHECK_REFUSED(memalign(4096, opaque(MIB(128))), ENOMEM);
    CHECK_REFUSED(valloc(opaque(MIB(128))), ENOMEM);
    CHECK_REFUSED(pvalloc(opaque(MIB(128))), ENOMEM);
    CHECK_EQUAL(posix_memalign(&block, 64, opaque(MIB(128))), ENOMEM);
    CHECK_EQUAL(posix_memalign(&block, MIB(128), opaque(100)), ENOMEM);
    CHECK_EQUAL(block, (void *)(uintptr_t)0x1234567);
    work(1, 1000);
}

static void realloc_without_address_space_keeps_the_block(void)
{
    static const size_t sizes[] = { 100, KIB(3), KIB(60), MIB(3), MIB(20) };
    unsigned char *blocks[COUNT(sizes)];

    for (size_t i = 0; i < COUNT(sizes); i++) {
        blocks[i] = malloc(sizes[i]);
        CHECK(blocks[i] != NULL);
        fill(blocks[i], sizes[i], i);
    }
    leave(MIB(32));
    for (size_t i = 0; i < COUNT(sizes); i++) {
        CHECK_REFUSED(realloc((void *)opaque((size_t)blocks[i]), opaque(MIB(256))), ENOMEM);
        CHECK_REFUSED(reallocarray((void *)opaque((size_t)blocks[i]), opaque(MIB(1)), 256), ENOMEM);
        CHECK(is_filled(blocks[i], sizes[i], i));
    }
    for (size_t i = 0; i < COUNT(sizes); i++)
        free(blocks[i]);
}

/* A block grows until it cannot; it has then kept all that was written. */
static void realloc_grows_until_address_space_is_out(void)
{
    leave(MIB(300));
    unsigned char *block = malloc(KIB(1));
    size_t size = KIB(1);
    CHECK(block != NULL);
    fill(block, size, 7);
    for (;;) {
        const size_t larger = size + size / 4;
        errno = 0;
        unsigned char *moved = realloc(block, larger);
        if (moved == NULL)
            break;
        block = moved;
        CHECK(is_filled(block, size, 7));
        fill(block, larger, 7);
        size = larger;
    }
    CHECK_EQUAL(errno, ENOMEM);
    CHECK_PROMISED(size >= MIB(60));
    CHECK(is_filled(block, size, 7));
    free(block);
}

/* Shrinking needs no memory that is not there: it may not lose the block. */
static void realloc_to_less_works_without_address_space(void)
{
    struct link *list = NULL;
    unsigned char *large = malloc(MIB(8));
    unsigned char *small = malloc(2000);

    CHECK(large != NULL && small != NULL);
    fill(large, MIB(8), 1);
    fill(small, 2000, 2);
    leave(MIB(16));
    for (size_t size = MIB(1); size >= 16; size /= 2)
        exhaust(size, &list);
    unsigned char *less = realloc(large, MIB(1));
    CHECK(is_filled(less != NULL ? less : large, MIB(1), 1));
    unsigned char *few = realloc(small, 100);
    CHECK(is_filled(few != NULL ? few : small, 100, 2));
    free(less != NULL ? less : large);
    free(few != NULL ? few : small);
    free_list(&list);
}

/* Every block held at the end is whole. */
static void blocks_held_at_the_end_of_memory_keep_their_contents(void)
{
    static void *blocks[200000];
    size_t count = 0;
    uint64_t seed = 3;

    leave(MIB(64));
    for (; count < COUNT(blocks); count++) {
        const size_t size = (size_t)(next_random(&seed) % 4000) + 8;
        blocks[count] = malloc(size);
        if (blocks[count] == NULL)
            break;
        fill(blocks[count], size, count);
    }
    CHECK(count < COUNT(blocks));
    seed = 3;
    for (size_t i = 0; i < count; i++)
        CHECK(is_filled(blocks[i], (size_t)(next_random(&seed) % 4000) + 8, i));
    for (size_t i = 0; i < count; i++)
        free(blocks[i]);
    work(1, 2000);
}

/* Big blocks come back when small ones have gone, and the other way round. */
static void memory_freed_at_the_end_serves_other_sizes(void)
{
    struct link *list = NULL;

    leave(MIB(256));
    for (unsigned round = 0; round < 3; round++) {
        CHECK_PROMISED(exhaust(64, &list) * 64 >= MIB(64));
        free_list(&list);
        CHECK_PROMISED(exhaust(MIB(1), &list) * MIB(1) >= MIB(64));
        free_list(&list);
        CHECK_PROMISED(exhaust(KIB(20), &list) * KIB(20) >= MIB(64));
        free_list(&list);
    }
}

/* ---- threads ------------------------------------------------------------- */

static pthread_barrier_t barrier;

static void exhaust_together(unsigned number)
{
    struct link *list = NULL;

    for (unsigned round = 0; round < 4; round++) {
        pthread_barrier_wait(&barrier);
        exhaust((size_t)64 << 2 * number, &list);
        pthread_barrier_wait(&barrier);
        free_list(&list);
    }
    pthread_barrier_wait(&barrier);
    void *block = malloc(100);
    CHECK(block != NULL);
    free(block);
}

static void address_space_runs_out_in_threads(void)
{
    CHECK_EQUAL(pthread_barrier_init(&barrier, NULL, 4), 0);
    leave(MIB(600)); /* stacks and heaps of four threads */
    in_threads(4, KIB(64), exhaust_together);
}

/* What a thread's first request needs may not be there. */
static void first_request(unsigned number)
{
    static struct link *list;

    pthread_barrier_wait(&barrier); /* all stacks are there */
    if (number == 0)
        leave(0);
    for (size_t size = MIB(1); number == 0 && size >= 16; size /= 4)
        exhaust(size, &list);
    pthread_barrier_wait(&barrier);
    errno = 0;
    void *block = malloc(24);
    CHECK(block != NULL || errno == ENOMEM);
    free(block);
    pthread_barrier_wait(&barrier);
    if (number == 0)
        free_list(&list);
    pthread_barrier_wait(&barrier);
    block = malloc(24);
    CHECK(block != NULL || errno == ENOMEM);
    free(block);
}

static void a_thread_that_starts_without_address_space_lives(void)
{
    CHECK_EQUAL(pthread_barrier_init(&barrier, NULL, 8), 0);
    in_threads(8, KIB(64), first_request);
}

/* ---- programs ------------------------------------------------------------ */

static void allocate_16_mib(void)
{
    void *blocks[256];

    for (size_t i = 0; i < COUNT(blocks); i++) {
        blocks[i] = malloc(KIB(64));
        CHECK(blocks[i] != NULL);
        fill(blocks[i], KIB(64), i);
    }
    for (size_t i = 0; i < COUNT(blocks); i++) {
        CHECK(is_filled(blocks[i], KIB(64), i));
        free(blocks[i]);
    }
    work(1, 1000);
}

/* As `ulimit -v 65536` before it: nothing may be reserved that is not used. */
static void a_program_starts_in_64_mib_of_address_space(void)
{
    char output[1000];

    limit(RLIMIT_AS, MIB(64));
    const int status = conformance_start("allocate_16_mib", output, sizeof(output));
    if (status != 0)
        fputs(output, stderr);
    CHECK_EQUAL(status, 0);
}

static void the_program_asks_for_a_gib_in_64_mib(void)
{
    CHECK_REFUSED(malloc(opaque(GIB(1))), ENOMEM);
    CHECK_REFUSED(calloc(1, opaque(GIB(1))), ENOMEM);
}

static void a_program_in_64_mib_is_refused_a_gib(void)
{
    char output[1000];

    limit(RLIMIT_AS, MIB(64));
    const int status =
        conformance_start("the_program_asks_for_a_gib_in_64_mib", output, sizeof(output));
    if (status != 0)
        fputs(output, stderr);
    CHECK_EQUAL(status, 0);
}

/* With memory locked, mmap() fails by EAGAIN at the limit: malloc says ENOMEM. */
static void locked_memory_running_out_gives_enomem(void)
{
    struct rlimit locked;

    CHECK_EQUAL(getrlimit(RLIMIT_MEMLOCK, &locked), 0);
    limit(RLIMIT_MEMLOCK, locked.rlim_max < MIB(16) ? locked.rlim_max : MIB(16));
    if (mlockall(MCL_FUTURE) != 0)
        CHECK(errno == EPERM || errno == ENOMEM);
    errno = 0;
    unsigned char *block = malloc(opaque(MIB(64)));
    CHECK(block != NULL || errno == ENOMEM);
    if (block != NULL) {
        fill(block, MIB(64), 1);
        CHECK(is_filled(block, MIB(64), 1));
    }
    free(block);
    munlockall();
    work(1, 1000);
}

const struct conformance_case limit_cases[] = {
    CASE(address_space_runs_out_for_tiny_blocks),
    CASE(address_space_runs_out_for_small_blocks),
    CASE(address_space_runs_out_for_page_sized_blocks),
    CASE(address_space_runs_out_for_medium_blocks),
    CASE(address_space_runs_out_for_large_blocks),
    CASE(address_space_runs_out_for_huge_blocks),
    CASE(no_address_space_at_all_gives_null),
    CASE(data_limit_gives_null),
    CASE(all_functions_give_null_without_address_space),
    CASE(realloc_without_address_space_keeps_the_block),
    CASE(realloc_grows_until_address_space_is_out),
    CASE(realloc_to_less_works_without_address_space),
    CASE(blocks_held_at_the_end_of_memory_keep_their_contents),
    CASE(memory_freed_at_the_end_serves_other_sizes),
    CASE(address_space_runs_out_in_threads),
    CASE(a_thread_that_starts_without_address_space_lives),
    CASE(a_program_starts_in_64_mib_of_address_space),
    CASE(a_program_in_64_mib_is_refused_a_gib),
    CASE(locked_memory_running_out_gives_enomem),
    PART(allocate_16_mib),
    PART(the_program_asks_for_a_gib_in_64_mib),
    CASES_END,
};
