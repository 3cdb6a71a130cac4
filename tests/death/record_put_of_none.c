/* dies: record: not a frame of this memory */
#include "record.h"

int main(void)
{
    struct loam_record record;
    if (!records(&record, false))
        return 1;
    (void)loam_record_put(&record, loam_phys_none(), 0);
    return 0;
}
