/* dies: record: not a frame of this memory */
#include "record.h"

int main(void)
{
    records(false);
    (void)loam_record_put(&record, loam_phys_none(), 0);
    return 0;
}
