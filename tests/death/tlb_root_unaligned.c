/* dies: tlb: root is not the address of a table */
#include "tlb.h"

int main(void)
{
    start();
    struct loam_tlb_space other = { 0 };
    loam_tlb_connect(&tlb, &other, loam_phys_at(0x3008), false);
    return 0;
}
