/* dies: frame: already free */
#include "frame.h"
#include "machine.h"

int main(void)
{
    machine_reset(2);
    four_mib();
    const loam_phys mine = loam_frame_alloc(&frame, 0, LOAM_ZONE_ANY);
    const loam_phys next = loam_frame_alloc(&frame, 0, LOAM_ZONE_ANY);
    loam_phys waits = loam_phys_at(mine.addr & ~UINT64_C(0x3ffff)); /* the same 64 frames */
    while (waits.addr == mine.addr || waits.addr == next.addr)
        waits.addr += LOAM_PAGE_SIZE;
    machine_set_cpu(1);
    loam_frame_free(&frame, waits, 0);
    return 0;
}
