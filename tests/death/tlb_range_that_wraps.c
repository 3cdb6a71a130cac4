/* dies: tlb: range is not in one half */
#include "tlb.h"

int main(void)
{
    start();
    loam_tlb_batch_add(&batch, loam_virt_range_of(loam_virt_at(UINT64_MAX - 0xfff), 0x2000),
                       0x1000);
    return 0;
}
