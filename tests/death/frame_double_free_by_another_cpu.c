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
    const loam_phys page = loam_frame_alloc(&frame, 0, LOAM_ZONE_ANY);
    loam_frame_free(&frame, page, 0);
    machine_set_cpu(1);
    loam_frame_free(&frame, page, 0);
    return 0;
}
