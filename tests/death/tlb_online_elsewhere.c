/* dies: tlb: it came online with another space than the kernel's */
#include "tlb.h"

int main(void)
{
    start();
    loam_tlb_switch(&tlb, &space);
    loam_tlb_online(&tlb);
    return 0;
}
