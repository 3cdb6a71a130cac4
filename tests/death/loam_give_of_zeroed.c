/* dies: loam: frame given back is free, and zeroed */
#include "loam_world.h"

int main(void)
{
    small_machine(1);
    if (loam_init(&mm, &boot, &refusal) != LOAM_OK || loam_idle(&mm, 1) != 1 ||
        loam_phys_is_none(loam_take_frames(&mm, 0, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL)))
        return 1;
    uint64_t zeroed = MIB(2);
    while (zeroed < MIB(64) && !loam_zero_has(&mm.zeroed, loam_phys_at(zeroed)))
        zeroed += LOAM_PAGE_SIZE;
    loam_give_frames(&mm, loam_phys_at(zeroed), 0, LOAM_OWNER_KERNEL);
    return 0;
}
