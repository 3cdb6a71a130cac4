/* dies: record: not allocated */
#include "record.h"

int main(void)
{
    records(false);
    (void)loam_record_put(&record, loam_frame_alloc(record.frame, 0, LOAM_ZONE_ANY), 0);
    return 0;
}
