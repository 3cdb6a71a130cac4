/* dies: tlb: no page has this size */
#include "tlb.h"

int main(void)
{
    start();
    loam_tlb_batch_add(&batch, loam_virt_range_of(loam_virt_at(0x1000), 0x2000), 0x2000);
    return 0;
}
