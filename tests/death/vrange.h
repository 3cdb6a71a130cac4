/* vrange.h - the machine of the death programs of virtual ranges. */
#ifndef LOAM_TESTS_DEATH_VRANGE_H
#define LOAM_TESTS_DEATH_VRANGE_H

#include "machine.h"

#include <loam/vrange.h>
#include <stdlib.h>

static struct loam_vrange vrange;
static struct loam_virt_range range;
static struct loam_vrange_batch batch;

/* A range of four pages behind a guard, in a window of 1 MiB. */
static inline void four_pages(void)
{
    static struct loam_stock stock;
    const struct loam_virt_range window = { { 0xffffc00000000000 }, 0x100000 };
    const struct loam_vrange_request request = { .page_count = 4, .guard_before = 1 };

    machine_reset(1);
    machine_add_ram(0x100000, 0x10000);
    loam_stock_init(&stock, machine_hhdm(), NULL);
    loam_stock_add(&stock, loam_phys_range_of(loam_phys_at(0x100000), 0x2000));
    loam_vrange_init(&vrange, &stock, 4, 0);
    range.size = 0x4000;
    if (loam_vrange_add_window(&vrange, window) != LOAM_OK ||
        loam_vrange_alloc(&vrange, &request, &range.start) != LOAM_OK)
        exit(1);
}

/* The same, freed and on its way out. */
static inline void purge_of_four_pages(void)
{
    four_pages();
    loam_vrange_free(&vrange, range);
    if (!loam_vrange_purge_begin(&vrange, &batch))
        exit(1);
}

#endif
