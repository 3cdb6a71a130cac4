/* dies: frame: already free */
#include <loam/frame.h>

#include "machine.h"

static _Alignas(64) unsigned char memory[8192];

int main(void)
{
    const struct loam_phys_range range = { { 0x1000000 }, 0x400000 };
    const struct loam_frame_setup setup = {
        .range = &range,
        .range_count = 1,
        .cpu_count = 2,
        .memory = memory,
        .memory_bytes = sizeof memory,
    };
    struct loam_frame frame;
    machine_reset(2);
    if (loam_frame_init(&frame, &setup) != LOAM_OK)
        return 1;
    const loam_phys mine = loam_frame_alloc(&frame, 0, LOAM_ZONE_ANY);
    const loam_phys next = loam_frame_alloc(&frame, 0, LOAM_ZONE_ANY);
    loam_phys waits = loam_phys_at(mine.addr & ~UINT64_C(0x3ffff)); /* the same 64 frames */
    while (waits.addr == mine.addr || waits.addr == next.addr)
        waits.addr += LOAM_PAGE_SIZE;
    machine_set_cpu(1);
    loam_frame_free(&frame, waits, 0);
    return 0;
}
