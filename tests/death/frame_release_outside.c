/* dies: frame: not a frame of this memory */
#include "frame.h"

int main(void)
{
    struct loam_frame frame;
    if (!four_mib(&frame))
        return 1;
    if (loam_frame_reserve(&frame, ram) != LOAM_OK)
        return 1;
    loam_frame_release(&frame, loam_phys_range_of(ram.start, ram.size + LOAM_PAGE_SIZE));
    return 0;
}
