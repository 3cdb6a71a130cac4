/* dies: frame: not a frame of this memory */
#include "loam.h"

int main(void)
{
    (void)kernel_frame();
    loam_give_frames(&mm, loam_phys_at(MIB(1)), 0, LOAM_OWNER_KERNEL); /* the image */
    return 0;
}
