/* dies: frame: not a frame of this memory */
#include "frame.h"

int main(void)
{
    struct loam_frame frame;
    if (!four_mib(&frame))
        return 1;
    loam_frame_free(&frame, loam_phys_at(0), 0);
    return 0;
}
