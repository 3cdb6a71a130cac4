/* dies: frame: already free */
#include "frame.h"

int main(void)
{
    four_mib_taken();
    loam_frame_release(&frame, ram);
    loam_frame_release(&frame, ram);
    return 0;
}
