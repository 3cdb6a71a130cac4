/* dies: record: wrong order */
#include "record.h"

int main(void)
{
    const loam_phys block = recorded_block(false);
    loam_record_split(&record, block, 3);
    loam_record_split(&record, block, 3);
    return 0;
}
