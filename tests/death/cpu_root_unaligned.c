/* dies: cpu: root is not the address of a table */
#include <loam/cpu.h>

#include "machine.h"

int main(void)
{
    machine_reset(1);
    const struct loam_cpu_features features = loam_cpu_identify();
    return loam_cpu_enter(&features, loam_phys_at(0x1008)) == LOAM_OK;
}
