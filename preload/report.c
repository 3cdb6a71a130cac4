/*
 * report.c - what the heap has: mallinfo, malloc_stats, malloc_info, malloc_trim, mallopt;
 * with LOAM_MALLOC_STATS=1 in the environment at the end of the program, too.
 *
 * Figures of a class are taken at one moment; those of lists are read while their threads
 * may use them, and are exact when these are quiet.
 */
#include "report.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../src/internal/slab_head.h"
#include "../src/internal/text.h"
#include "family.h"
#include "pages.h"
#include "visit.h"

/* ---- text ----------------------------------------------------------------------- */

void preload_text_flush(struct preload_text *text)
{
    size_t done = 0;

    while (done < text->length) {
        const ssize_t now = write(text->descriptor, text->bytes + done, text->length - done);
        if (now <= 0 && errno != EINTR)
            break;
        done += now > 0 ? (size_t)now : 0;
    }
    text->length = 0;
}

void preload_text_write(void *context, const char *bytes, size_t size_bytes)
{
    struct preload_text *const text = context;

    for (size_t i = 0; i < size_bytes; i++) {
        if (text->length == sizeof(text->bytes))
            preload_text_flush(text);
        text->bytes[text->length++] = bytes[i];
    }
}

/* ---- figures --------------------------------------------------------------------- */

struct report_class {
    uint32_t bytes;
    uint64_t page_count; /* of slabs */
    uint64_t live;       /* blocks that the program has */
    uint64_t listed;     /* in lists of threads */
    uint64_t free;       /* in slabs */
};

struct report_sum {
    uint64_t small_pages, small_live_bytes, small_free_bytes, listed_bytes;
    uint64_t large_count, large_bytes, large_peak_bytes;
    uint64_t record_pages;
};

/* Blocks of a class in the lists of threads. */
static uint64_t report_listed(unsigned class)
{
    uint64_t count = 0;

    for (unsigned i = 0; i < LOAM_CPUS_MAX; i++) {
        const struct loam_heap_cpu *const cpu = atomic_load(&preload_heap.cpu[i]);
        if (cpu == NULL)
            continue;
        const struct loam_magazine magazine = cpu->magazine[class];
        const uint64_t room = (uint64_t)(uintptr_t)magazine.limit[1];
        const uint64_t left = (uint64_t)(magazine.limit - magazine.top);
        if (room <= LOAM_SLAB_MAGAZINE_MAX &&
            left <= room) /* else read in the middle of a change */
            count += room - left;
    }
    return count;
}

static struct report_class report_of_class(unsigned class)
{
    struct loam_slab_cache *const cache = &preload_heap.cache[class];
    const uint64_t listed = report_listed(class);

    loam_spinlock_acquire(&cache->lock);
    const uint64_t taken = cache->slot_count - cache->free_count;
    const struct report_class result = {
        .bytes = cache->slot_bytes,
        .page_count = cache->page_count,
        .live = taken < listed ? 0 : taken - listed,
        .listed = listed,
        .free = cache->free_count,
    };
    loam_spinlock_release(&cache->lock);
    return result;
}

/* In a visit. */
static struct report_sum report_all(void)
{
    struct report_sum sum = { .small_pages = 0 };
    uint64_t record_bytes;

    for (unsigned class = 1; class < LOAM_HEAP_CLASSES; class ++) {
        const struct report_class one = report_of_class(class);
        sum.small_pages += one.page_count;
        sum.small_live_bytes += one.live * one.bytes;
        sum.small_free_bytes += one.free * one.bytes;
        sum.listed_bytes += one.listed * one.bytes;
    }
    loam_spinlock_acquire(&preload_heap.large_lock);
    sum.large_count = preload_heap.large_count;
    sum.large_bytes = preload_heap.large_pages * LOAM_PAGE_SIZE;
    sum.large_peak_bytes = preload_heap.large_peak_pages * LOAM_PAGE_SIZE;
    loam_spinlock_release(&preload_heap.large_lock);
    loam_pagemap_measure(&preload_heap.map, &record_bytes, &sum.record_pages);
    return sum;
}

/* A handler that interrupted a visit gets zeroes. */
static struct report_sum report_now(void)
{
    struct report_sum sum = { .small_pages = 0 };
    struct preload_visit visit;

    if (!preload_visit_begin(&visit))
        return sum;
    if (preload_thread_begin())
        sum = report_all();
    preload_visit_end(&visit);
    return sum;
}

/* ---- GNU's names -------------------------------------------------------------------- */

PRELOAD_EXPORT struct mallinfo2 mallinfo2(void)
{
    const struct report_sum sum = report_now();

    return (struct mallinfo2){
        .arena = sum.small_pages * LOAM_PAGE_SIZE,
        .hblks = sum.large_count,
        .hblkhd = sum.large_bytes,
        .fsmblks = sum.listed_bytes,
        .uordblks = sum.small_live_bytes,
        .fordblks = sum.small_pages * LOAM_PAGE_SIZE - sum.small_live_bytes,
    };
}

