/* dies: vrange: wrong size */
#include "vrange.h"

int main(void)
{
    four_pages();
    range.size = 0x5000;
    loam_vrange_free(&vrange, range);
    return 0;
}
