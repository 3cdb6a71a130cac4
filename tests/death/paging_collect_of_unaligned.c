/* dies: paging: what is collected is no range of pages */
#include "paging.h"

int main(void)
{
    struct loam_space_batch batch;
    struct loam_phys_range out[2];
    struct loam_virt_range rest = loam_virt_range_of(loam_virt_at(LOWER + 1), PAGE);
    if (begin() != 0 || false)
        return 1;
    loam_space_batch_begin(&batch, &space);
    return loam_space_batch_collect(&batch, &rest, out, 2) == 0;
}
