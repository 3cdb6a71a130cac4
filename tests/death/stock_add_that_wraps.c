/* dies: stock: range added passes 2^64 */
#include "machine.h"
#include <loam/stock.h>

int main(void)
{
    struct loam_stock stock;
    machine_reset(1);
    machine_add_ram(0x100000, 0x10000);
    loam_stock_init(&stock, machine_hhdm(), NULL);
    loam_stock_add(&stock, loam_phys_range_of(loam_phys_at(UINT64_MAX - 0xfff), 0x2000));
    return 0;
}
