/*
 * conformance_test.c - what the texts of C11, C23, POSIX and the Linux manual decide
 * about malloc and its family, and what Loam promises beyond.
 *
 *     conformance_test $(BUILD)/libloam.so
 *     conformance_test system 'fork_*'
 *
 * No sanitizers: the malloc in use is the one under test.
 */
#include "cases.h"

#include <dlfcn.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

void sized_free(void *block, size_t size)
{
    void (*function)(void *, size_t);

    *(void **)&function = dlsym(RTLD_DEFAULT, "free_sized");
    if (function != NULL)
        function(block, size);
    else
        free(block);
}

void sized_aligned_free(void *block, size_t alignment, size_t size)
{
    void (*function)(void *, size_t, size_t);

    *(void **)&function = dlsym(RTLD_DEFAULT, "free_aligned_sized");
    if (function != NULL)
        function(block, alignment, size);
    else
        free(block);
}

/* ---- work ---------------------------------------------------------------- */

/* Sizes spread over powers of two: as many below 64 as above 32 KiB. */
static size_t some_size(uint64_t *seed, unsigned shift_max)
{
    const unsigned shift = (unsigned)(next_random(seed) % shift_max) + 1;

    return (size_t)(next_random(seed) & ((UINT64_C(1) << shift) - 1)) + 1;
}

static void *some_block(uint64_t *seed, size_t size)
{
    switch (next_random(seed) % 8) {
    case 0:
        return calloc(1, size);
    case 1:
        return aligned_alloc((size_t)16 << (next_random(seed) % 9), size);
    default:
        return malloc(size);
    }
}

void work(uint64_t seed, unsigned rounds)
{
    struct {
        unsigned char *at;
        size_t size;
    } blocks[64];

    memset(blocks, 0, sizeof(blocks));
    for (unsigned i = 0; i < rounds + COUNT(blocks); i++) {
        const size_t slot = i < rounds ? (size_t)next_random(&seed) % COUNT(blocks) : i - rounds;
        const size_t size = some_size(&seed, 20);
        unsigned char *block = blocks[slot].at;
        const size_t old_size = blocks[slot].size;
        if (block != NULL)
            CHECK(is_filled(block, old_size, slot));
        if (block != NULL && i < rounds && next_random(&seed) % 4 == 0) {
            block = realloc(block, size);
            CHECK(block != NULL);
            CHECK(is_filled(block, old_size < size ? old_size : size, slot));
        } else if (block != NULL && next_random(&seed) % 2 == 0) {
            free(block);
            block = NULL;
        } else {
            free(block);
            block = i < rounds ? some_block(&seed, size) : NULL;
            CHECK(block != NULL || i >= rounds);
        }
        blocks[slot].at = block;
        blocks[slot].size = size;
        if (block != NULL)
            fill(block, size, slot);
    }
    for (size_t i = 0; i < COUNT(blocks); i++)
        free(blocks[i].at);
}

void work_quickly(uint64_t seed, unsigned rounds)
{
    void *blocks[32] = { NULL };

    for (unsigned i = 0; i < rounds; i++) {
        const size_t slot = (size_t)next_random(&seed) % COUNT(blocks);
        const size_t size = some_size(&seed, 15);
        free(blocks[slot]);
        blocks[slot] = malloc(size);
        CHECK(blocks[slot] != NULL);
        *(volatile char *)blocks[slot] = 1;
    }
    for (size_t i = 0; i < COUNT(blocks); i++)
        free(blocks[i]);
}

int main(int argc, char **argv)
{
    static const struct conformance_case *const groups[] = {
        size_cases, resize_cases, aligned_cases, report_cases, limit_cases,  thread_cases,
        exit_cases, fork_cases,   signal_cases,  life_cases,   misuse_cases, NULL,
    };

    return conformance_main(argc, argv, groups);
}
