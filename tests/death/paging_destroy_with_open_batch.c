/* dies: paging: batch was never finished */
#include "paging.h"

int main(void)
{
    struct loam_space_batch batch;
    if (begin() != 0)
        return 1;
    loam_space_batch_begin(&batch, &space);
    (void)!loam_space_destroy(&space);
    return 0;
}
