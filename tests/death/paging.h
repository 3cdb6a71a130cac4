/*
 * paging.h - a space with a stock of tables: what programs that die in paging begin with.
 */
#ifndef LOAM_TESTS_DEATH_PAGING_H
#define LOAM_TESTS_DEATH_PAGING_H

#include <loam/paging.h>

#include "machine.h"

#define PAGE  UINT64_C(4096)
#define LOWER UINT64_C(0x400000000000)

static struct loam_stock stock;
static struct loam_space space;
static const struct loam_attr rw = { LOAM_PROT_WRITE, LOAM_CACHE_WB };

static inline struct loam_virt_range pages(uint64_t first, uint64_t count)
{
    return loam_virt_range_of(loam_virt_at(LOWER + first * PAGE), count * PAGE);
}

/* @return 0; 1: this did not work */
static inline int begin(void)
{
    machine_reset(1);
    machine_add_ram(0x100000, 64 * PAGE);
    loam_stock_init(&stock, machine_hhdm(), NULL);
    loam_stock_add(&stock, loam_phys_range_of(loam_phys_at(0x100000), 64 * PAGE));
    const struct loam_cpu_features features = loam_cpu_identify();
    return loam_space_init(&space, &stock, &features) == LOAM_OK ? 0 : 1;
}

static inline int map(uint64_t first, uint64_t count, uint64_t phys)
{
    return loam_space_map(&space, pages(first, count), loam_phys_at(phys), rw) == LOAM_OK ? 0 : 1;
}

#endif
