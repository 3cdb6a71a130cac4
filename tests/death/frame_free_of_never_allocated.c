/* dies: frame: already free */
#include "frame.h"

int main(void)
{
    four_mib();
    loam_frame_free(&frame, ram.start, 0);
    return 0;
}
