/* dies: paging: what is collected is not held (address, entry) */
#include "paging.h"

int main(void)
{
    struct loam_space_batch batch;
    struct loam_phys_range out[2];
    struct loam_virt_range rest = pages(0, 2);
    if (begin() != 0 || loam_space_tag(&space, pages(0, 1), LOAM_ENTRY_GUARD, 0) != LOAM_OK)
        return 1;
    loam_space_batch_begin(&batch, &space);
    return loam_space_batch_collect(&batch, &rest, out, 2) == 0;
}
