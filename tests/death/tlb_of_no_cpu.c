/* dies: tlb: CPU count is not in 1..LOAM_CPUS_MAX */
#include "tlb.h"

int main(void)
{
    start();
    const struct loam_cpu_features features = tlb.features;
    loam_tlb_init(&tlb, &features, 0);
    return 0;
}
