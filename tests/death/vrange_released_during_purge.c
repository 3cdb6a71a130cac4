/* dies: vrange: released during a purge */
#include "vrange.h"

int main(void)
{
    purge_of_four_pages();
    loam_vrange_release(&vrange);
    return 0;
}
