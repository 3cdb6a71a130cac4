/* dies: tlb: a CPU beyond those announced */
#include "tlb.h"

int main(void)
{
    start();
    tlb.cpu_count = 1;
    machine_set_cpu(1);
    loam_tlb_online(&tlb);
    return 0;
}
