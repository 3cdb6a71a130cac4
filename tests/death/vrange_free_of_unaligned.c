/* dies: vrange: address is not page-aligned */
#include "vrange.h"

int main(void)
{
    four_pages();
    range.start.addr += 16;
    loam_vrange_free(&vrange, range);
    return 0;
}
