/* dies: record: block is shared */
#include "record.h"

int main(void)
{
    const loam_phys block = recorded_block(false);
    loam_record_get(&record, block);
    loam_record_split(&record, block, 3);
    return 0;
}
