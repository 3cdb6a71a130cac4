/* dies: record: wrong order */
#include "record.h"

int main(void)
{
    const loam_phys block = recorded_block(false);
    const loam_phys other = loam_record_alloc(&record, 3, LOAM_ZONE_ANY);
    (void)loam_record_put(&record, block.addr < other.addr ? block : other, 4);
    return 0;
}
