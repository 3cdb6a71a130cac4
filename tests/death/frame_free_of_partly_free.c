/* dies: frame: already free */
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
    const loam_phys page = loam_frame_alloc(&frame, 4, LOAM_ZONE_ANY);
    loam_frame_free(&frame, loam_phys_at(page.addr + 5 * LOAM_PAGE_SIZE), 0);
    loam_frame_free(&frame, page, 4);
    return 0;
}
