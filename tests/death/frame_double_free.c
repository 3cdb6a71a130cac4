/* dies: frame: already free */
#include "frame.h"

int main(void)
{
    four_mib();
    const loam_phys page = loam_frame_alloc(&frame, 0, LOAM_ZONE_ANY);
    loam_frame_free(&frame, page, 0);
    loam_frame_free(&frame, page, 0);
    return 0;
}
