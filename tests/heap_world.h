/*
 * heap_world.h - a heap whose pages come from a window of host memory. Shared by the
 * tests of pagemap.c, slab*.c and heap*.c.
 *
 *     window   | blocks' pages, lowest first ->   .......   <- records' pages |
 *
 * What is not taken is poisoned, so that ASan notices who reads or writes it; what is
 * taken is full of rubbish, unless the heap is told that it is zero. Each page is known
 * to be taken or not. CPUs are threads, or whatever world_cpu says.
 */
#ifndef LOAM_TESTS_HEAP_WORLD_H
#define LOAM_TESTS_HEAP_WORLD_H

#include "harness.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <loam/heap.h>
#include <loam/x86.h>

#include "../src/internal/heap_pages.h"
#include "../src/internal/slab_extra.h" /* before there is a heap that its names would hide */

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, size_bytes)   ((void)(at), (void)(size_bytes))
#define ASAN_UNPOISON_MEMORY_REGION(at, size_bytes) ((void)(at), (void)(size_bytes))
#endif

#define WINDOW_AT    UINT64_C(0x7e9000000000)
#define WINDOW_PAGES 32768u
#define RUBBISH      0xa5
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define PAGES(n)     ((uint64_t)(n)*LOAM_PAGE_SIZE)
#define KIB(n)       ((size_t)(n) << 10)
#define MIB(n)       ((size_t)(n) << 20)

static struct loam_heap heap;
static _Thread_local unsigned world_cpu;
static _Thread_local volatile bool world_irq_is_off; /* a signal handler looks at it */

static struct {
    pthread_mutex_t lock; /* held with interrupts off */
    bool is_taken[WINDOW_PAGES];
    uint64_t out, out_most; /* pages that are taken; that may be */
    uint64_t take_count, give_count;
    bool gives_zeroes;   /* pages are zero, and the heap is told so */
    bool extends;        /* pages behind a block may be had, if they are free */
    void (*visit)(void); /* called when pages are taken, before; may use the heap */
    void *table;         /* the page map's */
} world = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* ---- the port -------------------------------------------------------------------- */

unsigned loam_port_cpu(void)
{
    return world_cpu;
}

uint64_t loam_x86_irq_save(void)
{
    const bool was_off = world_irq_is_off;
    world_irq_is_off = true;
    return was_off ? 0 : 1;
}

void loam_x86_irq_restore(uint64_t flags)
{
    if (flags != 0)
        world_irq_is_off = false;
}

void loam_x86_pause(void)
{
    sched_yield();
}

static inline uint64_t world_lock(void)
{
    const uint64_t irq = loam_x86_irq_save();
    pthread_mutex_lock(&world.lock);
    return irq;
}

static inline void world_unlock(uint64_t irq)
{
    pthread_mutex_unlock(&world.lock);
    loam_x86_irq_restore(irq);
}

/* ---- pages ----------------------------------------------------------------------- */

bool loam_test_inject(const char *point);

static inline void *page_pointer(uint64_t page)
{
    return (void *)(uintptr_t)(WINDOW_AT + PAGES(page));
}

static inline uint64_t page_number(const void *at)
{
    return (loam_virt_of(at).addr - WINDOW_AT) / LOAM_PAGE_SIZE;
}

static inline bool pages_are_free(uint64_t page, uint64_t count)
{
    for (uint64_t i = page; i < page + count; i++) {
        if (i >= WINDOW_PAGES || world.is_taken[i])
            return false;
    }
    return true;
}

static inline void pages_mark(uint64_t page, uint64_t count, bool is_taken)
{
    for (uint64_t i = page; i < page + count; i++)
        world.is_taken[i] = is_taken;
    if (is_taken)
        ASAN_UNPOISON_MEMORY_REGION(page_pointer(page), PAGES(count));
    else
        ASAN_POISON_MEMORY_REGION(page_pointer(page), PAGES(count));
    world.out += is_taken ? count : -count;
}

static inline uint64_t pages_find(uint64_t count, uint64_t align, bool from_above)
{
    const uint64_t last = WINDOW_PAGES - count;

    for (uint64_t i = 0; i <= last; i++) {
        const uint64_t page = from_above ? last - i : i;
        if ((WINDOW_AT / LOAM_PAGE_SIZE + page) % align == 0 && pages_are_free(page, count))
            return page;
    }
    return WINDOW_PAGES;
}

void *loam_heap_pages_take(struct loam_pagemap *map, const struct heap_pages_request *request,
                           bool *is_zeroed)
{
    const uint64_t count = request->page_count;
    uint64_t page = WINDOW_PAGES;

    (void)map;
    if (world.visit != NULL)
        world.visit();
    if (loam_test_inject("heap_pages.take"))
        return NULL;
    const uint64_t irq = world_lock();
    if (count <= WINDOW_PAGES && world.out_most - world.out >= count)
        page = pages_find(count, request->align_bytes / LOAM_PAGE_SIZE, request->is_record);
    if (page != WINDOW_PAGES) {
        pages_mark(page, count, true);
        world.take_count++;
    }
    *is_zeroed = world.gives_zeroes;
    world_unlock(irq);
    if (page == WINDOW_PAGES)
        return NULL;
    memset(page_pointer(page), world.gives_zeroes ? 0 : RUBBISH, PAGES(count));
    return page_pointer(page);
}

