/* dies: paging: no room for what is collected */
#include "paging.h"

int main(void)
{
    struct loam_space_batch batch;
    struct loam_phys_range out[2];
    struct loam_virt_range rest = pages(0, 2);
    if (begin() != 0 || false)
        return 1;
    loam_space_batch_begin(&batch, &space);
    return loam_space_batch_collect(&batch, &rest, out, 0) == 0;
}
