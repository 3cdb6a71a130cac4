/*
 * books_heap_world.h - a machine whose heap grows. Shared by the tests of books_heap.c.
 */
#ifndef LOAM_TESTS_BOOKS_HEAP_WORLD_H
#define LOAM_TESTS_BOOKS_HEAP_WORLD_H

#include "loam_world.h"

#include <loam/x86.h>

#define FRAMES_MAX 20000u

static loam_phys frames[FRAMES_MAX]; /* taken by the test */
static size_t frame_count;

static inline void start(unsigned cpus)
{
    small_machine(cpus);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    assert_int_equal(loam_enter(&mm), LOAM_OK);
    frame_count = 0;
}

static inline void expect_sound(void)
{
    const char *const broken = loam_audit(&mm);
    if (broken != NULL)
        fail_msg("audit: %s", broken);
}

static inline struct loam_heap_stats heap_now(void)
{
    struct loam_heap_stats stats;
    loam_heap_measure(&mm.cpu_heap, &stats);
    return stats;
}

/* What blocks cost, without the heap's own records. */
static inline uint64_t bytes_of_blocks(void)
{
    return total(LOAM_OWNER_HEAP) - heap_now().record_pages * KIB(4);
}

/* All that CPUs have at hand goes back, and with it what is empty. */
static inline void settle(void)
{
    for (unsigned cpu = 0; cpu < mm.cpu_heap.cpu_count; cpu++)
        loam_heap_trim_cpu(&mm.cpu_heap, cpu);
    (void)loam_heap_trim(&mm.cpu_heap);
    loam_free(&mm, loam_malloc(&mm, 1)); /* what is left to do is done */
    heap_settle();
    loam_heap_trim_cpu(&mm.cpu_heap, 0);
    (void)loam_heap_trim(&mm.cpu_heap);
}

/* Without a block the heap has its records, and its page map. */
static inline void expect_empty(void)
{
    settle();
    const struct loam_heap_stats stats = heap_now();
    assert_int_equal(stats.live_count, 0);
    assert_int_equal(stats.page_count, stats.record_pages);
    assert_int_equal(total(LOAM_OWNER_HEAP), KIB(4) + stats.record_pages * KIB(4));
    expect_sound();
}

/* Of all frames that are free, every other one: no two are side by side. */
static inline void shatter(void)
{
    size_t kept = 0;
    (void)loam_zero_drain(&mm.zeroed);
    frame_count = loam_take_bulk(&mm, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL, frames, FRAMES_MAX);
    assert_in_range(frame_count, 1000, FRAMES_MAX - 1);
    for (size_t i = 0; i < frame_count; i++) {
        const loam_phys frame = frames[i];
        if (frame.addr / KIB(4) % 2 == 0)
            loam_give_frames(&mm, frame, 0, LOAM_OWNER_KERNEL);
        else
            frames[kept++] = frame;
    }
    frame_count = kept;
}

static inline void mend(void)
{
    while (frame_count > 0)
        loam_give_frames(&mm, frames[--frame_count], 0, LOAM_OWNER_KERNEL);
    (void)loam_vmap_purge(&mm);
}

static inline bool is_far(const void *block)
{
    return (uint64_t)(uintptr_t)block - mm.vmap.window.start.addr < mm.vmap.window.size;
}

#endif
