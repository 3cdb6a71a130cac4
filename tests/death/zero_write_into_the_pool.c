/* dies: zero: frame was written to in the pool */
#include "zero.h"

int main(void)
{
    const loam_phys page = zeroed_frame();
    loam_zero_put(&pool, page);
    *(unsigned char *)machine_ram(page.addr) = 1;
    return loam_phys_is_none(loam_zero_take(&pool, LOAM_ZONE_ANY));
}
