/* dies: vrange: no range here */
#include "vrange.h"

int main(void)
{
    four_pages();
    range.start.addr += 0x1000000;
    loam_vrange_free(&vrange, range);
    return 0;
}
