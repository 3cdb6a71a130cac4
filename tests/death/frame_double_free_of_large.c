/* dies: frame: already free */
#include "frame.h"

int main(void)
{
    four_mib();
    const loam_phys page = loam_frame_alloc(&frame, 9, LOAM_ZONE_ANY);
    loam_frame_free(&frame, page, 9);
    loam_frame_free(&frame, page, 9);
    return 0;
}
