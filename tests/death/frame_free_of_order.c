/* dies: frame: order is too large */
#include "frame.h"

int main(void)
{
    four_mib();
    const loam_phys page = loam_frame_alloc(&frame, 0, LOAM_ZONE_ANY);
    loam_frame_free(&frame, page, LOAM_ORDER_MAX + 1);
    return 0;
}
