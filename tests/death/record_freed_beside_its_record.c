/* dies: record: already has a record */
#include "record.h"

int main(void)
{
    const loam_phys block = recorded_block(false);
    loam_frame_free(record.frame, block, 3);
    all_blocks();
    return 0;
}
