/* dies: vrange: purge was not begun, or has ended */
#include "vrange.h"

int main(void)
{
    purge_of_four_pages();
    loam_vrange_purge_end(&batch);
    loam_vrange_purge_end(&batch);
    return 0;
}
