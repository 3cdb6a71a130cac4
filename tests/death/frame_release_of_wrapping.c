/* dies: frame: not a frame of this memory */
#include "frame.h"

int main(void)
{
    four_mib();
    loam_frame_release(&frame, loam_phys_range_of(loam_phys_at(UINT64_MAX - 4095), LOAM_PAGE_SIZE));
    return 0;
}
