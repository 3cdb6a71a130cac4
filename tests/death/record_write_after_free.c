/* dies: record: written to after it was freed */
#include "record.h"

int main(void)
{
    const loam_phys block = recorded_block(true);
    (void)loam_record_put(&record, block, 3);
    *(char *)machine_ram(block.addr + 0x7fff) = 1;
    all_blocks();
    return 0;
}
