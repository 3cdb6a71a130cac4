/*
 * report_cases.c - malloc_usable_size, mallinfo2, malloc_trim, malloc_stats,
 * malloc_info, mallopt.
 */
#include "cases.h"

#include <dlfcn.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOCKS 20000

static void *blocks[BLOCKS];

/* ---- usable size --------------------------------------------------------- */

static void usable_size_of_null_is_nothing(void)
{
    CHECK_EQUAL(malloc_usable_size((void *)opaque(0)), 0);
}

/* All that it says may be written, while every neighbour is filled likewise. */
static void usable_size_is_what_may_be_used(void)
{
    for (size_t i = 0; i < 3000; i++) {
        blocks[i] = i % 3 == 0 ? calloc(1, i) : malloc(i);
        CHECK(blocks[i] != NULL);
        CHECK(malloc_usable_size(blocks[i]) >= i);
        fill(blocks[i], malloc_usable_size(blocks[i]), i);
    }
    for (size_t i = 0; i < 3000; i++) {
        CHECK(is_filled(blocks[i], malloc_usable_size(blocks[i]), i));
        free(blocks[i]);
    }
}

static void usable_size_of_large_blocks_is_what_may_be_used(void)
{
    for (size_t size = KIB(4); size < MIB(50); size += size / 2 + 77) {
        unsigned char *block = malloc(size);
        unsigned char *next = malloc(size);
        CHECK(block != NULL && next != NULL);
        const size_t usable = malloc_usable_size(block);
        CHECK(usable >= size);
        fill(next, size, 2);
        fill(block, usable, 1);
        CHECK(is_filled(next, size, 2));
        CHECK(is_filled(block, usable, 1));
        CHECK_EQUAL(malloc_usable_size(block), usable);
        free(block);
        free(next);
    }
}

static void usable_size_of_aligned_blocks_is_what_may_be_used(void)
{
    for (size_t alignment = 8; alignment <= MIB(1); alignment *= 2) {
        for (size_t size = 1; size < MIB(1); size = size * 9 + 5) {
            unsigned char *block = NULL;
            unsigned char *next = NULL;
            CHECK_EQUAL(posix_memalign((void **)&block, alignment, size), 0);
            CHECK_EQUAL(posix_memalign((void **)&next, alignment, size), 0);
            CHECK(malloc_usable_size(block) >= size);
            fill(next, malloc_usable_size(next), 2);
            fill(block, malloc_usable_size(block), 1);
            CHECK(is_filled(next, malloc_usable_size(next), 2));
            free(block);
            free(next);
        }
    }
}

static void usable_size_follows_realloc(void)
{
    void *block = NULL;

    for (size_t size = 1; size < MIB(20); size = size * 7 / 3 + 1) {
        block = realloc(block, size);
        CHECK(block != NULL && malloc_usable_size(block) >= size);
        fill(block, malloc_usable_size(block), size);
    }
    for (size_t size = MIB(19); size > 0; size /= 3) {
        block = realloc(block, size);
        CHECK(block != NULL && malloc_usable_size(block) >= size);
        fill(block, malloc_usable_size(block), size);
    }
    free(block);
}

/* ---- statistics ---------------------------------------------------------- */

static size_t bytes_in_use(void)
{
    const struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

static void allocate_all(size_t size)
{
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(size);
        CHECK(blocks[i] != NULL);
        memset(blocks[i], 1, size);
    }
}

static void free_all(void)
{
    for (size_t i = 0; i < BLOCKS; i++)
        free(blocks[i]);
}

/* To 10 %: what a block occupies is more than its size. */
static void mallinfo2_counts_bytes_in_use(void)
{
    const size_t before = bytes_in_use();

    allocate_all(1000);
    const size_t during = bytes_in_use() - before;
    CHECK(during >= (size_t)BLOCKS * 1000);
    CHECK_AT_MOST(during, (size_t)BLOCKS * 1200);
    free_all();
    CHECK_AT_MOST(bytes_in_use() - before + MIB(1), MIB(2));
}

static void mallinfo2_counts_large_blocks(void)
{
    const size_t before = bytes_in_use();
    void *large = malloc(MIB(100));

    CHECK(large != NULL);
    CHECK(bytes_in_use() - before >= MIB(100));
    CHECK_AT_MOST(bytes_in_use() - before, MIB(104));
    free(large);
    CHECK_AT_MOST(bytes_in_use() - before + MIB(1), MIB(2));
}

