/* dies: paging: direct map not from a boot adapter */
#include <loam/paging.h>

#include "machine.h"

int main(void)
{
    struct loam_stock stock;
    struct loam_space space;
    machine_reset(1);
    machine_add_ram(0x100000, 0x10000);
    loam_stock_init(&stock, machine_hhdm(), NULL);
    loam_stock_add(&stock, loam_phys_range_of(loam_phys_at(0x100000), 0x10000));
    stock.hhdm.seal = 0;
    const struct loam_cpu_features features = loam_cpu_identify();
    return loam_space_init(&space, &stock, &features) == LOAM_OK;
}
