/* dies: frame: not a frame of this memory */
#include "frame.h"

int main(void)
{
    four_mib_taken();
    loam_frame_free(&frame, loam_phys_at(0x1001000), 1);
    return 0;
}
