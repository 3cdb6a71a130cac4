/* dies: frame: not a frame of this memory */
#include "frame.h"

int main(void)
{
    four_mib_taken();
    loam_frame_free(&frame, ram.start, 12);
    return 0;
}
