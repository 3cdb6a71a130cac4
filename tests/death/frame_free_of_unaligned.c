/* dies: frame: not a frame of this memory */
#include "frame.h"

int main(void)
{
    four_mib();
    const loam_phys page = loam_frame_alloc(&frame, 0, LOAM_ZONE_ANY);
    loam_frame_free(&frame, loam_phys_at(page.addr + 8), 0);
    return 0;
}
