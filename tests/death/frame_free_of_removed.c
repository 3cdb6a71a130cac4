/* dies: frame: already free */
#include "frame.h"

int main(void)
{
    const struct loam_phys_range block = loam_phys_range_of(ram.start, loam_order_bytes(9));
    four_mib();
    if (loam_frame_remove(&frame, block) != LOAM_OK)
        return 1;
    loam_frame_free(&frame, loam_phys_at(block.start.addr + LOAM_PAGE_SIZE), 0);
    return 0;
}
