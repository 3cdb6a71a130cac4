/* dies: frame: already free */
#include "frame.h"

int main(void)
{
    four_mib();
    const loam_phys page = loam_frame_alloc(&frame, 0, LOAM_ZONE_ANY);
    const loam_phys twice[2] = { page, page };
    loam_frame_free_bulk(&frame, twice, 2);
    return 0;
}
