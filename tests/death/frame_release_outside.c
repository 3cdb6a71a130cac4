/* dies: frame: not a frame of this memory */
#include "frame.h"

int main(void)
{
    four_mib_taken();
    loam_frame_release(&frame, loam_phys_range_of(ram.start, ram.size + LOAM_PAGE_SIZE));
    return 0;
}
