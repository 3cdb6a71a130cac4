/* frame.h - the machine of the frame allocator's death programs. */
#ifndef LOAM_TESTS_DEATH_FRAME_H
#define LOAM_TESTS_DEATH_FRAME_H

#include <loam/frame.h>
#include <stdlib.h>

static const struct loam_phys_range ram = { { 0x1000000 }, 0x400000 };
static struct loam_frame frame;

/* All frames of ram free, for two CPUs. */
static inline void four_mib(void)
{
    static _Alignas(64) unsigned char memory[8192];
    const struct loam_frame_setup setup = {
        .range = &ram,
        .range_count = 1,
        .cpu_count = 2,
        .memory = memory,
        .memory_bytes = sizeof memory,
    };

    if (loam_frame_init(&frame, &setup) != LOAM_OK)
        exit(1);
}

/* All frames of ram in use, by one request. */
static inline void four_mib_taken(void)
{
    four_mib();
    if (loam_frame_reserve(&frame, ram) != LOAM_OK)
        exit(1);
}

#endif
