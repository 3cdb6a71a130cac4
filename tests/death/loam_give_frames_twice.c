/* dies: frame: already free */
#include "loam.h"

int main(void)
{
    const loam_phys frame = kernel_frame();
    const loam_phys other = loam_take_frames(&mm, 0, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL);
    if (loam_phys_is_none(other))
        return 1;
    loam_give_frames(&mm, frame, 0, LOAM_OWNER_KERNEL);
    loam_give_frames(&mm, frame, 0, LOAM_OWNER_KERNEL);
    return 0;
}
