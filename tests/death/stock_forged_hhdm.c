/* dies: stock: direct map not from a boot adapter */
#include <loam/stock.h>

int main(void)
{
    const struct loam_hhdm forged = { UINT64_C(0xffff800000000000), 0 };
    struct loam_stock stock;
    loam_stock_init(&stock, forged, NULL);
    return 0;
}
