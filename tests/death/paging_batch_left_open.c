/* dies: paging: batch was never finished */
#include "paging.h"

int main(void)
{
    if (begin() != 0 || map(0, 2, 0x40000000) != 0)
        return 1;
    {
        LOAM_SPACE_BATCH(batch, &space);
        if (loam_space_batch_unmap(&batch, pages(0, 1)) != LOAM_OK)
            return 1; /* dies here, too */
    }
    return 0;
}
