/* dies: paging: a large entry reaches over what is collected */
#include "paging.h"

int main(void)
{
    struct loam_space_batch batch;
    struct loam_phys_range out[2];
    struct loam_virt_range rest = pages(0, 1);
    if (begin() != 0 || map(0, 512, 0x40000000) != 0)
        return 1;
    loam_space_batch_begin(&batch, &space);
    if (loam_space_batch_detach(&batch, pages(0, 512)) != LOAM_OK)
        return 1;
    loam_space_batch_finish(&batch);
    loam_space_batch_begin(&batch, &space);
    return loam_space_batch_collect(&batch, &rest, out, 2) == 0;
}
