/* dies: tlb: it goes offline without the kernel space loaded */
#include "tlb.h"

int main(void)
{
    start();
    loam_tlb_switch(&tlb, &space);
    loam_tlb_offline(&tlb);
    return 0;
}