/* What nobody has must not be given. */
static inline void pages_require(uint64_t page, uint64_t count)
{
    for (uint64_t i = page; i < page + count; i++) {
        if (i >= WINDOW_PAGES || !world.is_taken[i]) {
            fprintf(stderr, "page %lu given back that nobody has\n", (unsigned long)i);
            abort();
        }
    }
}

void loam_heap_pages_give(struct loam_pagemap *map, void *start, uint64_t page_count)
{
    (void)map;
    const uint64_t irq = world_lock();
    pages_require(page_number(start), page_count);
    pages_mark(page_number(start), page_count, false);
    world.give_count++;
    world_unlock(irq);
}

bool loam_heap_pages_extend(struct loam_pagemap *map, void *start, uint64_t page_count)
{
    (void)map;
    if (loam_test_inject("heap_pages.extend"))
        return false;
    const uint64_t irq = world_lock();
    const bool is_done = world.extends && world.out_most - world.out >= page_count &&
                         pages_are_free(page_number(start), page_count);
    if (is_done)
        pages_mark(page_number(start), page_count, true);
    world_unlock(irq);
    return is_done;
}

/* There is nothing far. */
bool loam_heap_far_take(struct loam_pagemap *map, struct loam_heap_large *large,
                        uint64_t align_bytes, bool is_zeroed)
{
    (void)map, (void)large, (void)align_bytes, (void)is_zeroed;
    return false;
}

struct loam_heap_large *loam_heap_far_find(const struct loam_pagemap *map, uint64_t address)
{
    (void)map, (void)address;
    return NULL;
}

bool loam_heap_far_leave(struct loam_pagemap *map, struct loam_heap_large *large)
{
    (void)map, (void)large;
    return false;
}

void loam_heap_far_give(struct loam_pagemap *map, struct loam_heap_large *large)
{
    (void)map, (void)large;
    fail_msg("a far block was given back");
}

/* ---- a heap ---------------------------------------------------------------------- */

static inline void window_on(void)
{
    static bool is_on;
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;

    if (!is_on)
        assert_ptr_equal(
            mmap(page_pointer(0), PAGES(WINDOW_PAGES), PROT_READ | PROT_WRITE, flags, -1, 0),
            page_pointer(0));
    for (uint64_t page = 0; page < WINDOW_PAGES; page++) {
        if (!is_on || world.is_taken[page])
            pages_mark(page, 1, false);
    }
    is_on = true;
    world.out = world.take_count = world.give_count = 0;
    world.out_most = WINDOW_PAGES;
    world.gives_zeroes = false;
    world.extends = true;
    world.visit = NULL;
    world_cpu = 0;
    world_irq_is_off = false;
}

static inline struct loam_pagemap_setup window_setup(void)
{
    const struct loam_pagemap_setup setup = {
        .start = WINDOW_AT,
        .page_count = WINDOW_PAGES,
        .memory = world.table,
        .memory_bytes = loam_pagemap_bytes_needed(WINDOW_PAGES),
    };
    return setup;
}

/* An empty page map over the window. */
static inline struct loam_pagemap_setup window_map(void)
{
    const uint64_t bytes = loam_pagemap_bytes_needed(WINDOW_PAGES);

    window_on();
    free(world.table);
    assert_int_equal(posix_memalign(&world.table, 64, bytes), 0);
    memset(world.table, 0, bytes);
    return window_setup();
}

/* A heap for so many CPUs; the calling thread is CPU 0. */
static inline void heap_on(unsigned cpus)
{
    const struct loam_pagemap_setup setup = window_map();

    memset(&heap, RUBBISH, sizeof(heap));
    assert_int_equal(loam_heap_init(&heap, &setup, cpus), LOAM_OK);
}

static inline struct loam_heap_stats heap_stats(void)
{
    struct loam_heap_stats stats;
    memset(&stats, RUBBISH, sizeof(stats));
    loam_heap_measure(&heap, &stats);
    return stats;
}

/* Bits, counts and pages agree, and pages are those that were taken. */
static inline void expect_sound(void)
{
    const char *const broken = loam_heap_audit(&heap);
    if (broken != NULL)
        fail_msg("audit: %s", broken);
    const struct loam_heap_stats stats = heap_stats();
    assert_int_equal(stats.page_count, world.out);
    assert_int_equal(PAGES(stats.slab_pages + stats.large_pages),
                     stats.live_bytes + stats.magazine_bytes + stats.free_bytes +
                         stats.waste_bytes);
}

/* Every CPU gives back what it has at hand. */
static inline void trim_all(void)
{
    for (unsigned cpu = 0; cpu < heap.cpu_count; cpu++)
        loam_heap_trim_cpu(&heap, cpu);
    (void)loam_heap_trim(&heap);
}

/* All blocks are free: all pages but those of records come back. */
static inline void expect_all_given_back(void)
{
    expect_sound();
    trim_all();
    expect_sound();
    const struct loam_heap_stats stats = heap_stats();
    assert_int_equal(stats.live_count, 0);
    assert_int_equal(stats.magazine_count, 0);
    assert_int_equal(stats.slab_pages, 0);
    assert_int_equal(stats.large_pages, 0);
    assert_int_equal(world.out, stats.record_pages);
}

/* How many blocks the walk finds, and which sum of sizes. */
static inline uint64_t walk_count(uint64_t *bytes)
{
    struct loam_heap_block block = { .large = NULL };
    uint64_t count = 0;

    *bytes = 0;
    while (loam_heap_next(&heap, &block)) {
        count++;
        *bytes += block.size_bytes;
    }
    return count;
}

#endif
