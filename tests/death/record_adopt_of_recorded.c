/* dies: record: already has a record */
#include "record.h"

int main(void)
{
    const loam_phys block = recorded_block(false);
    loam_record_adopt(&record, loam_phys_at(block.addr + 0x1000), 0);
    return 0;
}
