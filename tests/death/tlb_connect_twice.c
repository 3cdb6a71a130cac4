/* dies: tlb: the space is connected already */
#include "tlb.h"

int main(void)
{
    start();
    loam_tlb_connect(&tlb, &space, loam_phys_at(0x3000), false);
    return 0;
}
