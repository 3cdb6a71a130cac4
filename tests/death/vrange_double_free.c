/* dies: vrange: freed twice */
#include "vrange.h"

int main(void)
{
    four_pages();
    loam_vrange_free(&vrange, range);
    loam_vrange_free(&vrange, range);
    return 0;
}
