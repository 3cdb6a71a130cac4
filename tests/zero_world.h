/*
 * zero_world.h - a pool of zeroed frames over a frame allocator whose frames are RAM,
 * every page of it full of rubbish. Shared by the tests of zero.c.
 */
#ifndef LOAM_TESTS_ZERO_WORLD_H
#define LOAM_TESTS_ZERO_WORLD_H

#include "frame_world.h"

#include <loam/zero.h>

#define RUBBISH 0xa5

static struct loam_zero_pool pool;
static struct loam_zero_setup pool_setup;

static inline void make_dirty(uint64_t page, uint64_t count)
{
    memset(machine_ram(BYTES(page)), RUBBISH, BYTES(count));
}

/* An empty pool over the world's frames. */
static inline void pool_of(uint64_t capacity, unsigned cpus, uint64_t reserve_count)
{
    free(pool_setup.memory);
    memset(&pool_setup, 0, sizeof(pool_setup));
    pool_setup.frame = &frame;
    pool_setup.hhdm = machine_hhdm();
    pool_setup.cpu_count = cpus;
    pool_setup.capacity = capacity;
    pool_setup.reserve_count = reserve_count;
    pool_setup.memory_bytes = loam_zero_bytes_needed(&pool_setup);
    assert_int_not_equal(pool_setup.memory_bytes, 0);
    assert_int_equal(posix_memalign(&pool_setup.memory, 64, pool_setup.memory_bytes), 0);
    memset(pool_setup.memory, RUBBISH, pool_setup.memory_bytes);
    memset(&pool, RUBBISH, sizeof(pool));
    assert_int_equal(loam_zero_init(&pool, &pool_setup), LOAM_OK);
}

static inline void dirty_ram(void)
{
    for (size_t i = 0; i < setup.range_count; i++) {
        machine_add_ram(ram[i].start.addr, ram[i].size);
        memset(machine_ram(ram[i].start.addr), RUBBISH, ram[i].size);
    }
}

#define ZERO_WORLD(cpus, capacity, reserve_count, ...) \
    do {                                               \
        WORLD((cpus), __VA_ARGS__);                    \
        dirty_ram();                                   \
        pool_of((capacity), (cpus), (reserve_count));  \
    } while (0)

static inline void expect_pool_sound(void)
{
    const char *const broken = loam_zero_audit(&pool);
    if (broken != NULL)
        fail_msg("audit: %s", broken);
    assert_null(broken);
}

static inline bool are_all(uint64_t page, uint64_t count, unsigned char value)
{
    const unsigned char *const bytes = machine_ram(BYTES(page));
    return bytes[0] == value && memcmp(bytes, bytes + 1, BYTES(count) - 1) == 0;
}

static inline struct loam_zero_stats pool_stats(void)
{
    struct loam_zero_stats stats;
    memset(&stats, RUBBISH, sizeof(stats));
    loam_zero_measure(&pool, &stats);
    return stats;
}

static inline uint64_t take_zeroed_any(enum loam_zone zone)
{
    const loam_phys page = loam_zero_take(&pool, zone);
    return loam_phys_is_none(page) ? NONE : page.addr / LOAM_PAGE_SIZE;
}

/* Take a frame, with all checks: page, or NONE. */
static inline uint64_t take_zeroed(enum loam_zone zone)
{
    const uint64_t frames = loam_frame_digest(&frame);
    const uint64_t frames_of_pool = loam_zero_digest(&pool);
    const struct loam_zero_stats before = pool_stats();
    const uint64_t page = take_zeroed_any(zone);
    const struct loam_zero_stats after = pool_stats();

    expect_pool_sound();
    assert_int_equal(after.hit_count + after.miss_count,
                     before.hit_count + before.miss_count + ((unsigned)zone < LOAM_ZONES));
    /* Out of the pool, out of the allocator, or neither. */
    const bool is_hit = after.hit_count != before.hit_count;
    assert_int_equal(loam_zero_digest(&pool) != frames_of_pool, is_hit);
    assert_int_equal(loam_frame_digest(&frame) != frames, !is_hit && page != NONE);
    assert_true(page != NONE || !is_hit);
    if (page == NONE)
        return NONE;
    assert_true(is_ram(page, 1));
    assert_true(are_all(page, 1, 0));
    assert_int_equal(loam_frame_free_in(&frame, range_of(page, page + 1)), 0);
    return page;
}

static inline size_t refill(size_t most)
{
    const uint64_t level = loam_zero_level(&pool);
    const size_t done = loam_zero_refill(&pool, most);
    expect_pool_sound();
    assert_int_equal(loam_zero_level(&pool), level + done);
    assert_true(done <= most && level + done <= pool.capacity);
    return done;
}

/* Free a frame that was taken, full of rubbish. */
static inline void give_dirty(uint64_t page)
{
    make_dirty(page, 1);
    give_any(page, 0);
}

static inline void put(uint64_t page)
{
    loam_zero_put(&pool, loam_phys_at(BYTES(page)));
    expect_pool_sound();
}

#endif
