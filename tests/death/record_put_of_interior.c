/* dies: record: inside a block */
#include "record.h"

int main(void)
{
    const loam_phys block = recorded_block(false);
    (void)loam_record_put(&record, loam_phys_at(block.addr + 0x4000), 2);
    return 0;
}
