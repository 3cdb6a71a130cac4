/* dies: record: already has a record */
#include "record.h"

int main(void)
{
    struct loam_record record;
    if (!records(&record, false))
        return 1;
    const loam_phys block = loam_record_alloc(&record, 3, LOAM_ZONE_ANY);
    loam_frame_free(record.frame, block, 3);
    for (int i = 0; i < 128; i++)
        if (loam_phys_is_none(loam_record_alloc(&record, 3, LOAM_ZONE_ANY)))
            return 1;
    return 0;
}
