/* dies: frame: not a frame of this memory */
#include <loam/frame.h>

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
    if (loam_frame_init(&frame, &setup) != LOAM_OK)
        return 1;
    loam_frame_free(&frame, loam_phys_at(0x1400000), 0);
    return 0;
}
