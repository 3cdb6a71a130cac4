/*
 * vrange_world.h - virtual ranges on a simulated machine. Shared by the tests of
 * vrange.c.
 */
#ifndef LOAM_TESTS_VRANGE_WORLD_H
#define LOAM_TESTS_VRANGE_WORLD_H

#include "harness.h"

#include <string.h>

#include <loam/vrange.h>

#include "machine.h"

#define PAGES(n)  ((uint64_t)(n)*LOAM_PAGE_SIZE)
#define RAM_START PAGES(16)
#define HIGH      UINT64_C(0xffffc00000000000) /* where windows are */

static struct loam_stock stock;
static struct loam_vrange vrange;

static struct loam_virt_range virt_pages(uint64_t base, uint64_t start, uint64_t count)
{
    return loam_virt_range_of(loam_virt_at(base + PAGES(start)), PAGES(count));
}

/* No window, and a stock of so many frames. */
static void no_window(uint64_t frames)
{
    machine_reset(2);
    machine_add_ram(RAM_START, PAGES(frames));
    memset(machine_ram(RAM_START), 0xa5, PAGES(frames));
    loam_stock_init(&stock, machine_hhdm(), NULL);
    loam_stock_add(&stock, loam_phys_range_of(loam_phys_at(RAM_START), PAGES(frames)));
    loam_vrange_init(&vrange, &stock, 4, 0);
}

/* One window of so many pages at HIGH. */
static inline void one_window(uint64_t frames, uint64_t pages)
{
    no_window(frames);
    assert_int_equal(loam_vrange_add_window(&vrange, virt_pages(HIGH, 0, pages)), LOAM_OK);
}

/* Sound, and no frame is lost: what the ranges do not have is in the stock. */
static inline void check_sound(void)
{
    const char *broken = loam_vrange_audit(&vrange);
    if (broken != NULL)
        fail_msg("audit: %s", broken);
    assert_null(loam_stock_audit(&stock));
    assert_int_equal(stock.out_count, vrange.node_frame_count);
}

/* The call was refused: nothing is other than it was. */
#define EXPECT_REFUSED(call, why)                                   \
    do {                                                            \
        const uint64_t digest_ = loam_vrange_digest(&vrange);       \
        const uint64_t stock_digest_ = loam_stock_digest(&stock);   \
        assert_int_equal((call), (why));                            \
        assert_int_equal(loam_vrange_digest(&vrange), digest_);     \
        assert_int_equal(loam_stock_digest(&stock), stock_digest_); \
        check_sound();                                              \
    } while (0)

static inline struct loam_vrange_request plain(uint64_t page_count)
{
    const struct loam_vrange_request request = { .page_count = page_count, .name = "plain" };
    return request;
}

/* Allocate; it must work. @return the page after HIGH */
static inline uint64_t alloc(const struct loam_vrange_request *request)
{
    loam_virt at = loam_virt_at(42);
    assert_int_equal(loam_vrange_alloc(&vrange, request, &at), LOAM_OK);
    assert_true(loam_is_page_aligned(at.addr));
    return (at.addr - HIGH) >> LOAM_PAGE_SHIFT;
}

static inline uint64_t alloc_plain(uint64_t page_count)
{
    const struct loam_vrange_request request = plain(page_count);
    return alloc(&request);
}

static inline enum loam_status try_alloc(struct loam_vrange_request request)
{
    loam_virt at = loam_virt_at(42);
    const enum loam_status status = loam_vrange_alloc(&vrange, &request, &at);
    if (status != LOAM_OK)
        assert_int_equal(at.addr, 42);
    return status;
}

static inline enum loam_status reserve_plain(uint64_t page, uint64_t count)
{
    const struct loam_vrange_request request = plain(count);
    return loam_vrange_reserve(&vrange, &request, loam_virt_at(HIGH + PAGES(page)));
}

static inline void free_pages(uint64_t page, uint64_t count)
{
    loam_vrange_free(&vrange, virt_pages(HIGH, page, count));
}

/* Purge all that waits. @return how many ranges */
static inline uint64_t purge(void)
{
    struct loam_vrange_batch batch;
    if (!loam_vrange_purge_begin(&vrange, &batch))
        return 0;
    const uint64_t count = batch.range_count;
    loam_vrange_purge_end(&batch);
    return count;
}

#endif
