/* dies: record: not allocated */
#include "record.h"

int main(void)
{
    struct loam_record record;
    if (!records(&record, true))
        return 1;
    const loam_phys block = loam_record_alloc(&record, 3, LOAM_ZONE_ANY);
    (void)loam_record_put(&record, block, 3);
    (void)loam_record_put(&record, block, 3);
    return 0;
}
