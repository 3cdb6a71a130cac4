/* dies: record: wrong order */
#include "record.h"

int main(void)
{
    const loam_phys block = recorded_block(false);
    (void)loam_record_put(&record, block, 2);
    return 0;
}
