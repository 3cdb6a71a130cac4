/*
 * usage_world.h - an interval map on a simulated machine. Shared by the tests of
 * usage.c.
 */
#ifndef LOAM_TESTS_USAGE_WORLD_H
#define LOAM_TESTS_USAGE_WORLD_H

#include "harness.h"

#include <string.h>

#include <loam/usage.h>

#include "machine.h"

#define PAGES(n)  ((uint64_t)(n)*LOAM_PAGE_SIZE)
#define RAM_START PAGES(16)

static struct loam_stock stock;
static struct loam_usage usage;

/* An empty map over a stock of so many frames. */
static void empty_map(uint64_t frames)
{
    machine_reset(2);
    machine_add_ram(RAM_START, PAGES(frames));
    memset(machine_ram(RAM_START), 0xa5, PAGES(frames));
    loam_stock_init(&stock, machine_hhdm(), NULL);
    loam_stock_add(&stock, loam_phys_range_of(loam_phys_at(RAM_START), PAGES(frames)));
    loam_usage_init(&usage, &stock);
}

static struct loam_phys_range bytes(uint64_t start, uint64_t size)
{
    return loam_phys_range_of(loam_phys_at(start), size);
}

static struct loam_phys_range pages(uint64_t start, uint64_t count)
{
    return bytes(PAGES(start), PAGES(count));
}

/* Sound, and no frame is lost: what the map does not have is in the stock. */
static inline void check_sound(void)
{
    const char *broken = loam_usage_audit(&usage);
    if (broken != NULL)
        fail_msg("audit: %s", broken);
    assert_null(loam_stock_audit(&stock));
    assert_int_equal(stock.out_count, usage.node_frame_count);
}

/* An empty map has no node; in all others leaves are half full, but a lone one. */
static inline void check_thrifty(void)
{
    assert_true(usage.leaves.used_count <= usage.interval_count / 16 + (usage.interval_count > 0));
    assert_true(usage.inners.used_count <= usage.leaves.used_count / 27 + usage.height);
    assert_true(usage.node_frame_count <= usage.leaves.used_count + usage.inners.used_count);
}

/* The call was refused: the map is what it was. */
#define EXPECT_REFUSED(call, why)                                   \
    do {                                                            \
        const uint64_t digest_ = loam_usage_digest(&usage);         \
        const uint64_t stock_digest_ = loam_stock_digest(&stock);   \
        assert_int_equal((call), (why));                            \
        assert_int_equal(loam_usage_digest(&usage), digest_);       \
        assert_int_equal(loam_stock_digest(&stock), stock_digest_); \
        check_sound();                                              \
    } while (0)

/* Intervals of one page with gaps between, from 0 on, alternating owners. */
static inline void fill(uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        assert_int_equal(loam_usage_insert(&usage, pages(2 * i, 1),
                                           i % 2 == 0 ? LOAM_OWNER_USABLE : LOAM_OWNER_KERNEL),
                         LOAM_OK);
}

#endif
