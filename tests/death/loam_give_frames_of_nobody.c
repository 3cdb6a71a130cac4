/* dies: loam: frames given back for an owner that is none */
#include "loam_world.h"

int main(void)
{
    small_machine(1);
    if (loam_init(&mm, &boot, &refusal) != LOAM_OK)
        return 1;
    const loam_phys frame = loam_take_frames(&mm, 0, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL);
    if (loam_phys_is_none(frame))
        return 1;
    loam_give_frames(&mm, frame, 0, LOAM_OWNER_USABLE);
    return 0;
}
