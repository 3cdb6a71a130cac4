/*
 * frame_world.h - a frame allocator over frames that are only numbers. Shared by
 * the tests of frame.c.
 */
#ifndef LOAM_TESTS_FRAME_WORLD_H
#define LOAM_TESTS_FRAME_WORLD_H

#include "harness.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <loam/frame.h>

#include "machine.h"

#define COUNT(a)    (sizeof(a) / sizeof((a)[0]))
#define BYTES(n)    ((uint64_t)(n)*LOAM_PAGE_SIZE)
#define MIB(n)      ((uint64_t)(n) << 20 >> LOAM_PAGE_SHIFT) /* pages */
#define GIB(n)      ((uint64_t)(n) << 30 >> LOAM_PAGE_SHIFT)
#define TIB(n)      ((uint64_t)(n) << 40 >> LOAM_PAGE_SHIFT)
#define BLOCK       (UINT64_C(1) << LOAM_ORDER_2M) /* pages */
#define NONE        UINT64_MAX
#define RANGES_MAX  300u
#define MALLOC_MAX  (UINT64_C(8) << 20) /* bytes of a world that ASan guards */
#define ALREADY     "frame: already free"
#define NOT_A_FRAME "frame: not a frame of this memory"
#define TOO_LARGE   "frame: order is too large"

/* Pages [first, end) are RAM. */
struct pages {
    uint64_t first, end;
};

static struct loam_frame frame;
static struct loam_frame_setup setup;
static struct loam_phys_range ram[RANGES_MAX];
static size_t mapped_bytes; /* of setup.memory; 0: it is of malloc() */
static uint64_t ram_pages;

/* What frame_world() will ask for; no memory yet. */
static inline void world_describe(const struct pages *pages, size_t count, unsigned cpus)
{
    assert_true(count <= RANGES_MAX);
    memset(&setup, 0, sizeof(setup));
    ram_pages = 0;
    for (size_t i = 0; i < count; i++) {
        const uint64_t size = pages[i].end - pages[i].first;
        ram[i] = loam_phys_range_of(loam_phys_at(BYTES(pages[i].first)), BYTES(size));
        ram_pages += size;
    }
    setup.range = ram;
    setup.range_count = count;
    setup.cpu_count = cpus;
}

static inline void *map_zeroed(size_t size_bytes)
{
    void *const at = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_ptr_not_equal(at, MAP_FAILED);
    return at;
}

static inline void world_close(void)
{
    if (mapped_bytes != 0)
        munmap(setup.memory, mapped_bytes);
    else
        free(setup.memory);
    setup.memory = NULL;
    mapped_bytes = 0;
}

/* An allocator over these pages, all free; the calling thread is CPU 0. Small ones get
 * memory that is dirty and ends where ASan notices. */
static inline void world_of(const struct pages *pages, size_t count, unsigned cpus)
{
    world_close();
    machine_reset(cpus);
    world_describe(pages, count, cpus);
    setup.memory_bytes = loam_frame_bytes_needed(&setup);
    assert_int_not_equal(setup.memory_bytes, 0);
    if (setup.memory_bytes <= MALLOC_MAX) {
        assert_int_equal(posix_memalign(&setup.memory, 64, setup.memory_bytes), 0);
        memset(setup.memory, 0xa5, setup.memory_bytes);
    } else {
        setup.memory = map_zeroed(setup.memory_bytes);
        mapped_bytes = setup.memory_bytes;
        setup.is_zeroed = true;
    }
    memset(&frame, 0xa5, sizeof(frame));
    assert_int_equal(loam_frame_init(&frame, &setup), LOAM_OK);
}
#define WORLD(cpus, ...)                               \
    do {                                               \
        const struct pages pages_[] = { __VA_ARGS__ }; \
        world_of(pages_, COUNT(pages_), (cpus));       \
        assert_null(loam_frame_audit(&frame));         \
    } while (0)

static inline void expect_sound(void)
{
    const char *const broken = loam_frame_audit(&frame);
    if (broken != NULL)
        fail_msg("audit: %s", broken);
    assert_null(broken);
}

static inline bool is_ram(uint64_t first, uint64_t count)
{
    uint64_t inside = 0;
    for (size_t i = 0; i < setup.range_count; i++) {
        const uint64_t start = ram[i].start.addr / LOAM_PAGE_SIZE;
        const uint64_t end = start + ram[i].size / LOAM_PAGE_SIZE;
        const uint64_t low = first > start ? first : start;
        const uint64_t high = first + count < end ? first + count : end;
        inside += high > low ? high - low : 0;
    }
    return inside == count;
}