static void mallinfo2_adds_up(void)
{
    allocate_all(300);
    const struct mallinfo2 info = mallinfo2();
    CHECK(info.arena + info.hblkhd >= (size_t)BLOCKS * 300);
    CHECK_AT_MOST(info.uordblks, info.arena + info.hblkhd);
    CHECK_AT_MOST(info.fordblks, info.arena + info.hblkhd);
    free_all();
}

/* ---- trim ---------------------------------------------------------------- */

static void malloc_trim_gives_back_what_is_free(void)
{
    const uint64_t before = resident_bytes();

    allocate_all(4000);
    CHECK(resident_bytes() - before > (size_t)BLOCKS * 3000);
    free_all();
    const int released = malloc_trim(0);
    CHECK(released == 0 || released == 1);
    CHECK_AT_MOST(resident_bytes(), before + MIB(16));
}

static void malloc_trim_leaves_live_blocks_alone(void)
{
    allocate_all(500);
    for (size_t i = 0; i < BLOCKS; i++)
        fill(blocks[i], 500, i);
    for (size_t i = 0; i < BLOCKS; i++) {
        if (i % 16 != 0) {
            free(blocks[i]);
            blocks[i] = NULL;
        }
    }
    for (unsigned round = 0; round < 3; round++) {
        malloc_trim(round * 1000);
        for (size_t i = 0; i < BLOCKS; i += 16)
            CHECK(is_filled(blocks[i], 500, i));
        work(round, 1000);
    }
    free_all();
    malloc_trim(SIZE_MAX);
    malloc_trim(0);
}

static void malloc_trim_during_traffic_does_no_harm_body(unsigned number)
{
    for (unsigned i = 0; i < 200; i++) {
        if (number == 0)
            malloc_trim(0);
        else
            work(number * 1000 + i, 50);
    }
}

static void malloc_trim_during_traffic_does_no_harm(void)
{
    in_threads(4, 0, malloc_trim_during_traffic_does_no_harm_body);
}

/* ---- printed reports ----------------------------------------------------- */

static void print_stats(void)
{
    close(STDOUT_FILENO);
    malloc_stats();
}

static void malloc_stats_prints_to_standard_error(void)
{
    char output[8192];

    CHECK_EQUAL(conformance_watch(print_stats, output, sizeof(output)), 0);
    CHECK(strlen(output) > 10);
}

static void malloc_info_writes_xml(void)
{
    char *text = NULL;
    size_t length = 0;
    FILE *file = open_memstream(&text, &length);

    CHECK(file != NULL);
    CHECK_EQUAL(malloc_info(0, file), 0);
    fclose(file);
    CHECK(length > 20 && text[0] == '<');
    CHECK(strstr(text, "<malloc version=") != NULL && strstr(text, "</malloc>") != NULL);
    int depth = 0; /* every element is closed */
    for (const char *at = strchr(text, '<'); at != NULL; at = strchr(at + 1, '<')) {
        const char *end = strchr(at, '>');
        CHECK(end != NULL);
        depth += at[1] == '/' ? -1 : end[-1] == '/' || at[1] == '?' || at[1] == '!' ? 0 : 1;
        CHECK(depth >= 0);
    }
    CHECK_EQUAL(depth, 0);
    free(text);
}

static void malloc_info_refuses_options(void)
{
    FILE *file = tmpfile();

    CHECK(file != NULL);
    CHECK(malloc_info(1, file) != 0);
    CHECK_EQUAL(ftell(file), 0);
    fclose(file);
}

static void mallopt_does_no_harm(void)
{
    static const int options[] = { M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD,
                                   M_MMAP_MAX,       M_ARENA_MAX,      -1000 };

    for (size_t i = 0; i < COUNT(options); i++) {
        const int status = mallopt(options[i], 65536);
        CHECK(status == 0 || status == 1);
        work(i, 1000);
    }
}

const struct conformance_case report_cases[] = {
    CASE(usable_size_of_null_is_nothing),
    CASE(usable_size_is_what_may_be_used),
    CASE(usable_size_of_large_blocks_is_what_may_be_used),
    CASE(usable_size_of_aligned_blocks_is_what_may_be_used),
    CASE(usable_size_follows_realloc),
    LOAM_CASE(mallinfo2_counts_bytes_in_use),
    LOAM_CASE(mallinfo2_counts_large_blocks),
    LOAM_CASE(mallinfo2_adds_up),
    LOAM_CASE(malloc_trim_gives_back_what_is_free),
    CASE(malloc_trim_leaves_live_blocks_alone),
    CASE(malloc_trim_during_traffic_does_no_harm),
    CASE(malloc_stats_prints_to_standard_error),
    LOAM_CASE(malloc_info_writes_xml),
    CASE(malloc_info_refuses_options),
    CASE(mallopt_does_no_harm),
    CASES_END,
};
