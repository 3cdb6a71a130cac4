/*
 * nodes.h - a stock of frames for the books of what is fuzzed, some of which are hidden
 * from it now and then.
 */
#ifndef LOAM_FUZZ_NODES_H
#define LOAM_FUZZ_NODES_H

#include <loam/stock.h>

#include "fuzz.h"
#include "machine.h"

#define NODES_MAX 200u /* frames */
#define NODES_AT  UINT64_C(0x100000)

struct nodes {
    struct loam_stock stock;
    loam_phys hidden[NODES_MAX];
    unsigned hidden_count;
};

/* Begin with so many frames. The machine has no other RAM. */
static inline void nodes_start(struct nodes *nodes, unsigned frame_count)
{
    static bool powered;
    if (!powered) {
        machine_reset(1);
        machine_add_ram(NODES_AT, NODES_MAX * LOAM_PAGE_SIZE);
        powered = true;
    }
    nodes->hidden_count = 0;
    loam_stock_init(&nodes->stock, machine_hhdm(), NULL);
    loam_stock_add(&nodes->stock,
                   loam_phys_range_of(loam_phys_at(NODES_AT), frame_count * LOAM_PAGE_SIZE));
}

/* Give all that is hidden back, and leave the stock so many frames at most. */
static inline void nodes_hide(struct nodes *nodes, unsigned rest)
{
    while (nodes->hidden_count > 0) {
        const loam_phys frame = nodes->hidden[--nodes->hidden_count];
        loam_stock_add(&nodes->stock, loam_phys_range_of(frame, LOAM_PAGE_SIZE));
    }
    while (loam_stock_level(&nodes->stock) > rest)
        nodes->hidden[nodes->hidden_count++] = loam_stock_remove(&nodes->stock);
}

#endif
