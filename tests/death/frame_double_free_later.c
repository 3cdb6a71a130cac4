/* dies: frame: already free */
#include "frame.h"

int main(void)
{
    four_mib();
    const loam_phys page = loam_frame_alloc(&frame, 0, LOAM_ZONE_ANY);
    for (unsigned i = 0; i < 200; i++)
        loam_frame_free(&frame, loam_frame_alloc(&frame, 3, LOAM_ZONE_ANY), 3);
    loam_frame_free(&frame, page, 0);
    const loam_phys others = loam_frame_alloc(&frame, 2, LOAM_ZONE_ANY);
    loam_frame_free(&frame, others, 2);
    loam_frame_free(&frame, page, 0);
    return 0;
}
