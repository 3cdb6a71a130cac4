/* dies: record: not a frame of this memory */
#include "record.h"

int main(void)
{
    records(false);
    loam_record_adopt(&record, loam_phys_at(0x1001000), 1);
    return 0;
}
