/* dies: frame: already free */
#include "frame.h"

int main(void)
{
    four_mib();
    const loam_phys page = loam_frame_alloc(&frame, 4, LOAM_ZONE_ANY);
    loam_frame_free(&frame, loam_phys_at(page.addr + 5 * LOAM_PAGE_SIZE), 0);
    loam_frame_free(&frame, page, 4);
    return 0;
}
