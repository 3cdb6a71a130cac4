/* dies: frame: already free */
#include "frame.h"

int main(void)
{
    four_mib_taken();
    loam_frame_free(&frame, loam_phys_at(0x1233000), 0);
    loam_frame_release(&frame, ram);
    return 0;
}
