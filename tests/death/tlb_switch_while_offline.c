/* dies: tlb: this CPU is not online */
#include "tlb.h"

int main(void)
{
    start();
    machine_set_cpu(1);
    loam_tlb_switch(&tlb, &space);
    return 0;
}
