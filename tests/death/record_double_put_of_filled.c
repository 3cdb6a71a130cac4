/* dies: record: not allocated */
#include "record.h"

int main(void)
{
    const loam_phys block = recorded_block(true);
    (void)loam_record_put(&record, block, 3);
    (void)loam_record_put(&record, block, 3);
    return 0;
}
