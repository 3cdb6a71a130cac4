/* dies: paging: space that ends holds frames */
#include "paging.h"

int main(void)
{
    const loam_phys frame = { 0x40000000 };
    if (begin() != 0 || loam_space_hold(&space, loam_virt_at(LOWER), &frame, 1) != LOAM_OK)
        return 1;
    (void)!loam_space_destroy(&space);
    return 0;
}
