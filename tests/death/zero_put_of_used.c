/* dies: zero: frame put back is not zero */
#include "zero.h"

int main(void)
{
    struct loam_zero_pool pool;
    if (!one_zeroed_frame(&pool))
        return 1;
    const loam_phys page = loam_zero_take(&pool, LOAM_ZONE_ANY);
    *(unsigned char *)machine_ram(page.addr + 4095) = 1;
    loam_zero_put(&pool, page);
    return 0;
}
