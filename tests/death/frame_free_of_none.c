/* dies: frame: not a frame of this memory */
#include "frame.h"

int main(void)
{
    four_mib();
    loam_frame_free(&frame, loam_phys_none(), 0);
    return 0;
}
