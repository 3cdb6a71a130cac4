/*
 * selftest_heap.c - the books, and the malloc family's promises.
 */
#include "malloc.h"
#include "memory.h"
#include "selftest.h"

const char *selftest_audit(void)
{
    return memory_audit();
}

const char *selftest_init_twice(void)
{
    struct loam_boot boot = { .struct_bytes = sizeof boot };
    struct loam_refusal refusal;
    const uint64_t before = loam_digest(&memory);
    if (loam_init(&memory, &boot, &refusal) != LOAM_STATE)
        return "a second loam_init() was not refused";
    return loam_digest(&memory) == before ? NULL : "a refused loam_init() changed something";
}

static const char *check_overflows(void)
{
    /* Not constants: the compiler would refuse to call malloc() with these. */
    volatile size_t largest = SIZE_MAX, half = SIZE_MAX / 2 + 1;
    for (size_t i = 0; i <= LOAM_PAGE_SIZE; i++) {
        if (malloc(largest - i) != NULL)
            return "a size near SIZE_MAX was served";
    }
    if (calloc(half, 2) != NULL || calloc(largest, largest) != NULL)
        return "a product that overflows was served";
    if (aligned_alloc(24, 16) != NULL || aligned_alloc(half, 16) != NULL)
        return "an impossible alignment was served";
    return NULL;
}

static const char *check_contents(void)
{
    unsigned char *zeroes = calloc(10, 10);
    if (zeroes == NULL)
        return "calloc() failed";
    for (unsigned i = 0; i < 100; i++) {
        if (zeroes[i] != 0)
            return "calloc() left something in the block";
        zeroes[i] = (unsigned char)i;
    }
    unsigned char *grown = realloc(zeroes, 5000);
    if (grown == NULL)
        return "realloc() failed";
    for (unsigned i = 0; i < 100; i++) {
        if (grown[i] != i)
            return "realloc() lost the contents";
    }
    free_sized(grown, 5000);
    return NULL;
}

const char *selftest_malloc(void)
{
    char *empty = malloc(0), *other = malloc(0), *page = aligned_alloc(LOAM_PAGE_SIZE, 100);
    if (empty == NULL || other == NULL || empty == other)
        return "malloc(0) gave no block of its own";
    if (page == NULL || !loam_is_page_aligned((uint64_t)(uintptr_t)page))
        return "aligned_alloc() is not aligned";
    free(empty);
    free(other);
    free(page);
    free(NULL);
    const char *wrong = check_overflows();
    return wrong != NULL ? wrong : check_contents();
}
