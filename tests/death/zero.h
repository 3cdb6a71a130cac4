/* zero.h - the machine of the death programs about zeroed frames. */
#ifndef LOAM_TESTS_DEATH_ZERO_H
#define LOAM_TESTS_DEATH_ZERO_H

#include "frame.h"
#include "machine.h"

#include <loam/zero.h>

/* A pool with one frame, over four MiB. */
static inline bool one_zeroed_frame(struct loam_zero_pool *pool)
{
    static _Alignas(64) unsigned char memory[1024];
    static struct loam_frame frame;

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
    return four_mib(&frame) && loam_zero_init(pool, &setup) == LOAM_OK &&
           loam_zero_refill(pool, 1) == 1;
}

#endif
