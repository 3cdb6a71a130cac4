/* dies: tlb: range is not whole pages */
#include "tlb.h"

int main(void)
{
    start();
    loam_tlb_batch_add(&batch, loam_virt_range_of(loam_virt_at(0x200000), 0x1000), 0x200000);
    return 0;
}
