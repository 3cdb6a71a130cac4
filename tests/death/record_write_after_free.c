/* dies: record: written to after it was freed */
#include "record.h"

int main(void)
{
    struct loam_record record;
    if (!records(&record, true))
        return 1;
    const loam_phys block = loam_record_alloc(&record, 3, LOAM_ZONE_ANY);
    (void)loam_record_put(&record, block, 3);
    *(char *)machine_ram(block.addr + 0x7fff) = 1;
    for (int i = 0; i < 128; i++)
        if (loam_phys_is_none(loam_record_alloc(&record, 3, LOAM_ZONE_ANY)))
            return 1;
    return 0;
}
