/* dies: stock: frame put back twice */
#include "machine.h"
#include <loam/stock.h>

int main(void)
{
    struct loam_stock stock;
    machine_reset(1);
    machine_add_ram(0x100000, 0x10000);
    loam_stock_init(&stock, machine_hhdm(), NULL);
    loam_phys list;
    loam_stock_add(&stock, loam_phys_range_of(loam_phys_at(0x100000), 0x3000));
    if (loam_stock_take(&stock, 3, &list) != LOAM_OK)
        return 1;
    const loam_phys frame = loam_stock_next(&stock, &list);
    loam_stock_put(&stock, frame);
    loam_stock_put(&stock, loam_stock_next(&stock, &list));
    loam_stock_put(&stock, frame);
    return 0;
}
