/* dies: record: wrong order */
#include "record.h"

int main(void)
{
    struct loam_record record;
    if (!records(&record, false))
        return 1;
    const loam_phys block = loam_record_alloc(&record, 3, LOAM_ZONE_ANY);
    loam_record_split(&record, block, 3);
    loam_record_split(&record, block, 3);
    return 0;
}
