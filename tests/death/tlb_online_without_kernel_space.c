/* dies: tlb: no kernel space is connected */
#include "tlb.h"

int main(void)
{
    start();
    const struct loam_cpu_features features = tlb.features;
    loam_tlb_init(&tlb, &features, 2);
    loam_tlb_online(&tlb);
    return 0;
}
