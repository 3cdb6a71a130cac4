/* dies: stock: not a page frame */
#include "machine.h"
#include <loam/stock.h>

int main(void)
{
    struct loam_stock stock;
    machine_reset(1);
    machine_add_ram(0x100000, 0x10000);
    loam_stock_init(&stock, machine_hhdm(), NULL);
    loam_stock_put(&stock, loam_phys_at(0x100010));
    return 0;
}
