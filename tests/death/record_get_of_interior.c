/* dies: record: inside a block */
#include "record.h"

int main(void)
{
    const loam_phys block = recorded_block(false);
    loam_record_get(&record, loam_phys_at(block.addr + 0x1000));
    return 0;
}
