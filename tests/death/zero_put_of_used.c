/* dies: zero: frame put back is not zero */
#include "zero.h"

int main(void)
{
    const loam_phys page = zeroed_frame();
    *(unsigned char *)machine_ram(page.addr + 4095) = 1;
    loam_zero_put(&pool, page);
    return 0;
}
