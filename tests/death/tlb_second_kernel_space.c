/* dies: tlb: one kernel space is connected, before all others */
#include "tlb.h"

int main(void)
{
    start();
    struct loam_tlb_space other = { 0 };
    loam_tlb_connect(&tlb, &other, loam_phys_at(0x3000), true);
    return 0;
}
