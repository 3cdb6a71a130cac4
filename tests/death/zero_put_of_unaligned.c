/* dies: zero: not a page frame */
#include "zero.h"

int main(void)
{
    const loam_phys page = zeroed_frame();
    loam_zero_put(&pool, loam_phys_at(page.addr + 8));
    return 0;
}
