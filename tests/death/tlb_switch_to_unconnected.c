/* dies: tlb: the space is not connected */
#include "tlb.h"

int main(void)
{
    start();
    struct loam_tlb_space other = { 0 };
    loam_tlb_switch(&tlb, &other);
    return 0;
}
