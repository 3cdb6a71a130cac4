/* dies: frame: not a frame of this memory */
#include "loam_world.h"

int main(void)
{
    small_machine(1);
    if (loam_init(&mm, &boot, &refusal) != LOAM_OK)
        return 1;
    if (loam_phys_is_none(loam_take_frames(&mm, 0, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL)))
        return 1;
    loam_give_frames(&mm, loam_phys_at(MIB(1)), 0, LOAM_OWNER_KERNEL); /* the image */
    return 0;
}
