/* dies: vrange: no range here */
#include "vrange.h"

int main(void)
{
    purge_of_four_pages();
    loam_vrange_purge_end(&batch);
    loam_vrange_free(&vrange, range);
    return 0;
}
