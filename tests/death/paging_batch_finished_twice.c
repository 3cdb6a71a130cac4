/* dies: paging: batch is finished or was never begun */
#include "paging.h"

int main(void)
{
    struct loam_space_batch batch;
    if (begin() != 0)
        return 1;
    loam_space_batch_begin(&batch, &space);
    loam_space_batch_finish(&batch);
    loam_space_batch_finish(&batch);
    return 0;
}
