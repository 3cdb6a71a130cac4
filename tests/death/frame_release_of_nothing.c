/* dies: frame: not a frame of this memory */
#include "frame.h"

int main(void)
{
    four_mib();
    loam_frame_release(&frame, loam_phys_range_of(ram.start, 0));
    return 0;
}
