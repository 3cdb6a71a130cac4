/* dies: frame: already free */
#include "frame.h"

int main(void)
{
    struct loam_frame frame;
    if (!four_mib(&frame))
        return 1;
    if (loam_frame_reserve(&frame, ram) != LOAM_OK)
        return 1;
    loam_frame_free(&frame, loam_phys_at(0x1233000), 0);
    loam_frame_release(&frame, ram);
    return 0;
}
