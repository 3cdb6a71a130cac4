/* dies: frame: already free */
#include "frame.h"
#include "machine.h"

int main(void)
{
    machine_reset(2);
    four_mib();
    const loam_phys page = loam_frame_alloc(&frame, 0, LOAM_ZONE_ANY);
    loam_frame_free(&frame, page, 0);
    machine_set_cpu(1);
    loam_frame_free(&frame, page, 0);
    return 0;
}
