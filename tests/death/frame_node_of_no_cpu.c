/* dies: frame: no such CPU */
#include "frame.h"

int main(void)
{
    struct loam_frame frame;
    if (!four_mib(&frame))
        return 1;
    loam_frame_set_cpu(&frame, 64, 0);
    return 0;
}