static int report_int(size_t value)
{
    return value > INT32_MAX ? INT32_MAX : (int)value;
}

/* The older form: what has no room in an int says the largest one. */
PRELOAD_EXPORT struct mallinfo mallinfo(void)
{
    const struct mallinfo2 all = mallinfo2();

    return (struct mallinfo){
        .arena = report_int(all.arena),
        .hblks = report_int(all.hblks),
        .hblkhd = report_int(all.hblkhd),
        .fsmblks = report_int(all.fsmblks),
        .uordblks = report_int(all.uordblks),
        .fordblks = report_int(all.fordblks),
    };
}

static void report_line(const struct loam_writer *writer, const char *what, uint64_t bytes)
{
    loam_text_string(writer, "loam: ");
    loam_text_left(writer, what, 26);
    loam_text_size(writer, bytes, LOAM_TEXT_SIZE_MAX);
    loam_text_decimal(writer, bytes, 16);
    loam_text_string(writer, " bytes\n");
}

static void report_classes(const struct loam_writer *writer)
{
    loam_text_string(writer, "loam:    class       live     listed       free      pages\n");
    for (unsigned class = 1; class < LOAM_HEAP_CLASSES; class ++) {
        const struct report_class one = report_of_class(class);
        if (one.page_count == 0)
            continue;
        loam_text_string(writer, "loam: ");
        loam_text_decimal(writer, one.bytes, 8);
        loam_text_decimal(writer, one.live, 11);
        loam_text_decimal(writer, one.listed, 11);
        loam_text_decimal(writer, one.free, 11);
        loam_text_decimal(writer, one.page_count, 11);
        loam_text_string(writer, "\n");
    }
}

PRELOAD_EXPORT void malloc_stats(void)
{
    struct preload_text text = { .descriptor = STDERR_FILENO, .length = 0 };
    const struct loam_writer writer = { preload_text_write, &text };
    const struct report_sum sum = report_now();
    struct preload_visit visit;

    report_line(&writer, "blocks of classes", sum.small_live_bytes);
    report_line(&writer, "in lists", sum.listed_bytes);
    report_line(&writer, "free in slabs", sum.small_free_bytes);
    report_line(&writer, "slabs", sum.small_pages * LOAM_PAGE_SIZE);
    report_line(&writer, "blocks of whole pages", sum.large_bytes);
    report_line(&writer, "the most of those so far", sum.large_peak_bytes);
    report_line(&writer, "records", sum.record_pages * LOAM_PAGE_SIZE);
    if (preload_visit_begin(&visit)) {
        report_classes(&writer);
        preload_visit_end(&visit);
    }
    preload_text_flush(&text);
}

PRELOAD_EXPORT int malloc_info(int options, FILE *stream)
{
    const struct report_sum sum = report_now();

    if (options != 0) {
        errno = EINVAL;
        return -1;
    }
    const int written =
        fprintf(stream,
                "<malloc version=\"1\">\n<heap nr=\"0\">\n"
                "<total type=\"small\" live=\"%lu\" listed=\"%lu\" free=\"%lu\" size=\"%lu\"/>\n"
                "<total type=\"large\" count=\"%lu\" size=\"%lu\" max=\"%lu\"/>\n"
                "<total type=\"records\" size=\"%lu\"/>\n</heap>\n"
                "<system type=\"current\" size=\"%lu\"/>\n</malloc>\n",
                sum.small_live_bytes, sum.listed_bytes, sum.small_free_bytes,
                sum.small_pages * LOAM_PAGE_SIZE, sum.large_count, sum.large_bytes,
                sum.large_peak_bytes, sum.record_pages * LOAM_PAGE_SIZE,
                (sum.small_pages + sum.record_pages) * LOAM_PAGE_SIZE + sum.large_bytes);
    return written < 0 ? -1 : 0;
}

/* Whatever may be kept at the top: nothing is. @return 1: something went to the system */
PRELOAD_EXPORT int malloc_trim(size_t pad)
{
    struct preload_visit visit;
    uint64_t given = 0;

    (void)pad;
    if (!preload_visit_begin(&visit))
        return 0;
    if (preload_thread_begin()) {
        preload_thread_trim();
        (void)loam_heap_trim(&preload_heap);
        given = preload_pages_trim();
    }
    preload_visit_end(&visit);
    return given != 0;
}

/* There is nothing to set: what GNU's parameters are about does not exist here. */
PRELOAD_EXPORT int mallopt(int parameter, int value)
{
    (void)parameter, (void)value;
    return 1;
}

/* ---- at the end ------------------------------------------------------------------------ */

static bool report_is_wanted;

__attribute__((constructor)) static void report_start(void)
{
    const char *const wanted = getenv("LOAM_MALLOC_STATS");

    report_is_wanted = wanted != NULL && wanted[0] != '\0' && wanted[0] != '0';
}

__attribute__((destructor)) static void report_end(void)
{
    if (report_is_wanted)
        malloc_stats();
}
