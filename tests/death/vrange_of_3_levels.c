/* dies: vrange: neither 4 nor 5 paging levels */
#include "machine.h"
#include <loam/vrange.h>

int main(void)
{
    struct loam_stock stock;
    struct loam_vrange vrange;
    machine_reset(1);
    loam_stock_init(&stock, machine_hhdm(), NULL);
    loam_vrange_init(&vrange, &stock, 3, 0);
    return 0;
}
