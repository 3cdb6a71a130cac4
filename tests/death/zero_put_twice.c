/* dies: zero: frame put back twice */
#include "zero.h"

int main(void)
{
    const loam_phys page = zeroed_frame();
    loam_zero_put(&pool, page);
    loam_zero_put(&pool, page);
    return 0;
}
