/* zero.h - the machine of the death programs about zeroed frames. */
#ifndef LOAM_TESTS_DEATH_ZERO_H
#define LOAM_TESTS_DEATH_ZERO_H

#include "frame.h"
#include "machine.h"

#include <loam/zero.h>

static struct loam_zero_pool pool;

/* A frame out of a pool over four MiB that had no other one. */
static inline loam_phys zeroed_frame(void)
{
    static _Alignas(64) unsigned char memory[1024];

    machine_reset(2);
    machine_add_ram(ram.start.addr, ram.size);
    const struct loam_zero_setup setup = {
        .frame = &frame,
        .hhdm = machine_hhdm(),
        .cpu_count = 2,
        .capacity = 8,
        .memory = memory,
        .memory_bytes = sizeof memory,
    };
    four_mib();
    if (loam_zero_init(&pool, &setup) != LOAM_OK || loam_zero_refill(&pool, 1) != 1)
        exit(1);
    return loam_zero_take(&pool, LOAM_ZONE_ANY);
}

#endif
