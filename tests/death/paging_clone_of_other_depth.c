/* dies: paging: clone of a space of another kind */
#include "paging.h"

int main(void)
{
    static struct loam_space other;
    if (begin() != 0)
        return 1;
    struct loam_cpu_features features = loam_cpu_identify();
    features.levels = 5;
    if (loam_space_init(&other, &stock, &features) != LOAM_OK)
        return 1;
    return loam_space_clone(&other, &space) == LOAM_OK;
}
