/* dies: vrange: freed twice */
#include "machine.h"
#include <loam/vrange.h>

int main(void)
{
    struct loam_stock stock;
    struct loam_vrange vrange;
    machine_reset(1);
    machine_add_ram(0x100000, 0x10000);
    loam_stock_init(&stock, machine_hhdm(), NULL);
    loam_stock_add(&stock, loam_phys_range_of(loam_phys_at(0x100000), 0x2000));
    loam_vrange_init(&vrange, &stock, 4, 0);
    const struct loam_virt_range window = { { 0xffffc00000000000 }, 0x100000 };
    const struct loam_vrange_request request = { .page_count = 4 };
    struct loam_virt_range range = { { 0 }, 0x4000 };
    if (loam_vrange_add_window(&vrange, window) != LOAM_OK ||
        loam_vrange_alloc(&vrange, &request, &range.start) != LOAM_OK)
        return 1;
    loam_vrange_free(&vrange, range);
    loam_vrange_cancel(&vrange, range);
    return 0;
}
