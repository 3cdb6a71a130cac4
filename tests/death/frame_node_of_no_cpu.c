/* dies: frame: no such CPU */
#include "frame.h"

int main(void)
{
    four_mib();
    loam_frame_set_cpu(&frame, 64, 0);
    return 0;
}
