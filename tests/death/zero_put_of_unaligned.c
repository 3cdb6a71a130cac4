/* dies: zero: not a page frame */
#include "zero.h"

int main(void)
{
    struct loam_zero_pool pool;
    if (!one_zeroed_frame(&pool))
        return 1;
    const loam_phys page = loam_zero_take(&pool, LOAM_ZONE_ANY);
    loam_zero_put(&pool, loam_phys_at(page.addr + 8));
    return 0;
}