/* Allocate: first page, or NONE. Does not look whether a failure changed anything. */
static inline uint64_t take_any(unsigned order, enum loam_zone zone)
{
    const loam_phys block = loam_frame_alloc(&frame, order, zone);
    if (loam_phys_is_none(block))
        return NONE;
    if (block.addr % loam_order_bytes(order) != 0 ||
        !is_ram(block.addr / LOAM_PAGE_SIZE, UINT64_C(1) << order))
        fail_msg("order %u at %#llx: unaligned or no RAM", order, (unsigned long long)block.addr);
    return block.addr / LOAM_PAGE_SIZE;
}

/* The same with all checks: O(memory). */
static inline uint64_t take_zone(unsigned order, enum loam_zone zone)
{
    const uint64_t digest = loam_frame_digest(&frame);
    const uint64_t page = take_any(order, zone);
    expect_sound();
    assert_int_equal(loam_frame_digest(&frame) == digest, page == NONE);
    return page;
}

static inline uint64_t take(unsigned order)
{
    return take_zone(order, LOAM_ZONE_ANY);
}

static inline void give_any(uint64_t page, unsigned order)
{
    loam_frame_free(&frame, loam_phys_at(BYTES(page)), order);
}

static inline void give(uint64_t page, unsigned order)
{
    const uint64_t digest = loam_frame_digest(&frame);
    give_any(page, order);
    expect_sound();
    assert_true(loam_frame_digest(&frame) != digest);
}

static inline struct loam_phys_range range_of(uint64_t first, uint64_t end)
{
    return loam_phys_range_of(loam_phys_at(BYTES(first)), BYTES(end - first));
}

/* Take exactly the pages [first, end). */
static inline enum loam_status reserve(uint64_t first, uint64_t end)
{
    const uint64_t digest = loam_frame_digest(&frame);
    const enum loam_status status = loam_frame_reserve(&frame, range_of(first, end));
    expect_sound();
    assert_int_equal(loam_frame_digest(&frame) != digest, status == LOAM_OK);
    return status;
}

static inline void release(uint64_t first, uint64_t end)
{
    const uint64_t digest = loam_frame_digest(&frame);
    loam_frame_release(&frame, range_of(first, end));
    expect_sound();
    assert_true(loam_frame_digest(&frame) != digest);
}

static inline struct loam_frame_stats zone_stats(enum loam_zone zone)
{
    struct loam_frame_stats stats;
    memset(&stats, 0xa5, sizeof(stats));
    loam_frame_measure(&frame, zone, &stats);
    return stats;
}

/* All zones together. */
static inline struct loam_frame_stats stats(void)
{
    struct loam_frame_stats sum = { 0 };
    for (unsigned zone = 0; zone < LOAM_ZONES; zone++) {
        const struct loam_frame_stats of = zone_stats((enum loam_zone)zone);
        sum.frame_count += of.frame_count;
        sum.free_count += of.free_count;
        sum.lane_count += of.lane_count;
        sum.block_count += of.block_count;
        if (of.largest_free > sum.largest_free)
            sum.largest_free = of.largest_free;
    }
    return sum;
}

/* Nothing is in use, and that is what the allocator knows. */
static inline void expect_all_free(void)
{
    const uint64_t digest = loam_frame_digest(&frame);
    loam_frame_drain(&frame);
    expect_sound();
    assert_int_equal(loam_frame_digest(&frame), digest);
    assert_int_equal(stats().frame_count, ram_pages);
    assert_int_equal(stats().free_count, ram_pages);
    assert_int_equal(stats().lane_count, 0);
}

/* A panic with this rule, about something inside [page, page + count); it changes
 * nothing. */
#define EXPECT_REFUSED(rule_, page_, count_, statement)                      \
    do {                                                                     \
        const uint64_t digest_ = loam_frame_digest(&frame);                  \
        const uint64_t free_count_ = stats().free_count;                     \
        EXPECT_PANIC(rule_, statement);                                      \
        expect_sound();                                                      \
        assert_int_equal(loam_frame_digest(&frame), digest_);                \
        assert_int_equal(stats().free_count, free_count_);                   \
        assert_true(panic_trap.seen.subject - BYTES(page_) < BYTES(count_)); \
    } while (0)

#endif
