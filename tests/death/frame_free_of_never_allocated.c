/* dies: frame: already free */
#include "frame.h"

int main(void)
{
    struct loam_frame frame;
    if (!four_mib(&frame))
        return 1;
    loam_frame_free(&frame, ram.start, 0);
    return 0;
}
