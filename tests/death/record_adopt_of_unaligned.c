/* dies: record: not a frame of this memory */
#include "record.h"

int main(void)
{
    struct loam_record record;
    if (!records(&record, false))
        return 1;
    loam_record_adopt(&record, loam_phys_at(0x1001000), 1);
    return 0;
}
