/* dies: stock: no frames asked for */
#include "machine.h"
#include <loam/stock.h>

int main(void)
{
    struct loam_stock stock;
    machine_reset(1);
    machine_add_ram(0x100000, 0x10000);
    loam_stock_init(&stock, machine_hhdm(), NULL);
    loam_phys list;
    return loam_stock_take(&stock, 0, &list) != LOAM_OK;
}
