/* dies: record: not a frame of this memory */
#include "record.h"

int main(void)
{
    const loam_phys block = recorded_block(false);
    (void)loam_record_put(&record, loam_phys_at(block.addr + 8), 3);
    return 0;
}
