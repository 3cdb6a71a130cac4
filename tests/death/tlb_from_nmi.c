/* dies: tlb: called from an NMI */
#include "tlb.h"

int main(void)
{
    start();
    tlb.cpu[0].is_busy = 1; /* it came in the middle of a flush */
    loam_tlb_batch_full(&batch);
    loam_tlb_batch_flush(&batch);
    return 0;
}
