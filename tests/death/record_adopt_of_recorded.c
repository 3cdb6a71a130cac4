/* dies: record: already has a record */
#include "record.h"

int main(void)
{
    struct loam_record record;
    if (!records(&record, false))
        return 1;
    const loam_phys block = loam_record_alloc(&record, 3, LOAM_ZONE_ANY);
    loam_record_adopt(&record, loam_phys_at(block.addr + 0x1000), 0);
    return 0;
}
